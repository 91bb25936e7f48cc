"""Excluded galaxies go, with their reasons counted; a digest follows the pixels; chunks of fields are as many as were asked for."""

import numpy as np
import pandas as pd
import pytest

from galmass import stores
from galmass.errors import InputError
from galmass.images import chunks, exclusions, store
from galmass.stores import Column

LABELS = {"galaxy_id": Column("", "identifier"), "reason": Column("", "why")}


def test_excluded_galaxies_go_and_are_counted(tmp_path):
    path = tmp_path / "optical.parquet"
    stores.write_table(path, pd.DataFrame({"galaxy_id": ["a", "b", "c", "d"], "reason": ["", "no frame", "edge or gap", "no frame"]}), LABELS)
    frame = pd.DataFrame({"galaxy_id": ["d", "a", "c", "b", "e"], "log_mass": np.arange(5.0)})
    left, counts = exclusions.without_excluded(frame, [path])
    assert left["galaxy_id"].tolist() == ["a"]
    assert counts == {"image: no frame": 2, "image: edge or gap": 1, "image: no cutout": 1}


def test_without_a_table_nothing_goes():
    frame = pd.DataFrame({"galaxy_id": ["a"]})
    left, counts = exclusions.without_excluded(frame, [])
    assert left is frame
    assert counts == {}


@pytest.mark.parametrize("change", [0.0, 1e-3])
def test_the_description_tells_other_pixels_from_the_same(tmp_path, change):
    for name, extra in (("a", 0.0), ("b", change)):
        writer = store.create(tmp_path / name, 3, ["g", "r"], 8, 0.4, {"instrument": "none", "release": "0"})
        image = np.ones((3, 2, 8, 8)) + extra
        writer.write(0, image, image, np.zeros(image.shape), ["x", "y", "z"])
        writer.close()
    first, second = (exclusions.description(tmp_path / name) for name in ("a", "b"))
    assert (first["n"], first["bands"], first["n_pix"], first["instrument"]) == (3, ["g", "r"], 8, "none")
    assert (first["sha256"] == second["sha256"]) == (change == 0)


@pytest.mark.parametrize(("n_field", "n_chunk"), [(10, 3), (3, 3), (901, 200), (1000, 7)])
def test_fields_are_divided_among_a_known_number_of_chunks(n_field, n_chunk):
    used = pd.DataFrame({"run": 94, "camcol": 1, "field": np.repeat(np.arange(n_field), 4)})
    chunk = chunks.chunks_of_fields(used, n_chunk)
    assert set(chunk) == set(range(n_chunk))
    assert all(len(set(chunk[used["field"] == field])) == 1 for field in range(n_field))


def test_more_chunks_than_fields_are_refused():
    with pytest.raises(InputError, match=r"frames\.chunks is 3, and the galaxies lie in 1 fields"):
        chunks.chunks_of_fields(pd.DataFrame({"run": [94], "camcol": [1], "field": [11]}), 3)
