"""Exact posteriors of the simulated sky: closed forms where there are some, calibration, more columns tell more."""

import numpy as np
import pytest
from mock_options import OPTIONS
from scipy.stats import kstest

from galmass.catalogues import mock_information, simulation
from galmass.errors import InputError

SETTINGS = simulation.settings_of(OPTIONS)
MOPT = [f"petro_mag_{b}" for b in "ugriz"]


@pytest.fixture(scope="module")
def values():
    return simulation.draw(200, SETTINGS, 31)[0]


def test_a_sersic_index_that_is_linear_in_the_mass_has_the_information_of_a_gaussian():
    """log n = a + 0.15 log M + 0.05 noise, measured to 0.03; masses Gaussian when all are seen: I = log(1 + SNR^2) / 2.

    600 galaxies: the standard error of the average is that reported, about 0.03; four of those.
    """
    settings = SETTINGS | {"flux_limit": 90.0, "morphology_of_ssfr": 0.0, "sersic_n_of_mass": 0.15}
    values = simulation.draw(600, settings, 4)[0]
    found = mock_information.information(values, ["sersic_n_r"], settings, 128)
    variance = 0.25**2 + 0.5**2
    expected = 0.5 * np.log(1 + 0.15**2 * variance / (0.05**2 + 0.03**2))
    assert found["nats"] == pytest.approx(expected, abs=4 * found["nats_error"])
    assert found["nats_error"] < 0.05
    # the scatter of the posterior mean is the standard deviation of the posterior; sigma_MAD of 600: 5 %
    assert found["sigma_mad"] == pytest.approx(np.sqrt(variance) * np.exp(-expected), rel=0.15)


def test_the_density_of_seen_masses_is_that_of_the_survey():
    masses = mock_information.mass_grid(SETTINGS)
    density = np.exp(mock_information.log_prior(masses, SETTINGS))
    found = simulation.draw(4000, SETTINGS, 17)[0]["log_mass"]
    below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(masses))])
    assert below[-1] == pytest.approx(1, abs=1e-9)
    assert kstest(np.interp(found, masses, below), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("columns", [["petro_mag_r"], ["sersic_n_g", "sersic_n_r", "r50_r"], ["mag_w1", "mag_w2"]])
def test_posteriors_are_calibrated_also_where_the_selection_is_not_seen(columns):
    """The mass falls anywhere in its posterior with equal chance: Kolmogorov-Smirnov of 600 at 1e-3."""
    values, masses = simulation.draw(600, SETTINGS, 33)[0], mock_information.mass_grid(SETTINGS)
    density = np.exp(mock_information.log_posterior(masses, values, columns, SETTINGS, 128))
    steps = np.diff(masses) * (density[:, 1:] + density[:, :-1]) / 2
    below = np.hstack([np.zeros((len(density), 1)), np.cumsum(steps, axis=1)])
    places = [np.interp(mass, masses, row) for mass, row in zip(values["log_mass"], below, strict=True)]
    assert kstest(places, "uniform").pvalue > 1e-3


def test_more_columns_tell_more_and_images_beat_magnitudes(values):
    """200 galaxies, paired: differences of 0.1 nat stand out of the noise of the draws, 0.03 at 512."""
    found = {
        name: mock_information.information(values, columns, SETTINGS, 512)
        for name, columns in {"r": MOPT[2:3], "Mopt": MOPT, "image": [*MOPT, "sersic_n_r"]}.items()
    }
    assert found["r"]["nats"] < 0.15  # brightness alone is distance as much as mass
    assert found["Mopt"]["nats"] > found["r"]["nats"] + 0.8
    assert found["image"]["nats"] > found["Mopt"]["nats"] + 0.1
    assert found["image"]["sigma_mad"] < 0.85 * found["Mopt"]["sigma_mad"]


def test_the_bias_says_what_finitely_many_draws_cost(values):
    """Against four times as many, the same galaxies: right within a factor of three, and the smaller the more draws there are."""
    some = {name: array[:100] for name, array in values.items()}
    columns = [*MOPT, "r50_g", "r50_r", "sersic_n_g", "sersic_n_r"]
    few, many = (mock_information.information(some, columns, SETTINGS, n) for n in (256, 1024))
    assert few["nats_bias"] < many["nats_bias"] < 0
    assert 1 / 3 < (many["nats"] - few["nats"]) / -few["nats_bias"] < 3


def test_halves_of_the_draws_average_to_all_of_them(values):
    few, masses = {name: array[:10] for name, array in values.items()}, mock_information.mass_grid(SETTINGS)
    for columns in (MOPT, [*MOPT, "z"]):
        whole, first, second = np.moveaxis(np.exp(mock_information._log_posteriors(masses, few, columns, SETTINGS, 32, 0)), -1, 0)
        # a mixture of the halves, in proportion to their evidence
        weight = np.array([np.linalg.lstsq(np.stack(pair, 1), row, rcond=None)[0] for *pair, row in zip(first, second, whole, strict=True)])
        np.testing.assert_allclose(weight.sum(1), 1, rtol=1e-6)
        assert (weight > -1e-9).all()
        np.testing.assert_allclose(weight[:, :1] * first + weight[:, 1:] * second, whole, atol=1e-8)


def test_a_known_redshift_tells_more(values):
    few = {name: array[:25] for name, array in values.items()}
    without, known = (mock_information.information(few, columns, SETTINGS, 64) for columns in (MOPT, [*MOPT, "z"]))
    assert known["nats"] > without["nats"] + 0.3


def test_errors_and_fluxes_are_no_other_information(values):
    few, masses = {name: array[:20] for name, array in values.items()}, mock_information.mass_grid(SETTINGS)
    other = [*(f"petro_flux_{b}" for b in "ugriz"), "petro_mag_err_r", "petro_mag_dered_g", "ebv", "position_angle"]
    first, second = (mock_information.log_posterior(masses, few, columns, SETTINGS, 64) for columns in (MOPT, other))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("columns", [["mag_w3"], ["petro_mag_r", "axis_ratio_r"], ["mag_j"], ["ebv"], []])
def test_what_cannot_be_computed_is_refused(values, columns):
    with pytest.raises(InputError, match="cannot be computed; a block takes"):
        mock_information.information(values, columns, SETTINGS, 16)
