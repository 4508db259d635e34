"""One object's page: its light curve, class probabilities, steps under two classes, and reasons."""

from __future__ import annotations

import os
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayesclass import plots
from bayesclass.classifier import Classifier
from bayesclass.explain_views import magnitude_view, step_view
from bayesclass.posterior import Explanation, Posterior
from structurefn.light_curves import LightCurves

SUFFIXES = (".png", ".html")

__all__ = ["explanation_figure", "write_explanation"]


def write_explanation(
    classifier: Classifier,
    light_curves: LightCurves,
    objects: pd.DataFrame | None,
    object_id: str,
    path: str | os.PathLike,
    *,
    note: str = "",
    between: tuple[str, str] | None = None,
) -> None:
    """Classify an object and write the picture of its posterior, or a page with picture and tables.

    Parameters
    ----------
    classifier : Classifier
        Fitted.
    light_curves : LightCurves
        With the object, which may have no point; others cost time only.
    objects : DataFrame or None
        With the object's context, if there is any.
    object_id : str
    path : path
        Ends in .png (the picture) or .html (a page that needs no other file).
    note : str
        Added to the line below the picture.
    between : pair of str, optional
        Leaves or inner nodes to set against each other; by default the two most probable leaves.

    Raises
    ------
    ValueError
        If the ending is another one, the object is not there, or the two classes can't be compared.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"An explanation must go to a file that ends in {' or '.join(SUFFIXES)}, but {path.name} ends in "
            f"{path.suffix or 'nothing'!r}: rename it."
        )
    posterior = classifier.classify(light_curves, objects)
    posterior = posterior.take(posterior.position(object_id))
    light_curve = light_curves.with_objects([str(object_id)])
    light_curve = light_curve.take_objects(np.flatnonzero(light_curve.object_id == str(object_id)))
    figure = explanation_figure(classifier, light_curve, posterior, note, between)
    if path.suffix.lower() == ".png":
        figure.savefig(path, dpi=120)
        return
    from bayesclass.explain_page import explanation_page

    page = explanation_page(classifier, light_curve, objects, posterior, figure, between)
    path.write_text(page, encoding="utf-8")


def explanation_figure(
    classifier: Classifier,
    light_curve: LightCurves,
    posterior: Posterior,
    note: str = "",
    between: tuple[str, str] | None = None,
) -> Any:
    """Draw an object's light curve, reasons, class probabilities and steps on one figure.

    Parameters
    ----------
    classifier : Classifier
    light_curve : LightCurves
        Of that object alone; it may have no point.
    posterior : Posterior
        Of that object alone.
    note : str
        Added to the line below the picture.
    between : pair of str, optional
        As in `write_explanation`.

    Returns
    -------
    matplotlib Figure
        Not registered with pyplot.
    """
    explanation = posterior.explain(posterior.object_id[0], between)
    figure = plots.new_figure(14.5, 8.6)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.1)
    rows = figure.add_gridspec(2, 1, height_ratios=(1.0, 0.9))
    above = rows[0].subgridspec(1, 2, width_ratios=(1.15, 1.0))
    below = rows[1].subgridspec(1, 2, width_ratios=(1.0, 3.6))
    _draw_light_curve(light_curve, figure.add_subplot(above[0]))
    _draw_reasons(explanation, figure.add_subplot(above[1]))
    inside = posterior.prediction_set[0]
    probabilities = plots.class_probabilities(
        posterior.probability[0],
        posterior.classes,
        lower=posterior.interval[0][0],
        upper=posterior.interval[1][0],
        prediction_set=inside,
        ax=figure.add_subplot(below[0]),
    )
    key = "" if inside.all() else "\ndark: in the prediction set"
    probabilities.set_title(f"Probabilities, 90 % intervals{key}", fontsize="medium", color="black")
    _draw_densities(classifier, light_curve, explanation, figure, below[1])
    first, second = _headline(explanation, posterior, note)
    figure.suptitle(first, x=0.012, ha="left", fontsize="x-large", weight="bold", parse_math=False)
    # On the page's last line, because the layout keeps one title's place only.
    figure.supxlabel(second, x=0.012, ha="left", fontsize="medium", color="#444444", parse_math=False)
    return figure


def _draw_reasons(explanation: Explanation, ax) -> None:
    """Draw the waterfall of what is there; pieces without evidence say nothing about any class."""
    table = explanation.table
    leaves = [name for name in table if name.startswith("log_likelihood_")]
    silent = (np.ptp(table[leaves].to_numpy(float), axis=1) == 0) & (table["piece"] != "prior").to_numpy()
    plots.waterfall(replace(explanation, table=table[~silent]), ax=ax)
    note = f"\n{silent.sum()} without evidence" if silent.any() else ""
    ax.set_title(f"What each piece of evidence contributed{note}", fontsize="medium")


def _draw_light_curve(light_curve: LightCurves, ax) -> None:
    table = light_curve.to_frame()
    if len(table):
        plots.light_curve(table, ax=ax)
    else:
        plots.nothing("no usable point", ax=ax)
    ax.set_title("Light curve; arrows: upper limits" if light_curve.upper_limit.any() else "Light curve")
    ax.title.set_fontsize("medium")


def _draw_densities(classifier, light_curve, explanation, figure, cell) -> None:
    """Draw the object's steps, or else its magnitudes, over the densities of the two classes."""
    # Of an inner node, its most probable leaf: densities are those of leaves.
    best, other = (
        explanation.probability[list(classifier.recipe.taxonomy.leaves_of(name))].idxmax()
        for name in (explanation.best_class, explanation.runner_up)
    )
    pair = [classifier.classes_.index(name) for name in (best, other)]
    steps = step_view(classifier.fitted, light_curve, pair)
    if steps is None:
        view = magnitude_view(classifier.fitted, light_curve, pair)
        ax = figure.add_subplot(cell)
        if view is None:
            plots.nothing("no pair of points to compare with the classes", ax=ax)
            return
        plots.magnitudes(view.probability, (best, other), view.edges, view.magnitude, ax=ax)
        ax.set_title(f"No pair of points; its magnitudes in {view.channel}", fontsize="medium")
        return
    axes = [figure.add_subplot(part) for part in cell.subgridspec(1, 3, width_ratios=(1.0, 1.0, 1.15))]
    where = {"lag": steps.lag, "dm": steps.change, "linear_width": steps.linear_width}
    ceiling = float(np.exp(steps.log_probability.max()))
    for ax, name, log_p in zip(axes, (best, other), steps.log_probability, strict=False):
        plots.density(np.exp(log_p), steps.lag_edges, steps.change_edges, ceiling=ceiling, ax=ax, **where)
        ax.set_title(f"p(change | lag, {name})\n{steps.channel}, {steps.what}, per cell", fontsize="medium")
    plots.density_ratio(*steps.log_probability, steps.lag_edges, steps.change_edges, ax=axes[2], **where)
    axes[2].set_title(f"log ratio [nat]\nblue favours {best}, orange {other}", fontsize="medium")
    for ax in axes[1:]:
        ax.set_ylabel("")


def _headline(explanation: Explanation, posterior: Posterior, note: str) -> tuple[str, str]:
    """Return the title and the line below the picture."""
    best, other = explanation.best_class, explanation.runner_up
    lower, upper = explanation.interval.loc[best]
    interval = "" if np.isnan(lower) else f" ({lower:.2f} to {upper:.2f})"
    title = (
        f"{explanation.object_id}:  {best} {explanation.probability[best]:.2f}{interval},  "
        f"{'then' if explanation.most_probable is None else 'against'} {other} "
        f"{explanation.probability[other]:.2f}"
    )
    n = int(posterior.n_detections[0])
    words = [note] if note else []
    words += [
        f"{n} detection{'s' if n != 1 else ''}",
        f"prediction set {', '.join(explanation.prediction_set)}",
    ]
    if np.isfinite(explanation.novelty):
        words.append(f"novelty {explanation.novelty:.2f}")
    if explanation.conflict:
        words.append(f"light curve and context agree by {explanation.conflict:+.2f} nat")
    warnings = textwrap.fill(explanation.warnings, 170, max_lines=2, placeholder=" ...")
    return title, ";  ".join(words) + (f"\n{warnings}" if warnings else "")
