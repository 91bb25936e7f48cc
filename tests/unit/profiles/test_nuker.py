"""The Nuker profile: its formula, its limits, float32 over the whole prior, derivatives, kinds of input, refusals."""

import itertools

import numpy as np
import pytest
import torch

from galmass.errors import InputError
from galmass.profiles import nuker

SANE = {"alpha": 1.5, "beta": 1.6, "gamma": 0.7, "r_break": 150.0}
RADII = np.geomspace(1.0, 2e4, 50)


def naive(radius, alpha, beta, gamma, r_break):
    """Lauer et al. (1995), eq. 1, as printed."""
    x = radius / r_break
    return 2 ** ((beta - gamma) / alpha) * x**-gamma * (1 + x**alpha) ** ((gamma - beta) / alpha)


def box():
    """Corners and middle of the prior, (n, 1) each, and radii over nine decades."""
    corners = np.array(list(itertools.product([0.1, 1.0, 10.0], [0.001, 0.6, 1.2], [0.3, 1.0, 3.0], [2.0, 60.0, 2000.0])))
    alpha, gamma, steepening, r_break = corners.T[:, :, None]
    return np.geomspace(1e-3, 1e6, 91), (alpha, gamma + steepening, gamma, r_break)


@pytest.mark.parametrize(("alpha", "beta", "gamma"), [(0.3, 2.5, 0.0), (1.5, 1.6, 0.7), (4.0, 1.2, -0.1)])
def test_is_the_printed_formula(alpha, beta, gamma):
    values = nuker.surface_density(RADII, alpha, beta, gamma, 150.0, 3e3)
    np.testing.assert_allclose(values, 3e3 * naive(RADII, alpha, beta, gamma, 150.0), rtol=1e-13)  # rounding of float64


def test_is_sigma_break_at_the_break():
    assert nuker.surface_density(150.0, **SANE, sigma_break=3e3) == pytest.approx(3e3, rel=1e-15)


def test_slopes_far_from_the_break():
    assert nuker.slope(150e-12, **SANE) == pytest.approx(0.7, abs=1e-12)  # x^alpha = 1e-18
    assert nuker.slope(150e12, **SANE) == pytest.approx(1.6, abs=1e-12)
    assert nuker.slope(150.0, **SANE) == pytest.approx((1.6 + 0.7) / 2, rel=1e-15)


def test_sharp_break_is_two_power_laws():
    x = RADII / 150.0
    sharp = nuker.surface_density(RADII, 1e4, 1.6, 0.7, 150.0)
    np.testing.assert_allclose(sharp, np.where(x < 1, x**-0.7, x**-1.6), rtol=0.9 * np.log(2) / 1e4 * 1.01)  # 2^((beta - gamma) / alpha)


def test_float32_over_the_whole_prior():
    radius, parameters = box()
    exact = nuker.log_surface_density(radius, *parameters)
    single = nuker.log_surface_density(*(torch.tensor(v, dtype=torch.float32) for v in (radius, *parameters)))
    with np.errstate(over="ignore"):
        assert np.isinf((np.float32(1e6) / np.float32(2.0)) ** np.float32(10)), "the plain power overflows here"
    assert single.dtype == torch.float32
    assert torch.isfinite(single).all()
    # ln x (<= 20) rounds to 1e-6 and beta (<= 4.2) multiplies it; the (beta - gamma) / alpha (<= 30) multiplies roundings of ln 2
    np.testing.assert_allclose(single.double().numpy(), exact, rtol=1e-6, atol=1e-5)


def test_float32_gradients_are_finite_over_the_whole_prior():
    radius, parameters = box()
    leaves = [torch.tensor(p, dtype=torch.float32, requires_grad=True) for p in parameters]
    nuker.log_surface_density(torch.tensor(radius, dtype=torch.float32), *leaves).sum().backward()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)


def test_slope_is_the_derivative():
    radius = torch.tensor(RADII, requires_grad=True)
    log_density = nuker.log_surface_density(radius, **SANE)
    (gradient,) = torch.autograd.grad(log_density.sum(), radius)
    slope = nuker.slope(torch.tensor(RADII), **SANE)
    np.testing.assert_allclose(slope, -(gradient * radius).detach(), rtol=1e-12)  # rounding
    step = 1e-4
    up, down = (nuker.log_surface_density(RADII * np.exp(sign * step), **SANE) for sign in (1, -1))
    np.testing.assert_allclose(slope, (down - up) / (2 * step), rtol=1e-7)  # step^2 / 6 and rounding / step


def test_gradients_by_finite_differences():
    leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([3.0, 140.0, 9e3], 1.5, 1.6, 0.7, 150.0, 20.0)]
    assert torch.autograd.gradcheck(nuker.surface_density, leaves)


def test_vmap_is_the_loop():
    alpha = torch.tensor([0.1, 1.0, 7.0])
    radius = torch.tensor([1.0, 50.0])
    batch = torch.func.vmap(lambda a: nuker.log_surface_density(radius, a, 1.6, 0.7, 150.0))(alpha)
    loop = torch.stack([nuker.log_surface_density(radius, a, 1.6, 0.7, 150.0) for a in alpha])
    torch.testing.assert_close(batch, loop)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_keep_their_kind_beside_scalars(dtype):
    column = torch.tensor([[0.5], [1.5], [3.0]], dtype=dtype)
    values = nuker.surface_density(torch.tensor(RADII, dtype=dtype), column, 1.6, 0.7, 150.0)
    assert values.dtype == dtype
    assert values.shape == (3, 50)
    assert nuker.slope(torch.tensor(RADII, dtype=dtype), column, 1.6, 0.7, 150.0).dtype == dtype


def test_arrays_broadcast_and_scalars_lose_no_digit():
    values = nuker.surface_density(RADII, np.array([[0.3], [1.5]]), 1.6, 0.7, 150.0)
    assert values.shape == (2, 50)
    assert values.dtype == np.float64
    single = nuker.surface_density(RADII, 0.3, 1.6, 0.7, 150.0)
    np.testing.assert_allclose(single, values[0], rtol=1e-14)  # 0.3 taken as float32 would leave 1e-7


def test_float32_arrays_stay_float32():
    assert nuker.surface_density(RADII.astype(np.float32), 0.3, 1.6, 0.7, 150.0, 2.0).dtype == np.float32


def test_a_scalar_beside_a_tensor_of_integers_stays_a_fraction():
    values = nuker.surface_density(torch.tensor([1, 100]), 0.5, 1.6, 0.7, 150.0)
    np.testing.assert_allclose(values, nuker.surface_density(np.array([1, 100]), 0.5, 1.6, 0.7, 150.0), rtol=1e-6)  # float32


def test_the_class_is_the_function():
    profile = nuker.Nuker(**SANE, sigma_break=4.0)
    np.testing.assert_array_equal(profile.surface_density(RADII), nuker.surface_density(RADII, **SANE, sigma_break=4.0))
    np.testing.assert_array_equal(profile.slope(RADII), nuker.slope(RADII, **SANE))
    assert profile.outer_slope() == SANE["beta"]


REFUSED = [
    *[("radius", v) for v in (0.0, -1.0, np.nan, np.inf)],
    *[("alpha", v) for v in (0.0, -1.0, np.nan, np.inf)],
    *[("r_break", v) for v in (0.0, -1.0, np.nan, np.inf)],
    *[("beta", v) for v in (np.nan, np.inf)],
    *[("gamma", v) for v in (np.nan, -np.inf)],
    *[("sigma_break", v) for v in (np.nan, np.inf)],
]


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_names_what_it_refuses(name, value, kind):
    arguments = {key: kind([good, good]) for key, good in {"radius": 10.0, **SANE, "sigma_break": 3.0}.items()}
    arguments[name][1] = value
    with pytest.raises(InputError, match=f"Nuker profile: {name} is {value:g}; it must be "):
        nuker.surface_density(**arguments)


@pytest.mark.parametrize("beta", [0.7, 0.5])
def test_refuses_a_profile_that_does_not_steepen(beta):
    with pytest.raises(InputError, match="beta - gamma"):
        nuker.surface_density(10.0, 1.5, beta, 0.7, 150.0)
