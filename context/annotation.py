"""Positions and catalogues to one table of evidence, with the units and the origin of every column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from context.annotation_columns import Columns, host_columns, nearest_columns, sky_columns
from context.annotation_positions import AnnotateError, check_identifiers, read_places
from context.catalog import CatalogSpec, SkyCatalog
from context.host import HostAssociation, HostModel
from context.host_geometry import OffsetDensity
from context.known_bodies import ALERT_COLUMNS, solar_system

__all__ = ["AnnotateError", "Annotated", "annotate", "default_radius"]

LARGEST_RADIUS = 648000.0
_SKY = ("galactic_b", "ecliptic_b", "A_V")


@dataclass(frozen=True)
class Annotated:
    """Evidence for every position.

    Attributes
    ----------
    frame : DataFrame
        One row an object in the order of the positions: their own columns, then the new ones.
    units : dict of str to str
        New column -> unit; "1" or absent for those without.
    provenance : dict of str to dict
        New column -> where it comes from: catalogue, its rows, radius of the search, footprint, unit.
    set_aside : DataFrame
        Columns source ("positions" or a catalogue), reason and rows.
    remarks : tuple of str
        What a user should know of this result.
    association : HostAssociation or None
        All candidates for the host galaxy, where there is a catalogue of galaxies.
    """

    frame: pd.DataFrame
    units: dict[str, str]
    provenance: dict[str, dict]
    set_aside: pd.DataFrame
    remarks: tuple[str, ...] = ()
    association: HostAssociation | None = field(default=None, repr=False)

    def counts(self) -> pd.DataFrame:
        """Count objects by state in each catalogue: columns catalogue, found, none and not_covered."""
        rows = []
        for name in dict.fromkeys(origin.get("catalogue") for origin in self.provenance.values()):
            if name is None:
                continue
            if self.provenance.get("host_covered", {}).get("catalogue") == name:
                found = self.frame["host_separation_arcsec"].notna()
                covered = self.frame["host_covered"].fillna(False).astype(bool)
            else:
                found = self.frame[f"{name}_found"].fillna(False).astype(bool)
                covered = self.frame[f"{name}_covered"].fillna(False).astype(bool)
            none = int((covered & ~found).sum())
            rows.append((name, int(found.sum()), none, len(found) - int(found.sum()) - none))
        return pd.DataFrame(rows, columns=["catalogue", "found", "none", "not_covered"])

    def with_alternatives(self, k: int) -> Annotated:
        """Return a table with several rows an object: its k most probable hosts, and "no catalogued host".

        Column `alternative` counts them (-1 for no catalogued host) and `alternative_probability` sums to
        one over the rows of an object; all other columns repeat.

        Raises
        ------
        AnnotateError
            There is no catalogue of galaxies.
        """
        if self.association is None:
            raise AnnotateError("Alternative hosts need a catalogue with the role galaxies; give one.")
        hosts = self.association.alternatives(k)
        rows = hosts["object"].to_numpy()
        hosts = hosts.drop(columns="object")
        kept = self.frame.drop(columns=[name for name in hosts if name in self.frame])
        frame = pd.concat([kept.iloc[rows].reset_index(drop=True), hosts.reset_index(drop=True)], axis=1)
        origin = self.provenance["host_separation_arcsec"]
        new = [name for name in hosts if name.startswith("alternative")]
        units = self.units | dict.fromkeys(new, "1")
        return replace(
            self, frame=frame, units=units, provenance=self.provenance | dict.fromkeys(new, origin)
        )


def annotate(
    positions: pd.DataFrame,
    catalogues: Sequence[SkyCatalog] = (),
    *,
    radius: float | Mapping[str, float] | None = None,
    host_model: HostModel | None = None,
    epoch: float | None = None,
    probability: float = 0.5,
    scatter: float = 1.0,
) -> Annotated:
    """Give every position the evidence that catalogues and the sky hold on it.

    Parameters
    ----------
    positions : DataFrame
        One row an object: object_id, ra and dec (decimal degrees, ICRS), optionally mjd, or epoch [Julian
        year], for proper motions, position_error_arcsec (1 sigma on each axis), and columns of alerts (see
        `solar_system`). Columns galactic_b, ecliptic_b and A_V keep their values; gaps are filled.
    catalogues : sequence of SkyCatalog
        Their names begin the new columns; one at most with the role galaxies, which gives host columns.
    radius : float or mapping of str to float, optional
        Of the search [arcsec], for all or by catalogue. Default: `default_radius`.
    host_model : HostModel, optional
        Prior and offsets of hosts; default: `HostModel()` with what the catalogue's declaration says of them.
    epoch : float, optional
        Of positions without one [Julian year].
    probability, scatter : float
        For match probabilities: prior probability of a counterpart, and scatter of its offset beyond the
        position errors [arcsec]. They know no class; `NearestModel` learns both for each.

    Returns
    -------
    Annotated

    Raises
    ------
    AnnotateError
        Columns or identifiers that are missing or repeated, sexagesimal positions, catalogues of one
        name, two catalogues of galaxies, or a column that would be written over.
    CatalogError, HostError, NearestError
        A catalogue or an option of these parts that can't be used.
    """
    catalogues = tuple(catalogues)
    _check_catalogues(catalogues)
    check_identifiers(positions)
    given = positions.reset_index(drop=True)
    set_aside: list[tuple[str, str, int]] = []
    remarks: list[str] = []
    places = read_places(given, epoch, set_aside, remarks)
    parts, association = [sky_columns(given, places)], None
    for catalogue in catalogues:
        reach = _radius(catalogue, radius, catalogues)
        if catalogue.spec.role == "galaxies":
            columns, association = host_columns(
                places, catalogue, reach, host_model or _host_model(catalogue.spec)
            )
            parts.append(columns)
        else:
            parts.append(nearest_columns(places, catalogue, reach, probability, scatter))
    if any(name in given for name in ALERT_COLUMNS):
        parts.append(_alert_columns(given))
    frame = _join(given, parts)
    units = {name: unit for part in parts for name, unit in part.units.items()}
    provenance = {
        name: origin | ({"unit": units[name]} if units.get(name) else {})
        for part in parts
        for name, origin in part.provenance.items()
    }
    remarks += [remark for part in parts for remark in part.remarks]
    set_aside += [row for part in parts for row in part.set_aside]
    table = pd.DataFrame(set_aside, columns=["source", "reason", "rows"])
    return Annotated(frame, units, provenance, table, tuple(remarks), association)


def default_radius(catalogue: SkyCatalog) -> float:
    """Radius of the search where none is given [arcsec].

    Five times the catalogue's median position error and at least 30; for galaxies five times the semi-major
    axis that 95 % of them do not exceed, and at least 60.
    """
    if catalogue.spec.role == "galaxies":
        axes = catalogue.columns.get("major_axis", pd.Series(dtype=float)).to_numpy(dtype=float)
        axes = axes[np.isfinite(axes)]
        return max(60.0, 5 * float(np.quantile(axes, 0.95))) if len(axes) else 60.0
    errors = catalogue.position_error[np.isfinite(catalogue.position_error)]
    return max(30.0, 5 * float(np.median(errors))) if len(errors) else 30.0


def _host_model(spec: CatalogSpec) -> HostModel:
    """Default model of hosts, with what the declaration says."""
    told = {} if spec.catalogued is None else {"catalogued": spec.catalogued}
    if spec.offset_scale is not None:
        told["offset"] = OffsetDensity(scale=spec.offset_scale)
    return HostModel(**told)


def _check_catalogues(catalogues: tuple[SkyCatalog, ...]):
    names = [catalogue.spec.name for catalogue in catalogues]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise AnnotateError(f"Each catalogue needs a name of its own, found {twice[0]!r} twice; rename one.")
    galaxies = [catalogue.spec.name for catalogue in catalogues if catalogue.spec.role == "galaxies"]
    if len(galaxies) > 1:
        raise AnnotateError(
            f"Host galaxies come from one catalogue, but {' and '.join(galaxies)} have the role galaxies; "
            'join them to one table, or declare role = "sources" for the others.'
        )


def _radius(catalogue: SkyCatalog, radius, catalogues) -> float:
    if isinstance(radius, Mapping):
        names = [one.spec.name for one in catalogues]
        unknown = [name for name in radius if name not in names]
        if unknown:
            raise AnnotateError(
                f"A radius is given for {unknown[0]!r}, but the catalogues are {', '.join(names)}."
            )
        radius = radius.get(catalogue.spec.name)
    if radius is None:
        reach = default_radius(catalogue)
        return reach if catalogue.reach is None else min(reach, catalogue.reach)
    if not 0 < radius <= LARGEST_RADIUS:
        raise AnnotateError(
            f"The radius of a search must be positive and at most {LARGEST_RADIUS:g} arcsec, the whole sky, "
            f"found {radius!r}."
        )
    if catalogue.reach is not None and radius > catalogue.reach:
        raise AnnotateError(
            f"Catalogue {catalogue.spec.name!r} was read only {catalogue.reach:g} arcsec around positions, "
            f"but the radius is {radius:g}; read it again with a larger one."
        )
    return float(radius)


def _alert_columns(given: pd.DataFrame) -> Columns:
    bodies = solar_system(given)
    origin = {"source": "columns of alerts in the positions' table"}
    return Columns(
        bodies.frame,
        {"solar_system_separation_arcsec": "arcsec", "solar_system_mag": "mag"},
        dict.fromkeys(bodies.frame.columns, origin),
        set_aside=[("positions", reason, int(rows)) for reason, rows in bodies.set_aside.to_numpy()],
    )


def _join(given: pd.DataFrame, parts: list[Columns]) -> pd.DataFrame:
    names = [name for part in parts for name in part.frame]
    kept = given.drop(columns=[name for name in _SKY if name in given and name in names])
    twice = [name for i, name in enumerate(names) if name in kept or name in names[:i]]
    if twice:
        raise AnnotateError(
            f"Each column needs one origin, but {', '.join(map(repr, twice))} would be there twice; rename "
            "or remove that column of the positions, or rename the catalogue."
        )
    return pd.concat([kept, *(part.frame for part in parts)], axis=1)
