"""What held-out objects got in the cross-fitting, and honest probabilities of the training sample from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bayesclass.calibration import ConformalSets
from bayesclass.experts import FEATURES
from bayesclass.pool import Pool
from bayesclass.representation import GENERATIVE
from bayesclass.training import CONTEXT

__all__ = ["EXPECTED_WEIGHTS", "Rehearsal", "evidence_rows", "fit_pool", "probabilities"]

# Where the pool's weights are expected before data: densities tell something of a few points, and hand over
# to the trained expert as points become many.
EXPECTED_WEIGHTS = {name: (np.log(0.5), -1.0) for name in GENERATIVE.values()}


class Rehearsal(NamedTuple):
    """What held-out objects got in the cross-fitting; m versions of n objects.

    Attributes
    ----------
    evidence, sizes : dict
        Expert -> log-likelihoods, shape (m, n_leaves), and points or events behind them, shape (m,).
    owner, fold : int array, shape (m,)
        The object of each version, and the fold that it was held out with.
    length : int array, shape (m,)
        0 for full curves, -1 for versions that taught, else the points that a curve was thinned to.
    n_detections : int array, shape (m,)
    allowed, weights
        Allowed leaves, shape (m, n_leaves), and weights in the pool's fit, shape (m,), zero for those that
        only rehearsed.
    """

    evidence: dict[str, np.ndarray]
    sizes: dict[str, np.ndarray]
    owner: np.ndarray
    fold: np.ndarray
    length: np.ndarray
    n_detections: np.ndarray
    allowed: np.ndarray
    weights: np.ndarray

    def probability(self, experts: Sequence[str], log_prior: np.ndarray) -> np.ndarray:
        """Probabilities of all versions by some of the experts, shape (m, n_leaves).

        The pool's weights and biases come from the folds that a version is not in, so that nothing but the
        kernel's axes and landmarks, which use no label, has seen it.
        """
        out = np.zeros(self.allowed.shape)
        for fold in np.unique(self.fold):
            pool = self._pool(experts, (self.fold != fold) & (self.weights > 0), log_prior)
            test = self.fold == fold
            out[test] = probabilities(pool.terms(*self._part(experts, test)))
        return out

    def prediction_sets(self, p: np.ndarray) -> np.ndarray:
        """Prediction sets of all versions, thresholds from the folds that they are not in, as p is shaped."""
        single, y = self.allowed.sum(axis=1) == 1, self.allowed.argmax(axis=1)
        held = np.zeros(p.shape, dtype=bool)
        for fold in np.unique(self.fold):
            train, test = (self.fold != fold) & (self.weights > 0) & single, self.fold == fold
            sets = ConformalSets.fit(
                p[train], y[train], n_points=self.n_detections[train], weights=self.weights[train]
            )
            held[test] = sets.apply(p[test], self.n_detections[test])
        return held

    def _part(self, experts, rows):
        return tuple({name: values[name][rows] for name in experts} for values in (self.evidence, self.sizes))

    def _pool(self, experts, rows, log_prior):
        evidence, sizes = self._part(experts, rows)
        return fit_pool(evidence, sizes, self.allowed[rows], self.weights[rows], log_prior, n_draws=0)


def evidence_rows(experts: Sequence[str]) -> dict[str, list[str]]:
    """Kinds of evidence, alone and together, and the experts behind each."""
    curve = [name for name in experts if name not in (CONTEXT, FEATURES)]
    rows = {
        "context": [CONTEXT],
        "structure function": curve,
        "structure function + context": [*curve, CONTEXT],
        "features": [FEATURES],
        "features + context": [FEATURES, CONTEXT],
        "structure function + features": [*curve, FEATURES],
        "all": list(experts),
    }
    return {name: own for name, own in rows.items() if own and set(own) <= set(experts)}


def fit_pool(evidence, sizes, allowed, weights, log_prior, *, n_draws: int, seed: int = 0) -> Pool:
    """Fit the pool with the weights that are expected before data; see `Pool.fit`."""
    return Pool.fit(
        evidence, sizes, allowed, weights, log_prior, expected=EXPECTED_WEIGHTS, n_draws=n_draws, seed=seed
    )


def probabilities(terms: dict[str, np.ndarray]) -> np.ndarray:
    """Class probabilities, the normalised exponential of the sum of terms."""
    log_joint = sum(terms.values())
    probability = np.exp(log_joint - log_joint.max(axis=-1, keepdims=True))
    return probability / probability.sum(axis=-1, keepdims=True)
