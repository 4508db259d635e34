"""An expert on published light-curve features: trees whose posterior enters as virtual evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesclass.tree_ensemble import TreeEnsemble, gain_by_feature

__all__ = ["CLASSIFIERS", "FeatureExpert"]

# Share of the training frequencies in the expert's posterior: no single expert excludes a class.
FLOOR = 1e-3


def _boosting(seed: int):
    # Leaves hold some ten objects in their versions; smaller ones learn single objects.
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=150,
        learning_rate=0.04,
        l2_regularization=20.0,
        min_samples_leaf=100,
        max_leaf_nodes=8,
        max_features=0.3,
        early_stopping=False,
        random_state=seed,
    )


def _forest(seed: int):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(150, min_samples_leaf=10, n_jobs=-1, random_state=seed)


def _extra_trees(seed: int):
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(150, min_samples_leaf=10, n_jobs=-1, random_state=seed)


CLASSIFIERS = {"gradient boosting": _boosting, "random forest": _forest, "extra trees": _extra_trees}


@dataclass(frozen=True, eq=False)
class FeatureExpert:
    r"""Trees on features, as evidence :math:`l_c = \log q_c - \log q^\mathrm{train}_c`.

    Attributes
    ----------
    trees : TreeEnsemble
    log_train : ndarray, shape (n_classes,)
        Log class frequencies that the trees were grown with.
    gain : float32 array, shape (n_features,)
        Share of the splits' gain that each feature has; one in sum, zero for features left out.
    """

    trees: TreeEnsemble
    log_train: np.ndarray
    gain: np.ndarray

    @classmethod
    def fit(
        cls,
        table: np.ndarray,
        allowed: np.ndarray,
        weights: np.ndarray,
        *,
        classifier: str = "gradient boosting",
        select: int | None = None,
        seed: int = 0,
    ) -> FeatureExpert:
        """Grow trees on rows of one label; a row of several allowed classes teaches nothing here.

        Parameters
        ----------
        table : float array, shape (n, n_features)
            NaN where a feature is not defined.
        allowed : bool array, shape (n, n_classes)
        weights : float array, shape (n,)
            The versions of one object share one unit.
        classifier : {"gradient boosting", "random forest", "extra trees"}
        select : int, optional
            Keep so many features, those of the largest gain in trees on all of them, and grow anew.
        seed : int

        Raises
        ------
        ValueError
            Fewer than two classes have a light curve.
        """
        n_classes = allowed.shape[1]
        one = allowed.sum(axis=1) == 1
        label = allowed[one].argmax(axis=1)
        if len(np.unique(label)) < 2:
            raise ValueError(
                "The expert on published features needs light curves of two or more classes, found "
                f"{len(label)} labelled ones of {len(np.unique(label))}: label more, or leave [features] out "
                "of the recipe."
            )
        # Columns without any value split nothing, but scikit-learn refuses them.
        table = np.where(np.isfinite(table).any(axis=0), table, np.float32(0.0))
        # Versions of an object weigh as much as they are many: the settings count rows, not objects.
        weight = weights[one] / weights[one].mean()
        model = CLASSIFIERS[classifier](seed).fit(table[one], label, sample_weight=weight)
        gain = gain_by_feature(model, table.shape[1])
        if select is not None and select < (gain > 0).sum():
            kept = np.argsort(gain)[-select:]
            table = np.where(np.isin(np.arange(table.shape[1]), kept), table, np.float32(0.0))
            model = CLASSIFIERS[classifier](seed).fit(table[one], label, sample_weight=weight)
            gain = gain_by_feature(model, table.shape[1])
        frequency = np.bincount(label, weights[one], minlength=n_classes) + 0.5
        return cls(TreeEnsemble.from_sklearn(model, n_classes), np.log(frequency / frequency.sum()), gain)

    def evidence(self, table: np.ndarray) -> np.ndarray:
        """Log-likelihood of each class up to a constant of each row, shape (n, n_classes)."""
        posterior = self.trees.predict_proba(table)
        return np.log((1.0 - FLOOR) * posterior + FLOOR * np.exp(self.log_train)) - self.log_train
