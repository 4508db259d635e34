"""The command line with the real classifier: fit, classify, evaluate; and a real survey, quickly."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from bayesclass.classifier import Classifier
from bayesclass.cli import app
from bayesclass.metrics import log_loss
from bayesclass.recipe import FitSpec, Recipe
from structurefn.light_curves import LightCurves
from structurefn.thinning import thin_to


@pytest.fixture
def folder(tiny_classifier, tmp_path, monkeypatch):
    """A folder with the sample's files and its recipe, and the fitted model."""
    monkeypatch.chdir(tmp_path)
    tiny_classifier.light_curves.to_parquet("L.parquet")
    tiny_classifier.objects.to_csv("O.csv", index=False)
    (tmp_path / "tiny.toml").write_text(tiny_classifier.recipe_text)
    tiny_classifier.classifier.save("model")
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_fit_classify_evaluate(tiny_classifier, folder):
    said = run("fit", "tiny.toml", "--light-curves", "L.parquet", "--objects", "O.csv", "--out", "fitted")
    assert "model written to fitted" in said
    assert "nova" in said  # the label that is not in the tree is named
    out = "posteriors.parquet"
    run("classify", "fitted", "--light-curves", "L.parquet", "--objects", "O.csv", "--out", out)
    table = pd.read_parquet(out)
    assert table["object_id"].tolist() == [f"o{i}" for i in range(61)]
    leaves = ["Periodic", "Walk", "Fading"]
    columns = ["object_id", *(f"p_{leaf}" for leaf in leaves)]
    columns += [f"p_{leaf}_{end}" for leaf in leaves for end in ("lo", "hi")]
    columns += ["best_class", "prediction_set", "n_detections", "n_upper_limits"]
    columns += ["novelty", "p_unknown", "conflict", "warnings"]
    assert table.columns.tolist() == columns
    p = table[[f"p_{leaf}" for leaf in leaves]].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    # Equal data, recipe and seed: the model is the one that Python fitted, up to stored half precision.
    expected = tiny_classifier.classifier.predict_proba(tiny_classifier.light_curves, tiny_classifier.objects)
    np.testing.assert_allclose(p, expected, atol=5e-3)
    said = run("evaluate", out, "--objects", "O.csv", "--recipe", "tiny.toml", "--out", "report")
    assert "log-loss" in said.lower()
    assert list((folder / "report").iterdir())


def test_csv_in_and_out_and_inner_nodes(tiny_classifier, folder):
    tiny_classifier.light_curves.to_csv("L.csv.gz", index=False)
    run("classify", "model", "--light-curves", "L.csv.gz", "--out", "p.csv", "--nodes")
    table = pd.read_csv("p.csv")
    assert len(table) == 60
    np.testing.assert_allclose(table["p_variable"], table["p_Periodic"] + table["p_Walk"], atol=1e-9)
    # Text keeps a float64 to its last digit.
    loaded = Classifier.load("model").predict_proba(tiny_classifier.light_curves)
    np.testing.assert_allclose(table["p_Fading"], loaded[:, 2], atol=1e-5)


@pytest.mark.real_data
def test_a_fifth_of_crts_beats_class_frequencies(data_dir):
    """200 objects teach, 300 others are asked: far from the published figures, and far from nothing."""
    objects = pd.read_csv(data_dir / "crts" / "objects.csv", dtype={"object_id": str})
    recipe = Recipe.load("crts-transients")
    allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
    single = np.flatnonzero(allowed.sum(axis=1) == 1)
    chosen = np.random.default_rng(0).permutation(single)[:500]
    train, test = objects.iloc[chosen[:200]], objects.iloc[chosen[200:]]
    table = pd.read_parquet(data_dir / "crts" / "lightcurves.parquet")
    options = {"channels": recipe.light_curves.channels, "aliases": recipe.light_curves.aliases}

    def curves(part):
        batch = LightCurves.from_frame(table, object_ids=part["object_id"], **options)
        # At most 40 points: cadence is no evidence, and the test is quick.
        return thin_to(batch, 40, np.random.default_rng(1))

    quick = dataclasses.replace(recipe, fit=FitSpec(folds=2, versions=1, draws=4, max_points=40))
    classifier = Classifier(quick).fit(curves(train), train)
    posterior = classifier.classify(curves(test), test)
    truth = allowed[chosen[200:]].argmax(axis=1)
    share = allowed[chosen[:200]].mean(axis=0)
    frequencies = log_loss(np.broadcast_to(share, posterior.probability.shape), truth)
    assert frequencies > 1.6
    # 5-fold at 40 points with all objects gives some 0.6; a fifth of them, clearly below 1.2.
    assert log_loss(posterior.probability, truth) < frequencies - 0.5
    assert (posterior.probability.argmax(axis=1) == truth).mean() > 0.5
