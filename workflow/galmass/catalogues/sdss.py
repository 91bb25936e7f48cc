"""The catalogue of the Main Galaxy Sample from what SkyServer, WISE and the NYU-VAGC gave: columns, cuts, classes, split."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from galmass.catalogues import gst10k, nyu_vagc, photometry, wise
from galmass.catalogues.schema import BANDS, columns_of
from galmass.errors import InputError

MISSING = -1000.0  # MPA-JHU and PhotoObjAll write -9999 where there is nothing
NEW_EXTINCTION = 13  # the data release that changed the coefficients


def reddening(extinction, release: int) -> np.ndarray:
    """E(B-V) (n_galaxy,) [mag] from A_u ... A_z of a data release.

    Raises
    ------
    InputError
        When A_u / A_r is not that of the release: the table comes from another one.
    """
    ebv, convention = photometry.reddening(extinction)
    expected = "DR13 and later" if release >= NEW_EXTINCTION else "before DR13"
    if convention != expected:
        raise InputError(f"the extinctions are those of releases {convention}, but samples.<name>.query.release is {release}; delete the answers of SkyServer")
    return ebv


def measured(raw: pd.DataFrame) -> pd.DataFrame:
    """Columns of the catalogue that SkyServer's answers hold; NaN where something was not measured.

    Parameters
    ----------
    raw : DataFrame
        Columns of ``sql/galaxies.sql``.
    """
    from astropy.coordinates import SkyCoord

    frame = {"galaxy_id": gst10k.designation(SkyCoord(raw["ra"], raw["dec"], unit="deg")), "objid": raw["objid"], "specobjid": raw["specobjid"]}
    frame |= {name: raw[name] for name in ("ra", "dec", "z", "run", "rerun", "camcol", "field")}
    frame |= {"z_err": _known(raw["zErr"], positive=True), "z_warning": raw["zWarning"]}
    for name, source in (("petro", "petroFlux"), ("model", "modelFlux")):
        flux, inverse_variance = _bands(raw, source), _bands(raw, f"{source}Ivar")
        magnitudes, errors = photometry.magnitude(flux, inverse_variance, photometry.SDSS_ZERO_POINT)
        for i, band in enumerate(BANDS):
            frame[f"{name}_mag_{band}"] = magnitudes[:, i]
            if name == "petro":
                frame |= {f"petro_mag_err_{band}": errors[:, i], f"petro_flux_{band}": np.where(flux[:, i] > MISSING, flux[:, i], np.nan)}
                frame[f"petro_mag_dered_{band}"] = magnitudes[:, i] - _known(raw[f"extinction_{band}"], positive=True)
    for name, source in (("r50", "petroR50"), ("r90", "petroR90"), ("axis_ratio", "expAB")):
        frame |= {f"{name}_{b}": _known(raw[f"{source}_{b}"], positive=True) for b in BANDS}
    frame |= {f"{name}_{b}": _known(raw[f"{name}_{b}"]) for name in ("rowc", "colc") for b in BANDS}
    return pd.DataFrame(frame | _masses(raw))


def _bands(raw: pd.DataFrame, name: str) -> np.ndarray:
    """(n_galaxy, 5)"""
    return raw[[f"{name}_{b}" for b in BANDS]].to_numpy(float)


def _known(values, positive: bool = False) -> np.ndarray:
    """Numbers, NaN where the archive writes -9999 (or anything not above 0, where it must be)."""
    values = np.asarray(values, float)
    return np.where(values > (0 if positive else MISSING), values, np.nan)


def _masses(raw: pd.DataFrame) -> dict[str, np.ndarray]:
    """MPA-JHU mass and star formation rate; half of the 16-84 % interval is the error."""
    mass = {p: _known(raw[f"lgm_tot_{p}"], positive=True) for p in ("p16", "p50", "p84")}
    return {
        "log_mass": mass["p50"],
        "log_mass_err": (mass["p84"] - mass["p16"]) / 2,
        "log_mass_p16": mass["p16"],
        "log_mass_p84": mass["p84"],
        "sfr": _known(raw["sfr_tot_p50"]),
        "ssfr": _known(raw["specsfr_tot_p50"]),
    }


def galaxy_class(ssfr, options: Mapping) -> np.ndarray:
    """Class (n_galaxy,) of str from log10 sSFR [1/yr]: star-forming above ``ssfr_star_forming``, passive below ``ssfr_passive``.

    Between them, and where it is not known, 'other'. Salim 2014 (Serb. Astron. J. 189, 1) has the green valley between -11.8 and -10.8.
    """
    ssfr = np.asarray(ssfr, float)
    return np.select([ssfr > options["ssfr_star_forming"], ssfr < options["ssfr_passive"]], ["star-forming", "passive"], "other")


def quality_cuts(frame: pd.DataFrame, options: Mapping) -> dict[str, np.ndarray]:
    """Named masks (n_galaxy,) of what each cut keeps, in the order in which they are applied.

    Parameters
    ----------
    frame : DataFrame
        As `measured` gives it.
    options : mapping
        ``redshift`` (two limits), ``max_petro_mag_err`` by band [mag].
    """
    low, high = options["redshift"]
    best = frame.sort_values(["z_err", "specobjid"], kind="stable").drop_duplicates("objid").index
    cuts = {
        f"redshift outside {low} to {high}": frame["z"].between(low, high).to_numpy(),
        "redshift with a warning flag": (frame["z_warning"] == 0).to_numpy(),
        "object with a better spectrum": frame.index.isin(best),
        "a Petrosian flux in ugriz or its inverse variance is not positive and finite": frame[[f"petro_mag_{b}" for b in BANDS]].notna().all(axis=1).to_numpy(),
    }
    for band in BANDS:
        limit = options["max_petro_mag_err"][band]
        cuts[f"Petrosian magnitude error in {band} above {limit} mag"] = (frame[f"petro_mag_err_{band}"] <= limit).to_numpy()
    cuts["no Galactic extinction"] = frame[[f"petro_mag_dered_{b}" for b in BANDS]].notna().all(axis=1).to_numpy()
    cuts["no MPA-JHU mass"] = frame["log_mass"].notna().to_numpy()
    cuts["position repeated"] = ~frame["galaxy_id"].duplicated().to_numpy()
    return cuts


def build(raw: pd.DataFrame, matches: pd.DataFrame, vagc: pd.DataFrame | None, options: Mapping) -> tuple[pd.DataFrame, dict]:
    """The catalogue and its notes.

    Parameters
    ----------
    raw : DataFrame
        Columns of ``sql/galaxies.sql``.
    matches : DataFrame
        `galmass.catalogues.wise.MATCH_COLUMNS`, rows of `raw`.
    vagc : DataFrame, or None
        As `galmass.catalogues.nyu_vagc.read` gives it; None leaves the Sersic indices NaN.
    options : mapping
        The sample's section of the configuration: ``query.release``, limits of `quality_cuts`, ``wise.radius_arcsec``, ``classes``,
        ``max_galaxies``, ``split``, ``seed``.
    """
    generator = np.random.default_rng(options["seed"])
    frame = measured(raw)
    sources, counts = wise.nearest(matches, len(raw), options["wise"]["radius_arcsec"])
    frame = pd.concat([frame, wise.photometry(sources)], axis=1)
    chosen, cuts = _chosen(frame, options, generator)
    extinction = _bands(raw, "extinction")[chosen]
    frame = frame.iloc[chosen].reset_index(drop=True)
    indices, unmatched = _sersic_indices(frame, vagc)
    frame = pd.concat([frame, indices], axis=1)
    frame["ebv"] = reddening(extinction, options["query"]["release"])
    frame["galaxy_class"] = galaxy_class(frame["ssfr"], options["classes"])
    frame["split"] = gst10k.split(len(frame), options["split"], generator)
    notes = {"cuts": cuts, "mass": _mass_notes(options["query"]["release"]), "wise": counts, "wise_bands": wise.limits_and_detections(frame)}
    return frame[list(columns_of("sdss_mgs"))], notes | {"without Sersic fit": unmatched}


def _chosen(frame: pd.DataFrame, options: Mapping, generator: np.random.Generator) -> tuple[np.ndarray, list[dict]]:
    """Rows that survive the cuts, at most ``max_galaxies`` of them, and the counts."""
    kept, counts = gst10k.apply_cuts(quality_cuts(frame, options))
    chosen = np.flatnonzero(kept)
    if not len(chosen):
        raise InputError("no galaxy survives the cuts: " + ", ".join(f"{count['cut']} ({count['removed']})" for count in counts if count["removed"]))
    if len(chosen) > options["max_galaxies"]:
        counts.append({"cut": f"random subset of {options['max_galaxies']}", "removed": len(chosen) - options["max_galaxies"], "left": options["max_galaxies"]})
        chosen = np.sort(generator.choice(chosen, options["max_galaxies"], replace=False))
    return chosen, counts


def _sersic_indices(frame: pd.DataFrame, vagc: pd.DataFrame | None) -> tuple[pd.DataFrame, int]:
    if vagc is None:
        return pd.DataFrame({f"sersic_n_{b}": np.full(len(frame), np.nan) for b in BANDS}), len(frame)
    return nyu_vagc.match(frame, vagc)


def _mass_notes(release: int) -> str:
    return (
        f"MPA-JHU mass (galSpecExtra.lgm_tot_p50 of SDSS DR{release}): median of the total stellar mass from fits to the ugriz photometry "
        "(Kauffmann et al. 2003, Salim et al. 2007), Kroupa 2001 IMF; its error is half of the 16-84 % interval. "
        "Its input is the photometry that the network sees, and the redshift."
    )
