"""How much columns of the simulated sky tell of the mass: p(mass | columns) from the equations, by Monte Carlo.

Once the roots of a galaxy are fixed (halo, star formation, dust, inclination, redshift, Sersic index),
magnitudes and logarithms of sizes are linear in the noise that is left, so that p(columns | mass) is an average
of Gaussians over draws of the roots. Bayes' theorem on a grid of masses gives the posterior that an ideal
network would reach, its mutual information with the mass and its scatter. E(B-V) is known throughout.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import log_ndtr, logsumexp, ndtri
from scipy.stats import qmc

from galmass.catalogues.causes import Variable
from galmass.catalogues.mock import REDDENING, quenching, sky
from galmass.errors import InputError

_ROOTS = ("environment", "log_ssfr", "dust", "inclination", "sersic_n")  # drawn, beside the redshift and `quenched`
_LINEAR = ("stellar_colour", "burst", "mass_to_light", "warm_dust", "log_size", "size_gradient", "sersic_n_gradient")  # integrated exactly
_FIXED = ("z", "inclination")  # roots that may be given exactly
_LOGARITHMIC = ("r50", "r90", "measured_sersic_n")
_MAGNITUDES = ("petro_mag", "model_mag", "wise_mag")
_SAME = {"petro_flux": "petro_mag", "petro_mag_dered": "petro_mag", "mag": "wise_mag"}  # as good as the other, with E(B-V)
_NOTHING_NEW = ("ebv", "petro_mag_err", "mag_err", "position_angle", "ra", "dec")  # known, determined by the rest, or without any tie
_BRIGHTNESS = ("petro_mag", 2)  # what the survey selects by
_STEP = 0.05  # dex, grid of masses: the narrowest posterior has a standard deviation of 0.06


@dataclass(frozen=True)
class _Block:
    """Columns as features (variable and band), and the roots that are given exactly."""

    features: list[tuple[str, int]]
    fixed: list[str]

    @classmethod
    def of(cls, columns: Iterable[str]) -> "_Block":
        owners = {column: (one.name, i) for one in sky.variables.values() for i, column in enumerate(one.columns)}
        found = [owners.get(column, (column, 0)) for column in columns if column != "mag_w3"]
        features = [(_SAME.get(name, name), i) for name, i in found if name not in (*_FIXED, *_NOTHING_NEW)]
        refused = [name for name, _ in features if name not in (*_MAGNITUDES, *_LOGARITHMIC)] + [c for c in columns if c == "mag_w3"]
        if refused or not features:
            raise InputError(
                f"the information of {', '.join(refused) or 'no column'} cannot be computed; a block takes magnitudes (not w3, which is not always "
                "detected), r50, r90, sersic_n, and z and inclination as known exactly"
            )
        return cls(list(dict.fromkeys(features)), [name for name, _ in found if name in _FIXED])


def _select(values: Mapping[str, np.ndarray], features: list[tuple[str, int]]) -> np.ndarray:
    """Features (n, n_feature): magnitudes, and logarithms of sizes and indices."""
    return np.stack([np.log10(values[name][:, i]) if name in _LOGARITHMIC else values[name][:, i] for name, i in features], axis=1)


def _measured(values: Mapping[str, np.ndarray], features: list[tuple[str, int]]) -> np.ndarray:
    """Features of galaxies as measured, without Galactic extinction."""
    reddening = [REDDENING[i + 5 * (name == "wise_mag")] if name in _MAGNITUDES else 0.0 for name, i in features]
    return _select(values, features) - np.outer(values["ebv"], reddening)


def _mass_and_halo(settings: Mapping) -> tuple[float, float, float]:
    """Mean mass, its slope on the environment and its scatter about it [dex]."""
    pairs = ((0, 0), (1, 0), (0, 1))
    noise = [{"environment": np.array([e], float), "log_mass": np.array([m], float)} for e, m in pairs]
    mean, shifted, scattered = (float(sky.evaluate(n, settings, wanted=["log_mass"])["log_mass"][0]) for n in noise)
    return mean, shifted - mean, scattered - mean


def _roots(masses: np.ndarray, n_draw: int, given: Mapping[str, float], settings: Mapping, seed: int) -> tuple[dict, np.ndarray]:
    """Values of the roots and all that follows from them, (n_mass n_draw,), and the logarithm of their weights.

    The same draws (a scrambled Sobol sequence) serve every mass. Redshifts are drawn evenly in their logarithm and half of the galaxies are
    quenched, weighted back: bright and rare galaxies find their like.
    """
    uniform = np.tile(qmc.Sobol(len(_ROOTS) + 2, rng=np.random.default_rng([seed, *b"roots"])).random(n_draw), (len(masses), 1))
    noise = dict(zip(_ROOTS, ndtri(np.clip(uniform[:, :-2], 1e-9, 1 - 1e-9)).T, strict=True))
    log_mass, (mean, slope, scatter), n = np.repeat(masses, n_draw), _mass_and_halo(settings), len(uniform)
    halo = slope * (log_mass - mean) / (slope**2 + scatter**2) + scatter / np.hypot(slope, scatter) * noise["environment"]
    low, high = np.log(settings["redshift"])
    do = {"log_mass": log_mass, "environment": halo, "ebv": np.zeros(n), "z": np.exp(low + (high - low) * uniform[:, -1])}
    do["quenched"] = (uniform[:, -2] < 0.5).astype(float)
    log_weight = log_ndtr(np.where(do["quenched"], 1, -1) * quenching(log_mass, halo, SimpleNamespace(**settings))) + np.log(2)
    if "z" not in given:  # density z^2 over 1 / z
        log_weight = log_weight + 3 * np.log(do["z"]) + np.log(3 * (high - low) / (np.exp(3 * high) - np.exp(3 * low)))
    do |= {name: np.full(n, value) for name, value in given.items()}
    return sky.evaluate(noise, settings, do, wanted=["attenuation", "axis_ratio", "sersic_n", "log_ssfr", *do]), log_weight


def _loadings(roots: Mapping, settings: Mapping, features: list[tuple[str, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n, d) of the features, and their answer (n, d, n_noise) to one standard deviation of every noise that is left."""
    wanted, n = list(dict.fromkeys(name for name, _ in features)), len(roots["log_mass"])
    sources = [sky.variables[name] for name in sky.variables if name in (*_LINEAR, *wanted, *(["r50"] if "r90" in wanted else []))]
    quiet = {one.name: np.zeros(sky.shape(one.name, n)) for one in sources}
    mean = _select(sky.evaluate(quiet, settings, roots, wanted), features)
    columns = []
    for one in sources:
        moved = _select(sky.evaluate(quiet | {one.name: quiet[one.name] + 1}, settings, roots, wanted), features) - mean
        columns += _by_band(moved, one, features)
    return mean, np.stack(columns, axis=2)


def _by_band(moved: np.ndarray, source: Variable, features: list[tuple[str, int]]) -> list[np.ndarray]:
    """A noise with bands is one noise per band, which moves the features of that band alone."""
    if not source.bands:
        return [moved]
    bands = np.array([i for _, i in features])
    return [moved * (bands == i) for i in range(len(source.bands)) if np.any(moved * (bands == i))]


@dataclass(frozen=True)
class _Gaussians:
    """Of the features, n of them: whitening (n, d, d), whitened mean (n, d), logarithm of weight and norm (n,).

    Where the features do not hold the brightness that the survey selects by, its mean (n,), its slope on the whitened features (n, d) and the
    standard deviation that is left (n,), given the features.
    """

    whitening: np.ndarray
    mean: np.ndarray
    log_norm: np.ndarray
    brightness: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    limit: float

    @classmethod
    def of(cls, roots: Mapping, log_weight: np.ndarray, block: _Block, settings: Mapping) -> "_Gaussians":
        seen, d = _BRIGHTNESS in block.features, len(block.features)
        mean, loadings = _loadings(roots, settings, block.features if seen else [*block.features, _BRIGHTNESS])
        factor = np.linalg.cholesky(loadings @ loadings.transpose(0, 2, 1))
        whitening = np.linalg.inv(factor[:, :d, :d])
        log_norm = log_weight - np.log(np.einsum("nii->ni", factor[:, :d, :d])).sum(1) - d / 2 * np.log(2 * np.pi)
        brightness = None if seen else (mean[:, d], factor[:, d, :d], factor[:, d, d])
        return cls(whitening, np.einsum("nij,nj->ni", whitening, mean[:, :d]), log_norm, brightness, settings["flux_limit"])

    def log_terms(self, x: np.ndarray) -> np.ndarray:
        """log of every Gaussian's part of p(x, selected), (n_galaxy, n), at x (n_galaxy, d)."""
        n, d = self.mean.shape
        white = (x @ self.whitening.reshape(n * d, d).T).reshape(len(x), n, d) - self.mean
        terms = self.log_norm - 0.5 * np.einsum("gni,gni->gn", white, white)
        if self.brightness is None:
            return terms
        level, slope, scatter = self.brightness
        return terms + log_ndtr((self.limit - level - np.einsum("gni,ni->gn", white, slope)) / scatter)

    def log_seen(self) -> np.ndarray:
        """log of every Gaussian's weighted chance to be selected, (n,), whatever its features."""
        level, slope, scatter = self.brightness
        return log_ndtr((self.limit - level) / np.hypot(scatter, np.linalg.norm(slope, axis=1)))


def mass_grid(settings: Mapping) -> np.ndarray:
    """Masses (n_mass,) [dex] on which densities are given: five standard deviations of all galaxies to either side."""
    mean, slope, scatter = _mass_and_halo(settings)
    return mean + np.arange(-3.5 * np.hypot(slope, scatter), 5.5 * np.hypot(slope, scatter), _STEP)


def _log_all(masses: np.ndarray, settings: Mapping) -> np.ndarray:
    mean, slope, scatter = _mass_and_halo(settings)
    return -0.5 * (masses - mean) ** 2 / (slope**2 + scatter**2)


def _normalised(log_density: np.ndarray, masses: np.ndarray) -> np.ndarray:
    peak = log_density.max(axis=-1, keepdims=True)
    return log_density - peak - np.log(np.trapezoid(np.exp(log_density - peak), masses, axis=-1))[..., None]


def log_prior(masses: np.ndarray, settings: Mapping, n_draw: int = 1024, seed: int = 0) -> np.ndarray:
    """log of the density of masses [per dex] among the galaxies that the survey sees, (n_mass,)."""
    roots, log_weight = _roots(masses, n_draw, {}, settings, seed)
    seen = log_weight + _Gaussians.of(roots, log_weight, _Block([("petro_mag", 0)], []), settings).log_seen()
    return _normalised(_log_all(masses, settings) + logsumexp(seen.reshape(len(masses), n_draw), axis=1), masses)


def log_posterior(masses: np.ndarray, values: Mapping, columns: Iterable[str], settings: Mapping, n_draw: int, seed: int = 0) -> np.ndarray:
    """log p(mass | columns, E(B-V), selected) [per dex] of each galaxy.

    Parameters
    ----------
    masses : float array (n_mass,) [dex]
        See `mass_grid`.
    values : mapping of str -> array
        Galaxies as `simulation.draw` gives them.
    columns : names
        Magnitudes, radii and Sersic indices in any bands; ``z`` and ``inclination`` as known exactly.
    n_draw : int
        Draws of the roots at each mass; a power of two.

    Returns
    -------
    float array (n_galaxy, n_mass)
    """
    return _log_posteriors(masses, values, columns, settings, n_draw, seed)[..., 0]


def _log_posteriors(masses: np.ndarray, values: Mapping, columns: Iterable[str], settings: Mapping, n_draw: int, seed: int) -> np.ndarray:
    """`log_posterior` with all draws, with the first half of them and with the second, (n_galaxy, n_mass, 3)."""
    block = _Block.of(list(columns))
    x = _measured(values, block.features)
    if block.fixed:  # every galaxy needs roots of its own
        given = [{name: values[name][i] for name in block.fixed} for i in range(len(x))]
        likelihood = np.concatenate([_log_likelihood(row[None], masses, n_draw, block, own, settings, seed) for row, own in zip(x, given, strict=True)])
    else:
        likelihood = np.hstack([_log_likelihood(x, masses[i : i + 1], n_draw, block, {}, settings, seed) for i in range(len(masses))])
    return np.stack([_normalised(_log_all(masses, settings) + likelihood[..., i], masses) for i in range(3)], axis=-1)


def _log_likelihood(x, masses, n_draw: int, block: _Block, given: Mapping, settings: Mapping, seed: int) -> np.ndarray:
    """log p(x, selected | mass) by all draws, by the first half of them and by the second, (n_galaxy, n_mass, 3)."""
    gaussians = _Gaussians.of(*_roots(masses, n_draw, given, settings, seed), block, settings)
    # a few galaxies at a time: the working array stays below 64 MB
    parts = np.array_split(x, max(1, len(x) * gaussians.mean.size // 2**23))
    halves = np.concatenate([logsumexp(gaussians.log_terms(p).reshape(len(p), len(masses), 2, n_draw // 2), axis=3) for p in parts]) - np.log(n_draw // 2)
    return np.concatenate([logsumexp(halves, axis=2, keepdims=True) - np.log(2), halves], axis=2)


def information(values: Mapping, columns: Iterable[str], settings: Mapping, n_draw: int, seed: int = 0) -> dict[str, float]:
    """Mutual information of columns (with E(B-V)) and mass among selected galaxies, and the scatter that an ideal network reaches.

    Returns
    -------
    dict
        ``nats`` with standard error ``nats_error`` from the number of galaxies; ``nats_bias``, how much it is off (too low: negative) because the
        draws are finitely many, to its order: as much as halves of them lack more, which is right where it falls as their inverse; ``sigma_mad`` [dex] of the
        mean of the posterior.
    """
    masses, truth = mass_grid(settings), values["log_mass"]
    posterior = _log_posteriors(masses, values, columns, settings, n_draw, seed)
    gain = np.array([CubicSpline(masses, rows)(y) for rows, y in zip(posterior, truth, strict=True)])
    bias = gain[:, 1:].mean() - gain[:, 0].mean()
    gain = gain[:, 0] - CubicSpline(masses, log_prior(masses, settings))(truth)
    error = np.trapezoid(np.exp(posterior[..., 0]) * masses, masses, axis=1) - truth
    return {
        "nats": float(gain.mean()),
        "nats_error": float(gain.std(ddof=1) / np.sqrt(len(gain))),
        "nats_bias": float(bias),
        "sigma_mad": float(1.4826 * np.median(np.abs(error - np.median(error)))),
    }
