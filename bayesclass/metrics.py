"""Measures of class probabilities against labels: proper scores, calibration, decisions, intervals.

Throughout, ``p`` is a float array of shape (n, n_classes) with rows that sum to one. ``y`` holds class
indices, shape (n,), or, where a function says so, the classes that a partial label allows, shape
(n, n_classes) and bool. ``weights`` counts how often each object is taken, shape (..., n): one row a
bootstrap resample, see `resample_counts`. The result has the leading shape of ``weights``, a number
without. A mean over nothing is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from scipy import sparse

# Resamples are made in blocks of at most this many counts, so that memory stays flat.
BLOCK = 4_000_000


def one_hot(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return class indices, shape (n,), as a bool array, shape (n, n_classes)."""
    y = np.asarray(y)
    if y.ndim != 1 or (y.size and (y.min() < 0 or y.max() >= n_classes)):
        raise ValueError(
            f"Class indices must have shape (n,) and lie in 0 to {n_classes - 1}, found {y.shape=} with "
            f"{np.unique(y)[:5].tolist()}; leave objects without one class out."
        )
    return y[:, None] == np.arange(n_classes)


def log_losses(p: np.ndarray, y: np.ndarray, *, floor: float = 0.0) -> np.ndarray:
    r"""Return each object's :math:`-\ln \sum_{c\,\mathrm{allowed}} p_c`, shape (n,) [nat].

    Parameters
    ----------
    p : float array, shape (n, n_classes)
    y : int array, shape (n,), or bool array, shape (n, n_classes)
        Class, or the classes of which one is right.
    floor : float
        Smallest probability taken for what happened; zero leaves an impossible truth infinite.
    """
    p = np.asarray(p, dtype=np.float64)
    y = np.asarray(y)
    allowed = y if y.dtype == bool else one_hot(y, p.shape[1])
    if allowed.shape != p.shape:
        raise ValueError(f"Labels must match the probabilities, found {allowed.shape=} and {p.shape=}.")
    right = np.where(allowed, p, 0.0).sum(axis=1)
    # Rounding may carry a sum over all classes above one.
    right = np.clip(right, floor, 1.0)
    with np.errstate(divide="ignore"):
        return -np.log(right)


def log_loss(p, y, *, floor: float = 0.0, weights=None):
    """Return the mean of `log_losses`: the logarithmic score, partial labels included [nat]."""
    return weighted_mean(log_losses(p, y, floor=floor), weights)


def brier(p, y, *, weights=None):
    r"""Return the Brier score :math:`\langle\sum_c (p_c - y_c)^2\rangle`, between 0 and 2."""
    p = np.asarray(p, dtype=np.float64)
    return weighted_mean(((p - one_hot(y, p.shape[1])) ** 2).sum(axis=1), weights)


def accuracy(p, y, *, weights=None):
    """Return the fraction of objects whose most probable class is the labelled one."""
    return weighted_mean(np.argmax(p, axis=1) == np.asarray(y), weights)


def weighted_mean(values, weights=None):
    """Return the mean of values, shape (n,), leaving out those that are NaN."""
    values = np.asarray(values, dtype=np.float64)
    weights = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    known = ~np.isnan(values)
    return _ratio(weights[..., known] @ values[known], weights[..., known].sum(axis=-1))


def precision_recall_f1(p, y, *, weights=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 of every class, each of shape (..., n_classes).

    NaN where undefined: F1 of a class that is neither labelled nor chosen anywhere.
    """
    n_classes = np.shape(p)[1]
    true = one_hot(y, n_classes)
    chosen = one_hot(np.argmax(p, axis=1), n_classes)
    weights = np.ones(len(true)) if weights is None else np.asarray(weights, dtype=np.float64)
    hits, n_true, n_chosen = (weights @ m.astype(np.float64) for m in (true & chosen, true, chosen))
    return _ratio(hits, n_chosen), _ratio(hits, n_true), _ratio(2.0 * hits, n_true + n_chosen)


def macro_f1(p, y, *, weights=None):
    """Return the mean F1 over the classes that are labelled or chosen at least once."""
    f1 = precision_recall_f1(p, y, weights=weights)[2]
    return _ratio(np.nansum(f1, axis=-1), (~np.isnan(f1)).sum(axis=-1))


def class_ece(p, y, bins: int = 15, *, weights=None) -> np.ndarray:
    r"""Return the expected calibration error of every class, shape (..., n_classes).

    .. math:: \mathrm{ECE}_c = \sum_b \frac{n_{cb}}{n} |\bar p_{cb} - \bar y_{cb}|

    over equal-width bins of the class's probability.
    """
    p = np.asarray(p, dtype=np.float64)
    n, n_classes = p.shape
    residual = (p - one_hot(y, n_classes)).ravel()
    cell = _cells(p, bins).ravel()
    owner = np.repeat(np.arange(n), n_classes)
    sums = sparse.csr_array((residual, (cell, owner)), shape=(n_classes * bins, n))
    weights = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    rows = weights.reshape(int(np.prod(weights.shape[:-1])), n)
    gap = np.abs(sums @ rows.T).reshape(n_classes, bins, -1).sum(axis=1)
    gap = gap.T.reshape(*weights.shape[:-1], n_classes)
    return _ratio(gap, weights.sum(axis=-1)[..., None])


def classwise_ece(p, y, bins: int = 15, *, weights=None):
    """Return the mean over classes of `class_ece` (Kull et al. 2019, NeurIPS 32)."""
    return class_ece(p, y, bins, weights=weights).mean(axis=-1)[()]


def draw_labels(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one class index for every object from its own probabilities, shape (n,)."""
    upper = np.cumsum(p, axis=1)
    return (rng.random(len(p))[:, None] * upper[:, -1:] >= upper[:, :-1]).sum(axis=1)


def ece_null(p: np.ndarray, rng: np.random.Generator, n: int = 100, bins: int = 15) -> tuple[float, float]:
    """Return what `classwise_ece` would be if the probabilities were exactly right.

    Labels are redrawn `n` times from the probabilities. A finite sample has an error above zero even then.

    Returns
    -------
    mean, upper : float
        Mean and 95 % quantile of the redrawn errors.
    """
    p = np.asarray(p, dtype=np.float64)
    if not len(p):
        return np.nan, np.nan
    errors = [classwise_ece(p, draw_labels(p, rng), bins) for _ in range(n)]
    return float(np.mean(errors)), float(np.quantile(errors, 0.95))


def roc_auc(score: np.ndarray, is_class: np.ndarray) -> float:
    """Return the area under the ROC curve of one class against the rest.

    The probability that a member has a higher score than another object, a tie counting one half: the
    Mann-Whitney statistic from mean ranks. NaN without members or without others.
    """
    from scipy.stats import rankdata

    is_class = np.asarray(is_class, dtype=bool)
    members, others = int(is_class.sum()), int((~is_class).sum())
    if not members or not others:
        return np.nan
    ranks = rankdata(score)
    return float((ranks[is_class].sum() - members * (members + 1) / 2) / (members * others))


def confusion(p: np.ndarray, y: np.ndarray, *, fuzzy: bool = False) -> np.ndarray:
    """Return objects by labelled class (rows) and given class (columns), shape (n_classes, n_classes).

    Given is the most probable class, or with `fuzzy` each class by its probability.
    """
    p = np.asarray(p, dtype=np.float64)
    given = p if fuzzy else one_hot(np.argmax(p, axis=1), p.shape[1])
    return one_hot(y, p.shape[1]).T.astype(np.float64) @ given


def coverage(sets: np.ndarray, y: np.ndarray, *, weights=None):
    """Return the fraction of prediction sets, shape (n, n_classes) and bool, that hold the labelled class."""
    sets = np.asarray(sets, dtype=bool)
    return weighted_mean((sets & one_hot(y, sets.shape[1])).any(axis=1), weights)


def reliability(p, y, rng: np.random.Generator, bins: int = 10, n: int = 200) -> dict[str, np.ndarray]:
    """Return observed frequency against probability, per class and for all classes together.

    The band holds 95 % of the frequencies of labels redrawn from the probabilities (consistency bars of
    Broecker & Smith 2007, Weather and Forecasting 22, 651): a frequency outside is no chance.

    Returns
    -------
    dict of str to float array, shape (n_classes + 1, bins)
        n, mean_probability, frequency, band_lower, band_upper; the last row is all classes pooled. NaN
        where a bin is empty.
    """
    p = np.asarray(p, dtype=np.float64)
    n_classes = p.shape[1]
    cell = _cells(p, bins)

    def pooled(weight):
        table = np.bincount(cell.ravel(), weight.ravel(), n_classes * bins).reshape(n_classes, bins)
        return np.vstack([table, table.sum(axis=0)])

    count = pooled(np.ones(p.shape))
    redrawn = np.array([pooled(one_hot(draw_labels(p, rng), n_classes)) for _ in range(n)])
    lower, upper = _ratio(np.quantile(redrawn, (0.025, 0.975), axis=0), count)
    observed = _ratio(pooled(one_hot(y, n_classes)), count)
    return {
        "n": count,
        "mean_probability": _ratio(pooled(p), count),
        "frequency": observed,
        "band_lower": lower,
        "band_upper": upper,
    }


def resample_counts(n: int, n_resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield blocks of bootstrap resamples of n objects as counts, each of shape (block, n), float64."""
    block = max(1, min(n_resamples, BLOCK // max(n, 1)))
    for start in range(0, n_resamples, block):
        rows = min(block, n_resamples - start)
        chosen = rng.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(chosen.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def bootstrap(
    statistics: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    n: int,
    rng: np.random.Generator,
    n_resamples: int = 400,
) -> dict[str, np.ndarray]:
    """Return every statistic on resamples of the objects, each of shape (n_resamples, ...).

    Parameters
    ----------
    statistics : mapping of str to callable
        Each takes weights of shape (block, n).
    n : int
        Number of objects.
    """
    blocks = [
        {name: statistic(weights) for name, statistic in statistics.items()}
        for weights in resample_counts(n, n_resamples, rng)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in statistics}


def bootstrap_interval(estimate, resampled, *, level: float = 0.95, pivotal: bool = False):
    """Return the lower and upper end of a bootstrap interval.

    Parameters
    ----------
    estimate : float or float array, shape (...)
    resampled : float array, shape (n_resamples, ...)
        NaN where a resample has none of the objects that count; those are left out.
    pivotal : bool
        Reflect the quantiles at the estimate and cut at zero. For a calibration error, which resampling
        raises: its plain quantiles lie too high. Widened, if need be, to hold the estimate.
    """
    estimate = np.asarray(estimate, dtype=np.float64)
    tail = (1.0 - level) / 2.0
    ends = np.full((2, *estimate.shape), np.nan)
    known = ~np.isnan(estimate) & (~np.isnan(resampled)).any(axis=0)
    ends[:, known] = np.nanquantile(resampled[:, known], (tail, 1.0 - tail), axis=0)
    lower, upper = ends
    if pivotal:
        mirrored = np.fmax(2.0 * estimate - upper, 0.0), 2.0 * estimate - lower
        lower, upper = np.minimum(mirrored[0], estimate), np.maximum(mirrored[1], estimate)
        lower, upper = np.where(known, lower, np.nan), np.where(known, upper, np.nan)
    return lower[()], upper[()]


def _cells(p: np.ndarray, bins: int) -> np.ndarray:
    """Index of class and bin of every probability, class by class, shape (n, n_classes)."""
    # The last bin holds one itself.
    inside = np.clip((p * bins).astype(np.int64), 0, bins - 1)
    return inside + bins * np.arange(p.shape[1])


def _ratio(above, below):
    """Quotient, NaN where it divides by zero."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)[()]


def class_ece_null(p: np.ndarray, rng: np.random.Generator, n: int = 100, bins: int = 15):
    """Return what `class_ece` of each class would be if the probabilities were exactly right.

    Returns
    -------
    mean, upper : float array, shape (n_classes,)
        Mean and 95 % quantile of the errors of redrawn labels, as in `ece_null`.
    """
    p = np.asarray(p, dtype=np.float64)
    if not len(p):
        return np.full(p.shape[1], np.nan), np.full(p.shape[1], np.nan)
    errors = np.array([class_ece(p, draw_labels(p, rng), bins) for _ in range(n)])
    return errors.mean(axis=0), np.quantile(errors, 0.95, axis=0)


def binomial_interval(hits, n, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact interval of a fraction of n independent objects (Clopper & Pearson 1934).

    Biometrika 26, 404. Never of zero width, which a resampled fraction of 0 or 1 would have.

    Parameters
    ----------
    hits, n : int array, shape (...)
        NaN is returned where n is zero.
    """
    from scipy.stats import beta

    hits, n = np.broadcast_arrays(np.asarray(hits, np.float64), np.asarray(n, np.float64))
    tail = (1.0 - level) / 2.0
    # The beta distribution has no parameter zero; what stands there is replaced below.
    lower = beta.ppf(tail, np.maximum(hits, 0.5), n - hits + 1.0)
    upper = beta.ppf(1.0 - tail, hits + 1.0, np.maximum(n - hits, 0.5))
    lower, upper = np.where(hits == 0, 0.0, lower), np.where(hits == n, 1.0, upper)
    return np.where(n > 0, lower, np.nan)[()], np.where(n > 0, upper, np.nan)[()]
