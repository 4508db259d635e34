"""Learned edges against simulated trees, pgmpy's searches and scores, and the promised rate of false ones."""

import tomllib
import warnings
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2

from bayesclass.classifier import Classifier
from bayesclass.network import BayesianNetwork, JointSpec, NetworkError, NetworkSpec
from bayesclass.recipe import Recipe, RecipeError
from bayesclass.structure_heldout import HeldOutLoss
from bayesclass.structure_learning import learn_edges
from bayesclass.structure_scores import family_gain, pair_test
from bayesclass.structure_search import hill_climb, spanning_tree
from context.evidence import EvidenceSpec, EvidenceTable

CLASSES = ("A", "B")
SPEC = NetworkSpec(class_states=CLASSES)
STATES = ("p", "q", "r", "s")
TREE = {frozenset(edge) for edge in (("a", "b"), ("a", "c"), ("c", "d"))}


def categorical(columns, missing=0.0, seed=0, n_states=3):
    """Evidence of categories from integers by name, cells removed at random."""
    rng = np.random.default_rng([seed, 9])
    frame = pd.DataFrame({"object_id": [f"o{i}" for i in range(len(next(iter(columns.values()))))]})
    specs = []
    for name, values in columns.items():
        text = np.array(STATES, dtype=object)[values]
        text[rng.random(len(text)) < missing] = None
        frame[name] = text
        specs.append(EvidenceSpec(name, "categorical", column=name, states=STATES[:n_states]))
    return EvidenceTable.from_frame(frame, specs)


def labels(y):
    return np.eye(2, dtype=bool)[y]


def copied(rng, parent, y, n_states=3):
    """The parent's state, moved by one in class B, and something else for one object in four."""
    other = rng.integers(0, n_states, len(y))
    return np.where(rng.random(len(y)) < 0.25, other, (parent + y) % n_states)


def known_tree(n=1500, seed=0):
    """Columns a -> b, a -> c -> d, and e, which depends on the class alone."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    a = np.where(rng.random(n) < 0.6, y, rng.integers(0, 3, n))
    c = copied(rng, a, y)
    e = np.where(rng.random(n) < 0.6, 2 * y, rng.integers(0, 3, n))
    return {"e": e, "d": copied(rng, c, y), "c": c, "b": copied(rng, a, y), "a": a}, y


def skeleton(edges):
    return {frozenset(edge) for edge in edges}


@pytest.mark.parametrize("method", ["tree", "hill-climb"])
def test_a_known_tree_is_found_with_missing_cells(method):
    columns, y = known_tree()
    found = learn_edges(categorical(columns, missing=0.2), labels(y), SPEC, method=method, folds=3)
    assert skeleton(found.edges) == TREE
    network = found.spec()
    assert network.edges == found.learned
    network.parents(tuple(columns))
    table = found.candidates
    assert len(table) == 10
    kept = table[table["kept"]]
    assert skeleton(zip(kept["parent"], kept["child"], strict=True)) == TREE
    assert (kept["gain"] > kept["gain_error"]).all()
    assert (kept["p_adjusted"] <= 0.01).all()
    with_e = (table["first"] == "e") | (table["second"] == "e")
    assert table.loc[with_e, "reason"].str.startswith("independent").all()
    # Cells are missing independently, so both are known for 0.64 of the objects.
    np.testing.assert_allclose(table["n_objects"] / len(y), 0.64, atol=0.04)


def test_learned_edges_classify_new_objects_better():
    columns, y = known_tree()
    evidence = categorical(columns)
    found = learn_edges(evidence, labels(y), SPEC, folds=3)
    new, truth = known_tree(seed=1)
    loss = {}
    for name, spec in (("naive", SPEC), ("learned", found.spec())):
        logs = BayesianNetwork.fit(spec, evidence, labels(y), n_draws=0).log_likelihood(categorical(new))
        loss[name] = np.logaddexp(0.0, logs[np.arange(len(y)), 1 - truth] - logs[np.arange(len(y)), truth])
    gain = loss["naive"] - loss["learned"]
    assert gain.mean() > 5.0 * gain.std() / np.sqrt(len(y))
    # What cross-validation promised is what new objects get.
    promised = found.candidates["gain"].sum()
    assert promised == pytest.approx(gain.mean(), abs=6.0 * gain.std() / np.sqrt(len(y)))


def test_the_test_of_independence_keeps_its_rate_in_thin_tables():
    """60 objects of 3 unequal classes in 8 x 8 states: most cells are empty."""
    rng = np.random.default_rng(5)
    n_pairs, level = 400, 0.05
    p, asymptotic = np.zeros(n_pairs), np.zeros(n_pairs)
    for i in range(n_pairs):
        y = rng.choice(3, 60, p=[0.6, 0.3, 0.1])
        x, z = rng.integers(0, 8, 60), np.minimum(rng.geometric(0.3, 60), 8) - 1
        found = pair_test(x, z, y, rng)
        p[i] = found.p_value
        asymptotic[i] = chi2.sf(2 * found.n_objects * found.information, 3 * 49)
    low, high = binom.ppf([0.0005, 0.9995], n_pairs, level)
    assert low <= (p < level).sum() <= high
    # The chi-squared distribution with all degrees of freedom is far off here, in whichever direction.
    assert not low <= (asymptotic < level).sum() <= high


def test_no_edge_among_independent_columns():
    """The stated rate: any pair passes in a share alpha of data sets; here 40 of them at alpha = 0.2."""
    rng = np.random.default_rng(2)
    alpha, n_sets, passed = 0.2, 40, 0
    for i in range(n_sets):
        y = rng.integers(0, 2, 150)
        columns = {name: (rng.integers(0, 3, 150) * (1 + y)) % 3 for name in "abcd"}
        states = [categorical(columns, missing=0.2, seed=i).columns[name] for name in columns]
        codes = [np.where(c.measured, np.nan_to_num(c.value), -1).astype(int) for c in states]
        tests = [pair_test(*pair, y, rng).p_value for pair in combinations(codes, 2)]
        adjusted = np.sort(tests) * len(tests) / np.arange(1, len(tests) + 1)
        passed += adjusted.min() <= alpha
    assert passed <= binom.ppf(0.999, n_sets, alpha)
    for seed in range(4):
        y = np.random.default_rng(seed).integers(0, 2, 200)
        columns = {name: np.random.default_rng([seed, i]).integers(0, 3, 200) for i, name in enumerate("abc")}
        for method in ("tree", "hill-climb"):
            assert not learn_edges(categorical(columns), labels(y), SPEC, method=method, folds=2).learned


def test_information_and_tree_are_those_of_pgmpy():
    rng = np.random.default_rng(3)
    with warnings.catch_warnings():
        # pgmpy warns of its own deprecated modules while it is imported.
        warnings.simplefilter("ignore")
        from pgmpy.estimators import TreeSearch
    for _ in range(10):
        n, names = 400, ["a", "b", "c", "d", "e"]
        y = rng.integers(0, 3, n)
        columns = {"a": rng.integers(0, 4, n)}
        for name in names[1:]:
            parent = columns[str(rng.choice(list(columns)))]
            columns[name] = np.where(rng.random(n) < 0.5, (parent + y) % 4, rng.integers(0, 4, n))
        data = pd.DataFrame(columns).assign(y=y)
        expected = TreeSearch._get_conditional_weights(data, "y", n_jobs=1, show_progress=False)
        weights = {}
        for i, j in combinations(range(5), 2):
            pair = (names[i], names[j])
            weights[pair] = pair_test(columns[pair[0]], columns[pair[1]], y).information
            assert weights[pair] == pytest.approx(expected[i, j], abs=1e-12)
        found = spanning_tree(names, weights)
        children = {child for _, child in found}
        (root,) = set(names) - children
        tree = TreeSearch(data, root_node=root, n_jobs=1).estimate("tan", "y", show_progress=False)
        assert set(found) == {edge for edge in tree.edges if edge[0] != "y"}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_a_tree_joins_what_is_required_without_cycles(seed):
    import networkx as nx

    rng = np.random.default_rng(seed)
    names = [f"n{i}" for i in range(6)]
    order = rng.permutation(names)
    pairs = list(combinations(order, 2))
    required = [pairs[i] for i in rng.choice(len(pairs), rng.integers(0, 5), replace=False)]
    joined = {frozenset(edge) for edge in required}
    weights = {pair: float(rng.random()) for pair in pairs if frozenset(pair) not in joined}
    weights = {pair: w for pair, w in weights.items() if rng.random() < 0.8}
    found = spanning_tree(names, weights, required)
    graph = nx.DiGraph([*required, *found])
    graph.add_nodes_from(names)
    assert nx.is_directed_acyclic_graph(graph)
    assert len({child for _, child in found}) == len(found)
    # Greatest sum of weights: the spanning forest where required edges cost nothing.
    whole = nx.Graph()
    whole.add_nodes_from(names)
    whole.add_weighted_edges_from((a, b, w) for (a, b), w in weights.items())
    whole.add_weighted_edges_from((a, b, 100.0) for a, b in required)
    best = sum(d["weight"] for _, _, d in nx.maximum_spanning_edges(whole) if d["weight"] < 100.0)
    assert sum(weights.get(e, weights.get(e[::-1])) for e in found) == pytest.approx(best)


def test_the_local_score_is_pgmpys_criterion_of_each_class():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.structure_score import AIC
    columns, y = known_tree(n=300)
    expected = 0.0
    for k in range(2):
        rows = pd.DataFrame(columns)[y == k]
        score = AIC(rows, state_names={name: [0, 1, 2] for name in columns})
        expected += score.local_score("d", ("a", "c")) - score.local_score("d", ())
    found = family_gain(columns["d"], [columns["a"], columns["c"]], y, (3, 3, 3), 2)
    assert found == pytest.approx(expected, abs=1e-9)
    # Objects without the parent take no part.
    hidden = np.where(np.arange(300) < 100, -1, columns["a"])
    rest = {name: values[100:] for name, values in columns.items()}
    assert family_gain(columns["d"], [hidden], y, (3, 3), 2) == pytest.approx(
        family_gain(rest["d"], [rest["a"]], y[100:], (3, 3), 2), abs=1e-9
    )
    assert family_gain(columns["d"], [], y, (3,), 2) == 0.0


def test_hill_climbing_finds_two_parents_and_keeps_its_limits():
    rng = np.random.default_rng(4)
    n = 800
    y, a, b, noise = (rng.integers(0, 2, n) for _ in range(4))
    c = np.where(rng.random(n) < 0.9, a ^ b ^ y, noise)
    columns = {"a": a, "b": b, "c": c}

    def gain(child, parents):
        return family_gain(columns[child], [columns[p] for p in parents], y, (2,) * (1 + len(parents)), 2)

    assert gain("c", ("a", "b")) > 100.0
    # No single parent says anything, so the climb starts only from an edge that is there.
    assert hill_climb("abc", gain) == ()
    assert hill_climb("abc", gain, required=[("a", "c")]) == (("b", "c"),)
    assert hill_climb("abc", gain, required=[("a", "c")], max_parents=1) == ()
    assert hill_climb("abc", gain, required=[("a", "c")], forbidden=[("b", "c")]) == ()
    assert hill_climb("a", gain) == ()


@pytest.mark.parametrize("method", ["tree", "hill-climb"])
def test_required_and_forbidden_edges_and_blocks(method):
    columns, y = known_tree(n=600)
    evidence = categorical(columns)
    spec = replace(SPEC, edges=(("e", "b"),))
    options = {"method": method, "folds": 3, "required": [("d", "e")], "forbidden": [("a", "c"), ("d", "c")]}
    found = learn_edges(evidence, labels(y), spec, **options)
    again = learn_edges(evidence, labels(y), spec, **options)
    assert found.edges[:2] == (("e", "b"), ("d", "e"))
    assert found.learned
    assert found.learned == again.learned
    assert not skeleton(found.edges) & {frozenset("ac"), frozenset("cd")}
    table = found.candidates.set_index(["first", "second"])
    assert table.loc[("e", "b"), "reason"] == table.loc[("e", "d"), "reason"] == "required"
    assert table.loc[("c", "a"), "reason"] == table.loc[("d", "c"), "reason"] == "forbidden"
    assert np.isnan(table.loc[("c", "a"), "p_value"])
    BayesianNetwork.fit(found.spec(), evidence, labels(y), n_draws=0)


def measured(n=800, seed=0):
    """Magnitude, size and colour of hosts: the size follows the magnitude; the classes differ in both."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    mag = rng.normal(18.0 + 1.5 * y, 1.0)
    frame = pd.DataFrame(
        {
            "object_id": [f"o{i}" for i in range(n)],
            "mag": mag,
            "size": rng.normal(mag - 18.0, 0.3),
            "colour": rng.normal(0.5 * y, 1.0),
        }
    )
    frame.loc[rng.random(n) < 0.2, "size"] = np.nan
    names = ("mag", "size", "colour")
    specs = [EvidenceSpec(name, "continuous", column=name, unit="mag") for name in names]
    return EvidenceTable.from_frame(frame, specs), y


def test_measured_columns_and_joint_densities():
    evidence, y = measured()
    found = learn_edges(evidence, labels(y), SPEC, folds=3)
    assert skeleton(found.edges) == {frozenset(("mag", "size"))}
    block = replace(SPEC, joint=(JointSpec("host", ("mag", "size"), components=2),))
    found = learn_edges(evidence, labels(y), block, folds=3)
    assert found.edges == ()
    assert found.candidates.empty
    assert found.spec() == block


def test_the_held_out_loss_is_that_of_whole_networks():
    evidence, y = measured(n=240)
    spec = replace(SPEC, joint=(JointSpec("host", ("mag", "colour"), components=2),))
    for network, edges in ((SPEC, (("mag", "size"),)), (spec, ())):
        held = HeldOutLoss(evidence, y, network, groups=np.arange(len(y)), folds=3, seed=1)
        expected = np.zeros(len(y))
        for k in range(3):
            train, test = np.flatnonzero(held.fold != k), np.flatnonzero(held.fold == k)
            whole = replace(network, edges=edges)
            fitted = BayesianNetwork.fit(whole, evidence.take(train), labels(y[train]), n_draws=0, seed=1)
            logs = fitted.log_likelihood(evidence.take(test))
            logs = logs + np.log((np.bincount(y[train], minlength=2) + 0.5) / (len(train) + 1.0))
            chosen = logs[np.arange(len(test)), y[test]]
            expected[test] = np.logaddexp(logs[:, 0], logs[:, 1]) - chosen
        np.testing.assert_allclose(held.losses(edges), expected, rtol=1e-4, atol=1e-5)


def test_partial_labels_are_left_out_and_groups_share_a_fold():
    columns, y = known_tree(n=300)
    allowed = labels(y)
    allowed[:50] = True
    found = learn_edges(categorical(columns), allowed, SPEC, folds=2)
    assert (found.n_objects, found.n_partial) == (250, 50)
    assert found.candidates["n_objects"].eq(250).all()
    # Pairs of copies: the fold of an object is that of its copy.
    pairs = np.repeat(np.arange(150), 2)
    held = HeldOutLoss(categorical(columns), y, SPEC, groups=pairs, folds=2)
    assert (held.fold[::2] == held.fold[1::2]).all()


def test_tables_that_would_be_too_large_are_not_learned():
    """Three parents of 8 bins and the class are 1024 configurations; a fourth would make 8192."""
    n = 800
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    base = rng.normal(size=n)
    names = ["x3", "x0", "x1", "x2", "x4"]
    frame = pd.DataFrame({name: base + 0.3 * rng.normal(size=n) for name in names})
    frame["object_id"] = [f"o{i}" for i in range(n)]
    specs = [EvidenceSpec(name, "continuous", column=name) for name in names]
    evidence = EvidenceTable.from_frame(frame, specs)
    required = [("x0", "x4"), ("x1", "x4"), ("x2", "x4")]
    forbidden = list(combinations(names[:4], 2))
    found = learn_edges(evidence, labels(y), SPEC, required=required, forbidden=forbidden, folds=2)
    assert found.learned == ()
    table = found.candidates.set_index(["first", "second"])
    assert table.loc[("x3", "x4"), "reason"] == "its table would be too large"
    assert table.loc[("x3", "x4"), "p_adjusted"] < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "chow-liu"}, "one of tree, hill-climb, found 'chow-liu'"),
        ({"alpha": 0.0}, "alpha must lie between 0 and 1"),
        ({"required": [("a", "x")]}, "known nodes, found 'x'"),
        ({"required": [("a", "b"), ("b", "a")]}, "acyclic"),
        ({"forbidden": [("a", "x")]}, "two different evidence columns"),
        ({"forbidden": [("a", "a")]}, "two different evidence columns"),
        ({"required": [("a", "b")], "forbidden": [("b", "a")]}, "required and forbidden"),
        ({"folds": 1}, "two or more folds"),
        ({"folds": 40}, "found 40 folds and 60 objects"),
    ],
)
def test_what_is_not_possible_is_refused(options, message):
    columns, y = known_tree(n=60)
    with pytest.raises(NetworkError, match=message):
        learn_edges(categorical(columns), labels(y), SPEC, **options)


RECIPE = """
schema = 1
name = "hosts"
[classes]
label = "label"
leaves = ["A", "B"]
[light_curves]
quantity = "mag"
photometry = "total"
channels = ["S/g"]
[[evidence]]
name = "mag"
column = "mag"
kind = "continuous"
unit = "mag"
[[evidence]]
name = "size"
column = "size"
kind = "continuous"
unit = "mag"
[[evidence]]
name = "colour"
column = "colour"
kind = "continuous"
unit = "mag"
[network]
learn = "tree"
[fit]
folds = 2
draws = 2
"""


def test_a_recipe_may_ask_for_learning(tmp_path):
    evidence, y = measured()
    objects = evidence.to_frame()[["object_id", "mag", "size", "colour"]].assign(
        label=np.array(["A", "B"])[y]
    )
    recipe = Recipe.from_dict(tomllib.loads(RECIPE))
    assert recipe.network.learn == "tree"
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    classifier = Classifier(recipe).fit(None, objects)
    (edge,) = classifier.summary["learned_edges"]
    assert set(edge.split(" -> ")) == {"mag", "size"}
    classifier.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    network = loaded.fitted.context.network
    assert network.spec.edges[-1] == tuple(edge.split(" -> "))
    np.testing.assert_array_equal(
        loaded.classify(None, objects).probability, classifier.classify(None, objects).probability
    )
    closed = tomllib.loads(RECIPE)
    closed["network"]["forbidden"] = [["size", "mag"]]
    closed = Recipe.from_dict(closed)
    assert Recipe.from_dict(closed.to_dict()) == closed
    assert Classifier(closed).fit(None, objects).summary["learned_edges"] == []


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"learn": "trees"}, "network.learn must be one of tree, hill-climb .did you mean tree"),
        ({"forbidden": [["mag", "size"]]}, "network.forbidden needs learn"),
        ({"learn": "tree", "forbidden": [["mag"]]}, "must be a list of pairs of evidence"),
        ({"learn": "tree", "forbidden": 3}, "must be a list of pairs of evidence, found 3"),
        ({"learn": "tree", "forbidden": [["mag", "mag"]]}, "must pair different evidence"),
        ({"learn": "tree", "forbidden": [["mag", "class"]]}, "must be among mag, size, colour"),
        (
            {"learn": "tree", "forbidden": [["mag", "size"]], "edges": [["size", "mag"]]},
            "network.forbidden contradicts the edge",
        ),
    ],
)
def test_recipes_that_make_no_sense_are_refused(network, message):
    data = tomllib.loads(RECIPE) | {"network": network}
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict(data)
