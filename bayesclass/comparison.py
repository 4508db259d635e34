"""Two posteriors of the same objects, side by side, with paired intervals of every difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.comparison_objects import agreement_table, best_classes, differing_objects
from bayesclass.comparison_tables import bin_rows, class_rows, statistics, unfold, whole_rows
from bayesclass.evaluation_bins import Binning, detection_bins
from bayesclass.evaluation_join import Sample, as_frame, identifiers, join, read_posteriors
from bayesclass.evaluation_levels import Level, collapse, levels
from bayesclass.object_rows import one_row_an_object
from bayesclass.posterior import Posterior
from bayesclass.recipe import Recipe
from bayesclass.tables import InputError

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Comparison:
    """What two posteriors, A and B, give on the objects that both have.

    A difference is B less A. Its interval, lower to upper, is of 95 %, from resampling the objects with both
    posteriors of each; NaN for fewer than five objects. `better` says "a" or "b" where the interval leaves
    zero out and the figure has a good direction.

    Attributes
    ----------
    recipe : str
    names : pair of str
        What A and B are called.
    classes : tuple of str
    counts : dict of str to int
        Objects in A, in B, in both, in one only; and what took part, as in `Evaluation`.
    summary : DataFrame
        metric, n_objects, a, b, difference, lower, upper, better.
    per_class, per_detections : DataFrame
        The same for each class, and in bins of the number of detections (as A has it, else B).
    agreement : DataFrame
        what, n_objects, n, fraction, lower, upper: how often the best classes agree, and who is right.
    chance : float
        Probability of so unequal an accuracy if neither were the better one (McNemar's test, exact).
    best_classes : DataFrame
        Objects by best class of A (index) and of B (columns).
    objects : DataFrame
        Those on which the probabilities differ most.
    notes : tuple of str
    """

    recipe: str
    names: tuple[str, str]
    classes: tuple[str, ...]
    counts: dict[str, int]
    summary: pd.DataFrame
    per_class: pd.DataFrame
    per_detections: pd.DataFrame
    agreement: pd.DataFrame
    chance: float
    best_classes: pd.DataFrame
    objects: pd.DataFrame
    notes: tuple[str, ...]

    def difference(self, metric: str) -> float:
        """Return B less A of one figure of the summary."""
        known = self.summary.set_index("metric")["difference"]
        if metric not in known:
            raise ValueError(f"There is no metric {metric!r}; known: {', '.join(known.index)}.")
        return float(known[metric])

    def __str__(self):
        lines = [f"A: {self.names[0]}, B: {self.names[1]}, {self.counts['in_both']} objects in both"]
        for row in self.summary.itertuples():
            ends = "" if np.isnan(row.lower) else f"  ({row.lower:+.3f} to {row.upper:+.3f})"
            lines.append(f"{row.metric:<18} {row.a:.3f}  {row.b:.3f}  {row.difference:+.3f}{ends}")
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__


def compare(
    a: pd.DataFrame | Posterior,
    b: pd.DataFrame | Posterior,
    objects: pd.DataFrame,
    recipe: Recipe,
    *,
    names: tuple[str, str] = ("A", "B"),
    seed: int = 0,
    n_resamples: int = 400,
) -> Comparison:
    """Set two posteriors of the same objects side by side.

    Parameters
    ----------
    a, b : DataFrame or Posterior
        As for `evaluate`, of the same recipe.
    objects : DataFrame
        object_id and the label columns that the recipe names.
    recipe : Recipe
    names : pair of str
        What the two are called.
    seed, n_resamples : int
        As for `evaluate`.

    Returns
    -------
    Comparison
        Of the objects that both have; others are counted and said.

    Raises
    ------
    InputError
        As `evaluate`, for either; or if they have no object in common.
    RecipeError
        If the label's column is not in `objects`.
    """
    frames = [as_frame(frame) for frame in (a, b)]
    read = [read_posteriors(frame, recipe, name) for frame, name in zip(frames, names, strict=True)]
    first, second = (ids for ids, _ in read)
    place = pd.Series(np.arange(len(second)), index=second).reindex(first).to_numpy(float)
    common = ~np.isnan(place)
    if not common.any():
        raise InputError(
            f"Two posteriors must share object_id to be compared, but none of the {len(first)} of {names[0]} "
            f"(as '{first[0]}') is among the {len(second)} of {names[1]} (as '{second[0]}'): give posteriors "
            "of the same objects."
        )
    rows = [np.flatnonzero(common), place[common].astype(int)]
    # Row i of both is the same object.
    both = [frames[k].iloc[rows[k]].assign(object_id=first[rows[0]]) for k in range(2)]
    joined = [join(frame, objects, recipe, name) for frame, name in zip(both, names, strict=True)]
    samples = [sample for sample, *_ in joined]
    p = [read[k][1][rows[k]] for k in range(2)]
    only = (int((~common).sum()), len(second) - len(rows[0]))
    counts = {"in_a": len(first), "in_b": len(second), "in_both": len(rows[0])}
    counts |= {"only_in_a": only[0], "only_in_b": only[1]}
    counts |= {name: n for name, n in joined[0][1].items() if name != "posteriors"}
    notes = [
        f"{n} objects are in {name} only and were left out." for n, name in zip(only, names, strict=True) if n
    ]
    notes += _remarks([remarks for *_, remarks in joined], names)

    n, one = len(samples[0].p), samples[0].one
    tree, (binning, remarks) = levels(recipe.taxonomy), _detections(samples)
    wanted = statistics(*samples, tree, [binning])
    classes, everyone = recipe.taxonomy.leaves, np.ones(n)
    resampled = unfold(metrics.bootstrap(wanted, n, np.random.default_rng(seed), n_resamples), classes)
    estimates = unfold({key: statistic(everyone) for key, statistic in wanted.items()}, classes)
    agreement, chance = agreement_table(*samples, p)
    table = one_row_an_object(objects, recipe)
    label = pd.Series(recipe.raw_labels(table), index=identifiers(table, "objects' table"))
    return Comparison(
        recipe=recipe.name,
        names=tuple(names),
        classes=classes,
        counts=counts,
        summary=whole_rows(estimates, resampled, n, int(one.sum())),
        per_class=class_rows(estimates, resampled, _members(samples[0], tree)),
        per_detections=bin_rows(binning, estimates, resampled, one),
        agreement=agreement,
        chance=chance,
        best_classes=best_classes(p, classes),
        objects=differing_objects(first[rows[0]], p, classes, label),
        notes=(*notes, *remarks),
    )


def _remarks(each: Sequence[Sequence[str]], names: Sequence[str]) -> list[str]:
    """Remarks on both, once, then those on one, with its name."""
    shared = [remark for remark in each[0] if remark in each[1]]
    return shared + [
        f"{name}: {remark}"
        for name, remarks in zip(names, each, strict=True)
        for remark in remarks
        if remark not in shared
    ]


def _detections(samples: Sequence[Sample]) -> tuple[Binning, list[str]]:
    """Bins by the number of detections of A, or of B where A does not say."""
    first, second = (sample.n_detections for sample in samples)
    known = second if first is None else first
    remarks = []
    if first is not None and second is not None and (first != second).any():
        remarks.append(
            f"{int((first != second).sum())} objects have another number of detections in B than in A, whose "
            "number is taken for the bins."
        )
    return detection_bins(known, len(samples[0].p)), remarks


def _members(sample: Sample, tree: Sequence[Level]) -> dict[str, int]:
    """Objects of each leaf, then of each inner node."""
    count = dict.fromkeys(tree[-1].classes, 0)
    for level in tree:
        own = collapse(sample, level)
        n = np.bincount(own.y[own.one], minlength=len(level.classes))
        count |= dict(zip(level.classes, n.tolist(), strict=True))
    return count
