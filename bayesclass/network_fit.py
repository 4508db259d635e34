"""Learning the tables of a network by expectation maximisation: labels, missing cells, latent nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bayesclass.em_sample import Learned, LearningSample
from bayesclass.em_update import log_prior
from bayesclass.inference import Structure
from bayesclass.joint_density_fit import fit_joint
from bayesclass.network_spec import JointSpec, NetworkError, NetworkSpec
from bayesclass.nodes import Encoded, EvidenceNode
from context.evidence import EvidenceTable

__all__ = ["Learned", "check_labels", "learn"]

# Steps end where the log-likelihood changes by less than this share of itself.
TOLERANCE = 1e-5
MOST_STEPS = 60
# Of the starts with latent nodes, each goes so far before the best one is followed.
STARTS, FIRST_STEPS = 6, 12
# Share of a step that is small enough to end with, below which a loss is rounding.
ROUNDING = 1e-4
STEPS_OF_LABELS = 6


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
    expected: bool = True,
    most_steps: int = MOST_STEPS,
) -> Learned:
    r"""Estimate all tables and joint densities by expectation maximisation.

    The E-step gives each object's shares of the leaves that its label allows, and expected counts of what is
    missing (`expected_counts`); the M-step shrinks the counts as those of a complete sample. It starts from
    available cases: objects of which a node and its parents are known. A sample without partial labels, of
    which no missing cell has a known descendant, needs no step.

    Each M-step maximises the expected log-likelihood plus a Dirichlet log prior (`em_update`), so that

    .. math:: \ell(\theta) + \sum \kappa \mu \log \theta

    never falls. That holds for tables of states. Densities by kernels, other families and joint densities are
    smoothed or fitted in their own way, and near the end a step may lower the sum by what that takes
    (Silverman et al. 1990).

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
        Of the first states of joint densities and of the tables of latent nodes.
    expected : bool
        Learn from expected counts; else from available cases, where labels alone are shared. Latent nodes
        need expected counts.
    most_steps : int

    Returns
    -------
    Learned

    References
    ----------
    Dempster, Laird & Rubin (1977), JRSS B 39, 1. Lauritzen (1995), Comp. Stat. & Data Analysis 19, 191.
    Silverman et al. (1990), JRSS B 52, 271 (smoothed expectation maximisation).
    """
    sample = LearningSample(structure, nodes, encoded, allowed, weights, expected)
    current, shares = sample.first_shares(bool(nodes or joint))
    options = {"probability": probability, "seed": seed}
    blocks = {spec.name: fit_joint(spec, own, encoded, shares, current, **options) for spec, own in joint}
    if not sample.inferred.any() or not (nodes or joint):
        return sample.start(current, shares, blocks)
    if not sample.latent:
        first = sample.start(current, shares, blocks)
        if sample.partial.any() and sample.counts_expected:
            # The prior that stays (`em_update`) is chosen when objects of several leaves have their shares.
            of_labels = _iterate(replace(sample, expected=False), first, min(STEPS_OF_LABELS, most_steps))
            first = of_labels._replace(path=(), gains=())
        return _iterate(sample, first, most_steps)
    begun = []
    for k in range(STARTS):
        first = sample.start(current, shares, blocks, np.random.default_rng([seed, k]))
        begun.append(_iterate(sample, first, min(FIRST_STEPS, most_steps)))
    best = max(begun, key=lambda learned: learned.path[-1])
    return best if best.ending != "most steps" else _iterate(sample, best, most_steps - len(best.gains))


def _iterate(sample: LearningSample, current: Learned, most_steps: int) -> Learned:
    """Take steps of expectation maximisation until one changes little."""
    now = sample.expect(current)
    path, gains = list(current.path) or [now.log_likelihood], list(current.gains)
    ending = "most steps"
    for _ in range(most_steps):
        proposed = sample.maximise(now, current)
        after = sample.expect(proposed)
        change = after.log_likelihood - now.log_likelihood
        gain = change + _log_prior(proposed, proposed) - _log_prior(proposed, current)
        small = TOLERANCE * max(abs(now.log_likelihood), sample.weights.sum())
        if gain < -ROUNDING * small and sample.maximised(proposed):
            ending = "converged"
            break
        current, now = proposed, after
        path.append(after.log_likelihood)
        gains.append(gain)
        if abs(change) <= small:
            ending = "converged"
            break
    return current._replace(path=tuple(path), gains=tuple(gains), ending=ending)


def _log_prior(prior: Learned, learned: Learned) -> float:
    """Log density of the tables of `learned`, up to a constant, under the priors of `prior`."""
    # Half an object in each class.
    total = 0.5 * np.log(learned.frequency).sum()
    for name, own in prior.counts.items():
        total += log_prior(own.states, learned.counts[name].states)
        total += log_prior(own.cells, learned.counts[name].cells)
    return float(total)
