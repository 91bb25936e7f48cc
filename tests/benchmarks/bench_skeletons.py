"""PC on correlations against known linear Gaussian graphs, and the time of its bootstrap replicates: make bench AREA=skeletons"""

import time

import numpy as np
from record import measure

from galmass.causality import comparison, skeletons
from galmass.causality.skeletons import Rules

P, EDGES, N, ALPHA, MAX_GIVEN, REPLICATES = 12, 22, 100_000, 0.001, 4, 1000
RULES = Rules.of(np.zeros(P, int))


def model(seed: int):
    """Arrows of a random graph, columns in random order, and galaxies (N, P) of it."""
    g = np.random.default_rng(seed)
    pairs = np.argwhere(np.triu(np.ones((P, P), bool), 1))
    chosen = pairs[g.choice(len(pairs), EDGES, replace=False)]
    weights = np.zeros((P, P))
    weights[tuple(chosen.T)] = g.uniform(0.3, 0.9, EDGES) * g.choice([-1, 1], EDGES)
    order = g.permutation(P)
    weights = weights[np.ix_(order, order)]
    return weights != 0, g.normal(size=(N, P)) @ np.linalg.inv(np.eye(P) - weights)


def recovery() -> dict:
    """Distance over true edges, mean of ten graphs."""
    found = []
    for seed in range(10):
        arrows, data = model(seed)
        parts = skeletons.skeletons(np.corrcoef(data.T)[None], N, ALPHA, RULES, MAX_GIVEN)
        marks = skeletons.oriented(*(part[0] for part in parts), RULES)
        found.append(comparison.scores(marks, comparison.cpdag(arrows), RULES)["shd"] / EDGES)
    value = float(np.mean(found))
    return {"value": value, "unit": "SHD / true edges", "goal": "<= 0.36", "met": value <= 0.36, "peer": "empty graph 1"}


def replicates() -> dict:
    """Seconds of all replicates, from the moments of 1000 blocks on."""
    _, data = model(0)
    g, padded = np.random.default_rng(0), np.column_stack([np.ones(N), data])
    moments = np.stack([part.T @ part for part in np.array_split(padded, 1000)])
    total = np.tensordot(g.multinomial(1000, np.full(1000, 1e-3), REPLICATES).astype(float), moments, 1)
    mean = total[:, 0, 1:] / N
    covariance = total[:, 1:, 1:] / N - mean[:, :, None] * mean[:, None, :]
    scale = np.sqrt(np.einsum("rii->ri", covariance))
    start = time.perf_counter()
    parts = skeletons.skeletons(covariance / (scale[:, :, None] * scale[:, None, :]), N, ALPHA, RULES, MAX_GIVEN)
    for one in zip(*parts, strict=True):
        skeletons.oriented(*one, RULES)
    value = time.perf_counter() - start
    return {"value": value, "unit": "s", "goal": "<= 150, with GES and FCI", "met": value <= 150, "peer": "naive 0.9 s a replicate"}


if __name__ == "__main__":
    measure("PC, ten linear Gaussian graphs", recovery)
    measure(f"PC, {REPLICATES} replicates", replicates)
