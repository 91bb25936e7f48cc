"""Simulated images: light, size, shape, place and noise against closed forms, and the same bytes from any number of processes."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from galmass.errors import InputError
from galmass.images import rendering, store

BANDS = ("u", "g", "r", "i", "z")
ENTRY = {
    "bands": list(BANDS),
    "n_pix": 32,
    "pixel_scale_arcsec": 0.396,
    "psf_fwhm_arcsec": dict(zip(BANDS, (1.5, 1.4, 1.3, 1.25, 1.25), strict=True)),
    "sky_noise": dict(zip(BANDS, (0.05, 0.02, 0.03, 0.045, 0.12), strict=True)),
    "electrons": dict(zip(BANDS, (250.0, 900.0, 1000.0, 750.0, 150.0), strict=True)),
    "neighbours_per_arcmin2": 4.0,
}
SHARP = rendering.Instrument(("r",), 256, 0.1, {"r": 0.3}, {"r": 0.01}, {"r": 1000.0}, 0.0)


@pytest.fixture(scope="module")
def truth():
    """Eighty galaxies as a simulation would give them."""
    n, generator = 80, np.random.default_rng(2)
    columns = {"galaxy_id": [f"MOCK{i:08d}" for i in range(n)], "axis_ratio": generator.uniform(0.2, 1, n), "position_angle": generator.uniform(0, 180, n)}
    for i, band in enumerate(BANDS):
        columns[f"true_mag_{band}"] = generator.normal(17 - 0.3 * i, 0.5, n)
        columns[f"true_r50_{band}"] = np.exp(generator.normal(1.1, 0.3, n))
        columns[f"true_sersic_n_{band}"] = generator.uniform(0.6, 5.5, n)
    columns["true_mag_w1"] = generator.normal(14, 0.5, n)
    return pd.DataFrame(columns)


@pytest.fixture(scope="module")
def instrument():
    return rendering.Instrument.from_config(ENTRY)


def offsets(n_pix):
    """Pixels from the middle of a stamp, x and y."""
    along = np.arange(n_pix) - (n_pix - 1) / 2
    return np.meshgrid(along, along)


@pytest.mark.parametrize("sersic_n", [0.6, 1.0, 2.0, 4.0, 6.0])
def test_half_of_the_light_falls_inside_the_half_light_radius(sersic_n):
    """Round galaxy, R50 = 3 arcsec, pixels of 0.1: 5 % of the light per pixel of radius at most, so 1 % by where the edge cuts pixels."""
    image = SHARP.draw(rendering.galaxy(2.0, 3.0, sersic_n, 1.0, 0.0), "r")
    x, y = offsets(256)
    assert image[np.hypot(x, y) * 0.1 < 3.0].sum() == pytest.approx(1.0, rel=0.02)


def test_the_share_of_the_bulge_rises_with_the_sersic_index():
    shares = rendering.bulge_fraction(np.array([0.3, 0.6, 1.0, 4.0, 6.0, 9.0]))
    np.testing.assert_allclose(shares, [0, 0, np.log(1 / 0.6) / np.log(10), np.log(4 / 0.6) / np.log(10), 1, 1], atol=1e-12)


def test_a_disc_is_the_exponential_that_its_formula_gives():
    """Pure disc far from its centre, I = I0 exp(-1.678 R / R50), an ellipse of q = 0.5 at 30 degrees."""
    image = SHARP.draw(rendering.galaxy(1.0, 3.0, 0.6, 0.5, np.radians(30)), "r")
    x, y = (0.1 * a for a in offsets(256))
    along, across = x * np.cos(np.radians(30)) + y * np.sin(np.radians(30)), y * np.cos(np.radians(30)) - x * np.sin(np.radians(30))
    radius, b = np.hypot(along, across / 0.5), 1.678347
    expected = b**2 / (2 * np.pi * 0.5 * 3.0**2) * np.exp(-b * radius / 3.0) * 0.1**2
    ring = (radius > 1.5) & (radius < 6)
    # the PSF of 0.3 arcsec lifts the wings along the minor axis, where the light falls off in 0.9 arcsec, by 2 %
    np.testing.assert_allclose(image[ring], expected[ring], rtol=0.03)


def test_a_galaxy_keeps_its_light_and_sits_in_the_middle_at_its_angle():
    image = SHARP.draw(rendering.galaxy(5.0, 1.0, 2.5, 0.4, np.radians(120)), "r")
    x, y = offsets(256)
    weight = image / image.sum()
    # the wings of the bulge reach over the edge: 12.8 arcsec are 13 half-light radii
    assert image.sum() == pytest.approx(5.0, rel=0.03)
    assert np.sum(weight * x) == pytest.approx(0, abs=0.02)
    assert np.sum(weight * y) == pytest.approx(0, abs=0.02)
    xx, xy, yy = (np.sum(weight * np.exp(-np.hypot(x, y) / 20) * a) for a in (x * x, x * y, y * y))
    assert np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)) % 180 == pytest.approx(120, abs=1)


def test_each_band_has_its_own_light_and_size(truth, instrument):
    row = (
        truth.iloc[0].to_dict()
        | {"axis_ratio": 1.0}
        | {f"true_r50_{b}": 1.0 + 0.3 * i for i, b in enumerate(BANDS)}
        | {f"true_sersic_n_{b}": 0.6 for b in BANDS}
    )
    images = rendering.noiseless(row, replace(instrument, n_pix=64))
    assert images.shape == (5, 64, 64)
    for image, band in zip(images, BANDS, strict=True):
        # 12.7 arcsec are six half-light radii of the largest: an exponential leaves 0.1 %, the Moffat's wings 0.5 %
        assert image.sum() == pytest.approx(10 ** (-0.4 * (row[f"true_mag_{band}"] - 22.5)), rel=0.01)
    x, y = offsets(64)
    inside = [image[np.hypot(x, y) < 4].sum() / image.sum() for image in images[2:]]  # r, i, z: nearly one PSF
    assert inside[0] > inside[1] > inside[2]


def test_pixels_are_those_of_galsims_own_accuracy(truth, instrument):
    """Against the same models at GalSim's default accuracy: 5 % of the sky's noise, in galaxies a hundred times brighter."""
    import galsim

    for row in truth.iloc[:6].to_dict("records"):
        image = rendering.noiseless(row, instrument)[2]
        flux = 10 ** (-0.4 * (row["true_mag_r"] - 22.5))
        share = float(rendering.bulge_fraction(row["true_sersic_n_r"]))
        size = row["true_r50_r"] * np.interp(share, *rendering._disc_sizes())
        angle, q = row["position_angle"] * galsim.degrees, row["axis_ratio"]
        # galsim's shear keeps the area: the radius along the major axis is R / sqrt(q) of a round one
        disc = galsim.Exponential(half_light_radius=size * np.sqrt(q)).shear(q=q, beta=angle) * flux * (1 - share)
        bulge = galsim.DeVaucouleurs(half_light_radius=0.5 * size * np.sqrt((1 + q) / 2)).shear(q=(1 + q) / 2, beta=angle) * flux * share
        seen = galsim.Convolve(disc + bulge, galsim.Moffat(beta=3.5, fwhm=1.3))
        np.testing.assert_allclose(image, seen.drawImage(nx=32, ny=32, scale=0.396).array, atol=0.05 * 0.03)


def test_noise_is_that_of_sky_and_gain_and_the_inverse_variance_is_estimated_from_the_image(truth, instrument):
    """20 galaxies without neighbours: 102 400 pulls of variance 1, standard error 0.0044; five of those."""
    alone = replace(instrument, neighbours_per_arcmin2=0.0)
    pulls = []
    for i, row in enumerate(truth.iloc[:20].to_dict("records")):
        image, inverse_variance = rendering.render(row, alone, [1, i])
        clean = rendering.noiseless(row, alone)
        sky = np.array(list(ENTRY["sky_noise"].values()))[:, None, None]
        electrons = np.array(list(ENTRY["electrons"].values()))[:, None, None]
        pulls.append((image - clean) / np.sqrt(sky**2 + np.maximum(clean, 0) / electrons))
        np.testing.assert_allclose(inverse_variance, 1 / (sky**2 + image / electrons), rtol=1e-5)
    assert np.var(pulls) == pytest.approx(1, abs=0.022)
    assert np.mean(pulls) == pytest.approx(0, abs=0.016)


def test_where_the_estimated_variance_is_negative_nothing_is_known(truth, instrument):
    """A tenth of an electron per nanomaggy: the fainter pixels of sky go below."""
    weak = replace(instrument, electrons=dict.fromkeys(instrument.bands, 0.1), neighbours_per_arcmin2=0.0)
    image, inverse_variance = rendering.render(truth.iloc[0].to_dict(), weak, 1)
    sky = np.array([weak.sky_noise[band] for band in weak.bands])[:, None, None]
    np.testing.assert_array_equal(inverse_variance == 0, sky**2 + image / 0.1 <= 0)
    assert 0.1 < np.mean(inverse_variance == 0) < 0.9
    assert np.isfinite(inverse_variance).all()


def test_neighbours_come_as_often_and_as_bright_as_said(instrument):
    """400 stamps of 0.0446 square arcminutes at 40 an arcminute: 714 expected, Poisson; magnitudes exponential with scale 1 / (0.35 ln 10)."""
    crowded = replace(instrument, neighbours_per_arcmin2=40.0)
    generator = np.random.default_rng(3)
    found = [one for _ in range(400) for one in rendering.neighbours(crowded, generator)]
    assert len(found) == pytest.approx(400 * 40 * (32 * 0.396 / 60) ** 2, abs=5 * np.sqrt(714))
    assert np.mean([21.5 - one["r"] for one in found]) == pytest.approx(1 / (0.35 * np.log(10)), rel=0.2)
    assert np.mean([one["star"] for one in found]) == pytest.approx(0.5, abs=0.1)
    assert max(abs(p) for one in found for p in one["position"]) <= crowded.size_arcsec / 2


def test_neighbours_add_light(truth, instrument):
    row = truth.iloc[0].to_dict()
    crowded, alone = (rendering.render(row, replace(instrument, neighbours_per_arcmin2=density), 4)[0] for density in (200.0, 0.0))
    assert (crowded - alone).sum() > 5


def test_the_store_has_the_same_bytes_from_one_or_two_processes(truth, tmp_path):
    for processes in (1, 2):
        rendering.write(tmp_path / f"{processes}.zarr", truth, ENTRY, 7, processes)
    one, two = (store.open(tmp_path / f"{processes}.zarr") for processes in (1, 2))
    for field in ("image", "inverse_variance"):
        np.testing.assert_array_equal(getattr(one, field)(np.arange(len(truth))), getattr(two, field)(np.arange(len(truth))))
    assert list(one.galaxy_id) == list(truth["galaxy_id"])
    assert (one.bands, one.n_pix, one.pixel_scale_arcsec, one.metadata["unit"]) == (list(BANDS), 32, 0.396, "nanomaggy")
    assert not one.mask(np.arange(len(truth))).any()
    fewer = truth.iloc[:40]
    rendering.write(tmp_path / "fewer.zarr", fewer, ENTRY, 7)
    np.testing.assert_array_equal(store.open(tmp_path / "fewer.zarr").image(np.arange(40)), one.image(np.arange(40)))


def test_another_seed_gives_other_noise(truth, instrument):
    row = truth.iloc[0].to_dict()
    assert not np.array_equal(rendering.render(row, instrument, [1, 0])[0], rendering.render(row, instrument, [2, 0])[0])


def test_memory_does_not_grow_with_the_number_of_galaxies(truth, instrument):
    """Peak of 2 and of 8 batches of images: what grows is 100 bytes a galaxy of the truth, a batch of one band is 0.5 MB."""
    peaks, one_band = [], replace(instrument, bands=("r",))
    for copies in (1, 4):
        many = pd.concat([truth.iloc[:64]] * copies)
        tracemalloc.start()
        for _ in rendering.batches(many, one_band, 1, 1):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_infrared_bands_have_the_shape_of_the_reddest_optical_one(truth):
    entry = ENTRY | {
        "bands": ["w1"],
        "n_pix": 16,
        "pixel_scale_arcsec": 1.375,
        "psf_fwhm_arcsec": {"w1": 6.1},
        "sky_noise": {"w1": 1.0},
        "electrons": {"w1": 50.0},
    }
    image = rendering.noiseless(truth.iloc[0].to_dict(), rendering.Instrument.from_config(entry))
    assert image.shape == (1, 16, 16)
    # a Moffat of 6 arcsec leaves 10 % outside 22 arcsec
    assert image.sum() == pytest.approx(10 ** (-0.4 * (truth["true_mag_w1"][0] - 22.5)), rel=0.15)


def test_what_lacks_is_named(truth, tmp_path):
    with pytest.raises(InputError, match=r"images\.sky_noise has no positive value for the bands u, z"):
        rendering.Instrument.from_config(ENTRY | {"sky_noise": {"u": 0.0, "g": 0.02, "r": 0.03, "i": 0.04}})
    with pytest.raises(InputError, match="the truth lacks the columns true_mag_z"):
        rendering.write(tmp_path / "none.zarr", truth.drop(columns="true_mag_z"), ENTRY, 1)
    assert not list(tmp_path.iterdir())
