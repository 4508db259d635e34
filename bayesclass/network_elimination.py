"""Variable elimination: the order (host, once) and the sums (JAX), exact or scaled.

A factor is a pair (scope, values). Shared factors have one axis for each variable of the scope, ascending;
batched factors have a trailing axis of objects besides, so that every operation runs along objects.
"""

from __future__ import annotations

from itertools import combinations
from math import prod

import jax.numpy as jnp

__all__ = ["eliminate_in_logs", "eliminate_scaled", "elimination_order", "sorted_factor"]


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
    return target, _align(scope, values, target, batch)


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
        own = [factor for factor in factors if variable in factor[0]]
        factors = [factor for factor in factors if variable not in factor[0]]
        scope, total = _combine(own, jnp.add, True)
        axis = scope.index(variable)
        peak = jnp.max(total, axis=axis, keepdims=True)
        # A slice that is -inf everywhere must stay -inf: -inf minus -inf is NaN.
        peak = jnp.where(jnp.isneginf(peak), jnp.zeros_like(peak), peak)
        total = jnp.log(jnp.sum(jnp.exp(total - peak), axis=axis)) + jnp.squeeze(peak, axis)
        factors.append((tuple(i for i in scope if i != variable), total))
    return _combine(factors, jnp.add, True)[1]


def eliminate_scaled(shared, batched, order):
    """Sum out the variables of `order` with few exponentials, and say whether that was safe.

    Factors over one variable stay logarithms (they are added, then exponentiated relative to their maximum);
    those over several are kept as numbers of at most one, with one log scale an object for all.

    Parameters
    ----------
    shared, batched : list of (scope, log values)
    order : tuple of int

    Returns
    -------
    log_joint : float array, shape (n_query_states, n_objects or 1)
    safe : bool array, shape ()
        False where a sum is so small that it may have lost terms (or is an exact zero).
    """
    safe = jnp.asarray(True)
    log_scale = 0.0
    shared = list(shared)
    rows = [factor for factor in batched if len(factor[0]) <= 1]
    messages = []
    for scope, values in batched:
        if len(scope) > 1:
            scaled, peak = _exp_scaled(values)
            messages.append((scope, scaled))
            log_scale = log_scale + peak
    for variable in order:
        tables, shared = _split(shared, variable)
        own_rows, rows = _split(rows, variable)
        own, messages = _split(messages, variable)
        if not own_rows and not own:
            scope, table = _combine(tables, jnp.add, False)
            shared.append((tuple(i for i in scope if i != variable), _log_sum(table, scope.index(variable))))
            continue
        if own_rows:
            weight, peak = _exp_scaled(_combine(own_rows, jnp.add, True)[1])
            own.append(((variable,), weight))
            log_scale = log_scale + peak
        dtype = own[0][1].dtype
        scope, table = _combine(tables, jnp.add, False) if tables else ((variable,), jnp.zeros((1,), dtype))
        peak = _finite(jnp.max(table))
        log_scale = log_scale + peak
        left, total = _sum_product(
            _combine(own, jnp.multiply, True), (scope, jnp.exp(table - peak)), variable
        )
        # Lost terms are below the smallest normal number: above this bound they are below rounding.
        safe = safe & jnp.all(total > jnp.finfo(dtype).tiny * 1e9)
        if len(left) > 1:
            largest = jnp.max(total, axis=tuple(range(len(left))), keepdims=True)
            total = total / jnp.where(largest > 0, largest, jnp.ones_like(largest))
            log_scale = log_scale + jnp.log(largest).reshape(-1)
            messages.append((left, total))
        else:
            rows.append((left, jnp.log(total)))
    rows += [(scope, values[..., None]) for scope, values in shared]
    return _combine(rows, jnp.add, True)[1] + log_scale, safe


def _split(factors, variable: int):
    return [f for f in factors if variable in f[0]], [f for f in factors if variable not in f[0]]


def _align(scope, values, target, batch: bool):
    """Transpose and extend `values` to the axes of `target`, with axes of length one where it has none."""
    wanted = [i for i in target if i in scope]
    values = values.transpose(*(scope.index(i) for i in wanted), *((len(scope),) if batch else ()))
    return jnp.expand_dims(values, tuple(k for k, i in enumerate(target) if i not in scope))


def _combine(factors, operation, batch: bool):
    target = tuple(sorted({i for scope, _ in factors for i in scope}))
    total = None
    for scope, values in factors:
        aligned = _align(scope, values, target, batch)
        total = aligned if total is None else operation(total, aligned)
    return target, total


def _finite(peak):
    return jnp.where(jnp.isneginf(peak), jnp.zeros_like(peak), peak)


def _exp_scaled(values):
    """Exponentiate relative to the maximum of each object; return that maximum (0 where it is -inf)."""
    peak = _finite(jnp.max(values, axis=tuple(range(values.ndim - 1))))
    return jnp.exp(values - peak), peak


def _log_sum(values, axis: int):
    peak = _finite(jnp.max(values, axis=axis, keepdims=True))
    return jnp.log(jnp.sum(jnp.exp(values - peak), axis=axis)) + jnp.squeeze(peak, axis)


def _sum_product(rows, table, variable: int):
    """Sum over `variable` of rows times table; the objects' axis stays last."""
    row_scope, row_values = rows
    table_scope, table_values = table
    left = tuple(sorted((set(row_scope) | set(table_scope)) - {variable}))
    if set(table_scope) <= set(row_scope):
        product = row_values * _align(table_scope, table_values, row_scope, False)[..., None]
        return left, jnp.sum(product, axis=row_scope.index(variable))
    objects = 1 + max(*row_scope, *table_scope)
    sums = jnp.einsum(
        row_values,
        [*row_scope, objects],
        table_values,
        list(table_scope),
        [*left, objects],
        precision="highest",
    )
    return left, sums
