"""Columns of a table, of whatever dtype, as labels, numbers and flags."""

import numpy as np
import pandas as pd
from pandas.api import types

# Above this, neighbouring integers share one float64.
LARGEST_EXACT_FLOAT = 2.0**53

TRUE_WORDS = ("true", "t", "yes", "y", "1", "1.0")
FALSE_WORDS = ("false", "f", "no", "n", "0", "0.0", "")


class LightCurveError(ValueError):
    """A light-curve table that cannot be used: the rule, what was found, what to do."""


def labels(column: pd.Series, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Names in a column as codes, compared as text whatever their dtype.

    Parameters
    ----------
    column : pandas.Series
        Text, integers, categories or bytes. Floats that are whole numbers, as a CSV with a gap makes
        them, become the digits of the integer: 1001.0 is "1001". Blanks around a name do not count.
    name : str
        The column's name, for messages.

    Returns
    -------
    code : int64 array, shape (n_rows,)
        Index into `names`; -1 where the column is missing or blank.
    names : str array, shape (n_names,)
        Distinct names in order of first appearance.

    Raises
    ------
    LightCurveError
        If floats are not whole numbers or too large to be exact, or the column holds lists.
    """
    try:
        code, distinct = pd.factorize(column)
    except TypeError as error:
        raise LightCurveError(
            f"Column {name} must hold text or integers, but it holds {column.dtype} values that are not: "
            "convert it to text."
        ) from error
    text = _as_text(pd.Series(distinct), name)
    merged, names = pd.factorize(text.where(text != "", None))
    # The element added at the end is what the code -1 of a missing entry picks.
    code = np.append(merged, -1).astype(np.int64)[code]
    return code, np.array(list(names), dtype=str)


def _as_text(distinct: pd.Series, name: str) -> pd.Series:
    if isinstance(distinct.dtype, pd.CategoricalDtype):
        distinct = distinct.astype(distinct.cat.categories.dtype)
    if types.is_float_dtype(distinct):
        distinct = _whole_numbers(distinct.to_numpy(dtype=np.float64), name)
    elif distinct.dtype == object:
        distinct = distinct.map(lambda value: _plain(value, name))
    return distinct.astype(str).str.strip()


def _whole_numbers(values: np.ndarray, name: str) -> pd.Series:
    bad = ~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) > LARGEST_EXACT_FLOAT)
    if bad.any():
        raise LightCurveError(
            f"Column {name} must hold text or integers, but it holds the float {float(values[bad][0])!r}, "
            "whose digits as text are not certain: read this column as text."
        )
    return pd.Series(values.astype(np.int64))


def _plain(value: object, name: str) -> object:
    """One entry of a column of mixed Python objects."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, float | np.floating):
        return int(_whole_numbers(np.array([float(value)]), name)[0])
    return value


def numbers(column: pd.Series, name: str) -> np.ndarray:
    """Numbers of a column, NaN where it has none.

    Parameters
    ----------
    column : pandas.Series
        Numbers of any real dtype, or text that spells numbers.
    name : str
        The column's name, for messages.

    Returns
    -------
    float64 array, shape (n_rows,)
        Text that is no number becomes NaN, as long as most of the column is numeric.

    Raises
    ------
    LightCurveError
        If the column holds dates or lists, or if at least half of its entries are not numbers.
    """
    if types.is_numeric_dtype(column) and not types.is_complex_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    textual = column.dtype == object or isinstance(column.dtype, pd.StringDtype | pd.CategoricalDtype)
    if not textual and not types.is_string_dtype(column):
        raise LightCurveError(f"Column {name} must be numeric, but its type is {column.dtype}: convert it.")
    column = column.astype(object)
    given = column.notna() & ~column.isin(["", "nan", "NaN"])
    try:
        parsed = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    except TypeError as error:
        raise LightCurveError(
            f"Column {name} must be numeric, but it holds lists or other objects: give one number a row."
        ) from error
    wrong = given.to_numpy() & np.isnan(parsed)
    if wrong.any() and 2 * wrong.sum() >= given.sum():
        raise LightCurveError(
            f"Column {name} must be numeric, but {int(wrong.sum())} of its {int(given.sum())} entries are "
            f"not, for example {column[wrong].iloc[0]!r}: convert it to numbers."
        )
    return parsed


def flags(column: pd.Series, name: str) -> np.ndarray:
    """Yes or no from booleans, 0 and 1, or words; missing is no.

    Parameters
    ----------
    column : pandas.Series
        Booleans, the numbers 0 and 1, or words such as "true", "F", "yes", "0" in any case.
    name : str
        The column's name, for messages.

    Returns
    -------
    bool array, shape (n_rows,)
        The flags.

    Raises
    ------
    LightCurveError
        If an entry is none of these.
    """
    if column.dtype == bool:
        return column.to_numpy()
    try:
        code, distinct = pd.factorize(column)
    except TypeError as error:
        raise LightCurveError(
            f"Column {name} must hold true or false (or 1 or 0), but it holds lists or other objects: "
            "give one flag a row."
        ) from error
    words = [str(value).strip().lower() for value in distinct]
    unknown = [word for word in words if word not in TRUE_WORDS and word not in FALSE_WORDS]
    if unknown:
        raise LightCurveError(
            f"Column {name} must hold true or false (or 1 or 0), but it holds {unknown[0]!r}: replace it."
        )
    return np.array([word in TRUE_WORDS for word in words] + [False], dtype=bool)[code]
