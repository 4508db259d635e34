"""What would change the answer most if it were measured: a table of what each object lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from bayesclass.fitting import Fitted
from bayesclass.information import tell
from bayesclass.information_states import StateLikelihoods
from bayesclass.object_prior import ObjectPrior
from bayesclass.pool_terms import PoolTerms, pool_terms
from bayesclass.priors import Prior
from bayesclass.recipe import Recipe
from bayesclass.recipe_schema import MatchSpec
from bayesclass.training import CONTEXT
from context.evidence import EvidenceSpec, EvidenceTable, State
from structurefn.light_curves import LightCurves

__all__ = ["COLUMNS", "value_of_information"]

COLUMNS = (
    "object_id",
    "evidence",
    "expected_information_nats",
    "expected_change_nats",
    "p_best_changes",
    "most_telling_state",
    "state_probability",
    "best_class_then",
    "p_best_class_then",
    "best_class_now",
    "expected_shift",
    "note",
)
# Objects at a time: each is evaluated once for every state.
BLOCK = 256
# Light curves that are described at once, where they must be anew for each state.
AT_ONCE = 4096
SEVERAL = "one of several alternatives is true, and which would be measured is open: not computed"


def value_of_information(
    fitted: Fitted,
    recipe: Recipe,
    light_curves: LightCurves,
    evidence: EvidenceTable,
    *,
    prior: Prior | ObjectPrior | None = None,
    densities: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Compute, for each object and each piece of evidence it lacks, what measuring that would tell.

    Parameters
    ----------
    fitted : Fitted
    recipe : Recipe
        That it was fitted with.
    light_curves : LightCurves
        In the channels of the recipe.
    evidence : EvidenceTable
        Of the same objects in the same order.
    prior, densities
        As of `Classifier.value_of_information`.

    Returns
    -------
    DataFrame
        As `Classifier.value_of_information`.

    Raises
    ------
    ValueError
        A density of a catalogue that is not among the recipe's matches, or that is negative or not finite.
    """
    densities = _checked(densities, recipe)
    leaves = recipe.taxonomy.leaves
    log_ratio = np.zeros((light_curves.n_objects, len(leaves)))
    if prior is not None:
        probability, _, row = prior.of_objects(light_curves.object_id, leaves)
        with np.errstate(divide="ignore"):
            log_ratio = (np.log(probability) - fitted.pool.log_prior)[row]
    rows: list[tuple] = []
    for start in range(0, light_curves.n_objects, BLOCK):
        index = np.arange(start, min(start + BLOCK, light_curves.n_objects))
        few = _Few(fitted, recipe, light_curves.take_objects(index), evidence.take(index), log_ratio[index])
        for spec in recipe.evidence:
            rows += few.column(spec)
        for spec in recipe.matches:
            rows += few.match(spec, densities.get(spec.name, 0.0))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    place = pd.Index(light_curves.object_id).get_indexer(frame["object_id"])
    order = np.lexsort([-frame["expected_change_nats"].to_numpy(float), place])
    return frame.iloc[order].reset_index(drop=True)


def _checked(densities: Mapping[str, float] | None, recipe: Recipe) -> dict[str, float]:
    densities = dict(densities or {})
    known = [spec.name for spec in recipe.matches]
    for name, density in densities.items():
        if name not in known or not (np.isfinite(density) and density >= 0):
            raise ValueError(
                "densities must give catalogues of the recipe a finite number of sources per square arcmin, "
                f"zero or more, found {name!r}: {density}; known: {', '.join(known) or 'none'}."
            )
    return densities


class _Few:
    """Objects that are evaluated together, and their present log-probabilities term by term."""

    def __init__(
        self,
        fitted: Fitted,
        recipe: Recipe,
        light_curves: LightCurves,
        evidence: EvidenceTable,
        log_ratio: np.ndarray,
    ):
        self.fitted, self.light_curves, self.evidence = fitted, light_curves, evidence
        self.classes, self.log_ratio = np.array(recipe.taxonomy.leaves), log_ratio
        pooled = pool_terms(fitted, light_curves, evidence)
        self.weight = fitted.pool.weight(CONTEXT, pooled.sizes[CONTEXT])[:, None]
        self.log_apart = self._without_context(pooled, log_ratio)
        self.log_now = self.log_apart + pooled.terms[CONTEXT]
        self.best = self.classes[self.log_now.argmax(axis=1)]

    @staticmethod
    def _without_context(pooled: PoolTerms, log_ratio: np.ndarray) -> np.ndarray:
        return sum((values for name, values in pooled.terms.items() if name != CONTEXT), log_ratio)

    def column(self, spec: EvidenceSpec) -> list[tuple]:
        """Return rows of the result for one evidence column."""
        missing = self.evidence.columns[spec.name].state == State.NOT_COVERED
        several = np.zeros(len(missing), dtype=bool)
        if self.evidence.alternatives is not None:
            several = np.bincount(self.evidence.alternatives.owner, minlength=len(missing)) > 1
        nothing = (np.nan, np.nan, np.nan, "", np.nan, "", np.nan)
        left_out = [
            (self.light_curves.object_id[i], spec.name, *nothing, self.best[i], np.nan, SEVERAL)
            for i in np.flatnonzero(missing & several)
        ]
        index = np.flatnonzero(missing & ~several)
        if not len(index):
            return left_out
        states = self.fitted.context.state_log_likelihoods(self.evidence.take(index), spec.name)
        labels = [_label(spec, *state) for state in zip(states.labels, states.value, strict=True)]
        apart = self.log_apart[index]
        if any(
            stream.kind == "contrast" and stream.reference == spec.name
            for stream in self.fitted.representation.streams
        ):
            apart = self._described_anew(index, spec.name, states.value)
        return left_out + self._rows(index, spec.name, apart, states, labels, "")

    def match(self, spec: MatchSpec, density: float) -> list[tuple]:
        """Return rows of the result for the nearest source in one catalogue."""
        index = np.flatnonzero(~self.evidence.matches[spec.name].covered)
        if not len(index):
            return []
        chosen = self.evidence.take(index)
        states = self.fitted.context.state_log_likelihoods(chosen, spec.name, density=density)
        labels = [*(f"{value:.3g} arcsec away" for value in states.value[:-1]), states.labels[-1]]
        note = f"assumed: {density:g} unrelated sources per square arcmin"
        return self._rows(index, spec.name, self.log_apart[index], states, labels, note)

    def _rows(self, index, name, log_apart, states: StateLikelihoods, labels, note) -> list[tuple]:
        log = states.log_likelihood
        log_then = log_apart + self.weight[index] * (log - log.mean(axis=-1, keepdims=True))
        told = tell(self.log_now[index], log_then, states)
        n = len(index)
        columns = (
            *(self.light_curves.object_id[index], [name] * n),
            *(told.information, told.change, told.p_best_changes),
            *([labels[s] for s in told.state], told.state_probability),
            *(self.classes[told.then.argmax(axis=1)], told.then.max(axis=1)),
            *(self.best[index], told.shift, [note] * n),
        )
        return list(zip(*columns, strict=True))

    def _described_anew(self, index: np.ndarray, name: str, values: np.ndarray) -> np.ndarray:
        """Sum the terms other than the context's, were the reference of a contrast of each value in turn.

        A light curve is compared with its reference, so that its own evidence follows what the archive says.

        Returns
        -------
        float64 array, shape (n_states, n_objects, n_leaves)
        """
        n = len(index)
        result = np.empty((len(values), n, len(self.classes)))
        together = max(1, AT_ONCE // n)
        for start in range(0, len(values), together):
            some = values[start : start + together]
            every = np.tile(index, len(some))
            value = np.repeat(some, n)
            measured = ~np.isnan(value)
            evidence = replace(self.evidence.take(every), alternatives=None)
            column = replace(
                evidence.columns[name],
                value=value,
                error=np.where(measured, 0.0, np.nan),
                state=np.where(measured, State.MEASURED, State.NONE).astype(np.int8),
            )
            evidence = replace(evidence, columns=evidence.columns | {name: column})
            pooled = pool_terms(self.fitted, self.light_curves.take_objects(every), evidence)
            log_ratio = np.tile(self.log_ratio[index], (len(some), 1))
            apart = self._without_context(pooled, log_ratio)
            result[start : start + together] = apart.reshape(len(some), n, -1)
        return result


def _label(spec: EvidenceSpec, label: str, value: float) -> str:
    """Name a state for people: a value in the unit of the table."""
    if np.isnan(value) or spec.kind in ("categorical", "count"):
        return label
    unit = spec.unit if spec.unit != "1" else ""
    return f"{float(spec.inverse(value)):.4g} {unit}".strip()
