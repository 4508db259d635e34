"""Steps from validated rows to a sorted batch: objects, channels, order of points, what was set aside."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from structurefn.columns import LightCurveError, labels
from structurefn.validation import REASON_CODE, REASONS, UNUSED_CHANNEL, Rows

LARGEST_CHANNEL = np.iinfo(np.int16).max


def running_total(count: np.ndarray) -> np.ndarray:
    """Sum of the elements before each position, int64, one element longer than `count`."""
    return np.concatenate([[0], np.cumsum(count, dtype=np.int64)])


def match_channels(
    rows: Rows, channels: Sequence[str] | None, aliases: Mapping[str, str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Index of each row's channel among those used.

    Parameters
    ----------
    rows : Rows
        The table as arrays.
    channels : sequence of str or None
        The channels to use in this order; None for all that the table names, sorted.
    aliases : mapping of str to str
        Other names of channels.

    Returns
    -------
    channel : int64 array, shape (n_rows,)
        Index into `names`; -1 where the row's channel is missing or not used.
    names : tuple of str
        The channels used.

    Raises
    ------
    LightCurveError
        If a channel is listed twice, an alias stands for a channel that is not used, or there are more
        channels than an int16 can count.
    """
    meant = [aliases.get(name, name) for name in rows.channel_names]
    names = tuple(sorted(set(meant))) if channels is None else tuple(str(name) for name in channels)
    position = {name: i for i, name in enumerate(names)}
    if len(position) < len(names):
        repeated = next(name for i, name in enumerate(names) if position[name] != i)
        raise LightCurveError(f"Each channel may be listed once, but {repeated} is repeated: list it once.")
    if channels is not None:
        for name, target in aliases.items():
            if target not in position:
                raise LightCurveError(
                    f"An alias must stand for one of the channels {', '.join(names)}, but {name} stands for "
                    f"{target}: correct or remove it."
                )
    if len(names) > LARGEST_CHANNEL:
        raise LightCurveError(
            f"A batch can hold at most {LARGEST_CHANNEL} channels, but survey and band make {len(names)}: "
            "check that these columns hold names, not measurements."
        )
    index = np.array([position.get(name, -1) for name in meant] + [-1], dtype=np.int64)
    return index[rows.channel_code], names


def match_objects(rows: Rows, object_ids: Iterable[Any] | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Index of each row's object among those of the batch.

    Parameters
    ----------
    rows : Rows
        The table as arrays.
    object_ids : iterable or None
        The batch's objects in this order; None for all of the table, in order of first appearance.

    Returns
    -------
    code : int64 array, shape (n_rows,)
        Index into `names`; its last element for rows without an object.
    names : str array
        The batch's objects, then others that the table names, then the empty name.
    n_objects : int
        How many of `names` are the batch's.

    Raises
    ------
    LightCurveError
        If `object_ids` holds an empty or repeated name.
    """
    if object_ids is None:
        names = np.append(rows.object_names, "")
        return np.where(rows.object_code < 0, len(names) - 1, rows.object_code), names, len(names) - 1
    asked = object_ids if isinstance(object_ids, pd.Series) else pd.Series(list(object_ids))
    asked_code, wanted = labels(asked, "object_ids")
    if (asked_code < 0).any():
        raise LightCurveError(
            f"object_ids must be without gaps, but element {int(np.argmin(asked_code))} is empty: remove it."
        )
    if len(wanted) < len(asked):
        repeated = wanted[np.argmax(np.bincount(asked_code) > 1)]
        raise LightCurveError(f"object_ids must be unique, but {repeated} is repeated: list it once.")
    position = pd.Index(wanted).get_indexer(pd.Index(rows.object_names))
    others = np.flatnonzero(position < 0)
    position[others] = len(wanted) + np.arange(len(others))
    names = np.concatenate([wanted, rows.object_names[others], np.array([""])])
    return np.append(position, len(names) - 1)[rows.object_code], names, len(wanted)


def sort_points(
    code: np.ndarray,
    time: np.ndarray,
    channel: np.ndarray,
    value: np.ndarray,
    upper_limit: np.ndarray,
    error: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Order points by object, time, channel and value, and find the repeated ones.

    Parameters
    ----------
    code, time, channel, value, upper_limit, error : arrays, shape (n,)
        Object's index, time [day], channel's index, magnitude or flux, whether it is a limit, 1 sigma.

    Returns
    -------
    order : int64 array, shape (n,)
        Positions in the order of the batch. Equal points stand with the measurement before the limit and
        the largest error first, so that the one kept does not depend on the order of the rows.
    repeated : bool array, shape (n,)
        Along `order`: True where object, channel, time and value are those of the point before.
    """
    order = np.arange(len(code))
    same_object = code[1:] == code[:-1]
    if not np.all((code[1:] > code[:-1]) | (same_object & (time[1:] >= time[:-1]))):
        order = np.lexsort((time, code))
    # Ties in time are rare, so the other four keys are sorted only within them.
    tied = _equal_to_previous(order, code, time)
    member = np.flatnonzero(tied | np.append(tied[1:], False))
    run = np.cumsum(~tied)[member]
    at = order[member]
    order[member] = at[np.lexsort((-error[at], upper_limit[at], value[at], channel[at], run))]
    return order, _equal_to_previous(order, code, time, channel, value)


def _equal_to_previous(order: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    equal = np.ones(len(order), dtype=bool)
    equal[:1] = False
    for key in keys:
        ordered = key[order]
        equal[1:] &= ordered[1:] == ordered[:-1]
    return equal


def count_set_aside(
    code: np.ndarray, names: np.ndarray, reason: np.ndarray, channel: np.ndarray, channels: Sequence[str]
) -> pd.DataFrame:
    """Rows set aside, counted by object and reason.

    Parameters
    ----------
    code : int64 array, shape (n_rows,)
        Index into `names`.
    names : str array
        Objects, the empty name for rows without one.
    reason : int8 array, shape (n_rows,)
        Codes of `structurefn.validation.REASON_CODE`, 0 for rows that were kept.
    channel : int64 array, shape (n_rows,)
        Index into `channels`, the channels as the table names them.
    channels : sequence of str

    Returns
    -------
    pandas.DataFrame
        Columns object_id, reason and rows, in the order of `names` and `REASONS`; a channel that is not
        used is named in the reason.
    """
    aside = np.flatnonzero(reason > 0)
    code, reason = code[aside], reason[aside]
    unused = reason == REASON_CODE[UNUSED_CHANNEL]
    keys = np.stack([code, reason, np.where(unused, channel[aside], -1)])
    (code, reason, channel), rows = np.unique(keys, axis=1, return_counts=True)
    texts = [
        UNUSED_CHANNEL.replace("channel", f"channel {channels[c]}", 1) if c >= 0 else REASONS[r - 1]
        for r, c in zip(reason, channel, strict=True)
    ]
    return pd.DataFrame(
        {
            "object_id": pd.Series(names[code], dtype="str"),
            "reason": pd.Series(texts, dtype="str"),
            "rows": rows.astype(np.int64),
        }
    )
