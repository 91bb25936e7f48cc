"""How good a mass estimate is: point metrics, and exact scores of binned densities.

A density is the probability of each mass bin, uniform inside a bin: the scores below are exact for that.
"""

from collections.abc import Callable

import numpy as np

from galmass.errors import InputError


def point_metrics(estimate, truth) -> dict[str, float]:
    """Bias, robust scatter and outlier fraction of point estimates.

    Parameters
    ----------
    estimate, truth : float arrays (n_galaxy,) [dex]

    Returns
    -------
    dict
        ``bias`` = <d> [dex], ``sigma_mad`` = 1.4826 median|d - median d| [dex], ``eta`` = fraction of
        |d| > 3 sigma_mad, with d = estimate - truth.

    Raises
    ------
    InputError
        No galaxy, unequal lengths, or a value that is not finite.
    """
    difference = _differences(estimate, truth)
    return {"bias": float(difference.mean()), "sigma_mad": float(sigma_mad(difference)), "eta": float(outlier_fraction(difference))}


def _differences(estimate, truth) -> np.ndarray:
    estimate, truth = np.asarray(estimate, float), np.asarray(truth, float)
    if estimate.shape != truth.shape or estimate.ndim != 1 or not len(truth):
        raise InputError(f"estimate {estimate.shape} and truth {truth.shape} must be one-dimensional, equally long and not empty")
    if not (np.isfinite(estimate).all() and np.isfinite(truth).all()):
        raise InputError(f"{np.sum(~np.isfinite(estimate - truth))} estimates or truths are NaN or infinite")
    return estimate - truth


def sigma_mad(difference, axis: int = -1):
    """1.4826 median|d - median d| along an axis: the standard deviation if d were normal."""
    difference = np.asarray(difference, float)
    return 1.4826 * np.median(np.abs(difference - np.median(difference, axis, keepdims=True)), axis)


def outlier_fraction(difference, axis: int = -1):
    """Fraction of |d| > 3 sigma_MAD along an axis."""
    return np.mean(np.abs(difference) > 3 * np.expand_dims(sigma_mad(difference, axis), axis), axis)


def cumulative(density) -> np.ndarray:
    """Distribution function at the bin edges, (n_galaxy, n_bin + 1), from 0 to exactly 1.

    Raises
    ------
    InputError
        When a row holds a negative or non-finite probability or does not add up to 1.
    """
    density = np.asarray(density, float)
    total = density.sum(-1)
    # 1e-4: what float32 storage of a few hundred to a thousand probabilities can lose
    if not (np.isfinite(density).all() and (density >= 0).all() and np.allclose(total, 1, atol=1e-4)):
        raise InputError("every density must be finite, not negative and add up to 1 over its bins")
    steps = np.concatenate([np.zeros((len(density), 1)), np.cumsum(density, -1)], -1)
    return steps / steps[:, -1:]


def crps(density, edges, truth) -> np.ndarray:
    """Continuous ranked probability score of each galaxy, exact for the piecewise uniform density.

    Parameters
    ----------
    density : float array (n_galaxy, n_bin)
        Probability of each bin.
    edges : float array (n_bin + 1,) [dex]
    truth : float array (n_galaxy,) [dex]
        May lie outside the edges.

    Returns
    -------
    float64 array (n_galaxy,) [dex]
        Integral of (F(y) - 1[y >= truth])^2: Gneiting & Raftery 2007, JASA 102, 359.
    """
    edges, truth = np.asarray(edges, float), _finite_truth(truth, density)
    low, high = (c := cumulative(density))[:, :-1], c[:, 1:]
    below = np.clip(truth[:, None] - edges[:-1], 0, np.diff(edges))  # width of each bin that lies below the truth
    at_truth = low + (high - low) * below / np.diff(edges)
    above = np.diff(edges) - below
    # F is linear on each piece: the integral of its square is width (a^2 + ab + b^2) / 3
    under = below * (low**2 + low * at_truth + at_truth**2) / 3
    over = above * ((1 - at_truth) ** 2 + (1 - at_truth) * (1 - high) + (1 - high) ** 2) / 3
    outside = np.maximum(edges[0] - truth, 0) + np.maximum(truth - edges[-1], 0)
    return (under + over).sum(-1) + outside


def pit(density, edges, truth) -> np.ndarray:
    """Probability integral transform F(truth) of each galaxy, (n_galaxy,) in [0, 1]."""
    edges, truth = np.asarray(edges, float), _finite_truth(truth, density)
    steps = cumulative(density)
    bins = np.clip(np.searchsorted(edges, truth, side="right") - 1, 0, len(edges) - 2)
    share = np.clip((truth - edges[bins]) / (edges[bins + 1] - edges[bins]), 0, 1)
    rows = np.arange(len(truth))
    return steps[rows, bins] * (1 - share) + steps[rows, bins + 1] * share


def _finite_truth(truth, density) -> np.ndarray:
    truth = np.asarray(truth, float)
    if len(truth) != len(density):
        raise InputError(f"{len(density)} densities and {len(truth)} true masses: one of each is needed for a galaxy")
    if not np.isfinite(truth).all():
        raise InputError(f"{np.sum(~np.isfinite(truth))} true masses are NaN or infinite")
    return truth


def cross_entropy(density, edges, truth) -> np.ndarray:
    """-ln of the probability of the bin of the truth [nat], (n_galaxy,); NaN where it lies in no bin."""
    edges, truth = np.asarray(edges, float), _finite_truth(truth, density)
    inside = (truth >= edges[0]) & (truth <= edges[-1])
    bins = np.clip(np.searchsorted(edges, truth, side="right") - 1, 0, len(edges) - 2)
    with np.errstate(divide="ignore"):
        return np.where(inside, -np.log(np.asarray(density, float)[np.arange(len(truth)), bins]), np.nan)


def point_estimates(density, edges) -> dict[str, np.ndarray]:
    """``mean``, ``mode`` (centre of the most probable bin) and ``median`` of each density [dex]."""
    edges = np.asarray(edges, float)
    centres, steps = (edges[1:] + edges[:-1]) / 2, cumulative(density)
    rows = np.arange(len(steps))
    bins = np.argmax(steps[:, 1:] >= 0.5, axis=1)
    low, high = steps[rows, bins], steps[rows, bins + 1]
    median = edges[bins] + (0.5 - low) / (high - low) * (edges[bins + 1] - edges[bins])
    probability = np.diff(steps, axis=1)
    density_per_dex = probability / np.diff(edges)
    return {"mean": probability @ centres, "mode": centres[density_per_dex.argmax(1)], "median": median}


def ks_distance(values) -> float:
    """Kolmogorov-Smirnov distance of values in [0, 1] from the uniform distribution."""
    ordered, n = np.sort(np.asarray(values, float)), len(values)
    return float(max(np.max(np.arange(1, n + 1) / n - ordered), np.max(ordered - np.arange(n) / n)))


def ks_interval(values, level: float = 0.95) -> tuple[float, float]:
    """Conservative confidence interval of the true KS distance.

    The empirical distribution function is within sqrt(ln(2 / (1 - level)) / 2n) of the true one with at
    least the stated probability (Massart 1990, Ann. Probab. 18, 1269), and so is the distance. A
    bootstrap would be biased upwards: the distance is a maximum.
    """
    margin = np.sqrt(np.log(2 / (1 - level)) / (2 * len(values)))
    distance = ks_distance(values)
    return max(0.0, distance - margin), min(1.0, distance + margin)


def bootstrap_interval(statistic: Callable, samples: tuple, generator: np.random.Generator, n: int = 1000, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of galaxies (Efron 1979), galaxies resampled together.

    Parameters
    ----------
    statistic : callable
        Takes arrays (n_resample, n_galaxy), one per sample, and returns (n_resample,).
    samples : tuple of arrays (n_galaxy,)
        Values of the same galaxies.
    """
    samples = tuple(np.asarray(s, float) for s in samples)
    draws = []
    for first in range(0, n, 50):  # 50 resamples at a time bound the memory
        chosen = generator.integers(0, len(samples[0]), (min(50, n - first), len(samples[0])))
        draws.append(statistic(*(s[chosen] for s in samples)))
    low, high = np.quantile(np.concatenate(draws), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
