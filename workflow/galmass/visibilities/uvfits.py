"""Visibilities from UVFITS files (AIPS Memo 117): random groups with u, v, w in seconds and a weight beside each complex number.

UVFITS and MeasurementSet share one sense: with u = x(antenna 1) - x(antenna 2) and V = <E1 E2*> (pyuvdata's "Conventions" page), a
source at (l, m) has the phase +2 pi (u l + v m); casacore's MSFitsInput copies both unchanged, and the EVLA file of the tests is the
same number for number in both forms. So `phase_sign` is +1 and the reader conjugates (as MPoL asks for data from CASA).
"""

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from galmass.errors import InputError
from galmass.units import LIGHT
from galmass.visibilities import io

CHUNK = 2**24  # bytes of the file in memory at a time
SPEED_OF_LIGHT = 1e3 * LIGHT  # [m/s]
HANDS = {("XX", "YY"): (-5, -6), ("RR", "LL"): (-1, -2), ("I",): (1,)}  # codes of the STOKES axis
FRAMES = {"TOPOCENT": "TOPO", "GEOCENTR": "GEO", "BARYCENT": "BARY", "HELIOCEN": "BARY", "LSRK": "LSRK", "LSRD": "LSRD", "GALACTOC": "GALACTO"}
VELREF = {1: "LSRK", 2: "BARY", 3: "TOPO"}  # AIPS, where SPECSYS is missing; + 256 for radio velocities


@dataclass(frozen=True)
class Layout:
    """Where the axes of a group are: header keywords by axis name and the place of each axis in the array."""

    header: object

    def number(self, name: str) -> int:
        """FITS number of the axis called `name`, 0 where there is none."""
        numbers = range(2, self.header["NAXIS"] + 1)
        return next((n for n in numbers if self.header.get(f"CTYPE{n}", "").strip() == name), 0)

    def length(self, name: str) -> int:
        """Length of the axis, 1 where there is none."""
        return self.header[f"NAXIS{self.number(name)}"] if self.number(name) else 1

    def values(self, name: str) -> np.ndarray:
        """Coordinates along the axis."""
        value, pixel, step = (self.header[f"{key}{self.number(name)}"] for key in ("CRVAL", "CRPIX", "CDELT"))
        return value + (np.arange(self.length(name)) + 1 - pixel) * step

    def table(self, data, which_if: int) -> np.ndarray:
        """Groups (n, ..., 3) as (n, n_chan, n_stokes, 3)."""
        names = ("IF", "FREQ", "STOKES", "COMPLEX")
        axes = [data.ndim + 1 - self.number(name) if self.number(name) else None for name in names]
        places = [place for place in axes if place is not None]
        rest = [k for k in range(1, data.ndim) if k not in places]
        table = np.transpose(data, [0, *rest, *places])
        table = table.reshape(len(data), *(self.length(name) for name in names))
        return table[:, which_if]


def read(path, spw=None, field=None, phase_sign: int = 1, rest_frequency_hz=None) -> io.Visibilities:
    """Stokes I of one spectral window (an IF of a FREQSEL) and one field.

    Parameters
    ----------
    spw : int, optional
        Number of the window, needed where there are several.
    field : int or str, optional
        Number (1 ...) or name of the source, likewise.
    phase_sign : {1, -1}
        Sign of the exponent in the file, see the module.
    rest_frequency_hz : float, optional
        In place of the header's.
    """
    io.require_phase_sign(path, phase_sign)
    with _opened(path) as hdus:
        groups = hdus[0]
        layout = Layout(groups.header)
        window, frequencies = _window(path, layout, _table(hdus, "AIPS FQ"), spw)
        order, notes = io.ascending(path, frequencies)
        rows, first, second, refused = _rows(path, groups.data, hdus, layout, window, field)
        source = _source(hdus, groups, rows[0])
        parts = _samples(path, groups.data, layout, window, order, rows, phase_sign, refused)
        metadata = _metadata(groups.header, hdus, source, rest_frequency_hz)
        u, v = (_parameter(path, groups.data, name)[rows][None, :] * frequencies[order][:, None] for name in ("UU", "VV"))
        time = (_parameter(path, groups.data, "DATE")[rows] - 2400000.5) * 86400
    metadata["notes"] = [*metadata["notes"], *notes, *io.conjugation(phase_sign), *io.refusals(refused)]
    return io.usable(path, io.Visibilities(u, v, *parts, frequencies[order], metadata, time=time, baseline=(first - 1) * 65536 + second - 1))


@contextmanager
def _opened(path):
    """The HDUs of a file whose first are random groups, all of them there."""
    from astropy.io import fits

    try:
        hdus = fits.open(path, memmap=True)
    except OSError as error:
        raise InputError(f"{path} is no FITS file ({error}); download or export it again") from error
    with hdus:
        if not isinstance(hdus[0], fits.GroupsHDU):
            raise InputError(f"{path} holds no random groups: it is not a UVFITS file (an image or table, or FITS-IDI)")
        try:
            hdus[0].data.field("DATA")[-1:].sum()
        except (OSError, TypeError, ValueError) as error:
            raise InputError(f"{path} is cut off ({error}); download or export it again") from error
        yield hdus


def _window(path, layout: Layout, table, spw) -> tuple[tuple[int, int], np.ndarray]:
    """(FREQSEL, IF) counted from 1 and 0, and its channel frequencies [Hz]; windows are numbered as casacore numbers them."""
    n_if = layout.length("IF")
    base = layout.values("FREQ")
    windows = {}
    for row in table if table is not None else [None]:
        for which in range(n_if):
            offset = 0.0 if row is None else np.ravel(row["IF FREQ"])[which]
            windows[len(windows)] = (1 if row is None else int(row["FRQSEL"]), which), base + offset
    listing = "; ".join(f"{k}: {len(f)} channels, {f.min() / 1e9:.4f} to {f.max() / 1e9:.4f} GHz" for k, (_, f) in windows.items())
    return windows[chosen(path, "spw", spw, list(windows), listing)]


def chosen(path, option: str, value, known: list, listing: str):
    """`value` where it is one of `known`; the only one there is; `InputError` with the `listing` otherwise."""
    if value is None and len(known) == 1:
        return known[0]
    if value not in known:
        problem = f"holds {len(known)}: choose by the option {option}" if value is None else f"has no {option} {value!r}"
        raise InputError(f"{path} {problem}. There are {listing}")
    return value


def _table(hdus, name: str):
    return next((hdu.data for hdu in hdus[1:] if hdu.name == name), None)


def _parameter(path, data, name: str) -> np.ndarray:
    """Random parameter whose name begins with `name` (UU, UU--, UU---SIN ...), float64."""
    found = [full for full in dict.fromkeys(data.parnames) if full.strip().rstrip("-").split("-")[0] == name]
    if not found:
        raise InputError(f"{path} has no random parameter {name}; it has {', '.join(data.parnames)}")
    return np.asarray(data.par(found[0]), float)


def _antennas(path, data) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of both antennas of each group."""
    if "ANTENNA1" in data.parnames:
        return tuple(_parameter(path, data, f"ANTENNA{k}").astype(int) for k in (1, 2))
    pair = _parameter(path, data, "BASELINE").astype(int)  # the fraction is the subarray
    large = pair > 65536
    first = np.where(large, (pair - 65536) // 2048, pair // 256)
    return first, np.where(large, (pair - 65536) % 2048, pair % 256)


def _rows(path, data, hdus, layout: Layout, window, field) -> tuple[np.ndarray, np.ndarray, np.ndarray, Counter]:
    """Groups of the window and field that are no autocorrelations, and their antennas."""
    first, second = _antennas(path, data)
    wanted = np.ones(len(data), bool)
    if "FREQSEL" in data.parnames:
        wanted &= _parameter(path, data, "FREQSEL").astype(int) == window[0]
    if "SOURCE" in data.parnames:
        wanted &= _of_field(path, _parameter(path, data, "SOURCE").astype(int), _table(hdus, "AIPS SU"), field)
    cross = first != second
    rows = np.flatnonzero(wanted & cross)
    refused = Counter(autocorrelations=int((wanted & ~cross).sum()))
    if not len(rows):
        raise InputError(f"{path}: no visibility can be used: {refused['autocorrelations']} autocorrelations and nothing else of this window and field")
    return rows, first[rows], second[rows], refused


def _of_field(path, source, table, field) -> np.ndarray:
    present = sorted(set(source.tolist()))
    names = {} if table is None else {int(row["ID. NO."]): row["SOURCE"].strip() for row in table}
    numbers = {name: k for k, name in names.items()}
    listing = "; ".join(f"{k}: {names.get(k, 'no name')}" for k in present)
    return source == chosen(path, "field", numbers.get(field, field), present, listing)


def _source(hdus, groups, row: int):
    """Row of the source table, None for a single-source file."""
    table = _table(hdus, "AIPS SU")
    if table is None or "SOURCE" not in groups.data.parnames:
        return None
    number = int(groups.data.par("SOURCE")[row])
    return next((entry for entry in table if int(entry["ID. NO."]) == number), None)


def _samples(path, data, layout: Layout, window, order, rows, phase_sign, refused) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """vis, weight and flag (n_chan, n_vis) of the rows, in chunks; a weight of zero or below means flagged."""
    hands = _hands(path, layout)
    shape = (len(order), len(rows))
    vis, weight = np.empty(shape, np.complex64), np.empty(shape, np.float32)
    step = max(1, CHUNK // max(1, data.field("DATA")[0].nbytes))
    for start in range(0, len(rows), step):
        block = layout.table(data.field("DATA")[rows[start : start + step]], window[1])[:, :, hands].astype(np.float32)
        stokes, combined, reasons = io.stokes_i(_complex(block), block[..., 2], block[..., 2] <= 0, phase_sign)
        refused.update(reasons)
        vis[:, start : start + step] = stokes.T[order]
        weight[:, start : start + step] = combined.T[order]
    return vis, weight, weight <= 0


def _complex(block) -> np.ndarray:
    value = np.empty(block.shape[:-1], np.complex64)
    value.real, value.imag = block[..., 0], block[..., 1]
    return value


def _hands(path, layout: Layout) -> list[int]:
    """Places of the parallel hands on the STOKES axis."""
    codes = np.rint(layout.values("STOKES")).astype(int).tolist()
    for wanted in HANDS.values():
        if any(code in codes for code in wanted):
            return [codes.index(code) for code in wanted if code in codes]
    raise InputError(f"{path} has no parallel hands: the codes of its STOKES axis are {codes}; XX, YY, RR, LL or I are needed")


def _metadata(header, hdus, source, rest_frequency_hz) -> dict:
    """Keys of `io.Visibilities.metadata`."""
    rest = float(header.get("RESTFREQ") or header.get("RESTFRQ") or 0)
    unusable = rest_frequency_hz is None and 0 < rest < io.LOWEST_FREQUENCY
    frame = FRAMES.get(header.get("SPECSYS", "").strip(), VELREF.get(header.get("VELREF", 0) % 256))
    layout = Layout(header)
    centre = [float(layout.values(name)[0]) if layout.number(name) else None for name in ("RA", "DEC")]
    if source is not None:
        centre = [float(source["RAEPO"]), float(source["DECEPO"])]
    diameter, location = _array(hdus)
    return {
        "frame": frame,
        "rest_frequency_hz": rest_frequency_hz or (rest if rest >= io.LOWEST_FREQUENCY else None),
        "phase_centre_deg": None if None in centre else centre,
        "dish_diameter_m": diameter,
        "location_itrf_m": location,
        "telescope": header.get("TELESCOP", "").strip() or None,
        "source": (header.get("OBJECT", "") if source is None else source["SOURCE"]).strip() or None,
        "notes": [f"rest frequency {rest:g} of the header is not in Hz: not used"] if unusable else [],
    }


def _array(hdus) -> tuple[float | None, list[float] | None]:
    """Dish diameter [m] where the antenna table has one, and the mean position of the antennas [m]."""
    antennas = next((hdu for hdu in hdus[1:] if hdu.name == "AIPS AN"), None)
    if antennas is None:
        return None, None
    diameters = set(np.ravel(antennas.data["DIAMETER"]).tolist()) - {0.0} if "DIAMETER" in antennas.data.names else set()
    centre = np.array([antennas.header.get(f"ARRAY{axis}", 0.0) for axis in "XYZ"])
    location = (centre + np.mean(antennas.data["STABXYZ"], axis=0)).tolist()
    earthly = 6.3e6 < np.hypot(np.hypot(location[0], location[1]), location[2]) < 6.4e6  # older files have another frame
    return (diameters.pop() if len(diameters) == 1 else None), (location if earthly else None)
