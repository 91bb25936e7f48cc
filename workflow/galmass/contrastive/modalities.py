"""What a network is fed: columns of a catalogue as a modality, standardised on training galaxies."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from galmass.errors import InputError

CLIP = 8.0  # standard deviations; a galaxy further out tells the network no more than that it is far out


@dataclass(frozen=True)
class Modality:
    """The inputs of a network.

    Attributes
    ----------
    name : str
    values : tuple of str
        Columns that the network sees and gives back (magnitudes); whitened together.
    errors : tuple of str
        Their standard errors, as far as used; seen as logarithms.
    scalars : dict of str
        Further columns and how each is seen: 'linear' or 'log'.
    """

    name: str
    values: tuple[str, ...]
    errors: tuple[str, ...]
    scalars: dict[str, str]

    @classmethod
    def from_config(cls, name: str, entry: Mapping) -> "Modality":
        """From one entry of ``modalities`` in the configuration."""
        return cls(name, tuple(entry["values"]), tuple(entry["errors"]), dict(entry["scalars"]))

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that it reads."""
        return (*self.values, *self.errors, *self.scalars)

    def complete(self, frame) -> np.ndarray:
        """Mask (n_galaxy,) of galaxies for which every column is measured."""
        return np.isfinite(frame[list(self.columns)].to_numpy(float)).all(axis=1)

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
        for name in self.columns:
            if not np.isfinite(frame[name].to_numpy(float)).all():
                raise InputError(f"modality {self.name}: column {name} holds NaN or infinity; leave those galaxies out first")
        logarithmic = [*self.errors, *(name for name, kind in self.scalars.items() if kind == "log")]
        for name in logarithmic:
            if not (frame[name] > 0).all():
                raise InputError(f"modality {self.name}: column {name} has values <= 0, but is seen as a logarithm")
        context = [np.log(frame[name].to_numpy(float)) if name in logarithmic else frame[name].to_numpy(float) for name in (*self.errors, *self.scalars)]
        return frame[list(self.values)].to_numpy(float), np.stack(context, axis=1) if context else np.empty((len(frame), 0))


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
        constant = [name for name, column in zip((*modality.values, *names), np.hstack([values, context]).T, strict=True) if np.ptp(column) == 0]
        if constant:
            raise InputError(f"modality {modality.name}: constant among the training galaxies: {', '.join(constant)}")
        variance, axes = np.linalg.eigh(np.cov(values, rowvar=False))
        if variance[0] < 1e-10 * variance[-1]:
            raise InputError(f"modality {modality.name}: the columns {', '.join(modality.values)} are linearly dependent")
        axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(len(axes))])  # the sign of an eigenvector is arbitrary
        return cls(values.mean(0).tolist(), (axes / np.sqrt(variance)).tolist(), context.mean(0).tolist(), scale.tolist())

    def apply(self, values, context) -> tuple[np.ndarray, np.ndarray]:
        """Standardised values and context as float32, clipped at +-`CLIP`."""
        whitened = (values - np.array(self.value_mean)) @ np.array(self.value_whitening)
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


def usable(frame, modality: Modality, edges) -> tuple[np.ndarray, dict[str, int]]:
    """Mask (n_galaxy,) of galaxies that can be used for training and scores, and what is left out, counted."""
    complete = modality.complete(frame)
    inside = bin_index(frame["log_mass"].to_numpy(float), edges) >= 0
    counts = {name: int(np.sum(~np.isfinite(frame[name].to_numpy(float)))) for name in modality.columns}
    left_out = {f"{name} not measured": n for name, n in counts.items() if n}
    if not inside.all():
        left_out[f"mass outside {edges[0]:g} to {edges[-1]:g} dex"] = int(np.sum(~inside))
    return complete & inside, left_out
