"""Visibilities from public archives: files of a Zenodo record, and what the ALMA archive holds of a line in a galaxy.

Everything that talks to a network is handed in: a transport ``(url, start) -> Answer``, an ALMA client, a clock.
"""

import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from galmass import logs, stores
from galmass.errors import InputError

ZENODO = "https://zenodo.org/api/records"
ATTEMPTS = 5
PAUSE = 5.0  # s before the second attempt, doubled each time
LONGEST_PAUSE = 120.0  # s, however long the server asks for
BUSY = (408, 425, 429, 500, 502, 503, 504)  # worth another attempt
MOVED = (301, 302, 303, 307, 308)
BLOCK = 2**20  # bytes
NETWORK_ERRORS = (OSError, http.client.HTTPException)  # URLError, timeouts and resets are OSErrors
NEXT_IN_CASA = """What the ALMA archive gives are raw or pipeline products; before import_visibilities they must in CASA be
1. calibrated: untar, run scriptForPI.py with the CASA version that its README names (needs the raw data and the auxiliary files);
2. split: the science target and the spectral window of the line, datacolumn='corrected';
3. brought to one frame: mstransform(regridms=True, mode='frequency', outframe='LSRK', ...), all executions to the same channels;
4. concatenated, if several executions; phase centre and fields (mosaics are not supported) checked with listobs.
The continuum may stay: it is subtracted by config. Then give the .ms as the input of import_visibilities."""


@dataclass(frozen=True)
class Answer:
    """What a server says: status, headers (lower case) and the body in pieces."""

    status: int
    headers: dict = field(default_factory=dict)
    chunks: Iterable[bytes] = ()


Transport = Callable[[str, int], Answer]


def http_get(url: str, start: int = 0, timeout: float = 60.0) -> Answer:
    """GET `url` from byte `start` on."""
    headers = {"User-Agent": "galmass"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:  # an answer, too
        response = error
    return Answer(response.status, {key.lower(): value for key, value in response.headers.items()}, iter(lambda: response.read(BLOCK), b""))


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record: name, address, size [bytes] and MD5."""

    name: str
    url: str
    size: int
    md5: str


class _TryAgain(Exception):
    """What went wrong, worth another attempt after `pause` seconds."""

    def __init__(self, reason: str, pause: float = 0.0):
        super().__init__(reason)
        self.pause = pause


def _persistently(what: str, attempt: Callable, sleep: Callable):
    """Result of `attempt`, called up to `ATTEMPTS` times with growing pauses."""
    for count in range(ATTEMPTS):
        try:
            return attempt()
        except (_TryAgain, *NETWORK_ERRORS) as error:
            reason = str(error) or type(error).__name__
            if count + 1 < ATTEMPTS:
                sleep(max(PAUSE * 2**count, min(getattr(error, "pause", 0.0), LONGEST_PAUSE)))
    raise InputError(f"{what}: {ATTEMPTS} attempts failed, the last with: {reason}; run again later, what was downloaded is kept")


def _get(url: str, transport: Transport, start: int = 0) -> Answer:
    """A good answer, after up to five moves; busy servers raise `_TryAgain`."""
    for _ in range(5):
        answer = transport(url, start)
        if answer.status in (200, 206):
            return answer
        if answer.status in MOVED and "location" in answer.headers:
            url = urllib.parse.urljoin(url, answer.headers["location"])
        elif answer.status in BUSY:
            raise _TryAgain(f"status {answer.status}", _seconds(answer.headers.get("retry-after", "")))
        elif answer.status in (404, 410):
            raise InputError(f"{url} is not there any more (status {answer.status}); look up where it moved and put that into the config")
        else:
            raise InputError(f"{url} refused (status {answer.status}); is it public?")
    raise InputError(f"{url}: moved in circles; look up its address and put that into the config")


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0.0


def zenodo_files(record: int, transport: Transport = http_get, sleep: Callable = time.sleep) -> dict[str, RemoteFile]:
    """Files of a Zenodo record by name.

    Raises
    ------
    InputError
        When the record is gone or what answers is not its JSON.
    """
    url = f"{ZENODO}/{record}"

    def attempt() -> dict:
        body = b"".join(_get(url, transport).chunks)
        try:
            return json.loads(body)
        except ValueError as error:  # a page of maintenance, or half an answer
            raise _TryAgain(f"no JSON but {body[:60]!r}") from error

    answer = _persistently(url, attempt, sleep)
    try:
        files = [RemoteFile(f["key"], f["links"]["self"], int(f["size"]), f["checksum"].removeprefix("md5:")) for f in answer["files"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{url}: its answer has no files with key, size, checksum and links.self ({error!r}); has the form of Zenodo's answers changed?"
        ) from error
    if not files or not all(re.fullmatch("[0-9a-f]{32}", file.md5) for file in files):
        raise InputError(f"{url}: its answer names no file with an MD5 checksum; is the record restricted?")
    return {file.name: file for file in files}


def download_zenodo(record: int, name: str, path, transport: Transport = http_get, sleep: Callable = time.sleep) -> dict:
    """Download file `name` of a record to `path`, with ``<path>.manifest.json`` beside it; returns the manifest.

    A file that is there and has the size and checksum of the record is not downloaded again; an interrupted download goes on.
    """
    files = zenodo_files(record, transport, sleep)
    if name not in files:
        raise InputError(f"Zenodo record {record} has no file {name}; it has {', '.join(sorted(files))}")
    remote, path = files[name], Path(path)
    if not (path.exists() and path.stat().st_size == remote.size and _hash(path, "md5") == remote.md5):
        fetch(remote, path, transport, sleep)
    manifest = {
        "record": record,
        "name": name,
        "url": remote.url,
        "size": remote.size,
        "md5": remote.md5,
        "sha256": _hash(path, "sha256"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    stores.write_json(path.with_name(path.name + ".manifest.json"), manifest)
    return manifest


def fetch(remote: RemoteFile, path, transport: Transport = http_get, sleep: Callable = time.sleep) -> None:
    """Download to `path`, whole and with the right checksum or not at all; pieces wait beside it as ``<path>.<md5>.partial``."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{remote.md5[:8]}.partial")

    def attempt() -> None:
        _extend(partial, remote, transport)
        if _hash(partial, "md5") != remote.md5:
            partial.unlink()  # nothing in it can be trusted
            raise _TryAgain(f"the checksum of what came is not the record's {remote.md5}")

    _persistently(remote.url, attempt, sleep)
    with stores.replacing(path) as part:
        os.replace(partial, part)


def _extend(partial: Path, remote: RemoteFile, transport: Transport) -> None:
    """Append to `partial` what is missing; `_TryAgain` where less than that comes."""
    done = partial.stat().st_size if partial.exists() else 0
    if done > remote.size:
        partial.unlink()
        done = 0
    if done == remote.size:
        return
    answer = _get(remote.url, transport, done)
    if answer.headers.get("content-type", "").startswith("text/html"):
        raise _TryAgain("a web page came in place of the file")
    resumed = answer.status == 206 and answer.headers.get("content-range", f"bytes {done}-").startswith(f"bytes {done}-")
    if answer.status == 206 and not resumed:
        raise _TryAgain(f"bytes from {done} were asked for, {answer.headers['content-range']} came")
    done = done if resumed else 0
    with open(partial, "ab" if resumed else "wb") as file, logs.progress(remote.size, done, f"download {remote.name} [bytes]") as bar:
        for chunk in answer.chunks:
            file.write(chunk)
            bar.update(len(chunk))
    if partial.stat().st_size != remote.size:
        raise _TryAgain(f"{partial.stat().st_size} of {remote.size} bytes came")


def _hash(path: Path, kind: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def query_alma(source: str | None = None, frequency_hz: float | None = None, member_ous: str | None = None, client=None):
    """Public science observations that the ALMA archive has of a source or member OUS, astropy table.

    Parameters
    ----------
    source : str, optional
        Name that ALMA's or Sesame's name service resolves.
    frequency_hz : float, optional
        Observed (sky) frequency of the line: only observations with a window over it.
    member_ous : str, optional
        As ``uid://A001/X1295/X35``.
    client : optional
        Like ``astroquery.alma.Alma``, which is the default.
    """
    if not (source or member_ous):
        raise InputError("the ALMA archive is asked by source or member_ous; both are empty in the config")
    client = client or _alma_client()
    if source:
        table = _asked("query", client.query_object, source, public=True, science=True)
    else:
        table = _asked("query", client.query, {"member_ous_id": member_ous}, public=True, science=True)
    if table is None or not len(table):
        raise InputError(f"the ALMA archive has no public science observation of {source or member_ous}")
    keep = [_covers(row, frequency_hz) and member_ous in (None, str(row["member_ous_uid"])) for row in table]
    if not any(keep):
        wanted = [f"{frequency_hz / 1e9:.4f} GHz"] * (frequency_hz is not None) + [member_ous] * (member_ous is not None)
        windows = "; ".join(sorted({str(row["frequency_support"]) for row in table})[:5])
        raise InputError(f"none of {len(table)} ALMA observations of {source or member_ous} has {' and '.join(wanted)}; windows are {windows}")
    return table[keep]


def _alma_client():
    from astroquery.alma import Alma

    return Alma()


def _asked(what: str, call: Callable, *args, **options):
    """Answer of the client; whatever it raises is said in one sentence."""
    try:
        return call(*args, **options)
    except Exception as error:  # requests, pyvo and astroquery raise many kinds: all mean that the archive did not answer
        raise InputError(f"ALMA archive, {what}: {type(error).__name__}: {error}; run again later, or from another mirror (almascience.eso.org)") from error


def _covers(row, frequency_hz) -> bool:
    """Whether a window of ``frequency_support``, ``[112.35..114.23GHz,...] U [...]``, holds the frequency."""
    if frequency_hz is None:
        return True
    ghz = frequency_hz / 1e9
    return any(float(low) <= ghz <= float(high) for low, high in re.findall(r"\[([\d.]+)\.\.([\d.]+)GHz", str(row["frequency_support"])))


def alma_products(table, client=None, with_raw: bool = True):
    """Files of the member OUS of `table`, astropy table of url, size [bytes] and kind, those that can be fetched."""
    from astropy.table import Table

    client = client or _alma_client()
    members = sorted({str(member) for member in table["member_ous_uid"]})
    listed = _asked("list of products", client.get_data_info, members, expand_tarfiles=False)
    kinds = ("#progenitor",) * (not with_raw)  # raw data, in ALMA's words
    files = [r for r in (listed if listed is not None else []) if r["access_url"] and r["semantics"] not in kinds]
    rows = [(str(r["access_url"]), int(r["content_length"]), str(r["semantics"]).lstrip("#")) for r in files]
    if not rows:
        raise InputError(f"the ALMA archive lists no files for {', '.join(members)}; are they still proprietary?")
    return Table(rows=sorted(set(rows)), names=("url", "size", "kind"))


def download_alma(products, folder, client=None) -> list[Path]:
    """Files of `products` in `folder`; writes ``products.csv`` and ``NEXT.txt`` (what must still be done in CASA) beside them.

    Raises
    ------
    InputError
        When a file is missing or has another size than listed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    client = client or _alma_client()
    came = [Path(name) for name in _asked("download", client.download_files, list(products["url"]), savedir=str(folder), cache=True)]
    sizes = {path.name: path.stat().st_size for path in came if path.exists()}
    wrong = [f"{name} ({sizes.get(name, 'missing')} of {size} bytes)" for name, size in _expected(products).items() if sizes.get(name) != size]
    if wrong:
        raise InputError(f"ALMA archive: {', '.join(wrong)} did not come whole; run again: what is there is continued")
    stores.write_csv(folder / "products.csv", [dict(zip(products.colnames, row, strict=True)) for row in products.as_array().tolist()])
    with stores.replacing(folder / "NEXT.txt") as part:
        part.write_text(NEXT_IN_CASA + "\n")
    return came


def _expected(products) -> dict[str, int]:
    """Size by name of the file, where the archive lists one."""
    return {row["url"].rsplit("/", 1)[-1]: int(row["size"]) for row in products if row["size"] > 0}


def retrieve(observation: dict, frequency_hz: float, folder, transport: Transport = http_get, sleep: Callable = time.sleep, client=None) -> dict:
    """Fill `folder` with what a galaxy's `observation` of kind zenodo (as observation.npz) or alma names; returns what came.

    What an earlier attempt left in the folder is gone on from.

    Raises
    ------
    InputError
        When the archive does not give it, or the observation is of another kind.
    """
    kind, folder = observation["kind"], Path(folder)
    if kind == "zenodo":
        files = zenodo_files(observation["record"], transport, sleep)
        grids = [name for name in files if name.endswith(".npz")]
        if "file" not in observation and len(grids) != 1:
            raise InputError(f"Zenodo record {observation['record']} has {len(grids)} files .npz; name one as observation.file: {', '.join(sorted(files))}")
        manifest = download_zenodo(observation["record"], observation.get("file") or grids[0], folder / "observation.npz", transport, sleep)
        print(f"{manifest['name']}: {manifest['size']} bytes, md5 {manifest['md5']} as the record says")
        return manifest
    if kind == "alma":
        products = alma_products(query_alma(observation["source"], frequency_hz, observation["member_ous"], client), client)
        download_alma(products, folder, client)
        print(NEXT_IN_CASA)
        return {"member_ous": observation["member_ous"], "products": [dict(zip(products.colnames, row, strict=True)) for row in products.as_array().tolist()]}
    raise InputError(f"config: observation.kind is {kind}: there is nothing to download")
