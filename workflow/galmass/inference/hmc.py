"""Hamiltonian Monte Carlo with a mass matrix and jittered trajectories (Neal 2011); targets and states as in `mala`."""

from typing import ClassVar

import torch

from galmass.inference import mala
from galmass.inference.mala import Info, State, choose

GOAL = 0.8  # acceptance; 0.65 is the optimum of long trajectories in many dimensions, above it little is lost
JITTER = 0.2  # of the step size: no period of the target is met for ever


def step(state: State, target, factor, generator, n_leapfrog: int) -> tuple[State, Info]:
    """One trajectory of every chain: 1 to `n_leapfrog` steps, of a size within `JITTER` of the tuned one.

    `factor` L (d, d), with ``L L^T`` the inverse mass matrix. The step is reversible whatever the numbers drawn.
    """
    n = int(torch.randint(1, n_leapfrog + 1, (), generator=generator))
    size = state.log_step.exp() * (1 + JITTER * (2 * torch.rand((len(state.z), 1), dtype=state.z.dtype, generator=generator) - 1))
    momentum = torch.randn(state.z.shape, dtype=state.z.dtype, generator=generator)
    z, log_prob, gradient, after = leapfrog(state.z, state.gradient, momentum, target, factor, size, n)
    log_ratio = log_prob - state.log_prob + 0.5 * (momentum**2 - after**2).sum(-1)
    return choose(state, z, log_prob, gradient, log_ratio, generator, n_likelihoods=n * len(z))


def leapfrog(z, gradient, momentum, target, factor, size, n: int):
    """`n` leapfrog steps of `size` (n_chain, 1); momenta in whitened coordinates, z = L w. Ends: z, log density, gradient, momentum."""
    momentum = momentum + 0.5 * size * (gradient @ factor)
    for i in range(n):
        z = z + (size * momentum) @ factor.mT
        log_prob, gradient = target(z)
        momentum = momentum + (size if i < n - 1 else 0.5 * size) * (gradient @ factor)
    return z, log_prob, gradient, momentum


class Hmc(mala.Mala):
    """This sampler as `sampling.run` calls it; `n_leapfrog` steps at most."""

    defaults: ClassVar[dict] = {"n_warmup": 200, "step_size": 0.3, "n_leapfrog": 10}
    goal = GOAL

    def step(self, setup, state: State, generator):
        """See `step`."""
        return step(state, self.target, setup.factor, generator, self.options["n_leapfrog"])
