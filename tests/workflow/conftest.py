"""A clone of the checkout in which tests/workflow/tiny.yaml has run once, and copies of it to play with."""

import shutil

import pytest
from clones import ROOT, SAID, Clone, clone_of


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Clone:
    """The tiny workflow, run to its end. Do not change it: take `copy`."""
    clone = clone_of(ROOT, tmp_path_factory.mktemp("finished"))
    (clone.path / SAID).write_text(clone.snakemake("--cores", "2").stdout)
    return clone


@pytest.fixture
def copy(finished, tmp_path) -> Clone:
    """A copy of the finished workflow with its results and Snakemake's records, dates kept."""
    target = tmp_path / "copy"
    shutil.copytree(finished.path, target, symlinks=True)
    return Clone(target)


@pytest.fixture
def fresh(tmp_path) -> Clone:
    """A clone in which nothing has run."""
    return clone_of(ROOT, tmp_path / "fresh")
