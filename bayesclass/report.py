"""An evaluation as a folder: one page that needs nothing else, its tables as CSV, its numbers as JSON."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import secrets
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from bayesclass import plots
from bayesclass.evaluation import Evaluation
from bayesclass.output_folder import check_folder
from bayesclass.tables import InputError

KIND = "bayesclass evaluation"
TABLES = ("summary", "per_class", "per_detections", "reliability", "mistakes", "unmapped")
MATRICES = ("confusion", "confusion_fuzzy")
FILES = frozenset({"report.html", "metrics.json", *(f"{name}.csv" for name in TABLES + MATRICES)})
# More panels than this cannot be read.
PANELS = 9

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

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; } img { max-width: 100%; height: auto; }
.note { color: #444; }
"""


def check_report(directory: str | os.PathLike) -> None:
    """Refuse, before long work, a place where `write_report` could not write.

    Parameters
    ----------
    directory : path
        Where the report shall go.

    Raises
    ------
    InputError
        If it is a file, or a folder with anything in it that is not from a report, or the folder above
        does not exist or is not writable.
    """
    directory = Path(directory).absolute()
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise InputError(f"The report {directory} must be a folder, but it is a file or link: name another.")
    if directory.is_dir():
        found = sorted(entry.name for entry in directory.iterdir())
        other = [name for name in found if name not in FILES or (directory / name).is_dir()]
        if other or (found and not _is_report(directory)):
            raise InputError(
                f"The report {directory} must be a new folder or an earlier report, but it holds "
                f"{(other or found)[0]!r}: name another folder."
            )
    check_folder("report", directory, InputError)


def write_report(evaluation: Evaluation, directory: str | os.PathLike) -> Path:
    """Write an evaluation whole or not at all; an earlier report in the same place is replaced.

    Parameters
    ----------
    evaluation : Evaluation
    directory : path
        The folder to make: report.html, metrics.json and one CSV a table.

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
    directory = Path(directory).absolute()
    mark = secrets.token_hex(4)
    fresh, old = (directory.with_name(f".{directory.name}.{mark}.{word}") for word in ("part", "old"))
    try:
        fresh.mkdir()
        _write_files(evaluation, fresh)
        if directory.exists():
            directory.rename(old)
        try:
            fresh.rename(directory)
        except OSError:
            if old.exists():
                old.rename(directory)
            raise
    except OSError as error:
        raise InputError(
            f"The report {directory} must be writable, but writing failed ({error.strerror or error}): free "
            "space or choose another folder."
        ) from error
    finally:
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)
    return directory / "report.html"


def to_json(evaluation: Evaluation) -> dict:
    """Return the numbers as plain dictionaries and lists; None where there is no number."""
    summary = evaluation.summary.set_index("metric")
    return {
        "kind": KIND,
        "schema": 1,
        "recipe": evaluation.recipe,
        "classes": list(evaluation.classes),
        "objects": dict(evaluation.counts),
        "summary": {name: _plain(row) for name, row in summary.iterrows()},
        "per_class": {row["class"]: _plain(row.drop("class")) for _, row in evaluation.per_class.iterrows()},
        "per_detections": [_plain(row) for _, row in evaluation.per_detections.iterrows()],
        "unmapped": {row.label: int(row.n_objects) for row in evaluation.unmapped.itertuples()},
        "notes": list(evaluation.notes),
    }


def to_html(evaluation: Evaluation) -> str:
    """Return the page; its pictures are inside it."""
    title = html.escape(f"Evaluation: {evaluation.title or evaluation.recipe}")
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
        f"<h1>{title}</h1><p>{html.escape(lead)}</p>",
        "".join(f'<p class="note">{html.escape(note)}</p>' for note in evaluation.notes),
        "<h2>Summary</h2>",
        _summary_table(evaluation.summary),
        "<p class='note'>Intervals: 95 %, from resampling the objects. A calibration error at or below that "
        "of exactly right probabilities is no sign of a fault.</p>",
    ]
    if n_one:
        hidden = len(evaluation.classes) > PANELS - 1
        parts += [
            "<h2>Calibration</h2>",
            "<p>Points outside the shaded band are further from the diagonal than chance explains."
            f"{f' Drawn are the {PANELS - 1} most frequent classes.' if hidden else ''}</p>",
            _picture(_reliability_figure(evaluation), "Fraction right against probability given"),
            "<h2>Confusion</h2>",
            _picture(_confusion_figure(evaluation), "Confusion matrices"),
        ]
    if len(evaluation.per_detections):
        parts += ["<h2>By number of detections</h2>"]
        baseline = value.get("log_loss_class_frequencies")
        ax = plots.score_by_detections(evaluation.per_detections, baseline=baseline)
        parts += [_picture(ax.figure, "Log-loss against detections"), _table(evaluation.per_detections)]
    parts += ["<h2>By class</h2>", _table(evaluation.per_class), "<h2>Worst mistakes</h2>"]
    parts += [
        _table(evaluation.mistakes)
        if len(evaluation.mistakes)
        else "<p>None: the best class is always one that the label allows.</p>"
    ]
    if len(evaluation.unmapped):
        parts += ["<h2>Labels that the recipe does not map</h2>", _table(evaluation.unmapped)]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _write_files(evaluation: Evaluation, folder: Path) -> None:
    (folder / "report.html").write_text(to_html(evaluation), encoding="utf-8")
    text = json.dumps(to_json(evaluation), indent=1, allow_nan=False, ensure_ascii=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    for name in TABLES:
        getattr(evaluation, name).to_csv(folder / f"{name}.csv", index=False)
    for name in MATRICES:
        getattr(evaluation, name).to_csv(folder / f"{name}.csv")


def _is_report(directory: Path) -> bool:
    try:
        data = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and data.get("kind") == KIND


def _plain(row: pd.Series) -> dict:
    """One row for JSON: Python's own numbers, None for NaN."""
    cells = {name: cell.item() if isinstance(cell, np.generic) else cell for name, cell in row.items()}
    return {
        str(name): None
        if isinstance(cell, float) and not np.isfinite(cell)
        else int(cell)
        if str(name) == "n_objects"
        else cell
        for name, cell in cells.items()
    }


def _reliability_figure(evaluation: Evaluation):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frequent = evaluation.per_class.sort_values("n_objects", ascending=False, kind="stable")["class"]
    chosen = {*frequent.iloc[: PANELS - 1], "all"}
    shown = [("all", "all classes together")]
    shown += [(name, name) for name in evaluation.classes if name in chosen]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.7 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for i, (name, title) in enumerate(shown):
        # The pooled rows stand last, behind those of a class that happens to be called "all".
        own = evaluation.reliability[evaluation.reliability["class"] == name]
        bins = evaluation.reliability["bin"].max() + 1
        own = own.iloc[-bins:] if i == 0 else own.iloc[:bins]
        plots.reliability(own, ax=figure.add_subplot(rows, columns, i + 1), title=title)
    return figure


def _confusion_figure(evaluation: Evaluation):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = 2.6 + 0.5 * len(evaluation.classes)
    figure = Figure(figsize=(2 * side, side), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    plots.confusion(evaluation.confusion, ax=left, title="by the most probable class")
    plots.confusion(evaluation.confusion_fuzzy, ax=right, title="by probability")
    return figure


def _picture(figure, text: str) -> str:
    buffer = io.BytesIO()
    # Without the version of the drawing library, so that equal evaluations make equal pages.
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<p><img alt="{html.escape(text)}" src="data:image/png;base64,{data}"></p>'


def _summary_table(summary: pd.DataFrame) -> str:
    rows = []
    for row in summary.itertuples():
        ends = ("" if np.isnan(end) else f"{end:.3f}" for end in (row.lower, row.upper))
        rows.append((METRICS.get(row.metric, row.metric), f"{row.value:.3f}", *ends, str(row.n_objects)))
    return _table(pd.DataFrame(rows, columns=["", "value", "from", "to", "objects"]))


def _table(frame: pd.DataFrame) -> str:
    table = frame.to_html(index=False, float_format="{:.3f}".format, border=0, na_rep="", escape=True)
    return f'<div class="wide">{table}</div>'
