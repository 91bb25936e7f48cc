"""Sersic (1963) and core-Sersic (Graham et al. 2003, Trujillo et al. 2004) surface densities, tensors or arrays as in `nuker`."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from galmass.profiles.checks import of_one_kind, require, require_finite, require_radius

N_MIN = 0.36  # below, the series of b_n leaves 2e-3 (MacArthur, Courteau & Holtzman 2003, appendix A)


def b_n(n):
    """The b that makes r_e the half-light radius: median of the gamma distribution of shape a = 2n.

    Asymptotic series in 1/a (Ciotti & Bertin 1999, eq. 18; a^-3 and a^-4 after Berg & Pedersen 2006: the printed
    131/1148175 and 2194697/30690717750 of the former are off by 40 % and 8 %). Relative error against the incomplete
    gamma function: 2.2e-3 at n = 0.36, 1.5e-4 at 0.5, below 3e-6 from 0.7 on.
    """
    a = 2 * n
    return a - 1 / 3 + (8 / 405 + (184 / 25515 + (2248 / 3444525 - 19006408 / 15345358875 / a) / a) / a) / a


def _namespace(radius):
    return torch if isinstance(radius, torch.Tensor) else np


def _log1p_exp(x):
    xp = _namespace(x)
    return xp.logaddexp(x, xp.zeros_like(x))


def log_surface_density(radius, n, r_e):
    """Natural logarithm of Sigma / Sigma_e, ``-b_n ((r / r_e)^(1/n) - 1)`` (Graham & Driver 2005, eq. 1), without checks.

    Parameters
    ----------
    radius, n, r_e : tensors or arrays that broadcast
        Projected major axis [pc], Sersic index, half-light radius [pc].
    """
    xp = _namespace(radius)
    return -b_n(n) * xp.expm1(xp.log(radius / r_e) / n)


def surface_density(radius, n, r_e, sigma_e=1.0):
    """Sersic surface density at projected major axis `radius`, in the unit of `sigma_e`.

    Parameters
    ----------
    radius : tensor or array
        Projected major axis [pc], > 0.
    n, r_e : tensors or arrays that broadcast with it
        Sersic index (>= 0.36), half-light radius [pc] (> 0).
    sigma_e : tensor or array
        Surface density at r_e [M_sun / pc^2].

    Raises
    ------
    InputError
        For radii or r_e that are not positive, n below 0.36, NaN or infinity. As in `nuker`, checks cannot stand inside
        ``torch.func.vmap``; `log_surface_density` can.
    """
    radius, n, r_e, sigma_e = of_one_kind(radius, n, r_e, sigma_e)
    require_radius("Sersic", radius)
    require_finite("Sersic", n=n, r_e=r_e, sigma_e=sigma_e)
    _check_outer("Sersic", n, r_e)
    return sigma_e * _namespace(radius).exp(log_surface_density(radius, n, r_e))


def slope(radius, n, r_e):
    """Local slope -dln Sigma / dln r = ``b_n / n (r / r_e)^(1/n)``, without checks."""
    return b_n(n) / n * (radius / r_e) ** (1 / n)


def log_core_surface_density(radius, alpha, gamma, r_break, n, r_e):
    """Natural logarithm of Sigma / Sigma_b of the core-Sersic profile, without checks.

    ``Sigma = Sigma' (1 + (r_b / r)^alpha)^(gamma / alpha) exp(-b ((r^alpha + r_b^alpha) / r_e^alpha)^(1 / (alpha n)))``
    (Graham et al. 2003, eq. 5; Trujillo et al. 2004, eq. 5) with Sigma' such that Sigma(r_b) = Sigma_b. b is b_n: n and r_e
    are those of the Sersic profile that continues inwards without the core. Sums of powers are taken by logaddexp.

    Parameters
    ----------
    radius, alpha, gamma, r_break, n, r_e : tensors or arrays that broadcast
        Projected major axis [pc], sharpness of the break, inner slope, break radius [pc], Sersic index and half-light radius [pc].
    """
    z = alpha * _namespace(radius).log(radius / r_break)
    core = gamma / alpha * (_log1p_exp(-z) - math.log(2))
    at_break = b_n(n) * (2 ** (1 / alpha) * r_break / r_e) ** (1 / n)
    return core - at_break * _namespace(radius).expm1((_log1p_exp(z) - math.log(2)) / (alpha * n))


def core_surface_density(radius, alpha, gamma, r_break, n, r_e, sigma_break=1.0):
    """Core-Sersic surface density at projected major axis `radius`, in the unit of `sigma_break`.

    Parameters
    ----------
    radius : tensor or array
        Projected major axis [pc], > 0.
    alpha, gamma, r_break, n, r_e : tensors or arrays that broadcast with it
        Sharpness of the break (> 0), inner slope, break radius [pc] (> 0), Sersic index (>= 0.36), half-light radius [pc] (> 0).
    sigma_break : tensor or array
        Surface density at the break radius [M_sun / pc^2].

    Raises
    ------
    InputError
        For a radius, sharpness, break or half-light radius that is not positive, n below 0.36, NaN or infinity.
    """
    radius, alpha, gamma, r_break, n, r_e, sigma_break = of_one_kind(radius, alpha, gamma, r_break, n, r_e, sigma_break)
    require_radius("core-Sersic", radius)
    require_finite("core-Sersic", alpha=alpha, gamma=gamma, r_break=r_break, n=n, r_e=r_e, sigma_break=sigma_break)
    require("core-Sersic", "alpha", alpha, alpha > 0, "above 0")
    require("core-Sersic", "r_break", r_break, r_break > 0, "above 0 [pc]")
    _check_outer("core-Sersic", n, r_e)
    return sigma_break * _namespace(radius).exp(log_core_surface_density(radius, alpha, gamma, r_break, n, r_e))


def core_slope(radius, alpha, gamma, r_break, n, r_e):
    """Local slope -dln Sigma / dln r: gamma well inside the break, that of the Sersic profile well outside; without checks."""
    xp = _namespace(radius)
    z = alpha * xp.log(radius / r_break)
    inside, outside = xp.exp(-_log1p_exp(z)), xp.exp(-_log1p_exp(-z))
    return gamma * inside + outside * slope(r_break * xp.exp(_log1p_exp(z) / alpha), n, r_e)


def _check_outer(profile, n, r_e) -> None:
    require(profile, "n", n, n >= N_MIN, f"at least {N_MIN}, where the series of b_n holds")
    require(profile, "r_e", r_e, r_e > 0, "above 0 [pc]")


@dataclass(frozen=True)
class Sersic:
    """Sersic profiles of NumPy parameters that broadcast with the radii: give a batch the shape (n, 1)."""

    n: np.ndarray
    r_e: np.ndarray
    sigma_e: float = 1.0

    def surface_density(self, radius):
        """Surface density [unit of sigma_e] at projected major axis `radius` [pc]."""
        return self.sigma_e * np.exp(log_surface_density(radius, self.n, self.r_e))

    def slope(self, radius):
        """-dln Sigma / dln r."""
        return slope(radius, self.n, self.r_e)

    def outer_slope(self):
        """Infinite: it falls faster than any power."""
        return np.inf


@dataclass(frozen=True)
class CoreSersic:
    """Core-Sersic profiles of NumPy parameters that broadcast with the radii: give a batch the shape (n, 1)."""

    alpha: np.ndarray
    gamma: np.ndarray
    r_break: np.ndarray
    n: np.ndarray
    r_e: np.ndarray
    sigma_break: float = 1.0

    def surface_density(self, radius):
        """Surface density [unit of sigma_break] at projected major axis `radius` [pc]."""
        logarithm = log_core_surface_density(radius, self.alpha, self.gamma, self.r_break, self.n, self.r_e)
        return self.sigma_break * np.exp(logarithm)

    def slope(self, radius):
        """-dln Sigma / dln r."""
        return core_slope(radius, self.alpha, self.gamma, self.r_break, self.n, self.r_e)

    def outer_slope(self):
        """Infinite: it falls faster than any power."""
        return np.inf
