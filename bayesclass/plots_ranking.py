"""Pictures of how probabilities rank: ROC and precision-recall curves."""

from __future__ import annotations

import pandas as pd

from bayesclass.plots_axes import CYCLE, GREY, new_axes, nothing


def roc(curves: pd.DataFrame, *, ax=None, title: str = ""):
    """Draw the fraction of each class's members found against the fraction of others taken for one.

    Parameters
    ----------
    curves : DataFrame
        class, false_positive_rate, recall, and optionally kind: inner nodes ("node") are dashed.
    ax : matplotlib Axes, optional
    title : str

    Returns
    -------
    matplotlib Axes
        The dashed grey line is a ranking by chance.
    """
    ax = new_axes(4.4, 4.0) if ax is None else ax
    if curves.empty:
        return nothing("no class has both members and others", ax=ax)
    ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls="--")
    # Every curve begins where nothing is taken.
    _lines(ax, curves, "false_positive_rate", "recall", (0.0, 0.0))
    ax.set(xlabel="others taken for members", ylabel="members found")
    ax.legend(frameon=False, fontsize="small", loc="lower right")
    ax.set_title(title)
    return ax


def precision_recall(curves: pd.DataFrame, *, ax=None, title: str = ""):
    """Draw the purity of what is taken for a class against the fraction of its members found.

    Parameters
    ----------
    curves : DataFrame
        class, recall, precision, and optionally kind: inner nodes ("node") are dashed.
    ax : matplotlib Axes, optional
    title : str

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(4.4, 4.0) if ax is None else ax
    if curves.empty:
        return nothing("no class has both members and others", ax=ax)
    _lines(ax, curves, "recall", "precision", None)
    ax.set(xlabel="members found (recall)", ylabel="purity (precision)")
    ax.legend(frameon=False, fontsize="small", loc="lower left")
    ax.set_title(title)
    return ax


def _lines(ax, curves: pd.DataFrame, x: str, y: str, start: tuple[float, float] | None) -> None:
    kinds = curves["kind"] if "kind" in curves else pd.Series("leaf", index=curves.index)
    groups = curves.groupby([kinds, curves["class"]], sort=False)
    for i, ((kind, name), own) in enumerate(groups):
        across, up = own[x].tolist(), own[y].tolist()
        if start is not None:
            across, up = [start[0], *across], [start[1], *up]
        # After as many classes as there are colours, these come again, dotted.
        style = "--" if kind == "node" else "-" if i < len(CYCLE) else ":"
        ax.plot(across, up, color=CYCLE[i % len(CYCLE)], ls=style, lw=1.5, label=name)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
