"""The Nuker surface density (Lauer et al. 1995, eq. 1): two power laws and the break between them."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from galmass.profiles.checks import of_one_kind, require, require_finite, require_radius


def log_surface_density(radius, alpha, beta, gamma, r_break):
    """Natural logarithm of Sigma / Sigma_b, without checks.

    ``ln Sigma = (beta - gamma) / alpha * (ln 2 - ln(1 + x^alpha)) - gamma ln x`` with ``x = r / r_b``; the logarithm of
    the sum is taken as a whole, so nothing overflows in float32 (x^alpha alone would, from 1e4^10 on).

    Parameters
    ----------
    radius, alpha, beta, gamma, r_break : tensors or arrays that broadcast
        Projected major axis [pc], sharpness of the break, outer and inner slope, break radius [pc].
    """
    ratio = radius / r_break
    return log_density_at(torch.log(ratio) if isinstance(ratio, torch.Tensor) else np.log(ratio), alpha, beta, gamma)


def log_density_at(ln_x, alpha, beta, gamma):
    """Natural logarithm of Sigma / Sigma_b at ln_x = ln(r / r_b), without checks."""
    log1p_exp = _log1p_exp if isinstance(ln_x, torch.Tensor) else lambda x: np.logaddexp(0.0, x)
    return (beta - gamma) / alpha * (math.log(2) - log1p_exp(alpha * ln_x)) - gamma * ln_x


def _log1p_exp(x):
    return torch.nn.functional.softplus(x, threshold=40)  # x itself beyond: exp(-40) is lost in float64


def surface_density(radius, alpha, beta, gamma, r_break, sigma_break=1.0):
    """Surface density at projected major axis `radius`, in the unit of `sigma_break`.

    Parameters
    ----------
    radius : tensor or array
        Projected major axis [pc], > 0.
    alpha, beta, gamma, r_break : tensors or arrays that broadcast with it
        Sharpness of the break (> 0), outer slope (> gamma), inner slope, break radius [pc] (> 0).
    sigma_break : tensor or array
        Surface density at the break radius [M_sun / pc^2].

    Raises
    ------
    InputError
        For radii, sharpness or break radius that are not positive, beta <= gamma, NaN or infinity.

    Notes
    -----
    Checks look at values, so this function cannot stand inside ``torch.func.vmap``; `log_surface_density` can.
    """
    radius, *parameters, sigma_break = of_one_kind(radius, alpha, beta, gamma, r_break, sigma_break)
    require_radius("Nuker", radius)
    require_finite("Nuker", sigma_break=sigma_break)
    check(*parameters)
    exp = torch.exp if isinstance(radius, torch.Tensor) else np.exp
    return sigma_break * exp(log_surface_density(radius, *parameters))


def slope(radius, alpha, beta, gamma, r_break):
    """Local slope s = -dln Sigma / dln r: gamma well inside the break, beta well outside; without checks."""
    log, expit = (torch.log, torch.sigmoid) if isinstance(radius, torch.Tensor) else (np.log, _expit)
    return gamma + (beta - gamma) * expit(alpha * log(radius / r_break))


def _expit(x):
    return np.exp(-np.logaddexp(0.0, -x))


def check(alpha, beta, gamma, r_break) -> None:
    """Raise `InputError` for parameters that are no Nuker profile."""
    require_finite("Nuker", alpha=alpha, beta=beta, gamma=gamma, r_break=r_break)
    require("Nuker", "alpha", alpha, alpha > 0, "above 0")
    require("Nuker", "r_break", r_break, r_break > 0, "above 0 [pc]")
    require("Nuker", "beta - gamma", beta - gamma, beta > gamma, "above 0: the profile steepens outwards")


@dataclass(frozen=True)
class Nuker:
    """Nuker profiles of NumPy parameters that broadcast with the radii: give a batch the shape (n, 1)."""

    alpha: np.ndarray
    beta: np.ndarray
    gamma: np.ndarray
    r_break: np.ndarray
    sigma_break: float = 1.0

    def surface_density(self, radius):
        """Surface density [unit of sigma_break] at projected major axis `radius` [pc]."""
        return self.sigma_break * np.exp(log_surface_density(radius, self.alpha, self.beta, self.gamma, self.r_break))

    def slope(self, radius):
        """-dln Sigma / dln r."""
        return slope(radius, self.alpha, self.beta, self.gamma, self.r_break)

    def outer_slope(self):
        """Slope at infinity: the total mass diverges where it is <= 2."""
        return self.beta
