"""AllWISE by uploaded positions, from a server on this machine that plays IRSA; recorded VOTables; separations against astropy."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from playing_archives import IrsaPlayer, votable
from pytest_httpserver import HTTPServer
from werkzeug import Response

from galmass.catalogues import irsa, wise
from galmass.errors import InputError
from galmass.transport import Policy, Transport

DATA = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere"))
IRSA, PYVO = DATA / "astroquery_recorded/astroquery/ipac/irsa/tests/data", DATA / "pyvo_recorded/pyvo/dal/tests/data/query"
recorded = pytest.mark.skipif(not IRSA.is_dir(), reason="GALMASS_REAL_DATA does not name a folder with astroquery_recorded and pyvo_recorded")
OPTIONS = {"radius_arcsec": 3.0, "batch": 7}
RNG = np.random.default_rng(8)
SKY = SkyCoord(RNG.uniform(0, 360, 20), RNG.uniform(-10, 70, 20), unit="deg")


def sources(n=20) -> pd.DataFrame:
    """A source 1 arcsec off each galaxy; every fifth has another one at 2 arcsec, every seventh none, and one is 10 arcsec off."""
    rows = []
    for i, place in enumerate(SKY[:n]):
        offsets = [] if i % 7 == 6 else [10.0] if i == 3 else [1.0, 2.0] if i % 5 == 0 else [1.0]
        for offset in offsets:
            there = place.directional_offset_by(37 * u.deg, offset * u.arcsec)
            rows.append({"ra": there.ra.deg, "dec": there.dec.deg, "w1mpro": 13.0 + offset, "w1sigmpro": 0.02, "w2mpro": 13.5, "w2sigmpro": 0.03})
            rows[-1] |= {"w3mpro": 12.5, "w3sigmpro": np.nan if i % 2 else 0.2}
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def running():
    with HTTPServer(host="127.0.0.1", port=0) as server:
        yield server


@pytest.fixture
def server(running, monkeypatch):
    from astroquery.ipac.irsa import conf

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running.clear()
    with conf.set_temp("tap_url", running.url_for("/TAP")):
        yield running


def download(server, handler, folder, **policy):
    server.clear()
    server.expect_request("/TAP/sync", method="POST").respond_with_handler(handler)
    policy = {"jitter": 0.0, "requests_per_minute": float("inf"), "attempts": 2} | policy
    return irsa.download(SKY.ra.deg, SKY.dec.deg, OPTIONS, folder, Transport(Policy(**policy), sleep=lambda s: None))


def test_matches_of_all_batches(server, tmp_path):
    player = IrsaPlayer(sources())
    found = download(server, player, tmp_path)
    assert player.asked == [7, 7, 6]
    assert list(found.columns) == list(wise.MATCH_COLUMNS)
    assert sorted(found["galaxy"]) == sorted([i for i in range(20) if i % 7 != 6 and i != 3] + [i for i in (0, 5, 10, 15)])
    np.testing.assert_allclose(found["separation_arcsec"], found["w1mpro"] - 13, atol=1e-6)
    nearest, counts = wise.nearest(found, 20, 3.0)
    assert counts == {"matched": 17, "without match": 3, "several sources": 4}
    assert nearest["w1mpro"].dropna().unique().tolist() == pytest.approx([14.0])
    assert nearest.index[nearest["w1mpro"].isna()].tolist() == [3, 6, 13]


def test_answers_wait_and_other_positions_are_asked_for_anew(server, tmp_path):
    player = IrsaPlayer(sources())
    first = download(server, player, tmp_path)
    again = download(server, player, tmp_path, offline=True)
    pd.testing.assert_frame_equal(again, first)
    assert len(player.asked) == 3
    irsa.download(SKY.ra.deg + 1e-6, SKY.dec.deg, OPTIONS, tmp_path, Transport(Policy(requests_per_minute=float("inf"))))
    assert len(player.asked) == 6


def test_killed_between_batches(server, tmp_path):
    player = IrsaPlayer(sources())
    with pytest.raises(InputError, match="status 503"):
        download(server, lambda r: Response("", 503) if len(player.asked) == 2 else player(r), tmp_path)
    download(server, player, tmp_path)
    assert player.asked == [7, 7, 6]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"<!DOCTYPE html><html>IRSA is down", "a web page came in place of the file"),
        (b"<?xml version='1.0'?>\n<!DOCTYPE html>\n<html>down", "a web page came in place of the file"),
        (b"galaxy,ra,dec\n", "no VOTable but b'galaxy"),
        (votable([])[:-30], "the VOTable has no end: it is cut"),
        (votable([], "ERROR", "Table allwise_p3as_psd not found"), r"IRSA refused the query \(ERROR: Table allwise_p3as_psd not found\)"),
        (votable([], "OVERFLOW"), r"IRSA cut the answer: more sources than MAXREC; choose smaller wise.batch"),
        (votable([]).replace(b'"w1mpro"', b'"w1gmag"'), r"IRSA's answer lacks the columns w1mpro"),
    ],
    ids=["web page", "xhtml", "csv", "cut", "refused", "overflow", "other columns"],
)
def test_answers_that_cannot_be_trusted(server, tmp_path, answer, message):
    with pytest.raises(InputError, match=message):
        download(server, lambda request: Response(answer), tmp_path)


def test_galaxies_that_were_not_asked_for(server, tmp_path):
    row = sources().iloc[0].to_dict()
    with pytest.raises(InputError, match="galaxies that were not asked for"):
        download(server, lambda request: Response(votable([{"galaxy": 12, **row}])), tmp_path)


def test_query_is_understood_by_pyvo(server):
    """The same upload by pyvo's client, which astroquery.ipac.irsa uses: the server reads it the same way."""
    from astroquery.ipac.irsa import IrsaClass

    player = IrsaPlayer(sources())
    server.expect_request("/TAP/sync", method="POST").respond_with_handler(player)
    text = irsa.ADQL.read_text().format(radius_deg=f"{3 / 3600:.8f}")
    import io

    from astropy.io.votable import parse_single_table

    table = parse_single_table(io.BytesIO(irsa.upload(SKY.ra.deg, SKY.dec.deg, 0))).to_table()
    result = IrsaClass().tap.run_sync(text, uploads={"galaxies": table}).to_table()
    assert len(result) == 21
    assert player.asked == [20]


# --- recorded ---------------------------------------------------------------------------------------------------------------


@recorded
@pytest.mark.parametrize("name", ["Cone", "Box", "Polygon"])
def test_recorded_tables_of_irsa_are_whole_but_others(name):
    path = IRSA / f"{name}.xml"
    irsa.check_answer(path)
    with pytest.raises(InputError, match="lacks the columns galaxy, w1mpro"):
        irsa.read_answer(path)


@recorded
def test_recorded_states_of_queries(tmp_path):
    with pytest.raises(InputError, match=r"IRSA refused the query \(ERROR"):
        irsa.check_answer(PYVO / "errorstatus.xml")
    with pytest.raises(InputError, match="MAXREC"):
        irsa.check_answer(PYVO / "overflowstatus.xml")
    irsa.check_answer(PYVO / "basic.xml")


@recorded
def test_recorded_reddening_of_the_dust_service():
    """The coefficients of DR13: A_r / E(B-V) of Schlafly & Finkbeiner on the scale of SFD 1998."""
    from galmass.catalogues.photometry import SDSS_EXTINCTION

    lines = (DATA / "astroquery_recorded/astroquery/ipac/irsa/irsa_dust/tests/data/dust_ext_detail.tbl").read_text().splitlines()
    # | filter | LamEff | A / E(B-V) SandF | A SandF | A / E(B-V) SFD | A SFD |
    sloan = {line.split()[1]: float(line.split()[3]) for line in lines if line.split()[:1] == ["SDSS"]}
    assert [sloan[b] for b in "ugriz"] == pytest.approx(list(SDSS_EXTINCTION["DR13 and later"]), abs=0.002)


# --- separations and limits -------------------------------------------------------------------------------------------------


def test_separation_is_astropys():
    other = SKY.directional_offset_by(RNG.uniform(0, 360, 20) * u.deg, np.geomspace(1e-3, 1e5, 20) * u.arcsec)
    # 1e-9 arcsec: rounding of degrees near 360 in double precision
    np.testing.assert_allclose(wise.separation(SKY.ra.deg, SKY.dec.deg, other.ra.deg, other.dec.deg), SKY.separation(other).arcsec, rtol=1e-7, atol=1e-9)


def test_nearest_does_not_depend_on_the_order_of_the_answer():
    rows = [(0, 1.0, 13.0), (0, 0.5, 14.0), (1, 2.0, 15.0), (1, 2.0, 14.5), (3, 3.1, 12.0), (4, 3.0, 11.0)]
    frame = pd.DataFrame([dict.fromkeys(wise.MATCH_COLUMNS, 0.1) | dict(zip(("galaxy", "separation_arcsec", "w1mpro"), row, strict=True)) for row in rows])
    expected, counts = wise.nearest(frame, 5, 3.0)
    np.testing.assert_array_equal(expected["w1mpro"], [14.0, 14.5, np.nan, np.nan, 11.0])
    assert counts == {"matched": 3, "without match": 2, "several sources": 2}
    again, _ = wise.nearest(frame.iloc[::-1], 5, 3.0)
    pd.testing.assert_frame_equal(again, expected)


@pytest.mark.filterwarnings("error")
def test_what_was_not_detected_is_a_limit():
    nothing = [np.nan, 99.0, -9999.0, 9999.0]
    for none in nothing:
        frame = pd.DataFrame({f"{b}mpro": [13.0, 16.8, none] for b in ("w1", "w2", "w3")} | {f"{b}sigmpro": [0.03, none, none] for b in ("w1", "w2", "w3")})
        table = wise.photometry(frame)
        for band in ("w1", "w2", "w3"):
            np.testing.assert_array_equal(table[f"mag_{band}"], [13.0, np.nan, np.nan])
            np.testing.assert_array_equal(table[f"mag_{band}_limit"], [np.nan, 16.8, np.nan])
        np.testing.assert_array_equal(table["mag_w2_err"], [0.03, np.nan, np.nan])
        assert "mag_w3_err" not in table
        assert wise.limits_and_detections(table)["w3"] == {"detected": 1, "limit": 1, "neither": 1}
    assert wise.photometry(pd.DataFrame({f"{b}{n}": [None, "13.1"] for b in ("w1", "w2", "w3") for n in ("mpro", "sigmpro")}))["mag_w1"].tolist()[1] == 13.1


def test_matches_of_skyserver_by_object():
    frame = pd.DataFrame([dict.fromkeys(wise.MATCH_COLUMNS, 0.1)] * 3).drop(columns="galaxy").assign(objid=[1237645879551066264, 5, 1237645879551066263])
    found = wise.from_skyserver(frame, [1237645879551066263, 1237645879551066264])
    assert found["galaxy"].tolist() == [1, 0]
    assert list(found.columns) == list(wise.MATCH_COLUMNS)
