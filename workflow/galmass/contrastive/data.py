"""Mini-batches of random pairs, the same after an interruption as without one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from galmass.contrastive.modalities import Modality, Standardisation, bin_index
from galmass.errors import InputError


@dataclass(frozen=True)
class Galaxies(Dataset):
    """Standardised values (n, n_value), context (n, n_context) and mass bins (n,) as tensors."""

    values: torch.Tensor
    context: torch.Tensor
    mass_bin: torch.Tensor

    def fingerprint(self) -> bytes:
        """Bytes that are the same for the same galaxies."""
        return b"".join(t.numpy().tobytes() for t in (self.values, self.context, self.mass_bin))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A whole mini-batch at once: `index` is a tensor of rows."""
        return self.values[index], self.context[index], self.mass_bin[index]


def galaxies(frame, modality: Modality, standardisation: Standardisation, edges) -> Galaxies:
    """Catalogue rows as a dataset."""
    values, context = standardisation.apply(*modality.arrays(frame))
    bins = bin_index(frame["log_mass"].to_numpy(float), edges)
    return Galaxies(torch.from_numpy(values), torch.from_numpy(context), torch.from_numpy(bins))


class PairBatches(Sampler):
    """Rows of mini-batches from an endless stream of permutations; an epoch is `n_batch` of them.

    Batch b of the stream depends on the seed and b alone, and an epoch begins at the batch that `steps_done`
    names: a resumed training sees what it would have seen. (Lightning's own count of epochs is one ahead
    after a resume from the end of an epoch.) The first and second half of a batch are the partners of random pairs; a galaxy is
    never its own partner: a batch never crosses from one permutation into the next.
    """

    def __init__(self, n: int, batch_size: int, n_batch: int, seed: int, steps_done: Callable[[], int]):
        if batch_size % 2 or n < batch_size:
            raise InputError(f"batch_size {batch_size} must be even and at most the {n} training galaxies")
        self.n, self.batch_size, self.n_batch, self.seed, self.steps_done = n, batch_size, n_batch, seed, steps_done
        self.batches_per_permutation = n // batch_size

    def __len__(self) -> int:
        return self.n_batch

    def __iter__(self) -> Iterator[torch.Tensor]:
        current, rows, first = -1, torch.empty(0), self.steps_done()
        for batch in range(first, first + self.n_batch):
            permutation, place = divmod(batch, self.batches_per_permutation)
            if permutation != current:
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + permutation)
                current, rows = permutation, torch.randperm(self.n, generator=generator)
            yield rows[place * self.batch_size : (place + 1) * self.batch_size]


def loaders(training: Galaxies, validation: Galaxies, options, seed: int, steps_done: Callable[[], int]) -> tuple[DataLoader, DataLoader]:
    """Loaders of training and validation mini-batches."""
    batches = PairBatches(len(training), options["batch_size"], options["validate_every"], seed, steps_done)
    in_order = torch.arange(len(validation)).split(4096)
    return DataLoader(training, sampler=batches, batch_size=None), DataLoader(validation, sampler=in_order, batch_size=None)
