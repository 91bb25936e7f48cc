"""Partial ancestral graphs: the marks that all maximal ancestral graphs with the same independences share. Causes may be hidden; nothing is selected on.

Rules 0 to 4 and 8 to 10 of Zhang (2008, Artificial Intelligence 172, 1873), which tiers leave complete (Andrews et al. 2020, AISTATS, 4002). Tiers put an
arrowhead at the later end and no tail at the earlier one: a common cause of both may be hidden.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from galmass.causality.marks import ARROW, CIRCLE, NONE, TAIL, directed, oriented


def partial(adjacent, separators: Mapping[frozenset, set], forbidden, required) -> np.ndarray:
    """Marks (d, d) that follow from who is joined, from what separates the others, and from what is known.

    Parameters
    ----------
    adjacent : bool array (d, d)
    separators : mapping
        Of pairs that are not joined: a set that makes them independent.
    forbidden, required : bool arrays (d, d), [cause, effect]
    """
    marks = np.where(adjacent, CIRCLE, NONE).astype(np.int8)
    marks[adjacent & forbidden.T] = ARROW
    for i, j in np.argwhere(adjacent & required):
        oriented(marks, i, j)
    for b in range(len(marks)):
        for a, c in _apart(marks, np.flatnonzero(adjacent[b])):
            if b not in separators.get(frozenset((a, c)), {b}) and TAIL not in (marks[a, b], marks[c, b]):
                marks[a, b] = marks[c, b] = ARROW
    while any([rule(marks, separators) for rule in (_colliders, _ancestors, _double_triangles, _discriminating_paths, _tails)]):
        pass
    return marks


def separators(marks) -> dict[frozenset, set]:
    """Of pairs that a maximal ancestral graph (d, d) does not join: the ancestors of both, which separate them (Richardson & Spirtes 2002)."""
    reach = directed(marks)
    for _ in marks:
        reach = reach | reach @ reach
    pairs = ((a, b) for a, b in combinations(range(len(marks)), 2) if marks[a, b] == NONE)
    return {frozenset((a, b)): set(np.flatnonzero(reach[:, a] | reach[:, b]).tolist()) - {a, b} for a, b in pairs}


def _apart(marks, those) -> list[tuple[int, int]]:
    """Pairs of some variables that are not joined."""
    return [(int(a), int(b)) for a, b in combinations(those, 2) if marks[a, b] == NONE]


def _open(marks) -> Iterator[tuple[int, int]]:
    """Ends that are circles, also when their turn comes."""
    for i, j in np.argwhere(marks == CIRCLE):
        if marks[i, j] == CIRCLE:
            yield int(i), int(j)


def _from(marks, i: int, j: int) -> None:
    """Make it i -> j where that was open."""
    marks[j, i] = TAIL
    if marks[i, j] == CIRCLE:
        marks[i, j] = ARROW


def _colliders(marks, _) -> bool:
    """Rule 1: a *-> b o-* c with a and c not joined is no collider, hence b -> c."""
    found = False
    for c, b in _open(marks):
        if ((marks[:, b] == ARROW) & (marks[:, c] == NONE) & (np.arange(len(marks)) != c)).any():
            _from(marks, b, c)
            found = True
    return found


def _ancestors(marks, _) -> bool:
    """Rule 2: a -> b *-> c or a *-> b -> c makes a *-o c an arrowhead at c."""
    found = False
    for a, c in _open(marks):
        if ((marks[a] == ARROW) & (marks[:, c] == ARROW) & ((marks[:, a] == TAIL) | (marks[c] == TAIL))).any():
            marks[a, c] = ARROW
            found = True
    return found


def _double_triangles(marks, _) -> bool:
    """Rule 3: a *-> b <-* c and a *-o d o-* c, with a and c not joined, makes d *-o b an arrowhead at b."""
    found = False
    for d, b in _open(marks):
        if _apart(marks, np.flatnonzero((marks[:, b] == ARROW) & (marks[:, d] == CIRCLE))):
            marks[d, b] = ARROW
            found = True
    return found


def _discriminating_paths(marks, separators: Mapping[frozenset, set]) -> bool:
    """Rule 4: at the last but one of a path of colliders that all cause its end, what separates first and end tells whether there is a collider, too."""
    found = False
    for c, b in _open(marks):
        for a, first in _starts(marks, b, c):
            separator = separators.get(frozenset((first, c)))
            if separator is None:
                continue
            if b in separator:
                _from(marks, b, c)
            else:
                marks[a, b] = marks[b, a] = marks[b, c] = marks[c, b] = ARROW
            found = True
            break
    return found


def _starts(marks, b: int, c: int) -> Iterator[tuple[int, int]]:
    """The variable before b, and the first one, of discriminating paths for b that end at c."""
    causes = directed(marks)[:, c]
    for a in np.flatnonzero(causes & (marks[b] == ARROW)):
        front, seen = [int(a)], {int(a), b, c}
        while front:
            last = front.pop()
            for before in np.flatnonzero(marks[:, last] == ARROW):
                if before in seen:
                    continue
                if marks[before, c] == NONE:
                    yield int(a), int(before)
                elif causes[before] and marks[last, before] == ARROW:
                    front.append(int(before))
                    seen.add(int(before))


def _tails(marks, _) -> bool:
    """Rules 8 to 10: a o-> c is a -> c where a -> b -> c, or where every way out of a that nothing closes leads to c or into it."""
    found = False
    for c, a in _open(marks):
        if marks[a, c] != ARROW:
            continue
        causes = directed(marks)
        eighth = (causes[a] & causes[:, c]).any()
        if eighth or _leads(marks, a, c, np.flatnonzero(causes[:, c])):
            marks[c, a] = TAIL
            found = True
    return found


def _leads(marks, a: int, c: int, causes) -> bool:
    """Rules 9 and 10, by the first steps of paths from a."""
    steps: dict[int, set[int]] = {}
    for path in _ways(marks, [a]):
        steps.setdefault(path[-1], set()).add(path[1])
    if any(first != c and marks[first, c] == NONE for first in steps.get(c, ())):
        return True
    pairs = ((x, y) for p, q in combinations(causes, 2) for x in steps.get(int(p), ()) for y in steps.get(int(q), ()))
    return any(x != y and marks[x, y] == NONE for x, y in pairs)


def _ways(marks, path: list[int]) -> Iterator[list[int]]:
    """Paths that may be directed, and on which no two neighbours of a variable are joined."""
    last = path[-1]
    for step in np.flatnonzero(marks[last] != NONE):
        closed = marks[step, last] == ARROW or marks[last, step] == TAIL
        if closed or step in path or (len(path) > 1 and marks[path[-2], step] != NONE):
            continue
        longer = [*path, int(step)]
        yield longer
        yield from _ways(marks, longer)
