"""Convergence of chains by arviz: rank-normalised split R-hat, bulk and tail effective sample sizes, Pareto k."""

import warnings
from dataclasses import dataclass

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # an announcement of its next major version, at every import
    import arviz

PARETO_LIMIT = 0.7  # shape of the tail of weights above which means of them are of a few draws (Vehtari et al. 2024)
LIGHTEST = 700.0  # log weights this far below the largest are zero in float64
EQUAL = 1e-6  # log weights that differ by less are equal
FEWEST = 4  # draws of a chain below which nothing can be said


@dataclass(frozen=True)
class Diagnostics:
    """Per parameter, each (d,)."""

    r_hat: np.ndarray
    bulk_ess: np.ndarray
    tail_ess: np.ndarray


def diagnose(z) -> Diagnostics:
    """R-hat and effective sample sizes (Vehtari et al. 2021) of chains `z` (n_chain, n_draw, d); NaN below four draws a chain.

    A parameter that never moves has an R-hat of NaN and no effective sample.
    """
    z = np.asarray(z, dtype=float)
    if z.shape[1] < FEWEST:
        return Diagnostics(*np.full((3, z.shape[2]), np.nan))
    still = z.std((0, 1)) == 0
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="More chains")  # short chains are what is asked about
        data = arviz.convert_to_dataset({"z": z})
        r_hat, bulk, tail = (f(data)["z"].values for f in (arviz.rhat, arviz.ess, _tail))
    return Diagnostics(np.where(still, np.nan, r_hat), np.where(still, 0.0, bulk), np.where(still, 0.0, tail))


def _tail(data):
    return arviz.ess(data, method="tail")


def pareto_k(log_weights) -> float:
    """Shape k of the Pareto tail of importance weights (n,): from `PARETO_LIMIT` on a few draws outweigh all."""
    return float(smooth(log_weights)[1])


def smooth(log_weights):
    """Pareto-smoothed log weights (n,), normalised, and k: infinite where a tail cannot be fitted, 0 where all weights are equal."""
    log_weights = np.asarray(log_weights, dtype=float)
    log_weights = np.maximum(log_weights, log_weights.max() - LIGHTEST)
    if np.ptp(log_weights) < EQUAL:
        return np.full(len(log_weights), -np.log(len(log_weights))), 0.0
    with np.errstate(all="ignore"):
        smoothed, k = arviz.psislw(log_weights)
    return np.asarray(smoothed), float(k) if np.isfinite(k) else float("inf")
