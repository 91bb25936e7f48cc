"""Magnitudes measured on the images of a modality: what a photometrist would give a baseline instead of the pixels."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from galmass.contrastive.modalities import Images, Modality, opened, sized
from galmass.contrastive.sources import cropped, evenly, flux_floor, fluxes, rows_of

RADII = (0.1, 0.25, 0.5)  # of the apertures about the centre, in sides of the image


def measured(frames: list, modality: Modality, cutouts: Mapping | None) -> tuple[list[pd.DataFrame], Modality]:
    """Catalogues with columns of aperture magnitudes, and the modality that reads these instead of the images.

    Parameters
    ----------
    frames : list of DataFrame
        The first are the training galaxies: softenings and flux floors are theirs.
    modality : Modality
        Given back as it is where it has no images.
    cutouts : mapping of str to galmass.images.store.Cutouts
    """
    if not modality.images:
        return frames, modality
    columns, tables = [], [[] for _ in frames]
    for images in sized(modality, cutouts).images:
        own = [f"aperture_{images.store}_{band}_{i}" for band in images.bands for i in range(len(RADII))]
        columns += own
        for table, magnitudes in zip(tables, _magnitudes(frames, images, modality, cutouts), strict=True):
            table.append(pd.DataFrame(magnitudes, columns=own))
    out = [pd.concat([frame.reset_index(drop=True), *table], axis=1) for frame, table in zip(frames, tables, strict=True)]
    return out, replace(modality, values=(*modality.values, *columns), images=())


def _magnitudes(frames: list, images: Images, modality: Modality, cutouts: Mapping | None) -> list[np.ndarray]:
    """asinh magnitudes (Lupton et al. 1999, AJ 118, 1406) of each frame, (n_galaxy, n_band * n_radius): finite for any flux."""
    source, floor = opened(cutouts, images, modality), flux_floor(frames[0], images, modality)
    softening = _sky(frames[0], images, source, floor)[:, None] * np.sqrt(inside(images.n_pix).sum(0))
    return [asinh_magnitude(_fluxes(frame, images, source, floor), softening).reshape(len(frame), -1) for frame in frames]


def asinh_magnitude(flux, softening) -> np.ndarray:
    """-2.5 log10 of the flux where it is far above the softening, linear in it about zero."""
    return -2.5 / np.log(10) * (np.arcsinh(flux / (2 * softening)) + np.log(softening))


def inside(n_pix: int) -> np.ndarray:
    """Which pixels lie in which aperture, (n_pix^2, n_radius), 0 or 1."""
    offset = (np.arange(n_pix) - (n_pix - 1) / 2) / n_pix
    radius = np.hypot(*np.meshgrid(offset, offset)).ravel()
    return np.stack([radius < r for r in RADII], 1).astype(np.float32)


def _sky(frame, images: Images, source, floor) -> np.ndarray:
    """Scatter of the pixels on the border of some images, (n_band,)."""
    some = frame.iloc[evenly(len(frame), 512)]
    pixels = _pixels(some, images, source, floor)
    border = np.concatenate([pixels[:, :, 0], pixels[:, :, -1], pixels[:, :, :, 0], pixels[:, :, :, -1]], axis=2)
    border = border.transpose(1, 0, 2).reshape(len(images.bands), -1)
    scatter = 1.4826 * np.median(np.abs(border - np.median(border, axis=1, keepdims=True)), axis=1)
    return np.maximum(scatter, 1e-9 * np.abs(pixels).max())


def _pixels(frame, images: Images, source, floor) -> np.ndarray:
    rows = rows_of(frame["galaxy_id"].astype(str).to_numpy(), source)
    return cropped(source.image(rows, images.bands), images.n_pix) / fluxes(frame, images, floor)[:, :, None, None]


def _fluxes(frame, images: Images, source, floor) -> np.ndarray:
    """Flux in each aperture, float64 (n_galaxy, n_band, n_radius), some galaxies at a time."""
    out = np.empty((len(frame), len(images.bands), len(RADII)))
    for rows in np.array_split(np.arange(len(frame)), max(1, len(frame) // 256)):
        pixels = _pixels(frame.iloc[rows], images, source, floor)
        out[rows] = pixels.reshape(*pixels.shape[:2], -1) @ inside(images.n_pix)
    return out
