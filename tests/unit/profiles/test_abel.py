"""The quadrature references against pairs with closed forms and against quad."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf, gamma

from galmass.errors import InputError
from galmass.profiles import abel
from galmass.profiles.nuker import Nuker
from galmass.units import G

RADII = np.geomspace(0.5, 5000.0, 25)


class Pair:
    """Surface density and slope as functions of r; scale lengths are 100 pc."""

    def __init__(self, surface_density, slope, outer=np.inf):
        self.surface_density, self.slope = surface_density, slope
        self.outer_slope = lambda: outer


def power_law(s):
    return Pair(lambda r: r**-s, lambda r: s + 0 * r, s)


def power_law_density(s, r):
    return gamma((s + 1) / 2) / (gamma(s / 2) * np.sqrt(np.pi)) * r ** (-1 - s)


GAUSSIAN = Pair(lambda r: np.exp(-0.5 * (r / 100) ** 2), lambda r: (r / 100) ** 2)
PLUMMER = Pair(lambda r: (1 + (r / 100) ** 2) ** -2, lambda r: 4 * r**2 / (1e4 + r**2), 4.0)
HUBBLE = Pair(lambda r: 1 / (1 + (r / 100) ** 2), lambda r: 2 * r**2 / (1e4 + r**2), 2.0)

PAIRS = {
    "gaussian": (GAUSSIAN, lambda r: np.exp(-0.5 * (r / 100) ** 2) / (100 * np.sqrt(2 * np.pi))),
    "plummer": (PLUMMER, lambda r: 3 / 400 * (1 + (r / 100) ** 2) ** -2.5),
    "modified hubble": (HUBBLE, lambda r: 0.5 / 100 * (1 + (r / 100) ** 2) ** -1.5),
    **{f"power law {s}": (power_law(s), lambda r, s=s: power_law_density(s, r)) for s in (0.1, 0.7, 1.0, 2.0, 3.5)},
}


@pytest.mark.parametrize("name", PAIRS)
def test_density_of_known_pairs(name):
    profile, density = PAIRS[name]
    radius = RADII[RADII < 1000]  # ten sigma: beyond, the Gaussian is narrower in t than the step
    np.testing.assert_allclose(abel.density(profile, radius), density(radius), rtol=1e-12)  # the trapezoidal rule is exact to rounding
    flattened = abel.density(profile, radius, q_intr=0.5, q_obs=0.8)
    np.testing.assert_allclose(flattened, 1.6 * density(radius), rtol=1e-12)


def test_density_across_the_sharpest_break():
    """Against quad with the break as an end of its intervals."""
    profile = Nuker(10.0, 2.5, 0.1, 100.0)

    def by_quad(m):
        def integrand(t):
            r = m * np.cosh(t)
            return profile.slope(r) * profile.surface_density(r) / (np.pi * r)

        edge = np.arccosh(max(100 / m, 1))
        edges = sorted({0.0, max(edge - 1, 0), edge, edge + 1, edge + 4, 60.0})
        return sum(quad(integrand, a, b, epsabs=0, epsrel=1e-11, limit=200)[0] for a, b in pairwise(edges))

    radius = np.array([1e-3, 1.0, 30.0, 90.0, 99.9, 100.1, 110.0, 1000.0])
    np.testing.assert_allclose(abel.density(profile, radius), [by_quad(m) for m in radius], rtol=2e-8)  # the 3e-9 of T_STEP's comment, times the residue there


MASSES = {
    "gaussian": (GAUSSIAN, lambda x: 2 * np.pi * 1e4 * (erf(x / np.sqrt(2)) - np.sqrt(2 / np.pi) * x * np.exp(-(x**2) / 2))),
    "plummer": (PLUMMER, lambda x: np.pi * 1e4 * x**3 * (1 + x**2) ** -1.5),
    "modified hubble": (HUBBLE, lambda x: 2 * np.pi * 1e4 * (np.arcsinh(x) - x / np.sqrt(1 + x**2))),
    # of the steepest, 0.8 % lies inside the innermost radius of the sum
    **{f"power law {s}": (power_law(s), lambda x, s=s: 4 * np.pi * power_law_density(s, 1.0) * (100 * x) ** (2 - s) / (2 - s)) for s in (0.1, 1.2, 1.8)},
}


@pytest.mark.parametrize("name", MASSES)
def test_enclosed_mass_of_known_pairs(name):
    profile, mass = MASSES[name]
    radius = np.geomspace(20.0, 2000.0, 25)  # the closed forms cancel further in
    np.testing.assert_allclose(abel.enclosed_mass(profile, radius), mass(radius / 100), rtol=1e-7)  # eight end weights of the sum
    oblate = abel.enclosed_mass(profile, radius, q_intr=0.4, q_obs=0.7)
    np.testing.assert_allclose(oblate, 0.7 * mass(radius / 100), rtol=1e-7)  # m <= radius: q_obs alone enters


def test_mass_and_velocity_deep_inside_a_core():
    """rho_0 = 3 / (4 a) of Plummer: M = 4/3 pi rho_0 m^3 where x^2 is nothing."""
    radius = np.array([1e-4, 1e-3])
    np.testing.assert_allclose(abel.enclosed_mass(PLUMMER, radius), 4 / 3 * np.pi * 3 / 400 * radius**3, rtol=1e-9)  # x^2


def test_velocity_of_a_sphere():
    velocity = abel.circular_velocity(PLUMMER, RADII)
    np.testing.assert_allclose(velocity, np.sqrt(G * np.pi * 1e4 * (RADII / 100) ** 3 * (1 + (RADII / 100) ** 2) ** -1.5 / RADII), rtol=1e-7)
    np.testing.assert_allclose(velocity, np.sqrt(G * abel.enclosed_mass(PLUMMER, RADII) / RADII), rtol=1e-12)


@pytest.mark.parametrize("q_intr", [0.05, 0.2, 0.6, 0.95, 1.0])
def test_velocity_of_an_oblate_gaussian(q_intr):
    """R dPhi / dR of the potential of an oblate Gaussian (Emsellem et al. 1994; Cappellari 2002), by quad."""
    q_obs, sigma = np.sqrt(0.5 * q_intr**2 + 0.5), 100.0
    total = 2 * np.pi * sigma**2 * q_obs
    radius = np.array([0.1, 5.0, 50.0, 100.0, 250.0, 1000.0])

    def squared(r):
        def integrand(u):  # v^2 = sqrt(2/pi) G M / sigma^3 R^2 int_0^1 u^2 exp(-u^2 R^2 / 2 sigma^2) / sqrt(1 - e^2 u^2) du
            return u**2 * np.exp(-0.5 * (u * r / sigma) ** 2) / np.sqrt(1 - (1 - q_intr**2) * u**2)

        integral = quad(integrand, 0, 1, epsabs=0, epsrel=1e-11, limit=200)[0]
        return np.sqrt(2 / np.pi) * G * total / sigma**3 * r**2 * integral

    expected = np.sqrt([squared(r) for r in radius])
    np.testing.assert_allclose(abel.circular_velocity(GAUSSIAN, radius, q_intr, q_obs), expected, rtol=1e-6)  # eight end weights, outermost radius


@pytest.mark.parametrize("q_intr", [0.1, 0.3, 0.8])
def test_velocity_of_an_oblate_singular_isothermal(q_intr):
    """Sigma = 1 / r: rho = q_obs / (pi q m^2), and v^2 = 4 G q_obs int_0^R dm / sqrt(R^2 - e^2 m^2) (Binney & Tremaine 2008, eq. 2.132)."""
    e = np.sqrt(1 - q_intr**2)
    expected = np.sqrt(4 * G * 0.7 * np.arcsin(e) / e)
    np.testing.assert_allclose(abel.circular_velocity(power_law(1.0), RADII, q_intr, 0.7), expected, rtol=1e-9)  # end weights fit a power law


def test_velocity_deep_inside_a_core_is_that_of_a_homogeneous_spheroid():
    """Binney & Tremaine (2008), table 2.1: v^2 = 2 pi G rho_0 A_1 R^2."""
    q = 0.4
    e = np.sqrt(1 - q**2)
    a_1 = q / e**2 * (np.arcsin(e) / e - q)
    radius, density = np.array([1e-3, 1e-2]), 3 / 400 * 0.7 / q
    velocity = abel.circular_velocity(PLUMMER, radius, q, 0.7)
    np.testing.assert_allclose(velocity, np.sqrt(2 * np.pi * G * density * a_1) * radius, rtol=2e-8)  # (r / 100)^2 and end weights


@pytest.mark.parametrize(("profile", "expected"), [(GAUSSIAN, 2 * np.pi * 1e4), (PLUMMER, np.pi * 1e4)])
def test_total_mass_of_known_pairs(profile, expected):
    assert abel.total_mass(profile, 0.7) == pytest.approx(0.7 * expected, rel=1e-12)  # the rule in ln r is exact to rounding


@pytest.mark.parametrize(("alpha", "beta"), [(10.0, 3.0), (1.0, 2.2), (1.0, 2.001), (0.3, 4.0)])
def test_total_mass_of_nuker(alpha, beta):
    """With gamma = 0: 2^(beta / alpha) / alpha B(2 / alpha, (beta - 2) / alpha) 2 pi r_b^2, finite however close beta is to 2."""
    beta_function = gamma(2 / alpha) * gamma((beta - 2) / alpha) / gamma(beta / alpha)
    expected = 2 * np.pi * 1e4 * 2 ** (beta / alpha) / alpha * beta_function
    assert abel.total_mass(Nuker(alpha, beta, 0.0, 100.0)) == pytest.approx(expected, rel=1e-9)  # end of the sum: LOG_STEP^2 / 12 (beta - 2)^2 of the rest


def test_total_mass_by_quad():
    profile = Nuker(2.0, 2.6, 0.8, 100.0, 5.0)
    integral = quad(lambda u: profile.surface_density(np.exp(u)) * np.exp(2 * u), -20, 60, points=[np.log(100)], epsrel=1e-12, limit=200)[0]
    assert abel.total_mass(profile, 0.9) == pytest.approx(0.9 * 2 * np.pi * integral, rel=1e-9)  # quad; e^(-0.6 * 56) is left out


@pytest.mark.parametrize("beta", [1.2, 2.0, np.array([[3.0], [1.5]])])
def test_without_a_total_mass_the_rest_is_finite(beta):
    profile = Nuker(1.5, beta, 0.5, 100.0)
    with pytest.raises(InputError, match="total mass diverges"):
        abel.total_mass(profile)
    for values in (abel.density(profile, RADII), abel.enclosed_mass(profile, RADII), abel.circular_velocity(profile, RADII, 0.5, 0.7)):
        assert np.isfinite(values).all()
        assert (values > 0).all()


def test_batches_are_single_profiles():
    columns = [np.array(v)[:, None] for v in ([0.5, 2.0, 10.0], [2.2, 2.5, 3.0], [0.01, 0.5, 1.2], [5.0, 100.0, 2000.0], [3.0, 1.0, 0.2])]
    batch, singles = Nuker(*columns), [Nuker(*(float(c[i, 0]) for c in columns)) for i in range(3)]
    for function in (abel.density, abel.enclosed_mass, abel.circular_velocity):
        expected = [function(single, RADII, 0.4, 0.7) for single in singles]
        np.testing.assert_allclose(function(batch, RADII, 0.4, 0.7), expected, rtol=1e-12)  # order of the sums
    np.testing.assert_allclose(abel.total_mass(batch), [abel.total_mass(single) for single in singles], rtol=1e-12)


@pytest.mark.parametrize("function", [abel.enclosed_mass, abel.circular_velocity])
@pytest.mark.parametrize("radius", [0.0, -1.0, np.nan, np.inf])
def test_refuses_radii(function, radius):
    with pytest.raises(InputError, match="positive and finite"):
        function(PLUMMER, np.array([1.0, radius]))


def test_the_order_of_the_radii_does_not_matter():
    shuffled = RADII[[7, 0, 24, 3]]
    expected = abel.circular_velocity(PLUMMER, RADII, 0.5, 0.7)[[7, 0, 24, 3]]
    np.testing.assert_allclose(abel.circular_velocity(PLUMMER, shuffled, 0.5, 0.7), expected, rtol=1e-12)
    assert abel.circular_velocity(PLUMMER, 50.0).shape == (1,)
