"""Experts and network fitted on some objects of a sample, and their evidence on the others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bayesclass.context_expert import ContextExpert
from bayesclass.experts import LightCurveExperts
from bayesclass.network_spec import NetworkSpec
from bayesclass.novelty_distance import ClassDistance
from bayesclass.novelty_statistic import FEWEST
from bayesclass.progress import Progress
from bayesclass.recipe_schema import FeatureSpec, MatchSpec
from bayesclass.representation import Described
from bayesclass.virtual_posteriors import PosteriorSpec
from context.evidence import EvidenceTable
from structurefn.kernel_logistic import KernelLogistic
from structurefn.streams import Stream

CONTEXT = "context"
# Candidates for the precision of the trained expert's prior.
PRECISIONS = (0.01, 0.02, 0.04)
PRECISION_FOLDS = 3
# A full curve knows most: with equal weights, curves of 100 points and more are classified worse.
FULL_WEIGHT = 4.0
# Points of the sparsest versions, from which the pool learns what context and single points are worth.
SPARSE, SPARSE_WEIGHT = (0, 1, 2), 0.5


class Sample(NamedTuple):
    """A labelled sample: n objects, each in one or several versions."""

    streams: tuple[Stream, ...]
    described: Described  # of the versions
    evidence: EvidenceTable  # of the objects
    spec: NetworkSpec
    allowed: np.ndarray  # (n, n_leaves) bool, the leaves that each label allows
    weights: np.ndarray  # (n_versions,), one unit an object
    owner: np.ndarray  # (n_versions,) int, the object of each version
    seed: int
    matches: tuple[MatchSpec, ...] = ()
    posteriors: tuple[tuple[PosteriorSpec, np.ndarray], ...] = ()
    published: FeatureSpec | None = None


class HeldOut(NamedTuple):
    """What each version got from experts that had no part of its object."""

    evidence: dict[str, np.ndarray]  # expert -> (n_versions, n_leaves) log-likelihood
    sizes: dict[str, np.ndarray]  # expert -> (n_versions,) points or events behind it
    distance: np.ndarray | None  # (n_versions, n_leaves), see `ClassDistance`; None without trained streams
    residual: np.ndarray | None  # (n_versions,)

    def first(self, n: int) -> HeldOut:
        """Only the first n versions."""
        return HeldOut(
            {name: values[:n] for name, values in self.evidence.items()},
            {name: values[:n] for name, values in self.sizes.items()},
            *(None if values is None else values[:n] for values in (self.distance, self.residual)),
        )


def version_weights(owner: np.ndarray, n_objects: int, n_points: np.ndarray | None = None) -> np.ndarray:
    """Weights of versions, one unit an object.

    The full curve counts for `FULL_WEIGHT` thinned ones, and those of the fewest points for `SPARSE_WEIGHT`.
    """
    weights = np.ones(len(owner))
    if n_points is not None:
        weights[n_points <= max(SPARSE)] = SPARSE_WEIGHT
    weights[:n_objects] = FULL_WEIGHT
    return weights / np.bincount(owner, weights=weights)[owner]


def fit_parts(
    sample: Sample, use_object: np.ndarray, precision: float, n_draws: int = 0
) -> tuple[LightCurveExperts, ContextExpert]:
    """Fit experts and context on the objects of a mask, shape (n,)."""
    # Versions without a point have nothing to teach about light curves.
    rows = np.flatnonzero(
        use_object[sample.owner] & (sample.described.n_detections > 0) & (sample.weights > 0)
    )
    experts = LightCurveExperts.fit(
        sample.streams,
        sample.described.take(rows),
        sample.allowed[sample.owner[rows]],
        sample.weights[rows],
        sample.owner[rows],
        precision=precision,
        published=sample.published,
        n_draws=n_draws,
        seed=sample.seed,
    )
    objects = np.flatnonzero(use_object)
    context = ContextExpert.fit(
        sample.spec,
        sample.evidence.take(objects),
        sample.allowed[objects],
        matches=sample.matches,
        posteriors=sample.posteriors,
        n_draws=n_draws,
        seed=sample.seed,
    )
    return experts, context


def cross_fit(sample: Sample, fold: np.ndarray, precision: float, progress: Progress) -> HeldOut:
    """Evidence of every version from a fit on the other folds; `fold` is that of each object, shape (n,)."""
    n_folds, n_leaves = int(fold.max()) + 1, sample.allowed.shape[1]
    n_versions = len(sample.owner)
    evidence: dict[str, np.ndarray] = {}
    sizes: dict[str, np.ndarray] = {}
    trained = sample.described.features is not None
    distance = np.zeros((n_versions, n_leaves)) if trained else None
    residual = np.zeros(n_versions) if trained else None
    for k in range(n_folds):
        # One step more is left for the fit on all objects.
        progress("cross-fitting", k, n_folds + 1)
        experts, context = fit_parts(sample, fold != k, precision)
        objects, rows = np.flatnonzero(fold == k), np.flatnonzero(fold[sample.owner] == k)
        part = sample.described.take(rows)
        got, size = experts.evidence(part)
        of_objects = context.log_likelihood(sample.evidence.take(objects))
        got[CONTEXT] = of_objects[np.searchsorted(objects, sample.owner[rows])]
        # Context is worth less beside a long light curve, which tells some of the same.
        size[CONTEXT] = part.n_detections.astype(float)
        for name, values in got.items():
            evidence.setdefault(name, np.zeros((n_versions, n_leaves)))[rows] = values
            sizes.setdefault(name, np.zeros(n_versions))[rows] = size[name]
        if trained:
            near = fit_distance(sample, fold != k)
            distance[rows], residual[rows] = near.distances(part.features, part.n_detections)
    progress("cross-fitting", n_folds, n_folds + 1)
    return HeldOut(evidence, sizes, distance, residual)


def fit_distance(sample: Sample, use_object: np.ndarray) -> ClassDistance | None:
    """Fit distances to the classes on the objects of a mask, shape (n,); None without trained streams."""
    if sample.described.features is None:
        return None
    enough = (sample.described.n_detections >= FEWEST) & (sample.weights > 0)
    rows = np.flatnonzero(use_object[sample.owner] & enough)
    membership = class_weights(sample.allowed[sample.owner[rows]], sample.weights[rows])
    return ClassDistance.fit(sample.described.features[rows], membership, sample.described.n_detections[rows])


def class_weights(allowed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of each row in each of its allowed classes, shape (n, n_leaves)."""
    return allowed * (weights / allowed.sum(axis=1))[:, None]


def choose_precision(sample: Sample, fold: np.ndarray) -> float:
    """Precision of the trained expert's prior with the best held-out log score on the first folds."""
    rows = np.flatnonzero((sample.described.n_detections > 0) & (sample.weights > 0))
    if sample.described.features is None:
        return PRECISIONS[0]
    features, allowed = sample.described.features, sample.allowed[sample.owner]
    scores = np.zeros(len(PRECISIONS))
    for k in range(min(PRECISION_FOLDS, fold.max() + 1)):
        out = fold[sample.owner[rows]] == k
        train, test = rows[~out], rows[out]
        start = None
        for i, precision in enumerate(PRECISIONS):
            model = KernelLogistic.fit(
                features[train], allowed[train], sample.weights[train], precision=precision, start=start
            )
            start = model.theta
            log_posterior = model.log_posterior(features[test])
            kept = np.logaddexp.reduce(np.where(allowed[test], log_posterior, -np.inf), axis=1)
            scores[i] += (sample.weights[test] * kept).sum()
    return PRECISIONS[int(np.argmax(scores))]
