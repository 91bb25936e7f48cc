"""Training on several devices, here processes: what one device would learn; killed, it goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import galmass.devices
from galmass.contrastive import training
from galmass.errors import InputError

SEED = 3
_PROGRAM = """
import json, os, signal, sys
import numpy as np, pandas as pd, torch
from galmass import logs
from galmass.contrastive import models, training
from galmass.contrastive.modalities import Modality

torch.set_num_threads(1)
job = json.load(open(sys.argv[1]))
usual = training.History.on_train_batch_end

def watched(self, trainer, *rest):
    usual(self, trainer, *rest)
    if trainer.global_step == job["killed_at"] and trainer.is_global_zero:
        os.kill(os.getpid(), signal.SIGKILL)

training.History.on_train_batch_end = watched
with logs.recording(job["log"]):
    frames = [pd.read_parquet(path) for path in job["frames"]]
    modality = Modality("M", ("mag_g", "mag_r"), ("err_r",), {"ebv": "linear", "z": "log"})
    model, history = training.train(*frames, modality, np.array(job["edges"]), job["options"], job["seed"], job["scratch"], n_devices=job["devices"])
    models.save(job["model"], model)
    json.dump(history, open(job["history"], "w"))
"""


@pytest.fixture
def trained(catalogue, edges, options, tmp_path):
    """Function (name, devices, killed_at=-1) -> exit code, weights and history of a training in a program of its own; a name goes on where it was left."""
    frames = [str(tmp_path / name) for name in ("training.parquet", "validation.parquet")]
    for n, path in zip((64, 32), frames, strict=True):
        catalogue(n, n).to_parquet(path)
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)

    def go(name, devices, killed_at=-1):
        paths = {key: str(tmp_path / f"{name}.{key}") for key in ("scratch", "model", "history", "log")}
        job = paths | {"frames": frames, "edges": edges.tolist(), "options": options, "seed": SEED, "devices": devices, "killed_at": killed_at}
        (tmp_path / "job.json").write_text(json.dumps(job))
        env = os.environ | {"PYTHONPATH": str(Path(galmass.devices.__file__).parents[1])}
        done = subprocess.run([sys.executable, program, tmp_path / "job.json"], env=env, timeout=300, check=False)
        if done.returncode:
            return done.returncode, Path(paths["log"]).read_text(), None
        return 0, load_file(paths["model"]), pd.DataFrame(json.loads(Path(paths["history"]).read_text()))

    return go


def test_two_devices_learn_what_one_learns(trained):
    """Losses are means over the mini-batch, but for the contrast of latents, which is a function of means: shared exactly, too."""
    (_, alone, history_alone), (code, shared, history) = trained("one", 1), trained("two", 2)
    assert code == 0, alone
    pd.testing.assert_frame_equal(history, history_alone, rtol=1e-4)  # float32 sums in another order, through 20 steps
    for name, weights in alone.items():
        torch.testing.assert_close(shared[name], weights, rtol=1e-3, atol=1e-4)


def test_a_killed_training_on_two_devices_goes_on(trained, tmp_path):
    _, weights, history = trained("whole", 2)
    assert trained("killed", 2, killed_at=12)[0] == -9
    _, again, history_again = trained("killed", 2)
    assert "going on at step 10" in (tmp_path / "killed.log").read_text()
    assert all(torch.equal(again[name], value) for name, value in weights.items())
    pd.testing.assert_frame_equal(history, history_again)


def test_shares_of_a_batch_keep_partners_together(monkeypatch):
    monkeypatch.setattr(galmass.devices, "number", lambda: 2)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        shares.append(galmass.devices.share(torch.arange(8)).tolist())
    assert shares == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_a_batch_that_devices_cannot_share_is_refused(catalogue, modality, edges, options, tmp_path):
    with pytest.raises(InputError, match=r"contrastive.batch_size is 16, and run.devices 3: each device needs as many whole pairs"):
        training.train(catalogue(64, 0), catalogue(32, 1), modality, edges, options, SEED, tmp_path, n_devices=3)


def test_more_devices_than_there_are_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=r"run.devices is 4, and this job sees 2 graphics cards; set run.devices to at most 2"):
        galmass.devices.require(4)
