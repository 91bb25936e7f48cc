"""Quality-assurance figure of a catalogue."""

import numpy as np
from matplotlib.figure import Figure

from galmass.catalogues.classes import baldry_divider
from galmass.catalogues.schema import BANDS, CLASSES
from galmass.figures import style


def quality(frame) -> Figure:
    """Redshifts, masses, colours and errors of the galaxies of a catalogue."""
    drawn = style.figure(9, 6.5)
    axes = drawn.subplots(2, 2)
    _redshifts(axes[0, 0], frame)
    _masses(axes[0, 1], frame)
    _colours(axes[1, 0], frame)
    _errors(axes[1, 1], frame)
    drawn.suptitle(f"{len(frame)} galaxies: " + ", ".join(f"{np.sum(frame['galaxy_class'] == c)} {c}" for c in CLASSES))
    return drawn


def _redshifts(axis, frame) -> None:
    bins = np.linspace(0, frame["z"].max(), 40)
    axis.hist([frame["z"][frame["galaxy_class"] == c] for c in CLASSES], bins, stacked=True, label=CLASSES, color=[style.CLASS_COLOURS[c] for c in CLASSES])
    axis.set(xlabel="redshift", ylabel="galaxies")
    axis.legend()


def _masses(axis, frame) -> None:
    cells = axis.hexbin(frame["z"], frame["log_mass"], gridsize=45, bins="log", mincnt=1, cmap=style.MAP, rasterized=True)
    axis.figure.colorbar(cells, ax=axis, label="galaxies")
    axis.set(xlabel="redshift", ylabel=r"log$_{10}$ stellar mass [M$_\odot$]")
    axis.set_title(f"median standard error {frame['log_mass_err'].median():.3f} dex")


def _colours(axis, frame) -> None:
    if "rest_u_r" not in frame:
        _star_formation(axis, frame)
        return
    for name in CLASSES:
        chosen = frame[frame["galaxy_class"] == name]
        axis.plot(chosen["abs_mag_r"], chosen["rest_u_r"], ".", ms=1.5, color=style.CLASS_COLOURS[name], label=name, rasterized=True)
    magnitudes = np.linspace(*np.nanquantile(frame["abs_mag_r"], [0.001, 0.999]), 100)
    axis.plot(magnitudes, baldry_divider(magnitudes), "k-", lw=1, label="Baldry et al. 2004")
    axis.set(xlabel=r"M$_r$ [mag]", ylabel="rest-frame u - r [mag]", ylim=np.nanquantile(frame["rest_u_r"], [0.001, 0.999]) + np.array([-0.2, 0.2]))
    axis.invert_xaxis()
    axis.legend(markerscale=5, loc="lower right")


def _star_formation(axis, frame) -> None:
    """For a sample without rest-frame colours."""
    for name in CLASSES:
        chosen = frame[frame["galaxy_class"] == name]
        axis.plot(chosen["log_mass"], chosen["ssfr"], ".", ms=1.5, color=style.CLASS_COLOURS[name], label=name, rasterized=True)
    axis.set(xlabel=r"log$_{10}$ stellar mass [M$_\odot$]", ylabel="log$_{10}$ sSFR [yr$^{-1}$]")
    axis.legend(markerscale=5, loc="lower left")


def _errors(axis, frame) -> None:
    axis.boxplot([frame[f"petro_mag_err_{b}"] for b in BANDS], tick_labels=BANDS, whis=(1, 99), showfliers=False, medianprops={"color": style.PERMUTED})
    axis.set(yscale="log", xlabel="band", ylabel="Petrosian magnitude error [mag]")
    axis.set_title("median, quartiles, 1st and 99th percentile")
