"""Which galaxies train a network and which are held out: by a hash of the galaxy's name, so that every modality draws the same line."""

import hashlib

import numpy as np

from galmass.errors import InputError


def hashed(galaxy_id, label: str) -> np.ndarray:
    """A number in [0, 1) for each galaxy (n_galaxy,), the same in every run and whichever galaxies are beside it."""
    words = [hashlib.blake2b(f"{label}:{name}".encode(), digest_size=7).digest() for name in galaxy_id]
    return np.array([int.from_bytes(word) for word in words], float) / 2**56


def assign(galaxy_id, n_fold: int, seed: int) -> np.ndarray:
    """Fold of each galaxy, (n_galaxy,) int64."""
    return (hashed(galaxy_id, f"fold {seed}") * n_fold).astype(np.int64)


def divide(galaxy_id, fold, validation: float, seed: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of training, validation and held-out galaxies, for each fold; all but the held-out ones lie in the other folds.

    Parameters
    ----------
    validation : float
        Share of the galaxies of the other folds on which training is stopped.

    Raises
    ------
    InputError
        One of the parts of a fold is empty.
    """
    stopping = hashed(galaxy_id, f"validation {seed}") < validation
    found = []
    for f in range(int(fold.max()) + 1 if len(fold) else 1):
        parts = tuple(np.flatnonzero(mask) for mask in ((fold != f) & ~stopping, (fold != f) & stopping, fold == f))
        if not all(map(len, parts)):
            sizes = ", ".join(f"{len(p)} {name}" for p, name in zip(parts, ("training", "validation", "held-out"), strict=True))
            raise InputError(f"fold {f} has {sizes} galaxies; all are needed: give the sample more galaxies, or lower information.folds")
        found.append(parts)
    return found
