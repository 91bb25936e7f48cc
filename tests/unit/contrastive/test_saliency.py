"""Occlusion of networks whose answer is known: a mass that is a sum over chosen pixels."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from galmass import devices, stores
from galmass.contrastive.modalities import Images, Modality, Standardisation, bin_edges
from galmass.contrastive.models import Model
from galmass.contrastive.saliency import Occlusion, occlusion, patches, profile
from galmass.contrastive.sources import open_stores
from galmass.contrastive.stamps import ImageScaling
from galmass.errors import InputError
from galmass.images import store

N, N_PIX = 9, 8
EDGES = bin_edges([8.0, 12.0], 0.5)
MODALITY = Modality("I", (), (), {"ebv": "linear"}, (Images("optical", ("g", "r"), N_PIX),))


class WeighedPixels(nn.Module):
    """Mean of the density = 10 + sum of weight x pixel: half a dex between the two bins about 10."""

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("weight", torch.as_tensor(weight, dtype=torch.float32))

    def encode(self, images, context):
        return (images * self.weight).sum((1, 2, 3))[:, None], context

    def estimate(self, main):
        # bins 3 and 4 are centred on 9.75 and 10.25: the odds p / (1 - p) that give the mean
        p = (main[:, 0] / 0.5 + 0.5).clamp(1e-6, 1 - 1e-6)
        logits = torch.full((len(main), 8), -1e4)
        return torch.stack([*logits.T[:3], (1 - p).log(), p.log(), *logits.T[5:]], 1)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setattr(devices, "best_device", lambda: torch.device("cpu"))


@pytest.fixture(scope="module")
def frame():
    g = np.random.default_rng(0)
    return pd.DataFrame({"galaxy_id": [f"J{i}" for i in range(N)], "ebv": g.uniform(0, 0.1, N)})


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(0.5, 1.5, (N, 2, N_PIX, N_PIX)).astype(np.float32)


@pytest.fixture(scope="module")
def cutouts(frame, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "images.zarr"
    with stores.replacing(path) as part:
        writer = store.create(part, N, ["g", "r"], N_PIX, 0.4)
        writer.write(0, images, np.ones_like(images), np.zeros(images.shape), list(frame["galaxy_id"]))
        writer.close()
    return open_stores(MODALITY, {"optical": path})


@pytest.fixture(scope="module")
def weight():
    """Only the central 2 x 2 pixels of g, and one corner of r, matter."""
    weight = np.zeros((2, N_PIX, N_PIX))
    weight[0, 3:5, 3:5], weight[1, 0, 0] = 0.02, -0.03
    return weight


@pytest.fixture
def model(weight, frame):
    standardisation = Standardisation.fit(*MODALITY.arrays(frame), MODALITY)
    return Model(WeighedPixels(weight), MODALITY, standardisation, EDGES, {}, ImageScaling([0.0] * 2, [1.0] * 2, [1.0] * 2))


def _seen(images):
    return np.log1p(images)


@pytest.mark.parametrize("band", [None, 0, 1])
def test_occlusion_takes_away_what_the_patch_held(model, frame, cutouts, images, weight, band):
    found = occlusion(model, frame, cutouts, size=2, stride=2, band=band)
    held = weight * _seen(images)
    held = held.sum(1) if band is None else held[:, band]
    expected = -held.reshape(N, 4, 2, 4, 2).sum((2, 4))
    assert found.first.tolist() == [0, 2, 4, 6]
    np.testing.assert_allclose(found.shift, expected, atol=1e-5)  # a mass near 10 in float32


def test_many_galaxies_are_taken_in_parts(model, frame, cutouts, monkeypatch):
    expected = occlusion(model, frame, cutouts, 4, 4).shift
    monkeypatch.setattr("galmass.contrastive.saliency.AT_A_TIME", 4)
    np.testing.assert_array_equal(occlusion(model, frame, cutouts, 4, 4).shift, expected)


@pytest.mark.parametrize(
    ("n_pix", "size", "stride", "first"),
    [(8, 2, 2, [0, 2, 4, 6]), (8, 8, 1, [0]), (8, 4, 4, [0, 4]), (8, 4, 2, [0, 2, 4]), (10, 4, 4, [0, 3, 6]), (64, 8, 8, list(range(0, 64, 8)))],
)
def test_patches_cover_the_image_symmetrically(n_pix, size, stride, first):
    found = patches(n_pix, size, stride)
    assert found.tolist() == first
    assert found[0] == 0
    assert found[-1] + size == n_pix
    assert (found + found[::-1] == n_pix - size).all()


@pytest.mark.parametrize(("size", "stride"), [(0, 1), (9, 1), (4, 0), (2, 3)])
def test_patches_that_do_not_cover_are_refused(size, stride):
    with pytest.raises(InputError, match=r"must be ordered 0 < stride <= size <= 8 pixels"):
        patches(8, size, stride)


def test_maps_are_means_over_covering_patches():
    shift = np.arange(9.0).reshape(1, 3, 3)
    maps = Occlusion(shift, np.array([0, 2, 4]), 4, 8).maps()[0]
    assert maps[0, 0] == 0  # the first patch alone
    assert maps[7, 7] == 8
    assert maps[0, 3] == (0 + 1) / 2
    assert maps[3, 3] == (0 + 1 + 3 + 4) / 4
    np.testing.assert_array_equal(Occlusion(np.ones((2, 3, 3)), np.array([0, 2, 4]), 4, 8).maps(), 1)


def test_profile_finds_the_radius():
    y, x = np.mgrid[:64, :64] - 31.5
    radius, mean = profile(np.where(np.hypot(x, y) < 8, -2.0, 0.0)[None], n_ring=8)
    assert radius.tolist() == [4, 8, 12, 16, 20, 24, 28, 32]
    assert mean.tolist() == [2, 2, 0, 0, 0, 0, 0, 0]


def test_photometry_has_no_image_to_hide(frame):
    model = Model(nn.Identity(), Modality("M", ("a",), (), {}), Standardisation([0.0], [[1.0]], [], []), EDGES, {})
    with pytest.raises(InputError, match="modality M has no images"):
        occlusion(model, frame, {}, 2, 2)


def test_images_that_were_not_given_are_named(model, frame):
    with pytest.raises(InputError, match="modality I needs the optical images"):
        occlusion(model, frame, {}, 2, 2)
