"""Recalibration by PIT values against known densities and on simulated, mis-scaled forecasts."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.polynomial.legendre import Legendre
from scipy import integrate, optimize, stats

from galmass.contrastive import calibration, metrics
from galmass.errors import InputError

EDGES = np.linspace(-12, 12, 241)


def _exponent(u, coefficients):
    return Legendre([0.0, *coefficients], domain=[0, 1])(u)


def _quantiles(coefficients, n):
    """n values at the mid-quantiles of the density exp(sum c_j P_j(2u - 1)), by a grid of our own."""
    u = np.linspace(0, 1, 100_001)
    steps = integrate.cumulative_trapezoid(np.exp(_exponent(u, coefficients)), u, initial=0)
    return np.interp((np.arange(n) + 0.5) / n, steps / steps[-1], u)


@pytest.mark.parametrize("known", [[0.5], [0.4, -0.6], [0.3, 0.5, -0.2, 0.1], [-1.5, -0.8, 0.2, 0.0]])
def test_fit_recovers_a_known_density(known):
    fitted = calibration.fit_smooth_pit(_quantiles(known, 20_000), order=len(known))
    # mid-quantiles have the moments of the density to order 1 / n; Legendre slopes reach j (j + 1) = 20 at the ends
    np.testing.assert_allclose(fitted, known, atol=2e-3)


def test_uniform_pit_gives_coefficients_near_zero():
    # the trapezoidal rule with step 1/2000 misses the mean of P_4, of slope +-20 at the ends, by 40 step^2 / 12 = 8e-7,
    # and the coefficient is that over the variance 1/9
    np.testing.assert_allclose(calibration.fit_smooth_pit((np.arange(10_000) + 0.5) / 10_000), np.zeros(4), atol=1e-5)


def test_coefficients_of_uniform_draws_scatter_as_theory_says():
    """n c_j^2 / (2 j + 1) is chi-squared with one degree of freedom: 1 / (2j + 1) is the variance of P_j."""
    n, g = 500, np.random.default_rng(1)
    squares = np.array([n * calibration.fit_smooth_pit(g.uniform(size=n)) ** 2 / (2 * np.arange(1, 5) + 1) for _ in range(100)])
    total = squares.sum(0)
    # once in a thousand at either end, for each of four; fixed seed
    assert (total > stats.chi2.ppf(0.001, 100)).all()
    assert (total < stats.chi2.ppf(0.999, 100)).all()


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (3, 3), (1, 4)], ids=["overconfident", "underconfident", "biased"])
def test_fit_is_the_maximum_of_the_likelihood(a, b):
    pit = np.random.default_rng(2).beta(a, b, 1000)

    def minus_log_likelihood(c):
        return np.log(integrate.quad(lambda u: np.exp(_exponent(u, c)), 0, 1)[0]) - _exponent(pit, c).mean()

    best = optimize.minimize(minus_log_likelihood, np.zeros(4), method="BFGS", options={"gtol": 1e-7})
    # finite differences of the minimiser and the grid of 2001 points: each about 1e-5 of coefficients of order 1-3
    np.testing.assert_allclose(calibration.fit_smooth_pit(pit), best.x, atol=1e-3)


def _forecasts(mean, sigma):
    p = np.diff(stats.norm.cdf(EDGES, np.asarray(mean)[:, None], np.broadcast_to(sigma, np.shape(mean))[:, None]))
    return p / p.sum(1, keepdims=True)


def _sample(n, stretch, seed):
    """Densities N(mu, stretch^2) of truths that follow N(mu, 1)."""
    g = np.random.default_rng(seed)
    mean = g.uniform(-3, 3, n)
    return _forecasts(mean, stretch), mean + g.normal(size=n), mean


@pytest.mark.parametrize("stretch", [1.7, 0.6], ids=["too wide", "too narrow"])
def test_smooth_pit_calibrates_held_out_galaxies(stretch):
    density, truth, _ = _sample(1500, stretch, 3)
    coefficients = calibration.fit_smooth_pit(metrics.pit(density, EDGES, truth))
    density, truth, mean = _sample(1500, stretch, 4)
    better = calibration.apply_smooth_pit(density, coefficients)
    np.testing.assert_allclose(better.sum(1), 1, atol=1e-12)  # rounding of 240 terms
    assert (better >= 0).all()
    before, after = (metrics.ks_distance(metrics.pit(d, EDGES, truth)) for d in (density, better))
    # 1.95 / sqrt(n): once in a thousand; twice, as reference and held-out galaxies both scatter
    assert after < 2 * 1.95 / np.sqrt(1500)
    assert before > 0.1
    # and they are nearly the true densities: the mean CRPS of N(0, 1) is 0.564, of the mis-scaled ones 5 % more
    crps = [metrics.crps(d, EDGES, truth).mean() for d in (better, _forecasts(mean, 1.0), density)]
    assert crps[0] == pytest.approx(crps[1], rel=0.01)
    assert crps[2] > 1.03 * crps[1]


def test_smooth_pit_without_coefficients_changes_nothing():
    density, _, _ = _sample(5, 1.0, 5)
    np.testing.assert_allclose(calibration.apply_smooth_pit(density, np.zeros(4)), density, atol=1e-14)  # rounding only


def test_smooth_pit_is_the_distribution_function_of_the_fit():
    """On the uniform density, the recalibrated one is the smooth density itself."""
    c, edges = [0.8, -0.5], np.linspace(0, 1, 11)
    norm = integrate.quad(lambda u: np.exp(_exponent(u, c)), 0, 1)[0]
    expected = [integrate.quad(lambda u: np.exp(_exponent(u, c)), a, b)[0] / norm for a, b in pairwise(edges)]
    # trapezoidal rule on 2000 steps
    np.testing.assert_allclose(calibration.apply_smooth_pit(np.full((1, 10), 0.1), c)[0], expected, atol=1e-6)


def test_local_pit_small_example():
    density = np.full((2, 4), 0.25)
    got = calibration.apply_local_pit(density, [[0.5, 0.25, 0.75], [0.1, 0.2, 0.6]])
    # R through (0, 0) (0.1, 1/4) (0.2, 1/2) (0.6, 3/4) (1, 1) at 0.25, 0.5, 0.75
    steps = [0, 0.5 + 0.25 * 0.05 / 0.4, 0.5 + 0.25 * 0.3 / 0.4, 0.75 + 0.25 * 0.15 / 0.4, 1]
    np.testing.assert_allclose(got, [[0.25] * 4, np.diff(steps)], atol=1e-14)  # rounding only


def test_local_pit_calibrates_kinds_of_galaxies_that_err_in_opposite_ways():
    """Where half of the densities are too wide and half too narrow, only neighbours of the same kind help."""
    n, g = 1200, np.random.default_rng(6)
    kind = np.repeat([0, 1], n // 2)
    stretch = np.where(kind == 0, 2.0, 0.5)
    (density, truth, _), (held_out, held_out_truth, _) = (_sample(n, stretch, seed) for seed in (7, 8))
    reference = metrics.pit(density, EDGES, truth)
    neighbours = np.stack([g.choice(np.flatnonzero(kind == own), 150, replace=False) for own in kind])
    better = calibration.apply_local_pit(held_out, reference[neighbours])
    np.testing.assert_allclose(better.sum(1), 1, atol=1e-12)  # rounding of 240 terms
    assert (better >= 0).all()
    for own in (0, 1):
        rows = kind == own
        before, after = (metrics.ks_distance(metrics.pit(d[rows], EDGES, held_out_truth[rows])) for d in (held_out, better))
        # 1.95 / sqrt(n / 2): once in a thousand; twice, as reference and held-out galaxies both scatter
        assert after < 2 * 1.95 / np.sqrt(n / 2)
        assert before > 0.15


def test_local_pit_of_a_neighbour_at_the_edge_keeps_all_probability():
    for pit in ([0.0, 0.0, 0.5], [1.0, 1.0, 0.5], [0.0, 1.0, 1.0]):
        assert calibration.apply_local_pit(np.full((1, 4), 0.25), [pit]).sum() == pytest.approx(1, abs=1e-12)


def test_hopeless_pit_values_are_said():
    with pytest.raises(InputError, match="too concentrated"):
        calibration.fit_smooth_pit(np.full(100, 0.5))
    with pytest.raises(InputError, match="1 PIT values are NaN"):
        calibration.fit_smooth_pit([0.2, np.nan, 0.7])
