"""Fisher matrices against closed forms."""

from types import SimpleNamespace

import torch

from galmass.inference import fisher

torch.set_num_threads(1)
G = torch.Generator().manual_seed(2)
DESIGN = torch.randn(40, 3, dtype=torch.float64, generator=G) * torch.tensor([1.0, 0.3, 300.0], dtype=torch.float64)
WEIGHTS = torch.rand(40, dtype=torch.float64, generator=G) + 0.5


def _summary(z):
    return torch.stack([torch.exp(z[..., 0]), z[..., 0] * z[..., 1], torch.sin(z[..., 1])], -1)


PROBLEM = SimpleNamespace(
    summary=_summary,
    predict_at_summary=lambda s: DESIGN @ s,
    score_and_weights=lambda prediction: (torch.zeros_like(prediction), WEIGHTS),
    log_prior=lambda z: -torch.cosh(z[..., 0]) - 2 * z[..., 1] ** 2 + 0.3 * z[..., 0] * z[..., 1],
)
POINT = torch.tensor([0.4, -0.7], dtype=torch.float64)


def test_jacobian_of_a_linear_model_is_the_model():
    jacobian, _ = fisher.summary_jacobian(PROBLEM, _summary(POINT), WEIGHTS)
    torch.testing.assert_close(jacobian, DESIGN, rtol=1e-9, atol=1e-10)  # rounding over a step of half a standard error


def test_steps_become_about_half_a_standard_error_whatever_the_scale():
    _, step = fisher.summary_jacobian(PROBLEM, _summary(POINT), WEIGHTS)
    size = step * torch.sqrt((WEIGHTS[:, None] * DESIGN**2).sum(0))
    assert ((size > 0.1 - 1e-9) & (size < 1 + 1e-9)).all()


def test_good_steps_are_not_taken_twice():
    calls = []

    def counting(s):
        calls.append(s)
        return DESIGN @ s

    problem = SimpleNamespace(predict_at_summary=counting)
    _, step = fisher.summary_jacobian(problem, _summary(POINT), WEIGHTS)
    calls.clear()
    fisher.summary_jacobian(problem, _summary(POINT), WEIGHTS, step)
    assert len(calls) == 6


def test_a_summary_that_changes_nothing_is_survived():
    problem = SimpleNamespace(predict_at_summary=lambda s: DESIGN[:, :2] @ s[:2])
    jacobian, step = fisher.summary_jacobian(problem, _summary(POINT), WEIGHTS)
    assert (jacobian[:, 2] == 0).all()
    assert torch.isfinite(step).all()


def test_central_differences_are_exact_for_a_parabola_and_second_order_beyond():
    x, step = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([0.1, 0.1], dtype=torch.float64)
    torch.testing.assert_close(fisher.central_jacobian(lambda x: x**2, x, step), torch.diag(2 * x))
    cube = fisher.central_jacobian(lambda x: x**3, x, step)
    torch.testing.assert_close(cube, torch.diag(3 * x**2 + 0.01))  # h^2 f''' / 6


def test_posterior_curvature_against_autograd():
    information = DESIGN.T @ torch.diag(WEIGHTS) @ DESIGN
    slope = torch.autograd.functional.jacobian(_summary, POINT)
    prior = -torch.autograd.functional.hessian(PROBLEM.log_prior, POINT)
    wanted = slope.T @ information @ slope + prior
    # differences of 1e-4: h^2 / 6 of third derivatives
    torch.testing.assert_close(fisher.posterior_curvature(PROBLEM, POINT, information), wanted, rtol=1e-8, atol=1e-6)
    torch.testing.assert_close(fisher.curvature(PROBLEM, POINT), wanted, rtol=1e-8, atol=1e-6)
    torch.testing.assert_close(fisher.prior_curvature(PROBLEM, POINT), prior, rtol=1e-6, atol=1e-6)


def test_slopes_against_autograd():
    s, slope = fisher.summary_slopes(PROBLEM, POINT)
    torch.testing.assert_close(s, _summary(POINT), rtol=0, atol=0)
    torch.testing.assert_close(slope, torch.autograd.functional.jacobian(_summary, POINT), rtol=1e-7, atol=1e-7)  # h^2 / 6 = 2e-9
    gradient, _ = fisher.prior_slopes(PROBLEM, POINT)
    torch.testing.assert_close(gradient, torch.autograd.functional.jacobian(PROBLEM.log_prior, POINT))


def test_at_the_edge_of_what_can_be_there_is_no_slope():
    problem = SimpleNamespace(summary=lambda z: torch.sqrt(z), log_prior=PROBLEM.log_prior)
    _, slope = fisher.summary_slopes(problem, torch.tensor([1e-6, 4.0], dtype=torch.float64))
    torch.testing.assert_close(slope, torch.tensor([[0.0, 0.0], [0.0, 0.25]], dtype=torch.float64), rtol=1e-7, atol=1e-9)


def test_covariance_factor():
    curvature = torch.tensor([[4.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    factor = fisher.covariance_factor(curvature)
    torch.testing.assert_close(factor @ factor.T, torch.linalg.inv(curvature))
