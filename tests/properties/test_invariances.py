"""What must not matter to a posterior: order, copies, company, the origin of time, other columns.

Times are float64 until each object's first one is subtracted, and counts of events are integers, so both are
equal to the last bit. What differs is the order of float32 sums in products of matrices of another shape,
some 1e-6 in log-probabilities of a few nats; hence the tolerance of 1e-5 in probability.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayesclass.classifier import Classifier

ATOL = 1e-5
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def sample(tiny_classifier):
    """Twelve of the objects, with the posterior that every test compares with."""
    table, objects = tiny_classifier.light_curves, tiny_classifier.objects.iloc[:12]
    light_curves = table[table["object_id"].isin(objects["object_id"])].reset_index(drop=True)
    classifier = tiny_classifier.classifier
    return classifier, light_curves, objects, classifier.classify(light_curves, objects)


def same(found, expected, atol=ATOL):
    order = [found.position(name) for name in expected.object_id]
    np.testing.assert_allclose(found.probability[order], expected.probability, atol=atol)
    np.testing.assert_allclose(found.draws[:, order], expected.draws, atol=atol)
    np.testing.assert_array_equal(found.n_detections[order], expected.n_detections)
    np.testing.assert_allclose(found.novelty[order], expected.novelty, atol=0.011)  # two levels of 201
    np.testing.assert_allclose(found.conflict[order], expected.conflict, atol=1e-4)


@FEW
@given(seed=st.integers(0, 1000))
def test_order_of_rows_and_of_objects(sample, seed):
    classifier, light_curves, objects, expected = sample
    found = classifier.classify(
        light_curves.sample(frac=1, random_state=seed), objects.sample(frac=1, random_state=seed + 1)
    )
    same(found, expected)


@FEW
@given(seed=st.integers(0, 1000), share=st.floats(0.01, 1.0))
def test_exact_duplicates_of_rows(sample, seed, share):
    classifier, light_curves, objects, expected = sample
    copies = light_curves.sample(frac=share, random_state=seed)
    found = classifier.classify(pd.concat([light_curves, copies, copies]), objects)
    same(found, expected)
    for name, said in zip(found.object_id, found.warnings, strict=True):
        assert ("exact duplicate" in said) == (name in set(copies["object_id"]))


def test_company_and_padding(sample):
    """An object alone, and beside one of 700 points, which pads the batch to another length."""
    classifier, light_curves, objects, expected = sample
    for name in expected.object_id[:4]:
        alone = classifier.classify(light_curves.query("object_id == @name"), objects)
        order = [alone.position(name)]
        np.testing.assert_allclose(
            alone.probability[order], expected.probability[expected.position(name)][None], atol=ATOL
        )
    rng = np.random.default_rng(1)
    long = pd.DataFrame(
        {
            "object_id": "long",
            "survey": "S",
            "band": rng.choice(["g", "r"], 700),
            "mjd": 58000 + rng.uniform(0, 900, 700),
            "mag": rng.normal(17, 0.3, 700),
            "mag_err": 0.1,
            "upper_limit": False,
        }
    )
    same(classifier.classify(pd.concat([long, light_curves]), objects), expected)


@pytest.mark.parametrize("shift", [1.0, -1000.0, 0.125, 30000.0])
def test_a_constant_shift_of_time(sample, shift):
    """Shifts that a float64 MJD holds to 1e-11 day: no lag of the sample lies so close to an edge."""
    classifier, light_curves, objects, expected = sample
    same(classifier.classify(light_curves.assign(mjd=light_curves["mjd"] + shift), objects), expected)


def test_columns_that_the_recipe_does_not_name(sample):
    classifier, light_curves, objects, expected = sample
    found = classifier.classify(
        light_curves.assign(airmass=1.3, note="clouds", pid=range(len(light_curves))),
        objects.assign(label="Walk", spec_redshift=0.1, comment=None, ra=400.0),
    )
    same(found, expected, atol=1e-12)
    assert found.warnings == expected.warnings
    same(classifier.classify(light_curves, objects.drop(columns=["label", "note"])), expected, atol=1e-12)


def test_aliases_and_types_of_columns(sample):
    classifier, light_curves, objects, expected = sample
    table = light_curves.assign(
        band=light_curves["band"].replace({"g": "zg"}).astype("category"),
        object_id=light_curves["object_id"].astype("category"),
        upper_limit=light_curves["upper_limit"].astype(int),
    )
    same(classifier.classify(table, objects.astype({"host": "category"})), expected, atol=1e-12)


@FEW
@given(seed=st.integers(0, 1000))
def test_probabilities_sum_to_one_whatever_the_values(sample, seed):
    classifier, light_curves, objects, _ = sample
    rng = np.random.default_rng(seed)
    n = len(light_curves)
    wild = light_curves.assign(
        mag=rng.uniform(0, 30, n),
        mag_err=10 ** rng.uniform(-6, 3, n),
        mjd=59000 + 10 ** rng.uniform(-6, 4, n),
    )
    odd = objects.assign(
        latitude=rng.choice([0.0, 90.0, -1.0, np.inf, np.nan, 45.0], len(objects)),
        host=rng.choice(["spiral", "elliptical", "", "??"], len(objects)),
    )
    posterior = classifier.classify(wild, odd)
    np.testing.assert_allclose(posterior.probability.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(posterior.draws.sum(axis=2), 1.0, atol=1e-5)
    assert posterior.prediction_set.any(axis=1).all()


def test_the_order_of_rows_changes_no_fit(tiny_classifier):
    shuffled = Classifier(tiny_classifier.classifier.recipe).fit(
        tiny_classifier.light_curves.sample(frac=1, random_state=4),
        tiny_classifier.objects.sample(frac=1, random_state=5),
    )
    arguments = tiny_classifier.light_curves, tiny_classifier.objects
    expected = tiny_classifier.classifier.predict_proba(*arguments)
    np.testing.assert_allclose(shuffled.predict_proba(*arguments), expected, atol=ATOL)
    assert shuffled.summary == tiny_classifier.classifier.summary
