"""Latent nodes against simulated truth, and the posterior of any node against pgmpy."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linear_sum_assignment

from bayesclass.network import BayesianNetwork, JointSpec, LatentSpec, NetworkError, NetworkSpec
from bayesclass.recipe import Recipe, RecipeError
from bayesclass.structure_learning import learn_edges
from context.evidence import EvidenceSpec, EvidenceTable

CLASSES = ("a", "b")
COLUMNS = ("e0", "e1", "e2", "e3")
STATES = ("s0", "s1", "s2", "s3")
SPECS = [
    *(EvidenceSpec(name, "categorical", column=name, states=STATES) for name in COLUMNS),
    EvidenceSpec("x", "continuous", column="x"),
]
CHILDREN = (*COLUMNS, "x")
SPEC = NetworkSpec(
    class_states=CLASSES,
    latent=(LatentSpec("population", 3),),
    edges=tuple(("population", name) for name in CHILDREN),
    no_class_edge=CHILDREN,
)
OF_POPULATION = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
TABLES = np.random.default_rng(4).dirichlet(np.full(4, 0.6), (4, 3))


def simulated(n, seed):
    """Three populations mixed differently in two classes; columns know the population alone."""
    rng = np.random.default_rng(seed)
    y = rng.choice(2, n, p=[0.6, 0.4])
    h = np.array([rng.choice(3, p=OF_POPULATION[c]) for c in y])
    states = np.array([[rng.choice(4, p=TABLES[j, k]) for j in range(4)] for k in h])
    x = rng.normal(2.0 * h, 1.0)
    missing = rng.random((n, 5)) < 0.2
    frame = pd.DataFrame({"object_id": np.arange(n).astype(str)})
    for j, name in enumerate(COLUMNS):
        frame[name] = np.where(missing[:, j], None, np.array(STATES, dtype=object)[states[:, j]])
    frame["x"] = np.where(missing[:, 4], np.nan, x)
    likelihood = np.prod(
        [np.where(missing[:, j, None], 1.0, TABLES[j][:, states[:, j]].T) for j in range(4)], axis=0
    )
    density = np.exp(-0.5 * (x[:, None] - 2.0 * np.arange(3)) ** 2) / np.sqrt(2 * np.pi)
    likelihood *= np.where(missing[:, 4, None], 1.0, density)
    return EvidenceTable.from_frame(frame, SPECS), y, h, likelihood


def labels(y):
    return np.eye(2, dtype=bool)[y]


@pytest.fixture(scope="module")
def fitted():
    evidence, y, _, _ = simulated(1500, 0)
    return BayesianNetwork.fit(SPEC, evidence, labels(y), n_draws=4)


@pytest.fixture(scope="module")
def tested():
    return simulated(2000, 1)


def test_populations_are_found_again(fitted, tested):
    evidence, y, h, likelihood = tested
    exact = np.log(likelihood @ OF_POPULATION.T)[np.arange(2000), y]
    found = fitted.log_likelihood(evidence)[np.arange(2000), y]
    # Some 50 free numbers from 1500 objects cost 50 / 2 / 1500 = .02 each, the kernels of x about as much.
    assert found.mean() > exact.mean() - 0.06
    without = BayesianNetwork.fit(
        NetworkSpec(class_states=CLASSES), *(lambda s: (s[0], labels(s[1])))(simulated(1500, 0)), n_draws=0
    )
    assert found.mean() > without.log_likelihood(evidence)[np.arange(2000), y].mean() + 0.3
    names, p = fitted.posterior(evidence, "population", class_log=np.log(np.where(labels(y), 1.0, 1e-300)))
    assert names == ("1", "2", "3")
    joint = likelihood * OF_POPULATION[y]
    truth = joint / joint.sum(axis=1, keepdims=True)
    # The states have no order, so each is paired with the population that it stands for.
    cost = [[np.abs(p[:, a] - truth[:, b]).mean() for b in range(3)] for a in range(3)]
    order = linear_sum_assignment(cost)[1]
    assert np.abs(p[:, np.argsort(order)] - truth).sum(axis=1).mean() / 2 < 0.08
    accuracy = (order[p.argmax(axis=1)] == h).mean()
    assert accuracy > (truth.argmax(axis=1) == h).mean() - 0.02
    table = np.exp(fitted.parameters["population"].log_cpd)[np.argsort(order)]
    np.testing.assert_allclose(table.T, OF_POPULATION, atol=0.08)


def test_likelihood_never_falls_and_starts_are_seeded(fitted):
    learning = fitted.summary["learning"]
    assert learning["ending"] == "converged"
    assert learning["path"][-1] > learning["path"][0] + 100
    evidence, y, _, _ = simulated(200, 5)
    discrete = replace(SPEC, edges=SPEC.edges[:4], no_class_edge=COLUMNS)
    evidence = evidence.without("x")
    columns = {name: evidence.columns[name] for name in COLUMNS}
    evidence = replace(evidence, columns=columns)
    one, again, other = (
        BayesianNetwork.fit(discrete, evidence, labels(y), n_draws=0, seed=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one.parameters["e0"].log_cpd, again.parameters["e0"].log_cpd)
    assert not np.array_equal(one.parameters["e0"].log_cpd, other.parameters["e0"].log_cpd)
    assert all(np.diff(one.summary["learning"]["path"]) > -1e-3)


def test_a_latent_node_is_no_evidence(fitted, tested):
    evidence = tested[0].take(np.arange(50))
    parts = fitted.contributions(evidence)
    assert list(parts) == list(CHILDREN)
    np.testing.assert_allclose(sum(parts.values()), fitted.log_likelihood(evidence), atol=1e-5)
    assert fitted.log_likelihood_draws(evidence).shape == (4, 50, 2)
    assert "population" not in fitted.summary["known"]
    nothing = evidence.without(list(CHILDREN))
    np.testing.assert_array_equal(fitted.log_likelihood(nothing), 0.0)
    # Of an object without evidence the class alone says which population it belongs to.
    _, p = fitted.posterior(nothing, "population", class_log=np.tile([0.0, -np.inf], (50, 1)))
    np.testing.assert_allclose(p[0], np.exp(fitted.parameters["population"].log_cpd[:, 0]), atol=1e-12)


def test_it_is_stored_and_read_back(fitted, tested, tmp_path):
    evidence = tested[0].take(np.arange(20))
    meta, arrays = fitted.to_arrays()
    np.savez(tmp_path / "network.npz", **arrays)
    with np.load(tmp_path / "network.npz", allow_pickle=False) as stored:
        again = BayesianNetwork.from_arrays(json.loads(json.dumps(meta)), dict(stored))
    assert again.spec == fitted.spec
    np.testing.assert_array_equal(again.log_likelihood(evidence), fitted.log_likelihood(evidence))
    np.testing.assert_array_equal(again.log_likelihood_draws(evidence), fitted.log_likelihood_draws(evidence))
    np.testing.assert_array_equal(
        again.posterior(evidence, "population")[1], fitted.posterior(evidence, "population")[1]
    )
    fitted.to_bif(tmp_path / "network.bif")
    assert "variable population" in (tmp_path / "network.bif").read_text()


@pytest.mark.parametrize("node", ["class", "population", "e1", "x"])
@pytest.mark.parametrize("hide_own", [False, True])
def test_the_posterior_of_any_node_is_that_of_pgmpy(fitted, tested, node, hide_own):
    evidence = tested[0].take(np.arange(15))
    light_curve = np.random.default_rng(2).normal(size=(15, 2))
    class_log = light_curve + np.log(fitted.class_frequency)
    names, found = fitted.posterior(evidence, node, class_log=class_log, hide_own=hide_own)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    codes = {name: fitted.nodes[name].encode(evidence.columns[name]) for name in CHILDREN}
    # The density of x within its bin is evidence of its parent, the population.
    within = np.exp(fitted.parameters["x"].log_density_in_bin(fitted.nodes["x"], codes["x"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.factors.discrete import TabularCPD
        from pgmpy.inference import VariableElimination

        model = fitted.to_pgmpy()
        assert model.latents == {"population"}
        engine = VariableElimination(model)
        for i in range(15):
            hidden = {node} if hide_own else set()
            hard = {
                name: fitted.nodes[name].states[codes[name].state[i]]
                for name in CHILDREN
                if codes[name].state[i] >= 0 and name not in hidden
            }
            if node in hard:
                np.testing.assert_array_equal(found[i], np.array(names) == hard[node])
                continue
            rows = [("class", CLASSES, np.exp(light_curve[i]))]
            if "x" in hard:
                rows.append(("population", ("1", "2", "3"), within[i]))
            virtual = [
                TabularCPD(name, len(states), (row / row.sum())[:, None], state_names={name: list(states)})
                for name, states, row in rows
            ]
            answer = engine.query([node], evidence=hard, virtual_evidence=virtual, show_progress=False)
            expected = [answer.get_value(**{node: state}) for state in names]
            np.testing.assert_allclose(found[i], expected, atol=1e-9)


def test_the_posterior_of_the_class_agrees_with_the_likelihood(fitted, tested):
    evidence = tested[0].take(np.arange(30))
    names, p = fitted.posterior(evidence, "class")
    assert names == CLASSES
    joint = fitted.log_likelihood(evidence) + np.log(fitted.class_frequency)
    np.testing.assert_allclose(np.log(p), joint - np.logaddexp.reduce(joint, axis=1)[:, None], atol=1e-4)


def test_a_joint_density_tells_of_the_class_and_so_of_other_nodes():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    frame = pd.DataFrame({"object_id": np.arange(200), "x": rng.normal(4.0 * y), "z": rng.normal(4.0 * y)})
    frame["e"] = np.where(rng.random(200) < 0.1 + 0.8 * y, "yes", "no")
    specs = [EvidenceSpec(name, "continuous", column=name) for name in "xz"]
    specs.append(EvidenceSpec("e", "categorical", column="e", states=("no", "yes")))
    evidence = EvidenceTable.from_frame(frame, specs)
    spec = NetworkSpec(class_states=CLASSES, joint=(JointSpec("block", ("x", "z"), 2),))
    network = BayesianNetwork.fit(spec, evidence, labels(y), n_draws=0)
    _, p = network.posterior(evidence, "e", hide_own=True)
    of_class = network.log_likelihood(evidence.without("e")) + np.log(network.class_frequency)
    of_class = np.exp(of_class - np.logaddexp.reduce(of_class, axis=1)[:, None])
    expected = of_class @ np.exp(network.parameters["e"].log_cpd).T
    np.testing.assert_allclose(p, expected, atol=1e-6)
    with pytest.raises(NetworkError, match=r"found 'x' \(a column of the joint density 'block'"):
        network.posterior(evidence, "x")


def test_questions_that_are_refused(fitted, tested):
    evidence = tested[0].take(np.arange(3))
    with pytest.raises(NetworkError, match="found 'mag'; known: class, population, e0"):
        fitted.posterior(evidence, "mag")
    with pytest.raises(NetworkError, match=r"= \(3, 2\), found \(2,\)"):
        fitted.posterior(evidence, "class", class_log=np.zeros(2))
    impossible = np.zeros((3, 2))
    impossible[1] = -np.inf
    with pytest.raises(NetworkError, match=r"found otherwise for 1 \(the first is '1'"):
        fitted.posterior(evidence, "class", class_log=impossible)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent": (LatentSpec("lone", 2),)}, "found none of 'lone'"),
        (
            {"joint": (JointSpec("population", ("x", "z")),), "edges": SPEC.edges[:4]},
            "found 'population' twice",
        ),
        ({"latent": SPEC.latent * 2}, "found 'population' twice"),
        ({"missing_cells": "guessed"}, "one of expected, available, found 'guessed'"),
    ],
)
def test_specs_that_are_refused(changes, message):
    with pytest.raises(NetworkError, match=message):
        replace(SPEC, **changes)


def test_latent_nodes_that_are_refused(tested):
    with pytest.raises(NetworkError, match="two or more different states"):
        LatentSpec("population", 1)
    with pytest.raises(NetworkError, match="two or more different states"):
        LatentSpec("population", ("a", "a"))
    evidence, y, _, _ = tested
    named = replace(SPEC, latent=(LatentSpec("e0", 2),), edges=(("e0", "e1"),), no_class_edge=())
    with pytest.raises(NetworkError, match="named like a column, found 'e0'"):
        BayesianNetwork.fit(named, evidence, labels(y))
    with pytest.raises(NetworkError, match="beside a latent node"):
        learn_edges(evidence, labels(y), SPEC)


RECIPE = {
    "schema": 1,
    "name": "r",
    "classes": {"label": "label", "leaves": ["a", "b"], "labels": {}},
    "light_curves": {"quantity": "mag", "photometry": "total", "channels": ["S/g"]},
    "evidence": [{"name": n, "kind": "continuous", "column": n} for n in ("x", "z")],
}


def recipe(**network):
    return Recipe.from_dict({**RECIPE, "network": network})


def test_a_recipe_declares_latent_nodes():
    edges = [["population", "x"], ["population", "z"]]
    latent = [{"name": "population", "states": 2}]
    found = recipe(edges=edges, latent=latent, no_class_edge=["x"], missing_cells="available")
    assert found.network.latent == (LatentSpec("population", ("1", "2")),)
    assert ("class", "population") in found.edges
    assert Recipe.from_dict(found.to_dict()) == found
    assert recipe().network.missing_cells == "expected"
    named = recipe(edges=edges, latent=[{"name": "population", "states": ["old", "young"]}])
    assert named.network.latent[0].states == ("old", "young")


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"latent": [{"name": "p", "states": 2}]}, "needs an edge from 'p'"),
        ({"latent": [{"name": "x", "states": 2}]}, "name must differ from the names of evidence"),
        ({"latent": [{"name": "p", "states": 1}], "edges": [["p", "x"]]}, "whole number of 2 or more"),
        ({"latent": [{"name": "p", "states": ["q"]}], "edges": [["p", "x"]]}, "two or more different names"),
        ({"latent": [{"name": "p", "states": 2}], "edges": [["p", "x"]], "learn": "tree"}, "write the edges"),
        ({"missing_cells": "zero"}, "one of expected, available"),
    ],
)
def test_recipes_that_are_refused(network, message):
    with pytest.raises(RecipeError, match=message):
        recipe(**network)
