"""Learning from labelled positions how often, and how near, each class has a counterpart in a catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from context.nearest import ARCSEC2_PER_ARCMIN2, NearestError, log_nearest, match_probability

__all__ = ["NearestModel"]

_ITERATIONS = 500
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class NearestModel:
    """Probability and scatter of the counterpart of each class in one catalogue.

    Attributes
    ----------
    probability : float64 array, shape (n_classes,)
        Probability a that a source of the class has a counterpart in the catalogue.
    scatter : float64 array, shape (n_classes,)
        1-sigma scatter s of its offset on each axis, without the position errors [arcsec].
    radius : float
        Search radius [arcsec].
    """

    probability: np.ndarray
    scatter: np.ndarray
    radius: float

    @classmethod
    def fit(
        cls,
        separation,
        density,
        found,
        covered,
        allowed,
        *,
        radius: float,
        position_error=0.0,
        weights=None,
        shared_scatter: bool = False,
        prior: tuple[float, float] = (1.0, 1.0),
        typical_scatter: float = 1.0,
    ) -> NearestModel:
        r"""Learn a and s of every class by expectation-maximisation.

        Hidden are, for each object, its class where several are allowed, whether it has a counterpart,
        and that counterpart's true offset: :math:`r^2` where the nearest source is the counterpart, and
        :math:`r^2 + 2 (s^2 + e^2)` on average where the counterpart is farther than what was found (or
        than the radius), because a squared Rayleigh distance has no memory.

        Parameters
        ----------
        separation, found, covered, position_error
            As of `log_nearest`.
        density : array_like, shape (n_objects,)
            Local density of unrelated sources [arcmin^-2], as tables have it.
        allowed : array_like, shape (n_objects, n_classes)
            The classes that each label allows (bool), or each object's share of every class. An object
            without any takes no part.
        radius : float
            Search radius [arcsec].
        weights : array_like, shape (n_objects,), optional
            What each object counts; default one.
        shared_scatter : bool
            One scatter for all classes, for catalogues where offsets are measurement alone.
        prior : (float, float)
            Counterparts, and sources without, that are added to every class: a is the mean of a Beta
            distribution and never 0 or 1.
        typical_scatter : float
            Where the scatter starts, and what it keeps in a class without counterparts [arcsec]; counts
            as one counterpart.

        Returns
        -------
        NearestModel

        Raises
        ------
        NearestError
            Arrays of different lengths, no covered object with a class, or values as of `log_nearest`.
        """
        density = np.asarray(density, dtype=float) / ARCSEC2_PER_ARCMIN2
        share, weights = _shares(allowed, weights)
        used = np.asarray(covered, dtype=bool) & (share.sum(axis=1) > 0) & (weights > 0)
        if len(used) != len(share):
            raise NearestError(
                f"allowed needs one row an object, found {len(share)} rows and {len(used)} objects."
            )
        if not used.any():
            raise NearestError("No labelled position is covered by the catalogue; there is nothing to learn.")
        if not (min(prior) > 0 and typical_scatter > 0):
            raise NearestError(
                f"Prior counts and the typical scatter must be positive, found {prior}, {typical_scatter:g}."
            )
        n = len(share)
        inputs = [np.broadcast_to(np.asarray(v), (n,))[used] for v in (separation, density, found)]
        error = np.broadcast_to(np.asarray(position_error, dtype=float), (n,))[used]
        data = _Data(*inputs, share[used], weights[used], radius, error)
        probability = np.full(share.shape[1], 0.5)
        scatter = np.full(share.shape[1], float(typical_scatter))
        frequency = data.share.sum(axis=0) / data.share.sum()
        for _ in range(_ITERATIONS):
            old = np.concatenate([probability, np.log(scatter)])
            responsibility = data.classes(probability, scatter, frequency)
            frequency = responsibility.sum(axis=0) / responsibility.sum()
            counterparts, squares = data.expectation(probability, scatter, responsibility)
            total = responsibility.sum(axis=0)
            probability = (counterparts + prior[0]) / (total + sum(prior))
            if shared_scatter:
                counterparts, squares = counterparts.sum(), squares.sum()
            scatter = np.sqrt((squares + 2 * typical_scatter**2) / (2 * counterparts + 2))
            scatter = np.broadcast_to(scatter, probability.shape).copy()
            if np.abs(np.concatenate([probability, np.log(scatter)]) - old).max() < _TOLERANCE:
                break
        return cls(probability, scatter, float(radius))

    def log_likelihood(self, separation, density, found, covered, position_error=0.0) -> np.ndarray:
        """Log-likelihood of the nearest source, shape (n_objects, n_classes); see `log_nearest`.

        `density` is in arcmin^-2 here, as tables have it.
        """
        density = np.asarray(density, dtype=float) / ARCSEC2_PER_ARCMIN2
        return log_nearest(separation, density, found, covered, *self._parameters(position_error))

    def match_probability(self, separation, density, found, covered, position_error=0.0) -> np.ndarray:
        """Probability, given the class, that the nearest is the counterpart; `density` in arcmin^-2."""
        density = np.asarray(density, dtype=float) / ARCSEC2_PER_ARCMIN2
        return match_probability(separation, density, found, covered, *self._parameters(position_error))

    def _parameters(self, position_error) -> tuple:
        return self.probability, self.scatter, self.radius, position_error

    def to_dict(self) -> dict:
        """Return plain values, for JSON."""
        return {
            "probability": self.probability.tolist(),
            "scatter_arcsec": self.scatter.tolist(),
            "radius_arcsec": self.radius,
        }

    @classmethod
    def from_dict(cls, values: Mapping) -> NearestModel:
        """Return the model that `to_dict` described.

        Raises
        ------
        NearestError
            A key is missing, or the numbers are not those of a model.
        """
        try:
            probability, scatter, radius = (
                np.array(values[key], dtype=float)
                for key in ("probability", "scatter_arcsec", "radius_arcsec")
            )
        except KeyError as error:
            raise NearestError(f"A stored nearest-source model needs the key {error.args[0]!r}.") from error
        if probability.ndim != 1 or scatter.shape != probability.shape or radius.shape != ():
            raise NearestError(
                "A stored nearest-source model needs one probability and one scatter a class and one radius, "
                f"found shapes {probability.shape}, {scatter.shape} and {radius.shape}."
            )
        # The kernel checks the ranges; it is asked for no object.
        log_nearest([], [], [], [], probability, scatter, float(radius))
        return cls(probability, scatter, float(radius))


@dataclass(frozen=True)
class _Data:
    """Labelled and covered positions, and the two halves of an E-step."""

    separation: np.ndarray
    density: np.ndarray
    found: np.ndarray
    share: np.ndarray
    weights: np.ndarray
    radius: float
    error: np.ndarray

    def _arguments(self, probability, scatter) -> tuple:
        covered = np.ones(len(self.separation), dtype=bool)
        return (
            *(self.separation, self.density, self.found, covered),
            *(probability, scatter, self.radius, self.error),
        )

    def classes(self, probability, scatter, frequency) -> np.ndarray:
        """Weighted share of every class in every object, by the posterior where several are allowed."""
        share = self.share
        partial = (share > 0).sum(axis=1) > 1
        if partial.any():
            log = log_nearest(*self._arguments(probability, scatter))[partial]
            with np.errstate(divide="ignore"):
                log = log + np.log(share[partial] * frequency)
            likely = np.exp(log - log.max(axis=1, keepdims=True))
            share = share.copy()
            share[partial] = likely / likely.sum(axis=1, keepdims=True)
        return share * self.weights[:, None]

    def expectation(self, probability, scatter, responsibility) -> tuple[np.ndarray, np.ndarray]:
        """Return expected counterparts of every class, and the sum of their squared offsets [arcsec^2]."""
        nearest = match_probability(*self._arguments(probability, scatter))
        reach = np.where(self.found, self.separation, self.radius)[:, None]
        variance = scatter**2 + self.error[:, None] ** 2
        tail = probability * np.exp(-(reach**2) / (2 * variance))
        hidden = (1 - nearest) * tail / (1 - probability + tail)
        # What of an observed squared offset is the counterpart's own, not the position error's.
        own = (scatter**2 / variance) ** 2
        spread = 2 * scatter**2 * self.error[:, None] ** 2 / variance
        squares = nearest * (own * reach**2 + spread) + hidden * (own * (reach**2 + 2 * variance) + spread)
        return (responsibility * (nearest + hidden)).sum(axis=0), (responsibility * squares).sum(axis=0)


def _shares(allowed, weights) -> tuple[np.ndarray, np.ndarray]:
    share = np.array(allowed, dtype=float)
    if share.ndim != 2 or not (np.isfinite(share) & (share >= 0)).all():
        raise NearestError(
            "allowed must have shape (n_objects, n_classes), with shares of zero or more, found shape "
            f"{share.shape}; give one row an object."
        )
    total = share.sum(axis=1, keepdims=True)
    share = share / np.where(total > 0, total, 1.0)
    weights = np.ones(len(share)) if weights is None else np.asarray(weights, dtype=float)
    if weights.shape != (len(share),) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise NearestError("weights must be one number of zero or more an object; correct them.")
    return share, weights
