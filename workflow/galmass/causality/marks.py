"""Graphs as arrays of marks: what stands at the end of an edge, and what follows from that.

``marks[i, j]`` (d, d) is the mark at j of the edge between i and j: no edge, a tail, an arrowhead or a circle (unknown). ``i -> j`` has
``marks[i, j] = ARROW``, ``marks[j, i] = TAIL``.
"""

import numpy as np

NONE, TAIL, ARROW, CIRCLE = range(4)
SIGNS = {TAIL: "-", ARROW: ">", CIRCLE: "o"}


def directed(marks) -> np.ndarray:
    """``[i, j]``: i -> j."""
    return (marks == ARROW) & (marks.T == TAIL)


def undirected(marks) -> np.ndarray:
    """``[i, j]``: i - j."""
    return (marks == TAIL) & (marks.T == TAIL)


def of_dag(arrows) -> np.ndarray:
    """Marks of a directed graph, bool (d, d) [cause, effect]."""
    return np.where(arrows, ARROW, np.where(arrows.T, TAIL, NONE)).astype(np.int8)


def oriented(marks, i: int, j: int) -> None:
    """Make the edge i -> j, in place."""
    marks[i, j], marks[j, i] = ARROW, TAIL


def closed(marks) -> np.ndarray:
    """With all arrows that follow without new colliders or circles (Meek 1995, rules 1 to 4; the last is needed where arrows were known beforehand)."""
    marks = marks.copy()
    while True:
        lines, arrows, adjacent = undirected(marks), directed(marks), marks != NONE
        before = marks.copy()
        for i, j in np.argwhere(lines):
            if marks[i, j] != TAIL or marks[j, i] != TAIL:
                continue
            first = (arrows[:, i] & ~adjacent[:, j] & (np.arange(len(marks)) != j)).any()
            second = (arrows[i] & arrows[:, j]).any()
            between = np.flatnonzero(lines[i] & arrows[:, j])
            third = any(not adjacent[a, b] for k, a in enumerate(between) for b in between[k + 1 :])
            fourth = (lines[i][:, None] & adjacent[i] & arrows & arrows[:, j] & ~adjacent[:, [j]]).any()
            if first or second or third or fourth:
                oriented(marks, i, j)
        if (marks == before).all():
            return marks


def pattern(arrows) -> np.ndarray:
    """CPDAG of a directed acyclic graph, bool (d, d): its skeleton, colliders, and what follows."""
    adjacent = arrows | arrows.T
    marks = np.where(adjacent, TAIL, NONE).astype(np.int8)
    for child in range(len(arrows)):
        parents = np.flatnonzero(arrows[:, child])
        for k, a in enumerate(parents):
            for b in parents[k + 1 :]:
                if not adjacent[a, b]:
                    oriented(marks, a, child)
                    oriented(marks, b, child)
    return closed(marks)


def imposed(marks, forbidden, required) -> np.ndarray:
    """With the arrows that knowledge (d, d) asks for, whatever the search said of these edges, and what follows from them."""
    marks = marks.copy()
    for i, j in np.argwhere(marks != NONE):
        if required[i, j] or (forbidden[j, i] and not forbidden[i, j]):
            oriented(marks, i, j)
    return closed(marks)


def distance(found, true) -> int:
    """Structural Hamming distance of two graphs: pairs of variables that are wrongly joined or not, or joined by other marks."""
    differs = (found != true) | (found.T != true.T)
    return int(np.triu(differs, 1).sum())


def scores(found, true) -> dict[str, float]:
    """Precision and recall of adjacencies and of arrowheads (NaN where there are none), and the distance beside that of the empty graph."""
    joined, truly, heads, true_heads = found != NONE, true != NONE, found == ARROW, true == ARROW

    def share(hits, of) -> float:
        return float(hits.sum() / of.sum()) if of.any() else float("nan")

    return {
        "adjacency_precision": share(joined & truly, joined),
        "adjacency_recall": share(joined & truly, truly),
        "arrowhead_precision": share(heads & true_heads, heads),
        "arrowhead_recall": share(heads & true_heads, true_heads),
        "distance": distance(found, true),
        "distance_of_the_empty_graph": distance(np.zeros_like(true), true),
    }


def among(marks, pairs) -> np.ndarray:
    """Only the edges of some pairs, bool (d, d)."""
    return np.where(pairs, marks, NONE).astype(np.int8)
