"""What a set of visibilities is, in one convention whatever the file, and the store that keeps it.

The convention of this package is ``V(u, v) = int I(l, m) exp(-2 pi i (u l + v m)) dl dm`` with l to the east and m to the north. The
readers take `phase_sign`, the sign of the exponent in the file, and conjugate where it is +1.
"""

import inspect
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from galmass import stores
from galmass.errors import InputError

LOWEST_FREQUENCY = 1e9  # Hz: a line of ALMA or the VLA (1 to 950 GHz) given in GHz, MHz or kHz lies below, in Hz above
LABEL = "galmass visibilities"
COLUMNS = {  # axes and label of what a store holds
    "u": (("channel", "visibility"), stores.Column("", "baseline towards the east [wavelengths]")),
    "v": (("channel", "visibility"), stores.Column("", "baseline towards the north [wavelengths]")),
    "vis": (("channel", "visibility"), stores.Column("Jy", "Stokes I visibility, exp(-2 pi i (u l + v m))")),
    "weight": (("channel", "visibility"), stores.Column("Jy-2", "1 / sigma^2 of the real part, 0 where flagged")),
    "flag": (("channel", "visibility"), stores.Column("", "true where not to be used")),
    "frequency": (("channel",), stores.Column("Hz", "centre of the channel in the frame of the metadata")),
    "time": (("visibility",), stores.Column("s", "Modified Julian Date in seconds, UTC")),
    "baseline": (("visibility",), stores.Column("", "number of the pair of antennas")),
    "std": (("channel", "visibility"), stores.Column("Jy", "standard error of the real part + i that of the imaginary part, of gridded data")),
    "taper": (("y", "x"), stores.Column("", "image-plane factor of the gridding kernel, to be multiplied into the image")),
}
_TABLES = tuple(ending + packing for ending in (".txt", ".dat", ".csv", ".uvtable") for packing in ("", ".gz", ".bz2"))
FORMS = ("MeasurementSet", "UVFITS", "viscube .npz", "table of u v Re Im w", "galmass store")


@dataclass(frozen=True, eq=False)
class Visibilities:
    """Stokes I visibilities of one field in channels of ascending frequency.

    Attributes
    ----------
    u, v : (n_vis,) or (n_chan, n_vis) float64
        [wavelengths].
    vis : (n_chan, n_vis) complex
        [Jy], 0 where flagged.
    weight : (n_chan, n_vis) float
        1 / sigma^2 of the real part = of the imaginary part [Jy^-2], 0 where flagged.
    flag : (n_chan, n_vis) bool
        True: not to be used.
    frequency : (n_chan,) float64
        [Hz], ascending.
    metadata : dict
        frame ("LSRK", "TOPO", ...; None: unknown), rest_frequency_hz, phase_centre_deg, dish_diameter_m, location_itrf_m, telescope,
        source (None where the file does not say), notes (what was done, in sentences); grid of gridded data.
    time, baseline : (n_vis,) float64 and int, or None
        Modified Julian Date [s] and a number for each pair of antennas, for differences in time.
    std, taper : (n_chan, n_vis) complex and (n_pix, n_pix), or None
        Standard errors and kernel of gridded data.
    """

    u: np.ndarray
    v: np.ndarray
    vis: np.ndarray
    weight: np.ndarray
    flag: np.ndarray
    frequency: np.ndarray
    metadata: dict
    time: np.ndarray | None = None
    baseline: np.ndarray | None = None
    std: np.ndarray | None = None
    taper: np.ndarray | None = None

    def __post_init__(self):
        shape = self.vis.shape
        fitting = {name: getattr(self, name).shape == shape for name in ("vis", "weight", "flag")}
        fitting |= {name: getattr(self, name).shape in (shape, shape[1:]) for name in ("u", "v")}
        wrong = [name for name, fits in fitting.items() if not fits or len(shape) != 2]
        if wrong or self.frequency.shape != shape[:1]:
            raise InputError(f"visibilities of shape {shape} do not go with {', '.join(wrong) or 'frequency'}; (n_chan, n_vis) is meant")

    def noted(self, *notes: str, **changes) -> "Visibilities":
        """A copy with `changes` of fields or of metadata (keys that are no field), and `notes` added."""
        names = {field.name for field in fields(self)}
        metadata = {**self.metadata, **{k: v for k, v in changes.items() if k not in names}}
        metadata["notes"] = [*self.metadata.get("notes", []), *notes]
        return replace(self, metadata=metadata, **{k: v for k, v in changes.items() if k in names})


def read(path, **options) -> Visibilities:
    """Visibilities of a file or folder of any form in `FORMS`; `options` are those of its reader.

    Raises
    ------
    InputError
        When the form is not known, an option does not belong to it, or nothing in it can be used.
    """
    form = form_of(path)
    reader = _reader(form)
    known = [name for name in inspect.signature(reader).parameters if name != "path"]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InputError(f"{path} is a {form}: it has no option {', '.join(unknown)}; its options are {', '.join(known) or 'none'}")
    return reader(path, **options)


def _reader(form: str):
    from galmass.visibilities import measurement_set, tables, uvfits  # which themselves import this module

    readers = (measurement_set.read, uvfits.read, tables.read_gridded, tables.read_table, read_store)
    return dict(zip(FORMS, readers, strict=True))[form]


def form_of(path) -> str:
    """Name of the form, by what the folder holds or the file is called."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; it should hold visibilities: {', '.join(FORMS)}")
    if path.is_dir():
        for part, form in (("table.dat", "MeasurementSet"), ("zarr.json", "galmass store")):
            if (path / part).exists():
                return form
        raise InputError(f"{path} is a folder but neither a MeasurementSet (it has no table.dat) nor a galmass store (no zarr.json)")
    name = path.name.lower()
    for endings, form in (((".uvfits", ".fits", ".uvf"), "UVFITS"), ((".npz",), "viscube .npz"), (_TABLES, "table of u v Re Im w")):
        if name.endswith(endings):
            return form
    raise InputError(f"{path}: no form of visibilities ends like this; known are .ms, .uvfits, .npz, .zarr and {', '.join(_TABLES)}")


def write(path, visibilities: Visibilities) -> dict[str, str]:
    """Write a Zarr store; returns the SHA-256 of each array."""
    arrays = {}
    for name, (axes, label) in COLUMNS.items():
        array = getattr(visibilities, name)
        if array is not None:
            arrays[name] = (array, axes[-np.ndim(array) :], label)
    return stores.write_arrays(path, arrays, {"content": LABEL, "visibilities": visibilities.metadata})


def read_store(path, digests=None) -> Visibilities:
    """Visibilities that `write` stored, compared with their digests (and with `digests` where given)."""
    arrays, metadata = stores.read_arrays(path, digests)
    if metadata.get("content") != LABEL:
        raise InputError(f"{path} is a Zarr store of something else than visibilities; give what import_visibilities wrote")
    return Visibilities(**arrays, metadata=metadata["visibilities"])


def ascending(path, frequency) -> tuple[np.ndarray, list[str]]:
    """Order of the channels that makes `frequency` [Hz] ascend, and a note where that is not the file's.

    Raises
    ------
    InputError
        When a frequency is no number of Hz, or two channels share one.
    """
    frequency = np.asarray(frequency, float)
    if not (np.isfinite(frequency).all() and frequency.size):
        raise InputError(f"{path}: channel frequencies are missing or not finite; the file cannot be used")
    require_hertz(path, "frequency", frequency.min())
    order = np.argsort(frequency, kind="stable")
    steps = np.diff(frequency[order])
    if (steps <= 0).any():
        same = frequency[order][:-1][steps <= 0][0]
        raise InputError(f"{path}: two channels lie at {same:.0f} Hz; select one spectral window (option spw) or remove the double channels")
    if (order == np.arange(len(order))).all():
        return order, []
    descending = (np.diff(frequency) < 0).all()
    return order, ["channels reversed: the file has them in descending frequency" if descending else "channels sorted: the file has them in no order"]


def require_hertz(path, key: str, value: float) -> None:
    """Raise `InputError` where a frequency cannot be in Hz."""
    if not value > 0:
        raise InputError(f"{path}: {key} = {value:g} is no frequency; it must be positive and in Hz")
    if value < LOWEST_FREQUENCY:
        unit = "GHz" if value < 1e3 else "MHz" if value < 1e6 else "kHz"
        raise InputError(f"{path}: {key} = {value:g} looks like {unit}; it must be in Hz (a line of ALMA or the VLA lies above {LOWEST_FREQUENCY:g} Hz)")


def stokes_i(vis, weight, flag, phase_sign: int = 1) -> tuple[np.ndarray, np.ndarray, Counter]:
    """Stokes I of both parallel hands (last axis, 1 or 2 long), its weight (0: unusable), and how many samples were refused, by reason.

    I is the plain mean of the hands, (XX + YY)/2 or (RR + LL)/2, of weight 4 / (1/w1 + 1/w2): exact for a polarised source too,
    which a weighted mean is not. Where one hand is refused the other stands for I with its own weight (right for an unpolarised source).
    """
    finite = np.isfinite(vis) & np.isfinite(weight)
    weighted = finite & (weight > 0)
    usable = weighted & ~flag
    refused = Counter(flagged=int(flag.sum()), nan=int((~flag & ~finite).sum()), weight=int((~flag & finite & ~weighted).sum()))
    count = usable.sum(-1)
    total = np.where(usable, vis, 0).sum(-1) / np.maximum(count, 1)
    variance = np.divide(1, weight, out=np.zeros(weight.shape, weight.dtype), where=usable).sum(-1)
    combined = np.divide((count**2).astype(variance.dtype), variance, out=np.zeros_like(variance), where=count > 0)
    return (total if phase_sign < 0 else total.conj()), combined, refused


def refusals(refused: Counter) -> list[str]:
    """Sentences for the notes."""
    reasons = {
        "autocorrelations": "{} rows are autocorrelations: left out",
        "flagged": "{} samples of the parallel hands are flagged in the file",
        "nan": "{} samples refused: visibility or weight is NaN or infinite",
        "weight": "{} samples refused: weight zero or negative",
    }
    return [text.format(refused[reason]) for reason, text in reasons.items() if refused[reason]]


def conjugation(phase_sign: int) -> list[str]:
    """Note on what `stokes_i` did to the sign of the exponent."""
    return ["conjugated: the file has exp(+2 pi i (u l + v m))"] if phase_sign > 0 else []


def require_phase_sign(path, phase_sign) -> None:
    """Raise `InputError` unless the sign is one."""
    if phase_sign not in (1, -1):
        raise InputError(f"{path}: phase_sign = {phase_sign!r}; it must be 1 or -1, the sign in exp(+-2 pi i (u l + v m)) of the file")


def usable(path, visibilities: Visibilities) -> Visibilities:
    """The visibilities with a note on channels that hold nothing; `InputError` where none holds anything or the rest frequency is not in Hz."""
    if visibilities.metadata["rest_frequency_hz"] is not None:
        require_hertz(path, "rest_frequency_hz", visibilities.metadata["rest_frequency_hz"])
    empty = visibilities.flag.all(axis=1)
    if empty.all():
        done = "; ".join(visibilities.metadata["notes"])
        raise InputError(f"{path}: no visibility can be used, all are flagged or refused ({done or 'the file is empty'})")
    if not empty.any():
        return visibilities
    return visibilities.noted(f"channels {', '.join(map(str, np.flatnonzero(empty)))} hold no usable visibility: flagged")
