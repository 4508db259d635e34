"""The class tree as a pooled table walks it: nodes in order, each with its parent and its depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bayesclass.taxonomy import Taxonomy

__all__ = ["ROOT", "PoolingTree"]

ROOT = "all classes"


@dataclass(frozen=True)
class PoolingTree:
    """Nodes along which tables are pooled: the root, inner nodes, and the classes themselves.

    Attributes
    ----------
    names : tuple of str
        The root first, each parent before its children.
    parent : tuple of int
        Position of the parent of each node; -1 at the root.
    depth : tuple of int
        Number of steps from the root.
    leaf : tuple of int, length n_classes
        Position of each class, in the order of the class axis.
    """

    names: tuple[str, ...]
    parent: tuple[int, ...]
    depth: tuple[int, ...]
    leaf: tuple[int, ...]

    @classmethod
    def flat(cls, classes: Sequence[str]) -> PoolingTree:
        """Return the tree of classes right below the root; one class alone is the root itself."""
        n = len(classes)
        if n == 1:
            return cls((ROOT,), (-1,), (0,), (0,))
        return cls((ROOT, *map(str, classes)), (-1, *[0] * n), (0, *[1] * n), tuple(range(1, n + 1)))

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> PoolingTree:
        """Return the tree of a taxonomy; inner nodes of one leaf, or of all, would add nothing."""

        def wanted(name):
            return name in taxonomy.leaves or 1 < len(taxonomy.leaves_of(name)) < taxonomy.n_leaves

        names, parent, depth = [ROOT], [-1], [0]
        kept = [name for name in taxonomy.order if wanted(name)]
        for name in sorted(kept, key=lambda name: sum(map(wanted, taxonomy.path(name)))):
            above = [step for step in taxonomy.path(name)[:-1] if wanted(step)]
            parent.append(names.index(above[-1]) if above else 0)
            depth.append(depth[parent[-1]] + 1)
            names.append(name)
        leaf = tuple(names.index(name) for name in taxonomy.leaves)
        return cls(tuple(names), tuple(parent), tuple(depth), leaf)

    @property
    def n_levels(self) -> int:
        """Number of levels below the root."""
        return max(self.depth)

    def at(self, depth: int) -> tuple[int, ...]:
        """Return the positions of the nodes at a depth."""
        return tuple(i for i, d in enumerate(self.depth) if d == depth)
