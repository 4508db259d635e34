"""What a sample must have before a model can be fitted on it."""

from __future__ import annotations

import numpy as np

from bayesclass.recipe import Recipe

__all__ = ["FitError", "check_folds", "check_sample"]


class FitError(ValueError):
    """A model cannot be fitted on this sample."""


def check_sample(recipe: Recipe, allowed: np.ndarray, n_detections: np.ndarray, folds: int) -> None:
    """Refuse a sample that is too small for cross-fitting, or lacks a class."""
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


def check_folds(fold_of_seen: np.ndarray, folds: int, has_streams: bool) -> None:
    """Refuse a sample whose light curves are copies of each other, which share a fold."""
    largest = int(np.bincount(fold_of_seen, minlength=folds).max(initial=0))
    if has_streams and len(fold_of_seen) - largest < 2:
        raise FitError(
            f"{folds}-fold cross-fitting needs different light curves, but {largest} of {len(fold_of_seen)} "
            "labelled ones are identical or share a fold with those that are: remove the copies."
        )
