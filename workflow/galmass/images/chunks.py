"""Which fields are downloaded and cut together, and what is deleted afterwards; without a network."""

from pathlib import Path

import numpy as np
import pandas as pd

from galmass.errors import InputError


def chunks_of_fields(used: pd.DataFrame, n_chunk: int) -> np.ndarray:
    """Chunk (n_galaxy,) of int of each galaxy, none empty: the galaxies of a field are together, so that each frame is fetched once.

    Parameters
    ----------
    used : DataFrame
        run, camcol, field of each galaxy's frames, as `galmass.images.fields.fields_needed` gives them.
    n_chunk : int
        Known before the catalogue; neighbouring fields of a run are in one chunk, if they fit.

    Raises
    ------
    InputError
        When there are fewer fields than chunks.
    """
    number = used.groupby(["run", "camcol", "field"], sort=True).ngroup().to_numpy()
    n_field = int(number.max()) + 1
    if n_field < n_chunk:
        raise InputError(f"frames.chunks is {n_chunk}, and the galaxies lie in {n_field} fields; choose at most as many chunks")
    return number * n_chunk // n_field


def discard_frames(folder) -> int:
    """Delete the frames of a folder, whose manifest stays; returns the number of bytes."""
    frames = list(Path(folder).glob("frame-*.fits.bz2"))
    size = sum(path.stat().st_size for path in frames)
    for path in frames:
        path.unlink()
    return size
