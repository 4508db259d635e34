"""Square-root maps: what a light curve looks like to a classifier trained on structure functions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from structurefn.grids import Grid

# Passes of the filter (1, 2, 1)/4 along columns, the last row axis and error bins: neighbouring cells mean
# nearly the same, and unsmoothed sparse curves share no cell. Chosen by cross-validation (docs/dev/results.md).
COLUMN_PASSES, ROW_PASSES, ERROR_PASSES = 4, 1, 2
FULL_ROW = 16.0


def _smooth(counts: Array, axis: int, passes: int) -> Array:
    """Binomial filter along an axis; what would leave at an end stays in the last cell."""
    length = counts.shape[axis]
    if length == 1:
        return counts
    width = [(0, 0)] * counts.ndim
    width[axis] = (1, 1)
    for _ in range(passes):
        wide = jnp.pad(counts, width, mode="edge")
        before, centre, after = (
            jax.lax.slice_in_dim(wide, start, start + length, axis=axis) for start in range(3)
        )
        counts = 0.25 * before + 0.5 * centre + 0.25 * after
    return counts


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
    counts = counts.reshape(n, *grid.row_shape, grid.n_errors, grid.n_columns)
    counts = _smooth(counts, counts.ndim - 1, COLUMN_PASSES)
    counts = _smooth(counts, counts.ndim - 3, ROW_PASSES)
    counts = _smooth(counts, counts.ndim - 2, ERROR_PASSES)
    counts = counts[..., 0::2] + counts[..., 1::2]
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
