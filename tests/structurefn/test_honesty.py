"""Whether generative log-likelihoods mean what they say, on simulated light curves with known answers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax
from scipy.stats import multivariate_normal, norm

from structurefn.counting import count_events
from structurefn.density import Density, fit_density
from structurefn.light_curves import LightCurves
from structurefn.likelihood import log_likelihood
from structurefn.modes import ModeDensities
from structurefn.response import response_matrix
from structurefn.simulate_chains import simulate_chains
from structurefn.streams import Stream

PAIRS = Stream("pairs", "adjacent", ("S/r",))
TRIPLETS = Stream("triplets", "triplets", ("S/r",))
ALL_PAIRS = Stream("all pairs", "pairs", ("S/r", "S/r"))
# Standard deviation [mag] and timescale [day] of damped random walks.
WALKS = ((0.12, 20.0), (0.12, 200.0), (0.3, 20.0))


def batch(rng, lengths, errors, span=200.0):
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return LightCurves.from_frame(
        pd.DataFrame(
            {
                "object_id": owner.astype(str),
                "survey": "S",
                "band": "r",
                "mjd": 59000.0 + rng.random(len(owner)) * span,
                "mag": 18.0,
                "mag_err": np.exp(rng.uniform(*np.log(errors), len(owner))),
            }
        )
    )


def smooth_density(rng, stream, n_classes, place, spread):
    """Gaussians of every row and class, as probabilities of cells by the normal distribution."""
    grid = stream.grid
    shape = (n_classes, grid.n_rows, 1)
    centre, width = rng.normal(0.0, place, shape), rng.uniform(*spread, shape)
    true = np.diff(norm.cdf(grid.column_edges, centre, width), axis=-1)
    return Density.from_true(true, response_matrix(grid.column_edges, grid.error_centres))


def counted(light_curves, stream):
    return dict(count_events(light_curves, [stream]))[stream.name]


# --- ratios ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [PAIRS, TRIPLETS], ids=["pairs", "triplets"])
def test_mean_likelihood_ratio_is_one(stream):
    # Few events: the ratio's variance grows exponentially with their number, and is then in rare objects.
    rng = np.random.default_rng(4)
    density = smooth_density(rng, stream, 3, 0.08, (0.25, 0.4))
    n = 6000
    for c in range(3):
        curves = batch(rng, np.full(n, 4), (0.02, 0.3))
        curves = simulate_chains(rng, curves, [stream], {stream.name: density}, np.full(n, c))
        log_like = log_likelihood(counted(curves, stream), density)
        ratio = np.exp(np.delete(log_like, c, axis=1) - log_like[:, [c]])
        error = ratio.std(axis=0) / np.sqrt(n)
        assert (error < 0.05).all()
        # Six comparisons in all: 3.5 standard errors.
        assert (np.abs(ratio.mean(axis=0) - 1.0) < 3.5 * error).all()


def test_mean_likelihood_ratio_of_mixtures_is_one():
    rng = np.random.default_rng(5)
    density = smooth_density(rng, PAIRS, 4, 0.15, (0.25, 0.4))
    owner, weight = np.array([0, 0, 1, 1]), np.log([0.3, 0.7, 0.5, 0.5])
    modes = ModeDensities({"pairs": density}, owner, weight, 0.0, {"pairs": np.full(4, np.inf)})
    n = 8000
    component = modes.draw(rng, np.zeros(n, dtype=int))
    curves = simulate_chains(rng, batch(rng, np.full(n, 4), (0.02, 0.3)), [PAIRS], modes.densities, component)
    log_like = modes.log_likelihood({"pairs": counted(curves, PAIRS)})
    ratio = np.exp(log_like[:, 1] - log_like[:, 0])
    assert abs(ratio.mean() - 1.0) < 3.5 * ratio.std() / np.sqrt(n)
    # One of its modes alone is not what the curves were drawn from.
    single = log_likelihood(counted(curves, PAIRS), density)
    wrong = np.exp(log_like[:, 1] - single[:, 0])
    assert wrong.mean() - 1.0 > 3.5 * wrong.std() / np.sqrt(n)


# --- tables ------------------------------------------------------------------------------------------


def test_tables_are_recovered_through_large_unequal_errors():
    rng = np.random.default_rng(6)
    true = smooth_density(rng, PAIRS, 2, 0.2, (0.1, 0.2))
    classes = np.arange(500) % 2
    curves = batch(rng, np.full(500, 25), (0.02, 0.6), 300.0)
    curves = simulate_chains(rng, curves, [PAIRS], {"pairs": true}, classes, own_errors=True)
    count, membership = counted(curves, PAIRS), np.eye(2)[classes]
    response = response_matrix(PAIRS.grid.column_edges, PAIRS.grid.error_centres)
    forward = fit_density(count, membership, response)
    ignored = fit_density(count.sum(axis=2, keepdims=True), membership, np.eye(32)[None])
    seen = np.einsum("nrsj,nc->cr", count, membership) > 500
    assert seen.sum() >= 6
    distance = [0.5 * np.abs(d.true - true.true).sum(axis=-1)[seen] for d in (forward, ignored)]
    assert distance[0].mean() < 0.2
    assert distance[0].mean() < 0.6 * distance[1].mean()
    assert (distance[0] < distance[1]).all()


# --- damped random walks -----------------------------------------------------------------------------


def covariance(time, error, sigma, tau):
    return sigma**2 * np.exp(-np.abs(np.subtract.outer(time, time)) / tau) + np.diag(error**2)


def walks(rng, classes, lengths, errors=(0.02, 0.1)):
    curves = batch(rng, lengths, errors, 400.0)
    value = curves.value.copy()
    for i, c in enumerate(classes):
        part = slice(curves.offset[i], curves.offset[i + 1])
        spread = covariance(curves.time[part], curves.error[part], *WALKS[c])
        value[part] += rng.multivariate_normal(np.zeros(len(spread)), spread)
    return replace(curves, value=value)


def exact(curves):
    """Log-likelihood of all changes together, by scipy, shape (n, C)."""
    result = np.empty((curves.n_objects, len(WALKS)))
    for i, c in np.ndindex(result.shape):
        part = slice(curves.offset[i], curves.offset[i + 1])
        spread = covariance(curves.time[part], curves.error[part], *WALKS[c])
        steps = np.diff(np.eye(len(spread)), axis=0)
        result[i, c] = multivariate_normal.logpdf(steps @ curves.value[part], cov=steps @ spread @ steps.T)
    return result


@pytest.fixture(scope="module")
def fitted_walks():
    """Tables of walks, and the classes' log-likelihoods of others: exact, chain, triplets, all pairs."""
    rng = np.random.default_rng(7)
    y_train, y = np.arange(900) % 3, np.arange(300) % 3
    train = walks(rng, y_train, rng.integers(5, 50, 900))
    test = walks(rng, y, rng.integers(5, 50, 300))
    found = {"exact": exact(test)}
    density = {}
    for stream in (PAIRS, TRIPLETS, ALL_PAIRS):
        response = response_matrix(stream.grid.column_edges, stream.grid.error_centres)
        density[stream.name] = fit_density(
            counted(train, stream), np.eye(3)[y_train], response, row_shape=stream.grid.row_shape
        )
        found[stream.name] = log_likelihood(counted(test, stream), density[stream.name])
    return density, test, y, found


def loss(log_like, y):
    return -log_softmax(log_like, axis=1)[np.arange(len(y)), y].mean()


def test_one_change_of_a_walk_is_judged_as_by_its_exact_distribution(fitted_walks):
    density = fitted_walks[0]["pairs"]
    rng = np.random.default_rng(8)
    classes = np.arange(600) % 3
    curves = walks(rng, classes, np.full(600, 20))
    curves = curves.keep_points(np.arange(curves.n_points) < curves.offset[curves.object_index] + 2)
    got, right = log_likelihood(counted(curves, PAIRS), density), exact(curves)
    # Bins of lag and error are a factor of two and three wide; beyond a factor of seven the tail speaks.
    ratio = [np.clip(x[:, 1:] - x[:, :1], -2.0, 2.0) for x in (got, right)]
    assert np.sqrt(((ratio[0] - ratio[1]) ** 2).mean()) < 0.4
    assert np.corrcoef(ratio[0].ravel(), ratio[1].ravel())[0, 1] > 0.9
    assert abs(loss(got, classes) - loss(right, classes)) < 0.03


def test_chains_of_walks_stay_close_to_the_exact_joint_and_all_pairs_do_not(fitted_walks):
    _, test, y, found = fitted_walks
    best = loss(found["exact"], y)
    n = np.diff(test.offset)[:, None]
    assert best < loss(found["pairs"], y) < best + 0.35
    assert best < loss(found["triplets"], y) < best + 0.45
    assert loss(found["all pairs"], y) > best + 1.0
    # With total weight n - 1 the product is usable, without being a likelihood.
    assert loss(found["all pairs"] * 2.0 / n, y) < 0.5 * loss(found["all pairs"], y)
