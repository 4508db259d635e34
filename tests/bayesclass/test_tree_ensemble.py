import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression

from bayesclass.containers import pack_arrays, unpack_arrays
from bayesclass.tree_ensemble import TreeEnsemble

MODELS = (
    HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=8, random_state=0),
    RandomForestClassifier(20, min_samples_leaf=5, random_state=0),
    ExtraTreesClassifier(20, min_samples_leaf=5, random_state=0),
)


def sample(n=1500, missing=0.2):
    rng = np.random.default_rng(3)
    table = rng.normal(size=(n, 6)).astype(np.float32)
    label = (table[:, 0] + table[:, 1] * table[:, 2] > 0) + 2 * (table[:, 3] > 0.8)
    table[rng.random(table.shape) < missing] = np.nan
    return table, label


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("labels", ["four", "two", "with a gap"])
def test_equal_to_the_library_that_grew_them(model, labels):
    table, label = sample()
    label = {"four": label, "two": label % 2, "with a gap": np.where(label > 1, 3, label)}[labels]
    n_classes = 2 if labels == "two" else 5
    model.fit(table, label)
    expected = np.zeros((len(table), n_classes))
    expected[:, model.classes_] = model.predict_proba(table)
    found = TreeEnsemble.from_sklearn(model, n_classes).predict_proba(table)
    assert np.abs(found - expected).max() < 1e-5
    assert found.sum(axis=1) == pytest.approx(1.0)


def test_rows_without_any_feature():
    table, label = sample()
    model = MODELS[0].fit(table, label)
    empty = np.full((3, table.shape[1]), np.nan)
    trees = TreeEnsemble.from_sklearn(model, 4)
    assert trees.predict_proba(empty) == pytest.approx(model.predict_proba(empty), abs=1e-5)


def test_values_at_a_threshold_stay_on_their_side():
    table = np.repeat(np.linspace(0, 1, 40, dtype=np.float32), 20)[:, None]
    label = (table[:, 0] > 0.5).astype(int)
    model = RandomForestClassifier(10, random_state=1).fit(table, label)
    found = TreeEnsemble.from_sklearn(model, 2).predict_proba(table)
    assert found == pytest.approx(model.predict_proba(table), abs=1e-6)


def test_stored_and_read_back():
    table, label = sample(missing=0.0)
    trees = TreeEnsemble.from_sklearn(MODELS[1].fit(table, label), 4)
    back = TreeEnsemble.from_arrays(unpack_arrays(pack_arrays(trees.to_arrays())))
    assert np.array_equal(back.predict_proba(table), trees.predict_proba(table))


def test_other_classifiers_are_refused():
    table, label = sample(missing=0.0)
    with pytest.raises(TypeError, match="found LogisticRegression"):
        TreeEnsemble.from_sklearn(LogisticRegression().fit(table, label), 4)
