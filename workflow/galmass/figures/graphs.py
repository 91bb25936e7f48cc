"""Causal graphs: variables in columns by tier, edges as wide as they are frequent."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from galmass.figures import style

_TITLES = {"pc": "PC", "ges": "GES", "fci": "FCI"}
_WIDTH = 5.2  # of a panel [inch]


def places(tiers) -> dict[str, np.ndarray]:
    """Position (2,) of each variable: tiers from left to right, each spread evenly, every other one a little lower so that edges do not hide each other."""
    found = {}
    for x, tier in enumerate(tiers):
        heights = (np.arange(len(tier)) - (len(tier) - 1) / 2) * 1.1 + (0.35 if x % 2 else -0.05)
        found |= {name: np.array([1.0 * x, y]) for name, y in zip(tier, heights, strict=True)}
    return found


def side_by_side(contents, sample: str) -> Figure:
    """One column a method; one row for the graphs of all galaxies, and one for those with what each network says."""
    rows = {"": contents} | {name: [content["given_network"][name] for content in contents] for name in contents[0]["given_network"]}
    shapes = [_shape(row[0]["tiers"]) for row in rows.values()]
    drawn = style.figure(_WIDTH * len(contents), _WIDTH * sum(shapes) + 0.8)
    panels = drawn.subplots(len(rows), len(contents), squeeze=False, height_ratios=shapes)
    for axes, (name, row) in zip(panels, rows.items(), strict=True):
        for axis, content in zip(axes, row, strict=True):
            _draw(axis, content)
            seen = f"{content['table']['complete']} galaxies that {name} has not seen" if name else f"{content['table']['complete']} galaxies"
            axis.set_title(f"{_TITLES[content['method']]}, {seen}, {content['replicates']} replicates")
    drawn.suptitle(f"{sample}: hypotheses; line width: frequency of the edge in bootstrap replicates")
    return drawn


def _shape(tiers) -> float:
    """Height over width of a panel, as `_draw` frames it."""
    x, y = np.array(list(places(tiers).values())).T
    return (np.ptp(y) + 1.6) / (np.ptp(x) + 1.0)


def _draw(axis, content) -> None:
    at = places(content["tiers"])
    for edge in content["edges"]:
        start, end = at[edge["a"]], at[edge["b"]]
        bent = 0.0 if abs(end[0] - start[0]) == 1 else 0.22
        patch = FancyArrowPatch(
            start, end, connectionstyle=f"arc3,rad={bent}", arrowstyle="-", color="0.25", lw=0.4 + 2.2 * edge["frequency"], shrinkA=16, shrinkB=16
        )
        axis.add_patch(patch)
        control = (start + end) / 2 + bent * np.array([end[1] - start[1], start[0] - end[0]])
        for place, mark in ((start, edge["mark_a"]), (end, edge["mark_b"])):
            _end(axis, control, place, mark)
    for name, (x, y) in at.items():
        axis.text(
            x,
            y,
            name.replace("_", "\n", 1),
            ha="center",
            va="center",
            fontsize=7.5,
            bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": "0.6", "lw": 0.6},
            zorder=4,
        )
    corners = np.array(list(at.values()))
    axis.set_xlim(corners[:, 0].min() - 0.5, corners[:, 0].max() + 0.5)
    axis.set_ylim(corners[:, 1].min() - 0.8, corners[:, 1].max() + 0.8)
    axis.set_aspect("equal")  # arcs are circles on the page: their ends point where they should
    axis.set_axis_off()


def _end(axis, start, end, mark: str) -> None:
    """Arrowhead or circle where an edge that comes from `start` ends."""
    direction = (end - start) / np.hypot(*(end - start))
    tip = end - 0.28 * direction
    if mark == ">":
        axis.annotate(
            "",
            tip + 0.06 * direction,
            tip - 0.01 * direction,
            arrowprops={"arrowstyle": "-|>", "color": style.PERMUTED, "lw": 0, "mutation_scale": 13},
            zorder=5,
        )
    if mark == "o":
        axis.plot(*tip, "o", ms=5, mfc="white", mec=style.ORIGINAL, mew=1.2, zorder=5)
