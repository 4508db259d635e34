"""The fitted network against direct sums, pgmpy and known truth."""

import itertools
import json
import warnings
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from bayesclass.network import BayesianNetwork, JointSpec, NetworkError, NetworkSpec
from context.evidence import Condition, EvidenceSpec, EvidenceTable

CLASSES = ("SN", "CV", "AGN")
SPECS = (
    EvidenceSpec("host", "categorical", column="host", states=("spiral, barred", "elliptical"),
                 covered=Condition("in_field", True)),
    EvidenceSpec("mag", "continuous", column="mag", unit="mag"),
    EvidenceSpec("separation", "continuous", column="sep", error="sep_err",
                 covered=Condition("in_field", True)),
    EvidenceSpec("n_stars", "count", column="n_stars"),
    EvidenceSpec("angle", "angle", column="angle", unit="deg"),
)  # fmt: skip
EDGES = (("mag", "separation"), ("host", "mag"), ("n_stars", "angle"))
SPEC = NetworkSpec(class_states=CLASSES, edges=EDGES, no_class_edge=("n_stars",))


def sample(n, seed=0, missing=0.3):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.6, 0.25, 0.15])
    host = np.where(rng.random(n) < np.array([0.7, 0.5, 0.2])[y], "spiral, barred", "elliptical").astype(
        object
    )
    mag = rng.normal(np.array([18.0, 19.5, 17.0])[y] + (host == "elliptical"), 1.0)
    separation = rng.normal(0.3 * (mag - 18.0) + np.array([0.0, 1.0, 2.0])[y], 0.7)
    n_stars = rng.poisson(3.0, n).astype(float)
    angle = np.mod(rng.normal(np.array([0.0, 120.0, 240.0])[y] + 5 * n_stars, 40.0), 360.0)
    frame = pd.DataFrame(
        {
            "object_id": [f"o{i}" for i in range(n)],
            "host": host,
            "mag": mag,
            "sep": separation,
            "sep_err": np.where(rng.random(n) < 0.5, 0.05, 0.3),
            "n_stars": n_stars,
            "angle": angle,
            "in_field": rng.random(n) < 0.8,
        }
    )
    for name in ("host", "mag", "sep", "n_stars", "angle"):
        frame.loc[rng.random(n) < missing, name] = None if name == "host" else np.nan
    return frame, y


def table(frame, specs=SPECS):
    return EvidenceTable.from_frame(frame, specs)


def labels(y):
    return np.eye(3, dtype=bool)[y]


@pytest.fixture(scope="module")
def fitted():
    frame, y = sample(800)
    return BayesianNetwork.fit(SPEC, table(frame), labels(y), n_draws=32)


@pytest.fixture(scope="module")
def tested():
    return table(sample(60, seed=1)[0])


def direct_log_likelihood(network, evidence):
    """Sum the product of tables and densities over all states of what is unknown, object by object."""
    names = list(network.nodes)
    codes = {name: network.nodes[name].encode(evidence.columns[name]) for name in names}
    result = np.zeros((evidence.n_objects, 3))
    for i in range(evidence.n_objects):
        choices = [
            range(network.nodes[n].n_states) if codes[n].state[i] < 0 else [codes[n].state[i]] for n in names
        ]
        for c in range(3):
            total = 0.0
            for states in itertools.product(*choices):
                known = {"class": c, **dict(zip(names, states, strict=True))}
                term = 1.0
                for name in names:
                    node, own = network.nodes[name], network.parameters[name]
                    where = tuple(known[p] for p in network.parents[name])
                    p = np.exp(own.log_cpd[(known[name], *where)])
                    if codes[name].cell[i] >= 0:
                        cells = np.exp(own.log_cells[(slice(None), *where)])
                        measured = 1.0 - (np.exp(own.log_cpd[(-1, *where)]) if node.has_none else 0.0)
                        x, s = codes[name].value[i], codes[name].error[i]
                        edges, width = node.grid.edges, node.grid.width
                        p = measured * cells[codes[name].cell[i]] / width
                        if s > 0:
                            p = measured * (np.diff(norm.cdf(edges, x, s)) / width) @ cells
                    term *= p
                total += term
            result[i, c] = np.log(total)
    return result


def test_likelihood_is_the_direct_sum(fitted, tested):
    few = tested.take(np.arange(12))
    with jax.enable_x64(True):
        found = fitted.log_likelihood(few)
    np.testing.assert_allclose(found, direct_log_likelihood(fitted, few), atol=1e-9)
    # float32: log-likelihoods of some -20, each of a few roundings of 1.2e-7 of that.
    np.testing.assert_allclose(fitted.log_likelihood(few), found, atol=5e-5)


def test_contributions_sum_to_the_likelihood(fitted, tested):
    parts = fitted.contributions(tested)
    assert list(parts) == list(fitted.nodes)
    np.testing.assert_allclose(sum(parts.values()), fitted.log_likelihood(tested), atol=1e-5)
    for name, part in parts.items():
        unknown = fitted.nodes[name].encode(tested.columns[name]).state < 0
        assert unknown.any()
        np.testing.assert_array_equal(part[unknown], 0.0)


def test_order_of_objects_changes_nothing(fitted, tested):
    order = np.random.default_rng(2).permutation(tested.n_objects)
    np.testing.assert_allclose(
        fitted.log_likelihood(tested.take(order)), fitted.log_likelihood(tested)[order], rtol=0, atol=1e-5
    )


def test_nothing_known_is_zero(fitted, tested):
    nothing = tested.without(list(tested.columns))
    np.testing.assert_array_equal(fitted.log_likelihood(nothing), 0.0)
    assert all((part == 0).all() for part in fitted.contributions(nothing).values())
    np.testing.assert_array_equal(fitted.log_likelihood_draws(nothing), 0.0)


def test_network_without_evidence():
    frame, y = sample(20)
    empty = table(frame, ())
    network = BayesianNetwork.fit(NetworkSpec(class_states=CLASSES), empty, labels(y), n_draws=3)
    np.testing.assert_array_equal(network.log_likelihood(empty), np.zeros((20, 3)))
    assert network.contributions(empty) == {}
    assert network.log_likelihood_draws(empty).shape == (3, 20, 3)
    assert network.to_pgmpy().check_model()
    again = BayesianNetwork.from_arrays(*network.to_arrays())
    np.testing.assert_array_equal(again.log_likelihood(empty), 0.0)


@pytest.mark.parametrize("column", ["mag", "angle"])
def test_densities_integrate_to_one(column):
    frame, y = sample(400)
    specs = [spec for spec in SPECS if spec.name == column]
    network = BayesianNetwork.fit(
        NetworkSpec(class_states=CLASSES), table(frame, specs), labels(y), n_draws=2
    )
    edges = network.nodes[column].grid.edges
    x = np.linspace(edges[0], edges[-1], 9601)[:-1] + 0.5 * (edges[-1] - edges[0]) / 9600
    grid = table(pd.DataFrame({"object_id": np.arange(len(x)), column: x}), specs)
    step = x[1] - x[0]
    np.testing.assert_allclose(np.exp(network.log_likelihood(grid)).sum(axis=0) * step, 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.exp(network.log_likelihood_draws(grid)).sum(axis=1) * step, 1.0, rtol=1e-3)


def test_bins_are_the_integral_of_the_density(fitted):
    for name, node in fitted.nodes.items():
        own = fitted.parameters[name]
        np.testing.assert_allclose(np.exp(own.log_cpd).sum(axis=0), 1.0)
        if node.grid is None:
            continue
        bins = np.exp(own.log_cpd[: node.n_measured_states])
        np.testing.assert_allclose(node.bin_mass(np.exp(own.log_cells)), bins / bins.sum(axis=0))


def test_learns_what_was_simulated():
    """Against the posterior under the densities that made the sample (separation's error left out)."""
    frame, y = sample(4000, missing=0.0)
    new, truth = sample(2000, seed=9, missing=0.0)
    specs = SPECS[1:2]
    network = BayesianNetwork.fit(
        NetworkSpec(class_states=CLASSES), table(frame, specs), labels(y), n_draws=0
    )
    log_joint = network.log_likelihood(table(new, specs)) + np.log(network.class_frequency)
    mag = new["mag"].to_numpy()[:, None]
    spiral = np.array([0.7, 0.5, 0.2])
    mean = np.array([18.0, 19.5, 17.0])
    exact = spiral * norm.pdf(mag, mean, 1.0) + (1 - spiral) * norm.pdf(mag, mean + 1.0, 1.0)
    exact = np.log(exact * [0.6, 0.25, 0.15])

    def log_loss(rows):
        return -(rows - np.logaddexp.reduce(rows, axis=1)[:, None])[np.arange(len(truth)), truth].mean()

    assert log_loss(log_joint) < log_loss(exact) + 0.01


def test_draws_of_tables_surround_the_fit(fitted, tested):
    assert len(fitted.draws) == 32
    for name, node in fitted.nodes.items():
        if node.grid is not None:
            continue
        drawn = np.exp([draw[name].log_cpd for draw in fitted.draws])
        assert drawn.dtype == np.float32
        error = drawn.std(axis=0) / np.sqrt(32)
        # The mean of the tables is drawn as well: the slack.
        gap = np.abs(drawn.mean(axis=0) - np.exp(fitted.parameters[name].log_cpd))
        assert (gap < 5 * error + 0.03).all()
    assert fitted.log_likelihood_draws(tested).shape == (32, 60, 3)


def test_draws_of_densities_surround_the_truth():
    """Bins of mag given class and host: as far from the truth as the draws scatter, which is not much."""
    z, scatter = [], []
    for seed in range(4):
        frame, y = sample(800, seed=20 + seed)
        specs = SPECS[:2]
        spec = NetworkSpec(class_states=CLASSES, edges=(("host", "mag"),))
        network = BayesianNetwork.fit(spec, table(frame, specs), labels(y), n_draws=24, seed=seed)
        node = network.nodes["mag"]
        assert network.parents["mag"] == ("class", "host")
        mean = np.array([18.0, 19.5, 17.0])[:, None] + np.array([0.0, 1.0])
        edges = np.concatenate([[-np.inf], node.bin_edges, [np.inf]])
        truth = np.diff(norm.cdf(edges[:, None, None], mean, 1.0), axis=0)
        drawn = np.exp(np.array([draw["mag"].log_cpd for draw in network.draws], dtype=float))[..., :2]
        sigma = drawn.std(axis=0)
        enough = truth > 0.05
        z.append(((drawn.mean(axis=0) - truth) / sigma)[enough])
        # Relative to a binomial's with the objects of a class and host, some 800 * .7**2 * share.
        objects = 390 * np.array([0.6, 0.25, 0.15])[:, None] * np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])
        scatter.append((sigma / np.sqrt(truth * (1 - truth) / objects))[enough])
    z, scatter = np.concatenate(z), np.concatenate(scatter)
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.5
    assert abs(np.mean(z)) < 0.4
    assert 0.4 < np.mean(scatter) < 1.2


def test_draws_are_repeatable_and_narrow_with_more_objects(tested):
    """Sixteen times the objects: tables four times narrower, densities 16^.4 = 3 times."""
    spread = []
    for n in (200, 3200):
        frame, y = sample(n)
        specs = SPECS[:2]
        spec = NetworkSpec(class_states=CLASSES)
        network = BayesianNetwork.fit(spec, table(frame, specs), labels(y), n_draws=16, seed=4)
        spread.append(network.log_likelihood_draws(tested).std(axis=0).mean())
    assert spread[1] < 0.6 * spread[0]
    again = network.draw(np.random.default_rng(4), 16)
    np.testing.assert_array_equal(again[3]["mag"].log_cells, network.draws[3]["mag"].log_cells)


def test_round_trip_without_pickle(fitted, tested, tmp_path):
    meta, arrays = fitted.to_arrays()
    np.savez(tmp_path / "network.npz", **arrays)
    with np.load(tmp_path / "network.npz", allow_pickle=False) as stored:
        again = BayesianNetwork.from_arrays(json.loads(json.dumps(meta)), dict(stored))
    np.testing.assert_array_equal(again.log_likelihood(tested), fitted.log_likelihood(tested))
    np.testing.assert_array_equal(again.log_likelihood_draws(tested), fitted.log_likelihood_draws(tested))
    assert again.summary == fitted.summary
    with pytest.raises(NetworkError, match="keeps only its 32 draws"):
        again.draw(np.random.default_rng(0), 2)


def test_pgmpy_gives_the_same_posterior(fitted):
    """For objects whose continuous evidence is missing, so that only tables speak."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.inference import VariableElimination

        frame, _ = sample(25, seed=5)
        evidence = table(frame).without(["mag", "separation", "angle"])
        model = fitted.to_pgmpy()
        engine = VariableElimination(model)
        with jax.enable_x64(True):
            joint = fitted.log_likelihood(evidence) + np.log(fitted.class_frequency)
        found = np.exp(joint - np.logaddexp.reduce(joint, axis=1)[:, None])
        for i in range(evidence.n_objects):
            hard = {}
            for name in ("host", "n_stars"):
                node = fitted.nodes[name]
                state = node.encode(evidence.columns[name]).state[i]
                if state >= 0:
                    hard[name] = node.states[state]
            answer = engine.query(["class"], evidence=hard or None, show_progress=False)
            expected = [answer.get_value(**{"class": c}) for c in CLASSES]
            np.testing.assert_allclose(found[i], expected, atol=1e-9)


def test_bif_is_read_back_by_pgmpy(fitted, tmp_path):
    fitted.to_bif(tmp_path / "network.bif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.readwrite import BIFReader

        model = BIFReader(str(tmp_path / "network.bif")).get_model()
        assert model.check_model()
    assert set(model.nodes) == {"class", *fitted.nodes}
    assert set(model.edges) == {(p, name) for name, group in fitted.parents.items() for p in group}
    for name, group in fitted.parents.items():
        cpd = model.get_cpds(name)
        axes = [cpd.variables.index(v) for v in (name, *group)]
        np.testing.assert_allclose(
            np.transpose(cpd.values, axes), np.exp(fitted.parameters[name].log_cpd), atol=1e-6
        )


def test_weights_count_objects():
    frame, y = sample(300)
    evidence = table(frame)
    twice = np.concatenate([np.arange(300), np.arange(100)])
    weights = np.ones(300)
    weights[:100] = 2.0
    # What is inferred of a missing category depends on bins, which follow rows, not weights.
    spec = replace(SPEC, missing_cells="available")
    repeated = BayesianNetwork.fit(spec, evidence.take(twice), labels(y[twice]), n_draws=0)
    weighted = BayesianNetwork.fit(spec, evidence, labels(y), weights, n_draws=0)
    np.testing.assert_allclose(weighted.class_frequency, repeated.class_frequency)
    np.testing.assert_allclose(weighted.parameters["host"].log_cpd, repeated.parameters["host"].log_cpd)


def test_partial_labels_are_shared_by_their_evidence():
    frame, y = sample(1500, missing=0.1)
    allowed = labels(y)
    partial = np.random.default_rng(100).random(1500) < 0.5
    allowed[partial & (y != 2), :2] = True
    evidence = table(frame)
    network = BayesianNetwork.fit(SPEC, evidence, allowed, n_draws=0)
    truth = np.bincount(y) / 1500
    assert network.summary["n_partial_labels"] == int((partial & (y != 2)).sum())
    np.testing.assert_allclose(network.summary["class_objects"][2], (y == 2).sum())
    # Equal shares would give .51 and .34.
    np.testing.assert_allclose(network.class_frequency, truth, atol=0.02)
    full = BayesianNetwork.fit(SPEC, evidence, labels(y), n_draws=0)
    new, _ = sample(200, seed=8)
    difference = network.log_likelihood(table(new)) - full.log_likelihood(table(new))
    difference -= difference.mean(axis=1, keepdims=True)
    assert np.abs(difference).mean() < 0.3


def test_a_class_without_objects_has_the_pooled_tables():
    frame, y = sample(200)
    specs = SPECS[1:2]
    evidence = table(frame, specs).take(y != 2)
    network = BayesianNetwork.fit(NetworkSpec(class_states=CLASSES), evidence, labels(y[y != 2]))
    found = network.log_likelihood(table(frame, specs))
    assert np.isfinite(found).all()
    assert np.isfinite(network.log_likelihood_draws(table(frame, specs))).all()


def test_values_off_the_grid_are_counted_and_finite(fitted):
    frame, _ = sample(3, seed=3, missing=0.0)
    frame["mag"] = [-500.0, 18.0, 500.0]
    frame["sep"] = [0.0, 1e6, -1e6]
    frame["sep_err"] = [0.0, 1e-3, 5.0]
    assert np.isfinite(fitted.log_likelihood(table(frame))).all()
    assert set(fitted.summary["beyond_grid"]) == {"mag", "separation", "angle"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": (("mag", "nothing"),)}, "'nothing' in the edge 'mag' -> 'nothing'; known: class, host"),
        ({"edges": (("mag", "host"), ("host", "mag"))}, "found the edge 'host' -> 'mag' closing a cycle"),
        ({"edges": (("mag", "mag"),)}, "'mag' -> 'mag' closing a cycle"),
        ({"no_class_edge": ("z",)}, "no_class_edge must list evidence, found 'z'"),
        ({"class_name": "mag"}, "No evidence may be named like the class"),
    ],
)
def test_networks_that_are_refused(changes, message):
    frame, y = sample(30)
    spec = replace(NetworkSpec(class_states=CLASSES), **changes)
    with pytest.raises(NetworkError, match=message):
        BayesianNetwork.fit(spec, table(frame), labels(y))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_states": ("a", "a")}, "one or more and different"),
        ({"class_states": CLASSES, "edges": (("mag", "class"),)}, "must have no parents"),
        ({"class_states": CLASSES, "edges": (("a", "b"), ("a", "b"))}, "found 'a' -> 'b' twice"),
        ({"class_states": CLASSES, "edges": (("class", "b"),), "no_class_edge": ("b",)}, "remove one"),
    ],
)
def test_specs_that_are_refused(arguments, message):
    with pytest.raises(NetworkError, match=message):
        NetworkSpec(**arguments)


def test_labels_and_tables_that_are_refused(fitted):
    frame, y = sample(30)
    evidence = table(frame)
    with pytest.raises(NetworkError, match=r"= \(30, 3\), found \(30,\)"):
        BayesianNetwork.fit(SPEC, evidence, y)
    unlabelled = labels(y)
    unlabelled[4] = False
    with pytest.raises(NetworkError, match=r"found 1 without \(the first is 'o4'"):
        BayesianNetwork.fit(SPEC, evidence, unlabelled)
    with pytest.raises(NetworkError, match="Weights must be"):
        BayesianNetwork.fit(SPEC, evidence, labels(y), -np.ones(30))
    with pytest.raises(NetworkError, match="found none; add some"):
        BayesianNetwork.fit(SPEC, evidence.take(np.zeros(0, int)), np.zeros((0, 3)))
    with pytest.raises(NetworkError, match="none named mag"):
        fitted.log_likelihood(table(frame, [spec for spec in SPECS if spec.name != "mag"]))


@pytest.mark.real_data
def test_host_evidence_beats_class_frequencies_on_real_supernovae(data_dir):
    """5-fold on ZTF supernovae: each further column helps or costs less than its noise."""
    objects = pd.read_csv(data_dir / "ztf_bts" / "objects.csv")
    leaves = {"Ia": "Ia Ia-91T Ia-91bg Ia-pec", "II": "II IIP II-pec"}
    leaves |= {"Ibc": "Ib Ic Ic-BL IIb Ibn Ib/c", "IIn": "IIn"}
    leaf = {f"SN {raw}": name for name, group in leaves.items() for raw in group.split()}
    leaf |= {"SLSN-I": "SLSN", "SLSN-II": "SLSN"}
    classes = (*leaves, "SLSN")
    objects = objects[objects["label"].isin(leaf)].reset_index(drop=True)
    y = np.array([classes.index(leaf[label]) for label in objects["label"]])
    specs = (
        EvidenceSpec("host_mag", "continuous", column="host_mag"),
        EvidenceSpec("host_g_r", "continuous", column="host_g_r", valid_range=(-2.0, 4.0)),
        EvidenceSpec("separation", "continuous", column="host_normalised_separation", transform="log10",
                     valid_range=(1e-3, 1e3)),
        EvidenceSpec("galactic_b", "continuous", column="galactic_b"),
    )  # fmt: skip
    fold = np.zeros(len(y), dtype=int)
    rng = np.random.default_rng(0)
    for c in range(5):
        own = rng.permutation(np.flatnonzero(y == c))
        fold[own] = np.arange(len(own)) % 5
    losses = []
    for n_columns in range(5):
        evidence = EvidenceTable.from_frame(objects, specs[:n_columns])
        edges = (("host_mag", "separation"),) if n_columns > 2 else ()
        spec = NetworkSpec(class_states=classes, edges=edges)
        joint = np.zeros((len(y), 5))
        for k in range(5):
            train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            allowed = np.eye(5, dtype=bool)[y[train]]
            network = BayesianNetwork.fit(spec, evidence.take(train), allowed, n_draws=0)
            joint[test] = network.log_likelihood(evidence.take(test)) + np.log(network.class_frequency)
        rows = joint - np.logaddexp.reduce(joint, axis=1)[:, None]
        losses.append(-rows[np.arange(len(y)), y])
    losses = np.array(losses)
    gain = losses[0] - losses[-1]
    assert gain.mean() > 0.02
    assert gain.mean() > 4 * gain.std() / np.sqrt(len(y))
    for before, after in itertools.pairwise(losses):
        cost = after - before
        assert cost.mean() < 2 * cost.std() / np.sqrt(len(y))


JOINT = NetworkSpec(
    class_states=CLASSES,
    edges=(("n_stars", "angle"),),
    no_class_edge=("n_stars",),
    joint=(JointSpec("light", ("mag", "separation"), 3),),
)


@pytest.fixture(scope="module")
def joint_network():
    frame, y = sample(600, seed=11)
    return BayesianNetwork.fit(JOINT, table(frame), np.eye(3, dtype=bool)[y], n_draws=4)


def test_a_joint_density_adds_to_the_other_columns(joint_network):
    # Given the class a block is independent of all else, so the parts of two networks add.
    frame, y = sample(600, seed=11)
    tested = table(sample(80, seed=12)[0])
    alone = BayesianNetwork.fit(
        replace(JOINT, joint=()),
        EvidenceTable.from_frame(frame, [s for s in SPECS if s.name not in ("mag", "separation")]),
        np.eye(3, dtype=bool)[y],
        n_draws=0,
    )
    block = joint_network.joint["light"]
    codes = {name: node.encode(tested.columns[name]) for name, node in block.nodes.items()}
    expected = alone.log_likelihood(tested) + block.log_likelihood(codes)
    np.testing.assert_allclose(joint_network.log_likelihood(tested), expected, atol=1e-5)


def test_contributions_of_a_joint_density_sum_to_the_likelihood(joint_network):
    tested = table(sample(80, seed=13)[0])
    parts = joint_network.contributions(tested)
    assert set(parts) == set(tested.columns)
    np.testing.assert_allclose(sum(parts.values()), joint_network.log_likelihood(tested), atol=1e-5)
    for name, column in tested.columns.items():
        assert (parts[name][column.state == 2] == 0.0).all()


def test_a_joint_density_is_stored_with_its_draws(joint_network):
    meta, arrays = joint_network.to_arrays()
    again = BayesianNetwork.from_arrays(json.loads(json.dumps(meta)), arrays)
    tested = table(sample(50, seed=14)[0])
    np.testing.assert_array_equal(again.log_likelihood(tested), joint_network.log_likelihood(tested))
    draws = again.log_likelihood_draws(tested)
    np.testing.assert_array_equal(draws, joint_network.log_likelihood_draws(tested))
    assert draws.shape == (4, 50, 3)
    assert draws.std(axis=0).max() > 0.01
    assert again.spec == joint_network.spec


def test_a_network_without_joint_density_is_stored_as_before(fitted):
    meta, arrays = fitted.to_arrays()
    assert "joint" not in meta
    assert not [name for name in arrays if name.startswith("joint/")]


def test_a_joint_density_learns_from_partial_labels(joint_network):
    frame, y = sample(600, seed=11)
    allowed = np.eye(3, dtype=bool)[y]
    allowed[::3] |= np.array([True, True, False])
    network = BayesianNetwork.fit(JOINT, table(frame), allowed, n_draws=0)
    tested, truth = sample(800, seed=15)
    losses = []
    for model in (network, joint_network):
        joint = model.log_likelihood(table(tested)) + np.log([0.6, 0.25, 0.15])
        joint -= np.logaddexp.reduce(joint, axis=1, keepdims=True)
        losses.append(-joint[np.arange(800), truth].mean())
    assert losses[0] < losses[1] + 0.05


def test_a_joint_density_has_no_discrete_form(joint_network):
    with pytest.raises(NetworkError, match="can't hold a joint density, found 'light'"):
        joint_network.to_pgmpy()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"joint": (JointSpec("light", ("mag", "host")),)}, "continuous columns, found 'host' of kind"),
        ({"joint": (JointSpec("light", ("mag", "gone")),)}, "must list evidence, found 'gone'"),
        ({"joint": (JointSpec("mag", ("mag", "separation")),)}, "must not be named like a column"),
    ],
)
def test_joint_densities_that_do_not_fit_the_evidence_are_refused(options, words):
    frame, y = sample(60)
    spec = NetworkSpec(class_states=CLASSES, **options)
    with pytest.raises(NetworkError, match=words):
        BayesianNetwork.fit(spec, table(frame), np.eye(3, dtype=bool)[y], n_draws=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"joint": (JointSpec("a", ("x", "y")), JointSpec("b", ("y", "z")))}, "found 'y' in 'a' and 'b'"),
        ({"joint": (JointSpec("a", ("x", "y")), JointSpec("a", ("v", "z")))}, "must have different names"),
        ({"joint": (JointSpec("a", ("x", "y")),), "edges": (("z", "x"),)}, "'z' -> 'x' at 'x' of 'a'"),
        ({"joint": (JointSpec("a", ("x", "y")),), "edges": (("x", "z"),)}, "'x' -> 'z' at 'x' of 'a'"),
        ({"joint": (JointSpec("a", ("x", "y")),), "no_class_edge": ("x",)}, "found 'x' of 'a' in no_class"),
    ],
)
def test_joint_densities_that_contradict_the_edges_are_refused(options, words):
    with pytest.raises(NetworkError, match=words):
        NetworkSpec(class_states=CLASSES, **options)


def test_a_joint_density_needs_two_columns_and_a_component():
    with pytest.raises(NetworkError, match="two or more different columns"):
        JointSpec("a", ("x",))
    with pytest.raises(NetworkError, match="one component or more, found 0"):
        JointSpec("a", ("x", "y"), 0)


def test_a_range_from_zero_to_one_says_that_a_column_is_a_probability(rng):
    specs = (
        EvidenceSpec("share", "continuous", column="share", valid_range=(0, 1)),
        EvidenceSpec("mag", "continuous", column="mag", unit="mag", valid_range=(0, 30)),
    )
    y = rng.integers(0, 3, 120)
    frame = pd.DataFrame({"object_id": np.arange(120).astype(str), "share": rng.random(120)})
    frame["mag"] = rng.normal(18.0 + y, 1.0)
    spec = NetworkSpec(class_states=CLASSES, joint=(JointSpec("block", ("share", "mag")),))
    network = BayesianNetwork.fit(spec, table(frame, specs), np.eye(3, dtype=bool)[y], n_draws=0)
    assert network.joint["block"].probability.tolist() == [True, False]
