"""Tables of latents, densities and scores, under the three recalibrations."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from galmass import stores
from galmass.contrastive import calibration, embeddings, metrics
from galmass.errors import InputError

EDGES = np.linspace(4.0, 16.0, 61)
N = 4500  # more than two blocks of two thousand
K = 60


@pytest.fixture(scope="module")
def galaxies():
    """Densities with 1.8 times the true scatter, in float32 as a network gives them; latents that tell the mean."""
    g = np.random.default_rng(1)
    mean = g.uniform(8, 12, N)
    p = np.diff(stats.norm.cdf(EDGES, mean[:, None], 0.9))
    split = g.permutation(np.repeat(["train", "validation", "test"], N // 3))
    frame = pd.DataFrame({"galaxy_id": np.arange(N) + 10, "split": split, "log_mass": mean + 0.5 * g.normal(size=N)})
    frame = frame.set_index(np.arange(N)[::-1])  # labels of rows mean nothing
    latent = np.column_stack([mean, g.normal(size=N)]).astype(np.float32)
    return frame, latent, (p / p.sum(1, keepdims=True)).astype(np.float32)


def _nearest(latent, reference):
    """Indices among the reference rows of the K nearest in the first latent dimension."""
    return np.abs(latent[:, None, 0] - latent[None, reference, 0]).argpartition(K, axis=1)[:, :K]


def _embed(galaxies, method, frame=None):
    own, latent, density = galaxies
    options = {"method": method, "order": 4, "k": K}
    return embeddings.embed(own if frame is None else frame, latent, density, EDGES, options, lambda reference: _nearest(latent, reference))


@pytest.fixture(scope="module", params=("none", "smooth_pit", "local_pit"))
def embedded(request, galaxies):
    return request.param, *_embed(galaxies, request.param)


def with_floor(density) -> np.ndarray:
    """A millionth of every density is spread over its bins."""
    return ((1 - 1e-6) * density + 1e-6 / density.shape[1]).astype(np.float32)


def test_scores_are_those_of_the_recalibrated_density(embedded, galaxies):
    _, table, density, _ = embedded
    truth = galaxies[0]["log_mass"].to_numpy()
    assert density.shape == (N, 60)
    assert density.dtype == np.float32
    # densities are kept in float32, scores come from float64: 6e-8 a bin, 60 bins
    np.testing.assert_allclose(density.sum(1), 1, atol=4e-6)
    np.testing.assert_allclose(table["pit"], metrics.pit(density, EDGES, truth), atol=4e-6)
    np.testing.assert_allclose(table["crps"], metrics.crps(density, EDGES, truth), atol=5e-5)  # 4e-6 over 12 dex
    np.testing.assert_allclose(table["cross_entropy"], metrics.cross_entropy(density, EDGES, truth), rtol=1e-5)
    points = metrics.point_estimates(density, EDGES)
    for name in ("mean", "median", "mode"):
        # where the density is flat a change of 1e-7 moves a quantile by more than that, but not out of 1e-4 dex
        np.testing.assert_allclose(table[f"mass_{name}"], points[name], atol=1e-4)


def test_raw_scores_are_those_of_the_network(embedded, galaxies):
    _, table, _, _ = embedded
    frame, latent, density = galaxies
    truth = frame["log_mass"].to_numpy()
    np.testing.assert_allclose(table["pit_raw"], metrics.pit(density, EDGES, truth), atol=1e-12)
    np.testing.assert_allclose(table["crps_raw"], metrics.crps(density, EDGES, truth), atol=1e-12)
    for name in ("galaxy_id", "split", "log_mass"):
        np.testing.assert_array_equal(table[name], frame[name])
    np.testing.assert_array_equal(table[["latent_00", "latent_01"]], latent)


def test_recalibration_makes_held_out_pit_uniform(embedded):
    method, table, _, notes = embedded
    assert notes["method"] == method
    test = table[table["split"] == "test"]
    assert stats.kstest(test["pit_raw"], "uniform").statistic > 0.1
    if method == "none":
        np.testing.assert_allclose(table["pit"], table["pit_raw"], atol=1e-6)  # the floor
    else:
        assert notes["n_reference"] == N // 3
        # 1.95 / sqrt(n): once in a thousand, for the 1500 validation and the 1500 test galaxies
        assert stats.kstest(test["pit"], "uniform").statistic < 2 * 1.95 / np.sqrt(N // 3)
        assert test["crps"].mean() < test["crps_raw"].mean()


def test_none_leaves_the_density(galaxies):
    # 1e-6: the density is float32
    np.testing.assert_allclose(_embed(galaxies, "none")[1], with_floor(galaxies[2]), rtol=1e-6)


@pytest.mark.parametrize("method", ["none", "smooth_pit", "local_pit"])
def test_an_outlier_of_a_narrow_density_costs_finite_nats(galaxies, method):
    frame, latent, density = galaxies
    narrow = density.copy()
    narrow[0] = 0
    narrow[0, 30] = 1
    table, _, _ = _embed((frame.assign(log_mass=frame["log_mass"].where(frame.index != 0, EDGES[3] + 0.01)), latent, narrow), method)
    assert table["cross_entropy"][0] <= -np.log(1e-6 / narrow.shape[1]) + 1e-6


def test_smooth_pit_notes_reproduce_the_densities(galaxies):
    _, density, notes = _embed(galaxies, "smooth_pit")
    again = calibration.apply_smooth_pit(galaxies[2], notes["coefficients"])
    np.testing.assert_array_equal(density, with_floor(again))


def test_local_pit_uses_each_galaxys_own_neighbours(galaxies):
    table, density, notes = _embed(galaxies, "local_pit")
    reference = np.flatnonzero(table["split"] == "validation")
    neighbour_pit = table["pit_raw"].to_numpy()[reference][_nearest(galaxies[1], reference)]
    expected = calibration.apply_local_pit(galaxies[2], neighbour_pit)
    np.testing.assert_array_equal(density, with_floor(expected))
    assert notes["k"] == K


@pytest.mark.parametrize("method", ["smooth_pit", "local_pit"])
def test_masses_of_test_galaxies_do_not_leak_into_densities(galaxies, method):
    frame = galaxies[0].copy()
    frame.loc[frame["split"] == "test", "log_mass"] = 15.0
    frame.loc[frame["split"] == "train", "log_mass"] = 5.0
    np.testing.assert_array_equal(_embed(galaxies, method, frame)[1], _embed(galaxies, method)[1])


@pytest.mark.parametrize("method", ["smooth_pit", "local_pit"])
def test_no_validation_galaxies(galaxies, method):
    frame = galaxies[0].replace({"split": {"validation": "train"}})
    with pytest.raises(InputError, match=f"recalibration '{method}' needs validation galaxies"):
        _embed(galaxies, method, frame)
    assert len(_embed(galaxies, "none", frame)[0]) == N  # which needs none


def test_column_labels_are_complete(embedded, tmp_path):
    _, table, _, notes = embedded
    labels = embeddings.columns(2)
    assert list(table) == list(labels)
    assert all(label.description for label in labels.values())
    units = {name: label.unit for name, label in labels.items()}
    assert {units[name] for name in ("log_mass", "mass_mean", "mass_mode", "mass_median")} == {"dex(solMass)"}
    assert (units["crps"], units["cross_entropy"], units["pit"]) == ("dex", "nat", "")
    stores.write_table(tmp_path / "embeddings.parquet", table, labels, {"recalibration": notes})  # refuses what has no label
    pd.testing.assert_frame_equal(stores.read_table(tmp_path / "embeddings.parquet"), table, check_dtype=False)


def test_an_unknown_method_is_refused(galaxies):
    with pytest.raises(InputError, match="recalibration 'local' is unknown"):
        _embed(galaxies, "local")
