"""What upper limits add: on the Open Supernova Catalog by cross-validation, and in a simulation.

Usage: python benchmarks/upper_limits.py [osc] [simulation] [--folds 5] [--seed 0]

osc: the same folds, objects and versions with the recipe's streams of kind "limits" and without them, tested
at full length and with the first detections only (limits up to then kept). The difference of log-losses is
paired by object, with a bootstrap interval. As a control the depths are forgotten: every limit of a row gets
that row's mean log-likelihood, so that only the number of limits and their lags speak, which in a collection
of many surveys tells the survey and thereby the class.

simulation: supernovae in their rise against steady nuclei, of which some are near the survey's limit. The
exact posterior, by integration of the likelihood over the models' parameters, is the bound.
"""

import argparse
import copy
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from upper_limits_simulation import simulate_and_compare

from bayesclass import metrics
from bayesclass.classifier import Classifier
from bayesclass.folds import identical_light_curves, stratified_folds
from bayesclass.recipe import Recipe
from structurefn.light_curves import LightCurves
from structurefn.limits import depth_counts

RECIPE = Path(__file__).parent / "recipes" / "open-supernovae.toml"
LENGTHS = (None, 5, 3)
LEAST_ERROR = 0.1


def read_osc(folder, channels, aliases):
    """Return light curves with the collection's gaps filled: survey names, errors."""
    frame = pd.read_parquet(folder / "lightcurves.parquet")
    frame["survey"] = frame["survey"].where(frame["survey"] != "", "other")
    # Some surveys give errors for one class and none for another, so all get a common least error.
    frame["mag_err"] = frame["mag_err"].clip(lower=LEAST_ERROR).fillna(LEAST_ERROR)
    return LightCurves.from_frame(frame, channels=channels, aliases=aliases)


def first_detections(curves, n_detections):
    """Keep each object's points up to its detection of that number."""
    seen = np.concatenate([[0], np.cumsum(~curves.upper_limit)])
    before = seen[:-1] - seen[curves.offset[curves.object_index]]
    return curves.keep_points(before < n_detections)


def without_depths(model, curves):
    """Return the model with the likelihood of each limit averaged over the depths in its row."""
    counts = model.fitted.representation.describe(curves).counts
    densities = dict(model.fitted.experts.densities)
    for stream in model.fitted.experts.streams:
        if stream.kind == "limits":
            observed = densities[stream.name].observed.copy()
            depths = depth_counts(counts[stream.name]).sum(axis=(0, 2)) + 1e-9
            mean = (observed[:, :, -1] * depths).sum(axis=-1) / depths.sum(axis=-1)
            observed[:, :, -1] = mean[..., None]
            densities[stream.name] = replace(densities[stream.name], observed=observed)
    other = copy.copy(model)
    other._fitted = replace(model.fitted, experts=replace(model.fitted.experts, densities=densities))
    return other


def scores(p, y, rng):
    null, high = metrics.ece_null(p, rng)
    return {
        "log_loss": metrics.log_loss(p, y),
        "accuracy": metrics.accuracy(p, y),
        "ece": metrics.classwise_ece(p, y),
        "ece_null": null,
        "ece_null_95": high,
    }


def difference(p, q, y, rng, n=2000):
    """Mean gain of q over p in log-loss, with the 95 % bootstrap interval by object."""
    gain = metrics.log_losses(p, y) - metrics.log_losses(q, y)
    means = gain[rng.integers(0, len(gain), (n, len(gain)))].mean(axis=1)
    return gain.mean(), *np.quantile(means, [0.025, 0.975])


def cross_validate(options):
    folder = Path(os.environ.get("BAYESCLASS_DATA", "../shared/data")) / "osc"
    recipe = Recipe.load(RECIPE)
    recipe = replace(recipe, fit=replace(recipe.fit, draws=1, seed=options.seed))
    plain = tuple(stream for stream in recipe.streams if stream.kind != "limits")
    recipes = {"without": replace(recipe, streams=plain), "with": recipe}
    objects = pd.read_csv(folder / "objects.csv", dtype={"object_id": str}, keep_default_na=False)
    curves = read_osc(folder, recipe.light_curves.channels, recipe.light_curves.aliases)
    allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
    position = pd.Index(curves.object_id).get_indexer(objects["object_id"].astype(str))
    use = allowed.any(axis=1) & (position >= 0)
    objects, allowed = objects[use].reset_index(drop=True), allowed[use]
    curves = curves.take_objects(position[use])
    seen = curves.n_detections > 0
    objects, allowed, curves = objects[seen].reset_index(drop=True), allowed[seen], curves.take_objects(seen)
    y, single = allowed.argmax(axis=1), allowed.sum(axis=1) == 1
    rng = np.random.default_rng(options.seed)
    fold = stratified_folds(np.where(single, y, -1), identical_light_curves(curves), options.folds, rng)
    batches = {k: curves if k is None else first_detections(curves, k) for k in LENGTHS}
    names = (*recipes, "control")
    found = {(name, k): np.zeros(allowed.shape) for name in names for k in LENGTHS}
    used = {k: np.zeros(len(y)) for k in LENGTHS}
    for number in range(options.folds):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        for name, chosen in recipes.items():
            start = time.perf_counter()
            model = Classifier(chosen).fit(curves.take_objects(train), objects.iloc[train])
            control = without_depths(model, curves.take_objects(train)) if name == "with" else None
            for k in LENGTHS:
                batch = batches[k].take_objects(test)
                found[name, k][test] = model.classify(batch, objects.iloc[test]).probability
                if control is not None:
                    found["control", k][test] = control.classify(batch, objects.iloc[test]).probability
                    described = model.fitted.representation.describe(batch)
                    used[k][test] = model.fitted.experts.evidence(described)[1]["upper limits"]
            weights = model.summary["weights_at_20_points"]
            spent = time.perf_counter() - start
            print(f"fold {number + 1}, {name} limits: {spent:.0f} s, weights at 20 {weights}", flush=True)
    pan_starrs = np.isin(curves.channel, [i for i, c in enumerate(curves.channels) if c.startswith("PS1/")])
    of_pan_starrs = np.bincount(curves.object_index[pan_starrs], minlength=len(y)) > 0
    for k in LENGTHS:
        groups = {"all": single, "with limits": single & (used[k] > 0)}
        groups["with limits, not PS1"] = groups["with limits"] & ~of_pan_starrs
        for group, here in groups.items():
            counts = dict(
                zip(recipe.taxonomy.leaves, np.bincount(y[here], minlength=6).tolist(), strict=True)
            )
            print(f"\n{k or 'all'} detections, {group}: {here.sum()} objects {counts}")
            for name in names:
                line = scores(found[name, k][here], y[here], np.random.default_rng(0))
                print(f"  {name:8s}", " ".join(f"{key} {value:.4f}" for key, value in line.items()))
            for one, two in (("without", "with"), ("without", "control"), ("control", "with")):
                gain, low, high = difference(found[one, k][here], found[two, k][here], y[here], rng)
                print(f"  gain in log-loss from {one} to {two} {gain:.4f} ({low:.4f} to {high:.4f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["simulation", "osc"], help="osc, simulation or both")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if "simulation" in options.what:
        simulate_and_compare(options.seed)
    if "osc" in options.what:
        cross_validate(options)


if __name__ == "__main__":
    main()
