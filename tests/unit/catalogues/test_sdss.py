"""The catalogue of the Main Galaxy Sample: columns against closed forms, the reddening rule, cuts that add up, Sersic matches."""

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from playing_archives import LIMITS, galaxies, matches

from galmass.catalogues import main_sample, sdss, wise
from galmass.catalogues.photometry import SDSS_EXTINCTION
from galmass.catalogues.schema import columns_of
from galmass.errors import InputError

OPTIONS = {
    "source": "sdss_mgs",
    "query": LIMITS | {"release": 17},
    "redshift": [0.005, 0.4],
    "max_petro_mag_err": {"u": 2.0, "g": 0.3, "r": 0.3, "i": 0.3, "z": 0.3},
    "wise": {"radius_arcsec": 3.0, "batch": 100},
    "classes": {"ssfr_star_forming": -10.8, "ssfr_passive": -11.8},
    "max_galaxies": 1000,
    "split": {"train": 0.5, "validation": 0.2, "test": 0.3},
    "seed": 5,
}
RAW = galaxies()


def found(raw=RAW):
    return wise.from_skyserver(matches(raw), raw["objid"])


def vagc(raw=RAW):
    """Positions 0.2 arcsec off, in another order, without the last galaxy, and with one that is nobody's."""
    sky = SkyCoord(raw["ra"], raw["dec"], unit="deg")[::-1][1:].directional_offset_by(80 * u.deg, 0.2 * u.arcsec)
    frame = pd.DataFrame({"ra": np.append(sky.ra.deg, 1.0), "dec": np.append(sky.dec.deg, -80.0)})
    return frame.assign(**{f"sersic_n_{b}": np.arange(len(frame)) * 0.01 + i + 0.5 for i, b in enumerate("ugriz")})


def built(raw, sersic_fits, options):
    """Both steps, with all notes."""
    places, cuts = main_sample.select(raw, options)
    frame, notes = sdss.build(raw, places, found(), sersic_fits, options)
    return frame, notes | {"cuts": cuts}


# --- reddening --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("release", "convention", "divisor"), [(17, "DR13 and later", 2.285), (13, "DR13 and later", 2.285), (12, "before DR13", 2.751)])
def test_reddening_by_release(release, convention, divisor):
    extinction = np.array([[0.01], [0.1], [0.9]]) * SDSS_EXTINCTION[convention]
    np.testing.assert_allclose(sdss.reddening(extinction, release), extinction[:, 2] / divisor, rtol=1e-12)
    other = next(name for name in SDSS_EXTINCTION if name != convention)
    with pytest.raises(InputError, match=f"the extinctions are those of releases {other}, but samples.<name>.query.release is {release}"):
        sdss.reddening(np.array([[0.1]]) * SDSS_EXTINCTION[other], release)


def test_ratio_of_neither_convention_is_refused():
    with pytest.raises(InputError, match=r"1\.874 .before DR13. or 1\.855 .from DR13 on."):
        sdss.reddening(np.array([[0.1]]) * (SDSS_EXTINCTION["DR13 and later"] * [1.02, 1, 1, 1, 1]), 17)


# --- columns ----------------------------------------------------------------------------------------------------------------


def test_photometry():
    frame = main_sample.measured(RAW)
    for i, band in enumerate("ugriz"):
        flux = RAW[f"petroFlux_{band}"]
        # bright galaxies: asinh and Pogson magnitudes agree, to 2e-4 mag at u = 20
        np.testing.assert_allclose(frame[f"petro_mag_{band}"], 22.5 - 2.5 * np.log10(flux), atol=3e-4)
        np.testing.assert_allclose(frame[f"petro_mag_err_{band}"], 1.0857362 * 0.02, rtol=5e-4)
        np.testing.assert_array_equal(frame[f"petro_flux_{band}"], flux)
        np.testing.assert_allclose(frame[f"petro_mag_{band}"] - frame[f"petro_mag_dered_{band}"], RAW[f"extinction_{band}"], atol=1e-12)
        for name, source in (("r50", "petroR50"), ("r90", "petroR90"), ("axis_ratio", "expAB"), ("rowc", "rowc"), ("colc", "colc")):
            np.testing.assert_array_equal(frame[f"{name}_{band}"], RAW[f"{source}_{band}"])
        assert i < 5
    np.testing.assert_allclose(frame["log_mass_err"], 0.09, atol=1e-6)
    np.testing.assert_array_equal(frame["log_mass"], RAW["lgm_tot_p50"])
    np.testing.assert_array_equal(frame["objid"], RAW["objid"])


def test_what_the_archive_did_not_measure_is_nan():
    raw = RAW.head(3).copy()
    for name in ("lgm_tot_p50", "specsfr_tot_p50", "sfr_tot_p50", "petroR50_u", "expAB_g", "petroFlux_z", "rowc_i", "zErr"):
        raw[name] = raw[name].astype(float)
        raw.loc[1, name] = -9999.0
    raw.loc[2, "lgm_tot_p50"], raw.loc[2, "petroR50_u"] = np.nan, -1000.0
    frame = main_sample.measured(raw)
    for name in ("log_mass", "ssfr", "sfr", "r50_u", "axis_ratio_g", "petro_mag_z", "petro_flux_z", "rowc_i", "z_err"):
        assert np.isfinite(frame[name][0])
        assert np.isnan(frame[name][1])
    assert frame.loc[2, ["log_mass", "r50_u"]].isna().all()
    assert frame["ssfr"][0] < 0  # a logarithm may be negative


def test_classes():
    ssfr = [-9.0, -10.79, -10.81, -11.79, -11.81, -13, np.nan]
    assert sdss.galaxy_class(ssfr, OPTIONS["classes"]).tolist() == ["star-forming", "star-forming", "other", "other", "passive", "passive", "other"]


# --- cuts -------------------------------------------------------------------------------------------------------------------


def test_cuts_are_counted_in_order_and_add_up():
    raw = RAW.copy()
    raw.loc[1, "z"], raw.loc[2, "zWarning"] = 0.41, 4
    raw.loc[3, "objid"], raw.loc[[3, 4], "zErr"] = raw.loc[4, "objid"], [2e-5, 1e-5]  # two spectra of one object: the better one stays
    raw.loc[9, "petroFlux_u"] = -0.1  # a measurement all the same
    raw.loc[5, "petroFlux_u"], raw.loc[6, "petroFluxIvar_g"] = -9999.0, (0.4 * raw.loc[6, "petroFlux_g"]) ** -2
    raw.loc[7, "extinction_r"], raw.loc[8, "lgm_tot_p50"] = -9999.0, -9999.0
    raw.loc[11, ["ra", "dec"]] = raw.loc[10, ["ra", "dec"]]
    frame, notes = built(raw, None, OPTIONS)
    removed = {count["cut"]: count["removed"] for count in notes["cuts"] if count["removed"]}
    assert list(removed.values()) == [1] * 8
    for part, cut in zip(
        (
            "redshift outside",
            "warning",
            "better spectrum",
            "is not known",
            "error in g above 0.3",
            "extinction",
            "no MPA-JHU",
            "repeated",
        ),
        removed,
        strict=True,
    ):
        assert part in cut
    left = [60, *(count["left"] for count in notes["cuts"])]
    assert all(before - count["removed"] == after for before, after, count in zip(left[:-1], left[1:], notes["cuts"], strict=True))
    assert len(frame) == left[-1] == 52
    assert sorted(set(raw["specobjid"]) - set(frame["specobjid"])) == sorted(raw["specobjid"].iloc[[1, 2, 3, 5, 6, 7, 8, 11]])


def test_no_galaxy_left():
    with pytest.raises(InputError, match=r"no galaxy survives the cuts: redshift outside 1 to 2 \(60\)"):
        built(RAW, None, OPTIONS | {"redshift": [1, 2]})


def test_places_depend_on_the_galaxies_alone():
    """What images hang on: no class, split or match in another archive changes a byte of it."""
    places, _ = main_sample.select(RAW, {key: OPTIONS[key] for key in ("redshift", "max_petro_mag_err", "max_galaxies", "seed")})
    assert list(places.columns) == list(main_sample.PLACES)
    np.testing.assert_array_equal(RAW["ra"].iloc[places["row"]], places["ra"])
    np.testing.assert_array_equal(built(RAW, None, OPTIONS | {"split": {"train": 0.2, "validation": 0.2, "test": 0.6}})[0]["galaxy_id"], places["galaxy_id"])


# --- the whole --------------------------------------------------------------------------------------------------------------


def test_build_keeps_every_quantity_with_its_galaxy():
    frame, notes = built(RAW, vagc(), OPTIONS | {"max_galaxies": 40})
    assert list(frame.columns) == list(columns_of("sdss_mgs"))
    assert len(frame) == 40
    assert "random subset of 40" in notes["cuts"][-1]["cut"]
    rows = pd.Series(range(60), index=RAW["specobjid"]).loc[frame["specobjid"]].to_numpy()
    np.testing.assert_array_equal(frame["ra"], RAW["ra"].iloc[rows])
    np.testing.assert_allclose(frame["ebv"], RAW["extinction_r"].iloc[rows] / 2.285, rtol=1e-12)
    np.testing.assert_array_equal(frame["sersic_n_u"].isna(), rows == 59)
    np.testing.assert_allclose(frame["sersic_n_u"].fillna(0.5), np.where(rows == 59, 0.5, (58 - rows) * 0.01 + 0.5))
    np.testing.assert_array_equal(frame["mag_w1"].isna() & frame["mag_w1_limit"].isna(), rows % 10 == 0)
    sources = matches(RAW).sort_values("separation_arcsec").drop_duplicates("objid").set_index("objid")
    for objid, row in frame.set_index("objid").iterrows():
        if objid in sources.index:
            source = sources.loc[objid]
            assert (row["mag_w2"] if source["w2sigmpro"] > 0 else row["mag_w2_limit"]) == source["w2mpro"]
    assert frame["split"].value_counts().to_dict() == {"train": 20, "validation": 8, "test": 12}
    assert notes["wise"]["without match"] == 6
    assert "MPA-JHU" in notes["mass"]
    assert "DR17" in notes["mass"]


def test_build_is_determined_by_the_seed():
    options = OPTIONS | {"max_galaxies": 40}
    first, again, other = (built(RAW, None, options | {"seed": seed})[0] for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert set(first["galaxy_id"]) != set(other["galaxy_id"])


def test_table_is_written_with_units(tmp_path):
    from galmass import stores

    frame, notes = built(RAW, vagc(), OPTIONS)
    stores.write_table(tmp_path / "galaxies.parquet", frame, columns_of("sdss_mgs"), notes)
    again = stores.read_table(tmp_path / "galaxies.parquet")
    np.testing.assert_array_equal(again["specobjid"], frame["specobjid"])  # all digits
    np.testing.assert_array_equal(again["mag_w3_limit"], frame["mag_w3_limit"])
    assert stores.table_metadata(tmp_path / "galaxies.parquet")["wise"] == notes["wise"]


def test_no_network_may_see_the_mass():
    from galmass.catalogues.schema import ANSWERS

    assert {name for name in columns_of("sdss_mgs") if name.startswith("log_mass")} == set(ANSWERS)
