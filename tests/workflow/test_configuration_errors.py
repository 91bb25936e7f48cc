"""A wrong configuration stops the run before any job, with one short sentence."""

import pytest
import yaml

WRONG = {
    "misspelt key": ({"causality": {"kk": 50}}, ["causality", "'kk'", "did you mean 'k'"]),
    "misspelt section": ({"contrastve": {}}, ["'contrastve'", "did you mean 'contrastive'"]),
    "out of range": ({"contrastive": {"learning_rate": -1}}, ["contrastive.learning_rate is -1", "> 0"]),
    "wrong type": ({"causality": {"k": "many"}}, ["causality.k is 'many'", "an integer"]),
    "unknown choice": ({"contrastive": {"network": "resnet"}}, ["contrastive.network is 'resnet'", "compact, paper"]),
    "not a number": ({"contrastive": {"learning_rate": float("nan")}}, ["contrastive.learning_rate is nan"]),
    "unknown modality": ({"samples": {"gst10k": {"modalities": ["Mradio"]}}}, ["'Mradio'", "Mopt"]),
    "unknown sample": ({"run": {"samples": ["dr99"]}}, ["'dr99'", "gst10k"]),
    "missing column": (
        {
            "modalities": {"Mwise": {"values": ["w1mpro", "w2mpro"], "errors": [], "scalars": {"ebv": "linear"}, "bin_width": 0.05}},
            "samples": {"gst10k": {"modalities": ["Mwise"]}},
        },
        ["modality Mwise", "w1mpro, w2mpro", "gst10k"],
    ),
    "unknown query": ({"causality": {"queries": ["axis_ratio"]}}, ["causality.queries", "axis_ratio", "gst10k"]),
    "bins": ({"modalities": {"Mopt": {"bin_width": 0.03}}}, ["modalities.Mopt.bin_width is 0.03", "mass_range"]),
    "range upside down": ({"contrastive": {"mass_range": [12.5, 6.0]}}, ["contrastive.mass_range is [12.5, 6.0]", "below"]),
    "no validation": ({"contrastive": {"max_steps": 10}}, ["contrastive.validate_every is 25, which does not divide contrastive.max_steps = 10"]),
    "leak": ({"modalities": {"Mopt": {"values": ["petro_mag_u", "log_mass"]}}}, ["modality Mopt", "log_mass is what is to be estimated"]),
    "words": ({"causality": {"queries": ["galaxy_class"]}}, ["galaxy_class holds words"]),
    "seed": ({"seeds": {"training": 5000000000}}, ["seeds.training is 5000000000", "<= 4294967295"]),
    "classes": ({"samples": {"gst10k": {"classes": {"nuv_r_blue": 6.0}}}}, ["nuv_r_blue is 6.0, above"]),
    "grid upside down": (
        {"deprojection": {"grid": {"axes": {"alpha": {"low": 5.0, "high": 1.0}}}}},
        ["deprojection.grid.axes.alpha from low to high is [5.0, 1.0]"],
    ),
    "unknown method": ({"deprojection": {"method": "spline"}}, ["deprojection.method is 'spline'", "surrogate, direct"]),
    "more exact profiles than profiles": ({"deprojection": {"evaluation": {"exact_profiles": 3000}}}, ["exact_profiles is 3000, above profiles = 2000"]),
    "misspelt key of a galaxy": (
        {"galaxies": {"ngc4697_mock": {"distance_mcp": 11.4}}},
        ["galaxies.ngc4697_mock", "'distance_mcp'", "did you mean 'distance_mpc'"],
    ),
    "unknown mass model": ({"galaxies": {"ngc4697_mock": {"mass_models": ["nfw"]}}}, ["mass_models.0 is 'nfw'", "nuker, mge"]),
    "unknown galaxy": ({"run": {"galaxies": ["m87"]}}, ["run.galaxies names 'm87'", "ngc4697_mock"]),
    "download of no record": (
        {"galaxies": {"ngc4697_mock": {"observation": {"kind": "zenodo"}}}},
        ["galaxies.ngc4697_mock.observation is of kind zenodo and lacks the key 'record'"],
    ),
    "image without table": (
        {"galaxies": {"ngc4697_mock": {"observation": {"kind": "file", "path": "a.ms"}}}},
        ["galaxies.ngc4697_mock.mge_table is null", "resources/README.md"],
    ),
    "image larger than the grid": ({"galaxies": {"ngc4697_mock": {"model": {"n_pix": 200}}}}, ["model.n_pix is 200, above", "grid.n_pix = 180"]),
    "prior upside down": ({"fitting": {"priors": {"gamma": {"low": 2.0}}}}, ["fitting.priors.gamma from low to high is [2.0, 1.2]"]),
    "frequency in GHz": (
        {"galaxies": {"ngc4697_mock": {"rest_frequency_hz": 230.538}}},
        ["galaxies.ngc4697_mock.rest_frequency_hz is 230.538", "a number >= 1000000000.0", "[Hz]"],
    ),
    "continuum without line": (
        {"galaxies": {"ngc4697_mock": {"channels": {"continuum_order": 1}}}},
        ["galaxies.ngc4697_mock.channels.line_range_kms is null", "channels without line"],
    ),
    "prior without width": ({"fitting": {"priors": {"q_intr": {"kind": "normal"}}}}, ["fitting.priors.q_intr is normal and lacks the key 'mean'"]),
    "key of another source": ({"samples": {"mock": {"folder": "frames"}}}, ["samples.mock", "'folder'", "source mock does not read"]),
    "sample without its keys": (
        {"samples": {"mgs": {"source": "sdss_mgs", "modalities": ["Mopt"]}}, "run": {"samples": ["mgs"]}},
        ["samples.mgs lacks the key 'classes'", "sdss_mgs"],
    ),
    "images that the sample lacks": ({"samples": {"gst10k": {"modalities": ["Iopt"]}}}, ["modality Iopt", "optical images", "gst10k"]),
    "band that the images lack": ({"modalities": {"Iopt": {"images": {"bands": ["r", "w1"]}}}}, ["modality Iopt", "bands w1", "mock"]),
    "store named twice": (
        {"modalities": {"Iopt": {"images": [{"store": "optical", "bands": [band]} for band in "gr"]}}},
        ["modalities.Iopt.images names a store twice"],
    ),
    "second store that the sample lacks": (
        {"modalities": {"Iopt": {"images": [{"store": name, "bands": bands} for name, bands in (("optical", ["r"]), ("infrared", ["w1"]))]}}},
        ["modality Iopt needs infrared images", "mock"],
    ),
    "image larger than the stamps": ({"modalities": {"Iopt": {"images": {"n_pix": 64}}}}, ["modalities.Iopt.images.n_pix is 64", "32 pixels"]),
    "masses of frames": (
        {
            "samples": {
                "f": {
                    "source": "frames",
                    "modalities": ["Mopt"],
                    "folder": "x",
                    "detection": {"mag_range": [12.0, 19.5], "min_size": 1.3, "edge": 40},
                    "frames": {"bands": ["r"], "n_pix": 64, "sub_pixel": True, "max_missing": 0.1, "chunks": 1, "keep": True},
                }
            },
            "run": {"samples": ["f"]},
        },
        ["samples.f.modalities", "knows no masses"],
    ),
    "tuple without its union": (
        {"information": {"tuples": {"g_r": {"union": "M_gri"}}}},
        ["information.tuples.g_r.union names 'M_gri'", "M_gr"],
    ),
    "union of something else": (
        {"information": {"tuples": {"g_r": {"union": "Mopt"}}}},
        ["information.tuples.g_r.union: modality Mopt must have what first and second have", "petro_mag_z besides"],
    ),
    "unknown tuple": ({"samples": {"gst10k": {"tuples": ["g_y"]}}}, ["samples.gst10k.tuples names 'g_y'", "g_r"]),
    "tuple of columns that the sample lacks": ({"samples": {"gst10k": {"tuples": ["sersic_n_g_r"]}}}, ["modality sersic_n_g of tuple sersic_n_g_r", "gst10k"]),
    "bins of information": ({"information": {"bins": {"log_mass": [9.0, 11.0, 10.0]}}}, ["information.bins.log_mass is [11.0, 10.0]", "below"]),
    "width of the bins": ({"information": {"bin_width": 0.03}}, ["information.bin_width is 0.03", "mass_range"]),
    "steps of information": ({"information": {"training": {"max_steps": 410}}}, ["information.training.validate_every is 25", "max_steps = 410"]),
    "block of the truth": ({"information": {"truth": {"Mopt": "griz"}}}, ["information.truth.Mopt names 'griz'", "ugriz"]),
    "prior": ({"information": {"prior": {"kind": "none"}}}, ["information.prior.kind is 'none'", "kernel, pseudo_count"]),
    "split": ({"samples": {"gst10k": {"split": {"train": 0.9}}}}, ["samples.gst10k.split adds up to"]),
    "redshift of the simulated sky": ({"samples": {"mock": {"redshift": [0.1, 1.5]}}}, ["samples.mock.redshift reaches 1.5", "hold to 0.54"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_value_is_one_short_message(fresh, tmp_path, name):
    overlay, said = WRONG[name]
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump(overlay))
    done = fresh.snakemake("--cores", "1", config=str(file), check=False)
    assert done.returncode != 0
    message = done.stdout[done.stdout.index("WorkflowError") :]
    for words in said:
        assert words in message
    assert len(message) < 600
    assert not (fresh.path / "results").exists()


def test_undeclared_wildcard_is_no_target(fresh):
    done = fresh.snakemake("-n", "results/gst10k/contrastive/Mnone/model.safetensors", check=False)
    assert done.returncode != 0
    assert "MissingRuleException" in done.stdout


def test_declared_modality_is_a_target(fresh):
    rules = fresh.planned("results/gst10k/contrastive/MoptMir/model.safetensors")
    assert rules == {"build_catalogue", "train_encoder"}


def test_paper_overlay_plans_the_default_rules(fresh):
    assert fresh.planned(config="config/paper.yaml") == fresh.planned(config=None)
