"""What must hold of tables and evidence before the inference takes them."""

from __future__ import annotations

import numpy as np

from bayesclass.network_structure import InferenceError, Structure

__all__ = ["check_arguments"]


def check_arguments(structure: Structure, log_cpds, log_evidence, extra_factors, n_objects) -> int:
    """Check names, shapes and values; return the number of objects.

    Parameters
    ----------
    structure : Structure
    log_cpds, log_evidence, extra_factors, n_objects
        As for `bayesclass.inference.log_joint`.

    Returns
    -------
    int

    Raises
    ------
    InferenceError
        An unknown node, a shape that does not fit, a state out of range, NaN or +inf, or no way to know the
        number of objects.
    """
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
    if n_objects is None:
        if not log_evidence and not extra_factors:
            raise InferenceError("Without evidence the number of objects is unknown; pass n_objects.")
        n_objects = len(next(iter((*log_evidence.values(), *extra_factors))))
    states = dict(zip(structure.nodes, structure.n_states, strict=True))
    for node, known in log_evidence.items():
        if np.ndim(known) == 1:
            _check_states(node, np.asarray(known), n_objects, states[node])
        else:
            _check_logs(f"Evidence of {node!r}", known, (n_objects, states[node]))
    for group, factor in zip(structure.extra, extra_factors, strict=True):
        _check_logs(f"The factor over {group}", factor, (n_objects, *(states[name] for name in group)))
    for node, table in zip(structure.nodes, log_cpds, strict=True):
        _check_logs(f"The table of {node!r}", table, structure.table_shape(node))
    return n_objects


def _check_states(node: str, known, n_objects: int, n_states: int) -> None:
    if known.shape != (n_objects,) or not np.issubdtype(known.dtype, np.integer):
        raise InferenceError(
            f"Evidence of {node!r} must be log rows of shape {(n_objects, n_states)} or integer states of "
            f"shape {(n_objects,)}, found {known.dtype} of shape {known.shape}; reshape or convert it."
        )
    if known.size and not (known.min() >= -1 and known.max() < n_states):
        raise InferenceError(
            f"States of {node!r} must lie in 0 to {n_states - 1}, or be -1 where missing, found "
            f"{known.min()} to {known.max()}; number the states from 0."
        )


def _check_logs(what: str, array, shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape:
        raise InferenceError(f"{what} must have shape {shape}, found {np.shape(array)}; reshape it.")
    # The maximum is NaN where any entry is: one pass finds both.
    if np.size(array) and not np.max(array) < np.inf:
        raise InferenceError(
            f"{what} must be finite or -inf, found NaN or +inf; use a row of zeros for missing evidence."
        )
