"""Held-out densities: folds, ensembles side by side, resume, what cross-fitting may not see."""

import copy

import numpy as np
import pytest
import torch

from galmass.contrastive import density, ensembles, folds
from galmass.contrastive.models import build_network
from galmass.contrastive.networks import MixtureEstimator
from galmass.errors import InputError
from galmass.plan import density_options

PLAN = {"folds": 2, "ensemble": 2, "validation": 0.2}


@pytest.fixture
def mi(options):
    """Options of a network that learns in a fraction of a second."""
    return options | {"extra_latent": 0, "weight_decay": 0.0, "max_steps": 60, "validate_every": 20, "learning_rate": 0.02}


def fitted(catalogue, modality, edges, mi, folder, n=300, seed=1, code=""):
    return density.cross_fitted(catalogue(n, 3), modality, edges, mi, PLAN, seed, folder, code)


def test_folds_depend_on_the_galaxy_alone():
    ids = [f"galaxy{i}" for i in range(2000)]
    fold = folds.assign(ids, 4, 7)
    assert np.array_equal(folds.assign(ids[::-3], 4, 7), fold[::-3])
    assert np.bincount(fold, minlength=4) == pytest.approx(500, abs=80)  # four standard deviations
    assert not np.array_equal(folds.assign(ids, 4, 8), fold)


def test_parts_of_a_fold_are_apart_and_cover_everything():
    ids = np.arange(500)
    fold = folds.assign(ids, 3, 1)
    for f, parts in enumerate(folds.divide(ids, fold, 0.2, 1)):
        assert np.array_equal(np.sort(np.concatenate(parts)), ids)
        assert (fold[parts[2]] == f).all()
        assert len(parts[1]) / (len(parts[0]) + len(parts[1])) == pytest.approx(0.2, abs=0.08)


def test_too_few_galaxies_for_the_folds_are_named():
    with pytest.raises(InputError, match=r"lower information\.folds"):
        folds.divide([1, 2, 3], np.array([0, 1, 2]), 0.01, 1)


def test_information_training_overrides_and_nothing_is_left_for_a_decoder(options):
    training = {"width": 99, "images": {"width": 7}}
    modalities = {"M": {}, "I": {"images": {"n_pix": 8}}}
    config = {"contrastive": options | {"images": {"stretch": "noise", "width": 3}}, "information": {"training": training}, "modalities": modalities}
    photometry, images = (density_options(config, name) for name in "MI")
    assert (photometry["width"], images["width"], images["stretch"]) == (99, 7, "noise")
    assert photometry["extra_latent"] == images["extra_latent"] == 0
    assert not {"images", "loss_weights", "stretch"} & set(photometry)


def test_members_side_by_side_are_what_each_would_be_alone(modality, edges, mi):
    networks = [build_network(modality, edges, mi, seed) for seed in (1, 2, 3)]
    g = torch.Generator().manual_seed(0)
    values, context = torch.randn(3, 5, 2, generator=g), torch.randn(3, 5, 3, generator=g)
    alone = torch.stack([ensembles.MassDensity(copy.deepcopy(n))(v, c) for n, v, c in zip(networks, values, context, strict=True)])
    together = ensembles.Ensemble(copy.deepcopy(networks))(values, context)
    single = ensembles.Ensemble([networks[1]])(values[1:2], context[1:2])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(single, alone[1:2])
    torch.testing.assert_close(together.exp().sum(-1), torch.ones(3, 5))


def test_normal_components_hold_a_normal_density_and_logistic_ones_do_not():
    edges = torch.linspace(-5, 5, 101)
    expected = torch.special.ndtr(edges / 0.8).diff()
    distance = {}
    for component in ("normal", "logistic"):
        estimator = MixtureEstimator(1, edges, 2, 1, component)
        estimator.parameters_of.weight.data.zero_()
        found = []
        for scale in np.arange(0.3, 1.0, 0.01):
            estimator.parameters_of.bias.data.copy_(torch.tensor([0.0, 0.0, np.log(scale)]))
            found.append(float((expected * (expected.clamp_min(1e-12).log() - estimator(torch.zeros(1, 1)).detach())).sum()))
        distance[component] = min(found)
    assert distance["normal"] < 0.0006  # the share that is spread over all bins, and its cost in the wings
    assert distance["logistic"] > 0.008


def test_gradients_are_clipped_member_by_member():
    weights = {"a": torch.ones(2, 3), "b": torch.ones(2, 2, 2)}
    for w, gradient in zip(weights.values(), (torch.tensor([[3.0, 0, 0], [0.3, 0, 0]]), torch.zeros(2, 2, 2)), strict=True):
        w.grad = gradient
    weights["b"].grad[0, 0, 0] = 4.0
    ensembles.clip(weights, 1.0)
    assert float(weights["a"].grad[0].norm() ** 2 + weights["b"].grad[0].norm() ** 2) == pytest.approx(1, abs=1e-5)
    assert weights["a"].grad[1].tolist() == pytest.approx([0.3, 0, 0])


@pytest.mark.parametrize("changed", [{}, {"component": "normal"}, {"network": "paper"}], ids=["logistic", "normal", "paper"])
def test_losses_are_those_of_all_bins_without_what_was_filled_up(modality, edges, mi, changed):
    ensemble = ensembles.Ensemble([build_network(modality, edges, mi | changed, seed) for seed in (1, 2)])
    g, n_bin = torch.Generator().manual_seed(0), len(edges) - 1
    values, context = 3 * torch.randn(2, 50, 2, generator=g), torch.randn(2, 50, 3, generator=g)
    mass_bin = torch.randint(n_bin, (2, 50), generator=g)
    mass_bin[:, :2] = torch.tensor([0, n_bin - 1])
    expected = -ensemble(values, context).gather(-1, mass_bin[..., None])[..., 0]
    torch.testing.assert_close(ensemble.losses(values, context, mass_bin), expected, rtol=1e-4, atol=1e-4)
    mass_bin[1, 7:] = -1
    found = ensemble.losses(values, context, mass_bin)
    assert (found[1, 7:] == 0).all()
    torch.testing.assert_close(found[1, :7], expected[1, :7], rtol=1e-4, atol=1e-4)


def test_every_galaxy_gets_a_value_from_every_member_and_it_is_better_than_the_prior(catalogue, modality, edges, mi, tmp_path):
    found, notes = fitted(catalogue, modality, edges, mi, tmp_path)
    assert found["nll"].shape == found["mass_mean"].shape == (300, 2)
    assert np.isfinite(found["nll"]).all()
    assert found["nll"].mean() < np.log(8) - 0.5  # masses are uniform over eight of the bins
    mass = catalogue(300, 3)["log_mass"].to_numpy()
    assert np.abs(found["mass_mean"].mean(1) - mass).mean() < 0.25
    assert [(m["fold"], m["member"]) for m in notes["members"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({m["seed"] for m in notes["members"]}) == 4


def test_masses_of_a_fold_do_not_reach_its_own_networks(catalogue, modality, edges, mi, tmp_path):
    frame = catalogue(300, 3)
    first, _ = density.cross_fitted(frame, modality, edges, mi, PLAN, 1, tmp_path / "a")
    inside = first["fold"] == 0
    frame.loc[inside, "log_mass"] = 9.0 + frame.loc[inside, "log_mass"].to_numpy()[::-1] / 10
    second, _ = density.cross_fitted(frame, modality, edges, mi, PLAN, 1, tmp_path / "b")
    assert np.array_equal(first["mass_mean"][inside], second["mass_mean"][inside])
    assert not np.array_equal(first["mass_mean"][~inside], second["mass_mean"][~inside])


class Killed(Exception):
    pass


def test_killed_and_started_again_ends_the_same(catalogue, modality, edges, mi, tmp_path, monkeypatch):
    whole, notes = fitted(catalogue, modality, edges, mi, tmp_path / "whole")
    step, calls = ensembles._step, []

    def killed_at_30(*arguments):
        calls.append(1)
        if len(calls) == 30:
            raise Killed
        return step(*arguments)

    monkeypatch.setattr(ensembles, "_step", killed_at_30)
    with pytest.raises(Killed):
        fitted(catalogue, modality, edges, mi, tmp_path / "killed")
    resumed, notes_again = fitted(catalogue, modality, edges, mi, tmp_path / "killed")
    assert len(calls) == 30 + 40  # 20 of the 29 steps were kept
    assert np.array_equal(whole["nll"], resumed["nll"])
    assert notes == notes_again


def test_an_edit_of_code_or_seed_starts_afresh(catalogue, modality, edges, mi, tmp_path):
    fitted(catalogue, modality, edges, mi, tmp_path)
    fitted(catalogue, modality, edges, mi, tmp_path, code="other")
    fitted(catalogue, modality, edges, mi, tmp_path, seed=2)
    assert len(list(tmp_path.glob("*.ckpt"))) == 3


def test_training_stops_when_no_member_gets_better(catalogue, modality, edges, mi, tmp_path):
    frozen = mi | {"learning_rate": 1e-12, "patience": 1, "max_steps": 2000}
    data = density.PhotometryData(catalogue(200, 1), modality, edges, [(np.arange(150), np.arange(150, 200), np.arange(0))], density.members(1, 1, 1), 16)
    ensemble = ensembles.Ensemble([build_network(modality, edges, frozen, 1)])
    best, history = ensembles.train(ensemble, data, frozen, "stamp", tmp_path / "a.ckpt", "label")
    assert history[-1]["step"] <= 200
    assert history[-1]["step"] - int(best["step"]) == 20


def test_a_training_that_runs_away_is_named(catalogue, modality, edges, mi, tmp_path):
    with pytest.raises(InputError, match=r"lower information.training.learning_rate"):
        fitted(catalogue, modality, edges, mi | {"learning_rate": 1e30}, tmp_path)


def test_store_gives_the_galaxies_back(catalogue, modality, edges, mi, tmp_path):
    from galmass import stores
    from galmass.information import densities

    frame = catalogue(300, 3)
    found, notes = fitted(catalogue, modality, edges, mi, tmp_path)
    notes |= {"plan": PLAN, "seed": 1, "sha256": stores.write_arrays(tmp_path / "a.zarr", density.labelled(frame, found))}
    stores.write_json(tmp_path / "a.json", notes)
    tables, plan = densities.read({"M": tmp_path / "a.zarr"}, {"M": tmp_path / "a.json"})
    assert plan == PLAN
    assert list(tables["M"]["galaxy_id"]) == [str(i) for i in frame["galaxy_id"]]
    assert np.array_equal(tables["M"]["nll"], found["nll"])
