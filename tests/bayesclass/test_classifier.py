"""The user's door: what it accepts, what it refuses, and what it says about odd objects."""

import dataclasses
import tomllib

import numpy as np
import pandas as pd
import pytest

from bayesclass.classifier import Classifier, NotFittedError, QuantityError
from bayesclass.fit_checks import FitError
from bayesclass.recipe import Recipe
from context.evidence import EvidenceError
from structurefn.light_curves import LightCurves

COLUMNS = ["object_id", "survey", "band", "mjd", "mag", "mag_err", "upper_limit"]


def rows(*points):
    return pd.DataFrame(points, columns=COLUMNS)


@pytest.fixture
def clf(tiny_classifier):
    return tiny_classifier.classifier


def valid(posterior):
    np.testing.assert_allclose(posterior.probability.sum(axis=1), 1.0, atol=1e-6)
    assert np.isfinite(posterior.probability).all()
    assert np.isfinite(posterior.draws).all()
    assert np.isfinite(posterior.conflict).all()
    assert len(posterior.to_frame()) == len(posterior)
    return posterior


def test_the_fit_counts_what_it_was_given(tiny_classifier, clf):
    summary = clf.summary
    assert summary["n_objects"] == 60  # 61 rows, one label that is not in the tree
    assert summary["n_unlabelled"] == 1
    assert summary["unmapped_labels"] == {"nova": 1}
    assert summary["n_partial_labels"] == 2
    assert summary["n_without_points"] == 1
    assert summary["class_counts"] == {"Periodic": 19, "Walk": 19, "Fading": 20}
    assert summary["log_loss"] < summary["log_loss_class_frequencies"]


def test_posterior_is_complete(tiny_classifier, clf):
    posterior = valid(clf.classify(tiny_classifier.light_curves, tiny_classifier.objects))
    assert len(posterior) == 61
    assert posterior.draws.shape == (4, 61, 3)
    assert set(posterior.reasons) == {
        *("prior", "structure function", "pair chain", "triplet chain", "magnitude", "calibration"),
        *("latitude", "host"),
    }
    lower, upper = posterior.interval
    assert (lower <= posterior.probability).all()
    assert (upper >= posterior.probability).all()
    assert (posterior.n_upper_limits > 0).any()
    truth = tiny_classifier.objects["label"].to_numpy()
    # Its own training sample, so no measure of performance.
    assert (posterior.best_class == truth).mean() > 0.6
    np.testing.assert_array_equal(
        clf.predict_proba(tiny_classifier.light_curves, tiny_classifier.objects), posterior.probability
    )
    assert clf.classes_ == ("Periodic", "Walk", "Fading")


def test_odd_objects_get_a_valid_posterior_and_a_warning(clf):
    table = rows(
        ("one point", "S", "g", 59000.0, 18.0, 0.1, False),
        ("unknown band", "S", "u", 59000.0, 18.0, 0.1, False),
        ("unknown band", "S", "u", 59001.0, 18.0, 0.1, False),
        ("unknown survey", "T", "g", 59000.0, 18.0, 0.1, False),
        ("no error", "S", "g", 59000.0, 18.0, np.nan, False),
        ("only limits", "S", "g", 59000.0, 20.0, np.nan, True),
        ("only limits", "S", "r", 59001.0, 20.0, np.nan, True),
    )
    objects = pd.DataFrame(
        {
            "object_id": ["only here", "one point", "bad context"],
            "latitude": [20.0, np.nan, 120.0],
            "host": ["spiral", None, "barred"],
            "in_survey": [True, False, True],
        }
    )
    posterior = valid(clf.classify(table, objects))
    names = posterior.object_id.tolist()
    assert names == [
        "one point",
        "unknown band",
        "unknown survey",
        "no error",
        "only limits",
        "only here",
        "bad context",
    ]
    said = dict(zip(names, posterior.warnings, strict=True))
    assert said["one point"] == "one point: no pair of points; no context"
    assert "2 row(s) set aside: channel S/u not in the model" in said["unknown band"]
    assert "1 row(s) set aside: channel T/g not in the model" in said["unknown survey"]
    assert "error missing" in said["no error"]
    assert "upper limits counted, not used" in said["only limits"]
    assert said["only here"] == "no usable point: prior and context only"
    assert "latitude set aside: out of range" in said["bad context"]
    assert "host set aside: unknown category" in said["bad context"]
    for name in names[1:]:
        assert "no usable point" in said[name]
    # Where nothing is known the posterior is the model's prior: the same for all such objects.
    bare = ("unknown band", "unknown survey", "no error", "only limits", "bad context")
    nothing = [names.index(name) for name in bare]
    p = posterior.probability[nothing]
    np.testing.assert_allclose(p, np.broadcast_to(p[:1], p.shape), atol=1e-12)
    prior = posterior.reasons["prior"][0] + posterior.reasons["calibration"][0]
    np.testing.assert_allclose(p[0], np.exp(prior) / np.exp(prior).sum(), atol=1e-6)
    assert not np.allclose(posterior.probability[names.index("only here")], p[0], atol=1e-3)
    assert np.isnan(posterior.novelty[nothing]).all()
    np.testing.assert_allclose(posterior.conflict[nothing], 0.0, atol=1e-12)
    np.testing.assert_array_equal(posterior.n_upper_limits[names.index("only limits")], 2)


def test_tables_may_be_absent_or_empty(tiny_classifier, clf):
    light_curves, objects = tiny_classifier.light_curves, tiny_classifier.objects
    alone = valid(clf.classify(light_curves))
    assert all("no context: no objects' table" in text for text in alone.warnings)
    empty = valid(clf.classify(light_curves, objects.iloc[:0]))
    np.testing.assert_allclose(empty.probability, alone.probability, atol=1e-9)
    context = valid(clf.classify(None, objects))
    assert len(context) == 61
    assert all(text.startswith("no usable point") for text in context.warnings)
    assert len(valid(clf.classify(None, objects.iloc[:0]))) == 0
    assert len(clf.classify(None)) == 0
    named = pd.DataFrame({"object_id": ["o1", "x"]})
    assert "latitude not used: no column latitude" in clf.classify(None, named).warnings[1]


def test_batches_in_other_channels_are_read_again(tiny_classifier, clf):
    """A batch made without the recipe's channels gives what its table gives, warnings included."""
    table = tiny_classifier.light_curves[tiny_classifier.light_curves["object_id"].isin(["o0", "o2", "o5"])]
    table = table.assign(band=table["band"].replace({"g": "zg"}))
    extra = table.assign(band="u")
    table = pd.concat([table, extra], ignore_index=True)
    expected = clf.classify(table)
    found = clf.classify(LightCurves.from_frame(table))
    np.testing.assert_array_equal(found.probability, expected.probability)
    np.testing.assert_array_equal(found.n_detections, expected.n_detections)
    assert found.warnings == expected.warnings
    assert all("channel S/u not in the model" in text for text in found.warnings)
    turned = LightCurves.from_frame(table, channels=("S/zg", "S/r", "S/u")[::-1])
    np.testing.assert_array_equal(clf.classify(turned).probability, expected.probability)


def test_identifiers_are_text_everywhere(tiny_classifier, clf):
    table = tiny_classifier.light_curves.query("object_id in ['o0', 'o2']")
    table = table.assign(object_id=table["object_id"].str[1:].astype(int))
    objects = tiny_classifier.objects.iloc[[0, 2]].assign(object_id=[0, 2])
    posterior = clf.classify(table, objects)
    assert posterior.object_id.tolist() == ["0", "2"]
    assert all("no context" not in text for text in posterior.warnings)
    import pyarrow as pa

    arrow = clf.classify(pa.Table.from_pandas(table), pa.Table.from_pandas(objects))
    np.testing.assert_array_equal(arrow.probability, posterior.probability)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda o: o.drop(columns="object_id"), EvidenceError, "column object_id"),
        (lambda o: pd.concat([o, o.iloc[:1]]), EvidenceError, "'o0' twice"),
        (lambda o: o.assign(object_id=[None, *o["object_id"][1:]]), EvidenceError, "needs an object_id"),
        (lambda o: o.drop(columns="label"), ValueError, "takes its labels from column 'label'"),
        (lambda o: o.assign(label="quasar", note=""), FitError, r"'quasar' \(61\)"),
        (lambda o: o.iloc[:0], FitError, "no row"),
        (lambda o: o[o["label"] != "Walk"], FitError, r"Walk \(0\)"),
    ],
)
def test_unusable_objects_are_refused_in_a_sentence(tiny_classifier, spoil, error, words):
    classifier = Classifier(tiny_classifier.classifier.recipe)
    with pytest.raises(error, match=words):
        classifier.fit(tiny_classifier.light_curves, spoil(tiny_classifier.objects))
    with pytest.raises(NotFittedError):
        _ = classifier.fitted


def test_too_few_objects_or_light_curves(tiny_classifier):
    recipe = tiny_classifier.classifier.recipe
    six = tiny_classifier.objects.iloc[6:12]
    five = dataclasses.replace(recipe, fit=dataclasses.replace(recipe.fit, folds=4))
    with pytest.raises(FitError, match="at least 8 labelled objects"):
        Classifier(five).fit(tiny_classifier.light_curves, six)
    elsewhere = tiny_classifier.light_curves.assign(object_id=lambda t: "x" + t["object_id"])
    with pytest.raises(FitError, match=r"with a usable point, but there are 0 of 60.*object_id"):
        Classifier(recipe).fit(elsewhere, tiny_classifier.objects)
    first = tiny_classifier.light_curves.query("object_id == 'o0'")
    copies = pd.concat([first.assign(object_id=f"o{i}") for i in range(60)])
    with pytest.raises(FitError, match="59 of 59 labelled ones are identical"):
        Classifier(recipe).fit(copies, tiny_classifier.objects)


def test_an_unfitted_classifier_and_the_wrong_quantity(tiny_classifier):
    recipe = tiny_classifier.classifier.recipe
    with pytest.raises(NotFittedError, match="call fit"):
        Classifier(recipe).classify(tiny_classifier.light_curves)
    flux = tiny_classifier.light_curves.rename(columns={"mag": "flux", "mag_err": "flux_err"})
    with pytest.raises(QuantityError, match="takes mag, but the light curves hold flux"):
        tiny_classifier.classifier.classify(flux)
    with pytest.raises(QuantityError):
        Classifier(recipe).fit(LightCurves.from_frame(flux), tiny_classifier.objects)


def test_context_alone_and_light_curves_alone(tiny_classifier):
    data = tomllib.loads(tiny_classifier.recipe_text)
    context = Classifier(Recipe.from_dict({k: v for k, v in data.items() if k != "streams"}))
    context.fit(tiny_classifier.light_curves, tiny_classifier.objects)
    posterior = valid(context.classify(tiny_classifier.light_curves, tiny_classifier.objects))
    assert set(posterior.reasons) == {"prior", "calibration", "latitude", "host"}
    assert np.isnan(posterior.novelty).all()
    assert context.fitted.experts.names == ()
    streams = [stream for stream in data["streams"] if stream["kind"] == "magnitude"]
    without = {key: table for key, table in data.items() if key != "evidence"}
    alone = Classifier(Recipe.from_dict(without | {"streams": streams}))
    alone.fit(tiny_classifier.light_curves, tiny_classifier.objects)
    posterior = valid(alone.classify(tiny_classifier.light_curves, tiny_classifier.objects))
    assert set(posterior.reasons) == {"prior", "calibration", "structure function", "magnitude"}
    assert not any("no context" in text for text in posterior.warnings)


def test_the_seed_may_be_given(tiny_classifier):
    recipe = tiny_classifier.classifier.recipe
    assert Classifier(recipe, seed=9).recipe.fit.seed == 9
    assert Classifier(recipe).recipe.fit.seed == recipe.fit.seed
    assert Classifier.from_recipe("ztf-supernovae", seed=3).recipe.fit.seed == 3
