"""Densities of a stream's kind: which rows lean on which parent, and what limits need."""

import numpy as np

from structurefn.density import fit_density
from structurefn.limit_density import fit_limit_density
from structurefn.response import Density, response_matrix
from structurefn.streams import Stream

__all__ = ["class_density"]


def class_density(
    stream: Stream,
    counts: np.ndarray,
    membership: np.ndarray,
    groups: np.ndarray | None = None,
    like: Density | None = None,
) -> Density:
    """Fit one table a class; triplets back off to the two-dimensional table of the same events.

    Parameters
    ----------
    stream : Stream
    counts : float array, shape (n_objects, *grid.shape)
        As from `count_events`, or for limits from `count_limits`.
    membership : float array, shape (n_objects, C)
        As in `fit_density`.
    groups : int array, shape (n_objects,), optional
        As in `fit_density`.
    like : Density, optional
        A density whose strength is used again; by default it is chosen by held-out objects.

    Returns
    -------
    Density
    """
    grid = stream.grid
    strength = None if like is None else like.strength
    if stream.kind == "limits":
        return fit_limit_density(counts, membership, grid, groups=groups, strength=strength)
    response = response_matrix(grid.column_edges, grid.error_centres)
    parent = None
    if stream.kind == "triplets":
        n_first, n_second, n_change = grid.row_shape
        axes = counts.reshape(len(counts), *grid.row_shape, *grid.shape[1:])
        pairs = fit_density(axes.sum(axis=(1, 3)), membership, response, groups=groups).true
        shape = (len(pairs), n_first, n_second, n_change, grid.n_columns)
        parent = np.broadcast_to(pairs[:, None, :, None, :], shape).reshape(
            len(pairs), grid.n_rows, grid.n_columns
        )
    return fit_density(
        counts,
        membership,
        response,
        row_shape=grid.row_shape,
        parent=parent,
        groups=groups,
        strength=strength,
    )
