"""Checkpoints of a training: one process at a time, and only the checkpoint of this very training."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from galmass import logs
from galmass.errors import InputError


@contextmanager
def alone_in(folder: Path, rule: str) -> Iterator[None]:
    """Hold the folder's lock.

    Raises
    ------
    InputError
        When another process holds it: the training of a run that was killed without its jobs goes on.
    """
    if logs.is_companion():  # the first process holds it for all
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another process still trains in {folder}; wait for it, or end it (pgrep -af {rule}), and run again") from error
        except OSError as error:
            print(f"{folder}: the file system has no locks ({error}); nobody watches that only one process trains here")
        yield


def read(checkpoint: Path, stamp: str) -> dict:
    """The checkpoint's content.

    Raises
    ------
    InputError
        When it cannot be read, or carries another stamp.
    """
    try:
        found = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # a truncated zip, a foreign pickle, a text file: all mean the same here
        raise InputError(f"{checkpoint} cannot be read as a checkpoint ({type(error).__name__}); delete it to start afresh") from error
    if not isinstance(found, dict) or found.get("stamp") != stamp:
        raise InputError(f"{checkpoint} belongs to another training (other code, data or configuration); delete it to start afresh")
    return found
