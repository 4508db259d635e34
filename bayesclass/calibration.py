"""Prediction sets that hold the right class with a stated probability: class-conditional conformal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bayesclass.metrics import one_hot

# Lowest numbers of points of the bins: what is an unusually low probability depends on the light curve.
EDGES = (0, 1, 3, 6, 11, 21, 41, 81, 161)
# A bin with fewer effective objects of a class is widened to its neighbours.
ENOUGH = 20.0


@dataclass(frozen=True, eq=False)
class ConformalSets:
    r"""A threshold for each class and number of points on the score :math:`s_c = 1 - p_c`.

    A class belongs to an object's set where its score does not exceed the threshold: the
    :math:`\lceil (n_c + 1)(1 - \alpha) \rceil`-th smallest score of the :math:`n_c` calibration objects of
    that class with a like number of points. If these and a new object of the class are exchangeable, the set
    holds the class with probability at least 1 - alpha, whatever the probabilities are worth (Vovk 2012,
    Proc. Machine Learning Research 25, 475; Sadinle, Lei & Wasserman 2019, J. Am. Stat. Assoc. 114, 223).
    Weighted objects count by their weights, with :math:`n_c = (\sum w)^2 / \sum w^2`. A common class must be
    more probable to be in a set than a rare one, so that the most probable class can be outside; where no
    class is inside, it is the set.

    Attributes
    ----------
    alpha : float
        Largest fraction of sets without the right class, between 0 and 1.
    edges : int array, shape (n_bins,)
        Lowest number of points of each bin, ascending from 0.
    threshold : float array, shape (n_bins, n_classes)
    n_objects : int array, shape (n_classes,)
        Calibration objects of each class.
    backed_off : bool array, shape (n_classes,)
        Classes with too few objects for that rank in all bins together. Their threshold is the larger of the
        one that all objects together give and their own largest score: no guarantee for such a class alone.
        Where all objects together are too few, it is one, and the class is in every set.
    """

    alpha: float
    edges: np.ndarray
    threshold: np.ndarray
    n_objects: np.ndarray
    backed_off: np.ndarray

    def __post_init__(self):
        _check_alpha(self.alpha)
        dtypes = {"edges": np.int64, "threshold": np.float64, "n_objects": np.int64, "backed_off": bool}
        for name, dtype in dtypes.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        shape = self.edges.shape + self.n_objects.shape
        if (
            self.threshold.shape != shape
            or self.backed_off.shape != self.n_objects.shape
            or len(shape) != 2
            or not np.isfinite(self.threshold).all()
        ):
            raise ValueError(
                "Conformal sets need a finite threshold for each bin and class, a number of objects and a "
                f"flag for each class, found {self.edges=}, {self.threshold=}, {self.n_objects=}, "
                f"{self.backed_off=}; fit them again."
            )

    @classmethod
    def fit(
        cls,
        p: np.ndarray,
        y: np.ndarray,
        alpha: float = 0.1,
        *,
        n_points: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> ConformalSets:
        """Find the thresholds on objects that had no part in fitting their probabilities.

        Parameters
        ----------
        p : float array, shape (n, n_classes)
            Probabilities.
        y : int array, shape (n,)
            Class of every object; leave out partial labels.
        alpha : float
            Between 0 and 1.
        n_points : int array, shape (n,), optional
            Points of each light curve; without them there is one bin.
        weights : float array, shape (n,), optional
            Positive; equal by default.

        Raises
        ------
        ValueError
            Wrong shape, a class index out of range, a probability that is NaN or outside 0 to 1, or
            alpha outside 0 to 1.
        """
        _check_alpha(alpha)
        p = np.asarray(p, dtype=np.float64)
        if p.ndim != 2 or len(p) != len(y) or not ((p >= 0) & (p <= 1)).all():
            raise ValueError(
                "Conformal sets need probabilities between 0 and 1 of shape (n, n_classes) and n classes, "
                f"found {p.shape=} and {len(y)} classes."
            )
        true = one_hot(y, p.shape[1])
        score, weights = 1.0 - p, np.ones(len(p)) if weights is None else np.asarray(weights, np.float64)
        edges = np.array((0,) if n_points is None else EDGES)
        place = np.zeros(len(p), int) if n_points is None else _bins(edges, n_points)
        everyone = _conformal_quantile(score[true], weights, alpha)
        threshold, backed_off = np.empty((len(edges), p.shape[1])), np.zeros(p.shape[1], dtype=bool)
        for k in range(p.shape[1]):
            own, w, at = score[true[:, k], k], weights[true[:, k]], place[true[:, k]]
            if np.isinf(_conformal_quantile(own, w, alpha)):
                backed_off[k] = True
                threshold[:, k] = min(max(everyone, own.max(initial=0.0)), 1.0)
                continue
            for j in range(len(edges)):
                near = _like(at, w, j, len(edges), alpha)
                threshold[j, k] = _conformal_quantile(own[near], w[near], alpha)
        return cls(alpha, edges, threshold, true.sum(axis=0), backed_off)

    def apply(self, p: np.ndarray, n_points: np.ndarray | None = None) -> np.ndarray:
        """Return the sets, shape (n, n_classes), bool; none is empty.

        Parameters
        ----------
        p : float array, shape (n, n_classes)
        n_points : int array, shape (n,), optional
            Needed where the fit had them.

        Raises
        ------
        ValueError
            If the number of classes differs from that of the fit, or numbers of points are missing.
        """
        p = np.asarray(p, dtype=np.float64)
        if p.ndim != 2 or p.shape[1] != len(self.n_objects):
            raise ValueError(
                f"These sets are for {len(self.n_objects)} classes, found {p.shape=}; use the model's own."
            )
        if n_points is None and len(self.edges) > 1:
            raise ValueError("These sets depend on the number of points: give n_points, one an object.")
        place = np.zeros(len(p), int) if n_points is None else _bins(self.edges, n_points)
        inside = 1.0 - p <= self.threshold[place]
        return inside | (~inside.any(axis=1, keepdims=True) & (p == p.max(axis=1, keepdims=True)))

    def to_dict(self) -> dict:
        """Return plain numbers and lists, for JSON."""
        return {
            "alpha": float(self.alpha),
            "edges": self.edges.tolist(),
            "threshold": self.threshold.tolist(),
            "n_objects": self.n_objects.tolist(),
            "backed_off": self.backed_off.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping) -> ConformalSets:
        """Make sets from what `to_dict` returned.

        Raises
        ------
        ValueError
            If an entry is missing or makes no sense.
        """
        names = ("alpha", "edges", "threshold", "n_objects", "backed_off")
        missing = [name for name in names if name not in data]
        if missing:
            raise ValueError(f"Conformal sets need {', '.join(names)}, and {missing[0]} is missing.")
        return cls(**{name: data[name] for name in names})


def _bins(edges: np.ndarray, n_points: np.ndarray) -> np.ndarray:
    return np.searchsorted(edges, n_points, side="right") - 1


def _like(place: np.ndarray, weights: np.ndarray, j: int, n_bins: int, alpha: float) -> np.ndarray:
    """Objects in a bin, and in its neighbours as far as they are needed."""
    enough = max(ENOUGH, np.ceil((1.0 - alpha) / alpha))
    for width in range(n_bins):
        near = np.abs(place - j) <= width
        if _effective(weights[near]) >= enough:
            return near
    return np.ones(len(place), dtype=bool)


def _effective(weights: np.ndarray) -> float:
    return float(weights.sum() ** 2 / np.maximum((weights**2).sum(), 1e-300))


def _conformal_quantile(score: np.ndarray, weights: np.ndarray, alpha: float) -> float:
    """Return the ceil((n + 1)(1 - alpha))-th smallest score, infinite where there are fewer."""
    n = _effective(weights)
    if n == 0.0:
        return np.inf
    # Without rounding, (9 + 1)(1 - 0.1) in floating point could be just above nine.
    order = np.argsort(score, kind="stable")
    rank = np.round(np.cumsum(weights[order]) * n / weights.sum(), 9)
    reached = rank >= np.round((n + 1.0) * (1.0 - alpha), 9)
    return float(score[order][reached.argmax()]) if reached.any() else np.inf


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie between 0 and 1, found {alpha}; 0.1 makes sets that hold 90 %.")
