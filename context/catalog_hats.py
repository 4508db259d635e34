"""HATS catalogues, which may be larger than memory: the rows near given positions, through lsdb."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd

from context.catalog import SkyCatalog
from context.catalog_files import check_columns, from_arrow
from context.catalog_spec import CatalogError, CatalogSpec
from context.coordinates import CoordinateError, on_sky

# HEALPix orders of the cells that choose rows before the exact cut: 7 degrees to 6 arcsec.
COARSEST, FINEST = 3, 15


def read_hats(path: str | os.PathLike, spec: CatalogSpec, ra, dec, radius: float) -> SkyCatalog:
    """Read the rows of a HATS catalogue that lie near given positions.

    Only the partitions around the positions are opened, only the declared columns of them are read, and
    only what lies within `radius` is kept, so that the catalogue itself never is in memory. The result is
    complete for these positions and this radius alone: search no others in it. With proper motions, add
    the largest motion between the catalogue's epoch and that of the positions to the radius.

    Parameters
    ----------
    path : path
        Folder of a HATS catalogue or collection.
    spec : CatalogSpec
        Positions in degrees: HATS has no others.
    ra, dec : array_like, shape (n,)
        Positions, ICRS [deg]; NaN is passed over.
    radius : float
        [arcsec], positive.

    Returns
    -------
    SkyCatalog
        Its `reach` is the radius. It may be empty.

    Raises
    ------
    CoordinateError
        A position outside [0, 360] and [-90, 90] deg.
    CatalogError
        lsdb is not installed, the folder holds no HATS catalogue, a declared column is missing, the
        declared unit is not degrees, or the radius is not positive.
    """
    if not (math.isfinite(radius) and 0 < radius <= 648000):
        raise CatalogError(f"The radius of a HATS search must be in (0, 648000] arcsec, found {radius!r}.")
    if spec.position_units() not in (None, ("deg", "deg")):
        raise CatalogError(
            f"Catalogue {spec.name!r}: positions of HATS catalogues are in degrees, but unit is "
            f'{spec.unit!r}: declare "deg".'
        )
    ra, dec = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, dtype=float)) for x in (ra, dec)))
    known = ~(np.isnan(ra) | np.isnan(dec))
    if not on_sky(ra[known], dec[known]).all():
        raise CoordinateError("Positions need ra in [0, 360] and dec in [-90, 90] degrees: check the unit.")
    ra, dec = ra[known] % 360.0, dec[known]
    frame = _rows_near(Path(path), spec, ra, dec, float(radius))
    if len(frame):
        # The cells reach over the circles; the exact separation decides.
        bare = CatalogSpec("near", "ra", "dec", unit="deg")
        rows = pd.DataFrame({"ra": frame[spec.ra].to_numpy(float), "dec": frame[spec.dec].to_numpy(float)})
        around = SkyCatalog.from_frame(pd.DataFrame({"ra": ra, "dec": dec}), bare)
        near = around.nearest(rows["ra"], rows["dec"], radius=radius)
        frame = frame.iloc[near.query].reset_index(drop=True)
    return SkyCatalog.from_frame(frame, spec, units={spec.ra: "deg", spec.dec: "deg"}, reach=float(radius))


def position_columns(path: str | os.PathLike) -> tuple[str, str]:
    """Return the names of right ascension and declination that a HATS catalogue or collection states.

    Raises
    ------
    CatalogError
        lsdb is not installed, or the folder holds no HATS catalogue with positions.
    """
    info = _open(Path(path)).hc_structure.catalog_info
    if info.ra_column is None or info.dec_column is None:
        raise CatalogError(f"{path} is a HATS {info.catalog_type} without positions: name a catalogue.")
    return info.ra_column, info.dec_column


def _open(path: Path, **options):
    """Open a HATS catalogue, which reads only its description."""
    try:
        import lsdb
    except ModuleNotFoundError as error:
        raise CatalogError(
            "A HATS catalogue needs the package lsdb, which is not installed: run `pip install lsdb`."
        ) from error
    try:
        return lsdb.open_catalog(path, **options)
    except OSError as error:
        raise CatalogError(
            f"{path} must be the folder of a HATS catalogue, but it can't be opened ({error}): "
            "check the path."
        ) from error


def _rows_near(path: Path, spec: CatalogSpec, ra, dec, radius: float) -> pd.DataFrame:
    """Rows in the HEALPix cells that the circles touch."""
    import pyarrow as pa

    needed = list(spec.table_columns)
    check_columns(_open(path).all_columns, needed, path)
    # lsdb is there, or `_open` would have refused.
    from lsdb import MOCSearch

    near = _open(
        path, columns=needed, search_filter=MOCSearch(_cells(ra, dec, radius)), error_empty_filter=False
    )
    try:
        frame = pd.DataFrame(near.compute(progress_bar=False))
    except (OSError, pa.ArrowException) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CatalogError(
            f"{path}: a part of the HATS catalogue is missing or damaged ({reason}): copy it again."
        ) from error
    return from_arrow(pa.Table.from_pandas(frame, preserve_index=False))


def _cells(ra, dec, radius: float):
    """MOC of all cells that touch a circle, cells about as large as the circles."""
    from astropy import units
    from astropy.coordinates import Angle
    from mocpy import MOC

    order = int(np.clip(MOC.spatial_resolution_to_order(Angle(radius, "arcsec")), COARSEST, FINEST))
    if len(ra) == 0:
        return MOC.new_empty(order)
    return MOC.from_cones(
        lon=ra * units.deg,
        lat=dec * units.deg,
        radius=radius * units.arcsec,
        max_depth=order,
        union_strategy="small_cones",
    )
