"""Nearest training galaxies in the latent space: exact, or approximate with its recall."""

from dataclasses import dataclass

import numpy as np

from galmass.errors import InputError


def nearest(train, query, k: int, drop_self: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Exact k nearest neighbours (Euclidean) of every query among the training galaxies.

    Parameters
    ----------
    train : float array (n_train, n_main)
    query : float array (n_query, n_main)
    k : int
    drop_self : bool
        `query` is `train`, row for row, and no galaxy may be its own neighbour. A twin at distance zero
        is kept.

    Returns
    -------
    indices : int64 array (n_query, k)
        Rows of `train`, nearest first.
    distances : float64 array (n_query, k)

    Raises
    ------
    InputError
        NaN or infinity, other dimensions, or fewer training galaxies than k.
    """
    from sklearn.neighbors import NearestNeighbors

    train, query = _checked(train, query, k, drop_self)
    searched = k + bool(drop_self)
    distances, indices = NearestNeighbors(n_neighbors=searched, algorithm="brute").fit(train).kneighbors(query)
    distances, indices = _sorted_exactly(train, query, indices)
    return _without_self(indices, distances) if drop_self else (indices, distances)


def _checked(train, query, k: int, drop_self: bool) -> tuple[np.ndarray, np.ndarray]:
    train, query = np.ascontiguousarray(train, float), np.ascontiguousarray(query, float)
    if train.ndim != 2 or query.ndim != 2 or train.shape[1] != query.shape[1]:
        raise InputError(f"train {train.shape} and query {query.shape} must be (n, n_main) with one n_main")
    for name, array in (("train", train), ("query", query)):
        if not np.isfinite(array).all():
            raise InputError(f"{np.sum(~np.isfinite(array).all(axis=1))} rows of {name} hold NaN or infinity")
    if drop_self and len(train) != len(query):
        raise InputError(f"drop_self needs query to be train, row for row; got {len(query)} and {len(train)} rows")
    if not 0 < k <= len(train) - bool(drop_self):
        raise InputError(f"k = {k} neighbours are asked of {len(train)} training galaxies{' (less oneself)' if drop_self else ''}")
    # a common offset costs digits in |x|^2 + |y|^2 - 2 xy and does nothing else
    centre = train.mean(0)
    return train - centre, query - centre


def _sorted_exactly(train, query, indices) -> tuple[np.ndarray, np.ndarray]:
    """Distances of found neighbours from differences, not from the expanded square, sorted."""
    distances = np.empty(indices.shape)
    for rows in np.array_split(np.arange(len(query)), max(1, indices.size * train.shape[1] // 2**24)):
        distances[rows] = np.linalg.norm(train[indices[rows]] - query[rows, None], axis=-1)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1).astype(np.int64)


def _without_self(indices, distances) -> tuple[np.ndarray, np.ndarray]:
    """Drop each row's own index; where twins pushed it out of the list, drop the furthest."""
    own = indices == np.arange(len(indices))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(indices), indices.shape[1] - 1)
    return indices[~own].reshape(shape), distances[~own].reshape(shape)


def nearest_approximate(train, query, k: int, drop_self: bool = False, n_list: int = 256, n_probe: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest`, with faiss's inverted file: only the `n_probe` nearest of `n_list` cells are searched.

    Raises
    ------
    InputError
        As `nearest`; also when the searched cells hold fewer than k galaxies for some query.
    """
    import faiss

    train, query = _checked(train, query, k, drop_self)
    n_list = min(n_list, max(1, len(train) // 39))  # faiss wants 39 points a cell to place the cells
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(train.shape[1]), train.shape[1], n_list)
    index.train(train.astype(np.float32))
    index.add(train.astype(np.float32))
    index.nprobe = min(n_probe, n_list)
    _, indices = index.search(query.astype(np.float32), k + bool(drop_self))
    if (indices < 0).any():
        raise InputError(f"{n_probe} of {n_list} cells hold fewer than k = {k} galaxies for some query; raise n_probe")
    distances, indices = _sorted_exactly(train, query, indices)
    return _without_self(indices, distances) if drop_self else (indices, distances)


def recall(found, exact) -> float:
    """Fraction of the exact neighbours (n_query, k) that are among those found (n_query, k)."""
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, exact, strict=True)]))


@dataclass(frozen=True)
class Found:
    """Rows and distances (n_galaxy, k) of neighbours, and the recall measured on some galaxies."""

    rows: np.ndarray
    distances: np.ndarray
    recall: float
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
    if index["method"] == "exact" or not len(others):
        return Found(rows, distances, 1.0, 0)
    probes = others[:: max(1, len(others) // recall_queries)]
    exact = members[nearest(latent[members], latent[probes], k)[0]]
    return Found(rows, distances, recall(rows[probes], exact), len(probes))


def _approximate(index: dict):
    def search(train, query, k, drop_self):
        return nearest_approximate(train, query, k, drop_self, index["n_list"], index["n_probe"])

    return search
