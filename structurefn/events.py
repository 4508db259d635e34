"""Kernels: padded light curves in, counts of structure-function events per object out (JAX).

Every kernel takes arrays of shape (n, L), the channel indices of its stream as traced numbers and a static
`Grid`, and returns counts of shape (n, *grid.shape), so that one compilation serves all streams of a kind.
Padding has channel -1 and is never counted.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from structurefn.grids import Grid


class Points(NamedTuple):
    """Detections of n objects, padded to L points, ascending in time; padding has channel -1."""

    time: Float[Array, "n L"]
    value: Float[Array, "n L"]
    error: Float[Array, "n L"]
    channel: Int[Array, "n L"]


Counts = Float[Array, "n rows errors columns"]


def _log_bin(x: Array, limits: tuple[float, float], n_bins: int) -> Array:
    """Index of the log-spaced bin of x, values beyond the limits in the outermost ones."""
    low, high = limits
    place = jnp.log(jnp.maximum(x, 1e-12) / low) / jnp.log(high / low)
    return jnp.clip(jnp.floor(place * n_bins).astype(jnp.int32), 0, n_bins - 1)


def _column(x: Array, grid: Grid) -> Array:
    """Index of the column of x."""
    low, high = grid.column_range
    if grid.column_scale == jnp.inf:
        place = (x - low) / (high - low)
    else:
        low, high, x = (jnp.arcsinh(v / grid.column_scale) for v in (low, high, x))
        place = (x - low) / (high - low)
    return jnp.clip(jnp.floor(place * grid.n_columns).astype(jnp.int32), 0, grid.n_columns - 1)


def _scatter(counts: Array, row: Array, x: Array, error: Array, use: Bool[Array, "n L"], grid: Grid) -> Array:
    """Add the events of one (n, L) array to flat counts of shape (n, cells)."""
    error_bin = _log_bin(error, grid.error_range, grid.n_errors)
    cell = (row * grid.n_errors + error_bin) * grid.n_columns + _column(x, grid)
    objects = jnp.arange(counts.shape[0])[:, None]
    return counts.at[objects, cell].add(use.astype(counts.dtype))


def _empty(points: Points, grid: Grid) -> Array:
    return jnp.zeros((points.time.shape[0], grid.n_rows * grid.n_errors * grid.n_columns), points.value.dtype)


def _later(points: Points, step: Array | int) -> Points:
    """Shift: the point `step` places later; beyond the end channel -1."""
    length = points.time.shape[1]
    inside = jnp.arange(length)[None, :] < length - step
    shifted = Points(*(jnp.roll(leaf, -step, axis=1) for leaf in points))
    return shifted._replace(channel=jnp.where(inside, shifted.channel, -1))


@partial(jax.jit, static_argnames=("grid", "scaled"))
def count_pairs(points: Points, channels: Int[Array, " 2"], *, grid: Grid, scaled: bool = False) -> Counts:
    r"""All pairs of an earlier point in the first channel and a later one in the second.

    The event's value is :math:`\Delta m = m_2 - m_1` (positive: fading), its row the lag
    :math:`\Delta t = t_2 - t_1 \ge 0` [day] and its error :math:`\sqrt{s_1^2 + s_2^2}` [mag]. With
    `scaled` the value is :math:`\Delta m` in units of that error.
    """

    def add(step, counts):
        other = _later(points, step)
        use = (points.channel == channels[0]) & (other.channel == channels[1])
        lag = jnp.where(use, other.time - points.time, 1.0)
        change = jnp.where(use, other.value - points.value, 0.0)
        error = jnp.sqrt(points.error**2 + other.error**2)
        row = _log_bin(lag, grid.lag_range, grid.n_rows)
        return _scatter(counts, row, change / error if scaled else change, error, use, grid)

    # Objects of one batch are of like length, so the loop ends where the longest does.
    longest = jnp.max(jnp.sum(points.channel >= 0, axis=1))
    counts = jax.lax.fori_loop(1, longest, add, _empty(points, grid))
    return counts.reshape(-1, *grid.shape)


@partial(jax.jit, static_argnames=("grid",))
def count_adjacent(points: Points, channels: Int[Array, " 1"], *, grid: Grid) -> Counts:
    r"""Chain of neighbours within one channel: p(dm | dt) of each step.

    Points must hold that channel only (see `structurefn.maps`); each step is an event as in `count_pairs`.
    """
    other = _later(points, 1)
    use = (points.channel == channels[0]) & (other.channel == channels[0])
    lag = jnp.where(use, other.time - points.time, 1.0)
    error = jnp.sqrt(points.error**2 + other.error**2)
    row = _log_bin(lag, grid.lag_range, grid.n_rows)
    change = jnp.where(use, other.value - points.value, 0.0)
    return _scatter(_empty(points, grid), row, change, error, use, grid).reshape(-1, *grid.shape)


@partial(jax.jit, static_argnames=("grid",))
def count_triplets(points: Points, channels: Int[Array, " 1"], *, grid: Grid) -> Counts:
    r"""Chain of triplets: :math:`p(\Delta m_{23} | \Delta t_{23}, \Delta t_{12}, \Delta m_{12})`.

    The 4D table is used as a conditional: `grid.row_shape` is (lags 12, lags 23, bins of dm12), the column
    dm23 [mag], the error that of dm23. Points must hold that channel only.
    """
    second, third = _later(points, 1), _later(points, 2)
    use = (points.channel == channels[0]) & (second.channel == channels[0]) & (third.channel == channels[0])
    n_first, n_second, n_change = grid.row_shape
    lag_12 = jnp.where(use, second.time - points.time, 1.0)
    lag_23 = jnp.where(use, third.time - second.time, 1.0)
    change_12 = jnp.where(use, second.value - points.value, 0.0)
    change_23 = jnp.where(use, third.value - second.value, 0.0)
    # The condition needs few bins: steady within the errors' size, and rising or fading on either side.
    bound = jnp.arcsinh(2.0 / 0.2)
    place = (jnp.arcsinh(change_12 / 0.2) / bound + 1.0) / 2.0
    change_bin = jnp.clip(jnp.floor(place * n_change).astype(jnp.int32), 0, n_change - 1)
    row = _log_bin(lag_12, grid.lag_range, n_first) * n_second + _log_bin(lag_23, grid.lag_range, n_second)
    error = jnp.sqrt(second.error**2 + third.error**2)
    counts = _scatter(_empty(points, grid), row * n_change + change_bin, change_23, error, use, grid)
    return counts.reshape(-1, *grid.shape)


@partial(jax.jit, static_argnames=("grid", "scaled"))
def count_level(points: Points, channels: Int[Array, " 1"], *, grid: Grid, scaled: bool = False) -> Counts:
    """Magnitudes relative to the object's own median in the channel, or that in units of the error."""
    use = points.channel == channels[0]
    median = jnp.nanmedian(jnp.where(use, points.value, jnp.nan), axis=1, keepdims=True)
    value = jnp.where(use, points.value - median, 0.0)
    row = jnp.zeros_like(points.channel, dtype=jnp.int32)
    value = value / points.error if scaled else value
    return _scatter(_empty(points, grid), row, value, points.error, use, grid).reshape(-1, *grid.shape)


@partial(jax.jit, static_argnames=("grid",))
def count_peak(points: Points, channels: Int[Array, " k"], *, grid: Grid) -> Counts:
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
    value = jnp.where(use, points.value - at_peak(points.value), 0.0)
    error = jnp.sqrt(points.error**2 + at_peak(points.error) ** 2)
    row = _log_bin(jnp.abs(since), grid.lag_range, n_lags) + n_lags * (since > 0)
    return _scatter(_empty(points, grid), row, value, error, use, grid).reshape(-1, *grid.shape)


@partial(jax.jit, static_argnames=("grid",))
def count_magnitude(points: Points, channels: Int[Array, " 1"], *, grid: Grid) -> Counts:
    """Apparent magnitudes of the channel: the evidence of single points."""
    use = points.channel == channels[0]
    row = jnp.zeros_like(points.channel, dtype=jnp.int32)
    value = jnp.where(use, points.value, 0.0)
    return _scatter(_empty(points, grid), row, value, points.error, use, grid).reshape(-1, *grid.shape)
