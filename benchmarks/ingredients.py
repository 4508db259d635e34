"""What each ingredient of the structure-function classifier gives, by leaving one out at a time.

Usage: python benchmarks/ingredients.py [crts] [ztf_bts] [--versions 5] [--objects N] [--seed 0] [--out DIR]

The default is the trained expert alone, on all trained streams of the recipe but the contrast to an archival
magnitude, which is context. Events are counted once. For each configuration, kernel features are learned once
from all light curves, because they use no label, and the classifier is fitted on four folds and scored on the
fifth, whose objects are tested at full length and thinned at random. The precision of the prior is fixed.

All configurations have the same folds, versions and thinnings, and maps of the same mean squared norm, so
that a stream less is no wider kernel. Changes are paired by object. Their standard errors, from a bootstrap
over objects, know nothing of the luck of a fit; for that, one row has other axes and landmarks.

The pair chain is scored alone, with a temperature that depends on the number of events: fitted and scored
with each pair's own error, or as a density of observed differences, whatever their errors.
"""

import argparse
import os
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.folds import identical_light_curves, stratified_folds
from bayesclass.pool import Pool
from bayesclass.recipe import Recipe
from bayesclass.rehearsal import probabilities
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
WAYS = USUAL, NO_ERRORS, NO_SMOOTHING = "usual", "without error bins", "without smoothing"


@dataclass(frozen=True)
class Configuration:
    """What the trained expert is given."""

    without: tuple[str, ...] = ()  # beginnings of names of streams
    extra: tuple[str, ...] = ()  # the same, of streams that the default has not
    maps: str = USUAL
    equal: bool = False  # streams of equal weight
    thinned: bool = True
    seed: int = 0


DEFAULT = Configuration()
FIRST = {
    "default": DEFAULT,
    "default, other landmarks": Configuration(seed=1),
    "without error bins": Configuration(maps=NO_ERRORS),
}
LAST = {
    "without smoothing of maps": Configuration(maps=NO_SMOOTHING),
    "without thinned versions": Configuration(thinned=False),
}
CRTS = {
    "without scaled pairs": Configuration(without=("scaled pairs",)),
    "without scaled pairs and error bins": Configuration(without=("scaled pairs",), maps=NO_ERRORS),
    "without nightly streams": Configuration(without=("nightly", "triplets")),
    "without triplets": Configuration(without=("triplets",)),
    "without peak streams": Configuration(without=("peak", "nightly peak")),
    "without magnitude": Configuration(without=("magnitude",)),
    "equal stream weights": Configuration(equal=True),
}
ARCHIVE = {"with contrast to the archive": Configuration(extra=("contrast",))}
ACROSS, CROSS_PEAK = ("pairs g-r", "pairs r-g"), ("r from g", "g from r")
ZTF = {
    "without pairs and peaks across bands": Configuration(without=ACROSS + CROSS_PEAK),
    "without peak streams": Configuration(without=("peak", *CROSS_PEAK)),
    "with triplets": Configuration(extra=("triplets",)),
    "with magnitude": Configuration(extra=("magnitude",)),
}
CONFIGURATIONS = {"crts": FIRST | CRTS | LAST | ARCHIVE, "ztf_bts": FIRST | ZTF | LAST}
CHAINS = ("crts",)  # data sets of which the pair chain is scored, too


class Sample(NamedTuple):
    """Labelled objects with at least one point, their versions and what is counted of them."""

    allowed: np.ndarray  # (n, K) bool
    label: np.ndarray  # (n,) the class; -1 where several are allowed
    fold: np.ndarray  # (n,)
    owner: np.ndarray  # (n_versions,), the first n are the objects at full length
    tests: dict  # length -> rows of the n objects, among the rows of all maps
    streams: list
    maps: dict  # way, stream -> (n_rows, cells)
    chain: dict  # stream of neighbours -> (n_rows, rows, errors, columns)


def scored(probability, sample, against):
    """Losses of each object, {length: (n_single,)}, and a row of the table with the change from others."""
    single = np.flatnonzero(sample.label >= 0)
    y = sample.label[single]
    losses = {k: metrics.log_losses(p[single], y, floor=1e-12) for k, p in probability.items()}
    row = {k: loss.mean() for k, loss in losses.items()}
    for k in CHANGES if against else ():
        change = losses[k] - against[k]
        mean = {"change": partial(metrics.weighted_mean, change)}
        resampled = metrics.bootstrap(mean, len(change), np.random.default_rng(0), N_RESAMPLES)
        row |= {f"change, {k}": change.mean(), f"error, {k}": resampled["change"].std(ddof=1)}
    return losses, row


def markdown(rows):
    """One row a configuration, for the documentation."""
    head = ["configuration", *(f"log-loss, {k}" for k in LENGTHS), *(f"change, {k}" for k in CHANGES)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, row in rows.items():
        cells = [name, *(f"{row[k]:.3f}" for k in LENGTHS)]
        changes = [(row.get(f"change, {k}"), row.get(f"error, {k}")) for k in CHANGES]
        cells += ["" if change is None else f"{change:+.3f} ± {error:.3f}" for change, error in changes]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def read_sample(data, options):
    """Read, thin and count."""
    folder = Path(os.environ.get("BAYESCLASS_DATA", "../shared/data")) / data
    recipe = Recipe.load(RECIPES[data])
    objects = read_objects(folder / "objects.csv")
    allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
    ids = objects["object_id"].to_numpy(dtype=str)
    wanted = {"channels": recipe.light_curves.channels, "object_ids": ids}
    curves = read_light_curves(folder / "lightcurves.parquet", **wanted)
    curves = curves.take_objects(pd.Index(curves.object_id).get_indexer(pd.Index(ids)))
    evidence = EvidenceTable.from_frame(objects, recipe.evidence, object_ids=ids)
    use = np.flatnonzero(allowed.any(axis=1) & (curves.n_detections > 0))
    unseen = allowed.any(axis=1).sum() - len(use)
    print(f"{data}: {len(use)} objects; {unseen} labelled ones without a point left out")
    rng = np.random.default_rng(options.seed)
    if options.objects:
        use = np.sort(rng.permutation(use)[: options.objects])
    curves, allowed, evidence = curves.take_objects(use), allowed[use], evidence.take(use)
    versions, owner = thinned_versions(curves, rng, versions=options.versions)
    n = len(use)
    batches = [(versions, owner)] + [(thin_to(curves, k, rng), np.arange(n)) for k in LENGTHS[1:]]
    starts = [0, *(len(owner) + i * n for i in range(len(LENGTHS) - 1))]
    tests = {k: start + np.arange(n) for k, start in zip(LENGTHS, starts, strict=True)}
    extra = tuple(name for configuration in CONFIGURATIONS[data].values() for name in configuration.extra)
    chains = ("adjacent",) if data in CHAINS else ()
    streams = runtime_streams(recipe.streams)
    streams = [s for s in streams if s.trained or s.name.startswith(extra) or s.kind in chains]
    maps, chain = {}, {}
    for batch, owners in batches:
        for stream, counts in counted(batch, owners, streams, recipe.light_curves.night, evidence):
            if stream.kind in chains:
                chain.setdefault(stream, []).append(counts)
            for way in WAYS if stream.kind not in chains else ():
                maps.setdefault((way, stream), []).append(made_map(counts, stream.grid, way))
    label = np.where(allowed.sum(axis=1) == 1, allowed.argmax(axis=1), -1)
    fold = stratified_folds(label, identical_light_curves(curves), N_FOLDS, rng)
    maps, chain = ({key: np.concatenate(parts) for key, parts in x.items()} for x in (maps, chain))
    streams = [s for s in streams if s.kind not in chains]
    return Sample(allowed, label, fold, owner, tests, streams, maps, chain)


def counted(batch, owner, streams, night, evidence):
    """Yield each stream with its counts."""
    with_kernel = [stream for stream in streams if stream.kind != "contrast"]
    counts = count_events(batch, with_kernel, night=night)
    yield from ((stream, count) for stream, (_, count) in zip(with_kernel, counts, strict=True))
    for stream in streams:
        if stream.kind == "contrast":
            column = evidence.columns[stream.reference]
            fainter = (column.state == State.NONE)[owner]
            value = np.where(column.measured, column.value, np.nan)[owner]
            yield stream, count_contrast(batch, stream, np.where(fainter, stream.limit, value), fainter)


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
    usual = [s for s in sample.streams if s.trained and s.kind != "contrast"]
    streams = [s for s in sample.streams if s in usual or s.name.startswith(configuration.extra)]
    streams = [s for s in streams if not s.name.startswith(configuration.without)]
    return [(s, 1.0 if configuration.equal else s.weight) for s in streams]


def trained(sample, configuration):
    """Held-out probabilities of the trained expert, {length: (n, K)}."""
    rows = np.arange(len(sample.owner) if configuration.thinned else len(sample.allowed))
    owner = sample.owner[rows]
    weights = version_weights(owner, len(sample.allowed))
    default = [weight for _, weight in chosen_streams(sample, DEFAULT)]
    streams = chosen_streams(sample, configuration)
    # The mean squared norm of the default, whatever the streams.
    norm = np.sqrt(np.mean(np.square(default)) / np.sum([weight**2 for _, weight in streams]))
    maps = []
    for stream, weight in streams:
        x = sample.maps[configuration.maps, stream]
        maps.append(x * np.float32(weight * norm / map_scale(x[rows], weights)))
    stacked = np.concatenate(maps, axis=1)
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
    ((stream, counts),) = sample.chain.items()
    weights = version_weights(sample.owner, len(sample.allowed))
    allowed, fold = sample.allowed[sample.owner], sample.fold[sample.owner]
    membership = allowed * (weights / allowed.sum(axis=1))[:, None]
    response = response_matrix(stream.grid.column_edges, stream.grid.error_centres)
    if not errors:
        response = np.broadcast_to(np.eye(stream.grid.n_columns), response.shape)
    # The versions, then the thinned test curves.
    fold_of_row = np.concatenate([fold, np.tile(sample.fold, len(LENGTHS) - 1)])
    evidence, size = np.zeros((len(counts), allowed.shape[1])), counts.sum(axis=(1, 2, 3))
    for number in range(N_FOLDS):
        train, test = np.flatnonzero(fold != number), fold_of_row == number
        options = {"row_shape": stream.grid.row_shape, "groups": sample.owner[train]}
        density = fit_density(counts[train], membership[train], response, **options)
        evidence[test] = log_likelihood(counts[test], density)
    found = {k: np.zeros(sample.allowed.shape) for k in LENGTHS}
    for number in range(N_FOLDS):
        train, test = np.flatnonzero(fold != number), sample.fold == number
        log_prior = np.log(membership[train].sum(axis=0) + 0.5)
        pieces = {"chain": evidence[train]}, {"chain": size[train]}, allowed[train], weights[train]
        pool = Pool.fit(*pieces, log_prior - np.logaddexp.reduce(log_prior), n_draws=0)
        for k, at in sample.tests.items():
            terms = pool.terms({"chain": evidence[at[test]]}, {"chain": size[at[test]]})
            found[k][test] = probabilities(terms)
    return found


def compare(data, options):
    """Run all configurations of a data set, print its table and write it."""
    start = time.perf_counter()
    sample = read_sample(data, options)
    print(f"{len(sample.owner)} versions counted ({time.perf_counter() - start:.0f} s)", flush=True)
    runs = {k: partial(trained, sample, c) for k, c in CONFIGURATIONS[data].items()}
    against = dict.fromkeys(list(runs)[1:], "default")
    if sample.chain:
        names = [f"pair chain alone, errors {how}" for how in ("forward", "ignored")]
        runs |= {name: partial(pair_chain, sample, errors=i == 0) for i, name in enumerate(names)}
        against[names[1]] = names[0]
    losses, rows = {}, {}
    for name, run in runs.items():
        start = time.perf_counter()
        losses[name], rows[name] = scored(run(), sample, losses.get(against.get(name)))
        print(f"{name}: {rows[name]['all']:.3f} ({time.perf_counter() - start:.0f} s)", flush=True)
    text = f"### {data}, {(sample.label >= 0).sum()} objects\n\n{markdown(rows)}"
    print("\n" + text, flush=True)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{data}_ingredients.md").write_text(text)
        pd.DataFrame(rows).T.to_csv(options.out / f"{data}_ingredients.csv", index_label="configuration")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
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
