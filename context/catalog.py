"""Catalogues of positions on the sky, searched by position."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from context.catalog_files import read_source_table
from context.catalog_rows import read_rows
from context.catalog_spec import CatalogError, CatalogSpec
from context.coordinates import CoordinateError, on_sky
from context.crossmatch import Neighbours, SkyIndex, build_indices, count_within, find_neighbours
from context.footprint import Footprint
from context.sky_geometry import ARCSEC_PER_RAD, Motion, cap_area_arcmin2, sky_order, unit_vectors

__all__ = ["CatalogError", "CatalogSpec", "Neighbours", "SkyCatalog"]


@dataclass(frozen=True)
class SkyCatalog:
    """A catalogue in memory, with an index for searches by position.

    Make one with `from_frame`, `from_file` or `context.catalog_hats.read_hats`. The index is built with
    the first search.

    Parameters
    ----------
    spec : CatalogSpec
    ra, dec : float64 arrays, shape (n_rows,)
        Positions at their own epochs, ICRS [deg], ra in [0, 360).
    columns : pandas.DataFrame
        The declared columns under our names, one row a source.
    position_error : float64 array, shape (n_rows,)
        1 sigma on each axis [arcsec]; zero where none is declared, NaN where it is missing.
    magnitude : float64 array, shape (n_rows,)
        NaN where missing.
    footprint : Footprint
    set_aside : pandas.DataFrame
        Columns reason and rows: rows that were left out, and cells that were left missing.
    motion : Motion, optional
        Proper motions and epochs.
    reach : float, optional
        Where only rows near some positions were read, the radius around them [arcsec]: searches that go
        farther are refused, as their answer would be too small.
    """

    spec: CatalogSpec
    ra: np.ndarray
    dec: np.ndarray
    columns: pd.DataFrame
    position_error: np.ndarray
    magnitude: np.ndarray
    footprint: Footprint
    set_aside: pd.DataFrame
    motion: Motion | None = None
    reach: float | None = None

    @classmethod
    def from_file(cls, path: str | os.PathLike, spec: CatalogSpec) -> SkyCatalog:
        """Read a catalogue from a file.

        Parameters
        ----------
        path : path
            Parquet, CSV, FITS, VOTable or ECSV.
        spec : CatalogSpec

        Raises
        ------
        CatalogError
            A file that can't be read whole, a declared column that is missing, or as `from_frame`.
        """
        table = read_source_table(path, spec.table_columns)
        return cls.from_frame(table.frame, spec, units=table.units)

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, spec: CatalogSpec, *, units: dict[str, str] | None = None, reach=None
    ) -> SkyCatalog:
        """Make a catalogue of a table.

        Rows without a position on the sky are set aside. Cells of number columns that hold no finite
        number are left missing, and counted.

        Parameters
        ----------
        frame : pandas.DataFrame
            With the columns that `spec` declares. It may be empty.
        spec : CatalogSpec
        units : dict of str to str, optional
            Columns of `frame` to the units that their file states.
        reach : float, optional
            See `SkyCatalog`.

        Raises
        ------
        CatalogError
            A missing column, no unit or a wrong one, or rows of which not one can be used.
        """
        rows = read_rows(frame, spec, units or {}, partial=reach is not None)
        footprint = Footprint.from_declaration(spec.footprint)
        return cls(
            spec,
            *(rows.ra, rows.dec, rows.columns, rows.position_error, rows.magnitude),
            *(footprint, rows.set_aside, rows.motion, reach),
        )

    @property
    def n_rows(self) -> int:
        """Number of sources."""
        return len(self.ra)

    def covers(self, ra, dec) -> np.ndarray:
        """Tell whether positions [deg] are in the footprint: int8 (n,), 1 yes, 0 no, -1 not known."""
        return self.footprint.contains(ra, dec)

    def cone(self, ra, dec, radius, *, epoch=None) -> Neighbours:
        """Find all sources within a radius of each position.

        Parameters
        ----------
        ra, dec : array_like, shape (n,)
            Positions, ICRS [deg]. NaN has no neighbours.
        radius : float or array_like, shape (n,)
            [arcsec], non-negative, the boundary included.
        epoch : float or array_like, shape (n,), optional
            When the positions hold [Julian year]: sources with a proper motion are taken to that epoch.
            None: sources are where the catalogue has them.

        Raises
        ------
        CoordinateError
            A position outside [0, 360] and [-90, 90] deg.
        CatalogError
            A radius that is negative, not finite or beyond `reach`, or an epoch that is no Julian year.
        """
        return self._search(ra, dec, radius, epoch, k=None)

    def nearest(self, ra, dec, *, k: int = 1, radius=None, epoch=None) -> Neighbours:
        """Find the k nearest sources of each position, fewer where there are not so many.

        Parameters
        ----------
        ra, dec, epoch
            As of `cone`.
        k : int
            Number of sources, at least one. Equally far ones come in the order of the catalogue.
        radius : float or array_like, shape (n,), optional
            None farther than this [arcsec]; None: the whole sky, or as far as `reach`.

        Raises
        ------
        CoordinateError, CatalogError
            As `cone`; also for a `k` below one.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise CatalogError(f"The number of nearest sources must be a whole number from 1, found {k!r}.")
        if radius is None:
            radius = 648000.0 if self.reach is None else self.reach
        return self._search(ra, dec, radius, epoch, k=int(k))

    def density(self, ra, dec, *, radius, hole=None) -> np.ndarray:
        r"""Measure the density of sources around each position.

        Sources are counted between two circles, the inner one so that a counterpart of the position
        itself does not count:

        .. math:: \rho = \frac{N(r_\mathrm{hole} < r \le R)}{4\pi[\sin^2(R/2) - \sin^2(r_\mathrm{hole}/2)]}

        Sources are taken where the catalogue has them, without proper motion. The whole ring is taken as
        covered: near the footprint's edge the density is too low.

        Parameters
        ----------
        ra, dec : array_like, shape (n,)
            Positions, ICRS [deg].
        radius : float or array_like, shape (n,)
            Of the outer circle [arcsec].
        hole : float or array_like, shape (n,), optional
            Of the inner circle [arcsec], smaller than `radius`; a quarter of it by default.

        Returns
        -------
        float64 array, shape (n,)
            [arcmin^-2]; NaN where the position is.

        Raises
        ------
        CoordinateError, CatalogError
            As `cone`; also for a hole that is negative or not smaller than `radius`.
        """
        ra, dec, known = _positions(ra, dec)
        radius = self._radius(radius, len(ra))
        hole = np.broadcast_to(np.asarray(radius / 4 if hole is None else hole, dtype=float), radius.shape)
        wrong = ~((hole >= 0) & (hole < radius))
        if wrong.any():
            raise CatalogError(
                "The hole of a density must be a radius from 0 to below the outer one, found "
                f"{hole[wrong][0]:g} in {radius[wrong][0]:g} arcsec."
            )
        points = unit_vectors(ra[known], dec[known])
        order = sky_order(points)
        known = np.flatnonzero(known)[order]
        points = points[order]
        outer, inner = radius[known] / ARCSEC_PER_RAD, hole[known] / ARCSEC_PER_RAD
        number = count_within(self._indices, points, outer) - count_within(self._indices, points, inner)
        density = np.full(len(ra), np.nan)
        density[known] = number / (cap_area_arcmin2(radius) - cap_area_arcmin2(hole))[known]
        return density

    @cached_property
    def _indices(self) -> list[SkyIndex]:
        return build_indices(self.ra, self.dec, self.motion)

    def _search(self, ra, dec, radius, epoch, k: int | None) -> Neighbours:
        ra, dec, known = _positions(ra, dec)
        radius, epoch = self._radius(radius, len(ra)), self._epoch(epoch, len(ra))
        return find_neighbours(
            self._indices,
            (self.ra, self.dec, self.motion),
            (ra, dec, epoch),
            np.flatnonzero(known),
            radius,
            k,
        )

    def _radius(self, radius, n: int) -> np.ndarray:
        radius = np.broadcast_to(np.asarray(radius, dtype=float), (n,))
        wrong = ~(np.isfinite(radius) & (radius >= 0))
        if wrong.any():
            raise CatalogError(
                f"A search radius must be a number of arcsec from 0, found {radius[wrong][0]:g}."
            )
        if self.reach is not None and (radius > self.reach).any():
            raise CatalogError(
                f"Catalogue {self.spec.name!r} was read only within {self.reach:g} arcsec of its positions, "
                f"and a search of {radius.max():g} arcsec goes farther: read it again with a larger radius."
            )
        return radius

    def _epoch(self, epoch, n: int) -> np.ndarray | None:
        if epoch is None:
            return None
        epoch = np.broadcast_to(np.asarray(epoch, dtype=float), (n,))
        wrong = ~((epoch >= 1000) & (epoch <= 3000))
        if wrong.any():
            raise CatalogError(
                f"Epochs must be Julian years such as 2016.0, found {epoch[wrong][0]:g}: convert dates first."
            )
        return epoch if self.motion is not None else None


def _positions(ra, dec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check query positions: arrays [deg] of one dimension, ra 360 as 0, and which are known."""
    ra, dec = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, dtype=float)) for x in (ra, dec)))
    if ra.ndim != 1:
        raise CatalogError(f"Positions must be arrays of one dimension, found ra.shape={ra.shape}.")
    known = ~(np.isnan(ra) | np.isnan(dec))
    wrong = known & ~on_sky(ra, dec)
    if wrong.any():
        raise CoordinateError(
            "Positions need ra in [0, 360] and dec in [-90, 90] degrees, found "
            f"ra={ra[wrong][0]:g}, dec={dec[wrong][0]:g}; are they in hours or radians?"
        )
    return np.where(ra == 360.0, 0.0, ra), dec, known
