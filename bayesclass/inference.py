"""Exact inference on a discrete Bayesian network, in log space, for many objects at once.

The structure (nodes, numbers of states, parents) is static; the elimination order is found once, by min-fill,
and compiled. Tables and evidence are arrays, so one compiled program serves every table and every object.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesclass.network_elimination import (
    eliminate_in_logs,
    eliminate_scaled,
    elimination_order,
    sorted_factor,
)
from bayesclass.network_structure import InferenceError, Structure

__all__ = ["InferenceError", "LogPosterior", "Structure", "compile_posterior", "log_joint", "posterior"]

BLOCK_SIZE = 4096
_SMALLEST_BLOCK = 64


class LogPosterior(NamedTuple):
    """Posterior of one node for many objects.

    Attributes
    ----------
    log_posterior : float array, shape (n_objects, n_query_states)
        Normalised, natural logarithm. A row of an impossible object is -inf everywhere (its probabilities
        are all 0 and do not sum to one): neither NaN nor the prior, so that it can't pass for an answer.
    log_evidence : float array, shape (n_objects,)
        log p(evidence); -inf where impossible.
    impossible : bool array, shape (n_objects,)
        Where the evidence has probability zero under every state.
    """

    log_posterior: np.ndarray
    log_evidence: np.ndarray
    impossible: np.ndarray


@lru_cache(maxsize=256)
def compile_posterior(structure: Structure, query: str):
    r"""Return the jitted function that computes the unnormalised posterior of one node.

    .. math:: \log \sum_{x \setminus q} \prod_v p(x_v | x_{\mathrm{pa}(v)})\, \lambda_{nv}(x_v)
              \prod_k \phi_{nk}(x_{S_k})

    Parameters
    ----------
    structure : Structure
    query : str
        Any node.

    Returns
    -------
    callable
        ``f(log_cpds, log_evidence, extra_factors) -> (n_objects, n_query_states)``, where `log_cpds` is a
        tuple with one log table a node, axes (node, \*parents); `log_evidence` a tuple with one array
        (n_objects, n_states) of virtual log evidence a node, or None for a node that no object has evidence
        of (then the node costs nothing when it is a leaf); `extra_factors` a tuple of arrays
        (n_objects, \*states of the subset). Zero rows are missing evidence, rows of 0 and -inf are hard
        evidence. At least one node has evidence or one factor is there, as that says the number of objects.
        The dtype follows the input.

    Raises
    ------
    InferenceError
        The query is no node.

    Notes
    -----
    Sums are contractions of factors scaled to maximum one. Where a sum comes near the smallest number of the
    dtype (contradicting evidence, exact zeros in a table), the batch is computed again by plain log-sum-exp,
    which loses nothing; impossible combinations come out as -inf, never NaN.
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
    order = elimination_order(structure.n_states, (*scopes, *extra), keep=index[query])

    def run(log_cpds, log_evidence, extra_factors):
        shared = [
            sorted_factor(scope, table, batch=False) for scope, table in zip(scopes, log_cpds, strict=True)
        ]
        batched = [((i,), rows.T) for i, rows in enumerate(log_evidence) if rows is not None]
        batched += [
            sorted_factor(scope, jnp.moveaxis(factor, 0, -1), batch=True)
            for scope, factor in zip(extra, extra_factors, strict=True)
        ]
        shape = (structure.n_states[index[query]], batched[0][1].shape[-1])
        quick, safe = eliminate_scaled(shared, batched, order)
        quick = jnp.broadcast_to(quick, shape)

        def in_logs():
            return jnp.broadcast_to(eliminate_in_logs(shared, batched, order), shape).astype(quick.dtype)

        return jax.lax.cond(safe, lambda: quick, in_logs).T

    return jax.jit(run)


def log_joint(
    structure: Structure,
    query: str,
    log_cpds: Sequence[np.ndarray],
    log_evidence: dict[str, np.ndarray],
    *,
    extra_factors: Sequence[np.ndarray] = (),
    n_objects: int | None = None,
    block_size: int = BLOCK_SIZE,
) -> np.ndarray:
    r"""Compute the unnormalised log posterior of `query` for any number of objects, in blocks.

    Parameters
    ----------
    structure : Structure
    query : str
    log_cpds : sequence of float arrays
        One a node, axes (node, \*parents).
    log_evidence : dict of str to float array (n_objects, n_states)
        Virtual log evidence by node; a node that is absent has none for any object.
    extra_factors : sequence of float arrays (n_objects, \*states)
        In the order of `structure.extra`.
    n_objects : int, optional
        Needed only when there is neither evidence nor a factor.
    block_size : int
        Objects a call of the compiled function; the last block is padded to a power of two, so memory is flat
        and compilations are few.

    Returns
    -------
    float array, shape (n_objects, n_query_states)

    Raises
    ------
    InferenceError
        A shape that does not fit, an unknown node, or NaN in tables or evidence.
    """
    function = compile_posterior(structure, query)
    n_objects = _check(structure, log_cpds, log_evidence, extra_factors, n_objects)
    q = structure.nodes.index(query)
    dtype = np.result_type(*(np.asarray(table).dtype for table in log_cpds), np.float32)
    rows = dict(log_evidence)
    if not rows and not extra_factors:
        rows[query] = np.zeros((n_objects, structure.n_states[q]), dtype)
    log_cpds = tuple(jnp.asarray(table) for table in log_cpds)
    blocks = []
    for start in range(0, n_objects, block_size):
        stop = min(start + block_size, n_objects)
        size = min(block_size, max(_SMALLEST_BLOCK, 1 << (stop - start - 1).bit_length()))
        evidence = tuple(
            _block(rows[node], start, stop, size) if node in rows else None for node in structure.nodes
        )
        factors = tuple(_block(factor, start, stop, size) for factor in extra_factors)
        blocks.append(np.asarray(function(log_cpds, evidence, factors))[: stop - start])
    if not blocks:
        return np.zeros((0, structure.n_states[q]), dtype)
    return np.concatenate(blocks)


def posterior(structure: Structure, query: str, log_cpds, log_evidence, **options) -> LogPosterior:
    """Compute the normalised posterior of `query`; arguments are those of `log_joint`.

    Impossible objects are reported in `impossible`; their row is -inf everywhere (see `LogPosterior`).
    """
    joint = log_joint(structure, query, log_cpds, log_evidence, **options)
    peak = joint.max(axis=1)
    impossible = np.isneginf(peak)
    shift = np.where(impossible, 0.0, peak).astype(joint.dtype)
    total = np.exp(joint - shift[:, None]).sum(axis=1)
    log_total = np.log(np.where(impossible, 1.0, total)).astype(joint.dtype) + shift
    log_evidence = np.where(impossible, -np.inf, log_total).astype(joint.dtype)
    return LogPosterior(joint - log_total[:, None], log_evidence, impossible)


def _block(array, start: int, stop: int, size: int):
    """Rows start:stop, padded with zeros (no evidence) to `size` rows."""
    array = np.asarray(array)[start:stop]
    if len(array) < size:
        array = np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])
    return array


def _check(structure, log_cpds, log_evidence, extra_factors, n_objects) -> int:
    unknown = [node for node in log_evidence if node not in structure.nodes]
    if unknown:
        raise InferenceError(
            f"Evidence must belong to a node, found {unknown[0]!r}; known: {', '.join(structure.nodes)}."
        )
    if len(log_cpds) != len(structure.nodes) or len(extra_factors) != len(structure.extra):
        raise InferenceError(
            f"The structure asks for {len(structure.nodes)} tables and {len(structure.extra)} extra factors, "
            f"found {len(log_cpds)} and {len(extra_factors)}; pass one for each."
        )
    states = dict(zip(structure.nodes, structure.n_states, strict=True))
    arrays = [(f"Evidence of {node!r}", rows, (states[node],)) for node, rows in log_evidence.items()]
    arrays += [
        (f"The factor over {group}", factor, tuple(states[name] for name in group))
        for group, factor in zip(structure.extra, extra_factors, strict=True)
    ]
    if n_objects is None:
        if not arrays:
            raise InferenceError("Without evidence the number of objects is unknown; pass n_objects.")
        n_objects = len(arrays[0][1])
    arrays = [(what, array, (n_objects, *shape)) for what, array, shape in arrays]
    arrays += [
        (f"The table of {node!r}", table, structure.table_shape(node))
        for node, table in zip(structure.nodes, log_cpds, strict=True)
    ]
    for what, array, shape in arrays:
        if np.shape(array) != shape:
            raise InferenceError(f"{what} must have shape {shape}, found {np.shape(array)}; reshape it.")
        if np.isnan(array).any() or np.isposinf(array).any():
            raise InferenceError(
                f"{what} must be finite or -inf, found NaN or +inf; use a row of zeros for missing evidence."
            )
    return n_objects
