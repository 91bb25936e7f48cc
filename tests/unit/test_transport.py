"""Downloads against a server on this machine that fails in every way that archives do; nothing cut or strange is ever trusted."""

import bz2
import errno
import gzip
import hashlib
import os
import random
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import playing_files
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from galmass.errors import InputError
from galmass.integrity import MAGIC, Manifest, RemoteFile, Request, ended_bzip2, whole_fits, whole_gzip
from galmass.transport import Answer, Gone, Policy, Transport, policy_of

WORKFLOW = Path(__file__).parents[2] / "workflow"
RAW = bytes(range(256)) * 400
CONTENT = bz2.compress(random.Random(5).randbytes(30_000))
PATH = "/sas/dr17/frame-r-002820-3-0122.fits.bz2"
QUICK = {"jitter": 0.0, "requests_per_minute": float("inf"), "timeout_s": 2.0, "pause_s": 0.5, "longest_pause_s": 4.0}


@pytest.fixture(scope="module")
def running():
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server:
        yield server


@pytest.fixture
def server(running, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running.clear()
    return running


class Archive:
    """Handler that gives its answers in order, then the last one for ever; functions of the request are called."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, request):
        self.asked.append(dict(request.headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(request) if callable(answer) and not isinstance(answer, Response) else answer


def whole(request, content=CONTENT, etag='"one"'):
    return playing_files.whole(request, content, etag)


def cut(after):
    """Fewer bytes than announced, then the connection closes."""

    def answer(request):
        response = whole(request)
        body = response.get_data()
        response = Response(iter([body[:after]]), response.status_code, response.headers)
        response.headers["Content-Length"] = str(len(body))
        return response

    return answer


def reset(request):
    """Some bytes, then a reset connection (RST)."""

    def body():
        yield CONTENT[:4000]
        time.sleep(0.05)
        connection = request.environ["werkzeug.socket"]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())
        yield CONTENT[4000:]

    return Response(body(), headers={"Content-Length": str(len(CONTENT)), "ETag": '"one"'})


def drip(request):
    """A few bytes now and then: no read ever times out."""

    def body():
        for i in range(200):
            yield CONTENT[i : i + 1]
            time.sleep(0.05)

    return Response(body(), headers={"Content-Length": str(len(CONTENT))})


PAGE = Response("<!DOCTYPE html><html>We are down for maintenance</html>", content_type="text/html")


def remote(server, **known):
    return RemoteFile(Request(server.url_for(PATH)), **({"magic": MAGIC["bzip2"], "check": ended_bzip2, "release": "DR17"} | known))


def fetch(server, archive, path, manifest=None, policy=None, **known):
    """Fetch by a transport that notes its pauses in place of sleeping; returns them."""
    server.expect_request(PATH).respond_with_handler(archive)
    pauses = []
    Transport(Policy(**QUICK | (policy or {})), sleep=pauses.append).fetch(remote(server, **known), path, manifest)
    return pauses


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_and_its_entry(server, tmp_path):
    manifest = Manifest(tmp_path / "manifest.jsonl")
    archive = Archive(whole)
    assert fetch(server, archive, tmp_path / "frame", manifest) == []
    assert (tmp_path / "frame").read_bytes() == CONTENT
    (entry,) = Manifest(tmp_path / "manifest.jsonl").entries()
    assert entry["path"] == "frame"
    assert (entry["url"], entry["bytes"], entry["release"]) == (server.url_for(PATH), len(CONTENT), "DR17")
    assert entry["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert entry["date"].startswith("20")
    assert left(tmp_path) == ["frame", "manifest.jsonl"]
    fetch(server, archive, tmp_path / "frame", Manifest(tmp_path / "manifest.jsonl"))
    assert len(archive.asked) == 1  # it is there


@pytest.mark.parametrize("damage", [b"x", CONTENT[:-1], CONTENT[:50] + b"?" + CONTENT[51:]], ids=["other", "cut", "one byte"])
def test_a_damaged_file_is_fetched_again(server, tmp_path, damage):
    manifest, archive = Manifest(tmp_path / "manifest.jsonl"), Archive(whole)
    fetch(server, archive, tmp_path / "frame", manifest)
    (tmp_path / "frame").write_bytes(damage)
    fetch(server, archive, tmp_path / "frame", manifest)
    assert (tmp_path / "frame").read_bytes() == CONTENT
    assert len(archive.asked) == 2


def test_a_file_of_another_release_is_fetched_again(server, tmp_path):
    archive = Archive(whole)
    for release in ("DR17", "DR17", "DR18"):
        fetch(server, archive, tmp_path / "frame", Manifest(tmp_path / "manifest.jsonl"), release=release)
    assert len(archive.asked) == 2
    assert Manifest(tmp_path / "manifest.jsonl").get(tmp_path / "frame")["release"] == "DR18"


def test_policy_of_one_archive():
    options = {"offline": False, "timeout_s": 30.0, "parallel": 4, "skyserver": {"timeout_s": 660.0, "requests_per_minute": 30.0, "parallel": 1}}
    assert policy_of(options, "sas") == Policy(timeout_s=30.0, parallel=4)
    assert policy_of(options, "skyserver") == Policy(timeout_s=660.0, requests_per_minute=30.0)


# --- every fault of the list ends in the right bytes ... -------------------------------------------------------------------

FAULTS = {
    "503": (Response("busy", 503), "status 503"),
    "500": (Response("oops", 500), "status 500"),
    "429": (Response("slow down", 429, {"Retry-After": "3"}), "status 429"),
    "web page with status 200": (PAGE, "a web page came in place of the file: b'<!DOCTYPE html>"),
    "web page called binary": (Response("\r\n<html>Sorry", content_type="application/octet-stream"), "a web page came"),
    "empty": (Response(""), "an empty answer came"),
    "truncated": (cut(3000), r"IncompleteRead|\d+ of \d+ bytes came"),
    "shorter than it is": (lambda r: Response(CONTENT[:3000]), "the bzip2 stream has no end"),
    "longer than it is": (lambda r: Response(CONTENT + b"\0" * 20), "the bzip2 stream has no end"),
    "other bytes": (Response(b"\x00" * 100), r"it begins with b'\\x00"),
    "reset": (reset, "[Rr]eset|IncompleteRead|aborted"),
    "slow drip": (drip, r"\d+ bytes came in"),
    "silence": (lambda r: time.sleep(2.6) or whole(r), "[Tt]imed out"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_then_the_right_bytes(server, tmp_path, name):
    archive = Archive(FAULTS[name][0], FAULTS[name][0], whole)
    pauses = fetch(server, archive, tmp_path / "frame", policy={"patience_s": 0.3, "timeout_s": 0.5})
    assert (tmp_path / "frame").read_bytes() == CONTENT
    assert pauses == ([3.0, 3.0] if name == "429" else [0.5, 1.0])
    assert left(tmp_path) == ["frame"]


@pytest.mark.parametrize("name", FAULTS)
def test_lasting_fault_is_a_clear_error(server, tmp_path, name):
    fault, message = FAULTS[name]
    with pytest.raises(InputError, match=f"{PATH}: 3 attempts failed, the last with: .*({message})") as error:
        fetch(server, Archive(fault), tmp_path / "frame", policy={"attempts": 3, "patience_s": 0.3, "timeout_s": 0.5})
    assert "run again later, what was downloaded is kept" in str(error.value)
    assert not (tmp_path / "frame").exists()


def test_nobody_answers(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
    with pytest.raises(InputError, match=r"2 attempts failed.*refused"):
        Transport(Policy(**QUICK | {"attempts": 2}), sleep=lambda s: None).fetch(RemoteFile(Request(url)), tmp_path / "x")


@pytest.mark.parametrize(("status", "kind"), [(404, Gone), (410, Gone), (400, InputError), (401, InputError), (403, InputError)])
def test_other_refusals_fail_at_once_and_show_what_was_said(server, tmp_path, status, kind):
    archive = Archive(Response("Incorrect syntax near FORM" + "." * 500, status))
    with pytest.raises(kind, match=f"status {status}: b'Incorrect syntax near FORM") as error:
        fetch(server, archive, tmp_path / "frame")
    assert len(archive.asked) == 1
    assert len(str(error.value)) < 500
    assert left(tmp_path) == []


def test_moved(server, tmp_path):
    server.expect_request("/new/frame").respond_with_handler(whole)
    fetch(server, Archive(Response("", 301, {"Location": "/new/frame"})), tmp_path / "frame")
    assert (tmp_path / "frame").read_bytes() == CONTENT
    server.clear()
    with pytest.raises(InputError, match="moved in circles; look up its address"):
        fetch(server, Archive(Response("", 302, {"Location": PATH})), tmp_path / "other")


def test_retry_after_may_be_a_date(server, tmp_path):
    from email.utils import formatdate

    busy = lambda r: Response("", 503, {"Retry-After": formatdate(time.time() + 3, usegmt=True)})  # noqa: E731
    (pause,) = fetch(server, Archive(busy, whole), tmp_path / "frame")
    assert pause == pytest.approx(2.5, abs=0.6)  # dates have whole seconds


def test_a_server_may_not_ask_for_hours(server, tmp_path):
    assert fetch(server, Archive(Response("", 503, {"Retry-After": "86400"}), whole), tmp_path / "frame") == [QUICK["longest_pause_s"]]


# --- going on ---------------------------------------------------------------------------------------------------------------


def test_interrupted_download_goes_on(server, tmp_path):
    archive = Archive(cut(3000), cut(500), whole)
    fetch(server, archive, tmp_path / "frame")
    assert (tmp_path / "frame").read_bytes() == CONTENT
    assert [asked.get("Range") for asked in archive.asked] == [None, "bytes=3000-", "bytes=3500-"]
    assert [asked.get("If-Range") for asked in archive.asked] == [None, '"one"', '"one"']


def test_killed_download_goes_on_in_the_next_run(server, tmp_path):
    with pytest.raises(InputError):
        fetch(server, Archive(cut(3000)), tmp_path / "frame", policy={"attempts": 1})
    server.clear()
    archive = Archive(whole)
    fetch(server, archive, tmp_path / "frame")
    assert archive.asked[0]["Range"] == "bytes=3000-"
    assert (tmp_path / "frame").read_bytes() == CONTENT
    assert left(tmp_path) == ["frame"]


def test_a_process_killed_at_half_leaves_what_the_next_goes_on_from(server, tmp_path):
    half = len(CONTENT) // 2

    def stalling(request):
        def body():
            yield CONTENT[:half]
            time.sleep(10)

        return Response(body(), headers={"Content-Length": str(len(CONTENT)), "ETag": '"one"'})

    server.expect_request(PATH).respond_with_handler(stalling)
    code = f"""if True:
        from galmass.integrity import RemoteFile, Request
        from galmass.transport import Transport
        Transport().fetch(RemoteFile(Request({server.url_for(PATH)!r})), {str(tmp_path / "frame")!r})"""
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(WORKFLOW)})
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > half // 2 for path in tmp_path.glob("frame.*.part")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    (part,) = tmp_path.glob("frame.*.part")
    kept = part.stat().st_size
    server.clear()
    archive = Archive(whole)
    fetch(server, archive, tmp_path / "frame", magic=b"", check=None)
    assert archive.asked[0]["Range"] == f"bytes={kept}-"
    assert (tmp_path / "frame").read_bytes() == CONTENT
    assert left(tmp_path) == ["frame"]


def test_a_file_that_changed_meanwhile_is_not_pieced_together(server, tmp_path):
    other = bz2.compress(random.Random(6).randbytes(30_000))
    archive = Archive(cut(3000), lambda r: whole(r, other, '"two"'))
    fetch(server, archive, tmp_path / "frame")
    assert archive.asked[1]["If-Range"] == '"one"'
    assert (tmp_path / "frame").read_bytes() == other


def test_without_validator_or_checksum_it_begins_anew(server, tmp_path):
    def nameless(after):
        def answer(request):
            response = cut(after)(request)
            del response.headers["ETag"]
            return response

        return answer

    archive = Archive(nameless(3000), lambda r: whole(r, etag=None))
    fetch(server, archive, tmp_path / "frame")
    assert "Range" not in archive.asked[1]
    server.clear()
    archive = Archive(nameless(3000), lambda r: whole(r, etag=None))
    fetch(server, archive, tmp_path / "other", md5=hashlib.md5(CONTENT).hexdigest())
    assert archive.asked[1]["Range"] == "bytes=3000-"
    assert (tmp_path / "other").read_bytes() == CONTENT


def test_without_length_only_a_check_tells(server, tmp_path):
    def endless(request):  # HTTP/1.0 without a length: the end of the connection is the end of the file
        return Response(iter([CONTENT[:3000]]), headers={"Connection": "close"})

    fetch(server, Archive(endless, whole), tmp_path / "frame")
    assert (tmp_path / "frame").read_bytes() == CONTENT
    scripted = Transport(Policy(**QUICK | {"attempts": 1}), lambda request: Answer(200, {}, [CONTENT]))
    with pytest.raises(InputError, match="does not say how long it is"):
        scripted.fetch(remote(server, check=None), tmp_path / "other")
    chunked = Transport(Policy(**QUICK), lambda request: Answer(200, {"transfer-encoding": "chunked"}, [CONTENT]))
    chunked.fetch(remote(server, check=None), tmp_path / "other")


def test_full_disk_is_said_and_the_network_not_asked_again(server, tmp_path):
    archive = Archive(whole)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # writing beyond gives EFBIG, as a full disk gives ENOSPC
    try:
        with pytest.raises(InputError, match=r"frame cannot be written .*; free space, then run again"):
            fetch(server, archive, tmp_path / "frame")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(archive.asked) == 1
    assert not (tmp_path / "frame").exists()
    fetch(server, archive, tmp_path / "frame")
    assert (tmp_path / "frame").read_bytes() == CONTENT
    raising = Transport(Policy(**QUICK), lambda request: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(InputError, match="No space left on device"):
        raising.fetch(remote(server), tmp_path / "x")


# --- many at once -----------------------------------------------------------------------------------------------------------


def test_parallel_downloads_within_the_policy(server, tmp_path):
    under_way, most, lock = [0], [0], threading.Lock()

    def slow(request):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.1)
        with lock:
            under_way[0] -= 1
        return Response("gone", 404) if request.path.endswith("/3") else Response(request.path.encode() * 10)

    for i in range(8):
        server.expect_request(f"{PATH}/{i}").respond_with_handler(slow)
    files = [(RemoteFile(Request(server.url_for(f"{PATH}/{i}"))), tmp_path / str(i)) for i in range(8)]
    manifest = Manifest(tmp_path / "m" / "manifest.jsonl")
    entries = Transport(Policy(**QUICK | {"parallel": 4})).fetch_all(files, manifest)
    assert 2 <= most[0] <= 4
    assert [entry["bytes"] for i, entry in enumerate(entries) if i != 3] == [10 * len(f"{PATH}/0")] * 7
    assert "status 404: b'gone'" in entries[3]["missing"]
    assert [(tmp_path / str(i)).exists() for i in range(8)] == [i != 3 for i in range(8)]
    assert [entry["path"] for entry in Manifest(manifest.path).entries()] == [f"../{i}" for i in range(8) if i != 3]


def test_one_failure_ends_the_others(server, tmp_path):
    asked = []

    def send(request):
        asked.append(request.url)
        time.sleep(0.02)
        return Answer(403, {}, [b"no"])

    files = [(RemoteFile(Request(f"http://a/{i}")), tmp_path / str(i)) for i in range(50)]
    with pytest.raises(InputError, match=r"refused .status 403: b'no'"):
        Transport(Policy(**QUICK), send).fetch_all(files)
    assert len(asked) < 50


def test_starts_of_requests_keep_the_rate():
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    starts = []

    def send(request):
        starts.append(now[0])
        return Answer(200, {}, [b"{}"])

    transport = Transport(Policy(requests_per_minute=60), send, sleep, lambda: now[0])
    for _ in range(4):
        transport.read_json("http://a/")
        now[0] += 0.25  # the answer takes its time
    assert starts == [0.0, 1.0, 2.0, 3.0]
    now[0] = 100.0  # a rest earns no burst
    transport.read_json("http://a/")
    transport.read_json("http://a/")
    assert starts[4:] == [100.0, 101.0]


def test_pauses_grow_with_jitter():
    draws = iter([0.0, 0.5, 0.999, 0.0])
    pauses = []
    transport = Transport(Policy(requests_per_minute=float("inf"), longest_pause_s=30.0), lambda r: Answer(503), pauses.append, jitter=lambda: next(draws))
    with pytest.raises(InputError):
        transport.read("http://a/", bytes)
    assert pauses == pytest.approx([5.0, 10.0 * 1.125, 20.0 * 1.24975, 30.0])


# --- short answers ----------------------------------------------------------------------------------------------------------


def test_json(server):
    server.expect_request("/json", query_string={"q": "a b"}).respond_with_json({"n": 3})
    assert Transport(Policy(**QUICK)).read_json(server.url_for("/json"), {"q": "a b"}) == {"n": 3}


@pytest.mark.parametrize("body", ["<html>down", "", '{"n": '])
def test_no_json(server, body):
    server.expect_request("/json").respond_with_data(body)
    with pytest.raises(InputError, match="attempts failed, the last with: no JSON but b"):
        Transport(Policy(**QUICK), sleep=lambda s: None).read_json(server.url_for("/json"))


def test_text_that_is_packed_unasked(server, tmp_path):
    server.expect_request("/json").respond_with_data(gzip.compress(b'{"n": 3}'), content_type="application/json", headers={"Content-Encoding": "gzip"})
    assert Transport(Policy(**QUICK)).read_json(server.url_for("/json")) == {"n": 3}
    Transport(Policy(**QUICK)).fetch(RemoteFile(Request(server.url_for("/json"))), tmp_path / "answer")
    assert (tmp_path / "answer").read_bytes() == b'{"n": 3}'
    # a file that is packed stays so, whatever the server says about it
    server.expect_request("/file.gz").respond_with_data(gzip.compress(RAW), content_type="application/x-gzip", headers={"Content-Encoding": "gzip"})
    Transport(Policy(**QUICK)).fetch(RemoteFile(Request(server.url_for("/file.gz")), check=whole_gzip), tmp_path / "file.gz")
    assert gzip.decompress((tmp_path / "file.gz").read_bytes()) == RAW


def test_query_is_posted_and_redirected_as_browsers_do(server, tmp_path):
    def moved(request):
        assert request.form.to_dict() == {"QUERY": "SELECT 1"}
        assert request.files["galaxies"].read() == b"<VOTABLE/>"
        return Response("", 303, {"Location": "/result"})

    server.expect_request("/sync", method="POST").respond_with_handler(moved)
    server.expect_request("/result", method="GET").respond_with_data("answer")
    query = Request(server.url_for("/sync"), data={"QUERY": "SELECT 1"}, files={"galaxies": ("g.xml", b"<VOTABLE/>")})
    Transport(Policy(**QUICK)).fetch(RemoteFile(query), tmp_path / "answer")
    assert (tmp_path / "answer").read_bytes() == b"answer"


# --- mirrors, offline -------------------------------------------------------------------------------------------------------


def test_mirror_that_is_a_folder(server, tmp_path):
    mirrored = tmp_path / "mirror" / "127.0.0.1" / PATH.lstrip("/")
    mirrored.parent.mkdir(parents=True)
    mirrored.write_bytes(CONTENT)
    archive = Archive(Response("not asked", 500))
    for offline in (False, True):
        manifest = Manifest(tmp_path / "manifest.jsonl")
        path = tmp_path / f"frame {offline}"
        fetch(server, archive, path, manifest, {"mirror": str(tmp_path / "mirror"), "offline": offline})
        assert path.read_bytes() == CONTENT
        assert manifest.get(path)["url"] == server.url_for(PATH)  # the archive's, not the mirror's
    assert archive.asked == []
    mirrored.write_bytes(CONTENT[:-20])
    with pytest.raises(InputError, match="the bzip2 stream has no end: it is cut; mend the mirror"):
        fetch(server, archive, tmp_path / "other", None, {"mirror": str(tmp_path / "mirror")})
    mirrored.unlink()
    server.clear()
    fetch(server, Archive(whole), tmp_path / "third", None, {"mirror": str(tmp_path / "mirror")})  # what a mirror lacks comes from the archive
    assert (tmp_path / "third").read_bytes() == CONTENT


def test_mirror_that_is_an_address(server, tmp_path):
    archive = Archive(whole)
    server.expect_request(f"/mirror/127.0.0.1{PATH}").respond_with_handler(Archive(whole, Response("", 404)))
    policy = {"mirror": server.url_for("/mirror/")}
    fetch(server, archive, tmp_path / "a", None, policy)
    assert archive.asked == []
    fetch(server, archive, tmp_path / "b", None, policy)  # the mirror lacks it now
    assert len(archive.asked) == 1


def test_offline_uses_what_is_there_alone(server, tmp_path):
    archive = Archive(whole)
    with pytest.raises(InputError, match=r"frame is needed, and the configuration says archives.offline; .* or put http.*0122.fits.bz2 there"):
        fetch(server, archive, tmp_path / "frame", policy={"offline": True})
    with pytest.raises(InputError, match=r"says archives\.offline"):
        Transport(Policy(offline=True)).read_json(server.url_for("/json"))
    (tmp_path / "frame").write_bytes(CONTENT)
    fetch(server, archive, tmp_path / "frame", policy={"offline": True})
    assert archive.asked == []


# --- manifest and checks ----------------------------------------------------------------------------------------------------


def test_manifest_survives_a_torn_line(tmp_path):
    manifest = Manifest(tmp_path / "manifest.jsonl")
    manifest.add(tmp_path / "a", {"bytes": 1})
    manifest.add(tmp_path / "b", {"bytes": 2})
    text = manifest.path.read_text()
    manifest.path.write_text(text[:-9])  # killed while it wrote
    manifest = Manifest(manifest.path)
    assert manifest.get(tmp_path / "a")["bytes"] == 1
    assert manifest.get(tmp_path / "b") == {}
    manifest.add(tmp_path / "b", {"bytes": 3})
    assert [entry["bytes"] for entry in Manifest(manifest.path).entries()] == [1, 3]


@pytest.mark.parametrize("n", [0, 1, 17, 500_000])
def test_end_of_bzip2_streams(tmp_path, n):
    """All paddings: the end is at any bit of a byte."""
    path = tmp_path / "x"
    for salt in range(9):
        content = bz2.compress(RAW * (n // len(RAW)) + bytes(range(salt)))
        path.write_bytes(content)
        ended_bzip2(path)
        for short in (1, 4, 11, len(content) // 2):
            path.write_bytes(content[:-short])
            with pytest.raises(ValueError, match="bzip2 stream"):
                ended_bzip2(path)


def test_other_ends(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(RAW))
    whole_gzip(path)
    path.write_bytes(gzip.compress(RAW)[:-3])
    with pytest.raises(ValueError, match="gzip stream is not whole"):
        whole_gzip(path)
    path.write_bytes(b"SIMPLE  =" + b" " * 2871)
    whole_fits(path)
    path.write_bytes(b"SIMPLE  =" + b" " * 2870)
    with pytest.raises(ValueError, match="2879 bytes are no whole number"):
        whole_fits(path)
