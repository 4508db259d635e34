"""Ragged batches to counts: each object alone, without padding, is the oracle."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from structurefn.counting import count_events
from structurefn.events import Points
from structurefn.light_curves import LightCurves
from structurefn.nightly import nightly_means
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
    """Counts of one object straight from its points, in an array without padding."""
    one = light_curves.take_objects([i])
    codes = [CHANNELS.index(name) for name in stream.channels]
    keep = ~one.upper_limit & (np.isin(one.channel, codes) if stream.alone else True)
    one = one.keep_points(keep)
    if not one.n_points:
        return np.zeros(stream.grid.shape)
    points = Points(
        *(jnp.asarray(leaf[None], jnp.float32) for leaf in (one.time - one.time[0], one.value, one.error)),
        jnp.asarray(one.channel[None].astype(np.int32)),
    )
    return np.asarray(stream.kernel(points, jnp.asarray(codes, jnp.int32), grid=stream.grid))[0]


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
    assert list(found) == ["g-r", "chain", "level"]
    # Each object alone compiles anew, so three of them serve.
    for stream in streams:
        assert found[stream.name].shape == (light_curves.n_objects, *stream.grid.shape)
        for i in (1, 2, 3):
            np.testing.assert_array_equal(found[stream.name][i], alone(source, i, stream))


def test_totals_of_each_kind(rng):
    light_curves = sample(rng)
    seen = light_curves.keep_points(~light_curves.upper_limit)
    ends = pairwise(seen.offset)
    g, r = np.array([np.bincount(seen.channel[a:b], minlength=2) for a, b in ends]).T
    streams = [Stream(kind, kind, ("S/g",) * KINDS[kind][1]) for kind in KINDS]
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
