from dataclasses import replace

import numpy as np
import pytest

from bayesclass import Classifier
from bayesclass.feature_expert import CLASSIFIERS, FeatureExpert
from bayesclass.recipe import FeatureSpec, Recipe, RecipeError


def sample(rng, n=1200):
    label = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    table = rng.normal(size=(n, 4)) + np.eye(3, 4)[label] * 2.0
    return table.astype(np.float32), label


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_evidence_is_the_posterior_over_the_training_frequencies(classifier):
    rng = np.random.default_rng(0)
    table, label = sample(rng)
    allowed = np.eye(3, dtype=bool)[label]
    expert = FeatureExpert.fit(table, allowed, np.ones(len(label)), classifier=classifier)
    fresh, truth = sample(rng, 4000)
    evidence = expert.evidence(fresh)
    # Exactly right values are known: unit Gaussians, two apart.
    exact = 2.0 * fresh[:, :3] + np.log([0.6, 0.3, 0.1])
    exact -= np.logaddexp.reduce(exact, axis=1, keepdims=True)
    posterior = evidence + expert.log_train
    posterior -= np.logaddexp.reduce(posterior, axis=1, keepdims=True)
    right = np.arange(len(truth)), truth
    assert -posterior[right].mean() < -exact[right].mean() + 0.2
    assert np.exp(expert.log_train) == pytest.approx([0.6, 0.3, 0.1], abs=0.05)
    assert np.isfinite(evidence).all()


def test_a_weight_is_as_many_rows():
    rng = np.random.default_rng(1)
    table, label = sample(rng, 400)
    allowed, weights = np.eye(3, dtype=bool)[label], np.where(label == 2, 3.0, 1.0)
    expert = FeatureExpert.fit(table, allowed, weights, classifier="gradient boosting")
    shares = np.bincount(label, weights) + 0.5
    assert np.exp(expert.log_train) == pytest.approx(shares / shares.sum())


def test_partial_labels_teach_nothing_and_absent_classes_stay_possible():
    rng = np.random.default_rng(2)
    table, label = sample(rng, 500)
    allowed = np.eye(4, dtype=bool)[label]
    partial = np.ones((50, 4), dtype=bool)
    more = rng.normal(size=(50, 4)).astype(np.float32)
    alone = FeatureExpert.fit(table, allowed, np.ones(500))
    both = FeatureExpert.fit(np.vstack([table, more]), np.vstack([allowed, partial]), np.ones(550))
    assert np.array_equal(alone.evidence(table), both.evidence(table))
    assert np.isfinite(alone.evidence(table)).all()


def test_a_recipe_with_features_is_fitted_stored_and_explained(tiny_classifier, tmp_path):
    plain = tiny_classifier.classifier.recipe
    wanted = FeatureSpec(classifier="extra trees", period=True)
    recipe = Recipe.from_dict(replace(plain, features=wanted).to_dict())
    assert recipe.features == wanted
    classifier = Classifier(recipe).fit(tiny_classifier.light_curves, tiny_classifier.objects)
    posterior = classifier.classify(tiny_classifier.light_curves, tiny_classifier.objects)
    assert "features" in posterior.reasons
    assert "features" in posterior.light_curve_pieces
    unseen = posterior.n_detections == 0
    assert unseen.any()
    assert not posterior.reasons["features"][unseen].any()
    assert np.abs(posterior.reasons["features"][~unseen]).max() > 0.01
    classifier.save(tmp_path / "model")
    back = Classifier.load(tmp_path / "model")
    again = back.classify(tiny_classifier.light_curves, tiny_classifier.objects)
    assert again.probability == pytest.approx(posterior.probability, abs=0.02)
    assert again.reasons["features"] == pytest.approx(posterior.reasons["features"], abs=1e-4)
    assert "features" not in tiny_classifier.classifier.fitted.pool.experts


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"classifier": "svm"}, "features.classifier must be"),
        ({"period": 1}, "features.period must be true or false"),
        ({"periods": True}, "did you mean period"),
    ],
)
def test_bad_tables_are_refused(tiny_classifier, table, message):
    written = tiny_classifier.classifier.recipe.to_dict()
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict({**written, "features": table})


def test_columns_without_values_split_nothing_and_one_class_is_refused():
    rng = np.random.default_rng(3)
    table, label = sample(rng, 300)
    allowed = np.eye(3, dtype=bool)[label]
    wide = np.column_stack([table, np.full(300, np.nan, np.float32)])
    found = FeatureExpert.fit(wide, allowed, np.ones(300)).evidence(wide)
    assert np.isfinite(found).all()
    with pytest.raises(ValueError, match="two or more classes, found 0 labelled ones of 0"):
        FeatureExpert.fit(table, np.ones((300, 3), dtype=bool), np.ones(300))


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_features_that_matter_are_told_and_kept(classifier):
    rng = np.random.default_rng(3)
    table, label = sample(rng)
    noise = rng.normal(size=(len(label), 20)).astype(np.float32)
    table = np.column_stack([noise, table])
    allowed = np.eye(3, dtype=bool)[label]
    expert = FeatureExpert.fit(table, allowed, np.ones(len(label)), classifier=classifier)
    assert expert.gain.sum() == pytest.approx(1.0, abs=1e-5)
    assert set(np.argsort(-expert.gain)[:3]) == {20, 21, 22}
    few = FeatureExpert.fit(table, allowed, np.ones(len(label)), classifier=classifier, select=3)
    assert set(np.flatnonzero(few.gain)) == {20, 21, 22}
    # What was left out has no say.
    other = table.copy()
    other[:, :20] = rng.normal(size=noise.shape)
    assert np.array_equal(few.evidence(other), few.evidence(table))
