r"""Log-density of tables pooled along a class tree and across groups, in coordinates that sample well.

Simplexes are sampled as softmax(x). A Dirichlet(a) is that of independent log-gamma variates x, whose spread
runs from 1/sqrt(a) for large a to an exponential tail of length 1/a for small ones. The map

.. math:: x(z) = \log b + \frac{z}{\sqrt{1 + b}} - \frac{p(1 + p)}{2b}, \qquad p = \log(1 + e^{-z})

makes both nearly standard normal in z (the last term is close to log Phi(z) / b, the quantile of the tail).
With b = a + (counts seen below the node, each group's bounded), z is non-centred where a class has no object
and centred where it has many. The map is exact whatever b is: only the geometry depends on it.

Value and gradient are loops for Numba, which PyTensor brings: a sampler asks for them 10^5 times, on arrays
of some hundred numbers. Import this module where it is used: Numba is slow to import.
"""

from __future__ import annotations

import functools
import math

import numba
import numpy as np

from bayesclass.pooling_tree import PoolingTree

__all__ = ["effective_counts", "many_log_tables", "value_and_gradient"]

# Median and log-spread of the prior of every concentration [objects, and e-folds].
KAPPA_MEDIAN, KAPPA_SPREAD = 30.0, 1.5

# A density outside its domain is infinite or NaN, for the sampler to refuse, as in numpy.
loops = functools.partial(numba.njit, error_model="numpy")

# Beyond this many spreads from its centre a concentration has no density: gamma functions lose their digits.
REACH = 10.0
# Least weight in the map x(z): below, a state is never seen, and exponents would overflow.
LEAST = 1e-6
# What a group's counts are worth at most below its class, and a class's below its parent [objects].
WORTH = 30.0


def effective_counts(counts: np.ndarray, tree: PoolingTree) -> np.ndarray:
    r"""Sum the counts below each node of the tree, n WORTH / (WORTH + N) from each child, to centre the map.

    Parameters
    ----------
    counts : float array, shape (n_groups, n_classes, n_states)
    tree : PoolingTree

    Returns
    -------
    float64 array, shape (n_nodes, n_states)
    """

    def bounded(values):
        return values * WORTH / (WORTH + values.sum(axis=-1, keepdims=True))

    effective = np.zeros((len(tree.names), counts.shape[-1]))
    effective[list(tree.leaf)] += bounded(counts).sum(axis=0)
    for child in range(len(tree.names) - 1, 0, -1):
        effective[tree.parent[child]] += bounded(effective[child])
    return effective


@loops
def _digamma(x):
    """Return the derivative of log Gamma for x > 0: recurrence up to 8, then the asymptotic series."""
    shift = 0.0
    while x < 8.0:
        shift -= 1.0 / x
        x += 1.0
    y = 1.0 / (x * x)
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * 691 / 32760)))))
    return shift + math.log(x) - 0.5 / x - series


@loops
def _log_tables(z, log_kappa_tree, effective, parent, depth, log_mu, log_sum):
    """Fill the log tables, and the logs of the sums that softmax divides by, parents before children."""
    n_nodes, n_states = z.shape
    for i in range(n_nodes):
        largest = -math.inf
        for s in range(n_states):
            log_a = log_kappa_tree[depth[i] - 1] + log_mu[parent[i], s] if i > 0 else 0.0
            b = math.exp(log_a) + effective[i, s] + LEAST
            soft = math.log1p(math.exp(-abs(z[i, s]))) + max(-z[i, s], 0.0)
            x = math.log(b) + z[i, s] / math.sqrt(1.0 + b) - 0.5 * soft * (1.0 + soft) / b
            log_mu[i, s] = x
            largest = max(largest, x)
        total = 0.0
        for s in range(n_states):
            total += math.exp(log_mu[i, s] - largest)
        log_sum[i] = largest + math.log(total)
        for s in range(n_states):
            log_mu[i, s] -= log_sum[i]


@loops
def _counts_density(log_mu, log_kappa, counts, leaf, g_mu, g_kappa):
    r"""Dirichlet-multinomial log-likelihood without its coefficient; adds to the gradients.

    log Gamma(kappa) - log Gamma(kappa + N) + sum_s [log Gamma(kappa mu_s + n_s) - log Gamma(kappa mu_s)]
    """
    value = 0.0
    n_groups, n_classes, n_states = counts.shape
    for g in range(n_groups):
        kappa = math.exp(log_kappa[g])
        for c in range(n_classes):
            seen = 0.0
            for s in range(n_states):
                n = counts[g, c, s]
                if n > 0.0:
                    seen += n
                    log_a = log_kappa[g] + log_mu[leaf[c], s]
                    a = math.exp(log_a)
                    value += math.lgamma(a + n) - math.lgamma(1.0 + a) + log_a
                    slope = a * (_digamma(a + n) - _digamma(1.0 + a)) + 1.0
                    g_mu[leaf[c], s] += slope
                    g_kappa[g] += slope
            if seen > 0.0:
                value += math.lgamma(kappa) - math.lgamma(kappa + seen)
                g_kappa[g] += kappa * (_digamma(kappa) - _digamma(kappa + seen))
    return value


@loops
def _tables_density(z, log_kappa_tree, effective, parent, depth, log_mu, log_sum, g_mu, g_z, g_tree):
    """Log-density of z under mu_node ~ Dirichlet(kappa mu_parent), the root uniform; fills the gradients.

    The sum of the gamma variates, which softmax forgets, is given Gamma(sum of b), so that with multinomial
    counts the posterior of all x is that of independent log-gammas. Children come before their parents.
    """
    value = 0.0
    n_nodes, n_states = z.shape
    for i in range(n_nodes - 1, -1, -1):
        total_a, total_b, total_slope = 0.0, 0.0, 0.0
        for s in range(n_states):
            log_a = log_kappa_tree[depth[i] - 1] + log_mu[parent[i], s] if i > 0 else 0.0
            a = math.exp(log_a)
            total_a += a
            total_b += a + effective[i, s] + LEAST
            g_mu[i, s] += a
            total_slope += g_mu[i, s]
        gamma_sum = math.exp(log_sum[i])
        value += math.lgamma(total_a) + total_b * log_sum[i] - gamma_sum - math.lgamma(total_b)
        psi_a, psi_b = _digamma(total_a), _digamma(total_b)
        for s in range(n_states):
            log_a = log_kappa_tree[depth[i] - 1] + log_mu[parent[i], s] if i > 0 else 0.0
            a = math.exp(log_a)
            b = a + effective[i, s] + LEAST
            soft = math.log1p(math.exp(-abs(z[i, s]))) + max(-z[i, s], 0.0)
            fall = math.exp(-z[i, s] - soft)
            root = math.sqrt(1.0 + b)
            curve, bend = 0.5 * soft * (1.0 + soft), (0.5 + soft) * fall
            derivative = 1.0 / root + bend / b
            value += a * log_mu[i, s] - math.lgamma(1.0 + a) + log_a + math.log(derivative)
            g_x = g_mu[i, s] + math.exp(log_mu[i, s]) * (total_b - gamma_sum - total_slope)
            root_slope = -0.5 / (root * (1.0 + b))
            x_by_b = 1.0 / b + root_slope * z[i, s] + curve / (b * b)
            derivative_by_b = root_slope - bend / (b * b)
            bend_by_z = -fall * fall - (0.5 + soft) * fall * (1.0 - fall)
            g_z[i, s] = g_x * derivative + bend_by_z / (b * derivative)
            if i > 0:
                g_a = psi_a - _digamma(1.0 + a) + log_mu[i, s]
                g_b = log_sum[i] - psi_b + g_x * x_by_b + derivative_by_b / derivative
                g_log_a = a * (g_a + g_b) + 1.0
                g_tree[depth[i] - 1] += g_log_a
                g_mu[parent[i], s] += g_log_a
    return value


@loops
def value_and_gradient(point, spread, counts, effective, parent, depth, leaf):
    """Log of the posterior density, not normalised, and its gradient.

    Parameters
    ----------
    point : float64 array, shape (1 + n_groups + n_levels + n_nodes * n_states,)
        m; (log kappa - m) / spread of each group; log kappa of each level of the tree; z of each node.
    spread : float
        Of the groups' log concentrations around m.
    counts : float64 array, shape (n_groups, n_classes, n_states)
    effective : float64 array, shape (n_nodes, n_states)
    parent, depth : int array, shape (n_nodes,)
    leaf : int array, shape (n_classes,)

    Returns
    -------
    float, and float64 array of the shape of `point`
    """
    n_groups, n_levels = len(counts), depth.max()
    first = 1 + n_groups + n_levels
    prior, prior_gradient = 0.0, np.zeros_like(point)
    for i in range(first):
        # m and the levels have the concentrations' prior, offsets a standard normal one.
        offset = 0 < i <= n_groups
        centre, width = (0.0, 1.0) if offset else (math.log(KAPPA_MEDIAN), KAPPA_SPREAD)
        distance = (point[i] - centre) / width
        if abs(distance) > REACH:
            return -math.inf, prior_gradient
        prior -= 0.5 * distance * distance
        prior_gradient[i] = -distance / width

    log_kappa = point[0] + spread * point[1 : 1 + n_groups]
    log_kappa_tree = point[1 + n_groups : first]
    z = point[first:].reshape(effective.shape)
    log_mu, log_sum = np.zeros_like(z), np.zeros(len(z))
    g_mu, g_z = np.zeros_like(z), np.zeros_like(z)
    g_kappa, g_tree = np.zeros_like(log_kappa), np.zeros_like(log_kappa_tree)
    _log_tables(z, log_kappa_tree, effective, parent, depth, log_mu, log_sum)
    value = _counts_density(log_mu, log_kappa, counts, leaf, g_mu, g_kappa)
    value += _tables_density(z, log_kappa_tree, effective, parent, depth, log_mu, log_sum, g_mu, g_z, g_tree)

    gradient = np.concatenate((np.array([g_kappa.sum()]), spread * g_kappa, g_tree, g_z.ravel()))
    return value + prior, gradient + prior_gradient


@loops
def many_log_tables(z, log_kappa_tree, effective, parent, depth):
    """Log tables of many draws, shape (n_draws, n_nodes, n_states)."""
    log_mu, log_sum = np.zeros_like(z), np.zeros(z.shape[1])
    for k in range(len(z)):
        _log_tables(z[k], log_kappa_tree[k], effective, parent, depth, log_mu[k], log_sum)
    return log_mu
