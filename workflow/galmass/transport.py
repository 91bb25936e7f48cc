"""The one way to public archives: time-outs, retries, a rate limit, resumed and checked files, mirrors, an offline mode."""

import errno
import hashlib
import json
import os
import random
import re
import shutil
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPException
from pathlib import Path
from types import SimpleNamespace

import requests
import urllib3

from galmass import logs, parts, stores
from galmass.errors import InputError
from galmass.integrity import BLOCK, Manifest, RemoteFile, Request, file_hash
from galmass.parts import Answer, TryAgain

BUSY = (408, 425, 429, 500, 502, 503, 504)  # worth another attempt
MOVED = (301, 302, 303, 307, 308)
SHOWN = 200  # bytes of a refusal in the error message
TEXT = re.compile("text/|application/(json|xml|x-votable)")  # what a server may pack although it was asked not to
LONG = 2**25  # bytes; such a download has its own progress bar
# requests' errors, time-outs and resets are OSErrors
NETWORK_ERRORS = (OSError, HTTPException, urllib3.exceptions.HTTPError)
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@dataclass(frozen=True)
class Policy:
    """How archives are asked; the section ``archives`` of the configuration.

    ``mirror`` is a folder or an address that is laid out as ``wget --mirror`` does it, host names first;
    whatever it lacks comes from the archive itself.
    """

    timeout_s: float = 60.0  # without a byte
    attempts: int = 5
    pause_s: float = 5.0  # before the second attempt, doubled each time
    longest_pause_s: float = 120.0  # however long the server asks for
    jitter: float = 0.25  # each pause is longer by up to this fraction, lest all clients come back at once
    requests_per_minute: float = 600.0
    parallel: int = 1  # requests under way at once
    slowest_bytes_per_s: float = 100.0  # averaged over patience_s; below it the connection is given up
    patience_s: float = 60.0
    offline: bool = False  # only what is there, or in a mirror that is a folder
    mirror: str | None = None
    address: str | None = None  # of the archive, where it is not the one that galmass knows


def policy_of(options: Mapping, archive: str) -> Policy:
    """Policy for an archive: the plain keys of the section ``archives`` of the configuration, and over them those under the archive's name."""
    common = {key: value for key, value in options.items() if not isinstance(value, Mapping)}
    return Policy(**common | options.get(archive, {}))


class Gone(InputError):
    """An archive does not have what was asked for (status 404 or 410)."""


class Transport:
    """Short answers and files of archives, asked for as a policy says.

    Parameters
    ----------
    policy : Policy, optional
    send : callable, optional
        ``send(request) -> Answer``: tests script it.
    sleep, clock, jitter : callable, optional
        Pauses [s], monotonic time [s], and uniform random numbers in [0, 1).
    """

    def __init__(self, policy: Policy | None = None, send=None, sleep=time.sleep, clock=time.monotonic, jitter=random.random):
        self.policy = policy or Policy()
        self._send = send or over_http(self.policy.timeout_s)
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._lock, self._next_start = threading.Lock(), 0.0

    def read(self, url: str, parse: Callable[[bytes], object], params: Mapping | None = None):
        """`parse` of a short answer, asked for again where that raises `ValueError`."""
        if self.policy.offline:
            raise InputError(f"{url} is needed, and the configuration says archives.offline; run once with archives.offline: false")

        def attempt():
            answer = self._open(Request(url, params))
            body = b"".join(self._watched(answer.chunks))
            length = answer.headers.get("content-length", "")
            if length.isdigit() and len(body) != int(length):
                raise TryAgain(f"{len(body)} of {length} bytes came")
            try:
                return parse(body)
            except ValueError as error:
                raise TryAgain(str(error)) from error

        return self._persistently(url, attempt)

    def read_json(self, url: str, params: Mapping | None = None):
        """A short answer in JSON."""
        return self.read(url, _parsed_json, params)

    def fetch(self, remote: RemoteFile, path, manifest: Manifest | None = None) -> dict:
        """Download to `path`, whole or not at all; returns the entry of the manifest.

        A file that is there and intact is not asked for again. Pieces wait beside it as ``<name>.<address>.part``; an interrupted
        download goes on where the server says that it still has the same bytes (ETag or date) or a checksum will tell.

        Raises
        ------
        Gone
            When the archive does not have it.
        InputError
            When it does not come whole, or cannot be written.
        """
        path = Path(path)
        noted = manifest.get(path) if manifest else {}
        try:
            if not _intact(remote, path, noted):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._bring(remote, path)
                noted = {}
            entry = noted or remote.entry(path)
            if manifest and not noted:
                manifest.add(path, entry)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}); free space, then run again: what was downloaded is kept") from error
        return entry

    def fetch_all(self, files: Sequence[tuple[RemoteFile, Path]], manifest: Manifest | None = None, label: str = "download [files]") -> list[dict]:
        """`fetch` of many, ``policy.parallel`` at once; their entries, ``{"missing": reason}`` for what the archive does not have.

        The first other failure ends it, after what is under way.
        """
        with ThreadPoolExecutor(self.policy.parallel) as pool, logs.progress(len(files), 0, label) as bar:
            futures = [pool.submit(self._fetched, remote, path, manifest, bar) for remote, path in files]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            pool.shutdown(wait=False, cancel_futures=True)
            failed = [future.exception() for future in done if future.exception()]
            if failed:
                raise failed[0]
            return [future.result() for future in futures]

    def _fetched(self, remote, path, manifest, bar) -> dict:
        try:
            return self.fetch(remote, path, manifest)
        except Gone as error:
            return {"url": remote.url, "missing": str(error)}
        finally:
            bar.update(1)

    def _bring(self, remote: RemoteFile, path: Path) -> None:
        """From the mirror, if it has it, else from the archive."""
        mirrored = self._mirrored(remote.request)
        if mirrored and Path(mirrored).is_file():
            return _copy(remote, Path(mirrored), path)
        if self.policy.offline:
            raise InputError(f"{path} is needed, and the configuration says archives.offline; run once with archives.offline: false, or put {remote.url} there")
        if mirrored and mirrored.startswith(("http://", "https://")):
            try:
                return self._download(replace(remote, request=replace(remote.request, url=mirrored)), path)
            except Gone:
                pass  # a mirror need not have everything
        return self._download(remote, path)

    def _mirrored(self, request: Request) -> str | None:
        """Where the mirror would have it; queries are not mirrored."""
        if not self.policy.mirror or request.params or request.data or request.files:
            return None
        address = urllib.parse.urlsplit(request.url)
        return f"{self.policy.mirror.rstrip('/')}/{address.hostname}{address.path}"

    def _download(self, remote: RemoteFile, path: Path) -> None:
        """Download to `path` by way of a ``.part`` beside it."""
        key = hashlib.sha256(repr((remote.request, remote.md5)).encode()).hexdigest()[:8]
        part = path.with_name(f"{path.name}.{key}.part")

        def attempt() -> None:
            parts.extend(part, remote, self._open, self._watched, partial(_bar, path.name))
            fault = remote.fault(part)
            if fault:
                parts.discard(part)  # nothing in it can be trusted
                raise TryAgain(fault)

        self._persistently(remote.url, attempt)
        os.replace(part, path)
        parts.discard(part)

    def _open(self, request: Request) -> Answer:
        """A good answer, after up to five moves; busy servers raise `TryAgain`."""
        for _ in range(5):
            self._wait_for_turn()
            answer = self._send(request)
            if answer.status in (200, 206):
                return answer
            if answer.status in MOVED and "location" in answer.headers:
                request = _moved(request, answer)
            elif answer.status in BUSY:
                raise TryAgain(f"status {answer.status}", _seconds(answer.headers.get("retry-after", "")))
            elif answer.status == 416 and request.start:  # what lies beyond the end cannot be had: it is another file than before
                request = replace(request, start=0, validator="")
            else:
                raise _refusal(request, answer)
        raise InputError(f"{request.url}: moved in circles; look up its address and put that into the config")

    def _wait_for_turn(self) -> None:
        """Keep the starts of requests, of all threads, ``60 / requests_per_minute`` seconds apart."""
        with self._lock:
            now = self._clock()
            pause = self._next_start - now
            self._next_start = max(now, self._next_start) + 60.0 / self.policy.requests_per_minute
        if pause > 0:
            self._sleep(pause)

    def _watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks; `TryAgain` where fewer bytes come than the policy bears, for a time-out never ends a slow drip."""
        since, count = self._clock(), 0
        for chunk in chunks:
            yield chunk
            count += len(chunk)
            waited = self._clock() - since
            if waited > self.policy.patience_s:
                if count < self.policy.slowest_bytes_per_s * waited:
                    raise TryAgain(f"{count} bytes came in {waited:.1f} s")
                since, count = self._clock(), 0

    def _persistently(self, what: str, attempt: Callable):
        """Result of `attempt`, called as often as the policy says with growing pauses."""
        for count in range(self.policy.attempts):
            try:
                return attempt()
            except (TryAgain, *NETWORK_ERRORS) as error:
                if _of_the_disk(error):
                    raise
                reason = str(error) or type(error).__name__
                if count + 1 < self.policy.attempts:
                    self._sleep(self._pause(count, getattr(error, "pause", 0.0)))
        raise InputError(f"{what}: {self.policy.attempts} attempts failed, the last with: {reason}; run again later, what was downloaded is kept")

    def _pause(self, count: int, asked_for: float) -> float:
        """Seconds before the attempt after number `count`, which the server may have asked for."""
        pause = max(self.policy.pause_s * 2**count, asked_for)
        return min(pause, self.policy.longest_pause_s) * (1 + self.policy.jitter * self._jitter())


def require_some(entries: Sequence[Mapping], keys: str) -> None:
    """Raise `InputError` where an archive has none of several files: it has moved, and of the single files nothing is known.

    Parameters
    ----------
    entries : sequence of mapping
        As `Transport.fetch_all` gives them.
    keys : str
        Where the configuration has the address of the archive.
    """
    if len(entries) > 1 and all("missing" in entry for entry in entries):
        raise InputError(f"{entries[0]['missing']} ({keys}): none of {len(entries)} files is there")


def over_http(timeout_s: float) -> Callable[[Request], Answer]:
    """Send requests over HTTP with one session a thread."""
    local = threading.local()

    def send(request: Request) -> Answer:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        method = "POST" if request.data or request.files else "GET"
        response = local.session.request(
            method,
            request.url,
            params=request.params,
            data=request.data,
            files=request.files,
            headers=_headers(request),
            timeout=timeout_s,
            stream=True,
            allow_redirects=False,
        )
        headers = {key.lower(): value for key, value in response.headers.items()}
        unpack = headers.get("content-encoding") in ("gzip", "deflate") and TEXT.match(headers.get("content-type", "")) is not None
        if unpack:  # urllib3 compares the length of what is packed
            headers = {**headers, "transfer-encoding": "chunked"}
            headers.pop("content-length", None)
        return Answer(response.status_code, headers, _pieces(response, unpack))

    return send


def _headers(request: Request) -> dict:
    # identity: lengths, ranges and checksums are those of the file
    headers = {"User-Agent": "galmass", "Accept-Encoding": "identity"}
    if request.start:
        headers["Range"] = f"bytes={request.start}-"
        if request.validator:
            headers["If-Range"] = request.validator
    return headers


def _pieces(response, unpack: bool) -> Iterator[bytes]:
    """The body as it comes: `read1` hands over what is there, where `read` would wait for a whole block of a slow drip."""
    with response:
        yield from iter(lambda: response.raw.read1(BLOCK, decode_content=unpack), b"")


def _parsed_json(body: bytes):
    try:
        return json.loads(body)
    except ValueError as error:  # a page of maintenance, or half an answer
        raise ValueError(f"no JSON but {body[:60]!r}") from error


def _moved(request: Request, answer: Answer) -> Request:
    """The request at its new address; 301 to 303 turn a POST into a GET, as browsers do."""
    url = urllib.parse.urljoin(request.url, answer.headers["location"])
    if answer.status not in (307, 308) and (request.data or request.files):
        return Request(url)
    return replace(request, url=url, params=None if urllib.parse.urlsplit(url).query else request.params)


def _refusal(request: Request, answer: Answer) -> InputError:
    """What a server that will not give it says."""
    try:
        said = repr(b"".join(answer.chunks)[:SHOWN])
    except NETWORK_ERRORS:
        said = "nothing"
    if answer.status in (404, 410):
        return Gone(f"{request.url} is not there any more (status {answer.status}: {said}); look up where it moved and put that into the config")
    return InputError(f"{request.url} refused (status {answer.status}: {said}); is it public, and is the query right?")


def _seconds(text: str) -> float:
    """Retry-After, seconds or a date, as seconds from now."""
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _of_the_disk(error: Exception) -> bool:
    """A full disk is no fault of the network: trying again does not help."""
    return isinstance(error, OSError) and (error.errno in DISK_ERRORS or isinstance(error.filename, str | os.PathLike))


def _intact(remote: RemoteFile, path: Path, noted: Mapping) -> bool:
    """Whether the file is there, the one that is noted, of the right release, and whole."""
    if not path.exists() or (noted and noted["release"] != remote.release):
        return False
    return (not noted or file_hash(path, "sha256") == noted["sha256"]) and not remote.fault(path)


def _copy(remote: RemoteFile, source: Path, path: Path) -> None:
    """A copy of a mirrored file, checked like a downloaded one."""
    fault = remote.fault(source)
    if fault:
        raise InputError(f"{source}: {fault}; mend the mirror or take archives.mirror away")
    with stores.replacing(path) as part:
        shutil.copyfile(source, part)


def _bar(name: str, size: int | None, done: int):
    """A progress bar for a long download."""
    if size and size > LONG:
        return logs.progress(size, done, f"download {name} [bytes]")
    return nullcontext(SimpleNamespace(update=lambda n: None))
