"""How all figures look, and how they are written: the same bytes for the same data."""

import matplotlib
from matplotlib.figure import Figure

from galmass.stores import replacing

# Okabe & Ito: tells apart in print and for colour-blind readers
CLASS_COLOURS = {"star-forming": "#0072B2", "passive": "#D55E00", "other": "#009E73", "all": "#000000"}
ORIGINAL, PERMUTED, REFERENCE = "#0072B2", "#E69F00", "0.45"
MAP = "cividis"

matplotlib.use("agg")
matplotlib.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "figure.dpi": 100,
        "savefig.dpi": 150,
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.framealpha": 0.85,
        "legend.edgecolor": "none",
        "svg.hashsalt": "galmass",
    }
)


def figure(width: float, height: float) -> Figure:
    """An empty figure, size in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def save(drawn: Figure, path) -> None:
    """Write a figure as SVG without date; dense points inside are pixels."""
    with replacing(path) as part:
        drawn.savefig(part, format="svg", metadata={"Date": None, "Creator": None})
