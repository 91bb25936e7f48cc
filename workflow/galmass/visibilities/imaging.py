"""Dirty images of gridded visibilities, and what is read from them: beam, moments, position-velocity diagram.

Images are arrays (..., n_pix, n_pix) [..., north, east]: row n_pix // 2, column n_pix // 2 is the phase centre, columns grow eastward.
"""

import math
from dataclasses import dataclass

import numpy as np

from galmass.errors import InputError

FWHM = math.sqrt(8 * math.log(2))  # of a Gaussian, in standard deviations


def natural_weights(gridded):
    """Weight (n_chan, n_pix, n_pix // 2 + 1) [Jy^-2] of every cell, 0 where it is not filled: by the weights of its visibilities.

    Not by its scatter, which few visibilities tell badly: cells that seem quiet by chance would count too much.
    """
    return np.where(gridded.mask, np.where(gridded.mask, gridded.propagated, 1.0) ** -2, 0.0)


def error_of_mean(gridded, weight):
    """Standard error (n_chan,) [Jy] of the weighted mean of a part of all cells of a channel, from their scatter; 0 where `weight` is.

    Cells that share visibilities, with kernels of more than one cell, are not averaged down: their variance counts ``information_factor`` times.
    """
    variance = (gridded.std.real**2 + gridded.std.imag**2) / 2 * gridded.metadata["kernel"]["information_factor"]
    total = weight.sum((1, 2))
    return np.sqrt((weight**2 * variance).sum((1, 2))) / np.where(total > 0, total, 1.0)


def dirty_image(values, weight):
    """``sum_k w_k Re[V_k exp(2 pi i (u_k l + v_k m))] / sum_k w_k``, (..., n_pix, n_pix) [unit of `values` per beam].

    Parameters
    ----------
    values : (..., n_pix, n_pix // 2 + 1) complex array
        Visibilities of the half plane, in the layout of ``rfft2``.
    weight : array of the same shape
        0 where there is no cell. An image without any weight is 0.
    """
    n_pix = values.shape[-2]
    # irfft2 counts every column with its partner of negative u, except the first and the last, which are their own
    twice = np.where(np.isin(np.arange(n_pix // 2 + 1), (0, n_pix // 2)), 2.0, 1.0)
    total = weight.sum((-2, -1), keepdims=True)
    image = np.fft.irfft2(values * weight * twice, s=(n_pix, n_pix)) * n_pix**2 / 2
    return np.fft.fftshift(np.divide(image, total, out=np.zeros_like(image), where=total > 0), axes=(-2, -1))


@dataclass(frozen=True)
class Beam:
    """Gaussian core of the dirty beam: FWHM [arcsec] of the major and minor axis, position angle of the major one [deg, east of north]."""

    major: float
    minor: float
    position_angle: float

    @property
    def size(self) -> float:
        """Geometric mean of both axes [arcsec]."""
        return math.sqrt(self.major * self.minor)


def beam(gridded) -> Beam:
    """Gaussian of the same curvature as the peak of the dirty beam of all channels together.

    Raises
    ------
    InputError
        Where the cells do not resolve two directions.
    """
    weight = natural_weights(gridded).sum(0)
    u, v = uv_cells(gridded.n_pix, gridded.cell_arcsec)
    # -d^2 / dl^2 of the beam at its peak is (2 pi)^2 <u^2>
    moments = [float((weight * a * b).sum() / weight.sum()) for a, b in ((u, u), (u, v), (v, v))]
    curvature = (2 * math.pi) ** 2 * np.array([[moments[0], moments[1]], [moments[1], moments[2]]])
    values, vectors = np.linalg.eigh(curvature)
    if values[0] <= 1e-9 * values[1]:
        raise InputError("the uv cells lie on a line or a point: no beam; check the imported u and v")
    east, north = vectors[:, 0]
    scale = FWHM * math.degrees(1) * 3600
    return Beam(scale / math.sqrt(values[0]), scale / math.sqrt(values[1]), math.degrees(math.atan2(east, north)) % 180)


def dirty_cube(gridded, values, n_pix: int):
    """Naturally weighted dirty images of `values`, in the middle `n_pix`, (n_chan, n_pix, n_pix), and their noise (n_chan,) [Jy / beam]."""
    weight = natural_weights(gridded)
    start = (gridded.n_pix - n_pix) // 2
    cube = dirty_image(values, weight)[:, start : start + n_pix, start : start + n_pix]
    # Re[V exp(i phi)] has the variance of either part
    return cube, error_of_mean(gridded, weight)


def coverage(gridded):
    """u, v [wavelengths] and effective count of the filled cells of the middle channel."""
    middle = len(gridded.mask) // 2
    mask = gridded.mask[middle]
    u, v = uv_cells(gridded.n_pix, gridded.cell_arcsec)
    return u[mask], v[mask], gridded.count[middle][mask]


def summary(gridded) -> dict:
    """Numbers that describe a grid: beam, cells, counts."""
    found, counts = beam(gridded), gridded.count[gridded.mask]
    thin = gridded.thin_share
    return {
        "n_chan": len(gridded.frequency),
        "n_cell": int(gridded.mask.sum()),
        "n_data": gridded.n_data,
        "median_count": float(np.median(counts)) if thin is not None else None,
        "thin_cells": thin,
        "beam_arcsec": {"major": found.major, "minor": found.minor, "position_angle_deg": found.position_angle},
        "n_pix": gridded.n_pix,
        "cell_arcsec": gridded.cell_arcsec,
        "notes": gridded.metadata["notes"],
    }


def short_spacing_spectrum(gridded, share: float = 0.03):
    """Weighted mean of the real part over the shortest `share` of the filled cells of each channel.

    Returns
    -------
    flux, error : (n_chan,) arrays
        [Jy]; 0 in a channel without cells.
    longest : float
        The longest of these baselines [wavelengths].
    """
    weight = natural_weights(gridded)
    length = np.hypot(*uv_cells(gridded.n_pix, gridded.cell_arcsec))
    longest = float(np.quantile(np.broadcast_to(length, weight.shape)[gridded.mask], share))
    weight = np.where(length <= longest, weight, 0.0)
    total = weight.sum((1, 2))
    flux = (weight * gridded.mean.real).sum((1, 2)) / np.where(total > 0, total, 1.0)
    return flux, error_of_mean(gridded, weight), longest


def uv_cells(n_pix: int, cell_arcsec: float):
    """u and v of the cell centres, each (n_pix, n_pix // 2 + 1) [wavelengths]."""
    cell = math.radians(cell_arcsec / 3600)
    v, u = np.meshgrid(np.fft.fftfreq(n_pix, cell), np.fft.rfftfreq(n_pix, cell), indexing="ij")
    return u, v


def moments(cube, velocity, threshold):
    """Moments 0, 1 and 2 of a cube (n_chan, n, n) above `threshold`: [unit km/s], [km/s], [km/s], NaN where nothing is above.

    Parameters
    ----------
    velocity : (n_chan,) array
        [km/s].
    threshold : float or (n_chan,) array
        In the unit of the cube.
    """
    kept = np.where(cube > np.reshape(threshold, (-1, 1, 1)), cube, 0.0)
    width = abs(np.gradient(velocity))[:, None, None]
    total = (kept * width).sum(0)
    fine = total > 0
    safe = np.where(fine, total, 1.0)
    mean = (kept * width * velocity[:, None, None]).sum(0) / safe
    spread = (kept * width * (velocity[:, None, None] - mean) ** 2).sum(0) / safe
    return tuple(np.where(fine, value, np.nan) for value in (total, mean, np.sqrt(spread)))


def position_velocity(cube, cell_arcsec, position_angle, x_offset, y_offset, offsets, width_arcsec):
    """Mean of a cube along a slit, (n_chan, n_offset).

    Parameters
    ----------
    cube : (n_chan, n, n) array
    position_angle : float
        Of the positive offsets, east of north [deg].
    x_offset, y_offset : float
        Centre of the slit, east and north [arcsec].
    offsets : (n_offset,) array
        Along the slit [arcsec].
    width_arcsec : float
        Of the slit; averaged over five lines.
    """
    from scipy.ndimage import map_coordinates

    angle = math.radians(position_angle)
    across = width_arcsec * np.linspace(-0.5, 0.5, 5)
    east = x_offset + offsets[None, :] * math.sin(angle) + across[:, None] * math.cos(angle)
    north = y_offset + offsets[None, :] * math.cos(angle) - across[:, None] * math.sin(angle)
    middle = cube.shape[-1] // 2
    places = np.stack([north / cell_arcsec + middle, east / cell_arcsec + middle])
    return np.stack([map_coordinates(plane, places, order=1, cval=0.0).mean(0) for plane in cube])
