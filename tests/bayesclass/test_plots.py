import gc
import io
import sys
import weakref

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bayesclass import plots
from bayesclass.posterior import Explanation


def drawn(ax):
    """Render, so that warnings of the layout become errors too."""
    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")
    return ax


def explanation(nats=(0.5, -2.0, 3.0), names=("prior", "latitude", "g-r")):
    table = pd.DataFrame({"piece": list(names), "nats": list(nats)})
    leaves = pd.Index(["Ia", "II"])
    return Explanation(
        object_id="ZTF18abc",
        best_class="Ia",
        runner_up="II",
        table=table,
        probability=pd.Series([0.8, 0.2], leaves),
        interval=pd.DataFrame({"lower": [0.7, 0.1], "upper": [0.9, 0.3]}, leaves),
        prediction_set=("Ia",),
        novelty=np.nan,
        conflict=0.0,
        warnings="",
    )


def points(**changes):
    table = {
        "survey": ["ZTF"] * 4,
        "band": ["g", "g", "r", "g"],
        "mjd": [59000.0, 59001.0, 59002.5, 58998.0],
        "mag": [18.0, 18.5, 19.0, 20.5],
        "mag_err": [0.1, 0.1, 0.2, np.nan],
        "upper_limit": [False, False, False, True],
    }
    return pd.DataFrame(table | changes)


def test_bright_is_at_the_top_and_a_limit_points_to_the_faint_side():
    ax = drawn(plots.light_curve(points()))
    assert ax.yaxis_inverted()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ZTF/g", "ZTF/r"]
    carets = [line.get_marker() for line in ax.lines if line.get_marker() in (10, 11, 6, 7)]
    assert carets == [matplotlib.markers.CARETDOWNBASE]
    # Drawn a second time on the same axes, it stays so.
    assert plots.light_curve(points(), ax=ax).yaxis_inverted()


def test_flux_has_its_zero_and_an_upright_axis():
    table = points().drop(columns=["mag", "mag_err"]).assign(flux=[1.0, -2.0, 3.0, 0.5], error=0.1)
    ax = drawn(plots.light_curve(table))
    assert not ax.yaxis_inverted()
    assert any(np.allclose(line.get_ydata(), 0.0) for line in ax.lines)


def test_arrays_without_survey_error_or_limits_are_enough():
    ax = drawn(plots.light_curve({"mjd": [1.0, 2.0], "mag": [18.0, 18.1], "band": ["x", "w"]}))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["x", "w"]


def test_only_limits_and_no_point_at_all_are_drawn_too():
    ax = drawn(plots.light_curve(points().iloc[3:]))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ZTF/g (limits)"]
    drawn(plots.light_curve(points().iloc[:0]))


def test_a_light_curve_without_band_is_refused():
    with pytest.raises(ValueError, match="needs columns mjd, band and mag or flux, found mjd, mag; rename"):
        plots.light_curve({"mjd": [1.0], "mag": [18.0]})


def test_waterfall_adds_up():
    ax = drawn(plots.waterfall(explanation()))
    bars = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    np.testing.assert_allclose(bars, [(0.0, 0.5), (0.5, -2.0), (-1.5, 3.0), (0.0, 1.5)])
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "prior",
        "latitude",
        "g-r",
        "all together",
    ]
    assert [text.get_text() for text in ax.texts] == ["+0.50", "-2.00", "+3.00", "+1.50"]


def test_many_pieces_are_drawn_as_one_and_still_add_up():
    nats = np.linspace(3, -1, 30)
    ax = drawn(plots.waterfall(explanation(nats, [f"e{i}" for i in range(30)]), max_pieces=6))
    assert len(ax.patches) == 7
    assert ax.get_yticklabels()[5].get_text() == "25 smaller ones"
    assert ax.patches[-1].get_width() == pytest.approx(nats.sum())


def test_waterfall_of_an_impossible_runner_up_is_finite():
    ax = drawn(plots.waterfall(explanation((0.5, np.inf, -1.0))))
    assert np.isfinite(ax.get_xlim()).all()
    assert ax.texts[1].get_text() == "+inf"


def test_class_probabilities_show_intervals_and_the_set():
    ax = plots.class_probabilities(
        [0.7, 0.2, 0.1],
        ["a", "b", "c"],
        lower=[0.6, np.nan, 0.1],
        upper=[0.8, np.nan, 0.1],
        prediction_set=[True, False, False],
    )
    drawn(ax)
    assert [bar.get_width() for bar in ax.patches] == [0.7, 0.2, 0.1]
    assert ax.patches[0].get_facecolor() != ax.patches[1].get_facecolor()
    drawn(plots.class_probabilities([1.0, 0.0], ["a", "b"]))


def test_reliability_leaves_empty_bins_out():
    table = pd.DataFrame(
        {
            "mean_probability": [0.1, np.nan, 0.9],
            "frequency": [0.2, np.nan, 0.8],
            "band_lower": [0.0, np.nan, 0.7],
            "band_upper": [0.3, np.nan, 1.0],
            "n": [5, 0, 9],
        }
    )
    ax = drawn(plots.reliability(table, title="Ia"))
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), [[0.1, 0.2], [0.9, 0.8]])
    drawn(plots.reliability(table.iloc[1:2]))


def test_confusion_shows_fractions_of_rows_or_counts():
    matrix = pd.DataFrame([[3.0, 1.0], [0.0, 0.0]], ["a", "b"], ["a", "b"])
    ax = drawn(plots.confusion(matrix))
    assert [text.get_text() for text in ax.texts] == ["0.75", "0.25"]
    ax = drawn(plots.confusion(matrix, normalise=False))
    assert [text.get_text() for text in ax.texts] == ["3", "1"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a (4)", "b (0)"]


def test_score_by_detections_leaves_empty_bins_out():
    table = pd.DataFrame(
        {
            "n_detections": ["0", "1", "2-3"],
            "n_objects": [5, 0, 9],
            "log_loss": [1.0, np.nan, 0.5],
            "lower": [0.8, np.nan, 0.4],
            "upper": [1.2, np.nan, 0.6],
        }
    )
    ax = drawn(plots.score_by_detections(table, baseline=1.1))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0\n(5)", "2-3\n(9)"]
    drawn(plots.score_by_detections(table.iloc[1:2]))


def test_density_puts_cells_and_pairs_where_they_belong():
    matrix = np.array([[0.0, 1.0], [0.5, 0.5], [0.25, 0.75]])
    ax = drawn(plots.density(matrix, [0, 1, 10, 100], [-1, 0, 1], lag=[0.0, 5.0], dm=[0.1, -0.2]))
    assert ax.get_xscale() == "log"
    np.testing.assert_array_equal(ax.collections[0].get_array(), np.sqrt(matrix).T)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0.2, 0.1], [5.0, -0.2]])
    with pytest.raises(ValueError, match="one cell between each two edges"):
        plots.density(matrix, [0, 1, 10], [-1, 0, 1])


def test_axes_given_are_the_axes_used():
    ax = Figure().add_subplot()
    assert plots.waterfall(explanation(), ax=ax) is ax


def test_pyplot_keeps_nothing():
    before = "matplotlib.pyplot" in sys.modules
    figure = drawn(plots.waterfall(explanation())).figure
    if before:
        import matplotlib.pyplot as plt

        assert plt.get_fignums() == []
    trace = weakref.ref(figure)
    del figure
    gc.collect()
    assert trace() is None
