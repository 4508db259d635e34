"""Kernel features against dense linear algebra, and the regression on them against other solvers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from structurefn import kernel_features
from structurefn.kernel_features import KernelFeatures
from structurefn.kernel_logistic import INTERCEPT_PRECISION, KernelLogistic, _objective


def problem(rng, n=240, n_features=4, n_classes=3):
    x = rng.normal(size=(n, n_features))
    features = np.concatenate([x, np.ones((n, 1))], axis=1).astype(np.float32)
    logits = x @ rng.normal(size=(n_features, n_classes)) + np.linspace(0.5, -0.5, n_classes)
    label = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    weights = rng.uniform(0.2, 1.0, n)
    return features, label, np.eye(n_classes, dtype=bool)[label], weights


@pytest.mark.parametrize("precision", [0.01, 2.0])
def test_equals_scikit_learn(rng, precision):
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, label, allowed, weights = problem(rng)
    model = KernelLogistic.fit(features, allowed, weights, precision=precision)
    # The intercept has a precision of its own: a column of another height has the same effect there.
    scaled = features * np.where(np.arange(5) == 4, np.sqrt(precision / INTERCEPT_PRECISION), 1.0)
    other = linear_model.LogisticRegression(C=1 / precision, fit_intercept=False, tol=1e-8, max_iter=2000)
    other.fit(scaled, label, sample_weight=weights)
    # Both stop where the float32 objective no longer falls; that leaves some 1e-3 in log-probabilities.
    np.testing.assert_allclose(np.exp(model.log_posterior(features)), other.predict_proba(scaled), atol=2e-3)


def test_partial_labels_against_a_direct_minimisation(rng):
    features, _, allowed, weights = problem(rng)
    allowed[::3] |= rng.random((80, 3)) < 0.5
    allowed[1] = True

    def loss(flat):
        theta = flat.reshape(5, 3)
        log_p = log_softmax(features.astype(float) @ theta, axis=1)
        kept = logsumexp(log_p, b=allowed, axis=1)
        ridge = np.array([0.3] * 4 + [INTERCEPT_PRECISION])
        return -(weights * kept).sum() + 0.5 * (ridge[:, None] * theta**2).sum()

    best = minimize(loss, np.zeros(15), method="BFGS", options={"gtol": 1e-5}).x.reshape(5, 3)
    model = KernelLogistic.fit(features, allowed, weights, precision=0.3)
    np.testing.assert_allclose(model.log_posterior(features), log_softmax(features @ best, axis=1), atol=5e-3)


def test_gradient_is_the_finite_difference(rng):
    features, _, allowed, weights = problem(rng, n=30)
    allowed[::2, 0] = True
    with jax.enable_x64(True):
        arrays = [jnp.asarray(x) for x in (features.astype(float), allowed, weights, np.full(5, 0.7))]
        theta = rng.normal(size=(5, 3))
        _, gradient = _objective(jnp.asarray(theta), *arrays)
        for cell in np.ndindex(5, 3):
            step = np.zeros((5, 3))
            step[cell] = 1e-5
            up, down = (float(_objective(jnp.asarray(theta + s), *arrays)[0]) for s in (step, -step))
            assert float(gradient[cell]) == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-7)


def test_rows_of_no_weight_and_halved_copies_change_nothing(rng):
    features, _, allowed, weights = problem(rng)
    plain = KernelLogistic.fit(features, allowed, weights).log_posterior(features)
    twice = KernelLogistic.fit(
        np.tile(features, (2, 1)), np.tile(allowed, (2, 1)), np.tile(weights / 2, 2)
    ).log_posterior(features)
    np.testing.assert_allclose(np.exp(twice), np.exp(plain), atol=2e-3)
    odd = np.concatenate([features, 9 * features[:50]]), np.concatenate([allowed, ~allowed[:50]])
    none = KernelLogistic.fit(*odd, np.concatenate([weights, np.zeros(50)])).log_posterior(features)
    np.testing.assert_allclose(np.exp(none), np.exp(plain), atol=2e-3)


def test_draws_spread_like_the_posterior(rng):
    features, _, allowed, _ = problem(rng, n=600, n_features=1, n_classes=2)
    model = KernelLogistic.fit(features, allowed, np.ones(600), precision=1e-3, n_draws=60, seed=1)
    assert model.draws.shape == (60, 2, 2)
    # Two classes: the slope's variance is the inverse Fisher information of a binary regression.
    p = np.exp(model.log_posterior(features))[:, 1]
    information = (features.T * (p * (1 - p))) @ features
    expected = np.sqrt(np.linalg.inv(information)[0, 0])
    slope = model.draws[:, 0, 1] - model.draws[:, 0, 0]
    # Sixty draws know their own spread to 9 %; three of these.
    assert slope.std() == pytest.approx(expected, rel=0.3)
    drawn = model.log_posterior(features, draws=True)
    assert drawn.shape == (60, 600, 2)
    np.testing.assert_allclose(np.exp(drawn).sum(-1), 1.0, atol=1e-5)
    again = KernelLogistic.fit(features, allowed, np.ones(600), precision=1e-3, n_draws=60, seed=1)
    np.testing.assert_array_equal(again.draws, model.draws)
    # Versions of one object share their luck: with one object only, all draws agree but for its size.
    groups = np.zeros(600, int)
    one = KernelLogistic.fit(features, allowed, np.ones(600), groups=groups, n_draws=8, precision=1e-6)
    assert (one.draws[:, 0, 1] - one.draws[:, 0, 0]).std() < 0.2 * expected


def test_features_reproduce_the_kernel(rng):
    """At the landmarks Nystroem's features are exact, up to the floor of small eigenvalues."""
    maps = rng.normal(size=(60, 10)).astype(np.float32)
    model = KernelFeatures.fit(maps, np.ones(60), n_components=10)
    low = model.landmarks @ model.basis.T + model.mean  # maps whose projections are the landmarks
    features = model.features(low)
    assert features.shape == (30, 31)
    assert (features[:, -1] == 1).all()
    distance2 = ((model.landmarks[:, None] - model.landmarks) ** 2).sum(-1)
    np.testing.assert_allclose(
        features[:, :-1] @ features[:, :-1].T, np.exp(-model.gamma * distance2), atol=1e-4
    )


def test_axes_are_the_weighted_principal_axes(rng):
    maps = (rng.normal(size=(200, 8)) * 4.0 ** -np.arange(8)).astype(np.float32)
    weights = rng.random(200)
    model = KernelFeatures.fit(maps, weights, n_components=3)
    mean = np.average(maps, axis=0, weights=weights)
    np.testing.assert_allclose(model.mean, mean, atol=1e-6)
    _, vector = np.linalg.eigh(np.cov(maps.T, aweights=weights))
    leading = vector[:, ::-1][:, :3]
    np.testing.assert_allclose(np.abs(leading.T @ model.basis), np.eye(3), atol=2e-3)
    np.testing.assert_allclose(model.basis.T @ model.basis, np.eye(3), atol=1e-5)


def test_few_and_many_rows(rng, monkeypatch):
    tiny = rng.random((2, 5)).astype(np.float32)
    assert KernelFeatures.fit(tiny, np.ones(2)).features(tiny).shape == (2, 3)
    monkeypatch.setattr(kernel_features, "MOST_ROWS", 50)
    maps = rng.random((300, 5)).astype(np.float32)
    weights = np.where(np.arange(300) < 100, 1.0, 0.0)
    model = KernelFeatures.fit(maps, weights)
    # Rows of no weight are never drawn: the mean is that of 50 of the first hundred.
    assert np.abs(model.mean - maps[:100].mean(0)).max() < 0.2
    assert len(model.landmarks) == 25
    same = KernelFeatures.fit(maps, weights)
    np.testing.assert_array_equal(same.features(maps), model.features(maps))


def test_more_rows_than_are_used_of_which_few_weigh(rng, monkeypatch):
    monkeypatch.setattr(kernel_features, "MOST_ROWS", 50)
    maps = rng.random((300, 5)).astype(np.float32)
    weights = np.where(np.arange(300) < 40, rng.random(300) + 0.1, 0.0)
    model = KernelFeatures.fit(maps, weights)
    np.testing.assert_allclose(model.mean, np.average(maps, axis=0, weights=weights), atol=1e-6)
    alone = KernelFeatures.fit(maps[:40], weights[:40])
    np.testing.assert_allclose(alone.mean, model.mean, atol=1e-6)
    assert len(model.landmarks) == 20
