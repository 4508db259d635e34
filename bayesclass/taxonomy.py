"""The class tree: exclusive leaves, inner nodes above them, and what a raw label allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

import numpy as np
import pandas as pd


class TaxonomyError(ValueError):
    """A class tree without meaning; the message names the class."""


@dataclass(frozen=True)
class Taxonomy:
    """Exclusive and exhaustive leaves with inner nodes above them.

    The probability of a node is the sum of its leaves. Two nodes either share no leaf or one lies within
    the other, so that every class has one path from the top.

    Parameters
    ----------
    leaves : sequence of str
        Two or more; their order is the order of every class axis.
    nodes : mapping of str to sequence of str, optional
        Inner node -> leaves or inner nodes.
    labels : mapping of str to str or sequence of str, optional
        Raw label -> the leaf or inner node, or several of which one is right. Names of leaves and inner
        nodes are labels for themselves unless they are given here.

    Raises
    ------
    TaxonomyError
        Too few leaves, a name used twice, a child that is not known, a cycle, nodes that overlap without
        one being within the other, or a label that leads nowhere.
    """

    leaves: tuple[str, ...]
    nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "leaves", tuple(self.leaves))
        object.__setattr__(self, "nodes", {node: _names(members) for node, members in self.nodes.items()})
        object.__setattr__(self, "labels", {label: _names(to) for label, to in self.labels.items()})
        self._check_names()
        self._check_children()
        self._check_nesting()

    def _check_names(self):
        repeated = [leaf for i, leaf in enumerate(self.leaves) if leaf in self.leaves[:i]]
        if repeated:
            raise TaxonomyError(f"Each leaf must have its own name, found {repeated[0]!r} twice.")
        if len(self.leaves) < 2:
            raise TaxonomyError(f"A class tree needs two or more leaves, found {list(self.leaves)}.")
        for node, members in self.nodes.items():
            if node in self.leaves:
                raise TaxonomyError(f"An inner node needs a name of its own, and {node!r} is also a leaf.")
            if not members:
                raise TaxonomyError(f"Inner node {node!r} has no members; name its leaves or leave it out.")

    def _check_children(self):
        known = (*self.leaves, *self.nodes)
        for what, entries in (("Inner node", self.nodes), ("Label", self.labels)):
            for name, members in entries.items():
                unknown = [member for member in members if member not in known]
                if unknown or not members:
                    raise TaxonomyError(
                        f"{what} {name!r} must lead to classes of the tree, found "
                        f"{unknown[0] if unknown else 'nothing'!r}; known: {', '.join(known)}."
                    )
        try:
            TopologicalSorter(self.nodes).prepare()
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            raise TaxonomyError(f"No inner node may contain itself, found {circle}.") from None

    def _check_nesting(self):
        sets = [(node, frozenset(self.leaves_of(node))) for node in self.nodes]
        for i, (first, a) in enumerate(sets):
            for second, b in sets[:i]:
                if a == b:
                    raise TaxonomyError(
                        f"Inner nodes {second!r} and {first!r} have the same leaves; keep one."
                    )
                shared = a & b
                if shared and not (a < b or b < a):
                    raise TaxonomyError(
                        f"Leaf {min(shared)!r} is both in {second!r} and in {first!r}; "
                        "one of the two must lie within the other."
                    )

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return len(self.leaves)

    def leaves_of(self, name: str) -> tuple[str, ...]:
        """Return the leaves of a leaf or inner node, in the order of `leaves`."""
        if name in self.leaves:
            return (name,)
        if name not in self.nodes:
            known = ", ".join((*self.leaves, *self.nodes))
            raise TaxonomyError(f"There is no class {name!r}; known: {known}.")
        below = {leaf for member in self.nodes[name] for leaf in self.leaves_of(member)}
        return tuple(leaf for leaf in self.leaves if leaf in below)

    @cached_property
    def _masks(self) -> dict[str, np.ndarray]:
        """Leaves that each label, inner node or leaf allows, shape (n_leaves,), bool."""
        masks = {name: np.isin(self.leaves, self.leaves_of(name)) for name in (*self.leaves, *self.nodes)}
        for label, names in self.labels.items():
            below = [leaf for name in names for leaf in self.leaves_of(name)]
            masks[label] = np.isin(self.leaves, below)
        return masks

    def allowed(self, labels: Sequence) -> np.ndarray:
        """Return which leaves each raw label allows.

        Parameters
        ----------
        labels : sequence of str, shape (n,)
            Raw labels; surrounding blanks don't count. None, NaN and "" are no label.

        Returns
        -------
        bool array, shape (n, n_leaves)
            A row without any true is unlabelled: no label, or one that is not in the tree (see `unmapped`).
        """
        nothing = np.zeros(self.n_leaves, dtype=bool)
        rows = [self._masks.get(label, nothing) for label in _as_text(labels)]
        return np.array(rows, dtype=bool).reshape(len(rows), self.n_leaves)

    def unmapped(self, labels: Sequence) -> dict[str, int]:
        """Count the labels that allow no leaf, most frequent first; objects without label count under ""."""
        outside = pd.Series([label for label in _as_text(labels) if label not in self._masks], dtype=object)
        return {str(label): int(count) for label, count in outside.value_counts().items()}

    @cached_property
    def membership(self) -> np.ndarray:
        """Leaves of each inner node, shape (n_nodes, n_leaves), bool, in the order of `nodes`."""
        rows = [self._masks[node] for node in self.nodes]
        return np.array(rows, dtype=bool).reshape(len(rows), self.n_leaves)

    def node_probabilities(self, probability: np.ndarray) -> dict[str, np.ndarray]:
        """Return the probability of every inner node: the sum of its leaves.

        Parameters
        ----------
        probability : float array, shape (..., n_leaves)

        Returns
        -------
        dict of str to float array, shape (...,)
        """
        probability = np.asarray(probability)
        if probability.shape[-1:] != (self.n_leaves,):
            raise TaxonomyError(
                f"Probabilities need a last axis of {self.n_leaves} leaves, found shape {probability.shape}."
            )
        return {node: probability[..., self._masks[node]].sum(axis=-1) for node in self.nodes}

    def parent(self, name: str) -> str | None:
        """Return the smallest inner node above a class, None at the top."""
        own = set(self.leaves_of(name))
        above = [node for node in self.nodes if node != name and own <= set(self.leaves_of(node))]
        return min(above, key=lambda node: len(self.leaves_of(node)), default=None)

    def path(self, name: str) -> tuple[str, ...]:
        """Return the classes from the top down to a leaf or inner node, itself included."""
        above = self.parent(name)
        return (name,) if above is None else (*self.path(above), name)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Inner nodes and leaves, each parent before its children, in the order of the leaves."""
        return tuple(dict.fromkeys(name for leaf in self.leaves for name in self.path(leaf)))


def _names(entry: str | Sequence[str]) -> tuple[str, ...]:
    return (entry,) if isinstance(entry, str) else tuple(entry)


def _as_text(labels: Sequence) -> list[str]:
    series = pd.Series(list(labels), dtype=object)
    return ["" if gone else str(label).strip() for label, gone in zip(series, series.isna(), strict=True)]
