"""Spectral cube of a rotating gas disc, thin or thick, differentiable in its rotation curve and its geometry.

Sky: l east, m north [arcsec], pixel (iy, ix) of an even image at ``l = (ix - n_pix // 2) cell``, ``m = (iy - n_pix // 2) cell``. With the position angle
PA of the receding side (east of north), inclination i and offsets (l_0, m_0) a point of the plane of the disc has

    x = (l - l_0) sin PA + (m - m_0) cos PA,    y = [(l - l_0) cos PA - (m - m_0) sin PA] / cos i,    v_los = v_c(R) sin i x / R.

Velocities v_c and sigma_gas are those in the galaxy's frame; v_sys and the channels are radio velocities, ``c (1 - nu / nu_rest)``. Light of the galaxy
comes at ``nu = nu_rest (1 - v_sys / c) (1 - v_los / c)``, to first order in v_los / c, so that the radio velocity is ``v_sys + (1 - v_sys / c) v_los``:
what moves in the galaxy seems slower by 1 + z, and masses would come out low by its square without that factor.

A pixel holds the flux that falls on its area, a channel the mean over its width: ``cube.sum() dv = flux``, less what lies outside the image or the band.
Areas are integrated by Gauss-Legendre points, as many a pixel as the change of v_los and of the brightness across it asks for, channels by error functions.
The variance of v_los over the share of the pixel that a point stands for widens its line: without it lines narrower than the step from point to
point make cubes, and more so their derivatives, depend on where the points happen to lie.
A thick disc is N_LAYERS thin ones, displaced by ``z sin i`` along the minor axis, at the Gauss-Hermite points of a Gaussian in z that rotate alike.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from galmass.discs.brightness import PROFILES
from galmass.discs.deposit import deposit
from galmass.errors import InputError
from galmass.units import LIGHT

GEOMETRY = {
    "inclination": "deg",
    "position_angle": "deg",
    "x_offset": "arcsec",
    "y_offset": "arcsec",
    "v_sys": "km/s",
    "sigma_gas": "km/s",
    "flux": "Jy km/s",
}
ORDERS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)  # of the Gauss-Legendre rules along a side of a pixel
VELOCITY_STEP = 1.0  # largest change of v_los from point to point, in units of the width of a channel's response
BRIGHTNESS_STEP = 1.5  # the same of ln I
NEGLIGIBLE = 1e-9  # of the flux: pixels with less stay empty
N_LAYERS = 5
MAX_OUTSIDE_IMAGE, MAX_OUTSIDE_BAND = 0.02, 0.2  # fractions of the flux that `DiscCube.check` tolerates; a black hole's wings may leave the band


@dataclass(frozen=True)
class Points:
    """Where a cube is evaluated; constants for derivatives.

    Attributes
    ----------
    l, m : (n_points,) tensor
        East, north [arcsec].
    area : (n_points,) tensor
        [arcsec^2], times the weight of the layer.
    height : (n_points,) tensor or None
        z in units of the scale height, of a thick disc.
    spread : (n_points,) tensor
        Variance of v_los over the share of the pixel that a point stands for, to first order [km^2/s^2], in the galaxy's frame.
    pixel : (n_points,) int64 tensor
        ``iy * n_pix + ix``.
    """

    l: torch.Tensor  # noqa: E741
    m: torch.Tensor
    area: torch.Tensor
    height: torch.Tensor | None
    spread: torch.Tensor
    pixel: torch.Tensor


class DiscCube:
    """Cube (n_chan, n_pix, n_pix) [Jy / pixel] of ``(v_c, geometry)``.

    Parameters
    ----------
    n_pix : int
        Even.
    cell_arcsec : float
        Side of a pixel [arcsec].
    frequency : (n_chan,) array
        Ascending centres of the channels [Hz]; edges lie midway, equal to the last bit where the channels are uniform to 1e-3.
    rest_frequency : float
        Of the line [Hz]; velocities are radio.
    radius_arcsec : (n_radius,) array
        Log-spaced radii of the rotation curve. In between v_c is read by cubic (Catmull-Rom) polynomials in ln R, so it is linear in the values and
        has a continuous derivative in R; inside the first and outside the last radius the straight line in ln R goes on.
    profile : str
        One of `galmass.discs.brightness.PROFILES`.
    thickness : bool
        Whether the geometry ends with a scale height "thickness" [arcsec].
    dtype, device
        Of everything.
    compiled : bool, optional
        Whether a compiled kernel sums the lines (default: on the CPU); without it everything is plain torch, which `torch.func` may transform
        where `points` are given.
    refine : int, optional
        How many times more points than by default along each side of a pixel: to see what the quadrature leaves.
    """

    def __init__(
        self,
        n_pix,
        cell_arcsec,
        frequency,
        rest_frequency,
        radius_arcsec,
        profile="exponential",
        thickness=False,
        dtype=torch.float32,
        device="cpu",
        compiled=None,
        refine=1,
    ):
        check_image(n_pix, cell_arcsec)
        self.profile = _profile(profile)
        thick = {"thickness": "arcsec"} if thickness else {}
        declared = GEOMETRY | dict(zip(self.profile.names, self.profile.units, strict=True)) | thick
        self.names, self.units, self.thick = tuple(declared), tuple(declared.values()), thickness
        self.n_pix, self.cell_arcsec, self.dtype, self.device = n_pix, cell_arcsec, dtype, torch.device(device)
        self.compiled = self.device.type == "cpu" if compiled is None else compiled
        self.refine = refine
        edges, self.centre = channel_edges(frequency, rest_frequency)
        self.edges = torch.as_tensor(edges, dtype=dtype, device=device)
        self.width = self.edges.diff()
        self.log_radius = _log_spacing(radius_arcsec)
        self.n_radius = len(radius_arcsec)

    def __call__(self, v_c, geometry, points=None):
        """Cube of the rotation curve `v_c` (n_radius,) [km/s] and `geometry` (n_geometry,) in `units`; at `points`, or at its own `points`.

        NaN where an argument is not finite.
        """
        if points is None:
            if not (torch.isfinite(v_c).all() and torch.isfinite(geometry).all()):
                return self.width.new_full((len(self.width), self.n_pix, self.n_pix), math.nan) * (v_c.sum() + geometry.sum())
            points = self.points(v_c, geometry)
        g = self._named(geometry)
        x, y = _plane(points.l, points.m, g, points.height)
        radius = _radius(x, y, self.cell_arcsec)
        velocity = slowing(g) * self.speed(v_c, radius) * torch.sin(g["inclination"]) * (x / radius) + (g["v_sys"] - self.centre)
        weight = g["flux"] * points.area * self._brightness(radius, g)
        sigma = slowing(g) * torch.sqrt(g["sigma_gas"] ** 2 + points.spread)
        cube = deposit(-velocity, weight, sigma, points.pixel, self.edges, self.n_pix**2, self.compiled)
        return cube.reshape(-1, self.n_pix, self.n_pix)

    def speed(self, v_c, radius):
        """Rotation curve `v_c` (n_radius,) read at `radius` [arcsec]."""
        first, step = self.log_radius
        place = (torch.log(radius) - first) / step
        below = place.detach().floor().clamp(-1, self.n_radius - 1)
        t, index = place - below, (below + 1).long()
        values = torch.cat([3 * v_c[:1] - 2 * v_c[1:2], 2 * v_c[:1] - v_c[1:2], v_c, 2 * v_c[-1:] - v_c[-2:-1], 3 * v_c[-1:] - 2 * v_c[-2:-1]])
        return _catmull_rom([torch.index_select(values, 0, index + k) for k in range(4)], t)

    def points(self, v_c, geometry) -> Points:
        """Quadrature for this rotation curve and geometry."""
        with torch.no_grad():
            g = self._named(geometry.detach())
            heights, weights = _layers() if self.thick else ([None], [1.0])
            layers = [self._layer(v_c.detach(), g, z, w) for z, w in zip(heights, weights, strict=True)]
        if not self.thick:
            return layers[0]
        return Points(*(torch.cat([getattr(layer, name) for layer in layers]) for name in Points.__dataclass_fields__))

    def flux_outside(self, geometry) -> float:
        """Fraction of the flux that falls outside the image."""
        at_rest = torch.zeros(self.n_radius, dtype=self.dtype, device=self.device)
        return 1 - self._flux_inside(geometry, self.points(at_rest, geometry))

    def flux_in_band(self, v_c, geometry) -> float:
        """Fraction, of the flux inside the image, that falls into the channels."""
        points, flux = self.points(v_c, geometry), self._named(geometry)["flux"]
        with torch.no_grad():
            channels = self(v_c, geometry, points).double().sum((1, 2))
        return float(channels @ self.width.double() / flux) / self._flux_inside(geometry, points)

    def check(self, v_c, geometry) -> None:
        """Raise `InputError` where more than MAX_OUTSIDE_IMAGE of the flux lies outside the image, or MAX_OUTSIDE_BAND outside the band."""
        outside, missed = self.flux_outside(geometry), 1 - self.flux_in_band(v_c, geometry)
        if not outside <= MAX_OUTSIDE_IMAGE:
            size = self.n_pix * self.cell_arcsec
            raise InputError(f"disc: {outside:.0%} of the flux lies outside the image of {size:g} arcsec; give it more pixels (model.n_pix) or a smaller disc")
        if not missed <= MAX_OUTSIDE_BAND:
            low, high = (float(self.centre - self.edges[k]) for k in (-1, 0))
            raise InputError(f"disc: {missed:.0%} of the line lies outside the channels, {low:.0f} to {high:.0f} km/s; check v_sys and the rest frequency")

    def _flux_inside(self, geometry, points):
        with torch.no_grad():
            g = self._named(geometry)
            radius = _radius(*_plane(points.l, points.m, g, points.height), self.cell_arcsec)
            return float((points.area * self._brightness(radius, g)).double().sum())

    def _named(self, geometry):
        """Geometry by name, angles in radians."""
        if len(geometry) != len(self.names):
            raise InputError(f"disc: {len(geometry)} values of geometry for {len(self.names)} parameters: {', '.join(self.names)}")
        return {n: torch.deg2rad(v) if u == "deg" else v for n, u, v in zip(self.names, self.units, geometry.unbind(), strict=True)}

    def _shape(self, g):
        return [g[name] for name in self.profile.names]

    def _brightness(self, radius, g):
        """On the sky, of unit flux [arcsec^-2]."""
        shape = self._shape(g)
        return self.profile.brightness(radius, *shape) / (self.profile.total(*shape) * torch.cos(g["inclination"]).abs())

    def _layer(self, v_c, g, z, weight) -> Points:
        """Points of one layer at height `z`."""
        axis = (torch.arange(self.n_pix, dtype=self.dtype, device=self.device) - self.n_pix // 2) * self.cell_arcsec
        m, l = (v.ravel() for v in torch.meshgrid(axis, axis, indexing="ij"))  # noqa: E741
        pixel, number = self._orders(v_c, g, *_plane(l, m, g, z))
        nodes, weights = (torch.as_tensor(v, dtype=self.dtype, device=self.device) for v in _rules(self.refine))
        count = self.refine * torch.as_tensor(ORDERS, device=self.device)[number]
        owner = torch.repeat_interleave(torch.arange(len(pixel), device=self.device), count.prod(0))
        within = torch.arange(len(owner), device=self.device) - (count.prod(0).cumsum(0) - count.prod(0))[owner]
        of_l, of_m, across = number[0][owner], number[1][owner], count[0][owner]
        k_m = torch.div(within, across, rounding_mode="floor")
        k_l = within - k_m * across
        place, half = pixel[owner], self.cell_arcsec / 2
        side_l, side_m = half * weights[of_l, k_l], half * weights[of_m, k_m]
        height = None if z is None else torch.full_like(side_l, z)
        l, m = l[place] + half * nodes[of_l, k_l], m[place] + half * nodes[of_m, k_m]  # noqa: E741
        return Points(l, m, weight * side_l * side_m, height, self._spread(v_c, g, *_plane(l, m, g, z), side_l, side_m), place)

    def _spread(self, v_c, g, x, y, side_l, side_m):
        """Variance of v_los over rectangles of sides `side_l` and `side_m` about points x, y of the plane."""
        along_x, along_y = self._slopes(v_c, x, y)
        sin_pa, cos_pa, cos_i = torch.sin(g["position_angle"]), torch.cos(g["position_angle"]), torch.cos(g["inclination"])
        of_l, of_m = along_x * sin_pa + along_y * cos_pa / cos_i, along_x * cos_pa - along_y * sin_pa / cos_i
        variance = torch.sin(g["inclination"]) ** 2 * ((of_l * side_l) ** 2 + (of_m * side_m) ** 2) / 12
        return torch.minimum(variance, self.speed(v_c, _radius(x, y, self.cell_arcsec)) ** 2)

    def _orders(self, v_c, g, x, y):
        """Pixels (n,) that hold flux, and which of ORDERS (2, n) they need along l and m."""
        sin_pa, cos_pa, cos_i = torch.sin(g["position_angle"]), torch.cos(g["position_angle"]), torch.cos(g["inclination"]).abs()
        x_of, y_of = self.cell_arcsec * torch.stack([sin_pa, cos_pa]).abs(), self.cell_arcsec * torch.stack([cos_pa, sin_pa]).abs() / cos_i
        reach_x, reach_y = x_of.sum() / 2, y_of.sum() / 2
        x, y = x.abs(), y.abs()
        x_in, y_in = (x - reach_x).clamp(min=0), (y - reach_y).clamp(min=0)
        peak = self.profile.peak(*self._shape(g)).clamp(torch.hypot(x_in, y_in), torch.hypot(x + reach_x, y + reach_y))
        pixel = torch.nonzero(self._brightness(peak, g) * self.cell_arcsec**2 > NEGLIGIBLE).ravel()
        x, y, x_in, y_in = (v[pixel] for v in (x, y, x_in, y_in))
        # where in the pixel v_los changes fastest along y
        steep = torch.minimum(torch.maximum(x / math.sqrt(2), y_in), y + reach_y)
        along_x = self._slopes(v_c, torch.maximum(x_in, reach_x / 4), y_in)[0].abs()
        along_y = self._slopes(v_c, torch.maximum(x, reach_x / 4), steep)[1].abs()
        width = torch.sqrt(g["sigma_gas"] ** 2 + (self.width.mean() / slowing(g)) ** 2 / 12) * VELOCITY_STEP
        change = torch.sin(g["inclination"]).abs() / width * (along_x * x_of[:, None] + along_y * y_of[:, None])
        outwards = (y + reach_y) / torch.hypot(torch.maximum(x_in, reach_x / 4), y + reach_y)
        fading = (x_of[:, None] + y_of[:, None] * outwards) / (BRIGHTNESS_STEP * self.profile.scale(*self._shape(g)))
        needed = torch.maximum(change, fading)
        orders = torch.as_tensor(ORDERS, dtype=self.dtype, device=self.device)
        return pixel, torch.bucketize(needed, orders).clamp(max=len(ORDERS) - 1)

    def _slopes(self, v_c, x, y):
        """d/dx and d/dy of ``v_c(R) x / R``."""
        radius = _radius(x, y, self.cell_arcsec)
        ratio = 1.01
        v, further = self.speed(v_c, radius), self.speed(v_c, ratio * radius)
        angular, shear = v / radius, ((further - v) / math.log(ratio) - v) / radius
        return angular + shear * (x / radius) ** 2, shear * x * y / radius**2


def slowing(g):
    """Radio velocity over velocity in the frame of a galaxy, ``1 - v_sys / c = 1 / (1 + z)``, of a geometry by name."""
    return 1 - g["v_sys"] / LIGHT


def check_image(n_pix, cell_arcsec) -> None:
    """Raise `InputError` for an odd or empty image."""
    if n_pix != int(n_pix) or n_pix < 2 or n_pix % 2:
        raise InputError(f"image: n_pix is {n_pix}; an even number of pixels is needed (the half plane of an odd one has no Nyquist column)")
    if not 0 < cell_arcsec < math.inf:
        raise InputError(f"image: cell_arcsec is {cell_arcsec}; it must be positive [arcsec]")


def check_frequency(frequency) -> np.ndarray:
    """`frequency` (n_chan,) as float64 [Hz]; `InputError` unless ascending and of a radio line."""
    values = np.atleast_1d(np.asarray(frequency, dtype=np.float64))
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise InputError("frequency: not all channels have a positive, finite frequency")
    if values.min() < 1e9:
        raise InputError(f"frequency: {values.min():g} looks like GHz; give Hz (multiply by 1e9)")
    if (np.diff(values) <= 0).any():
        raise InputError("frequency: channels must ascend; sort them and their data")
    return values


def channel_edges(frequency, rest_frequency):
    """Edges (n_chan + 1,) of ``centre - velocity`` [km/s], ascending, and the centre of the band [km/s]."""
    frequency = check_frequency(frequency)
    check_frequency(rest_frequency)
    if len(frequency) < 2:
        raise InputError("frequency: one channel has no width; at least two are needed")
    step = np.diff(frequency)
    if np.ptp(step) <= 1e-3 * step.mean():
        edges = np.linspace(frequency[0], frequency[-1], len(frequency))[0] + step.mean() * (np.arange(len(frequency) + 1) - 0.5)
    else:
        edges = np.concatenate([[frequency[0] - step[0] / 2], (frequency[1:] + frequency[:-1]) / 2, [frequency[-1] + step[-1] / 2]])
    middle = (edges[0] + edges[-1]) / 2
    return LIGHT * (edges - middle) / rest_frequency, LIGHT * (1 - middle / rest_frequency)


def _profile(name):
    if name not in PROFILES:
        raise InputError(f"profile: '{name}' is unknown; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def _log_spacing(radius):
    """First ln R and its step."""
    log_radius = np.log(np.asarray(radius, dtype=np.float64))
    steps = np.diff(log_radius)
    if len(log_radius) < 4 or not (np.abs(steps / steps.mean() - 1) < 1e-3).all() or not steps.mean() > 0:
        raise InputError("radius_arcsec: at least four radii are needed, ascending and equally spaced in their logarithm (numpy.geomspace)")
    return float(log_radius[0]), float(steps.mean())


def _plane(l, m, g, height):  # noqa: E741
    """x, y [arcsec] in the plane of the disc, or `height` scale heights above it."""
    sin_pa, cos_pa, cos_i = torch.sin(g["position_angle"]), torch.cos(g["position_angle"]), torch.cos(g["inclination"])
    east, north = l - g["x_offset"], m - g["y_offset"]
    minor = east * cos_pa - north * sin_pa
    if height is not None:
        minor = minor - height * (g["thickness"] * torch.sin(g["inclination"]))
    return east * sin_pa + north * cos_pa, minor / cos_i


def _radius(x, y, cell):
    # the centre itself has no azimuth
    return torch.sqrt(x**2 + y**2 + (1e-5 * cell) ** 2)


def _catmull_rom(values, t):
    """Cubic between values[1] (t = 0) and values[2] (t = 1) with the slopes of their neighbours; a line where they lie on one."""
    a, b, c, d = values
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


@lru_cache
def _rules(refine):
    """Nodes on [-1, 1] and weights (len(ORDERS), largest order) of the Gauss-Legendre rules."""
    nodes, weights = np.zeros((2, len(ORDERS), refine * max(ORDERS)))
    for k, n in enumerate(refine * order for order in ORDERS):
        nodes[k, :n], weights[k, :n] = np.polynomial.legendre.leggauss(n)
    return nodes, weights


@lru_cache
def _layers():
    """Heights in units of their dispersion and weights of the layers of a Gaussian."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(N_LAYERS)
    return tuple(nodes), tuple(weights / weights.sum())
