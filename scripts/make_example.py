"""Simulate the example set that comes with the package: supernovae of the five ZTF classes.

    python scripts/make_example.py DATA_DIR

Class densities of light curves relative to their peak, and of peak magnitudes, are fitted here on the real
sample; context is sampled from the shipped model's network. Of the real survey's cadence and errors only
distributions are used. Nothing in the result was observed.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from bayesclass import Classifier
from bayesclass.network import BayesianNetwork
from bayesclass.tables import read_light_curves, read_objects, write_table
from structurefn import Grid, LightCurves, Stream, count_events, fit_density, response_matrix
from structurefn.simulate import MagnitudeTable, PeakTable, peak_rows_in_time, simulate_peak_curves

OUT = Path(__file__).resolve().parents[1] / "bayesclass" / "examples" / "ztf_simulated"
SEED = 20260
CHANNELS = ("ZTF/g", "ZTF/r")
N_OBJECTS = {"Ia": 15, "II": 8, "Ibc": 6, "IIn": 4, "SLSN": 3}
# Shares of objects seen until before their peak, shortly after it, and to the end.
STAGES = ((0.2, (-6.0, 2.0)), (0.3, (5.0, 25.0)), (0.5, (40.0, 110.0)))
LIMITING_MAGNITUDE = {"ZTF/g": 20.7, "ZTF/r": 20.5}
PEAK_GRID = Grid(
    row_shape=(2, 9), column_range=(-0.3, 5.0), n_columns=24, column_scale=0.2,
    error_range=(0.02, 0.64), n_errors=3, lag_range=(1.0, 250.0),
)  # fmt: skip
MAGNITUDE_GRID = Grid(row_shape=(1,), column_range=(14.5, 20.0), n_columns=22)

README = """\
# Simulated supernovae, in the manner of ZTF

**Simulated. None of these objects exists and none of these points was observed.** `scripts/make_example.py`
made them, with a fixed seed:

- light curves: sampled from class densities of the magnitude relative to the peak, fitted on real ZTF
  supernovae; points of one curve are joined by a Gaussian copula, no physics;
- times and errors: drawn from the distributions of gaps between nights and of errors given magnitude in the
  real survey; points fainter than {limits} are upper limits;
- context (`objects.csv`): sampled from the class densities of the shipped model's network, with values
  missing as often as in the real sample;
- `simulated_class`: the class that an object was sampled from. The model does not read it.

{n_objects} objects, {n_points} points ({n_limits} upper limits). One object has no light curve at all, one
has a single point, and some end before or shortly after their peak. How well a model does here is no measure
of how well it does on real data: the model and the simulation share their densities.
"""


def main(arguments: list[str] | None = None) -> int:
    """Write the example set; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA_DIR", help="folder of the labelled survey data")
    folder = parser.parse_args(arguments).data / "ztf_bts"
    if not (folder / "lightcurves.parquet").is_file():
        print(f"{folder} must hold lightcurves.parquet, but does not: check DATA_DIR.", file=sys.stderr)
        return 2
    classifier = Classifier.load("ztf-supernovae")
    real = read_light_curves(folder / "lightcurves.parquet", channels=CHANNELS)
    objects = read_objects(folder / "objects.csv")
    rng = np.random.default_rng(SEED)
    leaves = classifier.classes_
    classes = rng.permutation(np.repeat([leaves.index(name) for name in N_OBJECTS], list(N_OBJECTS.values())))
    names = [f"SIM{i + 1:03d}" for i in range(len(classes))]

    membership = membership_of(classifier, objects, real.object_id)
    peak, magnitude = fit_peaks(real, membership)
    table = simulate_peak_curves(
        rng,
        peak,
        magnitude,
        classes,
        sample_cadence(rng, real, len(classes)),
        error_model(rng, real),
        limiting_magnitude=LIMITING_MAGNITUDE,
        # A supernova that is slow for its class stays so: long memory, and much the same in both bands.
        timescale=100.0,
        shared=0.85,
        object_ids=names,
    )
    table = shorten(table, names)
    table["mjd"] = (table["mjd"] + np.repeat(*start_dates(rng, table))).round(5)
    table["mag"], table["mag_err"] = table["mag"].round(3), table["mag_err"].round(3)
    context = sample_context(rng, classifier, classes, objects)
    context.insert(0, "object_id", names)
    context["simulated_class"] = np.array(leaves)[classes]

    OUT.mkdir(parents=True, exist_ok=True)
    write_table(table, OUT / "light_curves.parquet")
    write_table(context, OUT / "objects.csv")
    limits = ", ".join(f"{value} mag in {name}" for name, value in LIMITING_MAGNITUDE.items())
    text = README.format(
        limits=limits, n_objects=len(context), n_points=len(table), n_limits=int(table["upper_limit"].sum())
    )
    (OUT / "README.md").write_text(text, encoding="utf-8")
    size = sum(file.stat().st_size for file in OUT.iterdir()) / 1e3
    print(f"{len(context)} objects, {len(table)} points, {size:.0f} kB in {OUT}")
    return 0


def membership_of(classifier: Classifier, objects: pd.DataFrame, object_ids: np.ndarray) -> np.ndarray:
    """Share of each class in each real object, shape (n_objects, n_classes); zeros outside the tree."""
    allowed = classifier.recipe.taxonomy.allowed(classifier.recipe.raw_labels(objects))
    allowed = allowed[pd.Index(objects["object_id"].astype(str)).get_indexer(object_ids)]
    share = allowed / np.maximum(allowed.sum(axis=1, keepdims=True), 1)
    return np.where(allowed.all(axis=1, keepdims=True), 0.0, share)


def fit_peaks(real: LightCurves, membership: np.ndarray) -> tuple[dict, dict]:
    """Densities relative to the peak, and of the peak's magnitude, by channel."""
    peak, magnitude = {}, {}
    lag_edges = np.geomspace(*PEAK_GRID.lag_range, PEAK_GRID.row_shape[1] + 1)
    for name in CHANNELS:
        shape = Stream("peak", "peak", (name,), grid=PEAK_GRID)
        level = Stream("level", "magnitude", (name,), grid=MAGNITUDE_GRID)
        response = response_matrix(PEAK_GRID.column_edges, PEAK_GRID.error_centres)
        counts = dict(count_events(real, [shape]))["peak"]
        density = fit_density(counts, membership, response, row_shape=PEAK_GRID.row_shape)
        true, times = peak_rows_in_time(density.true, lag_edges)
        peak[name] = PeakTable(true, PEAK_GRID, times)
        brightest = real.keep_points(is_brightest(real, name))
        counts = dict(count_events(brightest, [level]))["level"]
        response = response_matrix(MAGNITUDE_GRID.column_edges, np.array([1e-3]))
        magnitude[name] = MagnitudeTable(fit_density(counts, membership, response).true, MAGNITUDE_GRID)
    return peak, magnitude


def is_brightest(real: LightCurves, channel: str) -> np.ndarray:
    """Where a point is its object's brightest in the channel, by magnitude plus error."""
    here = np.flatnonzero((real.channel == real.channels.index(channel)) & ~real.upper_limit)
    owner = real.object_index[here]
    order = here[np.lexsort((real.value[here] + real.error[here], owner))]
    first = np.unique(real.object_index[order], return_index=True)[1]
    return np.isin(np.arange(real.n_points), order[first])


def sample_cadence(rng: np.random.Generator, real: LightCurves, n: int) -> list:
    """Nights with the survey's distribution of gaps and of bands a night, for n objects.

    Gaps are drawn from 101 quantiles of all objects together, so no object's own times come back.
    """
    night = np.floor(real.time)
    key = pd.DataFrame({"owner": real.object_index, "night": night, "channel": real.channel})
    nights = key.groupby(["owner", "night"])["channel"].agg(["min", "max"]).reset_index()
    gap = nights.groupby("owner")["night"].diff().dropna().to_numpy()
    # Longer ones are seasons, which these curves do not reach.
    gap = np.quantile(gap[gap <= 15], np.linspace(0, 1, 101))
    first, second = (real.channels.index(name) for name in CHANNELS)
    kinds = [
        ((nights["min"] == a) & (nights["max"] == b)).mean()
        for a, b in ((first, first), (second, second), (min(first, second), max(first, second)))
    ]
    bands = ((0,), (1,), (0, 1))
    cadence = []
    for _ in range(n):
        ends = STAGES[rng.choice(len(STAGES), p=[share for share, _ in STAGES])][1]
        times, used, now, end = [], [], -rng.uniform(10.0, 22.0), rng.uniform(*ends)
        while now <= end:
            for band in bands[rng.choice(3, p=np.array(kinds) / sum(kinds))]:
                times.append(now + rng.uniform(0.0, 0.15))
                used.append(CHANNELS[band])
            now += max(1.0, np.rint(rng.choice(gap)))
        cadence.append((np.array(times), used))
    return cadence


def error_model(rng: np.random.Generator, real: LightCurves):
    """Errors given magnitude: the real medians as a smooth function, with the real scatter around it."""
    middles = np.arange(15.5, 21.5, 0.5)
    curves, scatter = {}, []
    for name in CHANNELS:
        here = real.channel == real.channels.index(name)
        log_error = np.log(real.error[here])
        place = np.clip(np.searchsorted(middles + 0.25, real.value[here]), 0, len(middles) - 1)
        median = (
            pd.Series(log_error).groupby(place).median().reindex(range(len(middles))).interpolate().bfill()
        )
        curves[name] = np.polynomial.Polynomial.fit(middles, median.to_numpy(), 3)
        scatter.append(np.std(log_error - curves[name](np.clip(real.value[here], 15.5, 21.0))))

    def error(magnitude, channel):
        log_error = np.empty_like(magnitude)
        for name, curve in curves.items():
            log_error[channel == name] = curve(np.clip(magnitude[channel == name], 15.5, 21.0))
        return np.exp(log_error + np.mean(scatter) * rng.standard_normal(len(magnitude)))

    return error


def shorten(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Leave the last object without a point, and the one before with its first detection alone."""
    single = table[(table["object_id"] == names[-2]) & ~table["upper_limit"]].index[:1]
    gone = table["object_id"].isin(names[-2:]) & ~table.index.isin(single)
    return table[~gone].reset_index(drop=True)


def start_dates(rng: np.random.Generator, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Shift of each object's dates within two years [day], and its number of points."""
    size = table.groupby("object_id", sort=False).size().to_numpy()
    return rng.integers(0, 700, len(size)).astype(float), size


def sample_context(
    rng: np.random.Generator, classifier: Classifier, classes: np.ndarray, objects: pd.DataFrame
) -> pd.DataFrame:
    """Context columns sampled from the network's class densities, missing as often as in the sample."""
    network = classifier.fitted.context.network
    specs = {spec.name: spec for spec in classifier.recipe.evidence}
    rows = [sample_network(rng, network, int(c)) for c in classes]
    table = pd.DataFrame(index=range(len(classes)))
    known = objects[[spec.column for spec in specs.values()]].notna()
    without = rng.random(len(classes)) < (~known.any(axis=1)).mean()
    for name, spec in specs.items():
        values = np.array([row[name] for row in rows], dtype=float)
        values = np.where(np.isnan(values), np.nan, 10.0**values if spec.transform == "log10" else values)
        if spec.valid_range:
            values = np.clip(values, *spec.valid_range)
        if spec.none is not None:
            values = np.where(np.isnan(values), spec.none.equals, values)
        lost = rng.random(len(classes)) > known[spec.column].sum() / known.any(axis=1).sum()
        table[spec.column] = [f"{v:.5g}" for v in values]
        table.loc[without | lost, spec.column] = None
    return table


def sample_network(rng: np.random.Generator, network: BayesianNetwork, leaf: int) -> dict[str, float]:
    """One object's evidence in transformed units, NaN where nothing was found."""
    state, value = {network.spec.class_name: leaf}, {}
    for name, node in network.nodes.items():
        given = (slice(None), *(state[parent] for parent in network.parents[name]))
        states = np.exp(network.parameters[name].log_cpd[given].astype(float))
        state[name] = int(rng.choice(len(states), p=states / states.sum()))
        if node.has_none and state[name] == node.n_states - 1:
            value[name] = np.nan
            continue
        cells = np.exp(network.parameters[name].log_cells[given].astype(float))
        cells = np.where(node.bin_of_cell == state[name], cells, 0.0)
        cell = int(rng.choice(len(cells), p=cells / cells.sum()))
        value[name] = rng.uniform(node.grid.edges[cell], node.grid.edges[cell + 1])
    return value


if __name__ == "__main__":
    sys.exit(main())
