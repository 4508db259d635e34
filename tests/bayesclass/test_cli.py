"""The command line: what it writes, what it says, and what a mistake gets.

The classifier is replaced by a small one whose answers are known; readers, recipes and storage are real.
"""

import ast
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from bayesclass import storage
from bayesclass.cli import app
from bayesclass.recipe import Recipe, shipped_recipes

COMMANDS = ("fit", "classify", "evaluate", "compare", "explain", "annotate", "models", "recipes")
LEAVES = ("Ia", "II", "Ibc", "IIn", "SLSN")


class FakePosterior:
    """Uniform but for the first class, so that its table can be written down by hand."""

    def __init__(self, light_curves, nodes):
        self.light_curves, self.nodes = light_curves, nodes

    def to_frame(self, nodes=False, reasons=False):
        batch = self.light_curves
        n = batch.n_objects
        columns = {"object_id": batch.object_id}
        columns |= {f"p_{leaf}": np.full(n, 0.6 if leaf == "Ia" else 0.1) for leaf in LEAVES}
        columns |= {"best_class": ["Ia"] * n, "prediction_set": ["Ia|II"] * n}
        columns |= {"n_detections": batch.n_detections, "n_upper_limits": batch.n_upper_limits}
        columns["warnings"] = np.where(batch.n_detections > 0, "", "no usable point")
        if nodes:
            columns |= {f"p_{node}": np.full(n, 0.3) for node in self.nodes}
        return pd.DataFrame(columns)


class FakeClassifier:
    """As much of a classifier as the command line touches; `calls` records what it was given."""

    calls: list = []  # noqa: RUF012
    fails: BaseException | None = None

    def __init__(self, recipe):
        self.recipe = recipe
        self.summary = {}

    @classmethod
    def from_recipe(cls, name_or_path, seed=None):
        cls.calls.append(("from_recipe", seed))
        return cls(Recipe.load(name_or_path))

    def fit(self, light_curves, objects, progress=None):
        if self.fails:
            raise self.fails
        self.calls.append(("fit", light_curves, objects, progress))
        raw = self.recipe.raw_labels(objects)
        self.summary = {
            "n_objects": len(objects),
            "unmapped_labels": self.recipe.taxonomy.unmapped(raw),
            "log_loss": 0.41234,
        }
        return self

    def save(self, path):
        storage.save_model(path, {"recipe": self.recipe.name}, {"table": np.zeros(2)})

    @classmethod
    def load(cls, name_or_path):
        manifest, _ = storage.load_model(storage.resolve_model(name_or_path))
        return cls(Recipe.load(manifest["recipe"]))

    def classify(self, light_curves, objects=None, progress=None):
        if self.fails:
            raise self.fails
        self.calls.append(("classify", light_curves, objects, progress))
        return FakePosterior(light_curves, self.recipe.taxonomy.nodes)


def module(name: str, **members) -> types.ModuleType:
    made = types.ModuleType(name)
    vars(made).update(members)
    return made


@pytest.fixture
def fake(monkeypatch):
    """Put the fake classifier where the command line looks for the real one."""
    import bayesclass

    def put(name, **members):
        made = module(f"bayesclass.{name}", **members)
        monkeypatch.setitem(sys.modules, f"bayesclass.{name}", made)
        monkeypatch.setattr(bayesclass, name, made, raising=False)

    monkeypatch.setattr(FakeClassifier, "calls", [])
    monkeypatch.setattr(FakeClassifier, "fails", None)
    put("classifier", Classifier=FakeClassifier)
    return put


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with light curves of three objects, a table of three others and two of them, and a model."""
    monkeypatch.chdir(tmp_path)
    points = pd.DataFrame(
        {
            "object_id": ["a", "a", "a", "b", "b", "c"],
            "survey": "ZTF",
            "band": ["g", "r", "g", "g", "z", "z"],
            "mjd": [58000.0, 58001.0, 58002.0, 58000.5, 58001.5, 58003.0],
            "mag": [19.0, 19.1, 18.5, 20.0, 20.1, 17.0],
            "mag_err": [0.1, 0.1, -1.0, 0.1, 0.1, 0.1],
        }
    )
    points.to_parquet("L.parquet")
    objects = pd.DataFrame(
        {
            "object_id": ["d", "a", "b"],
            "label": ["SN Ia", "SN II", "comet"],
            "galactic_b": [10.0, -20.0, 95.0],
            "A_V": [0.1, 0.2, 0.3],
        }
    )
    objects.to_csv("O.csv", index=False)
    storage.save_model("model", {"recipe": "ztf-supernovae"}, {"table": np.zeros(2)})
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def refused(result, *words):
    """Assert a mistake's answer: status 2, one sentence on stderr, nothing on stdout."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("bayesclass: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def listing(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def test_help_answers_at_once_without_heavy_imports():
    code = (
        "import sys\n"
        "from bayesclass.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert "classify" in done.stdout
    assert "Examples" in done.stdout
    loaded = set(ast.literal_eval(done.stderr.splitlines()[-1]))
    heavy = {"jax", "numpy", "scipy", "pandas", "pyarrow", "astropy", "matplotlib", "pgmpy", "pymc", "arviz"}
    assert not loaded & heavy


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"bayesclass {command}" in result.output


def test_version_is_the_package_s():
    from importlib import metadata

    assert run("--version").output == f"bayesclass {metadata.version('bayesclass')}\n"


def test_recipes_and_models_list_what_is_shipped(monkeypatch):
    lines = run("recipes").output.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_recipes())
    assert "Ia, II, Ibc, IIn, SLSN" in run("recipes").output
    monkeypatch.setattr(storage, "shipped_models", lambda: ("one", "two"))
    assert run("models").output == "one\ntwo\n"
    monkeypatch.setattr(storage, "shipped_models", lambda: ())
    assert "bayesclass fit" in run("models").output


def test_fit_saves_a_model_and_says_what_went_in(fake, folder):
    result = run("fit", "ztf-supernovae", "--light-curves", "L.parquet", "--objects", "O.csv", "--out", "m")
    assert result.exit_code == 0, result.output
    assert storage.load_model("m")[0] == {"recipe": "ztf-supernovae"}
    # Set aside: two points in z, which is no channel of the recipe, and one with a negative error.
    assert "points used: 3" in result.stdout
    assert "rows set aside: 2 (channel ZTF/z not in the model)" in result.stdout
    assert "rows set aside: 1 (error missing, not finite or not positive)" in result.stdout
    assert "unmapped labels: comet 1" in result.stdout
    assert "log loss: 0.4123" in result.stdout
    assert "objects: 3, 1 without a usable point" in result.stdout
    assert "evidence without its column:" in result.stdout
    assert "model written to m" in result.stdout
    assert result.stderr == ""
    assert FakeClassifier.calls[0] == ("from_recipe", None)
    # No bars, because stderr is no terminal here.
    assert FakeClassifier.calls[1][3] is None


def test_seed_reaches_the_classifier(fake, folder):
    arguments = ("--light-curves", "L.parquet", "--objects", "O.csv", "--out", "m", "--seed", 7)
    assert run("fit", "ztf-supernovae", *arguments).exit_code == 0
    assert FakeClassifier.calls[0] == ("from_recipe", 7)


@pytest.mark.parametrize("out", ["p.parquet", "p.csv"])
def test_classify_gives_every_object_of_both_tables_once(fake, folder, out):
    result = run("classify", "model", "--light-curves", "L.parquet", "--objects", "O.csv", "--out", out)
    assert result.exit_code == 0, result.output
    frame = pd.read_parquet(out) if out.endswith("parquet") else pd.read_csv(out)
    # The file of light curves first, then the object that only the other table has.
    assert frame["object_id"].tolist() == ["a", "b", "c", "d"]
    assert frame["n_detections"].tolist() == [2, 1, 0, 0]
    np.testing.assert_allclose(frame[[f"p_{leaf}" for leaf in LEAVES]].sum(axis=1), 1.0, atol=1e-6)
    assert result.stdout.splitlines()[0].split() == [
        "object_id", *LEAVES, "best_class", "prediction_set", "n_detections"
    ]  # fmt: skip
    assert result.stdout.splitlines()[1].split() == [
        "a", "0.600", "0.100", "0.100", "0.100", "0.100", "Ia", "Ia|II", "2"
    ]  # fmt: skip
    assert "objects: 4, 2 without a usable point" in result.stdout
    assert "objects with a warning: 2" in result.stdout
    assert "objects without a row in the objects' table: 1" in result.stdout
    assert f"posteriors written to {out}" in result.stdout


def test_classify_without_objects_says_what_is_missing(fake, folder):
    result = run("classify", "model", "--light-curves", "L.parquet", "--out", "p.parquet")
    assert result.exit_code == 0, result.output
    assert pd.read_parquet("p.parquet")["object_id"].tolist() == ["a", "b", "c"]
    assert "no objects' table, so without the evidence" in result.stdout
    assert FakeClassifier.calls[-1][2] is None


def test_nodes_are_written_when_asked_for(fake, folder):
    run("classify", "model", "--light-curves", "L.parquet", "--out", "p.parquet", "--nodes")
    nodes = Recipe.load("ztf-supernovae").taxonomy.nodes
    assert nodes
    assert {f"p_{node}" for node in nodes} <= set(pd.read_parquet("p.parquet").columns)


def test_evaluate_writes_a_report_on_what_classify_wrote(fake, folder):
    given = ("--light-curves", "L.parquet", "--objects", "O.csv", "--out", "p.parquet")
    assert run("classify", "model", *given).exit_code == 0
    arguments = ("evaluate", "p.parquet", "--objects", "O.csv", "--recipe", "ztf-supernovae", "--out", "R")
    for _ in range(2):  # The second report replaces the first.
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        assert "report.html" in listing(folder / "R")
    # One of class Ia at 0.6 and one of class II at 0.1; the third label is not in the tree.
    log_loss = -(np.log(0.6) + np.log(0.1)) / 2
    line = next(line for line in result.stdout.splitlines() if line.startswith("log_loss "))
    assert f"{log_loss:.3f}" in line
    assert "report written to" in result.stdout
    assert not any(name.endswith((".part", ".old")) for name in listing(folder))


def test_explain_chooses_one_object(fake, folder):
    seen = {}

    def explain_object(classifier, light_curves, objects, object_id):
        seen.update(batch=light_curves, objects=objects, name=object_id)
        return types.SimpleNamespace(
            write=lambda path: Path(path).write_text("page"), text=lambda: "what was said"
        )

    fake("explain", explain_object=explain_object)
    arguments = ("--light-curves", "L.parquet", "--objects", "O.csv", "--out", "a.html")
    result = run("explain", "model", "a", *arguments)
    assert result.exit_code == 0, result.output
    assert (folder / "a.html").read_text() == "page"
    assert result.stdout.startswith("what was said\n")
    assert seen["name"] == "a"
    assert seen["batch"].object_id.tolist() == ["a"]
    assert seen["batch"].n_points == 2
    assert seen["objects"]["object_id"].tolist() == ["a"]
    before = listing(folder)
    alone = run("explain", "model", "a", *arguments[:-2])
    assert alone.exit_code == 0
    assert alone.stdout.startswith("what was said\n")
    refused(run("explain", "model", "aa", *arguments[:-1], "aa.html"), "'aa'", "there is a")
    refused(run("explain", "model", "a", *arguments[:-1], "a.pdf"), ".html or .png")
    assert listing(folder) == before


def write(name: str, text: str) -> None:
    Path(name).write_text(text)


HEAD = "object_id,survey,band,mjd,mag,mag_err\n"
BAD_LIGHT_CURVES = {
    "jd.csv": (HEAD + "a,ZTF,g,2458000.5,19.0,0.1\n", "subtract 2400000.5"),
    "fluxes.csv": (HEAD + "a,ZTF,g,58000.5,1900.0,10\nb,ZTF,g,58001.5,-300.0,10\n", "looks like flux"),
    "no_band.csv": ("object_id,survey,mjd,mag,mag_err\na,ZTF,58000.5,19.0,0.1\n", "band is missing"),
    "flux_column.csv": (HEAD.replace("mag", "flux") + "a,ZTF,g,58000.5,100.0,5\n", "must hold mag"),
    "empty.csv": ("", "0 bytes"),
    "header.csv": (HEAD, "at least one row"),
}


@pytest.mark.parametrize("name", BAD_LIGHT_CURVES)
@pytest.mark.parametrize("command", ["fit", "classify", "explain"])
def test_unusable_light_curves_get_one_sentence(fake, folder, name, command):
    text, words = BAD_LIGHT_CURVES[name]
    write(name, text)
    fake("explain", explain_object=None)
    before = listing(folder)
    given = {
        "fit": ("fit", "ztf-supernovae", "--out", "m"),
        "classify": ("classify", "model", "--out", "p.parquet"),
        "explain": ("explain", "model", "a", "--out", "a.png"),
    }[command]
    refused(run(*given, "--light-curves", name, "--objects", "O.csv"), name, words)
    assert listing(folder) == before


def test_truncated_and_missing_files_get_one_sentence(fake, folder):
    whole = (folder / "L.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    before = listing(folder)
    for name, words in (("cut.parquet", "damaged, cut off"), ("none.parquet", "there is none")):
        refused(run("classify", "model", "--light-curves", name, "--out", "p.csv"), name, words)
        refused(
            run("classify", "model", "--light-curves", "L.parquet", "--objects", name, "--out", "p.csv"),
            name,
            words,
        )
    assert listing(folder) == before


def test_unusable_objects_get_one_sentence(fake, folder):
    write("no_id.csv", "name,label\na,SN Ia\n")
    write("no_label.csv", "object_id,ra\na,1.0\n")
    write("twice.csv", "object_id,label\na,SN Ia\na,SN II\n")
    before = listing(folder)
    for name, words in (
        ("no_id.csv", "object_id"),
        ("no_label.csv", "label"),
        ("twice.csv", "appears 2 times"),
    ):
        given = ("--light-curves", "L.parquet", "--objects", name, "--out", "m")
        refused(run("fit", "ztf-supernovae", *given), words)
    assert listing(folder) == before


def test_unknown_recipes_and_models_get_one_sentence(fake, folder):
    tables = ("--light-curves", "L.parquet", "--objects", "O.csv")
    refused(run("fit", "ztf-supernova", *tables, "--out", "m"), "'ztf-supernova'", "ztf-supernovae")
    write("mine.toml", "schema = 1\nname = ")
    refused(run("fit", "mine.toml", *tables, "--out", "m"), "mine.toml", "TOML")
    refused(run("classify", "modell", *tables, "--out", "p.csv"), "'modell'")
    refused(run("explain", "modell", "a", *tables, "--out", "p.png"), "'modell'")
    write("p.csv", "object_id,p_Ia\na,1\n")
    refused(run("evaluate", "p.csv", "--objects", "O.csv", "--recipe", "x", "--out", "R"), "'x'")
    assert not (folder / "R").exists()


def test_outputs_are_refused_before_the_work(fake, folder):
    tables = ("--light-curves", "L.parquet", "--objects", "O.csv")
    write("file", "")
    (folder / "full").mkdir()
    write("full/notes.txt", "mine")
    for out, words in (("p.txt", ".parquet"), ("no/p.csv", "create it first"), ("model", "must end in")):
        refused(run("classify", "model", *tables, "--out", out), words)
    for out, words in (("file", "a file is there"), ("no/m", "create it first"), ("full", "other files")):
        refused(run("fit", "ztf-supernovae", *tables, "--out", out), words)
    for out, words in (("p.txt", ".html or .png"), ("no/p.png", "create it first")):
        refused(run("explain", "model", "a", *tables, "--out", out), words)
    for out, words in (("file", "it is a file"), ("no/R", "create it first")):
        given = ("evaluate", "file", "--objects", "O.csv", "--recipe", "ztf-supernovae", "--out", out)
        refused(run(*given), words)
    assert FakeClassifier.calls == []
    assert listing(folder / "full") == {"notes.txt"}


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere"
)
def test_folders_without_permission_are_refused(fake, folder):
    (folder / "locked").mkdir(mode=0o500)
    given = ("classify", "model", "--light-curves", "L.parquet", "--out", "locked/p.csv")
    refused(run(*given), "that you may write to")


def test_a_failing_disk_gets_one_sentence_and_leaves_nothing(fake, folder):
    def fill_the_disk(path):
        Path(path).write_text("half a pa")
        raise OSError(28, "No space left on device")

    fake("explain", explain_object=lambda *given: types.SimpleNamespace(write=fill_the_disk))
    write("a.png", "an older picture")
    before = listing(folder)
    given = ("explain", "model", "a", "--light-curves", "L.parquet", "--out", "a.png")
    refused(run(*given), "No space left on device", "a.png")
    assert listing(folder) == before
    assert (folder / "a.png").read_text() == "an older picture"


def test_errors_of_the_packages_are_sentences_and_others_are_not(fake, folder, monkeypatch):
    from context import EvidenceError
    from structurefn.light_curves import LightCurveError

    given = ("classify", "model", "--light-curves", "L.parquet", "--out", "p.csv")
    for error in (EvidenceError("Rule, but\nfound: do."), LightCurveError("Rule, but\nfound: do.")):
        monkeypatch.setattr(FakeClassifier, "fails", error)
        result = run(*given)
        refused(result)
        assert result.stderr == "bayesclass: Rule, but found: do.\n"
    # A fault of the program keeps its traceback, so that it can be reported.
    monkeypatch.setattr(FakeClassifier, "fails", ValueError("operands could not be broadcast"))
    with pytest.raises(ValueError, match="broadcast"):
        run(*given)
    assert not (folder / "p.csv").exists()


def test_interruption_ends_with_130(fake, folder, monkeypatch):
    monkeypatch.setattr(FakeClassifier, "fails", KeyboardInterrupt())
    result = run("fit", "ztf-supernovae", "--light-curves", "L.parquet", "--objects", "O.csv", "--out", "m")
    assert result.exit_code == 130
    assert result.stderr == "bayesclass: interrupted.\n"
    assert not (folder / "m").exists()


@pytest.mark.parametrize(
    "arguments",
    [("fit",), ("classify", "model"), ("fit", "r", "--sed", "1"), ("nonsense",), ("fit", "r", "--seed", "x")],
)
def test_wrong_usage_ends_with_2(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.stderr
    assert "Traceback" not in result.output


def test_bars_appear_on_a_terminal_only(monkeypatch):
    from bayesclass.progress import progress_bars

    class Terminal:
        """A stream that says it is a terminal and keeps what is written."""

        encoding = "utf-8"

        def __init__(self):
            self.text = ""

        def isatty(self):
            return True

        def write(self, text):
            self.text += text
            return len(text)

        def flush(self):
            pass

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars() as progress:
        progress("folds", 0, 5)
        progress("folds", 5, 5)
        progress("reading", 3, 0)
    assert "folds" in terminal.text
    assert "5/5" in terminal.text
    assert "3/?" in terminal.text
