"""The pool's Gaussian draws of its weights against the full posterior, which PyMC samples."""

import numpy as np
import pytest
from scipy.special import softmax

from bayesclass.pool import SPREAD_BIAS, SPREAD_EXPONENT, SPREAD_WEIGHT, Pool
from bayesclass.pooling_model import quiet


def sample(stack, size, allowed, log_prior, seed):
    """Draws of (log weight, exponent, bias), shape (n, 2 n_experts + n_classes), by NUTS."""
    with quiet():
        import pymc as pm
        import pytensor.tensor as pt

        with pm.Model():
            log_weight = pm.Normal("log_weight", 0.0, SPREAD_WEIGHT, shape=len(stack))
            exponent = pm.Normal("exponent", 0.0, SPREAD_EXPONENT, shape=len(stack))
            bias = pm.Normal("bias", 0.0, SPREAD_BIAS, shape=len(log_prior))
            weight = pt.exp(log_weight[:, None] + exponent[:, None] * size)
            joint = log_prior + bias + (weight[:, :, None] * stack).sum(axis=0)
            possible = pt.where(allowed, joint, -1e300)
            pm.Potential("score", (pt.logsumexp(possible, axis=1) - pt.logsumexp(joint, axis=1)).sum())
            trace = pm.sample(
                500,
                tune=500,
                chains=2,
                cores=1,
                random_seed=seed,
                progressbar=False,
                nuts_sampler="pymc",
                compile_kwargs={"mode": "NUMBA"},
                compute_convergence_checks=False,
            )
    names = ("log_weight", "exponent", "bias")
    assert not trace.sample_stats["diverging"].any()
    return np.concatenate([trace.posterior[name].to_numpy().reshape(1000, -1) for name in names], axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 400])
def test_draws_of_weights_are_close_to_the_full_posterior(n):
    rng = np.random.default_rng(n)
    log_prior = np.log([0.5, 0.3, 0.2])
    label = rng.choice(3, size=n, p=np.exp(log_prior))
    points = rng.integers(1, 100, size=n)
    # One expert that is right, one twice too sure, and one that knows nothing.
    truth = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[label]
    stack = np.stack([truth, 2.0 * truth + rng.normal(size=(n, 3)), rng.normal(size=(n, 3))])
    stack -= stack.mean(axis=-1, keepdims=True)
    names, allowed = ("a", "b", "c"), np.eye(3, dtype=bool)[label]
    allowed[: n // 10] = True  # unlabelled
    sizes = {name: points.astype(float) for name in names}
    pool = Pool.fit(
        dict(zip(names, stack, strict=True)), sizes, allowed, np.ones(n), log_prior, n_draws=4000, seed=1
    )
    full = sample(stack, np.log1p(points)[None] * np.ones((3, 1)), allowed, log_prior, seed=2)
    found = pool.draws.astype(float)
    # In units of the posterior's own spread; the Gaussian is at the mode, a skewed posterior's mean is not.
    shift = np.abs(found.mean(axis=0) - full.mean(axis=0)) / full.std(axis=0)
    ratio = found.std(axis=0) / full.std(axis=0)
    print(n, "shift", shift.round(2), "ratio of spreads", ratio.round(2))
    assert shift.max() < 0.6
    assert (ratio > 0.7).all()
    assert (ratio < 1.4).all()
    # What matters: probabilities and their spread.
    evidence = dict(zip(names, stack, strict=True))
    drawn = softmax(pool.log_joint_draws(evidence, sizes), axis=-1)
    other = Pool(names, log_prior, *np.zeros((2, 3)), np.zeros(3), draws=full)
    exact = softmax(other.log_joint_draws(evidence, sizes), axis=-1)
    mean, spread = np.abs(drawn.mean(axis=0) - exact.mean(axis=0)), drawn.std(axis=0) / exact.std(axis=0)
    print(
        "probabilities: mean apart",
        mean.max().round(3),
        "spread",
        np.quantile(spread, [0.05, 0.5, 0.95]).round(2),
    )
    assert mean.mean() < 0.02
    assert mean.max() < 0.1
    assert 0.8 < np.median(spread) < 1.25
