"""The store of galaxy cutouts: images, inverse variances and masks in one sharded Zarr group, written and read piece by piece."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import google_crc32c
import numpy as np
import zarr
from numcodecs import blosc
from zarr.codecs import BloscCodec

from galmass import stores
from galmass.errors import InputError

SHARD = 1024  # galaxies of one file
CHUNK = 32  # galaxies that are decoded together, one band at a time: a network of one band reads one band
UNIT, ZERO_POINT = "nanomaggy", 22.5
FIELDS = {  # kind, value where nothing is known, unit, description
    "image": ("float32", 0, UNIT, "flux per pixel, sky subtracted; 0 where there is no datum"),
    "inverse_variance": ("float32", 0, f"{UNIT}^-2", "inverse variance per pixel; 0 where there is no datum"),
    "mask": ("uint8", 1, "", "1 where there is no datum"),
}
_OPEN_SHARDS = 2  # shards that a writer holds in memory
_CACHE_BYTES = 64 * 2**20  # decoded chunks that a reader holds in memory
blosc.use_threads = False  # threads of its own would not outlive the fork of a data loader's worker
_REMEDY = "the store is half-written or damaged; delete it and run again"


def create(path, n_galaxy: int, bands: Sequence[str], n_pix: int, pixel_scale_arcsec: float, metadata: Mapping | None = None) -> "Writer":
    """Begin a store of cutouts.

    Parameters
    ----------
    path : path
        Folder to write; give the scratch path of `galmass.stores.replacing`.
    n_galaxy, n_pix : int
    bands : sequence of str
    pixel_scale_arcsec : float
    metadata : mapping, optional
        More attributes: instrument, release and whatever else the writer knows.
    """
    if n_galaxy < 1 or n_pix < 1 or not bands:
        raise InputError(f"{path}: a store of {n_galaxy} galaxies, {len(bands)} bands and {n_pix} pixels holds nothing")
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    shape = (n_galaxy, len(bands), n_pix, n_pix)
    for name, (kind, fill, unit, description) in FIELDS.items():
        stored = group.create_array(
            name,
            shape=shape,
            dtype=kind,
            chunks=(CHUNK, 1, n_pix, n_pix),
            shards=(SHARD, *shape[1:]),
            fill_value=fill,
            # zstd over shuffled bits: 0.88 of the bytes of sky noise, where zstd alone leaves 0.93, and twice as fast to read
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", typesize=np.dtype(kind).itemsize),
            dimension_names=("galaxy", "band", "y", "x"),
            config={"write_empty_chunks": True},  # a file that is missing is then a file that was lost
        )
        stored.attrs.update(unit=unit, description=description)
    known = {"bands": list(bands), "pixel_scale_arcsec": float(pixel_scale_arcsec), "unit": UNIT, "zero_point": ZERO_POINT}
    group.attrs.update({**(metadata or {}), **known})
    return Writer(group)


class Writer:
    """Takes galaxies in any order, a few at a time; holds at most `_OPEN_SHARDS` shards in memory."""

    def __init__(self, group: zarr.Group):
        self._group = group
        self.shape = group["image"].shape
        self._open: OrderedDict[int, dict[str, np.ndarray]] = OrderedDict()
        self._sha256 = {name: [""] * -(-self.shape[0] // SHARD) for name in FIELDS}
        self._written = np.zeros(self.shape[0], bool)
        self._galaxy_id = np.full(self.shape[0], b"", object)

    def write(self, start: int, image, inverse_variance, mask, galaxy_id: Sequence[str]) -> None:
        """Put galaxies into the rows from `start` on.

        Parameters
        ----------
        start : int
        image, inverse_variance : float arrays (n, n_band, n_pix, n_pix) [nanomaggy], [nanomaggy^-2]
        mask : array (n, n_band, n_pix, n_pix)
            True or 1 where there is no datum: image and inverse variance become 0 there.
        galaxy_id : sequence of n str

        Raises
        ------
        InputError
            On shapes that do not fit, or values that are NaN or infinite outside the mask.
        """
        values = {"image": np.asarray(image, np.float32), "inverse_variance": np.asarray(inverse_variance, np.float32), "mask": np.asarray(mask, np.uint8)}
        self._check(start, values, galaxy_id)
        for name in ("image", "inverse_variance"):
            values[name] = np.where(values["mask"], np.float32(0), values[name])
            if not np.isfinite(values[name]).all():
                raise InputError(f"{name} of the galaxies from row {start} on has NaN or infinity outside the mask; mask those pixels")
        for shard, here, there in _pieces(start, len(galaxy_id)):
            held = self._shard(shard)
            for name in FIELDS:
                held[name][there] = values[name][here]
        self._galaxy_id[start : start + len(galaxy_id)] = [name.encode("ascii") for name in galaxy_id]
        self._written[start : start + len(galaxy_id)] = True

    def _check(self, start: int, values: Mapping, galaxy_id: Sequence[str]) -> None:
        expected = (len(galaxy_id), *self.shape[1:])
        for name, array in values.items():
            if array.shape != expected:
                raise InputError(f"{name} has the shape {array.shape}, expected is {expected} (galaxy, band, y, x)")
        if start < 0 or start + len(galaxy_id) > self.shape[0]:
            raise InputError(f"rows {start} to {start + len(galaxy_id)} do not lie in a store of {self.shape[0]} galaxies")

    def _shard(self, shard: int) -> dict[str, np.ndarray]:
        """The arrays of a shard that is held in memory; brings it there, and another one to disk."""
        if shard not in self._open:
            while len(self._open) >= _OPEN_SHARDS:
                self._flush(next(iter(self._open)))
            self._open[shard] = {name: self._load(name, shard) for name in FIELDS}
        self._open.move_to_end(shard)
        return self._open[shard]

    def _load(self, name: str, shard: int) -> np.ndarray:
        if self._sha256[name][shard]:
            return self._group[name][_rows(shard)]
        n = min(SHARD, self.shape[0] - shard * SHARD)
        return np.full((n, *self.shape[1:]), FIELDS[name][1], FIELDS[name][0])

    def _flush(self, shard: int) -> None:
        for name, array in self._open.pop(shard).items():
            try:
                self._group[name][_rows(shard)] = array
            except OSError as error:
                raise InputError(f"{self._group.store_path} cannot be written ({error}); is the disk full? Free space and run again") from error
            self._sha256[name][shard] = _sha256(array)

    def close(self) -> None:
        """Write what is held, the identifiers and the digests of all shards.

        Raises
        ------
        InputError
            When a galaxy was never written. One without a datum is written with its whole mask set.
        """
        if not self._written.all():
            raise InputError(f"{self._group.store_path}: {np.sum(~self._written)} of {self.shape[0]} galaxies were never written")
        for shard in list(self._open):
            self._flush(shard)
        # text in Zarr 3 has no settled form: bytes of one length, padded with zeros, can be read by everybody
        words = self._galaxy_id.astype("S")
        words = np.frombuffer(words.tobytes(), np.uint8).reshape(len(words), -1)
        stored = self._group.create_array("galaxy_id", data=words, chunks=(65536, words.shape[1]), dimension_names=("galaxy", "character"))
        stored.attrs.update(unit="", description="identifiers in ASCII, as in galaxies.parquet and in its order, padded with zeros")
        self._group.attrs["sha256"] = self._sha256 | {"galaxy_id": _sha256(words)}


def join(paths: Sequence, path) -> None:
    """Write the galaxies of several stores, one after the other, into one store; one piece is in memory at a time.

    Raises
    ------
    InputError
        When the stores differ in bands, pixels or other attributes, or a galaxy is in two of them.
    """
    parts = [open(p) for p in paths]
    first = parts[0]
    for other in parts[1:]:
        if (other.metadata, other.n_pix) != (first.metadata, first.n_pix):
            raise InputError(f"{other.path} and {first.path} differ in their bands, pixels or other attributes; make both anew with one configuration")
    names = np.concatenate([part.galaxy_id for part in parts])
    if len(np.unique(names)) < len(names):
        raise InputError(f"{len(names) - len(np.unique(names))} galaxies are in more than one of the stores {', '.join(map(str, paths))}")
    with stores.replacing(path) as scratch:
        writer, start = create(scratch, len(names), first.bands, first.n_pix, first.pixel_scale_arcsec, first.metadata), 0
        for part in parts:
            for low in range(0, len(part), CHUNK):
                rows = np.arange(low, min(low + CHUNK, len(part)))
                writer.write(start + low, part.image(rows), part.inverse_variance(rows), part.mask(rows), part.galaxy_id[rows])
            start += len(part)
        writer.close()


def _shard_index(file: int, n_chunk: int) -> np.ndarray:
    """Start and size of every chunk of a shard [byte], (n_chunk, 2)."""
    size = 16 * n_chunk + 4
    content = os.pread(file, size, os.fstat(file).st_size - size)
    if len(content) != size or int.from_bytes(content[-4:], "little") != google_crc32c.value(content[:-4]):
        raise ValueError("the table at the end of a shard is damaged")
    return np.frombuffer(content[:-4], "<u8").reshape(n_chunk, 2)


def _rows(shard: int) -> slice:
    return slice(shard * SHARD, (shard + 1) * SHARD)


def _pieces(start: int, n: int) -> Iterator[tuple[int, slice, slice]]:
    """Each shard that `n` rows from `start` on touch, the slice of them and the slice of the shard."""
    row = start
    while row < start + n:
        shard, first = divmod(row, SHARD)
        last = min(SHARD, first + start + n - row)
        yield shard, slice(row - start, row - start + last - first), slice(first, last)
        row += last - first


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def open(path) -> "Cutouts":
    """Open a store of cutouts to read; no image is read yet.

    Raises
    ------
    InputError
        When this is no whole store.
    """
    try:
        return Cutouts(path)
    except InputError:
        raise
    except Exception as error:  # zarr, its codecs and the file system raise many kinds: all mean the same here
        raise InputError(f"{path} cannot be read ({type(error).__name__}: {error}); {_REMEDY}") from error


class Cutouts:
    """A store of cutouts: any rows, any bands, a bounded number of decoded chunks in memory.

    Attributes
    ----------
    bands : list of str
    n_pix : int
    pixel_scale_arcsec : float
    metadata : dict
        All attributes of the store.
    galaxy_id : str array (n_galaxy,)
    """

    def __init__(self, path):
        self.path = Path(path)
        group = zarr.open_group(str(path), mode="r")
        self.metadata = dict(group.attrs)
        self.sha256 = self.metadata.pop("sha256")
        self.bands, self.pixel_scale_arcsec = list(self.metadata["bands"]), float(self.metadata["pixel_scale_arcsec"])
        self._fields = {name: group[name] for name in FIELDS}
        words = group["galaxy_id"][...]
        self.galaxy_id = np.ascontiguousarray(words).view(f"S{words.shape[1]}")[:, 0].astype(str)
        self.n_pix = self._fields["image"].shape[-1]
        self._chunk_size, self._shard_size = self._fields["image"].chunks[0], self._fields["image"].shards[0]
        self._index: dict[tuple[str, int], np.ndarray] = {}
        self._cache: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._cache_bytes = 0
        self._check_layout()

    def _check_layout(self) -> None:
        """Zarr reads a file that is missing as fill values, in silence; `_decode` knows one layout."""
        for name in FIELDS:
            (sharding,) = self._fields[name].metadata.codecs
            known = [type(codec).__name__ for codec in (*sharding.codecs, *sharding.index_codecs)]
            if known != ["BytesCodec", "BloscCodec", "BytesCodec", "Crc32cCodec"] or sharding.index_location.value != "end":
                raise InputError(f"{self.path}: {name} is laid out in another way than galmass writes; delete it and run again")
            for shard in range(len(self.sha256[name])):
                if not (self.path / name / f"c/{shard}/0/0/0").is_file():
                    raise InputError(f"{self.path}: shard {shard} of {name} is missing; {_REMEDY}")

    def __len__(self) -> int:
        return len(self.galaxy_id)

    def image(self, rows, bands: Sequence[str] | None = None) -> np.ndarray:
        """Fluxes [nanomaggy] of galaxies, float32 (n_row, n_band, n_pix, n_pix).

        Parameters
        ----------
        rows : int array (n_row,)
            In any order, with repetitions. Rows near each other are read fastest: whole chunks are decoded.
        bands : sequence of str, optional
            Which bands, in which order; all of them without it.
        """
        return self._gather("image", rows, bands)

    def inverse_variance(self, rows, bands: Sequence[str] | None = None) -> np.ndarray:
        """Inverse variances [nanomaggy^-2] like `image`."""
        return self._gather("inverse_variance", rows, bands)

    def mask(self, rows, bands: Sequence[str] | None = None) -> np.ndarray:
        """Masks, uint8, 1 where there is no datum, like `image`."""
        return self._gather("mask", rows, bands)

    def _columns(self, bands: Sequence[str] | None) -> list[int]:
        bands = self.bands if bands is None else bands
        missing = [b for b in bands if b not in self.bands]
        if missing:
            raise InputError(f"{self.path} has no band {', '.join(missing)}; it has {', '.join(self.bands)}")
        return [self.bands.index(b) for b in bands]

    def _gather(self, name: str, rows, bands: Sequence[str] | None) -> np.ndarray:
        columns, rows = self._columns(bands), np.asarray(rows, np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise InputError(f"rows {rows.min()} to {rows.max()} do not lie in {self.path}, which has {len(self)} galaxies")
        out = np.empty((len(rows), len(columns), self.n_pix, self.n_pix), FIELDS[name][0])
        order = np.argsort(rows, kind="stable")
        chunks, first = np.unique(rows[order] // self._chunk_size, return_index=True)
        for chunk, start, stop in zip(chunks.tolist(), first, [*first[1:], len(rows)], strict=False):
            places = order[start:stop]
            for i, column in enumerate(columns):
                out[places, i] = self._chunk(name, chunk, column)[rows[places] - chunk * self._chunk_size]
        return out

    def _chunk(self, name: str, chunk: int, column: int) -> np.ndarray:
        """One band of one chunk of galaxies, (n, n_pix, n_pix), from memory where it was read lately."""
        key = (name, chunk, column)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        try:
            block = self._decode(name, chunk, column)
        except Exception as error:  # as in `open`
            raise InputError(f"{self.path}: {name} cannot be read ({type(error).__name__}: {error}); {_REMEDY}") from error
        self._cache[key] = block
        self._cache_bytes += block.nbytes
        while self._cache_bytes > _CACHE_BYTES and len(self._cache) > 1:
            self._cache_bytes -= self._cache.popitem(last=False)[1].nbytes
        return block

    def _decode(self, name: str, chunk: int, column: int) -> np.ndarray:
        """One band of one chunk from its shard: chunks in C order, then the table of their places and its checksum.

        Zarr itself hands every chunk through three threads: three times slower on a busy machine, and a thread
        that waits is a trap for the forked workers of a data loader.
        """
        per_shard = self._shard_size // self._chunk_size
        shard, place = divmod(chunk, per_shard)
        file = os.open(self.path / name / f"c/{shard}/0/0/0", os.O_RDONLY)
        try:
            if (name, shard) not in self._index:
                self._index[name, shard] = _shard_index(file, per_shard * len(self.bands))
            start, size = self._index[name, shard][place * len(self.bands) + column].tolist()
            content = os.pread(file, size, start)
        finally:
            os.close(file)
        block = np.frombuffer(blosc.decompress(content), FIELDS[name][0]).reshape(self._chunk_size, self.n_pix, self.n_pix)
        return block[: len(self) - chunk * self._chunk_size]

    def verify(self) -> None:
        """Compare every shard with the digest that its writer left; raises `InputError` at the first difference."""
        for name, digests in self.sha256.items():
            for shard, expected in enumerate([digests] if name == "galaxy_id" else digests):
                if self._digest(name, shard) != expected:
                    raise InputError(f"{self.path}: shard {shard} of {name} is not what was written; {_REMEDY}")

    def _digest(self, name: str, shard: int) -> str:
        try:
            array = zarr.open_group(str(self.path), mode="r")[name]
            return _sha256(array[...] if name == "galaxy_id" else array[shard * self._shard_size : (shard + 1) * self._shard_size])
        except Exception:  # what cannot be decoded is not what was written
            return ""
