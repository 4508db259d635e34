"""Tables of a survey that has few examples of a class: alone, lumped with another survey's, and pooled.

    python benchmarks/pooling.py [--data FOLDER] [--repeats 20]

One class keeps 10 random training examples in the survey under test; everything of the other survey, and half
of the other classes here, is for training, the rest for the test. Evidence that both surveys really have: the
decline after the brightest point, the colour near it, and the offset from the host, each in six states,
joined as independent given the class. Scores are log-losses under equal class priors, averaged by class.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd

from bayesclass.network_tables import smooth_table
from bayesclass.pooling import pool_table

CLASSES = {
    "Ia": ("SN Ia", "SN Ia-91T", "SN Ia-91bg", "Ia", "Ia-91T", "Ia-91bg", "Ia-HV"),
    "II": ("SN II", "SN IIP", "II", "II P", "II-P", "II-P/L"),
    "Ibc": (
        "SN Ib",
        "SN Ic",
        "SN IIb",
        "SN Ib/c",
        "SN Ic-BL",
        "Ib",
        "Ic",
        "IIb",
        "Ib/c",
        "Ic BL",
        "Ib/IIb",
        "BL-Ic",
    ),
    "IIn": ("SN IIn", "IIn"),
    "SLSN": ("SLSN-I", "SLSN-II", "SLSN"),
}
NODES = ("decline 10-20 d", "decline 25-50 d", "colour", "host offset")
N_STATES, N_FEW = 6, 10
RED, GREEN = ("r", "R", "r'"), ("g", "g'")
WAYS = ("alone", "lumped", "pooled")


def evidence(folder: Path) -> pd.DataFrame:
    """Class index and the four numbers of each object of a set; NaN where not measured."""
    objects = pd.read_csv(folder / "objects.csv", dtype={"object_id": str}).set_index("object_id")
    points = pd.read_parquet(folder / "lightcurves.parquet")
    if "upper_limit" in points:
        points = points[~points["upper_limit"].fillna(False).astype(bool)]
    red = points[points["band"].isin(RED)].dropna(subset=["mag"])
    green = points[points["band"].isin(GREEN)].dropna(subset=["mag"])
    peak = red.loc[red.groupby("object_id")["mag"].idxmin()].set_index("object_id")

    def near(frame, low, high):
        """Mean magnitude within days of the brightest red point, relative to it."""
        since = frame["mjd"] - frame["object_id"].map(peak["mjd"])
        inside = frame[(since >= low) & (since <= high)]
        return inside.groupby("object_id")["mag"].mean() - peak["mag"]

    offset = "host_offset_arcsec" if "host_offset_arcsec" in objects else "host_separation_arcsec"
    columns = (near(red, 10, 20), near(red, 25, 50), near(green, -2, 2), objects[offset])
    frame = pd.DataFrame(dict(zip(NODES, columns, strict=True))).reindex(objects.index)
    index = {label: k for k, labels in enumerate(CLASSES.values()) for label in labels}
    frame["class"] = objects["label"].map(index)
    return frame.dropna(subset=["class"]).astype({"class": int})


def states(frames: list[pd.DataFrame]) -> list[np.ndarray]:
    """States of each object and node, -1 where not measured; bins of equal numbers, each survey half."""
    found = [np.full((len(frame), len(NODES)), -1) for frame in frames]
    for j, node in enumerate(NODES):
        quantiles = [frame[node].quantile(np.linspace(0, 1, N_STATES + 1)[1:-1]) for frame in frames]
        edges = np.mean(quantiles, axis=0)
        for values, out in ((frame[node].to_numpy(), out) for frame, out in zip(frames, found, strict=True)):
            out[:, j] = np.where(np.isnan(values), -1, np.searchsorted(edges, values))
    return found


def count(state: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Count the states of one node, shape (N_STATES, n_classes)."""
    counts = np.zeros((N_STATES, len(CLASSES)))
    seen = state >= 0
    np.add.at(counts, (state[seen], label[seen]), 1.0)
    return counts


def tables(own: np.ndarray, other: np.ndarray, seed: int) -> tuple[dict[str, np.ndarray], bool]:
    """Tables of the survey under test in the three ways, and whether the pooled fit converged."""
    pooled = pool_table(
        np.stack([own, other], axis=-1), seed=seed, n_draws=500, n_tune=300, require_convergence=False
    )
    alone, lumped = (smooth_table(x[:, :, None], x).table[:, :, 0] for x in (own, own + other))
    return {"alone": alone, "lumped": lumped, "pooled": pooled.table[:, :, 0]}, pooled.diagnostics.converged


def log_loss(log_table: list[np.ndarray], state: np.ndarray, label: np.ndarray, few: int) -> np.ndarray:
    """Log-loss averaged class by class, and that of the class with few examples, under equal priors."""
    joint = np.zeros((len(label), log_table[0].shape[1]))
    for j, table in enumerate(log_table):
        joint += np.where(state[:, j, None] >= 0, table[state[:, j]], 0.0)
    loss = np.logaddexp.reduce(joint, axis=1) - joint[np.arange(len(label)), label]
    each = np.array([loss[label == k].mean() for k in np.unique(label)])
    return np.array([each.mean(), loss[label == few].mean()])


def one_repeat(own, other, few: int, seed: int) -> tuple[np.ndarray, int]:
    """Scores of the three ways, shape (3, 2), and the number of fits that did not converge."""
    rng = np.random.default_rng(seed)
    (state, label), (other_state, other_label) = own, other
    train = rng.random(len(label)) < 0.5
    members = np.flatnonzero(label == few)
    train[members] = False
    train[rng.choice(members, N_FEW, replace=False)] = True
    logs, failed = {way: [] for way in WAYS}, 0
    for j in range(state.shape[1]):
        made, converged = tables(
            count(state[train, j], label[train]), count(other_state[:, j], other_label), seed
        )
        failed += not converged
        for way in WAYS:
            logs[way].append(np.log(made[way]))
    scores = [log_loss(logs[way], state[~train], label[~train], few) for way in WAYS]
    return np.array(scores), failed


def simulated(kappa: float, seed: int):
    """Two surveys whose tables scatter about common ones by Dirichlet(kappa mu); infinite: not at all."""
    rng = np.random.default_rng(seed)
    mu = rng.dirichlet(np.ones(N_STATES), size=(len(NODES), len(CLASSES)))
    surveys = []
    for n in (400, 200):
        label = np.repeat(np.arange(len(CLASSES)), n)
        table = mu if np.isinf(kappa) else np.array([[rng.dirichlet(kappa * m) for m in x] for x in mu])
        drawn = [[rng.choice(N_STATES, p=table[j, k]) for k in label] for j in range(len(NODES))]
        surveys.append((np.array(drawn).T, label))
    return surveys


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("BAYESCLASS_DATA", "../shared/data"))
    )
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    names, few = ("ztf_bts", "osc"), list(CLASSES).index("II")
    frames = [evidence(arguments.data / name) for name in names]
    sets = list(zip(states(frames), (frame["class"].to_numpy() for frame in frames), strict=True))
    for name, (state, label) in zip(names, sets, strict=True):
        sizes = dict(zip(CLASSES, np.bincount(label, minlength=len(CLASSES)).tolist(), strict=True))
        measured = dict(zip(NODES, (state >= 0).mean(axis=0).round(2).tolist(), strict=True))
        print(f"{name}: {sizes}; measured {measured}")
    cases = {f"{names[k]}, 10 II": (lambda seed, k=k: (sets[k], sets[1 - k])) for k in (0, 1)}
    for kappa, text in ((np.inf, "not at all"), (50.0, "a little"), (3.0, "a lot")):
        cases[f"simulated, surveys differ {text}"] = lambda seed, kappa=kappa: simulated(kappa, seed)
    columns = ("survey under test", "class", *WAYS, "pooled - alone", "pooled - lumped", "not converged")
    print(f"\n| {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|---|---|")
    for case, surveys in cases.items():
        runs = [one_repeat(*surveys(seed), few, seed) for seed in range(arguments.repeats)]
        scores, failed = np.array([run[0] for run in runs]), sum(run[1] for run in runs)
        for which, what in enumerate(("all, by class", "the one with few")):
            x = scores[:, :, which]
            gains = [x[:, 2] - x[:, 0], x[:, 2] - x[:, 1]]
            cells = [f"{v.mean():.3f}" for v in x.T]
            cells += [f"{g.mean():+.3f} +- {g.std(ddof=1) / np.sqrt(len(g)):.3f}" for g in gains]
            print(f"| {case} | {what} | {' | '.join(cells)} | {failed} |", flush=True)


if __name__ == "__main__":
    main()
