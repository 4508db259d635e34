"""What a command says at its end: what came in, what was set aside and why, what came out."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from bayesclass.remarks import LEAST_TOTAL
from context.evidence import EvidenceTable
from structurefn.light_curves import LightCurves

MAX_LISTED = 8

__all__ = ["describe_evidence", "describe_fit", "describe_light_curves", "describe_warnings", "first_rows"]


def describe_light_curves(light_curves: LightCurves) -> list[str]:
    """Return lines with the objects, the points used, and the rows set aside by reason."""
    n_empty = int((light_curves.n_detections + light_curves.n_upper_limits == 0).sum())
    n_limits = int(light_curves.upper_limit.sum())
    lines = [
        f"objects: {light_curves.n_objects}" + (f", {n_empty} without a usable point" if n_empty else ""),
        f"points used: {light_curves.n_points}" + (f", {n_limits} of them upper limits" if n_limits else ""),
    ]
    rows = light_curves.set_aside.groupby("reason", sort=False)["rows"].sum()
    lines += [f"rows set aside: {int(count)} ({reason})" for reason, count in rows.items()]
    return lines


def describe_evidence(
    objects: pd.DataFrame | None, specs: Iterable[Any], light_curves: LightCurves, matches: Iterable[Any] = ()
) -> list[str]:
    """Return lines with what the objects' table lacks, and its values set aside by reason.

    Parameters
    ----------
    objects : pandas.DataFrame or None
        The objects' table, None where none was given.
    specs : iterable of EvidenceSpec
        The evidence that the recipe names.
    light_curves : LightCurves
        The objects that are fitted or classified.
    matches : iterable of MatchSpec
        The catalogues that the recipe names.
    """
    specs, matches = tuple(specs), tuple(matches)
    if objects is None:
        names = ", ".join(spec.name for spec in (*specs, *matches))
        return [f"no objects' table, so without the evidence {names}"] if names else []
    evidence = EvidenceTable.from_frame(objects, specs, matches=[match.name for match in matches])
    lines = [
        f"evidence without its column: {name} (needs {', '.join(columns)})"
        for name, columns in evidence.absent_columns.items()
    ]
    lines += [
        f"evidence values set aside: {row.values_} of {row.column} ({row.reason})"
        for row in evidence.counts().rename(columns={"values": "values_"}).itertuples()
    ]
    if evidence.alternatives is not None:
        lines.append(f"rows of alternatives: {len(evidence.alternatives.owner)}")
        n_less = int((evidence.alternatives.total < LEAST_TOTAL).sum())
        if n_less:
            lines.append(f"objects whose alternatives do not sum to one, normalised: {n_less}")
    n_unknown = int((~pd.Index(light_curves.object_id).isin(objects["object_id"])).sum())
    if n_unknown:
        lines.append(f"objects without a row in the objects' table: {n_unknown}")
    return lines


def describe_fit(summary: Mapping[str, Any]) -> list[str]:
    """Return a line for each entry of a classifier's summary; counts by name in one line."""
    lines = []
    for key, entry in summary.items():
        if isinstance(entry, Mapping):
            entry = _listed([f"{name or '(empty)'} {_number(count)}" for name, count in entry.items()])
        elif isinstance(entry, list | tuple):
            entry = _listed([_number(item) for item in entry])
        lines.append(f"{key.removeprefix('n_').replace('_', ' ')}: {_number(entry)}")
    return lines


def describe_warnings(warnings: pd.Series) -> list[str]:
    """Return a line with the number of objects that carry a warning, none where no object does."""
    n_warned = int((warnings.astype(str) != "").sum())
    return [f"objects with a warning: {n_warned} (column warnings)"] if n_warned else []


def first_rows(frame: pd.DataFrame, leaves: Iterable[str], n_rows: int = 5) -> list[str]:
    """Return the first rows of a table of posteriors as aligned text.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns object_id, p_<leaf>, best_class, prediction_set, n_detections.
    leaves : iterable of str
        The classes, in order.
    n_rows : int
        How many rows.
    """
    head = frame.head(n_rows)
    names = ["object_id", *(f"p_{leaf}" for leaf in leaves), "best_class", "prediction_set", "n_detections"]
    columns = [[name.removeprefix("p_"), *(_number(cell, 3) for cell in head[name])] for name in names]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
    return [*lines, f"... and {len(frame) - n_rows} more"] if len(frame) > n_rows else lines


def _number(value: Any, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _listed(items: list[str]) -> str:
    more = [f"and {len(items) - MAX_LISTED} more"] if len(items) > MAX_LISTED else []
    return ", ".join([*items[:MAX_LISTED], *more]) or "none"
