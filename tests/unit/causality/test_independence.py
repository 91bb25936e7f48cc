"""Local independence tests against numpy galaxy by galaxy, scipy, and simulated truth."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare, ks_2samp

from galmass import stores
from galmass.causality import independence
from galmass.causality.independence import (
    conditional_statistics,
    ks_two_samples,
    local_correlation,
    local_statistics,
    local_tests,
    permuted,
    predictive_efficiency,
    quadratic_residual,
)
from galmass.errors import InputError

# both ways are float64; a square of a variance near 1e-4 of a number near 18 costs about six of sixteen digits
EXACT = 1e-6


def reference(y, x):
    """Correlation, efficiency and residuals, one galaxy at a time: np.corrcoef and np.polyfit of centred and scaled x."""
    correlation, efficiency, residual = np.full(len(y), np.nan), np.full(len(y), np.nan), np.full(y.shape, np.nan)
    for i, (row_y, row_x) in enumerate(zip(y, x, strict=True)):
        there = np.isfinite(row_y) & np.isfinite(row_x)
        if there.sum() < 3:
            continue
        part_y, part_x = row_y[there], row_x[there]
        scaled = (part_x - part_x.mean()) / part_x.std()
        degree = 1 if len(np.unique(part_x)) == 2 else 2
        left = part_y - np.polyval(np.polyfit(scaled, part_y - part_y.mean(), degree), scaled) - part_y.mean()
        correlation[i] = np.corrcoef(part_x, part_y)[0, 1]
        efficiency[i] = 1 - left.var() / part_y.var()
        residual[i, there] = left
    return correlation, efficiency, residual


def agrees(y, x):
    correlation, efficiency, residual = reference(y, x)
    np.testing.assert_allclose(local_correlation(y, x), correlation, atol=EXACT)
    np.testing.assert_allclose(predictive_efficiency(y, x), efficiency, atol=EXACT)
    np.testing.assert_allclose(quadratic_residual(y, x), residual, atol=EXACT)


N, K = 600, 40  # more galaxies than two blocks


def with_gaps(array, fraction, generator):
    return np.where(generator.random(array.shape) < fraction, np.nan, array)


VARIABLES = {
    "normal": lambda g: g.normal(size=(N, K)),
    "skewed": lambda g: g.lognormal(sigma=1.5, size=(N, K)),
    "magnitude near 18 with scatter 0.02": lambda g: 18 + 0.02 * g.normal(size=(N, K)),
    "small numbers": lambda g: 1e-9 * g.normal(size=(N, K)),
    "far from zero": lambda g: 1e5 + 1e-3 * g.normal(size=(N, K)),
    "whole numbers": lambda g: g.integers(0, 4, (N, K)).astype(float),
    "binary": lambda g: g.integers(0, 2, (N, K)).astype(float),
}


@pytest.mark.parametrize("variable", VARIABLES.values(), ids=VARIABLES.keys())
def test_statistics_agree_with_numpy(variable):
    generator = np.random.default_rng(1)
    x = variable(generator)
    scaled = (x - x.mean()) / x.std()
    agrees(10.5 + 0.3 * scaled + 0.2 * scaled**2 + generator.normal(size=(N, K)), x)


@pytest.mark.parametrize("variable", VARIABLES.values(), ids=VARIABLES.keys())
def test_statistics_agree_with_numpy_where_values_are_missing(variable):
    generator = np.random.default_rng(2)
    x = variable(generator)
    y = 10.5 + (x - x.mean()) / x.std() + generator.normal(size=(N, K))
    agrees(with_gaps(y, 0.2, generator), with_gaps(x, 0.3, generator))


def test_infinity_counts_as_missing():
    generator = np.random.default_rng(3)
    y, x = generator.normal(size=(2, 5, K))
    infinite, missing = x.copy(), x.copy()
    infinite[:, 3], missing[:, 3] = [np.inf, -np.inf, np.inf, np.inf, -np.inf], np.nan
    for statistic in (local_correlation, predictive_efficiency, quadratic_residual):
        np.testing.assert_array_equal(statistic(y, infinite), statistic(y, missing))


def test_a_parabola_is_efficient_where_the_correlation_is_zero():
    x = np.linspace(-1, 1, 41)[None]
    assert local_correlation(x**2, x)[0] == pytest.approx(0, abs=1e-12)
    assert predictive_efficiency(x**2, x)[0] == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(quadratic_residual(3 - 2 * x + 5 * x**2, x), 0, atol=1e-12)


def test_a_line_is_found_whole():
    x = np.random.default_rng(4).normal(size=(3, K))
    np.testing.assert_allclose(local_correlation(-2 * x + 7, x), -1, atol=1e-12)
    np.testing.assert_allclose(predictive_efficiency(-2 * x + 7, x), 1, atol=1e-12)


def test_binary_variables_explain_the_difference_of_two_means():
    """A parabola through two values is a line: between-group share of the variance, in closed form."""
    generator = np.random.default_rng(5)
    x = generator.integers(0, 2, (50, K)).astype(float)
    y = generator.normal(size=(50, K)) + 0.5 * x
    share = x.mean(1)
    means = [np.mean(y, 1, where=x == value) for value in (0, 1)]
    between = share * (1 - share) * (means[1] - means[0]) ** 2
    np.testing.assert_allclose(predictive_efficiency(y, x), between / y.var(1), atol=1e-12)
    np.testing.assert_allclose(quadratic_residual(y, x), y - np.where(x == 1, means[1][:, None], means[0][:, None]), atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0, 18.3, -1e6, 1 / 3])
@pytest.mark.filterwarnings("error")
def test_a_constant_variable_explains_nothing(value):
    y = np.random.default_rng(6).normal(size=(4, K)) + 10.3
    x = np.full((4, K), value)
    assert np.isnan(local_correlation(y, x)).all()
    np.testing.assert_array_equal(predictive_efficiency(y, x), 0)
    np.testing.assert_allclose(quadratic_residual(y, x), y - y.mean(1, keepdims=True), atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_of_a_constant_mass_nothing_can_be_said():
    x = np.random.default_rng(7).normal(size=(4, K))
    for statistic in (local_correlation, predictive_efficiency):
        assert np.isnan(statistic(np.full((4, K), 10.5), x)).all()


@pytest.mark.filterwarnings("error")
def test_rows_without_or_with_hardly_any_value():
    """No pair and one pair: nothing to say. Two pairs: a line through both."""
    y, x = np.array([[1.0, 3, 4]] * 3), np.array([[np.nan] * 3, [2.0, np.nan, np.nan], [2.0, 1.0, np.nan]])
    np.testing.assert_array_equal(np.isnan(local_correlation(y, x)), [True, True, False])
    assert local_correlation(y, x)[2] == pytest.approx(-1)
    np.testing.assert_array_equal(np.isnan(predictive_efficiency(y, x)), [True, True, False])
    assert predictive_efficiency(y, x)[2] == pytest.approx(1)
    np.testing.assert_array_equal(np.isnan(quadratic_residual(y, x)), np.isnan(x))


def test_no_galaxy_gives_no_statistic():
    empty = np.empty((0, K))
    assert local_correlation(empty, empty).shape == predictive_efficiency(empty, empty).shape == (0,)
    assert quadratic_residual(empty, empty).shape == (0, K)


@pytest.mark.parametrize("statistic", [local_correlation, predictive_efficiency, quadratic_residual])
@pytest.mark.parametrize("shapes", [((3, 4), (3, 5)), ((3, 4), (4, 3)), ((3,), (3,))], ids=str)
def test_shapes_that_do_not_fit_are_refused(statistic, shapes):
    with pytest.raises(InputError, match=r"must have one shape \(n_galaxy, k\)"):
        statistic(*(np.zeros(shape) for shape in shapes))


def test_statistics_do_not_depend_on_units_and_zero_points():
    generator = np.random.default_rng(8)
    x = generator.lognormal(size=(50, K))
    y = np.log(x) + generator.normal(size=(50, K))
    for scale, shift in ((1e-6, 0), (-1e4, 3), (2.5, 1e3)):
        np.testing.assert_allclose(local_correlation(y, scale * x + shift), np.sign(scale) * local_correlation(y, x), atol=1e-9)
        np.testing.assert_allclose(local_correlation(scale * y + shift, x), np.sign(scale) * local_correlation(y, x), atol=1e-9)
        for args in ((y, scale * x + shift), (scale * y + shift, x)):
            np.testing.assert_allclose(predictive_efficiency(*args), predictive_efficiency(y, x), atol=1e-9)
        np.testing.assert_allclose(quadratic_residual(scale * y + shift, x), scale * quadratic_residual(y, x), atol=1e-9 * abs(scale))


def test_the_order_of_neighbours_does_not_matter():
    y, x = np.random.default_rng(9).normal(size=(2, 5, K))
    order = np.random.default_rng(10).permutation(K)
    np.testing.assert_allclose(predictive_efficiency(y[:, order], x[:, order]), predictive_efficiency(y, x), atol=1e-12)
    np.testing.assert_allclose(quadratic_residual(y[:, order], x[:, order]), quadratic_residual(y, x)[:, order], atol=1e-12)


# --- permutations --------------------------------------------------------------------------------------------------


def test_permutations_keep_the_values_of_each_row():
    x = with_gaps(np.random.default_rng(11).normal(size=(50, K)), 0.2, np.random.default_rng(12))
    before = x.copy()
    mixed = permuted(x, np.random.default_rng(13))
    np.testing.assert_array_equal(np.sort(mixed, 1), np.sort(x, 1))
    np.testing.assert_array_equal(x, before)
    assert (mixed != x).any(axis=1).all()


def test_each_row_has_a_permutation_of_its_own_and_all_are_equally_likely():
    mixed = permuted(np.tile([0.0, 1, 2], (6000, 1)), np.random.default_rng(14))
    _, counts = np.unique(mixed, axis=0, return_counts=True)
    assert len(counts) == 6
    assert chisquare(counts).pvalue > 1e-3


# The largest distance of two samples of n that chance exceeds once in a thousand: c(0.001) sqrt(2 / n), Smirnov 1948
def chance(n):
    return 1.95 * np.sqrt(2 / n)


def test_under_independence_original_and_permuted_differ_by_chance():
    n, generator = 4000, np.random.default_rng(15)
    y, x = generator.normal(size=(n, 50)), generator.lognormal(size=(n, 50))
    statistics = local_statistics(y, x, generator)
    for name in ("correlation", "efficiency"):
        kinds = [statistics[name + kind] for kind in ("", "_permuted", "_permuted_again")]
        assert max(ks_two_samples(kinds[0], kinds[1]), ks_two_samples(kinds[1], kinds[2]), ks_two_samples(kinds[0], kinds[2])) < chance(n)
    # a permuted correlation has mean 0 and variance exactly 1 / (k - 1); five standard errors
    chance_correlation = np.concatenate([statistics["correlation_permuted"], statistics["correlation_permuted_again"]])
    assert abs(chance_correlation.mean()) < 5 / np.sqrt(49 * 2 * n)
    assert chance_correlation.var() == pytest.approx(1 / 49, rel=5 * np.sqrt(2 / (2 * n)))
    assert np.corrcoef(statistics["correlation_permuted"], statistics["correlation_permuted_again"])[0, 1] == pytest.approx(0, abs=5 / np.sqrt(n))


def test_a_weak_dependence_is_found():
    n, generator = 2000, np.random.default_rng(16)
    x = generator.normal(size=(n, 100))
    y = 0.2 * x + generator.normal(size=(n, 100))
    statistics = local_statistics(y, x, generator)
    assert statistics["correlation"].mean() == pytest.approx(0.2 / np.sqrt(1.04), abs=5 * 0.1 / np.sqrt(n))  # spread 1 / sqrt(k)
    assert ks_two_samples(statistics["correlation"], statistics["correlation_permuted"]) > 0.5
    assert ks_two_samples(statistics["correlation_permuted"], statistics["correlation_permuted_again"]) < chance(n)


def test_local_statistics_are_those_of_the_single_functions():
    generator = np.random.default_rng(17)
    y, x = generator.normal(size=(2, N, K))
    statistics = local_statistics(y, x, np.random.default_rng(18))
    np.testing.assert_allclose(statistics["correlation"], local_correlation(y, x), atol=1e-12)
    np.testing.assert_allclose(statistics["efficiency"], predictive_efficiency(y, x), atol=1e-12)
    assert set(statistics) == {f"{name}{kind}" for name in ("correlation", "efficiency") for kind in ("", "_permuted", "_permuted_again")}
    assert all(values.shape == (N,) for values in statistics.values())


# --- conditions ----------------------------------------------------------------------------------------------------


def test_conditional_statistics_are_those_of_residuals():
    generator = np.random.default_rng(19)
    y, x, condition = generator.normal(size=(3, N, K))
    found = conditional_statistics(y, x + condition, condition, generator)
    residual_y, residual_x = (reference(values, condition)[2] for values in (y, x + condition))
    correlation, efficiency, _ = reference(residual_y, residual_x)
    np.testing.assert_allclose(found["correlation"], correlation, atol=EXACT)
    np.testing.assert_allclose(found["efficiency"], efficiency, atol=EXACT)


def test_a_common_cause_is_removed():
    """x <- c -> y, both quadratic in c: the partial correlation given c is zero."""
    n, generator = 2000, np.random.default_rng(20)
    c = generator.normal(size=(n, 100))
    x, y = 18 + c + 0.5 * c**2 + 0.5 * generator.normal(size=(n, 100)), 10.5 + c - 0.3 * c**2 + 0.5 * generator.normal(size=(n, 100))
    before, given = local_statistics(y, x, generator), conditional_statistics(y, x, c, generator)
    assert ks_two_samples(before["correlation"], before["correlation_permuted"]) > 0.95
    assert abs(given["correlation"].mean()) < 5 / np.sqrt(97 * n)  # spread 1 / sqrt(k - 3) a galaxy
    for name in ("correlation", "efficiency"):
        assert ks_two_samples(given[name], given[f"{name}_permuted"]) < chance(n)


def test_a_link_beside_the_common_cause_is_found():
    n, generator = 500, np.random.default_rng(21)
    c = generator.normal(size=(n, 100))
    x = c + generator.normal(size=(n, 100))
    y = c + 0.5 * x + generator.normal(size=(n, 100))
    given = conditional_statistics(y, x, c, generator)
    # partial correlation 0.5 / sqrt(1.25), in closed form; its estimator's bias is of order 1 / k
    assert given["correlation"].mean() == pytest.approx(0.5 / np.sqrt(1.25), abs=0.01)
    assert ks_two_samples(given["correlation"], given["correlation_permuted"]) > 0.95


def test_a_condition_can_reveal_a_link():
    """y = x + c with x and c cancelling: no correlation before, a perfect one given c."""
    n, generator = 200, np.random.default_rng(22)
    c = generator.normal(size=(n, 100))
    x = -0.5 * c + np.sqrt(0.5) * generator.normal(size=(n, 100))
    y = x + c
    assert local_correlation(y, x).mean() == pytest.approx(0.25 / 0.75, abs=0.05)  # cov 0.25; variances 0.75 and 0.75
    np.testing.assert_allclose(conditional_statistics(y, x, c, generator)["correlation"], 1, atol=1e-9)


@pytest.mark.filterwarnings("error")
def test_a_variable_that_is_constant_among_neighbours_stays_so_given_a_condition():
    y, c = np.random.default_rng(23).normal(size=(2, 5, K))
    given = conditional_statistics(y, np.full((5, K), 18.3), c, np.random.default_rng(24))
    assert np.isnan(given["correlation"]).all()


# --- distance of two samples ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(1, 1), (5, 300), (200, 200)], ids=str)
@pytest.mark.parametrize("digits", [12, 1])
def test_distance_is_that_of_scipy(sizes, digits):
    generator = np.random.default_rng(25)
    for shift in (0.0, 0.3, 9.0):
        a, b = np.round(generator.normal(size=sizes[0]), digits), np.round(generator.normal(size=sizes[1]) + shift, digits)  # ties with one digit
        assert ks_two_samples(a, b) == pytest.approx(ks_2samp(a, b).statistic, abs=1e-12)


def test_distance_leaves_out_what_is_missing():
    assert ks_two_samples([np.nan, 1, 2, np.nan], [1.5, np.nan]) == ks_two_samples([1, 2], [1.5]) == 0.5
    assert np.isnan(ks_two_samples([np.nan], [1.0]))
    assert np.isnan(ks_two_samples([1.0], []))


# --- all tests of a sample -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample():
    """500 galaxies, 120 of them tested with 30 neighbours each; `link` makes the mass, `colour` follows `z`, `k` is patchy."""
    generator = np.random.default_rng(26)
    n = 500
    z, link = generator.normal(size=(2, n))
    variables = {
        "z": z,
        "link": link,
        "colour": z + generator.normal(size=n),
        "k": with_gaps(18 + 0.02 * link, 0.2, generator),
        "flat": np.full(n, 3.3),
        "absent": np.full(n, np.nan),
    }
    neighbours = np.stack([generator.choice(n, 30, replace=False) for _ in range(120)])
    classes = np.array(["star-forming", "passive", "other"])[generator.choice(3, 120, p=[0.6, 0.3, 0.1])]
    latent = generator.normal(size=(n, 2))
    known = {"latent": latent, "estimate": 10.5 + latent[:, 0]}
    return {"mass": 10.5 + z + link, "variables": variables, **known, "neighbours": neighbours, "classes": classes}


def among_neighbours(sample, queries, conditions, seed=1):
    arrays = (sample[name] for name in ("mass", "variables", "latent", "estimate", "neighbours"))
    return local_tests(*arrays, queries, conditions, sample["classes"], seed)


def test_local_tests_are_the_statistics_among_the_neighbours(sample):
    table, _ = among_neighbours(sample, ["colour", "k"], ["z"])
    y = sample["mass"][sample["neighbours"]]
    for name in ("colour", "k"):  # k: missing values are masked
        x, z = (sample["variables"][v][sample["neighbours"]] for v in (name, "z"))
        np.testing.assert_allclose(table[f"{name}:correlation"], reference(y, x)[0], atol=EXACT)
        np.testing.assert_allclose(table[f"{name}:efficiency"], reference(y, x)[1], atol=EXACT)
        residuals = reference(y, z)[2], reference(x, z)[2]
        np.testing.assert_allclose(table[f"{name}|z:correlation"], reference(*residuals)[0], atol=EXACT)
    np.testing.assert_array_equal(table["galaxy_class"], sample["classes"])
    assert len(table) == 120


def test_a_variable_is_not_tested_given_itself(sample):
    table, summary = among_neighbours(sample, ["z", "link"], ["z", "link"])
    assert {name.split(":")[0] for name in table.columns} == {"z", "z|link", "link", "link|z", "galaxy_class"}
    assert {(row["query"], row["condition"]) for row in summary} == {("z", ""), ("z", "link"), ("link", ""), ("link", "z")}


def test_each_test_has_a_stream_of_its_own(sample):
    alone, _ = among_neighbours(sample, ["colour"], ["z"])
    for queries, conditions in ((["z", "link", "colour"], ["z"]), (["colour"], ["link", "z"]), (["colour", "k"], ["z", "k"])):
        among, _ = among_neighbours(sample, queries, conditions)
        pd.testing.assert_frame_equal(among[alone.columns], alone, check_exact=True)


def test_streams_of_different_tests_differ(sample):
    copy = sample | {"variables": sample["variables"] | {"colour_again": sample["variables"]["colour"]}}
    table, _ = among_neighbours(copy, ["colour", "colour_again"], [])
    np.testing.assert_array_equal(table["colour:correlation"], table["colour_again:correlation"])
    assert (table["colour:correlation_permuted"] != table["colour_again:correlation_permuted"]).all()


def test_the_seed_moves_the_permutations_and_nothing_else(sample):
    first, again, other = (among_neighbours(sample, ["colour"], ["z"], seed)[0] for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    for name in first.columns:
        assert (first[name] != other[name]).any() == ("permuted" in name), name


@pytest.mark.parametrize(("name", "said"), [("flat", r"flat is constant \(3\.3\)"), ("absent", "absent is missing for every galaxy")])
def test_a_query_without_variation_is_named(sample, name, said):
    with pytest.raises(InputError, match=said):
        among_neighbours(sample, ["z", name], ["z"])


def test_a_query_that_varies_only_where_no_neighbour_is_is_named(sample):
    variable = np.full(500, 2.0)
    variable[7] = 5.0
    neighbours = np.where(sample["neighbours"] == 7, 8, sample["neighbours"])
    with pytest.raises(InputError, match=r"lonely is constant \(2\)"):
        among_neighbours(sample | {"variables": sample["variables"] | {"lonely": variable}, "neighbours": neighbours}, ["lonely"], [])


def test_the_summary_counts_and_averages_each_class(sample):
    table, summary = among_neighbours(sample, ["k", "colour"], ["z"])
    assert len(summary) == 4 * 4  # two queries, with and without the condition; three classes and all
    for row in summary:
        test = f"{row['query']}|{row['condition']}" if row["condition"] else row["query"]
        chosen = table if row["class"] == "all" else table[table["galaxy_class"] == row["class"]]
        assert row["n"] == len(chosen)
        for name in ("correlation", "efficiency"):
            original, first, second = (chosen[f"{test}:{name}{kind}"] for kind in ("", "_permuted", "_permuted_again"))
            assert row[f"{name}_mean"] == pytest.approx(original.mean())
            assert row[f"{name}_permuted_mean"] == pytest.approx(first.mean())
            assert row[f"{name}_distance"] == pytest.approx(ks_2samp(original, first).statistic)
            assert row[f"{name}_distance_of_permutations"] == pytest.approx(ks_2samp(first, second).statistic)


def test_the_summary_tells_a_link_from_none(sample):
    _, summary = among_neighbours(sample, ["link", "colour"], ["z"])
    distance = {(row["query"], row["condition"]): row["correlation_distance"] for row in summary if row["class"] == "all"}
    assert distance["link", ""] > 0.9
    assert distance["link", "z"] > 0.9
    assert distance["colour", ""] > 0.5
    assert distance["colour", "z"] < chance(120)  # colour knows of the mass only what z knows


def test_a_summary_without_numbers_holds_none_and_is_json(tmp_path):
    names = [f"{s}{k}" for s in ("correlation", "efficiency") for k in ("", "_permuted", "_permuted_again")]
    nothing = {name: np.full(6, np.nan) for name in (*names, "residual_correlation", "residual_efficiency")}
    rows = independence.summarise(nothing, np.array(["passive"] * 6))
    assert all(value is None for row in rows for key, value in row.items() if key not in ("class", "n"))
    stores.write_json(tmp_path / "s.json", rows)
    assert [row["class"] for row in json.loads((tmp_path / "s.json").read_text())] == ["all", "passive"]


def test_the_summary_for_people_has_three_digits(sample):
    summary = among_neighbours(sample, ["link"], [])[1]
    for row, exact in zip(independence.summary_rows(summary), summary, strict=True):
        assert row.keys() == exact.keys()
        assert (row["query"], row["n"]) == (exact["query"], exact["n"])
        assert row["correlation_mean"] == float(f"{exact['correlation_mean']:.3f}")


def test_every_column_of_the_table_has_a_label(sample, tmp_path):
    table, _ = among_neighbours(sample, ["colour"], ["z"])
    table.insert(0, "galaxy_id", [f"g{i}" for i in range(len(table))])
    labels = independence.columns(table)
    stores.write_table(tmp_path / "t.parquet", table, labels)
    assert labels["colour|z:correlation_permuted"].description == "local correlation, permuted of colour given z and log_mass"
    assert labels["colour:residual_correlation"].description == "local residual correlation of colour and log_mass"


def test_gaps_in_the_condition_do_not_look_like_dependence():
    """Everything independent, 30 % of the condition missing: original and permuted lose the same pairs."""
    generator = np.random.default_rng(8)
    y, x, condition = generator.normal(size=(3, 2000, 100))
    condition[generator.random(condition.shape) < 0.3] = np.nan
    statistics = independence.conditional_statistics(y, x, condition, generator)
    # KS distance of two samples of 2000 from one distribution: below 1.95 sqrt(2 / 2000) = 0.062 in 99.9 %
    assert independence.ks_two_samples(statistics["efficiency"], statistics["efficiency_permuted"]) < 0.062
    assert independence.ks_two_samples(statistics["correlation"], statistics["correlation_permuted"]) < 0.062


def test_permutation_stays_among_the_valid_places():
    generator = np.random.default_rng(9)
    x, valid = generator.normal(size=(50, 40)), generator.random((50, 40)) < 0.7
    moved = independence.permuted(x, generator, valid)
    assert (np.isfinite(moved) == valid).all()
    for before, after, mask in zip(x, moved, valid, strict=True):
        assert sorted(before[mask]) == sorted(after[mask])
    assert np.mean(moved[valid] == x[valid]) < 0.1


def test_constant_mass_and_determined_residual_are_undefined():
    x = np.random.default_rng(10).normal(size=(2, 100))
    assert np.isnan(independence.local_correlation(np.full((2, 100), 10.3), x)).all()
    assert np.isnan(independence.predictive_efficiency(np.full((2, 100), 10.3), x)).all()
    assert (independence.quadratic_residual(1 + 2 * x - x**2, x) == 0).all()


def test_a_constant_condition_is_named():
    values = np.random.default_rng(11).normal(size=60)
    with pytest.raises(InputError, match="variable flat is constant"):
        independence.local_tests(
            values, {"x": values, "flat": np.ones(60)}, values[:, None], values, np.arange(60).reshape(3, 20), ["x"], ["flat"], np.array(["a"] * 3), 1
        )
