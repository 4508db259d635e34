"""Square-root maps against numpy, cell by cell."""

import numpy as np
import pytest

from structurefn.grids import Grid
from structurefn.maps import map_scale, square_root_map, stream_map
from structurefn.streams import KINDS


def filtered(x, axis):
    """One pass of (1, 2, 1) / 4; at an end the neighbour outside is the end itself."""
    x = np.moveaxis(x, axis, 0)
    if len(x) > 1:
        before, after = np.concatenate([x[:1], x[:-1]]), np.concatenate([x[1:], x[-1:]])
        x = (before + 2 * x + after) / 4
    return np.moveaxis(x, 0, axis)


def by_hand(counts, grid):
    """The map of one object, counts of shape grid.shape."""
    x = counts.astype(np.float64).reshape(*grid.row_shape, grid.n_errors, grid.n_columns)
    for axis, passes in ((-1, 4), (-3, 1), (-2, 2)):
        for _ in range(passes):
            x = filtered(x, axis)
    x = x.reshape(*x.shape[:-1], -1, 2).sum(-1)
    result = np.zeros_like(x)
    for row in np.ndindex(x.shape[:-1]):
        n = x[row].sum()
        if n > 0:
            result[row] = np.sqrt(x[row] / n) * min(np.sqrt(n) / 4, 1.0)
    return result.ravel()


@pytest.mark.parametrize("kind", KINDS)
def test_equals_numpy(kind, rng):
    grid = KINDS[kind][3]
    counts = rng.poisson(0.1, (4, *grid.shape)).astype(np.float32)
    counts[0] = 0
    counts[1] *= 100
    maps = np.asarray(square_root_map(counts, grid=grid))
    assert not maps[0].any()
    for found, one in zip(maps, counts, strict=True):
        # float32: a few units of 6e-8 relative, on values up to one.
        np.testing.assert_allclose(found, by_hand(one, grid), atol=1e-6)


def test_norm_counts_rows_with_enough_events():
    grid = Grid(row_shape=(1,), column_range=(0.0, 1.0), n_columns=8)
    counts = np.zeros((3, *grid.shape), np.float32)
    counts[:, 0, 0, 3] = 4, 16, 1000
    norm2 = (np.asarray(square_root_map(counts, grid=grid)) ** 2).sum(1)
    np.testing.assert_allclose(norm2, [0.25, 1.0, 1.0], rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 16, 17, 33])
def test_blocks_change_nothing(n, rng):
    grid = Grid(row_shape=(2,), column_range=(0.0, 1.0), n_columns=6, n_errors=2)
    counts = rng.poisson(1.0, (n, *grid.shape)).astype(np.float32)
    found = stream_map(counts, grid, block=16)
    assert found.shape == (n, 12)
    if n:
        np.testing.assert_allclose(found, np.asarray(square_root_map(counts, grid=grid)), atol=1e-6)


def test_scale_is_the_root_mean_squared_norm(rng):
    maps, weights = rng.random((20, 5)), rng.random(20)
    expected = np.sqrt(sum(w * (m @ m) for w, m in zip(weights, maps, strict=True)) / weights.sum())
    assert map_scale(maps, weights) == pytest.approx(expected)
    assert map_scale(np.zeros((3, 5)), np.ones(3)) == 1.0
