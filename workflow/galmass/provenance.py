"""Which code a script runs: a digest that changes when the code does, and only then. And what else a run was made of."""

import ast
import hashlib
import json
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path


def code_version(script: str | Path, library: str | Path) -> str:
    """Digest of the syntax trees of a script and of every library module that it reaches.

    Comments, docstrings, layout, file dates and the place of the checkout do not matter.

    Parameters
    ----------
    script : path
        A Python script.
    library : path
        Folder of the package; its parent is where imports are looked up.
    """
    library = Path(library).resolve()
    digest = hashlib.sha256(_tree(Path(script).resolve()).encode())
    for module in sorted(reached_modules(script, library)):
        digest.update(f"\0{module.relative_to(library.parent)}\0{_tree(module)}".encode())
    return digest.hexdigest()[:16]


def reached_modules(script: str | Path, library: str | Path) -> set[Path]:
    """Files of the package `library` that the script imports, directly or through others."""
    library = Path(library).resolve()
    reached: set[Path] = set()
    waiting = [Path(script).resolve()]
    while waiting:
        for name in imported_names(waiting.pop()):
            for module in _module_files(name, library):
                if module not in reached:
                    reached.add(module)
                    waiting.append(module)
    return reached


@cache
def imported_names(path: Path) -> frozenset[str]:
    """Dotted names that a file imports anywhere in it; ``from a import b`` gives ``a`` and ``a.b``."""
    names: set[str] = set()
    for node in _statements(_parsed(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}: relative imports are not followed; import from galmass")
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


@cache
def _module_files(name: str, library: Path) -> list[Path]:
    """The files that importing a dotted name runs: the packages on the way and the module itself."""
    parts = name.split(".")
    if parts[0] != library.name:
        return []
    files = []
    for i in range(1, len(parts) + 1):
        base = library.parent.joinpath(*parts[:i])
        files += [p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()]
    return files


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all statements in it, at any depth; what is in expressions alone is left out, which is most of a tree."""
    yield node
    for part in ("body", "orelse", "handlers", "finalbody", "cases"):
        inner = getattr(node, part, ())
        for statement in inner if isinstance(inner, list) else ():
            yield from _statements(statement)


@cache
def _tree(path: Path) -> str:
    """Source of a file without comments, docstrings and layout."""
    tree = _parsed(path)
    for node in _statements(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def run_record(config: Mapping, scripts: Mapping[str, str], files: Mapping[str, str]) -> dict:
    """What the products of a run follow from; the same for the same run in another folder on another day.

    Parameters
    ----------
    config : mapping
        The whole configuration, overlays merged.
    scripts : mapping
        Script -> `code_version`.
    files : mapping
        Path of an input that is no product -> SHA-256.
    """
    text = json.dumps(config, sort_keys=True)
    samples = {name: entry["seed"] for name, entry in config["samples"].items() if "seed" in entry}
    return {
        "config": config,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "code": dict(scripts),
        "seeds": {**config["seeds"], "samples": samples},
        "machine": {"system": platform.system(), "architecture": platform.machine(), "device": device_name()},
        "files": dict(files),
    }


def device_name() -> str:
    """The graphics card that torch would use here, or ``cpu``."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def package_versions(lock: str | Path) -> dict[str, str]:
    """Versions of Python, of torch and of what a lock file names, as far as they are installed here."""
    names = ["torch", *re.findall(r"^([\w.-]+)==", Path(lock).read_text(), re.MULTILINE)]
    installed = {d.name.lower().replace("_", "-"): d.version for d in metadata.distributions()}
    return {"python": platform.python_version()} | {name: installed[name] for name in sorted(names) if name in installed}


def file_digests(paths: Iterable[str | Path]) -> dict[str, str]:
    """SHA-256 of files, hexadecimal."""
    return {str(path): hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}
