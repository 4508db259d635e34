"""dm-dt images: the pairs of each light curve as a picture of fixed size, for those who feed networks."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from structurefn.events import Points
from structurefn.light_curves import LightCurves
from structurefn.padding import pad_groups

__all__ = ["PUBLISHED_DM_EDGES", "PUBLISHED_DT_EDGES", "dmdt_images", "equal_area_edges"]

# Mahabal et al. (2017), arXiv:1709.06257. The paper speaks of 23 x 24 cells; these edges make 24 x 22.
PUBLISHED_DT_EDGES = (
    *(0.0, 1 / 145, 2 / 145, 3 / 145, 4 / 145, 1 / 25, 2 / 25, 3 / 25, 1.5, 2.5, 3.5, 4.5, 5.5, 7.0),
    *(10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 240.0, 600.0, 960.0, 2000.0, 4000.0),
)
PUBLISHED_DM_EDGES = (
    *(-8.0, -5.0, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, -0.3, -0.2, -0.1),
    *(0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 8.0),
)
LENGTHS = (16, 32, 64, 128, 256, 512, 1024)
BLOCK = 2**14
NORMS = (None, "pairs", "dt", "max")


def dmdt_images(
    light_curves: LightCurves,
    channels: str | Sequence[str],
    *,
    dt_edges: Sequence[float] = PUBLISHED_DT_EDGES,
    dm_edges: Sequence[float] = PUBLISHED_DM_EDGES,
    errors: str = "count",
    normalise: str | None = None,
) -> np.ndarray:
    r"""Count the pairs of each object in cells of lag and change, or spread each pair by its error.

    A pair is an earlier point of the first channel and a later one of the second, with
    :math:`\Delta t = t_2 - t_1` and :math:`\Delta m = m_2 - m_1` (positive: fading). With
    ``errors="smear"`` a pair gives each cell of its lag

    .. math:: \Phi\left(\frac{u - \Delta m}{s}\right) - \Phi\left(\frac{l - \Delta m}{s}\right), \qquad
        s^2 = s_1^2 + s_2^2

    which is a picture, not a likelihood: it is convolved with the errors once more than the data are.

    Parameters
    ----------
    light_curves : LightCurves
        Upper limits form no pairs.
    channels : str or pair of str
        One channel, or (earlier, later). A channel that the batch does not have gives images of zero.
    dt_edges, dm_edges : sequence of float
        Ascending edges [day], [mag]; by default the published ones. Cells hold their lower edge, not their
        upper one. A pair whose lag is beyond the edges is left out, and so is one whose change is beyond
        them, or the part of a smeared pair's mass that is. The outermost edges may be infinite, and then
        nothing is: each pair's mass sums to one.
    errors : str
        "count" or "smear".
    normalise : str, optional
        "pairs": 255 over the number of the object's pairs, as published, those beyond the edges included.
        "dt": each lag sums to one (less what is beyond the edges of dm). "max": the largest cell is one.

    Returns
    -------
    float32 array, shape (n_objects, n_dt, n_dm)
        Zero for an object without a pair.

    Raises
    ------
    ValueError
        If edges do not ascend, or an option or the number of channels is not one of those above.

    Notes
    -----
    Depends on: detections of the two channels. Minimum: two points. Cost: number of pairs, times `n_dm`
    with "smear". Two points at the same time have lag 0, in the first published cell. Lags are differences
    of float32 times since the object's first point, good to one part in 10 million of its time span.

    References
    ----------
    Mahabal et al. (2017), arXiv:1709.06257, for the edges and the normalisation.
    """
    names = _channel_pair(channels)
    dt, dm = _checked_edges("dt_edges", dt_edges), _checked_edges("dm_edges", dm_edges)
    if errors not in ("count", "smear"):
        raise ValueError(f'errors must be "count" or "smear", not {errors!r}: choose one of the two.')
    if normalise not in NORMS:
        raise ValueError(f"normalise must be one of {NORMS}, not {normalise!r}: choose one of these.")
    images = np.zeros((light_curves.n_objects, len(dt) - 1, len(dm) - 1), dtype=np.float32)
    points, codes, order = _sorted_by_length(light_curves, names)
    # Pairs beyond the edges count in the number of pairs, by which images are normalised.
    in_row = np.zeros(images.shape[:2], dtype=np.float32)
    total = np.zeros(light_curves.n_objects, dtype=np.float32)
    edges = jnp.asarray(dt, jnp.float32), jnp.asarray(dm, jnp.float32)
    for group in pad_groups(points, LENGTHS, BLOCK):
        channel = np.where(group.valid, group.channel, -1).astype(np.int32)
        padded = Points(*map(jnp.asarray, (group.time, group.value, group.error, channel)))
        image, rows = _images(padded, jnp.asarray(codes, jnp.int32), *edges, smear=errors == "smear")
        here = group.index >= 0
        own = order[group.index[here]]
        images[own] = np.asarray(image)[here]
        rows = np.asarray(rows)[here]
        in_row[own], total[own] = rows[:, :-1], rows.sum(axis=1)
    if normalise == "pairs":
        images *= 255.0 / np.maximum(total, 1.0)[:, None, None]
    elif normalise == "dt":
        images /= np.maximum(in_row, 1.0)[:, :, None]
    elif normalise == "max":
        largest = images.max(axis=(1, 2), initial=0.0, keepdims=True)
        images /= np.where(largest > 0, largest, 1.0)
    return images


def equal_area_edges(
    light_curves: LightCurves,
    channels: str | Sequence[str],
    n_dt: int,
    n_dm: int,
    *,
    max_pairs: int = 2_000_000,
) -> tuple[np.ndarray, np.ndarray]:
    """Edges between which equal numbers of the sample's pairs fall, along each axis.

    Parameters
    ----------
    light_curves : LightCurves
    channels : str or pair of str
        One channel, or (earlier, later).
    n_dt, n_dm : int
        Number of cells along each axis, at least 1.
    max_pairs : int
        With more pairs than this, about as many are taken, at regular steps through all of them.

    Returns
    -------
    dt_edges, dm_edges : float64 arrays, shapes (n_dt + 1,) and (n_dm + 1,)
        Quantiles of the pooled pairs [day], [mag]; the outermost hold every pair that was taken.

    Raises
    ------
    ValueError
        If a number is not positive, there is no pair, or there are too few different values for as many
        cells (rounded magnitudes).
    """
    if min(n_dt, n_dm, max_pairs) < 1:
        raise ValueError(
            f"n_dt, n_dm and max_pairs must be at least 1, but {n_dt}, {n_dm} and {max_pairs} were given: "
            "ask for one cell or more."
        )
    points, codes, _ = _sorted_by_length(light_curves, _channel_pair(channels))
    lag, change = _pooled_pairs(points, codes, max_pairs)
    if not len(lag):
        raise ValueError(
            f"Edges are quantiles of pairs in {channels!r}, but no object has a pair there: name channels "
            f"among {points.channels} with two points of one object."
        )
    edges = []
    for name, values, n in (("dt", lag, n_dt), ("dm", change, n_dm)):
        found = np.quantile(values, np.linspace(0.0, 1.0, n + 1))
        # Cells do not hold their upper edge; float32 kernels must see the last one above the largest value.
        found[-1] += 1e-6 * max(abs(found[0]), abs(found[-1]), 1.0)
        if (np.diff(found) <= 0).any():
            raise ValueError(
                f"{n} cells of {name} need {n + 1} different quantiles, but only {len(np.unique(found))} of "
                f"the sample's are different: ask for fewer cells."
            )
        edges.append(found)
    return edges[0], edges[1]


def _pooled_pairs(points: LightCurves, codes: np.ndarray, max_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Lags and changes of all pairs, one step of neighbourhood after the other; thinned regularly."""
    owner = points.object_index
    count = np.diff(points.offset)
    stride = max(1, int(np.ceil(np.sum(count * (count - 1) / 2) / max_pairs)))
    lags, changes = [np.empty(0)], [np.empty(0)]
    for step in range(1, int(count.max(initial=0))):
        first, second = slice(None, -step), slice(step, None)
        use = (owner[first] == owner[second]) & (points.channel[first] == codes[0])
        use = np.flatnonzero(use & (points.channel[second] == codes[1]))[step % stride :: stride]
        lags.append(points.time[use + step] - points.time[use])
        changes.append(points.value[use + step] - points.value[use])
    return np.concatenate(lags), np.concatenate(changes)


@partial(jax.jit, static_argnames=("smear",))
def _images(
    points: Points,
    channels: Int[Array, " 2"],
    dt_edges: Float[Array, " n_dt_edges"],
    dm_edges: Float[Array, " n_dm_edges"],
    *,
    smear: bool,
) -> tuple[Float[Array, "n n_dt n_dm"], Float[Array, "n n_dt_edges"]]:
    """Images, and the number of pairs by lag with those beyond the edges last."""
    n, length = points.time.shape
    n_dt, n_dm = len(dt_edges) - 1, len(dm_edges) - 1
    objects = jnp.arange(n)[:, None]

    def add(step, sums):
        images, rows = sums
        inside = jnp.arange(length)[None, :] < length - step
        other = Points(*(jnp.roll(leaf, -step, axis=1) for leaf in points))
        use = inside & (points.channel == channels[0]) & (other.channel == channels[1])
        lag = jnp.where(use, other.time - points.time, 0.0)
        change = jnp.where(use, other.value - points.value, 0.0)
        row = jnp.searchsorted(dt_edges, lag, side="right") - 1
        row = jnp.where((row >= 0) & (row < n_dt), row, n_dt)
        rows = rows.at[objects, row].add(use.astype(rows.dtype))
        if smear:
            error = jnp.sqrt(points.error**2 + other.error**2)[..., None]
            below = 0.5 * jax.scipy.special.erf((dm_edges - change[..., None]) / (error * np.sqrt(2.0)))
            # A product with zeros and ones sums over points much faster than a scatter of rows.
            chosen = (row[..., None] == jnp.arange(n_dt + 1)) & use[..., None]
            mass = jnp.einsum(
                "nlr,nlm->nrm",
                chosen.astype(below.dtype),
                jnp.diff(below),
                precision=jax.lax.Precision.HIGHEST,
            )
            return images + mass, rows
        column = jnp.searchsorted(dm_edges, change, side="right") - 1
        use &= (column >= 0) & (column < n_dm)
        return images.at[objects, row, jnp.clip(column, 0, n_dm - 1)].add(use.astype(images.dtype)), rows

    longest = jnp.max(jnp.sum(points.channel >= 0, axis=1))
    start = jnp.zeros((n, n_dt + 1, n_dm), points.value.dtype), jnp.zeros((n, n_dt + 1), points.value.dtype)
    images, rows = jax.lax.fori_loop(1, longest, add, start)
    return images[:, :n_dt], rows


def _sorted_by_length(light_curves: LightCurves, names: tuple[str, str]):
    """Take the detections of the two channels, short curves first; also the channels' codes and the order."""
    codes = np.array([light_curves.channels.index(x) if x in light_curves.channels else -2 for x in names])
    used = light_curves.keep_points(~light_curves.upper_limit & np.isin(light_curves.channel, codes))
    order = np.argsort(np.diff(used.offset), kind="stable")
    return used.take_objects(order), codes, order


def _channel_pair(channels: str | Sequence[str]) -> tuple[str, str]:
    names = (channels,) if isinstance(channels, str) else tuple(channels)
    names = 2 * names if len(names) == 1 else names
    if len(names) != 2:
        raise ValueError(
            f"channels must be one name or a pair (earlier, later), but {list(names)} were given: "
            "make one image for each pair."
        )
    return names


def _checked_edges(name: str, edges: Sequence[float]) -> np.ndarray:
    edges = np.asarray(edges, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or np.isnan(edges).any() or not (np.diff(edges) > 0).all():
        raise ValueError(
            f"{name} must be at least two ascending numbers, but {edges.tolist()} were given: sort them and "
            "leave out repeated ones."
        )
    return edges
