"""Reasons of a posterior as columns of its table, ``reason_<leaf>_<piece>``, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayesclass.csv_text import InputError
from structurefn.columns import LightCurveError, numbers

PREFIX = "reason_"

__all__ = ["PREFIX", "read_reasons", "reason_columns"]


def reason_columns(reasons: Mapping[str, np.ndarray], leaves: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Return the columns of a table that hold the reasons.

    Parameters
    ----------
    reasons : mapping of str to float array, shape (n, K)
        Piece of evidence -> its contribution to the log-likelihood of each leaf [nat].
    leaves : sequence of str, length K

    Returns
    -------
    list of (str, float32 array of shape (n,))
        ``reason_<leaf>_<piece>``, the leaves of a piece side by side.
    """
    return [
        (f"{PREFIX}{leaf}_{piece}", np.asarray(values)[:, k].astype(np.float32))
        for piece, values in reasons.items()
        for k, leaf in enumerate(leaves)
    ]


def read_reasons(frame: pd.DataFrame, leaves: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the reasons that a table of posteriors holds.

    Parameters
    ----------
    frame : DataFrame
        Columns that do not begin with ``reason_`` are not looked at.
    leaves : sequence of str

    Returns
    -------
    dict of str to float64 array, shape (n, K)
        In the order of the columns; empty where the table has none. Minus infinity is an impossible class.

    Raises
    ------
    InputError
        A column that belongs to no leaf, a piece that lacks a leaf, or values that are no numbers.
    """
    given = [str(name) for name in frame.columns if str(name).startswith(PREFIX)]
    present, pieces = set(given), {}
    for name in given:
        for leaf in leaves:
            start = f"{PREFIX}{leaf}_"
            # A leaf may begin as another does: a piece is what every leaf has.
            piece = name.removeprefix(start)
            if name.startswith(start) and all(f"{PREFIX}{other}_{piece}" in present for other in leaves):
                pieces.setdefault(piece, [f"{PREFIX}{other}_{piece}" for other in leaves])
    left = sorted(present - {name for names in pieces.values() for name in names})
    if left:
        raise InputError(
            f"Columns of reasons must be {PREFIX}<leaf>_<piece> with every leaf ({', '.join(leaves)}) of "
            f"each piece, found {left[0]!r} without the others: write the posteriors again with reasons."
        )
    try:
        return {
            piece: np.stack([numbers(frame[name], name) for name in names], axis=1)
            for piece, names in pieces.items()
        }
    except LightCurveError as error:
        raise InputError(f"The posteriors: {error}") from error
