"""The nearest source of every object in one catalogue, as evidence: read, checked, and what can't be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from context.evidence_spec import State
from context.evidence_values import numbers
from context.nearest_table import read_nearest

__all__ = ["MatchColumn", "read_match"]


@dataclass(frozen=True, eq=False)
class MatchColumn:
    """The nearest source of a catalogue for every object; arguments of the methods of `NearestModel`.

    Attributes
    ----------
    separation : float64 array, shape (n_objects,)
        [arcsec]; NaN unless found.
    density : float64 array, shape (n_objects,)
        Of unrelated sources [arcmin^-2]; NaN unless covered.
    found, covered : bool arrays, shape (n_objects,)
    position_error : float64 array, shape (n_objects,)
        Of object and source together, 1 sigma on each axis [arcsec].
    """

    separation: np.ndarray
    density: np.ndarray
    found: np.ndarray
    covered: np.ndarray
    position_error: np.ndarray

    @property
    def state(self) -> np.ndarray:
        """Values of `State`, int8, shape (n_objects,): a source, searched and none, or not covered."""
        state = np.where(self.found, State.MEASURED, State.NONE)
        return np.where(self.covered, state, State.NOT_COVERED).astype(np.int8)

    def within(self, radius: float) -> MatchColumn:
        """Return what a search to a smaller radius [arcsec] finds: a source beyond it is none within it."""
        found = self.found & (self.separation <= radius)
        return replace(self, found=found, separation=np.where(found, self.separation, np.nan))

    def arguments(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        return dict(vars(self))

    def take(self, index) -> MatchColumn:
        """Return the objects at `index` (integers or a mask)."""
        return MatchColumn(**{name: values[index] for name, values in vars(self).items()})

    def without(self, where: np.ndarray) -> MatchColumn:
        """Return the same with the objects of a mask not covered."""
        return replace(self, found=self.found & ~where, covered=self.covered & ~where)


def read_match(frame: pd.DataFrame, name: str) -> tuple[MatchColumn, list[tuple[np.ndarray, str]]]:
    """Read a catalogue's columns; objects whose values can't be used are not covered.

    Parameters
    ----------
    frame : DataFrame
        With the columns of `context.nearest_table.match_columns`.
    name : str
        Of the catalogue.

    Returns
    -------
    column : MatchColumn
    set_aside : list of (mask of objects, reason)
    """
    column = MatchColumn(**read_nearest(frame, name))
    set_aside = []
    usable = column.covered.copy()
    for reason, bad in _checks(frame, name, column):
        bad = bad & usable
        if bad.any():
            set_aside.append((bad, reason))
        usable &= ~bad
    found = column.found & usable
    return (
        MatchColumn(
            separation=np.where(found, column.separation, np.nan),
            density=np.where(usable, column.density, np.nan),
            found=found,
            covered=usable,
            position_error=np.where(usable, column.position_error, 0.0),
        ),
        set_aside,
    )


def _checks(frame, name: str, column: MatchColumn) -> Iterator[tuple[str, np.ndarray]]:
    separation, density = column.separation, column.density
    yield (
        "found without a separation of zero or more",
        column.found & ~(np.isfinite(separation) & (separation >= 0)),
    )
    yield "no density of zero or more", ~(np.isfinite(density) & (density >= 0))
    error = f"{name}_position_error_arcsec"
    if error in frame:
        value, _, bad = numbers(frame[error])
        with np.errstate(invalid="ignore"):
            yield "position error is not a number of zero or more", bad | ((value < 0) | np.isinf(value))
