"""Latents, densities and scores of every galaxy from a trained model."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from galmass.contrastive import calibration, metrics
from galmass.errors import InputError
from galmass.stores import Column

FLOOR = 1e-6  # share of every density that is spread evenly over the bins


def columns(n_main: int) -> dict[str, Column]:
    """Columns of embeddings.parquet."""
    dex, nat = "dex(solMass)", "nat"
    return {
        "galaxy_id": Column("", "as in galaxies.parquet"),
        "split": Column("", "train, validation or test"),
        "log_mass": Column(dex, "true mass, as in galaxies.parquet"),
        "mass_mean": Column(dex, "mean of the density"),
        "mass_mode": Column(dex, "centre of the most probable bin"),
        "mass_median": Column(dex, "median of the density"),
        "cross_entropy": Column(nat, "-ln probability of the bin of the true mass"),
        "pit": Column("", "distribution function at the true mass"),
        "crps": Column("dex", "continuous ranked probability score"),
        "pit_raw": Column("", "pit before recalibration"),
        "crps_raw": Column("dex", "crps before recalibration"),
        **{f"latent_{i:02d}": Column("", "main latent") for i in range(n_main)},
    }


def recalibration(pit_raw, split, options: Mapping, neighbours_of: Callable) -> tuple[Callable, dict]:
    """How densities are recalibrated on the validation galaxies, and the notes of it.

    Parameters
    ----------
    pit_raw : float array (n_galaxy,)
    split : array (n_galaxy,) of str
    options : mapping
        ``method``: none, smooth_pit or local_pit; ``order`` of the smooth PIT density.
    neighbours_of : callable
        Given the rows of the reference galaxies, returns for every galaxy the indices of its neighbours
        among them, (n_galaxy, k). Called for 'local_pit' only.

    Returns
    -------
    callable
        Takes densities (n, n_bin) and their rows (n,), gives densities (n, n_bin).
    """
    method, reference = options["method"], np.flatnonzero(np.asarray(split) == "validation")
    if method == "none":
        return lambda density, rows: np.asarray(density, float), {"method": method}
    if not len(reference):
        raise InputError(f"recalibration '{method}' needs validation galaxies, and there are none")
    if method == "smooth_pit":
        coefficients = calibration.fit_smooth_pit(pit_raw[reference], options["order"])
        notes = {"method": method, "coefficients": coefficients.tolist(), "n_reference": len(reference)}
        return lambda density, rows: calibration.apply_smooth_pit(density, coefficients), notes
    if method != "local_pit":
        raise InputError(f"recalibration '{method}' is unknown; known: none, smooth_pit, local_pit")
    pit_of_neighbours = pit_raw[reference][neighbours_of(reference)]
    notes = {"method": method, "k": pit_of_neighbours.shape[1], "n_reference": len(reference)}
    return lambda density, rows: calibration.apply_local_pit(density, pit_of_neighbours[rows]), notes


def _blocks(n: int) -> list[np.ndarray]:
    """Rows in blocks, so that the float64 copies of densities stay small for any number of galaxies."""
    return np.array_split(np.arange(n), max(1, n // 2000))


def embed(frame, latent, density, edges, options: Mapping, neighbours_of: Callable) -> tuple[pd.DataFrame, np.ndarray, dict]:
    """Table of estimates and scores, recalibrated densities (n_galaxy, n_bin) float32, notes.

    Parameters
    ----------
    frame : DataFrame
        Catalogue rows.
    latent, density : float arrays (n_galaxy, n_main), (n_galaxy, n_bin)
        What the network says of them.
    options, neighbours_of
        See `recalibration`.
    """
    truth, blocks = frame["log_mass"].to_numpy(float), _blocks(len(frame))
    pit_raw = np.concatenate([metrics.pit(density[rows], edges, truth[rows]) for rows in blocks])
    recalibrate, notes = recalibration(pit_raw, frame["split"], options, neighbours_of)
    final, scores = np.empty(density.shape, np.float32), []
    for rows in blocks:
        # rounding in the wings must not cost infinite nats
        own = (1 - FLOOR) * recalibrate(density[rows], rows) + FLOOR / density.shape[1]
        final[rows] = own
        scores.append(_scores(own, edges, truth[rows]) | {"crps_raw": metrics.crps(density[rows], edges, truth[rows])})
    table = {"galaxy_id": frame["galaxy_id"].to_numpy(), "split": frame["split"].to_numpy(), "log_mass": truth, "pit_raw": pit_raw}
    table |= {name: np.concatenate([s[name] for s in scores]) for name in scores[0]}
    table |= {f"latent_{i:02d}": latent[:, i] for i in range(latent.shape[1])}
    return pd.DataFrame(table)[list(columns(latent.shape[1]))], final, notes


def _scores(density, edges, truth) -> dict[str, np.ndarray]:
    return {
        **{f"mass_{name}": values for name, values in metrics.point_estimates(density, edges).items()},
        "cross_entropy": metrics.cross_entropy(density, edges, truth),
        "pit": metrics.pit(density, edges, truth),
        "crps": metrics.crps(density, edges, truth),
    }
