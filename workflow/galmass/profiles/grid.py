"""A regular grid of Nuker profiles in their four parameters, part of it held out."""

from collections.abc import Mapping

import numpy as np

from galmass.errors import InputError
from galmass.stores import Column

NAMES = ("alpha", "gamma", "beta_minus_gamma", "r_break")
COLUMNS = {
    "parameters": Column("", "alpha, gamma, beta - gamma, r_break [pc] of every node; the last axis varies fastest"),
    "held_out": Column("", "true: no training may see this node"),
    "alpha": Column("", "nodes of the sharpness of the break"),
    "gamma": Column("", "nodes of the inner slope"),
    "beta_minus_gamma": Column("", "nodes of outer minus inner slope"),
    "r_break": Column("pc", "nodes of the break radius"),
}


def axis(name: str, low: float, high: float, count: int, spacing: str) -> np.ndarray:
    """Nodes (count,) of one axis, ends included; `spacing` is linear or log.

    Raises
    ------
    InputError
        When the range is no range.
    """
    if not low < high or (spacing == "log" and low <= 0):
        raise InputError(f"config: deprojection.grid.axes.{name} runs from {low} to {high}; it must rise{' from above 0' if spacing == 'log' else ''}")
    return (np.geomspace if spacing == "log" else np.linspace)(low, high, count)


def build(axes: Mapping[str, Mapping], held_out: float, seed: int) -> dict[str, tuple]:
    """Arrays of the grid, as `stores.write_arrays` takes them.

    Parameters
    ----------
    axes : mapping of name -> {low, high, count, spacing}
        One for each of `NAMES`.
    held_out : float
        Fraction of the nodes that no training sees.
    seed : int
        Of the choice of these nodes.
    """
    nodes = {name: axis(name, *(axes[name][key] for key in ("low", "high", "count", "spacing"))).astype(np.float32) for name in NAMES}
    parameters = np.empty((*map(len, nodes.values()), len(NAMES)), np.float32)
    for i, values in enumerate(np.meshgrid(*nodes.values(), indexing="ij", sparse=True)):
        parameters[..., i] = values
    parameters = parameters.reshape(-1, len(NAMES))
    chosen = np.random.default_rng(seed).random(len(parameters), dtype=np.float32) < held_out
    arrays = {"parameters": (parameters, ("node", "parameter")), "held_out": (chosen, ("node",))}
    arrays |= {name: (values, (name,)) for name, values in nodes.items()}
    return {name: (array, dimensions, COLUMNS[name]) for name, (array, dimensions) in arrays.items()}


def nuker_parameters(nodes: np.ndarray) -> tuple[np.ndarray, ...]:
    """alpha, beta, gamma, r_break, (n, 1) float64 each, of rows of ``parameters``."""
    alpha, gamma, delta, r_break = (nodes[:, i : i + 1].astype(float) for i in range(4))
    return alpha, gamma + delta, gamma, r_break
