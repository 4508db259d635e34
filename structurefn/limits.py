"""Upper limits as events: each with its reference detection, counted by signed lag and depth.

A limit L at time t is the event m(t) > L. Given a *reference*, a detection of the object with magnitude
m_r, it says that the change x = m(t) - m_r exceeds the depth d = L - m_r. So the change's distribution,
conditioned on the signed lag t - t_r, is all that is needed (see `structurefn.limit_density`), and the depth
is counted on the grid of changes, side by side with the changes between detections that teach it.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from structurefn.grids import Grid, bin_index
from structurefn.light_curves import LightCurves
from structurefn.streams import Stream

__all__ = ["count_limits", "depth_counts", "reference_of_limits", "signed_lag_rows"]


def count_limits(
    light_curves: LightCurves, streams: Sequence[Stream], *, deepest: bool = True
) -> Iterator[tuple[str, np.ndarray]]:
    """Count upper limits by signed lag and depth, and detections' changes by signed lag, error and change.

    Parameters
    ----------
    light_curves : LightCurves
        Magnitudes. Limits of flux are refused: measured fluxes, negative ones included, say more.
    streams : sequence of Stream
        Of kind "limits", channels (reference, limit). Each limit is counted in one of them at most, see
        `reference_of_limits`. Channels that the batch does not have give counts of zero.
    deepest : bool
        Count only the deepest limit of an object in each row of each stream. Limits at like lags repeat each
        other: if the source was fainter than the deepest, it was fainter than the others.

    Yields
    ------
    tuple of str and ndarray
        The stream's name and its counts, shape (n_objects, n_rows, n_errors + 1, n_columns), float32: in the
        first `n_errors` bins changes between detections, both ways from each detection in the limits' channel
        to its neighbours in the reference channel; in the last one limits by depth. A limit without a
        reference is no event.

    Raises
    ------
    ValueError
        If the batch holds fluxes, or a stream is of another kind.
    """
    if light_curves.quantity != "mag":
        raise ValueError(
            f"Upper limits are counted in magnitudes, but the batch holds {light_curves.quantity}: give the "
            "measured fluxes, negative ones included, in place of limits."
        )
    for stream in streams:
        if stream.kind != "limits":
            raise ValueError(
                f"Streams must be of kind 'limits', but stream {stream.name!r} is of kind {stream.kind!r}: "
                "count it with count_events."
            )
    owner = light_curves.object_index
    chosen, reference = reference_of_limits(light_curves, [stream.channels for stream in streams])
    for number, stream in enumerate(streams):
        grid = stream.grid
        counts = np.zeros(
            (light_curves.n_objects, grid.n_rows, grid.n_errors + 1, grid.n_columns), np.float32
        )
        point = np.flatnonzero(chosen == number)
        lag, depth, _ = _change(light_curves, point, reference[point])
        row = signed_lag_rows(lag, grid)
        if deepest:
            order = np.lexsort((depth, row, owner[point]))
            last = np.ones(len(order), dtype=bool)
            last[:-1] = (np.diff(owner[point][order]) != 0) | (np.diff(row[order]) != 0)
            kept = order[last]
            point, row, depth = point[kept], row[kept], depth[kept]
        _add(
            counts, owner[point], row, np.full(len(point), grid.n_errors), bin_index(depth, grid.column_edges)
        )
        for point, other in _detection_pairs(light_curves, stream.channels):
            lag, change, error = _change(light_curves, point, other)
            row = signed_lag_rows(lag, grid)
            _add(
                counts,
                owner[point],
                row,
                bin_index(error, grid.error_edges),
                bin_index(change, grid.column_edges),
            )
        yield stream.name, counts


def reference_of_limits(
    light_curves: LightCurves, pairs: Sequence[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the reference detection of every upper limit.

    It is the detection of the same object nearest in time, before or after: in the limit's own channel if
    that pair is among `pairs` and the object has one there, else among the reference channels that `pairs`
    give for the limit's channel. Of two equally near ones the earlier is taken, of two channels the first.
    A limit at the very time of a detection in its own channel is no event: the change is known to be zero,
    so that it says something about the exposure and nothing about the object.

    Parameters
    ----------
    light_curves : LightCurves
    pairs : sequence of (str, str)
        Channels (reference, limit).

    Returns
    -------
    pair : int array, shape (n_points,)
        Index into `pairs`; -1 for detections and for limits without a reference.
    reference : int array, shape (n_points,)
        The reference's position among the points; -1 likewise.
    """
    n = light_curves.n_points
    chosen, reference = np.full(n, -1), np.full(n, -1)
    distance = np.full(n, np.inf)
    settled = np.zeros(n, dtype=bool)
    own_first = sorted(range(len(pairs)), key=lambda k: pairs[k][0] != pairs[k][1])
    for k in own_first:
        first, second = pairs[k]
        if first not in light_curves.channels or second not in light_curves.channels:
            continue
        nearest, lag = _nearest(light_curves, light_curves.channels.index(first))
        here = light_curves.upper_limit & (light_curves.channel == light_curves.channels.index(second))
        better = here & ~settled & (lag < distance)
        chosen[better], reference[better], distance[better] = k, nearest[better], lag[better]
        if first == second:
            settled |= better
            same_time = better & (lag == 0)
            chosen[same_time] = reference[same_time] = -1
    return chosen, reference


def signed_lag_rows(lag: np.ndarray, grid: Grid) -> np.ndarray:
    """Row of a signed lag [day]: ascending, so that the middle two rows are the shortest before and after.

    The two sides have `grid.row_shape[1]` log-spaced bins each; lags beyond the range are in the outermost,
    and a lag of zero is after.
    """
    n_lags = grid.row_shape[1]
    size = bin_index(np.abs(lag), np.geomspace(*grid.lag_range, n_lags + 1))
    return np.where(np.asarray(lag) < 0, n_lags - 1 - size, n_lags + size)


def depth_counts(counts: np.ndarray) -> np.ndarray:
    """Return the part of a "limits" stream's counts that limits make, shape (n_objects, rows, 1, columns)."""
    return counts[:, :, -1:]


def _add(counts: np.ndarray, *index: np.ndarray) -> None:
    """Add one at each index; flat, which is several times as fast as with four indices."""
    np.add.at(counts.reshape(-1), np.ravel_multi_index(index, counts.shape), np.float32(1.0))


def _nearest(light_curves: LightCurves, code: int) -> tuple[np.ndarray, np.ndarray]:
    """Nearest other detection in a channel for every point, -1 where there is none, and its distance."""
    before, after = _neighbours(light_curves, code)
    time = light_curves.time
    to_before = np.where(before >= 0, time - time[before], np.inf)
    to_after = np.where(after >= 0, time[after] - time, np.inf)
    return np.where(to_before <= to_after, before, after), np.minimum(to_before, to_after)


def _neighbours(light_curves: LightCurves, code: int) -> tuple[np.ndarray, np.ndarray]:
    """Last detection in a channel before each point of the object and first after it, -1 for none.

    Both follow the order of the points, so one running extreme over the whole batch finds them.
    """
    n = light_curves.n_points
    detected = ~light_curves.upper_limit & (light_curves.channel == code)
    index, owner = np.arange(n), light_curves.object_index
    before, after = np.full(n, -1), np.full(n, n)
    before[1:] = np.maximum.accumulate(np.where(detected, index, -1))[:-1]
    after[:-1] = np.minimum.accumulate(np.where(detected, index, n)[::-1])[::-1][1:]
    before = np.where(before >= light_curves.offset[owner], before, -1)
    return before, np.where(after < light_curves.offset[owner + 1], after, -1)


def _detection_pairs(
    light_curves: LightCurves, channels: tuple[str, str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield detections in the limits' channel with their neighbours in the reference channel, by side."""
    if not set(channels) <= set(light_curves.channels):
        return
    first, second = (light_curves.channels.index(name) for name in channels)
    measured = ~light_curves.upper_limit & (light_curves.channel == second)
    for other in _neighbours(light_curves, first):
        point = np.flatnonzero(measured & (other >= 0))
        yield point, other[point]


def _change(
    light_curves: LightCurves, point: np.ndarray, reference: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signed lag [day], change of value and its error [mag] (NaN for limits) of points from references."""
    lag = light_curves.time[point] - light_curves.time[reference]
    change = light_curves.value[point] - light_curves.value[reference]
    return lag, change, np.hypot(light_curves.error[point], light_curves.error[reference])
