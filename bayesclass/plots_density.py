"""Pictures of the classes' densities, with one object's own pairs or magnitudes on top."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayesclass.plots_axes import BLACK, BLUE, ORANGE, VERMILLION, new_axes


def density(
    matrix: np.ndarray,
    lag_edges: Sequence[float],
    dm_edges: Sequence[float],
    *,
    lag: Sequence[float] | None = None,
    dm: Sequence[float] | None = None,
    linear_width: float | None = None,
    ceiling: float | None = None,
    ax=None,
    title: str = "",
):
    """Draw a class's distribution of magnitude differences over lags, with an object's own pairs on top.

    Parameters
    ----------
    matrix : float array, shape (n_lags, n_dm)
        Probability of each cell given its lag, or any density; colours are its square root, so that the
        wings are seen.
    lag_edges : float sequence, shape (n_lags + 1,)
        Ascending [day]. A first edge of zero is drawn at a fifth of the second.
    dm_edges : float sequence, shape (n_dm + 1,)
        Ascending, later minus earlier; positive is fading [mag].
    lag, dm : float sequence, shape (n_pairs,), optional
        The object's pairs.
    linear_width : float, optional
        The axis of changes is linear up to about here and logarithmic beyond [mag]; all linear by default.
    ceiling : float, optional
        Value of the darkest colour, to compare pictures; by default the matrix's largest.
    ax : matplotlib Axes, optional
    title : str

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the matrix does not fit the edges.
    """
    matrix = np.asarray(matrix, dtype=float)
    ax = new_axes(5.6, 4.0) if ax is None else ax
    lag_edges, dm_edges = _cell_edges(matrix, lag_edges, dm_edges)
    # White where there is nothing, as on paper; the darkest colours stay clear of the orange points.
    top = None if ceiling is None else np.sqrt(ceiling)
    mesh = {"cmap": "Blues", "vmin": 0.0, "vmax": top, "shading": "flat", "rasterized": True}
    ax.pcolormesh(lag_edges, dm_edges, np.sqrt(matrix).T, **mesh)
    _pairs(ax, lag_edges, dm_edges, lag, dm, linear_width)
    ax.set_title(title)
    return ax


def density_ratio(
    log_first: np.ndarray,
    log_second: np.ndarray,
    lag_edges: Sequence[float],
    dm_edges: Sequence[float],
    *,
    lag: Sequence[float] | None = None,
    dm: Sequence[float] | None = None,
    linear_width: float | None = None,
    limit: float = 2.0,
    ax=None,
    title: str = "",
):
    """Draw where the changes of one class are more probable than those of another, with an object's pairs.

    Parameters
    ----------
    log_first, log_second : float array, shape (n_lags, n_dm)
        Natural logarithms of the two densities.
    lag_edges, dm_edges, lag, dm, linear_width
        As in `density`.
    limit : float
        Log ratio of the darkest colours, positive [nat].
    ax : matplotlib Axes, optional
    title : str

    Returns
    -------
    matplotlib Axes
        Blue where the first class is more probable, vermillion where the second is, with a bar of colours.

    Raises
    ------
    ValueError
        If the matrices do not fit the edges.
    """
    from matplotlib.colors import LinearSegmentedColormap

    ratio = np.asarray(log_first, dtype=float) - np.asarray(log_second, dtype=float)
    ax = new_axes(5.6, 4.0) if ax is None else ax
    lag_edges, dm_edges = _cell_edges(ratio, lag_edges, dm_edges)
    colours = LinearSegmentedColormap.from_list("ratio", [VERMILLION, "#FFFFFF", BLUE])
    mesh = {"cmap": colours, "vmin": -limit, "vmax": limit, "shading": "flat", "rasterized": True}
    drawn = ax.pcolormesh(lag_edges, dm_edges, ratio.T, **mesh)
    _pairs(ax, lag_edges, dm_edges, lag, dm, linear_width)
    ax.figure.colorbar(drawn, ax=ax, pad=0.02, extend="both")
    ax.set_title(title)
    return ax


def magnitudes(
    probability: np.ndarray,
    classes: Sequence[str],
    edges: Sequence[float],
    magnitude: Sequence[float],
    *,
    ax=None,
):
    """Draw how bright the points of two classes are, with an object's own magnitudes.

    Parameters
    ----------
    probability : float array, shape (2, n_cells)
        Probability of each cell, by class.
    classes : sequence of str
        Two names.
    edges : float sequence, shape (n_cells + 1,)
        Ascending [mag].
    magnitude : float sequence, shape (n_points,)

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes() if ax is None else ax
    density = np.asarray(probability, dtype=float) / np.diff(edges)
    for name, values, colour, style in zip(classes, density, (BLUE, VERMILLION), ("-", "--"), strict=True):
        ax.stairs(values, edges, color=colour, ls=style, lw=1.6, label=name)
    for i, m in enumerate(np.asarray(magnitude, dtype=float)):
        ax.axvline(m, color=BLACK, lw=1.2, label="_" if i else "this object")
    seen = np.flatnonzero((density > 1e-3 * density.max()).any(axis=0))
    shown = [edges[seen[0]], edges[seen[-1] + 1], *magnitude]
    ax.set(xlabel="magnitude", ylabel="density [1/mag]", ylim=(0.0, None))
    ax.set_xlim(min(shown) - 0.5, max(shown) + 0.5)
    ax.legend(frameon=False, fontsize="small")
    return ax


def _cell_edges(matrix, lag_edges, dm_edges) -> tuple[np.ndarray, np.ndarray]:
    """Edges that fit the matrix, the first lag positive for the logarithmic axis."""
    lag_edges, dm_edges = np.array(lag_edges, dtype=float), np.asarray(dm_edges, dtype=float)
    if matrix.shape != (len(lag_edges) - 1, len(dm_edges) - 1):
        raise ValueError(
            f"A density needs one cell between each two edges, found {matrix.shape=} with {len(lag_edges)} "
            f"lag edges and {len(dm_edges)} dm edges."
        )
    if lag_edges[0] <= 0:
        lag_edges[0] = lag_edges[1] / 5.0
    return lag_edges, dm_edges


def _pairs(ax, lag_edges, dm_edges, lag, dm, linear_width) -> None:
    """Set the axes of a density and draw an object's pairs on top; those beyond the edges lie on them."""
    ax.set_xscale("log")
    if linear_width is not None and np.isfinite(linear_width):
        ax.set_yscale("asinh", linear_width=linear_width)
        ticks = [
            tick for tick in (-3, -1, -0.3, -0.1, 0, 0.1, 0.3, 1, 3) if dm_edges[0] <= tick <= dm_edges[-1]
        ]
        ax.set_yticks(ticks, [f"{tick:+g}" if tick else "0" for tick in ticks])
        ax.set_yticks([], minor=True)
    if lag is not None and dm is not None and len(lag):
        x = np.clip(np.asarray(lag, dtype=float), lag_edges[0], lag_edges[-1])
        y = np.clip(np.asarray(dm, dtype=float), dm_edges[0], dm_edges[-1])
        # Fewer pairs are drawn larger, and a thousand still let the density through.
        size = np.clip(40.0 / np.sqrt(len(x)), 1.6, 4.5)
        ax.plot(x, y, ls="", marker="o", ms=size, color=ORANGE, mec=BLACK, mew=0.4, alpha=0.85)
    ax.set(xlim=(lag_edges[0], lag_edges[-1]), ylim=(dm_edges[0], dm_edges[-1]))
    ax.set(xlabel="lag [day]", ylabel="change [mag], + fades")
