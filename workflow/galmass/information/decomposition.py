"""Redundant, unique and synergistic information of two inputs about the mass (Zhang et al. 2025, arXiv 2509.23901).

Informations are differences of cross-entropies of held-out galaxies: what a network found, no more. Up to
the excess of the prior they are lower bounds.
"""

import numpy as np

from galmass.errors import InputError

COMPONENTS = ("redundant", "unique_1", "unique_2", "synergistic")
INFORMATIONS = ("information_1", "information_2", "information_12")
KINDS = ("pointwise", "mean")


def components(nll_1, nll_2, nll_12, prior_nll, kind: str = "pointwise") -> dict:
    """Components of the information of two inputs about the mass [nat].

    Parameters
    ----------
    nll_1, nll_2, nll_12, prior_nll : float array (n_galaxy,) [nat]
        Minus the log-probability of the mass of held-out galaxies: by the first input, the second, both, and none.
    kind : 'pointwise' or 'mean'
        'pointwise': the smaller information is taken galaxy by galaxy, as in the paper. 'mean': of the averages (minimum mutual
        information, Barrett 2015, PRE 91, 052802); never less redundant than the average of the pointwise one (Jensen).

    Returns
    -------
    dict
        ``redundant, unique_1, unique_2, synergistic``: arrays (n_galaxy,), or floats. Negative: information that misleads.

    Raises
    ------
    InputError
        The arrays differ in length, are empty or hold NaN or infinity, or the kind is unknown.
    """
    if kind not in KINDS:
        raise InputError(f"components: kind is {kind!r}; known: {', '.join(KINDS)}")
    found = {name: np.asarray(x, float) for name, x in (("nll_1", nll_1), ("nll_2", nll_2), ("nll_12", nll_12), ("prior_nll", prior_nll))}
    sizes = {x.shape for x in found.values()}
    if len(sizes) > 1 or () in sizes or (0,) in sizes:
        raise InputError(f"components: arrays of one length (n_galaxy,) are expected; given: {', '.join(f'{n} {x.shape}' for n, x in found.items())}")
    broken = [f"{name} of {np.sum(~np.isfinite(x))} galaxies" for name, x in found.items() if not np.isfinite(x).all()]
    if broken:
        raise InputError(f"components: NaN or infinite: {', '.join(broken)}; leave those galaxies out first")
    informations = [found["prior_nll"] - found[name] for name in ("nll_1", "nll_2", "nll_12")]
    if kind == "pointwise":
        return split(*informations)
    return {name: float(value) for name, value in split(*(np.mean(i) for i in informations)).items()}


def split(information_1, information_2, information_12, redundant=None) -> dict:
    """Components of three informations, scalars or arrays of any shape; the smaller one is redundant where nothing else is said."""
    if redundant is None:
        redundant = np.minimum(information_1, information_2)
    synergistic = information_12 - information_1 - information_2 + redundant
    return dict(zip(COMPONENTS, (redundant, information_1 - redundant, information_2 - redundant, synergistic), strict=True))


def ensemble_nll(nll, members=None) -> np.ndarray:
    """Cross-entropy (n_galaxy,) [nat] of the mean density of an ensemble, from the cross-entropies (n_galaxy, n_member) of its members.

    Parameters
    ----------
    members : sequence of int, optional
        Which of them, each as often as it is named; all, once, where none are.
    """
    chosen = np.asarray(nll, float) if members is None else np.asarray(nll, float)[:, list(members)]
    return np.log(chosen.shape[1]) - np.logaddexp.reduce(-chosen, axis=1)
