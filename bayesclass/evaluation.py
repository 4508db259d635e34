"""Judgement of a table of class probabilities against labels: scores, calibration, ranking, mistakes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bayesclass import evaluation_reasons as reasons_of
from bayesclass import metrics
from bayesclass.evaluation_bins import DETECTION_BINS, detection_bins, light_curve_bins
from bayesclass.evaluation_brier import brier_statistic, brier_table
from bayesclass.evaluation_join import as_frame, join
from bayesclass.evaluation_levels import collapse, confusion_table, levels
from bayesclass.evaluation_notes import FLOOR
from bayesclass.evaluation_ranking import curves_table, ranking_statistic, ranking_table, targets
from bayesclass.evaluation_scores import bins_table, figures, frequency_loss
from bayesclass.evaluation_tables import (
    class_table,
    levels_table,
    mistakes_table,
    node_table,
    reliability_table,
    set_size_statistics,
    sets_table,
    summary_table,
    worst_mistakes,
)
from bayesclass.posterior import Posterior
from bayesclass.recipe import Recipe
from structurefn.light_curves import LightCurves

__all__ = ["DETECTION_BINS", "FLOOR", "Evaluation", "evaluate"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Evaluation:
    """What the labels say about the probabilities.

    Intervals are of 95 %: of fractions of objects (accuracy, coverage) exact binomial ones, of others from
    resampling the objects; NaN where there are fewer than five.

    Attributes
    ----------
    recipe, title : str
    classes : tuple of str
    counts : dict of str to int
        What took part and what did not, in objects.
    summary : DataFrame
        metric, value, lower, upper (for ece_null, `upper` is the 95 % quantile of the error of labels redrawn
        from the probabilities), n_objects.
    per_class, per_node : DataFrame
        One row a class, over objects of one labelled class; of an inner node against the others of its level.
    levels : DataFrame
        The main figures on each level of the class tree.
    per_detections, per_days, per_magnitude : DataFrame
        The main figures in bins of the number of detections, of days from the first detection to the last,
        and of the brightest magnitude; without rows when that is not known.
    confusion, confusion_fuzzy : DataFrame
        Labelled class (index) by most probable class, and by the sum of probabilities.
    confusion_levels : DataFrame
        Both on every level of the tree: level, labelled, given, n_objects, probability.
    reliability : DataFrame
        class ("all" for all pooled), kind, bin, lower_edge, upper_edge, n, mean_probability, frequency,
        band_lower, band_upper.
    brier : DataFrame
        The Brier score of each class and its parts, which add up to it; see
        `bayesclass.evaluation_brier.brier_parts`.
    ranking, curves : DataFrame
        Areas under the ROC and precision-recall curves of each leaf and inner node; the curves.
    sets : DataFrame
        Coverage and size of the prediction sets, overall and class by class.
    evidence : DataFrame
        Scores without each piece of evidence; without rows when the posteriors carry no reasons.
    mistakes : DataFrame
        Objects whose best class is not what the label allows, the most confident first.
    unmapped : DataFrame
        label, n_objects: labels that lead to no class of the recipe.
    notes : tuple of str
        One sentence each about what a reader should know before the numbers.
    quantity : str
        Of the light curves, "mag" or "flux"; says what `per_magnitude` is of.
    """

    recipe: str
    title: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    summary: pd.DataFrame
    per_class: pd.DataFrame
    per_node: pd.DataFrame
    levels: pd.DataFrame
    per_detections: pd.DataFrame
    per_days: pd.DataFrame
    per_magnitude: pd.DataFrame
    confusion: pd.DataFrame
    confusion_fuzzy: pd.DataFrame
    confusion_levels: pd.DataFrame
    reliability: pd.DataFrame
    brier: pd.DataFrame
    ranking: pd.DataFrame
    curves: pd.DataFrame
    sets: pd.DataFrame
    evidence: pd.DataFrame
    mistakes: pd.DataFrame
    unmapped: pd.DataFrame
    notes: tuple[str, ...]
    quantity: str = field(default="mag")

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
    posteriors: pd.DataFrame | Posterior,
    objects: pd.DataFrame,
    recipe: Recipe,
    light_curves: LightCurves | pd.DataFrame | None = None,
    *,
    seed: int = 0,
    n_resamples: int = 400,
) -> Evaluation:
    """Judge class probabilities by labels.

    Parameters
    ----------
    posteriors : DataFrame or Posterior
        As `Posterior.to_frame` makes it. Needed are object_id and p_<leaf> for every leaf of the recipe;
        prediction_set, n_detections and reason_<leaf>_<piece> are used where present.
    objects : DataFrame
        object_id and the label columns that the recipe names.
    recipe : Recipe
        Says the classes and what a label means.
    light_curves : LightCurves or DataFrame, optional
        What was classified: gives days since the first detection and magnitudes.
    seed : int
        Of resampling and of redrawn labels; the same seed gives the same numbers.
    n_resamples : int
        Bootstrap resamples of the objects.

    Returns
    -------
    Evaluation
        A label that allows several classes counts in the log-loss, as -log of the sum of their
        probabilities, and on those levels of the tree where it allows one class; nowhere else.

    Raises
    ------
    InputError
        Classes that are not the recipe's, probabilities that are not numbers from 0 to 1 with a sum of
        one within 1e-3, identifiers missing or repeated, no object in common, no usable label, reasons that
        do not add up, or light curves of other objects or another quantity.
    RecipeError
        If the label's column is not in `objects`.
    """
    sample, counts, unmapped, notes = join(as_frame(posteriors), objects, recipe)
    classes, tree, n = recipe.taxonomy.leaves, levels(recipe.taxonomy), len(sample.p)
    days, magnitude, remarks = light_curve_bins(light_curves, sample, recipe)
    binnings = (detection_bins(sample.n_detections, n), days, magnitude)
    reasons = reasons_of.read(sample, recipe)
    ranked = targets(sample, tree)
    one = sample.one
    p, y = sample.p[one], sample.y[one]

    # Everything with an interval, as functions of weights, so that all see the same resamples.
    wanted = {("all", name): figure for name, figure in figures(sample).items()}
    if one.any():
        wanted["all", "log_loss_class_frequencies"] = frequency_loss(sample)
        parts = brier_statistic(p, y)
        wanted["brier"] = lambda w: parts(w[..., one])
    for level in tree:
        own = figures(collapse(sample, level))
        wanted |= {("level", level.number, name): figure for name, figure in own.items()}
    for binning in binnings:
        for b in range(len(binning.labels)):
            own = figures(sample, binning.inside[:, b])
            wanted |= {(binning.name, b, name): figure for name, figure in own.items()}
    wanted |= set_size_statistics(sample, len(classes)) | reasons_of.removal_statistics(sample, reasons)
    for target in ranked:
        area = ranking_statistic(target.score, target.member)
        wanted["ranking", target.name] = lambda w, area=area, known=target.known: area(w[..., known])

    rng = np.random.default_rng(seed)
    resampled = metrics.bootstrap(wanted, n, rng, n_resamples)
    everyone = np.ones(n)
    estimates = {name: statistic(everyone) for name, statistic in wanted.items()}
    binned = [bins_table(sample, binning, estimates, resampled, rng) for binning in binnings]
    square = {"index": pd.Index(classes, name="labelled"), "columns": pd.Index(classes, name="given")}
    worst = worst_mistakes(sample)
    why = reasons_of.mistake_reasons(sample, reasons, worst, classes) if reasons.pieces else []
    return Evaluation(
        recipe=recipe.name,
        title=recipe.title,
        classes=classes,
        counts=counts,
        summary=summary_table(sample, estimates, resampled, rng),
        per_class=class_table(sample, classes, rng),
        per_node=node_table(sample, tree, rng),
        levels=levels_table(sample, tree, estimates, resampled, rng),
        per_detections=binned[0],
        per_days=binned[1],
        per_magnitude=binned[2],
        confusion=pd.DataFrame(metrics.confusion(p, y), **square),
        confusion_fuzzy=pd.DataFrame(metrics.confusion(p, y, fuzzy=True), **square),
        confusion_levels=pd.concat(
            [confusion_table(level, collapse(sample, level)) for level in tree], ignore_index=True
        ),
        reliability=reliability_table(sample, tree, rng),
        brier=brier_table(classes, estimates.get("brier"), resampled.get("brier")),
        ranking=ranking_table(ranked, estimates, resampled),
        curves=curves_table(ranked),
        sets=sets_table(sample, classes, resampled),
        evidence=reasons_of.evidence_table(sample, reasons, estimates, resampled, rng),
        mistakes=mistakes_table(sample, worst, classes, why),
        unmapped=unmapped,
        notes=(*notes, *remarks),
        quantity=recipe.light_curves.quantity,
    )


def _number(row) -> str:
    if row.metric == "ece_null":
        return f"{row.value:.3f}  (95 % quantile {row.upper:.3f})"
    interval = "" if np.isnan(row.lower) else f"  ({row.lower:.3f} to {row.upper:.3f})"
    return f"{row.value:.3f}{interval}"
