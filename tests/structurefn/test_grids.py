"""Grids of any edges: counted as a loop finds it, and used by densities and likelihoods like others."""

import numpy as np
import pandas as pd
import pytest

from structurefn import (
    PUBLISHED_DM_EDGES,
    PUBLISHED_DT_EDGES,
    Grid,
    LightCurves,
    Stream,
    count_events,
    dmdt_images,
    equal_area_edges,
    fit_density,
    log_likelihood,
    response_matrix,
    stream_map,
)

PAIR = ("S/r", "S/r")


@pytest.fixture(scope="module")
def curves():
    rng = np.random.default_rng(4)
    n = 20 * 15
    frame = pd.DataFrame(
        {
            "object_id": np.repeat([f"o{i}" for i in range(20)], 15),
            "survey": "S",
            "band": "r",
            "mjd": 59000.0 + rng.exponential(1.0, n).cumsum(),
            "mag": 18.0 + rng.normal(0, 1.0, n),
            "mag_err": rng.uniform(0.03, 0.3, n),
        }
    )
    return LightCurves.from_frame(frame)


def counted(curves, grid, kind="pairs"):
    ((_, counts),) = count_events(
        curves, [Stream("p", kind, PAIR if kind == "pairs" else ("S/r",), grid=grid)]
    )
    return counts


def test_published_edges_are_counted_as_by_a_loop(curves):
    grid = Grid.from_edges(PUBLISHED_DT_EDGES, PUBLISHED_DM_EDGES)
    assert grid.shape == (24, 5, 22)
    counts = counted(curves, grid)
    expected = np.zeros((len(counts), 24, 22))
    for i in range(curves.n_objects):
        one = curves.take_objects([i])
        time = np.float32(one.time - one.time[0])
        value = np.float32(one.value)
        for j in range(one.n_points):
            for k in range(j):
                row = np.searchsorted(grid.lag_edges[1:-1], time[j] - time[k], side="right")
                column = np.searchsorted(grid.column_edges[1:-1], value[j] - value[k], side="right")
                expected[i, row, column] += 1
    np.testing.assert_array_equal(counts.sum(axis=2), expected)
    # Within the edges they are the image's.
    image = dmdt_images(curves, "S/r")
    inside = np.abs(image - counts.sum(axis=2)).sum()
    assert inside <= 2 * (counts.sum() - image.sum()) + 1e-6


def test_edges_that_do_not_mirror_each_other(curves):
    grid = Grid.from_edges((0.0, 1.0, 5.0, 100.0), (-3.0, -0.2, 0.1, 4.0, 6.0), n_errors=1)
    steps = counted(curves, grid, "adjacent")
    expected = np.zeros((len(steps), 3, 4))
    for i in range(curves.n_objects):
        one = curves.take_objects([i])
        change, lag = np.diff(np.float32(one.value)), np.diff(np.float32(one.time - one.time[0]))
        cells = np.searchsorted([1.0, 5.0], lag, "right"), np.searchsorted([-0.2, 0.1, 4.0], change, "right")
        np.add.at(expected[i], cells, 1)
    np.testing.assert_array_equal(steps[:, :, 0], expected)


def test_densities_and_maps_take_equal_area_edges(curves):
    lags, changes = equal_area_edges(curves, "S/r", 4, 8)
    grid = Grid.from_edges(lags, changes)
    counts = counted(curves, grid)
    membership = np.eye(2)[np.arange(len(counts)) % 2]
    density = fit_density(counts, membership, response_matrix(grid.column_edges, grid.error_centres))
    assert np.isfinite(log_likelihood(counts, density)).all()
    assert stream_map(counts, grid).shape == (len(counts), 4 * 5 * 4)
    share = counts.sum(axis=(0, 2))
    # Quantiles of the same pairs: lags have equally many.
    np.testing.assert_allclose(share.sum(axis=1), share.sum() / 4, rtol=0.05)


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="column_edges must be at least two finite, ascending numbers"):
        Grid.from_edges((0, 1), (1, 1))
    with pytest.raises(ValueError, match=r"lag_edges must not be negative, but the first is -1\.0"):
        Grid.from_edges((-1, 1), (0, 1))
    with pytest.raises(ValueError, match="needs a kind whose row is one lag"):
        Stream("t", "triplets", ("S/r",), grid=Grid.from_edges((0, 1), (0, 1)))
