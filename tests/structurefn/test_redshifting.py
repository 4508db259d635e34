"""Light curves at another redshift against a source whose spectrum is known at all wavelengths and times."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from structurefn.light_curves import LightCurveError, LightCurves
from structurefn.redshifting import detected, fit_surface, photon_variance, redshifted, time_of_maximum

CHANNELS = ("S/g", "S/r", "S/i", "S/z")
WAVELENGTH = np.array([4770.0, 6420.0, 7830.0, 9260.0])


def rest_flux(time, wavelength):
    """A smooth source: a pulse that comes later and lasts longer at longer wavelengths."""
    colour = np.log(wavelength / 5000.0)
    spectrum = np.exp(-0.5 * ((colour - 0.1) / 0.5) ** 2)
    return spectrum * np.exp(-0.5 * ((time - 8.0 * colour) / (14.0 + 5.0 * colour)) ** 2)


def observed(z, brightness, rng, *, n=45, error=1.0, noisy=True, names=("o",)):
    """The source at redshift z in four channels, its rest-frame time zero at day 59000 + 60 (1 + z)."""
    frames = []
    for name in names:
        time = np.sort(rng.uniform(0.0, 120.0 * (1 + z), n))
        for channel, wavelength in zip(CHANNELS, WAVELENGTH, strict=True):
            flux = brightness * rest_flux(time / (1 + z) - 60.0, wavelength / (1 + z))
            frames.append(
                pd.DataFrame(
                    {
                        "object_id": name,
                        "survey": "S",
                        "band": channel[-1],
                        "mjd": 59000.0 + time,
                        "flux": flux + noisy * error * rng.normal(size=n),
                        "flux_err": error,
                    }
                )
            )
    return LightCurves.from_frame(pd.concat(frames), channels=CHANNELS)


def truth(curves, z, brightness, peak_time, rest_peak):
    """Noise-free flux at the points of a batch of one object, its maximum placed at a time."""
    time = rest_peak + (curves.time - peak_time) / (1 + z)
    return brightness * rest_flux(time, WAVELENGTH[curves.channel] / (1 + z))


def test_a_known_source_at_another_redshift():
    rng = np.random.default_rng(1)
    z, new, dimming = 0.2, 0.5, 0.3
    source = observed(z, 100.0, rng)
    cadence = observed(new, 40.0, rng, names=[f"c{i}" for i in range(20)])
    moved = redshifted(
        source,
        np.zeros(20, int),
        np.full(20, (1 + new) / (1 + z)),
        np.full(20, dimming),
        WAVELENGTH,
        cadence,
        rng,
    )
    # Where the source's brightest point lies in its rest frame is known, since it is simulated.
    rest_peak = (time_of_maximum(source)[0] - 59000.0) / (1 + z) - 60.0
    peak = time_of_maximum(cadence)
    residual, expected = [], []
    for i in range(20):
        one = moved.take_objects([i])
        expected.append(truth(one, new, dimming * 100.0, peak[i], rest_peak))
        residual.append((one.value - expected[-1]) / one.error)
    residual, expected = np.concatenate(residual), np.concatenate(expected)
    assert len(residual) > 2000
    assert expected.max() > 25.0
    # The noise is the survey's; what the interpolation adds is small beside it.
    spread = [residual[moved.channel == code].std() for code in range(4)]
    assert spread[1:] == pytest.approx([1.0] * 3, abs=0.12)
    # The bluest channel sees what the source's bluest one does not; there the flux fades by a known factor.
    blue = (moved.channel == 0) & (expected > 5.0)
    x = np.sqrt(3.0) * np.log((1 + new) / (1 + z)) / 0.2
    shown = moved.value[blue].sum() / expected[blue].sum()
    assert shown == pytest.approx((1 + x) * np.exp(-x), abs=0.15)
    assert shown < 0.6


def test_a_class_brighter_or_bluer_than_the_other_stays_so():
    rng = np.random.default_rng(2)
    source, cadence = observed(0.3, 200.0, rng), observed(0.3, 200.0, rng)
    for dimming in (1.0, 0.25):
        moved = redshifted(source, [0], np.array([1.0]), np.array([dimming]), WAVELENGTH, cadence, rng)
        peak = np.array([moved.value[moved.channel == code].max() for code in range(4)])
        model = np.array([cadence.value[cadence.channel == code].max() for code in range(4)])
        assert peak == pytest.approx(dimming * model, abs=6.0)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_same_redshift_gives_the_same_curve(seed):
    rng = np.random.default_rng(seed)
    source = observed(0.4, 60.0, rng)
    moved = redshifted(source, [0], np.array([1.0]), np.array([1.0]), WAVELENGTH, source, rng)
    assert np.array_equal(moved.time, source.time)
    assert np.array_equal(moved.channel, source.channel)
    # Two noisy measurements of one curve differ by the root of two errors.
    assert ((moved.value - source.value) / source.error).std() == pytest.approx(np.sqrt(2.0), abs=0.2)
    assert list(moved.object_id) == ["o"]


def test_the_surface_goes_through_sure_points_and_is_a_gaussian_process():
    rng = np.random.default_rng(6)
    source = observed(0.1, 1000.0, rng, n=20)
    at = np.log(WAVELENGTH)[source.channel]
    surface = fit_surface(source.time, at, source.value, source.error)
    # The dense Gaussian of the same covariance, written out.
    y, scale = source.value / surface.scale, np.sqrt(3.0)
    r = scale * np.abs(source.time[:, None] - source.time) / surface.time_scale
    q = scale * np.abs(at[:, None] - at) / surface.wavelength_scale
    k = surface.amplitude**2 * (1 + r) * np.exp(-r) * (1 + q) * np.exp(-q)
    noise = (source.error / surface.scale) ** 2 + (0.02 * y) ** 2 + 1e-5
    mean = surface.scale * k @ np.linalg.inv(k + np.diag(noise)) @ y
    assert surface.flux(source.time, at) == pytest.approx(mean, abs=1e-6 * surface.scale)
    error = np.hypot(source.error, 0.02 * source.value)
    assert np.sqrt(np.mean(((mean - source.value) / error) ** 2)) < 1.2


def test_points_beyond_the_source_are_left_out_and_empty_curves_stay_empty():
    rng = np.random.default_rng(7)
    source = observed(0.2, 80.0, rng, names=("a", "b"))
    short = source.keep_points(
        (np.abs(source.time - time_of_maximum(source)[0]) < 15.0) & (source.object_index == 0)
    )
    cadence = observed(0.2, 80.0, rng, names=("c", "d"))
    moved = redshifted(short, [0, 1], np.ones(2), np.ones(2), WAVELENGTH, cadence, rng)
    assert list(moved.object_id) == ["a", "b"]
    assert list(moved.n_detections > 0) == [True, False]
    span = moved.time.max() - moved.time.min()
    assert 20.0 < span < 30.0 + 2 * 10.0 + 1.0


def test_the_error_grows_with_the_flux_as_it_was_made_to():
    rng = np.random.default_rng(8)
    flux = np.concatenate([np.zeros(200), rng.uniform(50.0, 500.0, 200)])
    error = np.sqrt(4.0 + 0.3 * flux)
    frame = {"object_id": "o", "survey": "S", "band": "g", "mjd": np.arange(400.0) + 59000.0, "flux": flux}
    curves = LightCurves.from_frame(pd.DataFrame(frame | {"flux_err": error}))
    assert photon_variance(curves) == pytest.approx([0.3])
    assert photon_variance(curves.keep_points(flux < 1.0)) == pytest.approx([0.0])


@given(st.lists(st.floats(-10.0, 10.0), min_size=4, max_size=4))
def test_detection_takes_two_channels(significance):
    frame = pd.DataFrame(
        {
            "object_id": "o",
            "survey": "S",
            "band": [name[-1] for name in CHANNELS],
            "mjd": 59000.0 + np.arange(4),
            "flux": np.array(significance) * 2.0,
            "flux_err": 2.0,
        }
    )
    curves = LightCurves.from_frame(frame, channels=CHANNELS)
    assert detected(curves)[0] == (sum(value >= 5.0 for value in significance) >= 2)
    alone = LightCurves.from_frame(frame[:1])
    assert detected(alone)[0] == (significance[0] >= 5.0)


def test_magnitudes_and_other_channels_are_refused():
    rng = np.random.default_rng(9)
    source = observed(0.2, 80.0, rng)
    one = np.ones(1)
    bad = replace(source, quantity="mag")
    with pytest.raises(LightCurveError, match="as fluxes only, but magnitudes were given"):
        redshifted(bad, [0], one, one, WAVELENGTH, source, rng)
    with pytest.raises(LightCurveError, match=r"same channels, but there are .* and 3 wavelengths"):
        redshifted(source, [0], one, one, WAVELENGTH[:3], source, rng)
