"""What each ingredient of the structure-function classifier gives: cross-validation with one left out at a time.

Usage: python benchmarks/ingredients.py [crts] [ztf_bts] [--versions 5] [--objects N] [--out DIR]

The default is the trained expert alone, on the maps of all trained streams of the recipe, but for the contrast
to an archival magnitude, which is context. Events are counted once. For each configuration kernel features are
learned once from all light curves, since they use no label, and the classifier is fitted on four folds and
scored on the fifth, where the held-out objects are tested at full length and thinned at random. The precision
of the prior is fixed. All configurations have the same folds, versions and thinnings, and maps of the same mean
squared norm, so that a stream is taken away and the kernel's width is not. Changes are paired by object; their
standard errors are from a bootstrap over objects, and know nothing of the luck of a fit. For that, one row has
the default with other random axes and landmarks.

The rows on the pair chain are its likelihood alone, with a temperature: densities fitted and scored with each
pair's own error, and densities of the observed differences whatever their errors.
"""

import argparse
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.fitting import probabilities
from bayesclass.folds import identical_light_curves, stratified_folds
from bayesclass.pool import Pool
from bayesclass.recipe import Recipe
from bayesclass.representation import runtime_streams
from bayesclass.tables import read_light_curves, read_objects
from bayesclass.training import PRECISIONS, version_weights
from context.evidence import EvidenceTable, State
from structurefn import count_contrast, count_events, fit_density, log_likelihood, response_matrix
from structurefn.kernel_features import KernelFeatures
from structurefn.kernel_logistic import KernelLogistic
from structurefn.maps import FULL_ROW, map_scale, stream_map
from structurefn.thinning import thin_to, thinned_versions

RECIPES = {"crts": "crts-transients", "ztf_bts": "ztf-supernovae"}
LENGTHS = ("all", 40, 20, 10, 5)
CHANGES = ("all", 20)
N_FOLDS, N_RESAMPLES = 5, 2000
# How an object's counts become its map.
USUAL, NO_ERRORS, NO_SMOOTHING = "usual", "without error bins", "without smoothing"


@dataclass(frozen=True)
class Configuration:
    """What the classifier is given."""

    name: str
    without: tuple[str, ...] = ()  # beginnings of names of streams
    extra: tuple[str, ...] = ()  # the same, of streams that the default has not
    maps: str = USUAL
    equal: bool = False  # streams of equal weight
    thinned: bool = True
    seed: int = 0


CONFIGURATIONS = {
    "crts": (
        Configuration("default"),
        Configuration("default, other landmarks", seed=1),
        Configuration("without error bins", maps=NO_ERRORS),
        Configuration("without scaled pairs", without=("scaled pairs",)),
        Configuration("without scaled pairs and error bins", without=("scaled pairs",), maps=NO_ERRORS),
        Configuration("without nightly streams", without=("nightly", "triplets")),
        Configuration("without triplets", without=("triplets",)),
        Configuration("without peak streams", without=("peak", "nightly peak")),
        Configuration("without magnitude", without=("magnitude",)),
        Configuration("equal stream weights", equal=True),
        Configuration("without smoothing of maps", maps=NO_SMOOTHING),
        Configuration("without thinned versions", thinned=False),
        Configuration("with contrast to the archive", extra=("contrast",)),
    ),
    "ztf_bts": (
        Configuration("default"),
        Configuration("default, other landmarks", seed=1),
        Configuration("without error bins", maps=NO_ERRORS),
        Configuration(
            "without pairs and peaks across bands", without=("pairs g-r", "pairs r-g", "r from g", "g from r")
        ),
        Configuration("without peak streams", without=("peak", "r from g", "g from r")),
        Configuration("with triplets", extra=("triplets",)),
        Configuration("with magnitude", extra=("magnitude",)),
        Configuration("without smoothing of maps", maps=NO_SMOOTHING),
        Configuration("without thinned versions", thinned=False),
    ),
}


class Sample(NamedTuple):
    """Labelled objects with at least one point, their versions and what is counted of them."""

    allowed: np.ndarray  # (n, K) bool
    fold: np.ndarray  # (n,)
    owner: np.ndarray  # (n_versions,), the first n are the objects at full length
    tests: dict  # length -> rows of the n objects, among the rows of all maps
    streams: tuple
    maps: dict  # way, stream -> (n_rows, cells)
    chain: dict  # stream of neighbours -> (n_rows, rows, errors, columns)

    @property
    def single(self):
        """Whether an object has one class, shape (n,)."""
        return self.allowed.sum(axis=1) == 1


@dataclass
class Table:
    """Losses of each object by configuration and length, as rows of a table."""

    rows: list = field(default_factory=list)
    losses: dict = field(default_factory=dict)

    def add(self, name, probability, sample, seconds, against=None):
        """Score held-out probabilities, {length: (n, K)}; `against` names the row for the change."""
        y = sample.allowed.argmax(axis=1)[sample.single]
        losses = {k: metrics.log_losses(p[sample.single], y, floor=1e-12) for k, p in probability.items()}
        row = {"configuration": name} | {k: loss.mean() for k, loss in losses.items()}
        for k in CHANGES if against else ():
            change = losses[k] - self.losses[against][k]
            resampled = metrics.bootstrap(
                {"mean": lambda weights, change=change: metrics.weighted_mean(change, weights)},
                len(change),
                np.random.default_rng(0),
                N_RESAMPLES,
            )["mean"]
            row |= {f"change, {k}": change.mean(), f"error, {k}": resampled.std(ddof=1)}
        self.rows.append(row)
        self.losses[name] = losses
        scores = " ".join(f"{k}: {row[k]:.3f}" for k in LENGTHS)
        print(f"{name}: {scores} ({seconds:.0f} s)", flush=True)

    def markdown(self):
        """One row a configuration, for the documentation."""
        head = ["configuration", *(f"log-loss, {k}" for k in LENGTHS), *(f"change, {k}" for k in CHANGES)]
        lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for row in self.rows:
            cells = [row["configuration"], *(f"{row[k]:.3f}" for k in LENGTHS)]
            cells += [
                f"{row[f'change, {k}']:+.3f} ± {row[f'error, {k}']:.3f}" if f"change, {k}" in row else ""
                for k in CHANGES
            ]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def read_sample(data, options):
    """Read, thin and count."""
    folder = Path(os.environ.get("BAYESCLASS_DATA", "../shared/data")) / data
    recipe = Recipe.load(RECIPES[data])
    wanted = recipe.light_curves
    objects = read_objects(folder / "objects.csv")
    allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
    curves = read_light_curves(
        folder / "lightcurves.parquet",
        channels=wanted.channels,
        object_ids=objects["object_id"].to_numpy(dtype=str),
    )
    curves = curves.take_objects(pd.Index(curves.object_id).get_indexer(objects["object_id"].astype(str)))
    labelled = allowed.any(axis=1)
    use = np.flatnonzero(labelled & (curves.n_detections > 0))
    print(f"{data}: {len(use)} objects; {labelled.sum() - len(use)} labelled ones without a point left out")
    rng = np.random.default_rng(options.seed)
    if options.objects and options.objects < len(use):
        use = np.sort(rng.choice(use, options.objects, replace=False))
    curves, allowed, objects = curves.take_objects(use), allowed[use], objects.iloc[use]
    versions, owner = thinned_versions(curves, rng, versions=options.versions)
    batches = [(versions, owner)]
    n = len(use)
    tests = {"all": np.arange(n)}
    for i, k in enumerate(LENGTHS[1:]):
        batches.append((thin_to(curves, k, rng), np.arange(n)))
        tests[k] = len(owner) + i * n + np.arange(n)
    evidence = EvidenceTable.from_frame(
        objects, recipe.evidence, object_ids=objects["object_id"].to_numpy(dtype=str)
    )
    extra = tuple(start for configuration in CONFIGURATIONS[data] for start in configuration.extra)
    streams = tuple(
        stream
        for stream in runtime_streams(recipe.streams)
        if stream.trained or stream.name.startswith(extra) or (stream.kind == "adjacent" and data == "crts")
    )
    maps, chain = {}, {}
    for batch, owners in batches:
        for stream, counts in counted(batch, owners, streams, wanted.night, evidence):
            if stream.kind == "adjacent":
                chain.setdefault(stream, []).append(counts)
                continue
            for way in {configuration.maps for configuration in CONFIGURATIONS[data]}:
                maps.setdefault((way, stream), []).append(made_map(counts, stream.grid, way))
    single = allowed.sum(axis=1) == 1
    stratum = np.where(single, allowed.argmax(axis=1), -1)
    fold = stratified_folds(stratum, identical_light_curves(curves), N_FOLDS, rng)
    maps, chain = ({key: np.concatenate(parts) for key, parts in x.items()} for x in (maps, chain))
    streams = tuple(stream for stream in streams if stream.kind != "adjacent")
    return Sample(allowed, fold, owner, tests, streams, maps, chain)


def counted(batch, owner, streams, night, evidence):
    """Yield each stream with its counts."""
    with_kernel = [stream for stream in streams if stream.kind != "contrast"]
    counts = count_events(batch, with_kernel, night=night)
    yield from ((stream, count) for stream, (_, count) in zip(with_kernel, counts, strict=True))
    for stream in streams:
        if stream.kind == "contrast":
            column = evidence.columns[stream.reference]
            fainter = (column.state == State.NONE)[owner]
            reference = np.where(column.state == State.MEASURED, column.value, np.nan)[owner]
            reference = np.where(fainter, stream.limit, reference)
            yield stream, count_contrast(batch, stream, reference, fainter)


def made_map(counts, grid, way):
    """Square-root maps of a batch, shape (n, cells)."""
    if way == NO_ERRORS:
        return stream_map(counts.sum(axis=2, keepdims=True), replace(grid, n_errors=1))
    if way == NO_SMOOTHING:
        counts = counts.reshape(*counts.shape[:3], -1, 2).sum(axis=-1)
        total = counts.sum(axis=-1, keepdims=True)
        frequency = counts / np.where(total > 0, total, 1.0)
        return (np.sqrt(frequency) * np.minimum(np.sqrt(total / FULL_ROW), 1.0)).reshape(len(counts), -1)
    return stream_map(counts, grid)


def chosen_streams(sample, configuration):
    """Streams with the weights of their maps."""
    streams = [
        stream
        for stream in sample.streams
        if (stream.trained and stream.kind != "contrast") or stream.name.startswith(configuration.extra)
    ]
    # An empty tuple is no beginning of a name.
    streams = [stream for stream in streams if not stream.name.startswith(configuration.without)]
    return [(stream, 1.0 if configuration.equal else stream.weight) for stream in streams]


def trained(sample, configuration):
    """Held-out probabilities of the trained expert, {length: (n, K)}."""
    rows = np.arange(len(sample.owner) if configuration.thinned else len(sample.allowed))
    owner = sample.owner[rows]
    weights = version_weights(owner, len(sample.allowed))
    default = [weight for _, weight in chosen_streams(sample, CONFIGURATIONS["crts"][0])]
    streams = chosen_streams(sample, configuration)
    # The mean squared norm of the default, whatever the streams.
    norm = np.sqrt(np.mean(np.square(default)) / np.sum([weight**2 for _, weight in streams]))
    maps = [sample.maps[configuration.maps, stream] for stream, _ in streams]
    factors = [
        weight * norm / map_scale(x[rows], weights) for x, (_, weight) in zip(maps, streams, strict=True)
    ]
    stacked = np.concatenate([x * np.float32(f) for x, f in zip(maps, factors, strict=True)], axis=1)
    features = KernelFeatures.fit(stacked[rows], weights, seed=configuration.seed).features(stacked)
    found = {k: np.zeros(sample.allowed.shape) for k in LENGTHS}
    for number in range(N_FOLDS):
        train, test = rows[sample.fold[owner] != number], sample.fold == number
        model = KernelLogistic.fit(
            features[train], sample.allowed[sample.owner[train]], weights[train], precision=PRECISIONS[0]
        )
        for k, at in sample.tests.items():
            found[k][test] = np.exp(model.log_posterior(features[at[test]]))
    return found


def pair_chain(sample, *, errors):
    """Held-out probabilities of the chains of neighbouring pairs alone, {length: (n, K)}."""
    n_versions = len(sample.owner)
    weights = version_weights(sample.owner, len(sample.allowed))
    allowed = sample.allowed[sample.owner]
    membership = allowed * (weights / allowed.sum(axis=1))[:, None]
    fold = sample.fold[sample.owner]
    owner = np.concatenate([sample.owner, *[np.arange(len(sample.allowed))] * (len(LENGTHS) - 1)])
    evidence = np.zeros((len(owner), sample.allowed.shape[1]))
    events = np.zeros(len(owner))
    for stream, counts in sample.chain.items():
        grid = stream.grid
        response = response_matrix(grid.column_edges, grid.error_centres)
        if not errors:
            response = np.broadcast_to(np.eye(grid.n_columns), response.shape)
        events += counts.sum(axis=(1, 2, 3))
        for number in range(N_FOLDS):
            train = np.flatnonzero(fold != number)
            density = fit_density(
                counts[train],
                membership[train],
                response,
                row_shape=grid.row_shape,
                groups=sample.owner[train],
            )
            test = sample.fold[owner] == number
            evidence[test] += log_likelihood(counts[test], density)
    found = {k: np.zeros(sample.allowed.shape) for k in LENGTHS}
    for number in range(N_FOLDS):
        train, test = np.flatnonzero(fold != number), sample.fold == number
        frequency = membership[train].sum(axis=0) + 0.5
        pool = Pool.fit(
            {"chain": evidence[:n_versions][train]},
            {"chain": events[:n_versions][train]},
            allowed[train],
            weights[train],
            np.log(frequency / frequency.sum()),
            n_draws=0,
        )
        for k, at in sample.tests.items():
            terms = pool.terms({"chain": evidence[at[test]]}, {"chain": events[at[test]]})
            found[k][test] = probabilities(terms)
    return found


def compare(data, options):
    """Run all configurations of a data set, print its table and write it."""
    start = time.perf_counter()
    sample = read_sample(data, options)
    print(f"{len(sample.owner)} versions counted ({time.perf_counter() - start:.0f} s)", flush=True)
    table = Table()
    runs = {c.name: (lambda c=c: trained(sample, c), "default") for c in CONFIGURATIONS[data]}
    if sample.chain:
        forward, ignored = "pair chain alone, errors forward", "pair chain alone, errors ignored"
        runs[forward] = (lambda: pair_chain(sample, errors=True), None)
        runs[ignored] = (lambda: pair_chain(sample, errors=False), forward)
    for name, (run, against) in runs.items():
        start = time.perf_counter()
        found = run()
        table.add(name, found, sample, time.perf_counter() - start, None if against == name else against)
    text = f"### {data}, {sample.single.sum()} objects\n\n{table.markdown()}"
    print("\n" + text, flush=True)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{data}_ingredients.md").write_text(text)
        pd.DataFrame(table.rows).to_csv(options.out / f"{data}_ingredients.csv", index=False)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", default=sorted(RECIPES), help=" or ".join(sorted(RECIPES)))
    parser.add_argument("--versions", type=int, default=5, help="thinned versions an object, at most")
    parser.add_argument("--objects", type=int, help="a random part of the objects only, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for name in options.data:
        compare(name, options)


if __name__ == "__main__":
    main()
