"""Densities of changes learned from detections and, censored, from upper limits; the limits' likelihood."""

import numpy as np

from structurefn.density import fit_density
from structurefn.grids import Grid
from structurefn.response import Density, check_tail, mean_normal_cdf, response_matrix

__all__ = ["SOFTNESS", "TAIL", "fit_limit_density", "limit_density", "limit_response"]

# Magnitudes over which a survey goes from seeing a source to missing it, together with the reference's error:
# at a limit of 5 sigma the flux is known to a fifth, which is 0.2 mag.
SOFTNESS = 0.25
# Share of limits that say nothing: wrong calibrations, sources lost in a host or at a chip's edge.
TAIL = 0.02
_NODES = 8


def limit_response(column_edges: np.ndarray, softness: float = SOFTNESS) -> np.ndarray:
    r"""Probability of a non-detection, given the cell of the true change and the cell of the limit's depth.

    .. math:: B_{ij} = \frac{1}{u_i - l_i} \int_{l_i}^{u_i} \frac{1}{u_j - l_j} \int_{l_j}^{u_j}
        \Phi\left(\frac{x - d}{s}\right) dx\, dd

    for changes x uniform in cell j and depths d uniform in cell i; those beyond the grid are in its outermost
    cells and are treated as lying there, which for a depth is the careful side.

    Parameters
    ----------
    column_edges : float array, shape (J + 1,)
        Edges of the cells of changes and depths, ascending and finite; not checked [mag].
    softness : float
        The width s, positive; not checked [mag].

    Returns
    -------
    float64 array, shape (J, J)
        Axes depth, true change; between 0 and 1. No distribution: detection is the other outcome.
    """
    edges = np.asarray(column_edges, dtype=np.float64)
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    depth = middle[:, None] + half[:, None] * node
    # Wide cells hold many softnesses, and the outer integral is then of a smooth ramp: few nodes serve.
    fainter = 1.0 - mean_normal_cdf(edges[:-1], edges[1:], depth[..., None], np.float64(softness))
    return np.einsum("ikj,k->ij", fainter, weight / 2)


def limit_density(
    true: np.ndarray,
    grid: Grid,
    *,
    tail: float = TAIL,
    strength: float = np.nan,
    effective_events: np.ndarray | None = None,
) -> Density:
    r"""Log-probabilities of non-detections from given distributions of changes.

    .. math:: \log P_{cri} = \log\Big[(1 - \epsilon) \sum_j B_{ij} \pi_{crj} + \epsilon\Big]

    Parameters
    ----------
    true : float array, shape (C, R, J)
        Probability of each cell of the change, by class and row of signed lag.
    grid : Grid
        Of the stream.
    tail : float
        Share epsilon of limits that say nothing, above 0 and below 1.
    strength, effective_events
        Kept as they are, see `Density`.

    Returns
    -------
    Density
        `observed` has shape (C, R, n_errors + 1, J), as the counts of `structurefn.limits.count_limits`: the
        last error bin holds log P, the others zeros, so that `log_likelihood` is that of the limits alone.

    Raises
    ------
    ValueError
        If a shape does not fit, `tail` is outside its range or a row of `true` is no distribution.
    """
    response = response_matrix(grid.column_edges, grid.error_centres)
    checked = Density.from_true(
        true, response, tail=tail, strength=strength, effective_events=effective_events
    )
    chance = np.einsum("ij,crj->cri", limit_response(grid.column_edges), checked.true, optimize=True)
    observed = np.zeros((*checked.true.shape[:2], grid.n_errors + 1, grid.n_columns))
    observed[:, :, -1] = np.log((1 - tail) * np.minimum(chance, 1.0) + tail)
    return Density(checked.true, observed, checked.strength, checked.tail, checked.effective_events)


def fit_limit_density(
    counts: np.ndarray,
    membership: np.ndarray,
    grid: Grid,
    *,
    tail: float = TAIL,
    strength: float | None = None,
    groups: np.ndarray | None = None,
) -> Density:
    r"""Learn the distributions of changes from detections and limits together, and the limits' likelihood.

    A change between detections is an observed cell; a limit of depth d is a *censored* event, which in each
    iteration of expectation-maximisation is shared among the cells in proportion to :math:`\pi_j B_{ij}`,
    that is among the changes by which the source could have escaped. Detections alone know only sources
    bright enough to be seen again, so that their table is biased to no change.

    Parameters
    ----------
    counts : float array, shape (n_objects, R, n_errors + 1, J)
        As from `structurefn.limits.count_limits`.
    membership, strength, groups
        As in `structurefn.density.fit_density`, whose hierarchy of parents and choice of strength this uses.
    grid : Grid
        Of the stream.
    tail : float
        Share of limits that say nothing, and of detections anywhere; above 0 and below 1.

    Returns
    -------
    Density
        As from `limit_density`.

    Raises
    ------
    ValueError
        If a shape does not fit, a number is negative or not finite, or an option outside its range.
    """
    check_tail(tail)
    # The fit mixes in tail / J for every observed cell. Divided by J, the limits' part becomes
    # [(1 - tail) B pi + tail] / J: the same likelihood up to a constant.
    censored = limit_response(grid.column_edges)[None] / grid.n_columns
    response = np.concatenate([response_matrix(grid.column_edges, grid.error_centres), censored])
    # Rows ascend in signed lag, so one axis has the right neighbours, also across zero.
    fitted = fit_density(
        counts,
        membership,
        response,
        strength=strength,
        tail=tail,
        groups=groups,
        row_shape=(grid.n_rows,),
    )
    return limit_density(
        fitted.true, grid, tail=tail, strength=fitted.strength, effective_events=fitted.effective_events
    )
