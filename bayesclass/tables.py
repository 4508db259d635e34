"""Tables at the edges: Parquet and CSV in and out, every failure one sentence, files whole or not at all."""

import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayesclass.csv_text import InputError, first_line, read_csv
from bayesclass.output_folder import check_folder
from context.evidence_rows import ALTERNATIVE_PROBABILITY
from structurefn.columns import LightCurveError, labels
from structurefn.light_curves import LightCurves

SUFFIXES = (".parquet", ".csv", ".csv.gz")

__all__ = ["InputError", "check_output", "read_light_curves", "read_objects", "read_table", "write_table"]


def read_table(path: str | os.PathLike) -> pd.DataFrame:
    """Read a table whole.

    Parameters
    ----------
    path : path
        A file that ends in .parquet, .csv or .csv.gz. CSV is UTF-8 text, separated by commas, with the
        names of the columns in the first line.

    Returns
    -------
    pandas.DataFrame
        In CSV, ``object_id`` is read as text, so that long identifiers keep all their digits; if every
        one is a whole number with the decimals ".0", these are removed. Dates and times stay text.

    Raises
    ------
    InputError
        If the file is absent, a directory, empty, damaged, not of the format its name says, not UTF-8,
        or has a line with too few or too many fields.
    """
    path = Path(path)
    suffix = _suffix(path)
    if path.is_dir():
        raise InputError(f"{path} must be a file, but it is a directory: name a table inside it.")
    if not path.exists():
        raise InputError(f"{path} must be an existing file, but there is none: check the path.")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} must hold a table, but it is empty (0 bytes): write it again.")
        return _read_parquet(path) if suffix == ".parquet" else read_csv(path, compressed=suffix == ".csv.gz")
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise InputError(
            f"{path} must be readable, but reading it failed ({reason}): check its permissions and that it "
            "was copied whole."
        ) from error


def read_light_curves(path: str | os.PathLike, **options: Any) -> LightCurves:
    """Read a file of measurements into a batch.

    Parameters
    ----------
    path : path
        A table as `read_table` accepts, with the columns that `LightCurves.from_frame` needs.
    **options
        Passed to `LightCurves.from_frame`: channels, object_ids, aliases.

    Returns
    -------
    LightCurves
        The batch, with what was set aside counted.

    Raises
    ------
    InputError
        As `read_table`, or if the table cannot be used as light curves.
    """
    frame = read_table(path)
    try:
        return LightCurves.from_frame(frame, **options)
    except LightCurveError as error:
        raise InputError(f"{path}: {error}") from error


def read_objects(path: str | os.PathLike) -> pd.DataFrame:
    """Read a table with one row an object, or one for each alternative (column alternative_probability).

    Parameters
    ----------
    path : path
        A table as `read_table` accepts, with the column object_id.

    Returns
    -------
    pandas.DataFrame
        In the order of the file, with object_id as text.

    Raises
    ------
    InputError
        As `read_table`, or if object_id is missing, empty in a row, or repeated in a table that has no
        column alternative_probability, or there is no row.
    """
    frame = read_table(path)
    found = [str(name) for name in frame.columns]
    if found.count("object_id") != 1:
        what = "is missing" if "object_id" not in found else "appears more than once"
        raise InputError(
            f"{path} must have one column object_id, but it {what}; found {', '.join(found)}: rename one."
        )
    if frame.empty:
        raise InputError(f"{path} must have one row an object, but it has no row: check how it was made.")
    try:
        code, names = labels(frame["object_id"], "object_id")
    except LightCurveError as error:
        raise InputError(f"{path}: {error}") from error
    if (code < 0).any():
        raise InputError(
            f"{path} must name the object of every row, but object_id is empty in row "
            f"{int(np.argmax(code < 0)) + 1}: fill it in or remove the row."
        )
    count = np.bincount(code)
    if (count > 1).any() and ALTERNATIVE_PROBABILITY not in found:
        worst = int(np.argmax(count > 1))
        raise InputError(
            f"{path} must have one row an object, but object_id {names[worst]} appears {count[worst]} times"
            f" ({int((count > 1).sum())} objects are repeated): keep one row of each, or give "
            f"alternatives a column {ALTERNATIVE_PROBABILITY}."
        )
    return frame.assign(object_id=names[code])


def check_output(path: str | os.PathLike) -> None:
    """Refuse, before long work, an output file that `write_table` could not write.

    Parameters
    ----------
    path : path
        Where a table shall go.

    Raises
    ------
    InputError
        If the ending is unknown, the folder does not exist or is not writable, or the path is a directory.
    """
    path = Path(path)
    _suffix(path)
    if path.is_dir():
        raise InputError(f"The output {path} must be a file, but it is a directory: add a file name.")
    check_folder("output", path, InputError)


def write_table(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a table whole or not at all.

    The table goes to a temporary file in the same folder, which then takes the place of `path` in one
    step, so that a reader sees the old file or the new one and never a part.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table; its index is not written.
    path : path
        A file name that ends in .parquet, .csv or .csv.gz.

    Raises
    ------
    InputError
        As `check_output`, or if writing fails, for instance on a full disk.
    """
    path = Path(path)
    check_output(path)
    suffix = _suffix(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            if suffix == ".parquet":
                frame.to_parquet(file, index=False, write_page_checksum=True)
            else:
                # A fixed time stamp makes equal tables equal files.
                compression = {"method": "gzip", "mtime": 1} if suffix == ".csv.gz" else None
                frame.to_csv(file, index=False, compression=compression)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise InputError(
            f"The output {path} must be writable, but writing failed ({reason}): free space or "
            "choose another."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise InputError(
        f"{path} must end in one of {', '.join(SUFFIXES)}, but it ends in {path.suffix or 'nothing'!r}: "
        "rename or convert it."
    )


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # ParquetFile takes one file as it is; read_table would look for partitions in the folder names.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read().to_pandas()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(_damaged_parquet(path, error)) from error
    except OSError as error:
        if error.errno is not None:
            raise
        # Damaged pages come as an OSError without a number.
        raise InputError(_damaged_parquet(path, error)) from error


def _damaged_parquet(path: Path, error: BaseException) -> str:
    return (
        f"{path} must be a whole Parquet file, but it is damaged, cut off or of another format "
        f"({first_line(error)[:120]}): copy or write it again."
    )
