"""Posteriors of another classifier as virtual evidence: by hand and through the recipe."""

import json

import numpy as np
import pandas as pd
import pytest

from bayesclass.context_expert import ContextExpert
from bayesclass.network import NetworkError, NetworkSpec
from bayesclass.recipe import Recipe, RecipeError
from bayesclass.virtual_posteriors import PosteriorSpec
from context.evidence import EvidenceTable

LEAVES = ("Ia", "II", "Ibc", "AGN")
OTHER = {
    "name": "other",
    "columns": {"Ia": "q_Ia", "core-collapse": "q_cc", "AGN": "q_agn"},
    "training_prior": {"Ia": 0.5, "core-collapse": 0.3, "AGN": 0.2},
}


def recipe(**changes):
    return Recipe.from_dict(
        {
            "schema": 1,
            "name": "r",
            "classes": {
                "label": "label",
                "leaves": list(LEAVES),
                "nodes": {"core-collapse": ["II", "Ibc"]},
                "labels": {},
            },
            "light_curves": {"quantity": "mag", "photometry": "total", "channels": ["S/g"]},
            "evidence": [{"name": "mag", "kind": "continuous", "column": "mag"}],
            "network": {"posteriors": [{**OTHER, **changes}]},
        }
    )


def objects(q, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(np.asarray(q, dtype=float), columns=["q_Ia", "q_cc", "q_agn"])
    frame["object_id"] = [f"o{i}" for i in range(len(frame))]
    frame["mag"] = rng.normal(18.0, 1.0, len(frame))
    return frame


def expert(made, n=80, seed=1):
    rng = np.random.default_rng(seed)
    evidence = made.read_evidence(objects(rng.dirichlet(np.ones(3), n)))
    allowed = np.eye(4, dtype=bool)[rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])]
    spec = NetworkSpec(class_states=LEAVES)
    return ContextExpert.fit(spec, evidence, allowed, posteriors=made.posteriors, n_draws=3)


ROWS = [
    [0.7, 0.2, 0.1],
    [0.5, 0.3, 0.2],
    [np.nan, 0.2, 0.1],
    [0.0, 0.0, 0.0],
    [1.4, 0.4, 0.2],
    [1.0, 0.0, 0.0],
]


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_posteriors_are_divided_by_their_prior(weight):
    made = recipe(weight=weight)
    fitted = expert(made)
    assert list(fitted.network.nodes) == ["mag"]
    table = made.read_evidence(objects(ROWS))
    pieces = fitted.contributions(table)
    assert list(pieces) == ["mag", "other"]
    expected = weight * np.log(np.array([0.7 / 0.5, 0.2 / 0.3, 0.2 / 0.3, 0.1 / 0.2]))
    np.testing.assert_allclose(pieces["other"][0], expected)
    # The prior itself says nothing; nor does a missing or an empty row, nor one with a value out of range.
    np.testing.assert_allclose(pieces["other"][1], 0.0, atol=1e-12)
    np.testing.assert_array_equal(pieces["other"][2:5], 0.0)
    assert list(table.set_aside["column"]) == ["other: Ia"]
    # A probability that was rounded to zero excludes nothing.
    np.testing.assert_allclose(pieces["other"][5, 3], weight * np.log(1e-4 / 0.2))
    total = fitted.log_likelihood(table)
    np.testing.assert_allclose(sum(pieces.values()), total, atol=1e-5)
    draws = fitted.log_likelihood_draws(table) - fitted.network.log_likelihood_draws(table)
    np.testing.assert_allclose(draws, np.broadcast_to(pieces["other"], draws.shape), atol=1e-5)


def test_posterior_with_its_own_prior_comes_back():
    """Without other evidence and with the prior it was made with, the posterior is the other tool's."""
    made = recipe()
    q = np.random.default_rng(3).dirichlet(np.ones(3), 20)
    table = made.read_evidence(objects(q)).without("mag")
    log = expert(made).log_likelihood(table) + np.log([0.5, 0.1, 0.2, 0.2])
    p = np.exp(log) / np.exp(log).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.column_stack([p[:, 0], p[:, 1] + p[:, 2], p[:, 3]]), q, rtol=1e-6)
    np.testing.assert_allclose(p[:, 1] / p[:, 2], 0.5)


def test_priors_of_the_other_tool():
    table = recipe().read_evidence(objects([[0.7, 0.2, 0.1]]))
    uniform = expert(recipe(training_prior="uniform")).contributions(table)["other"][0]
    np.testing.assert_allclose(np.exp(uniform), 3 * np.array([0.7, 0.2, 0.2, 0.1]))
    own = expert(recipe(training_prior="training"))
    ia, ii, ibc, agn = own.network.class_frequency
    expected = np.log([0.7 / ia, 0.2 / (ii + ibc), 0.2 / (ii + ibc), 0.1 / agn])
    np.testing.assert_allclose(own.contributions(table)["other"][0], expected)


def test_states_of_a_column_know_the_posteriors():
    made = recipe()
    fitted = expert(made)
    table = made.read_evidence(objects(ROWS[:2]))
    with_them, without = (
        part.state_log_likelihoods(table, "mag").log_likelihood
        for part in (fitted, ContextExpert(fitted.network))
    )
    told = fitted.contributions(table)["other"]
    np.testing.assert_allclose(with_them - without, np.broadcast_to(told, without.shape), atol=1e-5)


def test_they_are_stored_and_read_back():
    made = recipe()
    assert Recipe.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    fitted = expert(made)
    meta, arrays = fitted.to_arrays()
    again = ContextExpert.from_arrays(json.loads(json.dumps(meta)), arrays)
    table = made.read_evidence(objects(ROWS))
    np.testing.assert_array_equal(again.log_likelihood(table), fitted.log_likelihood(table))
    with pytest.raises(NetworkError, match="none named other: Ia, other: core-collapse, other: AGN"):
        again.log_likelihood(EvidenceTable.from_frame(objects(ROWS), made.evidence))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {"Ia": "a"}, "training_prior": "uniform"}, "two or more columns"),
        ({"columns": {"Ia": "a", "AGN": "b"}, "training_prior": "uniform"}, "found 'II' in 0"),
        (
            {"columns": {**OTHER["columns"], "II": "b"}, "training_prior": "uniform"},
            "found 'II' in 2",
        ),
        ({"columns": {"Ia": "a", "star": "b"}, "training_prior": "uniform"}, "no class 'star'"),
        ({"training_prior": {"Ia": 1.0}}, "number above zero for each of Ia, core-collapse, AGN"),
        ({"training_prior": "mine"}, "one of uniform, training"),
        ({"weight": -1.0}, "0 or more"),
        ({"name": "mag"}, "must differ from"),
    ],
)
def test_recipes_that_are_refused(changes, message):
    with pytest.raises(RecipeError, match=message):
        recipe(**changes)


def test_specs_that_are_refused():
    with pytest.raises(NetworkError, match="must not be negative"):
        PosteriorSpec("other", OTHER["columns"], weight=-1.0)
    with pytest.raises(NetworkError, match="one of uniform, training"):
        PosteriorSpec("other", OTHER["columns"], training_prior="mine")
