"""The workflow on a cluster: a real SLURM of one node with two fake graphics cards, jobs killed in it, and what its profile says."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import one_node
import pytest
import yaml
from clones import ROOT, TINY, clone_of
from test_environments import RULES
from test_runs import wait_for

PROFILE = yaml.safe_load((ROOT / "workflow" / "profiles" / "slurm" / "config.yaml").read_text())
GPU_RULES = {name for name, block in RULES.items() if re.search(r"^ +gpu=", block, re.MULTILINE)}
OVERLAY = f"{TINY} tests/workflow/slurm.yaml"
MODELS = [*(f"results/{name}/model.safetensors" for name in ("gst10k/contrastive/Mopt", "mock/contrastive/Iopt")), "results/deprojection/surrogate.safetensors"]
on_slurm = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.skipif(one_node.missing() is not None, reason=str(one_node.missing()))]


def test_groups_hold_rules_that_are_there_and_need_no_graphics_card():
    grouped = {entry.partition("=")[0] for entry in PROFILE["groups"]}
    assert grouped <= set(RULES) - GPU_RULES


def test_reruns_follow_the_same_triggers_as_here():
    default = yaml.safe_load((ROOT / "workflow" / "profiles" / "default" / "config.yaml").read_text())
    assert all(PROFILE[key] == default[key] for key in ("rerun-triggers", "rerun-incomplete", "max-checksum-file-size"))
    assert "gpu" not in str(PROFILE.get("resources", ""))  # a cap on the cards of the whole cluster


@pytest.mark.parametrize(("request_by", "said", "not_said"), [("gpus", "gpu=1", "gres="), ("gres", "gres=gpu:1", "gpu=")])
def test_graphics_cards_are_asked_for_in_one_way(fresh, tmp_path, request_by, said, not_said):
    overlay = tmp_path / "gpu.yaml"
    overlay.write_text(f"run: {{gpu_request: {request_by}, gpu_partition: cards}}\n")
    output = fresh.snakemake("-n", config=f"{TINY} {overlay}").stdout
    resources = dict(re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)$", output, re.MULTILINE))
    assert resources.keys() >= {"train_encoder", "fit_visibilities", "build_catalogue"}
    for rule, words in resources.items():
        of_gpu = rule in GPU_RULES or rule == "train_paper_network"  # `use rule train_deprojection`
        assert (said in words and "slurm_partition=cards" in words) == of_gpu, rule
        assert not re.search(rf"\b{not_said}", words), rule


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """The tiny workflow through SLURM: one training is cancelled, one stands still until its time is over, one gives way."""
    folder = tmp_path_factory.mktemp("slurm")
    clone = clone_of(ROOT, folder / "clone")
    command = [sys.executable, "-m", "snakemake", *one_node.PROFILE, "--configfile", *OVERLAY.split()]
    with one_node.cluster(folder / "home"), one_node.watching() as watch, open(folder / "log", "w") as log:
        process = subprocess.Popen(command, cwd=clone.path, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        killers = [threading.Thread(target=kill, args=(clone.path, process, watch)) for kill in (cancel, let_time_run_out, preempt)]
        for killer in killers:
            killer.start()
        assert process.wait(timeout=1500) == 0, Path(log.name).read_text()[-4000:]
        for killer in killers:
            killer.join()
    return clone, watch, Path(log.name).read_text()


def cancel(folder: Path, process: subprocess.Popen, watch: one_node.Watch) -> None:
    wait_for(folder / "results" / "mock" / "contrastive" / "Iopt" / ".training", "*/last.ckpt", process, 900)
    subprocess.run(["scancel", one_node.running(watch, "train_encoder_wildcards_mock_Iopt")], check=True)


def let_time_run_out(folder: Path, process: subprocess.Popen, watch: one_node.Watch) -> None:
    wait_for(folder / "results" / "gst10k" / "contrastive" / "Mopt" / ".training", "*/last.ckpt", process, 900)
    job = one_node.running(watch, "train_encoder_wildcards_gst10k_Mopt")
    subprocess.run(["scancel", "--signal=STOP", job], check=True)
    subprocess.run(["scontrol", "update", f"JobId={job}", "TimeLimit=1"], check=True)


def preempt(folder: Path, process: subprocess.Popen, watch: one_node.Watch) -> None:
    """What SLURM does to a job that gives way to another; it waits two minutes before it starts it again."""
    wait_for(folder / "results" / "deprojection" / ".training", "*/last.ckpt", process, 900)
    subprocess.run(["scontrol", "requeue", one_node.running(watch, "rule_train_deprojection")], check=True)


class TestOnSlurm:
    pytestmark = on_slurm

    def test_ends_with_everything(self, submitted):
        clone, _, output = submitted
        assert "steps (100%) done" in output
        assert clone.planned(config=OVERLAY) == set()
        assert (clone.path / "results" / "report.html").is_file()

    @pytest.mark.parametrize("rule", sorted(RULES))
    def test_graphics_cards_go_to_the_rules_that_use_them(self, submitted, rule):
        jobs = submitted[1].of(rule)
        if not jobs:
            pytest.skip("the tiny workflow does not run it")
        for job in jobs:
            assert ("gpu:1" in one_node.asked(job)) == (rule in GPU_RULES)
            assert job["Partition"] == ("gpu" if rule in GPU_RULES else "cpu")

    def test_two_graphics_cards_work_at_once(self, submitted):
        assert submitted[1].gpu_jobs_at_once == 2

    @pytest.mark.parametrize(("model", "state"), [("gst10k_Mopt", "TIMEOUT"), ("mock_Iopt", "CANCELLED")])
    def test_a_killed_training_is_submitted_again_and_goes_on(self, submitted, model, state):
        clone, watch, _ = submitted
        states = [job["JobState"] for job in watch.of(f"train_encoder_wildcards_{model}")]
        assert states == [state, "COMPLETED"]
        log = clone.path / "logs" / model.replace("_", "/") / "train_encoder.log"
        assert re.search(r"going on at step [1-9]", log.read_text())

    def test_a_preempted_training_is_started_again_by_slurm_alone(self, submitted):
        clone, watch, _ = submitted
        [job] = watch.of("train_deprojection")
        assert (job["Restarts"], job["JobState"]) == ("1", "COMPLETED")
        assert re.search(r"going on at step [1-9]", (clone.path / "logs" / "deprojection" / "train_deprojection.log").read_text())

    def test_killed_trainings_end_as_those_in_peace(self, submitted, fresh):
        fresh.snakemake("--cores", "2", *MODELS, config=OVERLAY)
        for model in MODELS:
            assert (submitted[0].path / model).read_bytes() == (fresh.path / model).read_bytes()
