"""Class-conditional densities of a stream's true values, from counts of observed values with errors."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from structurefn.response import Density, check_tail, deconvolve

__all__ = ["STRENGTHS", "Density", "fit_density", "fold_of_object", "neighbouring_rows", "weighted_tables"]

# Candidates for the weight of the parent, in units of events.
STRENGTHS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0)
N_FOLDS = 3
N_ITER = 100
# Enough to rank the candidates, not to converge.
N_ITER_SELECTION = 30
_BASE_STRENGTH = 1.0


def fit_density(
    counts: np.ndarray,
    membership: np.ndarray,
    response: np.ndarray,
    *,
    strength: float | None = None,
    parent: np.ndarray | None = None,
    object_power: float = 1.0,
    tail: float = 0.01,
    n_iter: int = N_ITER,
    row_shape: tuple[int, ...] | None = None,
    groups: np.ndarray | None = None,
) -> Density:
    r"""Learn a density for each class and row, with every event's error taken forward.

    Each object's counts are weighted (see `weighted_tables`) so that an object with
    many events is not the class, and each row of a class is the mode of expectation-maximisation with a
    Dirichlet prior, :math:`\pi_c \leftarrow (N_c + a q) / (N_{c.} + a)`, where :math:`N_c` are the expected
    counts of true cells (see `structurefn.response.deconvolve`). The parents q form a hierarchy: all rows
    and classes together; a row's neighbours, of all classes; the row, of all classes; the row of a class.

    Parameters
    ----------
    counts : float array, shape (n_objects, R, S, J)
        Events of each object by row, error bin and observed cell; non-negative. float32 is not copied.
    membership : float array, shape (n_objects, C)
        Share of each object in each class, non-negative: 0 or 1, or fractions for partial labels. The sum
        over classes is the object's weight: five thinned versions of one object have a fifth each, and an
        object with zeros is not used.
    response : float array, shape (S, J, J)
        As from `response_matrix`.
    strength : float, optional
        Weight a of a class's parent in units of events, positive. By default that of `STRENGTHS` under
        which the weighted counts of held-out objects are most probable.
    parent : float array, shape (C, R, J) or (1, R, J), optional
        Parents of the class's rows in place of the hierarchy, for example the two-dimensional density of
        pairs, repeated over the further conditions, to which a table of triplets is to back off.
    object_power : float
        Exponent of the weight total**(-object_power): 1 counts each object once, 0 each event.
    tail : float
        Share of events uniform over the observed cells, above 0 and below 1.
    n_iter : int
        Iterations of each fit.
    row_shape : tuple of int, optional
        Axes of the rows, product R, so that neighbours can be found; by default one axis.
    groups : int array, shape (n_objects,), optional
        Objects of one group (versions of one object) are held out together. By default each object is its
        own group.

    Returns
    -------
    Density
        A class without data has its parent's rows; without any data all is uniform over cells.

    Raises
    ------
    ValueError
        If a shape does not fit, a number is negative or not finite, or an option outside its range.

    Notes
    -----
    Depends on: counts only, neither on the order of objects nor of classes. Held-out objects rather than
    the Dirichlet-multinomial evidence decide the strength, because events of one object are alike and the
    evidence would take their agreement for that of independent events. Cost: one product of the weights with
    the counts, then products of tables only.
    """
    counts, membership, response, row_shape = _checked(counts, membership, response, row_shape)
    check_tail(tail)
    if strength is not None and not (np.isfinite(strength) and strength > 0):
        raise ValueError(f"strength must be positive, but it is {strength!r}: give a number of events.")
    if n_iter < 1:
        raise ValueError(f"n_iter must be at least 1, but it is {n_iter}: give a number of iterations.")
    if not (np.isfinite(object_power) and object_power >= 0):
        raise ValueError(
            f"object_power must be finite and not negative, but it is {object_power!r}: 1 counts objects."
        )
    if groups is not None and np.shape(groups) != (len(counts),):
        raise ValueError(
            f"groups must have one entry an object, but groups.shape={np.shape(groups)} and "
            f"counts.shape={counts.shape}: give shape ({len(counts)},)."
        )
    shape = (membership.shape[1], *counts.shape[1:])
    fold = fold_of_object(counts, membership, groups, N_FOLDS)
    by_fold = weighted_tables(counts, membership, fold, N_FOLDS, object_power)
    total = by_fold.sum(axis=0, keepdims=True)
    training = total - by_fold
    if parent is None:
        fold_parent, row_strength = _pooled_rows(training, by_fold, response, row_shape, tail, None)
        total_parent, _ = _pooled_rows(total, None, response, row_shape, tail, row_strength, n_iter)
    else:
        fold_parent = total_parent = _checked_parent(parent, shape)[None]
    if strength is None:
        strength = _best_strength(training, by_fold, fold_parent, response, tail)
    true = _fit(total, response, total_parent, strength, tail, n_iter)[0]
    return Density.from_true(
        true,
        response,
        tail=tail,
        strength=strength,
        effective_events=total[0].sum(axis=(-2, -1), dtype=np.float64),
    )


def weighted_tables(
    counts: np.ndarray, membership: np.ndarray, fold: np.ndarray, n_folds: int, object_power: float
) -> np.ndarray:
    r"""Weighted counts of each fold and class, in units of events.

    An event of an object with total n and membership m in a class has the weight
    :math:`m \kappa n^{-p}`, with one factor for all objects,

    .. math:: \kappa = \frac{\sum_i m_i n_i^{1 - p}}{\sum_i m_i n_i^{1 - 2 p}}

    so that the weights of all events sum to their effective number :math:`(\sum w)^2 / \sum w^2`. With
    p = 1 every object has the weight of as many events as the harmonic mean of the objects' totals, with
    p = 0 every event has weight one.

    Parameters
    ----------
    counts : float array, shape (n_objects, R, S, J)
    membership : float array, shape (n_objects, C)
        Counted as multiplicities: an object in five versions of a fifth each is one object.
    fold : int array, shape (n_objects,)
        Fold of each object, below `n_folds`.
    n_folds : int
        Number of folds F.
    object_power : float
        The exponent p.

    Returns
    -------
    float array, shape (F, C, R, S, J)
        Zeros where there is no event.

    References
    ----------
    Kish (1965), Survey Sampling, for the effective number under unequal weights.
    """
    total = counts.sum(axis=(1, 2, 3), dtype=np.float64)
    size = membership.sum(axis=1)
    seen = total > 0
    weight = np.zeros_like(total)
    weight[seen] = total[seen] ** -object_power
    spread = np.sum(size * weight**2 * total)
    if spread > 0:
        weight *= np.sum(size * weight * total) / spread
    by_fold = (np.arange(n_folds)[:, None] == fold) * weight
    product = by_fold[:, None, :] * membership.T
    table = product.astype(counts.dtype) @ _flat(counts)
    return table.reshape(*product.shape[:2], *counts.shape[1:])


def fold_of_object(
    counts: np.ndarray, membership: np.ndarray, groups: np.ndarray | None, n_folds: int
) -> np.ndarray:
    """Divide objects into folds by what they hold, so that neither their order nor a seed matters.

    Groups are sorted by their main class and by a sum of their counts with fixed, irregular coefficients,
    and dealt out in turn: each class is spread over the folds as evenly as possible.

    Parameters
    ----------
    counts : float array, shape (n_objects, R, S, J)
    membership : float array, shape (n_objects, C)
    groups : int array, shape (n_objects,), or None
        Objects of one group share a fold.
    n_folds : int
        Number of folds.

    Returns
    -------
    int array, shape (n_objects,)
    """
    groups = np.arange(len(counts)) if groups is None else np.unique(groups, return_inverse=True)[1]
    flat = _flat(counts)
    coefficients = np.modf(np.arange(1, flat.shape[1] + 1) * np.sqrt(2.0))[0].astype(flat.dtype)
    n_groups = int(groups.max(initial=-1)) + 1
    mark = np.bincount(groups, flat @ coefficients, minlength=n_groups)
    share = np.zeros((n_groups, membership.shape[1]))
    np.add.at(share, groups, membership)
    fold = np.empty(n_groups, dtype=np.int64)
    fold[np.lexsort((mark, share.argmax(axis=1)))] = np.arange(n_groups) % n_folds
    return fold[groups]


def neighbouring_rows(table: np.ndarray, row_shape: tuple[int, ...]) -> np.ndarray:
    """Sum each row's neighbours along every axis of the rows, half weight a step, without the row itself.

    Parameters
    ----------
    table : float array, shape (F, C, R, S, J)
    row_shape : tuple of int
        Axes of the rows, product R.

    Returns
    -------
    float array, shape (F, C, R, S, J)
        Zeros where a row has no neighbour.
    """
    around = table.reshape(*table.shape[:2], *row_shape, *table.shape[3:])
    for axis in range(2, 2 + len(row_shape)):
        padded = np.moveaxis(np.pad(around, [(int(i == axis),) * 2 for i in range(around.ndim)]), axis, 0)
        around = np.moveaxis(padded[1:-1] + 0.5 * (padded[:-2] + padded[2:]), 0, axis)
    # The difference is not negative but for rounding.
    return np.maximum(around.reshape(table.shape) - table, 0.0)


def _flat(counts: np.ndarray) -> np.ndarray:
    # The number of cells is stated, because it cannot be inferred for no object.
    return counts.reshape(len(counts), int(np.prod(counts.shape[1:])))


def _pooled_rows(training, held_out, response, row_shape, tail, strength, n_iter=N_ITER_SELECTION):
    """Rows of all classes together, (F, 1, R, J), and the strength of their parents."""
    n_cells = training.shape[-1]
    pooled = training.sum(axis=1, keepdims=True)
    uniform = np.full((len(pooled), 1, 1, n_cells), 1.0 / n_cells, dtype=np.float32)
    everything = pooled.sum(axis=2, keepdims=True)
    base = _fit(everything, response, uniform, _BASE_STRENGTH, tail, n_iter)
    base = np.broadcast_to(base, (*pooled.shape[:3], n_cells))
    around = neighbouring_rows(pooled, row_shape)
    if strength is None:
        pooled_held_out = held_out.sum(axis=1, keepdims=True)
        strength = _best_strength(pooled, pooled_held_out, base, response, tail, around=around)
    neighbours = _fit(around, response, base, strength, tail, n_iter)
    return _fit(pooled, response, neighbours, strength, tail, n_iter), strength


def _best_strength(training, held_out, parent, response, tail, around=None):
    """Return the candidate under which the held-out counts are most probable."""
    if not held_out.any():
        return STRENGTHS[-1]
    arrays = (np.asarray(x, dtype=np.float32) for x in (training, held_out, parent, response, STRENGTHS))
    around = None if around is None else np.asarray(around, dtype=np.float32)
    scores = _held_out(*arrays, np.float32(tail), np.int32(N_ITER_SELECTION), around)
    return STRENGTHS[int(np.argmax(scores))]


def _fit(table, response, parent, strength, tail, n_iter):
    arrays = (np.asarray(x, dtype=np.float32) for x in (table, response, parent))
    return np.asarray(_deconvolve(*arrays, np.float32(strength), np.float32(tail), np.int32(n_iter)))


_deconvolve = jax.jit(deconvolve)


@jax.jit
def _held_out(
    training: Float[Array, "n_folds n_classes n_rows n_errors n_cells"],
    held_out: Float[Array, "n_folds n_classes n_rows n_errors n_cells"],
    parent: Float[Array, "n_folds_or_1 n_classes_or_1 n_rows n_cells"],
    response: Float[Array, "n_errors n_cells n_cells"],
    strengths: Float[Array, " n_strengths"],
    tail: Float[Array, ""],
    n_iter: Int[Array, ""],
    around: Float[Array, "n_folds n_classes n_rows n_errors n_cells"] | None,
) -> Float[Array, " n_strengths"]:
    """Log-likelihood of held-out counts for each strength of the parent.

    With `around`, counts of neighbouring rows, the parent is first fitted to those with the same strength.
    """
    forward = response.reshape(-1, response.shape[-1])

    def score(strength):
        nearest = parent
        if around is not None:
            nearest = deconvolve(around, response, parent, strength, tail, n_iter)
        true = deconvolve(training, response, nearest, strength, tail, n_iter)
        model = jnp.matmul(true, forward.T, precision=jax.lax.Precision.HIGHEST)
        return jnp.vdot(jnp.log((1 - tail) * model + tail / response.shape[-1]).ravel(), held_out.ravel())

    return jax.lax.map(score, strengths)


def _checked(counts, membership, response, row_shape):
    counts = np.asarray(counts)
    if not np.issubdtype(counts.dtype, np.floating):
        counts = counts.astype(np.float32)
    membership = np.asarray(membership, dtype=np.float64)
    response = np.asarray(response, dtype=np.float64)
    fits = counts.ndim == 4 and membership.ndim == 2 and len(membership) == len(counts)
    if not (fits and membership.shape[1] > 0 and response.shape == (counts.shape[2], *counts.shape[3:] * 2)):
        raise ValueError(
            "counts must be (objects, rows, errors, cells), membership (objects, classes) and response "
            f"(errors, cells, cells), but counts.shape={counts.shape}, membership.shape={membership.shape} "
            f"and response.shape={response.shape}: use one grid and one list of objects."
        )
    for name, array in (("counts", counts), ("membership", membership)):
        # The smallest number is NaN if any is.
        if array.size and not (array.min() >= 0 and np.isfinite(array.max())):
            raise ValueError(
                f"{name} must be finite and not negative, but it holds {array.min()} to {array.max()}: "
                "set such entries aside first."
            )
    row_shape = (counts.shape[1],) if row_shape is None else tuple(row_shape)
    if int(np.prod(row_shape)) != counts.shape[1]:
        raise ValueError(
            f"row_shape must have as many cells as counts has rows, but row_shape={row_shape} and "
            f"counts.shape={counts.shape}: give the grid's row_shape."
        )
    return counts, membership, response, row_shape


def _checked_parent(parent, shape):
    parent = np.asarray(parent, dtype=np.float64)
    n_classes, n_rows, _, n_cells = shape
    if parent.shape not in {(n_classes, n_rows, n_cells), (1, n_rows, n_cells)}:
        raise ValueError(
            f"parent must be of shape ({n_classes} or 1, {n_rows}, {n_cells}), but parent.shape="
            f"{parent.shape}: repeat it over the rows that share it."
        )
    if not ((parent >= 0).all() and np.allclose(parent.sum(axis=-1), 1.0, atol=1e-4)):
        raise ValueError(
            "Each row of parent must be a distribution over cells, but one has negative numbers or does not "
            "sum to 1: normalise it."
        )
    return parent
