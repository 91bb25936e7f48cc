"""P-values of blocks against loops, closed forms and simulated truth."""

import numpy as np
import pytest
from scipy.stats import binom, kstest

from galmass.causality import blocks, residuals
from galmass.errors import InputError

# --- blocks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "size"), [(1000, 50), (997, 50), (101, 25), (60, 50), (30, 50)])
def test_blocks_are_disjoint_whole_and_of_one_size(n, size):
    parts = blocks.partition(np.random.default_rng(1).normal(size=(n, 3)), size)
    assert len(parts) == max(1, n // size)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))
    assert np.ptp([len(rows) for rows in parts]) <= 1


def test_blocks_hold_neighbours():
    """64 blocks of the unit square: as wide as squares of 1/8, each coordinate's variance is 1 / (12 * 64), and 1.6 times that in the mean of both at most."""
    points = np.random.default_rng(2).random((6400, 2))
    parts = blocks.partition(points, 100)
    assert np.mean([points[rows].var(0).mean() for rows in parts]) < 1.6 / (12 * 64)


def test_blocks_of_galaxies_with_one_latent_are_cut_all_the_same():
    assert [len(rows) for rows in blocks.partition(np.ones((100, 2)), 25)] == [25] * 4


# --- what the latent leaves ----------------------------------------------------------------------------------------


def test_smooth_residuals_are_the_noise():
    generator = np.random.default_rng(3)
    points, noise = generator.uniform(-1.5, 1.5, (600, 2)), generator.normal(size=(600, 2)) * [0.1, 20.0]
    values = noise + np.stack([np.sin(2 * points[:, 0]), 1e3 + 50 * points[:, 1] ** 2], axis=1)
    left = blocks.smooth_residuals(values - values.mean(0), points, np.random.default_rng(14))
    # what is left to learn from 480 galaxies adds less than a third to the variance
    assert (left.var(0) < 1.33 * noise.var(0)).all()
    assert min(np.corrcoef(left[:, i], noise[:, i])[0, 1] for i in range(2)) > 0.9


def test_no_galaxy_is_predicted_by_itself():
    generator = np.random.default_rng(4)
    points, values = generator.normal(size=(300, 2)), generator.normal(size=(300, 1))
    other = values.copy()
    other[7] += 1e-3  # too little to prefer another penalty
    before, after = (v - blocks.smooth_residuals(v, points, np.random.default_rng(15)) for v in (values, other))
    own = abs(after - before)[7, 0]
    assert own < 0.05 * abs(after - before).max()
    assert abs(after - before).max() > 1e-6


# --- statistics of a block -----------------------------------------------------------------------------------------


def reference(y, x, design):
    """Correlation, its robust variance, and the squared t, by least squares."""

    def left(v):
        v = v - design @ np.linalg.lstsq(design, v)[0]
        return v / np.sqrt(np.sum(v**2))

    y, x = left(y), left(x)
    square = x**2 - design @ np.linalg.lstsq(design, x**2)[0]
    curve = square - x * np.sum(x * square)
    curve /= np.sqrt(np.sum(curve**2))
    variance = np.sum(x**2 * y**2)
    return np.sum(x * y), variance, np.sum(x * y) ** 2 / variance + np.sum(curve * y) ** 2 / np.sum(curve**2 * y**2)


@pytest.fixture
def block():
    generator = np.random.default_rng(5)
    latent, given = generator.normal(size=(50, 3)), generator.normal(size=(50, 1))
    there = np.ones((1, 50), bool)
    basis = residuals.basis(latent[None], given[None], there)
    y, x = (residuals.taken_out(v[None], basis, there)[0] for v in generator.normal(size=(2, 50)))
    return y, x, basis[0], np.column_stack([np.ones(50), latent, given])


def test_statistics_of_a_block_are_those_of_a_loop_over_permutations(block):
    y, x, basis, design = block
    found = blocks.block_statistics(y, x, basis, 30, np.random.default_rng(6))
    moved = np.random.default_rng(6).permuted(np.tile(x, (30, 1)), axis=1)
    expected = np.array([reference(y, values, design) for values in (x, *moved)])
    np.testing.assert_allclose(found, expected.T, atol=1e-10)


@pytest.mark.filterwarnings("error")
def test_a_block_without_variation_counts_nothing(block):
    y, x, basis, _ = block
    for pair in ((np.zeros(50), x), (y, np.zeros(50))):
        assert (blocks.block_statistics(*pair, basis, 5, np.random.default_rng(7)) == 0).all()


@pytest.mark.filterwarnings("error")
def test_two_distinct_values_have_no_curvature():
    x = np.tile([-1.0, 1.0], 25)
    y = np.random.default_rng(8).normal(size=50)
    slope, variance, t_squared = blocks.block_statistics(y - y.mean(), x, np.zeros((50, 0)), 5, np.random.default_rng(9))
    np.testing.assert_allclose(t_squared, slope**2 / variance)


# --- p-values ------------------------------------------------------------------------------------------------------


def test_the_combined_p_value_is_that_of_a_loop():
    statistics = np.random.default_rng(10).normal(size=(2, 100)).round(1)  # ties
    best = [min(np.mean(row >= row[i]) for row in statistics) for i in range(100)]
    assert blocks.combined_p_value(statistics) == np.mean([b <= best[0] for b in best])


def test_the_combined_p_value_of_exchangeable_columns_is_uniform():
    generator = np.random.default_rng(11)
    found = np.array([blocks.combined_p_value(generator.normal(size=(2, 100)) + generator.normal(size=100)) for _ in range(1000)])
    # steps of 1 / 100 and ties of the smaller of two ranks make it a little larger than uniform
    assert kstest(found, "uniform").statistic < 1.95 / np.sqrt(1000) + 0.02
    assert found.min() >= 0.01


def test_holm_by_hand():
    assert blocks.holm([0.01, None, 0.04, 0.03, 0.005]) == pytest.approx([0.03, None, 0.06, 0.06, 0.02])
    assert blocks.holm([0.6, 0.7]) == [1.0, 1.0]
    assert blocks.holm([None]) == [None]
    assert blocks.holm([]) == []


# --- all tests of a sample -----------------------------------------------------------------------------------------

OPTIONS = {"size": 40, "permutations": 99}


def sky(seed: int, n: int = 320, link: float = 0.0):
    """Mass, estimate and query are curved functions of a latent of 2 dimensions, with noise; `link` of the query's noise is in the mass, too."""
    generator = np.random.default_rng(seed)
    latent = generator.normal(size=(n, 2))
    noise = generator.normal(size=(3, n)) * np.exp(0.4 * latent[:, 0])  # noisier here than there, in both at once
    course = np.sin(1.5 * latent[:, 0]) + 0.3 * latent[:, 1] ** 2
    query = course + 0.5 * noise[0]
    return {
        "mass": 10.5 + course + 0.3 * (noise[1] + link * noise[0]),
        "variables": {"query": query, "z": latent[:, 1] + noise[2], "function": course},
        "latent": latent,
        "estimate": 10.5 + 0.8 * np.sin(1.5 * latent[:, 0]),
    }


def verdicts(sample, queries=("query",), conditions=(), classes=None, options=OPTIONS, seed=1):
    classes = np.array(["a"] * len(sample["mass"])) if classes is None else classes
    return blocks.block_tests(*sample.values(), queries, conditions, classes, options, seed)


def test_p_values_hold_their_level_under_independence():
    """Two tests of 40 samples. That more than expected are rejected by chance alone happens once in a thousand."""
    found = [verdict["p_value"] for seed in range(40) for key, verdict in verdicts(sky(seed), conditions=["z"]).items() if key[2] == "all"]
    assert sum(p <= 0.1 for p in found[::2]) <= binom.ppf(0.999, 40, 0.1)
    assert sum(p <= 0.1 for p in found[1::2]) <= binom.ppf(0.999, 40, 0.1)
    assert max(found) > 0.5


def test_a_link_is_found():
    for key, verdict in verdicts(sky(1, link=0.6), conditions=["z"]).items():
        assert verdict["p_value"] == 0.01, key  # of 99 permutations the least
        # correlation of the noises 0.6 / sqrt(1.36) = 0.51, less what the functions leave
        assert verdict["block_correlation_mean"] == pytest.approx(0.51, abs=0.15)


def test_a_link_of_changing_sign_is_found_too():
    sample = sky(2, n=800)
    noise = np.random.default_rng(12).normal(size=800)
    sample["variables"]["query"] = noise
    sample["mass"] = sample["mass"] + 0.3 * np.sign(sample["latent"][:, 0]) * noise
    verdict = verdicts(sample)["query", "", "all"]
    assert verdict["p_value"] == 0.01
    assert abs(verdict["block_correlation_mean"]) < 0.15


def test_the_estimate_itself_is_no_test():
    sample = sky(3)
    sample["variables"]["mass_mean"] = sample["estimate"]
    verdict = verdicts(sample, ["mass_mean", "query"])["mass_mean", "", "all"]
    assert verdict == {"block_correlation_mean": None, "p_value": None, "p_value_holm": None}


def test_each_class_and_test_has_its_row_and_holm_counts_the_tests_of_a_class():
    sample = sky(4, link=0.6)
    classes = np.where(sample["latent"][:, 0] > 0, "passive", "star-forming")
    found = verdicts(sample, ["query", "z"], ["z"], classes)
    tests = [("query", ""), ("z", ""), ("query", "z")]
    assert set(found) == {(*test, label) for test in tests for label in ("all", "passive", "star-forming")}
    for label in ("all", "passive", "star-forming"):
        rows = [found[*test, label] for test in tests]
        assert [row["p_value_holm"] for row in rows] == blocks.holm([row["p_value"] for row in rows])


def test_a_class_is_tested_in_the_blocks_where_it_is():
    """The link exists where the latent is positive; the class of the others has none."""
    sample, there = sky(5, n=800), np.random.default_rng(13).normal(size=800)
    positive = sample["latent"][:, 0] > 0
    sample["variables"]["query"] = there
    sample["mass"] = sample["mass"] + 0.5 * positive * there
    found = verdicts(sample, classes=np.where(positive, "with", "without"))
    assert found["query", "", "with"]["p_value"] == 0.01
    assert found["query", "", "with"]["block_correlation_mean"] > 0.4
    assert abs(found["query", "", "without"]["block_correlation_mean"]) < 0.2


def test_adding_a_test_changes_no_other_p_value():
    sample = sky(6)
    alone, among = verdicts(sample), verdicts(sample, ["z", "query"], ["z"])
    assert alone["query", "", "all"]["p_value"] == among["query", "", "all"]["p_value"]


def test_the_seed_moves_the_permutations():
    sample = sky(7)
    first, again, other = (verdicts(sample, options={"size": 40, "permutations": 999}, seed=seed)["query", "", "all"] for seed in (1, 1, 2))
    assert first == again
    assert first["p_value"] != other["p_value"]


def test_galaxies_without_a_value_are_left_out():
    sample = sky(8, n=400, link=0.6)
    gone = np.arange(400) % 5 == 0
    patchy = {name: np.where(gone, np.nan, values) for name, values in sample["variables"].items()}
    found = verdicts(sample | {"variables": {"query": patchy["query"], "z": sample["variables"]["z"]}}, ["query", "z"])
    kept = {name: values[~gone] for name, values in sample.items() if name != "variables"}
    kept = {"mass": kept.pop("mass"), "variables": {"query": sample["variables"]["query"][~gone]}, **kept}
    for key in ("block_correlation_mean", "p_value"):
        assert found["query", "", "all"][key] == pytest.approx(verdicts(kept)["query", "", "all"][key])


def test_a_variable_of_too_few_galaxies_has_no_p_value():
    sample = sky(9)
    sample["variables"]["rare"] = np.where(np.arange(320) < 39, sample["variables"]["query"], np.nan)
    assert verdicts(sample, ["rare"])["rare", "", "all"] == {"block_correlation_mean": None, "p_value": None, "p_value_holm": None}


@pytest.mark.filterwarnings("error")
def test_a_condition_that_is_constant_among_the_tested_takes_nothing_out():
    sample = sky(12, link=0.6)
    sample["variables"]["flat"] = np.full(320, 18.3)
    found = verdicts(sample, conditions=["flat"])
    assert found["query", "flat", "all"]["block_correlation_mean"] == pytest.approx(found["query", "", "all"]["block_correlation_mean"], abs=0.05)


def test_fewer_galaxies_than_make_a_block_are_refused():
    with pytest.raises(InputError, match=r"causality.blocks.size is 40 and only 39 galaxies are tested"):
        verdicts(sky(10, n=39))


@pytest.mark.parametrize("name", ["latent", "estimate"])
def test_a_latent_that_is_not_finite_is_refused(name):
    sample = sky(11)
    sample[name][3] = np.nan
    with pytest.raises(InputError, match="hold NaN or infinity"):
        verdicts(sample)
