"""Warnings of single objects: what was left out of their evidence, or is missing from it."""

import numpy as np
import pandas as pd

from context.evidence import EvidenceTable
from structurefn.light_curves import LightCurves


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

    detections = light_curves.n_detections
    add(detections == 0, "no usable point: prior and context only")
    add(detections == 1, "one point: no pair of points")
    if not limits_used:
        add(light_curves.n_upper_limits > 0, "upper limits counted, not used")
    rows = place.get_indexer(pd.Index(light_curves.set_aside["object_id"].astype(str)))
    for i, reason, n in zip(
        rows, light_curves.set_aside["reason"], light_curves.set_aside["rows"], strict=True
    ):
        if i >= 0:
            remarks[i].append(f"{int(n)} row(s) set aside: {reason}")
    for table_id, column, reason in evidence.set_aside[["object_id", "column", "reason"]].itertuples(
        index=False
    ):
        i = place.get_indexer([str(table_id)])[0]
        if i >= 0:
            remarks[i].append(f"{column} set aside: {reason}")
    if evidence.columns:
        known = np.stack([column.state != 2 for column in evidence.columns.values()]).any(axis=0)
        add(~known, "no context" if has_table else "no context: no objects' table")
    for name, columns in evidence.absent_columns.items() if has_table else ():
        add(np.ones(len(remarks), bool), f"{name} not used: no column {', '.join(columns)}")
    return ["; ".join(remark) for remark in remarks]
