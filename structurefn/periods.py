r"""How likely each period is for a light curve: a periodogram of several channels, as a distribution.

A single best period would be one of many aliases for a sparse curve. The distribution over all of them is
flat there, and says so; it grows sharp with the points, and classes differ in where it does.
"""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from structurefn.counting import LENGTHS
from structurefn.events import Points
from structurefn.grids import Grid, bin_index
from structurefn.light_curves import LightCurves
from structurefn.maps import FULL_ROW
from structurefn.padding import PaddedGroup, pad_groups
from structurefn.streams import Stream

# Exponent of the likelihood. Shapes are no sinusoids and nights alias periods, so the full likelihood is far
# too sure of one of them (eros1, 5 folds: log-loss .363 with 1, .360 with 0.5).
TEMPERATURE = 0.5
# A sinusoid with a mean has three parameters: below five points a channel says nothing of periods.
FEWEST_POINTS = 5
# Frequencies in steps of 1 / (4 * span), as products of a coarse and a fine angle.
OVERSAMPLING, N_FINE = 4, 128
BLOCK, ROWS = 2**12, 16
SHORTEST_SPAN, LONGEST_SPAN = 8, 16384  # powers of two [day]


def frequencies(grid: Grid, span: float) -> np.ndarray:
    """Frequencies that curves of at most `span` days are searched at, shape (n,) [1/day].

    From one cycle in the span, or the longest period of the grid, to the shortest period, evenly.
    """
    step = 1.0 / (OVERSAMPLING * span)
    low = max(1.0 / span, 10.0 ** -grid.column_range[1])
    n = max(int(np.ceil((10.0 ** -grid.column_range[0] - low) / step)), 1)
    return low + step * np.arange(-(-n // N_FINE) * N_FINE)


def _sums(left, right):
    # Few digits of a GPU's default product would lose weak periods.
    return jnp.einsum("nal,nlb->nab", left, right, precision=jax.lax.Precision.HIGHEST)


def _angles(time, frequency):
    angle = 2.0 * jnp.pi * jnp.mod(time * frequency, 1.0)
    return jnp.cos(angle), jnp.sin(angle)


@partial(jax.jit, static_argnames=("grid", "span"))
def periodogram(
    points: Points, channel: Int[Array, ""], *, grid: Grid, span: float
) -> tuple[Float[Array, "n frequencies"], Int[Array, " n"]]:
    r"""Generalised Lomb-Scargle periodogram of one channel: sinusoid, floating mean, weights 1/s^2.

    Parameters
    ----------
    points : Points
        Shape (n, L), times from each object's first point [day].
    channel : int
    grid : Grid
        Columns are log10 of the period [day].
    span : float
        At least that of the objects [day].

    Returns
    -------
    power : float array, shape (n, n_frequencies)
        Share of the weighted variance that the sinusoid explains, in [0, 1).
    n_points : int array, shape (n,)
        Detections in the channel.

    References
    ----------
    Zechmeister & Kuerster (2009), A&A 496, 577, equations 4 to 15.
    """
    use = points.channel == channel
    weight = jnp.where(use, 1.0 / points.error**2, 0.0)
    total = weight.sum(axis=1, keepdims=True)
    weight = weight / jnp.where(total > 0, total, 1.0)
    # In two steps, because a mean of magnitudes near 20 leaves a rounding that faint periods would notice.
    residual = jnp.where(use, points.value - (weight * points.value).sum(axis=1, keepdims=True), 0.0)
    residual = jnp.where(use, residual - (weight * residual).sum(axis=1, keepdims=True), 0.0)
    every = jnp.asarray(frequencies(grid, span), points.time.dtype)
    coarse, fine = every[::N_FINE], every[:N_FINE] - every[0]
    (ca, sa), (cb, sb) = (
        _angles(points.time[:, None, :], coarse[None, :, None]),
        _angles(points.time[:, :, None], fine[None, None, :]),
    )

    def cosine_and_sine(amount, ca, sa, right):
        amount = amount[:, None, :]
        both = _sums(
            jnp.concatenate([jnp.concatenate([ca, -sa], axis=2), jnp.concatenate([sa, ca], axis=2)], axis=1)
            * jnp.concatenate([amount, amount], axis=2),
            right,
        )
        n_coarse = ca.shape[1]
        return both[:, :n_coarse].reshape(len(both), -1), both[:, n_coarse:].reshape(len(both), -1)

    once = jnp.concatenate([cb, sb], axis=1)
    twice = jnp.concatenate([cb**2 - sb**2, 2 * cb * sb], axis=1)
    c, s = cosine_and_sine(weight, ca, sa, once)
    yc, ys = cosine_and_sine(weight * residual, ca, sa, once)
    c2, s2 = cosine_and_sine(weight, ca**2 - sa**2, 2 * ca * sa, twice)
    cc, ss, cs = 0.5 * (1 + c2) - c**2, 0.5 * (1 - c2) - s**2, 0.5 * s2 - c * s
    determinant = jnp.maximum(cc * ss - cs**2, 1e-4)
    variance = jnp.maximum((weight * residual**2).sum(axis=1, keepdims=True), 1e-12)
    power = (ss * yc**2 + cc * ys**2 - 2 * cs * yc * ys) / (determinant * variance)
    return jnp.clip(power, 0.0, 1.0 - 1e-4), use.sum(axis=1)


@partial(jax.jit, static_argnames=("grid", "span"))
def period_distribution(
    points: Points, channels: Int[Array, " k"], *, grid: Grid, span: float
) -> tuple[Float[Array, "n columns"], Float[Array, " n"]]:
    r"""Distribution of an object's period, and the evidence that it has one.

    .. math:: p(f) \propto \frac{1}{f} \prod_b (1 - P_b(f))^{-T (n_b - 3) / 2}, \qquad
              E = (1 - T)^k \sum_f \pi(f) \prod_b (1 - P_b(f))^{-T (n_b - 3) / 2}

    with :math:`P_b` the periodogram of channel b; the product is the likelihood ratio of a sinusoid in each
    of k channels, errors known up to a factor, to a constant. Prior :math:`\pi(f) \propto 1/f`, equal
    in log period. For constant sources with Gaussian errors each factor has the mean 1/(1 - T) whatever the
    number of points, so that E has the mean 1: a value of 20 comes by chance at most once in 20.

    Parameters
    ----------
    points, grid, span
        As in `periodogram`.
    channels : int array, shape (k,)

    Returns
    -------
    distribution : float array, shape (n, n_columns)
        Over the columns of the grid, one in sum.
    log_evidence : float array, shape (n,)
        log E; minus infinity where no channel has five points.
    """
    frequency = frequencies(grid, span)
    log_ratio = jnp.zeros((len(points.time), len(frequency)))
    n_used = jnp.zeros(len(points.time))
    for channel in channels:
        power, n = periodogram(points, channel, grid=grid, span=span)
        enough = n >= FEWEST_POINTS
        log_ratio += jnp.where(enough, -0.5 * TEMPERATURE * (n - 3), 0.0)[:, None] * jnp.log1p(-power)
        n_used += enough
    log_prior = -np.log(frequency) - np.log((1.0 / frequency).sum())
    log_joint = log_ratio + jnp.asarray(log_prior, log_ratio.dtype)
    total = jax.nn.logsumexp(log_joint, axis=1)
    column = bin_index(-np.log10(frequency), grid.column_edges)
    share = jax.ops.segment_sum(jnp.exp(log_joint - total[:, None]).T, column, grid.n_columns).T
    log_evidence = jnp.where(n_used > 0, total + n_used * np.log1p(-TEMPERATURE), -jnp.inf)
    return share, log_evidence


def count_period(light_curves: LightCurves, stream: Stream) -> np.ndarray:
    r"""Distribution of each object's period, weighted by the probability that it has one.

    Parameters
    ----------
    light_curves : LightCurves
        Magnitudes. Upper limits are left out.
    stream : Stream
        Of kind "period"; its channels are searched together.

    Returns
    -------
    float32 array, shape (n_objects, 1, 1, n_columns)
        Columns are log10 of the period [day]; sums are 16 q, a full row of events, with q = E / (1 + E) (see
        `period_distribution`). Zero where no channel has five detections.

    Raises
    ------
    ValueError
        If the stream is of another kind.
    """
    if stream.kind != "period":
        raise ValueError(
            f"The stream must be of kind 'period', but stream {stream.name!r} is of kind {stream.kind!r}: "
            "count it with count_events."
        )
    grid = stream.grid
    counts = np.zeros((light_curves.n_objects, *grid.shape), dtype=np.float32)
    names = light_curves.channels
    codes = np.array([names.index(name) for name in stream.channels if name in names], dtype=np.int32)
    detections = light_curves.keep_points(~light_curves.upper_limit & np.isin(light_curves.channel, codes))
    for span, members in _by_span(detections):
        for group in pad_groups(detections.take_objects(members), LENGTHS, BLOCK):
            for rows in _slices(group):
                points = Points(
                    *(leaf[rows] for leaf in (group.time, group.value, group.error)),
                    np.where(group.valid[rows], group.channel[rows], -1),
                )
                share, log_evidence = period_distribution(points, codes, grid=grid, span=span)
                here = group.index[rows] >= 0
                certain = FULL_ROW / (1.0 + np.exp(-np.asarray(log_evidence, np.float64)))
                index = members[group.index[rows][here]]
                counts[index, 0, 0] = (certain[:, None] * np.asarray(share))[here]
    return counts


def _by_span(light_curves: LightCurves) -> Iterator[tuple[float, np.ndarray]]:
    """Objects that may have a period, by the power of two that their span does not exceed [day]."""
    count = np.diff(light_curves.offset)
    known = np.flatnonzero(count >= FEWEST_POINTS)
    first, last = light_curves.offset[known], light_curves.offset[known + 1] - 1
    span = light_curves.time[last] - light_curves.time[first]
    power = 2.0 ** np.ceil(np.log2(np.clip(span, SHORTEST_SPAN, LONGEST_SPAN)))
    for value in np.unique(power):
        yield float(value), known[power == value]


def _slices(group: PaddedGroup) -> Iterator[slice]:
    """Few rows at a time, since each needs an array over all frequencies; rows of padding left out."""
    for start in range(0, len(group.index), ROWS):
        if (group.index[start : start + ROWS] >= 0).any():
            yield slice(start, start + ROWS)
