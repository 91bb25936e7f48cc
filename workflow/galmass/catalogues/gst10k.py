"""The 10 000 real SDSS galaxies that the package kcorrect ships with its tests.

``kcorrect/data/test/gst_tests_small.fits`` (kcorrect 5.1.9, BSD-3): GALEX, SDSS and 2MASS photometry with
spectroscopic redshifts. Installed with the package, so it is there without a network.
"""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
from astropy.table import Table

from galmass.catalogues import photometry
from galmass.catalogues.classes import galaxy_class
from galmass.catalogues.masses import RESPONSES, MassEstimator, Photometry
from galmass.catalogues.schema import BANDS, NIR_BANDS, columns_of
from galmass.catalogues.selection import choose, designation, split
from galmass.errors import InputError
from galmass.stores import digest

SHA256 = "d7e87e8abc45167e48889a0e824870760a2e6dde20650a6e41a72164859bf578"
_NEEDED = (
    *("RA", "DEC", "Z", "EXTINCTION", "PETROFLUX", "PETROFLUX_IVAR", "MODELFLUX", "MODELFLUX_IVAR"),
    *(f"{band}_{kind}_EXT" for band in "JHK" for kind in ("M", "MSIG")),
    *(f"{band}_{kind}_AUTO" for band in ("FUV", "NUV") for kind in ("FLUX", "FLUXERR")),
)


def installed_path() -> Path:
    """Where the installed kcorrect keeps the table."""
    return Path(str(files("kcorrect"))) / "data" / "test" / "gst_tests_small.fits"


def read(path: str | Path, sha256: str = SHA256) -> Table:
    """The raw table.

    Raises
    ------
    InputError
        When the file is missing, is not the one expected, or lacks columns.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is missing; install kcorrect==5.1.9, which ships it")
    found = digest(path.read_bytes())
    if found != sha256:
        raise InputError(f"{path} has SHA-256 {found[:16]}..., expected {sha256[:16]}...; install kcorrect==5.1.9 afresh")
    table = Table.read(path)
    missing = [name for name in _NEEDED if name not in table.colnames]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}")
    return table


def measured(raw: Table) -> pd.DataFrame:
    """Positions, redshifts, magnitudes and E(B-V) of every row; NaN where something was not measured."""
    sky = SkyCoord(raw["RA"], raw["DEC"], unit="deg")
    frame = {"galaxy_id": designation(sky), "ra": np.asarray(raw["RA"], float), "dec": np.asarray(raw["DEC"], float), "z": np.asarray(raw["Z"], float)}
    extinction = np.asarray(raw["EXTINCTION"], float)
    for name, column in (("petro_mag", "PETROFLUX"), ("model_mag", "MODELFLUX")):
        magnitudes, errors = photometry.magnitude(raw[column], raw[f"{column}_IVAR"], photometry.SDSS_ZERO_POINT)
        for i, band in enumerate(BANDS):
            frame[f"{name}_{band}"] = magnitudes[:, i]
            if name == "petro_mag":
                frame[f"petro_mag_err_{band}"] = errors[:, i]
                frame[f"petro_mag_dered_{band}"] = magnitudes[:, i] - extinction[:, i]
    frame["ebv"], _ = photometry.reddening(extinction)
    return pd.DataFrame(frame | _near_infrared(raw) | _ultraviolet(raw))


def _near_infrared(raw: Table) -> dict[str, np.ndarray]:
    """2MASS magnitudes; the table writes 0 where there is none."""
    columns = {}
    for band in NIR_BANDS:
        for name, source in ((f"mag_{band}", f"{band.upper()}_M_EXT"), (f"mag_{band}_err", f"{band.upper()}_MSIG_EXT")):
            values = np.asarray(raw[source], float)
            columns[name] = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    return columns


def _ultraviolet(raw: Table) -> dict[str, np.ndarray]:
    """GALEX AB magnitudes; the table writes 0 or -99 where there is none.

    FLUX_AUTO is taken as counts/s: with that the NUV fluxes of blue galaxies agree with what kcorrect's
    templates, fitted to ugriz alone, predict (median ratio 1.02); as microjansky they would be 0.03.
    """
    columns = {}
    for band in ("fuv", "nuv"):
        flux = np.asarray(raw[f"{band.upper()}_FLUX_AUTO"], float)
        error = np.asarray(raw[f"{band.upper()}_FLUXERR_AUTO"], float)
        inverse_variance = np.where(error > 0, 1 / np.where(error > 0, error, 1) ** 2, 0)
        columns[f"mag_{band}"], columns[f"mag_{band}_err"] = photometry.magnitude(flux, inverse_variance, photometry.GALEX_ZERO_POINT[band])
    return columns


def quality_cuts(frame: pd.DataFrame, options: Mapping) -> dict[str, np.ndarray]:
    """Named masks (n_galaxy,) of what each cut keeps, in the order in which they are applied."""
    low, high = options["redshift"]
    cuts = {
        f"redshift outside {low} to {high}": frame["z"].between(low, high).to_numpy(),
        "a Petrosian flux in ugriz or its inverse variance is not positive and finite": frame[[f"petro_mag_{b}" for b in BANDS]].notna().all(axis=1).to_numpy(),
    }
    for band in BANDS:
        limit = options["max_petro_mag_err"][band]
        cuts[f"Petrosian magnitude error in {band} above {limit} mag"] = (frame[f"petro_mag_err_{band}"] <= limit).to_numpy()
    cuts["position repeated"] = ~frame["galaxy_id"].duplicated().to_numpy()
    return cuts


def build(raw: Table, options: Mapping) -> tuple[pd.DataFrame, dict]:
    """The catalogue and its notes (cuts with counts, what the mass is).

    Parameters
    ----------
    raw : Table
        As `read` gives it.
    options : mapping
        One entry of ``samples`` in the configuration.
    """
    generator = np.random.default_rng(options["seed"])
    frame = measured(raw)
    chosen, counts = choose(quality_cuts(frame, options), options["max_galaxies"], generator)
    raw, frame = raw[chosen], frame.iloc[chosen].reset_index(drop=True)
    frame = frame.assign(**_derived(raw, frame, options, generator))
    massive = np.isfinite(frame["log_mass"].to_numpy())
    counts.append({"cut": "no template fits: mass 0", "removed": int(np.sum(~massive)), "left": int(massive.sum())})
    frame = frame[massive].reset_index(drop=True)
    frame["split"] = split(len(frame), options["split"], generator)
    return frame[list(columns_of(options["source"]))], {"cuts": counts, "mass": _mass_notes(options["mass"])}


def _derived(raw: Table, frame: pd.DataFrame, options: Mapping, generator: np.random.Generator) -> dict:
    """Mass, its error, rest-frame magnitudes and colours, class."""
    estimator, redshift = MassEstimator(options["mass"] | {"redshift_max": options["redshift"][1]}), frame["z"].to_numpy()
    optical = estimator.optical(np.asarray(raw["PETROFLUX"], float), np.asarray(raw["PETROFLUX_IVAR"], float), np.asarray(raw["EXTINCTION"], float))
    log_mass, _ = estimator.log_mass(redshift, optical)
    absolute = estimator.absolute_magnitudes(redshift, _with_nuv(optical, frame))
    columns = {"log_mass": log_mass, "log_mass_err": estimator.log_mass_error(redshift, optical, options["mass"]["perturbations"], generator)}
    columns |= {f"abs_mag_{band}": absolute[:, 1 + i] for i, band in enumerate(BANDS)}
    columns["rest_u_r"] = absolute[:, 1] - absolute[:, 3]
    columns["rest_nuv_r"] = absolute[:, 0] - absolute[:, 3]
    columns["galaxy_class"] = galaxy_class(columns["rest_nuv_r"], columns["rest_u_r"], absolute[:, 3], options["classes"])
    return columns


def _with_nuv(optical: Photometry, frame: pd.DataFrame) -> Photometry:
    """Add the dereddened NUV flux where it was measured."""
    flux, inverse_variance = optical.flux.copy(), optical.inverse_variance.copy()
    dereddened = (frame["mag_nuv"] - photometry.GALEX_EXTINCTION["nuv"] * frame["ebv"]).to_numpy()
    nuv = 10 ** (-0.4 * dereddened)
    sigma = nuv * frame["mag_nuv_err"].to_numpy() * np.log(10) / 2.5
    there = np.isfinite(nuv) & np.isfinite(sigma)
    column = RESPONSES.index("galex_NUV")
    flux[there, column], inverse_variance[there, column] = nuv[there], 1 / sigma[there] ** 2
    return Photometry(flux, inverse_variance)


def _mass_notes(options: Mapping) -> str:
    return (
        "kcorrect mass: current stellar mass of the best sum of kcorrect 5.1.9 templates (Bruzual & Charlot 2003, Chabrier 2003 IMF) "
        "to the dereddened Petrosian ugriz fluxes at the spectroscopic redshift; "
        f"H0 = {options['hubble_constant']} km/s/Mpc (the mass is not scaled by h), Omega_m = {options['omega_m']}, flat; "
        f"AB offsets ugriz {options['ab_offset']} mag; error floor {options['error_floor']} of the flux. Not MPA-JHU: "
        "its input is the photometry that the network sees, and the redshift."
    )
