"""How far a found graph is from that of a simulated sky."""

from collections.abc import Mapping

import numpy as np

from galmass.causality import comparison
from galmass.causality import marks as m
from galmass.causality.graph import Graph
from galmass.causality.knowledge import Knowledge
from galmass.causality.moments import Moments

KINDS = {"pc": "pattern", "ges": "pattern", "fci": "partial ancestral graph"}


def compared(truth: Mapping, found: Graph, moments: Moments, knowledge: Knowledge, alpha: float) -> dict:
    """`galmass.causality.marks.scores` of a graph, of the empty one, and of correlations that are pointed forward between tiers.

    The truth is what the method would find if it knew all independences (`galmass.causality.comparison.class_of`) of the maximal ancestral graph of what was
    measured, without its noise, among all galaxies, seen or not. ``arrowheads_true`` is the share of the arrowheads that this graph itself has: others may be
    true, too, where no independence tells. Variables that the sky does not have are left out.

    Parameters
    ----------
    truth : mapping
        The sky's graph in networkx's node-link form; the node of a measurement says which one it ``measures``.
    """
    import networkx

    drawn = networkx.node_link_graph(truth, edges="edges")
    kept = np.array([i for i, name in enumerate(found.names) if name in drawn])
    known, grid, method = knowledge.reordered(kept), np.ix_(kept, kept), found.notes["method"]
    whole = comparison.projected(drawn, [drawn.nodes[name].get("measures", name) for name in known.names])
    true = comparison.class_of(whole, method, known)
    correlation, n = moments.correlation()
    guess = comparison.tier_oriented_correlations(correlation[grid], n, known, alpha, m.CIRCLE if method == "fci" else m.TAIL)
    within = ~(known.forbidden | known.forbidden.T)
    graphs = {"found": found.marks[grid], "correlations": guess, "empty": np.zeros_like(true)}
    scores = {name: _scores(marks, true, whole) for name, marks in graphs.items()}
    scores |= {f"{name} within tiers": _scores(*(m.among(each, within) for each in (marks, true, whole))) for name, marks in graphs.items()}
    return {"kind": KINDS[method], "variables": list(known.names), "edges": Graph(known.names, true).to_json()["edges"], "scores": scores}


def rows(contents) -> list[dict]:
    """Scores of the graphs of all methods, for people: one row for each graph that is compared with the truth, and its pairs."""
    names, lines = [f"{graph}{pairs}" for pairs in ("", " within tiers") for graph in ("found", "correlations", "empty")], []
    for content in contents:
        truth = content["truth"]
        for name in names:
            score = truth["scores"][name]
            line = {"method": content["method"], "graph": name, "truth": truth["kind"], "distance": score["distance"]}
            shares = {f"{of} {what}": score[f"{of}_{what}"] for of in ("adjacency", "arrowhead") for what in ("precision", "recall")}
            shares["arrowheads true"] = score["arrowheads_true"]
            lines.append(line | {"true edges": score["distance_of_the_empty_graph"]} | {key: None if v is None else round(v, 2) for key, v in shares.items()})
    return lines


def _scores(found, true, whole) -> dict:
    """None for what is not defined: JSON has no NaN."""
    heads = found == m.ARROW
    scores = m.scores(found, true) | {"arrowheads_true": float((whole[heads] == m.ARROW).mean()) if heads.any() else np.nan}
    return {key: value if np.isfinite(value) else None for key, value in scores.items()}
