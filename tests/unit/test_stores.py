"""Stores: whole files or the old ones, labelled tables, arrays that cannot change unnoticed."""

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units
from astropy.table import Table

from galmass import stores
from galmass.errors import InputError
from galmass.stores import Column


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- replacing ---------------------------------------------------------------------------------------------------


def test_replacing_makes_folders_and_leaves_no_scratch(tmp_path):
    path = tmp_path / "new" / "folder" / "product.txt"
    with stores.replacing(path) as part:
        assert part.parent == path.parent  # a rename is atomic only on one file system
        part.write_text("whole")
        assert not path.exists()
    assert contents(tmp_path) == {"new/folder/product.txt": b"whole"}


def test_replacing_shows_the_old_file_until_the_end(tmp_path):
    path = tmp_path / "product.txt"
    path.write_text("old")
    with stores.replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert contents(tmp_path) == {"product.txt": b"new"}


def die_while_writing(path: Path, error: BaseException, write) -> None:
    with stores.replacing(path) as part:
        write(part)
        raise error


def test_an_exception_leaves_the_old_file_and_no_scratch(tmp_path):
    path = tmp_path / "product.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="disk"):
        die_while_writing(path, RuntimeError("disk"), lambda part: part.write_text("half"))
    assert contents(tmp_path) == {"product.txt": b"old"}


def test_an_interrupt_leaves_the_old_folder_and_no_scratch(tmp_path):
    path = tmp_path / "product.zarr"
    path.mkdir()
    (path / "chunk").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        die_while_writing(path, KeyboardInterrupt(), lambda part: (part.mkdir(), (part / "chunk").write_text("half")))
    assert contents(tmp_path) == {"product.zarr/chunk": b"old"}
    assert [p.name for p in tmp_path.iterdir()] == ["product.zarr"]


def test_a_folder_takes_the_place_of_a_folder_without_its_remains(tmp_path):
    path = tmp_path / "product.zarr"
    path.mkdir()
    (path / "stale").write_text("old")
    with stores.replacing(path) as part:
        part.mkdir()
        (part / "chunk").write_text("new")
    assert contents(tmp_path) == {"product.zarr/chunk": b"new"}


def test_orphans_of_a_killed_job_are_taken_away_and_nothing_else(tmp_path):
    """What a killed job leaves is found by interrupting one before its clean-up."""
    path = tmp_path / "product"
    left_open = stores.replacing(path)
    orphan = left_open.__enter__()
    orphan.write_text("half")
    folder = tmp_path / orphan.name.replace(orphan.name.split(".")[-2], "deadbeef")
    folder.mkdir()
    (folder / "chunk").write_text("half")
    others = [tmp_path / ".product", tmp_path / "product.part", tmp_path / ".other.deadbeef.part"]
    for other in others:
        other.write_text("not ours")
    with stores.replacing(path) as part:
        part.write_text("whole")
    assert contents(tmp_path) == {"product": b"whole"} | {p.name: b"not ours" for p in others}


def test_files_get_the_permissions_that_the_umask_leaves(tmp_path):
    """Some writers (tempfile, pyarrow) make files that only their owner can read: a group shares results."""
    before = os.umask(0o027)
    try:
        with stores.replacing(tmp_path / "product") as part:
            part.write_text("x")
            part.chmod(0o600)
        now = os.umask(0o027)
    finally:
        os.umask(before)
    assert now == 0o027  # reading the umask must not change it
    assert stat.S_IMODE((tmp_path / "product").stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_an_os_error(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    with pytest.raises(PermissionError):
        stores.write_json(closed / "numbers.json", {"n": 1})
    assert not list(closed.iterdir())


def test_a_file_where_a_folder_is_needed_is_an_os_error(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(OSError, match="results"):
        stores.write_json(tmp_path / "results" / "numbers.json", {"n": 1})


def test_digest_is_sha256():
    # test vector "abc" of FIPS 180-4
    assert stores.digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# --- tables ------------------------------------------------------------------------------------------------------

COLUMNS = {
    "galaxy_id": Column("", "name"),
    "mag_r": Column("mag", "r magnitude"),
    "log_mass": Column("dex(solMass)", "log10 of the stellar mass"),
    "n": Column("", "a count"),
    "measured": Column("", "a claim"),
}


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "galaxy_id": ["SDSS Jé", "b", "c"],
            "mag_r": [17.1, 1 / 3, -99.0],
            "log_mass": np.array([10.1, 10.2, 10.3], "float32"),
            "n": [1, 2, 2**60 + 1],
            "measured": [True, False, True],
        },
        index=[5, 3, 9],
    )


def test_table_round_trip_through_pandas(tmp_path, frame):
    stores.write_table(tmp_path / "t.parquet", frame, COLUMNS)
    for back in (stores.read_table(tmp_path / "t.parquet"), pd.read_parquet(tmp_path / "t.parquet")):
        pd.testing.assert_frame_equal(back, frame.reset_index(drop=True))


def test_table_round_trip_through_astropy_gives_units_and_descriptions(tmp_path, frame):
    stores.write_table(tmp_path / "t.parquet", frame, COLUMNS)
    table = Table.read(tmp_path / "t.parquet")
    assert table.colnames == list(frame.columns)
    assert table["mag_r"].unit == units.mag
    assert table["log_mass"].unit == units.dex(units.solMass)
    assert table["n"].unit is None
    assert {name: table[name].description for name in table.colnames} == {name: c.description for name, c in COLUMNS.items()}
    assert list(table["n"]) == [1, 2, 2**60 + 1]  # would be 2**60 after a detour through float64


def test_missing_values_stay_missing(tmp_path):
    stores.write_table(tmp_path / "t.parquet", pd.DataFrame({"mag_r": [1.0, np.nan, 3.0]}), COLUMNS)
    np.testing.assert_array_equal(stores.read_table(tmp_path / "t.parquet")["mag_r"], [1.0, np.nan, 3.0])


def test_an_unlabelled_column_is_refused_and_nothing_is_written(tmp_path, frame):
    with pytest.raises(InputError, match=r"t\.parquet.*unit.*: extra, more$"):
        stores.write_table(tmp_path / "t.parquet", frame.assign(extra=1.0, more=2.0), COLUMNS)
    assert not list(tmp_path.iterdir())


def test_table_metadata_round_trip(tmp_path, frame):
    metadata = {"seed": 3, "cuts": [{"cut": "z", "left": 2}], "name": "é"}
    stores.write_table(tmp_path / "t.parquet", frame, COLUMNS, metadata)
    assert stores.table_metadata(tmp_path / "t.parquet") == metadata
    stores.write_table(tmp_path / "none.parquet", frame, COLUMNS)
    assert stores.table_metadata(tmp_path / "none.parquet") == {}


def test_a_table_written_twice_has_the_same_bytes(tmp_path, frame):
    for name, metadata in (("a", {"x": 1, "y": 2}), ("b", {"y": 2, "x": 1})):
        stores.write_table(tmp_path / name, frame, COLUMNS, metadata)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_lacking_columns_are_named(tmp_path, frame):
    stores.write_table(tmp_path / "t.parquet", frame, COLUMNS)
    assert len(stores.read_table(tmp_path / "t.parquet", ("mag_r", "n"))) == 3
    with pytest.raises(InputError, match=r"t\.parquet lacks the columns ebv, z; it has galaxy_id"):
        stores.read_table(tmp_path / "t.parquet", ("mag_r", "ebv", "z"))


@pytest.mark.parametrize("keep", [0, 4, 200, -1], ids=["empty", "magic only", "start", "all but a byte"])
def test_a_truncated_table_is_named(tmp_path, frame, keep):
    path = tmp_path / "galaxies.parquet"
    stores.write_table(path, frame, COLUMNS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"galaxies\.parquet is no readable Parquet table.*delete it"):
        stores.read_table(path)


def test_a_web_page_in_place_of_a_table_and_a_missing_table_are_named(tmp_path):
    path = tmp_path / "galaxies.parquet"
    with pytest.raises(InputError, match=r"galaxies\.parquet"):
        stores.read_table(path)
    path.write_text("<html>503 Service Unavailable</html>")
    with pytest.raises(InputError, match=r"galaxies\.parquet is no readable Parquet table"):
        stores.read_table(path)


# --- JSON and CSV ------------------------------------------------------------------------------------------------


def test_json_round_trip_does_not_depend_on_the_order_of_keys(tmp_path):
    content = {"b": [1, 2.5, None], "a": {"é": "x", "c": True}}
    stores.write_json(tmp_path / "1.json", content)
    stores.write_json(tmp_path / "2.json", dict(reversed(content.items())))
    assert stores.read_json(tmp_path / "1.json") == json.loads((tmp_path / "1.json").read_bytes()) == content
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_is_no_number_and_keeps_the_old_file(tmp_path, value):
    path = tmp_path / "numbers.json"
    stores.write_json(path, {"n": 1})
    with pytest.raises(ValueError, match="JSON"):
        stores.write_json(path, {"n": [1, {"deep": value}]})
    assert contents(tmp_path) == {"numbers.json": path.read_bytes()}
    assert stores.read_json(path) == {"n": 1}


@pytest.mark.parametrize("broken", [b"", b'{"n": 1', b"<html>", b"\xff\xfe\x00"])
def test_broken_json_is_named(tmp_path, broken):
    path = tmp_path / "numbers.json"
    path.write_bytes(broken)
    with pytest.raises(InputError, match=r"numbers\.json is no JSON.*delete it"):
        stores.read_json(path)


def test_csv_has_the_keys_of_the_rows_as_header(tmp_path):
    rows = [{"sample": "a, b", "n": 1}, {"sample": "c", "n": 2}]
    stores.write_csv(tmp_path / "rows.csv", rows)
    assert (tmp_path / "rows.csv").read_text() == 'sample,n\n"a, b",1\nc,2\n'
    assert stores.read_csv(tmp_path / "rows.csv").to_dict("records") == rows


# --- arrays ------------------------------------------------------------------------------------------------------


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    return {
        "distance": (generator.normal(size=(7, 3)).astype("float32"), ("galaxy", "neighbour"), Column("mag", "a distance")),
        "index": (np.arange(1, 8), ("galaxy",), Column("", "a row")),
    }


@pytest.fixture
def store(tmp_path, arrays):
    path = tmp_path / "arrays.zarr"
    stores.write_arrays(path, arrays, {"k": 3, "method": "exact"})
    return path


def test_arrays_round_trip(store, arrays):
    back, attributes = stores.read_arrays(store)
    assert attributes == {"k": 3, "method": "exact"}
    assert set(back) == set(arrays)
    for name, (array, *_) in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype


def test_writing_arrays_gives_the_digest_of_each(tmp_path, arrays):
    digests = stores.write_arrays(tmp_path / "a.zarr", arrays)
    assert digests == {name: hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest() for name, (array, *_) in arrays.items()}


def test_arrays_carry_axes_units_and_descriptions(store):
    node = json.loads((store / "distance" / "zarr.json").read_text())
    assert node["dimension_names"] == ["galaxy", "neighbour"]
    assert (node["attributes"]["unit"], node["attributes"]["description"]) == ("mag", "a distance")


def test_arrays_that_are_not_contiguous_round_trip(tmp_path):
    array = np.arange(12.0).reshape(3, 4).T[::2]
    stores.write_arrays(tmp_path / "a.zarr", {"a": (array, ("x", "y"), Column("", ""))})
    np.testing.assert_array_equal(stores.read_arrays(tmp_path / "a.zarr")[0]["a"], array)


def test_arrays_of_zeros_and_of_no_galaxy_round_trip(tmp_path):
    """Zarr writes no chunk for zeros: that must not look like a lost chunk."""
    for array in (np.zeros((3, 2)), np.empty((0, 2))):
        stores.write_arrays(tmp_path / "a.zarr", {"a": (array, ("x", "y"), Column("", ""))})
        np.testing.assert_array_equal(stores.read_arrays(tmp_path / "a.zarr")[0]["a"], array)


def test_a_large_array_lies_in_few_chunks_and_each_counts(tmp_path):
    array = np.tile(np.arange(1, 81, dtype="int8"), (250_000, 1))  # 20 MB: two chunks of at most 16 MiB
    path = tmp_path / "a.zarr"
    stores.write_arrays(path, {"a": (array, ("x", "y"), Column("", ""))})
    chunks = [p for p in (path / "a" / "c").rglob("*") if p.is_file()]
    assert len(chunks) == 2
    np.testing.assert_array_equal(stores.read_arrays(path)[0]["a"], array)
    sorted(chunks)[1].unlink()
    with pytest.raises(InputError, match=r"a\.zarr/a"):
        stores.read_arrays(path)


def test_arrays_written_twice_have_the_same_bytes(tmp_path, store, arrays):
    before = contents(store)
    stores.write_arrays(store, arrays, {"k": 3, "method": "exact"})
    stores.write_arrays(tmp_path / "elsewhere.zarr", arrays, {"k": 3, "method": "exact"})
    assert contents(store) == before == contents(tmp_path / "elsewhere.zarr")


def chunk_of(store: Path, name: str) -> Path:
    return next(p for p in (store / name / "c").rglob("*") if p.is_file())


DAMAGES = {
    "chunk deleted": lambda store: chunk_of(store, "distance").unlink(),
    "folder of chunks deleted": lambda store: shutil.rmtree(store / "index" / "c"),
    "chunk cut in half": lambda store: chunk_of(store, "distance").write_bytes(chunk_of(store, "distance").read_bytes()[:40]),
    "chunk emptied": lambda store: chunk_of(store, "distance").write_bytes(b""),
    "chunks swapped": lambda store: chunk_of(store, "index").replace(chunk_of(store, "distance")),
    "zarr.json of the group deleted": lambda store: (store / "zarr.json").unlink(),
    "zarr.json of the group cut": lambda store: (store / "zarr.json").write_text('{"zarr_format": 3,'),
    "zarr.json of an array cut": lambda store: (store / "distance" / "zarr.json").write_text('{"zarr_format": 3,'),
    "folder emptied": lambda store: [shutil.rmtree(p) if p.is_dir() else p.unlink() for p in store.iterdir()],
    "folder deleted": lambda store: shutil.rmtree(store),
    "no array left": lambda store: [shutil.rmtree(store / name) for name in ("distance", "index")],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_found_and_named(store, damage):
    damage(store)
    with pytest.raises(InputError, match=r"arrays\.zarr.*delete it and run again"):
        stores.read_arrays(store)


def test_no_altered_byte_gives_other_numbers(store, arrays):
    chunk = chunk_of(store, "distance")
    whole = bytearray(chunk.read_bytes())
    found = 0
    for i in range(len(whole)):
        altered = whole.copy()
        altered[i] ^= 0x10
        chunk.write_bytes(altered)
        try:
            back, _ = stores.read_arrays(store)
        except InputError:
            found += 1
        else:  # a few bits of the zstd frame header mean nothing
            np.testing.assert_array_equal(back["distance"], arrays["distance"][0])
    assert found > 0.8 * len(whole)


def test_a_store_without_digests_is_refused(store):
    node = json.loads((store / "zarr.json").read_text())
    del node["attributes"]["sha256"]
    (store / "zarr.json").write_text(json.dumps(node))
    with pytest.raises(InputError, match=r"arrays\.zarr"):
        stores.read_arrays(store)


def test_metadata_that_json_cannot_hold_leaves_the_old_store(store, arrays):
    before = contents(store)
    with pytest.raises(TypeError):
        stores.write_arrays(store, arrays, {"k": object()})
    assert contents(store) == before
    assert [p.name for p in store.parent.iterdir()] == ["arrays.zarr"]


@pytest.mark.filterwarnings("error")
def test_what_snakemake_puts_into_the_folder_is_no_fault(store):
    (store / ".snakemake_timestamp").touch()
    assert stores.read_arrays(store)[0]


def test_a_whole_array_that_is_gone_is_named(store):
    shutil.rmtree(store / "index")
    with pytest.raises(InputError, match=r"arrays\.zarr/index is not what was written"):
        stores.read_arrays(store)


def test_an_array_of_another_shape_with_the_same_bytes_is_refused(tmp_path):
    label = Column("", "x")
    path = tmp_path / "a.zarr"
    stores.write_arrays(path, {"x": (np.arange(6), ("i",), label)})
    other = tmp_path / "b.zarr"
    stores.write_arrays(other, {"x": (np.arange(6).reshape(2, 3), ("i", "j"), label)})
    shutil.rmtree(path / "x")
    shutil.copytree(other / "x", path / "x")
    with pytest.raises(InputError, match=r"a\.zarr/x"):
        stores.read_arrays(path)


def test_a_table_has_the_columns_of_its_frame_and_no_masks(tmp_path):
    frame = pd.DataFrame({"x": [1.0, np.nan], "name": ["a", "b"]})
    stores.write_table(tmp_path / "t.parquet", frame, {"x": Column("mag", "x"), "name": Column("", "n")})
    assert list(pd.read_parquet(tmp_path / "t.parquet").columns) == ["x", "name"]


def test_writing_nothing_leaves_the_old_file(tmp_path):
    path = tmp_path / "product.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), stores.replacing(path):
        pass
    assert path.read_text() == "old"
