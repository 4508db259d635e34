"""The numbers of an evaluation: those with an interval, and its tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.evaluation_join import FLOOR, Sample

DETECTION_BINS = ((0, 0), (1, 1), (2, 3), (4, 5), (6, 10), (11, 30), (31, 100), (101, None))
WORST = 25


def statistics_of(sample: Sample) -> dict:
    """Every number with an interval, as a function of weights of shape (..., n)."""
    one, p, y = sample.one, sample.p[sample.one], sample.y[sample.one]
    loss = metrics.log_losses(sample.p, sample.allowed, floor=FLOOR)
    frequency = _frequencies(sample)
    baseline = metrics.log_losses(np.tile(frequency, (len(sample.p), 1)), sample.allowed, floor=FLOOR)
    result = {"log_loss": lambda w: metrics.weighted_mean(loss, w)}
    if one.any():
        result |= {
            "log_loss_class_frequencies": lambda w: metrics.weighted_mean(baseline, w),
            "brier": lambda w: metrics.brier(p, y, weights=w[..., one]),
            "accuracy": lambda w: metrics.accuracy(p, y, weights=w[..., one]),
            "macro_f1": lambda w: metrics.macro_f1(p, y, weights=w[..., one]),
            "ece": lambda w: metrics.classwise_ece(p, y, weights=w[..., one]),
        }
    if one.any() and sample.sets is not None:
        sets = sample.sets[one]
        result["coverage"] = lambda w: metrics.coverage(sets, y, weights=w[..., one])
        result["mean_set_size"] = lambda w: metrics.weighted_mean(sets.sum(axis=1), w[..., one])
    if sample.n_detections is not None:
        inside = _bins(sample.n_detections)
        right = np.where(one, sample.p.argmax(axis=1) == sample.y, np.nan)
        per_bin = np.where(inside, loss[:, None], np.nan)
        right_per_bin = np.where(inside, right[:, None], np.nan)
        result["bins_log_loss"] = lambda w: _columns(per_bin, w)
        result["bins_accuracy"] = lambda w: _columns(right_per_bin, w)
    return result


def summary_table(sample, estimates, ends, rng) -> pd.DataFrame:
    """Return each number of the sample as a whole with its interval (and the null of the ECE)."""
    n_all, n_one = len(sample.p), int(sample.one.sum())
    rows = []
    for name, value in estimates.items():
        if name.startswith("bins_"):
            continue
        n = n_all if name.startswith("log_loss") else n_one
        rows.append((name, float(value), float(ends[name][0]), float(ends[name][1]), n))
        if name == "ece":
            mean, upper = metrics.ece_null(sample.p[sample.one], rng)
            rows.append(("ece_null", mean, np.nan, upper, n))
    return pd.DataFrame(rows, columns=["metric", "value", "lower", "upper", "n_objects"])


def class_table(sample: Sample, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return the scores of each class, over objects of one labelled class."""
    one = sample.one
    p, y = sample.p[one], sample.y[one]
    true = metrics.one_hot(y, len(classes))
    precision, recall, f1 = metrics.precision_recall_f1(p, y)
    loss = metrics.log_losses(p, y, floor=FLOOR)
    held = None if sample.sets is None else sample.sets[one]
    frame = pd.DataFrame(
        {
            "class": classes,
            "n_objects": true.sum(axis=0),
            "frequency": _columns(true, np.ones(len(p))),
            "mean_probability": _columns(p, np.ones(len(p))),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "auc": [metrics.roc_auc(p[:, k], true[:, k]) for k in range(len(classes))],
            "log_loss": [metrics.weighted_mean(loss[true[:, k]]) for k in range(len(classes))],
            "ece": metrics.class_ece(p, y),
        }
    )
    if held is not None:
        frame["coverage"] = [metrics.weighted_mean(held[true[:, k], k]) for k in range(len(classes))]
    return frame


def detections_table(sample, estimates, ends, rng) -> pd.DataFrame:
    """Return scores by number of detections; without rows when that is not known."""
    names = ["n_detections", "n_objects", "log_loss", "lower", "upper", "accuracy", "accuracy_lower"]
    names += ["accuracy_upper", "ece", "ece_null", "ece_null_upper", "coverage", "mean_set_size"]
    rows = []
    inside = np.empty((0, 0)) if sample.n_detections is None else _bins(sample.n_detections)
    for b, (low, high) in enumerate(DETECTION_BINS[: inside.shape[1]]):
        label = f">{low - 1}" if high is None else f"{low}" if low == high else f"{low}-{high}"
        own = inside[:, b] & sample.one
        p, y = sample.p[own], sample.y[own]
        row = [label, int(inside[:, b].sum())]
        for name in ("bins_log_loss", "bins_accuracy"):
            row += [float(part[b]) for part in (estimates[name], *ends[name])]
        row += [float(metrics.classwise_ece(p, y)), *metrics.ece_null(p, rng)]
        sets = np.full((len(p), 0), np.nan) if sample.sets is None else sample.sets[own]
        row += (
            [np.nan, np.nan]
            if sample.sets is None
            else [
                float(metrics.coverage(sets, y)),
                float(metrics.weighted_mean(sets.sum(axis=1))),
            ]
        )
        rows.append(row)
    return pd.DataFrame(rows, columns=names)


def reliability_table(p, y, classes, rng) -> pd.DataFrame:
    """Return the bins of the reliability diagrams, class by class and pooled ("all")."""
    if not len(p):
        parts = {name: np.empty((len(classes) + 1, 0)) for name in ("n", "mean_probability", "frequency")}
        parts |= {"band_lower": parts["n"], "band_upper": parts["n"]}
    else:
        parts = metrics.reliability(p, y, rng)
    rows, bins = parts["n"].shape
    edges = np.linspace(0.0, 1.0, bins + 1)
    frame = {
        "class": np.repeat([*classes, "all"], bins),
        "bin": np.tile(np.arange(bins), rows),
        "lower_edge": np.tile(edges[:-1], rows) if bins else np.empty(0),
        "upper_edge": np.tile(edges[1:], rows) if bins else np.empty(0),
    }
    return pd.DataFrame(frame | {name: part.ravel() for name, part in parts.items()}).astype({"n": int})


def mistakes_table(sample: Sample, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return the objects whose best class their label does not allow, the most confident first."""
    best = sample.p.argmax(axis=1)
    loss = metrics.log_losses(sample.p, sample.allowed, floor=FLOOR)
    wrong = np.flatnonzero(~sample.allowed[np.arange(len(best)), best])
    worst = wrong[np.argsort(-loss[wrong], kind="stable")][:WORST]
    names = np.array(classes, dtype=object)
    frame = pd.DataFrame(
        {
            "object_id": sample.object_id[worst],
            "label": sample.label[worst].astype(str),
            "allowed": ["|".join(names[row]) for row in sample.allowed[worst]],
            "best_class": names[best[worst]].astype(str),
            "p_best": sample.p[worst, best[worst]],
            "p_allowed": np.where(sample.allowed, sample.p, 0.0).sum(axis=1)[worst],
            "log_loss": loss[worst],
        }
    )
    for name in ("n_detections", "n_upper_limits", "novelty", "conflict", "warnings"):
        if name in sample.columns:
            frame[name] = sample.columns[name].to_numpy()[worst]
    return frame


def _frequencies(sample: Sample) -> np.ndarray:
    count = sample.allowed[sample.one].sum(axis=0)
    return count / max(count.sum(), 1)


def _columns(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.stack([metrics.weighted_mean(column, weights) for column in values.T], axis=-1)


def _bins(n: np.ndarray) -> np.ndarray:
    """Membership of each object in `DETECTION_BINS`, shape (n, n_bins), bool."""
    return np.stack(
        [(n >= low) & (n <= (np.inf if high is None else high)) for low, high in DETECTION_BINS], 1
    )
