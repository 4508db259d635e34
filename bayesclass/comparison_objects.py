"""Where two posteriors agree, and the objects on which they do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.evaluation_join import Sample

WORST = 25

__all__ = ["agreement_table", "best_classes", "differing_objects"]


def agreement_table(a: Sample, b: Sample, p: Sequence[np.ndarray]) -> tuple[pd.DataFrame, float]:
    """Return how often the best classes agree, and who is right where they do not.

    Parameters
    ----------
    a, b : Sample
        The labelled objects.
    p : pair of float array, shape (n, K)
        Of all objects in common, labelled or not.

    Returns
    -------
    table : DataFrame
        what, n_objects, n, fraction, lower, upper (exact binomial, 95 %).
    chance : float
        Probability of discordant objects as unequal as these or more, if neither were right more often
        (McNemar's test, exact); NaN where there are none.
    """
    from scipy.stats import binomtest

    one = a.one
    best = [sample.p[one].argmax(axis=1) for sample in (a, b)]
    right = [own == a.y[one] for own in best]
    counts = {
        "same best class": p[0].argmax(axis=1) == p[1].argmax(axis=1),
        "both right": right[0] & right[1],
        "only A right": right[0] & ~right[1],
        "only B right": ~right[0] & right[1],
        "both wrong": ~right[0] & ~right[1],
    }
    rows = []
    for what, own in counts.items():
        n, hits = len(own), int(own.sum())
        rows.append((what, n, hits, hits / n if n else np.nan, *metrics.binomial_interval(hits, n)))
    odd = rows[2][2] + rows[3][2]
    chance = float(binomtest(rows[2][2], odd).pvalue) if odd else np.nan
    return pd.DataFrame(rows, columns=["what", "n_objects", "n", "fraction", "lower", "upper"]), chance


def differing_objects(ids, p: Sequence[np.ndarray], classes, label: pd.Series, worst: int = WORST):
    """Return the objects whose probabilities differ most.

    Parameters
    ----------
    ids : str array, shape (n,)
    p : pair of float array, shape (n, K)
    classes : tuple of str
    label : Series
        Raw label by object_id; "" where there is none.
    worst : int
        How many.

    Returns
    -------
    DataFrame
        object_id, label, distance (half the sum of absolute differences, 0 to 1), best_a, p_a of it, best_b,
        p_b of it, a_of_best_b, b_of_best_a (what each gives to the other's best class).
    """
    distance = 0.5 * np.abs(p[0] - p[1]).sum(axis=1)
    rows = np.argsort(-distance, kind="stable")[:worst]
    rows = rows[distance[rows] > 0]
    names = np.array(classes, dtype=object)
    best = [own[rows].argmax(axis=1) for own in p]
    return pd.DataFrame(
        {
            "object_id": ids[rows],
            "label": label.reindex(ids[rows]).fillna("").astype(str).to_numpy(),
            "distance": distance[rows],
            "best_a": names[best[0]].astype(str),
            "p_a": p[0][rows, best[0]],
            "b_of_best_a": p[1][rows, best[0]],
            "best_b": names[best[1]].astype(str),
            "p_b": p[1][rows, best[1]],
            "a_of_best_b": p[0][rows, best[1]],
        }
    )


def best_classes(p: Sequence[np.ndarray], classes: tuple[str, ...]) -> pd.DataFrame:
    """Return the objects by best class of A (index) and of B (columns)."""
    best = [own.argmax(axis=1) for own in p]
    count = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(count, tuple(best), 1)
    return pd.DataFrame(count, pd.Index(classes, name="A"), pd.Index(classes, name="B"))
