"""What the graph implies, against hand-made answers and against the simulated galaxies themselves."""

import json

import networkx
import numpy as np
import pytest
from mock_options import OPTIONS

from galmass.catalogues import mock_information, simulation, truth
from galmass.errors import InputError
from galmass.images.rendering import Instrument, needed_columns

SETTINGS = simulation.settings_of(OPTIONS)
MOPT = [*(f"petro_mag_{b}" for b in "ugriz"), *(f"petro_mag_err_{b}" for b in "ugriz"), "ebv"]
BLOCKS = {"Mopt": MOPT, "MoptZspec": [*MOPT, "z"], "Iopt": [*truth.image_columns("ugriz"), "ebv"]}
NO_DUST_BY_INCLINATION = SETTINGS | {"attenuation_of_inclination": 0}


@pytest.fixture(scope="module")
def drawn():
    return truth.with_pixels(truth.graph(SETTINGS))


def test_pixels_show_what_images_are_rendered_from(drawn):
    """Each is the only cause of a value with noise of its own, and no measured column is among them."""
    plain, entry = truth.graph(SETTINGS), {key: {b: 1.0 for b in truth.ALL_BANDS} for key in ("psf_fwhm_arcsec", "sky_noise", "electrons")}
    instrument = Instrument.from_config(entry | {"bands": truth.ALL_BANDS, "n_pix": 16, "pixel_scale_arcsec": 1.0, "neighbours_per_arcmin2": 0.0})
    shown = truth.image_columns(truth.ALL_BANDS)
    assert set(drawn) - set(plain) == set(shown)
    assert {cause for name in shown for cause in drawn.predecessors(name)} == set(needed_columns(instrument))
    assert all(drawn.nodes[name]["random"] and drawn.in_degree(name) == 1 and drawn.out_degree(name) == 0 for name in shown)
    assert not any("true_mag" in name for name in truth.image_columns("gr", brightness=False))


def test_the_graph_is_acyclic_and_goes_through_json(drawn):
    assert networkx.is_directed_acyclic_graph(drawn)
    again = networkx.node_link_graph(json.loads(json.dumps(truth.to_json(drawn))), edges="edges")
    assert set(again.edges) == set(drawn.edges)
    assert dict(again.nodes(data="random")) == dict(drawn.nodes(data="random"))


@pytest.mark.parametrize(
    ("block", "query", "expected"),
    [
        ("Mopt", "inclination", "dependent"),  # dims and reddens
        ("Mopt", "z", "dependent"),
        ("Mopt", "sersic_n_r", "dependent"),
        ("Mopt", "r50_r", "dependent"),
        ("Mopt", "mag_w1", "dependent"),
        ("Mopt", "ra", "independent"),
        ("Mopt", "position_angle", "independent"),
        ("Mopt", "petro_mag_err_r", "determined"),
        ("Mopt", "petro_flux_r", "determined"),
        ("MoptZspec", "z", "determined"),
        ("Iopt", "sersic_n_r", "dependent"),  # measured with noise of its own: two measurements tell more than one
        ("Iopt", "petro_mag_r", "dependent"),
        ("Iopt", "ra", "independent"),
        ("Iopt", "inclination", "dependent"),
        ("Iopt", "position_angle", "independent"),
        ("Iopt", "z", "dependent"),
        ("Iopt", "environment", "dependent"),
    ],
)
def test_answers_for_the_inputs_of_the_paper(drawn, block, query, expected):
    assert truth.answer(drawn, query, BLOCKS[block]) == expected


def test_an_arrow_that_goes_changes_the_answer():
    drawn = truth.graph(NO_DUST_BY_INCLINATION)
    assert truth.answer(drawn, "inclination", MOPT) == "independent"
    assert truth.answer(drawn, "axis_ratio_r", MOPT) == "dependent"  # thicker where the Sersic index is larger
    round_or_flat = truth.graph(NO_DUST_BY_INCLINATION | {"thickness_of_sersic_n": 0})
    assert truth.answer(round_or_flat, "axis_ratio_r", MOPT) == "independent"


def test_morphology_without_mass_in_it_says_nothing_beyond_the_colours():
    blind = {name: 0 for name in ("sersic_n_of_mass", "size_of_mass", "gradients_of_mass", "morphology_of_ssfr")}
    drawn = truth.graph(SETTINGS | blind)
    assert truth.answer(drawn, "sersic_n_r", MOPT) == "independent"
    assert truth.answer(drawn, "r50_r", MOPT) == "dependent"  # apparent: it tells the distance, and with the magnitudes the mass
    assert truth.answer(drawn, "r50_r", [*MOPT, "z"]) == "dependent"  # in circles: the axis ratio tells of the dust
    assert truth.answer(drawn, "true_r50_r", [*MOPT, "z"]) == "independent"


def test_what_can_be_computed_is_known(drawn):
    assert truth.determined_by(drawn, {"axis_ratio", "sersic_n"}) >= {"inclination"}
    assert truth.determined_by(drawn, {"true_sersic_n_g", "true_sersic_n_i"}) >= {"sersic_n", "sersic_n_gradient", "true_sersic_n_u"}
    assert truth.answer(drawn, "z", ["sfr", "ssfr"]) == "determined"  # they are the mass


def test_inverses_hold_in_the_equations():
    """What is said to follow from other columns does: equal there, equal here, for 300 galaxies with all noise drawn anew."""
    values = simulation.draw(300, SETTINGS, 3)[0]
    thickness = np.clip(0.18 + SETTINGS["thickness_of_sersic_n"] * (values["sersic_n"] - 1), 0.12, 0.7)
    cosine = np.sqrt((values["axis_ratio"] ** 2 - thickness**2) / (1 - thickness**2))
    np.testing.assert_allclose(np.degrees(np.arccos(cosine)), values["inclination"], atol=1e-6)
    np.testing.assert_allclose(values["sfr"] - values["ssfr"], values["log_mass"], rtol=1e-12)


def test_an_unknown_column_is_named(drawn):
    with pytest.raises(InputError, match="no variables mag_j"):
        truth.answer(drawn, "mag_j", MOPT)


def test_answers_of_all_blocks_leave_out_queries_that_the_sky_does_not_have(drawn):
    rows = truth.answers(drawn, BLOCKS, ["z", "mag_k", "ra"])
    assert [(row["block"], row["query"]) for row in rows] == [(block, query) for block in BLOCKS for query in ("z", "ra")]
    assert {row["answer"] for row in rows} <= set(truth.ANSWERS)


def test_the_basis_of_independences_names_every_variable_once():
    rows = {row["variable"]: row for row in truth.implied_independences(SETTINGS)}
    assert set(rows) == set(truth.sky.variables)
    assert "inclination" in rows["log_mass"]["independent_of"]
    assert rows["attenuation"]["given"] == ["dust", "inclination"]
    assert "log_mass" in rows["attenuation"]["independent_of"]
    assert not {"attenuation", "true_mag"} & set(rows["dust"]["independent_of"])  # its effects


@pytest.mark.parametrize("strength", [0.0, 4.0])
def test_independent_means_no_correlation_with_what_an_ideal_network_leaves(strength):
    """Residual of the exact posterior mean given ugriz, 1200 galaxies, against what a quadratic leaves of the query.

    The correlation with what is independent has a standard error of 0.029: four of those.
    """
    settings = SETTINGS | {"attenuation_of_inclination": strength}
    values, masses = simulation.draw(1200, settings, 21)[0], mock_information.mass_grid(settings)
    posterior = np.exp(mock_information.log_posterior(masses, values, MOPT[:5], settings, 256))
    mean = np.trapezoid(posterior * masses, masses, axis=1)
    colours = values["petro_mag"] - values["petro_mag"][:, [2]]
    seen = np.column_stack([np.ones(len(mean)), mean, mean**2, colours[:, [0, 1, 3, 4]], colours[:, 0] ** 2, values["petro_mag"][:, 2]])
    drawn = truth.graph(settings)
    for query in ("inclination", "position_angle", "ra", "sersic_n_r"):
        q = truth.sky.table(values)[query]
        q = q - seen @ np.linalg.lstsq(seen, q, rcond=None)[0]
        correlation = np.corrcoef(values["log_mass"] - mean, q)[0, 1]
        assert (abs(correlation) < 0.116) == (truth.answer(drawn, query, MOPT) == "independent"), (query, correlation)
