"""Pictures: each function takes axes or makes them, draws one thing, and returns the axes.

Figures are made without pyplot, so none is kept alive behind the caller's back and no display is needed:
``ax = plots.waterfall(explanation); ax.figure.savefig("why.png")``.
"""

from bayesclass.plots_axes import new_axes, new_figure, nothing
from bayesclass.plots_calibration import confusion, reliability, score_by_detections
from bayesclass.plots_density import density, density_ratio, magnitudes
from bayesclass.plots_forecast import forecast_fan, predictive_check
from bayesclass.plots_light_curve import light_curve
from bayesclass.plots_network import network_text, plot_network
from bayesclass.plots_probability import class_probabilities, waterfall
from bayesclass.plots_ranking import precision_recall, roc
from bayesclass.plots_scores import differences, evidence_removed, score_by_bins

__all__ = [
    "class_probabilities",
    "confusion",
    "density",
    "density_ratio",
    "differences",
    "evidence_removed",
    "forecast_fan",
    "light_curve",
    "magnitudes",
    "network_text",
    "new_axes",
    "new_figure",
    "nothing",
    "plot_network",
    "precision_recall",
    "predictive_check",
    "reliability",
    "roc",
    "score_by_bins",
    "score_by_detections",
    "waterfall",
]
