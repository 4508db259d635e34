"""Positions as people store them -> where and when objects were, with what can't be used counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from context.coordinates import on_sky
from context.evidence_values import numbers, text

__all__ = ["AnnotateError", "Places", "check_identifiers", "read_places"]

_MJD_J2000, _DAYS_A_YEAR = 51544.5, 365.25
# A column of so many right ascensions, all of them below 24, is hardly one in degrees.
_ENOUGH_ROWS = 20


class AnnotateError(ValueError):
    """Positions, catalogues or options that can't be used together; the message says what to do."""


@dataclass(frozen=True)
class Places:
    """Where and when objects were: NaN where that is not known.

    Attributes
    ----------
    ra, dec : float64 arrays, shape (n,)
        ICRS [deg].
    error : float64 array, shape (n,)
        1 sigma on each axis [arcsec].
    epoch : float64 array, shape (n,)
        [Julian year]
    """

    ra: np.ndarray
    dec: np.ndarray
    error: np.ndarray
    epoch: np.ndarray


def check_identifiers(positions: pd.DataFrame) -> None:
    """Refuse positions without different names of their columns and a different object_id in every row."""
    if "object_id" not in positions or positions.columns.has_duplicates:
        raise AnnotateError(
            "Positions need one column object_id and columns of different names, found "
            f"{', '.join(map(str, positions.columns)) or 'none'}; rename the identifier's column."
        )
    ids = positions["object_id"]
    if ids.isna().any() or ids.astype(str).duplicated().any():
        repeated = ids[ids.isna() | ids.astype(str).duplicated()].iloc[0]
        raise AnnotateError(
            f"Each position needs an object_id of its own, found {repeated!r} again; mend it."
        )


def read_places(given: pd.DataFrame, epoch, set_aside: list, remarks: list) -> Places:
    """Read where and when objects were; what can't be used is appended to `set_aside`, counted.

    Raises
    ------
    AnnotateError
        No ra and dec, sexagesimal text, or an epoch that is no Julian year.
    """
    n = len(given)

    def column(name: str, default: float, wrong, reason: str) -> np.ndarray:
        """Numbers of an optional column, the default where missing; those that are wrong are set aside."""
        if name not in given:
            return np.full(n, default)
        value, missing, bad = numbers(given[name])
        with np.errstate(invalid="ignore"):
            bad = bad | (~missing & wrong(value))
        if bad.any():
            set_aside.append(("positions", f"{name} {reason}", int(bad.sum())))
        return np.where(missing | bad, default, value)

    lacking = [name for name in ("ra", "dec") if name not in given]
    if lacking:
        raise AnnotateError(
            f"Positions need the columns ra and dec in degrees, but {' and '.join(lacking)} is missing; "
            f"found {', '.join(map(str, given.columns))}; rename them."
        )
    (ra, ra_missing, ra_bad), (dec, dec_missing, dec_bad) = (_angles(given[name]) for name in ("ra", "dec"))
    bad, missing = ra_bad | dec_bad, ra_missing | dec_missing
    off = ~bad & ~missing & ~on_sky(ra, dec)
    for reason, rows in (
        ("position is not a number", bad),
        ("position is missing", missing & ~bad),
        ("position out of range: ra in [0, 360], dec in [-90, 90] deg", off),
    ):
        if rows.any():
            set_aside.append(("positions", reason, int(rows.sum())))
    good = ~(bad | missing | off)
    if good.sum() >= _ENOUGH_ROWS and ra[good].max() <= 24:
        remarks.append(
            f"all right ascensions are below {ra[good].max():.3g}: if they are hours or radians, convert them"
        )
    if epoch is not None and not 1000 <= epoch <= 3000:
        raise AnnotateError(f"The epoch must be a Julian year such as 2016.0, found {epoch!r}; convert it.")
    rest = np.nan if epoch is None else float(epoch)
    year = column("epoch", rest, lambda x: ~((x >= 1000) & (x <= 3000)), "is no Julian year such as 2016.0")
    if "epoch" not in given:
        mjd = column("mjd", np.nan, lambda x: ~((x > 0) & (x < 2e5)), "is no modified Julian date")
        year = np.where(np.isnan(mjd), rest, 2000.0 + (mjd - _MJD_J2000) / _DAYS_A_YEAR)
    error = column(
        "position_error_arcsec", 0.0, lambda x: ~((x >= 0) & (x < np.inf)), "is negative or infinite"
    )
    return Places(np.where(good, ra, np.nan), np.where(good, dec, np.nan), error, year)


def _angles(series: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    value, missing, bad = numbers(series)
    if bad.any():
        cells = text(series)[0][bad]
        sexagesimal = [cell for cell in cells if any(mark in cell.strip().lstrip("+-") for mark in ":hd° ")]
        if sexagesimal:
            raise AnnotateError(
                f"Positions must be in decimal degrees, found {sexagesimal[0]!r} in column {series.name}; "
                "convert with astropy.coordinates.SkyCoord(ra, dec, unit=('hourangle', 'deg')) and take its "
                ".ra.deg and .dec.deg."
            )
    return value, missing, bad
