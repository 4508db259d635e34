"""The tables [[matches]] of a recipe: every mistake names the key and what was expected."""

import copy

import pytest

from bayesclass.recipe import MatchSpec, Recipe, RecipeError

DATA = {
    "schema": 1,
    "name": "mine",
    "classes": {"label": "type", "leaves": ["a", "b"]},
    "light_curves": {"quantity": "mag", "photometry": "total", "channels": ["S/g"]},
    "streams": [{"name": "pairs", "kind": "pairs", "channels": ["S/g", "S/g"]}],
    "evidence": [
        {"name": "z", "column": "z", "kind": "continuous"},
        {"name": "m", "column": "m", "kind": "continuous"},
        {"name": "odd match", "column": "odd", "kind": "continuous"},
    ],
    "network": {"joint": [{"name": "block", "columns": ["z", "m"]}]},
}


def recipe(*matches):
    return Recipe.from_dict({**copy.deepcopy(DATA), "matches": list(matches)}, source="mine.toml")


def test_defaults_and_return():
    read = recipe({"name": "gcvs", "radius": 30})
    assert read.matches == (MatchSpec("gcvs", 30.0, 1.0, False, ""),)
    full = recipe({"name": "g", "radius": 3.0, "scatter": 0.2, "shared_scatter": True, "title": "a star"})
    assert full.matches == (MatchSpec("g", 3.0, 0.2, True, "a star"),)
    for one in (read, full, recipe()):
        assert Recipe.from_dict(one.to_dict()) == one


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ({"radius": 3.0}, r"matches\[1\].name is missing"),
        ({"name": "g"}, r"matches\[g\].radius is missing; it must be a number"),
        ({"name": "g", "radius": 0}, r"matches\[g\].radius must be a number of arcsec above zero, found 0"),
        ({"name": "g", "radius": "3"}, r"matches\[g\].radius must be a finite number, found '3'"),
        ({"name": "g", "radius": 3, "scatter": -1}, r"matches\[g\].scatter must be a number of arcsec above"),
        ({"name": "g", "radius": 3, "shared_scatter": 1}, "shared_scatter must be true or false, found 1"),
        (
            {"name": "g", "radius": 3, "scater": 1},
            r"matches\[g\].scater is not a key .* did you mean scatter",
        ),
        (
            {"name": "z", "radius": 3},
            "name must differ from the names of other matches, streams and evidence",
        ),
        ({"name": "pairs", "radius": 3}, "name must differ"),
        ({"name": "class", "radius": 3}, "name must differ"),
        ({"name": "block", "radius": 3}, "name must differ"),
        ({"name": "odd", "radius": 3}, "name must differ"),
        ({"name": "twice", "radius": 3}, "name must differ"),
    ],
)
def test_mistakes(match, message):
    with pytest.raises(RecipeError, match=message) as caught:
        recipe({"name": "twice", "radius": 1.0}, match) if "twice" in match.values() else recipe(match)
    assert str(caught.value).startswith("mine.toml: ")


def test_matches_alone_are_something_to_classify_with():
    data = {key: value for key, value in DATA.items() if key not in ("streams", "evidence", "network")}
    alone = Recipe.from_dict({**data, "matches": [{"name": "g", "radius": 3.0}]})
    assert not alone.evidence
    with pytest.raises(RecipeError, match="nothing to classify with"):
        Recipe.from_dict(data)
