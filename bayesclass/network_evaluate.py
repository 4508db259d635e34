"""From coded evidence to log p(evidence | class): the arrays that the inference takes, block by block."""

from __future__ import annotations

import jax
import numpy as np

from bayesclass.inference import BLOCK_SIZE, Structure, log_joint
from bayesclass.network_parameters import NodeParameters
from bayesclass.network_spec import NetworkSpec
from bayesclass.nodes import Encoded, EvidenceNode

__all__ = ["evaluate", "network_structure"]


def network_structure(
    spec: NetworkSpec, nodes: dict[str, EvidenceNode], parents: dict[str, tuple[str, ...]]
) -> Structure:
    """Return the static structure for inference: class first, then the evidence.

    Each node with a density brings a factor of each object over its parents: the density within the bin.
    """
    return Structure(
        nodes=(spec.class_name, *nodes),
        n_states=(len(spec.class_states), *(node.n_states for node in nodes.values())),
        parents=((), *(parents[name] for name in nodes)),
        extra=tuple(parents[name] for name, node in nodes.items() if node.grid is not None),
    )


def evaluate(
    structure: Structure,
    nodes: dict[str, EvidenceNode],
    parameters: dict[str, NodeParameters],
    encoded: dict[str, Encoded],
    n_objects: int,
) -> np.ndarray:
    """Compute log p(evidence | class) in blocks, so that memory does not grow with the number of objects.

    Parameters
    ----------
    structure : Structure
        Of `network_structure`.
    nodes, parameters, encoded : dicts by node
    n_objects : int

    Returns
    -------
    float64 array, shape (n_objects, n_leaves)
        Computed in float32 unless JAX has 64 bits enabled; exactly zero for an object without evidence.
    """
    class_name, n_leaves = structure.nodes[0], structure.n_states[0]
    result = np.zeros((n_objects, n_leaves))
    if not nodes:
        return result
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    # A class table of zeros leaves the prior out: the joint is then the likelihood.
    tables = [np.zeros(n_leaves, dtype), *(parameters[name].log_cpd.astype(dtype) for name in nodes)]
    for start in range(0, n_objects, BLOCK_SIZE):
        rows, factors = {}, []
        for name, node in nodes.items():
            codes = Encoded(*(array[start : start + BLOCK_SIZE] for array in encoded[name]))
            rows[name] = _hard_rows(codes.state, node.n_states, dtype)
            if node.grid is not None:
                factors.append(parameters[name].log_density_in_bin(node, codes).astype(dtype))
        joint = log_joint(structure, class_name, tables, rows, extra_factors=factors)
        result[start : start + BLOCK_SIZE] = joint
    known = np.any([codes.state >= 0 for codes in encoded.values()], axis=0)
    return np.where(known[:, None], result, 0.0)


def _hard_rows(state, n_states: int, dtype):
    """Rows of 0 and -inf for known states, of zeros for missing ones."""
    rows = np.where(np.arange(n_states) == state[:, None], 0.0, -np.inf).astype(dtype)
    rows[state < 0] = 0.0
    return rows
