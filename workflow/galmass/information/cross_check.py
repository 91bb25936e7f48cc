"""The same informations by several methods side by side, and what each takes for granted."""

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np

from galmass.errors import InputError
from galmass.information import continuous, discrete
from galmass.information.decomposition import COMPONENTS, INFORMATIONS, KINDS

SHOWN = (*INFORMATIONS, *COMPONENTS)
OTHERS = ("plug_in", "miller_madow")  # corrections that stand beside the jackknife
_SUMMARIES = "each input is its mass estimate alone, which cannot tell more than the input; so synergy of what the estimates leave out is lost"
_BINNED = f"{_SUMMARIES}; estimates and mass in quantile bins, which tell less than the numbers; atoms of corrected informations"
ASSUMES = {
    "networks, pointwise": "all of each input, as far as the networks learnt it (lower bounds up to the excess of the prior); "
    "the smaller information is redundant galaxy by galaxy, and noise of the networks lowers it",
    "networks, mean": "the same; the smaller of the averages is redundant (minimum mutual information)",
    "mmi": f"{_BINNED}; the smaller information is redundant, even where the inputs tell different things",
    "ig": f"{_BINNED}; synergistic is the distance to the nearest distribution between the two in which one input screens off the other (Niu & Quinn)",
    "broja": f"{_BINNED}; unique is what each pair of an input and the mass enforces (Bertschinger et al.)",
    "ccs": f"{_BINNED}; redundant are changes of surprisal of one sign, negative ones too (Ince)",
    "dep": f"{_BINNED}; unique is the least that the dependence of an input and the mass adds to any model of dependences (James et al.)",
    "ksg": f"{_SUMMARIES}; no bins: smooth densities at the scale of nearest neighbours; the smaller information is redundant; no interval",
    "ksg, union": "the mass estimate of both together in place of the two estimates; otherwise as ksg",
}


def rows(estimates: Mapping, mass, summary: Mapping, options: Mapping, seed: int) -> list[dict]:
    """Informations and components of a tuple by every method.

    Parameters
    ----------
    estimates : mapping of 'first', 'second', 'union' to float array (n_galaxy,) [log10 M_sun]
        Mass estimates of held-out galaxies.
    mass : float array (n_galaxy,) [log10 M_sun]
    summary : mapping
        What `decompose_information` found.
    options : mapping
        ``bins``, ``measures``, ``limit_s``, ``bootstrap``, ``ksg``.

    Returns
    -------
    list of dict
        ``method``, ``bins`` (None without), ``n``, ``why`` there are no numbers (None where there are), ``assumes``, and of each information
        and component ``[value, lower, upper]`` [nat] (95 %; None without an interval), or None. Of those counted in bins these are by
        jackknife, and ``plug_in`` and ``miller_madow`` have the others.

    Raises
    ------
    InputError
        An estimate is NaN or constant, or there are too few galaxies for any of the numbers of bins.
    """
    pair, rng = (estimates["first"], estimates["second"]), np.random.default_rng(seed)
    counts = {b: discrete.table(*pair, mass, b) for b in options["bins"] if discrete.suffices(len(mass), b)}
    if not counts:
        fewest = min(options["bins"])
        raise InputError(f"{len(mass)} galaxies are too few for the {fewest**3} cells of {fewest} bins; ask for fewer in information.cross_check.bins")
    found = [_from_networks(summary, kind) for kind in KINDS]
    intervals = {b: discrete.intervals(table, options["bootstrap"], rng) for b, table in counts.items()}
    measures = ("mmi", *options["measures"])
    by_dit = {(row["measure"], row["bins"]): row for row in discrete.decompose(counts, measures, options["limit_s"], seed)}
    for measure, b in product(measures, options["bins"]):
        row = by_dit.get((measure, b), dict.fromkeys(discrete.CORRECTIONS) | {"why": f"left out: {len(mass)} galaxies for {b**3} cells"})
        values = row["jackknife"] and {name: [value, None, None] for name, value in row["jackknife"].items()}
        values = intervals[b] if values and measure == "mmi" else values
        found.append(_row(measure, b, len(mass), values) | {key: row[key] for key in (*OTHERS, "why")})
    alone, n = continuous.informations(*pair, mass, options["ksg"], rng)
    found.append(_row("ksg", None, n, {name: [value, None, None] for name, value in discrete.quantities(alone).items()}))
    union = continuous.information(estimates["union"], mass, options["ksg"], rng)
    return [*found, _row("ksg, union", None, n, {"information_12": [union, None, None]})]


def _row(method: str, n_bin: int | None, n: int, values: Mapping | None) -> dict:
    told = {name: (values or {}).get(name) for name in SHOWN}
    return {"method": method, "bins": n_bin, "n": n, "why": None, "assumes": ASSUMES[method]} | dict.fromkeys(OTHERS) | told


def _from_networks(summary: Mapping, kind: str) -> dict:
    values = next(row for row in summary["rows"] if row["label"] == "all" and row["kind"] == kind)
    return _row(f"networks, {kind}", None, summary["n"], values)


def table(found: list[Mapping]) -> list[dict]:
    """The rows for people."""
    lines = []
    for row in found:
        line = {"method": row["method"], "bins": row["bins"] or "", "n": row["n"]}
        line |= {f"{name}_nat": _words(row[name]) for name in SHOWN}
        line |= {f"synergistic_{other}_nat": f"{row[other]['synergistic']:.3f}" if row[other] else "" for other in OTHERS}
        lines.append(line | {"without numbers because": row["why"] or "", "assumes": row["assumes"]})
    return lines


def _words(value) -> str:
    if value is None:
        return ""
    return f"{value[0]:.3f}" if value[1] is None else f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"


def lines(found: list[Mapping]) -> Iterator[str]:
    """The rows in the lines of a log."""
    for row in found:
        said = row["why"] or ", ".join(f"{name} {_words(row[name])}" for name in SHOWN if row[name])
        yield f"{row['method']}{', ' + str(row['bins']) + ' bins' if row['bins'] else ''}: {said}"
