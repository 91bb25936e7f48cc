"""What is known of a graph before any data: tiers in time, forbidden and required arrows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from galmass.errors import InputError


@dataclass(frozen=True)
class Knowledge:
    """Arrows that cannot be and arrows that must be, bool arrays (d, d), [cause, effect]."""

    names: tuple[str, ...]
    forbidden: np.ndarray
    required: np.ndarray

    @classmethod
    def of(cls, names, tiers=None, forbidden=(), required=()) -> "Knowledge":
        """From names.

        Parameters
        ----------
        names : sequence of str
        tiers : sequence of sequences of str, optional
            Nothing causes what is in an earlier tier. All variables have a place, or there are no tiers.
        forbidden, required : sequences of (cause, effect)

        Raises
        ------
        InputError
            An unknown name, one in two tiers or in none, or knowledge that contradicts itself.
        """
        names = tuple(names)
        place = {name: i for i, name in enumerate(names)}
        named = [name for tier in tiers or () for name in tier] + [name for pair in (*forbidden, *required) for name in pair]
        unknown = sorted(set(named) - set(names))
        if unknown:
            raise InputError(f"tiers or arrows name {', '.join(unknown)}, which the graph does not have; it has {', '.join(names)}")
        rank = _ranks(names, tiers)
        banned = rank[:, None] > rank[None, :]
        wanted = np.zeros((len(names), len(names)), bool)
        for array, pairs in ((banned, forbidden), (wanted, required)):
            for cause, effect in pairs:
                array[place[cause], place[effect]] = True
        found = cls(names, banned, wanted)
        found._check()
        return found

    @classmethod
    def of_sample(cls, entry: Mapping, later=()) -> "Knowledge":
        """Of a sample's graph (``samples.<name>.graph``), with other variables in a tier after its own; arrows of variables that are not there are left out."""
        tiers = [*entry["tiers"], *([list(later)] if later else [])]
        names = [name for tier in tiers for name in tier]
        forbidden, required = ([pair for pair in entry[key] if set(pair) <= set(names)] for key in ("forbidden", "required"))
        return cls.of(names, tiers, forbidden, required)

    def _check(self) -> None:
        both = np.argwhere(self.required & self.forbidden)
        if len(both):
            raise InputError("required arrows that are forbidden too, by tiers or by name: " + ", ".join(self._said(pair) for pair in both))
        reach = self.required.copy()
        for _ in self.names:
            reach |= reach @ self.required
        if reach.diagonal().any():
            raise InputError(f"required arrows run in a circle through {', '.join(np.array(self.names)[reach.diagonal()])}")

    def _said(self, pair) -> str:
        return f"{self.names[pair[0]]} -> {self.names[pair[1]]}"

    def background(self):
        """The same for causal-learn, which matches nodes by name."""
        from causallearn.graph.GraphNode import GraphNode
        from causallearn.utils.PCUtils.BackgroundKnowledge import BackgroundKnowledge

        said, nodes = BackgroundKnowledge(), [GraphNode(name) for name in self.names]
        for i, j in np.argwhere(self.forbidden):
            said.add_forbidden_by_node(nodes[i], nodes[j])
        for i, j in np.argwhere(self.required):
            said.add_required_by_node(nodes[i], nodes[j])
        return said

    def reordered(self, order) -> "Knowledge":
        """For the variables in another order (d,)."""
        grid = np.ix_(order, order)
        return Knowledge(tuple(np.array(self.names)[order]), self.forbidden[grid], self.required[grid])


def _ranks(names, tiers) -> np.ndarray:
    """Tier (d,) of each variable; one for all where there are none."""
    if not tiers:
        return np.zeros(len(names), int)
    of = {}
    for i, tier in enumerate(tiers):
        for name in tier:
            if name in of:
                raise InputError(f"{name} is in two tiers")
            of[name] = i
    absent = [name for name in names if name not in of]
    if absent:
        raise InputError(f"{', '.join(absent)} are in no tier; name all variables, or give no tiers")
    return np.array([of[name] for name in names])
