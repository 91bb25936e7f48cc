"""A survey of the simulated sky: galaxies drawn until enough are brighter than the flux limit, as catalogue and as truth."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from galmass.catalogues.mock import sky
from galmass.catalogues.schema import CLASSES, columns_of
from galmass.catalogues.selection import split
from galmass.errors import InputError
from galmass.stores import Column

_BATCH = 20_000  # galaxies drawn at a time, seen or not
_FEWEST = 1e-4  # fraction that is seen; below it the settings describe no survey


def settings_of(options: Mapping) -> dict:
    """The settings of the equations from one entry of ``samples`` in the configuration."""
    return {**options["effects"], **{key: options[key] for key in ("redshift", "flux_limit", "class_limits")}}


def draw(n: int, settings: Mapping, seed: int) -> tuple[dict[str, np.ndarray], int]:
    """Values of all variables of `n` galaxies that the survey sees, and how many were drawn for them.

    Raises
    ------
    InputError
        When next to none is bright enough.
    """
    found: list[dict[str, np.ndarray]] = []
    seen = drawn = 0
    while seen < n:
        noise = sky.noise(_BATCH, [seed, len(found)])
        chosen = np.flatnonzero(sky.evaluate(noise, settings, wanted=["selected"])["selected"] == 1)[: n - seen]
        found.append(sky.evaluate({name: array[chosen] for name, array in noise.items()}, settings))
        drawn += _BATCH if len(chosen) < n - seen else int(chosen[-1]) + 1
        seen += len(chosen)
        if drawn > 10 / _FEWEST and seen < drawn * _FEWEST:
            raise InputError(f"flux_limit {settings['flux_limit']} mag and redshift {settings['redshift']} show {seen} of {drawn} galaxies; raise the limit")
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}, drawn


def identifiers(n: int) -> np.ndarray:
    """Names of simulated galaxies, (n,) str."""
    return np.array([f"MOCK{i:08d}" for i in range(n)])


def build(options: Mapping) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """The catalogue, the truth and the notes of a simulated sample.

    Parameters
    ----------
    options : mapping
        One entry of ``samples`` in the configuration: ``max_galaxies``, ``seed``, ``split``, ``redshift`` [low, high], ``flux_limit`` [mag,
        dereddened Petrosian r], ``class_limits`` [dex(1/yr)] of star-forming and passive galaxies and ``effects``.
    """
    settings, n = settings_of(options), options["max_galaxies"]
    values, drawn = draw(n, settings, options["seed"])
    table = sky.table(values)
    truth = pd.DataFrame({"galaxy_id": identifiers(n)} | {name: table[name] for name in truth_columns() if name != "galaxy_id"})
    frame = table | {"galaxy_id": identifiers(n), "log_mass_err": np.zeros(n), "galaxy_class": np.array(CLASSES)[values["galaxy_class"].astype(int)]}
    frame["split"] = split(n, options["split"], np.random.default_rng([options["seed"], *b"split"]))
    cuts = [{"cut": f"dereddened Petrosian r fainter than {options['flux_limit']} mag", "removed": drawn - n, "left": n}]
    return pd.DataFrame({name: frame[name] for name in columns_of("mock")}), truth, {"cuts": cuts, "mass": _MASS}


_MASS = "mass of the simulated galaxy, without error; the cause of its light, its size and its profile as galmass.catalogues.mock has it"


def truth_columns() -> dict[str, Column]:
    """Columns of the truth: every variable, hidden ones and those free of noise included, that the catalogue does not have."""
    known = columns_of("mock")
    own = {name: label for name, label in sky.labels().items() if name not in known and name != "selected"}
    return {"galaxy_id": known["galaxy_id"], "log_mass": known["log_mass"], "z": known["z"], "position_angle": known["position_angle"]} | own
