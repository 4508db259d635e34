"""Ragged batch to arrays of a few fixed shapes, so that JAX compiles a few times only.

`pad_groups` gives each object a row, for kernels whose cost is that of the points. `strip_blocks` sets
objects side by side, for kernels of pairs, whose cost is the square of the length: no shape depends on it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from structurefn.light_curves import LightCurves

LENGTHS = (8, 16, 32, 64, 128, 256, 512, 1024)
BLOCK = 2**20
SMALLEST_N_ROWS = 16
LANES = 16
# Of a block of strips: pairs that are worth one pass, objects whose counts stay in the processor's cache, and
# rows of points, which are always as many unless one object alone has more.
BLOCK_PAIRS = 2**15
BLOCK_STRIPS = 32
BLOCK_ROWS = 2**10


class PaddedGroup(NamedTuple):
    """Objects of similar length, one a row; n rows of L points.

    What is not `valid` holds harmless finite numbers: time 0, value 0, error 1, channel -1.
    """

    index: np.ndarray  # (n,) int64, the object's position in the batch; -1 for rows of padding
    time: np.ndarray  # (n, L) float32, since the object's own first point [day]
    value: np.ndarray  # (n, L) float32, magnitude or flux
    error: np.ndarray  # (n, L) float32, 1 sigma; 1 for upper limits, which have none
    channel: np.ndarray  # (n, L) int16, index into the batch's channels
    upper_limit: np.ndarray  # (n, L) bool
    valid: np.ndarray  # (n, L) bool, True for points of the object


def pad_groups(
    light_curves: LightCurves, lengths: Sequence[int] = LENGTHS, block: int = BLOCK
) -> Iterator[PaddedGroup]:
    """Yield every object of a batch exactly once, in groups of few different shapes.

    Times are taken relative to each object's first point in float64 before they become float32, which
    resolves a modified Julian date to 5.6 minutes only.

    Parameters
    ----------
    light_curves : LightCurves
        The batch; objects without a point come too, with no valid point.
    lengths : sequence of int
        Padded lengths L, positive. An object gets the smallest that holds it, and one with more points
        than the largest gets the next power of two.
    block : int
        Largest number of elements n * L of a group, unless one object alone has more.

    Yields
    ------
    PaddedGroup
        Groups in ascending order of L; within one L, objects in the order of the batch. The number of
        rows is the largest that `block` allows, and for the last group of an L, 16 times the smallest
        sufficient power of four.

    Raises
    ------
    ValueError
        If `lengths` is empty or a length or `block` is not positive.

    Notes
    -----
    Depends on: number of points only. Cost: at most twice the points between neighbouring lengths, and
    four times the rows in the last group of each length.
    """
    lengths = np.unique(np.asarray(lengths, dtype=np.int64))
    if lengths.size == 0 or lengths[0] < 1 or block < 1:
        raise ValueError(
            f"lengths and block must be positive, but lengths={lengths.tolist()} and block={block}: "
            "give at least one positive length."
        )
    count = np.diff(light_curves.offset)
    padded_length = padded_lengths(count, lengths)
    for length in np.unique(padded_length):
        members = np.flatnonzero(padded_length == length)
        largest = max(1, block // int(length))
        for start in range(0, len(members), largest):
            yield _pad(light_curves, members[start : start + largest], int(length), largest)


def padded_lengths(count: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Choose the padded length for each number of points.

    Parameters
    ----------
    count : int array, shape (n_objects,)
        Number of points.
    lengths : int array, shape (n_lengths,)
        The fixed lengths, ascending.

    Returns
    -------
    int64 array, shape (n_objects,)
        The smallest of `lengths` not below `count`, or the next power of two above the largest.
    """
    position = np.searchsorted(lengths, count)
    power = 2 ** np.ceil(np.log2(np.maximum(count, 1))).astype(np.int64)
    return np.where(position < len(lengths), lengths[np.minimum(position, len(lengths) - 1)], power)


def _pad(light_curves: LightCurves, index: np.ndarray, length: int, largest: int) -> PaddedGroup:
    n_rows = min(SMALLEST_N_ROWS, largest)
    while n_rows < len(index):
        n_rows = min(4 * n_rows, largest)
    begin = light_curves.offset[index]
    count = light_curves.offset[index + 1] - begin
    total = np.concatenate([[0], np.cumsum(count)])
    # Row-major order of the valid cells is the order of the objects' points.
    point = np.repeat(begin - total[:-1], count) + np.arange(total[-1])
    first = light_curves.time[np.repeat(begin, count)]
    valid = np.zeros((n_rows, length), dtype=bool)
    valid[: len(index)] = np.arange(length) < count[:, None]

    def spread(values: np.ndarray, fill: float, dtype: type) -> np.ndarray:
        padded = np.full((n_rows, length), fill, dtype=dtype)
        padded[valid] = values
        return padded

    error = light_curves.error[point]
    return PaddedGroup(
        index=np.concatenate([index, np.full(n_rows - len(index), -1)]),
        time=spread(light_curves.time[point] - first, 0.0, np.float32),
        value=spread(light_curves.value[point], 0.0, np.float32),
        error=spread(np.where(np.isnan(error), 1.0, error), 1.0, np.float32),
        channel=spread(light_curves.channel[point], -1, np.int16),
        upper_limit=spread(light_curves.upper_limit[point], False, bool),
        valid=valid,
    )


class StripBlock(NamedTuple):
    """Strips of 16 objects of like length side by side, one strip under another; R rows of points.

    What is no point, among it the whole last row, holds time 0, value 0, error 1 and channel -1.
    """

    index: np.ndarray  # (n_strips * 16,) int64, the object's position in the batch; -1 for an empty lane
    length: np.ndarray  # (n_strips,) int64, points of the longest object of each strip
    first_row: np.ndarray  # (n_strips,) int64
    time: np.ndarray  # (R, 16) float32, since the object's own first point [day]
    value: np.ndarray  # (R, 16) float32
    error: np.ndarray  # (R, 16) float32
    channel: np.ndarray  # (R, 16) int32


class FlatPoints(NamedTuple):
    """Points of all objects as kernels take them, and one more that is no point, at the end."""

    offset: np.ndarray  # (n_objects + 1,) int64
    time: np.ndarray  # (n_points + 1,) float32, since the object's own first point [day]
    value: np.ndarray  # (n_points + 1,) float32
    error: np.ndarray  # (n_points + 1,) float32
    channel: np.ndarray  # (n_points + 1,) int32


def flat_points(light_curves: LightCurves) -> FlatPoints:
    """Convert a batch to relative float32 times, subtracted in float64, and float32 values.

    Parameters
    ----------
    light_curves : LightCurves
        Detections only.
    """
    count = np.diff(light_curves.offset)
    seen = light_curves.offset[:-1][count > 0]
    time = light_curves.time - np.repeat(light_curves.time[seen], count[count > 0])

    def extended(values: np.ndarray, last: float, dtype: type) -> np.ndarray:
        result = np.empty(len(values) + 1, dtype)
        result[:-1] = values
        result[-1] = last
        return result

    return FlatPoints(
        light_curves.offset,
        extended(time, 0.0, np.float32),
        extended(light_curves.value, 0.0, np.float32),
        extended(light_curves.error, 1.0, np.float32),
        extended(light_curves.channel, -1, np.int32),
    )


def strip_blocks(points: FlatPoints, n_pairs: Callable[[int], int]) -> Iterator[StripBlock]:
    """Yield every object with two points or more exactly once, in strips of like length.

    Parameters
    ----------
    points : FlatPoints
    n_pairs : callable
        Number of pairs that are counted of a light curve of so many points, by which blocks are limited.

    Yields
    ------
    StripBlock
        In ascending order of the number of points; R is `BLOCK_ROWS` unless one strip alone is longer,
        then the next power of two. A block has at most `BLOCK_PAIRS` pairs a lane, or one strip.
    """
    count = np.diff(points.offset)
    order = np.argsort(count, kind="stable")
    order = order[np.searchsorted(count[order], 2) :]
    n_strips = -(-len(order) // LANES)
    index = np.full((n_strips, LANES), -1, dtype=np.int64)
    index.flat[: len(order)] = order
    length = count[index].max(axis=1, where=index >= 0, initial=0)
    start = rows = pairs = 0
    for strip in range(n_strips):
        more = n_pairs(int(length[strip]))
        full = strip - start == BLOCK_STRIPS or pairs + more > BLOCK_PAIRS
        if strip > start and (full or rows + length[strip] >= BLOCK_ROWS):
            yield _strips(points, index[start:strip], length[start:strip])
            start, rows, pairs = strip, 0, 0
        rows += int(length[strip])
        pairs += more
    if n_strips:
        yield _strips(points, index[start:], length[start:])


def _strips(points: FlatPoints, index: np.ndarray, length: np.ndarray) -> StripBlock:
    first_row = np.cumsum(length) - length
    n_rows = BLOCK_ROWS
    while n_rows <= length.sum():
        n_rows *= 2
    strip = np.repeat(np.arange(len(length)), length)
    row = np.arange(len(strip)) - first_row[strip]
    begin = points.offset[index]
    count = np.where(index >= 0, points.offset[index + 1] - begin, 0)
    # Every place without a point shows the one that is none.
    source = np.where(row[:, None] < count[strip], begin[strip] + row[:, None], len(points.time) - 1)

    def spread(leaf: np.ndarray) -> np.ndarray:
        placed = np.empty((n_rows, LANES), leaf.dtype)
        np.take(leaf, source, out=placed[: len(source)], mode="clip")
        placed[len(source) :] = leaf[-1]
        return placed

    return StripBlock(index.ravel(), length, first_row, *map(spread, points[1:]))
