"""Labelled objects at other redshifts: what is added, what a target sample chooses, and what a fit does."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesclass import classifier, fitting
from bayesclass.augmentation import Target, augment
from bayesclass.classifier import Classifier
from bayesclass.feature_table import distance_modulus
from bayesclass.fit_checks import FitError
from bayesclass.recipe import FitSpec, Recipe, RecipeError
from structurefn.light_curves import LightCurves

CHANNELS = ("S/g", "S/r")
WAVELENGTH = {"S/g": 4770.0, "S/r": 6420.0}
PLAIN = {
    "schema": 1,
    "name": "two",
    "classes": {"label": "label", "leaves": ["Quick", "Slow"]},
    "light_curves": {
        "quantity": "flux",
        "photometry": "difference",
        "channels": list(CHANNELS),
        "softening": {"S/g": 2.0, "S/r": 2.0},
        "wavelength": WAVELENGTH,
    },
    "streams": [{"name": "pairs", "kind": "pairs", "channels": ["S/r", "S/r"]}],
    "evidence": [
        {
            "name": "z",
            "column": "z",
            "error": "z_err",
            "kind": "continuous",
            "range": [0.0, 3.0],
        }
    ],
    "features": {"transient": True, "redshift": "z"},
    "fit": {"folds": 2, "versions": 1, "draws": 2},
}


def with_fit(**keys):
    return Recipe.from_dict(PLAIN | {"fit": PLAIN["fit"] | keys})


def sample(rng, n, low, high, label="yes"):
    """Pulses of two widths with the brightness of one luminosity at a redshift between two."""
    redshift = rng.uniform(low, high, n)
    slow = rng.random(n) < 0.5
    amplitude = 10.0 ** (-0.4 * (distance_modulus(redshift) - 39.0)) * 400.0
    time = np.sort(rng.uniform(0.0, 150.0, (n, 24)), axis=1)
    width = np.where(slow, 25.0, 12.0) * (1 + redshift)
    pulse = np.exp(-0.5 * ((time - 70.0) / width[:, None]) ** 2)
    channel = np.arange(24) % 2
    flux = (amplitude[:, None] * np.where(channel, 1.0, 0.8)) * pulse + 1.0 * rng.normal(size=time.shape)
    names = np.repeat([f"{label}{i}" for i in range(n)], 24)
    curves = pd.DataFrame(
        {
            "object_id": names,
            "survey": "S",
            "band": np.tile(np.where(channel, "r", "g"), n),
            "mjd": 59000.0 + time.ravel(),
            "flux": flux.ravel(),
            "flux_err": 1.0,
        }
    )
    objects = pd.DataFrame(
        {
            "object_id": pd.unique(names),
            "label": np.where(slow, "Slow", "Quick") if label == "yes" else "",
            "z": redshift,
            "z_err": 0.01 if label == "yes" else 0.03,
        }
    )
    return LightCurves.from_frame(curves, channels=CHANNELS), objects


def test_without_a_target_all_objects_stay_and_others_are_added():
    rng = np.random.default_rng(0)
    curves, objects = sample(rng, 30, 0.1, 0.3)
    objects.loc[0, "z"] = np.nan
    recipe = with_fit(redshifted=3)
    evidence = recipe.read_evidence(objects, object_ids=curves.object_id)
    found = augment(recipe, curves, evidence)
    assert list(found.source[:30]) == list(range(30))
    assert np.array_equal(found.light_curves.value[: curves.n_points], curves.value)
    assert found.summary["n_redshifted"] + found.summary["n_not_detected"] == 3 * 29
    added = found.source[30:]
    assert len(added) == found.summary["n_redshifted"] > 30
    assert 0 not in added  # no redshift, so nothing to move it from
    assert list(found.light_curves.object_id[30:]) == list(curves.object_id[added])
    z, column = objects["z"].to_numpy(), found.evidence.columns["z"]
    assert np.array_equal(column.value[1:30], z[1:30])
    assert (column.error[30:] == 0.01).all()
    assert (column.value[30:] > 0.9 * z[added] - 0.05).all()
    assert (column.value[30:] < 1.8 * (1 + z[added]) - 1 + 0.05).all()
    # One luminosity: what is farther is fainter, as the distances say.
    peak = np.array(
        [found.light_curves.value[a:b].max() for a, b in zip(*_bounds(found.light_curves), strict=True)]
    )
    absolute = -2.5 * np.log10(peak) - distance_modulus(column.value)
    squeezed = 2.5 * np.log10((1 + column.value[30:]) / (1 + z[added]))
    bright = peak[30:] > 20.0
    assert bright.sum() > 5
    difference = absolute[30:] + squeezed - absolute[added]
    assert np.abs(np.median(difference[bright])) < 0.15


def _bounds(curves):
    return curves.offset[:-1], curves.offset[1:]


def test_the_same_seed_gives_the_same_sample():
    curves, objects = sample(np.random.default_rng(1), 12, 0.1, 0.3)
    recipe = with_fit(redshifted=2)
    evidence = recipe.read_evidence(objects, object_ids=curves.object_id)
    first, again = (augment(recipe, curves, evidence) for _ in range(2))
    assert np.array_equal(first.light_curves.value, again.light_curves.value)
    other = with_fit(redshifted=2, seed=5)
    assert not np.array_equal(augment(other, curves, evidence).source, first.source) or not np.array_equal(
        augment(other, curves, evidence).light_curves.value, first.light_curves.value
    )


def test_a_target_chooses_the_redshifts():
    rng = np.random.default_rng(2)
    curves, objects = sample(rng, 60, 0.1, 0.3)
    far, unlabelled = sample(rng, 150, 0.25, 0.5, label="no")
    recipe = with_fit(redshifted=2)
    evidence = recipe.read_evidence(objects, object_ids=curves.object_id)
    target = Target(far, recipe.read_evidence(unlabelled, object_ids=far.object_id))
    alone, aimed = augment(recipe, curves, evidence), augment(recipe, curves, evidence, target)
    goal = unlabelled["z"].mean()
    miss = [abs(x.evidence.columns["z"].value.mean() - goal) for x in (alone, aimed)]
    assert miss[1] < 0.07
    assert miss[1] < 0.75 * miss[0]
    assert aimed.summary["n_target"] == 150
    assert len(aimed.source) == 3 * 60
    # Errors of redshifts are the target's; objects that are as they were keep theirs.
    n_kept = len(aimed.source) - aimed.summary["n_redshifted"]
    assert (aimed.evidence.columns["z"].error[:n_kept] == 0.01).all()
    assert (aimed.evidence.columns["z"].error[n_kept:] == 0.03).all()
    assert aimed.summary["effective_n_sources"] <= 60


def test_nothing_to_move():
    curves, objects = sample(np.random.default_rng(3), 5, 0.1, 0.3)
    recipe = with_fit(redshifted=2)
    evidence = recipe.read_evidence(objects.drop(columns=["z", "z_err"]), object_ids=curves.object_id)
    found = augment(recipe, curves, evidence)
    assert found.light_curves is curves
    assert found.summary["n_redshifted"] == 0
    thin = curves.keep_points(np.arange(curves.n_points) % 24 < 5)
    assert augment(recipe, thin, recipe.read_evidence(objects)).summary["n_redshifted"] == 0


def test_a_fit_aims_at_unlabelled_objects_and_holds_out_sources_with_their_copies(monkeypatch):
    rng = np.random.default_rng(4)
    curves, objects = sample(rng, 40, 0.1, 0.3)
    far, unlabelled = sample(rng, 40, 0.3, 0.5, label="no")
    table = pd.concat([curves.to_frame(), far.to_frame()])
    both = pd.concat([objects, unlabelled])
    kept = {}
    cross_fit, augmented = fitting.cross_fit, fitting.augment

    def watch(sample, fold, *rest):
        kept.update(sample=sample, fold=fold)
        return cross_fit(sample, fold, *rest)

    def watch_augment(*given):
        kept["augmented"] = augmented(*given)
        return kept["augmented"]

    monkeypatch.setattr(fitting, "cross_fit", watch)
    monkeypatch.setattr(fitting, "augment", watch_augment)
    model = Classifier(with_fit(redshifted=2)).fit(table, both)
    assert model.summary["n_target"] == 40
    assert model.summary["n_unlabelled"] == 40
    assert model.summary["n_redshifted"] > 20
    fold, source = kept["fold"], kept["augmented"].source
    for one in np.unique(source):
        assert len(np.unique(fold[source == one])) == 1
    # One unit for each labelled object, whatever was added.
    assert kept["sample"].weights.sum() == pytest.approx(40.0)
    # Labels are those of the sources.
    label = objects.set_index("object_id")["label"].loc[kept["augmented"].light_curves.object_id]
    assert np.array_equal(kept["sample"].allowed[:, 1], label.to_numpy() == "Slow")
    probability = model.classify(far.to_frame(), unlabelled).probability
    assert np.isfinite(probability).all()


def test_without_the_key_objects_without_label_are_not_used(monkeypatch):
    curves, objects = sample(np.random.default_rng(5), 8, 0.1, 0.3)
    objects.loc[:1, "label"] = ""
    given = {}

    def instead(recipe, light_curves, evidence, allowed, progress=None, target=None, **options):
        given[recipe.fit.redshifted] = len(allowed), target
        raise FitError("seen")

    monkeypatch.setattr(classifier, "fit_model", instead)
    for recipe in (with_fit(), with_fit(redshifted=1)):
        with pytest.raises(FitError, match="seen"):
            Classifier(recipe).fit(curves, objects)
    assert given[0] == (6, None)
    assert given[1][0] == 6
    assert sorted(given[1][1].light_curves.object_id) == sorted(objects["object_id"][:2])
    assert list(given[1][1].evidence.object_id) == list(given[1][1].light_curves.object_id)


def test_recipes_say_what_it_takes():
    recipe = with_fit(redshifted=4, selected_by=["S/r"])
    assert recipe.fit.redshifted == 4
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert replace(recipe.fit, redshifted=0, selected_by=()) == with_fit().fit
    with pytest.raises(RecipeError, match=r"fit.selected_by must be among S/g, S/r, found 'S/i'"):
        with_fit(selected_by=["S/i"])
    with pytest.raises(RecipeError, match=r"fit.redshifted must be a whole number of 0 or more, found -1"):
        with_fit(redshifted=-1)
    fit = PLAIN["fit"] | {"redshifted": 1}
    bare = PLAIN | {"fit": fit, "features": {"transient": True}}
    with pytest.raises(RecipeError, match=r"needs features.redshift"):
        Recipe.from_dict(bare)
    blind = PLAIN["light_curves"] | {"wavelength": {"S/g": 4770.0}}
    with pytest.raises(RecipeError, match=r"wavelength\] of every channel, and S/r has none"):
        Recipe.from_dict(PLAIN | {"fit": fit, "light_curves": blind})
    wrong = PLAIN["light_curves"] | {"wavelength": {"S/g": -1.0}}
    with pytest.raises(RecipeError, match=r"wavelength.S/g must be a wavelength above zero"):
        Recipe.from_dict(PLAIN | {"light_curves": wrong})
    total = PLAIN["light_curves"] | {"photometry": "total"}
    with pytest.raises(RecipeError, match=r'needs quantity "flux" and photometry "difference"'):
        Recipe.from_dict(PLAIN | {"fit": fit, "light_curves": total})


def test_large_samples_are_taken_as_they_are():
    bounded = FitSpec(redshifted=3, redshifted_up_to=100)
    assert bounded.redshifts(100)
    assert not bounded.redshifts(101)
    assert FitSpec(redshifted=1).redshifts(10**6)
    assert not FitSpec(redshifted_up_to=100).redshifts(5)
    plain = Recipe.load("des-supernovae")
    assert plain.fit.redshifts(1103)
    assert not plain.fit.redshifts(11_156)
    assert Recipe.from_dict(plain.to_dict()) == plain
    wrong = plain.to_dict()
    wrong["fit"]["redshifted_up_to"] = 0
    with pytest.raises(RecipeError, match="redshifted_up_to must be a whole number of 1 or more, found 0"):
        Recipe.from_dict(wrong)
