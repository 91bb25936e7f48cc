"""Batched PC against causal-learn's skeleton, its arrows under permuted columns and tiers, and scores against known graphs."""

import networkx
import numpy as np
import pytest

from galmass.causality import comparison, skeletons
from galmass.causality.skeletons import ARROW, NONE, TAIL, Rules

N = 20_000


def sampled(seed: int, p: int = 7, edges: int = 9):
    """Arrows of a random DAG and correlations of a sample of it."""
    g = np.random.default_rng(seed)
    pairs = np.argwhere(np.triu(np.ones((p, p), bool), 1))
    chosen = pairs[g.choice(len(pairs), edges, replace=False)]
    weights = np.zeros((p, p))
    weights[tuple(chosen.T)] = g.uniform(0.4, 0.9, edges) * g.choice([-1, 1], edges)
    mixed = g.normal(size=(N, p)) @ np.linalg.inv(np.eye(p) - weights)
    return weights != 0, np.corrcoef(mixed.T), mixed


def found(correlation, rules, alpha=0.001):
    parts = skeletons.skeletons(correlation[None], N, alpha, rules, 5)
    return skeletons.oriented(*(part[0] for part in parts), rules)


@pytest.mark.parametrize("seed", range(4))
def test_skeleton_is_that_of_causal_learn(seed):
    from causallearn.search.ConstraintBased.PC import pc

    _, correlation, data = sampled(seed)
    theirs = pc(data, 0.001, "fisherz", show_progress=False).G.graph != 0
    ours, _, _ = skeletons.skeletons(correlation[None], N, 0.001, Rules.of(np.zeros(7, int)), 5)
    np.testing.assert_array_equal(ours[0], theirs)


@pytest.mark.parametrize("seed", range(4))
def test_marks_do_not_depend_on_the_order_of_columns(seed):
    _, correlation, _ = sampled(seed)
    rules = Rules.of(np.zeros(7, int))
    own, order = found(correlation, rules), np.random.default_rng(seed).permutation(7)
    np.testing.assert_array_equal(found(correlation[np.ix_(order, order)], rules), own[np.ix_(order, order)])


def test_replicates_are_searched_alone():
    rules, matrices = Rules.of(np.zeros(7, int)), np.stack([sampled(seed)[1] for seed in range(3)])
    together = skeletons.skeletons(matrices, N, 0.001, rules, 5)[0]
    for one, adjacent in zip(matrices, together, strict=True):
        np.testing.assert_array_equal(skeletons.skeletons(one[None], N, 0.001, rules, 5)[0][0], adjacent)


def test_no_arrow_points_to_an_earlier_tier():
    for seed in range(4):
        tier = np.random.default_rng(seed).integers(0, 3, 7)
        marks = found(sampled(seed)[1], Rules.of(tier))
        earlier = tier[:, None] > tier[None, :]
        assert not (marks[earlier] == ARROW).any()
        assert (marks[earlier.T & (marks != NONE)] == ARROW).all()


def test_collider_is_found_and_chain_is_not_directed():
    collider, chain = np.zeros((3, 3), bool), np.zeros((3, 3), bool)
    collider[[0, 1], 2] = True
    chain[[0, 1], [1, 2]] = True
    np.testing.assert_array_equal(comparison.cpdag(collider), [[NONE, NONE, ARROW], [NONE, NONE, ARROW], [TAIL, TAIL, NONE]])
    assert not (comparison.cpdag(chain) == ARROW).any()


def test_hidden_cause_makes_two_arrowheads():
    drawn = networkx.DiGraph([("hidden", "a"), ("hidden", "b"), ("a", "c")])
    marks = comparison.projected(drawn, ["a", "b", "c"])
    assert marks[0, 1] == marks[1, 0] == ARROW
    assert (marks[0, 2], marks[2, 0], marks[1, 2]) == (ARROW, TAIL, NONE)


def test_selection_on_an_effect_joins_its_causes():
    drawn = networkx.DiGraph([("a", "seen"), ("b", "seen")])
    assert (comparison.projected(drawn, ["a", "b"]) == NONE).all()
    assert comparison.projected(drawn, ["a", "b"], "seen")[0, 1] == TAIL


def test_scores_of_the_truth_and_of_the_empty_graph():
    rules = Rules.of(np.zeros(7, int))
    true = comparison.cpdag(sampled(1)[0])
    assert comparison.scores(true, true, rules)["shd"] == 0
    empty = comparison.scores(np.zeros_like(true), true, rules)
    assert empty["shd"] == empty["shd_empty"] == 9
    assert empty["adjacency_precision"] is None
    assert empty["adjacency_recall"] == 0
