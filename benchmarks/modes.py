"""Latent modes a class and object-to-object scatter, beside single tables, cross-validated on labelled data.

Usage: python benchmarks/modes.py [crts] [ztf_bts] [--folds 5] [--seed 0] [--versions 2] [--beside]
           [--out DIR]

Every object is held out once. Tables, modes and the trained expert are fitted on full and thinned versions of
the other objects; log-losses are those of held-out objects at full length and thinned at random, as in
cross_validation.py. Weights a (1 + n)^b of every likelihood, and of every pool, are fitted on the held-out
evidence of the other folds' versions. No context is used.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.experts import LightCurveExperts
from bayesclass.folds import identical_light_curves, stratified_folds
from bayesclass.pool import Pool
from bayesclass.recipe import Recipe
from bayesclass.rehearsal import EXPECTED_WEIGHTS, probabilities
from bayesclass.representation import Described, Representation, runtime_streams
from bayesclass.tables import read_light_curves, read_objects
from bayesclass.training import version_weights
from structurefn.counting import count_events
from structurefn.likelihood import log_likelihood
from structurefn.modes_fit import fit_modes
from structurefn.stream_density import class_density
from structurefn.thinning import thin_to, thinned_versions

RECIPES = {"crts": "crts-transients", "ztf_bts": "ztf-supernovae"}
LENGTHS = (None, 40, 20, 10, 5)
# Family -> kinds of streams, all of one mode.
FAMILIES = {
    "chain": ("adjacent",),
    "triplets": ("triplets",),
    "all pairs": ("pairs",),
    "families": ("pairs", "scaled-pairs", "level", "scaled-level", "peak", "cross-peak"),
}
VARIANTS = {
    "1 table": None,
    "modes": {},
    "scatter": {"n_modes": 1, "dirichlet": True},
    "modes + scatter": {"n_modes": 6, "dirichlet": True, "n_starts": 1},
}
# With --beside: the likelihoods of the default model, and the families beside them.
BESIDE_FAMILIES = {
    "chain": ("adjacent",),
    "triplets": ("triplets",),
    "magnitude": ("magnitude",),
    "families": FAMILIES["families"],
}
BESIDE_VARIANTS = {"1 table": None, "modes": {"n_modes": 8, "n_starts": 1}}
# Events of composite families share points, so that scatter alone leaves them too narrow.
COMPOSITE = ("all pairs", "families")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=sorted(RECIPES), help=" or ".join(sorted(RECIPES)))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--versions", type=int, default=2, help="thinned versions an object, for training")
    parser.add_argument(
        "--beside", action="store_true", help="only families beside the default's likelihoods"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for name in options.data:
        table = Study(name, options).run()
        print(f"\n{name}\n{table.round(3).to_string(index=False)}")
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            table.to_csv(options.out / f"modes_{name}{'_beside' * options.beside}.csv", index=False)


class Study:
    """One data set: counted versions, held-out evidence, and what pools make of it."""

    def __init__(self, data, options):
        self.options, self.start = options, time.perf_counter()
        self.families = BESIDE_FAMILIES if options.beside else FAMILIES
        self.variants = BESIDE_VARIANTS if options.beside else VARIANTS
        folder = Path(os.environ.get("BAYESCLASS_DATA", "../shared/data")) / data
        recipe = Recipe.load(RECIPES[data])
        objects = read_objects(folder / "objects.csv")
        allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
        objects, allowed = objects[allowed.any(axis=1)], allowed[allowed.any(axis=1)]
        curves = read_light_curves(folder / "lightcurves.parquet", channels=recipe.light_curves.channels)
        ids = pd.Index(objects["object_id"].to_numpy(dtype=str))
        curves = curves.take_objects(pd.Index(curves.object_id).get_indexer(ids))
        rng = np.random.default_rng(options.seed)
        single = allowed.sum(axis=1) == 1
        stratum = np.where(single, allowed.argmax(axis=1), -1)
        self.fold = stratified_folds(stratum, identical_light_curves(curves), options.folds, rng)
        versions, self.owner = thinned_versions(curves, rng, versions=options.versions)
        self.n, self.n_versions = len(allowed), versions.n_objects
        self.allowed, self.weights = allowed, version_weights(self.owner, self.n)
        self.single, self.truth = np.flatnonzero(single), stratum[single]
        self.streams, night = runtime_streams(recipe.streams), recipe.light_curves.night
        blind, described = Representation.fit(self.streams, versions, self.weights, night=night, seed=0)
        tests = [thin_to(curves, length, rng) for length in LENGTHS[1:]]
        self.features = np.concatenate([described.features, *(blind.describe(t).features for t in tests)])
        counted = [dict(count_events(batch, self.streams, night=night)) for batch in (versions, *tests)]
        self.counts = {
            name: np.concatenate([part.pop(name) for part in counted]) for name in list(counted[0])
        }
        self.n_detections = np.concatenate([batch.n_detections for batch in (versions, *tests)])
        # The object of each row of the batch: versions, then the test lengths one after the other.
        self.row_owner = np.concatenate([self.owner, np.tile(np.arange(self.n), len(LENGTHS) - 1)])
        self.say(f"{self.n} objects, {self.n_versions} versions counted")

    def say(self, text):
        """Print with the seconds since the start."""
        print(f"{time.perf_counter() - self.start:6.0f} s  {text}", flush=True)

    def run(self):
        """Log-loss of every pool by number of points."""
        evidence = self.held_out()
        losses = {}
        for names in self.pools(evidence):
            p = self.cross_fitted_pool({name: evidence[name] for name in names})
            losses[" + ".join(names)] = {("all" if k is None else k): self.losses(p, k) for k in LENGTHS}
        reference = "trained + chain, 1 table + triplets, 1 table"
        today = losses[reference + " + magnitude, 1 table" if self.options.beside else reference]
        rows = []
        for name, found in losses.items():
            row = {"pool": name} | {k: values.mean() for k, values in found.items()}
            if name.startswith("trained"):
                # Against the pool of today, object by object: difference and its standard error.
                for k, values in found.items():
                    change = values - today[k]
                    row[f"change, {k}"] = change.mean()
                    row[f"its error, {k}"] = change.std() / np.sqrt(len(change))
            rows.append(row)
        return pd.DataFrame(rows)

    def held_out(self):
        """Log-likelihoods of every row from a fit on the other folds."""
        n_classes = self.allowed.shape[1]
        evidence = {}
        self.sizes = {}
        for k in range(self.options.folds):
            train = np.flatnonzero((self.fold[self.owner] != k) & (self.n_detections[: self.n_versions] > 0))
            test = np.flatnonzero(self.fold[self.row_owner] == k)
            for name, values, size in self.one_fold(train, test):
                evidence.setdefault(name, np.zeros((len(self.row_owner), n_classes)))[test] = values
                self.sizes.setdefault(name, np.zeros(len(self.row_owner)))[test] = size
            self.say(f"fold {k + 1}")
        return evidence

    def one_fold(self, train, test):
        """Names, log-likelihoods of the test rows and their sizes, from a fit on the training rows."""
        groups = self.owner[train]
        allowed, weights = self.allowed[groups], self.weights[train]
        membership = allowed * (weights / allowed.sum(axis=1))[:, None]
        described = Described(self.features[train], {}, self.n_detections[train])
        trained = LightCurveExperts.fit((), described, allowed, weights, groups)
        tested = Described(self.features[test], {}, self.n_detections[test])
        ratio, size = trained.evidence(tested)
        yield "trained", ratio["structure function"], size["structure function"]
        for family, kinds in self.families.items():
            chosen = [stream for stream in self.streams if stream.kind in kinds]
            counts = {s.name: self.counts[s.name][train] for s in chosen}
            held = {s.name: self.counts[s.name][test] for s in chosen}
            size = sum(c.sum(axis=(1, 2, 3)) for c in held.values()).astype(float)
            own = {s.name: class_density(s, counts[s.name], membership, groups) for s in chosen}
            for variant, settings in self.variants.items():
                if settings is None:
                    values = sum(log_likelihood(held[name], own[name]) for name in held)
                else:
                    options = {"groups": groups, "class_densities": own, **settings}
                    if "dirichlet" in settings and family in COMPOSITE:
                        # 16 to 64 is chosen for pairs; choosing it for every stream takes minutes a fold.
                        options |= {"tempering": 0.5, "concentration": 64.0}
                    modes = fit_modes(counts, membership, chosen, **options)
                    values = modes.log_likelihood(held)
                    self.say(f"{family}, {variant}: modes {modes.n_modes.tolist()}")
                yield f"{family}, {variant}", values, size

    def pools(self, evidence):
        """Each likelihood alone, chains together, and both beside the trained expert."""
        if self.options.beside:
            default = ("trained", *(f"{family}, 1 table" for family in ("chain", "triplets", "magnitude")))
            return [default[:3], default, *((*default, f"families, {v}") for v in self.variants)]
        alone = [(name,) for name in evidence]
        chains = [(f"chain, {v}", f"triplets, {v}") for v in VARIANTS]
        composite = [(name,) for name in evidence if name.partition(",")[0] in COMPOSITE]
        beside = [("trained", *names) for names in chains + composite]
        return alone + chains + beside + [("trained", *chains[0], *names) for names in composite[1::4]]

    def cross_fitted_pool(self, evidence):
        """Probabilities of every row from weights fitted on the versions of the other folds."""
        joint = np.zeros((len(self.row_owner), self.allowed.shape[1]))
        sizes = {name: self.sizes[name] for name in evidence}
        expected = {
            name: (0.0, 0.0) if name == "trained" else EXPECTED_WEIGHTS["pair chain"] for name in evidence
        }
        for k in range(self.options.folds):
            train = np.flatnonzero(self.fold[self.owner] != k)
            test = self.fold[self.row_owner] == k
            allowed = self.allowed[self.owner[train]]
            frequency = self.allowed[self.fold != k].sum(axis=0)
            pool = Pool.fit(
                {name: values[train] for name, values in evidence.items()},
                {name: values[train] for name, values in sizes.items()},
                allowed,
                self.weights[train],
                np.log(frequency / frequency.sum()),
                expected=expected,
                n_draws=0,
            )
            part = {name: values[test] for name, values in evidence.items()}
            terms = pool.terms(part, {name: values[test] for name, values in sizes.items()})
            joint[test] = probabilities(terms)
        return joint

    def losses(self, p, length):
        """Log-loss of each object with one label at one length."""
        start = 0 if length is None else self.n_versions + self.n * (LENGTHS.index(length) - 1)
        return metrics.log_losses(p[start + self.single], self.truth)


if __name__ == "__main__":
    main()
