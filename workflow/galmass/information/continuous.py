"""Informations without bins: by the distances to nearest neighbours (Kraskov, Stoegbauer & Grassberger 2004, PRE 69, 066138)."""

from collections.abc import Mapping

import numpy as np

from galmass.errors import InputError


def informations(first, second, mass, options: Mapping, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Information on the mass of the first estimate, the second, and both, (3,) [nat], and of how many galaxies.

    Parameters
    ----------
    first, second, mass : float array (n_galaxy,)
    options : mapping
        ``neighbours``; ``galaxies``: at most so many, drawn without replacement.

    Raises
    ------
    InputError
        A variable holds NaN or infinity, or is constant; or there are too few galaxies for so many neighbours.

    Notes
    -----
    Both: the information of the first, and that of the second given the first (Frenzel & Pompe 2007, PRL 99, 204101). The estimates of
    ennemi; no interval, because in a resample galaxies are their own neighbours.
    """
    first, second, mass = _drawn((first, second, mass), options, rng)
    alone = [_information(x, mass, options) for x in (first, second)]
    return np.array([*alone, alone[0] + _information(second, mass, options, cond=first)]), len(mass)


def information(estimate, mass, options: Mapping, rng: np.random.Generator) -> float:
    """Information [nat] of one estimate (n_galaxy,) on the mass (n_galaxy,); otherwise as `informations`."""
    return _information(*_drawn((estimate, mass), options, rng), options)


def _information(x, mass, options: Mapping, **given) -> float:
    from ennemi import estimate_mi

    return float(estimate_mi(mass, x, k=options["neighbours"], max_threads=1, **given)[0, 0])


def _drawn(values, options: Mapping, rng: np.random.Generator) -> np.ndarray:
    """The values (n_variable, n_galaxy) of some galaxies."""
    values = np.stack(values)
    if not np.isfinite(values).all() or (np.ptp(values, axis=1) == 0).any():
        raise InputError("nearest neighbours: an estimate or the mass is NaN, infinite or constant; leave those galaxies out first")
    chosen = rng.permutation(values.shape[1])[: options["galaxies"]]
    if len(chosen) <= options["neighbours"]:
        raise InputError(f"{len(chosen)} galaxies are too few for {options['neighbours']} nearest neighbours; lower information.cross_check.ksg.neighbours")
    return values[:, chosen]
