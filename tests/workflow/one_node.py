"""A SLURM of one node with two fake graphics cards, by the scripts of GALMASS_TEST_TOOLS, and what its jobs asked for."""

import importlib.util
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROFILE = ["--workflow-profile", "workflow/profiles/slurm", "--slurm-status-command", "squeue"]
# the node is near and its disk is this one: nothing needs waiting for
PROFILE += ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5"]


def missing() -> str | None:
    """What keeps this machine from a SLURM of one node; None where nothing does."""
    tools = os.environ.get("GALMASS_TEST_TOOLS")
    if not tools or not Path(tools, "slurm", "slurm_up.sh").is_file():
        return "GALMASS_TEST_TOOLS does not name a folder with slurm/slurm_up.sh"
    if absent := [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name)]:
        return f"{', '.join(absent)} not installed"
    if os.geteuid():
        return "the SLURM daemons of the test are started by root"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "snakemake-executor-plugin-slurm is not installed"
    return "another SLURM is configured here" if Path("/etc/slurm/slurm.conf").exists() else None


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """SLURM up, partitions `cpu` and `gpu` without a limit of time; down at the end."""
    tools = Path(os.environ["GALMASS_TEST_TOOLS"], "slurm")
    environment = {**os.environ, "SLURM_HOME": str(folder)}
    with open(folder.parent / "slurm_up.log", "w") as log:  # a file, not a pipe: the daemons keep it open
        try:
            subprocess.run(["bash", tools / "slurm_up.sh"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=120)
            for partition in ("cpu", "gpu"):
                subprocess.run(["scontrol", "update", f"PartitionName={partition}", "MaxTime=UNLIMITED"], check=True)
            yield
        finally:
            subprocess.run(["timeout", "10", "scancel", "--me"], stdout=log, stderr=log, check=False)  # of a run that was interrupted
            subprocess.run(["bash", tools / "slurm_down.sh"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)


@dataclass
class Watch:
    """What `scontrol show job` says of every job, over and over: SLURM forgets."""

    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    gpu_jobs_at_once: int = 0

    def look(self) -> None:
        said = subprocess.run(["scontrol", "show", "job", "-o"], capture_output=True, text=True, check=False).stdout
        for line in said.splitlines():
            job = dict(re.findall(r"(\w+)=(\S*)", line))
            if "JobId" in job:
                self.jobs[job["JobId"]] = job
        running = [job for job in self.jobs.values() if job["JobState"] == "RUNNING" and "gpu" in asked(job)]
        self.gpu_jobs_at_once = max(self.gpu_jobs_at_once, len(running))

    def of(self, rule: str) -> list[dict[str, str]]:
        """Jobs of a rule in the order of their submission, whether alone or in a group."""
        found = [job for job in self.jobs.values() if re.search(rf"(^|_){rule}(_|$)", job.get("Comment", ""))]
        return sorted(found, key=lambda job: int(job["JobId"]))


def asked(job: dict[str, str]) -> str:
    """Generic resources that a job asked for, whichever way."""
    return " ".join(job.get(key, "") for key in ("TresPerJob", "TresPerNode", "TresPerTask"))


@contextmanager
def watching() -> Iterator[Watch]:
    """Look at the queue every half second while the block runs."""
    watch, over = Watch(), threading.Event()

    def look_on():
        while not over.is_set():
            watch.look()
            over.wait(0.5)

    thread = threading.Thread(target=look_on)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
        watch.look()


def running(watch: Watch, words: str, seconds: float = 20) -> str:
    """Number of the running job whose comment holds `words`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for number, job in list(watch.jobs.items()):
            if words in job.get("Comment", "") and job["JobState"] == "RUNNING":
                return number
        time.sleep(0.05)
    raise AssertionError(f"no job {words} runs")
