"""Warnings of single objects: what was left out of their evidence, or is missing from it."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from context.evidence import EvidenceTable, State
from structurefn.light_curves import LightCurves

# Alternatives that sum to less than this were not all listed.
LEAST_TOTAL = 0.999


def object_remarks(
    light_curves: LightCurves, evidence: EvidenceTable, has_table: bool, *, limits_used: bool = False
) -> list[str]:
    """Collect each object's warnings, separated by "; ".

    Parameters
    ----------
    light_curves : LightCurves
    evidence : EvidenceTable
        Of the same objects in the same order.
    has_table : bool
        Whether an objects' table was given at all.
    limits_used : bool
        Whether the model draws evidence from upper limits.

    Returns
    -------
    list of str
        Empty where there is nothing to say.
    """
    remarks: list[list[str]] = [[] for _ in light_curves.object_id]
    place = pd.Index(light_curves.object_id)

    def add(where: np.ndarray, text: str) -> None:
        for i in np.flatnonzero(where):
            remarks[i].append(text)

    def add_rows(object_id: pd.Series, texts: Iterable[str]) -> None:
        for i, text in zip(place.get_indexer(pd.Index(object_id.astype(str))), texts, strict=True):
            if i >= 0:
                remarks[i].append(text)

    detections = light_curves.n_detections
    add(detections == 0, "no usable point: prior and context only")
    add(detections == 1, "one point: no pair of points")
    if not limits_used:
        add(light_curves.n_upper_limits > 0, "upper limits counted, not used")
    table = light_curves.set_aside
    texts = (
        f"{int(n)} row(s) set aside: {why}" for n, why in zip(table["rows"], table["reason"], strict=True)
    )
    add_rows(table["object_id"], texts)
    table = evidence.set_aside
    texts = (f"{name} set aside: {why}" for name, why in zip(table["column"], table["reason"], strict=True))
    add_rows(table["object_id"], texts)
    if evidence.alternatives is not None:
        for i in np.flatnonzero(evidence.alternatives.total < LEAST_TOTAL):
            total = evidence.alternatives.total[i]
            remarks[i].append(f"alternatives sum to {total:.3g}: taken as all there are")
    if evidence.columns or evidence.matches:
        known = (*evidence.columns.values(), *evidence.matches.values())
        states = np.stack([column.state for column in known])
        nothing = (states == State.NOT_COVERED).all(axis=0)
        add(nothing, "no context" if has_table else "no context: no objects' table")
    for name, columns in evidence.absent_columns.items() if has_table else ():
        add(np.ones(len(remarks), bool), f"{name} not used: no column {', '.join(columns)}")
    return ["; ".join(remark) for remark in remarks]


def joined_remarks(first: Iterable[str], second: Iterable[str]) -> list[str]:
    """Join two lists of warnings, object by object."""
    return ["; ".join(filter(None, pair)) for pair in zip(first, second, strict=True)]
