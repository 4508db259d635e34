"""The pool: known weights are found again, and its optimum is that of a direct minimisation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from bayesclass.pool import SPREAD_BIAS, SPREAD_EXPONENT, SPREAD_WEIGHT, Pool

LOG_PRIOR = np.log([0.5, 0.3, 0.2])


def simulate(rng, n, log_weight, exponent):
    """Classes drawn from the pool's own model with known weights."""
    evidence = {name: rng.normal(0, 1.5, (n, 3)) for name in ("chain", "context")}
    sizes = {"chain": rng.integers(0, 100, n).astype(float), "context": np.zeros(n)}
    logits = LOG_PRIOR + np.exp(log_weight[1]) * evidence["context"]
    logits = logits + (np.exp(log_weight[0]) * (1 + sizes["chain"]) ** exponent)[:, None] * evidence["chain"]
    label = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    return evidence, sizes, np.eye(3, dtype=bool)[label]


def test_known_weights_are_recovered(rng):
    evidence, sizes, allowed = simulate(rng, 4000, (np.log(1.5), np.log(0.8)), -0.35)
    pool = Pool.fit(evidence, sizes, allowed, np.ones(4000), LOG_PRIOR, n_draws=200)
    spread = pool.draws.std(axis=0)
    truth = np.array([np.log(1.5), np.log(0.8), -0.35])
    found = np.array([*pool.log_weight, pool.exponent[0]])
    # Four standard deviations of the Laplace approximation, which is itself tested here.
    assert (np.abs(found - truth) < 4 * spread[:3]).all()
    assert (spread[:3] < 0.15).all()
    assert abs(pool.exponent[1]) < 1e-3
    np.testing.assert_allclose(pool.weight("chain", np.array([0.0])), 1.5, rtol=0.3)
    ratio = pool.weight("chain", np.array([99.0])) / pool.weight("chain", np.array([0.0]))
    np.testing.assert_allclose(ratio, 100 ** pool.exponent[0], rtol=1e-6)
    assert ratio < 0.4


def test_optimum_is_that_of_a_direct_minimisation(rng):
    evidence, sizes, allowed = simulate(rng, 300, (np.log(0.7), np.log(1.2)), -0.2)
    allowed[::4] |= rng.random((75, 3)) < 0.4
    weights = rng.uniform(0.2, 1.0, 300)
    expected = {"chain": (np.log(0.5), -0.3)}

    def loss(flat):
        log_a, beta, bias = flat[:2], flat[2:4], flat[4:]
        total = LOG_PRIOR + bias
        ridge = (((log_a - [np.log(0.5), 0]) / SPREAD_WEIGHT) ** 2).sum()
        ridge += ((beta[0] + 0.3) / SPREAD_EXPONENT) ** 2 + (beta[1] / 1e-3) ** 2
        ridge += ((bias / SPREAD_BIAS) ** 2).sum()
        for k, name in enumerate(evidence):
            own = evidence[name] - evidence[name].mean(1, keepdims=True)
            total = total + (np.exp(log_a[k]) * (1 + sizes[name]) ** beta[k])[:, None] * own
        log_p = log_softmax(total, axis=1)
        return -(weights * logsumexp(log_p, b=allowed, axis=1)).sum() + 0.5 * ridge

    start = np.array([np.log(0.5), 0, -0.3, 0, 0, 0, 0])
    # The exponent of the expert without a size is fixed by its prior; leave it out of the search.
    free = [0, 1, 2, 4, 5, 6]

    def reduced(x):
        full = start.copy()
        full[free] = x
        return loss(full)

    best = minimize(reduced, start[free], method="BFGS", options={"gtol": 1e-6}).x
    pool = Pool.fit(evidence, sizes, allowed, weights, LOG_PRIOR, expected=expected, n_draws=2)
    found = np.array([*pool.log_weight, pool.exponent[0], *pool.bias])
    # L-BFGS on a float32 objective of some 200 nats: its flat bottom is a few 1e-3 wide.
    np.testing.assert_allclose(found, best, atol=5e-3)


def test_terms_add_up_and_draws_agree_with_them(rng):
    evidence, sizes, allowed = simulate(rng, 200, (0.0, 0.0), 0.0)
    pool = Pool.fit(evidence, sizes, allowed, np.ones(200), LOG_PRIOR, n_draws=5)
    terms = pool.terms(evidence, sizes)
    assert list(terms) == ["prior", "chain", "context", "calibration"]
    total = sum(terms.values())
    own = Pool(
        pool.experts,
        pool.log_prior,
        pool.log_weight,
        pool.exponent,
        pool.bias,
        draws=np.concatenate([pool.log_weight, pool.exponent, pool.bias])[None],
    )
    np.testing.assert_allclose(own.log_joint_draws(evidence, sizes)[0], total, atol=1e-6)
    # Evidence with draws of its own is paired with the pool's, in turn where it has fewer.
    chain = evidence["chain"]
    own_draws = {"chain": np.stack([chain, 2 * chain]), "context": evidence["context"]}
    paired = pool.log_joint_draws(own_draws, sizes)
    for d in range(5):
        single = {"chain": own_draws["chain"][d % 2], "context": evidence["context"]}
        np.testing.assert_allclose(paired[d], pool.log_joint_draws(single, sizes)[d], atol=1e-5)


def test_constants_of_a_row_say_nothing_and_order_of_classes_is_free(rng):
    evidence, sizes, allowed = simulate(rng, 150, (0.0, 0.0), 0.0)
    pool = Pool.fit(evidence, sizes, allowed, np.ones(150), LOG_PRIOR, n_draws=1)
    shifted = {name: values + rng.normal(0, 50, (150, 1)) for name, values in evidence.items()}
    p, q = (log_softmax(sum(pool.terms(e, sizes).values()), axis=1) for e in (evidence, shifted))
    np.testing.assert_allclose(p, q, atol=1e-10)
    turn = [2, 0, 1]
    turned = Pool.fit(
        {name: values[:, turn] for name, values in evidence.items()},
        sizes,
        allowed[:, turn],
        np.ones(150),
        LOG_PRIOR[turn],
        n_draws=1,
    )
    np.testing.assert_allclose(turned.bias, pool.bias[turn], atol=3e-3)
    np.testing.assert_allclose(turned.log_weight, pool.log_weight, atol=3e-3)


def test_no_row_leaves_the_prior():
    pool = Pool.fit(
        {"chain": np.zeros((1, 3))},
        {"chain": np.ones(1)},
        np.ones((1, 3), bool),
        np.ones(1),
        LOG_PRIOR,
        expected={"chain": (-0.7, -0.3)},
        n_draws=4000,
    )
    assert pool.log_weight[0] == pytest.approx(-0.7, abs=1e-4)
    assert pool.exponent[0] == pytest.approx(-0.3, abs=1e-4)
    # Without data the draws are the priors'; 4,000 know a spread to 1 %.
    np.testing.assert_allclose(
        pool.draws.std(axis=0), [SPREAD_WEIGHT, SPREAD_EXPONENT, *[SPREAD_BIAS] * 3], rtol=0.05
    )


def test_dictionary_and_back(rng):
    evidence, sizes, allowed = simulate(rng, 60, (0.0, 0.0), 0.0)
    pool = Pool.fit(evidence, sizes, allowed, np.ones(60), LOG_PRIOR, n_draws=3)
    again = Pool.from_dict(pool.to_dict())
    assert again.experts == pool.experts
    for name in ("log_prior", "log_weight", "exponent", "bias", "draws"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pool, name))


def test_the_optimum_is_reached_with_many_rows_of_large_evidence(rng):
    """Rounding must not end the search: the gradient, taken by hand in float64, is zero at the end."""
    evidence, sizes, allowed = simulate(rng, 30000, (np.log(0.02), np.log(0.9)), -0.4)
    evidence["chain"] *= 40
    pool = Pool.fit(evidence, sizes, allowed, np.ones(30000), LOG_PRIOR, n_draws=1)

    def loss(shift):
        changed = replace(pool, log_weight=pool.log_weight + shift)
        log_p = log_softmax(sum(changed.terms(evidence, sizes).values()), axis=1)
        return -logsumexp(log_p, b=allowed, axis=1).sum() + 0.5 * (changed.log_weight**2).sum()

    for k in range(2):
        step = 1e-3 * np.eye(2)[k]
        slope = (loss(step) - loss(-step)) / 2e-3
        curvature = (loss(step) - 2 * loss(np.zeros(2)) + loss(-step)) / 1e-6
        # Less than a hundredth of its own standard deviation from the optimum.
        assert abs(slope) / curvature < 0.01 / np.sqrt(curvature)
