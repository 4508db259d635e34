"""The rule for every place that something is written to: its folder exists and may be written to."""

import os
from pathlib import Path

__all__ = ["check_folder"]


def check_folder(what: str, path: Path, error: type[ValueError]) -> None:
    """Refuse a path whose folder is missing or not writable.

    Parameters
    ----------
    what : str
        What shall be written there, as the sentence names it: "output", "model", "report".
    path : Path
        The file or directory to write.
    error : type
        The exception to raise.

    Raises
    ------
    ValueError
        Of type `error`.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise error(
            f"The {what} {path} must go to an existing folder, but there is no {folder}: create it first."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise error(
            f"The {what} {path} must go to a folder that you may write to, but {folder} is not one: "
            "choose another."
        )
