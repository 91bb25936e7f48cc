"""Cutouts: flux, place, noise and gaps of galaxies of known place and flux; the same pixels as reproject."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_frames import OFFSET, SHAPE, Source, hdus, read_all, wcs, write

from galmass.images import cutouts, frames

REAL = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere")) / "sdss_frames_2820-3-0122"
real = pytest.mark.skipif(not REAL.is_dir(), reason="GALMASS_REAL_DATA does not name a folder with sdss_frames_2820-3-0122")
N_PIX = 32
PLACES = np.array([[60.3, 50.8], [130.0, 110.5], [199.49, 170.2], [75.9, 171.6]])  # x, y in the r frame


def sources(**options):
    return [Source(*place, **options) for place in np.transpose(wcs("r").wcs_pix2world(*PLACES.T, 0))]


def positions(made) -> tuple[np.ndarray, np.ndarray]:
    return np.array([s.ra for s in made]), np.array([s.dec for s in made])


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Frames without noise: the tests of flux and place see the resampling alone."""
    folder = tmp_path_factory.mktemp("clean")
    found = {}
    for band in frames.BANDS:
        # a bright source in a frame without noise is not in the units of its noise: the check of the units is not for it
        found[band] = frames.read(write(folder, band, hdus(band, sources(), seed=1)))
        image = hdus(band, sources(), seed=None)[0].data
        found[band] = replace(found[band], image=image)
    return found


def centroid(image) -> np.ndarray:
    """x, y from the middle of the stamp [pixel]."""
    offset = np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2
    weight = image.sum((-1, -2))
    return np.stack([(image.sum(-2) @ offset) / weight, (image.sum(-1) @ offset) / weight], -1)


def test_flux_is_conserved_and_the_galaxy_is_in_the_middle(clean):
    image, _, mask = cutouts.cut(clean, *positions(sources()), frames.BANDS, N_PIX)
    assert not mask.any()
    # goals: 0.5 % and 0.05 pixel; what is left is the sampling of a Gaussian of two pixels
    np.testing.assert_allclose(image.sum((2, 3)), 100, rtol=2e-4)
    assert np.abs(centroid(image)).max() < 1e-3


@pytest.mark.parametrize("n_pix", [31, 32])
def test_the_middle_of_odd_and_even_stamps(clean, n_pix):
    image, _, _ = cutouts.cut(clean, *positions(sources()), ["r"], n_pix)
    assert np.abs(centroid(image)).max() < 1e-3


@pytest.mark.parametrize("n_pix", [31, 32])
def test_whole_pixels_leave_the_reference_band_alone(clean, n_pix):
    image, inverse_variance, _ = cutouts.cut(clean, *positions(sources()), ["r", "g"], n_pix, sub_pixel=False)
    for g, (x, y) in enumerate(PLACES):
        # the stamp's first pixel: its middle is as near to the galaxy as whole pixels allow
        x0, y0 = (round(place - (n_pix - 1) / 2) for place in (x, y))
        native, weight = clean["r"].region(slice(y0, y0 + n_pix), slice(x0, x0 + n_pix))
        np.testing.assert_allclose(image[g, 0], native, atol=1e-5)
        np.testing.assert_allclose(inverse_variance[g, 0], weight, rtol=1e-5)
    shift = centroid(image)
    assert np.abs(shift).max() <= 0.501
    np.testing.assert_allclose(shift[:, 1], shift[:, 0], atol=2e-3)  # the bands lie on one grid


@pytest.mark.parametrize("band", ["u", "g", "z"])
def test_local_maps_are_the_whole_transformation(band):
    """Along the stamps the affine map is the tangential projections' own to a thousandth of a pixel."""
    reference, other = wcs("r"), wcs(band)
    frame = lambda name, celestial: type("", (), {"wcs": celestial, "path": name})()  # noqa: E731
    maps = cutouts.local_maps(frame("r", reference), frame(band, other), *reference.wcs_pix2world(*PLACES.T, 0), 64)
    offset = np.array([[-31.5, -31.5], [31.5, -31.5], [10.0, 31.5]])
    for g, place in enumerate(PLACES):
        exact = np.stack(other.wcs_world2pix(*reference.wcs_pix2world(*(place + offset).T, 0), 0), -1)
        np.testing.assert_allclose(maps.centre[g] + offset @ maps.matrix[g].T, exact, atol=1e-5)
    turned = np.degrees(np.arctan2(maps.matrix[:, 0, 1], maps.matrix[:, 0, 0]))
    np.testing.assert_allclose(turned, OFFSET[band][2], atol=1e-5)


def test_equal_to_reproject(clean):
    """reproject's spline of the same degree, at the places of the full coordinates."""
    reproject = pytest.importorskip("reproject", reason="reproject is not installed")
    image, _, _ = cutouts.cut(clean, *positions(sources()), frames.BANDS, N_PIX)
    for g, (x, y) in enumerate(PLACES):
        target = wcs("r")
        target.wcs.crpix += (N_PIX - 1) / 2 - np.array([x, y])
        for b, band in enumerate(frames.BANDS):
            theirs, _ = reproject.reproject_interp((clean[band].image, clean[band].wcs), target, (N_PIX, N_PIX), order="bicubic")
            area = np.linalg.det(wcs("r").wcs.cd) / np.linalg.det(wcs(band).wcs.cd)
            # image holds float32 and the stamp's spline ends 12 pixels from its edge
            np.testing.assert_allclose(image[g, b], theirs * area, atol=1e-5 * image.max())


def test_spline_noise_in_closed_form():
    """Half way between samples the cardinal cubic spline has the variance of an infinite sum of its weights."""
    k = np.arange(30)
    pole = np.sqrt(3) - 2
    coefficients = -6 * pole / (1 - pole**2) * pole ** np.abs(k)  # of the inverse of (1, 4, 1) / 6
    weights = np.array([1, 23, 23, 1]) / 48  # B-spline at 1.5, 0.5, 0.5, 1.5
    full = np.convolve(np.concatenate([coefficients[:0:-1], coefficients]), weights)
    np.testing.assert_allclose(cutouts._noise_factor(np.array([0.5, 7.5, -0.5, 3.0])), [np.sum(full**2)] * 3 + [1], rtol=1e-9)


def test_inverse_variance_is_that_of_the_resampled_pixels(tmp_path):
    field = read_all(tmp_path, seed=3)
    shift = np.random.default_rng(4).uniform(-20, 20, (40, 2))
    ra, dec = wcs("r").wcs_pix2world(*(np.array(SHAPE[::-1]) / 2 + shift).T, 0)
    image, inverse_variance, _ = cutouts.cut(field, ra, dec, frames.BANDS, 96)
    chi2 = (image**2 * inverse_variance).mean((0, 2, 3))
    # 96 x 96 overlapping pixels of one noise: 2 % scatter, and 3 % in u (see the frames' own test)
    np.testing.assert_allclose(chi2, 1, atol=0.07)


def test_gaps_are_masked_and_do_not_ring(clean):
    frame = clean["r"]
    image = frame.image.copy()
    x, y = np.round(PLACES[1]).astype(int)
    image[y + 3, x - 2] = np.nan
    broken = clean | {"r": replace(frame, image=image)}
    place = positions(sources()[1:2])
    whole, found = cutouts.cut(clean, *place, ["r"], N_PIX), cutouts.cut(broken, *place, ["r"], N_PIX)
    mask = found[2][0, 0].astype(bool)
    assert 9 <= mask.sum() <= 16
    assert not mask[N_PIX // 2 - 4 : N_PIX // 2 + 1, N_PIX // 2 + 1 :].any()
    assert (found[0][0, 0][mask] == 0).all()
    assert (found[1][0, 0][mask] == 0).all()
    difference = np.abs(found[0] - whole[0])[0, 0][~mask]
    # one pixel of the flank of a galaxy is replaced by its neighbour: next to the mask a tenth of the step is left
    assert difference.max() < 0.05 * whole[0].max()


def test_stamps_over_the_edge_are_masked_there(clean):
    ra, dec = wcs("r").wcs_pix2world([3.0, 130.0, 2000.0], [100.0, 228.0, 2000.0], 0)
    image, inverse_variance, mask = cutouts.cut(clean, ra, dec, ["r"], N_PIX)
    left = np.arange(N_PIX) - 15.5 + 3.0 < 0
    np.testing.assert_array_equal(mask[0, 0], np.broadcast_to(left, (N_PIX, N_PIX)))
    top = np.arange(N_PIX) - 15.5 + 228.0 > SHAPE[0] - 1
    np.testing.assert_array_equal(mask[1, 0], np.broadcast_to(top[:, None], (N_PIX, N_PIX)))
    assert mask[2].all()
    assert np.isfinite(image).all()
    assert ((inverse_variance > 0) == (mask == 0)).all()


def test_a_band_that_is_missing_is_masked(clean):
    without = {band: clean[band] for band in "ugri"}
    image, _, mask = cutouts.cut(without, *positions(sources()), frames.BANDS, N_PIX)
    assert mask.all((0, 2, 3)).tolist() == [False] * 4 + [True]
    assert not image[:, 4].any()
    assert cutouts.cut({"g": clean["g"]}, *positions(sources()), "g", N_PIX)[2].all()  # no grid without the reference


def test_galaxies_near_the_ends_of_a_field_are_taken_from_the_next():
    row, field = [5.0, 47.0, 49.0, 700.0, 1440.0, 1442.0, 5.0], [10, 10, 10, 10, 10, 10, 1]
    used, there = cutouts.field_to_use(row, field, 64)
    assert used.tolist() == [9, 9, 10, 10, 10, 11, 1]
    assert there.tolist() == [1366.0, 1408.0, 49.0, 700.0, 1440.0, 81.0, 5.0]
    again, _ = cutouts.field_to_use(there[:-1], used[:-1], 64)
    np.testing.assert_array_equal(again, used[:-1])  # nobody is sent back


# --- real frames -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def field():
    return {band: frames.read_named(REAL, band, 2820, 3, 122) for band in frames.BANDS}


@pytest.fixture(scope="module")
def stars(field):
    """Point sources of the r frame, bright but not saturated, and alone: ra, dec."""
    detection = pytest.importorskip("galmass.images.detection", reason="sep is not installed")
    found = detection.sources(field["r"])
    keep = found["kron_mag_r"].between(15.7, 18.0) & found["r50_r"].between(0.5, 0.62) & found["x"].between(60, 1980) & found["y"].between(60, 1420)
    return field["r"].wcs.wcs_pix2world(found["x"][keep], found["y"][keep], 0)


@real
def test_aperture_fluxes_of_real_cutouts_and_frames(field, stars):
    """Goal: flux within 0.5 %."""
    sep = pytest.importorskip("sep", reason="sep is not installed")
    image, _, _ = cutouts.cut(field, *stars, frames.BANDS, 64)
    for b, band in enumerate("ugriz"):
        native = np.ascontiguousarray(field[band].image, np.float32)
        x, y = field[band].wcs.wcs_world2pix(*stars, 0)
        there, _, _ = sep.sum_circle(native, x, y, 10.0, subpix=0)
        here = np.array([sep.sum_circle(np.ascontiguousarray(i[b]), [31.5], [31.5], 10.0, subpix=0)[0][0] for i in image])
        bright = there > 20
        assert np.abs(here / there - 1)[bright].max() < 0.005
        assert bright.sum() >= (3 if band == "u" else 15)


@real
@pytest.mark.parametrize("band", frames.BANDS)
def test_registration_of_real_cutouts(field, stars, band):
    """A star lies as far from the middle of its stamp as it lies from the place that its frame's coordinates give.

    Goal: 0.05 pixel. Between bands the coordinates themselves differ by up to 0.17 pixel (median of 16 stars), the
    astrometry of the survey.
    """
    sep = pytest.importorskip("sep", reason="sep is not installed")
    image, _, _ = cutouts.cut(field, *stars, [band], 31)
    place = np.array(field[band].wcs.wcs_world2pix(*stars, 0))
    native = np.array(sep.winpos(np.ascontiguousarray(field[band].image, np.float32), *place, 1.3)[:2]) - place
    here = np.array([sep.winpos(np.ascontiguousarray(i[0]), [15.0], [15.0], 1.3)[:2] for i in image])[..., 0].T - 15
    assert np.abs(here - native).max() < 0.01
    assert np.abs(np.median(here, axis=1)).max() < 0.15


@real
def test_noise_of_real_cutouts(field):
    """Blank stamps: median absolute deviation against the inverse variance."""
    generator = np.random.default_rng(5)
    ra, dec = field["r"].wcs.wcs_pix2world(generator.uniform(60, 1980, 60), generator.uniform(60, 1420, 60), 0)
    image, inverse_variance, mask = cutouts.cut(field, ra, dec, frames.BANDS, 48)
    assert not mask.any()
    chi = image * np.sqrt(inverse_variance)
    spread = 1.4826 * np.median(np.abs(chi - np.median(chi, axis=(2, 3), keepdims=True)), axis=(0, 2, 3))
    # the native pixels have 0.96 to 1.03; the frames' noise is slightly correlated, which the spline cannot know
    np.testing.assert_allclose(spread, 1, atol=0.08)
