"""The compiled functions of one structure and one queried node."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from bayesclass.inference_scaled import Evidence, eliminate_scaled
from bayesclass.network_elimination import eliminate_in_logs, elimination_order, sorted_factor
from bayesclass.network_structure import InferenceError, Structure

__all__ = ["Programs", "compile_programs"]


class Programs(NamedTuple):
    """Jitted functions of (log_cpds, log_evidence, extra_factors), arguments as for `compile_posterior`.

    Attributes
    ----------
    quick : callable
        Returns the log joint (n_objects, n_query_states), and of which objects (n_objects,) it is sure.
    in_logs : callable
        Returns the log joint, slowly; sure of all objects.
    guarded : callable
        Returns the quick one, or that in logs when it is not sure of all objects.
    """

    quick: Callable
    in_logs: Callable
    guarded: Callable


@lru_cache(maxsize=256)
def compile_programs(structure: Structure, query: str) -> Programs:
    """Find the elimination order of one structure and queried node, and return its jitted functions.

    Raises
    ------
    InferenceError
        The query is no node.
    """
    if query not in structure.nodes:
        raise InferenceError(
            f"The query must be a node, found {query!r}; known: {', '.join(structure.nodes)}."
        )
    index = {node: i for i, node in enumerate(structure.nodes)}
    scopes = tuple(
        (index[node], *(index[name] for name in parents))
        for node, parents in zip(structure.nodes, structure.parents, strict=True)
    )
    extra = tuple(tuple(index[name] for name in group) for group in structure.extra)
    target = index[query]
    order = elimination_order(structure.n_states, (*scopes, *extra), keep=target)

    def prepare(log_cpds, log_evidence, extra_factors):
        floats = [*log_cpds, *extra_factors, *(e for e in log_evidence if e is not None and e.ndim == 2)]
        dtype = jnp.result_type(*floats)
        shared = [
            sorted_factor(scope, jnp.asarray(table, dtype), batch=False)
            for scope, table in zip(scopes, log_cpds, strict=True)
        ]
        rows, states = {}, {}
        for i, known in enumerate(log_evidence):
            if known is None:
                continue
            if known.ndim == 2:
                rows[i] = known.astype(dtype)
            else:
                every = jnp.arange(structure.n_states[i], dtype=known.dtype)
                states[i] = (every[:, None] == known) | (known < 0)
        factors = [(scope, f.astype(dtype)) for scope, f in zip(extra, extra_factors, strict=True)]
        n_objects = next(len(array) for array in (*log_evidence, *extra_factors) if array is not None)
        return shared, Evidence(rows, states, factors), n_objects, dtype

    def quick(*arguments):
        shared, evidence, n_objects, dtype = prepare(*arguments)
        joint, safe = eliminate_scaled(shared, evidence, order, structure.n_states, target, n_objects, dtype)
        return joint.T, safe

    def in_logs(*arguments):
        shared, evidence, n_objects, dtype = prepare(*arguments)
        batched = [((i,), rows.T) for i, rows in evidence.rows.items()]
        batched += [
            ((i,), jnp.where(possible, 0.0, -jnp.inf).astype(dtype))
            for i, possible in evidence.states.items()
        ]
        batched += [
            sorted_factor(scope, jnp.moveaxis(factor, 0, -1), batch=True)
            for scope, factor in evidence.factors
        ]
        joint = eliminate_in_logs(shared, batched, order)
        return jnp.broadcast_to(joint, (structure.n_states[target], n_objects)).T

    def guarded(*arguments):
        joint, safe = quick(*arguments)
        return jax.lax.cond(jnp.all(safe), lambda: joint, lambda: in_logs(*arguments))

    return Programs(jax.jit(quick), jax.jit(in_logs), jax.jit(guarded))
