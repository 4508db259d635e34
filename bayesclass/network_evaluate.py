"""From coded evidence to log p(evidence | class): the arrays that the inference takes, block by block."""

from __future__ import annotations

import jax
import numpy as np

from bayesclass.inference import BLOCK_SIZE, Structure, log_joint
from bayesclass.network_parameters import NodeParameters
from bayesclass.network_spec import LATENT, NetworkSpec
from bayesclass.nodes import Encoded, EvidenceNode

__all__ = ["evaluate", "network_evidence", "network_structure"]


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
        block = slice(start, start + BLOCK_SIZE)
        states, factors = network_evidence(nodes, parameters, encoded, block, dtype)
        result[block] = log_joint(structure, class_name, tables, states, extra_factors=factors)
    known = np.any([codes.state >= 0 for codes in encoded.values()], axis=0)
    return np.where(known[:, None], result, 0.0)


def network_evidence(nodes, parameters, encoded, block: slice, dtype):
    """Return what the inference takes of a block of objects.

    Returns
    -------
    states : dict of str to int array, shape (n_objects,)
        Known state of each node, -1 where missing; without latent nodes.
    factors : list of float arrays, shape (n_objects, *parents)
        Density of measured values within their bin, for each node that has one.
    """
    states, factors = {}, []
    for name, node in nodes.items():
        codes = Encoded(*(array[block] for array in encoded[name]))
        if node.kind != LATENT:
            states[name] = codes.state
        if node.grid is not None:
            factors.append(parameters[name].log_density_in_bin(node, codes).astype(dtype))
    return states, factors
