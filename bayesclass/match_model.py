"""The nearest source of one catalogue as a likelihood of each class: learned, with draws, stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bayesclass.recipe_schema import MatchSpec
from context.evidence_matches import MatchColumn
from context.nearest_draws import draw_nearest
from context.nearest_fit import NearestModel

__all__ = ["MatchModel"]

PRIOR = (1.0, 1.0)


@dataclass(frozen=True)
class MatchModel:
    """How often, and how near, each class has its counterpart in a catalogue.

    Attributes
    ----------
    name : str
        Of the catalogue.
    model : NearestModel
    draws : tuple of NearestModel
    """

    name: str
    model: NearestModel
    draws: tuple[NearestModel, ...] = ()

    @classmethod
    def fit(
        cls,
        spec: MatchSpec,
        column: MatchColumn,
        allowed: np.ndarray,
        weights: np.ndarray,
        frequency: np.ndarray,
        *,
        n_draws: int,
        rng: np.random.Generator,
    ) -> MatchModel:
        """Learn from labelled objects.

        Parameters
        ----------
        spec : MatchSpec
        column : MatchColumn
        allowed : bool array, shape (n_objects, n_leaves)
        weights : array, shape (n_objects,)
        frequency : array, shape (n_leaves,)
            Of the classes, by which partial labels are shared out for the draws.
        n_draws, rng
            Of draws of the parameters.

        Returns
        -------
        MatchModel
            The same for all classes where no labelled object is covered, so that it says nothing.
        """
        given = column.within(spec.radius).arguments()
        n_leaves = allowed.shape[1]
        options = {"shared_scatter": spec.shared_scatter, "prior": PRIOR, "typical_scatter": spec.scatter}
        if (given["covered"] & (weights > 0)).any():
            model = NearestModel.fit(**given, allowed=allowed, weights=weights, radius=spec.radius, **options)
        else:
            probability = np.full(n_leaves, PRIOR[0] / sum(PRIOR))
            model = NearestModel(probability, np.full(n_leaves, spec.scatter), spec.radius)
        log = np.where(allowed, np.log(frequency) + model.log_likelihood(**given), -np.inf)
        share = np.exp(log - np.logaddexp.reduce(log, axis=1, keepdims=True)) * weights[:, None]
        draws = draw_nearest(model, **given, share=share, rng=rng, n_draws=n_draws, **options)
        return cls(spec.name, model, draws)

    @property
    def piece(self) -> str:
        """Name among the reasons."""
        return f"{self.name} match"

    def log_likelihood(self, column: MatchColumn) -> np.ndarray:
        """Log-likelihood of each class, shape (n_objects, n_leaves); zero where not covered."""
        return self.model.log_likelihood(**column.within(self.model.radius).arguments())

    def log_likelihood_draws(self, column: MatchColumn) -> np.ndarray:
        """Compute the same under each draw, shape (n_draws, n_objects, n_leaves)."""
        given = column.within(self.model.radius).arguments()
        n_leaves = len(self.model.probability)
        result = np.zeros((len(self.draws), len(given["found"]), n_leaves), dtype=np.float32)
        for i, draw in enumerate(self.draws):
            result[i] = draw.log_likelihood(**given)
        return result

    def to_arrays(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Return plain values for JSON, and the draws as arrays."""
        shape = (len(self.draws), len(self.model.probability))
        arrays = {
            f"{key}_draws": np.array([getattr(draw, key) for draw in self.draws]).reshape(shape)
            for key in ("probability", "scatter")
        }
        return {"name": self.name, **self.model.to_dict()}, arrays

    @classmethod
    def from_arrays(cls, meta: Mapping, arrays: Mapping[str, np.ndarray]) -> MatchModel:
        """Inverse of `to_arrays`."""
        model = NearestModel.from_dict(meta)
        drawn = zip(arrays["probability_draws"], arrays["scatter_draws"], strict=True)
        draws = tuple(NearestModel(probability, scatter, model.radius) for probability, scatter in drawn)
        return cls(meta["name"], model, draws)
