"""What is known of a remote file beforehand, whether what came is whole, and the manifest of where it came from."""

import gzip
import hashlib
import json
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from galmass.errors import InputError

MAGIC = {"bzip2": b"BZh", "gzip": b"\x1f\x8b", "fits": b"SIMPLE  ="}
WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!doctype html|<html|<head)", re.IGNORECASE)
BZIP2_END = 0x177245385090  # 48 bits, then 32 bits of checksum and up to 7 of padding
FITS_BLOCK = 2880  # bytes
BLOCK = 2**20  # bytes


@dataclass(frozen=True)
class Request:
    """GET of an address with parameters, or POST where there are `data` or `files`; from byte `start` on."""

    url: str
    params: Mapping | None = None
    data: Mapping | None = None
    files: Mapping | None = None
    start: int = 0
    validator: str = ""  # ETag or date of the bytes that are there already


@dataclass(frozen=True)
class RemoteFile:
    """A file of an archive, or the answer to a query, and what is known of it before it comes.

    Parameters
    ----------
    request : Request
    size : int, optional
        Bytes.
    md5 : str, optional
        Hexadecimal.
    magic : bytes
        What the file begins with.
    check : callable, optional
        ``check(path)`` raises `ValueError`, with a reason, for a file that is not whole and may be so another time,
        `InputError` where asking again does not help.
    release : str
        Data release, for the manifest.
    """

    request: Request
    size: int | None = None
    md5: str | None = None
    magic: bytes = b""
    check: Callable[[Path], None] | None = None
    release: str = ""

    @property
    def url(self) -> str:
        return self.request.url

    def fault(self, path: Path) -> str:
        """Why the file cannot be trusted; empty where it can."""
        if self.size not in (None, path.stat().st_size):
            return f"{path.stat().st_size} of {self.size} bytes came"
        if self.md5 and file_hash(path, "md5") != self.md5:
            return f"the checksum of what came is not the record's {self.md5}"
        with open(path, "rb") as file:
            if file.read(len(self.magic)) != self.magic:
                return f"it does not begin with {self.magic!r}"
        try:
            if self.check:
                self.check(path)
        except InputError:
            raise
        except ValueError as error:
            return str(error)
        return ""

    def entry(self, path: Path) -> dict:
        """Entry of the manifest of a file that has just come."""
        return {
            "url": self.url,
            "bytes": path.stat().st_size,
            "sha256": file_hash(path, "sha256"),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "release": self.release,
        }


class Manifest:
    """What came from where: one JSON object a line, appended as files arrive, so that a killed run loses at most its last line.

    Parameters
    ----------
    path : path
        ``.jsonl`` file; the paths in it are relative to its folder, for the checkout may move.
    """

    def __init__(self, path):
        self.path, self._lock = Path(path), threading.Lock()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._entries = {entry["path"]: entry for entry in _json_lines(self.path)}

    def get(self, path) -> dict:
        """Entry of a local file, empty where there is none."""
        return self._entries.get(self._key(path), {})

    def add(self, path, entry: Mapping) -> None:
        """Note where the local file came from."""
        key = self._key(path)
        with self._lock:
            self._entries[key] = {**entry, "path": key}
            with open(self.path, "ab") as file:
                file.write(b"\n" * _torn(self.path) + json.dumps(self._entries[key], sort_keys=True).encode() + b"\n")

    def entries(self) -> list[dict]:
        """The last entry of every file, in the order of their paths."""
        return [self._entries[key] for key in sorted(self._entries)]

    def _key(self, path) -> str:
        return os.path.relpath(path, self.path.parent)


def _json_lines(path: Path) -> Iterator[dict]:
    """Objects of a file of lines; a torn line is no entry."""
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _torn(path: Path) -> bool:
    """Whether the last line has no end."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read(1) not in (b"", b"\n")


def file_hash(path: Path, kind: str) -> str:
    """Hexadecimal digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def ended_bzip2(path: Path) -> None:
    """Raise `ValueError` where a bzip2 stream has no end: it is cut.

    The last bytes tell at no cost; damage inside shows when it is unpacked, since each block has a checksum.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 11))
        tail = int.from_bytes(file.read(11), "big")
    if not any((tail >> padding >> 32) & (2**48 - 1) == BZIP2_END for padding in range(8)):
        raise ValueError("the bzip2 stream has no end: it is cut")


def whole_gzip(path: Path) -> None:
    """Raise `ValueError` where a gzip stream is cut or damaged."""
    try:
        with gzip.open(path) as file:
            while file.read(BLOCK):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"the gzip stream is not whole ({error})") from error


def whole_fits(path: Path) -> None:
    """Raise `ValueError` where a FITS file does not end with a block."""
    size = path.stat().st_size
    if not size or size % FITS_BLOCK:
        raise ValueError(f"{size} bytes are no whole number of FITS blocks of {FITS_BLOCK}")
