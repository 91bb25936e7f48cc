"""Sums of Gaussians: analytic density, masses and projection against quadrature."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import gammainc

from galmass.profiles import abel, mge

SIGMA = torch.tensor([3.0, 40.0, 900.0], dtype=torch.float64)
AMPLITUDES = torch.tensor([[5e4, 2e3, 30.0], [10.0, -2.0, 1.0]], dtype=torch.float64)
Q_INTR, INCLINATION = 0.6, torch.tensor(math.radians(70.0), dtype=torch.float64)
Q_OBS = mge.observed_axial_ratio(Q_INTR, INCLINATION)


class Gaussian:
    """A profile as `abel` asks for, of one Gaussian."""

    def __init__(self, sigma):
        self.sigma = sigma

    def surface_density(self, radius):
        return np.exp(-0.5 * (radius / self.sigma) ** 2)

    def slope(self, radius):
        return (radius / self.sigma) ** 2


def test_axial_ratio_face_on_and_edge_on():
    inclination = torch.tensor([0.0, math.pi / 2], dtype=torch.float64)
    torch.testing.assert_close(mge.observed_axial_ratio(0.3, inclination), torch.tensor([1.0, 0.3], dtype=torch.float64))


def test_surface_density_is_the_sum():
    radius = torch.tensor([0.5, 30.0], dtype=torch.float64)
    terms = [[sum(a * math.exp(-0.5 * (r / s) ** 2) for a, s in zip(row, SIGMA, strict=True)) for r in radius] for row in AMPLITUDES]
    torch.testing.assert_close(mge.surface_density(radius, AMPLITUDES, SIGMA), torch.tensor(terms, dtype=torch.float64))


def test_density_is_the_abel_integral():
    radius = np.geomspace(0.1, 3000.0, 30)
    expected = sum(a.numpy()[:, None] * abel.density(Gaussian(float(s)), radius, Q_INTR, float(Q_OBS)) for a, s in zip(AMPLITUDES.T, SIGMA, strict=True))
    values = mge.density(torch.tensor(radius), AMPLITUDES, SIGMA, Q_INTR, Q_OBS).numpy()
    np.testing.assert_allclose(values[0], expected[0], rtol=1e-12)  # the step in t is far inside the Gaussian
    np.testing.assert_allclose(values[1], expected[1], rtol=1e-11, atol=1e-15)  # a negative term: some cancellation


@pytest.mark.parametrize("radius", [0.0, 2.0, 40.0, 700.0])
def test_projecting_the_density_gives_back_the_surface_density(radius):
    """Along the inclined line of sight through a point on the major axis: R^2 = r^2 + s^2 sin^2 i, z = s cos i."""
    sine, cosine = math.sin(INCLINATION), math.cos(INCLINATION)

    def along(s):
        m = math.sqrt(radius**2 + (s * sine) ** 2 + (s * cosine / Q_INTR) ** 2)
        return float(mge.density(torch.tensor([m], dtype=torch.float64), AMPLITUDES, SIGMA, Q_INTR, Q_OBS)[0, 0])

    edges = [0.0, 3.0, 15.0, 100.0, 600.0, 3000.0, 1e4]  # ten times the widest Gaussian
    integral = 2 * sum(quad(along, a, b, epsrel=1e-10)[0] for a, b in pairwise(edges))
    expected = mge.surface_density(torch.tensor([radius], dtype=torch.float64), AMPLITUDES, SIGMA)[0, 0]
    assert integral == pytest.approx(float(expected), rel=1e-9)  # of quad


def test_projecting_on_the_minor_axis_finds_the_observed_flattening():
    """At height y on the sky: R = y cos i + s sin i in the equatorial plane, z = y sin i - s cos i."""
    sine, cosine, y, sigma = math.sin(INCLINATION), math.cos(INCLINATION), 25.0, SIGMA[1:2]
    one = torch.ones(1, dtype=torch.float64)

    def along(s):
        m = math.hypot(y * cosine + s * sine, (y * sine - s * cosine) / Q_INTR)
        return float(mge.density(m * one, one, sigma, Q_INTR, Q_OBS))

    integral = quad(along, -600.0, 600.0, points=[0.0], epsrel=1e-10)[0]
    expected = mge.surface_density(y / Q_OBS * one, one, sigma)
    assert integral == pytest.approx(float(expected), rel=1e-9)  # of quad


# float32: roundings of the incomplete gamma function
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_enclosed_mass_from_tiny_to_large_radii(dtype, error):
    """Of one Gaussian: the regularised incomplete gamma function P(3/2, m^2 / 2 sigma^2)."""
    radius = torch.logspace(-4, 4, 400, dtype=dtype)
    mass = mge.enclosed_mass(radius, torch.ones(1, dtype=dtype), torch.tensor([40.0], dtype=dtype), 0.8)
    share = gammainc(1.5, (radius.double().numpy() / 40.0) ** 2 / 2)
    assert mass.dtype == dtype
    np.testing.assert_allclose(mass, 2 * np.pi * 0.8 * 1600.0 * share, rtol=error)


def test_enclosed_mass_is_the_integral_of_the_density():
    def shell(m):
        return float(m**2 * mge.density(torch.tensor([m], dtype=torch.float64), AMPLITUDES, SIGMA, Q_INTR, Q_OBS)[0, 0])

    radius = [1e-3, 2.0, 50.0, 1000.0]
    values = mge.enclosed_mass(torch.tensor(radius, dtype=torch.float64), AMPLITUDES, SIGMA, Q_OBS)[0]
    edges = [0.0, *radius]
    shells = [4 * np.pi * Q_INTR * quad(shell, a, b, epsabs=0, epsrel=1e-10, limit=200)[0] for a, b in zip(edges[:-1], radius, strict=True)]
    np.testing.assert_allclose(values, np.cumsum(shells), rtol=2e-9)  # the next term of the series at tiny radii, quad elsewhere


def test_all_of_the_mass_is_inside_a_large_radius():
    total = mge.total_mass(AMPLITUDES, SIGMA, Q_OBS)
    inside = mge.enclosed_mass(torch.tensor([1e4], dtype=torch.float64), AMPLITUDES, SIGMA, Q_OBS)[:, 0]
    torch.testing.assert_close(inside, total, rtol=1e-13, atol=0.0)  # erfc(8) = 1e-29
    by_hand = 2 * math.pi * float(Q_OBS) * (5e4 * 9 + 2e3 * 1600 + 30 * 810000)
    assert float(total[0]) == pytest.approx(by_hand, rel=1e-14)


def test_enclosed_mass_has_finite_gradients_on_both_sides_of_the_series():
    sigma = torch.tensor([3.0, 40.0], dtype=torch.float64, requires_grad=True)
    amplitudes = torch.tensor([2.0, 1.0], dtype=torch.float64, requires_grad=True)
    radius = torch.tensor([0.01, 2.0, 500.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mge.enclosed_mass, (radius, amplitudes, sigma))
