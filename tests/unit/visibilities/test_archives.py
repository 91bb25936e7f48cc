"""Downloads with scripted answers: web pages with status 200, busy servers, truncation, moves, wrong checksums; ALMA's recorded tables."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from astropy.io.votable import parse_single_table
from astropy.table import Table

from galmass.errors import InputError
from galmass.transport import Answer, Policy, Transport
from galmass.visibilities import archives

CONTENT = bytes(range(256)) * 40
NAME, RECORD = "ngc4697.npz", 18757813
RECORD_URL = f"https://zenodo.org/api/records/{RECORD}"
FILE_URL = f"{RECORD_URL}/files/{NAME}/content"
HTML = Answer(200, {"content-type": "text/html; charset=utf-8"}, [b"<!DOCTYPE html><html>We are down for maintenance"])
REAL = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere")) / "astroquery_recorded" / "astroquery" / "alma" / "tests" / "data"
recorded = pytest.mark.skipif(not REAL.is_dir(), reason="GALMASS_REAL_DATA does not name a folder with astroquery_recorded")


def _record(**changes):
    entry = {"key": NAME, "checksum": "md5:" + hashlib.md5(CONTENT).hexdigest(), "size": len(CONTENT), "links": {"self": FILE_URL}, **changes}
    return Answer(200, {"content-type": "application/json"}, [json.dumps({"id": RECORD, "files": [entry]}).encode()])


def _body(start=0, stop=None, status=None, headers=None):
    """What a server with ranges sends, in three pieces."""
    part = CONTENT[start:stop]
    pieces = [part[: len(part) // 3], part[len(part) // 3 : len(part) // 2], part[len(part) // 2 :]]
    given = {"content-range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
    return Answer(status or (206 if start else 200), {"content-type": "application/octet-stream", **given, **(headers or {})}, pieces)


class Script:
    """A transport that gives its answers in order and keeps what it was asked; exceptions are raised."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, request):
        self.asked.append((request.url, request.start))
        answer = self.answers.pop(0)
        answer = answer(request.start) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def pauses():
    return []


def _breaking(start, stop):
    """Bytes, then a lost connection."""

    def chunks():
        yield CONTENT[start:stop]
        raise ConnectionResetError("reset by peer")

    headers = {"content-range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
    return Answer(206 if start else 200, headers, chunks())


def _by(script, pauses=None):
    """A transport that asks the script, without jitter and without a rate limit."""
    return Transport(Policy(jitter=0.0, requests_per_minute=float("inf")), script, [].append if pauses is None else pauses.append)


def _download(folder, script, pauses):
    return archives.download_zenodo(RECORD, NAME, folder / "data" / NAME, _by(script, pauses))


def _left(folder):
    return sorted(path.name for path in (folder / "data").iterdir())


def test_download_with_manifest(tmp_path, pauses):
    script = Script(_record(), _body())
    manifest = _download(tmp_path, script, pauses)
    assert (tmp_path / "data" / NAME).read_bytes() == CONTENT
    assert script.asked == [(RECORD_URL, 0), (FILE_URL, 0)]
    assert pauses == []
    assert manifest == json.loads((tmp_path / "data" / f"{NAME}.manifest.json").read_text())
    assert manifest["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert manifest["md5"] == hashlib.md5(CONTENT).hexdigest()
    assert (manifest["url"], manifest["size"], manifest["record"]) == (FILE_URL, len(CONTENT), RECORD)
    assert _left(tmp_path) == [NAME, f"{NAME}.manifest.json"]


def test_what_is_there_is_not_downloaded_again(tmp_path, pauses):
    _download(tmp_path, Script(_record(), _body()), pauses)
    _download(tmp_path, Script(_record()), pauses)  # a second request would find the script empty
    (tmp_path / "data" / NAME).write_bytes(b"damaged")
    _download(tmp_path, Script(_record(), _body()), pauses)
    assert (tmp_path / "data" / NAME).read_bytes() == CONTENT


def test_busy_servers_are_asked_again(tmp_path, pauses):
    script = Script(Answer(503), Answer(429, {"retry-after": "40"}), TimeoutError("timed out"), _record(), Answer(502), _body())
    _download(tmp_path, script, pauses)
    assert (tmp_path / "data" / NAME).read_bytes() == CONTENT
    assert pauses == [5.0, 40.0, 20.0, 5.0]


def test_server_may_not_ask_for_hours(tmp_path, pauses):
    _download(tmp_path, Script(Answer(503, {"retry-after": "86400"}), Answer(503, {"retry-after": "Wed, 21 Oct 2026"}), _record(), _body()), pauses)
    assert pauses == [Policy().longest_pause_s, 10.0]


def test_servers_that_stay_busy(tmp_path, pauses):
    with pytest.raises(InputError, match=r"5 attempts failed, the last with: status 503; run again later"):
        _download(tmp_path, Script(*[Answer(503)] * 5), pauses)
    assert len(pauses) == 4
    with pytest.raises(InputError, match="timed out"):
        _download(tmp_path, Script(*[TimeoutError("timed out")] * 5), pauses)


def test_web_page_in_place_of_the_record(tmp_path, pauses):
    with pytest.raises(InputError, match=r"no JSON but b'<!DOCTYPE html>"):
        _download(tmp_path, Script(*[HTML] * 5), pauses)
    _download(tmp_path, Script(HTML, _record(), _body()), pauses)


def test_web_page_in_place_of_the_file(tmp_path, pauses):
    with pytest.raises(InputError, match="a web page came in place of the file"):
        _download(tmp_path, Script(_record(), *[HTML] * 5), pauses)
    assert not (tmp_path / "data" / NAME).exists()
    _download(tmp_path, Script(_record(), HTML, _body()), pauses)
    assert (tmp_path / "data" / NAME).read_bytes() == CONTENT


def test_interrupted_download_goes_on(tmp_path, pauses):
    script = Script(_record(), _breaking(0, 3000), _breaking(3000, 3500), _body(3500, 5000), lambda start: _body(start))
    _download(tmp_path, script, pauses)
    assert (tmp_path / "data" / NAME).read_bytes() == CONTENT
    assert [start for _, start in script.asked[1:]] == [0, 3000, 3500, 5000]


def test_killed_download_goes_on_in_the_next_run(tmp_path, pauses):
    with pytest.raises(InputError, match=r"6000 of 10240 bytes came; run again later, what was downloaded is kept"):
        _download(tmp_path, Script(_record(), _body(0, 6000), *[lambda start: _body(start, start)] * 4), pauses)
    assert not (tmp_path / "data" / NAME).exists()
    script = Script(_record(), lambda start: _body(start))
    _download(tmp_path, script, pauses)
    assert script.asked[1] == (FILE_URL, 6000)
    assert (tmp_path / "data" / NAME).read_bytes() == CONTENT
    assert _left(tmp_path) == [NAME, f"{NAME}.manifest.json"]


def test_server_without_ranges_sends_all_again(tmp_path, pauses):
    _download(tmp_path, Script(_record(), _breaking(0, 3000), _body()), pauses)
    assert (tmp_path / "data" / NAME).read_bytes() == CONTENT


def test_server_that_sends_another_range(tmp_path, pauses):
    wrong = _body(100, headers={"content-range": "bytes 100-10239/10240"})
    _download(tmp_path, Script(_record(), _breaking(0, 3000), wrong, lambda start: _body(start)), pauses)
    assert (tmp_path / "data" / NAME).read_bytes() == CONTENT


def test_wrong_bytes_are_thrown_away(tmp_path, pauses):
    wrong = Answer(200, {}, [CONTENT[::-1]])
    script = Script(_record(), wrong, _body())
    _download(tmp_path, script, pauses)
    assert script.asked[2] == (FILE_URL, 0)
    assert (tmp_path / "data" / NAME).read_bytes() == CONTENT
    with pytest.raises(InputError, match="the checksum of what came is not the record's"):
        archives.download_zenodo(RECORD, NAME, tmp_path / "b" / NAME, _by(Script(_record(), *[wrong] * 5), pauses))
    assert list((tmp_path / "b").iterdir()) == []


def test_too_many_bytes(tmp_path, pauses):
    def whole_only(start):  # what lies beyond the end cannot be had
        return Answer(416) if start >= len(CONTENT) else _body(start)

    _download(tmp_path, Script(_record(), Answer(200, {}, [CONTENT, b"more"]), whole_only), pauses)
    assert (tmp_path / "data" / NAME).read_bytes() == CONTENT


def test_moved(tmp_path, pauses):
    moved = Answer(301, {"location": f"/api/records/{RECORD}/new"})
    script = Script(moved, _record(), Answer(302, {"location": "https://mirror.example/x.npz"}), _body())
    _download(tmp_path, script, pauses)
    assert [url for url, _ in script.asked] == [RECORD_URL, f"{RECORD_URL}/new", FILE_URL, "https://mirror.example/x.npz"]
    with pytest.raises(InputError, match="moved in circles"):
        _download(tmp_path, Script(*[moved] * 5), pauses)


@pytest.mark.parametrize(
    ("status", "message"), [(404, "is not there any more"), (410, "is not there any more"), (403, "refused .status 403: b''.; is it public")]
)
def test_gone(tmp_path, pauses, status, message):
    script = Script(Answer(status))
    with pytest.raises(InputError, match=message):
        _download(tmp_path, script, pauses)
    assert pauses == []  # asking again does not help


def test_records_of_another_form(tmp_path, pauses):
    for body, message in [
        (b'{"message": "x"}', "has no files with key, size, checksum"),
        (b"[]", "has no files"),
        (b'{"files": []}', "names no file with an MD5"),
        (b'{"files": [{"key": "a"}]}', "has no files with key"),
    ]:
        with pytest.raises(InputError, match=message):
            _download(tmp_path, Script(Answer(200, {}, [body])), pauses)
    with pytest.raises(InputError, match="names no file with an MD5 checksum"):
        _download(tmp_path, Script(_record(checksum="sha1:0123")), pauses)
    with pytest.raises(InputError, match=f"has no file other.npz; it has {NAME}"):
        archives.download_zenodo(RECORD, "other.npz", tmp_path / "x", _by(Script(_record()), pauses))


def test_downloaded_file_is_read(tmp_path, pauses):
    """The form of the record: the file goes through the transport into the reader."""
    import numpy as np

    from galmass.visibilities import io

    mask = np.zeros((1, 2, 3), bool)
    mask[0, 1, 2] = True
    arrays = {name: np.ones(mask.shape) for name in ("vis_bin_re", "vis_bin_imag", "std_bin_re", "std_bin_imag")}
    np.savez(tmp_path / "a.npz", npix=3, fov_arcsec=20.6265, delta_u=1e4, mask=mask, chan_freq_hz=[2.3e11], half_plane=True, **arrays)
    content = (tmp_path / "a.npz").read_bytes()
    record = _record(size=len(content), checksum="md5:" + hashlib.md5(content).hexdigest())
    _download(tmp_path, Script(record, Answer(200, {}, [content])), pauses)
    visibilities = io.read(tmp_path / "data" / NAME)
    assert visibilities.u.tolist() == [1e4]
    assert visibilities.v.tolist() == [-1e4]  # rows of viscube run southward


MEMBER = "uid://A001/X1295/X35"
SUPPORT = "[112.35..114.23GHz,1952.95kHz,8mJy/beam@10km/s, XX YY] U [114.95..115.19GHz,122.06kHz,8.2mJy/beam@10km/s, XX YY]"


class Alma:
    """As much of astroquery.alma.Alma as is used."""

    def __init__(self, rows=((MEMBER, SUPPORT), ("uid://A001/X9/X9", "[230.0..232.0GHz, XX YY]")), sizes=None, fail=None):
        self.table = Table(rows=list(rows), names=("member_ous_uid", "frequency_support")) if rows else Table(names=("member_ous_uid",))
        self.sizes, self.fail, self.asked = sizes or {"https://x/a.tar": 5, "https://x/b.txt": 3}, fail, []

    def _answer(self, name, *given):
        self.asked.append((name, *given))
        if self.fail == name:
            raise TimeoutError("timed out")

    def query_object(self, source, public, science):
        self._answer("query_object", source, public, science)
        return self.table

    def query(self, payload, public, science):
        self._answer("query", payload, public, science)
        return self.table

    def get_data_info(self, members, expand_tarfiles):
        self._answer("get_data_info", members)
        kinds = {".sdm": "#progenitor"}
        rows = [(url, size, kinds.get(url[-4:], "#this"), "") for url, size in self.sizes.items()] + [("", 0, "#this", "DataLink")]
        return Table(rows=rows, names=("access_url", "content_length", "semantics", "service_def"))


def _files(request):
    """What the data portal sends of the files of `Alma`, in the order asked for or not."""
    return Answer(200, {"content-length": "5" if request.url.endswith(".tar") else "3"}, [b"x" * (5 if request.url.endswith(".tar") else 3)])


def test_query_by_source_and_line():
    client = Alma()
    assert list(archives.query_alma("M83", client=client)["member_ous_uid"]) == [MEMBER, "uid://A001/X9/X9"]
    assert client.asked == [("query_object", "M83", True, True)]
    assert list(archives.query_alma("M83", 115.0e9, client=client)["member_ous_uid"]) == [MEMBER]
    assert list(archives.query_alma("M83", 230.5e9, client=client)["member_ous_uid"]) == ["uid://A001/X9/X9"]
    with pytest.raises(InputError, match=r"none of 2 ALMA observations of M83 has 114\.5000 GHz; windows are \[112"):
        archives.query_alma("M83", 114.5e9, client=client)
    with pytest.raises(InputError, match=r"has 230.5000 GHz and uid://A001/X1295/X35"):
        archives.query_alma("M83", 230.5e9, MEMBER, client=client)


def test_query_by_member():
    client = Alma()
    assert list(archives.query_alma(member_ous=MEMBER, client=client)["member_ous_uid"]) == [MEMBER]
    assert client.asked == [("query", {"member_ous_id": MEMBER}, True, True)]


def test_queries_without_an_answer():
    with pytest.raises(InputError, match="by source or member_ous"):
        archives.query_alma(client=Alma())
    with pytest.raises(InputError, match="no public science observation of M83"):
        archives.query_alma("M83", client=Alma(rows=()))
    with pytest.raises(InputError, match="ALMA archive, query: TimeoutError: timed out; run again later"):
        archives.query_alma("M83", client=Alma(fail="query_object"))
    with pytest.raises(InputError, match="ALMA archive, list of products: TimeoutError"):
        archives.alma_products(Alma().table, Alma(fail="get_data_info"))


def test_products_are_downloaded_and_what_follows_is_said(tmp_path):
    client = Alma(sizes={"https://x/a.tar": 5, "https://x/b.txt": 3, "https://x/raw.asdm.sdm": 9})
    table = archives.query_alma("M83", client=client)
    assert len(archives.alma_products(table, client)) == 3
    products = archives.alma_products(table, client, with_raw=False)
    assert client.asked[-1] == ("get_data_info", [MEMBER, "uid://A001/X9/X9"])
    assert [tuple(row) for row in products] == [("https://x/a.tar", 5, "this"), ("https://x/b.txt", 3, "this")]
    came = archives.download_alma(products, tmp_path / "alma", _by(_files))
    assert [path.name for path in came] == ["a.tar", "b.txt"]
    assert (tmp_path / "alma" / "products.csv").read_text().splitlines() == ["url,size,kind", "https://x/a.tar,5,this", "https://x/b.txt,3,this"]
    said = (tmp_path / "alma" / "NEXT.txt").read_text()
    for word in ("scriptForPI", "split", "mstransform", "LSRK", "import_visibilities"):
        assert word in said


def test_products_that_do_not_come_whole(tmp_path, pauses):
    client = Alma(sizes={"https://x/a.tar": 6, "https://x/b.txt": 3})
    products = archives.alma_products(client.table, client)
    with pytest.raises(InputError, match=r"a.tar: 5 attempts failed, the last with: 5 of 6 bytes came; run again"):
        archives.download_alma(products, tmp_path, _by(_files, pauses))
    assert not (tmp_path / "NEXT.txt").exists()
    with pytest.raises(InputError, match=r"b.txt is not there any more .status 404"):
        archives.download_alma(
            products,
            tmp_path / "again",
            _by(lambda request: Answer(404) if request.url.endswith("b.txt") else Answer(200, {"content-length": "6"}, [b"x" * 6])),
        )
    assert not (tmp_path / "again" / "NEXT.txt").exists()


@pytest.mark.parametrize("name", ["", "..", ".bashrc", "a b.tar", "..%2Fa.tar", "a.tar?x=1", "a\\b", "-rf"])
def test_names_that_an_archive_may_not_give_a_file(tmp_path, name):
    table = Table(rows=[(f"https://x/{name}", 5, "this")], names=("url", "size", "kind"))
    with pytest.raises(InputError, match="is no name to keep a file under"):
        archives.download_alma(table, tmp_path / "alma", _by(Script()))
    assert not (tmp_path / "alma").exists()


def test_proprietary_members_have_no_products():
    client = Alma(sizes={"": 0})
    with pytest.raises(InputError, match=r"lists no files for .*still proprietary"):
        archives.alma_products(client.table, client)


@recorded
def test_recorded_products():
    """The archive's answer of datalink in the columns that astroquery hands over."""
    client = Alma()
    client.get_data_info = lambda members, expand_tarfiles: parse_single_table(REAL / "alma-datalink.xml").to_table()
    products = archives.alma_products(Table({"member_ous_uid": ["uid://A001/X12a3/Xe9"]}), client)
    assert "https://almascience.org/dataPortal/2017.1.01185.S_uid___A001_X12a3_Xe9_001_of_001.tar" in list(products["url"])
    assert set(products["kind"]) == {"documentation", "this", "auxiliary", "progenitor"}
    assert (products["size"] > 0).all()
    assert all(url.startswith("https://almascience.org/dataPortal/") for url in products["url"])


@recorded
def test_recorded_observation_is_matched_to_a_line():
    row = Table.read(REAL / "alma-onerow.txt", format="ascii")
    client = Alma()
    client.table = row
    assert len(archives.query_alma("M83", 115.0e9, client=client)) == 1
    with pytest.raises(InputError, match="none of 1 ALMA observations"):
        archives.query_alma("M83", 230.5e9, client=client)


def _record_of(*names):
    """A record with files of these names, all of the same content."""
    md5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
    files = [{"key": name, "checksum": md5, "size": len(CONTENT), "links": {"self": f"{RECORD_URL}/files/{name}/content"}} for name in names]
    return Answer(200, {"content-type": "application/json"}, [json.dumps({"id": RECORD, "files": files}).encode()])


ZENODO = {"kind": "zenodo", "record": RECORD}


def test_the_only_grid_of_a_record_is_retrieved(tmp_path, pauses):
    record = _record_of("README.txt", NAME)
    script = Script(record, record, _body())
    manifest = archives.retrieve(ZENODO, 2.3e11, tmp_path / "new", _by(script, pauses))
    assert script.asked[-1] == (FILE_URL, 0)
    assert (tmp_path / "new" / "observation.npz").read_bytes() == CONTENT
    assert (manifest["record"], manifest["name"], manifest["size"]) == (RECORD, NAME, len(CONTENT))


def test_of_several_grids_one_must_be_named(tmp_path, pauses):
    record = _record_of("a.npz", NAME)
    with pytest.raises(InputError, match=f"record {RECORD} has 2 files .npz; name one as observation.file: a.npz, {NAME}"):
        archives.retrieve(ZENODO, 2.3e11, tmp_path, _by(Script(record), pauses))
    script = Script(record, record, _body())
    assert archives.retrieve(ZENODO | {"file": NAME}, 2.3e11, tmp_path, _by(script, pauses))["name"] == NAME
    assert script.asked[-1] == (FILE_URL, 0)


def test_a_record_without_grid_is_refused(tmp_path, pauses):
    with pytest.raises(InputError, match=r"has 0 files .npz; name one as observation.file: README.txt"):
        archives.retrieve(ZENODO, 2.3e11, tmp_path, _by(Script(_record_of("README.txt")), pauses))
    record = _record_of(NAME)
    with pytest.raises(InputError, match=f"has no file other.npz; it has {NAME}"):
        archives.retrieve(ZENODO | {"file": "other.npz"}, 2.3e11, tmp_path, _by(Script(record, record), pauses))


def test_an_interrupted_retrieval_goes_on(tmp_path, pauses):
    record = _record_of(NAME)
    with pytest.raises(InputError, match="6000 of 10240 bytes came"):
        archives.retrieve(ZENODO, 2.3e11, tmp_path, _by(Script(record, record, _body(0, 6000), *[lambda start: _body(start, start)] * 4), pauses))
    script = Script(record, record, lambda start: _body(start))
    archives.retrieve(ZENODO, 2.3e11, tmp_path, _by(script, pauses))
    assert script.asked[-1] == (FILE_URL, 6000)
    assert (tmp_path / "observation.npz").read_bytes() == CONTENT


def test_products_of_alma_are_retrieved_for_the_line(tmp_path, capsys):
    client = Alma()
    observation = {"kind": "alma", "source": "M83", "member_ous": MEMBER}
    manifest = archives.retrieve(observation, 115.0e9, tmp_path / "new", _by(_files), client)
    assert [asked[0] for asked in client.asked] == ["query_object", "get_data_info"]
    assert client.asked[1] == ("get_data_info", [MEMBER])
    assert manifest["member_ous"] == MEMBER
    assert manifest["products"] == [{"url": "https://x/a.tar", "size": 5, "kind": "this"}, {"url": "https://x/b.txt", "size": 3, "kind": "this"}]
    json.dumps(manifest)  # numbers of the archive's table are Python's
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["NEXT.txt", "a.tar", "b.txt", "products.csv"]
    assert "scriptForPI" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"230.5000 GHz"):
        archives.retrieve(observation, 230.5e9, tmp_path / "other", client=Alma())


@pytest.mark.parametrize("kind", ["simulation", "file"])
def test_other_observations_are_not_downloaded(tmp_path, kind):
    with pytest.raises(InputError, match=f"observation.kind is {kind}: there is nothing to download"):
        archives.retrieve({"kind": kind}, 2.3e11, tmp_path)
