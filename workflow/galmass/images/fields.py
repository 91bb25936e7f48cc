"""All galaxies of a catalogue cut from a folder of frames into one store, field by field, and what became of each."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from galmass import stores
from galmass.errors import InputError
from galmass.images import cutouts, frames, store
from galmass.images.frames import BANDS, Frame
from galmass.stores import Column

PIXEL_SCALE = 0.396  # arcsec; of the frames
NEEDED = ("galaxy_id", "ra", "dec", "run", "camcol", "field", "rowc_r")
MISPLACED = 5.0  # pixels between the catalogue's place and the frame's coordinates that no proper motion explains
_TOGETHER = 32  # galaxies of a field whose stamps are in memory
REASONS = ("no position", "no frame", "off the frame", "misplaced", "edge or gap")


def columns(bands: Sequence[str] = BANDS) -> dict[str, Column]:
    """Columns of the table of cutouts."""
    return {
        "galaxy_id": Column("", "as in galaxies.parquet; rows are in the order of the fields"),
        "run": Column("", "run of the frames"),
        "camcol": Column("", "camera column of the frames"),
        "field": Column("", "field that was used: the neighbouring one where the galaxy's own does not hold its stamp"),
        "x": Column("pix", "column of the galaxy in the r frame, 0 in the middle of the first pixel"),
        "y": Column("pix", "row of the galaxy in the r frame, 0 in the middle of the first pixel"),
        **{f"missing_{b}": Column("", f"share of the {b} stamp without a datum") for b in bands},
        "reason": Column("", f"why the galaxy is excluded ({', '.join(REASONS)}); empty where it is not"),
    }


def _check(catalogue: pd.DataFrame) -> None:
    missing = [name for name in NEEDED if name not in catalogue]
    if missing:
        raise InputError(f"cutouts from frames need the columns {', '.join(missing)}, which the catalogue does not have")
    twice = catalogue["galaxy_id"][catalogue["galaxy_id"].duplicated()]
    if len(twice):
        raise InputError(f"{len(twice)} galaxies are twice in the catalogue, the first of them {twice.iloc[0]}; take the duplicates away")


def fields_needed(catalogue: pd.DataFrame, n_pix: int) -> pd.DataFrame:
    """(run, camcol, field) of each galaxy's frames, with the neighbouring field where it alone holds the whole stamp.

    What has to be downloaded are its distinct rows: every frame once.
    """
    _check(catalogue)
    field, _ = cutouts.field_to_use(catalogue["rowc_r"], catalogue["field"], n_pix)
    return pd.DataFrame({"run": catalogue["run"].to_numpy(int), "camcol": catalogue["camcol"].to_numpy(int), "field": field}, index=catalogue.index)


def _present(catalogue: pd.DataFrame, folder, n_pix: int) -> pd.DataFrame:
    """`fields_needed`, but the galaxy's own field where the neighbour's frame is not there."""
    used = fields_needed(catalogue, n_pix)
    there = set(frames.fields_in(folder))
    absent = np.array([key not in there for key in used.itertuples(index=False, name=None)])
    used.loc[absent, "field"] = catalogue["field"].to_numpy(int)[absent]
    if not there.intersection(used.itertuples(index=False, name=None)):
        raise InputError(f"{folder} holds no frame of any galaxy (the first needs {frames.file_name(cutouts.REFERENCE, *used.iloc[0])})")
    return used


def _read_field(folder, bands: Sequence[str], key: tuple[int, int, int]) -> dict[str, Frame]:
    wanted = dict.fromkeys((cutouts.REFERENCE, *bands))
    found = {band: frames.read_named(folder, band, *key) for band in wanted}
    return {band: frame for band, frame in found.items() if frame is not None}


def _groups(used: pd.DataFrame) -> Iterator[tuple[tuple[int, int, int], np.ndarray]]:
    """Fields in the order in which the catalogue meets them, with their rows."""
    for key, rows in used.reset_index(drop=True).groupby(["run", "camcol", "field"], sort=False).indices.items():
        yield tuple(map(int, key)), rows


def cut_catalogue(catalogue: pd.DataFrame, folder, path, options: Mapping, metadata: Mapping | None = None, advance=lambda n: None) -> pd.DataFrame:
    """Cut all galaxies and write the store; one field is in memory at a time.

    Parameters
    ----------
    catalogue : DataFrame
        Columns `NEEDED`; with colc_r the places are compared. Sorted by field it is written in one pass.
    folder : path
        Frames under the survey's names, packed or not.
    path : path
        Store to write, one row per row of the catalogue. The rows of excluded galaxies have no identifier.
    options : mapping
        ``bands``, ``n_pix``, ``sub_pixel``, ``max_missing`` (largest share of a stamp without a datum).
    metadata : mapping, optional
        More attributes of the store, such as the release.
    advance : callable
        Called with the number of galaxies that were just written.

    Returns
    -------
    DataFrame
        Columns of `columns`: the frames used, gaps, and why a galaxy is excluded.
    """
    bands, n_pix = list(options["bands"]), options["n_pix"]
    used, notes = _present(catalogue, folder, n_pix), []
    ra, dec = (catalogue[name].to_numpy(float) for name in ("ra", "dec"))
    with stores.replacing(path) as part:
        writer = store.create(part, len(catalogue), bands, n_pix, PIXEL_SCALE, {"instrument": "SDSS imaging camera", **(metadata or {})})
        for key, rows in _groups(used):
            field = _read_field(folder, bands, key)
            for some in np.split(rows, range(_TOGETHER, len(rows), _TOGETHER)):
                image, inverse_variance, mask = cutouts.cut(field, ra[some], dec[some], bands, n_pix, options["sub_pixel"])
                found = _notes(catalogue.iloc[some], key, field, bands, mask, options["max_missing"])
                names = found["galaxy_id"].where(found["reason"] == "", "").to_numpy(str)
                for i, row in enumerate(some):
                    writer.write(row, image[[i]], inverse_variance[[i]], mask[[i]], names[[i]])
                notes.append(found.set_axis(some))
                advance(len(some))
        writer.close()
    return pd.concat(notes).sort_index().reset_index(drop=True)


def _notes(galaxies: pd.DataFrame, key: tuple[int, int, int], field: Mapping[str, Frame], bands: Sequence[str], mask, max_missing: float) -> pd.DataFrame:
    """Rows of the table of cutouts for the galaxies of one field."""
    table = pd.DataFrame({"galaxy_id": galaxies["galaxy_id"].to_numpy(str), "run": key[0], "camcol": key[1], "field": key[2]})
    place = np.full((2, len(galaxies)), np.nan)
    if cutouts.REFERENCE in field:
        place = np.array(field[cutouts.REFERENCE].wcs.wcs_world2pix(galaxies["ra"].to_numpy(float), galaxies["dec"].to_numpy(float), 0))
    missing = mask.mean((2, 3))
    table["x"], table["y"] = place
    table[[f"missing_{b}" for b in bands]] = missing
    absent = not {cutouts.REFERENCE, *bands} <= field.keys()
    reasons = {
        "no position": ~np.isfinite(galaxies[["ra", "dec"]].to_numpy(float)).all(1),
        "no frame": np.full(len(galaxies), absent),
        "off the frame": (missing == 1).all(1),
        "misplaced": _misplaced(galaxies, key[2], place),
        "edge or gap": (missing > max_missing).any(1),
    }
    table["reason"] = np.select(list(reasons.values()), list(reasons), "")
    return table


def _misplaced(galaxies: pd.DataFrame, field: int, place) -> np.ndarray:
    """Whether the frame's coordinates put a galaxy elsewhere than the catalogue does: then one of them is wrong."""
    if "colc_r" not in galaxies:
        return np.zeros(len(galaxies), bool)
    row = galaxies["rowc_r"].to_numpy(float) - frames.FIELD_STEP * (field - galaxies["field"].to_numpy(int))
    # the catalogue counts from the corner of the first pixel
    distance = np.hypot(place[0] - galaxies["colc_r"].to_numpy(float) + 0.5, place[1] - row + 0.5)
    return distance > MISPLACED


def counts(table: pd.DataFrame) -> dict[str, int]:
    """Number of galaxies cut, and excluded for each reason."""
    return {"cut": int((table["reason"] == "").sum()), **{reason: int((table["reason"] == reason).sum()) for reason in REASONS}}
