"""Asinh magnitudes: the formula, the limit of bright sources, and the error as a derivative."""

import numpy as np
import pandas as pd
import pytest

from structurefn.light_curves import LightCurves
from structurefn.magnitudes import POGSON, ZERO_POINT, as_magnitudes, channel_softening, with_systematic

FLUX = np.array([-300.0, -5.0, 0.0, 0.3, 5.0, 80.0, 1e4, 1e7])
B = 2.5


def fluxes(flux=FLUX, error=1.7, band="g", limit=False):
    n = len(flux)
    frame = pd.DataFrame(
        {
            "object_id": "a",
            "survey": "S",
            "band": band,
            "mjd": 59000.0 + np.arange(n),
            "flux": flux,
            "flux_err": error,
            "upper_limit": limit,
        }
    )
    return LightCurves.from_frame(frame, channels=("S/g", "S/r"))


def test_formula_of_the_paper():
    """Eq. 3 of Lupton et al. for counts: mu = mu(0) - a asinh(f / 2b), mu(0) = m0 - a ln b."""
    made = as_magnitudes(fluxes(), {"S/g": B})
    u = FLUX / (2 * B)
    asinh = np.sign(u) * np.log(np.abs(u) + np.sqrt(u**2 + 1))
    np.testing.assert_allclose(made.value, 27.5 - 2.5 * np.log10(np.e) * (asinh + np.log(B)), rtol=1e-12)
    assert made.quantity == "mag"
    assert (np.diff(made.value) < 0).all()


def test_bright_fluxes_have_the_usual_magnitude_and_error():
    made = as_magnitudes(fluxes(), {"S/g": B})
    bright = FLUX > 1e3
    # Next order is b^2 / f^2, below 1e-7 here.
    np.testing.assert_allclose(made.value[bright], ZERO_POINT - 2.5 * np.log10(FLUX[bright]), atol=1e-6)
    np.testing.assert_allclose(made.error[bright], POGSON * 1.7 / FLUX[bright], rtol=1e-6)


def test_error_is_the_derivative():
    step = 1e-3
    made, up, down = (as_magnitudes(fluxes(FLUX + d), {"S/g": B}) for d in (0.0, step, -step))
    slope = (up.value - down.value) / (2 * step)
    # Central differences: cancellation of 27 mag leaves about 1e-11, the third order less.
    np.testing.assert_allclose(made.error, np.abs(slope) * 1.7, rtol=1e-5, atol=1e-10)


def test_channels_without_softening_take_the_mean_and_limits_keep_no_error():
    both = fluxes(band=np.array(["g", "r"] * 4))
    mixed = as_magnitudes(both, {"S/g": 1.0})
    np.testing.assert_array_equal(mixed.value, as_magnitudes(both, {"S/g": 1.0, "S/r": 1.0}).value)
    none = as_magnitudes(both, {})
    np.testing.assert_array_equal(none.value, mixed.value)
    limits = as_magnitudes(fluxes(limit=True), {"S/g": B})
    assert np.isnan(limits.error).all()
    assert np.isfinite(limits.value).all()
    assert as_magnitudes(LightCurves.empty((), "flux"), {}).n_points == 0


def test_magnitudes_are_left_alone():
    made = as_magnitudes(fluxes(), {"S/g": B})
    assert as_magnitudes(made, {"S/g": 99.0}) is made


def test_softening_is_the_median_error_of_detections():
    light_curves = fluxes(error=np.array([1.0, 2, 3, 4, 5, 6, 7, 100.0]), limit=[False] * 7 + [True])
    assert channel_softening(light_curves) == pytest.approx({"S/g": 4.0})


def test_systematic_errors_add_in_quadrature():
    plain = as_magnitudes(fluxes(), {"S/g": B})
    assert with_systematic(plain, 0.0) is plain
    wider = with_systematic(plain, 0.3)
    np.testing.assert_allclose(wider.error**2, plain.error**2 + 0.09)
    np.testing.assert_array_equal(wider.value, plain.value)
    with pytest.raises(ValueError, match=r"not negative, but it is -0\.1"):
        with_systematic(plain, -0.1)
    with pytest.raises(ValueError, match="but the batch holds flux: use as_magnitudes"):
        with_systematic(fluxes(), 0.1)
