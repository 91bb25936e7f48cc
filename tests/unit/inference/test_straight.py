"""Maps of bent coordinates: there and back, their volume, and what they are meant to straighten."""

import math

import numpy as np
import pytest
import torch
from conftest import TRUTH
from scipy import stats

from galmass.inference import straight
from galmass.inference.priors import LogUniform, Uniform
from galmass.profiles import nuker

torch.set_num_threads(1)
PRIORS = (LogUniform(0.1, 10.0), Uniform(0.001, 1.2), Uniform(0.3, 3.0), LogUniform(2.0, 2000.0))
PLACES = (3, 1, 0, 4)  # of alpha, gamma, beta_minus_gamma, r_break among five: the third is none of them
PIVOT = 55.0
AT_PIVOT = straight.SlopeAtPivot(PIVOT, PLACES, PRIORS)
BOTH = pytest.mark.parametrize("way", [straight.Deviates(), AT_PIVOT], ids=["deviates", "slope"])


def _logistic(n, seed=0):
    return torch.logit(torch.rand(n, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))


def _nuker(z):
    """alpha, gamma, beta - gamma, r_break (n,)."""
    return [prior.value(z[:, i]) for prior, i in zip(PRIORS, PLACES, strict=True)]


@BOTH
def test_there_and_back(way):
    z = _logistic(500)
    # gamma near a wall is a difference of numbers near 1: 1e-16 of it is 1e-12 of a share of 1e-4
    torch.testing.assert_close(way.bent(way.straight(z)[0]), z, rtol=1e-10, atol=1e-10)


def test_deviates_come_back_from_the_far_tails():
    z = torch.tensor([[-600.0], [-40.0], [-1e-9], [0.0], [1e-9], [40.0], [600.0]], dtype=torch.float64)
    y = straight.Deviates().straight(z)[0]
    torch.testing.assert_close(straight.Deviates().bent(y), z, rtol=1e-11, atol=1e-15)
    torch.testing.assert_close(y[5, 0], torch.tensor(-stats.norm.ppf(1 / (1 + math.exp(40))), dtype=torch.float64), rtol=1e-12, atol=0)


@BOTH
def test_volume_is_the_determinant_of_the_jacobian(way):
    z = 3 * _logistic(40, 1)
    z[:, PLACES[1]] /= 3  # gamma is a difference: at a wall its rounding is all there is
    y, log_volume = way.straight(z)
    slopes = torch.stack([torch.func.jacrev(lambda row: way.bent(row[None])[0])(row) for row in y])
    torch.testing.assert_close(log_volume, torch.linalg.slogdet(slopes)[1], rtol=1e-9, atol=1e-9)
    there = torch.stack([torch.func.jacrev(lambda row: way.straight(row[None])[0][0])(row) for row in z])
    torch.testing.assert_close(log_volume, -torch.linalg.slogdet(there)[1], rtol=1e-9, atol=1e-9)


def test_what_is_logistic_becomes_normal():
    y, log_volume = straight.Deviates().straight(_logistic(4000))
    for column in y.T.numpy():
        assert stats.kstest(column, stats.norm.cdf).pvalue > 1e-3  # a fixed seed: a failure is a change
    wanted = stats.norm.logpdf(y.numpy()).sum(1) - stats.logistic.logpdf(_logistic(4000).numpy()).sum(1)
    np.testing.assert_allclose(log_volume, wanted, rtol=1e-10)  # p(y) = p(z) dz / dy


def test_the_slope_is_that_of_the_profile():
    z = _logistic(50)
    alpha, gamma, rise, r_break = _nuker(z)
    h = 1e-4
    inside, outside = (nuker.log_surface_density(torch.tensor(PIVOT * math.exp(s), dtype=z.dtype), alpha, gamma + rise, gamma, r_break) for s in (-h, h))
    y, _ = AT_PIVOT.straight(z)
    torch.testing.assert_close(y[:, PLACES[1]], (inside - outside) / (2 * h), rtol=0, atol=1e-6)  # h^2 alpha^2 (beta - gamma) / 12 = 3e-7 at most
    others = [i for i in range(5) if i != PLACES[1]]
    torch.testing.assert_close(y[:, others], straight.Deviates().straight(z)[0][:, others], rtol=0, atol=0)


def test_slopes_that_gamma_may_not_have_are_no_number():
    y, _ = AT_PIVOT.straight(_logistic(200))
    rise = y[:, PLACES[1]] - _nuker(_logistic(200))[1]
    y[:, PLACES[1]] = torch.linspace(-1, 5, 200, dtype=y.dtype)
    gamma, z = y[:, PLACES[1]] - rise, AT_PIVOT.bent(y)
    allowed = (gamma > PRIORS[1].low) & (gamma < PRIORS[1].high)
    assert 20 < int(allowed.sum()) < 180
    assert torch.equal(z[:, PLACES[1]].isfinite(), allowed)
    assert bool(z[~allowed, PLACES[1]].isnan().all())
    assert bool(z[:, [i for i in range(5) if i != PLACES[1]]].isfinite().all())


def test_a_galaxy_is_proposed_by_the_slope_at_its_pivot(posterior, truth):
    bent = posterior.bent[::-1]  # in any order
    way, z = posterior.straight(bent), posterior.parameters.coordinates(truth)
    beta = TRUTH["gamma"] + TRUTH["beta_minus_gamma"]
    slope = nuker.slope(posterior.parameters.pivot, TRUTH["alpha"], beta, TRUTH["gamma"], TRUTH["r_break"])
    y, _ = way.straight(z[None, bent])
    assert float(y[0, bent.index(posterior.names.index("gamma"))]) == pytest.approx(slope, rel=1e-12)
    torch.testing.assert_close(way.bent(y)[0], z[bent], rtol=1e-10, atol=1e-10)


def test_without_the_whole_profile_there_is_no_slope(posterior):
    without = [i for i in posterior.bent if posterior.names[i] != "r_break"]
    assert posterior.straight(without) == straight.Deviates()
