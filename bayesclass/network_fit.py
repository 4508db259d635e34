"""Learning the tables of a network from labels that may allow several leaves: expectation maximisation."""

from __future__ import annotations

import numpy as np

from bayesclass.inference import Structure
from bayesclass.joint_density import JointDensity
from bayesclass.joint_density_fit import JointSample, fit_joint, refine_joint
from bayesclass.network_evaluate import evaluate
from bayesclass.network_parameters import NodeCounts, fit_parameters
from bayesclass.network_spec import JointSpec, NetworkError, NetworkSpec
from bayesclass.nodes import Encoded, EvidenceNode
from context.evidence import EvidenceTable

__all__ = ["check_labels", "learn"]

EM_STEPS = 6
FIRST_WEIGHT_OF_PARTIAL = 0.1


def check_labels(spec: NetworkSpec, evidence: EvidenceTable, allowed, weights):
    """Return the allowed leaves and the weights as arrays, or refuse them (see `BayesianNetwork.fit`)."""
    allowed = np.array(allowed, dtype=bool)
    expected = (evidence.n_objects, len(spec.class_states))
    if allowed.shape != expected:
        raise NetworkError(
            f"Allowed leaves must have shape (n_objects, n_leaves) = {expected}, found {allowed.shape}; "
            "take them from the taxonomy for the objects of the evidence table."
        )
    if not len(allowed):
        raise NetworkError("A network needs labelled objects to learn from, found none; add some.")
    without = ~allowed.any(axis=1)
    if without.any():
        raise NetworkError(
            f"Each training object must allow at least one leaf, found {int(without.sum())} without "
            f"(the first is {evidence.object_id[without][0]!r}); leave objects without a known label out."
        )
    weights = np.ones(len(allowed)) if weights is None else np.asarray(weights, dtype=float)
    if weights.shape != (len(allowed),):
        raise NetworkError(
            f"Weights must have shape ({len(allowed)},), one an object, found {weights.shape}; correct them."
        )
    if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
        raise NetworkError(
            "Weights must be finite, not negative and not all zero, found "
            f"{np.min(weights):g} to {np.max(weights):g}; correct or omit them."
        )
    return allowed, weights


def learn(
    structure: Structure,
    nodes: dict[str, EvidenceNode],
    encoded: dict[str, Encoded],
    allowed: np.ndarray,
    weights: np.ndarray,
    *,
    joint: tuple[tuple[JointSpec, dict[str, EvidenceNode]], ...] = (),
    probability: tuple[str, ...] = (),
    seed: int = 0,
) -> tuple[dict[str, NodeCounts], np.ndarray, np.ndarray, dict[str, tuple[JointDensity, JointSample]]]:
    r"""Estimate all tables and joint densities, sharing objects of several leaves by their posterior.

    .. math:: r_{ic} \propto a_{ic}\, \pi_c\, p(e_i | c)

    Parameters
    ----------
    structure : Structure
        The class comes first.
    nodes : dict of str to EvidenceNode
    encoded : dict of str to Encoded
        Of the nodes and of the columns of joint densities.
    allowed : bool array, shape (n_objects, n_leaves)
    weights : float array, shape (n_objects,)
    joint : tuple of (JointSpec, columns)
    probability : tuple of str
        Columns of joint densities that are probabilities.
    seed : int
        Of the first states of joint densities.

    Returns
    -------
    counts : dict of str to NodeCounts
    frequency : float64 array, shape (n_leaves,)
    responsibilities : float64 array, shape (n_objects, n_leaves)
    blocks : dict of str to (JointDensity, JointSample)
    """
    partial = allowed.sum(axis=1) > 1
    steps = EM_STEPS if partial.any() and (nodes or joint) else 0
    # Objects with one leaf first say what the classes look like; equal shares of the others would blur them.
    current = np.where(partial, FIRST_WEIGHT_OF_PARTIAL, 1.0) * weights if steps else weights
    frequency = _frequency(allowed / allowed.sum(axis=1, keepdims=True), current)
    responsibilities = _share(allowed, np.log(frequency))
    rows = {name: Encoded(*(array[partial] for array in codes)) for name, codes in encoded.items()}
    frequency, counts = _tables(structure, nodes, encoded, responsibilities, current)
    blocks = {
        spec.name: fit_joint(
            spec, own, encoded, responsibilities, current, probability=probability, seed=seed
        )
        for spec, own in joint
    }
    of_nodes = {name: rows[name] for name in nodes}
    for _ in range(steps):
        parameters = {name: counts[name].parameters(node) for name, node in nodes.items()}
        log_likelihood = evaluate(structure, nodes, parameters, of_nodes, int(partial.sum()))
        log_likelihood += sum(density.log_likelihood(rows) for density, _ in blocks.values())
        responsibilities[partial] = _share(allowed[partial], np.log(frequency) + log_likelihood)
        frequency, counts = _tables(structure, nodes, encoded, responsibilities, weights)
        blocks = {
            name: refine_joint(density, encoded, responsibilities, weights)
            for name, (density, _) in blocks.items()
        }
    return counts, frequency, responsibilities, blocks


def _tables(structure, nodes, encoded, responsibilities, weights):
    """Class frequencies and tables for given shares of the objects."""
    class_name = structure.nodes[0]
    counts = {}
    for name, parents in zip(structure.nodes[1:], structure.parents[1:], strict=True):
        others = [(encoded[p], nodes[p].n_states) for p in parents if p != class_name]
        shares = responsibilities if class_name in parents else None
        counts[name] = fit_parameters(nodes[name], encoded[name], others, shares, weights)
    return _frequency(responsibilities, weights), counts


def _frequency(responsibilities, weights):
    """Class frequencies with half an object added to each class."""
    counts = weights @ responsibilities + 0.5
    return counts / counts.sum()


def _share(allowed, log_joint_rows):
    """Share each object over its allowed leaves in proportion to the joint probability."""
    logs = np.where(allowed, log_joint_rows, -np.inf)
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)
