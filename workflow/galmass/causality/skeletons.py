"""The PC algorithm on correlations, many replicates at once; its skeleton is causal-learn's, its arrows know no order of columns."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import ndtri

NONE, TAIL, ARROW, CIRCLE = range(4)


@dataclass(frozen=True)
class Rules:
    """What may be and must be: tier (n_variable,) int; forbidden and required arrows row -> column, (n_variable, n_variable) bool, tiers in the first."""

    tier: np.ndarray
    forbidden: np.ndarray
    required: np.ndarray

    @classmethod
    def of(cls, tier) -> "Rules":
        """No arrow points to an earlier tier."""
        tier = np.asarray(tier)
        return cls(tier, tier[:, None] > tier[None, :], np.zeros((len(tier), len(tier)), bool))


def statistic(correlations: np.ndarray, i: int, j: int, given: tuple[int, ...], n: float) -> np.ndarray:
    """|Fisher z| in standard deviations (n_replicate,) of the partial correlations of i and j."""
    chosen = [i, j, *given]
    inverse = np.linalg.inv(correlations[:, chosen][:, :, chosen])
    partial = -inverse[:, 0, 1] / np.sqrt(inverse[:, 0, 0] * inverse[:, 1, 1])
    return np.sqrt(n - len(given) - 3) * np.abs(np.arctanh(np.clip(partial, -1 + 1e-15, 1 - 1e-15)))


def skeletons(correlations: np.ndarray, n: float, alpha: float, known: Rules, max_given: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Adjacencies of every replicate by the stable PC algorithm (Colombo & Maathuis 2014, JMLR 15, 3741).

    Returns
    -------
    adjacent : (n_replicate, n_variable, n_variable) bool
    separating : (n_replicate, n_variable, n_variable, n_variable) bool
        The separating set of each pair that is not adjacent: of those of the smallest size, the one with the weakest correlation.
    strength : (n_replicate, n_variable, n_variable)
        |z| given that set; infinite for adjacent pairs.

    Notes
    -----
    A set holds no variable of a later tier than both of the pair.
    """
    n_replicate, p = correlations.shape[:2]
    kept, banned = known.required | known.required.T, known.forbidden & known.forbidden.T
    adjacent = np.broadcast_to(~np.eye(p, dtype=bool) & ~banned, (n_replicate, p, p)).copy()
    separating, strength = np.zeros((n_replicate, p, p, p), bool), np.full((n_replicate, p, p), np.inf)
    critical = -ndtri(alpha / 2)
    for size in range(min(max_given, p - 2) + 1):
        before = adjacent.copy()
        anywhere = before.any(axis=0)
        for i, j in np.argwhere(anywhere & ~kept).tolist():
            allowed = [k for k in np.flatnonzero(anywhere[i]).tolist() if k != j and known.tier[k] <= max(known.tier[i], known.tier[j])]
            for given in combinations(allowed, size):
                rows = np.flatnonzero(before[:, i, [j, *given]].all(axis=1))
                if not len(rows) or (size == 0 and i > j):
                    continue
                z = statistic(correlations[rows], i, j, given, n)
                better = (z < critical) & (z < strength[rows, i, j])
                rows, z = rows[better], z[better]
                members = np.isin(np.arange(p), given)
                for a, b in ((i, j), (j, i)):
                    adjacent[rows, a, b], strength[rows, a, b], separating[rows, a, b] = False, z, members
    return adjacent, separating, strength


def oriented(adjacent: np.ndarray, separating: np.ndarray, strength: np.ndarray, known: Rules) -> np.ndarray:
    """Marks (n_variable, n_variable) of one replicate: [i, j] is the mark at j; clearest colliders first, then Meek's rules."""
    p = len(adjacent)
    marks = np.where(adjacent, TAIL, NONE)
    for i, j in np.argwhere(adjacent & (known.forbidden.T | known.required)):
        _point(marks, i, j)
    found = []
    for i, j in combinations(range(p), 2):
        if not adjacent[i, j] and np.isfinite(strength[i, j]):
            found += [(strength[i, j], i, k, j) for k in np.flatnonzero(adjacent[i] & adjacent[j] & ~separating[i, j])]
    for _, i, k, j in sorted(found):
        if _may(marks, known, i, k) and _may(marks, known, j, k):
            _point(marks, i, k)
            _point(marks, j, k)
    return meek(marks, known)


def _point(marks: np.ndarray, i: int, j: int) -> None:
    marks[i, j], marks[j, i] = ARROW, TAIL


def _may(marks: np.ndarray, known: Rules, i: int, j: int) -> bool:
    return not known.forbidden[i, j] and marks[j, i] != ARROW


def meek(marks: np.ndarray, known: Rules) -> np.ndarray:
    """Marks with every arrow that follows from those there (Meek 1995, rules 1-4), and none that is forbidden."""
    changed = True
    while changed:
        changed = False
        arrow = (marks == ARROW) & (marks.T == TAIL)
        line, apart = (marks == TAIL) & (marks.T == TAIL), marks == NONE
        for i, j in np.argwhere(line):
            if not line[j, i] or known.forbidden[i, j] or marks[i, j] != TAIL or marks[j, i] != TAIL:
                continue
            sides = np.flatnonzero(line[i] & arrow[:, j])
            first = (arrow[:, i] & apart[:, j] & (np.arange(len(marks)) != j)).any()
            second = (arrow[i] & arrow[:, j]).any()
            third = any(apart[a, b] for a, b in combinations(sides, 2))
            fourth = any((arrow[:, b] & line[i] & apart[:, j]).any() for b in np.flatnonzero(arrow[:, j] & (marks[i] != NONE)))
            if first or second or third or fourth:
                _point(marks, i, j)
                changed = True
                break
    return marks
