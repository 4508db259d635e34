"""A fitted model to plain values and back."""

import copy
import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from bayesclass.classifier import Classifier
from bayesclass.containers import ModelError
from bayesclass.model_io import HALF, pack, unpack
from bayesclass.recipe import Recipe
from structurefn.limit_density import limit_density
from structurefn.streams import Stream


@pytest.fixture(scope="module")
def packed(tiny_classifier):
    classifier = tiny_classifier.classifier
    manifest, arrays = pack(classifier.fitted, classifier.recipe, classifier.summary)
    return json.loads(json.dumps(manifest, allow_nan=False)), arrays


def test_everything_returns(tiny_classifier, packed):
    recipe, fitted, summary = unpack(*packed)
    original = tiny_classifier.classifier
    assert recipe == original.recipe
    assert summary == original.summary
    assert fitted.experts.streams == original.fitted.experts.streams
    assert fitted.representation.scales == original.fitted.representation.scales
    assert fitted.representation.night == 0.5
    for name, density in original.fitted.experts.densities.items():
        again = fitted.experts.densities[name]
        assert (again.strength, again.tail) == (density.strength, density.tail)
        # Logarithms of probabilities that passed through float32.
        np.testing.assert_allclose(again.observed, density.observed, atol=1e-5)
    # The kernel's whitening is in the classifier's weights.
    kernel = original.fitted.representation.kernel
    features = np.random.default_rng(0).normal(size=(5, len(kernel.landmarks)))
    one = original.fitted.experts.trained.log_posterior(np.c_[features @ kernel.whitening, np.ones(5)])
    two = fitted.experts.trained.log_posterior(np.c_[features, np.ones(5)])
    np.testing.assert_allclose(two, one, atol=1e-3)
    assert fitted.representation.kernel.whitening is None
    np.testing.assert_array_equal(fitted.pool.draws, original.fitted.pool.draws)
    np.testing.assert_array_equal(fitted.sets.threshold, original.fitted.sets.threshold)
    np.testing.assert_array_equal(fitted.novelty.ranks.threshold, original.fitted.novelty.ranks.threshold)
    np.testing.assert_array_equal(fitted.novelty.odds.coefficients, original.fitted.novelty.odds.coefficients)
    # The whitening is in the axes of distances too.
    n_points = np.array([3, 5, 9, 20, 50])
    ones = np.ones(5)
    one, _ = original.fitted.novelty.distance.distances(np.c_[features @ kernel.whitening, ones], n_points)
    two, _ = fitted.novelty.distance.distances(np.c_[features, ones], n_points)
    np.testing.assert_allclose(two, one, rtol=0.02)


def test_arrays_are_small_plain_and_finite(packed):
    _, arrays = packed
    for name, values in arrays.items():
        assert values.dtype.kind in "fiub", name
        assert values.dtype == np.float16 or name.rpartition("/")[2] not in HALF or "network" in name
        if name != "novelty/threshold":
            assert np.isfinite(values[values > -np.inf]).all() or "log" in name, name


def test_saved_and_loaded_it_answers_alike(tiny_classifier, tmp_path):
    original = tiny_classifier.classifier
    original.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    one, two = (c.classify(tiny_classifier.light_curves, tiny_classifier.objects) for c in (original, loaded))
    # Half precision keeps 11 bits of basis, landmarks and draws, 5e-4 relative; the features are sums of
    # hundreds of such terms of either sign, which leaves about the same in probabilities.
    np.testing.assert_allclose(two.probability, one.probability, atol=5e-3)
    np.testing.assert_allclose(two.draws, one.draws, atol=2e-2)
    np.testing.assert_array_equal(two.prediction_set.any(1), True)
    # Half precision of axes; with so few known objects of like size, one rank is .03.
    np.testing.assert_allclose(two.novelty, one.novelty, atol=0.07)
    np.testing.assert_allclose(two.unknown, one.unknown, rtol=0.1)
    assert two.warnings == one.warnings
    loaded.save(tmp_path / "again")
    thrice = Classifier.load(tmp_path / "again").predict_proba(tiny_classifier.light_curves)
    # Densities are normalised again when they are read.
    np.testing.assert_allclose(thrice, loaded.predict_proba(tiny_classifier.light_curves), atol=1e-7)


def test_grids_are_those_of_the_fit(packed):
    manifest, arrays = copy.deepcopy(packed[0]), packed[1]
    manifest["grids"]["pairs g-g"]["lag_range"] = [0.5, 70.0]
    _, fitted, _ = unpack(manifest, arrays)
    grids = {stream.name: stream.grid for stream in fitted.representation.streams}
    assert grids["pairs g-g"].lag_range == (0.5, 70.0)
    assert grids["magnitude S/r"].column_scale == np.inf
    assert {hash(grid) for grid in grids.values()}


def test_upper_limits_return(tiny_classifier, rng):
    """Stored are the changes' distributions; the non-detections' probabilities are made of them again."""
    original = tiny_classifier.classifier
    added = '[[streams]]\nname = "limits"\nkind = "limits"\nchannels = ["S/r", "S/g"]\n'
    recipe = Recipe.from_dict(tomllib.loads(tiny_classifier.recipe_text + added))
    stream = Stream("limits", "limits", ("S/r", "S/g"))
    density = limit_density(
        rng.dirichlet(np.ones(28), size=(3, 16)), stream.grid, strength=4.0, effective_events=np.ones((3, 16))
    )
    streams = (*original.fitted.experts.streams, stream)
    experts = replace(
        original.fitted.experts,
        streams=streams,
        densities=original.fitted.experts.densities | {"limits": density},
    )
    fitted = replace(
        original.fitted,
        experts=experts,
        representation=replace(original.fitted.representation, streams=streams),
    )
    manifest, arrays = pack(fitted, recipe, original.summary)
    again = unpack(json.loads(json.dumps(manifest, allow_nan=False)), arrays)[1].experts
    assert again.streams == streams
    assert (again.densities["limits"].strength, again.densities["limits"].tail) == (4.0, density.tail)
    # Probabilities passed through float32.
    np.testing.assert_allclose(again.densities["limits"].observed, density.observed, atol=1e-6)
    np.testing.assert_array_equal(again.densities["limits"].effective_events, 1.0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda manifest, arrays: manifest.pop("pool"),
        lambda manifest, arrays: manifest.pop("recipe"),
        lambda manifest, arrays: manifest["grids"].pop("pairs g-g"),
        lambda manifest, arrays: manifest["network"].clear(),
        lambda manifest, arrays: manifest.update(kernel=3),
        lambda manifest, arrays: manifest.update(densities=None),
        lambda manifest, arrays: arrays.pop("kernel/theta"),
        lambda manifest, arrays: arrays.pop("experts/log_train"),
    ],
)
def test_a_part_that_is_missing_is_one_sentence(packed, spoil):
    manifest, arrays = copy.deepcopy(packed[0]), dict(packed[1])
    spoil(manifest, arrays)
    with pytest.raises(ValueError, match=r"fit it again|missing") as caught:
        unpack(manifest, arrays)
    assert type(caught.value).__module__.startswith(("bayesclass", "context"))


def test_the_error_is_the_storage_s_own(packed):
    with pytest.raises(ModelError, match="every part that a fit writes"):
        unpack({}, {})
