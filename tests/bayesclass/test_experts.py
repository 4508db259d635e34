"""Experts on light curves: their evidence is a sum over events that a loop finds."""

import tomllib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesclass.experts import TRAINED, LightCurveExperts
from bayesclass.recipe import Recipe, RecipeError
from bayesclass.recipe_schema import PAIR_STREAM_KINDS, STREAM_KINDS, StreamSpec
from bayesclass.representation import Described, Representation, runtime_streams
from context.evidence import EvidenceTable, State
from context.evidence_spec import Condition, EvidenceSpec
from structurefn.light_curves import LightCurves
from structurefn.likelihood import log_non_detection
from structurefn.limit_density import SOFTNESS
from structurefn.nightly import nightly_means
from structurefn.streams import KINDS


@pytest.fixture(scope="module")
def described(tiny_classifier):
    batch = LightCurves.from_frame(tiny_classifier.light_curves, channels=("S/g", "S/r"))
    return batch, tiny_classifier.classifier.fitted.representation.describe(batch)


def test_recipes_know_the_kinds_of_the_kernels():
    assert tuple(KINDS) == STREAM_KINDS
    assert tuple(kind for kind, entry in KINDS.items() if entry[1] == 2) == PAIR_STREAM_KINDS


def test_streams_of_a_recipe_are_one_for_each_channel():
    specs = (
        StreamSpec("p", "pairs", ("S/g", "S/r")),
        StreamSpec("chain", "adjacent", ("S/g", "S/r"), {"nightly": True}),
        StreamSpec("peak", "peak", ("S/r",), {"trained": False, "lag_range": [1, 50]}),
    )
    streams = runtime_streams(specs)
    assert [s.name for s in streams] == ["p", "chain S/g", "chain S/r", "peak S/r"]
    assert [s.channels for s in streams] == [("S/g", "S/r"), ("S/g",), ("S/r",), ("S/r",)]
    assert [s.trained for s in streams] == [True, False, False, False]
    assert [s.nightly for s in streams] == [False, True, True, False]
    assert streams[3].grid == replace(KINDS["peak"][3], lag_range=(1.0, 50.0))
    assert streams[0].grid == KINDS["pairs"][3]


def test_the_pair_chain_is_a_sum_over_steps(tiny_classifier, described):
    batch, seen = described
    experts = tiny_classifier.classifier.fitted.experts
    evidence, sizes = experts.evidence(seen)
    density = experts.densities["chain S/g"]
    grid = KINDS["adjacent"][3]
    errors = np.geomspace(*grid.error_range, grid.n_errors + 1)[1:-1]
    means = nightly_means(batch.keep_points(~batch.upper_limit), 0.5)
    for i in range(0, batch.n_objects, 7):
        one = means.take_objects([i])
        green = one.keep_points(one.channel == 0)
        expected = np.zeros(3)
        for k in range(green.n_points - 1):
            row = np.searchsorted(grid.lag_edges[1:-1], green.time[k + 1] - green.time[k], side="right")
            error = np.searchsorted(errors, np.hypot(green.error[k], green.error[k + 1]), side="right")
            change = green.value[k + 1] - green.value[k]
            cell = np.searchsorted(grid.column_edges[1:-1], change, side="right")
            expected += density.observed[:, row, error, cell]
        assert sizes["pair chain"][i] == max(green.n_points - 1, 0)
        # float32 sums of some ten terms of a few nats.
        np.testing.assert_allclose(evidence["pair chain"][i], expected, atol=1e-4)


def test_the_trained_expert_enters_without_its_prior(tiny_classifier, described):
    _, seen = described
    experts = tiny_classifier.classifier.fitted.experts
    evidence, sizes = experts.evidence(seen)
    assert experts.names == tuple(evidence) == (TRAINED, "pair chain", "triplet chain", "magnitude")
    posterior = np.exp(evidence[TRAINED] + experts.log_train).sum(axis=1)
    np.testing.assert_allclose(posterior, 1.0, atol=1e-5)
    np.testing.assert_array_equal(sizes[TRAINED], seen.n_detections)
    drawn = experts.evidence_draws(seen, evidence)
    assert drawn[TRAINED].shape == (4, *evidence[TRAINED].shape)
    assert drawn["pair chain"] is evidence["pair chain"]


def test_objects_without_a_point_say_nothing(tiny_classifier):
    fitted = tiny_classifier.classifier.fitted
    nothing = LightCurves.empty(("S/g", "S/r"), "mag").with_objects(["a", "b"])
    evidence, sizes = fitted.experts.evidence(fitted.representation.describe(nothing))
    for name, values in evidence.items():
        assert not values.any(), name
        assert not sizes[name].any()


def test_a_recipe_without_streams_has_no_expert():
    nothing = Described(None, {}, np.zeros(3, int))
    experts = LightCurveExperts.fit((), nothing, np.eye(3, dtype=bool), np.ones(3), np.arange(3))
    assert experts.names == ()
    assert experts.evidence(nothing) == ({}, {})
    np.testing.assert_allclose(np.exp(experts.log_train), 1 / 3)


def test_partial_labels_and_versions_share_one_unit(tiny_classifier, described):
    _, seen = described
    streams = tuple(s for s in tiny_classifier.classifier.fitted.experts.streams if s.kind == "magnitude")
    allowed = np.zeros((60, 3), bool)
    allowed[:30, 0], allowed[30:, 1] = True, True
    allowed[:10, 2] = True
    weights = np.where(np.arange(60) < 20, 0.5, 1.0)
    experts = LightCurveExperts.fit(streams, seen._replace(features=None), allowed, weights, np.arange(60))
    expected = np.array([10 * 0.25 + 10 * 0.5 + 10, 30.0, 10 * 0.25]) + 0.5
    np.testing.assert_allclose(np.exp(experts.log_train), expected / expected.sum())


def test_triplets_back_off_to_pairs_of_the_same_events(tiny_classifier, described):
    """A class without any triplet has, in every row, the table of the second lag alone."""
    _, seen = described
    experts = tiny_classifier.classifier.fitted.experts
    streams = tuple(s for s in experts.streams if s.kind == "triplets")
    (name,) = (s.name for s in streams)
    counts = dict(seen.counts)
    counts[name] = counts[name] * (np.arange(60) % 3 != 2)[:, None, None, None]
    allowed = np.eye(3, dtype=bool)[np.arange(60) % 3]
    fitted = LightCurveExperts.fit(
        streams, Described(None, counts, seen.n_detections), allowed, np.ones(60), np.arange(60)
    )
    grid = streams[0].grid
    table = fitted.densities[name].true[2].reshape(*grid.row_shape, grid.n_columns)
    # Whatever the first lag and the previous change were.
    np.testing.assert_allclose(table, np.broadcast_to(table[:1, :, :1], table.shape), atol=1e-5)
    assert np.ptp(table, axis=1).max() > 1e-3


LIMITS = """
[[streams]]
name = "limits"
kind = "limits"
channels = ["S/g", "S/g"]
[[streams]]
name = "limits r"
kind = "limits"
channels = ["S/r", "S/g"]
lag_range = [1, 100]
"""


def rise_or_steady(rng, n_objects=300):
    """Seven detections of each, and limits before: deep before a rise, shallow of steady sources."""
    rows, labels = [], np.arange(n_objects) % 2
    for i, label in enumerate(labels):
        later = np.cumsum(rng.uniform(2, 9, 6))
        rows += [(f"o{i}", "g", 59010.0 + t, 18.0 + 0.05 * rng.normal(), False) for t in (0, *later)]
        for _ in range(i // 2 % 4):
            depth = rng.uniform(0.3, 2.5) if label else rng.uniform(-0.5, 0.0)
            rows.append((f"o{i}", "g", 59010.0 - rng.uniform(2, 9), 18.0 + depth, True))
    frame = pd.DataFrame(rows, columns=["object_id", "band", "mjd", "mag", "upper_limit"])
    frame = frame.assign(survey="S", mag_err=np.where(frame["upper_limit"], np.nan, 0.05))
    return LightCurves.from_frame(frame, channels=("S/g", "S/r")), labels


def test_upper_limits_are_an_expert_that_is_not_trained(tiny_classifier, rng):
    recipe = Recipe.from_dict(tomllib.loads(tiny_classifier.recipe_text + LIMITS))
    streams = tuple(s for s in runtime_streams(recipe.streams) if s.kind == "limits")
    assert [(s.name, s.channels, s.trained) for s in streams] == [
        ("limits", ("S/g", "S/g"), False),
        ("limits r", ("S/r", "S/g"), False),
    ]
    assert streams[1].grid == replace(KINDS["limits"][3], lag_range=(1.0, 100.0))
    curves, labels = rise_or_steady(rng)
    n = len(labels)
    representation, seen = Representation.fit(streams, curves, np.ones(n))
    assert seen.features is None
    allowed = np.eye(2, dtype=bool)[labels]
    experts = LightCurveExperts.fit(streams, seen, allowed, np.ones(n), np.arange(n))
    assert experts.names == ("upper limits",)
    evidence, sizes = experts.evidence(seen)
    got = evidence["upper limits"]
    # At most one limit a row, and none of an object without limits.
    assert (sizes["upper limits"] <= curves.n_upper_limits).all()
    np.testing.assert_array_equal(sizes["upper limits"] > 0, curves.n_upper_limits > 0)
    assert (got[curves.n_upper_limits == 0] == 0).all()
    gain = (got[:, 1] - got[:, 0])[curves.n_upper_limits > 0]
    rose = labels[curves.n_upper_limits > 0] == 1
    # Shallow limits say little, deep ones much.
    assert (gain[rose] > 0).mean() > 0.95
    assert np.median(gain[rose]) > 1.0 > 5 * np.median(gain[~rose])
    # The same sum over an object's limits, with the exact depth in place of its cell.
    density = experts.densities["limits"]
    for i in np.flatnonzero(curves.n_upper_limits == 1)[:20]:
        one = curves.take_objects([i])
        depth = (one.value[one.upper_limit] - one.value[~one.upper_limit][0])[0]
        lag = 59010.0 - one.time[one.upper_limit][0]
        row = 7 - np.searchsorted(np.geomspace(*streams[0].grid.lag_range, 9)[1:-1], lag, side="right")
        edges = streams[0].grid.column_edges
        exact = np.exp(log_non_detection(density, [row], [depth], [SOFTNESS], column_edges=edges)[0])
        # A cell is up to .6 mag wide here, and the tail differs by its share of 0.02.
        np.testing.assert_allclose(np.exp(got[i]), exact, atol=0.35)
    again, same = experts.evidence(representation.describe(curves.take_objects(np.arange(n)[::-1])))
    np.testing.assert_array_equal(again["upper limits"][::-1], got)
    np.testing.assert_array_equal(same["upper limits"][::-1], sizes["upper limits"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lag_range = [1, 100]", "trained = true", "trained"),
        ("lag_range = [1, 100]", "nightly = true", "nightly"),
        ('["S/r", "S/g"]\nlag', '["S/g"]\nlag', "must be two channels"),
        ('quantity = "mag"', 'quantity = "flux"', "of fluxes the negative ones"),
    ],
)
def test_recipes_with_limits_that_cannot_be(tiny_classifier, old, new, message):
    text = tiny_classifier.recipe_text + LIMITS
    assert old in text
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict(tomllib.loads(text.replace(old, new)))


def contrast_sample(n=40):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "object_id": np.repeat([f"o{i}" for i in range(n)], 6),
            "survey": "S",
            "band": "r",
            "mjd": np.tile(59000.0 + np.arange(6), n),
            "mag": np.repeat(rng.uniform(15, 20, n), 6) + rng.normal(0, 0.1, 6 * n),
            "mag_err": 0.1,
        }
    )
    curves = LightCurves.from_frame(frame)
    archive = np.where(np.arange(n) % 4 == 0, np.nan, rng.uniform(15, 21, n))
    covered = np.where(np.arange(n) % 8 == 0, "no", "yes")
    objects = pd.DataFrame({"object_id": curves.object_id, "archive": archive, "seen": covered})
    spec = EvidenceSpec(
        name="archive", kind="continuous", unit="mag", column="archive", covered=Condition("seen", "yes")
    )
    streams = runtime_streams(
        (
            StreamSpec("level", "scaled-level", ("S/r",), {"weight": 2.0}),
            StreamSpec("contrast", "contrast", ("S/r",), {"reference": "archive", "limit": 22.0}),
        )
    )
    return curves, EvidenceTable.from_frame(objects, (spec,), object_ids=curves.object_id), streams


def test_the_contrast_joins_light_curve_and_archive():
    curves, evidence, streams = contrast_sample()
    n = curves.n_objects
    representation, seen = Representation.fit(streams, curves, np.ones(n), evidence=evidence)
    np.testing.assert_allclose(representation.describe(curves, evidence).features, seen.features, atol=1e-5)
    # Without evidence an object is as one that nobody looked up.
    bare = representation.describe(curves).features
    state = evidence.columns["archive"].state
    same = np.isclose(bare, seen.features, atol=1e-5).all(axis=1)
    assert same[state == State.NOT_COVERED].all()
    assert not same[state != State.NOT_COVERED].any()
    # The order of objects changes nothing.
    back = np.arange(n)[::-1]
    turned = representation.describe(curves.take_objects(back), evidence.take(back))
    np.testing.assert_allclose(turned.features, seen.features[back], atol=1e-5)


def test_the_weight_of_a_stream_scales_its_map():
    curves, evidence, streams = contrast_sample()
    representation, _ = Representation.fit(streams, curves, np.ones(curves.n_objects), evidence=evidence)
    widths = {s.name: int(np.prod(s.grid.shape)) // 2 for s in streams}
    maps, _ = representation._maps_and_counts(curves, evidence, None)
    stacked = representation._stack(dict(maps))
    norm = {}
    start = 0
    for name in maps:
        norm[name] = np.sqrt((stacked[:, start : start + widths[name]] ** 2).sum(1).mean())
        start += widths[name]
    # Mean squared norms are one over the number of streams, times the squared weight.
    np.testing.assert_allclose(norm["level S/r"], 2.0 / np.sqrt(2), rtol=1e-5)
    np.testing.assert_allclose(norm["contrast S/r"], 1.0 / np.sqrt(2), rtol=1e-5)


def test_a_systematic_error_is_as_larger_errors():
    curves, evidence, streams = contrast_sample()
    n = curves.n_objects
    _, wide = Representation.fit(streams, curves, np.ones(n), evidence=evidence, systematic=0.2)
    larger = replace(curves, error=np.hypot(curves.error, 0.2))
    _, same = Representation.fit(streams, larger, np.ones(n), evidence=evidence)
    _, plain = Representation.fit(streams, curves, np.ones(n), evidence=evidence)
    np.testing.assert_allclose(wide.features, same.features, atol=1e-6)
    assert not np.allclose(wide.features, plain.features, atol=1e-3)
