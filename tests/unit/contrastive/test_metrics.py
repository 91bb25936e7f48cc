"""Scores of binned densities against brute force, closed forms and scipy."""

import numpy as np
import pytest
from scipy import stats

from galmass.contrastive import metrics
from galmass.errors import InputError

UNEVEN = np.array([8.0, 8.1, 8.7, 9.0, 10.5, 10.6, 12.0])


def _densities(n, n_bin, seed):
    return np.random.default_rng(seed).dirichlet(np.full(n_bin, 0.7), n)


def _crps_on_a_grid(density, edges, truth):
    """Integral of (F - step)^2 by the trapezoidal rule on either side of the truth."""
    steps = np.concatenate([[0.0], np.cumsum(density)])
    low, high = min(edges[0], truth), max(edges[-1], truth)
    below, above = np.linspace(low, truth, 20001), np.linspace(truth, high, 20001)
    return np.trapezoid(np.interp(below, edges, steps) ** 2, below) + np.trapezoid((1 - np.interp(above, edges, steps)) ** 2, above)


@pytest.mark.parametrize("edges", [UNEVEN, np.linspace(8, 12, 7)], ids=["uneven", "even"])
def test_crps_equals_numerical_integration(edges):
    density = _densities(40, 6, 1)
    truth = np.random.default_rng(2).uniform(7.0, 13.0, 40)  # some outside the edges
    truth[:3] = edges[0], edges[3], edges[-1]
    assert truth.min() < edges[0]
    assert truth.max() > edges[-1]
    expected = [_crps_on_a_grid(d, edges, t) for d, t in zip(density, truth, strict=True)]
    # the trapezoidal rule errs by step^2 / 12 * F'' or by step^2 at a kink: (5 / 20000)^2 < 1e-7, times slopes up to 10
    np.testing.assert_allclose(metrics.crps(density, edges, truth), expected, atol=1e-6)


@pytest.mark.parametrize("y", [0.0, 0.25, 0.5, 1.0])
def test_crps_of_a_uniform_density_inside(y):
    # E|X - y| - E|X - X'| / 2 of X uniform on [0, 1]; rounding only
    assert metrics.crps([[1.0]], [0.0, 1.0], [y])[0] == pytest.approx(y**2 - y + 1 / 3, abs=1e-14)
    # the same density told in three uneven bins
    assert metrics.crps([[0.2, 0.7, 0.1]], [0.0, 0.2, 0.9, 1.0], [y])[0] == pytest.approx(y**2 - y + 1 / 3, abs=1e-14)


def test_crps_of_a_uniform_density_outside_grows_with_the_distance():
    # E|X - y| = |y - 1/2| outside; minus E|X - X'| / 2 = 1/6
    np.testing.assert_allclose(metrics.crps([[1.0]] * 2, [0.0, 1.0], [-2.0, 4.0]), [2.5 - 1 / 6, 3.5 - 1 / 6], atol=1e-14)


def test_crps_prefers_the_true_density():
    """A proper score: lower on average for the density that the truth is drawn from than for a shifted one."""
    edges, g = np.linspace(-6, 6, 121), np.random.default_rng(3)
    truth = g.normal(size=2000)
    mean = {shift: metrics.crps(np.tile(_normal(shift, 1.0, edges), (2000, 1)), edges, truth).mean() for shift in (-0.3, 0.0, 0.3)}
    # closed form for a standard normal: 1 / sqrt(pi); the mean over 2000 galaxies scatters by 0.4 / sqrt(2000) = 0.009
    assert mean[0.0] == pytest.approx(1 / np.sqrt(np.pi), abs=0.03)
    assert mean[0.0] < min(mean[-0.3], mean[0.3])


def _normal(mean, sigma, edges):
    p = np.diff(stats.norm.cdf(edges, mean, sigma))
    return p / p.sum()


def _draws(density, edges, seed):
    """One truth from each density."""
    g = np.random.default_rng(seed)
    bins = np.array([g.choice(len(d), p=d) for d in density])
    return edges[bins] + g.uniform(size=len(bins)) * np.diff(edges)[bins]


def test_pit_of_draws_from_the_densities_is_uniform():
    density = _densities(2000, 6, 4)
    truth = _draws(density, UNEVEN, 5)
    assert stats.kstest(metrics.pit(density, UNEVEN, truth), "uniform").pvalue > 1e-3
    # and the check has power: densities of other galaxies are no good
    assert stats.kstest(metrics.pit(density, UNEVEN + 0.2, truth), "uniform").pvalue < 1e-6


def test_pit_is_the_distribution_function():
    density, edges = [[0.1, 0.6, 0.3]], [0.0, 1.0, 3.0, 4.0]
    expected = {-1.0: 0.0, 0.0: 0.0, 0.5: 0.05, 1.0: 0.1, 2.0: 0.4, 3.0: 0.7, 3.5: 0.85, 4.0: 1.0, 9.0: 1.0}
    for truth, value in expected.items():
        assert metrics.pit(density, edges, [truth])[0] == pytest.approx(value, abs=1e-14)


def test_point_metrics_small_example():
    truth = np.array([10.0, 9.0, 11.0, 10.5, 9.5])
    got = metrics.point_metrics(truth + np.array([0.0, 0.1, -0.1, 0.2, 5.0]), truth)
    # median 0.1, deviations 0.1 0 0.2 0.1 4.9, their median 0.1; 1e-12: subtraction of numbers near 10
    assert got == pytest.approx({"bias": 1.04, "sigma_mad": 0.14826, "eta": 0.2}, abs=1e-12)


def test_outliers_are_counted_from_zero_not_from_the_median():
    """eta = fraction of |d| > 3 sigma_MAD: a biased estimate is all outliers."""
    d = 10 + np.linspace(-1, 1, 11)
    assert metrics.outlier_fraction(d) == 1.0


def test_sigma_mad_estimates_the_standard_deviation_of_a_normal():
    d = 0.3 * stats.norm.ppf((np.arange(10_000) + 0.5) / 10_000) + 7
    # 1.4826 is rounded: 1.4826 * 0.674490 = 1.0000; quantiles of 10 000 points are exact to 1e-4
    assert metrics.sigma_mad(d) == pytest.approx(0.3, rel=2e-4)
    np.testing.assert_array_equal(metrics.sigma_mad(np.stack([d, 2 * d])), [metrics.sigma_mad(d), metrics.sigma_mad(2 * d)])


@pytest.mark.parametrize(
    ("estimate", "truth"),
    [([], []), ([1.0, 2.0], [1.0]), ([1.0, np.nan], [1.0, 1.0]), ([1.0, 1.0], [np.inf, 1.0]), ([[1.0]], [[1.0]])],
    ids=["empty", "unequal", "nan", "infinite", "two-dimensional"],
)
def test_point_metrics_refuses(estimate, truth):
    with pytest.raises(InputError):
        metrics.point_metrics(estimate, truth)


def test_input_errors_are_value_errors():
    with pytest.raises(ValueError, match="1 estimates or truths are NaN"):
        metrics.point_metrics([1.0, np.nan], [1.0, 1.0])


@pytest.mark.parametrize("density", [[[0.5, 0.6]], [[-0.1, 1.1]], [[np.nan, 1.0]], [[0.0, 0.0]], [[np.inf, 0.0]]])
@pytest.mark.parametrize("score", [metrics.crps, metrics.pit])
def test_a_density_that_is_none_is_refused(score, density):
    with pytest.raises(InputError, match="add up to 1"):
        score(density, [0.0, 1.0, 2.0], [0.5])


@pytest.mark.parametrize("score", [metrics.crps, metrics.pit, metrics.cross_entropy])
def test_a_true_mass_that_is_nan_is_refused(score):
    with pytest.raises(InputError, match="1 true masses"):
        score([[0.5, 0.5]], [0.0, 1.0, 2.0], [np.nan])


def test_cumulative_ends_at_exactly_one():
    density = _densities(50, 700, 6).astype(np.float32)  # adds up to 1 within float32 only
    steps = metrics.cumulative(density)
    assert steps.shape == (50, 701)
    np.testing.assert_array_equal(steps[:, [0, -1]], [[0.0, 1.0]] * 50)
    assert (np.diff(steps) >= 0).all()


def test_cross_entropy():
    got = metrics.cross_entropy([[0.2, 0.8]] * 7, [0.0, 1.0, 3.0], [0.0, 0.99, 1.0, 2.0, 3.0, 3.01, -0.01])
    np.testing.assert_allclose(got, [*-np.log([0.2, 0.2, 0.8, 0.8, 0.8]), np.nan, np.nan], rtol=1e-14)


def test_cross_entropy_of_the_impossible_is_infinite():
    assert metrics.cross_entropy([[0.0, 1.0]], [0.0, 1.0, 2.0], [0.5])[0] == np.inf


def test_point_estimates_on_uneven_bins():
    got = metrics.point_estimates([[0.5, 0.5], [0.2, 0.8], [0.4, 0.6]], [0.0, 1.0, 3.0])
    np.testing.assert_allclose(got["mean"], [1.25, 1.7, 1.4], rtol=1e-14)
    # per dex 0.5 | 0.25, 0.2 | 0.4, 0.4 | 0.3: the third has its mode in the less probable, narrower bin
    np.testing.assert_allclose(got["mode"], [0.5, 2.0, 0.5], rtol=1e-14)
    np.testing.assert_allclose(got["median"], [1.0, 1.0 + 2 * 0.3 / 0.8, 1.0 + 2 * 0.1 / 0.6], rtol=1e-14)


def test_median_is_where_the_pit_is_one_half():
    density = _densities(200, 6, 7)
    median = metrics.point_estimates(density, UNEVEN)["median"]
    # median and its PIT are each one interpolation: rounding only
    np.testing.assert_allclose(metrics.pit(density, UNEVEN, median), 0.5, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 50])
def test_ks_distance_equals_scipy(n):
    values = np.random.default_rng(n).uniform(size=n) ** 1.5
    assert metrics.ks_distance(values) == pytest.approx(stats.kstest(values, "uniform").statistic, abs=1e-14)


def _power_law_sample(g, n, a=1.3):
    """Values with distribution function u^a."""
    return g.uniform(size=n) ** (1 / a)


def test_ks_interval_covers_the_true_distance():
    g, a, repetitions = np.random.default_rng(8), 1.3, 400
    u = a ** (-1 / (a - 1))  # where u - u^a is largest
    true = u - u**a
    intervals = np.array([metrics.ks_interval(_power_law_sample(g, 100, a)) for _ in range(repetitions)])
    missed = np.sum((intervals[:, 0] > true) | (intervals[:, 1] < true))
    # at least 95 % is promised: more misses than this happen once in a thousand at exactly 95 %
    assert missed <= stats.binom.ppf(0.999, repetitions, 0.05)
    # and the interval says something: uniform values are excluded by most samples of 100 with a = 3
    assert np.mean([metrics.ks_interval(_power_law_sample(g, 100, 3.0))[0] > 0 for _ in range(50)]) > 0.9


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_ks_interval_has_massarts_width(level):
    n = 1000
    values = _power_law_sample(np.random.default_rng(9), n, 3.0)
    distance = stats.kstest(values, "uniform").statistic
    # 2 exp(-2 n margin^2) = 1 - level
    margin = np.sqrt(-np.log((1 - level) / 2) / (2 * n))
    assert metrics.ks_interval(values, level) == pytest.approx((distance - margin, distance + margin), abs=1e-14)


def test_ks_interval_stays_in_the_unit_interval():
    assert metrics.ks_interval([0.5])[0] == 0.0
    assert metrics.ks_interval([1.0])[1] == 1.0


def test_bootstrap_interval_of_sigma_mad_covers_the_truth():
    g, repetitions, n = np.random.default_rng(10), 200, 150
    intervals = np.array([metrics.bootstrap_interval(metrics.sigma_mad, (g.normal(0, 0.2, n),), g, n=300) for _ in range(repetitions)])
    missed = np.sum((intervals[:, 0] > 0.2) | (intervals[:, 1] < 0.2))
    # the percentile bootstrap of a quantile errs by order 1 / sqrt(n) in coverage: 0.03 to either side,
    # and the count of misses scatters binomially (once in a thousand at either end)
    assert stats.binom.ppf(0.001, repetitions, 0.02) <= missed <= stats.binom.ppf(0.999, repetitions, 0.08)
    # a standard error of the MAD of normal values is 1.17 sigma / sqrt(n) (Rousseeuw & Croux 1993: 37 % efficiency)
    width = np.median(intervals[:, 1] - intervals[:, 0])
    assert width == pytest.approx(2 * 1.96 * 0.2 * np.sqrt(1 / (2 * 0.37 * n)), rel=0.15)  # finite n and skewness


@pytest.mark.parametrize(("level", "z"), [(0.95, 1.960), (0.5, 0.674)])
def test_bootstrap_interval_of_a_mean(level, z):
    x = np.random.default_rng(11).normal(3.0, 2.0, 400)
    low, high = metrics.bootstrap_interval(lambda a: a.mean(-1), (x,), np.random.default_rng(12), n=4000, level=level)
    error = x.std() / np.sqrt(400)
    # quantiles of 4000 draws scatter by about 0.04 standard errors at 97.5 %: four times that
    assert (low - x.mean()) / error == pytest.approx(-z, abs=0.16)
    assert (high - x.mean()) / error == pytest.approx(z, abs=0.16)


def test_bootstrap_resamples_galaxies_together():
    x = np.random.default_rng(13).normal(size=100)
    low, high = metrics.bootstrap_interval(lambda a, b: (a - b).mean(-1), (x, x - 0.5), np.random.default_rng(14), n=100)
    assert low == pytest.approx(0.5, abs=1e-12)  # rounding only
    assert high == pytest.approx(0.5, abs=1e-12)


def test_bootstrap_depends_on_the_generator_alone():
    x = np.random.default_rng(15).normal(size=50)
    one, two, other = (metrics.bootstrap_interval(lambda a: a.mean(-1), (x,), np.random.default_rng(s), n=100) for s in (1, 1, 2))
    assert one == two != other


@pytest.mark.parametrize("score", [metrics.crps, metrics.pit, metrics.cross_entropy])
def test_scores_of_unequal_numbers_are_refused(score):
    with pytest.raises(InputError, match="1 densities and 3 true masses"):
        score([[0.5, 0.5]], [0.0, 1.0, 2.0], [0.1, 0.2, 0.3])


def test_bootstrap_draws_as_many_resamples_as_asked():
    drawn = []
    metrics.bootstrap_interval(lambda a: drawn.append(len(a)) or a.mean(-1), (np.arange(10.0),), np.random.default_rng(1), n=60)
    assert sum(drawn) == 60
