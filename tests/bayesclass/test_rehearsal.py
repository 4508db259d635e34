"""Held-out evidence of the training sample, and what is made of it."""

import numpy as np
import pytest

from bayesclass import metrics
from bayesclass.fitting import fit_model
from bayesclass.rehearsal import Rehearsal, fit_pool, probabilities
from bayesclass.training import CONTEXT
from structurefn.light_curves import LightCurves


@pytest.fixture(scope="module")
def fitted(tiny_classifier):
    recipe = tiny_classifier.classifier.recipe
    objects = tiny_classifier.objects
    allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
    known = allowed.any(axis=1)
    curves = tiny_classifier.light_curves
    ids = objects.loc[known, "object_id"].astype(str).to_numpy()
    batch = LightCurves.from_frame(curves, channels=recipe.light_curves.channels, object_ids=ids)
    evidence = recipe.read_evidence(objects, object_ids=ids)
    plain = fit_model(recipe, batch, evidence, allowed[known])
    more = fit_model(recipe, batch, evidence, allowed[known], rehearse=(4,))
    return plain, more, batch


def simulated(rng, n=3000):
    """One expert that is right and one that is noise, five folds."""
    y = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    evidence = 2.0 * (rng.normal(size=(n, 3)) + 2.0 * np.eye(3)[y])
    return y, Rehearsal(
        {"right": evidence, "noise": rng.normal(size=(n, 3))},
        {"right": np.zeros(n), "noise": np.zeros(n)},
        np.arange(n),
        rng.integers(0, 5, n),
        np.zeros(n, int),
        rng.integers(1, 100, n),
        np.eye(3, dtype=bool)[y],
        np.ones(n),
    )


def test_probabilities_are_those_of_pools_of_the_other_folds():
    rng = np.random.default_rng(0)
    y, rehearsal = simulated(rng)
    log_prior = np.log([0.6, 0.3, 0.1])
    p = rehearsal.probability(["right", "noise"], log_prior)
    test = rehearsal.fold == 2
    pool = fit_pool(
        {name: values[~test] for name, values in rehearsal.evidence.items()},
        {name: values[~test] for name, values in rehearsal.sizes.items()},
        rehearsal.allowed[~test],
        rehearsal.weights[~test],
        log_prior,
        n_draws=0,
    )
    terms = pool.terms(
        {name: values[test] for name, values in rehearsal.evidence.items()},
        {name: values[test] for name, values in rehearsal.sizes.items()},
    )
    np.testing.assert_allclose(p[test], probabilities(terms), atol=1e-6)
    alone = rehearsal.probability(["noise"], log_prior)
    assert metrics.log_loss(p, y) < 0.5 * metrics.log_loss(alone, y)
    # Noise is worth nothing: its weight falls until the frequencies are left.
    assert metrics.log_loss(alone, y) == pytest.approx(-(np.exp(log_prior) * log_prior).sum(), abs=0.02)


def test_sets_cover_as_promised():
    y, rehearsal = simulated(np.random.default_rng(1), 6000)
    p = rehearsal.probability(["right"], np.log([0.6, 0.3, 0.1]))
    held = rehearsal.prediction_sets(p)
    for k in range(3):
        member = y == k
        # More where the most probable class fills an empty set.
        assert 0.9 - 5 * np.sqrt(0.09 / member.sum()) < held[member, k].mean() < 0.97


def test_curves_that_only_rehearse_teach_nothing(fitted):
    plain, more, batch = fitted
    n = batch.n_objects
    assert (more.rehearsal.length == 4).sum() == n
    extra = more.rehearsal.length == 4
    assert not more.rehearsal.weights[extra].any()
    assert more.rehearsal.n_detections[extra].max() == 4
    taught = ~extra
    assert taught.sum() == len(plain.rehearsal.length)
    for name, values in plain.rehearsal.evidence.items():
        np.testing.assert_allclose(more.rehearsal.evidence[name][taught], values, atol=0.02, err_msg=name)
    np.testing.assert_allclose(more.pool.log_weight, plain.pool.log_weight, atol=0.02)
    # Context does not depend on the light curve.
    np.testing.assert_array_equal(
        more.rehearsal.evidence[CONTEXT][extra], more.rehearsal.evidence[CONTEXT][:n]
    )
    np.testing.assert_array_equal(more.rehearsal.owner[extra], np.arange(n))
