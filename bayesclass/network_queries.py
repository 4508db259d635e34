"""The posterior of any node of a fitted network, given all other evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np

from bayesclass.inference import BLOCK_SIZE, log_joint
from bayesclass.network_evaluate import network_evidence
from bayesclass.network_spec import NetworkError
from bayesclass.nodes import MISSING, Encoded

if TYPE_CHECKING:
    from bayesclass.network import BayesianNetwork
    from context.evidence import EvidenceTable

__all__ = ["hidden", "node_posterior"]


def node_posterior(
    network: BayesianNetwork,
    evidence: EvidenceTable,
    node: str,
    *,
    class_log: np.ndarray | None = None,
    hide_own: bool = False,
) -> tuple[tuple[str, ...], np.ndarray]:
    """Compute the posterior of one node; see `BayesianNetwork.posterior`."""
    structure = network.structure
    if node not in structure.nodes:
        block = [name for name, density in network.joint.items() if node in density.nodes]
        inside = f" (a column of the joint density {block[0]!r}, which has no states)" if block else ""
        raise NetworkError(
            f"A posterior is that of a node, found {node!r}{inside}; known: {', '.join(structure.nodes)}."
        )
    n, n_leaves = evidence.n_objects, structure.n_states[0]
    if class_log is None:
        class_log = np.broadcast_to(np.log(network.class_frequency), (n, n_leaves))
    class_log = _checked(class_log, (n, n_leaves), evidence)
    encoded = network._encode(evidence)
    if hide_own and node in encoded:
        encoded[node] = hidden(encoded[node])
    class_log = class_log + network._joint(encoded)
    q = structure.nodes.index(node)
    result = np.zeros((n, structure.n_states[q]))
    with jax.enable_x64(True):
        tables = [np.zeros(n_leaves)]
        tables += [np.asarray(network.parameters[name].log_cpd, dtype=float) for name in network.nodes]
        for start in range(0, n, BLOCK_SIZE):
            block = slice(start, start + BLOCK_SIZE)
            rows, factors = network_evidence(network.nodes, network.parameters, encoded, block, np.float64)
            rows[structure.nodes[0]] = class_log[block]
            joint = np.asarray(log_joint(structure, node, tables, rows, extra_factors=factors))
            peak = joint.max(axis=1, keepdims=True)
            p = np.exp(joint - peak)
            result[block] = p / p.sum(axis=1, keepdims=True)
    names = network.spec.class_states if q == 0 else network.nodes[node].states
    return tuple(names), result


def hidden(codes: Encoded) -> Encoded:
    """Return a node's objects with its state unknown."""
    nothing = np.full(len(codes.state), MISSING, dtype=np.int64)
    return Encoded(nothing, nothing, codes.value, codes.error)


def _checked(class_log, shape, evidence) -> np.ndarray:
    """Return log evidence of the class, shifted to a maximum of zero, or refuse it."""
    class_log = np.asarray(class_log, dtype=float)
    if class_log.shape != shape:
        raise NetworkError(
            f"Log evidence of the class must have shape (n_objects, n_leaves) = {shape}, found "
            f"{class_log.shape}; pass one row an object of the evidence."
        )
    wrong = np.isnan(class_log).any(axis=1) | np.isposinf(class_log).any(axis=1)
    wrong |= np.isneginf(class_log).all(axis=1)
    if wrong.any():
        raise NetworkError(
            "Log evidence of the class must be finite or -inf, with a possible leaf for each object, found "
            f"otherwise for {int(wrong.sum())} (the first is {evidence.object_id[wrong][0]!r}); correct it."
        )
    return class_log - class_log.max(axis=1, keepdims=True)
