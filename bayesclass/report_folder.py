"""A report as a folder: refused before long work, written whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pandas as pd

from bayesclass.output_folder import check_folder
from bayesclass.tables import InputError

NUMBERS = "metrics.json"

__all__ = ["NUMBERS", "check_report_folder", "table_files", "write_report_folder", "write_tables"]


def table_files(names: Collection[str]) -> frozenset[str]:
    """Return the files of some tables: each as CSV and as Parquet."""
    return frozenset(f"{name}.{suffix}" for name in names for suffix in ("csv", "parquet"))


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write tables into a folder, each as CSV and as Parquet, under its name."""
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
        table.to_parquet(folder / f"{name}.parquet", index=False)


def check_report_folder(directory: str | os.PathLike, kind: str, files: Collection[str]) -> None:
    """Refuse, before long work, a place where a report could not be written.

    Parameters
    ----------
    directory : path
        Where the report shall go.
    kind : str
        What `NUMBERS` of an earlier report names itself.
    files : collection of str
        Names of the files that a report may have.

    Raises
    ------
    InputError
        If it is a file, or a folder with anything in it that is not from such a report, or the folder above
        does not exist or is not writable.
    """
    directory = Path(directory).absolute()
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise InputError(f"The report {directory} must be a folder, but it is a file or link: name another.")
    if directory.is_dir():
        found = sorted(entry.name for entry in directory.iterdir())
        other = [name for name in found if name not in files or (directory / name).is_dir()]
        if other or (found and _kind(directory) != kind):
            raise InputError(
                f"The report {directory} must be a new folder or an earlier report of the same kind, but it "
                f"holds {(other or found)[0]!r}: name another folder."
            )
    check_folder("report", directory, InputError)


def write_report_folder(directory: str | os.PathLike, write: Callable[[Path], None]) -> Path:
    """Write a report whole or not at all; an earlier one in the same place is replaced.

    Parameters
    ----------
    directory : path
        Checked by `check_report_folder`.
    write : callable
        Fills the folder that it is given.

    Returns
    -------
    Path
        Of the folder.

    Raises
    ------
    InputError
        If writing fails, for instance on a full disk.
    """
    directory = Path(directory).absolute()
    mark = secrets.token_hex(4)
    fresh, old = (directory.with_name(f".{directory.name}.{mark}.{word}") for word in ("part", "old"))
    try:
        fresh.mkdir()
        write(fresh)
        if directory.exists():
            directory.rename(old)
        try:
            fresh.rename(directory)
        except OSError:
            if old.exists():
                old.rename(directory)
            raise
    except OSError as error:
        raise InputError(
            f"The report {directory} must be writable, but writing failed ({error.strerror or error}): free "
            "space or choose another folder."
        ) from error
    finally:
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)
    return directory


def _kind(directory: Path) -> str | None:
    try:
        data = json.loads((directory / NUMBERS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data.get("kind") if isinstance(data, dict) else None
