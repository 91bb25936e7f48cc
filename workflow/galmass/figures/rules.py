"""The rules of a run and what flows between them: ``snakemake --rulegraph dot | python -m galmass.figures.rules rules.svg``"""

import re
import sys

import networkx as nx
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from galmass.figures import style

_ALL = {"all", "record_provenance"}  # follow everything
_COLUMN, _ROW, _WIDTH = 1.72, 0.27, 1.5  # inches
_FIGURE = "#56B4E9"


def parsed(dot: str) -> nx.DiGraph:
    """Rules and what they need, without what another path says already."""
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)', dot, re.MULTILINE))
    graph = nx.DiGraph()
    graph.add_nodes_from(names.values())
    graph.add_edges_from((names[a], names[b]) for a, b in re.findall(r"^\s*(\d+) -> (\d+)", dot, re.MULTILINE))
    graph.remove_nodes_from(_ALL)
    graph.remove_edges_from(nx.selfloop_edges(graph))
    return nx.transitive_reduction(graph)


def places(graph: nx.DiGraph) -> dict[str, tuple[float, float]]:
    """Column and row of each rule: as early as its inputs allow, sources as late as what they feed; wings below each other."""
    at, below = {}, 0.0
    for members in sorted(map(sorted, nx.weakly_connected_components(graph)), key=lambda names: (-len(names), names)):
        part = graph.subgraph(members)
        column: dict[str, int] = {}
        for name in nx.lexicographical_topological_sort(part):
            column[name] = max((column[before] + 1 for before in part.predecessors(name)), default=0)
        for name in [name for name in members if not part.in_degree(name) and part.out_degree(name)]:
            column[name] = min(column[after] for after in part.successors(name)) - 1
        columns = [[name for name in members if column[name] == i] for i in range(max(column.values()) + 1)]
        row = {name: float(i) - (len(names) - 1) / 2 for names in columns for i, name in enumerate(names)}
        for sweep in range(40):  # each next to its neighbours, by turns from the left and from the right
            for names in columns if sweep % 2 else columns[::-1]:
                wanted = {name: np.mean([row[other] for other in sorted(nx.all_neighbors(part, name))] or [row[name]]) for name in names}
                names.sort(key=lambda name: (wanted[name], name))
                shift = np.mean([wanted[name] for name in names])
                row |= {name: shift + i - (len(names) - 1) / 2 for i, name in enumerate(names)}
        top = min(row.values())
        at |= {name: (column[name] * _COLUMN, -(below + row[name] - top) * _ROW) for name in members}
        below += max(row.values()) - top + 2
    return at


def drawn(dot: str) -> Figure:
    """A box for each rule, coloured where it makes figures."""
    graph = parsed(dot)
    at = places(graph)
    x, y = np.array(list(at.values())).T
    figure = style.figure(np.ptp(x) + _WIDTH + 0.1, np.ptp(y) + 2 * _ROW)
    axis = figure.subplots()
    for a, b in sorted(graph.edges):
        (x_a, y_a), (x_b, y_b) = at[a], at[b]
        start, end, half = x_a + _WIDTH / 2, x_b + _WIDTH / 2, (x_b - x_a) / 2
        curve = Path([(start, y_a), (start + half, y_a), (end - half, y_b), (end, y_b)], [Path.MOVETO, *[Path.CURVE4] * 3])
        axis.add_patch(PathPatch(curve, fc="none", ec="0.6", lw=0.8))  # from centre to centre: boxes lie on top
    for name, (x_box, y_box) in at.items():
        colour = _FIGURE if name.startswith(("plot_", "map_")) else "white"
        box = {"boxstyle": "square,pad=0.3", "fc": colour, "ec": "0.3", "lw": 0.7}
        axis.text(x_box + _WIDTH / 2, y_box, name, ha="center", va="center", fontsize=8.5, bbox=box)
    axis.set_xlim(x.min() - 0.05, x.max() + _WIDTH + 0.05)
    axis.set_ylim(y.min() - _ROW, y.max() + _ROW)
    axis.set_axis_off()
    return figure


if __name__ == "__main__":
    style.save(drawn(sys.stdin.read()), sys.argv[1])
