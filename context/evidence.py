"""Evidence columns of many objects: each value measured, searched without result, or not covered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from context.evidence_reader import EvidenceReader
from context.evidence_spec import Condition, EvidenceError, EvidenceSpec, State

__all__ = ["Condition", "EvidenceColumn", "EvidenceError", "EvidenceSpec", "EvidenceTable", "State"]

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

    def _take(self, index) -> EvidenceColumn:
        return replace(self, value=self.value[index], error=self.error[index], state=self.state[index])


@dataclass(frozen=True)
class EvidenceTable:
    """Evidence columns of the same objects in the same order.

    Attributes
    ----------
    object_id : object array of str, shape (n_objects,)
    columns : dict of str to EvidenceColumn
        By name of the evidence, in the order of the specs.
    set_aside : DataFrame
        Columns object_id, column (name of the evidence) and reason: one row for each value that was there
        and could not be used. Such a value counts as not covered.
    absent_columns : dict of str to tuple of str
        Evidence -> columns of the table that it needs and that the table lacks altogether.
    n_not_requested : int
        Objects of the frame that were not among `object_ids`, and so are not in this table.
    """

    object_id: np.ndarray
    columns: dict[str, EvidenceColumn]
    set_aside: pd.DataFrame
    absent_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    n_not_requested: int = 0

    @classmethod
    def from_frame(cls, frame, specs: Iterable[EvidenceSpec], *, object_ids=None) -> EvidenceTable:
        """Read evidence from a table with one row an object.

        Parameters
        ----------
        frame : DataFrame or pyarrow.Table, or None
            Column object_id (compared as text) and the columns that the specs name; ra and dec [deg, ICRS]
            where something is derived from the position. None is a table without objects or columns.
        specs : iterable of EvidenceSpec
        object_ids : sequence, optional
            The objects wanted, in this order; one that the frame lacks has no evidence (not covered).
            Default: the frame's own.

        Returns
        -------
        EvidenceTable

        Raises
        ------
        EvidenceError
            No column object_id, an empty object_id, an object twice, or two specs of one name.

        Notes
        -----
        Missing is NaN, None, "", "-" or "nan". Infinite values, values out of range, text that is no
        number, unknown categories and values without their error are set aside, never dropped silently.
        """
        specs = tuple(specs)
        names = [spec.name for spec in specs]
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice:
            raise EvidenceError(f"Each evidence needs a name of its own, found {twice[0]!r} twice.")
        wanted = None if object_ids is None else _identifiers(pd.Series(list(object_ids), dtype=object))
        if frame is None:
            frame = pd.DataFrame({"object_id": pd.Series(dtype=object)})
        elif hasattr(frame, "to_pandas"):
            frame = frame.to_pandas()
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
        found = _identifiers(frame["object_id"])
        wanted = found if wanted is None else wanted
        frame_ids = pd.Index(found, dtype=object)
        if wanted is not found:
            # reindex changes dtypes where objects are added; the readers of cells undo that.
            frame = frame.set_axis(frame_ids, axis=0).reindex(pd.Index(wanted, dtype=object))
        else:
            frame = frame.set_axis(frame_ids, axis=0)
        reader = EvidenceReader(frame)
        columns = {spec.name: EvidenceColumn(spec, *reader.read(spec)) for spec in specs}
        return cls(wanted, columns, reader.set_aside(), reader.absent, int((~frame_ids.isin(wanted)).sum()))

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
            columns={name: column._take(index) for name, column in self.columns.items()},
            set_aside=self.set_aside[kept].reset_index(drop=True),
        )

    def without(self, names: str | Sequence[str], *, where=None) -> EvidenceTable:
        """Return a table without the named evidence (not covered): for all objects, or `where` true."""
        names = (names,) if isinstance(names, str) else tuple(names)
        columns = dict(self.columns)
        hidden = np.ones(self.n_objects, dtype=bool) if where is None else np.asarray(where, dtype=bool)
        for name in names:
            if name not in columns:
                raise EvidenceError(f"There is no evidence {name!r}; known: {', '.join(columns) or 'none'}.")
            column = columns[name]
            columns[name] = replace(
                column,
                value=np.where(hidden, np.nan, column.value),
                error=np.where(hidden, np.nan, column.error),
                state=np.where(hidden, State.NOT_COVERED, column.state).astype(np.int8),
            )
        return replace(self, columns=columns)

    def to_frame(self) -> pd.DataFrame:
        """Return object_id and, for each evidence, its value in the table's unit and `<name>_state`."""
        data: dict[str, object] = {"object_id": self.object_id}
        for name, column in self.columns.items():
            data[name] = column.in_units()
            data[f"{name}_state"] = [_STATE_NAMES[State(state)] for state in column.state]
        return pd.DataFrame(data)


def _identifiers(series: pd.Series) -> np.ndarray:
    """Object identifiers as text, each present and different."""
    if series.isna().any():
        raise EvidenceError(
            f"Every object needs an object_id, found {int(series.isna().sum())} rows without; "
            "name or remove them."
        )
    ids = np.array([str(cell) for cell in series], dtype=object)
    repeated = pd.Series(ids, dtype=object).duplicated()
    if repeated.any():
        raise EvidenceError(
            f"Each object must have one row, found object_id {ids[repeated.to_numpy()][0]!r} twice "
            f"({int(repeated.sum())} repeated rows in all); keep one row an object."
        )
    return ids
