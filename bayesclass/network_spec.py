"""What a network looks like before it is fitted: the class, its states, and the edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["NetworkError", "NetworkSpec"]

MAX_CONFIGURATIONS = 4096


class NetworkError(ValueError):
    """A network, or the data for it, can't be used; the message says why."""


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """Edges of the network over the class and the evidence columns.

    Parameters
    ----------
    class_states : tuple of str
        Leaves of the taxonomy, in their order.
    edges : sequence of (parent, child)
        Names of evidence columns, or the class as parent. A column without an edge from the class gets one.
    no_class_edge : sequence of str
        Columns that do not depend on the class directly.
    class_name : str

    Raises
    ------
    NetworkError
        Fewer than one class, a repeated class, an edge given twice, or one that ends at the class: that is
        the root, because the network answers with p(evidence | class) and the prior is added elsewhere.
    """

    class_states: tuple[str, ...]
    edges: tuple[tuple[str, str], ...] = ()
    no_class_edge: tuple[str, ...] = ()
    class_name: str = "class"

    def __post_init__(self):
        object.__setattr__(self, "class_states", tuple(self.class_states))
        object.__setattr__(self, "edges", tuple((str(a), str(b)) for a, b in self.edges))
        object.__setattr__(self, "no_class_edge", tuple(self.no_class_edge))
        if not self.class_states or len(set(self.class_states)) < len(self.class_states):
            raise NetworkError(
                f"Class states must be one or more and different, found {list(self.class_states)}; rename."
            )
        for i, edge in enumerate(self.edges):
            if edge in self.edges[:i]:
                raise NetworkError(f"Each edge may be given once, found {_show(edge)} twice; remove one.")
            if edge[1] == self.class_name:
                raise NetworkError(
                    f"The class must have no parents, found the edge {_show(edge)}; turn it round."
                )
            if edge[0] == self.class_name and edge[1] in self.no_class_edge:
                raise NetworkError(
                    f"{edge[1]!r} is listed in no_class_edge, found the edge {_show(edge)} too; remove one."
                )

    def parents(self, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Parents of each evidence column, in topological order, checked through pgmpy.

        Parameters
        ----------
        columns : sequence of str
            Names of the evidence columns.

        Returns
        -------
        dict of str to tuple of str
            The class first, then columns in the order of `columns`.

        Raises
        ------
        NetworkError
            A name that is no column, a column named like the class, or an edge that closes a cycle.
        """
        from pgmpy.models import DiscreteBayesianNetwork

        known = (self.class_name, *columns)
        if self.class_name in columns:
            raise NetworkError(
                f"No evidence may be named like the class, found {self.class_name!r}; rename it."
            )
        for edge in self.edges:
            for name in edge:
                if name not in known:
                    raise NetworkError(
                        f"An edge must join known nodes, found {name!r} in the edge {_show(edge)}; "
                        f"known: {', '.join(known)}."
                    )
        for name in self.no_class_edge:
            if name not in columns:
                raise NetworkError(
                    f"no_class_edge must list evidence, found {name!r}; "
                    f"known: {', '.join(columns) or 'none'}."
                )
        graph = DiscreteBayesianNetwork()
        graph.add_nodes_from(known)
        for edge in self.edges:
            try:
                graph.add_edge(*edge)
            except ValueError as error:
                raise NetworkError(
                    f"The network must be acyclic, found the edge {_show(edge)} closing a cycle; remove it."
                ) from error
        found = {name: {a for a, b in self.edges if b == name} for name in columns}
        for name in columns:
            if name not in self.no_class_edge:
                found[name].add(self.class_name)
        ordered: dict[str, tuple[str, ...]] = {}
        while len(ordered) < len(found):
            # pgmpy has refused cycles, so there is always a next one.
            name = next(n for n in columns if n not in ordered and found[n] <= {self.class_name, *ordered})
            ordered[name] = tuple(n for n in known if n in found[name])
        return ordered

    def check_sizes(self, parents: dict[str, tuple[str, ...]], n_states: dict[str, int]) -> None:
        """Refuse tables too large to be learned.

        Raises
        ------
        NetworkError
            A node whose parents have more than 4096 configurations together.
        """
        sizes = {**n_states, self.class_name: len(self.class_states)}
        for name, group in parents.items():
            size = 1
            for parent in group:
                size *= sizes[parent]
            if size > MAX_CONFIGURATIONS:
                raise NetworkError(
                    f"The parents of {name!r} ({', '.join(group)}) may have at most {MAX_CONFIGURATIONS} "
                    f"configurations, found {size}; remove an edge."
                )


def _show(edge) -> str:
    return f"{edge[0]!r} -> {edge[1]!r}"
