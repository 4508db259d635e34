"""Light curves to counts of events, stream by stream: the adapter between ragged batches and kernels."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.sparse import csc_array

from structurefn.events import Points
from structurefn.lag_strata import pair_list
from structurefn.light_curves import LightCurves
from structurefn.nightly import nightly_means
from structurefn.padding import LANES, FlatPoints, StripBlock, flat_points, pad_groups, strip_blocks
from structurefn.streams import Stream

# Few lengths, since each compiles every kernel of single points anew. Blocks small enough for the counts to
# stay in the processor's cache.
LENGTHS = (16, 64, 256, 1024)
BLOCK = 2**14
# Pairs of a lane in one call of the kernel: its only shape.
CHUNK = 2**13


class CountedBlock(NamedTuple):
    """Counts of some objects in one stream."""

    index: np.ndarray  # (n,) int64, positions in the batch
    counts: np.ndarray  # (n, n_rows, n_errors, n_columns) float32


def count_events(
    light_curves: LightCurves, streams: Sequence[Stream], *, night: float = 0.0
) -> Iterator[tuple[str, np.ndarray]]:
    """Count the events of each stream.

    Parameters
    ----------
    light_curves : LightCurves
        Magnitudes (see `structurefn.magnitudes` for fluxes). Upper limits are no event of these streams.
    streams : sequence of Stream
        Channels that the batch does not have give counts of zero.
    night : float
        Longest gap within a night [day], for streams with `nightly`.

    Yields
    ------
    tuple of str and ndarray
        The stream's name and its counts, shape (n_objects, n_rows, n_errors, n_columns), float32. Of pairs,
        objects of more than 128 points have a weighted sample (see `structurefn.lag_strata`), whose weights
        sum to the number of all.
    """
    source = Selections(light_curves, night)
    for stream in streams:
        counts = np.zeros((light_curves.n_objects, *stream.grid.shape), dtype=np.float32)
        for block in counted_blocks(source, stream):
            counts[block.index] = block.counts
        yield stream.name, counts


class Selections:
    """Detections of a batch by channel, each selection made once for all streams that share it.

    Parameters
    ----------
    light_curves : LightCurves
    night : float
        Longest gap within a night [day].
    """

    def __init__(self, light_curves: LightCurves, night: float = 0.0):
        self._detections = _keep(light_curves, ~light_curves.upper_limit)
        self._night = night
        self._made: dict[tuple, object] = {}

    def codes(self, stream: Stream) -> np.ndarray:
        """Look up the indices of the stream's channels; -2 for one that the batch does not have."""
        names = self._detections.channels
        return np.array([names.index(c) if c in names else -2 for c in stream.channels], dtype=np.int32)

    def groups(self, stream: Stream) -> list[tuple[np.ndarray, Points]]:
        """Select the points for kernels of one object a row."""
        code = self.codes(stream)[0] if stream.alone else None
        return self._once(("groups", stream.nightly, code), lambda: self._groups(stream.nightly, code))

    def points(self, stream: Stream) -> FlatPoints:
        """Select the points of the stream's channels only."""
        codes = tuple(sorted(set(self.codes(stream).tolist())))
        return self._once(
            ("points", stream.nightly, codes), lambda: flat_points(self._chosen(stream.nightly, codes))
        )

    def _once(self, key, make):
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _source(self, nightly: bool) -> LightCurves:
        if not nightly:
            return self._detections
        return self._once("nightly", lambda: nightly_means(self._detections, self._night))

    def _chosen(self, nightly: bool, codes: tuple[int, ...]) -> LightCurves:
        source = self._source(nightly)
        use = np.zeros(len(source.channels) + 1, dtype=bool)
        use[[code for code in codes if code >= 0]] = True
        return _keep(source, use[source.channel])

    def _groups(self, nightly: bool, code: int | None) -> list[tuple[np.ndarray, Points]]:
        source = self._source(nightly) if code is None else self._chosen(nightly, (code,))
        return [
            (
                group.index,
                Points(group.time, group.value, group.error, np.where(group.valid, group.channel, -1)),
            )
            for group in pad_groups(source, LENGTHS, BLOCK)
        ]


def _keep(light_curves: LightCurves, mask: np.ndarray) -> LightCurves:
    return light_curves if mask.all() else light_curves.keep_points(mask)


def counted_blocks(source: Selections, stream: Stream) -> Iterator[CountedBlock]:
    """Count one stream, some objects at a time, so that nothing as large as all counts is held.

    Parameters
    ----------
    source : Selections
    stream : Stream

    Yields
    ------
    CountedBlock
        Objects in no order, each once or, without an event, perhaps never.
    """
    start = _start_pairs if stream.kind.endswith("pairs") else _start_points
    started = start(source, stream)
    # The next block's cells are found, by XLA and without Python's lock, while those of this one are summed.
    with ThreadPoolExecutor(max_workers=1) as worker:
        following = worker.submit(next, started, None)
        while (block := following.result()) is not None:
            following = worker.submit(next, started, None)
            yield _finish(*block, stream)


def _start_points(source, stream):
    codes = source.codes(stream)
    for index, points in source.groups(stream):
        yield index, [stream.kernel(points, codes, grid=stream.grid)], None


def _start_pairs(source, stream):
    codes = source.codes(stream)
    for block in strip_blocks(source.points(stream), lambda n: len(pair_list(n).later)):
        points = Points(block.time, block.value, block.error, block.channel)
        earlier, later, first_object, weight = _pairs_of_block(block)
        cells = []
        for begin in range(0, len(earlier), CHUNK):
            part = slice(begin, begin + CHUNK)
            rows = earlier[part], later[part], first_object[part]
            n_objects = np.int32(len(block.index))
            cells.append(stream.kernel(points, *rows, n_objects, codes, grid=stream.grid))
        yield block.index, cells, weight


def _pairs_of_block(block: StripBlock) -> tuple[np.ndarray, ...]:
    """Rows of earlier and later points, number of the first object and weight, filled up to whole chunks."""
    lists = [pair_list(int(length)) for length in block.length]
    size = np.array([len(pairs.later) for pairs in lists])
    total = int(size.sum())
    padded = -(-total // CHUNK) * CHUNK
    # Filled with pairs of the last row, which holds no point.
    earlier = np.full(padded, len(block.time) - 1, dtype=np.int32)
    later = earlier.copy()
    weight = np.zeros(padded, dtype=np.float32)
    end = np.cumsum(size)
    for pairs, first, low, high in zip(lists, block.first_row.tolist(), end - size, end, strict=True):
        np.add(pairs.earlier, first, out=earlier[low:high])
        np.add(pairs.later, first, out=later[low:high])
        weight[low:high] = pairs.weight
    first_object = np.zeros(padded, dtype=np.int32)
    first_object[:total] = np.repeat(np.arange(len(lists)) * LANES, size)
    return earlier, later, first_object, weight


def _finish(index, cells, weight, stream) -> CountedBlock:
    grid = stream.grid
    n_cells = len(index) * int(np.prod(grid.shape))
    counts = sum_events(cells, weight, n_cells).reshape(len(index), *grid.shape)
    here = index >= 0
    return CountedBlock(index[here], counts if here.all() else counts[here])


def sum_events(cells: Sequence[Array], weight: np.ndarray | None, n_cells: int) -> np.ndarray:
    """Sum events by cell.

    Parameters
    ----------
    cells : sequence of int32 arrays, each of shape (n, L)
        From `n_cells` on they are spare, L at most, and left out.
    weight : float32 array, shape (total n,), optional
        Weight of every event in a row of `cells`; one by default.
    n_cells : int

    Returns
    -------
    float32 array, shape (n_cells,)
    """
    if all(device.platform == "cpu" for device in cells[0].devices()):
        return sum_on_host([np.asarray(part) for part in cells], weight, n_cells)
    return sum_on_device(cells, weight, n_cells)


def sum_on_host(cells: Sequence[np.ndarray], weight: np.ndarray | None, n_cells: int) -> np.ndarray:
    """`sum_events` as the product of a sparse matrix and the weights, in 1 ns an event.

    The matrix has a one where an event meets its cell, a column for each row of `cells`. XLA's scatter takes
    30 ns on a processor.
    """
    flat = np.concatenate([part.ravel() for part in cells])
    if weight is None:
        starts, weight = np.array([0, len(flat)], np.int32), np.ones(1, np.float32)
    else:
        starts = np.arange(0, len(flat) + 1, cells[0].shape[1], dtype=np.int32)
    shape = n_cells + cells[0].shape[1], len(weight)
    return (csc_array((_ones(len(flat)), flat, starts), shape=shape) @ weight)[:n_cells]


def sum_on_device(cells: Sequence[Array], weight: np.ndarray | None, n_cells: int) -> np.ndarray:
    """`sum_events` as a scatter, which a GPU does in parallel; only sums leave the device."""
    # A power of two, so that few shapes are compiled.
    total = jnp.zeros(1 << (n_cells - 1).bit_length(), jnp.float32)
    start = 0
    for part in cells:
        here = None if weight is None else weight[start : start + len(part)]
        total = _scatter(total, part, here, np.int32(n_cells))
        start += len(part)
    return np.asarray(total)[:n_cells]


@lru_cache(maxsize=8)
def _ones(n: int) -> np.ndarray:
    return np.ones(n, np.float32)


@partial(jax.jit, donate_argnames=("total",))
def _scatter(
    total: Float[Array, " n_cells"],
    cells: Int[Array, "n L"],
    weight: Float[Array, " n"] | None,
    n_cells: Int[Array, ""],
) -> Float[Array, " n_cells"]:
    amount = 1.0 if weight is None else weight[:, None]
    return total.at[cells].add(jnp.where(cells < n_cells, amount, 0.0), mode="drop")
