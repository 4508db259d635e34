"""How honest the generative likelihoods are, on simulated light curves, in one run.

Usage: python benchmarks/likelihood_honesty.py [--objects 20000] [--seed 0] [--out FILE.json]

1. Ratios: for curves sampled from class c by the model's own assumptions, the mean of exp(l_c' - l_c) is one.
2. Tables: densities recovered from curves with errors of 0.02 to 0.6 mag, beside tables that ignore errors.
3. Damped random walks of four classes: chains and all pairs against the exact Gaussian joint.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.pool import Pool
from structurefn.counting import count_events
from structurefn.density import fit_density
from structurefn.light_curves import LightCurves
from structurefn.likelihood import log_likelihood
from structurefn.response import Density, response_matrix
from structurefn.simulate_chains import simulate_chains
from structurefn.stream_density import class_density
from structurefn.streams import Stream

PAIRS = Stream("pairs", "adjacent", ("S/r",))
TRIPLETS = Stream("triplets", "triplets", ("S/r",))
# The triplets' own grid has 20 columns and 3 error bins.
FINER = Stream("finer triplets", "triplets", ("S/r",), grid=replace(TRIPLETS.grid, n_columns=32, n_errors=5))
ALL_PAIRS = Stream("all pairs", "pairs", ("S/r", "S/r"))
# Damped random walks: standard deviation [mag] and timescale [day] of each class.
WALKS = ((0.15, 20.0), (0.15, 200.0), (0.25, 20.0), (0.25, 200.0))
LENGTHS = (5, 80)
SPAN = (100.0, 1000.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=40000, help="curves of each class for the ratios")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file of the numbers, JSON")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    found = {"objects": options.objects, "seed": options.seed}
    for name, part in (
        ("ratios", lambda: ratios(rng, options.objects)),
        ("tables", lambda: tables(rng)),
        ("walks", lambda: walks(rng)),
    ):
        start = time.perf_counter()
        found[name] = part()
        print(f"({time.perf_counter() - start:.0f} s)\n", flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def batch(rng, lengths, errors, span=(30.0, 300.0)):
    """Light curves of constant magnitude at random times, errors log-uniform."""
    n = int(np.sum(lengths))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    length_of_survey = np.exp(rng.uniform(*np.log(span), len(lengths)))
    return LightCurves.from_frame(
        pd.DataFrame(
            {
                "object_id": owner.astype(str),
                "survey": "S",
                "band": "r",
                "mjd": 59000.0 + rng.random(n) * length_of_survey[owner],
                "mag": 18.0,
                "mag_err": np.exp(rng.uniform(*np.log(errors), n)),
            }
        )
    )


def smooth_tables(rng, stream, n_classes, place=0.2, spread=(0.15, 0.5)):
    """Densities of two Gaussians a row, whose places and widths vary with class and row."""
    edges = stream.grid.column_edges
    middle = 0.5 * (edges[1:] + edges[:-1])
    shape = (n_classes, stream.grid.n_rows, 1)
    density = 0.0
    for share in (0.7, 0.3):
        centre, width = rng.normal(0.0, place, shape), rng.uniform(*spread, shape)
        density = density + share / width * np.exp(-0.5 * ((middle - centre) / width) ** 2)
    return density * np.diff(edges)


def ratios(rng, n_objects, n_points=4, n_classes=3):
    """Means of exp(l_c' - l_c), their standard errors and z, for curves of every class.

    With n events of chi-squared divergence D each, the ratio's variance is (1 + D)^n - 1: for long curves it
    is carried by ever rarer objects, and no sample shows its mean. So the curves are short.
    """
    result = {}
    for stream in (PAIRS, TRIPLETS):
        response = response_matrix(stream.grid.column_edges, stream.grid.error_centres)
        density = Density.from_true(
            smooth_tables(rng, stream, n_classes, place=0.1, spread=(0.2, 0.4)), response
        )
        rows = []
        for c in range(n_classes):
            curves = batch(rng, np.full(n_objects, n_points), (0.02, 0.3))
            curves = simulate_chains(rng, curves, [stream], {stream.name: density}, np.full(n_objects, c))
            count = dict(count_events(curves, [stream]))[stream.name]
            log_like = log_likelihood(count, density)
            ratio = np.exp(log_like - log_like[:, [c]])
            mean, error = ratio.mean(axis=0), ratio.std(axis=0) / np.sqrt(n_objects)
            for other in range(n_classes):
                if other != c:
                    z = (mean[other] - 1.0) / error[other]
                    rows.append([c, other, float(mean[other]), float(error[other]), float(z)])
        table = pd.DataFrame(rows, columns=["class", "other", "mean ratio", "standard error", "z"])
        print(f"{stream.name}: {n_objects} curves a class of {n_points} points")
        print(table.round(4).to_string(index=False))
        result[stream.name] = table.to_dict(orient="records")
    return result


def tables(rng, n_objects=1500, n_points=30, n_classes=2):
    """Total variation distance of fitted rows from the true ones, with errors forward and without."""
    grid = PAIRS.grid
    response = response_matrix(grid.column_edges, grid.error_centres)
    true = Density.from_true(smooth_tables(rng, PAIRS, n_classes, spread=(0.08, 0.3)), response)
    curves = batch(rng, np.full(n_objects, n_points), (0.02, 0.6))
    classes = np.arange(n_objects) % n_classes
    curves = simulate_chains(rng, curves, [PAIRS], {PAIRS.name: true}, classes, own_errors=True)
    membership = np.eye(n_classes)[classes]
    count = dict(count_events(curves, [PAIRS]))[PAIRS.name]
    forward = fit_density(count, membership, response)
    # One error bin and no response: what a table of counts is.
    blind = fit_density(count.sum(axis=2, keepdims=True), membership, np.eye(grid.n_columns)[None])
    # Rows of some thousand events in each class.
    seen = np.einsum("nrsj,nc->cr", count, membership) > 1000
    distance = {
        name: 0.5 * np.abs(density.true - true.true).sum(axis=-1)[seen]
        for name, density in (("errors forward", forward), ("errors ignored", blind))
    }
    for name, values in distance.items():
        print(
            f"{name}: total variation distance {values.mean():.3f}, largest {values.max():.3f}, "
            f"of {seen.sum()} rows"
        )
    return {name: {"mean": float(v.mean()), "largest": float(v.max())} for name, v in distance.items()}


def walk_curves(rng, classes):
    """Damped random walks with noise, sampled from their exact joint distribution."""
    lengths = np.exp(rng.uniform(*np.log(LENGTHS), len(classes))).astype(int)
    curves = batch(rng, lengths, (0.02, 0.12), SPAN)
    value = curves.value.copy()
    for i, c in enumerate(classes):
        part = slice(curves.offset[i], curves.offset[i + 1])
        covariance = walk_covariance(curves.time[part], curves.error[part], *WALKS[c])
        value[part] += np.linalg.cholesky(covariance) @ rng.standard_normal(len(covariance))
    return replace(curves, value=value)


def walk_covariance(time, error, sigma, tau):
    lag = np.abs(np.subtract.outer(time, time))
    return sigma**2 * np.exp(-lag / tau) + np.diag(error**2)


def gaussian(x, variance):
    return -0.5 * (x**2 / variance + np.log(2.0 * np.pi * variance))


def exact_likelihoods(curves):
    """Log-likelihoods of each walk from its own Gaussian densities, shape (n, C): no table is fitted.

    The joint is that of the n - 1 changes, so that the mean magnitude is no evidence, as in the chains.
    """
    names = ("exact joint", "all pairs, product", "pair chain, exact", "triplet chain, exact")
    found = {name: np.zeros((curves.n_objects, len(WALKS))) for name in names}
    for i in range(curves.n_objects):
        part = slice(curves.offset[i], curves.offset[i + 1])
        time, value, error = curves.time[part], curves.value[part], curves.error[part]
        change = np.diff(value)
        for c, walk in enumerate(WALKS):
            covariance = walk_covariance(time, error, *walk)
            steps = np.diff(np.diff(covariance, axis=0), axis=1)
            lower = np.linalg.cholesky(steps)
            white = np.linalg.solve(lower, change)
            found["exact joint"][i, c] = (
                -0.5 * white @ white - np.log(np.diag(lower)).sum() - 0.5 * len(change) * np.log(2 * np.pi)
            )
            variance, cross = np.diag(steps), np.diag(steps, 1)
            found["pair chain, exact"][i, c] = gaussian(change, variance).sum()
            slope = cross / variance[:-1]
            rest = gaussian(change[1:] - slope * change[:-1], variance[1:] - slope * cross)
            found["triplet chain, exact"][i, c] = gaussian(change[:1], variance[:1]).sum() + rest.sum()
            first, second = np.triu_indices(len(value), 1)
            spread = covariance[first, first] + covariance[second, second] - 2.0 * covariance[first, second]
            found["all pairs, product"][i, c] = gaussian(value[second] - value[first], spread).sum()
    n = np.diff(curves.offset)[:, None]
    found["all pairs, total weight n - 1, exact"] = found["all pairs, product"] * 2.0 / n
    return found


def walks(rng, n_train=3000, n_test=2000):
    """Accuracy, log-loss, ECE and errors of log-likelihood ratios, likelihood by likelihood."""
    y_train, y = rng.integers(0, len(WALKS), n_train), rng.integers(0, len(WALKS), n_test)
    train, test = walk_curves(rng, y_train), walk_curves(rng, y)
    # The joint and its approximations from the walks' own densities, then tables fitted to other walks.
    likelihood, fitted = exact_likelihoods(test), exact_likelihoods(train)
    size = {"train": np.diff(train.offset).astype(float), "test": np.diff(test.offset).astype(float)}
    membership = np.eye(len(WALKS))[y_train]
    names = ("pair chain, tables", "triplet chain, tables", "triplet chain, finer tables")
    names += ("all pairs, total weight n - 1, tables",)
    for name, stream in zip(names, (PAIRS, TRIPLETS, FINER, ALL_PAIRS), strict=True):
        count, tested = (dict(count_events(curves, [stream]))[stream.name] for curves in (train, test))
        density = class_density(stream, count, membership, None)
        weight = 2.0 / size["test"] if stream is ALL_PAIRS else None
        likelihood[name] = log_likelihood(tested, density, weight)
        if stream is PAIRS:
            first = test.keep_points(np.arange(test.n_points) < test.offset[test.object_index] + 2)
            first = log_likelihood(dict(count_events(first, [stream]))[stream.name], density)
    # The triplets condition on the first change, which the pairs' table gives.
    for name in names[1:3]:
        likelihood[name] += first
    pool = ("triplet chain, exact", "all pairs, total weight n - 1, exact")
    weights = Pool.fit(
        {name: fitted[name] for name in pool},
        dict.fromkeys(pool, size["train"]),
        membership.astype(bool),
        np.ones(n_train),
        np.zeros(len(WALKS)),
        n_draws=0,
    )
    terms = weights.terms({name: likelihood[name] for name in pool}, dict.fromkeys(pool, size["test"]))
    joined = sum(terms.values())
    likelihood["triplet chain and all pairs, fitted weights"] = joined
    rows = []
    for name, values in likelihood.items():
        p = np.exp(values - values.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        error = ratio_error(values, likelihood["exact joint"], y)
        rows.append(
            {
                "likelihood": name,
                "accuracy": metrics.accuracy(p, y),
                "log_loss": metrics.log_loss(p, y, floor=1e-300),
                "ece": metrics.classwise_ece(p, y),
                "ratio error, mean": error.mean(),
                "ratio error, rms": np.sqrt((error**2).mean()),
            }
        )
    table = pd.DataFrame(rows)
    print(f"damped random walks: {n_test} curves of {LENGTHS[0]} to {LENGTHS[1]} points")
    print(table.round(3).to_string(index=False))
    return {row.pop("likelihood"): {k: float(v) for k, v in row.items()} for row in table.to_dict("records")}


def ratio_error(values, exact, y):
    """Errors of l_true - l_other, over all other classes, shape (n * (C - 1),)."""
    others = np.arange(values.shape[1]) != y[:, None]
    difference = [(x[np.arange(len(y)), y][:, None] - x)[others] for x in (values, exact)]
    return difference[0] - difference[1]


if __name__ == "__main__":
    main()
