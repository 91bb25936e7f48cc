"""Files with labels: tables with units, arrays with axes, written whole or not at all."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from galmass.errors import InputError


@dataclass(frozen=True)
class Column:
    """Unit (astropy's spelling, '' for none) and one-line description of a column or an array."""

    unit: str
    description: str


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; what is written there takes the place of `path` at the end.

    Whoever finds `path` finds all of it: a job that dies leaves only the scratch path, which the next
    attempt takes away.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for orphan in path.parent.glob(f".{path.name}.*.part"):
        _remove(orphan)
    part = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        yield part
        if part.is_file():  # some writers leave files that only their owner can read
            part.chmod(0o666 & ~_umask())
        elif path.is_dir():  # a folder cannot take the place of a folder that is not empty
            path.rename(part.with_suffix(".old.part"))
        os.replace(part, path)
    finally:
        _remove(part)
        _remove(part.with_suffix(".old.part"))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _umask() -> int:
    os.umask(mask := os.umask(0))
    return mask


def digest(content: bytes) -> str:
    """SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_table(path, frame, columns: Mapping[str, Column], metadata: Mapping | None = None) -> None:
    """Write a DataFrame as Parquet with the unit and description of every column in its metadata.

    ``astropy.table.Table.read`` gives the units back; ``pandas.read_parquet`` reads it as it is.

    Raises
    ------
    InputError
        When a column has no entry in `columns`: nothing unlabelled leaves a stage.
    """
    from astropy.table import Table

    unlabelled = [name for name in frame.columns if name not in columns]
    if unlabelled:
        raise InputError(f"{path}: columns without unit and description: {', '.join(unlabelled)}")
    # from numpy, not from pandas: a NaN stays a NaN and becomes no column of masks
    table = Table({name: _plain(frame[name]) for name in frame.columns})
    for name in frame.columns:
        table[name].unit = columns[name].unit or None
        table[name].description = columns[name].description
    table.meta["galmass"] = json.dumps(metadata or {}, sort_keys=True)
    with replacing(path) as part:
        table.write(part, format="parquet")


def _plain(series):
    """Numbers as they are, everything else as text."""
    values = series.to_numpy()
    return values.astype(str) if values.dtype.kind == "O" else values


def read_table(path, required: tuple[str, ...] = ()):
    """Read a Parquet table as a DataFrame; `required` columns that it lacks are named in the error."""
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no readable Parquet table ({error}); delete it and run again") from error
    missing = [name for name in required if name not in frame]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    return frame


def table_metadata(path) -> dict:
    """What `write_table` was given as metadata."""
    from astropy.table import Table

    return json.loads(Table.read(path, format="parquet").meta["galmass"])


def write_json(path, content) -> None:
    """Write JSON with sorted keys; NaN and infinity are refused, not written as words."""
    try:
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    except ValueError as error:
        raise InputError(f"{path} would hold NaN or infinity ({error}): a score is undefined for these galaxies") from error
    with replacing(path) as part:
        part.write_text(text + "\n")


def read_json(path):
    """Read JSON; a broken file is named."""
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no JSON ({error}); delete it and run again") from error


def write_text(path, text: str) -> None:
    """Write words for people, Markdown or HTML."""
    with replacing(path) as part:
        part.write_text(text.rstrip("\n") + "\n")


def write_csv(path, rows: list[Mapping]) -> None:
    """Write rows as CSV for people; the header is the keys of the first row."""
    import pandas as pd

    with replacing(path) as part:
        pd.DataFrame(rows).to_csv(part, index=False)


def read_csv(path):
    """Read a CSV table as a DataFrame."""
    import pandas as pd

    return pd.read_csv(path)


def write_arrays(path, arrays: Mapping, metadata: Mapping | None = None) -> dict[str, str]:
    """Write named arrays as one Zarr group.

    Parameters
    ----------
    path : path
        Folder to write.
    arrays : mapping of name -> (array, axis names, Column)
    metadata : mapping, optional
        Attributes of the group.

    Returns
    -------
    dict of name -> SHA-256 of the array

    Notes
    -----
    Zarr fills a chunk that is missing with zeros in silence, so the SHA-256 of every array goes with it
    and `read_arrays` compares.
    """
    import numpy as np
    import zarr

    with replacing(path) as part:
        group = zarr.open_group(str(part), mode="w", zarr_format=3)
        digests = {}
        for name, (array, axes, label) in arrays.items():
            array = np.ascontiguousarray(array)
            stored = group.create_array(name, data=array, chunks=_chunks(array), dimension_names=axes)
            stored.attrs.update(unit=label.unit, description=label.description)
            digests[name] = _array_digest(array)
        group.attrs.update({**(metadata or {}), "sha256": digests})
    return digests


def _array_digest(array) -> str:
    """SHA-256 of the kind, shape and bytes of an array."""
    return digest(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())


def _chunks(array) -> tuple[int, ...]:
    """Whole rows, about 16 MB a chunk: few files."""
    row_bytes = max(1, array.nbytes // max(1, len(array)))
    return (max(1, min(len(array), 2**24 // row_bytes)), *array.shape[1:])


def read_arrays(path, digests: Mapping[str, str] | None = None) -> tuple[dict, dict]:
    """Arrays by name and attributes of a group that `write_arrays` wrote.

    Parameters
    ----------
    digests : mapping, optional
        What `write_arrays` returned: another store in this place is refused.

    Raises
    ------
    InputError
        When the group or a part of it is missing or altered.
    """
    import zarr

    remedy = "the store is half-written or damaged; delete it and run again"
    try:
        group = zarr.open_group(str(path), mode="r")
        metadata = dict(group.attrs)
        expected = metadata.pop("sha256")
        arrays = {name: group[name][...] for name in expected if name in group}
    except Exception as error:  # zarr, its codecs and the file system raise many kinds: all mean the same here
        raise InputError(f"{path} cannot be read ({type(error).__name__}: {error}); {remedy}") from error
    for name in expected:
        if name not in arrays or _array_digest(arrays[name]) != expected[name]:
            raise InputError(f"{path}/{name} is not what was written; {remedy}")
    if digests is not None and digests != expected:
        raise InputError(f"{path} is not the store that its notes describe; delete it and run again")
    return arrays, metadata
