"""Pictures of scores: against bins of objects, without each piece of evidence, and as differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayesclass.plots_axes import BLACK, BLUE, GREY, SKY, VERMILLION, new_axes, nothing

LABELS = {
    "log_loss": "log-loss [nat]",
    "brier": "Brier score",
    "accuracy": "accuracy",
    "macro_f1": "F1, mean over classes",
    "ece": "calibration error",
    "coverage": "sets with the class",
    "mean_set_size": "classes in a set",
}


def score_by_bins(
    table: pd.DataFrame,
    figure: str = "log_loss",
    *,
    baseline: float | None = None,
    xlabel: str = "",
    ax=None,
):
    """Draw a figure with its interval in bins of the objects.

    Parameters
    ----------
    table : DataFrame
        One row a bin, its name in the first column; n_objects; the figure with _lower and _upper (of the
        log-loss lower and upper); for "ece" also ece_null_upper, below which an error is no sign of a fault.
        Bins where the figure is NaN are left out.
    figure : str
        One of log_loss, brier, accuracy, macro_f1, ece, coverage, mean_set_size.
    baseline : float, optional
        The figure of the class frequencies alone.
    xlabel : str
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(4.4, 3.2) if ax is None else ax
    rows = table.dropna(subset=[figure])
    if rows.empty:
        return nothing("no object in any bin", ax=ax)
    x = np.arange(len(rows))
    value = rows[figure].to_numpy(float)
    ends = ("lower", "upper") if figure == "log_loss" else (f"{figure}_lower", f"{figure}_upper")
    lower, upper = (rows[end].to_numpy(float) for end in ends)
    ax.plot(x, value, "o-", color=BLUE, label="posterior")
    # Bins with too few objects have no interval.
    known = ~np.isnan(lower)
    reach = np.maximum([value - lower, upper - value], 0.0)
    ax.errorbar(x[known], value[known], reach[:, known], fmt="none", color=BLUE, capsize=3)
    if figure == "ece":
        right = rows["ece_null_upper"].to_numpy(float)
        ax.fill_between(x, 0.0, right, color=SKY, alpha=0.4, lw=0, label="exactly right, 95 %")
    if baseline is not None and np.isfinite(baseline):
        ax.axhline(baseline, color=VERMILLION, ls="--", lw=1.0, label="class frequencies alone")
    if figure == "ece" or baseline is not None:
        ax.legend(frameon=False, fontsize="small")
    names = zip(rows.iloc[:, 0].astype(str), rows["n_objects"], strict=True)
    if len(rows) > 5:
        ax.set_xticks(x, [f"{name} ({n})" for name, n in names], rotation=35, ha="right", fontsize="small")
    else:
        ax.set_xticks(x, [f"{name}\n({n})" for name, n in names])
    ax.set(xlabel=xlabel, ylabel=LABELS.get(figure, figure))
    if figure in ("accuracy", "macro_f1", "coverage"):
        ax.set_ylim(-0.02, 1.04)
    else:
        ax.set_ylim(bottom=0.0)
    return ax


def evidence_removed(table: pd.DataFrame, *, ax=None):
    """Draw how much the log-loss changes without each piece of evidence.

    Parameters
    ----------
    table : DataFrame
        removed, change, lower, upper [nat].
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        To the right of zero the piece helps.
    """
    return differences(
        table["removed"],
        table["change"],
        table["lower"],
        table["upper"],
        "log-loss without it, less with it [nat]",
        ax=ax,
    )


def differences(names: Sequence[str], value, lower, upper, xlabel: str, *, ax=None):
    """Draw differences with their intervals, one a row, from the top; those that exclude zero are filled.

    Parameters
    ----------
    names : sequence of str
    value, lower, upper : float sequence
        NaN draws no interval.
    xlabel : str
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(5.2, 1.1 + 0.3 * len(names)) if ax is None else ax
    value, lower, upper = (np.asarray(list(part), dtype=float) for part in (value, lower, upper))
    row = np.arange(len(value))
    ax.axvline(0.0, color=GREY, lw=0.8)
    known = ~(np.isnan(lower) | np.isnan(upper))
    ax.hlines(row[known], lower[known], upper[known], color=BLUE, lw=1.6)
    clear = known & ((lower > 0) | (upper < 0))
    ax.plot(value[clear], row[clear], "o", color=BLUE)
    ax.plot(value[~clear], row[~clear], "o", markerfacecolor="white", color=BLUE)
    ax.set_yticks(row, [str(name) for name in names])
    ax.invert_yaxis()
    ax.margins(x=0.08)
    ax.set_xlabel(xlabel, color=BLACK)
    return ax
