"""Pictures: each function takes axes or makes them, draws one thing, and returns the axes.

Figures are made without pyplot, so none is kept alive behind the caller's back and no display is needed:
``ax = plots.waterfall(explanation); ax.figure.savefig("why.png")``. Colours are those of Okabe & Ito
(2008), which people with any colour vision tell apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8C8C8C"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
BANDS = {"u": PURPLE, "B": BLUE, "g": GREEN, "V": GREEN, "r": VERMILLION, "R": VERMILLION}
BANDS |= {"i": ORANGE, "I": ORANGE, "z": SKY, "y": BLACK, "clear": BLUE, "G": BLUE}
MARKERS = "osD^p*"


def new_figure(width: float = 6.4, height: float = 4.0):
    """Return an empty figure of this size [inch]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_axes(width: float = 6.4, height: float = 4.0):
    """Return axes of a new figure of this size [inch]."""
    return new_figure(width, height).add_subplot()


def light_curve(points: pd.DataFrame | Mapping[str, Sequence], *, ax=None):
    """Draw a light curve: points with errors, upper limits as arrows.

    Parameters
    ----------
    points : DataFrame or mapping of str to sequence
        One object: mjd [day]; mag or flux; band; optionally survey, mag_err, flux_err or error (1 sigma),
        upper_limit (bool). `LightCurves.to_frame` has these names.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        Magnitudes are drawn with bright at the top.

    Raises
    ------
    ValueError
        If mjd, band, or both mag and flux are missing.
    """
    table = pd.DataFrame(dict(points))
    quantity = next((name for name in ("mag", "flux") if name in table), None)
    if quantity is None or "mjd" not in table or "band" not in table:
        raise ValueError(
            "A light curve needs columns mjd, band and mag or flux, "
            f"found {', '.join(map(str, table.columns))}; rename them."
        )
    ax = new_axes() if ax is None else ax
    limit = table["upper_limit"].to_numpy(bool) if "upper_limit" in table else np.zeros(len(table), bool)
    errors = next((table[name] for name in (f"{quantity}_err", "error") if name in table), None)
    errors = np.zeros(len(table)) if errors is None else errors.fillna(0.0).to_numpy(float)
    band = table["band"].astype(str).to_numpy()
    survey = table["survey"].astype(str).to_numpy() if "survey" in table else np.full(len(table), "")
    surveys = list(dict.fromkeys(survey))
    # Before the arrows are drawn: their heads follow the direction of the axis.
    if quantity == "mag" and not ax.yaxis_inverted():
        ax.invert_yaxis()
    time, value = table["mjd"].to_numpy(float), table[quantity].to_numpy(float)
    arrow = 0.06 * (np.ptp(value[np.isfinite(value)]) if np.isfinite(value).any() else 1.0) or 0.3
    spare = itertools.cycle(CYCLE)
    colours = {name: BANDS.get(name) or next(spare) for name in dict.fromkeys(band)}
    for name, place in dict.fromkeys(zip(band, survey, strict=True)):
        own = (band == name) & (survey == place)
        style = {"color": colours[name], "label": f"{place}/{name}".lstrip("/")}
        seen = own & ~limit
        marker = MARKERS[surveys.index(place) % len(MARKERS)]
        if seen.any():
            ax.errorbar(
                time[seen], value[seen], errors[seen], fmt=marker, markersize=4, elinewidth=0.8, **style
            )
        if (own & limit).any():
            # One legend entry for a band: that of its points, or of its limits where there are no points.
            style["label"] = f"{style['label']} (limits)" if not seen.any() else "_limits"
            # Fainter than this: downwards on the page, which is towards larger magnitudes.
            ax.errorbar(
                time[own & limit],
                value[own & limit],
                arrow,
                fmt="_",
                elinewidth=0.8,
                alpha=0.7,
                zorder=1,
                **{"lolims" if quantity == "mag" else "uplims": True},
                **style,
            )
    if quantity == "flux":
        ax.axhline(0.0, color=GREY, lw=0.8, zorder=0)
    ax.set(xlabel="time [MJD]", ylabel={"mag": "magnitude", "flux": "flux"}[quantity])
    ax.ticklabel_format(axis="x", useOffset=False, style="plain")
    if len(table) and np.ptp(time) == 0:
        # A single time has no range of its own.
        ax.set_xlim(time[0] - 5.0, time[0] + 5.0)
    if len(table):
        ax.legend(frameon=False, fontsize="small")
    return ax


def waterfall(explanation, *, ax=None, max_pieces: int = 14):
    """Draw the log-odds of the best class against the runner-up, piece by piece from the prior on.

    Parameters
    ----------
    explanation : bayesclass.posterior.Explanation
    ax : matplotlib Axes, optional
    max_pieces : int
        Smaller contributions beyond this many are drawn as one bar.

    Returns
    -------
    matplotlib Axes
        Nats below, decibans above. A contribution without bound is drawn to the edge.
    """
    pieces, nats = list(explanation.table["piece"]), explanation.table["nats"].to_numpy(float)
    if len(pieces) > max_pieces:
        rest = len(pieces) - max_pieces + 1
        nats = np.append(nats[:-rest], nats[-rest:].sum())
        pieces = [*pieces[:-rest], f"{rest} smaller ones"]
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
    rows = table.dropna(subset=["log_loss"])
    x = np.arange(len(rows))
    value = rows["log_loss"].to_numpy(float)
    reach = np.maximum([value - rows["lower"], rows["upper"] - value], 0.0)
    ax.errorbar(x, value, reach, fmt="o-", color=BLUE, capsize=3, label="posterior")
    if baseline is not None and np.isfinite(baseline):
        ax.axhline(baseline, color=VERMILLION, ls="--", lw=1.0, label="class frequencies alone")
        ax.legend(frameon=False, fontsize="small")
    names = zip(rows["n_detections"], rows["n_objects"], strict=True)
    ax.set_xticks(x, [f"{name}\n({n})" for name, n in names])
    ax.set(xlabel="detections (objects)", ylabel="log-loss [nat]")
    ax.set_ylim(bottom=0.0)
    return ax


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


def nothing(reason: str, *, ax=None):
    """Say on empty axes why there is nothing to draw."""
    ax = new_axes() if ax is None else ax
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.5, reason, ha="center", va="center", transform=ax.transAxes, color="#444444")
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
