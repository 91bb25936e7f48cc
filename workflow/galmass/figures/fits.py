"""Figures of a fit to visibilities: chains, posterior, residuals, rotation curve, and mass models side by side."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from galmass.figures import style
from galmass.figures.visibilities import draw_beam, emission, largest_patches, sky, zoom
from galmass.units import LIGHT

_PARTS = {"total": "k", "stars": style.PERMUTED, "gas": "#009E73", "black_hole": style.ORIGINAL}
_WORDS = {"total": "total", "stars": "stars", "gas": "gas", "black_hole": "black hole"}
LABELS = {
    "log_m_bh": r"log M$_{\rm BH}$ [M$_\odot$]",
    "alpha": r"$\alpha$",
    "gamma": r"$\gamma$",
    "beta_minus_gamma": r"$\beta - \gamma$",
    "r_break": r"$r_b$ [pc]",
    "log_sigma_break": r"log $\Sigma_b$ [M$_\odot$ pc$^{-2}$]",
    "log_ml": r"log M/L [M$_\odot$ / L$_\odot$]",
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
_SKEW = 0.6  # median over the middle of its range below which a positive prior is seen on a logarithmic axis
_MODELS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def label(name: str, unit: str) -> str:
    """Text of a parameter on an axis."""
    return LABELS.get(name, f"{name} [{unit}]" if unit else name)


def corner_plot(samples, labels, truth, title: str):
    """Marginal and joint posterior densities; contours hold 39 and 86 % (1 and 2 sigma), lines the truth where it is known."""
    import corner

    size = 1.25 * len(labels) + 1
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):  # corner places its axes itself
        drawn = Figure(figsize=(size, size))
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
            labelpad=0.2,
            label_kwargs={"fontsize": 11},
            fig=drawn,
            range=[_shown(values, known) for values, known in zip(samples.T, truth, strict=True)],
        )
    drawn.subplots_adjust(left=1 / size, bottom=1 / size, right=1 - 0.2 / size, top=1 - 0.6 / size)
    for axis in drawn.axes:
        axis.tick_params(labelsize=7)
    for axis, values in zip(drawn.axes[:: len(labels) + 1], samples.T, strict=True):
        axis.set_title(_interval(values), fontsize=10)
    explained = "medians and 68 %;\ncontours: 39 and 86 %" + ("\norange: truth" if any(known is not None for known in truth) else "")
    drawn.suptitle(f"{title}\n\n{explained}", x=0.98, y=0.98, ha="right", va="top")
    return drawn


def _shown(values, known) -> tuple[float, float]:
    """Range that holds 99.9 % of the draws, and the truth."""
    low, high = np.quantile(values, [0.0005, 0.9995])
    if known is not None:
        low, high = min(low, known), max(high, known)
    # a parameter that never moved has no range of its own
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _interval(values) -> str:
    """Median and the way to the limits of 68 %, to two digits of the smaller one."""
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84])
    least = min(middle - low, high - middle)
    if least <= 0:
        return f"{middle:g}"
    digits = max(0, 1 - int(np.floor(np.log10(least))))
    return f"${middle:.{digits}f}^{{+{high - middle:.{digits}f}}}_{{-{middle - low:.{digits}f}}}$"


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
    """Histograms of prior and posterior of every parameter, each of height 1, and how wide the data left it: what they taught."""
    n, columns = len(labels), 5
    drawn = style.figure(2 * columns, 1.8 * -(-n // columns) + 0.7)
    axes = drawn.subplots(-(-n // columns), columns, squeeze=False)
    for axis in axes.flat[n:]:
        axis.set_axis_off()
    for axis, before, after, known, label in zip(axes.flat, prior.T, posterior.T, truth, labels, strict=False):
        scale = "log" if before.min() > 0 and np.median(before) < _SKEW * (before.min() + before.max()) / 2 else "linear"
        axis.set_xscale(scale)
        axis.xaxis.set_minor_formatter(NullFormatter())  # a logarithmic axis of less than a decade or two would label them over each other
        _histogram(axis, before, scale, color=style.REFERENCE, label="prior")
        _histogram(axis, after, scale, color=style.ORIGINAL, label="posterior")
        if known is not None:
            axis.plot(known, 1.06, "v", color=style.PERMUTED, ms=5, ls="", label="truth")
        axis.set_title(f"{label}: {_narrowing(before, after, scale)}", fontsize=7)
        axis.set(yticks=[], ylim=(0, 1.12))
        axis.tick_params(labelsize=7)
    drawn.legend(*_entries(axes.flat), loc="outside lower right", ncols=3)
    drawn.suptitle(f"{title}; widths in units of the prior's")
    return drawn


def _histogram(axis, values, scale: str, **options) -> None:
    """Outline of height 1 in 40 bins of its own; a line for a parameter that never moved."""
    low, high = values.min(), values.max()
    if low == high:
        axis.axvline(low, lw=1.5, **options)
        return
    counts, edges = np.histogram(values, np.geomspace(low, high, 41) if scale == "log" else np.linspace(low, high, 41))
    axis.stairs(counts / counts.max(), edges, fill=True, alpha=0.5, **options)
    # an outline is seen even where the histogram is narrower than a pixel
    axis.stairs(counts / counts.max(), edges, lw=0.6, color=options["color"])


def _narrowing(prior, posterior, scale: str) -> str:
    """Standard deviation of the posterior over that of the prior, in the scale of the axis."""
    spread = [np.std(np.log(values) if scale == "log" else values) for values in (posterior, prior)]
    return f"{100 * spread[0] / spread[1]:.2g} %" if spread[1] > 0 else "fixed"


def _entries(axes):
    """Handles and texts of the legends of several axes, each text once."""
    found = {}
    for axis in axes:
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(text, handle)
    return list(found.values()), list(found)


def misfit(by_channel, by_baseline, title: str):
    """chi^2 per datum by channel and by baseline length, over the range that replicated data show."""
    drawn = style.figure(8, 3.5)
    left, right = drawn.subplots(1, 2, sharey=True)
    for axis, table, place, label in (
        (left, by_channel, "velocity_km_s", "velocity, radio [km/s]"),
        (right, by_baseline, "baseline_kilolambda", "baseline [kilo-wavelengths]"),
    ):
        axis.vlines(table[place], table["low"], table["high"], color=style.REFERENCE, alpha=0.35, lw=min(8, 150 / len(table)), label="95 % of replicas")
        axis.plot(table[place], table["chi2"], ".", color=style.ORIGINAL, label="data")
        axis.axhline(1, color=style.REFERENCE, lw=0.8)
        axis.set(xlabel=label)
    left.set_ylabel(r"$\chi^2$ per datum")
    drawn.legend(*_entries([left]), loc="outside lower right", ncols=2)
    drawn.suptitle(title)
    return drawn


def moment_maps(data, model, cell_arcsec: float, width_arcsec: float, title: str, beam=None):
    """Moments 0, 1, 2 of data and model and their difference, cut to the emission of the data.

    Parameters
    ----------
    data, model : (3, n, n) arrays
        [Jy / beam km/s], [km/s], [km/s], NaN where there is nothing; patches of less than a tenth of the largest are left white.
    width_arcsec : float
        Of the smallest window.
    beam : galmass.visibilities.imaging.Beam, optional
        To be drawn in the corner.
    """
    data, model = (np.where(largest_patches(np.isfinite(maps[0])), maps, np.nan) for maps in (data, model))
    drawn = _spaced_figure(8.6, 7.0)
    axes = drawn.subplots(3, 3, sharex=True, sharey=True)
    _moment(drawn, axes[0], 1e3 * data[0], 1e3 * model[0], cell_arcsec, style.MAP, "moment 0 [mJy / beam km/s]")
    _moment(drawn, axes[1], data[1], model[1], cell_arcsec, "RdBu_r", "moment 1 [km/s]")
    _moment(drawn, axes[2], data[2], model[2], cell_arcsec, style.MAP, "moment 2 [km/s]")
    for axis, name in zip(axes[0], ("data", "model", "data - model"), strict=True):
        axis.set_title(name)
    zoom(axes[0, 0], np.isfinite(data[0]), cell_arcsec, width_arcsec)
    if beam:
        draw_beam(axes[2, 0], beam)
    drawn.supxlabel("east [arcsec]")
    drawn.supylabel("north [arcsec]")
    drawn.suptitle(title)
    return drawn


def _spaced_figure(width: float, height: float):
    """A figure whose columns stand so far apart that the label of a colour bar is not taken for that of the next axis."""
    drawn = style.figure(width, height)
    drawn.get_layout_engine().set(w_pad=0.1)
    return drawn


def _moment(drawn, row, data, model, cell_arcsec: float, colours: str, quantity: str) -> None:
    """A row of maps; both have the limits of the model, which no noise widens."""
    known = model[np.isfinite(model)] if np.isfinite(model).any() else np.zeros(1)
    low, high = np.percentile(known, [1, 99])
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    for axis, image in zip(row, (data, model), strict=False):
        shown = sky(axis, image, cell_arcsec, cmap=colours, vmin=low, vmax=high)
    drawn.colorbar(shown, ax=row[:2], label=quantity)
    difference = data - model
    known = abs(difference[np.isfinite(difference)])
    spread = float(np.percentile(known, 99)) if len(known) and known.any() else 1.0
    shown = sky(row[2], difference, cell_arcsec, cmap="RdBu_r", vmin=-spread, vmax=spread)
    drawn.colorbar(shown, ax=row[2], label=quantity[quantity.index("[") + 1 : -1])


def position_velocity(arrays, checked, title: str):
    """Major-axis diagram of the data with contours of the model, and what is left, cut to the emission.

    `arrays`: offset, velocity, slit_data, slit_model of `checks.pictures`, and the quantiles velocity_total at radius of
    `checks.curves`; `checked`: the numbers of `checks.check`. The bands are the projected circular velocity on the major axis, 95 %,
    from one beam outward; the cross is as large as beam and channel.
    """
    offset, velocity, data, model = (arrays[name] for name in ("offset", "velocity", "slit_data", "slit_model"))
    noise, beam = checked["noise_jy_per_beam"], checked["beam_arcsec"]
    drawn = _spaced_figure(8.8, 3.8)
    axes = drawn.subplots(1, 2, sharex=True, sharey=True)
    for axis, image, name in zip(axes, (data, data - model), ("data, contours of the model", "data - model"), strict=True):
        limit = 1e3 * abs(image).max() or 1.0
        shown = axis.pcolormesh(offset, velocity, 1e3 * image, cmap="RdBu_r", vmin=-limit, vmax=limit, shading="nearest", rasterized=True)
        axis.set(xlabel="offset along the major axis [arcsec]", title=name)
        drawn.colorbar(shown, ax=axis, label="mJy / beam")
    levels = noise * np.array([3, 6, 12, 24])
    axes[0].contour(offset, velocity, model, levels=levels[levels < model.max()], colors="k", linewidths=0.7)
    _circular(axes[0], arrays, checked)
    _cut(axes[0], offset, velocity, emission(data, np.full(len(data), noise)), 2 * beam)
    left, (low, high) = axes[0].get_xlim()[0], axes[0].get_ylim()
    axes[0].errorbar(left + beam, low + 0.08 * (high - low), abs(np.gradient(velocity)).mean() / 2, beam / 2, color="k", lw=1.2)
    axes[0].set(ylabel="velocity, radio [km/s]")
    drawn.suptitle(f"{title}; contours: 3, 6, 12, 24 times the noise of {1e3 * noise:.2g} mJy / beam", fontsize=9)
    return drawn


def _circular(axis, arrays, checked) -> None:
    """Band of the projected circular velocity on both sides; inside one beam little is seen of it."""
    values = {**checked, **checked["best"]}
    arcsec = arrays["radius"] / checked["beam_pc"] * checked["beam_arcsec"]
    seen = arcsec > checked["beam_arcsec"]
    slowing = 1 - values["v_sys"] / LIGHT  # from the galaxy's frame to radio velocities
    projected = slowing * arrays["velocity_total"][[1, 5]][:, seen] * np.sin(np.radians(values["inclination"]))
    for side in (1, -1):
        label = "circular velocity, 95 %" if side > 0 else None
        axis.fill_between(side * arcsec[seen], *(values["v_sys"] + side * projected), color=style.PERMUTED, lw=1, label=label)
    axis.legend(loc="upper left", fontsize=7)


def _cut(axis, offset, velocity, bright, least: float) -> None:
    """Limits about the bright pixels (n_chan, n_offset): symmetric in offset, `least` or more; a few channels beyond in velocity."""
    reach = max(1.3 * abs(offset[bright.any(0)]).max(initial=0.0), least)
    lines = velocity[bright.any(1)] if bright.any() else velocity
    margin = 0.15 * np.ptp(lines) + 2 * abs(np.gradient(velocity)).mean()
    axis.set(
        xlim=(max(-reach, offset.min()), min(reach, offset.max())),
        ylim=(max(lines.min() - margin, velocity.min()), min(lines.max() + margin, velocity.max())),
    )


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
    total, seen = arrays["velocity_total"], radius >= beam_pc / 4
    # a quarter beam inward v runs off as R^-1/2; far out the band may be as wide as the prior
    top = max(1.15 * float(np.interp(beam_pc / 4, radius, total[5])), 1.25 * float(total[3][seen].max(initial=0.0)))
    axis.set(xscale="log", xlabel="R [pc]", ylabel="circular velocity [km/s]", ylim=(0, top), xlim=(beam_pc / 10, radius[-1]))
    axis.set_title(title)
    axis.legend(title="medians, 68 and 95 %", title_fontsize=8)
    return drawn


def comparison(curves, table, beam_pc: float, title: str):
    """Circular velocities of several mass models over the first, and their black holes with 68 and 95 % intervals.

    `curves`: model -> (radius [pc], quantiles (7, n_radius)); `table`: rows with model, median, and limits of log10 M_BH, and the truth.
    """
    drawn = style.figure(9, 4)
    left, right = drawn.subplots(1, 2, width_ratios=[1.5, 1])
    _against_first(left, curves, beam_pc)
    for i, (colour, row) in enumerate(zip(_MODELS, table.to_dict("records"), strict=False)):
        right.plot([row["low_95"], row["high_95"]], [i, i], color=colour, lw=1)
        right.plot([row["low_68"], row["high_68"]], [i, i], color=colour, lw=4)
        right.plot(row["log_m_bh"], i, "o", color="k", ms=4)
    if np.isfinite(table["truth"].iloc[0]):
        right.axvline(table["truth"].iloc[0], color="k", ls="--", lw=1, label="truth")
        right.legend()
    right.set_yticks(range(len(table)), [_spaced(model) for model in table["model"]])
    right.set(xlabel=r"log$_{10}$ M$_{\rm BH}$ [M$_\odot$]", ylim=(len(table) - 0.5, -0.5))
    right.set_title("68 and 95 % intervals")
    drawn.suptitle(title)
    return drawn


def _against_first(axis, curves, beam_pc: float) -> None:
    """Circular velocities over the median of the first model; bands of 68 %, thin lines at the limits of 95 %."""
    first = next(iter(curves))
    reference, widest, end = curves[first][1][3], 0.0, beam_pc
    for colour, (model, (radius, quantiles)) in zip(_MODELS, curves.items(), strict=False):
        percent = 100 * (quantiles / reference - 1)
        axis.fill_between(radius, percent[2], percent[4], color=colour, alpha=0.25, lw=0)
        axis.plot(radius, percent[[1, 5]].T, color=colour, lw=0.6)
        axis.plot(radius, percent[3], color=colour, lw=1.5, label=_spaced(model))
        near = (radius > beam_pc / 4) & (radius < 10 * beam_pc)
        widest, end = max(widest, abs(percent[1:6, near]).max(initial=0.0)), max(end, radius[-1])
    limit = float(np.clip(1.1 * widest, 5, 50))
    axis.axvline(beam_pc, color=style.REFERENCE, ls=":", lw=0.8)
    axis.text(beam_pc, 0.02, " beam", transform=axis.get_xaxis_transform(), color=style.REFERENCE, fontsize=8)
    axis.set(xscale="log", xlabel="R [pc]", ylabel=f"circular velocity over that of {_spaced(first)} [%]", xlim=(beam_pc / 4, end), ylim=(-limit, limit))
    axis.set_title("medians, 68 % (bands) and 95 % (thin)")
    axis.legend()


def _spaced(model: str) -> str:
    """Two lines for a long name."""
    words = model.split("_")
    return " ".join(words) if len(words) < 3 else f"{' '.join(words[:-1])}\n{words[-1]}"
