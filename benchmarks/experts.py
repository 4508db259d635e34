"""What each expert gives, alone and pooled, on objects that it has not seen; and what prediction sets cover.

Usage: python benchmarks/experts.py [crts] [ztf_bts] [eros1] [snpcc] [--out DIR]

One fit of the shipped recipe a data set. Every figure is of objects that were held out: experts are fitted on
the other folds, with their copies on one side, and weights, biases and thresholds of sets on the other folds
too. Only axes and landmarks of the kernel, which use no label, have seen all objects. The same experts are
tested at full length and on curves thinned at random to 40, 20, 10 and 5 points, without being told.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from labelled_sets import RECIPES, labelled_set

from bayesclass import metrics
from bayesclass.fitting import fit_model
from bayesclass.recipe import Recipe
from bayesclass.rehearsal import evidence_rows

# Thinned copies of so many long curves do not fit in memory.
LENGTHS = {"crts": (40, 20, 10, 5), "ztf_bts": (40, 20, 10, 5), "eros1": (40, 20, 10, 5), "snpcc": (20,)}


def scores(p, y, with_null):
    null = metrics.ece_null(p, np.random.default_rng(0))[0] if with_null else np.nan
    return {
        "log_loss": metrics.log_loss(p, y),
        "accuracy": metrics.accuracy(p, y),
        "macro_f1": metrics.macro_f1(p, y),
        "auc": metrics.roc_auc(p[:, 0], y == 0),
        "ece": metrics.classwise_ece(p, y),
        "ece_null": null,
    }


def markdown(table, lengths):
    loss = table.pivot_table(index="evidence", columns="points", values="log_loss", sort=False)
    full = table[table["points"] == "all"].set_index("evidence")
    head = [*(f"log-loss, {k}" for k in lengths), "accuracy", "macro-F1", "AUC", "ECE", "its null"]
    lines = [f"| evidence | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    for name in table["evidence"].unique():
        cells = [f"{loss.loc[name, k]:.3f}" for k in lengths]
        cells += [f"{full.loc[name, k]:.3f}" for k in ("accuracy", "macro_f1", "auc")]
        cells += [f"{full.loc[name, k]:.4f}" for k in ("ece", "ece_null")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def of_sets(held, y, leaves, where):
    """Coverage overall and by class, and mean size, at each length."""
    rows = []
    for points, member in where.items():
        hit = held[np.arange(len(y)), y]
        by_class = {leaf: hit[member & (y == k)].mean() for k, leaf in enumerate(leaves)}
        size = held[member].sum(axis=1).mean()
        rows.append({"points": points, "coverage": hit[member].mean(), **by_class, "mean size": size})
    return pd.DataFrame(rows)


def measure(data, options):
    recipe = Recipe.load(RECIPES[data])
    recipe = replace(recipe, fit=replace(recipe.fit, draws=0, seed=options.seed))
    taxonomy = recipe.taxonomy
    _, allowed, curves, evidence = labelled_set(data, recipe)
    start = time.perf_counter()
    fitted = fit_model(recipe, curves, evidence, allowed, rehearse=LENGTHS[data])
    spent = time.perf_counter() - start
    rehearsal = fitted.rehearsal
    single = rehearsal.allowed.sum(axis=1) == 1
    y = rehearsal.allowed.argmax(axis=1)
    where = {"all": (rehearsal.length == 0) & single}
    where |= {k: (rehearsal.length == k) & single for k in LENGTHS[data]}
    rows, found = [], {}
    for name, experts in evidence_rows(fitted.pool.experts).items():
        found[name] = rehearsal.probability(experts, fitted.pool.log_prior)
        for points, member in where.items():
            figures = scores(found[name][member], y[member], name == "all" or points == "all")
            rows.append({"evidence": name, "points": points, **figures})
    table = pd.DataFrame(rows)
    sets = of_sets(rehearsal.prediction_sets(found["all"]), y, taxonomy.leaves, where)
    print(f"\n{data}: {where['all'].sum()} objects, {recipe.fit.folds} folds, fit in {spent:.0f} s")
    print(
        f"AUC is that of {taxonomy.leaves[0]}; weights at 20 points {fitted.summary['weights_at_20_points']}"
    )
    print(f"features of the largest gain: {fitted.summary.get('features')}")
    print(table.round(4).to_string(index=False))
    print(sets.round(3).to_string(index=False), flush=True)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.out / f"{data}.csv", index=False)
        sets.to_csv(options.out / f"{data}_sets.csv", index=False)
        lines = sets.round(3).astype(str).agg(" | ".join, axis=1)
        head = " | ".join(map(str, sets.columns))
        text = [f"| {head} |", "|---" * len(sets.columns) + "|", *(f"| {line} |" for line in lines)]
        page = markdown(table, list(where)) + "\n" + "\n".join(text) + "\n"
        (options.out / f"{data}.md").write_text(page)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=sorted(RECIPES), help=" or ".join(sorted(RECIPES)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for name in options.data:
        measure(name, options)


if __name__ == "__main__":
    main()
