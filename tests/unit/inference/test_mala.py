"""The Langevin sampler: its step by hand, its moments on a Gaussian, and its tuning."""

import math
from dataclasses import replace

import pytest
import torch

from galmass.inference import mala

torch.set_num_threads(1)
COVARIANCE = torch.tensor([[4.0, 1.2, 0.0], [1.2, 1.0, 0.02], [0.0, 0.02, 0.01]], dtype=torch.float64)
MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
PRECISION = torch.linalg.inv(COVARIANCE)
FACTOR = torch.linalg.cholesky(COVARIANCE)


def _gaussian(z):
    offset = z - MEAN
    gradient = -offset @ PRECISION
    return 0.5 * (offset * gradient).sum(-1), gradient


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _chain(step, n_chain=200, n_warm=150, n=400, seed=0):
    """Tuned chains from the target's own draws; (n_chain, n, 3) and the mean acceptance."""
    generator = _generator(seed)
    state = mala.init(MEAN + torch.randn(n_chain, 3, dtype=torch.float64, generator=generator) @ FACTOR.T, _gaussian, 0.5)
    for _ in range(n_warm):
        state, info = step(state, generator)
        state = mala.tune(state, info)
    state, kept, accepted = mala.freeze(state), [], []
    for _ in range(n):
        state, info = step(state, generator)
        kept.append(state.z)
        accepted.append(float(info.acceptance.mean()))
    return torch.stack(kept, 1), sum(accepted) / n


def _mala(state, generator):
    return mala.step(state, _gaussian, FACTOR, generator)


def test_moments_of_a_correlated_gaussian_within_their_monte_carlo_errors():
    z, _ = _chain(_mala)
    means = z.mean(1)  # chains are independent: their scatter is the error
    error = means.std(0) / math.sqrt(len(means))
    assert ((means.mean(0) - MEAN).abs() < 4 * error).all()
    squares = ((z - MEAN) ** 2).mean(1)
    assert ((squares.mean(0) - COVARIANCE.diagonal()).abs() < 4 * squares.std(0) / math.sqrt(len(squares))).all()


def test_tuning_reaches_the_acceptance_that_was_asked_for():
    _, acceptance = _chain(_mala)
    assert acceptance == pytest.approx(mala.GOAL, abs=0.03)  # the average over 150 steps of dual averaging


def test_acceptance_of_a_step_is_the_ratio_of_densities_and_proposals():
    """By the full formula in z, with the covariance of the proposal size^2 FACTOR FACTOR^T."""
    size, states = 1.6, mala.init(MEAN + torch.randn(50, 3, dtype=torch.float64, generator=_generator(1)) @ FACTOR.T, _gaussian, 1.6)
    after, info = mala.step(states, _gaussian, FACTOR, _generator(2))
    moved = info.accepted
    assert 5 < moved.sum() < 50

    def log_q(there, here):
        centre = here + 0.5 * size**2 * _gaussian(here)[1] @ COVARIANCE
        return torch.distributions.MultivariateNormal(centre, scale_tril=size * FACTOR).log_prob(there)

    x, y = states.z[moved], after.z[moved]
    ratio = _gaussian(y)[0] - _gaussian(x)[0] + log_q(x, y) - log_q(y, x)
    torch.testing.assert_close(info.acceptance[moved], ratio.exp().clamp(max=1))
    torch.testing.assert_close(after.z[~moved], states.z[~moved], rtol=0, atol=0)


def test_points_without_a_density_are_never_entered():
    def half(z):
        value, gradient = _gaussian(z)
        outside = z[:, 0] < 1
        return torch.where(outside, math.nan, value), torch.where(outside[:, None], math.nan, gradient)

    state = mala.init(MEAN + torch.tensor([[0.5, 0.0, 0.0]], dtype=torch.float64).expand(100, 3), half, 1.0)
    generator, rejected = _generator(), 0
    for _ in range(50):
        state, info = mala.step(state, half, FACTOR, generator)
        rejected += int((~info.accepted).sum())
    assert (state.z[:, 0] >= 1).all()
    assert torch.isfinite(state.log_prob).all()
    assert rejected > 0


def test_value_and_gradient_of_what_is_no_number():
    value, gradient = mala.value_and_gradient(lambda z: torch.log(z).sum(-1), torch.tensor([[1.0, 2.0], [-1.0, 2.0]], dtype=torch.float64))
    assert value.tolist() == [pytest.approx(math.log(2)), -math.inf]
    assert gradient.tolist() == [[1.0, 0.5], [0.0, 0.0]]


def test_a_step_is_pure():
    state = mala.init(MEAN[None], _gaussian, 0.5)
    before = replace(state, z=state.z.clone())
    first, _ = _mala(state, _generator(7))
    second, _ = _mala(state, _generator(7))
    assert torch.equal(first.z, second.z)
    assert torch.equal(before.z, state.z)
