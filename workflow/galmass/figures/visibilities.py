"""Figures of visibilities: where the baselines are, how well their weights tell the noise, the line, its channels."""

import numpy as np
from matplotlib.patches import Ellipse

from galmass.figures import style

BRIGHT = 5.0  # noise above which a pixel is emission
SIDELOBES = 0.1  # of the peak: what is fainter may be the dirty beam's
SPECK = 0.1  # of the largest patch: smaller ones are noise or sidelobes
BEAMS = 8.0  # width of the smallest window that maps are cut to


def coverage(u, v, count, title: str):
    """Filled uv cells of one channel with their partners, coloured by effective visibilities where these are known."""
    drawn = style.figure(5.2, 4.6)
    axis = drawn.subplots()
    size = float(np.clip(2500 / max(1, len(u)), 1, 20))
    known = bool(np.isfinite(count).all())
    # a few cells of very many visibilities would leave all others dark
    highest = np.quantile(count, 0.98) if known and len(count) else None
    colours = {"c": np.r_[count, count], "cmap": style.MAP, "vmax": highest} if known else {"color": style.ORIGINAL}
    points = axis.scatter(np.r_[u, -u] / 1e3, np.r_[v, -v] / 1e3, s=size, lw=0, rasterized=True, **colours)
    axis.set(xlabel="u [kilo-wavelengths]", ylabel="v [kilo-wavelengths]", aspect="equal", title=title)
    axis.invert_xaxis()  # east is left, as in images
    if known:
        drawn.colorbar(points, ax=axis, label="effective visibilities in a cell", shrink=0.75, extend="max")
    return drawn


def spectrum(table, title: str):
    """Line profile on the shortest baselines, with the ratio of the scatter to what the weights promise where that is known."""
    drawn = style.figure(6.5, 4.4)
    top, bottom = drawn.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
    top.errorbar(table["velocity_km_s"], 1e3 * table["flux_jy"], 1e3 * table["flux_error_jy"], fmt=".", color=style.ORIGINAL, ms=4, lw=1)
    top.step(table["velocity_km_s"], 1e3 * table["flux_jy"], where="mid", color=style.ORIGINAL, lw=0.8)
    top.axhline(0, color=style.REFERENCE, lw=0.8)
    top.set(ylabel="flux density on the\nshortest baselines [mJy]", title=title)
    ratio = table["scatter_ratio"].dropna()
    bottom.axhline(1, color=style.REFERENCE, lw=0.8)
    bottom.plot(table["velocity_km_s"][ratio.index], ratio, ".", color=style.PERMUTED, ms=4)
    if not len(ratio):
        bottom.text(0.5, 0.7, "not checked", transform=bottom.transAxes, ha="center", color=style.REFERENCE)
    # a per cent is what chance does
    bottom.set(xlabel="velocity, radio [km/s]", ylabel="scatter /\nweights", ylim=(min(0.9, ratio.min() - 0.02), max(1.1, ratio.max() + 0.02)))
    return drawn


def channel_maps(cube, noise, velocity, cell_arcsec: float, title: str, columns: int = 6, rows: int = 5, beam=None, like=None):
    """Dirty images of up to rows x columns channels about the line, cut to the emission.

    Parameters
    ----------
    cube : (n_chan, n, n) array
        [Jy / beam].
    noise, velocity : (n_chan,) arrays
        [Jy / beam], [km/s].
    beam : galmass.visibilities.imaging.Beam, optional
        To be drawn in the corner.
    like : (n_chan, n, n) array, optional
        Cube whose emission decides on channels and window: the data, for a cube of residuals.
    """
    bright = emission(cube if like is None else like, noise)
    bright &= largest_patches(bright.any(0))
    chosen = _about_line(bright, rows * columns)
    limit = 1e3 * abs(cube[chosen]).max() or 1.0
    rows = -(-len(chosen) // columns)
    drawn = style.figure(1.35 * columns + 1, 1.3 * rows + 0.7)
    axes = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat[len(chosen) :]:
        axis.set_axis_off()
    for axis, k in zip(axes.flat, chosen, strict=False):
        image = sky(axis, 1e3 * cube[k], cell_arcsec, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(f"{velocity[k]:.0f} km/s", fontsize=7, pad=2)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[max(0, len(chosen) - columns) : len(chosen)]:  # also where the row below is not full
        axis.tick_params(labelbottom=True)
    zoom(axes.flat[0], bright.any(0), cell_arcsec, BEAMS * beam.size if beam else 0.25 * len(cube[0]) * cell_arcsec)
    if beam:
        draw_beam(axes[-1, 0], beam)
    drawn.colorbar(image, ax=axes, label="mJy / beam", shrink=0.6)
    drawn.supxlabel("east [arcsec]")
    drawn.supylabel("north [arcsec]")
    drawn.suptitle(f"{title}; noise {1e3 * float(np.median(noise)):.2g} mJy / beam")
    return drawn


def emission(values, noise):
    """Where an array (n_chan, ...) is brighter than noise (n_chan,) and sidelobes are."""
    least = np.maximum(BRIGHT * np.asarray(noise), SIDELOBES * values.max())
    return values > least.reshape(-1, *[1] * (values.ndim - 1))


def largest_patches(mask):
    """The connected patches of a mask (n, n) without specks: what is smaller than `SPECK` of the largest."""
    from scipy.ndimage import label

    patches, _ = label(mask)
    sizes = np.bincount(patches[mask], minlength=1)
    return mask & (sizes >= SPECK * sizes.max())[patches]


def _about_line(bright, most: int):
    """Channels from one before the first emission to one after the last, all where there is none; evenly thinned to `most`."""
    found = np.flatnonzero(bright.any((1, 2)))
    first, last = (max(0, found[0] - 1), min(len(bright) - 1, found[-1] + 1)) if len(found) else (0, len(bright) - 1)
    return np.unique(np.linspace(first, last, min(last - first + 1, most)).round().astype(int))


def zoom(axis, bright, cell_arcsec: float, least_arcsec: float) -> None:
    """Cut a map to a square about the bright pixels (n, n), `least_arcsec` wide or more, no wider than the image."""
    n = len(bright)
    where = (np.argwhere(bright) if bright.any() else np.array([[n // 2, n // 2]])) - n // 2
    middle = (where.min(0) + where.max(0)) / 2 * cell_arcsec
    half = max(0.65 * (np.ptp(where, axis=0).max() + 1) * cell_arcsec, least_arcsec / 2)
    if 2 * half >= n * cell_arcsec:
        return
    north, east = middle
    axis.set(xlim=(east + half, east - half), ylim=(north - half, north + half))


def draw_beam(axis, beam) -> None:
    """The ellipse of half maximum in the lower left corner of a map that `sky` drew."""
    left, (low, high) = axis.get_xlim()[0], axis.get_ylim()
    gap = 0.7 * beam.major + 0.02 * (high - low)
    # turned counter-clockwise in coordinates whose first grows eastward: against the position angle
    ellipse = Ellipse((left - gap, low + gap), beam.minor, beam.major, angle=-beam.position_angle, fc="0.6", ec="k", lw=0.6, zorder=5)
    axis.add_patch(ellipse)


def sky(axis, image, cell_arcsec: float, **options):
    """Draw an image [north, east] with east to the left, axes in arcsec."""
    n = len(image)
    edges = ((np.array([0, n]) - n // 2) - 0.5) * cell_arcsec
    return axis.imshow(image[:, ::-1], origin="lower", extent=(edges[1], edges[0], edges[0], edges[1]), interpolation="nearest", **options)
