"""The expansion of ln L to second order in a summary of the parameters, and draws of the posterior that it makes.

The data see the parameters through a summary s(z) alone, cheap and exact (here the rotation curve and the geometry of the disc):

    ln L~(s) = ln L0 + g.(s - s0) - (s - s0)^T H (s - s0) / 2,    ln p~(z) = ln prior(z) + ln L~(s(z)).
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from galmass.inference import fisher, mixture

CHUNK = 1024  # points at a time: a summary may need a megabyte for each
SCALE = 2.38  # over sqrt(2 d): the best step along differences of two draws (ter Braak 2006)
SPREAD = 0.5  # such steps vary within this fraction: no lattice of differences
JUMP = 0.1  # share of steps of a whole difference, from one mode to another
HOTTEST = 0.003  # power of the likelihood with which the walkers begin
KEPT = 0.35  # of the effective number of the walkers, from one temperature to the next
WIDEST = 10.0  # standard deviation of a coordinate at the beginning, at most
OVERSAMPLED = 16  # points for each of the first walkers
FIRST_ROUNDS, ROUNDS = 8, 2  # at the first temperature and at each later one
PER_ROUND = 10  # steps along differences between two fits of the mixture
N_PROPOSALS = 16  # points of the mixture for each walker
REMEMBERED = 4  # rounds behind a fit
ROUGH = 6  # iterations of a fit that is soon replaced
WARM = 0.3  # share of a mixture that is left to the next higher temperature, so that its tails are reached


class Problem(Protocol):
    """What the samplers ask of a fit; all tensors float64 on one device, z of d unconstrained coordinates."""

    names: tuple[str, ...]  # (d,)

    def log_prior(self, z):
        """(..., d) -> (...): log density in z, differentiable, batched."""

    def log_likelihood(self, z):
        """(d,) -> (): the expensive truth, differentiable; -inf or NaN where there is none."""

    def log_density(self, z):
        """(d,) -> (): `log_prior` + `log_likelihood`."""

    def curvature(self, z):
        """(d,) -> (d, d): Fisher information of the data plus curvature of the prior, positive definite (`fisher.posterior_curvature`)."""

    def summary(self, z):
        """(..., d) -> (..., m): cheap, exact, differentiable, batched."""

    def predict_at_summary(self, s):
        """(m,) -> (n_data,): the model of all data, real and imaginary parts one after the other."""

    def likelihood_at_summary(self, s):
        """(m,) -> (): ``log_likelihood(z) == likelihood_at_summary(summary(z))``."""

    def score_and_weights(self, prediction):
        """(n_data,) -> (n_data,), (n_data,): d ln L / d prediction, and the expected information of each datum."""


@dataclass(frozen=True)
class Surrogate:
    """ln L to second order about a summary."""

    centre: torch.Tensor  # (m,)
    log_likelihood: torch.Tensor  # () at the centre
    gradient: torch.Tensor  # (m,)
    information: torch.Tensor  # (m, m)

    def __call__(self, s):
        """ln L~ (...) at summaries (..., m)."""
        offset = s - self.centre
        return self.log_likelihood + offset @ self.gradient - 0.5 * ((offset @ self.information) * offset).sum(-1)


def expand(problem: Problem, centre, step=None) -> tuple[Surrogate, torch.Tensor]:
    """Surrogate about the summary `centre` (m,), and the steps (m,) of its differences; 2 to 4 m predictions."""
    with torch.no_grad():
        score, weights = (v.double() for v in problem.score_and_weights(problem.predict_at_summary(centre)))
        value = problem.likelihood_at_summary(centre).double()
    jacobian, step = fisher.summary_jacobian(problem, centre, weights, step)
    return Surrogate(centre, value, jacobian.mT @ score, fisher.information(jacobian, weights)), step


def parts(problem: Problem, surrogate: Surrogate, z):
    """ln prior (n,) and ln L~ (n,) at z (n, d), without gradients; -inf in the second where either is no number."""
    with torch.no_grad():
        rows = [(problem.log_prior(some), surrogate(problem.summary(some))) for some in z.split(CHUNK)]
    prior, likelihood = (torch.cat(column) for column in zip(*rows, strict=True))
    fine = torch.isfinite(prior) & torch.isfinite(likelihood)
    return torch.where(fine, prior, 0), torch.where(fine, likelihood, -math.inf)


def log_posterior(problem: Problem, surrogate: Surrogate, beta: float = 1.0):
    """``ln prior + beta ln L~`` as a function (n, d) -> (n,), -inf where it is no number; ln p~ for beta = 1."""

    def density(z):
        prior, likelihood = parts(problem, surrogate, z)
        return prior + beta * likelihood

    return density


def difference_step(z, log_prob, density, archive, generator):
    """Random-walk Metropolis along differences of two rows of a fixed `archive` (n, d): symmetric, as both orders are as likely.

    Returns
    -------
    (n_chain, d), (n_chain,) tensor
        The chains and their log densities.
    """
    n, d = z.shape
    pairs = torch.randint(len(archive), (2, n), generator=generator)
    spread = 1 + SPREAD * (2 * torch.rand(n, dtype=z.dtype, generator=generator) - 1)
    jump = torch.rand(n, dtype=z.dtype, generator=generator) < JUMP
    scale = torch.where(jump, 1.0, SCALE / math.sqrt(2 * d) * spread)
    proposed = z + scale[:, None] * (archive[pairs[0]] - archive[pairs[1]])
    there = density(proposed)
    accepted = torch.rand(n, dtype=z.dtype, generator=generator).log() < there - log_prob
    return torch.where(accepted[:, None], proposed, z), torch.where(accepted, there, log_prob)


def resampling_step(z, log_prob, density, proposals: mixture.Mixture, n_proposals: int, generator):
    """Iterated sampling importance resampling (Andrieu, Lee & Vihola 2018): one of `n_proposals` independent points or where the chain is.

    Each is chosen in proportion to its importance weight, which is reversible for the density; arguments and results as above.
    """
    n, d = z.shape
    proposed = proposals.sample(n * n_proposals, generator)
    there = density(proposed)
    points = torch.cat([z[:, None], proposed.reshape(n, n_proposals, d)], 1)
    values = torch.cat([log_prob[:, None], there.reshape(n, n_proposals)], 1)
    log_weights = values - torch.cat([proposals.log_density(z)[:, None], proposals.log_density(proposed).reshape(n, n_proposals)], 1)
    chosen = torch.multinomial(torch.softmax(log_weights, 1), 1, generator=generator)[:, 0]
    rows = torch.arange(n)
    return points[rows, chosen], values[rows, chosen]


def anneal(problem: Problem, surrogate: Surrogate, modes, options, generator):
    """Draws of p~ by walkers that begin where the likelihood hardly counts (sequential Monte Carlo; Del Moral, Doucet & Jasra 2006).

    A long curved valley is short and wide there. Each temperature keeps a third of the walkers' effective number.

    Parameters
    ----------
    modes : (k, d) tensor
        Where to begin, in Laplace's approximation at the first temperature.
    options : mapping
        ``n_walkers``, ``n_components`` of the mixture, ``n_rounds`` at the last temperature.

    Returns
    -------
    (n, d) tensor
        Draws: the walkers after each of the last rounds.
    Mixture
        Fitted to them, and to draws of a warmer p~ so that its tails are reached.
    """
    beta, n_components = HOTTEST, options["n_components"]
    z = _first(problem, surrogate, modes, beta, options["n_walkers"], generator)
    rounds, warmer, fitted = spread(log_posterior(problem, surrogate, beta), z, None, n_components, FIRST_ROUNDS, generator), None, None
    while beta < 1:
        hotter, fitted = fitted, mixture.fit(torch.cat(rounds[-REMEMBERED:]), n_components, generator, ROUGH)
        warmer = fitted if hotter is None else mixture.joined(fitted, hotter, WARM)
        likelihood = parts(problem, surrogate, rounds[-1])[1]
        before, beta = beta, _cooler(likelihood, beta)
        weights = torch.softmax((beta - before) * likelihood, 0)
        z = rounds[-1][torch.multinomial(weights, len(z), replacement=True, generator=generator)]
        n_rounds = ROUNDS if beta < 1 else options["n_rounds"]
        rounds = spread(log_posterior(problem, surrogate, beta), z, warmer, n_components, n_rounds, generator)
    return harvest(rounds, warmer, n_components, generator)


def harvest(rounds, warmer: mixture.Mixture, n_components: int, generator):
    """Draws of the second half of the rounds, and the mixture of the two."""
    draws = torch.cat(rounds[len(rounds) // 2 :])
    return draws, mixture.joined(mixture.fit(draws, n_components, generator), warmer, WARM)


def _first(problem, surrogate, modes, beta: float, n: int, generator):
    """Walkers (n, d) at the temperature `beta` by importance resampling from Laplace's approximation."""
    curvatures = [
        fisher.positive(beta * fisher.likelihood_information(problem, z, surrogate.information) + fisher.prior_curvature(problem, z), WIDEST**-2) for z in modes
    ]
    factors = torch.stack([fisher.covariance_factor(c) for c in curvatures])
    laplace = mixture.Mixture(modes, factors, torch.full((len(modes),), -math.log(len(modes)), dtype=modes.dtype))
    z = laplace.sample(OVERSAMPLED * n, generator)
    log_weights = log_posterior(problem, surrogate, beta)(z) - laplace.log_density(z)
    return z[torch.multinomial(torch.softmax(log_weights, 0), n, replacement=True, generator=generator)]


def _cooler(log_likelihood, beta: float) -> float:
    """The next temperature: at which `KEPT` of the effective number of the walkers is left."""
    low, high = beta, 1.0
    if _effective((high - beta) * log_likelihood) >= KEPT:
        return high
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _effective((middle - beta) * log_likelihood) >= KEPT else (low, middle)
    return low


def _effective(log_weights) -> float:
    """Effective share of importance weights (n,)."""
    return float(torch.exp(2 * torch.logsumexp(log_weights, 0) - torch.logsumexp(2 * log_weights, 0))) / len(log_weights)


def spread(density, z, warmer: mixture.Mixture | None, n_components: int, n_rounds: int, generator):
    """Walkers after each of `n_rounds`: steps along their own differences, and to points of a mixture fitted to them, joined to a `warmer` one."""
    rounds, log_prob = [z], density(z)
    for _ in range(n_rounds):
        proposals = mixture.fit(torch.cat(rounds[-REMEMBERED:]), n_components, generator, ROUGH)
        proposals = proposals if warmer is None else mixture.joined(proposals, warmer, WARM)
        archive = z
        for _ in range(PER_ROUND):
            z, log_prob = difference_step(z, log_prob, density, archive, generator)
        z, log_prob = resampling_step(z, log_prob, density, proposals, N_PROPOSALS, generator)
        rounds.append(z)
    return rounds[1:]
