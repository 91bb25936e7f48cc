"""Corrected frames: the noise that they should have, and every way in which a file is no frame."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.interpolate import RegularGridInterpolator
from synthetic_frames import CALIBRATION, CAMCOL, FIELD, RUN, SHAPE, Source, hdus, read_all, wcs, write

from galmass.errors import InputError
from galmass.images import frames

REAL = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere"))
real = pytest.mark.skipif(not (REAL / "sdss_frames_2820-3-0122").is_dir(), reason="GALMASS_REAL_DATA does not name a folder with sdss_frames_2820-3-0122")
ALL = (slice(None), slice(None))


def test_electronics_of_the_data_model():
    assert frames.gain(2820, 3, "r") == 4.72
    assert (frames.gain(1000, 2, "u"), frames.gain(2820, 2, "u")) == (1.595, 1.825)
    assert frames.dark_variance(2820, 3, "u") == 8.7025
    assert (frames.dark_variance(1499, 5, "z"), frames.dark_variance(1501, 5, "z")) == (1.8225, 2.1025)


def test_names_and_folders(tmp_path):
    assert frames.file_name("g", 94, 6, 7) == "frame-g-000094-6-0007.fits.bz2"
    for name in ("frame-g-000094-6-0007.fits.bz2", "frame-r-000094-6-0007.fits", "frame-r-000094-6-0008.fits.bz2.part"):
        (tmp_path / name).touch()
    assert frames.fields_in(tmp_path) == [(94, 6, 7)]
    assert frames.find(tmp_path, "r", 94, 6, 7).name == "frame-r-000094-6-0007.fits"
    assert frames.find(tmp_path, "u", 94, 6, 7) is None


def test_sky_is_bilinear_and_constant_beyond_its_grid():
    generator = np.random.default_rng(1)
    grid, x, y = generator.random((5, 7)), np.linspace(-0.5, 6.5, 30), np.linspace(-0.5, 4.5, 20)
    independent = RegularGridInterpolator((np.arange(5), np.arange(7)), grid)
    expected = independent(np.stack(np.meshgrid(np.clip(y, 0, 4), np.clip(x, 0, 6), indexing="ij"), -1))
    np.testing.assert_allclose(frames.Sky(grid, x, y)(*ALL), expected, rtol=1e-12)
    np.testing.assert_allclose(frames.Sky(grid, x, y)(slice(3, 9), slice(4, 30, 3)), expected[3:9, 4:30:3], rtol=1e-12)


@pytest.mark.parametrize("packed", [True, False])
def test_a_frame_comes_back(tmp_path, packed):
    made = hdus("g", [Source(38.3, -0.1)])
    frame = frames.read(write(tmp_path, "g", made, packed=packed))
    assert (frame.band, frame.run, frame.camcol, frame.field) == ("g", RUN, CAMCOL, FIELD)
    np.testing.assert_array_equal(frame.image, made[0].data)
    np.testing.assert_allclose(frame.wcs.wcs_pix2world(7, 9, 0), wcs("g").wcs_pix2world(7, 9, 0), rtol=1e-12)


def test_inverse_variance_is_that_of_counts(tmp_path):
    frame = read_all(tmp_path, [Source(38.3, -0.1, 300.0)], bands="i")["i"]
    image, inverse_variance = frame.region(slice(20, 90), slice(30, 200))
    calibration = CALIBRATION["i"] * (1 + 0.05 * np.sin(np.arange(30, 200)))
    electrons = (image / calibration + frame.sky(slice(20, 90), slice(30, 200))) * 4.86
    np.testing.assert_allclose(1 / inverse_variance, calibration**2 * (electrons / 4.86**2 + 4.6225), rtol=1e-5)


@pytest.mark.parametrize("band", frames.BANDS)
def test_noise_has_the_variance_that_is_claimed(tmp_path, band):
    image, inverse_variance = read_all(tmp_path, bands=band)[band].region(*ALL)
    # 60 000 pixels: chi^2 per pixel is 1 within 0.6 % (1 sigma); taking the variance from the noisy counts adds up to 3 / (gain^2 variance) = 3 %
    assert np.mean(image**2 * inverse_variance) == pytest.approx(1, abs=0.045)


def test_pixels_without_a_number_have_no_weight(tmp_path):
    calibration = np.full(SHAPE[1], CALIBRATION["r"])
    calibration[5], calibration[6] = 0, np.nan
    made = hdus("r", calibration=np.full(SHAPE[1], CALIBRATION["r"]))
    made[1].data = calibration.astype(np.float32)
    made[0].data[3, 4] = np.nan
    _, inverse_variance = frames.read(write(tmp_path, "r", made)).region(*ALL)
    gaps = np.zeros(SHAPE, bool)
    gaps[:, 5:7], gaps[3, 4] = True, True
    np.testing.assert_array_equal(inverse_variance == 0, gaps)


def spoil(made: fits.HDUList, how: str) -> fits.HDUList:
    header = made[0].header
    if how == "no sky":
        return made[:2]
    if how == "no coordinates":
        del header["CD*"]
    elif how == "no name":
        del header["RUN"]
    elif how == "unit":
        header["BUNIT"] = "counts"
    elif how == "no unit":
        del header["BUNIT"], header["NMGY"]
    elif how == "counts":
        made[0].data /= CALIBRATION["r"]
    elif how == "no weight":
        made[1].data[:] = 0
    elif how == "cut":
        made[0].data = made[0].data[:, :100]
    elif how == "filter":
        header["FILTER"] = "Y"
    return made


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no sky", "lacks the HDUs of calibration and sky"),
        ("no coordinates", r"no celestial coordinates \(CD1_1, CD2_2 missing"),
        ("no name", "does not say which frame"),
        ("unit", "in 'counts', not in nanomaggies"),
        ("no unit", "in 'counts', not in nanomaggies"),
        ("counts", "noise is .* times what its sky"),
        ("no weight", "inverse variance is zero everywhere"),
        ("cut", "do not belong together"),
        ("filter", "none of the survey's"),
    ],
)
def test_what_is_no_frame_is_named(tmp_path, how, message):
    path = write(tmp_path, "r", spoil(hdus("r"), how))
    with pytest.raises(InputError, match=message) as caught:
        frames.read(path)
    assert path.name in str(caught.value)


def test_early_frames_state_only_the_calibration(tmp_path):
    made = hdus("r")
    del made[0].header["BUNIT"]
    assert frames.read(write(tmp_path, "r", made)).band == "r"


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", None])
def test_damaged_files(tmp_path, content):
    path = write(tmp_path, "r", hdus("r"), packed=True)
    path.write_bytes(path.read_bytes()[:20000] if content is None else content)
    with pytest.raises(InputError, match=r"no readable frame .* download it again"):
        frames.read(path)
    with pytest.raises(InputError, match="does not exist"):
        frames.read(tmp_path / "nowhere.fits.bz2")


def test_a_frame_under_a_wrong_name(tmp_path):
    write(tmp_path, "r", hdus("g"))
    with pytest.raises(InputError, match="holds band g"):
        frames.read_named(tmp_path, "r", RUN, CAMCOL, FIELD)
    assert frames.read_named(tmp_path, "u", RUN, CAMCOL, FIELD) is None


@real
@pytest.mark.parametrize("band", frames.BANDS)
def test_noise_of_real_frames(band):
    frame = frames.read_named(REAL / "sdss_frames_2820-3-0122", band, 2820, 3, 122)
    assert frame.image.shape == (frames.N_ROW, frames.N_COLUMN)
    image, inverse_variance = frame.region(slice(None, None, 3), slice(None, None, 3))
    chi = image * np.sqrt(inverse_variance)
    # measured 0.96 (u) to 1.03 (i); the tabulated gains are averages over two amplifiers
    assert 1.4826 * np.median(np.abs(chi - np.median(chi))) == pytest.approx(1, abs=0.06)


@real
def test_a_real_frame_with_few_pixels():
    frame = frames.read(REAL / "sdss_frame_small_tractor" / "frame-r-001000-1-0100.fits.bz2")
    assert (frame.run, frame.camcol, frame.field, frame.image.shape) == (1000, 1, 100, (100, 100))
    with fits.open(REAL / "sdss_frame_small_tractor" / "psField-001000-1-0100.fit") as hdus_:
        measured = hdus_[6].data
        assert frame.gain == pytest.approx(float(measured["gain"][0][2]))
        assert frame.dark_variance == pytest.approx(float(measured["dark_variance"][0][2]))
