"""Prediction sets that hold the right class with a stated probability: class-conditional conformal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bayesclass.metrics import one_hot


@dataclass(frozen=True, eq=False)
class ConformalSets:
    r"""One threshold for each class on the score :math:`s_c = 1 - p_c`.

    A class belongs to an object's set where its score does not exceed the class's threshold: the
    :math:`\lceil (n_c + 1)(1 - \alpha) \rceil`-th smallest score of the :math:`n_c` calibration objects of
    that class. If these and a new object of the class are exchangeable, the set holds the class with
    probability at least 1 - alpha, whatever the probabilities are worth (Vovk 2012, Proc. Machine
    Learning Research 25, 475; Sadinle, Lei & Wasserman 2019, J. Am. Stat. Assoc. 114, 223).

    Attributes
    ----------
    alpha : float
        Largest fraction of sets without the right class, between 0 and 1.
    threshold : float array, shape (n_classes,)
    n_objects : int array, shape (n_classes,)
        Calibration objects of each class.
    backed_off : bool array, shape (n_classes,)
        Classes with too few objects for that rank. Their threshold is the larger of the one that all
        objects together give and their own largest score: no guarantee for such a class alone. Where all
        objects together are too few, it is one, and the class is in every set.
    """

    alpha: float
    threshold: np.ndarray
    n_objects: np.ndarray
    backed_off: np.ndarray

    def __post_init__(self):
        _check_alpha(self.alpha)
        for name, dtype in (("threshold", np.float64), ("n_objects", np.int64), ("backed_off", bool)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        shapes = {self.threshold.shape, self.n_objects.shape, self.backed_off.shape}
        if len(shapes) != 1 or self.threshold.ndim != 1 or not np.isfinite(self.threshold).all():
            raise ValueError(
                "Conformal sets need a finite threshold, a number of objects and a flag for each class, "
                f"found {self.threshold=}, {self.n_objects=}, {self.backed_off=}; fit them again."
            )

    @classmethod
    def fit(cls, p: np.ndarray, y: np.ndarray, alpha: float = 0.1) -> ConformalSets:
        """Find the thresholds on objects that had no part in fitting their probabilities.

        Parameters
        ----------
        p : float array, shape (n, n_classes)
            Probabilities.
        y : int array, shape (n,)
            Class of every object; leave out partial labels.
        alpha : float
            Between 0 and 1.

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
        score = 1.0 - p
        everyone = _conformal_quantile(score[true], alpha)
        threshold, backed_off = np.empty(p.shape[1]), np.zeros(p.shape[1], dtype=bool)
        for k, own in enumerate(score[true[:, k], k] for k in range(p.shape[1])):
            threshold[k] = _conformal_quantile(own, alpha)
            if np.isinf(threshold[k]):
                backed_off[k] = True
                threshold[k] = min(max(everyone, own.max(initial=0.0)), 1.0)
        return cls(alpha, threshold, true.sum(axis=0), backed_off)

    def apply(self, p: np.ndarray) -> np.ndarray:
        """Return the sets, shape (n, n_classes), bool; the most probable class is in each, so none is empty.

        Raises
        ------
        ValueError
            If the number of classes differs from that of the fit.
        """
        p = np.asarray(p, dtype=np.float64)
        if p.ndim != 2 or p.shape[1] != len(self.threshold):
            raise ValueError(
                f"These sets are for {len(self.threshold)} classes, found {p.shape=}; use the model's own."
            )
        return (1.0 - p <= self.threshold) | (p == p.max(axis=1, keepdims=True))

    def to_dict(self) -> dict:
        """Return plain numbers and lists, for JSON."""
        return {
            "alpha": float(self.alpha),
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
        names = ("alpha", "threshold", "n_objects", "backed_off")
        missing = [name for name in names if name not in data]
        if missing:
            raise ValueError(f"Conformal sets need {', '.join(names)}, and {missing[0]} is missing.")
        return cls(**{name: data[name] for name in names})


def _conformal_quantile(score: np.ndarray, alpha: float) -> float:
    """Return the ceil((n + 1)(1 - alpha))-th smallest score, infinite where there are fewer."""
    # Without rounding, (9 + 1)(1 - 0.1) in floating point could be just above nine.
    rank = int(np.ceil(np.round((len(score) + 1) * (1.0 - alpha), 9)))
    return float(np.sort(score)[max(rank, 1) - 1]) if rank <= len(score) else np.inf


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie between 0 and 1, found {alpha}; 0.1 makes sets that hold 90 %.")
