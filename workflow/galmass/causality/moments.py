"""What graph searches need of a table, once: correlations of checked columns on normal scores, also of bootstrap replicates."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from galmass.errors import InputError

TRANSFORMS = ("normal_scores", "none")
SAME = 1 - 1e-9  # |correlation| of two columns that are one
SINGULAR = 1e-8  # smallest eigenvalue of a correlation matrix of columns that are not linearly dependent


@dataclass(frozen=True)
class Moments:
    """Sums over the galaxies of each block where both of a pair of columns are there, arrays (n_block, d, d)."""

    names: tuple[str, ...]
    count: np.ndarray
    total: np.ndarray  # of the first column of the pair
    square: np.ndarray  # of the same
    product: np.ndarray

    def correlation(self, weights=None) -> tuple[np.ndarray, float]:
        """Correlation matrix (d, d) with each block counted `weights` (n_block,) times, and the number of galaxies that it is worth.

        Where columns are missing for different galaxies that is the number of the rarest pair.
        """
        weights = np.ones(len(self.count)) if weights is None else weights
        n, total, square, product = (np.tensordot(weights, part, 1) for part in (self.count, self.total, self.square, self.product))
        mean = total / n
        covariance, variance = product / n - mean * mean.T, square / n - mean**2
        found = covariance / np.sqrt(variance * variance.T)
        np.fill_diagonal(found, 1.0)
        return found, float(n.min())

    def replicate(self, generator: np.random.Generator) -> tuple[np.ndarray, float]:
        """`correlation` of a bootstrap replicate: blocks drawn with replacement."""
        n_block = len(self.count)
        return self.correlation(generator.multinomial(n_block, np.full(n_block, 1 / n_block)))


def normal_scores(values) -> np.ndarray:
    """Each column (n, d) by its ranks as a standard normal; NaN stay, ties share a score."""
    ranks = rankdata(values, axis=0, nan_policy="omit")
    return ndtri(ranks / (np.isfinite(values).sum(0) + 1))


def checked(table, names, missing: str = "complete") -> tuple[np.ndarray, dict]:
    """Columns of a table as numbers (n_galaxy, d), and notes of what was left out.

    Parameters
    ----------
    table : mapping of str to float array (n,)
        A DataFrame, too.
    names : sequence of str
    missing : {"complete", "pairwise"}
        Galaxies without a value: left out, or used for the pairs of columns that they have.

    Raises
    ------
    InputError
        Columns that are unknown, infinite, missing everywhere, constant, or the same as another; fewer galaxies than columns squared.
    """
    unknown = [name for name in names if name not in table]
    if unknown:
        raise InputError(f"graph variables {', '.join(unknown)} are not in the table; it has {', '.join(map(str, table))}")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise InputError(f"graph variables {', '.join(twice)} are named twice")
    values = np.stack([np.asarray(table[name], float) for name in names], axis=1)
    _refuse(names, np.isinf(values).any(0), "hold infinity")
    _refuse(names, ~np.isfinite(values).any(0), "are missing for every galaxy")
    if missing not in ("complete", "pairwise"):
        raise InputError(f"graphs.missing is '{missing}'; known: complete, pairwise")
    whole = np.isfinite(values).all(1)
    notes = {"galaxies": len(values), "missing": {name: int(n) for name, n in zip(names, np.isnan(values).sum(0), strict=True) if n}}
    if missing == "complete":
        values = values[whole]
    notes |= {"treated": missing, "complete": int(whole.sum())}
    least, rarest = len(names) ** 2, min(len(values), _rarest(values))
    if rarest < least:
        most = ", ".join(f"{name} ({n})" for name, n in sorted(notes["missing"].items(), key=lambda item: -item[1])[:3])
        raise InputError(f"{rarest} galaxies have all of {', '.join(names)}; {len(names)} variables want {least} at least. Most missing: {most or 'nothing'}")
    _refuse(names, np.nanmax(values, 0) == np.nanmin(values, 0), "are constant")
    return values, notes


def _rarest(values) -> int:
    """Galaxies that have both of the pair of columns that is rarest together."""
    there = np.isfinite(values).astype(float)
    return int((there.T @ there).min()) if len(values) else 0


def _refuse(names, bad, words: str) -> None:
    if bad.any():
        raise InputError(f"graph variables that {words}: {', '.join(np.array(names)[bad])}; take them out of the graph")


def moments(values, names, transform: str = "normal_scores", n_block: int = 1000, seed: int = 0) -> Moments:
    """`Moments` of columns (n_galaxy, d) in blocks of galaxies drawn at random.

    Raises
    ------
    InputError
        Columns that are the same, or linearly dependent: a partial correlation is undefined.
    """
    if transform not in TRANSFORMS:
        raise InputError(f"graphs.transform is '{transform}'; known: {', '.join(TRANSFORMS)}")
    x = normal_scores(values) if transform == "normal_scores" else (values - np.nanmean(values, 0)) / np.nanstd(values, 0)
    order = np.random.default_rng(seed).permutation(len(x))
    parts = [_sums(x[rows]) for rows in np.array_split(order, min(n_block, len(x)))]
    found = Moments(tuple(names), *(np.stack(part) for part in zip(*parts, strict=True)))
    require_regular(found.correlation()[0], names)
    return found


def _sums(x) -> tuple[np.ndarray, ...]:
    there = np.isfinite(x).astype(float)
    x = np.nan_to_num(x)
    return there.T @ there, x.T @ there, (x**2).T @ there, x.T @ x


def require_regular(correlation, names) -> None:
    """Raise `InputError` with the names of columns that are one, or that add up to nothing."""
    i, j = np.nonzero(np.triu(np.abs(correlation) > SAME, 1))
    if len(i):
        pairs = ", ".join(f"{names[a]} and {names[b]}" for a, b in zip(i, j, strict=True))
        raise InputError(f"graph variables that are the same: {pairs}; keep one of each")
    values, vectors = np.linalg.eigh(correlation)
    if values[0] < SINGULAR:
        involved = np.array(names)[np.abs(vectors[:, 0]) > 0.05]
        raise InputError(f"graph variables {', '.join(involved)} are linearly dependent; leave one of them out")
