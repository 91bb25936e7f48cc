"""From a graph that greedy equivalence search found to a better one: it stops where no single insertion or deletion helps, also where a turned arrow would.

Steepest ascent of the BIC score of Gaussian directed acyclic graphs by insertions, deletions and turns (the turning phase of Hauser & Buhlmann 2012, JMLR 13,
2409, among graphs instead of classes), within what is known of the arrows.
"""

import numpy as np

from galmass.causality import marks as m

STEPS = 1000  # of an ascent, more than any takes
PATIENCE, SHARES = 30, (0.1, 0.3, 0.6)  # ascents without a better graph; arrows that are taken away before one
GAIN = 1e-6  # of the score that is worth a step: rounding gives none


class Scores:
    """BIC score [nat] of each variable given its parents, from a correlation matrix (d, d) of n galaxies: each set is scored once."""

    def __init__(self, correlation, n: float, penalty: float):
        self.correlation, self.n, self.each, self.known = correlation, n, penalty * np.log(n), {}

    def of(self, child: int, parents) -> float:
        """-n/2 ln(variance left) less the penalty of each parent."""
        key = (child, tuple(int(k) for k in np.flatnonzero(parents)))
        if key not in self.known:
            given = list(key[1])
            left = 1.0
            if given:
                slopes = np.linalg.solve(self.correlation[np.ix_(given, given)], self.correlation[given, child])
                left = max(1.0 - float(self.correlation[child, given] @ slopes), 1e-12)
            self.known[key] = -0.5 * self.n * np.log(left) - self.each * len(given)
        return self.known[key]

    def total(self, arrows) -> float:
        """Score of a graph, bool (d, d) [cause, effect]."""
        return sum(self.of(child, arrows[:, child]) for child in range(len(arrows)))


def reaches(arrows, start: int, end: int) -> bool:
    """Whether a directed path leads from start to end."""
    seen = np.zeros(len(arrows), bool)
    front = arrows[start].copy()
    while front.any():
        if front[end]:
            return True
        seen |= front
        front = arrows[front].any(0) & ~seen
    return False


def extension(marks, forbidden) -> np.ndarray:
    """A directed acyclic graph in the class of a pattern, without forbidden arrows: lines are taken forward in an order that the arrows allow."""
    arrows = m.directed(marks) & ~forbidden
    for i, j in np.argwhere(np.triu(m.undirected(marks))):
        for a, b in ((i, j), (j, i)):
            if not forbidden[a, b] and not reaches(arrows, b, a):
                arrows[a, b] = True
                break
    # arrows of a finite sample's pattern may run in a circle
    for a, b in np.argwhere(arrows):
        if reaches(arrows, b, a):
            arrows[a, b] = False
    return arrows


def climbed(arrows, scores: Scores, forbidden, required) -> np.ndarray:
    """The local optimum that steepest ascent reaches from a graph, bool (d, d)."""
    arrows = (arrows & ~forbidden) | required
    d = len(arrows)
    for _ in range(STEPS):
        best, step = GAIN, None
        own = [scores.of(j, arrows[:, j]) for j in range(d)]
        for i in range(d):
            for j in range(d):
                if i == j or (required[i, j] and arrows[i, j]):
                    continue
                for changed, gain in _moves(arrows, scores, forbidden, own, i, j):
                    if gain > best and changed is not None:
                        best, step = gain, changed
        if step is None:
            return arrows
        for a, b, there in step:
            arrows[a, b] = there
    return arrows


def _moves(arrows, scores: Scores, forbidden, own, i: int, j: int):
    """Changes of the arrow i -> j, as (cause, effect, there), with what each gains."""
    parents = arrows[:, j].copy()
    if arrows[i, j]:
        parents[i] = False
        without = scores.of(j, parents) - own[j]
        yield [(i, j, False)], without
        if not forbidden[j, i]:
            turned = arrows.copy()
            turned[i, j] = False
            others = arrows[:, i].copy()
            others[j] = True
            gain = without + scores.of(i, others) - own[i]
            if gain > GAIN and not reaches(turned, i, j):
                yield [(i, j, False), (j, i, True)], gain
    elif not arrows[j, i] and not forbidden[i, j]:
        parents[i] = True
        gain = scores.of(j, parents) - own[j]
        if gain > GAIN and not reaches(arrows, j, i):
            yield [(i, j, True)], gain


def better(marks, correlation, n: float, penalty: float, forbidden, required, patience: int = PATIENCE, seed: int = 0) -> np.ndarray:
    """Pattern (d, d) of the best graph that ascents reach: from a pattern, from nothing, and from the best so far with some of its arrows taken away at random.

    Ends after `patience` ascents that lead to nothing better.
    """
    scores, generator = Scores(correlation, n, penalty), np.random.default_rng(seed)
    starts = extension(marks, forbidden), np.zeros_like(forbidden)
    best = max((climbed(start, scores, forbidden, required) for start in starts), key=scores.total)
    idle = 0
    while idle < patience:
        share = generator.choice(SHARES)
        found = climbed(best & (generator.random(best.shape) > share), scores, forbidden, required)
        idle = 0 if scores.total(found) > scores.total(best) + GAIN else idle + 1
        best = best if idle else found
    return m.imposed(m.pattern(best), forbidden, required)
