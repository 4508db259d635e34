"""What a network looks like before it is fitted: the class, its states, and the edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["LATENT", "MISSING_CELLS", "JointSpec", "LatentSpec", "NetworkError", "NetworkSpec"]

MAX_CONFIGURATIONS = 4096
# Kind of a node that no column is evidence of.
LATENT = "latent"
# How tables are learned where a parent is missing.
MISSING_CELLS = ("expected", "available")


class NetworkError(ValueError):
    """A network, or the data for it, can't be used; the message says why."""


@dataclass(frozen=True)
class JointSpec:
    """Continuous columns with one joint density given the class, a mixture over latent states.

    Parameters
    ----------
    name : str
    columns : tuple of str
        Two or more.
    components : int
        Most latent states that a class begins with.

    Raises
    ------
    NetworkError
        Fewer than two columns, a repeated one, or less than one component.
    """

    name: str
    columns: tuple[str, ...]
    components: int = 12

    def __post_init__(self):
        object.__setattr__(self, "columns", tuple(self.columns))
        if len(self.columns) < 2 or len(set(self.columns)) < len(self.columns):
            raise NetworkError(
                f"Joint density {self.name!r} must have two or more different columns, "
                f"found {list(self.columns)}; correct them."
            )
        if self.components < 1:
            raise NetworkError(
                f"Joint density {self.name!r} needs one component or more, found {self.components}; raise it."
            )


@dataclass(frozen=True)
class LatentSpec:
    """A discrete node that is never observed, such as populations of hosts or bins of redshift.

    Parameters
    ----------
    name : str
    states : tuple of str, or int
        Two or more different names, or their number. What they stand for is learned, so their order means
        nothing.

    Raises
    ------
    NetworkError
        Fewer than two states, or a repeated one.
    """

    name: str
    states: tuple[str, ...]

    def __post_init__(self):
        states = self.states
        if isinstance(states, int):
            states = tuple(f"{i + 1}" for i in range(states))
        object.__setattr__(self, "states", tuple(states))
        if len(self.states) < 2 or len(set(self.states)) < len(self.states):
            raise NetworkError(
                f"Latent node {self.name!r} must have two or more different states, "
                f"found {list(self.states)}; correct them."
            )


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
    joint : sequence of JointSpec
        Blocks of columns that are described together given the class; no other edge may touch them.
    latent : sequence of LatentSpec
        Nodes that are never observed. Edges name them as they name columns; each needs a child.
    missing_cells : {"expected", "available"}
        How tables are learned where a parent is missing: from expected counts (expectation maximisation), or
        from the objects of which the node and all its parents are known. Latent nodes need the former.
    densities, tables : mapping of str to str
        Families of densities and ways to estimate tables, by column (`EvidenceNode.density`, `.table`);
        kernels and Dirichlet tables where a column is not named.
    tree : mapping of str to tuple of str
        Inner nodes of the class tree and their members, along which pooled tables are pooled.

    Raises
    ------
    NetworkError
        Fewer than one class, a repeated class, an edge given twice, or one that ends at the class: that is
        the root, because the network answers with p(evidence | class) and the prior is added elsewhere. A
        column in two blocks, or an edge between a block's column and another one. A latent node without a
        child, or with the name of another node. An unknown way to treat missing cells.
    """

    class_states: tuple[str, ...]
    edges: tuple[tuple[str, str], ...] = ()
    no_class_edge: tuple[str, ...] = ()
    class_name: str = "class"
    joint: tuple[JointSpec, ...] = ()
    latent: tuple[LatentSpec, ...] = ()
    missing_cells: str = "expected"
    densities: Mapping[str, str] = field(default_factory=dict, hash=False)
    tables: Mapping[str, str] = field(default_factory=dict, hash=False)
    tree: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self):
        object.__setattr__(self, "densities", dict(self.densities))
        object.__setattr__(self, "tables", dict(self.tables))
        object.__setattr__(self, "tree", {node: tuple(own) for node, own in self.tree.items()})
        object.__setattr__(self, "joint", tuple(self.joint))
        object.__setattr__(self, "latent", tuple(self.latent))
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
        if self.missing_cells not in MISSING_CELLS:
            raise NetworkError(
                f"Missing cells must be one of {', '.join(MISSING_CELLS)}, found {self.missing_cells!r}; "
                "correct it."
            )
        self._check_latent()
        self._check_joint()

    def _check_latent(self) -> None:
        names = [node.name for node in self.latent]
        taken = [self.class_name, *(block.name for block in self.joint), *self.joint_columns]
        for i, name in enumerate(names):
            if name in taken or name in names[:i]:
                raise NetworkError(
                    f"A latent node needs a name of its own, found {name!r} twice; rename one."
                )
            if not any(parent == name for parent, _ in self.edges):
                raise NetworkError(
                    f"A latent node is learned from its children, found none of {name!r}; add an edge to "
                    "evidence."
                )

    def _check_joint(self) -> None:
        owner: dict[str, str] = {}
        for block in self.joint:
            for name in block.columns:
                if name in owner:
                    raise NetworkError(
                        f"A column may be in one joint density, found {name!r} in {owner[name]!r} and "
                        f"{block.name!r}; take it out of one."
                    )
                owner[name] = block.name
        if len({block.name for block in self.joint}) < len(self.joint):
            raise NetworkError(
                f"Joint densities must have different names, found {[block.name for block in self.joint]}; "
                "rename one."
            )
        for edge in self.edges:
            for name in edge:
                if name in owner and edge[0] != self.class_name:
                    raise NetworkError(
                        "A column of a joint density depends on class and block alone, found the edge "
                        f"{_show(edge)} at {name!r} of {owner[name]!r}; remove one of the two."
                    )
        for name in self.no_class_edge:
            if name in owner:
                raise NetworkError(
                    f"A column of a joint density depends on the class, found {name!r} of {owner[name]!r} in "
                    "no_class_edge; take it out of one."
                )

    @property
    def joint_columns(self) -> tuple[str, ...]:
        """Columns that belong to a joint density."""
        return tuple(name for block in self.joint for name in block.columns)

    def parents(self, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Parents of each latent node and evidence column, in topological order, checked through pgmpy.

        Parameters
        ----------
        columns : sequence of str
            Names of the evidence columns.

        Returns
        -------
        dict of str to tuple of str
            The class first, then latent nodes and columns in their order; without those of joint densities.

        Raises
        ------
        NetworkError
            A name that is no column, a column named like the class, or an edge that closes a cycle.
        """
        from pgmpy.models import DiscreteBayesianNetwork

        latent = tuple(node.name for node in self.latent)
        both = [name for name in latent if name in columns]
        if both:
            raise NetworkError(
                f"A latent node must not be named like a column, found {both[0]!r}; rename it."
            )
        known = (self.class_name, *latent, *columns)
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
            if name not in known[1:]:
                raise NetworkError(
                    f"no_class_edge must list evidence, found {name!r}; "
                    f"known: {', '.join(columns) or 'none'}."
                )
        for block in self.joint:
            if block.name in known:
                raise NetworkError(
                    f"A joint density must not be named like a column or the class, found {block.name!r}; "
                    "rename it."
                )
            for name in block.columns:
                if name not in columns:
                    raise NetworkError(
                        f"Joint density {block.name!r} must list evidence, found {name!r}; "
                        f"known: {', '.join(columns) or 'none'}."
                    )
        for key in ("densities", "tables"):
            for name in getattr(self, key):
                if name not in columns or name in self.joint_columns:
                    raise NetworkError(
                        f"{key} must name evidence outside of joint densities, found {name!r}; "
                        f"known: {', '.join(n for n in columns if n not in self.joint_columns) or 'none'}."
                    )
        columns = [*latent, *(name for name in columns if name not in self.joint_columns)]
        known = (self.class_name, *columns)
        edges = [edge for edge in self.edges if edge[1] in columns]
        graph = DiscreteBayesianNetwork()
        graph.add_nodes_from(known)
        for edge in edges:
            try:
                graph.add_edge(*edge)
            except ValueError as error:
                raise NetworkError(
                    f"The network must be acyclic, found the edge {_show(edge)} closing a cycle; remove it."
                ) from error
        found = {name: {a for a, b in edges if b == name} for name in columns}
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
