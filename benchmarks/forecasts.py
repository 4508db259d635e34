"""How well the next observation is forecast: log scores and coverage on held-out objects, beside two rules.

Usage: python benchmarks/forecasts.py [crts] [ztf_bts] [--held-out 400] [--points 3] [--levels 3] [--seed 0]

Forecasters are fitted on all but the held-out objects (copies of a light curve stay on one side); then up to
some points of each held-out object are forecast from the points before them. Rival rules: the change from the
last point in the band by a class-blind density of pairs with errors taken forward, and a Gaussian with the
object's own mean and scatter in the band. All three see the new point's time, band and error only.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr

from bayesclass.folds import identical_light_curves
from bayesclass.recipe import Recipe
from bayesclass.tables import read_light_curves, read_objects
from structurefn.counting import count_events
from structurefn.density import fit_density
from structurefn.forecast import Forecaster
from structurefn.forecast_tables import PAIR_GRID
from structurefn.nightly import nightly_means
from structurefn.response import response_matrix
from structurefn.streams import Stream

RECIPES = {"crts": "crts-transients", "ztf_bts": "ztf-supernovae"}
SMALLEST_SCATTER = 0.02


def sample(data):
    """Light curves of objects of one class, nightly means where the recipe has a night, and the classes."""
    recipe = Recipe.load(RECIPES[data])
    folder = Path(os.environ.get("BAYESCLASS_DATA", "../shared/data")) / data
    objects = read_objects(folder / "objects.csv")
    allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
    known = allowed.sum(axis=1) == 1
    curves = read_light_curves(folder / "lightcurves.parquet", channels=recipe.light_curves.channels)
    names = objects["object_id"].to_numpy(dtype=str)[known]
    curves = curves.take_objects(pd.Index(curves.object_id).get_indexer(names))
    curves = nightly_means(curves.keep_points(~curves.upper_limit), recipe.light_curves.night or 0.0)
    return curves, allowed[known].argmax(axis=1), recipe.taxonomy.leaves


def earlier_in_band(curves):
    """Find the last earlier point of the object in each point's band, -1 for none."""
    key = curves.object_index * len(curves.channels) + curves.channel
    order = np.argsort(key, kind="stable")
    start = np.flatnonzero(np.diff(key[order], prepend=-1))
    last = np.full(len(key), -1)
    last[order[1:]] = order[:-1]
    last[order[start]] = -1
    # Points at the same time are no history.
    same = (last >= 0) & (curves.time[last] >= curves.time)
    last[same] = -1
    return last


def last_point(training, curves, points, last):
    """Log-density and PIT by the class-blind density of changes since the last point in the band."""
    streams = [Stream(name, "pairs", (name, name), grid=PAIR_GRID) for name in curves.channels]
    response = response_matrix(PAIR_GRID.column_edges, PAIR_GRID.error_centres)
    blind = np.ones((training.n_objects, 1))
    tables = [fit_density(n, blind, response).true[0] for _, n in count_events(training, streams)]
    before = last[points]
    lag = curves.time[points] - curves.time[before]
    row = np.searchsorted(PAIR_GRID.lag_edges[1:-1], lag, side="right")
    true = np.array(tables)[curves.channel[points], row] * 0.99 + 0.01 / PAIR_GRID.n_columns
    edges = PAIR_GRID.column_edges
    s = np.hypot(curves.error[points], curves.error[before])[:, None]
    z = (edges - (curves.value[points] - curves.value[before])[:, None]) / s
    log_density = np.log(np.sum(true * np.diff(ndtr(z)) / np.diff(edges), axis=1) + 1e-12)
    # Probability that the change is below the one found: noise moves each cell's uniform part.
    area = -z * ndtr(-z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return log_density, np.sum(true * -np.diff(area) * s / np.diff(edges), axis=1)


def own_gaussian(training, curves, points):
    """Log-density and PIT by the mean and scatter of the object's earlier points in the band.

    With fewer than three points the scatter is the sample's median one. The error of the new point and that
    of the mean are added in quadrature.
    """
    owner = training.object_index * len(training.channels) + training.channel
    groups = pd.Series(training.value).groupby(owner)
    usual = float(groups.std()[groups.size() > 2].median())
    mean, scatter = np.empty(len(points)), np.empty(len(points))
    first = curves.offset[curves.object_index]
    for i, point in enumerate(points):
        before = slice(first[point], point)
        values = curves.value[before][curves.channel[before] == curves.channel[point]]
        spread = max(values.std(ddof=1), SMALLEST_SCATTER) if len(values) > 2 else usual
        mean[i], scatter[i] = values.mean(), spread * np.sqrt(1 + 1 / len(values))
    scatter = np.hypot(scatter, curves.error[points])
    z = (curves.value[points] - mean) / scatter
    return -0.5 * z**2 - np.log(scatter * np.sqrt(2 * np.pi)), ndtr(z)


def row(name, log_density, pit):
    centre = np.abs(pit - 0.5)
    return {
        "forecast": name,
        "log score": log_density.mean(),
        "+/-": log_density.std() / np.sqrt(len(log_density)),
        "in central 50 %": np.mean(centre < 0.25),
        "in central 90 %": np.mean(centre < 0.45),
        "PIT distance": np.max(np.abs(np.sort(pit) - (np.arange(len(pit)) + 0.5) / len(pit))),
    }


def markdown(table):
    names = list(table.columns)
    lines = [f"| {' | '.join(names)} |", "|---|" + "---|" * (len(names) - 1)]
    for _, cells in table.iterrows():
        lines.append("| " + " | ".join(x if isinstance(x, str) else f"{x:.3f}" for x in cells) + " |")
    return "\n".join(lines)


def measure(data, options):
    curves, y, leaves = sample(data)
    rng = np.random.default_rng(options.seed)
    groups = identical_light_curves(curves)
    shuffled = rng.permutation(groups.max() + 1)[groups]
    order = np.argsort(shuffled, kind="stable")
    held_out = np.isin(groups, groups[order[: options.held_out]])
    membership = np.eye(len(leaves))[y]
    training, test = (curves.take_objects(np.flatnonzero(x)) for x in (~held_out, held_out))
    start = time.perf_counter()
    forecaster = Forecaster.fit(
        training, membership[~held_out], levels=options.levels, groups=groups[~held_out]
    )
    fitting = time.perf_counter() - start
    last = earlier_in_band(test)
    candidates = np.flatnonzero(last >= 0)
    candidates = candidates[rng.permutation(len(candidates))]
    turn = pd.Series(test.object_index[candidates]).groupby(test.object_index[candidates]).cumcount()
    points = np.sort(candidates[turn.to_numpy() < options.points])
    owner = test.object_index[points]
    start = time.perf_counter()
    by_class = forecaster.predict(
        test.take_objects(owner),
        test.time[points],
        [test.channels[k] for k in test.channel[points]],
        error=test.error[points],
    )
    spent = time.perf_counter() - start
    value, classes = test.value[points], y[held_out][owner]
    own = by_class.of_class(classes)
    mixed = by_class.mixed(membership[~held_out].mean(axis=0))
    found = {
        "forecast, class known": (own.log_density(value), own.cdf(value)),
        "forecast, class frequencies": (mixed.log_density(value), mixed.cdf(value)),
        "last point in the band, class-blind": last_point(training, test, points, last),
        "Gaussian, own mean and scatter": own_gaussian(training, test, points),
    }
    print(f"\n{data}: {len(points)} points of {len(np.unique(owner))} held-out objects; ", end="")
    print(f"fit {fitting:.0f} s on {training.n_objects}, {1e3 * spent / len(points):.1f} ms a forecast")
    print({name: np.round(x, 2).tolist() for name, x in forecaster.weights.items()})
    print(markdown(pd.DataFrame([row(name, *pair) for name, pair in found.items()])))
    rival = found["last point in the band, class-blind"][0]
    rows = []
    n_before = points - test.offset[owner]
    parts = {name: classes == k for k, name in enumerate(leaves)}
    for low, high in ((1, 2), (3, 5), (6, 15), (16, 10**6)):
        label = f"{low} to {high} earlier points" if high < 10**6 else f"{low} and more earlier points"
        parts[label] = (n_before >= low) & (n_before <= high)
    for name, use in parts.items():
        if use.sum() < 10:
            continue
        gain = found["forecast, class known"][0][use] - rival[use]
        centre = np.abs(found["forecast, class known"][1][use] - 0.5)
        rows.append(
            {
                "points": f"{name} ({use.sum()})",
                "class known": found["forecast, class known"][0][use].mean(),
                "class frequencies": found["forecast, class frequencies"][0][use].mean(),
                "last point": rival[use].mean(),
                "Gaussian": found["Gaussian, own mean and scatter"][0][use].mean(),
                "class known - last point": gain.mean(),
                "+/-": gain.std() / np.sqrt(use.sum()),
                "in central 50 %": np.mean(centre < 0.25),
                "in central 90 %": np.mean(centre < 0.45),
            }
        )
    print(markdown(pd.DataFrame(rows)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=sorted(RECIPES), help=" or ".join(sorted(RECIPES)))
    parser.add_argument("--held-out", type=int, default=400)
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--levels", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for data in options.data:
        measure(data, options)


if __name__ == "__main__":
    main()
