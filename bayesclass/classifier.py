"""The user's door: fit a model on labelled objects, classify others, save and load."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bayesclass.fitting import (
    CONTEXT,
    FitError,
    Fitted,
    chain_moments,
    chain_size,
    fit_model,
    probabilities,
)
from bayesclass.novelty import standardised
from bayesclass.posterior import Posterior
from bayesclass.progress import Progress
from bayesclass.recipe import Recipe
from bayesclass.remarks import object_remarks
from context.evidence import EvidenceTable
from structurefn.light_curves import LightCurves

BLOCK = 4096


class NotFittedError(ValueError):
    """The classifier has learned nothing yet."""


class Classifier:
    """Class probabilities of changing sources from light curves and context.

    Parameters
    ----------
    recipe : Recipe
        Class tree, streams, evidence and network.
    seed : int, optional
        In place of the recipe's.

    Examples
    --------
    >>> from bayesclass import Classifier
    >>> clf = Classifier.from_recipe("ztf-supernovae")
    >>> clf.classes_
    ('Ia', 'II', 'Ibc', 'IIn', 'SLSN')
    """

    def __init__(self, recipe: Recipe, *, seed: int | None = None):
        self.recipe = recipe if seed is None else replace(recipe, fit=replace(recipe.fit, seed=seed))
        self._fitted: Fitted | None = None
        self.summary: dict = {}

    @classmethod
    def from_recipe(cls, name_or_path: str | os.PathLike, *, seed: int | None = None) -> Classifier:
        """Make an unfitted classifier from a shipped recipe's name or a TOML file."""
        return cls(Recipe.load(name_or_path), seed=seed)

    @property
    def classes_(self) -> tuple[str, ...]:
        """Leaves of the class tree, in the order of every class axis."""
        return self.recipe.taxonomy.leaves

    @property
    def fitted(self) -> Fitted:
        """What the fit learned."""
        if self._fitted is None:
            raise NotFittedError(
                "a classifier must be fitted or loaded before it is used: call fit(...) first."
            )
        return self._fitted

    def fit(
        self,
        light_curves: LightCurves | pd.DataFrame,
        objects: pd.DataFrame,
        progress: Progress | None = None,
    ) -> Classifier:
        """Learn from labelled objects.

        Parameters
        ----------
        light_curves : LightCurves or DataFrame
            Columns object_id, survey, band, mjd, mag and mag_err (or flux and flux_err), [upper_limit].
        objects : DataFrame
            Columns object_id, the recipe's label and evidence columns. Objects without light curve
            teach the network.
        progress : callable, optional
            Called with (stage, done, total).

        Returns
        -------
        Classifier
            Itself.

        Raises
        ------
        ValueError
            If a table cannot be used, or the sample is too small (`FitError`).
        """
        batch = self._batch(light_curves, objects)
        taxonomy = self.recipe.taxonomy
        objects = objects.assign(object_id=objects["object_id"].astype(str))
        labels = self.recipe.raw_labels(objects)
        unmapped = taxonomy.unmapped(labels)
        allowed_by_row = taxonomy.allowed(labels)
        table = pd.Index(objects["object_id"])
        if table.has_duplicates:
            raise FitError(
                "object_id must be unique in the objects' table, but "
                f"{table[table.duplicated()][0]!r} repeats: keep one row an object."
            )
        row = table.get_indexer(pd.Index(batch.object_id))
        allowed = np.where((row >= 0)[:, None], allowed_by_row[row], False)
        labelled = np.flatnonzero(allowed.any(axis=1) & ~allowed.all(axis=1))
        batch = batch.take_objects(labelled)
        evidence = EvidenceTable.from_frame(objects, self.recipe.evidence, object_ids=batch.object_id)
        self._fitted = fit_model(self.recipe, batch, evidence, allowed[labelled], progress)
        self.summary = self._fitted.summary | {
            "n_unlabelled": int(len(allowed) - len(labelled)),
            "unmapped_labels": {k or "(none)": int(v) for k, v in unmapped.items()},
        }
        return self

    def classify(
        self,
        light_curves: LightCurves | pd.DataFrame | None,
        objects: pd.DataFrame | None = None,
        progress: Progress | None = None,
    ) -> Posterior:
        """Compute class probabilities of every object of either table.

        Parameters
        ----------
        light_curves : LightCurves, DataFrame or None
        objects : DataFrame, optional
            Columns object_id and whatever evidence there is; labels are not read.
        progress : callable, optional
            Called with (stage, done, total).

        Returns
        -------
        Posterior
            Objects in the order of the light curves, then those of `objects` alone.

        Raises
        ------
        ValueError
            If a table cannot be used at all.
        """
        _ = self.fitted  # refuses early
        batch = self._batch(light_curves, objects)
        if objects is not None:
            objects = objects.assign(object_id=objects["object_id"].astype(str))
        evidence = EvidenceTable.from_frame(objects, self.recipe.evidence, object_ids=batch.object_id)
        parts = []
        for start in range(0, max(batch.n_objects, 1), BLOCK):
            index = np.arange(start, min(start + BLOCK, batch.n_objects))
            parts.append(self._classify_block(batch.take_objects(index), evidence.take(index)))
            if progress:
                progress("classifying", int(index[-1]) + 1 if len(index) else 0, batch.n_objects)
        joined = {
            name: np.concatenate([part[name] for part in parts], axis=1 if name == "draws" else 0)
            for name in ("probability", "draws", "prediction_set", "novelty", "conflict")
        }
        reasons = {
            name: np.concatenate([part["reasons"][name] for part in parts]) for name in parts[0]["reasons"]
        }
        return Posterior(
            object_id=batch.object_id,
            taxonomy=self.recipe.taxonomy,
            n_detections=batch.n_detections,
            n_upper_limits=batch.n_upper_limits,
            warnings=object_remarks(batch, evidence, objects is not None),
            reasons=reasons,
            **joined,
        )

    def predict_proba(
        self, light_curves: LightCurves | pd.DataFrame | None, objects: pd.DataFrame | None = None
    ) -> np.ndarray:
        """Class probabilities alone, shape (n_objects, n_classes)."""
        return self.classify(light_curves, objects).probability

    def save(self, path: str | os.PathLike) -> None:
        """Write a model directory: JSON and plain arrays, whole or not at all."""
        from bayesclass.model_io import pack
        from bayesclass.storage import save_model

        manifest, arrays = pack(self.fitted, self.recipe, self.summary)
        save_model(path, manifest, arrays)

    @classmethod
    def load(cls, name_or_path: str | os.PathLike) -> Classifier:
        """Load a model directory or a shipped model by its name. No code of the model is run."""
        from bayesclass.model_io import unpack
        from bayesclass.storage import load_model, resolve_model

        recipe, fitted, summary = unpack(*load_model(resolve_model(name_or_path)))
        classifier = cls(recipe)
        classifier._fitted, classifier.summary = fitted, summary
        return classifier

    def _batch(self, light_curves: Any, objects: pd.DataFrame | None) -> LightCurves:
        """Light curves with the recipe's channels, joined by the objects that have none."""
        wanted = self.recipe.light_curves
        if light_curves is None:
            batch = LightCurves.empty(wanted.channels, wanted.quantity)
        elif isinstance(light_curves, LightCurves):
            batch = light_curves
        else:
            batch = LightCurves.from_frame(light_curves, channels=wanted.channels, aliases=wanted.aliases)
        if batch.quantity != wanted.quantity:
            raise NotFittedError(
                f"recipe {self.recipe.name} takes {wanted.quantity}, but the light curves hold {batch.quantity}: "
                "convert them, or use a recipe for that quantity."
            )
        return batch if objects is None else batch.with_objects(objects["object_id"].astype(str).to_numpy())

    def _classify_block(self, batch: LightCurves, evidence: EvidenceTable) -> dict:
        fitted = self.fitted
        experts = fitted.experts
        described = fitted.representation.describe(batch)
        got, sizes = experts.evidence(described)
        got[CONTEXT] = fitted.network.log_likelihood(evidence)
        sizes[CONTEXT] = np.zeros(batch.n_objects)
        terms = fitted.pool.terms(got, sizes)
        probability = probabilities(terms)
        drawn = experts.evidence_draws(described, got)
        if fitted.network.draws:
            drawn[CONTEXT] = fitted.network.log_likelihood_draws(evidence)
        draws = probabilities({"all": fitted.pool.log_joint_draws(drawn, sizes)})
        z = standardised(*chain_moments(experts, described), probability)
        return {
            "probability": probability,
            "draws": draws.astype(np.float32),
            "prediction_set": fitted.sets.apply(probability),
            "novelty": fitted.novelty.novelty(z, chain_size(experts, sizes)),
            "conflict": _conflict(terms),
            "reasons": self._reasons(terms, evidence),
        }

    def _reasons(self, terms: dict[str, np.ndarray], evidence: EvidenceTable) -> dict[str, np.ndarray]:
        """Terms of the pool, the context's split into its columns."""
        pool = self.fitted.pool
        reasons = {name: values for name, values in terms.items() if name != CONTEXT}
        weight = pool.weight(CONTEXT, np.zeros(1))
        for name, values in self.fitted.network.contributions(evidence).items():
            reasons[name] = weight[0] * values
        return reasons


def _conflict(terms: dict[str, np.ndarray]) -> np.ndarray:
    r"""Log of how much better light curve and context agree than by chance, 0 where one is missing.

    .. math:: \log \sum_c \pi_c L_c X_c - \log \sum_c \pi_c L_c - \log \sum_c \pi_c X_c
    """
    prior = terms["prior"] + terms["calibration"]
    prior = prior - np.logaddexp.reduce(prior, axis=1, keepdims=True)
    context = terms[CONTEXT]
    light_curve = sum(
        (v for name, v in terms.items() if name not in ("prior", "calibration", CONTEXT)),
        np.zeros_like(context),
    )

    def total(values):
        return np.logaddexp.reduce(prior + values, axis=1)

    return total(light_curve + context) - total(light_curve) - total(context)
