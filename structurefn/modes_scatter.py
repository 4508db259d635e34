"""Object-to-object scatter: Dirichlet-multinomial likelihoods of counts, in sparse cells."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array
from scipy.special import digamma, gammaln

from structurefn.density import Density
from structurefn.likelihood import log_likelihood

__all__ = ["dirichlet_multinomial", "dirichlet_multinomial_cells", "effective_counts", "sparse_blocks"]

# Non-zero cells times components in memory at once.
_BLOCK = 1_000_000


def dirichlet_multinomial(
    counts: np.ndarray, density: Density, concentration: float | np.ndarray
) -> np.ndarray:
    r"""Log-likelihood of each class when every object has tables of its own.

    In each row and error bin the object's table is drawn from a Dirichlet distribution about the class's
    with concentration a, and integrated out:

    .. math:: \ell_{ic} = \sum_{rs} \left[\ln \frac{\Gamma(a)}{\Gamma(a + N_{irs\cdot})} + \sum_j \ln
        \frac{\Gamma(N_{irsj} + a p_{crsj})}{\Gamma(a p_{crsj})}\right]

    the probability of the events in their order, without the multinomial coefficient. The first event in a
    cell counts as under the class's table; of N in one cell the later ones count less, since they tell of
    the object as much as of the class: :math:`\ln\Gamma(N + ap) - \ln\Gamma(ap)` grows with the logarithm of
    p only as long as ap is not small.

    Parameters
    ----------
    counts : float array, shape (n_objects, R, S, J)
        Whole numbers make it a probability.
    density : Density
        Of C classes (or components).
    concentration : float, or float array, shape (C,)
        Positive, in units of events; where it is infinite, the sum of log-probabilities.

    Returns
    -------
    float64 array, shape (n_objects, C)
        Zero for an object without events.

    Raises
    ------
    ValueError
        If the shapes do not fit or a concentration is not positive.

    Notes
    -----
    Cost: in proportion to the cells that are not empty, times C.
    """
    counts = np.asarray(counts)
    n_classes = density.n_classes
    concentration = np.broadcast_to(np.asarray(concentration, dtype=np.float64), (n_classes,))
    if not (concentration > 0).all():
        raise ValueError(
            f"concentration must be positive, but {concentration.min()} was found: give a number of events, "
            "or infinity for none."
        )
    if counts.ndim != 4 or counts.shape[1:] != density.observed.shape[1:]:
        raise ValueError(
            "counts must be (objects, rows, errors, cells) on the grid of the density, but "
            f"counts.shape={counts.shape} and density.observed.shape={density.observed.shape}: count the "
            "events with the same grid."
        )
    result = np.empty((len(counts), n_classes))
    scattered = np.isfinite(concentration)
    if not scattered.all():
        result[:, ~scattered] = log_likelihood(counts, density)[:, ~scattered]
    if scattered.any():
        events = csr_array(counts.reshape(len(counts), -1))
        table = density.observed[scattered].reshape(int(scattered.sum()), -1)
        result[:, scattered] = dirichlet_multinomial_cells(
            events, table, concentration[scattered], counts.shape[-1]
        )
    return result


def dirichlet_multinomial_cells(
    events: csr_array, table: np.ndarray, concentration: np.ndarray, n_columns: int
) -> np.ndarray:
    """`dirichlet_multinomial` of sparse counts.

    Parameters
    ----------
    events : csr_array, shape (n_objects, T)
        Counts, flat, the column fastest.
    table : float array, shape (C, T)
        Log-probabilities of observed cells.
    concentration : float array, shape (C,)
        Positive and finite.
    n_columns : int
        Columns J of a row and error bin.

    Returns
    -------
    float64 array, shape (n_objects, C)
    """
    result = np.zeros((events.shape[0], len(table)))
    log_prior = np.log(concentration)[:, None] + table
    prior = np.exp(log_prior)
    n_groups = len(table[0]) // n_columns
    for rows, part in sparse_blocks(events, len(table)):
        number = part.data.astype(np.float64)
        value = log_prior[:, part.indices]
        # One event in a cell needs no gamma function.
        many = np.flatnonzero(number != 1)
        at = prior[:, part.indices[many]]
        value[:, many] = gammaln(number[many] + at) - gammaln(at)
        result[rows] = _sum_by_object(value.T, part.indptr)
        owner = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
        key, inverse = np.unique(owner * n_groups + part.indices // n_columns, return_inverse=True)
        total = np.bincount(inverse, weights=number)
        # Few classes differ in concentration, so each is computed once.
        levels, level = np.unique(concentration, return_inverse=True)
        spent = (gammaln(levels) - gammaln(levels + total[:, None]))[:, level]
        begin = np.searchsorted(key // n_groups, np.arange(part.shape[0] + 1))
        result[rows] += _sum_by_object(spent, begin)
    return result


def effective_counts(number: np.ndarray, prior: np.ndarray) -> np.ndarray:
    r"""Events of a cell that tell of the class rather than of the object.

    .. math:: a p\, [\psi(N + a p) - \psi(a p)] = \sum_{m < N} \frac{a p}{a p + m}

    Parameters
    ----------
    number : float array, shape (nnz,)
        The counts N, positive.
    prior : float array, shape (C, nnz)
        Concentration times probability, a p.

    Returns
    -------
    float64 array, shape (C, nnz)
        Between one (for N of at least one) and N.
    """
    effective = np.ones(prior.shape)
    many = np.flatnonzero(number != 1)
    at = prior[:, many]
    effective[:, many] = at * (digamma(number[many] + at) - digamma(at))
    return effective


def sparse_blocks(events: csr_array, width: int) -> Iterator[tuple[slice, csr_array]]:
    """Blocks of objects whose non-zero cells times `width` stay below a bound, with their positions."""
    start, bound = 0, max(1, _BLOCK // max(width, 1))
    while start < events.shape[0]:
        stop = int(np.searchsorted(events.indptr, events.indptr[start] + bound, side="right")) - 1
        stop = min(max(stop, start + 1), events.shape[0])
        yield slice(start, stop), events[start:stop]
        start = stop


def _sum_by_object(value: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Sum rows of objects, which begin at `begin`, shape (n + 1,); zero for an object without rows."""
    running = np.concatenate([np.zeros((1, value.shape[1])), np.cumsum(value, axis=0)])
    return running[begin[1:]] - running[begin[:-1]]
