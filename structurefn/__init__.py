"""Likelihoods of light curves under class-conditional structure functions."""

from structurefn.contrast import count_contrast
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
from structurefn.limit_density import fit_limit_density, limit_density
from structurefn.limits import count_limits
from structurefn.magnitudes import as_magnitudes, channel_softening, with_systematic
from structurefn.maps import map_scale, square_root_map, stream_map
from structurefn.modes import ModeDensities
from structurefn.modes_fit import fit_modes
from structurefn.modes_scatter import dirichlet_multinomial
from structurefn.nightly import nightly_means
from structurefn.online import OnlineCounts
from structurefn.periods import count_period
from structurefn.response import response_matrix
from structurefn.scoring import stream_log_likelihood
from structurefn.simulate import simulate_peak_curves
from structurefn.simulate_chains import simulate_chains
from structurefn.stream_density import class_density
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
    "ModeDensities",
    "OnlineCounts",
    "Stream",
    "as_magnitudes",
    "channel_softening",
    "class_density",
    "concatenate",
    "count_contrast",
    "count_events",
    "count_limits",
    "count_period",
    "dirichlet_multinomial",
    "dmdt_images",
    "equal_area_edges",
    "expected_log_likelihood",
    "fit_density",
    "fit_limit_density",
    "fit_modes",
    "limit_density",
    "log_likelihood",
    "log_non_detection",
    "map_scale",
    "nightly_means",
    "response_matrix",
    "simulate_chains",
    "simulate_peak_curves",
    "square_root_map",
    "stream_log_likelihood",
    "stream_map",
    "thin_to",
    "thinned_versions",
    "with_systematic",
]
