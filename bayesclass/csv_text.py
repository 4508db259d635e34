"""CSV text to a table: strict about fields and encoding, exact about identifiers."""

import codecs
import gzip
import re
import zlib
from pathlib import Path
from typing import Any

import pandas as pd

HEAD_BYTES = 65536


class InputError(ValueError):
    """A file that cannot be used: the file, the rule, what was found, what to do."""


def first_line(error: BaseException) -> str:
    """Return the first sentence of an error's text, or its type where it has none."""
    text = str(error).strip()
    return text.splitlines()[0].split(". ")[0].rstrip(".") if text else type(error).__name__


def read_csv(path: Path, compressed: bool) -> pd.DataFrame:
    """Read a CSV file whole.

    Parameters
    ----------
    path : Path
        UTF-8 text, separated by commas, names of the columns in the first line; blanks around them do
        not count.
    compressed : bool
        Whether the file is gzipped.

    Returns
    -------
    pandas.DataFrame
        ``object_id`` as text; if each is a whole number with the decimals ".0", these are removed. Dates
        and times stay text.

    Raises
    ------
    InputError
        If the file is no such text, or a line has too few or too many fields.
    OSError
        If the file cannot be read.
    """
    import pyarrow as pa

    _check_text(path, compressed)
    try:
        table = _parse_csv(path, compressed, {"object_id": pa.string()})
        text = [field.name for field in table.schema if _should_be_text(field)]
        if text:
            table = _parse_csv(path, compressed, dict.fromkeys(["object_id", *text], pa.string()))
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(_unreadable_csv(path, error)) from error
    binary = [field.name for field in table.schema if pa.types.is_binary(field.type)]
    if binary:
        raise InputError(_not_utf8(path, f"column {binary[0]} holds other bytes"))
    frame = table.to_pandas().rename(columns=str.strip)
    if list(frame.columns).count("object_id") == 1:
        frame["object_id"] = _without_decimals(frame["object_id"])
    return frame


def _should_be_text(field: Any) -> bool:
    import pyarrow as pa

    # Sexagesimal coordinates look like times of day, and a header may have blanks around object_id.
    identifier = field.name.strip() == "object_id" and not pa.types.is_string(field.type)
    return identifier or pa.types.is_temporal(field.type)


def _parse_csv(path: Path, compressed: bool, column_types: dict) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    def parse(use_threads: bool) -> pa.Table:
        with pa.input_stream(str(path), compression="gzip" if compressed else None) as stream:
            return csv.read_csv(
                stream,
                read_options=csv.ReadOptions(use_threads=use_threads),
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=csv.ConvertOptions(column_types=column_types, strings_can_be_null=True),
            )

    try:
        return parse(use_threads=True)
    except pa.ArrowInvalid:
        # Only the serial reader knows which row is at fault.
        return parse(use_threads=False)


def _check_text(path: Path, compressed: bool) -> None:
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path} must be a whole gzip file, but it is damaged or cut off ({first_line(error)}): "
            "copy or write it again."
        ) from error
    if not head.strip():
        raise InputError(f"{path} must begin with the names of its columns, but it is empty: write it again.")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(_not_utf8(path, "it begins as UTF-16"))
    if b"\0" in head:
        raise InputError(
            f"{path} must be CSV text, but it holds binary data: give the file its true ending or convert it."
        )
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as error:
        raise InputError(_not_utf8(path, f"byte {error.start + 1} is another encoding's")) from error
    header = head.splitlines()[0]
    other = next((name for mark, name in ((b";", "semicolons"), (b"\t", "tabs")) if mark in header), None)
    if other and b"," not in header:
        raise InputError(f"{path} must be separated by commas, but it is separated by {other}: convert it.")


def _not_utf8(path: Path, found: str) -> str:
    return f"{path} must be UTF-8 text, but {found}: convert it, for example with iconv."


def _unreadable_csv(path: Path, error: BaseException) -> str:
    message = first_line(error)
    ragged = re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", message)
    if ragged:
        line = f"line {ragged[1]}" if ragged[1] else "one"
        return (
            f"{path} must have as many fields in every line as in its first, {ragged[2]}, but {line} has "
            f"{ragged[3]}: correct that line or write the file again."
        )
    if "UTF8" in message or isinstance(error, UnicodeDecodeError):
        return _not_utf8(path, "it holds other bytes")
    return f"{path} must be CSV text, but it cannot be read as such ({message[:120]}): write it again."


def _without_decimals(column: pd.Series) -> pd.Series:
    """Whole-number identifiers that a gap in the column had turned into floats, as digits again."""
    given = column.dropna()
    if len(given) and given.str.fullmatch(r"\d+\.0").all():
        return column.str.removesuffix(".0")
    return column
