"""Figures of mass estimates: against truth, PIT, training, latent space."""

from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binom

from galmass.contrastive.metrics import sigma_mad
from galmass.figures import style

_MASS = r"log$_{10}$ stellar mass [M$_\odot$]"


def _number(entry, digits: int = 4) -> str:
    low, high = entry["interval"]
    return f"{entry['value']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def against_truth(test, metrics) -> Figure:
    """Estimated against true mass of test galaxies, and the difference with its running scatter."""
    drawn = style.figure(5, 6)
    top, bottom = drawn.subplots(2, 1, sharex=True, height_ratios=[3, 1.3])
    truth, estimate = test["log_mass"].to_numpy(), test["mass_mean"].to_numpy()
    limits = np.quantile(truth, [0.001, 0.999])
    cells = top.hexbin(truth, estimate, gridsize=60, bins="log", mincnt=1, cmap=style.MAP, extent=(*limits, *limits), rasterized=True)
    drawn.colorbar(cells, ax=top, label="galaxies")
    top.plot(limits, limits, color=style.REFERENCE, lw=1)
    top.set(ylabel=f"estimated {_MASS}", xlim=limits, ylim=limits)
    top.set_title(f"{metrics['n_test']} test galaxies, $\\sigma_{{MAD}}$ = {_number(metrics['network']['sigma_mad'])} dex (95 %)")
    scatter = metrics["network"]["sigma_mad"]["value"]
    bottom.hexbin(
        truth, estimate - truth, gridsize=(60, 20), bins="log", mincnt=1, cmap=style.MAP, extent=(*limits, -6 * scatter, 6 * scatter), rasterized=True
    )
    edges = np.quantile(truth, np.linspace(0, 1, 11))
    centres = (edges[1:] + edges[:-1]) / 2
    bins = [(estimate - truth)[(truth >= low) & (truth <= high)] for low, high in pairwise(edges)]
    bottom.errorbar(centres, [np.median(b) for b in bins], [sigma_mad(b) for b in bins], fmt="o", ms=3, color=style.PERMUTED, label="median, $\\sigma_{MAD}$")
    bottom.axhline(0, color=style.REFERENCE, lw=1)
    bottom.set(xlabel=f"true {_MASS}", ylabel="estimate - truth [dex]", ylim=(-6 * scatter, 6 * scatter))
    bottom.legend(loc="upper right")
    return drawn


def pit_histogram(test, metrics) -> Figure:
    """PIT values of test galaxies before and after recalibration, with the range of a uniform distribution."""
    drawn = style.figure(5, 3.5)
    axis, n, bins = drawn.subplots(), len(test), np.linspace(0, 1, 21)
    low, high = binom.interval(0.95, n, 1 / 20)
    axis.fill_between([0, 1], low, high, color="0.88", label="95 % of a bin if uniform")
    axis.hist(test["pit_raw"], bins, histtype="step", color=style.PERMUTED, label=f"as trained: KS {_number(metrics['network_not_recalibrated']['pit_ks'], 3)}")
    if metrics["recalibration"] != "none":
        label = f"recalibrated ({metrics['recalibration']}): KS {_number(metrics['network']['pit_ks'], 3)}"
        axis.hist(test["pit"], bins, histtype="step", lw=1.6, color=style.ORIGINAL, label=label)
    axis.set(xlabel="PIT: distribution function at the true mass", ylabel="test galaxies", xlim=(0, 1), ylim=(0, None))
    axis.legend(loc="lower center")
    axis.set_title(f"{n} test galaxies; KS distance with its 95 % DKW interval")
    return drawn


def training_curves(history) -> Figure:
    """Every term of the loss, and the cross-entropy of the validation galaxies."""
    drawn = style.figure(7, 3.2)
    left, right = drawn.subplots(1, 2)
    left.plot(history["step"], history["cross_entropy"] / 2, color=style.PERMUTED, label="training, mean of both passes")
    left.plot(history["step"], history["validation_cross_entropy"], color=style.ORIGINAL, label="validation")
    best = history.loc[history["validation_cross_entropy"].idxmin()]
    left.plot(best["step"], best["validation_cross_entropy"], "ko", ms=4, label=f"best: {best['validation_cross_entropy']:.3f} nat")
    low = min(history["cross_entropy"].min() / 2, history["validation_cross_entropy"].min())
    left.set(xlabel="step", ylabel="cross-entropy [nat]", ylim=(low - 0.1, history["validation_cross_entropy"].quantile(0.9) + 0.5))
    left.legend()
    for name, colour in zip(("reconstruction", "latent_contrast", "output_contrast"), ("#0072B2", "#D55E00", "#009E73"), strict=True):
        right.plot(history["step"], history[name], color=colour, label=name.replace("_", " "))
    right.set(xlabel="step", ylabel="unweighted loss", yscale="log")
    right.legend()
    return drawn


def latent_map(table) -> Figure:
    """First two principal components of the main latent, coloured by mass."""
    latent = table.filter(regex=r"^latent_\d+$").to_numpy(float)
    centred = latent - latent.mean(0)
    _, strength, axes = np.linalg.svd(centred, full_matrices=False)
    first, second = (centred @ axes[:2].T).T
    share = strength**2 / np.sum(strength**2)
    drawn = style.figure(5, 4)
    axis = drawn.subplots()
    limits = np.quantile(table["log_mass"], [0.01, 0.99])
    points = axis.scatter(first, second, c=table["log_mass"], s=2, cmap=style.MAP, vmin=limits[0], vmax=limits[1], rasterized=True)
    drawn.colorbar(points, ax=axis, label=_MASS)
    axis.set(xlabel=f"first component of the latent ({share[0]:.0%})", ylabel=f"second component ({share[1]:.0%})")
    axis.set_title(f"{len(table)} galaxies")
    return drawn
