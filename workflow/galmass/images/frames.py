"""Corrected frames of SDSS: fluxes, and inverse variances from their sky, calibration, gain and dark variance.

The layout is that of the survey's data model `frame`: HDU 0 the sky-subtracted image in nanomaggies, HDU 1 the calibration
of every column in nanomaggies per count, HDU 2 the sky that was subtracted, in counts, on a coarse grid.
"""

import bz2
import io
import re
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from galmass.errors import InputError

BANDS = ("u", "g", "r", "i", "z")
N_ROW, N_COLUMN = 1489, 2048
FIELD_STEP = 1361  # rows from one field to the next: the last 128 rows of a frame are the first of the next
_NAME = re.compile(r"frame-([ugriz])-(\d{6})-([1-6])-(\d{4})\.fits(\.bz2)?$")

# electrons per count and variance in counts^2 of each camera column, ugriz: the table of the data model
_GAIN = {
    1: (1.62, 3.32, 4.71, 5.165, 4.745),
    2: (1.595, 3.855, 4.6, 6.565, 5.155),
    3: (1.59, 3.845, 4.72, 4.86, 4.885),
    4: (1.6, 3.995, 4.76, 4.885, 4.775),
    5: (1.47, 4.05, 4.725, 4.64, 3.48),
    6: (2.17, 4.035, 4.895, 4.76, 4.69),
}
_DARK_VARIANCE = {
    1: (9.61, 15.6025, 1.8225, 7.84, 0.81),
    2: (12.6025, 1.44, 1.0, 5.76, 1.0),
    3: (8.7025, 1.3225, 1.3225, 4.6225, 1.0),
    4: (12.6025, 1.96, 1.3225, 6.25, 9.61),
    5: (9.3025, 1.1025, 0.81, 7.84, 1.8225),
    6: (7.0225, 1.8225, 0.9025, 5.0625, 1.21),
}
# the electronics changed during the survey: (camera column, band): (first run after it, value after it)
_GAIN_LATER = {(2, "u"): (1100, 1.825)}
_DARK_VARIANCE_LATER = {(2, "i"): (1500, 6.25), (4, "i"): (1500, 7.5625), (4, "z"): (1500, 12.6025), (5, "z"): (1500, 2.1025)}


def _of_camera(table, later, run: int, camcol: int, band: str) -> float:
    first, value = later.get((camcol, band), (np.inf, np.nan))
    return value if run >= first else table[camcol][BANDS.index(band)]


def gain(run: int, camcol: int, band: str) -> float:
    """Electrons per count."""
    return _of_camera(_GAIN, _GAIN_LATER, run, camcol, band)


def dark_variance(run: int, camcol: int, band: str) -> float:
    """Variance of read-out and dark current [count^2]."""
    return _of_camera(_DARK_VARIANCE, _DARK_VARIANCE_LATER, run, camcol, band)


def file_name(band: str, run: int, camcol: int, field: int) -> str:
    """Name of a frame as the survey gives it."""
    return f"frame-{band}-{run:06d}-{camcol}-{field:04d}.fits.bz2"


def find(folder, band: str, run: int, camcol: int, field: int) -> Path | None:
    """A frame in a folder, packed or not; None where there is none."""
    packed = Path(folder) / file_name(band, run, camcol, field)
    return next((p for p in (packed.with_suffix(""), packed) if p.is_file()), None)


def fields_in(folder) -> list[tuple[int, int, int]]:
    """(run, camcol, field) of all frames in a folder, sorted."""
    found = {tuple(map(int, m.group(2, 3, 4))) for p in Path(folder).iterdir() if (m := _NAME.match(p.name))}
    return sorted(found)


@dataclass(frozen=True)
class Sky:
    """Sky on a coarse grid (n_y, n_x) [count], and the place of every frame column (n_column,) and row (n_row,) on it."""

    grid: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def __call__(self, rows: slice, columns: slice) -> np.ndarray:
        """Bilinear; beyond the grid the value at its edge."""
        along_y = _linear(self.grid, self.y[rows])
        return _linear(along_y.T, self.x[columns]).T


def _linear(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows of `values` (n, m) interpolated at `places` (k,), (k, m)."""
    places = np.clip(places, 0, len(values) - 1)
    low = np.minimum(places.astype(int), len(values) - 2)
    weight = (places - low)[:, None]
    return values[low] * (1 - weight) + values[low + 1] * weight


@dataclass(frozen=True)
class Frame:
    """One corrected frame.

    Attributes
    ----------
    image : float array (n_row, n_column) [nanomaggy]
    calibration : float array (n_column,) [nanomaggy / count]
    sky : Sky
    gain : float [electron / count]
    dark_variance : float [count^2]
    """

    path: Path
    band: str
    run: int
    camcol: int
    field: int
    image: np.ndarray = field(repr=False)
    calibration: np.ndarray = field(repr=False)
    sky: Sky = field(repr=False)
    gain: float
    dark_variance: float
    header: fits.Header = field(repr=False)

    @cached_property
    def wcs(self) -> WCS:
        """Celestial coordinates of the pixels."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)  # RADECSYS is an old name
            return WCS(self.header)

    def region(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Image [nanomaggy] and inverse variance [nanomaggy^-2] of a part of the frame, float64.

        The variance in counts is (image / calibration + sky) / gain + dark variance. The inverse variance is 0
        where image or calibration is no number, or the calibration or the variance is not positive.
        """
        image, calibration = self.image[rows, columns].astype(float), self.calibration[columns]
        with np.errstate(divide="ignore", invalid="ignore"):
            count = image / calibration + self.sky(rows, columns)
            variance = calibration**2 * (count / self.gain + self.dark_variance)
            good = np.isfinite(variance) & (variance > 0) & (calibration > 0)
            return image, np.where(good, 1 / variance, 0.0)


def read(path) -> Frame:
    """Read a corrected frame, packed by bzip2 or not.

    Raises
    ------
    InputError
        When the file is damaged, lacks coordinates, calibration or sky, or is not in nanomaggies.
    """
    path = Path(path)
    try:
        source = io.BytesIO(bz2.decompress(path.read_bytes())) if path.suffix == ".bz2" else path
        with fits.open(source, memmap=path.suffix != ".bz2") as hdus:
            frame = _frame(path, hdus)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; download the frame or set the folder of the frames") from error
    except Exception as error:  # bz2 and astropy raise many kinds on damaged files: all mean the same here
        raise InputError(f"{path} is no readable frame ({type(error).__name__}: {error}); delete it and download it again") from error
    _check_noise(frame)
    return frame


def _frame(path: Path, hdus) -> Frame:
    header = hdus[0].header
    _check_header(path, header)
    if len(hdus) < 3 or hdus[1].data is None or "ALLSKY" not in getattr(hdus[2], "columns", fits.ColDefs([])).names:
        raise InputError(f"{path} lacks the HDUs of calibration and sky (it has {len(hdus)}); take the file `frame` of the archive, not a cutout of it")
    image, calibration = hdus[0].data, np.asarray(hdus[1].data, float)
    band, run, camcol = header["FILTER"].strip(), int(header["RUN"]), int(header["CAMCOL"])
    grid, x, y = (np.asarray(hdus[2].data[name][0], float) for name in ("ALLSKY", "XINTERP", "YINTERP"))
    if len(calibration) != image.shape[1] or len(x) < image.shape[1] or len(y) < image.shape[0]:
        raise InputError(f"{path}: image {image.shape}, calibration {calibration.shape} and sky ({len(y)}, {len(x)}) do not belong together")
    sky = Sky(grid, x[: image.shape[1]], y[: image.shape[0]])
    # FRAME counts along each chip, and the chips of a column see a field one after the other, two frames apart
    field_number = int(header["FRAME"]) - 2 * "riuzg".index(band)
    electronics = gain(run, camcol, band), dark_variance(run, camcol, band)
    return Frame(path, band, run, camcol, field_number, image, calibration, sky, *electronics, header)


def _check_header(path: Path, header) -> None:
    missing = [key for key in ("CTYPE1", "CTYPE2", "CRPIX1", "CRVAL1", "CD1_1", "CD2_2") if key not in header]
    if missing:
        raise InputError(f"{path} has no celestial coordinates ({', '.join(missing)} missing in its header)")
    missing = [key for key in ("RUN", "CAMCOL", "FRAME", "FILTER") if key not in header]
    if missing:
        raise InputError(f"{path} does not say which frame it is ({', '.join(missing)} missing in its header)")
    if header["FILTER"].strip() not in BANDS or header["CAMCOL"] not in _GAIN:
        raise InputError(f"{path}: FILTER {header['FILTER']!r} and CAMCOL {header['CAMCOL']!r} are none of the survey's ugriz and 1-6")
    unit = header.get("BUNIT", "nanomaggy" if "NMGY" in header else "counts")  # early frames state the calibration alone
    if unit.strip() != "nanomaggy":
        raise InputError(f"{path} is in {unit.strip()!r}, not in nanomaggies; take a corrected, calibrated frame (DR8 or later)")


def _check_noise(frame: Frame) -> None:
    """An image in counts under a header that says nanomaggies has hundreds of times the noise of its calibration."""
    rows, columns = slice(None, None, 16), slice(None, None, 16)
    image, inverse_variance = frame.region(rows, columns)
    expected = 1 / inverse_variance[inverse_variance > 0]
    if not len(expected):
        raise InputError(f"{frame.path}: the inverse variance is zero everywhere; its calibration or its image holds no numbers")
    difference = np.diff(image, axis=1)
    noise = 1.4826 * np.nanmedian(np.abs(difference)) / np.sqrt(2)
    ratio = noise / np.sqrt(np.median(expected))
    if not 0.2 < ratio < 5:
        raise InputError(f"{frame.path}: the noise is {ratio:.3g} times what its sky, gain and calibration allow; the image is not in nanomaggies")


def read_named(folder, band: str, run: int, camcol: int, field: int) -> Frame | None:
    """A frame of a folder, checked to be the one that its name says; None where there is none."""
    path = find(folder, band, run, camcol, field)
    if path is None:
        return None
    frame = read(path)
    if (frame.band, frame.run, frame.camcol, frame.field) != (band, run, camcol, field):
        held = f"band {frame.band}, run {frame.run}, camcol {frame.camcol}, field {frame.field}"
        raise InputError(f"{path} holds {held}, not what its name says; delete it and download it again")
    return frame
