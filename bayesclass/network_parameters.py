"""Parameters of one evidence node: its table of states and, where continuous, its density in cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from bayesclass.density_families import choose_family, density_table
from bayesclass.inference import Structure
from bayesclass.network_counts import available_cases
from bayesclass.network_spec import LATENT
from bayesclass.network_tables import smooth_table
from bayesclass.nodes import Encoded, EvidenceNode
from bayesclass.noisy_or import noisy_or_table, on_state

__all__ = [
    "ESTIMATORS",
    "Estimate",
    "NodeCounts",
    "NodeParameters",
    "choose_densities",
    "estimate_parameters",
    "typical_error",
]


class Estimate(Protocol):
    """A table as its estimator returns it.

    Attributes
    ----------
    table : float64 array, shape (n_states, n_classes, n_configurations)
        Sums to one over the first axis.
    """

    table: np.ndarray

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a table from its posterior, same shape as `table`."""


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
    states : Estimate or None
        Table over all states, or over (measured, none) for a node with a density; None where that is never
        none.
    cells : Estimate or None
        Density over the cells of the grid.
    shape : tuple of int
        Numbers of states of the parents.
    """

    states: Estimate | None
    cells: Estimate | None
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


def estimate_parameters(node, shape, *, cells=None, states=None, error=0.0) -> NodeCounts:
    """Estimate the tables of one node from counts, by the estimators that the node names.

    Parameters
    ----------
    node : EvidenceNode
    shape : tuple of int
        Numbers of states of the parents, the class first where it is one.
    cells : (counts, class_counts), optional
        Counts of the grid's cells as `count_node` returns them; given if and only if the node has a grid.
    states : (counts, class_counts), optional
        Counts of the states, of (measured, none) for a node with a grid; not for one with a grid that can't
        be none.
    error : float
        Typical 1-sigma error of the measured values.

    Returns
    -------
    NodeCounts
    """
    result = NodeCounts(None, None, shape)
    if cells is not None:
        density = density_table(*cells, grid=node.grid, family=node.density, error=error)
        result = replace(result, cells=density)
    if states is not None:
        result = replace(result, states=ESTIMATORS[node.table](node, shape, *states))
    return result


def choose_densities(
    structure: Structure,
    nodes: dict[str, EvidenceNode],
    encoded: dict[str, Encoded],
    allowed: np.ndarray,
    weights: np.ndarray,
) -> dict[str, EvidenceNode]:
    """Return the nodes with the density "auto" replaced by a family, chosen once on available cases.

    Parameters
    ----------
    structure, nodes, encoded, allowed, weights
        As `network_fit.learn` takes them. Leaves that a label allows share its object equally; latent nodes
        are not looked at.
    """
    if all(node.density != "auto" for node in nodes.values()):
        return nodes
    hidden = tuple(name for name, node in nodes.items() if node.kind == LATENT)
    shares = allowed / allowed.sum(axis=1, keepdims=True)
    families = available_cases(structure, nodes, encoded, shares, weights, without=hidden)
    result = dict(nodes)
    for name, node in nodes.items():
        if node.density == "auto":
            error = typical_error(encoded[name])
            family, _ = choose_family(*families[name].cells, grid=node.grid, error=error)
            result[name] = replace(node, density=family)
    return result


def typical_error(encoded: Encoded) -> float:
    """Return the median error of the measured values; 0 without any."""
    measured = encoded.cell >= 0
    return float(np.median(encoded.error[measured])) if measured.any() else 0.0


def _dirichlet(node, shape, counts, class_counts) -> Estimate:
    return smooth_table(counts, class_counts)


def _noisy_or(node, shape, counts, class_counts) -> Estimate:
    # The class has an axis of its own; what is left makes up the configurations.
    with_class = shape[:1] == counts.shape[1:2] and np.prod(shape[1:], dtype=int) == counts.shape[2]
    on = on_state(node.states) if node.grid is None else 0
    return noisy_or_table(counts, class_counts, sizes=shape[1:] if with_class else shape, on=on)


# How a table of states is estimated, by name: (node, shape of the parents, counts, counts by class). Pooled
# tables begin as Dirichlet ones; `network_pooling` samples them once the counts are final.
ESTIMATORS: dict[str, Callable[..., Estimate]] = {
    "dirichlet": _dirichlet,
    "noisy-or": _noisy_or,
    "pooled": _dirichlet,
}
