"""Where torch computes: on how many threads, on which device, on several at a time."""

import torch
from torch import Tensor, distributed

from galmass.errors import InputError


def use_threads(n: int) -> None:
    """Let torch use `n` threads: two on one busy core can be ten times slower than one."""
    torch.set_num_threads(n)


def best_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def require(n: int) -> None:
    """Raise `InputError` where there are graphics cards, but fewer than `n`; processors without one compute in `n` processes."""
    found = torch.cuda.device_count()
    if 0 < found < n:
        raise InputError(f"run.devices is {n}, and this job sees {found} graphics card{'s' if found > 1 else ''}; set run.devices to at most {found}")


def number() -> int:
    """How many devices share the training that goes on in this process."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share(batch: Tensor) -> Tensor:
    """Of a mini-batch whose two halves are partners: the pairs of this device, every `number()`-th."""
    if number() == 1:
        return batch
    pairs = torch.arange(distributed.get_rank(), len(batch) // 2, number())
    return batch[torch.cat([pairs, pairs + len(batch) // 2])]


def averaged(x: Tensor) -> Tensor:
    """The mean over devices of a scalar, with the gradient of this device's share of it.

    Gradients are averaged over devices afterwards, so that a function of the mean gets its exact gradient.
    """
    if number() == 1:
        return x
    total = x.detach().clone()
    distributed.all_reduce(total)
    return x + (total / number() - x.detach())
