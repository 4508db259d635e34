"""Contrast to an archival magnitude: against a loop, and what counts nothing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structurefn import LightCurves, Stream, count_contrast

STREAM = Stream("contrast", "contrast", ("S/r",))


def batch(values, limits=()):
    rows = [
        {"object_id": f"o{i}", "survey": "S", "band": "r", "mjd": 59000.0 + k, "mag": v, "mag_err": 0.1}
        for i, curve in enumerate(values)
        for k, v in enumerate(curve)
    ]
    rows += [
        {"object_id": f"o{i}", "survey": "S", "band": "r", "mjd": 59500.0, "mag": v, "upper_limit": True}
        for i, v in limits
    ]
    frame = pd.DataFrame(rows).assign(upper_limit=lambda f: f.get("upper_limit", False) == True)  # noqa: E712
    return LightCurves.from_frame(frame, object_ids=[f"o{i}" for i in range(len(values))])


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.lists(st.floats(12, 22), min_size=1, max_size=5), min_size=1, max_size=4),
    reference=st.floats(12, 24),
    fainter=st.booleans(),
)
def test_each_object_is_one_event_at_its_median(values, reference, fainter):
    n = len(values)
    counts = count_contrast(batch(values), STREAM, np.full(n, reference), np.full(n, fainter))
    inner = STREAM.grid.column_edges[1:-1]
    for i, curve in enumerate(values):
        expected = np.zeros(STREAM.grid.shape)
        column = sum(float(np.median(curve)) - reference >= edge for edge in inner)
        expected[int(fainter), 0, column] = 1
        np.testing.assert_array_equal(counts[i], expected)


def test_what_is_not_known_counts_nothing():
    curves = batch([[15.0, 15.2], [16.0], [17.0]], limits=[(2, 10.0)])
    counts = count_contrast(curves, STREAM, np.array([18.0, np.nan, 20.0]), np.zeros(3, bool))
    assert counts.sum(axis=(1, 2, 3)).tolist() == [1.0, 0.0, 1.0]
    # An upper limit is no detection: the median of object 2 is that of its one detection.
    assert counts[2, 0, 0, np.searchsorted(STREAM.grid.column_edges[1:-1], -3.0, side="right")] == 1
    other = Stream("contrast", "contrast", ("S/g",))
    assert not count_contrast(curves, other, np.full(3, 18.0), np.zeros(3, bool)).any()


def test_padding_of_zero_detections():
    curves = LightCurves.empty(("S/r",), "mag").with_objects(np.array(["a", "b"]))
    assert not count_contrast(curves, STREAM, np.full(2, 18.0), np.zeros(2, bool)).any()


def test_mistakes_are_told():
    curves = batch([[15.0]])
    with pytest.raises(ValueError, match="must be of kind 'contrast', but stream 'm' is of kind 'magnitude'"):
        count_contrast(curves, Stream("m", "magnitude", ("S/r",)), np.zeros(1), np.zeros(1, bool))
    with pytest.raises(ValueError, match=r"reference.shape=\(2,\)"):
        count_contrast(curves, STREAM, np.zeros(2), np.zeros(1, bool))
    with pytest.raises(ValueError, match="has no kernel"):
        _ = STREAM.kernel
