"""Whether the weights of visibilities are what their scatter says, and whether the noise of their channels is independent.

Neighbours differ by noise: the source hardly changes from one integration to the next, nor from one channel to the next. The difference
over the root of ``1/w1 + 1/w2`` has unit variance where the weights are right. Its variance is taken from the median of its
absolute value, ``(median |z| / 0.6745)^2``: a few visibilities of a bright line, a compact source on a fast baseline, or interference do not move it
(1 % of them raise it by 2.4 % at most; a mean of squares has no such bound), at the price of 2.7 times the number of visibilities.

Hanning smoothing and regridding in frequency correlate the noise of adjacent channels, by 2/3 the former. With a and b such noises of unit variance
the correlation is ``(var(a + b) - var(a - b)) / (var(a + b) + var(a - b))``, these variances from medians too.
"""

from dataclasses import dataclass

import numpy as np

from galmass.errors import InputError
from galmass.visibilities.io import Visibilities

MEDIAN_OF_NORMAL = 0.6744897501960817  # median |z| of a unit normal
ERROR_OF_MEDIAN = 2.33  # relative standard error of the variance times the root of the number of normal values (2^0.5 for a mean of squares)
FEWEST = 20  # differences (two numbers each) for a ratio of one channel: good to 37 %
ENOUGH = 100  # of all channels: below, the overall ratio is worse than 16 %
KEPT = 2**24  # normalised numbers of all channels together that the overall ratio is taken from: enough for 0.06 %
CELL_MATES = 8  # visibilities to a uv cell where times are not known: the source changes little across it
LONGEST_GAP = 3.0  # in units of the median interval: beyond lies another scan


@dataclass(frozen=True)
class WeightCheck:
    """Variance by scatter over variance by weights: above 1, the weights promise too much.

    Attributes
    ----------
    ratio : (n_chan,) float
        NaN where a channel has too few differences.
    overall : float
        Of all differences together.
    error : float
        Standard error of `overall` for normal noise.
    number : (n_chan,) int
        Differences.
    neighbours : str
        "times" or "channels".
    """

    ratio: np.ndarray
    overall: float
    error: float
    number: np.ndarray
    neighbours: str


@dataclass(frozen=True)
class Correlation:
    """Of the noise of adjacent channels.

    Attributes
    ----------
    value : float
    error : float
        Its standard error for normal noise.
    noise : str
        What it was taken from: differences in "times" or in uv "cells", or "line-free channels".
    """

    value: float
    error: float
    noise: str


def channel_correlation(visibilities: Visibilities, line_free=None) -> Correlation:
    """Correlation of the noise of adjacent channels, as they are.

    Noise is what successive integrations of a baseline differ by, where times are known; else what visibilities of one uv cell differ by, in the line-free
    channels where these are known; of visibilities that came gridded it is what line-free channels hold.

    Parameters
    ----------
    line_free : (n_chan,) bool array, optional

    Raises
    ------
    InputError
        For one channel, gridded visibilities without line-free channels, or fewer than `ENOUGH` numbers.
    """
    n_chan = len(visibilities.frequency)
    free = np.zeros(n_chan, bool) if line_free is None else np.asarray(line_free, bool)
    free, every = np.flatnonzero(free[1:] & free[:-1]), np.arange(n_chan - 1)
    if visibilities.std is not None:
        noise, kind, channels = _of_cells(visibilities), "line-free channels", free
    elif visibilities.time is not None and visibilities.baseline is not None:
        noise, kind, channels = _of_pairs(visibilities, *_successors(visibilities)), "times", every
    else:
        noise, kind, channels = _of_pairs(visibilities, *_cell_mates(visibilities)), "cells", free if len(free) else every
    pairs = [(a + b, a - b) for a, b in ((noise(k), noise(k + 1)) for k in channels)]
    sums, differences = (np.concatenate([np.empty(0), *(pair[i] for pair in pairs)]) for i in (0, 1))
    known = np.isfinite(sums)
    if known.sum() < ENOUGH:
        raise InputError(f"channels: {known.sum()} numbers of noise in adjacent channels ({kind}); {ENOUGH} or more are needed for their correlation")
    plus, minus = _variance(sums[known]), _variance(differences[known])
    value = (plus - minus) / (plus + minus)
    return Correlation(value, float((1 - value**2) * ERROR_OF_MEDIAN / (2 * known.sum()) ** 0.5), kind)


def _of_cells(visibilities: Visibilities):
    """Function of a channel -> numbers of noise (2 n,) of visibilities that came gridded, in their errors; NaN where there is none."""

    def noise(channel):
        std = np.where(visibilities.flag[channel], np.nan, visibilities.std[channel])
        return np.concatenate([visibilities.vis[channel].real / std.real, visibilities.vis[channel].imag / std.imag])

    return noise


def _of_pairs(visibilities: Visibilities, before, after):
    """The same of differences between visibilities `before` and `after` (n,)."""
    step = 1 + 2 * len(before) * len(visibilities.frequency) // KEPT
    before, after = before[::step], after[::step]

    def noise(channel):
        vis, weight, flag = (array[channel] for array in (visibilities.vis, visibilities.weight, visibilities.flag))
        usable = ~(flag[before] | flag[after]) & (weight[before] > 0) & (weight[after] > 0)
        found = np.full((2, len(before)), np.nan, np.float32)
        found[:, usable] = _normalised(*(array[index[usable]] for index in (before, after) for array in (vis, weight))).reshape(2, -1)
        return found.ravel()

    return noise


def _cell_mates(visibilities: Visibilities):
    """Indices of visibilities that lie in one uv cell with the next ones, and of these."""
    u, v = (array if array.ndim == 1 else array[len(array) // 2] for array in (visibilities.u, visibilities.v))
    reach = max(abs(u).max(), abs(v).max(), 1e-300)
    side = max(1, int((len(u) / CELL_MATES) ** 0.5))
    column, row = (np.floor((x / reach + 1) / 2 * side).astype(int) for x in (u, v))
    cell = column * (side + 1) + row
    order = np.argsort(cell, kind="stable")
    same = np.diff(cell[order]) == 0
    return order[:-1][same], order[1:][same]


def check(visibilities: Visibilities, neighbours: str | None = None) -> WeightCheck:
    """Compare the weights with differences of neighbours.

    Parameters
    ----------
    neighbours : {"times", "channels"}, optional
        Successive integrations of one baseline, or the next channel. Times where they are known: differences in time are free of the correlation that
        Hanning smoothing or regridding leaves between channels, and of the line's own slope in frequency. Channels lose the continuum only.

    Raises
    ------
    InputError
        When there are no neighbours, or fewer than `ENOUGH`.
    """
    if visibilities.std is not None:
        raise InputError("gridded visibilities carry errors from their scatter; weights are checked before gridding")
    neighbours = neighbours or ("times" if visibilities.time is not None and visibilities.baseline is not None else "channels")
    pairs = {"times": _in_time, "channels": _in_frequency}
    if neighbours not in pairs:
        raise InputError(f"neighbours = {neighbours!r}; it must be one of {', '.join(pairs)}")
    number, ratio, kept = [], [], []
    for pair in pairs[neighbours](visibilities):
        z = _normalised(*pair)
        number.append(z.size // 2)
        ratio.append(_variance(z) if number[-1] >= FEWEST else np.nan)
        kept.append(z[:: 1 + z.size * len(visibilities.frequency) // KEPT].copy())  # a view would keep all of z
    if sum(number) < ENOUGH:
        raise InputError(f"weights: only {sum(number)} differences between neighbouring {neighbours}; {ENOUGH} or more are needed to check them")
    together = np.concatenate(kept)
    overall = _variance(together)
    return WeightCheck(np.array(ratio), overall, overall * ERROR_OF_MEDIAN / together.size**0.5, np.array(number), neighbours)


def rescale(visibilities: Visibilities, ratio) -> Visibilities:
    """Visibilities whose weights are divided by `ratio`, a number or (n_chan,); channels with a ratio of NaN keep theirs."""
    ratio = np.asarray(ratio, float)
    if ratio.shape not in ((), visibilities.frequency.shape) or (ratio <= 0).any() or np.isinf(ratio).any() or np.isnan(ratio).all():
        raise InputError(f"ratio {ratio} cannot rescale weights: one positive number, or one for each of the {len(visibilities.frequency)} channels")
    divisor = np.where(np.isnan(ratio), 1, ratio).astype(visibilities.weight.dtype)
    weight = visibilities.weight / (divisor[:, None] if divisor.ndim else divisor)
    said = f"{ratio:.4f}" if ratio.ndim == 0 else f"one number a channel, {np.nanmin(ratio):.4f} to {np.nanmax(ratio):.4f}"
    return visibilities.noted(f"weights divided by {said}", weight=weight)


def _in_time(visibilities: Visibilities):
    """For each channel: visibilities, weights and their successors of the same baseline."""
    if visibilities.time is None or visibilities.baseline is None:
        raise InputError("weights: the visibilities do not say times and baselines; use neighbours = 'channels'")
    before, after = _successors(visibilities)
    for vis, weight, flag in zip(visibilities.vis, visibilities.weight, visibilities.flag, strict=True):
        usable = ~(flag[before] | flag[after])
        yield vis[before[usable]], weight[before[usable]], vis[after[usable]], weight[after[usable]]


def _successors(visibilities: Visibilities):
    """Indices of visibilities with a successor of the same baseline and scan, and of the latter."""
    order = np.lexsort((visibilities.time, visibilities.baseline))
    gap = np.diff(visibilities.time[order])
    same = (np.diff(visibilities.baseline[order]) == 0) & (gap > 0)
    same &= gap <= LONGEST_GAP * np.median(gap[same]) if same.any() else same
    return order[:-1][same], order[1:][same]


def _in_frequency(visibilities: Visibilities):
    """For each channel: visibilities, weights and those of the next; the last channel has none."""
    if len(visibilities.frequency) < 2:
        raise InputError("weights: one channel has no neighbour in frequency, and times are not known; they cannot be checked")
    arrays = (visibilities.vis, visibilities.weight, visibilities.flag)
    for k in range(len(visibilities.frequency) - 1):
        (vis, weight, flag), (next_vis, next_weight, next_flag) = (tuple(array[i] for array in arrays) for i in (k, k + 1))
        usable = ~(flag | next_flag)
        yield vis[usable], weight[usable], next_vis[usable], next_weight[usable]
    yield (np.empty(0),) * 4


def _normalised(vis, weight, other_vis, other_weight) -> np.ndarray:
    """Real and imaginary parts of the differences in units of the promised standard deviation."""
    difference = np.asarray(other_vis - vis, complex) / np.sqrt(1 / weight.astype(float) + 1 / other_weight.astype(float))
    return np.concatenate([difference.real, difference.imag]).astype(np.float32)


def _variance(z) -> float:
    return float((np.median(np.abs(z)) / MEDIAN_OF_NORMAL) ** 2)
