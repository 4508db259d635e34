import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesclass import demo
from bayesclass.classifier import Classifier
from bayesclass.storage import load_model, resolve_model, save_model, shipped_models

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fit_models.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of the demonstration, and its folder."""
    out = tmp_path_factory.mktemp("demo") / "deeper" / "demo"
    assert demo.main(["--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def example():
    curves, objects = demo.example_files()
    return pd.read_parquet(curves), pd.read_csv(objects)


def test_the_files_are_there_and_hold_every_object(run, example):
    assert (run / "object.png").read_bytes().startswith(b"\x89PNG")
    frame = pd.read_parquet(run / "posteriors.parquet")
    _, objects = example
    assert sorted(frame["object_id"]) == sorted(objects["object_id"])
    classes = ["Ia", "II", "Ibc", "IIn", "SLSN"]
    p = frame[[f"p_{name}" for name in classes]].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    for k, name in enumerate(classes):
        assert (frame[f"p_{name}_lo"] <= p[:, k]).all()
        assert (p[:, k] <= frame[f"p_{name}_hi"]).all()
    alone = frame.set_index("object_id")["n_detections"]
    assert (alone == 0).any()
    assert (alone == 1).any()


def test_the_text_says_that_it_is_simulated_and_how_to_go_on(tmp_path, capsys):
    assert demo.main(["--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    lines = text.strip().splitlines()
    assert "simulated" in " ".join(lines[:2])
    assert all(len(line) <= demo.WIDTH for line in lines[:40])
    assert "bayesclass classify ztf-supernovae --light-curves" in lines[-1]
    assert "Log-odds of" in text
    assert text.count("SIM0") >= 36


def test_it_is_better_than_the_class_frequencies(run, example):
    """Simulated from densities of the same survey: far from certain, but far from blind."""
    frame = pd.read_parquet(run / "posteriors.parquet").set_index("object_id")
    truth = example[1].set_index("object_id")["simulated_class"]
    given = np.array([frame.loc[name, f"p_{leaf}"] for name, leaf in truth.items()])
    counts = Classifier.load(demo.MODEL).summary["class_counts"]
    blind = truth.map(counts) / sum(counts.values())
    assert -np.log(given).mean() < -np.log(blind).mean() - 0.1


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert demo.main(["--out", str(tmp_path / "file" / "demo")]) == 2
    assert "must be a folder that can be made" in capsys.readouterr().err


def test_the_example_says_that_it_is_simulated_and_is_small(example):
    curves, objects = example
    folder = demo.example_files()[0].parent
    assert "Simulated" in (folder / "README.md").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 100_000
    assert objects["object_id"].str.fullmatch(r"SIM\d+").all()
    assert set(objects["simulated_class"]) == {"Ia", "II", "Ibc", "IIn", "SLSN"}
    assert set(curves["object_id"]) < set(objects["object_id"])
    assert curves["upper_limit"].any()
    detected = curves[~curves["upper_limit"]]
    assert (detected["mag_err"] > 0).all()
    assert curves.loc[curves["upper_limit"], "mag_err"].isna().all()


@pytest.mark.parametrize("name", ["crts-transients", "des-supernovae", "eros-variables", "ztf-supernovae"])
def test_shipped_models_load_and_come_with_their_card(name):
    assert name in shipped_models()
    classifier = Classifier.load(name)
    assert classifier.recipe.name == name
    folder = resolve_model(name)
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for leaf, count in classifier.summary["class_counts"].items():
        assert f"| {leaf} | {count} |" in card
    # The card's weights come from other folds, the summary's do not.
    figure = float(card.split("| all | ")[1].split(" ")[0])
    assert figure == pytest.approx(classifier.summary["log_loss"], abs=0.01)
    assert "## Not for" in card
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8_000_000


@pytest.fixture(scope="module")
def fit_models():
    if not SCRIPT.is_file():
        pytest.skip("scripts/ is not beside these tests")
    spec = importlib.util.spec_from_file_location("fit_models", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_model_that_names_or_lists_training_objects_is_not_shipped(fit_models, tmp_path):
    shipped, ids = resolve_model("crts-transients"), ["1001061210214137885"] * 1047
    fit_models.check_no_training_object(shipped, ids, 123_456)
    manifest, arrays = load_model(shipped)
    save_model(tmp_path / "named", manifest | {"note": "see 1001061210214137885,"}, arrays)
    with pytest.raises(ValueError, match=r"but model\.json has 1001061210214137885"):
        fit_models.check_no_training_object(tmp_path / "named", ids, 123_456)
    save_model(tmp_path / "text", manifest, arrays | {"who": np.array(["1001061210214137885"])})
    with pytest.raises(ValueError, match="but who has 1001061210214137885"):
        fit_models.check_no_training_object(tmp_path / "text", ids, 123_456)
    n = manifest["summary"]["n_objects"]
    save_model(tmp_path / "listed", manifest, arrays | {"each": np.zeros((n, 2))})
    with pytest.raises(ValueError, match=f"each is \\({n}, 2\\)"):
        fit_models.check_no_training_object(tmp_path / "listed", ids, 123_456)


def test_a_folder_without_data_is_one_sentence(fit_models, tmp_path, capsys):
    assert fit_models.main([str(tmp_path), "--only", "ztf-supernovae"]) == 2
    assert "must hold lightcurves.parquet" in capsys.readouterr().err
