"""Every benchmark still starts: what it imports is there, what it calls takes these arguments, what it asks Snakemake for has rules.

Nothing is measured. Not seen: columns of tables and keys of the configuration that are looked up while it runs, methods of
objects, and what the peers' libraries have.
"""

import ast
import inspect
import os
import re
import subprocess
import sys
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from unittest import mock

import pandas as pd
import pytest
from clones import ROOT

FOLDERS = [ROOT / "tests" / name for name in ("benchmarks", "workflow", "unit/images", "unit/catalogues")]
FILES = sorted(FOLDERS[0].glob("*.py"))
OURS = {"galmass", *(path.stem for folder in FOLDERS for path in folder.glob("*.py"))}
TEXT = "\n".join(path.read_text() for path in FILES)
PEERS = [name.replace("-", "_") for name in re.findall(r"^([\w-]+)", (ROOT / "requirements-bench.in").read_text(), re.MULTILINE)]


@pytest.fixture(scope="module", autouse=True)
def in_their_folder():
    """Modules of the benchmarks can be imported; what they set in the environment is undone, and peers that are not here are played."""
    with pytest.MonkeyPatch.context() as patch, mock.patch.dict(os.environ):
        patch.syspath_prepend(FOLDERS[0])
        patch.setattr(sys, "argv", ["bench"])
        for name in PEERS:
            if find_spec(name) is None and re.search(rf"^(from|import) {name}\b", TEXT, re.MULTILINE):
                patch.setitem(sys.modules, name, mock.MagicMock())
        yield


class Uses(ast.NodeVisitor):
    """What the source of a module says of others and is not so: names that are gone, calls that a function would refuse."""

    def __init__(self, module: ModuleType):
        self.known, self.faults = dict(vars(module)), []
        self.visit(ast.parse(inspect.getsource(module)))

    def visit_FunctionDef(self, node):
        outer = self.known
        own = bound(node)
        self.known = {name: value for name, value in outer.items() if name not in own}
        self.generic_visit(node)
        self.known = outer

    def visit_ImportFrom(self, node):
        if node.module.partition(".")[0] in OURS:
            exec(ast.unparse(node), self.known)

    def visit_Attribute(self, node):
        holder = self.meant(node.value)
        if (isinstance(holder, ModuleType) or ours(holder)) and not hasattr(holder, node.attr):
            self.faults.append(f"line {node.lineno}: there is no {ast.unparse(node)}")
        self.generic_visit(node)

    def visit_Call(self, node):
        function, positional = self.meant(node.func), [a for a in node.args if not isinstance(a, ast.Starred)]
        named = {keyword.arg: None for keyword in node.keywords if keyword.arg}
        whole = len(positional) == len(node.args) and len(named) == len(node.keywords)
        if function is partial:
            function, positional, whole = self.meant(positional[0]), positional[1:], False
        if ours(function):
            signature = inspect.signature(function)
            try:
                (signature.bind if whole else signature.bind_partial)(*positional, **named)
            except TypeError as refused:
                self.faults.append(f"line {node.lineno}: {ast.unparse(node.func)}: {refused}")
        self.generic_visit(node)

    def meant(self, node):
        """The object of a dotted name; None for what only a run could tell."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        holder = self.meant(node.value) if isinstance(node, ast.Attribute) else None
        return getattr(holder, node.attr, None) if isinstance(holder, ModuleType) or ours(holder) else None


def bound(node: ast.AST) -> set[str]:
    """Names that a function has for itself."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names | {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}


def ours(thing) -> bool:
    """Whether it is a function or a class of this project."""
    return callable(thing) and (getattr(thing, "__module__", None) or "").partition(".")[0] in OURS


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_what_it_uses_of_the_project_is_there(file):
    assert Uses(import_module(file.stem)).faults == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("stores.read_tables", "no stores.read_tables"),
        ("stores.digest()", "missing a required argument"),
        ("stores.write_json(1, 2, three=3)", "unexpected keyword argument 'three'"),
        ("partial(stores.digest, contents=1)", "unexpected keyword argument 'contents'"),
        ("(lambda stores: stores.read_tables)", None),
    ],
)
def test_the_search_would_find_it(line, fault, tmp_path, monkeypatch):
    (tmp_path / "made.py").write_text(f"from functools import partial\n\nfrom galmass import stores\n\n\ndef run():\n    {line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "made", raising=False)
    faults = Uses(import_module("made")).faults
    assert not faults if fault is None else fault in faults[0]


def test_kills_finds_its_rules_and_what_they_need(fresh, tmp_path):
    import bench_kills

    from galmass.images import detection

    config = bench_kills.configuration(tmp_path, "http://127.0.0.1:9")
    bench_kills.choose(fresh, pd.DataFrame({name: [0] for name in detection.COLUMNS}))
    for rule, (target, words) in bench_kills.LONG.items():
        assert rule in fresh.planned(target, *words, config=config)


def test_others_find_the_rules_of_the_default(fresh):
    import bench_inference
    import bench_information

    asked = [*bench_information.GIVEN, *bench_information.TARGETS, "survey", "deprojection", "dynamics"]
    assert fresh.planned(*asked, config=None) >= {*bench_information.RULES, *bench_inference.DEFAULT_RULES}


def test_slurm_says_what_it_lacks():
    command = [sys.executable, FOLDERS[0] / "bench_slurm.py"]
    paths = os.pathsep.join(str(ROOT / name) for name in ("workflow", "tests/workflow"))
    done = subprocess.run(command, env={**os.environ, "GALMASS_TEST_TOOLS": "", "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "GALMASS_TEST_TOOLS" in done.stderr
