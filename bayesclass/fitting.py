"""The fit: versions, cross-fitted evidence, pool, prediction sets and novelty, then all objects together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesclass import metrics
from bayesclass.augmentation import Target, augment
from bayesclass.calibration import ConformalSets
from bayesclass.context_expert import ContextExpert
from bayesclass.experts import LightCurveExperts
from bayesclass.feature_table import feature_table_names
from bayesclass.fit_checks import check_folds, check_sample
from bayesclass.folds import identical_light_curves, stratified_folds
from bayesclass.network_spec import NetworkSpec
from bayesclass.novelty import Novelty
from bayesclass.novelty_statistic import NoveltyParts, log_joints
from bayesclass.pool import Pool
from bayesclass.progress import Progress
from bayesclass.recipe import FeatureSpec, Recipe
from bayesclass.rehearsal import Rehearsal, fit_pool, probabilities
from bayesclass.representation import Representation, runtime_streams
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
from structurefn.thinning import join_versions, thin_to, thinned_versions

# Features named in a model's summary.
SHOWN_FEATURES = 12


@dataclass(frozen=True)
class Fitted:
    """Everything that a fit learned; see the classes of its parts. No `rehearsal` in a stored model."""

    representation: Representation
    experts: LightCurveExperts
    context: ContextExpert
    pool: Pool
    sets: ConformalSets
    novelty: Novelty
    summary: dict
    rehearsal: Rehearsal | None = None


def fit_model(
    recipe: Recipe,
    light_curves: LightCurves,
    evidence: EvidenceTable,
    allowed: np.ndarray,
    progress: Progress | None = None,
    target: Target | None = None,
    rehearse: Sequence[int] = (),
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
    target : Target, optional
        Objects without a label, to which light curves at other redshifts are fitted (`augment`); read only
        where the recipe asks for those.
    rehearse : sequence of int
        Lengths to which every curve is thinned once more, for `Fitted.rehearsal` alone: nothing is learned
        from these.

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
    check_sample(recipe, allowed, light_curves.n_detections, options.folds)
    tell = progress or (lambda stage, done, total: None)
    rng = np.random.default_rng(options.seed)
    n_labelled, copies, added = len(allowed), identical_light_curves(light_curves), {}
    if options.redshifts(n_labelled):
        light_curves, evidence, source, added = augment(recipe, light_curves, evidence, target, progress)
        # An object at another redshift is known by its source: both share a fold.
        allowed, copies = allowed[source], copies[source]
    versions, owner = thinned_versions(
        light_curves,
        rng,
        versions=options.versions,
        min_points=options.min_points,
        max_points=options.max_points,
        sparse=SPARSE,
    )
    weights = version_weights(owner, len(allowed), np.diff(versions.offset)) * n_labelled / len(allowed)
    n_taught, length = len(owner), np.full(len(owner), -1)
    length[: len(allowed)] = 0
    for n_points in rehearse:
        versions = join_versions(versions, thin_to(light_curves, n_points, rng))
        owner = np.concatenate([owner, np.arange(len(allowed))])
        length = np.concatenate([length, np.full(len(allowed), n_points)])
    weights = np.concatenate([weights, np.zeros(len(owner) - n_taught)])
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
        recipe.features,
    )

    stratum = np.where(allowed.sum(axis=1) == 1, allowed.argmax(axis=1), -1)
    # Objects with a light curve are dealt out first, so that each fold has its share of them.
    unseen = light_curves.n_detections == 0
    spread = stratum + unseen * (recipe.taxonomy.n_leaves + 1)
    # A generator of their own, so that folds do not change with the versions.
    shuffle = np.random.default_rng([options.seed, 1])
    fold = stratified_folds(spread, copies, options.folds, shuffle)
    check_folds(fold[~unseen], options.folds, bool(streams))
    precision = choose_precision(sample, fold)
    rehearsed = cross_fit(sample, fold, precision, tell)
    rehearsal = Rehearsal(
        rehearsed.evidence,
        rehearsed.sizes,
        owner,
        fold[owner],
        length,
        described.n_detections,
        allowed[owner],
        weights,
    )
    held_out, sizes, distance, residual = rehearsed.first(n_taught)
    owner, weights, n_detections = owner[:n_taught], weights[:n_taught], described.n_detections[:n_taught]
    frequency = (allowed / allowed.sum(axis=1, keepdims=True)).sum(axis=0) + 0.5
    pool = fit_pool(
        held_out,
        sizes,
        allowed[owner],
        weights,
        np.log(frequency / frequency.sum()),
        n_draws=options.draws,
        seed=options.seed,
    )
    terms = pool.terms(held_out, sizes)
    probability = probabilities(terms)
    single = allowed[owner].sum(axis=1) == 1
    sets = ConformalSets.fit(
        probability[single],
        allowed[owner][single].argmax(axis=1),
        n_points=n_detections[single],
        weights=weights[single],
    )
    novelty = Novelty.fit(
        NoveltyParts(log_joints(terms, held_out), distance, residual, n_detections),
        class_weights(allowed[owner], weights),
        fit_distance(sample, np.ones(len(allowed), bool)),
    )
    summary = _summary(held_out, sizes, pool, allowed, stratum, n_detections, recipe)
    if learned is not None:
        summary["learned_edges"] = [f"{parent} -> {child}" for parent, child in learned.learned]
    experts, context = fit_parts(sample, np.ones(len(allowed), bool), precision, options.draws)
    if experts.published is not None:
        summary["features"] = _largest_gains(recipe.features, light_curves.channels, experts.published.gain)
    tell("cross-fitting", options.folds + 1, options.folds + 1)
    summary |= added | context.summary
    return Fitted(representation, experts, context, pool, sets, novelty, summary, rehearsal)


def _largest_gains(features: FeatureSpec, channels: tuple[str, ...], gain: np.ndarray) -> dict[str, float]:
    """Features that matter most to the trees, with their share of the gain."""
    names = feature_table_names(features, channels)
    return {names[i]: round(float(gain[i]), 4) for i in np.argsort(-gain)[:SHOWN_FEATURES] if gain[i] > 0}


def _describing(n_detections: np.ndarray) -> np.ndarray:
    """Versions that axes and landmarks are learned from: maps of the fewest points are too much alike."""
    rich = n_detections > max(SPARSE)
    return rich if rich.any() else n_detections > 0


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
