"""Forecasts against loops, against the exact predictive distribution, and what must hold of any of them."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from structurefn.forecast import Forecast, Forecaster
from structurefn.forecast_fit import N_HISTORY, gather
from structurefn.forecast_pool import CELL_EDGES, History, add_noise, cell_masses, pool, single_points
from structurefn.forecast_tables import PAIR_GRID, chain_log_likelihood
from structurefn.light_curves import LightCurves
from structurefn.response import mean_normal_cdf

CHANNELS = ("S/g", "S/r")
COLOUR, NOISE = 0.4, 0.08


def curves(rng, n_objects, first=0):
    """Half the objects steady, half damped random walks around 18 mag; r is .4 mag brighter than g."""
    frames = []
    for i in range(first, first + n_objects):
        n = rng.integers(8, 20)
        time = np.sort(rng.uniform(0, 100, n))
        red = rng.random(n) < 0.5
        change = np.zeros(n)
        if i % 2:
            lag = np.abs(time[:, None] - time)
            change = np.linalg.cholesky(0.25 * np.exp(-lag / 40.0) + 1e-9 * np.eye(n)) @ rng.normal(size=n)
        mag = 18.0 + change - COLOUR * red + NOISE * rng.normal(size=n)
        frames.append(
            pd.DataFrame(
                {
                    "object_id": f"o{i}",
                    "survey": "S",
                    "band": np.where(red, "r", "g"),
                    "mjd": 59000.0 + time,
                    "mag": mag,
                    "mag_err": NOISE,
                    "upper_limit": False,
                }
            )
        )
    return LightCurves.from_frame(pd.concat(frames), channels=CHANNELS)


@pytest.fixture(scope="module")
def forecaster():
    light_curves = curves(np.random.default_rng(1), 60)
    return Forecaster.fit(light_curves, np.eye(2)[np.arange(60) % 2], levels=2)


@pytest.fixture(scope="module")
def fresh():
    return curves(np.random.default_rng(2), 40, first=1000)


def test_cells_are_the_integral_of_the_noise(rng):
    edges = PAIR_GRID.column_edges
    probability = rng.dirichlet(np.full(PAIR_GRID.n_columns, 0.3), (4, 3))
    x = CELL_EDGES - rng.normal(0, 2, (4, 1))
    for error in (1e-3, 0.05, 0.6):
        below = mean_normal_cdf(edges[:-1], edges[1:], x[:, :, None], error)
        below[:, 0], below[:, -1] = 0.0, 1.0
        expected = np.diff(np.einsum("ngj,nsj->nsg", below, probability))
        arguments = (jnp.asarray(a, jnp.float32) for a in (probability, edges, x, np.full(4, error)))
        found = np.asarray(cell_masses(*arguments))
        # float32, with densities of up to 50 a magnitude.
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(found.sum(axis=-1), 1.0, atol=1e-6)


def test_noise_widens_and_keeps_the_sum():
    spike = np.zeros((1, 1, len(CELL_EDGES) - 1), dtype=np.float32)
    spike[0, 0, len(CELL_EDGES) // 2] = 1.0
    for error in (0.05, 0.3):
        noisy = np.asarray(add_noise(jnp.asarray(spike), jnp.asarray([error], jnp.float32)))[0, 0]
        below = np.cumsum(noisy)[:-1]
        np.testing.assert_allclose(below, norm.cdf(CELL_EDGES[1:-1], 0.0045, error), atol=0.01)
        assert noisy.sum() == pytest.approx(1.0, abs=1e-6)


def random_history(rng, n, k, n_tables=4):
    return History(
        value=rng.normal(0, 0.5, (n, k)),
        error=rng.uniform(0.02, 0.3, (n, k)),
        lag=rng.exponential(20, (n, k)),
        rank=np.tile(np.arange(k), (n, 1)).astype(float),
        other=rng.random((n, k)) < 0.4,
        trend=np.tile(np.arange(k) == k - 1, (n, 1)),
        table=rng.integers(0, n_tables, (n, k)),
        row=rng.uniform(0, PAIR_GRID.n_rows - 1, (n, k)),
        valid=rng.random((n, k)) < 0.8,
    )


def as_jax(history):
    kinds = {"f": jnp.float32, "i": jnp.int32, "b": bool}
    return History(*(jnp.asarray(leaf, kinds[leaf.dtype.kind]) for leaf in history))


def test_single_points_and_their_pool_are_a_loop(rng):
    n, k, s = 3, 4, 2
    history = random_history(rng, n, k)
    tables = rng.dirichlet(np.full(PAIR_GRID.n_columns, 0.3), (4, PAIR_GRID.n_rows, s))
    theta = {name: rng.normal(0, 0.5) for name in ("rank", "lag", "other", "trend", "trend_lag", "beside")}
    theta |= {"prior": -0.5, "prior_rank": 0.3, "evidence": 0.0, "total": rng.normal(0, 0.3, 2)}
    prior = np.log(rng.dirichlet(np.ones(240), (n, s)) / np.diff(CELL_EDGES))
    edges, width = PAIR_GRID.column_edges, np.diff(CELL_EDGES)
    singles = np.empty((n, k, s, 240))
    expected = np.empty((n, s, 240))
    for i in range(n):
        log_density = np.zeros((s, 240))
        n_points = np.sum(history.valid[i] & ~history.trend[i])
        beside = theta["beside"] if (history.valid[i] & history.trend[i]).any() else 0.0
        for j in range(k):
            low = int(history.row[i, j])
            part = history.row[i, j] - low
            table = tables[history.table[i, j]]
            true = (1 - part) * table[low] + part * table[low + 1]
            x = CELL_EDGES - history.value[i, j]
            below = mean_normal_cdf(edges[:-1], edges[1:], x[:, None], history.error[i, j])
            below[0], below[-1] = 0.0, 1.0
            mass = 0.99 * np.diff(true @ below.T) + 0.01 / 240
            singles[i, j] = np.log(mass / width)
            if not history.valid[i, j]:
                continue
            for level in range(s):
                log_weight = theta["total"][level] - theta["rank"] * np.log1p(history.rank[i, j]) + beside
                log_weight += -theta["lag"] * np.log1p(history.lag[i, j])
                log_weight += theta["other"] * history.other[i, j]
                if history.trend[i, j]:
                    log_weight = theta["trend"] - theta["trend_lag"] * np.log1p(history.lag[i, j])
                log_density[level] += np.exp(log_weight) * singles[i, j, level]
        lean = np.exp(theta["prior"] - theta["prior_rank"] * np.log1p(n_points)) if n_points else 1.0
        mass = np.exp(log_density + lean * prior[i]) * width
        expected[i] = mass / mass.sum(axis=1, keepdims=True)
    found = single_points(as_jax(history), jnp.asarray(tables, jnp.float32), jnp.asarray(edges, jnp.float32))
    # Cells without any probability but the share spread over all: float32 of one in 1e5.
    np.testing.assert_allclose(np.asarray(found), singles, atol=0.02)
    theta = {name: jnp.asarray(x, jnp.float32) for name, x in theta.items()}
    pooled = pool(theta, as_jax(history), found, jnp.asarray(prior, jnp.float32), jnp.arange(s))
    np.testing.assert_allclose(np.asarray(pooled), expected, atol=2e-4)


def test_history_is_gathered_as_a_loop_would(forecaster, fresh):
    rng = np.random.default_rng(3)
    owner = rng.integers(0, fresh.n_objects, 50)
    time = 59000.0 + rng.uniform(-5, 110, 50)
    point = rng.integers(0, fresh.n_points, 10)
    # At the time of a point itself, the point is no history.
    owner, time = np.append(owner, fresh.object_index[point]), np.append(time, fresh.time[point])
    channel = rng.integers(0, 2, len(owner))
    rows = gather(fresh, forecaster.tables, owner, time, channel, True)
    for i in range(len(owner)):
        own = np.flatnonzero(fresh.object_index == owner[i])
        before, after = own[fresh.time[own] < time[i]][::-1], own[fresh.time[own] > time[i]]
        assert rows.last[i] == (before[0] if len(before) else -1)
        valid = rows.history.valid[i]
        assert valid[:N_HISTORY].sum() == len(before)
        assert valid[N_HISTORY : 2 * N_HISTORY].sum() == len(after)
        same = before[fresh.channel[before] == channel[i]]
        assert valid[-1] == (len(same) >= 2)
        everything = np.concatenate([before, after])
        got = np.flatnonzero(valid[:-1])
        values = rows.history.value[i, got] + rows.reference[i]
        np.testing.assert_allclose(values, fresh.value[everything], atol=1e-5)
        np.testing.assert_allclose(rows.history.lag[i, got], abs(fresh.time[everything] - time[i]), atol=1e-4)
        np.testing.assert_array_equal(rows.history.other[i, got], fresh.channel[everything] != channel[i])
        table = fresh.channel[everything] * 2 + channel[i] + 4 * (np.arange(len(everything)) >= len(before))
        np.testing.assert_array_equal(rows.history.table[i, got], table)


def test_chain_is_a_loop(forecaster, fresh):
    found = chain_log_likelihood(fresh, forecaster.tables)
    i = 5
    a, b = fresh.offset[i : i + 2]
    total = np.zeros(found.shape[1])
    bins = np.geomspace(*PAIR_GRID.error_range, PAIR_GRID.n_errors + 1)
    for k in range(a, b):
        if k > a:
            lag, change = fresh.time[k] - fresh.time[k - 1], fresh.value[k] - fresh.value[k - 1]
            error = np.hypot(fresh.error[k], fresh.error[k - 1])
            row, size = (np.searchsorted(e[1:-1], x) for e, x in ((PAIR_GRID.lag_edges, lag), (bins, error)))
            column = np.searchsorted(PAIR_GRID.column_edges[1:-1], change)
            pair = 2 * fresh.channel[k - 1] + fresh.channel[k]
            total = total + forecaster.tables.observed[pair, row, size, column]
        np.testing.assert_allclose(found[k], total, atol=1e-8)


def exact_one_step(light_curves, steady):
    """Mean and width of each point given those before it under the process that made it."""
    mean, width = np.empty(light_curves.n_points), np.empty(light_curves.n_points)
    for i in range(light_curves.n_objects):
        a, b = light_curves.offset[i : i + 2]
        level = 18.0 - COLOUR * (light_curves.channel[a:b] == 1)
        time, value = light_curves.time[a:b], light_curves.value[a:b] - level
        signal = 0.0 if steady[i] else 0.25 * np.exp(-np.abs(time[:, None] - time) / 40.0)
        covariance = signal + NOISE**2 * np.eye(b - a)
        for k in range(b - a):
            gain = np.linalg.solve(covariance[:k, :k], covariance[:k, k])
            mean[a + k] = level[k] + gain @ value[:k]
            width[a + k] = np.sqrt(covariance[k, k] - gain @ covariance[:k, k])
    return mean, width


def test_near_the_exact_predictive_distribution(forecaster, fresh):
    steady = np.arange(fresh.n_objects) % 2 == 0
    points, by_class = forecaster.one_step_ahead(fresh)
    owner = points.object_index
    forecast = by_class.of_class(1 - steady[owner].astype(int))
    mean, width = exact_one_step(points, steady)
    exact = norm.logpdf(points.value, mean, width)
    lost = exact - forecast.log_density(points.value)
    later = np.arange(points.n_points) > points.offset[owner] + 2
    # The pool knows neither the process nor that all objects are at 18 mag but through its tables.
    assert lost[later & steady[owner]].mean() < 0.25
    assert lost[later & ~steady[owner]].mean() < 0.25
    centre = np.abs(forecast.cdf(points.value) - 0.5)[later]
    # 400 points, many of few objects; and the pool is a little too wide for the steady ones.
    assert 0.4 < np.mean(centre < 0.25) < 0.66
    assert 0.82 < np.mean(centre < 0.45) < 0.98
    wrong = by_class.of_class(steady[owner].astype(int)).log_density(points.value)
    assert (forecast.log_density(points.value) - wrong)[later].mean() > 0.2


def test_one_step_ahead_is_the_forecast_from_the_points_before(forecaster, fresh):
    three = fresh.take_objects([3, 8, 4])
    points, found = forecaster.one_step_ahead(three, class_probability=[0.3, 0.7])
    chosen = points.offset[:-1] + 4
    cut = points.keep_points(np.arange(points.n_points) < chosen[points.object_index])
    names = [CHANNELS[k] for k in points.channel[chosen]]
    expected = forecaster.predict(cut, points.time[chosen], names, error=NOISE, class_probability=[0.3, 0.7])
    np.testing.assert_allclose(found.probability[chosen], expected.probability, atol=1e-6)
    np.testing.assert_allclose(found.edges[chosen], expected.edges)
    # With the points after it as well, the points before are the same.
    uncut = forecaster.predict(three, points.time[chosen], names, error=NOISE, class_probability=[0.3, 0.7])
    np.testing.assert_allclose(uncut.probability, expected.probability, atol=1e-6)
    several = forecaster.over_times(three.take_objects([1]), points.time[chosen[1]] + [0.0, 5.0], names[1])
    one = forecaster.predict(three, points.time[chosen], names)
    np.testing.assert_allclose(several.probability[0], one.probability[1], atol=1e-6)


def test_points_on_both_sides_say_more(forecaster, fresh):
    time = np.full(fresh.n_objects, 59050.0)
    walks = fresh.take_objects(np.arange(1, fresh.n_objects, 2))
    time = time[: walks.n_objects]
    earlier, both = (forecaster.predict(walks, time, "S/g", later=x).of_class(1) for x in (False, True))
    width = [np.diff(f.quantile([0.05, 0.95]), axis=1).mean() for f in (earlier, both)]
    assert width[1] < width[0]
    before = forecaster.predict(walks, 58990.0, "S/g", later=True).of_class(1)
    nothing = forecaster.predict(walks, 58990.0, "S/g").of_class(1)
    first = walks.value[walks.offset[:-1]]
    assert np.abs(before.mean() - first).mean() < np.abs(nothing.mean() - first).mean()


def test_without_history_it_is_the_magnitude_of_the_class(forecaster):
    nobody = LightCurves.empty(CHANNELS, "mag").with_objects(["x"])
    forecast = forecaster.predict(nobody, 59000.0, "S/r", error=0.0)
    tables = forecaster.tables
    levels = tables.level.shape[1]
    for k in range(2):
        mass = tables.level[k] @ tables.magnitude[1].reshape(2, levels, -1)[k]
        below = np.interp(18.0, tables.magnitude_edges, np.concatenate([[0], np.cumsum(mass)]))
        found = forecast.cdf(18.0)[0, k]
        # One part in a hundred is spread over all cells.
        assert found == pytest.approx(below, abs=0.012)
    assert forecast.quantile(0.5)[0] == pytest.approx([17.6, 17.6], abs=0.2)
    # A steady object that is seen in g is .4 mag brighter in r.
    seen = LightCurves.from_frame(
        pd.DataFrame(
            {
                "object_id": "x",
                "survey": "S",
                "band": "g",
                "mjd": [59000.0, 59001.0, 59003.0],
                "mag": 18.2,
                "mag_err": 0.05,
            }
        ),
        channels=CHANNELS,
    )
    assert forecaster.predict(seen, 59004.0, "S/r").quantile(0.5)[0, 0] == pytest.approx(17.8, abs=0.1)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whatever_the_history_it_is_a_distribution(forecaster, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 30))
    frame = pd.DataFrame(
        {
            "object_id": rng.choice(["a", "b", "c"], n),
            "survey": "S",
            "band": rng.choice(["g", "r", "z"], n),
            "mjd": 59000.0 + rng.integers(0, 20, n) / 2,
            "mag": rng.uniform(5, 30, n),
            "mag_err": 10 ** rng.uniform(-4, 1.5, n),
            "upper_limit": rng.random(n) < 0.2,
        }
    )
    channels = (*CHANNELS, "S/z")
    batch = LightCurves.empty(channels, "mag").with_objects(["a", "b", "c"])
    if n:
        batch = LightCurves.from_frame(frame, channels=channels, object_ids=["a", "b", "c"])
    forecast = forecaster.predict(
        batch, 59000.0 + rng.uniform(-1, 12, 3), "S/r", error=10 ** rng.uniform(-4, 1, 3)
    )
    assert forecast.probability.shape == (3, 2, len(CELL_EDGES) - 1)
    assert (forecast.probability >= 0).all()
    np.testing.assert_allclose(forecast.probability.sum(axis=-1), 1.0, atol=1e-12)
    mixed = forecast.mixed([1.0, 3.0])
    np.testing.assert_allclose(mixed.probability.sum(axis=-1), 1.0, atol=1e-12)
    q = np.array([0.02, 0.5, 0.9])
    for k, x in enumerate(mixed.quantile(q).T):
        np.testing.assert_allclose(mixed.cdf(x), q[k], atol=1e-9)
        np.testing.assert_allclose(mixed.fainter_than(x), 1 - q[k], atol=1e-9)
    # Another order of objects, and points that are not used, change nothing.
    alone = batch.keep_points(~batch.upper_limit & (batch.channel < 2)).take_objects([2])
    time = rng.uniform(0, 12) + 59000.0
    together = forecaster.predict(batch, time, "S/g").probability[2]
    np.testing.assert_allclose(forecaster.predict(alone, time, "S/g").probability[0], together, atol=1e-6)


def test_forecast_methods_by_hand():
    edges = np.array([[10.0, 11.0, 13.0], [0.0, 1.0, 2.0]])
    forecast = Forecast(edges, np.array([[[0.5, 0.5], [1.0, 0.0]], [[0.25, 0.75], [0.0, 1.0]]]))
    np.testing.assert_allclose(forecast.cdf(12.0)[0], [0.75, 1.0])
    np.testing.assert_allclose(forecast.cdf([10.5, 1.5]), [[0.25, 0.5], [0.625, 0.5]])
    np.testing.assert_allclose(forecast.fainter_than([10.5, 1.5]), [[0.75, 0.5], [0.375, 0.5]])
    np.testing.assert_allclose(forecast.mean(), [[11.25, 10.5], [1.25, 1.5]])
    np.testing.assert_allclose(forecast.quantile(0.75), [[12.0, 10.75], [4 / 3 + 1 / 3, 1.75]])
    assert forecast.quantile([0.1, 0.9]).shape == (2, 2, 2)
    np.testing.assert_allclose(np.exp(forecast.log_density([12.0, 0.5])), [[0.25, 0.0], [0.25, 0.0]])
    mixed = forecast.mixed([[1.0, 1.0], [0.0, 2.0]])
    np.testing.assert_allclose(mixed.probability, [[0.75, 0.25], [0.0, 1.0]])
    np.testing.assert_allclose(forecast.of_class([0, 1]).probability, [[0.5, 0.5], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"shape \(2, 2\) or \(2,\).*class_probability.shape=\(3,\)"):
        forecast.mixed([1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="positive sum"):
        forecast.mixed([0.0, 0.0])
    with pytest.raises(ValueError, match="can be mixed"):
        mixed.mixed([0.5, 0.5])
    with pytest.raises(ValueError, match="has classes"):
        mixed.of_class(0)
    with pytest.raises(ValueError, match=r"q must be between 0 and 1.*0.5 is the median"):
        forecast.quantile([0.5, 1.5])


def test_partial_membership_groups_nights_and_a_sample_too_small_for_weights(rng):
    light_curves = curves(rng, 9)
    share = np.full((9, 2), 0.5)
    share[5] = 0.0
    options = {"levels": 1, "groups": [0, 0, 1, 1, 2, 2, 3, 3, 3], "night": 3.0, "max_objects": 7}
    forecaster = Forecaster.fit(light_curves, share, **options)
    assert forecaster.n_objects == 7
    # Nobody belongs to one class alone, so the weights stay where they start.
    assert forecaster.weights["rank"] == pytest.approx(1.0)
    points, forecast = forecaster.one_step_ahead(light_curves)
    assert points.n_points < light_curves.n_points
    assert len(forecast.edges) == points.n_points
    # A night that is cut by the time of the forecast holds no later exposure.
    middle = light_curves.time[light_curves.offset[:-1] + 4]
    cut = light_curves.keep_points(light_curves.time < middle[light_curves.object_index])
    found, expected = (forecaster.predict(x, middle, "S/g").probability for x in (light_curves, cut))
    np.testing.assert_array_equal(found, expected)
    nobody = forecaster.predict(light_curves.take_objects(slice(0, 0)), 59000.0, "S/g")
    assert nobody.quantile([0.1, 0.9]).shape == (0, 2, 2)
    np.testing.assert_allclose(forecast.probability[:, 0], forecast.probability[:, 1], atol=1e-6)


def test_what_can_not_be_forecast_is_refused(forecaster, fresh):
    with pytest.raises(ValueError, match="convert them with as_magnitudes"):
        forecaster.predict(replace(fresh, quantity="flux"), 59000.0, "S/g")
    with pytest.raises(ValueError, match=r"channel must be one of .*S/g.*'S/z'.*fit on"):
        forecaster.predict(fresh, 59000.0, "S/z")
    with pytest.raises(ValueError, match=r"time must be finite, one number or 40"):
        forecaster.predict(fresh, [59000.0, 59001.0], "S/g")
    with pytest.raises(ValueError, match="error must not be negative"):
        forecaster.predict(fresh, 59000.0, "S/g", error=-0.1)
    with pytest.raises(ValueError, match="over_times takes one object, but 40"):
        forecaster.over_times(fresh, [59000.0], "S/g")
    with pytest.raises(ValueError, match=r"membership must be \(40, classes\)"):
        Forecaster.fit(fresh, np.ones(40))
    with pytest.raises(ValueError, match="levels and max_objects must be at least 1"):
        Forecaster.fit(fresh, np.ones((40, 1)), levels=0)
    with pytest.raises(ValueError, match="groups must have one entry"):
        Forecaster.fit(fresh, np.ones((40, 1)), groups=[1])
    with pytest.raises(ValueError, match=r"learned from detections.*none was found"):
        Forecaster.fit(fresh.keep_points(fresh.time < 0), np.ones((40, 1)))
