"""Scores, ratios and tables for people on a made-up table of a few galaxies."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from galmass.contrastive import evaluation
from galmass.errors import InputError

N = 60


@pytest.fixture
def embeddings():
    g = np.random.default_rng(1)
    truth = g.uniform(9, 11, N)
    d = g.normal(0.01, 0.1, N)
    d[0] = 3.0
    frame = pd.DataFrame({"galaxy_id": np.arange(N) * 7, "log_mass": truth, "mass_mean": truth + d})
    frame["mass_mode"], frame["mass_median"] = truth + 0.5, truth - 2 * d
    frame["crps"], frame["crps_raw"] = g.uniform(0.02, 0.06, N), g.uniform(0.05, 0.09, N)
    frame["pit"], frame["pit_raw"] = g.uniform(size=N), g.uniform(size=N) ** 3
    frame["cross_entropy"] = g.uniform(1, 3, N)
    return frame.set_index(np.arange(N) + 500)  # rows of a larger table keep their labels


@pytest.fixture
def baselines(embeddings):
    """'boosting' errs twice, 'ridge' four times as much as the network, for every galaxy."""
    frame = pd.DataFrame({"galaxy_id": np.arange(N) * 7})
    truth, d = embeddings["log_mass"].to_numpy(), (embeddings["mass_mean"] - embeddings["log_mass"]).to_numpy()
    for name, factor in (("ridge", 4), ("boosting", 2), ("boosting_colours", 1)):
        frame[f"{name}_mean"], frame[f"{name}_crps"] = truth + factor * d, factor * embeddings["crps"].to_numpy()
        frame[f"{name}_pit"] = np.random.default_rng(factor).uniform(size=N)
    return frame


@pytest.fixture
def metrics(embeddings, baselines):
    return evaluation.evaluate(embeddings, baselines, np.random.default_rng(0), 100)


def test_scores_of_the_network(metrics, embeddings):
    d = (embeddings["mass_mean"] - embeddings["log_mass"]).to_numpy()
    sigma = 1.4826 * np.median(np.abs(d - np.median(d)))
    got = metrics["network"]
    assert metrics["n_test"] == N
    # means in another order: rounding
    assert got["bias"]["value"] == pytest.approx(d.mean(), abs=1e-12)
    assert got["sigma_mad"]["value"] == pytest.approx(sigma, abs=1e-12)
    assert got["eta"]["value"] == np.mean(np.abs(d) > 3 * sigma) > 0
    assert got["crps"]["value"] == pytest.approx(embeddings["crps"].mean(), abs=1e-12)
    assert got["pit_ks"]["value"] == pytest.approx(stats.kstest(embeddings["pit"], "uniform").statistic, abs=1e-12)
    assert metrics["cross_entropy"] == pytest.approx(embeddings["cross_entropy"].mean(), abs=1e-12)
    raw = metrics["network_not_recalibrated"]
    assert raw["crps"]["value"] == pytest.approx(embeddings["crps_raw"].mean(), abs=1e-12)
    assert raw["pit_ks"]["value"] == pytest.approx(stats.kstest(embeddings["pit_raw"], "uniform").statistic, abs=1e-12)


def test_point_estimates(metrics, embeddings):
    assert set(metrics["point_estimates"]) == {"mean", "mode", "median"}
    assert metrics["point_estimates"]["mode"] == pytest.approx({"bias": 0.5, "sigma_mad": 0.0, "eta": 1.0}, abs=1e-12)  # rounding near 10
    double = metrics["point_estimates"]["median"]["sigma_mad"] / metrics["point_estimates"]["mean"]["sigma_mad"]
    assert double == pytest.approx(2, abs=1e-12)


def test_intervals_hold_their_values_and_have_a_width(metrics, embeddings):
    for scores in (metrics["network"], metrics["network_not_recalibrated"], *metrics["baselines"].values()):
        for entry in scores.values():
            low, high = entry["interval"]
            assert low <= entry["value"] <= high
            assert low < high
    width = np.diff(metrics["network"]["crps"]["interval"])[0]
    # 100 resamples know a 95 % width to about 15 %
    assert width == pytest.approx(2 * 1.96 * embeddings["crps"].std() / np.sqrt(N), rel=0.4)


@pytest.mark.parametrize(("name", "factor"), [("ridge", 4), ("boosting", 2), ("boosting_colours", 1)])
def test_ratios_resample_galaxies_together(metrics, name, factor):
    """Errors in a fixed proportion have a ratio without any uncertainty, if numerator and denominator share their galaxies."""
    for score in ("sigma_mad", "crps"):
        entry = metrics["ratio_to"][name][score]
        np.testing.assert_allclose([entry["value"], *entry["interval"]], 1 / factor, rtol=1e-9)  # rounding of truth + d near 10
        assert metrics["baselines"][name][score]["value"] == pytest.approx(factor * metrics["network"][score]["value"], rel=1e-9)


def test_a_ratio_of_unlike_errors_is_uncertain():
    g = np.random.default_rng(2)
    a, b = g.normal(0, 1, 200), g.normal(0, 2, 200)
    got = evaluation.ratios(a, np.abs(a), b, np.abs(b), g, 200)
    assert got["crps"]["value"] == pytest.approx(np.abs(a).sum() / np.abs(b).sum(), rel=1e-12)  # rounding only
    assert got["sigma_mad"]["value"] == pytest.approx(stats.median_abs_deviation(a) / stats.median_abs_deviation(b), rel=1e-12)
    for entry in got.values():
        low, high = entry["interval"]
        # the truth, 1/2, within a 95 % interval: fixed seed
        assert low < 0.5 < high
        assert 0.05 < high - low < 0.4  # two relative errors of 1 / sqrt(200 * 0.37 * 2) = 8 %: 0.5 * 4 * 0.12 = 0.23


def test_other_galaxies_are_refused(embeddings, baselines):
    for other in (baselines.iloc[1:], baselines.iloc[::-1], baselines.assign(galaxy_id=np.arange(N))):
        with pytest.raises(InputError, match="other galaxies"):
            evaluation.evaluate(embeddings, other, np.random.default_rng(0), 50)


def test_the_generator_decides(embeddings, baselines, metrics):
    assert evaluation.evaluate(embeddings, baselines, np.random.default_rng(0), 100) == metrics
    assert evaluation.evaluate(embeddings, baselines, np.random.default_rng(1), 100) != metrics


def test_rows(metrics):
    rows = evaluation.rows(metrics)
    assert [r["estimator"] for r in rows] == ["network", "network, not recalibrated", "ridge", "boosting", "boosting_colours"]
    assert list(rows[0]) == ["estimator", "bias [dex]", "sigma_mad [dex]", "eta", "crps [dex]", "pit_ks"]
    assert list(rows[1]) == ["estimator", "crps [dex]", "pit_ks"]
    entry = metrics["baselines"]["ridge"]["crps"]
    assert rows[2]["crps [dex]"] == f"{entry['value']:.4f} ({entry['interval'][0]:.4f} to {entry['interval'][1]:.4f})"


def test_modalities_are_compared_on_the_galaxies_that_all_have(embeddings):
    """The galaxies that the second lacks are the first's worst: alone, the first looks worse by them."""
    embeddings = embeddings.assign(galaxy_id=[f"J{i}" for i in embeddings["galaxy_id"]])
    error = (embeddings["mass_mean"] - embeddings["log_mass"]).abs()
    kept = embeddings[error < error.quantile(0.5)]
    second = kept.assign(mass_mean=kept["log_mass"] + 2 * (kept["mass_mean"] - kept["log_mass"]), crps=2 * kept["crps"]).sample(frac=1, random_state=0)
    found = evaluation.common_scores({"I": embeddings, "M": second}, np.random.default_rng(1), 200)
    difference = (kept["mass_mean"] - kept["log_mass"]).to_numpy()
    assert found["I"]["n"] == found["M"]["n"] == N // 2
    assert found["I"]["sigma_mad"]["value"] == pytest.approx(1.4826 * np.median(np.abs(difference - np.median(difference))), rel=1e-9)
    assert found["I"]["crps"]["value"] == pytest.approx(kept["crps"].mean(), rel=1e-9)
    for score in ("sigma_mad", "crps"):  # resampled alike: twice as large, the intervals too
        for key in ("value", "interval"):
            np.testing.assert_allclose(found["M"][score][key], 2 * np.array(found["I"][score][key]), rtol=1e-9)


def test_modalities_without_common_galaxies_are_not_scored(embeddings, metrics):
    found = evaluation.common_scores({"I": embeddings.iloc[:20], "M": embeddings.iloc[20:]}, np.random.default_rng(1), 50)
    assert found == {key: {"n": 0, "sigma_mad": None, "crps": None} for key in "IM"}
    assert evaluation.headline("s", "I", metrics, {"tests": []}, found["I"])["sigma_MAD on these [dex]"] == ""


def test_headline(metrics):
    def local(query, p_value, r, **changed):
        return {"class": "all", "condition": "mass_mean", "query": query, "p_value_holm": p_value, "block_correlation_mean": r} | changed

    tests = [
        local("ebv", 0.3, 0.99),
        local("z", 0.011, -0.123),
        local("g", 0.011, 0.1),
        local("mag_k", None, None),  # not measured for enough galaxies
        local("r50", 0.001, 0.9, **{"class": "passive"}),
        local("r90", 0.001, 0.8, condition="z"),
    ]
    common = {"n": 41, "sigma_mad": {"value": 0.1, "interval": [0.05, 0.2]}, "crps": {"value": 0.3, "interval": [0.2, 0.4]}}
    got = evaluation.headline("gst10k", "Mopt", metrics, {"tests": tests}, common)
    assert got["test galaxies of all modalities"] == 41
    assert got["sigma_MAD on these [dex]"] == "0.1000 (0.0500 to 0.2000)"
    assert got["CRPS on these [dex]"] == "0.3000 (0.2000 to 0.4000)"
    assert (got["sample"], got["modality"], got["test galaxies"]) == ("gst10k", "Mopt", N)
    assert got["most related to the mass beyond the estimate"] == "z (r -0.12, p 0.011)"
    none = evaluation.headline("gst10k", "Mopt", metrics, {"tests": tests[:1]}, common)
    assert none["most related to the mass beyond the estimate"] == "nothing found; next to it ebv (r +0.99, p 0.3)"
    sigma = metrics["network"]["sigma_mad"]
    assert got["sigma_MAD [dex]"] == f"{sigma['value']:.4f} ({sigma['interval'][0]:.4f} to {sigma['interval'][1]:.4f})"
    assert got["boosting"] == f"{2 * sigma['value']:.4f}"
    assert got["ridge"] == f"{4 * sigma['value']:.4f}"
    assert got["boosting + colours"] == f"{sigma['value']:.4f}"
    assert got["CRPS [dex]"] == got["CRPS of boosting + colours"] == f"{metrics['network']['crps']['value']:.4f}"
    assert got["PIT KS"] == f"{metrics['network']['pit_ks']['value']:.3f}"
