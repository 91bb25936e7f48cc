"""Local independence tests: is a variable still related to the mass among galaxies alike in the latent space?

The k neighbours of a galaxy are alike in all that the network's input says about the mass. A variable that
correlates with the mass among them holds information that the input lacks (Zhang et al. 2025,
arXiv 2509.23901). Arrays are (n_galaxy, k), NaN where a value is missing; a galaxy pair counts where both
values are there.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from galmass.causality import residuals
from galmass.errors import InputError
from galmass.stores import Column

_BLOCK = 256  # galaxies at a time: the working arrays of a block stay in the cache
_ROUNDING = 1e-12  # standard deviation, relative to the largest value, that rounding alone can leave of a constant


def _pair(y, x) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.asarray(y, float), np.asarray(x, float)
    if y.shape != x.shape or y.ndim != 2:
        raise InputError(f"mass {y.shape} and variable {x.shape} must have one shape (n_galaxy, k)")
    return y, x


@dataclass
class _Regression:
    """Quadratic regression of centred y on x in the orthogonal polynomials 1, q1, q2 of each row's x."""

    valid: np.ndarray
    y: np.ndarray
    q1: np.ndarray
    q2: np.ndarray
    y_variance: np.ndarray
    slope: np.ndarray
    curvature: np.ndarray
    q2_variance: np.ndarray
    x_constant: np.ndarray

    @classmethod
    def fit(cls, y, x) -> "_Regression":
        valid = np.isfinite(y) & np.isfinite(x)
        n = np.maximum(valid.sum(1), 1)

        def mean(a):
            return np.einsum("ij->i", a) / n

        def product(a, b):
            return np.einsum("ij,ij->i", a, b) / n

        y, x = np.where(valid, y, 0.0), np.where(valid, x, 0.0)
        x_rounding, y_rounding = (_ROUNDING * np.abs(a).max(1, initial=0.0) for a in (x, y))
        y, x = np.where(valid, y - mean(y)[:, None], 0.0), np.where(valid, x - mean(x)[:, None], 0.0)
        x_variance = product(x, x)
        # magnitudes near 18 with a scatter of 0.02 keep their digits: centred first, then scaled
        constant = x_variance <= x_rounding**2
        q1 = x / np.sqrt(np.where(constant, 1.0, x_variance))[:, None]
        q1[constant] = 0.0
        square = q1 * q1
        skewness = product(square, q1)
        q2 = np.where(valid, square - skewness[:, None] * q1 - (~constant)[:, None], 0.0)
        q2_variance = product(q2, q2)
        # two distinct values, or fewer than three galaxies: a parabola says no more than a line
        flat = q2_variance <= 1e-10
        curvature = np.where(flat, 0.0, product(y, q2) / np.where(flat, 1.0, q2_variance))
        y_variance = product(y, y)
        y_variance[y_variance <= y_rounding**2] = 0.0
        return cls(valid, y, q1, q2, y_variance, product(y, q1), curvature, q2_variance, constant)

    def correlation(self) -> np.ndarray:
        undefined = self.x_constant | (self.y_variance <= 0)
        return np.where(undefined, np.nan, np.clip(self.slope / np.sqrt(np.where(undefined, 1.0, self.y_variance)), -1, 1))

    def efficiency(self) -> np.ndarray:
        undefined = self.y_variance <= 0
        removed = self.slope**2 + self.curvature**2 * self.q2_variance
        return np.where(undefined, np.nan, removed / np.where(undefined, 1.0, self.y_variance))

    def residual(self) -> np.ndarray:
        left = self.y - self.slope[:, None] * self.q1 - self.curvature[:, None] * self.q2
        # where x determines y, what is left is rounding, and must not be taken for data
        nothing = np.einsum("ij,ij->i", left, left) <= _ROUNDING**2 * np.einsum("ij,ij->i", self.y, self.y)
        return np.where(self.valid, np.where(nothing[:, None], 0.0, left), np.nan)


def _blocks(n: int):
    return (slice(i, i + _BLOCK) for i in range(0, n, _BLOCK))


def local_correlation(y, x) -> np.ndarray:
    """Pearson correlation of x with y among the neighbours of each galaxy.

    Parameters
    ----------
    y, x : float arrays (n_galaxy, k)
        Mass and variable of the neighbours; NaN = missing.

    Returns
    -------
    float64 array (n_galaxy,)
        In [-1, 1]; NaN where either is constant among the neighbours.
    """
    y, x = _pair(y, x)
    return np.concatenate([_Regression.fit(y[b], x[b]).correlation() for b in _blocks(len(y))] or [np.empty(0)])


def quadratic_residual(y, x) -> np.ndarray:
    """What a quadratic in x leaves of y, (n_galaxy, k); NaN where either is missing.

    Where x is constant among the neighbours the residual is y less its mean.
    """
    y, x = _pair(y, x)
    return np.concatenate([_Regression.fit(y[b], x[b]).residual() for b in _blocks(len(y))] or [np.empty(y.shape)])


def predictive_efficiency(y, x) -> np.ndarray:
    """Fraction of the variance of y that a quadratic regression on x removes, (n_galaxy,) in [0, 1].

    0 where x is constant among the neighbours, NaN where y is.
    """
    y, x = _pair(y, x)
    return np.concatenate([_Regression.fit(y[b], x[b]).efficiency() for b in _blocks(len(y))] or [np.empty(0)])


def permuted(x, generator: np.random.Generator, valid=None) -> np.ndarray:
    """x (n_galaxy, k) with the neighbours of each galaxy in random order, each row its own.

    With `valid` (n_galaxy, k), values move among the valid places of their row only and the others become
    NaN: as many pairs are left as before, so that chance has the same spread.
    """
    x = np.asarray(x, float)
    if valid is None or valid.all():
        return generator.permuted(x, axis=1)
    # valid places first: once in order (where to), once in random order (from where)
    places = np.argsort(~valid, axis=1, kind="stable")
    sources = np.argsort(np.where(valid, generator.random(x.shape), 2.0), axis=1)
    shuffled = np.empty_like(x)
    np.put_along_axis(shuffled, places, np.take_along_axis(x, sources, 1), 1)
    return np.where(valid, shuffled, np.nan)


def local_statistics(y, x, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Correlation and efficiency (n_galaxy,) of x, and of two independent permutations of x.

    The permutations say what chance gives at this k; the second says how far two samples of chance are
    apart. Pairs with a missing value stay missing in both.
    """
    result: dict[str, list] = {}
    y, x = _pair(y, x)
    for block in _blocks(len(y)):
        own_y, own_x = y[block], x[block]
        valid = np.isfinite(own_y) & np.isfinite(own_x)
        chances = [permuted(own_x, generator, valid) for _ in range(2)]
        for kind, values in zip(("", "_permuted", "_permuted_again"), (own_x, *chances), strict=True):
            regression = _Regression.fit(own_y, values)
            result.setdefault(f"correlation{kind}", []).append(regression.correlation())
            result.setdefault(f"efficiency{kind}", []).append(regression.efficiency())
    return {name: np.concatenate(parts) for name, parts in result.items()}


def conditional_statistics(y, x, condition, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """`local_statistics` of what a quadratic in `condition` leaves of y and of x."""
    return local_statistics(quadratic_residual(y, condition), quadratic_residual(x, condition), generator)


def residual_statistics(mass, queries: dict, latent, given, neighbours) -> dict[str, dict[str, np.ndarray]]:
    """Correlation and efficiency of what a linear regression on the latent among the neighbours leaves of each query and of the mass.

    Parameters
    ----------
    mass : float array (n_galaxy,) [dex]
    queries : dict of str to float array (n_galaxy,)
        NaN = missing.
    latent, given : float arrays (n_galaxy, d), (n_galaxy, c)
        See `residuals.basis`; NaN in `given` = missing.
    neighbours : int array (n_tested, k)

    Returns
    -------
    dict of str to dict
        For each query ``residual_correlation`` and ``residual_efficiency``, (n_tested,); NaN where nothing is left.
    """
    found: dict[str, list] = {name: [] for name in queries}
    for block in _blocks(len(neighbours)):
        rows = neighbours[block]
        there = np.isfinite(mass[rows]) & np.isfinite(given[rows]).all(2)
        shared = residuals.basis(latent[rows], given[rows], there)
        for name, values in queries.items():
            valid = there & np.isfinite(values[rows])
            own = shared if (valid == there).all() else residuals.basis(latent[rows], given[rows], valid)
            regression = _Regression.fit(*(residuals.taken_out(v[rows], own, valid) for v in (mass, values)))
            correlation, efficiency = regression.correlation(), regression.efficiency()
            efficiency[np.isnan(correlation)] = np.nan
            found[name].append((correlation, efficiency))
    names = ("residual_correlation", "residual_efficiency")
    return {query: dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True)) for query, parts in found.items()}


def require_variation(values, name: str) -> None:
    """Raise `InputError` when a variable is missing everywhere or constant."""
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise InputError(f"variable {name} is missing for every galaxy; take it out of causality.queries and causality.conditions")
    if np.ptp(finite) == 0:
        raise InputError(f"variable {name} is constant ({finite[0]:g}): nothing can depend on it; take it out of causality.queries and causality.conditions")


def ks_two_samples(a, b) -> float:
    """Kolmogorov-Smirnov distance between two samples, NaN left out; NaN when one is empty."""
    a, b = (np.sort(v[np.isfinite(v)]) for v in (np.asarray(a, float), np.asarray(b, float)))
    if not len(a) or not len(b):
        return float("nan")
    both = np.concatenate([a, b])
    return float(np.max(np.abs(np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b))))


def local_tests(mass, variables: dict, latent, estimate, neighbours, queries, conditions, classes, seed: int) -> tuple[pd.DataFrame, list[dict]]:
    """Every query variable, unconditional and given each condition.

    Parameters
    ----------
    mass : float array (n_galaxy,) [dex]
    variables : dict of str -> float array (n_galaxy,)
        NaN = missing.
    latent : float array (n_galaxy, d)
    estimate : float array (n_galaxy,) [dex]
        The network's, a function of the latent.
    neighbours : int array (n_tested, k)
        Rows of the neighbours of each tested galaxy.
    queries, conditions : sequences of str
        Names of variables. A variable is not tested given itself.
    classes : array (n_tested,) of str
    seed : int
        Of the permutations; each test has a stream of its own, so that adding one changes no other.

    Returns
    -------
    DataFrame
        One row per tested galaxy; columns ``<query>[|<condition>]:<statistic>`` as in `local_statistics` and `residual_statistics`.
    list of dict
        One row per test and class, see `summarise`.
    """
    table, summary, y = {}, [], mass[neighbours]
    for name in (*queries, *conditions):
        require_variation(variables[name][np.unique(neighbours)], name)
    tested = {name: variables[name] for name in queries}
    left = {
        condition: residual_statistics(mass, tested, latent, residuals.given_columns(estimate, variables.get(condition)), neighbours)
        for condition in ("", *conditions)
    }
    for name in queries:
        for condition in ("", *conditions):
            if condition == name:
                continue
            test = f"{name}|{condition}" if condition else name
            generator = np.random.default_rng([seed, *test.encode()])
            x = variables[name][neighbours]
            statistics = conditional_statistics(y, x, variables[condition][neighbours], generator) if condition else local_statistics(y, x, generator)
            statistics |= left[condition][name]
            table |= {f"{test}:{statistic}": values for statistic, values in statistics.items()}
            summary += [{"query": name, "condition": condition, **row} for row in summarise(statistics, classes)]
    return pd.DataFrame(table | {"galaxy_class": classes}), summary


def columns(table) -> dict[str, Column]:
    """Labels of the columns of a table of `local_tests`."""
    labels = {"galaxy_id": Column("", "as in galaxies.parquet"), "galaxy_class": Column("", "as in galaxies.parquet")}
    for name in table.columns:
        test, _, statistic = name.partition(":")
        if statistic:
            words = statistic.replace("residual_", "residual ").replace("_", ", ")
            labels[name] = Column("", f"local {words} of {test.replace('|', ' given ')} and log_mass")
    return labels


def summary_rows(summary: list[dict]) -> list[dict]:
    """The summary for people: numbers to three digits."""
    return [{key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()} for row in summary]


def summarise(statistics: dict[str, np.ndarray], classes) -> list[dict]:
    """Per class and for all: n, means, distance of original from permuted beside that of two permutations, and means of what the latent leaves."""
    rows = []
    classes = np.asarray(classes)
    for name in ("all", *sorted(set(classes))):
        chosen = np.ones(len(classes), bool) if name == "all" else classes == name
        row: dict = {"class": name, "n": int(chosen.sum())}
        for statistic in ("correlation", "efficiency"):
            original, first, second = (statistics[f"{statistic}{kind}"][chosen] for kind in ("", "_permuted", "_permuted_again"))
            row[f"{statistic}_mean"] = _mean(original)
            row[f"{statistic}_permuted_mean"] = _mean(first)
            row[f"{statistic}_distance"] = _finite_or_none(ks_two_samples(original, first))
            row[f"{statistic}_distance_of_permutations"] = _finite_or_none(ks_two_samples(first, second))
            row[f"residual_{statistic}_mean"] = _mean(statistics[f"residual_{statistic}"][chosen])
        rows.append(row)
    return rows


def _mean(values) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _finite_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
