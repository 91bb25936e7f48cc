"""Mixtures of multivariate Student t fitted to draws: a density to propose from where a posterior is curved."""

import math
from dataclasses import dataclass

import torch

TAIL = 10  # degrees of freedom: heavier than a Gaussian, so that few states are under-proposed
POOLING = 2  # times d: draws' worth of the common covariance in that of each component
RIDGE = 1e-6  # of the whitened variance: components of few draws stay invertible


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


def fit(z, n_components: int, generator, n_iterations: int = 40) -> Mixture:
    """Mixture fitted to draws z (n, d), by expectation maximisation for Gaussians.

    Each covariance is pooled with the common one.
    """
    mean, whole = z.mean(0), covariance_root(z)
    x = torch.linalg.solve_triangular(whole, (z - mean).mT, upper=False).mT
    centres = x[torch.randperm(len(x), generator=generator)[:n_components]]
    k, d = centres.shape
    covariances, log_weights = torch.eye(d, dtype=x.dtype).repeat(k, 1, 1), torch.full((k,), -math.log(k), dtype=x.dtype)
    for _ in range(n_iterations):
        shares = _responsibilities(x, centres, covariances, log_weights)
        centres, covariances, log_weights = _maximised(x, shares)
    return Mixture(centres @ whole.mT + mean, whole @ torch.linalg.cholesky(covariances), log_weights)


def joined(first: Mixture, second: Mixture, share: float) -> Mixture:
    """Both, `share` of it the second."""
    log_weights = torch.cat([first.log_weights + math.log(1 - share), second.log_weights + math.log(share)])
    return Mixture(torch.cat([first.centres, second.centres]), torch.cat([first.factors, second.factors]), log_weights)


def _responsibilities(x, centres, covariances, log_weights):
    """Share (k, n) of each component in each draw."""
    factors = torch.linalg.cholesky(covariances)
    return torch.softmax((log_weights - _log_volume(factors))[:, None] - 0.5 * _distances(centres, factors, x), 0)


def _maximised(x, shares):
    """Centres, covariances and log weights from the shares."""
    n, d = x.shape
    number = shares.sum(1) + 1e-9
    centres = (shares @ x) / number[:, None]
    offsets = x - centres[:, None]
    scatter = (shares[..., None] * offsets).mT @ offsets
    prior = POOLING * d
    covariances = (scatter + prior * scatter.sum(0) / n) / (number + prior)[:, None, None] + RIDGE * torch.eye(d, dtype=x.dtype)
    return centres, covariances, torch.log(number / number.sum())


def _distances(centres, factors, x):
    """Squared Mahalanobis distances (k, n)."""
    return torch.linalg.solve_triangular(factors, (x - centres[:, None]).mT, upper=False).square().sum(-2)


def _log_volume(factors):
    return factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def covariance_root(z):
    """Lower triangle L (d, d), ``L L^T`` the covariance of z (n, d); a direction that hardly varies keeps a tiny width."""
    covariance = torch.cov(z.mT)
    ridge = 1e-12 * covariance.diagonal().mean() + 1e-300
    return torch.linalg.cholesky(covariance + ridge * torch.eye(z.shape[1], dtype=z.dtype))
