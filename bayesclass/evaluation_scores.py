"""The main figures of any group of objects, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.evaluation_bins import Binning
from bayesclass.evaluation_join import Sample
from bayesclass.evaluation_notes import FLOOR

# In the order in which they are shown.
FIGURES = ("log_loss", "brier", "accuracy", "macro_f1", "ece", "coverage", "mean_set_size")
FRACTIONS = ("accuracy", "coverage")
# Resamples of fewer objects say nothing of an error.
MIN_OBJECTS = 5

Statistic = Callable[[np.ndarray], np.ndarray]

__all__ = ["FIGURES", "MIN_OBJECTS", "Statistic", "bins_table", "figures", "frequency_loss", "interval"]


def figures(sample: Sample, inside: np.ndarray | None = None) -> dict[str, Statistic]:
    """Return the main figures of a group as functions of weights over all objects, shape (..., n).

    Parameters
    ----------
    sample : Sample
    inside : bool array, shape (n,), optional
        The group; by default all.

    Returns
    -------
    dict of str to callable
        Of `FIGURES` those that can be had: the log-loss alone where no object has one labelled class,
        coverage and size where there are prediction sets.
    """
    inside = np.ones(len(sample.p), dtype=bool) if inside is None else inside
    one = inside & sample.one
    loss = metrics.log_losses(sample.p[inside], sample.allowed[inside], floor=FLOOR)
    p, y = sample.p[one], sample.y[one]
    result: dict[str, Statistic] = {"log_loss": lambda w: metrics.weighted_mean(loss, w[..., inside])}
    if one.any():
        result |= {
            "brier": lambda w: metrics.brier(p, y, weights=w[..., one]),
            "accuracy": lambda w: metrics.accuracy(p, y, weights=w[..., one]),
            "macro_f1": lambda w: metrics.macro_f1(p, y, weights=w[..., one]),
            "ece": lambda w: metrics.classwise_ece(p, y, weights=w[..., one]),
        }
        if sample.sets is not None:
            sets = sample.sets[one]
            size = sets.sum(axis=1)
            result["coverage"] = lambda w: metrics.coverage(sets, y, weights=w[..., one])
            result["mean_set_size"] = lambda w: metrics.weighted_mean(size, w[..., one])
    return result


def frequency_loss(sample: Sample) -> Statistic:
    """Return the log-loss of the frequencies of the labelled classes, given to every object."""
    count = sample.allowed[sample.one].sum(axis=0)
    frequency = count / max(count.sum(), 1)
    loss = metrics.log_losses(np.tile(frequency, (len(sample.p), 1)), sample.allowed, floor=FLOOR)
    return lambda w: metrics.weighted_mean(loss, w)


def interval(name: str, estimate, resampled, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a figure of n objects.

    NaN for fewer than `MIN_OBJECTS`, and where no resample changes the figure. Of a fraction the exact
    binomial one; of a calibration error the resampled one, reflected at the estimate (see
    `bayesclass.metrics.bootstrap_interval`); of others the resampled one.
    """
    if n < MIN_OBJECTS:
        return np.nan, np.nan
    if name in FRACTIONS:
        return metrics.binomial_interval(np.round(estimate * n), n)
    if np.nanmin(resampled) == np.nanmax(resampled):
        return np.nan, np.nan
    return metrics.bootstrap_interval(estimate, resampled, pivotal=name == "ece")


def bins_table(
    sample: Sample,
    binning: Binning,
    estimates: Mapping,
    resampled: Mapping,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the main figures in every bin; without rows where there are no bins.

    Parameters
    ----------
    sample : Sample
    binning : Binning
    estimates, resampled : mapping of (name, bin, figure) to float or float array, shape (n_resamples,)
    rng : numpy Generator
        Redraws labels for the null value of the calibration error.

    Returns
    -------
    DataFrame
        Name of the bin, n_objects; log_loss, lower, upper; every other figure with _lower and _upper;
        ece_null and ece_null_upper. NaN where a bin has too few objects.
    """
    rows = []
    for b, label in enumerate(binning.labels):
        inside = binning.inside[:, b]
        one = inside & sample.one
        row = {binning.name: label, "n_objects": int(inside.sum())}
        for name in FIGURES:
            n = int(inside.sum() if name == "log_loss" else one.sum())
            key = (binning.name, b, name)
            value = float(estimates[key]) if n and key in estimates else np.nan
            ends = (np.nan, np.nan) if np.isnan(value) else interval(name, value, resampled[key], n)
            first, second = ("lower", "upper") if name == "log_loss" else (f"{name}_lower", f"{name}_upper")
            row |= {name: value, first: float(ends[0]), second: float(ends[1])}
            if name == "ece":
                row["ece_null"], row["ece_null_upper"] = metrics.ece_null(sample.p[one], rng)
        rows.append(row)
    columns = [binning.name, "n_objects", "log_loss", "lower", "upper"]
    for name in FIGURES[1:]:
        columns += [name, f"{name}_lower", f"{name}_upper"]
        columns += ["ece_null", "ece_null_upper"] if name == "ece" else []
    return pd.DataFrame(rows, columns=columns)
