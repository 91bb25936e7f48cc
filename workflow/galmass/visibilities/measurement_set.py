"""Visibilities from MeasurementSets, through python-casacore.

UVW and DATA have the sense of CASA: a source at (l, m) has the phase +2 pi (u l + v m) (sign conventions of katdal, which calls
UVW = x(antenna 1) - x(antenna 2) CASA's; MPoL and visread conjugate what CASA wrote). So `phase_sign` is +1 and the reader conjugates.
CASA's WEIGHT is 1 / sigma^2 of the real part, for one channel.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from galmass.errors import InputError
from galmass.visibilities import io
from galmass.visibilities.uvfits import CHUNK, SPEED_OF_LIGHT, chosen

PRODUCTS = {"linear": (9, 12), "circular": (5, 8), "Stokes I": (1,)}  # codes of CORR_TYPE: XX YY, RR LL, I
SAME_CHANNEL = 0.01  # of a channel: windows of several executions that agree so far are read as one


def read(path, spw=None, field=None, column=None, weights=None, phase_sign: int = 1, rest_frequency_hz=None) -> io.Visibilities:
    """Stokes I of one spectral window and field.

    Parameters
    ----------
    spw : int or list of int, optional
        Number of the window, needed where there are several; a list where several executions have the same channels.
    field : int or str, optional
        Number (0 ...) or name, likewise.
    column : str, optional
        DATA or CORRECTED_DATA; without it the latter where there is one.
    weights : {"WEIGHT_SPECTRUM", "WEIGHT"}, optional
        Without it the former where it is filled.
    phase_sign : {1, -1}
        Sign of the exponent in the file, see the module.
    rest_frequency_hz : float, optional
        In place of that of the SOURCE table.
    """
    io.require_phase_sign(path, phase_sign)
    main = _open(path)
    windows, frequency, frame = _window(path, main, spw)
    order, notes = io.ascending(path, frequency)
    number, name = _field(path, main, windows, field)
    rows, refused = _rows(path, main, windows, number)
    selected = main.selectrows(rows)
    column, weights = _columns(path, selected, column, weights)
    vis, weight = _samples(path, selected, windows, column, weights, order, phase_sign, refused)
    uvw = selected.getcol("UVW")
    u, v = (frequency[order][:, None] / SPEED_OF_LIGHT * uvw[:, k] for k in (0, 1))
    first, second = (selected.getcol(f"ANTENNA{k}").astype(int) for k in (1, 2))
    metadata = _metadata(path, number, next(iter(windows)), np.unique([first, second]), rest_frequency_hz)
    notes = [f"read {column} with {weights}", *metadata["notes"], *notes, *io.conjugation(phase_sign), *io.refusals(refused)]
    metadata |= {"frame": frame, "source": name, "notes": notes}
    found = io.Visibilities(u, v, vis, weight, weight <= 0, frequency[order], metadata, selected.getcol("TIME"), first * 65536 + second)
    return io.usable(path, found)


def _open(path, part: str = ""):
    """The main table or a table of its name."""
    try:
        from casacore import tables
    except ImportError as error:
        raise InputError(f"{path} is a MeasurementSet and python-casacore is not installed ({error}); install it or export to UVFITS in CASA") from error
    try:
        return tables.table(str(Path(path) / part), ack=False)
    except RuntimeError as error:
        raise InputError(f"{path}{f'/{part}' if part else ''} is no readable MeasurementSet ({error})") from error


def _window(path, main, spw) -> tuple[dict, np.ndarray, str | None]:
    """{window: its data descriptions}, channel frequencies [Hz] and frame of the chosen windows."""
    of_description = _open(path, "DATA_DESCRIPTION").getcol("SPECTRAL_WINDOW_ID")
    spectral = _open(path, "SPECTRAL_WINDOW")
    present = sorted({int(of_description[k]) for k in np.unique(main.getcol("DATA_DESC_ID"))})
    if not present:
        raise InputError(f"{path} holds no visibility: its main table is empty")
    frequencies = {k: spectral.getcell("CHAN_FREQ", k) for k in present}
    listing = "; ".join(f"{k}: {len(f)} channels, {f.min() / 1e9:.4f} to {f.max() / 1e9:.4f} GHz" for k, f in frequencies.items())
    wanted = spw if isinstance(spw, list | tuple) else [spw]
    wanted = [chosen(path, "spw", one, present, listing) for one in wanted]
    frequency = frequencies[wanted[0]]
    for other in wanted[1:]:
        width = np.abs(spectral.getcell("CHAN_WIDTH", other)).min()
        if len(frequencies[other]) != len(frequency) or np.abs(frequencies[other] - frequency).max() > SAME_CHANNEL * width:
            raise InputError(f"{path}: windows {wanted} have other channels; bring them to one grid with mstransform in CASA. There are {listing}")
    return {k: np.flatnonzero(of_description == k) for k in wanted}, frequency, _frame(spectral, wanted[0])


def _frame(spectral, window: int) -> str | None:
    info = spectral.getcolkeyword("CHAN_FREQ", "MEASINFO")
    codes = dict(zip(np.ravel(info.get("TabRefCodes", [])).tolist(), info.get("TabRefTypes", []), strict=True))
    standard = {0: "REST", 1: "LSRK", 2: "LSRD", 3: "BARY", 4: "GEO", 5: "TOPO", 6: "GALACTO", 7: "LGROUP", 8: "CMB"}
    frame = (codes or standard).get(int(spectral.getcell("MEAS_FREQ_REF", window)))
    return None if frame == "Undefined" else frame


def _field(path, main, windows, field) -> tuple[int, str]:
    """Number and name of the field."""
    names = _open(path, "FIELD").getcol("NAME")
    of_rows = main.getcol("FIELD_ID")[np.isin(main.getcol("DATA_DESC_ID"), np.concatenate(list(windows.values())))]
    present = np.unique(of_rows).tolist()
    numbers = {names[k]: k for k in present}
    listing = "; ".join(f"{k}: {names[k]}" for k in present)
    number = chosen(path, "field", numbers.get(field, field), present, listing)
    return number, names[number]


def _rows(path, main, windows, field: int) -> tuple[np.ndarray, Counter]:
    """Rows of the windows and field that are no autocorrelations."""
    wanted = np.isin(main.getcol("DATA_DESC_ID"), np.concatenate(list(windows.values()))) & (main.getcol("FIELD_ID") == field)
    cross = main.getcol("ANTENNA1") != main.getcol("ANTENNA2")
    rows = np.flatnonzero(wanted & cross)
    refused = Counter(autocorrelations=int((wanted & ~cross).sum()))
    if not len(rows):
        raise InputError(f"{path}: no visibility can be used: {refused['autocorrelations']} autocorrelations and nothing else of this window and field")
    return rows, refused


def _columns(path, table, column, weights) -> tuple[str, str]:
    """Names of the columns of data and weights."""
    names = table.colnames()
    choices = [name for name in ("CORRECTED_DATA", "DATA") if name in names]
    if not choices or column not in (None, *choices):
        raise InputError(f"{path} has no column {column or 'DATA'}; it has {', '.join(choices) or 'none with visibilities'}")
    filled = "WEIGHT_SPECTRUM" in names and table.iscelldefined("WEIGHT_SPECTRUM", 0)
    known = ["WEIGHT_SPECTRUM", "WEIGHT"] if filled else ["WEIGHT"]
    if weights not in (None, *known):
        raise InputError(f"{path}: weights = {weights!r}; it has {', '.join(known)}")
    return column or choices[0], weights or known[0]


def _hands(path, windows) -> list[int]:
    """Places of the parallel hands among the correlations."""
    of_description = _open(path, "DATA_DESCRIPTION").getcol("POLARIZATION_ID")
    setups = {int(of_description[k]) for descriptions in windows.values() for k in descriptions}
    codes = [_open(path, "POLARIZATION").getcell("CORR_TYPE", k).tolist() for k in setups]
    if any(other != codes[0] for other in codes):
        raise InputError(f"{path}: the windows have several polarisation setups ({codes}); split one off in CASA or choose by the option spw")
    for wanted in PRODUCTS.values():
        if any(code in codes[0] for code in wanted):
            return [codes[0].index(code) for code in wanted if code in codes[0]]
    raise InputError(f"{path} has no parallel hands: its CORR_TYPE are {codes[0]}; XX, YY, RR, LL or I are needed")


def _samples(path, table, windows, column, weights, order, phase_sign, refused) -> tuple[np.ndarray, np.ndarray]:
    """vis and weight (n_chan, n_vis) of all rows, weight 0 where unusable, in chunks of rows."""
    hands = _hands(path, windows)
    shape = (len(order), table.nrows())
    vis, weight = np.empty(shape, np.complex64), np.empty(shape, np.float32)
    step = max(1, CHUNK // max(1, table.getcell(column, 0).nbytes))
    for start in range(0, shape[1], step):
        here = {"startrow": start, "nrow": min(step, shape[1] - start)}
        data = table.getcol(column, **here)[:, :, hands]
        flag = table.getcol("FLAG", **here)[:, :, hands] | table.getcol("FLAG_ROW", **here)[:, None, None]
        weighting = table.getcol(weights, **here)
        weighting = weighting[:, :, hands] if weighting.ndim == 3 else np.broadcast_to(weighting[:, None, hands], data.shape)
        stokes, combined, reasons = io.stokes_i(data, weighting, flag, phase_sign)
        refused.update(reasons)
        vis[:, start : start + step] = stokes.T[order]
        weight[:, start : start + step] = combined.T[order]
    return vis, weight


def _metadata(path, field: int, window: int, antennas, rest_frequency_hz) -> dict:
    """Keys of `io.Visibilities.metadata` that stand in the small tables."""
    fields, dishes = _open(path, "FIELD"), _open(path, "ANTENNA")
    diameters = np.unique(dishes.getcol("DISH_DIAMETER")[antennas])
    several = [f"dishes of {', '.join(f'{d:g}' for d in diameters)} m are mixed: no common dish diameter"] if len(diameters) > 1 else []
    reference = fields.getcolkeyword("PHASE_DIR", "MEASINFO").get("Ref", "J2000")
    elsewhere = [f"phase centre in {reference}, taken as it stands"] if reference not in ("J2000", "ICRS", "FK5") else []
    names = _open(path, "OBSERVATION").getcol("TELESCOPE_NAME")
    return {
        "rest_frequency_hz": rest_frequency_hz or _rest_frequency(path, fields.getcell("SOURCE_ID", field), window),
        "phase_centre_deg": _on_sky(fields.getcell("PHASE_DIR", field)[0]),
        "dish_diameter_m": float(diameters[0]) if len(diameters) == 1 and diameters[0] > 0 else None,
        "location_itrf_m": dishes.getcol("POSITION")[antennas].mean(axis=0).tolist(),
        "telescope": names[0].strip() or None if names else None,
        "notes": [*several, *elsewhere],
    }


def _on_sky(direction) -> list[float]:
    """[rad] as right ascension 0 to 360 and declination [deg]."""
    return [float(np.degrees(direction[0]) % 360), float(np.degrees(direction[1]))]


def _rest_frequency(path, source: int, window: int) -> float | None:
    """[Hz] of the SOURCE table, None where it is missing or no frequency of a line."""
    if not (Path(path) / "SOURCE").exists():
        return None
    table = _open(path, "SOURCE")
    for row in range(table.nrows()):
        if table.getcell("SOURCE_ID", row) == source and table.getcell("SPECTRAL_WINDOW_ID", row) in (window, -1):
            if not table.iscelldefined("REST_FREQUENCY", row):
                continue
            value = float(np.ravel(table.getcell("REST_FREQUENCY", row))[0])
            return value if value >= io.LOWEST_FREQUENCY else None
    return None
