"""Cutouts of galaxies from frames: every band on the pixel grid of the reference band, flux conserved, noise and gaps with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from galmass.errors import InputError
from galmass.images.frames import FIELD_STEP, N_ROW, Frame

REFERENCE = "r"  # the band whose pixel grid all others are brought to
_MARGIN = 12  # pixels around a stamp that its spline sees: the weight of a pixel falls by 0.268 per pixel, to 1e-7
_BAND_OFFSET = 16  # rows by which the frames of a field in two bands lie apart at most, rounded up from 11 seen
_REACH = 2  # pixels next to a gap whose spline leans on it by more than a tenth


def field_to_use(row, field, n_pix: int, n_row: int = N_ROW) -> tuple[np.ndarray, np.ndarray]:
    """The field that holds the whole stamp of a galaxy where its own does not, and the galaxy's row there.

    Consecutive fields of a scan share 128 rows. At the sides of a camera column no other field helps.

    Parameters
    ----------
    row : float array (n_galaxy,) [pixel]
        Row of the galaxy in its own field, r band.
    field : int array (n_galaxy,)
    n_pix : int
        Width of the stamp.

    Returns
    -------
    field : int array (n_galaxy,)
    row : float array (n_galaxy,) [pixel]
    """
    row, field = np.asarray(row, float), np.asarray(field, int)
    need = n_pix / 2 + _BAND_OFFSET
    step = np.where(row < need, -1, np.where(row > n_row - need, 1, 0))
    step[field + step < 1] = 0
    return field + step, row - step * FIELD_STEP


@dataclass(frozen=True)
class Maps:
    """Where the pixels of stamps lie in a frame: centre + matrix @ (offset from the middle of the stamp), x and y.

    Attributes
    ----------
    centre : float array (n_galaxy, 2) [pixel]
        Counted from the middle of the first pixel.
    matrix : float array (n_galaxy, 2, 2)
    """

    centre: np.ndarray
    matrix: np.ndarray


def local_maps(reference: Frame, frame: Frame, ra, dec, n_pix: int, sub_pixel: bool = True) -> Maps:
    """Affine maps from the stamps, which lie on the grid of `reference`, into `frame`.

    Parameters
    ----------
    ra, dec : float arrays (n_galaxy,) [deg]
    n_pix : int
        The derivatives are differences over the stamp.
    sub_pixel : bool
        False moves every stamp by at most half a pixel onto the pixels of `reference`, which then stay as they are.
    """
    if not reference.wcs.has_celestial or not frame.wcs.has_celestial:
        raise InputError(f"{reference.path} or {frame.path} has no celestial coordinates")
    centre = np.stack(reference.wcs.wcs_world2pix(np.asarray(ra, float), np.asarray(dec, float), 0), axis=-1)
    if not sub_pixel:
        shift = (n_pix - 1) / 2 % 1  # the middle of an even stamp lies between pixels
        centre = np.round(centre - shift) + shift
    half = n_pix / 2
    steps = half * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    points = (centre[:, None, :] + steps).reshape(-1, 2)
    if frame is not reference:
        points = np.stack(frame.wcs.wcs_world2pix(*reference.wcs.wcs_pix2world(*points.T, 0), 0), axis=-1)
    points = points.reshape(-1, 5, 2)
    matrix = np.stack([points[:, 1] - points[:, 2], points[:, 3] - points[:, 4]], axis=-1) / n_pix
    return Maps(points[:, 0], matrix)


@cache
def _spline_noise() -> np.ndarray:
    """Variance of a cubic spline through independent unit noise, at 65 places from one sample to the next."""
    sample = np.zeros(65)
    sample[32] = 1
    places = np.linspace(0, 1, 65)[:, None] + np.arange(-20, 20)
    return (ndimage.map_coordinates(sample, [32 + places], order=3, mode="constant") ** 2).sum(1)


def _noise_factor(places: np.ndarray) -> np.ndarray:
    """Variance of the spline at any places (n,) [pixel] in units of the pixels' own."""
    return np.interp(places % 1, np.linspace(0, 1, 65), _spline_noise())


def stamp(frame: Frame, centre, matrix, n_pix: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One band of one galaxy.

    Parameters
    ----------
    frame : Frame
    centre, matrix : float arrays (2,), (2, 2)
        One of `Maps`.
    n_pix : int

    Returns
    -------
    image, inverse_variance : float arrays (n_pix, n_pix) [nanomaggy], [nanomaggy^-2]
        Cubic spline through the pixels times the ratio of the pixel areas; the inverse variance is that of
        single pixels of the result. Neighbours are correlated, as in every resampled image.
    mask : bool array (n_pix, n_pix)
        True off the frame, and where the spline leans on pixels without a datum.
    """
    offset = np.arange(n_pix) - (n_pix - 1) / 2
    x = centre[0] + matrix[0, 0] * offset + matrix[0, 1] * offset[:, None]
    y = centre[1] + matrix[1, 0] * offset + matrix[1, 1] * offset[:, None]
    rows, columns = (_window(places, n) for places, n in zip((y, x), frame.image.shape, strict=True))
    if rows is None or columns is None:
        return np.zeros((n_pix, n_pix)), np.zeros((n_pix, n_pix)), np.ones((n_pix, n_pix), bool)
    native, inverse_variance = frame.region(rows, columns)
    gaps = inverse_variance == 0
    variance = 1 / np.where(gaps, 1, inverse_variance)
    if gaps.any():
        native, variance = _filled(native, gaps), _filled(variance, gaps)
    linear = matrix[::-1, ::-1]  # arrays are indexed by y, x
    origin = np.array([y[0, 0] - rows.start, x[0, 0] - columns.start])
    area = abs(np.linalg.det(matrix))
    image = ndimage.affine_transform(native, linear, origin, (n_pix, n_pix), order=3, mode="nearest") * area
    variance = ndimage.affine_transform(variance, linear, origin, (n_pix, n_pix), order=1, mode="nearest") * area**2
    mask = (x < 0) | (y < 0) | (x > frame.image.shape[1] - 1) | (y > frame.image.shape[0] - 1)
    if gaps.any():
        wide = ndimage.binary_dilation(gaps, np.ones((2 * _REACH - 1,) * 2)).astype(float)
        mask |= ndimage.affine_transform(wide, linear, origin, (n_pix, n_pix), order=1, mode="nearest") > 1e-6
    inverse_variance = 1 / (variance * _noise_factor(x) * _noise_factor(y))
    return np.where(mask, 0, image), np.where(mask, 0, inverse_variance), mask


def _window(places: np.ndarray, n: int) -> slice | None:
    """The pixels 0 ... n - 1 that a spline at these places sees; None when all places are outside or no numbers."""
    if not np.isfinite(places).all():
        return None
    low, high = int(np.floor(places.min())), int(np.ceil(places.max()))
    if high < 0 or low > n - 1:
        return None
    return slice(max(0, low - _MARGIN), min(n, high + _MARGIN + 1))


def _filled(values: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Gaps take the value of the nearest pixel that has one: a zero there would ring through the spline."""
    if gaps.all():
        return np.zeros_like(values)
    nearest = ndimage.distance_transform_edt(gaps, return_distances=False, return_indices=True)
    return values[tuple(nearest)]


def cut(frames: Mapping[str, Frame], ra, dec, bands: Sequence[str], n_pix: int, sub_pixel: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All galaxies of a field in all bands.

    Parameters
    ----------
    frames : mapping of band -> Frame
        With `REFERENCE`. The stamps of a band that is missing are masked.
    ra, dec : float arrays (n_galaxy,) [deg]
    bands : sequence of str
    n_pix : int
    sub_pixel : bool
        See `local_maps`.

    Returns
    -------
    image, inverse_variance : float32 arrays (n_galaxy, n_band, n_pix, n_pix) [nanomaggy], [nanomaggy^-2]
    mask : uint8 array of that shape
        1 where there is no datum.
    """
    shape = (len(ra), len(bands), n_pix, n_pix)
    image, inverse_variance, mask = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.ones(shape, np.uint8)
    for b, band in enumerate(bands):
        if REFERENCE not in frames or band not in frames:
            continue
        maps = local_maps(frames[REFERENCE], frames[band], ra, dec, n_pix, sub_pixel)
        for g in range(len(ra)):
            image[g, b], inverse_variance[g, b], mask[g, b] = stamp(frames[band], maps.centre[g], maps.matrix[g], n_pix)
    return image, inverse_variance, mask
