"""Counts of a node's family: objects counted where node and parents are known (available cases)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesclass.inference import Structure
from bayesclass.nodes import Encoded, EvidenceNode

__all__ = ["FamilyCounts", "available_cases", "count_node"]

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class FamilyCounts:
    """Counts of a node given its parents, as `estimate_parameters` takes them.

    Attributes
    ----------
    cells : (counts, class_counts) or None
        Of the cells of a measured value, for a node with a density; shapes as of `count_node`.
    states : (counts, class_counts) or None
        Of the states, or of (measured, none) for a node with a density that can be none.
    """

    cells: Pair | None = None
    states: Pair | None = None

    def __add__(self, other: FamilyCounts) -> FamilyCounts:
        return FamilyCounts(_sum(self.cells, other.cells), _sum(self.states, other.states))


def available_cases(
    structure: Structure,
    nodes: dict[str, EvidenceNode],
    encoded: dict[str, Encoded],
    shares: np.ndarray,
    weights: np.ndarray,
    *,
    without: tuple[str, ...] = (),
) -> dict[str, FamilyCounts]:
    """Count each node where it and all its parents are known.

    Parameters
    ----------
    structure : Structure
        The class comes first.
    nodes : dict of str to EvidenceNode
    encoded : dict of str to Encoded
    shares : float array, shape (n_objects, n_leaves)
        Share of each leaf in each object.
    weights : float array, shape (n_objects,)
    without : tuple of str
        Nodes that are neither counted nor looked at as parents.

    Returns
    -------
    dict of str to FamilyCounts
    """
    class_name = structure.nodes[0]
    result = {}
    for name, parents in zip(structure.nodes[1:], structure.parents[1:], strict=True):
        if name in without:
            continue
        node = nodes[name]
        others = [(encoded[p], nodes[p].n_states) for p in parents if p not in (class_name, *without)]
        arguments = (node, encoded[name], others, shares if class_name in parents else None, weights)
        cells = states = None
        if node.grid is not None:
            cells = count_node(*arguments, of_cells=True)
        if node.grid is None or node.has_none:
            states = count_node(*arguments, of_cells=False)
        result[name] = FamilyCounts(cells, states)
    return result


def count_node(
    node: EvidenceNode,
    encoded: Encoded,
    parents: list[tuple[Encoded, int]],
    responsibilities: np.ndarray | None,
    weights: np.ndarray,
    *,
    of_cells: bool,
) -> Pair:
    """Count objects of which the node and all its parents are known.

    Parameters
    ----------
    node : EvidenceNode
    encoded : Encoded
    parents : list of (Encoded, number of states)
        Parents other than the class, in the order of the table's axes.
    responsibilities : float array, shape (n_objects, n_leaves), or None
        Share of each leaf in each object; None when the class is no parent. As a parent it comes first.
    weights : float array, shape (n_objects,)
    of_cells : bool
        Count cells of the grid; else states, which a node with a density reduces to (measured, none).

    Returns
    -------
    counts : float64 array, shape (n_states, n_classes or 1, n_configurations)
    class_counts : float64 array, shape (n_states, n_classes or 1)
        Counts whatever is known of the parents.
    """
    if of_cells:
        index, n = encoded.cell, node.grid.n_cells
    elif node.grid is not None:
        index = np.where(encoded.state < 0, -1, encoded.state == node.n_states - 1)
        n = 2
    else:
        index, n = encoded.state, node.n_states
    configuration = np.zeros(len(index), dtype=np.int64)
    complete = index >= 0
    for parent, n_parent in parents:
        configuration = configuration * n_parent + np.maximum(parent.state, 0)
        complete = complete & (parent.state >= 0)
    n_configurations = int(np.prod([n_parent for _, n_parent in parents], dtype=int))
    shares = np.ones((len(index), 1)) if responsibilities is None else responsibilities
    flat = np.where(complete, index * n_configurations + configuration, 0)
    counts, margins = [], []
    for share in shares.T:
        mass = weights * share
        total = np.bincount(flat, mass * complete, minlength=n * n_configurations)
        counts.append(total.reshape(n, n_configurations))
        margins.append(np.bincount(np.maximum(index, 0), mass * (index >= 0), minlength=n))
    return np.stack(counts, axis=1), np.stack(margins, axis=1)


def _sum(a: Pair | None, b: Pair | None) -> Pair | None:
    return None if a is None else (a[0] + b[0], a[1] + b[1])
