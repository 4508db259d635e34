"""What is static in a discrete Bayesian network: nodes, numbers of states, parents."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["InferenceError", "Structure"]


class InferenceError(ValueError):
    """A network structure, or evidence for it, can't be used; the message says why."""


@dataclass(frozen=True)
class Structure:
    r"""What is static in a discrete Bayesian network.

    Attributes
    ----------
    nodes : tuple of str
        Names, all different.
    n_states : tuple of int
        Number of states of each node.
    parents : tuple of tuple of str
        Parents of each node. The table of node v has the axes (v, \*parents of v), in this order.
    extra : tuple of tuple of str
        Subsets of nodes over which each object brings a factor of its own.

    Raises
    ------
    InferenceError
        Lengths that differ, a repeated or unknown name, a node without states, or a cycle.
    """

    nodes: tuple[str, ...]
    n_states: tuple[int, ...]
    parents: tuple[tuple[str, ...], ...]
    extra: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self):
        if not len(self.nodes) == len(self.n_states) == len(self.parents):
            raise InferenceError(
                "nodes, n_states and parents must have one entry a node, found "
                f"{len(self.nodes)}, {len(self.n_states)} and {len(self.parents)}; complete the shorter ones."
            )
        if len(set(self.nodes)) < len(self.nodes):
            raise InferenceError(f"Node names must be different, found {list(self.nodes)}; rename one.")
        for group in (*self.parents, *self.extra):
            unknown = [name for name in group if name not in self.nodes]
            if unknown or len(set(group)) < len(group):
                raise InferenceError(
                    f"A parent or a factor must name different known nodes, found {list(group)}; "
                    f"known: {', '.join(self.nodes)}."
                )
        if any(n < 1 for n in self.n_states):
            raise InferenceError(f"Each node needs at least one state, found {list(self.n_states)}; add one.")
        self.topological_order()

    def topological_order(self) -> tuple[str, ...]:
        """Return the nodes, parents first, otherwise in the order given."""
        order: list[str] = []
        while len(order) < len(self.nodes):
            ready = [
                node
                for node, parents in zip(self.nodes, self.parents, strict=True)
                if node not in order and all(parent in order for parent in parents)
            ]
            if not ready:
                left = [node for node in self.nodes if node not in order]
                raise InferenceError(
                    f"The network must be acyclic, found a cycle among {', '.join(left)}; remove an edge."
                )
            order.append(ready[0])
        return tuple(order)

    def table_shape(self, node: str) -> tuple[int, ...]:
        """Shape of the node's conditional table: its states, then those of each parent."""
        i = self.nodes.index(node)
        return tuple(self.n_states[self.nodes.index(name)] for name in (node, *self.parents[i]))
