"""Light curves sampled from chains of adjacent pairs and triplets, by the likelihood's own assumptions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from structurefn.density import Density
from structurefn.events import previous_change_edges
from structurefn.grids import bin_index
from structurefn.light_curves import LightCurves
from structurefn.simulate import MagnitudeTable, cumulative_table, table_quantile
from structurefn.streams import Stream

__all__ = ["simulate_chains"]

_KINDS = ("adjacent", "triplets")


def simulate_chains(
    rng: np.random.Generator,
    light_curves: LightCurves,
    streams: Sequence[Stream],
    densities: Mapping[str, Density],
    classes: np.ndarray,
    *,
    magnitudes: Mapping[str, MagnitudeTable] | None = None,
    own_errors: bool = False,
) -> LightCurves:
    r"""Draw new magnitudes at the times, errors and channels of given light curves.

    From the first point of a channel on, each *observed* change is drawn given what came before,

    .. math:: \Delta m_i = x_i + s_i e_i, \qquad x_i \sim p(x | \Delta t_i, c) \quad \text{or} \quad
        x_i \sim p(x | \Delta t_i, \Delta t_{i-1}, \Delta m_{i-1}, c)

    with e standard normal and :math:`s_i` the centre of the error bin of :math:`(\sigma_{i-1}^2 +
    \sigma_i^2)^{1/2}`; with probability epsilon, the density's tail, the change lies in any observed cell
    instead. That is what the likelihood of `structurefn.likelihood` assumes, cell by cell, so for curves of
    class c the mean of :math:`e^{\ell_{c'} - \ell_c}` is one.

    It is not how a source is measured. There, successive observed changes share a point and its error,
    which a chain of pairs takes as independent; here they are independent. Curves drawn here are for tests of
    the likelihood and its calculation, not of its assumptions.

    Parameters
    ----------
    rng : numpy.random.Generator
    light_curves : LightCurves
        Magnitudes, whose times, errors and channels are kept. For streams with `nightly`, give
        `nightly_means` of them.
    streams : sequence of Stream
        Of kind "adjacent" or "triplets", at most one of each for a channel. With both, the second point
        of a channel follows the pairs and the later ones the triplets; with triplets alone, the first two
        are kept.
    densities : mapping of str to Density
        Of each stream, of C classes or components (see `structurefn.modes.ModeDensities.draw`).
    classes : int array, shape (n_objects,)
    magnitudes : mapping of str to MagnitudeTable, optional
        Channel -> table from which the first point's magnitude is drawn, before its error; by default
        the first point is kept.
    own_errors : bool
        Whether each event's own error is used in place of its bin's centre. The mean above then differs
        from one by what error bins cost.

    Returns
    -------
    LightCurves
        With new values of detections in the channels of the streams; upper limits and all else as given.

    Raises
    ------
    ValueError
        If a stream is of another kind, has no density or shares its channel, or classes do not fit.
    """
    classes = np.asarray(classes)
    chains = _chains(streams, densities, light_curves, classes)
    value = light_curves.value.astype(np.float64)
    for channel, kinds in chains.items():
        code = light_curves.channels.index(channel)
        point = np.flatnonzero((light_curves.channel == code) & ~light_curves.upper_limit)
        owner = light_curves.object_index[point]
        rank = np.arange(len(point)) - np.searchsorted(owner, owner)
        if magnitudes and channel in magnitudes:
            first = point[rank == 0]
            table = MagnitudeTable(*magnitudes[channel])
            level = rng.random(len(first))
            cumulative = cumulative_table(table.true[classes[owner[rank == 0]], 0])
            drawn = table_quantile(cumulative, table.grid.column_edges, level) + table.offset
            value[first] = drawn + light_curves.error[first] * rng.standard_normal(len(first))
        # In float32 since the channel's first point, as events are counted.
        time = (light_curves.time[point] - light_curves.time[point[np.arange(len(point)) - rank]]).astype(
            "f4"
        )
        original = light_curves.value[point]
        order = np.argsort(rank, kind="stable")
        begin = np.searchsorted(rank[order], np.arange(1, rank.max(initial=0) + 2))
        for step, here in enumerate(np.split(order, begin)[1:-1], start=1):
            stream = kinds["triplets"] if step > 1 and "triplets" in kinds else kinds.get("adjacent")
            before, now = point[here - 1], point[here]
            if stream is None:
                value[now] = value[before] + original[here] - original[here - 1]
                continue
            lag = time[here] - time[here - 1]
            if stream.kind == "triplets":
                row = _triplet_row(
                    stream.grid,
                    time[here - 1] - time[here - 2],
                    lag,
                    value[before] - value[point[here - 2]],
                )
            else:
                row = bin_index(lag, stream.grid.lag_edges)
            error = np.hypot(light_curves.error[before], light_curves.error[now])
            change = _draw(rng, stream, densities[stream.name], classes[owner[here]], row, error, own_errors)
            value[now] = value[before] + change
    return replace(light_curves, value=value)


def _draw(rng, stream, density, classes, row, error, own_errors) -> np.ndarray:
    """Observed changes of one event each, [mag]."""
    grid, edges = stream.grid, stream.grid.column_edges
    n = len(row)
    change = table_quantile(cumulative_table(density.true[classes, row]), edges, rng.random(n))
    if not own_errors:
        error = grid.error_centres[bin_index(error, grid.error_edges)]
    change = change + error * rng.standard_normal(n)
    # The tail is uniform over cells, not over magnitudes.
    cell, place = rng.integers(0, grid.n_columns, n), rng.random(n)
    anywhere = edges[cell] + place * (edges[cell + 1] - edges[cell])
    return np.where(rng.random(n) < density.tail, anywhere, change)


def _triplet_row(grid, lag_12, lag_23, change_12) -> np.ndarray:
    n_first, n_second, n_change = grid.row_shape
    lags = (lag_12, n_first), (lag_23, n_second)
    change = bin_index(change_12, previous_change_edges(n_change))
    first, second = (bin_index(x, np.geomspace(*grid.lag_range, n + 1)) for x, n in lags)
    return (first * n_second + second) * n_change + change


def _chains(streams, densities, light_curves, classes) -> dict[str, dict[str, Stream]]:
    """Streams of each channel that the batch has, by kind."""
    chains: dict[str, dict[str, Stream]] = {}
    for stream in streams:
        if stream.kind not in _KINDS:
            raise ValueError(
                f"Streams must be chains, of kind 'adjacent' or 'triplets', but {stream.name!r} is of kind "
                f"{stream.kind!r}: leave it out."
            )
        own = chains.setdefault(stream.channels[0], {})
        if stream.kind in own:
            raise ValueError(
                f"A channel takes one stream of each kind, but {own[stream.kind].name!r} and {stream.name!r} "
                f"are both {stream.kind!r} of {stream.channels[0]!r}: leave one out."
            )
        if stream.name not in densities:
            raise ValueError(
                f"Each stream needs a density, but {stream.name!r} is not among {sorted(densities)}: add it."
            )
        own[stream.kind] = stream
    n_classes = min((densities[s.name].n_classes for s in streams), default=0)
    fits = classes.shape == (light_curves.n_objects,) and np.issubdtype(classes.dtype, np.integer)
    if not fits or (classes.size and not (classes.min() >= 0 and classes.max() < n_classes)):
        raise ValueError(
            f"classes must be an index from 0 to {n_classes - 1} for each of {light_curves.n_objects} "
            f"objects, but {classes.dtype} of shape {classes.shape} or other numbers were found: use the "
            "densities' order."
        )
    if light_curves.quantity != "mag":
        raise ValueError(
            f"Chains are of magnitudes, but the light curves hold {light_curves.quantity!r}: convert them "
            "with as_magnitudes."
        )
    return {channel: own for channel, own in chains.items() if channel in light_curves.channels}
