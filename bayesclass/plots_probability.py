"""Pictures of one object's class probabilities and of what decided between the best two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayesclass.plots_axes import BLACK, BLUE, GREY, VERMILLION, new_axes


def waterfall(explanation, *, ax=None, max_pieces: int = 14):
    """Draw the log-odds of an explanation's first class against its second, piece by piece from the prior on.

    Parameters
    ----------
    explanation : bayesclass.explanation.Explanation
    ax : matplotlib Axes, optional
    max_pieces : int
        Contributions beyond this many are drawn as one bar: the smallest, or the last of a chain.

    Returns
    -------
    matplotlib Axes
        Nats below, decibans above. A contribution without bound is drawn to the edge.
    """
    pieces, nats = list(explanation.table["piece"]), explanation.table["nats"].to_numpy(float)
    if len(pieces) > max_pieces:
        rest = len(pieces) - max_pieces + 1
        nats = np.append(nats[:-rest], nats[-rest:].sum())
        # A chain keeps the order of its pieces, so those are not the smallest.
        what = "last" if explanation.method == "chain" else "smaller"
        pieces = [*pieces[:-rest], f"{rest} {what} ones"]
    ax = new_axes(6.4, 1.7 + 0.32 * len(pieces)) if ax is None else ax
    finite = nats[np.isfinite(nats)]
    edge = 1.2 * max(np.abs(finite).sum(), 1.0)
    drawn = np.where(np.isfinite(nats), nats, np.sign(nats) * edge)
    end = np.cumsum(drawn)
    row = np.arange(len(pieces) + 1)
    colours = [BLUE if x >= 0 else VERMILLION for x in drawn]
    ax.barh(row[:-1], drawn, left=end - drawn, color=colours, height=0.65)
    ax.barh(row[-1], end[-1], color="#444444", height=0.65)
    for i, x in enumerate(end[:-1]):
        ax.plot([x, x], [i - 0.33, i + 1.33], color=GREY, lw=0.7)
    ends = np.append(np.maximum(end, end - drawn), max(end[-1], 0.0))
    for i, (x, value) in enumerate(zip(ends, np.append(nats, nats.sum()), strict=True)):
        ax.annotate(
            f"{value:+.2f}", (x, i), (4, 0), textcoords="offset points", va="center", fontsize="small"
        )
    ax.axvline(0.0, color=BLACK, lw=0.8)
    ax.set_yticks(row, [*pieces, "all together"])
    ax.invert_yaxis()
    # Bars would otherwise end the axis where they end.
    ax.use_sticky_edges = False
    ax.margins(x=0.16)
    best, other = explanation.best_class, explanation.runner_up
    ax.set_xlabel(f"log-odds of {best} against {other} [nat]")
    per_nat = 10.0 / np.log(10.0)
    above = ax.secondary_xaxis("top", functions=(lambda x: x * per_nat, lambda x: x / per_nat))
    above.set_xlabel("[deciban]", fontsize="small")
    ax.set_title(
        f"{explanation.object_id}: {best} {explanation.probability[best]:.2f}, "
        f"{other} {explanation.probability[other]:.2f}"
    )
    return ax


def class_probabilities(
    probability: Sequence[float],
    classes: Sequence[str],
    *,
    lower: Sequence[float] | None = None,
    upper: Sequence[float] | None = None,
    prediction_set: Sequence[bool] | None = None,
    ax=None,
):
    """Draw the probability of each class as a bar with its credible interval.

    Parameters
    ----------
    probability, lower, upper : float sequence, shape (n_classes,)
        NaN in `lower` or `upper` draws no interval.
    classes : sequence of str
    prediction_set : bool sequence, optional
        Classes outside it are drawn pale.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(5.0, 1.1 + 0.36 * len(classes)) if ax is None else ax
    p = np.asarray(probability, dtype=float)
    row = np.arange(len(classes))
    inside = np.ones(len(p), bool) if prediction_set is None else np.asarray(prediction_set, bool)
    ax.barh(row, p, color=[BLUE if yes else "#C5D9E6" for yes in inside], height=0.65)
    if lower is not None and upper is not None:
        reach = np.maximum([p - np.asarray(lower, float), np.asarray(upper, float) - p], 0.0)
        ax.errorbar(p, row, xerr=reach, fmt="none", color=BLACK, capsize=3, elinewidth=1.1)
    ax.set_yticks(row, list(classes))
    ax.invert_yaxis()
    ax.set(xlim=(0.0, 1.0), xlabel="probability")
    if prediction_set is not None and not inside.all():
        ax.set_title("dark: in the prediction set", fontsize="small", color="#444444")
    return ax
