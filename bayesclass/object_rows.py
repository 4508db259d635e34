"""One row an object of a table that has a row for each alternative."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesclass.recipe import Recipe
from context.evidence import EvidenceError
from context.evidence_rows import ALTERNATIVE_PROBABILITY, ObjectRows

__all__ = ["one_row_an_object"]


def one_row_an_object(objects: pd.DataFrame, recipe: Recipe) -> pd.DataFrame:
    """Return the first row of each object, for what belongs to the object: its identifier and label.

    Parameters
    ----------
    objects : DataFrame
        Returned as it is unless it has the column alternative_probability.
    recipe : Recipe
        Says which columns hold labels.

    Raises
    ------
    EvidenceError
        Rows of one object with different labels, or as `ObjectRows.read`.
    RecipeError
        The label's column is not in the table.
    """
    if ALTERNATIVE_PROBABILITY not in objects:
        return objects
    rows = ObjectRows.read(objects)
    labels = recipe.raw_labels(objects)
    first = np.unique(rows.owner, return_index=True)[1]
    differs = labels != labels[first][rows.owner]
    if differs.any():
        i = int(np.argmax(differs))
        raise EvidenceError(
            f"All rows of an object must have one label, but those of {rows.row_id[i]!r} have "
            f"{labels[first][rows.owner[i]]!r} and {labels[i]!r} ({int(differs.sum())} such rows in all); "
            "correct them."
        )
    return objects.iloc[first].reset_index(drop=True)
