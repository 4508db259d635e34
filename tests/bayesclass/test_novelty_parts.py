"""Pieces of the novelty test: distances against scipy's, scales, ranks and odds against simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import mahalanobis

from bayesclass.novelty_distance import SHRINKAGE, ClassDistance, size_basis
from bayesclass.novelty_scale import N_LEVELS, KnownRanks, SizeScale
from bayesclass.novelty_statistic import POOL, NoveltyParts, NoveltyStatistic
from bayesclass.unknown import UnknownError, UnknownOdds, check_rate


def test_distances_are_scipy_s(rng):
    label = rng.integers(0, 2, 400)
    x = rng.normal(size=(400, 4)) * [0.1, 0.2, 0.05, 0.1] + 0.3 * label[:, None]
    features = np.column_stack([x, np.ones(400)]).astype(np.float32)
    n_points = np.full(400, 20)  # no trend to learn, so means are the classes'
    distance = ClassDistance.fit(features, np.eye(2)[label], n_points)
    found, residual = distance.distances(features, n_points)
    means = np.array([x[label == c].mean(axis=0) for c in range(2)])
    rest = x - means[label]
    covariance = rest.T @ rest / 400
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / 4 * np.eye(4)
    inverse = np.linalg.inv(covariance)
    expected = [[mahalanobis(row, mean, inverse) ** 2 for mean in means] for row in x[:20]]
    # Means are shrunk by a prior on the trend; coordinates are of single precision.
    np.testing.assert_allclose(found[:20], expected, rtol=2e-2, atol=2e-2)
    # All four axes are kept, so nothing is left but the norm.
    np.testing.assert_allclose(residual, 1 - (x**2).sum(axis=1), atol=1e-5)


def test_means_follow_the_number_of_points(rng):
    n_points = np.exp(rng.uniform(1, 5, 3000))
    x = np.log(n_points)[:, None] * [0.1, -0.05] + 0.01 * rng.normal(size=(3000, 2))
    features = np.column_stack([x, np.ones(3000)]).astype(np.float32)
    distance = ClassDistance.fit(features, np.ones((3000, 1)), n_points)
    found, _ = distance.distances(features, n_points)
    for part in np.array_split(np.argsort(n_points), 4):
        assert 1.0 < found[part].mean() < 3.0  # two axes
    swapped, _ = distance.distances(features, n_points[::-1])
    assert np.median(swapped) > 20


def test_folded_distances_take_the_kernel(rng):
    kernel, whitening = rng.random((50, 8)), rng.normal(size=(8, 5))
    one = np.column_stack([kernel @ whitening, np.ones(50)]).astype(np.float32)
    two = np.column_stack([kernel, np.ones(50)]).astype(np.float32)
    n_points = rng.integers(3, 50, 50)
    distance = ClassDistance.fit(one, np.eye(2)[rng.integers(0, 2, 50)], n_points)
    folded = distance.folded(whitening).distances(two, n_points)
    for a, b in zip(distance.distances(one, n_points), folded, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)


def test_scores_are_standard_normal_at_any_size(rng):
    n_points = np.exp(rng.uniform(1, 5, 20000))
    size = np.log(n_points)
    score = 3 * size + np.exp(0.4 * size) * rng.gumbel(size=20000)
    z = SizeScale.fit(score, n_points, np.ones(20000))(score, n_points)
    for part in np.array_split(np.argsort(n_points), 4):
        assert z[part].mean() == pytest.approx(0, abs=0.1)
        assert z[part].std() == pytest.approx(1, abs=0.1)
    far = SizeScale.fit(score, n_points, np.ones(20000))(np.array([1e3, 1e4, 1e5]), np.full(3, 10))
    assert (np.diff(far) > 1).all()


def test_a_score_that_never_changes_tells_nothing():
    n_points = np.arange(3, 100)
    scale = SizeScale.fit(np.full(97, 0.7), n_points, np.ones(97))
    np.testing.assert_array_equal(scale(np.array([0.0, 0.7, 9.0]), np.array([5, 5, 5])), 0.0)


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_ranks_are_conformal(n, seed):
    """A new object's novelty exceeds 1 - a with probability a at most: the rank among n + 1, enumerated."""
    score = np.random.default_rng(seed).normal(size=n + 1)
    level = np.array([0.5, 0.8, 0.95])
    passed = np.zeros(3)
    for i in range(min(n + 1, 40)):
        ranks = KnownRanks.fit(np.delete(score, i), np.full(n, 7), np.ones(n))
        found = ranks.novelty(score[i : i + 1], np.array([8]))[0]
        rank = (score < score[i]).sum() / (n + 1)
        assert found <= rank + 1e-9
        assert found >= rank - 1 / (N_LEVELS - 1) - 1 / (n + 1) - 1e-9
        passed += found > level
    if n + 1 <= 40:
        assert (passed <= (1 - level) * (n + 1) + 1e-9).all()


def test_few_known_objects_raise_no_alarm():
    ranks = KnownRanks.fit(np.arange(9.0), np.full(9, 50), np.ones(9))
    np.testing.assert_array_equal(ranks.novelty(np.array([1e9, -1e9]), np.array([50, 50])), [0.9, 0.0])
    assert np.isnan(ranks.novelty(np.array([1.0, 1.0]), np.array([5, 1]))).all()


def test_a_class_left_out_is_as_if_it_had_never_been(rng):
    label, n_points = rng.integers(0, 3, 300), rng.integers(3, 200, 300)
    log_joint, near = rng.normal(size=(300, 3)), rng.gamma(3, size=(300, 3))
    parts = NoveltyParts({POOL: log_joint}, near, rng.random(300), n_points)
    own, two = np.flatnonzero(label < 2), np.array([True, True, False])
    statistic = NoveltyStatistic.fit(parts.take(own, two), np.eye(3)[label[own]][:, :2])
    alone = NoveltyParts({POOL: log_joint[:, :2]}, near[:, :2], parts.residual, n_points)
    np.testing.assert_array_equal(statistic(parts.take(np.arange(300), two)), statistic(alone))


def test_odds_are_the_ratio_of_densities(rng):
    """Known N(0, 1), unknown N(1.5, 1): the log-ratio is 1.5 t - 1.125 at any size."""
    n_points = np.exp(rng.uniform(1, 5, 8000)).astype(int)
    odds = UnknownOdds.fit(
        rng.normal(size=8000),
        n_points,
        rng.gamma(1, size=8000),
        [(rng.normal(1.5, size=4000), n_points[:4000], np.ones(4000)), (np.zeros(0),) * 3],
    )
    t = np.linspace(-1, 3, 9)
    for n in (5, 20, 100):
        np.testing.assert_allclose(odds.log_ratio(t, np.full(9, n)), 1.5 * t - 1.125, atol=0.35)
    p = odds.probability(t, np.full(9, 20), 0.01)
    ratio = stats.norm.pdf(t, 1.5) / stats.norm.pdf(t)
    np.testing.assert_allclose(p, 0.01 * ratio / (0.01 * ratio + 0.99), rtol=0.4)


def test_odds_without_a_stranger_stay_at_the_rate():
    odds = UnknownOdds.fit(np.arange(5.0), np.full(5, 9), np.ones(5), [])
    np.testing.assert_allclose(odds.probability(np.array([-3.0, 9.0]), np.array([9, 9]), 0.2), 0.2)


@pytest.mark.parametrize("rate", [-0.1, 1.0, np.nan, 2.0])
def test_rates_are_probabilities(rate):
    with pytest.raises(UnknownError, match="at least 0 and below 1"):
        check_rate(rate)
    assert check_rate(0) == 0.0


def test_size_basis_is_of_the_logarithm():
    np.testing.assert_allclose(size_basis(np.array([np.exp(3), 1, 0])), [[1, 0, 0], [1, -3, 9], [1, -3, 9]])
