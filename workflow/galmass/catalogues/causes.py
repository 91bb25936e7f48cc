"""Structural causal models: variables whose causes are the arguments of their equations.

A variable is a function. Its arguments name its causes, so the graph is read off the equations and cannot
say anything else. Two arguments are no causes: ``noise``, standard normal and the variable's own, and
``k``, the settings. A variable without ``noise`` is determined by its causes.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from galmass.errors import InputError
from galmass.stores import Column

_NO_CAUSES = ("noise", "k")


@dataclass(frozen=True)
class Variable:
    """One variable of a model.

    Attributes
    ----------
    name : str
    equation : callable
        Values (n_galaxy,), or (n_galaxy, n_band) where there are bands.
    label : Column
        Unit and description; ``{band}`` in it stands for the band.
    bands : tuple of str
        Empty for one number per galaxy.
    column : str
        Name of the column of a band, with ``{band}``; of the only column without bands.
    strengths : dict of str
        Cause -> setting that multiplies its effect: where that setting is 0 the arrow is not there.
    measures : str
        Of a measurement: the variable that it is without its noise.
    """

    name: str
    equation: Callable
    label: Column
    bands: tuple[str, ...]
    column: str
    strengths: Mapping[str, str]
    measures: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """Everything that the equation takes."""
        return tuple(inspect.signature(self.equation).parameters)

    @property
    def causes(self) -> tuple[str, ...]:
        """Names of the variables that the equation takes."""
        return tuple(name for name in self.arguments if name not in _NO_CAUSES)

    @property
    def random(self) -> bool:
        """Whether it has noise of its own."""
        return "noise" in self.arguments

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns, one per band."""
        return tuple(self.column.format(band=band) for band in self.bands) or (self.column,)

    @property
    def labels(self) -> dict[str, Column]:
        """Unit and description of every column."""
        bands = self.bands or ("",)
        return {name: Column(self.label.unit, self.label.description.format(band=band)) for name, band in zip(self.columns, bands, strict=True)}


@dataclass(frozen=True)
class Model:
    """Variables in an order in which causes come first."""

    variables: dict[str, Variable] = field(default_factory=dict)

    def variable(self, unit: str, bands: Iterable[str] = (), column: str = "", strengths: Mapping[str, str] | None = None, measures: str = ""):
        """Decorate an equation to make it a variable named after the function and described by its docstring."""

        def declare(equation: Callable) -> Callable:
            name, own_bands = equation.__name__, tuple(bands)
            label = Column(unit, inspect.getdoc(equation).rstrip("."))
            declared = Variable(name, equation, label, own_bands, column or (f"{name}_{{band}}" if own_bands else name), strengths or {}, measures)
            unknown = [cause for cause in (*declared.causes, *filter(None, [measures])) if cause not in self.variables]
            if unknown:
                raise InputError(f"variable {name} has the causes {', '.join(unknown)}, which are not declared before it")
            self.variables[name] = declared
            return equation

        return declare

    def shape(self, name: str, n: int) -> tuple[int, ...]:
        """Shape of the values and of the noise of a variable."""
        bands = self.variables[name].bands
        return (n, len(bands)) if bands else (n,)

    def noise(self, n: int, seed: Iterable[int]) -> dict[str, np.ndarray]:
        """Standard normal noise of every variable that has some; a stream for each, so that no variable changes another's."""
        seed = list(seed)
        return {name: np.random.default_rng([*seed, *name.encode()]).standard_normal(self.shape(name, n)) for name, one in self.variables.items() if one.random}

    def evaluate(self, noise: Mapping, settings: Mapping, do: Mapping | None = None, wanted: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """Values of all variables, or of those wanted and their causes.

        Parameters
        ----------
        noise : mapping of str -> array
            As `noise` gives it.
        settings : mapping
            The ``k`` of the equations.
        do : mapping of str -> array, optional
            Interventions: these variables take these values whatever their causes.
        wanted : names, optional
        """
        k, values, needed = SimpleNamespace(**settings), dict(do or {}), self._needed(wanted)
        for name, one in self.variables.items():
            if name not in values and name in needed:
                given = {cause: self._in_bands(cause, values[cause], one) for cause in one.causes}
                extra = {"noise": noise.get(name), "k": k}
                values[name] = one.equation(**given, **{key: extra[key] for key in _NO_CAUSES if key in one.arguments})
        return values

    def _needed(self, wanted: Iterable[str]) -> set[str]:
        """The wanted variables and all their causes; all variables where none is named."""
        needed = set(wanted) or set(self.variables)
        for name in reversed(self.variables):
            needed |= set(self.variables[name].causes) if name in needed else set()
        return needed

    def _in_bands(self, cause: str, values: np.ndarray, effect: Variable) -> np.ndarray:
        """The bands of a cause that its effect has, or all where the effect has none."""
        bands = self.variables[cause].bands
        if not bands or not effect.bands or bands == effect.bands:
            return values
        return values[:, [bands.index(band) for band in effect.bands]]

    def table(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Values by column name, (n_galaxy,) each."""
        columns = {}
        for name, one in self.variables.items():
            columns |= dict(zip(one.columns, np.atleast_2d(np.transpose(values[name])), strict=True))
        return columns

    def labels(self) -> dict[str, Column]:
        """Unit and description of every column."""
        return {name: label for one in self.variables.values() for name, label in one.labels.items()}

    def graph(self, settings: Mapping):
        """The directed graph of the columns (networkx.DiGraph); arrows of strength 0 are left out.

        A band of a variable is caused by the same band of a cause that has bands, and by a cause that has none. The node of a
        measurement says which column it ``measures``.
        """
        import networkx

        drawn = networkx.DiGraph()
        for name, one in self.variables.items():
            for column in one.columns:
                drawn.add_node(column, variable=name, random=one.random)
            if one.measures:
                arrows = self._arrows(self.variables[one.measures], one)
                networkx.set_node_attributes(drawn, {column: without_noise for without_noise, column in arrows}, "measures")
            for cause in one.causes:
                if settings.get(one.strengths.get(cause), 1) != 0:
                    drawn.add_edges_from(self._arrows(self.variables[cause], one))
        return drawn

    def _arrows(self, cause: Variable, effect: Variable) -> list[tuple[str, str]]:
        if cause.bands and effect.bands:
            return [(cause.column.format(band=band), effect.column.format(band=band)) for band in effect.bands]
        return [(a, b) for a in cause.columns for b in effect.columns]
