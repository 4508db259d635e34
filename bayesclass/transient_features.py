"""Features of transients: brightness, colours and times around the maximum, by a Gaussian process."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from structurefn.interpolation import interpolate_around_peak
from structurefn.light_curves import LightCurves
from structurefn.magnitudes import ZERO_POINT

__all__ = ["transient_feature_names", "transient_features"]

STEP = 2.5
PHASES = np.arange(-50.0, 150.0 + STEP / 2, STEP)
# Fluxes and colours are read at these times from the maximum [day].
FLUX_PHASES = (-30, -20, -15, -10, -5, 5, 10, 15, 20, 25, 30, 40, 50, 65, 80, 100, 120)
COLOUR_PHASES = (-15, -10, -5, 0, 5, 10, 20, 30, 40, 60, 90)
# Rise and fall are timed at these shares of a channel's maximum.
LEVELS = (0.7, 0.5, 0.25)
# The curve is known where its standard deviation is below this share of the brightest flux.
KNOWN = 0.2
# Smallest share of the brightest flux that enters a logarithm.
FLOOR = 0.01
WHOLE = ("log time scale", "amplitude of process", "correlation of channels", "log misfit")


def transient_feature_names(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns of `transient_features`."""
    each = ["peak magnitude", "magnitude at maximum", "time of peak", "mean share of peak"]
    each += [f"share of peak at {phase} d" for phase in FLUX_PHASES]
    each += [f"{what} {level:g}" for level in LEVELS for what in ("rise from", "fall to")]
    names = [f"{name} {channel}" for name in each for channel in channels]
    names += [f"{a} - {b} at {phase} d" for phase in COLOUR_PHASES for a, b in pairwise(channels)]
    return tuple(names) + WHOLE


def transient_features(light_curves: LightCurves) -> np.ndarray:
    """Read features from light curves interpolated in flux around their maxima.

    Parameters
    ----------
    light_curves : LightCurves
        Fluxes or magnitudes above the host's, channels in the order of their wavelengths. Limits are left
        out.

    Returns
    -------
    float32 array, shape (n_objects, n_features)
        As `transient_feature_names`. NaN where the curve is not known to a fifth of its maximum, and for
        objects with fewer than two detections.
    """
    found = interpolate_around_peak(light_curves, PHASES)
    share = np.where(found.error < KNOWN, found.flux, np.nan)
    highest = np.where(np.isnan(share), -np.inf, share).max(axis=1)
    highest = np.where(np.isfinite(highest) & (highest > 0), highest, np.nan)
    of_peak = share / highest[:, None]
    at_phase = np.where(np.isnan(share), -np.inf, share).argmax(axis=1)
    at_maximum = share[:, _place(0.0)]
    zero = ZERO_POINT - 2.5 * np.log10(found.scale)[:, None]
    known = ~np.isnan(of_peak)
    mean = np.where(known, of_peak, 0.0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    time_of_peak = np.where(np.isnan(highest), np.nan, PHASES[at_phase])
    parts = [zero + _magnitude(highest), zero + _magnitude(at_maximum), time_of_peak, mean]
    parts += [of_peak[:, _place(phase)] for phase in FLUX_PHASES]
    for level in LEVELS:
        parts += _crossings(of_peak, at_phase, level)
    colours = _magnitude(share)
    parts += [colours[:, _place(phase), :-1] - colours[:, _place(phase), 1:] for phase in COLOUR_PHASES]
    with np.errstate(divide="ignore"):
        whole = [found.log_time_scale, found.amplitude, found.correlation, np.log(found.misfit)]
    table = np.column_stack(parts + [part[:, None] for part in whole]).astype(np.float32)
    return np.where(np.isfinite(table), table, np.float32(np.nan))


def _place(phase: float) -> int:
    return int(np.abs(PHASES - phase).argmin())


def _magnitude(share: np.ndarray) -> np.ndarray:
    return -2.5 * np.log10(np.maximum(share, FLOOR))


def _crossings(of_peak: np.ndarray, at_peak: np.ndarray, level: float) -> list[np.ndarray]:
    """Days from the last known phase below a level to the peak, and from it to the first one below."""
    place = np.arange(len(PHASES))[:, None]
    below = of_peak < level
    before, after = below & (place < at_peak[:, None]), below & (place > at_peak[:, None])
    last = len(PHASES) - 1 - before[:, ::-1].argmax(axis=1)
    rise = np.where(before.any(axis=1), (at_peak - last) * STEP, np.nan)
    fall = np.where(after.any(axis=1), (after.argmax(axis=1) - at_peak) * STEP, np.nan)
    return [rise, fall]
