"""What a piece of evidence could turn out to be: its states or values, and the likelihood of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bayesclass.joint_density import LOGIT_FLOOR, REACH, JointDensity, logits
from bayesclass.network_spec import NetworkError
from bayesclass.nodes import MISSING, Encoded, EvidenceNode

if TYPE_CHECKING:
    from bayesclass.match_model import MatchModel
    from bayesclass.network import BayesianNetwork
    from context.evidence import EvidenceSpec, EvidenceTable

__all__ = ["NONE", "StateLikelihoods", "match_states", "network_states"]

NONE = "none found"
N_SEPARATIONS = 32
# Of a column of a joint density: 16 a pooled standard deviation.
N_VALUES = 192
# Separations from which those of equal probability are interpolated.
_FINE = 4001


class StateLikelihoods(NamedTuple):
    """States or values that one piece of evidence could have, and the likelihood of each.

    Attributes
    ----------
    labels : tuple of str, length n_states
        Category, bin of a count, value (transformed; separation in arcsec for a nearest source), or
        "none found".
    log_weight : float64 array, shape (n_states,)
        Log of the width that a value stands for, where likelihoods are densities; 0 for a state. The sum
        over states of exp(log_weight) times a function of the value is its integral.
    log_likelihood : float64 array, shape (n_states, n_objects, n_leaves)
        log p(all other evidence, this state | class).
    value : float64 array, shape (n_states,)
        Transformed, or the index of a category, or a separation [arcsec]; NaN for bins and "none found".
    """

    labels: tuple[str, ...]
    log_weight: np.ndarray
    log_likelihood: np.ndarray
    value: np.ndarray


def network_states(network: BayesianNetwork, evidence: EvidenceTable, column: str) -> StateLikelihoods:
    """Evaluate a network with one column set to each of its states in turn; see `StateLikelihoods`.

    Raises
    ------
    NetworkError
        The column is none of the network's evidence.
    """
    encoded = network._encode(evidence)
    known = [name for name in encoded if name in evidence.columns]  # latent nodes are not
    if column not in known:
        raise NetworkError(
            f"The states of a column can be tried only if it is evidence of the network, found {column!r}; "
            f"known: {', '.join(known)}."
        )
    if column in network.nodes:
        node = network.nodes[column]
        value, log_weight = _values(node)
    else:
        block = next(block for block in network.joint.values() if column in block.nodes)
        node = block.nodes[column]
        value, log_weight = _joint_values(block, column)
    if node.grid is not None:
        # Kernels and margins reach beyond the values that a table may hold.
        allowed = _allowed(evidence.columns[column].spec, value)
        value, log_weight = value[allowed], log_weight[allowed]
    states, labels = _states(node, value)
    value = np.append(value, np.nan) if node.has_none else value
    log_weight = np.append(log_weight, 0.0) if node.has_none else log_weight
    n_states, n_objects = len(value), evidence.n_objects
    tried = {name: Encoded(*(np.tile(part, n_states) for part in codes)) for name, codes in encoded.items()}
    tried[column] = Encoded(*(np.repeat(part, n_objects) for part in states))
    log = network._evaluate(network.parameters, tried, n_states * n_objects) + network._joint(tried)
    return StateLikelihoods(labels, log_weight, log.reshape(n_states, n_objects, -1), value)


def _values(node: EvidenceNode) -> tuple[np.ndarray, np.ndarray]:
    """Values of a node of the graph and the logs of their widths: cells of a density, else its states."""
    if node.grid is not None:
        # The density is constant within a cell, so that the sum over cells is the integral itself.
        return node.grid.centres, np.full(node.grid.n_cells, np.log(node.grid.width))
    n = node.n_measured_states
    return (np.arange(n, dtype=float) if node.categories else np.full(n, np.nan)), np.zeros(n)


def _allowed(spec: EvidenceSpec, value: np.ndarray) -> np.ndarray:
    """Whether each value lies in the declared range."""
    if spec.valid_range is None:
        return np.ones(len(value), dtype=bool)
    low, high = spec.valid_range
    given = spec.inverse(value)
    return (given >= low) & (given <= high)


def _joint_values(block: JointDensity, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of a column of a joint density, in the middle of narrow cells, and their log widths."""
    d = block.columns.index(column)
    if not block.probability[d]:
        # As far as the density is evaluated: beyond, all values are scored as its ends.
        ends = block.centre[d] + REACH * block.scale[d] * np.array([-1.0, 1.0])
        edges = np.linspace(*ends, N_VALUES + 1)
        return 0.5 * (edges[1:] + edges[:-1]), np.log(np.diff(edges))
    # A probability is described by its logit, and cells of equal width are those of the logit.
    end = np.log(1.0 + LOGIT_FLOOR) - np.log(LOGIT_FLOOR)
    edges = np.linspace(-end, end, N_VALUES + 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    value = ((1.0 + LOGIT_FLOOR) * np.exp(middle) - LOGIT_FLOOR) / (1.0 + np.exp(middle))
    slope = logits(value[:, None], np.array([True]))[1][:, 0]
    return value, np.log(np.diff(edges) / slope)


def _states(node: EvidenceNode, value: np.ndarray) -> tuple[Encoded, tuple[str, ...]]:
    """Code the values in the terms of a node, "none found" after them where it can be."""
    n = len(value)
    if node.grid is None:
        zero = np.where(np.isnan(value), np.nan, 0.0)
        codes = Encoded(np.arange(n), np.full(n, MISSING), value, zero)
        labels = node.states[:n]
    else:
        cell = node.grid.cell(value)
        codes = Encoded(node.bin_of_cell[cell], cell, value, np.zeros(n))
        labels = tuple(f"{x:.6g}" for x in value)
    if node.has_none:
        last = (node.n_states - 1, MISSING, np.nan, np.nan)
        codes = Encoded(*(np.append(part, end) for part, end in zip(codes, last, strict=True)))
        labels = (*labels, NONE)
    return codes, labels


def match_states(match: MatchModel, log_rest: np.ndarray, density: float) -> StateLikelihoods:
    r"""Evaluate a nearest source at separations of equal probability, and "none found".

    .. math:: \int_0^R p(r | c)\, dr \approx \frac{\bar F(R)}{n} \sum_k \frac{p(r_k | c)}{\bar p(r_k)},
              \qquad \bar F(r_k) = \frac{k - 1/2}{n} \bar F(R)

    with the bar for the mean over classes.

    Parameters
    ----------
    match : MatchModel
    log_rest : float array, shape (n_objects, n_leaves)
        log p(all other evidence | class).
    density : float
        Of unrelated sources [arcmin^-2], the same for all objects.
    """
    radius = match.model.radius

    def log_likelihood(separation, found):
        covered = np.ones(len(separation), dtype=bool)
        return match.model.log_likelihood(separation, np.full(len(separation), density), found, covered)

    fine = np.linspace(0.0, radius, _FINE)
    # Squared, so that separations far below the radius are resolved too.
    fine = fine**2 / radius
    per_area = np.exp(log_likelihood(fine, np.ones(_FINE, dtype=bool))).mean(axis=1)
    per_length = 2.0 * np.pi * fine * per_area
    share = np.concatenate([[0.0], np.cumsum(0.5 * (per_length[1:] + per_length[:-1]) * np.diff(fine))])
    steps = (np.arange(N_SEPARATIONS) + 0.5) * share[-1] / N_SEPARATIONS
    separation = np.interp(steps, share, fine)
    own = log_likelihood(separation, np.ones(N_SEPARATIONS, dtype=bool))
    # Likelihoods are per unit of area, so the widths are areas.
    log_weight = np.log(share[-1] / N_SEPARATIONS) - np.log(np.exp(own).mean(axis=1))
    none = log_likelihood(np.array([np.nan]), np.array([False]))
    log = np.concatenate([own, none])[:, None, :] + log_rest
    labels = (*(f"{x:.3g}" for x in separation), NONE)
    return StateLikelihoods(labels, np.append(log_weight, 0.0), log, np.append(separation, np.nan))
