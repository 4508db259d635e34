"""Posterior draws of a joint density by Gibbs sampling: states, hidden values, weights, Gaussians, their priors.

The priors are learned along: how alike the states' covariances are, how far their means lie apart, and how much
the classes share. A state of few objects is thus as uncertain as the other states leave it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp, multigammaln

from bayesclass.joint_density import REACH, JointParameters, blocks, log_states, marginals

__all__ = ["gibbs_draw", "normal_inverse_wishart"]

# Degrees of freedom beyond D - 1 that the covariances' prior may have, all as probable.
FREEDOM = np.array([3.0, 5.0, 9.0, 17.0, 33.0])
# Objects that the classes' pooled weights may count for in a class, log-uniform; total of the pooled weights' prior.
SHARING = np.geomspace(0.1, 30.0, 12)
POOLED_TOTAL = 1.0
# Gamma prior of the objects that the pooled mean counts for, and share of the pooled covariance within states.
MEAN_SHAPE, MEAN_RATE = 1.0, 1.0
WITHIN_SHARE = 0.6
# Added to the variance of a hidden value, so that a covariance of rank zero has a root; far below any error.
ROOT_FLOOR = 1e-9
TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class _Allocated:
    """Complete data of one sweep: n objects, D columns."""

    label: np.ndarray  # (n,) class
    state: np.ndarray  # (n,)
    value: np.ndarray  # (n, D) true values


@dataclass(frozen=True)
class _Hyper:
    """What the states' priors depend on."""

    freedom: float
    within: np.ndarray  # (D, D), mean of the covariances' prior
    of_mean: float  # objects that the pooled mean counts for


def gibbs_draw(
    start: JointParameters, sample, rng: np.random.Generator, *, sweeps: int, jitter: float
) -> JointParameters:
    r"""Run a chain from `start` and return its last parameters.

    A sweep draws, each given all others, the state (and the class, where several are possible) of every object,
    the true values behind missing and noisy cells, and

    .. math:: w_c \sim \mathrm{Dir}(n_{cz} + a q_z), \quad
              \Sigma_z \sim \mathrm{IW}(\nu, (\nu - D - 1) M), \quad
              \mu_z \sim N(m, \Sigma_z / \kappa)

    with :math:`a, q, \nu, M, \kappa` drawn too; m is the pooled mean. An object of weight below one counts as
    that part of an object. The last state, the background, stays with its weight.

    Parameters
    ----------
    start : JointParameters
    sample : JointSample
    rng : numpy.random.Generator
    sweeps : int
    jitter : float
        Added to every variance of a state.

    References
    ----------
    Gelman et al. (2013), Bayesian Data Analysis, section 3.6; Teh et al. (2006), JASA 101, 1566, section 5.3;
    Stephens (2000), Annals of Statistics 28, 40, section 4, for the prior of M.
    """
    n_columns = start.mean.shape[1]
    pooled = start.covariance[-1] / start.covariance[-1].diagonal().mean()
    hyper = _Hyper(n_columns + 2.0, WITHIN_SHARE * pooled, MEAN_SHAPE / MEAN_RATE)
    parameters, pooled_weight = start, np.exp(start.log_weight[:, :-1]).mean(axis=0)
    for _ in range(sweeps):
        got = _allocate(sample, parameters, rng)
        log_weight, pooled_weight = _weights(got, sample, parameters, pooled_weight, rng)
        hyper = _hyper(got, parameters, hyper, pooled, rng)
        mean, covariance = _gaussians(got, sample, parameters, hyper, jitter, rng)
        log_none = _none(got, sample, parameters, rng)
        parameters = JointParameters(log_weight, mean, covariance, log_none)
    return parameters


def normal_inverse_wishart(
    rng: np.random.Generator, mean, objects_of_mean, scale, freedom
) -> tuple[np.ndarray, np.ndarray]:
    r"""Draw :math:`\Sigma_k \sim \mathrm{IW}(\nu_k, \Psi_k)` and :math:`\mu_k \sim N(m_k, \Sigma_k / \kappa_k)`.

    Parameters
    ----------
    rng : numpy.random.Generator
    mean : float array, shape (K, D)
    objects_of_mean : float array, shape (K,)
    scale : float array, shape (K, D, D)
    freedom : float array, shape (K,)
        Above D - 1.

    Returns
    -------
    mean : float array, shape (K, D)
    covariance : float array, shape (K, D, D)

    References
    ----------
    Bartlett (1933), Proceedings of the Royal Society of Edinburgh 53, 260, for the triangular factor.
    """
    n_states, n_columns = mean.shape
    factor = _bartlett(rng, freedom, n_columns)
    root = np.linalg.cholesky(scale) @ np.linalg.inv(factor).swapaxes(1, 2)
    drawn = np.einsum("kij,kj->ki", root, rng.standard_normal((n_states, n_columns)))
    return mean + drawn / np.sqrt(objects_of_mean)[:, None], root @ root.swapaxes(1, 2)


def _bartlett(rng, freedom, n_columns: int) -> np.ndarray:
    """Triangular roots of standard Wishart matrices, shape (K, D, D)."""
    below = np.tril(rng.standard_normal((len(freedom), n_columns, n_columns)), -1)
    half = 0.5 * (freedom[:, None] - np.arange(n_columns))
    return below + np.sqrt(2.0 * rng.standard_gamma(half))[:, :, None] * np.eye(n_columns)


def _allocate(sample, parameters: JointParameters, rng) -> _Allocated:
    """Draw class, state and true values of every object, in blocks."""
    n, n_columns = sample.value.shape
    n_states = len(parameters.mean)
    flat, value = np.zeros(n, int), sample.value.copy()
    hidden = (~sample.measured | (sample.error > 0)).any(axis=1)
    with np.errstate(divide="ignore"):
        log_shares = np.log(sample.shares)
    for rows in blocks(n):
        seen = sample.measured[rows]
        got = marginals(sample.value[rows], sample.error[rows], seen, parameters.mean, parameters.covariance)
        joint = got.log_density + log_states(parameters.log_none, seen, sample.none[rows])
        joint = joint[:, None, :] + parameters.log_weight + log_shares[rows][:, :, None]
        joint = joint.reshape(len(seen), -1)
        total = np.exp(joint - joint.max(axis=1, keepdims=True)).cumsum(axis=1)
        # 1 - random() is never zero, so that nothing of zero probability is chosen.
        flat[rows] = (total < (1.0 - rng.random((len(seen), 1))) * total[:, -1:]).sum(axis=1)
        behind = np.flatnonzero(hidden[rows])
        state = flat[rows][behind] % n_states
        spread = got.spread[got.pattern[behind], state] + ROOT_FLOOR * np.eye(n_columns)
        noise = np.linalg.cholesky(spread) @ rng.standard_normal((len(behind), n_columns, 1))
        value[rows][behind] = parameters.mean[state] + got.deviation[behind, state] + noise[:, :, 0]
    return _Allocated(flat // n_states, flat % n_states, value)


def _weights(got: _Allocated, sample, parameters, pooled, rng) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the states in each class, and those of all classes together; the background keeps its own."""
    counts = np.zeros(parameters.log_weight.shape)
    np.add.at(counts, (got.label, got.state), sample.weights)
    counts = counts[:, :-1]
    prior = SHARING[:, None, None] * np.maximum(pooled, TINY**0.5)
    log_odds = (gammaln(counts + prior) - gammaln(prior)).sum(axis=(1, 2))
    log_odds += (gammaln(SHARING)[:, None] - gammaln(SHARING[:, None] + counts.sum(axis=1))).sum(axis=1)
    prior = prior[_choice(log_odds, rng)]
    tables = np.array([[_tables(n, a[0], rng) for n, a in zip(row, prior.T, strict=True)] for row in counts])
    pooled = _dirichlet(tables.sum(axis=0) + POOLED_TOTAL / len(pooled), rng)
    weight = _dirichlet(counts + prior[0, 0] / max(pooled[0], 1.0) * 0 + prior, rng)
    share = np.exp(parameters.log_weight[:, -1:])
    return np.log(np.hstack([(1.0 - share) * weight, share])), pooled
