"""Kernels of forecasts: what each earlier point says about a later magnitude, and the pool of it all (JAX).

Magnitudes are relative to a reference of each row, and live in G cells between shared edges.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

__all__ = ["CELL_EDGES", "History", "add_noise", "cell_masses", "pool", "prior_cells", "single_points"]

# Equal widths in asinh(x / 0.25): .009 mag at the reference, a tenth at 3 mag; up to 10 mag either way.
_STEPS = np.linspace(-np.arcsinh(40.0), np.arcsinh(40.0), 241)
CELL_EDGES = np.sinh(_STEPS) * 0.25
_WIDTH = np.diff(CELL_EDGES)
# Share of each single point's density that is spread over all cells, so that one bad point can be overruled.
_TAIL = 0.01


class History(NamedTuple):
    """The K points nearest in time to what is to be forecast, for n rows."""

    value: Float[Array, "n K"]  # magnitude minus the row's reference [mag]
    error: Float[Array, "n K"]  # 1 sigma [mag]
    lag: Float[Array, "n K"]  # time between the point and the forecast, not negative [day]
    rank: Float[Array, "n K"]  # number of points in between
    other: Bool[Array, "n K"]  # whether in another channel than the forecast
    trend: Bool[Array, "n K"]  # whether its table is that of the change before too
    table: Int[Array, "n K"]  # which table of changes
    row: Float[Array, "n K"]  # place among the lag bins, between their centres
    valid: Bool[Array, "n K"]


def cell_masses(
    probability: Float[Array, "*n S J"],
    column_edges: Float[Array, " J1"],
    edges: Float[Array, "*n G1"],
    error: Float[Array, "*n"],
) -> Float[Array, "*n S G"]:
    r"""Probability of each cell between `edges`, for densities uniform within other cells and Gaussian noise.

    The sum over cells of `structurefn.response.mean_normal_cdf`, written for float32: the cumulative
    distribution without noise, and a bend of size s at each edge where the density has a step,

    .. math:: F(x) = \sum_b \pi_b\, \mathrm{clip}\Big(\frac{x - l_b}{u_b - l_b}, 0, 1\Big) + s \sum_e
        (\rho_e - \rho_{e - 1})\, H\Big(\frac{x - l_e}{s}\Big), \qquad H(z) = \phi(z) - |z|\, \Phi(-|z|)

    with the density :math:`\rho_b = \pi_b / (u_b - l_b)`, zero outside.

    Parameters
    ----------
    probability : float array, shape (..., S, J)
        Of S densities.
    column_edges : float array, shape (J + 1,)
        Bounds of their cells [mag].
    edges : float array, shape (..., G + 1)
        Ascending [mag].
    error : float array, shape (...)
        1 sigma, positive; not checked [mag].

    Returns
    -------
    float array, shape (..., S, G)
        What falls beyond the edges is in the outermost cells, so that sums over cells are kept.
    """
    x, s = edges[..., 1:-1, None], error[..., None, None]
    lower, width = column_edges[:-1], jnp.diff(column_edges)
    slope = jnp.pad(probability / width, [(0, 0)] * (probability.ndim - 1) + [(1, 1)])
    below = _product(jnp.clip((x - lower) / width, 0.0, 1.0), probability)
    below += s * _product(_bend((x - column_edges) / s), jnp.diff(slope))
    top = probability.sum(axis=-1, keepdims=True)
    found = jnp.concatenate([below[..., :1], jnp.diff(below), top - below[..., -1:]], axis=-1)
    return jnp.maximum(found, 0.0)


def _product(of_edges: Array, of_densities: Array) -> Array:
    return jnp.einsum("...gj,...sj->...sg", of_edges, of_densities, precision=jax.lax.Precision.HIGHEST)


def _bend(z: Array) -> Array:
    size = jnp.abs(z)
    return jnp.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi) - size * 0.5 * jax.scipy.special.erfc(
        size / np.sqrt(2.0)
    )


@jax.jit
def single_points(
    history: History, tables: Float[Array, "T R S J"], column_edges: Float[Array, " J1"]
) -> Float[Array, "n K S G"]:
    r"""Log-density of the true magnitude given each point alone, under each of S densities [ln(1/mag)].

    .. math:: p_j(m) = \int \pi(x \mid \Delta t_j)\, \mathrm{N}(m - x;\, m_j, s_j^2)\, dx

    with the tables :math:`\pi` interpolated in log lag, and one part in a hundred spread over all cells.
    """
    low = jnp.clip(jnp.floor(history.row).astype(jnp.int32), 0, tables.shape[1] - 2)
    part = jnp.clip(history.row - low, 0.0, 1.0)[..., None, None]
    table = (1.0 - part) * tables[history.table, low] + part * tables[history.table, low + 1]
    edges = jnp.asarray(CELL_EDGES, table.dtype) - history.value[..., None]
    found = cell_masses(table, column_edges, edges, history.error)
    width = jnp.asarray(_WIDTH, table.dtype)
    return jnp.log((1.0 - _TAIL) * found + _TAIL / len(_WIDTH)) - jnp.log(width)


@jax.jit
def prior_cells(
    magnitude: Float[Array, "n S G0"], edges: Float[Array, " G01"], reference: Float[Array, " n"]
) -> Float[Array, "n S G"]:
    """Log-density of the magnitude of the class and channel, relative to the reference [ln(1/mag)]."""
    cells = jnp.asarray(CELL_EDGES, magnitude.dtype) + reference[:, None]
    # No noise: true magnitudes; a thousandth of a magnitude is far below a cell of that table.
    found = cell_masses(magnitude, edges, cells, jnp.full(len(reference), 1e-3, magnitude.dtype))
    width = jnp.asarray(_WIDTH, magnitude.dtype)
    return jnp.log((1.0 - _TAIL) * found + _TAIL / len(_WIDTH)) - jnp.log(width)


@jax.jit
def pool(
    theta: dict[str, Array],
    history: History,
    singles: Float[Array, "n K S G"],
    prior: Float[Array, "n S G"],
    level: Int[Array, " S"],
) -> Float[Array, "n S G"]:
    r"""Log-linear pool of all points and of the density of magnitudes; probabilities of the cells.

    .. math:: p(m) \propto p_0(m)^{w_0} \prod_j p_j(m)^{w_j}, \qquad w_j = a_\ell\,
        (1 + r_j)^{-b} (1 + \Delta t_j)^{-c} d^{[\text{other channel}]} e^{[\text{trend known}]}

    with the number of points in between r and the lag in days. The trend's own weight is
    :math:`a' (1 + \Delta t)^{-c'}`; :math:`w_0 = a_0 (1 + n)^{-b_0}` for n points of history, one for none.
    Weights need not sum to one: more points make the forecast narrower. Factors are held as logarithms.
    """
    log_weight = (
        theta["total"][level]
        - theta["rank"] * jnp.log1p(history.rank)[..., None]
        - theta["lag"] * jnp.log1p(history.lag)[..., None]
        + theta["other"] * history.other[..., None]
        + theta["beside"] * jnp.any(history.trend & history.valid, axis=1)[:, None, None]
    )
    trend = theta["trend"] - theta["trend_lag"] * jnp.log1p(history.lag)[..., None]
    log_weight = jnp.where(history.trend[..., None], trend, log_weight)
    weight = jnp.where(history.valid[..., None], jnp.exp(log_weight), 0.0)
    n_points = jnp.sum(history.valid & ~history.trend, axis=1)
    lean = jnp.exp(theta["prior"] - theta["prior_rank"] * jnp.log1p(n_points))
    lean = jnp.where(n_points > 0, lean, 1.0)[:, None, None]
    width = jnp.log(jnp.asarray(_WIDTH, prior.dtype))
    log_density = jnp.einsum("nks,nksg->nsg", weight, singles) + lean * prior
    return jax.nn.softmax(log_density + width, axis=-1)


@jax.jit
def add_noise(probability: Float[Array, "n S G"], error: Float[Array, " n"]) -> Float[Array, "n S G"]:
    """Probabilities of the cells after the new point's own Gaussian error, in float32 from float32."""
    edges = jnp.asarray(CELL_EDGES, probability.dtype)
    noisy = cell_masses(probability, edges, jnp.broadcast_to(edges, (len(error), len(edges))), error)
    return noisy / noisy.sum(axis=-1, keepdims=True)
