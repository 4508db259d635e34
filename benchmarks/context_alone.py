"""Context alone, cross-validated: the Bayesian network beside gradient boosting on the same cells and folds.

Usage: python benchmarks/context_alone.py [fleet] [hosts] [rcf] [bts] [joined] [--out FILE.json]

Tested as the tables are, with half of the cells removed at random, and with whole sources removed. Boosting
comes in three settings, and the best of them on all objects is the bar; "refitted" boosting has seen copies
of the training objects with cells removed at random. No row uses a spectroscopic redshift or a light curve.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from context_sets import CLASSES, HOST, SOURCES, load_sets

from bayesclass import metrics
from bayesclass.folds import stratified_folds
from bayesclass.network import BayesianNetwork, JointSpec, NetworkSpec
from context.evidence import EvidenceColumn, EvidenceSpec, EvidenceTable, State

BOOSTING = {
    "boosting, defaults": {},
    "boosting, regularised": {
        "learning_rate": 0.06,
        "max_iter": 120,
        "min_samples_leaf": 20,
        "l2_regularization": 1.0,
    },
    "boosting, early stopping": {
        "learning_rate": 0.06,
        "max_iter": 300,
        "min_samples_leaf": 20,
        "l2_regularization": 1.0,
        "early_stopping": True,
    },
}
REFITTED = ", refitted with cells removed"
COPIES = 3
MISSING_SHARE = 0.5
CHAIN = (("abs_galactic_latitude", "A_V"), ("host_mag", "host_pcc"), ("host_mag", "host_photoz"))


def network_spec(columns, *, joint):
    """Return the sky's columns with their edge, the host's together, or one by one with edges."""
    edges = [edge for edge in CHAIN if set(edge) <= set(columns)]
    host = tuple(name for name in HOST if name in columns)
    if not joint or not host:
        return NetworkSpec(class_states=CLASSES, edges=edges)
    edges = [edge for edge in edges if not set(edge) & set(host)]
    return NetworkSpec(class_states=CLASSES, edges=edges, joint=(JointSpec("host", host),))


def cells(table):
    """Return the cells for boosting: NaN where missing, a number below all others for "none"."""
    columns = []
    for column in table.columns.values():
        value = np.where(column.state == State.MEASURED, column.value, np.nan)
        columns.append(np.where(column.state == State.NONE, -99.0, value))
    return np.column_stack(columns)


def hide(table, hidden):
    """Return the table with cells turned to "not covered"; `hidden`: bool, shape (n, n_columns)."""
    columns = {}
    for gone, (name, column) in zip(hidden.T, table.columns.items(), strict=True):
        columns[name] = EvidenceColumn(
            column.spec,
            np.where(gone, np.nan, column.value),
            np.where(gone, np.nan, column.error),
            np.where(gone, State.NOT_COVERED, column.state).astype(np.int8),
        )
    return EvidenceTable(table.object_id, columns, table.set_aside)


def with_listed(table, listed):
    """Return the table with one more column: whether the object's host was looked up at all."""
    spec = EvidenceSpec("host_listed", "categorical", column="host_listed", states=("no", "yes"))
    column = EvidenceColumn(spec, listed.astype(float), np.zeros(len(listed)), np.zeros(len(listed), np.int8))
    return EvidenceTable(table.object_id, table.columns | {"host_listed": column}, table.set_aside)


def conditions(table, rng):
    """Name -> cells hidden at test time."""
    names = list(table.columns)
    shape = (len(table.object_id), len(names))
    nothing = np.zeros(shape, dtype=bool)
    result = {"as it is": nothing, "half of the cells": rng.random(shape) < MISSING_SHARE}
    sources = {"the whole host": HOST, **SOURCES}
    for source, columns in sources.items():
        gone = nothing.copy()
        gone[:, [names.index(name) for name in columns if name in names]] = True
        if gone.any() and not gone.all():
            result[f"without {source}"] = gone
    return result


def boosted(settings, x, y):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=0, **settings).fit(x, y)


def boosted_probability(model, x):
    # A class that is not in the training folds gets what a single vote among the objects would.
    out = np.full((len(x), len(CLASSES)), 1e-6)
    out[:, model.classes_] = np.maximum(model.predict_proba(x), 1e-6)
    return out / out.sum(axis=1, keepdims=True)


def network_probability(network, table, log_prior):
    log_joint = log_prior + network.log_likelihood(table)
    p = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def cross_validate(data, options):
    """All methods under all conditions -> (rows for the result, probabilities by (method, condition))."""
    table = data.table(photoz=not options.without_photoz)
    known = [name for name, column in table.columns.items() if (column.state >= 0).any()]
    known = [name for name in known if (table.columns[name].state != State.NOT_COVERED).any()]
    table = EvidenceTable(table.object_id, {name: table.columns[name] for name in known}, table.set_aside)
    y, n = data.label, len(data.label)
    listed = data.frame["has_host"].to_numpy()
    rng = np.random.default_rng(options.seed)
    fold = stratified_folds(y, np.arange(n), options.folds, rng)
    tested = {name: hide(table, hidden) for name, hidden in conditions(table, rng).items()}
    found: dict[tuple[str, str], np.ndarray] = {}
    seconds: dict[str, float] = {}

    def note(method, condition, rows, probability):
        found.setdefault((method, condition), np.zeros((n, len(CLASSES))))[rows] = probability

    for number in range(options.folds):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        allowed = np.eye(len(CLASSES), dtype=bool)[y[train]]
        frequency = (np.bincount(y[train], minlength=len(CLASSES)) + 0.5) / (len(train) + 2.0)
        log_prior = np.log(frequency)
        networks = {"network": (network_spec(known, joint=True), table, tested)}
        networks["network, without joint density"] = (network_spec(known, joint=False), table, tested)
        if not listed.all() and listed.any():
            told = {"as it is": with_listed(table, listed)}
            networks["network, told which were looked up"] = (
                network_spec([*known, "host_listed"], joint=True),
                told["as it is"],
                told,
            )
        for method, (spec, fitted_on, tables) in networks.items():
            start = time.perf_counter()
            network = BayesianNetwork.fit(spec, fitted_on.take(train), allowed, n_draws=0, seed=options.seed)
            seconds[method] = seconds.get(method, 0.0) + time.perf_counter() - start
            for condition, shown in tables.items():
                note(method, condition, test, network_probability(network, shown.take(test), log_prior))
        x = cells(table)
        copies = [x[train]]
        for _ in range(COPIES):
            share = rng.random((len(train), 1))
            copies.append(np.where(rng.random(x[train].shape) < share, np.nan, x[train]))
        thinned, labels = np.concatenate(copies), np.tile(y[train], COPIES + 1)
        for method, settings in BOOSTING.items():
            start = time.perf_counter()
            plain = boosted(settings, x[train], y[train])
            seconds[method] = seconds.get(method, 0.0) + time.perf_counter() - start
            # Copies of an object count as one.
            more = {**settings, "min_samples_leaf": (COPIES + 1) * settings.get("min_samples_leaf", 20)}
            refitted = boosted(more, thinned, labels)
            for condition, shown in tested.items():
                there = cells(shown)[test]
                note(method, condition, test, boosted_probability(plain, there))
                note(method + REFITTED, condition, test, boosted_probability(refitted, there))
        for condition in tested:
            note("class frequencies", condition, test, np.broadcast_to(frequency, (len(test), len(CLASSES))))
        print(f"{data.name}: fold {number + 1} of {options.folds}", flush=True)
    return scores(found, y, rng, listed), seconds


def scores(found, y, rng, listed):
    """One row a method and condition, with the difference to the best boosting, paired by object."""
    rows = []
    for condition in dict.fromkeys(condition for _, condition in found):
        losses = {m: metrics.log_losses(p, y) for (m, c), p in found.items() if c == condition}
        best = {
            kind: min((m for m in losses if m.startswith("boosting") and m.endswith(REFITTED) == refitted),
                      key=lambda m: losses[m].mean())
            for kind, refitted in (("best", False), ("best_refitted", True))
        }  # fmt: skip
        weights = rng.multinomial(len(y), np.full(len(y), 1.0 / len(y)), size=2000) / len(y)
        for method, loss in losses.items():
            p = found[method, condition]
            null, high = metrics.ece_null(p, np.random.default_rng(0))
            row = {
                "condition": condition,
                "method": method,
                "log_loss": float(loss.mean()),
                "macro_f1": float(metrics.macro_f1(p, y)),
                "ece": float(metrics.classwise_ece(p, y)),
                "ece_null": null,
                "ece_null_95": high,
            }
            for kind, rival in best.items():
                difference = loss - losses[rival]
                low, up = np.quantile(weights @ difference, (0.025, 0.975))
                row |= {f"{kind}_boosting": rival, f"minus_{kind}": float(difference.mean()),
                        f"minus_{kind}_low": float(low), f"minus_{kind}_high": float(up)}  # fmt: skip
            if listed.any() and not listed.all():
                row["log_loss_looked_up"] = float(loss[listed].mean())
                row["log_loss_not_looked_up"] = float(loss[~listed].mean())
            rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    names = ("fleet", "hosts", "rcf", "bts", "joined")
    parser.add_argument("data", nargs="*", default=list(names), help=" or ".join(names))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--without-photoz", action="store_true", help="leave the host's photometric redshift out"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sets = load_sets()
    result = {}
    for name in options.data:
        rows, seconds = cross_validate(sets[name], options)
        classes = dict(
            zip(CLASSES, np.bincount(sets[name].label, minlength=len(CLASSES)).tolist(), strict=True)
        )
        result[name] = {"counts": sets[name].counts, "classes": classes, "fit_seconds": seconds, "rows": rows}
        shown = pd.DataFrame(rows).drop(columns=["ece_null_95", "best_boosting", "best_refitted_boosting"])
        print(f"\n{name}: {classes}, {sets[name].counts}")
        print(shown.round(4).to_string(index=False), flush=True)
        if options.out:
            options.out.write_text(json.dumps({"options": vars(options) | {"out": None}, **result}, indent=1))


if __name__ == "__main__":
    main()
