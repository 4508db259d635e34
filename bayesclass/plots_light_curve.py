"""The picture of one object's light curve."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayesclass.plots_axes import BLACK, BLUE, CYCLE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, new_axes

BANDS = {"u": PURPLE, "B": BLUE, "g": GREEN, "V": GREEN, "r": VERMILLION, "R": VERMILLION}
BANDS |= {"i": ORANGE, "I": ORANGE, "z": SKY, "y": BLACK, "clear": BLUE, "G": BLUE}
MARKERS = "osD^p*"


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
