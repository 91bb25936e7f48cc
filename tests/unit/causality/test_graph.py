"""Searches against graphs that are known, knowledge that they honour, and tables that they must refuse."""

import json
import zlib
from itertools import combinations, product

import networkx
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from galmass.causality import ancestral, climbing, comparison, graph, stability, summaries, truths
from galmass.causality import marks as m
from galmass.causality.knowledge import Knowledge
from galmass.causality.moments import checked, moments, normal_scores
from galmass.errors import InputError

NAMES = ("a", "b", "c", "d", "e")
# a -> c <- b, c -> d -> e: a collider, and a chain whose arrows follow from it
ARROWS = np.zeros((5, 5), bool)
for cause, effect in ((0, 2), (1, 2), (2, 3), (3, 4)):
    ARROWS[cause, effect] = True


def population(arrows=ARROWS, slope=0.7) -> np.ndarray:
    """Correlations of the linear model with unit noise."""
    mixing = np.linalg.inv(np.eye(len(arrows)) - slope * arrows.T)
    covariance = mixing @ mixing.T
    scale = np.sqrt(np.diag(covariance))
    return covariance / np.outer(scale, scale)


def sample(n, seed=0, arrows=ARROWS) -> dict:
    noise = np.random.default_rng(seed).standard_normal((n, len(arrows)))
    values = noise @ np.linalg.inv(np.eye(len(arrows)) - 0.7 * arrows)
    return dict(zip(NAMES, values.T, strict=True))


# --- searches ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pc", "ges"])
def test_the_class_of_a_graph_is_found(method):
    found = graph.search_correlation(population(), 10000, method, Knowledge.of(NAMES))
    np.testing.assert_array_equal(found.marks, m.of_dag(ARROWS))
    assert {edge["text"] for edge in found.edges} == {"a --> c", "b --> c", "c --> d", "d --> e"}


def test_a_hidden_common_cause_is_two_arrows_for_fci():
    """a -> x <- hidden -> y <- b, without the hidden one: x <-> y."""
    arrows = np.zeros((5, 5), bool)
    for cause, effect in ((0, 1), (4, 1), (4, 2), (3, 2)):
        arrows[cause, effect] = True
    correlation = population(arrows)[:4, :4]
    found = graph.search_correlation(correlation, 10000, "fci", Knowledge.of(NAMES[:4]))
    assert found.marks[1, 2] == found.marks[2, 1] == m.ARROW
    assert found.marks[0, 1] == found.marks[3, 2] == m.ARROW
    assert found.marks[1, 0] == found.marks[2, 3] == m.CIRCLE


@pytest.mark.parametrize("method", graph.METHODS)
def test_tiers_are_honoured(method):
    """A chain has no direction of its own; tiers against its order turn it around."""
    chain = np.zeros((5, 5), bool)
    for i in range(4):
        chain[i, i + 1] = True
    tiers = [["e"], ["d"], ["c"], ["a", "b"]]
    found = graph.search_correlation(population(chain), 10000, method, Knowledge.of(NAMES, tiers))
    for i, j in ((4, 3), (3, 2), (2, 1)):
        assert found.marks[i, j] == m.ARROW
        assert found.marks[j, i] != m.ARROW


@pytest.mark.parametrize("method", ["pc", "ges"])
def test_required_and_forbidden_arrows(method):
    chain = np.zeros((5, 5), bool)
    chain[0, 1] = chain[1, 2] = True
    known = Knowledge.of(NAMES, required=[("c", "b")], forbidden=[("b", "a")])
    found = graph.search_correlation(population(chain), 10000, method, known)
    assert m.directed(found.marks)[2, 1]
    assert not m.directed(found.marks)[1, 0]


def test_order_of_the_columns_does_not_matter_where_the_truth_is_clear():
    assert graph.order_dependence(population(), 10000, "pc", Knowledge.of(NAMES), 4, 1) == {"orders": 4, "same_skeleton": 1.0, "same_marks": 1.0}


def test_p_values_are_uniform_where_variables_are_independent():
    """b and e given c: 2000 samples of 50."""
    p = [graph.partial_correlation_test(np.corrcoef(list(sample(50, seed).values())), 50)(1, 4, (2,)) for seed in range(2000)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 2000))


def test_p_values_are_those_of_residuals():
    """Fisher's z of the correlation of what regressions on the others leave."""
    values = np.stack(list(sample(200).values()), 1)
    test = graph.partial_correlation_test(np.corrcoef(values.T), 200)
    values = values - values.mean(0)
    for i, j, given in ((0, 1, ()), (0, 4, (2,)), (4, 0, (3, 1)), (1, 3, (4, 0, 2))):
        left = [values[:, k] - values[:, given] @ np.linalg.lstsq(values[:, given], values[:, k])[0] for k in (i, j)]
        z = np.arctanh(np.corrcoef(left)[0, 1]) * np.sqrt(200 - len(given) - 3)
        assert test(i, j, given) == pytest.approx(2 * norm.sf(abs(z)), rel=1e-9)  # rounding of two ways through normal equations


def test_a_partial_correlation_wants_galaxies():
    with pytest.raises(InputError, match="5 galaxies are too few for a partial correlation given 2 variables"):
        graph.partial_correlation_test(population(), 5)(0, 1, (2, 3))


@pytest.mark.parametrize("seed", range(6))
def test_gains_are_differences_of_scores(seed):
    """Each insertion, deletion and turn of an arrow against the graph that it makes; nothing that closes a circle or is not to be."""
    generator = np.random.default_rng(seed)
    arrows = np.triu(generator.random((5, 5)) < 0.6, 1)
    required, forbidden = arrows & (generator.random((5, 5)) < 0.2), ~arrows & (generator.random((5, 5)) < 0.2)
    scores = climbing.Scores(population(), 10000, 0.5)
    own = np.array([scores.of(j, arrows[:, j]) for j in range(5)])
    changed = np.stack([scores.changed(j, arrows[:, j], forbidden[:, j]) for j in range(5)], 1)
    gains = climbing._gains(arrows, own, changed, required)
    for i, j, turned in product(range(5), range(5), range(2)):
        other = arrows.copy()
        other[i, j] ^= True
        other[j, i] |= bool(turned)
        never = i == j or (turned and not arrows[i, j]) or (other & forbidden).any() or (required & ~other).any() or climbing.descends(other).diagonal().any()
        expected = -np.inf if never else scores.total(other) - scores.total(arrows)
        assert gains[i, j, turned] == pytest.approx(expected, rel=1e-12, abs=1e-9), (i, j, turned)  # rounding of scores near 1e4


@pytest.mark.parametrize("seed", range(4))
def test_an_ascent_ends_where_no_arrow_gains(seed):
    """Whatever was scored on the way: no insertion, deletion or turn of one arrow scores better at its end."""
    generator = np.random.default_rng(seed)
    correlation = population(np.triu(generator.random((7, 7)) < 0.5, 1), 0.6)
    none, scores = np.zeros((7, 7), bool), climbing.Scores(correlation, 5000, 0.5)
    found = climbing.climbed(none, scores, none, none)
    assert not climbing.descends(found).diagonal().any()
    others = [found ^ flip for flip in one_arrow(found)]
    assert max(scores.total(other) for other in others if not climbing.descends(other).diagonal().any()) <= scores.total(found) + 2 * climbing.GAIN


def one_arrow(arrows) -> list[np.ndarray]:
    """What changes when one arrow is inserted, deleted or turned."""
    flips = []
    for i, j in product(range(len(arrows)), repeat=2):
        flip = np.zeros_like(arrows)
        flip[i, j] = True
        if i != j and not arrows[j, i]:
            flips.append(flip)
        if arrows[i, j]:
            flips.append(flip | flip.T)
    return flips


def test_a_required_arrow_against_the_data_makes_no_circle():
    """c -> a, where a -> c is seen: the ascent starts from a graph that can be."""
    required = np.zeros((5, 5), bool)
    required[2, 0] = True
    start = climbing.extension(m.of_dag(ARROWS), np.zeros((5, 5), bool), required)
    assert start[2, 0]
    assert not climbing.descends(start).diagonal().any()
    known = Knowledge.of(NAMES, required=[("c", "a")])
    for marks in (m.of_dag(ARROWS), np.zeros((5, 5), np.int8)):
        found = climbing.better(marks, population(), 10000, 0.5, known.forbidden, known.required)
        np.testing.assert_array_equal(found, climbing.better(np.zeros((5, 5), np.int8), population(), 10000, 0.5, known.forbidden, known.required))


def test_fci_finds_the_same_in_every_process(monkeypatch):
    """Hashes of names, which each process draws anew, order sets of causal-learn's nodes: those of some processes are played."""
    from causallearn.graph.GraphNode import GraphNode

    names = [f"x{i}" for i in range(12)]
    known, generator = Knowledge.of(names, [names[:4], names[4:8], names[8:]]), np.random.default_rng(6)
    slopes = np.triu(generator.uniform(-0.9, 0.9, (12, 12)) * (generator.random((12, 12)) < 0.4), 1)
    order = generator.permutation(12)
    values = generator.standard_normal((2000, 12)) @ np.linalg.inv(np.eye(12) - slopes[np.ix_(order, order)])
    found = []
    for process in range(8):
        monkeypatch.setattr(GraphNode, "__hash__", lambda node, process=process: zlib.crc32(f"{process} {node.get_name()}".encode()))
        found.append(graph.search_correlation(np.corrcoef(values.T), 2000, "fci", known).marks)
    assert all((one == found[0]).all() for one in found)


def test_climbing_leaves_a_local_optimum_of_greedy_search():
    """All arrows turned: insertions and deletions alone do not undo that; the true graph scores best and is reached."""
    correlation = population()
    scores = climbing.Scores(correlation, 10000, 0.5)
    turned = climbing.climbed(ARROWS.T.copy(), scores, np.zeros((5, 5), bool), np.zeros((5, 5), bool))
    assert scores.total(turned) >= scores.total(ARROWS.T) + 100
    none = np.zeros((5, 5), bool)
    np.testing.assert_array_equal(climbing.better(m.pattern(ARROWS.T), correlation, 10000, 0.5, none, none), m.of_dag(ARROWS))


# --- frequencies ------------------------------------------------------------------------------------------------------------


def test_edges_of_strong_causes_come_again_and_those_of_noise_do_not():
    table = sample(3000)
    sums = moments(np.stack(list(table.values()), 1), NAMES)
    shares = stability.edge_frequencies(sums, "pc", Knowledge.of(NAMES), 30, 1)
    assert (shares["adjacent"][ARROWS] > 0.95).all()
    assert shares["adjacent"][0, 1] < 0.5
    np.testing.assert_array_equal(shares["adjacent"], shares["adjacent"].T)
    assert (shares["directed"] + shares["directed"].T + shares["bidirected"] <= shares["adjacent"] + 1e-12).all()


def test_replicates_end_at_the_limit_of_time():
    sums = moments(np.stack(list(sample(500).values()), 1), NAMES)
    assert len(stability.graphs(sums, "pc", Knowledge.of(NAMES), 50, 1, limit_s=0)) == 1


def test_replicates_scatter_as_samples_do():
    """Standard deviation of a correlation of 0 by the bootstrap, 1 / sqrt(n); 400 replicates: 3.5 %, four of it."""
    sums = moments(np.random.default_rng(3).standard_normal((2000, 2)), ("a", "b"))
    found = [c[0, 1] for c, _ in stability.replicates(sums, 400, 5)]
    assert np.std(found) * np.sqrt(2000) == pytest.approx(1, abs=0.14)


def test_json_and_graphml(tmp_path):
    found = graph.search_correlation(population(), 10000, "pc", Knowledge.of(NAMES))
    sums = moments(np.stack(list(sample(500).values()), 1), NAMES)
    content = found.to_json(stability.edge_frequencies(sums, "pc", Knowledge.of(NAMES), 10, 1))
    assert json.loads(json.dumps(content)) == content
    graph.write_graphml(tmp_path / "pc.graphml", content)
    again = networkx.read_graphml(tmp_path / "pc.graphml")
    assert set(again.edges) == {("a", "c"), ("b", "c"), ("c", "d"), ("d", "e")}
    assert again.edges["a", "c"]["mark_b"] == ">"
    assert 0 <= again.edges["a", "c"]["frequency"] <= 1


# --- marks and truth --------------------------------------------------------------------------------------------------------


def test_pattern_of_a_chain_has_no_arrows_and_of_a_collider_two():
    chain = np.zeros((3, 3), bool)
    chain[0, 1] = chain[1, 2] = True
    assert not m.directed(m.pattern(chain)).any()
    collider = np.zeros((3, 3), bool)
    collider[0, 1] = collider[2, 1] = True
    np.testing.assert_array_equal(m.pattern(collider), m.of_dag(collider))


def members(skeleton) -> list[np.ndarray]:
    """All directed acyclic graphs, bool (d, d), with some pairs joined."""
    pairs = np.argwhere(np.triu(skeleton))
    found = []
    for turned in product((False, True), repeat=len(pairs)):
        arrows = np.zeros_like(skeleton)
        for (i, j), back in zip(pairs, turned, strict=True):
            arrows[(j, i) if back else (i, j)] = True
        if not np.linalg.matrix_power(arrows.astype(int), len(skeleton)).any():
            found.append(arrows)
    return found


def test_arrows_that_follow_from_what_is_known_by_the_fourth_rule():
    """a - b, a - c -> d -> b, a - d: b -> a would make a circle whichever way a - c points."""
    marks = np.zeros((4, 4), np.int8)
    for i, j in ((0, 1), (0, 2), (0, 3), (2, 3), (3, 1)):
        marks[i, j] = marks[j, i] = m.TAIL
    m.oriented(marks, 2, 3)
    m.oriented(marks, 3, 1)
    assert m.directed(m.closed(marks))[0, 1]


@pytest.mark.parametrize("seed", range(12))
def test_an_arrow_stands_where_all_graphs_of_the_class_agree(seed):
    """Patterns of random graphs of five variables with two required arrows, against the members of their classes one by one."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(5)
    arrows = np.triu(rng.random((5, 5)) < 0.75, 1)[np.ix_(order, order)]
    required = np.zeros((5, 5), bool)
    for i, j in rng.permutation(np.argwhere(arrows))[:2]:
        required[i, j] = True
    pattern = m.pattern(arrows)
    same = [one for one in members(arrows | arrows.T) if (m.pattern(one) == pattern).all() and not (required & ~one).any()]
    np.testing.assert_array_equal(m.directed(m.imposed(pattern, np.zeros_like(required), required)), np.all(same, axis=0))


def test_distance_counts_pairs():
    true, found = m.of_dag(ARROWS), m.of_dag(ARROWS)
    assert m.distance(found, true) == 0
    m.oriented(found, 2, 0)  # turned
    found[3, 4] = found[4, 3] = m.NONE  # missing
    found[0, 4] = found[4, 0] = m.TAIL  # too much
    assert m.distance(found, true) == 3
    assert m.distance(np.zeros_like(true), true) == 4
    scores = m.scores(found, true)
    assert scores["adjacency_precision"] == scores["adjacency_recall"] == 0.75


def test_projection_on_what_is_observed():
    """hidden -> x, hidden -> y is x <-> y; x -> mediator -> z is x -> z."""
    drawn = networkx.DiGraph([("hidden", "x"), ("hidden", "y"), ("x", "mediator"), ("mediator", "z"), ("z", "seen"), ("y", "seen")])
    marks = comparison.projected(drawn, ["x", "y", "z"])
    assert marks.tolist() == [[0, m.ARROW, m.ARROW], [m.ARROW, 0, 0], [m.TAIL, 0, 0]]
    assert comparison.projected(drawn, ["x", "y", "z"], "seen")[1, 2] != m.NONE  # selection on a common effect joins them


def independences(drawn, names):
    """As a test that knows all of them."""
    return lambda i, j, given=(): float(networkx.is_d_separator(drawn, {names[i]}, {names[j]}, {names[k] for k in given}))


def random_truth(seed: int):
    """A random graph of eight variables, the six that are observed, and tiers in their order."""
    rng = np.random.default_rng(seed)
    drawn = networkx.DiGraph([(f"x{i}", f"x{j}") for i, j in combinations(range(8), 2) if rng.random() < 0.35])
    drawn.add_nodes_from(f"x{i}" for i in range(8))
    names = [f"x{i}" for i in sorted(rng.choice(8, 6, replace=False))]
    return drawn, names, [names[:2], names[2:5], names[5:]]


@pytest.mark.parametrize("tiered", [False, True])
@pytest.mark.parametrize("method", ["pc", "fci"])
@pytest.mark.parametrize("seed", range(6))
def test_a_search_that_knows_all_independences_is_at_no_distance_from_the_truth(seed, method, tiered):
    drawn, names, tiers = random_truth(seed)
    known = Knowledge.of(names, tiers if tiered else None)
    true = comparison.class_of(comparison.projected(drawn, names), method, known)
    np.testing.assert_array_equal(graph.by_tests(independences(drawn, names), method, known), true)


@pytest.mark.parametrize("seed", range(20))
def test_a_partial_ancestral_graph_says_nothing_wrong(seed):
    drawn, names, tiers = random_truth(seed)
    true = comparison.projected(drawn, names)
    marks = comparison.class_of(true, "fci", Knowledge.of(names, tiers))
    np.testing.assert_array_equal(marks != m.NONE, true != m.NONE)
    assert (true[marks == m.ARROW] == m.ARROW).all()
    assert (true[marks == m.TAIL] == m.TAIL).all()


def test_tiers_do_not_rule_out_a_hidden_common_cause():
    """a and b correlate, a is earlier: a -> b, or a hidden cause of both. causal-learn says the first."""
    known = Knowledge.of(("a", "b"), [["a"], ["b"]])
    marks = graph.by_tests(lambda *_: 0.0, "fci", known)
    assert marks[0, 1] == m.ARROW
    assert marks[1, 0] == m.CIRCLE


def test_a_discriminating_path_tells_a_collider():
    """t -> a <-> b <-> c and a -> c, without t - c: neither c nor b causes the other. With b -> c instead that is told, too."""
    hidden = networkx.DiGraph([("t", "a"), ("u", "a"), ("u", "b"), ("v", "b"), ("v", "c"), ("a", "c")])
    names = ["t", "a", "b", "c"]
    marks = comparison.class_of(comparison.projected(hidden, names), "fci", Knowledge.of(names))
    assert marks[2, 3] == marks[3, 2] == m.ARROW
    causes = networkx.DiGraph([("t", "a"), ("u", "a"), ("u", "b"), ("b", "c"), ("a", "c")])
    marks = comparison.class_of(comparison.projected(causes, names), "fci", Knowledge.of(names))
    assert m.directed(marks)[2, 3]


def test_an_arrowhead_that_no_independence_tells_is_true_and_not_of_the_class():
    """a -> b, which nothing tells from b -> a: found as a -> b."""
    found = graph.Graph(("a", "b"), m.of_dag(np.array([[False, True], [False, False]])), {"method": "ges"})
    sums = moments(np.stack([sample(100)["a"], sample(100)["c"]], 1), ("a", "b"))
    drawn = networkx.node_link_data(networkx.DiGraph([("a", "b")]), edges="edges")
    scores = truths.compared(drawn, found, sums, Knowledge.of(("a", "b")), 0.01)["scores"]["found"]
    assert (scores["distance"], scores["arrowhead_precision"], scores["arrowheads_true"]) == (1, 0.0, 1.0)


def test_correlations_are_guessed_as_the_kind_of_graph_that_they_are_compared_with():
    known = Knowledge.of(("a", "b", "c"), [["a"], ["b", "c"]])
    correlation = np.array([[1, 0.9, 0], [0.9, 1, 0.9], [0, 0.9, 1.0]])
    for unknown in (m.TAIL, m.CIRCLE):
        guess = comparison.tier_oriented_correlations(correlation, 1000, known, unknown=unknown)
        assert guess.tolist() == [[0, m.ARROW, 0], [unknown, 0, unknown], [0, unknown, 0]]


def test_separators_are_ancestors():
    assert ancestral.separators(m.of_dag(ARROWS))[frozenset((0, 3))] == {1, 2}


def test_truth_of_a_sky_stands_beside_the_empty_graph():
    drawn = networkx.DiGraph([("a", "c"), ("b", "c"), ("c", "true_d"), ("true_d", "d"), ("true_d", "e")])
    drawn.nodes["d"]["measures"] = "true_d"
    sums = moments(np.stack([*sample(4000).values(), np.random.default_rng(9).standard_normal(4000)], 1), (*NAMES, "estimate"))
    known = Knowledge.of((*NAMES, "estimate"), [["a", "b"], ["c"], ["d", "e"], ["estimate"]])
    found = graph.search_correlation(*sums.correlation(), "pc", known, alpha=1e-4)
    result = truths.compared(networkx.node_link_data(drawn, edges="edges"), found, sums, known, 0.01)
    assert result["variables"] == list(NAMES)
    assert result["scores"]["found"]["distance"] == 0
    assert result["scores"]["empty"]["distance"] == 4
    assert result["scores"]["correlations"]["distance"] > 4
    # of all pairs within tiers, c - d and the like left out, d - e alone is joined
    assert result["scores"]["empty within tiers"]["distance"] == 1
    assert result["scores"]["found within tiers"]["adjacency_recall"] == 1
    assert result["scores"]["found within tiers"]["distance_of_the_empty_graph"] == 1
    rows = truths.rows([{"method": "pc", "truth": result}])
    assert [row["graph"] for row in rows][:3] == ["found", "correlations", "empty"]
    assert {row["graph"] for row in rows} == set(result["scores"])
    assert rows[0] == {
        **{"method": "pc", "graph": "found", "truth": "pattern", "distance": 0, "true edges": 4},
        **{"adjacency precision": 1.0, "adjacency recall": 1.0, "arrowhead precision": 1.0, "arrowhead recall": 1.0, "arrowheads true": 1.0},
    }
    assert next(row for row in rows if row["graph"] == "empty")["adjacency precision"] is None


# --- with what a network says -----------------------------------------------------------------------------------------------


def embedded(n=2000, seed=4):
    """Galaxies whose latent has three dimensions of unequal spread, and the mean mass; the training galaxies lie elsewhere."""
    rng = np.random.default_rng(seed)
    split = np.where(np.arange(n) < n // 2, "train", "test")
    latent = rng.standard_normal((n, 3)) * (1, 3, 0.3) + 10 * (split == "train")[:, None]
    columns = {"galaxy_id": np.arange(n), "split": split, "mass_mean": rng.standard_normal(n)}
    return pd.DataFrame(columns | {f"latent_{i:02d}": latent[:, i] for i in range(3)})


def test_summaries_are_of_galaxies_that_the_network_has_not_seen():
    table = embedded()
    said = summaries.table(table, "Mopt", 2, "test")
    assert list(said.columns) == ["estimate_Mopt", "latent_Mopt_1", "latent_Mopt_2"] == summaries.names("Mopt", 2)
    assert list(said.index) == list(range(1000, 2000))
    np.testing.assert_array_equal(said["estimate_Mopt"], table["mass_mean"][1000:])
    # principal components: uncorrelated, the widest first, and that is the second dimension
    assert np.corrcoef(said["latent_Mopt_1"], said["latent_Mopt_2"])[0, 1] == pytest.approx(0, abs=1e-10)
    assert abs(np.corrcoef(said["latent_Mopt_1"], table["latent_01"][1000:])[0, 1]) > 0.99
    with pytest.raises(InputError, match="latent_components is 4, and the main latent of Mopt has 3 dimensions"):
        summaries.table(table, "Mopt", 4, "test")


def test_what_a_network_says_comes_after_all_others():
    entry = {"tiers": [["a"], ["b"]], "forbidden": [["a", "estimate_Mopt"], ["a", "b"]], "required": []}
    alone = Knowledge.of_sample(entry)
    assert alone.names == ("a", "b")
    assert alone.forbidden[0, 1]
    later = Knowledge.of_sample(entry, ["estimate_Mopt"])
    assert later.names == ("a", "b", "estimate_Mopt")
    assert later.forbidden[2, :2].all()
    assert later.forbidden[0, 2]
    assert not later.forbidden[1, 2]


OPTIONS = graph.DEFAULTS | {"transform": "normal_scores", "blocks": 100, "orders": 1, "limit_s": 60.0, "alpha": 0.001, "penalty": 0.5}


@pytest.mark.parametrize("method", graph.METHODS)
def test_a_latent_that_keeps_all_takes_an_observable_from_the_mass(method):
    """mass -> latent -> observable: the two are joined without the latent, and not with it."""
    rng = np.random.default_rng(2)
    mass, noise = rng.standard_normal((2, 3000))
    latent = mass + 0.5 * rng.standard_normal(3000)
    table = {"log_mass": mass, "observable": latent + noise, "estimate_Mopt": latent}
    for names, joined in ((["log_mass", "observable"], 1), (list(table), 0)):
        found, _, content = stability.searched(np.stack([table[name] for name in names], 1), method, Knowledge.of(names), OPTIONS, 5, 1)
        assert content["touching"]["observable"] == pytest.approx(joined, abs=0.25)
        assert (found.marks[0, 1] != m.NONE) == joined
        assert content["replicates"] == 5
    assert stability.touching(np.eye(2), ("a", "b")) == {}


def test_local_tests_stand_beside_graphs():
    asked = {"class": "all", "condition": "mass_mean", "p_value_holm": 0.03, "block_correlation_mean": 0.12345}
    others = {"class": "passive", "p_value_holm": 0.5}, {"condition": "z", "p_value_holm": 0.6}
    tests = [{**asked, "query": "z"}, *({**asked, **other, "query": "z"} for other in others), {**asked, "query": "mag_k"}, {**asked, "query": "mass_mean"}]
    contents = [{"method": method, "given_network": {"Mopt": {"touching": {"z": share}}}} for method, share in (("pc", 1.0), ("ges", 0.25))]
    shared = {"modality": "Mopt", "galaxies": 840, "p (Holm) in the local test": 0.03, "correlation in blocks": 0.123}
    assert summaries.rows({"Mopt": {"n": 840, "tests": tests}}, contents) == [
        shared | {"variable": "z", "joined to the mass by PC": 1.0, "joined to the mass by GES": 0.25},
        shared | {"variable": "mag_k", "joined to the mass by PC": None, "joined to the mass by GES": None},
    ]


def test_edges_for_people_say_of_which_graph_they_are():
    edge = {"text": "a --> b", "a": "a", "b": "b", "frequency": 1.0, "a_to_b": 0.9, "b_to_a": 0.0, "both_arrows": 0.0}
    rows = graph.rows({"edges": [edge], "given_network": {"Mopt": {"edges": [edge]}}})
    assert [(row["network"], row["edge"]) for row in rows] == [("none", "a --> b"), ("Mopt", "a --> b")]


# --- tables -----------------------------------------------------------------------------------------------------------------


def test_correlations_are_those_of_normal_scores():
    table = {name: np.exp(values) for name, values in sample(400).items()}
    values, notes = checked(table, NAMES)
    correlation, n = moments(values, NAMES, n_block=7).correlation()
    np.testing.assert_allclose(correlation, np.corrcoef(normal_scores(values).T), atol=1e-12)
    assert n == 400
    assert notes["missing"] == {}


def test_missing_values_are_left_out_or_used_in_pairs():
    table = sample(300)
    table["b"][:100] = np.nan
    values, notes = checked(table, NAMES)
    assert len(values) == 200
    assert notes["missing"] == {"b": 100}
    values, _ = checked(table, NAMES, "pairwise")
    correlation, n = moments(values, NAMES, "none").correlation()
    assert n == 200
    there = np.isfinite(table["b"])
    assert correlation[0, 1] == pytest.approx(np.corrcoef(table["a"][there], table["b"][there])[0, 1], abs=1e-12)
    assert correlation[0, 2] == pytest.approx(np.corrcoef(table["a"], table["c"])[0, 1], abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("c"), "graph variables c are not in the table"),
        (lambda t: t.update(c=np.full(300, 2.0)), "are constant: c"),
        (lambda t: t.update(c=np.full(300, np.nan)), "are missing for every galaxy: c"),
        (lambda t: t.update(c=np.where(np.arange(300) == 5, np.inf, t["c"])), "hold infinity: c"),
        (lambda t: t.update(c=2 * t["b"] + 1), "the same: b and c"),
        (lambda t: t.update(c=t["a"] + t["b"]), "a, b, c are linearly dependent"),
        (lambda t: t.update({name: values[:20] for name, values in t.items()}), "20 galaxies have all of"),
        (lambda t: t.update(c=np.where(np.arange(300) < 290, np.nan, t["c"])), r"10 galaxies have all of .* Most missing: c \(290\)"),
    ],
)
def test_tables_that_no_search_should_see(change, message):
    table = sample(300)
    change(table)
    with pytest.raises(InputError, match=message):
        graph.search(table, "pc", names=NAMES, transform="none")


@pytest.mark.parametrize(
    ("knowledge", "message"),
    [
        ({"tiers": [["a", "b", "x"], ["c", "d", "e"]]}, "name x, which the graph does not have"),
        ({"tiers": [["a", "b"], ["b", "c", "d", "e"]]}, "b is in two tiers"),
        ({"tiers": [["a", "b"], ["c", "d"]]}, "e are in no tier"),
        ({"tiers": [["a"], ["b", "c", "d", "e"]], "required": [("b", "a")]}, "required arrows that are forbidden too.*b -> a"),
        ({"required": [("a", "b"), ("b", "c"), ("c", "a")]}, "run in a circle through a, b, c"),
    ],
)
def test_knowledge_that_contradicts_itself(knowledge, message):
    with pytest.raises(InputError, match=message):
        Knowledge.of(NAMES, **knowledge)


@pytest.mark.parametrize(("options", "message"), [({"method": "xyz"}, "'xyz'; known: pc, ges, fci"), ({"method": "pc", "missing": "some"}, "known: complete")])
def test_unknown_choices(options, message):
    with pytest.raises(InputError, match=message):
        graph.search(sample(300), **options)
