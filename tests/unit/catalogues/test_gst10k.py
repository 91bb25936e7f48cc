"""The catalogue of the galaxies that kcorrect ships: the real table, made-up rows for the cuts, small builds."""

import hashlib
import re

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack

from galmass.catalogues import gst10k, selection
from galmass.catalogues.masses import MassEstimator, Photometry
from galmass.catalogues.schema import CLASSES, SPLITS, columns_of
from galmass.errors import InputError

BANDS = "ugriz"
OPTIONS = {
    "source": "kcorrect_gst",
    "max_galaxies": 200,
    "seed": 11,
    "split": {"train": 0.55, "validation": 0.15, "test": 0.30},
    "redshift": [0.01, 0.25],
    "max_petro_mag_err": {"u": 2.0, "g": 0.3, "r": 0.3, "i": 0.3, "z": 0.3},
    "mass": {
        "hubble_constant": 70.0,
        "omega_m": 0.3,
        "ab_offset": [-0.036, 0.012, 0.010, 0.028, 0.040],
        "error_floor": [0.05, 0.02, 0.02, 0.02, 0.03],
        "redshift_step": 0.005,
        "perturbations": 3,
    },
    "classes": {"nuv_r_blue": 4.0, "nuv_r_red": 5.0, "u_r_margin": 0.10},
}


@pytest.fixture(scope="module")
def raw():
    return gst10k.read(gst10k.installed_path())


@pytest.fixture(scope="module")
def measured(raw):
    return gst10k.measured(raw)


# --- reading -------------------------------------------------------------------------------------------------------


def test_the_installed_table_is_the_one_expected(raw):
    assert len(raw) == 10_000
    assert raw["PETROFLUX"].shape == (10_000, 5)
    assert hashlib.sha256(gst10k.installed_path().read_bytes()).hexdigest() == gst10k.SHA256


def test_a_missing_file_is_named_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.fits is missing; install kcorrect==5\.1\.9"):
        gst10k.read(tmp_path / "nothing.fits")


def test_another_file_is_refused(tmp_path):
    content = bytearray(gst10k.installed_path().read_bytes())
    content[-5000] ^= 1  # one bit of one number
    (tmp_path / "gst.fits").write_bytes(content)
    with pytest.raises(InputError, match=r"gst\.fits has SHA-256 .* expected d7e87e8abc45"):
        gst10k.read(tmp_path / "gst.fits")


def test_lacking_columns_are_named(tmp_path, raw):
    path = tmp_path / "gst.fits"
    Table(raw[:2], copy=True)["RA", "DEC", "Z", "PETROFLUX", "MODELFLUX", "NUV_FLUX_AUTO", "J_M_EXT"].write(path)
    with pytest.raises(InputError, match=r"lacks the columns EXTINCTION, PETROFLUX_IVAR, MODELFLUX_IVAR"):
        gst10k.read(path, hashlib.sha256(path.read_bytes()).hexdigest())


# --- designations --------------------------------------------------------------------------------------------------


def truncated(sky: SkyCoord) -> list[str]:
    """Astropy's sexagesimal text with seven more digits than needed, cut off."""
    names = []
    for text in sky.to_string("hmsdms", sep="", pad=True, precision=9):
        ra, dec = text.split()
        names.append(f"SDSS J{ra[: ra.index('.') + 3]}{dec[: dec.index('.') + 2]}")
    return names


@pytest.fixture(scope="module")
def names(raw):
    return truncated(SkyCoord(raw["RA"], raw["DEC"], unit="deg"))


def test_designations_are_truncated_as_the_iau_asks(raw, names):
    assert selection.designation(SkyCoord(raw["RA"], raw["DEC"], unit="deg")) == names


def test_designations_of_awkward_positions():
    sky = SkyCoord([0.0, 359.9999, 10.0, 15.0, 150.0], [-0.0001, 0.0, -9.99999, 89.99999, -0.5], unit="deg")
    names = selection.designation(sky)
    assert names == truncated(sky)
    assert names[0] == "SDSS J000000.00-000000.3"  # -0.36 arcsec: the sign of degree 0, and no rounding to 0.4
    assert all(re.fullmatch(r"SDSS J\d{6}\.\d\d[+-]\d{6}\.\d", name) for name in names)


def test_designations_of_exact_positions_do_not_fall_short():
    """Many exact hundredths of a second and tenths of an arcsecond are a hair below themselves in floating point."""
    generator = np.random.default_rng(1)
    centiseconds, tenths = generator.integers(0, 24 * 360_000, 2000), generator.integers(0, 90 * 36_000, 2000)
    names = selection.designation(SkyCoord(centiseconds / 360_000 * 15, tenths / 36_000, unit="deg"))
    for name, c, t in zip(names, centiseconds, tenths, strict=True):
        (hours, c), (degrees, t) = divmod(c, 360_000), divmod(t, 36_000)
        assert name == f"SDSS J{hours:02d}{c // 6000:02d}{c % 6000 / 100:05.2f}+{degrees:02d}{t // 600:02d}{t % 600 / 10:04.1f}"


# --- measured quantities -------------------------------------------------------------------------------------------


def test_magnitudes_are_those_of_the_fluxes(raw, measured):
    flux, inverse_variance = (np.asarray(raw[name], float) for name in ("PETROFLUX", "PETROFLUX_IVAR"))
    for i, band in enumerate(BANDS):
        good = (flux[:, i] > 0) & (inverse_variance[:, i] > 0)
        magnitude = 22.5 - 2.5 * np.log10(flux[good, i])
        np.testing.assert_allclose(measured[f"petro_mag_{band}"][good], magnitude, rtol=1e-14)
        # first order in the relative error, which is the definition; 1.0857 = 2.5 / ln 10
        np.testing.assert_allclose(measured[f"petro_mag_err_{band}"][good], 1.0857362 / flux[good, i] / inverse_variance[good, i] ** 0.5, rtol=1e-7)
        np.testing.assert_allclose(measured[f"petro_mag_dered_{band}"][good], magnitude - raw["EXTINCTION"][good, i], atol=1e-12)
        assert measured.loc[~good, [f"petro_mag_{band}", f"petro_mag_err_{band}", f"petro_mag_dered_{band}"]].isna().all(axis=None)
        model = np.asarray(raw["MODELFLUX"], float)[:, i]
        np.testing.assert_allclose(measured[f"model_mag_{band}"][model > 0], 22.5 - 2.5 * np.log10(model[model > 0]), rtol=1e-14)


def test_reddening_is_that_of_the_old_sdss_convention(raw, measured):
    for i, coefficient in enumerate((5.155, 3.793, 2.751, 2.086, 1.479)):
        # the five extinctions of the table are float32 and rounded
        np.testing.assert_allclose(measured["ebv"] * coefficient, raw["EXTINCTION"][:, i], rtol=2e-3)


def test_positions_and_redshifts_are_copied(raw, measured, names):
    for name in ("RA", "DEC", "Z"):
        np.testing.assert_array_equal(measured[name.lower()], np.asarray(raw[name], float))
    assert list(measured["galaxy_id"]) == names


@pytest.mark.parametrize(("column", "source"), [(f"mag_{b}{s}", f"{b.upper()}_{m}_EXT") for b in "jhk" for s, m in (("", "M"), ("_err", "MSIG"))])
def test_what_2mass_did_not_measure_is_nan(raw, measured, column, source):
    values = np.asarray(raw[source], float)
    np.testing.assert_array_equal(measured[column], np.where(values > 0, values, np.nan))
    assert measured[column].min() > 0


@pytest.mark.parametrize("band", ["fuv", "nuv"])
def test_what_galex_did_not_measure_is_nan(raw, measured, band):
    flux, error = (np.asarray(raw[f"{band.upper()}_{name}_AUTO"], float) for name in ("FLUX", "FLUXERR"))
    seen = (flux > 0) & (error > 0)
    assert 0 < seen.sum() < len(raw)
    np.testing.assert_array_equal(measured[f"mag_{band}"].notna(), seen)
    np.testing.assert_array_equal(measured[f"mag_{band}_err"].notna(), seen)
    # zero-points of Morrissey et al. 2007: one count per second
    np.testing.assert_allclose(measured[f"mag_{band}"][seen], {"fuv": 18.82, "nuv": 20.08}[band] - 2.5 * np.log10(flux[seen]), rtol=1e-14)
    np.testing.assert_allclose(measured[f"mag_{band}_err"][seen], 1.0857362 * error[seen] / flux[seen], rtol=1e-7)


@pytest.mark.parametrize("missing", [0.0, -99.0, np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("error")
def test_every_way_to_say_missing_gives_nan(raw, missing):
    rows = Table(raw[:3], copy=True)
    for name in rows.colnames:
        if name.endswith("_EXT") or "_AUTO" in name:
            rows[name] = np.array([missing, 5.0, missing])
    frame = gst10k.measured(rows)
    columns = [f"mag_{b}{s}" for b in ("j", "h", "k", "fuv", "nuv") for s in ("", "_err")]
    assert frame.loc[[0, 2], columns].isna().all(axis=None)
    assert frame.loc[1, columns].notna().all()


# --- cuts ----------------------------------------------------------------------------------------------------------


def test_cuts_are_counted_in_order_and_add_up(raw):
    """Six made-up offenders, one of them against two cuts, among real galaxies."""
    good = selection.apply_cuts(gst10k.quality_cuts(gst10k.measured(raw[:300]), OPTIONS))[0]
    rows = Table(raw[:300][good][:40], copy=True)
    rows = vstack([rows, rows[:1]])  # its position twice: the second goes
    rows["Z"][3], rows["Z"][4] = 0.009, 0.2501
    rows["PETROFLUX"][5, 1], rows["PETROFLUX_IVAR"][6, 4] = -1.0, 0.0
    rows["PETROFLUX_IVAR"][7, 0] = (1.0857362 / rows["PETROFLUX"][7, 0] / 2.01) ** 2  # error 2.01 mag in u
    rows["PETROFLUX_IVAR"][8, 2] = (1.0857362 / rows["PETROFLUX"][8, 2] / 0.301) ** 2  # error 0.301 mag in r
    rows["PETROFLUX"][3, 0] = -1.0  # a second reason for a row that the first cut takes
    kept, counts = selection.apply_cuts(gst10k.quality_cuts(gst10k.measured(rows), OPTIONS))
    assert [entry["removed"] for entry in counts] == [2, 2, 1, 0, 1, 0, 0, 1]
    assert [entry["left"] for entry in counts] == [39, 37, 36, 36, 35, 35, 35, 34]
    np.testing.assert_array_equal(np.flatnonzero(~kept), [3, 4, 5, 6, 7, 8, 40])
    names = [entry["cut"] for entry in counts]
    assert "redshift" in names[0]
    assert "not positive" in names[1]
    assert [re.search(r"error in (.) above ([\d.]+) mag", name).groups() for name in names[2:7]] == [(b, str(OPTIONS["max_petro_mag_err"][b])) for b in BANDS]
    assert "repeated" in names[7]


def test_limits_of_the_cuts_are_inside(raw):
    frame = gst10k.measured(raw[:3]).assign(z=[0.01, 0.25, 0.1], galaxy_id=["a", "b", "c"])
    for band, limit in OPTIONS["max_petro_mag_err"].items():
        frame[f"petro_mag_{band}"], frame[f"petro_mag_err_{band}"] = 17.0, limit
    assert selection.apply_cuts(gst10k.quality_cuts(frame, OPTIONS))[0].all()


# --- split ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "counts"), [(1000, (550, 150, 300)), (9775, (5376, 1466, 2933)), (7, (4, 1, 2)), (1, (1, 0, 0)), (0, (0, 0, 0))])
def test_split_fractions_are_exact_and_rounded(n, counts):
    names = selection.split(n, OPTIONS["split"], np.random.default_rng(0))
    assert tuple(np.sum(names == s) for s in ("train", "validation", "test")) == counts


def test_split_depends_on_the_seed_alone():
    first, again, other = (selection.split(500, OPTIONS["split"], np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_split_is_blind_to_the_order_of_galaxies():
    """Mean rank of each part: n / 2 with a standard error of n / sqrt(12 n_part) < 0.012 n; five of those."""
    names, n = selection.split(4000, OPTIONS["split"], np.random.default_rng(3)), 4000
    for part in SPLITS:
        assert np.flatnonzero(names == part).mean() == pytest.approx(n / 2, abs=0.06 * n)


# --- the whole -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(raw):
    return gst10k.build(raw[:400], OPTIONS)


def test_build_gives_the_columns_of_the_schema_and_finite_masses(built):
    frame, _ = built
    assert list(frame.columns) == list(columns_of("kcorrect_gst"))
    assert len(frame) == 200
    assert list(frame.index) == list(range(200))
    assert frame["galaxy_id"].is_unique
    always = ["z", "ebv", "log_mass", "log_mass_err", "rest_u_r", *(f"{name}_{b}" for name in ("petro_mag", "petro_mag_err", "abs_mag") for b in BANDS)]
    assert np.isfinite(frame[always]).all(axis=None)
    assert (frame["log_mass_err"] > 0).all()
    assert frame["log_mass"].between(7, 12.5).all()  # kcorrect gives 9.6 to 11.6 dex for 98 % of these galaxies
    assert set(frame["galaxy_class"]) == set(CLASSES)
    assert frame["split"].value_counts().to_dict() == {"train": 110, "validation": 30, "test": 60}


def test_build_keeps_every_quantity_with_its_galaxy(raw, built, measured):
    """Photometry by name from the whole table; the mass of each galaxy alone, by an estimator of our own."""
    frame, _ = built
    by_name = measured.set_index("galaxy_id").loc[frame["galaxy_id"]]
    for name in ("ra", "z", "ebv", "petro_mag_r", "petro_mag_err_u", "model_mag_g", "mag_k", "mag_nuv"):
        np.testing.assert_array_equal(frame[name], by_name[name])
    estimator = MassEstimator(OPTIONS["mass"] | {"redshift_max": 0.25})
    rows = {name: i for i, name in enumerate(measured["galaxy_id"])}
    for i in (0, 57, 199):
        row = raw[[rows[frame["galaxy_id"][i]]]]
        optical = estimator.optical(*(np.asarray(row[name], float) for name in ("PETROFLUX", "PETROFLUX_IVAR", "EXTINCTION")))
        assert frame["log_mass"][i] == pytest.approx(estimator.log_mass(np.asarray(row["Z"], float), optical)[0][0], abs=1e-6)  # float32


def test_rest_frame_colours_are_differences_of_absolute_magnitudes(built):
    frame, _ = built
    np.testing.assert_allclose(frame["rest_u_r"], frame["abs_mag_u"] - frame["abs_mag_r"], atol=1e-12)
    np.testing.assert_array_equal(frame["rest_nuv_r"].notna(), frame["mag_nuv"].notna())
    assert 0 < frame["rest_nuv_r"].notna().sum() < len(frame)


def test_classes_follow_the_columns_of_the_catalogue(built):
    frame, _ = built
    seen = frame[frame["rest_nuv_r"].notna()]
    expected = np.where(seen["rest_nuv_r"] < 4, "star-forming", np.where(seen["rest_nuv_r"] > 5, "passive", "other"))
    np.testing.assert_array_equal(seen["galaxy_class"], expected)
    unseen = frame[frame["rest_nuv_r"].isna()]
    assert unseen.groupby("galaxy_class")["rest_u_r"].mean().loc[["star-forming", "other", "passive"]].is_monotonic_increasing


def test_rest_frame_nuv_is_that_of_the_dereddened_flux(raw, built, measured):
    """From the magnitudes of the catalogue, with A_NUV = 8.20 E(B-V) (Wyder et al. 2007), galaxy by galaxy."""
    frame = built[0].query("rest_nuv_r == rest_nuv_r")
    assert len(frame) > 5
    rows = raw[measured.reset_index().set_index("galaxy_id").loc[frame["galaxy_id"], "index"].to_numpy()]
    estimator = MassEstimator(OPTIONS["mass"] | {"redshift_max": 0.25})
    optical = estimator.optical(*(np.asarray(rows[name], float) for name in ("PETROFLUX", "PETROFLUX_IVAR", "EXTINCTION")))
    flux, inverse_variance = optical.flux.copy(), optical.inverse_variance.copy()
    flux[:, 0] = 10 ** (-0.4 * (frame["mag_nuv"] - 8.20 * frame["ebv"]))
    inverse_variance[:, 0] = (flux[:, 0] * frame["mag_nuv_err"] / 1.0857362) ** -2.0
    absolute = estimator.absolute_magnitudes(frame["z"].to_numpy(), Photometry(flux, inverse_variance))
    np.testing.assert_allclose(frame["rest_nuv_r"], absolute[:, 0] - absolute[:, 3], atol=1e-4)  # float32 and seven digits of 2.5 / ln 10
    assert frame["rest_nuv_r"].between(0, 8).all()  # galaxies lie there (Salim 2014); another zero-point moves them by magnitudes


def test_cuts_of_a_build_add_up(built):
    frame, notes = built
    before = 400
    for entry in notes["cuts"]:
        assert before - entry["removed"] == entry["left"]
        before = entry["left"]
    assert before == len(frame)
    assert [entry["removed"] for entry in notes["cuts"] if "random subset of 200" in entry["cut"]] == [notes["cuts"][-3]["left"] - 200]


def test_notes_say_what_the_mass_is(built):
    note = built[1]["mass"]
    assert all(part in note for part in ("kcorrect", "Chabrier", "H0 = 70.0", "Omega_m = 0.3", "Not MPA-JHU"))


def test_build_is_determined_by_the_seed(raw, built):
    again, _ = gst10k.build(raw[:400], OPTIONS)
    pd.testing.assert_frame_equal(again, built[0], check_exact=True)
    other, _ = gst10k.build(raw[:400], OPTIONS | {"seed": 12})
    assert set(other["galaxy_id"]) != set(again["galaxy_id"])
    both = again.merge(other, on="galaxy_id", suffixes=("", "_other"))
    assert len(both) > 50
    np.testing.assert_array_equal(both["log_mass"], both["log_mass_other"])  # the mass itself has no chance in it
    assert (both["log_mass_err"] != both["log_mass_err_other"]).mean() > 0.9


def test_build_takes_all_galaxies_where_fewer_than_the_most_survive(raw):
    frame, notes = gst10k.build(raw[:30], OPTIONS)
    assert not any("subset" in entry["cut"] for entry in notes["cuts"])
    assert len(frame) == notes["cuts"][-1]["left"] > 20
