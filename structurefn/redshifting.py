"""Light curves moved to another redshift, by a Gaussian process in time and wavelength."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from structurefn.columns import LightCurveError
from structurefn.interpolation import AMPLITUDES, SCALES, SURE, SYSTEMATIC
from structurefn.light_curves import LightCurves

__all__ = ["FluxSurface", "detected", "fit_surface", "photon_variance", "redshifted", "time_of_maximum"]

# Candidates of the scale in the logarithm of wavelength; the others are those of `interpolation`.
WAVELENGTH_SCALES = (0.5, 1.0, 2.0)
# Wavelength scale and amplitude while the time scale is chosen.
MIDDLE = (1.0, 0.55)
# Beyond the shortest channel of a source its flux fades over this logarithm of wavelength. A process alone
# goes on with the colour that it saw, but metals darken supernovae of all types below 3500 Angstrom.
FADING = 0.2
# A curve is known this long before its first and after its last point, in the source's time [day].
BEYOND = 10.0
# An object is detected by a point this many times its error above zero, in this many channels.
DETECTION, DETECTION_CHANNELS = 5.0, 2


class FluxSurface(NamedTuple):
    """Flux of one source over time and wavelength: a Gaussian process given its points.

    Attributes
    ----------
    time, log_wavelength : float array, shape (n_points,)
        Of the points [MJD]; natural logarithm of the channels' effective wavelengths.
    alpha : float array, shape (n_points,)
        Inverse covariance times the fluxes, in units of `scale`.
    scale : float
        Flux of the brightest sure point.
    peak_time : float
        Time of that point [MJD].
    time_scale, wavelength_scale, amplitude : float
        Chosen hyperparameters.
    """

    time: np.ndarray
    log_wavelength: np.ndarray
    alpha: np.ndarray
    scale: float
    peak_time: float
    time_scale: float
    wavelength_scale: float
    amplitude: float

    def flux(self, time: np.ndarray, log_wavelength: np.ndarray) -> np.ndarray:
        """Posterior mean, in the unit of the points; times and wavelengths of equal shape (m,).

        Below the shortest wavelength of the points it is multiplied by m(ln(shortest / wavelength) / 0.2),
        with m as in `fit_surface`.
        """
        k = _matern(time[:, None] - self.time, self.time_scale)
        k *= _matern(log_wavelength[:, None] - self.log_wavelength, self.wavelength_scale)
        fading = _matern(np.maximum(self.log_wavelength.min() - log_wavelength, 0.0), FADING)
        return self.scale * self.amplitude**2 * (k @ self.alpha) * fading


def fit_surface(
    time: np.ndarray, log_wavelength: np.ndarray, flux: np.ndarray, error: np.ndarray
) -> FluxSurface:
    r"""Fit a Gaussian process of zero mean in time and wavelength to the points of one source.

    .. math:: k = A^2\, m(|t - t'| / \ell)\, m(|\ln \lambda - \ln \lambda'| / s), \qquad
              m(x) = (1 + \sqrt 3 x)\, e^{-\sqrt 3 x}

    The scales and A are those of a grid with the highest likelihood.

    Parameters
    ----------
    time, log_wavelength, flux, error : float array, shape (n_points,)
        At least one point, errors above zero. Flux per frequency in one unit for all channels (AB).

    Returns
    -------
    FluxSurface

    References
    ----------
    Boone (2019), AJ 158, 257, section 3.1, with one wavelength scale for all sources.
    """
    brightest = _brightest(flux, error)
    scale = max(abs(flux[brightest]), error[brightest])
    y = flux / scale
    variance = (error / scale) ** 2 + (SYSTEMATIC * y) ** 2 + 1e-5
    dt, dl = time[:, None] - time, log_wavelength[:, None] - log_wavelength

    def solve(k):
        factor = cho_factor(k + np.diag(variance), lower=True)
        alpha = cho_solve(factor, y)
        return -0.5 * y @ alpha - np.log(np.diagonal(factor[0])).sum(), alpha

    across = MIDDLE[1] ** 2 * _matern(dl, MIDDLE[0])
    time_scale = max(SCALES, key=lambda candidate: solve(across * _matern(dt, candidate))[0])
    along = _matern(dt, time_scale)
    best = (-np.inf, None, None, None)
    for wavelength_scale, amplitude in product(WAVELENGTH_SCALES, AMPLITUDES):
        found, alpha = solve(amplitude**2 * _matern(dl, wavelength_scale) * along)
        if found > best[0]:
            best = (found, alpha, wavelength_scale, amplitude)
    _, alpha, wavelength_scale, amplitude = best
    return FluxSurface(
        time, log_wavelength, alpha, scale, time[brightest], time_scale, wavelength_scale, amplitude
    )


def _brightest(flux: np.ndarray, error: np.ndarray) -> int:
    """Brightest of the sure points; the most significant one where none is sure."""
    sure = flux > SURE * error
    return int(np.argmax(np.where(sure, flux, -np.inf) if sure.any() else flux / error))


def _matern(difference: np.ndarray, scale: float) -> np.ndarray:
    r = np.sqrt(3.0) / scale * np.abs(difference)
    return (1.0 + r) * np.exp(-r)


def time_of_maximum(light_curves: LightCurves) -> np.ndarray:
    """Time of the brightest sure point of each object [MJD]; of the most significant where none is sure.

    NaN for objects without a measurement; shape (n_objects,).
    """
    peak = np.full(light_curves.n_objects, np.nan)
    usable = ~light_curves.upper_limit
    value, error = light_curves.value, np.where(usable, light_curves.error, 1.0)
    for i, (start, stop) in enumerate(zip(light_curves.offset[:-1], light_curves.offset[1:], strict=True)):
        here = np.flatnonzero(usable[start:stop]) + start
        if len(here):
            peak[i] = light_curves.time[here[_brightest(value[here], error[here])]]
    return peak


def photon_variance(light_curves: LightCurves) -> np.ndarray:
    r"""Growth of the error with the flux, :math:`\sigma^2 = \sigma_\mathrm{sky}^2 + g_c F`, by channel.

    g is the median of :math:`(\sigma^2 - \sigma_\mathrm{sky}^2) / F` of points of 20 sigma and more, with
    the median variance of points below 3 sigma as that of the sky; zero where a channel has none of either.

    Returns
    -------
    float array, shape (n_channels,)
        Zero or more [unit of flux].
    """
    usable = ~light_curves.upper_limit
    gain = np.zeros(len(light_curves.channels))
    for code in range(len(gain)):
        here = usable & (light_curves.channel == code)
        flux, variance = light_curves.value[here], light_curves.error[here] ** 2
        bright, faint = flux >= 20.0 * np.sqrt(variance), flux < 3.0 * np.sqrt(variance)
        if bright.any() and faint.any():
            growth = (variance[bright] - np.median(variance[faint])) / flux[bright]
            gain[code] = max(float(np.median(growth)), 0.0)
    return gain


def detected(light_curves: LightCurves) -> np.ndarray:
    """Whether each object has a point of 5 sigma in two channels (in the one of a batch of one channel)."""
    usable = ~light_curves.upper_limit
    with np.errstate(invalid="ignore"):
        sure = usable & (light_curves.value >= DETECTION * light_curves.error)
    n_channels = len(light_curves.channels)
    code = light_curves.object_index[sure] * n_channels + light_curves.channel[sure]
    seen = np.bincount(code, minlength=light_curves.n_objects * n_channels).reshape(-1, n_channels) > 0
    return seen.sum(axis=1) >= min(DETECTION_CHANNELS, n_channels)


def redshifted(
    light_curves: LightCurves,
    source: np.ndarray,
    ratio: np.ndarray,
    dimming: np.ndarray,
    wavelength: np.ndarray,
    cadence: LightCurves,
    rng: np.random.Generator,
) -> LightCurves:
    r"""Show sources as they would be seen at another redshift, at other objects' times and noise.

    With :math:`r = (1 + z') / (1 + z)`, the flux in a channel of wavelength :math:`\lambda` is

    .. math:: F'(t_0' + \tau, \lambda) = d\, F(t_0 + \tau / r, \lambda / r)

    where F is the source's `FluxSurface` and t_0, t_0' are the times of the brightest points. Noise is that
    of the cadence's point less the part that its own flux made (`photon_variance`), with that of F' added.
    Points that would show the source more than ten days (of its own time) outside its span are left out.

    Parameters
    ----------
    light_curves : LightCurves
        Fluxes of the sources, differences from the host, AB (or any one flux per frequency).
    source : int array, shape (n,)
        The source of each new light curve.
    ratio, dimming : float array, shape (n,)
        r and d, above zero. For an object that emits isotropically d is the squared ratio of luminosity
        distances, times r, since a flux per frequency is squeezed.
    wavelength : float array, shape (n_channels,)
        Effective wavelengths of the channels, any unit.
    cadence : LightCurves
        n objects of the same survey and channels; upper limits among them are left out.
    rng : numpy.random.Generator

    Returns
    -------
    LightCurves
        n objects, with the names of the sources.

    Raises
    ------
    LightCurveError
        If the light curves are magnitudes, or the channels of the two batches or of `wavelength` differ.

    References
    ----------
    Boone (2019), AJ 158, 257, section 3.2; Revsbech et al. (2018), MNRAS 473, 3969, section 3.
    """
    _check(light_curves, cadence, wavelength)
    gain = photon_variance(cadence)
    points = light_curves.keep_points(~light_curves.upper_limit)
    shown = cadence.keep_points(~cadence.upper_limit)
    peak = time_of_maximum(shown)
    log_wavelength = np.log(np.asarray(wavelength, dtype=np.float64))
    value, error = np.zeros(shown.n_points), np.zeros(shown.n_points)
    kept = np.zeros(shown.n_points, dtype=bool)
    order = np.argsort(source, kind="stable")
    surface, of = None, -1
    for k in order:
        i, here = int(source[k]), slice(shown.offset[k], shown.offset[k + 1])
        own = slice(points.offset[i], points.offset[i + 1])
        if own.stop == own.start or here.stop == here.start:
            continue
        if i != of:
            at = log_wavelength[points.channel[own]]
            surface, of = fit_surface(points.time[own], at, points.value[own], points.error[own]), i
        time = surface.peak_time + (shown.time[here] - peak[k]) / ratio[k]
        flux = dimming[k] * surface.flux(time, log_wavelength[shown.channel[here]] - np.log(ratio[k]))
        growth = gain[shown.channel[here]]
        # A flux of mere noise may claim more than all of the variance: half of it is the sky's at least.
        sky = np.maximum(
            shown.error[here] ** 2 - growth * np.maximum(shown.value[here], 0.0), 0.5 * shown.error[here] ** 2
        )
        error[here] = np.sqrt(sky + growth * np.maximum(flux, 0.0))
        value[here] = flux + error[here] * rng.normal(size=len(flux))
        kept[here] = (time > surface.time[0] - BEYOND) & (time < surface.time[-1] + BEYOND)
    moved = LightCurves(
        **(shown.__dict__ | {"value": value, "error": error, "object_id": light_curves.object_id[source]})
    )
    return moved.keep_points(kept)


def _check(light_curves: LightCurves, cadence: LightCurves, wavelength: np.ndarray) -> None:
    if light_curves.quantity != "flux" or cadence.quantity != "flux":
        raise LightCurveError(
            "Light curves can be moved to another redshift as fluxes only, but magnitudes were given: "
            "convert them."
        )
    if light_curves.channels != cadence.channels or len(wavelength) != len(cadence.channels):
        raise LightCurveError(
            "Sources, cadence and wavelengths must have the same channels, but there are "
            f"{light_curves.channels}, {cadence.channels} and {len(wavelength)} wavelengths: name them alike."
        )
