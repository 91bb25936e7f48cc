"""Reading of the store of cutouts: the arrays that it has, any rows, any bands, its digests compared."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import numpy as np
import zarr
from numcodecs import blosc

from galmass.errors import InputError

UNIT, ZERO_POINT = "nanomaggy", 22.5
FIELDS = {  # kind, value where nothing is known, unit, description
    "image": ("float32", 0, UNIT, "flux per pixel, sky subtracted; 0 where there is no datum"),
    "inverse_variance": ("float32", 0, f"{UNIT}^-2", "inverse variance per pixel; 0 where there is no datum"),
    "mask": ("uint8", 1, "", "1 where there is no datum"),
}
_CACHE_BYTES = 64 * 2**20  # decoded chunks that a reader holds in memory
_NO_CHUNK = 2**64 - 1  # the place of a chunk that holds nothing but the fill value: Zarr does not write it
blosc.use_threads = False  # threads of its own would not outlive the fork of a data loader's worker
REMEDY = "the store is half-written or damaged; delete it and run again"


def array_digest(array: np.ndarray) -> str:
    """SHA-256 of the bytes of an array."""
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def _shard_index(file: int, n_chunk: int) -> np.ndarray:
    """Start and size of every chunk of a shard [byte], (n_chunk, 2)."""
    size = 16 * n_chunk + 4
    content = os.pread(file, size, os.fstat(file).st_size - size)
    if len(content) != size or int.from_bytes(content[-4:], "little") != google_crc32c.value(content[:-4]):
        raise ValueError("the table at the end of a shard is damaged")
    return np.frombuffer(content[:-4], "<u8").reshape(n_chunk, 2)


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
        In the order of the catalogue; empty where the galaxy was excluded and the row holds no image.
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
        """Zarr reads a file that was lost as fill values, in silence; `_decode` knows one layout."""
        for name in FIELDS:
            (sharding,) = self._fields[name].metadata.codecs
            known = [type(codec).__name__ for codec in (*sharding.codecs, *sharding.index_codecs)]
            if known != ["BytesCodec", "BloscCodec", "BytesCodec", "Crc32cCodec"] or sharding.index_location.value != "end":
                raise InputError(f"{self.path}: {name} is laid out in another way than galmass writes; delete it and run again")
            for shard, expected in enumerate(self.sha256[name]):
                if not self._shard_path(name, shard).is_file() and array_digest(self._nothing(name, shard)) != expected:
                    raise InputError(f"{self.path}: shard {shard} of {name} is missing; {REMEDY}")

    def _shard_path(self, name: str, shard: int) -> Path:
        return self.path / name / f"c/{shard}/0/0/0"

    def _nothing(self, name: str, shard: int) -> np.ndarray:
        """A shard without a datum, for which Zarr writes no file."""
        n = min(self._shard_size, len(self) - shard * self._shard_size)
        return np.full((n, *self._fields[name].shape[1:]), FIELDS[name][1], FIELDS[name][0])

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
            raise InputError(f"{self.path}: {name} cannot be read ({type(error).__name__}: {error}); {REMEDY}") from error
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
        shape = (min(self._chunk_size, len(self) - chunk * self._chunk_size), self.n_pix, self.n_pix)
        if not self._shard_path(name, shard).is_file():
            return np.full(shape, FIELDS[name][1], FIELDS[name][0])
        file = os.open(self._shard_path(name, shard), os.O_RDONLY)
        try:
            if (name, shard) not in self._index:
                self._index[name, shard] = _shard_index(file, per_shard * len(self.bands))
            start, size = self._index[name, shard][place * len(self.bands) + column].tolist()
            if start == _NO_CHUNK:
                return np.full(shape, FIELDS[name][1], FIELDS[name][0])
            content = os.pread(file, size, start)
        finally:
            os.close(file)
        block = np.frombuffer(blosc.decompress(content), FIELDS[name][0]).reshape(self._chunk_size, self.n_pix, self.n_pix)
        return block[: shape[0]]

    def verify(self) -> None:
        """Compare every shard with the digest that its writer left; raises `InputError` at the first difference."""
        for name, digests in self.sha256.items():
            for shard, expected in enumerate([digests] if name == "galaxy_id" else digests):
                if self._digest(name, shard) != expected:
                    raise InputError(f"{self.path}: shard {shard} of {name} is not what was written; {REMEDY}")

    def _digest(self, name: str, shard: int) -> str:
        try:
            array = zarr.open_group(str(self.path), mode="r")[name]
            return array_digest(array[...] if name == "galaxy_id" else array[shard * self._shard_size : (shard + 1) * self._shard_size])
        except Exception:  # what cannot be decoded is not what was written
            return ""
