import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from context.host_geometry import (
    HostError,
    OffsetDensity,
    directional_light_radius,
    normalised_separation,
)

axis = st.floats(0.1, 1e4)
angle = st.floats(-720, 720)
densities = st.builds(OffsetDensity, st.floats(0.3, 4.0), st.floats(0.1, 5.0), st.floats(0.01, 0.5))


@given(axis, st.floats(0.01, 1.0), angle, angle)
def test_point_at_the_radius_lies_on_the_ellipse(major, ratio, position_angle, direction):
    minor = major * ratio
    radius = directional_light_radius(major, minor, position_angle, direction)
    east, north = radius * np.sin(np.deg2rad(direction)), radius * np.cos(np.deg2rad(direction))
    turn = np.deg2rad(position_angle)
    along = north * np.cos(turn) + east * np.sin(turn)
    across = east * np.cos(turn) - north * np.sin(turn)
    # Thin ellipses magnify the rounding of the angle by the axes' ratio.
    assert (along / major) ** 2 + (across / minor) ** 2 == pytest.approx(1, rel=1e-9)
    assert minor * (1 - 1e-12) <= radius <= major * (1 + 1e-12)
    assert directional_light_radius(major, minor, position_angle + 180, direction) == pytest.approx(
        radius, rel=1e-9
    )


def test_along_the_axes():
    # North is 0 deg and east 90 deg: an ellipse elongated to the north-east, seen towards it and across.
    found = directional_light_radius([5.0, 5.0], [2.0, 2.0], [45.0, 45.0], [225.0, 315.0])
    np.testing.assert_allclose(found, [5.0, 2.0])


def test_what_is_missing_is_a_circle():
    nan = np.nan
    found = directional_light_radius(
        [4.0, 4.0, nan, 0.0, 4.0], [nan, 1.0, 2.0, 0.0, 0.0], [10.0, nan, 0, 0, 0], 37.0
    )
    np.testing.assert_allclose(found, [4.0, 2.0, nan, nan, nan])


@pytest.mark.parametrize("axes", [(-1.0, 0.5), (1.0, -0.5), (1.0, 1.5), (np.inf, 1.0)])
def test_no_ellipse_is_refused(axes):
    with pytest.raises(HostError, match=r"0 <= minor <= major.*in 1 rows"):
        directional_light_radius([axes[0], 2.0], [axes[1], 1.0], 0.0, 0.0)


@pytest.mark.parametrize("name", ["shape", "scale", "core"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_density_needs_positive_parameters(name, value):
    with pytest.raises(HostError, match=f"The {name} of an offset density"):
        OffsetDensity(**{name: value})


@given(densities)
def test_density_integrates_to_one(density):
    # In u = sqrt(d^2 + h^2) the integrand is smooth also for shapes below one.
    def integrand(u, power):
        d = np.sqrt(u**2 - density.core**2)
        return d**power * density.density(d) * (u / d if d > 0 else 0.0)

    far = density.core + 80 * density.scale
    points = [density.core * 1.01, density.scale]
    total = quad(integrand, density.core, far, (0,), points=points, limit=400)[0]
    square = quad(integrand, density.core, far, (2,), points=points, limit=400)[0]
    assert total == pytest.approx(1, abs=1e-6)
    assert square == pytest.approx(density.mean_square, rel=1e-5)


def test_surface_density_integrates_to_one_over_the_plane():
    density, a, b = OffsetDensity(1.5, 1.0, 0.1), 3.0, 1.2
    step = 0.04
    x = np.arange(-60, 60, step) + step / 2
    d = np.hypot(x[:, None] / a, x / b)
    total = np.exp(density.log_surface_density(d, a, b)).sum() * step**2
    # The grid's step is a fifteenth of the core's extent along the shorter axis.
    assert total == pytest.approx(1, abs=2e-3)


@given(densities, st.floats(0.001, 0.999))
def test_quantile_inverts_survival(density, probability):
    assert density.survival(density.quantile(probability)) == pytest.approx(1 - probability, abs=1e-9)


def test_small_core_is_a_gamma_law(rng):
    density = OffsetDensity(1.7, 0.8, 1e-6)
    d = np.array([0.01, 0.5, 2.0, 7.0])
    np.testing.assert_allclose(density.density(d), stats.gamma(1.7, scale=0.8).pdf(d), rtol=1e-4)
    assert stats.kstest(density.sample(rng, 2000), stats.gamma(1.7, scale=0.8).cdf).pvalue > 1e-3


def test_samples_follow_the_survival_function(rng):
    density = OffsetDensity(0.6, 1.5, 0.3)
    assert stats.kstest(density.sample(rng, 4000), lambda d: 1 - density.survival(d)).pvalue > 1e-3


def test_centre_is_finite():
    value = OffsetDensity(shape=0.4).log_surface_density(0.0, 2.0, 1.0)
    assert np.isfinite(value)
    assert value > OffsetDensity(shape=0.4).log_surface_density(0.1, 2.0, 1.0)


def test_widened_axes_have_the_second_moments_of_blurred_offsets(rng):
    density, a, b, error = OffsetDensity(), 3.0, 1.0, 2.0
    n = 400_000
    d, psi = density.sample(rng, n), rng.uniform(0, 2 * np.pi, n)
    x = a * d * np.cos(psi) + error * rng.normal(size=n)
    y = b * d * np.sin(psi) + error * rng.normal(size=n)
    wide_a, wide_b = density.widened(a, b, error)
    # Second moments of a gamma law with 400,000 draws: half a per cent.
    assert x.var() == pytest.approx(wide_a**2 * density.mean_square / 2, rel=0.02)
    assert y.var() == pytest.approx(wide_b**2 * density.mean_square / 2, rel=0.02)
    assert density.widened(a, b, 0.0) == (a, b)


def test_beyond_against_draws(rng):
    density = OffsetDensity(1.2, 1.0, 0.05)
    a, b, weights = np.array([2.0, 10.0]), np.array([1.0, 4.0]), np.array([3.0, 1.0])
    n = 200_000
    which = (rng.random(n) > 0.75).astype(int)
    d, psi = density.sample(rng, n), rng.uniform(0, 2 * np.pi, n)
    separation = d * np.hypot(a[which] * np.cos(psi), b[which] * np.sin(psi))
    radius = np.array([0.0, 1.0, 5.0, 20.0])
    drawn = (separation[:, None] > radius).mean(axis=0)
    found = density.beyond(radius, a, b, weights)
    assert found[0] == pytest.approx(1)
    np.testing.assert_allclose(found, drawn, atol=4 * 0.5 / np.sqrt(n))


def test_beyond_many_radii_agrees_with_few():
    density, radius = OffsetDensity(), np.linspace(1, 30, 500)
    many = density.beyond(radius, [2.0, 5.0], [2.0, 3.0])
    # Beyond 64 different radii the values are interpolated.
    np.testing.assert_allclose(many[::50], density.beyond(radius[::50], [2.0, 5.0], [2.0, 3.0]), atol=2e-3)
    assert (np.diff(many) <= 0).all()


@given(axis, st.floats(0.01, 1.0), angle, st.floats(0, 1e4))
def test_normalised_separation_is_over_the_radius(major, ratio, phi, separation):
    radius = directional_light_radius(major, major * ratio, 0.0, phi)
    assert normalised_separation(separation, major, major * ratio, phi) == pytest.approx(separation / radius)
