"""Kernel tests of a graph: dependence without correlation is seen, what the graph separates is not."""

import numpy as np
import pytest

from galmass.causality import graph, kernels
from galmass.causality import marks as m
from galmass.errors import InputError

NAMES = ("cause", "middle", "end", "square", "alone")


def sample(n: int = 300, seed: int = 1) -> np.ndarray:
    """cause -> middle -> end, and square, an even function of cause: no correlation."""
    noise = np.random.default_rng(seed).standard_normal((n, 5))
    cause = noise[:, 0]
    middle = cause + 0.5 * noise[:, 1]
    return np.stack([cause, middle, middle + 0.5 * noise[:, 2], cause**2 + 0.5 * noise[:, 3], noise[:, 4]], axis=1)


@pytest.fixture(scope="module")
def found():
    arrows = np.zeros((5, 5), bool)
    arrows[0, 1] = arrows[1, 2] = True
    return graph.Graph(NAMES, m.of_dag(arrows))


def test_dependence_that_no_correlation_shows_contradicts_the_graph(found):
    rows = kernels.tested(sample(), found, 300, 3)
    assert len(rows) == 10
    by_pair = {(row["a"], row["b"]): row for row in rows}
    assert by_pair["cause", "end"]["given"] == ["middle"]
    assert by_pair["middle", "square"]["given"] == ["cause"]
    assert by_pair["cause", "end"]["p_value"] > 0.01
    assert by_pair["cause", "middle"]["joined"]
    assert by_pair["cause", "middle"]["p_value"] < 1e-3
    assert [(row["a"], row["b"]) for row in kernels.contradictions(rows, 0.01)] == [("cause", "square")]


def test_a_subsample_is_drawn_and_missing_values_are_left_out(found):
    values = sample(500)
    values[:200, 2] = np.nan
    first, again, other = (kernels.tested(values, found, 100, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    with pytest.raises(InputError, match=r"graphs.kernel_galaxies: 40 galaxies have all of cause, middle, end, square, alone; 50 are needed"):
        kernels.tested(values[160:240], found, 300, 1)


def test_parents_are_what_may_cause():
    marks = np.zeros((4, 4), np.int8)
    m.oriented(marks, 0, 1)  # 0 -> 1
    marks[1, 2] = marks[2, 1] = m.TAIL  # 1 - 2
    marks[1, 3] = marks[3, 1] = m.ARROW  # 1 <-> 3
    assert kernels.parents(marks, 1) == {0, 2}


def test_p_values_stand_in_the_table_of_edges(found):
    frequencies = {name: np.ones((5, 5)) for name in ("adjacent", "directed", "bidirected")}
    content = found.to_json(frequencies)
    content["kernel"] = [{"a": "middle", "b": "cause", "p_value": 0.01234}, {"a": "middle", "b": "end", "p_value": 0.5}]
    assert [line["kernel p"] for line in graph.rows(content)] == [0.012, 0.5]
