import html
import json
import re

import numpy as np
import pandas as pd
import pytest
from evaluation_samples import LEAVES, RECIPE, quick, tables
from sklearn import metrics as sklearn_metrics

from bayesclass import report
from bayesclass.evaluation import FLOOR, evaluate
from bayesclass.recipe import Recipe, RecipeError
from bayesclass.report import check_report, write_report
from bayesclass.report_sections import PANELS
from bayesclass.tables import InputError


def one_sentence(error):
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


# Numbers


def test_summary_equals_scikit_learn_whatever_the_order_of_rows(rng):
    posteriors, objects, p, y = tables(rng)
    found = quick(posteriors, objects)
    best = p.argmax(axis=1)
    assert found.value("log_loss") == pytest.approx(sklearn_metrics.log_loss(y, p, labels=range(3)))
    assert found.value("accuracy") == pytest.approx((best == y).mean())
    assert found.value("macro_f1") == pytest.approx(sklearn_metrics.f1_score(y, best, average="macro"))
    assert found.value("brier") == pytest.approx(((p - np.eye(3)[y]) ** 2).sum(axis=1).mean())
    frequency = np.bincount(y) / len(y)
    assert found.value("log_loss_class_frequencies") == pytest.approx(-np.log(frequency[y]).mean())
    true = np.array(LEAVES)[y]
    held = [name in text.split("|") for name, text in zip(true, posteriors["prediction_set"], strict=True)]
    assert found.value("coverage") == pytest.approx(np.mean(held))
    sizes = posteriors["prediction_set"].str.count(r"\|") + 1
    assert found.value("mean_set_size") == pytest.approx(sizes.mean())
    np.testing.assert_array_equal(found.confusion, sklearn_metrics.confusion_matrix(y, best))
    auc = [sklearn_metrics.roc_auc_score(y == k, p[:, k]) for k in range(3)]
    np.testing.assert_allclose(found.per_class["auc"], auc)
    assert found.notes == ()
    assert found.value("ece") < 2 * found.value("ece_null")


def test_intervals_hold_their_values_and_a_seed_repeats_them(rng):
    posteriors, objects, _, _ = tables(rng)
    first, again = quick(posteriors, objects), quick(posteriors, objects)
    pd.testing.assert_frame_equal(first.summary, again.summary)
    rows = first.summary[first.summary["metric"] != "ece_null"]
    assert (rows["lower"] <= rows["value"]).all()
    assert (rows["value"] <= rows["upper"]).all()
    assert not quick(posteriors, objects, seed=1).summary.equals(first.summary)


def test_every_bin_of_detections_has_its_own_numbers(rng):
    posteriors, objects, p, y = tables(rng)
    found = quick(posteriors, objects).per_detections
    assert found["n_detections"].tolist() == ["0", "1", "2-3", "4-5", "6-10", "11-30", "31-100", ">100"]
    assert found["n_objects"].sum() == 300
    own = posteriors["n_detections"].between(31, 100).to_numpy()
    row = found.iloc[6]
    assert row["n_objects"] == own.sum()
    expected = sklearn_metrics.log_loss(y[own], p[own], labels=range(3))
    assert row["log_loss"] == pytest.approx(expected)
    assert row["lower"] < row["log_loss"] < row["upper"]
    assert row["accuracy"] == pytest.approx((p[own].argmax(axis=1) == y[own]).mean())


def test_worst_mistakes_are_the_most_confident_wrong_ones(rng):
    posteriors, objects, p, y = tables(rng)
    found = quick(posteriors, objects).mistakes
    wrong = p.argmax(axis=1) != y
    worst = np.flatnonzero(wrong)[np.argsort(p[np.arange(300), y][wrong])][:25]
    assert found["object_id"].tolist() == [f"o{i}" for i in worst]
    np.testing.assert_allclose(found["log_loss"], -np.log(p[worst, y[worst]]))
    assert {"label", "best_class", "p_best", "p_allowed", "warnings"} <= set(found.columns)


# Labels that are missing, partial or unknown


def test_partial_labels_count_in_the_log_loss_only(rng):
    posteriors, objects, p, y = tables(rng)
    objects = objects.set_index("object_id")
    objects.loc["o3", ["label", "mark"]] = ["", "SN?"]
    objects.loc["o4", "label"] = "SN?"
    found = quick(posteriors, objects.reset_index())
    whole = np.delete(np.arange(300), [3, 4])
    loss = np.append(-np.log(p[whole, y[whole]]), -np.log(p[3:5, 1:].sum(axis=1)))
    assert found.value("log_loss") == pytest.approx(loss.mean())
    assert found.value("accuracy") == pytest.approx((p.argmax(axis=1) == y)[whole].mean())
    assert found.summary.set_index("metric")["n_objects"][["log_loss", "accuracy"]].tolist() == [300, 298]
    assert any(note.startswith("2 objects have a label that allows several") for note in found.notes)


def test_what_takes_no_part_is_counted_and_said(rng):
    posteriors, objects, _, _ = tables(rng)
    objects = objects.set_index("object_id")
    objects.loc[["o0", "o1"], "label"] = ["", None]
    objects.loc[["o2", "o3", "o4"], "label"] = ["TDE", "TDE", "nova"]
    objects.loc["o5", "label"] = "supernova"
    objects = objects.drop("o6")
    objects.loc["other"] = ["Ia", ""]
    found = quick(posteriors, objects.reset_index())
    assert found.counts == {
        "posteriors": 300,
        "without_a_row_in_objects": 1,
        "objects_without_a_posterior": 1,
        "without_label": 2,
        "label_not_in_recipe": 3,
        "label_allows_every_class": 1,
        "partial_label": 0,
        "one_labelled_class": 293,
    }
    assert found.unmapped.to_numpy().tolist() == [["TDE", 2], ["nova", 1]]
    assert "3 objects have a label that the recipe does not map (TDE 2, nova 1)." in found.notes
    assert len(found.notes) == 5
    assert "TDE 2" in str(found)


def test_ten_objects_of_one_class_are_judged_as_far_as_possible(rng, tmp_path):
    posteriors, objects, _, y = tables(rng)
    chosen = [f"o{i}" for i in np.flatnonzero(y == 1)[:10]]
    found = quick(posteriors[posteriors["object_id"].isin(chosen)], objects)
    assert np.isnan(found.per_class["auc"]).all()
    assert any("Only 10 objects" in note for note in found.notes)
    assert any("All of them are II" in note for note in found.notes)
    assert np.isfinite(found.value("log_loss"))
    page = write_report(found, tmp_path / "report").read_text()
    assert "All of them are II" in page


def test_only_partial_labels_leave_the_log_loss(rng, tmp_path):
    posteriors, objects, p, _ = tables(rng)
    found = quick(posteriors, objects.assign(label="SN?"))
    assert found.summary["metric"].tolist() == ["log_loss"]
    assert found.value("log_loss") == pytest.approx(-np.log(p[:, 1:].sum(axis=1)).mean())
    write_report(found, tmp_path / "report")


def test_a_truth_without_probability_is_counted(rng):
    posteriors, objects, _, y = tables(rng)
    columns = ["p_Ia", "p_II", "p_Ibc"]
    i = int(np.flatnonzero(y == 0)[0])
    posteriors.loc[i, columns] = [0.0, 0.5, 0.5]
    found = quick(posteriors, objects)
    assert any("1 objects gave their labelled class no probability" in note for note in found.notes)
    assert found.mistakes["log_loss"].iloc[0] == pytest.approx(-np.log(FLOOR))


def test_columns_beyond_the_probabilities_may_be_missing(rng):
    posteriors, objects, _, _ = tables(rng)
    found = quick(posteriors[["object_id", "p_Ia", "p_II", "p_Ibc"]], objects)
    assert len(found.per_detections) == 0
    assert "coverage" not in found.summary["metric"].tolist()
    assert len(found.notes) == 2
    with pytest.raises(ValueError, match="no metric 'coverage'; known: log_loss"):
        found.value("coverage")


def test_identifiers_meet_as_text(rng):
    posteriors, objects, _, _ = tables(rng, n=40)
    posteriors["object_id"] = np.arange(1000, 1040)
    objects["object_id"] = objects["object_id"].str[1:].astype(float) + 1000.0
    assert quick(posteriors, objects).counts["one_labelled_class"] == 40


def test_nodes_may_be_among_the_columns(rng):
    posteriors, objects, _, _ = tables(rng)
    posteriors["p_core-collapse"] = posteriors["p_II"] + posteriors["p_Ibc"]
    assert quick(posteriors, objects).counts["one_labelled_class"] == 300


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.rename(columns={"p_II": "p_IIP"}), r"found p_II missing and p_IIP not among"),
        (lambda t: t.assign(p_TDE=0.0, p_TDE_lo=0.0), r"found p_TDE not among its classes: name"),
        (lambda t: t.assign(p_Ia=0.9, p_II=0.9), "300 objects have others, as o0 with 0.9, 0.9"),
        (lambda t: t.assign(p_Ia=np.nan), "sum nan"),
        (lambda t: t.assign(p_Ia="x"), "p_Ia must be numeric"),
        (lambda t: t.assign(object_id=["o0"] * 300), "object_id o0 is there more than once"),
        (lambda t: t.assign(object_id=""), "object_id is empty in 300 rows"),
        (lambda t: t.drop(columns="object_id"), "must have a column object_id"),
        (lambda t: t.iloc[:0], "but it has no row"),
        (lambda t: t.assign(object_id="x" + t["object_id"]), r"none of the 300 posteriors \(as 'xo0'\)"),
        (lambda t: t.assign(prediction_set="Ia|TDE"), "found 'TDE'"),
        (lambda t: t.assign(n_detections=1.5), "whole numbers from 0 on, found 1.5 in 300 rows"),
    ],
)
def test_posteriors_that_cannot_be_judged_are_refused(rng, change, message):
    posteriors, objects, _, _ = tables(rng)
    with pytest.raises(InputError, match=message) as error:
        quick(change(posteriors), objects)
    one_sentence(error)


def test_a_sum_within_a_thousandth_is_normalised(rng):
    posteriors, objects, p, y = tables(rng)
    for leaf in LEAVES:
        posteriors[f"p_{leaf}"] *= 1.0009
    expected = sklearn_metrics.log_loss(y, p, labels=range(3))
    assert quick(posteriors, objects).value("log_loss") == pytest.approx(expected)


def test_objects_without_usable_labels_are_refused(rng):
    posteriors, objects, _, _ = tables(rng)
    with pytest.raises(InputError, match=r"300 have one that it does not map \(TDE 300\)") as error:
        quick(posteriors, objects.assign(label="TDE"))
    one_sentence(error)
    with pytest.raises(RecipeError, match="column 'label'"):
        quick(posteriors, objects.drop(columns="label"))
    with pytest.raises(InputError, match="objects' table must have one row an object"):
        quick(posteriors, pd.concat([objects, objects]))


# The report


def test_a_report_is_one_page_with_its_pictures_tables_and_numbers(rng, tmp_path):
    posteriors, objects, _, _ = tables(rng)
    objects["label"] = objects["label"].where(objects["object_id"] != "o1", "<script>")
    found = quick(posteriors, objects)
    path = write_report(found, tmp_path / "report")
    assert path == tmp_path / "report" / "report.html"
    assert {entry.name for entry in path.parent.iterdir()} == report.FILES
    assert [entry.name for entry in tmp_path.iterdir()] == ["report"]
    page = path.read_text()
    # Reliability of all, three leaves and a node; two of the ranking; four against detections.
    assert page.count("<svg ") == 5 + 2 + 4
    # Nothing from outside: what is named is inside the page, and there is no address, link or script.
    named = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert {name.removeprefix("#") for name in named} <= set(ids)
    assert "http" not in page
    assert "<script" not in page
    assert "<link" not in page
    assert html.escape("<script>") in page
    numbers = json.loads((path.parent / "metrics.json").read_text())
    assert numbers["summary"]["log_loss"]["value"] == found.value("log_loss")
    assert numbers["summary"]["ece_null"]["lower"] is None
    assert numbers["objects"]["label_not_in_recipe"] == 1
    assert numbers["per_class"]["II"]["n_objects"] == int(found.per_class["n_objects"][1])
    back = pd.read_csv(path.parent / "per_detections.csv")
    np.testing.assert_allclose(back["log_loss"], found.per_detections["log_loss"])
    matrix = pd.read_csv(path.parent / "confusion.csv", index_col=0)
    np.testing.assert_array_equal(matrix, found.confusion)


def test_an_earlier_report_is_replaced_and_equal_ones_are_equal(rng, tmp_path):
    posteriors, objects, _, _ = tables(rng)
    first = write_report(quick(posteriors, objects), tmp_path / "report").read_bytes()
    second = write_report(quick(posteriors, objects), tmp_path / "report").read_bytes()
    assert first == second
    other = write_report(quick(posteriors.iloc[:200], objects), tmp_path / "report").read_bytes()
    assert first != other


def test_a_folder_that_is_not_a_report_stays_as_it_is(rng, tmp_path):
    posteriors, objects, _, _ = tables(rng)
    found = quick(posteriors, objects)
    folder = tmp_path / "thesis"
    folder.mkdir()
    write_report(found, folder)
    (folder / "chapter.tex").write_text("x")
    with pytest.raises(InputError, match=r"holds 'chapter.tex': name another folder\.$"):
        write_report(found, folder)
    assert (folder / "chapter.tex").read_text() == "x"
    (folder / "chapter.tex").unlink()
    (folder / "metrics.json").write_text("[1]")
    with pytest.raises(InputError, match="or an earlier report"):
        write_report(found, folder)


def test_places_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="but it is a file"):
        check_report(tmp_path / "file")
    with pytest.raises(InputError, match="create it first"):
        check_report(tmp_path / "no" / "report")
    check_report(tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_write_that_fails_leaves_the_earlier_report(rng, tmp_path, monkeypatch):
    posteriors, objects, _, _ = tables(rng)
    found = quick(posteriors, objects)
    before = write_report(found, tmp_path / "report").read_bytes()

    def full(evaluation, folder):
        (folder / "report.html").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "_write_files", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_report(found, tmp_path / "report")
    assert (tmp_path / "report" / "report.html").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["report"]


def test_many_classes_are_drawn_by_the_most_frequent(rng):
    leaves = [f"c{i}" for i in range(12)]
    recipe = Recipe.from_dict(
        RECIPE.to_dict() | {"classes": {"label": "label", "leaves": leaves, "nodes": {}, "labels": {}}}
    )
    p = rng.dirichlet(np.ones(12), size=120)
    posteriors = pd.DataFrame(p, columns=[f"p_{leaf}" for leaf in leaves]).assign(object_id=np.arange(120))
    objects = pd.DataFrame({"object_id": np.arange(120), "label": rng.choice(leaves, 120)})
    found = evaluate(posteriors, objects, recipe, n_resamples=10)
    page = report.to_html(found)
    assert page.count('aria-label="Fraction right') == PANELS
    assert "the 8 most frequent" in page
