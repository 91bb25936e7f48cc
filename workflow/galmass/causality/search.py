"""Neighbours of every galaxy of a sample: by exact search, or by an approximate index whose recall is measured."""

from dataclasses import dataclass

import numpy as np

from galmass.causality.neighbours import checked, nearest, sorted_exactly, without_self
from galmass.errors import InputError


def nearest_approximate(train, query, k: int, drop_self: bool = False, n_list: int = 256, n_probe: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest`, with faiss's inverted file: only the `n_probe` nearest of `n_list` cells are searched.

    Raises
    ------
    InputError
        As `nearest`; also when the searched cells hold fewer than k galaxies for some query.
    """
    import faiss

    train, query = checked(train, query, k, drop_self)
    n_list = min(n_list, max(1, len(train) // 39))  # faiss wants 39 points a cell to place the cells
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(train.shape[1]), train.shape[1], n_list)
    index.train(train.astype(np.float32))
    index.add(train.astype(np.float32))
    index.nprobe = min(n_probe, n_list)
    _, indices = index.search(query.astype(np.float32), k + bool(drop_self))
    if (indices < 0).any():
        raise InputError(f"{n_probe} of {n_list} cells hold fewer than k = {k} galaxies for some query; raise n_probe")
    distances, indices = sorted_exactly(train, query, indices)
    return without_self(indices, distances) if drop_self else (indices, distances)


def recall(found, exact) -> float:
    """Fraction of the exact neighbours (n_query, k) that are among those found (n_query, k)."""
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, exact, strict=True)]))


@dataclass(frozen=True)
class Found:
    """Rows and distances (n_galaxy, k) of neighbours, and the recall measured on some galaxies (None: on none)."""

    rows: np.ndarray
    distances: np.ndarray
    recall: float | None
    recall_queries: int


def among_training(latent, training, k: int, index: dict, recall_queries: int) -> Found:
    """Neighbours of every galaxy among the training galaxies; a training galaxy is not its own.

    Parameters
    ----------
    latent : float array (n_galaxy, n_main)
    training : bool array (n_galaxy,)
    k : int
    index : dict
        ``method`` 'exact', or 'approximate' with ``n_list`` and ``n_probe``.
    recall_queries : int
        Of how many other galaxies, evenly spaced, the recall of an approximate index is measured.

    Returns
    -------
    Found
        ``rows`` refer to `latent`.
    """
    members, others = np.flatnonzero(training), np.flatnonzero(~training)
    search = nearest if index["method"] == "exact" else _approximate(index)
    rows, distances = np.empty((len(latent), k), np.int64), np.empty((len(latent), k))
    for queries, drop_self in ((members, True), (others, False)):
        if len(queries):
            found, distances[queries] = search(latent[members], latent[queries], k, drop_self)
            rows[queries] = members[found]
    if index["method"] == "exact":
        return Found(rows, distances, 1.0, 0)
    if not len(others):
        return Found(rows, distances, None, 0)
    probes = others[np.linspace(0, len(others) - 1, min(len(others), recall_queries)).astype(int)]
    exact = members[nearest(latent[members], latent[probes], k)[0]]
    return Found(rows, distances, recall(rows[probes], exact), len(probes))


def _approximate(index: dict):
    def search(train, query, k, drop_self):
        return nearest_approximate(train, query, k, drop_self, index["n_list"], index["n_probe"])

    return search
