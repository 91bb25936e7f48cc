"""Figures of a fit to visibilities: chains, posterior, residuals, rotation curve, and mass models side by side."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from galmass.figures import style
from galmass.figures.visibilities import sky

_PARTS = {"total": "k", "stars": style.PERMUTED, "gas": "#009E73", "black_hole": style.ORIGINAL}
_WORDS = {"total": "total", "stars": "stars", "gas": "gas", "black_hole": "black hole"}
LABELS = {
    "log_m_bh": r"log M$_{\rm BH}$ [M$_\odot$]",
    "alpha": r"$\alpha$",
    "gamma": r"$\gamma$",
    "beta_minus_gamma": r"$\beta - \gamma$",
    "r_break": r"$r_b$ [pc]",
    "log_sigma_break": r"log $\Sigma_b$ [M$_\odot$ pc$^{-2}$]",
    "log_ml": r"log M/L",
    "q_intr": r"$q$",
    "inclination": r"$i$ [deg]",
    "position_angle": "PA [deg]",
    "x_offset": r"$x_0$ [arcsec]",
    "y_offset": r"$y_0$ [arcsec]",
    "v_sys": r"$v_{\rm sys}$ [km/s]",
    "sigma_gas": r"$\sigma_{\rm gas}$ [km/s]",
    "flux": "flux [Jy km/s]",
    "scale_length": r"$h$ [arcsec]",
}
_MODELS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def label(name: str, unit: str) -> str:
    """Text of a parameter on an axis."""
    return LABELS.get(name, f"{name} [{unit}]" if unit else name)


def corner_plot(samples, labels, truth, title: str):
    """Marginal and joint posterior densities; contours hold 39 and 86 % (1 and 2 sigma), lines the truth where it is known."""
    import corner

    n = len(labels)
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):  # corner places its axes itself
        drawn = Figure(figsize=(1.25 * n + 1, 1.25 * n + 1))
        corner.corner(
            samples,
            labels=labels,
            truths=truth,
            truth_color=style.PERMUTED,
            color=style.ORIGINAL,
            levels=(1 - np.exp(-0.5), 1 - np.exp(-2)),
            bins=25,
            smooth=1.0,
            plot_datapoints=False,
            fill_contours=True,
            max_n_ticks=3,
            label_kwargs={"fontsize": 7},
            fig=drawn,
            # a parameter that never moved has no range of its own
            range=[(low, high) if high > low else (low - 0.5, low + 0.5) for low, high in zip(samples.min(0), samples.max(0), strict=True)],
        )
    for axis in drawn.axes:
        axis.tick_params(labelsize=5)
        axis.set_rasterization_zorder(10)
    drawn.suptitle(title)
    return drawn


def traces(chains, labels, title: str):
    """Every chain (n_chain, n_draw, n) of every parameter along its draws."""
    n = len(labels)
    drawn = style.figure(10, 1.2 * -(-n // 2) + 0.5)
    axes = drawn.subplots(-(-n // 2), 2, sharex=True, squeeze=False)
    for axis in axes.flat[n:]:
        axis.set_axis_off()
    for axis, values, label in zip(axes.flat, np.moveaxis(chains, -1, 0), labels, strict=False):
        axis.plot(values.T, lw=0.4, alpha=0.7, rasterized=True)
        axis.set_ylabel(label, fontsize=7)
        axis.tick_params(labelsize=6)
    drawn.supxlabel("draw")
    drawn.suptitle(title)
    return drawn


def prior_and_posterior(prior, posterior, labels, truth, title: str):
    """Histograms of prior and posterior of every parameter: what the data taught."""
    n, columns = len(labels), 5
    drawn = style.figure(2 * columns, 1.7 * -(-n // columns) + 0.4)
    axes = drawn.subplots(-(-n // columns), columns, squeeze=False)
    for axis in axes.flat[n:]:
        axis.set_axis_off()
    for i, (axis, label) in enumerate(zip(axes.flat, labels, strict=False)):
        for values, colour in ((prior[:, i], style.REFERENCE), (posterior[:, i], style.ORIGINAL)):
            axis.hist(values, bins=40, density=True, histtype="stepfilled", color=colour, alpha=0.5)
        if truth[i] is not None:
            axis.axvline(truth[i], color=style.PERMUTED, lw=1.2)
        axis.set_xlabel(label, fontsize=7)
        axis.set_yticks([])
        axis.tick_params(labelsize=6)
    drawn.suptitle(title)
    return drawn


def misfit(by_channel, by_baseline, title: str):
    """chi^2 per datum by channel and by baseline length, over the range that replicated data show."""
    drawn = style.figure(8, 3.2)
    left, right = drawn.subplots(1, 2, sharey=True)
    for axis, table, place, label in (
        (left, by_channel, "velocity_km_s", "velocity, radio [km/s]"),
        (right, by_baseline, "baseline_kilolambda", "baseline [kilo-wavelengths]"),
    ):
        axis.fill_between(table[place], table["low"], table["high"], color=style.REFERENCE, alpha=0.3, step="mid", label="95 % of replicas")
        axis.plot(table[place], table["chi2"], ".", color=style.ORIGINAL, label="data")
        axis.axhline(1, color=style.REFERENCE, lw=0.8)
        axis.set(xlabel=label)
    left.set_ylabel(r"$\chi^2$ per datum")
    left.legend()
    drawn.suptitle(title)
    return drawn


def moment_maps(data, model, cell_arcsec: float, width_arcsec: float, title: str):
    """Moments 0, 1, 2 of data and model and their difference, on dirty images cut to `width_arcsec`."""
    drawn = style.figure(8.2, 7.4)
    axes = drawn.subplots(3, 3, sharex=True, sharey=True)
    labels = ("moment 0 [mJy/beam km/s]", "moment 1 [km/s]", "moment 2 [km/s]")
    for row, (label, one, other) in enumerate(zip(labels, data, model, strict=True)):
        scale = 1e3 if row == 0 else 1
        low, high = np.nanpercentile(np.r_[one[np.isfinite(one)], other[np.isfinite(other)]], [1, 99]) * scale
        difference = (one - other) * scale
        spread = max(np.nanpercentile(abs(difference), 99), 1e-12)
        colours = style.MAP if row != 1 else "RdBu_r"
        for axis, image in zip(axes[row], (one * scale, other * scale), strict=False):
            shown = sky(axis, image, cell_arcsec, cmap=colours, vmin=low, vmax=high)
        drawn.colorbar(shown, ax=axes[row, :2], label=label)
        shown = sky(axes[row, 2], difference, cell_arcsec, cmap="RdBu_r", vmin=-spread, vmax=spread)
        drawn.colorbar(shown, ax=axes[row, 2], label="difference")
    for axis, name in zip(axes[0], ("data", "model", "data - model"), strict=True):
        axis.set_title(name)
    axes[0, 0].set(xlim=(width_arcsec / 2, -width_arcsec / 2), ylim=(-width_arcsec / 2, width_arcsec / 2))
    drawn.supxlabel("east [arcsec]")
    drawn.supylabel("north [arcsec]")
    drawn.suptitle(title)
    return drawn


def position_velocity(arrays, checked, title: str):
    """Major-axis diagram of the data with contours of the model, and what is left.

    `arrays`: offset, velocity, slit_data, slit_model, noise of `checks.pictures`, and the quantiles velocity_total at radius of
    `checks.curves`; `checked`: the numbers of `checks.check`. The bands are the projected circular velocity on the major axis, 95 %.
    """
    offset, velocity, data, model = (arrays[name] for name in ("offset", "velocity", "slit_data", "slit_model"))
    noise, limit = 1e3 * checked["noise_jy_per_beam"], 1e3 * abs(data).max()
    drawn = style.figure(8, 3.8)
    axes = drawn.subplots(1, 2, sharex=True, sharey=True)
    for axis, image, name in zip(axes, (data, data - model), ("data, contours of the model", "data - model"), strict=True):
        shown = axis.pcolormesh(offset, velocity, 1e3 * image, cmap="RdBu_r", vmin=-limit, vmax=limit, shading="nearest", rasterized=True)
        axis.set(xlabel="offset along the major axis [arcsec]", title=name)
    axes[0].contour(offset, velocity, 1e3 * model, levels=noise * np.array([3, 6, 12, 24]), colors="k", linewidths=0.7)
    values = {**checked, **checked["best"]}
    arcsec = arrays["radius"] / checked["beam_pc"] * checked["beam_arcsec"]
    projected = arrays["velocity_total"][[1, 5]] * np.sin(np.radians(values["inclination"]))
    for side in (1, -1):
        axes[0].fill_between(side * arcsec, *(values["v_sys"] + side * projected), color=style.PERMUTED, alpha=0.7, lw=0)
    axes[0].set(ylabel="velocity, radio [km/s]", ylim=(velocity.min(), velocity.max()), xlim=(offset.min(), offset.max()))
    drawn.colorbar(shown, ax=axes, label="mJy / beam")
    drawn.suptitle(title)
    return drawn


def rotation_curve(arrays, beam_pc: float, title: str, truth=None):
    """Circular velocity with its parts: median, 68 % (dark) and 95 % (light); `arrays` of `checks.curves`."""
    drawn = style.figure(6, 4.2)
    axis = drawn.subplots()
    radius = arrays["radius"]
    for part, colour in _PARTS.items():
        if f"velocity_{part}" not in arrays:
            continue
        quantiles = arrays[f"velocity_{part}"]
        axis.fill_between(radius, quantiles[1], quantiles[5], color=colour, alpha=0.15, lw=0)
        axis.fill_between(radius, quantiles[2], quantiles[4], color=colour, alpha=0.3, lw=0)
        axis.plot(radius, quantiles[3], color=colour, lw=1.2, label=_WORDS[part])
    if truth is not None:
        axis.plot(truth["radius_pc"], truth["velocity_km_s"], color="k", ls="--", lw=1, label="truth")
    axis.axvline(beam_pc, color=style.REFERENCE, ls=":", lw=0.8)
    axis.text(beam_pc, 0.02, " beam", transform=axis.get_xaxis_transform(), color=style.REFERENCE, fontsize=8)
    top = 1.15 * float(np.interp(beam_pc / 4, radius, arrays["velocity_total"][5]))
    axis.set(xscale="log", xlabel="R [pc]", ylabel="circular velocity [km/s]", ylim=(0, top), xlim=(beam_pc / 10, radius[-1]))
    axis.set_title(title)
    axis.legend()
    return drawn


def comparison(curves, table, beam_pc: float, title: str):
    """Circular velocities of several mass models over the first, and their black holes with 68 and 99.7 % intervals.

    `curves`: model -> (radius [pc], quantiles (7, n_radius)); `table`: rows with model, median, and limits of log10 M_BH, and the truth.
    """
    drawn = style.figure(9, 4)
    left, right = drawn.subplots(1, 2, width_ratios=[1.5, 1])
    reference = next(iter(curves.values()))[1][3]
    for colour, (model, (radius, quantiles)) in zip(_MODELS, curves.items(), strict=False):
        left.fill_between(radius, *(100 * (quantiles[[0, 6]] / reference - 1)), color=colour, alpha=0.25, lw=0)
        left.plot(radius, 100 * (quantiles[3] / reference - 1), color=colour, label=model)
    left.axvline(beam_pc, color=style.REFERENCE, ls=":", lw=0.8)
    left.set(xscale="log", xlabel="R [pc]", ylabel=f"circular velocity over that of {next(iter(curves))} [%]", xlim=(beam_pc / 4, None), ylim=(-30, 30))
    left.set_title("bands: 99.7 %")
    left.legend()
    for i, (colour, row) in enumerate(zip(_MODELS, table.to_dict("records"), strict=False)):
        right.plot([row["low_997"], row["high_997"]], [i, i], color=colour, lw=1)
        right.plot([row["low_68"], row["high_68"]], [i, i], color=colour, lw=4)
        right.plot(row["log_m_bh"], i, "o", color="k", ms=4)
    if np.isfinite(table["truth"].iloc[0]):
        right.axvline(table["truth"].iloc[0], color="k", ls="--", lw=1, label="truth")
        right.legend()
    right.set_yticks(range(len(table)), table["model"])
    right.set(xlabel=r"log$_{10}$ M$_{\rm BH}$ [M$_\odot$]", ylim=(len(table) - 0.5, -0.5))
    right.set_title("68 and 99.7 % intervals")
    drawn.suptitle(title)
    return drawn
