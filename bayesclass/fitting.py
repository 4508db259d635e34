"""The fit: versions, cross-fitted evidence, pool, prediction sets and novelty, then all objects together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesclass import metrics
from bayesclass.calibration import ConformalSets
from bayesclass.context_expert import ContextExpert
from bayesclass.experts import LightCurveExperts
from bayesclass.folds import identical_light_curves, stratified_folds
from bayesclass.network_spec import NetworkSpec
from bayesclass.novelty import Novelty
from bayesclass.novelty_statistic import NoveltyParts, log_joints
from bayesclass.pool import Pool
from bayesclass.progress import Progress
from bayesclass.recipe import Recipe
from bayesclass.representation import GENERATIVE, Representation, runtime_streams
from bayesclass.structure_learning import learn_edges
from bayesclass.training import (
    CONTEXT,
    SPARSE,
    Sample,
    choose_precision,
    class_weights,
    cross_fit,
    fit_distance,
    fit_parts,
    version_weights,
)
from bayesclass.virtual_posteriors import without_posteriors
from context.evidence import EvidenceTable
from structurefn.light_curves import LightCurves
from structurefn.magnitudes import channel_softening
from structurefn.thinning import thinned_versions

# Where the pool's weights are expected before data: densities tell something of a few points, and hand over
# to the trained expert as points become many.
EXPECTED_WEIGHTS = {name: (np.log(0.5), -1.0) for name in GENERATIVE.values()}


class FitError(ValueError):
    """A model cannot be fitted on this sample."""


@dataclass(frozen=True)
class Fitted:
    """Everything that a fit learned; see the classes of its parts."""

    representation: Representation
    experts: LightCurveExperts
    context: ContextExpert
    pool: Pool
    sets: ConformalSets
    novelty: Novelty
    summary: dict


def fit_model(
    recipe: Recipe,
    light_curves: LightCurves,
    evidence: EvidenceTable,
    allowed: np.ndarray,
    progress: Progress | None = None,
) -> Fitted:
    """Fit experts, network and pool on labelled objects.

    Parameters
    ----------
    recipe : Recipe
    light_curves : LightCurves
        All labelled objects; those without a point teach the network only.
    evidence : EvidenceTable
        Of the same objects in the same order.
    allowed : ndarray of bool, shape (n_objects, n_leaves)
        Leaves that each label allows, at least one.
    progress : callable, optional
        Called with (stage, done, total).

    Returns
    -------
    Fitted

    Raises
    ------
    FitError
        If there are too few objects or classes for cross-fitting.
    NetworkError
        If edges are to be learned and the sample does not allow it (`learn_edges`).

    Notes
    -----
    Edges that the recipe leaves to learning are learned once, on all objects, and the cross-fitted evidence
    of the context uses them: its tables have not seen the held-out objects, the choice of its edges has.
    """
    options = recipe.fit
    _check_sample(recipe, allowed, light_curves.n_detections, options.folds)
    tell = progress or (lambda stage, done, total: None)
    rng = np.random.default_rng(options.seed)
    versions, owner = thinned_versions(
        light_curves,
        rng,
        versions=options.versions,
        min_points=options.min_points,
        max_points=options.max_points,
        sparse=SPARSE,
    )
    weights = version_weights(owner, len(allowed), np.diff(versions.offset))
    softening = {}
    if light_curves.quantity == "flux":
        softening = recipe.light_curves.softening or channel_softening(light_curves)
    streams = runtime_streams(recipe.streams)
    representation, described = Representation.fit(
        streams,
        versions,
        np.where(_describing(versions.n_detections), weights, 0.0),
        evidence=evidence.take(owner),
        night=recipe.light_curves.night,
        softening=softening,
        systematic=recipe.light_curves.systematic,
        published=recipe.features,
        seed=options.seed,
        progress=progress,
    )
    spec = NetworkSpec(
        class_states=recipe.taxonomy.leaves,
        edges=recipe.edges,
        no_class_edge=recipe.network.no_class_edge,
        joint=recipe.network.joint,
        densities=recipe.network.densities,
        tables=recipe.network.tables,
        tree=recipe.classes.nodes,
        latent=recipe.network.latent,
        missing_cells=recipe.network.missing_cells,
    )
    copies = identical_light_curves(light_curves)
    learned = None
    if recipe.network.learn is not None:
        # Once on all objects: choosing a few edges by held-out gain fits little of any one object.
        learned = learn_edges(
            without_posteriors(evidence, recipe.network.posteriors),
            allowed,
            spec,
            method=recipe.network.learn,
            forbidden=recipe.network.forbidden,
            folds=options.folds,
            seed=options.seed,
            groups=copies,
        )
        spec = learned.spec()
    sample = Sample(
        streams,
        described,
        evidence,
        spec,
        allowed,
        weights,
        owner,
        options.seed,
        recipe.matches,
        recipe.posteriors,
        recipe.features.classifier if recipe.features else None,
    )

    stratum = np.where(allowed.sum(axis=1) == 1, allowed.argmax(axis=1), -1)
    # Objects with a light curve are dealt out first, so that each fold has its share of them.
    unseen = light_curves.n_detections == 0
    spread = stratum + unseen * (recipe.taxonomy.n_leaves + 1)
    # A generator of their own, so that folds do not change with the versions.
    shuffle = np.random.default_rng([options.seed, 1])
    fold = stratified_folds(spread, copies, options.folds, shuffle)
    _check_folds(fold[~unseen], options.folds, bool(streams))
    precision = choose_precision(sample, fold)
    held_out, sizes, distance, residual = cross_fit(sample, fold, precision, tell)
    frequency = (allowed / allowed.sum(axis=1, keepdims=True)).sum(axis=0) + 0.5
    pool = Pool.fit(
        held_out,
        sizes,
        allowed[owner],
        weights,
        np.log(frequency / frequency.sum()),
        expected=EXPECTED_WEIGHTS,
        n_draws=options.draws,
        seed=options.seed,
    )
    terms = pool.terms(held_out, sizes)
    probability = probabilities(terms)
    single = allowed[owner].sum(axis=1) == 1
    sets = ConformalSets.fit(
        probability[single],
        allowed[owner][single].argmax(axis=1),
        n_points=described.n_detections[single],
        weights=weights[single],
    )
    novelty = Novelty.fit(
        NoveltyParts(log_joints(terms, held_out), distance, residual, described.n_detections),
        class_weights(allowed[owner], weights),
        fit_distance(sample, np.ones(len(allowed), bool)),
    )
    summary = _summary(held_out, sizes, pool, allowed, stratum, described.n_detections, recipe)
    if learned is not None:
        summary["learned_edges"] = [f"{parent} -> {child}" for parent, child in learned.learned]
    experts, context = fit_parts(sample, np.ones(len(allowed), bool), precision, options.draws)
    tell("cross-fitting", options.folds + 1, options.folds + 1)
    return Fitted(representation, experts, context, pool, sets, novelty, summary | context.summary)


def probabilities(terms: dict[str, np.ndarray]) -> np.ndarray:
    """Class probabilities, the normalised exponential of the sum of terms."""
    log_joint = sum(terms.values())
    probability = np.exp(log_joint - log_joint.max(axis=-1, keepdims=True))
    return probability / probability.sum(axis=-1, keepdims=True)


def _describing(n_detections: np.ndarray) -> np.ndarray:
    """Versions that axes and landmarks are learned from: maps of the fewest points are too much alike."""
    rich = n_detections > max(SPARSE)
    return rich if rich.any() else n_detections > 0


def _check_sample(recipe: Recipe, allowed: np.ndarray, n_detections: np.ndarray, folds: int) -> None:
    per_class = allowed[allowed.sum(axis=1) == 1].sum(axis=0)
    leaves = recipe.taxonomy.leaves
    few = [f"{leaf} ({count})" for leaf, count in zip(leaves, per_class, strict=True) if count < 2]
    if few:
        raise FitError(
            f"every leaf of recipe {recipe.name} needs at least 2 labelled objects, but {', '.join(few)} "
            f"of {len(allowed)}: label more objects, or take the leaf out of the recipe."
        )
    if len(allowed) < 2 * folds:
        raise FitError(
            f"{folds}-fold cross-fitting needs at least {2 * folds} labelled objects, but there are "
            f"{len(allowed)}: label more, or lower `folds` in [fit] of the recipe."
        )
    n_seen = int((n_detections > 0).sum())
    if recipe.streams and n_seen < 2 * folds:
        raise FitError(
            f"{folds}-fold cross-fitting of streams needs at least {2 * folds} labelled objects with a "
            f"usable point, but there are {n_seen} of {len(allowed)}: check that object_id and the channels "
            "agree with the recipe, or leave [[streams]] out to use context alone."
        )


def _check_folds(fold_of_seen: np.ndarray, folds: int, has_streams: bool) -> None:
    """Refuse a sample whose light curves are copies of each other, which share a fold."""
    largest = int(np.bincount(fold_of_seen, minlength=folds).max(initial=0))
    if has_streams and len(fold_of_seen) - largest < 2:
        raise FitError(
            f"{folds}-fold cross-fitting needs different light curves, but {largest} of {len(fold_of_seen)} "
            "labelled ones are identical or share a fold with those that are: remove the copies."
        )


def _summary(held_out, sizes, pool, allowed, stratum, n_detections, recipe) -> dict:
    """Held-out figures of the objects at full length, alone and pooled."""
    n = len(allowed)
    full = {name: values[:n] for name, values in held_out.items()}
    size = {name: values[:n] for name, values in sizes.items()}
    known = stratum >= 0
    prior = {"prior": np.broadcast_to(pool.log_prior, (n, len(pool.log_prior)))}

    def score(p):
        return round(float(metrics.log_loss(p[known], stratum[known])), 4)

    pooled = probabilities(pool.terms(full, size))
    weighted = pool.terms(full, size)
    chain = [name for name in pool.experts if name != CONTEXT]
    null, _ = metrics.ece_null(pooled[known], np.random.default_rng(0))
    return {
        "n_objects": n,
        "n_without_points": int((n_detections[:n] == 0).sum()),
        "class_counts": {leaf: int((stratum == i).sum()) for i, leaf in enumerate(recipe.taxonomy.leaves)},
        "n_partial_labels": int((stratum < 0).sum()),
        "log_loss_class_frequencies": score(probabilities(prior)),
        "log_loss_context": score(probabilities(prior | {CONTEXT: full[CONTEXT]})),
        "log_loss_light_curve": score(probabilities(prior | {name: weighted[name] for name in chain})),
        "log_loss": score(pooled),
        "ece": round(float(metrics.classwise_ece(pooled[known], stratum[known])), 4),
        "ece_null": round(float(null), 4),
        "weights_at_20_points": {
            name: round(float(pool.weight(name, np.array([20.0 if size[name].any() else 0.0]))[0]), 3)
            for name in pool.experts
        },
    }
