"""Which cells of the uv plane an observation filled in which channel, and baselines drawn from them."""

from dataclasses import dataclass, replace

import numpy as np

from galmass.errors import InputError
from galmass.units import ARCSEC


@dataclass(frozen=True, eq=False)
class Coverage:
    """Filled cells of one half of the uv plane.

    Attributes
    ----------
    u, v : (n_cell,) int
        Centres [cells]: u > 0, or u = 0 and v > 0.
    filled : (n_chan, n_cell) bool
    uv_cell : float
        Side of a cell [wavelengths], 1 / field of view.
    frequency : (n_chan,) float64
        [Hz], ascending, evenly spaced.
    channel_width : float
        [Hz].
    """

    u: np.ndarray
    v: np.ndarray
    filled: np.ndarray
    uv_cell: float
    frequency: np.ndarray
    channel_width: float

    def size(self) -> int:
        """Smallest good n_pix whose half plane holds all cells."""
        return good_size(2 * int(max(np.abs(self.u).max(), np.abs(self.v).max())) + 2)

    def cell_arcsec(self, n_pix: int) -> float:
        """Pixel size [arcsec] of an image of `n_pix` pixels with these uv cells."""
        return 1 / (n_pix * self.uv_cell * ARCSEC)

    def half_plane(self, n_pix: int) -> np.ndarray:
        """(n_chan, n_pix, n_pix // 2 + 1) bool in the layout of `galmass.visibilities.gridding`.

        Raises
        ------
        InputError
            Where cells lie outside.
        """
        if n_pix % 2 or n_pix < self.size():
            raise InputError(f"n_pix = {n_pix}: these uv cells need an even grid of {self.size()} or more")
        mask = np.zeros((len(self.frequency), n_pix, n_pix // 2 + 1), bool)
        mask[:, self.v % n_pix, self.u] = self.filled
        return mask


def good_size(n: int) -> int:
    """Smallest even number >= n whose prime factors are 2, 3 and 5: sizes whose transforms are fast."""
    size = max(2, int(n) + int(n) % 2)
    while _without_small_factors(size) != 1:
        size += 2
    return size


def _without_small_factors(n):
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n


def read(path) -> Coverage:
    """Coverage of an .npz with u, v, filled (bits of the channels, packed), uv_cell, frequency: resources/ngc4697/uv_cells.npz."""
    try:
        with np.load(path) as arrays:
            frequency = arrays["frequency"]
            filled = np.unpackbits(arrays["filled"], axis=1, count=len(arrays["u"])).astype(bool)
            u, v, uv_cell = arrays["u"].astype(int), arrays["v"].astype(int), float(arrays["uv_cell"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} holds no uv cells ({error}); git checkout brings the file of the project back") from error
    return Coverage(u, v, filled, uv_cell, frequency, float(np.diff(frequency).mean()))


def thinned(coverage: Coverage, merge: int, keep: float, average: int, seed: int) -> Coverage:
    """`merged` by a factor `merge`, then `thin` to a fraction `keep` of the cells and means of `average` channels."""
    return thin(merged(coverage, merge), keep, average, np.random.default_rng(seed))


def thin(coverage: Coverage, fraction: float, average: int, rng: np.random.Generator) -> Coverage:
    """A random `fraction` of the cells, and channels that average `average` neighbours each; cells that all of them fill stay filled.

    Channels that are left over at the high end are dropped.
    """
    n_chan, n_cell = coverage.filled.shape
    if not 0 < fraction <= 1 or not 1 <= average <= n_chan:
        raise InputError(f"thinning to a fraction {fraction} of the cells and 1 / {average} of {n_chan} channels; 0 < fraction <= 1 <= average <= {n_chan}")
    n_groups = n_chan // average
    filled = coverage.filled[: n_groups * average].reshape(n_groups, average, n_cell).all(axis=1)
    frequency = coverage.frequency[: n_groups * average].reshape(n_groups, average).mean(axis=1)
    left = np.flatnonzero(filled.any(axis=0))
    if len(left) == 0:
        raise InputError(f"no uv cell is filled in {average} neighbouring channels; average fewer")
    kept = np.sort(rng.choice(left, max(1, round(fraction * len(left))), replace=False))
    return replace(_chosen(coverage, kept, filled), frequency=frequency, channel_width=average * coverage.channel_width)


def merged(coverage: Coverage, factor: int) -> Coverage:
    """Cells `factor` (odd) times as wide, filled where one of those in them is: the field of view shrinks by `factor`."""
    if factor < 1 or factor % 2 == 0:
        raise InputError(f"cells can be merged by 1, 3, 5 ..., not by {factor}: the one at u = v = 0 has to stay in the middle")
    u, v = (np.rint(x / factor).astype(int) for x in (coverage.u, coverage.v))
    turned = (u == 0) & (v < 0)
    cells, index = np.unique(np.stack([u, np.where(turned, -v, v)], axis=1), axis=0, return_inverse=True)
    filled = np.zeros((len(coverage.filled), len(cells)), bool)
    np.logical_or.at(filled, (slice(None), index.ravel()), coverage.filled)
    off_centre = (cells != 0).any(axis=1)  # the cell in the middle holds its own partners, for which there is no rule here
    return replace(coverage, u=cells[off_centre, 0], v=cells[off_centre, 1], filled=filled[:, off_centre], uv_cell=factor * coverage.uv_cell)


def _chosen(coverage, kept, filled):
    return replace(coverage, u=coverage.u[kept], v=coverage.v[kept], filled=filled[:, kept])


def draw_counts(n_cell: int, median: float, scatter: float, rng: np.random.Generator) -> np.ndarray:
    """Baselines in each of `n_cell` cells: log-normal about `median` with `scatter` in ln, rounded, at least 1."""
    if median < 1 or scatter < 0:
        raise InputError(f"baselines a cell: median {median}, scatter {scatter}; a median >= 1 and a scatter >= 0 (of the logarithm) are meant")
    return np.maximum(1, np.rint(median * np.exp(scatter * rng.standard_normal(n_cell)))).astype(int)


def draw_baselines(coverage: Coverage, counts, rng: np.random.Generator):
    """u, v (n_vis,) [wavelengths], evenly random inside each cell, and the index of the cell; `counts` (n_cell,) in each.

    Only this half plane: the partners at -u, -v would be the same data again.
    """
    cell = np.repeat(np.arange(len(coverage.u)), counts)
    offset = rng.uniform(-0.5, 0.5, (2, len(cell)))
    return (coverage.u[cell] + offset[0]) * coverage.uv_cell, (coverage.v[cell] + offset[1]) * coverage.uv_cell, cell
