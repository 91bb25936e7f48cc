"""The expansion of ln L in the summary."""

from types import SimpleNamespace

import torch

from galmass.inference import surrogate

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
        predict_at_summary=lambda s: DESIGN @ s,
        likelihood_at_summary=likelihood,
        score_and_weights=score_and_weights,
    )


def test_a_linear_model_with_gaussian_errors_is_expanded_exactly():
    problem = _linear()
    expansion, _ = surrogate.expand(problem, _summary(torch.zeros(2, dtype=torch.float64)))
    for s in torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)):
        torch.testing.assert_close(expansion(s), problem.likelihood_at_summary(s), rtol=1e-9, atol=1e-9)  # rounding of the differences


def test_students_t_has_its_value_its_slope_and_its_expected_information():
    problem, s0 = _linear(nu=5.0), torch.tensor([1.0, 0.5, -0.5], dtype=torch.float64)
    expansion, _ = surrogate.expand(problem, s0)
    s = s0.clone().requires_grad_()
    (slope,) = torch.autograd.grad(problem.likelihood_at_summary(s), s)
    torch.testing.assert_close(expansion.log_likelihood, problem.likelihood_at_summary(s0))
    torch.testing.assert_close(expansion.gradient, slope, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(expansion.information, 6 / 8 * DESIGN.T @ DESIGN, rtol=1e-8, atol=1e-8)


def test_a_batch_of_summaries_is_its_rows():
    expansion, _ = surrogate.expand(_linear(nu=5.0), torch.zeros(3, dtype=torch.float64))
    s = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(expansion(s), torch.stack([torch.stack([expansion(row) for row in some]) for some in s]))


def test_steps_that_were_found_once_serve_again():
    """At a place nearby the differences need no second try."""
    problem, calls = _linear(), []
    _, step = surrogate.expand(problem, torch.zeros(3, dtype=torch.float64))
    problem.predict_at_summary = lambda s: calls.append(s) or DESIGN @ s
    surrogate.expand(problem, torch.full((3,), 0.2, dtype=torch.float64), step)
    assert len(calls) == 1 + 2 * 3
