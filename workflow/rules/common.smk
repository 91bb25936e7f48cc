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

LIBRARY = Path(workflow.basedir) / "workflow" / "galmass"
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
HEADLINES, REPORT = "results/headlines.csv", "results/report.html"
FIGURES = ("truth", "pit", "training", "latent")


def code(rule_name):
    """Digest of a rule's script and of all library modules that it reaches."""
    return code_version(SCRIPTS / f"{rule_name}.py", LIBRARY)


def survey_targets(wildcards):
    """What the survey wing shows of every sample and modality."""
    targets = [f"results/{s}/catalogue/quality.svg" for s in config["run"]["samples"]]
    for s, m in models(config):
        targets += [f"results/{s}/contrastive/{m}/{name}.svg" for name in FIGURES]
        targets += [f"results/{s}/causality/{m}/independence.svg"]
    return targets


def numbers(path):
    """A JSON product, for captions."""
    return json.loads(Path(path).read_text())


def finish():
    """After a whole run: the report, the headline numbers, and where the report is."""
    if workflow.dag_settings.targets:  # single files were asked for
        return
    used = Path(".snakemake/config.json")  # overlays and --config merged
    used.write_text(json.dumps(config))
    command = [sys.executable, "-m", "snakemake", "--report", REPORT, "--configfile", str(used), "--nolock", "--quiet"]
    subprocess.run([*command, "all"], check=True)
    print(f"\n{text_table(HEADLINES)}\n\nReport: {Path(REPORT).resolve()}", file=sys.stderr)


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
