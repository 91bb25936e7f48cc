"""The optical MGE: recovery of known Gaussians, the nucleus in the innermost one, and what it does to the mass of a black hole."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from galmass.discs import mass_models, optical
from galmass.errors import InputError

torch.set_num_threads(1)

DISTANCE, ML = 11.4, 2.14
TRUTH = {"alpha": 1.45, "gamma": 0.77, "beta_minus_gamma": 0.40, "r_break": 206.7, "log_sigma_break": 4.31, "q_intr": 0.7, "inclination": 77.0}
PARAMETERS = {name: torch.tensor(v, dtype=torch.float64) for name, v in (TRUTH | {"log_ml": math.log10(ML), "log_m_bh": 8.07}).items()}
GAS = np.geomspace(15.0, 300.0, 26)  # pc, half a beam to four scale lengths of NGC 4697's gas


def _light(table, radius):
    return (table.surface_brightness.to_numpy() * np.exp(-0.5 * (radius[:, None] / table.sigma_arcsec.to_numpy()) ** 2)).sum(1)


def _best_log_m_bh(table, drop_innermost):
    """M/L and black hole free, both of them factors of v^2, for equal errors of the velocities."""
    true = sum(mass_models.make("nuker", {}, GAS, DISTANCE).squared_velocity(PARAMETERS).values()).numpy()
    model = mass_models.make("mge", {"drop_innermost": drop_innermost}, GAS, DISTANCE, table)
    parts = model.squared_velocity(PARAMETERS)
    columns = np.stack([parts["stars"].numpy(), parts["black_hole"].numpy()], axis=1) / np.sqrt(true)[:, None]
    return 8.07 + math.log10(np.linalg.lstsq(columns, np.sqrt(true), rcond=None)[0][1])


def test_gaussians_on_the_grid_are_found():
    sigma = np.geomspace(0.1, 30.0, 8)
    wanted = pd.DataFrame({"surface_brightness": 1e4 / sigma[[0, 3, 6]], "sigma_arcsec": sigma[[0, 3, 6]], "q_obs": 0.6})
    radius = np.geomspace(0.05, 60.0, 150)
    table = optical.fit_mge(radius, _light(wanted, radius), 0.6, 8, (0.1, 30.0))
    found = table[table.surface_brightness > 1e-6]
    np.testing.assert_allclose(found.to_numpy(), wanted.to_numpy(), rtol=1e-6)  # an exact solution, up to the conditioning of neighbours


def test_amplitudes_are_positive_and_the_fit_is_close():
    radius = np.geomspace(0.1, 40.0, 200)
    profile = optical.stellar_surface_brightness(TRUTH, radius, DISTANCE, ML)
    table = optical.fit_mge(radius, profile, 0.7, 14)
    assert bool((table.surface_brightness > 0).all())
    assert table.sigma_arcsec.is_monotonic_increasing
    inner = (radius > 0.3) & (radius < 20)
    np.testing.assert_allclose(_light(table, radius)[inner], profile[inner], rtol=0.03)  # positive Gaussians a factor of 1.6 apart, pulled at both ends


def test_surface_brightness_is_that_of_the_mass_over_its_ratio():
    at_break = optical.stellar_surface_brightness(TRUTH, [206.7 / (DISTANCE * 1e6 * np.pi / 648000)], DISTANCE, ML)
    np.testing.assert_allclose(at_break, 10**4.31 / ML, rtol=1e-12)


def test_the_nucleus_has_the_stated_light():
    peak = optical.agn_surface_brightness(TRUTH, DISTANCE, ML, 0.1, 0.05)
    radius = np.geomspace(1e-9, 0.5, 200001)
    stars = np.trapezoid(2 * np.pi * radius**2 * optical.stellar_surface_brightness(TRUTH, radius, DISTANCE, ML), np.log(radius))
    assert 2 * np.pi * peak * 0.05**2 == pytest.approx(0.1 * stars, rel=1e-4)  # the cusp inside 5e-8 arcsec, steps of 0.02 in ln r
    assert optical.agn_surface_brightness(TRUTH, DISTANCE, ML, 0.0, 0.05) == 0


def test_the_innermost_gaussian_is_the_nucleus_and_the_cusp():
    with_agn, without = (optical.mock_table(TRUTH, DISTANCE, ML, agn_fraction=f) for f in (0.08, 0.0))
    assert with_agn.sigma_arcsec[0] == without.sigma_arcsec[0] == pytest.approx(0.05)
    added = with_agn.surface_brightness[0] - without.surface_brightness[0]
    nucleus = optical.agn_surface_brightness(TRUTH, DISTANCE, ML, 0.08, 0.05)
    assert added == pytest.approx(nucleus, rel=0.1)  # the least squares share 6 % of it with the neighbour
    assert without.surface_brightness[0] > 0.5 * nucleus  # the cusp is a like amount
    assert with_agn.q_obs.unique() == pytest.approx(optical.observed_axial_ratio(TRUTH))


def test_the_order_of_the_masses_is_that_of_the_paper():
    """Nucleus kept: stars too heavy inside the gas, black hole too light; innermost Gaussian removed: the reverse."""
    table = optical.mock_table(TRUTH, DISTANCE, ML)
    probe = [30.0]
    nuker, kept, dropped = (
        float(mass_models.make(name, options, probe, DISTANCE, table).enclosed_mass(PARAMETERS, probe)["stars"])
        for name, options in (("nuker", {}), ("mge", {}), ("mge", {"drop_innermost": True}))
    )
    assert 2e7 < kept - nuker < 3.5e7  # M_sun; the 99.7 % error of Davis et al. (2017) is 1.8e7
    assert 2e7 < nuker - dropped < 3.5e7
    under, over = _best_log_m_bh(table, False), _best_log_m_bh(table, True)
    assert 0.05 < 8.07 - under < 0.2
    assert 0.05 < over - 8.07 < 0.2
    plain = _best_log_m_bh(optical.mock_table(TRUTH, DISTANCE, ML, agn_fraction=0.0), False)
    assert abs(plain - 8.07) < 0.03  # without a nucleus the table is right: what positive Gaussians leave, 1e6 M_sun


def test_what_the_fit_refuses():
    radius = np.geomspace(0.1, 10.0, 20)
    with pytest.raises(InputError, match="must be positive and finite; leave out what is masked"):
        optical.fit_mge(radius, np.where(radius > 5, np.nan, 1.0), 0.7, 5)
    with pytest.raises(InputError, match=r"30 Gaussians of q_obs 0.7 at 20 radii"):
        optical.fit_mge(radius, 1 / radius, 0.7, 30)
    with pytest.raises(InputError, match=r"q_obs 1\.2"):
        optical.fit_mge(radius, 1 / radius, 1.2, 5)


def test_table_round_trip(tmp_path):
    table = optical.mock_table(TRUTH, DISTANCE, ML)
    path = tmp_path / "mge.csv"
    optical.write_table(path, table.iloc[::-1].assign(comment="no column of ours"))
    assert path.read_text().splitlines()[0] == "surface_brightness,sigma_arcsec,q_obs"
    read = optical.read_table(path)
    pd.testing.assert_frame_equal(read, table, check_exact=True)
    mass_models.make("mge", {}, GAS, DISTANCE, read)


def test_integers_are_numbers_and_other_columns_are_left_out(tmp_path):
    path = tmp_path / "mge.csv"
    path.write_text("band,q_obs,sigma_arcsec,surface_brightness\ni,1,2,300\ni,1,1,4000\n")
    table = optical.read_table(path)
    assert list(table.columns) == ["surface_brightness", "sigma_arcsec", "q_obs"]
    assert table.sigma_arcsec.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("surface_brightness,sigma_arcsec\n1,2\n", "lacks the columns q_obs; it has surface_brightness, sigma_arcsec"),
        ("surface_brightness,sigma_arcsec,q_obs\n", "holds no Gaussian"),
        ("surface_brightness,sigma_arcsec,q_obs\n1,2,0.5\n-1,2,0.5\n", "surface_brightness of Gaussian 2 is -1"),
        ("surface_brightness,sigma_arcsec,q_obs\n1,2,1.5\n", "q_obs of Gaussian 1 is 1.5; it must be above 0 and at most 1"),
        ("surface_brightness,sigma_arcsec,q_obs\n1,0,0.5\n", "sigma_arcsec of Gaussian 1 is 0; it must be positive and finite .arcsec."),
        ("surface_brightness,sigma_arcsec,q_obs\n1,,0.5\n", "sigma_arcsec of Gaussian 1 is nan"),
        ("surface_brightness,sigma_arcsec,q_obs\n1,wide,0.5\n", "sigma_arcsec of Gaussian 1 is 'wide'"),
        ("surface_brightness,sigma_arcsec,q_obs\ninf,1,0.5\n", "surface_brightness of Gaussian 1 is inf"),
        ("", "no CSV table"),
        ("a,b\n1,2\n1,2,3\n", "no CSV table"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, message):
    path = tmp_path / "mge.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        optical.read_table(path)
    assert str(path) in str(caught.value)


def test_a_missing_table_says_what_to_put_there(tmp_path):
    with pytest.raises(InputError, match=r"mge.csv is missing: put a CSV there.*surface_brightness \[L_sun / pc\^2\].*Only the mass model mge needs it"):
        optical.read_table(tmp_path / "mge.csv")
