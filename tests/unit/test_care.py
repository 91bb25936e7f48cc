"""Nothing that is read is executed: no pickle, no unsafe YAML, no shell string, in any file of the workflow."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "workflow").rglob("*.py"))
EXECUTING_MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle", "jsonpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle", "pandas.read_pickle"}
# call -> keyword that makes it safe, its value
SAFE = {"torch.load": ("weights_only", True)}


def faults(source: str) -> list[str]:
    """What in a source could execute what it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [name for name in names if name.partition(".")[0] in EXECUTING_MODULES]
        elif isinstance(node, ast.Call):
            call, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            keyword, value = SAFE.get(call, ("", None))
            if call in FORBIDDEN_CALLS or (keyword and options.get(keyword) != str(value)) or options.get("shell", "False") != "False":
                found.append(call)
            if "load_from_checkpoint" in call or options.get("allow_pickle", "False") != "False":
                found.append(call)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run(f'rm {name}', shell=True)",
        "os.system(command)",
        "eval(text)",
        "Model.load_from_checkpoint(path)",
    ],
)
def test_what_executes_is_recognised(source):
    assert faults(source)


@pytest.mark.parametrize(
    "source", ["torch.load(path, weights_only=True)", "np.load(path)", "np.load(path, allow_pickle=False)", "yaml.safe_load(text)", "model.eval()"]
)
def test_what_is_safe_passes(source):
    assert not faults(source)


def test_the_workflow_executes_nothing_that_it_reads():
    assert len(LIBRARY) > 50
    assert {str(file.relative_to(ROOT)): found for file in LIBRARY if (found := faults(file.read_text()))} == {}


def test_no_rule_runs_a_shell_string():
    """Rules call scripts; what is in `shell:` or `run:` could be built from the names of files."""
    for file in (ROOT / "workflow" / "rules").glob("*.smk"):
        assert not [line for line in file.read_text().splitlines() if line.strip() in ("shell:", "run:")], file
