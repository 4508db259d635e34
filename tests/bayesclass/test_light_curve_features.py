import numpy as np
import pandas as pd
import pytest

from bayesclass.light_curve_features import feature_names, light_curve_features
from structurefn.light_curves import LightCurves

CHANNELS = ("S/g", "S/r", "S/i")


def batch(rng, n=6, points=30):
    size = n * points
    frame = pd.DataFrame(
        {
            "object_id": np.repeat([f"o{i}" for i in range(n)], points),
            "survey": "S",
            "band": rng.choice(["g", "r"], size),
            "mjd": 58000 + rng.uniform(0, 100, size),
            "mag": rng.normal(18, 0.5, size),
            "mag_err": rng.uniform(0.02, 0.2, size),
        }
    )
    return LightCurves.from_frame(frame, channels=CHANNELS), frame


def column(table, name):
    return table[:, feature_names(CHANNELS).index(name)]


def test_against_their_definitions():
    curves, frame = batch(np.random.default_rng(0))
    table = light_curve_features(curves)
    assert table.shape == (6, len(feature_names(CHANNELS)))
    of_g = frame[frame["band"] == "g"].groupby("object_id", sort=False)
    mean = of_g["mag"].mean()
    assert column(table, "mean S/g") == pytest.approx(mean.to_numpy(), rel=1e-6)
    assert column(table, "standard_deviation S/g") == pytest.approx(of_g["mag"].std().to_numpy(), rel=1e-5)
    half = (of_g["mag"].max() - of_g["mag"].min()) / 2
    assert column(table, "amplitude S/g") == pytest.approx(half.to_numpy(), rel=1e-5)
    weight = 1 / frame["mag_err"] ** 2
    weighted = (frame["mag"] * weight)[frame["band"] == "g"].groupby(frame["object_id"], sort=False).sum()
    weighted /= weight[frame["band"] == "g"].groupby(frame["object_id"], sort=False).sum()
    assert column(table, "weighted_mean S/g") == pytest.approx(weighted.to_numpy(), rel=1e-6)
    other = frame[frame["band"] == "r"].groupby("object_id", sort=False)["mag"].mean()
    assert column(table, "mean S/g - S/r") == pytest.approx((mean - other).to_numpy(), abs=1e-5)


def test_missing_channels_and_empty_objects_have_no_features():
    curves, _ = batch(np.random.default_rng(1))
    table = light_curve_features(curves)
    names = np.array(feature_names(CHANNELS))
    assert np.isnan(table[:, [name.endswith("S/i") for name in names]]).all()
    nothing = curves.keep_points(curves.object_index != 2)
    assert np.isnan(light_curve_features(nothing)[2]).all()
    others = [0, 1, 3, 4, 5]
    assert np.array_equal(light_curve_features(nothing)[others], table[others], equal_nan=True)
    empty = light_curve_features(LightCurves.empty(CHANNELS, "mag"))
    assert empty.shape == (0, len(names))


def test_one_point_and_repeated_times():
    frame = pd.DataFrame(
        {
            "object_id": ["a", "b", "b", "b"],
            "survey": "S",
            "band": "g",
            "mjd": [58000.0, 58000.0, 58000.0, 58001.0],
            "mag": [18.0, 18.0, 19.0, 18.5],
            "mag_err": 0.1,
        }
    )
    curves = LightCurves.from_frame(frame, channels=CHANNELS)
    table = light_curve_features(curves)
    assert column(table, "mean S/g")[0] == 18.0
    assert column(table, "mean S/g")[1] == pytest.approx(18.25)
    assert np.isnan(column(table, "skew S/g")[0])


def test_the_number_of_points_is_no_feature():
    """Doubling every point, a moment later, moves no feature by much more than what a point weighs."""
    rng = np.random.default_rng(2)
    curves, frame = batch(rng, n=20, points=200)
    later = frame.assign(mjd=frame["mjd"] + 1e-5)
    twice = LightCurves.from_frame(pd.concat([frame, later], ignore_index=True), channels=CHANNELS)
    once, both = light_curve_features(curves), light_curve_features(twice)
    # Statistics of neighbours in time do see pairs of equal points.
    steps = ("eta", "maximum_slope", "cusum", "linear_trend_noise")
    for i, name in enumerate(feature_names(CHANNELS)):
        if name.startswith(steps) or np.isnan(once[:, i]).any():
            continue
        spread = np.std(once[:, i]) + 0.05 * np.abs(once[:, i]).mean()
        assert np.abs(np.median(both[:, i] - once[:, i])) < 0.7 * spread, name


def test_periods_of_two_channels_together():
    rng = np.random.default_rng(5)
    rows = []
    for i, period in enumerate((0.37, 4.1, 55.0)):
        time = np.sort(rng.uniform(58000, 58300, 60))
        band = rng.choice(["g", "r"], 60)
        mag = 18 + 0.4 * np.sin(2 * np.pi * time / period) + 0.5 * (band == "r") + rng.normal(0, 0.03, 60)
        own = {"object_id": f"o{i}", "survey": "S", "band": band, "mjd": time, "mag": mag, "mag_err": 0.03}
        rows.append(pd.DataFrame(own))
    rows.append(rows[0].iloc[:4].assign(object_id="few"))
    curves = LightCurves.from_frame(pd.concat(rows), channels=CHANNELS)
    table = light_curve_features(curves, period=True)
    names = feature_names(CHANNELS, period=True)
    assert table.shape == (4, len(names))
    found = table[:, names.index("log period 1")]
    assert found[:3] == pytest.approx(np.log10([0.37, 4.1, 55.0]), abs=0.01)
    assert np.isnan(found[3])
    assert np.array_equal(
        table[:, : len(feature_names(CHANNELS))], light_curve_features(curves), equal_nan=True
    )
