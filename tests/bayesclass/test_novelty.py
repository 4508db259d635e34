"""Novelty: uniform for known objects, one for what nobody has seen."""

import numpy as np
import pytest
from scipy import stats

from bayesclass.novelty import NoveltyScale, standardised


@pytest.mark.parametrize("n_events", [1, 2, 7, 400])
def test_is_uniform_on_known_objects(rng, n_events):
    size = np.full(4000, n_events)
    scale = NoveltyScale.fit(rng.gamma(3, size=4000) * n_events, size)
    found = scale.novelty(rng.gamma(3, size=4000) * n_events, size)
    # 4,000 against 4,000: the distance of two samples is below .036 in 99 of 100 cases.
    assert stats.kstest(found, "uniform").statistic < 0.04


def test_each_size_has_its_own_distribution(rng):
    size = np.repeat([1, 200], 3000)
    z = rng.normal(size=6000) + np.where(size == 1, 5.0, -5.0)
    scale = NoveltyScale.fit(z, size)
    found = scale.novelty(z, size)
    assert found[:3000].mean() == pytest.approx(0.5, abs=0.02)
    assert found[3000:].mean() == pytest.approx(0.5, abs=0.02)


def test_extremes_order_and_missing():
    scale = NoveltyScale.fit(np.linspace(-2, 2, 500), np.full(500, 4))
    z = np.array([-9.0, -1.0, 0.0, 1.0, 9.0, np.nan, 0.0, 0.0])
    found = scale.novelty(z, np.array([4, 3, 5, 4, 4, 4, 0, 50]))
    assert found[0] == 1
    assert found[4] == 0
    assert (np.diff(found[:5]) < 0).all()
    np.testing.assert_allclose(found[1:4], [0.75, 0.5, 0.25], atol=0.01)
    # No event, no finite z, or a size that training never saw.
    assert np.isnan(found[5:]).all()


def test_standardised_is_the_weighted_mean_of_z():
    log_like = np.array([[-3.0, -8.0], [0.0, 0.0], [-1.0, -1.0]])
    mean = np.array([[-4.0, -4.0], [0, 0], [-1, -1]])
    variance, p = np.array([[4.0, 16.0], [0, 0], [1, 1]]), np.array([[0.75, 0.25], [0.5, 0.5], [1, 0]])
    np.testing.assert_allclose(standardised(log_like, mean, variance, p), [0.75 * 0.5 - 0.25, np.nan, 0.0])
