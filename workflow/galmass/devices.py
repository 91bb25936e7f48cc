"""Where torch computes."""

import torch


def use_threads(n: int) -> None:
    """Let torch use `n` threads: two on one busy core can be ten times slower than one."""
    torch.set_num_threads(n)


def best_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
