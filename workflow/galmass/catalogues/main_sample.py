"""Which of the galaxies that SkyServer gave are the sample: what was measured of them, the cuts, and where they lie on the frames.

Images hang on this alone: an edit of classes, split or matches in other archives fetches no frame again.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from galmass.catalogues import photometry
from galmass.catalogues.schema import BANDS
from galmass.catalogues.selection import choose, designation
from galmass.stores import Column

MISSING = -1000.0  # MPA-JHU and PhotoObjAll write -9999 where there is nothing
PLACES = {
    "row": Column("", "row of resources/<sample>/galaxies.parquet"),
    "galaxy_id": Column("", "SDSS designation from the position (IAU form, truncated)"),
    "ra": Column("deg", "right ascension"),
    "dec": Column("deg", "declination"),
    "run": Column("", "run of the frames"),
    "rerun": Column("", "rerun of the frames"),
    "camcol": Column("", "camera column of the frames"),
    "field": Column("", "field of the run"),
    "rowc_r": Column("pix", "row of the centre in the r frame"),
    "colc_r": Column("pix", "column of the centre in the r frame"),
}


def measured(raw: pd.DataFrame) -> pd.DataFrame:
    """Columns of the catalogue that SkyServer's answers hold; NaN where something was not measured.

    Parameters
    ----------
    raw : DataFrame
        Columns of ``sql/galaxies.sql``.
    """
    from astropy.coordinates import SkyCoord

    frame = {"galaxy_id": designation(SkyCoord(raw["ra"], raw["dec"], unit="deg")), "objid": raw["objid"], "specobjid": raw["specobjid"]}
    frame |= {name: raw[name] for name in ("ra", "dec", "z", "run", "rerun", "camcol", "field")}
    frame |= {"z_err": _known(raw["zErr"], positive=True), "z_warning": raw["zWarning"]}
    for name, source in (("petro", "petroFlux"), ("model", "modelFlux")):
        flux, inverse_variance = _bands(raw, source), _bands(raw, f"{source}Ivar")
        magnitudes, errors = photometry.asinh_magnitude(flux, inverse_variance)
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
        "a Petrosian flux in ugriz is not known, or its inverse variance not positive": frame[[f"petro_mag_{b}" for b in BANDS]].notna().all(axis=1).to_numpy(),
    }
    for band in BANDS:
        limit = options["max_petro_mag_err"][band]
        cuts[f"Petrosian magnitude error in {band} above {limit} mag"] = (frame[f"petro_mag_err_{band}"] <= limit).to_numpy()
    cuts["no Galactic extinction"] = frame[[f"petro_mag_dered_{b}" for b in BANDS]].notna().all(axis=1).to_numpy()
    cuts["no MPA-JHU mass"] = frame["log_mass"].notna().to_numpy()
    cuts["position repeated"] = ~frame["galaxy_id"].duplicated().to_numpy()
    return cuts


def select(raw: pd.DataFrame, options: Mapping) -> tuple[pd.DataFrame, list[dict]]:
    """Columns `PLACES` of the galaxies that survive the cuts, and the counts.

    Parameters
    ----------
    raw : DataFrame
        Columns of ``sql/galaxies.sql``.
    options : mapping
        Limits of `quality_cuts`, ``max_galaxies``, ``seed``.
    """
    frame = measured(raw)
    chosen, counts = choose(quality_cuts(frame, options), options["max_galaxies"], np.random.default_rng(options["seed"]))
    return frame.iloc[chosen].assign(row=chosen)[list(PLACES)].reset_index(drop=True), counts
