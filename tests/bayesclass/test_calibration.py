import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from bayesclass import metrics
from bayesclass.calibration import ConformalSets

seeds = st.integers(0, 2**32 - 1)


def sample(rng, n=400, k=4, sharpness=2.0):
    """Probabilities and labels drawn from them: exactly calibrated."""
    p = rng.dirichlet(np.full(k, 1.0 / sharpness), size=n)
    return p, np.array([rng.choice(k, p=row) for row in p])


def ece_by_loop(p, y, bins):
    n, k = p.shape
    total = 0.0
    for c in range(k):
        for b in range(bins):
            low, high = b / bins, (b + 1) / bins
            own = (p[:, c] >= low) & ((p[:, c] < high) | (b == bins - 1))
            if own.any():
                total += own.sum() / n * abs(p[own, c].mean() - (y[own] == c).mean())
    return total / k


# Scores against scikit-learn


def test_scores_equal_those_of_scikit_learn(rng):
    p, y = sample(rng)
    best = p.argmax(axis=1)
    assert metrics.log_loss(p, y) == pytest.approx(sklearn_metrics.log_loss(y, p, labels=range(4)), rel=1e-12)
    brier = sklearn_metrics.brier_score_loss(y, p, labels=range(4), scale_by_half=False)
    assert metrics.brier(p, y) == pytest.approx(brier, rel=1e-12)
    assert metrics.accuracy(p, y) == sklearn_metrics.accuracy_score(y, best)
    f1 = sklearn_metrics.f1_score(y, best, average="macro")
    assert metrics.macro_f1(p, y) == pytest.approx(f1, rel=1e-12)
    expected = sklearn_metrics.precision_recall_fscore_support(y, best, zero_division=np.nan)
    for found, known in zip(metrics.precision_recall_f1(p, y), expected, strict=False):
        np.testing.assert_allclose(found, known, rtol=1e-12)
    np.testing.assert_array_equal(metrics.confusion(p, y), sklearn_metrics.confusion_matrix(y, best))


@given(seed=seeds, digits=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_auc_equals_that_of_scikit_learn_with_ties(seed, digits):
    rng = np.random.default_rng(seed)
    score, member = np.round(rng.random(60), digits), rng.random(60) < 0.3
    member[:2] = True, False
    expected = sklearn_metrics.roc_auc_score(member, score)
    assert metrics.roc_auc(score, member) == pytest.approx(expected, rel=1e-12)


def test_auc_of_one_class_only_is_not_defined():
    assert np.isnan(metrics.roc_auc([0.1, 0.9], [True, True]))


def test_macro_f1_leaves_out_a_class_that_is_nowhere():
    p = np.array([[0.8, 0.2, 0.0], [0.3, 0.7, 0.0]])
    assert metrics.macro_f1(p, [0, 1]) == 1.0


def test_a_partial_label_counts_by_the_sum_of_what_it_allows():
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]])
    allowed = np.array([[True, True, False], [False, True, False]])
    np.testing.assert_allclose(metrics.log_losses(p, allowed), [-np.log(0.8), -np.log(0.6)], rtol=1e-14)
    exact = metrics.one_hot(np.array([0, 2]), 3)
    assert metrics.log_loss(p, exact) == metrics.log_loss(p, np.array([0, 2]))


def test_an_impossible_truth_is_infinite_unless_a_floor_is_given():
    p = np.array([[1.0, 0.0]])
    assert metrics.log_loss(p, [1]) == np.inf
    assert metrics.log_loss(p, [1], floor=1e-15) == pytest.approx(-np.log(1e-15))
    assert metrics.log_loss(p, [0]) == 0.0


def test_fuzzy_confusion_sums_the_probabilities_of_each_labelled_class(rng):
    p, y = sample(rng, n=50)
    expected = np.array([p[y == k].sum(axis=0) for k in range(4)])
    np.testing.assert_allclose(metrics.confusion(p, y, fuzzy=True), expected, rtol=1e-12)


def test_labels_out_of_range_are_refused():
    with pytest.raises(ValueError, match="lie in 0 to 1"):
        metrics.brier(np.array([[0.5, 0.5]]), [-1])
    with pytest.raises(ValueError, match="must match the probabilities"):
        metrics.log_loss(np.array([[0.5, 0.5]]), np.array([[True]]))


# Calibration error


@given(seed=seeds, bins=st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_ece_equals_the_loop(seed, bins):
    rng = np.random.default_rng(seed)
    p, y = sample(rng, n=80, k=3)
    # Away from the edges of bins, where the loop's division may round otherwise.
    p[0] = 1.0, 0.0, 0.0
    assert metrics.classwise_ece(p, y, bins) == pytest.approx(ece_by_loop(p, y, bins), abs=1e-12)


def test_ece_of_sure_and_always_wrong_probabilities():
    p = np.array([[1.0, 0.0]] * 10)
    assert metrics.classwise_ece(p, np.ones(10, int)) == 1.0
    assert metrics.classwise_ece(p, np.zeros(10, int)) == 0.0


def test_null_is_where_calibrated_probabilities_are_and_others_are_not(rng):
    p, y = sample(rng, n=2000, k=5)
    mean, upper = metrics.ece_null(p, rng, n=200)
    assert 0 < mean < upper
    # The errors of many true draws, found without the function that redraws them.
    own = [
        metrics.classwise_ece(p, (rng.random((2000, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1))
        for _ in range(200)
    ]
    assert mean == pytest.approx(np.mean(own), rel=0.05)
    assert upper == pytest.approx(np.quantile(own, 0.95), rel=0.08)
    sharpened = p**3 / (p**3).sum(axis=1, keepdims=True)
    assert metrics.classwise_ece(sharpened, y) > 2 * metrics.ece_null(sharpened, rng)[1]


def test_reliability_counts_what_a_histogram_counts(rng):
    p, y = sample(rng, n=500, k=3)
    table = metrics.reliability(p, y, rng, bins=10)
    edges = np.linspace(0, 1, 11)
    count = np.histogram(p[:, 1], edges)[0]
    np.testing.assert_array_equal(table["n"][1], count)
    np.testing.assert_allclose(table["frequency"][1] * count, np.histogram(p[y == 1, 1], edges)[0], atol=1e-9)
    np.testing.assert_array_equal(table["n"][-1], table["n"][:-1].sum(axis=0))
    inside = (table["frequency"] >= table["band_lower"]) & (table["frequency"] <= table["band_upper"])
    assert inside[table["n"] > 0].mean() > 0.85


# Bootstrap


def test_weights_do_what_repeating_objects_does(rng):
    p, y = sample(rng, n=60)
    weights = np.concatenate(list(metrics.resample_counts(60, 7, rng)))
    assert weights.shape == (7, 60)
    np.testing.assert_array_equal(weights.sum(axis=1), 60)
    sets = p > 0.2
    for function in (metrics.log_loss, metrics.brier, metrics.accuracy, metrics.macro_f1):
        whole = function(p, y, weights=weights)
        for row, value in zip(weights.astype(int), whole, strict=True):
            repeated = np.repeat(np.arange(60), row)
            assert value == pytest.approx(function(p[repeated], y[repeated]), rel=1e-12)
    repeated = np.repeat(np.arange(60), weights[3].astype(int))
    ece = metrics.classwise_ece(p, y, weights=weights)[3]
    assert ece == pytest.approx(ece_by_loop(p[repeated], y[repeated], 15), abs=1e-12)
    held = metrics.coverage(sets, y, weights=weights)[3]
    assert held == pytest.approx(sets[repeated, y[repeated]].mean(), rel=1e-12)


def test_blocks_make_no_difference_to_the_number_of_resamples(rng, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK", 100)
    values = rng.normal(size=30)
    found = metrics.bootstrap({"mean": lambda w: metrics.weighted_mean(values, w)}, 30, rng, 50)["mean"]
    assert found.shape == (50,)


def test_interval_of_a_mean_is_that_of_the_normal_law(rng):
    values = rng.normal(size=400)
    found = metrics.bootstrap({"m": lambda w: metrics.weighted_mean(values, w)}, 400, rng, 4000)["m"]
    low, high = metrics.bootstrap_interval(values.mean(), found)
    half = 1.96 * values.std() / 20.0
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)


def test_pivotal_interval_of_calibrated_probabilities_holds_the_estimate_and_reaches_below_it(rng):
    p, y = sample(rng, n=500)
    estimate = metrics.classwise_ece(p, y)
    found = metrics.bootstrap({"e": lambda w: metrics.classwise_ece(p, y, weights=w)}, 500, rng, 300)["e"]
    low, high = metrics.bootstrap_interval(estimate, found, pivotal=True)
    assert 0 <= low < 0.6 * estimate
    assert estimate <= high < 1.2 * estimate


def test_interval_of_nothing_is_not_a_number():
    nothing = np.full((10, 2), np.nan)
    low, high = metrics.bootstrap_interval(np.array([np.nan, np.nan]), nothing)
    assert np.isnan([low, high]).all()


# Conformal sets


def conformal_by_definition(p, y, alpha):
    """Threshold of every class by counting, infinite where none exists."""
    result = []
    for k in range(p.shape[1]):
        score = sorted(1 - p[y == k, k])
        n = len(score)
        need = -(-(n + 1) * (100 - round(100 * alpha)) // 100)
        result.append(score[need - 1] if need <= n else np.inf)
    return np.array(result)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25])
def test_thresholds_are_those_of_the_definition(rng, alpha):
    p, y = sample(rng, n=600)
    sets = ConformalSets.fit(p, y, alpha)
    np.testing.assert_array_equal(sets.threshold, conformal_by_definition(p, y, alpha)[None])
    np.testing.assert_array_equal(sets.n_objects, np.bincount(y, minlength=4))
    assert not sets.backed_off.any()


def test_nine_objects_are_enough_for_nine_in_ten_and_eight_are_not(rng):
    p = np.column_stack([np.linspace(0.1, 0.9, 17), 1 - np.linspace(0.1, 0.9, 17)])
    y = np.array([0] * 9 + [1] * 8)
    sets = ConformalSets.fit(p, y, alpha=0.1)
    assert sets.backed_off.tolist() == [False, True]
    assert sets.threshold[0, 0] == np.max(1 - p[:9, 0])


def test_coverage_of_each_class_is_as_promised_even_of_bad_probabilities():
    covered = np.zeros(3)
    total = np.zeros(3)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        p, y = sample(rng, n=900, k=3)
        bad = p**4 / (p**4).sum(axis=1, keepdims=True)
        held = ConformalSets.fit(bad[:300], y[:300], 0.1).apply(bad[300:])
        for k in range(3):
            covered[k] += held[y[300:] == k, k].sum()
            total[k] += (y[300:] == k).sum()
    # Spread over 40 fits of 100 objects a class: about 0.03 / sqrt(40).
    np.testing.assert_array_less(0.9 - 0.015, covered / total)
    np.testing.assert_array_less(covered / total, 0.925)


def test_a_class_with_few_objects_borrows_and_one_with_none_too(rng):
    p, y = sample(rng, n=200, k=4)
    few = y < 2
    few[np.flatnonzero(y == 2)[:3]] = True
    sets = ConformalSets.fit(p[few], y[few])
    assert sets.backed_off.tolist() == [False, False, True, True]
    score = np.sort(1 - p[few, y[few]])
    pooled = score[int(np.ceil((few.sum() + 1) * 0.9)) - 1]
    own = np.max(1 - p[few & (y == 2), 2])
    np.testing.assert_array_equal(sets.threshold[0, 2:], [max(pooled, own), pooled])


def test_without_enough_objects_every_class_is_in():
    sets = ConformalSets.fit(np.array([[0.9, 0.1]]), np.array([0]))
    assert sets.backed_off.all()
    assert sets.apply(np.array([[1.0, 0.0], [0.3, 0.7]])).all()
    assert ConformalSets.fit(np.empty((0, 2)), np.empty(0, int)).apply(np.array([[1.0, 0.0]])).all()


@given(seed=seeds, alpha=st.floats(0.01, 0.9), n=st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_no_set_is_empty(seed, alpha, n):
    rng = np.random.default_rng(seed)
    p, y = sample(rng, n=max(n, 1), k=3)
    held = ConformalSets.fit(p[:n], y[:n], alpha).apply(p)
    assert held.any(axis=1).all()


def test_coverage_holds_at_each_number_of_points():
    rng = np.random.default_rng(5)
    n_points = rng.choice([1, 5, 30, 200], 24_000)
    # Probabilities are worth more the more points there are, and are too sure everywhere.
    y = rng.choice(3, len(n_points), p=[0.6, 0.3, 0.1])
    signal = np.sqrt(n_points)[:, None] / 6 * (np.arange(3) == y[:, None]) + rng.normal(size=(len(y), 3))
    p = np.exp(2 * signal)
    p /= p.sum(axis=1, keepdims=True)
    half = len(y) // 2
    sets = ConformalSets.fit(p[:half], y[:half], n_points=n_points[:half])
    held = sets.apply(p[half:], n_points[half:])
    blind = ConformalSets.fit(p[:half], y[:half]).apply(p[half:])
    hit, missed = (found[np.arange(half), y[half:]] for found in (held, blind))
    for n in (1, 5, 30):
        for k in range(3):
            member = (n_points[half:] == n) & (y[half:] == k)
            assert hit[member].mean() == pytest.approx(0.9, abs=5 * np.sqrt(0.09 / member.sum()))
    assert abs(missed[n_points[half:] == 1].mean() - 0.9) > 0.05
    with pytest.raises(ValueError, match="give n_points"):
        sets.apply(p)


def test_weights_are_repetitions(rng):
    p, y = sample(rng, n=400, k=3)
    # Equal weights change nothing, and those of one class are nothing to another.
    plain = ConformalSets.fit(p, y)
    np.testing.assert_array_equal(
        ConformalSets.fit(p, y, weights=np.full(400, 7.0)).threshold, plain.threshold
    )
    only = ConformalSets.fit(p, y, weights=np.where(y == 0, np.where(np.arange(400) < 200, 1.0, 1e-9), 1.0))
    first = np.arange(400) < 200
    expected = conformal_by_definition(p[first], y[first], 0.1)[0]
    assert only.threshold[0, 0] == pytest.approx(expected)
    np.testing.assert_array_equal(only.threshold[0, 1:], plain.threshold[0, 1:])


def test_sets_come_back_from_json(rng):
    p, y = sample(rng)
    n = rng.integers(0, 300, len(y))
    sets = ConformalSets.fit(p, y, n_points=n)
    back = ConformalSets.from_dict(json.loads(json.dumps(sets.to_dict(), allow_nan=False)))
    np.testing.assert_array_equal(back.apply(p, n), sets.apply(p, n))
    assert back.to_dict() == sets.to_dict()


def test_misuse_is_refused(rng):
    p, y = sample(rng)
    with pytest.raises(ValueError, match="alpha must lie between 0 and 1, found 1"):
        ConformalSets.fit(p, y, alpha=1)
    with pytest.raises(ValueError, match="n classes"):
        ConformalSets.fit(p, y[:-1])
    with pytest.raises(ValueError, match="between 0 and 1 of shape"):
        ConformalSets.fit(np.where(p > 0.5, np.nan, p), y)
    sets = ConformalSets.fit(p, y)
    with pytest.raises(ValueError, match="for 4 classes"):
        sets.apply(p[:, :3])
    with pytest.raises(ValueError, match="edges is missing"):
        ConformalSets.from_dict({"alpha": 0.1})
    with pytest.raises(ValueError, match="finite threshold"):
        ConformalSets.from_dict(sets.to_dict() | {"threshold": [0.5]})
