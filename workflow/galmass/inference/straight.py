"""Coordinates in which a posterior is easy to propose: bent coordinates on the scale of a normal deviate, the slope at a pivot in place of gamma.

A posterior that runs flat into the wall of a prior has an endless tail in the logit of that prior, none in its normal deviate. And what the
data know best of a Nuker profile is its slope inside the gas, a curved sheet in (alpha, gamma, beta - gamma, r_b) that is flat in these.
"""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Deviates:
    """Normal deviates y of logits z: y is normal where z is logistic, as a prior's own coordinate is."""

    def straight(self, z):
        """y (n, k) of z (n, k), and ln |dz / dy| (n,)."""
        low = torch.special.ndtri(torch.sigmoid(-z.abs()))
        y = torch.where(z > 0, -low, low)
        return y, _log_slope(y).sum(-1)

    def bent(self, y):
        """z (n, k) of y (n, k)."""
        return torch.special.log_ndtr(y) - torch.special.log_ndtr(-y)


@dataclass(frozen=True)
class SlopeAtPivot:
    """The same, but minus the logarithmic slope of the surface density at a pivot, ``gamma + (beta - gamma) w``, in place of gamma.

    ``w = 1 / (1 + (r_b / R)^alpha)``; slopes that a prior of gamma does not allow have z = NaN.
    """

    pivot: float  # R [pc]
    places: tuple[int, ...]  # of alpha, gamma, beta_minus_gamma, r_break among the k coordinates
    priors: tuple  # of these

    def straight(self, z):
        """y (n, k) of z (n, k), and ln |dz / dy| (n,)."""
        y, _ = Deviates().straight(z)
        gamma = self.priors[1].value(z[:, self.places[1]])
        log_slope = _log_slope(y)
        log_slope[:, self.places[1]] = self.priors[1].log_density(gamma) - self.priors[1].log_density_of_coordinate(z[:, self.places[1]])
        y[:, self.places[1]] = gamma + self._rise(z)
        return y, log_slope.sum(-1)

    def bent(self, y):
        """z (n, k) of y (n, k)."""
        z = Deviates().bent(y)
        gamma, prior = y[:, self.places[1]] - self._rise(z), self.priors[1]
        z[:, self.places[1]] = torch.where((gamma > prior.low) & (gamma < prior.high), prior.coordinate(gamma), math.nan)
        return z

    def _rise(self, z):
        """``(beta - gamma) w``."""
        alpha, _, rise, r_break = (prior.value(z[:, i]) for prior, i in zip(self.priors, self.places, strict=True))
        return rise * torch.sigmoid(alpha * torch.log(self.pivot / r_break))


def _log_slope(y):
    """ln dz / dy (n, k) of logits z by normal deviates y."""
    return -0.5 * (y**2 + math.log(2 * math.pi)) - torch.special.log_ndtr(y) - torch.special.log_ndtr(-y)
