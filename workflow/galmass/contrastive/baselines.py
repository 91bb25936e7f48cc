"""Baselines on the same inputs and split: ridge regression and gradient boosting, with densities.

Instead of images they are given aperture magnitudes measured on them (`apertures`).

Each gives a mean and a scale per galaxy; its density is the distribution of standardised residuals of
training galaxies that the regressor did not see (three-fold cross-fitting), shifted and stretched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from galmass.contrastive import apertures
from galmass.contrastive.modalities import Modality
from galmass.stores import Column

NAMES = ("ridge", "boosting", "boosting_colours")


@dataclass(frozen=True)
class Forecast:
    """Mean and scale of each galaxy (n_galaxy,) [dex] and the standardised residuals (n_residual,), sorted."""

    mean: np.ndarray
    scale: np.ndarray
    residuals: np.ndarray

    def crps(self, truth) -> np.ndarray:
        """Exact CRPS of the empirical distribution mean + scale * residuals, (n_galaxy,) [dex]."""
        r, n = self.residuals, len(self.residuals)
        e = (np.asarray(truth, float) - self.mean) / self.scale
        below = np.searchsorted(r, e)
        sums = np.concatenate([[0.0], np.cumsum(r)])
        distance = (e * (2 * below - n) + sums[-1] - 2 * sums[below]) / n  # mean |r - e|
        spread = np.sum((2 * np.arange(1, n + 1) - n - 1) * r) / n**2  # half the mean |r - r'|
        return self.scale * (distance - spread)

    def pit(self, truth) -> np.ndarray:
        """Distribution function at the truth, mid-rank where residuals coincide, (n_galaxy,)."""
        e = (np.asarray(truth, float) - self.mean) / self.scale
        return (np.searchsorted(self.residuals, e, "left") + np.searchsorted(self.residuals, e, "right")) / (2 * len(self.residuals))


def with_colours(values) -> np.ndarray:
    """All differences of two magnitudes, (n_galaxy, n_value (n_value - 1) / 2)."""
    pairs = list(combinations(range(values.shape[1]), 2))
    return np.stack([values[:, i] - values[:, j] for i, j in pairs], axis=1) if pairs else np.empty((len(values), 0))


def inputs(name: str, frame, modality: Modality) -> np.ndarray:
    """What a baseline is fed: every column of the modality; with all colours for 'boosting_colours'."""
    values, context = modality.arrays(frame)
    return np.hstack([values, context, with_colours(values)] if name == "boosting_colours" else [values, context])


def _regressor(name: str, seed: int):
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-6, 3, 19))) if name == "ridge" else HistGradientBoostingRegressor(random_state=seed)


def fit(name: str, training, modality: Modality, seed: int) -> Callable[..., Forecast]:
    """Fit a baseline to training galaxies; returns a function of a catalogue that gives forecasts.

    Parameters
    ----------
    name : one of `NAMES`
    training : DataFrame
    modality : Modality
    seed : int
        Of the folds and the boosting.
    """
    x, y = inputs(name, training, modality), training["log_mass"].to_numpy(float)
    folds = KFold(3, shuffle=True, random_state=seed)
    residual = y - cross_val_predict(_regressor(name, seed), x, y, cv=folds)
    scale_model = clone(_regressor(name, seed))
    log_residual = np.log(np.abs(residual) + 1e-4)
    scale = np.exp(cross_val_predict(scale_model, x, log_residual, cv=folds))
    mean_model, scale_model = _regressor(name, seed).fit(x, y), scale_model.fit(x, log_residual)
    residuals = np.sort(residual / scale)

    def forecast(frame) -> Forecast:
        features = inputs(name, frame, modality)
        return Forecast(mean_model.predict(features), np.exp(scale_model.predict(features)), residuals)

    return forecast


def table(training, test, modality: Modality, seed: int, threads: int, cutouts: Mapping | None = None) -> tuple[pd.DataFrame, dict[str, Column]]:
    """Forecasts and scores of all baselines for the test galaxies, and the labels of the columns.

    Parameters
    ----------
    cutouts : mapping of str to galmass.images.store.Cutouts, optional
        Open stores of the images, where the modality has some (`sources.open_stores`).
    """
    (training, test), modality = apertures.measured([training, test], modality, cutouts)
    truth = test["log_mass"].to_numpy(float)
    values = {"galaxy_id": test["galaxy_id"].to_numpy()}
    columns = {"galaxy_id": Column("", "as in galaxies.parquet")}
    with threadpool_limits(threads):
        for name in NAMES:
            forecast = fit(name, training, modality, seed)(test)
            values |= {f"{name}_mean": forecast.mean, f"{name}_crps": forecast.crps(truth), f"{name}_pit": forecast.pit(truth)}
            columns |= {
                f"{name}_mean": Column("dex(solMass)", f"estimate of {name}"),
                f"{name}_crps": Column("dex", f"continuous ranked probability score of {name}"),
                f"{name}_pit": Column("", f"distribution function of {name} at the true mass"),
            }
    return pd.DataFrame(values), columns
