"""WISE photometry of galaxies: the nearest source, and limits where a band saw nothing."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from galmass.catalogues.schema import WISE_BANDS
from galmass.stores import Column

FAINTEST = 30.0  # mag; archives write 99, 9999 or -9999 where there is nothing
MATCHES = {
    "galaxy": Column("", "row of the galaxy in the table of galaxies"),
    "separation_arcsec": Column("arcsec", "between the galaxy and the WISE source"),
    **{f"{b}mpro": Column("mag", f"{b} magnitude of the profile fit (Vega); a 95 % limit where there is no {b}sigmpro") for b in WISE_BANDS},
    **{f"{b}sigmpro": Column("mag", f"standard error of {b}mpro") for b in WISE_BANDS},
}
MATCH_COLUMNS = tuple(MATCHES)


def separation(ra, dec, other_ra, other_dec) -> np.ndarray:
    """Angle between positions [arcsec], all in degrees (haversines: right for small angles, too)."""
    ra, dec, other_ra, other_dec = (np.radians(np.asarray(x, float)) for x in (ra, dec, other_ra, other_dec))
    haversine = np.sin((other_dec - dec) / 2) ** 2 + np.cos(dec) * np.cos(other_dec) * np.sin((other_ra - ra) / 2) ** 2
    return 3600 * np.degrees(2 * np.arcsin(np.sqrt(haversine)))


def nearest(matches: pd.DataFrame, n_galaxy: int, radius_arcsec: float) -> tuple[pd.DataFrame, dict]:
    """The nearest source of each galaxy.

    Parameters
    ----------
    matches : DataFrame
        `MATCH_COLUMNS`: ``galaxy`` is the row of the galaxy; a galaxy may have several matches, or none.
    n_galaxy : int
    radius_arcsec : float
        Sources further away are no match.

    Returns
    -------
    DataFrame
        One row per galaxy, NaN where there is no match.
    dict
        Galaxies matched, without match, and with more than one source within the radius.
    """
    close = matches[matches["separation_arcsec"] <= radius_arcsec]
    # the magnitude breaks ties, so that the order of the answer does not matter
    first = close.sort_values(["galaxy", "separation_arcsec", "w1mpro"]).drop_duplicates("galaxy").set_index("galaxy")
    several = int((close.groupby("galaxy").size() > 1).sum())
    counts = {"matched": len(first), "without match": n_galaxy - len(first), "several sources": several}
    return first.reindex(range(n_galaxy)), counts


def photometry(sources: pd.DataFrame) -> pd.DataFrame:
    """Magnitudes, errors and limits of the catalogue.

    Where a band did not detect the source, WISE writes the 95 % limit as its magnitude and no error: that becomes
    ``mag_w1_limit`` and the magnitude NaN. Networks are given it as a magnitude at `schema.LIMIT_SIGNAL_TO_NOISE`.

    Parameters
    ----------
    sources : DataFrame
        ``w1mpro``, ``w1sigmpro`` [mag, Vega] and so on, as `nearest` gives them.
    """
    columns = {}
    for band in WISE_BANDS:
        magnitude, error = (_measured(sources[f"{band}{name}"]) for name in ("mpro", "sigmpro"))
        detected = np.isfinite(magnitude) & (error > 0)
        columns[f"mag_{band}"] = np.where(detected, magnitude, np.nan)
        columns[f"mag_{band}_limit"] = np.where(detected, np.nan, magnitude)
        if band != "w3":  # the paper does not use it, and the schema has no column for it
            columns[f"mag_{band}_err"] = np.where(detected, error, np.nan)
    return pd.DataFrame(columns)


def _measured(values) -> np.ndarray:
    """Numbers, NaN for every way to write that there is none."""
    values = pd.to_numeric(pd.Series(np.ma.filled(np.ma.asarray(values), np.nan)), errors="coerce").to_numpy(float)
    return np.where(np.abs(values) < FAINTEST, values, np.nan)


def from_skyserver(matches: pd.DataFrame, objid) -> pd.DataFrame:
    """Answers to ``sql/wise_allsky.sql`` as `MATCH_COLUMNS`, for galaxies of these objid."""
    rows = pd.Series(range(len(objid)), index=np.asarray(objid, np.int64))
    known = matches[matches["objid"].isin(rows.index)]
    return known.assign(galaxy=rows.loc[known["objid"]].to_numpy())[list(MATCH_COLUMNS)]


def limits_and_detections(table: pd.DataFrame) -> Mapping[str, dict[str, int]]:
    """Galaxies detected, with a limit alone, and with neither, by band."""
    return {
        band: {
            "detected": int(table[f"mag_{band}"].notna().sum()),
            "limit": int(table[f"mag_{band}_limit"].notna().sum()),
            "neither": int((table[f"mag_{band}"].isna() & table[f"mag_{band}_limit"].isna()).sum()),
        }
        for band in WISE_BANDS
    }
