"""The numbers of a comparison: every figure of two posteriors and the paired interval of their difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.evaluation_bins import Binning
from bayesclass.evaluation_brier import brier_parts
from bayesclass.evaluation_join import Sample
from bayesclass.evaluation_notes import FLOOR
from bayesclass.evaluation_ranking import ranking_statistic, targets
from bayesclass.evaluation_scores import FIGURES, MIN_OBJECTS, Statistic, figures

# Which of two values is the better one: 1 the larger, -1 the smaller, 0 neither.
BETTER = dict.fromkeys(("log_loss", "brier", "ece", "reliability"), -1)
BETTER |= dict.fromkeys(
    ("accuracy", "macro_f1", "recall", "precision", "f1", "auc", "average_precision", "resolution"), 1
)
OF_CLASS = ("log_loss", "brier", "recall", "precision", "f1", "auc", "average_precision", "ece", "coverage")
AREAS = ("auc", "average_precision")
WHOLE = ("reliability", "resolution", *AREAS)
# Begins the key of figures that are found together.
JOINT = ("joint",)
COLUMNS = ("metric", "n_objects", "a", "b", "difference", "lower", "upper", "better")

__all__ = ["bin_rows", "class_rows", "statistics", "unfold", "whole_rows"]


def statistics(a: Sample, b: Sample, levels, binnings: Sequence[Binning]) -> dict[tuple, Statistic]:
    """Return every figure of both samples as functions of weights, shape (..., n) to (..., 2).

    Both samples are of the same objects in the same order, so that a resample is of pairs.

    Returns
    -------
    dict
        Keys ("all", figure), (name of a binning, bin, figure) and ("class", class, figure); or `JOINT` and
        several of these, which `unfold` separates.
    """
    wanted: dict[tuple, Statistic] = {}

    def add(first: Mapping, second: Mapping, *prefix) -> None:
        shared = [key for key in first if key in second]
        wanted.update({(*prefix, *key): _pair(first[key], second[key]) for key in shared})

    def main(sample: Sample, inside: np.ndarray | None = None) -> dict[tuple, Statistic]:
        return {(name,): figure for name, figure in figures(sample, inside).items()}

    add(main(a), main(b), "all")
    for binning in binnings:
        for k in range(len(binning.labels)):
            add(*(main(sample, binning.inside[:, k]) for sample in (a, b)), binning.name, k)
    add(*(_classes(sample, levels[-1].classes) for sample in (a, b)))
    first, second = (_joint(sample, levels) for sample in (a, b))
    return wanted | {JOINT + keys: _pair(first[keys], second[keys]) for keys in first}


def unfold(values: Mapping, classes: Sequence[str]) -> dict[tuple, np.ndarray]:
    """Return each figure under its own key, and the mean of both areas over the leaves.

    Parameters
    ----------
    values : mapping
        Of `statistics`, or of their resamples.
    classes : sequence of str
        The leaves.
    """
    found = {}
    for key, value in values.items():
        joint = key[:1] == JOINT
        found |= {own: value[..., i, :] for i, own in enumerate(key[1:])} if joint else {key: value}
    for area in AREAS:
        each = [found["class", name, area] for name in classes if ("class", name, area) in found]
        if each:
            found["all", area] = np.mean(each, axis=0)
    return found


def whole_rows(estimates: Mapping, resampled: Mapping, n_all: int, n_one: int) -> pd.DataFrame:
    """Return one row a figure of all objects: `COLUMNS`, then the two values' own intervals."""
    names = [name for name in (*FIGURES, *WHOLE) if ("all", name) in estimates]
    rows = [
        row_of(("all", name), estimates, resampled, n_all if name == "log_loss" else n_one) for name in names
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def class_rows(estimates: Mapping, resampled: Mapping, count: Mapping[str, int]) -> pd.DataFrame:
    """Return one row a class and figure: class, then `COLUMNS`."""
    keys = [("class", name, figure) for name, n in count.items() if n for figure in OF_CLASS]
    rows = [(key[1], *row_of(key, estimates, resampled, count[key[1]])) for key in keys if key in estimates]
    return pd.DataFrame(rows, columns=["class", *COLUMNS])


def bin_rows(binning: Binning, estimates: Mapping, resampled: Mapping, one: np.ndarray) -> pd.DataFrame:
    """Return one row a bin and figure: the bin's name, then `COLUMNS`."""
    rows = []
    for k, label in enumerate(binning.labels):
        inside = binning.inside[:, k]
        for name in FIGURES:
            key = (binning.name, k, name)
            if key in estimates and inside.any():
                n = int(inside.sum() if name == "log_loss" else (inside & one).sum())
                rows.append((label, *row_of(key, estimates, resampled, n)))
    return pd.DataFrame(rows, columns=[binning.name, *COLUMNS])


def row_of(key: tuple, estimates: Mapping, resampled: Mapping, n: int) -> tuple:
    """Return `COLUMNS` of one figure.

    The interval is that of the resampled difference b - a; of a calibration error, which resampling raises,
    it is reflected at the difference. NaN for fewer than `MIN_OBJECTS` objects, and where no resample changes
    the difference.
    """
    first, second = (float(value) for value in estimates[key])
    difference = second - first
    lower = upper = np.nan
    many = resampled[key][:, 1] - resampled[key][:, 0]
    if n >= MIN_OBJECTS and not np.isnan(difference) and np.nanmin(many) < np.nanmax(many):
        lower, upper = metrics.bootstrap_interval(difference, many)
        if key[-1] in ("ece", "reliability"):
            lower, upper = 2.0 * difference - upper, 2.0 * difference - lower
    better = ""
    if BETTER.get(key[-1]) and (lower > 0 or upper < 0):
        better = "b" if (difference > 0) == (BETTER[key[-1]] > 0) else "a"
    return key[-1], n, first, second, difference, float(lower), float(upper), better


def _pair(first: Statistic, second: Statistic) -> Statistic:
    return lambda w: np.stack(np.broadcast_arrays(first(w), second(w)), axis=-1)


def _joint(sample: Sample, levels) -> dict[tuple[tuple, ...], Statistic]:
    """Figures that are found together: their keys -> a function of weights, shape (..., n_keys)."""
    one, classes = sample.one, levels[-1].classes
    if not one.any():
        return {}
    p, y = sample.p[one], sample.y[one]

    def parts(w):
        found = brier_parts(p, y, weights=w[..., one])
        return np.stack([found[name].sum(axis=-1) for name in ("reliability", "resolution")], axis=-1)

    result = {
        (("all", "reliability"), ("all", "resolution")): parts,
        _keys(classes, "precision", "recall", "f1"): lambda w: np.concatenate(
            metrics.precision_recall_f1(p, y, weights=w[..., one]), axis=-1
        ),
        _keys(classes, "ece"): lambda w: metrics.class_ece(p, y, weights=w[..., one]),
    }
    for target in targets(sample, levels):
        if 0 < target.member.sum() < len(target.member):
            area = ranking_statistic(target.score, target.member)
            keys = _keys((target.name,), *AREAS)
            result[keys] = lambda w, area=area, known=target.known: area(w[..., known])
    return result


def _classes(sample: Sample, classes: Sequence[str]) -> dict[tuple, Statistic]:
    """Means over the objects labelled so, and the Brier score, of each leaf that has objects."""
    one = sample.one
    p, y = sample.p[one], sample.y[one]
    loss = metrics.log_losses(p, y, floor=FLOOR)
    result: dict[tuple, Statistic] = {}
    for k, name in enumerate(classes):
        own = y == k
        of_class = np.flatnonzero(one)[own]
        if own.any():
            result["class", name, "log_loss"] = _mean(loss[own], of_class)
            result["class", name, "brier"] = _mean((p[:, k] - own) ** 2, np.flatnonzero(one))
            if sample.sets is not None:
                result["class", name, "coverage"] = _mean(sample.sets[of_class, k], of_class)
    return result


def _mean(values: np.ndarray, rows: np.ndarray) -> Statistic:
    return lambda w: metrics.weighted_mean(values, w[..., rows])


def _keys(classes: Sequence[str], *names: str) -> tuple[tuple, ...]:
    return tuple(("class", name, figure) for figure in names for name in classes)
