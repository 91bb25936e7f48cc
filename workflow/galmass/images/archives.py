"""The corrected frames that a catalogue needs from the SDSS Science Archive Server, each fetched once."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from galmass.images.frames import BANDS, file_name
from galmass.integrity import MAGIC, Manifest, RemoteFile, Request, ended_bzip2
from galmass.transport import Transport, require_some

SAS = "https://data.sdss.org/sas"  # Science Archive Server
FRAME_MEGABYTES = 3.3  # packed; 3.0 to 3.7 in the five bands of a field seen


def frame_address(band: str, run: int, camcol: int, field: int, rerun: int = 301, release: int = 17, root: str = SAS) -> str:
    """Address of a corrected frame."""
    survey = "boss" if release <= 12 else "eboss" if release <= 17 else "prior-surveys/sdss4-dr17-eboss"
    return f"{root}/dr{release}/{survey}/photoObj/frames/{rerun}/{run}/{camcol}/{file_name(band, run, camcol, field)}"


def frame_file(address: str, release: int = 17) -> RemoteFile:
    """A frame, packed by bzip2, whose end tells that it is whole."""
    return RemoteFile(Request(address), magic=MAGIC["bzip2"], check=ended_bzip2, release=f"DR{release}")


def download_frames(used: pd.DataFrame, folder, transport: Transport, bands: Sequence[str] = BANDS, release: int = 17) -> dict:
    """All frames that the galaxies need, each once, in one folder under the survey's names, with ``manifest.jsonl``.

    Parameters
    ----------
    used : DataFrame
        run, camcol, field of each galaxy's frames, and rerun, if it is not 301.
    folder : path
    transport : Transport

    Returns
    -------
    dict
        Frames, bytes, and what the archive does not have: the galaxies of those are counted when they are cut.

    Raises
    ------
    InputError
        When it has none of the frames: it has moved.
    """
    folder, root = Path(folder), transport.policy.address or SAS
    distinct = used.assign(rerun=used.get("rerun", 301))[["run", "camcol", "field", "rerun"]].drop_duplicates().sort_values(["run", "camcol", "field"])
    files = [
        (
            frame_file(frame_address(band, *map(int, row[:3]), rerun=int(row[3]), release=release, root=root), release),
            folder / file_name(band, *map(int, row[:3])),
        )
        for row in distinct.itertuples(index=False, name=None)
        for band in bands
    ]
    entries = transport.fetch_all(files, Manifest(folder / "manifest.jsonl"), "download frames")
    require_some(entries, "archives.sas.address, or a copy in archives.mirror")
    missing = [entry["missing"] for entry in entries if "missing" in entry]
    return {"frames": len(files) - len(missing), "bytes": sum(entry.get("bytes", 0) for entry in entries), "missing": missing}


def expected_frames(used: pd.DataFrame, bands: Sequence[str] = BANDS) -> dict:
    """Frames and gigabytes that a download takes."""
    n = len(bands) * len(used.drop_duplicates(["run", "camcol", "field"]))
    return {"frames": n, "gigabytes": round(n * FRAME_MEGABYTES / 1000, 1)}
