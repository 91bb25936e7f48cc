"""A decomposition as tables and lines: what is kept of it, and what is set beside it."""

import math
from collections.abc import Iterator, Mapping

from galmass.information.averages import GAINS
from galmass.information.decomposition import COMPONENTS, INFORMATIONS
from galmass.stores import Column

QUANTITIES = (*INFORMATIONS, *COMPONENTS, *GAINS, "information_against", "gap")
_PARTS = {"first": "information_1", "second": "information_2", "union": "information_12"}
_COLUMNS = {
    "galaxy_id": Column("", "identifier of the galaxy"),
    "log_mass": Column("dex(solMass)", "stellar mass"),
    "galaxy_class": Column("", "star-forming, passive or other"),
    "petro_mag_r": Column("mag", "Petrosian r magnitude"),
    "fold": Column("", "fold of the galaxy: its networks were trained on the others"),
    "prior_nll": Column("nat", "minus the log-probability of the mass by the prior of the other folds"),
    "nll_1": Column("nat", "cross-entropy of the first input, mean density of the ensemble, held out"),
    "nll_2": Column("nat", "the same of the second input"),
    "nll_12": Column("nat", "the same of both"),
    "nll_against": Column("nat", "the same of the input that both are set against"),
    "redundant": Column("nat", "pointwise redundant information"),
    "unique_1": Column("nat", "pointwise information that only the first input has"),
    "unique_2": Column("nat", "pointwise information that only the second input has"),
    "synergistic": Column("nat", "pointwise information that only both together have"),
}


def columns(frame) -> dict[str, Column]:
    """Unit and description of every column of a table of components."""
    return {name: _COLUMNS[name] for name in frame.columns}


def known(truth, inputs: Mapping[str, str], blocks: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Informations [nat] and errors that a simulation knows of the inputs of a tuple.

    What the finite draws of the simulation cost is known to its order alone: it is taken off, and added to the error in quadrature.

    Parameters
    ----------
    truth : DataFrame or None
        With ``columns`` (name of the block), ``nats``, ``nats_error``, ``nats_bias``.
    inputs, blocks : mapping
        Modality of each part of the tuple; block of each modality.
    """
    if truth is None:
        return {}
    rows = truth.set_index("columns")
    found = {quantity: blocks.get(inputs[part]) for part, quantity in _PARTS.items()}
    blocks_of = {quantity: rows.loc[block] for quantity, block in found.items() if block in rows.index}
    return {q: (float(b["nats"] - b["nats_bias"]), math.hypot(b["nats_error"], b["nats_bias"])) for q, b in blocks_of.items()}


def table(summary: Mapping) -> list[dict]:
    """Averages for people: one line for a group and kind, every quantity with its interval."""
    found = []
    for row in summary["rows"]:
        line = {"group": row["by"], "range": row["label"], "n": row["n"], "kind": row["kind"]}
        for name in QUANTITIES:
            if name in row:
                value = row[name]
                line[f"{name}_nat"] = "" if value is None else words(value)
        found.append(line)
    return found


def words(value) -> str:
    """A number of ``[value, lower, upper]`` with its interval, where it has one."""
    return f"{value[0]:.3f}" if value[1] is None else f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"


def lines(summary: Mapping) -> Iterator[str]:
    """A decomposition in a few lines of a log."""
    yield f"{summary['tuple']}: {summary['n']} galaxies, {summary['n_left_out']} of the catalogue left out"
    yield "left out by class: " + ", ".join(f"{name} {found['n']} of {found['of']}" for name, found in summary["left_out"].items())
    for modality, found in summary["trained"].items():
        yield f"{modality}: {found['n_galaxy']} galaxies, left out: {found['left_out'] or 'none'}, limits in place of magnitudes: {found['limits'] or 'none'}"
    yield f"{summary['folds']} folds, {summary['ensemble']} networks each"
    yield f"prior {summary['prior']['nats']:.3f} nat, {summary['prior']['excess']:.4f} above the entropy of the bins"
    for row in table(summary):
        if not row["n"]:
            yield f"no galaxy with {row['group']} {row['range']}: no average"
        elif row["range"] == "all":
            yield ", ".join(f"{key} {value}" for key, value in row.items())
    for row in summary["truth"]:
        yield f"{row['quantity']}: found {row['found'][0]:.3f}, an ideal network {row['truth']:.3f} +- {row['truth_error']:.3f} nat"
