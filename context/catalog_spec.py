"""How a table is read as a catalogue: its declaration, in Python or as a TOML file."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

ROLES = ("stars", "galaxies", "sources")
# Units that the package works in; a column of one of these names is converted to it.
WORKING_UNITS = {
    "position_error": "arcsec",
    "pm_ra": "mas / yr",
    "pm_dec": "mas / yr",
    "major_axis": "arcsec",
    "minor_axis": "arcsec",
    "position_angle": "deg",
}
# Columns of these names are numbers, whatever the table stores them as.
NUMBERS = ("major_axis", "minor_axis", "position_angle", "redshift", "redshift_error")


class CatalogError(ValueError):
    """A catalogue, its declaration or a search in it can't be used; the message says why."""


class MissingColumnError(CatalogError):
    """A table lacks a column that its declaration names."""


class MissingUnitError(CatalogError):
    """The unit of a column is neither declared nor stated by the file."""


@dataclass(frozen=True)
class CatalogSpec:
    """How a table is read as a catalogue of positions on the sky.

    Parameters
    ----------
    name : str
        Name of the catalogue, the first part of its evidence columns; letters, digits, ``_`` and ``-``.
    ra, dec : str
        Columns of the position, ICRS.
    unit : str, optional
        Unit of the position: "deg", "rad", any other angle that astropy knows, or two of them as
        "RA, DEC". "hourangle, deg" means sexagesimal text, such as 00:42:44.3 and +41:16:09. None: the
        unit that the file itself states (FITS, VOTable, ECSV, Parquet fields with a unit).
    position_error : str or float, optional
        Column or number: 1 sigma on each axis [arcsec].
    magnitude : str, optional
        Column of the magnitude.
    magnitude_limit : float, optional
        Magnitude down to which the catalogue is complete [mag].
    pm_ra, pm_dec : str, optional
        Columns of the proper motion, the first times cos(dec) [mas/yr]; both or neither.
    epoch : str or float, optional
        Column or number: when the position holds [Julian year]; needed with a proper motion.
    footprint : str, optional
        "all-sky", or the path of a MOC (FITS, JSON or ASCII). None: not known.
    columns : mapping of str to str
        Further columns: our name to the table's. In a catalogue of galaxies `major_axis` and
        `minor_axis` are semi-axes [arcsec], `position_angle` is north through east [deg], and
        `redshift` and `redshift_error` have no unit.
    units : mapping of str to str
        Our name to the unit in the table, for those of `WORKING_UNITS` that differ from what the file
        states; a factor belongs to it: "0.5 arcmin" for full axes in arcmin. For other columns it is
        checked, kept, and the values stay as they are.
    role : {"sources", "stars", "galaxies"}
        What the catalogue holds.
    where : mapping of str to sequence
        Column of the table to the values that are wanted, as text or numbers: other rows are set aside.
    offset_scale : float, optional
        Galaxies: how far from them transients are, in units of their sizes (see `OffsetDensity`): about 1.25
        of half-light radii and 0.45 of isophotal (D25) ones. None: as of half-light radii.
    catalogued : float, optional
        Galaxies: prior probability that the catalogue holds the host. None: that of `HostModel`.

    Raises
    ------
    CatalogError
        A value of the wrong type or out of range, a unit that astropy can't read, or a combination
        without meaning.
    """

    name: str
    ra: str
    dec: str
    unit: str | None = None
    position_error: str | float | None = None
    magnitude: str | None = None
    magnitude_limit: float | None = None
    pm_ra: str | None = None
    pm_dec: str | None = None
    epoch: str | float | None = None
    footprint: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    role: str = "sources"
    where: Mapping[str, Sequence[str | float]] = field(default_factory=dict)
    offset_scale: float | None = None
    catalogued: float | None = None

    def __post_init__(self):
        for key, kinds, what in _TYPES:
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, kinds):
                self._refuse(f"{key} must be {what}, found {value!r}")
        if not self.name or not self.name.replace("_", "").replace("-", "").isalnum():
            self._refuse("the name must be made of letters, digits, _ and -: choose another")
        if self.role not in ROLES:
            self._refuse(f"role must be one of {', '.join(ROLES)}, found {self.role!r}")
        for key in ("columns", "units"):
            pairs = getattr(self, key)
            if not all(isinstance(name, str) and isinstance(value, str) for name, value in pairs.items()):
                self._refuse(f"{key} must map names to text, found {dict(pairs)!r}")
        for wanted in self.where.values():
            if isinstance(wanted, str) or not isinstance(wanted, Sequence) or not wanted:
                self._refuse(f"where must give each column a list of wanted values, found {wanted!r}")
        if (self.pm_ra is None) != (self.pm_dec is None):
            self._refuse("pm_ra and pm_dec belong together: declare both or neither")
        if self.pm_ra is not None and self.epoch is None:
            self._refuse("a proper motion needs the epoch of the positions: declare epoch")
        for key, low, high in (
            ("position_error", 0.0, math.inf),
            ("magnitude_limit", -math.inf, math.inf),
            ("epoch", 1000.0, 3000.0),
            ("offset_scale", 1e-3, 1e3),
            ("catalogued", 1e-3, 0.999),
        ):
            value = getattr(self, key)
            if isinstance(value, float | int) and not (low <= value <= high and math.isfinite(value)):
                self._refuse(f"{key} must be a finite number from {low:g} to {high:g}, found {value:g}")
        if self.role != "galaxies" and (self.offset_scale is not None or self.catalogued is not None):
            self._refuse(f"offset_scale and catalogued belong to galaxies, and the role is {self.role!r}")
        known = (*self.columns, *(key for key in WORKING_UNITS if getattr(self, key, None) is not None))
        for name, unit in self.units.items():
            if name not in known:
                self._refuse(
                    f"units names {name!r}, which is no declared column: use one of {', '.join(known) or '-'}"
                )
            self.factor(unit, WORKING_UNITS.get(name))
        self.position_units()

    @classmethod
    def from_toml(cls, path: str | os.PathLike) -> tuple[CatalogSpec, Path]:
        """Read a declaration file.

        Parameters
        ----------
        path : path
            A TOML file with the parameters of this class as keys, and `path`: the table's own place. That
            and a footprint that is a file are relative to the declaration's folder.

        Returns
        -------
        spec : CatalogSpec
        path : pathlib.Path
            The table.

        Raises
        ------
        CatalogError
            A file that is absent or no TOML, a key that is not known or is missing, or as `CatalogSpec`.
        """
        source = Path(path)
        try:
            given = tomllib.loads(source.read_text(encoding="utf-8"))
        except OSError as error:
            raise CatalogError(
                f"{source} must be a readable declaration, but reading failed ({error.strerror}): "
                "check the path."
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CatalogError(
                f"{source} must be TOML in UTF-8, but it is not ({error}): mend it."
            ) from error
        known = ("path", *(one.name for one in fields(cls)))
        unknown = [key for key in given if key not in known]
        if unknown:
            raise CatalogError(
                f"{source}: unknown key {', '.join(unknown)}; the known keys are {', '.join(known)}."
            )
        missing = [key for key in ("path", "name", "ra", "dec") if key not in given]
        if missing:
            raise CatalogError(
                f"{source}: a declaration needs path, name, ra and dec; {', '.join(missing)} is missing."
            )
        table = given.pop("path")
        if not isinstance(table, str):
            raise CatalogError(f"{source}: path must be text, the place of the table, found {table!r}.")
        try:
            spec = cls(**given)
        except CatalogError as error:
            raise CatalogError(f"{source}: {error}") from error
        if spec.footprint not in (None, "all-sky"):
            spec = replace(spec, footprint=str(source.parent / spec.footprint))
        return spec, source.parent / table

    @property
    def table_columns(self) -> tuple[str, ...]:
        """Columns of the table that are read, each once."""
        special = (
            self.ra,
            self.dec,
            self.position_error,
            self.magnitude,
            self.pm_ra,
            self.pm_dec,
            self.epoch,
        )
        names = [name for name in special if isinstance(name, str)] + [*self.columns.values(), *self.where]
        return tuple(dict.fromkeys(names))

    @property
    def sexagesimal(self) -> bool:
        """Whether the position is declared as sexagesimal text."""
        return self.unit is not None and self.unit.split(",")[0].strip() == "hourangle"

    def position_units(self) -> tuple[str, str] | None:
        """Units of right ascension and declination, or None where the file must state them."""
        if self.unit is None:
            return None
        parts = [part.strip() for part in self.unit.split(",")]
        if len(parts) > 2 or (len(parts) == 1 and self.sexagesimal):
            self._refuse(
                f'unit must be one unit, or two as "hourangle, deg", found {self.unit!r}: declare both'
            )
        ra, dec = parts[0], parts[-1]
        for one in (ra, dec):
            self.factor(one, "deg")
        return ra, dec

    def factor(self, unit: str, target: str | None) -> float:
        """Return what values in `unit` are multiplied by to be in `target` (None: only parsed).

        Raises
        ------
        CatalogError
            A unit that astropy can't read, or that is not of the target's kind.
        """
        # astropy takes a good part of a second to import, and only those who use catalogues need it.
        from astropy import units

        try:
            parsed = units.Unit(unit)
            return float(parsed.to(units.Unit(target))) if target else 1.0
        except (ValueError, TypeError) as error:
            wanted = f"convertible to {target}" if target else "known to astropy"
            raise CatalogError(
                f"Catalogue {self.name!r}: a unit must be {wanted}, found {unit!r}: declare another."
            ) from error

    def _refuse(self, what: str):
        raise CatalogError(f"Catalogue {self.name!r}: {what}.")


_TEXT, _MAYBE_TEXT = (str,), (str, type(None))
_TYPES = (
    *((key, _TEXT, "text") for key in ("name", "ra", "dec", "role")),
    *((key, _MAYBE_TEXT, "text") for key in ("unit", "magnitude", "pm_ra", "pm_dec", "footprint")),
    *(
        (key, (str, float, int, type(None)), "a column's name or a number")
        for key in ("position_error", "epoch")
    ),
    *(
        (key, (float, int, type(None)), "a number")
        for key in ("magnitude_limit", "offset_scale", "catalogued")
    ),
    *((key, (Mapping,), "a table of names") for key in ("columns", "units", "where")),
)
