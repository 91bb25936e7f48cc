"""Cuts of the galaxy classes and the divider of Baldry et al. 2004 at known values."""

import numpy as np
import pytest

from galmass.catalogues.classes import baldry_divider, galaxy_class

OPTIONS = {"nuv_r_blue": 4.0, "nuv_r_red": 5.0, "u_r_margin": 0.1}
NAN = np.nan


def test_the_divider_has_the_midpoint_limits_and_slope_of_the_paper():
    # 2.06 - 0.244 tanh((M_r + 20.07) / 1.09): at the midpoint, at both ends, and its slope by finite differences
    np.testing.assert_allclose(baldry_divider([-20.07, -40.0, 0.0]), [2.06, 2.304, 1.816], atol=1e-12)
    up, down = baldry_divider(-20.07 + 1e-4), baldry_divider(-20.07 - 1e-4)
    assert (up - down) / 2e-4 == pytest.approx(-0.244 / 1.09, rel=1e-6)


def test_brighter_galaxies_are_divided_further_in_the_red():
    assert (np.diff(baldry_divider(np.linspace(-24, -16, 50))) < 0).all()


@pytest.mark.parametrize(
    ("nuv_r", "name"), [(1.0, "star-forming"), (3.99, "star-forming"), (4.0, "other"), (4.5, "other"), (5.0, "other"), (5.01, "passive"), (7.0, "passive")]
)
@pytest.mark.parametrize("u_r", [0.5, 2.06, 4.0])
def test_where_nuv_was_measured_it_decides_alone(nuv_r, name, u_r):
    assert galaxy_class([nuv_r], [u_r], [-20.07], OPTIONS)[0] == name


@pytest.mark.parametrize(("u_r", "name"), [(1.0, "star-forming"), (1.95, "star-forming"), (1.97, "other"), (2.06, "other"), (2.15, "other"), (2.17, "passive")])
def test_elsewhere_the_divider_and_its_margin_decide(u_r, name):
    assert galaxy_class([NAN], [u_r], [-20.07], OPTIONS)[0] == name


def test_the_divider_of_the_galaxys_own_luminosity_is_used():
    # u - r = 2.06 is red among faint galaxies (divider 1.816) and blue among bright ones (2.304)
    assert list(galaxy_class([NAN, NAN], [2.06, 2.06], [-15.0, -25.0], OPTIONS)) == ["passive", "star-forming"]


def test_without_any_colour_a_galaxy_is_other():
    assert galaxy_class([NAN], [NAN], [-20.0], OPTIONS)[0] == "other"


def test_cuts_come_from_the_options():
    wide = {"nuv_r_blue": 2.0, "nuv_r_red": 7.0, "u_r_margin": 1.0}
    assert list(galaxy_class([3.0, 6.0, NAN, NAN], [1.0] * 2 + [1.5, 2.6], [-20.07] * 4, wide)) == ["other"] * 4
