"""How well a class's probability ranks its members above the rest: ROC, precision-recall, their areas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesclass.evaluation_join import Sample
from bayesclass.evaluation_levels import Level, collapse
from bayesclass.metrics import bootstrap_interval

# Points of a curve that are kept for tables and pictures.
POINTS = 200
# With fewer on either side, resampling says nothing of the area's error.
MIN_EACH = 5

__all__ = ["Target", "curve", "curves_table", "ranking_statistic", "ranking_table", "targets"]


@dataclass(frozen=True, eq=False)
class Target:
    """A leaf or inner node to be told from the other classes of its level.

    Attributes
    ----------
    name, kind : str
        The class; "leaf" or "node".
    known : bool array, shape (n_objects,)
        Objects whose label leads to one class of the level.
    score : float array, shape (n_known,)
        The class's probability.
    member : bool array, shape (n_known,)
    """

    name: str
    kind: str
    known: np.ndarray
    score: np.ndarray
    member: np.ndarray


def targets(sample: Sample, levels: Sequence[Level]) -> list[Target]:
    """Return the leaves, then the inner nodes of every level."""
    found = []
    for level in levels:
        own = collapse(sample, level)
        known = own.one
        for k, name in enumerate(level.classes):
            kind = "node" if name in level.nodes else "leaf" if level is levels[-1] else ""
            if kind:
                found.append(Target(name, kind, known, own.p[known, k], own.y[known] == k))
    return sorted(found, key=lambda target: target.kind)


def ranking_statistic(score: np.ndarray, is_class: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    r"""Return a function of weights, shape (..., n): area under the ROC curve and average precision.

    .. math:: \mathrm{AUC} = \frac{1}{P N} \sum_t P_t \left(N_{<t} + \tfrac12 N_t\right), \qquad
              \mathrm{AP} = \frac{1}{P} \sum_t P_t \frac{P_{\ge t}}{P_{\ge t} + N_{\ge t}}

    over the distinct values t of the score, P members and N others. The first is the Mann-Whitney statistic
    with ties at one half; the second is precision averaged over the steps of recall, without interpolation.

    Parameters
    ----------
    score : float array, shape (n,)
    is_class : bool array, shape (n,)

    Returns
    -------
    callable
        Weights to an array of shape (..., 2): NaN without members or, for the AUC, without others.
    """
    order = np.argsort(-score, kind="stable")
    member = np.asarray(is_class, dtype=bool)[order]
    ordered = np.asarray(score)[order]
    # Where each run of equal scores begins, and how many there are above its end.
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, int)

    def statistic(weights):
        weights = np.asarray(weights, dtype=np.float64)[..., order]
        if not len(first):
            return np.full((*weights.shape[:-1], 2), np.nan)
        members = np.add.reduceat(weights * member, first, axis=-1)
        others = np.add.reduceat(weights * ~member, first, axis=-1)
        above, false = members.cumsum(axis=-1), others.cumsum(axis=-1)
        n_members, n_others = above[..., -1], false[..., -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            below = n_others[..., None] - false
            area = (members * (below + 0.5 * others)).sum(axis=-1) / (n_members * n_others)
            # Runs that a resample lacks altogether give 0 / 0 and have no member.
            precision = np.where(members > 0, above / (above + false), 0.0)
            average = (members * precision).sum(axis=-1) / n_members
        return np.stack([area, average], axis=-1)

    return statistic


def curve(score: np.ndarray, is_class: np.ndarray, points: int = POINTS) -> pd.DataFrame:
    """Return the ROC and precision-recall curves at the distinct values of the score.

    Parameters
    ----------
    score : float array, shape (n,)
    is_class : bool array, shape (n,)
    points : int
        At most this many are kept, evenly spaced along the objects in order of the score.

    Returns
    -------
    DataFrame
        threshold (a member is what has at least this score), false_positive_rate, recall, precision.
    """
    order = np.argsort(-score, kind="stable")
    ordered, member = np.asarray(score)[order], np.asarray(is_class, bool)[order]
    last = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True]) if len(ordered) else np.empty(0, int)
    true, false = member.cumsum()[last], (~member).cumsum()[last]
    if len(last) > points:
        kept = np.unique(np.searchsorted(last, np.linspace(last[0], last[-1], points)))
        last, true, false = last[kept], true[kept], false[kept]
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame(
            {
                "threshold": ordered[last],
                "false_positive_rate": false / (~member).sum(),
                "recall": true / member.sum(),
                "precision": true / (true + false),
            }
        )


def ranking_table(ranked: Sequence[Target], estimates: Mapping, resampled: Mapping) -> pd.DataFrame:
    """Return the areas of each class, with 95 % bootstrap intervals.

    Parameters
    ----------
    ranked : sequence of Target
    estimates, resampled : mapping of ("ranking", class) to float array, shape (2,) and (n_resamples, 2)
        As of `ranking_statistic`.

    Returns
    -------
    DataFrame
        class, kind, n_members, n_others; auc and average_precision, each with _lower and _upper; frequency
        (the average precision of a ranking by chance). No interval where members or others are fewer than
        five.
    """
    areas = [f"{area}{end}" for area in ("auc", "average_precision") for end in ("", "_lower", "_upper")]
    rows = []
    for target in ranked:
        n, n_members = len(target.member), int(target.member.sum())
        value, ends = np.full(2, np.nan), np.full((2, 2), np.nan)
        # Precision of a class that has no others is one, whatever the ranking.
        if 0 < n_members < n:
            value = estimates["ranking", target.name]
        if min(n_members, n - n_members) >= MIN_EACH:
            ends = bootstrap_interval(value, resampled["ranking", target.name])
        numbers = [x for k in range(2) for x in (value[k], ends[0][k], ends[1][k])]
        frequency = n_members / n if n else np.nan
        rows.append([target.name, target.kind, n_members, n - n_members, *numbers, frequency])
    return pd.DataFrame(rows, columns=["class", "kind", "n_members", "n_others", *areas, "frequency"])


def curves_table(ranked: Sequence[Target]) -> pd.DataFrame:
    """Return the curves of all classes that have members and others, one below the other."""
    parts = [
        curve(target.score, target.member).assign(**{"class": target.name, "kind": target.kind})
        for target in ranked
        if 0 < target.member.sum() < len(target.member)
    ]
    columns = ["class", "kind", "threshold", "false_positive_rate", "recall", "precision"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
