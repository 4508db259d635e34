"""The forward model of errors on binned values: densities before and after them, and the way back.

An event's true value lies in a cell of a grid; its Gaussian error moves it to the cell where it is observed.
Densities of true values are fitted through that model, so that an event's error is accounted for once.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import ndtr

__all__ = ["Density", "check_tail", "deconvolve", "mean_normal_cdf", "response_matrix"]

# Sums over thousands of cells must not be done in the ten bits of a GPU's default matrix product.
_PRECISION = jax.lax.Precision.HIGHEST


def response_matrix(column_edges: np.ndarray, error_centres: np.ndarray) -> np.ndarray:
    r"""Probability of each observed cell given the true cell and the error.

    .. math:: A_{sij} = \frac{1}{u_j - l_j} \int_{l_j}^{u_j}
        \left[\Phi\left(\frac{u_i - x}{\sigma_s}\right) - \Phi\left(\frac{l_i - x}{\sigma_s}\right)\right] dx

    for true values x uniform in cell j, with the lowest edge of the first observed cell at minus and the
    highest edge of the last at plus infinity, because values outside the grid are counted in those cells.

    Parameters
    ----------
    column_edges : float array, shape (J + 1,)
        Edges of the cells, ascending and finite [mag].
    error_centres : float array, shape (S,)
        Errors, 1 sigma, positive and finite [mag].

    Returns
    -------
    float64 array, shape (S, J, J)
        Axes error, observed cell, true cell; sums to one over the observed cells.

    Raises
    ------
    ValueError
        If the edges do not ascend, or an edge or an error is not finite or an error not positive.
    """
    edges = np.asarray(column_edges, dtype=np.float64)
    error = np.asarray(error_centres, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise ValueError(
            "column_edges must be at least two finite, ascending numbers, but they are "
            f"{edges.tolist()}: give the edges of the cells in order."
        )
    if error.ndim != 1 or len(error) == 0 or not (np.isfinite(error) & (error > 0)).all():
        raise ValueError(
            "error_centres must be finite and positive, but they are "
            f"{error.tolist()}: give the 1-sigma error of each error bin."
        )
    lower, upper = edges[:-1], edges[1:]
    below = mean_normal_cdf(lower, upper, edges[1:-1, None], error[:, None, None])
    ends = np.zeros((len(error), 1, len(lower)))
    matrix = np.diff(np.concatenate([ends, below, ends + 1.0], axis=1), axis=1)
    # Differences of cumulative probabilities can be negative by a rounding error.
    matrix = np.maximum(matrix, 0.0)
    return matrix / matrix.sum(axis=1, keepdims=True)


def mean_normal_cdf(
    lower: np.ndarray, upper: np.ndarray, threshold: np.ndarray, error: np.ndarray
) -> np.ndarray:
    r"""Probability that a value, uniform between two bounds, falls below a threshold after Gaussian noise.

    .. math:: \frac{1}{u - l} \int_l^u \Phi\left(\frac{b - x}{\sigma}\right) dx = \frac{\sigma}{u - l}
        \left[G\left(\frac{b - l}{\sigma}\right) - G\left(\frac{b - u}{\sigma}\right)\right],
        \quad G(z) = z \Phi(z) + \phi(z)

    Parameters
    ----------
    lower, upper : float arrays
        Bounds l < u; not checked [mag].
    threshold : float array
        The threshold b [mag].
    error : float array
        Standard deviation of the noise, positive; not checked [mag].

    Returns
    -------
    float64 array
        Of the shape to which the four arguments broadcast, between 0 and 1.
    """
    area = _primitive((threshold - lower) / error) - _primitive((threshold - upper) / error)
    return np.clip(error / (upper - lower) * area, 0.0, 1.0)


def _primitive(z: np.ndarray) -> np.ndarray:
    """Primitive of the standard normal cumulative distribution."""
    return z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)


@dataclass(frozen=True, eq=False)
class Density:
    r"""Densities p(value | row, class) of a stream, before and after the errors.

    Attributes
    ----------
    true : float64 array, shape (C, R, J)
        Probability of each true cell; sums to one over cells.
    observed : float64 array, shape (C, R, S, J)
        Log-probability of each observed cell for an error in bin s,
        :math:`\log[(1 - \epsilon) \sum_j A_{sij} \pi_{crj} + \epsilon / J]`; sums to one over cells.
    strength : float
        Weight of each class's parent, in units of events.
    tail : float
        Share epsilon of events uniform over the observed cells, which bounds what one bad point can say.
    effective_events : float64 array, shape (C, R)
        Weighted number of events from which each row was learned; 0 where a row is its parent.
    """

    true: np.ndarray
    observed: np.ndarray
    strength: float
    tail: float
    effective_events: np.ndarray

    @classmethod
    def from_true(
        cls,
        true: np.ndarray,
        response: np.ndarray,
        *,
        tail: float = 0.01,
        strength: float = np.nan,
        effective_events: np.ndarray | None = None,
    ) -> "Density":
        """Carry given probabilities of true cells through the errors.

        Parameters
        ----------
        true : float array, shape (C, R, J)
            Non-negative, with a positive sum over cells, to which it is normalised.
        response : float array, shape (S, J, J)
            As from `response_matrix`.
        tail : float
            Above 0 and below 1.
        strength : float
            Kept as it is.
        effective_events : float array, shape (C, R), optional
            Kept as it is; zeros by default.

        Returns
        -------
        Density

        Raises
        ------
        ValueError
            If a shape does not fit, `tail` is outside its range or a row of `true` is no distribution.
        """
        true = np.asarray(true, dtype=np.float64)
        response = np.asarray(response, dtype=np.float64)
        check_tail(tail)
        if true.ndim != 3 or response.ndim != 3 or response.shape[1:] != (true.shape[-1],) * 2:
            raise ValueError(
                "true must be (classes, rows, cells) and response (errors, cells, cells), but "
                f"true.shape={true.shape} and response.shape={response.shape}: use one grid for both."
            )
        total = true.sum(axis=-1, keepdims=True)
        if not np.isfinite(true).all() or (true < 0).any() or (total <= 0).any():
            raise ValueError(
                "Each row of true must be a distribution over cells, but a negative or not finite "
                "probability or an empty row was found: give non-negative numbers with a positive sum."
            )
        true = true / total
        observed = np.einsum("sij,crj->crsi", response, true, optimize=True)
        observed = (1 - tail) * observed / observed.sum(axis=-1, keepdims=True) + tail / true.shape[-1]
        if effective_events is None:
            effective_events = np.zeros(true.shape[:2])
        return cls(true, np.log(observed), float(strength), float(tail), np.asarray(effective_events))

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return len(self.true)


def check_tail(tail: float) -> None:
    """Raise a ValueError unless the share of the uniform tail is above 0 and below 1."""
    if not 0 < tail < 1:
        raise ValueError(f"tail must be above 0 and below 1, but it is {tail!r}: 0.01 is usual.")


def deconvolve(
    table: Float[Array, "*groups n_rows n_errors n_cells"],
    response: Float[Array, "n_errors n_cells n_cells"],
    parent: Float[Array, "*groups n_rows n_cells"],
    strength: Float[Array, ""],
    tail: Float[Array, ""],
    n_iter: Int[Array, ""],
) -> Float[Array, "*groups n_rows n_cells"]:
    r"""Probabilities of true cells from counts of observed cells, by expectation-maximisation.

    The model of an event with error s in observed cell i is :math:`m_{si} = (1 - \epsilon) \sum_j A_{sij}
    \pi_j + \epsilon / J`. Each iteration gives every event to the true cells in proportion,

    .. math:: n_j = \pi_j \sum_{si} N_{si} \frac{(1 - \epsilon) A_{sij}}{m_{si}}, \qquad
        \pi_j \leftarrow \frac{n_j + a q_j}{\sum_j n_j + a}

    Parameters
    ----------
    table : float array, shape (..., R, S, J)
        Weighted counts N, non-negative. A kernel: nothing is checked.
    response : float array, shape (S, J, J)
        As from `response_matrix`.
    parent : float array, shape (..., R, J)
        Where each row starts and what it is drawn to, q; sums to one, of the same leading axes as `table`
        or ones.
    strength : float array, shape ()
        Weight a of the parent in units of events, positive.
    tail : float array, shape ()
        Share epsilon of the uniform component, between 0 and 1, so that no observed cell is impossible.
    n_iter : int array, shape ()
        Number of iterations.

    Returns
    -------
    float array, shape (..., R, J)
        Probabilities pi of the true cells. A row without events is its parent.

    Notes
    -----
    The log-likelihood is concave in pi, so there is one optimum; errors much larger than a cell make the
    approach to it slow, and stopping early keeps the estimate close to the parent. Cost of an iteration: two
    products of a (... R, J) with a (J, S J) matrix.
    """
    n_cells = table.shape[-1]
    forward = response.reshape(-1, n_cells)
    observed = table.reshape(*table.shape[:-2], -1)

    def iterate(_, true):
        model = jnp.matmul(true, forward.T, precision=_PRECISION) * (1 - tail) + tail / n_cells
        share = true * jnp.matmul(observed / model, forward, precision=_PRECISION) * (1 - tail)
        return (share + strength * parent) / (share.sum(-1, keepdims=True) + strength)

    start = jnp.broadcast_to(parent, (*table.shape[:-2], n_cells))
    return jax.lax.fori_loop(0, n_iter, iterate, start)
