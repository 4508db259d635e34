"""Novelty: is a light curve likely under any known class, compared with known objects like it."""

from dataclasses import dataclass

import numpy as np

SIZE_EDGES = (1, 3, 6, 11, 31, 101)
N_QUANTILES = 201


@dataclass(frozen=True)
class NoveltyScale:
    """Distribution of the standardised log-likelihood of known objects, by number of events.

    Attributes
    ----------
    quantiles : ndarray, shape (n_bins, n_quantiles)
        Of held-out objects with a number of events in each bin of `SIZE_EDGES`; NaN for bins without any.
    """

    quantiles: np.ndarray

    @classmethod
    def fit(cls, z: np.ndarray, n_events: np.ndarray) -> "NoveltyScale":
        """Learn from held-out objects; z as from `standardised`."""
        place = np.searchsorted(SIZE_EDGES, n_events, side="right") - 1
        levels = np.linspace(0.0, 1.0, N_QUANTILES)
        quantiles = np.full((len(SIZE_EDGES), N_QUANTILES), np.nan)
        for i in range(len(SIZE_EDGES)):
            member = z[(place == i) & np.isfinite(z)]
            if len(member):
                quantiles[i] = np.quantile(member, levels)
        return cls(quantiles)

    def novelty(self, z: np.ndarray, n_events: np.ndarray) -> np.ndarray:
        """Share of known objects of like size whose light curve is more likely, 0 to 1; NaN without events.

        A novelty above 1 - a has false-alarm rate a among objects of the known classes.
        """
        place = np.searchsorted(SIZE_EDGES, n_events, side="right") - 1
        novelty = np.full(len(z), np.nan)
        for i, known in enumerate(self.quantiles):
            member = (place == i) & np.isfinite(z)
            if np.isfinite(known).all() and member.any():
                novelty[member] = 1.0 - np.searchsorted(known, z[member]) / N_QUANTILES
        return novelty


def standardised(
    log_likelihood: np.ndarray, mean: np.ndarray, variance: np.ndarray, probability: np.ndarray
) -> np.ndarray:
    """Average over classes of (log L - expected) / sd, weighted by class probability; NaN without events."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (log_likelihood - mean) / np.sqrt(variance)
    return np.where(
        variance.min(axis=1) > 0, (probability * np.where(variance > 0, z, 0.0)).sum(axis=1), np.nan
    )
