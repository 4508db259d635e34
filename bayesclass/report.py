"""An evaluation as a folder: a page that needs nothing else, tables as CSV and Parquet, numbers as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from bayesclass.evaluation import Evaluation
from bayesclass.report_folder import (
    NUMBERS,
    check_report_folder,
    table_files,
    write_report_folder,
    write_tables,
)
from bayesclass.report_html import contents, page, paragraph
from bayesclass.report_sections import sections

KIND = "bayesclass evaluation"
PAGE = "report.html"
TABLES = (
    *("summary", "per_class", "per_node", "levels", "per_detections", "per_days", "per_magnitude"),
    *("confusion_levels", "reliability", "brier", "ranking", "curves", "sets", "evidence", "mistakes"),
    "unmapped",
)
MATRICES = ("confusion", "confusion_fuzzy")
FILES = frozenset({PAGE, NUMBERS}) | table_files(TABLES + MATRICES)
# Tables that are curves or lists of objects, and so no numbers to quote.
LONG = ("summary", "per_class", "confusion_levels", "reliability", "curves", "mistakes", "unmapped")
TRAINING = (
    "A table of posteriors does not say which objects its model was fitted on: if these are among them, the "
    "figures are better than those of new objects will be."
)

__all__ = ["check_report", "plain", "to_html", "to_json", "write_report"]


def check_report(directory: str | os.PathLike) -> None:
    """Refuse, before long work, a place where `write_report` could not write.

    Parameters
    ----------
    directory : path
        Where the report shall go.

    Raises
    ------
    InputError
        As `bayesclass.report_folder.check_report_folder`.
    """
    check_report_folder(directory, KIND, FILES)


def write_report(evaluation: Evaluation, directory: str | os.PathLike) -> Path:
    """Write an evaluation whole or not at all; an earlier report in the same place is replaced.

    Parameters
    ----------
    evaluation : Evaluation
    directory : path
        The folder to make: report.html, metrics.json, and each table as CSV and as Parquet.

    Returns
    -------
    Path
        Of report.html.

    Raises
    ------
    InputError
        As `check_report`, or if writing fails, for instance on a full disk.
    """
    check_report(directory)
    return write_report_folder(directory, lambda folder: _write_files(evaluation, folder)) / PAGE


def to_json(evaluation: Evaluation) -> dict:
    """Return the numbers as plain dictionaries and lists; None where there is no number."""
    summary = evaluation.summary.set_index("metric")
    listed = {name: plain(getattr(evaluation, name)) for name in TABLES if name not in LONG}
    return {
        "kind": KIND,
        "schema": 1,
        "recipe": evaluation.recipe,
        "classes": list(evaluation.classes),
        "objects": dict(evaluation.counts),
        "summary": dict(zip(summary.index, plain(summary), strict=True)),
        "per_class": {row.pop("class"): row for row in plain(evaluation.per_class)},
        **listed,
        "unmapped": {row.label: int(row.n_objects) for row in evaluation.unmapped.itertuples()},
        "notes": list(evaluation.notes),
    }


def to_html(evaluation: Evaluation) -> str:
    """Return the page; its pictures are inside it."""
    value = evaluation.summary.set_index("metric")["value"]
    n_one = evaluation.counts["one_labelled_class"]
    lead = f"{n_one} objects of one labelled class, recipe {evaluation.recipe}."
    if "log_loss_class_frequencies" in value:
        lead += (
            f" Log-loss {value['log_loss']:.3f} nat (class frequencies alone: "
            f"{value['log_loss_class_frequencies']:.3f}); calibration error {value['ece']:.3f}, where "
            f"exactly right probabilities would show {value['ece_null']:.3f}."
        )
    parts = [
        paragraph(lead, "lead"),
        paragraph(TRAINING),
        *(paragraph(note, "note") for note in evaluation.notes),
    ]
    parts += contents(sections(evaluation))
    parts.append(
        paragraph(
            f"Beside this page: {NUMBERS} with the numbers, and every table as .csv and .parquet.", "note"
        )
    )
    return page(f"Evaluation: {evaluation.title or evaluation.recipe}", parts)


def plain(frame: pd.DataFrame) -> list[dict]:
    """Return the rows for JSON: Python's own numbers, None for NaN."""
    return [{str(name): _plain(name, cell) for name, cell in row.items()} for _, row in frame.iterrows()]


def _write_files(evaluation: Evaluation, folder: Path) -> None:
    (folder / PAGE).write_text(to_html(evaluation), encoding="utf-8")
    text = json.dumps(to_json(evaluation), indent=1, allow_nan=False, ensure_ascii=False)
    (folder / NUMBERS).write_text(text + "\n", encoding="utf-8")
    tables = {name: getattr(evaluation, name) for name in TABLES}
    # The labelled classes become a column.
    tables |= {name: getattr(evaluation, name).reset_index() for name in MATRICES}
    write_tables(tables, folder)


def _plain(name: object, cell: object) -> object:
    cell = cell.item() if isinstance(cell, np.generic) else cell
    if isinstance(cell, float) and not np.isfinite(cell):
        return None
    # A row of mixed numbers has made its counts floats.
    whole = str(name).startswith("n_") or name == "level"
    return int(cell) if whole and isinstance(cell, float) else cell
