"""SkyServer and IRSA as far as the catalogue asks them: made-up galaxies, and handlers that answer queries about them."""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io.votable import from_table, parse_single_table
from astropy.table import Table
from werkzeug import Response

from galmass.catalogues import skyserver, wise
from galmass.catalogues.photometry import SDSS_EXTINCTION

LIMITS = {"redshift": [0.005, 0.4], "petro_r_max": 17.8, "ra_step_deg": 90, "dec_edges_deg": [-90, 15, 90]}
DR17 = SDSS_EXTINCTION["DR13 and later"]


def galaxies(n=60, seed=3, coefficients=DR17) -> pd.DataFrame:
    """Rows as SkyServer answers to ``sql/galaxies.sql``, in the order of specobjid."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"specobjid": 299489676975171584 + 1000 * np.arange(n), "objid": 1237645879551066262 + np.arange(n) * 7})
    frame["ra"], frame["dec"] = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-0.2, 0.95, n)))
    frame["z"], frame["zErr"], frame["zWarning"] = rng.uniform(0.02, 0.2, n), rng.uniform(5e-6, 3e-5, n), 0
    for name, low, high in (("plate", 266, 2974), ("mjd", 51600, 54600), ("fiberid", 1, 641), ("run", 94, 8000), ("camcol", 1, 7), ("field", 11, 800)):
        frame[name] = rng.integers(low, high, n)
    frame["rerun"], frame["clean"], frame["bptclass"] = 301, 1, rng.integers(-1, 6, n)
    mass = rng.uniform(9, 11.5, n)
    for name, offset in (("p2p5", -0.2), ("p16", -0.1), ("p50", 0.0), ("p84", 0.08), ("p97p5", 0.17)):
        frame[f"lgm_tot_{name}"] = mass + offset
    ssfr = rng.uniform(-13, -9, n)
    for name, offset in (("p16", -0.3), ("p50", 0.0), ("p84", 0.3)):
        frame[f"sfr_tot_{name}"], frame[f"specsfr_tot_{name}"] = ssfr + mass + offset, ssfr + offset
    ebv = rng.uniform(0.01, 0.1, n)
    for i, band in enumerate("ugriz"):
        flux = 10 ** (0.4 * (22.5 - rng.uniform(16, 17.5, n) - [2.5, 0.8, 0, -0.3, -0.5][i]))
        for name in ("petro", "model"):
            frame[f"{name}Flux_{band}"], frame[f"{name}FluxIvar_{band}"] = flux, (0.02 * flux) ** -2
        frame[f"rowc_{band}"], frame[f"colc_{band}"] = rng.uniform(64, 1425, n), rng.uniform(0, 2048, n)
        frame[f"petroR50_{band}"], frame[f"petroR90_{band}"] = rng.uniform(1, 4, n), rng.uniform(4, 10, n)
        frame[f"expAB_{band}"], frame[f"extinction_{band}"] = rng.uniform(0.2, 1, n), ebv * coefficients[i]
    # as the server prints them
    frame = frame[skyserver.columns_of(skyserver.rows_sql(LIMITS))]
    return pd.read_csv(io.StringIO(frame.to_csv(index=False, float_format="%.8g")))


def matches(table: pd.DataFrame, seed=4) -> pd.DataFrame:
    """WISE sources of the galaxies, columns of ``sql/wise_allsky.sql``: one in ten has none, one in ten has two."""
    rng = np.random.default_rng(seed)
    kind = np.arange(len(table)) % 10
    objid = np.concatenate([table["objid"][kind > 0], table["objid"][kind == 5]])
    frame = pd.DataFrame({"objid": objid, "separation_arcsec": rng.uniform(0, 1.0, len(objid)).round(6)})
    for i, band in enumerate(("w1", "w2", "w3")):
        frame[f"{band}mpro"] = rng.uniform(12, 15, len(objid)).round(3)
        frame[f"{band}sigmpro"] = np.where(rng.random(len(objid)) < 0.1 + 0.2 * i, np.nan, 0.03)
    return frame


def sersic_files(table: pd.DataFrame, folder: Path, n_band=5, n_missing=0) -> Path:
    """The NYU-VAGC's: objects 0.3 arcsec off the galaxies, in another order; the last galaxy is missing, the first has no fit in r."""
    sky = SkyCoord(table["ra"], table["dec"], unit="deg")[::-1][1:].directional_offset_by(10 * u.deg, 0.3 * u.arcsec)
    index = 1 + np.arange(len(sky))[::-1, None] * 0.1 + np.arange(n_band) * 0.01
    index[-1, 2:3] = 0.0
    folder.mkdir(exist_ok=True)
    Table({"RA": sky.ra.deg, "DEC": sky.dec.deg, "RUN": np.ones(len(sky), int)}).write(folder / "object_sdss_imaging.fits")
    Table({"SERSIC_N": index.astype(np.float32)[n_missing:]}).write(folder / "sersic_catalog.fits")
    return folder


class SkyServerPlayer:
    """Answers the queries of `galmass.catalogues.skyserver` about a table, and counts them."""

    def __init__(self, table: pd.DataFrame, sources: pd.DataFrame | None = None):
        self.table, self.sources, self.asked = table, sources, []

    def __call__(self, request) -> Response:
        command = request.args["cmd"]
        self.asked.append(command)
        assert request.args["format"] == "csv"
        assert "--" not in command
        return Response(self.csv(self.rows(command)), content_type="text/plain")

    def rows(self, command: str) -> pd.DataFrame:
        chosen = self.table[self._inside(command, self.table)]
        if "wise_xmatch" in command:
            chosen = self.sources[self.sources["objid"].isin(chosen["objid"])]
        return pd.DataFrame({"n": [len(chosen)]}) if "COUNT(*)" in command else chosen[skyserver.columns_of(command)]

    @staticmethod
    def _inside(command: str, table: pd.DataFrame) -> np.ndarray:
        inside = np.ones(len(table), bool)
        for name, sign, limit in re.findall(r"s\.(ra|dec) (>=|<=|<|>) (-?[\d.]+)", command):
            inside &= {">=": np.greater_equal, "<=": np.less_equal, "<": np.less, ">": np.greater}[sign](table[name].to_numpy(), float(limit))
        return inside

    @staticmethod
    def csv(frame: pd.DataFrame) -> str:
        return "#Table1\n" + frame.to_csv(index=False, na_rep="null")


class IrsaPlayer:
    """Answers TAP uploads about AllWISE sources at `ra`, `dec` [deg], and counts them."""

    def __init__(self, sources: pd.DataFrame):
        self.sources, self.asked = sources, []

    def __call__(self, request) -> Response:
        query = request.form["QUERY"]
        radius = float(re.search(r"g\.dec, ([\d.]+)\)", query)[1]) * 3600
        uploaded = parse_single_table(io.BytesIO(request.files[request.form["UPLOAD"].split("param:")[1]].read())).to_table()
        self.asked.append(len(uploaded))
        rows = []
        for galaxy in uploaded:
            near = self.sources[wise.separation(galaxy["ra"], galaxy["dec"], self.sources["ra"], self.sources["dec"]) <= radius]
            rows += [{"galaxy": galaxy["galaxy"], **source} for source in near.to_dict("records")]
        return Response(votable(rows), content_type="application/x-votable+xml")


def votable(rows: list[dict], status: str = "OK", said: str = "") -> bytes:
    """A TAP answer."""
    names = ("galaxy", "ra", "dec", *(f"{b}{name}" for b in ("w1", "w2", "w3") for name in ("mpro", "sigmpro")))
    table = Table({name: np.ma.masked_invalid([float(row[name]) for row in rows]) if rows else np.ma.zeros(0) for name in names})
    document = io.BytesIO()
    from_table(table).to_xml(document)
    info = f'<INFO name="QUERY_STATUS" value="{status}">{said}</INFO>'.encode()
    return document.getvalue().replace(b"<TABLE", info + b"<TABLE", 1)
