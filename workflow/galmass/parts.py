"""A file that is coming: its bytes so far, what the server said of it, and when they may be gone on from."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from galmass.integrity import WEB_PAGE, RemoteFile, Request

ENOUGH = 16  # bytes that tell a web page from a file


@dataclass(frozen=True)
class Answer:
    """What a server says: status, headers (lower case) and the body in pieces."""

    status: int
    headers: dict = field(default_factory=dict)
    chunks: Iterable[bytes] = ()


class TryAgain(Exception):
    """What went wrong, worth another attempt after `pause` seconds."""

    def __init__(self, reason: str, pause: float = 0.0):
        super().__init__(reason)
        self.pause = pause


def extend(part: Path, remote: RemoteFile, open_: Callable[[Request], Answer], watched: Callable, bar: Callable) -> None:
    """Append to `part` what is missing; `TryAgain` where less than that comes.

    Parameters
    ----------
    part : path
    remote : RemoteFile
    open_ : callable
        ``open_(request)`` gives a good answer.
    watched : callable
        ``watched(chunks)`` gives the chunks as long as they come fast enough.
    bar : callable
        ``bar(size, done)`` gives a progress bar.
    """
    note = _read_note(part)
    done = _usable(part, remote, note)
    if done and done == (remote.size or note.get("size")):
        return
    answer = open_(replace(remote.request, start=done, validator=note.get("validator", "") if done else ""))
    resumed = _goes_on(answer, done)
    done = done if resumed else 0
    size = remote.size or _announced(answer, done)
    _write_note(part, answer, size)
    with open(part, "ab" if resumed else "wb") as file, bar(size, done) as progress:
        for chunk in _judged(watched(answer.chunks), remote, answer, done):
            file.write(chunk)
            progress.update(len(chunk))
    _confirm(part, size, answer, remote)


def discard(part: Path) -> None:
    """Take a part and its note away."""
    part.unlink(missing_ok=True)
    _note_path(part).unlink(missing_ok=True)


def _usable(part: Path, remote: RemoteFile, note: Mapping) -> int:
    """Bytes of `part` that a download may go on from; the rest is taken away."""
    done = part.stat().st_size if part.exists() else 0
    size = remote.size or note.get("size")
    if done and size and done <= size and (remote.md5 or note.get("validator")):
        return done
    discard(part)
    return 0


def _goes_on(answer: Answer, done: int) -> bool:
    """Whether the answer goes on from byte `done`."""
    if answer.status != 206:
        return False
    came = answer.headers.get("content-range", f"bytes {done}-")
    if not came.startswith(f"bytes {done}-"):
        raise TryAgain(f"bytes from {done} were asked for, {came} came")
    return True


def _announced(answer: Answer, done: int) -> int | None:
    """Size of the whole file by the headers [bytes]."""
    total = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("content-range", ""))
    if answer.status == 206 and total:
        return int(total[1])
    length = answer.headers.get("content-length", "")
    return done + int(length) if length.isdigit() else None


def _judged(chunks: Iterable[bytes], remote: RemoteFile, answer: Answer, done: int) -> Iterator[bytes]:
    """The chunks, if the first bytes are those of such a file."""
    head = None if done else b""
    for chunk in chunks:
        if head is None:
            yield chunk
            continue
        head += chunk
        if len(head) >= ENOUGH:
            _judge(head, remote, answer)
            yield head
            head = None
    if head:
        _judge(head, remote, answer)
        yield head


def _judge(head: bytes, remote: RemoteFile, answer: Answer) -> None:
    # a server may call the answer to a query text/html and still give it; a file never is one
    called_so = answer.headers.get("content-type", "").startswith("text/html") and not (remote.check or remote.magic)
    if called_so or WEB_PAGE.match(head):
        raise TryAgain(f"a web page came in place of the file: {head[:60]!r}")
    if not head.startswith(remote.magic):
        raise TryAgain(f"it begins with {head[:ENOUGH]!r}, not with {remote.magic!r}")


def _confirm(part: Path, size: int | None, answer: Answer, remote: RemoteFile) -> None:
    """Compare the size with what was announced."""
    came = part.stat().st_size
    if size is not None and came != size:
        raise TryAgain(f"{came} of {size} bytes came")
    if not came:
        raise TryAgain("an empty answer came")
    if size is None and "chunked" not in answer.headers.get("transfer-encoding", "") and not (remote.check or remote.md5):
        raise TryAgain("the server does not say how long it is, so that nobody knows whether it is whole")


def _read_note(part: Path) -> dict:
    """Size and validator of what `part` is a piece of, by the answer that began it."""
    try:
        return json.loads(_note_path(part).read_text())
    except (OSError, ValueError):
        return {}


def _write_note(part: Path, answer: Answer, size: int | None) -> None:
    tag = answer.headers.get("etag", "")
    # a weak ETag promises the same meaning, not the same bytes
    validator = tag if tag and not tag.startswith("W/") else answer.headers.get("last-modified", "")
    _note_path(part).write_text(json.dumps({"size": size, "validator": validator}))


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")
