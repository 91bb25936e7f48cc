"""Visibilities of a model disc in the filled cells of a half plane.

``V(u, v) = int I(l, m) exp(-2 pi i (u l + v m)) dl dm``: the cube times the primary beam and the taper of the gridding kernel, zero-padded, through a real FFT
of its rows, then of only those columns that hold filled cells. The mean over pixels multiplies V by sinc(u cell) sinc(v cell), which is divided out. What lies
beyond half a period of the image's pixels in u or v is folded back, and has been damped the less the closer it was: where data reach beyond about a quarter
of a period, pixels a whole number of times finer than the cells (of the same half plane) are the remedy.
"""

import math

import numpy as np
import torch
from scipy.interpolate import RectBivariateSpline
from torch.autograd.function import once_differentiable

from galmass.discs.cube import check_frequency, check_image
from galmass.errors import InputError
from galmass.units import ARCSEC, LIGHT

BLOCK = 2**17  # complex numbers of half planes at a time


class VisibilityModel:
    """Complex visibilities (n_data,) [Jy] of ``(v_c, geometry)``, in the order of ``torch.nonzero(cells)``.

    Parameters
    ----------
    disc : galmass.discs.cube.DiscCube
        Its pixels are the cells' ``cell_arcsec``, or a whole number of times smaller.
    n_pix, cell_arcsec
        Grid of the half plane: ``u = column / (n_pix cell)``, ``v = fftfreq(n_pix)[row] / cell``; even, and at least as wide as the image of the disc.
    frequency : (n_chan,) array
        [Hz], of the primary beam.
    cells : (n_chan, n_pix, n_pix // 2 + 1) bool array
        Filled ones.
    dish_diameter : float or None
        [m]; None for no primary beam.
    primary_beam_coefficient : float
        FWHM of the beam in wavelengths over diameter.
    taper : (n_pix, n_pix) array, optional
        Image-plane factor of the gridding kernel, 1 in the middle.
    centroids : (du, dv), optional
        Each like `cells` or (n_data,): offsets of the weighted mean (u, v) from the middle of the cell, in cells, applied to first order.
    dtype, device
        float32 or float64; those of the disc.
    """

    def __init__(
        self,
        disc,
        n_pix,
        cell_arcsec,
        frequency,
        cells,
        dish_diameter,
        primary_beam_coefficient=1.13,
        taper=None,
        centroids=None,
        dtype=torch.float32,
        device="cpu",
    ):
        check_image(n_pix, cell_arcsec)
        self.disc, finer = disc, _finer(disc, n_pix, cell_arcsec)
        cells = _cells(cells, len(check_frequency(frequency)), n_pix)
        self.n_fft, self.scale = finer * n_pix, 2 * math.pi / (n_pix * cell_arcsec)
        channel, row, column = (i.numpy() for i in torch.nonzero(cells, as_tuple=True))
        v = np.where((column % (n_pix // 2) == 0) & (row == n_pix // 2), row, (row + n_pix // 2) % n_pix - n_pix // 2)
        columns, place = np.unique(column, return_inverse=True)
        index = (channel * len(columns) + place) * self.n_fft + v % self.n_fft
        du, dv = np.zeros((2, len(index))) if centroids is None else (_of_cells(c, cells) for c in centroids)
        factor = _shift(column, v, disc.n_pix, self.n_fft) / (np.sinc((column + du) / self.n_fft) * np.sinc((v + dv) / self.n_fft))
        as_complex = torch.complex64 if dtype == torch.float32 else torch.complex128
        self.columns, self.index = (torch.as_tensor(i, device=device) for i in (columns, index))
        self.factor = torch.as_tensor(factor, dtype=as_complex, device=device)
        self.centroids = None if centroids is None else torch.as_tensor(np.stack([du, dv]), dtype=dtype, device=device)
        beam = primary_beam(disc.n_pix, disc.cell_arcsec, frequency, dish_diameter, primary_beam_coefficient)
        self.response = torch.as_tensor(beam * _taper(taper, disc, n_pix, cell_arcsec), dtype=dtype, device=device)
        self.offset = (torch.arange(disc.n_pix, dtype=dtype, device=device) - disc.n_pix // 2) * disc.cell_arcsec

    def __call__(self, v_c, geometry, points=None):
        """Visibilities (n_data,), complex64 or complex128, of a rotation curve (n_radius,) [km/s] and the geometry of the disc."""
        image = self.cube(v_c, geometry, points) * self.response
        if self.centroids is None:
            return self.transform(image)
        du, dv = self.centroids
        east, north = self.transform(image * self.offset), self.transform(image * self.offset[:, None])
        return self.transform(image) - 1j * self.scale * (du * east + dv * north)

    def cube(self, v_c, geometry, points=None):
        """The disc's cube (n_chan, disc.n_pix, disc.n_pix) [Jy / pixel], before primary beam and taper."""
        return self.disc(v_c, geometry, points)

    def transform(self, image):
        """Visibilities (n_data,) of an image (n_chan, disc.n_pix, disc.n_pix) on the sky."""
        if self.disc.compiled:
            return _HalfPlane.apply(image, self)
        return self.factor * self._plane(image).reshape(-1).index_select(0, self.index)

    def _plane(self, image):
        """Of an image, the columns with filled cells, (n_chan, n_columns, n_fft)."""
        rows = torch.index_select(torch.fft.rfft(image, n=self.n_fft), 2, self.columns)
        return torch.fft.fft(rows.transpose(1, 2), n=self.n_fft)

    def _adjoint(self, plane):
        """The adjoint of `_plane`."""
        rows = plane.new_zeros((len(plane), self.disc.n_pix, self.n_fft // 2 + 1))
        rows[:, :, self.columns] = torch.fft.ifft(plane, norm="forward")[:, :, : self.disc.n_pix].transpose(1, 2)
        # a real inverse takes a column for itself and its mirror
        rows[:, :, 1 : self.n_fft // 2] /= 2
        return torch.fft.irfft(rows, n=self.n_fft, norm="forward")[:, :, : self.disc.n_pix]

    def _blocks(self):
        """Channels, data and their places in the plane, a few channels at a time: what fits into a cache."""
        size = self.n_fft * len(self.columns)
        step = max(1, BLOCK // size)
        starts = range(0, len(self.response), step)
        bounds = torch.searchsorted(self.index, torch.tensor([*starts, len(self.response)]) * size).tolist()
        for start, low, high in zip(starts, bounds, bounds[1:], strict=False):
            yield slice(start, start + step), slice(low, high), self.index[low:high] - start * size


class _HalfPlane(torch.autograd.Function):
    """`VisibilityModel.transform` block by block: half the time and a tenth of the memory of the same lines at once, on a CPU."""

    @staticmethod
    def forward(image, model):
        result = torch.empty_like(model.factor)
        for channels, data, index in model._blocks():
            torch.index_select(model._plane(image[channels]).reshape(-1), 0, index, out=result[data])
        return result.mul_(model.factor)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.model = inputs[1]

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        model, gradient = ctx.model, gradient * ctx.model.factor.conj()
        image = torch.empty_like(model.response)
        for channels, data, index in model._blocks():
            plane = gradient.new_zeros((len(image[channels]), len(model.columns), model.n_fft))
            plane.view(-1)[index] = gradient[data]
            image[channels] = model._adjoint(plane)
        return image, None


def primary_beam(n_pix, cell_arcsec, frequency_hz, dish_diameter_m, coefficient=1.13):
    """Gaussian primary beam (n_chan, n_pix, n_pix), 1 in the middle, FWHM ``coefficient lambda / D``; 1 everywhere where the diameter is None."""
    frequency = check_frequency(frequency_hz)
    if dish_diameter_m is None:
        return np.ones((len(frequency), n_pix, n_pix))
    if not (dish_diameter_m > 0 and coefficient > 0):
        raise InputError(f"primary beam: dish diameter {dish_diameter_m} m and coefficient {coefficient} must be positive")
    fwhm = coefficient * 1e3 * LIGHT / frequency / dish_diameter_m / ARCSEC
    axis = (np.arange(n_pix) - n_pix // 2) * cell_arcsec
    profile = np.exp(-4 * math.log(2) * (axis / fwhm[:, None]) ** 2)
    return profile[:, :, None] * profile[:, None, :]


def _finer(disc, n_pix, cell_arcsec) -> int:
    """How many times the disc's pixels are finer than the cells' of the half plane."""
    ratio = cell_arcsec / disc.cell_arcsec
    finer = round(ratio)
    if finer < 1 or abs(ratio - finer) > 1e-6 * ratio:
        raise InputError(f"visibilities: cell_arcsec {cell_arcsec} is no whole number of times the disc's {disc.cell_arcsec}")
    if disc.n_pix > finer * n_pix:
        raise InputError(f"visibilities: an image of {disc.n_pix} pixels does not fit into {finer} x {n_pix}; make n_pix of the grid larger")
    return finer


def _cells(cells, n_chan, n_pix):
    cells, wanted = torch.as_tensor(np.asarray(cells, dtype=bool)), (n_chan, n_pix, n_pix // 2 + 1)
    if cells.shape != wanted:
        raise InputError(f"visibilities: cells have shape {tuple(cells.shape)}; {wanted} is needed (channels, rows of v, columns of u >= 0)")
    if not cells.any():
        raise InputError("visibilities: no cell is filled; check flags and weights")
    return cells


def _of_cells(values, cells):
    """(n_data,) float64, of an array like `cells` or of one value a datum."""
    values = np.asarray(values, dtype=np.float64)
    return values if values.ndim == 1 else values[cells.numpy()]


def _shift(column, v, n_pix, n_fft):
    """What moves the middle of the image to the origin: the image lies at the start of its padding."""
    return np.exp(2j * np.pi * (((column + v) * (n_pix // 2)) % n_fft) / n_fft)


def _taper(taper, disc, n_pix, cell_arcsec):
    """Taper at the pixels of the disc; a smooth function, so read by a spline where these are finer."""
    if taper is None:
        return 1.0
    taper = np.asarray(taper, dtype=np.float64)
    if taper.shape != (n_pix, n_pix):
        raise InputError(f"visibilities: the taper has shape {taper.shape}; {(n_pix, n_pix)} is needed")
    grid, pixels = (np.arange(n_pix) - n_pix // 2) * cell_arcsec, (np.arange(disc.n_pix) - disc.n_pix // 2) * disc.cell_arcsec
    return RectBivariateSpline(grid, grid, taper)(pixels, pixels)
