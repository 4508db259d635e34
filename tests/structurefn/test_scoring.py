"""Scoring straight from points against log_likelihood of all counts, and against a sum over pairs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structurefn import scoring
from structurefn.counting import count_events
from structurefn.light_curves import LightCurves
from structurefn.likelihood import log_likelihood
from structurefn.response import Density, response_matrix
from structurefn.scoring import stream_log_likelihood
from structurefn.streams import Stream

CHANNELS = ("S/g", "S/r")
STREAMS = (
    Stream("g-r", "pairs", CHANNELS),
    Stream("r-r", "scaled-pairs", ("S/r", "S/r")),
    Stream("chain", "adjacent", ("S/g",), nightly=True),
    Stream("magnitude", "magnitude", ("S/r",)),
)


def batch(rng, sizes):
    n = int(np.sum(sizes))
    owner = np.repeat(np.arange(len(sizes)), sizes)
    time = 59000.0 + rng.uniform(0, 300, n)
    limit = rng.random(n) < 0.1
    return LightCurves(
        object_id=np.array([f"o{i}" for i in range(len(sizes))], dtype=str),
        offset=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]),
        time=time[np.lexsort((time, owner))],
        value=rng.normal(18, 0.6, n),
        error=np.where(limit, np.nan, rng.uniform(0.03, 0.3, n)),
        channel=rng.integers(0, 2, n).astype(np.int16),
        upper_limit=limit,
        channels=CHANNELS,
        quantity="mag",
        set_aside=pd.DataFrame({"object_id": [], "reason": [], "rows": []}),
    )


def densities(rng, n_classes=3):
    made = {}
    for stream in STREAMS:
        grid = stream.grid
        true = rng.gamma(0.5, size=(n_classes, grid.n_rows, grid.n_columns)) + 1e-3
        made[stream.name] = Density.from_true(true, response_matrix(grid.column_edges, grid.error_centres))
    return made


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_scores_are_the_likelihood_of_all_counts(block, rng):
    sizes = [0, 1, 2, 40, 150, 3, 9, 30]
    light_curves, tables = batch(rng, sizes), densities(rng)
    weights = {"g-r": rng.uniform(0, 1, len(sizes)), "magnitude": rng.uniform(0, 1, len(sizes))}
    expected = sum(
        log_likelihood(counts, tables[name], weights.get(name))
        for name, counts in count_events(light_curves, STREAMS, night=0.5)
    )
    found = stream_log_likelihood(light_curves, STREAMS, tables, night=0.5, weights=weights, block=block)
    assert found.shape == (len(sizes), 3)
    assert found.dtype == np.float64
    # Sums of float32 in another order, over up to 11,000 pairs.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
    assert not found[0].any()


def test_scores_are_sums_over_pairs(rng):
    light_curves, tables = batch(rng, [25, 12]), densities(rng)
    stream = STREAMS[0]
    grid, table = stream.grid, tables["g-r"].observed
    errors = np.geomspace(*grid.error_range, grid.n_errors + 1)[1:-1]
    expected = np.zeros((2, 3))
    for i in range(2):
        own = range(light_curves.offset[i], light_curves.offset[i + 1])
        for a in own:
            for b in own[own.index(a) + 1 :]:
                if light_curves.upper_limit[[a, b]].any() or tuple(light_curves.channel[[a, b]]) != (0, 1):
                    continue
                row = np.searchsorted(grid.lag_edges[1:-1], light_curves.time[b] - light_curves.time[a])
                size = np.searchsorted(errors, np.hypot(*light_curves.error[[a, b]]))
                change = light_curves.value[b] - light_curves.value[a]
                expected[i] += table[:, row, size, np.searchsorted(grid.column_edges[1:-1], change)]
    found = stream_log_likelihood(light_curves, [stream], tables)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 20), max_size=30), seed=st.integers(0, 2**16))
def test_order_of_objects_changes_nothing(sizes, seed):
    rng = np.random.default_rng(seed)
    light_curves, tables = batch(rng, sizes), densities(rng)
    order = rng.permutation(len(sizes))
    found = stream_log_likelihood(light_curves, STREAMS, tables)
    permuted = stream_log_likelihood(light_curves.take_objects(order), STREAMS, tables, block=5)
    np.testing.assert_allclose(permuted, found[order], rtol=1e-5, atol=1e-3)


def test_all_counts_are_never_held(rng, monkeypatch):
    """Each call of log_likelihood sees a block of counts, not those of all objects."""
    seen = []

    def spy(counts, *rest):
        seen.append(len(counts))
        return log_likelihood(counts, *rest)

    monkeypatch.setattr(scoring, "log_likelihood", spy)
    light_curves = batch(rng, [12] * 3000)
    stream_log_likelihood(light_curves, STREAMS[:1], densities(rng))
    assert sum(seen) == 3000
    assert max(seen) <= 512


@pytest.mark.parametrize(
    ("streams", "change", "options", "match"),
    [
        ((), None, {}, "At least one stream"),
        (STREAMS, None, {"block": 0}, "positive block"),
        (STREAMS, "drop", {}, r"\['chain'\] have none among"),
        (STREAMS, "classes", {}, "of the same classes, but their numbers are .*'chain': 2"),
        (
            STREAMS,
            None,
            {"weights": {"g-r": np.ones(5)}},
            r"have shape \(5,\): give shape \(2,\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(streams, change, options, match, rng):
    tables = densities(rng)
    if change == "drop":
        del tables["chain"]
    if change == "classes":
        tables["chain"] = densities(rng, 2)["chain"]
    with pytest.raises(ValueError, match=match):
        stream_log_likelihood(batch(rng, [3, 4]), streams, tables, **options)
