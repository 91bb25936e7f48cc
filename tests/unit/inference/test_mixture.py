"""Mixtures of Student t: normalised, sampled as they say, and fitted to what they can hold."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.spatial.distance import cdist

from galmass.inference import mixture

torch.set_num_threads(1)
SINGLE = mixture.Mixture(
    torch.tensor([[1.0, -2.0]], dtype=torch.float64), torch.tensor([[[2.0, 0.0], [0.5, 0.3]]], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
)
LINE = mixture.Mixture(
    torch.tensor([[-3.0], [0.5], [2.0]], dtype=torch.float64),
    torch.tensor([[[0.1]], [[2.0]], [[0.5]]], dtype=torch.float64),
    torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log(),
)
CENTRES = torch.tensor([[-1.5, 0.0, 1.0], [2.0, 1.0, -1.0]], dtype=torch.float64)
ROOTS = torch.tensor([[[0.6, 0, 0], [0.3, 0.4, 0], [0, 0.2, 0.8]], [[0.5, 0, 0], [-0.4, 0.7, 0], [0.1, 0, 0.3]]], dtype=torch.float64)
SHARES = torch.tensor([0.3, 0.7], dtype=torch.float64)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _points(n, d=3, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=_generator(seed))


def test_density_of_one_component_is_scipys():
    z = SINGLE.sample(50, _generator())
    factor = SINGLE.factors[0].numpy()
    wanted = stats.multivariate_t(SINGLE.centres[0].numpy(), factor @ factor.T, df=mixture.TAIL).logpdf(z.numpy())
    torch.testing.assert_close(SINGLE.log_density(z), torch.from_numpy(wanted))


def test_density_integrates_to_one():
    def density(x):
        return float(LINE.log_density(torch.tensor([[x]], dtype=torch.float64)).exp())

    whole, _ = integrate.quad(density, -200, 200, points=[-3.5, -3, -2.5, 0.5, 2], limit=400)
    assert whole == pytest.approx(1, abs=1e-7)  # of the quadrature; beyond 100 widths t of 10 degrees of freedom has 1e-17


def test_draws_follow_the_density():
    z = SINGLE.sample(4000, _generator(1))
    along = (torch.linalg.inv(SINGLE.factors[0]) @ (z - SINGLE.centres[0]).T).numpy()
    for row in along:
        assert stats.kstest(row, stats.t(mixture.TAIL).cdf).pvalue > 1e-3  # a fixed seed: a failure is a change
    three = sum(share * stats.t(mixture.TAIL, m, s).cdf(np.linspace(-6, 8, 29)) for share, m, s in ((0.2, -3, 0.1), (0.5, 0.5, 2), (0.3, 2, 0.5)))
    drawn = np.searchsorted(np.sort(LINE.sample(4000, _generator(2))[:, 0].numpy()), np.linspace(-6, 8, 29)) / 4000
    assert np.abs(drawn - three).max() < 1.95 / math.sqrt(4000)  # Kolmogorov's 0.1 % bound


def test_joined_shares_the_weight():
    other = mixture.Mixture(SINGLE.centres + 50, SINGLE.factors, SINGLE.log_weights)
    both = mixture.joined(SINGLE, other, 0.25)
    z = SINGLE.sample(20, _generator())
    torch.testing.assert_close(both.log_density(z), SINGLE.log_density(z) + math.log(0.75))  # the other is 50 away: below 1e-9 of it
    far = (both.sample(4000, _generator(2))[:, 0] > 25).double().mean()
    assert float(far) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 4000))


def test_fit_finds_two_clusters():
    normal = _points(2000, seed=3)
    z = torch.where(torch.arange(2000)[:, None] < 600, normal * 0.5 - 4, normal + 4)
    fitted = mixture.fit(z, torch.zeros(2000, dtype=torch.float64), 2, _generator(4))
    order = fitted.centres[:, 0].argsort()
    torch.testing.assert_close(fitted.log_weights.exp()[order], torch.tensor([0.3, 0.7], dtype=torch.float64), atol=1e-6, rtol=0)  # no overlap
    torch.testing.assert_close(fitted.centres[order], torch.stack([z[:600].mean(0), z[600:].mean(0)]), atol=1e-6, rtol=0)


def test_weighted_points_give_the_mixture_that_weighs_them():
    """Points of a density that is wide, with weights of two normal components that are not."""
    z = 2 * _points(60000, seed=5)
    terms = [
        share.log() + torch.distributions.MultivariateNormal(m, scale_tril=root).log_prob(z) for share, m, root in zip(SHARES, CENTRES, ROOTS, strict=True)
    ]
    log_weights = torch.logsumexp(torch.stack(terms), 0) + (z**2).sum(1) / 8
    fitted = mixture.fit(z, log_weights, 2, _generator(6), n_iterations=60)
    order = fitted.centres[:, 0].argsort()
    weights = torch.softmax(log_weights, 0)
    error = 4 / math.sqrt(0.3 / float(weights.square().sum()))  # four standard errors of the lesser component, in its widths
    assert error < 0.2
    torch.testing.assert_close(fitted.log_weights.exp()[order], SHARES, atol=0.46 * error, rtol=0)
    whitened = torch.linalg.solve_triangular(ROOTS, (fitted.centres[order] - CENTRES)[..., None], upper=False)
    assert float(whitened.abs().max()) < error
    ratio = torch.linalg.solve_triangular(ROOTS, fitted.factors[order], upper=False)
    # squares have sqrt(2) times that error; 6 points' worth of the common covariance in 560 add less
    torch.testing.assert_close(ratio @ ratio.mT, torch.eye(3, dtype=z.dtype).expand(2, 3, 3), atol=1.5 * error, rtol=0)


def test_moments_of_one_component_are_the_weighted_ones_and_those_of_repeated_points():
    z, times = _points(60), torch.arange(60) % 4
    one = mixture.fit(z, times.double().log(), 1, _generator())
    same = mixture.fit(z.repeat_interleave(times, 0), torch.zeros(int(times.sum()), dtype=z.dtype), 1, _generator(3))
    covariance = np.cov(z.T.numpy(), fweights=times.numpy(), ddof=0)
    for fitted in (one, same):
        np.testing.assert_allclose(fitted.centres[0], np.average(z, axis=0, weights=times), rtol=1e-9)
        np.testing.assert_allclose(fitted.factors[0] @ fitted.factors[0].T, covariance * (1 + mixture.RIDGE), rtol=1e-7)
    numbers = torch.rand(3, 60, dtype=z.dtype, generator=_generator(7))
    weighted, repeated = mixture._maximised(z, numbers * times), mixture._maximised(z.repeat_interleave(times, 0), numbers.repeat_interleave(times, 1))
    torch.testing.assert_close(weighted, repeated)


def test_only_differences_of_log_weights_count():
    z, log_weights = _points(200), _points(200, 1, seed=1)[:, 0]
    first, shifted = (mixture.fit(z, log_weights + shift, 3, _generator()) for shift in (0, -1e4))
    torch.testing.assert_close(first.log_density(z), shifted.log_density(z), rtol=1e-7, atol=1e-7)  # 1e4 costs 1e-12 of a weight


def test_an_iteration_never_lowers_the_likelihood_of_unpooled_points(monkeypatch):
    monkeypatch.setattr(mixture, "POOLING", 0)
    x = torch.cat([_points(300), _points(200, seed=1) * 0.4 + 1])
    weights = torch.rand(500, dtype=x.dtype, generator=_generator(2))
    centres, covariances, log_shares, values = x[:3], torch.eye(3, dtype=x.dtype).repeat(3, 1, 1), torch.full((3,), -math.log(3), dtype=x.dtype), []
    for _ in range(15):
        terms = torch.stack([torch.distributions.MultivariateNormal(m, c).log_prob(x) for m, c in zip(centres, covariances, strict=True)])
        values.append(float(weights @ torch.logsumexp(terms + log_shares[:, None], 0)))
        centres, covariances, log_shares = mixture._maximised(x, mixture._responsibilities(x, centres, covariances, log_shares) * weights)
    assert values[-1] > values[0] + 10
    assert min(np.diff(values)) > -1e-3  # RIDGE of the variance in 500 points


def test_distances_are_those_of_scipy():
    x = _points(40)
    wanted = [cdist(x, m[None], "mahalanobis", VI=np.linalg.inv(root @ root.T))[:, 0] ** 2 for m, root in zip(CENTRES.numpy(), ROOTS.numpy(), strict=True)]
    np.testing.assert_allclose(mixture._distances(CENTRES, ROOTS, x), wanted, rtol=1e-10)


def test_fit_survives_a_coordinate_that_hardly_varies():
    z = _points(300, seed=5) * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    assert torch.isfinite(mixture.fit(z, torch.zeros(300, dtype=z.dtype), 4, _generator(6)).log_density(z)).all()


def test_components_begin_at_points_that_count():
    log_weights = torch.full((50,), -math.inf, dtype=torch.float64)
    log_weights[:5] = 0
    fitted = mixture.fit(_points(50, 2), log_weights, 8, _generator())
    assert len(fitted.centres) == 5
    assert torch.isfinite(fitted.log_density(_points(50, 2))).all()
