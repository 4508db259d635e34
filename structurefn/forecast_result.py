"""Forecast: probabilities of magnitudes, and what is read from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Forecast"]


@dataclass(frozen=True, eq=False)
class Forecast:
    """Probabilities of magnitude cells, of each class or mixed over the classes.

    Attributes
    ----------
    edges : float64 array, shape (n, G + 1)
        Edges of the cells of each forecast, ascending [mag].
    probability : float64 array, shape (n, C, G), or (n, G) if mixed
        Sums to one over cells; within a cell the density is uniform. What lies beyond the edges, ten
        magnitudes from the history, is in the outermost cells.
    """

    edges: np.ndarray
    probability: np.ndarray

    def cdf(self, magnitude: np.ndarray | float) -> np.ndarray:
        """Probability of being brighter than a magnitude, number or one a forecast; shape (n[, C])."""
        m = np.broadcast_to(np.asarray(magnitude, dtype=np.float64), len(self.edges))
        part = np.clip((m[:, None] - self.edges[:, :-1]) / np.diff(self.edges), 0.0, 1.0)
        return np.einsum("n...g,ng->n...", self.probability, part)

    def fainter_than(self, limit: np.ndarray | float) -> np.ndarray:
        """Probability of being fainter than a limit [mag], number or one a forecast; shape (n[, C])."""
        return 1.0 - self.cdf(limit)

    def log_density(self, magnitude: np.ndarray | float) -> np.ndarray:
        """Log-density at a magnitude, number or one a forecast [ln(1/mag)]; minus infinity where zero."""
        m = np.broadcast_to(np.asarray(magnitude, dtype=np.float64), len(self.edges))
        cell = np.sum(m[:, None] >= self.edges[:, 1:-1], axis=1)
        some = np.arange(len(cell))
        width = np.diff(self.edges)[some, cell]
        chance = self.probability[some, ..., cell]
        with np.errstate(divide="ignore"):
            return np.log(chance / width.reshape(-1, *[1] * (chance.ndim - 1)))

    def quantile(self, q: float | Sequence[float]) -> np.ndarray:
        """Magnitude below which the probability is q, between 0 and 1; shape (n[, C]) or (n[, C], Q).

        Raises
        ------
        ValueError
            If a q is not between 0 and 1.
        """
        wanted = np.asarray(q, dtype=np.float64)
        if wanted.size and not ((wanted >= 0) & (wanted <= 1)).all():
            raise ValueError(f"q must be between 0 and 1, but {q} was given: 0.5 is the median.")
        flat = np.atleast_1d(wanted)
        total = np.cumsum(self.probability, axis=-1)
        total /= total[..., -1:]
        before = np.concatenate([np.zeros_like(total[..., :1]), total], axis=-1)
        cell = np.sum(total[..., None, :] < flat[:, None], axis=-1)
        low, high = (np.take_along_axis(before, cell + step, axis=-1) for step in (0, 1))
        shape = (len(self.edges), *[1] * (total.ndim - 2), self.edges.shape[1])
        edges = np.broadcast_to(self.edges.reshape(shape), (*total.shape[:-1], shape[-1]))
        left, right = (np.take_along_axis(edges, cell + step, axis=-1) for step in (0, 1))
        part = (flat - low) / np.where(high > low, high - low, 1.0)
        found = left + np.clip(part, 0.0, 1.0) * (right - left)
        return found if wanted.ndim else found[..., 0]

    def mean(self) -> np.ndarray:
        """Mean magnitude; shape (n[, C])."""
        centres = (self.edges[:, 1:] + self.edges[:, :-1]) / 2.0
        return np.einsum("n...g,ng->n...", self.probability, centres)

    def of_class(self, index: int | np.ndarray) -> "Forecast":
        """Choose one class for all forecasts, or one for each, shape (n,)."""
        if self.probability.ndim != 3:
            raise ValueError("Only a forecast by class has classes, but this one is mixed: forecast anew.")
        index = np.broadcast_to(np.asarray(index), len(self.edges))
        return Forecast(self.edges, self.probability[np.arange(len(index)), index])

    def mixed(self, class_probability: np.ndarray) -> "Forecast":
        """Mix the classes with these probabilities, shape (n, C), or (1, C) or (C,) for all, normalised here.

        Raises
        ------
        ValueError
            If the shape does not fit or a row is no distribution.
        """
        if self.probability.ndim != 3:
            raise ValueError("Only forecasts by class can be mixed, but this one is mixed: forecast anew.")
        n, n_classes, _ = self.probability.shape
        weight = np.asarray(class_probability, dtype=np.float64)
        if weight.shape not in {(n, n_classes), (1, n_classes), (n_classes,)}:
            raise ValueError(
                f"class_probability must be of shape ({n}, {n_classes}) or ({n_classes},), but "
                f"class_probability.shape={weight.shape}: give one number a forecast and class."
            )
        weight = np.broadcast_to(weight, (n, n_classes))
        total = weight.sum(axis=1, keepdims=True)
        if not (np.isfinite(weight).all() and (weight >= 0).all() and (total > 0).all()):
            raise ValueError(
                "class_probability must be finite and not negative with a positive sum, but another row was "
                "found: give a probability for each class."
            )
        return Forecast(self.edges, np.einsum("nc,ncg->ng", weight / total, self.probability))
