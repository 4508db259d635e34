"""Counts brought up to date point by point against counts from scratch."""

import doctest

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structurefn import online
from structurefn.counting import count_events
from structurefn.light_curves import LightCurves
from structurefn.online import OnlineCounts
from structurefn.streams import KINDS, Stream

CHANNELS = ("S/r", "S/g", "T/i")
NIGHT = 0.3


def every_kind():
    streams = []
    for kind, (kernel, n_channels, _, _) in KINDS.items():
        if kernel is None:
            continue
        for nightly in (False, True):
            streams.append(Stream(f"{kind} {nightly}", kind, ("S/g",) * n_channels, nightly=nightly))
            if n_channels == 2:
                streams.append(Stream(f"{kind} g r {nightly}", kind, ("S/g", "S/r"), nightly=nightly))
                streams.append(Stream(f"{kind} z {nightly}", kind, ("S/g", "U/z"), nightly=nightly))
    return streams


STREAMS = every_kind()
PAIRS = [stream for stream in STREAMS if stream.kind.endswith("pairs")]


def from_scratch(points, streams=STREAMS):
    """By the table, so that sorting and repeated points are the reader's."""
    table = pd.DataFrame(points, columns=["mjd", "mag", "mag_err", "channel"])
    table[["survey", "band"]] = table["channel"].str.split("/", expand=True)
    batch = LightCurves.from_frame(table.assign(object_id="o"), channels=CHANNELS)
    return {name: counts[0] for name, counts in count_events(batch, streams, night=NIGHT)}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, counts in expected.items():
        np.testing.assert_array_equal(found[name], counts, err_msg=name)


# Multiples of 1/64 are exact in float32, so that no rounding decides about a cell; times and points repeat.
POINT = st.tuples(
    st.integers(0, 640).map(lambda k: 59000.0 + k / 64),
    st.integers(-128, 128).map(lambda k: 18.0 + k / 64),
    st.integers(1, 30).map(lambda k: k / 64),
    st.sampled_from(CHANNELS),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(POINT, min_size=1, max_size=25), st.booleans())
def test_any_points_in_any_order_are_as_from_scratch(points, in_order):
    points = sorted(points, key=lambda p: p[0]) if in_order else points
    counts = OnlineCounts(STREAMS, CHANNELS, night=NIGHT)
    for point in points:
        counts.add(*point)
    assert_same(counts.counts(), from_scratch(points))


def burst(rng, n):
    """Exposures in bursts in two or three channels, as surveys take them."""
    night = np.cumsum(rng.integers(1, 4, n))[np.arange(n) // 4]
    time = 59000.0 + night + rng.integers(0, 12, n) / 64
    value, error = 18 + rng.integers(-64, 64, n) / 64, rng.integers(2, 30, n) / 64
    channel = np.array(CHANNELS)[rng.choice(3, n, p=[0.45, 0.45, 0.1])]
    return sorted(zip(time.tolist(), value.tolist(), error.tolist(), channel.tolist(), strict=True))


def test_every_step_of_a_long_curve_with_bursts(rng):
    points = burst(rng, 180)
    counts = OnlineCounts(PAIRS, CHANNELS, night=NIGHT)
    for i, point in enumerate(points):
        assert counts.add(*point)
        # From 128 points on, a sample of the pairs is counted.
        if i % 17 == 0 or i > 176:
            assert_same(counts.counts(), from_scratch(points[: i + 1], PAIRS))
    assert counts.n_points == 180
    early = (59000.5, 17.0, 0.125, "S/g")
    counts.add(*early)
    assert_same(counts.counts(), from_scratch([*points, early], PAIRS))


def test_points_at_the_end_and_within_are_not_counted_anew(rng, monkeypatch):
    points = burst(rng, 60)
    first, middle = points[:2], points[30]
    counts = OnlineCounts([s for s in PAIRS if not s.nightly], CHANNELS, night=NIGHT)
    for point in first:
        counts.add(*point)
    before = {stream.name for stream in counts.streams}
    monkeypatch.setattr(online, "count_events", lambda batch, streams, night: [])
    started_over = []
    monkeypatch.setattr(OnlineCounts, "_start_over", lambda self, stream: started_over.append(stream.name))
    for point in points[2:30] + points[31:] + [middle]:
        counts.add(*point)
    monkeypatch.undo()
    # A selection's own first point may come after another's: only then are its few points counted anew.
    assert len(started_over) <= len(before)
    untouched = [s for s in counts.streams if s.name not in started_over]
    found = counts.counts()
    expected = from_scratch(points, untouched)
    assert_same({s.name: found[s.name] for s in untouched}, expected)
    assert untouched


def test_a_known_point_changes_nothing_and_the_larger_error_stays():
    counts = OnlineCounts(STREAMS, CHANNELS, night=NIGHT)
    a, b = (59000.0, 18.0, 0.125, "S/g"), (59002.0, 18.5, 0.25, "S/g")
    assert counts.add(*a)
    assert counts.add(*b)
    assert not counts.add(59002.0, 18.5, 0.125, "S/g")
    assert_same(counts.counts(), from_scratch([a, b]))
    assert counts.add(59002.0, 18.5, 0.5, "S/g")
    assert counts.n_points == 2
    assert_same(counts.counts(), from_scratch([a, (*b[:2], 0.5, b[3])]))


def test_what_is_returned_is_the_callers():
    counts = OnlineCounts(PAIRS, CHANNELS)
    assert not any(c.any() for c in counts.counts().values())
    counts.add(59000.0, 18.0, 0.1, "S/g")
    counts.counts()[PAIRS[0].name][:] = 7.0
    assert not counts.counts()[PAIRS[0].name].any()
    assert counts.light_curves().n_points == 1


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ((np.nan, 18.0, 0.1, "S/g"), "finite numbers and a positive error.*leave such a point out"),
        ((59000.0, np.inf, 0.1, "S/g"), "finite numbers and a positive error"),
        ((59000.0, 18.0, np.nan, "S/g"), "finite numbers and a positive error"),
        ((59000.0, 18.0, 0.0, "S/g"), "finite numbers and a positive error"),
        ((59000.0, 18.0, 0.1, "S/z"), "channel must be one of .*S/r.*'S/z'"),
    ],
)
def test_a_point_that_can_not_be_used_is_refused_and_leaves_no_trace(point, message):
    counts = OnlineCounts(PAIRS, CHANNELS)
    with pytest.raises(ValueError, match=message):
        counts.add(*point)
    assert counts.n_points == 0


def test_limits_and_contrasts_are_more_than_detections():
    for stream in (Stream("l", "limits", ("S/g", "S/r")), Stream("c", "contrast", ("S/g",))):
        with pytest.raises(ValueError, match="leave such streams out"):
            OnlineCounts([stream], CHANNELS)


def test_example():
    failed, attempted = doctest.testmod(online)
    assert attempted
    assert not failed
