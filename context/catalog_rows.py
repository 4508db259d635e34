"""Rows of a table -> arrays of a catalogue in working units, with what can't be used counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from context.catalog_cells import plain_text, read_positions, to_numbers
from context.catalog_files import SourceTable, check_columns
from context.catalog_spec import NUMBERS, WORKING_UNITS, CatalogError, CatalogSpec, MissingUnitError
from context.coordinates import on_sky
from context.sky_geometry import Motion


@dataclass(frozen=True)
class Rows:
    """Kept rows of a table; the attributes are those of `SkyCatalog`."""

    ra: np.ndarray
    dec: np.ndarray
    columns: pd.DataFrame
    position_error: np.ndarray
    magnitude: np.ndarray
    set_aside: pd.DataFrame
    motion: Motion | None


def read_rows(frame: pd.DataFrame, spec: CatalogSpec, units: dict[str, str], *, partial: bool) -> Rows:
    """Read the declared columns of a table; rows without a position are set aside.

    Parameters
    ----------
    frame, spec, units
        As of `SkyCatalog.from_frame`.
    partial : bool
        The table has only the rows near some positions, so that it may well hold no wanted one.

    Raises
    ------
    CatalogError
        As `SkyCatalog.from_frame`.
    """
    check_columns([str(name) for name in frame.columns], spec.table_columns, f"Catalogue {spec.name!r}")
    table = SourceTable(frame.reset_index(drop=True), units)
    ra, dec, bad = read_positions(table, spec)
    lost = np.isnan(ra) | np.isnan(dec)
    keep = on_sky(ra, dec)
    wanted = _wanted(table.frame, spec)
    reasons = {
        "not among the wanted rows (where)": ~wanted,
        "the position is not a number": wanted & bad,
        "the position is missing": wanted & lost & ~bad,
        "ra is not in [0, 360] or dec not in [-90, 90] deg": wanted & ~lost & ~bad & ~keep,
    }
    keep &= ~bad & wanted
    # Among a few rows near some positions there may well be no wanted one.
    if len(keep) and not keep.any() and (wanted.any() or not partial):
        raise CatalogError(
            f"Catalogue {spec.name!r}: not one of {len(keep)} rows can be used "
            f"({', '.join(f'{rows.sum()}: {why}' for why, rows in reasons.items() if rows.any())}): "
            "check the declared columns, unit and where."
        )
    counts = {why: int(rows.sum()) for why, rows in reasons.items()}
    cells = _Cells(table.frame if keep.all() else table.frame[keep].reset_index(drop=True), spec, units)
    n_rows = int(keep.sum())
    error = spec.position_error
    position_error = (
        cells.numbers("position_error", error)
        if isinstance(error, str)
        else np.full(n_rows, float(error or 0.0))
    )
    magnitude = cells.numbers("magnitude", spec.magnitude) if spec.magnitude else np.full(n_rows, np.nan)
    motion = cells.motion()
    columns = pd.DataFrame(
        {name: cells.column(name, column) for name, column in spec.columns.items()},
        index=pd.RangeIndex(n_rows),
    )
    counts |= cells.counts
    set_aside = pd.DataFrame(
        [(why, rows) for why, rows in counts.items() if rows], columns=["reason", "rows"]
    ).astype({"reason": "str", "rows": "int64"})
    # A circle has one zero: 360 deg is 0 deg.
    ra = ra[keep]
    ra[ra == 360.0] = 0.0
    return Rows(ra, dec[keep], columns, position_error, magnitude, set_aside, motion)


class _Cells:
    """Cells of the kept rows as numbers in working units, with what was left missing counted."""

    def __init__(self, frame: pd.DataFrame, spec: CatalogSpec, units: dict[str, str]):
        self.frame, self.spec, self.units = frame, spec, units
        self.counts: dict[str, int] = {}

    def numbers(self, name: str, column: str) -> np.ndarray:
        number, bad = to_numbers(self.frame[column])
        if bad.any():
            self.counts[f"{name} is not a finite number (row kept, value missing)"] = int(bad.sum())
        target = WORKING_UNITS.get(name)
        unit = self.spec.units.get(name, self.units.get(column))
        if target is None:
            return number
        if unit is None and name in self.spec.columns:
            raise MissingUnitError(
                f"Catalogue {self.spec.name!r}: the unit of {name} (column {column!r}) is neither declared "
                f'nor stated by the file: declare it under units, for instance {name} = "{target}".'
            )
        factor = 1.0 if unit is None else self.spec.factor(unit, target)
        return number if factor == 1.0 else number * factor

    def column(self, name: str, column: str) -> pd.Series | np.ndarray:
        if name in NUMBERS:
            return self.numbers(name, column)
        series = self.frame[column]
        return self.numbers(name, column) if pd.api.types.is_float_dtype(series) else plain_text(series)

    def motion(self) -> Motion | None:
        if self.spec.pm_ra is None:
            return None
        pm_ra, pm_dec = (self.numbers(name, getattr(self.spec, name)) for name in ("pm_ra", "pm_dec"))
        if isinstance(self.spec.epoch, str):
            epoch = self.numbers("epoch", self.spec.epoch)
            wrong = ~np.isnan(epoch) & ~((epoch >= 1000) & (epoch <= 3000))
            if wrong.any():
                raise CatalogError(
                    f"Catalogue {self.spec.name!r}: epochs must be Julian years such as 2016.0, found "
                    f"{epoch[wrong][0]:g} in column {self.spec.epoch!r}: convert dates first."
                )
        else:
            epoch = np.full(len(pm_ra), float(self.spec.epoch))
        return Motion(pm_ra, pm_dec, epoch)


def _wanted(frame: pd.DataFrame, spec: CatalogSpec) -> np.ndarray:
    """Rows whose cells are among those that the declaration wants."""
    wanted = np.ones(len(frame), dtype=bool)
    for column, values in spec.where.items():
        wanted &= plain_text(frame[column]).isin(list(values)).to_numpy(dtype=bool)
    return wanted
