"""Classes held out of training and given at test: are they found as novel, and at what rate of false alarms.

Usage: python benchmarks/novelty.py [crts] [snpcc] [ztf_bts] [eros1] [--objects 3000] [--versions 4]
       [--share 0.3] [--labels] [--classes A,B] [--out DIR]

For each class in turn a model is fitted without it, on the other classes less a random share of their objects
(stratified; identical curves stay together). Those objects and all of the class are then classified at full
length and thinned at random. A figure is one split, so AUCs of a hundred objects have errors of some .03.
`--labels` holds out single labels of a set in place of leaves, their leaf staying in training where other
labels are in it.
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from labelled_sets import RECIPES

from bayesclass import metrics
from bayesclass.classifier import Classifier
from bayesclass.folds import identical_light_curves, stratified_folds
from bayesclass.recipe import Recipe
from bayesclass.tables import read_light_curves, read_objects
from structurefn.thinning import thin_to

LENGTHS = (None, 40, 20, 10)
ALARM = 0.95
# Edges of the numbers of detections by which false alarms are told apart.
BINS = (2, 11, 31, 101, 10**6)


def without_leaf(recipe, leaf):
    """Return the recipe as if a leaf had never been in it."""
    plain = recipe.to_dict()
    classes = plain["classes"]
    classes["leaves"] = [name for name in classes["leaves"] if name != leaf]
    nodes = {name: [m for m in members if m != leaf] for name, members in classes.get("nodes", {}).items()}
    while single := next((name for name, members in nodes.items() if len(members) < 2), None):
        # A node of one member is that member.
        member = nodes.pop(single)
        for members in nodes.values():
            if single in members:
                members[members.index(single) : members.index(single) + 1] = member
    classes["nodes"] = nodes
    classes["labels"] = {
        label: to
        for label, to in classes.get("labels", {}).items()
        if to != leaf and not (isinstance(to, list | tuple) and leaf in to)
    }
    return Recipe.from_dict(plain)


def read(data, options):
    """Recipe, light curves, objects, labels and leaves (-1 where several are allowed) of a set."""
    folder = Path(os.environ.get("BAYESCLASS_DATA", "../shared/data")) / data
    recipe = Recipe.load(RECIPES[data])
    objects = read_objects(folder / "objects.csv")
    wanted = recipe.light_curves
    batch = read_light_curves(
        folder / "lightcurves.parquet", channels=wanted.channels, aliases=wanted.aliases
    )
    batch = batch.take_objects(np.flatnonzero(batch.n_detections > 0))
    objects = objects.set_index("object_id", drop=False).reindex(batch.object_id)
    labels = recipe.raw_labels(objects.reset_index(drop=True))
    allowed = recipe.taxonomy.allowed(labels)
    leaf = np.where(allowed.sum(axis=1) == 1, allowed.argmax(axis=1), -1)
    use = np.flatnonzero(leaf >= 0)
    if options.objects and len(use) > options.objects:
        rng = np.random.default_rng(options.seed)
        fold = stratified_folds(leaf[use], np.arange(len(use)), len(use) // options.objects, rng)
        use = use[fold == 0]
    names = np.array([str(label) for label in labels], dtype=object)
    return recipe, batch.take_objects(use), objects.iloc[use].reset_index(drop=True), names[use], leaf[use]


def hold_out(recipe, batch, objects, leaf, novel, options):
    """Novelty and p_unknown of held-out known objects and of the class, by length, with detections."""
    rng = np.random.default_rng(options.seed)
    known = np.flatnonzero(~novel)
    groups = identical_light_curves(batch)
    fold = stratified_folds(leaf[known], groups[known], 10, rng)
    test = known[fold < round(10 * options.share)]
    train = known[fold >= round(10 * options.share)]
    model = Classifier(recipe).fit(batch.take_objects(train), objects.iloc[train])
    found = {}
    for k in LENGTHS:
        for name, index in (("known", test), ("novel", np.flatnonzero(novel))):
            curves = batch.take_objects(index)
            curves = curves if k is None else thin_to(curves, k, np.random.default_rng([options.seed, k]))
            posterior = model.classify(curves, objects.iloc[index])
            unknown = getattr(posterior, "unknown", np.full(len(index), np.nan))
            found[k, name] = np.stack([posterior.novelty, posterior.n_detections, unknown])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=["crts", "snpcc"], help=" or ".join(RECIPES))
    parser.add_argument("--objects", type=int, default=3000, help="at most so many of a set; 0: all")
    parser.add_argument("--versions", type=int, default=4)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", action="store_true")
    parser.add_argument("--classes", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows, alarms = [], []
    for data in options.data:
        recipe, batch, objects, labels, leaf = read(data, options)
        fit = replace(recipe.fit, versions=min(options.versions, recipe.fit.versions), draws=1, folds=4)
        # A part of a complete sample is no biased one.
        fit = replace(fit, redshifted=0)
        recipe = replace(recipe, fit=fit)
        leaves = recipe.taxonomy.leaves
        if options.labels:
            count = pd.Series(labels).value_counts()
            names = [name for name in count.index if count[name] >= 20 and name not in leaves]
        else:
            names = list(leaves)
        for name in names:
            if options.classes and name not in options.classes.split(","):
                continue
            start = time.perf_counter()
            novel = labels == name if options.labels else leaf == leaves.index(name)
            reduced = recipe if options.labels else without_leaf(recipe, name)
            found = hold_out(reduced, batch, objects, leaf, novel, options)
            for k in LENGTHS:
                known, strange = (f[:, np.isfinite(f[0])] for f in (found[k, "known"], found[k, "novel"]))
                rows.append(
                    {
                        "set": data,
                        "held out": name,
                        "points": "all" if k is None else k,
                        "objects": strange.shape[1],
                        "known": known.shape[1],
                        "auc": metrics.roc_auc(
                            np.concatenate([strange[0], known[0]]),
                            np.arange(len(strange[0]) + len(known[0])) < len(strange[0]),
                        ),
                        "found": (strange[0] > ALARM).mean(),
                        "false alarms": (known[0] > ALARM).mean(),
                        "p_unknown": strange[2].mean(),
                        "p_unknown of known": known[2].mean(),
                    }
                )
                alarms.append(pd.DataFrame({"set": data, "n": known[1], "alarm": known[0] > ALARM}))
            print(f"{data} without {name}: {time.perf_counter() - start:.0f} s", flush=True)
            print(pd.DataFrame(rows[-len(LENGTHS) :]).round(3).to_string(index=False), flush=True)
    table = pd.DataFrame(rows)
    print("\n", table.round(3).to_string(index=False))
    columns = ["auc", "found", "false alarms", "p_unknown", "p_unknown of known"]
    print("\nmean over classes\n", table.groupby(["set", "points"], sort=False)[columns].mean().round(3))
    joined = pd.concat(alarms)
    joined["detections"] = pd.cut(joined["n"], BINS, right=False)
    by_size = joined.groupby(["set", "detections"], observed=True)["alarm"].agg(["mean", "size"])
    print(f"\nfalse alarms at novelty above {ALARM}, by number of detections\n", by_size.round(3))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.out / "novelty.csv", index=False)
        by_size.to_csv(options.out / "novelty_false_alarms.csv")


if __name__ == "__main__":
    main()
