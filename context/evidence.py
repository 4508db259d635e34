"""Evidence columns of many objects: each value measured, searched without result, or not covered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from context.evidence_alternatives import Alternatives, equal_rows, shared_rows
from context.evidence_matches import MatchColumn
from context.evidence_reader import EvidenceReader
from context.evidence_rows import ObjectRows, check_unique, identifiers, most_probable
from context.evidence_spec import Condition, EvidenceError, EvidenceSpec, State

__all__ = [
    "Alternatives",
    "Condition",
    "EvidenceColumn",
    "EvidenceError",
    "EvidenceSpec",
    "EvidenceTable",
    "State",
]

_STATE_NAMES = {State.MEASURED: "measured", State.NONE: "none", State.NOT_COVERED: "not covered"}


@dataclass(frozen=True)
class EvidenceColumn:
    """One piece of evidence for every object.

    Attributes
    ----------
    spec : EvidenceSpec
    value : float64 array, shape (n_objects,)
        Transformed value; index of the state for a category; degrees in [0, 360) for an angle.
        NaN unless measured.
    error : float64 array, shape (n_objects,)
        1-sigma error of `value`; zero where the evidence has no error column, NaN unless measured.
    state : int8 array, shape (n_objects,)
        Values of `State`.
    """

    spec: EvidenceSpec
    value: np.ndarray
    error: np.ndarray
    state: np.ndarray

    @property
    def measured(self) -> np.ndarray:
        """Where a value was measured, shape (n_objects,), bool."""
        return self.state == State.MEASURED

    def in_units(self) -> np.ndarray:
        """Values before the transform, in `spec.unit`; names for categories (None if not measured)."""
        if self.spec.kind == "categorical":
            names = np.array([*self.spec.states, None], dtype=object)
            return names[np.where(self.measured, np.nan_to_num(self.value), -1).astype(int)]
        return self.spec.inverse(self.value)

    def take(self, index) -> EvidenceColumn:
        """Choose objects."""
        return replace(self, value=self.value[index], error=self.error[index], state=self.state[index])


@dataclass(frozen=True)
class EvidenceTable:
    """Evidence columns of the same objects in the same order.

    Attributes
    ----------
    object_id : object array of str, shape (n_objects,)
    columns : dict of str to EvidenceColumn
        By name of the evidence, in the order of the specs; of each object's most probable alternative,
        where there are several.
    set_aside : DataFrame
        Columns object_id, column (name of the evidence) and reason: one row for each value that was there
        and could not be used. Such a value counts as not covered.
    absent_columns : dict of str to tuple of str
        Evidence -> columns of the table that it needs and that the table lacks altogether.
    n_not_requested : int
        Objects of the frame that were not among `object_ids`, and so are not in this table.
    matches : dict of str to MatchColumn
        Catalogue -> its nearest source.
    alternatives : Alternatives or None
        All rows of a table with the column `alternative_probability`.
    """

    object_id: np.ndarray
    columns: dict[str, EvidenceColumn]
    set_aside: pd.DataFrame
    absent_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    n_not_requested: int = 0
    matches: dict[str, MatchColumn] = field(default_factory=dict)
    alternatives: Alternatives | None = None

    @classmethod
    def from_frame(
        cls, frame, specs: Iterable[EvidenceSpec], *, object_ids=None, matches: Iterable[str] = ()
    ) -> EvidenceTable:
        """Read evidence from a table with one row an object, or one for each alternative.

        Parameters
        ----------
        frame : DataFrame or pyarrow.Table, or None
            Column object_id (compared as text) and the columns that the specs name; ra and dec [deg, ICRS]
            where something is derived from the position. None is a table without objects or columns. With
            a column `alternative_probability` an object may have several rows, of which one is true.
        specs : iterable of EvidenceSpec
        object_ids : sequence, optional
            The objects wanted, in this order; one that the frame lacks has no evidence (not covered).
            Default: the frame's own.
        matches : iterable of str
            Catalogues whose nearest source is read, from columns as `annotate` writes them.

        Returns
        -------
        EvidenceTable

        Raises
        ------
        EvidenceError
            No column object_id, an empty object_id, an object twice, two specs of one name, probabilities
            that are none or sum to more than one (`ObjectRows`), or rows of an object that differ in a match.

        Notes
        -----
        Missing is NaN, None, "", "-" or "nan". Infinite values, values out of range, text that is no
        number, unknown categories and values without their error are set aside, never dropped silently.
        """
        specs, matches = tuple(specs), tuple(matches)
        names = [*(spec.name for spec in specs), *matches]
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice:
            raise EvidenceError(f"Each evidence needs a name of its own, found {twice[0]!r} twice.")
        wanted = None if object_ids is None else _wanted(object_ids)
        if frame is None:
            frame = pd.DataFrame({"object_id": pd.Series(dtype=object)})
        elif hasattr(frame, "to_pandas"):
            frame = frame.to_pandas()
        given = ObjectRows.read(frame)
        wanted = given.object_id if wanted is None else wanted
        place = pd.Index(given.object_id).get_indexer(pd.Index(wanted, dtype=object))
        owner, row = given.at(place)
        # reindex changes dtypes where objects are added; the readers of cells undo that.
        frame = frame.reset_index(drop=True).reindex(row).set_axis(pd.Index(wanted[owner], dtype=object))
        reader = EvidenceReader(frame)
        columns = {spec.name: EvidenceColumn(spec, *reader.read(spec)) for spec in specs}
        found = {name: reader.read_match(name) for name in matches}
        n_others = int((~pd.Index(given.object_id).isin(wanted)).sum())
        every = cls(wanted[owner], columns, reader.set_aside(), reader.absent, n_others, found)
        if not given.alternatives:
            return every
        # An object that the table lacks (-1) has one row without evidence.
        probability, total = (np.append(values, 1.0) for values in (given.probability, given.total))
        return every._grouped(wanted, owner, probability[row], total[place])

    def _grouped(self, object_id, owner, probability, total) -> EvidenceTable:
        """Return the table with one row an object, its most probable, and all rows as alternatives."""
        # What is wrong with a value that all rows repeat is said once.
        set_aside = self.set_aside.drop_duplicates(ignore_index=True)
        best = most_probable(owner, probability, len(object_id))
        one = replace(self.take(best), object_id=object_id, set_aside=set_aside)
        for name, column in self.matches.items():
            differs = ~equal_rows(column, one.matches[name], owner)
            if differs.any():
                raise EvidenceError(
                    f"The nearest source of {name!r} belongs to the position, so all rows of an object must "
                    f"agree on it, but those of {self.object_id[differs][0]!r} differ; annotate it once."
                )
        rows = replace(self, matches={}, set_aside=set_aside)
        shared = shared_rows(self.columns, owner)
        return replace(one, alternatives=Alternatives(owner, probability, total, rows, shared))

    @property
    def n_objects(self) -> int:
        """Number of objects."""
        return len(self.object_id)

    def counts(self) -> pd.DataFrame:
        """Count the values set aside: columns column, reason, values."""
        grouped = self.set_aside.groupby(["column", "reason"], sort=False).size()
        return grouped.rename("values").reset_index()

    def take(self, index) -> EvidenceTable:
        """Return the objects at `index` (integers, order and repetition as given; or a mask)."""
        object_id = self.object_id[index]
        kept = self.set_aside["object_id"].isin(object_id)
        return replace(
            self,
            object_id=object_id,
            columns={name: column.take(index) for name, column in self.columns.items()},
            set_aside=self.set_aside[kept].reset_index(drop=True),
            matches={name: column.take(index) for name, column in self.matches.items()},
            alternatives=self.alternatives and self.alternatives.take(index, self.n_objects),
        )

    def without(self, names: str | Sequence[str], *, where=None) -> EvidenceTable:
        """Return a table without the named evidence or matches: not covered for all, or `where` true."""
        names = (names,) if isinstance(names, str) else tuple(names)
        columns, matches = dict(self.columns), dict(self.matches)
        hidden = np.ones(self.n_objects, dtype=bool) if where is None else np.asarray(where, dtype=bool)
        for name in names:
            if name in matches:
                matches[name] = matches[name].without(hidden)
                continue
            if name not in columns:
                known = ", ".join([*columns, *matches]) or "none"
                raise EvidenceError(f"There is no evidence {name!r}; known: {known}.")
            column = columns[name]
            columns[name] = replace(
                column,
                value=np.where(hidden, np.nan, column.value),
                error=np.where(hidden, np.nan, column.error),
                state=np.where(hidden, State.NOT_COVERED, column.state).astype(np.int8),
            )
        alternatives = self.alternatives
        if alternatives is not None:
            of_rows = [name for name in names if name in columns]
            rows = alternatives.rows.without(of_rows, where=hidden[alternatives.owner])
            alternatives = replace(alternatives, rows=rows)
        return replace(self, columns=columns, matches=matches, alternatives=alternatives)

    def to_frame(self) -> pd.DataFrame:
        """Return object_id and, for each evidence, its value in the table's unit and `<name>_state`."""
        data: dict[str, object] = {"object_id": self.object_id}
        for name, column in self.columns.items():
            data[name] = column.in_units()
            data[f"{name}_state"] = [_STATE_NAMES[State(state)] for state in column.state]
        return pd.DataFrame(data)


def _wanted(object_ids) -> np.ndarray:
    return check_unique(identifiers(pd.Series(list(object_ids), dtype=object)))
