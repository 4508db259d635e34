"""The sections of an evaluation's page that show all figures against what is known of the objects."""

from __future__ import annotations

from html import escape

import pandas as pd

from bayesclass import plots
from bayesclass.evaluation import Evaluation
from bayesclass.plots_scores import LABELS
from bayesclass.report_html import cell, panels, paragraph, section, table

DRAWN = ("log_loss", "accuracy", "ece", "coverage")
MAGNITUDE = {
    "mag": "the smallest magnitude of a detection in any channel",
    "flux": "27.5 - 2.5 log10 of the largest flux in any channel (no asinh)",
}
NO_LIGHT_CURVES = "Give the light curves that were classified (--light-curves FILE) to see this."

__all__ = ["bins_rows", "bins_sections"]


def bins_sections(found: Evaluation) -> list[tuple[str, str]]:
    """Return the sections by number of detections, by days and by magnitude."""
    missing = "Give posteriors with the column n_detections, as `classify` writes it, to see this."
    words = "Days from the first detection of an object to its last."
    measure = f"The magnitude is {MAGNITUDE[found.quantity]}."
    return [
        _bins("By number of detections", found.per_detections, "detections", missing, found),
        _bins("By days since the first detection", found.per_days, "days", NO_LIGHT_CURVES, found, words),
        _bins("By magnitude", found.per_magnitude, "magnitude", NO_LIGHT_CURVES, found, measure),
    ]


def _bins(title: str, frame: pd.DataFrame, quantity: str, missing: str, found: Evaluation, words: str = ""):
    if frame.empty:
        return section(title, paragraph(missing))
    value = found.summary.set_index("metric")["value"]
    pictures = []
    for name in DRAWN:
        if frame[name].notna().any():
            baseline = value.get("log_loss_class_frequencies") if name == "log_loss" else None
            ax = plots.score_by_bins(frame, name, baseline=baseline, xlabel=f"{quantity} (objects)")
            pictures.append((ax, f"{LABELS[name]} against {quantity}"))
    parts = [paragraph(words)] if words else []
    return section(title, *parts, panels(pictures), bins_rows(frame, frame.columns[0], quantity))


def bins_rows(frame: pd.DataFrame, column: str, title: str) -> str:
    """Return the main figures of every bin or level as a table, each with its interval."""
    rows = []
    for _, row in frame.iterrows():
        cells = [escape(str(row[column])), f"{row['n_objects']:.0f}"]
        for name in LABELS:
            lower, upper = f"{name}_lower", f"{name}_upper"
            if name == "log_loss" and lower not in row:
                lower, upper = "lower", "upper"
            cells.append(cell(row[name], row[lower], row[upper]))
            if name == "ece":
                cells.append(cell(row["ece_null"]))
        rows.append(cells)
    heading = [
        "log-loss",
        "Brier",
        "accuracy",
        "F1",
        "calibration error",
        "... if right",
        "coverage",
        "set size",
    ]
    return table((title, "objects", *heading), rows)
