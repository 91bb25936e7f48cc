"""AllWISE sources of galaxies from IRSA: positions are uploaded to its table service (TAP) in batches, each restartable."""

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from galmass import stores
from galmass.catalogues import wise
from galmass.catalogues.schema import WISE_BANDS
from galmass.errors import InputError
from galmass.integrity import Manifest, RemoteFile, Request
from galmass.transport import Transport

ADQL = Path(__file__).parent / "sql" / "allwise.adql"
RELEASE = "AllWISE"
WANTED = ("galaxy", "ra", "dec", *(f"{b}{name}" for b in WISE_BANDS for name in ("mpro", "sigmpro")))


def upload(ra, dec, first: int) -> bytes:
    """VOTable of positions [deg] with their rows, counted from `first`."""
    from astropy.io.votable import from_table
    from astropy.table import Table

    table = Table({"galaxy": np.arange(first, first + len(ra), dtype=np.int32), "ra": np.asarray(ra, float), "dec": np.asarray(dec, float)})
    document = io.BytesIO()
    from_table(table).to_xml(document)
    return document.getvalue()


def query(ra, dec, first: int, radius_arcsec: float, most_rows: int, address: str | None = None) -> RemoteFile:
    """The answer of IRSA's TAP service for one batch; at ``astroquery.ipac.irsa.conf.tap_url`` where no address is given."""
    from astroquery.ipac.irsa import conf

    form = {
        "REQUEST": "doQuery",
        "LANG": "ADQL",
        "FORMAT": "votable",
        "MAXREC": str(most_rows),
        "QUERY": ADQL.read_text().format(radius_deg=f"{radius_arcsec / 3600:.8f}"),
        "UPLOAD": "galaxies,param:galaxies",
    }
    files = {"galaxies": ("galaxies.xml", upload(ra, dec, first), "application/x-votable+xml")}
    return RemoteFile(Request(f"{address or conf.tap_url}/sync", data=form, files=files), check=check_answer, release=RELEASE)


def check_answer(path: Path) -> None:
    """Raise `ValueError` for an answer that is cut, `InputError` for a refused query or one with more rows than were allowed."""
    content = path.read_bytes()
    if b"<VOTABLE" not in content[:4000]:
        raise ValueError(f"no VOTable but {content[:60]!r}")
    if not content.rstrip().endswith(b"</VOTABLE>"):
        raise ValueError(f"the VOTable has no end: it is cut after {len(content)} bytes")
    status, said = _status(path)
    if status == "OVERFLOW":
        raise InputError("IRSA cut the answer: more sources than MAXREC; choose smaller wise.batch or wise.radius_arcsec")
    if status != "OK":
        raise InputError(f"IRSA refused the query ({status}: {said}); look at sql/allwise.adql")


def _status(path: Path) -> tuple[str, str]:
    """QUERY_STATUS of a VOTable: the last one counts, for an overflow is known at the end."""
    resource = _votable(path).resources[0]
    found = [(info.value, info.content or "") for info in resource.infos if info.name == "QUERY_STATUS"]
    return found[-1] if found else ("OK", "")


def _votable(path: Path):
    from astropy.io.votable import parse

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # archives' VOTables break the standard in small things
        return parse(str(path), verify="ignore")


def read_answer(path: Path) -> pd.DataFrame:
    """Sources of an answer, columns `WANTED`; NaN where a value is missing.

    Raises
    ------
    InputError
        When columns are missing.
    """
    table = _votable(path).get_first_table().to_table(use_names_over_ids=True)
    names = {name.lower(): name for name in table.colnames}
    missing = [name for name in WANTED if name not in names]
    if missing:
        raise InputError(f"{path}: IRSA's answer lacks the columns {', '.join(missing)}; have they been renamed?")
    return pd.DataFrame({name: np.ma.filled(np.ma.asarray(table[names[name]], float), np.nan) for name in WANTED}).astype({"galaxy": int})


def download(ra, dec, options: Mapping, folder, transport: Transport, advance=lambda n: None) -> pd.DataFrame:
    """AllWISE sources within the radius of each position, several or none, with their separation.

    Parameters
    ----------
    ra, dec : float arrays (n_galaxy,) [deg]
    options : mapping
        ``radius_arcsec``, ``batch`` (positions a request).
    folder : path
        Where the answers wait: what came in an earlier run is not asked for again.
    transport : Transport
    advance : callable
        Called with the number of galaxies of each batch.

    Returns
    -------
    DataFrame
        `galmass.catalogues.wise.MATCH_COLUMNS`
    """
    ra, dec, size, folder = np.asarray(ra, float), np.asarray(dec, float), options["batch"], Path(folder)
    manifest, parts = Manifest(folder / "manifest.jsonl"), []
    for first in range(0, len(ra), size):
        stop = min(first + size, len(ra))
        remote = query(ra[first:stop], dec[first:stop], first, options["radius_arcsec"], 20 * size, transport.policy.address)
        # of the positions, not of the document: that names the version of astropy
        asked = stores.digest(repr(remote.request.data).encode() + ra[first:stop].tobytes() + dec[first:stop].tobytes())[:8]
        path = folder / f"allwise.{first:07d}.{asked}.xml"
        transport.fetch(remote, path, manifest)
        parts.append(_sources(read_answer(path), ra, dec, first, stop, path))
        advance(stop - first)
    return pd.concat(parts, ignore_index=True)


def _sources(answer: pd.DataFrame, ra, dec, first: int, stop: int, path: Path) -> pd.DataFrame:
    """The sources of a batch with their separations [arcsec]."""
    galaxy = answer["galaxy"].to_numpy()
    if ((galaxy < first) | (galaxy >= stop)).any():
        raise InputError(f"{path}: IRSA answers with galaxies that were not asked for; delete it and run again")
    answer["separation_arcsec"] = wise.separation(ra[galaxy], dec[galaxy], answer["ra"], answer["dec"])
    return answer[list(wise.MATCH_COLUMNS)]
