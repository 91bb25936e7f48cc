"""Frames from a server on this machine that plays the Science Archive Server: each once, whole, with its manifest; a real frame."""

import bz2
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from galmass.errors import InputError
from galmass.images import archives, chunks, frames
from galmass.integrity import Manifest
from galmass.transport import Policy, Transport

REAL = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere")) / "sdss_frame_small_tractor" / "frame-r-001000-1-0100.fits.bz2"
recorded = pytest.mark.skipif(not REAL.is_file(), reason="GALMASS_REAL_DATA does not name a folder with sdss_frame_small_tractor")
USED = pd.DataFrame({"run": [2820, 94, 2820, 2820], "camcol": [3, 1, 3, 3], "field": [122, 300, 122, 123]})
QUICK = {"jitter": 0.0, "requests_per_minute": float("inf"), "attempts": 2, "parallel": 3}


@pytest.fixture(scope="module")
def running():
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server:
        yield server


@pytest.fixture
def server(running, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running.clear()
    return running


def content(path: str) -> bytes:
    return bz2.compress(random.Random(path).randbytes(5000))


def serving(server, answer=lambda request: Response(content(request.path)), **policy):
    asked = []

    def handler(request):
        asked.append(request.path)
        return answer(request)

    import re

    server.clear()
    server.expect_request(re.compile("/sas/.*")).respond_with_handler(handler)
    return asked, Transport(Policy(**QUICK | {"address": server.url_for("/sas")} | policy), sleep=lambda s: None)


def test_addresses_are_astroquerys():
    from astroquery.sdss import SDSS, conf

    for release, instrument in ((12, "boss"), (13, "eboss"), (17, "eboss"), (18, "prior-surveys/sdss4-dr17-eboss")):
        known = {"dr": release, "instrument": instrument, "rerun": 301, "run": 94, "camcol": 3, "band": "z", "field": 42}
        expected = SDSS.IMAGING_URL_SUFFIX.format(base=conf.sas_baseurl, **known)
        assert archives.frame_address("z", 94, 3, 42, release=release) == expected
    assert archives.frame_address("r", 2820, 3, 122).endswith("/dr17/eboss/photoObj/frames/301/2820/3/frame-r-002820-3-0122.fits.bz2")


def test_fields_are_not_split_between_chunks():
    rng = np.random.default_rng(2)
    used = pd.DataFrame({"run": rng.integers(94, 99, 500), "camcol": rng.integers(1, 7, 500), "field": rng.integers(11, 15, 500)})
    chunk = chunks.chunks_of_fields(used, 7)
    fields = used.assign(chunk=chunk).groupby(["run", "camcol", "field"])["chunk"]
    assert (fields.nunique() == 1).all()
    sizes = fields.first().value_counts()
    assert len(sizes) == 7
    assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(chunks.chunks_of_fields(used.iloc[::-1], 7), chunk[::-1])  # whatever the order


def test_every_frame_once(server, tmp_path):
    asked, transport = serving(server)
    notes = archives.download_frames(USED, tmp_path, transport)
    assert len(asked) == len(set(asked)) == 15
    assert notes["frames"] == 15
    assert notes["missing"] == []
    assert notes["bytes"] == sum(path.stat().st_size for path in tmp_path.glob("*.bz2"))
    assert frames.fields_in(tmp_path) == [(94, 1, 300), (2820, 3, 122), (2820, 3, 123)]
    path = frames.find(tmp_path, "g", 2820, 3, 122)
    assert path.read_bytes() == content("/sas/dr17/eboss/photoObj/frames/301/2820/3/frame-g-002820-3-0122.fits.bz2")
    entry = Manifest(tmp_path / "manifest.jsonl").get(path)
    assert entry["url"].endswith("/dr17/eboss/photoObj/frames/301/2820/3/frame-g-002820-3-0122.fits.bz2")
    assert entry["release"] == "DR17"
    archives.download_frames(USED, tmp_path, Transport(Policy(offline=True)))  # they are there
    assert len(asked) == 15


def test_expected_frames():
    assert archives.expected_frames(USED) == {"frames": 15, "gigabytes": 0.0}
    assert archives.expected_frames(pd.DataFrame({"run": range(1000), "camcol": 1, "field": 11}))["gigabytes"] == pytest.approx(5000 * 3.3e-3)


def test_frames_that_the_archive_does_not_have_are_counted(server, tmp_path):
    _, transport = serving(server, lambda r: Response("none", 404) if "frame-u-000094" in r.path else Response(content(r.path)))
    notes = archives.download_frames(USED, tmp_path, transport)
    assert notes["frames"] == 14
    assert len(notes["missing"]) == 1
    assert "frame-u-000094-1-0300.fits.bz2 is not there any more (status 404" in notes["missing"][0]


def test_an_archive_that_has_moved_is_no_archive_without_frames(server, tmp_path):
    _, transport = serving(server, lambda r: Response("gone", 404))
    said = r"frame-u-000094-1-0300\.fits\.bz2 is not there .*\(archives\.sas\.address, or .*archives\.mirror\): none of 15 files"
    with pytest.raises(InputError, match=said):
        archives.download_frames(USED, tmp_path, transport)
    assert Manifest(tmp_path / "manifest.jsonl").entries() == []
    asked, transport = serving(server)
    assert archives.download_frames(USED, tmp_path, transport)["frames"] == 15
    assert len(asked) == 15


def test_a_download_killed_at_half_goes_on(server, tmp_path):
    count = []

    def dying(request):
        count.append(1)
        return Response(content(request.path)) if len(count) <= 7 else Response("", 503)

    _, transport = serving(server, dying, parallel=1)
    with pytest.raises(InputError, match="status 503; run again later"):
        archives.download_frames(USED, tmp_path, transport)
    asked, transport = serving(server)
    archives.download_frames(USED, tmp_path, transport)
    assert len(asked) == 8
    assert len(list(tmp_path.glob("frame-*.bz2"))) == 15
    assert not list(tmp_path.glob("*.part*"))


def test_discarded_frames_leave_their_manifest(server, tmp_path):
    _, transport = serving(server)
    size = archives.download_frames(USED, tmp_path, transport)["bytes"]
    assert chunks.discard_frames(tmp_path) == size
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]
    assert len(Manifest(tmp_path / "manifest.jsonl").entries()) == 15


@recorded
def test_real_frame_through_faults_and_from_a_mirror(server, tmp_path):
    """Cut twice, then whole: the frame reads like the file itself."""
    whole = REAL.read_bytes()
    answers = [Response(whole[:100_000]), Response("<html>down", content_type="text/html"), Response(whole)]
    _, transport = serving(server, lambda request: answers.pop(0), attempts=3)
    used = pd.DataFrame({"run": [1000], "camcol": [1], "field": [100]})
    archives.download_frames(used, tmp_path / "a", transport, ["r"])
    expected = frames.read(REAL)
    np.testing.assert_array_equal(frames.read_named(tmp_path / "a", "r", 1000, 1, 100).image, expected.image)
    mirrored = tmp_path / "mirror" / "data.sdss.org" / archives.frame_address("r", 1000, 1, 100).split("data.sdss.org/")[1]
    mirrored.parent.mkdir(parents=True)
    shutil.copy(REAL, mirrored)
    archives.download_frames(used, tmp_path / "b", Transport(Policy(offline=True, mirror=str(tmp_path / "mirror"))), ["r"])
    np.testing.assert_array_equal(frames.read_named(tmp_path / "b", "r", 1000, 1, 100).image, expected.image)
