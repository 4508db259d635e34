import copy
import json
import tomllib

import numpy as np
import pandas as pd
import pytest

from bayesclass.recipe import Recipe, RecipeError, shipped_recipes
from context import EvidenceTable

WITH_LIGHT_CURVES = ("crts-transients", "des-supernovae", "eros-variables", "ztf-supernovae")
SHIPPED = (*WITH_LIGHT_CURVES[:-1], "transient-context", WITH_LIGHT_CURVES[-1])
FOLDERS = dict(zip(WITH_LIGHT_CURVES, ("crts", "snpcc", "eros1", "ztf_bts"), strict=True))
# Columns that follow from the classifying spectrum, the whole light curve or the way a sample was made.
LEAKS = {
    "spec_redshift",
    "host_abs_mag_from_spec_z",
    "peak_mag",
    "duration_days",
    "rise_days",
    "fade_days",
    "discovered_in_2010",
    "split",
    "spectroscopic",
    "object_id",
}
MINIMAL = """
schema = 1
name = "mine"
[classes]
label = "type"
partial_label = "doubtful"
leaves = ["a", "b"]
[classes.labels]
"a?" = ["a", "b"]
"B" = "b"
[light_curves]
quantity = "flux"
photometry = "difference"
channels = ["S/g", "S/r"]
[light_curves.softening]
"S/g" = 2
[light_curves.aliases]
"s/zg" = "S/g"
[[streams]]
name = "gr"
kind = "pairs"
channels = ["S/g", "S/r"]
[[streams]]
name = "peak"
kind = "peak"
channels = ["S/g", "S/r"]
[[evidence]]
name = "z"
column = "photoz"
error = "photoz_err"
kind = "continuous"
range = [0, 3]
[[evidence]]
name = "m"
column = "mag"
kind = "continuous"
covered = { column = "searched", equals = true }
[network]
edges = [["z", "m"]]
no_class_edge = ["z"]
"""


def minimal():
    return copy.deepcopy(tomllib.loads(MINIMAL))


def refused(data, message):
    with pytest.raises(RecipeError, match=message) as caught:
        Recipe.from_dict(data, source="mine.toml")
    assert str(caught.value).startswith("mine.toml: ")


def test_minimal_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    recipe = Recipe.load(path)
    assert recipe == Recipe.load(str(path)) == Recipe.from_dict(minimal())
    assert recipe.edges == (("class", "m"), ("z", "m"))
    assert recipe.taxonomy.leaves == ("a", "b")
    assert recipe.light_curves.softening == {"S/g": 2.0}
    assert recipe.light_curves.night == 0
    assert recipe.fit.folds == 5
    assert (recipe.fit.min_points, recipe.fit.max_points) == (3, 120)
    assert recipe.evidence[0].valid_range == (0.0, 3.0)
    assert recipe.evidence[1].covered.equals is True


def test_raw_labels_fall_back_to_the_partial_ones():
    recipe = Recipe.from_dict(minimal())
    objects = pd.DataFrame({"type": ["a", None, " ", "B"], "doubtful": ["b", "a?", "zzz", None]})
    labels = recipe.raw_labels(objects)
    assert labels.tolist() == ["a", "a?", "zzz", "B"]
    assert recipe.taxonomy.allowed(labels).sum(axis=1).tolist() == [1, 2, 0, 1]
    assert recipe.raw_labels(objects[["type"]]).tolist() == ["a", "", "", "B"]
    with pytest.raises(RecipeError, match="column 'type', and the objects' table has doubtful"):
        recipe.raw_labels(objects[["doubtful"]])


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes(name):
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert recipe.title
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    used = set()
    for spec in recipe.evidence:
        used |= {spec.column, spec.error}
        used |= {rule.column for rule in (spec.covered, spec.none) if rule is not None}
    assert not used & LEAKS
    used_channels = {channel for stream in recipe.streams for channel in stream.channels}
    assert used_channels == (set(recipe.light_curves.channels) if name in WITH_LIGHT_CURVES else set())


def test_shipped_names():
    assert shipped_recipes() == SHIPPED
    with pytest.raises(
        RecipeError, match="no recipe 'ztf'; shipped are crts-transients, des-supernovae, eros"
    ):
        Recipe.load("ztf")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(RecipeError, match=r"nowhere.toml: the recipe can't be read \(No such file"):
        Recipe.load(tmp_path / "nowhere.toml")
    with pytest.raises(RecipeError, match="can't be read"):
        Recipe.load(tmp_path)
    path = tmp_path / "bad.toml"
    path.write_text('schema = 1\nname = "x\n')
    with pytest.raises(RecipeError, match=r"bad.toml: not valid TOML: .*line 2"):
        Recipe.load(path)
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(RecipeError, match=r"bad.toml: a recipe must be text in UTF-8"):
        Recipe.load(path)


def edit(path, value):
    """Set a key of the minimal recipe, given by its path."""

    def change(data):
        for key in path[:-1]:
            data = data[key]
        if value is None:
            del data[path[-1]]
        else:
            data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], None, "schema is missing; it must be 1"),
        (["schema"], 2, "schema must be 1, .*found 2"),
        (["schema"], True, "schema must be 1"),
        (["name"], None, "name is missing"),
        (["name"], "", "name must be text"),
        (["stream"], [], "stream is not a key at the top of a recipe.*did you mean streams?"),
        (["classes"], None, "classes is missing; it must be a table"),
        (["classes"], [], "classes must be a table, found"),
        (["classes", "leafs"], ["a"], r"classes.leafs is not a key in \[classes\], which has label.* leaves"),
        (["classes", "leaves"], "ab", "classes.leaves must be a list of texts"),
        (["classes", "leaves"], ["a"], "classes: A class tree needs two"),
        (["classes", "nodes"], {"n": ["a", "x"]}, "classes: Inner node 'n' .*found 'x'"),
        (["classes", "nodes"], {"n": "a"}, "classes.nodes.n must be a list"),
        (["classes", "labels", "q"], 3, "classes.labels.q must be a list"),
        (["classes", "labels", "q"], "c", "classes: Label 'q'"),
        (
            ["light_curves", "quantity"],
            "magg",
            "light_curves.quantity must be one of mag, flux .*did you mean mag",
        ),
        (["light_curves", "quantity"], "mag", "light_curves.softening belongs to quantity"),
        (["light_curves", "photometry"], None, "photometry is missing; it must be one of difference, total"),
        (["light_curves", "channels"], [], "channels must name at least one channel"),
        (["light_curves", "channels"], ["g"], "channels must be written \"SURVEY/band\", found 'g'"),
        (["light_curves", "channels"], ["S/g", "S/r", "S/g"], "'S/g' is there twice"),
        (["light_curves", "night"], -1, "night must be a finite number of 0 or more, found -1"),
        (["light_curves", "night"], float("nan"), "night must be a finite number"),
        (["light_curves", "systematic"], -0.1, "systematic must be a finite number of 0 or more"),
        (["light_curves", "night"], True, "night must be a finite number"),
        (["light_curves", "softening", "S/r"], 0, "softening.S/r must be a flux above zero"),
        (["light_curves", "softening", "S/z"], 1, "softening.S/z must be among S/g, S/r"),
        (["light_curves", "aliases", "x"], "S/z", "aliases.x must be among S/g, S/r, found 'S/z'"),
        (["light_curves", "aliases", "S/r"], "S/g", "aliases.S/r is itself a channel"),
        (["streams"], {}, r"streams must be an array of tables, written \[\[streams\]\]"),
        (["streams", 0, "kind"], "pair", r"streams\[gr\].kind must be one of pairs, .*did you mean pairs"),
        (["streams", 0, "kind"], None, r"streams\[gr\].kind is missing"),
        (["streams", 0, "chanels"], [], r"streams\[gr\].chanels is not a key .*did you mean channels"),
        (["streams", 0, "channels"], ["S/g"], r"streams\[gr\].channels must be two channels"),
        (
            ["streams", 0, "channels"],
            ["S/g", "S/z"],
            r"streams\[gr\].channels must be among S/g, S/r, found 'S/z'",
        ),
        (
            ["streams", 1, "channels"],
            ["S/g", "S/g"],
            r"streams\[peak\].channels must be one or more different",
        ),
        (["streams", 1, "channels"], [], r"streams\[peak\].channels must be one or more"),
        (["streams", 1, "name"], "gr", r"streams\[gr\].name must differ"),
        (["streams", 1, "nightly"], 1, r"streams\[peak\].nightly must be true or false, found 1"),
        (["streams", 1, "lag_range"], [9, 1], r"streams\[peak\].lag_range must be two positive numbers"),
        (["streams", 1, "lag_range"], [0, 9], r"lag_range must be two positive numbers in ascending order"),
        (["streams", 1, "lag_range"], "long", r"lag_range must be two positive numbers"),
        (["streams", 0, "kind"], "cross-paek", "did you mean cross-peak"),
        (["streams", 1, "weight"], 0, r"streams\[peak\].weight must be a number above zero, found 0"),
        (["streams", 1, "weight"], "high", "weight must be a number above zero"),
        (
            ["streams", 1],
            {"name": "p", "kind": "period", "channels": ["S/g"], "period_range": [9, 1]},
            r"streams\[p\].period_range must be two positive numbers",
        ),
        (["streams", 1, "kind"], "contrast", r"streams\[peak\].reference is missing"),
        (["streams", 0, "kind"], "limits", 'kind belongs to quantity "mag"'),
        (["evidence", 0, "name"], "class", "name must differ"),
        (["evidence", 0, "name"], "peak", "name must differ"),
        (["evidence", 0, "name"], None, r"evidence\[1\].name is missing"),
        (["evidence", 0, "kind"], "number", "kind must be one of categorical, count, continuous, angle"),
        (["evidence", 0, "range"], [0], "range must be two finite numbers"),
        (["evidence", 0, "range"], [3, 0], r"evidence\[z\]: Evidence 'z': range must be \[low, high\]"),
        (["evidence", 0, "column"], None, r"evidence\[z\]: .*needs a column"),
        (["evidence", 0, "valid_range"], [0, 1], "valid_range is not a key"),
        (["evidence", 0, "derive"], "b", "derive must be one of abs_galactic_latitude"),
        (["evidence", 1, "covered"], True, r"evidence\[m\].covered must be a table"),
        (["evidence", 1, "covered"], {"column": "x"}, r"evidence\[m\].covered.equals is missing"),
        (["evidence", 1, "covered", "equals"], [1], "equals must be true, false, a number or text"),
        (["network", "edges"], [["z"]], r"network.edges must be a list of \[parent, child\], found \['z'\]"),
        (["network", "edges"], [["z", "x"]], "network.edges must be among class, z, m, found 'x'"),
        (["network", "edges"], [["z", "class"]], 'network.edges may not lead to "class"'),
        (["network", "edges"], [["z", "m"], ["z", "m"]], "each edge once"),
        (["network", "edges"], [["z", "m"], ["m", "z"]], "network.edges must have no cycle, found"),
        (["network", "edges"], [["class", "z"]], "no_class_edge contradicts"),
        (["network", "edges"], [["class", "m"]], "no_class_edge leaves 'z' without any edge"),
        (["network", "no_class_edge"], ["q"], "no_class_edge must be among z, m"),
        (["fit"], {"folds": 1}, "fit.folds must be a whole number of 2 or more, found 1"),
        (["fit"], {"draws": 2.5}, "fit.draws must be a whole number"),
        (["fit"], {"seed": True}, "fit.seed must be a whole number"),
        (
            ["fit"],
            {"min_points": 9, "max_points": 8},
            r"fit.max_points must be at least min_points \(9\), found 8",
        ),
        (["fit"], {"fold": 1}, "fit.fold is not a key .*did you mean folds"),
    ],
)
def test_every_error_names_file_key_and_expectation(path, value, message):
    data = minimal()
    edit(path, value)(data)
    refused(data, message)


def test_nothing_to_classify_with():
    data = minimal()
    for key in ("streams", "evidence", "network"):
        del data[key]
    refused(data, "streams must have an entry, or evidence must")


@pytest.mark.real_data
@pytest.mark.parametrize("name", WITH_LIGHT_CURVES)
def test_shipped_recipes_read_real_objects(name, data_dir):
    recipe = Recipe.load(name)
    objects = pd.read_csv(data_dir / FOLDERS[name] / "objects.csv")
    allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
    number = allowed.sum(axis=1)
    # Every leaf has examples, and no more than what the tree leaves out on purpose is unlabelled.
    assert (allowed[number == 1].sum(axis=0) >= 10).all()
    assert (number == 0).mean() < 0.15
    table = EvidenceTable.from_frame(objects, recipe.evidence)
    assert table.absent_columns == {}
    assert len(table.set_aside) < 0.02 * max(1, table.n_objects * len(table.columns))
    for column in table.columns.values():
        assert column.measured.mean() > 0.35
        assert np.isfinite(column.value[column.measured]).all()


@pytest.mark.real_data
@pytest.mark.parametrize("name", WITH_LIGHT_CURVES)
def test_shipped_channels_are_those_of_the_data(name, data_dir):
    pairs = pd.read_parquet(data_dir / FOLDERS[name] / "lightcurves.parquet", columns=["survey", "band"])
    found = pairs.drop_duplicates()
    assert set(found["survey"] + "/" + found["band"]) == set(Recipe.load(name).light_curves.channels)


def contrast_recipe(**changed):
    data = tomllib.loads(MINIMAL)
    data["light_curves"] |= {"quantity": "mag"}
    del data["light_curves"]["softening"]
    stream = {"name": "contrast", "kind": "contrast", "channels": ["S/g"], "reference": "archive"}
    data["streams"].append(stream | changed)
    data["evidence"].append({"name": "archive", "column": "a", "kind": "continuous", "unit": "mag"})
    return data


def test_a_contrast_refers_to_an_archival_magnitude():
    recipe = Recipe.from_dict(contrast_recipe(limit=22.0, weight=0.8))
    assert recipe.streams[-1].options == {"weight": 0.8, "reference": "archive", "limit": 22.0}
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(
        RecipeError, match=r"streams\[contrast\].reference must name .*\(archive\), found 'z'"
    ):
        Recipe.from_dict(contrast_recipe(reference="z"))
    with pytest.raises(RecipeError, match=r"streams\[contrast\].limit must be a magnitude, found 'faint'"):
        Recipe.from_dict(contrast_recipe(limit="faint"))


def with_joint(*blocks, **network):
    data = minimal()
    data["network"] = {**network, "joint": list(blocks)}
    return data


def test_joint_densities_are_read_and_written():
    recipe = Recipe.from_dict(with_joint({"name": "light", "columns": ["z", "m"], "components": 4}))
    (block,) = recipe.network.joint
    assert (block.name, block.columns, block.components) == ("light", ("z", "m"), 4)
    assert recipe.edges == (("class", "z"), ("class", "m"))
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert "joint" not in Recipe.from_dict(minimal()).to_dict()["network"]
    assert (
        Recipe.from_dict(with_joint({"name": "b", "columns": ["z", "m"]})).network.joint[0].components == 12
    )


@pytest.mark.parametrize(
    ("blocks", "network", "message"),
    [
        ([{"columns": ["z", "m"]}], {}, r"network.joint\[1\].name is missing"),
        ([{"name": "b"}], {}, r"network.joint\[b\].columns is missing"),
        ([{"name": "b", "columns": ["z"]}], {}, "columns must be two or more different names"),
        ([{"name": "b", "columns": ["z", "z"]}], {}, "columns must be two or more different names"),
        ([{"name": "b", "columns": ["z", "q"]}], {}, r"must be continuous evidence \(z, m\), found 'q'"),
        ([{"name": "z", "columns": ["z", "m"]}], {}, "name must differ from the names of evidence"),
        ([{"name": "b", "columns": ["z", "m"], "components": 0}], {}, "components must be a whole number"),
        ([{"name": "b", "columns": ["z", "m"], "states": 3}], {}, "states is not a key"),
        (
            [{"name": "b", "columns": ["z", "m"]}, {"name": "c", "columns": ["m", "z"]}],
            {},
            "may not share a column with joint density 'b'",
        ),
        ([{"name": "b", "columns": ["z", "m"]}], {"edges": [["z", "m"]]}, "may not touch 'z' of joint"),
    ],
)
def test_joint_densities_that_are_refused(blocks, network, message):
    refused(with_joint(*blocks, **network), message)


@pytest.mark.real_data
def test_the_context_recipe_reads_the_real_tables(data_dir):
    recipe = Recipe.load("transient-context")
    objects = pd.read_csv(data_dir / "ztf_bts" / "objects.csv")
    allowed = recipe.taxonomy.allowed(recipe.raw_labels(objects))
    assert (allowed.sum(axis=1) == 1).mean() > 0.99
    table = EvidenceTable.from_frame(objects, recipe.evidence)
    assert table.columns["host_mag"].measured.sum() > 1300
    assert (table.columns["host_normalised_separation"].state == 1).sum() > 20
