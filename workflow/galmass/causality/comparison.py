"""A found graph against the true one: structural Hamming distance, precision and recall, the graphs that anyone could guess."""

from itertools import combinations

import numpy as np

from galmass.causality.skeletons import ARROW, NONE, TAIL, Rules, meek


def cpdag(arrows: np.ndarray, known: Rules | None = None) -> np.ndarray:
    """Marks (n_variable, n_variable) of the equivalence class of a graph of arrows row -> column, given what is known."""
    known = known or Rules.of(np.zeros(len(arrows), int))
    adjacent = arrows | arrows.T
    marks = np.where(adjacent, TAIL, NONE)
    for i, j in np.argwhere(arrows):
        others = arrows[:, j] & ~adjacent[i] & (np.arange(len(arrows)) != i)
        if others.any() or known.forbidden[j, i] or known.required[i, j]:
            marks[i, j], marks[j, i] = ARROW, TAIL
    return meek(marks, known)


def projected(drawn, observed: list[str], selected: str | None = None) -> np.ndarray:
    """Marks of the maximal ancestral graph of the observed variables of a DAG (Richardson & Spirtes 2002, Ann. Stat. 30, 962).

    Two are adjacent where no observed set separates them; an end has an arrow where it causes neither the
    other end nor the selection.
    """
    import networkx

    chosen = {selected} if selected else set()
    above = {name: networkx.ancestors(drawn, name) | {name} for name in {*observed, *chosen}}
    marks = np.zeros((len(observed), len(observed)), int)
    for i, j in combinations(range(len(observed)), 2):
        a, b = observed[i], observed[j]
        causes = (above[a] | above[b]).union(*(above[c] for c in chosen))
        given = (causes & set(observed) - {a, b}) | chosen
        if not networkx.is_d_separator(drawn, {a}, {b}, given):
            for one, other, at in ((a, b, (j, i)), (b, a, (i, j))):
                marks[at] = TAIL if any(one in above[e] for e in (other, *chosen)) else ARROW
    return marks


def tier_oriented_correlations(found: np.ndarray, n: float, known: Rules, alpha: float = 0.01) -> np.ndarray:
    """Marks of the pairs that correlate, pointed forward between tiers: what needs no search."""
    from scipy.special import ndtri

    adjacent = (np.abs(np.arctanh(found - np.eye(len(found)))) * np.sqrt(n - 3) > -ndtri(alpha / 2)) & ~np.eye(len(found), dtype=bool)
    marks = np.where(adjacent, TAIL, NONE)
    marks[adjacent & known.forbidden.T] = ARROW
    return marks


def scores(found: np.ndarray, true: np.ndarray, known: Rules) -> dict:
    """Distance of marks from the true ones, beside that of the empty graph.

    Returns
    -------
    dict
        ``shd``: pairs whose edge differs in being or in marks; ``shd_empty``; precision and recall of adjacencies
        and arrowheads, and of arrowheads within tiers; None where nothing was found or is there.
    """
    upper = np.triu_indices(len(true), 1)
    within = known.tier[:, None] == known.tier[None, :]
    adjacent, arrows = ((found != NONE)[upper], (true != NONE)[upper]), (found == ARROW, true == ARROW)
    differs = ((found != true) | (found.T != true.T))[upper]
    result = {"shd": int(differs.sum()), "shd_empty": int(adjacent[1].sum()), "edges": int(adjacent[0].sum())}
    pairs = {"adjacency": adjacent, "arrowhead": arrows, "arrowhead_within": tuple(a & within for a in arrows)}
    for name, (ours, theirs) in pairs.items():
        both = int((ours & theirs).sum())
        result |= {f"{name}_precision": both / ours.sum() if ours.any() else None, f"{name}_recall": both / theirs.sum() if theirs.any() else None}
    return result
