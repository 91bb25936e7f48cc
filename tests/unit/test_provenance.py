"""Code versions: real edits change them, everything else does not."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from galmass.provenance import code_version, file_digests, package_versions, reached_modules, run_record

ROOT = Path(__file__).parents[2]

# script -> a -> b; script -> rooms (its __init__ -> c) -> rooms.d; e is reached by nobody
HOUSE = {
    "script.py": '"""What the script does."""\nfrom house import a\nfrom house.rooms import d\n\nprint(a.f(2), d.LIMIT)\n',
    "house/__init__.py": '"""House."""\n',
    "house/a.py": '"""A."""\nimport os\n\nfrom house.b import g\n\n\ndef f(x, scale=2):\n    """Twice."""\n    return g(x) * scale  # twice\n',
    "house/b.py": "def g(x):\n    return x + 1\n",
    "house/rooms/__init__.py": "import house.c\n",
    "house/rooms/d.py": "LIMIT = 3.0\n",
    "house/c.py": "class C:\n    'C.'\n    name = 'c'\n",
    "house/e.py": "UNUSED = 1\n",
    "house/rooms/f.py": "import nothing_like_this\n",
}


@pytest.fixture
def version(tmp_path):
    """Version of the house after edits {file: (old, new)}; every house stands in a folder of its own, as files are read once a process."""
    count = 0

    def build(edits=MappingProxyType({}), date=None) -> str:
        nonlocal count
        count += 1
        root = tmp_path / f"checkout_{count}"
        for name, text in HOUSE.items():
            if name in edits:
                old, new = edits[name]
                assert old in text
                text = text.replace(old, new)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
            if date:
                os.utime(root / name, (date, date))
        return code_version(root / "script.py", root / "house")

    return build


def test_place_and_date_of_the_checkout_change_nothing(version):
    assert version() == version() == version(date=86400.0)


HARMLESS = {
    "comment": {"house/a.py": ("# twice", "# doubled, see the paper")},
    "comment line": {"house/b.py": ("def g", "# eq. 3\ndef g")},
    "docstring of the script": {"script.py": ("What the script does.", "Something else.")},
    "docstring of a module": {"house/a.py": ('"""A."""', '"""Another."""')},
    "docstring of a function": {"house/a.py": ('"""Twice."""', '"""Two times\n\n    Notes\n    """')},
    "docstring of a class": {"house/c.py": ("'C.'", "'See.'")},
    "docstring taken away": {"house/a.py": ('"""A."""\n', "")},
    "docstring added": {"house/b.py": ("    return", '    """One more."""\n    return')},
    "blank lines": {"house/b.py": ("    return", "\n\n    return")},
    "indentation": {"house/b.py": ("    return", "        return")},
    "line break": {"house/b.py": ("x + 1", "(\n        x\n        + 1)")},
    "kind of quotes": {"house/c.py": ("name = 'c'", 'name = "c"')},
    "module that nobody reaches": {"house/e.py": ("1", "2")},
    "module beside a reached one": {"house/rooms/f.py": ("nothing", "anything")},
}
REAL = {
    "script": {"script.py": ("f(2)", "f(3)")},
    "module": {"house/a.py": ("* scale", "/ scale")},
    "default of an argument": {"house/a.py": ("scale=2", "scale=3")},
    "module reached through another": {"house/b.py": ("x + 1", "x + 2")},
    "package on the way": {"house/__init__.py": ('"""House."""', "import house.e")},
    "module reached through a package": {"house/c.py": ("name = 'c'", "name = 'd'")},
    "constant": {"house/rooms/d.py": ("3.0", "3.5")},
    "string that is no docstring": {"house/b.py": ("return x + 1", "'no'; return 'docstring'")},
    "decorator": {"house/b.py": ("def g", "@staticmethod\ndef g")},
    "import inside a function": {"house/b.py": ("    return", "    import house.e\n    return")},
    "one import more": {"house/rooms/d.py": ("LIMIT", "import house.e\nLIMIT")},
}


@pytest.mark.parametrize("edit", HARMLESS.values(), ids=HARMLESS.keys())
def test_harmless_edits_keep_the_version(version, edit):
    assert version(edit) == version()


@pytest.mark.parametrize("edit", REAL.values(), ids=REAL.keys())
def test_real_edits_change_the_version(version, edit):
    assert version(edit) != version()


REACHING = {
    "at the top": {"house/rooms/d.py": ("LIMIT", "import house.e\nLIMIT")},
    "inside a function": {"house/b.py": ("    return", "    from house import e\n    return")},
    "inside a try": {"house/a.py": ("import os", "try:\n    from house.e import UNUSED\nexcept ImportError:\n    pass")},
    "under another name": {"script.py": ("import a", "import a, e as other")},
    "all names": {"house/c.py": ("class", "from house.e import *\nclass")},
}


@pytest.mark.parametrize("reaching", REACHING.values(), ids=REACHING.keys())
def test_once_reached_a_module_counts(version, reaching):
    assert version(reaching) != version(reaching | {"house/e.py": ("1", "2")})


def test_a_dotted_import_runs_the_packages_on_the_way(tmp_path):
    for name, text in (HOUSE | {"script.py": "import house.rooms.d\n"}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {str(p.relative_to(tmp_path)) for p in reached_modules(tmp_path / "script.py", tmp_path / "house")}
    assert found == {f"house/{n}.py" for n in ("__init__", "rooms/__init__", "rooms/d", "c")}


def test_reached_modules_are_exactly_those_that_the_imports_run(tmp_path):
    for name, text in HOUSE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {str(p.relative_to(tmp_path)) for p in reached_modules(tmp_path / "script.py", tmp_path / "house")}
    assert found == {f"house/{n}.py" for n in ("__init__", "a", "b", "c", "rooms/__init__", "rooms/d")}


def test_relative_imports_are_refused(version):
    with pytest.raises(ValueError, match=r"a\.py: relative imports"):
        version({"house/a.py": ("from house.b import g", "from .b import g")})


@pytest.mark.parametrize("script", ["build_catalogue", "plot_independence"])
def test_python_loads_no_module_that_is_not_reached(script):
    """Against Python itself: run the imports of a real script and see which modules of the library are there."""
    path = ROOT / "workflow" / "scripts" / f"{script}.py"
    imports = "\n".join(ast.unparse(n) for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom))
    code = f"import sys\n{imports}\nprint(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'galmass'), sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")})
    loaded = {Path(line).resolve() for line in run.stdout.split()}
    assert len(loaded) > 3
    assert loaded <= reached_modules(path, ROOT / "workflow" / "galmass")


def test_every_script_has_its_own_version():
    scripts = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
    versions = [code_version(script, ROOT / "workflow" / "galmass") for script in scripts]
    assert len(set(versions)) == len(scripts) > 5
    assert all(len(v) == 16 for v in versions)


CONFIG = {"seeds": {"training": 1}, "samples": {"a": {"seed": 5}, "b": {"source": "frames"}}}


def test_record_of_a_run_holds_seeds_and_changes_its_digest_with_the_configuration():
    record = run_record(CONFIG, {"train": "0" * 16}, {})
    assert record["seeds"] == {"training": 1, "samples": {"a": 5}}
    assert record["config"] == CONFIG
    other = run_record({**CONFIG, "seeds": {"training": 2}}, {}, {})
    assert record["config_sha256"] != other["config_sha256"]
    assert record["config_sha256"] == run_record(dict(reversed(CONFIG.items())), {}, {})["config_sha256"]


def test_versions_are_those_installed_of_what_the_lock_names(tmp_path):
    lock = tmp_path / "lock"
    lock.write_text("numpy==0.1 \\\n    --hash=sha256:00\nno-such-package==1.0\n")
    versions = package_versions(lock)
    assert versions["numpy"] == np.__version__
    assert set(versions) == {"python", "torch", "numpy"}


def test_file_digests_are_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, example B.1
    assert file_digests([tmp_path / "a"]) == {str(tmp_path / "a"): "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
