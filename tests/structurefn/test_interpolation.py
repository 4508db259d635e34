import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structurefn.interpolation import (
    AMPLITUDES,
    CORRELATIONS,
    MIDDLE,
    MOST_POINTS,
    SCALES,
    SYSTEMATIC,
    interpolate_around_peak,
)
from structurefn.light_curves import LightCurves

CHANNELS = ("S/g", "S/r")
PHASES = np.array([-20.0, -5.0, 0.0, 10.0, 30.0])


def supernova(rng, points=24, *, begin=58000.0, peak=30.0, noise=0.03, name="a"):
    """Bazin-like curve with r at twice the brightness of g."""
    time = np.sort(rng.uniform(0, 90, points))
    band = np.where(rng.uniform(size=points) < 0.5, "g", "r")
    shape = np.exp(-(time - peak) / 25) / (1 + np.exp(-(time - peak) / 4))
    flux = 100 * shape * np.where(band == "r", 2.0, 1.0) + rng.normal(0, 100 * noise, points)
    return pd.DataFrame(
        {
            "object_id": name,
            "survey": "S",
            "band": band,
            "mjd": begin + time,
            "flux": flux,
            "flux_err": 100 * noise,
        }
    )


def batch(*frames):
    return LightCurves.from_frame(pd.concat(frames), channels=CHANNELS)


def covariance(t, a, u, b, scale, amplitude, correlation):
    r = np.sqrt(3) * np.abs(t[:, None] - u) / scale
    return amplitude**2 * correlation ** np.abs(a[:, None] - b) * (1 + r) * np.exp(-r)


def dense(curves, i):
    """Points of an object in units of its brightest sure flux, with variances, in float64."""
    own = slice(curves.offset[i], curves.offset[i + 1])
    time, value, error = curves.time[own], curves.value[own], curves.error[own]
    sure = np.where(value > 4 * error, value, -np.inf)
    scale = value[sure.argmax()]
    y = value / scale
    return (
        time,
        curves.channel[own].astype(float),
        y,
        (error / scale) ** 2 + (SYSTEMATIC * y) ** 2 + 1e-5,
        scale,
    )


def log_likelihood(time, channel, y, variance, *hyper):
    k = covariance(time, channel, time, channel, *hyper) + np.diag(variance)
    return -0.5 * y @ np.linalg.solve(k, y) - 0.5 * np.linalg.slogdet(k)[1]


def test_against_dense_linear_algebra():
    rng = np.random.default_rng(0)
    curves = batch(*(supernova(rng, n, name=f"o{n}") for n in (3, 11, 24, 70)))
    found = interpolate_around_peak(curves, PHASES)
    for i in range(curves.n_objects):
        time, channel, y, variance, scale = dense(curves, i)
        assert found.scale[i] == pytest.approx(scale, rel=1e-5)
        scales = [log_likelihood(time, channel, y, variance, s, *MIDDLE) for s in SCALES]
        assert np.exp(found.log_time_scale[i]) == pytest.approx(SCALES[int(np.argmax(scales))], rel=1e-5)
        ell = SCALES[int(np.argmax(scales))]
        rest = [(a, c) for a in AMPLITUDES for c in CORRELATIONS]
        best = rest[int(np.argmax([log_likelihood(time, channel, y, variance, ell, *c) for c in rest]))]
        assert (found.amplitude[i], found.correlation[i]) == pytest.approx(best, rel=1e-5)
        inverse = np.linalg.inv(covariance(time, channel, time, channel, ell, *best) + np.diag(variance))
        for c in range(2):
            at = found.peak_time[i] + PHASES
            cross = covariance(at, np.full(len(at), float(c)), time, channel, ell, *best)
            assert found.flux[i, :, c] == pytest.approx(cross @ inverse @ y, abs=2e-3)
            sd = np.sqrt(best[0] ** 2 - np.einsum("ij,jk,ik->i", cross, inverse, cross))
            assert found.error[i, :, c] == pytest.approx(sd, abs=2e-3)


def test_maximum_is_found_and_its_colour():
    rng = np.random.default_rng(1)
    curves = batch(*(supernova(rng, 40, name=f"o{i}", noise=0.01) for i in range(20)))
    found = interpolate_around_peak(curves, np.array([0.0]))
    # The maximum of the simulated shape lies 4 ln(25 / 4 - 1) after the middle of the rise.
    assert np.abs(found.peak_time - (58030 + 4 * np.log(21 / 4))).max() < 4
    ratio = found.flux[:, 0, 1] / found.flux[:, 0, 0]
    # Where one channel was seen near the maximum the other is drawn to it.
    assert ratio == pytest.approx(2.0, rel=0.2)
    assert ratio.mean() == pytest.approx(2.0, rel=0.06)


def test_errors_cover_the_truth():
    rng = np.random.default_rng(2)
    curves = batch(*(supernova(rng, 20, name=f"o{i}", noise=0.02) for i in range(60)))
    phases = np.array([-5.0, 0.0, 5.0, 15.0, 25.0])
    found = interpolate_around_peak(curves, phases)
    time = found.peak_time[:, None] + phases - 58000
    shape = np.exp(-(time - 30) / 25) / (1 + np.exp(-(time - 30) / 4))
    truth = 100 * shape[..., None] * np.array([1.0, 2.0]) / found.scale[:, None, None]
    inside = np.abs(found.flux - truth) < 2 * found.error
    assert 0.85 < inside.mean() <= 1.0


@settings(max_examples=15, deadline=None)
@given(st.floats(-3000, 3000), st.floats(0.01, 1000), st.integers(0, 1000))
def test_neither_the_calendar_nor_the_unit_of_flux_matters(shift, factor, seed):
    one = supernova(np.random.default_rng(seed), 12)
    other = one.assign(mjd=one["mjd"] + shift, flux=one["flux"] * factor, flux_err=one["flux_err"] * factor)
    a, b = (interpolate_around_peak(batch(frame), PHASES) for frame in (one, other))
    assert b.flux == pytest.approx(a.flux, abs=0.02)
    assert b.scale == pytest.approx(a.scale * factor, rel=1e-4)
    assert b.peak_time == pytest.approx(a.peak_time + shift, abs=0.2)


def test_magnitudes_are_read_as_fluxes():
    flux = supernova(np.random.default_rng(3), noise=0.01)
    flux = flux[flux["flux"] > 5]
    mag = flux.assign(
        mag=27.5 - 2.5 * np.log10(flux["flux"]), mag_err=flux["flux_err"] / flux["flux"] / 0.921034
    )
    mag = mag.drop(columns=["flux", "flux_err"])
    a = interpolate_around_peak(batch(flux), PHASES)
    b = interpolate_around_peak(LightCurves.from_frame(mag, channels=CHANNELS), PHASES)
    assert b.flux == pytest.approx(a.flux, abs=1e-3)
    assert b.scale == pytest.approx(a.scale, rel=1e-4)


def test_too_few_points_limits_and_long_curves():
    rng = np.random.default_rng(4)
    full, long = supernova(rng, 12, name="full"), supernova(rng, 4 * MOST_POINTS, name="long")
    single = supernova(rng, 1, name="single")
    limits = supernova(rng, 12, name="full").assign(upper_limit=True, flux=0.0)
    curves = batch(
        full.assign(upper_limit=False),
        single.assign(upper_limit=False),
        limits,
        long.assign(upper_limit=False),
    )
    found = interpolate_around_peak(curves, PHASES)
    place = {name: i for i, name in enumerate(curves.object_id)}
    assert np.isnan(found.flux[place["single"]]).all()
    assert np.isnan(found.scale[place["single"]])
    assert np.isfinite(found.flux[place["long"]]).all()
    alone = interpolate_around_peak(batch(full), PHASES)
    assert found.flux[place["full"]] == pytest.approx(alone.flux[0], abs=1e-4)
    nothing = interpolate_around_peak(LightCurves.empty(CHANNELS, "flux"), PHASES)
    assert nothing.flux.shape == (0, len(PHASES), 2)
