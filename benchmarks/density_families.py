"""Families of densities of the context's columns, cross-validated: kernels, Gaussians, Student's t, the best.

Usage: python benchmarks/density_families.py [hosts] [supernovae] [--out FILE.json]

The sets are those of `network_structure.py`; each network describes every continuous column by one family,
with the edges of the recipe. With --few each learns from one fold and is tested on the others. "log_loss" is
that of the class by the network alone, "density" the mean log-likelihood of the evidence given the true
class; differences to kernels are paired by object.
"""

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from network_structure import load, specs

from bayesclass import metrics
from bayesclass.folds import stratified_folds
from bayesclass.network import BayesianNetwork

FAMILIES = ("kernel", "gaussian", "student", "auto")


def cross_validate(name, options):
    """Score all families on the same folds -> (rows, families chosen by column)."""
    table, y, classes = load(name)
    structures = specs(list(table.columns), classes)
    base = structures.get("edges of the recipe", structures["naive Bayes"])
    base = replace(base, missing_cells=options.missing_cells)
    continuous = [key for key, column in table.columns.items() if column.spec.kind == "continuous"]
    fold = stratified_folds(y, np.arange(len(y)), options.folds, np.random.default_rng(options.seed))
    one = np.eye(len(classes), dtype=bool)
    loss = {family: np.zeros(len(y)) for family in FAMILIES}
    density = {family: np.zeros(len(y)) for family in FAMILIES}
    chosen = {key: Counter() for key in continuous}
    tested = options.folds - 1 if options.few else 1
    for k in range(options.folds):
        train, test = np.flatnonzero((fold == k) == options.few), np.flatnonzero((fold == k) != options.few)
        counts = np.bincount(y[train], minlength=len(classes)) + 0.5
        for family in FAMILIES:
            spec = replace(base, densities=dict.fromkeys(continuous, family))
            network = BayesianNetwork.fit(
                spec, table.take(train), one[y[train]], n_draws=0, seed=options.seed
            )
            own = network.log_likelihood(table.take(test))
            density[family][test] += own[np.arange(len(test)), y[test]] / tested
            log_joint = own + np.log(counts / counts.sum())
            p = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
            loss[family][test] += metrics.log_losses(p / p.sum(axis=1, keepdims=True), y[test]) / tested
            if family == "auto":
                for key in continuous:
                    chosen[key][network.nodes[key].density] += 1
        print(f"{name}: fold {k + 1} of {options.folds}", flush=True)
    rows = []
    for family in FAMILIES:
        row = {"family": family, "log_loss": float(loss[family].mean())}
        for label, values in (("loss", loss), ("density", density)):
            difference = values[family] - values["kernel"]
            row[f"{label}_minus_kernel"] = float(difference.mean())
            row[f"{label}_error"] = float(difference.std(ddof=1) / np.sqrt(len(y)))
        rows.append(row)
    return rows, {key: dict(counter) for key, counter in chosen.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=["hosts", "supernovae"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--few", action="store_true", help="learn from one fold, test on the others")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--missing-cells", choices=("available", "expected"), default="available")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = {}
    for name in options.data:
        rows, chosen = cross_validate(name, options)
        result[name] = {"rows": rows, "chosen": chosen}
        print(f"\n{name}")
        print(pd.DataFrame(rows).round(4).to_string(index=False))
        for key, counter in chosen.items():
            print(f"  {key}: {counter}")
        if options.out:
            options.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
