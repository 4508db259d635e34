"""Labelled objects joined by themselves at other redshifts, for fits on bright and near samples."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bayesclass.feature_table import distance_modulus, redshift_of
from bayesclass.progress import Progress
from bayesclass.recipe import Recipe
from bayesclass.selection import density_ratio, effective_number, observables
from context.evidence import EvidenceColumn, EvidenceTable, State
from structurefn.light_curves import LightCurves
from structurefn.redshifting import detected, redshifted
from structurefn.thinning import join_versions

__all__ = ["Augmented", "Target", "augment"]

# Redshifts reach from this share of the object's own ...
NEAREST = 0.9
# ... to this many times it, and to wavelengths shorter by this factor at most: beyond the source's shortest
# channel its spectrum is a guess. Boone (2019) stops at 5 and 1.4, but then only classes whose labelled
# members are far can be shown far away.
FARTHEST, STRETCH = 8.0, 1.8
# Candidates for each light curve that is kept, where a target sample chooses among them: with few, nearly all
# are drawn, whatever their chances.
CANDIDATES = 8
# Fewer points than this are no light curve to learn a type from.
FEWEST_POINTS = 10
# Objects of nearly the same redshift whose error is taken.
NEIGHBOURS = 20


class Target(NamedTuple):
    """Objects without a label, to which a model shall apply."""

    light_curves: LightCurves
    evidence: EvidenceTable


class Augmented(NamedTuple):
    """A labelled sample with its additions.

    Attributes
    ----------
    light_curves : LightCurves
        n objects.
    evidence : EvidenceTable
        Of the same objects.
    source : int array, shape (n,)
        The labelled object that each is, or was made from.
    summary : dict
        Counts: n_redshifted, n_not_detected (candidates), n_target and effective_n_sources.
    """

    light_curves: LightCurves
    evidence: EvidenceTable
    source: np.ndarray
    summary: dict


def augment(
    recipe: Recipe,
    light_curves: LightCurves,
    evidence: EvidenceTable,
    target: Target | None = None,
    progress: Progress | None = None,
) -> Augmented:
    r"""Show each object at other redshifts, and choose among them what a target sample looks like.

    A redshift :math:`z'` is log-uniform between 0.9 z and the smaller of 8 z and 1.8 (1 + z) - 1. The light
    curve there is that of `structurefn.redshifting.redshifted`, at the times and noise of another object
    drawn at random, with :math:`d = r D_L^2(z) / D_L^2(z')`. It is left out unless it has ten points and
    reaches 5 sigma in two channels. Its redshift evidence is :math:`z'` with the error of an object of about
    this redshift. All other evidence is its source's.

    With a target, eight times as many candidates are made, and joined with the objects themselves
    they are drawn without replacement with chances in proportion to `density_ratio`.

    Parameters
    ----------
    recipe : Recipe
        `fit.redshifted` is the number of light curves added for each object.
    light_curves : LightCurves
        Labelled objects.
    evidence : EvidenceTable
        Of the same objects.
    target : Target, optional
        Objects without a label. Those with fewer than ten points or without a redshift are not used.
    progress : callable, optional

    Returns
    -------
    Augmented
        Objects without a redshift or light curve are kept as they are.

    References
    ----------
    Boone (2019), AJ 158, 257, section 3.2; Revsbech et al. (2018), MNRAS 473, 3969.
    """
    options, name = recipe.fit, recipe.features.redshift
    rng = np.random.default_rng([options.seed, 2])
    redshift = redshift_of(evidence.columns[name], light_curves.n_objects)
    near = np.isfinite(distance_modulus(NEAREST * redshift))
    able = np.flatnonzero(near & (light_curves.n_detections >= FEWEST_POINTS))
    if not len(able):
        return _unchanged(light_curves, evidence)
    if progress:
        progress("other redshifts", 0, 1)
    target = None if target is None else _usable(target, name)
    each = options.redshifted if target is None else CANDIDATES * options.redshifted
    shown = Target(light_curves.take_objects(able), evidence.take(able)) if target is None else target
    moved = _moved(recipe, light_curves, redshift, np.repeat(able, each), shown, rng)
    original = np.arange(light_curves.n_objects)
    summary = {"n_not_detected": len(able) * each - len(moved.source)}
    if target is None:
        chosen, kept = np.arange(len(moved.source)), original
    else:
        labelled = Target(light_curves.take_objects(able), evidence.take(able))
        own, drawn = _chosen(recipe, labelled, moved, target, (options.redshifted + 1) * len(able), rng)
        # Objects that cannot be moved stay: they teach what they taught without a target.
        chosen, kept = drawn, np.union1d(np.setdiff1d(original, able), able[own])
        summary["n_target"] = target.light_curves.n_objects
    source = np.concatenate([kept, moved.source[chosen]])
    table = _joined(evidence.take(source), name, moved.redshift.take(chosen), len(kept))
    joined = join_versions(light_curves.take_objects(kept), moved.light_curves.take_objects(chosen))
    summary |= {
        "n_redshifted": len(chosen),
        "effective_n_sources": round(effective_number(np.bincount(source).astype(float)), 1),
    }
    if progress:
        progress("other redshifts", 1, 1)
    return Augmented(joined, table, source, summary)


class _Moved(NamedTuple):
    """Light curves at other redshifts that a survey would have found."""

    light_curves: LightCurves
    redshift: EvidenceColumn  # as measured
    source: np.ndarray


def _moved(
    recipe: Recipe,
    light_curves: LightCurves,
    redshift: np.ndarray,
    source: np.ndarray,
    shown: Target,
    rng: np.random.Generator,
) -> _Moved:
    """Move each source once, at times and noise, and with redshift errors, of objects of `shown`."""
    column = shown.evidence.columns[recipe.features.redshift]
    old = redshift[source]
    farthest = np.minimum(FARTHEST * old, STRETCH * (1.0 + old) - 1.0)
    new = np.exp(rng.uniform(np.log(NEAREST * old), np.log(farthest)))
    ratio = (1.0 + new) / (1.0 + old)
    # The squared ratio of distances, and of what a flux per frequency is squeezed by.
    dimming = ratio * 10.0 ** (0.4 * (distance_modulus(old) - distance_modulus(new)))
    cadence = shown.light_curves.take_objects(rng.integers(shown.light_curves.n_objects, size=len(source)))
    wavelength = np.array([recipe.light_curves.wavelength[c] for c in light_curves.channels])
    moved = redshifted(light_curves, source, ratio, dimming, wavelength, cadence, rng)
    seen = np.flatnonzero(detected(moved) & (moved.n_detections >= FEWEST_POINTS))
    return _Moved(moved.take_objects(seen), _measured_again(new[seen], column, rng), source[seen])


def _chosen(
    recipe: Recipe, labelled: Target, moved: _Moved, target: Target, n_drawn: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw labelled objects and moved ones by their density ratio to a target; positions in each, sorted."""
    channels = recipe.fit.selected_by or target.light_curves.channels

    def seen(light_curves, column):
        return observables(light_curves, redshift_of(column, light_curves.n_objects), channels)

    name = recipe.features.redshift
    own = seen(labelled.light_curves, labelled.evidence.columns[name])
    goal = seen(target.light_curves, target.evidence.columns[name])
    weight = density_ratio(np.concatenate([own, seen(moved.light_curves, moved.redshift)]), goal)
    drawn = np.sort(
        rng.choice(len(weight), min(n_drawn, len(weight)), replace=False, p=weight / weight.sum())
    )
    return drawn[drawn < len(own)], drawn[drawn >= len(own)] - len(own)


def _unchanged(light_curves: LightCurves, evidence: EvidenceTable) -> Augmented:
    n = light_curves.n_objects
    summary = {"n_not_detected": 0, "n_redshifted": 0, "effective_n_sources": float(n)}
    return Augmented(light_curves, evidence, np.arange(n), summary)


def _usable(target: Target, name: str) -> Target | None:
    """Objects of a target with points and a redshift; None where there is none."""
    redshift = redshift_of(target.evidence.columns[name], target.light_curves.n_objects)
    kept = np.flatnonzero((redshift > 0) & (target.light_curves.n_detections >= FEWEST_POINTS))
    return Target(target.light_curves.take_objects(kept), target.evidence.take(kept)) if len(kept) else None


def _measured_again(redshift: np.ndarray, known: EvidenceColumn, rng: np.random.Generator) -> EvidenceColumn:
    """Redshifts as the survey would measure them, with the error of some object of `known` near each."""
    spec = known.spec
    true = spec.forward(redshift)
    measured = np.flatnonzero(known.measured)
    order = measured[np.argsort(known.value[measured], kind="stable")]
    place = np.searchsorted(known.value[order], true) + rng.integers(
        -NEIGHBOURS, NEIGHBOURS + 1, size=len(true)
    )
    error = known.error[order[np.clip(place, 0, len(order) - 1)]]
    value = true + error * rng.normal(size=len(true))
    if spec.valid_range is not None:
        # Scattered out of the range that a survey publishes, a redshift is measured at its end.
        value = np.clip(value, *spec.forward(np.array(spec.valid_range)))
    return EvidenceColumn(spec, value, error, np.full(len(true), State.MEASURED, dtype=np.int8))


def _joined(evidence: EvidenceTable, name: str, column: EvidenceColumn, start: int) -> EvidenceTable:
    """Table with the values of one column replaced from row `start` on."""
    old = evidence.columns[name]
    new = {
        part: np.concatenate([getattr(old, part)[:start], getattr(column, part)])
        for part in ("value", "error", "state")
    }
    return replace(evidence, columns=evidence.columns | {name: replace(old, **new)})
