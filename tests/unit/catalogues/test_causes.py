"""Structural causal models: the graph is that of the equations, interventions cut arrows, noise belongs to one variable."""

import numpy as np
import pytest

from galmass.catalogues.causes import Model
from galmass.errors import InputError


@pytest.fixture
def model():
    small = Model()

    @small.variable("")
    def a(noise):
        """A root."""
        return noise

    @small.variable("mag", ("g", "r"), strengths={"a": "b_of_a"})
    def b(a, noise, k):
        """Two bands ({band})."""
        return k.b_of_a * a[:, None] + 0.1 * noise

    @small.variable("mag", ("r",), "seen_{band}")
    def c(b):
        """One of the bands."""
        return b + 1.0

    @small.variable("")
    def d(b):
        """Their difference."""
        return b[:, 0] - b[:, 1]

    return small


def test_arrows_are_the_arguments_band_by_band(model):
    drawn = model.graph({"b_of_a": 2.0})
    assert set(drawn.edges) == {("a", "b_g"), ("a", "b_r"), ("b_r", "seen_r"), ("b_g", "d"), ("b_r", "d")}
    assert {node for node, random in drawn.nodes(data="random") if random} == {"a", "b_g", "b_r"}


def test_an_effect_of_strength_zero_is_no_arrow_and_has_no_effect(model):
    assert set(model.graph({"b_of_a": 0}).predecessors("b_g")) == set()
    noise = model.noise(50, [1])
    first, other = (model.evaluate(noise, {"b_of_a": 0}, {"a": np.full(50, value)})["b"] for value in (0.0, 9.0))
    np.testing.assert_array_equal(first, other)


def test_values_follow_the_equations_and_bands_are_taken_by_name(model):
    noise = model.noise(50, [1])
    values = model.evaluate(noise, {"b_of_a": 2.0})
    np.testing.assert_array_equal(values["b"], 2.0 * noise["a"][:, None] + 0.1 * noise["b"])
    np.testing.assert_array_equal(values["c"][:, 0], values["b"][:, 1] + 1.0)
    table = model.table(values)
    assert list(table) == ["a", "b_g", "b_r", "seen_r", "d"]
    np.testing.assert_array_equal(table["d"], table["b_g"] - table["b_r"])
    assert {name: label.description for name, label in model.labels().items()}["b_g"] == "Two bands (g)"


def test_an_intervention_changes_what_follows_and_nothing_before(model):
    noise = model.noise(50, [1])
    as_it_was, done = (model.evaluate(noise, {"b_of_a": 2.0}, do) for do in (None, {"b": np.zeros((50, 2))}))
    np.testing.assert_array_equal(done["a"], as_it_was["a"])
    np.testing.assert_array_equal(done["c"], np.ones((50, 1)))


def test_only_what_is_wanted_and_its_causes_are_evaluated(model):
    noise = model.noise(50, [1])
    values = model.evaluate(noise, {"b_of_a": 2.0}, wanted=["c"])
    assert set(values) == {"a", "b", "c"}
    np.testing.assert_array_equal(values["c"], model.evaluate(noise, {"b_of_a": 2.0})["c"])


def test_a_new_variable_changes_the_noise_of_no_other(model):
    before = model.noise(20, [3, 4])

    @model.variable("")
    def e(noise):
        """Another."""
        return noise

    after = model.noise(20, [3, 4])
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert not any(np.array_equal(after["e"], after[name]) for name in ("a",))
    assert not np.array_equal(before["a"], model.noise(20, [3, 5])["a"])


def test_a_cause_that_is_not_declared_is_refused(model):
    with pytest.raises(InputError, match="variable f has the causes nowhere"):

        @model.variable("")
        def f(nowhere):
            """Of an unknown cause."""
            return nowhere
