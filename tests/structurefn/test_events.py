"""Every kernel, from light curves to counts, against a plain loop over points."""

import functools
import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from structurefn import events
from structurefn.counting import count_events
from structurefn.events import Points
from structurefn.grids import Grid
from structurefn.light_curves import LightCurves
from structurefn.streams import KINDS, Stream

LENGTH = 12
CHANNELS = ("S/g", "S/i", "S/r")
COUNTED = [kind for kind, (kernel, *_) in KINDS.items() if kernel is not None]
OF_POINTS = [kind for kind in COUNTED if not kind.endswith("pairs")]


def log_bin(x, limits, n):
    place = math.log(max(x, 1e-12) / limits[0]) / math.log(limits[1] / limits[0]) * n
    return min(max(math.floor(place), 0), n - 1)


def column(x, grid):
    """By the edges, not by the formula of the kernel."""
    inner = grid.column_edges[1:-1]
    return int(np.searchsorted(inner, x, side="right"))


def pair_error(a, b):
    return math.hypot(a[2], b[2])


def cells_of_pairs(points, channels, grid, scaled=False):
    for i, a in enumerate(points):
        for b in points[i + 1 :]:
            if a[3] == channels[0] and b[3] == channels[1]:
                error = pair_error(a, b)
                x = (b[1] - a[1]) / (error if scaled else 1.0)
                yield log_bin(b[0] - a[0], grid.lag_range, grid.n_rows), error, x


def cells_of_neighbours(points, channels, grid):
    for a, b in itertools.pairwise(points):
        yield log_bin(b[0] - a[0], grid.lag_range, grid.n_rows), pair_error(a, b), b[1] - a[1]


def cells_of_triplets(points, channels, grid):
    n_first, n_second, n_change = grid.row_shape
    # Bins of the condition are of equal width in asinh(dm / 0.2) between -2 and 2 mag.
    edges = np.sinh(np.linspace(-math.asinh(10.0), math.asinh(10.0), n_change + 1))[1:-1] * 0.2
    for a, b, c in zip(points[:-2], points[1:-1], points[2:], strict=True):
        first = log_bin(b[0] - a[0], grid.lag_range, n_first)
        second = log_bin(c[0] - b[0], grid.lag_range, n_second)
        change = int(np.searchsorted(edges, b[1] - a[1], side="right"))
        yield (first * n_second + second) * n_change + change, pair_error(b, c), c[1] - b[1]


def cells_of_levels(points, channels, grid, scaled=False):
    own = [p for p in points if p[3] == channels[0]]
    for p in own:
        x = p[1] - float(np.median([q[1] for q in own]))
        yield 0, p[2], x / (p[2] if scaled else 1.0)


def cells_of_peak(points, channels, grid):
    reference = [p for p in points if p[3] == channels[0]]
    if not reference:
        return
    best = min(reference, key=lambda p: p[1] + p[2])
    for p in points:
        if p[3] == channels[-1] and p is not best:
            since = p[0] - best[0]
            row = log_bin(abs(since), grid.lag_range, grid.row_shape[1])
            row += grid.row_shape[1] if since > 0 else 0
            yield row, pair_error(p, best), p[1] - best[1]


def cells_of_magnitudes(points, channels, grid):
    for p in points:
        if p[3] == channels[0]:
            yield 0, p[2], p[1]


LOOPS = {
    "pairs": cells_of_pairs,
    "scaled-pairs": functools.partial(cells_of_pairs, scaled=True),
    "adjacent": cells_of_neighbours,
    "triplets": cells_of_triplets,
    "level": cells_of_levels,
    "scaled-level": functools.partial(cells_of_levels, scaled=True),
    "peak": cells_of_peak,
    "cross-peak": cells_of_peak,
    "magnitude": cells_of_magnitudes,
}


def light_curves(rng, alone):
    """Objects as lists of (time, value, error, channel), ascending in time: ordinary, short and odd ones."""
    objects = []
    for n in (LENGTH, 9, 7, 5, 4, 3, 2, 1, 0):
        time = np.sort(np.concatenate([[0.0], rng.exponential(30.0, max(n - 1, 0)).cumsum()])[:n])
        if n > 5:
            time[3] = time[2]  # two measurements at one time
            time[5] = time[4] + 0.01
        # Multiples of 1/64 are exact in float32, so no rounding decides about a cell.
        value = np.round((17 + rng.normal(0, 0.7, n)) * 64) / 64
        error = np.round(rng.uniform(0.02, 0.6, n) * 64 + 0.5) / 64
        channel = np.zeros(n, int) if alone else rng.choice(3, n)
        objects.append(list(zip(np.round(time * 64) / 64, value, error, channel, strict=True)))
    if not alone:
        objects[1] = [(*p[:3], 2) for p in objects[1]]  # nothing in the channels asked for
    return objects


def batch(objects):
    points = np.array([point for points in objects for point in points]).reshape(-1, 4)
    return LightCurves(
        object_id=np.array([f"o{i}" for i in range(len(objects))]),
        offset=np.cumsum([0, *map(len, objects)]),
        time=points[:, 0],
        value=points[:, 1],
        error=points[:, 2],
        channel=points[:, 3].astype(np.int16),
        upper_limit=np.zeros(len(points), bool),
        channels=CHANNELS,
        quantity="mag",
        set_aside=pd.DataFrame({"object_id": [], "reason": [], "rows": []}),
    )


def count(objects, kind, channels=(0, 0), grid=None):
    names = tuple(CHANNELS[c] for c in channels[: KINDS[kind][1]])
    ((_, counts),) = count_events(batch(objects), [Stream("x", kind, names, grid=grid)])
    return counts


def padded(objects):
    shape = len(objects), LENGTH
    arrays = [np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.ones(shape, np.float32)]
    channel = np.full(shape, -1, np.int32)
    for i, points in enumerate(objects):
        for j, point in enumerate(points):
            for array, x in zip(arrays, point[:3], strict=True):
                array[i, j] = x
            channel[i, j] = point[3]
    return Points(*arrays, channel)


@pytest.mark.parametrize("kind", COUNTED)
def test_counts_are_a_loop_over_points(kind, rng):
    _, n_channels, alone, grid = KINDS[kind]
    for channels in ((0, 1), (1, 0), (0, 0)) if n_channels == 2 else ((0,),):
        objects = light_curves(rng, alone)
        counts = count(objects, kind, channels)
        assert counts.shape == (len(objects), *grid.shape)
        for points, found in zip(objects, counts, strict=True):
            expected = Counter(
                (row, log_bin(error, grid.error_range, grid.n_errors), column(x, grid))
                for row, error, x in LOOPS[kind](points, channels, grid)
            )
            assert {tuple(map(int, c)): int(found[tuple(c)]) for c in np.argwhere(found)} == dict(expected)


@pytest.mark.parametrize("kind", OF_POINTS)
def test_what_stands_in_the_padding_is_never_looked_at(kind, rng):
    kernel, n_channels, alone, grid = KINDS[kind]
    channels = np.zeros(n_channels, np.int32)
    points = padded(light_curves(rng, alone))
    n_cells = len(points.time) * int(np.prod(grid.shape))
    cells = np.asarray(kernel(points, channels, grid=grid))
    assert cells.dtype == np.int32
    assert cells.min() >= 0
    assert cells.max() < n_cells + LENGTH
    gap = points.channel < 0
    assert (cells[gap] >= n_cells).all()
    noise = Points(
        np.where(gap, 7.0, points.time).astype(np.float32),
        np.where(gap, -99.0, points.value).astype(np.float32),
        np.where(gap, 0.3, points.error).astype(np.float32),
        points.channel,
    )
    np.testing.assert_array_equal(np.asarray(kernel(noise, channels, grid=grid)), cells)


def test_cells_of_pairs_by_lane():
    """Two lanes, of which the second holds one point only, as objects 4 and 5 of 6."""
    grid = Grid(row_shape=(2,), column_range=(-2.0, 2.0), n_columns=4, lag_range=(1.0, 100.0))
    points = Points(
        time=np.array([[0, 0], [1, 0], [20, 0]], np.float32),
        value=np.array([[18, 17], [18.5, 0], [16.5, 0]], np.float32),
        error=np.full((3, 2), 0.1, np.float32),
        channel=np.array([[0, 0], [0, -1], [0, -1]], np.int32),
    )
    rows = np.array([[0, 0, 1], [1, 2, 2], [4, 4, 4]], np.int32)
    cells = events.pair_cells(points, *rows, np.int32(6), np.zeros(2, np.int32), grid=grid)
    # Lags 1, 20 and 19 days; changes .5, -1.5 and -2.0 mag; 8 cells an object, the last two are spare.
    np.testing.assert_array_equal(cells, [[4 * 8 + 2, 49], [4 * 8 + 4, 49], [4 * 8 + 4, 49]])


def test_a_constant_offset_changes_magnitudes_only(rng):
    objects = light_curves(rng, True)
    brighter = [[(t, m - 2.0, s, c) for t, m, s, c in points] for points in objects]
    for kind in COUNTED:
        assert np.array_equal(count(objects, kind), count(brighter, kind)) == (kind != "magnitude")


def test_all_pairs_are_counted_once(rng):
    objects = light_curves(rng, True)
    n = np.array([len(points) for points in objects])
    np.testing.assert_array_equal(count(objects, "pairs").sum(axis=(1, 2, 3)), n * (n - 1) / 2)


def test_values_beyond_the_grid_fall_in_the_outermost_cells():
    grid = Grid(row_shape=(1,), column_range=(10.0, 20.0), n_columns=4, error_range=(0.1, 1.0), n_errors=2)
    counts = count([[(0.0, 3.0, 0.001, 0), (1.0, 33.0, 9.0, 0)]], "magnitude", grid=grid)[0, 0]
    np.testing.assert_array_equal(counts, [[1, 0, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize("n_columns", [4, 5])
def test_values_on_an_edge_belong_above(n_columns):
    """With columns that mirror each other, whose edges are compared by size, and without."""
    grid = Grid(row_shape=(1,), column_range=(-n_columns / 2, n_columns / 2), n_columns=n_columns)
    edges = grid.column_edges
    points = [(float(i), edge, 0.1, 0) for i, edge in enumerate(edges)]
    counts = count([points], "magnitude", grid=grid)[0, 0, 0]
    np.testing.assert_array_equal(counts, [1] * (n_columns - 1) + [2])
    if n_columns == 4:
        # Minus one lies on an edge, and so belongs above it whichever side is compared.
        assert count([[(0.0, -1.0, 0.1, 0)]], "magnitude", grid=grid)[0, 0, 0].tolist() == [0, 1, 0, 0]


def test_grid_edges_and_centres():
    grid = Grid(row_shape=(3, 2), column_range=(-4.0, 4.0), n_columns=8, column_scale=0.5, n_errors=2)
    assert (grid.n_rows, grid.shape) == (6, (6, 2, 8))
    edges = grid.column_edges
    np.testing.assert_allclose(np.diff(np.arcsinh(edges / 0.5)), np.arcsinh(8.0) / 4, rtol=1e-12)
    np.testing.assert_allclose(edges, -edges[::-1], atol=1e-12)
    np.testing.assert_allclose(edges[[0, -1]], [-4, 4])
    np.testing.assert_allclose(np.diff(np.log(grid.error_centres)), np.log(0.5 / 0.015) / 2)
    np.testing.assert_allclose(grid.lag_edges, [1.0, 10 ** (1 / 3), 10 ** (2 / 3), 10.0])


def test_streams_refuse_an_unknown_kind_and_a_wrong_number_of_channels():
    with pytest.raises(ValueError, match=r"kind must be one of .*pairs"):
        Stream("x", "quintuplets", ("S/g",))
    with pytest.raises(ValueError, match="takes 2 channel"):
        Stream("x", "pairs", ("S/g",))
    with pytest.raises(ValueError, match="takes 1 channel"):
        Stream("x", "peak", ("S/g", "S/r"))
    assert Stream("x", "peak", ("S/g",)).grid == KINDS["peak"][3]
