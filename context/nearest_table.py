"""The nearest source of every object, read from an annotated table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from context.evidence_spec import Condition
from context.evidence_values import holds, numbers
from context.nearest import NearestError

__all__ = ["match_columns", "read_nearest"]


def match_columns(name: str) -> tuple[str, ...]:
    """Return the columns of an annotated table without which a match can't be read."""
    return tuple(f"{name}_{key}" for key in ("separation_arcsec", "density_arcmin2", "found", "covered"))


def read_nearest(frame: pd.DataFrame, name: str) -> dict[str, np.ndarray]:
    """Take a catalogue's columns from an annotated table, as arguments of the methods of `NearestModel`.

    Parameters
    ----------
    frame : DataFrame
        As `annotate` made it, also read back from a file.
    name : str
        Of the catalogue.

    Returns
    -------
    dict of str to array, shape (n_objects,)
        separation [arcsec], density [arcmin^-2], found, covered (also where something was found though the
        footprint is not known) and position_error [arcsec].

    Raises
    ------
    NearestError
        The table lacks a column of this catalogue.
    """
    needed = match_columns(name)
    lacking = [column for column in needed if column not in frame]
    if lacking:
        raise NearestError(
            f"The nearest source of {name!r} needs the column {lacking[0]}, which the table lacks; annotate "
            "the positions with that catalogue."
        )
    found, covered = (holds(Condition(column, True), frame) for column in needed[2:])
    error = f"{name}_position_error_arcsec"
    return {
        "separation": numbers(frame[needed[0]])[0],
        "density": numbers(frame[needed[1]])[0],
        "found": found,
        "covered": covered | found,
        "position_error": np.nan_to_num(numbers(frame[error])[0]) if error in frame else np.zeros(len(frame)),
    }
