"""The configuration: what is shipped passes, what is wrong is said in one short sentence."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from galmass import configuration, plan
from galmass.errors import InputError

ROOT = Path(__file__).parents[2]
SCHEMA = configuration.load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
DEFAULT = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
OVERLAYS = [*sorted(p for p in (ROOT / "config").glob("*.yaml") if p.name != "config.yaml"), ROOT / "tests" / "workflow" / "tiny.yaml"]


def merged(base, overlay):
    """As Snakemake merges a second --configfile: tables key by key, everything else replaced."""
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return base | {key: merged(base.get(key), value) for key, value in overlay.items()}


def test_the_default_passes():
    configuration.check(DEFAULT, SCHEMA)


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda p: p.name)
def test_overlays_pass_on_top_of_the_default(path):
    overlay = yaml.safe_load(path.read_text())
    configuration.check(merged(DEFAULT, overlay), SCHEMA)
    assert merged(DEFAULT, overlay) != DEFAULT


def test_the_overlays_that_the_project_promises_are_there():
    assert {"paper.yaml", "tiny.yaml"} <= {p.name for p in OVERLAYS}


# --- wrong values ------------------------------------------------------------------------------------------------

DELETED = object()
SAMPLE = ("samples", "gst10k")
MOCK = ("galaxies", "ngc4697_mock")
# key, value, what the message must say: the key, the value, what is allowed
WRONG = {
    "misspelt key": (("contrastiv",), {}, ["the top level", "'contrastiv'", "did you mean 'contrastive'?"]),
    "misspelt nested key": ((*SAMPLE, "mass", "hubble_konstant"), 70.0, ["samples.gst10k.mass ", "'hubble_konstant'", "did you mean 'hubble_constant'?"]),
    "key like no other": (
        ("seeds", "xyzzy"),
        1,
        ["seeds ", "'xyzzy'", "known: baselines, density, deprojection, deprojection_evaluation, evaluation, fitting, graphs, information", "permutations"],
    ),
    "too large": ((*SAMPLE, "mass", "omega_m"), 1.2, ["samples.gst10k.mass.omega_m is 1.2", "a number > 0 and <= 1"]),
    "too small": (("causality", "k"), 4, ["causality.k is 4", "an integer >= 20 and <= 2000 [galaxies]", "nearest training galaxies"]),
    "at an open limit": ((*SAMPLE, "split", "train"), 1, ["samples.gst10k.split.train is 1", "a number > 0 and < 1"]),
    "negative": (("seeds", "training"), -1, ["seeds.training is -1", "an integer >= 0"]),
    "fraction of an integer": (("contrastive", "max_steps"), 10.5, ["contrastive.max_steps is 10.5", "an integer >= 1 [steps]"]),
    "odd number": (("contrastive", "batch_size"), 63, ["contrastive.batch_size is 63", "an integer >= 2 and <= 65536", "a multiple of 2"]),
    "truth for an integer": (("contrastive", "depth"), True, ["contrastive.depth is True", "an integer"]),
    "text for a number": (("contrastive", "learning_rate"), "1e-4", ["contrastive.learning_rate is '1e-4'", "a number > 0 and <= 1"]),
    "text for a list": (("causality", "queries"), "z", ["causality.queries is 'z'", "a list"]),
    "text for a table": (("contrastive", "loss_weights"), "equal", ["contrastive.loss_weights is 'equal'", "a table of keys"]),
    "number for a text": (("run", "samples"), [1], ["run.samples.0 is 1", "a text"]),
    "nothing for a table": (("recalibration",), None, ["recalibration is None", "a table of keys"]),
    "no such choice": (("contrastive", "network"), "big", ["contrastive.network is 'big'", "one of compact, paper"]),
    "no such choice, name of the user": (("modalities", "Mopt", "scalars", "ebv"), "cubic", ["modalities.Mopt.scalars.ebv is 'cubic'", "linear, log"]),
    "NaN": (("evaluation", "bootstrap"), float("nan"), ["evaluation.bootstrap is nan", "finite number"]),
    "infinity in a list": (("contrastive", "mass_range"), [6.0, float("inf")], ["contrastive.mass_range.1 is inf", "finite number"]),
    "empty list": (("run", "samples"), [], ["run.samples is []", "a list of", "1 entries"]),
    "list too short": ((*SAMPLE, "redshift"), [0.1], ["samples.gst10k.redshift is [0.1]", "a list of", "2 entries"]),
    "list too long": ((*SAMPLE, "mass", "ab_offset"), [0.0] * 6, ["samples.gst10k.mass.ab_offset is [0.0, ", "a list of", "5 entries", "[mag]"]),
    "entry out of range": ((*SAMPLE, "redshift"), [0.1, 3.0], ["samples.gst10k.redshift.1 is 3.0", "a number >= 0.001 and <= 2.0"]),
    "repeated entry": (("causality", "queries"), ["z", "z"], ["causality.queries is ['z', 'z']", "a list of", "twice"]),
    "misspelt key of a galaxy": ((*MOCK, "distance_mcp"), 11.4, ["galaxies.ngc4697_mock ", "'distance_mcp'", "did you mean 'distance_mpc'?"]),
    "misspelt key of its model": ((*MOCK, "model", "npix"), 96, ["galaxies.ngc4697_mock.model ", "'npix'", "did you mean 'n_pix'?"]),
    "missing key of a galaxy": ((*MOCK, "rest_frequency_hz"), DELETED, ["galaxies.ngc4697_mock lacks the key 'rest_frequency_hz'"]),
    "frequency in GHz": ((*MOCK, "rest_frequency_hz"), 230.538, ["ngc4697_mock.rest_frequency_hz is 230.538", "a number >= 1000000000.0", "[Hz]"]),
    "unknown mass model": ((*MOCK, "mass_models"), ["nfw"], ["galaxies.ngc4697_mock.mass_models.0 is 'nfw'", f"one of {', '.join(plan.MASS_MODELS)}"]),
    "mass model twice": ((*MOCK, "mass_models"), ["mge", "mge"], ["galaxies.ngc4697_mock.mass_models is ['mge', 'mge']", "none twice"]),
    "no mass model": ((*MOCK, "mass_models"), [], ["galaxies.ngc4697_mock.mass_models is []", "at least 1 entries"]),
    "unknown observation": ((*MOCK, "observation", "kind"), "ftp", ["observation.kind is 'ftp'", "one of simulation, file, zenodo, alma"]),
    "odd image": ((*MOCK, "model", "n_pix"), 95, ["galaxies.ngc4697_mock.model.n_pix is 95", "a multiple of 2"]),
    "face beyond the pole": ((*MOCK, "simulation", "truth", "inclination"), 95.0, ["simulation.truth.inclination is 95.0", "[deg]"]),
    "no such prior": (
        ("fitting", "priors", "gamma", "kind"),
        "flat",
        ["fitting.priors.gamma.kind is 'flat'", "one of uniform, log_uniform, normal"],
    ),
    "misspelt limit of a prior": (("fitting", "priors", "gamma", "hihg"), 1.0, ["fitting.priors.gamma ", "'hihg'", "did you mean 'high'?"]),
    "no such sampler": (("fitting", "sampler"), "nuts", ["fitting.sampler is 'nuts'", "one of delayed, mala, hmc"]),
    "no such likelihood": (("fitting", "likelihood"), "cauchy", ["fitting.likelihood is 'cauchy'", "student_t, gaussian, gaussian_x2"]),
    "too few chains": (("fitting", "chains"), 2, ["fitting.chains is 2", "an integer >= 4"]),
    "name of a galaxy twice": (("run", "galaxies"), ["a", "a"], ["run.galaxies is ['a', 'a']", "twice"]),
    "missing section": (("seeds",), DELETED, ["the top level lacks the key 'seeds'"]),
    "missing key": ((*SAMPLE, "max_petro_mag_err", "u"), DELETED, ["samples.gst10k.max_petro_mag_err lacks the key 'u'"]),
}


def with_value(path, value) -> dict:
    config = copy.deepcopy(DEFAULT)
    node = config
    for key in path[:-1]:
        node = node[key]
    if value is DELETED:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return config


@pytest.mark.parametrize(("path", "value", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_is_said_in_one_short_sentence(path, value, said):
    with pytest.raises(InputError) as caught:
        configuration.check(with_value(path, value), SCHEMA)
    message = str(caught.value)
    assert message.startswith("config: ")
    assert [part for part in said if part not in message] == [], message
    assert "\n" not in message
    assert len(message) < 300


# --- names and numbers that refer to each other ------------------------------------------------------------------

# of a real galaxy, whose table of an image exists
REAL = {"observation": {"kind": "file", "path": "a.ms"}, "mge_table": "mge.csv"}
# change of the galaxy (or of the configuration), what the message must say: the key, the value, the remedy
CONTRADICTIONS = {
    "zenodo without record": (
        REAL | {"observation": {"kind": "zenodo"}},
        ["galaxies.ngc4697_mock.observation is of kind zenodo and lacks the key 'record'"],
    ),
    "file without path": (REAL | {"observation": {"kind": "file"}}, ["observation is of kind file and lacks the key 'path'"]),
    "alma without member": (REAL | {"observation": {"kind": "alma", "source": "M83"}}, ["observation is of kind alma and lacks the key 'member_ous'"]),
    "simulation without section": ({"simulation": DELETED}, ["galaxies.ngc4697_mock lacks the key 'simulation'", "its observation needs"]),
    "image without table": (
        REAL | {"mge_table": None},
        ["galaxies.ngc4697_mock.mge_table is null", "mass model mge needs one", "resources/README.md says its form"],
    ),
    "image larger than the grid": (
        {"model": {"n_pix": 182}},
        ["galaxies.ngc4697_mock.model.n_pix is 182, above galaxies.ngc4697_mock.grid.n_pix = 180"],
    ),
    "band upside down": (
        {"channels": {"velocity_range_kms": [1600.0, 900.0]}},
        ["galaxies.ngc4697_mock.channels.velocity_range_kms is [1600.0, 900.0]; the first must be below the second"],
    ),
    "line of no width": (
        {"channels": {"line_range_kms": [1000.0, 1000.0]}},
        ["galaxies.ngc4697_mock.channels.line_range_kms is [1000.0, 1000.0]; the first must be below the second"],
    ),
    "continuum without line": (
        {"channels": {"continuum_order": 0}},
        ["galaxies.ngc4697_mock.channels.line_range_kms is null", "channels.continuum_order asks for channels without line"],
    ),
    "prior without limit": (
        {"priors": {"gamma": {"kind": "uniform", "low": 0.1}}},
        ["galaxies.ngc4697_mock.priors.gamma is uniform and lacks the key 'high'"],
    ),
    "normal prior without width": ({"priors": {"v_sys": {"kind": "normal", "mean": 1.0}}}, ["priors.v_sys is normal and lacks the key 'sd'"]),
    "fixed without value": ({"priors": {"q_intr": {"kind": "fixed", "low": 1.0}}}, ["priors.q_intr is fixed and lacks the key 'value'"]),
    "prior of no parameter": ({"priors": {"gama": {"kind": "fixed", "value": 1.0}}}, ["galaxies.ngc4697_mock.priors.gama is no parameter", "'gamma'?"]),
    "single number of beam and field": (
        {"priors": {"scale_length": {"kind": "fixed", "value": 1.0, "of": "beam_and_field"}}},
        ["galaxies.ngc4697_mock.priors.scale_length.of is beam_and_field", "the prior is fixed", "of: null"],
    ),
    "prior upside down": (
        {"priors": {"gamma": {"kind": "uniform", "low": 1.0, "high": 0.5}}},
        ["galaxies.ngc4697_mock.priors.gamma from low to high is [1.0, 0.5]; the first must be below the second"],
    ),
}


def with_galaxy(change) -> dict:
    """The default with changes of its galaxy, tables key by key."""
    config = copy.deepcopy(DEFAULT)
    entry = config["galaxies"]["ngc4697_mock"]
    for key, value in change.items():
        if value is DELETED:
            del entry[key]
        else:
            entry[key] = {**entry[key], **value} if key in ("model", "channels") else value
    return config


@pytest.mark.parametrize(("change", "said"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_galaxy_that_contradicts_itself_is_refused(change, said):
    config = with_galaxy(change)
    configuration.check(config, SCHEMA)  # no schema sees it
    with pytest.raises(InputError) as caught:
        plan.check_references(config)
    message = str(caught.value)
    assert message.startswith("config: ")
    assert [part for part in said if part not in message] == [], message
    assert len(message) < 300


@pytest.mark.parametrize(
    "change",
    [
        {},
        REAL,
        REAL | {"mge_table": None, "mass_models": ["nuker", "sersic"]},
        REAL | {"observation": {"kind": "zenodo", "record": 1}},
        REAL | {"observation": {"kind": "alma", "source": "M83", "member_ous": "uid://A001/X1/X1"}},
        {"model": {"n_pix": 180}},
        {"channels": {"continuum_order": 1, "line_range_kms": [900.0, 1600.0]}},
        {"priors": {"gamma": {"kind": "fixed", "value": 0.5}, "v_sys": {"kind": "normal", "mean": 1240.0, "sd": 10.0}}},
        {"priors": {"v_sys": {"kind": "normal", "mean": 0.0, "sd": 10.0, "of": "v_sys"}, "flux": {"kind": "fixed", "value": 16.3, "of": None}}},
        # a quarter beam and a tenth of the field: no two numbers of one kind
        {"priors": {"scale_length": {"kind": "log_uniform", "low": 0.5, "high": 0.1, "of": "beam_and_field"}}},
    ],
)
def test_a_galaxy_that_fits_together_passes(change):
    config = with_galaxy(change)
    configuration.check(config, SCHEMA)
    plan.check_references(config)


def test_an_image_may_fill_a_grid_of_unknown_size():
    config = with_galaxy({"model": {"n_pix": 500}})
    config["galaxies"]["ngc4697_mock"]["grid"]["n_pix"] = None
    plan.check_references(config)


@pytest.mark.parametrize("name", ["gst10k", "deprojection"])
def test_galaxies_and_other_parts_of_the_run_do_not_share_a_folder(name):
    config = with_value(("galaxies", name), DEFAULT["galaxies"]["ngc4697_mock"])
    with pytest.raises(InputError, match=f"galaxies.{name} would share results/{name} with another part of the run; give it another name"):
        plan.check_references(config)


def test_inputs_that_add_up_to_the_mass_are_refused():
    config = with_value(("run", "samples"), ["mock"])
    config["samples"]["mock"]["tuples"] = []
    for scalars in ({"ssfr": "linear"}, {"sfr": "linear"}):
        config["modalities"]["Mopt"]["scalars"] = scalars
        plan.check_references(config)
    config["modalities"]["Mopt"]["scalars"] = {"sfr": "linear", "ssfr": "linear"}
    with pytest.raises(InputError, match="modality Mopt has sfr and ssfr, whose ratio is what is to be estimated"):
        plan.check_references(config)


def test_the_paper_s_unions_can_be_trained_on_the_mock():
    overlay = yaml.safe_load((ROOT / "config" / "modalities.yaml").read_text())
    chosen = {
        "run": {"samples": ["mock"]},
        "samples": {"mock": {"modalities": ["MoptMorph", "MoptIoptnorm", "MoptWise", "IoptWise", "Zspec", "IoptWiseZspec"]}},
    }
    plan.check_references(merged(merged(DEFAULT, overlay), chosen))


def with_overlays(*names):
    """The default with files of config/ behind it, one over the other."""
    config = DEFAULT
    for name in names:
        config = merged(config, yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text()))
    return config


@pytest.mark.parametrize(("last", "sample"), [("paper", "mock"), ("sdss_mgs", "sdss_mgs")])
def test_overlays_with_all_tuples_of_the_paper_train_as_the_paper_does(last, sample):
    declared = yaml.safe_load((ROOT / "config" / "tuples.yaml").read_text())["information"]["tuples"]
    config = with_overlays("modalities", "tuples", last)
    configuration.check(config, SCHEMA)
    plan.check_references(config)
    assert set(declared) <= {t for s, t in plan.tuples(config) if s == sample}
    for modality in ("Mopt", "Iopt", "IoptWiseZspec"):
        options = plan.density_options(config, modality)
        found = {key: options[key] for key in ("network", "batch_size", "learning_rate", "schedule", "max_steps", "weight_decay", "gradient_clip_norm")}
        assert list(found.values()) == ["paper", 128, 1e-4, "step", 180000, 0, 0]
        assert options["max_steps"] / 3 == options["patience"] * options["validate_every"]


def test_the_survey_has_tuples_and_a_graph_by_itself():
    config = with_overlays("sdss_mgs")
    plan.check_references(config)
    assert {("sdss_mgs", "Mopt_Morph"), ("sdss_mgs", "Iopt_Wise"), ("sdss_mgs", "sersic_n_g_r")} <= set(plan.tuples(config))
    assert config["samples"]["sdss_mgs"]["graph"]["estimates"] == ["Mopt", "Iopt"]


def test_all_tuples_are_those_whose_columns_and_images_a_sample_has():
    config = with_value(("samples", "gst10k", "tuples"), "all")
    assert [t for s, t in plan.tuples(config) if s == "gst10k"] == ["Mopt_Jhk", "u_r", "g_r"]
    config = with_value(("samples", "mock", "tuples"), "all")
    assert "Mopt_Jhk" not in [t for s, t in plan.tuples(config) if s == "mock"]
    config["modalities"]["Iopt"]["images"]["store"] = "infrared"
    assert "Iopt_Wise" not in [t for s, t in plan.tuples(config) if s == "mock"]


def test_a_misspelt_column_of_all_tuples_is_refused():
    config = with_value(("samples", "mock", "tuples"), "all")
    config["modalities"]["M_g"]["values"] = ["petro_mag_gg"]
    with pytest.raises(InputError, match="modality M_g of tuple g_r needs the columns petro_mag_gg"):
        plan.check_references(config)
    config["information"]["tuples"]["g_r"]["first"] = "M_gg"
    with pytest.raises(InputError, match=r"information.tuples.g_r.first names 'M_gg'"):
        plan.check_references(config)


def test_only_declared_galaxies_are_run():
    with pytest.raises(InputError, match=r"config: run.galaxies names 'm87'; known: ngc4697_mock"):
        plan.check_references(with_value(("run", "galaxies"), ["ngc4697_mock", "m87"]))


def test_common_priors_are_checked_too():
    with pytest.raises(InputError, match=r"config: fitting.priors.gamma is uniform and lacks the key 'low'"):
        plan.check_references(with_value(("fitting", "priors", "gamma"), {"kind": "uniform", "high": 1.0}))
    with pytest.raises(InputError, match=r"config: fitting.priors.v_sys from low to high is \[100.0, -100.0\]"):
        plan.check_references(with_value(("fitting", "priors", "v_sys"), {"kind": "uniform", "low": 100.0, "high": -100.0, "of": "v_sys"}))
    fixed = {"kind": "fixed", "value": 1.0}
    with pytest.raises(InputError, match=r"config: fitting.priors.alpa is no parameter of a galaxy; did you mean 'alpha'"):
        plan.check_references(with_value(("fitting", "priors", "alpa"), fixed))
    with pytest.raises(InputError, match=r"config: fitting.model_priors.sersic.x is no parameter of a galaxy; known: .*, scale_length"):
        plan.check_references(with_value(("fitting", "model_priors"), {"sersic": {"x": fixed}}))


def test_the_mass_models_of_the_schema_are_those_of_the_plan():
    assert tuple(LEAVES["galaxies.<name>.mass_models"]["items"]["enum"]) == plan.MASS_MODELS


def test_the_kinds_of_the_schema_are_those_of_the_plan():
    assert set(LEAVES["galaxies.<name>.observation.kind"]["enum"]) == set(plan.OBSERVATIONS)
    for key in ("galaxies.<name>.priors.<name>.kind", "fitting.priors.<name>.kind"):
        assert set(LEAVES[key]["enum"]) == set(plan.PRIORS), key


@pytest.mark.parametrize("config", [None, [], "text", {}], ids=repr)
def test_a_file_that_is_no_configuration_is_refused(config):
    with pytest.raises(InputError, match="config: the top level"):
        configuration.check(config, SCHEMA)


def test_of_two_mistakes_the_one_nearer_to_the_top_is_said():
    config = with_value(("causality", "k"), -1) | {"unknown": 1}
    with pytest.raises(InputError, match="unknown key 'unknown'"):
        configuration.check(config, SCHEMA)


def test_check_does_not_change_the_configuration():
    config = copy.deepcopy(DEFAULT)
    configuration.check(config, SCHEMA)
    assert config == DEFAULT


# --- the schema and its table ------------------------------------------------------------------------------------


def leaves(node: dict, path: tuple = ()):
    """Leaf keys of the schema, found here without the code under test."""
    children = dict(node.get("properties", {}))
    if isinstance(node.get("additionalProperties"), dict):
        children["<name>"] = node["additionalProperties"]
    if not children:
        yield ".".join(path), node
    for name, child in children.items():
        yield from leaves(child, (*path, name))


LEAVES = dict(leaves(SCHEMA))


def test_rows_are_the_leaves_of_the_schema():
    assert dict(configuration.rows(SCHEMA)) == LEAVES
    assert len(LEAVES) > 50


def test_every_leaf_says_what_it_is_and_which_rules_read_it():
    rules = {
        name
        for path in (ROOT / "workflow" / "rules").glob("*.smk")
        for name in re.findall(r"^(?:rule|checkpoint|use rule \w+ as) (\w+)(?: with)?:", path.read_text(), re.M)
    }
    assert {"build_catalogue", "find_neighbours"} <= rules
    for key, node in LEAVES.items():
        assert node.get("description"), key
        assert node.get("read_by"), key
        assert set(node["read_by"]) <= rules | {"all rules"}, key


def test_every_table_of_the_schema_is_closed():
    def tables(node, path=("config",)):
        if node.get("type") == "object":
            yield path, node
        for name, child in node.get("properties", {}).items():
            yield from tables(child, (*path, name))
        if isinstance(node.get("additionalProperties"), dict):
            yield from tables(node["additionalProperties"], (*path, "<name>"))

    for path, node in tables(SCHEMA):
        assert node.get("additionalProperties") is False or "properties" not in node, path
        assert set(node.get("required", ())) <= set(node.get("properties", {})), path


def table_rows() -> dict[str, list[str]]:
    lines = configuration.markdown_table(SCHEMA, DEFAULT).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in cells} == {5}  # a bar inside a cell would shift the columns
    assert set(cells[1]) == {"---"}
    return {row[0].strip("`"): row for row in cells[2:]}


def test_the_table_has_one_row_for_every_leaf():
    assert list(table_rows()) == list(LEAVES)
    assert len(configuration.markdown_table(SCHEMA, DEFAULT).splitlines()) == len(LEAVES) + 2


def test_the_table_says_range_unit_default_meaning_and_readers():
    row = table_rows()["causality.k"]
    assert row == [
        "`causality.k`",
        "an integer >= 20 and <= 2000 [galaxies]",
        f"`{DEFAULT['causality']['k']}`",
        LEAVES["causality.k"]["description"],
        "`find_neighbours`",
    ]


def test_the_table_gives_the_default_of_every_key():
    """For names that the user chooses: that of the first entry; nothing where the default has no such key."""
    for key, row in table_rows().items():
        value = DEFAULT
        for part in key.split("."):
            value = next(iter(value.values()), {}) if part == "<name>" else value.get(part, {})
        assert row[2] == ("" if value == {} else f"`{value}`"), key
    assert table_rows()["galaxies.<name>.observation.path"][2] == ""


def test_the_committed_table_of_keys_is_up_to_date():
    paths = [ROOT / "workflow" / "schemas" / "config.schema.yaml", ROOT / "config" / "config.yaml", ROOT / "config" / "README.md"]
    assert configuration.document(*paths, check_only=True), "run make docs"


def test_a_table_of_keys_that_is_not_up_to_date_is_noticed_and_written_only_when_asked(tmp_path):
    schema, config, readme = ROOT / "workflow" / "schemas" / "config.schema.yaml", tmp_path / "config.yaml", tmp_path / "README.md"
    config.write_text(yaml.safe_dump(DEFAULT, sort_keys=False))
    assert not configuration.document(schema, config, readme, check_only=True)
    assert not readme.exists()
    assert configuration.document(schema, config, readme, check_only=False)
    assert configuration.markdown_table(SCHEMA, DEFAULT) in readme.read_text()
    config.write_text(yaml.safe_dump(with_value(("causality", "k"), 77), sort_keys=False))
    before = readme.read_text()
    assert not configuration.document(schema, config, readme, check_only=True)
    assert readme.read_text() == before


def test_a_bad_name_and_an_empty_table_are_said():
    default, schema, check = DEFAULT, SCHEMA, configuration.check
    with pytest.raises(InputError, match=r"samples has the name 'my sample!'; letters"):
        check({**default, "samples": {"my sample!": default["samples"]["gst10k"]}}, schema)
    with pytest.raises(InputError, match=r"samples is empty"):
        check({**default, "samples": {}}, schema)


def test_a_float_is_no_integer_and_a_long_value_is_cut():
    default, schema, check = DEFAULT, SCHEMA, configuration.check
    with pytest.raises(InputError, match=r"seeds.training is 1.0; an integer"):
        check({**default, "seeds": {**default["seeds"], "training": 1.0}}, schema)
    with pytest.raises(InputError) as caught:
        check({**default, "contrastive": {**default["contrastive"], "network": "x" * 1000}}, schema)
    assert len(str(caught.value)) < 300
