"""Kernel tests of what a graph says, on a subsample: dependence of any form, where searches see what is linear in normal scores.

KCI (Zhang et al. 2011, UAI, 804), whose cost is cubic in the number of galaxies. RCIT, which is cheaper, gave the same strong dependence p-values
between 0 and 0.08 by the draw of its features.
"""

from itertools import combinations

import numpy as np

from galmass.causality import marks as m
from galmass.causality.graph import Graph
from galmass.causality.moments import normal_scores
from galmass.errors import InputError

LEAST = 50  # galaxies


def parents(marks, i: int) -> set[int]:
    """Variables that are joined to i by an edge without an arrowhead at their own end: they may cause i."""
    return {int(j) for j in np.flatnonzero((marks[i] != m.NONE) & (marks[i] != m.ARROW))}


def tested(values, found: Graph, n: int, seed: int) -> list[dict]:
    """Each pair of variables given the parents of both, which separate what a graph without cycles does not join.

    Parameters
    ----------
    values : float array (n_galaxy, d)
        Columns of the graph; galaxies with a missing value are left out.
    n : int
        Galaxies of the subsample, at most.

    Returns
    -------
    list of dict
        ``a``, ``b``, ``joined``, ``given`` (names) and ``p_value`` of independence. Of a joined pair it should be small.

    Raises
    ------
    InputError
        Fewer than `LEAST` galaxies have all values.
    """
    from causallearn.utils.cit import CIT

    generator, whole = np.random.default_rng(seed), np.flatnonzero(np.isfinite(values).all(1))
    if len(whole) < LEAST:
        raise InputError(f"graphs.kernel_galaxies: {len(whole)} galaxies have all of {', '.join(found.names)}; {LEAST} are needed")
    chosen = generator.permutation(whole)[:n]
    p_value, rows = CIT(normal_scores(values[np.sort(chosen)]), "kci"), []
    for i, j in combinations(range(len(found.names)), 2):
        given = sorted((parents(found.marks, i) | parents(found.marks, j)) - {i, j})
        row = {"a": found.names[i], "b": found.names[j], "joined": bool(found.marks[i, j] != m.NONE), "given": [found.names[k] for k in given]}
        rows.append(row | {"p_value": float(p_value(i, j, given))})
    return rows


def contradictions(rows: list[dict], alpha: float) -> list[dict]:
    """Pairs that are not joined though the test sees dependence, at a level of alpha for all of them together (Bonferroni)."""
    apart = [row for row in rows if not row["joined"]]
    return [row for row in apart if row["p_value"] <= alpha / len(apart)]
