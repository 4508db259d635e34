"""Labelled light curves of a survey, with the shipped recipe that is for them."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayesclass.recipe import Recipe
from bayesclass.tables import read_light_curves, read_objects
from context.evidence import EvidenceTable
from structurefn.light_curves import LightCurves

RECIPES = {
    "crts": "crts-transients",
    "ztf_bts": "ztf-supernovae",
    "eros1": "eros-variables",
    "snpcc": "des-supernovae",
}


class LabelledSet(NamedTuple):
    """n objects with a label that the recipe maps, all in one order."""

    objects: pd.DataFrame
    allowed: np.ndarray  # (n, n_leaves) bool
    curves: LightCurves
    evidence: EvidenceTable


def labelled_set(data: str, recipe: Recipe) -> LabelledSet:
    """Read a set from the folder that BAYESCLASS_DATA names."""
    folder = Path(os.environ.get("BAYESCLASS_DATA", "../shared/data")) / data
    objects = read_objects(folder / "objects.csv")
    allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
    objects, allowed = objects[allowed.any(axis=1)].reset_index(drop=True), allowed[allowed.any(axis=1)]
    ids = objects["object_id"].to_numpy(dtype=str)
    curves = read_light_curves(folder / "lightcurves.parquet", channels=recipe.light_curves.channels)
    curves = curves.take_objects(pd.Index(curves.object_id).get_indexer(pd.Index(ids)))
    return LabelledSet(objects, allowed, curves, recipe.read_evidence(objects, object_ids=ids))
