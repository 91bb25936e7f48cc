"""The columns of a galaxy catalogue: what every sample has, and what each source adds."""

from galmass.errors import InputError
from galmass.stores import Column

BANDS = ("u", "g", "r", "i", "z")
NIR_BANDS = ("j", "h", "k")
WISE_BANDS = ("w1", "w2", "w3")
CLASSES = ("star-forming", "passive", "other")
SPLITS = ("train", "validation", "test")
WORDS = ("galaxy_id", "galaxy_class", "split")  # columns that hold no number
# AllWISE takes what is measured below 2 for undetected; its limit is two standard deviations above the flux, or above zero: 2 to 4 of them
LIMIT_SIGNAL_TO_NOISE = 2.0
ANSWERS = ("log_mass", "log_mass_err", "log_mass_p16", "log_mass_p84")  # columns that no network may see


def _per_band(name: str, unit: str, description: str, bands=BANDS) -> dict[str, Column]:
    return {f"{name}_{b}": Column(unit, description.format(band=b)) for b in bands}


COMMON = {
    "galaxy_id": Column("", "SDSS designation from the position (IAU form, truncated)"),
    "ra": Column("deg", "right ascension, ICRS"),
    "dec": Column("deg", "declination, ICRS"),
    "z": Column("", "spectroscopic redshift, heliocentric"),
    "ebv": Column("mag", "Galactic reddening E(B-V), Schlegel, Finkbeiner & Davis 1998 scale"),
    "log_mass": Column("dex(solMass)", "log10 of the stellar mass; the sample's notes say which"),
    "log_mass_err": Column("dex", "standard error of log_mass from the photometric errors with the error floor"),
    "galaxy_class": Column("", "star-forming, passive or other"),
    "split": Column("", "train, validation or test"),
}
SDSS = {
    **_per_band("petro_mag", "mag", "SDSS {band} Petrosian magnitude (zero-point 22.5; sdss_mgs: asinh, others: Pogson), not corrected for extinction"),
    **_per_band("petro_mag_err", "mag", "standard error of petro_mag_{band}"),
    **_per_band("petro_mag_dered", "mag", "petro_mag_{band} corrected for Galactic extinction"),
    **_per_band("model_mag", "mag", "SDSS {band} model magnitude, not corrected for extinction"),
}
REST_FRAME = {
    **_per_band("abs_mag", "mag", "rest-frame {band} AB absolute magnitude (band shift 0) by kcorrect"),
    "rest_u_r": Column("mag", "rest-frame u - r colour by kcorrect"),
}
NEAR_INFRARED = {
    **_per_band("mag", "mag", "2MASS extended-source {band} magnitude (Vega)", NIR_BANDS),
    **{f"mag_{b}_err": Column("mag", f"standard error of mag_{b}") for b in NIR_BANDS},
}
ULTRAVIOLET = {
    "mag_fuv": Column("mag", "GALEX FUV AB magnitude, not corrected for extinction"),
    "mag_nuv": Column("mag", "GALEX NUV AB magnitude, not corrected for extinction"),
    "mag_fuv_err": Column("mag", "standard error of mag_fuv"),
    "mag_nuv_err": Column("mag", "standard error of mag_nuv"),
    "rest_nuv_r": Column("mag", "rest-frame NUV - r colour by kcorrect where NUV was measured"),
}
WISE = {
    **_per_band("mag", "mag", "WISE {band} magnitude (Vega, AllWISE profile fit); NaN = not detected", WISE_BANDS),
    **{f"mag_{b}_err": Column("mag", f"standard error of mag_{b}") for b in ("w1", "w2")},
    **{f"mag_{b}_limit": Column("mag", f"95 % limit in {b}, at a signal-to-noise of about 2: the magnitude is fainter; NaN = detected") for b in WISE_BANDS},
}
FLUXES = _per_band("petro_flux", "nmgy", "SDSS {band} Petrosian flux, not corrected for extinction")
MORPHOLOGY = {
    **_per_band("r50", "arcsec", "radius of half of the Petrosian flux in {band}"),
    **_per_band("r90", "arcsec", "radius of 90 % of the Petrosian flux in {band}"),
    **_per_band("axis_ratio", "", "minor to major axis of the exponential fit in {band}"),
    **_per_band("sersic_n", "", "Sersic index in {band}"),
}
STAR_FORMATION = {
    "sfr": Column("dex(solMass/yr)", "log10 of the star formation rate"),
    "ssfr": Column("dex(1/yr)", "log10 of the star formation rate per stellar mass"),
}
SDSS_FRAMES = {
    "run": Column("", "SDSS imaging run"),
    "rerun": Column("", "SDSS reduction of the run"),
    "camcol": Column("", "camera column, 1 to 6"),
    "field": Column("", "field of the run"),
    **_per_band("rowc", "pixel", "row of the centre in the {band} frame; the middle of the first pixel is 0.5"),
    **_per_band("colc", "pixel", "column of the centre in the {band} frame; the middle of the first pixel is 0.5"),
}
MAIN_GALAXY_SAMPLE = {
    "log_mass_err": Column("dex", "half of the 16-84 % interval of the MPA-JHU mass"),
    "log_mass_p16": Column("dex(solMass)", "16 % quantile of the MPA-JHU mass"),
    "log_mass_p84": Column("dex(solMass)", "84 % quantile of the MPA-JHU mass"),
    "z_err": Column("", "standard error of the redshift"),
    "objid": Column("", "SDSS identifier of the object in the images"),
    "specobjid": Column("", "SDSS identifier of the spectrum"),
}
# columns of COMMON and REST_FRAME that a simulation defines otherwise, and what only it knows
MOCK = {
    "galaxy_id": Column("", "running number of the simulated galaxy"),
    "z": Column("", "redshift, without error"),
    "log_mass": Column("dex(solMass)", "log10 of the stellar mass that the galaxy was made with"),
    "log_mass_err": Column("dex", "standard error of log_mass: 0"),
    **_per_band("abs_mag", "mag", "rest-frame {band} AB absolute magnitude (band shift 0), dust included, without noise"),
    "rest_u_r": Column("mag", "rest-frame u - r colour, dust included, without noise"),
    "inclination": Column("deg", "angle between the axis of the disc and the line of sight, without noise"),
    "position_angle": Column("deg", "of the major axis on the stamp, from x to y, without noise"),
}

# one entry per `samples.<name>.source` of the configuration
SOURCES: dict[str, dict[str, Column]] = {
    "kcorrect_gst": COMMON | SDSS | REST_FRAME | NEAR_INFRARED | ULTRAVIOLET,
    "sdss_mgs": COMMON | SDSS | FLUXES | MORPHOLOGY | WISE | STAR_FORMATION | SDSS_FRAMES | MAIN_GALAXY_SAMPLE,
    "mock": COMMON | SDSS | REST_FRAME | FLUXES | MORPHOLOGY | WISE | STAR_FORMATION | MOCK,
}


def columns_of(source: str) -> dict[str, Column]:
    """Columns of the catalogue of a source, in order."""
    return SOURCES[source]


def require_columns(needed, source: str, sample: str, needed_by: str) -> None:
    """Raise `InputError` naming the sample, who needs what, and which columns are missing."""
    missing = [name for name in needed if name not in columns_of(source)]
    if missing:
        raise InputError(f"{needed_by} needs the columns {', '.join(missing)}, which sample '{sample}' (source {source}) does not have")
