"""Noise of uv cells against scipy's distributions and simulated scatter."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from galmass.errors import InputError
from galmass.inference import noise
from galmass.visibilities import gridding
from galmass.visibilities.io import Visibilities

N = 40


@pytest.fixture
def numbers():
    rng = np.random.default_rng(1)
    data, model = torch.from_numpy(rng.normal(size=N)), torch.from_numpy(rng.normal(size=N))
    nu = torch.from_numpy(np.where(rng.random(N) < 0.5, np.inf, rng.uniform(2.5, 30, N)))
    return data, torch.from_numpy(rng.uniform(0.5, 2, N)), nu, model


def test_density_is_that_of_scipy(numbers):
    data, std, nu, model = numbers
    expected = np.where(
        np.isinf(nu), *(d.logpdf(data.numpy(), *shape, model.numpy(), std.numpy()) for d, shape in ((stats.norm, ()), (stats.t, (nu.numpy(),))))
    )
    assert float(noise.Noise(data, std, nu).log_density(model)) == pytest.approx(expected.sum(), rel=1e-12)


def test_score_is_the_derivative(numbers):
    data, std, nu, model = numbers
    subject = noise.Noise(data, std, nu)
    model = model.requires_grad_()
    subject.log_density(model).backward()
    np.testing.assert_allclose(subject.score_and_weights(model.detach())[0], model.grad, rtol=1e-12)


def test_information_is_the_variance_of_the_score():
    nu, std = torch.full((400_000,), 6.0, dtype=torch.float64), torch.full((400_000,), 0.7, dtype=torch.float64)
    data = torch.from_numpy(stats.t.rvs(6, scale=0.7, size=len(nu), random_state=2))
    score, information = noise.Noise(data, std, nu).score_and_weights(torch.zeros_like(data))
    # standard error of a variance of bounded scores: sqrt(2 / n) = 0.2 %
    assert float(score.var() / information[0]) == pytest.approx(1, abs=0.01)


def test_chi_squared_expects_one_for_every_kind_of_datum():
    for nu in (8.0, math.inf):
        draws = stats.t.rvs(nu, size=400_000, random_state=3) if nu < math.inf else stats.norm.rvs(size=400_000, random_state=3)
        data = torch.from_numpy(draws)
        subject = noise.Noise(data, torch.ones_like(data), torch.full_like(data, nu))
        assert float(subject.chi_squared(torch.zeros_like(data)).mean()) == pytest.approx(1, abs=0.02)  # five standard errors at nu = 8


def test_replicas_follow_the_distribution_they_were_declared_with():
    n = 20_000
    nu = torch.tensor([5.0, math.inf], dtype=torch.float64).repeat_interleave(n)
    subject = noise.Noise(torch.zeros(2 * n, dtype=torch.float64), torch.full((2 * n,), 0.5, dtype=torch.float64), nu)
    replica = subject.replicate(torch.ones(2 * n, dtype=torch.float64), np.random.default_rng(4))
    assert torch.equal(replica.known, subject.known)
    student, gaussian = ((replica.data - 1) / 0.5).split(n)
    assert stats.kstest(student, stats.t(5).cdf).pvalue > 0.01
    assert stats.kstest(gaussian, stats.norm.cdf).pvalue > 0.01


def cells(kind, **changed):
    entries = {
        "mean": np.array([1 + 0j, 2 - 1j, 0.5 + 3j]),
        "std": np.array([0.1 + 0.2j, 0.3 + 0.1j, 0.2 + 0.2j]),
        "propagated": np.array([0.15, 0.25, 0.2]),
        "nu": np.array([19.0, 9.0, np.inf]),
        "real_only": np.array([True, False, False]),
    }
    return noise.of_cells(kind, **{**entries, **changed})


def test_imaginary_part_of_a_cell_that_is_its_own_partner_is_left_out():
    subject, used = cells("student_t")
    assert used.tolist() == [True, False, True, True, True, True]
    np.testing.assert_array_equal(subject.data, [1, 2, -1, 0.5, 3])


def test_each_kind_takes_its_own_errors():
    scattered, _ = cells("student_t")
    np.testing.assert_array_equal(scattered.std, [0.1, 0.3, 0.1, 0.2, 0.2])
    np.testing.assert_array_equal(scattered.nu[:3], [19, 9, 9])
    assert scattered.known.tolist() == [False, False, False, True, True]  # of the third cell the weights alone speak
    weighted, _ = cells("gaussian")
    np.testing.assert_array_equal(weighted.std, [0.15, 0.25, 0.25, 0.2, 0.2])
    assert bool(weighted.known.all())
    doubled, _ = cells("gaussian_x2")
    np.testing.assert_array_equal(doubled.std, 2 * scattered.std)


@pytest.mark.parametrize("kind", noise.KINDS)
def test_errors_of_correlated_cells_grow_by_the_root_of_the_factor(kind):
    alone, _ = cells(kind)
    subject, _ = cells(kind, information_factor=4.0)
    np.testing.assert_array_equal(subject.std, 2 * alone.std)
    assert (alone.n_independent, subject.n_independent) == (5, 1.25)
    replica = subject.replicate(torch.zeros(5, dtype=torch.float64), np.random.default_rng(1))
    assert replica.n_independent == 1.25
    with pytest.raises(InputError, match=r"information_factor is 0\.5"):
        cells(kind, information_factor=0.5)


@pytest.mark.parametrize(("support", "kind"), [(1, "gaussian"), (2, "gaussian"), (3, "gaussian"), (3, "student_t")])
def test_an_amplitude_errs_by_its_sigma_whatever_the_kernel(support, kind):
    """What is the same all over the uv plane, fitted to 300 channels of noise about it."""
    rng, size, n_chan = np.random.default_rng(11), 30, 300
    half = size / 2 - 2
    u, v = rng.uniform(-half, half, (2, 10_000))
    vis = 1 + rng.normal(size=(n_chan, len(u))) + 1j * rng.normal(size=(n_chan, len(u)))
    scale = size * 0.5 * gridding.ARCSEC
    weight = np.ones(vis.shape)
    data = Visibilities(u / scale, v / scale, vis, weight, weight == 0, 1e11 + 1e7 * np.arange(n_chan), {})
    found = gridding.grid(data, size, 0.5, support)
    kernel, mask = found.metadata["kernel"], found.mask
    fields = (values[mask] for values in (found.mean, found.std, found.propagated, found.nu))
    subject, used = noise.of_cells(kind, *fields, np.broadcast_to(found.real_only, mask.shape)[mask], kernel["information_factor"])
    channel = torch.from_numpy(np.repeat(np.nonzero(mask)[0], 2))[used]
    ones = torch.view_as_real(torch.ones(int(mask.sum()), dtype=torch.complex128)).reshape(-1)[used]
    score, information = (torch.bincount(channel, ones * x) for x in subject.score_and_weights(ones))
    # the rms of 300 numbers is known to 4 %; cells at the rim have fewer neighbours, so that the factor is too large by 10 %, its root by half
    assert float((score / information.sqrt()).square().mean().sqrt()) == pytest.approx(1, abs=0.15)
    square = subject.chi_squared(ones)
    assert float(square.sum()) == pytest.approx(subject.n_independent, rel=0.02)
    assert found.n_data == round(subject.n_independent)


def test_unknown_counts_refuse_students_t_and_name_the_key():
    with pytest.raises(InputError, match=r"fitting\.likelihood is student_t.*gaussian"):
        cells("student_t", nu=np.full(3, np.nan))
    subject, _ = cells("gaussian", nu=np.full(3, np.nan))
    assert bool(subject.known.all())


def test_unknown_kind_is_named():
    with pytest.raises(InputError, match=r"'cauchy'; known: student_t, gaussian, gaussian_x2"):
        cells("cauchy")
