from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from evaluation_samples import LEAVES, RECIPE, quick, tables, with_reasons
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn import metrics as sklearn_metrics
from typer.testing import CliRunner

from bayesclass import metrics
from bayesclass.cli import app
from bayesclass.evaluation import evaluate
from bayesclass.posterior import PosteriorError
from bayesclass.reason_columns import read_reasons, reason_columns
from bayesclass.recipe import Recipe
from bayesclass.report import to_html
from bayesclass.tables import InputError, read_objects, write_table

# Columns of reasons

NAMES = st.lists(st.text("ab_ ", min_size=1, max_size=4), min_size=1, max_size=4, unique=True)


@given(NAMES, NAMES)
def test_reasons_come_back_from_their_columns(leaves, pieces):
    rng = np.random.default_rng(0)
    reasons = {piece: rng.normal(size=(3, len(leaves))) for piece in pieces}
    columns = reason_columns(reasons, leaves)
    frame = pd.DataFrame(dict(columns))
    if frame.shape[1] < len(columns):
        return  # two columns of one name, which a posterior refuses to write
    found = read_reasons(frame, leaves)
    assert set(found) >= set(pieces)
    for piece in pieces:
        np.testing.assert_allclose(found[piece], reasons[piece], rtol=1e-6)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_reasons_survive_a_file_and_default_columns_stay(tiny_classifier, tmp_path, suffix):
    classifier = tiny_classifier.classifier
    posterior = classifier.classify(tiny_classifier.light_curves, tiny_classifier.objects)
    frame = posterior.to_frame(reasons=True)
    plain = posterior.to_frame()
    assert frame.columns[: plain.shape[1]].tolist() == plain.columns.tolist()
    assert not any(name.startswith("reason_") for name in plain.columns)
    added = frame.columns[plain.shape[1] :]
    assert len(added) == len(posterior.reasons) * len(posterior.classes)
    assert set(frame[added].dtypes) == {np.dtype("float32")}
    path = tmp_path / f"p.{suffix}"
    write_table(frame, path)
    found = read_reasons(read_objects(path), posterior.classes)
    assert list(found) == list(posterior.reasons)
    total = softmax(sum(found.values()), axis=1)
    np.testing.assert_allclose(total, posterior.probability, atol=1e-4)
    with pytest.raises(PosteriorError, match="no reasons"):
        replace(posterior, reasons={}).to_frame(reasons=True)


def test_the_command_writes_reasons_when_asked_and_judges_with_them(tiny_classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_classifier.classifier.save("model")
    (tmp_path / "tiny.toml").write_text(tiny_classifier.recipe_text)
    write_table(tiny_classifier.light_curves, "L.parquet")
    write_table(tiny_classifier.objects, "O.csv")
    files = ["--light-curves", "L.parquet", "--objects", "O.csv"]
    for out, option in (("plain.parquet", []), ("p.parquet", ["--reasons"])):
        result = CliRunner().invoke(app, ["classify", "model", *files, "--out", out, *option])
        assert result.exit_code == 0, result.output
    plain, frame = pd.read_parquet("plain.parquet"), pd.read_parquet("p.parquet")
    pd.testing.assert_frame_equal(frame[plain.columns], plain)
    assert "reason_Walk_latitude" in frame
    result = CliRunner().invoke(app, ["evaluate", "p.parquet", *files, "--recipe", "tiny.toml", "--out", "R"])
    assert result.exit_code == 0, result.output
    evidence = pd.read_parquet(tmp_path / "R" / "evidence.parquet")
    assert "latitude" in evidence["removed"].tolist()
    assert pd.read_csv(tmp_path / "R" / "per_days.csv")["n_objects"].sum() > 0


def test_impossible_classes_survive_a_file(tmp_path):
    frame = pd.DataFrame(dict(reason_columns({"prior": np.array([[0.0, -np.inf]])}, ("a", "b"))))
    write_table(frame.assign(object_id=["x"]), tmp_path / "p.csv")
    assert read_reasons(read_objects(tmp_path / "p.csv"), ("a", "b"))["prior"].tolist() == [[0.0, -np.inf]]


def test_a_posterior_is_judged_as_its_table(tiny_classifier):
    classifier, objects = tiny_classifier.classifier, tiny_classifier.objects
    posterior = classifier.classify(tiny_classifier.light_curves, objects)
    recipe = classifier.recipe
    options = {"light_curves": tiny_classifier.light_curves, "n_resamples": 20}
    whole = evaluate(posterior, objects, recipe, **options)
    table = evaluate(posterior.to_frame(reasons=True), objects, recipe, **options)
    pd.testing.assert_frame_equal(whole.summary, table.summary)
    pd.testing.assert_frame_equal(whole.evidence, table.evidence)
    assert {"structure function", "latitude", "all of the light curve"} <= set(whole.evidence["removed"])
    assert whole.notes == table.notes
    assert whole.per_days["n_objects"].sum() > 0


# Evidence removed


def test_scores_without_a_piece_are_those_of_the_other_pieces(rng):
    posteriors, objects, p, y = tables(rng)
    posteriors, parts = with_reasons(posteriors, rng)
    found = quick(posteriors, objects)
    table = found.evidence.set_index("removed")
    # This recipe has no evidence of context, so that both pieces count as the light curve's.
    assert set(table.index) == {*parts, "all of the light curve"}
    whole = sklearn_metrics.log_loss(y, p, labels=range(3))
    for gone in parts:
        rest = softmax(sum(parts[piece] for piece in parts if piece != gone), axis=1)
        row = table.loc[gone]
        loss = sklearn_metrics.log_loss(y, rest, labels=range(3))
        assert row["log_loss"] == pytest.approx(loss, abs=1e-5)
        assert row["change"] == pytest.approx(loss - whole, abs=1e-5)
        assert row["lower"] < row["change"] < row["upper"]
        assert row["accuracy"] == pytest.approx((rest.argmax(axis=1) == y).mean())
        assert row["ece"] == pytest.approx(metrics.classwise_ece(rest, y), abs=1e-4)
        assert row["n_objects"] == 300


def test_a_piece_that_says_nothing_costs_nothing(rng):
    posteriors, objects, _, _ = tables(rng)
    posteriors, _ = with_reasons(posteriors, rng)
    zero = {f"reason_{leaf}_dust": np.zeros(300, np.float32) for leaf in LEAVES}
    row = quick(posteriors.assign(**zero), objects).evidence.set_index("removed").loc["dust"]
    assert row["n_objects"] == 0
    assert abs(row["change"]) < 1e-5
    assert abs(row["lower"]) < 1e-5


def test_pieces_of_light_curve_and_context_are_also_removed_together(rng):
    posteriors, objects, _, y = tables(rng)
    evidence = [
        {"name": name, "column": name, "kind": "continuous", "unit": "mag", "range": [0.0, 1.0]}
        for name in ("host", "colour")
    ]
    recipe = Recipe.from_dict(RECIPE.to_dict() | {"evidence": evidence})
    posteriors, parts = with_reasons(posteriors, rng, ("prior", "pairs", "colour", "chain", "host"))
    table = evaluate(posteriors, objects, recipe, n_resamples=20).evidence.set_index("removed")
    assert set(table.index[-2:]) == {"all of the light curve", "all of the context"}
    rest = softmax(parts["prior"] + parts["colour"] + parts["host"], axis=1)
    expected = sklearn_metrics.log_loss(y, rest, labels=range(3))
    assert table.loc["all of the light curve", "log_loss"] == pytest.approx(expected, abs=1e-5)


def test_mistakes_say_which_pieces_spoke_for_the_wrong_class(rng):
    posteriors, objects, p, y = tables(rng)
    posteriors, parts = with_reasons(posteriors, rng)
    found = quick(posteriors, objects).mistakes
    for row in found.head(5).itertuples():
        i = int(row.object_id[1:])
        best, right = p[i].argmax(), y[i]
        odds = {piece: x[i, best] - x[i, right] for piece, x in parts.items()}
        assert row.reasons.startswith(f"for {LEAVES[best]} against {LEAVES[right]}: ")
        top = max(odds, key=odds.get)
        assert f"{LEAVES[right]}: {top} {odds[top]:+.2f}" in row.reasons
        assert row.reasons.endswith(f"all together {np.log(p[i, best] / p[i, right]):+.2f} nat")
        low = min(odds, key=odds.get)
        assert (f"the other way: {low} {odds[low]:+.2f}" in row.reasons) == (odds[low] < 0)
    assert "Reasons are log-odds" in to_html(quick(posteriors, objects))


def test_without_reasons_the_page_says_how_to_get_them(rng):
    posteriors, objects, _, _ = tables(rng, 60)
    found = quick(posteriors, objects)
    assert found.evidence.empty
    assert "reasons" not in found.mistakes
    page = to_html(found)
    assert page.count("lassify with --reasons") == 2
    assert page.count("--light-curves FILE") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(reason_Ia_prior=5.0), "must add up to the log-probabilities"),
        (lambda t: t.assign(reason_Ia_prior=np.nan), "must add up to the log-probabilities"),
        (lambda t: t.drop(columns="reason_II_prior"), "found 'reason_Ia_prior' without the others"),
        (lambda t: t.assign(reason_TDE_prior=0.0), "found 'reason_TDE_prior' without the others"),
        (lambda t: t.assign(reason_Ia_prior="x"), "reason_Ia_prior must be numeric"),
    ],
)
def test_reasons_that_cannot_be_used_are_refused(rng, change, message):
    posteriors, objects, _, _ = tables(rng, 50)
    posteriors, _ = with_reasons(posteriors, rng)
    with pytest.raises(InputError, match=message):
        quick(change(posteriors), objects)
