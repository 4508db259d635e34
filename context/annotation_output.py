"""An annotated table on disk: units and origin of each column go with it."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from context.annotation import Annotated
from context.annotation_positions import AnnotateError

__all__ = ["describe", "write_annotated"]

SUFFIXES = (".parquet", ".csv", ".csv.gz")


def describe(annotated: Annotated) -> dict:
    """Return units, origins, what was set aside and the remarks as plain values, for JSON."""
    return {
        "units": annotated.units,
        "provenance": annotated.provenance,
        "set_aside": annotated.set_aside.to_dict("records"),
        "remarks": list(annotated.remarks),
    }


def write_annotated(annotated: Annotated, path: str | os.PathLike) -> list[Path]:
    """Write the table, whole or not at all.

    Parameters
    ----------
    annotated : Annotated
    path : path
        In Parquet each field carries its `unit` and `provenance` as metadata, and the schema the rest under
        `context`. Beside CSV (.csv, .csv.gz) a file NAME.meta.json has the same.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    AnnotateError
        Another ending, or a place that can't be written to.
    """
    path = Path(path)
    suffix = next((one for one in SUFFIXES if path.name.lower().endswith(one)), None)
    if suffix is None:
        raise AnnotateError(
            f"{path} must end in one of {', '.join(SUFFIXES)}, but it ends in {path.suffix or 'nothing'!r}: "
            "rename it."
        )
    written = [path] if suffix == ".parquet" else [path, path.with_name(f"{_stem(path, suffix)}.meta.json")]
    temporary = [one.with_name(f".{one.name}.{secrets.token_hex(4)}.part") for one in written]
    try:
        if suffix == ".parquet":
            _write_parquet(annotated, temporary[0])
        else:
            # A fixed time stamp makes equal tables equal files.
            compression = {"method": "gzip", "mtime": 1} if suffix == ".csv.gz" else None
            annotated.frame.to_csv(temporary[0], index=False, compression=compression)
            temporary[1].write_text(json.dumps(describe(annotated), indent=1) + "\n", encoding="utf-8")
        # The description goes first: a table without one would look complete.
        for part, whole in reversed(list(zip(temporary, written, strict=True))):
            os.replace(part, whole)
    except OSError as error:
        raise AnnotateError(
            f"The output {path} must be writable, but writing failed ({error.strerror or error}): free space "
            "or choose another place."
        ) from error
    finally:
        for part in temporary:
            part.unlink(missing_ok=True)
    return written


def _stem(path: Path, suffix: str) -> str:
    return path.name[: -len(suffix)]


def _write_parquet(annotated: Annotated, path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(annotated.frame, preserve_index=False)
    fields = []
    for one in table.schema:
        metadata = {"unit": annotated.units.get(one.name, "")} if annotated.units.get(one.name) else {}
        if one.name in annotated.provenance:
            metadata["provenance"] = json.dumps(annotated.provenance[one.name])
        fields.append(one.with_metadata(metadata) if metadata else one)
    about = {b"context": json.dumps(describe(annotated)).encode()}
    schema = pa.schema(fields, metadata={**(table.schema.metadata or {}), **about})
    pq.write_table(table.cast(schema), path, write_page_checksum=True)
