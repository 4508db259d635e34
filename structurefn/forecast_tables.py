"""Tables that forecasts rest on: changes between pairs of points, by class and level of activity."""

from dataclasses import dataclass, replace

import numpy as np

from structurefn.counting import count_events
from structurefn.density import Density, fit_density
from structurefn.grids import Grid
from structurefn.light_curves import LightCurves
from structurefn.response import response_matrix
from structurefn.streams import Stream

PAIR_GRID = Grid(
    row_shape=(14,),
    column_range=(-6.0, 6.0),
    n_columns=44,
    column_scale=0.1,
    error_range=(0.01, 0.64),
    n_errors=6,
    lag_range=(0.02, 2000.0),
)

# Lags before (2), lags to the forecast as in PAIR_GRID, changes before (5); errors more coarsely.
TREND_GRID = replace(PAIR_GRID, row_shape=(2, PAIR_GRID.n_rows, 5), n_errors=3)
# As in `structurefn.events.triplet_cells`: equal in asinh(dm / 0.2) between -2 and 2 mag.
TREND_EDGES = (
    0.2 * np.sinh(np.linspace(-np.arcsinh(10.0), np.arcsinh(10.0), TREND_GRID.row_shape[2] + 1))[1:-1]
)


@dataclass(frozen=True, eq=False)
class Tables:
    """Densities of pairs and magnitudes, for C classes of M levels each: S = C M densities.

    Attributes
    ----------
    channels : tuple of str
        B channels.
    changes : float32 array, shape (2 B B + B 2 5, R, S, J)
        Distribution of the change from a point in channel a to the forecast in channel b, at a B + b for
        earlier points; further B B tables for points later than the forecast; then, for each channel, of the
        change from its last point given the lag and the change before that, as in `TREND_GRID`.
    observed : float32 array, shape (B B, R, E, J, S)
        Log-probability of observed changes, by error bin.
    magnitude : float32 array, shape (B, S, G0)
        Distribution of magnitudes.
    magnitude_edges : float array, shape (G0 + 1,)
    level : float array, shape (C, M)
        Share of the levels in each class.
    centre : float array, shape (B,)
        Median magnitude of each channel, the reference where there is no history.
    error : float array, shape (B,)
        Median error of each channel.
    """

    channels: tuple[str, ...]
    changes: np.ndarray
    observed: np.ndarray
    magnitude: np.ndarray
    magnitude_edges: np.ndarray
    level: np.ndarray
    centre: np.ndarray
    error: np.ndarray


class Sample:
    """Counts of a sample's pairs and magnitudes, from which tables are fitted for any membership."""

    def __init__(self, curves: LightCurves):
        self.curves = curves
        self.channels = curves.channels
        low, high = np.floor(curves.value.min()) - 1.0, np.ceil(curves.value.max()) + 1.0
        self.magnitude_grid = Grid(
            row_shape=(1,),
            column_range=(low, high),
            n_columns=int(4 * (high - low)),
            n_errors=4,
            error_range=PAIR_GRID.error_range,
        )
        streams = [
            Stream(f"{a} {b}", "pairs", (a, b), grid=PAIR_GRID) for a in self.channels for b in self.channels
        ]
        streams += [Stream(f"{a} trend", "triplets", (a,), grid=TREND_GRID) for a in self.channels]
        streams += [Stream(f"{a}", "magnitude", (a,), grid=self.magnitude_grid) for a in self.channels]
        self.counts = [counts for _, counts in count_events(curves, streams)]
        self.responses = [response_matrix(x.grid.column_edges, x.grid.error_centres) for x in streams]
        self.strength = [None] * len(self.counts)

    def tables(self, membership: np.ndarray, chosen: np.ndarray, level_share: np.ndarray) -> Tables:
        """Fit all tables to the chosen objects with this membership, shape (n_objects, C * M)."""
        b = len(self.channels)
        fitted: list[Density] = []
        for i, counts in enumerate(self.counts):
            options = {"strength": self.strength[i], "object_power": 0.5, "n_iter": 50}
            response = self.responses[i]
            if b * b <= i < b * (b + 1):
                # Where few triplets of a kind are known, they are as pairs of the same lag.
                pairs = fitted[(i - b * b) * (b + 1)].true
                n_before, n_lags, n_changes = TREND_GRID.row_shape
                parent = np.broadcast_to(
                    pairs[:, None, :, None], (len(pairs), n_before, n_lags, n_changes, pairs.shape[-1])
                )
                options["parent"] = parent.reshape(len(pairs), -1, pairs.shape[-1])
            density = fit_density(counts[chosen], membership[chosen], response, **options)
            self.strength[i] = density.strength
            fitted.append(density)
        pairs, trends, magnitudes = fitted[: b * b], fitted[b * b : b * (b + 1)], fitted[b * (b + 1) :]
        true = np.array([d.true for d in pairs]).transpose(0, 2, 1, 3)
        # A later point's change is the forecast's with the sign turned, and the channels in the other order.
        backward = true.reshape(b, b, *true.shape[1:]).swapaxes(0, 1).reshape(true.shape)[..., ::-1]
        trend = np.array([d.true.reshape(len(d.true), *TREND_GRID.row_shape, -1) for d in trends])
        trend = trend.transpose(0, 2, 4, 3, 1, 5).reshape(-1, *true.shape[1:])
        seen = [self.curves.channel == k for k in range(b)]
        everything = np.ones(self.curves.n_points, dtype=bool)
        return Tables(
            channels=self.channels,
            changes=np.concatenate([true, backward, trend]).astype(np.float32),
            observed=np.array([d.observed for d in pairs]).transpose(0, 2, 3, 4, 1).astype("f4"),
            magnitude=np.array([d.true[:, 0] for d in magnitudes], dtype=np.float32),
            magnitude_edges=self.magnitude_grid.column_edges,
            level=level_share,
            centre=np.array([np.median(self.curves.value[s if s.any() else everything]) for s in seen]),
            error=np.array([np.median(self.curves.error[s if s.any() else everything]) for s in seen]),
        )


def chain_log_likelihood(curves: LightCurves, tables: Tables) -> np.ndarray:
    """Log-likelihood of each point but the first given the one before, summed up to and with each point.

    Returns
    -------
    float64 array, shape (n_points, S)
        Zero at an object's first point.
    """
    step = np.zeros((curves.n_points, tables.observed.shape[-1]))
    owner = curves.object_index
    here = np.flatnonzero(owner[1:] == owner[:-1]) + 1
    before = here - 1
    pair = curves.channel[before].astype(int) * len(tables.channels) + curves.channel[here]
    error = np.hypot(curves.error[here], curves.error[before])
    bins = np.geomspace(*PAIR_GRID.error_range, PAIR_GRID.n_errors + 1)
    row = np.searchsorted(PAIR_GRID.lag_edges[1:-1], curves.time[here] - curves.time[before], side="right")
    column = np.searchsorted(
        PAIR_GRID.column_edges[1:-1], curves.value[here] - curves.value[before], side="right"
    )
    step[here] = tables.observed[pair, row, np.searchsorted(bins[1:-1], error, side="right"), column]
    total = np.cumsum(step, axis=0)
    first = curves.offset[:-1][owner]
    return total - total[first]


def fit_levels(
    sample: Sample, membership: np.ndarray, n_levels: int, n_iter: int = 3
) -> tuple[Tables, np.ndarray]:
    """Divide each class into levels of activity by expectation-maximisation on the chains; fit all tables.

    Returns the tables and the membership in class and level, shape (n_objects, C * M).
    """
    curves, (n, n_classes) = sample.curves, membership.shape
    owner = curves.object_index
    change = np.where(owner[1:] == owner[:-1], np.diff(curves.value), 0.0)
    steps = np.maximum(np.diff(curves.offset) - 1, 0)
    squares = np.bincount(owner[1:], change**2, minlength=n)
    share = np.full((n, n_levels), 1.0 / n_levels)
    activity = squares / np.maximum(steps, 1)
    for k in range(n_classes):
        members = np.flatnonzero(
            (membership.argmax(axis=1) == k) & (steps > 0) & (membership.sum(axis=1) > 0)
        )
        rank = np.argsort(np.argsort(activity[members], kind="stable"), kind="stable")
        share[members] = np.eye(n_levels)[rank * n_levels // max(len(members), 1)]
    share = np.repeat(share[:, None], n_classes, axis=1)
    everything = np.ones(n, dtype=bool)
    for number in range(n_iter + 1):
        joint = (membership[:, :, None] * share).reshape(n, -1)
        level = (membership[:, :, None] * share).sum(axis=0) + 1.0
        level /= level.sum(axis=1, keepdims=True)
        tables = sample.tables(joint, everything, level)
        if number == n_iter or n_levels == 1:
            return tables, joint
        last = np.maximum(curves.offset[1:] - 1, 0)
        chain = (
            chain_log_likelihood(curves, tables)[last] if curves.n_points else np.zeros((n, joint.shape[1]))
        )
        chain = np.where((steps > 0)[:, None], chain, 0.0)
        share = level_share(tables, chain, 1.0)


def level_share(tables: Tables, chain: np.ndarray, evidence: float) -> np.ndarray:
    """Probability of each level given the class and the chain's log-likelihood, shape (n, C, M)."""
    log_joint = np.log(tables.level) + evidence * chain.reshape(len(chain), *tables.level.shape)
    weight = np.exp(log_joint - log_joint.max(axis=-1, keepdims=True))
    return weight / weight.sum(axis=-1, keepdims=True)
