"""Expected information against sums over the joint distribution, and states against a new classification."""

import itertools
import tomllib

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, logsumexp, softmax

from bayesclass.classifier import Classifier
from bayesclass.information import tell
from bayesclass.information_states import NONE, StateLikelihoods
from bayesclass.network import BayesianNetwork, JointSpec, LatentSpec, NetworkError, NetworkSpec
from bayesclass.posterior import UnknownObjectError
from bayesclass.priors import Prior
from bayesclass.recipe import Recipe
from context.evidence import Condition, EvidenceSpec, EvidenceTable

LEAVES = ("SN", "CV", "AGN")
HOST = EvidenceSpec(
    "host", "categorical", column="host", states=("spiral", "elliptical"), covered=Condition("in_field", True)
)
STARS = EvidenceSpec("stars", "count", column="stars")
MAG = EvidenceSpec("mag", "continuous", column="mag", unit="mag")
SIZE = EvidenceSpec("size", "continuous", column="size", transform="log10")
SHARE = EvidenceSpec("share", "continuous", column="share", valid_range=(0.0, 1.0))


def sample(n, seed=0, missing=0.3):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.6, 0.25, 0.15])
    host = np.where(rng.random(n) < np.array([0.8, 0.5, 0.2])[y], "spiral", "elliptical").astype(object)
    stars = rng.poisson(np.where(host == "spiral", 1.0, 4.0) + y).astype(float)
    mag = rng.normal(np.array([18.0, 19.5, 17.0])[y] + 0.3 * stars, 1.0)
    frame = pd.DataFrame(
        {
            "object_id": [f"o{i}" for i in range(n)],
            "host": host,
            "stars": stars,
            "mag": mag,
            "size": 10 ** (0.2 * (19 - mag) + rng.normal(0, 0.1, n)),
            "share": rng.beta(1 + y, 2, n),
            "in_field": rng.random(n) < 0.8,
        }
    )
    for name in ("host", "stars", "mag", "size", "share"):
        frame.loc[rng.random(n) < missing, name] = None if name == "host" else np.nan
    return frame, y


def network(specs, edges=(), joint=(), n=600):
    frame, y = sample(n)
    spec = NetworkSpec(class_states=LEAVES, edges=edges, joint=joint)
    evidence = EvidenceTable.from_frame(frame, specs)
    return BayesianNetwork.fit(spec, evidence, np.eye(3, dtype=bool)[y], n_draws=0)


def told(model, evidence, column, log_prior):
    states = model.state_log_likelihoods(evidence, column)
    log_now = log_prior + model.log_likelihood(evidence)
    return tell(log_now, log_prior + states.log_likelihood, states), states


# Against sums over the joint distribution


def joint_with_state(model, evidence, column, i):
    """p(class, state of the column, all other evidence of object i) by direct sums over what is unknown."""
    names = list(model.nodes)
    codes = {name: model.nodes[name].encode(evidence.columns[name]).state[i] for name in names}
    sizes = {name: model.nodes[name].n_states for name in names}
    table = np.zeros((3, sizes[column]))
    choices = [range(sizes[name]) if codes[name] < 0 or name == column else [codes[name]] for name in names]
    for c, states in itertools.product(range(3), itertools.product(*choices)):
        known = {"class": c, **dict(zip(names, states, strict=True))}
        p = 1.0
        for name in names:
            at = (known[name], *(known[parent] for parent in model.parents[name]))
            p *= np.exp(model.parameters[name].log_cpd[at])
        table[c, known[column]] += p
    return table


@pytest.mark.parametrize(
    ("edges", "column"),
    [((), "host"), ((), "stars"), ((("host", "stars"),), "host"), ((("host", "stars"),), "stars")],
)
def test_information_is_that_of_the_joint_table(edges, column):
    model = network((HOST, STARS), edges)
    evidence = EvidenceTable.from_frame(sample(15, seed=1)[0], (HOST, STARS))
    missing = evidence.without(column)
    log_prior = np.log([0.5, 0.3, 0.2])
    with jax.enable_x64(True):
        found, states = told(model, missing, column, log_prior)
        # The column's own observation is not looked at.
        again = model.state_log_likelihoods(evidence, column)
    np.testing.assert_array_equal(states.log_likelihood, again.log_likelihood)
    assert states.labels[-1] == (NONE if column == "host" else model.nodes["stars"].states[-1])
    for i in range(evidence.n_objects):
        joint = np.exp(log_prior)[:, None] * joint_with_state(model, missing, column, i)
        joint /= joint.sum()
        p_class, p_state = joint.sum(axis=1), joint.sum(axis=0)
        mutual = np.sum(joint * np.log(joint / np.outer(p_class, p_state)))
        then = joint / p_state
        telling = np.sum(then * np.log(then / p_class[:, None]), axis=0)
        changes = p_state[then.argmax(axis=0) != p_class.argmax()].sum()
        common = np.sort(p_state).cumsum()[np.argsort(np.argsort(p_state))] >= 0.01
        best = np.where(common, telling, -1).argmax()
        assert found.information[i] == pytest.approx(mutual, abs=1e-9)
        assert found.change[i] == pytest.approx(mutual, abs=1e-9)
        assert found.p_best_changes[i] == pytest.approx(changes, abs=1e-9)
        assert found.state[i] == best
        assert found.state_probability[i] == pytest.approx(p_state[best], abs=1e-9)
        np.testing.assert_allclose(found.then[i], then[:, best], atol=1e-9)
        assert found.shift[i] < 1e-9


@given(
    arrays(float, (3,), elements=st.floats(-3, 3)),
    arrays(float, (5, 3), elements=st.floats(-6, 0)),
    st.floats(0.2, 1.0),
)
def test_with_weight_one_it_is_mutual_information_and_bounded(log_now, log_states, weight):
    log_states = log_softmax(log_states, axis=0)
    states = StateLikelihoods(tuple("abcde"), np.zeros(5), log_states[:, None, :], np.full(5, np.nan))
    full = tell(log_now[None], log_now + states.log_likelihood, states)
    p = softmax(log_now)
    joint = np.exp(log_states) * p
    mutual = np.sum(joint * (np.log(joint) - np.log(joint.sum(axis=1, keepdims=True)) - np.log(p)))
    entropy = -np.sum(p * np.log(p))
    assert full.information[0] == pytest.approx(mutual, abs=1e-10)
    assert -1e-12 <= full.information[0] <= entropy + 1e-12
    assert full.change[0] == pytest.approx(mutual, abs=1e-10)
    assert full.shift[0] < 1e-12
    # With another weight the mean of what the pool would answer is another one, which is what `shift` says.
    less = tell(log_now[None], log_now + weight * states.log_likelihood, states)
    then = softmax(log_now + weight * log_states, axis=1)
    expected = joint.sum(axis=1) @ then
    assert less.change[0] == pytest.approx(
        joint.sum(axis=1) @ np.sum(then * np.log(then / p), axis=1), abs=1e-10
    )
    assert less.change[0] >= -1e-12
    assert less.shift[0] == pytest.approx(np.abs(expected - p).max(), abs=1e-12)


def test_a_column_that_says_nothing_given_the_rest_gets_zero():
    model = network((HOST, STARS), (("host", "stars"),))
    spec = NetworkSpec(class_states=LEAVES, edges=(("host", "stars"),), no_class_edge=("stars",))
    frame, y = sample(600)
    evidence = EvidenceTable.from_frame(frame, (HOST, STARS))
    model = BayesianNetwork.fit(spec, evidence, np.eye(3, dtype=bool)[y], n_draws=0)
    few = evidence.take(np.flatnonzero(evidence.columns["host"].state != 2)[:20]).without("stars")
    with jax.enable_x64(True):
        # The stars hang on the host alone, and the host is known.
        known, _ = told(model, few, "stars", np.log([0.5, 0.3, 0.2]))
        unknown, _ = told(model, few.without("host"), "stars", np.log([0.5, 0.3, 0.2]))
    assert np.abs(known.information).max() < 1e-12
    assert known.p_best_changes.max() == 0
    assert unknown.information.min() > 1e-3


# States and values of every kind of column


EVERY = (HOST, STARS, MAG, SIZE, SHARE)
BLOCK = JointSpec("block", ("size", "share"))


@pytest.fixture(scope="module")
def mixed():
    return network(EVERY, (("stars", "mag"), ("host", "stars")), (BLOCK,))


@pytest.mark.parametrize("column", [spec.name for spec in EVERY])
def test_states_add_up_to_not_knowing(mixed, column):
    evidence = EvidenceTable.from_frame(sample(20, seed=2)[0], EVERY).without(column)
    states = mixed.state_log_likelihoods(evidence, column)
    total = logsumexp(states.log_likelihood + states.log_weight[:, None, None], axis=0)
    # Cells and tables sum exactly (float32 here); a joint density has tails beyond the cells.
    tolerance = {"size": 0.01, "share": 0.1}.get(column, 2e-5)
    np.testing.assert_allclose(total, mixed.log_likelihood(evidence), atol=tolerance)


@pytest.mark.parametrize("column", [spec.name for spec in EVERY])
def test_each_state_is_the_likelihood_of_a_table_with_it(mixed, column):
    frame = sample(3, seed=3)[0].assign(in_field=True)
    evidence = EvidenceTable.from_frame(frame, EVERY)
    states = mixed.state_log_likelihoods(evidence, column)
    spec = evidence.columns[column].spec
    for s in range(0, len(states.labels), 7 if len(states.labels) > 20 else 1):
        if column == "host":
            value = spec.states[s] if s < 2 else None
        elif column == "stars":
            edges = [-1.0, *mixed.nodes["stars"].bin_edges]
            value = np.floor(edges[s]) + 1
        else:
            value = float(spec.inverse(states.value[s]))
        table = EvidenceTable.from_frame(frame.assign(**{column: value}), EVERY)
        expected = mixed.log_likelihood(table)
        np.testing.assert_allclose(states.log_likelihood[s], expected, atol=2e-5)


def test_values_stay_in_the_declared_range(mixed):
    narrow = EvidenceSpec("mag", "continuous", column="mag", unit="mag", valid_range=(17.5, 19.0))
    evidence = EvidenceTable.from_frame(sample(2, seed=4)[0], (HOST, STARS, narrow, SIZE, SHARE))
    value = mixed.state_log_likelihoods(evidence, "mag").value
    assert 17.5 <= value.min() < value.max() <= 19.0
    with pytest.raises(NetworkError, match="found 'colour'; known: host, stars, mag, size, share"):
        mixed.state_log_likelihoods(evidence, "colour")


def test_a_latent_node_is_summed_over_and_cannot_be_measured():
    edges = (("kind", "host"), ("kind", "stars"))
    spec = NetworkSpec(class_states=LEAVES, edges=edges, latent=(LatentSpec("kind", 2),))
    frame, y = sample(300)
    evidence = EvidenceTable.from_frame(frame, (HOST, STARS))
    model = BayesianNetwork.fit(spec, evidence, np.eye(3, dtype=bool)[y], n_draws=0)
    few = evidence.take(np.arange(10)).without("stars")
    states = model.state_log_likelihoods(few, "stars")
    total = logsumexp(states.log_likelihood, axis=0)
    np.testing.assert_allclose(total, model.log_likelihood(few), atol=2e-5)
    with pytest.raises(NetworkError, match="found 'kind'; known: host, stars"):
        model.state_log_likelihoods(few, "kind")


# The classifier


RECIPE = """
schema = 1
name = "small"
[classes]
label = "label"
leaves = ["Periodic", "Walk", "Fading"]
[light_curves]
quantity = "mag"
photometry = "total"
channels = ["S/g"]
[[streams]]
name = "magnitude"
kind = "magnitude"
channels = ["S/g"]
[[streams]]
name = "contrast"
kind = "contrast"
channels = ["S/g"]
reference = "archive"
limit = 21.0
[[evidence]]
name = "latitude"
column = "latitude"
kind = "continuous"
unit = "deg"
range = [0.0, 90.0]
[[evidence]]
name = "host"
column = "host"
kind = "categorical"
states = ["spiral", "elliptical"]
covered = { column = "in_survey", equals = true }
[[evidence]]
name = "archive"
column = "archive"
kind = "continuous"
unit = "mag"
range = [10.0, 25.0]
none = { column = "fainter", equals = true }
[[matches]]
name = "cat"
radius = 10.0
[network]
edges = [["host", "latitude"]]
[fit]
folds = 2
versions = 1
draws = 1
"""
TELL = "expected_change_nats"


@pytest.fixture(scope="module")
def small():
    """A fitted classifier with an archival magnitude, a stream that uses it, and a nearest source."""
    rng = np.random.default_rng(11)
    n = 90
    labels = np.array(["Periodic", "Walk", "Fading"])[np.arange(n) % 3]
    fading, found = labels == "Fading", rng.random(n) < np.where(labels == "Fading", 0.3, 0.8)
    objects = pd.DataFrame(
        {
            "object_id": [f"o{i}" for i in range(n)],
            "label": labels,
            "latitude": np.clip(rng.normal(np.where(labels == "Periodic", 35.0, 50.0), 15.0), 0, 90),
            "host": rng.choice(["spiral", "elliptical", ""], n),
            "in_survey": rng.random(n) < 0.8,
            "archive": rng.normal(np.where(fading, 19.0, 17.5), 0.8),
            "fainter": rng.random(n) < 0.1,
            "cat_found": found,
            "cat_separation_arcsec": np.where(found, np.abs(rng.normal(0.0, 1.0, n)), np.nan),
            "cat_density_arcmin2": 0.5,
            "cat_covered": True,
        }
    )
    curves = pd.DataFrame(
        {
            "object_id": np.repeat(objects["object_id"], 6),
            "survey": "S",
            "band": "g",
            "mjd": 59000.0 + rng.uniform(0, 50, 6 * n),
            "mag": 17.5 + rng.normal(size=6 * n),
            "mag_err": 0.1,
        }
    )
    classifier = Classifier(Recipe.from_dict(tomllib.loads(RECIPE))).fit(curves, objects)
    return classifier, curves, objects


def few(small, names, **changed):
    """Chosen objects, with columns changed."""
    _, curves, objects = small
    objects = objects[objects["object_id"].isin(names)].assign(**changed)
    return curves[curves["object_id"].isin(names)], objects


NO_HOST = {"in_survey": False, "host": ""}
NO_MATCH = {
    "cat_covered": False,
    "cat_found": False,
    "cat_separation_arcsec": np.nan,
    "cat_density_arcmin2": np.nan,
}


def with_value(objects, name, text):
    """The table of an object in which a piece of evidence has the state of the result's text."""
    row = objects.copy()
    if name == "cat":
        found = text != NONE
        row["cat_found"], row["cat_covered"], row["cat_density_arcmin2"] = found, True, 0.0
        row["cat_separation_arcsec"] = float(text.split()[0]) if found else np.nan
    elif name == "archive":
        row["fainter"] = text == NONE
        row["archive"] = np.nan if text == NONE else float(text.split()[0])
    elif name == "host":
        row["in_survey"], row["host"] = True, "" if text == NONE else text
    else:
        row[name] = float(text.split()[0])
    return row


def test_the_state_named_gives_the_answer_named(small):
    classifier = small[0]
    missing = {"latitude": np.nan, "archive": np.nan, "fainter": False}
    curves, table = few(small, ["o2", "o4", "o12"], **missing, **NO_HOST, **NO_MATCH)
    frame = classifier.value_of_information(curves, table)
    assert list(frame["object_id"].unique()) == ["o2", "o4", "o12"]
    for _, own in frame.groupby("object_id"):
        assert set(own["evidence"]) == {"latitude", "host", "archive", "cat"}
    now = classifier.classify(curves, table)
    for name, own in frame.groupby("object_id"):
        assert own[TELL].is_monotonic_decreasing
        assert set(own["best_class_now"]) == {now.best_class[now.position(name)]}
    for row in frame.itertuples():
        one = table[table["object_id"] == row.object_id]
        changed = with_value(one, row.evidence, row.most_telling_state)
        then = classifier.classify(curves[curves["object_id"] == row.object_id], changed)
        assert then.best_class[0] == row.best_class_then
        # Separations and magnitudes are written with three and four digits.
        tolerance = 2e-3 if row.evidence in ("cat", "archive") else 2e-5
        assert then.probability.max() == pytest.approx(row.p_best_class_then, abs=tolerance)
    assert frame.loc[frame["evidence"] == "cat", "note"].str.contains("assumed: 0 unrelated").all()


def test_objects_do_not_depend_on_each_other_and_are_chosen(small):
    classifier = small[0]
    curves, table = few(small, ["o2", "o4", "o12"], latitude=np.nan)
    every = classifier.value_of_information(curves, table)
    one = classifier.value_of_information(curves, table, object_ids=["o4"])
    same = every[every["object_id"] == "o4"].reset_index(drop=True)
    pd.testing.assert_frame_equal(one, same, atol=1e-5)
    with pytest.raises(UnknownObjectError, match="'o99'"):
        classifier.value_of_information(curves, table, object_ids=["o4", "o99"])
    with pytest.raises(ValueError, match=r"found 'dog': 1\.0; known: cat"):
        classifier.value_of_information(curves, table, densities={"dog": 1.0})


def test_nothing_is_missing(small):
    classifier = small[0]
    curves, table = few(small, ["o2"], latitude=40.0, in_survey=True, host="spiral", archive=18.0)
    frame = classifier.value_of_information(curves, table)
    assert frame.empty
    assert TELL in frame


def test_a_crowded_field_tells_less(small):
    classifier = small[0]
    curves, table = few(small, ["o2", "o4"], **NO_MATCH)
    empty, crowded = (
        classifier.value_of_information(curves, table, densities={"cat": rho}).query("evidence == 'cat'")
        for rho in (0.0, 200.0)
    )
    assert (crowded[TELL].to_numpy() < 0.6 * empty[TELL].to_numpy()).all()
    assert crowded["note"].str.contains("200 unrelated").all()
    # Separations and "none found" together are everything that can be.
    context = classifier.fitted.context
    evidence = classifier.recipe.read_evidence(table, object_ids=["o2", "o4"])
    for rho in (0.0, 5.0, 200.0):
        states = context.state_log_likelihoods(evidence, "cat", density=rho)
        total = logsumexp(states.log_likelihood + states.log_weight[:, None, None], axis=0)
        np.testing.assert_allclose(total, context.log_likelihood(evidence), atol=0.01)


def test_the_prior_is_that_of_classify(small):
    classifier = small[0]
    names = [f"o{i}" for i in range(20)]
    curves, table = few(small, names, **NO_HOST)
    prior = Prior.from_mapping(
        {"Periodic": 0.9, "Walk": 0.1, "Fading": 0.0}, classifier.recipe.taxonomy, Prior.training(classifier)
    )
    frame = classifier.value_of_information(curves, table, prior=prior).query("evidence == 'host'")
    now = classifier.classify(curves, table, prior=prior)
    assert frame["best_class_now"].tolist() == now.best_class.tolist()
    assert "Fading" not in set(frame["best_class_then"])
    assert np.isfinite(frame[TELL]).all()


def test_several_alternatives_are_left_out_with_the_reason(small):
    classifier = small[0]
    curves, table = few(small, ["o2", "o4"], latitude=np.nan, alternative_probability=1.0)
    two = pd.concat([table, table.query("object_id == 'o4'").assign(archive=20.0)], ignore_index=True)
    two.loc[two["object_id"] == "o4", "alternative_probability"] = 0.5
    frame = (
        classifier.value_of_information(curves, two).query("evidence == 'latitude'").set_index("object_id")
    )
    assert np.isnan(frame.loc["o4", TELL])
    assert "several alternatives" in frame.loc["o4", "note"]
    alone = classifier.value_of_information(curves, table).query("evidence == 'latitude'")
    expected = alone.set_index("object_id").loc["o2", TELL]
    assert frame.loc["o2", TELL] == pytest.approx(expected, abs=1e-6)
