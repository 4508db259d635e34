"""Galactic and ecliptic coordinates of positions on the sky."""

from __future__ import annotations

import numpy as np


class CoordinateError(ValueError):
    """A position is not on the sky; the message names the first one."""


def on_sky(ra, dec) -> np.ndarray:
    """Return where right ascension is in [0, 360] and declination in [-90, 90] deg (NaN is not)."""
    ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    return (ra >= 0) & (ra <= 360) & (dec >= -90) & (dec <= 90)


def galactic(ra, dec) -> tuple[np.ndarray, np.ndarray]:
    """Galactic longitude and latitude.

    Parameters
    ----------
    ra, dec : array_like
        Right ascension in [0, 360] and declination in [-90, 90], ICRS [deg]. NaN gives NaN.

    Returns
    -------
    l, b : float64 arrays
        Longitude in [0, 360) and latitude [deg], of the shape of `ra` and `dec` broadcast.

    Raises
    ------
    CoordinateError
        A position outside those ranges.
    """
    return _transform(ra, dec, "galactic")


def ecliptic(ra, dec) -> tuple[np.ndarray, np.ndarray]:
    """Barycentric mean ecliptic longitude and latitude of J2000.

    Parameters, result and errors are as of `galactic`.
    """
    return _transform(ra, dec, "barycentricmeanecliptic")


def _transform(ra, dec, frame: str) -> tuple[np.ndarray, np.ndarray]:
    ra, dec = np.broadcast_arrays(np.asarray(ra, dtype=float), np.asarray(dec, dtype=float))
    known = ~(np.isnan(ra) | np.isnan(dec))
    wrong = known & ~on_sky(ra, dec)
    if wrong.any():
        raise CoordinateError(
            "Positions need ra in [0, 360] and dec in [-90, 90] degrees, found "
            f"ra={ra[wrong][0]:g}, dec={dec[wrong][0]:g}; are they in hours or radians?"
        )
    longitude, latitude = np.full(ra.shape, np.nan), np.full(ra.shape, np.nan)
    if known.any():
        # astropy takes a good part of a second to import, and only positions need it.
        from astropy.coordinates import SkyCoord

        there = SkyCoord(ra[known], dec[known], unit="deg", frame="icrs").transform_to(frame).spherical
        longitude[known] = there.lon.wrap_at("360d").deg
        latitude[known] = there.lat.deg
    return longitude, latitude
