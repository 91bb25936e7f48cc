"""Metropolis-adjusted Langevin algorithm with a mass matrix (Roberts & Tweedie 1996), and the step size by dual averaging.

A target is a function of z (n_chain, d) that returns the log density (n_chain,) and its gradient (n_chain, d).
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from galmass.inference import fisher

GOAL = 0.574  # acceptance of the fastest step (Roberts & Rosenthal 1998)
HALVINGS = 5  # of the way from the mode to a first point where the density is too low


@dataclass(frozen=True)
class State:
    """Chains, with all that their next step needs."""

    z: torch.Tensor  # (n_chain, d)
    log_prob: torch.Tensor  # (n_chain,)
    gradient: torch.Tensor  # (n_chain, d)
    log_step: torch.Tensor  # of the step size, in units of the mass matrix
    log_step_mean: torch.Tensor  # its average over the warm-up, weighted to the end
    shortfall: torch.Tensor  # summed: goal minus acceptance
    n_tuned: torch.Tensor  # steps of the warm-up so far


@dataclass(frozen=True)
class Info:
    """What a step did."""

    acceptance: torch.Tensor  # (n_chain,) probability
    accepted: torch.Tensor  # (n_chain,) bool
    moved: torch.Tensor  # (n_chain,) bool: the proposal is another place than the chain's
    n_likelihoods: int


def posterior(problem):
    """The target of a problem whose likelihood takes one point at a time; a value that is no number has probability zero."""

    def target(z):
        rows = [value_and_gradient(problem.log_density, row) for row in z]
        return torch.stack([r[0] for r in rows]), torch.stack([r[1] for r in rows])

    return target


def value_and_gradient(log_density, z):
    """Log density () and gradient of the same shape as `z`; -inf and 0 where either is not finite."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        value = log_density(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)
    fine = torch.isfinite(value) & torch.isfinite(gradient).all(-1)
    return torch.where(fine, value.detach(), -math.inf), torch.where(fine[..., None], gradient, 0)


def init(z, target, step_size: float) -> State:
    """Chains at `z` (n_chain, d), untuned."""
    zero, log_step = torch.zeros((), dtype=z.dtype), torch.tensor(math.log(step_size), dtype=z.dtype)
    return State(z, *target(z), log_step, log_step, zero, zero)


def step(state: State, target, factor, generator) -> tuple[State, Info]:
    """One step of every chain; `factor` L (d, d) with ``L L^T`` the inverse mass matrix, for the best the covariance."""
    size = state.log_step.exp()
    noise = torch.randn(state.z.shape, dtype=state.z.dtype, generator=generator)
    z = state.z + (0.5 * size**2 * (state.gradient @ factor) + size * noise) @ factor.mT
    log_prob, gradient = target(z)
    # noise that would lead back, in whitened coordinates
    back = noise + 0.5 * size * ((state.gradient + gradient) @ factor)
    log_ratio = log_prob - state.log_prob + 0.5 * (noise**2 - back**2).sum(-1)
    return choose(state, z, log_prob, gradient, log_ratio, generator, n_likelihoods=len(z))


def choose(state: State, z, log_prob, gradient, log_ratio, generator, n_likelihoods: int) -> tuple[State, Info]:
    """Each chain moves to its proposal with probability ``min(1, exp(log_ratio))``, never where that is NaN."""
    acceptance = torch.nan_to_num(log_ratio, nan=-math.inf).clamp(max=0).exp()
    accepted = torch.rand(len(z), dtype=z.dtype, generator=generator) < acceptance
    state = replace(
        state,
        z=torch.where(accepted[:, None], z, state.z),
        log_prob=torch.where(accepted, log_prob, state.log_prob),
        gradient=torch.where(accepted[:, None], gradient, state.gradient),
    )
    return state, Info(acceptance, accepted, torch.ones_like(accepted), n_likelihoods)


def tune(state: State, info: Info, goal: float = GOAL, gain: float = 0.05, delay: float = 10, decay: float = 0.75, centre: float = 0.0) -> State:
    """Move the step size towards the acceptance `goal` by dual averaging (Hoffman & Gelman 2014, eq. 6).

    It is drawn to ``exp(centre)``. Only for the warm-up: `freeze` ends it.
    """
    n = state.n_tuned + 1
    shortfall = state.shortfall + goal - info.acceptance.mean()
    log_step = centre - torch.sqrt(n) / gain * shortfall / (n + delay)
    weight = n**-decay
    return replace(state, log_step=log_step, log_step_mean=weight * log_step + (1 - weight) * state.log_step_mean, shortfall=shortfall, n_tuned=n)


def freeze(state: State) -> State:
    """The state with the average step size of its warm-up, for good."""
    return replace(state, log_step=state.log_step_mean)


@dataclass(frozen=True)
class Setup:
    """All that is fixed before the first draw."""

    mode: torch.Tensor  # (d,)
    factor: torch.Tensor  # (d, d) L, with L L^T the inverse mass matrix
    n_likelihoods: int
    notes: list[str]


class Mala:
    """This sampler as `sampling.run` calls it: the mass matrix is the Fisher matrix at the mode."""

    setup_type, state_type = Setup, State
    defaults: ClassVar[dict] = {"n_warmup": 500, "step_size": 0.5}
    goal = GOAL

    def __init__(self, problem, options):
        self.problem, self.options = problem, self.defaults | dict(options)
        self.target = posterior(problem)

    def prepare(self, modes, generator) -> Setup:
        """Mass matrix at the best of `modes` (k, d)."""
        return Setup(modes[0], fisher.covariance_factor(self.problem.curvature(modes[0])), 0, [])

    def begin(self, setup: Setup, z, n_chains: int, generator) -> State:
        """Chains at z (n_chain, d), or where z is None about the mode: within Laplace's approximation, closer where the valley is curved."""
        if z is not None:
            return init(z, self.target, self.options["step_size"])
        offset = torch.randn((n_chains, len(setup.mode)), dtype=setup.mode.dtype, generator=generator) @ setup.factor.mT
        least = self.target(setup.mode[None])[0] - 2 * len(setup.mode)
        for _ in range(HALVINGS):
            low = ~(self.target(setup.mode + offset)[0] > least)
            offset = torch.where(low[:, None], 0.5 * offset, offset)
        return init(setup.mode + offset, self.target, self.options["step_size"])

    def step(self, setup: Setup, state: State, generator):
        """See `step`."""
        return step(state, self.target, setup.factor, generator)

    def tune(self, state: State, info: Info) -> State:
        """See `tune`."""
        return tune(state, info, self.goal, centre=math.log(self.options["step_size"]))

    def freeze(self, state: State) -> State:
        """See `freeze`."""
        return freeze(state)
