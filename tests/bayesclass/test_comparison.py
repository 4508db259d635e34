import json
import re

import numpy as np
import pandas as pd
import pytest
from evaluation_samples import LEAVES, RECIPE, tables
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics
from typer.testing import CliRunner

from bayesclass import metrics
from bayesclass.cli import app
from bayesclass.comparison import compare
from bayesclass.comparison_report import FILES, check_comparison, write_comparison
from bayesclass.evaluation import evaluate
from bayesclass.evaluation_brier import brier_parts
from bayesclass.report import write_report
from bayesclass.tables import InputError, write_table


def blurred(posteriors, rng, scale=1.0):
    """The same posteriors with noise in their logarithms, in another order."""
    columns = [f"p_{leaf}" for leaf in LEAVES]
    log_p = np.log(posteriors[columns].to_numpy())
    p = softmax(log_p + scale * rng.normal(size=log_p.shape), axis=1)
    other = posteriors.assign(**{name: p[:, k] for k, name in enumerate(columns)})
    sets = (p > 0.2) | (p == p.max(axis=1, keepdims=True))
    other["prediction_set"] = ["|".join(np.array(LEAVES)[row]) for row in sets]
    return other.sample(frac=1, random_state=3).reset_index(drop=True), p


def both(rng, n=300, scale=1.0):
    a, objects, p, y = tables(rng, n)
    b, q = blurred(a, rng, scale)
    return a, b, objects, p, q, y


def quick(*arguments, **options):
    return compare(*arguments, RECIPE, **({"n_resamples": 100} | options))


def test_figures_equal_scikit_learn_and_those_of_each_alone(rng):
    a, b, objects, p, q, y = both(rng)
    found = quick(a, b, objects)
    table = found.summary.set_index("metric")
    for column, own, frame in (("a", p, a), ("b", q, b)):
        alone = evaluate(frame, objects, RECIPE, n_resamples=10)
        for name in ("log_loss", "brier", "accuracy", "macro_f1", "ece", "coverage", "mean_set_size"):
            assert table.loc[name, column] == pytest.approx(alone.value(name))
        auc = [sklearn_metrics.roc_auc_score(y == k, own[:, k]) for k in range(3)]
        assert table.loc["auc", column] == pytest.approx(np.mean(auc))
        area = [sklearn_metrics.average_precision_score(y == k, own[:, k]) for k in range(3)]
        assert table.loc["average_precision", column] == pytest.approx(np.mean(area))
        assert table.loc["log_loss", column] == pytest.approx(
            sklearn_metrics.log_loss(y, own, labels=range(3))
        )
        parts = brier_parts(own, y)
        for name in ("reliability", "resolution"):
            assert table.loc[name, column] == pytest.approx(parts[name].sum())
    np.testing.assert_allclose(table["difference"], table["b"] - table["a"])
    assert (table["lower"] < table["difference"]).all()
    assert (table["difference"] < table["upper"]).all()
    assert found.difference("log_loss") > 0
    assert table.loc["log_loss", "better"] == "a"
    with pytest.raises(ValueError, match="no metric 'x'; known: log_loss"):
        found.difference("x")


def test_the_paired_interval_is_the_quantile_of_resampled_differences(rng):
    a, b, objects, p, q, y = both(rng, 120)
    found = quick(a, b, objects, n_resamples=2000, seed=5).summary.set_index("metric").loc["log_loss"]
    each = -np.log(q[np.arange(120), y]) + np.log(p[np.arange(120), y])
    # For a mean the bootstrap's spread is known: the standard deviation over the root of n.
    half = 1.96 * each.std() / np.sqrt(120)
    assert found["lower"] == pytest.approx(each.mean() - half, abs=0.15 * half)
    assert found["upper"] == pytest.approx(each.mean() + half, abs=0.15 * half)


def test_each_class_has_its_figures(rng):
    a, b, objects, p, q, y = both(rng)
    table = quick(a, b, objects).per_class.set_index(["class", "metric"])
    for k, leaf in enumerate(LEAVES):
        for column, own in (("a", p), ("b", q)):
            precision, recall, f1, count = (
                part[k]
                for part in sklearn_metrics.precision_recall_fscore_support(
                    y, own.argmax(axis=1), labels=range(3)
                )
            )
            expected = {
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "log_loss": -np.log(own[y == k, k]).mean(),
                "brier": sklearn_metrics.brier_score_loss(y == k, own[:, k]),
                "auc": sklearn_metrics.roc_auc_score(y == k, own[:, k]),
                "average_precision": sklearn_metrics.average_precision_score(y == k, own[:, k]),
                "ece": metrics.class_ece(own, y)[k],
            }
            for name, value in expected.items():
                assert table.loc[(leaf, name), column] == pytest.approx(value)
        assert table.loc[(leaf, "recall"), "n_objects"] == count
    above = sklearn_metrics.roc_auc_score(y > 0, q[:, 1:].sum(axis=1))
    assert table.loc[("core-collapse", "auc"), "b"] == pytest.approx(above)


def test_bins_of_detections(rng):
    a, b, objects, p, q, y = both(rng)
    table = quick(a, b, objects).per_detections.set_index(["n_detections", "metric"])
    own = a["n_detections"].between(31, 100).to_numpy()
    row = table.loc[("31-100", "log_loss")]
    assert row["n_objects"] == own.sum()
    assert row["b"] == pytest.approx(sklearn_metrics.log_loss(y[own], q[own], labels=range(3)))
    assert table.loc[("31-100", "accuracy"), "a"] == pytest.approx((p.argmax(axis=1) == y)[own].mean())


def test_agreement_and_the_objects_that_differ_most(rng):
    a, b, objects, p, q, y = both(rng)
    found = quick(a, b, objects)
    first, second = p.argmax(axis=1), q.argmax(axis=1)
    right, other = first == y, second == y
    table = found.agreement.set_index("what")["n"]
    assert table["same best class"] == (first == second).sum()
    assert table["only A right"] == (right & ~other).sum()
    assert table["only B right"] == (~right & other).sum()
    assert table["both right"] + table["both wrong"] == (right == other).sum()
    odd = int((right & ~other).sum()), int((right != other).sum())
    assert found.chance == pytest.approx(binomtest(*odd).pvalue)
    np.testing.assert_array_equal(found.best_classes, sklearn_metrics.confusion_matrix(first, second))
    distance = np.abs(p - q).sum(axis=1) / 2
    worst = np.argsort(-distance)[:25]
    assert found.objects["object_id"].tolist() == [f"o{i}" for i in worst]
    row, i = found.objects.iloc[0], worst[0]
    assert row["label"] == LEAVES[y[i]]
    assert (row["p_a"], row["p_b"]) == pytest.approx((p[i].max(), q[i].max()))
    assert row["b_of_best_a"] == pytest.approx(q[i, first[i]])


def test_a_posterior_and_itself_do_not_differ(rng, tmp_path):
    a, _, objects, *_ = both(rng, 80)
    found = quick(a, a.sample(frac=1, random_state=2), objects)
    assert (found.summary["difference"] == 0).all()
    assert (found.summary["better"] == "").all()
    assert found.summary["lower"].isna().all()
    assert found.objects.empty
    assert np.isnan(found.chance)
    assert "None: the probabilities are the same." in write_comparison(found, tmp_path / "c").read_text()


def test_objects_in_one_table_only_are_counted_and_said(rng):
    a, b, objects, p, q, y = both(rng)
    first = a.iloc[20:]
    second = b[~b["object_id"].isin([f"o{i}" for i in range(200, 240)])]
    found = quick(first, second, objects, names=("old", "new"))
    assert found.counts["in_both"] == 240
    assert (found.counts["only_in_a"], found.counts["only_in_b"]) == (40, 20)
    assert "40 objects are in old only and were left out." in found.notes
    assert "20 objects are in new only and were left out." in found.notes
    own = np.r_[20:200, 240:300]
    assert found.difference("log_loss") == pytest.approx(
        sklearn_metrics.log_loss(y[own], q[own], labels=range(3))
        - sklearn_metrics.log_loss(y[own], p[own], labels=range(3))
    )


def test_remarks_on_one_table_carry_its_name(rng):
    a, b, objects, *_ = both(rng, 60)
    found = quick(a, b.drop(columns="prediction_set"), objects, names=("old", "new"))
    assert "new: There is no column prediction_set, so coverage was not judged." in found.notes
    assert "coverage" not in found.summary["metric"].tolist()
    found = quick(a.drop(columns="n_detections"), b.assign(n_detections=7), objects)
    assert found.per_detections["n_detections"].unique().tolist() == ["6-10"]


def test_unlabelled_objects_count_for_agreement_alone(rng):
    a, b, objects, p, q, _ = both(rng)
    objects = objects.set_index("object_id")
    objects.loc[[f"o{i}" for i in range(50)], "label"] = "TDE"
    found = quick(a, b, objects.reset_index())
    row = found.agreement.iloc[0]
    assert (row["n_objects"], row["n"]) == (300, (p.argmax(axis=1) == q.argmax(axis=1)).sum())
    assert found.summary["n_objects"].unique().tolist() == [250]
    assert any("TDE 50" in note for note in found.notes)


@pytest.mark.parametrize("n", [1, 3, 10])
def test_few_objects_of_one_class(rng, n):
    a, b, objects, _, _, y = both(rng, 80)
    chosen = a["object_id"].to_numpy()[np.flatnonzero(y == 0)[:n]]
    found = quick(a[a["object_id"].isin(chosen)], b, objects)
    assert found.counts["in_both"] == n
    assert "auc" not in found.summary["metric"].tolist()
    assert any("All of them are Ia" in note for note in found.notes)
    loss = found.summary.set_index("metric").loc["log_loss"]
    assert np.isnan(loss["lower"]) == (n < 5)


def test_only_partial_labels_leave_the_log_loss(rng, tmp_path):
    a, b, objects, *_ = both(rng, 60)
    found = quick(a, b, objects.assign(label="SN?"))
    assert found.summary["metric"].tolist() == ["log_loss"]
    assert "No object has one labelled class." in write_comparison(found, tmp_path / "c").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.assign(object_id="x" + t["object_id"]),
            r"none of the 60 of A \(as 'o0'\) is among the 60",
        ),
        (lambda t: t.assign(p_Ia=np.nan), "B: Probabilities must lie"),
        (lambda t: t.rename(columns={"p_II": "p_IIP"}), "B: The columns of the posteriors must be those"),
        (lambda t: t.iloc[:0], "B: The posteriors must have a column object_id and a row"),
        (lambda t: pd.concat([t, t]), "B: The posteriors must have one row an object"),
        (lambda t: t.assign(prediction_set="Ia|TDE"), "B: Column prediction_set must .* found 'TDE'"),
    ],
)
def test_what_cannot_be_compared_is_refused(rng, change, message):
    a, b, objects, *_ = both(rng, 60)
    with pytest.raises(InputError, match=message) as error:
        quick(a, change(b), objects)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_paired_interval_covers(rng):
    """Two posteriors of a known world: the interval of the difference holds what it estimates."""
    names = ("log_loss", "brier", "accuracy", "auc")

    def world(n):
        p = rng.dirichlet((0.6, 0.5, 0.4), size=n)
        y = np.array([rng.choice(3, p=row) for row in p])
        given = np.maximum(p**1.3, 1e-6)
        other = softmax(np.log(np.maximum(p, 1e-6)) + 0.6 * rng.normal(size=p.shape), axis=1)
        ids = np.arange(n)
        frames = [
            pd.DataFrame({"object_id": ids} | {f"p_{leaf}": q[:, k] for k, leaf in enumerate(LEAVES)})
            for q in (given / given.sum(axis=1, keepdims=True), other)
        ]
        return *frames, pd.DataFrame({"object_id": ids, "label": np.array(LEAVES)[y], "mark": ""})

    truth = quick(*world(40_000), n_resamples=2).summary.set_index("metric")["difference"]
    runs, held = 120, dict.fromkeys(names, 0)
    for seed in range(runs):
        table = quick(*world(200), n_resamples=200, seed=seed).summary.set_index("metric")
        for name in names:
            held[name] += table.loc[name, "lower"] <= truth[name] <= table.loc[name, "upper"]
    # Of 120 intervals that hold with probability .95, fewer than 105 do so once in a thousand times.
    assert all(0.87 * runs <= n for n in held.values()), held


# The page and the command


def test_a_comparison_is_one_page_with_its_tables_and_numbers(rng, tmp_path):
    a, b, objects, *_ = both(rng)
    objects["label"] = objects["label"].where(objects["object_id"] != "o1", "<script>")
    found = quick(a, b, objects, names=("old.csv", "<b>"))
    path = write_comparison(found, tmp_path / "c")
    assert {entry.name for entry in path.parent.iterdir()} == FILES
    page = path.read_text()
    assert page.count("<svg ") == 2
    assert "<script" not in page
    assert "<b>" not in page
    assert "http" not in page
    names = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(name.startswith("#") for name in names)
    numbers = json.loads((path.parent / "metrics.json").read_text())
    assert numbers["kind"] == "bayesclass comparison"
    assert numbers["summary"]["log_loss"]["difference"] == found.difference("log_loss")
    back = pd.read_parquet(path.parent / "summary.parquet")
    pd.testing.assert_frame_equal(
        back,
        pd.read_csv(path.parent / "summary.csv", keep_default_na=False, na_values=[""]).fillna(
            {"better": ""}
        ),
        check_dtype=False,
    )
    first = path.read_bytes()
    assert write_comparison(found, tmp_path / "c").read_bytes() == first
    # One kind of report does not replace the other.
    write_report(evaluate(a, objects, RECIPE, n_resamples=5), tmp_path / "r")
    with pytest.raises(InputError, match="of the same kind"):
        check_comparison(tmp_path / "r")


def test_the_command_prints_tables_and_ends_with_one_sentence(rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a, _, _, _ = tables(rng, 40)
    leaves = ("Ia", "II", "Ibc", "IIn", "SLSN")
    frame = pd.DataFrame(
        {"object_id": a["object_id"]} | {f"p_{leaf}": 0.6 if leaf == "Ia" else 0.1 for leaf in leaves}
    )
    other = frame.assign(
        p_Ia=0.5, p_II=0.2, object_id=frame["object_id"].where(frame.index > 4, "x" + frame["object_id"])
    )
    label = np.where(frame.index % 2, "SN Ia", "SN II")
    for name, table in (("a", frame), ("b", other), ("O", frame[["object_id"]].assign(label=label))):
        write_table(table, tmp_path / f"{name}.csv")
    arguments = ["compare", "a.csv", "b.csv", "--objects", "O.csv", "--recipe", "ztf-supernovae"]
    result = CliRunner().invoke(app, [*arguments, "--out", "C"])
    assert result.exit_code == 0, result.output
    assert "35 objects in both, 35 of one labelled class" in result.stdout
    assert "5 objects are in a.csv only and were left out." in result.stdout
    line = next(line for line in result.stdout.splitlines() if line.split()[:1] == ["log_loss"])
    # Objects 5 to 39: the 18 odd ones are of class Ia.
    expected = [-(18 * np.log(x) + 17 * np.log(y)) / 35 for x, y in ((0.6, 0.1), (0.5, 0.2))]
    values = [float(x) for x in line.split()[2:5]]
    assert values == pytest.approx([*expected, expected[1] - expected[0]], abs=6e-4)
    assert (tmp_path / "C" / "comparison.html").exists()
    for arguments_, words in (
        (["compare", "a.csv", "none.csv", *arguments[3:]], "none.csv must be an existing file"),
        (["compare", "a.csv", "O.csv", *arguments[3:]], "O.csv: The columns of the posteriors"),
    ):
        result = CliRunner().invoke(app, arguments_)
        assert result.exit_code == 2
        assert words in result.output
        assert "Traceback" not in result.output
