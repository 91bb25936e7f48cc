"""What a network is fed: columns of a catalogue and images as a modality, standardised on training galaxies."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from galmass.catalogues.schema import LIMIT_SIGNAL_TO_NOISE
from galmass.errors import InputError

CLIP = 8.0  # standard deviations; a galaxy further out tells the network no more than that it is far out
LIMIT_ERROR = 2.5 / np.log(10) / LIMIT_SIGNAL_TO_NOISE  # mag, where the network is given a limit


@dataclass(frozen=True)
class Images:
    """Images of one store that a network sees.

    Attributes
    ----------
    store : str
        'optical' or 'infrared'.
    bands : tuple of str
    n_pix : int, optional
        Side of the square about the centre that is seen; the stamps of the store may be larger. None: theirs (`sized`).
    normalise : str
        'none', or 'petro_flux': divided by the band's Petrosian flux, so that only the form is seen.
    """

    store: str
    bands: tuple[str, ...]
    n_pix: int | None = None
    normalise: str = "none"

    @classmethod
    def from_config(cls, entry: Mapping) -> "Images":
        """From one entry of ``modalities.<name>.images`` in the configuration."""
        return cls(entry["store"], tuple(entry["bands"]), entry.get("n_pix"), entry.get("normalise", "none"))

    @property
    def flux_columns(self) -> tuple[str, ...]:
        """Columns [nanomaggy] that the images are divided by."""
        return tuple(f"petro_flux_{band}" for band in self.bands) if self.normalise == "petro_flux" else ()


@dataclass(frozen=True)
class Modality:
    """The inputs of a network.

    Attributes
    ----------
    name : str
    values : tuple of str
        Columns that are whitened together (magnitudes). Where there are no images, the network gives them
        back; beside images they are fed like the scalars.
    errors : tuple of str
        Their standard errors, as far as used; seen as logarithms.
    scalars : dict of str
        Further columns and how each is seen: 'linear' or 'log'.
    images : tuple of Images
        Images that the network sees and gives back, all brought to the pixels and the field of the first.
    """

    name: str
    values: tuple[str, ...]
    errors: tuple[str, ...]
    scalars: dict[str, str]
    images: tuple[Images, ...] = ()

    @classmethod
    def from_config(cls, name: str, entry: Mapping) -> "Modality":
        """From one entry of ``modalities`` in the configuration; ``images`` is a table, or a list of them, or absent."""
        images = entry.get("images") or []
        images = [images] if isinstance(images, Mapping) else images
        return cls(name, tuple(entry["values"]), tuple(entry["errors"]), dict(entry["scalars"]), tuple(map(Images.from_config, images)))

    def to_dict(self) -> dict:
        """For JSON; without images the entry is left out, as before there were any."""
        entry = asdict(self)
        return entry if self.images else {name: value for name, value in entry.items() if name != "images"}

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that it reads."""
        return (*self.values, *self.errors, *self.scalars, *self.flux_columns)

    @property
    def flux_columns(self) -> tuple[str, ...]:
        """Columns [nanomaggy] that images are divided by."""
        return tuple(dict.fromkeys(name for images in self.images for name in images.flux_columns))

    @property
    def n_band(self) -> int:
        """Bands of all its images."""
        return sum(len(images.bands) for images in self.images)

    @property
    def n_pix(self) -> int:
        """Side of the images that the network sees."""
        return self.images[0].n_pix

    def limited(self, frame) -> dict[str, np.ndarray]:
        """Of the columns with limits (``<column>_limit``), which galaxies (n_galaxy,) have a limit and no measurement."""
        known = [name for name in (*self.values, *self.scalars) if f"{name}_limit" in frame]
        return {name: ~np.isfinite(frame[name].to_numpy(float)) & np.isfinite(frame[f"{name}_limit"].to_numpy(float)) for name in known}

    def limits(self, frame) -> dict[str, int]:
        """How many galaxies are given a limit in place of a measurement, by column."""
        return {name: int(limited.sum()) for name, limited in self.limited(frame).items() if limited.any()}

    def inputs(self, frame) -> dict[str, np.ndarray]:
        """Every column (n_galaxy,) as the network is given it, NaN where there is nothing to give.

        What was not detected is given as its limit, as if measured at the limit's signal-to-noise: its error, ``<column>_err``, is `LIMIT_ERROR`.
        """
        given = {name: frame[name].to_numpy(float) for name in self.columns}
        for name, limited in self.limited(frame).items():
            given[name] = np.where(limited, frame[f"{name}_limit"].to_numpy(float), given[name])
            if f"{name}_err" in given:
                given[f"{name}_err"] = np.where(limited, LIMIT_ERROR, given[f"{name}_err"])
        return given

    def complete(self, frame) -> np.ndarray:
        """Mask (n_galaxy,) of galaxies for which every column is measured, or has a limit."""
        return np.isfinite(_side_by_side([*self.inputs(frame).values()], len(frame))).all(axis=1)

    def arrays(self, frame) -> tuple[np.ndarray, np.ndarray]:
        """Values (n_galaxy, n_value) and context (n_galaxy, n_error + n_scalar), before standardisation.

        Raises
        ------
        InputError
            A column is not there, holds NaN or infinity, or must be positive for its logarithm and is not.
        """
        missing = [name for name in self.columns if name not in frame]
        if missing:
            raise InputError(f"modality {self.name} needs the columns {', '.join(missing)}, which the catalogue does not have")
        given = self.inputs(frame)
        for name, column in given.items():
            if not np.isfinite(column).all():
                raise InputError(f"modality {self.name}: column {name} holds NaN or infinity; leave those galaxies out first")
        logarithmic = [*self.errors, *(name for name, kind in self.scalars.items() if kind == "log")]
        for name in logarithmic:
            if not (given[name] > 0).all():
                raise InputError(f"modality {self.name}: column {name} has values <= 0, but is seen as a logarithm")
        context = [np.log(given[name]) if name in logarithmic else given[name] for name in (*self.errors, *self.scalars)]
        return _side_by_side([given[name] for name in self.values], len(frame)), _side_by_side(context, len(frame))


def _side_by_side(columns: list, n_galaxy: int) -> np.ndarray:
    """Columns as one array (n_galaxy, n_column), also where there are none."""
    return np.stack(columns, axis=1) if columns else np.empty((n_galaxy, 0))


@dataclass(frozen=True)
class Standardisation:
    """Whitening of the values, and centre and scale of the context, fitted on training galaxies.

    Attributes are nested lists, so that they go with the model as JSON: ``value_mean`` (n_value,),
    ``value_whitening`` (n_value, n_value), ``context_mean``, ``context_scale`` (n_context,).
    """

    value_mean: list
    value_whitening: list
    context_mean: list
    context_scale: list

    @classmethod
    def fit(cls, values, context, modality: Modality) -> "Standardisation":
        """Principal axes of the values, scaled to unit variance: the first is about the brightness, the rest colours.

        Raises
        ------
        InputError
            A column is constant, or the values are linearly dependent, among these galaxies.
        """
        scale, names = context.std(0), (*modality.errors, *modality.scalars)
        if not modality.images and not modality.values:
            raise InputError(f"modality {modality.name} has neither values nor images; one of them is needed")
        constant = [name for name, column in zip((*modality.values, *names), np.hstack([values, context]).T, strict=True) if np.ptp(column) == 0]
        if constant:
            raise InputError(f"modality {modality.name}: constant among the training galaxies: {', '.join(constant)}")
        if not modality.values:
            return cls([], [], context.mean(0).tolist(), scale.tolist())
        variance, axes = np.linalg.eigh(np.atleast_2d(np.cov(values, rowvar=False)))
        if variance[0] < 1e-10 * variance[-1]:
            raise InputError(f"modality {modality.name}: the columns {', '.join(modality.values)} are linearly dependent")
        axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(len(axes))])  # the sign of an eigenvector is arbitrary
        return cls(values.mean(0).tolist(), (axes / np.sqrt(variance)).tolist(), context.mean(0).tolist(), scale.tolist())

    def apply(self, values, context) -> tuple[np.ndarray, np.ndarray]:
        """Standardised values and context as float32, clipped at +-`CLIP`."""
        whitened = (values - np.array(self.value_mean)) @ np.array(self.value_whitening) if self.value_mean else np.empty((len(values), 0))
        scaled = (context - np.array(self.context_mean)) / np.array(self.context_scale)
        return np.clip(whitened, -CLIP, CLIP).astype(np.float32), np.clip(scaled, -CLIP, CLIP).astype(np.float32)

    def to_dict(self) -> dict:
        """For JSON."""
        return asdict(self)


def bin_edges(mass_range, width: float) -> np.ndarray:
    """Edges of the mass bins [log10 M_sun], (n_bin + 1,).

    Raises
    ------
    InputError
        When the width does not divide the range.
    """
    low, high = mass_range
    n_bin = round((high - low) / width)
    if n_bin < 2 or abs(n_bin * width - (high - low)) > 1e-6:
        raise InputError(f"mass bins of {width} dex do not divide the range {low} to {high} dex")
    return np.linspace(low, high, n_bin + 1)


def bin_index(mass, edges) -> np.ndarray:
    """Bin of each mass, (n_galaxy,) int64; -1 where it lies in none."""
    index = np.searchsorted(edges, mass, side="right") - 1
    index = np.where(mass == edges[-1], len(edges) - 2, index)
    return np.where((mass >= edges[0]) & (mass <= edges[-1]), index, -1)


def usable(frame, modality: Modality, edges, cutouts: Mapping | None = None) -> tuple[np.ndarray, dict[str, int]]:
    """Mask (n_galaxy,) of galaxies that can be used for training and scores, and what is left out, counted.

    Parameters
    ----------
    cutouts : mapping of str to galmass.images.store.Cutouts, optional
        The open stores of the modality's images, by name.
    """
    keep, counts = modality.complete(frame), {}
    for name, column in modality.inputs(frame).items():
        counts[f"{name} not measured"] = np.isfinite(column)
    for images in modality.images:
        counts[f"no {images.store} image"] = np.isin(frame["galaxy_id"].astype(str).to_numpy(), opened(cutouts, images, modality).galaxy_id)
    counts[f"mass outside {edges[0]:g} to {edges[-1]:g} dex"] = bin_index(frame["log_mass"].to_numpy(float), edges) >= 0
    for good in counts.values():
        keep = keep & good
    return keep, {reason: int(np.sum(~good)) for reason, good in counts.items() if not good.all()}


def opened(cutouts: Mapping | None, images: Images, modality: Modality):
    """The store of these images.

    Raises
    ------
    InputError
        When it was not given, or has smaller stamps or other bands.
    """
    if images.store not in (cutouts or {}):
        raise InputError(f"modality {modality.name} needs the {images.store} images; given are those of: {', '.join(cutouts or {}) or 'none'}")
    found = cutouts[images.store]
    missing = [band for band in images.bands if band not in found.bands]
    if missing:
        raise InputError(f"modality {modality.name} needs the {images.store} band {', '.join(missing)}; the store has {', '.join(found.bands)}")
    if images.n_pix is not None and (found.n_pix < images.n_pix or (found.n_pix - images.n_pix) % 2):
        raise InputError(
            f"modality {modality.name}: images.n_pix is {images.n_pix}, and the {images.store} stamps have {found.n_pix} pixels; "
            "at most as many are expected, and an even number fewer, so that the centre stays"
        )
    return found


def sized(modality: Modality, cutouts: Mapping | None) -> Modality:
    """The modality with the side of its stores' stamps wherever it names none."""
    seen = (replace(images, n_pix=images.n_pix or opened(cutouts, images, modality).n_pix) for images in modality.images)
    return replace(modality, images=tuple(seen))
