"""Experts on light curves: one trained on kernel features, and generative chains of events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesclass.feature_expert import FeatureExpert
from bayesclass.recipe_schema import FeatureSpec
from bayesclass.representation import GENERATIVE, Described
from structurefn.kernel_logistic import KernelLogistic
from structurefn.likelihood import log_likelihood
from structurefn.limits import depth_counts
from structurefn.response import Density
from structurefn.stream_density import class_density
from structurefn.streams import Stream

TRAINED = "structure function"
FEATURES = "features"

Evidence = dict[str, np.ndarray]


@dataclass(frozen=True)
class LightCurveExperts:
    """What one fit learned about light curves.

    Attributes
    ----------
    streams : tuple of Stream
    densities : dict of str to Density
        Stream name -> density, for the kinds of `GENERATIVE`.
    trained : KernelLogistic or None
        On the kernel features; None for a recipe without trained streams.
    log_train : ndarray, shape (n_classes,)
        Log class frequencies of the fit, by which the trained expert's posterior is divided.
    published : FeatureExpert or None
        On published features; None for a recipe without them.
    """

    streams: tuple[Stream, ...]
    densities: dict[str, Density]
    trained: KernelLogistic | None
    log_train: np.ndarray
    published: FeatureExpert | None = None

    @classmethod
    def fit(
        cls,
        streams: tuple[Stream, ...],
        described: Described,
        allowed: np.ndarray,
        weights: np.ndarray,
        groups: np.ndarray,
        *,
        precision: float = 0.01,
        published: FeatureSpec | None = None,
        n_draws: int = 0,
        seed: int = 0,
    ) -> LightCurveExperts:
        """Fit densities and the trained expert.

        Parameters
        ----------
        streams : tuple of Stream
        described : Described
            Of n rows.
        allowed : ndarray of bool, shape (n, n_classes)
            Allowed classes of each row.
        weights : ndarray, shape (n,)
            Weight of a row; the versions of one object share one unit.
        groups : ndarray of int, shape (n,)
            The object of each row.
        precision : float
            Of the trained expert's prior.
        published : FeatureSpec, optional
            Which classifier learns from the features.
        n_draws, seed : int
        """
        membership = allowed * (weights / allowed.sum(axis=1))[:, None]
        densities = {
            stream.name: class_density(stream, described.counts[stream.name], membership, groups)
            for stream in streams
            if stream.kind in GENERATIVE
        }
        frequency = membership.sum(axis=0) + 0.5
        trained = None
        if described.features is not None:
            trained = KernelLogistic.fit(
                described.features,
                allowed,
                weights,
                precision=precision,
                groups=groups,
                n_draws=n_draws,
                seed=seed,
            )
        grown = None
        if published is not None:
            grown = FeatureExpert.fit(
                described.table,
                allowed,
                weights,
                classifier=published.classifier,
                select=published.select,
                seed=seed,
            )
        return cls(streams, densities, trained, np.log(frequency / frequency.sum()), grown)

    @property
    def names(self) -> tuple[str, ...]:
        """The experts, in the order of `evidence`."""
        kinds = [stream.kind for stream in self.streams]
        trained = (TRAINED,) if self.trained is not None else ()
        trained += (FEATURES,) if self.published is not None else ()
        return trained + tuple(name for kind, name in GENERATIVE.items() if kind in kinds)

    def evidence(self, described: Described) -> tuple[Evidence, Evidence]:
        """Log-likelihood of each class by expert, and the number of points or events behind it.

        Returns
        -------
        evidence : dict of str to ndarray, shape (n, n_classes)
            Zero for objects without an event. The trained expert's posterior is divided by its training
            prior, so that it enters as virtual evidence.
        sizes : dict of str to ndarray, shape (n,)
        """
        evidence, sizes = {}, {}
        if self.trained is not None:
            evidence[TRAINED] = self._ratio(described, draws=False)
            sizes[TRAINED] = described.n_detections.astype(float)
        if self.published is not None:
            seen = described.n_detections[:, None] > 0
            evidence[FEATURES] = np.where(seen, self.published.evidence(described.table), 0.0)
            sizes[FEATURES] = described.n_detections.astype(float)
        for kind, name in GENERATIVE.items():
            chosen = [stream.name for stream in self.streams if stream.kind == kind]
            if chosen:
                counts = described.counts
                evidence[name] = sum(log_likelihood(counts[key], self.densities[key]) for key in chosen)
                # Beside the limits, detections were counted to teach the table; the evidence is the limits'.
                events = depth_counts if kind == "limits" else np.asarray
                sizes[name] = sum(events(counts[key]).sum(axis=(1, 2, 3)) for key in chosen).astype(float)
        return evidence, sizes

    def evidence_draws(self, described: Described, evidence: Evidence) -> Evidence:
        """`evidence` with the trained expert's under each of its draws, shape (n_draws, n, n_classes)."""
        if self.trained is None or not len(self.trained.draws):
            return dict(evidence)
        return evidence | {TRAINED: self._ratio(described, draws=True)}

    def _ratio(self, described: Described, *, draws: bool) -> np.ndarray:
        ratio = self.trained.log_posterior(described.features, draws=draws) - self.log_train
        return np.where(described.n_detections[:, None] > 0, ratio, 0.0)
