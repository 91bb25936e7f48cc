"""Reruns follow content: the exact rules that an edit touches, and no other."""

import re
import shutil
import subprocess

import pytest
import yaml
from clones import ROOT, TINY
from snakemake.utils import update_config

CATALOGUE = {"build_catalogue", "plot_catalogue"}
TRAINING = {"train_encoder"}
AFTER_TRAINING = {"extract_embeddings", "evaluate_estimates", "plot_estimates"}
NEIGHBOURS = {"find_neighbours"}
TESTS = {"test_independence", "plot_independence", "compare_graphs"}
BASELINES = {"fit_baselines"}
SUMMARY = {"summarise_run"}
GRAPHS = {"search_graph", "plot_graphs", "score_graphs", "compare_graphs"}
FROM_EMBEDDINGS = AFTER_TRAINING | NEIGHBOURS | TESTS | SUMMARY | GRAPHS
FROM_TRAINING = TRAINING | FROM_EMBEDDINGS
GRID = {"build_nuker_grid"}
SURROGATE = {"train_deprojection"}
PAPER = {"train_paper_network"}
ERRORS = {"evaluate_deprojection", "plot_deprojection"}
VELOCITY = {"tabulate_velocity", "plot_deprojection"}
NETWORKS = SURROGATE | PAPER
FROM_CHECK = {"check_fit", "plot_fit", "compare_models", "summarise_black_holes"}
FROM_FIT = {"fit_visibilities"} | FROM_CHECK
FROM_GRID = {"grid_visibilities", "plot_visibilities"} | FROM_FIT
FROM_IMPORT = {"import_visibilities"} | FROM_GRID
FROM_SIMULATION = {"simulate_observation"} | FROM_IMPORT
SALIENCY = {"map_saliency", "plot_saliency"}
SKY = {"simulate_sky", "plot_catalogue"}
IMAGES = {"render_sky", "plot_cutouts"}
TRUTH = {"derive_truth"}
ANSWERS = {"answer_questions"}  # which look at the contrastive networks of inputs that are decomposed
NETWORK_OF_IMAGES = FROM_TRAINING | SALIENCY | ANSWERS
PLOTS_OF_INFORMATION = {"plot_information", "plot_gap", "plot_synergies"}
DECOMPOSITION = {"decompose_information", "answer_questions", "cross_check_pid"} | PLOTS_OF_INFORMATION
DENSITY = {"train_density"} | DECOMPOSITION
FROM_IMAGES = IMAGES | BASELINES | NETWORK_OF_IMAGES | DENSITY
OF_TRUTH = {"score_graphs"}  # of a simulated sample alone
EVERYTHING = (CATALOGUE | BASELINES | FROM_TRAINING) - OF_TRUTH

# file, old text, new text, rules that must run
EDITS = {
    "loss": ("workflow/galmass/contrastive/losses.py", "return softplus(positive - negative)", "return softplus(2 * (positive - negative))", NETWORK_OF_IMAGES),
    "network": ("workflow/galmass/contrastive/networks.py", "FLOOR = 1e-4", "FLOOR = 2e-4", NETWORK_OF_IMAGES | DENSITY),
    "metric": (
        "workflow/galmass/contrastive/metrics.py",
        "return 1.4826 *",
        "return 1.4826022 *",
        FROM_EMBEDDINGS | ANSWERS,
    ),
    "baseline": ("workflow/galmass/contrastive/baselines.py", "KFold(3,", "KFold(4,", BASELINES | {"evaluate_estimates", "plot_estimates"} | SUMMARY),
    "neighbours": ("workflow/galmass/causality/neighbours.py", "2**24)", "2**23)", FROM_EMBEDDINGS | ANSWERS),
    "local test": ("workflow/galmass/causality/independence.py", "_BLOCK = 256", "_BLOCK = 128", TESTS | SUMMARY),
    "p-values": ("workflow/galmass/causality/blocks.py", "FOLDS = 5", "FOLDS = 4", TESTS | SUMMARY),
    "figure": ("workflow/galmass/figures/estimates.py", "gridsize=60", "gridsize=61", {"plot_estimates"}),
    "figure style": (
        "workflow/galmass/figures/style.py",
        '"font.size": 9',
        '"font.size": 10',
        {
            "plot_catalogue",
            "plot_estimates",
            "plot_independence",
            "plot_deprojection",
            "plot_visibilities",
            "plot_fit",
            "compare_models",
            "plot_cutouts",
            "plot_saliency",
            "plot_graphs",
            *PLOTS_OF_INFORMATION,
        },
    ),
    "class divider": ("workflow/galmass/catalogues/classes.py", "2.06 - 0.244", "2.07 - 0.244", EVERYTHING),
    "Nuker grid": ("workflow/galmass/profiles/grid.py", 'spacing == "log" else', 'spacing != "linear" else', GRID | NETWORKS | ERRORS),
    "optimiser": ("workflow/galmass/deprojection/soap.py", '["t"] % group["every"] == 0', '["t"] % group["every"] == 1', NETWORKS | ERRORS),
    "direct solution": ("workflow/galmass/deprojection/direct.py", "RIDGE = 1e-12", "RIDGE = 2e-12", ERRORS | VELOCITY | FROM_FIT),
    "circular velocity": ("workflow/galmass/discs/velocity.py", "POINTS = 10", "POINTS = 8", ERRORS | VELOCITY | FROM_FIT),
    "gridding kernel": ("workflow/galmass/visibilities/gridding.py", "np.maximum(inside, 0)", "np.maximum(inside, 1e-12)", FROM_GRID),
    "beam": ("workflow/galmass/visibilities/imaging.py", "share: float = 0.03", "share: float = 0.04", FROM_GRID),
    "disc": ("workflow/galmass/discs/cube.py", "NEGLIGIBLE = 1e-9", "NEGLIGIBLE = 2e-9", FROM_FIT),
    "simulation": ("workflow/galmass/visibilities/simulation.py", "EPSILON = 1e-9", "EPSILON = 2e-9", FROM_SIMULATION),
    "check of a fit": ("workflow/galmass/inference/checks.py", "REPLICAS = 60", "REPLICAS = 61", FROM_CHECK),
    "figure of a fit": ("workflow/galmass/figures/fits.py", "bins=25", "bins=26", {"plot_fit", "compare_models"}),
    "models": (
        "workflow/galmass/inference/comparison.py",
        'check["beam_pc"] / 2',
        'check["beam_pc"] / 3',
        {"compare_models", "summarise_black_holes"},
    ),
    "script": ("workflow/scripts/plot_independence.py", "style.save(independence", "(style.save)(independence", set()),
    "script for real": ("workflow/scripts/plot_independence.py", "table, summary = ", "summary = table = None\n    table, summary = ", {"plot_independence"}),
    "simulated sky": ("workflow/galmass/catalogues/mock.py", "SUN_R = 4.65", "SUN_R = 4.66", SKY | TRUTH | FROM_IMAGES | TESTS),
    "rendering": ("workflow/galmass/images/rendering.py", "BULGE_SIZE = 0.5", "BULGE_SIZE = 0.4", FROM_IMAGES),
    "occlusion": ("workflow/galmass/contrastive/saliency.py", "AT_A_TIME = 256", "AT_A_TIME = 128", SALIENCY),
    "montage": ("workflow/galmass/figures/cutouts.py", "SOFTENING = 8.0", "SOFTENING = 9.0", {"plot_cutouts", "plot_saliency"}),
    "folds": ("workflow/galmass/contrastive/folds.py", "digest_size=7", "digest_size=6", DENSITY),
    "averages": ("workflow/galmass/information/averages.py", "REDRAWS = 20", "REDRAWS = 10", DECOMPOSITION),
    "cross check": ("workflow/galmass/information/discrete.py", "TOLERANCE = 1e-4", "TOLERANCE = 1e-3", {"cross_check_pid", "plot_information"}),
    "answers": ("workflow/galmass/information/questions.py", "Which bands are", "What bands are", ANSWERS),
    "convergence": ("workflow/galmass/information/convergence.py", "1.96 * more.std()", "1.97 * more.std()", ANSWERS),
    "causal graph": ("workflow/galmass/causality/climbing.py", "(0.1, 0.3, 0.6)", "(0.1, 0.3, 0.5)", GRAPHS),
    "archives": ("workflow/galmass/transport.py", "SHOWN = 200", "SHOWN = 300", set()),
    "comment": ("workflow/galmass/contrastive/losses.py", "    # the gradient of", "    # in other words: the gradient of", set()),
    "docstring": ("workflow/galmass/contrastive/losses.py", '"""The two members', '"""Both members', set()),
}

# keys of the configuration, new value, rules that must run
KEYS = {
    "samples.gst10k.classes.u_r_margin": (0.2, EVERYTHING),
    "samples.gst10k.mass.omega_m": (0.31, EVERYTHING),
    "modalities.Mopt.bin_width": (0.1, BASELINES | FROM_TRAINING - OF_TRUTH),
    "contrastive.learning_rate": (0.001, NETWORK_OF_IMAGES | DENSITY),
    "contrastive.loss_weights.latent_contrast": (0.5, NETWORK_OF_IMAGES),
    "recalibration.order": (3, FROM_EMBEDDINGS | ANSWERS),
    "evaluation.bootstrap": (60, {"evaluate_estimates", "plot_estimates"} | SUMMARY),
    "causality.k": (25, NEIGHBOURS | TESTS | SUMMARY),
    "causality.queries": (["z"], TESTS | SUMMARY),
    "causality.blocks.permutations": (199, TESTS | SUMMARY),
    "deprojection.grid.axes.alpha.count": (9, GRID | NETWORKS | ERRORS),
    "deprojection.recipes.galmass.steps": (50, SURROGATE | ERRORS),
    "deprojection.recipes.paper.learning_rate": (1e-4, PAPER | ERRORS),
    "deprojection.evaluation.profiles": (70, ERRORS),
    "deprojection.method": ("direct", VELOCITY | FROM_FIT),
    "deprojection.example.log_m_bh": (8.5, VELOCITY),
    "galaxies.ngc4697_mock.simulation.truth.log_m_bh": (8.5, FROM_SIMULATION),
    "galaxies.ngc4697_mock.channels.average": (2, FROM_IMPORT),
    "galaxies.ngc4697_mock.grid.beta": (3.0, FROM_GRID),
    "galaxies.ngc4697_mock.model.n_pix": (48, {"plot_visibilities"} | FROM_FIT),  # the maps are cut to it
    "galaxies.ngc4697_mock.priors.gamma": ({"kind": "uniform", "low": 0.1, "high": 1.0}, FROM_FIT),
    "galaxies.ngc4697_mock.title": ("NGC 4697", {"plot_visibilities", "plot_fit", "compare_models"}),
    "fitting.target_ess": (60, FROM_FIT),
    "fitting.priors.log_m_bh.high": (9.5, FROM_FIT),
    "samples.mock.flux_limit": (17.5, SKY | TRUTH | FROM_IMAGES | TESTS),
    "samples.mock.images.optical.neighbours_per_arcmin2": (1.0, FROM_IMAGES),
    "samples.mock.information.draws": (32, TRUTH | DECOMPOSITION | GRAPHS),
    "samples.mock.graph.forbidden": ([["z", "ssfr"]], GRAPHS),
    "graphs.alpha": (0.02, GRAPHS),
    "graphs.latent_components": (2, GRAPHS),
    "seeds.graphs": (9, GRAPHS),
    "information.training.width": (32, DENSITY),
    "information.max_unshared": (0.03, DECOMPOSITION),
    "information.bootstrap": (60, DECOMPOSITION),
    "information.cross_check.limit_s": (30.0, {"cross_check_pid", "plot_information"}),
    "information.tuples.Iopt_Wise.question": ("infrared", ANSWERS),
    "modalities.Iopt.bin_width": (0.125, BASELINES | NETWORK_OF_IMAGES | TRUTH | DECOMPOSITION),  # the truth is told of each modality
    "samples.mock.causality.conditions": (["z"], TESTS | SUMMARY),
    "contrastive.images.channels": (8, NETWORK_OF_IMAGES | DENSITY),
    "archives.timeout_s": (30.0, set()),
    "run.devices": (2, set()),
    "seeds.simulation": (9, FROM_SIMULATION),
    "seeds.fitting": (10, FROM_FIT),
    "seeds.nuker_grid": (9, GRID | NETWORKS | ERRORS),
    "seeds.deprojection_evaluation": (9, ERRORS),
    "seeds.training": (9, NETWORK_OF_IMAGES),
    "seeds.density": (9, DENSITY),
    "seeds.information": (9, DECOMPOSITION),
    "seeds.baselines": (9, BASELINES | {"evaluate_estimates", "plot_estimates"} | SUMMARY),
    "seeds.evaluation": (9, {"evaluate_estimates", "plot_estimates"} | SUMMARY),
    "seeds.permutations": (9, TESTS | SUMMARY),
    "modalities.MoptMir.bin_width": (0.1, set()),  # this run does not train it
}


def test_second_run_does_nothing(finished):
    assert finished.planned() == set()


@pytest.mark.parametrize("name", EDITS)
def test_edit_of_code_reruns_its_users(copy, name):
    file, old, new, rules = EDITS[name]
    copy.replace(file, old, new)
    assert copy.planned() == rules


@pytest.mark.parametrize("key", KEYS)
def test_edit_of_a_key_reruns_its_readers(finished, tmp_path, key):
    value, rules = KEYS[key]
    overlay: object = value
    for part in reversed(key.split(".")):
        overlay = {part: overlay}
    file = tmp_path / "overlay.yaml"
    file.write_text(yaml.safe_dump(overlay))
    assert finished.planned(config=f"tests/workflow/tiny.yaml {file}") == rules


def merged() -> dict:
    """The configuration of the tiny workflow, whole."""
    config, tiny = (yaml.safe_load((ROOT / name).read_text()) for name in ("config/config.yaml", TINY))
    update_config(config, tiny)
    return config


# what is added by an overlay, rules that must run, and the wildcard that all of them have
ADDITIONS = {
    "modality": (
        {
            "modalities": {"Red": {"values": ["petro_mag_r"], "errors": [], "scalars": {"ebv": "linear"}, "bin_width": 0.05}},
            "samples": {"gst10k": {"modalities": ["Mopt", "Red"]}},
        },
        BASELINES | FROM_TRAINING - GRAPHS,
        "modality=Red",
    ),
    "sample": (
        {"samples": {"other": merged()["samples"]["gst10k"] | {"seed": 3}}, "run": {"samples": ["gst10k", "mock", "other"]}},
        EVERYTHING,
        "sample=other",
    ),
    "galaxy": (
        {"galaxies": {"second": merged()["galaxies"]["ngc4697_mock"]}, "run": {"galaxies": ["ngc4697_mock", "second"]}},
        FROM_SIMULATION,
        "galaxy=second",
    ),
    "mass model": (
        {"galaxies": {"ngc4697_mock": {"mass_models": ["nuker", "mge", "mge_without_innermost"]}}},
        FROM_FIT,
        "mass_model=mge_without_innermost",
    ),
}
TABLES = {"summarise_run", "summarise_black_holes", "compare_models", "record_provenance", "all"}  # of all that there is


@pytest.mark.parametrize("name", ADDITIONS)
def test_addition_runs_what_is_new_and_the_tables_of_all(finished, tmp_path, name):
    overlay, rules, wildcard = ADDITIONS[name]
    file = tmp_path / "overlay.yaml"
    file.write_text(yaml.safe_dump(overlay))
    config = f"{TINY} {file}"
    assert finished.planned(config=config) == rules
    output = finished.snakemake("-n", config=config).stdout
    jobs = re.findall(r"^(?:local)?rule (\w+):\n(.*?)\n\n", output, re.MULTILINE | re.DOTALL)
    assert {rule for rule, _ in jobs} - TABLES == rules - TABLES
    assert [rule for rule, job in jobs if rule not in TABLES and wildcard not in job] == []


def test_other_weights_rerun_only_what_uses_them(copy):
    weights = copy.path / "resources" / "nuker.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    assert copy.planned() == ERRORS | VELOCITY | FROM_FIT
    fits = re.findall(r"fit/(\w+)/setup.json", copy.snakemake("-n", "--until", "fit_visibilities").stdout)
    assert set(fits) == {"nuker"}


def test_lock_reruns_nothing(copy):
    """Which packages there are is the user's matter; with `--sdm conda` a pin reruns the rules of its environment."""
    copy.replace("requirements.lock", "tqdm==", "tqdm>=")
    assert copy.planned() == set()


def test_touch_reruns_nothing(copy):
    for path in [*copy.path.joinpath("workflow").rglob("*.py"), *copy.path.joinpath("results").rglob("*")]:
        path.touch()
    assert copy.planned() == set()


def test_results_copied_into_a_fresh_clone_rerun_nothing(finished, fresh):
    # new dates in the order of the listing, as `cp -r` gives them
    for name in ("results", ".snakemake"):
        subprocess.run(["cp", "-r", finished.path / name, fresh.path], check=True)
    assert fresh.planned() == set()


def test_results_alone_with_their_dates_rerun_nothing(finished, fresh):
    shutil.copytree(finished.path / "results", fresh.path / "results")
    assert fresh.planned() == set()


def test_moved_checkout_reruns_nothing(copy, tmp_path):
    moved = type(copy)(copy.path.rename(tmp_path / "elsewhere"))
    assert moved.planned() == set()
