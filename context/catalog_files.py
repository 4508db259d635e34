"""Tables of catalogues: files in, with the units that they state."""

from __future__ import annotations

import gzip
import io
import os
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from context.catalog_spec import CatalogError, MissingColumnError

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".fits", ".fit", ".fits.gz", ".vot", ".xml", ".votable", ".ecsv")
MISSING = ("", "-", "--", "nan", "NaN", "NA", "N/A", "null", "None", "<NA>")


@dataclass(frozen=True)
class SourceTable:
    """A table as it is in the file, with the units that the file states.

    Parameters
    ----------
    frame : pandas.DataFrame
        The columns that were asked for.
    units : dict of str to str
        Column of the file to its unit, where the file states one.
    """

    frame: pd.DataFrame
    units: dict[str, str] = field(default_factory=dict)


def read_source_table(path: str | os.PathLike, columns: Sequence[str]) -> SourceTable:
    """Read columns of a table.

    Parameters
    ----------
    path : path
        Parquet, FITS, VOTable or ECSV, known by their first bytes, or CSV (also gzipped) by its ending:
        UTF-8, separated by commas, names in the first line.
    columns : sequence of str
        Columns to read; only these are held in memory where the format allows it.

    Returns
    -------
    SourceTable

    Raises
    ------
    CatalogError
        A file that is absent, a directory, empty, damaged or of an unknown type, or a missing column.
    """
    path = Path(path)
    if path.is_dir():
        raise CatalogError(
            f"{path} must be a table in one file, but it is a directory: read a HATS catalogue with "
            "context.catalog_hats.read_hats."
        )
    if not path.is_file():
        raise CatalogError(f"{path} must be an existing file, but there is none: check the path.")
    kind = _kind(path)
    import pyarrow as pa

    try:
        # A FITS file that is cut off is only warned of, and a table with wrong numbers would follow.
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*[Tt]runcated.*")
            if kind == "parquet":
                return _read_parquet(path, columns)
            if kind == "csv":
                return _read_csv(path, columns)
            return _read_astropy(path, kind, columns)
    except CatalogError:
        raise
    # What the readers raise for damaged files; errors of VOTables are among them as ValueError.
    except (pa.ArrowException, OSError, EOFError, ValueError, LookupError, zlib.error, Warning) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise CatalogError(
            f"{path} must be a whole {kind.upper()} table, but it is damaged, cut off or of another format "
            f"({reason}): copy or write it again."
        ) from error


def _kind(path: Path) -> str:
    name = path.name.lower()
    try:
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
            head = file.read(2048)
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogError(
            f"{path} must be readable, but reading it failed ({error}): check its permissions and that it "
            "was copied whole."
        ) from error
    if not head:
        raise CatalogError(f"{path} must hold a table, but it is empty: write it again.")
    for mark, kind in (
        (b"PAR1", "parquet"),
        (b"SIMPLE  =", "fits"),
        (b"# %ECSV", "ecsv"),
    ):
        if head.startswith(mark):
            return kind
    if b"<VOTABLE" in head:
        return "votable"
    suffix = Path(name.removesuffix(".gz")).suffix
    kind = {".vot": "votable", ".xml": "votable", ".fit": "fits"}.get(suffix, suffix[1:])
    if not name.endswith(SUFFIXES):
        raise CatalogError(
            f"{path} must be a table of a known type, but it ends in {path.suffix or 'nothing'!r} and its "
            f"first bytes say nothing: the types are {', '.join(SUFFIXES)}."
        )
    return kind


def _read_parquet(path: Path, columns: Sequence[str]) -> SourceTable:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        check_columns(schema.names, columns, path)
        table = file.read(columns=list(columns))
    units = {
        name: (schema.field(name).metadata or {}).get(b"unit", b"").decode("utf-8", "replace")
        for name in columns
    }
    return SourceTable(from_arrow(table), {name: unit for name, unit in units.items() if unit})


def _read_csv(path: Path, columns: Sequence[str]) -> SourceTable:
    import pyarrow as pa
    from pyarrow import csv

    compression = "gzip" if path.name.lower().endswith(".gz") else None
    with pa.input_stream(str(path), compression=compression) as file, csv.open_csv(file) as reader:
        check_columns(reader.schema.names, columns, path)
    with pa.input_stream(str(path), compression=compression) as file:
        # All as text: types would be guessed from the first rows, and 00:08:27 taken for a time of day.
        convert = csv.ConvertOptions(
            include_columns=list(columns),
            column_types=dict.fromkeys(columns, pa.string()),
            strings_can_be_null=True,
            null_values=list(MISSING),
        )
        table = csv.read_csv(file, convert_options=convert)
    for position, name in enumerate(columns):
        table = table.set_column(position, name, _as_numbers(table.column(position)))
    return SourceTable(from_arrow(table))


def _as_numbers(text):
    """Cast text to whole numbers or numbers if every cell is one."""
    import pyarrow as pa

    if text.null_count == len(text):
        return text
    for kind in (pa.int64(), pa.float64()):
        try:
            return text.cast(kind)
        except pa.ArrowInvalid:
            continue
    return text


def from_arrow(table) -> pd.DataFrame:
    """Turn an Arrow table into a frame of ordinary types."""
    import pyarrow as pa

    # Whole numbers with gaps stay whole, so that long identifiers keep their digits.
    whole = {
        pa.int64(): pd.Int64Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
    }
    gaps = {
        entry.type for entry, column in zip(table.schema, table.columns, strict=True) if column.null_count
    }
    frame = table.to_pandas(
        types_mapper=lambda kind: whole.get(kind) if kind in gaps else None, ignore_metadata=True
    )
    return frame.reset_index(drop=True)


def _read_astropy(path: Path, kind: str, columns: Sequence[str]) -> SourceTable:
    from astropy.io.fits import VerifyError
    from astropy.table import Table

    form = {"ecsv": "ascii.ecsv"}.get(kind, kind)
    options = {"use_names_over_ids": True} if kind == "votable" else {}
    # A file of our own, because astropy leaves a FITS file open that it fails to read.
    with path.open("rb") as file:
        if path.name.lower().endswith(".gz"):
            file = io.BytesIO(gzip.decompress(file.read()))
        try:
            table = Table.read(file, format=form, **options)
        except VerifyError as error:  # no ValueError by itself
            raise ValueError(str(error)) from error
    check_columns(table.colnames, columns, path)
    table = table[list(columns)]
    table.convert_bytestring_to_unicode()
    units = {name: str(table[name].unit) for name in columns if getattr(table[name], "unit", None)}
    for name in columns:
        if not hasattr(table[name], "dtype") or table[name].ndim != 1:
            raise CatalogError(
                f"{path}: column {name!r} must hold one value a row, but it has more: choose another."
            )
    return SourceTable(table.to_pandas(index=False), units)


def check_columns(found: Sequence[str], needed: Sequence[str], where: object) -> None:
    """Refuse a table that lacks a declared column; the message lists those that it has."""
    missing = [name for name in needed if name not in found]
    if missing:
        raise MissingColumnError(
            f"{where}: column {', '.join(map(repr, missing))} is declared but missing; "
            f"found {', '.join(map(str, found))}."
        )
    repeated = [name for name in needed if list(found).count(name) > 1]
    if repeated:
        raise CatalogError(
            f"{where}: column {', '.join(map(repr, repeated))} is declared, but more than one has this name: "
            "rename one."
        )
