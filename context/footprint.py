"""Where a catalogue has looked: a MOC, the whole sky, or not known."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from context.catalog_spec import CatalogError
from context.coordinates import on_sky

COVERED, OUTSIDE, UNKNOWN = 1, 0, -1


@dataclass(frozen=True)
class Footprint:
    """The part of the sky that a catalogue covers.

    It answers for a position itself. A cone around a covered position may reach over the edge, where
    nothing was searched, so keep away from the edge by the search radius, or erode the MOC, where that
    matters.

    Parameters
    ----------
    kind : {"all-sky", "unknown", "moc"}
    moc : mocpy.MOC, optional
        For kind "moc".
    """

    kind: str = "unknown"
    moc: Any = None

    def __post_init__(self):
        if self.kind not in ("all-sky", "unknown", "moc") or (self.kind == "moc") != (self.moc is not None):
            raise CatalogError(
                f"A footprint must be all-sky, unknown, or a moc with its MOC, found {self.kind!r}: "
                "use its constructors all_sky, unknown and from_moc."
            )

    @classmethod
    def all_sky(cls) -> Footprint:
        """Return the whole sky."""
        return cls("all-sky")

    @classmethod
    def unknown(cls) -> Footprint:
        """Return a footprint of which nothing is known."""
        return cls("unknown")

    @classmethod
    def from_moc(cls, path: str | os.PathLike) -> Footprint:
        """Read a MOC file.

        Parameters
        ----------
        path : path
            A spatial MOC: FITS (.fits, .fit, .fits.gz), JSON (.json), or ASCII (.txt, .ascii, .moc).

        Raises
        ------
        CatalogError
            A file that is absent, damaged or of an unknown type, or mocpy is not installed.
        """
        path = Path(path)
        name = path.name.lower().removesuffix(".gz")
        form = _FORMATS.get(Path(name).suffix)
        if form is None:
            raise CatalogError(
                f"{path} must be a MOC that ends in one of {', '.join(_FORMATS)}, but it ends in "
                f'{path.suffix or "nothing"!r}: rename or convert it, or declare footprint = "all-sky".'
            )
        if not path.is_file():
            raise CatalogError(f"{path} must be a MOC file, but there is none: check the path.")
        moc = _mocpy().MOC
        try:
            return cls("moc", moc.load(path, format=form))
        except (ValueError, OSError, AttributeError) as error:
            raise CatalogError(
                f"{path} must be a whole {form.upper()} MOC of the sky, but it can't be read "
                f"({str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}): "
                "write it again."
            ) from error

    @classmethod
    def from_declaration(cls, footprint: str | None) -> Footprint:
        """Make the footprint that a `CatalogSpec` declares: "all-sky", a path, or None."""
        if footprint is None:
            return cls.unknown()
        return cls.all_sky() if footprint == "all-sky" else cls.from_moc(footprint)

    def contains(self, ra, dec) -> np.ndarray:
        """Tell whether positions are covered.

        Parameters
        ----------
        ra, dec : array_like, shape (n,)
            Positions, ICRS [deg].

        Returns
        -------
        int8 array, shape (n,)
            1 covered, 0 outside, -1 not known: the footprint is unknown, or there is no position on the
            sky (NaN).
        """
        ra, dec = np.broadcast_arrays(np.asarray(ra, dtype=float), np.asarray(dec, dtype=float))
        state = np.full(ra.shape, UNKNOWN, dtype=np.int8)
        there = on_sky(ra, dec)
        if self.kind == "all-sky":
            state[there] = COVERED
        elif self.kind == "moc" and there.any():
            from astropy import units

            inside = self.moc.contains_lonlat(ra[there] % 360.0 * units.deg, dec[there] * units.deg)
            state[there] = np.where(inside, COVERED, OUTSIDE)
        return state

    @property
    def sky_fraction(self) -> float:
        """Share of the sky that is covered; NaN where not known."""
        return {"all-sky": 1.0, "unknown": np.nan}.get(self.kind, getattr(self.moc, "sky_fraction", np.nan))


_FORMATS = {
    ".fits": "fits",
    ".fit": "fits",
    ".json": "json",
    ".txt": "ascii",
    ".ascii": "ascii",
    ".moc": "ascii",
}


def _mocpy():
    try:
        import mocpy
    except ModuleNotFoundError as error:
        raise CatalogError(
            "A footprint given as a MOC needs the package mocpy, which is not installed: "
            "run `pip install mocpy`."
        ) from error
    return mocpy
