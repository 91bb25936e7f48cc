"""The Gaussians and their amplitudes where the profile is locally a power law: closed forms, orders of convergence, layout."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import gamma as gamma_function

from galmass.deprojection.basis import DEGREE, DOMAIN, FACTORS, WEIGHTS, Basis, design, local_amplitudes, local_expansion
from galmass.errors import InputError
from galmass.profiles import abel, mge, nuker

from .conftest import column

# so many wings that what they leave out, (r / sigma_last)^(2 + s), is 1e-15 at 10 kpc even for flat profiles
WIDE = Basis(n_inner=100, n_outer=100)
RADII = torch.logspace(0, 4, 81, dtype=torch.float64)
POLYNOMIAL = 3e-8  # error of g(s) as a polynomial on the slopes of the box; see test_weights
SLOPES = [0.05, 0.5, 1.0, 1.5, 1.9, 2.3, 3.0, 4.2]


def power_law(basis, s):
    """Amplitudes of r^-s in units of r_break = 100 pc; beta - gamma = 0 is no Nuker profile, 1e-12 is."""
    return local_expansion(basis, *column(1.0, s + 1e-12, s, 100.0))[0][0]


def tolerance(s):
    """The error of g as a fraction of it: g falls as s for flat profiles."""
    return POLYNOMIAL / (2 ** (1 - s / 2) / gamma_function(s / 2))


def error(basis, amplitudes, *parameters):
    exact = torch.exp(nuker.log_surface_density(RADII, *parameters))
    return (mge.surface_density(RADII, amplitudes, torch.from_numpy(basis.sigma)) / exact - 1).abs()


# --- layout


def test_the_core_comes_first_then_the_wings_nearest_first(basis):
    places = basis.index
    assert places[:64].tolist() == list(range(64))
    assert places[64:88].tolist() == list(range(-1, -25, -1))
    assert places[88:104].tolist() == list(range(64, 80))
    assert places[-1] > 79 + 100, "the constant is far outside"
    assert len(places) == len(basis.sigma) == 64 + 24 + 16 + 1


def test_dispersions_are_log_uniform_from_end_to_end(basis):
    assert basis.sigma[[0, 63]] == pytest.approx([0.22, 2.2e4], rel=1e-13)
    np.testing.assert_allclose(np.diff(np.log(np.sort(basis.sigma)[:-1])), basis.step, rtol=1e-11)  # differences of rounded logarithms


def test_far_gaussian_is_constant_and_stays_finite_in_float32(basis):
    assert (1e4 / basis.sigma[-1]) ** 2 < 1e-16
    assert np.isfinite(np.float32(basis.sigma[-1]) ** 2)


def test_without_wings_only_the_core_is_left():
    bare = Basis(32, 1.0, 1e4, n_inner=0, n_outer=0)
    amplitudes, density = local_expansion(bare, *column(1.5, 1.6, 0.7, 150.0))
    assert len(bare.sigma) == 32
    assert amplitudes.shape == density.shape == (1, 32)
    assert bare.sigma[[0, -1]] == pytest.approx([1.0, 1e4], rel=1e-13)


def test_radii_are_commensurate_with_the_core(basis):
    np.testing.assert_allclose(basis.radii[::2], basis.sigma[:64], rtol=1e-12)  # exp of multiples of a rounded step
    np.testing.assert_allclose(np.diff(np.log(basis.radii)), basis.step / 2, rtol=1e-11)


def test_design_is_every_gaussian_at_every_radius(basis):
    core, wings, _ = design(basis, torch.device("cpu"))
    assert core.shape == (64, 127)
    assert wings.shape == (41, 127)
    expected = np.exp(-0.5 * (basis.radii / basis.sigma[:, None]) ** 2)
    np.testing.assert_allclose(torch.cat([core, wings]).numpy(), expected, rtol=1e-12, atol=1e-300)  # the exponent, up to 700, rounds


# --- power laws


@pytest.mark.parametrize("s", SLOPES)
def test_surface_density_of_a_power_law(s):
    found = mge.surface_density(RADII, power_law(WIDE, s), torch.from_numpy(WIDE.sigma)) * (RADII / 100) ** s
    np.testing.assert_allclose(found.numpy(), 1, rtol=tolerance(s))


@pytest.mark.parametrize("s", SLOPES)
def test_density_of_a_power_law(s):
    found = mge.density(RADII, power_law(WIDE, s), torch.from_numpy(WIDE.sigma)).numpy()
    expected = gamma_function((s + 1) / 2) / (gamma_function(s / 2) * np.sqrt(np.pi)) * 100.0**s * RADII.numpy() ** (-1 - s)
    # flat profiles: the density lacks (r / sigma_last)^(1 + s), 1e-12 at s = 0.05
    np.testing.assert_allclose(found, expected, rtol=tolerance(s))


@pytest.mark.parametrize("s", [0.05, 0.5, 1.0, 1.2])  # the inner slopes of the box
def test_mass_of_a_power_law(s):
    radius = torch.logspace(-1, 4, 11, dtype=torch.float64)
    found = mge.enclosed_mass(radius, power_law(WIDE, s), torch.from_numpy(WIDE.sigma)).numpy()
    density = gamma_function((s + 1) / 2) / (gamma_function(s / 2) * np.sqrt(np.pi)) * 100.0**s
    np.testing.assert_allclose(found, 4 * np.pi * density * radius.numpy() ** (2 - s) / (2 - s), rtol=tolerance(s))


@pytest.mark.parametrize("s", [0.05, 1.0, 3.0])
def test_wings_of_the_default_reach_beyond_the_box(basis, s):
    """A hundred times fewer Gaussians than WIDE: (r / sigma_last)^(2 + s) is missing outside, 3e-6 at 10 kpc for a flat profile."""
    found = mge.surface_density(RADII, power_law(basis, s), torch.from_numpy(basis.sigma)) * (RADII / 100) ** s
    assert (found - 1).abs().max() < tolerance(s) + (1e4 / np.sort(basis.sigma)[-2]) ** (2 + s)


STEEP_INSIDE = (0.14, 3.9, 1.02, 2.4)  # the slope is above 2 at the break and still 1.85 at the innermost wing
INNER = [(1.0, 1.6, 0.7, 150.0), (0.3, 1.3, 1.0, 50.0), (0.1, 1.0, 0.5, 2.0), (0.1, 0.301, 0.001, 2000.0), STEEP_INSIDE]


@pytest.mark.parametrize("parameters", INNER)
def test_innermost_wing_holds_the_mass_of_the_cusp(basis, parameters):
    """At the innermost dispersion all mass comes from the last wing and what it stands for."""
    radius = np.array([0.05, 0.2])
    profile = nuker.Nuker(*(np.array([[v]]) for v in parameters))
    found = mge.enclosed_mass(torch.from_numpy(radius), local_expansion(basis, *column(*parameters))[0], torch.from_numpy(basis.sigma))
    # midpoint rule of whole steps, (step^2 / 24) of the mass inside; without what follows inwards 1 to 90 % of the mass are missing
    np.testing.assert_allclose(found.numpy(), abel.enclosed_mass(profile, radius), rtol=1e-3)


# --- order of the local expansion


def test_error_falls_with_the_third_power_of_alpha():
    """g, the first and the second order are kept, so what is left is of order alpha^3; without the second order it would be alpha^2."""
    errors = [error(WIDE, local_expansion(WIDE, *column(a, 3.0, 0.5, 100.0))[0], a, 3.0, 0.5, 100.0).max() for a in (0.8, 0.4, 0.2)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) > 2.5
    assert errors[-1] < 2e-4  # 0.2^3 / 24 times delta = 2.5 and derivatives of g of about 1/5


def test_terms_follow_from_the_operator():
    """G(D) applied to exp(L) by the moments of G: a Gaussian-smooth profile of slopes s + e1 t + e2 t^2 / 2 at its own place."""
    alpha, beta, gamma = column(0.7, 2.0, 0.4)
    ln_x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    amplitudes, density, slope = local_amplitudes(ln_x, alpha, beta, gamma, 0.2)
    rise = torch.sigmoid(alpha * ln_x)
    slope1 = alpha * (beta - gamma) * rise * (1 - rise)
    slope2 = alpha * slope1 * (1 - 2 * rise)

    def g(s, n):
        return float(mpmath.diff(lambda u: 2 ** (1 - u / 2) * mpmath.rgamma(u / 2), s, n))

    rows = zip(slope[0].tolist(), slope1[0].tolist(), slope2[0].tolist(), strict=True)
    expected = [g(s, 0) - g(s, 2) * s1 / 2 + g(s, 3) * s2 / 6 + g(s, 4) * s1**2 / 8 for s, s1, s2 in rows]
    np.testing.assert_allclose((amplitudes / density)[0] / 0.2, expected, atol=2e-5)  # the fit of g'' (5e-5) times s' / 2 <= 0.14


def test_slope_and_density_are_those_of_the_profile():
    alpha, beta, gamma = column(2.0, 2.5, 0.4)
    ln_x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    _, density, slope = local_amplitudes(ln_x, alpha, beta, gamma, 0.2)
    h = 1e-4

    def at(offset):
        return local_amplitudes(ln_x + offset, alpha, beta, gamma, 0.2)

    # central differences: h^2 times third derivatives of order ten
    torch.testing.assert_close(slope, -(torch.log(at(h)[1]) - torch.log(at(-h)[1])) / (2 * h), rtol=0, atol=1e-6)
    torch.testing.assert_close(density, torch.exp(nuker.log_surface_density(torch.exp(ln_x), alpha, beta, gamma, 1.0)), rtol=1e-13, atol=0)


@pytest.mark.parametrize(("column_of_weights", "derivative", "tolerance"), [(0, 0, POLYNOMIAL), (1, 2, 1e-4), (2, 3, 1e-3), (3, 4, 1e-2)])
def test_weights(column_of_weights, derivative, tolerance):
    """Every derivative of the interpolant loses a factor of about ten; s', s'', s'^2 that multiply them are small where the expansion is used."""
    s = np.linspace(*DOMAIN, 21)
    exact = [float(mpmath.diff(lambda u: 2 ** (1 - u / 2) * mpmath.rgamma(u / 2), v, derivative)) for v in s]
    found = np.polynomial.polynomial.polyval(2 * s / DOMAIN[1] - 1, WEIGHTS[:, column_of_weights].numpy()) / FACTORS[column_of_weights]
    assert WEIGHTS.shape == (DEGREE + 1, 4)
    np.testing.assert_allclose(found, exact, rtol=0, atol=tolerance)


# --- precision and gradients


def test_float32_over_the_whole_box(basis, draw):
    parameters = draw(500)
    exact, density = local_expansion(basis, *parameters)
    single, _ = local_expansion(basis, *(p.float() for p in parameters))
    assert single.dtype == torch.float32
    local = torch.exp(nuker.log_surface_density(torch.from_numpy(basis.sigma), *parameters))
    difference = ((single.double() - exact).abs()[:, :-1] / density)[:, :64]
    # beta (<= 4.2) times ln x (<= 10) rounds to 5e-6; the fourth derivative (coefficients of 1e3 that cancel) times s'^2 / 8 (<= 7)
    assert difference.max() < 1e-3
    assert difference.median() < 1e-5
    assert torch.isfinite(single).all()
    assert torch.isfinite(local).all()


def test_gradients(basis):
    parameters = [p.requires_grad_() for p in column(1.4, 1.9, 0.6, 130.0)]
    assert torch.autograd.gradcheck(lambda *p: local_expansion(basis, *p)[0][:, :100].log(), parameters, eps=1e-6, atol=1e-5)


def test_rows_do_not_see_each_other(basis, draw):
    parameters = draw(20)
    together = local_expansion(basis, *parameters)[0]
    alone = torch.cat([local_expansion(basis, *(p[i : i + 1] for p in parameters))[0] for i in range(20)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)  # vectorised exp differs in the last bits


@pytest.mark.parametrize("wings", [{"n_inner": 0}, {"n_outer": 0}])
def test_wings_on_one_side_alone_are_refused(wings):
    with pytest.raises(InputError, match="wings on both sides, or none"):
        Basis(**wings)
