"""Alternatives: what could be true of each object, such as its possible hosts, with probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from context.evidence import EvidenceTable

__all__ = ["Alternatives", "equal_rows", "shared_rows"]


@dataclass(frozen=True, eq=False)
class Alternatives:
    """Rows of evidence, of which one is true for each object.

    Attributes
    ----------
    owner : int64 array, shape (n_rows,)
        Object of each row, ascending.
    probability : float64 array, shape (n_rows,)
        Of each row, before class and shared evidence are considered; sums to one for each object.
    total : float64 array, shape (n_objects,)
        What the table's probabilities of the object summed to, before they were normalised.
    rows : EvidenceTable
        The evidence of each row.
    shared : dict of str to bool array, shape (n_rows,)
        Column -> whether all rows of the object say the same there: what belongs to the object, not to one
        of its alternatives.
    """

    owner: np.ndarray
    probability: np.ndarray
    total: np.ndarray
    rows: EvidenceTable
    shared: dict[str, np.ndarray]

    @property
    def own_rows(self) -> EvidenceTable:
        """Evidence of each row without what it shares with the object's other rows."""
        rows = self.rows
        for name, shared in self.shared.items():
            rows = rows.without(name, where=shared)
        return rows

    def take(self, index, n_objects: int) -> Alternatives:
        """Return the rows of the objects at `index` (integers or a mask) of `n_objects`."""
        chosen = np.arange(n_objects)[index]
        begin, end = (np.searchsorted(self.owner, chosen, side) for side in ("left", "right"))
        owner, rows = ragged(begin, end - begin)
        shared = {name: same[rows] for name, same in self.shared.items()}
        return Alternatives(owner, self.probability[rows], self.total[chosen], self.rows.take(rows), shared)


def ragged(begin: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the group and the index of each member, where group i is `count[i]` from `begin[i]` on."""
    owner = np.repeat(np.arange(len(count)), count)
    return owner, np.arange(len(owner)) + (begin - np.cumsum(count) + count)[owner]


def equal_rows(values: Any, other: Any, row: np.ndarray) -> np.ndarray:
    """Rows in which all arrays of one dataclass equal those of another at `row`, NaN equal to NaN."""
    pairs = ((getattr(values, f.name), getattr(other, f.name)) for f in fields(values))
    pairs = [(a, b[row]) for a, b in pairs if isinstance(a, np.ndarray)]
    return np.all([(a == b) | (np.isnan(a) & np.isnan(b)) for a, b in pairs], axis=0)


def shared_rows(columns: Mapping[str, Any], owner: np.ndarray) -> dict[str, np.ndarray]:
    """Return, for each column, the rows whose objects have the same there in all their rows."""
    first = np.searchsorted(owner, owner)
    n = int(owner[-1]) + 1 if len(owner) else 0
    differs = {name: ~equal_rows(column, column, first) for name, column in columns.items()}
    return {name: np.bincount(owner, rows, minlength=n)[owner] == 0 for name, rows in differs.items()}
