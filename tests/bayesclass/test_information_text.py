"""What would tell most, as people see it: text, page, picture and command line."""

import html
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from bayesclass import cli_prior
from bayesclass.classifier import Classifier
from bayesclass.cli import app
from bayesclass.explain import explain_object, explanation_figure, write_explanation
from bayesclass.explanation import CONFLICT
from bayesclass.information_table import COLUMNS, SEVERAL
from bayesclass.information_text import COMPLETE, HEADING, short_table, what_next_text
from bayesclass.priors import Prior
from structurefn.light_curves import LightCurves


def frame(*rows):
    every = dict.fromkeys(COLUMNS, "") | {"object_id": "x", "expected_shift": 0.0}
    return pd.DataFrame([every | row for row in rows], columns=list(COLUMNS))


def row(name, nats=0.5, changes=0.25, note="", **more):
    return {
        "evidence": name,
        "expected_change_nats": nats,
        "expected_information_nats": nats - 0.01,
        "p_best_changes": changes,
        "most_telling_state": "3.2 mag",
        "best_class_then": "II",
        "p_best_class_then": 0.8,
        "note": note,
    } | more


def test_the_short_table_says_what_it_leaves_out():
    six = frame(*(row(f"e{i}", 0.6 - 0.1 * i) for i in range(6)), row("odd", np.nan, np.nan, SEVERAL))
    table = short_table(six)
    assert [cells[0] for cells in table.rows] == ["e0", "e1", "e2", "e3", "e4"]
    assert table.rows[0] == ("e0", "0.600", "0.590", "25 %", "3.2 mag", "II 0.80")
    assert table.remarks == ["and 1 more that tell less", f"odd: {SEVERAL}"]
    assert short_table(frame()).remarks == [COMPLETE]
    assert what_next_text(frame()) == COMPLETE
    shares = [short_table(frame(row("e", changes=p))).rows[0][3] for p in (0.0, 0.001, 0.006, 1.0 + 1e-12)]
    assert shares == ["0 %", "< 1 %", "1 %", "100 %"]


def test_the_text_is_aligned_and_notes_follow():
    text = what_next_text(frame(row("a long name"), row("cat", 0.1, note="assumed: 0"), row("b", 0.05)))
    lines = text.splitlines()
    assert lines[0].startswith(HEADING)
    assert len({line.index("II 0.80") for line in lines[2:5]}) == 1
    assert lines[5] == "  cat: assumed: 0"
    alone = what_next_text(frame(row("odd", np.nan, np.nan, SEVERAL)))
    assert SEVERAL in alone
    assert COMPLETE not in alone


def curve_of(tiny, name):
    return LightCurves.from_frame(
        tiny.light_curves.query("object_id == @name"), channels=tiny.classifier.recipe.light_curves.channels
    )


def missing(tiny, name):
    return tiny.objects.query("object_id == @name").assign(latitude=np.nan, host="", in_survey=False)


def test_page_and_picture_name_it(tiny_classifier, tmp_path):
    classifier, curve, table = tiny_classifier.classifier, curve_of(tiny_classifier, "o2"), None
    table = missing(tiny_classifier, "o2")
    write_explanation(classifier, curve, table, "o2", tmp_path / "o.html")
    page = (tmp_path / "o.html").read_text(encoding="utf-8")
    found = classifier.value_of_information(curve, table)
    assert set(found["evidence"]) == {"latitude", "host"}
    assert f"<h2>{HEADING}</h2>" in page
    for cells in short_table(found).rows:
        assert "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) in page
    posterior = classifier.classify(curve, table)
    figure = explanation_figure(classifier, curve, posterior, what_next=found)
    first = found.iloc[0]
    named = f"measured: {first['evidence']} ({first['expected_change_nats']:.3f} nat)"
    assert named in figure.get_supxlabel()
    whole = table.assign(latitude=30.0, host="spiral", in_survey=True)
    write_explanation(classifier, curve, whole, "o2", tmp_path / "whole.html")
    assert f"<p>{COMPLETE}</p>" in (tmp_path / "whole.html").read_text(encoding="utf-8")


def test_conflict_is_flagged_everywhere(tiny_classifier):
    classifier, curve = tiny_classifier.classifier, curve_of(tiny_classifier, "o2")
    explained = explain_object(classifier, curve, missing(tiny_classifier, "o2"), "o2")
    for value, flagged in ((CONFLICT - 0.5, True), (CONFLICT + 0.1, False), (np.nan, False)):
        posterior = explained.posterior
        object.__setattr__(posterior, "conflict", np.array([value]))
        explanation = posterior.explain("o2")
        assert ("Conflict: light curve and context disagree" in explanation.text()) is flagged
        figure = explanation_figure(classifier, curve, posterior)
        assert ("CONFLICT" in figure.get_supxlabel()) is flagged
    object.__setattr__(posterior, "conflict", np.array([-np.log(4.0)]))
    assert posterior.explain("o2").conflict_text.endswith("4 times less likely together than by chance")


@pytest.fixture
def folder(tiny_classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_classifier.classifier.save("model")
    tiny_classifier.light_curves.to_parquet("L.parquet")
    objects = tiny_classifier.objects.drop(columns=["label", "note"])
    objects.loc[objects["object_id"] == "o2", ["latitude", "host", "in_survey"]] = [np.nan, "", False]
    objects.to_csv("O.csv", index=False)
    return tmp_path


def run(*more):
    given = ["explain", "model", "o2", "--light-curves", "L.parquet", "--objects", "O.csv", *more]
    return CliRunner().invoke(app, given, catch_exceptions=False)


def test_without_a_file_the_text_is_the_answer(folder, tiny_classifier):
    before = set(folder.iterdir())
    result = run()
    assert result.exit_code == 0, result.output
    assert set(folder.iterdir()) == before
    curve, table = curve_of(tiny_classifier, "o2"), missing(tiny_classifier, "o2")
    expected = Classifier.load("model").classify(curve, table).explain("o2").text()
    assert result.stdout.startswith(expected + "\n" + HEADING)
    assert "objects: 1\n" in result.stdout
    result = run("--out", "o2.html")
    assert result.stdout.startswith(expected)
    assert HEADING in (folder / "o2.html").read_text(encoding="utf-8")


def test_the_prior_of_reasons_is_that_of_classify(folder, tiny_classifier):
    classifier = Classifier.load("model")  # tables are stored in single precision
    curve, table = curve_of(tiny_classifier, "o2"), missing(tiny_classifier, "o2")
    uniform = Prior.uniform(classifier.recipe.taxonomy)
    result = run("--prior", "uniform", "--out", "o2.html")
    assert result.exit_code == 0, result.output
    posterior = classifier.classify(curve, table, prior=uniform)
    assert posterior.explain("o2").text() in result.stdout
    assert re.search(r"prior +\+0\.00 +\+0\.0", result.stdout)
    assert f"prior: {uniform}" in result.stdout
    page = (folder / "o2.html").read_text(encoding="utf-8")
    for leaf, p in zip(posterior.classes, posterior.probability[0], strict=True):
        assert f"<td>{leaf}</td><td>{p:.4f}</td>" in page
    found = classifier.value_of_information(curve, table, prior=uniform)
    assert what_next_text(found) in result.stdout
    # Estimated from all objects of the input, so that classify and explain agree.
    result = run("--prior", "estimate")
    assert result.exit_code == 0, result.output
    assert "Class fractions of 61 objects" in result.stdout
    objects = pd.read_csv("O.csv").fillna({"host": ""})
    every = classifier.classify(tiny_classifier.light_curves, objects)
    changed, _ = cli_prior.with_chosen_prior(every, None)
    assert f"{changed.probability[changed.position('o2')].max():.3f}" in result.stdout.splitlines()[0]
    for wrong in ("flat", "none.toml"):
        result = run("--prior", wrong)
        assert result.exit_code == 2
        assert result.stderr.startswith("bayesclass: ")
