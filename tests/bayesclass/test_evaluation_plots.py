import io

import numpy as np
import pandas as pd
from evaluation_samples import quick, tables, with_reasons
from matplotlib.colors import to_hex

from bayesclass import plots
from bayesclass.plots_axes import BLUE


def drawn(ax):
    """Render, so that warnings of the layout become errors too."""
    ax.figure.savefig(io.BytesIO(), format="png")
    return ax


def test_curves_are_those_of_the_table(rng):
    curves = quick(*tables(rng)[:2]).curves
    ax = drawn(plots.roc(curves, title="ROC"))
    own = curves[curves["class"] == "Ia"]
    line = next(line for line in ax.lines if line.get_label() == "Ia")
    np.testing.assert_allclose(line.get_xydata()[0], [0, 0])
    np.testing.assert_allclose(line.get_xydata()[1:], own[["false_positive_rate", "recall"]])
    node = next(line for line in ax.lines if line.get_label() == "core-collapse")
    assert (line.get_linestyle(), node.get_linestyle()) == ("-", "--")
    ax = drawn(plots.precision_recall(curves))
    line = next(line for line in ax.lines if line.get_label() == "Ia")
    np.testing.assert_allclose(line.get_xydata(), own[["recall", "precision"]])


def test_curves_of_no_class_say_so():
    empty = pd.DataFrame(columns=["class", "false_positive_rate", "recall", "precision"])
    for picture in (plots.roc, plots.precision_recall):
        assert "no class has both" in drawn(picture(empty)).texts[0].get_text()


def test_scores_by_bins_have_intervals_where_there_are_any(rng):
    table = quick(*tables(rng)[:2]).per_detections
    for figure in ("log_loss", "brier", "accuracy", "macro_f1", "ece", "coverage", "mean_set_size"):
        ax = drawn(plots.score_by_bins(table, figure, xlabel="detections"))
        np.testing.assert_allclose(ax.lines[0].get_ydata(), table[figure])
    assert ax.get_xlabel() == "detections"
    table.loc[5, ["lower", "upper"]] = np.nan
    known = table["lower"].notna()
    assert 0 < known.sum() < len(table) - 1
    ax = drawn(plots.score_by_bins(table, baseline=0.9))
    bars = ax.collections[0].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], table.loc[known, ["lower", "upper"]])
    table["log_loss"] = np.nan
    assert "no object" in drawn(plots.score_by_bins(table)).texts[0].get_text()


def test_differences_that_leave_zero_out_are_filled():
    ax = drawn(
        plots.differences(
            ["a", "b", "c"], [1.0, -1.0, 0.5], [0.5, -2.0, np.nan], [1.5, 0.1, np.nan], "change"
        )
    )
    filled = [line for line in ax.lines[1:] if to_hex(line.get_markerfacecolor()) == BLUE.lower()]
    assert [line.get_ydata().tolist() for line in filled] == [[0]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert ax.yaxis_inverted()


def test_evidence_removed_is_drawn_as_tabulated(rng):
    posteriors, objects, *_ = tables(rng)
    table = quick(with_reasons(posteriors, rng)[0], objects).evidence
    ax = drawn(plots.evidence_removed(table))
    marks = np.concatenate([line.get_xdata() for line in ax.lines[1:]])
    np.testing.assert_allclose(np.sort(marks), np.sort(table["change"]))
