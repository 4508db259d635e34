"""Variable elimination: the order (host, once), and the sums (JAX) in logarithms, which lose nothing.

A factor is a pair (scope, values). Shared factors have one axis for each variable of the scope, ascending;
batched factors have a trailing axis of objects besides, so that every operation runs along objects.
"""

from __future__ import annotations

from functools import reduce
from itertools import combinations
from math import prod

import jax
import jax.numpy as jnp

__all__ = [
    "add_tables",
    "align",
    "eliminate_in_logs",
    "elimination_order",
    "finite_peak",
    "log_sum",
    "safe_log",
    "sorted_factor",
    "split_factors",
]


def elimination_order(n_states, scopes, keep: int) -> tuple[int, ...]:
    """Order in which to sum out all variables but `keep`, by min-fill, ties by the smaller table.

    Parameters
    ----------
    n_states : sequence of int
    scopes : sequence of tuple of int
        The variables of each factor.
    keep : int

    Returns
    -------
    tuple of int

    References
    ----------
    Koller & Friedman (2009), Probabilistic Graphical Models, section 9.4.3.2.
    """
    neighbours: dict[int, set[int]] = {i: set() for i in range(len(n_states))}
    for scope in scopes:
        for a, b in combinations(scope, 2):
            neighbours[a].add(b)
            neighbours[b].add(a)
    order = []
    left = set(neighbours) - {keep}
    while left:

        def cost(i):
            fill = sum(b not in neighbours[a] for a, b in combinations(sorted(neighbours[i]), 2))
            return fill, prod(n_states[j] for j in neighbours[i]) * n_states[i], i

        best = min(left, key=cost)
        for a, b in combinations(neighbours[best], 2):
            neighbours[a].add(b)
            neighbours[b].add(a)
        for a in neighbours.pop(best):
            neighbours[a].discard(best)
        left.remove(best)
        order.append(best)
    return tuple(order)


def sorted_factor(scope, values, *, batch: bool):
    """Return a factor with its axes in ascending order of the variables."""
    target = tuple(sorted(scope))
    return target, align(scope, values, target, batch=batch)


def eliminate_in_logs(shared, batched, order):
    """Sum out the variables of `order` by plain log-sum-exp: slow, and nothing is lost.

    Parameters
    ----------
    shared, batched : list of (scope, log values)
    order : tuple of int

    Returns
    -------
    log_joint : float array, shape (n_query_states, n_objects or 1)
    """
    factors = [*batched, *((scope, values[..., None]) for scope, values in shared)]
    for variable in order:
        own, factors = split_factors(factors, variable)
        scope, total = _add(own, batch=True)
        factors.append((tuple(i for i in scope if i != variable), log_sum(total, axis=scope.index(variable))))
    return _add(factors, batch=True)[1]


def split_factors(factors, variable: int):
    """Split factors into those over the variable and the others."""
    return [f for f in factors if variable in f[0]], [f for f in factors if variable not in f[0]]


def align(scope, values, target, *, batch: bool):
    """Transpose and extend `values` to the axes of `target`, with axes of length one where it has none."""
    wanted = [i for i in target if i in scope]
    values = values.transpose(*(scope.index(i) for i in wanted), *((len(scope),) if batch else ()))
    return jnp.expand_dims(values, tuple(k for k, i in enumerate(target) if i not in scope))


def add_tables(tables):
    """Add log tables that all objects share; return the scope of the sum and its values."""
    return _add(tables, batch=False)


def finite_peak(values, axis=None, *, keepdims: bool = False):
    """Return the maximum that is taken out before an exponential, 0 where it is -inf.

    -inf minus -inf would be NaN. What is taken out is put back as a logarithm, so it has no gradient.
    """
    peak = jax.lax.stop_gradient(jnp.max(values, axis=axis, keepdims=keepdims))
    return jnp.where(jnp.isneginf(peak), jnp.zeros_like(peak), peak)


def safe_log(values, smallest=0.0):
    """Logarithm, -inf up to `smallest`; the gradient there is zero rather than NaN."""
    positive = values > smallest
    return jnp.where(positive, jnp.log(jnp.where(positive, values, jnp.ones_like(values))), -jnp.inf)


def log_sum(values, axis: int):
    """Log-sum-exp along one axis; -inf, with zero gradient, where every term is -inf."""
    peak = finite_peak(values, axis, keepdims=True)
    return safe_log(jnp.sum(jnp.exp(values - peak), axis=axis)) + jnp.squeeze(peak, axis)


def _add(factors, *, batch: bool):
    target = tuple(sorted({i for scope, _ in factors for i in scope}))
    return target, reduce(jnp.add, [align(scope, values, target, batch=batch) for scope, values in factors])
