"""Pictures of an evaluation: reliability, confusion, and log-loss against detections."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesclass.plots_axes import BLUE, GREY, SKY, new_axes
from bayesclass.plots_scores import score_by_bins


def reliability(table: pd.DataFrame, *, ax=None, title: str = ""):
    """Draw how often a class was right against the probability it was given.

    Parameters
    ----------
    table : DataFrame
        One row a bin: mean_probability, frequency, band_lower, band_upper, n. Rows with NaN are left out.
    ax : matplotlib Axes, optional
    title : str

    Returns
    -------
    matplotlib Axes
        Points outside the band are further from the diagonal than chance explains; larger ones stand for
        more objects.
    """
    ax = new_axes(4.6, 4.4) if ax is None else ax
    rows = table.dropna(subset=["mean_probability", "frequency"])
    x = rows["mean_probability"].to_numpy(float)
    ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls="--")
    if len(rows):
        bars = [x - 0.02, x + 0.02]
        low, high = rows["band_lower"].to_numpy(float), rows["band_upper"].to_numpy(float)
        for left, right, bottom, top in zip(*bars, low, high, strict=True):
            ax.fill_between([left, right], bottom, top, color=SKY, alpha=0.45, lw=0)
        size = 12 + 60 * np.sqrt(rows["n"].to_numpy(float) / rows["n"].max())
        ax.plot(x, rows["frequency"], color=BLUE, lw=1.0)
        ax.scatter(x, rows["frequency"], s=size, color=BLUE, zorder=3)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="probability given", ylabel="fraction right")
    ax.set_aspect("equal")
    ax.set_title(title)
    return ax


def confusion(matrix: pd.DataFrame, *, ax=None, normalise: bool = True, title: str = ""):
    """Draw a confusion matrix, labelled classes as rows.

    Parameters
    ----------
    matrix : DataFrame, shape (n_classes, n_classes)
        Objects, or sums of probabilities, by labelled class (index) and given class (columns).
    ax : matplotlib Axes, optional
    normalise : bool
        Colour and number are the fraction of the row; else the number is what the matrix holds.
    title : str

    Returns
    -------
    matplotlib Axes
    """
    counts = matrix.to_numpy(float)
    total = counts.sum(axis=1, keepdims=True)
    fraction = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    side = 2.0 + 0.55 * len(counts)
    ax = new_axes(side, side) if ax is None else ax
    ax.imshow(fraction, cmap="Blues", vmin=0.0, vmax=1.0)
    for (i, j), value in np.ndenumerate(counts):
        if not value:
            continue
        text = f"{fraction[i, j]:.2f}" if normalise else f"{value:.0f}"
        colour = "white" if fraction[i, j] > 0.6 else "black"
        ax.text(j, i, text, ha="center", va="center", color=colour, fontsize="small")
    ticks = np.arange(len(counts))
    rows = [f"{name} ({n:.0f})" for name, n in zip(matrix.index, total[:, 0], strict=True)]
    ax.set_xticks(ticks, [str(name) for name in matrix.columns], rotation=40, ha="right")
    ax.set_yticks(ticks, rows)
    ax.set(xlabel="given", ylabel="labelled (objects)")
    ax.set_title(title)
    return ax


def score_by_detections(table: pd.DataFrame, *, baseline: float | None = None, ax=None):
    """Draw log-loss with its interval against the number of detections.

    Parameters
    ----------
    table : DataFrame
        One row a bin: n_detections (its name), log_loss, lower, upper, n_objects. Empty bins are left out.
    baseline : float, optional
        Log-loss of the class frequencies alone [nat].
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(5.6, 3.6) if ax is None else ax
    bins = pd.concat([table[["n_detections"]], table.drop(columns="n_detections")], axis=1)
    return score_by_bins(bins, baseline=baseline, xlabel="detections (objects)", ax=ax)
