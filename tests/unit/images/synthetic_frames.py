"""Frames in the survey's layout with sources of known place and flux."""

import bz2
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from galmass.images import frames

RUN, CAMCOL, FIELD = 2820, 3, 122
SHAPE = (230, 260)
# what the frames of a field differ by from band to band: pixels of offset, degrees of rotation, relative scale
OFFSET = {"u": (2.2, 7.2, 0.02, 4e-4), "g": (0.7, 10.6, -0.01, -3e-4), "r": (0, 0, 0, 0), "i": (-1.6, 2.7, 0.005, 2e-4), "z": (-1.5, 6.9, -0.02, 1e-4)}
CALIBRATION = {"u": 0.0106, "g": 0.0037, "r": 0.0050, "i": 0.0066, "z": 0.0333}
SKY = {"u": 50.0, "g": 90.0, "r": 140.0, "i": 170.0, "z": 60.0}  # counts


def wcs(band: str, row: float = 0.0) -> WCS:
    """Mirrored and turned by a quarter like a frame of the survey; `row` pixels further along the scan."""
    dx, dy, angle, scale = OFFSET[band]
    angle = np.radians(angle)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    made = WCS(naxis=2)
    made.wcs.ctype, made.wcs.crval, made.wcs.cunit = ["RA---TAN", "DEC--TAN"], [38.3, -0.1], ["deg", "deg"]
    made.wcs.crpix = [SHAPE[1] / 2 + dx, SHAPE[0] / 2 + dy - row]
    made.wcs.cd = 0.396 / 3600 * (1 + scale) * np.array([[0, 1], [1, 0]]) @ turn
    return made


@dataclass(frozen=True)
class Source:
    """A round Gaussian: place [deg], flux [nanomaggy] in every band, width [arcsec]."""

    ra: float
    dec: float
    flux: float = 100.0
    sigma: float = 0.8


def image(sources, celestial: WCS, shape=SHAPE) -> np.ndarray:
    """Flux per pixel at the middle of the pixels, [nanomaggy]."""
    total, scale = np.zeros(shape), np.sqrt(abs(np.linalg.det(celestial.wcs.cd))) * 3600
    for s in sources:
        x0, y0 = celestial.wcs_world2pix(s.ra, s.dec, 0)
        width = s.sigma / scale
        profile = [np.exp(-((np.arange(n) - centre) ** 2) / (2 * width**2)) for n, centre in zip(shape, (y0, x0), strict=True)]
        (top, bottom), (left, right) = ((max(0, int(c - 9 * width)), max(0, int(c + 9 * width))) for c in (y0, x0))
        part = np.outer(profile[0][top:bottom], profile[1][left:right])
        total[top:bottom, left:right] += s.flux * part / (2 * np.pi * width**2)
    return total


def hdus(band: str, sources=(), seed: int | None = 0, row: float = 0.0, field: int = FIELD, calibration=None, shape=SHAPE) -> fits.HDUList:
    """The HDUs of a frame; without a seed there is no noise in it."""
    generator = np.random.default_rng(seed)
    celestial = wcs(band, row)
    if calibration is None:
        calibration = CALIBRATION[band] * (1 + 0.05 * np.sin(np.arange(shape[1])))
    grid = SKY[band] * (1 + 0.01 * np.linspace(-1, 1, 30)[:, None] + 0.02 * np.linspace(-1, 1, 40))
    places = [np.linspace(-0.4, n - 0.6, size) for n, size in ((40, shape[1]), (30, shape[0]))]
    sky = frames.Sky(grid, *places)(slice(None), slice(None))
    counts = image(sources, celestial, shape) / calibration
    if seed is not None:
        g, dark = frames.gain(RUN, CAMCOL, band), frames.dark_variance(RUN, CAMCOL, band)
        counts = generator.poisson((counts + sky) * g) / g + generator.normal(0, np.sqrt(dark), shape) - sky
    header = celestial.to_header()
    for name in [key for key in header if key.startswith(("PC", "CDELT"))]:
        del header[name]
    for i in (1, 2):
        for j in (1, 2):
            header[f"CD{i}_{j}"] = celestial.wcs.cd[i - 1, j - 1]
    header.update(BUNIT="nanomaggy", FILTER=band, RUN=RUN, CAMCOL=CAMCOL, FRAME=field + 2 * "riuzg".index(band), NMGY=CALIBRATION[band])
    columns = [
        fits.Column("ALLSKY", f"{grid.size}E", dim=f"({grid.shape[1]},{grid.shape[0]})", array=grid[None]),
        fits.Column("XINTERP", f"{shape[1]}E", array=places[0][None]),
        fits.Column("YINTERP", f"{shape[0]}E", array=places[1][None]),
    ]
    primary = fits.PrimaryHDU((counts * calibration).astype(np.float32), header)
    return fits.HDUList([primary, fits.ImageHDU(np.asarray(calibration, np.float32)), fits.BinTableHDU.from_columns(columns)])


def write(folder: Path, band: str, made: fits.HDUList, field: int = FIELD, packed: bool = False) -> Path:
    """Write a frame under the survey's name."""
    path = Path(folder) / frames.file_name(band, RUN, CAMCOL, field)
    plain = path.with_suffix("")
    made.writeto(plain, overwrite=True)
    if packed:
        path.write_bytes(bz2.compress(plain.read_bytes()))
        plain.unlink()
    return path if packed else plain


def read_all(folder: Path, sources=(), seed: int | None = 0, bands=frames.BANDS, **options) -> dict[str, frames.Frame]:
    """Frames of one field in all bands, through files."""
    for i, band in enumerate(bands):
        write(folder, band, hdus(band, sources, None if seed is None else seed + i, **options))
    return {band: frames.read_named(folder, band, RUN, CAMCOL, options.get("field", FIELD)) for band in bands}
