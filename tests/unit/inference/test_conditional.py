"""Draws given the bent coordinates have the weight that they say, and both kinds of steps keep the posterior of the surrogate."""

import math

import numpy as np
import pytest
import torch
from conftest import Bowl
from scipy import stats

from galmass.inference import conditional, mixture, straight, surrogate
from galmass.inference.conditional import Target

torch.set_num_threads(1)
WIDE = (0.5, 0.8, 30.0)  # neither sinh z0, sinh z1 nor z0^2 is straight on these widths
SHEET = (1.0, 0.05, 30.0)  # z1 within 0.05 of a parabola


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _target(problem, bent=None):
    """About the mean, with the exact likelihood."""
    reference = torch.tensor([0.1, 0.0, math.radians(40)], dtype=torch.float64)
    expansion, _ = surrogate.expand(problem, problem.summary(reference))
    return Target(problem, expansion, reference, bent or problem.bent)


class Plane(Bowl):
    """A summary that is linear in all but the bent coordinate, and the prior of the others the one that draws suppose: all normal given z0."""

    design = torch.tensor([[0.0, 1.0, 0.5, 0.0], [0.0, -0.7, 1.5, 0.0], [0.0, 0.0, 0.0, 3.0]], dtype=torch.float64)
    direct = ([3], [2])
    mean = torch.tensor([0.1, 0.0, 1.0], dtype=torch.float64)

    def summary(self, z, unit=None):
        return (self.unit(z) if unit is None else unit) + z @ self.design.T

    def unit(self, z):
        return torch.sinh(z[..., :1]) * torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)

    def log_prior(self, z):
        return torch.nn.functional.logsigmoid(z[..., 0]) - 0.5 * (z[..., 1:] / conditional.WIDTH).square().sum(-1)


def test_weights_of_a_linear_summary_are_the_integral_over_what_is_drawn():
    """In closed form: what is left over is Student's t against a normal density of the same noise."""
    problem = Plane(widths=(0.6, 0.9, 2.0))
    reference = torch.zeros(4, dtype=torch.float64)
    expansion, _ = surrogate.expand(problem, problem.summary(reference))
    target = Target(problem, expansion, reference, [0])
    assert target.drawn == [1, 2, 3]
    assert target.direct == [3]
    y = torch.linspace(-0.8, 0.8, 30, dtype=torch.float64)[:, None]
    draws = target.draw(y, _generator(1))
    z0 = stats.norm.logcdf(y[:, 0]) - stats.norm.logcdf(-y[:, 0])
    np.testing.assert_allclose(draws.z[:, 0], z0, rtol=1e-12, atol=1e-12)
    slopes, covariance = problem.design[:, 1:].numpy(), (problem.root @ problem.root.T).numpy()
    offset = np.sinh(z0)[:, None] * np.array([1.0, -2.0, 0.0]) - problem.mean.numpy()  # s less its mean where all that is drawn is 0
    # integral over the drawn of N(s; mean, C) times exp(-x^2 / 2 W^2), in one formula for the sum of two normal vectors
    whole = stats.multivariate_normal(np.zeros(3), covariance + conditional.WIDTH**2 * slopes @ slopes.T).logpdf(offset)
    whole += problem.log_evidence + 1.5 * math.log(2 * math.pi) + 3 * math.log(conditional.WIDTH)
    volume = stats.norm.logpdf(y[:, 0]) - stats.logistic.logpdf(z0)
    precision = slopes.T @ np.linalg.solve(covariance, slopes) + np.eye(3) / conditional.WIDTH**2
    mean = np.linalg.solve(precision, -slopes.T @ np.linalg.solve(covariance, offset.T)).T
    noise = (draws.z[:, 1:].numpy() - mean) @ np.linalg.cholesky(precision)
    heavy = stats.multivariate_t(np.zeros(3), np.eye(3), df=mixture.TAIL).logpdf(noise)
    wanted = whole + stats.logistic.logcdf(z0) + volume + stats.norm.logpdf(noise).sum(1) - heavy
    np.testing.assert_allclose(draws.log_weight, wanted, atol=1e-7)  # differences of 1e-3 and of half a standard error, in float64
    assert np.abs(mean).max() < 2 * conditional.LONGEST  # two steps lead there
    assert np.abs(noise).max() > 1


@pytest.mark.parametrize("bent", [[0], [0, 1], [1, 0], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("widths", [WIDE, SHEET], ids=["wide", "sheet"])
def test_a_draw_is_found_again_where_it_is(widths, bent):
    problem = Bowl(widths)
    target = _target(problem, bent)
    drawn = target.draw(torch.randn(200, len(bent), dtype=torch.float64, generator=_generator()), _generator(1))
    again = target.at(drawn.z)
    torch.testing.assert_close(again.y, drawn.y, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(again.log_prob, drawn.log_prob)
    torch.testing.assert_close(again.log_weight, drawn.log_weight, rtol=1e-7, atol=1e-7)  # the noise is what is left of z less its mean
    wanted = problem.log_prior(drawn.z) - 0.5 * problem.normal(drawn.z).square().sum(1)
    torch.testing.assert_close(drawn.log_prob, wanted, rtol=1e-7, atol=1e-7)  # differences of half a standard error


@pytest.mark.parametrize("bent", [[0], [0, 1], [0, 1, 2]], ids=str)
def test_weights_are_a_density_of_the_bent_coordinates(bent):
    """Their mean over draws whose straightened coordinates are normal is the evidence."""
    problem, n = Bowl(WIDE), 20000
    y = 1.2 * torch.randn(n, len(bent), dtype=torch.float64, generator=_generator(2))
    log_weights = _target(problem, bent).draw(y, _generator(3)).log_weight - torch.from_numpy(stats.norm(scale=1.2).logpdf(y.numpy()).sum(1))
    ratio = torch.exp(log_weights - problem.log_evidence)
    error = float(ratio.std()) / math.sqrt(n)
    assert error < 0.04
    assert float(ratio.mean()) == pytest.approx(1, abs=4 * error)


def test_points_at_a_time_make_no_difference(monkeypatch):
    target = _target(Bowl())
    y = torch.randn(50, 1, dtype=torch.float64, generator=_generator())
    whole = target.draw(y, _generator(1))
    monkeypatch.setattr(conditional, "CHUNK", 7)
    parts = target.draw(y, _generator(1))
    torch.testing.assert_close(parts.z, whole.z, rtol=1e-12, atol=1e-12)  # matrix products of other sizes
    torch.testing.assert_close(parts.log_weight, whole.log_weight, rtol=1e-10, atol=1e-10)


def test_the_costly_part_is_asked_for_once_a_draw():
    problem, asked = Bowl(), []
    target, unit = _target(problem), problem.unit
    problem.unit = lambda z: asked.append(len(z)) or unit(z)
    target.draw(torch.zeros(30, 1, dtype=torch.float64), _generator())
    assert asked == [30]


class Step:
    """A map that has no place for y <= 0."""

    def straight(self, z):
        return 1.0 * z, torch.zeros(len(z), dtype=z.dtype)

    def bent(self, y):
        return torch.where(y > 0, y, math.nan)


class Walled(Bowl):
    """The same, but no z0 <= 0 can be proposed: half of the posterior."""

    mean = torch.tensor([0.0, 0.0, 40.0], dtype=torch.float64)

    def straight(self, bent):
        return Step()


def test_a_place_that_is_none_has_no_probability():
    drawn = _target(Walled()).draw(torch.tensor([[-0.1], [0.1], [math.nan]], dtype=torch.float64), _generator())
    assert (drawn.log_prob == -math.inf).tolist() == [True, False, True]
    assert (drawn.log_weight == -math.inf).tolist() == [True, False, True]
    assert bool(drawn.z.isfinite().all())


def test_where_there_is_no_summary_there_is_no_probability():
    problem = Bowl()
    summary, target = problem.summary, _target(problem)
    problem.summary = lambda z, unit=None: torch.where(z[..., :1] > 0.2, math.nan, summary(z, unit))
    drawn = target.draw(torch.tensor([[1.0], [-0.1]], dtype=torch.float64), _generator())
    assert (drawn.log_prob == -math.inf).tolist() == [True, False]
    assert bool(drawn.z.isfinite().all())


def _differences(problem, target):
    archive = target.at(problem.exact(200, 11)).y
    return lambda points, generator: conditional.difference_step(points, target, archive, generator)


def _resampling(problem, target):
    cloud = target.at(problem.exact(2000, 12)).y
    found = mixture.fit(cloud, torch.zeros(len(cloud), dtype=torch.float64), 4, _generator())
    # too wide and beside it, so that the weights matter
    found = mixture.Mixture(found.centres + 0.3 * cloud.std(0), 1.3 * found.factors, found.log_weights)
    return lambda points, generator: conditional.resampling_step(points, target, found, 3, generator)


MOVES = pytest.mark.parametrize("move", [_differences, _resampling], ids=["differences", "resampling"])
N = 4000


def _is_normal(values):
    """Columns (n, d) of independent standard normal deviates: each, their squares' sum, and their correlations."""
    n, d = values.shape
    for column in values.T.numpy():
        assert stats.kstest(column, stats.norm.cdf).pvalue > 1e-3  # a fixed seed: a failure is a change
    assert stats.kstest(values.square().sum(1).numpy(), stats.chi2(d).cdf).pvalue > 1e-3
    off = np.corrcoef(values.T) - np.eye(d)
    assert np.abs(off).max() < 4 / math.sqrt(n)


@MOVES
@pytest.mark.parametrize(("widths", "bent"), [(WIDE, [0]), (WIDE, [0, 2]), (SHEET, [0, 1])], ids=str)
def test_steps_keep_the_posterior(move, widths, bent):
    problem = Bowl(widths)
    target, generator = _target(problem, bent), _generator(4)
    step = move(problem, target)
    points = start = target.at(problem.exact(N, 5))
    for _ in range(6):
        points = step(points, generator)
    assert float((points.z != start.z).any(1).double().mean()) > 0.3
    _is_normal(problem.normal(points.z))
    again = target.at(points.z)
    torch.testing.assert_close(points.log_prob, again.log_prob)
    torch.testing.assert_close(points.log_weight, again.log_weight, rtol=1e-7, atol=1e-6)


@MOVES
def test_steps_are_reversible(move):
    """From the stationary density, (start, end) is distributed as (end, start); functions antisymmetric in the two have mean 0."""
    problem = Bowl(WIDE)
    target = _target(problem)
    start = target.at(problem.exact(2 * N, 6))
    end = move(problem, target)(start, _generator(7))
    here, there = problem.normal(start.z), problem.normal(end.z)
    f = torch.stack([here[:, i] ** 2 * there[:, j] - there[:, i] ** 2 * here[:, j] for i in range(3) for j in range(3)], 1)
    assert bool((f.mean(0).abs() < 4 * f.std(0) / math.sqrt(len(f)) + 1e-12).all())


@MOVES
def test_steps_lead_to_the_posterior_from_elsewhere(move):
    problem, n = Bowl(WIDE), 1500
    target, generator = _target(problem), _generator(8)
    step = move(problem, target)
    points = target.at(torch.tensor([[1.2, -0.5, 2.0]], dtype=torch.float64).repeat(n, 1))
    assert float(problem.normal(points.z).square().sum(1)[0]) > 16
    for _ in range(40):
        points = step(points, generator)
    _is_normal(problem.normal(points.z))


@MOVES
def test_a_place_that_is_none_is_never_accepted(move):
    problem = Walled()
    target, generator = _target(problem), _generator(9)
    points = target.at(problem.exact(2 * N, 10))
    points = points[points.y[:, 0] > 0]
    archive = points.y
    step = move(problem, target) if move is _resampling else lambda p, g: conditional.difference_step(p, target, archive, g)
    for _ in range(6):
        points = step(points, generator)
        assert float(points.z[:, 0].min()) > 0
        assert bool(points.log_weight.isfinite().all())
    normal = problem.normal(points.z)
    assert stats.kstest(normal[:, 0].numpy(), stats.halfnorm.cdf).pvalue > 1e-3
    _is_normal(normal[:, 1:])


def test_an_angle_passes_the_turn():
    """A direct coordinate about pi is drawn on both sides of it: weights, not walls, say how far."""
    problem = Bowl((0.3, 0.1, 60.0))
    problem.mean = torch.tensor([0.1, 0.0, 180.0], dtype=torch.float64)
    reference = torch.tensor([0.1, 0.0, 3.0], dtype=torch.float64)
    expansion, _ = surrogate.expand(problem, problem.summary(reference))
    target = Target(problem, expansion, reference, [0])
    points = target.at(problem.exact(N, 3))
    move = _differences(problem, target)
    for seed in range(6):
        points = move(points, _generator(seed))
    _is_normal(problem.normal(points.z))
    assert 0.4 < float((points.z[:, 2] > math.pi).double().mean()) < 0.6


def test_points_are_put_together_and_taken_apart():
    target = _target(Bowl())
    some, others = (target.at(Bowl().exact(5, seed)) for seed in (1, 2))
    both = conditional.joined([some, others])
    where = torch.tensor([True, False, False, True, False])
    mixed = some.replaced(others, where)
    for name in ("z", "y", "log_prob", "log_weight"):
        assert torch.equal(getattr(both[5:], name), getattr(others, name))
        assert torch.equal(getattr(mixed, name)[where], getattr(others, name)[where])
        assert torch.equal(getattr(mixed, name)[~where], getattr(some, name)[~where])


def test_the_map_of_the_bent_coordinates_is_the_problems():
    assert isinstance(_target(Bowl()).map, straight.Deviates)
    assert isinstance(_target(Walled()).map, Step)
