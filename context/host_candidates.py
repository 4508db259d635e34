"""Galaxies that may be hosts: those near each transient, with all that a host model needs of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from context.host_counts import SQUARE_ARCSEC_OF_SKY, BackgroundCounts
from context.host_geometry import HostError, complete_axes, directional_light_radius, wrong_axes
from context.sky_geometry import cap_area_arcmin2

__all__ = ["HostCandidates", "find_candidates"]

# Of the circle in which a local density is measured [arcsec]: a quarter of a great circle.
LARGEST_CIRCLE = 324000.0


@dataclass(frozen=True, eq=False)
class HostCandidates:
    """Galaxies near each transient, as plain arrays: all that a `HostModel` needs.

    Attributes
    ----------
    query, row : int64 arrays, shape (n_candidates,)
        Object, ascending, and row of the catalogue.
    separation, phi : float64 arrays, shape (n_candidates,)
        Distance [arcsec], and angle from the galaxy's major axis to the transient [deg].
    major, minor : float64 arrays, shape (n_candidates,)
        Positive semi-axes used in likelihoods [arcsec]: see `find_candidates`.
    dlr : float64 array, shape (n_candidates,)
        Directional light radius [arcsec] of galaxies whose size is known; else NaN.
    magnitude, position_error : float64 arrays, shape (n_candidates,)
        Galaxy [mag], NaN where missing; 1-sigma error of the relative position, per coordinate [arcsec].
    crowding : float64 array, shape (n_candidates,)
        Local surface density of galaxies over the catalogue's mean.
    radius : float64 array, shape (n_objects,)
        Searched [arcsec].
    covered : int8 array, shape (n_objects,)
        1 within the footprint, 0 outside it, -1 where that is not known.
    background : BackgroundCounts
    sizes : float64 array, shape (n_sample, 3)
        Semi-axes [arcsec] and magnitude of a sample of the catalogue, for hosts outside the radius.
    catalog : SkyCatalog
    set_aside : DataFrame
        Columns reason and rows: galaxies whose size was not used.
    """

    query: np.ndarray
    row: np.ndarray
    separation: np.ndarray
    phi: np.ndarray
    major: np.ndarray
    minor: np.ndarray
    dlr: np.ndarray
    magnitude: np.ndarray
    position_error: np.ndarray
    crowding: np.ndarray
    radius: np.ndarray
    covered: np.ndarray
    background: BackgroundCounts
    sizes: np.ndarray
    catalog: object
    set_aside: pd.DataFrame = field(default_factory=lambda: _set_aside())

    @property
    def n_objects(self) -> int:
        """Number of transients."""
        return len(self.radius)

    @property
    def known(self) -> np.ndarray:
        """Objects with a posterior, (n_objects,): covered, or of unknown coverage but with candidates."""
        found = np.bincount(self.query, minlength=self.n_objects) > 0
        return (self.covered == 1) | ((self.covered == -1) & found)


def find_candidates(
    ra,
    dec,
    catalog,
    radius,
    position_error=0.0,
    *,
    background: BackgroundCounts | None = None,
    floor: float = 0.5,
    typical_axis: float | None = None,
    neighbours: int = 50,
) -> HostCandidates:
    """Gather the galaxies within a radius of each transient.

    Parameters
    ----------
    ra, dec : array_like, shape (n_objects,)
        ICRS [deg]. NaN: the object is not covered.
    catalog : SkyCatalog
        With the columns major_axis, minor_axis (semi-axes, arcsec) and position_angle (deg), as far as known.
    radius : float or array_like, shape (n_objects,)
        Of the search [arcsec], at least zero.
    position_error : float or array_like, shape (n_objects,)
        Of the transients, 1 sigma per coordinate [arcsec]; the galaxies' is added in quadrature,
        where the catalogue has it.
    background : BackgroundCounts, optional
        Default: counted in the catalogue.
    floor : float
        Smallest semi-axis in likelihoods [arcsec]: an unresolved galaxy is as large as the seeing lets it be.
    typical_axis : float, optional
        Semi-axis of galaxies without a size [arcsec]. Default: the median of the catalogue's.
    neighbours : int
        The local density is measured in a circle where so many galaxies are expected; 0 takes the mean.

    Notes
    -----
    Negative axes and minor > major are no ellipses: such a galaxy keeps its place among the candidates, with
    the typical size, and is counted in `set_aside`.

    Raises
    ------
    CoordinateError, CatalogError, HostError
        Positions off the sky; a negative or missing radius or error; a catalogue without any size.
    """
    ra, dec = np.atleast_1d(np.asarray(ra, dtype=float)), np.atleast_1d(np.asarray(dec, dtype=float))
    radius = np.broadcast_to(np.asarray(radius, dtype=float), ra.shape)
    error = np.broadcast_to(np.asarray(position_error, dtype=float), ra.shape)
    for name, value in (("search radius", radius), ("position error", error)):
        if not (np.isfinite(value) & (value >= 0)).all():
            raise HostError(f"Each {name} must be finite and not negative [arcsec], found one that is not.")
    axes = _axes(catalog)
    bad = wrong_axes(*axes[:2])
    axes[:2, bad] = np.nan
    sized = np.isfinite(axes[0]) & (axes[0] > 0)
    if typical_axis is None and catalog.n_rows == 0:
        typical_axis = floor
    elif typical_axis is None:
        if not sized.any():
            raise HostError(
                f"Catalogue {catalog.spec.name!r} has no galaxy with a size; declare its columns "
                "major_axis and minor_axis, or give typical_axis [arcsec]."
            )
        typical_axis = float(np.median(axes[0, sized]))

    near = catalog.cone(ra, dec, radius)
    query, row = near.query, near.source
    mean_density = _mean_density(catalog, ra, dec)
    if background is None:
        area = max(catalog.n_rows, 0.5) / mean_density
        background = BackgroundCounts.from_magnitudes(catalog.magnitude, area)
    crowding = _crowding(catalog, ra, dec, mean_density, neighbours) if neighbours else np.ones(len(ra))

    a, b, angle = axes[:, row]
    direction = _direction(catalog.ra[row], catalog.dec[row], ra[query], dec[query])
    used_a, used_b, used_angle = complete_axes(*_usable(a, b, angle, floor, typical_axis))
    sample = _sample(sized, background.cell(catalog.magnitude), axes[0])
    size_a, size_b, _ = complete_axes(*_usable(*axes[:, sample], floor, typical_axis))
    return HostCandidates(
        query=query,
        row=row,
        separation=near.separation,
        phi=direction - used_angle,
        major=used_a,
        minor=used_b,
        dlr=directional_light_radius(a, b, angle, direction),
        magnitude=catalog.magnitude[row],
        position_error=np.hypot(error[query], np.nan_to_num(catalog.position_error[row])),
        crowding=crowding[query],
        radius=radius,
        covered=catalog.covers(ra, dec),
        background=background,
        sizes=np.column_stack([size_a, size_b, catalog.magnitude[sample]])
        if len(sample)
        else np.array([[typical_axis, typical_axis, np.nan]]),
        catalog=catalog,
        set_aside=_set_aside(int(bad[np.unique(row)].sum())),
    )


def _set_aside(n_wrong: int = 0) -> pd.DataFrame:
    reasons = ["semi-axes are no ellipse: typical size used"] if n_wrong else []
    return pd.DataFrame({"reason": pd.Series(reasons, dtype=object), "rows": [n_wrong] if n_wrong else []})


def _axes(catalog) -> np.ndarray:
    """Semi-axes [arcsec] and position angle [deg] of all galaxies, shape (3, n); NaN where not declared."""
    names = ("major_axis", "minor_axis", "position_angle")
    return np.array(
        [
            catalog.columns[name].to_numpy(dtype=float, na_value=np.nan)
            if name in catalog.columns
            else np.full(catalog.n_rows, np.nan)
            for name in names
        ]
    )


def _sample(sized, cell, major) -> np.ndarray:
    """Rows with a size: of each cell of magnitude the medians of 24 equal parts in order of size, or all."""
    rows = np.flatnonzero(sized)
    rows = rows[np.lexsort([major[rows], cell[rows]])]
    parts = [part for part in np.split(rows, np.flatnonzero(np.diff(cell[rows])) + 1) if len(part)]
    middles = [(np.arange(min(len(part), 24)) + 0.5) / min(len(part), 24) for part in parts]
    chosen = [part[(middle * len(part)).astype(int)] for part, middle in zip(parts, middles, strict=True)]
    return np.concatenate(chosen) if chosen else rows


def _usable(a, b, angle, floor, typical_axis):
    """Axes for likelihoods: the typical circle where the size is missing, nowhere below the floor."""
    missing = np.isnan(a)
    b = np.where(np.isnan(b), a, b)
    a, b = np.where(missing, typical_axis, a), np.where(missing, typical_axis, b)
    return np.maximum(a, floor), np.maximum(b, floor), np.where(missing, np.nan, angle)


def _direction(ra, dec, to_ra, to_dec) -> np.ndarray:
    """Position angle of the second position seen from the first, north through east [deg]."""
    from astropy.coordinates import position_angle

    return position_angle(*np.deg2rad([ra, dec, to_ra, to_dec])).deg


def _mean_density(catalog, ra, dec) -> float:
    """Galaxies per square arcsec of the footprint, half of one if there is none.

    Where the footprint is not known: of the places with galaxies. Where the catalogue was read only near some
    positions: around the transients.
    """
    fraction = catalog.footprint.sky_fraction
    least = 0.5 / SQUARE_ARCSEC_OF_SKY
    if catalog.reach is not None:
        around = catalog.density(ra, dec, radius=catalog.reach)
        around = around[np.isfinite(around)]
        return max(around.mean() / 3600.0, least) if len(around) else least
    if np.isfinite(fraction) and fraction > 0:
        return max(catalog.n_rows, 0.5) / (fraction * SQUARE_ARCSEC_OF_SKY)
    if catalog.n_rows < 2:
        return least
    some = np.linspace(0, catalog.n_rows - 1, min(catalog.n_rows, 200)).astype(int)
    k = min(20, catalog.n_rows)
    near = catalog.nearest(catalog.ra[some], catalog.dec[some], k=k)
    distance = np.zeros(len(some))
    np.maximum.at(distance, near.query, near.separation)
    # The galaxy in the centre is not counted.
    distance = np.median(distance)
    return max((k - 1) / (np.pi * distance**2), least) if distance > 0 else least


def _crowding(catalog, ra, dec, mean_density, neighbours) -> np.ndarray:
    """Local over mean density: the mean of a gamma posterior whose prior is worth five galaxies."""
    widest = LARGEST_CIRCLE if catalog.reach is None else catalog.reach
    reach = min(np.sqrt(neighbours / (np.pi * mean_density)), widest)
    if reach == 0:
        return np.ones(len(ra))
    # A hole of a hundredth of the area, so that the host itself does not count.
    area = cap_area_arcmin2(reach) - cap_area_arcmin2(reach / 10)
    found = np.nan_to_num(catalog.density(ra, dec, radius=reach, hole=reach / 10)) * area
    return (found + 5.0) / (mean_density * 3600.0 * area + 5.0)
