"""Recorded answers of SkyServer, IRSA, its dust service, ALMA and TAP services, played with faults by a server on this machine."""

import os
import warnings
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from galmass.catalogues import skyserver
from galmass.errors import InputError
from galmass.integrity import RemoteFile, Request
from galmass.transport import Policy, Transport

DATA = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere"))
pytestmark = pytest.mark.skipif(
    not (DATA / "pyvo_recorded").is_dir(), reason="GALMASS_REAL_DATA does not name a folder with astroquery_recorded and pyvo_recorded"
)
FILES = sorted(path for name in ("astroquery_recorded", "pyvo_recorded") for path in (DATA / name).rglob("data/**/*") if path.is_file())
PAGES = [path for path in FILES if path.suffix in (".html", ".htm")]
EMPTY = [path for path in FILES if not path.stat().st_size]


@pytest.fixture(scope="module")
def running():
    with HTTPServer(host="127.0.0.1", port=0) as server:
        yield server


@pytest.fixture
def server(running, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running.clear()
    return running


def faulty(content: bytes):
    """503, then a web page, then half of it, then all."""

    def half():
        response = Response(iter([content[: len(content) // 2]]))
        response.headers["Content-Length"] = str(len(content))
        return response

    answers = [lambda: Response("", 503), lambda: Response("<!doctype html><p>maintenance"), half, lambda: Response(content)]
    return lambda request: answers.pop(0)()


def transport(**policy):
    return Transport(Policy(**{"jitter": 0.0, "requests_per_minute": float("inf"), "attempts": 4} | policy), sleep=lambda s: None)


@pytest.mark.parametrize("path", [path for path in FILES if path not in PAGES + EMPTY], ids=lambda path: path.name)
def test_every_answer_comes_through_its_faults(server, tmp_path, path):
    content = path.read_bytes()
    server.expect_request("/x").respond_with_handler(faulty(content))
    transport().fetch(RemoteFile(Request(server.url_for("/x"))), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == content


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_recorded_web_pages_are_seen(server, tmp_path, path):
    server.expect_request("/x").respond_with_data(path.read_bytes(), content_type="application/octet-stream")
    with pytest.raises(InputError, match="a web page came in place of the file"):
        transport(attempts=1).fetch(RemoteFile(Request(server.url_for("/x"))), tmp_path / "x")


def test_skyserver_answer_through_its_faults(server, tmp_path):
    from astroquery.sdss import conf

    recorded = DATA / "astroquery_recorded/astroquery/sdss/tests/data/xid_im.txt"
    server.expect_request("/dr17/en/tools/search/x_results.aspx").respond_with_handler(faulty(recorded.read_bytes()))
    text = "SELECT p.ra, p.dec, p.objid, p.run, p.rerun, p.camcol, p.field FROM PhotoObj AS p"
    with conf.set_temp("skyserver_baseurl", server.url_for("").rstrip("/")):
        frame = skyserver.SkyServer(17, tmp_path, transport()).ask("objects", text, 18)
    assert frame["objid"].iloc[-1] == 1237649953859240023
    assert frame["field"].tolist().count(163) == 3


def test_recorded_votables_are_read_like_astropy(tmp_path):
    from astropy.io.votable import parse_single_table

    from galmass.catalogues import irsa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("Cone", "Box", "Polygon"):
            path = DATA / f"astroquery_recorded/astroquery/ipac/irsa/tests/data/{name}.xml"
            ours = irsa._votable(path).get_first_table().to_table()
            assert ours.colnames == parse_single_table(str(path)).to_table().colnames
