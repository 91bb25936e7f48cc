"""Mixtures of Student t: normalised, sampled as they say, and fitted to what they can hold."""

import math

import pytest
import torch
from scipy import stats

from galmass.inference import mixture

torch.set_num_threads(1)
SINGLE = mixture.Mixture(
    torch.tensor([[1.0, -2.0]], dtype=torch.float64), torch.tensor([[[2.0, 0.0], [0.5, 0.3]]], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_density_of_one_component_is_scipys():
    z = SINGLE.sample(50, _generator())
    factor = SINGLE.factors[0].numpy()
    wanted = stats.multivariate_t(SINGLE.centres[0].numpy(), factor @ factor.T, df=mixture.TAIL).logpdf(z.numpy())
    torch.testing.assert_close(SINGLE.log_density(z), torch.from_numpy(wanted))


def test_draws_follow_the_density():
    z = SINGLE.sample(4000, _generator(1))
    along = (torch.linalg.inv(SINGLE.factors[0]) @ (z - SINGLE.centres[0]).T).numpy()
    for row in along:
        assert stats.kstest(row, stats.t(mixture.TAIL).cdf).pvalue > 1e-3  # a fixed seed: a failure is a change


def test_joined_shares_the_weight():
    other = mixture.Mixture(SINGLE.centres + 50, SINGLE.factors, SINGLE.log_weights)
    both = mixture.joined(SINGLE, other, 0.25)
    z = SINGLE.sample(20, _generator())
    torch.testing.assert_close(both.log_density(z), SINGLE.log_density(z) + math.log(0.75))  # the other is 50 away: below 1e-9 of it
    far = (both.sample(4000, _generator(2))[:, 0] > 25).double().mean()
    assert float(far) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 4000))


def test_fit_finds_two_clusters():
    normal = torch.randn(2000, 3, dtype=torch.float64, generator=_generator(3))
    z = torch.where(torch.arange(2000)[:, None] < 600, normal * 0.5 - 4, normal + 4)
    fitted = mixture.fit(z, 2, _generator(4))
    order = fitted.centres[:, 0].argsort()
    torch.testing.assert_close(fitted.log_weights.exp()[order], torch.tensor([0.3, 0.7], dtype=torch.float64), atol=1e-6, rtol=0)  # no overlap
    torch.testing.assert_close(fitted.centres[order], torch.stack([z[:600].mean(0), z[600:].mean(0)]), atol=1e-6, rtol=0)


def test_fit_survives_a_coordinate_that_hardly_varies():
    z = torch.randn(300, 3, dtype=torch.float64, generator=_generator(5)) * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    assert torch.isfinite(mixture.fit(z, 4, _generator(6)).log_density(z)).all()
