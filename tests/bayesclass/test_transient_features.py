import numpy as np
import pandas as pd
import pytest
from astropy.cosmology import Planck18

from bayesclass.feature_table import feature_table, feature_table_names
from bayesclass.recipe_schema import FeatureSpec
from bayesclass.transient_features import transient_feature_names, transient_features
from context.evidence import EvidenceSpec, EvidenceTable
from structurefn.light_curves import LightCurves

CHANNELS = ("S/g", "S/r")
FLUX = {"g": 1000.0, "r": 1500.0}


def triangle(name="a", *, stretch=1.0, factor=1.0, until=120.0):
    """A curve that rises linearly for 40 days and falls linearly for 80, sampled daily in both channels."""
    time = np.arange(-40.0, until)
    shape = np.where(time < 0, 1 + time / 40, 1 - time / 80)
    rows = []
    for band, flux in FLUX.items():
        rows.append(
            pd.DataFrame(
                {
                    "object_id": name,
                    "survey": "S",
                    "band": band,
                    "mjd": 58000 + stretch * time,
                    "flux": factor * flux * np.maximum(shape, 0.0),
                    "flux_err": 5.0 * factor,
                }
            )
        )
    return pd.concat(rows)


def table_of(*frames):
    curves = LightCurves.from_frame(pd.concat(frames), channels=CHANNELS)
    return pd.DataFrame(transient_features(curves), columns=transient_feature_names(CHANNELS))


def test_brightness_colour_and_times_of_a_known_shape():
    row = table_of(triangle()).iloc[0]
    for channel, band in (("S/g", "g"), ("S/r", "r")):
        assert row[f"peak magnitude {channel}"] == pytest.approx(27.5 - 2.5 * np.log10(FLUX[band]), abs=0.1)
        assert row[f"rise from 0.5 {channel}"] == pytest.approx(20, abs=4)
        assert row[f"fall to 0.5 {channel}"] == pytest.approx(40, abs=5)
        assert row[f"fall to 0.25 {channel}"] == pytest.approx(60, abs=5)
        assert row[f"share of peak at 40 d {channel}"] == pytest.approx(0.5, abs=0.08)
        assert row[f"share of peak at -20 d {channel}"] == pytest.approx(0.5, abs=0.08)
        assert abs(row[f"time of peak {channel}"]) <= 5
    for phase in (-10, 0, 10, 30):
        assert row[f"S/g - S/r at {phase} d"] == pytest.approx(2.5 * np.log10(1.5), abs=0.05)


def test_what_was_not_observed_is_not_known():
    row = table_of(triangle(until=5.0)).iloc[0]
    assert np.isnan(row["fall to 0.5 S/g"])
    assert np.isnan(row["share of peak at 80 d S/r"])
    assert np.isfinite(row["rise from 0.5 S/g"])
    curves = LightCurves.from_frame(triangle().head(1), channels=CHANNELS)
    assert np.isnan(transient_features(curves)).all()
    assert transient_features(LightCurves.empty(CHANNELS, "flux")).shape == (
        0,
        len(transient_feature_names(CHANNELS)),
    )


def test_fainter_curves_differ_in_magnitude_only():
    both = table_of(triangle("a"), triangle("b", factor=0.1))
    moved = [name for name in both if name.startswith(("peak magnitude", "magnitude at"))]
    assert (both.loc[1, moved] - both.loc[0, moved]).to_numpy(float) == pytest.approx(2.5, abs=1e-3)
    others = both.drop(columns=moved).to_numpy(float)
    assert others[1] == pytest.approx(others[0], abs=1e-3, nan_ok=True)


@pytest.mark.parametrize("transform", ["identity", "log10"])
def test_redshift_gives_luminosity_and_times_at_rest(transform):
    spec = FeatureSpec(transient=True, redshift="z")
    names = feature_table_names(spec, CHANNELS)
    curves = LightCurves.from_frame(
        pd.concat([triangle("a"), triangle("b"), triangle("c")]), channels=CHANNELS
    )
    evidence = EvidenceTable.from_frame(
        pd.DataFrame({"object_id": ["a", "b", "c"], "z": [0.1, 1.0, np.nan]}),
        [EvidenceSpec("z", "continuous", column="z", transform=transform)],
        object_ids=curves.object_id,
    )
    table = pd.DataFrame(feature_table(spec, curves, evidence), columns=names)
    assert table["redshift"].to_numpy() == pytest.approx([0.1, 1.0, np.nan], nan_ok=True)
    absolute = table["absolute peak magnitude S/r"]
    modulus = Planck18.distmod([0.1, 1.0]).value
    assert absolute[:2].to_numpy() == pytest.approx(
        table["peak magnitude S/r"][:2].to_numpy() - modulus, abs=1e-3
    )
    at_rest = table["rest-frame fall to 0.5 S/g"]
    assert at_rest[:2].to_numpy() == pytest.approx(
        table["fall to 0.5 S/g"][:2].to_numpy() / [1.1, 2.0], rel=1e-5
    )
    assert np.isnan(absolute[2])
    assert np.isnan(at_rest[2])
    assert np.isfinite(table["fall to 0.5 S/g"][2])
    alone = feature_table(spec, curves)
    assert alone.shape == table.shape
    assert np.isnan(alone[:, names.index("redshift")]).all()
    assert feature_table(FeatureSpec(transient=True), curves).shape[1] < len(names)
