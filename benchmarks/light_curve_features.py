"""Published light-curve features for the rivals, computed by the light-curve package."""

import light_curve
import numpy as np

from structurefn.light_curves import LightCurves

EXTRACTOR = light_curve.Extractor(
    light_curve.Amplitude(),
    light_curve.AndersonDarlingNormal(),
    light_curve.BeyondNStd(1.0),
    light_curve.Cusum(),
    light_curve.Eta(),
    light_curve.EtaE(),
    light_curve.InterPercentileRange(0.25),
    light_curve.Kurtosis(),
    light_curve.LinearTrend(),
    light_curve.MagnitudePercentageRatio(),
    light_curve.MaximumSlope(),
    light_curve.Mean(),
    light_curve.Median(),
    light_curve.MedianAbsoluteDeviation(),
    light_curve.PercentAmplitude(),
    light_curve.ReducedChi2(),
    light_curve.Skew(),
    light_curve.StandardDeviation(),
    light_curve.StetsonK(),
    light_curve.WeightedMean(),
)


def feature_table(light_curves: LightCurves) -> np.ndarray:
    """Features of each channel side by side, then differences of means; NaN where they cannot be computed."""
    n, width = light_curves.n_objects, len(EXTRACTOR.names)
    table = np.full((n, len(light_curves.channels) * width), np.nan)
    owner = light_curves.object_index
    for code in range(len(light_curves.channels)):
        chosen = np.flatnonzero((light_curves.channel == code) & ~light_curves.upper_limit)
        # The extractor wants ascending times: of equal ones the first is kept.
        first = np.ones(len(chosen), bool)
        first[1:] = (np.diff(owner[chosen]) != 0) | (np.diff(light_curves.time[chosen]) > 0)
        chosen = chosen[first]
        bounds = np.searchsorted(owner[chosen], np.arange(n + 1))
        time = light_curves.time[chosen] - (light_curves.time[0] if light_curves.n_points else 0.0)
        value, error = light_curves.value[chosen], light_curves.error[chosen]
        for i in range(n):
            part = slice(bounds[i], bounds[i + 1])
            if part.stop > part.start:
                table[i, code * width : (code + 1) * width] = EXTRACTOR(
                    time[part], value[part], error[part], fill_value=np.nan, sorted=True, check=False
                )
    mean = EXTRACTOR.names.index("mean")
    means = table[:, mean::width]
    return np.column_stack([table, means[:, :-1] - means[:, 1:]])
