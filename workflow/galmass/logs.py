"""What a running stage tells: a log file for afterwards, a progress bar for whoever watches."""

import csv
import errno
import faulthandler
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from galmass.errors import InputError

_terminal = sys.stderr
_FULL = "free space where results/ and resources/ lie, or link them to another disk, and run again: what is finished is kept"
_CLOSED = "make it writable, or link results/ to a folder that is, and run again"
_DISK = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EROFS: _CLOSED, errno.EACCES: _CLOSED}


def is_companion() -> bool:
    """Is this one of the further processes, started by Lightning, of a training on several devices? The first alone writes products and locks."""
    return int(os.environ.get("LOCAL_RANK", 0)) > 0


@contextmanager
def recording(path: str | Path) -> Iterator[None]:
    """Send all output of the process, that of compiled libraries too, to the log file `path`.

    An `InputError` ends the process with its message alone, in the log and on the terminal; anything
    else with its traceback.
    """
    global _terminal
    if is_companion():  # its output goes to the log of the process that started it
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    _terminal = os.fdopen(os.dup(2), "w", buffering=1)
    with open(path, "wb", buffering=0) as log:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            os.dup2(log.fileno(), number)
    sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable()
    try:
        yield
    except SystemExit as stop:  # Lightning leaves without a code after SIGTERM: not a success
        print("stopped before the end", file=sys.stderr)
        sys.exit(stop.code or 128 + signal.SIGTERM)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        print(f"error: {error}", file=_terminal)
        sys.exit(1)
    except Exception as error:
        if remedy := _remedy_of_disk(error):  # before the log, whose disk may be the full one
            print(f"error: {error}; {remedy}", file=_terminal)
        traceback.print_exc()
        sys.exit(1)


def _remedy_of_disk(error: Exception) -> str | None:
    """What to do about a disk that is full or may not be written; None where something else is wrong.

    Libraries hide the number of the error behind exceptions of their own, but not its words.
    """
    number, words = getattr(error, "errno", None), str(error)
    for known, remedy in _DISK.items():
        if number == known or os.strerror(known) in words:
            return remedy
    return None


def progress(total: int, initial: int, label: str, hidden: bool = False):
    """A tqdm bar: live on a terminal, else a line every ten seconds into the log.

    Parameters
    ----------
    total, initial : int
        Steps in all, and those done before this process began.
    label : str
        What stands before the bar.
    hidden : bool
        Show nothing.
    """
    from tqdm import tqdm

    live = _terminal.isatty()
    # a log is read line by line: no carriage returns in it
    lines = SimpleNamespace(write=lambda text: sys.stderr.write(text.replace("\r", "\n")), flush=sys.stderr.flush)
    return tqdm(
        total=total,
        initial=initial,
        desc=label,
        disable=hidden,
        file=_terminal if live else lines,
        mininterval=0.2 if live else 10,
        leave=not live,
        ascii=not live,
        ncols=shutil.get_terminal_size().columns,  # 80 where a terminal does not say
    )


def text_table(path: str | Path) -> str:
    """A CSV table turned on its side for a terminal: one line per column of the file."""
    with open(path, newline="") as file:
        columns = list(zip(*csv.reader(file), strict=True))
    widths = [max(map(len, row)) for row in zip(*columns, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(column, widths, strict=True)).rstrip() for column in columns)
