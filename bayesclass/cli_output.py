"""A page or picture on disk: refused before long work, written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayesclass.cli_errors import OutputError
from bayesclass.output_folder import check_folder

__all__ = ["check_file", "whole_file"]


def check_file(path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse, before long work, a file that could not be written.

    Parameters
    ----------
    path : Path
        Where the file shall go.
    suffixes : tuple of str
        Endings that a writer exists for, such as ".html".

    Raises
    ------
    OutputError
        If the ending is another one, the path is a directory, or its folder is missing or not writable.
    """
    if path.suffix.lower() not in suffixes:
        raise OutputError(
            f"The output {path} must end in {' or '.join(suffixes)}, but it ends in "
            f"{path.suffix or 'nothing'!r}: rename it."
        )
    if path.is_dir():
        raise OutputError(f"The output {path} must be a file, but it is a directory: add a file name.")
    check_folder("output", path, OutputError)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` with the same ending; the file takes its place at the end.

    Parameters
    ----------
    path : Path
        Where the file shall be if the block ends well; otherwise what was there stays.

    Raises
    ------
    OutputError
        If writing fails, for instance on a full disk.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"The output {path} must be writable, but writing failed ({error.strerror or error}): "
            "free space or choose another place."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
