"""Population Monte Carlo (Cappe et al. 2004; Cornuet et al. 2012): a mixture of the straightened coordinates that learns where the posterior is.

Each round draws from the last mixture; every point of every round then counts with its density under all the mixtures drawn from so far, so that
no point outweighs the rest because the mixture of its own round did not know of it; and the next mixture is fitted to them.
"""

import math
from dataclasses import dataclass

import torch

from galmass.errors import InputError
from galmass.inference import conditional, mixture
from galmass.inference.conditional import Points, Target

FEWEST = 200  # effective points that a mixture is fitted to; fewer are made more by a power of the weights below 1
N_PRIOR = 4000  # draws that tell how wide the priors are
DEFENSIVE = 0.1  # share of a mixture that stays as wide as the priors
CURVED = 0.25  # standard deviation of a coordinate above which the summary is not taken as linear in it


@dataclass(frozen=True)
class Population:
    """Weighted draws of p~, and a mixture to draw their straightened coordinates from."""

    points: Points
    log_weights: torch.Tensor  # (n,)
    proposals: mixture.Mixture
    share: float  # effective, of draws of the last mixture
    power: float  # of the weights that this was fitted to: below 1 where too few points are effective

    def moments(self, values):
        """Mean and standard deviation (m,) of values (n, m)."""
        weights = torch.softmax(self.log_weights, 0)
        values = torch.where(weights[:, None] > 0, values, 0)  # where there is no summary there is no weight: 0 times NaN
        mean = weights @ values
        return mean, torch.sqrt(weights @ (values - mean) ** 2)

    def resampled(self, n: int, generator) -> Points:
        """`n` points in proportion to their weights."""
        return self._drawn(n, True, generator)

    def different(self, n: int, generator) -> Points:
        """`n` different points, or all that have a weight; in proportion to it as long as none has more than one `n`-th of all."""
        return self._drawn(min(n, int((torch.softmax(self.log_weights, 0) > 0).sum())), False, generator)

    def _drawn(self, n: int, again: bool, generator) -> Points:
        return self.points[torch.multinomial(torch.softmax(self.log_weights, 0), n, replacement=again, generator=generator)]


def adapt(target: Target, options, generator, first: mixture.Mixture | None = None) -> Population:
    """Rounds until the effective number of points is ``n_effective``, at most ``n_rounds`` of ``n_points`` each.

    Parameters
    ----------
    target : Target
    options : mapping
        ``n_rounds``, ``n_points``, ``n_effective``, ``n_components``.
    first : Mixture, optional
        To begin with, in place of one as wide as the priors.

    Raises
    ------
    InputError
        When no point has a density.
    """
    wide = as_wide_as_priors(target, generator)
    mixtures, rounds, log_densities = [first or wide], [], None
    for _ in range(options["n_rounds"]):
        drawn = target.draw(mixtures[-1].sample(options["n_points"], generator), generator)
        rounds.append(drawn)
        log_densities = _extended(log_densities, mixtures, [points.y for points in rounds])
        points = conditional.joined(rounds)
        log_weights = points.log_weight - torch.logsumexp(log_densities, 0) + math.log(len(mixtures))
        last = drawn.log_weight - log_densities[-1, -len(drawn.z) :]
        if not torch.isfinite(log_weights).any():
            raise InputError(f"none of {len(log_weights)} points of the priors has a finite posterior density; check the priors, and the data for NaN")
        power = _power(log_weights)
        fitted = mixture.fit(points.y, power * log_weights, options["n_components"], generator)
        mixtures.append(mixture.joined(fitted, wide, DEFENSIVE))
        if power == 1 and effective(log_weights) > options["n_effective"]:
            break
    return Population(points, log_weights, mixtures[-1], effective(last) / len(last), power)


def _extended(log_densities, mixtures, rounds):
    """Log densities (n_mixture, n_point) of all points under all mixtures, from those without the last of either."""
    old = [mixtures[-1].log_density(bent) for bent in rounds[:-1]]
    new = [some.log_density(rounds[-1]) for some in mixtures]
    right = torch.stack(new)
    return torch.cat([torch.cat([log_densities, torch.cat(old)[None]]), right], 1) if old else right


def as_wide_as_priors(target: Target, generator) -> mixture.Mixture:
    """Mixture of the straightened coordinates that logits of logistic density, which the priors' own coordinates nearly are, have."""
    z = torch.logit(torch.rand(N_PRIOR, len(target.bent), dtype=target.reference.dtype, generator=generator))
    y = target.map.straight(z)[0]
    return mixture.fit(y, torch.zeros(N_PRIOR, dtype=y.dtype), 1, generator)


def _power(log_weights) -> float:
    """Largest power, up to 1, of the weights that leaves `FEWEST` effective points."""
    if effective(log_weights) >= FEWEST:
        return 1.0
    low, high = 2.0**-30, 1.0  # not 0: places of no density must keep none
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(middle * log_weights) >= FEWEST else (low, middle)
    return low


def effective(log_weights) -> float:
    """Effective number of points of these weights (n,)."""
    return float(torch.exp(2 * torch.logsumexp(log_weights, 0) - torch.logsumexp(2 * log_weights, 0)))
