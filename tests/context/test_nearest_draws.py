"""Draws of a nearest-source model against its posterior on a grid."""

import numpy as np
import pytest

from context.nearest import log_nearest
from context.nearest_draws import draw_nearest
from context.nearest_fit import NearestModel

RADIUS = 10.0


def sample(rng, n, a, s, density=0.02):
    """Nearest of a counterpart and of a Poisson field, for n objects of each class."""
    a, s = np.repeat(a, n), np.repeat(s, n)
    own = np.where(rng.random(len(a)) < a, s * np.sqrt(-2 * np.log(rng.random(len(a)))), np.inf)
    field = np.sqrt(-np.log(rng.random(len(a))) / (np.pi * density))
    separation = np.minimum(own, field)
    found = separation <= RADIUS
    given = {
        "separation": np.where(found, separation, np.nan),
        "density": np.full(len(a), density * 3600),
        "found": found,
        "covered": np.ones(len(a), bool),
    }
    return given, np.repeat(np.eye(2, dtype=bool), n, axis=0)


def grid_posterior(given, own, logit, log_scatter):
    """Log-posterior of one class over a grid, normalised: likelihood, Beta(1, 1) and the scatter's prior."""
    a, s = 1 / (1 + np.exp(-logit)), np.exp(log_scatter)
    values = [np.asarray(v)[own] for v in given.values()]
    values[1] = values[1] / 3600
    log = np.empty((len(a), len(s)))
    for j, scatter in enumerate(s):
        log[:, j] = log_nearest(*values, a, scatter, RADIUS).sum(axis=0)
    # In logit a, the density of Beta(1, 1) is a (1 - a).
    log += (np.log(a) + np.log1p(-a))[:, None] - 2 * np.log(s) - s**-2.0
    p = np.exp(log - log.max())
    return p / p.sum()


def test_draws_have_the_posteriors_moments(rng):
    given, allowed = sample(rng, 250, np.array([0.7, 0.2]), np.array([0.5, 1.5]), density=0.002)
    model = NearestModel.fit(**given, allowed=allowed, radius=RADIUS)
    draws = draw_nearest(model, **given, share=allowed, rng=rng, n_draws=4000)
    for c in range(2):
        theta = np.array(
            [[np.log(d.probability[c] / (1 - d.probability[c])), np.log(d.scatter[c])] for d in draws]
        )
        centre, width = theta.mean(axis=0), theta.std(axis=0)
        axes = [np.linspace(m - 6 * w, m + 6 * w, 121) for m, w in zip(centre, width, strict=True)]
        p = grid_posterior(given, allowed[:, c], *axes)
        for k in range(2):
            marginal = p.sum(axis=1 - k)
            mean = marginal @ axes[k]
            spread = np.sqrt(marginal @ (axes[k] - mean) ** 2)
            # A posterior of some 30 counterparts is skewed: mean and mode differ by a part of its width.
            assert abs(mean - centre[k]) < 0.35 * spread
            assert width[k] == pytest.approx(spread, rel=0.2)


def test_a_class_without_counterparts_stays_uncertain(rng):
    """The posterior of a is Beta(1, n + 1): its mean and its width are both 1 / n."""
    n = 400
    nothing = {
        "separation": np.full(n, np.nan),
        "density": np.full(n, 0.0),
        "found": np.zeros(n, bool),
        "covered": np.ones(n, bool),
    }
    model = NearestModel.fit(**nothing, allowed=np.ones((n, 1), bool), radius=RADIUS)
    draws = draw_nearest(model, **nothing, share=np.ones((n, 1)), rng=rng, n_draws=2000)
    a = np.log([d.probability[0] for d in draws])
    assert np.exp(a.mean()) == pytest.approx(1 / n, rel=0.2)
    # Of the log of an exponential variable: pi / sqrt(6) = 1.28; the Laplace approximation has 1.
    assert a.std() == pytest.approx(1.0, rel=0.1)


def test_shared_scatter_is_one_number_and_better_known(rng):
    given, allowed = sample(rng, 150, np.array([0.7, 0.1]), np.array([0.8, 0.8]))
    spread = {}
    for shared in (False, True):
        model = NearestModel.fit(**given, allowed=allowed, radius=RADIUS, shared_scatter=shared)
        draws = draw_nearest(model, **given, share=allowed, rng=rng, n_draws=1000, shared_scatter=shared)
        scatter = np.array([d.scatter for d in draws])
        spread[shared] = np.log(scatter).std(axis=0)
        if shared:
            np.testing.assert_array_equal(scatter[:, 0], scatter[:, 1])
    assert spread[True][1] < 0.6 * spread[False][1]
    assert spread[True][0] < 1.05 * spread[False][0]


def test_nothing_covered_leaves_the_prior(rng):
    given, allowed = sample(rng, 20, np.array([0.7, 0.2]), np.array([0.5, 1.5]))
    given["covered"][:] = False
    model = NearestModel(np.full(2, 0.5), np.ones(2), RADIUS)
    draws = draw_nearest(model, **given, share=allowed, rng=rng, n_draws=500)
    logit = [np.log(d.probability / (1 - d.probability)) for d in draws]
    # Beta(1, 1) in logit a: the Laplace approximation at 1/2 has the precision 2 * 1/4.
    assert np.std(logit) == pytest.approx(np.sqrt(2), rel=0.1)
