"""What graphs are compared with: the true one among the observed variables, and what anyone could guess."""

from itertools import combinations

import numpy as np

from galmass.causality import ancestral
from galmass.causality import marks as m
from galmass.causality.graph import partial_correlation_test
from galmass.causality.knowledge import Knowledge


def projected(drawn, observed, selected: str | None = None) -> np.ndarray:
    """Marks (d, d) of the maximal ancestral graph of the observed variables of a DAG (Richardson & Spirtes 2002, Ann. Stat. 30, 962).

    Two are adjacent where no set of the others separates them; an end has an arrowhead where it causes neither the other end nor the selection.

    Parameters
    ----------
    drawn : networkx.DiGraph
    observed : sequence of str
    selected : str, optional
        Node on whose value it depends whether a galaxy is seen.
    """
    import networkx

    chosen = {selected} if selected else set()
    above = {name: networkx.ancestors(drawn, name) | {name} for name in {*observed, *chosen}}
    marks = np.zeros((len(observed), len(observed)), np.int8)
    for i, j in combinations(range(len(observed)), 2):
        a, b = observed[i], observed[j]
        causes = (above[a] | above[b]).union(*(above[c] for c in chosen))
        if networkx.is_d_separator(drawn, {a}, {b}, (causes & set(observed) - {a, b}) | chosen):
            continue
        for one, other, at in ((a, b, (j, i)), (b, a, (i, j))):
            marks[at] = m.TAIL if any(one in above[end] for end in (other, *chosen)) else m.ARROW
    return marks


def class_of(true, method: str, knowledge: Knowledge) -> np.ndarray:
    """What a method that knew all independences would find of a maximal ancestral graph (d, d): the marks that its equivalence class and what is known share.

    For FCI that is the partial ancestral graph. For PC and GES it is the pattern: pairs, colliders, what is known, and what follows. Colliders that what is
    known forbids, since only a hidden cause explains them, are left out, as PC does.
    """
    if method == "fci":
        return ancestral.partial(true != m.NONE, ancestral.separators(true), knowledge.forbidden, knowledge.required)
    marks = np.where(true != m.NONE, m.TAIL, m.NONE).astype(np.int8)
    for i, j in np.argwhere((marks != m.NONE) & (knowledge.required | (knowledge.forbidden.T & ~knowledge.forbidden))):
        m.oriented(marks, i, j)
    for b in range(len(marks)):
        for a, c in combinations(np.flatnonzero((true[:, b] == m.ARROW) & (marks[b] != m.ARROW)), 2):
            if true[a, c] == m.NONE:
                m.oriented(marks, a, b)
                m.oriented(marks, c, b)
    return m.closed(marks)


def tier_oriented_correlations(correlation, n: float, knowledge: Knowledge, alpha: float = 0.01, unknown: int = m.TAIL) -> np.ndarray:
    """Marks (d, d) of the pairs that correlate, pointed forward between tiers, with `unknown` at all other ends: what needs no search."""
    p_value, marks = partial_correlation_test(correlation, n), np.zeros(correlation.shape, np.int8)
    for i, j in combinations(range(len(correlation)), 2):
        if p_value(i, j) <= alpha:
            marks[i, j] = marks[j, i] = unknown
    marks[(marks != m.NONE) & knowledge.forbidden.T & ~knowledge.forbidden] = m.ARROW
    return marks
