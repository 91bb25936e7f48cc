"""What a configuration asks for, and what a schema cannot say of it: names and numbers that refer to each other."""

from collections.abc import Mapping
from itertools import pairwise

from galmass.catalogues.schema import ANSWERS, WORDS, require_columns
from galmass.catalogues.schema import SOURCES as SOURCES_OF_COLUMNS
from galmass.causality import summaries
from galmass.causality.knowledge import Knowledge
from galmass.contrastive.modalities import Modality
from galmass.errors import InputError
from galmass.inference.kinds import KINDS, require_known, require_reference

MASS_MODELS = ("nuker", "mge", "mge_without_innermost", "sersic", "core_sersic")
# what each kind of observation must name
OBSERVATIONS = {"simulation": (), "file": ("path",), "zenodo": ("record",), "alma": ("source", "member_ous")}
PRIORS = {kind: needed for kind, (needed, _) in KINDS.items()}
# what each source of a sample reads beside `source`, `modalities` and `causality`
COMMON = {"max_galaxies", "seed", "split", "redshift"}
SOURCES = {
    "kcorrect_gst": COMMON | {"max_petro_mag_err", "mass", "classes"},
    "mock": COMMON | {"flux_limit", "class_limits", "effects", "images", "information"},
    "sdss_mgs": COMMON | {"max_petro_mag_err", "classes", "query", "wise", "sersic_fits", "frames", "wise_cutouts"},
    "frames": {"folder", "detection", "frames"},
}
CLASSES = {"kcorrect_gst": {"nuv_r_blue", "nuv_r_red", "u_r_margin"}, "sdss_mgs": {"ssfr_star_forming", "ssfr_passive"}}
FARTHEST_MOCK = 0.54  # beyond, u sees wavelengths that its spectra do not have
ALL = "all"  # in place of the tuples of a sample
TUPLE = ("first", "second", "union", "against")
GIVES_MASS = {"sfr", "ssfr"}


def models(config: Mapping) -> list[tuple[str, str]]:
    """Every (sample, modality) that the run trains."""
    return [(s, m) for s in config["run"]["samples"] for m in config["samples"][s]["modalities"]]


def tuples(config: Mapping) -> list[tuple[str, str]]:
    """Every (sample, tuple) that the run decomposes; where a sample says 'all', those of whose inputs it lacks no column and no images."""
    found = []
    for sample in config["run"]["samples"]:
        entry = config["samples"][sample]
        named = entry.get("tuples", [])
        found += [(sample, t) for t in (_possible(config, entry) if named == ALL else named)]
    return found


def _possible(config: Mapping, sample: Mapping) -> list[str]:
    """Tuples whose inputs a sample has; what is misspelt, and no sample has, stays, to be refused."""
    own, known = set(SOURCES_OF_COLUMNS.get(sample["source"], {})), {name for columns in SOURCES_OF_COLUMNS.values() for name in columns}
    stores, found = stores_of(sample), []
    for name, entry in config["information"]["tuples"].items():
        seen = [Modality.from_config(m, config["modalities"][m]) for m in inputs_of(entry).values() if m in config["modalities"]]
        if not any(set(m.columns) & known - own or {i.store for i in m.images} - set(stores) for m in seen):
            found.append(name)
    return found


def inputs_of(entry: Mapping) -> dict[str, str]:
    """Modalities of a tuple by their part in it; ``against`` where there is one."""
    return {part: entry[part] for part in TUPLE if part in entry}


def stores_of(sample: Mapping) -> dict[str, Mapping]:
    """Images that a sample has: name of the store -> what the configuration says of them."""
    if sample["source"] == "mock":
        return dict(sample["images"])
    named = {"optical": sample.get("frames"), "infrared": sample.get("wise_cutouts")}
    return {name: entry for name, entry in named.items() if entry is not None}


def causality_of(config: Mapping, sample: str) -> dict:
    """Queries and conditions of the local tests of a sample."""
    return {key: config["causality"][key] for key in ("queries", "conditions")} | config["samples"][sample].get("causality", {})


def training_options(config: Mapping, modality: str) -> dict:
    """Section ``contrastive`` as far as the modality reads it."""
    seen = config["modalities"][modality].get("images")
    return {key: value for key, value in config["contrastive"].items() if seen or key != "images"}


def density_options(config: Mapping, modality: str) -> dict:
    """Options of the networks that measure information: section ``contrastive`` where ``information.training`` says nothing; nothing is decoded."""
    layers = [config["contrastive"], config["information"]["training"]]
    seen = config["modalities"][modality].get("images")
    layers = [one for layer in layers for one in (layer, layer.get("images", {}) if seen else {})]
    found = {key: value for layer in layers for key, value in layer.items() if key not in ("images", "loss_weights")}
    return found | {"extra_latent": 0}


def check_references(config: Mapping) -> None:
    """Raise `InputError` for a name that no section declares, or numbers that contradict each other."""
    for sample in config["run"]["samples"]:
        _declared(sample, config["samples"], "run.samples")
    for name, entry in config["samples"].items():
        _check_keys(f"samples.{name}", entry, {"source", "modalities"} | SOURCES[entry["source"]], {"causality", "graph", "tuples"}, entry["source"])
        if entry["source"] in CLASSES:
            _check_keys(f"samples.{name}.classes", entry["classes"], CLASSES[entry["source"]], set(), entry["source"])
        _check_sample(f"samples.{name}", entry)
    for name, entry in config["modalities"].items():
        _check_bins(f"modalities.{name}.bin_width", entry["bin_width"], config["contrastive"]["mass_range"])
    for sample, modality in models(config):
        _declared(modality, config["modalities"], f"samples.{sample}.modalities")
        source = config["samples"][sample]["source"]
        if source == "frames":
            raise InputError(f"config: samples.{sample}.modalities is not empty, and its source, frames, knows no masses")
        _require(_inputs(modality, config["modalities"][modality]), source, sample, f"config: modality {modality}")
        _check_inputs(modality, _inputs(modality, config["modalities"][modality]))
        _check_images(modality, config["modalities"][modality], sample, stores_of(config["samples"][sample]))
        # a network's own estimate may be a query or a condition, too
        tested = {name for names in causality_of(config, sample).values() for name in names} - {summaries.ESTIMATE}
        _require(sorted(tested), source, sample, "config: causality.queries or conditions")
    for key, options in (("contrastive", {}), ("contrastive.images", config["contrastive"]["images"])):
        options = config["contrastive"] | options
        _check_steps(key, options["max_steps"], options["validate_every"])
    _check_information(config)
    for sample in config["run"]["samples"]:
        _check_graph(f"samples.{sample}", config["samples"][sample], sample, config["modalities"], config["graphs"]["latent_components"])
    _check_deprojection(config["deprojection"])
    for name in config["run"]["galaxies"]:
        _declared(name, config["galaxies"], "run.galaxies")
    for name, entry in config["galaxies"].items():
        if name in config["samples"] or name == "deprojection":
            raise InputError(f"config: galaxies.{name} would share results/{name} with another part of the run; give it another name")
        _check_galaxy(f"galaxies.{name}", entry)
    _check_priors("fitting.priors", config["fitting"]["priors"])
    for model, priors in config["fitting"]["model_priors"].items():
        _check_priors(f"fitting.model_priors.{model}", priors)


def _check_information(config: Mapping) -> None:
    """Raise `InputError` for tuples that lack a model, unions that are none, bins or steps that do not fit."""
    information = config["information"]
    _check_bins("information.bin_width", information["bin_width"], config["contrastive"]["mass_range"])
    for kind, usual in (("", {}), (".images", information["training"].get("images", {}))):
        options = information["training"] | usual
        _check_steps(f"information.training{kind}", options["max_steps"], options["validate_every"])
    for name, edges in information["bins"].items():
        for pair in pairwise(edges):
            _increasing(f"information.bins.{name}", list(pair))
    blocks = {block for entry in config["samples"].values() for block in entry.get("information", {}).get("blocks", {})}
    for modality, block in information["truth"].items():
        if block not in blocks:
            raise InputError(f"config: information.truth.{modality} names '{block}'; known: {', '.join(sorted(blocks)) or 'no block of any sample'}")
    for sample, name in tuples(config):
        _declared(name, information["tuples"], f"samples.{sample}.tuples")
        source = config["samples"][sample]["source"]
        if source == "frames":
            raise InputError(f"config: samples.{sample}.tuples is not empty, and its source, frames, knows no masses")
        entry = information["tuples"][name]
        for part, modality in inputs_of(entry).items():
            _declared(modality, config["modalities"], f"information.tuples.{name}.{part}")
            _require(_inputs(modality, config["modalities"][modality]), source, sample, f"config: modality {modality} of tuple {name}")
            _check_images(modality, config["modalities"][modality], sample, stores_of(config["samples"][sample]))
        _check_union(name, *(config["modalities"][entry[part]] for part in TUPLE[:3]), entry["union"])


def _check_union(name: str, first: Mapping, second: Mapping, union: Mapping, called: str) -> None:
    """Raise `InputError` where the union has not exactly what first and second have."""
    alone, both = _seen(first) | _seen(second), _seen(union)
    if alone != both:
        lacking, more = (", ".join(sorted(map(" ".join, some))) for some in (alone - both, both - alone))
        said = [f"lacks {lacking}"] * bool(lacking) + [f"has {more} besides"] * bool(more)
        raise InputError(f"config: information.tuples.{name}.union: modality {called} must have what first and second have, and {' and '.join(said)}")


def _seen(entry: Mapping) -> set[tuple[str, ...]]:
    """Everything that a modality is fed; whether a column is a value or a scalar does not matter."""
    found = {(name,) for name in (*entry["values"], *entry["errors"], *entry["scalars"])}
    for images in Modality.from_config("", entry).images:
        found |= {("image", images.store, images.normalise, f"{images.n_pix or 'all'} pixels", band) for band in images.bands}
    return found


def _check_graph(key: str, entry: Mapping, sample: str, modalities: Mapping, n_component: int) -> None:
    """Raise `InputError` for variables of a causal graph that are not there, or knowledge that contradicts itself."""
    if "graph" not in entry:
        return
    graph, known = entry["graph"], [name for tier in entry["graph"]["tiers"] for name in tier]
    for modality in graph["estimates"]:
        _declared(modality, modalities, f"{key}.graph.estimates")
        _require(_inputs(modality, modalities[modality]), entry["source"], sample, f"config: modality {modality} of {key}.graph.estimates")
        _check_images(modality, modalities[modality], sample, stores_of(entry))
    require_columns(known, entry["source"], sample, f"config: {key}.graph.tiers")
    later = [name for modality in graph["estimates"] for name in summaries.names(modality, n_component)]
    try:
        Knowledge.of([*dict.fromkeys(known), *later], [*graph["tiers"], *([later] if later else [])], graph["forbidden"], graph["required"])
    except InputError as error:
        raise InputError(f"config: {key}.graph: {error}") from error


def _check_galaxy(key: str, entry: Mapping) -> None:
    """Raise `InputError` for an observation that lacks its source, or sizes that do not fit."""
    kind = entry["observation"]["kind"]
    missing = [name for name in OBSERVATIONS[kind] if name not in entry["observation"]]
    if missing:
        raise InputError(f"config: {key}.observation is of kind {kind} and lacks the key '{missing[0]}'")
    if kind == "simulation" and "simulation" not in entry:
        raise InputError(f"config: {key} lacks the key 'simulation', which its observation needs")
    optical = [model for model in entry["mass_models"] if model.startswith("mge")]
    if optical and kind != "simulation" and entry["mge_table"] is None:
        raise InputError(f"config: {key}.mge_table is null, and the mass model {optical[0]} needs one: resources/README.md says its form")
    if entry["grid"]["n_pix"] is not None:
        _ordered(f"{key}.model.n_pix", entry["model"]["n_pix"], f"{key}.grid.n_pix", entry["grid"]["n_pix"])
    for name in ("velocity_range_kms", "line_range_kms"):
        if entry["channels"][name] is not None:
            _increasing(f"{key}.channels.{name}", entry["channels"][name])
    if entry["channels"]["continuum_order"] is not None and entry["channels"]["line_range_kms"] is None:
        raise InputError(f"config: {key}.channels.line_range_kms is null, and channels.continuum_order asks for channels without line")
    _check_priors(f"{key}.priors", entry["priors"])


def _check_priors(key: str, priors: Mapping) -> None:
    require_known(key, priors)
    for name, prior in priors.items():
        needed = PRIORS[prior["kind"]]
        missing = [field for field in needed if field not in prior]
        if missing:
            raise InputError(f"config: {key}.{name} is {prior['kind']} and lacks the key '{missing[0]}'")
        require_reference(f"{key}.{name}", prior)
        # the lower limit may refer to something else than the upper one
        if "low" in prior and "high" in prior and prior.get("of") != "beam_and_field":
            _increasing(f"{key}.{name} from low to high", [prior["low"], prior["high"]])


def _check_deprojection(entry: Mapping) -> None:
    for name, axis in entry["grid"]["axes"].items():
        _increasing(f"deprojection.grid.axes.{name} from low to high", [axis["low"], axis["high"]])
    _increasing("deprojection.recipes.paper.sigma_range", entry["recipes"]["paper"]["sigma_range"])
    for i, pair in enumerate(entry["evaluation"]["sigma_ranges"]):
        _increasing(f"deprojection.evaluation.sigma_ranges[{i}]", pair)
    _ordered("deprojection.evaluation.exact_profiles", entry["evaluation"]["exact_profiles"], "profiles", entry["evaluation"]["profiles"])


def _require(columns: list[str], source: str, sample: str, needed_by: str) -> None:
    """Columns that are there, are numbers, and are not the answer."""
    require_columns(columns, source, sample, needed_by)
    words = [name for name in columns if name in WORDS]
    if words:
        raise InputError(f"{needed_by}: {', '.join(words)} holds words, and a number is needed")
    answers = [name for name in columns if name in ANSWERS]
    if answers:
        raise InputError(f"{needed_by}: {', '.join(answers)} is what is to be estimated")


def _check_inputs(modality: str, columns: list[str]) -> None:
    """Raise `InputError` where the inputs of a network add up to the mass."""
    if set(columns) >= GIVES_MASS:
        raise InputError(f"config: modality {modality} has {' and '.join(sorted(GIVES_MASS))}, whose ratio is what is to be estimated; leave one of them out")


def _check_steps(key: str, max_steps: int, validate_every: int) -> None:
    if max_steps % validate_every:
        raise InputError(f"config: {key}.validate_every is {validate_every}, which does not divide {key}.max_steps = {max_steps}")


def _inputs(name: str, entry: Mapping) -> list[str]:
    """Columns of a modality."""
    if not entry["values"] and "images" not in entry:
        raise InputError(f"config: modalities.{name} has neither values nor images; one of them is needed")
    return list(Modality.from_config(name, entry).columns)


def _check_images(modality: str, entry: Mapping, sample: str, stores: Mapping) -> None:
    """Raise `InputError` for images that the sample does not have."""
    wanted = Modality.from_config(modality, entry).images
    if len({images.store for images in wanted}) < len(wanted):
        raise InputError(f"config: modalities.{modality}.images names a store twice; give its bands in one entry")
    for images in wanted:
        if images.store not in stores:
            raise InputError(f"config: modality {modality} needs {images.store} images, which sample '{sample}' does not have")
        store = stores[images.store]
        missing = [band for band in images.bands if band not in store["bands"]]
        if missing:
            raise InputError(f"config: modality {modality} needs the {images.store} bands {', '.join(missing)}, which sample '{sample}' does not have")
        if (images.n_pix or 0) > store["n_pix"]:
            raise InputError(f"config: modalities.{modality}.images.n_pix is {images.n_pix}, and the stamps of sample '{sample}' have {store['n_pix']} pixels")


def _check_keys(key: str, entry: Mapping, needed: set, optional: set, source: str) -> None:
    """Raise `InputError` where a source lacks a key, or is given one that it does not read."""
    for name in sorted(needed - set(entry)):
        raise InputError(f"config: {key} lacks the key '{name}', which source {source} reads")
    for name in sorted(set(entry) - needed - optional):
        raise InputError(f"config: {key} has the key '{name}', which source {source} does not read")


def _declared(name: str, known: Mapping, key: str) -> None:
    if name not in known:
        raise InputError(f"config: {key} names '{name}'; known: {', '.join(known)}")


def _check_sample(key: str, entry: Mapping) -> None:
    if entry["source"] == "frames":
        _increasing(f"{key}.detection.mag_range", entry["detection"]["mag_range"])
        return
    total = sum(entry["split"].values())
    if abs(total - 1) > 1e-9:
        raise InputError(f"config: {key}.split adds up to {total:g}; 1 is expected")
    _increasing(f"{key}.redshift", entry["redshift"])
    if entry["source"] == "kcorrect_gst":
        _ordered(f"{key}.classes.nuv_r_blue", entry["classes"]["nuv_r_blue"], f"{key}.classes.nuv_r_red", entry["classes"]["nuv_r_red"])
    if entry["source"] == "mock":
        _increasing(f"{key}.class_limits from passive to star-forming", entry["class_limits"][::-1])
        if entry["redshift"][1] > FARTHEST_MOCK:
            raise InputError(f"config: {key}.redshift reaches {entry['redshift'][1]:g}; the spectra of source mock hold to {FARTHEST_MOCK:g}")


def _check_bins(key: str, width: float, mass_range: list[float]) -> None:
    _increasing("contrastive.mass_range", mass_range)
    n_bin = (mass_range[1] - mass_range[0]) / width
    if n_bin < 2 or abs(n_bin - round(n_bin)) > 1e-6:
        raise InputError(f"config: {key} is {width}, which does not divide contrastive.mass_range {mass_range} into bins")


def _increasing(key: str, pair: list[float]) -> None:
    if pair[0] >= pair[1]:
        raise InputError(f"config: {key} is {pair}; the first must be below the second")


def _ordered(low_key: str, low: float, high_key: str, high: float) -> None:
    if low > high:
        raise InputError(f"config: {low_key} is {low}, above {high_key} = {high}")
