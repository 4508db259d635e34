"""Rows of an objects' table: one an object, or several alternatives of which one is true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from context.evidence_alternatives import ragged
from context.evidence_spec import EvidenceError
from context.evidence_values import numbers

__all__ = ["ALTERNATIVE_PROBABILITY", "ObjectRows"]

ALTERNATIVE_PROBABILITY = "alternative_probability"
# How far a sum of probabilities may pass one, for rounding in files.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class ObjectRows:
    """Which rows of a table belong to which object.

    Attributes
    ----------
    row_id : object array of str, shape (n_rows,)
        Identifier of each row, as text.
    object_id : object array of str, shape (n_objects,)
        In order of first appearance.
    owner : int64 array, shape (n_rows,)
        Object of each row.
    probability : float64 array, shape (n_rows,)
        That the row is the true one, given that one of the object's rows is: it sums to one for each object.
    total : float64 array, shape (n_objects,)
        Sum of the object's probabilities as the table has them, 1 where there is no such column.
    alternatives : bool
        Whether the table has the column `alternative_probability`.
    """

    row_id: np.ndarray
    object_id: np.ndarray
    owner: np.ndarray
    probability: np.ndarray
    total: np.ndarray
    alternatives: bool

    @classmethod
    def read(cls, frame: pd.DataFrame) -> ObjectRows:
        """Read identifiers and the column `alternative_probability`, where there is one.

        Raises
        ------
        EvidenceError
            No column object_id, or two columns of one name; a row without identifier; an object in several
            rows of a table without probabilities; a probability that is missing, no number, or outside
            [0, 1]; probabilities of one object that sum to zero, or to more than one.
        """
        if "object_id" not in frame:
            raise EvidenceError(
                "The objects' table needs a column object_id, found "
                f"{', '.join(map(str, frame.columns)) or 'no columns'}; rename the identifier's column."
            )
        if frame.columns.has_duplicates:
            raise EvidenceError(
                "Columns of the objects' table need different names, found "
                f"{frame.columns[frame.columns.duplicated()][0]!r} twice; rename or remove one."
            )
        ids = identifiers(frame["object_id"])
        owner, unique = pd.factorize(pd.Series(ids, dtype=object))
        object_id = np.array(unique, dtype=object)
        alternatives = ALTERNATIVE_PROBABILITY in frame
        if not alternatives:
            if len(object_id) < len(ids):
                check_unique(ids)
            one = np.ones(len(ids))
            return cls(ids, object_id, owner.astype(np.int64), one, one.copy(), False)
        probability = numbers(frame[ALTERNATIVE_PROBABILITY])[0]
        wrong = ~((probability >= 0) & (probability <= 1))
        if wrong.any():
            found = frame[ALTERNATIVE_PROBABILITY].iloc[int(np.argmax(wrong))]
            raise EvidenceError(
                f"{ALTERNATIVE_PROBABILITY} must be a number in [0, 1] in every row, found "
                f"{found!s} for object {ids[wrong][0]!r} ({int(wrong.sum())} such rows in all); correct them."
            )
        total = np.bincount(owner, probability, minlength=len(object_id))
        wrong = (total <= 0) | (total > 1 + ROUNDING)
        if wrong.any():
            raise EvidenceError(
                f"{ALTERNATIVE_PROBABILITY} must sum to one over an object's rows (less, where some lack), "
                f"found {total[wrong][0]:.6g} for object {object_id[wrong][0]!r} "
                f"({int(wrong.sum())} such objects in all); correct them."
            )
        return cls(ids, object_id, owner.astype(np.int64), probability / total[owner], total, True)

    @property
    def best(self) -> np.ndarray:
        """Most probable row of each object, the first among equals, shape (n_objects,)."""
        return most_probable(self.owner, self.probability, len(self.object_id))

    def at(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the object and the table's row of each row, for the objects at `place`; -1: no such row."""
        order = np.argsort(self.owner, kind="stable")
        begin, end = (np.searchsorted(self.owner[order], place, side) for side in ("left", "right"))
        # An object that the table lacks has one row, beyond its end.
        begin = np.where(place >= 0, begin, len(order))
        owner, index = ragged(begin, np.where(place >= 0, end - begin, 1))
        return owner, np.append(order, -1)[index]


def most_probable(owner: np.ndarray, probability: np.ndarray, n_objects: int) -> np.ndarray:
    """Most probable row of each object, the first among equals, shape (n_objects,)."""
    order = np.lexsort([-probability, owner])
    return order[np.searchsorted(owner[order], np.arange(n_objects))]


def identifiers(series: pd.Series) -> np.ndarray:
    """Return identifiers as text, each present, shape (n,)."""
    if series.isna().any():
        raise EvidenceError(
            f"Every object needs an object_id, found {int(series.isna().sum())} rows without; "
            "name or remove them."
        )
    return np.array([str(cell) for cell in series], dtype=object)


def check_unique(ids: np.ndarray) -> np.ndarray:
    """Return identifiers that are all different, or refuse them."""
    repeated = pd.Series(ids, dtype=object).duplicated()
    if repeated.any():
        raise EvidenceError(
            f"Each object must have one row, found object_id {ids[repeated.to_numpy()][0]!r} twice "
            f"({int(repeated.sum())} repeated rows in all); keep one row an object, or give alternatives a "
            f"column {ALTERNATIVE_PROBABILITY}."
        )
    return ids
