"""P-values of local tests: what the latent leaves of the query, permuted within disjoint blocks of neighbours.

Neighbourhoods overlap, so their statistics are no independent draws; and galaxies that trained the network carry
overfitted latents. Here the galaxies that are tested are cut into disjoint blocks of neighbours. A kernel ridge
regression on the latent, predicting galaxies left out of it, takes the smooth course over the whole sample out of the
mass and of the query; a linear regression within each block takes out what is left of it. The residuals of the query are
then permuted within each block and residualised once more (Freedman & Lane 1983, J. Bus. Econ. Stat. 1, 292).
"""

from collections.abc import Mapping

import numpy as np

from galmass.causality import residuals
from galmass.errors import InputError

FOLDS = 5
CENTRES = 200  # of the kernel expansion
PENALTIES = np.logspace(-4, 3, 15)  # of the ridge
UNDEFINED = {"block_correlation_mean": None, "p_value": None}


def partition(points, size: int) -> list[np.ndarray]:
    """Rows of points (n, d) in max(1, n // size) disjoint blocks of neighbours, all of about one number of galaxies.

    Halved across the direction of largest spread, again and again.
    """

    def halved(rows, n_block):
        if n_block == 1:
            return [rows]
        centred = points[rows] - points[rows].mean(0)
        along = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1]
        first = n_block // 2
        order, cut = rows[np.argsort(along, kind="stable")], len(rows) * first // n_block
        return halved(order[:cut], first) + halved(order[cut:], n_block - first)

    return halved(np.arange(len(points)), max(1, len(points) // size))


def smooth_residuals(values, points, generator: np.random.Generator) -> np.ndarray:
    """Values (n, t) of mean zero less what kernel ridge regression on points (n, d) predicts of each galaxy from the other folds.

    Gaussian kernels as wide as the median distance, about `CENTRES` of the galaxies (Nystroem). The penalty is, for each
    column, the best on the folds left out.
    """
    n = len(points)
    scaled = (points - points.mean(0)) / np.where(points.std(0) > 0, points.std(0), 1.0)
    centres = scaled[generator.choice(n, min(CENTRES, n // FOLDS), replace=False)]
    width = np.median(_squared_distances(centres, centres)) or 1.0
    among, to_centres = (np.exp(-_squared_distances(part, centres) / width) for part in (centres, scaled))
    strength, directions = np.linalg.eigh(among)
    features = to_centres @ (directions / np.sqrt(np.maximum(strength, 1e-10)))
    features -= features.mean(0)
    fold, predicted = generator.permutation(n) % FOLDS, np.empty((len(PENALTIES), *values.shape))
    for out in (fold == i for i in range(FOLDS)):
        inside, target = features[~out], values[~out]
        strength, directions = np.linalg.eigh(inside.T @ inside)
        shrunk = (directions.T @ (inside.T @ target)) / (np.maximum(strength, 0.0)[:, None] + PENALTIES[:, None, None])
        predicted[:, out] = features[out] @ directions @ shrunk
    best = np.sum((values - predicted) ** 2, axis=1).argmin(0)
    return values - predicted[best, :, np.arange(values.shape[1])].T


def _squared_distances(a, b) -> np.ndarray:
    return np.maximum(np.sum(a**2, 1)[:, None] + np.sum(b**2, 1) - 2 * a @ b.T, 0.0)


def block_statistics(y, x, basis, n_permutation: int, generator: np.random.Generator) -> np.ndarray:
    """Correlation of x with y in one block, its variance, and the sum of the squared t of slope and curvature.

    Parameters
    ----------
    y, x : float arrays (n,)
        What `basis` has been taken out of.
    basis : float array (n, m)
        Orthonormal columns of mean zero, see `residuals.basis`.

    Returns
    -------
    float64 array (3, 1 + n_permutation)
        Of x, then of its permutations; 0 where y or x is. Variances are those of heteroscedastic errors (White 1980,
        Econometrica 48, 817): faint galaxies may be noisier in mass and query at once.
    """

    def left(rows):
        rows = rows - rows.mean(1, keepdims=True)
        return rows - (rows @ basis) @ basis.T

    x = _unit(left(np.concatenate([x[None], generator.permuted(np.tile(x, (n_permutation, 1)), axis=1)])))
    square = left(x**2)
    # two distinct values: their square says nothing that they do not say
    curve = _unit(square - np.einsum("pn,pn->p", square, x)[:, None] * x, 1e-6 / np.sqrt(len(y)))
    y = _unit(y[None])[0]
    slope, curvature = x @ y, curve @ y
    variances = x**2 @ y**2, curve**2 @ y**2
    t_squared = sum(s**2 / np.where(v > 0, v, np.inf) for s, v in zip((slope, curvature), variances, strict=True))
    return np.stack([slope, variances[0], t_squared])


def _unit(rows, least: float = 0.0) -> np.ndarray:
    """Rows (p, n) of length 1; 0 where the length is at most `least`."""
    length = np.sqrt(np.einsum("pn,pn->p", rows, rows))[:, None]
    return rows / np.where(length > least, length, np.inf)


def combined_p_value(statistics) -> float:
    """P-value of the first of exchangeable columns: how often the best of its rows' p-values is met by another column.

    Parameters
    ----------
    statistics : float array (n_statistic, 1 + n_permutation)
        Large values speak against independence. The smallest p-value of each column over the rows is the statistic (Tippett
        1931), so that several rows cost no correction.
    """
    n = statistics.shape[1]
    own = np.stack([n - np.searchsorted(np.sort(row), row, "left") for row in statistics]).min(0)
    return float(np.mean(own <= own[0]))


def holm(p_values) -> list[float | None]:
    """P-values adjusted for their number (Holm 1979, Scand. J. Stat. 6, 65); None stays and does not count."""
    defined = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted, largest = list(p_values), 0.0
    for rank, (p, i) in enumerate(defined):
        adjusted[i] = largest = max(largest, min(1.0, p * (len(defined) - rank)))
    return adjusted


def block_test(y, x, latent, given, members, blocks, n_permutation: int, generator: np.random.Generator) -> list[dict]:
    """Mean correlation of x with y within blocks, and its p-value, for each class of galaxies.

    Parameters
    ----------
    y, x : float arrays (n,)
        Without missing values.
    latent, given : float arrays (n, d), (n, c)
        See `residuals.basis`.
    members : bool array (n_class, n)
        A block counts for a class as often as it has members of it.
    blocks : list of int arrays
        Rows of each.

    Returns
    -------
    list of dict
        For each class ``block_correlation_mean`` and ``p_value``; None where it has no member, or nothing is left of x or y.
    """
    parts = []
    for rows in blocks:
        there = np.ones((1, len(rows)), bool)
        basis = residuals.basis(latent[None, rows], given[None, rows], there)
        left = (residuals.taken_out(values[None, rows], basis, there)[0] for values in (y, x))
        parts.append(block_statistics(*left, basis[0], n_permutation, generator))
    slope, variance, t_squared = np.stack(parts, axis=1)
    weights = np.stack([members[:, rows].sum(1) for rows in blocks], axis=1) * (variance[:, 0] > 0)
    return [_verdict(weight, slope, variance, t_squared) for weight in weights.astype(float)]


def _verdict(weight, slope, variance, t_squared) -> dict:
    """Two statistics of a class: the mean correlation over its error, for what has one sign, and the mean squared t, for what changes sign or is curved."""
    if not weight.any():
        return dict(UNDEFINED)
    statistics = np.abs(weight @ slope) / np.sqrt(weight**2 @ variance), weight @ t_squared
    return {"block_correlation_mean": float(weight @ slope[:, 0] / weight.sum()), "p_value": combined_p_value(np.stack(statistics))}


def block_tests(mass, variables: Mapping, latent, estimate, queries, conditions, classes, options: Mapping, seed: int) -> dict[tuple, dict]:
    """Every query, unconditional and given each condition, among the galaxies that are tested.

    Parameters
    ----------
    mass, estimate : float arrays (n,) [dex]
        True, and as the network estimates it from the latent.
    variables : mapping of str to float array (n,)
        NaN = missing.
    latent : float array (n, d)
    queries, conditions : sequences of str
    classes : array (n,) of str
    options : mapping
        ``size`` of the blocks and ``permutations``.
    seed : int
        Each test has a stream of its own.

    Returns
    -------
    dict of (query, condition, class) to dict
        What `block_test` says, and ``p_value_holm``, adjusted for the number of tests of that class. None where fewer
        galaxies than make a block have all values.

    Raises
    ------
    InputError
        Fewer galaxies than make a block; a latent or an estimate that is not finite.
    """
    if len(mass) < options["size"]:
        raise InputError(f"causality.blocks.size is {options['size']} and only {len(mass)} galaxies are tested")
    if not (np.isfinite(latent).all() and np.isfinite(estimate).all()):
        raise InputError("latents or estimates of tested galaxies hold NaN or infinity")
    labels, found = ("all", *sorted(set(classes))), {}
    members = np.stack([np.ones(len(mass), bool), *(np.asarray(classes) == label for label in labels[1:])])
    for condition in ("", *conditions):
        given = residuals.given_columns(estimate, variables[condition] if condition else None)
        there = np.isfinite(mass) & np.isfinite(given).all(1)
        for names, valid in _alike({name: there & np.isfinite(variables[name]) for name in queries if name != condition}):
            values = np.stack([mass, *(variables[name] for name in names)], axis=1)[valid]
            verdicts = _together(names, condition, values, latent[valid], given[valid], members[:, valid], options, seed)
            found |= {(name, condition, label): verdict for name, row in verdicts.items() for label, verdict in zip(labels, row, strict=True)}
    for label in labels:
        chosen = [verdict for key, verdict in found.items() if key[2] == label]
        for verdict, adjusted in zip(chosen, holm([verdict["p_value"] for verdict in chosen]), strict=True):
            verdict["p_value_holm"] = adjusted
    return found


def _alike(valid: Mapping) -> list[tuple[list[str], np.ndarray]]:
    """Names whose masks are one, and the mask: what the latent leaves of them is found together."""
    groups: dict[bytes, tuple] = {}
    for name, mask in valid.items():
        groups.setdefault(mask.tobytes(), ([], mask))[0].append(name)
    return list(groups.values())


def _together(names, condition: str, values, latent, given, members, options: Mapping, seed: int) -> dict[str, list[dict]]:
    if len(values) < options["size"]:
        return {name: [dict(UNDEFINED) for _ in members] for name in names}
    # the whole sample as one neighbourhood: what is linear in the latent and the estimate must not be left to the kernels
    everywhere = np.ones((1, len(values)), bool)
    basis = residuals.basis(latent[None], given[None], everywhere)
    linear = np.stack([residuals.taken_out(column[None], basis, everywhere)[0] for column in values.T], axis=1)
    left = smooth_residuals(linear, np.hstack([latent, given]), np.random.default_rng(seed))
    blocks = partition(latent, options["size"])
    streams = {name: np.random.default_rng([seed, *f"{name}|{condition}:blocks".encode()]) for name in names}
    return {
        name: block_test(left[:, 0], x, latent, given, members, blocks, options["permutations"], streams[name])
        for name, x in zip(names, left.T[1:], strict=True)
    }
