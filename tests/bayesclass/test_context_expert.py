"""The context's likelihood: matches beside the network, and hosts summed over, against enumeration."""

import json
import tomllib
from itertools import product

import numpy as np
import pandas as pd
import pytest

from bayesclass.alternatives import given_labels, sum_over_alternatives
from bayesclass.classifier import Classifier
from bayesclass.cli_summary import describe_evidence
from bayesclass.context_expert import ContextExpert
from bayesclass.evaluation import evaluate
from bayesclass.metrics import classwise_ece, ece_null, log_loss
from bayesclass.network import BayesianNetwork, NetworkError, NetworkSpec
from bayesclass.recipe import MatchSpec, Recipe
from bayesclass.tables import InputError, read_objects
from context.evidence import Condition, EvidenceError, EvidenceSpec, EvidenceTable
from context.evidence_alternatives import Alternatives
from structurefn.light_curves import LightCurves

CLASSES = ("a", "b", "c")
SEEN = Condition("seen", True)
KIND = EvidenceSpec("kind", "categorical", column="kind", states=("disc", "nucleus", "halo"), covered=SEEN)
PLACE = EvidenceSpec("place", "categorical", column="place", states=("plane", "middle", "pole"))


@pytest.fixture(scope="module")
def discrete():
    """A network of a host's kind and the place, which depend on the class and on each other."""
    rng = np.random.default_rng(3)
    label = rng.integers(0, 3, 600)
    kind = [
        rng.choice(["disc", "nucleus", "halo", ""], p=rng.dirichlet(np.ones(4) + 3 * (c == 0))) for c in label
    ]
    frame = pd.DataFrame(
        {
            "object_id": np.arange(600).astype(str),
            "kind": kind,
            "place": rng.choice(PLACE.states, 600, p=[0.5, 0.3, 0.2]),
            "seen": True,
        }
    )
    frame.loc[label == 1, "place"] = rng.choice(PLACE.states, (label == 1).sum(), p=[0.1, 0.2, 0.7])
    frame.loc[(label == 2) & (frame["kind"] == "disc"), "place"] = "pole"
    spec = NetworkSpec(class_states=CLASSES, edges=(("kind", "place"),))
    evidence = EvidenceTable.from_frame(frame, [KIND, PLACE])
    return ContextExpert.fit(spec, evidence, np.eye(3, dtype=bool)[label], n_draws=3)


def neighbourhood(expert, kinds, place, background, extra=()):
    """Rows of one object: each candidate by its kind, and no catalogued host; with their probabilities.

    The class-independent posterior of hosts: density of hosts, the mean over classes, over background.
    """
    p_host = table_of(expert, [(kind, "") for kind in (*kinds, "")])
    mean = p_host @ expert.network.class_frequency
    weight = np.append(mean[:-1] / [background[kind] for kind in kinds] / len(kinds), mean[-1])
    rows = [*kinds, ""]
    return pd.DataFrame(
        {
            "object_id": "o",
            "alternative_probability": weight / weight.sum(),
            "kind": rows,
            "place": place,
            "seen": True,
        }
    )


def table_of(expert, rows):
    """p(kind, place | class) by the network, shape (n_rows, 3); "" is no host, and no place at hand."""
    frame = pd.DataFrame(rows, columns=["kind", "place"])
    frame = frame.assign(object_id=np.arange(len(frame)).astype(str), seen=True)
    return np.exp(expert.network.log_likelihood(EvidenceTable.from_frame(frame, [KIND, PLACE])))


def posterior(expert, frame):
    log = expert.log_likelihood(EvidenceTable.from_frame(frame, [KIND, PLACE]))
    joint = np.exp(log - log.max()) * expert.network.class_frequency
    return joint / joint.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("place", ["plane", "pole", ""])
@pytest.mark.parametrize("kinds", [("disc",), ("disc", "nucleus"), ("halo", "nucleus", "disc", "nucleus")])
def test_hosts_are_summed_over_exactly(discrete, kinds, place):
    """By hand: the host's identity is a node; one candidate is the host, all others lie there by chance."""
    background = {"disc": 0.2, "nucleus": 0.1, "halo": 0.7}
    own = table_of(discrete, [(kind, place) for kind in kinds])
    no_host = table_of(discrete, [("", place)])[0]
    chance = np.array([background[kind] for kind in kinds])
    joint = discrete.network.class_frequency * no_host * chance.prod()
    for j in range(len(kinds)):
        others = np.delete(chance, j).prod()
        # The host is one of the candidates, each of them as likely before they are seen.
        joint = joint + discrete.network.class_frequency * own[j] * others / len(kinds)
    got = posterior(discrete, neighbourhood(discrete, kinds, place, background))[0]
    # The network computes in float32.
    np.testing.assert_allclose(got, joint / joint.sum(), atol=2e-6)


def test_a_row_that_shares_everything_is_not_divided(discrete):
    one = pd.DataFrame({"object_id": ["o"], "kind": ["disc"], "place": ["pole"], "seen": [True]})
    plain = discrete.log_likelihood(EvidenceTable.from_frame(one, [KIND, PLACE]))
    for rows in (1, 3):
        several = pd.concat([one] * rows).assign(alternative_probability=1 / rows)
        table = EvidenceTable.from_frame(several, [KIND, PLACE])
        np.testing.assert_allclose(discrete.log_likelihood(table), plain, atol=1e-6)
    certain = pd.concat([one, one.assign(kind="halo")]).assign(alternative_probability=[1.0, 0.0])
    np.testing.assert_allclose(posterior(discrete, certain), posterior(discrete, one), atol=1e-6)


def test_contributions_and_draws_follow_the_sum(discrete):
    background = {"disc": 0.2, "nucleus": 0.1, "halo": 0.7}
    frames = [
        neighbourhood(discrete, kinds, place, background).assign(object_id=f"o{i}")
        for i, (kinds, place) in enumerate(product([("disc", "nucleus"), ("halo",)], ["pole", "", "middle"]))
    ]
    table = EvidenceTable.from_frame(pd.concat(frames), [KIND, PLACE])
    pieces = discrete.contributions(table)
    assert list(pieces) == ["kind", "place"]
    np.testing.assert_allclose(sum(pieces.values()), discrete.log_likelihood(table), atol=1e-6)
    np.testing.assert_array_equal(pieces["place"][[1, 4]], 0.0)
    draws = discrete.log_likelihood_draws(table)
    assert draws.shape == (3, 6, 3)
    assert draws.dtype == np.float32
    # By definition, a draw is the same sum with other tables.
    drawn = ContextExpert(
        BayesianNetwork(
            discrete.network.spec,
            discrete.network.nodes,
            discrete.network.parents,
            discrete.network.draws[1],
            discrete.network.class_frequency,
        )
    )
    np.testing.assert_allclose(draws[1], drawn.log_likelihood(table), atol=1e-5)


def test_rows_given_labels_by_hand():
    table = Alternatives(np.array([0, 0, 1]), np.array([0.25, 0.75, 1.0]), np.ones(2), None, {})
    p = np.array([[0.2, 0.6], [0.4, 0.1], [0.5, 0.5]])
    frequency = np.array([0.5, 0.5])
    log = sum_over_alternatives(table, np.log(p), np.log(p), frequency)
    # 1/4 * .2/.4 + 3/4 * .4/.25 and 1/4 * .6/.4 + 3/4 * .1/.25
    np.testing.assert_allclose(np.exp(log), [[1.325, 0.675], [1.0, 1.0]])
    allowed = np.array([[True, False], [True, True]])
    got = given_labels(table, np.log(p), np.log(p), frequency, allowed)
    np.testing.assert_allclose(got, [0.125 / 1.325, 1.2 / 1.325, 1.0])


FREQUENCY, CATALOGUED = np.array([0.5, 0.3, 0.2]), np.array([0.9, 0.6, 0.95])
MAG, WIDTH, OFFSET = np.array([16.0, 19.0, 18.5]), np.array([1.5, 1.0, 1.2]), np.array([6.0, 3.0, 0.6])
LATITUDE = np.array([30.0, 50.0, 40.0])
REACH, DENSITY = 20.0, 0.004
SPECS = (
    EvidenceSpec("mag", "continuous", column="mag", covered=SEEN),
    EvidenceSpec("offset", "continuous", column="offset", transform="log10", covered=SEEN),
    EvidenceSpec("latitude", "continuous", column="latitude"),
)


def normal(x, mean, width):
    return np.exp(-0.5 * ((x - mean) / width) ** 2) / (np.sqrt(2 * np.pi) * width)


def simulate(rng, n):
    """Hosts among field galaxies: rows with class-independent probabilities, labels, exact posteriors."""
    rows, labels, exact = [], rng.choice(3, n, p=FREQUENCY), np.zeros((n, 3))
    for i, c in enumerate(labels):
        field = rng.poisson(DENSITY * np.pi * REACH**2)
        mag, r = rng.normal(20.5, 1.5, field), REACH * np.sqrt(rng.random(field))
        if rng.random() < CATALOGUED[c]:
            r = np.append(r, min(OFFSET[c] * np.sqrt(-2 * np.log(rng.random())), REACH))
            mag = np.append(mag, rng.normal(MAG[c], WIDTH[c]))
        latitude = rng.normal(LATITUDE[c], 12.0)
        host = normal(mag[:, None], MAG, WIDTH) * np.exp(-(r[:, None] ** 2) / 2 / OFFSET**2)
        host = CATALOGUED * host / (2 * np.pi * OFFSET**2) / (DENSITY * normal(mag, 20.5, 1.5))[:, None]
        every = np.vstack([host, 1 - CATALOGUED])
        exact[i] = FREQUENCY * every.sum(axis=0) * normal(latitude, LATITUDE, 12.0)
        probability = every @ FREQUENCY
        probability = probability / probability.sum()
        seen = zip(probability, np.append(mag, np.nan), np.append(np.maximum(r, 1e-3), np.nan), strict=True)
        rows += [(f"o{i}", latitude, True, *row) for row in seen]
    columns = ["object_id", "latitude", "seen", "alternative_probability", "mag", "offset"]
    return pd.DataFrame(rows, columns=columns), labels, exact / exact.sum(axis=1, keepdims=True)


def most_probable(frame):
    ranked = frame.sort_values("alternative_probability", ascending=False, kind="stable")
    return ranked.drop_duplicates("object_id").sort_index().drop(columns="alternative_probability")


def test_summing_over_hosts_is_calibrated_and_beats_trusting_one():
    rng = np.random.default_rng(1)
    train, labels, _ = simulate(rng, 2000)
    test, truth, exact = simulate(rng, 2500)
    spec = NetworkSpec(class_states=CLASSES, edges=(("mag", "offset"),))
    score, probability = {}, {}
    for name, view in (("all", lambda frame: frame), ("one", most_probable)):
        evidence = EvidenceTable.from_frame(view(train), SPECS)
        expert = ContextExpert.fit(spec, evidence, np.eye(3, dtype=bool)[labels], n_draws=0)
        log = expert.log_likelihood(EvidenceTable.from_frame(view(test), SPECS))
        joint = np.exp(log - log.max(axis=1, keepdims=True)) * expert.network.class_frequency
        probability[name] = joint / joint.sum(axis=1, keepdims=True)
        score[name] = log_loss(probability[name], truth)
    limit = log_loss(exact, truth)
    # Measured: .346 and .361; the limit, which knows all densities, is .334.
    assert score["all"] < score["one"] - 0.015
    assert score["all"] < limit + 0.03
    _, null = ece_null(probability["all"], np.random.default_rng(0))
    # Learned densities are smoother than the true ones, which makes some 0.01 beyond sampling noise.
    assert classwise_ece(probability["all"], truth) < null + 0.015


MATCHES = (MatchSpec("var", 5.0, scatter=0.5), MatchSpec("gamma", 300.0, scatter=60.0, shared_scatter=True))


def positions(rng, labels):
    """Nearest variable star and gamma-ray source of objects of three classes; class 0 is often a star."""
    n, data = len(labels), {"object_id": [f"o{i}" for i in range(len(labels))]}
    for spec, a, s in (
        (MATCHES[0], np.array([0.8, 0.02, 0.1]), 0.4),
        (MATCHES[1], np.array([0.01, 0.5, 0.3]), 70.0),
    ):
        density = rng.uniform(0.1, 1.0, n) / (np.pi * spec.radius**2)
        own = np.where(rng.random(n) < a[labels], s * np.sqrt(-2 * np.log(rng.random(n))), np.inf)
        nearest = np.minimum(own, np.sqrt(-np.log(rng.random(n)) / (np.pi * density)))
        covered = rng.random(n) < 0.9
        found = covered & (nearest <= spec.radius)
        data[f"{spec.name}_separation_arcsec"] = np.where(found, nearest, np.nan)
        data[f"{spec.name}_density_arcmin2"] = np.where(covered, density * 3600, np.nan)
        data[f"{spec.name}_found"] = found
        data[f"{spec.name}_covered"] = covered
    return pd.DataFrame(data)


@pytest.fixture(scope="module")
def matched():
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 3, 1500)
    frame = positions(rng, labels)
    evidence = EvidenceTable.from_frame(frame, [], matches=["var", "gamma"])
    allowed = np.eye(3, dtype=bool)[labels]
    allowed[:100] = True  # labels that say nothing do no harm
    spec = NetworkSpec(class_states=CLASSES)
    return ContextExpert.fit(spec, evidence, allowed, matches=MATCHES, n_draws=20), evidence, labels


def test_matches_alone_are_learned_and_enter(matched):
    expert, evidence, labels = matched
    learned = expert.matches["var"].model
    np.testing.assert_allclose(learned.probability, [0.8, 0.02, 0.1], atol=0.06)
    assert learned.scatter[0] == pytest.approx(0.4, rel=0.1)
    assert len(set(expert.matches["gamma"].model.scatter)) == 1
    assert expert.matches["gamma"].model.scatter[0] == pytest.approx(70.0, rel=0.15)
    log = expert.log_likelihood(evidence)
    pieces = expert.contributions(evidence)
    assert list(pieces) == ["var match", "gamma match"]
    np.testing.assert_allclose(sum(pieces.values()), log, atol=1e-12)
    column = evidence.matches["var"]
    np.testing.assert_array_equal(pieces["var match"][~column.covered], 0.0)
    expected = learned.log_likelihood(**column.arguments())
    np.testing.assert_allclose(pieces["var match"], expected)
    p = np.exp(log - np.logaddexp.reduce(log, axis=1, keepdims=True))
    assert log_loss(p[100:], labels[100:]) < 0.85  # log 3 = 1.10 without evidence
    assert expert.summary["var_counterparts"]["a"] == pytest.approx(learned.probability[0], abs=1e-4)


def test_draws_of_matches_surround_the_fit(matched):
    expert, evidence, _ = matched
    draws = expert.log_likelihood_draws(evidence)
    assert draws.shape == (20, 1500, 3)
    a = np.array([draw.probability for draw in expert.matches["var"].draws])
    fitted = expert.matches["var"].model.probability
    assert (np.abs(a.mean(axis=0) - fitted) < a.std(axis=0)).all()
    # Binomial standard deviation, somewhat wider because a counterpart is not seen as such.
    assert a[:, 0].std() == pytest.approx(np.sqrt(0.8 * 0.2 / 430), rel=0.6)
    np.testing.assert_allclose(draws.mean(axis=0), expert.log_likelihood(evidence), atol=0.6)


def test_matches_return_from_storage(matched):
    expert, evidence, _ = matched
    meta, arrays = expert.to_arrays()
    again = ContextExpert.from_arrays(json.loads(json.dumps(meta, allow_nan=False)), arrays)
    np.testing.assert_array_equal(again.log_likelihood(evidence), expert.log_likelihood(evidence))
    np.testing.assert_array_equal(again.log_likelihood_draws(evidence), expert.log_likelihood_draws(evidence))
    assert again.summary == expert.summary


def test_without_matches_a_model_is_stored_as_before(discrete):
    meta, arrays = discrete.to_arrays()
    assert list(meta) == ["network"]
    assert all(name.startswith("network/") for name in arrays)


def test_a_source_beyond_the_radius_is_none_within_it(matched):
    _, evidence, _ = matched
    nearest = evidence.matches["var"]
    near = nearest.within(2.0)
    spec = NetworkSpec(class_states=CLASSES)
    allowed = np.eye(3, dtype=bool)[np.arange(1500) % 3]
    for column in (nearest, near):
        table = EvidenceTable(evidence.object_id, {}, evidence.set_aside, matches={"var": column})
        fitted = ContextExpert.fit(spec, table, allowed, matches=[MatchSpec("var", 2.0)], n_draws=0)
        np.testing.assert_array_equal(
            fitted.log_likelihood(table),
            fitted.matches["var"].model.log_likelihood(**near.arguments()),
        )


def test_a_table_without_the_match_is_refused(matched):
    expert, evidence, _ = matched
    bare = EvidenceTable(evidence.object_id, {}, evidence.set_aside)
    with pytest.raises(NetworkError, match="found none named var, gamma"):
        expert.log_likelihood(bare)


def test_nothing_covered_says_nothing(matched):
    _, evidence, labels = matched
    hidden = evidence.without(["var", "gamma"])
    spec = NetworkSpec(class_states=CLASSES)
    expert = ContextExpert.fit(spec, hidden, np.eye(3, dtype=bool)[labels], matches=MATCHES, n_draws=2)
    np.testing.assert_array_equal(expert.log_likelihood(hidden), 0.0)
    # A model that learned nothing of a catalogue takes no side where it covers an object later.
    np.testing.assert_allclose(np.ptp(expert.log_likelihood(evidence), axis=1), 0.0, atol=1e-12)


CONTEXT_RECIPE = """
schema = 1
name = "hosts"
[classes]
label = "label"
leaves = ["a", "b", "c"]
[light_curves]
quantity = "mag"
photometry = "total"
channels = ["S/g"]
[[evidence]]
name = "mag"
column = "mag"
kind = "continuous"
covered = { column = "seen", equals = true }
[[evidence]]
name = "latitude"
column = "latitude"
kind = "continuous"
[[matches]]
name = "var"
radius = 5.0
scatter = 0.5
title = "a known variable"
[fit]
folds = 2
versions = 1
draws = 4
"""


@pytest.fixture(scope="module")
def sample():
    """Rows of alternatives with matches and labels, and a classifier fitted on them."""
    rng = np.random.default_rng(5)
    rows, labels, _ = simulate(rng, 240)
    objects = positions(rng, labels).assign(label=np.array(CLASSES)[labels])
    rows = rows.merge(objects, on="object_id", validate="many_to_one")
    classifier = Classifier(Recipe.from_dict(tomllib.loads(CONTEXT_RECIPE))).fit(None, rows)
    return classifier, rows, labels


def test_a_classifier_keeps_one_row_an_object(sample, tmp_path):
    classifier, rows, labels = sample
    assert len(rows) > 300
    assert classifier.summary["n_objects"] == 240
    assert classifier.summary["n_unlabelled"] == 0
    assert classifier.summary["log_loss"] < 0.85 * classifier.summary["log_loss_class_frequencies"]
    posterior = classifier.classify(None, rows)
    assert posterior.object_id.tolist() == [f"o{i}" for i in range(240)]
    assert {"mag", "latitude", "var match"} <= set(posterior.reasons)
    total = sum(posterior.reasons.values())
    p = np.exp(total - np.logaddexp.reduce(total, axis=1, keepdims=True))
    np.testing.assert_allclose(p, posterior.probability, atol=1e-6)
    assert (posterior.probability.argmax(axis=1) == labels).mean() > 0.7
    result = evaluate(posterior.to_frame(), rows, classifier.recipe, n_resamples=10)
    assert result.counts["one_labelled_class"] == 240
    classifier.save(tmp_path / "model")
    again = Classifier.load(tmp_path / "model").classify(None, rows)
    np.testing.assert_allclose(again.probability, posterior.probability, atol=1e-6)
    # Draws of the pool are stored whole, those of tables in float32.
    np.testing.assert_allclose(again.draws, posterior.draws, atol=1e-4)


def test_remarks_and_absent_columns(sample):
    classifier, rows, _ = sample
    first = rows[rows["object_id"] == "o0"]
    fewer = first.assign(alternative_probability=first["alternative_probability"] * 0.5)
    fewer = fewer.drop(columns=["var_found", "mag"])
    (remark,) = classifier.classify(None, fewer).warnings
    assert "alternatives sum to 0.5: taken as all there are" in remark
    assert "var not used: no column var_found" in remark
    assert "mag not used: no column mag" in remark
    batch = LightCurves.empty(("S/g",), "mag")
    lines = describe_evidence(fewer, classifier.recipe.evidence, batch, classifier.recipe.matches)
    assert f"rows of alternatives: {len(first)}" in lines
    assert "objects whose alternatives do not sum to one, normalised: 1" in lines
    assert "evidence without its column: var (needs var_found)" in lines
    nothing = pd.DataFrame({"object_id": ["new"], "alternative_probability": [1.0]})
    posterior = classifier.classify(None, nothing)
    assert "no context" in posterior.warnings[0]
    np.testing.assert_array_equal(posterior.reasons["var match"], 0.0)


def test_labels_of_an_objects_rows_agree(sample):
    classifier, rows, _ = sample
    wrong = rows.copy()
    wrong.loc[0, "label"] = "b" if rows["label"][0] != "b" else "c"
    with pytest.raises(EvidenceError, match="must have one label, but those of 'o0'"):
        classifier.fit(None, wrong)
    posterior = classifier.classify(None, rows).to_frame()
    with pytest.raises(EvidenceError, match="must have one label"):
        evaluate(posterior, wrong, classifier.recipe)


def test_tables_of_alternatives_are_read(sample, tmp_path):
    _, rows, _ = sample
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert len(read_objects(tmp_path / "rows.csv")) == len(rows)
    rows.drop(columns="alternative_probability").to_csv(tmp_path / "bare.csv", index=False)
    with pytest.raises(InputError, match="one row an object"):
        read_objects(tmp_path / "bare.csv")


def test_recipe_with_matches_returns():
    recipe = Recipe.from_dict(tomllib.loads(CONTEXT_RECIPE))
    assert recipe.matches == (MatchSpec("var", 5.0, 0.5, title="a known variable"),)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert "matches" not in Recipe.load("crts-transients").to_dict()
