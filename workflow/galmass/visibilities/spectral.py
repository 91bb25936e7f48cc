"""Channels: their velocities and frames, choosing and averaging them, and the continuum below a line."""

import warnings

import numpy as np

from galmass.errors import InputError
from galmass.units import LIGHT
from galmass.visibilities import io
from galmass.visibilities.io import Visibilities

CHUNK = 2**22  # visibilities times channels at a time
SPARE = 1  # line-free channels that a fit needs beyond its number of coefficients
# where an observer at rest in a frame stands, in astropy's words; TOPO is the telescope itself
FRAMES = {"TOPO": None, "GEO": "gcrs", "BARY": "icrs", "LSRK": "lsrk", "LSRD": "lsrd", "GALACTO": "galactocentric"}
MOMENTS = 20  # at which a frame is looked at: executions may lie anywhere in a year
LARGEST_DRIFT = 0.5  # of a channel, that a frame may move during an observation before one shift for all times is refused


def velocities(visibilities: Visibilities, rest_frequency_hz=None) -> np.ndarray:
    """Radio velocities ``c (1 - nu / nu_rest)`` of the channels, (n_chan,) [km/s], descending, in the frame of the frequencies."""
    from astropy import units
    from astropy.coordinates import SpectralCoord

    rest = rest_frequency(visibilities, rest_frequency_hz) * units.Hz
    coordinate = SpectralCoord(visibilities.frequency, unit="Hz", doppler_convention="radio", doppler_rest=rest)
    return coordinate.to(units.km / units.s).value


def rest_frequency(visibilities: Visibilities, rest_frequency_hz=None) -> float:
    """Rest frequency of the line [Hz], the argument before that of the file."""
    rest = rest_frequency_hz if rest_frequency_hz is not None else visibilities.metadata.get("rest_frequency_hz")
    if rest is None:
        raise InputError("velocities need the rest frequency of the line, and the visibilities do not say it; give rest_frequency_hz")
    io.require_hertz("velocities", "rest_frequency_hz", rest)
    return float(rest)


def to_frame(visibilities: Visibilities, frame: str, location=None, time=None, direction=None) -> Visibilities:
    """Visibilities whose frequencies are in `frame`, one of `FRAMES`, by one factor for all times.

    Parameters
    ----------
    location : (3,) array, optional
        Telescope, ITRF [m].
    time : (n,) array, optional
        Modified Julian Dates [s], UTC.
    direction : (2,) array, optional
        Right ascension and declination, ICRS [deg].
        All three default to what the file says.

    Raises
    ------
    InputError
        When something is not known, or when the frame moves by more than half a channel between any of `MOMENTS` times: that needs regridding of
        each integration (mstransform in CASA).
    """
    own = visibilities.metadata.get("frame")
    for name in (own, frame):
        if name not in FRAMES:
            raise InputError(f"frame {name}: the frequencies must be in one of {', '.join(FRAMES)} to be brought to another")
    if own == frame:
        return visibilities
    known = {
        "location": location if location is not None else visibilities.metadata.get("location_itrf_m"),
        "time": time if time is not None else visibilities.time,
        "direction": direction if direction is not None else visibilities.metadata.get("phase_centre_deg"),
    }
    missing = [name for name, value in known.items() if value is None]
    if missing:
        raise InputError(f"from {own} to {frame}: {', '.join(missing)} not known; give it, or bring the frequencies to {frame} with mstransform in CASA")
    factors = [_factor(moment, own, frame, known) for moment in _moments(known["time"])]
    factor, drift = (min(factors) + max(factors)) / 2, max(factors) - min(factors)
    _require_slow(visibilities.frequency, drift, own, frame)
    note = f"frequencies from {own} to {frame}: times {factor:.9f} (+- {drift / 2 * LIGHT:.2g} km/s during the observation)"
    # the baselines in wavelengths were formed with the sky frequency of the telescope, which does not change
    return visibilities.noted(note, frame=frame, frequency=visibilities.frequency * factor)


def _moments(time) -> np.ndarray:
    """At most `MOMENTS` of the distinct times, first and last among them; evenly by number: an execution that has a tenth of them is looked at."""
    distinct = np.unique(time)
    return distinct[np.unique(np.linspace(0, len(distinct) - 1, MOMENTS).round().astype(int))]


def _factor(mjd_seconds: float, own: str, frame: str, known: dict) -> float:
    """Frequency in `frame` over that in `own` at one time."""
    from astropy import units
    from astropy.coordinates import EarthLocation, SkyCoord, SpectralCoord
    from astropy.time import Time
    from astropy.utils import iers
    from astropy.utils.exceptions import AstropyWarning

    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # of both: an antenna at rest on the Earth, a rotation not tabulated yet
        # no table of the Earth's rotation is fetched: without it the telescope is wrong by 1 s of rotation, 0.03 m/s
        moment = Time(mjd_seconds / 86400, format="mjd", scale="utc")
        observer = EarthLocation.from_geocentric(*known["location"], unit=units.m).get_itrs(obstime=moment)
        # at rest, which cancels, and so far away that all frames see it in one direction
        at_rest = dict.fromkeys(("pm_ra_cosdec", "pm_dec"), 0 * units.mas / units.yr) | {"radial_velocity": 0 * units.km / units.s, "distance": 1 * units.Gpc}
        target = SkyCoord(*(np.asarray(known["direction"], float) * units.deg), frame="icrs", **at_rest)
        topocentric = SpectralCoord(1.0, unit="Hz", observer=observer, target=target)
        in_frame = [topocentric if FRAMES[name] is None else _stationary(topocentric, FRAMES[name], moment) for name in (own, frame)]
    return float(in_frame[1] / in_frame[0])


def _stationary(coordinate, name: str, moment):
    """The coordinate for an observer at rest in the frame."""
    from astropy.coordinates import GCRS

    return coordinate.with_observer_stationary_relative_to(GCRS(obstime=moment) if name == "gcrs" else name)


def _require_slow(frequency, drift: float, own: str, frame: str) -> None:
    if len(frequency) < 2:
        return
    channels = drift * frequency.mean() / np.diff(frequency).min()
    if channels > LARGEST_DRIFT:
        raise InputError(f"from {own} to {frame}: the frame moves by {channels:.2f} channels during the observation; regrid with mstransform in CASA")


def select_channels(visibilities: Visibilities, first=None, last=None, velocity_range=None, average: int = 1, rest_frequency_hz=None) -> Visibilities:
    """Channels `first` to `last` (both included, from 0), or those with velocities in `velocity_range` [km/s], averaged in groups.

    Averages are weighted means, their weights sums; a group has a visibility where one of its channels has. Channels that
    fill no group at the end are dropped.
    """
    n_chan = len(visibilities.frequency)
    if velocity_range is not None:
        if first is not None or last is not None:
            raise InputError("channels by first and last or by velocity_range, not by both")
        first, last = _channels_between(velocities(visibilities, rest_frequency_hz), velocity_range)
    first, last = 0 if first is None else first, n_chan - 1 if last is None else last
    if not 0 <= first <= last < n_chan:
        raise InputError(f"channels {first} to {last}: the visibilities have 0 to {n_chan - 1}")
    if not 1 <= average <= last - first + 1:
        raise InputError(f"average = {average}: {last - first + 1} channels are selected")
    if average > 1 and visibilities.std is not None:
        raise InputError(f"average = {average}: gridded visibilities cannot be averaged (their errors come from the scatter in each channel)")
    chosen = _sliced(visibilities, slice(first, last + 1)).noted(f"channels {first} to {last} of {n_chan} selected")
    return chosen if average == 1 else _averaged(chosen, average)


def _channels_between(velocity, limits) -> tuple[int, int]:
    low, high = sorted(limits)
    inside = np.flatnonzero((velocity >= low) & (velocity <= high))
    if not len(inside):
        band = f"{velocity.min():.1f} to {velocity.max():.1f} km/s"
        raise InputError(f"velocity_range {low:g} to {high:g} km/s: no channel lies inside; the band reaches from {band}")
    return int(inside[0]), int(inside[-1])


def _sliced(visibilities: Visibilities, part: slice) -> Visibilities:
    per_channel = ("vis", "weight", "flag", "frequency", *(["std"] if visibilities.std is not None else []))
    per_channel += tuple(name for name in ("u", "v") if getattr(visibilities, name).ndim == 2)
    return visibilities.noted(**{name: getattr(visibilities, name)[part] for name in per_channel})


def _averaged(visibilities: Visibilities, average: int) -> Visibilities:
    n_group = len(visibilities.frequency) // average
    rest = len(visibilities.frequency) - n_group * average
    whole = _sliced(visibilities, slice(0, n_group * average))
    shape = (n_group, whole.vis.shape[1])
    vis, weight = np.empty(shape, whole.vis.dtype), np.empty(shape, whole.weight.dtype)
    for group in range(n_group):
        part = slice(group * average, (group + 1) * average)
        weights = np.where(whole.flag[part], 0, whole.weight[part])
        weight[group] = weights.sum(axis=0)
        # flagged visibilities may be NaN in files of others
        total = (weights * np.where(whole.flag[part], 0, whole.vis[part])).sum(axis=0)
        vis[group] = np.divide(total, weight[group], out=np.zeros_like(total), where=weight[group] > 0)
    means = {name: _mean_of_groups(getattr(whole, name), n_group) for name in ("u", "v", "frequency") if getattr(whole, name).shape[0] == n_group * average}
    dropped = f", the last {rest} dropped" if rest else ""
    return whole.noted(f"averages of {average} channels{dropped}", vis=vis, weight=weight, flag=weight <= 0, **means)


def _mean_of_groups(values, n_group: int) -> np.ndarray:
    return values.reshape(n_group, -1, *values.shape[1:]).mean(axis=1)


def subtract_continuum(visibilities: Visibilities, line_free, order: int = 0) -> Visibilities:
    """Visibilities minus a polynomial in frequency, fitted to the line-free channels of each by weighted least squares.

    Parameters
    ----------
    line_free : (n_chan,) bool array, or list of (first, last)
        Channels without line; ranges include both ends.
    order : int
        Of the polynomial; 0 is a constant.

    Notes
    -----
    A visibility with too few line-free channels is flagged. Weights stay: the fit adds its own variance, ``b^T (B^T W B)^-1 b``, to each channel,
    the same error to all of them; the notes say how much where the line is.
    """
    if visibilities.std is not None:
        raise InputError("gridded visibilities: the continuum is subtracted before gridding")
    line_free = _mask(line_free, len(visibilities.frequency))
    if order < 0 or line_free.sum() < order + 1 + SPARE:
        raise InputError(f"a continuum of order {order} needs {order + 1 + SPARE} line-free channels or more; line_free has {line_free.sum()}")
    basis = _basis(visibilities.frequency, order)
    vis, flag = np.array(visibilities.vis), np.array(visibilities.flag)
    poor = 0
    for start in range(0, vis.shape[1], max(1, CHUNK // len(vis))):
        part = slice(start, start + max(1, CHUNK // len(vis)))
        continuum, fitted = _continuum(vis[:, part], np.where(flag[:, part], 0, visibilities.weight[:, part]), basis, line_free)
        poor += int((~fitted & ~flag[:, part].all(axis=0)).sum())
        flag[:, part] |= ~fitted
        vis[:, part] = np.where(flag[:, part], 0, vis[:, part] - continuum)
    weight = np.where(flag, 0, visibilities.weight)
    notes = [f"continuum of order {order} from {line_free.sum()} channels subtracted{_noise(basis, line_free)}"]
    notes += [f"{poor} visibilities with fewer than {order + 1 + SPARE} line-free channels: flagged"] if poor else []
    if flag.all():
        raise InputError(f"continuum: no visibility has {order + 1 + SPARE} line-free channels that can be used")
    return visibilities.noted(*notes, vis=vis, flag=flag, weight=weight)


def _mask(line_free, n_chan: int) -> np.ndarray:
    array = np.asarray(line_free)
    if array.dtype == bool and array.shape == (n_chan,):
        return array
    mask = np.zeros(n_chan, bool)
    for first, last in line_free if array.dtype != bool and array.ndim == 2 else [(0, -1)]:
        if not 0 <= first <= last < n_chan:
            raise InputError(f"line_free = {line_free}: ranges (first, last) within 0 to {n_chan - 1}, or {n_chan} booleans, are meant")
        mask[first : last + 1] = True
    return mask


def _basis(frequency, order: int) -> np.ndarray:
    """(n_chan, order + 1) Legendre polynomials of the band from -1 to 1: well conditioned."""
    centre, half = (frequency[-1] + frequency[0]) / 2, (frequency[-1] - frequency[0]) / 2
    return np.polynomial.legendre.legvander((frequency - centre) / (half or 1.0), order)


def _continuum(vis, weight, basis, line_free) -> tuple[np.ndarray, np.ndarray]:
    """Fitted polynomial (n_chan, n) and whether there were channels enough (n,)."""
    used, weights = basis[line_free], weight[line_free].astype(float)
    fitted = (weights > 0).sum(axis=0) >= basis.shape[1] + SPARE
    weights = np.where(fitted, weights, 1.0)  # anything regular: not used
    products = (used[:, :, None] * used[:, None, :]).reshape(len(used), -1)
    normal = (weights.T @ products).reshape(-1, basis.shape[1], basis.shape[1])
    right = (weights * np.where(weight[line_free] > 0, vis[line_free], 0)).T @ used
    return basis @ np.linalg.solve(normal, right[..., None])[..., 0].T, fitted


def _noise(basis, line_free) -> str:
    """How the error of the fit, for equal weights, raises the noise of the channels that are not line-free."""
    if line_free.all():
        return ""
    inverse = np.linalg.inv(basis[line_free].T @ basis[line_free])
    factor = np.sqrt(1 + np.einsum("ci,ij,cj->c", basis, inverse, basis))[~line_free]
    return f"; noise of the line channels times {factor.min():.3f} to {factor.max():.3f}, in common to them"
