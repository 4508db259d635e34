import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from structurefn.grids import Grid
from structurefn.light_curves import LightCurves
from structurefn.simulate import (
    MagnitudeTable,
    PeakTable,
    ornstein_uhlenbeck,
    peak_rows_in_time,
    simulate_peak_curves,
    table_quantile,
)

GRID = Grid(row_shape=(4,), column_range=(0.0, 4.0), n_columns=8)
PEAK_GRID = Grid(row_shape=(1,), column_range=(16.0, 20.0), n_columns=4)
TIME_EDGES = np.array([-30.0, -10.0, 10.0, 30.0, 90.0])
MIDDLES = np.array([-20.0, 0.0, 20.0, 60.0])


def tables(rng, n_classes=2):
    return {
        name: PeakTable(rng.dirichlet(np.full(8, 1.5), (n_classes, 4)), GRID, TIME_EDGES)
        for name in ("ZTF/g", "ZTF/r")
    }


def peaks(rng, n_classes=2, offset=0.0):
    true = rng.dirichlet(np.full(4, 2.0), (n_classes, 1))
    return {
        "ZTF/g": MagnitudeTable(true, PEAK_GRID),
        "ZTF/r": MagnitudeTable(true, PEAK_GRID, offset),
    }


def fixed_peak(magnitude=18.0):
    narrow = Grid(row_shape=(1,), column_range=(magnitude - 1e-9, magnitude + 1e-9), n_columns=1)
    return {name: (np.ones((2, 1, 1)), narrow) for name in ("ZTF/g", "ZTF/r")}


def small_errors(magnitude, channel):
    return np.full(magnitude.shape, 1e-6)


def exact_cumulative(x, probability, edges):
    return np.interp(x, edges, np.concatenate([[0.0], np.cumsum(probability)]))


def test_marginals_at_the_middle_of_a_row_are_the_table(rng):
    densities = tables(rng)
    n = 2000
    classes = np.repeat([0, 1], n)
    cadence = [(MIDDLES, ["ZTF/g", "ZTF/r", "ZTF/g", "ZTF/g"])] * (2 * n)
    frame = simulate_peak_curves(rng, densities, fixed_peak(), classes, cadence, small_errors)
    change = frame["mag"].to_numpy().reshape(2, n, 4) - 18.0
    for c in (0, 1):
        for k, name in enumerate(cadence[0][1]):
            p = densities[name].true[c, k]
            found = kstest(change[c, :, k], lambda x, p=p: exact_cumulative(x, p, GRID.column_edges))
            assert found.pvalue > 1e-4


def test_peak_magnitudes_follow_their_table_with_its_offset(rng):
    grid = Grid(row_shape=(1,), column_range=(-1e-9, 1e-9), n_columns=1)
    flat = {name: (np.ones((2, 1, 1)), grid, np.array([-1.0, 1.0])) for name in ("ZTF/g", "ZTF/r")}
    peak = peaks(rng, offset=0.5)
    n = 3000
    cadence = [([0.0, 0.0], ["ZTF/r", "ZTF/g"])] * n
    frame = simulate_peak_curves(rng, flat, peak, np.ones(n, int), cadence, small_errors, shared_peak=0.9)
    g = frame.loc[frame["band"] == "g", "mag"].to_numpy()
    r = frame.loc[frame["band"] == "r", "mag"].to_numpy() - 0.5
    p = peak["ZTF/g"].true[1, 0]
    for sample in (g, r):
        assert kstest(sample, lambda x: exact_cumulative(x, p, PEAK_GRID.column_edges)).pvalue > 1e-4
    latent = [
        norm.ppf(np.clip(exact_cumulative(x, p, PEAK_GRID.column_edges), 1e-6, 1 - 1e-6)) for x in (g, r)
    ]
    assert np.corrcoef(latent)[0, 1] == pytest.approx(0.9, abs=0.02)


def test_between_rows_the_quantiles_are_interpolated():
    # Two rows, each uniform in one cell: at the place between, uniform between the two.
    true = np.zeros((1, 2, 8))
    true[0, 0, 0] = true[0, 1, 6] = 1.0
    grid = Grid(row_shape=(2,), column_range=(0.0, 4.0), n_columns=8)
    densities = {"ZTF/g": (true, grid, np.array([0.0, 10.0, 20.0]))}
    peak = {"ZTF/g": (np.ones((1, 1, 1)), Grid((1,), (18.0, 18.0 + 1e-9), 1))}
    n = 2000
    frame = simulate_peak_curves(
        np.random.default_rng(1), densities, peak, np.zeros(n, int), [([7.5], ["ZTF/g"])] * n, small_errors
    )
    # A quarter of the way from [0, 0.5] to [3, 3.5].
    change = frame["mag"].to_numpy() - 18.0
    assert kstest(change, "uniform", args=(0.75, 0.5)).pvalue > 1e-4


def test_process_has_unit_variance_and_the_stated_memory(rng):
    n = 20_000
    time = np.tile([0.0, 5.0, 5.0, 30.0], n)
    z = ornstein_uhlenbeck(rng, np.repeat(np.arange(n), 4), time, 20.0, 2)
    path = z.reshape(2, n, 4)
    correlation = np.corrcoef(path[0].T)
    lags = np.abs(np.subtract.outer(time[:4], time[:4]))
    # Four standard errors of a correlation.
    np.testing.assert_allclose(correlation, np.exp(-lags / 20.0), atol=4 / np.sqrt(n))
    np.testing.assert_allclose(path.std(axis=1), 1.0, atol=4 / np.sqrt(2 * n))
    np.testing.assert_array_equal(path[0][:, 1], path[0][:, 2])
    assert abs(np.corrcoef(path[0][:, 0], path[1][:, 0])[0, 1]) < 4 / np.sqrt(n)
    assert abs(np.corrcoef(path[0][1:, 0], path[0][:-1, 3])[0, 1]) < 4 / np.sqrt(n)


def test_neighbouring_points_agree_more_than_distant_ones(rng):
    densities = tables(rng, 1)
    n = 500
    cadence = [([0.0, 1.0, 15.0], ["ZTF/g"] * 3)] * n
    frame = simulate_peak_curves(rng, densities, fixed_peak(), np.zeros(n, int), cadence, small_errors)
    m = frame["mag"].to_numpy().reshape(n, 3)
    assert np.std(m[:, 1] - m[:, 0]) < 0.5 * np.std(m[:, 2] - m[:, 0])


def test_noise_has_the_errors_given(rng):
    n = 4000
    cadence = [([0.0], ["ZTF/g"])] * n
    grid = Grid(row_shape=(1,), column_range=(-1e-9, 1e-9), n_columns=1)
    flat = {"ZTF/g": (np.ones((1, 1, 1)), grid, np.array([-1.0, 1.0]))}
    frame = simulate_peak_curves(
        rng, flat, fixed_peak(), np.zeros(n, int), cadence, lambda m, k: np.full(m.shape, 0.2)
    )
    assert (frame["mag_err"] == 0.2).all()
    assert kstest((frame["mag"] - 18.0) / 0.2, "norm").pvalue > 1e-4


def test_faint_points_become_upper_limits_and_the_frame_is_readable(rng):
    n = 200
    times = [np.sort(rng.uniform(-30, 90, 12)) for _ in range(n)]
    cadence = [(t, ["ZTF/g", "ZTF/r"] * 6) for t in times]
    frame = simulate_peak_curves(
        rng,
        tables(rng),
        peaks(rng),
        rng.integers(0, 2, n),
        cadence,
        lambda m, k: np.where(k == "ZTF/g", 0.1, 0.05),
        limiting_magnitude={"ZTF/g": 19.5},
        peak_mjd=58000.0,
    )
    limit = frame["upper_limit"]
    assert 0 < limit.sum() < (frame["band"] == "g").sum()
    assert (frame.loc[limit, "mag"] == 19.5).all()
    assert frame.loc[limit, "mag_err"].isna().all()
    assert (frame.loc[~limit & (frame["band"] == "g"), "mag"] <= 19.5).all()
    assert (frame.loc[frame["band"] == "r", "mag_err"] == 0.05).all()
    assert frame["mjd"].between(58000 - 30, 58000 + 90).all()
    batch = LightCurves.from_frame(frame)
    assert batch.n_objects == n
    assert batch.n_points == 12 * n
    assert len(batch.set_aside) == 0
    assert batch.channels == ("ZTF/g", "ZTF/r")


def test_same_seed_same_curves_and_no_object_is_fine(rng):
    densities, peak = tables(rng), peaks(rng)
    cadence = [([0.0, 3.0], ["ZTF/g", "ZTF/r"]), ([], [])]

    def sample(seed):
        return simulate_peak_curves(
            np.random.default_rng(seed), densities, peak, np.array([0, 1]), cadence, small_errors
        )

    assert sample(1).equals(sample(1))
    assert not sample(1).equals(sample(2))
    empty = simulate_peak_curves(rng, densities, peak, np.zeros(0, int), [], small_errors)
    assert list(empty.columns) == list(sample(1).columns)
    assert len(empty) == 0


def test_rows_before_and_after_the_peak_are_put_in_order_of_time():
    true = np.arange(6.0).reshape(1, 6, 1)
    ordered, edges = peak_rows_in_time(true, np.array([1.0, 10.0, 100.0, 1000.0]))
    np.testing.assert_array_equal(ordered.ravel(), [2, 1, 0, 3, 4, 5])
    np.testing.assert_array_equal(edges, [-1000, -100, -10, 0, 10, 100, 1000])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**16), zeros=st.booleans())
def test_quantile_inverts_the_cumulative_distribution(seed, zeros):
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.uniform(-3, 3, 6)) + np.arange(6) * 1e-3
    p = rng.dirichlet(np.ones(5), 20)
    if zeros:
        p[:, 2] = 0.0
        p /= p.sum(axis=1, keepdims=True)
    cumulative = np.hstack([np.zeros((20, 1)), np.cumsum(p, axis=1)])
    level = rng.uniform(0, 1, 20)
    x = table_quantile(cumulative, edges, level)
    back = [np.interp(x[i], edges, cumulative[i]) for i in range(20)]
    np.testing.assert_allclose(back, level, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": np.array([0, 1])}, "classes, cadence and object_ids must have one entry an object"),
        ({"classes": np.array([2])}, "classes must be indices from 0 to 1"),
        ({"cadence": [([0.0], ["ZTF/i"])]}, "object sim0 uses 'ZTF/i'; known are"),
        ({"cadence": [([0.0, 1.0], ["ZTF/g"])]}, "object sim0 has 2 times and 1 channels"),
        ({"error_model": lambda m, k: -np.ones_like(m)}, "error_model must return one positive error"),
        ({"error_model": lambda m, k: 0.1}, "error_model must return one positive error"),
        ({"timescale": 0.0}, "timescale must be positive"),
        ({"shared": 1.5}, "correlations 0 to 1"),
    ],
)
def test_refuses_what_does_not_fit(changes, message, rng):
    arguments = {
        "densities": tables(rng),
        "peak_magnitude": peaks(rng),
        "classes": np.array([0]),
        "cadence": [([0.0], ["ZTF/g"])],
        "error_model": small_errors,
    }
    with pytest.raises(ValueError, match=message):
        simulate_peak_curves(rng, **(arguments | changes))
