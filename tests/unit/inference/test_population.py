"""Population Monte Carlo finds curved posteriors: their evidence and moments in closed form, from a mixture as wide as the priors."""

import math

import numpy as np
import pytest
import torch
from conftest import Bowl
from scipy import optimize

from galmass.errors import InputError
from galmass.inference import conditional, delayed, mixture, population, surrogate
from galmass.inference.conditional import Target
from galmass.inference.straight import Deviates

torch.set_num_threads(1)
OPTIONS = {"n_rounds": 12, "n_points": 1000, "n_effective": 3000, "n_components": 12}
SHEET = (1.0, 0.05, 30.0)  # z1 within 0.05 of a parabola that z0 runs along for 1.8
REFERENCE = torch.tensor([0.1, 0.0, math.radians(40)], dtype=torch.float64)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _target(problem, bent):
    return Target(problem, surrogate.expand(problem, problem.summary(REFERENCE))[0], REFERENCE, bent)


def _is_right(found, problem):
    """Evidence and moments within four standard errors."""
    n, effective = len(found.log_weights), population.effective(found.log_weights)
    log_evidence = float(torch.logsumexp(found.log_weights, 0)) - math.log(n)
    assert log_evidence == pytest.approx(problem.log_evidence, abs=4 * math.sqrt(1 / effective - 1 / n))
    mean, width = found.moments(problem.normal(found.points.z))
    assert float(mean.abs().max()) < 4 / math.sqrt(effective)
    assert float((width - 1).abs().max()) < 4 / math.sqrt(2 * effective)


# floors a tenth below what seeds 1 to 4 give: the conditional draws, and the width of the sheet that 12 components leave
@pytest.mark.parametrize(
    ("widths", "bent", "floor"),
    [((0.3, 0.1, 10.0), [0], 0.75), ((0.5, 0.8, 30.0), [0], 0.75), ((0.02, 0.1, 10.0), [0], 0.75), (SHEET, [0, 1], 0.5)],
    ids=["narrow", "curved", "narrower than the priors by far", "sheet"],
)
def test_evidence_and_moments_in_closed_form(widths, bent, floor):
    problem = Bowl(widths)
    found = population.adapt(_target(problem, bent), OPTIONS, _generator(1))
    assert population.effective(found.log_weights) > OPTIONS["n_effective"]
    assert len(found.log_weights) < OPTIONS["n_rounds"] * OPTIONS["n_points"]  # it stopped because it was done
    assert found.share > floor
    _is_right(found, problem)


def test_with_what_was_learnt_one_round_is_enough():
    target = _target(Bowl(SHEET), [0, 1])
    learnt = population.adapt(target, OPTIONS, _generator(1)).proposals
    again = population.adapt(target, OPTIONS | {"n_effective": 400}, _generator(2), learnt)
    assert len(again.log_weights) == OPTIONS["n_points"]
    _is_right(again, Bowl(SHEET))


def test_rounds_end():
    found = population.adapt(_target(Bowl(), [0]), OPTIONS | {"n_rounds": 2, "n_effective": 10**6}, _generator())
    assert len(found.log_weights) == 2 * OPTIONS["n_points"]


def test_points_of_all_rounds_count_with_their_density_under_all_mixtures():
    """By the formula, from mixtures and points of three rounds of different places."""
    rounds = [torch.randn(20, 2, dtype=torch.float64, generator=_generator(i)) for i in range(3)]
    mixtures = [
        mixture.Mixture(torch.full((1, 2), float(i), dtype=torch.float64), torch.eye(2, dtype=torch.float64)[None], torch.zeros(1).double()) for i in range(3)
    ]
    table = None
    for i in range(1, 4):
        table = population._extended(table, mixtures[:i], rounds[:i])
    torch.testing.assert_close(table, torch.stack([some.log_density(torch.cat(rounds)) for some in mixtures]))


def test_a_resample_has_the_weighted_moments():
    problem = Bowl()
    found = population.adapt(_target(problem, [0]), OPTIONS, _generator(1))
    some = problem.normal(found.resampled(4000, _generator(2)).z)
    error = math.sqrt(1 / 4000 + 1 / OPTIONS["n_effective"])
    assert float(some.mean(0).abs().max()) < 4 * error
    assert float((some.std(0) - 1).abs().max()) < 4 * error / math.sqrt(2)


def test_different_points_are_none_drawn_twice():
    """Two points of nearly all the weight, 40 of hardly any, 8 of none."""
    z = torch.arange(50, dtype=torch.float64)[:, None]
    weights = torch.cat([torch.full((2,), 0.49), torch.full((40,), 0.02 / 40), torch.zeros(8)]).double()
    found = population.Population(conditional.Points(z, z, z[:, 0], z[:, 0]), weights.log(), None, 0.1, 1.0)
    assert len(set(found.resampled(20, _generator()).z.flatten().tolist())) < 10
    some = found.different(20, _generator()).z.flatten().tolist()
    assert len(set(some)) == 20
    assert {0.0, 1.0} <= set(some)
    assert sorted(found.different(96, _generator()).z.flatten().tolist()) == list(range(42))


def test_where_there_is_no_summary_it_takes_no_part():
    """The half of the posterior that is left, in closed form: z0 below the median."""
    problem = Bowl()
    summary, edge = problem.summary, math.asinh(0.1)
    target = _target(problem, [0])
    problem.summary = lambda z, unit=None: torch.where(z[..., :1] > edge, math.nan, summary(z, unit))
    found = population.adapt(target, OPTIONS, _generator(3))
    n, effective = len(found.log_weights), population.effective(found.log_weights)
    log_evidence = float(torch.logsumexp(found.log_weights, 0)) - math.log(n)
    assert log_evidence == pytest.approx(problem.log_evidence - math.log(2), abs=4 * math.sqrt(1 / effective - 1 / n))
    mean, _ = found.moments(problem.normal(found.points.z))  # NaN at points of no weight
    wanted = torch.tensor([-math.sqrt(2 / math.pi), 0, 0], dtype=torch.float64)
    torch.testing.assert_close(mean, wanted, atol=4 / math.sqrt(effective), rtol=0)


def test_as_wide_as_the_priors_is_a_normal_deviate():
    target = _target(Bowl(), [0, 1])
    wide = population.as_wide_as_priors(target, _generator())
    assert isinstance(target.map, Deviates)
    error = 4 / math.sqrt(population.N_PRIOR)
    torch.testing.assert_close(wide.centres, torch.zeros(1, 2, dtype=torch.float64), atol=error, rtol=0)
    torch.testing.assert_close(wide.factors[0] @ wide.factors[0].T, torch.eye(2, dtype=torch.float64), atol=math.sqrt(2) * error, rtol=0)


def test_a_coordinate_that_turns_out_wide_is_walked_in():
    """Of the sheet z1 was thought narrow; the angle is wide too, but passes straight into the summary."""
    problem = Bowl(SHEET)
    expansion, _ = surrogate.expand(problem, problem.summary(REFERENCE))
    target, found = delayed._settled(problem, expansion, REFERENCE, [0], None, OPTIONS, _generator(1))
    assert target.bent == [0, 1]
    assert target.drawn == [2]
    assert found.points.y.shape[1] == 2
    assert float(found.moments(found.points.z)[1][2]) > population.CURVED
    _is_right(found, problem)


def test_a_narrow_coordinate_is_drawn():
    problem = Bowl()
    expansion, _ = surrogate.expand(problem, problem.summary(REFERENCE))
    target, found = delayed._settled(problem, expansion, REFERENCE, [0], None, OPTIONS, _generator(1))
    assert target.bent == [0]
    assert target.curved == [1]
    _is_right(found, problem)


def test_all_may_be_bent():
    problem = Bowl((0.5, 0.8, 30.0))
    problem.direct = ([], [])
    expansion, _ = surrogate.expand(problem, problem.summary(REFERENCE))
    target, found = delayed._settled(problem, expansion, REFERENCE, [0], None, OPTIONS, _generator(1))
    assert sorted(target.bent) == [0, 1, 2]
    assert target.drawn == []
    _is_right(found, problem)


def test_effective_number_of_points():
    weights = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)
    assert population.effective(weights.log()) == pytest.approx(1 / float((weights**2).sum()), rel=1e-12)
    assert population.effective(weights.log() - 1e5) == pytest.approx(1 / float((weights**2).sum()), rel=1e-9)  # 1e5 costs 1e-11 of a logarithm
    assert population.effective(torch.zeros(7, dtype=torch.float64)) == pytest.approx(7)
    assert population.effective(torch.tensor([0.0, -math.inf, -math.inf], dtype=torch.float64)) == pytest.approx(1)


def test_weights_that_few_points_have_are_evened_out():
    log_weights = 30 * torch.randn(1000, dtype=torch.float64, generator=_generator())
    power = population._power(log_weights)

    def excess(p):
        weights = np.exp(p * (log_weights.numpy() - float(log_weights.max())))
        return weights.sum() ** 2 / (weights**2).sum() - population.FEWEST

    assert power == pytest.approx(optimize.brentq(excess, 1e-6, 1), rel=1e-5)  # 2^-30 of 1
    assert population._power(log_weights * power * 0.999) == 1
    assert population._power(torch.zeros(population.FEWEST + 1, dtype=torch.float64)) == 1


def test_places_of_no_density_keep_none_however_few_have_one():
    log_weights = torch.full((500,), -math.inf, dtype=torch.float64)
    log_weights[: population.FEWEST // 2] = torch.linspace(0, 300, population.FEWEST // 2, dtype=torch.float64)
    weights = torch.softmax(population._power(log_weights) * log_weights, 0)
    torch.testing.assert_close(weights[: population.FEWEST // 2], torch.full((population.FEWEST // 2,), 2 / population.FEWEST).double(), rtol=1e-5, atol=0)
    assert float(weights[population.FEWEST // 2 :].sum()) == 0


def test_priors_without_density_are_an_error(monkeypatch):
    target = _target(Bowl(SHEET), [0, 1])
    monkeypatch.setattr(target.problem, "log_prior", lambda z: torch.full(z.shape[:-1], -torch.inf, dtype=z.dtype))
    with pytest.raises(InputError, match="finite posterior density"):
        population.adapt(target, OPTIONS, _generator(1))
