"""What the graph of the simulated sky says: which variables tell of the mass beyond what a network is fed.

A latent S that keeps all that an input X knows of the mass Y makes Y independent of X given S. If Y is
also independent of a variable Q given X, then (contraction) Y is independent of Q given S: the answers for X
are the answers for an ideal S. The survey sees selected galaxies only, so that everything is given ``selected``.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations

from galmass.catalogues.mock import ALL_BANDS, sky
from galmass.catalogues.schema import BANDS
from galmass.errors import InputError

ANSWERS = ("independent", "dependent", "determined")
_SHOWN = ("true_mag", "true_r50", "true_sersic_n", "axis_ratio", "position_angle")  # by the image of a band
_PIXEL = "pixel_{}_{}"


def graph(settings: Mapping):
    """The graph of all columns, hidden ones included (networkx.DiGraph)."""
    return sky.graph(settings)


def to_json(drawn) -> dict:
    """Nodes and arrows as networkx's node-link form; `networkx.node_link_graph(content, edges="edges")` reads it."""
    import networkx

    return networkx.node_link_data(drawn, edges="edges")


def _inverses() -> list[tuple[set[str], str]]:
    """Columns, and what can be computed from them against the direction of the arrows."""
    rules = [({"axis_ratio", "sersic_n"}, "inclination"), ({"sfr", "ssfr"}, "log_mass"), ({"true_sersic_n_r"}, "sersic_n")]
    rules += [({"attenuation", "inclination"}, "dust"), ({"true_r50_r", "z"}, "log_size"), ({"log_mass", "stellar_magnitude"}, "mass_to_light")]
    for band in BANDS:
        rules += [({f"petro_flux_{band}"}, f"petro_mag_{band}"), ({f"petro_mag_dered_{band}", "ebv"}, f"petro_mag_{band}")]
    for a, b in combinations(BANDS, 2):
        rules += [({f"true_sersic_n_{a}", f"true_sersic_n_{b}"}, name) for name in ("sersic_n", "sersic_n_gradient")]
        rules.append(({f"true_r50_{a}", f"true_r50_{b}"}, "size_gradient"))
    return rules


def determined_by(drawn, given: Iterable[str]) -> set[str]:
    """The given columns and all that can be computed from them."""
    known = set(given)
    forward = [(set(drawn.predecessors(node)), node) for node, random in drawn.nodes(data="random") if not random]
    rules = [(causes, node) for causes, node in forward + _inverses() if causes]
    while new := {node for causes, node in rules if causes <= known} - known:
        known |= new
    return known


def answer(drawn, query: str, given: Iterable[str], target: str = "log_mass") -> str:
    """Is the mass independent of `query` given these columns?

    Returns
    -------
    'independent', 'dependent' or 'determined'
        Determined: the given columns fix the query (or the mass), which then tells nothing new.

    Notes
    -----
    d-separation, with what the given columns determine added to them (Geiger, Verma & Pearl 1990, Networks 20,
    507). 'independent' always holds; 'dependent' holds for measured columns, whose noise is never cancelled.

    Raises
    ------
    InputError
        A column that the graph does not have.
    """
    import networkx

    unknown = [name for name in (query, target, *given) if name not in drawn]
    if unknown:
        raise InputError(f"the simulated sky has no variables {', '.join(unknown)}; it has {', '.join(drawn)}")
    known = determined_by(drawn, {*given, "selected"})
    if query in known or target in known:
        return "determined"
    return "independent" if networkx.is_d_separator(drawn, {target}, {query}, known) else "dependent"


def answers(drawn, blocks: Mapping[str, Iterable[str]], queries: Iterable[str]) -> list[dict]:
    """`answer` for every block of given columns and every query that the graph has."""
    asked = [query for query in queries if query in drawn]
    return [{"block": name, "query": query, "answer": answer(drawn, query, given)} for name, given in blocks.items() for query in asked]


def image_columns(bands: Iterable[str], brightness: bool = True) -> list[str]:
    """What an image of these bands shows, as nodes of `with_pixels`; `brightness` False: divided by the measured flux.

    The noise of a divided image, which tells how bright the galaxy is, is left aside.
    """
    return [_PIXEL.format(name, band) for band in bands for name in (_SHOWN if brightness else _SHOWN[1:])]


def with_pixels(drawn):
    """The graph with what images show: of every noiseless variable that a band's image is rendered from, a value with the noise of its pixels."""
    seen = drawn.copy()
    for band in ALL_BANDS:
        shape = band if band in BANDS else BANDS[-1]  # as the images are rendered
        for name in _SHOWN:
            cause = {"true_mag": f"true_mag_{band}", "true_r50": f"true_r50_{shape}", "true_sersic_n": f"true_sersic_n_{shape}"}.get(name, name)
            seen.add_node(_PIXEL.format(name, band), variable=_PIXEL.format(name, band), random=True)
            seen.add_edge(cause, _PIXEL.format(name, band))
    return seen


def implied_independences(settings: Mapping) -> list[dict]:
    """The basis of all independences: each variable, given its causes, is independent of what it does not cause.

    Bands of a variable are taken together. Holds for all galaxies; among the selected ones only where ``selected``
    is not caused by either side.
    """
    import networkx

    drawn = graph(settings)
    names = dict(drawn.nodes(data="variable"))
    whole = networkx.DiGraph({(names[a], names[b]) for a, b in drawn.edges})
    whole.add_nodes_from(names.values())
    rows = []
    for name in networkx.lexicographical_topological_sort(whole):
        causes = sorted(whole.predecessors(name))
        others = set(whole) - networkx.descendants(whole, name) - {name, *causes}
        rows.append({"variable": name, "given": causes, "independent_of": sorted(others)})
    return rows
