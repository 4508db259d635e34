"""Kernels: padded light curves in, the cell of each structure-function event out (JAX).

A kernel numbers the cells of all its n objects in one row, object by object: cell = object * cells of the
grid + cell within the grid. What is no event, padding among it, gets a number from n * cells upwards, below
`n_spare` more: several, because a sum over events is slow where neighbours add to one place. Channel indices
are traced numbers and the grid is static, so that one compilation serves all streams of a kind.

Values beyond a grid's edges fall in the outermost cells. A value on an edge belongs to the bin above it.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from structurefn.grids import Grid


class Points(NamedTuple):
    """Detections, padded; padding has channel -1.

    Numbers are float32. One object a row, ascending in time, or, for pairs, one object a lane (see
    `structurefn.padding`).
    """

    time: Float[Array, "n L"]
    value: Float[Array, "n L"]
    error: Float[Array, "n L"]
    channel: Int[Array, "n L"]


Cells = Int[Array, "n L"]


def _bin(x: Array, inner_edges: Sequence[float]) -> Array:
    """Index of the bin of x: how many inner edges are not above it.

    A few dozen comparisons are several times cheaper than one logarithm, and exact.
    """
    index = jnp.zeros(x.shape, jnp.int32)
    for edge in np.asarray(inner_edges, dtype=x.dtype):
        index += x >= edge
    return index


def _lag_bin(lag: Array, limits: tuple[float, float], n_bins: int) -> Array:
    return _bin(lag, np.geomspace(*limits, n_bins + 1)[1:-1])


def _column(x: Array, grid: Grid) -> Array:
    inner = grid.column_edges[1:-1]
    if grid.n_columns % 2 or not np.allclose(inner, -inner[::-1], rtol=1e-6, atol=1e-9):
        return _bin(x, inner)
    # Edges that mirror each other are compared once, by size. The bits of float32 are in the order of their
    # size; one less for negative numbers, since those on an edge belong to the bin towards zero.
    half = grid.n_columns // 2
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    beyond = _bin((bits & 0x7FFFFFFF) + (bits >> 31), inner[half:].astype(np.float32).view(np.int32))
    return jnp.where(x >= 0, half + beyond, half - 1 - beyond)


def _cell(row: Array | int, x: Array, variance: Array, grid: Grid) -> Array:
    """Cell within the grid, from the squared error."""
    error_bin = _bin(variance, np.geomspace(*grid.error_range, grid.n_errors + 1)[1:-1] ** 2)
    return (row * grid.n_errors + error_bin) * grid.n_columns + _column(x, grid)


def _numbered(cell: Array, use: Bool[Array, "n L"], grid: Grid) -> Cells:
    """Cells of one object a row numbered through; spare ones, one a column, where there is no event."""
    n, length = cell.shape
    n_cells = grid.n_rows * grid.n_errors * grid.n_columns
    objects = jnp.arange(n, dtype=jnp.int32)[:, None] * n_cells
    return jnp.where(use, objects + cell, n * n_cells + jnp.arange(length, dtype=jnp.int32))


def _later(points: Points, step: int) -> Points:
    """Shift: the point `step` places later; beyond the end channel -1."""
    after = [jnp.pad(leaf[:, step:], ((0, 0), (0, step))) for leaf in points]
    inside = jnp.arange(points.channel.shape[1]) < points.channel.shape[1] - step
    return Points(*after[:3], jnp.where(inside, after[3], -1))


@partial(jax.jit, static_argnames=("grid", "scaled"))
def pair_cells(
    points: Points,
    earlier: Int[Array, " n_pairs"],
    later: Int[Array, " n_pairs"],
    first_object: Int[Array, " n_pairs"],
    n_objects: Int[Array, ""],
    channels: Int[Array, " 2"],
    *,
    grid: Grid,
    scaled: bool = False,
) -> Int[Array, "n_pairs lanes"]:
    r"""Pairs of an earlier point in the first channel and a later one in the second.

    The event's value is :math:`\Delta m = m_2 - m_1` (positive: fading), its row the lag
    :math:`\Delta t = t_2 - t_1 \ge 0` [day] and its error :math:`\sqrt{s_1^2 + s_2^2}` [mag]. With
    `scaled` the value is :math:`\Delta m` in units of that error.

    Parameters
    ----------
    points : Points
        Shape (R, lanes), see `structurefn.padding.strip_blocks`.
    earlier, later : int array, shape (n_pairs,)
        Rows of the two points, the same for all lanes; within bounds, which is not checked.
    first_object : int array, shape (n_pairs,)
        Number of the object in the first lane.
    n_objects : int
        Number of objects, by which spare cells begin.
    channels : int array, shape (2,)
    grid : Grid
    scaled : bool

    Returns
    -------
    int32 array, shape (n_pairs, lanes)
        Spare cells are as many as lanes.
    """

    def at(leaf: Array, row: Array) -> Array:
        # Whole rows are copied, so that the sum over lanes is of neighbours in memory.
        return leaf.at[row].get(mode="promise_in_bounds")

    one, two = (Points(*(at(leaf, row) for leaf in points)) for row in (earlier, later))
    use = (one.channel == channels[0]) & (two.channel == channels[1])
    change = two.value - one.value
    variance = one.error**2 + two.error**2
    row = _bin(two.time - one.time, grid.lag_edges[1:-1])
    cell = _cell(row, change / jnp.sqrt(variance) if scaled else change, variance, grid)
    n_cells = grid.n_rows * grid.n_errors * grid.n_columns
    lane = jnp.arange(cell.shape[1], dtype=jnp.int32)
    return jnp.where(use, (first_object[:, None] + lane) * n_cells + cell, n_objects * n_cells + lane)


@partial(jax.jit, static_argnames=("grid",))
def adjacent_cells(points: Points, channels: Int[Array, " 1"], *, grid: Grid) -> Cells:
    r"""Chain of neighbours within one channel: p(dm | dt) of each step.

    Points must hold that channel only; each step is an event as in `pair_cells`.
    """
    other = _later(points, 1)
    use = (points.channel == channels[0]) & (other.channel == channels[0])
    row = _bin(other.time - points.time, grid.lag_edges[1:-1])
    variance = points.error**2 + other.error**2
    return _numbered(_cell(row, other.value - points.value, variance, grid), use, grid)


def previous_change_edges(n_bins: int) -> np.ndarray:
    """Edges of the bins of dm12 on which triplets are conditioned, shape (n_bins + 1,) [mag].

    The condition needs few bins: steady within the errors' size, and rising or fading on either side.
    """
    bound = np.arcsinh(2.0 / 0.2)
    return 0.2 * np.sinh(np.linspace(-bound, bound, n_bins + 1))


@partial(jax.jit, static_argnames=("grid",))
def triplet_cells(points: Points, channels: Int[Array, " 1"], *, grid: Grid) -> Cells:
    r"""Chain of triplets: :math:`p(\Delta m_{23} | \Delta t_{23}, \Delta t_{12}, \Delta m_{12})`.

    The 4D table is used as a conditional: `grid.row_shape` is (lags 12, lags 23, bins of dm12), the column
    dm23 [mag], the error that of dm23. Points must hold that channel only.
    """
    second, third = _later(points, 1), _later(points, 2)
    use = (points.channel == channels[0]) & (second.channel == channels[0]) & (third.channel == channels[0])
    n_first, n_second, n_change = grid.row_shape
    row = _lag_bin(second.time - points.time, grid.lag_range, n_first) * n_second
    row += _lag_bin(third.time - second.time, grid.lag_range, n_second)
    row = row * n_change + _bin(second.value - points.value, previous_change_edges(n_change)[1:-1])
    variance = second.error**2 + third.error**2
    return _numbered(_cell(row, third.value - second.value, variance, grid), use, grid)


@partial(jax.jit, static_argnames=("grid", "scaled"))
def level_cells(points: Points, channels: Int[Array, " 1"], *, grid: Grid, scaled: bool = False) -> Cells:
    """Magnitudes relative to the object's own median in the channel, or that in units of the error."""
    use = points.channel == channels[0]
    median = jnp.nanmedian(jnp.where(use, points.value, jnp.nan), axis=1, keepdims=True)
    value = jnp.where(use, points.value - median, 0.0)
    value = value / points.error if scaled else value
    return _numbered(_cell(0, value, points.error**2, grid), use, grid)


@partial(jax.jit, static_argnames=("grid",))
def peak_cells(points: Points, channels: Int[Array, " k"], *, grid: Grid) -> Cells:
    r"""Magnitudes of a channel relative to the brightest point of it or another, by time since that.

    The brightest point of the first channel is that of smallest m + s, so that one faint, uncertain point
    is not taken; values are those of the last channel, so that two channels give the colour at each phase.
    `grid.row_shape` is (2, lags): before and after. The peak itself is no event.
    """
    reference, use = points.channel == channels[0], points.channel == channels[-1]
    n_lags = grid.row_shape[1]
    peak = jnp.argmin(jnp.where(reference, points.value + points.error, jnp.inf), axis=1, keepdims=True)

    def at_peak(leaf):
        return jnp.take_along_axis(leaf, peak, axis=1)

    use &= jnp.any(reference, axis=1, keepdims=True) & (jnp.arange(use.shape[1])[None, :] != peak)
    since = points.time - at_peak(points.time)
    row = _lag_bin(jnp.abs(since), grid.lag_range, n_lags) + n_lags * (since > 0)
    variance = points.error**2 + at_peak(points.error) ** 2
    return _numbered(_cell(row, points.value - at_peak(points.value), variance, grid), use, grid)


@partial(jax.jit, static_argnames=("grid",))
def magnitude_cells(points: Points, channels: Int[Array, " 1"], *, grid: Grid) -> Cells:
    """Apparent magnitudes of the channel: the evidence of single points."""
    use = points.channel == channels[0]
    return _numbered(_cell(0, points.value, points.error**2, grid), use, grid)
