"""unWISE as far as cutouts ask it: Gaussian sources on made-up coadds, packed as the service packs them."""

import gzip
import io
import tarfile

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

SIGMA = {1: 2.6, 2: 2.7, 3: 2.8}  # pixels
FLUX = {1: 1000.0, 2: 600.0, 3: 9000.0}
NOISE = 0.5


def tile_wcs(centre, n=2048) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], centre, [(n + 1) / 2] * 2
    wcs.wcs.cdelt = [-2.75 / 3600, 2.75 / 3600]
    return wcs


def cutout(ra, dec, size, band, centre, n=2048, changes=None):
    """Pixels of a coadd about a position, as the service cuts them (whole pixels, no more than the coadd has), with a Gaussian source."""
    wcs = tile_wcs(centre, n)
    x, y = wcs.wcs_world2pix(ra, dec, 0)
    left, low = (round(float(v)) - size // 2 for v in (x, y))
    columns, rows = (slice(max(0, a), min(n, a + size)) for a in (left, low))
    if columns.stop <= columns.start or rows.stop <= rows.start:
        return None
    yy, xx = np.mgrid[rows, columns]
    image = FLUX[band] / (2 * np.pi * SIGMA[band] ** 2) * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * SIGMA[band] ** 2))
    header = wcs.to_header()
    header["CRPIX1"] -= columns.start
    header["CRPIX2"] -= rows.start
    header["MAGZP"], header["EPOCH"] = 22.5, -1
    header.update(changes or {})
    return image.astype(np.float32), header


def packed(ra, dec, size, bands="123", tiles=(((10.2, 0.25), "0102p002"),), **changes) -> bytes:
    """The archive that unWISE sends."""
    document = io.BytesIO()
    with tarfile.open(fileobj=document, mode="w:gz") as archive:
        for centre, name in tiles:
            for band in map(int, bands):
                cut = cutout(ra, dec, size, band, centre, changes=changes)
                if cut is None:
                    continue
                image, header = cut
                for kind, data, end in (("img", image, ""), ("invvar", np.full(image.shape, NOISE**-2, np.float32), ".gz")):
                    content = io.BytesIO()
                    fits.PrimaryHDU(data, header).writeto(content)
                    content = gzip.compress(content.getvalue()) if end else content.getvalue()
                    member = tarfile.TarInfo(f"unwise-{name}-w{band}-{kind}-m.fits{end}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return document.getvalue()
