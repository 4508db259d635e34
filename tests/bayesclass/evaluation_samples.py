"""Posteriors with labels drawn from them, for tests of evaluations and comparisons."""

import numpy as np
import pandas as pd

from bayesclass.evaluation import evaluate
from bayesclass.recipe import Recipe

RECIPE = Recipe.from_dict(
    {
        "schema": 1,
        "name": "small",
        "title": "A small recipe",
        "classes": {
            "label": "label",
            "partial_label": "mark",
            "leaves": ["Ia", "II", "Ibc"],
            "nodes": {"core-collapse": ["II", "Ibc"], "supernova": ["Ia", "core-collapse"]},
            "labels": {"SN Ia": "Ia", "SN?": "core-collapse"},
        },
        "light_curves": {"quantity": "mag", "photometry": "difference", "channels": ["ZTF/g"]},
        "streams": [{"name": "g", "kind": "pairs", "channels": ["ZTF/g", "ZTF/g"]}],
    }
)
LEAVES = RECIPE.taxonomy.leaves


def tables(rng, n=300):
    """Posteriors whose labels are drawn from them, and the objects in another order."""
    p = rng.dirichlet((0.6, 0.4, 0.3), size=n)
    y = np.array([rng.choice(3, p=row) for row in p])
    ids = [f"o{i}" for i in range(n)]
    posteriors = pd.DataFrame({"object_id": ids} | {f"p_{leaf}": p[:, k] for k, leaf in enumerate(LEAVES)})
    for k, leaf in enumerate(LEAVES):
        posteriors[f"p_{leaf}_lo"], posteriors[f"p_{leaf}_hi"] = p[:, k], p[:, k]
    names = np.array(LEAVES, dtype=object)
    posteriors["best_class"] = names[p.argmax(axis=1)].astype(str)
    sets = (p > 0.25) | (p == p.max(axis=1, keepdims=True))
    posteriors["prediction_set"] = ["|".join(names[row]) for row in sets]
    posteriors["n_detections"] = rng.integers(0, 150, n)
    posteriors["n_upper_limits"] = 0
    posteriors["novelty"], posteriors["conflict"], posteriors["warnings"] = np.nan, 0.0, ""
    objects = pd.DataFrame({"object_id": ids, "label": names[y].astype(str), "mark": ""})
    return posteriors, objects.sample(frac=1, random_state=1), p, y


def quick(posteriors, objects, **options):
    return evaluate(posteriors, objects, RECIPE, **({"n_resamples": 60} | options))


def with_reasons(posteriors, rng, pieces=("prior", "pairs", "host")):
    """Add columns of reasons: random pieces, the last of which makes their sum the log-probability."""
    p = posteriors[[f"p_{leaf}" for leaf in LEAVES]].to_numpy()
    parts = {piece: rng.normal(size=p.shape) for piece in pieces[:-1]}
    parts[pieces[-1]] = np.log(p) - sum(parts.values())
    columns = {
        f"reason_{leaf}_{piece}": parts[piece][:, k].astype(np.float32)
        for piece in pieces
        for k, leaf in enumerate(LEAVES)
    }
    return posteriors.assign(**columns), parts
