"""Runs to convergence, interrupted and resumed, fallen back, and refused; on a posterior that is normal in a curved summary."""

import functools
import math
import re

import pytest
import torch
from conftest import Bowl

from galmass.errors import InputError
from galmass.inference import delayed, sampling
from galmass.inference.diagnostics import diagnose

torch.set_num_threads(1)
Gentle = functools.partial(Bowl, (0.2, 0.2, 10.0))  # bent little within its widths: mala and hmc mix in seconds
MODE = torch.tensor([[0.1, 0.01, math.radians(40)]], dtype=torch.float64)
COMMON = {"n_chains": 8, "target_ess": 300, "max_r_hat": 1.05, "max_steps": 1000}
SMALL = COMMON | {"n_rounds": 8, "n_points": 500, "n_effective": 500, "n_components": 4, "n_pilot": 32}
TUNED = COMMON | {"n_warmup": 100}


def _run(folder, sampler="delayed", problem=None, options=SMALL, stamp="a", seed=3):
    return sampling.run(problem or Gentle(), sampler, MODE, options, seed, folder, stamp)


@pytest.mark.parametrize(("sampler", "options"), [("delayed", SMALL), ("mala", TUNED), ("hmc", TUNED)])
def test_it_stops_converged_with_the_right_moments(sampler, options, tmp_path):
    result = _run(tmp_path, sampler, options=options)
    assert result.converged
    assert result.sampler == sampler
    assert result.diagnostics.bulk_ess.min() >= 300
    assert result.diagnostics.r_hat.max() < 1.05
    assert result.z.shape[::2] == (8, 3)
    s = Gentle().normal(result.z).reshape(-1, 3)
    assert (s.mean(0).abs() < 4 / math.sqrt(300)).all()
    torch.testing.assert_close(s.std(0), torch.ones(3, dtype=torch.float64), atol=4 / math.sqrt(2 * 150), rtol=0)  # squares mix half as fast at worst
    torch.testing.assert_close(result.log_prob[2, 5], Gentle().log_density(result.z[2, 5]))


SHORT = {"target_ess": 60, "max_r_hat": 1.3, "n_warmup": 30, "checkpoint_seconds": 0}


class Reporting(Bowl):
    """Tells its summary."""

    def __init__(self):
        super().__init__((0.2, 0.2, 10.0))

    def reported(self, z):
        return self.summary(z)


@pytest.fixture(scope="module", params=["delayed", "mala", "hmc"])
def whole(request, tmp_path_factory):
    """A run that nothing interrupts, kept at every step."""
    problem, options = Reporting(), (SMALL if request.param == "delayed" else COMMON) | SHORT
    return request.param, options, _run(tmp_path_factory.mktemp("whole"), request.param, problem, options), problem


@pytest.mark.parametrize("share", [0.4, 0.8])
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(whole, share, tmp_path):
    sampler, options, expected, problem = whole
    interrupted = Reporting()
    interrupted.last = int(share * problem.calls)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, sampler, interrupted, options)
    rest = Reporting()
    resumed = _run(tmp_path, sampler, rest, options)
    assert rest.calls < 0.7 * problem.calls
    assert torch.equal(resumed.z, expected.z)
    assert torch.equal(resumed.log_prob, expected.log_prob)
    assert resumed.n_likelihoods == expected.n_likelihoods
    assert resumed.acceptance == expected.acceptance


def test_a_finished_run_is_only_read(tmp_path):
    expected = _run(tmp_path)
    again = Gentle()
    assert torch.equal(_run(tmp_path, problem=again).z, expected.z)
    assert again.calls == 1  # whether the mode has a density


def test_the_seed_decides(tmp_path):
    first, same, other = (_run(tmp_path / str(i), seed=seed) for i, seed in enumerate((1, 1, 2)))
    assert torch.equal(first.z, same.z)
    assert not torch.equal(first.z[:, 0], other.z[:, 0])


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    _run(tmp_path)
    before = (tmp_path / "chains.ckpt").read_bytes()
    with pytest.raises(InputError, match="another"):
        _run(tmp_path, stamp="b")
    assert (tmp_path / "chains.ckpt").read_bytes() == before


def test_a_surrogate_of_the_wrong_place_falls_back_and_says_so(tmp_path):
    result = _run(tmp_path, problem=Gentle(fault=4.0))
    assert result.sampler == "mala"
    assert "mala" in " ".join(result.notes)
    assert result.converged
    s = Gentle().normal(result.z).reshape(-1, 3)
    assert (s.mean(0).abs() < 4 / math.sqrt(300)).all()


@pytest.fixture
def stuck(monkeypatch):
    """Inner chains that stay where they are, but the first `n`."""

    def most(n):
        kernel = delayed.Setup.kernel

        def walk(points, generator, inner):
            there = inner(points, generator)
            return points.replaced(there, torch.arange(len(points.z)) < n)

        monkeypatch.setattr(delayed.Setup, "kernel", lambda self, problem: functools.partial(walk, inner=kernel(self, problem)))

    return most


@pytest.mark.parametrize(("n", "share"), [(2, "25%"), (0, "0%")])
def test_inner_chains_that_stay_count_for_no_acceptance(stuck, n, share, tmp_path):
    """Three quarters propose where they are, which is always accepted; what moves, by a surrogate of the wrong place, is not."""
    stuck(n)
    result = _run(tmp_path, problem=Gentle(fault=4.0))
    assert result.sampler == "mala"
    assert any(note.startswith(f"{share} of the inner chains moved") for note in result.notes)


def test_acceptance_and_share_of_what_moved(stuck, tmp_path):
    free = _run(tmp_path / "free", problem=Gentle(fault=0.6), options=SMALL | {"max_steps": 60})
    assert 0.3 < free.acceptance < 0.8
    assert not any("inner chains moved" in note for note in free.notes)
    stuck(4)
    result = _run(tmp_path / "stuck", problem=Gentle(fault=0.6), options=SMALL | {"max_steps": 60})
    assert any(re.match("(4[5-9]|50)% of the inner chains moved", note) for note in result.notes)  # half, and few of these stay by themselves
    assert result.sampler == "delayed"
    assert result.acceptance == pytest.approx(free.acceptance, abs=0.1)  # 240 proposals each: 0.03


def test_a_surrogate_known_from_few_points_is_not_begun_from(tmp_path):
    """150 points are never 200 effective ones."""
    result = _run(tmp_path, options=SMALL | {"n_rounds": 1, "n_points": 150})
    assert result.sampler == "mala"
    assert any("after 1 rounds" in note and "effective points, to be 500" in note for note in result.notes)
    assert any("copies of a few points" in note for note in result.notes)
    assert result.converged
    s = Gentle().normal(result.z).reshape(-1, 3)
    assert (s.mean(0).abs() < 4 / math.sqrt(300)).all()


def test_a_fallback_resumes_too(tmp_path):
    options = SMALL | {"checkpoint_seconds": 0, "target_ess": 100, "n_warmup": 60}
    whole = Gentle(fault=4.0)
    expected = _run(tmp_path / "whole", problem=whole, options=options)
    interrupted = Gentle(fault=4.0)
    interrupted.last = whole.calls - 40
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "parts", problem=interrupted, options=options)
    resumed = _run(tmp_path / "parts", problem=Gentle(fault=4.0), options=options)
    assert torch.equal(resumed.z, expected.z)
    assert resumed.notes == expected.notes


class Told(Bowl):
    """What is told are normal deviates, the first of them a constant."""

    def reported(self, z):
        return torch.cat([torch.full_like(z[..., :1], 7.0), self.normal(z)[..., 1:]], -1)


def test_what_is_told_has_to_converge(tmp_path):
    """A parameter that is told and never moves has no R-hat, however well its coordinate mixes."""
    problem = Told((0.2, 0.2, 10.0))
    result = _run(tmp_path, problem=problem, options=SMALL | {"max_steps": 60})
    assert not result.converged
    assert result.diagnostics.bulk_ess[0] == 0
    assert math.isnan(result.diagnostics.r_hat[0])
    expected = diagnose(problem.normal(result.z))
    assert result.diagnostics.bulk_ess[1:] == pytest.approx(expected.bulk_ess[1:])
    assert result.diagnostics.tail_ess[1:] == pytest.approx(expected.tail_ess[1:])


def test_limits_that_rest_on_few_samples_are_named(tmp_path):
    few = _run(tmp_path / "few", options=SMALL | {"target_ess": 100, "max_r_hat": 1.3})
    assert few.converged
    assert few.diagnostics.tail_ess.min() < sampling.TAIL
    notes = [note for note in few.notes if "tail ESS below 400" in note]
    assert len(notes) == 1
    for name, ess in zip(Gentle().names, few.diagnostics.tail_ess, strict=True):
        assert (f"{name} ({ess:.0f})" in notes[0]) == (ess < sampling.TAIL)
    many = _run(tmp_path / "many", options=SMALL | {"target_ess": 1500})
    assert many.diagnostics.tail_ess.min() > sampling.TAIL
    assert not any("tail ESS" in note for note in many.notes)


def test_outer_limits_that_rest_on_few_draws_are_told(tmp_path):
    few = _run(tmp_path, options=SMALL | {"target_ess": 100, "max_r_hat": 1.3})
    n = few.z.shape[0] * few.z.shape[1]
    assert any(note.startswith(f"{n} draws: {0.0015 * n:.0f} lie beyond each limit of 99.7 %") for note in few.notes)
    assert sampling._few(16_600)
    assert not sampling._few(16_700)  # 25 draws


@pytest.mark.parametrize(("limit", "value"), [("max_steps", 12), ("max_seconds", 0.0)])
def test_what_has_not_converged_says_so(limit, value, tmp_path):
    result = _run(tmp_path, options=SMALL | {limit: value})
    assert not result.converged
    assert "not converged" in result.notes[-1]
    assert limit in result.notes[-1]


def test_chains_that_never_move_do_not_converge(tmp_path):
    """A step a million times too long: nothing is accepted, R-hat is no number, and that is no convergence."""
    options = {"n_chains": 4, "max_steps": 30, "n_warmup": 0, "step_size": 1e6, "target_ess": 1}
    result = _run(tmp_path, "mala", options=options)
    assert result.acceptance == 0
    assert not result.converged


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "nuts"}, "'nuts' is unknown; choose one of delayed, mala, hmc"),
        ({"options": {"target_es": 10}}, "unknown options target_es"),
        ({"options": {"n_walkers": 400}}, "unknown options n_walkers; it knows .*n_points"),
        ({"options": {"n_chains": 97}}, r"n_chains \(97\) must not be above n_pilot \(96\)"),
        ({"options": {"n_chains": 8, "n_pilot": 7}}, r"n_chains \(8\) must not be above n_pilot \(7\)"),
    ],
)
def test_wrong_names_are_refused(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        _run(tmp_path, **changes)


def test_a_mode_without_a_density_is_refused(tmp_path):
    problem = Gentle()
    problem.log_density = lambda z: z.sum() * math.nan
    with pytest.raises(InputError, match="density at the first mode is not finite"):
        _run(tmp_path, problem=problem)


def test_the_checkpoint_holds_no_code(tmp_path):
    _run(tmp_path)
    assert torch.load(tmp_path / "chains.ckpt", weights_only=True)["stamp"] == "a"
