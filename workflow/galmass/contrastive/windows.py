"""Mini-batches of images, streamed from the store: a bounded number of galaxies in memory, the same order after an interruption.

A mini-batch of galaxies from all over a survey would decode a whole chunk of the store for each of them. So
the chunks of the store are shuffled, some thousand galaxies of them are read at a time as a window, and
mini-batches are drawn from the window while the next one is read.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from galmass.contrastive.modalities import Standardisation, bin_index
from galmass.contrastive.stamps import N_ORIENTATION, Stamps, turned
from galmass.errors import InputError


class Order:
    """Which galaxies each step of a training sees; a function of the seed and the step alone.

    Parameters
    ----------
    chunk_of : int array (n_galaxy,)
        Galaxies of the same chunk are read together.
    batch_size : int
        Even: the halves of a batch are the partners of random pairs. No galaxy comes twice in a permutation, so none is
        its own partner.
    window : int
        Galaxies that are in memory at a time, about; a survey that is not larger is one window, and then every batch is
        drawn from all of it.
    """

    def __init__(self, chunk_of, batch_size: int, window: int, seed: int):
        n = len(chunk_of)
        if batch_size % 2 or n < batch_size:
            raise InputError(f"batch_size {batch_size} must be even and at most the {n} training galaxies")
        if window < batch_size:
            raise InputError(f"window is {window}; at least the batch_size {batch_size} is expected")
        self.n_window = max(1, round(n / window))
        self.size, self.batch_size, self.seed = n // self.n_window, batch_size, seed
        self.chunk = np.unique(chunk_of, return_inverse=True)[1]
        self._permutation, self._chunk_order = -1, np.empty(0, int)

    def place(self, step: int) -> tuple[int, int, int]:
        """Permutation, window and batch in the window of a step."""
        per_window = self.size // self.batch_size
        window, batch = divmod(step, per_window)
        return *divmod(window, self.n_window), batch

    def window(self, permutation: int, window: int) -> np.ndarray:
        """Galaxies of a window in the order in which batches take them, (size,)."""
        generator = np.random.default_rng([self.seed, permutation, window])
        if self.n_window == 1:
            return generator.permutation(self.size)
        if permutation != self._permutation:
            rank = np.random.default_rng([self.seed, permutation]).permutation(self.chunk.max() + 1)
            self._permutation, self._chunk_order = permutation, np.argsort(rank[self.chunk], kind="stable")
        return generator.permutation(self._chunk_order[window * self.size : (window + 1) * self.size])

    def batch(self, step: int) -> np.ndarray:
        """Galaxies of a step, (batch_size,)."""
        permutation, window, place = self.place(step)
        return self.window(permutation, window)[place * self.batch_size : (place + 1) * self.batch_size]


class Windows:
    """The images of the window in use, and of the next one, which is being read, each in its own half of the memory."""

    def __init__(self, stamps: Stamps, order: Order):
        self.stamps, self.order = stamps, order
        self._loading: dict[tuple[int, int], Future] = {}
        self._pool, self._buffers = ThreadPoolExecutor(1, "windows"), deque(maxlen=2)

    def get(self, permutation: int, window: int) -> tuple[np.ndarray, np.ndarray, Tensor]:
        """Galaxies in the order of batches (size,), the place of each among the images (size,), the images.

        The images are overwritten when another window is asked for.
        """
        here = (permutation, window)
        following = (permutation, window + 1) if window + 1 < self.order.n_window else (permutation + 1, 0)
        if self.order.n_window == 1:  # all are in memory for good
            rows = self.order.window(*here)
            return rows, rows, self._all()
        if here not in self._loading:
            self._loading.clear()
        rows, images = self._load(here).result()
        self._loading = {key: future for key, future in self._loading.items() if key in (here, following)}
        self._load(following)
        return rows, np.argsort(np.argsort(rows, kind="stable"), kind="stable"), images

    def _load(self, key: tuple[int, int]) -> Future:
        if key not in self._loading:
            if len(self._buffers) < 2:
                self._buffers.append(self.stamps.buffer(self.order.size))
            self._buffers.rotate()  # one thread reads, one window after the other: the older half is free by then
            self._loading[key] = self._pool.submit(self._read, self.order.window(*key), self._buffers[0])
        return self._loading[key]

    def _read(self, rows: np.ndarray, buffer: Tensor) -> tuple[np.ndarray, Tensor]:
        return rows, self.stamps.read(np.sort(rows), buffer)

    def _all(self) -> Tensor:
        if not self._loading:
            self._loading[0, 0] = self._pool.submit(self.stamps.read, np.arange(len(self.stamps)))
        return self._loading[0, 0].result()


class ImageBatches(Dataset):
    """Training mini-batches by the number of their step: images, context, mass bins, and two orientations of each galaxy."""

    def __init__(self, stamps: Stamps, context: Tensor, mass_bin: Tensor, order: Order):
        self.stamps, self.context, self.mass_bin, self.order = stamps, context, mass_bin, order
        self._windows, self._current = Windows(stamps, order), ((-1, -1), ())

    def __len__(self) -> int:
        return len(self.context)

    def fingerprint(self) -> bytes:
        """Bytes that are the same for the same galaxies and images."""
        return fingerprint(self.stamps, self.context, self.mass_bin)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images (batch_size, n_band, n_pix, n_pix), context, mass bins, orientations (batch_size, 2) of a step."""
        permutation, window, place = self.order.place(step)
        if self._current[0] != (permutation, window):
            self._current = (permutation, window), self._windows.get(permutation, window)
        rows, where, images = self._current[1]
        chosen = slice(place * self.order.batch_size, (place + 1) * self.order.batch_size)
        orientation = np.random.default_rng([self.order.seed, step, 1]).integers(0, N_ORIENTATION, (self.order.batch_size, 2))
        own = torch.from_numpy(rows[chosen])
        return images[torch.from_numpy(where[chosen])], self.context[own], self.mass_bin[own], torch.from_numpy(orientation)


class ImageBlocks(Dataset):
    """Validation galaxies in the order of the catalogue, a block at a time: images, context, mass bins."""

    def __init__(self, stamps: Stamps, context: Tensor, mass_bin: Tensor, block: int, window: int):
        self.stamps, self.context, self.mass_bin, self.block = stamps, context, mass_bin, block
        self._kept = stamps.read(np.arange(len(stamps))) if len(stamps) <= window else None

    def __len__(self) -> int:
        return -(-len(self.context) // self.block)

    def fingerprint(self) -> bytes:
        """Bytes that are the same for the same galaxies and images."""
        return fingerprint(self.stamps, self.context, self.mass_bin)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.arange(i * self.block, min((i + 1) * self.block, len(self.context)))
        images = self.stamps.read(rows.numpy()) if self._kept is None else self._kept[rows]
        return images, self.context[rows], self.mass_bin[rows]


class Steps(Sampler):
    """Numbers of the steps of an epoch, which begins at the one that `steps_done` names (see `data.PairBatches`)."""

    def __init__(self, n_batch: int, steps_done: Callable[[], int]):
        self.n_batch, self.steps_done = n_batch, steps_done

    def __len__(self) -> int:
        return self.n_batch

    def __iter__(self) -> Iterator[int]:
        first = self.steps_done()
        return iter(range(first, first + self.n_batch))


def fingerprint(stamps: Stamps, context: Tensor, mass_bin: Tensor) -> bytes:
    """Bytes that are the same for the same galaxies and images: the digests of the stores stand for their pixels."""
    return repr([stamps.digests, [r.tolist() for r in stamps.rows]]).encode() + b"".join(t.numpy().tobytes() for t in (context, mass_bin))


def datasets(training, validation, modality, standardisation: Standardisation, scaling, cutouts, edges, options, seed: int) -> tuple[ImageBatches, ImageBlocks]:
    """Training and validation galaxies of a catalogue as datasets.

    Parameters
    ----------
    training, validation : DataFrame
    options : mapping
        ``window``: galaxies that are held in memory at a time (the next window is read meanwhile, so twice as many);
        ``readers``: threads that read and decode; ``batch_size``.
    """
    parts = []
    for frame in (training, validation):
        values, context = standardisation.apply(*modality.arrays(frame))
        bins = bin_index(frame["log_mass"].to_numpy(float), edges)
        stamps = Stamps(frame, modality, cutouts, scaling, options["readers"])
        parts.append((stamps, torch.from_numpy(np.hstack([values, context])), torch.from_numpy(bins)))
    order = Order(parts[0][0].chunk_of(), options["batch_size"], options["window"], seed)
    return ImageBatches(*parts[0], order), ImageBlocks(*parts[1], block=256, window=options["window"])


def loaders(training: ImageBatches, validation: ImageBlocks, n_batch: int, steps_done: Callable[[], int]) -> tuple[DataLoader, DataLoader]:
    """Loaders of training and validation mini-batches, through pinned memory where there is a GPU."""
    pinned = torch.cuda.is_available()
    return (
        DataLoader(training, sampler=Steps(n_batch, steps_done), batch_size=None, pin_memory=pinned),
        DataLoader(validation, batch_size=None, pin_memory=pinned),
    )


def oriented(batch: tuple) -> tuple:
    """Values, context and mass bins of a batch as they are; of images, both views: images, context, mass bins, second view."""
    if len(batch) == 3:
        return tuple(batch)
    images, context, mass_bin, orientation = batch
    return turned(images, orientation[:, 0]), context, mass_bin, turned(images, orientation[:, 1])
