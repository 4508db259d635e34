"""Nightly means against a loop."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from structurefn.light_curves import LightCurves
from structurefn.nightly import nightly_means


def batch(rows):
    frame = pd.DataFrame(rows, columns=["object_id", "band", "mjd", "mag", "mag_err", "upper_limit"])
    return LightCurves.from_frame(frame.assign(survey="S"), channels=("S/g", "S/r"))


def by_loop(light_curves, night):
    """Expected points of each object: (time, channel, value, error, limit), sorted by time."""
    result = []
    for i in range(light_curves.n_objects):
        points = []
        for channel in range(len(light_curves.channels)):
            group = []
            for k in range(light_curves.offset[i], light_curves.offset[i + 1]):
                if light_curves.channel[k] != channel:
                    continue
                point = tuple(getattr(light_curves, n)[k] for n in ("time", "value", "error"))
                if light_curves.upper_limit[k]:
                    points.append((point[0], channel, point[1], np.nan, True))
                    continue
                if group and point[0] - group[-1][0] > night:
                    points.append(mean(group, channel))
                    group = []
                group.append(point)
            if group:
                points.append(mean(group, channel))
        result.append(sorted(points, key=lambda p: p[:3]))
    return result


def mean(group, channel):
    time, value, error = np.array(group).T
    weight = 1 / error**2
    return (
        np.average(time, weights=weight),
        channel,
        np.average(value, weights=weight),
        weight.sum() ** -0.5,
        False,
    )


row = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["g", "r"]),
    st.integers(0, 400).map(lambda k: 59000 + k / 100),
    st.integers(1500, 2000).map(lambda k: k / 100),
    st.sampled_from([0.02, 0.1, 0.5]),
    st.booleans(),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(row, min_size=1, max_size=40), st.sampled_from([0.015, 0.25, 1.0]))
def test_equals_a_loop(rows, night):
    light_curves = batch(rows)
    averaged = nightly_means(light_curves, night)
    np.testing.assert_array_equal(averaged.object_id, light_curves.object_id)
    np.testing.assert_array_equal(averaged.n_upper_limits, light_curves.n_upper_limits)
    for i, expected in enumerate(by_loop(light_curves, night)):
        one = averaged.take_objects([i])
        found = np.column_stack([one.time, one.channel, one.value, one.error, one.upper_limit])
        # Times near 6e4 days hold 1e-11 days; equal times may change places with rounding.
        order = np.lexsort((found[:, 2], found[:, 1], np.round(found[:, 0], 7)))
        expected = np.array(expected, dtype=float).reshape(-1, 5)
        wanted = np.lexsort((expected[:, 2], expected[:, 1], np.round(expected[:, 0], 7)))
        np.testing.assert_allclose(found[order], expected[wanted], rtol=1e-12, atol=1e-12)
        assert (np.diff(one.time) >= 0).all()


def test_no_night_and_no_point_change_nothing():
    light_curves = batch([("a", "g", 59000.0, 18.0, 0.1, False), ("a", "g", 59000.1, 18.2, 0.1, False)])
    assert nightly_means(light_curves, 0.0) is light_curves
    empty = LightCurves.empty(("S/g",), "mag").with_objects(["a"])
    assert nightly_means(empty, 0.5).n_objects == 1
    averaged = nightly_means(light_curves, 0.5)
    np.testing.assert_allclose([averaged.value[0], averaged.error[0]], [18.1, 0.1 / np.sqrt(2)])
