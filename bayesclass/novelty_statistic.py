"""One number of how unlike the known classes an object is, from what its experts said and its distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bayesclass.experts import FEATURES, TRAINED
from bayesclass.novelty_scale import SizeScale

__all__ = ["FEWEST", "NoveltyParts", "NoveltyStatistic", "log_joints"]

# Fewest detections of which novelty says anything: one point is only bright or faint.
FEWEST = 2
POOL = "pool"


def log_joints(terms: dict[str, np.ndarray], evidence: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Log-probabilities up to constants: of the pool, and of each trained expert alone with its prior.

    Parameters
    ----------
    terms : dict of str to float array, shape (n, K)
        As `Pool.terms`.
    evidence : dict of str to float array, shape (n, K)
        Log-likelihoods by expert.
    """
    alone = {name: terms["prior"] + evidence[name] for name in (TRAINED, FEATURES) if name in evidence}
    return {POOL: sum(terms.values()), **alone}


class NoveltyParts(NamedTuple):
    """What novelty is made of, for n objects and K classes.

    Attributes
    ----------
    log_joint : dict of str to float array, shape (n, K)
        Log-probability of every class up to a constant of each object: of the pool under `POOL`, and of
        single trained experts with the training prior.
    distance : float array, shape (n, K), or None
        Squared distance to every class; None for a recipe without trained streams.
    residual : float array, shape (n,), or None
        What the leading axes leave out.
    n_points : int array, shape (n,)
    """

    log_joint: dict[str, np.ndarray]
    distance: np.ndarray | None
    residual: np.ndarray | None
    n_points: np.ndarray

    def take(self, rows: np.ndarray, classes: np.ndarray | slice = slice(None)) -> NoveltyParts:
        """Choose objects, and classes as if there were no others."""
        return NoveltyParts(
            {name: values[rows][:, classes] for name, values in self.log_joint.items()},
            None if self.distance is None else self.distance[rows][:, classes],
            None if self.residual is None else self.residual[rows],
            self.n_points[rows],
        )


@dataclass(frozen=True, eq=False)
class NoveltyStatistic:
    r"""Sum of normal scores, itself a normal score given the number of points.

    .. math:: t = S\Big[\sum_e S_e(H_e) + \sum_c q_c S_c(\ln D_c) + S_R(R)\Big], \qquad
        H_e = -\sum_c q_{ec} \ln q_{ec}

    with a `SizeScale` S of each piece: H the entropies of the pool and of each trained expert alone, D the
    squared distance to a class, standardised among objects *of that class* and averaged under the pool's
    probabilities q, R the residual. All pieces count alike; no weight is fitted.

    Attributes
    ----------
    scales : dict of str to SizeScale
        Of entropies by expert, "residual" and "total".
    class_scales : tuple of SizeScale
        Of the log of the distance to each class, empty without distances.
    """

    scales: dict[str, SizeScale]
    class_scales: tuple[SizeScale, ...]

    @classmethod
    def fit(cls, parts: NoveltyParts, membership: np.ndarray) -> NoveltyStatistic:
        """Learn all scales from held-out known objects.

        Parameters
        ----------
        parts : NoveltyParts
            Of n rows with `FEWEST` points or more.
        membership : ndarray, shape (n, K)
            Weight of each row in each class.
        """
        weight, n = membership.sum(axis=1), parts.n_points
        scales = {name: SizeScale.fit(h, n, weight) for name, h in _entropies(parts).items()}
        class_scales = ()
        if parts.distance is not None:
            scales["residual"] = SizeScale.fit(parts.residual, n, weight)
            log_distance = np.log(parts.distance + 1e-9)
            pairs = zip(log_distance.T, membership.T, strict=True)
            class_scales = tuple(SizeScale.fit(d, n, own) for d, own in pairs)
        blank = cls(scales, class_scales)
        total = sum(blank.pieces(parts).values(), np.zeros(len(n)))
        return cls(scales | {"total": SizeScale.fit(total, n, weight)}, class_scales)

    def pieces(self, parts: NoveltyParts) -> dict[str, np.ndarray]:
        """Return each piece's normal score, shape (n,); larger is less like the known classes."""
        n = parts.n_points
        pieces = {name: self.scales[name](h, n) for name, h in _entropies(parts).items()}
        if self.class_scales:
            log_distance = np.log(parts.distance + 1e-9)
            by_class = np.stack(
                [scale(d, n) for scale, d in zip(self.class_scales, log_distance.T, strict=True)], axis=1
            )
            pieces["distance"] = (_probability(parts.log_joint[POOL]) * by_class).sum(axis=1)
            pieces["residual"] = self.scales["residual"](parts.residual, n)
        return pieces

    def __call__(self, parts: NoveltyParts) -> np.ndarray:
        """Return the statistic t, shape (n,)."""
        total = sum(self.pieces(parts).values(), np.zeros(len(parts.n_points)))
        return self.scales["total"](total, parts.n_points)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the scales by name."""
        arrays = {f"scale/{name}": scale.to_array() for name, scale in self.scales.items()}
        if self.class_scales:
            arrays["class_scales"] = np.stack([scale.to_array() for scale in self.class_scales])
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> NoveltyStatistic:
        """Inverse of `to_arrays`."""
        scales = {
            name.removeprefix("scale/"): SizeScale.from_array(values)
            for name, values in arrays.items()
            if name.startswith("scale/")
        }
        return cls(scales, tuple(SizeScale.from_array(row) for row in arrays.get("class_scales", ())))


def _probability(log_joint: np.ndarray) -> np.ndarray:
    probability = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    return probability / probability.sum(axis=1, keepdims=True)


def _entropies(parts: NoveltyParts) -> dict[str, np.ndarray]:
    """Entropy of each set of class probabilities [nat], shape (n,)."""
    entropies = {}
    for name, log_joint in parts.log_joint.items():
        q = _probability(log_joint)
        entropies[name] = -(q * np.log(np.where(q > 0, q, 1.0))).sum(axis=1)
    return entropies
