"""What a mistake gets: exit status 2, one sentence on stderr, no traceback and no output file."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from bayesclass.cli import app


@pytest.fixture
def folder(tiny_classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_classifier.light_curves.to_parquet("L.parquet")
    tiny_classifier.objects.to_csv("O.csv", index=False)
    (tmp_path / "tiny.toml").write_text(tiny_classifier.recipe_text)
    tiny_classifier.classifier.save("model")
    return tmp_path


def refused(folder, arguments, *words):
    before = sorted(folder.iterdir())
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    said = result.stderr.strip()
    assert said.startswith("bayesclass: ")
    assert "\n" not in said
    assert "Traceback" not in result.output
    for word in words:
        assert word in said
    assert sorted(folder.iterdir()) == before
    return said


def fit(light_curves="L.parquet", objects="O.csv", recipe="tiny.toml"):
    return "fit", recipe, "--light-curves", light_curves, "--objects", objects, "--out", "new-model"


def classify(light_curves="L.parquet", objects="O.csv", model="model"):
    return "classify", model, "--light-curves", light_curves, "--objects", objects, "--out", "new.parquet"


LIGHT_CURVES = {
    "julian dates": (lambda t: t.assign(mjd=t["mjd"] + 2400000.5), "subtract 2400000.5"),
    "fluxes as magnitudes": (lambda t: t.assign(mag=1e3 * t["mag"]), "looks like flux"),
    "fluxes": (lambda t: t.rename(columns={"mag": "flux", "mag_err": "flux_err"}), "must hold mag"),
    "no time": (lambda t: t.drop(columns="mjd"), "mjd is missing"),
    "no errors": (lambda t: t.drop(columns="mag_err"), "mag_err is missing"),
    "no rows": (lambda t: t.iloc[:0], "at least one row"),
    "text": (lambda t: t.assign(mag="bright"), "mag"),
}


@pytest.mark.parametrize("command", [fit, classify])
@pytest.mark.parametrize("name", LIGHT_CURVES)
def test_light_curves_that_cannot_be_used(tiny_classifier, folder, command, name):
    spoil, words = LIGHT_CURVES[name]
    spoil(tiny_classifier.light_curves).to_parquet("bad.parquet")
    refused(folder, command(light_curves="bad.parquet"), "bad.parquet", words)


@pytest.mark.parametrize("command", [fit, classify])
def test_damaged_and_empty_files(folder, command):
    whole = (folder / "L.parquet").read_bytes()
    contents = {"cut.parquet": whole[:-200], "empty.csv": b"", "noise.csv": bytes(range(256))}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        refused(folder, command(light_curves=name), name)
        if name.endswith("csv"):
            refused(folder, command(objects=name), name)
    (folder / "header.csv").write_text("object_id,label\n")
    refused(folder, command(objects="header.csv"), "no row")
    refused(folder, command(light_curves="nowhere.parquet"), "nowhere.parquet", "check the path")


def test_labels_that_do_not_serve(tiny_classifier, folder):
    objects = tiny_classifier.objects
    cases = {
        "unknown": (objects.assign(label="quasar", note=""), "'quasar' (61)"),
        "none": (objects.drop(columns="label"), "label"),
        "few": (objects.iloc[:4], "at least 2 labelled objects"),
        "repeated": (pd.concat([objects, objects]), "one row an object"),
    }
    for name, (table, words) in cases.items():
        table.to_csv(f"{name}.csv", index=False)
        refused(folder, fit(objects=f"{name}.csv"), words)
    elsewhere = tiny_classifier.light_curves.assign(band="u")
    elsewhere.to_parquet("other-band.parquet")
    refused(folder, fit(light_curves="other-band.parquet"), "with a usable point", "channels")
    refused(folder, fit(recipe="none-such"), "none-such", "ztf-supernovae")


def test_damaged_models(folder):
    document = json.loads((folder / "model" / "model.json").read_text())
    refused(folder, classify(model="nowhere"), "nowhere")
    refused(folder, classify(model="."), "model")
    incomplete = dict(document, manifest={k: v for k, v in document["manifest"].items() if k != "pool"})
    newer = dict(document, format=99)
    cases = {
        "incomplete": (json.dumps(incomplete), "fit it again"),
        "newer": (json.dumps(newer), "99"),
        "cut": (json.dumps(document)[:-500], "model"),
    }
    for text, words in cases.values():
        (folder / "model" / "model.json").write_text(text)
        refused(folder, classify(), words)
    (folder / "model" / "model.json").write_text(json.dumps(document))
    arrays = folder / "model" / "arrays.npz"
    arrays.write_bytes(arrays.read_bytes()[:-100])
    refused(folder, classify(), "arrays.npz")
    arrays.unlink()
    refused(folder, classify(), "arrays.npz")


def test_a_table_that_is_no_posterior(folder):
    arguments = "evaluate", "O.csv", "--objects", "O.csv", "--recipe", "tiny.toml", "--out", "report"
    refused(folder, arguments, "p_Periodic")
