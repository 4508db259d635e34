"""Novelty on real light curves: a class that was held out is found, known objects raise few alarms."""

import tomllib
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from bayesclass.classifier import Classifier
from bayesclass.recipe import Recipe
from bayesclass.recipe_schema import FitSpec
from bayesclass.tables import read_objects
from structurefn.light_curves import LightCurves
from structurefn.thinning import thin_to

HELD_OUT = "HPM"


@pytest.mark.slow
@pytest.mark.real_data
def test_high_proper_motion_stars_are_novel_to_the_other_classes(data_dir):
    plain = tomllib.loads((files("bayesclass") / "recipes" / "crts-transients.toml").read_text())
    plain["classes"]["leaves"].remove(HELD_OUT)
    plain["classes"]["nodes"]["stellar"].remove(HELD_OUT)
    recipe = Recipe.from_dict(plain)
    recipe = replace(recipe, fit=FitSpec(folds=3, versions=2, draws=1, max_points=40))
    objects = read_objects(data_dir / "crts" / "objects.csv")
    allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
    table = pd.read_parquet(data_dir / "crts" / "lightcurves.parquet")
    objects["light_curve"] = objects["object_id"].isin(table["object_id"].astype(str))
    rng = np.random.default_rng(0)
    known = rng.permutation(np.flatnonzero((allowed.sum(axis=1) == 1) & objects["light_curve"]))
    novel = np.flatnonzero((objects["clean_label"] == HELD_OUT) & objects["light_curve"])
    options = {"channels": recipe.light_curves.channels, "aliases": recipe.light_curves.aliases}

    def curves(rows):
        batch = LightCurves.from_frame(table, object_ids=objects["object_id"].iloc[rows], **options)
        return thin_to(batch, 40, np.random.default_rng(1))  # the number of points tells the class

    train, test = known[:350], known[350:]
    classifier = Classifier(recipe).fit(curves(train), objects.iloc[train])
    one = classifier.classify(curves(novel), objects.iloc[novel])
    two = classifier.classify(curves(test), objects.iloc[test])
    strange, usual = one.novelty[one.n_detections >= 10], two.novelty[two.n_detections >= 10]
    assert (strange[:, None] > usual).mean() + 0.5 * (strange[:, None] == usual).mean() > 0.8
    # Conformal over versions and folds, not exactly exchangeable: within three errors and a margin of .02.
    for level in (0.8, 0.95):
        error = np.sqrt(level * (1 - level) / len(usual))
        assert (usual > level).mean() < 1 - level + 3 * error + 0.02
    assert np.nanmean(one.unknown) > np.nanmean(two.unknown)
