"""The Main Galaxy Sample from SDSS SkyServer: SQL in chunks of the sky, each restartable, the union counted against the server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from galmass import stores
from galmass.errors import InputError
from galmass.integrity import Manifest, RemoteFile, Request
from galmass.stores import Column
from galmass.transport import Transport

SQL = Path(__file__).parent / "sql"
MOST_ROWS = 500_000  # of an answer; the server cuts what is more in silence
FIRST_LINE = b"#Table1"
WISE_JOINS = "JOIN wise_xmatch AS x ON x.sdss_objid = p.objID JOIN wise_allsky AS w ON w.cntr = x.wise_cntr"
WHOLE_SKY = ""
UNITS = {
    "ra": "deg",
    "dec": "deg",
    "mjd": "d",
    "rowc": "pixel",
    "colc": "pixel",
    "petroFlux": "nmgy",
    "modelFlux": "nmgy",
    "petroFluxIvar": "nmgy-2",
    "modelFluxIvar": "nmgy-2",
    "petroR50": "arcsec",
    "petroR90": "arcsec",
    "extinction": "mag",
    "lgm_tot": "dex(solMass)",
    "sfr_tot": "dex(solMass/yr)",
    "specsfr_tot": "dex(1/yr)",
}


@dataclass(frozen=True)
class Chunk:
    """A rectangle of the sky [deg], closed below and open above, the pole closed."""

    name: str
    ra: tuple[float, float]
    dec: tuple[float, float]

    @property
    def where(self) -> str:
        """Condition on the position of the spectrum."""
        top = "<=" if self.dec[1] == 90 else "<"
        return f"AND s.ra >= {self.ra[0]:g} AND s.ra < {self.ra[1]:g} AND s.dec >= {self.dec[0]:g} AND s.dec {top} {self.dec[1]:g}"


def chunks(options: Mapping) -> list[Chunk]:
    """Chunks that cover the sky once.

    Parameters
    ----------
    options : mapping
        ``ra_step_deg`` and ``dec_edges_deg`` (from -90 to 90, rising).
    """
    edges = list(map(float, options["dec_edges_deg"]))
    if edges[0] != -90 or edges[-1] != 90 or sorted(set(edges)) != edges:
        raise InputError(f"query.dec_edges_deg is {options['dec_edges_deg']}; it must rise from -90 to 90")
    starts = np.arange(0.0, 360.0, options["ra_step_deg"])
    stops = np.append(starts[1:], 360.0)
    slices = [(float(a), float(b)) for a, b in zip(starts, stops, strict=True)]
    return [Chunk(f"ra{a:05.1f}dec{low:+05.1f}", (a, b), (low, high)) for low, high in pairwise(edges) for a, b in slices]


def sql(select: str, options: Mapping, sky: str = WHOLE_SKY, joins: str = "") -> str:
    """Text of a query of the sample, comments and all.

    Parameters
    ----------
    select : str
        SELECT clause, as in ``galaxies.sql``.
    options : mapping
        ``redshift`` (two limits), ``petro_r_max`` [mag, corrected for extinction].
    sky, joins : str
        Further conditions and tables.
    """
    low, high = options["redshift"]
    limits = {"redshift_min": low, "redshift_max": high, "petro_r_max": options["petro_r_max"]}
    return select + (SQL / "main_galaxy_sample.sql").read_text().format(**limits, sky=sky, joins=joins)


def rows_sql(options: Mapping, sky: str = WHOLE_SKY) -> str:
    """Query of the galaxies."""
    return sql((SQL / "galaxies.sql").read_text(), options, sky)


def wise_sql(options: Mapping, sky: str = WHOLE_SKY) -> str:
    """Query of their matches in WISE All-Sky."""
    return sql((SQL / "wise_allsky.sql").read_text(), options, sky, WISE_JOINS)


def count_sql(options: Mapping, sky: str = WHOLE_SKY, joins: str = "") -> str:
    """Query of how many rows there are."""
    return sql("SELECT COUNT(*) AS n\n", options, sky, joins)


def columns_of(text: str) -> list[str]:
    """Names of the columns that a query gives, in its order."""
    clause = re.search(r"SELECT\s(.*?)\sFROM\s", re.sub(r"--.*", "", text), re.DOTALL)[1]
    return [item.split(" AS ")[-1].split(".")[-1].strip() for item in clause.split(",")]


def labels(text: str) -> dict[str, Column]:
    """Unit and origin of the columns of a query, for `galmass.stores.write_table`."""
    return {name: Column(UNITS.get(re.sub(r"_([ugriz]|p\w+)$", "", name), ""), f"SkyServer's {name}, as it came") for name in columns_of(text)}


def query(text: str, release: int, n: int | None = None, address: str | None = None) -> RemoteFile:
    """The answer to a query, whose number of rows `n` is known.

    The form of the query is astroquery's, and so is the address (``conf.skyserver_baseurl``) where it is not given; the answer goes through our own
    transport, for astroquery takes half an answer, and a page of maintenance, for a table.
    """
    from astroquery.sdss import SDSS, conf

    if release < 12:
        raise InputError(f"release {release}: the queries are those of data releases 12 and later")
    payload = SDSS.query_sql_async(text, data_release=release, get_query_payload=True)
    place = (address or conf.skyserver_baseurl) + SDSS.QUERY_URL_SUFFIX_DR_NEW.format(dr=release)
    return RemoteFile(Request(place, params=dict(payload)), check=lambda path: check_answer(path, n), release=f"DR{release}")


def check_answer(path: Path, n: int | None = None) -> None:
    """Raise `ValueError` for an answer that is cut, `InputError` for one that says what is wrong with the query."""
    content = path.read_bytes()
    if b"error_message" in content[:4000]:
        said = content[:600].decode(errors="replace")
        raise InputError(f"SkyServer refused the query: {said}; if it took too long, choose smaller query.ra_step_deg; if a column is unknown, another release")
    lines = content.splitlines()
    if not lines or lines[0].strip() != FIRST_LINE or len(lines) < 2:
        raise ValueError(f"no table but {content[:60]!r}")
    if lines[-1].count(b",") != lines[1].count(b","):
        raise ValueError(f"the last line is cut: {lines[-1][:60]!r}")
    if n is not None and len(lines) - 2 != n:
        raise ValueError(f"{len(lines) - 2} of {n} rows came")


def read_answer(path, expected: list[str], release: int) -> pd.DataFrame:
    """Table of an answer.

    Raises
    ------
    InputError
        When the columns are not those asked for.
    """
    frame = pd.read_csv(path, skiprows=1, na_values=["null", "NULL"])
    known = {name.lower(): name for name in expected}  # the server keeps no case
    frame = frame.rename(columns={name: known.get(name.strip().lower(), name.strip()) for name in frame})
    missing = [name for name in expected if name not in frame]
    strange = [name for name in frame if name not in expected]
    if missing or strange:
        raise InputError(
            f"{path}: data release {release} answers with other columns: {', '.join(missing) or 'none'} missing, {', '.join(strange) or 'none'} unasked for; "
            "pin the release that the queries were written for (17), or mend sql/galaxies.sql"
        )
    return frame[expected]


@dataclass(frozen=True)
class SkyServer:
    """Queries of one data release, their answers kept in a folder.

    Parameters
    ----------
    release : int
        Data release, 17 for DR17.
    folder : path
        Where the answers wait: what came in an earlier run is not asked for again.
    transport : Transport
    """

    release: int
    folder: Path
    transport: Transport

    def ask(self, name: str, text: str, n: int | None = None) -> pd.DataFrame:
        """Answer to a query; its file carries a digest of the query, so that another query finds no old answer."""
        path = Path(self.folder) / f"{name}.{stores.digest(text.encode())[:8]}.csv"
        remote = query(text, self.release, n, self.transport.policy.address)
        self.transport.fetch(remote, path, Manifest(Path(self.folder) / "manifest.jsonl"))
        return read_answer(path, columns_of(text), self.release)

    def count(self, name: str, text: str) -> int:
        """Answer to a COUNT(*)."""
        return int(self.ask(name, text, 1)["n"].iloc[0])

    def galaxies(self, chunk: Chunk, options: Mapping) -> pd.DataFrame:
        """All galaxies of a chunk."""
        n = self.count(f"{chunk.name}.count", count_sql(options, chunk.where))
        if n > MOST_ROWS:
            raise InputError(f"{n} galaxies in chunk {chunk.name}, and SkyServer gives {MOST_ROWS} rows; choose a smaller query.ra_step_deg")
        text = rows_sql(options, chunk.where)
        return self.ask(f"{chunk.name}.galaxies", text, n) if n else pd.DataFrame(columns=columns_of(text))

    def wise(self, chunk: Chunk, options: Mapping) -> pd.DataFrame:
        """All matches of a chunk in WISE All-Sky, as the release has them."""
        text, n = wise_sql(options, chunk.where), self.count(f"{chunk.name}.wise_count", count_sql(options, chunk.where, WISE_JOINS))
        return self.ask(f"{chunk.name}.wise", text, n) if n else pd.DataFrame(columns=columns_of(text))


def download(options: Mapping, server: SkyServer, advance=lambda n: None) -> tuple[pd.DataFrame, dict]:
    """The whole sample, chunk by chunk.

    Parameters
    ----------
    options : mapping
        As in `chunks` and `sql`.
    server : SkyServer
    advance : callable
        Called with 1 after each chunk.

    Returns
    -------
    galaxies : DataFrame
        Columns of ``sql/galaxies.sql``, in the order of specobjid.
    notes : dict
        SQL texts, release, number of chunks and rows.

    Raises
    ------
    InputError
        When the union is not the sample: duplicates, or another number than COUNT(*) of the whole sky.
    """
    galaxies = _of_chunks(server.galaxies, options, advance)
    union = _union(galaxies, server.count("count", count_sql(options)))
    return union, {"release": f"DR{server.release}", "n": len(union), "chunks": len(galaxies), "sql": rows_sql(options), "count_sql": count_sql(options)}


def download_wise(options: Mapping, server: SkyServer, advance=lambda n: None) -> pd.DataFrame:
    """The matches of the whole sample in WISE All-Sky, columns of ``sql/wise_allsky.sql``; parameters as in `download`."""
    found = _of_chunks(server.wise, options, advance)
    return pd.concat([part for part in found if len(part)] or found[:1], ignore_index=True)


def _of_chunks(ask, options: Mapping, advance) -> list[pd.DataFrame]:
    """Answer to a query for every chunk."""
    answers = []
    for chunk in chunks(options):
        answers.append(ask(chunk, options))
        advance(1)
    return answers


def _union(parts: list[pd.DataFrame], expected: int) -> pd.DataFrame:
    """All rows, each once, as many as expected."""
    filled = [part for part in parts if len(part)]
    if not filled:
        raise InputError("SkyServer has no galaxy within the limits of the configuration (query.redshift, query.petro_r_max)")
    union = pd.concat(filled, ignore_index=True).sort_values("specobjid", ignore_index=True)
    twice = union["specobjid"].duplicated()
    if twice.any():
        raise InputError(f"{twice.sum()} spectra came in two chunks, the first {union['specobjid'][twice].iloc[0]}; delete the answers and run again")
    if len(union) != expected:
        raise InputError(f"the chunks hold {len(union)} galaxies, SkyServer counts {expected}; delete the answers and run again")
    return union


def expected_load(options: Mapping, n_galaxy: int = 516_525) -> dict:
    """Requests, rows, megabytes and minutes of a download; the default is the number of the paper.

    A row has 0.77 kB (77 columns with eight digits), a chunk takes the server about half a minute.
    """
    n_chunk = len(chunks(options))
    return {"rows": n_galaxy, "requests": 2 * n_chunk + 1, "megabytes": round(n_galaxy * 0.77e-3), "minutes": round(0.5 * n_chunk)}
