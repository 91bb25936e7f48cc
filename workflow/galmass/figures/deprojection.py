"""Figures of the deprojection: errors by method, where they are, the worst profiles, the velocities."""

from itertools import combinations

import numpy as np
from matplotlib.figure import Figure

from galmass.figures import style

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LABELS = {"alpha": r"$\alpha$", "beta_minus_gamma": r"$\beta - \gamma$", "gamma": r"$\gamma$", "r_break": r"$r_b$ [pc]", "beta": r"$\beta$"}
_BOX = ("alpha", "beta_minus_gamma", "gamma", "r_break")
_ERRORS = {"surface_density": "surface density, 1 pc - 10 kpc", "mass": "enclosed mass, 1 pc - 10 kpc", "velocity": "circular velocity, 2 pc - 5 kpc"}


def distributions(frame) -> Figure:
    """Share of the profiles whose largest error exceeds a value, by method."""
    drawn = style.figure(10, 4)
    axes = drawn.subplots(1, len(_ERRORS), sharey=True)
    for axis, (error, label) in zip(axes, _ERRORS.items(), strict=True):
        for colour, (method, rows) in zip(_COLOURS, frame.groupby("method", sort=False), strict=False):
            values = np.sort(rows[error].dropna())
            axis.step(100 * values, 1 - np.arange(len(values)) / len(values), color=colour, label=method)
        axis.set(xscale="log", yscale="log", xlabel="largest fractional error of a profile [%]", xlim=(1e-5, 1e3))
        axis.set_title(f"{label} ({frame.groupby('method')[error].count().max()} profiles)")
    axes[0].set_ylabel("share of profiles above")
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn


def maps(rows) -> Figure:
    """Largest error of the surface density over every pair of parameters, one method."""
    drawn = style.figure(10, 6)
    values = rows.assign(beta_minus_gamma=rows["beta"] - rows["gamma"])
    for axis, (x, y) in zip(drawn.subplots(2, 3).flat, combinations(_BOX, 2), strict=True):
        scales = {f"{side}scale": "log" for side, name in (("x", x), ("y", y)) if name in ("alpha", "r_break")}
        cells = axis.hexbin(
            values[x], values[y], np.log10(100 * values["surface_density"]), gridsize=22, reduce_C_function=np.max, cmap=style.MAP, rasterized=True, **scales
        )
        axis.set(xlabel=_LABELS[x], ylabel=_LABELS[y])
        drawn.colorbar(cells, ax=axis, label=r"log$_{10}$ largest error [%]")
    drawn.suptitle(f"{rows['method'].iloc[0]}: largest fractional error of the surface density in each cell, {len(rows)} profiles")
    return drawn


def worst(cases) -> Figure:
    """Error of the surface density along the radius for the worst profiles, beside the exact solution."""
    drawn = style.figure(9, 5.5)
    for axis, case in zip(drawn.subplots(2, 2, sharex=True).flat, cases["profiles"], strict=True):
        for colour, (method, error) in zip(_COLOURS, case["errors"].items(), strict=False):
            axis.plot(cases["radius_pc"], 100 * np.array(error), color=colour, lw=1, label=method)
        axis.axvline(case["r_break"], color=style.REFERENCE, lw=0.8, ls=":")
        axis.set(xscale="log", xlabel="r [pc]", ylabel="error of the surface density [%]")
        axis.set_title(", ".join(f"{_LABELS[name]} {case[name]:.3g}" for name in ("alpha", "beta", "gamma", "r_break")))
    drawn.axes[0].legend(fontsize=7)
    return drawn


def training_curves(histories) -> Figure:
    """Held-out loss of every network that this run trained."""
    drawn = style.figure(9, 3)
    for axis, (name, history) in zip(drawn.subplots(1, len(histories), squeeze=False).flat, histories.items(), strict=True):
        axis.plot(history["step"], history["training_loss"], color=style.PERMUTED, label="last batch")
        axis.plot(history["step"], history["validation_loss"], color=style.ORIGINAL, label="held-out nodes")
        axis.set(xlabel="step", yscale="log", ylabel="mean squared error")
        axis.set_title(name)
        axis.legend()
    return drawn


def velocities(table, title: str) -> Figure:
    """Circular velocity of the example by the chosen method, the exact one, the black hole alone, and their difference."""
    drawn = style.figure(6, 5)
    top, bottom = drawn.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
    top.plot(table["radius_pc"], table["exact_km_s"], color=style.REFERENCE, lw=3, alpha=0.5, label="exact deprojection")
    top.plot(table["radius_pc"], table["velocity_km_s"], color=style.ORIGINAL, lw=1, label="Gaussians")
    top.plot(table["radius_pc"], table["stars_km_s"], color=style.PERMUTED, ls="--", lw=1, label="stars")
    top.plot(table["radius_pc"], table["black_hole_km_s"], color="k", ls=":", lw=1, label="black hole")
    top.set(xscale="log", yscale="log", ylabel="circular velocity [km/s]")
    top.set_title(title)
    top.legend()
    bottom.plot(table["radius_pc"], 100 * (table["velocity_km_s"] / table["exact_km_s"] - 1), color=style.ORIGINAL)
    bottom.axhline(0, color=style.REFERENCE, lw=0.8)
    bottom.set(xlabel="R [pc]", ylabel="difference [%]")
    return drawn
