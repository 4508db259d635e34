"""First latent states of a joint density: each class cut into groups of similar objects."""

from __future__ import annotations

import numpy as np

__all__ = ["OBJECTS_PER_STATE", "first_states"]

# Objects of a class to each of its own first states.
OBJECTS_PER_STATE = 30
STEPS = 10


def first_states(value, labels, components: int, rng: np.random.Generator) -> np.ndarray:
    """Give each object to the nearest group of its class, by k-means from spread-out members.

    Parameters
    ----------
    value : float array, shape (n, D)
        Standardised; zero, the pooled mean, where not measured.
    labels : int array, shape (n,)
        Most probable class of each object.
    components : int
        Most groups of a class.
    rng : numpy.random.Generator

    Returns
    -------
    float64 array, shape (n, K)
        Zeros and ones.
    """
    parts = []
    for c in np.unique(labels):
        own = np.flatnonzero(labels == c)
        n_states = int(np.clip(round(len(own) / OBJECTS_PER_STATE), 1, components))
        centres = value[_spread_out(value, own, n_states, rng)]
        for _ in range(STEPS):
            nearest = ((value[own, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
            for k in np.unique(nearest):
                centres[k] = value[own[nearest == k]].mean(axis=0)
        part = np.zeros((len(value), n_states))
        part[own, nearest] = 1.0
        parts.append(part)
    return np.hstack(parts) if parts else np.ones((len(value), 1))


def _spread_out(value, members, n: int, rng) -> np.ndarray:
    """Choose n members far from each other, by k-means++ (Arthur & Vassilvitskii 2007)."""
    chosen = [int(rng.choice(members))]
    while len(chosen) < n:
        distance = ((value[members, None] - value[chosen]) ** 2).sum(axis=2).min(axis=1)
        total = distance.sum()
        chosen.append(int(rng.choice(members, p=distance / total if total > 0 else None)))
    return np.array(chosen)
