"""The store of galaxy cutouts: images, inverse variances and masks in one sharded Zarr group, written and read piece by piece."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from galmass import stores
from galmass.errors import InputError
from galmass.images.cutout_reader import FIELDS, REMEDY, UNIT, ZERO_POINT, Cutouts, array_digest

SHARD = 1024  # galaxies of one file
CHUNK = 32  # galaxies that are decoded together, one band at a time: a network of one band reads one band
_OPEN_SHARDS = 2  # shards that a writer holds in memory


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
            Empty for a galaxy that is excluded: whoever looks for its image finds none.

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
            self._sha256[name][shard] = array_digest(array)

    def close(self) -> None:
        """Write what is held, the identifiers and the digests of all shards.

        Raises
        ------
        InputError
            When a row was never written. A galaxy without a datum is written with its whole mask set and no identifier.
        """
        if not self._written.all():
            raise InputError(f"{self._group.store_path}: {np.sum(~self._written)} of {self.shape[0]} galaxies were never written")
        for shard in list(self._open):
            self._flush(shard)
        # text in Zarr 3 has no settled form: bytes of one length, padded with zeros, can be read by everybody
        words = self._galaxy_id.astype("S")
        words = np.frombuffer(words.tobytes(), np.uint8).reshape(len(words), -1)
        stored = self._group.create_array("galaxy_id", data=words, chunks=(65536, words.shape[1]), dimension_names=("galaxy", "character"))
        stored.attrs.update(unit="", description="identifiers in ASCII, padded with zeros: match by them, cutouts of frames are in the order of the fields")
        self._group.attrs["sha256"] = self._sha256 | {"galaxy_id": array_digest(words)}


def join(paths: Sequence, path) -> None:
    """Write the galaxies of several stores, one after the other, into one store; one piece is in memory at a time.

    Raises
    ------
    InputError
        When the stores differ in bands, pixels or other attributes, a galaxy is in two of them, or one is not what was written.
    """
    parts = [open(p) for p in paths]
    first = parts[0]
    for other in parts[1:]:
        if (other.metadata, other.n_pix) != (first.metadata, first.n_pix):
            raise InputError(f"{other.path} and {first.path} differ in their bands, pixels or other attributes; make both anew with one configuration")
    names = np.concatenate([part.galaxy_id for part in parts])
    held = names[names != ""]
    if len(np.unique(held)) < len(held):
        raise InputError(f"{len(held) - len(np.unique(held))} galaxies are in more than one of the stores {', '.join(map(str, paths))}")
    with stores.replacing(path) as scratch:
        writer, start = create(scratch, len(names), first.bands, first.n_pix, first.pixel_scale_arcsec, first.metadata), 0
        for part in parts:
            part.verify()  # they have waited for each other for days
            for low in range(0, len(part), CHUNK):
                rows = np.arange(low, min(low + CHUNK, len(part)))
                writer.write(start + low, part.image(rows), part.inverse_variance(rows), part.mask(rows), part.galaxy_id[rows])
            start += len(part)
        writer.close()


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


def open(path) -> Cutouts:
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
        raise InputError(f"{path} cannot be read ({type(error).__name__}: {error}); {REMEDY}") from error
