"""Ragged batches to counts: each object alone, numpy sums and the full list of pairs are the oracles."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structurefn import counting
from structurefn.counting import count_events
from structurefn.lag_strata import EXACT, NEAREST, PairList, pair_list
from structurefn.light_curves import LightCurves
from structurefn.maps import stream_map
from structurefn.nightly import nightly_means
from structurefn.padding import BLOCK_ROWS, LANES
from structurefn.streams import KINDS, Stream

CHANNELS = ("S/g", "S/r")


def sample(rng, sizes=(40, 0, 1, 17, 70, 2, 5), limits=0.2):
    owner = np.repeat(np.arange(len(sizes)), sizes)
    n = len(owner)
    limit = rng.random(n) < limits
    night = rng.integers(0, 60, n)
    frame = pd.DataFrame(
        {
            "object_id": np.array([f"o{i}" for i in owner]),
            "survey": "S",
            "band": rng.choice(["g", "r"], n),
            "mjd": 59000.0 + night + rng.integers(0, 4, n) / 64,
            "mag": np.round((18 + rng.normal(size=n)) * 64) / 64,
            "mag_err": np.where(limit, np.nan, rng.integers(2, 30, n) / 64),
            "upper_limit": limit,
        }
    )
    names = [f"o{i}" for i in range(len(sizes))]
    return LightCurves.from_frame(frame, channels=CHANNELS, object_ids=names)


def alone(light_curves, i, stream):
    """Counts of one object of the batch, from its detections in the stream's channels and nothing else."""
    one = light_curves.take_objects([i])
    one = one.keep_points(~one.upper_limit & np.isin(np.array(CHANNELS)[one.channel], stream.channels))
    ((_, counts),) = count_events(one, [stream])
    return counts[0]


@pytest.mark.parametrize("nightly", [False, True])
def test_batches_equal_single_objects(rng, nightly):
    light_curves = sample(rng)
    streams = [
        Stream("g-r", "pairs", CHANNELS, nightly=nightly),
        Stream("chain", "adjacent", ("S/r",), nightly=nightly),
        Stream("level", "level", ("S/g",), nightly=nightly),
    ]
    found = dict(count_events(light_curves, streams, night=0.5))
    source = nightly_means(light_curves, 0.5) if nightly else light_curves
    single = [Stream(s.name, s.kind, s.channels) for s in streams]
    assert list(found) == ["g-r", "chain", "level"]
    for stream in single:
        assert found[stream.name].shape == (light_curves.n_objects, *stream.grid.shape)
        for i in range(light_curves.n_objects):
            np.testing.assert_array_equal(found[stream.name][i], alone(source, i, stream))


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    offset=st.integers(-8, 8),
    seed=st.integers(0, 2**16),
)
def test_order_company_and_offset_change_no_pairs(sizes, offset, seed):
    rng = np.random.default_rng(seed)
    light_curves = sample(rng, sizes)
    stream = Stream("g-r", "pairs", CHANNELS)
    ((_, counts),) = count_events(light_curves, [stream])
    chosen = rng.permutation(len(sizes))[: rng.integers(1, len(sizes) + 1)]
    ((_, part),) = count_events(light_curves.take_objects(chosen), [stream])
    np.testing.assert_array_equal(part, counts[chosen])
    light_curves.value[:] += offset
    light_curves.time[:] -= offset
    ((_, moved),) = count_events(light_curves, [stream])
    np.testing.assert_array_equal(moved, counts)


def test_totals_of_each_kind(rng):
    light_curves = sample(rng)
    seen = light_curves.keep_points(~light_curves.upper_limit)
    ends = pairwise(seen.offset)
    g, r = np.array([np.bincount(seen.channel[a:b], minlength=2) for a, b in ends]).T
    streams = [Stream(kind, kind, ("S/g",) * KINDS[kind][1]) for kind in KINDS if KINDS[kind][0]]
    streams.append(Stream("r-g", "pairs", ("S/r", "S/g")))
    streams.append(Stream("g-r", "pairs", ("S/g", "S/r")))
    streams.append(Stream("colour", "cross-peak", ("S/g", "S/r")))
    total = {name: counts.sum(axis=(1, 2, 3)) for name, counts in count_events(light_curves, streams)}
    np.testing.assert_array_equal(total["pairs"], g * (g - 1) / 2)
    np.testing.assert_array_equal(total["scaled-pairs"], g * (g - 1) / 2)
    np.testing.assert_array_equal(total["adjacent"], np.maximum(g - 1, 0))
    np.testing.assert_array_equal(total["triplets"], np.maximum(g - 2, 0))
    np.testing.assert_array_equal(total["peak"], np.maximum(g - 1, 0))
    np.testing.assert_array_equal(total["cross-peak"], np.maximum(g - 1, 0))
    np.testing.assert_array_equal(total["colour"], np.where(g > 0, r, 0))
    for kind in ("level", "scaled-level", "magnitude"):
        np.testing.assert_array_equal(total[kind], g)
    np.testing.assert_array_equal(total["r-g"] + total["g-r"], g * r)


def test_order_of_objects_and_an_absent_channel(rng):
    light_curves = sample(rng)
    streams = [Stream("g-r", "pairs", CHANNELS), Stream("p", "pairs", ("T/z", "S/g"))]
    streams.append(Stream("none", "adjacent", ("T/z",)))
    counts = dict(count_events(light_curves, streams))
    back = np.arange(light_curves.n_objects)[::-1]
    reverse = dict(count_events(light_curves.take_objects(back), streams))
    np.testing.assert_array_equal(reverse["g-r"], counts["g-r"][back])
    assert not counts["none"].any()
    assert not counts["p"].any()


def test_no_object_at_all():
    stream = Stream("chain", "adjacent", ("S/g",))
    counts = dict(count_events(LightCurves.empty(CHANNELS, "mag"), [stream], night=0.5))
    assert counts["chain"].shape == (0, *stream.grid.shape)


def curve(time, rng):
    """One object of channel S/g at the given times, a random walk with errors."""
    n = len(time)
    return LightCurves(
        object_id=np.array(["o"]),
        offset=np.array([0, n]),
        time=np.asarray(time),
        value=18 + np.cumsum(rng.normal(0, 0.05, n)) + rng.normal(0, 0.1, n),
        error=rng.uniform(0.05, 0.2, n),
        channel=np.zeros(n, np.int16),
        upper_limit=np.zeros(n, bool),
        channels=CHANNELS,
        quantity="mag",
        set_aside=pd.DataFrame({"object_id": [], "reason": [], "rows": []}),
    )


def bursts(n, rng):
    """Four exposures within half an hour, then weeks."""
    night = np.cumsum(rng.exponential(14.0, -(-n // 4)))
    return (night[:, None] + np.arange(4) * 0.007).ravel()[:n]


CADENCES = {
    "uniform": lambda n, rng: np.sort(rng.uniform(0, 2500, n)),
    "regular": lambda n, rng: np.arange(n) * 3.0,
    "bursts": bursts,
}


def all_pairs(n):
    return np.triu_indices(n, 1)


def every_pair(n):
    earlier, later = (index.astype(np.int32) for index in all_pairs(n))
    return PairList(earlier, later, np.ones(len(later), np.float32))


@pytest.mark.parametrize("n", [0, 1, 2, 77, EXACT])
def test_short_light_curves_have_all_pairs(n):
    pairs = pair_list(n)
    assert set(zip(pairs.earlier.tolist(), pairs.later.tolist(), strict=True)) == set(
        zip(*(x.tolist() for x in all_pairs(n)), strict=True)
    )
    assert (pairs.weight == 1).all()
    assert len(pairs.later) == n * (n - 1) // 2


@pytest.mark.parametrize("n", [129, 200, 1000, 2500])
def test_pairs_of_long_light_curves_stand_for_all(n):
    earlier, later, weight = pair_list(n)
    assert earlier.min() >= 0
    assert (earlier < later).all()
    assert len(np.unique(later.astype(np.int64) * n + earlier)) == len(later)
    # Every point's pairs stand for as many as there are points before it.
    np.testing.assert_array_equal(np.bincount(later, weight, n), np.arange(n))
    near = (later < EXACT) | (later - earlier <= NEAREST)
    assert near.sum() == sum(j if j < EXACT else NEAREST for j in range(n))
    assert (weight[near] == 1).all()
    # The list of fewer points is its beginning.
    for part, longer in zip(pair_list(n - 1), (earlier, later, weight), strict=True):
        np.testing.assert_array_equal(part, longer[: len(part)])
    assert len(later) < EXACT**2 / 2 + 60 * (n - EXACT)


@pytest.mark.parametrize("cadence", CADENCES)
@pytest.mark.parametrize("n", [200, 1000])
def test_lag_bins_keep_their_totals(cadence, n, rng):
    """Within 3 % where a bin has a hundredth of the pairs, and within half a hundredth of all pairs."""
    time = CADENCES[cadence](n, rng)
    edges = KINDS["pairs"][3].lag_edges[1:-1]
    i, j = all_pairs(n)
    full = np.bincount(np.searchsorted(edges, time[j] - time[i], side="right"), minlength=12)
    ((_, counts),) = count_events(curve(time, rng), [Stream("pairs", "pairs", ("S/g", "S/g"))])
    found = counts[0].sum(axis=(1, 2), dtype=np.float64)
    assert found.sum() == n * (n - 1) / 2
    np.testing.assert_allclose(found, full, atol=0.005 * full.sum())
    many = full >= 0.01 * full.sum()
    np.testing.assert_allclose(found[many], full[many], rtol=0.03)


@pytest.mark.parametrize("cadence", CADENCES)
def test_maps_of_sampled_and_of_all_pairs_are_alike(cadence, rng, monkeypatch):
    stream = Stream("pairs", "pairs", ("S/g", "S/g"))
    light_curves = curve(CADENCES[cadence](400, rng), rng)
    found = [dict(count_events(light_curves, [stream]))["pairs"]]
    monkeypatch.setattr(counting, "pair_list", every_pair)
    found.append(dict(count_events(light_curves, [stream]))["pairs"])
    assert found[0].sum() == found[1].sum()
    assert not np.array_equal(*found)
    one, two = (stream_map(counts, stream.grid)[0] for counts in found)
    assert one @ two / np.sqrt((one @ one) * (two @ two)) > 0.995


def test_more_points_than_a_block_has_rows(rng):
    """One object longer than a block, with more pairs than one call of the kernel takes."""
    n = 1500
    assert n > BLOCK_ROWS
    assert len(pair_list(n).later) > counting.CHUNK
    ((_, counts),) = count_events(
        curve(np.sort(rng.uniform(0, 2500, n)), rng), [Stream("pairs", "pairs", ("S/g", "S/g"))]
    )
    assert counts.sum(dtype=np.float64) == n * (n - 1) / 2


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_of_events_on_the_host_and_on_a_device(weighted, rng):
    """Both ways against numpy, whatever device there is; spare cells are left out."""
    n_cells = 1000
    parts = [rng.integers(0, n_cells + LANES, (size, LANES)).astype(np.int32) for size in (300, 200)]
    weight = rng.integers(0, 50, 500).astype(np.float32) if weighted else None
    every = np.repeat(weight, LANES) if weighted else None
    expected = np.bincount(np.concatenate(parts).ravel(), every, n_cells + LANES)[:n_cells]
    cells = [jnp.asarray(part) for part in parts]
    for found in (
        counting.sum_events(cells, weight, n_cells),
        counting.sum_on_host(parts, weight, n_cells),
        counting.sum_on_device(cells, weight, n_cells),
    ):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_errors_of_the_worker_reach_the_caller(rng):
    if "limits" in KINDS:
        with pytest.raises(ValueError, match="has no kernel"):
            list(count_events(sample(rng), [Stream("x", "limits", CHANNELS)]))
