"""Counts of one object that is still being observed, brought up to date with each new point."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from structurefn.counting import count_events
from structurefn.events import Points
from structurefn.lag_strata import EXACT, pair_list
from structurefn.light_curves import LightCurves
from structurefn.nightly import nightly_means
from structurefn.streams import COUNTED_APART, Stream

__all__ = ["OnlineCounts"]

# More points than these change at once only where nights are joined; then starting over is simpler.
_MOST_CHANGES = 4
_SMALLEST = 16


class _Sorted(NamedTuple):
    """Detections in the order of a batch: by time, channel, value."""

    time: np.ndarray
    value: np.ndarray
    error: np.ndarray
    channel: np.ndarray

    def take(self, keep: np.ndarray) -> "_Sorted":
        return _Sorted(*(leaf[keep] for leaf in self))

    def without(self, place: int) -> "_Sorted":
        return _Sorted(*(np.delete(leaf, place) for leaf in self))

    def inserted(self, place: int, other: "_Sorted", which: int) -> "_Sorted":
        return _Sorted(*(np.insert(leaf, place, more[which]) for leaf, more in zip(self, other, strict=True)))

    def reversed(self) -> "_Sorted":
        return _Sorted(*(leaf[::-1] for leaf in self))

    def shared(self, other: "_Sorted") -> int:
        """Count the points at the beginning that both have."""
        n = min(len(self.time), len(other.time))
        different = np.any([a[:n] != b[:n] for a, b in zip(self, other, strict=True)], axis=0)
        return int(different.argmax()) if different.any() else n


class OnlineCounts:
    """Counts of one object's events, stream by stream, as `structurefn.count_events` gives them.

    Parameters
    ----------
    streams : sequence of Stream
        Of any kind but limits, contrast and period.
    channels : sequence of str
        Channels of the points that will come, in the order of the batch to compare with.
    night : float
        Longest gap within a night [day], for streams with `nightly`.

    Raises
    ------
    ValueError
        If a stream's kind is limits, contrast or period.

    Notes
    -----
    Depends on: the points, not on the order in which they came. A point costs O(n) for each stream of pairs:
    those of it (or of its night's mean, old and new) with the n points before. Kinds that are linear in n are
    counted when `counts` is called. With more than 128 points, where `count_events` takes a sample of the
    pairs, a point that is not the last in time makes the object's pairs be counted anew, and so does, at any
    number, one before the first.

    Examples
    --------
    >>> online = OnlineCounts([Stream("pairs", "pairs", ("ZTF/r", "ZTF/r"))], ["ZTF/r"])
    >>> online.add(60000.0, 18.2, 0.1, "ZTF/r"), online.add(60003.0, 17.9, 0.1, "ZTF/r")
    (True, True)
    >>> float(online.counts()["pairs"].sum())
    1.0
    """

    def __init__(self, streams: Sequence[Stream], channels: Sequence[str], *, night: float = 0.0):
        other = [stream.name for stream in streams if stream.kind in COUNTED_APART]
        if other:
            raise ValueError(
                f"Online counts are of events of detections alone, but {other} need upper limits, an archive "
                "or all points anew: leave such streams out."
            )
        self.streams, self.channels, self.night = tuple(streams), tuple(channels), float(night)
        self._points = _Sorted(*np.empty((3, 0)), np.empty(0, dtype=np.int16))
        self._pair_streams = [s for s in self.streams if s.kind.endswith("pairs")]
        self._pairs = {s.name: np.zeros(s.grid.shape, dtype=np.float32) for s in self._pair_streams}
        self._seen = {s.name: self._points for s in self._pair_streams}

    @property
    def n_points(self) -> int:
        """Number of detections held."""
        return len(self._points.time)

    def add(self, time: float, value: float, error: float, channel: str) -> bool:
        """Add one detection.

        Parameters
        ----------
        time : float
            [MJD, day]. Earlier than others already added is as well.
        value : float
            [mag].
        error : float
            1 sigma, positive [mag].
        channel : str
            One of the channels.

        Returns
        -------
        bool
            False if it was known: of points with the same channel, time and value one is kept, that with the
            largest error, as in `LightCurves.from_frame`.

        Raises
        ------
        ValueError
            If a number is not finite, the error not positive or the channel not among those named.
        """
        if channel not in self.channels:
            raise ValueError(
                f"channel must be one of {list(self.channels)}, but it is {channel!r}: name all channels "
                "when the counts are made."
            )
        if not np.isfinite([time, value, error]).all() or error <= 0:
            raise ValueError(
                f"A detection needs finite numbers and a positive error, but time={time!r}, value={value!r} "
                f"and error={error!r} were found: leave such a point out, or give its error."
            )
        code, held = self.channels.index(channel), self._points
        same = np.flatnonzero((held.time == time) & (held.channel == code) & (held.value == value))
        if len(same):
            if error <= held.error[same[0]]:
                return False
            held = held.without(same[0])
        new = _Sorted(*(np.array([x]) for x in (time, value, error)), np.array([code], dtype=np.int16))
        late = (held.time > time) | (
            (held.time == time) & ((held.channel > code) | ((held.channel == code) & (held.value > value)))
        )
        self._points = held.inserted(int(np.count_nonzero(~late)), new, 0)
        averaged = None
        for stream in self._pair_streams:
            source = self._points
            if stream.nightly:
                averaged = self._averaged() if averaged is None else averaged
                source = averaged
            codes = self._codes(stream)
            self._update(stream, source.take(np.isin(source.channel, codes)), codes)
        return True

    def counts(self) -> dict[str, np.ndarray]:
        """Return the counts of each stream, shape (n_rows, n_errors, n_columns), float32."""
        linear = [s for s in self.streams if s.name not in self._pairs]
        found = {name: counts[0] for name, counts in count_events(self._batch(), linear, night=self.night)}
        found |= {name: counts.copy() for name, counts in self._pairs.items()}
        return {stream.name: found[stream.name] for stream in self.streams}

    def light_curves(self) -> LightCurves:
        """Return the points as a batch of one object."""
        return self._batch()

    def _update(self, stream: Stream, points: _Sorted, codes: np.ndarray) -> None:
        """Bring the pairs of one stream from the points seen so far to these."""
        old = self._seen[stream.name]
        self._seen[stream.name] = points
        n_old, n_new = len(old.time), len(points.time)
        head = old.shared(points)
        tail = min(old.reversed().shared(points.reversed()), n_old - head, n_new - head)
        # Times are counted from the first point, so it must stay; a sample of pairs grows at its end only.
        moved = head == 0 and n_old > 0
        if moved or max(n_old, n_new) - head - tail > _MOST_CHANGES or (tail and max(n_old, n_new) > EXACT):
            self._start_over(stream)
            return
        counts, current = self._pairs[stream.name].reshape(-1), old
        for place in range(n_old - tail - 1, head - 1, -1):
            self._count(stream, codes, current, place, -1.0, counts)
            current = current.without(place)
        for place in range(head, n_new - tail):
            current = current.inserted(place, points, place)
            self._count(stream, codes, current, place, 1.0, counts)

    def _count(
        self, stream: Stream, codes: np.ndarray, points: _Sorted, place: int, sign: float, counts: np.ndarray
    ) -> None:
        """Add or take away the pairs of one point with the others, by the kernel that counts batches."""
        n = len(points.time)
        if n <= EXACT:
            other = np.delete(np.arange(n), place)
            earlier, later, weight = np.minimum(other, place), np.maximum(other, place), np.ones(n - 1)
        else:
            pairs = pair_list(n)
            part = slice(np.searchsorted(pairs.later, place), None)
            earlier, later, weight = pairs.earlier[part], pairs.later[part], pairs.weight[part]
        if not len(later):
            return
        # Few shapes, so that the kernel is compiled a few times only; the last row is no point.
        n_rows, n_pairs = (max(_SMALLEST, 1 << k.bit_length()) for k in (n, len(later)))
        time = points.time - points.time[0]
        padded = Points(
            *(
                _filled(leaf, n_rows, fill, dtype)[:, None]
                for leaf, fill, dtype in (
                    (time, 0.0, np.float32),
                    (points.value, 0.0, np.float32),
                    (points.error, 1.0, np.float32),
                    (points.channel, -1, np.int32),
                )
            )
        )
        rows = (_filled(leaf, n_pairs, n_rows - 1, np.int32) for leaf in (earlier, later))
        first = np.zeros(n_pairs, dtype=np.int32)
        cells = stream.kernel(padded, *rows, first, np.int32(1), codes.astype(np.int32), grid=stream.grid)
        cells = np.asarray(cells)[: len(later), 0]
        use = cells < len(counts)
        np.add.at(counts, cells[use], (sign * weight[use]).astype(np.float32))

    def _start_over(self, stream: Stream) -> None:
        ((_, counts),) = count_events(self._batch(), [stream], night=self.night)
        self._pairs[stream.name] = np.array(counts[0])

    def _codes(self, stream: Stream) -> np.ndarray:
        """Look up the stream's channels, -2 for one that is never observed."""
        names = self.channels
        return np.array([names.index(c) if c in names else -2 for c in stream.channels])

    def _averaged(self) -> _Sorted:
        means = nightly_means(self._batch(), self.night)
        return _Sorted(means.time, means.value, means.error, means.channel)

    def _batch(self) -> LightCurves:
        return LightCurves(
            object_id=np.array(["object"]),
            offset=np.array([0, self.n_points]),
            upper_limit=np.zeros(self.n_points, dtype=bool),
            channels=self.channels,
            quantity="mag",
            set_aside=pd.DataFrame({"object_id": [], "reason": [], "rows": []}),
            **self._points._asdict(),
        )


def _filled(values: np.ndarray, n: int, fill: float, dtype: type) -> np.ndarray:
    result = np.full(n, fill, dtype=dtype)
    result[: len(values)] = values
    return result
