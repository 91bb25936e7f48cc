"""Which fields are downloaded and cut together, and what is deleted afterwards; without a network."""

from pathlib import Path

import numpy as np
import pandas as pd


def chunk_of_fields(used: pd.DataFrame, fields_per_chunk: int) -> np.ndarray:
    """Chunk (n_galaxy,) of int of each galaxy: the galaxies of a field are together, so that each frame is fetched once.

    Parameters
    ----------
    used : DataFrame
        run, camcol, field of each galaxy's frames, as `galmass.images.fields.fields_needed` gives them.
    fields_per_chunk : int
        Neighbouring fields of a run are in one chunk, if they fit.
    """
    number = used.groupby(["run", "camcol", "field"], sort=True).ngroup().to_numpy()
    return number // fields_per_chunk


def chunks_of_fields(used: pd.DataFrame, n_chunk: int) -> np.ndarray:
    """`chunk_of_fields` for a number of chunks that is known before the catalogue: as many fields in each, the last may be smaller."""
    n_field = len(used.drop_duplicates(["run", "camcol", "field"]))
    return chunk_of_fields(used, -(-n_field // n_chunk))


def discard_frames(folder) -> int:
    """Delete the frames of a folder, whose manifest stays; returns the number of bytes."""
    frames = list(Path(folder).glob("frame-*.fits.bz2"))
    size = sum(path.stat().st_size for path in frames)
    for path in frames:
        path.unlink()
    return size
