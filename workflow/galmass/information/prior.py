"""What is known of a mass before any galaxy is looked at: a smoothed histogram of training galaxies."""

from collections.abc import Mapping

import numpy as np

from galmass.errors import InputError

SMOOTHING = {"kind": "kernel", "bandwidth_dex": 0.1}


def prior_nll(mass, edges, reference=None, smoothing: Mapping = SMOOTHING) -> np.ndarray:
    """Minus the logarithm of the prior probability of the bin of each mass, (n_galaxy,) [nat].

    Parameters
    ----------
    mass : float array (n_galaxy,) [log10 M_sun]
    edges : float array (n_bin + 1,) [log10 M_sun]
        Increasing.
    reference : float array (n_reference,) [log10 M_sun], optional
        Training galaxies that the prior comes from; `mass` itself where there are none. Those outside the bins are left out.
    smoothing : mapping
        See `prior_probability`.

    Returns
    -------
    float array (n_galaxy,)
        NaN where the mass lies in no bin: no network was asked for it.
    """
    edges, mass = np.asarray(edges, float), np.asarray(mass, float)
    probability = prior_probability(mass if reference is None else reference, edges, smoothing)
    inside = (mass >= edges[0]) & (mass <= edges[-1])
    bins = np.clip(np.searchsorted(edges, mass, side="right") - 1, 0, len(edges) - 2)
    return np.where(inside, -np.log(probability)[bins], np.nan)


def held_out(mass, fold, edges, smoothing: Mapping = SMOOTHING) -> np.ndarray:
    """`prior_nll` of every galaxy (n_galaxy,) from the galaxies of the other folds [nat]."""
    nll = np.empty(len(mass))
    for f in np.unique(fold):
        nll[fold == f] = prior_nll(mass[fold == f], edges, mass[fold != f], smoothing)
    return nll


def prior_probability(reference, edges, smoothing: Mapping = SMOOTHING) -> np.ndarray:
    """Probability of each mass bin, (n_bin,), nowhere zero, adding up to one.

    Parameters
    ----------
    smoothing : mapping
        ``{kind: pseudo_count, count: a}``: (n_bin's galaxies + a) / (n + a n_bin); ``{kind: kernel, bandwidth_dex: s}``: the
        histogram convolved with a Gaussian, cut at the ends, with one galaxy spread evenly over all bins.

    Raises
    ------
    InputError
        No reference mass lies in the bins, or the edges do not increase.
    """
    edges, reference = np.asarray(edges, float), np.asarray(reference, float)
    if len(edges) < 3 or not (np.diff(edges) > 0).all():
        raise InputError(f"prior: {len(edges)} edges; at least three that increase are expected")
    counts = np.histogram(reference, edges)[0].astype(float)
    if not counts.sum():
        raise InputError(f"prior: none of {reference.size} reference masses lies between {edges[0]:g} and {edges[-1]:g} dex; widen contrastive.mass_range")
    n_bin = len(counts)
    if smoothing["kind"] == "pseudo_count":
        return (counts + smoothing["count"]) / (counts.sum() + smoothing["count"] * n_bin)
    if smoothing["kind"] != "kernel":
        raise InputError(f"prior: kind is {smoothing['kind']!r}; known: pseudo_count, kernel")
    return (counts @ kernel(edges, smoothing["bandwidth_dex"]) + 1 / n_bin) / (counts.sum() + 1)


def kernel(edges, bandwidth: float) -> np.ndarray:
    """Share of a galaxy in bin a that a Gaussian about the middle of a gives to bin b, (n_bin, n_bin); rows add up to one."""
    from scipy.special import ndtr

    middle = (edges[1:] + edges[:-1]) / 2
    shares = np.diff(ndtr((edges - middle[:, None]) / bandwidth), axis=1)
    return shares / shares.sum(1, keepdims=True)


def excess(nll, mass, edges) -> float:
    """How far the mean prior cross-entropy [nat] lies above the entropy of the bins (Miller-Madow): it raises every information alike."""
    counts = np.histogram(mass, edges)[0]
    share = counts[counts > 0] / counts.sum()
    return float(np.mean(nll) + np.sum(share * np.log(share)) - (len(share) - 1) / (2 * counts.sum()))
