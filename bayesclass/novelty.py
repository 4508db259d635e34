"""Novelty: is an object unlike every known class, at a stated rate of false alarms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bayesclass.novelty_distance import ClassDistance
from bayesclass.novelty_scale import KnownRanks
from bayesclass.novelty_statistic import FEWEST, NoveltyParts, NoveltyStatistic
from bayesclass.representation import Described
from bayesclass.unknown import UnknownOdds

__all__ = ["ALARM", "Novelty", "novelty_remark"]

# Novelty above which an object gets a warning: one in a hundred known objects does.
ALARM = 0.99


@dataclass(frozen=True, eq=False)
class Novelty:
    """Test of whether an object is like the known classes.

    Attributes
    ----------
    statistic : NoveltyStatistic
    ranks : KnownRanks
        Of the statistic among held-out known objects.
    odds : UnknownOdds
        Of being unknown, given the statistic.
    distance : ClassDistance or None
        None for a recipe without trained streams, which measures no novelty.
    """

    statistic: NoveltyStatistic
    ranks: KnownRanks
    odds: UnknownOdds
    distance: ClassDistance | None

    @classmethod
    def fit(cls, held_out: NoveltyParts, membership: np.ndarray, distance: ClassDistance | None) -> Novelty:
        """Learn from rows whose experts and distances had no part of their objects.

        Each class in turn is left out of the columns, and its own objects then stand for unknown ones.

        Parameters
        ----------
        held_out : NoveltyParts
            Of n rows.
        membership : ndarray, shape (n, K)
            Weight of each row in each class; the versions of an object share one unit.
        distance : ClassDistance or None
            Fitted on all objects; those of `held_out` are of cross-fitting.
        """
        use = np.flatnonzero((held_out.n_points >= FEWEST) & (membership.sum(axis=1) > 0))
        if distance is None:
            use = use[:0]
        known, membership = held_out.take(use), membership[use]
        statistic = NoveltyStatistic.fit(known, membership)
        score, weight = statistic(known), membership.sum(axis=1)
        ranks = KnownRanks.fit(score, known.n_points, weight)
        unknown = [_left_out(known, membership, c) for c in range(membership.shape[1])]
        odds = UnknownOdds.fit(score, known.n_points, weight, unknown)
        return cls(statistic, ranks, odds, distance)

    def distances(self, described: Described) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Distances of described light curves, as `ClassDistance.distances`; None without trained streams."""
        if self.distance is None:
            return None, None
        return self.distance.distances(described.features, described.n_detections)

    def measure(self, parts: NoveltyParts, rate: float) -> tuple[np.ndarray, np.ndarray]:
        """Novelty, and the probability of being of no known class at a prior rate of those, each (n,).

        NaN for objects of fewer than two detections, or of a number that training never saw.
        """
        if self.distance is None:
            return np.full((2, len(parts.n_points)), np.nan)
        score = np.where(parts.n_points >= FEWEST, self.statistic(parts), np.nan)
        novelty = self.ranks.novelty(score, parts.n_points)
        unknown = self.odds.probability(score, parts.n_points, rate)
        return novelty, np.where(np.isnan(novelty), np.nan, unknown)

    def folded(self, whitening: np.ndarray | None) -> Novelty:
        """Return the same test for features that are the kernel itself, see `KernelLogistic.folded`."""
        if self.distance is None or whitening is None:
            return self
        return replace(self, distance=self.distance.folded(whitening))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return plain arrays, from which `from_arrays` makes the same object."""
        arrays = self.statistic.to_arrays()
        arrays |= {"threshold": self.ranks.threshold, "odds": self.odds.coefficients}
        if self.distance is not None:
            arrays |= {f"distance/{name}": values for name, values in self.distance.to_arrays().items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Novelty:
        """Inverse of `to_arrays`."""
        of_distance = {
            name.removeprefix("distance/"): values
            for name, values in arrays.items()
            if name.startswith("distance/")
        }
        return cls(
            NoveltyStatistic.from_arrays(arrays),
            KnownRanks(arrays["threshold"]),
            UnknownOdds(arrays["odds"]),
            ClassDistance.from_arrays(of_distance) if of_distance else None,
        )


def novelty_remark(novelty: np.ndarray) -> list[str]:
    """Text of a warning for each object, "" where there is none, shape (n,)."""
    text = f"novelty above {ALARM}: unlike the known classes"
    return [text if value > ALARM else "" for value in novelty]


def _left_out(known: NoveltyParts, membership: np.ndarray, c: int) -> tuple[np.ndarray, ...]:
    """Statistic, numbers of points and weights of objects of class c as if that class were not known."""
    others = np.arange(membership.shape[1]) != c
    of_others, own = np.flatnonzero(membership[:, c] == 0), np.flatnonzero(membership[:, c] > 0)
    own = own[membership[own][:, others].sum(axis=1) == 0]
    if others.sum() == 0 or not len(own) or not len(of_others):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    statistic = NoveltyStatistic.fit(known.take(of_others, others), membership[of_others][:, others])
    stranger = known.take(own, others)
    return statistic(stranger), stranger.n_points, membership[own, c]
