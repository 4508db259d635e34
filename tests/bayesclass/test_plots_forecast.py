import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from bayesclass.plots_axes import new_axes
from bayesclass.plots_forecast import forecast_fan, predictive_check
from bayesclass.plots_light_curve import BANDS
from structurefn.forecast import Forecast


def drawn(ax):
    """Render, so that warnings of the layout become errors too."""
    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")
    return ax


def uniform(centre, width):
    """Forecasts with uniform densities, so that quantiles are known."""
    centre, width = np.broadcast_arrays(np.asarray(centre, float), np.asarray(width, float))
    edges = centre[:, None] + width[:, None] * np.linspace(-0.5, 0.5, 11)
    return Forecast(edges, np.full((len(centre), 10), 0.1))


def points(n=4):
    return pd.DataFrame(
        {
            "survey": "ZTF",
            "band": ["g", "r", "g", "r"][:n],
            "mjd": 59000.0 + np.arange(n),
            "mag": [18.0, 18.2, 18.4, 19.0][:n],
            "mag_err": 0.05,
        }
    )


def test_fan_has_bands_of_half_and_nine_tenths_in_the_colour_of_the_channel():
    time = 59004.0 + np.arange(3)
    fans = {"ZTF/g": uniform([18.5, 18.6, 18.7], 1.0), "Ia": uniform([19.0, 19.0, 19.0], 2.0)}
    ax = drawn(forecast_fan(points(), time, fans, limit=20.5, title="ZTF18abc"))
    assert ax.yaxis_inverted()
    assert ax.get_title() == "ZTF18abc"
    half, most = (band.get_paths()[0].vertices[:, 1] for band in ax.collections[:2])
    assert (half.min(), half.max()) == pytest.approx((18.25, 18.95))
    assert (most.min(), most.max()) == pytest.approx((18.05, 19.15))
    assert same_color(ax.collections[0].get_facecolor()[0][:3], BANDS["g"])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["ZTF/g, forecast", "Ia, forecast", "depth", "ZTF/g", "ZTF/r"]
    low, high = sorted(ax.get_ylim())
    assert low < 18.0
    assert high > 20.0


def test_fan_without_history():
    drawn(forecast_fan(points(0), [59000.0, 59001.0], {"ZTF/g": uniform([18.0, 18.0], 1.0)}))


def test_check_counts_the_points_within_and_rings_those_outside():
    # The second point is beyond the central half, the last far outside.
    ax = drawn(predictive_check(points(), uniform([18.0, 18.5, 18.4, 18.0], 1.0), title="ZTF18abc, Ia"))
    assert ax.get_title() == "ZTF18abc, Ia\n50 % within the central 50 %, 75 % within the central 90 %"
    rings = [line for line in ax.lines if line.get_markersize() == 10]
    assert [list(ring.get_ydata()) for ring in rings] == [[19.0]]
    assert ax.yaxis_inverted()
    given = new_axes()
    assert predictive_check(points(), uniform([18.0] * 4, 1.0), ax=given) is given


def test_check_of_no_point():
    forecast = Forecast(np.zeros((0, 11)), np.zeros((0, 10)))
    assert drawn(predictive_check(points(0), forecast)).get_title() == "no point"


def test_forecasts_by_class_or_of_other_times_are_refused():
    by_class = Forecast(np.zeros((2, 11)), np.full((2, 3, 10), 0.1))
    with pytest.raises(ValueError, match=r"one mixed forecast a time.*give class_probability"):
        forecast_fan(points(), [59000.0, 59001.0], {"ZTF/g": by_class})
    with pytest.raises(ValueError, match=r"shape \(4, cells\)"):
        predictive_check(points(), uniform([18.0, 18.0], 1.0))
