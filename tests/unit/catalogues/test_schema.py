"""Columns of the catalogues: what other stages rely on, their units, the error that names what lacks."""

import pytest
from astropy import units

from galmass.catalogues import schema
from galmass.errors import InputError

INTERFACE = [
    *("galaxy_id", "ra", "dec", "z", "ebv", "log_mass", "log_mass_err", "galaxy_class", "split"),
    *(f"{name}_{band}" for name in ("petro_mag", "petro_mag_err", "model_mag") for band in "ugriz"),
    *(f"mag_{band}{suffix}" for band in ("j", "h", "k", "fuv", "nuv") for suffix in ("", "_err")),
]


def test_the_columns_that_others_rely_on_are_there():
    assert set(INTERFACE) <= set(schema.columns_of("kcorrect_gst"))


@pytest.mark.parametrize("source", schema.SOURCES)
def test_every_column_has_a_description_and_a_unit_that_astropy_knows(source):
    for name, column in schema.columns_of(source).items():
        assert column.description, name
        assert "{" not in column.description, name
        units.Unit(column.unit)


def test_units_of_columns_that_travel():
    columns = schema.columns_of("kcorrect_gst")
    assert {columns[name].unit for name in INTERFACE if "mag" in name} == {"mag"}
    assert [units.Unit(columns[name].unit) for name in ("ra", "log_mass", "z")] == [units.deg, units.dex(units.solMass), units.dimensionless_unscaled]


def test_every_sample_has_the_common_columns():
    for columns in schema.SOURCES.values():
        assert set(schema.COMMON) <= set(columns)


IMAGE_INTERFACE = [
    *(f"{name}_{band}" for name in ("r50", "r90", "axis_ratio", "sersic_n", "petro_flux") for band in "ugriz"),
    *("mag_w1", "mag_w2", "mag_w3", "mag_w1_err", "mag_w2_err", "mag_w1_limit", "mag_w2_limit", "mag_w3_limit", "sfr", "ssfr"),
]


def test_the_simulated_sky_has_the_columns_of_images_and_wise():
    columns = schema.columns_of("mock")
    assert set(IMAGE_INTERFACE) <= set(columns)
    assert {units.Unit(columns[f"petro_flux_{b}"].unit) for b in "ugriz"} == {units.nmgy}
    assert {columns[f"r50_{b}"].unit for b in "ugriz"} == {"arcsec"}


def test_frame_positions_are_labelled_for_every_band():
    assert {"run", "rerun", "camcol", "field"} | {f"{name}_{b}" for name in ("rowc", "colc") for b in "ugriz"} == set(schema.SDSS_FRAMES)


def test_columns_that_are_there_pass():
    schema.require_columns(INTERFACE, "kcorrect_gst", "gst10k", "a test")


def test_missing_columns_are_named_with_sample_and_user():
    with pytest.raises(InputError) as caught:
        schema.require_columns(["petro_mag_r", "mag_w1", "sersic_n"], "kcorrect_gst", "gst10k", "modality Morph")
    message = str(caught.value)
    assert "mag_w1, sersic_n" in message
    assert "petro_mag_r" not in message
    assert all(part in message for part in ("'gst10k'", "modality Morph", "kcorrect_gst"))
