"""Exact deprojection of any surface density by quadrature: slow references in float64.

A *profile* is an object with ``surface_density(radius)``, ``slope(radius) = -dln Sigma / dln r`` and ``outer_slope()``. Its parameters may
be batches of shape (n, 1): results then have the shape (n, n_radius).

The density is constant on oblate spheroids ``m^2 = R^2 + z^2 / q^2``, seen at an inclination that makes the isophotes
``q_obs``. Then ``rho(m) = q_obs / q * rho_sphere(m)``, with the spherical Abel integral of the surface density along the
projected major axis (Binney & Tremaine 2008, eq. B.72 and section 2.5).
"""

import numpy as np
from scipy.interpolate import make_interp_spline

from galmass.errors import InputError
from galmass.units import G

# trapezoidal rule in t, r = m cosh t: the integrand is even and analytic up to Im t = pi / alpha, so steps of 0.1 leave
# exp(-2 pi * 0.314 / 0.1) = 3e-9 for the sharpest break (alpha = 10); it falls at least as exp(-t)
T_STEP, T_MAX = 0.1, 37.0
LOG_STEP = 0.05  # of the radii on which the velocity integral is summed
LN_R_MAX = 230.0  # ln(1e100): there the shallowest break (alpha = 0.1) has reached its outer slope to 1e-9
INWARDS = 40.0  # e-folds below the smallest radius at which the cusp is taken as a power law
N_END = 8  # weights corrected at the near end of that sum


def density(profile, radius, q_intr=1.0, q_obs=1.0):
    """Mass density at m = `radius` [surface density / pc], ``1/pi int_0^inf s Sigma / r dt`` with ``r = m cosh t``.

    Parameters
    ----------
    profile : object with surface_density and slope
    radius : float array
        [pc]; broadcasts with the parameters of the profile.
    q_intr, q_obs : float
        Intrinsic and observed axial ratio.
    """
    total = 0.0
    for t in np.arange(0.0, T_MAX, T_STEP):
        r = radius * np.cosh(t)
        total = total + (0.5 if t == 0 else 1.0) * profile.slope(r) * profile.surface_density(r) / r
    return q_obs / q_intr * total * T_STEP / np.pi


def _log_grid(radius):
    """Radii in descending order, LOG_STEP apart, from just above the largest of `radius` far into the cusp; how many lie above the smallest."""
    outer, inner = np.log(np.max(radius)) + 4 * LOG_STEP, np.log(np.min(radius)) - 4 * LOG_STEP
    wanted = int(np.ceil((outer - inner) / LOG_STEP)) + 1
    return np.exp(outer - LOG_STEP * np.arange(wanted + int(INWARDS / LOG_STEP))), wanted


def _weights(kernel, n_grid):
    """Weights (n_grid,) of ``int_0^inf f(y) kernel(y) dy`` on y = 0, LOG_STEP, 2 LOG_STEP ... for smooth f, however steep the kernel at 0.

    Trapezoidal, with the first N_END weights such that ``k^p exp(-k / 10)``, k = y / LOG_STEP, p < N_END, is integrated exactly:
    Gregory's rule where the kernel is smooth on one step. The velocity's kernel is not: it falls within q^2 / 2 of y = 0.
    """
    k, power = np.arange(n_grid), np.arange(N_END)[:, None]
    weights = LOG_STEP * kernel(LOG_STEP * k)
    fine = np.exp(np.arange(-40.0, 7.0, 0.1))  # k, in equal steps of ln k: exact to rounding
    exact = 0.1 * LOG_STEP * (kernel(LOG_STEP * fine) * fine ** (power + 1) * np.exp(-fine / 10)).sum(-1)
    functions = k ** power.astype(float) * np.exp(-k / 10)
    weights[:N_END] += np.linalg.solve(functions[:, :N_END], exact - functions @ weights)
    return weights


def _integrals(profile, radius, kernel, q_intr, q_obs):
    """``int_0^inf rho(m e^-y) m^3 e^-3y kernel(y) dy`` at `radius`: the density once per grid point, one sum per radius.

    What lies inside the innermost grid point is the power law there, where kernel(y) is kernel(inf).
    """
    grid, wanted = _log_grid(radius)
    mass = density(profile, grid, q_intr, q_obs) * grid**3
    weights = _weights(kernel, len(grid))
    power = np.log(mass[..., -2] / mass[..., -1]) / LOG_STEP  # 2 - gamma
    rest = mass[..., -1] * (1 / power - LOG_STEP / 2) * kernel(np.inf)
    sums = np.stack([mass[..., k:] @ weights[: len(grid) - k] for k in range(wanted)], axis=-1)
    # the last grid point counts half in the rule: LOG_STEP / 2 above
    logs = make_interp_spline(-np.log(grid[:wanted]), np.log(sums + rest[..., None]), k=7, axis=-1)
    return np.exp(logs(-np.log(radius)))


def enclosed_mass(profile, radius, q_intr=1.0, q_obs=1.0):
    """Mass [surface density * pc^2] inside the spheroids m <= `radius` (n_radius,) [pc], ``4 pi q int rho m^2 dm``.

    Raises
    ------
    InputError
        For an infinite radius: ask `total_mass`.
    """
    _require_finite(radius)
    return 4 * np.pi * q_intr * _integrals(profile, np.atleast_1d(radius), np.ones_like, q_intr, q_obs)


def circular_velocity(profile, radius, q_intr=1.0, q_obs=1.0):
    """Circular velocity [km/s] in the plane at `radius` (n_radius,) [pc] for surface densities in M_sun / pc^2.

    ``v^2 = 4 pi G q int_0^R rho(m) m^2 dm / sqrt(R^2 - e^2 m^2)``, ``e^2 = 1 - q^2`` (Binney & Tremaine 2008, eq. 2.132):
    only what lies inside R acts (homoeoids).
    """
    _require_finite(radius)
    radius = np.atleast_1d(radius)
    eccentricity2 = 1 - q_intr**2
    integral = _integrals(profile, radius, lambda y: 1 / np.sqrt(1 - eccentricity2 * np.exp(-2 * y)), q_intr, q_obs)
    return np.sqrt(4 * np.pi * G * q_intr * integral / radius)


def _require_finite(radius) -> None:
    if not np.all(np.isfinite(radius) & (np.asarray(radius) > 0)):
        raise InputError("radii must be positive and finite [pc]; the mass inside infinity is total_mass")


def total_mass(profile, q_obs=1.0):
    """Mass [surface density * pc^2] of the whole profile, ``2 pi q_obs int Sigma r dr``.

    Raises
    ------
    InputError
        Where it diverges: outer slope <= 2.
    """
    outer = np.asarray(profile.outer_slope())
    if np.any(outer <= 2):
        raise InputError("the total mass diverges: the outer slope (beta) is not above 2; density, velocity and the mass inside a radius are finite")
    ln_r = np.arange(-40.0, LN_R_MAX, LOG_STEP)
    values = profile.surface_density(np.exp(ln_r)) * np.exp(2 * ln_r)
    rest = (values[..., -1:] * (1 / (outer - 2) - LOG_STEP / 2))[..., 0]  # the power law outside; the last point counts half
    return 2 * np.pi * q_obs * (values.sum(-1) * LOG_STEP + rest)
