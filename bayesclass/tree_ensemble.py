"""Decision trees as plain arrays: stored without code, evaluated without the library that grew them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

__all__ = ["TreeEnsemble", "gain_by_feature"]

# Rows evaluated at a time, so that memory stays flat.
BLOCK = 1024


@dataclass(frozen=True, eq=False)
class TreeEnsemble:
    r"""A forest or boosted trees.

    A row goes left at a node where its feature is at most the threshold; missing features go where the node
    says. Boosted trees add up to log-odds, :math:`p = \mathrm{softmax}(b + \sum_t v_t)`, each tree for one
    class; trees of a forest are averaged, :math:`p = \sum_t v_t / T`.

    Attributes
    ----------
    feature : int16 array, shape (n_nodes,)
        -1 for a leaf.
    threshold : float32 array, shape (n_nodes,)
    left, right : int32 array, shape (n_nodes,)
        Nodes below, counted over all trees.
    missing_left : bool array, shape (n_nodes,)
    value : float32 array, shape (n_nodes, n_classes) of a forest, (n_nodes, 1) of boosted trees
    root : int32 array, shape (n_trees,)
    output : int16 array, shape (n_trees,)
        Class that a boosted tree speaks of; -1 for all, in a forest.
    baseline : float32 array, shape (n_classes,)
        b; zero in a forest.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    root: np.ndarray
    output: np.ndarray
    baseline: np.ndarray

    @classmethod
    def from_sklearn(cls, model, n_classes: int) -> TreeEnsemble:
        """Convert a fitted HistGradientBoostingClassifier, random forest or extra trees of scikit-learn.

        Parameters
        ----------
        model : classifier
            Its classes are integers from 0 to `n_classes` - 1, not necessarily all of them.
        n_classes : int

        Raises
        ------
        TypeError
            For any other classifier.
        """
        classes = np.asarray(model.classes_, dtype=int)
        if hasattr(model, "_predictors"):
            return _from_boosting(cls, model, classes, n_classes)
        if hasattr(model, "estimators_") and hasattr(model.estimators_[0], "tree_"):
            return _from_forest(cls, model, classes, n_classes)
        raise TypeError(
            "Only histogram gradient boosting, random forests and extra trees of scikit-learn can be kept as "
            f"arrays, found {type(model).__name__}; use one of those."
        )

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.baseline)

    def predict_proba(self, table: np.ndarray) -> np.ndarray:
        """Class probabilities.

        Parameters
        ----------
        table : float array, shape (n, n_features)
            NaN where a feature is missing.

        Returns
        -------
        float64 array, shape (n, n_classes)
        """
        out = np.empty((len(table), self.n_classes))
        for start in range(0, len(table), BLOCK):
            out[start : start + BLOCK] = self._probability(np.asarray(table[start : start + BLOCK]))
        return out

    def _probability(self, table: np.ndarray) -> np.ndarray:
        leaf = self._leaves(table)
        if self.output[0] < 0:
            return self.value[leaf].mean(axis=1, dtype=np.float64)
        raw = np.zeros((len(table), self.n_classes)) + self.baseline
        value = self.value[leaf, 0].astype(np.float64)
        for k in np.unique(self.output):
            raw[:, k] += value[:, self.output == k].sum(axis=1)
        raw = np.exp(raw - raw.max(axis=1, keepdims=True))
        return raw / raw.sum(axis=1, keepdims=True)

    def _leaves(self, table: np.ndarray) -> np.ndarray:
        """Leaf of each row in each tree, shape (n, n_trees)."""
        node = np.tile(self.root, (len(table), 1))
        row = np.arange(len(table))[:, None]
        while True:
            feature = self.feature[node]
            inner = feature >= 0
            if not inner.any():
                return node
            x = table[row, np.maximum(feature, 0)]
            left = np.where(np.isnan(x), self.missing_left[node], x <= self.threshold[node])
            node = np.where(inner, np.where(left, self.left[node], self.right[node]), node)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> TreeEnsemble:
        """Inverse of `to_arrays`."""
        return cls(**{item.name: np.asarray(arrays[item.name]) for item in fields(cls)})


def gain_by_feature(model, n_features: int) -> np.ndarray:
    """Share of the splits' gain that each feature has in a fitted classifier, shape (n_features,)."""
    if hasattr(model, "feature_importances_"):
        return np.asarray(model.feature_importances_, dtype=np.float32)
    nodes = np.concatenate([tree.nodes for step in model._predictors for tree in step])
    inner = nodes[~nodes["is_leaf"].astype(bool)]
    gain = np.bincount(inner["feature_idx"], np.maximum(inner["gain"], 0.0), minlength=n_features)
    return (gain / max(gain.sum(), 1e-300)).astype(np.float32)


def _from_boosting(cls, model, classes, n_classes):
    trees = [(k, tree.nodes) for step in model._predictors for k, tree in enumerate(step)]
    sizes = np.array([len(nodes) for _, nodes in trees])
    root = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    nodes = np.concatenate([own for _, own in trees])
    shift = np.repeat(root, sizes)
    leaf = nodes["is_leaf"].astype(bool)
    baseline = np.full(n_classes, -np.inf)
    # Of two classes the log-odds are of the second.
    binary = len(classes) == 2
    baseline[classes] = (
        [0.0, np.ravel(model._baseline_prediction)[0]] if binary else np.ravel(model._baseline_prediction)
    )
    output = np.array([classes[1] if binary else classes[k] for k, _ in trees])
    return _packed(
        cls,
        np.where(leaf, -1, nodes["feature_idx"]),
        nodes["num_threshold"],
        nodes["left"] + shift,
        nodes["right"] + shift,
        nodes["missing_go_to_left"].astype(bool),
        nodes["value"][:, None],
        root,
        output,
        baseline,
    )


def _from_forest(cls, model, classes, n_classes):
    trees = [estimator.tree_ for estimator in model.estimators_]
    sizes = np.array([tree.node_count for tree in trees])
    root = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    shift = np.repeat(root, sizes)

    def joined(name):
        return np.concatenate([getattr(tree, name) for tree in trees])

    votes = joined("value")[:, 0, :]
    value = np.zeros((len(votes), n_classes))
    value[:, classes] = votes / votes.sum(axis=1, keepdims=True)
    left = joined("children_left")
    return _packed(
        cls,
        np.where(left < 0, -1, joined("feature")),
        joined("threshold"),
        left + shift,
        joined("children_right") + shift,
        joined("missing_go_to_left").astype(bool),
        value,
        root,
        np.full(len(trees), -1),
        np.zeros(n_classes),
    )


def _packed(cls, feature, threshold, left, right, missing_left, value, root, output, baseline):
    # A leaf's pointers lead nowhere: the number of the first node does no harm.
    inner = feature >= 0
    # Thresholds lie between two values of float32: rounded down, both stay on their sides.
    low = threshold.astype(np.float32)
    low = np.where(low > threshold, np.nextafter(low, np.float32(-np.inf)), low)
    return cls(
        feature.astype(np.int16),
        low.astype(np.float32),
        np.where(inner, left, 0).astype(np.int32),
        np.where(inner, right, 0).astype(np.int32),
        missing_left,
        value.astype(np.float32),
        root.astype(np.int32),
        output.astype(np.int16),
        baseline.astype(np.float32),
    )
