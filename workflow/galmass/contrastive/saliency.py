"""Which part of an image moves the estimated mass: by hiding patches of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from galmass import devices
from galmass.contrastive.models import Model
from galmass.contrastive.stamps import Stamps
from galmass.errors import InputError

AT_A_TIME = 256  # images in one call of the network


@dataclass(frozen=True)
class Occlusion:
    """What hiding a patch of the image does to the mean of the mass density.

    Attributes
    ----------
    shift : float32 array (n_galaxy, n_row, n_column) [dex]
        Estimate with the patch hidden minus estimate with everything seen.
    first : int array (n_row,)
        First pixel of each row, and of each column, of patches.
    size : int
        Side of a patch in pixels.
    n_pix : int
    """

    shift: np.ndarray
    first: np.ndarray
    size: int
    n_pix: int

    def maps(self) -> np.ndarray:
        """Mean shift over the patches that cover each pixel, float64 (n_galaxy, n_pix, n_pix) [dex]."""
        covers = (np.arange(self.n_pix) >= self.first[:, None]) & (np.arange(self.n_pix) < self.first[:, None] + self.size)
        total = np.einsum("gij,iy,jx->gyx", self.shift.astype(float), covers, covers)
        return total / np.outer(covers.sum(0), covers.sum(0))


def patches(n_pix: int, size: int, stride: int) -> np.ndarray:
    """First pixels of patches that cover the image, placed alike on both sides of its centre."""
    if not 0 < stride <= size <= n_pix:
        raise InputError(f"occlusion: size {size} and stride {stride} must be ordered 0 < stride <= size <= {n_pix} pixels")
    n = -(-(n_pix - size) // stride) + 1
    return np.round(np.linspace(0, n_pix - size, n)).astype(int)


def _n_pix(model: Model) -> int:
    if not model.modality.images:
        raise InputError(f"modality {model.modality.name} has no images, and there is nothing to hide")
    return model.modality.n_pix


def _batches(model: Model, frame, cutouts: Mapping, at_a_time: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows, images and context of the galaxies, on the device of the network."""
    device, stamps = devices.best_device(), Stamps(frame, model.modality, cutouts, model.scaling)
    model.network.to(device).eval()
    context = np.hstack(model.standardisation.apply(*model.modality.arrays(frame)))
    for first in range(0, len(frame), at_a_time):
        rows = slice(first, min(first + at_a_time, len(frame)))
        yield rows, stamps.read(np.arange(len(frame))[rows]).to(device), torch.from_numpy(context[rows]).to(device)


def mean_mass(model: Model, images: Tensor, context: Tensor) -> Tensor:
    """Mean of the mass density [log10 M_sun], (n,), before recalibration."""
    centres = torch.tensor((model.edges[1:] + model.edges[:-1]) / 2, dtype=torch.float32, device=images.device)
    return model.network.estimate(model.network.encode(images, context)[0]).softmax(-1) @ centres


@torch.no_grad()
def occlusion(model: Model, frame, cutouts: Mapping, size: int, stride: int, band: int | None = None) -> Occlusion:
    """Shift of the estimated mass when each patch of the image is replaced by the mean sky, zero.

    Parameters
    ----------
    model : Model
        Of a modality with images.
    frame : DataFrame
        The galaxies.
    cutouts : mapping of str to galmass.images.store.Cutouts
    size, stride : int
        Side of a patch, and largest distance of neighbouring patches, in pixels.
    band : int, optional
        Hide the patch in this band alone; in all of them without it.
    """
    first = patches(n_pix := _n_pix(model), size, stride)
    shift = np.empty((len(frame), len(first), len(first)), np.float32)
    bands = slice(None) if band is None else slice(band, band + 1)
    for rows, images, context in _batches(model, frame, cutouts, AT_A_TIME):
        whole = mean_mass(model, images, context)
        for i, y in enumerate(first):
            for j, x in enumerate(first):
                hidden = images.clone()
                hidden[:, bands, y : y + size, x : x + size] = 0
                shift[rows, i, j] = (mean_mass(model, hidden, context) - whole).cpu().numpy()
    return Occlusion(shift, first, size, n_pix)


def profile(maps: np.ndarray, n_ring: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Mean |shift| of maps (n_galaxy, n_pix, n_pix) in rings about the centre: outer radii [pixel] (n_ring,), means (n_ring,) [dex]."""
    n_pix = maps.shape[-1]
    offset = np.arange(n_pix) - (n_pix - 1) / 2
    radius, edges = np.hypot(*np.meshgrid(offset, offset)), np.linspace(0, n_pix / 2, n_ring + 1)
    mean = np.abs(maps).mean(0)
    return edges[1:], np.array([mean[(radius >= low) & (radius < high)].mean() for low, high in pairwise(edges)])
