"""What two evidence columns tell of each other once the class is known: information, test, local score."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import xlogy
from scipy.stats import gamma, random_table

__all__ = ["PairTest", "family_gain", "pair_test"]

N_NULL_TABLES = 500


class PairTest(NamedTuple):
    """Dependence of two columns given the class.

    Attributes
    ----------
    n_objects : int
        Objects of which both are known (available cases).
    information : float
        Conditional mutual information of the states given the class [nat]; biased upwards, never negative.
    expected : float
        Its mean under independence given the class [nat].
    p_value : float
        Of independence given the class.
    """

    n_objects: int
    information: float
    expected: float
    p_value: float


def pair_test(
    first: np.ndarray, second: np.ndarray, label: np.ndarray, rng: np.random.Generator | None = None
) -> PairTest:
    r"""Measure and test the dependence of two discretised columns given the class.

    .. math:: I(x, y | c) = \sum_{x, y, c} \frac{n_{xyc}}{n} \ln \frac{n_{xyc}\, n_c}{n_{xc}\, n_{yc}},
              \qquad G = 2 n I

    Parameters
    ----------
    first, second : int array, shape (n_objects,)
        States; -1 where missing.
    label : int array, shape (n_objects,)
        Class; negative where not known.
    rng : numpy.random.Generator, optional
        Of the tables under independence; without it nothing is tested (`expected` and `p_value` are NaN).

    Returns
    -------
    PairTest

    Notes
    -----
    G is compared with tables that have the same margins in each class and are otherwise random (Patefield
    1981): a gamma distribution with their mean and variance gives the p-value. The chi-squared distribution
    would find too much, as classes of some dozens of objects fill an 8 x 8 table thinly.
    """
    known = (first >= 0) & (second >= 0) & (label >= 0)
    n = int(known.sum())
    if n == 0:
        return PairTest(0, 0.0, np.nan if rng is None else 0.0, np.nan if rng is None else 1.0)
    counts = np.zeros(
        (label[known].max() + 1, first[known].max() + 1, second[known].max() + 1), dtype=np.int64
    )
    np.add.at(counts, (label[known], first[known], second[known]), 1)
    observed, null = 0.0, np.zeros(N_NULL_TABLES)
    for table in counts:
        rows, columns = table.sum(axis=1), table.sum(axis=0)
        rows, columns = rows[rows > 0], columns[columns > 0]
        if len(rows) < 2 or len(columns) < 2:
            continue
        total = rows.sum()
        margins = xlogy(total, total) - xlogy(rows, rows).sum() - xlogy(columns, columns).sum()
        observed += xlogy(table, table).sum() + margins
        if rng is not None:
            drawn = random_table.rvs(rows, columns, size=N_NULL_TABLES, random_state=rng)
            null += xlogy(drawn, drawn).sum(axis=(1, 2)) + margins
    information = max(float(observed) / n, 0.0)
    if rng is None:
        return PairTest(n, information, np.nan, np.nan)
    mean, variance = float(null.mean()), float(null.var(ddof=1))
    if variance <= 1e-12 * max(mean, 1.0) ** 2:
        # All tables with these margins are alike.
        return PairTest(n, information, mean / n, 1.0)
    p_value = float(gamma.sf(observed, mean**2 / variance, scale=variance / mean))
    return PairTest(n, information, mean / n, p_value)


def family_gain(
    child: np.ndarray, parents: list[np.ndarray], label: np.ndarray, n_states: tuple[int, ...], n_classes: int
) -> float:
    r"""Score what parents beside the class add to a column, by Akaike's information criterion.

    .. math:: \sum_{i} \ln \frac{\hat p(x_i | c_i, \mathrm{pa}_i)}{\hat p(x_i | c_i)} - n_c (q - 1) (r - 1)

    Parameters
    ----------
    child : int array, shape (n_objects,)
        States of the column; -1 where missing.
    parents : list of int array, shape (n_objects,)
    label : int array, shape (n_objects,)
        Class; negative where not known.
    n_states : tuple of int
        Of the child (r in the equation), then of each parent (their product is q).
    n_classes : int
        Classes without an object here are not counted in n_c.

    Returns
    -------
    float
        [nat]; zero without parents. Both terms take the same objects, those of which child and parents are
        all known, so that a parent is not preferred because it is often missing. The Bayesian criterion
        would forbid almost every edge, as classes of some dozens of objects pay for whole tables; what is
        proposed here has to pass a test and gain on held-out objects anyway.

    References
    ----------
    Koller & Friedman (2009), Probabilistic Graphical Models, section 18.3.5.
    """
    if not parents:
        return 0.0
    known = (child >= 0) & (label >= 0) & np.all([states >= 0 for states in parents], axis=0)
    r, q = n_states[0], int(np.prod(n_states[1:]))
    group = np.ravel_multi_index([states[known] for states in parents], n_states[1:])
    counts = np.zeros((n_classes, q, r))
    np.add.at(counts, (label[known], group, child[known]), 1.0)
    price = (counts.sum(axis=(1, 2)) > 0).sum() * (q - 1) * (r - 1)
    return float(_log_likelihood(counts) - _log_likelihood(counts.sum(axis=1)) - price)


def _log_likelihood(counts: np.ndarray) -> float:
    """Greatest log-likelihood of counts, states last."""
    return xlogy(counts, counts).sum() - xlogy(counts.sum(axis=-1), counts.sum(axis=-1)).sum()
