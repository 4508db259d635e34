"""An object's explanation as one HTML file: the picture within it, and the numbers as tables."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesclass.classifier import Classifier
from bayesclass.information_text import HEADING, LEGEND, short_table
from bayesclass.posterior import Explanation, Posterior
from bayesclass.recipe import Recipe
from context.evidence import State
from structurefn.light_curves import LightCurves

STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:1180px;margin:1.5em auto;padding:0 1em;color:#222}"
    "img{width:100%;height:auto}table{border-collapse:collapse;margin:.5em 0 1.5em}"
    "th,td{padding:.2em .9em .2em 0;text-align:right;border-bottom:1px solid #ddd}"
    "th:first-child,td:first-child{text-align:left}h2{font-size:1.1em;margin:1.2em 0 .2em}"
)
STATES = {
    State.MEASURED: "measured",
    State.NONE: "searched, none found",
    State.NOT_COVERED: "not covered",
}

__all__ = ["explanation_page"]


def explanation_page(
    classifier: Classifier,
    light_curve: LightCurves,
    objects: pd.DataFrame | None,
    posterior: Posterior,
    figure: Any,
    between: tuple[str, str] | None = None,
    what_next: pd.DataFrame | None = None,
) -> str:
    """Return a page that needs no other file.

    Parameters
    ----------
    classifier : Classifier
    light_curve : LightCurves
        Of the object alone.
    objects : DataFrame or None
        With the object's context.
    posterior : Posterior
        Of the object alone.
    figure : matplotlib Figure
    between : pair of str, optional
        As in `bayesclass.explain.explain_object`.
    what_next : DataFrame, optional
        As of `bayesclass.explain.ExplainedObject`; without it the page has no such table.

    Returns
    -------
    str
        HTML; everything that came from the input is escaped.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    explanation = posterior.explain(posterior.object_id[0], between)
    best, other = explanation.best_class, explanation.runner_up
    inside = [leaf in explanation.prediction_set for leaf in posterior.classes]
    probabilities = [
        (leaf, f"{p:.4f}", _interval(low, high), "yes" if member else "")
        for leaf, p, low, high, member in zip(
            posterior.classes,
            explanation.probability,
            explanation.interval["lower"],
            explanation.interval["upper"],
            inside,
            # After the leaves come the inner nodes that were asked for.
            strict=False,
        )
    ]
    pieces = [
        (row.piece, f"{row.nats:+.2f}", f"{row.decibans:+.1f}") for row in explanation.table.itertuples()
    ]
    pieces.append(
        ("all together", f"{explanation.log_odds:+.2f}", f"{10 / np.log(10) * explanation.log_odds:+.1f}")
    )
    title = f"{explanation.object_id}: {best} {explanation.probability[best]:.3f}"
    source = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode("ascii")
    remarks = [part.strip() for part in explanation.warnings.split(";") if part.strip()]
    recipe = classifier.recipe
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(recipe.title)}; model {html.escape(recipe.name)}. "
        f"{posterior.n_detections[0]} detections, {posterior.n_upper_limits[0]} upper limits.</p>",
        f'<img alt="light curve, reasons, probabilities and steps" src="{source}">',
        "<h2>Class probabilities</h2>",
        _table(("class", "probability", "90 % interval", "in the prediction set"), probabilities),
        f"<h2>Log-odds of {html.escape(best)} against {html.escape(other)}</h2>",
        _table(("piece", "nats", "decibans"), pieces),
        "<h2>Context as it was used</h2>",
        _table(("evidence", "state", "value"), _context(recipe, objects, light_curve.object_id)),
        *_what_next(what_next),
        "<h2>Flags</h2>",
        _table(("flag", "value", "meaning"), _flags(explanation)),
    ]
    if remarks:
        parts += ["<h2>Warnings</h2>", f"<ul>{''.join(f'<li>{html.escape(r)}</li>' for r in remarks)}</ul>"]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _what_next(frame: pd.DataFrame | None) -> list[str]:
    """Return what would tell most as a heading, a table and its remarks."""
    if frame is None:
        return []
    table = short_table(frame)
    parts = [f"<h2>{HEADING}</h2>"]
    if table.rows:
        parts.append(f"<p>{LEGEND.capitalize()}.</p>")
        parts.append(_table(table.columns, table.rows))
    return parts + [f"<p>{html.escape(remark)}</p>" for remark in table.remarks]


def _flags(explanation: Explanation) -> list[tuple[str, str, str]]:
    novelty, conflict, flagged = explanation.novelty, explanation.conflict, explanation.conflict_text
    return [
        (
            "novelty",
            "not measured" if np.isnan(novelty) else f"{novelty:.3f}",
            "share of known objects whose light curve is more usual; near 1 is unlike anything in training",
        ),
        (
            "conflict",
            f"{conflict:+.2f} nat",
            flagged or "how much better light curve and context agree than by chance; negative is conflict",
        ),
    ]


def _context(recipe: Recipe, objects: pd.DataFrame | None, object_id) -> list[tuple[str, str, str]]:
    if objects is not None:
        objects = objects.assign(object_id=objects["object_id"].astype(str))
    evidence = recipe.read_evidence(objects, object_ids=object_id)
    rows = []
    for name, column in evidence.columns.items():
        value, shown = column.in_units()[0], ""
        if column.measured[0]:
            unit = column.spec.unit if column.spec.unit != "1" else ""
            shown = f"{value:.4g} {unit}".strip() if isinstance(value, float) else str(value)
        rows.append((name, STATES[State(int(column.state[0]))], shown))
    for spec in recipe.matches:
        match = evidence.matches[spec.name].within(spec.radius)
        shown = f"{match.separation[0]:.3g} arcsec away" if match.found[0] else ""
        rows.append((spec.title or f"{spec.name} match", STATES[State(int(match.state[0]))], shown))
    if evidence.alternatives is not None:
        probability = evidence.alternatives.probability
        shown = f"{probability.max():.3g}; shown are its values, used are those of all alternatives"
        rows.append((f"most probable of {len(probability)} alternatives", "probability", shown))
    return rows


def _interval(low: float, high: float) -> str:
    return "" if np.isnan(low) else f"{low:.3f} to {high:.3f}"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(heading, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
