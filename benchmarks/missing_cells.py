"""Missing parents in training, cross-validated: expected counts (EM) beside available cases.

Usage: python benchmarks/missing_cells.py [hosts] [fleet] [supernovae] [rcf] [--hide 0.4]

Sets are those of `network_structure.py`; besides what is missing in them, a share of the cells is hidden at
random, in training and test. In the sets as they are, no missing column has a child that is known, so that
both ways are the same there.
"""

import argparse
import time

import numpy as np
from context_alone import hide, network_probability
from network_structure import CHAIN, NAMES, load

from bayesclass import metrics
from bayesclass.folds import stratified_folds
from bayesclass.network import BayesianNetwork, NetworkSpec

TREE = (
    ("host_mag", "host_photoz"),
    ("host_mag", "host_radius_arcsec"),
    ("host_radius_arcsec", "host_separation_arcsec"),
    ("host_separation_arcsec", "host_pcc"),
    ("host_mag", "host_g_r"),
    ("host_mag", "host_galaxy_probability"),
    ("host_pcc", "host_normalised_separation"),
    ("abs_galactic_latitude", "A_V"),
)


def held_out(table, y, classes, edges, way, folds, seed):
    """Log-loss of each object by networks of the other folds, and the seconds of fitting."""
    fold = stratified_folds(y, np.arange(len(y)), folds, np.random.default_rng(seed))
    spec = NetworkSpec(class_states=classes, edges=edges, missing_cells=way)
    losses, start = np.zeros(len(y)), time.process_time()
    for k in range(folds):
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        counts = np.bincount(y[train], minlength=len(classes)) + 0.5
        allowed = np.eye(len(classes), dtype=bool)[y[train]]
        network = BayesianNetwork.fit(spec, table.take(train), allowed, n_draws=0, seed=seed)
        p = network_probability(network, table.take(test), np.log(counts / counts.sum()))
        losses[test] = metrics.log_losses(p, y[test])
    return losses, time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=list(NAMES), help=" or ".join(NAMES))
    parser.add_argument("--hide", type=float, default=0.4, help="share of the cells hidden")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.data:
        table, y, classes = load(name)
        hidden = np.random.default_rng(options.seed).random((len(y), len(table.columns))) < options.hide
        table = hide(table, hidden)
        for label, edges in (("written edges", CHAIN), ("tree", TREE)):
            edges = tuple(edge for edge in edges if set(edge) <= set(table.columns))
            rows = {
                way: held_out(table, y, classes, edges, way, options.folds, options.seed)
                for way in ("available", "expected")
            }
            gain = rows["expected"][0] - rows["available"][0]
            shown = ", ".join(f"{way} {losses.mean():.4f} ({s:.1f} s)" for way, (losses, s) in rows.items())
            error = gain.std(ddof=1) / np.sqrt(len(gain))
            print(f"{name}, {label}: {shown}; difference {gain.mean():+.4f} +- {error:.4f}", flush=True)


if __name__ == "__main__":
    main()
