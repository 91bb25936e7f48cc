"""Surrogate-transition Metropolis-Hastings (Liu 2001, section 9.4.3; Christen & Fox 2005): one likelihood for a nearly independent draw.

From x a kernel K that is reversible for the posterior p~ of a `Surrogate` leads to y, which is accepted with probability
min(1, p(y) p~(x) / [p(x) p~(y)]). That is exact however bad p~ and however short the inner chain: p~(x) K(x, y) is symmetric in x and
y, and so is what is accepted, min(p(x) / p~(x), p(y) / p~(y)) p~(x) K(x, y). A palindrome A B A of reversible kernels is reversible, a
product A B is not. Nothing of p~ or K may change once the draws count.
"""

import math
from dataclasses import dataclass, replace

import torch

from galmass.errors import InputError
from galmass.inference import diagnostics, mala, mixture, surrogate
from galmass.inference.surrogate import Problem, Surrogate

DEFAULTS = {"n_walkers": 400, "n_components": 12, "n_rounds": 20, "n_proposals": 128, "max_repeat": 4, "n_pilot": 96, "n_warmup": 4}
FAR = 1.0  # information distance of the mean summary from the centre of the expansion above which it moves there
MOVES = 2  # of the centre at most
N_DIFFERENCE = 10  # steps along differences on either side of a resampling step
MEMORY = 0.15  # rank correlation of a draw with where its inner chain began, below which it counts as new
NEAR = 10.0  # difference of ln p that matters between modes
LEAST = 0.2  # acceptance below which the surrogate is of no use
PROBATION = 10  # steps of all chains until that is judged


@dataclass(frozen=True)
class Kernel:
    """A fixed palindrome of steps reversible for p~: along differences of the archive, to points of the mixture, and back, `n_repeat` times."""

    archive: torch.Tensor  # (n, d) draws of p~
    proposals: mixture.Mixture
    n_proposals: int
    n_repeat: int

    def __call__(self, z, log_prob, density, generator):
        """Ends (n_chain, d) of inner chains from z (n_chain, d), and their ln p~ (n_chain,)."""
        for _ in range(self.n_repeat):
            z, log_prob = self._differences(z, log_prob, density, generator)
            z, log_prob = surrogate.resampling_step(z, log_prob, density, self.proposals, self.n_proposals, generator)
            z, log_prob = self._differences(z, log_prob, density, generator)
        return z, log_prob

    def _differences(self, z, log_prob, density, generator):
        for _ in range(N_DIFFERENCE):
            z, log_prob = surrogate.difference_step(z, log_prob, density, self.archive, generator)
        return z, log_prob


@dataclass(frozen=True)
class State:
    """Chains on the true posterior."""

    z: torch.Tensor  # (n_chain, d)
    log_prob: torch.Tensor  # (n_chain,) ln p
    log_surrogate: torch.Tensor  # (n_chain,) ln p~


def init(z, log_density, density) -> State:
    """Chains at z (n_chain, d); `log_density` is the truth, `density` p~, both of a batch."""
    return State(z, log_density(z), density(z))


def step(state: State, log_density, density, kernel, generator) -> tuple[State, mala.Info]:
    """One inner chain from every chain, one true density at its end, and the choice that makes it exact.

    `kernel` (z, ln p~, density, generator) -> (z, ln p~) must be reversible for `density`.
    """
    z, log_surrogate = kernel(state.z, state.log_surrogate, density, generator)
    log_prob = log_density(z)
    log_ratio = (log_prob - log_surrogate) - (state.log_prob - state.log_surrogate)
    acceptance = torch.nan_to_num(log_ratio, nan=-math.inf).clamp(max=0).exp()
    accepted = torch.rand(len(z), dtype=z.dtype, generator=generator) < acceptance
    state = State(
        torch.where(accepted[:, None], z, state.z),
        torch.where(accepted, log_prob, state.log_prob),
        torch.where(accepted, log_surrogate, state.log_surrogate),
    )
    return state, mala.Info(acceptance, accepted, n_likelihoods=len(z))


def batched(log_density):
    """The density of one point (d,) -> () for a batch (n, d) -> (n,), -inf where it is no number."""

    def density(z):
        with torch.no_grad():
            values = torch.stack([log_density(row) for row in z]).double()
        return torch.where(torch.isfinite(values), values, -math.inf)

    return density


@dataclass(frozen=True)
class Setup:
    """All that is fixed before the first draw."""

    surrogate: Surrogate
    kernel: Kernel
    pilot: torch.Tensor  # (n_pilot, d) draws of p~
    log_weights: torch.Tensor  # (n_pilot,) ln p - ln p~ of these
    n_likelihoods: int
    notes: list[str]


def prepare(problem: Problem, modes, options, generator) -> Setup:
    """Expand the likelihood, draw from what that gives, move the expansion to the mean if that is elsewhere, and fix the inner chain.

    Parameters
    ----------
    modes : (k, d) tensor
        The best first: the expansion is made there.
    options : mapping
        As `DEFAULTS`.
    """
    density_of = batched(problem.log_density)
    expansion, draws, proposals, spent, notes = _expanded(problem, modes, options, generator)
    density = surrogate.log_posterior(problem, expansion)
    kernel = _kernel(density, draws, proposals, options, generator)
    pilot = draws[-options["n_walkers"] :][: options["n_pilot"]]
    log_weights = density_of(pilot) - density(pilot)
    notes = notes + unseen(problem, expansion, modes, density) + [_check(log_weights)]
    return Setup(expansion, kernel, pilot, log_weights, len(pilot) + spent, notes)


def _expanded(problem, modes, options, generator):
    """Surrogate, draws of it, a mixture fitted to them, predictions spent, and notes."""
    with torch.no_grad():
        centre = problem.summary(modes[0])
    expansion, step = surrogate.expand(problem, centre)
    draws, proposals = surrogate.anneal(problem, expansion, modes, options, generator)
    for n_expansion in range(1, MOVES + 2):
        with torch.no_grad():
            offset = problem.summary(draws).mean(0) - expansion.centre
        distance = float(offset @ expansion.information @ offset)
        if distance <= FAR or n_expansion > MOVES:
            break
        expansion, step = surrogate.expand(problem, expansion.centre + offset, step)
        density, walkers = surrogate.log_posterior(problem, expansion), draws[-options["n_walkers"] :]
        rounds = surrogate.spread(density, walkers, proposals, options["n_components"], options["n_rounds"] // 2, generator)
        draws, proposals = surrogate.harvest(rounds, proposals, options["n_components"], generator)
    notes = [] if distance <= FAR else [f"the mean summary still lies {distance:.1f} from the expansion (in its information) after {MOVES} moves"]
    return expansion, draws, proposals, n_expansion * 2 * len(centre), notes


def _kernel(density, draws, proposals, options, generator) -> Kernel:
    """The shortest inner chain, among powers of two, whose end hardly remembers its beginning."""
    kernel = Kernel(draws, proposals, options["n_proposals"], 1)
    start = draws[-options["n_walkers"] :]
    while True:
        end, _ = kernel(start, density(start), density, generator)
        if memory(start, end) < MEMORY or 2 * kernel.n_repeat > options["max_repeat"]:
            return kernel
        kernel = replace(kernel, n_repeat=2 * kernel.n_repeat)


def memory(before, after) -> float:
    """Largest rank correlation over the coordinates of rows (n, d) before and after."""
    ranks = [v.argsort(0).argsort(0).double() for v in (before, after)]
    ranks = [(r - r.mean(0)) / r.std(0, correction=0) for r in ranks]
    return float((ranks[0] * ranks[1]).mean(0).max())


def unseen(problem, expansion, modes, density) -> list[str]:
    """Modes that the truth favours and the surrogate does not know: no inner chain leads there."""
    truth = batched(problem.log_density)(modes)
    excess = (truth - truth[0]) - (density(modes) - density(modes[:1]))
    lost = [i for i in range(1, len(modes)) if truth[i] > truth[0] - NEAR and excess[i] > NEAR]
    return [f"mode {i + 1}, {float(truth[0] - truth[i]):.1f} below the best in ln p, is not covered: the surrogate gives it nothing" for i in lost]


def _check(log_weights) -> str:
    """What importance weights of the pilot say."""
    k = diagnostics.pareto_k(log_weights)
    verdict = "importance weights may be used" if k < diagnostics.PARETO_LIMIT else "importance weights are not to be trusted"
    return f"pilot of {len(log_weights)} draws of the surrogate: Pareto k = {k:.2f}, {verdict}"


class Delayed:
    """This sampler as `sampling.run` calls it."""

    setup_type, state_type = Setup, State

    def __init__(self, problem: Problem, options):
        self.problem, self.options = problem, DEFAULTS | dict(options)
        self.log_density = batched(problem.log_density)

    def prepare(self, modes, generator) -> Setup:
        """See `prepare`."""
        return prepare(self.problem, modes, self.options, generator)

    def begin(self, setup: Setup, z, n_chains: int, generator) -> State:
        """Chains at z (n_chain, d), or where z is None at different draws of the pilot, in proportion to their weights."""
        if z is None:
            z = setup.pilot[different(setup.log_weights, n_chains, generator)]
        return init(z, self.log_density, surrogate.log_posterior(self.problem, setup.surrogate))

    def step(self, setup: Setup, state: State, generator):
        """See `step`."""
        return step(state, self.log_density, surrogate.log_posterior(self.problem, setup.surrogate), setup.kernel, generator)

    def tune(self, state: State, info) -> State:
        """Nothing: all is fixed in `prepare`."""
        return state

    def freeze(self, state: State) -> State:
        """Nothing either."""
        return state


def different(log_weights, n: int, generator):
    """`n` different rows in proportion to their weights (the largest of log weight + Gumbel noise); none counts more than e^2 times the median."""
    fine = log_weights[torch.isfinite(log_weights)]
    if len(fine) < n:
        raise InputError(f"only {len(fine)} of {len(log_weights)} draws of the surrogate have a finite density, {n} chains need one each; raise n_pilot")
    uniform = torch.rand(len(log_weights), dtype=log_weights.dtype, generator=generator)
    return torch.topk(log_weights.clamp(max=float(fine.median()) + 2) - torch.log(-torch.log(uniform)), n).indices
