"""WISE images of galaxies: unWISE cutouts, shifted so that the galaxy is in the middle, downloaded in pieces and put into one store."""

import gzip
import io
import re
import shutil
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.wcs import WCS

from galmass import stores
from galmass.errors import InputError
from galmass.images import cutouts, store
from galmass.integrity import MAGIC, Manifest, RemoteFile, Request, whole_gzip
from galmass.stores import Column
from galmass.transport import Transport, require_some

UNWISE = "https://unwise.me/cutout_fits"
BANDS = {"w1": 1, "w2": 2, "w3": 3}
PIXEL_SCALE = 2.75  # arcsec
ZERO_POINT = 22.5  # mag, Vega, of the unit of unWISE's images
MARGIN = 12  # pixels around a stamp that the spline of the shift sees
LARGEST = 256  # pixels that the service cuts
REASONS = ("no image", "edge or gap")
_MEMBER = re.compile(r"unwise-(\w+)-w(\d)-(img|invvar)-m\.fits(\.gz)?$")


def columns(bands: Sequence[str] = tuple(BANDS)) -> dict[str, Column]:
    """Columns of the table of WISE cutouts."""
    return {
        "galaxy_id": Column("", "as in galaxies.parquet and in its order"),
        **{f"missing_{b}": Column("", f"share of the {b} stamp without a datum") for b in bands},
        "reason": Column("", f"why the galaxy is excluded ({', '.join(REASONS)}); empty where it is not"),
    }


def remote_file(ra: float, dec: float, options: Mapping, address: str | None = None) -> RemoteFile:
    """unWISE coadds (Lang 2014, AJ 147, 108) around a position [deg]: a packed archive of images and inverse variances.

    Parameters
    ----------
    options : mapping
        ``n_pix``, ``bands`` (of w1, w2, w3), ``version`` (allwise).
    address : str, optional
        Of the service.
    """
    size = options["n_pix"] + 2 * MARGIN
    if size > LARGEST:
        raise InputError(f"wise_cutouts.n_pix is {options['n_pix']}; unWISE cuts at most {LARGEST} pixels, {2 * MARGIN} of which are the margin")
    parameters = {
        "version": options["version"],
        "ra": f"{ra:.6f}",
        "dec": f"{dec:.6f}",
        "size": str(size),
        "bands": "".join(str(BANDS[band]) for band in options["bands"]),
        "file_img_m": "on",
        "file_invvar_m": "on",
    }
    request = Request(address or UNWISE, params=parameters)
    return RemoteFile(request, magic=MAGIC["gzip"], check=whole_gzip, release=f"unWISE {options['version']}")


@dataclass(frozen=True)
class Tile:
    """Part of one coadd in one band: image (n_y, n_x) [nanomaggy, Vega], inverse variance [nanomaggy^-2], header."""

    image: np.ndarray
    inverse_variance: np.ndarray
    header: fits.Header = field(repr=False)

    @cached_property
    def wcs(self) -> WCS:
        """Celestial coordinates of the pixels."""
        header = self.header.copy()
        header.remove("EPOCH", ignore_missing=True)  # unWISE numbers its epochs there; in FITS it is an equinox
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return WCS(header)

    def region(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Image and inverse variance of a part, float64; 0 where there is no datum."""
        image, inverse_variance = (array[rows, columns].astype(float) for array in (self.image, self.inverse_variance))
        good = np.isfinite(image) & np.isfinite(inverse_variance) & (inverse_variance > 0)
        return np.where(good, image, 0.0), np.where(good, inverse_variance, 0.0)


def read_tiles(path) -> dict[str, list[Tile]]:
    """Tiles of an archive of unWISE by band; several where the position is near the edge of a coadd.

    Raises
    ------
    InputError
        When it cannot be read, an image lacks its inverse variance, or its unit is another one.
    """
    found: dict[tuple[str, str], dict[str, tuple]] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive.getmembers():
                match = _MEMBER.search(member.name)
                if match:
                    content = archive.extractfile(member).read()
                    with fits.open(io.BytesIO(gzip.decompress(content) if match[4] else content)) as hdus:
                        found.setdefault((f"w{match[2]}", match[1]), {})[match[3]] = (np.array(hdus[0].data), hdus[0].header.copy())
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise InputError(f"{path} is no archive of unWISE ({error}); delete it and run again") from error
    tiles: dict[str, list[Tile]] = {}
    for (band, coadd), parts in sorted(found.items()):
        tiles.setdefault(band, []).append(_tile(path, band, coadd, parts))
    return tiles


def _tile(path, band: str, coadd: str, parts: Mapping[str, tuple]) -> Tile:
    if set(parts) != {"img", "invvar"} or parts["img"][0].shape != parts["invvar"][0].shape:
        raise InputError(f"{path}: coadd {coadd} in {band} has not both an image and an inverse variance of one size; delete it and run again")
    zero_point = parts["img"][1].get("MAGZP", ZERO_POINT)
    if zero_point != ZERO_POINT:
        raise InputError(f"{path}: the unit of coadd {coadd} in {band} has magnitude {zero_point}, not {ZERO_POINT}; are these unWISE's images?")
    return Tile(parts["img"][0], parts["invvar"][0], parts["img"][1])


def stamp(tiles: Sequence[Tile], ra: float, dec: float, n_pix: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, inverse variance and mask (n_pix, n_pix) with the galaxy in the middle, from the tile that holds most of the stamp.

    Native scale and orientation: the pixels are only shifted, by half of one at most.
    """
    best = (np.zeros((n_pix, n_pix)), np.zeros((n_pix, n_pix)), np.ones((n_pix, n_pix), bool))
    for tile in tiles:
        here = cutouts.stamp(tile, np.array(tile.wcs.wcs_world2pix(ra, dec, 0), float), np.eye(2), n_pix)
        if here[2].sum() < best[2].sum():
            best = here
    return best


def read(path, ra: float, dec: float, options: Mapping) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All bands of one galaxy (n_band, n_pix, n_pix); a band that the archive does not have is masked."""
    tiles = read_tiles(path)
    stamps = [stamp(tiles.get(band, []), ra, dec, options["n_pix"]) for band in options["bands"]]
    return tuple(np.array(arrays) for arrays in zip(*stamps, strict=True))


def download(catalogue: pd.DataFrame, folder, options: Mapping, transport: Transport, advance: Callable = lambda n: None) -> list[Path]:
    """Cutouts of all galaxies in pieces of ``options["batch"]`` galaxies, each a file that an interrupted run does not ask for again.

    Parameters
    ----------
    catalogue : DataFrame
        galaxy_id, ra, dec [deg].
    folder : path
        Where the pieces wait; what the archive sent is deleted as soon as its piece is there.
    options : mapping
        As in `remote_file`, and ``batch``.
    transport : Transport
    advance : callable
        Called with the number of galaxies of each piece.

    Returns
    -------
    list of Path
        The pieces in the order of the catalogue, as `assemble` takes them.

    Raises
    ------
    InputError
        When the service has no image of any galaxy of a piece: it has moved. No such piece is kept.
    """
    folder, pieces = Path(folder), []
    manifest = Manifest(folder / "manifest.jsonl")
    for start in range(0, len(catalogue), options["batch"]):
        galaxies = catalogue.iloc[start : start + options["batch"]]
        piece = folder / f"piece.{start:07d}.{_wanted(galaxies, options)}.npz"
        if not piece.exists():
            _bring_piece(galaxies, piece, options, transport, manifest)
        pieces.append(piece)
        advance(len(galaxies))
    return pieces


def _wanted(galaxies: pd.DataFrame, options: Mapping) -> str:
    """Digest of what a piece holds."""
    known = {key: options.get(key) for key in ("n_pix", "bands", "version")}
    return stores.digest(repr((known, galaxies[["galaxy_id", "ra", "dec"]].to_numpy().tolist())).encode())[:8]


def _bring_piece(galaxies: pd.DataFrame, piece: Path, options: Mapping, transport: Transport, manifest: Manifest) -> None:
    """Download, read and pack the galaxies of one piece."""
    scratch = piece.with_suffix("")
    places = list(galaxies[["ra", "dec"]].itertuples(index=False, name=None))
    files = [(remote_file(ra, dec, options, transport.policy.address), scratch / f"{i:04d}.tar.gz") for i, (ra, dec) in enumerate(places)]
    entries = transport.fetch_all(files, manifest, f"download {piece.stem}")
    require_some(entries, "archives.unwise.address")
    nothing = np.zeros((len(options["bands"]), options["n_pix"], options["n_pix"]))
    stamps = [
        (nothing, nothing, nothing == 0) if "missing" in entry else read(path, ra, dec, options)
        for entry, (_, path), (ra, dec) in zip(entries, files, places, strict=True)
    ]
    image, inverse_variance, mask = (np.array(arrays) for arrays in zip(*stamps, strict=True))
    there = np.array(["missing" not in entry for entry in entries])
    try:
        with stores.replacing(piece) as part, open(part, "wb") as file:
            np.savez(file, image=image.astype(np.float32), inverse_variance=inverse_variance.astype(np.float32), mask=mask, there=there)
    except OSError as error:
        raise InputError(f"{piece} cannot be written ({error}); is the disk full? Free space and run again") from error
    shutil.rmtree(scratch, ignore_errors=True)


def _read_pieces(pieces: Sequence[Path]) -> Iterator[dict[str, np.ndarray]]:
    for path in pieces:
        try:
            with np.load(path) as piece:
                yield dict(piece)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} cannot be read ({error}); delete it and run again") from error


def assemble(catalogue: pd.DataFrame, pieces: Sequence[Path], path, options: Mapping, metadata: Mapping | None = None) -> pd.DataFrame:
    """Write the pieces as one store of cutouts, in the order of the catalogue.

    Returns
    -------
    DataFrame
        Columns of `columns`. Excluded galaxies (``max_missing``: largest share of a stamp without a datum) are in the store with their masks.
    """
    bands, names, start, missing, there = list(options["bands"]), catalogue["galaxy_id"].to_numpy(str), 0, [], []
    known = {"instrument": "WISE", "release": f"unWISE {options['version']}", "magnitude_system": "Vega"}
    with stores.replacing(path) as part:
        writer = store.create(part, len(catalogue), bands, options["n_pix"], PIXEL_SCALE, {**known, **(metadata or {})})
        for piece in _read_pieces(pieces):
            n = len(piece["image"])
            writer.write(start, piece["image"], piece["inverse_variance"], piece["mask"], names[start : start + n])
            start += n
            missing.append(piece["mask"].mean((2, 3)))
            there.append(piece["there"])
        writer.close()
    missing, there = np.concatenate(missing), np.concatenate(there)
    table = pd.DataFrame({"galaxy_id": names} | {f"missing_{b}": missing[:, i] for i, b in enumerate(bands)})
    table["reason"] = np.select([~there, (missing > options["max_missing"]).any(1)], REASONS, "")
    return table
