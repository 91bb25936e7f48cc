"""Causal graphs against known ones, and the time of their replicates: make bench AREA=graphs

GALMASS_PARTS=words measures the rows with one of these words in their names.
"""

import os
import time
from functools import partial
from itertools import pairwise

import networkx
import numpy as np
from bench_deprojection import settings
from bench_visibilities import row
from mocks import report

from galmass.catalogues import simulation, truth
from galmass.causality import comparison, graph, stability, truths
from galmass.causality import marks as m
from galmass.causality.knowledge import Knowledge
from galmass.causality.moments import checked, moments

D, N_EDGE, N_MODEL = 12, 22, 30  # 10 models leave a standard error of 0.05 in the mean
SKIES = range(101, 106)  # seeds; the default's own sky chose graphs.penalty
NAMES = [f"x{i}" for i in range(D)]
REPLICATES = {"pc": 1000, "ges": 100, "fci": 100}
N_REPLICATE, LIMITS = 40, (0.1, 0.5, 0.9, 0.999)  # of the calibration of frequencies


def linear(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Arrows of a random graph and n galaxies of its linear Gaussian model: slopes of 0.3 to 0.9 of either sign, unit noise."""
    rng = np.random.default_rng(seed)
    order, pairs = rng.permutation(D), np.argwhere(np.triu(np.ones((D, D)), 1))
    slopes = np.zeros((D, D))
    for i, j in order[pairs[rng.choice(len(pairs), N_EDGE, replace=False)]]:
        slopes[i, j] = rng.uniform(0.3, 0.9) * rng.choice([-1, 1])
    return slopes != 0, rng.standard_normal((n, D)) @ np.linalg.inv(np.eye(D) - slopes)


def recovered(method: str, goal: float | None) -> dict:
    """Structural Hamming distance over the number of edges, mean of N_MODEL models."""
    known, distances = Knowledge.of(NAMES), []
    for seed in range(N_MODEL):
        arrows, values = linear(seed, 100_000)
        found = graph.search_correlation(*moments(values, NAMES).correlation(), method, known)
        distances.append(m.distance(found.marks, comparison.class_of(m.of_dag(arrows), method, known)) / N_EDGE)
    value = float(np.mean(distances))
    about = {"each": [round(d, 2) for d in distances], "empty graph": 1.0}
    return row(round(value, 3), "SHD / edges", f"<= {goal}" if goal else "reported", goal is None or value <= goal, **about)


def replicated() -> dict:
    """All methods with their replicates at n = 4e5, on as many processes as there are cores."""
    _, values = linear(0, 400_000)
    start, threads = time.perf_counter(), os.cpu_count()
    sums, each = moments(values, NAMES), {}
    for method, n in REPLICATES.items():
        begun = time.perf_counter()
        stability.graphs(sums, method, Knowledge.of(NAMES), n, 1, threads)
        each[method] = round(time.perf_counter() - begun, 1)
    seconds = time.perf_counter() - start
    return row(round(seconds, 1), "s", "<= 150 s on two cores", seconds <= 150, each=each, processes=threads)


def sky(n: int, penalty: float | None = None) -> dict:
    """Simulated skies like the default's, n galaxies each: hidden cause, noise, flux limit; found, empty, correlations pointed forward, means over SKIES."""
    scores: dict[str, list] = {method: [] for method in graph.METHODS}
    for seed in SKIES:
        options = settings()["samples"]["mock"] | {"max_galaxies": n, "seed": seed}
        frame, _, _ = simulation.build(options)
        names = [name for tier in options["graph"]["tiers"] for name in tier]
        known, (values, _) = Knowledge.of(names, options["graph"]["tiers"]), checked(frame, names)
        sums, drawn = moments(values, names), networkx.node_link_data(truth.graph(options["effects"]), edges="edges")
        for method in graph.METHODS:
            found = graph.search_correlation(*sums.correlation(), method, known, **({"penalty": penalty} if penalty else {}))
            scores[method].append(truths.compared(drawn, found, sums, known, graph.DEFAULTS["alpha"])["scores"])
    value = {method: {name: mean(one[name]["distance"] for one in each) for name in ("found", "empty", "correlations")} for method, each in scores.items()}
    for method, each in scores.items():
        for said, key in (("arrowhead precision within tiers", "arrowhead_precision"), ("arrowheads true within tiers", "arrowheads_true")):
            value[method][said] = mean(one["found within tiers"][key] for one in each if one["found within tiers"][key] is not None)
    best = value["ges"]
    met = best["found"] < min(best["empty"], best["correlations"]) and best["arrowheads true within tiers"] >= 0.7
    goal = "reported" if penalty else "ges below the empty graph and below correlations; arrowheads within tiers true >= 0.7"
    return row(value, "SHD", goal, met or bool(penalty), skies=list(SKIES), penalty=penalty or graph.DEFAULTS["penalty"])


def calibrated(kind: str, method: str, n: int) -> dict:
    """Of pairs by how often bootstrap replicates joined them: the share that is joined in truth. Models are linear, or SKIES."""
    frequency, true = [], []
    for seed in range(10) if kind == "linear models" else SKIES:
        if kind == "linear models":
            arrows, values = linear(seed, n)
            names, marks = NAMES, m.pattern(arrows)
            known = Knowledge.of(NAMES)
        else:
            options = settings()["samples"]["mock"] | {"max_galaxies": n, "seed": seed}
            names = [name for tier in options["graph"]["tiers"] for name in tier]
            known, (values, _) = Knowledge.of(names, options["graph"]["tiers"]), checked(simulation.build(options)[0], names)
            drawn = truth.graph(options["effects"])
            marks = comparison.projected(drawn, [drawn.nodes[name].get("measures", name) for name in names])
        pairs = np.triu_indices(len(names), 1)
        frequency.append(stability.edge_frequencies(moments(values, names), method, known, N_REPLICATE, seed)["adjacent"][pairs])
        true.append((marks != m.NONE)[pairs])
    frequency, true = np.concatenate(frequency), np.concatenate(true)
    place = np.digitize(frequency, LIMITS)
    bins = [f"{low} - {high}" for low, high in pairwise((0, *LIMITS, 1))]
    value = {name: {"pairs": int((place == i).sum()), "joined": mean(true[place == i])} for i, name in enumerate(bins)}
    return row(
        value, "", "reported: joined in truth as often as in replicates", True, replicates=N_REPLICATE, brier=round(float(np.mean((frequency - true) ** 2)), 3)
    )


def mean(numbers) -> float:
    """NaN of none."""
    found = list(numbers)
    return round(float(np.mean(found)), 2) if found else float("nan")


def rows() -> dict:
    found = {f"linear models, {method}": partial(recovered, method, goal) for method, goal in (("pc", 0.36), ("ges", 0.23), ("fci", None))}
    found |= {"replicates at n = 4e5": replicated}
    found |= {f"simulated skies, {n} galaxies": partial(sky, n) for n in (3000, 20000)}
    found |= {"simulated skies, 20000 galaxies, BIC": partial(sky, 20000, 0.5)}
    sets = (("linear models", 1000), ("skies", 3000))
    return found | {f"frequencies, {kind}, {n} galaxies, {method}": partial(calibrated, kind, method, n) for kind, n in sets for method in ("pc", "ges")}


if __name__ == "__main__":
    report("graphs", rows())
