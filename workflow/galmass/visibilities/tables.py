"""Visibilities from plain tables: text with u, v, Re, Im, weight, and the gridded `.npz` of viscube.

Neither says the sign of its exponent. `phase_sign` is -1, the convention of this package, and +1 conjugates: right where CASA's numbers
were written out as they stand (as uvplot does) or gridded so. A wrong sign turns the image by 180 degrees and leaves masses as they are.
"""

import bz2
import gzip
import math
import re
import zipfile
from pathlib import Path

import numpy as np

from galmass.errors import InputError
from galmass.visibilities import io
from galmass.visibilities.uvfits import SPEED_OF_LIGHT

UNITS = {"lambda": 1.0, "klambda": 1e3, "m": None}  # wavelengths in one; metres need the frequency
SPELLINGS = {"lambda": "lambda", "wavelengths": "lambda", "klambda": "klambda", "kilolambda": "klambda", "m": "m", "metres": "m", "meters": "m"}
OPENERS = {".gz": gzip.open, ".bz2": bz2.open}
GRIDDED = ("npix", "fov_arcsec", "delta_u", "vis_bin_re", "vis_bin_imag", "std_bin_re", "std_bin_imag", "mask", "chan_freq_hz")
KERNEL = ("window", "window_m", "window_beta")
RAD_TO_ARCSEC = math.degrees(1) * 3600


def read_table(path, frequency_hz=None, units=None, phase_sign: int = -1, rest_frequency_hz=None) -> io.Visibilities:
    """One channel from a text table (plain, .gz or .bz2) with the columns u, v, Re [Jy], Im [Jy], weight [Jy^-2].

    Parameters
    ----------
    frequency_hz : float, optional
        Of the channel; needed unless a comment of the table says ``wavelength[m] = ...``.
    units : {"lambda", "klambda", "m"}, optional
        Of u and v: wavelengths, thousands of them, or metres; without it what the comments say, wavelengths where they are silent.
    phase_sign : {1, -1}
        Sign of the exponent in the table, see the module.
    rest_frequency_hz : float, optional
        Of the line.
    """
    io.require_phase_sign(path, phase_sign)
    columns, comments = _columns(path)
    frequency, notes = _frequency(path, frequency_hz, comments)
    scale, note = _scale(path, units, comments, frequency)
    vis = (columns[:, 2] + 1j * columns[:, 3])[:, None, None]
    stokes, weight, refused = io.stokes_i(vis, columns[:, 4][:, None, None], np.zeros(vis.shape, bool), phase_sign)
    placed = np.isfinite(columns[:, :2]).all(axis=1)
    refused["nan"] += int((~placed & (weight[:, 0] > 0)).sum())
    weight = np.where(placed, weight.T, 0)
    u, v = np.where(placed, columns[:, :2].T * scale, 0)
    metadata = _metadata(rest_frequency_hz, [*notes, note, *_signs(phase_sign), *io.refusals(refused)])
    return io.usable(path, io.Visibilities(u, v, stokes.T, weight, weight <= 0, np.array([frequency]), metadata))


def _columns(path) -> tuple[np.ndarray, str]:
    """(n_vis, 5) and the comment lines."""
    try:
        with OPENERS.get(Path(path).suffix.lower(), open)(path, "rt") as file:
            comments = "".join(line for line in file if line.lstrip().startswith("#"))
        columns = np.loadtxt(path, ndmin=2, delimiter="," if ".csv" in str(path).lower() else None)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is no table of numbers ({error}); it must have the columns u, v, Re, Im, weight") from error
    if columns.size == 0 or columns.shape[1] != 5:
        raise InputError(f"{path} has {columns.shape[1] if columns.size else 0} columns of numbers; the columns u, v, Re, Im, weight are meant")
    return columns, comments


def _frequency(path, frequency_hz, comments: str) -> tuple[float, list[str]]:
    """[Hz] of the one channel."""
    if frequency_hz is not None:
        io.require_hertz(path, "frequency_hz", frequency_hz)
        return float(frequency_hz), []
    stated = re.search(r"wavelength\s*\[m\]\s*=\s*([-+.\deE]+)", comments)
    if not stated:
        raise InputError(f"{path} does not say its frequency; give the option frequency_hz")
    frequency = SPEED_OF_LIGHT / float(stated[1])
    io.require_hertz(path, "the frequency of its wavelength", frequency)
    return frequency, [f"frequency from the wavelength {stated[1]} m in the table's comments"]


def _scale(path, units, comments: str, frequency: float) -> tuple[float, str]:
    """What u and v are to be multiplied with to be in wavelengths, and a note on why."""
    stated = re.search(r"\bu\s*\[\s*(\w+)\s*\]", comments)
    from_comments = SPELLINGS.get(stated[1].lower()) if stated else None
    if stated and not from_comments and units is None:
        raise InputError(f"{path} has u in [{stated[1]}], an unknown unit; give the option units: {', '.join(UNITS)}")
    unit = units or from_comments or "lambda"
    if unit not in UNITS:
        raise InputError(f"{path}: units = {units!r}; it must be one of {', '.join(UNITS)}")
    if units and from_comments not in (None, units):
        raise InputError(f"{path}: the option units says {units}, the table's comments [{stated[1]}]; leave the option out or mend the comments")
    reason = "by the option units" if units else "as the comments say" if stated else "as neither the table nor an option says otherwise"
    return (frequency / SPEED_OF_LIGHT if unit == "m" else UNITS[unit]), f"u, v in {unit} {reason}"


def _signs(phase_sign: int) -> list[str]:
    return io.conjugation(phase_sign) or ["exp(-2 pi i (u l + v m)) taken for granted: option phase_sign"]


def _metadata(rest_frequency_hz, notes: list[str]) -> dict:
    unknown = dict.fromkeys(("frame", "phase_centre_deg", "dish_diameter_m", "location_itrf_m", "telescope", "source"))
    return {**unknown, "rest_frequency_hz": rest_frequency_hz, "notes": notes}


def read_gridded(path, phase_sign: int = -1, rest_frequency_hz=None) -> io.Visibilities:
    """Filled cells of a viscube grid as visibilities at the centres of the cells, weight 2 / (std_re^2 + std_im^2).

    Both forms are read: the half plane (rows of v = 0, -1, -2 ... cells) and the full one, of which the Hermitian half is left out. ``metadata["grid"]``,
    `std` and `taper` keep what a grid has and visibilities lack.

    Parameters
    ----------
    phase_sign : {1, -1}
        Sign of the exponent in the file, see the module.
    rest_frequency_hz : float, optional
        Of the line.
    """
    io.require_phase_sign(path, phase_sign)
    content = _content(path)
    order, notes = io.ascending(path, content["chan_freq_hz"])
    grid = _grid(path, content)
    half = {name: _half(path, content[name], grid["n_pix"])[order] for name in GRIDDED[3:8]}
    mask = _independent(path, content["mask"], half["mask"].astype(bool), grid["n_pix"])
    rows, columns = np.nonzero(mask.any(axis=0))
    vis, std = (half[f"{kind}_re"][:, rows, columns] + 1j * half[f"{kind}_imag"][:, rows, columns] for kind in ("vis_bin", "std_bin"))
    filled = mask[:, rows, columns]
    usable = filled & np.isfinite(vis) & np.isfinite(std) & (std.real > 0) & (std.imag > 0)
    refused = int((filled & ~usable).sum())
    notes += [f"{refused} cells refused: no positive, finite standard error or visibility"] if refused else []
    vis, std = np.where(usable, vis, 0), np.where(usable, std, 0)
    weight = np.where(usable, 2 / np.where(usable, std.real**2 + std.imag**2, 1), 0)
    # viscube turns the axis of v, so that its rows run from north to south
    u, v = (columns - grid["n_pix"] // 2) * grid["delta_u"], -rows * grid["delta_u"]
    metadata = {**_metadata(rest_frequency_hz, [*notes, *_signs(phase_sign)]), "grid": grid}
    vis = vis.conj() if phase_sign > 0 else vis
    frequency = np.asarray(content["chan_freq_hz"], float)[order]
    taper = np.asarray(content["taper_map"], float) if "taper_map" in content else None
    return io.usable(path, io.Visibilities(u, v, vis, weight, ~usable, frequency, metadata, std=std, taper=taper))


def _content(path) -> dict:
    """Arrays of the file by name."""
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no readable .npz ({error}); download or write it again") from error
    if "apo_map" in content:
        raise InputError(
            f"{path} carries apo_map: the visibilities of such files are meant to be compared with an image divided by that map, which does not describe "
            "weighted means in cells; grid again with a viscube that writes taper_map"
        )
    missing = [name for name in GRIDDED if name not in content]
    if missing:
        raise InputError(f"{path} is no viscube grid: it lacks {', '.join(missing)}; it has {', '.join(content)}")
    return content


def _grid(path, content) -> dict:
    """What describes the grid, JSON-able; cell_arcsec is exact for delta_u (viscube takes 206265 arcsec for a radian)."""
    n_pix, delta_u, fov = int(content["npix"]), float(content["delta_u"]), float(content["fov_arcsec"])
    if n_pix % 2 == 0:
        raise InputError(f"{path}: npix = {n_pix} is even, so that no cell is centred on u = v = 0; grid again with an odd npix")
    if not abs(delta_u * fov / RAD_TO_ARCSEC - 1) < 1e-4:
        raise InputError(f"{path}: delta_u = {delta_u:g} does not go with fov_arcsec = {fov:g}: their product must be {RAD_TO_ARCSEC:.0f}")
    if "taper_map" in content and content["taper_map"].shape != (n_pix, n_pix):
        raise InputError(f"{path}: taper_map has the shape {content['taper_map'].shape}, not that of the grid, {(n_pix, n_pix)}")
    kernel = {name: content[name].item() for name in KERNEL if name in content}
    half_plane = bool(content.get("half_plane", False))
    return {"n_pix": n_pix, "cell_arcsec": RAD_TO_ARCSEC / (n_pix * delta_u), "delta_u": delta_u, "half_plane": half_plane, **kernel}


def _half(path, array, n_pix: int) -> np.ndarray:
    """Rows of v <= 0, (n_chan, (n_pix + 1) // 2, n_pix), of either form."""
    if array.ndim == 3 and array.shape[1:] == ((n_pix + 1) // 2, n_pix):
        return array
    if array.ndim == 3 and array.shape[1:] == (n_pix, n_pix):
        return array[:, n_pix // 2 :]
    raise InputError(f"{path} has an array of shape {array.shape}; (n_chan, {(n_pix + 1) // 2}, {n_pix}) or (n_chan, {n_pix}, {n_pix}) go with npix = {n_pix}")


def _independent(path, whole, mask, n_pix: int) -> np.ndarray:
    """`mask` of the half plane without the left half of the row v = 0, which repeats the right half."""
    if whole.shape[1] == n_pix and (whole.astype(bool) != whole.astype(bool)[:, ::-1, ::-1]).any():
        raise InputError(f"{path}: the mask of the full plane is not symmetric: half of it cannot be left out; grid with Hermitian copies")
    centre = n_pix // 2
    left, right = mask[:, 0, :centre], mask[:, 0, centre + 1 :]
    if (left & ~right[:, ::-1]).any():
        raise InputError(f"{path}: the row v = 0 has cells at u < 0 without their partners at u > 0; grid with Hermitian copies")
    mask = mask.copy()
    mask[:, 0, :centre] = False
    return mask
