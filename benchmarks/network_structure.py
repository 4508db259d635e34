"""Structure of the context network, cross-validated: naive Bayes beside learned edges and written ones.

Usage: python benchmarks/network_structure.py [fleet] [rcf] [hosts] [supernovae] [--out FILE.json]

"fleet", "rcf" and "hosts" are tables of `context_sets.py`; "supernovae" has the host columns of the recipe
ztf-supernovae. Edges are learned inside each training fold, except in the row "tree, learned on all", which
says whether that matters. Over-confidence is the mean probability of the best class minus its accuracy.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from context_alone import network_probability
from context_sets import CLASSES, HOST, load_sets

from bayesclass import metrics
from bayesclass.folds import stratified_folds
from bayesclass.network import BayesianNetwork, JointSpec, NetworkSpec
from bayesclass.recipe import Recipe
from bayesclass.structure_learning import learn_edges
from context.evidence import EvidenceTable, State

CHAIN = (("abs_galactic_latitude", "A_V"), ("host_mag", "host_pcc"), ("host_mag", "host_photoz"))
NAMES = ("fleet", "rcf", "hosts", "supernovae")


def load(name):
    """Return evidence, label and classes of one set."""
    if name != "supernovae":
        data = load_sets()[name]
        table, label, classes = data.table(), data.label, CLASSES
    else:
        recipe = Recipe.load("ztf-supernovae")
        folder = Path(os.environ.get("BAYESCLASS_DATA", "../shared/data")) / "ztf_bts"
        objects = pd.read_csv(folder / "objects.csv")
        allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
        single = allowed.sum(axis=1) == 1
        table = recipe.read_evidence(objects[single].reset_index(drop=True))
        label, classes = allowed[single].argmax(axis=1), recipe.taxonomy.leaves
    used = {
        column: values
        for column, values in table.columns.items()
        if (values.state != State.NOT_COVERED).any() and (name != "rcf" or column not in HOST)
    }
    return EvidenceTable(table.object_id, used, table.set_aside), label, classes


def specs(columns, classes):
    """Return networks whose edges are not learned."""
    base = NetworkSpec(class_states=classes)
    written = tuple(edge for edge in CHAIN if set(edge) <= set(columns))
    host = tuple(name for name in HOST if name in columns)
    result = {"naive Bayes": base}
    if written:
        result["edges of the recipe"] = NetworkSpec(class_states=classes, edges=written)
    if len(host) > 1:
        sky = tuple(edge for edge in written if not set(edge) & set(host))
        result["joint density"] = NetworkSpec(
            class_states=classes, edges=sky, joint=(JointSpec("host", host),)
        )
    return result


def cross_validate(name, options):
    """Score all structures on the same folds -> (counts, rows, learned edges by method and fold)."""
    table, y, classes = load(name)
    n, n_classes = len(y), len(classes)
    fold = stratified_folds(y, np.arange(n), options.folds, np.random.default_rng(options.seed))
    one = np.eye(n_classes, dtype=bool)
    base = NetworkSpec(class_states=classes)
    fixed = specs(list(table.columns), classes)
    fixed["tree, learned on all"] = learn_edges(table, one[y], base, seed=options.seed).spec()
    found, edges, seconds = {}, {}, {}
    for k in range(options.folds):
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        counts = np.bincount(y[train], minlength=n_classes) + 0.5
        log_prior = np.log(counts / counts.sum())
        networks = dict(fixed)
        for method in ("tree", "hill-climb"):
            start = time.perf_counter()
            learned = learn_edges(table.take(train), one[y[train]], base, method=method, seed=options.seed)
            seconds[method] = seconds.get(method, 0.0) + time.perf_counter() - start
            networks[method] = learned.spec()
            edges.setdefault(method, []).append([list(edge) for edge in learned.learned])
        for method, spec in networks.items():
            network = BayesianNetwork.fit(
                spec, table.take(train), one[y[train]], n_draws=0, seed=options.seed
            )
            p = network_probability(network, table.take(test), log_prior)
            found.setdefault(method, np.zeros((n, n_classes)))[test] = p
        print(f"{name}: fold {k + 1} of {options.folds}", flush=True)
    counts = dict(zip(classes, np.bincount(y, minlength=n_classes).tolist(), strict=True))
    learned_on_all = [list(edge) for edge in fixed["tree, learned on all"].edges]
    edges["tree, learned on all"] = [learned_on_all]
    return counts, scores(found, y), edges, seconds


def scores(found, y):
    """One row a structure; differences to naive Bayes are paired by object."""
    naive = metrics.log_losses(found["naive Bayes"], y)
    rows = []
    for method, p in found.items():
        loss = metrics.log_losses(p, y)
        difference = loss - naive
        null, high = metrics.ece_null(p, np.random.default_rng(0))
        right = p.argmax(axis=1) == y
        rows.append(
            {
                "structure": method,
                "log_loss": float(loss.mean()),
                "minus_naive": float(difference.mean()),
                "error": float(difference.std(ddof=1) / np.sqrt(len(y))),
                "ece": float(metrics.classwise_ece(p, y)),
                "ece_null": float(null),
                "ece_null_95": float(high),
                "overconfidence": float(p.max(axis=1).mean() - right.mean()),
                "overconfidence_error": float((p.max(axis=1) - right).std(ddof=1) / np.sqrt(len(y))),
                "macro_f1": float(metrics.macro_f1(p, y)),
            }
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=list(NAMES), help=" or ".join(NAMES))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = {}
    for name in options.data:
        counts, rows, edges, seconds = cross_validate(name, options)
        result[name] = {"classes": counts, "rows": rows, "edges": edges, "seconds_of_learning": seconds}
        print(f"\n{name}: {counts}")
        print(pd.DataFrame(rows).round(4).to_string(index=False))
        for method, of_folds in edges.items():
            joined = pd.Series(["-".join(sorted(edge)) for one in of_folds for edge in one], dtype=object)
            print(f"{method}: {joined.value_counts().to_dict()}", flush=True)
        if options.out:
            options.out.write_text(json.dumps({"options": vars(options) | {"out": None}, **result}, indent=1))


if __name__ == "__main__":
    main()
