"""How well a nearest-source model is known: draws of its parameters around the fit."""

from __future__ import annotations

import numpy as np

from context.nearest import ARCSEC2_PER_ARCMIN2, log_nearest
from context.nearest_fit import NearestModel

__all__ = ["draw_nearest"]

# Of finite differences, in logit a and log s: far above rounding, far below the scale of the curvature.
STEP = 1e-3
# No direction is known worse than by this standard deviation: some three times a flat prior's.
WIDEST = 4.0
LARGEST_LOGIT = 30.0


def draw_nearest(
    model: NearestModel,
    separation,
    density,
    found,
    covered,
    share,
    rng: np.random.Generator,
    n_draws: int,
    *,
    position_error=0.0,
    shared_scatter: bool = False,
    prior: tuple[float, float] = (1.0, 1.0),
    typical_scatter: float = 1.0,
) -> tuple[NearestModel, ...]:
    r"""Draw parameters from the Laplace approximation of their posterior.

    In :math:`\theta_c = (\operatorname{logit} a_c, \log s_c)` the fit is the maximum of

    .. math::

        \sum_i w_{ic} \log p_i(\theta_c) + \alpha \log a_c + \beta \log(1 - a_c) - 2 \log s_c - t^2 / s_c^2,

    because the mean of a Beta distribution is the mode of its logit, and the scatter's prior is one
    counterpart at the squared distance :math:`2 t^2`. The draws are normal in these coordinates, with the
    inverse of the negative Hessian, by finite differences, as covariance. A scatter that classes share is one
    coordinate of all.

    Parameters
    ----------
    model : NearestModel
        As `NearestModel.fit` left it.
    separation, density, found, covered, position_error
        Of the objects of the fit; density in arcmin^-2.
    share : array, shape (n_objects, n_classes)
        Weight of each object in each class, :math:`w_{ic}`; partial labels shared out.
    rng, n_draws
    shared_scatter, prior, typical_scatter
        As of the fit.

    Returns
    -------
    tuple of NearestModel
    """
    density = np.asarray(density, dtype=float) / ARCSEC2_PER_ARCMIN2
    share = np.where(np.asarray(covered, dtype=bool)[:, None], np.asarray(share, dtype=float), 0.0)
    centre = np.stack([np.log(model.probability / (1 - model.probability)), np.log(model.scatter)])

    def log_posterior(theta):
        a, s = 1 / (1 + np.exp(-theta[0])), np.exp(theta[1])
        log = log_nearest(separation, density, found, covered, a, s, model.radius, position_error)
        own = prior[0] * np.log(a) + prior[1] * np.log1p(-a)
        return (share * log).sum(axis=0) + own, -2 * theta[1] - (typical_scatter / s) ** 2

    offset, scatter = _curvature(log_posterior, centre, shared_scatter)
    n_classes = centre.shape[1]
    if shared_scatter:
        precision = np.zeros((n_classes + 1, n_classes + 1))
        precision[np.arange(n_classes), np.arange(n_classes)] = offset[0, 0]
        precision[:n_classes, -1] = precision[-1, :n_classes] = offset[0, 1]
        precision[-1, -1] = offset[1, 1].sum() + scatter
        moved = _normal(precision, rng, n_draws)
        moved = np.stack([moved[:, :n_classes], np.repeat(moved[:, -1:], n_classes, axis=1)], axis=1)
    else:
        blocks = offset.transpose(2, 0, 1)
        moved = np.stack([_normal(block, rng, n_draws) for block in blocks], axis=2)
    theta = centre + moved
    # A probability of exactly one would make an object without a source impossible.
    theta[:, 0] = np.clip(theta[:, 0], -LARGEST_LOGIT, LARGEST_LOGIT)
    return tuple(NearestModel(1 / (1 + np.exp(-draw[0])), np.exp(draw[1]), model.radius) for draw in theta)


def _curvature(log_posterior, centre: np.ndarray, shared_scatter: bool) -> tuple[np.ndarray, float]:
    """Negative second derivatives of every class, (2, 2, n_classes), and of a shared scatter's prior."""

    def value(i, j):
        likelihood, of_scatter = log_posterior(centre + STEP * np.array([[i], [j]]))
        return likelihood if shared_scatter else likelihood + of_scatter

    middle = value(0, 0)
    second = np.empty((2, 2, centre.shape[1]))
    second[0, 0] = value(1, 0) - 2 * middle + value(-1, 0)
    second[1, 1] = value(0, 1) - 2 * middle + value(0, -1)
    cross = value(1, 1) - value(1, -1) - value(-1, 1) + value(-1, -1)
    second[0, 1] = second[1, 0] = cross / 4
    priors = [log_posterior(centre + STEP * np.array([[0], [j]]))[1][0] for j in (-1, 0, 1)]
    return -second / STEP**2, -(priors[0] - 2 * priors[1] + priors[2]) / STEP**2


def _normal(precision: np.ndarray, rng: np.random.Generator, n_draws: int) -> np.ndarray:
    """Draws of a normal distribution around zero, shape (n_draws, k)."""
    value, vector = np.linalg.eigh(precision)
    noise = rng.normal(size=(n_draws, len(value)))
    return (noise / np.sqrt(np.maximum(value, WIDEST**-2))) @ vector.T
