"""Images as a network sees them: cut from the store's stamps, normalised, stretched, in one of eight orientations."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from galmass.contrastive.modalities import Modality, opened, sized
from galmass.contrastive.sources import cropped, evenly, flux_floor, fluxes, rows_of
from galmass.errors import InputError
from galmass.images import store

N_ORIENTATION = 8  # quarter turns, each mirrored or not
STRETCHES = ("nanomaggy", "noise")


def stretch(x: Tensor, out: Tensor | None = None) -> Tensor:
    """sign(x) ln(1 + |x|): linear about zero, logarithmic where galaxies are bright."""
    return torch.copysign(x.abs().log1p(), x, out=out)


def unstretch(y: Tensor) -> Tensor:
    """The inverse of `stretch`: sign(y) (exp|y| - 1)."""
    return y.abs().expm1().copysign(y)


def turned(images: Tensor, orientation: Tensor) -> Tensor:
    """Each image (n, n_band, n_pix, n_pix) in its own orientation (n,): number of quarter turns, + 4 if mirrored first."""
    out = torch.empty_like(images)
    for code in orientation.unique().tolist():
        chosen = torch.nonzero(orientation == code)[:, 0]
        some = images[chosen]
        out[chosen] = torch.rot90(some.flip(-1) if code >= 4 else some, code % 4, (-2, -1))
    return out


@dataclass(frozen=True)
class ImageScaling:
    """How pixels become the input of a network, fitted on training galaxies; for every band of a modality.

    A pixel x is seen as stretch(x / flux / unit) / scale, with flux the Petrosian flux, at least
    ``flux_floor``, where the images are normalised by it, and 1 elsewhere.

    Attributes
    ----------
    flux_floor : list of float [nanomaggy]
        0 where the images are not normalised.
    unit : list of float [nanomaggy], or none where normalised
    scale : list of float
    """

    flux_floor: list
    unit: list
    scale: list

    @classmethod
    def fit(cls, frame, modality: Modality, cutouts: Mapping, stretch_unit: str, n: int = 1024) -> "ImageScaling":
        """From training galaxies: flux percentiles of all, pixel statistics of at most `n`, evenly chosen.

        Parameters
        ----------
        stretch_unit : 'nanomaggy' or 'noise'
            'nanomaggy': the paper's, every unit and scale 1. 'noise': the unit is the scatter of most pixels (1.4826
            median|x - median|, the sky's), the scale the root mean square of the stretched pixels.
        """
        if stretch_unit not in STRETCHES:
            raise InputError(f"stretch {stretch_unit!r} is unknown; known: {', '.join(STRETCHES)}")
        floor = [f for images in modality.images for f in flux_floor(frame, images, modality)]
        plain = cls(floor, [1.0] * modality.n_band, [1.0] * modality.n_band)
        if stretch_unit == "nanomaggy":
            return plain
        pixels = unstretch(Stamps(frame, modality, cutouts, plain).read(evenly(len(frame), n))).transpose(0, 1).flatten(1)
        unit = (1.4826 * (pixels - pixels.median(1, keepdim=True).values).abs().median(1).values).clamp_min(1e-12)
        return cls(floor, unit.tolist(), stretch(pixels / unit[:, None]).square().mean(1).sqrt().clamp_min(1e-12).tolist())

    def to_dict(self) -> dict:
        """For JSON."""
        return asdict(self)


class Stamps:
    """Images of the galaxies of a catalogue, read when they are asked for.

    Parameters
    ----------
    frame : DataFrame
        Catalogue rows, each with an image in every store (`modalities.usable`).
    modality : Modality
    cutouts : mapping of str to galmass.images.store.Cutouts
    scaling : ImageScaling
    threads : int
        How many read at a time. Threads and no processes: decompression leaves Python's lock, and no image is copied
        from one process to another.
    """

    def __init__(self, frame, modality: Modality, cutouts: Mapping, scaling: ImageScaling, threads: int = 1):
        self.modality, self.threads = sized(modality, cutouts), threads
        modality, sources = self.modality, [opened(cutouts, images, modality) for images in modality.images]
        wanted = frame["galaxy_id"].astype(str).to_numpy()
        self.rows = [rows_of(wanted, source) for source in sources]
        self.digests = [[source.sha256["image"], source.sha256["galaxy_id"]] for source in sources]
        floor, unit, scale = (np.array(x, np.float32) for x in (scaling.flux_floor, scaling.unit, scaling.scale))
        floors = np.split(floor, np.cumsum([len(images.bands) for images in modality.images])[:-1])
        first = (self.modality.n_pix, sources[0].pixel_scale_arcsec)
        self._onto_first = [interpolation(*first, images.n_pix, source.pixel_scale_arcsec) for images, source in zip(modality.images, sources, strict=True)]
        self._divisor = unit * np.hstack([fluxes(frame, images, own) for images, own in zip(modality.images, floors, strict=True)])
        self._scale = torch.from_numpy(scale)[:, None, None]
        # a reader holds decoded chunks and is not made for two threads: training galaxies are read while others are validated
        self._readers = [[store.open(source.path) for source in sources] for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads, "stamps") if threads > 1 else None

    def __len__(self) -> int:
        return len(self._divisor)

    def chunk_of(self) -> np.ndarray:
        """Which run of galaxies of the first store is decoded together with each galaxy, (n_galaxy,)."""
        return self.rows[0] // store.CHUNK

    def buffer(self, n: int) -> Tensor:
        """Room for the images of `n` galaxies."""
        return torch.empty(n, self.modality.n_band, self.modality.n_pix, self.modality.n_pix)

    def read(self, rows, out: Tensor | None = None) -> Tensor:
        """Images of catalogue rows (n,), float32 (n, n_band, n_pix, n_pix); rows in the order of the store are read fastest.

        Parameters
        ----------
        out : tensor, optional
            Where to write them.
        """
        rows = np.asarray(rows)
        out = self.buffer(len(rows)) if out is None else out
        # a few at a time stay in the processor's cache
        pieces = np.array_split(np.arange(len(rows)), -(-len(rows) // store.CHUNK)) if len(rows) else []
        if self._pool is None or len(pieces) < 2:
            self._fill(self._readers[0], rows, out, pieces)
            return out
        shares = [[pieces[i] for i in share] for share in np.array_split(np.arange(len(pieces)), self.threads)]
        list(self._pool.map(lambda readers, share: self._fill(readers, rows, out, share), self._readers, shares))
        return out

    def _fill(self, readers: list, rows: np.ndarray, out: Tensor, pieces: list[np.ndarray]) -> None:
        """Write the images of some of the rows, a piece at a time, to their place."""
        for piece in pieces:
            own, last = slice(piece[0], piece[-1] + 1), 0
            for images, reader, places, onto_first in zip(self.modality.images, readers, self.rows, self._onto_first, strict=True):
                bands = slice(last, last := last + len(images.bands))
                pixels = torch.from_numpy(reader.image(places[rows[piece]], images.bands))
                pixels = cropped(pixels, images.n_pix).div_(torch.from_numpy(self._divisor[rows[piece], bands])[:, :, None, None])
                pixels = resampled(pixels, onto_first)
                out[own, bands] = stretch(pixels, out=pixels).div_(self._scale[bands])


def interpolation(n_pix: int, pixel_scale: float, n_source: int, source_scale: float) -> Tensor | None:
    """What each pixel of a row is made of in a row of other pixels about the same centre, float32 (n_pix, n_source).

    Linear between the centres of the source's pixels, or, where these are the smaller ones, a triangle as wide as the pixel. Flux per pixel
    stays flux per pixel. Zero beyond the source's field. None where both have the same pixels.
    """
    if n_pix == n_source and np.isclose(pixel_scale, source_scale):
        return None
    ratio = pixel_scale / source_scale
    at = (np.arange(n_pix) - (n_pix - 1) / 2) * ratio + (n_source - 1) / 2
    distance = np.abs(np.clip(at, 0, n_source - 1)[:, None] - np.arange(n_source)) / max(1.0, ratio)
    weight = np.clip(1 - distance, 0, None) * (np.abs(at - (n_source - 1) / 2) <= n_source / 2)[:, None]
    return torch.from_numpy((ratio * weight / np.maximum(weight.sum(1, keepdims=True), 1e-12)).astype(np.float32))


def resampled(images: Tensor, onto: Tensor | None) -> Tensor:
    """Images (..., n_source, n_source) on the pixels of `interpolation`."""
    return images if onto is None else onto @ images @ onto.T
