"""Cells of a catalogue's table, as people store them -> positions and numbers."""

from __future__ import annotations

import ast
import warnings

import numpy as np
import pandas as pd

from context.catalog_files import MISSING, SourceTable
from context.catalog_spec import CatalogError, CatalogSpec, MissingUnitError

# Typographic marks of minutes, seconds and minus; older versions of astropy don't know them.
_MARKS = str.maketrans({"′": "'", "’": "'", "″": '"', "”": '"', "−": "-", "–": "-", "º": "°"})


def plain_text(series: pd.Series) -> pd.Series:
    """Return text without outer blanks and the ``b'...'`` of a writer of bytes; other columns as they are."""
    if not pd.api.types.is_string_dtype(series.dtype):
        return series
    series = series.str.strip()
    text = series.dropna()
    quoted = text.map(lambda cell: isinstance(cell, str) and cell[:2] in ("b'", 'b"') and cell[-1] == cell[1])
    if text.empty or not quoted.all():
        return series
    clean = text.map(lambda cell: ast.literal_eval(cell).decode("utf-8", "replace").strip())
    return clean.reindex(series.index)


def to_numbers(series: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Read cells as numbers.

    Parameters
    ----------
    series : pandas.Series, shape (n,)

    Returns
    -------
    number : float64 array, shape (n,)
        NaN where missing, not a number or not finite.
    bad : bool array, shape (n,)
        Where a cell holds something that is no finite number.
    """
    if _is_text(series):
        text = plain_text(series)
        given = text.notna() & ~text.astype("str").str.strip().isin(MISSING)
        number = pd.to_numeric(text, errors="coerce").to_numpy(dtype=float, na_value=np.nan, copy=True)
        given = given.to_numpy()
    else:
        number = series.to_numpy(dtype=float, na_value=np.nan, copy=True)
        given = ~np.isnan(number)
    bad = given & ~np.isfinite(number)
    number[bad] = np.nan
    return number, bad


def read_positions(table: SourceTable, spec: CatalogSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read right ascension and declination.

    Parameters
    ----------
    table : SourceTable
    spec : CatalogSpec

    Returns
    -------
    ra, dec : float64 arrays, shape (n,)
        ICRS [deg]; NaN where missing or unreadable.
    bad : bool array, shape (n,)
        Where a cell holds something that is no angle.

    Raises
    ------
    MissingUnitError
        No unit, declared or stated.
    CatalogError
        Two units that differ, or sexagesimal text and numbers taken for one another.
    """
    declared = spec.position_units()
    result, wrong = [], np.zeros(len(table.frame), dtype=bool)
    for place, column in enumerate((spec.ra, spec.dec)):
        series = plain_text(table.frame[column])
        stated = table.units.get(column)
        if declared is None and stated is None:
            raise MissingUnitError(
                f"Catalogue {spec.name!r}: the unit of {column!r} is neither declared nor stated by the "
                'file: declare unit, for instance "deg" or "hourangle, deg".'
            )
        unit = declared[place] if declared else stated
        if place == 0 and spec.sexagesimal:
            _refuse_numbers(series, column, spec)
        if spec.sexagesimal and _is_text(series):
            angle, bad = _sexagesimal(series, unit)
        else:
            if declared and stated and not np.isclose(spec.factor(unit, "deg"), spec.factor(stated, "deg")):
                raise CatalogError(
                    f"Catalogue {spec.name!r}: {column!r} is declared in {unit!r}, but the file states "
                    f"{stated!r}: correct the one that is wrong."
                )
            _refuse_sexagesimal(series, column, unit, spec)
            number, bad = to_numbers(series)
            factor = spec.factor(unit, "deg")
            angle = number if factor == 1.0 else number * factor
        result.append(angle)
        wrong |= bad
    return result[0], result[1], wrong


def _refuse_numbers(series: pd.Series, column: str, spec: CatalogSpec) -> None:
    number, bad = to_numbers(series)
    plain = ~np.isnan(number) | (bad & ~_is_text(series))
    if plain.any():
        raise CatalogError(
            f"Catalogue {spec.name!r}: {column!r} is declared hourangle, which is text such as 00:42:44.3, "
            f"but row {int(plain.argmax()) + 1} holds the number {series.iloc[int(plain.argmax())]}: declare "
            'unit = "deg", or "15 deg, deg" for decimal hours.'
        )


def _refuse_sexagesimal(series: pd.Series, column: str, unit: str, spec: CatalogSpec) -> None:
    if not _is_text(series):
        return
    looks = (
        series.astype("str").str.contains(r"\d\s*[:hd°\s]\s*\d", regex=True, na=False).to_numpy(dtype=bool)
    )
    if looks.any():
        raise CatalogError(
            f"Catalogue {spec.name!r}: {column!r} is in {unit!r}, but row {int(looks.argmax()) + 1} holds "
            f'sexagesimal text, {series.iloc[int(looks.argmax())]!r}: declare unit = "hourangle, deg".'
        )


def _sexagesimal(series: pd.Series, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Read angles one by one with astropy, so that one that can't be read spoils no other."""
    from astropy.coordinates import Angle, IllegalHourWarning, IllegalMinuteWarning, IllegalSecondWarning

    angle, bad = np.full(len(series), np.nan), np.zeros(len(series), dtype=bool)
    with warnings.catch_warnings():
        # 60 minutes or seconds would be carried over with a warning.
        for kind in (IllegalHourWarning, IllegalMinuteWarning, IllegalSecondWarning):
            warnings.simplefilter("error", kind)
        for row, cell in enumerate(series):
            if not isinstance(cell, str) or cell.strip() in MISSING:
                continue
            try:
                angle[row] = Angle(cell.strip().translate(_MARKS), unit).deg
            except (ValueError, IllegalHourWarning, IllegalMinuteWarning, IllegalSecondWarning):
                bad[row] = True
    return angle, bad


def _is_text(series: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype)
