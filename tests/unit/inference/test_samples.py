"""posterior.nc is what arviz calls InferenceData."""

import json
import warnings

import numpy as np
import pytest

from galmass.errors import InputError
from galmass.inference import samples


@pytest.fixture
def drawn():
    rng = np.random.default_rng(1)
    names, units = ["log_m_bh", "inclination"], {"log_m_bh": "log10 M_sun", "inclination": "deg"}
    attributes = {"galaxy": "mock", "converged": 1, "config": {"likelihood": "student_t"}}
    return samples.Samples(names, units, rng.normal(size=(4, 50, 2)), rng.normal(size=(200, 2)), rng.normal(size=(4, 50)), attributes)


def test_round_trip(drawn, tmp_path):
    samples.write(tmp_path / "posterior.nc", drawn)
    found = samples.read(tmp_path / "posterior.nc")
    assert (found.names, found.units) == (drawn.names, drawn.units)
    for name in ("chains", "prior", "log_prob", "flat"):
        np.testing.assert_array_equal(getattr(found, name), getattr(drawn, name))
    assert found.attributes["galaxy"] == "mock"
    assert json.loads(found.attributes["config"]) == {"likelihood": "student_t"}


def test_arviz_reads_it(drawn, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # announces its next version
        import arviz
    samples.write(tmp_path / "posterior.nc", drawn)
    data = arviz.from_netcdf(tmp_path / "posterior.nc")
    assert set(data.groups()) == {"posterior", "prior", "sample_stats"}
    assert data.posterior["inclination"].attrs["units"] == "deg"
    assert float(arviz.rhat(data.posterior)["log_m_bh"]) == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(data.posterior["log_m_bh"], drawn.chains[..., 0])


def test_a_truth_a_turn_away_is_shown_beside_the_draws(drawn):
    known = {"inclination": 359.5, "other": 1.0}
    assert drawn.beside(known) == [None, pytest.approx(-0.5)]
    assert drawn.beside({"log_m_bh": 700.0, "inclination": 60.0}) == [700.0, 60.0]


def test_broken_file_is_named(tmp_path):
    (tmp_path / "posterior.nc").write_bytes(b"no netCDF")
    with pytest.raises(InputError, match=r"posterior\.nc is no readable posterior"):
        samples.read(tmp_path / "posterior.nc")
