"""Pooled tables within a network: the same posterior as on their own, diagnostics, and draws on disk."""

import numpy as np
import pandas as pd
import pytest

from bayesclass import Classifier, Recipe
from bayesclass.network import BayesianNetwork, NetworkError, NetworkSpec
from bayesclass.pooling import pool_table
from bayesclass.pooling_storage import load_inference_data
from bayesclass.taxonomy import Taxonomy
from context.evidence import EvidenceSpec, EvidenceTable

LEAVES, TREE = ("Ia", "II", "AGN"), {"SN": ("Ia", "II")}
STATES, SURVEYS = ("inside", "edge", "far"), ("A", "B")
SPECS = (
    EvidenceSpec("survey", "categorical", column="survey", states=SURVEYS),
    EvidenceSpec("place", "categorical", column="place", states=STATES),
)
OPTIONS = {
    "class_states": LEAVES,
    "edges": (("survey", "place"),),
    "no_class_edge": ("survey",),
    "tree": TREE,
}


def sample(n=300):
    rng = np.random.default_rng(4)
    label = rng.choice(3, n, p=[0.5, 0.4, 0.1])
    survey = rng.choice(2, n, p=[0.8, 0.2])
    table = np.array([[0.3, 0.5, 0.2], [0.2, 0.4, 0.4], [0.9, 0.08, 0.02]])
    place = (rng.random((n, 1)) > table[label].cumsum(axis=1)).sum(axis=1).clip(0, 2)
    frame = pd.DataFrame(
        {
            "object_id": [f"o{i:03d}" for i in range(n)],
            "survey": np.array(SURVEYS)[survey],
            "place": np.array(STATES)[place],
            "label": np.array(LEAVES)[label],
        }
    )
    return frame, label, survey, place


def test_the_network_has_the_pooled_table_and_its_draws():
    frame, label, survey, place = sample()
    spec = NetworkSpec(tables={"place": "pooled"}, **OPTIONS)
    allowed = np.eye(3, dtype=bool)[label]
    network = BayesianNetwork.fit(spec, EvidenceTable.from_frame(frame, SPECS), allowed, n_draws=8)
    counts = np.zeros((3, 3, 2))
    np.add.at(counts, (place, label, survey), 1.0)
    alone = pool_table(counts, tree=Taxonomy(LEAVES, TREE, {}), seed=0)
    assert np.exp(network.parameters["place"].log_cpd) == pytest.approx(alone.table, abs=1e-6)
    drawn = np.exp([draw["place"].log_cpd for draw in network.draws])
    assert drawn.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert network.pooled["place"].groups == ("survey = A", "survey = B")
    told = network.summary["pooled"]["place"]
    assert told["r_hat"] < 1.01
    assert told["divergences"] == 0
    assert set(told["kappa"]) == {"survey = A", "survey = B", "typical", "level 1", "level 2"}


def test_a_pooled_table_needs_a_group():
    frame, label, *_ = sample(60)
    spec = NetworkSpec(class_states=LEAVES, tables={"place": "pooled"})
    with pytest.raises(NetworkError, match=r"such as the survey, as parents, found \['class'\] of 'place'"):
        BayesianNetwork.fit(
            spec, EvidenceTable.from_frame(frame, SPECS), np.eye(3, dtype=bool)[label], n_draws=1
        )


@pytest.mark.slow
def test_a_model_keeps_the_draws(tmp_path):
    frame, *_ = sample()
    recipe = Recipe.from_dict(
        {
            "schema": 1,
            "name": "places",
            "classes": {"label": "label", "leaves": list(LEAVES), "nodes": {"SN": ["Ia", "II"]}},
            "light_curves": {"quantity": "mag", "photometry": "total", "channels": ["A/g"]},
            "evidence": [
                {"name": spec.name, "kind": spec.kind, "column": spec.column, "states": list(spec.states)}
                for spec in SPECS
            ],
            "network": {
                "edges": [["survey", "place"]],
                "no_class_edge": ["survey"],
                "tables": {"place": "pooled"},
            },
            "fit": {"folds": 2, "draws": 4},
        }
    )
    classifier = Classifier(recipe).fit(None, frame)
    assert classifier.summary["place_pooling"]["divergences"] == 0
    classifier.save(tmp_path / "model")
    kept = load_inference_data(tmp_path / "model", "place")
    assert {"posterior", "sample_stats", "posterior_predictive", "observed_data"} <= set(kept.groups())
    again = Classifier.load(tmp_path / "model").classify(None, frame)
    assert again.probability == pytest.approx(classifier.classify(None, frame).probability, abs=1e-5)
