"""Catalogues cut from folders of frames: every galaxy accounted for, in its own row, in bounded memory."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_frames import CAMCOL, FIELD, RUN, SHAPE, Source, hdus, wcs, write

from galmass.errors import InputError
from galmass.images import cutouts, fields, frames, store

REAL = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere")) / "sdss_frames_2820-3-0122"
OPTIONS = {"bands": ["g", "r"], "n_pix": 16, "sub_pixel": True, "max_missing": 0.0}
STEP = 100  # rows from one field to the next in these tests: frames of 230 rows share 130
PLACES = np.array([[60.0, 80.0], [130.4, 110.9], [200.0, 222.0], [75.0, 150.1], [130.0, 5.0]])  # x, y in the r frame


@pytest.fixture(autouse=True)
def small_fields(monkeypatch):
    monkeypatch.setattr(frames, "FIELD_STEP", STEP)
    monkeypatch.setattr(cutouts, "FIELD_STEP", STEP)
    monkeypatch.setattr(cutouts.field_to_use, "__defaults__", (SHAPE[0],))


def catalogue(places=PLACES, field=FIELD) -> pd.DataFrame:
    ra, dec = wcs("r").wcs_pix2world(*np.transpose(places), 0)
    table = pd.DataFrame({"galaxy_id": [f"J{i}" for i in range(len(ra))], "ra": ra, "dec": dec, "run": RUN, "camcol": CAMCOL, "field": field})
    return table.assign(colc_r=places[:, 0] + 0.5, rowc_r=places[:, 1] + 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three fields of one scan in two bands, the same galaxies in their overlaps."""
    folder = tmp_path_factory.mktemp("frames")
    sources = [Source(*place) for place in np.transpose(wcs("r").wcs_pix2world(*PLACES.T, 0))]
    for step in (-1, 0, 1):
        for band in ("g", "r"):
            write(folder, band, hdus(band, sources, 7 + step, row=step * STEP, field=FIELD + step), FIELD + step)
    return folder


def cut(path, table, folder, **options):
    notes = fields.cut_catalogue(table, folder, path, OPTIONS | options, {"release": "dr17"})
    return notes, store.open(path)


def centroid(image):
    offset = np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2
    return np.array([(image.sum(0) @ offset) / image.sum(), (image.sum(1) @ offset) / image.sum()])


def test_every_galaxy_in_its_row_and_in_the_middle(tmp_path, folder):
    notes, cutouts_ = cut(tmp_path / "a.zarr", catalogue(), folder)
    assert notes["field"].tolist() == [FIELD, FIELD, FIELD + 1, FIELD, FIELD - 1]
    assert (notes["reason"] == "").all()
    assert set(notes) == set(fields.columns(["g", "r"]))
    np.testing.assert_allclose(notes[["x", "y"]] + [0, STEP] * (notes[["field"]].to_numpy() - FIELD), PLACES, atol=1e-6)
    assert cutouts_.galaxy_id.tolist() == [f"J{i}" for i in range(5)]
    assert cutouts_.metadata["release"] == "dr17"
    for image in cutouts_.image(range(5)).reshape(-1, 16, 16):
        # a source of 100 nanomaggies in noise of 0.02 and less per pixel
        assert image.sum() == pytest.approx(100, rel=0.01)
        assert np.abs(centroid(image)).max() < 0.03


def test_the_order_of_the_catalogue_changes_no_image(tmp_path, folder):
    order = [3, 0, 4, 2, 1]
    _, straight = cut(tmp_path / "a.zarr", catalogue(), folder)
    notes, mixed = cut(tmp_path / "b.zarr", catalogue().iloc[order], folder)
    assert notes["galaxy_id"].tolist() == mixed.galaxy_id.tolist() == [f"J{i}" for i in order]
    np.testing.assert_array_equal(mixed.image(range(5)), straight.image(order))


def test_each_frame_is_needed_once():
    needed = fields.fields_needed(catalogue(), 16).drop_duplicates()
    assert sorted(needed["field"]) == [FIELD - 1, FIELD, FIELD + 1]


def test_own_field_serves_where_the_neighbour_is_not_there(tmp_path, folder):
    for band in ("g", "r"):
        name = frames.file_name(band, RUN, CAMCOL, FIELD).removesuffix(".bz2")
        (tmp_path / name).symlink_to(folder / name)
    notes, _ = cut(tmp_path / "a.zarr", catalogue(), tmp_path)
    assert (notes["field"] == FIELD).all()
    assert notes["reason"].tolist() == ["", "", "edge or gap", "", "edge or gap"]
    assert notes["missing_r"].tolist()[2] == 1 / 16  # rows 229.5 is beyond the last, 229
    notes, _ = cut(tmp_path / "b.zarr", catalogue(), tmp_path, max_missing=0.8)
    assert (notes["reason"] == "").all()


def test_every_exclusion_has_its_reason(tmp_path, folder):
    table = catalogue().iloc[[0, 0, 0, 0, 0, 1]].reset_index(drop=True)
    table["galaxy_id"] = [f"J{i}" for i in range(6)]
    table.loc[1, "ra"] = np.nan
    table.loc[2, ["run", "field"]] = [94, 11]
    table.loc[3, "ra"] += 1.0
    table.loc[4, "colc_r"] += 30
    notes, cutouts_ = cut(tmp_path / "a.zarr", table, folder)
    assert notes["reason"].tolist() == ["", "no position", "no frame", "off the frame", "misplaced", ""]
    assert fields.counts(notes) == {"cut": 2, "no position": 1, "no frame": 1, "off the frame": 1, "misplaced": 1, "edge or gap": 0}
    assert cutouts_.galaxy_id.tolist() == ["J0", "", "", "", "", "J5"]  # nobody finds an image of those that are excluded
    assert cutouts_.mask([1, 2, 3]).all()
    assert not cutouts_.mask([0, 4, 5]).any()


def test_a_missing_band_excludes(tmp_path, folder):
    notes, cutouts_ = cut(tmp_path / "a.zarr", catalogue(), folder, bands=["g", "r", "i"])
    assert (notes["reason"] == "no frame").all()
    assert cutouts_.mask(range(5), ["i"]).all()
    assert not cutouts_.mask(range(5), ["g", "r"]).any()


def test_bad_catalogues(tmp_path, folder):
    with pytest.raises(InputError, match="need the columns field, rowc_r"):
        cut(tmp_path / "a.zarr", catalogue().drop(columns=["field", "rowc_r"]), folder)
    with pytest.raises(InputError, match="1 galaxies are twice in the catalogue, the first of them J0"):
        cut(tmp_path / "a.zarr", catalogue().iloc[[0, 1, 0]], folder)
    with pytest.raises(InputError, match=r"holds no frame of any galaxy \(the first needs frame-r-000094"):
        cut(tmp_path / "a.zarr", catalogue().assign(run=94), folder)
    assert not (tmp_path / "a.zarr").exists()


def test_a_cut_that_dies_half_way_leaves_nothing(tmp_path, folder):
    def die(n):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fields.cut_catalogue(catalogue(), folder, tmp_path / "a.zarr", OPTIONS, advance=die)
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_galaxies(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(store, "SHARD", 32)

    def peak(n):
        generator = np.random.default_rng(n)
        tracemalloc.start()
        cut(tmp_path / f"{n}.zarr", catalogue(generator.uniform([20, 60], [240, 170], (n, 2))), folder, n_pix=32)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(10)  # imports
    assert peak(480) < 1.5 * peak(96)


def test_joined_stores_follow_each_other(tmp_path, folder):
    parts = [cut(tmp_path / f"{i}.zarr", catalogue().iloc[rows], folder)[1] for i, rows in enumerate(([0, 1, 2], [3, 4]))]
    store.join([p.path for p in parts], tmp_path / "all.zarr")
    _, whole = cut(tmp_path / "a.zarr", catalogue(), folder)
    joined = store.open(tmp_path / "all.zarr")
    joined.verify()
    assert joined.sha256 == whole.sha256
    assert joined.metadata == whole.metadata


@pytest.mark.skipif(not REAL.is_dir(), reason="GALMASS_REAL_DATA does not name a folder with sdss_frames_2820-3-0122")
def test_real_frames_without_a_catalogue(tmp_path):
    detection = pytest.importorskip("galmass.images.detection", reason="sep is not installed")
    table = detection.extended(frames.read_named(REAL, "r", 2820, 3, 122), {"mag_range": [15.5, 19.5], "min_size": 1.3, "edge": 48})
    assert len(table) == 17  # looked at: discs and spheroids, no star
    notes, cutouts_ = cut(tmp_path / "a.zarr", table, REAL, bands=list(frames.BANDS), n_pix=64)
    assert (notes["reason"] == "").all()
    image = cutouts_.image(range(len(table)), ["r"])[:, 0]
    middle = image[:, 28:36, 28:36].sum((1, 2))
    assert (middle > 0.25 * 10 ** (0.4 * (22.5 - table["kron_mag_r"].to_numpy()))).all()
