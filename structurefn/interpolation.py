"""Light curves of several channels interpolated by a Gaussian process in flux."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, cholesky, solve_triangular
from jaxtyping import Array, Float, Int

from structurefn.light_curves import LightCurves
from structurefn.magnitudes import POGSON, ZERO_POINT
from structurefn.padding import PaddedGroup, pad_groups, padded_lengths

__all__ = ["Interpolated", "interpolate_around_peak"]

# Candidates: time scale [day], amplitude in units of the brightest flux, correlation of neighbouring
# channels.
SCALES, AMPLITUDES, CORRELATIONS = (5.0, 9.0, 16.0, 28.0, 50.0, 100.0), (0.35, 0.8), (0.6, 0.9)
# Amplitude and correlation while the time scale is chosen.
MIDDLE = (0.55, 0.8)
# Relative error of every flux: no template-free model follows real photometry to better.
SYSTEMATIC = 0.02
# The maximum is sought on steps of SEARCH_STEP within SEARCH_SPAN of the brightest sure point [day].
SEARCH_STEP, SEARCH_SPAN = 2.0, 60.0
# A point this many times its error above zero may be the brightest.
SURE = 4.0
LENGTHS = (8, 16, 32, 64, 128, 256)
# More points than this are thinned to it evenly in time order: cost is that of a matrix of so many rows.
MOST_POINTS = 256
# Rows of one call; few shapes, because compiling one takes as long as thousands of objects.
ROWS = 16
# So few objects are padded to one length, for the same reason.
FEW = 256
FEWEST_POINTS = 2


class Interpolated(NamedTuple):
    """Curves around their maxima, n objects, P phases, C channels.

    Attributes
    ----------
    flux, error : float32 array, shape (n, P, C)
        Posterior mean and standard deviation, in units of `scale`.
    scale : float32 array, shape (n,)
        Flux of the brightest sure point; NaN for objects with fewer than two detections.
    peak_time : float64 array, shape (n,)
        Time of the maximum of the sum over channels [MJD].
    log_time_scale, amplitude, correlation : float32 array, shape (n,)
        Chosen hyperparameters.
    misfit : float32 array, shape (n,)
        Mean squared normalised residual of the points.
    """

    flux: np.ndarray
    error: np.ndarray
    scale: np.ndarray
    peak_time: np.ndarray
    log_time_scale: np.ndarray
    amplitude: np.ndarray
    correlation: np.ndarray
    misfit: np.ndarray


def interpolate_around_peak(light_curves: LightCurves, phases: np.ndarray) -> Interpolated:
    r"""Interpolate each object in time and over channels, relative to its maximum.

    A Gaussian process of zero mean, with covariance

    .. math:: k(t, a; t', b) = A^2 \rho^{|a - b|} (1 + \sqrt 3 |t - t'| / \ell) e^{-\sqrt 3 |t - t'| / \ell}

    between channels a and b, numbered in the batch's order; \ell, A and \rho are those of a grid with
    the highest likelihood.

    Parameters
    ----------
    light_curves : LightCurves
        Fluxes, or magnitudes, which are read as fluxes. Upper limits are left out. Channels in the
        order of their wavelengths.
    phases : float array, shape (P,)
        Times from the maximum [day].

    Returns
    -------
    Interpolated

    References
    ----------
    Boone (2019), AJ 158, 257, section 3.1: supernovae by a Gaussian process in time and wavelength.
    """
    n, n_channels = light_curves.n_objects, max(len(light_curves.channels), 1)
    phases = np.asarray(phases, dtype=np.float32)
    curve = np.full((2, n, len(phases), n_channels), np.nan, dtype=np.float32)
    one = np.full((6, n), np.nan)
    points = light_curves.keep_points(~light_curves.upper_limit & _kept(light_curves))
    some = np.flatnonzero(points.n_detections >= FEWEST_POINTS)
    if len(some):
        begin = points.time[points.offset[some]]
        for group in _groups(as_fluxes(points.take_objects(some))):
            here = group.index >= 0
            found = _interpolate(
                group.time,
                group.value,
                group.error,
                jnp.where(group.valid, group.channel, -1),
                phases,
                n_channels=n_channels,
            )
            index = some[group.index[here]]
            curve[0, index], curve[1, index] = (np.asarray(x)[here] for x in found[:2])
            for row, values in zip(one, found[2:], strict=True):
                row[index] = np.asarray(values, np.float64)[here]
            one[1, index] += begin[group.index[here]]
    scale, peak_time, log_time_scale, amplitude, correlation, misfit = one
    return Interpolated(
        *curve,
        scale.astype(np.float32),
        peak_time,
        *(x.astype(np.float32) for x in (log_time_scale, amplitude, correlation, misfit)),
    )


def as_fluxes(light_curves: LightCurves) -> LightCurves:
    """Fluxes of magnitudes, zero point as in `as_magnitudes`; a batch of fluxes is returned unchanged."""
    if light_curves.quantity == "flux":
        return light_curves
    flux = 10.0 ** (-0.4 * (light_curves.value - ZERO_POINT))
    error = flux * light_curves.error / POGSON
    return LightCurves(**(light_curves.__dict__ | {"value": flux, "error": error, "quantity": "flux"}))


def _groups(light_curves: LightCurves) -> Iterator[PaddedGroup]:
    """Yield groups of `ROWS` objects, their positions those of the whole batch."""
    length = padded_lengths(np.diff(light_curves.offset), np.array(LENGTHS))
    if light_curves.n_objects <= FEW:
        length[:] = length.max()
    for padded in np.unique(length):
        members = np.flatnonzero(length == padded)
        for group in pad_groups(light_curves.take_objects(members), (padded,), ROWS * padded):
            yield group._replace(index=np.where(group.index >= 0, members[group.index], -1))


def _kept(light_curves: LightCurves) -> np.ndarray:
    """Points of long light curves, evenly thinned."""
    count = np.diff(light_curves.offset)
    step = np.maximum(count / MOST_POINTS, 1.0)[light_curves.object_index]
    place = np.arange(light_curves.n_points) - light_curves.offset[light_curves.object_index]
    return np.floor(place / step) != np.floor((place - 1) / step)


def _matern(dt, scale):
    r = np.sqrt(3.0) * jnp.abs(dt) / scale
    return (1.0 + r) * jnp.exp(-r)


def _between_channels(da, correlation):
    return jnp.exp(jnp.abs(da) * jnp.log(correlation))


def _one_object(time, value, error, channel, phases, n_channels):
    valid = channel >= 0
    sure = valid & (value > SURE * error)
    score = jnp.where(sure.any(), jnp.where(sure, value, -jnp.inf), jnp.where(valid, value / error, -jnp.inf))
    brightest = jnp.argmax(score)
    scale = jnp.maximum(jnp.abs(value[brightest]), error[brightest])
    y = jnp.where(valid, value / scale, 0.0)
    # Points that are none have an error so large that they say nothing.
    variance = jnp.where(valid, (error / scale) ** 2 + (SYSTEMATIC * y) ** 2 + 1e-5, 1e6)
    dt, da = time[:, None] - time[None, :], (channel[:, None] - channel[None, :]).astype(time.dtype)
    both = valid[:, None] & valid[None, :]

    def factor(k):
        low = cholesky(jnp.where(both, k, 0.0) + jnp.diag(variance), lower=True)
        return low, cho_solve((low, True), y)

    def best_of(candidates, covariance):
        def log_likelihood(candidate):
            low, alpha = factor(covariance(candidate))
            return -0.5 * (y * alpha).sum() - jnp.log(jnp.diagonal(low)).sum()

        found = jax.lax.map(log_likelihood, candidates)
        return candidates[jnp.argmax(jnp.where(jnp.isfinite(found), found, -jnp.inf))]

    # The time scale first, then amplitude and correlation: all together would cost more than twice as much.
    channels_alike = MIDDLE[0] ** 2 * _between_channels(da, MIDDLE[1])
    ell = best_of(jnp.asarray(SCALES, time.dtype), lambda s: channels_alike * _matern(dt, s))
    in_time = _matern(dt, ell)
    rest = product(AMPLITUDES, CORRELATIONS if n_channels > 1 else CORRELATIONS[:1])
    amplitude, correlation = best_of(
        jnp.asarray(list(rest), time.dtype), lambda c: c[0] ** 2 * _between_channels(da, c[1]) * in_time
    )
    low, alpha = factor(amplitude**2 * _between_channels(da, correlation) * in_time)
    across = _between_channels(jnp.arange(n_channels)[:, None] - channel.astype(time.dtype), correlation)

    def cross(at):
        """Covariance of all channels at some times with the points, shape (times, channels, points)."""
        k = amplitude**2 * _matern(at[:, None] - time, ell)[:, None, :] * across
        return jnp.where(valid, k, 0.0)

    grid = time[brightest] + jnp.arange(-SEARCH_SPAN, SEARCH_SPAN + SEARCH_STEP / 2, SEARCH_STEP)
    total = (cross(grid) @ alpha).sum(axis=1)
    i = jnp.clip(jnp.argmax(total), 1, len(grid) - 2)
    a, b, c = total[i - 1], total[i], total[i + 1]
    curvature = a - 2 * b + c
    shift = jnp.where(curvature < 0, 0.5 * (a - c) / jnp.where(curvature < 0, curvature, 1.0), 0.0)
    peak = grid[i] + SEARCH_STEP * jnp.clip(shift, -1.0, 1.0)
    k = cross(peak + phases)
    half = solve_triangular(low, k.reshape(-1, len(time)).T, lower=True)
    sd = jnp.sqrt(jnp.maximum(amplitude**2 - (half**2).sum(axis=0), 0.0)).reshape(k.shape[:2])
    misfit = jnp.where(valid, variance * alpha**2, 0.0).sum() / jnp.maximum(valid.sum(), 1)
    return k @ alpha, sd, scale, peak, jnp.log(ell), amplitude, correlation, misfit


@partial(jax.jit, static_argnames="n_channels")
def _interpolate(
    time: Float[Array, "n L"],
    value: Float[Array, "n L"],
    error: Float[Array, "n L"],
    channel: Int[Array, "n L"],
    phases: Float[Array, " P"],
    *,
    n_channels: int,
):
    each = partial(_one_object, phases=phases, n_channels=n_channels)
    return jax.vmap(each)(time, value, error, channel)
