"""Each conda environment holds what its scripts import, at the versions of the lock."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from clones import ROOT

sys.path.insert(0, str(ROOT / "workflow"))

from galmass.provenance import imported_names, reached_modules

DISTRIBUTION = {
    "causallearn": "causal-learn",
    "sklearn": "scikit-learn",
    "faiss": "faiss-cpu",
    "yaml": "pyyaml",
    "pytorch_lightning": "pytorch-lightning",
    "casacore": "python-casacore",
    "google_crc32c": "google-crc32c",
}
WITHOUT_IMPORT = {"python", "pip", "scipy"}  # scipy under kcorrect
RULES = {
    name: block
    for file in (ROOT / "workflow" / "rules").glob("*.smk")
    for name, block in re.findall(r"^rule (\w+):\n(.*?)(?=^(?:use )?rule |\Z)", file.read_text(), re.MULTILINE | re.DOTALL)
}
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


def pins(environment: Path) -> dict[str, str]:
    entries = yaml.safe_load(environment.read_text())["dependencies"]
    flat = [e for e in entries if isinstance(e, str)] + [p for e in entries if isinstance(e, dict) for p in e["pip"]]
    return {name: version for name, version in (re.match(r"([\w-]+)(?:={1,2}(.+))?$", entry).groups() for entry in flat)}


def locked() -> dict[str, str]:
    versions = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    torch = re.search(r"^TORCH \?= torch==(\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1)
    return versions | {"torch": torch}


def packages_of(rule: str) -> set[str]:
    """Distributions that a rule's script imports, itself or through the library."""
    script = ROOT / "workflow" / "scripts" / f"{rule}.py"
    files = {script} | reached_modules(script, ROOT / "workflow" / "galmass")
    tops = {name.partition(".")[0] for file in files for name in imported_names(file)}
    engine = {"pyarrow"} if any(file.name == "stores.py" for file in files) else set()  # of pandas and astropy for Parquet
    engine |= {"h5netcdf"} if any(file.name == "samples.py" for file in files) else set()  # of xarray
    return engine | {DISTRIBUTION.get(top, top) for top in tops - set(sys.stdlib_module_names) - {"galmass"}}


def environment_of(rule: str) -> str:
    return re.search(r'conda:\s+"../../envs/(\w+).yaml"', RULES[rule]).group(1)


@pytest.mark.parametrize("rule", RULES)
def test_environment_holds_what_the_script_imports(rule):
    assert packages_of(rule) <= set(pins(ROOT / "envs" / f"{environment_of(rule)}.yaml"))


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda p: p.stem)
def test_environment_holds_nothing_else(environment):
    used = set().union(*(packages_of(rule) for rule in RULES if environment_of(rule) == environment.stem))
    assert set(pins(environment)) - WITHOUT_IMPORT <= used


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda p: p.stem)
def test_versions_are_those_of_the_lock(environment):
    versions = locked()
    for name, version in pins(environment).items():
        if name not in ("python", "pip"):
            assert version == versions[name], f"{name} in {environment.name}"


@pytest.mark.parametrize("rule", RULES)
def test_rule_has_all_keys_in_one_order(rule):
    order = ["input", "output", "log", "benchmark", "wildcard_constraints", "priority", "conda", "threads", "resources", "params", "script"]
    keys = re.findall(r"^    (\w+):", RULES[rule], re.MULTILINE)
    assert keys == [key for key in order if key in keys]
    assert set(order) - set(keys) <= {"input", "wildcard_constraints", "priority"}
    for resource in ("mem_mb", "runtime", "disk_mb"):
        assert f"{resource}=" in RULES[rule]
    assert f'code=code("{rule}")' in RULES[rule]
    assert f'"../scripts/{rule}.py"' in RULES[rule]


@pytest.mark.parametrize("rule", RULES)
def test_script_defines_no_function(rule):
    text = (ROOT / "workflow" / "scripts" / f"{rule}.py").read_text()
    assert not re.search(r"^\s*(def|class) ", text, re.MULTILINE)


def test_rooms_import_only_from_rooms_before_them():
    rooms = {"catalogues": set(), "images": {"catalogues"}, "contrastive": {"catalogues", "images"}, "causality": set(), "information": set()}
    rooms |= {"profiles": set(), "deprojection": {"profiles"}, "discs": {"profiles", "deprojection"}}
    rooms |= {"visibilities": {"profiles", "deprojection", "discs"}, "inference": {"profiles", "deprojection", "discs", "visibilities"}}
    rooms["figures"] = set(rooms)
    for room, before in rooms.items():
        for file in (ROOT / "workflow" / "galmass" / room).glob("*.py"):
            used = {name.split(".")[1] for name in imported_names(file) if name.startswith("galmass.")} & set(rooms)
            assert used <= before | {room}, file


def test_the_workflow_imports_from_the_module_that_holds_the_code():
    """What users import from a room is found only when it is asked for: a rule that used it would not rerun after its edits."""
    files = [*(ROOT / "workflow" / "scripts").glob("*.py"), *(ROOT / "workflow" / "galmass").rglob("*.py")]
    for_users = {"galmass.deprojection.load", "galmass.inference.log_likelihood"}
    assert not [file.name for file in files if for_users & imported_names(file)]
