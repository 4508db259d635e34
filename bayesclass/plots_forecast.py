"""Pictures of forecasts: where the next point will be, and whether past points were where they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayesclass.plots_axes import BLACK, CYCLE, GREY, VERMILLION, new_axes
from bayesclass.plots_light_curve import BANDS, light_curve
from structurefn.forecast import Forecast

# Central 50 % and 90 %, as darker and lighter bands.
SHARES = (0.5, 0.9)


def forecast_fan(
    points: pd.DataFrame | Mapping[str, Sequence],
    time: Sequence[float],
    forecasts: Mapping[str, Forecast],
    *,
    limit: float | None = None,
    ax=None,
    title: str = "",
):
    """Draw a history with its errors, and the bands within which the next point will be.

    Parameters
    ----------
    points : DataFrame or mapping of str to sequence
        The history of one object, as in `light_curve`; magnitudes.
    time : float sequence, shape (n_times,)
        Ascending [MJD, day].
    forecasts : mapping of str to Forecast
        Label -> mixed forecast or that of one class, one row a time, for example of
        `structurefn.forecast.Forecaster.over_times`. A label that ends in the band of a channel ("ZTF/g")
        has its colour. Bands are central shares of 50 % and 90 %, lines the medians.
    limit : float, optional
        Depth of the next observation, drawn as a line [mag].
    ax : matplotlib Axes, optional
    title : str

    Returns
    -------
    matplotlib Axes
        Magnitudes are drawn with bright at the top.

    Raises
    ------
    ValueError
        If a forecast is by class, or has not one row a time.
    """
    time = np.asarray(time, dtype=float)
    ax = new_axes() if ax is None else ax
    spare = iter(CYCLE * (1 + len(forecasts) // len(CYCLE)))
    styles = iter(("-", "--", "-.", ":") * (1 + len(forecasts) // 4))
    for label, forecast in forecasts.items():
        median, bands = _bands(forecast, len(time))
        colour = BANDS.get(str(label).rpartition("/")[2]) or next(spare)
        for low, high in bands:
            ax.fill_between(time, low, high, color=colour, alpha=0.2, lw=0, zorder=0)
        ax.plot(time, median, color=colour, lw=1.4, ls=next(styles), label=f"{label}, forecast", zorder=1)
    if limit is not None:
        ax.axhline(limit, color=GREY, lw=0.8, ls=":", label="depth")
    light_curve(points, ax=ax)
    ax.autoscale_view()
    ax.legend(frameon=False, fontsize="small")
    ax.set_title(title)
    return ax


def predictive_check(
    points: pd.DataFrame | Mapping[str, Sequence], forecast: Forecast, *, ax=None, title: str = ""
):
    """Draw the points of one object on the bands that were forecast for each from those before it.

    Parameters
    ----------
    points : DataFrame or mapping of str to sequence
        The points that were forecast: mjd [day], mag, mag_err, band; of one object. From
        `structurefn.forecast.Forecaster.one_step_ahead`, as `LightCurves.to_frame`.
    forecast : Forecast
        Mixed or of one class (`Forecast.of_class`), one row a point in the same order.
    ax : matplotlib Axes, optional
    title : str
        Put before the shares, for example the object and the class.

    Returns
    -------
    matplotlib Axes
        The title says which shares of the points are within the central 50 % and 90 %. Points outside the
        90 % have a ring.

    Raises
    ------
    ValueError
        If the forecast is by class, or has not one row a point.
    """
    table = pd.DataFrame(dict(points))
    value, time = table["mag"].to_numpy(float), table["mjd"].to_numpy(float)
    median, bands = _bands(forecast, len(table))
    ax = new_axes() if ax is None else ax
    # A bar at each point, wide enough to be seen and not wider than the usual gap.
    span = np.ptp(time) if len(time) else 0.0
    width = max(span, 1.0) / max(80.0, 1.5 * len(time))
    for shift, (low, high) in enumerate(bands):
        style = {"color": [BANDS.get(name, CYCLE[0]) for name in table["band"].astype(str)], "lw": 0}
        ax.bar(time, high - low, width, bottom=low, alpha=(0.3, 0.25)[shift], zorder=0, **style)
    ax.hlines(median, time - width / 2, time + width / 2, color=BLACK, lw=0.8, zorder=1)
    light_curve(table, ax=ax)
    within = [(value >= low) & (value <= high) for low, high in bands]
    outside = ~within[-1]
    ax.plot(time[outside], value[outside], ls="", marker="o", ms=10, mfc="none", mec=VERMILLION, mew=1.2)
    shares = ", ".join(
        f"{100 * np.mean(inside):.0f} % within the central {100 * share:.0f} %"
        for inside, share in zip(within, SHARES, strict=True)
        if len(value)
    )
    ax.set_title("\n".join(part for part in (title, shares or "no point") if part), fontsize="medium")
    return ax


def _bands(forecast: Forecast, n: int) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Median, and lower and upper magnitudes of each central share."""
    shape = forecast.probability.shape
    if len(shape) != 2 or shape[0] != n:
        raise ValueError(
            f"A picture needs one mixed forecast a time, shape ({n}, cells), but probability.shape={shape}: "
            "give class_probability, or choose a class with of_class."
        )
    median = forecast.quantile(0.5)
    return median, [tuple(forecast.quantile([0.5 - s / 2, 0.5 + s / 2]).T) for s in SHARES]
