"""Which pixels of which store a modality reads, and what they are divided by; without torch."""

from collections.abc import Mapping

import numpy as np

from galmass.contrastive.modalities import Images, Modality
from galmass.errors import InputError
from galmass.images import store

FLUX_PERCENTILE = {"u": 2.0}  # of the training galaxies; fluxes below are taken to be that large (arXiv 2509.23901)
OTHER_FLUX_PERCENTILE = 0.1


def open_stores(modality: Modality, paths: Mapping) -> dict:
    """The stores that a modality reads, opened: name -> galmass.images.store.Cutouts.

    Parameters
    ----------
    paths : mapping of str to path
        Where each store lies, by name; those that the modality does not read are left alone.
    """
    return {name: store.open(paths[name]) for name in dict.fromkeys(images.store for images in modality.images) if name in paths}


def rows_of(galaxy_id: np.ndarray, source) -> np.ndarray:
    """Row of each galaxy (n,) in a store; `InputError` names the first that it does not have."""
    order = np.argsort(source.galaxy_id, kind="stable")
    place = np.minimum(np.searchsorted(source.galaxy_id, galaxy_id, sorter=order), len(order) - 1)
    rows = order[place]
    lost = source.galaxy_id[rows] != galaxy_id
    if lost.any():
        raise InputError(f"{source.path} has no image of {lost.sum()} galaxies, the first of them {galaxy_id[lost][0]}; leave them out (usable)")
    return rows


def cropped(images, n_pix: int):
    """The middle `n_pix` x `n_pix` pixels of an array or tensor, not a copy."""
    edge = (images.shape[-1] - n_pix) // 2
    return images[..., edge : edge + n_pix, edge : edge + n_pix]


def evenly(n_galaxy: int, n: int) -> np.ndarray:
    """At most `n` rows, evenly chosen."""
    return np.unique(np.linspace(0, n_galaxy - 1, min(n, n_galaxy)).astype(int))


def flux_floor(frame, images: Images, modality: Modality) -> list[float]:
    """Least flux [nanomaggy] of each band that images are divided by, from training galaxies; 0 without normalisation."""
    if images.normalise not in ("none", "petro_flux"):
        raise InputError(f"modality {modality.name}: images.normalise is {images.normalise!r}; known: none, petro_flux")
    if not images.flux_columns:
        return [0.0] * len(images.bands)
    percentiles = [FLUX_PERCENTILE.get(band, OTHER_FLUX_PERCENTILE) for band in images.bands]
    floor = [float(np.percentile(frame[name], q)) for name, q in zip(images.flux_columns, percentiles, strict=True)]
    for name, value, q in zip(images.flux_columns, floor, percentiles, strict=True):
        if value <= 0:
            raise InputError(f"modality {modality.name}: the {q} percentile of {name} is {value:.3g} nanomaggy, and an image cannot be divided by it")
    return floor


def fluxes(frame, images: Images, floor) -> np.ndarray:
    """What the images of each galaxy are divided by, float32 (n_galaxy, n_band) [nanomaggy]; 1 without normalisation."""
    if not images.flux_columns:
        return np.ones((len(frame), len(images.bands)), np.float32)
    return np.maximum(frame[list(images.flux_columns)].to_numpy(np.float32), np.array(floor, np.float32))
