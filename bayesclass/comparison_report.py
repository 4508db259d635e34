"""A comparison as a folder: a page that needs nothing else, tables as CSV and Parquet, numbers as JSON."""

from __future__ import annotations

import json
import os
from html import escape
from pathlib import Path

import numpy as np

from bayesclass import plots
from bayesclass.comparison import Comparison
from bayesclass.plots_scores import LABELS
from bayesclass.report import TRAINING, plain
from bayesclass.report_folder import (
    NUMBERS,
    check_report_folder,
    table_files,
    write_report_folder,
    write_tables,
)
from bayesclass.report_html import cell, contents, heat_table, page, panels, paragraph, section, table

KIND = "bayesclass comparison"
PAGE = "comparison.html"
TABLES = ("summary", "per_class", "per_detections", "agreement", "objects")
FILES = frozenset({PAGE, NUMBERS}) | table_files((*TABLES, "best_classes"))
WORDS = LABELS | {
    "reliability": "reliability (part of the Brier score)",
    "resolution": "resolution (part of the Brier score)",
    "f1": "F1",
    "auc": "AUC",
    "average_precision": "average precision",
}

__all__ = ["check_comparison", "to_html", "to_json", "write_comparison"]


def check_comparison(directory: str | os.PathLike) -> None:
    """Refuse, before long work, a place where `write_comparison` could not write.

    Raises
    ------
    InputError
        As `bayesclass.report_folder.check_report_folder`.
    """
    check_report_folder(directory, KIND, FILES)


def write_comparison(comparison: Comparison, directory: str | os.PathLike) -> Path:
    """Write a comparison whole or not at all; an earlier one in the same place is replaced.

    Parameters
    ----------
    comparison : Comparison
    directory : path
        The folder to make: comparison.html, metrics.json, and each table as CSV and as Parquet.

    Returns
    -------
    Path
        Of comparison.html.

    Raises
    ------
    InputError
        As `check_comparison`, or if writing fails.
    """
    check_comparison(directory)
    return write_report_folder(directory, lambda folder: _write_files(comparison, folder)) / PAGE


def to_json(comparison: Comparison) -> dict:
    """Return the numbers as plain dictionaries and lists; None where there is no number."""
    return {
        "kind": KIND,
        "schema": 1,
        "recipe": comparison.recipe,
        "classes": list(comparison.classes),
        "a": comparison.names[0],
        "b": comparison.names[1],
        "objects": dict(comparison.counts),
        "summary": {row.pop("metric"): row for row in plain(comparison.summary)},
        "per_class": plain(comparison.per_class),
        "per_detections": plain(comparison.per_detections),
        "agreement": plain(comparison.agreement),
        "chance": comparison.chance if np.isfinite(comparison.chance) else None,
        "notes": list(comparison.notes),
    }


def to_html(comparison: Comparison) -> str:
    """Return the page; its pictures are inside it."""
    a, b = comparison.names
    counts = comparison.counts
    lead = (
        f"A is {a}, B is {b}; recipe {comparison.recipe}. {counts['in_both']} objects are in both, "
        f"{counts['one_labelled_class']} of them of one labelled class."
    )
    parts = [paragraph(lead, "lead"), paragraph(TRAINING)]
    parts += [paragraph(note, "note") for note in comparison.notes]
    parts += contents(
        [
            _summary(comparison),
            _classes(comparison),
            _detections(comparison),
            _agreement(comparison),
            _objects(comparison),
        ]
    )
    parts.append(
        paragraph(
            f"Beside this page: {NUMBERS} with the numbers, and every table as .csv and .parquet.", "note"
        )
    )
    return page(f"Comparison: {a} and {b}", parts)


def _write_files(comparison: Comparison, folder: Path) -> None:
    (folder / PAGE).write_text(to_html(comparison), encoding="utf-8")
    text = json.dumps(to_json(comparison), indent=1, allow_nan=False, ensure_ascii=False)
    (folder / NUMBERS).write_text(text + "\n", encoding="utf-8")
    tables = {name: getattr(comparison, name) for name in TABLES}
    write_tables(tables | {"best_classes": comparison.best_classes.reset_index()}, folder)


def _numbers(row) -> tuple[str, ...]:
    better = row.better.upper()
    return cell(row.a), cell(row.b), cell(row.difference, row.lower, row.upper, sign="+"), better


def _summary(found: Comparison) -> tuple[str, str]:
    rows = [
        (escape(WORDS.get(row.metric, row.metric)), str(row.n_objects), *_numbers(row))
        for row in found.summary.itertuples()
    ]
    words = (
        "A difference is B less A, with a 95 % interval from resampling the objects, both posteriors of each "
        "together (none for fewer than five, or where resampling changes nothing); `better` names one where "
        "the interval leaves zero out. Parts of the Brier score are sums over classes, AUC and average "
        "precision means."
    )
    heading = ("", "objects", "A", "B", "difference", "better")
    return section("Summary", paragraph(words), table(heading, rows))


def _classes(found: Comparison) -> tuple[str, str]:
    rows = [
        (escape(row[1]), escape(WORDS.get(row.metric, row.metric)), str(row.n_objects), *_numbers(row))
        for row in found.per_class.itertuples()
    ]
    if not rows:
        return section("By class", paragraph("No object has one labelled class."))
    loss = found.per_class[found.per_class["metric"] == "log_loss"]
    ax = plots.differences(
        loss["class"], loss["difference"], loss["lower"], loss["upper"], "log-loss of B less that of A [nat]"
    )
    heading = ("class", "figure", "objects", "A", "B", "difference", "better")
    words = "Log-loss, recall and coverage are of the objects labelled so. Left of zero B is better."
    return section(
        "By class",
        paragraph(words),
        panels([(ax, "Difference of the log-loss, class by class")], wide=True),
        table(heading, rows, text=(1,)),
    )


def _detections(found: Comparison) -> tuple[str, str]:
    title = "By number of detections"
    if found.per_detections.empty:
        return section(title, paragraph("Give posteriors with the column n_detections to see this."))
    rows = [
        (escape(row[1]), escape(WORDS.get(row.metric, row.metric)), str(row.n_objects), *_numbers(row))
        for row in found.per_detections.itertuples()
    ]
    loss = found.per_detections[found.per_detections["metric"] == "log_loss"]
    names = [f"{name} ({n})" for name, n in zip(loss["n_detections"], loss["n_objects"], strict=True)]
    ax = plots.differences(
        names, loss["difference"], loss["lower"], loss["upper"], "log-loss of B less that of A [nat]"
    )
    heading = ("detections", "figure", "objects", "A", "B", "difference", "better")
    return section(
        title,
        panels([(ax, "Difference of the log-loss against detections")], wide=True),
        table(heading, rows, text=(1,)),
    )


def _agreement(found: Comparison) -> tuple[str, str]:
    rows = [
        (escape(row.what), str(row.n_objects), str(row.n), cell(row.fraction, row.lower, row.upper))
        for row in found.agreement.itertuples()
    ]
    parts = [table(("", "of objects", "objects", "fraction"), rows)]
    if np.isfinite(found.chance):
        parts.append(
            paragraph(
                f"Were neither right more often, so unequal a count would come up with probability "
                f"{found.chance:.2g} (McNemar's test, exact)."
            )
        )
    parts += ["<h3>Best class of A (rows) and of B (columns)</h3>", heat_table(found.best_classes, "A")]
    return section("Agreement", *parts)


def _objects(found: Comparison) -> tuple[str, str]:
    title = "Objects on which they differ most"
    if found.objects.empty:
        return section(title, paragraph("None: the probabilities are the same."))
    rows = [
        (
            escape(row.object_id),
            escape(row.label),
            cell(row.distance),
            escape(row.best_a),
            cell(row.p_a),
            cell(row.b_of_best_a),
            escape(row.best_b),
            cell(row.p_b),
            cell(row.a_of_best_b),
        )
        for row in found.objects.itertuples()
    ]
    heading = (
        "object",
        "label",
        "distance",
        "best of A",
        "A gives it",
        "B gives it",
        "best of B",
        "B gives it",
    )
    words = "Distance is half the sum of the absolute differences of the probabilities, 0 to 1."
    return section(title, paragraph(words), table((*heading, "A gives it"), rows, text=(1, 3, 6)))
