"""Sersic and core-Sersic: b_n, closed forms, limits, float32, derivatives, kinds of input, refusals."""

import itertools

import numpy as np
import pytest
import torch
from scipy.special import gamma as gamma_function
from scipy.special import gammainc, gammaincinv, k0

from galmass.errors import InputError
from galmass.profiles import abel, sersic

RADII = np.geomspace(1.0, 2e4, 50)
OUTER = {"n": 3.0, "r_e": 2000.0}
CORE = {"alpha": 1.5, "gamma": 0.1, "r_break": 150.0, **OUTER}


@pytest.mark.parametrize(("lowest", "error"), [(0.36, 2.2e-3), (0.5, 1.5e-4), (0.7, 3e-6), (2.0, 1e-7)])
def test_b_n_is_the_median_of_the_gamma_distribution(lowest, error):
    n = np.linspace(lowest, 10.0, 500)
    np.testing.assert_allclose(sersic.b_n(n), gammaincinv(2 * n, 0.5), rtol=error)  # as the docstring states: the series is asymptotic


def test_half_the_light_is_inside_r_e():
    n = np.array([0.5, 1.0, 4.0, 10.0])
    np.testing.assert_allclose(gammainc(2 * n, sersic.b_n(n)), 0.5, atol=6e-5)  # 1.5e-4 of b at n = 0.5


def test_is_sigma_e_at_r_e_and_sigma_break_at_the_break():
    assert sersic.surface_density(2000.0, **OUTER, sigma_e=7.0) == pytest.approx(7.0, rel=1e-14)
    assert sersic.core_surface_density(150.0, **CORE, sigma_break=7.0) == pytest.approx(7.0, rel=1e-14)


def test_sersic_is_the_printed_formula():
    expected = 5 * np.exp(-sersic.b_n(3.0) * ((RADII / 2000.0) ** (1 / 3.0) - 1))
    np.testing.assert_allclose(sersic.surface_density(RADII, **OUTER, sigma_e=5.0), expected, rtol=1e-13)  # rounding


def test_core_sersic_is_the_printed_formula():
    """Graham et al. (2003), eqs. 5 and 6, in plain powers."""
    alpha, gamma, r_b, n, r_e = CORE.values()
    b = sersic.b_n(n)
    prefactor = 5 * 2 ** (-gamma / alpha) * np.exp(b * (2 ** (1 / alpha) * r_b / r_e) ** (1 / n))
    outer = np.exp(-b * ((RADII**alpha + r_b**alpha) / r_e**alpha) ** (1 / (alpha * n)))
    expected = prefactor * (1 + (r_b / RADII) ** alpha) ** (gamma / alpha) * outer
    np.testing.assert_allclose(sersic.core_surface_density(RADII, **CORE, sigma_break=5.0), expected, rtol=1e-13)  # rounding


def test_half_is_a_gaussian():
    b = sersic.b_n(0.5)
    np.testing.assert_allclose(sersic.surface_density(RADII, 0.5, 2e3), np.exp(-b * ((RADII / 2e3) ** 2 - 1)), rtol=1e-12)  # rounding * 70


def test_core_sersic_without_a_core_is_sersic():
    ratio = np.log(sersic.core_surface_density(RADII, 1.5, 0.0, 1e-9, **OUTER)) - np.log(sersic.surface_density(RADII, **OUTER))
    np.testing.assert_allclose(ratio, ratio[0], atol=1e-12)  # (r_b / r)^alpha = 3e-14


def test_sharp_core_is_a_power_law_inside_sersic():
    slope = sersic.core_slope(RADII, **{**CORE, "alpha": 1e4})
    expected = np.where(RADII < 150.0, 0.1, sersic.slope(RADII, **OUTER))
    away = abs(np.log(RADII / 150.0)) > 0.01  # (r / r_b)^alpha = e^100
    np.testing.assert_allclose(slope[away], expected[away], rtol=1e-12)


@pytest.mark.parametrize(
    ("log_density", "slope", "parameters"),
    [(sersic.log_surface_density, sersic.slope, OUTER), (sersic.log_core_surface_density, sersic.core_slope, CORE)],
)
def test_slope_is_the_derivative(log_density, slope, parameters):
    radius = torch.tensor(RADII, requires_grad=True)
    (gradient,) = torch.autograd.grad(log_density(radius, **parameters).sum(), radius)
    np.testing.assert_allclose(slope(torch.tensor(RADII), **parameters), -(gradient * radius).detach(), rtol=1e-12)  # rounding
    step = 1e-4
    up, down = (log_density(RADII * np.exp(sign * step), **parameters) for sign in (1, -1))
    np.testing.assert_allclose(slope(RADII, **parameters), (down - up) / (2 * step), rtol=1e-7)  # step^2 / 6 and rounding / step


def test_gradients_by_finite_differences():
    leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([30.0, 140.0, 9e3], 3.0, 2000.0, 20.0)]
    assert torch.autograd.gradcheck(sersic.surface_density, leaves)
    values = ([30.0, 140.0, 9e3], 1.5, 0.1, 150.0, 3.0, 2000.0, 20.0)
    leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    assert torch.autograd.gradcheck(sersic.core_surface_density, leaves)


def test_float32_is_finite_with_its_gradients():
    corners = np.array(list(itertools.product([0.1, 1.0, 10.0], [0.001, 1.2], [2.0, 2000.0], [0.36, 1.0, 10.0], [100.0, 1e4])))
    radius, parameters = np.geomspace(1e-3, 1e6, 91), corners.T[:, :, None]
    exact = sersic.log_core_surface_density(radius, *parameters)
    leaves = [torch.tensor(p, dtype=torch.float32, requires_grad=True) for p in parameters]
    single = sersic.log_core_surface_density(torch.tensor(radius, dtype=torch.float32), *leaves)
    # powers: 1/n (<= 2.8) times the rounding of ln(u) (<= 20) / alpha (>= 0.1), relative to the exponent and its value at the break
    alpha, _, r_break, n, r_e = parameters
    at_break = sersic.b_n(n) * (2 ** (1 / alpha) * r_break / r_e) ** (1 / n)
    error = abs(single.detach().double().numpy() - exact)
    assert (error <= 2e-5 * (abs(exact) + 1) + 3e-6 * at_break).all()
    torch.where(single > -80, single, 0.0).sum().backward()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)


def test_kinds_and_shapes():
    n = np.array([[0.5], [4.0]])
    for dtype in (np.float32, np.float64):
        radius, column = RADII.astype(dtype), n.astype(dtype)
        arrays = sersic.surface_density(radius, column, 2e3), sersic.core_surface_density(radius, 1.5, 0.1, 150.0, column, 2e3)
        radius, column = torch.tensor(radius), torch.tensor(column)
        tensors = sersic.surface_density(radius, column, 2e3), sersic.core_surface_density(radius, 1.5, 0.1, 150.0, column, 2e3)
        for array, tensor in zip(arrays, tensors, strict=True):
            assert array.dtype == dtype
            assert tensor.dtype == radius.dtype
            assert array.shape == tensor.shape == (2, 50)
            np.testing.assert_allclose(array, tensor, rtol=100 * np.finfo(dtype).eps * 70, atol=1e-37)  # exponents up to 70


def test_vmap_is_the_loop():
    n, radius = torch.tensor([0.5, 1.0, 6.0]), torch.tensor([1.0, 50.0])
    for function in (
        lambda n: sersic.log_surface_density(radius, n, 2e3),
        lambda n: sersic.log_core_surface_density(radius, 1.5, 0.1, 150.0, n, 2e3),
    ):
        torch.testing.assert_close(torch.func.vmap(function)(n), torch.stack([function(v) for v in n]))


def test_exponential_disc_deprojects_to_a_bessel_function():
    """Sigma = exp(-r / h) of a sphere is rho = K_0(r / h) / (pi h)."""
    scale = 2e3 / sersic.b_n(1.0)
    profile = sersic.Sersic(1.0, 2e3, np.exp(-sersic.b_n(1.0)))
    radius = np.geomspace(1.0, 2e4, 20)
    np.testing.assert_allclose(abel.density(profile, radius), k0(radius / scale) / (np.pi * scale), rtol=1e-12)  # exact to rounding


def test_total_mass_of_sersic():
    """Graham & Driver (2005), eq. 4."""
    n = np.array([[0.5], [1.0], [4.0], [10.0]])
    b, profile = sersic.b_n(n), sersic.Sersic(n, 2e3)
    expected = (2 * np.pi * n * 2e3**2 * np.exp(b) * b ** (-2 * n) * gamma_function(2 * n))[:, 0]
    np.testing.assert_allclose(abel.total_mass(profile, 0.8), 0.8 * expected, rtol=1e-11)  # step in ln r: exact to rounding
    far = abel.enclosed_mass(profile, np.array([1e8]))[:, 0]
    np.testing.assert_allclose(far, expected, rtol=1e-6)  # n = 10: exp(-57) is outside


def test_core_sersic_deprojects():
    """A sharp core is the power law's density deep inside; the mass of the whole is finite and that of the surface density."""
    profile = sersic.CoreSersic(**CORE, sigma_break=5.0)
    log_slope = -np.gradient(np.log(abel.density(profile, np.geomspace(1e-6, 2e-6, 3))), np.log(2) / 2)
    np.testing.assert_allclose(log_slope, 1.1, atol=1e-4)  # (r / r_b)^(1 - gamma) of light from outside the core
    mass = abel.enclosed_mass(profile, np.array([1e7]))[0]
    assert mass == pytest.approx(abel.total_mass(profile), rel=1e-6)
    assert np.isfinite(abel.circular_velocity(profile, RADII, 0.5, 0.7)).all()


def test_classes_are_the_functions():
    core, plain = sersic.CoreSersic(**CORE, sigma_break=5.0), sersic.Sersic(**OUTER, sigma_e=5.0)
    np.testing.assert_array_equal(core.surface_density(RADII), sersic.core_surface_density(RADII, **CORE, sigma_break=5.0))
    np.testing.assert_array_equal(plain.surface_density(RADII), sersic.surface_density(RADII, **OUTER, sigma_e=5.0))
    np.testing.assert_array_equal(core.slope(RADII), sersic.core_slope(RADII, **CORE))
    np.testing.assert_array_equal(plain.slope(RADII), sersic.slope(RADII, **OUTER))
    assert core.outer_slope() == plain.outer_slope() == np.inf


POSITIVE = (0.0, -1.0, np.nan, np.inf)
FINITE = (np.nan, np.inf)


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(["radius", "alpha", "r_break", "r_e"], POSITIVE),
        *itertools.product(["gamma", "n", "sigma_break"], FINITE),
        ("n", 0.35),
        ("n", 0.0),
    ],
)
def test_names_what_it_refuses(name, value, kind):
    arguments = {key: kind([good, good]) for key, good in {"radius": 10.0, **CORE, "sigma_break": 5.0}.items()}
    arguments[name][1] = value
    with pytest.raises(InputError, match=f"core-Sersic profile: {name} is {value:g}; it must be "):
        sersic.core_surface_density(**arguments)
    if name in ("radius", "n", "r_e"):
        plain = {key: arguments[key] for key in ("radius", "n", "r_e")}
        with pytest.raises(InputError, match=f"^Sersic profile: {name} is {value:g}; it must be "):
            sersic.surface_density(**plain)
