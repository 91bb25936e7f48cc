"""The expansion in the summary, and the reversibility of the steps that draw from it."""

import math
from types import SimpleNamespace

import pytest
import torch
from scipy import stats

from galmass.inference import mixture, surrogate

torch.set_num_threads(1)
G = torch.Generator().manual_seed(2)
DESIGN = torch.randn(30, 3, dtype=torch.float64, generator=G)
DATA = 3 * torch.randn(30, dtype=torch.float64, generator=G)


def _summary(z):
    return torch.stack([torch.exp(0.5 * z[..., 0]), z[..., 0] * z[..., 1], z[..., 1]], -1)


def _linear(nu=None):
    """Data linear in the summary; Gaussian errors, or Student's t of `nu` degrees of freedom."""

    def likelihood(s):
        square = (DATA - DESIGN @ s) ** 2
        return -0.5 * square.sum() if nu is None else -0.5 * (nu + 1) * torch.log1p(square / nu).sum()

    def score_and_weights(prediction):
        residual = DATA - prediction
        if nu is None:
            return residual, torch.ones_like(residual)
        return (nu + 1) * residual / (nu + residual**2), torch.full_like(residual, (nu + 1) / (nu + 3))

    return SimpleNamespace(
        summary=_summary,
        log_prior=lambda z: -0.5 * (z**2).sum(-1),
        predict_at_summary=lambda s: DESIGN @ s,
        likelihood_at_summary=likelihood,
        score_and_weights=score_and_weights,
    )


def test_a_linear_model_with_gaussian_errors_is_expanded_exactly():
    problem = _linear()
    expansion, _ = surrogate.expand(problem, _summary(torch.zeros(2, dtype=torch.float64)))
    for s in torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)):
        torch.testing.assert_close(expansion(s), problem.likelihood_at_summary(s), rtol=1e-9, atol=1e-9)  # rounding of the differences
    z = torch.tensor([[0.3, -0.4]], dtype=torch.float64)
    wanted = problem.log_prior(z) + problem.likelihood_at_summary(_summary(z[0]))
    torch.testing.assert_close(surrogate.log_posterior(problem, expansion)(z), wanted, rtol=1e-9, atol=1e-9)


def test_students_t_has_its_value_its_slope_and_its_expected_information():
    problem, s0 = _linear(nu=5.0), torch.tensor([1.0, 0.5, -0.5], dtype=torch.float64)
    expansion, _ = surrogate.expand(problem, s0)
    s = s0.clone().requires_grad_()
    (slope,) = torch.autograd.grad(problem.likelihood_at_summary(s), s)
    torch.testing.assert_close(expansion.log_likelihood, problem.likelihood_at_summary(s0))
    torch.testing.assert_close(expansion.gradient, slope, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(expansion.information, 6 / 8 * DESIGN.T @ DESIGN, rtol=1e-8, atol=1e-8)


def test_what_is_no_number_has_no_probability():
    problem = _linear()
    problem.log_prior = lambda z: torch.where(z[..., 0] > 0, math.nan, 0.0)
    expansion, _ = surrogate.expand(problem, _summary(torch.zeros(2, dtype=torch.float64)))
    values = surrogate.log_posterior(problem, expansion)(torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64))
    assert values[0] == -math.inf
    assert torch.isfinite(values[1])


def _skewed(z):
    """Gumbel times exponential tails: known distribution functions."""
    return (-z[:, 0] - torch.exp(-z[:, 0])) + torch.where(z[:, 1] > 0, -z[:, 1], -math.inf)


CROWD = torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
CLOUD = mixture.Mixture(torch.tensor([[0.5, 1.0]], dtype=torch.float64), torch.eye(2, dtype=torch.float64)[None], torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize(
    "move",
    [
        lambda z, p, g: surrogate.difference_step(z, p, _skewed, CROWD, g),
        lambda z, p, g: surrogate.resampling_step(z, p, _skewed, CLOUD, 3, g),
    ],
    ids=["differences", "resampling"],
)
def test_both_kinds_of_steps_keep_a_skewed_density_and_are_reversible(move):
    generator = torch.Generator().manual_seed(4)
    uniform = torch.rand(20000, 2, dtype=torch.float64, generator=generator)
    z = torch.stack([-torch.log(-torch.log(uniform[:, 0])), -torch.log(uniform[:, 1])], 1)
    start, log_prob = z, _skewed(z)
    for _ in range(4):
        z, log_prob = move(z, log_prob, generator)
    assert (z != start).any(1).double().mean() > 0.5
    torch.testing.assert_close(log_prob, _skewed(z))
    assert stats.kstest(z[:, 0].numpy(), stats.gumbel_r.cdf).pvalue > 1e-3  # a fixed seed: a failure is a change
    assert stats.kstest(z[:, 1].numpy(), stats.expon.cdf).pvalue > 1e-3
    # reversible: from the stationary density, (start, end) is distributed as (end, start); f antisymmetric then has mean 0
    f = torch.tanh(start[:, 0]) * z[:, 1].clamp(max=3) - torch.tanh(z[:, 0]) * start[:, 1].clamp(max=3)
    assert float(f.mean().abs()) < 4 * float(f.std()) / math.sqrt(len(f))


def test_annealing_from_one_end_fills_a_curved_valley():
    """A parabola of width 0.05 along the unit normal: moments in closed form, from walkers that begin in one spot."""
    problem = SimpleNamespace(
        summary=lambda z: torch.stack([(z[..., 1] - z[..., 0] ** 2) / 0.05, 0 * z[..., 0]], -1), log_prior=lambda z: -0.5 * (z**2).sum(-1)
    )
    problem.predict_at_summary, problem.likelihood_at_summary = lambda s: s, lambda s: -0.5 * (s**2).sum()
    problem.score_and_weights = lambda p: (-p, torch.ones_like(p))
    expansion, _ = surrogate.expand(problem, torch.zeros(2, dtype=torch.float64))
    options = {"n_walkers": 500, "n_components": 6, "n_rounds": 10}
    draws, _ = surrogate.anneal(problem, expansion, torch.tensor([[1.0, 1.0]], dtype=torch.float64), options, torch.Generator().manual_seed(1))
    assert len(draws) == 2500
    # p(x) ~ exp(-x^2 / 2 - x^4 / 2) to order 0.05^2; symmetric, and its variance by quadrature
    x = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    p = torch.exp(-0.5 * x**2 - 0.5 * x**4 / (1 + 0.05**2))
    variance = float((p * x**2).sum() / p.sum())
    assert float(draws[:, 0].mean()) == pytest.approx(0, abs=0.1)  # 500 walkers of width 0.5: 0.023, a little more for their common past
    assert float(draws[:, 0].var()) == pytest.approx(variance, rel=0.2)
