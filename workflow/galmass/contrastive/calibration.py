"""Recalibration of mass densities by the distribution of their PIT values on validation galaxies.

A density with distribution function F whose PIT values follow the distribution function R is replaced by
the one with R(F): its PIT values are uniform.
"""

import numpy as np
from numpy.polynomial import legendre

from galmass.contrastive.metrics import cumulative
from galmass.errors import InputError

_GRID = np.linspace(0.0, 1.0, 2001)


def fit_smooth_pit(pit, order: int = 4) -> np.ndarray:
    """Coefficients of the smooth density of PIT values, by maximum likelihood.

    The density is exp(sum_j c_j P_j(2u - 1)) normalised on [0, 1], P_j the Legendre polynomials of degree
    1 ... order (the smooth alternatives of Neyman 1937, Skand. Aktuarietidskr. 20, 149): a few numbers, so
    that a thousand galaxies fix them without following their noise.

    Parameters
    ----------
    pit : float array (n_galaxy,) in [0, 1]
    order : int

    Returns
    -------
    float64 array (order,)

    Raises
    ------
    InputError
        NaN among the values, or values so concentrated that no smooth density fits.
    """
    if not np.isfinite(pit).all():
        raise InputError(f"{np.sum(~np.isfinite(pit))} PIT values are NaN or infinite")
    mean = _polynomials(np.asarray(pit, float), order).mean(0)
    basis, coefficients = _polynomials(_GRID, order), np.zeros(order)
    for _ in range(50):  # Newton: the log-likelihood is concave
        density = _smooth_density(coefficients)
        expected = np.trapezoid(density[:, None] * basis, _GRID, axis=0)
        covariance = np.trapezoid(density[:, None, None] * basis[:, :, None] * basis[:, None, :], _GRID, axis=0)
        step = np.linalg.solve(covariance - np.outer(expected, expected), mean - expected)
        coefficients = coefficients + step * min(1.0, 2.0 / np.abs(step).max(initial=1e-300))
        if np.abs(step).max() < 1e-8:
            return coefficients
    raise InputError(
        f"the PIT values of {len(pit)} validation galaxies are too concentrated (mean {np.mean(pit):.2f}, standard deviation {np.std(pit):.2f}) "
        "for smooth_pit: the densities are far from calibrated; train longer, or set recalibration.method to none or local_pit"
    )


def _polynomials(u, order: int) -> np.ndarray:
    return legendre.legvander(2 * u - 1, order)[:, 1:]


def _smooth_density(coefficients) -> np.ndarray:
    """The smooth density on the grid."""
    exponent = _polynomials(_GRID, len(coefficients)) @ coefficients
    density = np.exp(exponent - exponent.max())
    return density / np.trapezoid(density, _GRID)


def apply_smooth_pit(density, coefficients) -> np.ndarray:
    """Density (n_galaxy, n_bin) recalibrated by a smooth PIT density."""
    smooth = _smooth_density(np.asarray(coefficients, float))
    steps = np.concatenate([[0.0], np.cumsum((smooth[1:] + smooth[:-1]) / 2 * np.diff(_GRID))])
    return np.diff(np.interp(cumulative(density), _GRID, steps / steps[-1]), axis=1)


def apply_local_pit(density, neighbour_pit) -> np.ndarray:
    """Density of each galaxy recalibrated by the PIT values of its own neighbours (CLAP, arXiv 2410.19390).

    Parameters
    ----------
    density : float array (n_galaxy, n_bin)
    neighbour_pit : float array (n_galaxy, k)
        PIT values, before recalibration, of each galaxy's neighbours in the latent space.

    Notes
    -----
    R is the piecewise linear function through (0, 0), (sorted PIT_j, j / (k + 1)), (1, 1).
    """
    # a PIT value of exactly 0 or 1 would make R jump there, and the probability on the far side would be lost
    neighbour_pit = np.clip(np.sort(np.asarray(neighbour_pit, float), axis=1), 1e-9, 1 - 1e-9)
    n_galaxy, k = neighbour_pit.shape
    ends = np.zeros((n_galaxy, 1))
    knots = np.concatenate([ends, neighbour_pit, ends + 1], axis=1)
    levels = np.linspace(0.0, 1.0, k + 2)
    return np.stack([np.diff(np.interp(steps, own, levels)) for steps, own in zip(cumulative(density), knots, strict=True)])
