"""Hamiltonian Monte Carlo: its integrator, and its moments on a Gaussian."""

import math

import pytest
import torch

from galmass.inference import hmc, mala

torch.set_num_threads(1)
COVARIANCE = torch.tensor([[4.0, 1.2], [1.2, 1.0]], dtype=torch.float64)
FACTOR = torch.linalg.cholesky(COVARIANCE)
PRECISION = torch.linalg.inv(COVARIANCE)


def _gaussian(z):
    gradient = -z @ PRECISION
    return 0.5 * (z * gradient).sum(-1), gradient


def _quartic(z):
    return -0.25 * (z**4).sum(-1), -(z**3)


def _normal(n, seed):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _leapfrog(z, momentum, target, size, n):
    return hmc.leapfrog(z, target(z)[1], momentum, target, FACTOR, torch.full((len(z), 1), size, dtype=z.dtype), n)


def test_leapfrog_leads_back_when_the_momentum_is_turned():
    z, momentum = _normal(20, 0), _normal(20, 1)
    there, _, _, after = _leapfrog(z, momentum, _quartic, 0.1, 7)
    back, _, _, again = _leapfrog(there, -after, _quartic, 0.1, 7)
    torch.testing.assert_close(back, z, atol=1e-12, rtol=0)  # rounding
    torch.testing.assert_close(again, -momentum, atol=1e-12, rtol=0)


def test_the_energy_error_falls_as_the_square_of_the_step():
    z, momentum = 0.5 * _normal(20, 0), _normal(20, 1)

    def error(size, n):
        _, log_prob, _, after = _leapfrog(z, momentum, _quartic, size, n)
        return (log_prob - _quartic(z)[0] - 0.5 * (after**2 - momentum**2).sum(-1)).abs().mean()

    assert float(error(0.02, 50) / error(0.01, 100)) == pytest.approx(4, rel=0.05)  # of next order: 4 % at these steps


def test_moments_of_a_correlated_gaussian_within_their_monte_carlo_errors():
    generator = torch.Generator().manual_seed(3)
    state = mala.init(_normal(200, 4) @ FACTOR.T, _gaussian, 0.5)
    for _ in range(100):
        state, info = hmc.step(state, _gaussian, FACTOR, generator, 5)
        state = mala.tune(state, info, hmc.GOAL)
    state, kept, accepted = mala.freeze(state), [], []
    for _ in range(200):
        state, info = hmc.step(state, _gaussian, FACTOR, generator, 5)
        kept.append(state.z)
        accepted.append(float(info.acceptance.mean()))
    z = torch.stack(kept, 1)
    for found, wanted in ((z, torch.zeros(2, dtype=torch.float64)), (z**2, COVARIANCE.diagonal()), (z[..., :1] * z[..., 1:], COVARIANCE[:1, 1])):
        means = found.mean(1)  # chains are independent: their scatter is the error
        assert ((means.mean(0) - wanted).abs() < 4 * means.std(0) / math.sqrt(len(means))).all()
    assert sum(accepted) / 200 == pytest.approx(hmc.GOAL, abs=0.05)  # the number of leapfrog steps varies, and with it the acceptance


def test_likelihoods_are_counted():
    state = mala.init(_normal(3, 0), _gaussian, 0.1)
    _, info = hmc.step(state, _gaussian, FACTOR, torch.Generator().manual_seed(0), 1)
    assert info.n_likelihoods == 3
