"""How far a found graph is from that of a simulated sky."""

from collections.abc import Mapping

import numpy as np

from galmass.causality import comparison
from galmass.causality import marks as m
from galmass.causality.graph import Graph
from galmass.causality.knowledge import Knowledge
from galmass.causality.moments import Moments


def compared(truth: Mapping, found: Graph, moments: Moments, knowledge: Knowledge, alpha: float) -> dict:
    """`galmass.causality.marks.scores` of a graph, of the empty one, and of correlations that are pointed forward between tiers.

    The truth is the maximal ancestral graph of what was measured, without its noise, among all galaxies, seen or not. Variables that the sky does not have,
    such as estimates, are left out.

    Parameters
    ----------
    truth : mapping
        The sky's graph in networkx's node-link form; the node of a measurement says which one it ``measures``.
    """
    import networkx

    drawn = networkx.node_link_graph(truth, edges="edges")
    kept = np.array([i for i, name in enumerate(found.names) if name in drawn])
    grid = np.ix_(kept, kept)
    true = comparison.projected(drawn, [drawn.nodes[found.names[i]].get("measures", found.names[i]) for i in kept])
    correlation, n = moments.correlation()
    guess = comparison.tier_oriented_correlations(correlation, n, knowledge, alpha)[grid]
    within = ~(knowledge.forbidden | knowledge.forbidden.T)[grid]
    graphs = {"found": found.marks[grid], "correlations": guess, "empty": np.zeros_like(true)}
    scores = {name: _numbers(m.scores(marks, true)) for name, marks in graphs.items()}
    scores["found within tiers"] = _numbers(m.scores(found.marks[grid], true, within))
    return {"variables": [found.names[i] for i in kept], "edges": Graph(tuple(found.names[i] for i in kept), true).to_json()["edges"], "scores": scores}


def _numbers(scores: Mapping) -> dict:
    """None for what is not defined: JSON has no NaN."""
    return {key: value if np.isfinite(value) else None for key, value in scores.items()}
