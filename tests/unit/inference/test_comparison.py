"""Rows of the comparison of mass models against numbers worked out by hand."""

import math

import numpy as np
import pytest

from galmass.inference import comparison

# 10 pc per arcsec, beam of 2 arcsec: half a beam is 10 pc; the gas reaches to 60 pc
CHECK = {
    "gas_extent_arcsec": 6.0,
    "best": {},
    "beam_pc": 20.0,
    "beam_arcsec": 2.0,
    "log_enclosed_mass_at_beam": {"stars": [7.0, 7.1, 7.2, 7.3, 7.4, 7.5, 7.6], "total": [8.0, 8.1, 8.2, 8.3, 8.4, 8.5, 8.6]},
    "chi2_per_datum": {"chi2": 1.02, "low": 0.97, "high": 1.03, "n": 10},
}
SUMMARY = {
    "parameters": {"log_m_bh": {"median": 8.1, "interval_68": [8.0, 8.2], "interval_95": [7.9, 8.3], "interval_997": [7.8, 8.4]}},
    "fixed": {},
    "log_posterior": -173.0,
    "max_log_likelihood": -123.0,
    "r_hat": 1.003,
    "ess": 900.0,
    "converged": True,
}
RADIUS = np.array([5.0, 20.0, 40.0, 80.0])


def curve(median, half_width):
    """Quantiles whose 68 % interval is `half_width` to either side."""
    median, half_width = (np.asarray(values, float) for values in (median, half_width))
    return {"radius": RADIUS, "velocity_total": median + np.arange(-3, 4)[:, None] * half_width}


FIRST = curve([900, 200, 200, 300], [1, 3, 6, 1])
SECOND = curve([100, 210, 200, 900], [1, 4, 8, 1])


def rows(checks=(CHECK, CHECK), truth=None):
    return comparison.rows(["nuker", "mge"], [SUMMARY, SUMMARY | {"converged": False}], checks, [FIRST, SECOND], truth or {})


def test_numbers_of_the_fit_are_those_of_its_files():
    first, second = rows(truth={"log_m_bh": 8.07})
    expected = {"model": "nuker", "log_m_bh": 8.1, "low_68": 8.0, "high_68": 8.2, "low_95": 7.9, "high_95": 8.3, "truth": 8.07}
    expected |= {"stars_at_beam": 7.3, "total_at_beam": 8.3, "chi2_per_datum": 1.02, "max_log_likelihood": -123.0, "r_hat": 1.003, "ess": 900.0}
    assert {key: first[key] for key in expected} == expected
    assert (first["converged"], second["converged"], second["model"]) == (True, False, "mge")


def test_velocities_differ_by_the_root_of_both_variances():
    """Only 20 and 40 pc count: 10 km/s over hypot(3, 4) = 5 at the first of them, nothing at the second."""
    first, second = rows()
    assert first["velocity_sigma"] == 0
    assert second["velocity_sigma"] == pytest.approx(2.0)


def test_the_error_of_the_velocity_is_a_median_over_the_radii_with_light():
    """3 / 200 and 6 / 200 for the first: 1.5 and 3 %; 4 / 210 and 8 / 200 for the second."""
    first, second = rows()
    assert first["velocity_error_percent"] == pytest.approx(2.25)
    assert second["velocity_error_percent"] == pytest.approx(50 * (4 / 210 + 8 / 200))


def test_a_smaller_disc_leaves_fewer_radii():
    small = {**CHECK, "gas_extent_arcsec": 3.0}  # 30 pc: only the radius of 20 pc is left
    assert rows(checks=(small, small))[0]["velocity_error_percent"] == pytest.approx(1.5)


def test_without_radii_nothing_agrees_and_a_dash_says_so():
    point = {**CHECK, "gas_extent_arcsec": 0.01}
    found = rows(checks=(point, point))
    assert all(math.isnan(row[name]) for row in found for name in ("velocity_sigma", "velocity_error_percent"))
    seen = comparison.shown(found)[1]
    assert (seen["velocity_sigma"], seen["velocity_error_percent"], seen["truth"]) == ("-", "-", "-")
    assert (seen["model"], seen["log_m_bh"], seen["converged"]) == ("mge", 8.1, False)


def test_a_real_galaxy_has_no_truth():
    assert all(math.isnan(row["truth"]) for row in rows())


def test_a_headline_is_in_words_and_says_what_has_not_converged():
    found = comparison.headline("ngc1", "nuker", SUMMARY, CHECK, {"log_m_bh": 8.07})
    assert found["log10 M_BH [M_sun]"] == "8.100"
    assert (found["68 %"], found["95 %"], found["truth"]) == ("8.000 - 8.200", "7.900 - 8.300", "8.070")
    assert (found["chi^2 per datum"], found["of replicas, 95 %"], found["independent data"]) == ("1.020", "0.970 - 1.030", 10)
    assert (found["R-hat"], found["bulk ESS"], found["converged"]) == ("1.0030", "900", "yes")
    stuck = comparison.headline("ngc1", "nuker", {**SUMMARY, "r_hat": None, "ess": None, "converged": False}, CHECK, {})
    assert (stuck["R-hat"], stuck["bulk ESS"], stuck["converged"], stuck["truth"]) == ("-", "-", "NO", "not known")


def test_a_fixed_black_hole_has_no_width():
    fixed = {**SUMMARY, "parameters": {}, "fixed": {"log_m_bh": 8.0}}
    row, *_ = comparison.rows(["nuker"], [fixed], [CHECK], [FIRST], {})
    assert (row["log_m_bh"], row["low_95"], row["high_68"]) == (8.0, 8.0, 8.0)
    assert comparison.headline("ngc1", "nuker", fixed, CHECK, {})["95 %"] == "8.000 - 8.000"
