"""The ragged batch: the light curves of many objects, surveys and bands in one structure of arrays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from structurefn.assembly import count_set_aside, match_channels, match_objects, running_total, sort_points
from structurefn.columns import LightCurveError
from structurefn.validation import REASON_CODE, UNUSED_CHANNEL, mark, read_rows, row_reasons

__all__ = ["LightCurveError", "LightCurves", "concatenate"]


@dataclass(frozen=True, eq=False, repr=False)
class LightCurves:
    """Light curves of many objects, ragged: object i owns the points ``offset[i]:offset[i + 1]``.

    Parameters
    ----------
    object_id : str array, shape (n_objects,)
        Names, unique unless `take_objects` repeated some, in order of first appearance.
    offset : int64 array, shape (n_objects + 1,)
        Where each object's points begin; the last element is `n_points`.
    time : float64 array, shape (n_points,)
        Time of each point, ascending within an object [MJD, day].
    value : float64 array, shape (n_points,)
        Magnitude or flux as `quantity` says; of an upper limit, the limit's own value.
    error : float64 array, shape (n_points,)
        One standard deviation, in the unit of `value`; NaN for upper limits.
    channel : int16 array, shape (n_points,)
        Index into `channels`.
    upper_limit : bool array, shape (n_points,)
        True where the object was looked for and not detected.
    channels : tuple of str
        Names such as "ZTF/g": survey, slash, band.
    quantity : str
        "mag" or "flux".
    set_aside : pandas.DataFrame
        Columns object_id, reason, rows: rows of the input that could not be used, counted. Rows without
        an object_id are counted under the empty name.
    """

    object_id: np.ndarray
    offset: np.ndarray
    time: np.ndarray
    value: np.ndarray
    error: np.ndarray
    channel: np.ndarray
    upper_limit: np.ndarray
    channels: tuple[str, ...]
    quantity: str
    set_aside: pd.DataFrame

    def __post_init__(self):
        if self.offset.shape != (len(self.object_id) + 1,):
            raise LightCurveError(
                "offset must have one element more than object_id, but offset.shape="
                f"{self.offset.shape} and object_id.shape={self.object_id.shape}: rebuild the batch."
            )
        for name in ("time", "value", "error", "channel", "upper_limit"):
            shape = getattr(self, name).shape
            if shape != (int(self.offset[-1]),):
                raise LightCurveError(
                    f"{name} must have one element a point, but {name}.shape={shape} and offset ends at "
                    f"{int(self.offset[-1])}: rebuild the batch."
                )

    def __repr__(self) -> str:
        return (
            f"LightCurves({self.n_objects} objects, {self.n_points} points, quantity={self.quantity!r}, "
            f"channels={self.channels!r}, {int(self.set_aside['rows'].sum())} rows set aside)"
        )

    @property
    def n_objects(self) -> int:
        """Number of objects, those without a point included."""
        return len(self.object_id)

    @property
    def n_points(self) -> int:
        """Number of points of all objects, upper limits included."""
        return len(self.time)

    @property
    def object_index(self) -> np.ndarray:
        """Position in `object_id` of each point's object, int64, shape (n_points,)."""
        return np.repeat(np.arange(self.n_objects), np.diff(self.offset))

    @property
    def n_detections(self) -> np.ndarray:
        """Number of measurements of each object, upper limits excluded, int64, shape (n_objects,)."""
        return np.diff(self.offset) - self.n_upper_limits

    @property
    def n_upper_limits(self) -> np.ndarray:
        """Number of upper limits of each object, int64, shape (n_objects,)."""
        return np.diff(running_total(self.upper_limit)[self.offset])

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        channels: Sequence[str] | None = None,
        object_ids: Iterable[Any] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> "LightCurves":
        """Validate a table of measurements and sort it into a batch.

        The order of the rows changes nothing but the order of the objects: points are sorted by time,
        then channel, then value. Of rows with the same object, channel, time and value one is kept, a
        measurement rather than an upper limit, and the one with the largest error. Different
        measurements at the same time are all kept.

        Parameters
        ----------
        frame : pandas.DataFrame or pyarrow.Table
            One row a measurement: object_id, survey, band, mjd (or time) [day], mag and mag_err or flux
            and flux_err (or error for either), and optionally upper_limit (true or false, 1 or 0). Times
            may count from any day, since only differences matter; Julian dates are refused.
        channels : sequence of str, optional
            The channels to use, in this order; rows of others are set aside. By default all that the
            table names, sorted.
        object_ids : iterable, optional
            The batch's objects in this order, also those without a row; rows of others are set aside.
            By default those of the table, in order of first appearance.
        aliases : mapping of str to str, optional
            Other names of channels, each with the name in `channels` that it stands for.

        Returns
        -------
        LightCurves
            An object all of whose rows were set aside is in the batch, without points.

        Raises
        ------
        LightCurveError
            If the table cannot be used at all (see `structurefn.validation.read_rows`), if `object_ids`
            has an empty or repeated name, or if `channels` or `aliases` contradict themselves.
        """
        rows = read_rows(frame)
        channel, names = match_channels(rows, channels, aliases or {})
        object_code, object_names, n_objects = match_objects(rows, object_ids)

        reason = row_reasons(rows)
        mark(reason, object_code >= n_objects, "object not among those asked for")
        mark(reason, rows.object_code < 0, "object_id missing")
        mark(reason, (channel < 0) & (rows.channel_code >= 0), UNUSED_CHANNEL)

        kept = np.flatnonzero(reason == 0)
        error = np.where(rows.upper_limit, np.nan, rows.error)
        keys = (object_code, rows.time, channel, rows.value, rows.upper_limit, error)
        order, repeated = sort_points(*(key[kept] for key in keys))
        reason[kept[order[repeated]]] = REASON_CODE["exact duplicate"]
        row = kept[order[~repeated]]
        count = np.bincount(object_code[row], minlength=n_objects)
        return cls(
            object_id=object_names[:n_objects],
            offset=running_total(count),
            time=rows.time[row],
            value=rows.value[row],
            error=error[row],
            channel=channel[row].astype(np.int16),
            upper_limit=rows.upper_limit[row],
            channels=names,
            quantity=rows.quantity,
            set_aside=count_set_aside(
                object_code, object_names, reason, rows.channel_code, rows.channel_names
            ),
        )

    @classmethod
    def empty(cls, channels: Sequence[str], quantity: str) -> "LightCurves":
        """Return a batch without objects."""
        return cls(
            object_id=np.empty(0, dtype=str),
            offset=np.zeros(1, dtype=np.int64),
            time=np.empty(0),
            value=np.empty(0),
            error=np.empty(0),
            channel=np.empty(0, dtype=np.int16),
            upper_limit=np.empty(0, dtype=bool),
            channels=tuple(channels),
            quantity=quantity,
            set_aside=pd.DataFrame({"object_id": [], "reason": [], "rows": []}),
        )

    def with_objects(self, object_ids: Iterable[str]) -> "LightCurves":
        """Return the batch with those of `object_ids` that it lacks appended, without a point."""
        names = pd.Index(np.asarray(object_ids, dtype=str)).unique()
        added = names[~names.isin(self.object_id)].to_numpy(dtype=str)
        return replace(
            self,
            object_id=np.concatenate([self.object_id.astype(str), added]),
            offset=np.concatenate([self.offset, np.full(len(added), self.n_points, dtype=np.int64)]),
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the points as a table that `from_frame` accepts.

        Returns
        -------
        pandas.DataFrame
            Columns object_id, survey, band, mjd, mag and mag_err (or flux and flux_err), upper_limit.
        """
        parts = [name.rpartition("/") for name in self.channels]
        survey = np.array([part[0] for part in parts], dtype=str)
        band = np.array([part[2] for part in parts], dtype=str)
        return pd.DataFrame(
            {
                "object_id": self.object_id[self.object_index],
                "survey": survey[self.channel],
                "band": band[self.channel],
                "mjd": self.time,
                self.quantity: self.value,
                f"{self.quantity}_err": self.error,
                "upper_limit": self.upper_limit,
            }
        )

    def take_objects(self, index: Any) -> "LightCurves":
        """Choose objects, in the order and with the repetition given.

        Parameters
        ----------
        index : int array, bool array of shape (n_objects,), or slice
            Positions in `object_id`; negative ones count from the end.

        Returns
        -------
        LightCurves
            `set_aside` is restricted to the objects taken.
        """
        index = np.arange(self.n_objects)[index if isinstance(index, slice) else np.asarray(index)]
        count = np.diff(self.offset)[index]
        offset = running_total(count)
        point = np.repeat(self.offset[index] - offset[:-1], count) + np.arange(offset[-1])
        object_id = self.object_id[index]
        chosen = self.set_aside["object_id"].isin(object_id)
        return replace(
            self,
            object_id=object_id,
            offset=offset,
            set_aside=self.set_aside[chosen].reset_index(drop=True),
            **{name: getattr(self, name)[point] for name in _POINT_FIELDS},
        )

    def keep_points(self, mask: np.ndarray) -> "LightCurves":
        """Choose points; every object stays, also when it has none left.

        Parameters
        ----------
        mask : bool array, shape (n_points,)
            True for the points to keep. The others are the caller's choice and not counted as set aside.

        Returns
        -------
        LightCurves
            The same objects with fewer points.

        Raises
        ------
        LightCurveError
            If `mask` is not boolean or of another shape.
        """
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != (self.n_points,):
            raise LightCurveError(
                f"mask must be a boolean array of shape ({self.n_points},), but it is {mask.dtype} of "
                f"shape {mask.shape}: give one True or False for each point."
            )
        return replace(
            self,
            offset=running_total(mask)[self.offset],
            **{name: getattr(self, name)[mask] for name in _POINT_FIELDS},
        )


_POINT_FIELDS = ("time", "value", "error", "channel", "upper_limit")


def concatenate(batches: Sequence[LightCurves]) -> LightCurves:
    """Join batches of different objects into one.

    Parameters
    ----------
    batches : sequence of LightCurves
        At least one. Where their channels differ, the result has all of them, sorted.

    Returns
    -------
    LightCurves
        The objects of the first batch, then of the second, and so on.

    Raises
    ------
    LightCurveError
        If there is no batch, if magnitudes would be joined to fluxes, or if an object is in two batches.
    """
    batches = list(batches)
    if not batches:
        raise LightCurveError("At least one batch is needed to concatenate, but none was given: pass one.")
    quantities = sorted({batch.quantity for batch in batches})
    if len(quantities) > 1:
        raise LightCurveError(
            "Batches to concatenate must hold the same quantity, but both mag and flux were found: "
            "convert one of them."
        )
    object_id = np.concatenate([batch.object_id for batch in batches])
    owner = pd.Series(np.repeat(np.arange(len(batches)), [batch.n_objects for batch in batches]))
    n_owners = owner.groupby(object_id).nunique()
    if (n_owners > 1).any():
        raise LightCurveError(
            "Batches to concatenate must hold different objects, but object "
            f"{n_owners.index[n_owners > 1][0]} is in more than one: join their tables and use from_frame."
        )
    channels = batches[0].channels
    if any(batch.channels != channels for batch in batches):
        channels = tuple(sorted(set().union(*(batch.channels for batch in batches))))
    position = {name: i for i, name in enumerate(channels)}
    channel = [
        np.array([position[name] for name in batch.channels], dtype=np.int16)[batch.channel]
        for batch in batches
    ]
    joined = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in _POINT_FIELDS}
    joined["channel"] = np.concatenate(channel)
    set_aside = pd.concat([batch.set_aside for batch in batches], ignore_index=True)
    set_aside = set_aside.groupby(["object_id", "reason"], sort=False, as_index=False)["rows"].sum()
    return LightCurves(
        object_id=object_id,
        offset=running_total(np.concatenate([np.diff(batch.offset) for batch in batches])),
        channels=channels,
        quantity=quantities[0],
        set_aside=set_aside,
        **joined,
    )
