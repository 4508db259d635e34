"""Novelty: false alarms at the stated rate, classes never seen found, and the same after storage."""

import numpy as np
import pytest
from scipy import stats

from bayesclass.containers import pack_arrays, unpack_arrays
from bayesclass.novelty import ALARM, Novelty, novelty_remark
from bayesclass.novelty_distance import ClassDistance
from bayesclass.novelty_statistic import POOL, NoveltyParts, log_joints

CENTRES = np.array([[2.0, 0.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0, 0.0]]) / 10


def features_of(rng, centre, n_points):
    """Features about a centre, the closer to it the more points, with the constant as the last."""
    scatter = (0.03 + 0.3 / np.sqrt(n_points))[:, None] * rng.normal(size=(len(n_points), centre.shape[-1]))
    return np.column_stack([centre + scatter, np.ones(len(n_points))]).astype(np.float32)


def parts_of(distance, features, n_points):
    """What an expert that knows the classes' Gaussians says, and the distances."""
    near, residual = distance.distances(features, n_points)
    return NoveltyParts({POOL: -0.5 * near}, near, residual, n_points)


@pytest.fixture(scope="module")
def world():
    """Three classes: distances learned on one sample, the test on another, a third to try it on."""
    rng = np.random.default_rng(7)

    def sample(n):
        label = rng.integers(0, 3, n)
        n_points = np.exp(rng.uniform(np.log(3), np.log(150), n)).astype(int)
        return label, n_points, features_of(rng, CENTRES[label], n_points)

    label, n_points, features = sample(4000)
    distance = ClassDistance.fit(features, np.eye(3)[label], n_points)
    label, n_points, features = sample(6000)
    novelty = Novelty.fit(parts_of(distance, features, n_points), np.eye(3)[label], distance)
    return novelty, *sample(6000)


def test_false_alarms_have_the_stated_rate_at_any_number_of_points(world):
    novelty, _, n_points, features = world
    found, _ = novelty.measure(parts_of(novelty.distance, features, n_points), 0.01)
    assert not np.isnan(found).any()
    for low, high in [(3, 6), (6, 11), (11, 31), (31, 101), (101, 1000), (40, 60)]:
        own = found[(n_points >= low) & (n_points < high)]
        for level in (0.8, 0.95):
            # Calibration and test are samples of about 1,000 each: errors of both, four sigma.
            expected = 1 - level
            assert abs((own > level).mean() - expected) < 4 * np.sqrt(2 * expected / len(own)), (low, level)
    # Levels are 201, and bins within which the number of points still matters: 6,000 against 6,000.
    assert stats.kstest(found, "uniform").statistic < 0.035


def test_a_class_that_was_never_seen_is_found(world):
    novelty = world[0]
    rng = np.random.default_rng(1)
    n_points = np.full(500, 60)
    strange = features_of(rng, np.array([0.0, 0.0, 0.0, 0.3, 0.0]), n_points)
    known = features_of(rng, CENTRES[rng.integers(0, 3, 500)], n_points)
    one, p_one = novelty.measure(parts_of(novelty.distance, strange, n_points), 0.01)
    two, p_two = novelty.measure(parts_of(novelty.distance, known, n_points), 0.01)
    assert stats.mannwhitneyu(one, two).statistic / 500**2 > 0.9
    assert (one > 0.95).mean() > 0.4
    assert (two > 0.95).mean() < 0.1
    assert p_one.mean() > 5 * p_two.mean()


def test_unknown_is_calibrated_where_unknown_objects_are_like_those_left_out(world):
    """Objects of a class, tested without it at a rate of one half: of those with p of .7, 70 % are of it."""
    _, label, n_points, features = world
    rng = np.random.default_rng(3)
    chance = rng.random(len(label)) < 0.5
    known_rows = np.flatnonzero((label != 2) & chance)
    distance = ClassDistance.fit(
        features[known_rows], np.eye(3)[label[known_rows]][:, :2], n_points[known_rows]
    )
    fresh = np.flatnonzero((label != 2) & ~chance)
    novelty = Novelty.fit(
        parts_of(distance, features[fresh], n_points[fresh]), np.eye(3)[label[fresh]][:, :2], distance
    )
    novel = rng.choice(np.flatnonzero(label == 2), 900, replace=False)
    rows = np.concatenate([rng.choice(known_rows, 900, replace=False), novel])
    _, p = novelty.measure(parts_of(distance, features[rows], n_points[rows]), 0.5)
    truth = np.arange(len(rows)) >= 900
    # Classes are alike here, so the stand-ins are: within .12 in thirds of the sample.
    for part in np.array_split(np.argsort(p), 3):
        assert p[part].mean() == pytest.approx(truth[part].mean(), abs=0.12)


def test_unknown_rises_with_novelty_and_with_the_rate(world):
    novelty, _, n_points, features = world
    parts = parts_of(novelty.distance, features[:500], n_points[:500])
    known, low = novelty.measure(parts, 0.01)
    assert ((low > 0) & (low < 1)).all()
    same_size = np.flatnonzero(n_points[:500] == np.bincount(n_points[:500]).argmax())
    order = same_size[np.argsort(known[same_size], kind="stable")]
    level = [low[order][known[order] == value].max() for value in np.unique(known[order])]
    assert (np.diff(level) >= 0).all()
    assert (novelty.measure(parts, 0.1)[1] > low).all()
    np.testing.assert_array_equal(novelty.measure(parts, 0.0)[1], 0.0)


def test_it_returns_from_storage(world):
    novelty, _, n_points, features = world
    arrays = novelty.to_arrays()
    blob = pack_arrays(arrays)
    assert len(blob) < 200_000
    again = Novelty.from_arrays(unpack_arrays(blob))
    parts = parts_of(novelty.distance, features, n_points)
    np.testing.assert_array_equal(again.measure(parts, 0.01), novelty.measure(parts, 0.01))
    assert again.distance.axes.dtype == np.float32


def test_a_recipe_without_trained_streams_measures_nothing():
    parts = NoveltyParts({POOL: np.zeros((3, 2))}, None, None, np.array([5, 6, 7]))
    novelty = Novelty.fit(parts, np.eye(2)[[0, 1, 0]], None)
    assert np.isnan(Novelty.from_arrays(novelty.to_arrays()).measure(parts, 0.01)).all()


def test_one_point_is_not_measured(world):
    novelty, _, _, features = world
    n_points = np.array([0, 1, 2, 3, 40])
    found, unknown = novelty.measure(parts_of(novelty.distance, features[:5], n_points), 0.01)
    # No sample of two points either: curves of the fit have three or more.
    np.testing.assert_array_equal(np.isnan(found), [True, True, True, False, False])
    np.testing.assert_array_equal(np.isnan(unknown), np.isnan(found))


def test_remarks_name_the_threshold():
    remarks = novelty_remark(np.array([np.nan, 0.5, ALARM, 0.995]))
    assert remarks[:3] == ["", "", ""]
    assert "0.99" in remarks[3]


def test_experts_alone_are_taken_with_the_prior():
    terms = {"prior": np.log([[0.2, 0.8]]), "structure function": np.array([[1.0, 0.0]]), "calibration": 0.0}
    found = log_joints(terms, {"structure function": np.array([[2.0, 0.0]]), "context": np.array([[9.0, 0]])})
    assert set(found) == {POOL, "structure function"}
    np.testing.assert_allclose(found[POOL], [[np.log(0.2) + 1.0, np.log(0.8)]])
    np.testing.assert_allclose(found["structure function"], [[np.log(0.2) + 2.0, np.log(0.8)]])
