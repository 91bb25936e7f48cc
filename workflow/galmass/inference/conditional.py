"""Draws of the posterior of a `Surrogate` in two parts: the *bent* coordinates, and the others given these.

The bent coordinates shape the rotation curve and make curved valleys as wide as their priors. Given them the summary is nearly linear in the
others, so that p~ of these is nearly Gaussian. Chains therefore walk among the bent coordinates alone, straightened to y, and draw the others
anew at every step; what a draw is not Gaussian stays in its weight, so that every step here is reversible for p~, exactly.
"""

import math
from dataclasses import dataclass, fields

import torch

from galmass.inference import mixture
from galmass.inference.surrogate import CHUNK, Problem, Surrogate

DIFFERENCE = 1e-3  # of coordinates, for the derivatives of the summary: float64
N_NEWTON = 2  # steps to the mean of what is drawn; the second is worth a quarter of the draws far from the mode
LONGEST = 2.0  # step, in coordinates whose priors are about 2 wide
WIDTH = 1.8  # of a prior in its coordinate: the standard deviation of a logistic density
SCALE = 2.38  # over sqrt(2 d): the best step along differences of two draws (ter Braak 2006)
SPREAD = 0.5  # such steps vary within this fraction: no lattice of differences
JUMP = 0.1  # share of steps of a whole difference, from one mode to another


@dataclass(frozen=True)
class Points:
    """Places of n chains."""

    z: torch.Tensor  # (n, d)
    y: torch.Tensor  # (n, k) straightened bent coordinates
    log_prob: torch.Tensor  # (n,) ln p~, a density in z
    log_weight: torch.Tensor  # (n,) the same as a density in y and the drawn coordinates, less the log density of the drawn ones given y

    def replaced(self, others: "Points", where) -> "Points":
        """These, but the others `where` (n,) says so."""
        pairs = [(getattr(others, f.name), getattr(self, f.name)) for f in fields(self)]
        return Points(*(torch.where(where.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))

    def __getitem__(self, rows) -> "Points":
        return Points(*(getattr(self, f.name)[rows] for f in fields(self)))


def joined(points: list[Points]) -> Points:
    """One after the other."""
    return Points(*(torch.cat([getattr(some, f.name) for some in points]) for f in fields(Points)))


class Target:
    """ln p~, exact, and draws of the other coordinates given the bent ones: Student's t about where two Newton steps from `reference` lead.

    Parameters
    ----------
    problem : Problem
    surrogate : Surrogate
    reference : (d,) tensor
        Near the mean.
    bent : list of int
        Coordinates to walk in; at least one.
    """

    def __init__(self, problem: Problem, surrogate: Surrogate, reference, bent):
        self.problem, self.surrogate, self.reference, self.bent, self.map = problem, surrogate, reference, list(bent), problem.straight(bent)
        direct = [(i, place) for i, place in zip(*problem.direct, strict=True) if i not in self.bent]
        self.direct, self.places = [i for i, _ in direct], [place for _, place in direct]
        self.curved = [i for i in range(len(reference)) if i not in (*self.bent, *self.direct)]
        self.drawn = [*self.curved, *self.direct]
        s, shifted = self._summary(torch.stack([reference, reference + DIFFERENCE * self._mask(self.direct)])).unbind(0)
        self.slopes = torch.zeros(len(s), len(self.direct), dtype=s.dtype)
        self.slopes[self.places, range(len(self.direct))] = ((shifted - s) / DIFFERENCE)[self.places]
        d = len(self.drawn)
        self.noise = mixture.Mixture(torch.zeros(1, d).to(reference), torch.eye(d).to(reference)[None], torch.zeros(1).to(reference))

    def at(self, z) -> Points:
        """The points z (n, d)."""
        return self._in_chunks(self._at, z)

    def draw(self, y, generator) -> Points:
        """Points with these straightened coordinates (n, n_bent), the others drawn."""
        noise = self.noise.sample(len(y), generator)
        return self._in_chunks(self._draw, y, noise)

    def _in_chunks(self, function, *columns):
        return joined([function(*some) for some in zip(*(column.split(CHUNK) for column in columns), strict=True)])

    def _at(self, z):
        unit = self.problem.unit(z)
        mean, factor = self._conditional(z, unit)
        noise = (factor.mT @ (z[:, self.drawn] - mean)[..., None])[..., 0]
        return self._points(z, self.map.straight(z[:, self.bent])[0], unit, noise, factor)

    def _draw(self, y, noise):
        bent, z = self.map.bent(y), self.reference.repeat(len(y), 1)
        none = bent.isnan().any(1)
        z[:, self.bent] = torch.where(none[:, None], self.reference[self.bent], bent)
        unit = self.problem.unit(z)
        mean, factor = self._conditional(z, unit)
        z[:, self.drawn] = mean + torch.linalg.solve_triangular(factor.mT, noise[..., None], upper=True)[..., 0]
        points = self._points(z, y, unit, noise, factor)
        nowhere = torch.full_like(points.log_prob, -math.inf)
        return Points(z, y, torch.where(none, nowhere, points.log_prob), torch.where(none, nowhere, points.log_weight))

    def _mask(self, columns):
        mask = torch.zeros_like(self.reference)
        mask[columns] = 1
        return mask

    def _points(self, z, y, unit, noise, factor) -> Points:
        with torch.no_grad():
            log_prob = self.problem.log_prior(z) + self.surrogate(self._summary(z, unit))
        log_prob = torch.where(torch.isfinite(log_prob), log_prob, -math.inf)
        log_drawn = self.noise.log_density(noise) + factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return Points(z, y, log_prob, log_prob + self.map.straight(z[:, self.bent])[1] - log_drawn)

    def _conditional(self, z, unit):
        """Mean (n, k) of what is drawn given the bent of z (n, d), and lower triangles (n, k, k) L, ``L L^T`` its inverse covariance.

        The prior's where there is no summary.
        """
        bent, z = z[:, self.bent], self.reference.repeat(len(z), 1)
        z[:, self.bent] = bent
        prior = torch.eye(len(self.drawn), dtype=z.dtype) / WIDTH**2
        for _ in range(N_NEWTON):
            s, slopes = self._linear(z, unit)
            gradient = self.surrogate.gradient - (s - self.surrogate.centre) @ self.surrogate.information
            factor = torch.linalg.cholesky(slopes.mT @ (self.surrogate.information @ slopes) + prior)
            pull = (slopes.mT @ gradient[..., None])[..., 0] - (z[:, self.drawn] - self.reference[self.drawn]) @ prior
            z[:, self.drawn] += torch.cholesky_solve(pull[..., None], factor)[..., 0].clamp(-LONGEST, LONGEST)
        return z[:, self.drawn], factor

    def _linear(self, z, unit):
        """Summary (n, m) and its derivatives (n, m, k) by what is drawn; centre and 0 where it is no number."""
        shifts = DIFFERENCE * torch.eye(z.shape[1], dtype=z.dtype)[self.curved]
        s, *shifted = self._summary(torch.stack([z, *(z + shift for shift in shifts)]), unit)
        curved = [(there - s) / DIFFERENCE for there in shifted]
        slopes = torch.cat([torch.stack([*curved, s], -1)[..., : len(curved)], self.slopes.expand(len(s), -1, -1)], -1)
        fine = torch.isfinite(s).all(1) & torch.isfinite(slopes).all(-1).all(-1)
        return torch.where(fine[:, None], s, self.surrogate.centre), torch.where(fine[:, None, None], slopes, 0)

    def _summary(self, z, unit=None):
        with torch.no_grad():
            return self.problem.summary(z, unit)


def difference_step(points: Points, target: Target, archive, generator) -> Points:
    """Metropolis-Hastings: steps along differences of two rows y of a fixed `archive` (n, n_bent), the other coordinates drawn anew.

    Both orders of two rows are as likely, so only the density of what is drawn enters the ratio.
    """
    n, d = len(points.z), archive.shape[1]
    pairs = torch.randint(len(archive), (2, n), generator=generator)
    spread = 1 + SPREAD * (2 * torch.rand(n, dtype=archive.dtype, generator=generator) - 1)
    jump = torch.rand(n, dtype=archive.dtype, generator=generator) < JUMP
    scale = torch.where(jump, 1.0, SCALE / math.sqrt(2 * d) * spread)
    proposed = target.draw(points.y + scale[:, None] * (archive[pairs[0]] - archive[pairs[1]]), generator)
    uniform = torch.rand(n, dtype=archive.dtype, generator=generator)
    return points.replaced(proposed, uniform.log() < proposed.log_weight - points.log_weight)


def resampling_step(points: Points, target: Target, proposals: mixture.Mixture, n_proposals: int, generator) -> Points:
    """Iterated sampling importance resampling (Andrieu, Lee & Vihola 2018): one of `n_proposals` independent points or where the chain is.

    Each is chosen in proportion to its importance weight, which is reversible for p~. The straightened coordinates are of `proposals`.
    """
    n = len(points.z)
    proposed = target.draw(proposals.sample(n * n_proposals, generator), generator)
    there, here = (some.log_weight - proposals.log_density(some.y) for some in (proposed, points))
    log_weights = torch.cat([here[:, None], there.reshape(n, n_proposals)], 1)
    chosen = torch.multinomial(torch.softmax(log_weights, 1), 1, generator=generator)[:, 0]
    return points.replaced(proposed[torch.arange(n) * n_proposals + (chosen - 1).clamp(min=0)], chosen > 0)
