"""Training and use of a model of images: the same bytes again, exact resumption, files, what it learns."""

import json

import numpy as np
import pytest
import torch

from galmass import stores
from galmass.contrastive import models, training
from galmass.contrastive.modalities import Images, Modality, bin_edges
from galmass.contrastive.sources import open_stores
from galmass.contrastive.stamps import Stamps
from galmass.errors import InputError
from galmass.images import store

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),  # Lightning's own
]
EDGES = bin_edges([8.0, 12.0], 0.25)
N, N_TRAIN = 160, 128
OPTICAL = Images("optical", ("g", "r"), 8)
MODALITIES = {
    "Iopt": Modality("Iopt", (), (), {"ebv": "linear"}, (OPTICAL,)),
    "bare": Modality("bare", (), (), {}, (Images("optical", ("r",), 8),)),
    "IoptMir": Modality("IoptMir", ("mag_g", "mag_r"), ("err_r",), {"ebv": "linear", "z": "log"}, (OPTICAL,)),
    "Ioptnorm": Modality("Ioptnorm", (), (), {"ebv": "linear"}, (Images("optical", ("g", "r"), 8, "petro_flux"),)),
}


@pytest.fixture(scope="module")
def frame(catalogue):
    """Galaxies with the fluxes of their magnitudes."""
    table = catalogue(N, 0).assign(galaxy_id=[f"J{i:03d}" for i in range(N)])
    return table.assign(**{f"petro_flux_{b}": 10 ** (-0.4 * (table[f"mag_{b}"] - 22.5)) for b in "gr"})


@pytest.fixture(scope="module")
def cutouts(frame, tmp_path_factory):
    """Round exponential galaxies of their magnitudes, with noise, 8 x 8 pixels in g and r."""
    g, path = np.random.default_rng(1), tmp_path_factory.mktemp("store") / "images.zarr"
    y, x = np.mgrid[:8, :8] - 3.5
    form = np.exp(-np.hypot(x, y)) / np.exp(-np.hypot(x, y)).sum()
    image = frame[["petro_flux_g", "petro_flux_r"]].to_numpy()[:, :, None, None] * form + g.normal(0, 0.05, (N, 2, 8, 8))
    with stores.replacing(path) as part:
        writer = store.create(part, N, ["g", "r"], 8, 0.4)
        writer.write(0, image, np.full_like(image, 400), np.zeros(image.shape), list(frame["galaxy_id"]))
        writer.close()
    return {"optical": store.open(path)}


@pytest.fixture
def image_options(options) -> dict:
    """Options of photometry with those of images beside them."""
    return options | {"images": {"channels": 4, "stretch": "noise", "window": 40, "readers": 1, "main_latent": 3, "batch_size": 8}}


@pytest.fixture
def run(frame, cutouts):
    """Function (options, scratch, ...) -> model and history."""

    def go(options, scratch, name="Iopt", seed=3, frames=(frame[:N_TRAIN], frame[N_TRAIN:])):
        return training.train(*frames, MODALITIES[name], EDGES, options, seed, scratch, cutouts=cutouts)

    return go


def _saved(model, path) -> bytes:
    models.save(path, model)
    return path.read_bytes()


@pytest.mark.parametrize("name", MODALITIES)
def test_every_kind_of_modality_trains_predicts_and_is_saved(name, run, frame, cutouts, image_options, tmp_path):
    model, history = run(image_options | {"max_steps": 10}, tmp_path / "s", name)
    assert [row["step"] for row in history] == [5, 10]
    latent, density = model.predict(frame, cutouts)
    assert (latent.shape, density.shape) == ((N, 3), (N, 16))
    np.testing.assert_allclose(density.sum(1), 1, atol=1e-6)
    content = _saved(model, tmp_path / "m")
    again = models.load(tmp_path / "m")
    assert _saved(again, tmp_path / "again") == content
    assert (again.modality, again.scaling, again.standardisation) == (model.modality, model.scaling, model.standardisation)
    for a, b in zip(again.predict(frame[N_TRAIN:], cutouts), model.predict(frame[N_TRAIN:], cutouts), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_same_seed_gives_the_same_bytes_whatever_the_readers(run, image_options, tmp_path):
    one = _saved(run(image_options, tmp_path / "a")[0], tmp_path / "a.safetensors")
    torch.manual_seed(99)
    assert _saved(run(image_options, tmp_path / "b")[0], tmp_path / "b.safetensors") == one
    more = image_options | {"images": image_options["images"] | {"readers": 2}}
    models.save(tmp_path / "c", model := run(more, tmp_path / "c-scratch")[0])
    first = models.load(tmp_path / "a.safetensors").network.state_dict()
    assert all(torch.equal(first[name], value.cpu()) for name, value in model.network.state_dict().items())


class _InterruptedError(Exception):
    pass


@pytest.mark.parametrize("step", [3, 10, 13])
def test_interrupted_and_started_again_ends_the_same(step, run, image_options, tmp_path, monkeypatch):
    model, history = run(image_options, tmp_path / "whole")
    usual = training.History.on_train_batch_end

    def interrupting(self, trainer, *rest):
        if trainer.global_step == step:
            raise _InterruptedError
        usual(self, trainer, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(training.History, "on_train_batch_end", interrupting)
        with pytest.raises(_InterruptedError):
            run(image_options, tmp_path / "interrupted")
    resumed, resumed_history = run(image_options, tmp_path / "interrupted")
    assert resumed_history == history
    assert _saved(resumed, tmp_path / "r") == _saved(model, tmp_path / "m")


def test_options_of_images_hold_for_images_alone(image_options):
    photometry = Modality("M", ("mag_g",), (), {})
    assert models.options_of(photometry, image_options) == {name: value for name, value in image_options.items() if name != "images"}
    assert models.options_of(photometry, image_options | {"images": {}}) == models.options_of(photometry, image_options)
    merged = models.options_of(MODALITIES["Iopt"], image_options)
    assert (merged["main_latent"], merged["batch_size"], merged["width"], merged["channels"]) == (3, 8, 8, 4)
    assert "images" not in merged


def test_photometry_is_trained_the_same_beside_options_of_images(frame, modality, options, image_options, tmp_path):
    frames = frame[:N_TRAIN], frame[N_TRAIN:]
    one, two = (training.train(*frames, modality, EDGES, o, 3, tmp_path / str(i))[0] for i, o in enumerate((options, image_options)))
    assert _saved(one, tmp_path / "one") == _saved(two, tmp_path / "two")


def test_the_header_of_a_photometric_model_knows_no_images(frame, modality, options, tmp_path):
    model, _ = training.train(frame[:N_TRAIN], frame[N_TRAIN:], modality, EDGES, options | {"max_steps": 5}, 3, tmp_path / "s")
    models.save(tmp_path / "m", model)
    size = int.from_bytes((content := (tmp_path / "m").read_bytes())[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["galmass"])
    assert header.keys() == {"format", "modality", "standardisation", "edges", "notes", "sha256"}
    assert header["modality"].keys() == {"name", "values", "errors", "scalars"}


def test_training_learns_from_images_alone(run, frame, cutouts, image_options, tmp_path):
    options = image_options | {"learning_rate": 0.01, "max_steps": 200, "validate_every": 50}
    options |= {"images": options["images"] | {"batch_size": 32, "window": 1000}}
    model, _ = run(options, tmp_path)
    # masses uniform over 8 of the 16 bins: ln 8 nat is what their histogram alone would cost
    assert model.notes["validation_cross_entropy"] < np.log(8) - 0.3
    estimate = model.predict(frame[N_TRAIN:], cutouts)[1] @ ((EDGES[1:] + EDGES[:-1]) / 2)
    assert np.corrcoef(estimate, frame["log_mass"][N_TRAIN:])[0, 1] > 0.8


def test_predictions_are_the_networks_on_stamps(run, frame, cutouts, image_options, tmp_path):
    model, _ = run(image_options | {"max_steps": 5}, tmp_path, "IoptMir")
    latent, _ = model.predict(frame, cutouts)
    images = Stamps(frame, model.modality, cutouts, model.scaling).read(np.arange(N))
    beside = np.hstack(model.standardisation.apply(*model.modality.arrays(frame)))
    expected = model.network.cpu().encode(images, torch.from_numpy(beside))[0].detach()
    np.testing.assert_allclose(latent, expected, rtol=1e-4, atol=1e-5)  # float32, batches of another size


def test_images_that_were_not_given_are_named(run, frame, image_options, tmp_path):
    with pytest.raises(InputError, match="modality Iopt needs the optical images; given are those of: none"):
        training.train(frame[:N_TRAIN], frame[N_TRAIN:], MODALITIES["Iopt"], EDGES, image_options, 3, tmp_path)
    model, _ = run(image_options | {"max_steps": 5}, tmp_path)
    with pytest.raises(InputError, match="modality Iopt needs the optical images"):
        model.predict(frame)


def test_other_images_start_the_training_afresh(run, frame, cutouts, image_options, tmp_path):
    run(image_options | {"max_steps": 5}, tmp_path)
    other = store.open(cutouts["optical"].path)
    other.sha256 = other.sha256 | {"image": ["other"]}
    training.train(frame[:N_TRAIN], frame[N_TRAIN:], MODALITIES["Iopt"], EDGES, image_options | {"max_steps": 5}, 3, tmp_path, cutouts={"optical": other})
    assert len(list(tmp_path.glob("*/last.ckpt"))) == 2


def test_stores_that_a_modality_does_not_read_stay_closed(cutouts, tmp_path):
    paths = {"optical": cutouts["optical"].path, "infrared": tmp_path / "nowhere"}
    assert list(open_stores(MODALITIES["Iopt"], paths)) == ["optical"]
