"""What a model may consist of: values of JSON, and arrays of numbers or text in a plain npz container."""

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np


class ModelError(ValueError):
    """A model directory that cannot be read or written: the rule, what was found, what to do."""


def json_value(value: Any, where: str) -> Any:
    """Convert a value to what JSON can hold.

    Parameters
    ----------
    value : object
        Mappings with text keys, lists, tuples, text, finite numbers, booleans, None, scalars of numpy.
    where : str
        The value's place, for messages, such as "manifest.nodes[2].name".

    Returns
    -------
    object
        The same in dict, list, str, int, float, bool and None.

    Raises
    ------
    ModelError
        If a key is not text, a number is not finite, or a value is of another kind.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ModelError(f"Keys of {where} must be text, but one is {key!r}: convert it.")
        return {str(key): json_value(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ModelError(f"Numbers in JSON must be finite, but {where} is {value}: use None or an array.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ModelError(
        f"{where} must be a value of JSON, but it is of type {type(value).__name__}: convert it, or store "
        "it among the arrays."
    )


def pack_arrays(arrays: Mapping[str, Any]) -> bytes:
    """Write arrays as the bytes of an npz file; equal arrays give equal bytes.

    Parameters
    ----------
    arrays : mapping of str to array
        Numbers, booleans or text.

    Returns
    -------
    bytes
        A zip file of npy members with a fixed date, which `numpy.load` reads.

    Raises
    ------
    ModelError
        If an array holds Python objects or another type.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in arrays.items():
            array = np.asanyarray(value)
            if array.dtype.kind not in "biufcUS":
                raise ModelError(
                    f"Arrays of a model must hold numbers or text, but {name} is of type {array.dtype}: "
                    "convert it, for example with np.asarray(x, dtype=str)."
                )
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue())
    return buffer.getvalue()


def unpack_arrays(blob: bytes) -> dict[str, np.ndarray]:
    """Read the bytes of an npz file without ever loading Python objects.

    Parameters
    ----------
    blob : bytes
        What `pack_arrays` returned.

    Returns
    -------
    dict of str to array
        The arrays.

    Raises
    ------
    ModelError
        If the bytes are no npz file or hold Python objects.
    """
    if not zipfile.is_zipfile(io.BytesIO(blob)):
        raise ModelError("arrays must be an npz file, but this is none: copy it again or fit it anew.")
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error):
            raise ModelError(
                "arrays must hold numbers or text, but Python objects were found, which could run code: "
                "do not load it."
            ) from error
        raise ModelError(
            f"arrays must be a whole npz file, but reading it failed ({error}): copy it again or fit it anew."
        ) from error
