"""Clones of the checkout as it is now, and snakemake in them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TINY = "tests/workflow/tiny.yaml"
SAID = ".snakemake/said.txt"  # what the run of `finished` printed
GPU_TOKENS = ["--resources", f"gpu={os.cpu_count()}"]  # as `make demo` does on a machine without a graphics card
# importing Snakemake is half of a dry run: done once, and each dry run is a fork of that process
FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["snakemake.cli", "snakemake_executor_plugin_slurm", "snakemake_logger_plugin_rich", "jsonschema", "networkx"])


def plan(folder: Path, arguments: Sequence[str], output: str) -> None:
    """What `python -m snakemake` does, in a fork: all that it prints goes to the file `output`."""
    from snakemake.cli import main

    os.chdir(folder)
    with open(output, "wb", buffering=0) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.argv = ["snakemake", *arguments]
    main(arguments)


@dataclass(frozen=True)
class Clone:
    """A folder with the workflow in it."""

    path: Path

    def snakemake(
        self, *arguments: str, config: str | None = TINY, check: bool = True, resources: Sequence[str] = (), **options
    ) -> subprocess.CompletedProcess:
        """Run snakemake here; output and errors together in `stdout`."""
        arguments = (*arguments, *GPU_TOKENS, *resources, *(["--configfile", *config.split()] if config else []))
        if "-n" in arguments and not options:
            done = self._fork(arguments)
        else:
            command = [sys.executable, "-m", "snakemake", *arguments]
            done = subprocess.run(command, cwd=self.path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
        assert not check or done.returncode == 0, done.stdout[-4000:]
        return done

    def _fork(self, arguments: Sequence[str]) -> subprocess.CompletedProcess:
        with tempfile.NamedTemporaryFile() as output:
            process = FORKS.Process(target=plan, args=(self.path, arguments, output.name))
            process.start()
            process.join()
            return subprocess.CompletedProcess(arguments, process.exitcode, Path(output.name).read_text())

    def planned(self, *arguments: str, config: str | None = TINY) -> set[str]:
        """Rules that a dry run would run, without `all` and the record of what a run was made of, which follows every edit."""
        output = self.snakemake("-n", *arguments, config=config).stdout
        if "Nothing to be done" in output:
            return set()
        table = output[output.index("Job stats:") :]
        return set(re.findall(r"^([a-z_]+) +\d+$", table, re.MULTILINE)) - {"total", "all", "survey", "dynamics", "deprojection", "record_provenance"}

    def replace(self, file: str, old: str, new: str) -> None:
        """Edit a file; the text to replace must be there."""
        path = self.path / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1))

    def files(self) -> dict[str, bytes]:
        """Every product that is not a picture of time: relative path -> content."""
        results = self.path / "results"
        return {
            str(p.relative_to(results)): p.read_bytes()
            for p in sorted(results.rglob("*"))
            if p.is_file() and p.name not in ("report.html", ".snakemake_timestamp")
        }


def clone_of(source: Path, target: Path) -> Clone:
    """The files that git tracks or would track, as they are now: what a user who clones gets."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=source, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (source / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name, follow_symlinks=False)
    return Clone(target)


def kill_group(process: subprocess.Popen) -> None:
    """SIGKILL for a process and all its children: a power cut."""
    with suppress(ProcessLookupError):  # it ended before
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while time.monotonic() < end:  # children that die a moment later still hold the lock of `make demo`
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError(f"children of process {process.pid} outlive SIGKILL")
