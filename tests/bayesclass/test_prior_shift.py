"""Class fractions of a new sample: known ones come back, their intervals cover, probabilities improve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from scipy.special import softmax
from scipy.stats import dirichlet

from bayesclass import metrics
from bayesclass.prior_shift import estimate_fractions
from bayesclass.priors import Prior, PriorError

LEAVES = ("a", "b", "c")
TRAINING = Prior(LEAVES, [0.6, 0.3, 0.1], "training")
seeds = st.integers(0, 2**32 - 1)


def sample(rng, n, fraction, training=TRAINING, distance=2.0):
    """Exactly calibrated probabilities of objects that differ in one Gaussian measurement, and classes."""
    y = rng.choice(len(fraction), n, p=fraction)
    mean = distance * np.arange(len(fraction))
    log_likelihood = -0.5 * (rng.normal(size=n)[:, None] + mean[y][:, None] - mean) ** 2
    return softmax(log_likelihood + np.log(training.probability), axis=1), y


def objective(w, p, training, strength):
    w = np.asarray(w)
    return np.log((p / training.probability) @ w).sum() + strength * (training.probability * np.log(w)).sum()


def test_two_classes_are_where_the_score_is_zero(rng):
    training = Prior(("a", "b"), [0.7, 0.3])
    p, _ = sample(rng, 300, [0.35, 0.65], training)
    ratio = p / training.probability

    def score(w):
        told = (ratio[:, 0] - ratio[:, 1]) / (w * ratio[:, 0] + (1 - w) * ratio[:, 1])
        return told.sum() + 2.0 * (0.7 / w - 0.3 / (1 - w))

    best = brentq(score, 1e-9, 1 - 1e-9, xtol=1e-12)
    found = estimate_fractions(p, training, concentration=2.0, tolerance=1e-9)
    assert found.converged
    assert found.fraction[0] == pytest.approx(best, abs=1e-8)
    # The error is from the slope of the score, here by differences.
    slope = (score(best + 1e-5) - score(best - 1e-5)) / 2e-5
    np.testing.assert_allclose(found.standard_error, (-slope) ** -0.5, rtol=1e-5)
    np.testing.assert_allclose(found.covariance, found.covariance[0, 0] * np.array([[1, -1], [-1, 1]]))


def test_two_classes_are_where_enumeration_has_its_maximum(rng):
    training = Prior(("a", "b"), [0.5, 0.5])
    p, _ = sample(rng, 40, [0.8, 0.2], training)
    grid = np.linspace(0.0005, 0.9995, 2000)
    values = [objective([w, 1 - w], p, training, 1.0) for w in grid]
    assert estimate_fractions(p, training).fraction[0] == pytest.approx(grid[np.argmax(values)], abs=5e-4)


def test_certain_objects_are_counted():
    p = np.eye(3)[[0] * 6 + [1] * 3 + [2]]
    found = estimate_fractions(p, TRAINING, concentration=5.0)
    expected = (np.array([6, 3, 1]) + 5.0 * TRAINING.probability) / 15.0
    np.testing.assert_allclose(found.fraction, expected, atol=1e-9)
    # The covariance of a Dirichlet's mode is that of the multinomial with as many objects.
    multinomial = (np.diag(expected) - np.outer(expected, expected)) / 15.0
    np.testing.assert_allclose(found.covariance, multinomial, atol=1e-12)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_optimum_is_that_of_another_optimiser(seed):
    rng = np.random.default_rng(seed)
    p, _ = sample(rng, 60, rng.dirichlet(np.ones(3)))
    found = estimate_fractions(p, TRAINING, concentration=3.0, tolerance=1e-8)
    other = minimize(lambda z: -objective(softmax(z), p, TRAINING, 3.0), np.zeros(3), method="BFGS", tol=1e-8)
    np.testing.assert_allclose(found.fraction, softmax(other.x), atol=2e-5)
    assert found.converged
    assert found.fraction.sum() == pytest.approx(1.0, abs=1e-12)
    assert (found.fraction > 0).all()


@given(seed=seeds, order=st.permutations(range(3)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_classes_and_objects_changes_nothing(seed, order):
    rng = np.random.default_rng(seed)
    p, _ = sample(rng, 50, [0.2, 0.3, 0.5])
    found = estimate_fractions(p, TRAINING)
    training = Prior([LEAVES[k] for k in order], TRAINING.probability[list(order)])
    other = estimate_fractions(rng.permutation(p)[:, order], training)
    np.testing.assert_allclose(other.fraction, found.fraction[list(order)], atol=1e-9)
    np.testing.assert_allclose(other.standard_error, found.standard_error[list(order)], atol=1e-9)


def test_known_fractions_come_back_and_intervals_cover(rng):
    truth, repeats = np.array([0.15, 0.35, 0.5]), 200
    inside, pulls = np.zeros(3), []
    for _ in range(repeats):
        found = estimate_fractions(sample(rng, 300, truth)[0], TRAINING)
        assert found.converged
        lower, upper = found.interval()
        inside += (lower <= truth) & (truth <= upper)
        pulls.append((found.fraction - truth) / found.standard_error)
    pulls = np.array(pulls)
    # Three standard errors of a rate of 0.9, a mean of 0 and a scatter of 1 in 200 samples.
    np.testing.assert_allclose(inside / repeats, 0.9, atol=3 * np.sqrt(0.09 / repeats))
    np.testing.assert_allclose(pulls.mean(axis=0), 0.0, atol=3 / np.sqrt(repeats))
    np.testing.assert_allclose(pulls.std(axis=0), 1.0, atol=3 / np.sqrt(2 * repeats))


def test_an_absent_class_is_covered_from_above(rng):
    uppers = []
    for _ in range(50):
        found = estimate_fractions(sample(rng, 400, [0.5, 0.5, 0.0])[0], TRAINING)
        assert found.fraction[2] < 0.05
        uppers.append(found.interval()[1][2])
    assert np.isfinite(uppers).all()


def test_calibrated_probabilities_of_a_shifted_sample_improve(rng):
    p, y = sample(rng, 4000, [0.1, 0.2, 0.7], distance=1.2)
    found = estimate_fractions(p, TRAINING)
    adjusted = p * found.fraction / TRAINING.probability
    adjusted /= adjusted.sum(axis=1, keepdims=True)
    known = p * np.array([0.1, 0.2, 0.7]) / TRAINING.probability
    known /= known.sum(axis=1, keepdims=True)
    before, after, best = (metrics.log_loss(q, y) for q in (p, adjusted, known))
    assert after < before - 0.2
    assert after == pytest.approx(best, abs=0.005)


def test_without_evidence_the_fractions_are_those_of_training():
    p = np.tile(TRAINING.probability, (20, 1))
    found = estimate_fractions(p, TRAINING)
    np.testing.assert_allclose(found.fraction, TRAINING.probability, atol=1e-12)
    # All that is known is the prior: the curvature of a Dirichlet with one object.
    expected = TRAINING.probability * (1 - TRAINING.probability)
    np.testing.assert_allclose(found.standard_error**2, expected, rtol=1e-9)
    assert dirichlet(1 + TRAINING.probability).var()[0] < expected[0]


def test_what_did_not_converge_says_so(rng):
    p, _ = sample(rng, 200, [0.05, 0.05, 0.9], distance=0.3)
    found = estimate_fractions(p, TRAINING, max_iterations=3)
    assert not found.converged
    assert found.text().splitlines()[-1].startswith("Not converged after 3 iterations")
    whole = estimate_fractions(p, TRAINING)
    assert whole.converged
    assert "Not converged" not in str(whole)
    reference = estimate_fractions(p, TRAINING, tolerance=1e-12, max_iterations=1_000_000)
    np.testing.assert_allclose(whole.fraction, reference.fraction, atol=2e-6)


def test_the_table_and_the_prior_say_the_same(rng):
    found = estimate_fractions(sample(rng, 100, [0.2, 0.3, 0.5])[0], TRAINING)
    frame = found.to_frame()
    assert list(frame.columns) == ["fraction", "standard_error", "lower", "upper", "training"]
    assert (frame["lower"] < frame["fraction"]).all()
    assert (frame["fraction"] < frame["upper"]).all()
    np.testing.assert_array_equal(found.prior().probability, found.fraction / found.fraction.sum())
    assert found.text().splitlines()[0] == "Class fractions of 100 objects (90 % interval; in training):"
    assert f"  a  {found.fraction[0]:.4f} +- {found.standard_error[0]:.4f}" in found.text()


@pytest.mark.parametrize(
    ("p", "options", "message"),
    [
        (np.zeros((0, 3)), {}, r"at least one object, shape \(n, 3\), found \(0, 3\)"),
        (np.ones((4, 2)) / 2, {}, r"found \(4, 2\)"),
        (np.ones((4, 3)), {}, r"sum to one, found \[1.0, 1.0, 1.0\] in row 0 \(4 such rows\)"),
        (np.full((4, 3), np.nan), {}, "sum to one"),
        (np.eye(3), {"concentration": 0.0}, "concentration must be finite and above zero, found 0.0"),
        (np.eye(3), {"tolerance": np.nan}, "tolerance must be"),
        (np.eye(3), {"max_iterations": 0}, "max_iterations must be"),
    ],
)
def test_what_has_no_fractions_is_refused(p, options, message):
    with pytest.raises(PriorError, match=message):
        estimate_fractions(p, TRAINING, **options)
    with pytest.raises(PriorError, match="every class a chance, but c has none"):
        estimate_fractions(np.eye(3), Prior(LEAVES, [0.5, 0.5, 0.0]))
    with pytest.raises(PriorError, match=r"between 0 and 1, found 1\.5"):
        estimate_fractions(np.eye(3), TRAINING).interval(1.5)
