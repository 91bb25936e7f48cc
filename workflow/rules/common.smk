# Paths, slices of the configuration, code versions. No rule lives here.

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from snakemake import __version__ as snakemake_version
from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from galmass.configuration import check, load_schema
from galmass.contrastive.modalities import Modality
from galmass.errors import InputError
from galmass.logs import text_table
from galmass.plan import (
    MASS_MODELS,
    causality_of,
    check_references,
    density_options,
    inputs_of,
    models,
    stores_of,
    training_options,
    tuples,
)
from galmass.provenance import code_version
from galmass.units import LIGHT

COMMITTED = "resources/nuker.safetensors"
LIBRARY = Path(workflow.basedir) / "workflow" / "galmass"
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
ANSWERED = ["results/answers.csv", "results/answers.md", "results/answers.html"]
INFORMATION = [
    *("components.parquet", "summary.json", "averages.csv", "bars.svg", "stacks.svg", "noise.svg"),
    *("cross_check.json", "cross_check.csv", "cross_check.svg"),
]
ENVIRONMENTS = Path(workflow.basedir) / "envs"
PROVENANCE = "results/provenance.json"
HEADLINES, BLACK_HOLES, REPORT = "results/headlines.csv", "results/black_holes.csv", "results/report.html"
ESTIMATES = [
    *("model.safetensors", "embeddings.parquet", "density.zarr", "metrics.json"),
    *("truth.svg", "pit.svg", "training.svg", "latent.svg"),
]
# keys of a simulated sample that its equations read
SKY = ["max_galaxies", "seed", "split", "redshift", "flux_limit", "class_limits", "effects"]
# networks of the deprojection that a run trains, with what they are called
NETWORKS = {"surrogate": "surrogate", "paper_symexp": "paper, symexp", "paper_linear": "paper, linear output"}
DEPROJECTION = [
    *("grid.zarr", "errors.json", "errors.parquet", "surrogate.safetensors", "velocity.csv"),
    *("distributions.svg", "maps.svg", "worst.svg", "training.svg", "velocity.svg"),
]
# what a fit shows: file -> words of the report
FIT_FIGURES = {
    "corner": "posterior",
    "traces": "chains",
    "prior": "prior and posterior",
    "chi2": "misfit by channel and baseline",
    "moments": "moment maps of data and model",
    "residuals": "residual channel maps",
    "position_velocity": "position-velocity diagram",
    "rotation": "rotation curve and its parts",
}
VISIBILITIES = ["visibilities.zarr", "grid.zarr", "coverage.svg", "spectrum.svg", "channel_maps.svg"]
# keys of a galaxy that its fits read
FITTED = [
    *("distance_mpc", "v_sys_kms", "rest_frequency_hz", "dish_diameter_m", "primary_beam_coefficient"),
    *("model", "priors", "likelihood"),
]
TRUTH = ["graph.json", "independences.json", "answers.csv", "information.csv"]
TESTS = ["neighbours.zarr", "independence.parquet", "independence.json", "independence.svg"]


def code(rule_name):
    """Digest of a rule's script and of all library modules that it reaches."""
    return code_version(SCRIPTS / f"{rule_name}.py", LIBRARY)


def of_source(*sources):
    """Regular expression of the samples of some sources; matches nothing where there are none."""
    names = [re.escape(name) for name, entry in config["samples"].items() if entry["source"] in sources]
    return "|".join(names) or "(?!)"


def sample(wildcards, *keys):
    """Some keys of a sample's entry."""
    return {key: config["samples"][wildcards.sample][key] for key in ("source", *keys)}


def image_stores(wildcards):
    """Stores of images that a modality reads: name -> path."""
    seen = Modality.from_config(wildcards.modality, config["modalities"][wildcards.modality]).images
    return {images.store: f"results/{wildcards.sample}/images/{images.store}.zarr" for images in seen}


def images(wildcards):
    """Stores of images that a modality reads; Snakemake compares folders by date: the digests beside them decide instead."""
    return [ancient(path) for path in image_stores(wildcards).values()]


def image_notes(wildcards):
    """What was written beside these stores."""
    return [path.replace(".zarr", ".json") for path in image_stores(wildcards).values()]


def exclusions(wildcards):
    """Tables of real images, which say what is to be left out."""
    if config["samples"][wildcards.sample]["source"] == "mock":
        return []
    return [path.replace(".zarr", ".parquet") for path in image_stores(wildcards).values()]


def survey_targets(wildcards):
    """What the survey wing makes of every sample and modality."""
    targets = []
    for sample in config["run"]["samples"]:
        entry = config["samples"][sample]
        shown = [] if entry["source"] == "frames" else ["quality.svg"]
        targets += [f"results/{sample}/catalogue/{name}" for name in ("galaxies.parquet", *shown)]
        for store in stores_of(entry):
            targets += [f"results/{sample}/images/{store}.{suffix}" for suffix in ("zarr", "svg")]
        if entry["source"] == "mock":
            targets += [f"results/{sample}/truth/{name}" for name in TRUTH]
    for sample, modality in models(config):
        if "images" in config["modalities"][modality]:
            targets.append(f"results/{sample}/contrastive/{modality}/saliency.svg")
        targets += [f"results/{sample}/contrastive/{modality}/{name}" for name in ESTIMATES]
        targets += [f"results/{sample}/causality/{modality}/{name}" for name in TESTS]
    targets += graph_targets()
    targets += information_targets()
    return targets


def graph_of(sample):
    """Variables of a sample's causal graph, and what is known of them; None where it has none."""
    return config["samples"][sample].get("graph")


def graph_targets():
    """Causal graphs of every sample that has one, and what they are compared with."""
    targets = []
    for sample in filter(graph_of, config["run"]["samples"]):
        names = ["graphs.svg"]
        names += ["scores.csv"] if config["samples"][sample]["source"] == "mock" else []
        names += ["given_latent.csv"] if graph_of(sample)["estimates"] else []
        targets += [f"results/{sample}/causality/graph/{name}" for name in names]
    return targets


def graphs_of_sample(wildcards):
    """Causal graphs of a sample by all methods."""
    return [f"results/{wildcards.sample}/causality/graph/{method}.json" for method in config["graphs"]["methods"]]


def graph_truth(wildcards):
    """The true graph of a simulated sample."""
    simulated_one = config["samples"][wildcards.sample]["source"] == "mock"
    return f"results/{wildcards.sample}/truth/graph.json" if simulated_one else []


def information_targets():
    """Decompositions of the tuples of every sample, and what they answer."""
    targets = [f"results/{s}/information/{t}/{name}" for s, t in tuples(config) for name in INFORMATION]
    targets += [f"results/{s}/information/{t}/gap.svg" for s, t in tuples(config) if "against" in tuple_entry(t)]
    paired = {s: None for s, t in tuples(config) if tuple_entry(t)["question"] == "bands"}
    targets += [f"results/{s}/information/synergies.svg" for s in paired]
    return targets + (ANSWERED if tuples(config) else [])


def tuple_entry(name):
    """One entry of information.tuples."""
    return config["information"]["tuples"][name]


def seen_by(wildcards):
    """What a modality is fed; the bins of the mass are those of section information."""
    return {key: value for key, value in config["modalities"][wildcards.modality].items() if key != "bin_width"}


def bands_of(wildcards):
    """Tuples of a sample that ask which bands are synergistic."""
    return [t for s, t in tuples(config) if s == wildcards.sample and tuple_entry(t)["question"] == "bands"]


def densities(wildcards, suffix):
    """Densities of the modalities of a tuple."""
    modalities = inputs_of(tuple_entry(wildcards.tuple)).values()
    return [f"results/{wildcards.sample}/information/densities/{m}.{suffix}" for m in modalities]


def decomposed_models():
    """Every (sample, modality) with a contrastive network that a tuple of the sample names, too."""
    named = {(s, m) for s, t in tuples(config) for m in inputs_of(tuple_entry(t)).values()}
    return [model for model in models(config) if model in named]


def known_information(wildcards):
    """What an ideal network would know, where the sample is simulated."""
    simulated_one = config["samples"][wildcards.sample]["source"] == "mock"
    return [f"results/{wildcards.sample}/truth/information.csv"] if simulated_one else []


def deprojection_targets(wildcards):
    """What the deprojection of Nuker profiles makes."""
    return [f"results/deprojection/{name}" for name in DEPROJECTION]


def dynamics_targets(wildcards):
    """What the dynamics wing makes of every galaxy."""
    targets = []
    for name in config["run"]["galaxies"]:
        targets += [f"results/{name}/visibilities/{product}" for product in VISIBILITIES]
        for model in config["galaxies"][name]["mass_models"]:
            targets += [
                f"results/{name}/fit/{model}/{product}" for product in ("posterior.nc", "summary.json", "check.json")
            ]
            targets += [f"results/{name}/fit/{model}/{figure}.svg" for figure in FIT_FIGURES]
        targets += [f"results/{name}/fit/models.csv", f"results/{name}/fit/models.svg"]
    return [*targets, BLACK_HOLES] if targets else []


def sql(*names):
    """Texts of queries."""
    return [str(LIBRARY / "catalogues" / "sql" / name) for name in names]


def query(wildcards):
    """What SkyServer is asked for."""
    entry = config["samples"][wildcards.sample]
    return entry["query"] | {"redshift": entry["redshift"]}


def sersic_fits(wildcards):
    """Sersic fits of a sample, where it wants them."""
    wanted = config["samples"][wildcards.sample]["sersic_fits"]
    return f"resources/{wildcards.sample}/sersic_fits.parquet" if wanted else []


def kept_frames(path):
    """Frames are deleted when they were cut, and with them what says that they are there, unless a sample keeps them."""
    wanted = any((entry.get("frames") or {}).get("keep", False) for entry in config["samples"].values())
    return path if wanted else temp(path)


def places(wildcards):
    """Where the galaxies of a sample lie on the frames: a table that changes with the galaxies and nothing else."""
    chosen = config["samples"][wildcards.sample]["source"] == "sdss_mgs"
    return f"results/{wildcards.sample}/catalogue/{'places' if chosen else 'galaxies'}.parquet"


def frames_folder(wildcards):
    """Folder of a chunk's frames: the user's, or where they are downloaded to."""
    entry = config["samples"][wildcards.sample]
    return entry.get("folder", f"resources/{wildcards.sample}/frames/{wildcards.chunk}")


def frames_manifest(wildcards):
    """What was downloaded of a chunk; nothing where the frames are in a folder of the user's."""
    return [] if "folder" in config["samples"][wildcards.sample] else f"{frames_folder(wildcards)}.json"


def chunk_products(wildcards, suffix):
    """One product of every chunk of a sample's fields."""
    n_chunk = config["samples"][wildcards.sample]["frames"]["chunks"]
    return [f"results/{wildcards.sample}/images/chunks/{i:04d}.{suffix}" for i in range(n_chunk)]


def data_files():
    """What the run reads and no job computes: committed files, and manifests of downloads."""
    tables = [
        f"resources/{name}/galaxies.json"
        for name in config["run"]["samples"]
        if config["samples"][name]["source"] == "sdss_mgs"
    ]
    real = [name for name in config["run"]["galaxies"] if config["galaxies"][name]["observation"]["kind"] == "zenodo"]
    return [COMMITTED, "resources/ngc4697/uv_cells.npz", *tables, *(f"resources/{name}/download.json" for name in real)]


def headlines():
    """The table of all models, where the run trains any."""
    return [HEADLINES] if models(config) else []


def fits():
    """Every (galaxy, mass model) that the run fits."""
    return [(name, model) for name in config["run"]["galaxies"] for model in config["galaxies"][name]["mass_models"]]


def simulated():
    """Galaxies of the run whose truth is known."""
    return [
        name for name in config["run"]["galaxies"] if config["galaxies"][name]["observation"]["kind"] == "simulation"
    ]


def galaxy(wildcards, *keys):
    """Some keys of a galaxy's entry."""
    return {key: config["galaxies"][wildcards.galaxy].get(key) for key in keys}


def observation(wildcards):
    """Where the visibilities of a galaxy come from: a store, a file, or the folder of a download.

    Snakemake compares folders by date: what was written beside them decides instead.
    """
    entry = config["galaxies"][wildcards.galaxy]["observation"]
    if entry["kind"] == "simulation":
        folder = f"results/{wildcards.galaxy}/observation"
        return [ancient(f"{folder}/simulated.zarr"), f"{folder}/truth.json"]
    if entry["kind"] == "zenodo":
        return [ancient(f"resources/{wildcards.galaxy}/download"), f"resources/{wildcards.galaxy}/download.json"]
    if "path" not in entry:
        raise WorkflowError(
            f"config: galaxies.{wildcards.galaxy}.observation lacks the key 'path': calibrate and split in CASA what "
            f"download_alma fetched into resources/{wildcards.galaxy}/download, and name the MeasurementSet that it gives"
        )
    return ancient(entry["path"]) if Path(entry["path"]).is_dir() else entry["path"]


def observation_file(wildcards):
    """The file itself."""
    entry = config["galaxies"][wildcards.galaxy]["observation"]
    if entry["kind"] == "zenodo":
        return f"resources/{wildcards.galaxy}/download/observation.npz"
    return entry.get("path", f"results/{wildcards.galaxy}/observation/simulated.zarr")


def sky_frequency(wildcards):
    """Where the line of a galaxy is observed [Hz], radio convention."""
    entry = config["galaxies"][wildcards.galaxy]
    return entry["rest_frequency_hz"] * (1 - entry["v_sys_kms"] / LIGHT)


def optical_table(wildcards):
    """Multi-Gaussian expansion that a mass model needs: of the simulation, or the user's; None for the others."""
    if not wildcards.mass_model.startswith("mge"):
        return None
    return config["galaxies"][wildcards.galaxy]["mge_table"] or f"results/{wildcards.galaxy}/observation/mge.csv"


def optical_input(wildcards):
    """The same as an input; a file of the user's that is missing fails the job that needs it, in words, and no other."""
    table = optical_table(wildcards)
    user_s = config["galaxies"][wildcards.galaxy]["mge_table"] is not None
    return [] if table is None or (user_s and not Path(table).exists()) else table


def deprojection_method(wildcards):
    """How the mass model turns Nuker profiles into Gaussians; nothing for the others."""
    if wildcards.mass_model != "nuker":
        return {}
    return {key: config["deprojection"][key] for key in ("method", "extrapolate")}


def network_input(wildcards):
    """Weights of the network of a mass model that deprojects by it; nothing for the others. Larger inputs start first: its fit is the longest."""
    return COMMITTED if deprojection_method(wildcards).get("method") == "surrogate" else []


def truth(wildcards):
    """Truth of a simulation; nothing for a real galaxy."""
    if config["galaxies"][wildcards.galaxy]["observation"]["kind"] != "simulation":
        return []
    return [f"results/{wildcards.galaxy}/observation/{name}" for name in ("truth.json", "velocity.csv")]


def fit_products(wildcards, name):
    """One product of every mass model of a galaxy."""
    return [
        f"results/{wildcards.galaxy}/fit/{model}/{name}"
        for model in config["galaxies"][wildcards.galaxy]["mass_models"]
    ]


def fit_figures():
    """Figures of a fit with their places in the report."""
    return {
        name: report(
            f"results/{{galaxy}}/fit/{{mass_model}}/{name}.svg",
            caption=f"../report/fit_{name}.rst",
            category="6. Black holes",
            subcategory="{galaxy}",
            labels={"galaxy": "{galaxy}", "mass model": "{mass_model}", "shows": words},
        )
        for name, words in FIT_FIGURES.items()
    }


def recipe(name):
    """Training options of a recipe, its name among them."""
    return {"recipe": name, **config["deprojection"]["recipes"][name]}


def numbers(path):
    """A JSON product, for captions."""
    return json.loads(Path(path).read_text())


def check_writable():
    """Before any job: may this user write where products go?"""
    for folder in map(Path, ("results", "logs", "benchmarks")):
        if folder.exists() and not os.access(folder, os.W_OK):
            raise WorkflowError(
                f"{folder.resolve()} may not be written (a disk mounted read-only, or another user's folder): "
                f"make it writable, or move it away and link {folder} to a folder of yours"
            )


def finish():
    """After a whole run: the report, the headline numbers, and where the report is."""
    whole = all(
        Path(path).exists()
        for path in [*survey_targets(None), *deprojection_targets(None), *dynamics_targets(None), *headlines()]
    )
    if not whole or set(workflow.dag_settings.targets) - {"all"}:  # single files were asked for
        return
    used = Path(".snakemake/config.json")  # overlays and --config merged
    used.write_text(json.dumps(config))
    command = [sys.executable, "-m", "snakemake", "--report", REPORT, "--configfile", str(used), "--nolock", "--quiet"]
    done = subprocess.run([*command, "all"], check=False)
    place = f"Report: {Path(REPORT).resolve()}" if not done.returncode else "The report could not be made; see above."
    tables = [text_table(path) for path in [*headlines(), *([BLACK_HOLES] if config["run"]["galaxies"] else [])]]
    print("", *tables, place, sep="\n\n", file=sys.stderr)


def place_on_cluster(rules):
    """Of the rules that use a graphics card: how SLURM is asked for it, and in which partition."""
    for one in rules:
        if not ("gpu" in one.resources and one.resources["gpu"].value):
            continue
        if config["run"]["gpu_request"] == "gres":  # --gres instead of --gpus
            one.resources["gres"] = f"gpu:{one.resources['gpu'].value}"
            one.resources["gpu"] = None
        if config["run"]["gpu_partition"]:
            one.resources["slurm_partition"] = config["run"]["gpu_partition"]


def memory(base_mb):
    """Memory [MB] that doubles with every attempt."""
    return lambda wildcards, attempt: base_mb * 2 ** (attempt - 1)


try:
    check(config, load_schema(Path(workflow.basedir) / "workflow" / "schemas" / "config.schema.yaml"))
    check_references(config)
except InputError as error:
    raise WorkflowError(str(error))


if "archive" not in workflow.global_resources:
    # one job at a time asks archives, so that their rates hold; --resources gpu=2 alone would lift a limit of the profile
    workflow.register_resource("archive", 1)


wildcard_constraints:
    method="pc|ges|fci",
    sample="|".join(map(re.escape, config["samples"])),
    modality="|".join(map(re.escape, config["modalities"])),
    tuple="|".join(map(re.escape, config["information"]["tuples"])) or "(?!)",
    output="symexp|linear",
    store="optical|infrared",
    chunk=r"\d{4}",
    galaxy="|".join(map(re.escape, config["galaxies"])),
    mass_model="|".join(MASS_MODELS),
