"""Galaxies of the densities of a tuple: the same for all networks, and what is left out told by class."""

import pytest

from galmass.errors import InputError
from galmass.information import densities, report


def test_networks_of_other_galaxies_are_refused():
    n_galaxy = {"Iopt": 3000, "Wise": 2162, "IoptWise": 2162}
    said = r"tuple Iopt_Wise: .*Iopt 3000, Wise 2162, IoptWise 2162; all have 2162.*information\.max_unshared is 0\.02"
    with pytest.raises(InputError, match=said):
        densities.check_shared(n_galaxy, 2162, 0.02, "Iopt_Wise")
    densities.check_shared(n_galaxy, 2162, 0.28, "Iopt_Wise")  # 838 of 3000 are 0.279
    densities.check_shared({"Mopt": 9775, "Jhk": 9773, "MoptMir": 9773}, 9773, 0.02, "Mopt_Jhk")


def test_as_many_galaxies_need_not_be_the_same():
    with pytest.raises(InputError, match="A 100, B 100; all have 90"):
        densities.check_shared({"A": 100, "B": 100}, 90, 0.02, "A_B")
    with pytest.raises(InputError, match="max_unshared is 0;"):
        densities.check_shared({"A": 100, "B": 99}, 99, 0, "A_B")
    densities.check_shared({"A": 99, "B": 99}, 99, 0, "A_B")


def test_what_is_left_out_is_told_by_class_and_by_modality():
    found = densities.left_out(["passive", "star-forming", "passive", "other"], [True, True, False, True])
    assert found == {"passive": {"n": 1, "of": 2}, "star-forming": {"n": 0, "of": 1}, "other": {"n": 0, "of": 1}}
    trained = {"Wise": {"n_galaxy": 3, "left_out": {"mag_w3 not measured": 1}, "limits": {"mag_w3": 2}}}
    summary = {"tuple": "T", "n": 3, "n_left_out": 1, "left_out": found, "trained": trained, "folds": 2, "ensemble": 3}
    lines = list(report.lines(summary | {"prior": {"nats": 1.0, "excess": 0.0}, "rows": [], "truth": []}))
    assert "left out by class: other 0 of 1, passive 1 of 2, star-forming 0 of 1" in lines
    assert "Wise: 3 galaxies, left out: {'mag_w3 not measured': 1}, limits in place of magnitudes: {'mag_w3': 2}" in lines
