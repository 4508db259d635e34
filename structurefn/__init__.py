"""Likelihoods of light curves under class-conditional structure functions."""

from structurefn.counting import count_events
from structurefn.density import Density, fit_density
from structurefn.forecast import Forecaster
from structurefn.forecast_result import Forecast
from structurefn.grids import Grid
from structurefn.images import PUBLISHED_DM_EDGES, PUBLISHED_DT_EDGES, dmdt_images, equal_area_edges
from structurefn.kernel_features import KernelFeatures
from structurefn.kernel_logistic import KernelLogistic
from structurefn.light_curves import LightCurveError, LightCurves, concatenate
from structurefn.likelihood import expected_log_likelihood, log_likelihood, log_non_detection
from structurefn.magnitudes import as_magnitudes, channel_softening
from structurefn.maps import map_scale, square_root_map, stream_map
from structurefn.nightly import nightly_means
from structurefn.online import OnlineCounts
from structurefn.response import response_matrix
from structurefn.scoring import stream_log_likelihood
from structurefn.simulate import simulate_peak_curves
from structurefn.streams import Stream
from structurefn.thinning import thin_to, thinned_versions

__all__ = [
    "PUBLISHED_DM_EDGES",
    "PUBLISHED_DT_EDGES",
    "Density",
    "Forecast",
    "Forecaster",
    "Grid",
    "KernelFeatures",
    "KernelLogistic",
    "LightCurveError",
    "LightCurves",
    "OnlineCounts",
    "Stream",
    "as_magnitudes",
    "channel_softening",
    "concatenate",
    "count_events",
    "dmdt_images",
    "equal_area_edges",
    "expected_log_likelihood",
    "fit_density",
    "log_likelihood",
    "log_non_detection",
    "map_scale",
    "nightly_means",
    "response_matrix",
    "simulate_peak_curves",
    "square_root_map",
    "stream_log_likelihood",
    "stream_map",
    "thin_to",
    "thinned_versions",
]
