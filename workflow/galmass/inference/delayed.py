"""Surrogate-transition Metropolis-Hastings (Liu 2001, section 9.4.3; Christen & Fox 2005): one likelihood for a nearly independent draw.

From x a kernel K that is reversible for the posterior p~ of a `Surrogate` leads to y, which is accepted with probability
min(1, p(y) p~(x) / [p(x) p~(y)]). That is exact however bad p~ and however short the inner chain: p~(x) K(x, y) is symmetric in x and
y, and so is what is accepted, min(p(x) / p~(x), p(y) / p~(y)) p~(x) K(x, y). A palindrome A B A of reversible kernels is reversible, a
product A B is not. Nothing of p~ or K may change once the draws count.
"""

import math
from dataclasses import dataclass

import torch

from galmass.errors import InputError
from galmass.inference import conditional, diagnostics, mala, mixture, population, surrogate
from galmass.inference.conditional import Points, Target
from galmass.inference.population import Population
from galmass.inference.surrogate import Problem, Surrogate

DEFAULTS = {"n_rounds": 12, "n_points": 4000, "n_effective": 3000, "n_components": 32, "n_pilot": 96, "n_warmup": 2}
FAR = 1.0  # information distance of the mean summary from the centre of the expansion above which it moves there
MOVES = 2  # of the centre at most
N_DIFFERENCE = 1  # steps along differences on either side of a resampling step
N_ARCHIVE = 2000  # points whose differences are these steps
WANTED = 12  # effective points among the proposals of a resampling step
PROPOSALS = (8, 512)  # fewest and most of them
NEAR = 10.0  # difference of ln p that matters between modes
ENOUGH = 1 / 3  # of the effective points wanted, below which their number is told
LEAST = 0.2  # acceptance, of proposals that moved, below which the surrogate is of no use
MOVED = 0.9  # share of inner chains that moved, below which it is told
PROBATION = 10  # steps of all chains until that is judged


@dataclass(frozen=True)
class State:
    """Chains on the true posterior."""

    points: Points  # of p~
    log_prob: torch.Tensor  # (n_chain,) ln p

    @property
    def z(self):
        """Places (n_chain, d)."""
        return self.points.z


def step(state: State, log_density, kernel, generator) -> tuple[State, mala.Info]:
    """One inner chain from every chain, one true density at its end, and the choice that makes it exact.

    `kernel` (points, generator) -> points must be reversible for p~; `log_density` is the truth of a batch (n, d) -> (n,).
    """
    points = kernel(state.points, generator)
    log_prob = log_density(points.z)
    log_ratio = (log_prob - points.log_prob) - (state.log_prob - state.points.log_prob)
    acceptance = torch.nan_to_num(log_ratio, nan=-math.inf).clamp(max=0).exp()
    accepted = torch.rand(len(log_prob), dtype=log_prob.dtype, generator=generator) < acceptance
    moved = (points.z != state.z).any(1)
    state = State(state.points.replaced(points, accepted), torch.where(accepted, log_prob, state.log_prob))
    return state, mala.Info(acceptance, accepted, moved, n_likelihoods=len(log_prob))


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
    reference: torch.Tensor  # (d,) near the mean
    bent: list[int]
    proposals: mixture.Mixture  # of the straightened coordinates
    n_proposals: int
    archive: torch.Tensor  # (n, n_bent) draws of p~
    pilot: torch.Tensor  # (n_pilot, d) draws of p~, all different
    log_weights: torch.Tensor  # (n_pilot,) ln p - ln p~ of these
    n_likelihoods: int
    notes: list[str]
    sparse: bool = False  # p~ is known from so few points that the pilot is of no use

    def target(self, problem: Problem) -> Target:
        """p~ and its conditional draws."""
        return Target(problem, self.surrogate, self.reference, self.bent)

    def kernel(self, problem: Problem):
        """The inner chain: a palindrome of steps along differences, to points of the mixture, and along differences."""
        target = self.target(problem)

        def walk(points, generator):
            points = differences(points, generator)
            points = conditional.resampling_step(points, target, self.proposals, self.n_proposals, generator)
            return differences(points, generator)

        def differences(points, generator):
            for _ in range(N_DIFFERENCE):
                points = conditional.difference_step(points, target, self.archive, generator)
            return points

        return walk


def prepare(problem: Problem, modes, options, generator) -> Setup:
    """Expand the likelihood, learn where the posterior that this gives lies, move the expansion to its mean if that is elsewhere, and fix the inner chain.

    Parameters
    ----------
    modes : (k, d) tensor
        The best first: the expansion is made there.
    options : mapping
        As `DEFAULTS`.
    """
    target, found, spent, notes = _expanded(problem, modes, options, generator)
    pilot, truth = found.different(options["n_pilot"], generator), batched(problem.log_density)
    log_weights = truth(pilot.z) - pilot.log_prob
    low, high = PROPOSALS
    return Setup(
        surrogate=target.surrogate,
        reference=target.reference,
        bent=target.bent,
        proposals=found.proposals,
        n_proposals=int(min(max(WANTED / found.share, low), high)),
        archive=found.resampled(N_ARCHIVE, generator).y,
        pilot=pilot.z,
        log_weights=log_weights,
        n_likelihoods=len(pilot.z) + spent,
        notes=[*notes, *_shortfall(found, options), *unseen(target, truth, modes), _check(log_weights, found.share)],
        sparse=found.power < 1,
    )


def _shortfall(found: Population, options) -> list[str]:
    """A note where the rounds ended with few effective points."""
    n, wanted = population.effective(found.log_weights), options["n_effective"]
    if found.power == 1 and n >= ENOUGH * wanted:
        return []
    return [f"after {options['n_rounds']} rounds the surrogate's posterior is known from {n:.0f} effective points, to be {wanted}: it may be known in part"]


def _expanded(problem, modes, options, generator) -> tuple[Target, Population, int, list[str]]:
    """Where p~ is, draws of it, predictions spent, and notes."""
    with torch.no_grad():
        centre = problem.summary(modes[0])
    reference, bent, difference, spent, found = modes[0], problem.bent or [0], None, 0, None
    for n_moves in range(MOVES + 1):
        expansion, difference = surrogate.expand(problem, centre, difference)
        spent += 2 * len(centre) + 1  # at least: a difference of the wrong size is taken again
        target, found = _settled(problem, expansion, reference, bent, found and found.proposals, options, generator)
        reference, bent = found.moments(found.points.z)[0], target.bent
        offset = found.moments(_summaries(problem, found.points.z))[0] - centre
        distance = float(offset @ expansion.information @ offset)
        if distance <= FAR or n_moves == MOVES:
            break
        centre = centre + offset
    far = f"the mean summary still lies {distance:.1f} from the expansion (in its information) after {MOVES} moves"
    return target, found, spent, [far] if distance > FAR else []


def _settled(problem, expansion, reference, bent, proposals, options, generator) -> tuple[Target, Population]:
    """Target and draws, once every coordinate that turns out wide is among the bent ones; `proposals` to begin with."""
    while True:
        target = Target(problem, expansion, reference, bent)
        found = population.adapt(target, options, generator, proposals)
        width = found.moments(found.points.z)[1]
        wide = [i for i in target.curved if width[i] > population.CURVED]
        if not wide:
            return target, found
        bent, proposals = [*bent, *wide], None


def _summaries(problem, z):
    with torch.no_grad():
        return torch.cat([problem.summary(some) for some in z.split(surrogate.CHUNK)])


def unseen(target: Target, truth, modes) -> list[str]:
    """Modes that the truth favours and the surrogate does not know: no inner chain leads there."""
    truth, known = truth(modes), target.at(modes).log_prob
    excess = (truth - truth[0]) - (known - known[0])
    lost = [i for i in range(1, len(modes)) if truth[i] > truth[0] - NEAR and excess[i] > NEAR]
    return [f"mode {i + 1}, {float(truth[0] - truth[i]):.1f} below the best in ln p, is not covered: the surrogate gives it nothing" for i in lost]


def _check(log_weights, share: float) -> str:
    """What the ratio of truth and surrogate at the pilots says of the surrogate."""
    k = diagnostics.pareto_k(log_weights)
    tail = "no heavy tail" if k < diagnostics.PARETO_LIMIT else "a heavy tail: the posterior is wider somewhere, and chains may stay there long"
    return f"pilot of {len(log_weights)} draws of the surrogate: truth over surrogate has Pareto k = {k:.2f}, {tail}; {share:.1%} of the inner proposals count"


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
        return State(setup.target(self.problem).at(z), self.log_density(z))

    def step(self, setup: Setup, state: State, generator):
        """See `step`."""
        return step(state, self.log_density, setup.kernel(self.problem), generator)

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
