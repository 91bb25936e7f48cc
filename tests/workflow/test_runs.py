"""The workflow as a user runs it: to the end, killed, damaged."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from clones import SAID, TINY, kill_group

PUBLIC = [
    "catalogue/galaxies.parquet",
    *(f"contrastive/Mopt/{name}" for name in ("model.safetensors", "embeddings.parquet", "metrics.json")),
    *(f"causality/Mopt/{name}" for name in ("neighbours.zarr/zarr.json", "independence.parquet", "independence.json")),
]
PUBLIC_OF_THE_SKY = [
    *(f"truth/{name}" for name in ("galaxies.parquet", "graph.json", "independences.json", "answers.csv", "information.csv")),
    *("images/optical.zarr/zarr.json", "images/optical.json", "images/optical.svg"),
    *(f"contrastive/Iopt/{name}" for name in ("model.safetensors", "embeddings.parquet", "saliency.svg")),
]
PUBLIC_OF_A_GALAXY = [
    *(f"visibilities/{name}" for name in ("visibilities.zarr/zarr.json", "grid.zarr/zarr.json", "grid.json")),
    *(f"fit/{model}/{name}" for model in ("nuker", "mge") for name in ("posterior.nc", "summary.json", "setup.json", "check.json")),
    *("fit/models.csv", "observation/truth.json"),
]


def test_public_files_exist(finished):
    for name in PUBLIC:
        assert (finished.path / "results" / "gst10k" / name).is_file()
    for name in PUBLIC_OF_THE_SKY:
        assert (finished.path / "results" / "mock" / name).is_file()
    for name in PUBLIC_OF_A_GALAXY:
        assert (finished.path / "results" / "ngc4697_mock" / name).is_file()


def test_a_run_ends_with_its_tables_and_where_the_report_is(finished):
    said = (finished.path / SAID).read_text()
    end = said[said.index("sigma_MAD [dex]") :]
    assert end.index("log10 M_BH [M_sun]") < end.index(f"Report: {finished.path / 'results' / 'report.html'}")


def test_a_fit_is_a_likelihood_for_others(finished):
    """`galmass.inference.log_likelihood` of the folder of a fit, in a process of its own: value at the best draw, gradient, names, priors."""
    code = """
import json, sys, torch, galmass.inference
folder = sys.argv[1]
ln_l = galmass.inference.log_likelihood(folder)
summary = json.load(open(f"{folder}/summary.json"))
x = torch.tensor([summary["parameters"][name]["best"] for name in ln_l.names], dtype=torch.float64, requires_grad=True)
value = ln_l(x)
value.backward()
assert torch.isfinite(x.grad).all() and x.grad.abs().min() > 0
assert set(ln_l.units) == set(ln_l.prior) == set(ln_l.names)
z = ln_l.parameters.coordinates(x.detach())
print(float(value.detach() + ln_l.log_prior(z)) - summary["log_posterior"])
"""
    folder = finished.path / "results" / "ngc4697_mock" / "fit" / "mge"
    environment = {**os.environ, "PYTHONPATH": str(finished.path / "workflow")}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(folder)], env=environment, check=True, capture_output=True, text=True)
    # the model is float32: chi^2 of 5000 numbers of signal-to-noise about one, each to 1e-7 of the brightest
    assert abs(float(done.stdout)) < 0.01


def test_every_rule_leaves_log_and_benchmark(finished):
    names = {p.stem for p in (finished.path / "logs").rglob("*.log")}
    assert names == {p.stem for p in (finished.path / "benchmarks").rglob("*.tsv")}
    assert len(names) == 45


def test_report_holds_every_figure(finished):
    report = (finished.path / "results" / "report.html").read_text()
    for figure in (finished.path / "results").rglob("*.svg"):
        assert figure.name in report
    assert "https://" not in "".join(line for line in report.splitlines() if "<script src" in line or "<link" in line)


DEPROJECTION = {"build_nuker_grid", "train_deprojection", "train_paper_network", "evaluate_deprojection", "tabulate_velocity", "plot_deprojection"}
BLACK_HOLES = {"simulate_observation", "import_visibilities", "grid_visibilities", "plot_visibilities"}
BLACK_HOLES |= {"fit_visibilities", "check_fit", "plot_fit", "compare_models", "summarise_black_holes"}


def test_wings_are_targets(fresh):
    assert fresh.planned("survey") == fresh.planned() - {"summarise_run"} - DEPROJECTION - BLACK_HOLES
    assert fresh.planned("deprojection") == DEPROJECTION
    assert fresh.planned("dynamics") == DEPROJECTION | BLACK_HOLES


def test_the_real_galaxy_is_downloaded_not_simulated(fresh):
    rules = fresh.planned("dynamics", config="config/ngc4697.yaml")
    assert rules == DEPROJECTION | BLACK_HOLES - {"simulate_observation"} | {"download_alma"}


def test_without_galaxies_there_is_no_table_of_black_holes(fresh, tmp_path):
    overlay = tmp_path / "none.yaml"
    overlay.write_text("run: {galaxies: []}\n")
    assert fresh.planned("dynamics", config=str(overlay)) == DEPROJECTION


def test_the_survey_is_planned_as_few_jobs(fresh):
    """The Main Galaxy Sample: two jobs for a chunk of a thousand fields, and no more than a hundred beside them."""
    output = fresh.snakemake("-n", "survey", "--quiet", "rules", config="config/sdss_mgs.yaml").stdout
    counts = dict(re.findall(r"^([a-z_]+) +(\d+)$", output, re.MULTILINE))
    assert counts["download_frames"] == counts["cut_frames"] == "200"
    assert int(counts["total"]) < 500
    once = {"download_catalogue", "download_wise_matches", "download_sersic_fits", "build_sdss_catalogue", "download_wise_cutouts", "join_cutouts"}
    assert all(counts[name] == "1" for name in once)


@pytest.mark.skipif("GALMASS_REAL_DATA" not in os.environ, reason="GALMASS_REAL_DATA does not name a folder with sdss_frames_2820-3-0122")
def test_real_frames_are_cut(fresh, tmp_path):
    overlay = tmp_path / "folder.yaml"
    folder = Path(os.environ["GALMASS_REAL_DATA"]) / "sdss_frames_2820-3-0122"
    overlay.write_text(f"samples: {{frames: {{folder: {folder}}}}}\n")
    fresh.snakemake("--cores", "1", "survey", config=f"config/frames.yaml {overlay}")
    results = fresh.path / "results" / "frames"
    counts = json.loads((results / "images" / "optical.json").read_text())["counts"]
    n = json.loads((results / "catalogue" / "notes.json").read_text())["n"]
    assert n >= 10
    assert sum(counts.values()) == n
    assert counts["cut"] >= 0.9 * n
    assert (results / "images" / "optical.svg").is_file()


def test_a_rule_is_a_target(fresh):
    assert fresh.planned("train_deprojection", config="config/nuker.yaml") == {"build_nuker_grid", "train_deprojection"}


def test_make_demo_killed_in_training_goes_on_and_ends_the_same(finished, fresh):
    """SIGKILL to all of `make demo` while the encoder trains; products equal those of the run in peace, byte for byte."""
    command = ["make", "demo", ready_environment(fresh), f"CONFIG={TINY}"]
    process = subprocess.Popen(command, cwd=fresh.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    scratch = fresh.path / "results" / "gst10k" / "contrastive" / "Mopt" / ".training"
    checkpoint = wait_for(scratch, "*/last.ckpt", process)
    kill_group(process)
    assert trained_epochs(checkpoint) < 6
    output = subprocess.run(command, cwd=fresh.path, check=True, capture_output=True, text=True).stderr
    assert "sigma_MAD [dex]" in output[output.index("steps (100%) done") :]
    log = (fresh.path / "logs" / "gst10k" / "Mopt" / "train_encoder.log").read_text()
    assert "going on at step" in log
    assert not scratch.exists()
    assert (fresh.path / "results" / "report.html").is_file()
    assert fresh.files() == finished.files()


def ready_environment(clone) -> str:
    """VENV for make: the environment of these tests, which it must not take for older than the lock. It would delete it under them."""
    if not (Path(sys.prefix) / ".ready").exists():
        pytest.skip("needs the virtual environment that make sets up")
    os.utime(clone.path / "requirements.lock", (0, 0))
    return f"VENV={sys.prefix}"


def wait_for(folder: Path, pattern: str, process: subprocess.Popen, seconds: float = 120) -> Path:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if found := list(folder.glob(pattern)):
            return found[0]
        time.sleep(0.01)
    raise AssertionError(f"no {pattern} in {folder} before the run ended")


def trained_epochs(checkpoint: Path) -> int:
    import torch

    return torch.load(checkpoint, weights_only=True)["epoch"] + 1


def test_store_of_another_run_is_refused(copy, tmp_path):
    """Neighbours that its notes do not describe: right in itself, wrong here."""
    overlay = tmp_path / "k.yaml"
    overlay.write_text("causality: {k: 25}\n")
    folder = copy.path / "results" / "gst10k" / "causality" / "Mopt"
    notes = (folder / "neighbours.json").read_bytes()
    copy.snakemake("--cores", "1", str(folder.relative_to(copy.path) / "neighbours.json"), config=f"{TINY} {overlay}")
    (folder / "neighbours.json").write_bytes(notes)
    done = copy.snakemake("--cores", "1", "--forcerun", "test_independence", "--rerun-triggers", "input", check=False)
    assert done.returncode != 0
    assert "is not the store that its notes describe" in done.stdout


def test_deleted_products_are_made_again(copy):
    shutil.rmtree(copy.path / "results" / "gst10k" / "contrastive" / "Mopt" / "density.zarr")
    assert "extract_embeddings" in copy.planned()


def test_report_is_made_for_the_target_all_and_not_for_files(copy):
    report = copy.path / "results" / "report.html"
    for target in ("results/gst10k/causality/Mopt/independence.svg", "all"):
        report.unlink(missing_ok=True)
        copy.snakemake(target, "--cores", "1", "--forcerun", "plot_independence")
        assert report.exists() == (target == "all")


def test_damaged_store_is_named(copy):
    store = copy.path / "results" / "gst10k" / "causality" / "Mopt" / "neighbours.zarr"
    chunk = next(p for p in (store / "index").rglob("*") if p.is_file() and p.name != "zarr.json")
    chunk.unlink()
    done = copy.snakemake("--cores", "1", "--forcerun", "test_independence", check=False)
    assert done.returncode != 0
    assert "error: " in done.stdout
    assert "neighbours.zarr" in done.stdout
    assert "delete it and run again" in done.stdout


def test_too_few_training_galaxies_is_said(copy, tmp_path):
    overlay = tmp_path / "k.yaml"
    overlay.write_text("causality: {k: 2000}\n")
    done = copy.snakemake("--cores", "1", config=f"{TINY} {overlay}", check=False)
    assert done.returncode != 0
    assert "k = 2000 neighbours are asked of" in done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_results_that_cannot_be_written_are_said(fresh):
    (fresh.path / "results").mkdir(mode=0o500)
    done = fresh.snakemake("--cores", "1", check=False)
    assert done.returncode != 0
    assert "may not be written" in done.stdout


def test_model_executes_nothing(finished):
    """No product is a pickle: neither zip archives of torch nor pickle streams."""
    for name, content in finished.files().items():
        assert not content.startswith(b"\x80"), name
    assert not any(zipfile.is_zipfile(p) for p in (finished.path / "results").rglob("*") if p.is_file())


def test_make_demo_says_what_is_wrong_with_an_overlay(fresh, tmp_path):
    overlay = tmp_path / "typo.yaml"
    overlay.write_text("contrastive: {max_step: 100}\n")
    done = subprocess.run(["make", "demo", ready_environment(fresh), f"CONFIG={overlay}"], cwd=fresh.path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "did you mean 'max_steps'" in done.stderr
