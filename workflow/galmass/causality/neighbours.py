"""Exact nearest training galaxies in the latent space."""

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

    train, query = checked(train, query, k, drop_self)
    searched = k + bool(drop_self)
    distances, indices = NearestNeighbors(n_neighbors=searched, algorithm="brute").fit(train).kneighbors(query)
    distances, indices = sorted_exactly(train, query, indices)
    return without_self(indices, distances) if drop_self else (indices, distances)


def checked(train, query, k: int, drop_self: bool) -> tuple[np.ndarray, np.ndarray]:
    """The points about their common centre, (n, n_main) float64; raises as `nearest` does."""
    train, query = np.ascontiguousarray(train, float), np.ascontiguousarray(query, float)
    if train.ndim != 2 or query.ndim != 2 or train.shape[1] != query.shape[1]:
        raise InputError(f"train {train.shape} and query {query.shape} must be (n, n_main) with one n_main")
    for name, array in (("train", train), ("query", query)):
        if not np.isfinite(array).all():
            raise InputError(f"{np.sum(~np.isfinite(array).all(axis=1))} rows of {name} hold NaN or infinity")
    if drop_self and len(train) != len(query):
        raise InputError(f"drop_self needs query to be train, row for row; got {len(query)} and {len(train)} rows")
    if not 0 < k <= len(train) - bool(drop_self):
        raise InputError(f"k = {k} neighbours are asked of {len(train)} galaxies{' (less oneself)' if drop_self else ''}")
    # a common offset costs digits in |x|^2 + |y|^2 - 2 xy and does nothing else
    centre = train.mean(0)
    return train - centre, query - centre


def sorted_exactly(train, query, indices) -> tuple[np.ndarray, np.ndarray]:
    """Distances of found neighbours from differences, not from the expanded square, sorted."""
    distances = np.empty(indices.shape)
    for rows in np.array_split(np.arange(len(query)), max(1, indices.size * train.shape[1] // 2**24)):
        distances[rows] = np.linalg.norm(train[indices[rows]] - query[rows, None], axis=-1)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1).astype(np.int64)


def without_self(indices, distances) -> tuple[np.ndarray, np.ndarray]:
    """Drop each row's own index; where twins pushed it out of the list, drop the furthest."""
    own = indices == np.arange(len(indices))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(indices), indices.shape[1] - 1)
    return indices[~own].reshape(shape), distances[~own].reshape(shape)
