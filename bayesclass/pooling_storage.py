"""InferenceData beside a model: netCDF files in the model's directory, which hold numbers and text only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import quote, unquote

from bayesclass.containers import ModelError
from bayesclass.pooling_model import quiet
from bayesclass.storage import MANIFEST_FILE

__all__ = ["load_inference_data", "save_inference_data"]

FOLDER = "inference"


def save_inference_data(model: str | os.PathLike, name: str, inference_data) -> Path:
    """Write InferenceData as inference/<name>.nc of a model directory, whole or not at all.

    Parameters
    ----------
    model : path
        A model directory; saving the model there again removes what was beside it.
    name : str
        Such as the evidence node's; signs that a file's name should not have are quoted.
    inference_data : arviz.InferenceData, or xarray.DataTree where ArviZ is 1.0 or later

    Returns
    -------
    Path
        The file, netCDF-4.

    Raises
    ------
    ModelError
        If there is no model, or writing fails.
    """
    target = _file(model, name)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(exist_ok=True)
        with quiet():
            inference_data.to_netcdf(str(fresh), engine="h5netcdf")
        fresh.replace(target)
    except OSError as error:
        raise ModelError(
            f"The model directory {model} must be writable, but writing {target.name} failed "
            f"({error.strerror or error}): free space or choose another place."
        ) from error
    finally:
        fresh.unlink(missing_ok=True)
    return target


def load_inference_data(model: str | os.PathLike, name: str):
    """Read what `save_inference_data` wrote, into memory.

    Raises
    ------
    ModelError
        If there is no such file, or it can't be read; the sentence lists those that are there.
    """
    target = _file(model, name)
    if not target.is_file():
        there = (
            ", ".join(sorted(unquote(path.stem) for path in target.parent.glob("*.nc"))) or "there is none"
        )
        raise ModelError(
            f"The model {model} must have draws of {name!r}, but has: {there}; name one of these."
        )
    with quiet():
        import arviz

        try:
            read = arviz.from_netcdf(str(target), engine="h5netcdf")
        except (OSError, ValueError) as error:
            raise ModelError(
                f"Draws must be a whole netCDF file, but {target} can't be read ({error}): copy it again."
            ) from error
        # The file may be moved or replaced afterwards.
        read.load()
        read.close()
    return read


def _file(model: str | os.PathLike, name: str) -> Path:
    model = Path(model)
    if not (model / MANIFEST_FILE).is_file():
        raise ModelError(f"Draws are kept beside a model, but {model} is none: save the model first.")
    return model / FOLDER / f"{quote(name, safe=' ')}.nc"
