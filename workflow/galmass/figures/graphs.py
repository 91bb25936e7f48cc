"""Causal graphs: variables in columns by tier, edges as wide as they are frequent."""

import numpy as np
from matplotlib.figure import Figure

from galmass.figures import style

_TITLES = {"pc": "PC", "ges": "GES", "fci": "FCI"}
_WIDTH = 5.2  # of a panel [inch]
_SIZE = 7.5  # of letters [pt]
_BENDS, _CLEAR = (0.0, 0.12, -0.12, 0.24, -0.24, 0.36, -0.36), 1.3  # of arcs; half sizes of a box from its middle that are far enough


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
    at, unit = places(content["tiers"]), _WIDTH / (len(content["tiers"]) + 0.5)
    sizes = {name: _half_size(name) / unit for name in at}
    for edge in content["edges"]:
        a, b = edge["a"], edge["b"]
        curve = _curve(at[a], at[b], [(at[name], sizes[name]) for name in at if name not in (a, b)])
        axis.plot(*curve.T, color="0.25", lw=0.4 + 2.2 * edge["frequency"], zorder=1)
        _end(axis, curve, sizes[a], edge["mark_a"])
        _end(axis, curve[::-1], sizes[b], edge["mark_b"])
    for name, (x, y) in at.items():
        axis.text(
            x,
            y,
            _words(name),
            ha="center",
            va="center",
            fontsize=_SIZE,
            bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": "0.6", "lw": 0.6},
            zorder=4,
        )
    corners = np.array(list(at.values()))
    axis.set_xlim(corners[:, 0].min() - 0.5, corners[:, 0].max() + 0.5)
    axis.set_ylim(corners[:, 1].min() - 0.8, corners[:, 1].max() + 0.8)
    axis.set_aspect("equal")
    axis.set_axis_off()


def _words(name: str) -> str:
    return name.replace("_", "\n", 1)


def _half_size(name: str) -> np.ndarray:
    """Half of width and height of the box about a name [inch], from the number of its letters."""
    lines = _words(name).split("\n")
    return np.array([0.28 * max(map(len, lines)) + 0.35, 0.62 * len(lines) + 0.3]) * _SIZE / 72


def _curve(start, end, others) -> np.ndarray:
    """Points (100, 2) of the least bent arc from one place to another that keeps clear of the boxes at other places, or of the clearest."""
    t = np.linspace(0, 1, 100)[:, None]
    across = np.array([end[1] - start[1], start[0] - end[0]])
    curves = [(1 - t) ** 2 * start + 2 * t * (1 - t) * ((start + end) / 2 + bent * across) + t**2 * end for bent in _BENDS]
    # 1 where an arc touches a box
    clear = [min((np.abs((curve - place) / size).max(1).min() for place, size in others), default=_CLEAR) for curve in curves]
    return curves[max(range(len(curves)), key=lambda i: (min(clear[i], _CLEAR), -i))]


def _end(axis, curve, size, mark: str) -> None:
    """Arrowhead or circle where a curve enters the box, half as large as `size`, about its first point; on its first third also where boxes overlap."""
    if mark == "-":
        return
    inside = np.abs((curve - curve[0]) / size).max(1) <= 1
    tip, before = curve[min(inside.sum(), len(curve) // 3) :][:2]
    if mark == ">":
        axis.annotate(
            "", tip, before, arrowprops={"arrowstyle": "-|>", "color": style.PERMUTED, "lw": 0, "mutation_scale": 19, "shrinkA": 0, "shrinkB": 0}, zorder=5
        )
    else:
        axis.plot(*tip, "o", ms=5, mfc="white", mec=style.ORIGINAL, mew=1.2, zorder=5)
