"""Models on disk: a directory of JSON and plain arrays, whole or not at all, never code.

``model.json`` holds the format's version, the package's version, the SHA-256 of the arrays' file, and the
manifest; ``arrays.npz`` holds numbers and text only, so that loading a stranger's model runs no code.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np

from bayesclass.containers import ModelError, json_value, pack_arrays, unpack_arrays
from bayesclass.output_folder import check_folder

FORMAT = 1
PACKAGE = "bayesclass"
MANIFEST_FILE = "model.json"
ARRAYS_FILE = "arrays.npz"

__all__ = [
    "ModelError",
    "check_model_output",
    "load_model",
    "resolve_model",
    "save_model",
    "shipped_models",
]


def save_model(path: str | os.PathLike, manifest: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write a model directory whole or not at all.

    Everything is written to a temporary directory beside `path`, which is then renamed. A model that was
    there is moved aside just before and removed after, and moved back if the renaming fails.

    Parameters
    ----------
    path : path
        The directory. Its parent must exist; it may itself exist if it is a model or empty.
    manifest : mapping of str
        Values that JSON can hold: mappings with text keys, lists, text, finite numbers, booleans, None.
        Scalars of numpy become Python's.
    arrays : mapping of str to array
        Numbers, booleans or text; no Python objects.

    Raises
    ------
    ModelError
        If a value is of another kind, if `path` is something that is not a model, or if writing fails.
    """
    check_model_output(path)
    target = Path(path).resolve()
    blob = pack_arrays(arrays)
    document = {
        "format": FORMAT,
        "package": PACKAGE,
        "version": _package_version(),
        "arrays_sha256": hashlib.sha256(blob).hexdigest(),
        "manifest": json_value(manifest, "manifest"),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    token = secrets.token_hex(4)
    fresh = target.with_name(f".{target.name}.{token}.part")
    previous = target.with_name(f".{target.name}.{token}.old")
    try:
        fresh.mkdir()
        _write(fresh / ARRAYS_FILE, blob)
        _write(fresh / MANIFEST_FILE, text.encode())
        _put_in_place(fresh, target, previous)
    except OSError as error:
        raise ModelError(
            f"The model directory {path} must be writable, but writing failed "
            f"({error.strerror or error}): free space or choose another place."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if target.exists():
            shutil.rmtree(previous, ignore_errors=True)


def load_model(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a model directory.

    Parameters
    ----------
    path : path
        A directory that `save_model` wrote; names of shipped models go through `resolve_model` first.

    Returns
    -------
    manifest : dict
        As it was saved.
    arrays : dict of str to array
        As they were saved.

    Raises
    ------
    ModelError
        If there is no such directory, it is not a model, its format is newer than this version reads,
        it is damaged, or it holds Python objects, which are never loaded.
    """
    path = Path(path)
    if not path.is_dir():
        what = "it is a file" if path.exists() else "there is none"
        raise ModelError(f"The model {path} must be a directory, but {what}: check the path.")
    document = _read_document(path)
    if document is None:
        raise ModelError(
            f"{path} must be a model directory of {PACKAGE}, but it has no {MANIFEST_FILE} of one: "
            f"name a directory that `{PACKAGE} fit` wrote."
        )
    if not isinstance(document["format"], int) or document["format"] > FORMAT:
        raise ModelError(
            f"The model {path} must be of format {FORMAT} or older, but it is of format "
            f"{document['format']}, written by {PACKAGE} {document.get('version')}: install that version."
        )
    try:
        blob = (path / ARRAYS_FILE).read_bytes()
    except OSError as error:
        raise ModelError(_damaged(path, f"{ARRAYS_FILE} cannot be read ({error.strerror})")) from error
    if hashlib.sha256(blob).hexdigest() != document.get("arrays_sha256"):
        raise ModelError(
            _damaged(path, f"{ARRAYS_FILE} is not the one that {MANIFEST_FILE} was written with")
        )
    manifest = document.get("manifest")
    if not isinstance(manifest, dict):
        raise ModelError(_damaged(path, f"{MANIFEST_FILE} has no manifest"))
    try:
        return manifest, unpack_arrays(blob)
    except ModelError as error:
        raise ModelError(f"The model {path} cannot be used: {error}") from error


def shipped_models() -> tuple[str, ...]:
    """Names of the models that come with the package.

    Returns
    -------
    tuple of str
        Sorted.
    """
    folder = _shipped_folder()
    if not folder.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in folder.iterdir() if (entry / MANIFEST_FILE).is_file()))


def resolve_model(name_or_path: str | os.PathLike) -> Path:
    """Find a model by path or by the name of a shipped one.

    Parameters
    ----------
    name_or_path : path
        A model directory, which comes first, or a shipped name.

    Returns
    -------
    Path
        The model's directory; an existing directory that is no model is left to `load_model` to refuse.

    Raises
    ------
    ModelError
        If it is neither; the sentence lists the shipped names.
    """
    path = Path(name_or_path)
    if (path / MANIFEST_FILE).is_file():
        return path
    shipped = shipped_models()
    if str(name_or_path) in shipped:
        return Path(str(_shipped_folder() / str(name_or_path)))
    if path.is_dir():
        return path
    known = ", ".join(shipped) or "there is none"
    raise ModelError(
        f"A model must be a directory or the name of a shipped one ({known}), but {str(name_or_path)!r} is "
        "neither: check its spelling."
    )


def check_model_output(path: str | os.PathLike) -> None:
    """Refuse, before long work, a directory that `save_model` could not write.

    Parameters
    ----------
    path : path
        Where a model shall go.

    Raises
    ------
    ModelError
        If `path` is a file or a directory that is neither empty nor a model, or its parent is no
        directory that can be written to.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_dir():
        raise ModelError(f"The model {path} must be a directory, but a file is there: choose another name.")
    if target.is_dir() and any(target.iterdir()) and _read_document(target) is None:
        raise ModelError(
            f"The directory {path} may be replaced only if it is empty or a model, but it holds other "
            "files: choose another name."
        )
    check_folder("model", target, ModelError)


def _shipped_folder() -> Any:
    return resources.files(PACKAGE) / "models"


def _package_version() -> str:
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return "unknown"


def _read_document(path: Path) -> dict[str, Any] | None:
    """Content of model.json, None where there is none of ours."""
    try:
        text = (path / MANIFEST_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ModelError(_damaged(path, f"{MANIFEST_FILE} is not JSON ({error})")) from error
    ours = isinstance(document, dict) and document.get("package") == PACKAGE and "format" in document
    return document if ours else None


def _damaged(path: Path, found: str) -> str:
    return f"The model {path} must be whole, but {found}: copy it again or fit it anew."


def _put_in_place(fresh: Path, target: Path, previous: Path) -> None:
    if target.exists():
        target.rename(previous)
    try:
        fresh.rename(target)
    except OSError:
        if previous.exists():
            previous.rename(target)
        raise


def _write(path: Path, blob: bytes) -> None:
    with path.open("xb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())
