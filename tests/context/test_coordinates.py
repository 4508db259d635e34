import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from context import CoordinateError, ecliptic, galactic

# Rotation ICRS -> Galactic of the Hipparcos catalogue (ESA SP-1200, Vol. 1, section 1.5.3).
GALACTIC = np.array(
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [+0.4941094279, -0.4448296300, +0.7469822445],
        [-0.8676661490, -0.1980763734, +0.4559837762],
    ]
)
# Mean obliquity at J2000, IAU 2006: 84381.406 arcsec.
OBLIQUITY = np.deg2rad(84381.406 / 3600)
ECLIPTIC = np.array(
    [
        [1, 0, 0],
        [0, np.cos(OBLIQUITY), np.sin(OBLIQUITY)],
        [0, -np.sin(OBLIQUITY), np.cos(OBLIQUITY)],
    ]
)
dec = st.floats(-90, 90)


def rotate(matrix, ra, dec):
    ra, dec = np.deg2rad(ra), np.deg2rad(dec)
    x, y, z = matrix @ np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    return np.rad2deg(np.arctan2(y, x)) % 360, np.rad2deg(np.arcsin(np.clip(z, -1, 1)))


def separation(longitude, latitude, other_longitude, other_latitude):
    """Great-circle separation [deg], by the haversine, good at small angles and at the poles."""
    lon, lat, lon2, lat2 = np.deg2rad([longitude, latitude, other_longitude, other_latitude])
    h = np.sin((lat - lat2) / 2) ** 2 + np.cos(lat) * np.cos(lat2) * np.sin((lon - lon2) / 2) ** 2
    return np.rad2deg(2 * np.arcsin(np.sqrt(np.clip(h, 0, 1))))


@pytest.mark.parametrize(
    ("ra", "dec", "longitude", "latitude"),
    [
        (192.85948, 27.12825, None, 90.0),
        (192.85948 - 180, -27.12825, None, -90.0),
        # Sgr A* lies at l = 359.94423, b = -0.04616 (Reid & Brunthaler 2004).
        (266.416837, -29.007806, 359.94423, -0.04616),
    ],
)
def test_known_galactic_positions(ra, dec, longitude, latitude):
    found_longitude, found_latitude = galactic(ra, dec)
    # Positions are quoted to 1e-5 deg; 1e-4 deg is 0.4 arcsec.
    assert found_latitude == pytest.approx(latitude, abs=1e-4)
    if longitude is not None:
        assert found_longitude == pytest.approx(longitude, abs=1e-4)


def test_ecliptic_pole_and_equinox():
    assert ecliptic(270.0, 90 - np.rad2deg(OBLIQUITY))[1] == pytest.approx(90, abs=1e-4)
    longitude, latitude = ecliptic(0.0, 0.0)
    assert min(longitude, 360 - longitude) < 1e-4
    assert abs(latitude) < 1e-4


@pytest.mark.parametrize(("transform", "matrix"), [(galactic, GALACTIC), (ecliptic, ECLIPTIC)])
def test_against_rotation_matrix(transform, matrix, rng):
    ra, sin_dec = rng.uniform(0, 360, 500), rng.uniform(-1, 1, 500)
    dec = np.rad2deg(np.arcsin(sin_dec))
    longitude, latitude = transform(ra, dec)
    assert ((longitude >= 0) & (longitude < 360)).all()
    # The frames' bias against the mean equator of J2000 is 23 milliarcsec = 6.5e-6 deg.
    assert separation(longitude, latitude, *rotate(matrix, ra, dec)).max() < 1e-5


@given(dec)
def test_right_ascension_wraps_at_360(dec):
    for transform in (galactic, ecliptic):
        (lon, lon_again), (lat, lat_again) = transform([0.0, 360.0], [dec, dec])
        assert separation(lon, lat, lon_again, lat_again) < 1e-9


@given(st.floats(0, 360), dec, st.floats(0, 360), dec)
def test_rotations_keep_separations(ra, dec, other_ra, other_dec):
    before = separation(ra, dec, other_ra, other_dec)
    for transform in (galactic, ecliptic):
        (lon, lon2), (lat, lat2) = transform([ra, other_ra], [dec, other_dec])
        # arcsin(sqrt(h)) loses digits near 180 deg: 1e-16 in h is 1e-8 rad there.
        assert separation(lon, lat, lon2, lat2) == pytest.approx(before, abs=2e-6)


def test_nan_shape_and_broadcast():
    longitude, latitude = galactic([[np.nan, 10.0]], 5.0)
    assert longitude.shape == latitude.shape == (1, 2)
    assert np.isnan(latitude).tolist() == [[True, False]]
    assert galactic([], [])[1].shape == (0,)


@pytest.mark.parametrize(("ra", "dec"), [(-0.1, 0), (360.1, 0), (10, 90.5), (10, -91), (np.inf, 0)])
def test_off_the_sky(ra, dec):
    with pytest.raises(CoordinateError, match=r"ra in \[0, 360\].*found ra="):
        galactic([5.0, ra], [5.0, dec])
