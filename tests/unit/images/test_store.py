"""The store of cutouts: what is written comes back, in any order; damage is seen; memory does not grow."""

import tracemalloc

import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec

from galmass import stores
from galmass.errors import InputError
from galmass.images import cutout_reader, store

BANDS, N_PIX = ("u", "g", "r"), 6


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store, "SHARD", 8)
    monkeypatch.setattr(store, "CHUNK", 4)


def galaxies(n: int, seed: int = 1):
    generator = np.random.default_rng(seed)
    shape = (n, len(BANDS), N_PIX, N_PIX)
    mask = generator.random(shape) < 0.1
    image = np.where(mask, 0, generator.normal(size=shape)).astype(np.float32)
    inverse_variance = np.where(mask, 0, generator.uniform(1, 2, shape)).astype(np.float32)
    return image, inverse_variance, mask.astype(np.uint8), [f"J{i:0{3 + i % 4}d}" for i in range(n)]


def write(path, values, pieces=None, **metadata):
    n = len(values[0])
    with stores.replacing(path) as part:
        writer = store.create(part, n, BANDS, N_PIX, 0.396, metadata)
        for start, stop in pieces or [(0, n)]:
            writer.write(start, *(v[start:stop] for v in values))
        writer.close()
    return store.open(path)


@pytest.fixture
def values():
    return galaxies(21)


@pytest.fixture
def cutouts(tmp_path, values):
    return write(tmp_path / "images.zarr", values, instrument="test", release="dr0")


def test_attributes(cutouts, values):
    assert cutouts.bands == list(BANDS)
    assert (cutouts.n_pix, len(cutouts), cutouts.pixel_scale_arcsec) == (N_PIX, 21, 0.396)
    assert cutouts.galaxy_id.tolist() == values[3]
    more = {"instrument": "test", "release": "dr0", "unit": "nanomaggy", "zero_point": 22.5}
    assert more.items() <= cutouts.metadata.items()


def test_everything_comes_back(cutouts, values):
    rows = np.arange(21)
    np.testing.assert_array_equal(cutouts.image(rows), values[0])
    np.testing.assert_array_equal(cutouts.inverse_variance(rows), values[1])
    np.testing.assert_array_equal(cutouts.mask(rows), values[2])
    assert (cutouts.image([0]).dtype, cutouts.mask([0]).dtype) == (np.float32, np.uint8)
    cutouts.verify()


def test_rows_in_any_order_with_repetitions_and_some_bands(cutouts, values):
    rows = np.array([20, 3, 3, 17, 0, 8, 7])
    np.testing.assert_array_equal(cutouts.image(rows, ["r", "u"]), values[0][rows][:, [2, 0]])
    assert cutouts.image([], ["g"]).shape == (0, 1, N_PIX, N_PIX)


def test_zarr_reads_the_same(cutouts, values):
    """The layout is Zarr's own: other programs read the store without this one."""
    group = zarr.open_group(str(cutouts.path), mode="r")
    for name, expected in zip(("image", "inverse_variance", "mask"), values, strict=False):
        np.testing.assert_array_equal(group[name][...], expected)
        assert group[name].metadata.dimension_names == ("galaxy", "band", "y", "x")
    assert bytes(group["galaxy_id"][7]).rstrip(b"\0").decode() == values[3][7]


def test_another_layout_is_refused(cutouts):
    group = zarr.open_group(str(cutouts.path), mode="a", zarr_format=3)
    mask = group["mask"][...]
    group.create_array("mask", data=mask, chunks=(4, 1, N_PIX, N_PIX), shards=(8, 3, N_PIX, N_PIX), compressors=ZstdCodec(), overwrite=True)
    with pytest.raises(InputError, match="mask is laid out in another way"):
        store.open(cutouts.path)


def test_a_small_cache_changes_nothing(cutouts, values, monkeypatch):
    monkeypatch.setattr(cutout_reader, "_CACHE_BYTES", 1)
    rows = np.random.default_rng(2).permutation(21)
    np.testing.assert_array_equal(cutouts.image(rows), values[0][rows])
    assert len(cutouts._cache) == 1


SINGLY = [(k, k + 1) for k in (20, 0, 9, 19, 1, *range(2, 9), *range(10, 19))]


@pytest.mark.parametrize("pieces", [[(0, 3), (3, 11), (11, 21)], [(14, 21), (0, 5), (5, 14)], SINGLY])
def test_pieces_in_any_order_give_the_same_bytes(tmp_path, cutouts, values, pieces):
    other = write(tmp_path / "pieces.zarr", values, pieces, instrument="test", release="dr0")
    assert other.sha256 == cutouts.sha256

    def files(path):
        return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}

    assert files(other.path) == files(cutouts.path)


def test_excluded_galaxies_have_no_name_and_stores_join(tmp_path, values):
    names = ["" if i % 5 == 0 else name for i, name in enumerate(values[3])]
    parts = [write(tmp_path / f"{a}.zarr", (*(v[a:b] for v in values[:3]), names[a:b])) for a, b in ((0, 13), (13, 21))]
    store.join([part.path for part in parts], tmp_path / "all.zarr")
    joined = store.open(tmp_path / "all.zarr")
    assert joined.galaxy_id.tolist() == names
    np.testing.assert_array_equal(joined.image(range(21)), values[0])
    with pytest.raises(InputError, match="10 galaxies are in more than one of the stores"):
        store.join([parts[0].path, parts[0].path], tmp_path / "twice.zarr")


def test_chunks_and_shards_without_a_datum(tmp_path, values):
    """Zarr writes neither chunks nor files for them."""
    mask = values[2].copy()
    mask[:16] = 1
    mask[18:, 1] = 1
    cutouts = write(tmp_path / "a.zarr", (values[0], values[1], mask, values[3]))
    cutouts.verify()
    np.testing.assert_array_equal(cutouts.mask(range(21)), mask)
    np.testing.assert_array_equal(cutouts.image(range(21)), np.where(mask, 0, values[0]))
    np.testing.assert_array_equal(cutouts.inverse_variance(range(21)), np.where(mask, 0, values[1]))


def test_masked_pixels_are_zero_whatever_they_were(tmp_path, values):
    image, inverse_variance, mask, names = (v[:2] for v in values)
    cutouts = write(tmp_path / "a.zarr", (np.where(mask, np.nan, image), np.where(mask, np.inf, inverse_variance), mask, names))
    np.testing.assert_array_equal(cutouts.image([0, 1]), image)
    np.testing.assert_array_equal(cutouts.inverse_variance([0, 1]), inverse_variance)


def begun(path, n=4):
    return store.create(path, n, BANDS, N_PIX, 0.396)


def test_bad_input_is_named(tmp_path, values):
    writer, image = begun(tmp_path / "a"), np.where(values[2][:2], 0, np.nan)
    with pytest.raises(InputError, match=r"image .* row 0 .* NaN"):
        writer.write(0, image, *(v[:2] for v in values[1:]))
    with pytest.raises(InputError, match=r"image has the shape .* expected"):
        writer.write(0, values[0][:2, :2], *(v[:2] for v in values[1:]))
    with pytest.raises(InputError, match="rows 3 to 5"):
        writer.write(3, *(v[:2] for v in values))
    with pytest.raises(InputError, match="holds nothing"):
        begun(tmp_path / "b", 0)


def test_a_galaxy_that_was_never_written_is_an_error(tmp_path, values):
    writer = begun(tmp_path / "a")
    writer.write(0, *(v[:3] for v in values))
    with pytest.raises(InputError, match="1 of 4 galaxies were never written"):
        writer.close()


def test_unknown_bands_and_rows(cutouts):
    with pytest.raises(InputError, match="no band y; it has u, g, r"):
        cutouts.image([0], ["y"])
    with pytest.raises(InputError, match="which has 21 galaxies"):
        cutouts.image([21])


def test_a_missing_shard_is_seen_at_once(cutouts):
    (cutouts.path / "mask/c/1/0/0/0").unlink()
    with pytest.raises(InputError, match="shard 1 of mask is missing"):
        store.open(cutouts.path)


def test_a_store_that_was_not_closed_is_refused(tmp_path, values):
    begun(tmp_path / "a").write(0, *(v[:4] for v in values))
    with pytest.raises(InputError, match="half-written"):
        store.open(tmp_path / "a")
    with pytest.raises(InputError, match="cannot be read"):
        store.open(tmp_path / "nowhere")


@pytest.mark.parametrize("place", [10, -200])
def test_a_changed_byte_is_seen_and_not_joined(cutouts, tmp_path, place):
    path = cutouts.path / "image/c/2/0/0/0"
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match="shard 2 of image is not what was written"):
        store.open(cutouts.path).verify()
    with pytest.raises(InputError, match="shard 2 of image is not what was written"):
        store.join([cutouts.path], tmp_path / "joined.zarr")
    assert not (tmp_path / "joined.zarr").exists()


def test_a_truncated_shard_cannot_be_read(cutouts):
    path = cutouts.path / "image/c/0/0/0/0"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="cannot be read"):
        store.open(cutouts.path).image([0])


def test_memory_does_not_grow_with_the_number_of_galaxies(tmp_path, monkeypatch):
    monkeypatch.setattr(cutout_reader, "_CACHE_BYTES", 1e5)

    def peak(n):
        tracemalloc.start()
        writer = store.create(tmp_path / f"{n}.zarr", n, BANDS, 32, 0.396)
        block = np.ones((4, len(BANDS), 32, 32), np.float32)
        for start in range(0, n, 4):
            writer.write(start, block, block, block * 0, ["a"] * 4)
        writer.close()
        reader = store.open(tmp_path / f"{n}.zarr")
        for start in range(0, n, 4):
            reader.image(range(start, start + 4))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(16)  # imports
    assert peak(320) < 1.5 * peak(32)
