"""Square-root maps: what a light curve looks like to a classifier trained on structure functions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from structurefn.grids import Grid

# Passes of the filter (1, 2, 1)/4 along columns, the last row axis and error bins: neighbouring cells mean
# nearly the same, and unsmoothed sparse curves share no cell. Chosen by cross-validation.
COLUMN_PASSES, ROW_PASSES, ERROR_PASSES = 4, 1, 2
FULL_ROW = 16.0


def _smoothing(length: int, passes: int) -> np.ndarray:
    """Matrix of a binomial filter, (length, length); what would leave at an end stays in the last cell."""
    once = 0.5 * np.eye(length) + 0.25 * (np.eye(length, k=1) + np.eye(length, k=-1))
    once[0, 0] += 0.25
    once[-1, -1] += 0.25
    return np.linalg.matrix_power(once, passes).astype(np.float32)


@partial(jax.jit, static_argnames=("grid",))
def square_root_map(counts: Float[Array, "n rows errors columns"], *, grid: Grid) -> Float[Array, "n cells"]:
    r"""Hellinger map of an object's events: square roots of smoothed row-wise frequencies.

    .. math:: \phi_{rsj} = \sqrt{\tilde n_{rsj} / \tilde n_{rs\cdot}}\,
              \min\left(\sqrt{\tilde n_{rs\cdot} / 16}, 1\right)

    with :math:`\tilde n` the counts smoothed along columns, rows and error bins, and neighbouring columns
    then merged in twos. The inner product of two maps is a sum of Bhattacharyya coefficients of the
    conditional distributions; the last factor makes rows with few events count less, and does not grow
    beyond 16, so that the number of points is not evidence.

    Parameters
    ----------
    counts : float array, shape (n, rows, errors, columns)
    grid : Grid
        Of the stream; `n_columns` must be even.

    Returns
    -------
    float array, shape (n, rows * errors * columns / 2)
        Zero for an object without events.
    """
    n = counts.shape[0]
    merge = np.repeat(np.eye(grid.n_columns // 2, dtype=np.float32), 2, axis=0)
    rows, errors = _smoothing(grid.row_shape[-1], ROW_PASSES), _smoothing(grid.n_errors, ERROR_PASSES)
    columns = _smoothing(grid.n_columns, COLUMN_PASSES) @ merge
    counts = counts.reshape(n, -1, grid.row_shape[-1], grid.n_errors, grid.n_columns)
    # Few counts are exact, so a GPU's default product of ten bits would show.
    product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    counts = product("nprsj,jk->nprsk", counts, columns)
    counts = product("nprsk,rq->npqsk", counts, rows)
    counts = product("npqsk,st->npqtk", counts, errors)
    total = counts.sum(-1, keepdims=True)
    frequency = counts / jnp.where(total > 0, total, 1.0)
    return (jnp.sqrt(frequency) * jnp.minimum(jnp.sqrt(total / FULL_ROW), 1.0)).reshape(n, -1)


def stream_map(counts: np.ndarray, grid: Grid, *, block: int = 2048) -> np.ndarray:
    """`square_root_map` in blocks of few sizes, shape (n, cells): few compilations, small temporaries."""
    n = len(counts)
    size = min(block, 1 << max(4, (n - 1).bit_length()))
    maps = np.empty((n, grid.n_rows * grid.n_errors * grid.n_columns // 2), dtype=np.float32)
    for start in range(0, n, size):
        chunk = counts[start : start + size]
        full = np.zeros((size, *grid.shape), dtype=np.float32)
        full[: len(chunk)] = chunk
        maps[start : start + size] = np.asarray(square_root_map(full, grid=grid))[: len(chunk)]
    return maps


def map_scale(maps: np.ndarray, weights: np.ndarray) -> float:
    """Root of the weighted mean squared norm, by which maps of several streams are made comparable."""
    norm2 = np.einsum("ij,ij->i", maps, maps)
    return float(np.sqrt(np.average(norm2, weights=weights))) or 1.0
