"""Sersic fits of the NYU-VAGC (Blanton et al. 2005, AJ 129, 2562): two FITS files that belong together row for row."""

from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits

from galmass.catalogues.schema import BANDS
from galmass.errors import InputError
from galmass.integrity import MAGIC, Manifest, RemoteFile, Request, whole_fits
from galmass.stores import Column

ROOT = "http://sdss.physics.nyu.edu/vagc-dr7/vagc2"
POSITIONS, FITS = "object_sdss_imaging.fits", "sersic/sersic_catalog.fits"
RELEASE = "NYU-VAGC DR7"
COLUMNS = {
    "ra": Column("deg", "right ascension"),
    "dec": Column("deg", "declination"),
    **{f"sersic_n_{b}": Column("", f"Sersic index in {b}; NaN = no fit") for b in BANDS},
}


def remote_file(name: str, root: str = ROOT) -> RemoteFile:
    """`POSITIONS` or `FITS` at the archive; the first is some gigabytes."""
    return RemoteFile(Request(f"{root}/{name}"), magic=MAGIC["fits"], check=whole_fits, release=RELEASE)


def download(folder, transport) -> None:
    """Both files, with a manifest."""
    manifest = Manifest(Path(folder) / "manifest.jsonl")
    for name in (POSITIONS, FITS):
        transport.fetch(remote_file(name, transport.policy.address or ROOT), Path(folder) / Path(name).name, manifest)


def read(folder) -> pd.DataFrame:
    """Positions and Sersic indices, `COLUMNS`; of the large file only what is needed is read.

    Raises
    ------
    InputError
        When a column is missing, or the files do not belong together.
    """
    ra, dec = (_column(Path(folder) / POSITIONS, name) for name in ("RA", "DEC"))
    index = _column(Path(folder) / Path(FITS).name, "SERSIC_N")
    if len(ra) != len(index) or index.shape[1:] != (len(BANDS),):
        raise InputError(
            f"{folder}: the positions have {len(ra)} rows, the Sersic fits {len(index)} of shape {index.shape[1:]}; "
            "both must be of one version, row for row, in five bands"
        )
    index = np.where(np.isfinite(index) & (index > 0), index, np.nan)
    return pd.DataFrame({"ra": ra, "dec": dec} | {f"sersic_n_{b}": index[:, i] for i, b in enumerate(BANDS)})


def _column(path: Path, name: str) -> np.ndarray:
    try:
        with fits.open(path, memmap=True) as hdus:
            return np.array(hdus[1].data[name], float)
    except (OSError, KeyError, IndexError, TypeError) as error:
        raise InputError(f"{path} has no column {name} ({error}); is it the NYU-VAGC's?") from error


def match(frame: pd.DataFrame, objects: pd.DataFrame, radius_arcsec: float = 1.0) -> tuple[pd.DataFrame, int]:
    """Sersic indices of galaxies by position.

    Parameters
    ----------
    frame : DataFrame
        ``ra``, ``dec`` [deg] of n_galaxy galaxies.
    objects : DataFrame
        As `read` gives it.
    radius_arcsec : float
        Objects further away are no match.

    Returns
    -------
    DataFrame
        ``sersic_n_u`` ... ``sersic_n_z``, NaN where there is no match or no fit.
    int
        Galaxies without a match.
    """
    from astropy.coordinates import SkyCoord

    sky, others = (SkyCoord(table["ra"].to_numpy(float), table["dec"].to_numpy(float), unit="deg") for table in (frame, objects))
    nearest, distance, _ = sky.match_to_catalog_sky(others)
    matched = distance.arcsec <= radius_arcsec
    columns = {f"sersic_n_{b}": np.where(matched, objects[f"sersic_n_{b}"].to_numpy()[nearest], np.nan) for b in BANDS}
    return pd.DataFrame(columns), int(np.sum(~matched))
