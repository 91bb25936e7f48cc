"""Effective sample sizes and R-hat of chains whose answers are known."""

import subprocess
import sys

import numpy as np
import pytest

from galmass.inference import diagnostics


def _autoregressive(rho, shape, seed=0):
    """Chains of correlation rho^k: their autocorrelation time is (1 + rho) / (1 - rho)."""
    noise = np.random.default_rng(seed).normal(size=shape)
    z = noise.copy()
    for i in range(1, shape[1]):
        z[:, i] = rho * z[:, i - 1] + np.sqrt(1 - rho**2) * noise[:, i]
    return z


@pytest.mark.parametrize(("rho", "share"), [(0.0, 1.0), (0.6, 0.25)])
def test_effective_samples_of_autoregressive_chains(rho, share):
    found = diagnostics.diagnose(_autoregressive(rho, (8, 2000, 2)))
    assert found.bulk_ess / 16000 == pytest.approx([share, share], rel=0.15)  # the estimate scatters by about 5 %
    assert (found.r_hat < 1.01).all()
    assert found.tail_ess.shape == (2,)


def test_chains_that_disagree_are_seen():
    z = _autoregressive(0.0, (4, 500, 2))
    z[0, :, 1] += 3
    found = diagnostics.diagnose(z)
    assert found.r_hat[0] < 1.01
    assert found.r_hat[1] > 1.3
    assert found.bulk_ess[1] < 50


def test_a_parameter_that_never_moves_has_no_samples():
    z = _autoregressive(0.0, (4, 50, 2))
    z[..., 0] = 1.0
    found = diagnostics.diagnose(z)
    assert found.bulk_ess[0] == 0
    assert np.isnan(found.r_hat[0])
    assert found.bulk_ess[1] > 100


def test_three_draws_say_nothing():
    assert np.isnan(diagnostics.diagnose(np.zeros((4, 3, 2))).bulk_ess).all()


def test_pareto_k_tells_good_weights_from_bad():
    """Weights of a normal proposal for a wider normal of variance s^2: k = 1 - 1 / s^2 in theory."""
    x = np.random.default_rng(1).normal(size=4000)
    assert diagnostics.pareto_k(-0.5 * x**2 / 0.8 + 0.5 * x**2) < diagnostics.PARETO_LIMIT
    assert diagnostics.pareto_k(-0.5 * x**2 / 16 + 0.5 * x**2) > diagnostics.PARETO_LIMIT


def test_smoothed_weights_are_normalised():
    smoothed, k = diagnostics.smooth(np.random.default_rng(1).normal(size=500))
    assert np.exp(smoothed).sum() == pytest.approx(1)
    assert k < 0.7


def test_equal_and_absent_weights():
    smoothed, k = diagnostics.smooth(np.full(40, -3.0))
    assert k == 0
    assert np.exp(smoothed) == pytest.approx(1 / 40)
    absent = np.random.default_rng(1).normal(size=400)
    absent[:5] = -np.inf
    smoothed, k = diagnostics.smooth(absent)
    assert k < 0.7
    assert np.exp(smoothed[:5]) == pytest.approx(0, abs=1e-300)


def test_importing_prints_no_warning():
    done = subprocess.run(
        [sys.executable, "-c", "import galmass.inference.diagnostics"], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == 0
    assert "Warning" not in done.stderr
