"""Variable elimination in numbers rather than logarithms, with a bound on what underflow may have lost.

Objects are the last axis, so that each sum is the product of a small table, shared by all objects, and a wide
matrix; everything else runs along objects. Logarithms are taken of the last messages only.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp

from bayesclass.network_elimination import (
    add_tables,
    align,
    finite_peak,
    log_sum,
    safe_log,
    split_factors,
)

__all__ = ["Evidence", "eliminate_scaled"]

# Scaling a message costs a pass over it. A few likelihoods, each of maximum one, stay far from underflow, and
# sums far from overflow; more of them are divided by their maximum.
_MOST_EVIDENCE = 4
_LARGEST_BOUND = 1e6
_LONGEST_UNROLLED = 64


class Evidence(NamedTuple):
    """What is known of each object, by the way it enters.

    Attributes
    ----------
    rows : dict of int to float array (n_objects, n_states)
        Virtual log evidence by node.
    states : dict of int to bool array (n_states, n_objects)
        Hard evidence by node: which states are possible; all where it is missing.
    factors : list of (scope, float array (n_objects, *states))
        Log factors of each object over several nodes, or none.
    """

    rows: dict
    states: dict
    factors: list


class _Message(NamedTuple):
    scope: tuple[int, ...]
    values: jax.Array  # (*states, n_objects), from 0 to `bound`
    lost: float | jax.Array  # most that underflow can have taken from a value, in smallest normal numbers
    least: float | jax.Array  # no value but exact zeros is smaller
    bound: float | jax.Array  # as the tables have it
    ceiling: float  # the same, whatever the tables are
    n_evidence: int  # numbers of evidence multiplied since the last scaling


def eliminate_scaled(shared, evidence: Evidence, order, n_states, query: int, n_objects: int, dtype):
    r"""Sum out the variables of `order`, and say of which objects the answer is sure.

    Parameters
    ----------
    shared : list of (scope, log table)
    evidence : Evidence
    order : tuple of int
    n_states : tuple of int
    query : int
    n_objects : int
    dtype : dtype

    Returns
    -------
    log_joint : float array, shape (n_query_states, n_objects)
    safe : bool array, shape (n_objects,)
        False where some entry is so small, or zero, that underflow may have changed it by more than an eighth
        of the rounding unit.

    Notes
    -----
    Tables and evidence are scaled to at most one. Where numbers may fall below the smallest normal number t,
    a product of messages :math:`m_k \le b_k` loses at most :math:`\sum_k \ell_k \prod_{j \ne k} b_j + t`, a
    sum over n states multiplies the loss by the largest sum of the table and adds n t (b + 1), and dividing
    by a maximum divides it. The loss follows each object through all steps and is compared with the last
    messages. As long as the smallest numbers can't fall that low, nothing is lost, and zeros are exact.
    """
    scale = jnp.zeros((n_objects,), dtype)
    messages, last = [], []
    for i, rows in evidence.rows.items():
        if i == query:
            last.append(rows.T)
            continue
        message, peak = _message((i,), rows)
        scale = scale + peak
        messages.append(message)
    for i, possible in evidence.states.items():
        if i == query:
            last.append(jnp.where(possible, 0.0, -jnp.inf).astype(dtype))
            continue
        messages.append(_Message((i,), _keep(possible.astype(dtype)), 0.0, 1.0, 1.0, 1.0, 1))
    for scope, factor in evidence.factors:
        if not scope:
            scale = scale + factor
            continue
        message, peak = _message(scope, factor)
        scale = scale + peak
        messages.append(message)

    for variable in order:
        tables, shared = split_factors(shared, variable)
        own, messages = split_factors(messages, variable)
        if not own:
            scope, table = add_tables(tables)
            rest = tuple(i for i in scope if i != variable)
            shared = [*shared, (rest, log_sum(table, scope.index(variable)))]
            continue
        product, peak = _product(own)
        scale = scale + peak
        scope, table = add_tables(tables) if tables else ((), jnp.zeros((), dtype))
        peak = finite_peak(table)
        numbers = jnp.exp(table - peak)
        least = _least(table, numbers)
        message = _sum_product(product, scope, numbers, least, variable, n_states[variable])
        scale = scale + peak
        if any(i != query for i in message.scope):
            message, peak = _scaled(message)
            scale = scale + peak
        messages.append(message)

    info = jnp.finfo(dtype)
    safe = jnp.ones((n_states[query], n_objects), bool)
    total = scale
    for message in messages:
        large = message.values * (1 / float(info.tiny)) > (message.lost + 1.0) * (8 / float(info.eps))
        safe &= large | jnp.asarray(message.lost == 0)
        total = total + safe_log(message.values, float(info.tiny))
    for values in (*last, *(values[..., None] for _, values in shared)):
        total = total + values
    return jnp.broadcast_to(total, safe.shape), _along_objects(jnp.logical_and, jnp.all, safe, 0)


def _message(scope, logs):
    """Exponentiate relative to the maximum of each object (first axis); return that maximum too."""
    axes = tuple(range(1, logs.ndim))
    peak = finite_peak(logs, axes, keepdims=True)
    values = jnp.exp(logs - peak)
    least = _least(logs, values, axes)
    values = _keep(jnp.moveaxis(values, 0, -1))
    return _Message(scope, values, _underflow(least, logs.dtype), least, 1.0, 1.0, 1), peak.reshape(-1)


def _least(logs, values, axes=None):
    """Smallest of the numbers that should not be zero."""
    return jax.lax.stop_gradient(jnp.min(jnp.where(jnp.isneginf(logs), jnp.inf, values), axis=axes))


def _underflow(least, dtype):
    """Count of smallest normal numbers that rounding to zero may have taken: one, or none."""
    return jnp.where(least > 2 * float(jnp.finfo(dtype).tiny), 0.0, 1.0).astype(dtype)


def _keep(values):
    """Have values made once: fused into what uses them, they would be made again for each use."""
    return jax.lax.optimization_barrier(values)


def _scaled(message: _Message):
    """Divide a message by its maximum once it stands for many numbers; return the log of what was taken."""
    if message.n_evidence <= _MOST_EVIDENCE and message.ceiling <= _LARGEST_BOUND:
        return message, 0.0
    peak = jax.lax.stop_gradient(jnp.max(message.values, axis=tuple(range(len(message.scope)))))
    peak = jnp.where(peak > 0, peak, jnp.ones_like(peak))
    values, least = message.values / peak, message.least / peak
    lost = message.lost / peak + _underflow(least, values.dtype)
    return _Message(message.scope, values, lost, least, 1.0, 1.0, 1), jnp.log(peak)


def _product(own):
    """Multiply messages of objects on the axes of the largest; return the log of what was taken out too."""
    widest = max(own, key=lambda message: len(message.scope))
    target = tuple(dict.fromkeys(i for message in (widest, *own) for i in message.scope))
    total, scale = None, 0.0
    for message in own:
        values = align(message.scope, message.values, target, batch=True)
        if total is None:
            total = message._replace(scope=target, values=values)
            continue
        total, peak = _scaled(total)
        scale = scale + peak
        least = total.least * message.least
        lost = total.lost * message.bound + message.lost * total.bound
        total = _Message(
            target,
            total.values * values,
            lost + _underflow(least, values.dtype),
            least,
            total.bound * message.bound,
            total.ceiling * message.ceiling,
            total.n_evidence + message.n_evidence,
        )
    return total, scale


def _sum_product(product: _Message, scope, table, least, variable: int, n: int) -> _Message:
    """Sum over `variable` of a message times a table of at most one; the objects' axis stays last."""
    axis = product.scope.index(variable)
    sums = table.sum(axis=scope.index(variable)).max() if scope else float(n)
    dtype = product.values.dtype
    smallest = product.least * least
    new = n * (_underflow(least, dtype) * product.bound + _underflow(smallest, dtype))
    about = (
        sums * product.lost + new,
        smallest,
        sums * product.bound,
        n * product.ceiling,
        product.n_evidence,
    )
    if set(scope) <= set(product.scope):
        factor = align(scope, table, product.scope, batch=False)[..., None]
        rest = tuple(i for i in product.scope if i != variable)
        values = _along_objects(jnp.add, jnp.sum, product.values * factor, axis)
        return _Message(rest, values, *about)
    both = tuple(i for i in scope if i in product.scope and i != variable)
    values = jax.lax.dot_general(
        table,
        product.values,
        (
            ((scope.index(variable),), (axis,)),
            (tuple(scope.index(i) for i in both), tuple(product.scope.index(i) for i in both)),
        ),
        precision=jax.lax.Precision.HIGHEST,
    )
    rest = (
        *both,
        *(i for i in scope if i not in product.scope),
        *(i for i in product.scope if i not in scope),
    )
    return _Message(rest, values, *about)


def _along_objects(operation, reduction, values, axis: int):
    """Reduce over an axis before that of the objects, as a chain that runs along objects unless it is long.

    A reduction over an axis that is not the last runs across objects, several times slower.
    """
    n = values.shape[axis]
    if n > _LONGEST_UNROLLED:
        return reduction(values, axis=axis)
    return reduce(operation, [jax.lax.index_in_dim(values, k, axis, keepdims=False) for k in range(n)])
