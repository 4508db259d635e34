"""Columns of evidence that one catalogue, or the position itself, gives to every object."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from context.annotation_positions import Places
from context.catalog import SkyCatalog
from context.catalog_spec import WORKING_UNITS
from context.coordinates import ecliptic, galactic
from context.dust import extinction
from context.evidence_values import numbers
from context.host_counts import BackgroundCounts
from context.nearest import ARCSEC2_PER_ARCMIN2, match_probability
from context.sky_geometry import cap_area_arcmin2

__all__ = ["Columns", "host_columns", "local_density", "nearest_columns", "sky_columns"]

# Sources that a local density leans on: its relative error is 1/sqrt(28), a fifth.
DENSITY_SOURCES = 30
SQUARE_ARCMIN_OF_SKY = 4 * np.pi * (180 * 60 / np.pi) ** 2
HOST_UNITS = {
    **{"host_ra": "deg", "host_dec": "deg", "host_mag": "mag"},
    **{"host_separation_arcsec": "arcsec", "host_dlr_arcsec": "arcsec"},
}


@dataclass(frozen=True)
class Columns:
    """Columns for all objects, with units, where they come from, and what there is to say of them."""

    frame: pd.DataFrame
    units: dict[str, str]
    provenance: dict[str, dict]
    remarks: list[str] = field(default_factory=list)
    set_aside: list[tuple[str, str, int]] = field(default_factory=list)


def local_density(separation: np.ndarray, catalog: SkyCatalog) -> np.ndarray:
    r"""Density of unrelated sources around positions, from their nearest neighbours.

    .. math:: \rho = \frac{k - 2}{A(r_k) - A(r_1)}

    with A the area of a spherical cap. The nearest source may be the counterpart, so it only says where the
    count begins; from there on a Poisson field has no memory, and the estimate is unbiased either way.

    Parameters
    ----------
    separation : float64 array, shape (n, k)
        Of the nearest sources, ascending, NaN where there are fewer [arcsec].
    catalog : SkyCatalog
        Where it has fewer than three sources, or too many at one place, its mean density over its
        footprint is taken (over the sky where that is not known).

    Returns
    -------
    float64 array, shape (n,)
        [arcmin^-2]
    """
    fraction = catalog.footprint.sky_fraction
    mean = catalog.n_rows / (SQUARE_ARCMIN_OF_SKY * (fraction if fraction > 0 else 1.0))
    count = np.isfinite(separation).sum(axis=1)
    area = cap_area_arcmin2(np.nan_to_num(separation))
    last = np.take_along_axis(area, np.maximum(count - 1, 0)[:, None], axis=1)[:, 0]
    number = count - 2.0
    if catalog.reach is not None:
        # All sources within reach are known, so the whole circle is counted where it holds fewer than k.
        short = count < separation.shape[1]
        last = np.where(short, cap_area_arcmin2(catalog.reach), last)
        number = np.where(short, np.maximum(count - 1.0, 0.5), number)
    area = last - area[:, 0]
    usable = (number > 0) & (area > 0)
    return np.where(usable, number / np.where(usable, area, 1.0), mean)


def nearest_columns(
    places: Places, catalog: SkyCatalog, radius: float, probability: float, scatter: float
) -> Columns:
    """Columns of the nearest source of a catalogue: `NAME_separation_arcsec` and so on.

    Parameters
    ----------
    places : Places
    catalog : SkyCatalog
    radius : float
        Of the search [arcsec].
    probability, scatter : float
        Prior probability that an object has a counterpart here, and scatter of its offset beyond the
        position errors [arcsec], for the match probability.
    """
    spec, n = catalog.spec, len(places.ra)
    separation, source = _neighbours(places, catalog)
    covers = catalog.covers(places.ra, places.dec)
    near = (separation[:, 0] <= radius) & (source >= 0)
    found = near & (covers != 0)
    remarks = []
    if (near & (covers == 0)).any():
        remarks.append(
            f"{spec.name}: {int((near & (covers == 0)).sum())} positions outside the footprint have a source "
            "within the radius, which is not used, because most of the circle was not searched"
        )
    if (covers < 0).any() and catalog.footprint.kind == "unknown":
        remarks.append(
            f"{spec.name}: no footprint is declared, so where nothing is found it is not covered; declare "
            'footprint = "all-sky" or a MOC'
        )
    errors = catalog.position_error
    median = float(np.nanmedian(errors)) if np.isfinite(errors).any() else 0.0
    error = np.where(found, np.append(errors, np.nan)[source], median)
    if np.isnan(error).any():
        remarks.append(
            f"{spec.name}: {int(np.isnan(error).sum())} sources found have no position error; the "
            f"catalogue's median, {median:.3g} arcsec, is taken"
        )
    error = np.hypot(places.error, np.where(np.isnan(error), median, error))
    known = found | (covers == 1)
    density = np.where(known, local_density(separation, catalog), np.nan)
    share = match_probability(
        *(separation[:, 0], density / ARCSEC2_PER_ARCMIN2, found, known),
        *([probability], [scatter], radius, error),
    )[:, 0]
    here = np.where(found, source, -1)
    data: dict[str, object] = {
        "separation_arcsec": np.where(found, separation[:, 0], np.nan),
        "density_arcmin2": density,
        "match_probability": share,
        "found": _flags(found, known),
        "covered": _flags(covers == 1, covers >= 0),
    }
    units = {"separation_arcsec": "arcsec", "density_arcmin2": "arcmin-2", "match_probability": "1"}
    if (errors > 0).any() or (places.error > 0).any():
        data["position_error_arcsec"], units["position_error_arcsec"] = (
            np.where(known, error, np.nan),
            "arcsec",
        )
    if spec.magnitude is not None and "mag" not in catalog.columns:
        data["mag"], units["mag"] = np.where(found, np.append(catalog.magnitude, np.nan)[here], np.nan), "mag"
    copied = {name: catalog.columns[name].reindex(here).set_axis(range(n)) for name in catalog.columns}
    twice = [name for name in copied if name in data]
    frame = pd.concat([pd.DataFrame(data), pd.DataFrame(copied, index=pd.RangeIndex(n))], axis=1)
    units |= {name: WORKING_UNITS.get(name, spec.units.get(name, "")) for name in copied if name not in twice}
    frame = frame.add_prefix(f"{spec.name}_")
    provenance = _provenance(catalog, radius) | {
        "match_prior": {"probability": probability, "scatter_arcsec": scatter}
    }
    return Columns(
        frame,
        {f"{spec.name}_{name}": unit for name, unit in units.items()},
        dict.fromkeys(frame.columns, provenance),
        remarks,
        _left_out(catalog, spec.name),
    )


def host_columns(places: Places, catalog: SkyCatalog, radius: float, model) -> tuple[Columns, object]:
    """Columns of the most probable host galaxy, and the `HostAssociation` that they are read from."""
    options = {}
    if catalog.reach is not None:
        # Only the surroundings of the positions are at hand: they are the field, and none goes farther.
        area = np.isfinite(places.ra).sum() * cap_area_arcmin2(catalog.reach) * ARCSEC2_PER_ARCMIN2
        options = {"neighbours": 0, "background": model.background}
        if model.background is None:
            options["background"] = BackgroundCounts.from_magnitudes(catalog.magnitude, area)
    association = model.associate(places.ra, places.dec, catalog, radius, places.error, **options)
    frame = association.best_frame().reset_index(drop=True)
    units = {name: HOST_UNITS.get(name, "1") for name in frame if frame[name].dtype.kind == "f"}
    set_aside = _left_out(catalog, catalog.spec.name) + _left_out(association.found, catalog.spec.name)
    columns = Columns(frame, units, dict.fromkeys(frame.columns, _provenance(catalog, radius)), [], set_aside)
    return columns, association


def sky_columns(given: pd.DataFrame, places: Places) -> Columns:
    """Galactic and ecliptic latitude and extinction: the table's own where it has them, else computed."""
    latitudes = {
        "galactic_b": ("position, Galactic coordinates", galactic),
        "ecliptic_b": ("position, ecliptic coordinates of J2000", ecliptic),
    }
    data, provenance, remarks, set_aside = {}, {}, [], []
    for name, (source, transform) in latitudes.items():
        own, gaps = _own(given, name, set_aside)
        data[name] = np.where(gaps, transform(places.ra, places.dec)[1], own) if gaps.any() else own
        provenance[name] = _sky_source(gaps, source)
    own, gaps = _own(given, "A_V", set_aside)
    source = None
    if gaps.any():
        dust = extinction(places.ra, places.dec)
        own, source = np.where(gaps, dust.a_v, own), dust.source
        if dust.remark is not None:
            which = "" if gaps.all() else f" for {int(gaps.sum())} objects whose A_V is missing"
            remarks.append(f"A_V{which}: {dust.remark}")
    if source is not None or not gaps.all():
        data["A_V"] = own
        provenance["A_V"] = _sky_source(gaps, source) if source else {"source": "the positions' table"}
    units = {"galactic_b": "deg", "ecliptic_b": "deg", "A_V": "mag"}
    return Columns(pd.DataFrame(data), {name: units[name] for name in data}, provenance, remarks, set_aside)


def _own(given: pd.DataFrame, name: str, set_aside: list) -> tuple[np.ndarray, np.ndarray]:
    if name not in given:
        return np.full(len(given), np.nan), np.ones(len(given), dtype=bool)
    value, missing, bad = numbers(given[name])
    if bad.any():
        set_aside.append(("positions", f"{name} is not a number", int(bad.sum())))
    return np.where(bad, np.nan, value), missing | bad


def _sky_source(gaps: np.ndarray, source: str) -> dict:
    own = "the positions' table"
    return {"source": source if gaps.all() else f"{own}, gaps: {source}" if gaps.any() else own}


def _neighbours(places: Places, catalog: SkyCatalog) -> tuple[np.ndarray, np.ndarray]:
    """Separations of the nearest sources, (n, k) with NaN where fewer; row of the nearest, -1 for none."""
    separation, source = np.full((len(places.ra), DENSITY_SOURCES), np.nan), np.full(len(places.ra), -1)
    dated = np.isfinite(places.epoch) & (catalog.motion is not None)
    for rows, epoch in ((np.flatnonzero(dated), places.epoch[dated]), (np.flatnonzero(~dated), None)):
        if len(rows):
            near = catalog.nearest(places.ra[rows], places.dec[rows], k=DENSITY_SOURCES, epoch=epoch)
            rank = np.arange(len(near.query)) - near.offset[near.query]
            separation[rows[near.query], rank] = near.separation
            source[rows[near.query[rank == 0]]] = near.source[rank == 0]
    return separation, source


def _flags(true: np.ndarray, known: np.ndarray):
    return pd.array(np.where(known, true.astype(object), None), dtype="boolean")


def _provenance(catalog: SkyCatalog, radius: float) -> dict:
    return {
        "catalogue": catalog.spec.name,
        "role": catalog.spec.role,
        "rows": catalog.n_rows,
        "radius_arcsec": radius,
        "footprint": catalog.spec.footprint or "not declared",
    }


def _left_out(holder, name: str) -> list[tuple[str, str, int]]:
    return [
        (name, str(reason), int(rows)) for reason, rows in holder.set_aside[["reason", "rows"]].to_numpy()
    ]
