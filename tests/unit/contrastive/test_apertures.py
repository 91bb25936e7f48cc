"""Aperture magnitudes: closed forms, and baselines of images that need no pixel."""

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from galmass import stores
from galmass.contrastive import apertures, baselines
from galmass.contrastive.modalities import Images, Modality
from galmass.contrastive.sources import flux_floor, fluxes, rows_of
from galmass.errors import InputError
from galmass.images import store

N, N_PIX = 300, 16
DISC = np.hypot(*np.meshgrid(np.arange(N_PIX) - 7.5, np.arange(N_PIX) - 7.5)) < 7
FLAT = Images("optical", ("g", "r"), N_PIX)


@pytest.fixture(scope="module")
def frame():
    g = np.random.default_rng(0)
    table = pd.DataFrame({"galaxy_id": [f"J{i}" for i in range(N)], "ebv": g.uniform(0, 0.1, N), "petro_flux_g": g.lognormal(4, 0.5, N)})
    return table.assign(petro_flux_r=2 * table["petro_flux_g"], log_mass=10 + 0.9 * np.log(table["petro_flux_g"]))


@pytest.fixture(scope="module")
def cutouts(frame, tmp_path_factory):
    """Flat discs of the galaxies' fluxes on a dark sky with a little noise."""
    path = tmp_path_factory.mktemp("store") / "images.zarr"
    image = frame[["petro_flux_g", "petro_flux_r"]].to_numpy()[:, :, None, None] * DISC / DISC.sum()
    image += np.random.default_rng(1).normal(0, 1e-3, image.shape)
    with stores.replacing(path) as part:
        writer = store.create(part, N, ["g", "r"], N_PIX, 0.4)
        writer.write(0, image, np.ones_like(image), np.zeros(image.shape), list(frame["galaxy_id"]))
        writer.close()
    return {"optical": store.open(path)}


def test_asinh_magnitudes_are_pogson_far_above_the_softening_and_linear_at_zero():
    bright = np.array([1e4, 3e6])
    np.testing.assert_allclose(apertures.asinh_magnitude(bright, 1.0), -2.5 * np.log10(bright), atol=1e-7)  # (softening / flux)^2
    step = apertures.asinh_magnitude(np.array([-0.01, 0.0, 0.01]), 0.5)
    np.testing.assert_allclose(np.diff(step), -1.0857 * 0.01 / (2 * 0.5), rtol=1e-3)  # arcsinh x = x - x^3 / 6


def test_aperture_columns_hold_the_magnitudes(frame, cutouts):
    modality = Modality("I", (), (), {"ebv": "linear"}, (FLAT,))
    (train, test), photometric = apertures.measured([frame[:200], frame[200:]], modality, cutouts)
    assert photometric.images == ()
    assert photometric.values == tuple(f"aperture_optical_{b}_{i}" for b in "gr" for i in range(3))
    assert (len(train), len(test)) == (200, 100)
    shares = DISC.ravel() @ apertures.inside(N_PIX) / DISC.sum()
    assert shares[2] == 1
    for band in "gr":
        for i, share in enumerate(shares):
            expected = -2.5 * np.log10(test[f"petro_flux_{band}"] * share)
            # noise of 1e-3 a pixel and less than 200 of them on fluxes of 0.6 at least: 0.025 mag at most; five standard
            # deviations of the typical galaxy. The softening, 1e-3 sqrt(200), is far below
            np.testing.assert_allclose(test[f"aperture_optical_{band}_{i}"], expected, atol=0.025)


def test_areas_of_the_apertures():
    # a pixel on the circle counts whole or not: at most half of those on the perimeter too many
    for n_pix in (16, 64):
        expected = np.pi * np.square(apertures.RADII) * n_pix**2
        np.testing.assert_allclose(apertures.inside(n_pix).sum(0), expected, atol=np.pi * n_pix / 2)


def test_normalised_images_give_no_brightness(frame, cutouts):
    modality = Modality("I", (), (), {"ebv": "linear"}, (Images("optical", ("g", "r"), N_PIX, "petro_flux"),))
    (train, _), photometric = apertures.measured([frame[:200], frame[200:]], modality, cutouts)
    # but for the faintest, whose flux is the floor: all images are the same disc of flux one
    assert np.ptp(np.quantile(train[photometric.values[2]], [0.02, 0.98])) < 0.02


def test_photometry_is_left_alone(frame):
    modality = Modality("M", ("petro_flux_g",), (), {})
    frames, same = apertures.measured([frame, frame], modality, None)
    assert same is modality
    assert frames[0] is frame


def test_baselines_of_images(frame, cutouts):
    modality = Modality("I", (), (), {"ebv": "linear"}, (FLAT,))
    with threadpool_limits(1):
        table, columns = baselines.table(frame[:200], frame[200:], modality, 0, 1, cutouts)
    assert list(table) == list(columns)
    assert table["galaxy_id"].tolist() == frame["galaxy_id"][200:].tolist()
    # the mass is linear in the magnitude; noise of 0.01 mag in the largest aperture, 0.9 / 1.0857 dex per mag
    assert np.abs(table["ridge_mean"] - frame["log_mass"][200:].to_numpy()).max() < 0.05


def test_one_value_has_no_colours():
    assert baselines.with_colours(np.ones((4, 1))).shape == (4, 0)


def test_rows_of_names_what_is_lost(cutouts):
    assert rows_of(np.array(["J7", "J0", "J7"]), cutouts["optical"]).tolist() == [7, 0, 7]
    with pytest.raises(InputError, match="no image of 2 galaxies, the first of them A"):
        rows_of(np.array(["J7", "A", "Z"]), cutouts["optical"])


def test_fluxes_and_their_floor(frame):
    modality, normalised = Modality("I", (), (), {}, (FLAT,)), Images("optical", ("g", "r"), N_PIX, "petro_flux")
    assert flux_floor(frame, FLAT, modality) == [0, 0]
    assert (fluxes(frame, FLAT, [0, 0]) == 1).all()
    expected = np.maximum(frame[["petro_flux_g", "petro_flux_r"]], [50.0, 60.0])
    np.testing.assert_allclose(fluxes(frame, normalised, [50.0, 60.0]), expected, rtol=1e-6)  # float32
