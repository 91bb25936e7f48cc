"""Baseline forecasts: exact scores by brute force, a known relation recovered, calibrated densities."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from galmass.contrastive import baselines
from galmass.contrastive.modalities import Modality

LINEAR = Modality("L", ("a", "b"), ("err",), {"s": "linear"})


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def _simulated(n, seed, noise=1.0):
    """log_mass linear in the inputs, with a scatter that is exponential in s."""
    g = np.random.default_rng(seed)
    frame = pd.DataFrame({"galaxy_id": np.arange(n) + 1000, "a": g.normal(20, 1, n), "b": g.normal(19, 1, n)})
    frame["err"], frame["s"] = np.exp(g.normal(-3, 0.3, n)), g.uniform(-1, 1, n)
    sigma = 0.1 * np.exp(1.2 * frame["s"])
    frame["log_mass"] = 10 - 0.4 * (frame["a"] - 20) + 0.3 * (frame["b"] - 19) + noise * sigma * g.normal(size=n)
    return frame


def _brute_force(forecast, truth):
    """E|X - y| - E|X - X'| / 2 over all draws and all pairs of draws."""
    draws = forecast.mean[:, None] + forecast.scale[:, None] * forecast.residuals
    spread = np.abs(draws[:, :, None] - draws[:, None, :]).mean((1, 2))
    return np.abs(draws - truth[:, None]).mean(1) - spread / 2


@pytest.mark.parametrize("n_residual", [1, 2, 37])
def test_crps_equals_brute_force(n_residual):
    g = np.random.default_rng(1)
    forecast = baselines.Forecast(g.normal(10, 1, 30), g.uniform(0.05, 2, 30), np.sort(g.normal(size=n_residual)))
    truth = g.normal(10, 2, 30)
    truth[0] = forecast.mean[0] + forecast.scale[0] * forecast.residuals[0]  # exactly a draw
    np.testing.assert_allclose(forecast.crps(truth), _brute_force(forecast, truth), atol=1e-12)  # rounding only


def test_crps_of_normal_residuals_approaches_the_closed_form():
    residuals = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    z = np.array([-2.0, 0.0, 0.7])
    got = baselines.Forecast(np.zeros(3), np.full(3, 0.2), residuals).crps(0.2 * z)
    # Gneiting & Raftery 2007, eq. 21; mid-quantiles of 4000 stand for the normal to order 1 / 4000
    expected = 0.2 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    np.testing.assert_allclose(got, expected, atol=2e-4)


def test_pit_is_the_mid_rank():
    forecast = baselines.Forecast(np.full(6, 10.0), np.full(6, 0.5), np.array([-2.0, 0.0, 0.0, 1.0]))
    truth = np.array([8.0, 9.0, 9.5, 10.0, 10.2, 11.0])  # residuals -4, -2, -1, 0, 0.4, 2
    draws = forecast.mean[:, None] + forecast.scale[:, None] * forecast.residuals
    expected = (draws < truth[:, None]).mean(1) + (draws == truth[:, None]).mean(1) / 2
    np.testing.assert_array_equal(forecast.pit(truth), expected)
    np.testing.assert_array_equal(expected, [0, 0.125, 0.25, 0.5, 0.75, 1])


def test_with_colours():
    values = np.array([[20.0, 19.0, 17.5, 17.0], [1.0, 2.0, 4.0, 8.0]])
    colours = baselines.with_colours(values)
    np.testing.assert_array_equal(colours, [[1, 2.5, 3, 1.5, 2, 0.5], [-1, -3, -7, -2, -6, -4]])


def test_inputs(catalogue, modality):
    frame = catalogue(10, 0)
    plain = np.column_stack([frame["mag_g"], frame["mag_r"], np.log(frame["err_r"]), frame["ebv"], np.log(frame["z"])])
    for name in ("ridge", "boosting"):
        np.testing.assert_array_equal(baselines.inputs(name, frame, modality), plain)
    expected = np.column_stack([plain, frame["mag_g"] - frame["mag_r"]])
    np.testing.assert_array_equal(baselines.inputs("boosting_colours", frame, modality), expected)


def test_ridge_recovers_a_linear_relation():
    forecast = baselines.fit("ridge", _simulated(300, 2, noise=0.0), LINEAR, seed=0)
    test = _simulated(100, 3, noise=0.0)
    # the weakest penalty on the grid, 1e-6 against 300 standardised rows, shrinks by 3e-9
    np.testing.assert_allclose(forecast(test).mean, test["log_mass"], atol=1e-6)


def test_ridge_finds_the_scatter_of_each_galaxy():
    test = _simulated(500, 5)
    forecast = baselines.fit("ridge", _simulated(3000, 4), LINEAR, seed=0)(test)
    width = forecast.scale * forecast.residuals.std()
    slope, intercept = np.polyfit(test["s"], np.log(width), 1)
    # ln|normal| scatters by 1.11: a slope over uniform s on [-1, 1] is known to 1.11 / sqrt(3000 / 3) = 0.035; three of them
    assert slope == pytest.approx(1.2, abs=0.11)
    assert np.exp(intercept) == pytest.approx(0.1, rel=0.1)  # as for the slope, plus the tails' share in the standard deviation


@pytest.mark.parametrize(("name", "bound"), [("ridge", 0.0), ("boosting", 0.03)])
def test_densities_are_calibrated_on_heteroscedastic_data(name, bound):
    """Overall, and for the galaxies of small and of large scatter; residuals of fitted galaxies would fail for boosting."""
    train, test = _simulated(1200, 6), _simulated(1000, 7)
    forecast = baselines.fit(name, train, LINEAR, seed=0)(test)
    pit = forecast.pit(test["log_mass"].to_numpy())
    # 1.63 / sqrt(n): once in a hundred, for both samples; boosting learns the scale from few galaxies a leaf: a little more
    assert stats.kstest(pit, "uniform").statistic < 1.63 * (1 / np.sqrt(1200) + 1 / np.sqrt(1000)) + bound
    for half in (test["s"] < 0, test["s"] >= 0):
        assert stats.kstest(pit[half], "uniform").statistic < 1.63 * (1 / np.sqrt(600) + 1 / np.sqrt(500)) + bound
    # the widths matter: the same forecasts with one scale for all are worse in the narrow half
    flat = baselines.Forecast(forecast.mean, np.full(1000, forecast.scale.mean()), forecast.residuals)
    truth, narrow = test["log_mass"].to_numpy(), (test["s"] < 0).to_numpy()
    assert forecast.crps(truth)[narrow].mean() < 0.95 * flat.crps(truth)[narrow].mean()


def test_table():
    train, test = _simulated(150, 8), _simulated(40, 9)
    table, columns = baselines.table(train, test, LINEAR, seed=3, threads=1)
    assert list(table) == list(columns) == ["galaxy_id", *(f"{n}_{s}" for n in baselines.NAMES for s in ("mean", "crps", "pit"))]
    assert all(column.description for column in columns.values())
    assert {columns[f"ridge_{s}"].unit for s in ("mean", "crps")} == {"dex(solMass)", "dex"}
    np.testing.assert_array_equal(table["galaxy_id"], test["galaxy_id"])
    truth = test["log_mass"].to_numpy()
    for name in baselines.NAMES:
        forecast = baselines.fit(name, train, LINEAR, seed=3)(test)
        np.testing.assert_array_equal(table[f"{name}_mean"], forecast.mean)  # the same seed, the same numbers
        np.testing.assert_array_equal(table[f"{name}_crps"], forecast.crps(truth))
        np.testing.assert_array_equal(table[f"{name}_pit"], forecast.pit(truth))
    assert table["ridge_pit"].between(0, 1).all()


def test_the_seed_chooses_the_folds():
    train, test = _simulated(100, 8), _simulated(10, 9)
    one, other = (baselines.fit("ridge", train, LINEAR, seed=s)(test) for s in (1, 2))
    assert not np.array_equal(one.residuals, other.residuals)
    np.testing.assert_array_equal(one.mean, other.mean)  # of ridge on all training galaxies


def test_training_galaxies_alone_shape_a_forecast():
    train, test = _simulated(100, 8), _simulated(10, 9)
    together = baselines.fit("ridge", train, LINEAR, seed=1)(test)
    alone = baselines.fit("ridge", train, LINEAR, seed=1)(test.iloc[[4]].assign(log_mass=99.0))
    assert alone.mean[0] == pytest.approx(together.mean[4], abs=1e-12)  # order of sums in a matrix product
    assert alone.scale[0] == pytest.approx(together.scale[4], abs=1e-12)
