"""Figures of the local independence tests."""

import numpy as np
from matplotlib.figure import Figure

from galmass.figures import style

_STATISTICS = (("correlation", "local correlation with the mass"), ("efficiency", "predictive efficiency"))


def panels(table, summary) -> Figure:
    """Distributions of both local statistics of every test, original against permuted."""
    tests = list(dict.fromkeys((row["query"], row["condition"]) for row in summary["tests"]))
    drawn = style.figure(9, 1.3 + 1.55 * len(tests))
    axes = np.atleast_2d(drawn.subplots(len(tests), 2, squeeze=False))
    for row, (query, condition) in zip(axes, tests, strict=True):
        numbers = next(t for t in summary["tests"] if (t["query"], t["condition"], t["class"]) == (query, condition, "all"))
        test = f"{query}|{condition}" if condition else query
        for axis, (statistic, label) in zip(row, _STATISTICS, strict=True):
            _panel(axis, table, f"{test}:{statistic}", statistic)
            axis.set_xlabel(label)
            axis.set_title(_title(query, condition, numbers, statistic))
        row[0].set_ylabel("density")
        row[1].text(0.98, 0.95, _p_value(numbers), transform=row[1].transAxes, ha="right", va="top", fontsize=7)
    axes[0, 0].legend(fontsize=7)
    drawn.suptitle(f"{summary['n']} {summary['split']} galaxies, k = {summary['k']} nearest training galaxies")
    return drawn


def _panel(axis, table, column: str, statistic: str) -> None:
    original, chance = (table[name].dropna() for name in (column, f"{column}_permuted"))
    top = 1.0 if statistic == "correlation" else max(0.1, float(np.quantile(np.concatenate([original, chance, [0]]), 0.995)))
    bins = np.linspace(-1 if statistic == "correlation" else 0, top, 61)
    if len(original):  # undefined for every galaxy: the panel stays empty
        axis.hist(chance, bins, density=True, histtype="stepfilled", color=style.PERMUTED, alpha=0.5, label="permuted")
        axis.hist(original, bins, density=True, histtype="step", lw=1.4, color=style.ORIGINAL, label="original, all")
    for name in ("star-forming", "passive"):
        chosen = table[column][table["galaxy_class"] == name].dropna()
        if len(chosen) >= 20:
            axis.hist(chosen, bins, density=True, histtype="step", ls=":", color=style.CLASS_COLOURS[name], label=name)
    axis.set_xlim(bins[0], bins[-1])


def _title(query: str, condition: str, numbers, statistic: str) -> str:
    distance, chance = numbers[f"{statistic}_distance"], numbers[f"{statistic}_distance_of_permutations"]
    name = f"{query} given {condition}" if condition else query
    return name if distance is None else f"{name}: KS {distance:.2f}, by chance {chance:.2f}"


def _p_value(numbers) -> str:
    """P-value of the test in blocks of the tested galaxies, and adjusted for the number of tests."""
    if numbers["p_value"] is None:
        return "in blocks: p undefined"
    return f"in blocks: p = {numbers['p_value']:.3g}, adjusted {numbers['p_value_holm']:.3g}"
