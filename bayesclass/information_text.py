"""What would tell most about one object, for people: rows of a short table, and text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

__all__ = ["COMPLETE", "HEADING", "LEGEND", "ShortTable", "short_table", "what_next_text"]

LEGEND = "in nats: how far the answer is expected to move, and to lose entropy"
HEADING = "What would tell most, were it measured"
COMPLETE = "Nothing is missing: all evidence that the model takes is there."
COLUMNS = ("evidence", "change", "information", "best class changes", "most telling value", "then")
FIGURES = (1, 2, 3)
N_SHOWN = 5


class ShortTable(NamedTuple):
    """The most informative of what an object lacks.

    Attributes
    ----------
    columns : tuple of str
    rows : list of tuple of str
        Empty where nothing is missing.
    remarks : list of str
        What the table does not say: that nothing is missing, what was assumed, what is not shown.
    """

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    remarks: list[str]


def short_table(frame: pd.DataFrame, n_shown: int = N_SHOWN) -> ShortTable:
    """Put the value of information of one object in words.

    Parameters
    ----------
    frame : DataFrame
        Of `Classifier.value_of_information`, one object.
    n_shown : int
        Rows at most.
    """
    if frame.empty:
        return ShortTable(COLUMNS, [], [COMPLETE])
    figures = frame[frame["expected_change_nats"].notna()]
    shown = figures.head(n_shown)
    rows = [
        (
            row.evidence,
            f"{row.expected_change_nats:.3f}",
            f"{row.expected_information_nats:.3f}",
            _percent(row.p_best_changes),
            row.most_telling_state,
            f"{row.best_class_then} {row.p_best_class_then:.2f}",
        )
        for row in shown.itertuples()
    ]
    remarks = [f"and {len(figures) - len(shown)} more that tell less"] if len(figures) > len(shown) else []
    for note, own in pd.concat([shown, frame[frame["expected_change_nats"].isna()]]).groupby(
        "note", sort=False
    ):
        if note:
            remarks.append(f"{', '.join(own['evidence'])}: {note}")
    return ShortTable(COLUMNS, rows, remarks)


def what_next_text(frame: pd.DataFrame, n_shown: int = N_SHOWN) -> str:
    """Return the short table as aligned text under a heading; parameters as of `short_table`."""
    table = short_table(frame, n_shown)
    if not table.rows:
        return "\n".join(table.remarks)
    lines = [f"{HEADING} ({LEGEND}):"]
    cells = [table.columns, *table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [
            cell.rjust(width) if i in FIGURES else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(padded).rstrip())
    return "\n".join([*lines, *(f"  {remark}" for remark in table.remarks)])


def _percent(p: float) -> str:
    if 0.0 < p < 0.005:
        return "< 1 %"
    return f"{100.0 * np.clip(p, 0.0, 1.0):.0f} %"
