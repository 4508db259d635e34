"""Expected counts against enumeration; expectation maximisation against known truth."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from bayesclass.expected_counts import ExpectedCounts, barren_nodes
from bayesclass.network import BayesianNetwork, NetworkSpec
from bayesclass.network_evaluate import network_structure
from bayesclass.network_fit import learn
from bayesclass.network_parameters import NodeParameters
from bayesclass.nodes import Encoded, EvidenceNode
from context.evidence import EvidenceSpec, EvidenceTable

CLASSES = ("a", "b", "c")


def random_network(rng):
    """Five nodes of random kinds and parents, among them a latent one and one with a density."""
    names = ("h", "u", "v", "w", "x")
    density = BayesianNetwork.fit(
        NetworkSpec(class_states=CLASSES),
        EvidenceTable.from_frame(
            pd.DataFrame({"object_id": np.arange(80), "x": rng.normal(size=80)}),
            [EvidenceSpec("x", "continuous", column="x")],
        ),
        np.eye(3, dtype=bool)[rng.integers(0, 3, 80)],
        n_draws=0,
    ).nodes["x"]
    nodes, parents, parameters = {}, {}, {}
    for i, name in enumerate(names):
        node = EvidenceNode(name, "categorical", tuple("pqr"[: rng.integers(2, 4)]), np.zeros(0), False)
        if name == rng.choice(["v", "w"]):
            node = EvidenceNode(
                name, density.kind, (), density.bin_edges, bool(rng.random() < 0.5), density.grid
            )
        group = tuple(p for p in ("class", *names[:i]) if rng.random() < 0.5)
        nodes[name], parents[name] = node, group
        shape = tuple(3 if p == "class" else nodes[p].n_states for p in group)
        if node.grid is None:
            table = rng.dirichlet(np.ones(node.n_states), shape)
            parameters[name] = NodeParameters(np.log(np.moveaxis(table, -1, 0)))
            continue
        cells = np.moveaxis(rng.dirichlet(np.full(node.grid.n_cells, 2.0), shape), -1, 0)
        bins = node.bin_mass(cells)
        if node.has_none:
            none = rng.uniform(0.1, 0.9, shape)
            bins = np.concatenate([bins * (1 - none), none[None]])
        parameters[name] = NodeParameters(np.log(bins), np.log(cells))
    return nodes, parents, parameters


def random_evidence(rng, nodes, n):
    encoded = {}
    for name, node in nodes.items():
        state = rng.integers(0, node.n_states, n)
        cell = np.full(n, -1)
        value, error = np.full(n, np.nan), np.full(n, np.nan)
        if node.grid is not None:
            measured = state < node.n_measured_states
            value[measured] = rng.normal(size=measured.sum())
            error[measured] = rng.choice([0.0, 0.2], measured.sum())
            cell[measured] = node.grid.cell(value[measured])
            state[measured] = node.bin_of_cell[cell[measured]]
        gone = rng.random(n) < (1.0 if name == "h" else 0.5)
        encoded[name] = Encoded(
            np.where(gone, -1, state),
            np.where(gone, -1, cell),
            np.where(gone, np.nan, value),
            np.where(gone, np.nan, error),
        )
    return encoded


def enumerated(nodes, parents, parameters, encoded, frequency, class_rows, weights):
    """Expected counts of families and cells by a sum over all states of all nodes, object by object."""
    names = list(nodes)
    counts = {name: np.zeros(np.shape(parameters[name].log_cpd)) for name in names}
    cells = {
        name: np.zeros(np.shape(parameters[name].log_cells)) for name in names if nodes[name].grid is not None
    }
    children = {name: [n for n in names if name in parents[n]] for name in names}
    density = {name: parameters[name].log_density_in_bin(nodes[name], encoded[name]) for name in cells}
    total, posterior = 0.0, np.zeros(class_rows.shape)
    for i, weight in enumerate(weights):
        told = {name: encoded[name].state[i] >= 0 for name in names}
        for name in reversed(names):
            told[name] |= any(told[child] for child in children[name])
        terms = []
        choices = [
            range(nodes[n].n_states) if encoded[n].state[i] < 0 else [encoded[n].state[i]] for n in names
        ]
        for c, *states in itertools.product(range(3), *choices):
            known = {"class": c, **dict(zip(names, states, strict=True))}
            p = frequency[c] * np.exp(class_rows[i, c])
            for name in names:
                where = tuple(known[q] for q in parents[name])
                p *= np.exp(parameters[name].log_cpd[(known[name], *where)])
                if encoded[name].cell[i] >= 0:
                    p *= np.exp(density[name][(i, *where)])
            terms.append((p, known))
        evidence = sum(p for p, _ in terms)
        total += weight * np.log(evidence)
        for p, known in terms:
            share = weight * p / evidence
            posterior[i, known["class"]] += p / evidence
            for name in names:
                if not told[name]:
                    continue
                where = tuple(known[q] for q in parents[name])
                counts[name][(known[name], *where)] += share
                if name not in cells or known[name] >= nodes[name].n_measured_states:
                    continue
                if encoded[name].cell[i] >= 0:
                    cells[name][(encoded[name].cell[i], *where)] += share
                else:
                    own = nodes[name].bin_of_cell == known[name]
                    within = own * np.exp(parameters[name].log_cells[(slice(None), *where)])
                    cells[name][(slice(None), *where)] += share * within / within.sum()
    return total, posterior, counts, cells


@pytest.mark.parametrize("seed", range(3))
def test_expected_counts_are_the_enumerated_ones(seed):
    rng = np.random.default_rng(seed)
    nodes, parents, parameters = random_network(rng)
    spec = NetworkSpec(class_states=CLASSES)
    structure = network_structure(spec, nodes, parents)
    n = 9
    encoded = random_evidence(rng, nodes, n)
    weights = rng.uniform(0.2, 2.0, n)
    frequency = rng.dirichlet(np.ones(3))
    rows = np.where(rng.random((n, 3)) < 0.3, -np.inf, rng.normal(size=(n, 3)))
    rows[:, 1] = 0.0
    found = ExpectedCounts(structure, nodes, encoded, weights, block_size=4)(parameters, frequency, rows)
    total, posterior, counts, cells = enumerated(
        nodes, parents, parameters, encoded, frequency, rows, weights
    )
    np.testing.assert_allclose(found.log_likelihood, total, rtol=1e-12)
    np.testing.assert_allclose(found.class_posterior, posterior, atol=1e-12)
    for name, node in nodes.items():
        own, shape = found.counts[name], (-1, 3 if "class" in parents[name] else 1)
        expected = counts[name]
        if node.grid is not None:
            np.testing.assert_allclose(own.cells[0].ravel(), cells[name].ravel(), atol=1e-11)
            np.testing.assert_allclose(own.cells[1], own.cells[0].sum(axis=2))
            assert (own.states is None) == (not node.has_none)
            expected = np.stack([expected[:-1].sum(axis=0), expected[-1]])
        if own.states is not None:
            np.testing.assert_allclose(own.states[0].ravel(), expected.ravel(), atol=1e-11)
            np.testing.assert_allclose(own.states[1], own.states[0].sum(axis=2))
            assert own.states[1].shape[1] == shape[1]


def test_a_node_is_barren_without_a_known_descendant():
    nodes = {name: EvidenceNode(name, "categorical", ("p", "q"), np.zeros(0), False) for name in "uvw"}
    parents = {"u": ("class",), "v": ("u",), "w": ("v", "class")}
    structure = network_structure(NetworkSpec(class_states=CLASSES), nodes, parents)
    nan = np.full(4, np.nan)

    def known(*states):
        return Encoded(np.array(states), np.full(4, -1), nan, nan)

    found = barren_nodes(
        structure, {"u": known(-1, -1, 0, -1), "v": known(-1, 0, -1, -1), "w": known(-1, -1, -1, 1)}
    )
    np.testing.assert_array_equal(found["u"], [True, False, False, False])
    np.testing.assert_array_equal(found["v"], [True, False, True, False])
    np.testing.assert_array_equal(found["w"], [True, True, True, False])


SPECS = [
    EvidenceSpec(name, "categorical", column=name, states=tuple(f"{name}{k}" for k in range(n)))
    for name, n in (("h", 4), ("u", 4), ("v", 3))
]
EDGES = (("h", "u"), ("h", "v"))
SPEC = NetworkSpec(class_states=CLASSES, edges=EDGES, no_class_edge=("v",))


def truth(rng):
    """Tables of h given the class, u given class and h, v given h."""
    u = rng.dirichlet(np.full(4, 0.5), (3, 4))
    return {"h": rng.dirichlet(np.ones(4), 3), "u": u, "v": rng.dirichlet(np.full(3, 0.5), 4)}


def simulated(rng, p, n, missing):
    y = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    h = np.array([rng.choice(4, p=p["h"][c]) for c in y])
    u = np.array([rng.choice(4, p=p["u"][c, k]) for c, k in zip(y, h, strict=True)])
    v = np.array([rng.choice(3, p=p["v"][k]) for k in h])
    frame = pd.DataFrame({"object_id": np.arange(n).astype(str)})
    for name, states in (("h", h), ("u", u), ("v", v)):
        cells = np.array([f"{name}{k}" for k in states], dtype=object)
        frame[name] = np.where(rng.random(n) < missing.get(name, 0.0), None, cells)
    return EvidenceTable.from_frame(frame, SPECS), y


def labels(y):
    return np.eye(3, dtype=bool)[y]


@pytest.mark.parametrize("missing", [{}, {"u": 0.5, "v": 0.3}])
def test_nothing_is_iterated_where_nothing_is_to_infer(missing):
    """Complete data, and missing cells without a known descendant: tables of available cases, exactly."""
    rng = np.random.default_rng(1)
    evidence, y = simulated(rng, truth(rng), 300, missing)
    found = BayesianNetwork.fit(SPEC, evidence, labels(y), n_draws=0)
    expected = BayesianNetwork.fit(replace(SPEC, missing_cells="available"), evidence, labels(y), n_draws=0)
    assert found.summary["learning"] == {"steps": 0, "ending": "complete", "path": []}
    for name in found.nodes:
        np.testing.assert_array_equal(found.parameters[name].log_cpd, expected.parameters[name].log_cpd)


def encoded_sample(evidence, spec):
    parents = spec.parents(tuple(evidence.columns))
    nodes = {name: EvidenceNode.from_column(evidence.columns[name]) for name in parents}
    encoded = {name: node.encode(evidence.columns[name]) for name, node in nodes.items()}
    return network_structure(spec, nodes, parents), nodes, encoded


@pytest.mark.parametrize("seed", range(2))
def test_no_step_lowers_likelihood_and_prior_together(seed):
    rng = np.random.default_rng(seed)
    evidence, y = simulated(rng, truth(rng), 150, {"h": 0.6, "u": 0.2, "v": 0.2})
    allowed = labels(y)
    allowed[rng.random(150) < 0.3, :2] |= True
    weights = rng.uniform(0.0, 2.0, 150) * (rng.random(150) < 0.9)
    learned = learn(*encoded_sample(evidence, SPEC), allowed, weights)
    assert len(learned.gains) > 2
    assert len(learned.path) == len(learned.gains) + 1
    assert min(learned.gains) > -1e-8
    assert learned.path[-1] > learned.path[0]
    assert learned.ending == "converged"
    # A label stands; what is not allowed has no share.
    np.testing.assert_allclose(learned.responsibilities.sum(axis=1), 1.0)
    assert (learned.responsibilities[~allowed] == 0.0).all()


def test_learns_the_maximum_of_likelihood_times_prior():
    """Against a direct search: h hidden in most objects, two states each."""
    rng = np.random.default_rng(4)
    n = 400
    y, draw = rng.integers(0, 2, n), rng.random((n, 3))
    h = (draw[:, 0] < np.where(y == 0, 0.3, 0.8)).astype(int)
    u = (draw[:, 1] < np.where(h == 0, 0.2, 0.9)).astype(int)
    hidden = draw[:, 2] < 0.6
    cells = np.where(hidden, None, np.array(["n", "y"], dtype=object)[h])
    specs = [EvidenceSpec(name, "categorical", column=name, states=("n", "y")) for name in "hu"]
    frame = pd.DataFrame({"object_id": np.arange(n), "h": cells, "u": np.array(["n", "y"])[u]})
    spec = NetworkSpec(class_states=("a", "b"), edges=(("h", "u"),), no_class_edge=("u",))
    sample = encoded_sample(EvidenceTable.from_frame(frame, specs), spec)
    learned = learn(*sample, np.eye(2, dtype=bool)[y], np.ones(n))

    def objective(p, q, share):
        """p: P(h = 1 | class), q: P(u = 1 | h)."""
        of_h = np.stack([1 - p, p], axis=1)[y]
        of_u = np.stack([1 - q, q], axis=1)[:, u].T
        joint = of_h * of_u
        known = np.where(hidden, joint.sum(axis=1), joint[np.arange(n), h])
        total = np.log(known).sum() + np.log(np.where(y == 0, 1 - share, share)).sum()
        for table, name in ((p, "h"), (q, "u")):
            prior = learned.counts[name].states
            mean = prior.mean.reshape(2, 2)
            total += prior.kappa * (mean * np.log(np.stack([1 - table, table]))).sum()
        return total + 0.5 * np.log([share, 1 - share]).sum()

    def of(x):
        return objective(*np.split(1 / (1 + np.exp(-x[:4])), 2), 1 / (1 + np.exp(-x[4])))

    best = minimize(lambda x: -of(x), np.array([-0.5, 0.5, -0.5, 0.5, 0.0]))
    tables = [learned.counts[name].states.table[1].ravel() for name in "hu"]
    found = objective(*tables, learned.frequency[1])
    assert best.fun <= -found + 1e-9
    # Steps end where one adds less than 1e-5 of the log-likelihood of some -600.
    assert found > -best.fun - 0.05
    direct = 1 / (1 + np.exp(-best.x))
    np.testing.assert_allclose(np.concatenate(tables), direct[:4], atol=0.02)


def test_expected_counts_come_nearer_to_the_truth_than_available_cases():
    """Parents missing at random in 60 %: mean distance of the child's tables from those that made it."""
    distance = {"available": [], "expected": []}
    losses = {"available": [], "expected": []}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        p = truth(rng)
        missing = {"h": 0.6, "u": 0.1, "v": 0.1}
        evidence, y = simulated(rng, p, 800, missing)
        new, z = simulated(rng, p, 4000, missing)
        for way in distance:
            network = BayesianNetwork.fit(replace(SPEC, missing_cells=way), evidence, labels(y), n_draws=0)
            for name in ("u", "v"):
                expected = np.moveaxis(p[name], -1, 0)
                table = np.exp(network.parameters[name].log_cpd)
                distance[way].append(np.abs(table - expected).sum(axis=0).mean() / 2)
            joint = network.log_likelihood(new) + np.log(network.class_frequency)
            joint -= np.logaddexp.reduce(joint, axis=1)[:, None]
            losses[way].append(-joint[np.arange(len(z)), z].mean())
    assert np.mean(distance["expected"]) < 0.95 * np.mean(distance["available"])
    assert np.mean(losses["expected"]) < np.mean(losses["available"]) - 0.003


def test_a_missing_measured_parent_is_learned_through_its_bins():
    """A continuous parent, missing in half of the objects: log-likelihood of new objects does not suffer."""
    rng = np.random.default_rng(8)

    def sample(n):
        y = rng.integers(0, 3, n)
        x = rng.normal(y - 1.0, 1.0)
        z = rng.normal(np.array([1.0, 0.0, -1.0])[y] * x, 0.4)
        frame = pd.DataFrame({"object_id": np.arange(n), "x": x, "z": z})
        frame.loc[rng.random(n) < 0.5, "x"] = np.nan
        specs = [EvidenceSpec(name, "continuous", column=name) for name in "xz"]
        return EvidenceTable.from_frame(frame, specs), y

    (evidence, y), (new, truth) = sample(600), sample(3000)
    found = {}
    for way in ("available", "expected"):
        spec = NetworkSpec(class_states=CLASSES, edges=(("x", "z"),), missing_cells=way)
        network = BayesianNetwork.fit(spec, evidence, labels(y), n_draws=0)
        found[way] = network.log_likelihood(new)[np.arange(3000), truth].mean()
    assert network.summary["learning"]["steps"] > 0
    assert found["expected"] > found["available"] - 0.005
