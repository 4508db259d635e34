"""The rules for light-curve tables: what a row must satisfy, and what makes a whole table unusable.

A row that cannot be used is set aside with one reason, the first that holds in the order of `REASONS`.
A table that cannot be used at all is refused with one sentence: the rule, what was found, what to do.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from structurefn.columns import LightCurveError, flags, labels, numbers

UNUSED_CHANNEL = "channel not in the model"
# In order of precedence; the position in this tuple plus one is the code of `row_reasons`, 0 is "kept".
REASONS = (
    "object_id missing",
    "object not among those asked for",
    "channel missing",
    UNUSED_CHANNEL,
    "time missing or not finite",
    "Julian date among modified ones",
    "value missing or not finite",
    "sentinel magnitude",
    "magnitude outside -2 to 35",
    "error missing, not finite or not positive",
    "exact duplicate",
)
REASON_CODE = {reason: code for code, reason in enumerate(REASONS, start=1)}

MAGNITUDE_RANGE = (-2.0, 35.0)
# Numbers made of nines that survey pipelines write, with either sign, where there is no magnitude.
SENTINELS = (99.0, 99.9, 99.99, 99.999, 999.0, 999.9, 999.99, 999.999, 9999.0, 9999.99, 99999.0)
MAX_OUTSIDE_FRACTION = 0.05
JULIAN_DATE_FLOOR = 2_400_000.0

TIME_NAMES = ("mjd", "time")
ERROR_NAMES = {"mag": ("mag_err", "error"), "flux": ("flux_err", "error")}
NEEDED = (
    "object_id, survey, band, mjd (or time), and either mag with mag_err or flux with flux_err "
    "(error is accepted for both)"
)


class Rows(NamedTuple):
    """A light-curve table as plain arrays, one element a row, nothing yet set aside."""

    object_code: np.ndarray  # (n_rows,) int64, index into object_names; -1 where missing
    object_names: np.ndarray  # (n_objects,) str, in order of first appearance
    channel_code: np.ndarray  # (n_rows,) int64, index into channel_names; -1 where missing
    channel_names: tuple[str, ...]  # "SURVEY/band"
    time: np.ndarray  # (n_rows,) float64 [day]
    value: np.ndarray  # (n_rows,) float64, magnitude or flux
    error: np.ndarray  # (n_rows,) float64
    upper_limit: np.ndarray  # (n_rows,) bool
    quantity: str  # "mag" or "flux"


def read_rows(frame: Any) -> Rows:
    """Turn a table into arrays, or refuse it.

    Parameters
    ----------
    frame : pandas.DataFrame or pyarrow.Table
        Columns as in `NEEDED`, and optionally ``upper_limit``; other columns are not looked at.

    Returns
    -------
    Rows
        Every row of the table, in its order.

    Raises
    ------
    LightCurveError
        If a column is missing, twice there or not numeric, if there is no row, if both a magnitude and
        a flux column hold values, if the times are Julian dates, or if the magnitudes look like fluxes.
    """
    frame = _as_frame(frame)
    time_name, quantity, error_name = _choose_columns(frame)
    if len(frame) == 0:
        raise LightCurveError(
            "A light-curve table must have at least one row, but this one has none: "
            "check the file or the selection that made it."
        )
    object_code, object_names = labels(frame["object_id"], "object_id")
    channel_code, channel_names = _channel_labels(frame)
    time = numbers(frame[time_name], time_name)
    value = numbers(frame[quantity], quantity)
    error = numbers(frame[error_name], error_name)
    if "upper_limit" in frame.columns:
        upper_limit = flags(frame["upper_limit"], "upper_limit")
    else:
        upper_limit = np.zeros(len(frame), dtype=bool)
    _refuse_julian_dates(time, time_name)
    if quantity == "mag":
        _refuse_fluxes(value)
    return Rows(
        object_code, object_names, channel_code, channel_names, time, value, error, upper_limit, quantity
    )


def row_reasons(rows: Rows) -> np.ndarray:
    """Code of the first reason why a row's own numbers cannot be used, 0 where they can.

    Parameters
    ----------
    rows : Rows
        The table as arrays.

    Returns
    -------
    int8 array, shape (n_rows,)
        Codes of `REASON_CODE`. Reasons that depend on what the caller asks for (objects, channels) and
        duplicates, which depend on other rows, are not among them.
    """
    reason = np.zeros(len(rows.time), dtype=np.int8)
    mark(reason, rows.object_code < 0, "object_id missing")
    mark(reason, rows.channel_code < 0, "channel missing")
    mark(reason, ~np.isfinite(rows.time), "time missing or not finite")
    mark(reason, rows.time > JULIAN_DATE_FLOOR, "Julian date among modified ones")
    mark(reason, ~np.isfinite(rows.value), "value missing or not finite")
    if rows.quantity == "mag":
        mark(reason, is_sentinel(rows.value), "sentinel magnitude")
        mark(reason, _outside(rows.value), "magnitude outside -2 to 35")
    usable_error = np.isfinite(rows.error) & (rows.error > 0)
    mark(reason, ~usable_error & ~rows.upper_limit, "error missing, not finite or not positive")
    return reason


def mark(reason: np.ndarray, where: np.ndarray, text: str) -> None:
    """Give the rows where a rule is broken its reason, in place, unless an earlier reason holds."""
    code = REASON_CODE[text]
    reason[where & ((reason == 0) | (reason > code))] = code


def is_sentinel(magnitude: np.ndarray) -> np.ndarray:
    """Whether a magnitude is a number that stands for "none", such as 99.99 or -999.

    The tolerance of 1e-6 relative lets a value that has passed through float32 be recognised.
    """
    size = np.abs(magnitude)
    found = np.zeros(size.shape, dtype=bool)
    candidate = np.flatnonzero((size > 98.0) & (size < 1e5))
    if candidate.size:
        close = np.isclose(size[candidate, None], np.array(SENTINELS), rtol=1e-6, atol=0.0)
        found[candidate] = close.any(axis=1)
    return found


def _outside(magnitude: np.ndarray) -> np.ndarray:
    low, high = MAGNITUDE_RANGE
    return (magnitude < low) | (magnitude > high)


def _as_frame(frame: Any) -> pd.DataFrame:
    if not isinstance(frame, pd.DataFrame) and hasattr(frame, "column_names"):
        wanted = {"object_id", "survey", "band", *TIME_NAMES, "upper_limit", "mag", "flux"}
        wanted |= {name for names in ERROR_NAMES.values() for name in names}
        if wanted & set(frame.column_names):
            names = frame.column_names
            frame = frame.select([i for i, name in enumerate(names) if name in wanted]).to_pandas()
        else:
            frame = frame.to_pandas()
    if not isinstance(frame, pd.DataFrame):
        raise LightCurveError(
            "Light curves must be a pandas DataFrame or an Arrow table with one row a measurement, "
            f"but a {type(frame).__name__} was given: convert it first."
        )
    return frame


def _choose_columns(frame: pd.DataFrame) -> tuple[str, str, str]:
    found = [str(name) for name in frame.columns]
    missing = [name for name in ("object_id", "survey", "band") if name not in found]
    time_name = next((name for name in TIME_NAMES if name in found), None)
    if time_name is None:
        missing.append("mjd")
    quantity = _choose_quantity(frame, found)
    if quantity is None:
        missing.append("mag or flux")
    names = ERROR_NAMES.get(quantity, ("error", "mag_err", "flux_err"))
    error_name = next((name for name in names if name in found), None)
    if error_name is None:
        missing.append(names[0] if quantity else "mag_err or flux_err")
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise LightCurveError(
            f"A light-curve table needs the columns {NEEDED}, but {', '.join(missing)} {verb} missing; "
            f"found {', '.join(found) or 'no columns'}: rename or add what is missing."
        )
    for name in ("object_id", "survey", "band", time_name, quantity, error_name, "upper_limit"):
        if found.count(name) > 1:
            raise LightCurveError(
                f"Each column may appear once in a light-curve table, but {name} appears "
                f"{found.count(name)} times: keep one of them."
            )
    return time_name, quantity, error_name


def _choose_quantity(frame: pd.DataFrame, found: list[str]) -> str | None:
    present = [name for name in ("mag", "flux") if name in found]
    filled = [name for name in present if bool(np.any(frame[name].notna()))]
    if len(filled) == 2:
        raise LightCurveError(
            "A light-curve table must hold magnitudes or fluxes, not both, but the columns mag and flux "
            "both have values: keep the one that the model uses."
        )
    return (filled or present or [None])[0]


def _channel_labels(frame: pd.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
    survey, surveys = labels(frame["survey"], "survey")
    band, bands = labels(frame["band"], "band")
    missing = (survey < 0) | (band < 0)
    both = np.where(missing, -1, survey * len(bands) + band)
    code, pairs = pd.factorize(np.where(missing, np.nan, both) if missing.any() else both)
    pairs = np.asarray(pairs, dtype=np.int64)
    names = tuple(f"{surveys[pair // len(bands)]}/{bands[pair % len(bands)]}" for pair in pairs)
    return code.astype(np.int64), names


def _refuse_julian_dates(time: np.ndarray, name: str) -> None:
    finite = time[np.isfinite(time)]
    if finite.size and (median := float(np.median(finite))) > JULIAN_DATE_FLOOR:
        raise LightCurveError(
            f"Times must be modified Julian dates, but the median of {name} is {median:.1f}, "
            "which is a Julian date: subtract 2400000.5."
        )


def _refuse_fluxes(magnitude: np.ndarray) -> None:
    usable = magnitude[np.isfinite(magnitude)]
    usable = usable[~is_sentinel(usable)]
    n_outside = int(_outside(usable).sum())
    if n_outside > MAX_OUTSIDE_FRACTION * usable.size:
        raise LightCurveError(
            f"Magnitudes must lie between {MAGNITUDE_RANGE[0]:g} and {MAGNITUDE_RANGE[1]:g}, but "
            f"{n_outside} of {usable.size} values of mag do not (smallest {usable.min():g}, largest "
            f"{usable.max():g}) and this looks like flux: name the columns flux and flux_err if it is, "
            "or remove these rows."
        )
