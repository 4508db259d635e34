"""The sections of an evaluation's page: words, tables and pictures of each."""

from __future__ import annotations

from html import escape

import pandas as pd

from bayesclass import plots
from bayesclass.evaluation import Evaluation
from bayesclass.report_bins import bins_rows, bins_sections
from bayesclass.report_evidence import evidence_section, mistakes_section
from bayesclass.report_html import cell, heat_table, panels, paragraph, section, table

METRICS = {
    "log_loss": "Log-loss [nat], lower is better",
    "log_loss_class_frequencies": "Log-loss of the class frequencies alone",
    "brier": "Brier score (0 to 2), lower is better",
    "accuracy": "Accuracy of the best class",
    "macro_f1": "F1, mean over classes",
    "ece": "Calibration error by class (15 bins)",
    "ece_null": "... of exactly right probabilities (right end: 95 % quantile)",
    "coverage": "Prediction sets that hold the labelled class",
    "mean_set_size": "Classes in a prediction set, mean",
}
# More panels than this cannot be read.
PANELS = 9
BRIER = ("brier", "reliability", "resolution", "uncertainty", "within_bins")

__all__ = ["METRICS", "PANELS", "sections"]


def sections(found: Evaluation) -> list[tuple[str, str]]:
    """Return all sections of the page, each as its title and its HTML."""
    parts = [_summary(found)]
    if found.counts["one_labelled_class"]:
        parts += [_calibration(found), _confusion(found), _classes(found), _ranking(found), _sets(found)]
    parts += [*bins_sections(found), evidence_section(found), mistakes_section(found)]
    if len(found.unmapped):
        rows = [(escape(str(row.label)), str(row.n_objects)) for row in found.unmapped.itertuples()]
        parts.append(section("Labels that the recipe does not map", table(("label", "objects"), rows)))
    return parts


def _summary(found: Evaluation) -> tuple[str, str]:
    rows = [
        (
            METRICS.get(row.metric, row.metric),
            cell(row.value),
            "" if pd.isna(row.lower) else f"{row.lower:.3f}",
            "" if pd.isna(row.upper) else f"{row.upper:.3f}",
            str(row.n_objects),
        )
        for row in found.summary.itertuples()
    ]
    words = (
        "Intervals are of 95 %: exact binomial ones of fractions of objects (accuracy, coverage), else from "
        "resampling the objects; none is given for fewer than five, or where resampling changes nothing. A "
        "calibration error at or below that of "
        "exactly right probabilities is no sign of a fault."
    )
    return section("Summary", table(("", "value", "from", "to", "objects"), rows), paragraph(words, "note"))


def _calibration(found: Evaluation) -> tuple[str, str]:
    frequent = found.per_class.sort_values("n_objects", ascending=False, kind="stable")["class"]
    chosen = set(frequent.iloc[: PANELS - 1])
    pictures = []
    kinds = (("all", "all classes together"), ("leaf", ""), ("node", ""))
    for kind, title in kinds:
        rows = found.reliability[found.reliability["kind"] == kind]
        for name, own in rows.groupby("class", sort=False):
            if kind != "leaf" or name in chosen:
                ax = plots.reliability(own, title=title or str(name))
                pictures.append((ax, f"Fraction right against probability given, {title or name}"))
    hidden = len(found.classes) > PANELS - 1
    words = (
        "A point below the diagonal is of a class given too much, above it of one given too little. Bars "
        "hold 95 % of what exactly right probabilities would show: a point within its bar may be chance."
    )
    words += f" Drawn are the {PANELS - 1} most frequent classes." if hidden else ""
    rows = [
        (
            escape(str(row["class"])),
            *(cell(row[name], row[f"{name}_lower"], row[f"{name}_upper"], 4) for name in BRIER),
        )
        for _, row in found.brier.iterrows()
    ]
    brier = (
        "Brier score = reliability - resolution + uncertainty + within bins (Murphy 1973; Stephenson et al. "
        "2008). Reliability is the cost of miscalibration and resolution the gain of telling objects apart; "
        "uncertainty is what the class frequencies alone would cost; the last is what the 15 bins hide. Row "
        "'all' is the sum over classes."
    )
    return section(
        "Calibration",
        paragraph(words),
        panels(pictures),
        "<h3>Brier score and its parts</h3>",
        paragraph(brier, "note"),
        table(("class", "Brier", "reliability", "resolution", "uncertainty", "within bins"), rows),
    )


def _confusion(found: Evaluation) -> tuple[str, str]:
    parts = [
        paragraph(
            "Rows are labelled classes, columns those given: counted by the most probable class (hard), and "
            "summed over probabilities (fuzzy). Below each number its fraction of the row. On level 1 of the "
            "class tree the classes are its top nodes; a node's probability is the sum of its leaves."
        ),
        bins_rows(found.levels, "level", "level"),
    ]
    for level, own in found.confusion_levels.groupby("level", sort=True):
        classes = own["labelled"].drop_duplicates()
        last = level == found.levels["level"].max()
        what = f"level {level}{' (leaves)' if last else ''}"
        tables = []
        for name, words, digits in (("n_objects", "hard", 0), ("probability", "fuzzy", 1)):
            matrix = own.pivot_table(index="labelled", columns="given", values=name, sort=False)
            matrix = matrix.loc[classes, classes]
            tables.append(f"<div><h3>{what}, {words}</h3>{heat_table(matrix, 'labelled', digits)}</div>")
        parts.append(f'<div class="pair">{"".join(tables)}</div>')
    return section("Confusion", *parts)


def _classes(found: Evaluation) -> tuple[str, str]:
    names = ["frequency", "mean_probability", "precision", "recall", "f1", "auc", "log_loss"]
    rows = []
    for kind, frame in (("leaf", found.per_class), ("node", found.per_node)):
        for _, row in frame.iterrows():
            right = f"right: {row['ece_null']:.3f}, 95 %: {row['ece_null_upper']:.3f}"
            ece = "" if pd.isna(row["ece"]) else f"{row['ece']:.3f}<small>{right}</small>"
            first = [escape(str(row["class"])), kind, f"{row['n_objects']:.0f}"]
            rows.append([*first, *(cell(row[name]) for name in names), ece])
    heading = ("class", "", "objects", "frequency", "mean probability", "precision", "recall", "F1", "AUC")
    return section(
        "By class",
        paragraph(
            "Log-loss is of the objects labelled so. Below each calibration error stands what exactly right "
            "probabilities would show on average, and its 95 % quantile. An inner node is set against the "
            "other classes of its level."
        ),
        table((*heading, "log-loss", "calibration error"), rows, text=(1,)),
    )


def _ranking(found: Evaluation) -> tuple[str, str]:
    rows = []
    for _, row in found.ranking.iterrows():
        areas = (
            cell(row[name], row[f"{name}_lower"], row[f"{name}_upper"])
            for name in ("auc", "average_precision")
        )
        first = (escape(str(row["class"])), row["kind"], str(row["n_members"]), str(row["n_others"]))
        rows.append((*first, *areas, cell(row["frequency"])))
    heading = ("class", "", "members", "others", "AUC", "average precision", "by chance")
    if found.curves.empty:
        return section(
            "Ranking",
            paragraph("Ranking needs objects of two classes, and these are all of one: it was left out."),
        )
    return section(
        "Ranking",
        paragraph(
            "AUC is the probability that a member has a higher probability than another object. Average "
            "precision is the purity averaged over the members found; by chance it would be the class's "
            "frequency."
        ),
        panels(
            [
                (plots.roc(found.curves), "ROC curves of each class"),
                (plots.precision_recall(found.curves), "Precision-recall curves of each class"),
            ]
        ),
        table(heading, rows, text=(1,)),
    )


def _sets(found: Evaluation) -> tuple[str, str]:
    if found.sets.empty:
        return section(
            "Prediction sets", paragraph("Not judged: the posteriors have no column prediction_set.")
        )
    rows = [
        (
            escape(str(row["class"])),
            str(row["n_objects"]),
            cell(row["coverage"], row["lower"], row["upper"]),
            cell(row["mean_set_size"], row["size_lower"], row["size_upper"], 2),
            cell(row["single"]),
        )
        for _, row in found.sets.iterrows()
    ]
    return section(
        "Prediction sets",
        paragraph(
            "How often the set holds the labelled class, of all objects and of those labelled so, with exact "
            "binomial intervals; and how many classes it holds. `classify` makes its sets for 90 %."
        ),
        table(("class", "objects", "coverage", "mean size", "of one class"), rows),
    )
