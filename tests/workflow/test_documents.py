"""Every command, overlay and snippet of the README, tried; links of all documents, followed."""

import os
import re
import subprocess
import sys

import pytest
from clones import ROOT

README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "resources" / "README.md"]


def blocks(language: str) -> list[str]:
    """Its fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """What the README says between backticks to type, from snakemake on."""
    said = {re.sub(r"\s+", " ", command) for command in re.findall(r"`(snakemake [^`]+)`", README)}
    return sorted(said - {"snakemake --unlock"})


def plans() -> dict[str, list[str]]:
    """Targets of these commands by what stands after --configfile: one dry run for each overlay."""
    found: dict[str, list[str]] = {}
    for command in commands():
        if "--workflow-profile" in command:
            continue  # test_slurm
        words, _, overlay = command.partition(" --configfile ")
        targets = [word for word in words.split()[1:] if not word.startswith("-") and word not in {"all", "1", "conda", "rich"}]
        found.setdefault("alma.yaml" if any("download" in target for target in targets) else overlay, []).extend(targets)
    return found


def test_commands_of_the_readme_are_plans(fresh):
    """With the README's overlays for my.yaml; where a command downloads, with the observation that it names."""
    text = "\n".join(blocks("yaml"))
    (fresh.path / "my.yaml").write_text(text)
    (fresh.path / "alma.yaml").write_text(re.sub("observation: .*", 'observation: {kind: alma, source: NGC0001, member_ous: "uid://A001/X1/X1"}', text))
    (fresh.path / "ngc1.ms").mkdir()
    assert len(plans()) > 5
    for overlay, targets in plans().items():
        fresh.snakemake("-n", *targets, config=overlay or None)


def test_the_rich_log_can_be_chosen(fresh):
    assert re.search(r"train encoder +\d", fresh.snakemake("-n", "--logger", "rich").stdout)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_snippets_of_the_readme_run(finished, number):
    environment = {**os.environ, "PYTHONPATH": str(finished.path / "workflow")}
    code = blocks("python")[number]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=finished.path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE))
    assert {"demo", "test", "bench", "lint"} <= targets
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets <= known


def test_links_lead_somewhere():
    lost = []
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target and not (document.parent / target).exists():
                lost.append(f"{document.name}: {target}")
    assert not lost
