"""Parameters of one evidence node: its table of states and, where continuous, its density in cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bayesclass.network_tables import Smoothed, smooth_table
from bayesclass.nodes import Encoded, EvidenceNode

__all__ = ["NodeCounts", "NodeParameters", "count_node", "fit_parameters"]


@dataclass(frozen=True)
class NodeParameters:
    """Log tables of a node given its parents.

    Attributes
    ----------
    log_cpd : float array, shape (n_states, *parents)
        Natural logarithm. For a node with a density: its integral over the bins, times P(measured | parents).
    log_cells : float array, shape (n_cells, *parents), or None
        Log probability of the cells of a measured value.
    """

    log_cpd: np.ndarray
    log_cells: np.ndarray | None = None

    def log_density_in_bin(self, node: EvidenceNode, encoded: Encoded) -> np.ndarray:
        r"""Log of p(x | bin of x, parents) for measured objects, 0 for the others.

        Together with the bin as hard evidence this gives the density itself, and the density stays a factor
        over the parents' states where these are unknown.

        Parameters
        ----------
        node : EvidenceNode
        encoded : Encoded

        Returns
        -------
        float64 array, shape (n_objects, *parents) [log of 1 / unit of the transformed quantity]
        """
        shape = self.log_cells.shape[1:]
        cells = np.asarray(self.log_cells, dtype=float).reshape(node.grid.n_cells, -1)
        mass = np.exp(cells)
        log_mass = np.log(node.bin_mass(mass))
        out = np.zeros((len(encoded.state), cells.shape[1]))
        measured = encoded.cell >= 0
        bins = log_mass[np.where(measured, encoded.state, 0)]
        sharp = measured & (np.nan_to_num(encoded.error) <= 1e-6 * node.grid.width)
        out[sharp] = cells[encoded.cell[sharp]] - np.log(node.grid.width)
        blurred = measured & ~sharp
        if blurred.any():
            weights = node.grid.weights(encoded.value[blurred], encoded.error[blurred])
            # A value many errors off the grid underflows; the smallest number keeps it finite for all alike.
            out[blurred] = np.log(np.maximum(weights @ mass, np.finfo(float).tiny))
        out[measured] -= bins[measured]
        return out.reshape(len(out), *shape)


@dataclass(frozen=True)
class NodeCounts:
    """Fitted tables of a node with their counts: what posterior draws are made from.

    Attributes
    ----------
    states : Smoothed
        Table over all states, or over (measured, none) for a node with a density.
    cells : Smoothed or None
    shape : tuple of int
        Numbers of states of the parents.
    """

    states: Smoothed | None
    cells: Smoothed | None
    shape: tuple[int, ...]

    def parameters(self, node: EvidenceNode, rng: np.random.Generator | None = None) -> NodeParameters:
        """Return the fitted parameters or, given a generator, those of one posterior draw."""

        def table(smoothed):
            values = smoothed.table if rng is None else smoothed.draw(rng)
            return np.maximum(values, np.finfo(np.float32).tiny)

        if self.cells is None:
            return NodeParameters(np.log(table(self.states)).reshape(node.n_states, *self.shape))
        cells = table(self.cells)
        bins = node.bin_mass(cells)
        if self.states is not None:
            measured, none = table(self.states)
            bins = np.concatenate([bins * measured, none[None]])
        return NodeParameters(
            np.log(bins).reshape(node.n_states, *self.shape),
            np.log(cells).reshape(node.grid.n_cells, *self.shape),
        )


def count_node(
    node: EvidenceNode,
    encoded: Encoded,
    parents: list[tuple[Encoded, int]],
    responsibilities: np.ndarray | None,
    weights: np.ndarray,
    *,
    of_cells: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Count objects of which the node and all its parents are known (available cases).

    Parameters
    ----------
    node : EvidenceNode
    encoded : Encoded
    parents : list of (Encoded, number of states)
        Parents other than the class.
    responsibilities : float array, shape (n_objects, n_leaves), or None
        Share of each leaf in each object; None when the class is no parent.
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


def fit_parameters(node, encoded, parents, responsibilities, weights) -> NodeCounts:
    """Estimate the tables of one node.

    Parameters
    ----------
    node, encoded, weights
        As in `count_node`.
    parents : list of (Encoded, number of states)
        Parents other than the class, in the order of the table's axes.
    responsibilities : float array, shape (n_objects, n_leaves), or None
        Share of each leaf in each object; None when the class is no parent. As a parent it comes first.

    Returns
    -------
    NodeCounts
    """
    shape = tuple(n for _, n in parents)
    if responsibilities is not None:
        shape = (responsibilities.shape[1], *shape)
    result = NodeCounts(None, None, shape)
    if node.grid is not None:
        measured = encoded.cell >= 0
        error = float(np.median(encoded.error[measured])) if measured.any() else 0.0
        counts = count_node(node, encoded, parents, responsibilities, weights, of_cells=True)
        result = replace(result, cells=smooth_table(*counts, grid=node.grid, error=error))
        if not node.has_none:
            return result
    counts = count_node(node, encoded, parents, responsibilities, weights, of_cells=False)
    return replace(result, states=smooth_table(*counts))
