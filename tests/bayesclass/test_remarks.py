"""Warnings of single objects name what was left out."""

from time import perf_counter

import numpy as np
import pandas as pd

from bayesclass.remarks import object_remarks
from context.evidence import EvidenceSpec, EvidenceTable
from structurefn.light_curves import LightCurves

SPECS = (
    EvidenceSpec("latitude", "continuous", column="b", valid_range=(0.0, 90.0)),
    EvidenceSpec("host", "categorical", column="host", states=("spiral", "elliptical")),
)


def batch():
    rows = [
        ("good", "g", 59000.0, 18.0, 0.1, False),
        ("good", "g", 59001.0, 18.0, 0.1, False),
        ("one", "g", 59001.0, 18.0, 0.1, False),
        ("limits", "g", 59001.0, 18.0, np.nan, True),
        ("bad", "g", 59001.0, np.nan, 0.1, False),
        ("bad", "z", 59001.0, 18.0, 0.1, False),
        ("bad", "z", 59002.0, 18.0, 0.1, False),
    ]
    frame = pd.DataFrame(rows, columns=["object_id", "band", "mjd", "mag", "mag_err", "upper_limit"])
    return LightCurves.from_frame(frame.assign(survey="S"), channels=("S/g",)).with_objects(["bare"])


def remarks(objects, **options):
    light_curves = batch()
    evidence = EvidenceTable.from_frame(objects, SPECS, object_ids=light_curves.object_id)
    found = object_remarks(light_curves, evidence, objects is not None, **options)
    return dict(zip(light_curves.object_id.tolist(), found, strict=True))


def test_each_object_is_told_what_was_left_out():
    objects = pd.DataFrame(
        {
            "object_id": ["good", "one", "limits", "bad"],
            "b": [30.0, 95.0, np.nan, 1.0],
            "host": ["spiral", "", "?", ""],
        }
    )
    found = remarks(objects)
    assert found["good"] == ""
    assert found["one"] == (
        "one point: no pair of points; latitude set aside: out of range [0, 90]; no context"
    )
    assert found["limits"] == (
        "no usable point: prior and context only; upper limits counted, not used; "
        "host set aside: unknown category; no context"
    )
    assert found["bare"] == "no usable point: prior and context only; no context"
    assert "2 row(s) set aside: channel S/z not in the model" in found["bad"]
    assert "1 row(s) set aside: value missing or not finite" in found["bad"]
    assert "context" not in found["bad"].replace("prior and context only", "")
    assert "upper limits" not in remarks(objects, limits_used=True)["limits"]


def test_without_a_table_and_without_a_column():
    assert remarks(None)["good"] == "no context: no objects' table"
    found = remarks(pd.DataFrame({"object_id": ["good"], "b": [3.0]}))
    assert found["good"] == "host not used: no column host"


def test_a_large_batch_with_everything_set_aside_takes_seconds():
    n = 100_000
    names = [f"o{i}" for i in range(n)]
    frame = pd.DataFrame({"object_id": names, "mjd": 59000.0, "mag": 18.0, "mag_err": 0.1})
    frame = frame.assign(survey="S", band="z")
    light_curves = LightCurves.from_frame(frame, channels=("S/g",))
    objects = pd.DataFrame({"object_id": names, "b": 99.0, "host": "?"})
    evidence = EvidenceTable.from_frame(objects, SPECS, object_ids=light_curves.object_id)
    start = perf_counter()
    found = object_remarks(light_curves, evidence, True)
    assert perf_counter() - start < 10
    assert set(found) == {
        "no usable point: prior and context only; 1 row(s) set aside: channel S/z not in the model; "
        "latitude set aside: out of range [0, 90]; host set aside: unknown category; no context"
    }
