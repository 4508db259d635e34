"""Light curves sampled from fitted class densities, for examples, tests and demonstrations.

A simulator of *marginal* densities: at every time the distribution of the magnitude is that of the class,
and points of one curve are joined by a Gaussian copula of a stated timescale. It does not know sub-types,
physics or the true joint distribution; what is learned from it is no measure of performance on real data.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr

__all__ = [
    "MagnitudeTable",
    "PeakTable",
    "ornstein_uhlenbeck",
    "peak_rows_in_time",
    "simulate_peak_curves",
    "table_quantile",
]

TIMESCALE = 20.0


class PeakTable(NamedTuple):
    """Density of magnitudes relative to the peak, for one channel."""

    true: np.ndarray  # (C, R, J) probabilities of true cells, rows in order of time
    grid: Any  # has column_edges, (J + 1,) [mag]
    row_time_edges: np.ndarray  # (R + 1,) ascending, time since the peak [day]


class MagnitudeTable(NamedTuple):
    """Density of peak magnitudes, for one channel."""

    true: np.ndarray  # (C, 1, J)
    grid: Any  # has column_edges, (J + 1,) [mag]
    offset: float = 0.0  # added to what is drawn [mag]


def simulate_peak_curves(
    rng: np.random.Generator,
    densities: Mapping[str, PeakTable | tuple],
    peak_magnitude: Mapping[str, MagnitudeTable | tuple],
    classes: np.ndarray,
    cadence: Sequence[tuple[np.ndarray, Sequence[str]]],
    error_model: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    limiting_magnitude: Mapping[str, float] | None = None,
    timescale: float = TIMESCALE,
    shared: float = 0.7,
    shared_peak: float = 0.98,
    peak_mjd: float = 60000.0,
    object_ids: Sequence[str] | None = None,
) -> pd.DataFrame:
    r"""Sample light curves with a given cadence and errors.

    For a point at time t in channel k of an object of class c the magnitude is
    :math:`m = M_k + Q_{ck}(\Phi(z_k(t)); t) + \sigma e`. :math:`M_k` is the quantile of the table of peak
    magnitudes at :math:`\Phi` of a standard normal number, correlated between channels; :math:`Q` is the
    quantile function of the density relative to the peak, interpolated in time between the middles of
    neighbouring rows; z is a standard Ornstein-Uhlenbeck process (see `ornstein_uhlenbeck`) with variance
    `shared` common to the channels, and e is standard normal.

    Parameters
    ----------
    rng : numpy.random.Generator
    densities : mapping of str to PeakTable
        For each channel "SURVEY/band" the tuple (true, grid, row_time_edges).
    peak_magnitude : mapping of str to MagnitudeTable
        For each channel the tuple (true, grid) or (true, grid, offset).
    classes : int array, shape (n_objects,)
        Index of each object's class on the tables' first axis.
    cadence : sequence of tuple, length n_objects
        Times since the peak [day] and the channel of each point, in any order.
    error_model : callable
        Given magnitudes without noise and their channels, both of shape (n_points,), returns positive
        1-sigma errors of the same shape [mag].
    limiting_magnitude : mapping of str to float, optional
        A point observed fainter than its channel's becomes an upper limit of that value [mag]. By default,
        and in channels that are not named, all are detections.
    timescale : float
        Of the process, positive [day].
    shared, shared_peak : float
        Correlation between channels of the process and of the peak magnitudes, 0 to 1.
    peak_mjd : float
        Time of every object's peak [MJD, day].
    object_ids : sequence of str, optional
        Names; by default "sim0", "sim1" and so on.

    Returns
    -------
    pandas.DataFrame
        object_id, survey, band, mjd, mag, mag_err (NaN for upper limits), upper_limit; sorted by object,
        then time.

    Raises
    ------
    ValueError
        If lengths do not fit, a class or channel is not in the tables, or an option is outside its range.
    """
    classes = np.asarray(classes)
    names = [f"sim{i}" for i in range(len(classes))] if object_ids is None else list(object_ids)
    _check(densities, peak_magnitude, classes, cadence, names, timescale, (shared, shared_peak))
    channels = tuple(name for name in densities if name in peak_magnitude)
    owner = np.repeat(np.arange(len(classes)), [len(times) for times, _ in cadence])
    time = np.concatenate([np.zeros(0), *(np.asarray(times, dtype=np.float64) for times, _ in cadence)])
    channel = np.array([channels.index(name) for _, used in cadence for name in used], dtype=np.int64)
    order = np.lexsort((channel, time, owner))
    time, channel = time[order], channel[order]

    latent = ornstein_uhlenbeck(rng, owner, time, timescale, 1 + len(channels))
    own = np.take_along_axis(latent[1:], channel[None], axis=0)[0]
    level = ndtr(np.sqrt(shared) * latent[0] + np.sqrt(1.0 - shared) * own)
    common, single = (
        rng.standard_normal((1, len(classes))),
        rng.standard_normal((len(channels), len(classes))),
    )
    peak_level = ndtr(np.sqrt(shared_peak) * common + np.sqrt(1.0 - shared_peak) * single)

    magnitude = np.empty_like(time)
    for k, name in enumerate(channels):
        here = channel == k
        table = MagnitudeTable(*peak_magnitude[name])
        cumulative = cumulative_table(table.true)[classes, 0]
        peak = table_quantile(cumulative, table.grid.column_edges, peak_level[k]) + table.offset
        change = _change(PeakTable(*densities[name]), classes[owner[here]], time[here], level[here])
        magnitude[here] = peak[owner[here]] + change
    label = np.array(channels, dtype=str)[channel]
    error = np.asarray(error_model(magnitude, label), dtype=np.float64)
    if error.shape != time.shape or not (np.isfinite(error) & (error > 0)).all():
        raise ValueError(
            "error_model must return one positive error a point, but it returned an array of shape "
            f"{error.shape} for {len(time)} points or numbers that are not: correct the function."
        )
    observed = magnitude + error * rng.standard_normal(len(time))
    limits = limiting_magnitude or {}
    limit = np.array([limits.get(name, np.inf) for name in channels])[channel]
    fainter = observed > limit
    parts = [name.rpartition("/") for name in channels]
    return pd.DataFrame(
        {
            "object_id": np.array(names, dtype=str)[owner],
            "survey": np.array([part[0] for part in parts], dtype=str)[channel],
            "band": np.array([part[2] for part in parts], dtype=str)[channel],
            "mjd": peak_mjd + time,
            "mag": np.where(fainter, limit, observed),
            "mag_err": np.where(fainter, np.nan, error),
            "upper_limit": fainter,
        }
    )


def ornstein_uhlenbeck(
    rng: np.random.Generator, owner: np.ndarray, time: np.ndarray, timescale: float, n_processes: int
) -> np.ndarray:
    r"""Sample independent standard Ornstein-Uhlenbeck processes at each object's times.

    .. math:: z_i = \rho_i z_{i-1} + \sqrt{1 - \rho_i^2}\, e_i, \qquad \rho_i = e^{-(t_i - t_{i-1})/\tau}

    Parameters
    ----------
    rng : numpy.random.Generator
    owner : int array, shape (n_points,)
        Object of each point, ascending.
    time : float array, shape (n_points,)
        Ascending within an object [day].
    timescale : float
        The time tau, positive [day].
    n_processes : int
        Number of processes an object.

    Returns
    -------
    float64 array, shape (n_processes, n_points)
        Of mean 0 and variance 1 at every time; objects are independent.
    """
    z = rng.standard_normal((n_processes, len(time)))
    first = np.searchsorted(owner, owner)
    rank = np.arange(len(time)) - first
    for step in range(1, int(rank.max(initial=0)) + 1):
        point = np.flatnonzero(rank == step)
        rho = np.exp(-(time[point] - time[point - 1]) / timescale)
        z[:, point] = rho * z[:, point - 1] + np.sqrt(1.0 - rho**2) * z[:, point]
    return z


def table_quantile(cumulative: np.ndarray, column_edges: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Quantiles of densities constant within cells.

    Parameters
    ----------
    cumulative : float array, shape (n_points, J + 1)
        Cumulative probability at each edge, from 0 to 1, one distribution a point.
    column_edges : float array, shape (J + 1,)
        Edges of the cells [mag].
    level : float array, shape (n_points,)
        Probability below the quantile, 0 to 1.

    Returns
    -------
    float64 array, shape (n_points,)
        Within the edges [mag].
    """
    edges = np.asarray(column_edges, dtype=np.float64)
    cell = np.clip((cumulative[:, 1:-1] <= level[:, None]).sum(axis=1), 0, len(edges) - 2)
    point = np.arange(len(level))
    low, high = cumulative[point, cell], cumulative[point, cell + 1]
    inside = np.clip((level - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    return edges[cell] + inside * (edges[cell + 1] - edges[cell])


def peak_rows_in_time(true: np.ndarray, lag_edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put rows (before, after) x lag of a density relative to the peak into the order of time.

    Parameters
    ----------
    true : float array, shape (C, 2 L, J)
        Rows before the peak by ascending lag, then rows after it.
    lag_edges : float array, shape (L + 1,)
        Positive, ascending [day].

    Returns
    -------
    true : float array, shape (C, 2 L, J)
        Rows by ascending time.
    row_time_edges : float64 array, shape (2 L + 1,)
        The two first lag bins reach to the peak itself [day].
    """
    n_lags = len(lag_edges) - 1
    ordered = np.concatenate([true[:, :n_lags][:, ::-1], true[:, n_lags:]], axis=1)
    beyond = np.asarray(lag_edges, dtype=np.float64)[1:]
    return ordered, np.concatenate([-beyond[::-1], [0.0], beyond])


def _change(table: PeakTable, classes: np.ndarray, time: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Magnitudes relative to the peak: quantiles interpolated between the middles of rows."""
    edges = np.asarray(table.row_time_edges, dtype=np.float64)
    middle = 0.5 * (edges[1:] + edges[:-1])
    place = np.interp(time, middle, np.arange(len(middle)))
    before = np.floor(place).astype(np.int64)
    after = np.minimum(before + 1, len(middle) - 1)
    cumulative = cumulative_table(table.true)
    column_edges = table.grid.column_edges
    earlier = table_quantile(cumulative[classes, before], column_edges, level)
    later = table_quantile(cumulative[classes, after], column_edges, level)
    return earlier + (place - before) * (later - earlier)


def cumulative_table(true: np.ndarray) -> np.ndarray:
    """Cumulative probability at each edge, from 0 to 1, of densities along the last axis."""
    cumulative = np.cumsum(np.asarray(true, dtype=np.float64), axis=-1)
    cumulative = cumulative / cumulative[..., -1:]
    return np.concatenate([np.zeros((*cumulative.shape[:-1], 1)), cumulative], axis=-1)


def _check(densities, peak_magnitude, classes, cadence, names, timescale, correlations) -> None:
    if not len(cadence) == len(names) == len(classes):
        raise ValueError(
            "classes, cadence and object_ids must have one entry an object, but they have "
            f"{len(classes)}, {len(cadence)} and {len(names)}: give the same number."
        )
    for i, (times, used) in enumerate(cadence):
        unknown = sorted(set(used) - (set(densities) & set(peak_magnitude)))
        if unknown:
            raise ValueError(
                f"Channels of the cadence must have both tables, but object {names[i]} uses {unknown[0]!r}; "
                f"known are {sorted(set(densities) & set(peak_magnitude))}: add the table or drop the points."
            )
        if len(times) != len(used):
            raise ValueError(
                f"A cadence needs one channel a time, but object {names[i]} has {len(times)} times and "
                f"{len(used)} channels: give both for each point."
            )
    tables = [*densities.values(), *peak_magnitude.values()]
    n_classes = min((len(table[0]) for table in tables), default=0)
    if classes.size and not (classes.min() >= 0 and classes.max() < n_classes):
        raise ValueError(
            f"classes must be indices from 0 to {n_classes - 1}, but {classes.min()} to {classes.max()} were "
            "found: use the order of the tables' first axis."
        )
    if not timescale > 0 or not all(0 <= value <= 1 for value in correlations):
        raise ValueError(
            f"timescale must be positive and correlations 0 to 1, but timescale={timescale!r} and "
            f"(shared, shared_peak)={correlations}: change them."
        )
