"""Training: the same bytes again, after a kill too; checkpoints that are not ours are refused."""

import json
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import galmass.devices
from galmass import checkpoints
from galmass.contrastive import models, training
from galmass.contrastive.data import PairBatches, galaxies
from galmass.contrastive.losses import contrastive_losses
from galmass.contrastive.modalities import Modality, Standardisation
from galmass.errors import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),  # it is meant to
    pytest.mark.filterwarnings("ignore:You are trying to `self.log"),  # without a trainer, on purpose
    pytest.mark.filterwarnings("ignore:Detected pickle protocol 4"),  # the malicious one
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),  # Lightning's own
]
SEED = 3
SLURM = {
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NAME": "train_encoder",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_JOB_NODELIST": "node[1-2]",
}


@pytest.fixture(scope="module")
def frames(catalogue):
    return catalogue(64, 0), catalogue(32, 1)


@pytest.fixture
def run(frames, modality, edges):
    """Function (options, scratch, seed=SEED, code="") -> model and history."""

    def go(options, scratch, seed=SEED, code="", frames=frames):
        return training.train(*frames, modality, edges, options, seed, scratch, code)

    return go


def _saved(model, path) -> bytes:
    models.save(path, model)
    return path.read_bytes()


@pytest.fixture
def uninterrupted(run, options, tmp_path):
    """Bytes of the model file, and the history, of a training in one go."""
    model, history = run(options, tmp_path / "uninterrupted")
    return _saved(model, tmp_path / "uninterrupted.safetensors"), history


# --- the same seed, the same weights


def test_the_same_seed_gives_the_same_bytes(run, options, tmp_path, uninterrupted):
    torch.manual_seed(99)  # nothing is drawn from the global state
    model, history = run(options, tmp_path / "again")
    assert _saved(model, tmp_path / "again.safetensors") == uninterrupted[0]
    assert history == uninterrupted[1]


def test_another_seed_gives_other_weights(run, options, tmp_path, uninterrupted):
    assert run(options, tmp_path / "other", seed=4)[1] != uninterrupted[1]


def test_slurm_variables_change_nothing(run, options, tmp_path, uninterrupted, monkeypatch):
    """Nor does Lightning take over the signal by which SLURM announces the end: its handler would requeue the job."""
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    handlers, usual = set(), training.History.on_train_batch_end
    monkeypatch.setattr(training.History, "on_train_batch_end", lambda self, *a: (handlers.add(signal.getsignal(signal.SIGUSR1)), usual(self, *a)))
    model, history = run(options, tmp_path / "slurm")
    assert handlers == {signal.SIG_DFL}
    assert _saved(model, tmp_path / "slurm.safetensors") == uninterrupted[0]
    assert history == uninterrupted[1]


def test_a_plain_loop_gives_the_same_training(run, frames, modality, edges, options, tmp_path):
    """Against a loop without Lightning: order of pairs, weights of the losses, clipping, schedule, validation."""
    options |= {"loss_weights": {"cross_entropy": 0.7, "reconstruction": 3.0, "latent_contrast": 1.5, "output_contrast": 0.3}, "gradient_clip_norm": 0.5}
    model, history = run(options, tmp_path)
    standardisation = Standardisation.fit(*modality.arrays(frames[0]), modality)
    train, validation = (galaxies(frame, modality, standardisation, edges) for frame in frames)
    network = models.build_network(modality, edges, options, SEED)
    optimiser = torch.optim.Adam(network.parameters(), lr=options["learning_rate"])
    step, expected, weights, losses = 0, [], [], []
    for epoch in range(4):
        losses.append([])
        for rows in PairBatches(64, 16, 5, SEED, lambda done=5 * epoch: done):
            optimiser.param_groups[0]["lr"] = options["learning_rate"] * min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / 20))
            optimiser.zero_grad()
            terms = contrastive_losses(network, *train[rows])
            losses[-1].append({name: term.item() for name, term in terms.items()})
            (0.7 * terms["cross_entropy"] + 3 * terms["reconstruction"] + 1.5 * terms["latent_contrast"] + 0.3 * terms["output_contrast"]).backward()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            assert norm > 0.5  # or the clipping would go untested
            optimiser.step()
            step += 1
        with torch.no_grad():
            logits = network.estimate(network.encode(validation.values, validation.context)[0])
            expected.append(torch.nn.functional.cross_entropy(logits, validation.mass_bin).item())
        weights.append({name: w.clone() for name, w in network.state_dict().items()})
    # the same operations in float32, but for the order of the weighted sum
    assert [row["validation_cross_entropy"] for row in history] == pytest.approx(expected, rel=1e-5)
    for name in losses[0][0]:
        means = [np.mean([terms[name] for terms in epoch]) for epoch in losses]
        assert [row[name] for row in history] == pytest.approx(means, rel=1e-4), name
    for name, value in weights[int(np.argmin(expected))].items():
        torch.testing.assert_close(model.network.state_dict()[name].cpu(), value, rtol=1e-4, atol=1e-5)


# --- killed and started again

_KILLED = """
import json, os, signal, sys
import pandas as pd, torch
torch.set_num_threads(1)

from galmass.contrastive import models, training
from galmass.contrastive.modalities import Modality

job = json.load(open(sys.argv[1]))
modality = Modality("M", ("mag_g", "mag_r"), ("err_r",), {"ebv": "linear", "z": "log"})
frames = [pd.read_parquet(path) for path in job["frames"]]

def train(scratch):
    return training.train(*frames, modality, job["edges"], job["options"], job["seed"], scratch)

for scratch, hook, step in job["kills"]:
    if os.fork() == 0:
        usual = getattr(training.History, hook)
        def killing(self, trainer, *rest):
            if trainer.global_step == step:
                os.kill(os.getpid(), signal.SIGKILL)
            usual(self, trainer, *rest)
        setattr(training.History, hook, killing)
        train(scratch)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == -signal.SIGKILL, (scratch, hook, step)

model, history = train(job["complete"])
models.save(job["model"], model)
json.dump(history, open(job["history"], "w"))
"""

# hook, step of the kill, step that the checkpoint on disk has then; the last is killed a second time after it went on
KILLS = {
    "before the first checkpoint": [("on_train_batch_end", 3, 0)],
    "between two checkpoints": [("on_train_batch_end", 13, 10)],
    "after a validation, before its checkpoint": [("on_train_epoch_end", 15, 10)],
    "after the last checkpoint": [("on_fit_end", 20, 20)],
    "twice": [("on_train_batch_end", 8, 5), ("on_train_batch_end", 17, 15)],
}


@pytest.fixture(scope="module")
def killed(frames, edges, tmp_path_factory):
    """Another process, started with SLURM's variables, that trains, is killed at each of `KILLS`, and trains once to the end."""
    folder = tmp_path_factory.mktemp("killed")
    paths = [folder / f"{name}.parquet" for name in ("training", "validation")]
    for frame, path in zip(frames, paths, strict=True):
        frame.to_parquet(path)

    def go(options):
        kills = [(str(folder / name), hook, step) for name, places in KILLS.items() for hook, step, _ in places]
        job = {"frames": [str(p) for p in paths], "edges": edges.tolist(), "options": options, "seed": SEED, "kills": kills}
        job |= {"complete": str(folder / "complete"), "model": str(folder / "model"), "history": str(folder / "history.json")}
        (folder / "job.json").write_text(json.dumps(job))
        path = str(Path(training.__file__).parents[2])
        env = os.environ | SLURM | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-c", _KILLED, folder / "job.json"], check=True, env=env, cwd=folder, capture_output=True, timeout=120)
        return folder

    done = []

    def once(options):
        if not done:
            done.append(go(options))
        return done[0]

    return once


@pytest.mark.parametrize("name", KILLS)
def test_killed_and_started_again_ends_the_same(name, killed, run, options, uninterrupted, tmp_path, monkeypatch):
    scratch, steps = killed(options) / name, []
    usual = training.History.on_train_batch_end
    monkeypatch.setattr(training.History, "on_train_batch_end", lambda self, *a: (steps.append(1), usual(self, *a)))
    model, history = run(options, scratch)
    assert len(steps) == 20 - KILLS[name][-1][2]  # it went on where the checkpoint was
    assert _saved(model, tmp_path / "resumed.safetensors") == uninterrupted[0]
    assert history == uninterrupted[1]


def test_another_process_under_slurm_gives_the_same_bytes(killed, options, uninterrupted):
    """Lightning reads the rank of SLURM when it is imported: only a process that starts with it can tell."""
    folder = killed(options)
    assert (folder / "model").read_bytes() == uninterrupted[0]
    assert json.loads((folder / "history.json").read_text()) == uninterrupted[1]


class _InterruptedError(Exception):
    pass


@pytest.mark.parametrize(
    ("hook", "validation"),
    [("on_train_epoch_end", "best"), ("on_train_epoch_end", "one before the last"), ("on_validation_end", "last"), ("on_fit_end", "last")],
)
def test_a_training_that_stops_early_does_so_after_an_interruption_too(run, options, tmp_path, monkeypatch, validation, hook):
    """Interrupted about one of the last validations, and in the end when nothing is left to do."""
    options |= {"learning_rate": 0.1, "schedule": "step", "max_steps": 600, "patience": 3}
    model, history = run(options, tmp_path / "uninterrupted")
    places = {"best": model.notes["best_step"], "one before the last": history[-2]["step"], "last": history[-1]["step"]}
    usual = getattr(training.History, hook)

    def interrupting(self, trainer, *rest):
        if trainer.global_step == places[validation]:
            raise _InterruptedError
        usual(self, trainer, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(training.History, hook, interrupting)
        with pytest.raises(_InterruptedError):
            run(options, tmp_path / "interrupted")
    resumed, resumed_history = run(options, tmp_path / "interrupted")
    assert resumed_history == history
    assert _saved(resumed, tmp_path / "resumed.safetensors") == _saved(model, tmp_path / "uninterrupted.safetensors")


def test_another_code_or_catalogue_or_option_starts_afresh(run, options, tmp_path, uninterrupted, catalogue):
    run(options, tmp_path / "s")
    model, history = run(options, tmp_path / "s", code="edited")
    assert _saved(model, tmp_path / "edited.safetensors") == uninterrupted[0]
    assert history == uninterrupted[1]
    run(options | {"learning_rate": 0.02}, tmp_path / "s")
    run(options, tmp_path / "s", frames=(catalogue(64, 5), catalogue(32, 1)))
    assert len(list((tmp_path / "s").glob("*/last.ckpt"))) == 4


def test_the_stamp_covers_all_that_the_training_depends_on(frames, modality, edges, options):
    data = [galaxies(frame, modality, Standardisation.fit(*modality.arrays(frame), modality), edges) for frame in frames]
    usual = {"data": data, "modality": modality, "edges": edges, "options": options, "seed": 1, "code": "a"}
    other_modality = Modality("M", modality.values, modality.errors, {"ebv": "linear", "z": "linear"})
    changes = [{"data": [data[1], data[1]]}, {"data": [data[0], data[0]]}, {"modality": other_modality}, {"edges": edges + 0.1}]
    changes += [{"options": options | {"patience": 5}}, {"seed": 2}, {"code": "b"}]
    stamps = [training.training_stamp(**usual | change) for change in [{}, *changes]]
    assert len(set(stamps)) == 8
    in_another_order = dict(reversed(options.items()))
    assert training.training_stamp(**usual | {"options": in_another_order}) == stamps[0]


# --- checkpoints that cannot be used


@pytest.fixture
def checkpoint(run, options, tmp_path):
    """The checkpoint of a training in tmp_path / 'scratch'."""
    run(options, tmp_path / "scratch")
    (path,) = (tmp_path / "scratch").glob("*/last.ckpt")
    return path


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(run, options, tmp_path, checkpoint, share):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=f"{checkpoint} cannot be read as a checkpoint .* delete it to start afresh"):
        run(options, tmp_path / "scratch")


def test_a_text_file_is_no_checkpoint(run, options, tmp_path, checkpoint):
    checkpoint.write_text("weights: none\n")
    with pytest.raises(InputError, match=str(checkpoint)):
        run(options, tmp_path / "scratch")


def test_a_checkpoint_of_another_training_is_refused(run, options, tmp_path, checkpoint):
    run(options, tmp_path / "other", seed=4)
    (foreign,) = (tmp_path / "other").glob("*/last.ckpt")
    shutil.copy(foreign, checkpoint)
    with pytest.raises(InputError, match=f"{checkpoint} belongs to another training"):
        run(options, tmp_path / "scratch")


def test_a_checkpoint_without_a_stamp_is_refused(run, options, tmp_path, checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    del content["stamp"]
    torch.save(content, checkpoint)
    with pytest.raises(InputError, match=f"{checkpoint} belongs to another training"):
        run(options, tmp_path / "scratch")


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _plain(content, path):
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [_plain, torch.save], ids=["pickle", "torch archive"])
def test_a_malicious_checkpoint_is_not_executed(run, options, tmp_path, checkpoint, write):
    content = torch.load(checkpoint, weights_only=True)  # right in everything else
    write(content | {"bomb": _Bomb(tmp_path / "executed")}, checkpoint)
    with pytest.raises(InputError, match=f"{checkpoint} cannot be read as a checkpoint"):
        run(options, tmp_path / "scratch")
    assert not (tmp_path / "executed").exists()
    loader = pickle.loads if write is _plain else lambda _: torch.load(checkpoint, weights_only=False)
    loader(checkpoint.read_bytes())
    assert (tmp_path / "executed").exists()  # it would have gone off


# --- the way there


@pytest.mark.parametrize(("step", "factor"), [(0, 1), (59_999, 1), (60_000, 0.2), (179_999, 0.2)])
def test_schedule_step_divides_by_five_after_a_third(step, factor):
    assert training.learning_rate_factor(step, {"max_steps": 180_000, "schedule": "step"}) == factor


def test_schedule_cosine():
    def factor(step, max_steps=1000):
        return training.learning_rate_factor(step, {"max_steps": max_steps, "schedule": "cosine"})

    # warm-up: (step + 1) / 20 of half a cosine that has hardly begun, 1 - (pi step / 2000)^2
    for step in range(20):
        assert factor(step) == pytest.approx((step + 1) / 20, rel=1e-3)
    assert factor(500) == pytest.approx(0.5, abs=1e-15)
    assert factor(250) == pytest.approx((1 + math.sqrt(0.5)) / 2, abs=1e-15)
    assert factor(1000) == factor(1001) == 0
    assert all(factor(s) > factor(s + 1) for s in range(19, 1000))


def test_the_optimiser_follows_the_schedule(modality, edges, options):
    options |= {"schedule": "step", "learning_rate": 0.05, "max_steps": 9}
    module = training.ContrastiveTraining(models.build_network(modality, edges, options, 0), options, "")
    configured = module.configure_optimizers()
    schedule = configured["lr_scheduler"]
    assert schedule["interval"] == "step"  # not once an epoch
    assert isinstance(configured["optimizer"], torch.optim.Adam)
    rates = []
    for _ in range(5):
        rates.append(configured["optimizer"].param_groups[0]["lr"])
        configured["optimizer"].step()
        schedule["scheduler"].step()
    assert rates == pytest.approx([0.05] * 3 + [0.01] * 2)


def test_history_has_a_row_for_every_validation(uninterrupted):
    history = uninterrupted[1]
    assert [row["step"] for row in history] == [5, 10, 15, 20]
    terms = {"cross_entropy", "reconstruction", "latent_contrast", "output_contrast"}
    assert all(row.keys() == {"step", "validation_cross_entropy", *terms} for row in history)


def test_the_model_has_the_weights_of_the_best_validation(run, frames, edges, options, tmp_path):
    """A learning rate that overshoots: the best weights are not the last, and training stops early."""
    options |= {"learning_rate": 0.1, "schedule": "step", "max_steps": 600, "patience": 3}
    model, history = run(options, tmp_path)
    scores = [row["validation_cross_entropy"] for row in history]
    best = int(np.argmin(scores))
    assert len(scores) == best + 1 + 3  # patience
    assert model.notes["steps"] == history[-1]["step"] < 600
    assert model.notes["best_step"] == history[best]["step"]
    assert model.notes["validation_cross_entropy"] == scores[best] < scores[-1]
    _, density = model.predict(frames[1])
    bins = np.floor((frames[1]["log_mass"].to_numpy() - edges[0]) / 0.25).astype(int)
    # float32, and a density kept in float32
    assert -np.log(density[np.arange(32), bins]).mean() == pytest.approx(scores[best], rel=1e-4)


def test_training_learns(run, frames, modality, edges, options, tmp_path):
    model, _ = run(options | {"learning_rate": 0.03, "max_steps": 150, "validate_every": 25}, tmp_path)
    # masses uniform over 8 of the 16 bins: ln 8 nat is what the histogram of the masses alone would cost
    assert model.notes["validation_cross_entropy"] < math.log(8) - 0.3
    assert (model.notes["n_train"], model.notes["n_validation"]) == (64, 32)
    assert model.standardisation == Standardisation.fit(*modality.arrays(frames[0]), modality)  # of training galaxies alone


def test_losses_that_become_nan_are_named(run, options, tmp_path):
    with pytest.raises(InputError, match=r"M: .*cross_entropy.* became NaN or infinite at step 5; lower contrastive.learning_rate"):
        run(options | {"learning_rate": 1e30}, tmp_path)


def test_the_loss_is_the_weighted_sum_of_its_terms(frames, modality, edges, options):
    data = galaxies(frames[0], modality, Standardisation.fit(*modality.arrays(frames[0]), modality), edges)
    batch = data[torch.arange(16)]
    network = models.build_network(modality, edges, options, 0)
    terms = contrastive_losses(network, *batch)
    for weights in ({"cross_entropy": 1.0, "reconstruction": 2.0, "latent_contrast": 4.0, "output_contrast": 8.0}, dict.fromkeys(terms, 0.0)):
        loss = training.ContrastiveTraining(network, options | {"loss_weights": weights}, "").training_step(batch, 0)
        # order of the sum, float32
        assert loss.item() == pytest.approx(sum(weights[name] * terms[name].item() for name in weights), rel=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_training(run, frames, edges, options, tmp_path, monkeypatch):
    devices, usual = set(), training.History.on_train_batch_end
    monkeypatch.setattr(training.History, "on_train_batch_end", lambda self, t, m, *a: (devices.add(m.device.type), usual(self, t, m, *a)))
    model, history = run(options, tmp_path / "a")
    assert devices == {"cuda"}
    again, history_again = run(options, tmp_path / "b")
    assert history == history_again
    assert _saved(model, tmp_path / "a.safetensors") == _saved(again, tmp_path / "b.safetensors")
    monkeypatch.setattr(galmass.devices, "best_device", lambda: torch.device("cpu"))
    _, density = model.predict(frames[1])  # trained there, used here
    bins = np.floor((frames[1]["log_mass"].to_numpy() - edges[0]) / 0.25).astype(int)
    # float32 sums in another order
    assert -np.log(density[np.arange(32), bins]).mean() == pytest.approx(model.notes["validation_cross_entropy"], rel=1e-3)


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"stamp": None}])
def test_a_readable_file_that_is_no_checkpoint_of_ours_is_refused(run, options, tmp_path, checkpoint, content):
    torch.save(content, checkpoint)
    with pytest.raises(InputError, match=f"{checkpoint} belongs to another training"):
        run(options, tmp_path / "scratch")


def test_checkpoints_replace_each_other_whole(tmp_path, monkeypatch):
    """A writer that dies leaves the checkpoint before it."""
    path = tmp_path / "last.ckpt"
    training.WholeCheckpoints().save_checkpoint({"a": 1}, path)

    def dies(content, part):
        part.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(OSError, match="disk full"):
        training.WholeCheckpoints().save_checkpoint({"a": 2}, path)
    assert torch.load(path, weights_only=True) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_only_one_process_trains_in_a_folder(run, options, tmp_path):
    with checkpoints.alone_in(tmp_path / "scratch", "train_encoder"), pytest.raises(InputError, match="another process still trains in"):
        run(options, tmp_path / "scratch")
    run(options, tmp_path / "scratch")
