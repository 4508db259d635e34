"""Cells of a table as people store them -> numbers, categories and truth values, with what can't be read."""

from __future__ import annotations

import numpy as np
import pandas as pd

from context.evidence_spec import Condition, EvidenceSpec

# Text that catalogues write where there is no value.
MISSING_TEXT = ("", "-", "nan")


def _as_text(cell) -> object:
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def text(series: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return every cell as text, and where there is one.

    Booleans become "true" and "false", whole floats lose their ".0", so that a column which gained missing
    values (and with them another dtype) reads as before.

    Returns
    -------
    cells : object array, shape (n,)
        Text without surrounding blanks; "" where missing.
    missing : bool array, shape (n,)
    """
    missing = series.isna().to_numpy(dtype=bool)
    cells = np.array(
        ["" if absent else _as_text(cell) for cell, absent in zip(series, missing, strict=True)], dtype=object
    )
    missing = missing | np.isin([cell.casefold() for cell in cells], MISSING_TEXT)
    return cells, missing


def numbers(series: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cells as float64, where a cell is missing, and where it holds text that is no number."""
    if pd.api.types.is_numeric_dtype(series.dtype):
        value = series.to_numpy(dtype=float, na_value=np.nan)
        return value, np.isnan(value), np.zeros(len(value), dtype=bool)
    cells, missing = text(series)
    words = pd.Series(np.where(missing, None, cells), dtype=object).replace({"true": 1.0, "false": 0.0})
    value = pd.to_numeric(words, errors="coerce").to_numpy(dtype=float)
    return value, missing, np.isnan(value) & ~missing


def holds(condition: Condition, frame: pd.DataFrame) -> np.ndarray:
    """Return the rows where a condition holds, shape (n,); none where its column is not in the table."""
    if condition.column not in frame:
        return np.zeros(len(frame), dtype=bool)
    cells, missing = text(frame[condition.column])
    wanted = condition.equals
    if isinstance(wanted, bool):
        same = np.isin([cell.casefold() for cell in cells], ("true", "1") if wanted else ("false", "0"))
    elif isinstance(wanted, int | float):
        same = numbers(frame[condition.column])[0] == wanted
    else:
        same = cells == _as_text(wanted)
    return same & ~missing


def categories(spec: EvidenceSpec, series: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the index of each cell's state, where a cell is missing, and where it is none of the states."""
    cells, missing = text(series)
    index = {state: float(i) for i, state in enumerate(spec.states)}
    folded = {"true": "true", "false": "false"}
    truth = {folded[state.casefold()]: i for state, i in index.items() if state.casefold() in folded}
    value = np.array([index.get(cell, truth.get(cell.casefold(), np.nan)) for cell in cells], dtype=float)
    # A state may itself be written "-" or "nan"; then it is no missing value.
    missing = missing & np.isnan(value)
    return value, missing, np.isnan(value) & ~missing
