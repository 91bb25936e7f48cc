# Paths, slices of the configuration, code versions. No rule lives here.

import json
import re
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from galmass.configuration import check, load_schema
from galmass.errors import InputError
from galmass.logs import text_table
from galmass.plan import check_references, models
from galmass.provenance import code_version

COMMITTED = "resources/nuker.safetensors"
LIBRARY = Path(workflow.basedir) / "workflow" / "galmass"
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
HEADLINES, REPORT = "results/headlines.csv", "results/report.html"
ESTIMATES = [
    *("model.safetensors", "embeddings.parquet", "density.zarr", "metrics.json"),
    *("truth.svg", "pit.svg", "training.svg", "latent.svg"),
]
# networks of the deprojection that a run trains, with what they are called
NETWORKS = {"surrogate": "surrogate", "paper_symexp": "paper, symexp", "paper_linear": "paper, linear output"}
DEPROJECTION = [
    *("grid.zarr", "errors.json", "errors.parquet", "surrogate.safetensors", "velocity.csv"),
    *("distributions.svg", "maps.svg", "worst.svg", "training.svg", "velocity.svg"),
]
TESTS = ["neighbours.zarr", "independence.parquet", "independence.json", "independence.svg"]


def code(rule_name):
    """Digest of a rule's script and of all library modules that it reaches."""
    return code_version(SCRIPTS / f"{rule_name}.py", LIBRARY)


def survey_targets(wildcards):
    """What the survey wing makes of every sample and modality."""
    targets = []
    for sample in config["run"]["samples"]:
        targets += [f"results/{sample}/catalogue/{name}" for name in ("galaxies.parquet", "quality.svg")]
    for sample, modality in models(config):
        targets += [f"results/{sample}/contrastive/{modality}/{name}" for name in ESTIMATES]
        targets += [f"results/{sample}/causality/{modality}/{name}" for name in TESTS]
    return targets


def deprojection_targets(wildcards):
    """What the deprojection of Nuker profiles makes."""
    return [f"results/deprojection/{name}" for name in DEPROJECTION]


def recipe(name):
    """Training options of a recipe, its name among them."""
    return {"recipe": name, **config["deprojection"]["recipes"][name]}


def numbers(path):
    """A JSON product, for captions."""
    return json.loads(Path(path).read_text())


def finish():
    """After a whole run: the report, the headline numbers, and where the report is."""
    whole = all(Path(path).exists() for path in [*survey_targets(None), *deprojection_targets(None), HEADLINES])
    if not whole or set(workflow.dag_settings.targets) - {"all"}:  # single files were asked for
        return
    used = Path(".snakemake/config.json")  # overlays and --config merged
    used.write_text(json.dumps(config))
    command = [sys.executable, "-m", "snakemake", "--report", REPORT, "--configfile", str(used), "--nolock", "--quiet"]
    done = subprocess.run([*command, "all"], check=False)
    place = f"Report: {Path(REPORT).resolve()}" if not done.returncode else "The report could not be made; see above."
    print(f"\n{text_table(HEADLINES)}\n\n{place}", file=sys.stderr)


def memory(base_mb):
    """Memory [MB] that doubles with every attempt."""
    return lambda wildcards, attempt: base_mb * 2 ** (attempt - 1)


try:
    check(config, load_schema(Path(workflow.basedir) / "workflow" / "schemas" / "config.schema.yaml"))
    check_references(config)
except InputError as error:
    raise WorkflowError(str(error))


wildcard_constraints:
    sample="|".join(map(re.escape, config["samples"])),
    modality="|".join(map(re.escape, config["modalities"])),
    output="symexp|linear",
