"""Credible intervals of class probabilities against known truth: coverage, widths, interval scores, ranks.

Networks whose truth is known are drawn, objects simulated, a network fitted, and the intervals of
p(class | evidence) of new objects compared with the exact posterior. The class prior is the true one: the
network's draws are of its likelihood, and class frequencies are not among its parameters.
Run: python benchmarks/interval_coverage.py [--networks N] [--family NAME ...] [--out coverage.json]
"""

import argparse
import json
import time
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.stats import gamma

from bayesclass.network import BayesianNetwork, JointSpec, NetworkSpec
from context.evidence import Condition, EvidenceSpec, EvidenceTable

CLASSES = ("A", "B", "C")
FREQUENCY = np.array([0.6, 0.3, 0.1])
SIZES = (50, 200, 1000)
N_TESTED = 150
LEVELS = (0.5, 0.9)
RANKS = 8
SIZES_OF_P = (0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)
SEARCHED = Condition("searched", True)


def categorical(rng, *, kind, tree, partial=0.0):
    """Four columns of four states; tables scattered about pooled ones, sparse ones, or nearly alike."""
    n_states, names = 4, ["a", "b", "c", "d"]
    concentration = {"prior": 3.0, "sparse": 1.0, "smooth": 40.0}[kind]
    pooled = rng.dirichlet(np.ones(n_states), size=4)
    if kind == "sparse":
        pooled = np.full((4, n_states), 0.25)
    shape = (3, n_states) if tree else (3, 1)
    tables = [rng.dirichlet(concentration * mean + 1e-3, size=shape) for mean in pooled]
    # The last column may be "none": searched and nothing found.
    none = rng.beta(1.0, 2.0, 3)
    edges = tuple(pairwise(names)) if tree else ()
    specs = tuple(
        EvidenceSpec(
            name, "categorical", column=name, states=tuple("wxyz"), covered=SEARCHED if name == "d" else None
        )
        for name in names
    )

    def simulate(y):
        n = len(y)
        state = np.zeros((n, 4), int)
        for j, table in enumerate(tables):
            parent = state[:, j - 1] if tree and j else np.zeros(n, int)
            state[:, j] = (rng.random((n, 1)) > table[y, parent].cumsum(axis=1)).sum(axis=1).clip(0, 3)
        known = rng.random((n, 4)) < (1.0 if tree else 0.7)
        searched = rng.random(n) < 0.8
        nothing = rng.random(n) < none[y]
        log_likelihood = np.zeros((n, 3))
        for j, table in enumerate(tables):
            parent = state[:, j - 1] if tree and j else np.zeros(n, int)
            own = np.log(table[:, parent, state[:, j]].T)
            if j == 3:
                own = np.where(nothing[:, None], np.log(none), own + np.log1p(-none)) * searched[:, None]
            else:
                own = own * known[:, j, None]
            log_likelihood += own
        frame = pd.DataFrame({"object_id": np.arange(n).astype(str), "searched": searched})
        for j, name in enumerate(names):
            shown = searched & ~nothing if j == 3 else known[:, j]
            frame[name] = np.where(shown, np.array(list("wxyz"))[state[:, j]], None)
        return frame, log_likelihood

    return NetworkSpec(class_states=CLASSES, edges=edges), specs, simulate, partial


def mixture(rng, shape):
    """Weights, means and standard deviations of a density of one column."""
    place, width = rng.normal(0.0, 1.2), np.exp(rng.normal(0.0, 0.3))
    if shape == "bimodal":
        distance, share = rng.uniform(1.5, 3.0) * width, rng.uniform(0.3, 0.7)
        return np.array(
            [[share, 1 - share], [place - distance, place + distance], [0.8 * width, 0.8 * width]]
        )
    if shape == "skewed":
        k = np.arange(8)
        side = rng.choice([-1, 1])
        return np.array(
            [0.65**k / (0.65**k).sum(), place + side * width * 1.1 * (1.35**k - 1), 0.45 * width * 1.3**k]
        )
    if shape == "student":
        precision = gamma(1.5, scale=1 / 1.5).ppf((np.arange(40) + 0.5) / 40)
        return np.array([np.full(40, 1 / 40), np.full(40, place), width / np.sqrt(precision)])
    return np.array([[1.0], [place], [width]])


def continuous(rng, *, shape, error=0.0, mixed=False):
    """Two columns with the densities of `shape`, a constant error; with two categorical ones where mixed."""
    truth = [[mixture(rng, shape) for _ in CLASSES] for _ in range(2)]
    specs = tuple(
        EvidenceSpec(name, "continuous", column=name, error=f"{name}_err" if error else None) for name in "uv"
    )
    _, more, simulate_more, _ = categorical(rng, kind="prior", tree=False)

    def simulate(y):
        n = len(y)
        frame = pd.DataFrame({"object_id": np.arange(n).astype(str)})
        log_likelihood = np.zeros((n, 3))
        if mixed:
            frame, log_likelihood = simulate_more(y)
        for name, densities in zip("uv", truth, strict=True):
            value = np.zeros(n)
            for c, (weight, mean, sigma) in enumerate(densities):
                own = y == c
                k = rng.choice(len(weight), own.sum(), p=weight / weight.sum())
                value[own] = rng.normal(mean[k], np.hypot(sigma[k], error))
            known = rng.random(n) < 0.9
            for c, (weight, mean, sigma) in enumerate(densities):
                wide = np.hypot(sigma, error)
                terms = weight * np.exp(-0.5 * ((value[:, None] - mean) / wide) ** 2) / wide
                log_likelihood[:, c] += np.where(known, np.log(terms.sum(axis=1)), 0.0)
            frame[name], frame[f"{name}_err"] = np.where(known, value, np.nan), error
        return frame, log_likelihood

    return NetworkSpec(class_states=CLASSES), (*specs, *(more if mixed else ())), simulate, 0.0


def joint(rng, *, components, apart=1.2, known=1.0):
    """Three correlated columns, a mixture of Gaussians for each class, described by a joint density.

    The means scatter by `apart`: at 1.2 few objects are in doubt, at 0.4 most are. A cell is measured with
    probability `known`.
    """
    truth = []
    # What all classes have in common, as the columns of a host galaxy have.
    common = 0.6 * rng.normal(size=(3, 1)) if apart < 1.0 else np.zeros((3, 1))
    for _ in CLASSES:
        root = 0.3 * rng.normal(size=(components, 3, 3)) + 0.8 * np.eye(3)
        covariance = root @ root.swapaxes(1, 2) + common @ common.T
        truth.append((rng.normal(0.0, apart, (components, 3)), covariance))
    specs = tuple(EvidenceSpec(name, "continuous", column=name) for name in "uvw")

    def simulate(y):
        value = np.zeros((len(y), 3))
        log_likelihood = np.zeros((len(y), 3))
        k = rng.integers(components, size=len(y))
        for i, c in enumerate(y):
            value[i] = rng.multivariate_normal(truth[c][0][k[i]], truth[c][1][k[i]])
        measured = rng.random(value.shape) < known if known < 1.0 else np.ones(value.shape, bool)
        for pattern in np.unique(measured, axis=0):
            rows = (measured == pattern).all(axis=1)
            if not pattern.any():
                continue
            for c, (mean, covariance) in enumerate(truth):
                shown = covariance[:, pattern][:, :, pattern]
                difference = value[rows][:, None, pattern] - mean[:, pattern]
                distance = np.einsum("nki,kij,nkj->nk", difference, np.linalg.inv(shown), difference)
                terms = np.exp(-0.5 * distance) / np.sqrt(np.linalg.det(shown))
                log_likelihood[rows, c] = np.log(np.maximum(terms.mean(axis=1), 1e-300))
        value = np.where(measured, value, np.nan)
        frame = pd.DataFrame(value, columns=list("uvw"))
        frame["object_id"] = np.arange(len(y)).astype(str)
        return frame, log_likelihood

    block = JointSpec("block", ("u", "v", "w"), 4)
    return NetworkSpec(class_states=CLASSES, joint=(block,)), specs, simulate, 0.0


FAMILIES = {
    "naive, prior": (categorical, {"kind": "prior", "tree": False}),
    "naive, sparse": (categorical, {"kind": "sparse", "tree": False}),
    "naive, smooth": (categorical, {"kind": "smooth", "tree": False}),
    "naive, partial labels": (categorical, {"kind": "prior", "tree": False, "partial": 0.2}),
    "tree, prior": (categorical, {"kind": "prior", "tree": True}),
    "tree, sparse": (categorical, {"kind": "sparse", "tree": True}),
    "Gaussian": (continuous, {"shape": "gaussian"}),
    "Gaussian, errors": (continuous, {"shape": "gaussian", "error": 0.4}),
    "skewed": (continuous, {"shape": "skewed"}),
    "bimodal": (continuous, {"shape": "bimodal"}),
    "Student": (continuous, {"shape": "student"}),
    "mixed": (continuous, {"shape": "gaussian", "mixed": True}),
    "joint, Gaussian": (joint, {"components": 1}),
    "joint, two components": (joint, {"components": 2}),
    "joint, overlapping": (joint, {"components": 1, "apart": 0.4}),
    "joint, overlapping, gaps": (joint, {"components": 2, "apart": 0.5, "known": 0.7}),
}


def normalised(log_likelihood):
    logs = log_likelihood + np.log(FREQUENCY)
    p = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def one_network(name, n, seed, n_draws):
    """Return the true, fitted and drawn probabilities, shapes (n_tested, 3) and (n_draws, n_tested, 3)."""
    rng = np.random.default_rng(seed)
    build, options = FAMILIES[name]
    spec, specs, simulate, partial = build(rng, **options)
    y = rng.choice(3, n, p=FREQUENCY)
    allowed = np.eye(3, dtype=bool)[y]
    allowed[(rng.random(n) < partial) & (y > 0), 1:] = True
    frame, _ = simulate(y)
    network = BayesianNetwork.fit(
        spec, EvidenceTable.from_frame(frame, specs), allowed, n_draws=n_draws, seed=seed
    )
    tested, truth = simulate(rng.choice(3, N_TESTED, p=FREQUENCY))
    table = EvidenceTable.from_frame(tested, specs)
    drawn = network.log_likelihood_draws(table).astype(float)
    return normalised(truth), normalised(network.log_likelihood(table)), normalised(drawn)


def measure(name, n, *, n_networks, n_draws=32):
    """Coverage with its standard error over networks, widths, interval scores, ranks of one family and size.

    The score is width + 2/alpha (distance outside): Gneiting & Raftery (2007), JASA 102, 359, Eq. 43.
    Quantiles are at position level * (n_draws + 1), where a further draw falls below with that probability.
    """
    runs = [one_network(name, n, seed, n_draws) for seed in range(n_networks)]
    truth = np.array([run[0] for run in runs])
    fitted = np.array([run[1] for run in runs])
    result = {
        "family": name,
        "n": n,
        "networks": n_networks,
        "rmse": float(np.sqrt(((fitted - truth) ** 2).mean())),
    }
    for level in LEVELS:
        alpha = 1.0 - level
        ends = [np.quantile(run[2], [alpha / 2, 1 - alpha / 2], axis=0, method="weibull") for run in runs]
        low, high = np.array(ends).swapaxes(0, 1)
        # float32 likelihoods: a probability is not known better than that.
        inside = (truth >= low * (1 - 1e-5) - 1e-9) & (truth <= high * (1 + 1e-5) + 1e-9)
        outside = np.maximum(low - truth, 0.0) + np.maximum(truth - high, 0.0)
        held = inside.mean(axis=(1, 2))
        size = np.digitize(fitted, SIZES_OF_P[1:-1])
        result[f"{level:g}"] = {
            "coverage": float(held.mean()),
            "standard_error": float(held.std(ddof=1) / np.sqrt(n_networks)),
            "binomial_error": float(np.sqrt(level * (1 - level) / (n_networks * N_TESTED))),
            "by_class": inside.mean(axis=(0, 1)).tolist(),
            "by_size_of_p": [
                float(inside[size == i].mean()) if (size == i).any() else None for i in range(6)
            ],
            "width": float((high - low).mean()),
            "width_by_class": (high - low).mean(axis=(0, 1)).tolist(),
            "score": float((high - low + 2.0 / alpha * outside).mean()),
        }
    rank = np.concatenate([(run[2] < run[0]).mean(axis=0).ravel() for run in runs])
    result["ranks"] = np.histogram(rank, bins=RANKS, range=(0, 1))[0].tolist()
    return result


def line(r):
    wide, half = r["0.9"], r["0.5"]
    parts = [f"{r['family']:26s}{r['n']:5d}"]
    parts += [f"{k['coverage']:.3f} +- {k['standard_error']:.3f}" for k in (half, wide)]
    parts += [" ".join(f"{x:.2f}" for x in wide["by_class"])]
    parts += [" ".join("  - " if x is None else f"{x:.2f}" for x in wide["by_size_of_p"])]
    parts += [f"{wide['width']:.3f}  {half['score']:.3f}  {wide['score']:.3f}  {r['rmse']:.3f}"]
    return " | ".join(parts)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=20, help="networks of each family and size")
    parser.add_argument("--draws", type=int, default=32)
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", help="JSON file for all numbers")
    arguments = parser.parse_args()
    print("aim: .50 and .90, within .03")
    print("family, objects | 50 % | 90 % | 90 % by class | by p: <.01 <.1 <.5 <.9 <.99 | width, scores, rmse")
    results, start = [], time.perf_counter()
    for name in arguments.family:
        for n in arguments.sizes:
            results.append(measure(name, n, n_networks=arguments.networks, n_draws=arguments.draws))
            print(line(results[-1]), flush=True)
    print(f"{time.perf_counter() - start:.0f} s")
    if arguments.out:
        with open(arguments.out, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
