"""The tables of an evaluation: the whole sample, class by class, calibration, sets, mistakes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.evaluation_join import Sample
from bayesclass.evaluation_levels import Level, collapse
from bayesclass.evaluation_notes import FLOOR
from bayesclass.evaluation_scores import FIGURES, MIN_OBJECTS, interval

WORST = 25

__all__ = [
    "class_table",
    "levels_table",
    "mistakes_table",
    "node_table",
    "reliability_table",
    "set_size_statistics",
    "sets_table",
    "summary_table",
    "worst_mistakes",
]


def summary_table(sample: Sample, estimates: Mapping, resampled: Mapping, rng) -> pd.DataFrame:
    """Return each figure of the sample as a whole with its interval (and the null of the ECE)."""
    n_all, n_one = len(sample.p), int(sample.one.sum())
    rows = []
    for name in (FIGURES[0], "log_loss_class_frequencies", *FIGURES[1:]):
        if ("all", name) not in estimates:
            continue
        n = n_all if name.startswith("log_loss") else n_one
        value = float(estimates["all", name])
        ends = interval(name, value, resampled["all", name], n)
        rows.append((name, value, float(ends[0]), float(ends[1]), n))
        if name == "ece":
            mean, upper = metrics.ece_null(sample.p[sample.one], rng)
            rows.append(("ece_null", mean, np.nan, upper, n))
    return pd.DataFrame(rows, columns=["metric", "value", "lower", "upper", "n_objects"])


def class_table(sample: Sample, classes: tuple[str, ...], rng) -> pd.DataFrame:
    """Return the scores of each class, over objects of one labelled class."""
    one = sample.one
    p, y = sample.p[one], sample.y[one]
    true = metrics.one_hot(y, len(classes))
    precision, recall, f1 = metrics.precision_recall_f1(p, y)
    loss = metrics.log_losses(p, y, floor=FLOOR)
    null, null_upper = metrics.class_ece_null(p, rng)
    frame = pd.DataFrame(
        {
            "class": classes,
            "n_objects": true.sum(axis=0),
            "frequency": _columns(true),
            "mean_probability": _columns(p),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "auc": [metrics.roc_auc(p[:, k], true[:, k]) for k in range(len(classes))],
            "log_loss": [metrics.weighted_mean(loss[true[:, k]]) for k in range(len(classes))],
            "ece": metrics.class_ece(p, y),
            "ece_null": null,
            "ece_null_upper": null_upper,
        }
    )
    if sample.sets is not None:
        held = sample.sets[one]
        frame["coverage"] = [metrics.weighted_mean(held[true[:, k], k]) for k in range(len(classes))]
    return frame


def node_table(sample: Sample, levels: tuple[Level, ...], rng) -> pd.DataFrame:
    """Return the scores of each inner node against the others of its level; columns as `class_table`."""
    tables = [class_table(collapse(sample, level), level.classes, rng) for level in levels]
    rows = [
        table[table["class"].isin(level.nodes)]
        for table, level in zip(tables, levels, strict=True)
        if level.nodes
    ]
    return pd.concat(rows, ignore_index=True) if rows else tables[-1].iloc[:0]


def levels_table(
    sample: Sample, levels: tuple[Level, ...], estimates: Mapping, resampled: Mapping, rng
) -> pd.DataFrame:
    """Return the main figures on each level of the class tree, with intervals.

    Returns
    -------
    DataFrame
        level (1 is the top), classes, n_objects (whose label leads to one class of the level); every figure
        with _lower and _upper; ece_null and ece_null_upper.
    """
    rows = []
    for level in levels:
        own = collapse(sample, level)
        n = int(own.one.sum())
        row = {"level": level.number, "classes": "|".join(level.classes), "n_objects": n}
        for name in FIGURES:
            key = ("level", level.number, name)
            value = float(estimates.get(key, np.nan))
            ends = (np.nan, np.nan)
            if key in estimates:
                ends = interval(name, value, resampled[key], len(own.p) if name == "log_loss" else n)
            row |= {name: value, f"{name}_lower": float(ends[0]), f"{name}_upper": float(ends[1])}
            if name == "ece":
                row["ece_null"], row["ece_null_upper"] = metrics.ece_null(own.p[own.one], rng)
        rows.append(row)
    return pd.DataFrame(rows)


def sets_table(sample: Sample, classes: tuple[str, ...], resampled: Mapping) -> pd.DataFrame:
    """Return coverage and size of the prediction sets, of all objects and class by class.

    Parameters
    ----------
    sample : Sample
    classes : tuple of str
    resampled : mapping of ("set size", row) to float array, shape (n_resamples,)
        As of `set_size_statistics`.

    Returns
    -------
    DataFrame
        class ("all" first), n_objects, n_held, coverage, lower, upper (exact binomial, 95 %), mean_set_size,
        size_lower, size_upper (bootstrap), single (fraction of sets of one class).
    """
    columns = ["class", "n_objects", "n_held", "coverage", "lower", "upper", "mean_set_size"]
    columns += ["size_lower", "size_upper", "single"]
    rows = []
    if sample.sets is not None and sample.one.any():
        sets, y = sample.sets[sample.one], sample.y[sample.one]
        held = sets[np.arange(len(y)), y]
        for k, name in enumerate(("all", *classes)):
            own = np.ones(len(y), dtype=bool) if k == 0 else y == k - 1
            n, hits, size = int(own.sum()), int(held[own].sum()), sets[own].sum(axis=1)
            mean = float(metrics.weighted_mean(size))
            ends = (np.nan, np.nan)
            if n >= MIN_OBJECTS:
                ends = metrics.bootstrap_interval(mean, resampled["set size", k])
            fraction = hits / n if n else np.nan
            limits = metrics.binomial_interval(hits, n)
            rows.append([name, n, hits, fraction, *limits, mean, *ends, metrics.weighted_mean(size == 1)])
    return pd.DataFrame(rows, columns=columns)


def set_size_statistics(sample: Sample, n_classes: int) -> dict:
    """Return functions of weights: the mean size of the sets, of all objects and of each labelled class."""
    if sample.sets is None or not sample.one.any():
        return {}
    size = sample.sets.sum(axis=1)
    members = [sample.one, *(sample.one & (sample.y == k) for k in range(n_classes))]
    return {
        ("set size", k): lambda w, own=own: metrics.weighted_mean(size[own], w[..., own])
        for k, own in enumerate(members)
    }


def reliability_table(sample: Sample, levels: tuple[Level, ...], rng) -> pd.DataFrame:
    """Return the bins of the reliability diagrams: each leaf, each inner node, and all leaves pooled.

    Returns
    -------
    DataFrame
        class, kind ("leaf", "node" or "all"), bin, lower_edge, upper_edge, n, mean_probability, frequency,
        band_lower, band_upper.
    """
    parts = []
    for level in levels:
        last = level is levels[-1]
        own = collapse(sample, level)
        if not own.one.any() or not (level.nodes or last):
            continue
        tables = metrics.reliability(own.p[own.one], own.y[own.one], rng)
        rows = [*level.classes, "all"]
        kinds = ["node" if name in level.nodes else "" for name in level.classes] + [""]
        if last:
            kinds = ["leaf"] * len(level.classes) + ["all"]
        bins = tables["n"].shape[1]
        edges = np.linspace(0.0, 1.0, bins + 1)
        for k, (name, kind) in enumerate(zip(rows, kinds, strict=True)):
            if kind:
                columns = {"class": name, "kind": kind, "bin": np.arange(bins)}
                columns |= {"lower_edge": edges[:-1], "upper_edge": edges[1:]}
                parts.append(pd.DataFrame(columns | {key: table[k] for key, table in tables.items()}))
    if not parts:
        names = ("bin", "lower_edge", "upper_edge", "n", "mean_probability", "frequency")
        columns = ["class", "kind", *names, "band_lower", "band_upper"]
        return pd.DataFrame({name: pd.Series(dtype=float) for name in columns})
    return pd.concat(parts, ignore_index=True).astype({"n": int})


def worst_mistakes(sample: Sample) -> np.ndarray:
    """Return where the best class is one that the label does not allow, the most confident first."""
    best = sample.p.argmax(axis=1)
    loss = metrics.log_losses(sample.p, sample.allowed, floor=FLOOR)
    wrong = np.flatnonzero(~sample.allowed[np.arange(len(best)), best])
    return wrong[np.argsort(-loss[wrong], kind="stable")][:WORST]


def mistakes_table(sample: Sample, worst: np.ndarray, classes: tuple[str, ...], why=()) -> pd.DataFrame:
    """Return what is known of some objects whose best class is wrong.

    Parameters
    ----------
    sample : Sample
    worst : int array
        Their positions, as of `worst_mistakes`.
    classes : tuple of str
    why : sequence of str
        A sentence each, as of `mistake_reasons`; empty without reasons.
    """
    best = sample.p.argmax(axis=1)
    loss = metrics.log_losses(sample.p, sample.allowed, floor=FLOOR)
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
    for name in ("n_detections", "n_upper_limits", "novelty", "p_unknown", "conflict", "warnings"):
        if name in sample.columns:
            column = sample.columns[name].iloc[worst]
            numeric = pd.api.types.is_numeric_dtype(column)
            frame[name] = (column if numeric else column.fillna("").astype(str)).to_numpy()
    return frame.assign(reasons=why) if len(why) else frame


def _columns(values: np.ndarray) -> np.ndarray:
    return np.array([metrics.weighted_mean(column) for column in values.T])
