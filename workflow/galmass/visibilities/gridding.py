"""Weighted means of visibilities in the cells of a uv grid, their standard errors, and what the kernel does to the image.

With w = weight * k, k the separable Kaiser-Bessel kernel of the offset from the centre of a cell, sums over the visibilities of the cell:

    mean = sum w V / sum w,    n_eff = (sum w)^2 / sum w^2,    h = sum k w / sum w,    std^2 = sum w (V - mean)^2 / (sum k - h) * h / sum w

for the real and the imaginary part each: without bias where variances go as 1 / weight, by whatever factor. Where n_eff < min_effective, or nothing
scatters, std is what the weights say, ``sqrt(sum k w) / sum w``. (mean - truth) / std follows Student's t, nearly, and exactly so for equal k. Its degrees of
freedom nu are those of the scatter (Satterthwaite 1946), s, and more, because mean and scatter are not independent where k differs:

    s = (sum k - h)^2 / (sum k^2 - 2 sum k^2 w / sum w + h^2),    nu = s (1 + s c),    c = (sum k^2 w / sum w - h^2) / (h (sum k - h))

c is the first order of their covariance. nu is one less than the number of visibilities, for equal k and, within 3 %, for the default kernel.

Layout of the half plane, [..., row, column], that of rfft2 of an image of n_pix (even) pixels: column k is ``u = k``, row j is ``v = j`` up to n_pix / 2 and
``v = j - n_pix`` beyond, in cells of ``1 / (n_pix * cell)`` wavelengths. A cell reaches from -1/2 to 1/2 around its centre. V(-u, -v) = conj V(u, v) takes
every visibility to u >= 0 and, in the column u = 0, to v >= 0: there is no second place for any of them. Row n_pix / 2 is v = -n_pix / 2 between the columns
u = 0 and Nyquist and v = n_pix / 2 in these two, whose rows beyond stay empty: the transform of an image repeats itself there, the sky does not.
In four cells it is real (`Gridded.real_only`), so their imaginary parts are no data; in the one at u = v = 0, V and its partner are one, and the sign of
what is odd in them is that of u >= 0.
"""

import math
import operator
from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.special import i0

from galmass import stores
from galmass.errors import InputError
from galmass.units import ARCSEC
from galmass.visibilities.coverage import good_size

BETA = 2.0  # shape of the kernel of one cell: 0.44 at its edge
MIN_EFFECTIVE = 5.0  # visibilities: of fewer, the scatter is no error
LEAST_NU = 3.0  # likewise, of the degrees of freedom: Student's t has no variance at 2
MOST_OUTSIDE = 0.01  # of the visibilities: the longest baselines, which say most of the black hole, do not go unnoticed
MOST_THIN, WRONG_WEIGHTS = 0.1, 1.1  # share of cells and ratio of variances from which errors by the weights are worth a warning
SAME_CELL = 1e-3  # how far [cells] from a cell's centre an imported cell may lie by rounding of the field of view
CHUNK = 2**17  # visibilities at a time: what is computed on the way stays in the cache


@dataclass(frozen=True, eq=False)
class Gridded:
    """Means of visibilities in uv cells; arrays (n_chan, n_pix, n_pix // 2 + 1), 0 where `mask` is False.

    Attributes
    ----------
    mean : complex128
        [Jy].
    std : complex128
        Standard error of the real part + i that of the imaginary part [Jy].
    propagated : float64
        Standard error of either part that the weights promise [Jy].
    count : float64
        Effective number of visibilities. NaN where a file does not tell.
    nu : float32
        Degrees of freedom of `std`, infinite where it is by the weights. NaN where a file does not tell: student_t needs it, the gaussian likelihoods do not.
    mask : bool
        Filled, with a usable error.
    du, dv : float32
        Weighted mean of u and v minus the centre of the cell [cells].
    taper : (n_pix, n_pix) float64
        1 at the centre: to be multiplied into the image of a model.
    n_pix, cell_arcsec
        Pixels along a side of that image, and their size.
    frequency : (n_chan,) float64
        [Hz].
    metadata : dict
        That of the visibilities, with what was left out in its notes, and kernel: support, beta, min_effective, information_factor.
    """

    mean: np.ndarray
    std: np.ndarray
    propagated: np.ndarray
    count: np.ndarray
    nu: np.ndarray
    mask: np.ndarray
    du: np.ndarray
    dv: np.ndarray
    taper: np.ndarray
    n_pix: int
    cell_arcsec: float
    frequency: np.ndarray
    metadata: dict = field(default_factory=dict)

    @property
    def real_only(self) -> np.ndarray:
        """(n_pix, n_pix // 2 + 1) bool: cells whose imaginary part says nothing about an image, because they are their own partners."""
        own = np.zeros(self.mask.shape[-2:], bool)
        own[np.ix_([0, self.n_pix // 2], [0, -1])] = True
        return own

    @property
    def thin_share(self) -> float | None:
        """Share of the cells whose error is by the weights, for want of visibilities; None where counts are not known."""
        nu = self.nu[self.mask]
        return None if np.isnan(nu).any() else float(np.isinf(nu).mean())

    @property
    def n_data(self) -> int:
        """Independent real numbers: two a cell, one in those of `real_only`, over the information_factor of the kernel."""
        numbers = 2 * self.mask.sum() - (self.mask & self.real_only).sum()
        return round(float(numbers) / self.metadata["kernel"]["information_factor"])


def grid(visibilities, n_pix: int, cell_arcsec: float, support: int = 1, beta: float | None = None, min_effective: float = MIN_EFFECTIVE) -> Gridded:
    """Means and standard errors of visibilities in the cells of the uv plane of an image.

    Parameters
    ----------
    visibilities : galmass.visibilities.io.Visibilities
        Read one channel at a time: its arrays may lie on disc.
    n_pix : int
        Pixels along one side of the image, even.
    cell_arcsec : float
        Size of a pixel [arcsec]; the uv cell is 1 / (n_pix * cell).
    support : int
        Width of the kernel in uv cells. 1: cells are independent. m > 1: each visibility counts in m * m cells, which correlate; a likelihood that takes
        them as independent must be divided by ``metadata["kernel"]["information_factor"]``. A visibility closer than m / 2 cells to the origin can meet its own
        partner in a cell.
    beta : float, optional
        Shape of the kernel, 0 for a box. Default: 2 for one cell, ``pi sqrt(m^2 / 4 - 0.8)`` for wider ones (Beatty et al. 2005, without oversampling).
    min_effective : float
        Effective number of visibilities below which the error is taken from the weights.

    Raises
    ------
    InputError
        For grids or kernels that cannot be, NaN in visibilities that are not flagged, no usable visibility, or more than MOST_OUTSIDE of them outside the grid.

    Notes
    -----
    Visibilities that are flagged or have a weight <= 0 do not count; those outside the grid are left out. ``metadata["notes"]`` says how many.
    Memory: 61 bytes a cell and channel for the result, and about 150, and 40 more for each further cell of support^2, a visibility of one channel.
    """
    _check_grid(n_pix, cell_arcsec)
    beta = _check_kernel(support, beta)
    shape, scale = (n_pix, n_pix // 2 + 1), n_pix * cell_arcsec * ARCSEC
    n_chan = len(visibilities.frequency)
    result = {name: np.zeros((n_chan, *shape), kind) for name, kind in _FIELDS.items()}
    tally, places = _Tally(n_pix, cell_arcsec), None
    for channel in range(n_chan):
        if places is None or np.ndim(visibilities.u) == 2:
            u, v = (_row(x, channel) for x in (visibilities.u, visibilities.v))
            _check_finite(u, v, channel)
            places = [_places(u[part] * scale, v[part] * scale, part.start, n_pix, support, beta) for part in _parts(len(u))]
        values, weight, refused = _usable(visibilities, channel)
        tally.add(u, v, places, weight, refused)
        for name, array in zip(_FIELDS, _statistics(values, weight, places, math.prod(shape), min_effective), strict=True):
            result[name][channel] = array.reshape(shape)
    kernel = {"support": support, "beta": beta, "min_effective": min_effective, "information_factor": information_factor(support, beta)}
    metadata = {**visibilities.metadata, "kernel": kernel, "notes": [*visibilities.metadata.get("notes", []), *tally.notes()]}
    frequency = np.asarray(visibilities.frequency, float)
    found = Gridded(**result, taper=taper(n_pix, support, beta), n_pix=n_pix, cell_arcsec=float(cell_arcsec), frequency=frequency, metadata=metadata)
    if found.thin_share:
        metadata["notes"].append(
            f"{found.thin_share:.1%} of the cells hold fewer than {min_effective:g} effective visibilities: their errors are by the weights"
        )
    return found


def warn_of_thin_cells(gridded: Gridded, weights) -> list[str]:
    """What to warn of where many cells take their errors from weights that are wrong.

    Parameters
    ----------
    weights : mapping
        What `galmass.visibilities.preparation.prepare` says of them: checked, ratio, rescaled.
    """
    share, ratio = gridded.thin_share or 0.0, weights.get("ratio")
    if share <= MOST_THIN or ratio is None or weights.get("rescaled") or 1 / WRONG_WEIGHTS <= ratio <= WRONG_WEIGHTS:
        return []
    return [
        f"warning: {share:.0%} of the cells take their errors from the weights, and scatter over weights is {ratio:.3f}; set channels.rescale_weights: true,"
        " or make cells larger (a smaller field, grid.n_pix * grid.cell_arcsec) so that they hold more visibilities"
    ]


_FIELDS = {"mean": complex, "std": complex, "propagated": float, "count": float, "nu": np.float32, "mask": bool, "du": np.float32, "dv": np.float32}


def kernel(offset, support: int = 1, beta: float = BETA):
    """``I0(beta sqrt(1 - (2 x / support)^2)) / I0(beta)`` at x = `offset` [cells], 0 beyond support / 2."""
    inside = 1 - (2 * np.asarray(offset, float) / support) ** 2
    return np.where(inside >= 0, i0(beta * np.sqrt(np.maximum(inside, 0))) / i0(beta), 0.0)


def taper(n_pix: int, support: int = 1, beta: float = BETA) -> np.ndarray:
    """Fourier transform (n_pix, n_pix) of the kernel on the image, ``c(l) c(m)``, 1 at the centre.

    ``c = sinh(z) / z``, ``z^2 = beta^2 - (pi support x)^2``, x the offset from the centre in units of the field; sin for negative z^2
    (Jackson et al. 1991). The mean of a cell that is evenly filled is the transform of image times taper there.
    """
    x = (np.arange(n_pix) - n_pix // 2) / n_pix
    profile = _sinhc(beta**2 - (math.pi * support * x) ** 2) / _sinhc(np.array(beta**2))
    return np.outer(profile, profile)


def _sinhc(square):
    """``sinh(z) / z`` of z^2, which may be negative."""
    root = np.sqrt(np.maximum(np.abs(square), 1e-30))
    return np.where(square >= 0, np.sinh(root), np.sin(root)) / root


def information_factor(support: int, beta: float) -> float:
    """Sum of the correlations of a cell with all others, itself included, where visibilities lie evenly: 1 for one cell, more for wider kernels.

    What is constant over a few cells is known with this many times the variance that independent cells would give: so many numbers are worth one.
    """
    x = (np.arange(1000 * support) + 0.5) / 1000 - support / 2
    lags = [kernel(x, support, beta) @ kernel(x - a, support, beta) for a in range(support)]
    return float(((lags[0] + 2 * sum(lags[1:])) / lags[0]) ** 2)


@dataclass(frozen=True)
class _Places:
    """Where some of the visibilities go; arrays (n,)."""

    index: np.ndarray | slice  # of the visibilities in their channel
    cell: np.ndarray  # flat index in the half plane
    kernel: np.ndarray
    sign: np.ndarray  # of the imaginary part: -1 where the partner is taken
    du: np.ndarray
    dv: np.ndarray


def _parts(n):
    return [slice(k, min(k + CHUNK, n)) for k in range(0, n, CHUNK)]


def _places(u, v, start, n_pix, support, beta) -> list[_Places]:
    """The support^2 places of visibilities at `u`, `v` (n,) [cells], the first of which is number `start` of its channel."""
    # first to one half plane, so that a visibility and its partner are the same whatever is rounded below
    turned = (u < 0) | ((u == 0) & (v < 0))
    u, v = np.where(turned, -u, u), np.where(turned, -v, v)
    columns, rows = (np.floor(x - support / 2) + 1 for x in (u, v))
    kernels = [[kernel(x - first - k, support, beta) for k in range(support)] for x, first in ((u, columns), (v, rows))]
    return [_place(u, v, columns + a, rows + b, kernels[0][a] * kernels[1][b], turned, start, n_pix) for a in range(support) for b in range(support)]


def _place(u, v, column, row, values, turned, start, n_pix) -> _Places:
    nyquist = n_pix // 2
    flipped = (column < 0) | ((column == 0) & (row < 0))
    side = np.where(flipped, -1.0, 1.0)
    du, dv, column, row = side * (u - column), side * (v - row), side * column, side * row
    edge = (column == 0) | (column == nyquist)
    inside = (column <= nyquist) & np.where(edge, (row >= 0) & (row <= nyquist), (row >= -nyquist) & (row < nyquist))
    keep = slice(None) if inside.all() else np.flatnonzero(inside)
    index = slice(start, start + len(u)) if isinstance(keep, slice) else start + keep
    cell = np.mod(row[keep], n_pix).astype(np.int64) * (nyquist + 1) + column[keep].astype(np.int64)
    return _Places(index, cell, values[keep], (np.where(turned, -side, side))[keep], du[keep], dv[keep])


def _row(array, channel):
    """Values (n_vis,) float64 of one channel of an array that may be the same for all."""
    return np.asarray(array[channel] if np.ndim(array) == 2 else array, dtype=float)


def _usable(visibilities, channel):
    """Visibilities and weights (n_vis,) of a channel, 0 where they do not count, and how many are not flagged but have a weight <= 0."""
    values, weight = np.asarray(visibilities.vis[channel], complex), np.asarray(visibilities.weight[channel], float)
    open_ = ~np.asarray(visibilities.flag[channel], bool)
    broken = open_ & ~((np.isfinite(values)) & np.isfinite(weight))
    if broken.any():
        raise InputError(
            f"channel {channel}: {broken.sum()} of {len(broken)} visibilities or weights are NaN or infinite and not flagged"
            f" (the first is number {np.argmax(broken)}); flag them"
        )
    used = open_ & (weight > 0)
    return np.where(used, values, 0), np.where(used, weight, 0), int(np.sum(open_ & ~used))


def _statistics(values, weight, places, n_cells, min_effective):
    """The arrays (n_cells,) of `_FIELDS` of one channel."""
    places = [place for part in places for place in part]
    total, square, own, cube, kernels, kernels2, re, im, du, dv = _sums(_moments(p, values, weight) for p in places)(n_cells, 10)
    filled = total > 0
    safe = np.where(filled, total, 1.0)
    re, im, du, dv = re / safe, im / safe, du / safe, dv / safe
    # about the mean, in a second pass: the difference of sums would lose what a strong source leaves of the scatter
    scatter = _sums(_deviations(p, values, weight, re, im) for p in places)(n_cells, 2)
    count = np.where(filled, safe**2 / np.where(filled, square, 1.0), 0.0)
    propagated = np.sqrt(own) / safe
    factor, nu = _freedom(own / safe, cube / safe, kernels, kernels2)
    thin = (count < min_effective) | (count <= 1 + 1e-9) | ~(nu >= LEAST_NU)
    std = np.where(thin | (scatter <= 0), propagated, np.sqrt(scatter / safe * np.where(thin, 1.0, factor)))
    mask = filled & np.all(np.isfinite(std) & (std > 0), axis=0)
    return tuple(np.where(mask, x, 0) for x in (re + 1j * im, std[0] + 1j * std[1], propagated, count, np.where(thin, np.inf, nu), mask, du, dv))


def _freedom(mean_kernel, mean_square, kernels, kernels2):
    """Variance of the mean over that of the visibilities, as the scatter tells it, and degrees of freedom: (n_cells,) each, anything for one visibility.

    Of the means of k and k^2 by w, and the sums of k and k^2 over the visibilities.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        expected = kernels - mean_kernel
        satterthwaite = expected**2 / (kernels2 - 2 * mean_square + mean_kernel**2)
        covariance = (mean_square - mean_kernel**2) / (mean_kernel * expected)
        return mean_kernel / expected, satterthwaite * (1 + satterthwaite * covariance)


def _sums(terms):
    """Function (n_cells, n) -> sums (n, n_cells) over cells of `terms`, pairs of cells and n weights each."""

    def add(n_cells, n):
        sums = np.zeros((n, n_cells))
        for cell, weights in terms:
            for total, weight in zip(sums, weights, strict=True):
                total += np.bincount(cell, weight, n_cells)
        return sums

    return add


def _moments(place, values, weight):
    kernel_ = np.where(weight[place.index] > 0, place.kernel, 0.0)
    weight, values = weight[place.index] * place.kernel, values[place.index]
    by_kernel = weight * place.kernel  # k^2 / sigma^2
    powers = (weight, weight**2, by_kernel, by_kernel * place.kernel, kernel_, kernel_**2)
    return place.cell, (*powers, weight * values.real, weight * values.imag * place.sign, weight * place.du, weight * place.dv)


def _deviations(place, values, weight, re, im):
    weight, values = weight[place.index] * place.kernel, values[place.index]
    return place.cell, (weight * (values.real - re[place.cell]) ** 2, weight * (values.imag * place.sign - im[place.cell]) ** 2)


class _Tally:
    """What was left out, over all channels."""

    def __init__(self, n_pix, cell_arcsec):
        self.n_pix, self.cell_arcsec = n_pix, cell_arcsec
        self.used, self.outside, self.refused, self.longest = 0, 0, 0, 0.0

    def add(self, u, v, places, weight, refused):
        used = weight > 0
        inside = np.zeros(len(used), bool)
        for place in (p for part in places for p in part):
            inside[place.index] = True
        self.refused += refused
        self.used += int(used.sum())
        self.outside += int((used & ~inside).sum())
        if self.used:
            self.longest = max(self.longest, np.max(np.maximum(np.abs(u), np.abs(v)), where=used, initial=0.0))

    def notes(self) -> list[str]:
        """For people; `InputError` where too little is left."""
        if self.used == 0:
            raise InputError("no visibility is left to grid: all are flagged or have a weight <= 0; look at the flags and weights of the input")
        if self.outside > MOST_OUTSIDE * self.used:
            fits = 0.999 * (1 - 1 / self.n_pix) / (2 * self.longest * ARCSEC)  # without Nyquist, and rounded to four digits
            raise InputError(
                f"{self.outside} of {self.used} visibilities ({self.outside / self.used:.1%}) lie outside the uv grid: its pixels are too large;"
                f" grid.cell_arcsec = {fits:.4g} or less holds them all, with grid.n_pix = {good_size(math.ceil(self.n_pix * self.cell_arcsec / fits))}"
                f" for the same field (n_pix alone does not help: the grid ends at 1 / (2 cell_arcsec))"
            )
        lost = {"outside the uv grid": self.outside, "with a weight <= 0": self.refused}
        return [f"gridding left out {n} visibilities {why} ({self.used} had a weight)" for why, n in lost.items() if n]


def _check_grid(n_pix, cell_arcsec) -> None:
    if n_pix != operator.index(n_pix) or n_pix < 2 or n_pix % 2:
        raise InputError(f"n_pix = {n_pix}: the uv grid needs an even number of pixels; use {good_size(max(2, n_pix))}")
    if not (0 < cell_arcsec < math.inf):
        raise InputError(f"cell_arcsec = {cell_arcsec}: must be positive and finite [arcsec]")


def _check_kernel(support, beta) -> float:
    if support != int(support) or support < 1:
        raise InputError(f"support = {support}: the width of the kernel is a whole number of uv cells, 1 for independent cells")
    if beta is None:
        return BETA if support == 1 else math.pi * math.sqrt(support**2 / 4 - 0.8)
    if not (0 <= beta < 100):
        raise InputError(f"beta = {beta}: the shape of the kernel lies between 0 (a box) and 100")
    return float(beta)


def _check_finite(u, v, channel) -> None:
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        raise InputError(f"channel {channel}: u or v is NaN or infinite; leave such visibilities out")


_LABELS = {
    "channel": ("", "index of the channel"),
    "row": ("", "row of the half plane"),
    "column": ("", "column of the half plane"),
    "mean": ("Jy", "weighted mean"),
    "std": ("Jy", "standard error of the real part + i that of the imaginary part"),
    "propagated": ("Jy", "standard error of either part by the weights"),
    "count": ("", "effective number of visibilities"),
    "nu": ("", "degrees of freedom of the standard error, infinite where it is by the weights"),
    "du": ("", "weighted mean of u minus the centre of the cell, in cells"),
    "dv": ("", "weighted mean of v minus the centre of the cell, in cells"),
}


def write(path, gridded: Gridded) -> dict[str, str]:
    """Write the filled cells as a Zarr store; returns the digests of its arrays."""
    where = np.nonzero(gridded.mask)
    columns = dict(zip(("channel", "row", "column"), (x.astype(np.int32) for x in where), strict=True))
    columns |= {name: getattr(gridded, name)[where] for name in _FIELDS if name != "mask"}
    arrays = {name: (values, ("cell",), stores.Column(*_LABELS[name])) for name, values in columns.items()}
    arrays["frequency"] = (gridded.frequency, ("chan",), stores.Column("Hz", "centres of the channels"))
    arrays["taper"] = (gridded.taper, ("y", "x"), stores.Column("", "factor of the gridding kernel, to be multiplied into the image"))
    return stores.write_arrays(path, arrays, {"n_pix": int(gridded.n_pix), "cell_arcsec": float(gridded.cell_arcsec), "metadata": gridded.metadata})


def read(path, digests=None) -> Gridded:
    """What `write` wrote; another store, or a damaged one, is refused."""
    arrays, attributes = stores.read_arrays(path, digests)
    where = tuple(arrays.pop(name) for name in ("channel", "row", "column"))
    frequency, factor, n_pix = arrays.pop("frequency"), arrays.pop("taper"), attributes["n_pix"]
    shape = (len(frequency), n_pix, n_pix // 2 + 1)
    arrays["mask"] = np.ones(len(where[0]), bool)
    if "nu" not in arrays:  # a store by an earlier galmass, whose errors went by the effective count
        thin = arrays["count"] < attributes["metadata"]["kernel"]["min_effective"]
        arrays["nu"] = np.where(thin, np.inf, arrays["count"] - 1)
    dense = {name: _scattered(arrays[name], where, shape, kind) for name, kind in _FIELDS.items()}
    return Gridded(**dense, taper=factor, n_pix=n_pix, cell_arcsec=attributes["cell_arcsec"], frequency=frequency, metadata=attributes["metadata"])


def _scattered(values, where, shape, kind):
    dense = np.zeros(shape, kind)
    dense[where] = values
    return dense


def of_visibilities(visibilities, n_pix: int | None, cell_arcsec: float | None, **options) -> Gridded:
    """`from_gridded` for visibilities that came gridded, which must be on a grid of these uv cells (None: whatever it is), and `grid` for all others.

    The `options` of `grid` have no say in the former: a `support` that is not the file's is refused, the others are noted where they differ; None is what the
    file has.
    """
    about = visibilities.metadata.get("grid")
    if about is None:
        if None in (n_pix, cell_arcsec, options.get("support", 1)):
            raise InputError("config: grid.n_pix, cell_arcsec and support may be null for visibilities that came gridded only; state them")
        return grid(visibilities, n_pix, cell_arcsec, **options)
    field_of_view = about["n_pix"] * about["cell_arcsec"]
    if None not in (n_pix, cell_arcsec) and abs(n_pix * cell_arcsec / field_of_view - 1) > 1e-4:
        raise InputError(
            f"these visibilities came gridded with a field of {field_of_view:.6g} arcsec, and n_pix * cell_arcsec is {n_pix * cell_arcsec:.6g};"
            f" set cell_arcsec to {field_of_view / n_pix:.6g}"
        )
    found = from_gridded(visibilities, n_pix)
    found.metadata["notes"].extend(_unused(about, found.metadata["kernel"], **options))
    return found


def _unused(about, theirs, support=None, beta=None, min_effective=None) -> list[str]:
    """What to note of options for visibilities that came gridded; `InputError` for another support than theirs."""
    if "window_m" in about and support not in (None, theirs["support"]):
        raise InputError(
            f"config: grid.support is {support}, and these visibilities came gridded with a kernel {theirs['support']} uv cells wide; set it to that or null"
        )
    if "window_m" not in about:
        stated = {"support": support, "beta": beta, "min_effective": min_effective}
        said = ", ".join(f"{key} = {value:g}" for key, value in stated.items() if value is not None)
        return [f"the file does not tell its kernel: grid.{said} were not used"] if said else []
    other = [] if beta is None or theirs["beta"] == beta else [f"the file's kernel has beta = {theirs['beta']}; grid.beta = {beta} was not used"]
    return [f"the file's kernel is {theirs['support']} uv cells wide; without counts in the file grid.min_effective is not used", *other]


def from_gridded(visibilities, n_pix: int | None = None) -> Gridded:
    """The grid of a file that came gridded (viscube), every number of it at its cell.

    Parameters
    ----------
    visibilities : galmass.visibilities.io.Visibilities
        With `std`, `taper` and ``metadata["grid"]`` = n_pix, cell_arcsec: each "visibility" is a cell.
    n_pix : int, optional
        Even, not below that of the file; default: the file's, or the next good size where that is odd. The uv cells stay as they are, so the field does, and
        pixels become smaller.

    Raises
    ------
    InputError
        Without a grid, or for cells that lie on none, or twice.

    Notes
    -----
    Effective counts are not in such files: `count` and `nu` are NaN and only gaussian likelihoods are left; `propagated` is the mean of both parts' errors.
    The taper is carried to other pixels by a spline (1e-10 for one cell of support). Where the file has none, that of its Kaiser-Bessel kernel is taken,
    or 1; a note says so.
    """
    about = visibilities.metadata.get("grid")
    if about is None or getattr(visibilities, "std", None) is None:
        raise InputError("these visibilities were not gridded before; grid them with galmass.visibilities.gridding.grid")
    theirs = int(about["n_pix"])
    n_pix = n_pix or (theirs if theirs % 2 == 0 else good_size(theirs))
    cell_arcsec = about["cell_arcsec"] * theirs / n_pix
    _check_grid(n_pix, cell_arcsec)
    if n_pix < theirs:
        raise InputError(f"n_pix = {n_pix}: the file has {theirs} uv cells a side; use {good_size(theirs)} or more")
    place = _cells_of(visibilities, n_pix, n_pix * cell_arcsec * ARCSEC)
    shape = (len(visibilities.frequency), n_pix, n_pix // 2 + 1)
    channel, number = np.nonzero(~np.asarray(visibilities.flag, bool))
    where = (channel, *np.divmod(place.cell[number], shape[-1]))
    mean, std, weight = (np.asarray(x)[channel, number] for x in (visibilities.vis, visibilities.std, visibilities.weight))
    mean = mean.real + 1j * place.sign[number] * mean.imag
    fields = {"mean": mean, "std": std, "propagated": weight**-0.5, "count": np.nan, "nu": np.nan, "mask": True, "du": 0.0, "dv": 0.0}
    dense = {name: _scattered(fields[name], where, shape, kind) for name, kind in _FIELDS.items()}
    kernel_, factor, notes = _kernel_of(about, visibilities.taper, n_pix)
    metadata = {**visibilities.metadata, "kernel": kernel_, "notes": [*visibilities.metadata.get("notes", []), *notes]}
    frequency = np.asarray(visibilities.frequency, float)
    return Gridded(**dense, taper=factor, n_pix=n_pix, cell_arcsec=cell_arcsec, frequency=frequency, metadata=metadata)


def _cells_of(visibilities, n_pix, scale) -> _Places:
    """Places of cells that are given by their centres."""
    if np.ndim(visibilities.u) != 1:
        raise InputError("gridded visibilities have one u and v for all channels, the centres of their cells")
    u, v = (np.asarray(x, float) * scale for x in (visibilities.u, visibilities.v))
    if np.any(np.abs(u - np.rint(u)) > SAME_CELL) or np.any(np.abs(v - np.rint(v)) > SAME_CELL):
        raise InputError("the cells do not lie on a grid with one of them at u = v = 0; a viscube grid has an odd npix, and its field is fov_arcsec")
    (place,) = _places(np.rint(u), np.rint(v), 0, n_pix, 1, 0.0)
    if len(place.cell) < len(u) or len(np.unique(place.cell)) < len(u):
        raise InputError("a cell is given twice, as itself or as its Hermitian partner, or lies outside the grid; keep one half plane")
    return place


def _kernel_of(about, factor, n_pix):
    """The kernel and the taper of a file that came gridded, as far as it tells, and what to note."""
    known = "window_m" in about
    support, beta = int(about.get("window_m", 1)), about.get("window_beta")
    found = {
        "support": support,
        "beta": beta,
        "min_effective": MIN_EFFECTIVE,
        "information_factor": information_factor(support, _check_kernel(support, beta)),
    }
    notes = [] if known else ["the file does not tell how wide its kernel was: one uv cell, without correlation of neighbours, is taken for granted"]
    if factor is not None:
        factor, note = _carried(factor, n_pix)
        return found, factor, notes + note
    if known and beta is not None and "kaiser" in str(about.get("window", "")):
        return found, taper(n_pix, support, beta), [*notes, "the file has no taper: that of its kernel is applied to the model"]
    return found, np.ones((n_pix, n_pix)), [*notes, "the file has no taper and does not tell its kernel: none is applied to the model"]


def _carried(factor, n_pix):
    """A taper on `n_pix` pixels of the same field, and what to note."""
    theirs = len(factor)
    if theirs == n_pix:
        return np.asarray(factor, float), []
    x, wanted = ((np.arange(n) - n // 2) / n for n in (theirs, n_pix))
    for axis in (0, 1):
        factor = make_interp_spline(x, factor, k=5, axis=axis)(wanted)
    return factor, [f"taper carried from {theirs} to {n_pix} pixels by a spline"]
