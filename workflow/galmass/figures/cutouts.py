"""Figures of cutouts: montage with masks, all bands of a few galaxies, and maps of what moves the mass."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from galmass.figures import style

SOFTENING = 8.0  # Lupton et al. 2004, PASP 116, 133: Q
NOISE_TO_WHITE = 150.0  # a pixel of this many times the sky noise is white
MASKED = (0.85, 0.25, 0.6)  # a colour that no galaxy has


def colour_image(images, bands: Sequence[str], mask=None) -> np.ndarray:
    """Red, green, blue (n, n_pix, n_pix, 3) in [0, 1] of images (n, n_band, n_pix, n_pix) [nanomaggy].

    The hue is that of the fluxes and the brightness their asinh (Lupton et al. 2004): i, r, g where there are
    these; else the last, the middle and the first band. Each channel is in units of the noise of all these galaxies'
    border pixels, and masked pixels (`mask` like `images`, 1 = no datum in that band) are purple.
    """
    chosen = channels(bands)
    rgb = np.moveaxis(np.asarray(images, float)[:, chosen], 1, -1)
    border = np.concatenate([rgb[:, 0], rgb[:, -1], rgb[:, :, 0], rgb[:, :, -1]], axis=1).reshape(-1, 3)
    noise = 1.4826 * np.median(np.abs(border - np.median(border, 0)), 0)
    rgb = rgb / np.where(noise > 0, noise, 1)
    intensity = np.maximum(rgb.mean(-1), 1e-6)
    brightness = np.arcsinh(SOFTENING * intensity / NOISE_TO_WHITE * 10) / np.arcsinh(SOFTENING * 10)
    rgb = rgb * (brightness / intensity)[..., None]
    rgb = np.clip(rgb / np.maximum(rgb.max(-1, keepdims=True), 1), 0, 1)  # too bright: the hue stays
    if mask is not None:
        rgb[np.asarray(mask)[:, chosen].any(1)] = MASKED
    return rgb


def channels(bands: Sequence[str]) -> list[int]:
    """Which bands are red, green and blue."""
    if {"i", "r", "g"} <= set(bands):
        return [list(bands).index(b) for b in "irg"]
    return [len(bands) - 1, len(bands) // 2, 0]


def montage(images, mask, bands: Sequence[str], titles: Sequence[str], pixel_scale_arcsec: float, columns: int = 8) -> Figure:
    """Colour images of galaxies side by side, masked pixels purple.

    Parameters
    ----------
    images : float array (n, n_band, n_pix, n_pix) [nanomaggy]
    mask : array like `images`
        1 = no datum.
    titles : sequence of n str
    """
    n = len(images)
    rows = -(-n // columns)
    drawn = style.figure(1.15 * columns, 1.32 * rows + 0.4)
    axes = drawn.subplots(rows, columns, squeeze=False).ravel()
    for axis, image, title in zip(axes, colour_image(images, bands, mask), titles, strict=False):
        _show(axis, image)
        axis.set_title(title, fontsize=6)
    for axis in axes[n:]:
        axis.set_visible(False)
    if n:
        _scale_bar(axes[0], images.shape[-1], pixel_scale_arcsec)
    lost = float(np.mean(mask)) if n else 0.0
    red, green, blue = (bands[i] for i in channels(bands))
    drawn.suptitle(f"{n} galaxies; red, green, blue: {red}, {green}, {blue}; {lost:.1%} of the pixels masked")
    return drawn


def _show(axis, image) -> None:
    axis.imshow(image, origin="lower", interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _scale_bar(axis, n_pix: int, pixel_scale_arcsec: float) -> None:
    """A bar of the largest round number of arcsec that is at most half the image."""
    side = n_pix * pixel_scale_arcsec
    length = max((r for r in (1, 2, 5, 10, 20, 50, 100) if r <= side / 2), default=side / 2)
    axis.plot([0.06 * n_pix, 0.06 * n_pix + length / pixel_scale_arcsec], [0.07 * n_pix] * 2, "w-", lw=1.5)
    axis.text(0.06 * n_pix, 0.1 * n_pix, f'{length:g}"', color="w", fontsize=6, va="bottom")


def _map():
    from matplotlib import colormaps

    return colormaps[style.MAP].with_extremes(bad=MASKED)


def saliency(images, mask, bands: Sequence[str], maps, titles: Sequence[str], size: int) -> Figure:
    """Galaxies above what hiding each part of them does to the estimated mass.

    Parameters
    ----------
    images, mask : arrays (n, n_band, n_pix, n_pix)
    maps : float array (n, n_map, n_map) [dex]
        `galmass.contrastive.saliency.Occlusion.maps`.
    size : int
        Side of the hidden patch in pixels of the maps.
    """
    drawn = style.figure(1.3 * len(images) + 1, 3.2)
    axes = drawn.subplots(2, len(images), squeeze=False)
    limit = float(np.quantile(np.abs(maps), 0.995)) or 1.0
    for above, below, image, shift, title in zip(*axes, colour_image(images, bands, mask), maps, titles, strict=True):
        _show(above, image)
        above.set_title(title, fontsize=6)
        shown = below.imshow(shift, origin="lower", cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
        below.set(xticks=[], yticks=[])
    drawn.colorbar(shown, ax=axes[1], label="shift of the estimate [dex]")
    drawn.suptitle(f"what hiding {size} x {size} pixels does to the estimated mass")
    return drawn


def saliency_profile(radius_arcsec, shift, n_galaxy: int) -> Figure:
    """Mean |shift| of the estimate against the distance of the hidden patch from the centre.

    Parameters
    ----------
    radius_arcsec, shift : arrays (n_ring,) [arcsec], [dex]
        Outer radii and means (`galmass.contrastive.saliency.profile`).
    """
    drawn = style.figure(4.5, 3)
    axis = drawn.subplots()
    axis.stairs(shift, [0, *radius_arcsec], color=style.ORIGINAL, fill=True, alpha=0.4)
    axis.set(xlabel="distance from the centre [arcsec]", ylabel="mean |shift| of the estimate [dex]", ylim=(0, None))
    axis.set_title(f"{n_galaxy} galaxies")
    return drawn
