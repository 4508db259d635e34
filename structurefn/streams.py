"""Streams: which events of which channels are counted, on which grid."""

from dataclasses import dataclass, field
from functools import partial

from structurefn import events
from structurefn.grids import Grid

DIFFERENCES = {"column_range": (-4.0, 4.0), "column_scale": 0.1, "error_range": (0.02, 0.64), "n_errors": 5}
DEVIATIONS = {"column_range": (-30.0, 30.0), "column_scale": 1.0, "n_columns": 24}
LAGS = (0.005, 3000.0)
PEAK = {
    "row_shape": (2, 8),
    "column_scale": 0.2,
    "error_range": (0.02, 0.64),
    "n_errors": 3,
    "lag_range": (1.0, 2000.0),
}

# kind -> (kernel, number of channels, needs one channel alone, default grid)
KINDS = {
    "pairs": (
        events.pair_cells,
        2,
        False,
        Grid(row_shape=(12,), n_columns=32, lag_range=LAGS, **DIFFERENCES),
    ),
    "scaled-pairs": (
        partial(events.pair_cells, scaled=True),
        2,
        False,
        Grid(row_shape=(12,), lag_range=LAGS, **DEVIATIONS),
    ),
    "adjacent": (
        events.adjacent_cells,
        1,
        True,
        Grid(row_shape=(10,), n_columns=32, lag_range=(0.02, 1000.0), **DIFFERENCES),
    ),
    "triplets": (
        events.triplet_cells,
        1,
        True,
        Grid(row_shape=(3, 3, 5), n_columns=20, lag_range=(0.5, 500.0), **(DIFFERENCES | {"n_errors": 3})),
    ),
    "level": (events.level_cells, 1, False, Grid(row_shape=(1,), n_columns=32, **DIFFERENCES)),
    "scaled-level": (partial(events.level_cells, scaled=True), 1, False, Grid(row_shape=(1,), **DEVIATIONS)),
    "peak": (events.peak_cells, 1, False, Grid(column_range=(-0.6, 6.0), n_columns=24, **PEAK)),
    "cross-peak": (events.peak_cells, 2, False, Grid(column_range=(-3.0, 6.0), n_columns=28, **PEAK)),
    "magnitude": (
        events.magnitude_cells,
        1,
        False,
        Grid(row_shape=(1,), column_range=(10.0, 24.0), n_columns=28),
    ),
    # No kernel: the archival magnitude is no part of the light curve, see `structurefn.contrast`.
    "contrast": (None, 1, False, Grid(row_shape=(2, 1), column_range=(-9.0, 5.0), n_columns=28)),
    # No kernel: all channels together give one distribution, of log10 period, see `structurefn.periods`.
    "period": (None, None, False, Grid(row_shape=(1,), column_range=(-0.7, 3.1), n_columns=48)),
    # No kernel: which detection a limit refers to is known only from all streams, see `structurefn.limits`.
    "limits": (
        None,
        2,
        False,
        Grid(column_range=(-4.0, 8.0), n_columns=28, **(PEAK | {"lag_range": (0.5, 1000.0)})),
    ),
}

# Kinds whose row is one lag, so that its bins may be any.
LAG_KINDS = ("pairs", "scaled-pairs", "adjacent")
# Kinds that look at all their channels together.
JOINT_KINDS = tuple(kind for kind, (_, n_channels, _, _) in KINDS.items() if n_channels != 1)
# Kinds without a kernel: `count_events` does not count them, but a function `count_<kind>` each.
COUNTED_APART = tuple(kind for kind, (kernel, _, _, _) in KINDS.items() if kernel is None)


@dataclass(frozen=True)
class Stream:
    """One kind of event in one channel, or an ordered pair of channels.

    Parameters
    ----------
    name : str
    kind : str
        One of `KINDS`.
    channels : tuple of str
        "SURVEY/band"; two for pairs (earlier, later), cross-peak (reference, measured) and limits
        (reference, limit); one or more for period.
    nightly : bool
        Whether exposures of one night are averaged first.
    trained : bool
        Whether its map is among those that a classifier is trained on; never for limits.
    weight : float
        Factor of its map among the maps of all streams, whose mean squared norms are equal otherwise.
    grid : Grid, optional
        The kind's own by default.
    reference : str, optional
        Kind contrast: name of the archival magnitudes, which whoever counts provides.
    limit : float, optional
        Kind contrast: magnitude to which the archive was searched where it found nothing [mag].

    Raises
    ------
    ValueError
        If the kind is unknown or the number of channels is wrong.
    """

    name: str
    kind: str
    channels: tuple[str, ...]
    nightly: bool = False
    trained: bool = True
    weight: float = 1.0
    grid: Grid = field(default=None)
    reference: str | None = None
    limit: float | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"stream {self.name!r}: kind must be one of {sorted(KINDS)}, not {self.kind!r}.")
        _, n_channels, _, grid = KINDS[self.kind]
        if len(self.channels) != (n_channels or max(len(self.channels), 1)):
            takes = n_channels or "at least one"
            raise ValueError(
                f"stream {self.name!r} of kind {self.kind!r} takes {takes} channel(s), "
                f"but has {list(self.channels)}."
            )
        if self.kind in ("limits", "period") and self.nightly:
            raise ValueError(
                f"stream {self.name!r}: {self.kind} takes single exposures, but nightly is set: leave it out."
            )
        if self.kind == "limits":
            object.__setattr__(self, "trained", False)
        if self.grid is None:
            object.__setattr__(self, "grid", grid)
        if self.grid.own_lags and self.kind not in LAG_KINDS:
            raise ValueError(
                f"stream {self.name!r}: a grid of one's own edges needs a kind whose row is one lag "
                f"({', '.join(LAG_KINDS)}), not {self.kind!r}."
            )

    @property
    def kernel(self):
        """The counting kernel of `structurefn.events`.

        Raises
        ------
        ValueError
            For limits, contrast and period, which have functions of their own.
        """
        if self.kind in COUNTED_APART:
            raise ValueError(
                f"stream {self.name!r}: kind {self.kind!r} has no kernel, but is to be counted with one: use "
                f"structurefn.count_{self.kind}."
            )
        return KINDS[self.kind][0]

    @property
    def alone(self) -> bool:
        """Whether the kernel needs points of its channel only."""
        return KINDS[self.kind][2]
