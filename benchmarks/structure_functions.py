"""Pair counts and pair likelihoods beside light-curve's dm-dt maps, in one run on the same curves and cores.

Usage: python benchmarks/structure_functions.py

Ours counts into (lag, error, dm) cells. *Counts* stands for `count_events`, from ragged batch to counts;
*likelihood* for `stream_log_likelihood`, from ragged batch to log-likelihoods of 6 classes with each pair's
own error, counts included. Copies are included, compilation is apart. `DmDt.points` counts; `DmDt.gausses`
smears every pair by its error, exactly or with `approx_erf`. *Threads* are its `points_many` and
`gausses_many` on all cores; ours uses them anyway. Rates are of pairs that a curve has, n (n - 1) / 2: beyond
128 points ours takes a weighted sample of them. All are measured in turns; the best of the rounds is taken.

Peak memory is that of a fresh process, which draws the curves as arrays and scores them.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

import jax
import light_curve
import numpy as np
import pandas as pd

from structurefn import Density, LightCurves, Stream, count_events, fit_density, response_matrix
from structurefn.scoring import stream_log_likelihood

STREAM = Stream("pairs", "pairs", ("S/r", "S/r"))
SIZES = ((30, 4096), (50, 2048), (100, 960), (300, 320), (1000, 96))
# Pairs in one call of a peer, by its speed; rates are compared.
POINTS_PAIRS, GAUSSES_PAIRS = 2e6, 4e5
ROUNDS = 12
AIMS = {"likelihood / gausses": 20, "counts / points": 3}
MEMORY_CURVES, MEMORY_POINTS = 200_000, 50


def curves(n_objects, n_points, rng):
    n = n_objects * n_points
    return LightCurves(
        object_id=np.arange(n_objects).astype(str),
        offset=np.arange(n_objects + 1) * n_points,
        time=59000.0 + np.sort(rng.uniform(0, 2000, (n_objects, n_points)), axis=1).ravel(),
        value=rng.normal(18.0, 0.5, n),
        error=rng.uniform(0.03, 0.2, n),
        channel=np.zeros(n, np.int16),
        upper_limit=np.zeros(n, bool),
        channels=("S/r",),
        quantity="mag",
        set_aside=pd.DataFrame({"object_id": [], "reason": [], "rows": []}),
    )


def fitted(rng):
    """Density of 6 classes, from random curves."""
    (_, counts), *_ = count_events(curves(300, 30, rng), [STREAM])
    response = response_matrix(STREAM.grid.column_edges, STREAM.grid.error_centres)
    return fit_density(counts, np.eye(6)[rng.integers(0, 6, 300)], response, strength=16.0)


def best_times(calls):
    """Seconds of each call, the best of several rounds in turns; the first round compiles."""
    best = dict.fromkeys(calls, np.inf)
    for turn in range(ROUNDS + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def ours(batch, density):
    return {
        "counts": lambda: list(count_events(batch, [STREAM])),
        "likelihood": lambda: stream_log_likelihood(batch, [STREAM], {"pairs": density}),
    }


def theirs(batch):
    """Make the calls of the peer, and say how many curves each takes."""
    n_pairs = batch.n_points / batch.n_objects * (batch.n_points / batch.n_objects - 1) / 2
    ends = list(zip(batch.offset[:-1], batch.offset[1:], strict=True))
    pieces = [(batch.time[a:b], batch.value[a:b], batch.error[a:b]) for a, b in ends]
    pairs = [piece[:2] for piece in pieces[: max(2, int(POINTS_PAIRS / n_pairs))]]
    pieces = pieces[: max(2, int(GAUSSES_PAIRS / n_pairs))]
    borders = {
        "min_lgdt": -2.3,
        "max_lgdt": 3.5,
        "max_abs_dm": 4.0,
        "lgdt_size": 12,
        "dm_size": 32,
        "norm": [],
    }
    exact = light_curve.DmDt.from_borders(**borders)
    fast = light_curve.DmDt.from_borders(**borders, approx_erf=True)
    calls = {
        "points": lambda: [exact.points(t, m, sorted=True) for t, m in pairs],
        "points, threads": lambda: exact.points_many(pairs, sorted=True),
        "gausses": lambda: [exact.gausses(t, m, s, sorted=True) for t, m, s in pieces],
        "gausses, threads": lambda: exact.gausses_many(pieces, sorted=True),
        "approx_erf": lambda: [fast.gausses(t, m, s, sorted=True) for t, m, s in pieces],
        "approx_erf, threads": lambda: fast.gausses_many(pieces, sorted=True),
    }
    return calls, {name: len(pairs if name.startswith("points") else pieces) for name in calls}


def compare(rng, density):
    print(f"light-curve {light_curve.__version__}, {os.cpu_count()} cores; million pairs a second:\n")
    rates, cost = {}, {}
    for n_points, n_objects in SIZES:
        batch = curves(n_objects, n_points, rng)
        peers, n_curves = theirs(batch)
        seconds = best_times(ours(batch, density) | peers)
        cost[n_points] = {name: s / n_curves.get(name, n_objects) for name, s in seconds.items()}
        rates[n_points] = {k: n_points * (n_points - 1) / 2e6 / s for k, s in cost[n_points].items()}
    write_table(rates, "{:.1f}")
    print("Ratios:\n")
    pairs = {f"likelihood / {k}": ("likelihood", k) for k in peers if not k.startswith("points")}
    pairs |= {f"counts / {k}": ("counts", k) for k in peers if k.startswith("points")}
    ratios = {n: {k: r[a] / r[b] for k, (a, b) in pairs.items()} for n, r in rates.items()}
    write_table(ratios, "{:.1f}")
    for aim, target in AIMS.items():
        lowest = min(row[aim] for row in ratios.values())
        print(f"{aim}: at least {lowest:.1f} (aim {target}): {verdict(lowest >= target)}")
    for name in ("likelihood", "counts"):
        ratio = cost[1000][name] / cost[100][name]
        print(f"{name}, cost of 1,000 points over 100: {ratio:.1f} (aim 12): {verdict(ratio <= 12)}")


def write_table(rows, form):
    columns = list(next(iter(rows.values())))
    print("| points a curve | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    for n_points, row in rows.items():
        print(f"| {n_points:,} | " + " | ".join(form.format(row[name]) for name in columns) + " |")
    print(flush=True)


def verdict(met):
    return "met" if met else "missed"


def memory():
    """Score many curves and print the peak memory; runs in a process of its own."""
    rng = np.random.default_rng(0)
    grid = STREAM.grid
    density = Density.from_true(
        rng.gamma(1.0, size=(6, grid.n_rows, grid.n_columns)),
        response_matrix(grid.column_edges, grid.error_centres),
    )
    batch = curves(MEMORY_CURVES, MEMORY_POINTS, rng)
    before = peak()
    start = time.perf_counter()
    log_like = stream_log_likelihood(batch, [STREAM], {"pairs": density})
    assert np.isfinite(log_like).all()
    print(
        f"{MEMORY_CURVES:,} curves of {MEMORY_POINTS} points scored in {time.perf_counter() - start:.1f} s, "
        f"compilation included: peak memory {peak():.2f} GiB, {before:.2f} before scoring (aim 2): "
        f"{verdict(peak() < 2)}"
    )


def peak():
    """Maximum resident set of this process so far [GiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def on_device(rng, density):
    print(f"{jax.devices()[0].device_kind}; million pairs a second:\n")
    rates = {}
    for n_points, n_objects in SIZES:
        seconds = best_times(ours(curves(n_objects, n_points, rng), density))
        rates[n_points] = {k: n_objects * n_points * (n_points - 1) / 2e6 / s for k, s in seconds.items()}
    write_table(rates, "{:.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="only the peak memory")
    if parser.parse_args().memory:
        memory()
        return
    rng = np.random.default_rng(0)
    density = fitted(rng)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    if jax.default_backend() == "cpu":
        compare(rng, density)
        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, "--memory"], check=True, env=environment)
    else:
        on_device(rng, density)
        subprocess.run([sys.executable, __file__], check=True, env=environment)


if __name__ == "__main__":
    main()
