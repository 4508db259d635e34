"""History of each forecast in padded arrays, and the weights of the pool, fitted on held-out objects."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize
from scipy.special import ndtr

from structurefn.forecast_pool import CELL_EDGES, History, pool, prior_cells, single_points
from structurefn.forecast_tables import (
    PAIR_GRID,
    TREND_EDGES,
    TREND_GRID,
    Sample,
    Tables,
    chain_log_likelihood,
    fit_levels,
)
from structurefn.light_curves import LightCurves

N_HISTORY = 24
BLOCK = 32
N_FOLDS = 3
N_TARGETS = 500
# Logarithms of the scales, plain exponents: one point weighs one, the tenth before last a tenth.
START = {
    "rank": 1.0,
    "lag": 0.0,
    "other": -1.0,
    "trend": -1.0,
    "trend_lag": 0.0,
    "beside": 0.0,
    "prior": -1.0,
    "prior_rank": 0.5,
    "evidence": 0.0,
}
_RIDGE = 1e-3


class Rows(NamedTuple):
    """What is to be forecast, one row each, with its history."""

    history: History  # numpy arrays
    reference: np.ndarray  # (n,) float64, magnitude from which values are counted [mag]
    channel: np.ndarray  # (n,) int, index into the tables' channels
    last: np.ndarray  # (n,) int, the point of the batch before the forecast; -1 for none


def gather(
    curves: LightCurves, tables: Tables, owner: np.ndarray, time: np.ndarray, channel: np.ndarray, later: bool
) -> Rows:
    """Collect the last points strictly before each time, and with `later` the next ones after it."""
    begin = curves.offset[owner]
    before = _points_until(curves, owner, time, False)
    place = np.arange(N_HISTORY)
    point, valid = (begin + before)[:, None] - 1 - place, place < before[:, None]
    if later:
        until = _points_until(curves, owner, time, True)
        after = curves.offset[owner + 1] - begin - until
        point = np.hstack([point, (begin + until)[:, None] + place])
        valid = np.hstack([valid, place < after[:, None]])
    point = np.where(valid, point, 0)
    columns = {name: getattr(curves, name) for name in ("time", "value", "error", "channel")}
    if not curves.n_points:
        columns = {name: np.zeros(1, dtype=leaf.dtype) for name, leaf in columns.items()}
    # Harmless numbers where there is no point.
    code = np.where(valid, columns["channel"][point].astype(int), 0)
    lag = np.where(valid, np.abs(time[:, None] - columns["time"][point]), 1.0)
    own = valid & (code == channel[:, None])
    nearest = np.where(own.any(axis=1), own.argmax(axis=1), valid.argmax(axis=1))
    some = np.arange(len(owner))
    reference = np.where(valid.any(axis=1), columns["value"][point[some, nearest]], tables.centre[channel])
    n_channels = len(tables.channels)
    backward = np.arange(point.shape[1]) >= N_HISTORY
    table = code * n_channels + channel[:, None]
    low, high = np.log(PAIR_GRID.lag_range)
    row = (np.log(np.maximum(lag, 1e-6)) - low) / (high - low) * PAIR_GRID.n_rows - 0.5
    history = History(
        value=np.where(valid, columns["value"][point] - reference[:, None], 0.0),
        error=np.where(valid, columns["error"][point], 1.0),
        lag=lag,
        rank=np.broadcast_to(np.tile(place, 1 + later), point.shape),
        other=valid & ~own,
        trend=np.zeros_like(valid),
        table=table + n_channels**2 * backward,
        row=np.clip(row, 0.0, PAIR_GRID.n_rows - 1.0),
        valid=valid,
    )
    history = _with_trend(history, own[:, :N_HISTORY], channel, n_channels)
    return Rows(history, reference, channel, np.where(before > 0, begin + before - 1, -1))


def _with_trend(history: History, own: np.ndarray, channel: np.ndarray, n_channels: int) -> History:
    """Append the last point of the channel once more, with the table of the change before it."""
    some = np.arange(len(own))
    last = own.argmax(axis=1)
    rest = own.copy()
    rest[some, last] = False
    second = rest.argmax(axis=1)
    known = rest.any(axis=1)
    change = np.where(known, history.value[some, last] - history.value[some, second], 0.0)
    lag = np.where(known, history.lag[some, second] - history.lag[some, last], 1.0)
    n_before, _, n_changes = TREND_GRID.row_shape
    before = np.geomspace(*TREND_GRID.lag_range, n_before + 1)[1:-1]
    kind = np.searchsorted(before, lag, side="right") * n_changes
    kind += np.searchsorted(TREND_EDGES, change, side="right")
    table = 2 * n_channels**2 + channel * n_before * n_changes + kind
    added = history._replace(table=np.broadcast_to(table[:, None], history.table.shape))
    one = History(*(leaf[some, last][:, None] for leaf in added))
    one = one._replace(valid=known[:, None], trend=np.ones_like(one.valid))
    joined = History(*(np.concatenate(pair, axis=1) for pair in zip(history, one, strict=True)))
    return History(
        *(leaf.astype({"f": np.float32, "i": np.int32, "b": bool}[leaf.dtype.kind]) for leaf in joined)
    )


def _points_until(curves: LightCurves, owner: np.ndarray, time: np.ndarray, inclusive: bool) -> np.ndarray:
    """Count the points of each row's object before its time, or until and at it; no loop over objects."""
    owners = np.concatenate([owner, curves.object_index])
    times = np.concatenate([time, curves.time])
    is_point = np.arange(len(owners)) >= len(owner)
    order = np.lexsort((is_point != inclusive, times, owners))
    count = np.empty(len(owners), dtype=np.int64)
    count[order] = np.cumsum(is_point[order])
    return count[: len(owner)] - curves.offset[owner]


def pieces(rows: Rows, tables: Tables, columns: slice, chosen: np.ndarray):
    """Log-densities of single points and of the magnitude for some rows, on padded blocks; jax arrays."""
    padded = np.concatenate([chosen, np.zeros(-len(chosen) % BLOCK, dtype=chosen.dtype)])
    edges = jnp.asarray(PAIR_GRID.column_edges, jnp.float32)
    table = jnp.asarray(tables.changes[:, :, columns])
    for start in range(0, len(padded), BLOCK):
        index = padded[start : start + BLOCK]
        history = History(*(jnp.asarray(leaf[index]) for leaf in rows.history))
        magnitude = jnp.asarray(tables.magnitude[rows.channel[index]][:, columns])
        prior = prior_cells(
            magnitude,
            jnp.asarray(tables.magnitude_edges, jnp.float32),
            jnp.asarray(rows.reference[index], jnp.float32),
        )
        n = min(BLOCK, len(chosen) - start)
        yield index[:n], history, single_points(history, table, edges), prior


def fit_weights(
    sample: Sample, membership: np.ndarray, joint: np.ndarray, groups: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Weights of the pool under which the real next points of held-out objects are most probable.

    Parameters
    ----------
    sample : Sample
    membership : float array, shape (n_objects, C)
        Objects that belong wholly to one class serve as targets.
    joint : float array, shape (n_objects, C * M)
        Membership in class and level, for the tables.
    groups : int array, shape (n_objects,)
        Objects of one group are held out together.
    seed : int
        Of the folds and of the points taken.

    Returns
    -------
    dict of str to ndarray
        Parameters of `structurefn.forecast_pool.pool`; those of START where there is no target.
    """
    curves, rng = sample.curves, np.random.default_rng(seed)
    n_classes = membership.shape[1]
    n_levels = joint.shape[1] // n_classes
    _, group = np.unique(groups, return_inverse=True)
    fold = rng.integers(0, N_FOLDS, group.max(initial=0) + 1)[group]
    whole = (membership > 0).sum(axis=1) == 1
    owner = curves.object_index
    candidates = np.flatnonzero(whole[owner] & (np.arange(curves.n_points) > curves.offset[:-1][owner]))
    # Objects rather than points are drawn equally: a long curve gives no more targets than a short one.
    first = np.lexsort((rng.random(len(candidates)), owner[candidates]))
    _, begin = np.unique(owner[candidates[first]], return_index=True)
    turn = np.arange(len(first)) - np.repeat(begin, np.diff(np.append(begin, len(first))))
    target = np.sort(candidates[first][np.argsort(turn, kind="stable")[:N_TARGETS]])
    start = {name: jnp.float32(x) for name, x in START.items()} | {"total": jnp.zeros(n_levels)}
    stored = []
    for number in range(N_FOLDS):
        here = target[fold[owner[target]] == number]
        training = fold != number
        if not len(here) or not training.any():
            continue
        share = joint[training].sum(axis=0).reshape(n_classes, n_levels) + 1.0
        tables = sample.tables(joint, training, share / share.sum(axis=1, keepdims=True))
        chain = chain_log_likelihood(curves, tables)
        rows = gather(curves, tables, owner[here], curves.time[here], curves.channel[here].astype(int), False)
        own_class = membership[owner[here]].argmax(axis=1)
        for k in range(n_classes):
            columns = slice(k * n_levels, (k + 1) * n_levels)
            for index, *arrays in pieces(rows, tables, columns, np.flatnonzero(own_class == k)):
                # On the host, where cutting off the padding compiles nothing.
                arrays = [jax.tree.map(lambda leaf, n=index.size: np.asarray(leaf)[:n], x) for x in arrays]
                last = rows.last[index]
                evidence = np.where((last >= 0)[:, None], chain[last][:, columns], 0.0)
                chance = _chance(curves.value[here[index]] - rows.reference[index], curves.error[here[index]])
                prior_level = np.broadcast_to(np.log(tables.level[k]), evidence.shape)
                extra = (x.astype(np.float32) for x in (evidence, prior_level, chance))
                stored.append((*arrays, *extra))
    if not stored:
        return {name: np.asarray(x) for name, x in start.items()}
    everything = jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves)), *stored)
    origin, unravel = ravel_pytree(start)
    level = jnp.arange(n_levels)

    def loss(flat, history, singles, prior, evidence, prior_level, chance):
        theta = unravel(flat)
        probability = pool(theta, history, singles, prior, level)
        log_share = jax.nn.log_softmax(prior_level + jnp.exp(theta["evidence"]) * evidence, axis=1)
        density = jnp.sum(jnp.exp(log_share)[..., None] * probability * chance[:, None, :], axis=(1, 2))
        return -jnp.mean(jnp.log(density + 1e-12)) + _RIDGE * jnp.sum((flat - origin) ** 2)

    slope = jax.jit(jax.value_and_grad(loss))

    def evaluate(flat):
        value, gradient = slope(jnp.asarray(flat, jnp.float32), *everything)
        return float(value), np.asarray(gradient, dtype=np.float64)

    found = minimize(
        evaluate, np.asarray(origin, np.float64), jac=True, method="L-BFGS-B", options={"maxiter": 40}
    )
    return {name: np.asarray(x) for name, x in unravel(jnp.asarray(found.x, jnp.float32)).items()}


def _chance(value: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Density of an observed value given each cell of the true one, shape (n, G) [1/mag]."""
    below = ndtr((CELL_EDGES - value[:, None]) / error[:, None])
    return np.diff(below, axis=1) / np.diff(CELL_EDGES)


def fit(light_curves: LightCurves, membership: np.ndarray, n_levels: int, groups, seed: int):
    """Fit tables and weights; see `structurefn.forecast.Forecaster.fit`."""
    sample = Sample(light_curves)
    tables, joint = fit_levels(sample, membership, n_levels)
    return tables, fit_weights(sample, membership, joint, groups, seed)
