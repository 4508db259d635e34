"""Published features of light curves, channel by channel, as the light-curve package computes them."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np

from structurefn.light_curves import LightCurves

__all__ = ["feature_names", "light_curve_features"]

# Means of neighbouring channels differ by a colour.
COLOUR = "mean"


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


def feature_names(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns of `light_curve_features`."""
    names = [f"{feature} {channel}" for channel in channels for feature in _names()]
    colours = [f"{COLOUR} {a} - {b}" for a, b in pairwise(channels)]
    return (*names, *colours)


def light_curve_features(light_curves: LightCurves) -> np.ndarray:
    """Compute the features of each channel's detections, in the unit of the light curves.

    Parameters
    ----------
    light_curves : LightCurves

    Returns
    -------
    float32 array, shape (n_objects, n_channels * n_features + n_channels - 1)
        As `feature_names`; the last columns are differences of the means of neighbouring channels. NaN where
        a feature is not defined, for instance of too few points.
    """
    import pyarrow as pa

    extractor, n = _extractor(), light_curves.n_objects
    kept = list(_kept())
    width = len(kept)
    table = np.full((n, len(light_curves.channels) * width), np.nan, dtype=np.float32)
    owner = light_curves.object_index
    for code in range(len(light_curves.channels)):
        chosen = np.flatnonzero((light_curves.channel == code) & ~light_curves.upper_limit)
        # Times must ascend: of equal ones the first is kept.
        first = np.ones(len(chosen), dtype=bool)
        first[1:] = (np.diff(owner[chosen]) != 0) | (np.diff(light_curves.time[chosen]) > 0)
        chosen = chosen[first]
        count = np.bincount(owner[chosen], minlength=n)
        seen = np.flatnonzero(count)
        if not len(seen):
            continue
        points = pa.StructArray.from_arrays(
            [light_curves.time[chosen], light_curves.value[chosen], light_curves.error[chosen]],
            names=["t", "m", "sigma"],
        )
        offset = pa.array(np.concatenate([[0], np.cumsum(count[seen])]), pa.int32())
        found = extractor.many(
            pa.ListArray.from_arrays(offset, points),
            arrow_fields={"t": "t", "m": "m", "sigma": "sigma"},
            fill_value=np.nan,
            sorted=True,
            check=False,
        )
        table[seen, code * width : (code + 1) * width] = found[:, kept]
    table[~np.isfinite(table)] = np.nan
    mean = table[:, _names().index(COLOUR) :: width]
    return np.column_stack([table, mean[:, :-1] - mean[:, 1:]])
