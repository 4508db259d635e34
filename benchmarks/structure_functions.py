"""Pairs per second of the counting kernels beside light-curve's dm-dt maps, in one run on the same curves.

Usage: python benchmarks/structure_functions.py

Ours counts into (lag, error, dm) cells and stands for `count_events` from ragged batch to counts, copies
included, compilation apart. `DmDt.points` counts, `DmDt.gausses` smears every pair by its error. Our counts
keep each pair's error as a bin, so that one product with a table gives the likelihood with errors.
"""

import time

import light_curve
import numpy as np
import pandas as pd

from structurefn import LightCurves, Stream, count_events, fit_density, log_likelihood, response_matrix


def curves(n_objects, n_points, rng):
    n = n_objects * n_points
    return pd.DataFrame(
        {
            "object_id": np.repeat([f"o{i}" for i in range(n_objects)], n_points),
            "survey": "S",
            "band": "r",
            "mjd": 59000.0 + rng.uniform(0, 2000, n),
            "mag": rng.normal(18.0, 0.5, n),
            "mag_err": rng.uniform(0.03, 0.2, n),
        }
    )


def best_of(call, repeats=3):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main():
    rng = np.random.default_rng(0)
    stream = Stream("pairs", "pairs", ("S/r", "S/r"))
    grid = stream.grid
    rival = light_curve.DmDt.from_borders(
        min_lgdt=-2.3, max_lgdt=3.5, max_abs_dm=4.0, lgdt_size=12, dm_size=32, norm=[]
    )
    print("n points | ours, counts with error bins | + likelihood of 6 classes | points | gausses | Mpairs/s")
    for n_points, n_objects in ((30, 4000), (100, 1000), (300, 200), (1000, 20)):
        frame = curves(n_objects, n_points, rng)
        batch = LightCurves.from_frame(frame)
        (_, counts), *_ = count_events(batch, [stream])  # compiles
        membership = np.eye(6)[rng.integers(0, 6, n_objects)]
        response = response_matrix(grid.column_edges, grid.error_centres)
        density = fit_density(counts, membership, response, strength=16.0)

        def scored(batch=batch, density=density):
            (_, counts), *_ = count_events(batch, [stream])
            return log_likelihood(counts, density)

        scored()
        ours = best_of(lambda batch=batch: list(count_events(batch, [stream])))
        likelihood = best_of(scored)
        pieces = [
            (batch.time[a:b], batch.value[a:b], batch.error[a:b])
            for a, b in zip(batch.offset[:-1], batch.offset[1:], strict=True)
        ]
        points = best_of(lambda pieces=pieces: [rival.points(t, m, sorted=True) for t, m, _ in pieces])
        some = pieces[: max(2, n_objects // 10)]
        gausses = best_of(lambda some=some: [rival.gausses(t, m, e**2, sorted=True) for t, m, e in some], 1)
        pairs = n_objects * n_points * (n_points - 1) / 2 / 1e6
        rates = [pairs / ours, pairs / likelihood, pairs / points, pairs * len(some) / n_objects / gausses]
        print(
            f"{n_points:8d} | "
            + " | ".join(f"{rate:8.1f}" for rate in rates)
            + f" | likelihood / gausses {rates[1] / rates[3]:.1f}, counts / points {rates[0] / rates[2]:.2f}"
        )


if __name__ == "__main__":
    main()
