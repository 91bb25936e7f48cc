"""Figures of the decomposition of information, in the manner of Zhang et al. 2025 (arXiv 2509.23901)."""

import numpy as np
from matplotlib.figure import Figure

from galmass.figures import style

PARTS = ("redundant", "unique_1", "unique_2", "synergistic")
COLOURS = {"redundant": "#0072B2", "unique_1": "#E69F00", "unique_2": "#009E73", "synergistic": "#CC79A7"}
CLASSES = ("all", "star-forming", "passive", "other")
KINDS = {"pointwise": "pointwise minimum, as in the paper", "mean": "minimum of averages (MMI)"}
AXES = {"log_mass": r"log mass [log$_{10}$ M$_\odot$]", "petro_mag_r": "Petrosian r [mag]"}


def bars(summary) -> Figure:
    """Stacked components of each class, of both kinds; negative ones below zero."""
    drawn = style.figure(8, 3.8)
    axes = drawn.subplots(1, 2, sharey=True)
    for axis, (kind, title) in zip(axes, KINDS.items(), strict=True):
        rows = [_row(summary, "class", name, kind) for name in CLASSES]
        rows = [row for row in rows if row["redundant"] is not None]
        _stacked(axis, np.arange(len(rows)), rows, width=0.6, names=_names(summary))
        axis.set_xticks(np.arange(len(rows)), [f"{row['label']}\n{row['n']}" for row in rows])
        axis.set_title(title)
    axes[0].set_ylabel("information [nat]")
    axes[1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    drawn.suptitle(_title(summary))
    return drawn


def stacks(summary) -> Figure:
    """Components against mass and r magnitude; what is negative is stacked below zero."""
    drawn = style.figure(8.5, 6)
    axes = drawn.subplots(2, 2, sharey="row", sharex="col")
    for line, (kind, title) in zip(axes, KINDS.items(), strict=True):
        for axis, (by, label) in zip(line, AXES.items(), strict=True):
            rows = [row for row in summary["rows"] if row["by"] == by and row["kind"] == kind and row["redundant"] is not None]
            if not rows:
                axis.text(0.5, 0.5, "no galaxy in these bins", ha="center", transform=axis.transAxes)
                continue
            middle, width = (np.array([f(row) for row in rows]) for f in (lambda r: (r["low"] + r["high"]) / 2, lambda r: r["high"] - r["low"]))
            _stacked(axis, middle, rows, 0.96 * width, _names(summary))
            axis.set_title(title)
            axis.set_xlabel(label)
        line[0].set_ylabel("information [nat]")
    axes[0, 1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    drawn.suptitle(_title(summary))
    return drawn


def _stacked(axis, place, rows: list, width, names: dict) -> None:
    """Positive components upwards from zero, negative ones downwards; dots: information of both with its interval."""
    up, down = np.zeros(len(rows)), np.zeros(len(rows))
    for part in PARTS:
        height = np.array([row[part][0] for row in rows])
        axis.bar(place, height, width, bottom=np.where(height >= 0, up, down), color=COLOURS[part], label=names[part], edgecolor="white", lw=0.5)
        up, down = up + np.maximum(height, 0), down + np.minimum(height, 0)
    _points(axis, place, [row["information_12"] for row in rows], "black", "both together")
    axis.axhline(0, color=style.REFERENCE, lw=0.8)


def _points(axis, place, values: list, colour: str, label: str) -> None:
    value, low, high = np.array(values).T
    axis.errorbar(place, value, [np.maximum(value - low, 0), np.maximum(high - value, 0)], fmt="o", ms=3, lw=1, color=colour, label=label)


def noise(summary) -> Figure:
    """Redundancy against the number of members of the ensembles; informations beside those of an ideal network."""
    drawn = style.figure(8, 3.2)
    left, right = drawn.subplots(1, 2)
    found = summary["noise"]
    left.plot(1 / np.array(found["members"]), found["redundant"], "o-", color=style.ORIGINAL, label="pointwise minimum")
    left.plot(1 / np.array(found["members"]), found["minimum_of_means"], "s-", color=style.PERMUTED, label="minimum of averages")
    if found["extrapolated"] is not None:
        left.errorbar([0], [found["extrapolated"]], [1.96 * found["error"]], fmt="o", mfc="white", color=style.ORIGINAL, label="extrapolated")
    left.set_xlabel("1 / members of the ensemble")
    left.set_ylabel("redundant [nat]")
    left.legend(fontsize=7)
    names = {"information_1": summary["inputs"]["first"], "information_2": summary["inputs"]["second"], "information_12": "both"}
    overall, known = _row(summary, "class", "all", "mean"), {row["quantity"]: row for row in summary["truth"]}
    _points(right, np.arange(3), [overall[name] for name in names], style.ORIGINAL, "found (held out)")
    if known:
        where = np.array([i for i, name in enumerate(names) if name in known])
        value, error = (np.array([known[name][key] for name in names if name in known]) for key in ("truth", "truth_error"))
        right.errorbar(where + 0.12, value, error, fmt="_", ms=12, color="black", label="ideal network")
    right.set_xticks(np.arange(3), names.values())
    right.set_xlim(-0.5, 2.5)
    right.set_ylabel("information [nat]")
    right.legend(fontsize=7)
    drawn.suptitle(_title(summary))
    return drawn


def gap(summary) -> Figure:
    """Information of an input beside that of the union of the tuple, and their difference, by class, mass and magnitude."""
    drawn = style.figure(9, 4.8)
    axes = drawn.subplots(2, 3, sharex="col", sharey="row", height_ratios=[2, 1])
    for column, by in zip(axes.T, ("class", *AXES), strict=True):
        rows = [r for r in summary["rows"] if r["by"] == by and r["kind"] == "mean" and r["gap"] is not None]
        place = np.arange(len(rows)) if by == "class" else np.array([(r["low"] + r["high"]) / 2 for r in rows])
        if rows:
            union = f"{summary['inputs']['first']} with {summary['inputs']['second']}"
            _points(column[0], place, [r["information_12"] for r in rows], style.ORIGINAL, union)
            _points(column[0], place, [r["information_against"] for r in rows], style.PERMUTED, summary["inputs"]["against"])
            _points(column[1], place, [r["gap"] for r in rows], "black", "difference")
        column[1].axhline(0, color=style.REFERENCE, lw=0.8)
        if by == "class":
            column[1].set_xticks(place, [r["label"] for r in rows], fontsize=7)
        else:
            column[1].set_xlabel(AXES[by])
    axes[0, 0].set_ylabel("information [nat]")
    axes[1, 0].set_ylabel("difference [nat]")
    axes[0, 0].legend(fontsize=7)
    drawn.suptitle(f"{summary['sample']}: {summary['inputs']['against']} against what was measured, {summary['n']} galaxies")
    return drawn


def synergies(summaries) -> Figure:
    """Synergy (MMI) of pairs of inputs as a matrix above the diagonal, each with half the width of its interval; below it, the redundancy."""
    overall = [_row(summary, "class", "all", "mean") for summary in summaries]
    inputs = list(dict.fromkeys(summary["inputs"][part] for summary in summaries for part in ("first", "second")))
    matrix = np.full((len(inputs), len(inputs)), np.nan)
    drawn = style.figure(1.8 + 0.95 * len(inputs), 1.3 + 0.85 * len(inputs))
    axis = drawn.subplots()
    for summary, row in zip(summaries, overall, strict=True):
        i, j = sorted(inputs.index(summary["inputs"][part]) for part in ("first", "second"))
        for (y, x), name in (((i, j), "synergistic"), ((j, i), "redundant")):
            matrix[y, x] = row[name][0]
            axis.text(x, y, f"{row[name][0]:.2f}\n±{(row[name][2] - row[name][1]) / 2:.2f}", ha="center", va="center", fontsize=8)
    limit = np.nanmax(np.abs(matrix))
    shown = axis.imshow(matrix, cmap="RdBu_r", vmin=-1.6 * limit, vmax=1.6 * limit)
    axis.set_xticks(np.arange(len(inputs)), inputs, rotation=45, ha="right")
    axis.set_yticks(np.arange(len(inputs)), inputs)
    axis.set_title(f"{summaries[0]['sample']}: synergistic above,\nredundant below the diagonal")
    drawn.colorbar(shown, label="nat", shrink=0.8)
    return drawn


def methods(check) -> Figure:
    """Components by every method that has them, one stacked bar each; dots: information of both."""
    rows = [row for row in check["rows"] if row["information_12"]]
    drawn = style.figure(8.5, 1.2 + 0.32 * len(rows))
    axis, place = drawn.subplots(), -np.arange(len(rows))
    right, left = np.zeros(len(rows)), np.zeros(len(rows))
    for part, label in _names(check).items():
        width = np.array([row[part][0] if row[part] else 0.0 for row in rows])
        axis.barh(place, width, 0.7, left=np.where(width >= 0, right, left), color=COLOURS[part], label=label, edgecolor="white", lw=0.5)
        right, left = right + np.maximum(width, 0), left + np.minimum(width, 0)
    value, low, high = np.array([[row["information_12"][0] if x is None else x for x in row["information_12"]] for row in rows]).T
    axis.errorbar(value, place, xerr=np.maximum([value - low, high - value], 0), fmt="o", ms=3, lw=1, color="black", label="both together")
    axis.axvline(0, color=style.REFERENCE, lw=0.8)
    axis.set_yticks(place, [f"{row['method']}{', ' + str(row['bins']) + ' bins' if row['bins'] else ''}" for row in rows])
    axis.set_xlabel("information [nat]")
    axis.set_title(f"{check['sample']}: {check['inputs']['first']} and {check['inputs']['second']}")
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return drawn


def _row(summary, by: str, label: str, kind: str):
    return next(r for r in summary["rows"] if (r["by"], r["label"], r["kind"]) == (by, label, kind))


def _names(summary) -> dict[str, str]:
    inputs = summary["inputs"]
    return {"redundant": "redundant", "unique_1": f"unique, {inputs['first']}", "unique_2": f"unique, {inputs['second']}", "synergistic": "synergistic"}


def _title(summary) -> str:
    return f"{summary['sample']}: {summary['inputs']['first']} and {summary['inputs']['second']}, {summary['n']} galaxies"
