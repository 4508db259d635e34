"""Probabilities and labels brought together object by object, with every check and count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesclass.evaluation_notes import examples, remarks
from bayesclass.object_rows import one_row_an_object
from bayesclass.posterior import Posterior
from bayesclass.recipe import Recipe
from bayesclass.tables import InputError
from structurefn.columns import LightCurveError, labels, numbers


@dataclass(frozen=True, eq=False)
class Sample:
    """Probabilities and labels of the objects that take part, side by side."""

    object_id: np.ndarray
    label: np.ndarray
    p: np.ndarray
    allowed: np.ndarray
    sets: np.ndarray | None
    n_detections: np.ndarray | None
    columns: pd.DataFrame

    @property
    def one(self) -> np.ndarray:
        """Objects of exactly one labelled class, shape (n,), bool."""
        return self.allowed.sum(axis=1) == 1

    @property
    def y(self) -> np.ndarray:
        """Labelled class; meaningful where `one` holds."""
        return self.allowed.argmax(axis=1)


def as_frame(posteriors: pd.DataFrame | Posterior) -> pd.DataFrame:
    """Return posteriors as the table that `classify` writes, with their reasons where they have any."""
    if isinstance(posteriors, Posterior):
        return posteriors.to_frame(reasons=bool(posteriors.reasons))
    return posteriors


def read_posteriors(
    posteriors: pd.DataFrame, recipe: Recipe, name: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Return the identifiers, shape (n,), and probabilities, shape (n, n_leaves), of a table, checked.

    Raises
    ------
    InputError
        The table can't be used; the sentence begins with `name` where that is given.
    """
    with _named(name):
        return identifiers(posteriors, "posteriors"), _probabilities(posteriors, recipe)


def join(posteriors, objects, recipe, name=""):
    """Bring probabilities and labels together; count and note what does not take part.

    Sentences about the posteriors begin with `name` where that is given.
    """
    leaves = recipe.taxonomy.leaves
    objects = one_row_an_object(objects, recipe)
    names, p = read_posteriors(posteriors, recipe, name)
    others = identifiers(objects, "objects' table")
    row = pd.Series(np.arange(len(others)), index=others).reindex(names).to_numpy(float)
    common = ~np.isnan(row)
    if not common.any():
        raise InputError(
            f"Posteriors and objects must share object_id, but none of the {len(names)} posteriors (as "
            f"'{names[0]}') is among the {len(others)} objects (as '{others[0]}'): give the table that was "
            "classified."
        )
    raw = recipe.raw_labels(objects)[row[common].astype(int)]
    allowed = recipe.taxonomy.allowed(raw)
    n_allowed = allowed.sum(axis=1)
    outside = recipe.taxonomy.unmapped(raw)
    known = (n_allowed > 0) & (n_allowed < len(leaves))
    counts = {
        "posteriors": len(names),
        "without_a_row_in_objects": int((~common).sum()),
        "objects_without_a_posterior": len(others) - int(common.sum()),
        "without_label": outside.pop("", 0),
        "label_not_in_recipe": sum(outside.values()),
        "label_allows_every_class": int((n_allowed == len(leaves)).sum()),
        "partial_label": int((known & (n_allowed > 1)).sum()),
        "one_labelled_class": int((n_allowed == 1).sum()),
    }
    if not known.any():
        raise InputError(
            f"Objects need a label of recipe {recipe.name} to be judged, but of {int(common.sum())} in "
            f"common {counts['without_label']} have none and {counts['label_not_in_recipe']} have one "
            f"that it does not map{examples(outside)}: check column {recipe.classes.label}."
        )
    used = np.flatnonzero(common)[known]
    table = posteriors.iloc[used].reset_index(drop=True)
    with _named(name):
        sets, n_detections = _sets(table, leaves), _detections(table)
    sample = Sample(
        object_id=names[used],
        label=raw[known],
        p=p[used],
        allowed=allowed[known],
        sets=sets,
        n_detections=n_detections,
        columns=table,
    )
    unmapped = pd.DataFrame({"label": list(outside), "n_objects": list(outside.values())})
    return sample, counts, unmapped, remarks(sample, counts, outside, leaves)


def identifiers(frame: pd.DataFrame, what: str) -> np.ndarray:
    """Return the identifiers of a table as text, each checked to be there and to be there once."""
    if "object_id" not in frame.columns or frame.empty:
        found = (
            "no row" if "object_id" in frame.columns else ", ".join(map(str, frame.columns)) or "no column"
        )
        raise InputError(f"The {what} must have a column object_id and a row, but it has {found}.")
    try:
        code, names = labels(frame["object_id"], "object_id")
    except LightCurveError as error:
        raise InputError(f"The {what}: {error}") from error
    if (code < 0).any():
        raise InputError(
            f"The {what} must name each object, but object_id is empty in {(code < 0).sum()} rows."
        )
    if len(names) != len(code):
        repeated = names[np.bincount(code).argmax()]
        raise InputError(
            f"The {what} must have one row an object, but object_id {repeated} is there more than once."
        )
    return names[code]


def _probabilities(posteriors: pd.DataFrame, recipe: Recipe) -> np.ndarray:
    leaves = recipe.taxonomy.leaves
    wanted = [f"p_{leaf}" for leaf in leaves]
    # p_unknown is of no class of the recipe: the others are given that the object belongs to one.
    accepted = {*wanted, "p_unknown", *(f"p_{node}" for node in recipe.taxonomy.nodes)}
    accepted |= {f"{name}_{end}" for name in wanted for end in ("lo", "hi")}
    missing = [name for name in wanted if name not in posteriors.columns]
    given = [str(name) for name in posteriors.columns if str(name).startswith("p_")]
    unknown = [name for name in given if name not in accepted]
    # The intervals of an unknown class say nothing that its probability does not.
    unknown = [name for name in unknown if name[:-3] not in unknown]
    if missing or unknown:
        parts = [f"{', '.join(missing)} missing"] if missing else []
        parts += [f"{', '.join(unknown)} not among its classes"] if unknown else []
        raise InputError(
            f"The columns of the posteriors must be those of recipe {recipe.name} ({', '.join(wanted)}), "
            f"found {' and '.join(parts)}: name the recipe that the model was made from."
        )
    try:
        columns = [numbers(posteriors[name], name) for name in wanted]
    except LightCurveError as error:
        raise InputError(f"The posteriors: {error}") from error
    p = np.stack(columns, axis=1)
    total = p.sum(axis=1)
    wrong = ~(((p >= 0) & (p <= 1 + 1e-3)).all(axis=1) & (np.abs(total - 1.0) <= 1e-3))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise InputError(
            "Probabilities must lie between 0 and 1 and sum to one within 0.001, but "
            f"{int(wrong.sum())} objects have others, as {posteriors['object_id'].iloc[i]} with "
            f"{', '.join(f'{x:.4g}' for x in p[i])}, sum {total[i]:.4g}: write the posteriors again."
        )
    return p / total[:, None]


def _sets(table: pd.DataFrame, leaves: tuple[str, ...]) -> np.ndarray | None:
    if "prediction_set" not in table:
        return None
    code, distinct = pd.factorize(table["prediction_set"].fillna("").astype(str))
    members = [[name for name in text.split("|") if name] for text in distinct]
    if not any(members):
        return None
    unknown = sorted({name for names in members for name in names if name not in leaves})
    if unknown:
        raise InputError(
            f"Column prediction_set must hold classes of the recipe ({', '.join(leaves)}) joined by '|', "
            f"found {unknown[0]!r}: write the posteriors again, or name the recipe of their model."
        )
    return np.array([[leaf in names for leaf in leaves] for names in members])[code]


def _detections(table: pd.DataFrame) -> np.ndarray | None:
    if "n_detections" not in table:
        return None
    try:
        n = numbers(table["n_detections"], "n_detections")
    except LightCurveError as error:
        raise InputError(f"The posteriors: {error}") from error
    wrong = ~((n >= 0) & (n == np.floor(n)))
    if wrong.any():
        raise InputError(
            "Column n_detections must hold whole numbers from 0 on, found "
            f"{n[wrong][0]:g} in {int(wrong.sum())} rows: write the posteriors again."
        )
    return n.astype(np.int64)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Begin the sentence of a refusal with a name."""
    try:
        yield
    except InputError as error:
        if not name:
            raise
        raise InputError(f"{name}: {error}") from error
