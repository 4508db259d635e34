"""Judgement of a table of class probabilities against labels: scores, calibration, mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.evaluation_join import FLOOR, join
from bayesclass.evaluation_tables import (
    DETECTION_BINS,
    class_table,
    detections_table,
    mistakes_table,
    reliability_table,
    statistics_of,
    summary_table,
)
from bayesclass.recipe import Recipe

__all__ = ["DETECTION_BINS", "FLOOR", "Evaluation", "evaluate"]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What the labels say about the probabilities.

    Attributes
    ----------
    recipe, title : str
    classes : tuple of str
    counts : dict of str to int
        What took part and what did not, in objects.
    summary : DataFrame
        metric, value, lower, upper (95 % bootstrap interval over objects; for ece_null, `upper` is the
        95 % quantile of the error of labels redrawn from the probabilities), n_objects.
    per_class : DataFrame
        One row a class, over objects of one labelled class.
    per_detections : DataFrame
        One row a bin of n_detections; without rows when that is not known.
    confusion, confusion_fuzzy : DataFrame
        Labelled class (index) by most probable class, and by the sum of probabilities.
    reliability : DataFrame
        class ("all" for all pooled), bin, lower_edge, upper_edge, n, mean_probability, frequency,
        band_lower, band_upper.
    mistakes : DataFrame
        Objects whose best class is not what the label allows, the most confident first.
    unmapped : DataFrame
        label, n_objects: labels that lead to no class of the recipe.
    notes : tuple of str
        One sentence each about what a reader should know before the numbers.
    """

    recipe: str
    title: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    summary: pd.DataFrame
    per_class: pd.DataFrame
    per_detections: pd.DataFrame
    confusion: pd.DataFrame
    confusion_fuzzy: pd.DataFrame
    reliability: pd.DataFrame
    mistakes: pd.DataFrame
    unmapped: pd.DataFrame
    notes: tuple[str, ...]

    def value(self, metric: str) -> float:
        """Return one number of the summary."""
        known = self.summary.set_index("metric")["value"]
        if metric not in known:
            raise ValueError(f"There is no metric {metric!r}; known: {', '.join(known.index)}.")
        return float(known[metric])

    def __str__(self):
        lines = [f"{row.metric:<28} {_number(row)}" for row in self.summary.itertuples()]
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__


def evaluate(
    posteriors: pd.DataFrame,
    objects: pd.DataFrame,
    recipe: Recipe,
    *,
    seed: int = 0,
    n_resamples: int = 400,
) -> Evaluation:
    """Judge class probabilities by labels.

    Parameters
    ----------
    posteriors : DataFrame
        As `Posterior.to_frame` makes it. Needed are object_id and p_<leaf> for every leaf of the recipe;
        prediction_set and n_detections are used where present.
    objects : DataFrame
        object_id and the label columns that the recipe names.
    recipe : Recipe
        Says the classes and what a label means.
    seed : int
        Of resampling and of redrawn labels; the same seed gives the same numbers.
    n_resamples : int
        Bootstrap resamples of the objects.

    Returns
    -------
    Evaluation
        A label that allows several classes counts in the log-loss, as -log of the sum of their
        probabilities, and nowhere else.

    Raises
    ------
    InputError
        Classes that are not the recipe's, probabilities that are not numbers from 0 to 1 with a sum of
        one within 1e-3, identifiers missing or repeated, no object in common, or no usable label.
    RecipeError
        If the label's column is not in `objects`.
    """
    sample, counts, unmapped, notes = join(posteriors, objects, recipe)
    rng = np.random.default_rng(seed)
    statistics = statistics_of(sample)
    resampled = metrics.bootstrap(statistics, len(sample.p), rng, n_resamples)
    estimates = {name: statistic(np.ones(len(sample.p))) for name, statistic in statistics.items()}
    one = sample.one
    p, y = sample.p[one], sample.y[one]
    classes = recipe.taxonomy.leaves
    ends = {
        name: metrics.bootstrap_interval(estimate, resampled[name], pivotal=name == "ece")
        for name, estimate in estimates.items()
    }
    square = {"index": pd.Index(classes, name="labelled"), "columns": pd.Index(classes, name="given")}
    return Evaluation(
        recipe=recipe.name,
        title=recipe.title,
        classes=classes,
        counts=counts,
        summary=summary_table(sample, estimates, ends, rng),
        per_class=class_table(sample, classes),
        per_detections=detections_table(sample, estimates, ends, rng),
        confusion=pd.DataFrame(metrics.confusion(p, y), **square),
        confusion_fuzzy=pd.DataFrame(metrics.confusion(p, y, fuzzy=True), **square),
        reliability=reliability_table(p, y, classes, rng),
        mistakes=mistakes_table(sample, classes),
        unmapped=unmapped,
        notes=tuple(notes),
    )


def _number(row) -> str:
    if row.metric == "ece_null":
        return f"{row.value:.3f}  (95 % quantile {row.upper:.3f})"
    interval = "" if np.isnan(row.lower) else f"  ({row.lower:.3f} to {row.upper:.3f})"
    return f"{row.value:.3f}{interval}"
