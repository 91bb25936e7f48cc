"""The default through a SLURM of one node against the same run without it: make bench AREA=slurm

GALMASS_TEST_TOOLS names the folder with slurm/slurm_up.sh. The tiny workflow in place of the default: bench_slurm.py tiny
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import one_node
from clones import GPU_TOKENS, TINY, Clone, clone_of
from record import ROOT, measure

CONFIG = TINY if "tiny" in sys.argv[1:] else None
NAME = "tiny workflow" if CONFIG else "default"
FACTOR, PER_JOB = 2, 30.0  # s: each job starts Snakemake twice more


def timed(clone: Clone, *arguments: str) -> tuple[float, bool]:
    """Wall seconds of a run, and whether it ended with everything made."""
    command = [sys.executable, "-m", "snakemake", *arguments, *(["--configfile", CONFIG] if CONFIG else [])]
    with open(clone.path / "run.log", "w") as log:
        start = time.perf_counter()
        done = subprocess.run(command, cwd=clone.path, stdout=log, stderr=subprocess.STDOUT, check=False)
        seconds = time.perf_counter() - start
    green = done.returncode == 0 and clone.planned(config=CONFIG) == set()
    if not green:
        print(Path(log.name).read_text()[-4000:], file=sys.stderr, flush=True)
    return seconds, green


@cache
def both() -> dict:
    """The run on two cores of this machine, and after it the one through SLURM."""
    folder = Path(tempfile.mkdtemp(prefix="galmass-slurm-"))
    try:
        here, there = clone_of(ROOT, folder / "here"), clone_of(ROOT, folder / "there")
        local, local_green = timed(here, "--cores", "2", *GPU_TOKENS)
        with one_node.cluster(folder / "home"), one_node.watching() as watch:
            through, green = timed(there, *one_node.PROFILE)
        steps = re.findall(r"of (\d+) steps", (there.path / "run.log").read_text())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"seconds": through, "local": local, "green": green and local_green, "steps": int(steps[-1]) if steps else 0, "watch": watch}


def wall_time() -> dict:
    found = both()
    jobs = len(found["watch"].jobs)
    limit = FACTOR * found["local"] + PER_JOB * jobs
    return {
        "value": round(found["seconds"], 1),
        "unit": "s",
        "goal": f"ends green, at most {FACTOR} times the local wall time + {PER_JOB:g} s a job: {limit:.0f} s",
        "met": found["green"] and found["seconds"] <= limit,
        "peer": f"snakemake --cores 2: {found['local']:.1f} s",
        "ratio": round(found["seconds"] / found["local"], 2),
        "local_s": round(found["local"], 1),
        "jobs": jobs,
        "steps": found["steps"],
        "green": found["green"],
    }


def cards() -> dict:
    most = both()["watch"].gpu_jobs_at_once
    return {"value": most, "unit": "jobs with gres/gpu running", "goal": "2", "met": most == 2, "peer": None}


def main() -> None:
    if absent := one_node.missing():
        print(f"bench_slurm: {absent}; see tests/workflow/one_node.py", file=sys.stderr)
        sys.exit(2)
    results = [measure(f"slurm: {NAME} through SLURM", wall_time), measure(f"slurm: two GPU jobs at once, {NAME}", cards)]
    print(f"{sum(r['met'] for r in results)} of {len(results)} goals met")


if __name__ == "__main__":
    main()
