"""Scores on one scale: standard normal for known objects, whatever their number of points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from bayesclass.novelty_distance import size_basis

__all__ = ["SIZE_EDGES", "KnownRanks", "SizeScale"]

# Bins of the number of points, within each of which false alarms are held to the stated rate.
SIZE_EDGES = (2, 3, 6, 11, 31, 101)
N_LEVELS = 201
N_QUANTILES = 101
# Bounds of scores from which trends are learned; a far object sets no scale.
CLIPPED = (0.005, 0.995)


@dataclass(frozen=True, eq=False)
class SizeScale:
    r"""Normal score of a quantity given the number of points n.

    .. math:: z = \frac{s - \mu(n)}{\sigma(n)}, \qquad t = \Phi^{-1}[\hat F(z)]

    with :math:`\mu` and :math:`\log\sigma` quadratic in log n and F the distribution of z among known
    objects; above the largest of them t grows as the logarithm of z.

    Attributes
    ----------
    mean, log_sd : ndarray, shape (3,)
        Coefficients on `size_basis`.
    quantiles : ndarray, shape (n_quantiles,)
        Of z.
    """

    mean: np.ndarray
    log_sd: np.ndarray
    quantiles: np.ndarray

    @classmethod
    def fit(cls, score: np.ndarray, n_points: np.ndarray, weights: np.ndarray) -> SizeScale:
        """Learn from held-out known objects, all of finite score."""
        nothing = cls(np.zeros(3), np.zeros(3), np.zeros(N_QUANTILES))
        if not weights.sum() > 0:
            return nothing
        low, high = weighted_quantiles(score, weights, np.array(CLIPPED))
        if high - low <= 1e-9 * max(1.0, abs(high)):
            return nothing  # the same for all known objects
        basis = size_basis(n_points)
        score = np.clip(score, low, high)
        scaled = basis * weights[:, None]
        gram = scaled.T @ basis + np.diag([1e-9, 1.0, 1.0])
        mean = np.linalg.solve(gram, scaled.T @ score)
        rest2 = (score - basis @ mean) ** 2
        least = 1e-4 * np.average(rest2, weights=weights) + 1e-12
        log_sd = 0.5 * np.linalg.solve(gram, scaled.T @ np.log(rest2 + least))
        z = (score - basis @ mean) / np.exp(basis @ log_sd)
        return cls(mean, log_sd, weighted_quantiles(z, weights, _levels()))

    def __call__(self, score: np.ndarray, n_points: np.ndarray) -> np.ndarray:
        """Return normal scores, shape (n,)."""
        if self.quantiles[-1] <= self.quantiles[0]:
            return np.zeros(len(score))
        basis = size_basis(n_points)
        z = (score - basis @ self.mean) / np.exp(basis @ self.log_sd)
        inside = np.interp(z, self.quantiles, norm.ppf(_levels()))
        return inside + np.log1p(np.maximum(z - self.quantiles[-1], 0.0))

    def to_array(self) -> np.ndarray:
        """Return all numbers in a row."""
        return np.concatenate([self.mean, self.log_sd, self.quantiles])

    @classmethod
    def from_array(cls, row: np.ndarray) -> SizeScale:
        """Inverse of `to_array`."""
        return cls(row[:3], row[3:6], row[6:])


@dataclass(frozen=True, eq=False)
class KnownRanks:
    """Levels that held-out known objects of like number of points exceed as rarely as stated.

    Attributes
    ----------
    threshold : ndarray, shape (n_bins, n_levels)
        Score at each level from 0 to 1, by bin of `SIZE_EDGES`; infinite above what so many known objects can
        tell; NaN for bins without any.

    References
    ----------
    Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World, ch. 2 (the rank among n + 1).
    """

    threshold: np.ndarray

    @classmethod
    def fit(cls, score: np.ndarray, n_points: np.ndarray, weights: np.ndarray) -> KnownRanks:
        """Learn from held-out known objects, all of finite score."""
        place = np.searchsorted(SIZE_EDGES, n_points, side="right") - 1
        levels = np.linspace(0.0, 1.0, N_LEVELS)
        threshold = np.full((len(SIZE_EDGES), N_LEVELS), np.nan)
        for i in range(len(SIZE_EDGES)):
            member = (place == i) & (weights > 0)
            if member.any():
                order = np.argsort(score[member])
                ranked, weight = score[member][order], weights[member][order]
                # The new object has its own place in the ranking, with an average weight.
                total = weight.sum() + weight.mean()
                at = np.searchsorted(np.cumsum(weight), levels * total * (1 - 1e-12))
                threshold[i] = np.append(ranked, np.inf)[at]
        return cls(threshold)

    def novelty(self, score: np.ndarray, n_points: np.ndarray) -> np.ndarray:
        """Highest level whose threshold the score exceeds, 0 to 1; NaN where no known object compares.

        A novelty above 1 - a has at most the false-alarm rate a among objects of the known classes.
        """
        place = np.searchsorted(SIZE_EDGES, n_points, side="right") - 1
        novelty = np.full(len(score), np.nan)
        for i, known in enumerate(self.threshold):
            member = (place == i) & np.isfinite(score)
            if np.isfinite(known[0]) and member.any():
                passed = np.searchsorted(known, score[member]) - 1
                novelty[member] = np.maximum(passed, 0) / (N_LEVELS - 1)
        return novelty


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles of a weighted sample, between the midpoints of its steps, shape (n_levels,)."""
    order = np.argsort(values)
    weight = weights[order]
    return np.interp(levels, (np.cumsum(weight) - 0.5 * weight) / weight.sum(), values[order])


def _levels() -> np.ndarray:
    """Levels of the stored quantiles: evenly spaced, the outermost at one in a thousand."""
    return np.concatenate([[1e-3], np.linspace(0.0, 1.0, N_QUANTILES)[1:-1], [1 - 1e-3]])
