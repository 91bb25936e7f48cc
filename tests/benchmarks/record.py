"""Rows of results/bench.json: one measurement with its peer, goal, commit and machine."""

import json
import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

from galmass.stores import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "results" / "bench.json"
TRIALS = ("BENCH_SCALE", "GALMASS_ESS", "GALMASS_MOCKS", "GALMASS_REPLICATES", "GALMASS_SECONDS")  # variables of the environment that make less of a row


def commit() -> str:
    """Hash of HEAD, with '+' where the tree differs from it."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    dirty = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return head + "+" * bool(dirty)


def machine() -> str:
    """Processor and cores."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def measure(name: str, run: Callable[[], dict]) -> dict:
    """One named measurement; taken from results/bench.json where this commit already has it, so that a killed bench goes on.

    Parameters
    ----------
    name : str
    run : callable
        Returns ``value``, ``unit``, ``goal`` (text), ``met`` (bool), ``peer`` (text) and, where there is one, ``ratio``.
    """
    rows = read_json(BENCH) if BENCH.is_file() else []
    about = {"name": name, "commit": commit(), "machine": machine(), "trial": {key: os.environ[key] for key in TRIALS if key in os.environ}}
    clean = not about["commit"].endswith("+")
    done = next((r for r in rows if clean and about.items() <= r.items()), None)
    if done is None:
        done = about | run()
        write_json(BENCH, [*rows, done])
    print(json.dumps(done), flush=True)
    return done
