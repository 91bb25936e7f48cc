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
        """-n/2 ln(variance left) less the penalty of each parent, bool (d,)."""
        key = (child, parents.tobytes())
        if key not in self.known:
            given = np.flatnonzero(parents)
            left = 1.0
            if len(given):
                slopes = np.linalg.solve(self.correlation[np.ix_(given, given)], self.correlation[given, child])
                left = max(1.0 - float(self.correlation[child, given] @ slopes), 1e-12)
            self.known[key] = -0.5 * self.n * np.log(left) - self.each * len(given)
        return self.known[key]

    def changed(self, child: int, parents, forbidden) -> np.ndarray:
        """Scores (d,) of a variable with each other one added to its parents or taken from them; minus infinity where that is forbidden, bool (d,)."""
        found, parents = np.full(len(parents), -np.inf), parents.copy()
        for other in np.flatnonzero(~forbidden):
            if other != child:
                parents[other] ^= True
                found[other] = self.of(child, parents)
                parents[other] ^= True
        return found

    def total(self, arrows) -> float:
        """Score of a graph, bool (d, d) [cause, effect]."""
        return sum(self.of(child, arrows[:, child]) for child in range(len(arrows)))


def descends(arrows) -> np.ndarray:
    """``[i, j]``: a directed path leads from i to j, bool (d, d)."""
    found = arrows.copy()
    for _ in range(len(arrows).bit_length()):  # paths double in length
        found |= found @ found
    return found


def extension(marks, forbidden, required) -> np.ndarray:
    """A directed acyclic graph in the class of a pattern, with what is known: lines are taken forward in an order that the arrows allow."""
    arrows = m.directed(marks) & ~forbidden
    for i, j in np.argwhere(np.triu(m.undirected(marks))):
        for a, b in ((i, j), (j, i)):
            if not forbidden[a, b] and not descends(arrows)[b, a]:
                arrows[a, b] = True
                break
    arrows |= required
    # arrows of a finite sample's pattern may run in a circle, and against those that are required
    for a, b in np.argwhere(arrows & ~required):
        if descends(arrows)[b, a]:
            arrows[a, b] = False
    return arrows


def climbed(arrows, scores: Scores, forbidden, required) -> np.ndarray:
    """The local optimum that steepest ascent reaches from a directed acyclic graph, bool (d, d)."""
    arrows = (arrows & ~forbidden) | required
    own, changed = np.zeros(len(arrows)), np.zeros(arrows.shape)
    stale = range(len(arrows))
    for _ in range(STEPS):
        for child in stale:
            own[child], changed[:, child] = scores.of(child, arrows[:, child]), scores.changed(child, arrows[:, child], forbidden[:, child])
        gains = _gains(arrows, own, changed, required)
        i, j, turned = np.unravel_index(gains.argmax(), gains.shape)
        if gains[i, j, turned] <= GAIN:
            return arrows
        arrows[i, j] ^= True
        arrows[j, i] |= bool(turned)
        stale = (i, j) if turned else (j,)
    return arrows


def _gains(arrows, own, changed, required) -> np.ndarray:
    """What it gains to insert or delete i -> j, [i, j, 0], and to turn it, [i, j, 1]; minus infinity where that closes a circle or is not to be.

    Parameters
    ----------
    own : float array (d,)
        Score of each variable.
    changed : float array (d, d)
        Score of j with the arrow i -> j inserted or deleted.
    """
    below, free = descends(arrows), arrows & ~required
    change = changed - own
    turn = change + changed.T - own[:, None]
    again = arrows @ below  # another path leads from i to j, which the turned arrow would close
    return np.stack([np.where(np.where(arrows, free, ~below.T), change, -np.inf), np.where(free & ~again, turn, -np.inf)], axis=-1)


def better(marks, correlation, n: float, penalty: float, forbidden, required, patience: int = PATIENCE, seed: int = 0) -> np.ndarray:
    """Pattern (d, d) of the best graph that ascents reach: from a pattern, from nothing, and from the best so far with some of its arrows taken away at random.

    Ends after `patience` ascents that lead to nothing better.
    """
    scores, generator = Scores(correlation, n, penalty), np.random.default_rng(seed)
    starts = extension(marks, forbidden, required), np.zeros_like(forbidden)
    best = max((climbed(start, scores, forbidden, required) for start in starts), key=scores.total)
    idle = 0
    while idle < patience:
        share = generator.choice(SHARES)
        found = climbed(best & (generator.random(best.shape) > share), scores, forbidden, required)
        idle = 0 if scores.total(found) > scores.total(best) + GAIN else idle + 1
        best = best if idle else found
    return m.imposed(m.pattern(best), forbidden, required)
