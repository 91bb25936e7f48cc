"""Components averaged over classes and bins of galaxies, with bootstrap intervals over galaxies and members of the ensembles."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from galmass.information.decomposition import COMPONENTS, INFORMATIONS, KINDS, ensemble_nll, split

GAINS = ("gain_1", "gain_2")
REDRAWS = 20  # ensembles drawn anew; the resamples of galaxies are spread over them
SUBSETS = 30  # of members of a size, at most
LEAST = 2  # galaxies in a group, or there is no average with an interval


def groups(mass, magnitude, galaxy_class, bins: Mapping) -> list[dict]:
    """Groups of galaxies over which averages are taken: all, each class, bins of mass and of r magnitude.

    Parameters
    ----------
    bins : mapping of 'log_mass' and 'petro_mag_r' to edges

    Returns
    -------
    list of dict
        ``by``, ``label``, ``low``, ``high`` (edges, or None), ``mask`` (n_galaxy,).
    """
    galaxy_class = np.asarray(galaxy_class)
    found = [{"by": "class", "label": "all", "low": None, "high": None, "mask": np.ones(len(mass), bool)}]
    found += [{"by": "class", "label": name, "low": None, "high": None, "mask": galaxy_class == name} for name in ("star-forming", "passive", "other")]
    for by, values in (("log_mass", mass), ("petro_mag_r", magnitude)):
        for low, high in zip(bins[by][:-1], bins[by][1:], strict=True):
            mask = (np.asarray(values) >= low) & (np.asarray(values) < high)
            found.append({"by": by, "label": f"{low:g} to {high:g}", "low": low, "high": high, "mask": mask})
    return found


def _per_galaxy(nlls: list, prior, members: list | None) -> np.ndarray:
    """Informations of first, second, union and what else there is, and the pointwise redundancy last, (n_galaxy, n_column)."""
    informations = [prior - ensemble_nll(nll, None if members is None else members[i]) for i, nll in enumerate(nlls)]
    return np.stack([*informations, np.minimum(informations[0], informations[1])], 1)


def _quantities(means: np.ndarray, kind: str) -> dict[str, np.ndarray]:
    """Everything that is reported, from averages (..., n_column) of `_per_galaxy`."""
    first, second, both = (means[..., i] for i in range(3))
    parts = split(first, second, both)
    if kind == "pointwise":
        redundant = means[..., -1]
        parts = dict(zip(COMPONENTS, (redundant, first - redundant, second - redundant, both - first - second + redundant), strict=True))
    found = dict(zip(INFORMATIONS, (first, second, both), strict=True)) | dict(zip(GAINS, (both - second, both - first), strict=True)) | parts
    if means.shape[-1] == 5:
        found |= {"information_against": means[..., 3], "gap": means[..., 3] - both}
    return found


def averages(nlls: list, prior, chosen: list[dict], n_bootstrap: int, rng: np.random.Generator) -> list[dict]:
    """Averages of all components over groups of galaxies, with 95 % intervals.

    Parameters
    ----------
    nlls : list of float arrays (n_galaxy, n_member) [nat]
        Of the first input, the second, both and, where there is a fourth, of an input that `both` is set against.
    prior : float array (n_galaxy,) [nat]
    chosen : list of dict
        From `groups`.

    Returns
    -------
    list of dict
        One for each group and kind ('pointwise', 'mean'): ``by``, ``label``, ``low``, ``high``, ``n``, ``kind`` and, of every
        quantity, ``[value, lower, upper]`` [nat]; None where a group has fewer than two galaxies, ``[0, None, None]`` for what is zero
        by definition in all resamples: what the weaker input has of its own. ``gain_2``: what the second input adds to the first.

    Notes
    -----
    Galaxies are drawn with replacement, and so are the members of each ensemble. An ensemble with members twice is worse than the
    one reported: the scatter of such draws is used, not their mean.
    """
    masks = np.stack([group["mask"] for group in chosen], 1).astype(np.float64)
    whole = _means(np.ones((1, len(prior))), _per_galaxy(nlls, prior, None), masks)[0]
    draws, centres = _resampled(nlls, prior, masks, n_bootstrap, rng)
    rows = []
    for g, group in enumerate(chosen):
        n = int(group["mask"].sum())
        for kind in KINDS:
            row = {key: group[key] for key in ("by", "label", "low", "high")} | {"n": n, "kind": kind}
            value = _quantities(whole[g], kind)
            if n < LEAST:
                rows.append(row | dict.fromkeys(value))
                continue
            moved, centre = _quantities(draws[:, g], kind), _quantities(centres[:, g], kind)
            for name in value:
                low, high = np.nanquantile(moved[name] - centre[name].mean(), (0.025, 0.975))
                always_zero = np.nanmax(np.abs(moved[name])) == 0
                row[name] = [0.0, None, None] if always_zero else [float(value[name]), float(value[name] + low), float(value[name] + high)]
            rows.append(row)
    return rows


def _means(weights: np.ndarray, per_galaxy: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Weighted averages over groups, (n_draw, n_group, n_column); NaN where a group is empty."""
    columns = (masks[:, :, None] * per_galaxy[:, None, :]).reshape(len(masks), -1)
    sums = (weights @ columns).reshape(len(weights), masks.shape[1], -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / (weights @ masks)[:, :, None]


def _resampled(nlls: list, prior, masks: np.ndarray, n_bootstrap: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Averages of resamples (n_bootstrap, n_group, n_column), and of each ensemble drawn anew with all galaxies."""
    n, draws, centres = len(prior), [], []
    for share in np.array_split(np.arange(n_bootstrap), min(REDRAWS, n_bootstrap)):
        members = [rng.integers(0, nll.shape[1], nll.shape[1]) for nll in nlls]
        per_galaxy = _per_galaxy(nlls, prior, members)
        centres.append(_means(np.ones((1, n)), per_galaxy, masks)[0])
        # a few at a time: a resample of a whole survey is a row of half a million numbers
        for part in np.array_split(share, max(1, len(share) * n // 4_000_000)):
            weights = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in part]) if len(part) else np.empty((0, n))
            draws.append(_means(weights.astype(np.float64), per_galaxy, masks))
    return np.concatenate(draws), np.stack(centres)


def noise(nlls: list, prior, rng: np.random.Generator) -> dict:
    """How much the average of the pointwise minimum depends on the noise of the networks.

    Returns
    -------
    dict
        ``members`` 1 ... n_member, ``redundant`` [nat] (average over subsets of so many members), ``minimum_of_means`` beside it,
        ``extrapolated`` [nat] to infinitely many by a line in 1 / members, and its standard ``error`` over galaxies; None with fewer
        than two members.
    """
    size = min(nll.shape[1] for nll in nlls[:2])
    per_galaxy = np.empty((len(prior), size))
    means = []
    for m in range(1, size + 1):
        subsets = list(combinations(range(size), m))
        subsets = [subsets[i] for i in np.sort(rng.permutation(len(subsets))[:SUBSETS])]
        pairs = [np.stack([prior - ensemble_nll(nll, subset) for nll in nlls[:2]]) for subset in subsets]
        per_galaxy[:, m - 1] = np.mean([pair.min(0) for pair in pairs], axis=0)
        means.append(float(np.mean([pair.mean(1).min() for pair in pairs])))
    found = {"members": list(range(1, size + 1)), "redundant": per_galaxy.mean(0).tolist(), "minimum_of_means": means}
    if size < 2:
        return found | {"extrapolated": None, "error": None}
    # the intercept of a line in 1 / members is a weighted sum, so that each galaxy has one and they scatter
    design = np.stack([np.ones(size), 1 / np.arange(1, size + 1)], 1)
    intercept = per_galaxy @ np.linalg.pinv(design)[0]
    return found | {"extrapolated": float(intercept.mean()), "error": float(intercept.std() / np.sqrt(len(prior)))}


def truth_gaps(rows: list[dict], known: Mapping[str, tuple[float, float]]) -> list[dict]:
    """What a simulation knows beside what the networks found, for all galaxies.

    Parameters
    ----------
    known : mapping of 'information_1', 'information_2', 'information_12' to (value, error) [nat]
        As far as they are known.
    """
    overall = next(row for row in rows if row["label"] == "all" and row["kind"] == "mean")
    return [
        {"quantity": name, "found": overall[name], "truth": value, "truth_error": error, "gap": value - overall[name][0]}
        for name, (value, error) in known.items()
    ]
