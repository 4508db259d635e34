"""One object's page: its light curve, its steps under the two best classes, probabilities and reasons."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesclass import plots
from bayesclass.classifier import Classifier
from bayesclass.posterior import Explanation
from structurefn.light_curves import LightCurves
from structurefn.magnitudes import as_magnitudes
from structurefn.nightly import nightly_means
from structurefn.streams import Stream

__all__ = ["explanation_figure", "write_explanation"]


class Steps(NamedTuple):
    """Changes between neighbouring points of one channel."""

    lag: np.ndarray  # (n_steps,) [day]
    change: np.ndarray  # (n_steps,) later minus earlier [mag]
    error: np.ndarray  # (n_steps,) 1 sigma [mag]


def write_explanation(
    classifier: Classifier,
    light_curves: LightCurves,
    objects: pd.DataFrame | None,
    object_id: str,
    path: str | os.PathLike,
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

    Raises
    ------
    ValueError
        If the ending is another one, or the object is not there.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".html"):
        raise ValueError(
            f"An explanation must go to a .png or .html file, but {path.name} ends in {path.suffix!r}: rename it."
        )
    posterior = classifier.classify(light_curves, objects)
    one = posterior.take(posterior.position(object_id))
    explanation = one.explain(object_id)
    own = np.flatnonzero(light_curves.object_id == str(object_id))
    curve = light_curves.take_objects(own)
    figure = explanation_figure(classifier, curve, explanation)
    if path.suffix.lower() == ".png":
        figure.savefig(path, dpi=130, metadata={"Software": None})
        return
    from bayesclass.explain_page import page

    path.write_text(page(classifier, one, explanation, curve, objects, figure), encoding="utf-8")


def explanation_figure(classifier: Classifier, light_curve: LightCurves, explanation: Explanation) -> Any:
    """Draw an object's light curve, its reasons, class probabilities and steps on one figure.

    Parameters
    ----------
    classifier : Classifier
    light_curve : LightCurves
        Of that object alone, or of none.
    explanation : Explanation

    Returns
    -------
    matplotlib Figure
        Not registered with pyplot.
    """
    figure = plots.new_figure(14.0, 8.2)
    top, bottom = figure.add_gridspec(2, 1, height_ratios=(1.0, 1.0)).subgridspec, None
    del top, bottom
    return figure
