"""Learning a joint density: expectation maximisation with missing cells, errors, soft labels; its draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp

from bayesclass.joint_density import (
    JointDensity,
    JointParameters,
    blocks,
    log_states,
    logits,
    marginals,
)
from bayesclass.joint_density_draws import gibbs_draw
from bayesclass.joint_density_start import first_states
from bayesclass.network_spec import JointSpec
from bayesclass.nodes import Encoded, EvidenceNode

__all__ = ["JointSample", "draw_joint", "fit_joint", "refine_joint"]

STARTS = 2
STEPS = 25
# Sweeps of the chain behind each draw.
SWEEPS = 12
# Prior of a state's covariance: so many objects, with this share of the pooled covariance.
PRIOR_OBJECTS, PRIOR_SHARE = 20.0, 0.6
PRIOR_OBJECTS_OF_MEAN = 0.3
# Prior of a class's weights: so many objects, spread as all classes together are.
PRIOR_OBJECTS_OF_WEIGHTS = 5.0
# Added to every variance, so that a column which others determine weighs the same in all states.
JITTER = 0.05**2
# Share of the background: as broad as three pooled standard deviations, it bounds what one odd cell can say.
BACKGROUND, BACKGROUND_VARIANCE = 0.01, 9.0


@dataclass(frozen=True)
class JointSample:
    """Training objects of a block that have one of its columns; kept in memory for draws, never stored."""

    value: np.ndarray  # (n, D) standardised
    error: np.ndarray
    measured: np.ndarray
    none: np.ndarray
    shares: np.ndarray  # (n, C), each object's shares of the classes
    weights: np.ndarray  # (n,)

    @classmethod
    def of(cls, density: JointDensity, encoded, shares, weights) -> JointSample:
        """Take the objects that tell anything."""
        arrays = density.arrays(encoded)
        told = (arrays[2] | arrays[3]).any(axis=1) & (weights > 0)
        return cls(*(array[told] for array in arrays), shares[told], weights[told])


@dataclass(frozen=True)
class _Sums:
    """Expected sufficient statistics: K states, C classes, D columns."""

    by_class: np.ndarray  # (C, K)
    first: np.ndarray  # (K, D)
    second: np.ndarray  # (K, D, D)
    none: np.ndarray  # (K, D)
    measured: np.ndarray  # (K, D)


def fit_joint(
    spec: JointSpec,
    nodes: dict[str, EvidenceNode],
    encoded: dict[str, Encoded],
    shares: np.ndarray,
    weights: np.ndarray,
    *,
    probability: tuple[str, ...] = (),
    seed: int = 0,
) -> tuple[JointDensity, JointSample]:
    r"""Fit a block by expectation maximisation, as the mean of several starts.

    Each class begins with states of its own, one for some 30 of its objects up to `spec.components`;
    afterwards every class may use every state, with weights shrunk towards those of all classes together,

    .. math:: p(z|c) = (n_{cz} + \alpha \bar p_z) / (n_c + \alpha), \qquad
              \Sigma_z = (S_z + \nu \lambda \Sigma_0) / (n_z + \nu) + \epsilon^2 I

    Parameters
    ----------
    spec : JointSpec
    nodes : dict of str to EvidenceNode
    encoded : dict of str to Encoded
    shares : float array, shape (n_objects, n_classes)
        Each object's shares of the classes, summing to one.
    weights : float array, shape (n_objects,)
    probability : tuple of str
        Columns that are probabilities.
    seed : int
        Of the starts.

    Returns
    -------
    density : JointDensity
    sample : JointSample
        What draws are made from.
    """
    stretched = np.isin(list(nodes), probability)
    value = np.column_stack([encoded[name].value for name in nodes])
    centre, scale = _standard(logits(value, stretched)[0], weights)
    empty = JointParameters(np.zeros((0, 0)), np.zeros((0, 0)), np.zeros((0, 0, 0)), np.zeros((0, 0)))
    density = JointDensity(spec.name, nodes, centre, scale, empty, stretched)
    sample = JointSample.of(density, encoded, shares, weights)
    background = _background(density, sample)
    rng = np.random.default_rng(seed)
    value = np.where(sample.measured, sample.value, 0.0)
    found = []
    for _ in range(STARTS):
        first = first_states(value, sample.shares.argmax(axis=1), spec.components, rng)
        first = np.hstack([(1.0 - BACKGROUND) * first, np.full((len(value), 1), BACKGROUND)])
        sums = _sums(sample, background, responsibilities=first)
        parameters = _maximise(sums, background)
        for _ in range(STEPS):
            parameters = _maximise(_sums(sample, parameters), background)
        found.append(parameters)
    return replace(density, parameters=_joined(found)), sample


def refine_joint(density: JointDensity, encoded, shares, weights, *, steps: int = 3):
    """Bring a block up to date with other shares of the classes; returns it with its sample."""
    sample = JointSample.of(density, encoded, shares, weights)
    background = _background(density, sample)
    parameters = density.parameters
    for _ in range(steps):
        parameters = _maximise(_sums(sample, parameters), background)
    return replace(density, parameters=parameters), sample


def draw_joint(density: JointDensity, sample: JointSample, rng: np.random.Generator) -> JointParameters:
    """Draw parameters by Gibbs sampling from the states of one start, chosen at random; float32.

    Each draw is the end of a chain of its own, so draws are independent of each other.
    """
    found = density.parameters
    n_own = (len(found.mean) - 1) // STARTS
    first = int(rng.integers(STARTS)) * n_own
    keep = np.r_[first : first + n_own, len(found.mean) - 1]
    weight = found.log_weight[:, keep]
    weight[:, :-1] += np.log1p(-np.exp(weight[:, -1:])) - logsumexp(weight[:, :-1], axis=1, keepdims=True)
    start = JointParameters(weight, found.mean[keep], found.covariance[keep], found.log_none[keep])
    pooled = found.covariance[-1] / BACKGROUND_VARIANCE
    drawn = gibbs_draw(start, sample, rng, pooled=pooled, sweeps=SWEEPS, jitter=JITTER)
    return JointParameters(*(values.astype(np.float32) for values in vars(drawn).values()))


def _standard(columns: np.ndarray, weights) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of each column; 0 and 1 where nothing is measured."""
    centre, scale = np.zeros(columns.shape[1]), np.ones(columns.shape[1])
    for j, column in enumerate(columns.T):
        known = np.isfinite(column) & (weights > 0)
        if known.any():
            value, weight = column[known], weights[known]
            centre[j] = np.average(value, weights=weight)
            spread = np.sqrt(np.average((value - centre[j]) ** 2, weights=weight))
            scale[j] = spread if spread > 1e-9 * max(1.0, abs(centre[j])) else 1.0
    return centre, scale


def _background(density: JointDensity, sample: JointSample) -> JointParameters:
    """One state for all: the pooled Gaussian, its covariance found from available pairs by EM."""
    n_columns, n_classes = sample.value.shape[1], sample.shares.shape[1]
    can_be_none = np.array([node.has_none for node in density.nodes.values()])
    none = (sample.weights @ sample.none + 0.5) / (sample.weights @ (sample.none | sample.measured) + 1.0)
    log_none = np.where(can_be_none, np.log(none), -np.inf)[None]
    mean, covariance = np.zeros((1, n_columns)), np.eye(n_columns)[None]
    state = JointParameters(np.zeros((n_classes, 1)), mean, covariance, log_none)
    for _ in range(10):
        sums = _sums(sample, state)
        total = sums.by_class.sum() + 1.0
        mean = sums.first / total
        covariance = (sums.second + np.eye(n_columns)) / total - mean[:, :, None] * mean[:, None, :]
        state = replace(state, mean=mean, covariance=covariance + JITTER * np.eye(n_columns))
    return state


def _sums(sample: JointSample, parameters: JointParameters, responsibilities=None) -> _Sums:
    """Take the expectation step in blocks: shares of the states, moments of what is behind the cells."""
    n_classes, n_columns = sample.shares.shape[1], sample.value.shape[1]
    if responsibilities is not None:
        # Before there are states, the moments are those of the one given, for all alike.
        n_states = responsibilities.shape[1]
        parameters = JointParameters(
            np.full((n_classes, n_states), -np.log(n_states)),
            np.repeat(parameters.mean, n_states, axis=0),
            np.repeat(parameters.covariance, n_states, axis=0),
            np.repeat(parameters.log_none, n_states, axis=0),
        )
    n_states = parameters.mean.shape[0]
    by_class, first = np.zeros((n_classes, n_states)), np.zeros((n_states, n_columns))
    second = np.zeros((n_states, n_columns, n_columns))
    none, measured = np.zeros_like(first), np.zeros_like(first)
    for rows in blocks(len(sample.value)):
        seen = sample.measured[rows]
        got = marginals(sample.value[rows], sample.error[rows], seen, parameters.mean, parameters.covariance)
        if responsibilities is None:
            joint = got.log_density + log_states(parameters.log_none, seen, sample.none[rows])
            # Shares are posteriors of the class, this block's word included: only the state is left to infer.
            joint = joint[:, None, :] + parameters.log_weight
            joint = np.exp(joint - logsumexp(joint, axis=2, keepdims=True)) * sample.shares[rows][:, :, None]
        else:
            joint = sample.shares[rows][:, :, None] * responsibilities[rows][:, None, :]
        joint = joint * sample.weights[rows, None, None]
        by_class += joint.sum(axis=0)
        share = joint.sum(axis=1)
        expected = parameters.mean + got.deviation
        first += np.einsum("nk,nki->ki", share, expected)
        second += (expected * share[:, :, None]).transpose(1, 2, 0) @ expected.transpose(1, 0, 2)
        in_pattern = np.zeros((len(got.spread), n_states))
        np.add.at(in_pattern, got.pattern, share)
        second += np.einsum("uk,ukij->kij", in_pattern, got.spread)
        none += share.T @ sample.none[rows]
        measured += share.T @ seen
    return _Sums(by_class, first, second, none, measured)


def _maximise(sums: _Sums, background: JointParameters) -> JointParameters:
    """Maximisation step; the last state is the background and stays."""
    n_columns = sums.first.shape[1]
    own = slice(0, -1)
    by_class = sums.by_class[:, own]
    pooled = by_class.sum(axis=0) + 0.5
    prior = PRIOR_OBJECTS_OF_WEIGHTS * pooled / pooled.sum()
    weight = by_class + prior
    weight = (1.0 - BACKGROUND) * weight / weight.sum(axis=1, keepdims=True)
    log_weight = np.log(np.column_stack([weight, np.full(len(weight), BACKGROUND)]))
    total, centre = by_class.sum(axis=0), background.mean[0]
    mean = (sums.first[own] + PRIOR_OBJECTS_OF_MEAN * centre) / (total + PRIOR_OBJECTS_OF_MEAN)[:, None]
    cross = sums.first[own][:, :, None] * mean[:, None, :]
    scatter = sums.second[own] - cross - cross.swapaxes(1, 2)
    scatter += total[:, None, None] * mean[:, :, None] * mean[:, None, :]
    pull = (mean - centre)[:, :, None] * (mean - centre)[:, None, :] * PRIOR_OBJECTS_OF_MEAN
    jitter = JITTER * np.eye(n_columns)
    scatter += pull + PRIOR_OBJECTS * PRIOR_SHARE * (background.covariance - jitter)
    covariance = scatter / (total + PRIOR_OBJECTS)[:, None, None] + jitter
    covariance = 0.5 * (covariance + covariance.swapaxes(1, 2))
    # One object's worth of the pooled share of "none".
    none, told = sums.none[own] + np.exp(background.log_none), (sums.none + sums.measured)[own] + 1.0
    can_be_none = np.isfinite(background.log_none)
    log_none = np.where(can_be_none, np.log(np.where(can_be_none, none / told, 1.0)), -np.inf)
    return JointParameters(
        log_weight,
        np.vstack([mean, background.mean]),
        np.concatenate([covariance, BACKGROUND_VARIANCE * background.covariance]),
        np.vstack([log_none, background.log_none]),
    )


def _joined(found: list[JointParameters]) -> JointParameters:
    """Mean of the densities of several starts, as one mixture with one background."""
    last = found[-1]
    weight = [part.log_weight[:, :-1] - np.log(len(found)) for part in found]
    return JointParameters(
        np.hstack([*weight, last.log_weight[:, -1:]]),
        np.concatenate([*(part.mean[:-1] for part in found), last.mean[-1:]]),
        np.concatenate([*(part.covariance[:-1] for part in found), last.covariance[-1:]]),
        np.concatenate([*(part.log_none[:-1] for part in found), last.log_none[-1:]]),
    )
