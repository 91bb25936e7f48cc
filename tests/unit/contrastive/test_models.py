"""Model files: the same predictions and bytes again, and nothing foreign is believed."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from galmass import devices
from galmass.contrastive import models
from galmass.contrastive.modalities import Standardisation
from galmass.errors import InputError


@pytest.fixture(params=["compact", "paper"])
def model(request, catalogue, modality, edges, options):
    return _model(catalogue, modality, edges, options | {"network": request.param})


@pytest.fixture
def compact_model(catalogue, modality, edges, options):
    return _model(catalogue, modality, edges, options)


def _model(catalogue, modality, edges, options):
    standardisation = Standardisation.fit(*modality.arrays(catalogue(50, 0)), modality)
    network = models.build_network(modality, edges, options, seed=7)
    return models.Model(network, modality, standardisation, edges, {"options": options, "best_step": 5, "left_out": {"z not measured": 2}})


def test_predictions_are_the_networks_on_standardised_columns(model, catalogue, modality):
    frame = catalogue(20, 1)
    latent, density = model.predict(frame)
    values, context = (torch.from_numpy(x) for x in model.standardisation.apply(*modality.arrays(frame)))
    main, _ = model.network.cpu().encode(values, context)
    logits = model.network.estimate(main).detach().double().numpy()
    assert latent.shape == (20, 2)
    np.testing.assert_allclose(latent, main.detach(), rtol=1e-5, atol=1e-6)  # float32, and a GPU where there is one
    np.testing.assert_allclose(density, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rtol=1e-4)
    np.testing.assert_allclose(density.sum(1), 1, atol=1e-6)


def test_many_galaxies_are_predicted_in_parts(compact_model, catalogue, monkeypatch):
    frame, sizes, encode = catalogue(9000, 2), [], compact_model.network.encode
    monkeypatch.setattr(compact_model.network, "encode", lambda v, c: (sizes.append(len(v)), encode(v, c))[1])
    latent, density = compact_model.predict(frame)
    assert sum(sizes) == len(latent) == len(density) == 9000
    assert max(sizes) < 2 * 4096
    rows = [0, 4499, 4500, 8999]
    few = compact_model.predict(frame.iloc[rows])
    # the order of sums in a matrix product depends on its size: float32
    np.testing.assert_allclose(latent[rows], few[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(density[rows], few[1], rtol=1e-4, atol=1e-7)


def test_round_trip(model, catalogue, tmp_path):
    models.save(tmp_path / "m.safetensors", model)
    again = models.load(tmp_path / "m.safetensors")
    for a, b in zip(model.predict(catalogue(30, 1)), again.predict(catalogue(30, 1)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (again.modality, again.standardisation, again.notes) == (model.modality, model.standardisation, model.notes)
    np.testing.assert_array_equal(again.edges, model.edges)


def test_the_same_model_is_the_same_file(model, tmp_path):
    files = [tmp_path / name for name in ("a", "b", "c")]
    models.save(files[0], model)
    models.save(files[1], model)
    models.save(files[2], models.load(files[0]))
    one, two, three = (f.read_bytes() for f in files)
    assert one == two == three
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]  # no scratch file is left


def test_the_file_is_plain_safetensors_with_a_json_header(compact_model, tmp_path):
    models.save(tmp_path / "m", compact_model)
    with safe_open(str(tmp_path / "m"), "pt") as file:
        header = json.loads(file.metadata()["galmass"])
        assert torch.equal(file.get_tensor("encoder.0.weight"), compact_model.network.encoder[0].weight)
    assert header["format"] == models.FORMAT
    assert header["notes"] == compact_model.notes


@pytest.mark.parametrize("metadata", [None, {}, {"galmass": json.dumps({"format": "galmass contrastive model 0"})}], ids=["none", "empty", "older"])
def test_a_foreign_safetensors_file_is_refused(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(InputError, match=r"foreign.safetensors is no 'galmass contrastive model 1'"):
        models.load(path)


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_is_refused_and_not_executed(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(_Bomb(tmp_path / "executed")))
    with pytest.raises(InputError, match=r"model.safetensors is no safetensors file"):
        models.load(path)
    assert not (tmp_path / "executed").exists()
    pickle.loads(path.read_bytes()).close()  # it would have gone off
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_file_is_refused(compact_model, tmp_path, share):
    models.save(path := tmp_path / "model.safetensors", compact_model)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"model.safetensors is no safetensors file"):
        models.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.safetensors"):
        models.load(tmp_path / "nowhere.safetensors")


def test_weights_come_from_the_seed_alone(modality, edges, options):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = models.build_network(modality, edges, options, seed=5)
    assert torch.equal(torch.get_rng_state(), state)  # the global random state is untouched
    torch.manual_seed(1)
    two, other = (models.build_network(modality, edges, options, seed=s) for s in (5, 6))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert not torch.equal(one.encoder[0].weight, other.encoder[0].weight)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_predictions_agree_with_those_of_the_cpu(compact_model, catalogue, monkeypatch):
    frame = catalogue(50, 1)
    on_gpu = compact_model.predict(frame)
    monkeypatch.setattr(devices, "best_device", lambda: torch.device("cpu"))
    # float32 sums in another order
    for a, b in zip(on_gpu, compact_model.predict(frame), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_flipped_bit_in_the_weights_is_refused(compact_model, tmp_path):
    path = tmp_path / "model.safetensors"
    models.save(path, compact_model)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="holds other weights than were written"):
        models.load(path)
