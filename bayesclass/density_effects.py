"""Effects of class and configuration on one parameter of many densities: a linear mixed model.

Each column of a table (a class with a configuration of the other parents) has its own location and scale.
What is known of one column from all the others is the prior that this column needs: it pools the columns as
far as the data say that they are alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

__all__ = ["Effects", "learn_effects"]

# Bounds on the logarithm of a scatter, in units of the parameter.
_BOUNDS = (-7.0, 1.0)


class Effects(NamedTuple):
    """Prior of each column from all the other columns.

    Attributes
    ----------
    mean, variance : float64 arrays, shape (n_columns,)
    scatter : float64 array, shape (n_effects,)
        Standard deviations between classes, between configurations, and of what both leave unexplained.
    """

    mean: np.ndarray
    variance: np.ndarray
    scatter: np.ndarray


def learn_effects(
    value: np.ndarray,
    precision: np.ndarray,
    groups: tuple[np.ndarray, ...],
    *,
    mean: float,
    variance: float,
    start: np.ndarray | None = None,
) -> Effects:
    r"""Learn how alike columns are, and predict each from the others.

    .. math:: \theta_{co} = m + a_c + b_o + e_{co}

    with normal effects. Their scatters maximise the marginal likelihood times a gamma density of shape 2,
    which keeps them from zero where there are few classes. Given them all is linear, so the prediction of a
    column without its own value is exact.

    Parameters
    ----------
    value : float array, shape (n_columns,)
        Estimate of the parameter in each column.
    precision : float array, shape (n_columns,)
        Inverse variance of that estimate; 0 where a column says nothing.
    groups : tuple of int arrays, shape (n_columns,)
        Class of each column, configuration of each column, or both; empty for a single column.
    mean, variance : float
        Prior of m.
    start : float array, optional
        First scatters of the search.

    Returns
    -------
    Effects

    References
    ----------
    Chung et al. (2013), Psychometrika 78, 685 (the gamma density of shape 2).
    """
    rows = [np.ones((len(value), 1))]
    rows += [(group[:, None] == np.arange(group.max() + 1)).astype(float) for group in groups]
    design = np.concatenate(rows, axis=1)
    block = np.repeat(np.arange(len(rows)), [part.shape[1] for part in rows])
    # With both kinds of groups a column may deviate from their sum; with one, its effect is the group's.
    n_scatters = len(groups) + (len(groups) == 2)
    known = precision > 0
    noise = np.where(known, 1.0 / np.where(known, precision, 1.0), np.inf)
    centred = np.where(known, value - mean, 0.0)

    def fitted(scatter):
        own = scatter[2] ** 2 if len(groups) == 2 else 0.0
        weight = 1.0 / (noise + own)
        prior = 1.0 / np.concatenate([[variance], np.square(scatter[: len(groups)])])[block]
        factor = cho_factor(np.diag(prior) + design.T @ (weight[:, None] * design))
        projected = design.T @ (weight * centred)
        solution = cho_solve(factor, projected)
        return weight, prior, factor, projected, solution, own

    def cost(log_scatter):
        scatter = np.exp(log_scatter)
        weight, prior, factor, projected, solution, _ = fitted(scatter)
        deviance = centred @ (weight * centred) - projected @ solution
        deviance += 2.0 * np.log(np.diag(factor[0])).sum() - np.log(prior).sum()
        deviance -= np.log(weight[known]).sum()
        return 0.5 * deviance - np.sum(log_scatter - 2.0 * scatter)

    scatter = np.full(n_scatters, 0.3) if start is None else start
    if n_scatters:
        found = minimize(cost, np.log(scatter), method="L-BFGS-B", bounds=[_BOUNDS] * n_scatters)
        scatter = np.exp(found.x)
    weight, _, factor, _, solution, own = fitted(scatter)
    leverage = np.einsum("ij,ji->i", design, cho_solve(factor, design.T))
    prediction = design @ solution
    # Take each column's own value out again (the update of a linear model by one row).
    rest = 1.0 - leverage * weight
    prediction = prediction - leverage * weight / rest * (centred - prediction)
    return Effects(mean + prediction, own + leverage / rest, scatter)
