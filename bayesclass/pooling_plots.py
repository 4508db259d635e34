"""Picture of replicated counts against the observed ones."""

from __future__ import annotations

import numpy as np

__all__ = ["plot_predictive"]


def plot_predictive(pooled, *, seed: int = 0):
    """Draw the shares of states of every class and group, with 90 % ranges of replicated ones.

    Parameters
    ----------
    pooled : PooledTable
    seed : int

    Returns
    -------
    matplotlib Figure
        One panel a class, groups side by side; points are observed shares, bars replicated.
    """
    from matplotlib.figure import Figure

    from bayesclass.pooling import OTHER
    from bayesclass.pooling_checks import check_classes, replicate

    replicated, _ = replicate(pooled, np.random.default_rng(seed))
    replicated = replicated.reshape(-1, *replicated.shape[2:])
    p_value = check_classes(pooled, seed=seed)["p_value"]
    names = pooled.groups if len(pooled.counts) == len(pooled.groups) else (*pooled.groups, OTHER)
    n_columns = min(3, len(pooled.classes))
    n_rows = -(-len(pooled.classes) // n_columns)
    figure = Figure(figsize=(4.2 * n_columns, 2.9 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    for ax in axes[len(pooled.classes) :]:
        ax.set_visible(False)
    for c, (name, ax) in enumerate(zip(pooled.classes, axes[: len(pooled.classes)], strict=True)):
        for g, group in enumerate(names):
            total = pooled.counts[g, c].sum()
            if not total > 0:
                continue
            place = np.arange(len(pooled.states)) + 0.6 * ((g + 0.5) / len(names) - 0.5)
            low, high = np.quantile(replicated[:, g, c], [0.05, 0.95], axis=0) / total
            ax.vlines(place, low, high, color=f"C{g}", alpha=0.5, linewidth=4)
            ax.plot(place, pooled.counts[g, c] / total, "o", color=f"C{g}", markersize=4, label=group)
        ax.set_title(f"{name} (p = {p_value.iloc[c]:.2f})")
        ax.set_xticks(np.arange(len(pooled.states)), pooled.states, rotation=30, ha="right")
    axes[0].set_ylabel("share of objects")
    handles = {}
    for ax in axes:
        handles |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=max(len(handles), 1))
    return figure
