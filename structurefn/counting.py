"""Light curves to counts of events, stream by stream: the adapter between ragged batches and kernels."""

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from structurefn.events import Points
from structurefn.light_curves import LightCurves
from structurefn.nightly import nightly_means
from structurefn.padding import pad_groups
from structurefn.streams import Stream

# Few lengths where cost is linear, since each compiles every kernel anew; more for pairs, whose cost is the
# square of the length. Blocks small enough for the counts to stay in the processor's cache.
LENGTHS = (16, 64, 256, 1024)
PAIR_LENGTHS = (16, 32, 64, 128, 256, 512, 1024)
BLOCK = 2**14


def count_events(
    light_curves: LightCurves, streams: Sequence[Stream], *, night: float = 0.0
) -> Iterator[tuple[str, np.ndarray]]:
    """Count the events of each stream.

    Parameters
    ----------
    light_curves : LightCurves
        Magnitudes (see `structurefn.magnitudes` for fluxes). Upper limits are no event of these streams.
    streams : sequence of Stream
        Channels that the batch does not have give counts of zero.
    night : float
        Longest gap within a night [day], for streams with `nightly`.

    Yields
    ------
    tuple of str and ndarray
        The stream's name and its counts, shape (n_objects, n_rows, n_errors, n_columns), float32.
    """
    detections = light_curves.keep_points(~light_curves.upper_limit)
    # Like lengths together: the loop over lags of a group ends with its longest member.
    order = np.argsort(detections.n_detections, kind="stable")
    detections = detections.take_objects(order)
    groups: dict[tuple, list] = {}
    averaged = None
    for stream in streams:
        if stream.nightly and averaged is None:
            averaged = nightly_means(detections, night)
        source = averaged if stream.nightly else detections
        codes = np.array(
            [source.channels.index(name) if name in source.channels else -2 for name in stream.channels]
        )
        lengths = PAIR_LENGTHS if stream.kind.endswith("pairs") else LENGTHS
        key = (stream.nightly, codes[0] if stream.alone else None, lengths)
        if key not in groups:
            chosen = source.keep_points(source.channel == codes[0]) if stream.alone else source
            groups[key] = [_points(group) for group in pad_groups(chosen, lengths, BLOCK)]
        counts = np.zeros((light_curves.n_objects, *stream.grid.shape), dtype=np.float32)
        for index, points in groups[key]:
            got = np.asarray(stream.kernel(points, jnp.asarray(codes, jnp.int32), grid=stream.grid))
            here = index >= 0
            counts[order[index[here]]] = got[here]
        yield stream.name, counts


def _points(group) -> tuple[np.ndarray, Points]:
    return group.index, Points(
        time=jnp.asarray(group.time),
        value=jnp.asarray(group.value),
        error=jnp.asarray(group.error),
        channel=jnp.asarray(np.where(group.valid, group.channel, -1).astype(np.int32)),
    )
