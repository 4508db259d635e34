"""Published features of light curves, as the light-curve package computes them."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np

from structurefn.light_curves import LightCurves

__all__ = ["feature_names", "light_curve_features"]

# Means of neighbouring channels differ by a colour.
COLOUR = "mean"
# Periodogram of all channels: peaks, highest frequency [1/day], and cells of the grid of frequencies.
PEAKS, MAX_FREQUENCY, FREQUENCIES = 3, 10.0, 2**15
FEWEST_FOR_PERIOD, FEWEST_IN_CHANNEL = 5, 2


@cache
def _extractor():
    """Features of one channel; none says how many points there are or how long they span.

    Left out for that reason: statistics that grow with the number of points (Anderson-Darling), durations,
    counts.
    """
    import light_curve as lc

    return lc.Extractor(
        lc.Amplitude(),
        lc.BeyondNStd(1.0),
        lc.BeyondNStd(2.0),
        lc.Cusum(),
        lc.Eta(),
        lc.EtaE(),
        lc.ExcessVariance(),
        lc.InterPercentileRange(0.02),
        lc.InterPercentileRange(0.1),
        lc.InterPercentileRange(0.25),
        lc.Kurtosis(),
        lc.LinearFit(),
        lc.LinearTrend(),
        lc.MagnitudePercentageRatio(0.4, 0.05),
        lc.MagnitudePercentageRatio(0.2, 0.05),
        lc.MaximumSlope(),
        lc.Mean(),
        lc.Median(),
        lc.MedianAbsoluteDeviation(),
        lc.MedianBufferRangePercentage(),
        lc.PercentAmplitude(),
        lc.PercentDifferenceMagnitudePercentile(),
        lc.ReducedChi2(),
        lc.Skew(),
        lc.StandardDeviation(),
        lc.StetsonK(),
        lc.WeightedMean(),
    )


@cache
def _kept() -> tuple[int, ...]:
    """Columns of the extractor that are kept: errors of slopes tell the span and the number of points."""
    return tuple(i for i, name in enumerate(_extractor().names) if not name.endswith("_sigma"))


def _names() -> tuple[str, ...]:
    return tuple(_extractor().names[i] for i in _kept())


@cache
def _periodogram(channels: tuple[str, ...]):
    import light_curve as lc

    # A regular grid with a power of two of cells takes the fast transform.
    grid = 2 * np.pi * np.linspace(0.0, MAX_FREQUENCY, FREQUENCIES + 1)
    return lc.Periodogram(peaks=PEAKS, freqs=grid, fast=True, bands=list(channels))


def feature_names(channels: tuple[str, ...], *, period: bool = False) -> tuple[str, ...]:
    """Names of the columns of `light_curve_features`."""
    names = [f"{feature} {channel}" for channel in channels for feature in _names()]
    names += [f"{COLOUR} {a} - {b}" for a, b in pairwise(channels)]
    if period:
        names += [f"{what} {k + 1}" for k in range(PEAKS) for what in ("log period", "peak of period")]
    return tuple(names)


def light_curve_features(light_curves: LightCurves, *, period: bool = False) -> np.ndarray:
    """Compute the features of each channel's detections, in the unit of the light curves.

    Parameters
    ----------
    light_curves : LightCurves
    period : bool
        Add log10 of the period [day] and the height (over its mean, in standard deviations) of the highest
        peaks of the Lomb-Scargle periodogram of all channels together.

    Returns
    -------
    float32 array, shape (n_objects, n_features)
        As `feature_names`: those of each channel, then differences of the means of neighbouring channels,
        then periods. NaN where a feature is not defined, for instance of too few points.
    """
    names, n = _names(), light_curves.n_objects
    table = np.full((n, len(light_curves.channels), len(names)), np.nan, dtype=np.float32)
    kept = list(_kept())
    for code in range(len(light_curves.channels)):
        seen, found = _many(_extractor(), light_curves, light_curves.channel == code)
        table[seen, code] = found[:, kept]
    mean = table[:, :, names.index(COLOUR)]
    parts = [table.reshape(n, len(light_curves.channels) * len(names)), mean[:, :-1] - mean[:, 1:]]
    if period:
        parts.append(_periods(light_curves))
    whole = np.column_stack(parts)
    return np.where(np.isfinite(whole), whole, np.float32(np.nan))


def _periods(light_curves: LightCurves) -> np.ndarray:
    """Log10 of periods and heights of peaks, alternating, shape (n_objects, 2 * PEAKS)."""
    owner, code = light_curves.object_index, light_curves.channel
    n_channels = len(light_curves.channels)
    table = np.full((light_curves.n_objects, 2 * PEAKS), np.nan, dtype=np.float32)
    used = ~light_curves.upper_limit
    cell = owner * n_channels + code
    points = np.bincount(cell[used], minlength=light_curves.n_objects * n_channels)
    # The package wants every channel it is told of in every object: objects go by the channels they have.
    has = points.reshape(-1, n_channels) >= FEWEST_IN_CHANNEL
    has &= (points.reshape(-1, n_channels) * has).sum(axis=1, keepdims=True) >= FEWEST_FOR_PERIOD
    for pattern in np.unique(has[has.any(axis=1)], axis=0):
        own = (has == pattern).all(axis=1)
        channels = tuple(name for name, there in zip(light_curves.channels, pattern, strict=True) if there)
        rows = own[owner] & pattern[code]
        seen, found = _many(_periodogram(channels), light_curves, rows, with_band=True)
        # A period of zero stands for a peak that is not there.
        found[:, ::2] = np.log10(np.where(found[:, ::2] > 0, found[:, ::2], np.nan))
        table[seen] = found
    return table


def _many(extractor, light_curves: LightCurves, rows: np.ndarray, *, with_band: bool = False):
    """Features of the detections of some rows: the objects that have any, and their features."""
    import pyarrow as pa

    owner = light_curves.object_index
    chosen = np.flatnonzero(rows & ~light_curves.upper_limit)
    # Times must ascend: of equal ones (in all channels, where these go together) the first is kept.
    first = np.ones(len(chosen), dtype=bool)
    first[1:] = (np.diff(owner[chosen]) != 0) | (np.diff(light_curves.time[chosen]) > 0)
    if with_band:
        first[1:] |= np.diff(light_curves.channel[chosen]) != 0
    chosen = chosen[first]
    count = np.bincount(owner[chosen], minlength=light_curves.n_objects)
    seen = np.flatnonzero(count)
    if not len(seen):
        return seen, np.zeros((0, len(extractor.names)))
    fields = {
        # An epoch near the points keeps the phases of short periods.
        "t": light_curves.time[chosen] - light_curves.time[chosen].min(),
        "m": light_curves.value[chosen],
        "sigma": light_curves.error[chosen],
    }
    if with_band:
        fields["band"] = pa.array(np.array(light_curves.channels)[light_curves.channel[chosen]])
    points = pa.StructArray.from_arrays(list(fields.values()), names=list(fields))
    offset = pa.array(np.concatenate([[0], np.cumsum(count[seen])]), pa.int32())
    found = extractor.many(
        pa.ListArray.from_arrays(offset, points),
        arrow_fields={name: name for name in fields},
        fill_value=np.nan,
        sorted=True,
        check=False,
    )
    return seen, np.array(found)
