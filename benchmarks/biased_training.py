"""A model trained on bright, near objects and tested on the others, beside gradient boosting, in one run.

Usage: python benchmarks/biased_training.py [--test 3000] [--target 3000] [--redshifted 3] [--out DIR]

`snpcc`: trained on the objects with `spectroscopic` true, tested on random others. Objects that are neither
are given to the fit without their labels, as the target sample. Each set of probabilities is scored with
the fit's own class fractions, with those estimated from the tested objects without labels, and with the true
ones, which nobody has.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from cross_validation import boosting, context_matrix, full_probability
from labelled_sets import labelled_set
from light_curve_features import feature_table

from bayesclass import metrics
from bayesclass.classifier import Classifier
from bayesclass.feature_table import feature_table as transient_table
from bayesclass.prior_shift import estimate_fractions
from bayesclass.priors import Prior
from bayesclass.recipe import Recipe
from structurefn.thinning import thinned_versions


def recipe_for(options, redshifted):
    recipe = Recipe.load("des-supernovae")
    fit = replace(recipe.fit, draws=0, seed=options.seed, versions=options.versions, redshifted=redshifted)
    return replace(recipe, fit=fit)


def scores(name, probability, truth, fractions):
    """Rows of the table: under the fit's fractions, estimated and true ones."""
    leaves = ("Ia", "II", "Ibc")
    probability = np.maximum(probability, 1e-6)
    probability = probability / probability.sum(axis=1, keepdims=True)
    estimated = estimate_fractions(probability, Prior(leaves, fractions, "training")).fraction
    true = np.bincount(truth, minlength=len(leaves)) / len(truth)
    rows = []
    for prior, wanted in (("of the fit", fractions), ("estimated", estimated), ("true", true)):
        p = probability * wanted / fractions
        p /= p.sum(axis=1, keepdims=True)
        null, _ = metrics.ece_null(p, np.random.default_rng(0))
        rows.append(
            {
                "model": name,
                "class fractions": prior,
                "Ia": wanted[0],
                "II": wanted[1],
                "log_loss": metrics.log_loss(p, truth),
                "accuracy": metrics.accuracy(p, truth),
                "macro_f1": metrics.macro_f1(p, truth),
                "ece": metrics.classwise_ece(p, truth),
                "ece_null": null,
                "auc_Ia": metrics.roc_auc(p[:, 0], truth == 0),
            }
        )
    print(pd.DataFrame(rows).round(4).to_string(index=False), flush=True)
    return rows


def rivals(curves, evidence, labels, train, test, recipe, seed):
    """Gradient boosting on the labelled objects as they are, with published and with transient features."""
    versions, owner = thinned_versions(curves.take_objects(train), np.random.default_rng(seed))
    weights = 1.0 / np.bincount(owner)[owner]
    fractions = np.bincount(labels[train], minlength=3) / len(train)
    of_versions, tested = evidence.take(train[owner]), (curves.take_objects(test), evidence.take(test))
    tables = {
        "boosting, published features + context": lambda c, e: np.column_stack(
            [feature_table(c), context_matrix(e)]
        ),
        "boosting, transient features + redshift": lambda c, e: transient_table(recipe.features, c, e),
    }
    for name, table in tables.items():
        model = boosting(table(versions, of_versions), labels[train[owner]], weights)
        yield name, full_probability(model, table(*tested), 3), fractions


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=10**9, help="spectroscopic objects used, at most")
    parser.add_argument("--test", type=int, default=3000)
    parser.add_argument(
        "--target", type=int, default=3000, help="objects given without their labels; 0: none"
    )
    parser.add_argument("--redshifted", type=int, default=3)
    parser.add_argument("--versions", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="also the whole model as it is without")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    recipe = recipe_for(options, options.redshifted)
    # No label of this set names several classes.
    objects, allowed, curves, evidence = labelled_set("snpcc", recipe)
    labels = allowed.argmax(axis=1)
    shuffled = np.random.default_rng(options.seed).permutation(len(objects))
    spectroscopic = objects["spectroscopic"].astype(str).str.lower().eq("true").to_numpy()[shuffled]
    train, others = shuffled[spectroscopic][: options.train], shuffled[~spectroscopic]
    test, target = others[: options.test], others[options.test :][: options.target]
    print(f"{len(train)} train, {len(test)} test, {len(target)} without label in the fit", flush=True)
    rows = []
    for name, probability, fractions in rivals(curves, evidence, labels, train, test, recipe, options.seed):
        rows += scores(name, probability, labels[test], fractions)
    hidden = objects.assign(label=np.where(np.isin(np.arange(len(objects)), train), objects["label"], ""))
    runs = {"whole model, at other redshifts": (recipe, np.concatenate([train, target]))}
    if options.plain:
        runs["whole model, as labelled"] = (recipe_for(options, 0), train)
    for name, (used, given) in runs.items():
        start = time.perf_counter()
        model = Classifier(used).fit(curves.take_objects(given), hidden.iloc[given])
        print(f"{name}: fitted in {time.perf_counter() - start:.0f} s", model.summary, flush=True)
        posterior = model.classify(curves.take_objects(test), hidden.iloc[test])
        rows += scores(name, posterior.probability, labels[test], Prior.training(model).probability)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(options.out / "biased_training.csv", index=False)


if __name__ == "__main__":
    main()
