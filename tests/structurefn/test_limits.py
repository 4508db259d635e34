"""Upper limits: which detection each refers to, their counts, the censored fit and the likelihood."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import norm, triang

from structurefn.counting import count_events
from structurefn.grids import Grid
from structurefn.light_curves import LightCurves
from structurefn.likelihood import log_likelihood, log_non_detection
from structurefn.limit_density import SOFTNESS, fit_limit_density, limit_density, limit_response
from structurefn.limits import count_limits, depth_counts, reference_of_limits, signed_lag_rows
from structurefn.response import response_matrix
from structurefn.streams import KINDS, Stream

GRID = KINDS["limits"][3]
SAME = Stream("limits g", "limits", ("S/g", "S/g"))
CROSS = Stream("limits r-g", "limits", ("S/r", "S/g"))


def batch(rows, **options):
    """Light curves from rows (object, band, time, magnitude, is a limit)."""
    frame = pd.DataFrame(rows, columns=["object_id", "band", "mjd", "mag", "upper_limit"])
    frame = frame.assign(survey="S", mag_err=np.where(frame["upper_limit"], np.nan, 0.1))
    return LightCurves.from_frame(frame, **options)


def random_batch(rng, n_objects=12):
    rows = []
    for i in range(n_objects):
        for _ in range(rng.integers(1, 14)):
            # Whole days, so that times coincide now and then.
            time = 59000.0 + float(rng.integers(0, 40))
            rows.append((f"o{i}", rng.choice(["g", "r", "i"]), time, rng.uniform(17, 21), rng.random() < 0.5))
    return batch(rows, channels=["S/g", "S/r", "S/i"])


def expected_reference(curves, pairs, point):
    """Return the pair and the reference of one limit, by a loop over the object's detections."""
    owner = np.searchsorted(curves.offset, point, side="right") - 1
    mine = range(curves.offset[owner], curves.offset[owner + 1])
    name = curves.channels[curves.channel[point]]
    for own in (True, False):
        found = []
        for k, (first, second) in enumerate(pairs):
            if second == name and (first == second) == own:
                for j in mine:
                    if not curves.upper_limit[j] and curves.channels[curves.channel[j]] == first:
                        found.append((abs(curves.time[j] - curves.time[point]), k, j))
        if found:
            lag = min(found)[0]
            return None if own and lag == 0 else {(k, j) for d, k, j in found if d == lag}
    return None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_the_reference_is_the_nearest_detection_of_the_own_channel_else_of_another(seed):
    curves = random_batch(np.random.default_rng(seed))
    pairs = [("S/r", "S/g"), ("S/g", "S/g"), ("S/i", "S/g"), ("S/g", "S/i"), ("S/r", "S/r")]
    chosen, reference = reference_of_limits(curves, pairs)
    assert (chosen[~curves.upper_limit] == -1).all()
    for point in np.flatnonzero(curves.upper_limit):
        expected = expected_reference(curves, pairs, point)
        if expected is None:
            assert chosen[point] == reference[point] == -1
        else:
            assert (chosen[point], reference[point]) in expected


def test_counts_equal_a_loop(rng):
    curves = random_batch(rng, 30)
    streams = [SAME, CROSS]
    got = dict(count_limits(curves, streams, deepest=False))
    chosen, reference = reference_of_limits(curves, [s.channels for s in streams])
    edges = np.geomspace(*GRID.lag_range, GRID.row_shape[1] + 1)

    def cell(point, other):
        lag = curves.time[point] - curves.time[other]
        size = np.searchsorted(edges[1:-1], abs(lag), side="right")
        row = 8 + size if lag >= 0 else 7 - size
        return row, np.searchsorted(
            GRID.column_edges[1:-1], curves.value[point] - curves.value[other], "right"
        )

    for k, stream in enumerate(streams):
        expected = np.zeros_like(got[stream.name])
        first, second = (curves.channels.index(name) for name in stream.channels)
        for i in range(curves.n_objects):
            mine = range(curves.offset[i], curves.offset[i + 1])
            for p in mine:
                if chosen[p] == k:
                    row, column = cell(p, reference[p])
                    expected[i, row, -1, column] += 1
                if curves.upper_limit[p] or curves.channel[p] != second:
                    continue
                seen = [j for j in mine if not curves.upper_limit[j] and curves.channel[j] == first]
                for j in [j for j in seen if j < p][-1:] + [j for j in seen if j > p][:1]:
                    row, column = cell(p, j)
                    expected[i, row, 1, column] += 1  # an error of 0.14 is in the second of three bins
        np.testing.assert_array_equal(got[stream.name], expected)


def test_only_the_deepest_limit_of_a_row_counts(rng):
    curves = random_batch(rng, 30)
    every, deepest = (dict(count_limits(curves, [SAME, CROSS], deepest=deep)) for deep in (False, True))
    for name in every:
        some = depth_counts(every[name])[:, :, 0]
        top = some.shape[-1] - 1 - some[..., ::-1].argmax(axis=-1)
        expected = (np.arange(some.shape[-1]) == top[..., None]) & some.any(axis=-1, keepdims=True)
        np.testing.assert_array_equal(deepest[name][:, :, -1], expected)
        np.testing.assert_array_equal(deepest[name][:, :, :-1], every[name][:, :, :-1])


def test_rows_ascend_in_signed_lag():
    lag = np.array([-5000.0, -300.0, -1.0, -0.1, 0.0, 0.1, 1.0, 300.0, 5000.0])
    row = signed_lag_rows(lag, GRID)
    assert row.tolist() == [0, 1, 7, 7, 8, 8, 8, 14, 15]


@pytest.mark.parametrize(
    ("rows", "n_limits"),
    [
        ([("a", "g", 59000.0, 19.0, True)], 0),  # nothing to refer to
        ([("a", "g", 59000.0, 19.0, True), ("a", "i", 59001.0, 19.0, False)], 0),  # no such pair
        ([("a", "i", 59000.0, 19.0, True), ("a", "g", 59001.0, 19.0, False)], 0),  # a channel without stream
        ([("a", "g", 59000.0, 19.0, True), ("a", "g", 59000.0, 18.0, False)], 0),  # the same exposure
        (
            [("a", "g", 59000.0, 19.0, True), ("a", "r", 59000.0, 18.0, False)],
            1,
        ),  # of another channel
        (
            [("a", "g", 59000.0, 19.0, True), ("b", "g", 59001.0, 18.0, False)],
            0,
        ),  # of another object
        ([("a", "g", 59000.0, np.nan, True), ("a", "g", 59001.0, 18.0, False)], 0),  # set aside before
        ([("a", "g", 59000.0, 19.0, True), ("a", "g", 59001.0, 18.0, False)], 1),
    ],
)
def test_unusual_limits(rows, n_limits):
    curves = batch(rows, channels=["S/g", "S/r", "S/i"])
    n_missing = sum(np.isnan(row[3]) for row in rows)
    assert int(curves.set_aside["rows"].sum()) == n_missing
    counts = dict(count_limits(curves, [SAME, CROSS]))
    assert sum(depth_counts(c).sum() for c in counts.values()) == n_limits
    flat = np.full((2, GRID.n_rows, GRID.n_columns), 1.0)
    got = sum(log_likelihood(c, limit_density(flat, GRID)) for c in counts.values())
    assert got.shape == (curves.n_objects, 2)
    assert np.isfinite(got).all()
    assert (got < 0).any() == bool(n_limits)


def test_channels_that_the_batch_lacks_give_zeros():
    curves = batch([("a", "i", 59000.0, 19.0, True), ("a", "i", 59001.0, 19.0, False)])
    for _, counts in count_limits(curves, [SAME, CROSS]):
        assert counts.shape == (1, 16, 4, 28)
        assert not counts.any()
    empty = curves.take_objects(np.zeros(0, int))
    assert [c.shape for _, c in count_limits(empty, [SAME])] == [(0, 16, 4, 28)]


def test_a_constant_offset_and_other_objects_change_nothing(rng):
    curves = random_batch(rng)
    brighter = LightCurves(**(curves.__dict__ | {"value": curves.value + 0.25, "time": curves.time + 1000.0}))
    order = rng.permutation(curves.n_objects)
    for (_, one), (_, two), (_, three) in zip(
        *(count_limits(c, [SAME, CROSS]) for c in (curves, brighter, curves.take_objects(order))), strict=True
    ):
        np.testing.assert_array_equal(one.sum(axis=-1), two.sum(axis=-1))
        np.testing.assert_array_equal(one[order], three)


def test_the_response_equals_monte_carlo_and_is_complementary(rng):
    edges = np.array([-1.0, -0.2, 0.0, 0.3, 1.5, 4.0])
    response = limit_response(edges, 0.3)
    n = 400_000
    for i in range(5):
        for j in range(5):
            depth, change = rng.uniform(edges[i], edges[i + 1], n), rng.uniform(edges[j], edges[j + 1], n)
            expected = ndtr((change - depth) / 0.3).mean()
            # Five standard errors of the mean of as many draws between 0 and 1.
            assert abs(response[i, j] - expected) < 5 * 0.5 / np.sqrt(n)
    # x > d and d > x exclude each other.
    np.testing.assert_allclose(response + response.T, 1.0, atol=2e-5)
    assert (np.diff(response, axis=0) <= 0).all()


def test_the_table_is_the_mean_over_a_cell_of_depths_of_the_exact_probability(rng):
    true = rng.dirichlet(np.ones(GRID.n_columns) * 0.3, size=(3, GRID.n_rows))
    density = limit_density(true, GRID, tail=1e-9)
    row = 5
    for column in (0, 9, 14, 20, 27):
        low, high = GRID.column_edges[column : column + 2]
        depth = low + (high - low) * (np.arange(400) + 0.5) / 400
        exact = log_non_detection(
            density, np.full(400, row), depth, np.full(400, SOFTNESS), column_edges=GRID.column_edges
        )
        got = density.observed[:, row, -1, column]
        np.testing.assert_allclose(np.exp(got), np.exp(exact).mean(axis=0), atol=2e-4)


def test_a_share_of_limits_says_nothing():
    true = np.zeros((2, GRID.n_rows, GRID.n_columns))
    true[0, :, 12], true[1, :, -1] = 1.0, 1.0  # no change, and gone
    density = limit_density(true, GRID, tail=0.05)
    deep = density.observed[:, 0, -1, 24]
    np.testing.assert_allclose(np.exp(deep), [0.05, 1.0], atol=1e-6)
    assert (density.observed[:, :, :-1] == 0).all()


def censored_sample(rng, n_objects=1500, n_events=6):
    """Changes of known distribution in one row, recorded where brighter than the exposure's depth."""
    grid = Grid(
        row_shape=(2, 1),
        column_range=(-2.0, 5.0),
        n_columns=14,
        column_scale=0.5,
        error_range=(0.02, 0.64),
        n_errors=3,
    )
    true = np.zeros(14)
    true[[4, 5, 8, 10, 12]] = 0.3, 0.2, 0.1, 0.25, 0.15
    cell = rng.choice(14, p=true, size=(n_objects, n_events))
    change = rng.uniform(grid.column_edges[cell], grid.column_edges[cell + 1])
    error = rng.uniform(0.03, 0.3, change.shape)
    depth = 5.0 * rng.beta(1.0, 2.5, change.shape) - 0.2  # deep exposures are rare
    limit = rng.random(change.shape) < ndtr((change - depth) / SOFTNESS)
    seen = change + error * rng.normal(size=change.shape)
    value = np.where(limit, depth, seen)
    slot = np.where(limit, 3, np.digitize(error, np.geomspace(*grid.error_range, 4)[1:-1]))
    column = np.clip(np.digitize(value, grid.column_edges) - 1, 0, 13)
    counts = np.zeros((n_objects, 2, 4, 14), np.float32)
    np.add.at(counts, (np.arange(n_objects)[:, None], 1, slot, column), 1.0)
    return grid, true, counts


def test_the_censored_fit_recovers_what_detections_alone_miss(rng):
    grid, true, counts = censored_sample(rng)
    member = np.ones((len(counts), 1))
    found = fit_limit_density(counts, member, grid).true[0, 1]
    blind = counts.copy()
    blind[:, :, -1] = 0
    without = fit_limit_density(blind, member, grid).true[0, 1]

    def error(table):
        # Differences of cumulative distributions: neighbouring cells are confused by the errors.
        return np.abs(np.cumsum(table) - np.cumsum(true)).max()

    assert error(found) < 0.05
    assert error(without) > 0.2
    # The bias is to no change: half of the true changes are below 0.3 mag.
    assert without[:7].sum() > 0.7
    assert abs(found[:7].sum() - 0.5) < 0.05


def test_the_fit_is_its_own_maximum(rng):
    """Moving probability between any two cells lowers the penalised log-likelihood of counts and limits."""
    grid, _, counts = censored_sample(rng, n_objects=300)
    fitted = fit_limit_density(counts, np.ones((300, 1)), grid, strength=4.0, tail=0.02)
    parent_free = fit_limit_density(counts, np.ones((300, 1)), grid, strength=1e-3, tail=0.02)
    table = counts.sum(axis=0)[1]

    def loss(pi):
        forward = response_matrix(grid.column_edges, grid.error_centres)
        seen = 0.98 * forward @ pi + 0.02 / 14
        missed = 0.98 * limit_response(grid.column_edges) @ pi + 0.02
        return (table[:3] * np.log(seen)).sum() + (table[3] * np.log(missed)).sum()

    best = parent_free.true[0, 1]
    for _ in range(40):
        i, j = rng.choice(14, 2, replace=False)
        step = 0.02 * best[i]
        other = best.copy()
        other[i] -= step
        other[j] += step
        # The iteration stops short of the optimum; 0.05 nats of some thousand are the slack.
        assert loss(other) < loss(best) + 0.05
    assert loss(best) >= loss(fitted.true[0, 1]) - 0.05


def test_the_posterior_is_that_of_direct_integration_and_calibrated(rng):
    """Steady sources and rising ones, one exposure of each beside its reference: P(class | limit, depth)."""

    def changes(label, n):
        return rng.normal(0.0, 0.15, n) if label == 0 else rng.triangular(-0.3, 0.0, 4.0, n)

    def sample(n):
        label = np.arange(n) % 2
        change = np.where(label == 0, changes(0, n), changes(1, n))
        depth = rng.uniform(-0.6, 3.0, n)
        limit = rng.random(n) < ndtr((change - depth) / SOFTNESS)
        seen = change + 0.1 * rng.normal(size=n)
        rows = []
        for i in range(n):
            rows.append((f"o{i}", "g", 59005.0, 18.0, False))
            rows.append((f"o{i}", "g", 59000.0, 18.0 + (depth[i] if limit[i] else seen[i]), bool(limit[i])))
        return label, depth, limit, dict(count_limits(batch(rows), [SAME]))["limits g"]

    label, _, _, counts = sample(4000)
    density = fit_limit_density(counts, np.eye(2)[label], GRID, tail=1e-3)
    label, depth, limit, counts = sample(4000)
    log_like = log_likelihood(counts, density)[limit]
    got = 1 / (1 + np.exp(log_like[:, 0] - log_like[:, 1]))
    # The same with each class's density of changes, integrated over the change.
    x = np.linspace(-2.0, 5.0, 4001)
    pdf = np.stack([norm.pdf(x, 0.0, 0.15), triang.pdf(x, 0.3 / 4.3, -0.3, 4.3)])
    exact = (pdf @ ndtr((x[:, None] - depth[limit]) / SOFTNESS)) * (x[1] - x[0])
    exact = exact[1] / exact.sum(axis=0)
    truth = label[limit]

    def loss(p):
        return -np.log(np.where(truth == 1, p, 1 - p)).mean()

    assert loss(exact) < 0.5  # one half each would give 0.69
    assert loss(got) - loss(exact) < 0.01
    assert np.abs(got - exact).mean() < 0.03
    for low, high in ((0.0, 0.55), (0.55, 0.8), (0.8, 0.97), (0.97, 1.0)):
        here = (got >= low) & (got < high)
        spread = np.sqrt((got[here] * (1 - got[here])).sum())
        # Three standard deviations of the number, and a hundredth for what the tables do not know.
        assert abs(truth[here].sum() - got[here].sum()) < 3 * spread + 0.02 * here.sum()


def test_objects_without_limits_or_detections_get_zero(rng):
    curves = random_batch(rng)
    ((_, counts),) = count_limits(curves, [SAME])
    density = fit_limit_density(counts, np.eye(3)[np.arange(len(counts)) % 3], GRID)
    got = log_likelihood(counts, density)
    assert (got[depth_counts(counts).sum(axis=(1, 2, 3)) == 0] == 0).all()
    assert (got <= 0).all()
    assert (got >= np.log(density.tail) * depth_counts(counts).sum(axis=(1, 2, 3))[:, None] - 1e-4).all()


def test_refused():
    curves = batch([("a", "g", 59000.0, 19.0, True)])
    fluxes = LightCurves(**(curves.__dict__ | {"quantity": "flux"}))
    with pytest.raises(ValueError, match="negative ones included"):
        next(count_limits(fluxes, [SAME]))
    with pytest.raises(ValueError, match="must be of kind 'limits'"):
        next(count_limits(curves, [Stream("p", "pairs", ("S/g", "S/g"))]))
    with pytest.raises(ValueError, match="count_limits"):
        next(count_events(curves, [SAME]))
    with pytest.raises(ValueError, match="nightly is set"):
        Stream("l", "limits", ("S/g", "S/g"), nightly=True)
    with pytest.raises(ValueError, match="takes 2 channel"):
        Stream("l", "limits", ("S/g",))
    with pytest.raises(ValueError, match="tail must be"):
        fit_limit_density(np.zeros((1, 16, 4, 28)), np.ones((1, 1)), GRID, tail=0.0)
    assert not SAME.trained
