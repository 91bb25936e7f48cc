"""The same run in another folder gives the same bytes, and says what it was made of."""

import json

import yaml
from clones import ROOT, TINY

from galmass.provenance import code_version, file_digests


def record(clone) -> dict:
    return json.loads((clone.path / "results" / "provenance.json").read_text())


def test_two_clones_give_the_same_bytes(finished, fresh):
    """Every table, array, network, posterior and figure, on one core as on two."""
    fresh.snakemake("--cores", "1")
    first, second = finished.files(), fresh.files()
    assert [name for name in first | second if first.get(name) != second.get(name)] == []
    assert {name.rpartition(".")[2] for name in first} >= {"parquet", "json", "csv", "nc", "safetensors", "svg"}


def test_record_says_what_the_run_was_made_of(finished):
    found = record(finished)
    tiny = yaml.safe_load((ROOT / TINY).read_text())
    assert found["config"]["causality"]["k"] == tiny["causality"]["k"]
    assert found["seeds"] == yaml.safe_load((ROOT / "config/config.yaml").read_text())["seeds"] | {"samples": found["seeds"]["samples"]}
    assert set(found["code"]) == {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")}
    assert found["code"]["train_encoder"] == code_version(ROOT / "workflow/scripts/train_encoder.py", ROOT / "workflow/galmass")
    assert {f"envs/{path.name}" for path in (ROOT / "envs").glob("*.yaml")} | {"requirements.lock", "resources/nuker.safetensors"} <= set(found["files"])
    assert file_digests([ROOT / "requirements.lock"])[str(ROOT / "requirements.lock")] == found["files"]["requirements.lock"]
    assert {"python", "snakemake", "torch", "numpy"} <= set(found["versions"])
    assert str(finished.path) not in json.dumps(found)


def test_record_follows_every_edit_and_no_comment(copy, tmp_path):
    assert "Nothing to be done" in copy.snakemake("-n").stdout
    copy.replace("workflow/galmass/contrastive/losses.py", "    # the gradient of", "    # in other words: the gradient of")
    assert "Nothing to be done" in copy.snakemake("-n").stdout
    copy.replace("workflow/galmass/transport.py", "SHOWN = 200", "SHOWN = 300")  # of downloads, which this run has not
    assert "record_provenance" in copy.snakemake("-n").stdout
