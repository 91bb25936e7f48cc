"""Causal graphs from correlations: PC, GES and FCI of causal-learn, on sufficient statistics that are computed once.

A graph that a search finds is a hypothesis: it holds if causes are linear in the normal scores, if no cycle, and (PC, GES) no common cause is hidden,
and if independences are there because of the graph alone.
"""

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import log_ndtr

from galmass import stores
from galmass.causality import ancestral, climbing, moments
from galmass.causality import marks as m
from galmass.causality.knowledge import Knowledge
from galmass.errors import InputError

METHODS = ("pc", "ges", "fci")
DEFAULTS = {"alpha": 0.01, "orientation": 4, "max_conditions": None, "penalty": 8.0}
_TEST = "galmass_partial_correlation"
_FROM_CAUSAL_LEARN = {0: m.NONE, -1: m.TAIL, 1: m.ARROW, 2: m.CIRCLE}


@dataclass(frozen=True)
class Graph:
    """A graph of variables, with notes of how it was found.

    Attributes
    ----------
    names : tuple of str
    marks : int8 array (d, d)
        See `galmass.causality.marks`.
    """

    names: tuple[str, ...]
    marks: np.ndarray
    notes: dict = field(default_factory=dict)

    @property
    def edges(self) -> list[dict]:
        """``{"a", "b", "mark_a", "mark_b", "text"}`` of each; a directed edge runs from a to b."""
        rows = []
        for i, j in zip(*np.triu_indices(len(self.names), 1), strict=True):
            if self.marks[i, j] == m.NONE:
                continue
            if self.marks[j, i] == m.ARROW and self.marks[i, j] != m.ARROW:
                i, j = j, i
            near, far = m.SIGNS[int(self.marks[j, i])], m.SIGNS[int(self.marks[i, j])]
            text = f"{self.names[i]} {near.replace('>', '<')}-{far} {self.names[j]}"
            rows.append({"a": self.names[i], "b": self.names[j], "mark_a": near, "mark_b": far, "text": text, "place": (int(i), int(j))})
        return rows

    def to_json(self, frequencies: Mapping[str, np.ndarray] | None = None) -> dict:
        """Names, edges and notes; with `galmass.causality.stability.edge_frequencies` also how often each edge and each of its arrows came again."""
        edges = []
        for edge in self.edges:
            i, j = edge.pop("place")
            if frequencies:
                edge |= {"frequency": float(frequencies["adjacent"][i, j]), "a_to_b": float(frequencies["directed"][i, j])}
                edge |= {"b_to_a": float(frequencies["directed"][j, i]), "both_arrows": float(frequencies["bidirected"][i, j])}
            edges.append(edge)
        return {"variables": list(self.names), "edges": edges, **self.notes}


def to_networkx(content: Mapping):
    """A `Graph.to_json` as networkx.DiGraph for GraphML: edges run from a to b, and marks are attributes."""
    import networkx

    drawn = networkx.DiGraph()
    drawn.add_nodes_from(content["variables"])
    for edge in content["edges"]:
        drawn.add_edge(edge["a"], edge["b"], **{key: value for key, value in edge.items() if key not in ("a", "b")})
    return drawn


def write_graphml(path, content: Mapping) -> None:
    """`to_networkx` as GraphML."""
    import networkx

    with stores.replacing(path) as part:
        networkx.write_graphml(to_networkx(content), part)


def rows(content: Mapping) -> list[dict]:
    """Edges of a `Graph.to_json` for people: what it is, and how often it came again; those of the graphs with what a network says follow."""
    lines = [{"network": "none"} | line for line in _edge_rows(content)]
    return lines + [{"network": modality} | line for modality, one in content.get("given_network", {}).items() for line in _edge_rows(one)]


def _edge_rows(content: Mapping) -> list[dict]:
    names = {"frequency": "frequency", "a_to_b": "a -> b", "b_to_a": "b -> a", "both_arrows": "a <-> b"}
    edges = sorted(content["edges"], key=lambda edge: -edge["frequency"])
    lines = [{"edge": edge["text"], "a": edge["a"], "b": edge["b"], **{label: round(edge[key], 3) for key, label in names.items()}} for edge in edges]
    if "kernel" in content:
        p_values = {frozenset((row["a"], row["b"])): row["p_value"] for row in content["kernel"]}
        lines = [line | {"kernel p": float(f"{p_values[frozenset((line['a'], line['b']))]:.2g}")} for line in lines]
    return lines


def partial_correlation_test(correlation, n: float) -> Callable[[int, int, tuple], float]:
    """p-value of the Fisher z test of i and j given a tuple of others; what belongs to the same variables is computed at once."""
    known: dict = {}

    def p_value(i: int, j: int, given=()) -> float:
        those = tuple(sorted((i, j, *given)))
        if those not in known:
            known[those] = _p_values(correlation, n, those)
        return known[those][those.index(i)][those.index(j)]

    return p_value


def _p_values(correlation, n: float, those: tuple) -> list[list[float]]:
    """Of each two of some variables given the others of them."""
    freedom = n - len(those) - 1
    if freedom <= 0:
        raise InputError(f"{n:g} galaxies are too few for a partial correlation given {len(those) - 2} variables")
    inverse = np.linalg.inv(correlation[np.ix_(those, those)])
    scale = np.sqrt(inverse.diagonal())
    r = np.clip(inverse / np.outer(scale, scale), -1 + 1e-12, 1 - 1e-12)
    return (2 * np.exp(log_ndtr(-abs(np.arctanh(r)) * np.sqrt(freedom)))).tolist()


def _registered() -> str:
    """Name under which causal-learn knows tests of independence that are handed to it."""
    from causallearn.utils import cit

    if _TEST not in cit._custom_ci_tests:

        class Independence(cit.CIT_Base):
            """p-values of independence under causal-learn's interface."""

            def __init__(self, data, p_value, **_):
                self.method, self.pvalue_cache, self.sample_size, self.num_features = _TEST, {}, *data.shape
                self.p_value = p_value

            def __call__(self, i, j, condition_set=None):
                return self.p_value(int(i), int(j), tuple(int(k) for k in condition_set or ()))

        cit.register_ci_test(_TEST, Independence)
    return _TEST


def _pc(p_value: Callable, knowledge: Knowledge, options: Mapping) -> np.ndarray:
    from causallearn.search.ConstraintBased.PC import pc

    limits = {} if options["max_conditions"] is None else {"max_k": options["max_conditions"]}
    found = pc(
        _shape(knowledge),
        options["alpha"],
        _registered(),
        stable=True,
        uc_rule=0,
        uc_priority=options["orientation"],
        background_knowledge=knowledge.background(),
        show_progress=False,
        node_names=list(knowledge.names),
        p_value=p_value,
        **limits,
    )
    return m.imposed(_marks(found.G.graph), knowledge.forbidden, knowledge.required)


def _fci(p_value: Callable, knowledge: Knowledge, options: Mapping) -> np.ndarray:
    from causallearn.graph.GeneralGraph import GeneralGraph
    from causallearn.graph.GraphNode import GraphNode
    from causallearn.search.ConstraintBased import FCI
    from causallearn.utils.cit import CIT
    from causallearn.utils.FAS import fas

    class Node(GraphNode):
        """Its hash is its place, not that of its name: sets of nodes, in whose order separators are tried, are the same in every process."""

        def __hash__(self):
            return knowledge.names.index(self.name)

    nodes, test = [Node(name) for name in knowledge.names], CIT(_shape(knowledge), _registered(), p_value=p_value)
    depth = -1 if options["max_conditions"] is None else options["max_conditions"]
    skeleton, separators, _ = fas(_shape(knowledge), nodes, test, options["alpha"], knowledge.background(), depth, show_progress=False)
    found = GeneralGraph(nodes)
    found.graph = skeleton.graph
    FCI.reorientAllWith(found, FCI.Endpoint.CIRCLE)
    FCI.rule0(found, found.get_nodes(), separators, None, False)
    FCI.removeByPossibleDsep(found, test, options["alpha"], separators)
    apart = {frozenset(pair): separator for pair, separator in separators.items()}
    return ancestral.partial(_marks(found.graph) != m.NONE, apart, knowledge.forbidden, knowledge.required)


def _shape(knowledge: Knowledge) -> np.ndarray:
    """Data, of which searches see the shape alone."""
    return np.zeros((len(knowledge.names) + 1, len(knowledge.names)))


def _marks(found) -> np.ndarray:
    """Of causal-learn's graph, whose [i, j] is the mark at i."""
    return np.vectorize(_FROM_CAUSAL_LEARN.__getitem__, otypes=[np.int8])(found.T)


def by_tests(p_value: Callable[[int, int, tuple], float], method: str, knowledge: Knowledge, **options) -> np.ndarray:
    """Marks (d, d) that PC or FCI find by any test: p-value of the independence of i and j given a tuple of others.

    FCI's pairs are those of causal-learn, and its marks those of `galmass.causality.ancestral`: causal-learn makes a tail at the earlier end of what tiers say,
    which rules out that a common cause is hidden.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # searches print
        return {"pc": _pc, "fci": _fci}[method](p_value, knowledge, DEFAULTS | options)


def _ges(correlation, n, knowledge: Knowledge, options: Mapping) -> np.ndarray:
    from causallearn.search.ScoreBased.GES import ges

    with contextlib.redirect_stdout(io.StringIO()):
        found = ges(cov=np.ascontiguousarray(correlation), n=n, lambda_value=options["penalty"], node_names=list(knowledge.names))
    marks = _marks(found["G"].graph)
    return climbing.better(marks, correlation, n, options["penalty"], knowledge.forbidden, knowledge.required)


def search_correlation(correlation, n: float, method: str, knowledge: Knowledge, **options) -> Graph:
    """Graph from a correlation matrix (d, d) that n galaxies gave.

    PC and FCI use tiers, forbidden and required arrows in their search. causal-learn's GES knows none, and stops where no insertion or deletion
    helps: what it finds is climbed on from, with turned arrows, within what is known (`galmass.causality.climbing`).

    Options are `DEFAULTS`: ``alpha`` of the tests of PC and FCI, ``orientation`` (which of contradicting colliders PC takes, uc_priority of causal-learn),
    ``max_conditions`` (most variables that a test conditions on), ``penalty`` of GES (0.5: BIC,
    right for a linear Gaussian model; where noise, curvature and a flux limit make weak edges, a multiple of it is nearer to the truth).
    """
    if method not in METHODS:
        raise InputError(f"graphs.methods names '{method}'; known: {', '.join(METHODS)}")
    options = DEFAULTS | options
    test = partial_correlation_test(correlation, n)
    marks = _ges(correlation, n, knowledge, options) if method == "ges" else by_tests(test, method, knowledge, **options)
    return Graph(knowledge.names, marks, {"method": method, "n": n, "options": {key: options[key] for key in DEFAULTS}})


def search(table, method: str, tiers=None, names=None, forbidden=(), required=(), missing="complete", transform="normal_scores", **options) -> Graph:
    """Graph of the columns `names` (all where None) of a table; see `galmass.causality.moments`, `knowledge` and `search_correlation`."""
    names = list(table) if names is None else list(names)
    values, notes = moments.checked(table, names, missing)
    correlation, n = moments.moments(values, names, transform).correlation()
    found = search_correlation(correlation, n, method, Knowledge.of(names, tiers, forbidden, required), **options)
    return Graph(found.names, found.marks, found.notes | {"table": notes})


def order_dependence(correlation, n: float, method: str, knowledge: Knowledge, n_orders: int, seed: int, **options) -> dict:
    """Shares of random orders of the columns that give the same skeleton and the same marks as the given order."""
    own = search_correlation(correlation, n, method, knowledge, **options).marks
    generator, same = np.random.default_rng(seed), []
    for _ in range(n_orders):
        order = generator.permutation(len(correlation))
        found = search_correlation(correlation[np.ix_(order, order)], n, method, knowledge.reordered(order), **options).marks
        back = np.argsort(order)
        found = found[np.ix_(back, back)]
        same.append((((found != m.NONE) == (own != m.NONE)).all(), (found == own).all()))
    shares = np.mean(same, axis=0) if same else (float("nan"),) * 2
    return {"orders": n_orders, "same_skeleton": float(shares[0]), "same_marks": float(shares[1])}
