import os
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from bayesclass.classifier import Classifier
from bayesclass.recipe import Recipe

# How long an example takes says more of a busy machine than of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

TINY_RECIPE = """
schema = 1
name = "tiny"

[classes]
label = "label"
partial_label = "note"
leaves = ["Periodic", "Walk", "Fading"]
[classes.nodes]
variable = ["Periodic", "Walk"]
[classes.labels]
"sine" = "Periodic"
"Walk?" = ["Walk", "Fading"]

[light_curves]
quantity = "mag"
photometry = "total"
channels = ["S/g", "S/r"]
night = 0.5
[light_curves.aliases]
"S/zg" = "S/g"

[[streams]]
name = "pairs g-g"
kind = "pairs"
channels = ["S/g", "S/g"]

[[streams]]
name = "pairs g-r"
kind = "pairs"
channels = ["S/g", "S/r"]

[[streams]]
name = "chain"
kind = "adjacent"
channels = ["S/g"]
nightly = true

[[streams]]
name = "triplets"
kind = "triplets"
channels = ["S/g"]
trained = false

[[streams]]
name = "peak"
kind = "peak"
channels = ["S/g"]

[[streams]]
name = "level"
kind = "scaled-level"
channels = ["S/g"]

[[streams]]
name = "magnitude"
kind = "magnitude"
channels = ["S/r"]

[[evidence]]
name = "latitude"
column = "latitude"
kind = "continuous"
unit = "deg"
range = [0.0, 90.0]

[[evidence]]
name = "host"
column = "host"
kind = "categorical"
states = ["spiral", "elliptical"]
covered = { column = "in_survey", equals = true }

[fit]
folds = 2
versions = 2
draws = 4
min_points = 3
max_points = 12
"""
LEAVES = ("Periodic", "Walk", "Fading")


class TinyClassifier(NamedTuple):
    """A fitted classifier with the simulated sample that it was fitted on."""

    classifier: Classifier
    recipe_text: str
    light_curves: pd.DataFrame
    objects: pd.DataFrame


def simulate_light_curves(rng: np.random.Generator, labels: list[str], prefix: str = "o") -> pd.DataFrame:
    """Sines, damped random walks and transients that fade, two exposures a night in two bands."""
    frames = []
    for number, label in enumerate(labels):
        nights = np.sort(rng.choice(120, rng.integers(3, 13), replace=False)) + 59000.3
        time = (nights[:, None] + np.array([0.0, 0.02]) + rng.uniform(0, 0.01, (len(nights), 2))).ravel()
        since = time - 59000.0
        if label == "Periodic":
            change = 0.4 * np.sin(2 * np.pi * (since / rng.uniform(0.4, 3.0) + rng.random()))
        elif label == "Walk":
            lag = np.abs(since[:, None] - since)
            change = (
                0.3
                * np.linalg.cholesky(np.exp(-lag / 60.0) + 1e-9 * np.eye(len(time)))
                @ rng.normal(size=len(time))
            )
        else:
            change = rng.uniform(0.01, 0.03) * (since - since[0])
        error = rng.uniform(0.04, 0.15, len(time))
        red = np.tile([False, True], len(nights))
        mag = 17.0 + rng.normal() + change - 0.3 * red + error * rng.normal(size=len(time))
        frames.append(
            pd.DataFrame(
                {
                    "object_id": f"{prefix}{number}",
                    "survey": "S",
                    "band": np.where(red, "r", "g"),
                    "mjd": time,
                    "mag": mag,
                    "mag_err": error,
                    "upper_limit": error > 0.14,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def simulate_objects(rng: np.random.Generator, labels: list[str], prefix: str = "o") -> pd.DataFrame:
    """Context of the same objects: a latitude that depends on the class, a host that is often missing."""
    latitude = [float(np.clip(rng.normal(35 if label == "Periodic" else 50, 15), 0, 90)) for label in labels]
    host = [
        rng.choice(["spiral", "elliptical", ""], p=[0.7, 0.1, 0.2] if label == "Fading" else [0.2, 0.2, 0.6])
        for label in labels
    ]
    return pd.DataFrame(
        {
            "object_id": [f"{prefix}{number}" for number in range(len(labels))],
            "label": labels,
            "note": "",
            "latitude": latitude,
            "host": host,
            "in_survey": rng.random(len(labels)) < 0.7,
        }
    )


@pytest.fixture(scope="session")
def tiny_classifier() -> TinyClassifier:
    """A small fitted classifier of three simulated classes; tests leave it and its tables unchanged."""
    rng = np.random.default_rng(7)
    labels = [LEAVES[i % 3] for i in range(60)]
    light_curves = simulate_light_curves(rng, labels)
    objects = simulate_objects(rng, [*labels, "Fading"])  # the last has no light curve
    # A mapped label, a partial one, an inner node and one that is not in the tree.
    objects.loc[[0, 1, 3, 59], "label"] = ["sine", "", "variable", "nova"]
    objects.loc[1, "note"] = "Walk?"
    classifier = Classifier(Recipe.from_dict(tomllib.loads(TINY_RECIPE))).fit(light_curves, objects)
    return TinyClassifier(classifier, TINY_RECIPE, light_curves, objects)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the labelled survey data: BAYESCLASS_DATA, by default ../shared/data beside the checkout."""
    folder = os.environ.get("BAYESCLASS_DATA")
    path = Path(folder) if folder else Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no labelled survey data in {path}; set BAYESCLASS_DATA to their folder")
    return path.resolve()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)
