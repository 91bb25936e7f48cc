"""Held-out densities of several inputs, as `train_density` left them, for the galaxies that all of them have."""

from collections.abc import Mapping

import numpy as np

from galmass import stores
from galmass.errors import InputError


def read(paths: Mapping[str, str], notes: Mapping[str, str]) -> tuple[dict[str, dict], dict]:
    """Densities of some modalities, row by row of the same galaxies, and the plan that they share.

    Parameters
    ----------
    paths, notes : mapping of modality to path
        Of the store, and of what was written beside it.

    Returns
    -------
    dict of modality to dict
        ``galaxy_id``, ``fold`` (n_galaxy,), ``nll``, ``mass_mean`` (n_galaxy, n_member).
    dict
        ``folds``, ``ensemble``, ``bin_width``, ``validation``.
    """
    said = {name: stores.read_json(path) for name, path in notes.items()}
    plan = check_plans(said)
    tables = {name: stores.read_arrays(path, said[name]["sha256"])[0] for name, path in paths.items()}
    for table in tables.values():
        table["galaxy_id"] = names(table["galaxy_id"])
    rows = common(tables)
    return {name: {key: array[rows[name]] for key, array in table.items()} for name, table in tables.items()}, plan


def best_steps(notes: Mapping[str, Mapping]) -> dict[str, dict]:
    """Of each modality: ``best``, the step of every network at which its validation was best, and ``last``, the last that it was allowed.

    Parameters
    ----------
    notes : mapping of modality to mapping
        What was written beside its densities.
    """
    return {name: {"best": [m["best_step"] for m in note["members"]], "last": note["options"]["max_steps"]} for name, note in notes.items()}


def names(stored: np.ndarray) -> np.ndarray:
    """Identifiers (n_galaxy,) as text, from ASCII padded with zeros, uint8 (n_galaxy, n_character)."""
    return np.ascontiguousarray(stored).view(f"S{stored.shape[1]}")[:, 0].astype(str)


def check_plans(notes: Mapping[str, Mapping]) -> dict:
    """The plan that all densities share; `InputError` where the densities of the modalities of a tuple were made with other folds, ensembles, bins or seeds."""
    first = next(iter(notes))
    for name, note in notes.items():
        for key in ("plan", "seed"):
            if note[key] != notes[first][key]:
                raise InputError(f"densities of {first} and {name}: {key} is {notes[first][key]} and {note[key]}; run train_density of both again")
    return notes[first]["plan"]


def check_shared(n_galaxy: Mapping[str, int], n_common: int, largest: float, called: str) -> None:
    """Raise `InputError` where networks of a tuple were trained on different galaxies: what they tell then differs by these, too.

    Parameters
    ----------
    n_galaxy : mapping of modality to int
        Galaxies of which each has densities. Folds are those of the galaxy, so that networks with the same galaxies were trained on the same.
    n_common : int
        Galaxies that all have.
    largest : float
        Share of the galaxies of a modality that others may lack.
    called : str
        Name of the tuple.
    """
    if max(1 - n_common / n for n in n_galaxy.values()) > largest:
        said = ", ".join(f"{name} {n}" for name, n in n_galaxy.items())
        raise InputError(
            f"tuple {called}: the networks of its modalities were not trained on the same galaxies ({said}; all have {n_common}), and information.max_unshared "
            f"is {largest:g}; take the columns that are not measured out of the modalities (left_out beside the densities), or raise it"
        )


def left_out(galaxy_class, used) -> dict[str, dict[str, int]]:
    """Of each class (n_galaxy,), ``of`` how many galaxies of the catalogue ``n`` are not `used`, bool (n_galaxy,)."""
    galaxy_class, used = np.asarray(galaxy_class), np.asarray(used)
    return {str(name): {"n": int(np.sum(~used[galaxy_class == name])), "of": int(np.sum(galaxy_class == name))} for name in np.unique(galaxy_class)}


def common(tables: Mapping[str, Mapping]) -> dict[str, np.ndarray]:
    """Rows of each table of densities whose galaxies are in all of them, in one order.

    Parameters
    ----------
    tables : mapping of modality to mapping
        With ``galaxy_id``, ``fold`` (n_galaxy,) and ``nll`` (n_galaxy, n_member).

    Raises
    ------
    InputError
        No galaxy is common, or the modalities held out different galaxies.
    """
    names, first = list(tables), next(iter(tables))
    shared = tables[first]["galaxy_id"]
    for name in names[1:]:
        shared = shared[np.isin(shared, tables[name]["galaxy_id"])]
    if not len(shared):
        raise InputError(f"no galaxy has densities of all of {', '.join(names)}; look at what train_density left out")
    rows = {}
    for name in names:
        order = np.argsort(tables[name]["galaxy_id"], kind="stable")
        rows[name] = order[np.searchsorted(tables[name]["galaxy_id"], shared, sorter=order)]
    folds = {name: tables[name]["fold"][rows[name]] for name in names}
    for name in names[1:]:
        if not np.array_equal(folds[name], folds[first]):
            raise InputError(f"the ensembles of {first} and {name} held out different galaxies (folds or seeds differ); train both with train_density again")
    return rows
