"""What an object's page shows of the fitted densities: its steps or magnitudes, and two classes' tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bayesclass.fitting import Fitted
from structurefn.density import Density
from structurefn.light_curves import LightCurves
from structurefn.magnitudes import as_magnitudes
from structurefn.nightly import nightly_means
from structurefn.streams import Stream

__all__ = ["MagnitudeView", "StepView", "magnitude_view", "step_view"]


class StepView(NamedTuple):
    """Steps of an object in one channel, and their distribution in two classes."""

    channel: str
    what: str  # which steps, in words
    lag_edges: np.ndarray  # (R + 1,) [day]
    change_edges: np.ndarray  # (J + 1,) [mag]
    linear_width: float  # of the cells' asinh scale [mag]
    log_probability: np.ndarray  # (2, R, J), of an observed cell given its lag
    lag: np.ndarray  # (n_steps,) [day]
    change: np.ndarray  # (n_steps,) later minus earlier [mag]


class MagnitudeView(NamedTuple):
    """Magnitudes of an object in one channel, and their distribution in two classes."""

    channel: str
    edges: np.ndarray  # (J + 1,) [mag]
    probability: np.ndarray  # (2, J)
    magnitude: np.ndarray  # (n_points,)


def step_view(fitted: Fitted, light_curve: LightCurves, classes: Sequence[int]) -> StepView | None:
    """Choose the channel with most steps, and its density of steps.

    The density is that of observed changes, for the error bin of the object's median step. A model without a
    chain of neighbours shows its triplets' last steps, averaged over what came before with the weight
    of the events from which each row was learned.

    Parameters
    ----------
    fitted : Fitted
    light_curve : LightCurves
        One object.
    classes : sequence of int
        Two classes.

    Returns
    -------
    StepView or None
        None where the object has no step, or the model no density of steps.
    """
    for kind in ("adjacent", "triplets"):
        found = []
        for stream in fitted.experts.streams:
            if stream.kind == kind and stream.name in fitted.experts.densities:
                points = _points(fitted, light_curve, stream)
                found.append((points.n_points, stream, points))
        n_points, stream, points = max(found, key=lambda entry: entry[0], default=(0, None, None))
        if n_points >= 2:
            break
    else:
        return None
    error = np.median(np.hypot(points.error[1:], points.error[:-1]))
    centres = stream.grid.error_centres
    table = fitted.experts.densities[stream.name]
    observed = table.observed[list(classes), :, int(np.abs(np.log(centres / error)).argmin())]
    if kind == "triplets":
        observed = _last_steps(observed, table, classes, stream)
        lag_edges = np.geomspace(*stream.grid.lag_range, stream.grid.row_shape[1] + 1)
    else:
        lag_edges = stream.grid.lag_edges
    return StepView(
        channel=stream.channels[0],
        what="nightly means" if stream.nightly else "neighbouring points",
        lag_edges=lag_edges,
        change_edges=stream.grid.column_edges,
        linear_width=stream.grid.column_scale,
        log_probability=observed,
        lag=np.diff(points.time),
        change=np.diff(points.value),
    )


def magnitude_view(fitted: Fitted, light_curve: LightCurves, classes: Sequence[int]) -> MagnitudeView | None:
    """Choose the channel with most points, and its density of magnitudes; None without either."""
    best = None
    for stream in fitted.experts.streams:
        if stream.kind == "magnitude" and stream.name in fitted.experts.densities:
            points = _points(fitted, light_curve, stream)
            if points.n_points and (best is None or points.n_points > len(best.magnitude)):
                true = fitted.experts.densities[stream.name].true[list(classes), 0]
                best = MagnitudeView(stream.channels[0], stream.grid.column_edges, true, points.value)
    return best


def _points(fitted: Fitted, light_curve: LightCurves, stream: Stream) -> LightCurves:
    """Return detections of the stream's channel as magnitudes."""
    magnitudes = as_magnitudes(light_curve, fitted.representation.softening)
    here = [magnitudes.channels.index(name) for name in stream.channels if name in magnitudes.channels]
    chosen = magnitudes.keep_points(np.isin(magnitudes.channel, here) & ~magnitudes.upper_limit)
    return nightly_means(chosen, fitted.representation.night if stream.nightly else 0.0)


def _last_steps(observed: np.ndarray, table: Density, classes: Sequence[int], stream: Stream) -> np.ndarray:
    """Log-probability of the second step given its lag alone, shape (2, lags, J)."""
    n_first, n_second, n_change = stream.grid.row_shape
    weight = (table.effective_events[list(classes)] + 1e-3).reshape(2, n_first, n_second, n_change, 1)
    rows = np.exp(observed).reshape(2, n_first, n_second, n_change, -1)
    return np.log((weight * rows).sum(axis=(1, 3)) / weight.sum(axis=(1, 3)))
