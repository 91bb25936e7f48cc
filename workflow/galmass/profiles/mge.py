"""Sums of Gaussians (multi-Gaussian expansion; Emsellem et al. 1994, Cappellari 2002) and what they deproject to.

Observed: ``Sigma(r) = sum_i A_i exp(-r^2 / 2 sigma_i^2)`` with r the projected major axis. Intrinsic: every Gaussian is an
oblate spheroid of the same axial ratio q, constant on ``m^2 = R^2 + z^2 / q^2``. Tensors in, tensors out; `amplitudes`
(..., n_gauss) broadcast against `sigma` (n_gauss,); radii go to the last axis.
"""

import math

import torch


def surface_density(radius, amplitudes, sigma):
    """Surface density (..., n_radius) in the unit of `amplitudes` at `radius` (n_radius,) [pc]."""
    return amplitudes @ gaussians(radius, sigma)


def gaussians(radius, sigma):
    """``exp(-r^2 / 2 sigma^2)``, (n_gauss, n_radius)."""
    return torch.exp(-0.5 * (radius / sigma[:, None]) ** 2)


def observed_axial_ratio(q_intr, inclination):
    """Axial ratio on the sky: ``q_obs^2 = q^2 sin^2 i + cos^2 i``; inclination [rad], 0 is face-on."""
    return torch.sqrt((q_intr * torch.sin(inclination)) ** 2 + torch.cos(inclination) ** 2)


def central_densities(amplitudes, sigma, q_intr, q_obs):
    """Central mass density of each Gaussian, ``A q_obs / (q sigma sqrt(2 pi))`` (..., n_gauss) [M_sun / pc^3]."""
    return amplitudes * q_obs / (q_intr * sigma * math.sqrt(2 * math.pi))


def density(radius, amplitudes, sigma, q_intr=1.0, q_obs=1.0):
    """Mass density (..., n_radius) [M_sun / pc^3] where m = `radius` (n_radius,) [pc]."""
    return surface_density(radius, central_densities(amplitudes, sigma, q_intr, q_obs), sigma)


def enclosed_mass(radius, amplitudes, sigma, q_obs=1.0):
    """Mass (..., n_radius) [M_sun] inside the spheroids m <= `radius` (n_radius,) [pc]; it depends on q through q_obs alone."""
    # erf(x) - 2 x exp(-x^2) / sqrt(pi) with x = m / (sqrt(2) sigma), without its cancellation at small x
    share = torch.special.gammainc(torch.full((), 1.5, dtype=sigma.dtype, device=sigma.device), 0.5 * (radius / sigma[:, None]) ** 2)
    return (2 * math.pi * q_obs * amplitudes * sigma**2) @ share


def total_mass(amplitudes, sigma, q_obs=1.0):
    """Mass (...) [M_sun] of all Gaussians; of a deprojection take `enclosed_mass`: its outermost Gaussian stands for a constant."""
    return 2 * math.pi * q_obs * (amplitudes * sigma**2).sum(-1)
