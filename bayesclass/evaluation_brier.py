"""The Brier score taken apart: calibration, sharpness, and what bins hide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from bayesclass.metrics import bootstrap_interval, one_hot

BINS = 15
PARTS = ("brier", "reliability", "resolution", "uncertainty", "within_bins")

__all__ = ["PARTS", "brier_parts", "brier_statistic", "brier_table"]


def brier_parts(p, y, bins: int = BINS, *, weights=None) -> dict[str, np.ndarray]:
    r"""Return the Brier score of every class against the rest, and its parts.

    .. math::
        \langle(p - y)^2\rangle = \underbrace{\sum_b \tfrac{n_b}{n} (\bar p_b - \bar y_b)^2}_{reliability}
        - \underbrace{\sum_b \tfrac{n_b}{n} (\bar y_b - \bar y)^2}_{resolution}
        + \underbrace{\bar y (1 - \bar y)}_{uncertainty}
        + \underbrace{\langle(p - \bar p_b)^2\rangle
        - 2 \langle(y - \bar y_b)(p - \bar p_b)\rangle}_{within\ bins}

    over equal-width bins b of the class's probability. The first three are Murphy's (1973, J. Appl. Meteor.
    12, 595), exact where all probabilities of a bin are equal; the last is what they miss otherwise
    (Stephenson, Coelho & Jolliffe 2008, Weather and Forecasting 23, 752), so that the parts add up
    to the score.

    Parameters
    ----------
    p : float array, shape (n, n_classes)
    y : int array, shape (n,)
    bins : int
    weights : float array, shape (..., n), optional
        Counts of a resample; see `bayesclass.metrics`.

    Returns
    -------
    dict of str to float array, shape (..., n_classes)
        `PARTS`; the sum over classes is the score of all classes together, between 0 and 2.
    """
    p = np.asarray(p, dtype=np.float64)
    n, n_classes = p.shape
    true = one_hot(y, n_classes).astype(np.float64)
    weights = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    rows = weights.reshape(-1, n).T
    cell = np.clip((p * bins).astype(np.int64), 0, bins - 1) + bins * np.arange(n_classes)
    owner = np.repeat(np.arange(n), n_classes)

    def sums(values):
        """Weighted sums in every bin of every class, shape (n_classes, bins, n_resamples)."""
        each = sparse.csr_array((values.ravel(), (cell.ravel(), owner)), shape=(n_classes * bins, n))
        return (each @ rows).reshape(n_classes, bins, -1)

    total = rows.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        count, given, seen = sums(np.ones_like(p)), sums(p), sums(true)
        inside = np.where(count > 0, count, 1.0)
        mean_p, mean_y = given / inside, seen / inside
        base = seen.sum(axis=1) / total
        parts = {
            "brier": sums((p - true) ** 2).sum(axis=1) / total,
            "reliability": (count * (mean_p - mean_y) ** 2).sum(axis=1) / total,
            "resolution": (count * (mean_y - base[:, None]) ** 2).sum(axis=1) / total,
            "uncertainty": base * (1.0 - base),
            "within_bins": (
                sums(p**2) - count * mean_p**2 - 2.0 * (sums(p * true) - count * mean_p * mean_y)
            ).sum(axis=1)
            / total,
        }
    return {name: part.T.reshape(*weights.shape[:-1], n_classes) for name, part in parts.items()}


def brier_statistic(p, y):
    """Return a function of weights: `PARTS` of each class and of their sum, shape (..., n_classes + 1, 5)."""

    def statistic(weights):
        parts = brier_parts(p, y, weights=weights)
        each = np.stack([parts[name] for name in PARTS], axis=-1)
        return np.concatenate([each, each.sum(axis=-2, keepdims=True)], axis=-2)

    return statistic


def brier_table(
    classes: Sequence[str], estimate: np.ndarray | None, resampled: np.ndarray | None
) -> pd.DataFrame:
    """Return the parts of the Brier score of each class and of all, with 95 % bootstrap intervals.

    Parameters
    ----------
    classes : sequence of str
    estimate : float array, shape (n_classes + 1, 5), or None
        As of `brier_statistic`; None makes a table without rows.
    resampled : float array, shape (n_resamples, n_classes + 1, 5), or None

    Returns
    -------
    DataFrame
        class ("all" for their sum, last), then `PARTS`, each with _lower and _upper. The interval of the
        reliability is reflected and cut at zero, as that of a calibration error.
    """
    if estimate is None:
        names = [f"{name}{end}" for name in PARTS for end in ("", "_lower", "_upper")]
        return pd.DataFrame(columns=["class", *names])
    frame = {"class": [*classes, "all"]}
    for k, name in enumerate(PARTS):
        value = estimate[:, k]
        lower, upper = bootstrap_interval(value, resampled[..., k], pivotal=name == "reliability")
        frame |= {name: value, f"{name}_lower": lower, f"{name}_upper": upper}
    return pd.DataFrame(frame)
