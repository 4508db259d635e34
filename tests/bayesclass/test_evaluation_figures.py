import numpy as np
import pandas as pd
import pytest
from evaluation_samples import LEAVES, RECIPE, quick, tables
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

from bayesclass import metrics
from bayesclass.evaluation import evaluate
from bayesclass.evaluation_bins import day_bins, magnitude_bins
from bayesclass.evaluation_brier import PARTS, brier_parts
from bayesclass.evaluation_levels import levels
from bayesclass.evaluation_ranking import curve, ranking_statistic
from bayesclass.recipe import Recipe
from bayesclass.report import write_report
from bayesclass.tables import InputError
from bayesclass.taxonomy import Taxonomy
from structurefn.light_curves import LightCurves

# The parts of the Brier score


def parts_by_enumeration(p, y, bins):
    """Reliability, resolution, uncertainty, and within-bin variance less covariance, object by object."""
    n, base = len(p), y.mean()
    cells = np.minimum((p * bins).astype(int), bins - 1)
    reliability = resolution = variance = covariance = 0.0
    for cell in set(cells.tolist()):
        own = cells == cell
        given_mean, seen = p[own].mean(), y[own].mean()
        reliability += own.sum() * (given_mean - seen) ** 2 / n
        resolution += own.sum() * (seen - base) ** 2 / n
        variance += ((p[own] - given_mean) ** 2).sum() / n
        covariance += 2.0 * ((y[own] - seen) * (p[own] - given_mean)).sum() / n
    return reliability, resolution, base * (1 - base), variance - covariance


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 5), st.integers(1, 20))
def test_parts_of_the_brier_score_add_up_and_equal_their_definitions(seed, n, n_classes, bins):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(n_classes, 0.4), size=n)
    y = rng.integers(0, n_classes, n)
    parts = brier_parts(p, y, bins)
    total = parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within_bins"]
    np.testing.assert_allclose(total, parts["brier"], atol=1e-12)
    np.testing.assert_allclose(parts["brier"].sum(), metrics.brier(p, y))
    for k in range(n_classes):
        expected = parts_by_enumeration(p[:, k], (y == k).astype(float), bins)
        np.testing.assert_allclose([parts[name][k] for name in PARTS[1:]], expected, atol=1e-12)


def test_weights_of_the_brier_score_are_repetitions(rng):
    p, y = rng.dirichlet(np.ones(3), size=30), rng.integers(0, 3, 30)
    counts = rng.integers(0, 4, (2, 30))
    parts = brier_parts(p, y, weights=counts)
    for row in range(2):
        repeated = brier_parts(np.repeat(p, counts[row], axis=0), np.repeat(y, counts[row]))
        for name in PARTS:
            np.testing.assert_allclose(parts[name][row], repeated[name], atol=1e-12)


def test_equal_probabilities_in_a_bin_leave_murphys_three_parts(rng):
    p = rng.choice([0.1, 0.5, 0.9], 200)
    y = (rng.random(200) < p).astype(int)
    parts = brier_parts(np.column_stack([1 - p, p]), y, 10)
    np.testing.assert_allclose(parts["within_bins"], 0.0, atol=1e-12)


def test_brier_table_of_an_evaluation_equals_scikit_learn(rng):
    posteriors, objects, p, y = tables(rng)
    table = quick(posteriors, objects).brier.set_index("class")
    expected = [sklearn_metrics.brier_score_loss(y == k, p[:, k]) for k in range(3)]
    np.testing.assert_allclose(table["brier"], [*expected, sum(expected)])
    np.testing.assert_allclose(
        table["reliability"] - table["resolution"] + table["uncertainty"] + table["within_bins"],
        table["brier"],
    )
    for name in PARTS:
        assert (table[f"{name}_lower"] <= table[name] + 1e-12).all()
        assert (table[name] <= table[f"{name}_upper"] + 1e-12).all()


# Ranking


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.sampled_from([2, 5, 1000]))
def test_areas_equal_scikit_learn_with_ties_and_weights(seed, n, values):
    rng = np.random.default_rng(seed)
    score, member = rng.integers(0, values, n) / values, rng.random(n) < 0.4
    counts = rng.integers(0, 3, (3, n)).astype(float)
    area = ranking_statistic(score, member)(counts)
    for row in range(3):
        own = counts[row] > 0
        if 0 < member[own].sum() < own.sum():
            sklearn = {"y_true": member[own], "y_score": score[own], "sample_weight": counts[row][own]}
            np.testing.assert_allclose(area[row, 0], sklearn_metrics.roc_auc_score(**sklearn))
            np.testing.assert_allclose(area[row, 1], sklearn_metrics.average_precision_score(**sklearn))
        else:
            assert np.isnan(area[row, 0])


def test_curves_equal_scikit_learn(rng):
    score = rng.integers(0, 30, 100) / 30
    member = rng.random(100) < score
    found = curve(score, member)
    false, true, threshold = sklearn_metrics.roc_curve(member, score, drop_intermediate=False)
    np.testing.assert_allclose(found["false_positive_rate"], false[1:])
    np.testing.assert_allclose(found["recall"], true[1:])
    np.testing.assert_allclose(found["threshold"], threshold[1:])
    precision, recall, _ = sklearn_metrics.precision_recall_curve(member, score)
    np.testing.assert_allclose(found["precision"][::-1], precision[:-1])
    np.testing.assert_allclose(found["recall"][::-1], recall[:-1])


def test_long_curves_keep_their_ends(rng):
    score = rng.random(5000)
    member = rng.random(5000) < 0.3
    found = curve(score, member, points=50)
    assert len(found) == 50
    assert found[["false_positive_rate", "recall"]].iloc[-1].tolist() == [1.0, 1.0]
    whole = curve(score, member, points=5000)
    assert found.merge(whole).shape == found.shape


def test_ranking_has_leaves_and_nodes_with_intervals_that_hold(rng):
    posteriors, objects, p, y = tables(rng)
    found = quick(posteriors, objects)
    table = found.ranking.set_index("class")
    # `supernova` holds every leaf, and so ranks nothing.
    assert table.index.tolist() == [*LEAVES, "core-collapse"]
    score, member = p[:, 1:].sum(axis=1), y > 0
    assert table.loc["core-collapse", "auc"] == pytest.approx(sklearn_metrics.roc_auc_score(member, score))
    assert table.loc["core-collapse", "average_precision"] == pytest.approx(
        sklearn_metrics.average_precision_score(member, score)
    )
    assert table["n_members"].tolist() == [*np.bincount(y), member.sum()]
    for name in ("auc", "average_precision"):
        assert (table[f"{name}_lower"] < table[name]).all()
        assert (table[name] < table[f"{name}_upper"]).all()
    assert set(found.curves["class"]) == set(table.index)


@pytest.mark.slow
def test_interval_of_the_area_covers(rng):
    truth = 0.7602  # Phi(1 / sqrt 2): members and others are normal, one standard deviation apart.
    held = 0
    for _ in range(200):
        member = rng.random(150) < 0.4
        score = rng.normal(size=150) + member
        statistic = ranking_statistic(score, member)
        many = metrics.bootstrap({"area": statistic}, 150, rng, 300)["area"]
        lower, upper = metrics.bootstrap_interval(statistic(np.ones(150)), many)
        held += lower[0] <= truth <= upper[0]
    assert 180 <= held <= 199


# Levels of the class tree


def test_levels_of_a_tree():
    tree = Taxonomy(
        ("Ia", "II", "Ibc", "AGN", "CV"),
        {"core-collapse": ("II", "Ibc"), "supernova": ("Ia", "core-collapse")},
    )
    found = levels(tree)
    assert [level.classes for level in found] == [
        ("supernova", "AGN", "CV"),
        ("Ia", "core-collapse", "AGN", "CV"),
        ("Ia", "II", "Ibc", "AGN", "CV"),
    ]
    assert [level.nodes for level in found] == [("supernova",), ("core-collapse",), ()]
    np.testing.assert_array_equal(found[0].member.sum(axis=1), [3, 1, 1])
    assert [level.classes for level in levels(Taxonomy(("a", "b")))] == [("a", "b")]
    # A node with every leaf tells nothing apart.
    assert [level.classes for level in levels(Taxonomy(("a", "b"), {"all": ("a", "b")}))] == [("a", "b")]


def test_confusion_and_scores_on_each_level(rng):
    posteriors, objects, p, y = tables(rng)
    objects = objects.set_index("object_id")
    objects.loc["o3", "label"] = "SN?"  # core-collapse, of either kind
    found = quick(posteriors, objects.reset_index())
    group = np.array([0, 1, 1])
    above, summed = group[y], np.column_stack([p[:, 0], p[:, 1:].sum(axis=1)])
    above[3] = 1
    top = found.confusion_levels[found.confusion_levels["level"] == 1]
    hard = top["n_objects"].to_numpy().reshape(2, 2)
    np.testing.assert_array_equal(hard, sklearn_metrics.confusion_matrix(above, summed.argmax(axis=1)))
    fuzzy = [[summed[above == k, j].sum() for j in range(2)] for k in range(2)]
    np.testing.assert_allclose(top["probability"].to_numpy().reshape(2, 2), fuzzy)
    table = found.levels.set_index("level")
    assert table["n_objects"].tolist() == [300, 299]
    assert table.loc[1, "log_loss"] == pytest.approx(sklearn_metrics.log_loss(above, summed))
    assert table.loc[1, "accuracy"] == pytest.approx((summed.argmax(axis=1) == above).mean())
    assert table.loc[2, "log_loss"] == pytest.approx(found.value("log_loss"))
    row = found.per_node.set_index("class").loc["core-collapse"]
    assert row["recall"] == pytest.approx((summed.argmax(axis=1) == 1)[above == 1].mean())
    node = found.reliability[found.reliability["kind"] == "node"]
    assert node["n"].sum() == 300


def test_class_wise_null_is_that_of_redrawn_labels(rng):
    posteriors, objects, p, _ = tables(rng)
    found = quick(posteriors, objects).per_class
    mean, upper = metrics.class_ece_null(p, rng, n=400)
    np.testing.assert_allclose(found["ece_null"], mean, rtol=0.15)
    np.testing.assert_allclose(found["ece_null_upper"], upper, rtol=0.3)
    null = metrics.ece_null(p, rng, n=400)[0]
    assert mean.mean() == pytest.approx(null, rel=0.05)


# Prediction sets


def test_coverage_has_exact_binomial_intervals(rng):
    posteriors, objects, _, y = tables(rng)
    found = quick(posteriors, objects)
    sets = found.sets.set_index("class")
    texts = posteriors["prediction_set"].str.split("|")
    held = np.array([LEAVES[k] in text for k, text in zip(y, texts, strict=True)])
    size = texts.str.len().to_numpy()
    members = {"all": y >= 0} | {leaf: y == k for k, leaf in enumerate(LEAVES)}
    for name, own in members.items():
        row = sets.loc[name]
        ends = binomtest(int(held[own].sum()), int(own.sum())).proportion_ci(method="exact")
        assert (row["coverage"], row["mean_set_size"]) == pytest.approx((held[own].mean(), size[own].mean()))
        assert (row["lower"], row["upper"]) == pytest.approx((ends.low, ends.high))
        assert row["size_lower"] < row["mean_set_size"] < row["size_upper"]
        assert row["single"] == pytest.approx((size[own] == 1).mean())
    summary = found.summary.set_index("metric").loc["coverage"]
    assert (summary["lower"], summary["upper"]) == pytest.approx(tuple(sets.loc["all", ["lower", "upper"]]))


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (7, 7), (3, 7), (1, 1), (499, 1000)])
def test_binomial_interval_equals_scipy(hits, n):
    ends = binomtest(hits, n).proportion_ci(method="exact")
    assert metrics.binomial_interval(hits, n) == pytest.approx((ends.low, ends.high))
    assert np.isnan(metrics.binomial_interval(0, 0)).all()


# Bins of days and magnitudes


def light_curves(days, magnitude, **more):
    """Two detections an object, `days` apart, and a limit before; the second is half a magnitude fainter."""
    rows = []
    for i, (span, mag) in enumerate(zip(days, magnitude, strict=True)):
        times = [0.0] if span == 0 else [0.0, span]
        rows += [(f"o{i}", 59000.0 + t, mag + 0.5 * k, 0.1, False) for k, t in enumerate(times)]
        rows.append((f"o{i}", 58900.0, mag - 3.0, np.nan, True))
    names = ["object_id", "mjd", "mag", "mag_err", "upper_limit"]
    return pd.DataFrame(rows, columns=names).assign(survey="ZTF", band="g", **more)


def test_days_and_magnitudes_come_from_detections_alone(rng):
    posteriors, objects, p, y = tables(rng)
    days = rng.choice([0.0, 2.0, 3.0, 7.0, 30.0, 99.0, 400.0], 300)
    magnitude = rng.uniform(15.2, 19.8, 300)
    posteriors["n_detections"] = np.where(days > 0, 2, 1)
    found = evaluate(posteriors, objects, RECIPE, light_curves(days, magnitude), n_resamples=40)
    assert found.notes == ()
    table = found.per_days.set_index("days")
    assert table.index.tolist() == ["0", "0-3", "3-10", "10-30", "30-100", ">100"]
    counts = [(days == 0), (days > 0) & (days <= 3), days == 7, days == 30, days == 99, days == 400]
    assert table["n_objects"].tolist() == [own.sum() for own in counts]
    own = days == 7
    assert table.loc["3-10", "log_loss"] == pytest.approx(
        sklearn_metrics.log_loss(y[own], p[own], labels=range(3))
    )
    assert table.loc["3-10", "brier"] == pytest.approx(((p - np.eye(3)[y]) ** 2).sum(axis=1)[own].mean())
    assert found.per_magnitude["n_objects"].sum() == 300
    row = found.per_magnitude.set_index("magnitude").loc["17 to 18"]
    own = (magnitude >= 17) & (magnitude < 18)
    assert row["n_objects"] == own.sum()
    assert row["accuracy"] == pytest.approx((p.argmax(axis=1) == y)[own].mean())
    ends = binomtest(int((p.argmax(axis=1) == y)[own].sum()), int(own.sum())).proportion_ci(method="exact")
    assert (row["accuracy_lower"], row["accuracy_upper"]) == pytest.approx((ends.low, ends.high))


def test_flux_of_a_flux_recipe_becomes_a_magnitude(rng):
    posteriors, objects, _, _ = tables(rng, 40)
    recipe = RECIPE.to_dict()
    recipe["light_curves"] |= {"quantity": "flux"}
    flux = np.where(np.arange(40) < 5, -3.0, 10.0 ** rng.uniform(1, 3, 40))
    frame = pd.DataFrame(
        {"object_id": posteriors["object_id"], "mjd": 59000.0, "flux": flux, "flux_err": 1.0}
    )
    frame = frame.assign(survey="ZTF", band="g")
    posteriors["n_detections"] = 1
    found = evaluate(posteriors, objects, Recipe.from_dict(recipe), frame, n_resamples=20)
    assert "5 objects have no flux above zero, and so no magnitude." in found.notes
    magnitude = 27.5 - 2.5 * np.log10(flux[5:])
    assert found.per_magnitude["n_objects"].sum() == 35
    low = float(found.per_magnitude["magnitude"][0][1:])
    assert found.per_magnitude["n_objects"][0] == (magnitude < low).sum()


def test_light_curves_that_do_not_fit_are_said_or_refused(rng):
    posteriors, objects, _, _ = tables(rng, 30)
    posteriors["n_detections"] = 2
    curves = light_curves(np.full(30, 5.0), np.linspace(15, 20, 30))
    curves = curves[~curves["object_id"].isin(["o1", "o2"])]
    curves.loc[curves["object_id"] == "o3", "upper_limit"] = True
    notes = evaluate(posteriors, objects, RECIPE, curves, n_resamples=10).notes
    assert "2 judged objects have no light curve in the file that was given." in notes
    assert "1 objects have no detection, and so are in no bin of days or magnitude." in notes
    assert any(note.startswith("1 objects have another number of detections in these") for note in notes)
    with pytest.raises(InputError, match=r"none of the 30 judged objects \(as 'o0'\) is among their 28"):
        evaluate(posteriors, objects, RECIPE, curves.assign(object_id="x" + curves["object_id"]))
    with pytest.raises(InputError, match="must hold mag for recipe small, but they hold flux"):
        evaluate(posteriors, objects, RECIPE, LightCurves.empty(("ZTF/g",), "flux"))
    with pytest.raises(InputError, match="The light curves:"):
        evaluate(posteriors, objects, RECIPE, pd.DataFrame({"object_id": ["o0"]}))


@given(st.lists(st.floats(-30, 40), min_size=1, max_size=50))
def test_every_magnitude_is_in_one_bin_between_round_numbers(values):
    found = magnitude_bins(np.array([*values, np.nan]))
    assert found.inside[:-1].sum(axis=1).tolist() == [1] * len(values)
    assert not found.inside[-1].any()
    assert len(found.labels) <= 9


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=50))
def test_every_number_of_days_is_in_one_bin(values):
    found = day_bins(np.array([*values, np.nan]))
    assert found.inside.sum(axis=1).tolist() == [1] * len(values) + [0]


# Few objects, and malformed columns


@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_objects_have_numbers_without_intervals(rng, n):
    posteriors, objects, p, y = tables(rng, 60)
    found = quick(posteriors.iloc[:n], objects)
    assert found.value("log_loss") == pytest.approx(-np.log(p[np.arange(n), y[:n]]).mean())
    rows = found.summary[found.summary["metric"] != "ece_null"]
    assert rows[["lower", "upper"]].isna().all(axis=None)
    assert found.ranking[["auc_lower", "auc_upper"]].isna().all(axis=None)


def test_one_class_only_has_no_ranking(rng):
    posteriors, objects, _, y = tables(rng)
    found = quick(posteriors[y == 0], objects)
    assert found.ranking[["auc", "average_precision"]].isna().all(axis=None)
    assert found.curves.empty


def test_empty_sets_count_as_holding_no_class(rng):
    posteriors, objects, _, _ = tables(rng)
    posteriors.loc[:9, "prediction_set"] = ""
    found = quick(posteriors, objects)
    assert any(note.startswith("10 objects have an empty prediction set") for note in found.notes)
    full = quick(posteriors.iloc[10:], objects)
    assert found.value("coverage") == pytest.approx(full.value("coverage") * 290 / 300)
    found = quick(posteriors.assign(prediction_set=None), objects)
    assert "coverage" not in found.summary["metric"].tolist()
    assert any(note.startswith("Column prediction_set is empty") for note in found.notes)


def test_certain_and_right_probabilities_have_a_page(rng, tmp_path):
    posteriors, objects, _, y = tables(rng, 60)
    for k, leaf in enumerate(LEAVES):
        posteriors[f"p_{leaf}"] = (y == k).astype(float)
    found = quick(posteriors.drop(columns="warnings"), objects)
    assert found.value("log_loss") == 0.0
    assert found.value("ece") == 0.0
    assert found.ranking["auc"].tolist() == [1.0] * 4
    assert found.mistakes.empty
    assert "None: the best class is always" in write_report(found, tmp_path / "r").read_text()
    single = quick(posteriors.iloc[:1], objects)
    assert single.counts["one_labelled_class"] == 1
    assert write_report(single, tmp_path / "r").exists()
