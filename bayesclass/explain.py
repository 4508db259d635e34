"""One object's page: its light curve, class probabilities, steps under two classes, and reasons."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayesclass import plots
from bayesclass.classifier import Classifier
from bayesclass.explain_views import magnitude_view, step_view
from bayesclass.information_text import what_next_text
from bayesclass.posterior import Explanation, Posterior
from bayesclass.priors import Prior
from structurefn.light_curves import LightCurves

SUFFIXES = (".png", ".html")
# Pieces of missing evidence that the picture names; the page and the text have more of each.
N_NAMED = 3

__all__ = ["ExplainedObject", "explain_object", "explanation_figure", "write_explanation"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplainedObject:
    """All that is said of one object.

    Attributes
    ----------
    classifier : Classifier
    light_curve : LightCurves
        Of the object alone; it may have no point.
    objects : DataFrame or None
        With the object's context.
    posterior : Posterior
        Of the object alone.
    between : pair of str or None
        The two classes that were asked for.
    what_next : DataFrame
        Of `Classifier.value_of_information`, the object alone.
    """

    classifier: Classifier
    light_curve: LightCurves
    objects: pd.DataFrame | None
    posterior: Posterior
    between: tuple[str, str] | None
    what_next: pd.DataFrame

    @cached_property
    def explanation(self) -> Explanation:
        """What each piece of evidence said between the two classes."""
        return self.posterior.explain(self.posterior.object_id[0], self.between)

    def text(self) -> str:
        """Return the reasons, and what would tell most, as lines of text."""
        return f"{self.explanation.text()}\n{what_next_text(self.what_next)}"

    def write(self, path: str | os.PathLike, *, note: str = "") -> None:
        """Write the picture (.png) or the page (.html); see `write_explanation`."""
        path = _checked(path)
        figure = explanation_figure(
            self.classifier, self.light_curve, self.posterior, note, self.between, self.what_next
        )
        if path.suffix.lower() == ".png":
            figure.savefig(path, dpi=120)
            return
        from bayesclass.explain_page import explanation_page

        page = explanation_page(
            self.classifier,
            self.light_curve,
            self.objects,
            self.posterior,
            figure,
            self.between,
            self.what_next,
        )
        path.write_text(page, encoding="utf-8")


def explain_object(
    classifier: Classifier,
    light_curves: LightCurves,
    objects: pd.DataFrame | None,
    object_id: str,
    *,
    between: tuple[str, str] | None = None,
    prior: Prior | None = None,
) -> ExplainedObject:
    """Classify an object, and find what decided and what would tell most.

    Parameters
    ----------
    classifier : Classifier
        Fitted.
    light_curves : LightCurves
        With the object, which may have no point; others cost time only.
    objects : DataFrame or None
        With the object's context, if there is any.
    object_id : str
    between : pair of str, optional
        Leaves or inner nodes to set against each other; by default the two most probable leaves.
    prior : Prior, optional
        As in `Classifier.classify`.

    Raises
    ------
    ValueError
        If the object is not there, or the two classes can't be compared.
    """
    posterior = classifier.classify(light_curves, objects, prior=prior)
    posterior = posterior.take(posterior.position(object_id))
    light_curve = light_curves.with_objects([str(object_id)])
    light_curve = light_curve.take_objects(np.flatnonzero(light_curve.object_id == str(object_id)))
    what_next = classifier.value_of_information(light_curves, objects, object_ids=[object_id], prior=prior)
    return ExplainedObject(
        classifier=classifier,
        light_curve=light_curve,
        objects=objects,
        posterior=posterior,
        between=between,
        what_next=what_next,
    )


def write_explanation(
    classifier: Classifier,
    light_curves: LightCurves,
    objects: pd.DataFrame | None,
    object_id: str,
    path: str | os.PathLike,
    *,
    note: str = "",
    between: tuple[str, str] | None = None,
    prior: Prior | None = None,
) -> None:
    """Classify an object and write the picture of its posterior, or a page with picture and tables.

    Parameters
    ----------
    classifier, light_curves, objects, object_id, between, prior
        As of `explain_object`.
    path : path
        Ends in .png (the picture) or .html (a page that needs no other file).
    note : str
        Added to the line below the picture.

    Raises
    ------
    ValueError
        If the ending is another one, the object is not there, or the two classes can't be compared.
    """
    path = _checked(path)
    explained = explain_object(classifier, light_curves, objects, object_id, between=between, prior=prior)
    explained.write(path, note=note)


def _checked(path: str | os.PathLike) -> Path:
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"An explanation must go to a file that ends in {' or '.join(SUFFIXES)}, but {path.name} ends in "
            f"{path.suffix or 'nothing'!r}: rename it."
        )
    return path


def explanation_figure(
    classifier: Classifier,
    light_curve: LightCurves,
    posterior: Posterior,
    note: str = "",
    between: tuple[str, str] | None = None,
    what_next: pd.DataFrame | None = None,
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
        As in `explain_object`.
    what_next : DataFrame, optional
        As of `ExplainedObject`; the most telling of it is named below the picture.

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
    first, second = _headline(explanation, posterior, note, what_next)
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


def _headline(
    explanation: Explanation, posterior: Posterior, note: str, what_next: pd.DataFrame | None
) -> tuple[str, str]:
    """Return the title and the lines below the picture."""
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
    if explanation.conflict_text:
        words.append(f"CONFLICT: {explanation.conflict_text}")
    elif explanation.conflict:
        words.append(f"light curve and context agree by {explanation.conflict:+.2f} nat")
    lines = [";  ".join(words)]
    if what_next is not None and len(what_next):
        most = what_next["expected_change_nats"].notna().to_numpy()
        named = [
            f"{row.evidence} ({row.expected_change_nats:.3f} nat)"
            for row in what_next[most].head(N_NAMED).itertuples()
        ]
        lines += [f"would tell most, were it measured: {', '.join(named)}"] if named else []
    warnings = textwrap.fill(explanation.warnings, 170, max_lines=2, placeholder=" ...")
    return title, "\n".join([*lines, warnings] if warnings else lines)
