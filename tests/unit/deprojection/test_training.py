"""Training: it learns, from training nodes alone; the same seed gives the same weights, after a kill too."""

import fcntl
import itertools
import os

import numpy as np
import pytest
import torch

from galmass.deprojection import direct, models, training
from galmass.deprojection.basis import local_expansion
from galmass.errors import InputError
from galmass.profiles import grid


@pytest.fixture
def run(small_grid, small_box):
    """Function (options, scratch, seed=3, code="", grid=..., box=...) -> module and history."""

    def go(options, scratch, seed=3, code="", grid=small_grid, box=small_box):
        return training.train(*grid, box, options, seed, scratch, code)

    return go


def saved(module, box, options, path) -> bytes:
    models.save(path, module, {"box": box, "options": options})
    return path.read_bytes()


class Killed(Exception):
    pass


def killing(monkeypatch, after: int):
    """Let `after` checkpoints be written, then die in the middle of what follows."""
    keep, written = training._keep, itertools.count(1)

    def keep_and_die(*arguments):
        keep(*arguments)
        if next(written) == after:
            raise Killed

    monkeypatch.setattr(training, "_keep", keep_and_die)


def checkpoint_of(scratch):
    (path,) = scratch.glob("*/last.ckpt")
    return path


# --- it learns


@pytest.fixture(scope="module")
def learnt(small_grid, small_box, tmp_path_factory):
    """Module and history of a training of two seconds."""
    options = {"recipe": "galmass", "nodes": 2000, "batch_size": 128, "learning_rate": 0.006}
    options |= {"steps": 1000, "validate_every": 200, "width": 64, "depth": 3}
    return training.train(*small_grid, small_box, options, 3, tmp_path_factory.mktemp("learnt"))


def test_learns_the_corrections(learnt):
    """Of the variance of whitened corrections on nodes it never saw, 99 %; a network that says nothing leaves about 1."""
    _, history = learnt
    assert [row["step"] for row in history] == [200, 400, 600, 800, 1000]
    assert history[-1]["validation_loss"] < 0.01
    assert history[-1]["training_loss"] < 0.01


def test_what_it_learnt_is_in_the_profiles(learnt, small_grid, surface_radii):
    """In units of the profile: weights, whitening and windows put together."""
    module, _ = learnt
    unseen = [torch.from_numpy(v).float() for v in grid.nuker_parameters(small_grid[0][small_grid[1]])]
    answers = {"learnt": module(*unseen).detach(), "local": local_expansion(module.basis, *unseen)[0]}
    worst = {name: direct.relative_error(module.basis, a, surface_radii, *unseen).abs().amax(1) for name, a in answers.items()}
    assert worst["local"].quantile(0.9) > 0.02
    assert worst["learnt"].quantile(0.9) < 0.1 * worst["local"].quantile(0.9)  # sqrt of the 1 % of the variance that may be left


@pytest.mark.parametrize("output", ["symexp", "linear"])
def test_paper_recipe_lowers_its_loss(run, paper_options, output, tmp_path):
    options = paper_options | {"output": output, "steps": 300, "validate_every": 10}
    _, history = run(options, tmp_path)
    assert history[-1]["validation_loss"] < 0.3 * history[0]["validation_loss"]


# --- what it sees


@pytest.mark.parametrize("recipe", ["galmass", "paper"])
def test_no_training_sees_a_held_out_node(monkeypatch, run, options, paper_options, small_grid, recipe, tmp_path):
    seen = {}

    class Spy(training.RECIPES[recipe]):
        def __init__(self, rows, held_out, *rest):
            seen["training"], seen["held_out"] = rows, held_out
            super().__init__(rows, held_out, *rest)

    monkeypatch.setitem(training.RECIPES, recipe, Spy)
    run((options if recipe == "galmass" else paper_options) | {"nodes": 10**6, "steps": 1}, tmp_path)
    nodes, chosen = small_grid
    rows = {name: set(map(tuple, values.tolist())) for name, values in seen.items()}
    assert rows["training"] == set(map(tuple, nodes[~chosen].tolist()))
    assert rows["held_out"] == set(map(tuple, nodes[chosen].tolist()))
    assert not rows["training"] & rows["held_out"]


def test_whitening_and_scale_come_from_training_nodes_alone(monkeypatch, run, options, small_grid, tmp_path):
    """Another set of validation nodes: the same weights and the same unwhitening."""
    first, _ = run(options, tmp_path / "a")
    monkeypatch.setattr(training, "N_VALIDATION", 20)
    second, _ = run(options, tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))


def test_takes_so_many_nodes_at_random(monkeypatch, run, options, small_grid, tmp_path):
    seen = []

    class Spy(training.Corrections):
        def __init__(self, rows, *rest):
            seen.append(rows)
            super().__init__(rows, *rest)

    monkeypatch.setitem(training.RECIPES, "galmass", Spy)
    for seed in (3, 4):
        run(options | {"nodes": 50, "steps": 1}, tmp_path, seed=seed)
    assert [len(np.unique(rows, axis=0)) for rows in seen] == [50, 50]
    assert not np.array_equal(np.sort(seen[0], axis=0), np.sort(seen[1], axis=0))
    assert not np.array_equal(seen[0], small_grid[0][~small_grid[1]][:50]), "not simply the first"


def test_first_step_is_small_and_the_last_smaller():
    options = {"recipe": "galmass", "steps": 1000}
    factors = [training.learning_rate_factor(k, options) for k in range(1000)]
    assert factors[0] == pytest.approx(0.01)
    assert max(factors) == factors[99] == pytest.approx(0.5 * (1 + np.cos(np.pi * 0.099)))
    assert factors[-1] < 1e-5
    assert training.learning_rate_factor(5, options | {"recipe": "paper"}) == 1.0


# --- the same again


@pytest.mark.parametrize("recipe", ["galmass", "paper"])
def test_the_same_seed_gives_the_same_bytes(run, options, paper_options, recipe, small_box, tmp_path):
    chosen = options if recipe == "galmass" else paper_options
    module, history = run(chosen, tmp_path / "a")
    torch.manual_seed(99)  # nothing is drawn from the global state
    again, history_again = run(chosen, tmp_path / "b")
    assert saved(module, small_box, chosen, tmp_path / "a.safetensors") == saved(again, small_box, chosen, tmp_path / "b.safetensors")
    assert history == history_again


def test_leaves_the_global_generator_alone(run, options, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(options | {"steps": 2}, tmp_path)
    assert torch.equal(before, torch.get_rng_state())


def test_another_seed_gives_other_weights(run, options, tmp_path):
    first, second = (run(options, tmp_path, seed=seed)[0].network.last.weight for seed in (3, 4))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("recipe", ["galmass", "paper"])
@pytest.mark.parametrize("after", [1, 2])
def test_killed_and_resumed_is_uninterrupted(monkeypatch, capsys, run, options, paper_options, recipe, after, small_box, tmp_path):
    chosen = options if recipe == "galmass" else paper_options
    module, history = run(chosen, tmp_path / "whole")
    with monkeypatch.context() as patched:
        killing(patched, after)
        with pytest.raises(Killed):
            run(chosen, tmp_path / "killed")
    capsys.readouterr()
    resumed, resumed_history = run(chosen, tmp_path / "killed")
    assert f"going on at step {after * chosen['validate_every']} of {chosen['steps']}" in capsys.readouterr().out
    assert resumed_history == history
    assert saved(resumed, small_box, chosen, tmp_path / "r.safetensors") == saved(module, small_box, chosen, tmp_path / "w.safetensors")


def test_killed_between_checkpoints_repeats_the_steps_since(monkeypatch, run, options, small_box, tmp_path):
    module, history = run(options, tmp_path / "whole")
    loss, calls = training.Corrections.loss, itertools.count()

    def dying(self, rows):
        if next(calls) == 17:
            raise Killed
        return loss(self, rows)

    with monkeypatch.context() as patched:
        patched.setattr(training.Corrections, "loss", dying)
        with pytest.raises(Killed):
            run(options, tmp_path / "killed")
    resumed, resumed_history = run(options, tmp_path / "killed")
    assert resumed_history == history
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), resumed.state_dict().values(), strict=True))


@pytest.mark.parametrize("change", ["seed", "code", "options", "nodes", "box"])
def test_another_training_starts_afresh(capsys, run, options, small_grid, small_box, change, tmp_path):
    run(options, tmp_path)
    other = {
        "seed": {"seed": 4},
        "code": {"code": "new"},
        "nodes": {"grid": (small_grid[0] * np.float32(1.001), small_grid[1])},
        "box": {"box": small_box | {"alpha": [0.4, 3.0]}},
    }.get(change, {})
    capsys.readouterr()
    run(options | ({"learning_rate": 0.005} if change == "options" else {}), tmp_path, **other)
    assert "going on" not in capsys.readouterr().out


# --- refusals


def test_checkpoint_of_another_training_is_refused(run, options, tmp_path):
    run(options, tmp_path)
    path = checkpoint_of(tmp_path)
    torch.save(torch.load(path, weights_only=True) | {"stamp": "another"}, path)
    with pytest.raises(InputError, match=r"last\.ckpt belongs to another training .* delete it"):
        run(options, tmp_path)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", "truncated"])
def test_garbage_in_place_of_a_checkpoint_is_refused(run, options, content, tmp_path):
    run(options, tmp_path)
    path = checkpoint_of(tmp_path)
    path.write_bytes(path.read_bytes()[:500] if content == "truncated" else content)
    with pytest.raises(InputError, match=r"last\.ckpt cannot be read as a checkpoint .* delete it"):
        run(options, tmp_path)


def test_nothing_in_a_checkpoint_is_executed(run, options, tmp_path):
    run(options, tmp_path / "scratch")
    path = checkpoint_of(tmp_path / "scratch")
    torch.save(torch.load(path, weights_only=True) | {"extra": Malicious(tmp_path / "executed")}, path)
    with pytest.raises(InputError, match=r"last\.ckpt cannot be read as a checkpoint"):
        run(options, tmp_path / "scratch")
    assert not (tmp_path / "executed").exists()


def test_another_process_in_the_folder_is_refused(run, options, tmp_path):
    with open(tmp_path / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"another process still trains in .*pgrep -af train_deprojection"):
            run(options, tmp_path)
    run(options | {"steps": 1}, tmp_path)  # and let in again


def test_a_loss_that_is_no_number_ends_it(run, options, tmp_path):
    with pytest.raises(InputError, match=r"the loss became NaN or infinite before step 10; lower the learning_rate"):
        run(options | {"learning_rate": 1e38}, tmp_path)
    assert not list(tmp_path.glob("*/last.ckpt")), "no checkpoint of it"


@pytest.mark.parametrize("held_out", [False, True])
def test_a_grid_without_one_of_both_kinds_is_refused(run, options, small_grid, held_out, tmp_path):
    chosen = np.full(len(small_grid[1]), held_out)
    with pytest.raises(InputError, match=r"\d+ training and \d+ held-out nodes; both are needed"):
        run(options, tmp_path, grid=(small_grid[0], chosen))


def test_break_radii_of_one_phase_are_refused(run, options, small_grid, basis, tmp_path):
    """Whole steps apart: the network would see one place between two Gaussians, and answer for all."""
    nodes = small_grid[0].copy()
    steps = np.round(np.log(nodes[:, 3] / basis.sigma_min) / basis.step)
    nodes[:, 3] = basis.sigma_min * np.exp(basis.step * steps)
    with pytest.raises(InputError, match=r"break radii of the grid .*change deprojection\.grid\.axes\.r_break\.count"):
        run(options, tmp_path, grid=(nodes, small_grid[1]))
