"""What a linear regression on the latent leaves of a variable, in each of many neighbourhoods.

At finite k the latent still varies among neighbours, and whatever varies with it correlates with the mass. Taken out of
mass and query are the leading directions of the latent, the network's estimate (a function of the latent) and the
condition with its square. Arrays are (n, k): the k galaxies of n neighbourhoods.
"""

import numpy as np

PER_DIRECTION = 5  # galaxies of a neighbourhood for each principal direction of the latent that is taken out
_ROUNDING = 1e-8  # of what a regression leaves, relative to what it was given
_SAME = 1e-9  # eigenvalue of a correlation matrix that is no direction of its own


def centred(values, valid) -> np.ndarray:
    """Columns (n, k, m) less their means over the valid of each k; 0 elsewhere."""
    there = valid[..., None]
    values = np.where(there, values, 0.0)
    return np.where(there, values - values.sum(1, keepdims=True) / np.maximum(there.sum(1, keepdims=True), 1), 0.0)


def basis(latent, given, valid) -> np.ndarray:
    """Orthonormal columns (n, k, m), each of mean zero, of what is taken out of a variable.

    Parameters
    ----------
    latent : float array (n, k, d)
        Its k / `PER_DIRECTION` leading principal directions among the k, or all of it.
    given : float array (n, k, c)
        All of it.
    valid : bool array (n, k)

    Returns
    -------
    float64 array (n, k, min(d, k // PER_DIRECTION) + c)
        0 at places that are not valid, and in columns that would say nothing new.
    """
    latent, given = centred(latent, valid), centred(given, valid)
    n_direction = max(1, latent.shape[1] // PER_DIRECTION)
    if n_direction < latent.shape[2]:
        latent = latent @ np.linalg.eigh(_products(latent))[1][..., -n_direction:]
    columns = np.concatenate([latent, given], axis=2)
    length = np.sqrt(np.einsum("nkm,nkm->nm", columns, columns))[:, None]
    columns = columns / np.where(length > 0, length, 1.0)
    values, vectors = np.linalg.eigh(_products(columns))
    scale = np.where(values > _SAME, 1 / np.sqrt(np.maximum(values, _SAME)), 0.0)
    return columns @ (vectors * scale[:, None])


def _products(columns) -> np.ndarray:
    return columns.transpose(0, 2, 1) @ columns


def taken_out(values, basis, valid) -> np.ndarray:
    """What the regression on `basis` and a constant leaves of values (n, k); NaN where not valid, 0 where nothing but rounding is left."""
    before = centred(values[..., None], valid)
    left = (before - basis @ (basis.transpose(0, 2, 1) @ before))[..., 0]
    largest = np.abs(np.where(valid, values, 0.0)).max(1, initial=0.0)
    rounding = _ROUNDING**2 * np.einsum("nkm,nkm->n", before, before) + values.shape[1] * (1e-12 * largest) ** 2
    nothing = np.einsum("nk,nk->n", left, left) <= rounding
    return np.where(valid, np.where(nothing[:, None], 0.0, left), np.nan)


def given_columns(estimate, condition=None) -> np.ndarray:
    """Columns (n_galaxy, c) of the estimate, and of a condition and its square, the latter about the mean and scaled."""
    columns = [np.asarray(estimate, float)]
    if condition is not None:
        scaled = (condition - np.nanmean(condition)) / (np.nanstd(condition) or 1.0)
        columns += [scaled, scaled**2]
    return np.stack(columns, axis=1)
