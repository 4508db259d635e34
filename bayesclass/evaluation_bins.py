"""Objects in bins of what is known of their light curves: detections, days, brightest magnitude."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from bayesclass.evaluation_join import Sample
from bayesclass.recipe import Recipe
from bayesclass.tables import InputError
from structurefn.light_curves import LightCurveError, LightCurves
from structurefn.magnitudes import ZERO_POINT

DETECTION_BINS = ((0, 0), (1, 1), (2, 3), (4, 5), (6, 10), (11, 30), (31, 100), (101, None))
DAYS = (0.0, 3.0, 10.0, 30.0, 100.0)
STEPS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
MAX_BINS = 8

__all__ = ["DETECTION_BINS", "Binning", "day_bins", "detection_bins", "light_curve_bins", "magnitude_bins"]


@dataclass(frozen=True, eq=False)
class Binning:
    """Bins of one quantity.

    Attributes
    ----------
    name : str
        Of the quantity, as a column.
    labels : tuple of str
        One a bin.
    inside : bool array, shape (n_objects, n_bins)
        An object without the quantity is in none.
    """

    name: str
    labels: tuple[str, ...]
    inside: np.ndarray

    @classmethod
    def empty(cls, name: str, n: int) -> Binning:
        """Return no bins, for a quantity that is not known."""
        return cls(name, (), np.zeros((n, 0), dtype=bool))


def detection_bins(n_detections: np.ndarray | None, n: int) -> Binning:
    """Bin objects by their number of detections; no bins where that is not known."""
    if n_detections is None:
        return Binning.empty("n_detections", n)
    ends = [(low, np.inf if high is None else high) for low, high in DETECTION_BINS]
    names = [
        f">{low - 1}" if high is None else f"{low}" if low == high else f"{low}-{high}"
        for low, high in DETECTION_BINS
    ]
    inside = np.stack([(n_detections >= low) & (n_detections <= high) for low, high in ends], axis=1)
    return Binning("n_detections", tuple(names), inside)


def day_bins(days: np.ndarray) -> Binning:
    """Bin objects by days from the first to the last detection; NaN is in no bin.

    Zero, a single detection, is a bin of its own; the others hold their upper end.
    """
    names = ["0", *(f"{low:g}-{high:g}" for low, high in pairwise(DAYS))]
    lower, upper = np.array(DAYS), np.array([*DAYS[1:], np.inf])
    inside = (days[:, None] > lower) & (days[:, None] <= upper)
    return Binning("days", (*names, f">{DAYS[-1]:g}"), np.column_stack([days == 0, inside]))


def magnitude_bins(magnitude: np.ndarray) -> Binning:
    """Bin objects by magnitude, between round numbers; NaN is in no bin.

    The step is the smallest of `STEPS` that spans the middle 96 % of the objects in at most eight bins; the
    first and the last bin are open. A bin holds its lower end.
    """
    known = magnitude[np.isfinite(magnitude)]
    if not known.size:
        return Binning.empty("magnitude", len(magnitude))
    low, high = np.quantile(known, (0.02, 0.98))
    for step in STEPS:
        edges = np.arange(np.floor(low / step) + 1, np.ceil(high / step)) * step
        if len(edges) < MAX_BINS:
            break
    if not len(edges):
        edges = np.array([np.ceil(low / step) * step])
    names = [f"<{edges[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(edges))]
    # NaN compares as false, and so is in no bin.
    lower, upper = np.r_[-np.inf, edges], np.r_[edges, np.inf]
    inside = (magnitude[:, None] >= lower) & (magnitude[:, None] < upper)
    return Binning("magnitude", (*names, f">={edges[-1]:g}"), inside)


def light_curve_bins(
    light_curves: LightCurves | pd.DataFrame | None, sample: Sample, recipe: Recipe
) -> tuple[Binning, Binning, list[str]]:
    """Bin the objects of a sample by days since the first detection and by brightest magnitude.

    Parameters
    ----------
    light_curves : LightCurves, DataFrame or None
        The measurements that were classified.
    sample : Sample
    recipe : Recipe
        Says the channels and the quantity.

    Returns
    -------
    days, magnitude : Binning
        Days from the first to the last detection. The smallest magnitude of a detection in any channel; for
        fluxes 27.5 - 2.5 log10 of the largest flux, known where that is above zero.
    notes : list of str

    Raises
    ------
    InputError
        Not light curves, of another quantity than the recipe's, or none of an object of the sample.
    """
    n = len(sample.p)
    if light_curves is None:
        return Binning.empty("days", n), Binning.empty("magnitude", n), []
    batch = _batch(light_curves, recipe)
    row = (
        pd.Series(np.arange(batch.n_objects), index=batch.object_id).reindex(sample.object_id).to_numpy(float)
    )
    here = ~np.isnan(row)
    if not here.any():
        found = f"as '{batch.object_id[0]}'" if batch.n_objects else "that is none"
        raise InputError(
            f"Light curves must be those of the posteriors, but none of the {n} judged objects (as "
            f"'{sample.object_id[0]}') is among their {batch.n_objects} ({found}): give the measurements "
            "that were classified."
        )
    days, magnitude = _spans(batch)
    of_object = np.where(here, row, 0).astype(int)
    days, magnitude = (np.where(here, values[of_object], np.nan) for values in (days, magnitude))
    notes = []
    if (~here).any():
        notes.append(f"{int((~here).sum())} judged objects have no light curve in the file that was given.")
    empty = here & np.isnan(days)
    if empty.any():
        notes.append(
            f"{int(empty.sum())} objects have no detection, and so are in no bin of days or magnitude."
        )
    dark = here & ~np.isnan(days) & np.isnan(magnitude)
    if dark.any():
        notes.append(f"{int(dark.sum())} objects have no flux above zero, and so no magnitude.")
    if sample.n_detections is not None:
        other = here & (batch.n_detections[of_object] != sample.n_detections)
        if other.any():
            notes.append(
                f"{int(other.sum())} objects have another number of detections in these light curves than in "
                "the posteriors: they may not be those that were classified."
            )
    return day_bins(days), magnitude_bins(magnitude), notes


def _batch(light_curves, recipe: Recipe) -> LightCurves:
    wanted = recipe.light_curves
    if not isinstance(light_curves, LightCurves):
        try:
            light_curves = LightCurves.from_frame(
                light_curves, channels=wanted.channels, aliases=wanted.aliases
            )
        except LightCurveError as error:
            raise InputError(f"The light curves: {error}") from error
    if light_curves.quantity != wanted.quantity:
        raise InputError(
            f"Light curves must hold {wanted.quantity} for recipe {recipe.name}, but they hold "
            f"{light_curves.quantity}: give the measurements that were classified."
        )
    return light_curves


def _spans(batch: LightCurves) -> tuple[np.ndarray, np.ndarray]:
    """Days between first and last detection, and the brightest magnitude, of each object; NaN without."""
    detected = ~batch.upper_limit
    owner, time, value = batch.object_index[detected], batch.time[detected], batch.value[detected]
    n = batch.n_objects
    first, last = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(first, owner, time)
    np.maximum.at(last, owner, time)
    if batch.quantity == "flux":
        brightest = np.full(n, -np.inf)
        np.maximum.at(brightest, owner, value)
        positive = brightest > 0
        magnitude = np.where(
            positive, ZERO_POINT - 2.5 * np.log10(np.where(positive, brightest, 1.0)), np.nan
        )
    else:
        brightest = np.full(n, np.inf)
        np.minimum.at(brightest, owner, value)
        magnitude = np.where(np.isfinite(brightest), brightest, np.nan)
    # Without a detection the difference is minus infinity.
    days = last - first
    return np.where(days >= 0, days, np.nan), magnitude
