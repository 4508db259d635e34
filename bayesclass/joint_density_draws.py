"""Posterior draws of a joint density by Gibbs sampling: states, hidden values, weights, Gaussians, priors.

The priors are learned along: how alike the states' covariances are, how far their means lie apart, and how
much the classes share. A state of few objects is thus as uncertain as the other states leave it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln, logsumexp, multigammaln

from bayesclass.joint_density import REACH, JointParameters, blocks, log_states, marginals

__all__ = ["gibbs_draw", "normal_inverse_wishart"]

# Degrees of freedom beyond D - 1 that the covariances' prior may have, all as probable.
FREEDOM = np.array([3.0, 5.0, 9.0, 17.0, 33.0])
# Objects that the pooled weights may count for in a class, log-uniform; total of the pooled weights' prior.
SHARING = np.geomspace(0.1, 30.0, 12)
POOLED_TOTAL = 1.0
# Gamma prior of the objects that the pooled mean counts for; share of the pooled covariance within states.
MEAN_SHAPE, MEAN_RATE = 1.0, 1.0
WITHIN_SHARE = 0.6
# Added to the variance of a hidden value, so that a covariance of rank zero has a root; far below any error.
ROOT_FLOOR = 1e-9
# Beta prior of a class's share of the background: its mean, as in the fit, and the objects it counts for.
ODD_SHARE, ODD_TOTAL = 0.01, 5.0
# Share of the chains that begin with groups of each class's own, and how many at most.
REGROUPED, MOST_GROUPS = 0.5, 4
TINY = 1e-150


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
    start: JointParameters, sample, rng: np.random.Generator, *, pooled, sweeps: int, jitter: float
) -> JointParameters:
    r"""Run a chain from `start` and return its last parameters.

    A sweep draws, each given all others, the state of every object (and its class, where several are
    possible), the true values behind missing and noisy cells, and

    .. math:: w_c \sim \mathrm{Dir}(n_{cz} + a q_z), \quad
              \Sigma_z \sim \mathrm{IW}(\nu, (\nu - D - 1) M), \quad
              \mu_z \sim N(m, \Sigma_z / \kappa)

    with :math:`a, q, \nu, M, \kappa` drawn too; m is the pooled mean. An object of weight below one counts as
    that part of an object. The Gaussian of the last state, the background, stays; its weight in each class is
    drawn, so that a probability below what the fit's share allows is within reach.

    Short chains seldom join or part states. Half of them therefore begin from `start`, where classes share
    states, the others from groups of each class's own; and there is a state to spare for each class.

    Parameters
    ----------
    start : JointParameters
    sample : JointSample
    rng : numpy.random.Generator
    pooled : float array, shape (D, D)
        Covariance of all objects.
    sweeps : int
    jitter : float
        Added to every variance of a state.

    References
    ----------
    Gelman et al. (2013), Bayesian Data Analysis, section 3.6; Teh et al. (2006), JASA 101, 1566, section 5.3;
    Stephens (2000), Annals of Statistics 28, 40, section 4, for the prior of M.
    """
    n_columns = start.mean.shape[1]
    hyper = _Hyper(n_columns + 2.0, WITHIN_SHARE * pooled, MEAN_SHAPE / MEAN_RATE)
    parameters = _with_spare(start, len(start.log_weight))
    pooled_weight = np.exp(parameters.log_weight[:, :-1]).mean(axis=0)
    regroup = rng.random() < REGROUPED
    for sweep in range(sweeps):
        got = _allocate(sample, parameters, rng)
        if regroup and sweep == 0:
            got = _regrouped(got, len(parameters.mean) - 1, rng)
        log_weight, pooled_weight = _weights(got, sample, parameters, pooled_weight, rng)
        hyper = _hyper(got, parameters, hyper, pooled, rng)
        mean, covariance = _gaussians(got, sample, parameters, hyper, jitter, rng)
        log_none = _none(got, sample, parameters, rng)
        parameters = JointParameters(log_weight, mean, covariance, log_none)
    return parameters


def normal_inverse_wishart(
    rng: np.random.Generator, mean, objects_of_mean, scale, freedom
) -> tuple[np.ndarray, np.ndarray]:
    r"""Draw covariances, then means: :math:`\mathrm{IW}(\nu_k, \Psi_k)`, :math:`N(m_k, \Sigma_k / \kappa_k)`.

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
        log_shares = np.log(sample.shares)[:, :, None]
    for rows in blocks(n):
        seen = sample.measured[rows]
        got = marginals(sample.value[rows], sample.error[rows], seen, parameters.mean, parameters.covariance)
        joint = got.log_density + log_states(parameters.log_none, seen, sample.none[rows])
        joint = joint[:, None, :] + parameters.log_weight
        # Shares are posteriors of the class, this block's word included: only the state is left to infer.
        joint = joint - logsumexp(joint, axis=2, keepdims=True) + log_shares[rows]
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


def _with_spare(start: JointParameters, n: int) -> JointParameters:
    """Add n states without objects before the background, alike in all to the pooled Gaussian."""
    last = start.mean.shape[0] - 1
    order = np.r_[:last, np.full(n + 1, last)]
    weight = start.log_weight[:, order]
    weight[:, last:-1] = np.log(TINY)
    return JointParameters(weight, start.mean[order], start.covariance[order], start.log_none[order])


def _regrouped(got: _Allocated, n_states: int, rng) -> _Allocated:
    """Give each class one to four groups of its own, about random members, as if it had nothing in common."""
    state, classes = got.state.copy(), rng.permutation(np.unique(got.label))
    first = 0
    for i, c in enumerate(classes):
        own = np.flatnonzero(got.label == c)
        # A group has more members than columns on average; the later classes keep one state each.
        left = n_states - first - (len(classes) - i - 1)
        most = min(MOST_GROUPS, left, len(own) // (got.value.shape[1] + 1))
        n = int(rng.integers(1, max(most, 1) + 1))
        centres = got.value[rng.choice(own, n, replace=False)]
        state[own] = first + ((got.value[own, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        first += n
    return replace(got, state=state)


def _weights(got: _Allocated, sample, parameters, pooled, rng) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the states in each class, the background's too, and those of all classes together."""
    counts = np.zeros(parameters.log_weight.shape)
    np.add.at(counts, (got.label, got.state), sample.weights)
    counts, odd = counts[:, :-1], counts[:, -1]
    prior = SHARING[:, None, None] * pooled
    log_odds = (gammaln(counts + prior) - gammaln(prior)).sum(axis=(1, 2))
    log_odds += (gammaln(SHARING)[:, None] - gammaln(SHARING[:, None] + counts.sum(axis=1))).sum(axis=1)
    chosen = _choice(log_odds, rng)
    # How many of the counted objects came from the pooled weights, and not from others of their class.
    tables = _tables(np.ceil(counts), prior[chosen], rng).sum(axis=0)
    pooled = _dirichlet(tables + POOLED_TOTAL / len(pooled), rng)
    weight = _dirichlet(counts + SHARING[chosen] * pooled, rng)
    ends = np.stack([odd + ODD_SHARE * ODD_TOTAL, counts.sum(axis=1) + (1.0 - ODD_SHARE) * ODD_TOTAL], axis=1)
    share = _dirichlet(ends, rng)[:, :1]
    return np.log(np.hstack([(1.0 - share) * weight + TINY, share])), pooled


def _tables(counts, prior, rng) -> np.ndarray:
    """Draw the numbers of tables of Chinese restaurants with so many guests; shape of `counts`."""
    guests = counts.astype(int).ravel()
    owner = np.repeat(np.arange(len(guests)), guests)
    place = np.arange(len(owner)) - np.repeat(guests.cumsum() - guests, guests)
    chance = np.broadcast_to(prior, counts.shape).ravel()[owner]
    new = rng.random(len(owner)) * (chance + place) < chance
    return np.bincount(owner, weights=new, minlength=len(guests)).reshape(counts.shape)


def _hyper(got: _Allocated, parameters: JointParameters, old: _Hyper, pooled, rng) -> _Hyper:
    """Draw the priors' parameters given the Gaussians of the states that have objects."""
    used = np.unique(got.state)
    used = used[used < len(parameters.mean) - 1]
    covariance, n_columns = parameters.covariance[used], parameters.mean.shape[1]
    precision = np.linalg.inv(covariance)
    below = n_columns - 1.0
    # M ~ Wishart of D + 2 degrees of freedom about the share of the pooled covariance.
    freedom = n_columns + 2.0
    rate = np.linalg.inv(WITHIN_SHARE * pooled) * freedom
    rate = rate + (old.freedom - below - 2.0) * precision.sum(axis=0)
    root = np.linalg.cholesky(np.linalg.inv(0.5 * (rate + rate.T)))
    root = root @ _bartlett(rng, np.array([freedom + len(used) * old.freedom]), n_columns)[0]
    within = root @ root.T
    log_odds = np.zeros(len(FREEDOM))
    trace = np.einsum("ij,kji->", within, precision)
    log_det = np.linalg.slogdet(covariance)[1].sum()
    log_det_within = np.linalg.slogdet(within)[1]
    for i, nu in enumerate(below + FREEDOM):
        times = nu - below - 2.0
        log_odds[i] = -0.5 * (times * trace + (nu + n_columns + 1.0) * log_det)
        each = nu * (n_columns * np.log(0.5 * times) + log_det_within)
        log_odds[i] += len(used) * (0.5 * each - multigammaln(0.5 * nu, n_columns))
    difference = parameters.mean[used] - parameters.mean[-1]
    distance = np.einsum("ki,kij,kj->", difference, precision, difference)
    shape = MEAN_SHAPE + 0.5 * len(used) * n_columns
    of_mean = rng.standard_gamma(shape) / (MEAN_RATE + 0.5 * distance)
    return _Hyper(below + FREEDOM[_choice(log_odds, rng)], within, of_mean)


def _gaussians(got: _Allocated, sample, parameters, hyper: _Hyper, jitter: float, rng):
    """Means and covariances given the objects of each state; the background's stay."""
    n_states, n_columns = len(parameters.mean) - 1, parameters.mean.shape[1]
    centre = parameters.mean[-1]
    mean, objects, freedom = np.zeros((n_states, n_columns)), np.zeros(n_states), np.zeros(n_states)
    scale = np.zeros((n_states, n_columns, n_columns))
    for k in range(n_states):
        own = got.state == k
        weight, value = sample.weights[own], got.value[own]
        total = weight.sum()
        average = weight @ value / total if total > 0 else centre
        apart, off = value - average, average - centre
        objects[k], freedom[k] = hyper.of_mean + total, hyper.freedom + total
        mean[k] = (hyper.of_mean * centre + total * average) / objects[k]
        scale[k] = (hyper.freedom - n_columns - 1.0) * hyper.within + (apart * weight[:, None]).T @ apart
        scale[k] += hyper.of_mean * total / objects[k] * np.outer(off, off)
    mean, covariance = normal_inverse_wishart(rng, mean, objects, scale, freedom)
    # A state without objects may be drawn far off; no state need be broader than the reach of the values.
    values, axes = np.linalg.eigh(covariance)
    covariance = (axes * np.clip(values, 0.0, REACH**2)[:, None, :]) @ axes.swapaxes(1, 2)
    covariance = covariance + jitter * np.eye(n_columns)
    mean = np.vstack([np.clip(mean, -REACH, REACH), parameters.mean[-1:]])
    return mean, np.concatenate([covariance, parameters.covariance[-1:]])


def _none(got: _Allocated, sample, parameters, rng) -> np.ndarray:
    """Log P(none | z); the prior is one object with the background's share, the background keeps its own."""
    can_be_none = np.isfinite(parameters.log_none[-1])
    n_states = len(parameters.mean)
    counts = np.zeros((2, *parameters.mean.shape))
    for i, told in enumerate((sample.none, sample.measured)):
        np.add.at(counts[i], got.state, told * sample.weights[:, None])
    share = np.where(can_be_none, np.exp(parameters.log_none[-1]), 0.5)
    ends = np.stack([counts[0] + share, counts[1] + 1.0 - share], axis=-1)
    # Neither certainly "none" nor certainly measured, also after rounding to float32.
    chance = np.clip(_dirichlet(ends, rng)[..., 0], 1e-7, 1.0 - 1e-6)
    log_none = np.where(can_be_none, np.log(chance), -np.inf)
    log_none[n_states - 1] = parameters.log_none[-1]
    return log_none


def _dirichlet(concentration, rng) -> np.ndarray:
    """Dirichlet draws along the last axis; the smallest normal number keeps them off 0 / 0."""
    drawn = rng.standard_gamma(concentration) + TINY
    return drawn / drawn.sum(axis=-1, keepdims=True)


def _choice(log_odds, rng) -> int:
    """Index drawn in proportion to exp(log_odds)."""
    return int(rng.choice(len(log_odds), p=np.exp(log_odds - logsumexp(log_odds))))
