"""Cross-validated figures on labelled data, beside gradient boosting and a random forest, in one run.

Usage: python benchmarks/cross_validation.py [crts] [ztf_bts] [eros1] [snpcc] [--folds 5] [--out DIR]

Every object is held out once, with its identical copies; one model, fitted on thinned versions, is tested at
full length and on curves thinned at random. "All evidence" is the shipped recipe, features included;
"structure function" is a model of its own, whose recipe has neither features nor context. Boosting and the
forest get light-curve's features of the same versions of the same training objects, with and without the
recipe's context columns.
"""

import argparse
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from labelled_sets import RECIPES, labelled_set
from light_curve_features import feature_table

from bayesclass import metrics
from bayesclass.classifier import Classifier
from bayesclass.folds import identical_light_curves, stratified_folds
from bayesclass.recipe import Recipe
from bayesclass.recipe_schema import NetworkEdges
from structurefn.thinning import thin_to, thinned_versions

LENGTHS = (None, 40, 20, 10, 5)
# Edges of the numbers of detections by which calibration is told apart.
DETECTIONS = (3, 6, 11, 31, 101, 10**6)


def context_matrix(table):
    """Measured values of the evidence columns (NaN elsewhere) and their states, for boosting."""
    columns = [np.where(c.state == 0, c.value, np.nan) for c in table.columns.values()]
    states = [c.state.astype(float) for c in table.columns.values()]
    return np.column_stack(columns + states) if columns else np.zeros((len(table.object_id), 0))


def boosting(features, labels, weights, *, max_iter=120):
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=max_iter,
        learning_rate=0.06,
        l2_regularization=1.0,
        min_samples_leaf=40,
        max_leaf_nodes=12,
        random_state=0,
    )
    return model.fit(features, labels, sample_weight=weights)


def forest(features, labels, weights):
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(300, min_samples_leaf=3, n_jobs=2, random_state=0)
    return model.fit(features, labels, sample_weight=weights)


def without_context(recipe):
    """Recipe of the structure function alone: no features, no evidence, and no stream that refers to it."""
    streams = tuple(stream for stream in recipe.streams if stream.kind != "contrast")
    return replace(recipe, streams=streams, evidence=(), network=NetworkEdges(), features=None)


def calibration_by_detections(found, detections, truth, single):
    """Class-wise ECE of the whole model and its null, all lengths together, by number of detections."""
    p = np.concatenate([found["all evidence", k][single] for k in LENGTHS])
    n = np.concatenate([detections[k][single] for k in LENGTHS])
    truth = np.tile(truth[single], len(LENGTHS))
    rows = []
    for low, high in pairwise(DETECTIONS):
        here = (n >= low) & (n < high)
        if here.sum() < 50:
            continue
        null, null_95 = metrics.ece_null(p[here], np.random.default_rng(0))
        rows.append(
            {
                "detections": f"{low}-{high - 1}" if high < DETECTIONS[-1] else f">{low - 1}",
                "curves": int(here.sum()),
                "log_loss": metrics.log_loss(p[here], truth[here]),
                "ece": metrics.classwise_ece(p[here], truth[here]),
                "ece_null": null,
                "ece_null_95": null_95,
            }
        )
    return pd.DataFrame(rows)


def full_probability(model, features, n_classes):
    # A forest says zero where no tree votes for a class, and one such object makes the log-loss infinite.
    out = np.full((len(features), n_classes), 1e-9)
    out[:, model.classes_] = np.maximum(model.predict_proba(features), 1e-4)
    return out / out.sum(axis=1, keepdims=True)


def without(posterior, dropped):
    """Probabilities without some pieces of evidence, by leaving their terms out."""
    kept = sum(values for name, values in posterior.reasons.items() if name not in dropped)
    p = np.exp(kept - kept.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def markdown(table):
    """One row an evidence, log-loss by number of points, for the documentation."""
    loss = table.pivot_table(index="evidence", columns="points", values="log_loss")
    full = table[table["points"].astype(str) == "all"].set_index("evidence")
    lengths = ["all" if k is None else k for k in LENGTHS]
    head = [*(f"log-loss, {k}" for k in lengths), "accuracy", "macro-F1", "AUC", "ECE", "its null"]
    lines = [f"| evidence | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    for name in table["evidence"].unique():
        cells = [f"{loss.loc[name, k]:.3f}" for k in lengths]
        cells += [f"{full.loc[name, k]:.3f}" for k in ("accuracy", "macro_f1", "auc")]
        cells += [f"{full.loc[name, k]:.4f}" for k in ("ece", "ece_null")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=sorted(RECIPES), help=" or ".join(sorted(RECIPES)))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--without-context", action="store_true", help="structure functions alone, in all rows"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for name in options.data:
        cross_validate(name, options)


def cross_validate(data, options):
    recipe = Recipe.load(RECIPES[data])
    if options.without_context:
        recipe = without_context(recipe)
    recipe = replace(recipe, fit=replace(recipe.fit, draws=0, seed=options.seed))
    taxonomy = recipe.taxonomy
    objects, allowed, curves, evidence = labelled_set(data, recipe)
    context = context_matrix(evidence)
    single = allowed.sum(axis=1) == 1
    y = allowed.argmax(axis=1)
    rng = np.random.default_rng(options.seed)
    fold = stratified_folds(np.where(single, y, -1), identical_light_curves(curves), options.folds, rng)
    thinned = {None: curves} | {k: thin_to(curves, k, rng) for k in LENGTHS[1:]}
    features = {k: feature_table(batch) for k, batch in thinned.items()}
    pieces = ("context", "structure function", "all evidence")
    rivals = (
        "boosting",
        "boosting + context",
        "boosting + context, full curves",
        "boosting on context",
        "forest",
        "forest + context",
        "class frequencies",
    )
    alone = without_context(recipe)
    found = {
        (name, k): np.zeros((len(objects), taxonomy.n_leaves)) for name in pieces + rivals for k in LENGTHS
    }
    spent = 0.0
    for number in range(options.folds):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        start = time.perf_counter()
        model = Classifier(recipe).fit(curves.take_objects(train), objects.iloc[train])
        spent += time.perf_counter() - start
        # A recipe without context is a model of its own.
        bare = (
            model
            if alone == recipe
            else Classifier(alone).fit(curves.take_objects(train), objects.iloc[train])
        )
        # Boosting is given the same cadence-blind training: full curves and thinned versions, hard labels.
        hard = train[single[train]]
        versions, owner = thinned_versions(curves.take_objects(hard), np.random.default_rng(options.seed))
        weights = 1.0 / np.bincount(owner)[owner]
        table = feature_table(versions)
        labels = y[hard[owner]]
        both = np.column_stack([table, context[hard[owner]]])
        rival = {
            "boosting": boosting(table, labels, weights),
            "boosting + context": boosting(both, labels, weights),
            "forest": forest(table, labels, weights),
            "forest + context": forest(both, labels, weights),
            "boosting on context": boosting(context[hard], y[hard], None) if context.shape[1] else None,
            "boosting + context, full curves": boosting(
                np.column_stack([features[None][hard], context[hard]]), y[hard], None, max_iter=60
            ),
        }
        frequency = np.bincount(y[hard], minlength=taxonomy.n_leaves) / len(hard)
        chains = model.fitted.experts.names
        for k in LENGTHS:
            posterior = model.classify(thinned[k].take_objects(test), objects.iloc[test])
            found["all evidence", k][test] = posterior.probability
            found["structure function", k][test] = bare.classify(thinned[k].take_objects(test)).probability
            found["context", k][test] = without(posterior, chains)
            here = {
                name: context[test]
                if name == "boosting on context"
                else np.column_stack([features[k][test], context[test]])
                if "context" in name
                else features[k][test]
                for name in rival
            }
            for name, x in here.items():
                if rival[name] is not None:
                    found[name, k][test] = full_probability(rival[name], x, taxonomy.n_leaves)
            found["class frequencies", k][test] = frequency
        print(f"fold {number + 1} of {options.folds} done, {spent:.0f} s in fitting", flush=True)
    rows = []
    for (name, k), p in found.items():
        p, truth = p[single], y[single]
        if not p.any():
            continue  # a recipe without context has no such rival
        null, high = metrics.ece_null(p, np.random.default_rng(0))
        rows.append(
            {
                "evidence": name,
                "points": "all" if k is None else k,
                "log_loss": metrics.log_loss(p, truth),
                "accuracy": metrics.accuracy(p, truth),
                "macro_f1": metrics.macro_f1(p, truth),
                "auc": metrics.roc_auc(p[:, 0], truth == 0),
                "ece": metrics.classwise_ece(p, truth),
                "ece_null": null,
                "ece_null_95": high,
            }
        )
    table = pd.DataFrame(rows)
    print(f"\n{data}: {single.sum()} objects, {options.folds} folds, seed {options.seed}")
    print(table.round(4).to_string(index=False))
    detections = {k: batch.n_detections for k, batch in thinned.items()}
    calibration = calibration_by_detections(found, detections, y, single)
    print(f"AUC is that of {taxonomy.leaves[0]}\n")
    print(calibration.round(4).to_string(index=False), flush=True)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.out / f"{data}.csv", index=False)
        calibration.to_csv(options.out / f"{data}_calibration.csv", index=False)
        (options.out / f"{data}.md").write_text(markdown(table))


if __name__ == "__main__":
    main()
