"""Mixtures of multivariate Student t fitted to weighted points: a density to propose from where a posterior is curved."""

import math
from dataclasses import dataclass

import torch

TAIL = 10  # degrees of freedom: heavier than a Gaussian, so that few states are under-proposed
POOLING = 2  # times d: points' worth of the common covariance in that of each component
RIDGE = 1e-6  # of the whitened variance: components of few points stay invertible


@dataclass(frozen=True)
class Mixture:
    """Components with centres, scale matrices L L^T and weights."""

    centres: torch.Tensor  # (k, d)
    factors: torch.Tensor  # (k, d, d) lower triangles L
    log_weights: torch.Tensor  # (k,)

    def sample(self, n: int, generator):
        """Draws (n, d)."""
        d, dtype = self.centres.shape[1], self.centres.dtype
        k = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        normal = torch.randn((n, d, 1), dtype=dtype, generator=generator)
        chi2 = torch.randn((n, TAIL), dtype=dtype, generator=generator).square().sum(-1)
        return self.centres[k] + (self.factors[k] @ normal)[..., 0] * torch.sqrt(TAIL / chi2)[:, None]

    def log_density(self, z):
        """Log density (n,) at z (n, d)."""
        d = self.centres.shape[1]
        constant = math.lgamma((TAIL + d) / 2) - math.lgamma(TAIL / 2) - 0.5 * d * math.log(TAIL * math.pi)
        kernel = -0.5 * (TAIL + d) * torch.log1p(_distances(self.centres, self.factors, z) / TAIL)
        return torch.logsumexp((self.log_weights - _log_volume(self.factors))[:, None] + kernel, 0) + constant


def fit(z, log_weights, n_components: int, generator, n_iterations: int = 20) -> Mixture:
    """Mixture fitted to points z (n, d) of `log_weights` (n,), by expectation maximisation for Gaussians.

    Each covariance is pooled with the common one.
    """
    weights = torch.softmax(log_weights, 0)
    mean, whole = weights @ z, covariance_root(z, weights)
    x = torch.linalg.solve_triangular(whole, (z - mean).mT, upper=False).mT
    n = min(n_components, int((weights > 0).sum()))
    centres = x[torch.multinomial(weights, n, generator=generator)]
    k, d = centres.shape
    covariances, log_shares = torch.eye(d, dtype=x.dtype).repeat(k, 1, 1), torch.full((k,), -math.log(k), dtype=x.dtype)
    number = weights / weights.square().sum()  # sums to the effective number of points
    for _ in range(n_iterations):
        shares = _responsibilities(x, centres, covariances, log_shares)
        centres, covariances, log_shares = _maximised(x, shares * number)
    return Mixture(centres @ whole.mT + mean, whole @ torch.linalg.cholesky(covariances), log_shares)


def joined(first: Mixture, second: Mixture, share: float) -> Mixture:
    """Both, `share` of it the second."""
    log_weights = torch.cat([first.log_weights + math.log(1 - share), second.log_weights + math.log(share)])
    return Mixture(torch.cat([first.centres, second.centres]), torch.cat([first.factors, second.factors]), log_weights)


def _responsibilities(x, centres, covariances, log_weights):
    """Share (k, n) of each component in each point."""
    factors = torch.linalg.cholesky(covariances)
    return torch.softmax((log_weights - _log_volume(factors))[:, None] - 0.5 * _distances(centres, factors, x), 0)


def _maximised(x, numbers):
    """Centres, covariances and log weights from the numbers (k, n) of points that count for each component."""
    d = x.shape[1]
    number = numbers.sum(1) + 1e-9
    centres = (numbers @ x) / number[:, None]
    squares = (numbers @ (x[:, :, None] * x[:, None, :]).flatten(1)).unflatten(1, (d, d))
    scatter = squares - number[:, None, None] * centres[:, :, None] * centres[:, None, :]
    prior = POOLING * d
    covariances = (scatter + prior * scatter.sum(0) / number.sum()) / (number + prior)[:, None, None] + RIDGE * torch.eye(d, dtype=x.dtype)
    return centres, covariances, torch.log(number / number.sum())


def _distances(centres, factors, x):
    """Squared Mahalanobis distances (k, n)."""
    k, d = centres.shape
    inverse = torch.linalg.solve_triangular(factors, torch.eye(d, dtype=x.dtype).expand(k, d, d), upper=False)
    offsets = x @ inverse.reshape(k * d, d).mT - (inverse @ centres[..., None]).reshape(-1)
    return offsets.reshape(len(x), k, d).square().sum(-1).mT


def _log_volume(factors):
    return factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def covariance_root(z, weights):
    """Lower triangle L (d, d), ``L L^T`` the covariance of z (n, d) of `weights` (n,), sum 1; a direction that hardly varies keeps a tiny width."""
    covariance = torch.cov(z.mT, correction=0, aweights=weights).reshape(z.shape[1], z.shape[1])
    ridge = 1e-12 * covariance.diagonal().mean() + 1e-300
    return torch.linalg.cholesky(covariance + ridge * torch.eye(z.shape[1], dtype=z.dtype))
