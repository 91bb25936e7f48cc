"""Extended sources of a frame, for a run on frames without a catalogue."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import sep
from astropy import units as u
from astropy.coordinates import SkyCoord

from galmass.catalogues.selection import designation
from galmass.errors import InputError
from galmass.images.fields import PIXEL_SCALE
from galmass.images.frames import N_ROW, Frame
from galmass.stores import Column

# sep is SExtractor's detection and photometry: 0.14 s a frame with deblending, where photutils takes 1.3 s without
COLUMNS = {
    "galaxy_id": Column("", "SDSS designation from the position (IAU form, truncated)"),
    "ra": Column("deg", "right ascension, ICRS"),
    "dec": Column("deg", "declination, ICRS"),
    "run": Column("", "run of the frame"),
    "camcol": Column("", "camera column of the frame"),
    "field": Column("", "field of the frame"),
    "rowc_r": Column("pix", "row of the centre in the r frame, from the corner of the first pixel"),
    "colc_r": Column("pix", "column of the centre in the r frame, from the corner of the first pixel"),
    "kron_mag_r": Column("mag", "r magnitude in an ellipse of 2.5 Kron radii (Pogson, zero-point 22.5), not corrected for extinction"),
    "r50_r": Column("arcsec", "radius that holds half of the Kron flux, r band, not corrected for seeing"),
    "r90_r": Column("arcsec", "radius that holds 90 % of the Kron flux, r band, not corrected for seeing"),
    "axis_ratio_r": Column("", "minor to major axis from second moments above the threshold, r band, not corrected for seeing"),
}
SAME = 1.0  # arcsec between two sights of one source
_THRESHOLD, _MIN_AREA = 2.0, 8  # standard deviations, pixels
_MIN_CONCENTRATION = 1.7  # R90/R50: a Gaussian has 1.82, an exponential disc 2.3; halos and trails of bright stars less


def sources(frame: Frame) -> pd.DataFrame:
    """All sources of a frame: x, y [pixel], magnitude, radii [arcsec], axis ratio, signal to noise."""
    image, inverse_variance = frame.region(slice(None), slice(None))
    image, gaps = np.ascontiguousarray(image, np.float32), inverse_variance == 0
    image[gaps] = 0
    error = 1 / np.sqrt(np.where(gaps, 1, inverse_variance))
    found, segments = sep.extract(image, _THRESHOLD, err=error, mask=gaps, minarea=_MIN_AREA, segmentation_map=True)
    found, number = found[found["b"] > 0], np.flatnonzero(found["b"] > 0) + 1
    x, y, a, b, theta = (found[name] for name in ("x", "y", "a", "b", "theta"))
    others = {"mask": gaps, "segmap": segments}  # the pixels of neighbours do not count
    kron, _ = sep.kron_radius(image, x, y, a, b, theta, 6.0, seg_id=number, **others)
    # Kron's radius of small sources is noise: not less than 3.5 axes, as SExtractor has it
    radius = np.maximum(2.5 * np.nan_to_num(kron), 3.5)
    flux, error, _ = sep.sum_ellipse(image, x, y, a, b, theta, radius, err=error, seg_id=number, **others)
    good = flux > 0
    radii, _ = sep.flux_radius(image, x[good], y[good], 6 * a[good], [0.5, 0.9], normflux=flux[good], seg_id=number[good], **others)
    values = {
        "x": x[good],
        "y": y[good],
        "kron_mag_r": 22.5 - 2.5 * np.log10(flux[good]),
        "r50_r": radii[:, 0] * PIXEL_SCALE,
        "r90_r": radii[:, 1] * PIXEL_SCALE,
        "axis_ratio_r": (b / a)[good],
        "signal_to_noise": flux[good] / error[good],
    }
    return pd.DataFrame(values)


def seeing_radius(found: pd.DataFrame) -> float:
    """R50 of point sources [arcsec]: where the radii of well-measured sources crowd.

    The narrowest interval that holds a quarter of them: stars all have one radius, galaxies many.
    """
    radius = np.sort(found["r50_r"][found["signal_to_noise"] > 50])
    if len(radius) < 20:
        raise InputError(f"only {len(radius)} well-measured sources in a frame: too few to tell stars from galaxies; give a catalogue")
    n = max(5, len(radius) // 4)
    start = np.argmin(radius[n - 1 :] - radius[: len(radius) - n + 1])
    return float(np.median(radius[start : start + n]))


def extended(frame: Frame, options: Mapping) -> pd.DataFrame:
    """Catalogue of the extended sources of an r frame, brightest first.

    Parameters
    ----------
    frame : Frame
    options : mapping
        ``mag_range`` [mag], ``min_size`` (R50 in units of the stars'), ``edge`` (pixels from the edges that are left out).

    Returns
    -------
    DataFrame
        Columns `COLUMNS`.
    """
    found = sources(frame)
    size = found["r50_r"] / seeing_radius(found)
    faint, n_row, n_column, edge = options["mag_range"][1], *frame.image.shape, options["edge"]
    keep = found["kron_mag_r"].between(options["mag_range"][0], faint) & (size > options["min_size"])
    keep &= found["r90_r"] > _MIN_CONCENTRATION * found["r50_r"]
    keep &= found["x"].between(edge, n_column - 1 - edge) & found["y"].between(edge, n_row - 1 - edge)
    table = found[keep].sort_values("kron_mag_r").reset_index(drop=True)
    table["ra"], table["dec"] = frame.wcs.wcs_pix2world(table["x"], table["y"], 0)
    table["run"], table["camcol"], table["field"] = frame.run, frame.camcol, frame.field
    table["rowc_r"], table["colc_r"] = table["y"] + 0.5, table["x"] + 0.5
    table["galaxy_id"] = designation(SkyCoord(table["ra"], table["dec"], unit="deg"))
    return table[list(COLUMNS)]


def once(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Each source once, brightest first, and how many rows went: fields of a scan overlap, and the sight farther from the edge is kept.

    Parameters
    ----------
    table : DataFrame
        Columns `COLUMNS` of several frames.
    """
    inside = np.minimum(table["rowc_r"], N_ROW - table["rowc_r"])
    table = table.assign(inside=inside).sort_values("inside", ascending=False, kind="stable").reset_index(drop=True)
    sky = SkyCoord(table["ra"], table["dec"], unit="deg")
    first, second, _, _ = sky.search_around_sky(sky, SAME * u.arcsec)
    repeated = np.unique(second[first < second])  # of a pair, the sight nearer to the edge
    kept = table.drop(index=repeated).drop(columns="inside")
    return kept.sort_values(["kron_mag_r", "galaxy_id"], kind="stable").reset_index(drop=True), len(repeated)
