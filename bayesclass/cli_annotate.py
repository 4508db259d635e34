"""What `bayesclass annotate` does: catalogues as they are named, positions to evidence, and a summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bayesclass.tables import check_output, read_objects
from context.annotation import Annotated, annotate
from context.annotation_output import write_annotated
from context.annotation_positions import read_places
from context.catalog import SkyCatalog
from context.catalog_spec import CatalogSpec, MissingColumnError, MissingUnitError

# Names of the position's columns in files that state their units, as the large archives write them.
POSITION_COLUMNS = (
    *(("ra", "dec"), ("RA", "DEC"), ("RA", "Dec"), ("RAJ2000", "DEJ2000"), ("RA_ICRS", "DE_ICRS")),
    *(("_RAJ2000", "_DEJ2000"), ("RAdeg", "DEdeg"), ("ALPHA_J2000", "DELTA_J2000")),
)
DECLARATION = """`name = "{name}"`, `path = "{path}"`, `ra = "{ra}"`, `dec = "{dec}"`, `unit = "deg"`"""
# Of a HATS catalogue, which is read around the positions alone [arcsec].
DEFAULT_SEARCH, SURROUNDINGS = 30.0, 120.0

__all__ = ["describe_annotated", "read_catalogue", "read_radius", "run"]


class OptionError(ValueError):
    """An option of the command line that can't be understood: the rule, what was found, what to do."""


def run(
    positions: Path, catalogues: Sequence[str], out: Path, radii: Sequence[str], alternatives: int | None
) -> list[str]:
    """Annotate a table of positions and write the result.

    Parameters
    ----------
    positions : Path
        A table with object_id, ra and dec.
    catalogues : sequence of str
        NAME=PATH each.
    out : Path
        Table to write.
    radii : sequence of str
        ARCSEC, or NAME=ARCSEC.
    alternatives : int or None
        Number of hosts to write as rows of their own.

    Returns
    -------
    list of str
        Lines of the summary.

    Raises
    ------
    ValueError
        Of our own kinds: input, options or output that can't be used.
    """
    check_output(out)
    radius = read_radius(radii)
    table = read_objects(positions)
    opened = [read_catalogue(entry, table, radius) for entry in catalogues]
    if alternatives is not None and all(one.spec.role != "galaxies" for one in opened):
        raise OptionError('--alternatives needs a catalogue of hosts: declare one with role = "galaxies".')
    result = annotate(table, opened, radius=radius)
    lines = describe_annotated(result)
    if alternatives is not None:
        result = result.with_alternatives(alternatives)
        lines.append(f"rows: {len(result.frame)}, up to {alternatives} hosts and one without for each object")
    written = write_annotated(result, out)
    return lines + [f"description of the columns written to {path}" for path in written[1:]]


def read_catalogue(entry: str, positions: pd.DataFrame, radius=None) -> SkyCatalog:
    """Open what NAME=PATH names: a declaration (.toml), or what states its units itself, a table or HATS.

    Parameters
    ----------
    entry : str
        NAME=PATH.
    positions : DataFrame
        Columns ra and dec: of a HATS catalogue only the surroundings of the positions are read.
    radius : float or dict, optional
        As of `annotate`.

    Raises
    ------
    OptionError
        Not of that form, or a CSV table, or one that states no units, without a declaration.
    CatalogError
        A declaration or a table that can't be used.
    """
    name, equals, place = entry.partition("=")
    if not (equals and name and place):
        raise OptionError(
            f"A catalogue must be given as NAME=PATH, such as --catalogue gaia=gaia.toml, found {entry!r}."
        )
    path = Path(place)
    if path.suffix.lower() == ".toml":
        spec, table = CatalogSpec.from_toml(path)
        spec = replace(spec, name=name)
    elif path.is_dir():
        from context.catalog_hats import position_columns

        spec, table = CatalogSpec(name, *position_columns(path), unit="deg"), path
    else:
        return _self_described(name, path)
    if not table.is_dir():
        return SkyCatalog.from_file(table, spec)
    from context.catalog_hats import read_hats

    places = read_places(positions, None, [], [])
    search = (radius.get(name) if isinstance(radius, dict) else radius) or DEFAULT_SEARCH
    # The surroundings also tell the local density.
    return read_hats(table, spec, places.ra, places.dec, max(4 * search, SURROUNDINGS))


def _self_described(name: str, path: Path) -> SkyCatalog:
    columns, problem = ("RA", "DEC"), "its columns of the position have none of the usual names"
    for ra, dec in POSITION_COLUMNS:
        try:
            return SkyCatalog.from_file(path, CatalogSpec(name, ra, dec))
        except MissingUnitError:
            columns, problem = (ra, dec), f"it states no unit of its columns {ra} and {dec}"
        except MissingColumnError:
            continue
    if path.name.lower().endswith((".csv", ".csv.gz")):
        problem = "CSV states no units"
    lines = DECLARATION.format(name=name, path=path.name, ra=columns[0], dec=columns[1])
    raise OptionError(
        f"{path} must come with a declaration, because {problem}: write a file {name}.toml of the lines "
        f"{lines}, with its own names and unit, and give --catalogue {name}={name}.toml instead."
    )


def read_radius(entries: Iterable[str]) -> float | dict[str, float] | None:
    """Read ARCSEC or NAME=ARCSEC; None where there is none.

    Raises
    ------
    OptionError
        Something that is no number, or a radius for all beside one for a catalogue.
    """
    found: dict[str, float] = {}
    for entry in entries:
        name, _, value = entry.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise OptionError(
                f"A radius must be a number of arcsec, or NAME=ARCSEC for one catalogue, found {entry!r}."
            ) from None
    if "" in found and len(found) > 1:
        raise OptionError("Give one --radius for all catalogues, or one as NAME=ARCSEC for each, not both.")
    return found.get("", found or None)


def describe_annotated(result: Annotated) -> list[str]:
    """Return lines with what was found in each catalogue, what was set aside and what to know."""
    head = ("catalogue", "found", "none", "not covered", "radius")
    radius = {
        origin["catalogue"]: f"{origin['radius_arcsec']:g} arcsec"
        for origin in result.provenance.values()
        if "catalogue" in origin
    }
    rows = [
        (row.catalogue, str(row.found), str(row.none), str(row.not_covered), radius[row.catalogue])
        for row in result.counts().itertuples()
    ]
    lines = [f"objects: {len(result.frame)}"]
    if rows:
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, *rows)
        ]
    if "host_state" in result.frame:
        states = result.frame["host_state"].fillna("not known").value_counts()
        lines.append("most probable host: " + ", ".join(f"{state} {n}" for state, n in states.items()))
    lines += [
        f"set aside in {row.source}: {row.rows} ({row.reason})" for row in result.set_aside.itertuples()
    ]
    return lines + [f"note: {remark}" for remark in result.remarks]
