"""The probability that an object belongs to none of the known classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from bayesclass.novelty_distance import CENTRE

__all__ = ["UNKNOWN_RATE", "UnknownError", "UnknownOdds", "check_rate"]

# Share of objects of no known class that is assumed where nothing is said.
UNKNOWN_RATE = 0.01
# Precision of the prior on coefficients, in units of the whole sample of known objects.
PRECISION = 1e-3


class UnknownError(ValueError):
    """A rate of unknown objects that is no probability."""


def check_rate(rate: float) -> float:
    """Refuse a prior rate of unknown objects that is not between 0 and 1."""
    if not 0.0 <= rate < 1.0:
        raise UnknownError(
            f"The rate of objects of no known class must be at least 0 and below 1, found {rate}: give a "
            "share, such as 0.01."
        )
    return float(rate)


@dataclass(frozen=True, eq=False)
class UnknownOdds:
    r"""Ratio of the statistic's densities among unknown and known objects, by logistic regression.

    .. math:: \log \frac{p(t | n, \mathrm{unknown})}{p(t | n, \mathrm{known})} = a_0 + a_1 x +
        \max(b_0 + b_1 x, 0)\, t, \qquad x = \ln n - 3

    Attributes
    ----------
    coefficients : ndarray, shape (4,)
        :math:`a_0, a_1, b_0, b_1`; zeros where there was nothing to learn from.

    Notes
    -----
    What stands in for unknown objects are those of each known class, measured as if that class were not
    known, all classes counting alike. A kind of object that no known class resembles in this respect may be
    easier or harder to tell.
    """

    coefficients: np.ndarray

    @classmethod
    def fit(
        cls,
        score: np.ndarray,
        n_points: np.ndarray,
        weights: np.ndarray,
        unknown: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    ) -> UnknownOdds:
        """Fit on known objects and those that stand for unknown ones.

        Parameters
        ----------
        score, n_points, weights : ndarray, shape (n,)
            Of held-out known objects.
        unknown : sequence of (score, n_points, weights)
            Of each class left out; empty ones are passed over.
        """
        unknown = [one for one in unknown if len(one[0])]
        if not unknown or not weights.sum() > 0:
            return cls(np.zeros(4))
        weight = [w / w.sum() / len(unknown) for *_, w in unknown]
        t = np.concatenate([score, *(one[0] for one in unknown)])
        x = _size(np.concatenate([n_points, *(one[1] for one in unknown)]))
        # Both sides weigh alike, so that the log-odds are the log of the ratio of densities.
        w = np.concatenate([weights / weights.sum(), *weight])
        sign = np.where(np.arange(len(t)) < len(score), -1.0, 1.0)
        design = np.stack([np.ones_like(t), x, t, x * t], axis=1)

        def loss(a):
            margin = sign * (design @ a)
            gradient = -design.T @ (w * sign * expit(-margin)) + PRECISION * a
            return (w * np.logaddexp(0.0, -margin)).sum() + 0.5 * PRECISION * a @ a, gradient

        return cls(minimize(loss, np.zeros(4), jac=True, method="L-BFGS-B").x)

    def log_ratio(self, score: np.ndarray, n_points: np.ndarray) -> np.ndarray:
        """Log of the ratio of densities, unknown over known, never falling with the score."""
        a0, a1, b0, b1 = self.coefficients
        x = _size(n_points)
        return a0 + a1 * x + np.maximum(b0 + b1 * x, 0.0) * score

    def probability(self, score: np.ndarray, n_points: np.ndarray, rate: float) -> np.ndarray:
        """Probability of being of no known class, where a share `rate` of objects is."""
        if rate == 0.0:
            return np.where(np.isnan(score), np.nan, 0.0)
        return expit(logit(rate) + self.log_ratio(score, n_points))


def _size(n_points: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(n_points, dtype=np.float64), 1.0)) - CENTRE
