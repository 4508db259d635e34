"""The user's door: fit a model on labelled objects, classify others, save and load."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bayesclass.augmentation import Target
from bayesclass.fit_checks import FitError
from bayesclass.fitting import Fitted, fit_model
from bayesclass.novelty import novelty_remark
from bayesclass.novelty_statistic import NoveltyParts, log_joints
from bayesclass.object_prior import ObjectPrior
from bayesclass.object_rows import one_row_an_object
from bayesclass.pool_terms import pool_terms
from bayesclass.posterior import Posterior
from bayesclass.posterior_checks import unknown_object
from bayesclass.priors import Prior
from bayesclass.progress import Progress
from bayesclass.recipe import LightCurveSpec, Recipe
from bayesclass.rehearsal import probabilities
from bayesclass.remarks import joined_remarks, object_remarks
from bayesclass.reweighting import conflict
from bayesclass.training import CONTEXT
from bayesclass.unknown import UNKNOWN_RATE, check_rate
from context.evidence import EvidenceTable
from context.evidence_rows import ObjectRows
from structurefn.light_curves import LightCurves

BLOCK = 4096


class NotFittedError(ValueError):
    """The classifier has learned nothing yet."""


class QuantityError(ValueError):
    """Magnitudes were given where the recipe takes fluxes, or the reverse."""


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
            teach the network. Those without a label are the sample that a fit with `redshifted` light
            curves aims at; other recipes do not use them. With a column alternative_probability, one row for
            each alternative.
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
        objects = _with_identifiers(objects)
        batch = self._batch(light_curves, objects)
        taxonomy = self.recipe.taxonomy
        one = one_row_an_object(objects, self.recipe)
        labels = self.recipe.raw_labels(one)
        unmapped = taxonomy.unmapped(labels)
        allowed_by_row = taxonomy.allowed(labels)
        row = pd.Index(one["object_id"]).get_indexer(pd.Index(batch.object_id))
        # Objects without a row have the last one, no label.
        allowed = np.vstack([allowed_by_row, np.zeros((1, taxonomy.n_leaves), bool)])[row]
        labelled = np.flatnonzero(allowed.any(axis=1) & ~allowed.all(axis=1))
        if not len(labelled):
            found = ", ".join(f"{label!r} ({count})" for label, count in list(unmapped.items())[:5])
            raise FitError(
                f"column {self.recipe.classes.label!r} of the objects' table must hold labels of recipe "
                f"{self.recipe.name} ({', '.join(self.classes_)}), but it holds none, only "
                f"{found or 'no row'}: add them to [classes.labels] of the recipe, or use another column."
            )
        # In the order of their names, so that the order of the tables' rows changes no fit.
        labelled = labelled[np.argsort(batch.object_id[labelled], kind="stable")]
        target = None
        if self.recipe.fit.redshifts(len(labelled)) and len(labelled) < len(allowed):
            others = batch.take_objects(np.setdiff1d(np.arange(len(allowed)), labelled))
            target = Target(others, self.recipe.read_evidence(objects, object_ids=others.object_id))
        batch = batch.take_objects(labelled)
        evidence = self.recipe.read_evidence(objects, object_ids=batch.object_id)
        self._fitted = fit_model(self.recipe, batch, evidence, allowed[labelled], progress, target)
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
        prior: Prior | ObjectPrior | None = None,
        unknown_rate: float = UNKNOWN_RATE,
    ) -> Posterior:
        """Compute class probabilities of every object of either table.

        Parameters
        ----------
        light_curves : LightCurves, DataFrame or None
        objects : DataFrame, optional
            Columns object_id and whatever evidence there is; labels are not read. Alternatives as in `fit`.
        progress : callable, optional
            Called with (stage, done, total).
        prior : Prior, optional
            Class prior in place of the training sample's; as `Posterior.with_prior` of what comes without.
        unknown_rate : float
            Share of objects that belong to no class of the recipe, assumed in `Posterior.unknown`.

        Returns
        -------
        Posterior
            Objects in the order of the light curves, then those of `objects` alone.

        Raises
        ------
        ValueError
            If a table cannot be used at all.
        """
        trained_on, unknown_rate = Prior.training(self), check_rate(unknown_rate)
        if prior is not None:
            prior.in_order(self.classes_)  # refuses early
        objects = _with_identifiers(objects)
        batch = self._batch(light_curves, objects)
        evidence = self.recipe.read_evidence(objects, object_ids=batch.object_id)
        parts = []
        for start in range(0, max(batch.n_objects, 1), BLOCK):
            index = np.arange(start, min(start + BLOCK, batch.n_objects))
            parts.append(self._classify_block(batch.take_objects(index), evidence.take(index), unknown_rate))
            if progress:
                progress("classifying", int(index[-1]) + 1 if len(index) else 0, batch.n_objects)
        joined = {
            name: np.concatenate([part[name] for part in parts], axis=1 if name == "draws" else 0)
            for name in ("probability", "draws", "prediction_set", "novelty", "unknown", "conflict")
        }
        if not len(joined["draws"]):
            joined["draws"] = None  # a fit without draws states no interval
        reasons = {
            name: np.concatenate([part["reasons"][name] for part in parts]) for name in parts[0]["reasons"]
        }
        limits_used = any(stream.kind == "limits" for stream in self.recipe.streams)
        remarks = object_remarks(batch, evidence, objects is not None, limits_used=limits_used)
        posterior = Posterior(
            object_id=batch.object_id,
            taxonomy=self.recipe.taxonomy,
            n_detections=batch.n_detections,
            n_upper_limits=batch.n_upper_limits,
            warnings=joined_remarks(remarks, novelty_remark(joined["novelty"])),
            reasons=reasons,
            prior=trained_on,
            light_curve_pieces=tuple(name for name in self.fitted.pool.experts if name != CONTEXT),
            **joined,
        )
        return posterior if prior is None else posterior.with_prior(prior)

    def predict_proba(
        self, light_curves: LightCurves | pd.DataFrame | None, objects: pd.DataFrame | None = None
    ) -> np.ndarray:
        """Class probabilities alone, shape (n_objects, n_classes)."""
        return self.classify(light_curves, objects).probability

    def value_of_information(
        self,
        light_curves: LightCurves | pd.DataFrame | None,
        objects: pd.DataFrame | None = None,
        *,
        object_ids: Iterable[Any] | None = None,
        prior: Prior | ObjectPrior | None = None,
        densities: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """Compute what measuring each piece of evidence that an object lacks would tell about its class.

        Parameters
        ----------
        light_curves, objects
            As in `classify`.
        object_ids : iterable, optional
            The objects wanted; default: all.
        prior : Prior, optional
            As in `classify`.
        densities : mapping of str to float, optional
            Catalogue of nearest sources -> unrelated sources around the objects [arcmin^-2]. Default 0: what
            would be found is the counterpart, so that the figures are those of an uncrowded field.

        Returns
        -------
        DataFrame
            One row for each object and piece of evidence that is not covered, objects in their order, the
            largest expected change first:

            - object_id, evidence
            - expected_information_nats: expected reduction of the entropy of the class
            - expected_change_nats: expected relative entropy of the answer then to the answer now; the same
              where the context's weight is one, and never negative
            - p_best_changes: probability that the most probable class becomes another
            - most_telling_state: the state or value (in the table's unit, measured without error) that would
              change the probabilities most, the rarest 1 % of states apart; state_probability is its own, for
              a value that of its cell
            - best_class_then, p_best_class_then: the answer in that state, as `classify` would give it
            - best_class_now
            - expected_shift: largest difference between a class probability now and its mean after the
              measurement; zero where the context's weight is one (see `bayesclass.information.tell`)
            - note: what was assumed, or why there are no figures (NaN)

        Raises
        ------
        ValueError
            If a table cannot be used at all, or an object is not there.

        Examples
        --------
        >>> from bayesclass import Classifier
        >>> clf = Classifier.load("ztf-supernovae")
        >>> frame = clf.value_of_information(light_curves, objects)  # doctest: +SKIP
        """
        from bayesclass.information_table import value_of_information

        if prior is not None:
            prior.in_order(self.classes_)  # refuses early
        objects = _with_identifiers(objects)
        batch = self._batch(light_curves, objects)
        evidence = self.recipe.read_evidence(objects, object_ids=batch.object_id)
        if object_ids is not None:
            names = list(dict.fromkeys(str(name) for name in object_ids))
            index = pd.Index(batch.object_id).get_indexer(names)
            if (index < 0).any():
                raise unknown_object(names[int(np.argmin(index))], batch.object_id)
            batch, evidence = batch.take_objects(index), evidence.take(index)
        return value_of_information(
            self.fitted, self.recipe, batch, evidence, prior=prior, densities=densities
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write a model directory: JSON and plain arrays, whole or not at all.

        Draws of pooled tables of this fit go beside, as inference/<evidence>.nc (ArviZ's InferenceData);
        `bayesclass.pooling_storage.load_inference_data` reads them.
        """
        from bayesclass.model_io import pack
        from bayesclass.storage import save_model

        manifest, arrays = pack(self.fitted, self.recipe, self.summary)
        save_model(path, manifest, arrays)
        for name, table in self.fitted.context.network.pooled.items():
            from bayesclass.pooling_storage import save_inference_data

            save_inference_data(path, name, table.to_inference_data())

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
            raise QuantityError(
                f"recipe {self.recipe.name} takes {wanted.quantity}, but the light curves hold "
                f"{batch.quantity}: convert them, or use a recipe for that quantity."
            )
        batch = _in_channels(batch, wanted)
        return batch if objects is None else batch.with_objects(objects["object_id"].to_numpy())

    def _classify_block(self, batch: LightCurves, evidence: EvidenceTable, unknown_rate: float) -> dict:
        fitted = self.fitted
        experts = fitted.experts
        described, got, sizes, terms = pool_terms(fitted, batch, evidence)
        probability = probabilities(terms)
        drawn = experts.evidence_draws(described, got)
        if fitted.context.n_draws:
            drawn[CONTEXT] = fitted.context.log_likelihood_draws(evidence)
        draws = probabilities({"all": fitted.pool.log_joint_draws(drawn, sizes)})
        near = fitted.novelty.distances(described)
        parts = NoveltyParts(log_joints(terms, got), *near, described.n_detections)
        novelty, unknown = fitted.novelty.measure(parts, unknown_rate)
        return {
            "probability": probability,
            "draws": draws.astype(np.float32),
            "prediction_set": fitted.sets.apply(probability, described.n_detections),
            "novelty": novelty,
            "unknown": unknown,
            "conflict": _conflict(terms),
            "reasons": self._reasons(terms, evidence, sizes[CONTEXT]),
        }

    def _reasons(
        self, terms: dict[str, np.ndarray], evidence: EvidenceTable, size: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Terms of the pool, the context's split into its columns and matches."""
        pool = self.fitted.pool
        reasons = {name: values for name, values in terms.items() if name != CONTEXT}
        weight = pool.weight(CONTEXT, size)[:, None]
        for name, values in self.fitted.context.contributions(evidence).items():
            reasons[name] = weight * values
        return reasons


def _with_identifiers(objects: Any) -> pd.DataFrame | None:
    """Objects' table with its identifiers as text; refused by `ObjectRows` if one lacks or repeats."""
    if objects is None:
        return None
    frame = objects.to_pandas() if hasattr(objects, "to_pandas") else objects
    return frame.assign(object_id=ObjectRows.read(frame).row_id)


def _in_channels(batch: LightCurves, wanted: LightCurveSpec) -> LightCurves:
    """Batch in the recipe's channels and their order, as if it had been read with them."""
    if list(batch.channels) == [name for name in wanted.channels if name in batch.channels]:
        return batch
    if not batch.n_points:
        return replace(batch, channels=wanted.channels)
    again = LightCurves.from_frame(
        batch.to_frame(), channels=wanted.channels, aliases=wanted.aliases, object_ids=batch.object_id
    )
    set_aside = pd.concat([batch.set_aside, again.set_aside], ignore_index=True)
    return replace(again, set_aside=set_aside)


def _conflict(terms: dict[str, np.ndarray]) -> np.ndarray:
    """Agreement of the pool's terms of light curve and context."""
    context = terms[CONTEXT]
    light_curve = sum(
        (v for name, v in terms.items() if name not in ("prior", "calibration", CONTEXT)),
        np.zeros_like(context),
    )
    return conflict(terms["prior"] + terms["calibration"], light_curve, context)
