"""Log-likelihoods of classes from counts of events and the classes' densities."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from structurefn.density import Density
from structurefn.response import mean_normal_cdf

__all__ = ["expected_log_likelihood", "log_likelihood", "log_non_detection"]

# Few shapes, so that JAX compiles a few times only: full blocks, and a last one of a power of two.
_BLOCK = 2048
_SMALLEST_BLOCK = 16
_EVENT_BLOCK = 2**15


def log_likelihood(counts: np.ndarray, density: Density, weights: np.ndarray | None = None) -> np.ndarray:
    r"""Log-likelihood of each class: the sum over events of the log-probability of the observed cell.

    .. math:: \ell_{ic} = w_i \sum_{rsj} N_{irsj} \log p_{crsj}

    Where the events are a chain, each conditioned on the one before (adjacent pairs; triplets as
    p(dm23 | dt23, dt12, dm12)), this is a proper likelihood. For all pairs of an object, which share
    points, or all points relative to a common peak or median, it is a *composite* likelihood: too narrow
    as a posterior, and to be down-weighted, for example by 2/n for n points.

    Parameters
    ----------
    counts : float array, shape (n_objects, R, S, J)
        Events of each object, on the grid of `density`.
    density : Density
        Of C classes.
    weights : float array, shape (n_objects,), optional
        Factor w of each object's log-likelihood; one by default.

    Returns
    -------
    float64 array, shape (n_objects, C)
        Zero for an object without events. The classes' common part is summed apart, so that rounding to
        float32, which is in proportion to the terms summed, leaves the differences between classes alone.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    counts = _checked(counts, density)
    table = density.observed.reshape(density.n_classes, -1).T
    common = table.mean(axis=1, keepdims=True)
    sums = _sums(counts, np.hstack([table - common, common]))
    log_like = sums[:, :-1] + sums[:, -1:]
    if weights is None:
        return log_like
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (len(counts),):
        raise ValueError(
            f"weights must have one number an object, but weights.shape={weights.shape} and "
            f"counts.shape={counts.shape}: give shape ({len(counts)},)."
        )
    return weights[:, None] * log_like


def expected_log_likelihood(counts: np.ndarray, density: Density) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean and variance of `log_likelihood` for an object of the class, seen with the same rows and errors.

    .. math:: \mu_{ic} = \sum_{rs} n_{irs} \sum_j p_{crsj} \log p_{crsj}, \qquad
        v_{ic} = \sum_{rs} n_{irs} \Big[\sum_j p_{crsj} \log^2 p_{crsj} - \big(\sum_j p_{crsj} \log
        p_{crsj}\big)^2\Big]

    Parameters
    ----------
    counts : float array, shape (n_objects, R, S, J)
        Only the number of events in each row and error bin, n, is used.
    density : Density

    Returns
    -------
    mean, variance : float64 arrays, shape (n_objects, C)
        Of the sum, not of the mean of events. The variance holds for independent events, such as those of
        a chain given the class; events that share points (all pairs, times relative to one peak) or an
        object's own peculiarity make it larger, so that a z-score is to be compared with those of known
        objects of the class.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    counts = _checked(counts, density)
    probability = np.exp(density.observed)
    mean = np.sum(probability * density.observed, axis=-1)
    variance = np.sum(probability * (density.observed - mean[..., None]) ** 2, axis=-1)
    table = np.concatenate([mean, variance]).reshape(2 * density.n_classes, -1).T
    sums = _sums(counts.sum(axis=-1), table)
    return sums[:, : density.n_classes], sums[:, density.n_classes :]


def log_non_detection(
    density: Density,
    row: np.ndarray,
    depth: np.ndarray,
    error: np.ndarray,
    *,
    column_edges: np.ndarray,
) -> np.ndarray:
    r"""Log-probability that a point is fainter than its limit, given an earlier magnitude.

    .. math:: \log P = \log\left[(1 - \epsilon) \sum_j \pi_{crj} \bar\Phi_j + \frac{\epsilon}{J} \sum_j
        \bar\Phi_j\right], \qquad \bar\Phi_j = \frac{1}{u_j - l_j} \int_{l_j}^{u_j} \Phi\left(\frac{x -
        d}{\sigma}\right) dx

    with the depth :math:`d = m_\mathrm{lim} - m_\mathrm{prev}`: the change x, uniform within its cell,
    must exceed it.

    Parameters
    ----------
    density : Density
        Of differences from an earlier magnitude, or from the peak.
    row : int array, shape (n_events,)
        Row of each non-detection, for example its lag bin.
    depth : float array, shape (n_events,)
        Limit minus reference magnitude, finite [mag]; positive where the limit is fainter.
    error : float array, shape (n_events,)
        1 sigma of the reference magnitude and of the limit together, positive [mag].
    column_edges : float array, shape (J + 1,)
        Edges of the density's true cells [mag].

    Returns
    -------
    float64 array, shape (n_events, C)
        Not positive, finite unless the depth is beyond the grid by many errors.

    Raises
    ------
    ValueError
        If the shapes do not fit, a row is not in the density, or a number is not finite or an error not
        positive.
    """
    edges = np.asarray(column_edges, dtype=np.float64)
    row, depth, error = np.broadcast_arrays(
        *(np.atleast_1d(x) for x in (np.asarray(row), np.asarray(depth, float), np.asarray(error, float)))
    )
    n_rows, n_cells = density.true.shape[1:]
    if row.ndim != 1 or edges.shape != (n_cells + 1,):
        raise ValueError(
            f"row, depth and error must have one number an event and column_edges {n_cells + 1}, but their "
            f"shapes are {row.shape}, {depth.shape}, {error.shape} and {edges.shape}: use the density's grid."
        )
    if row.size and not (row.min() >= 0 and row.max() < n_rows):
        raise ValueError(
            f"row must be between 0 and {n_rows - 1}, but {row.min()} to {row.max()} were found: leave out "
            "events that have no row."
        )
    if not (np.isfinite(depth).all() and np.isfinite(error).all() and (error > 0).all()):
        raise ValueError(
            "depth must be finite and error positive, but other numbers were found: leave out limits "
            "without a reference magnitude and error."
        )
    log_probability = np.empty((len(row), density.n_classes))
    mixed = (1 - density.tail) * density.true + density.tail / n_cells
    for start in range(0, len(row), _EVENT_BLOCK):
        part = slice(start, start + _EVENT_BLOCK)
        # x > depth with noise is -x < -depth with noise.
        fainter = mean_normal_cdf(-edges[1:], -edges[:-1], -depth[part, None], error[part, None])
        chance = np.einsum("ej,cej->ec", fainter, mixed[:, row[part]], optimize=True)
        # Zero where the depth lies beyond the grid by many errors: minus infinity by right, no fault.
        with np.errstate(divide="ignore"):
            log_probability[part] = np.log(np.minimum(chance, 1.0))
    return log_probability


def _sums(events: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Product of a tall matrix with a small one, in blocks, float64 on return."""
    result = np.empty((len(events), table.shape[1]))
    events = events.reshape(len(events), len(table))
    table = np.asarray(table, dtype=np.float32)
    for start in range(0, len(events), _BLOCK):
        block = np.asarray(events[start : start + _BLOCK], dtype=np.float32)
        n_rows = _SMALLEST_BLOCK
        while n_rows < len(block):
            n_rows *= 2
        padded = np.pad(block, ((0, n_rows - len(block)), (0, 0))) if n_rows > len(block) else block
        result[start : start + len(block)] = np.asarray(_event_sums(padded, table))[: len(block)]
    return result


@jax.jit
def _event_sums(
    events: Float[Array, "n_objects n_cells"], table: Float[Array, "n_cells n_columns"]
) -> Float[Array, "n_objects n_columns"]:
    # A GPU's default product has ten bits, too few for sums of thousands of events.
    return jnp.matmul(events, table, precision=jax.lax.Precision.HIGHEST)


def _checked(counts: np.ndarray, density: Density) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.ndim != 4 or counts.shape[1:] != density.observed.shape[1:]:
        raise ValueError(
            "counts must be (objects, rows, errors, cells) on the grid of the density, but "
            f"counts.shape={counts.shape} and density.observed.shape={density.observed.shape}: count the "
            "events with the same grid."
        )
    return counts
