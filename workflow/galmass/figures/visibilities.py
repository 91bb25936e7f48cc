"""Figures of visibilities: where the baselines are, how well their weights tell the noise, the line, its channels."""

import numpy as np

from galmass.figures import style


def coverage(u, v, count, title: str):
    """Filled uv cells of one channel with their partners, coloured by effective visibilities."""
    drawn = style.figure(5.2, 4.6)
    axis = drawn.subplots()
    size = max(1.0, 2500 / max(1, len(u)))
    colours = np.concatenate([count, count])
    points = axis.scatter(np.r_[u, -u] / 1e3, np.r_[v, -v] / 1e3, c=colours, s=size, cmap=style.MAP, lw=0, rasterized=True)
    axis.set(xlabel="u [kilo-wavelengths]", ylabel="v [kilo-wavelengths]", aspect="equal", title=title)
    axis.invert_xaxis()  # east is left, as in images
    drawn.colorbar(points, ax=axis, label="effective visibilities in a cell")
    return drawn


def spectrum(table, title: str):
    """Line profile on the shortest baselines, with the ratio of the scatter to what the weights promise."""
    drawn = style.figure(6.5, 4.4)
    top, bottom = drawn.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
    top.errorbar(table["velocity_km_s"], 1e3 * table["flux_jy"], 1e3 * table["flux_error_jy"], fmt=".", color=style.ORIGINAL, ms=4, lw=1)
    top.step(table["velocity_km_s"], 1e3 * table["flux_jy"], where="mid", color=style.ORIGINAL, lw=0.8)
    top.axhline(0, color=style.REFERENCE, lw=0.8)
    top.set(ylabel="flux density on the\nshortest baselines [mJy]", title=title)
    bottom.plot(table["velocity_km_s"], table["scatter_ratio"], ".", color=style.PERMUTED, ms=4)
    bottom.axhline(1, color=style.REFERENCE, lw=0.8)
    bottom.set(xlabel="velocity, radio [km/s]", ylabel="scatter /\nweights")
    return drawn


def channel_maps(cube, noise, velocity, cell_arcsec: float, title: str, columns: int = 6, rows: int = 4):
    """Dirty images of up to rows x columns channels about the line."""
    chosen = np.unique(np.linspace(0, len(cube) - 1, min(len(cube), rows * columns)).round().astype(int))
    drawn = style.figure(1.55 * columns, 1.6 * rows + 0.4)
    limit = 1e3 * abs(cube).max()
    axes = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat[len(chosen) :]:
        axis.set_axis_off()
    for axis, k in zip(axes.flat, chosen, strict=False):
        image = sky(axis, 1e3 * cube[k], cell_arcsec, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(f"{velocity[k]:.0f} km/s", fontsize=7)
    drawn.colorbar(image, ax=axes, label="mJy / beam", shrink=0.6)
    drawn.supxlabel("east [arcsec]")
    drawn.supylabel("north [arcsec]")
    drawn.suptitle(f"{title}; noise {1e3 * float(np.median(noise)):.2g} mJy / beam")
    return drawn


def sky(axis, image, cell_arcsec: float, **options):
    """Draw an image [north, east] with east to the left, axes in arcsec."""
    n = len(image)
    edges = ((np.array([0, n]) - n // 2) - 0.5) * cell_arcsec
    drawn = axis.imshow(image[:, ::-1], origin="lower", extent=(edges[1], edges[0], edges[0], edges[1]), interpolation="nearest", **options)
    return drawn
