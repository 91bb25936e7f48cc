"""A disk that is full or may not be written: said in words, and nothing half-written stays."""

import os
import shutil
import subprocess
import sys

import pytest
from clones import GPU_TOKENS, TINY

CATALOGUE = "results/gst10k/catalogue/galaxies.parquet"
MOUNT = 'mkdir -p {folder} && mount -t tmpfs -o {options} none {folder} && exec "$@"'


def may_mount() -> bool:
    """Whether this user can have a disk of his own in a namespace of his own."""
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    return shutil.which("unshare") is not None and os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_mount = pytest.mark.skipif(not may_mount(), reason="this user may not mount a small disk")


def on_disk(clone, options: str, *arguments: str, folder: str = "results", config: str = TINY) -> subprocess.CompletedProcess:
    """Snakemake in the clone with a folder on a disk mounted with these options, which is gone afterwards."""
    shell = ["unshare", "--mount", "sh", "-c", MOUNT.format(options=options, folder=folder), "sh"]
    command = [*shell, sys.executable, "-m", "snakemake", *arguments, "--cores", "1", *GPU_TOKENS, "--configfile", *config.split()]
    return subprocess.run(command, cwd=clone.path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


@needs_mount
def test_full_disk(fresh):
    done = on_disk(fresh, "size=64k", CATALOGUE)
    assert done.returncode != 0
    assert "No space left on device" in done.stdout
    assert "free space where results/ and resources/ lie" in done.stdout


@needs_mount
def test_after_a_full_disk_the_run_ends_as_any_other(fresh, finished):
    on_disk(fresh, "size=64k", CATALOGUE)
    fresh.snakemake(CATALOGUE, "--cores", "1")
    assert (fresh.path / CATALOGUE).read_bytes() == (finished.path / CATALOGUE).read_bytes()


@needs_mount
def test_disk_mounted_read_only(fresh):
    done = on_disk(fresh, "ro", CATALOGUE)
    assert done.returncode != 0
    assert f"{fresh.path / 'results'} may not be written (a disk mounted read-only" in done.stdout
    assert "Traceback" not in done.stdout
    assert "rule build_catalogue" not in done.stdout.partition("Job stats")[2].partition("may not be written")[2]
