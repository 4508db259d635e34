"""Exact inference against pgmpy, against enumeration of the joint table, and under its invariances."""

import warnings

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesclass.inference import InferenceError, Structure, compile_posterior, log_joint, posterior

N_OBJECTS = 4


def tree_augmented(rng, n_nodes):
    parents = [(), *((f"n{0}",) for _ in range(n_nodes - 1))]
    for i in range(2, n_nodes):
        parents[i] = ("n0", f"n{rng.integers(1, i)}")
    return parents


def random_dag(rng, n_nodes):
    parents = []
    for i in range(n_nodes):
        chosen = rng.permutation(i)[: rng.integers(0, min(i, 3) + 1)]
        parents.append(tuple(f"n{j}" for j in chosen))
    return parents


def random_structure(rng, kind):
    n_nodes = int(rng.integers(3, 8))
    parents = tree_augmented(rng, n_nodes) if kind == "tree" else random_dag(rng, n_nodes)
    names = [f"n{i}" for i in range(n_nodes)]
    # The order in which nodes are listed must not matter.
    order = rng.permutation(n_nodes)
    return Structure(
        tuple(names[i] for i in order),
        tuple(int(k) for k in rng.integers(2, 5, n_nodes)),
        tuple(tuple(parents[i]) for i in order),
    )


def random_tables(rng, structure):
    tables = []
    for node in structure.nodes:
        shape = structure.table_shape(node)
        tables.append(np.log(np.moveaxis(rng.dirichlet(np.ones(shape[0]), size=shape[1:]), -1, 0)))
    return tables


def random_evidence(rng, structure, query, latent=()):
    """Hard, virtual and missing evidence in one batch; none at all for latent nodes."""
    rows = {}
    for node, n in zip(structure.nodes, structure.n_states, strict=True):
        if node in latent:
            continue
        row = np.zeros((N_OBJECTS, n))
        for i in range(N_OBJECTS):
            kind = rng.choice(["hard", "virtual", "missing"])
            if kind == "virtual":
                row[i] = np.log(rng.uniform(0.05, 1.0, n))
            elif kind == "hard" and node != query:
                row[i] = -np.inf
                row[i, rng.integers(n)] = 0.0
        rows[node] = row
    return rows


def enumerate_log_joint(structure, query, tables, rows, extra=()):
    """The whole joint table in numpy, one object at a time."""
    letters = {node: chr(97 + i) for i, node in enumerate(structure.nodes)}
    terms = [
        (node, "".join(letters[name] for name in (node, *parents)), np.exp(table))
        for node, parents, table in zip(structure.nodes, structure.parents, tables, strict=True)
    ]
    n_objects = len(next(iter(rows.values())))
    result = []
    for i in range(n_objects):
        scripts = [script for _, script, _ in terms] + [letters[node] for node in rows]
        arrays = [array for _, _, array in terms] + [np.exp(row[i]) for row in rows.values()]
        for group, factor in zip(structure.extra, extra, strict=True):
            scripts.append("".join(letters[name] for name in group))
            arrays.append(np.exp(factor[i]))
        result.append(np.einsum(",".join(scripts) + "->" + letters[query], *arrays))
    with np.errstate(divide="ignore"):
        return np.log(np.array(result))


def pgmpy_posterior(structure, query, tables, rows, i):
    with warnings.catch_warnings():
        # pgmpy warns of its own deprecated modules while it is imported.
        warnings.simplefilter("ignore")
        from pgmpy.factors.discrete import TabularCPD
        from pgmpy.inference import VariableElimination
        from pgmpy.models import DiscreteBayesianNetwork

        states = dict(zip(structure.nodes, structure.n_states, strict=True))
        model = DiscreteBayesianNetwork()
        model.add_nodes_from(structure.nodes)
        for node, parents, table in zip(structure.nodes, structure.parents, tables, strict=True):
            model.add_edges_from((parent, node) for parent in parents)
            cards = [states[parent] for parent in parents]
            flat = np.exp(table).reshape(states[node], -1)
            model.add_cpds(TabularCPD(node, states[node], flat, list(parents), cards))
        hard, virtual = {}, []
        for node, row in rows.items():
            if np.isneginf(row[i]).any():
                hard[node] = int(np.argmax(row[i]))
            elif row[i].any():
                virtual.append(TabularCPD(node, states[node], np.exp(row[i])[:, None]))
        found = VariableElimination(model).query(
            [query], evidence=hard or None, virtual_evidence=virtual or None, show_progress=False
        )
        return found.values


@pytest.mark.parametrize("seed", range(10))
def test_equals_pgmpy_and_enumeration(seed):
    """12 networks for each of 10 structures, 4 objects each: 120 networks."""
    rng = np.random.default_rng(seed)
    structure = random_structure(rng, "tree" if seed % 2 else "dag")
    query = structure.nodes[rng.integers(len(structure.nodes))]
    latent = set(rng.choice(structure.nodes, 2, replace=False)) - {query}
    with jax.enable_x64(True):
        for repetition in range(12):
            tables = random_tables(rng, structure)
            rows = random_evidence(rng, structure, query, latent)
            result = posterior(structure, query, tables, rows)
            expected = enumerate_log_joint(structure, query, tables, rows)
            log_evidence = np.log(np.exp(expected).sum(axis=1))
            np.testing.assert_allclose(result.log_evidence, log_evidence, rtol=0, atol=1e-11)
            np.testing.assert_allclose(
                np.exp(result.log_posterior), np.exp(expected - log_evidence[:, None]), rtol=0, atol=1e-12
            )
            assert not result.impossible.any()
            i = repetition % N_OBJECTS
            np.testing.assert_allclose(
                np.exp(result.log_posterior[i]),
                pgmpy_posterior(structure, query, tables, rows, i),
                rtol=0,
                atol=1e-6,
            )


CHAIN = Structure(
    ("c", "x", "y", "z"),
    (3, 4, 2, 3),
    ((), ("c",), ("c", "x"), ("y",)),
    extra=(("c", "x"), (), ("z",)),
)


def chain_case(seed, n_objects):
    rng = np.random.default_rng(seed)
    tables = random_tables(rng, CHAIN)
    rows = {
        node: rng.normal(size=(n_objects, n)) for node, n in zip(CHAIN.nodes, CHAIN.n_states, strict=True)
    }
    extra = [rng.normal(size=(n_objects, 3, 4)), rng.normal(size=n_objects), rng.normal(size=(n_objects, 3))]
    return tables, rows, extra


@pytest.mark.parametrize("query", CHAIN.nodes)
def test_factors_of_each_object_and_any_query(query):
    tables, rows, extra = chain_case(1, 5)
    with jax.enable_x64(True):
        found = log_joint(CHAIN, query, tables, rows, extra_factors=extra)
    np.testing.assert_allclose(found, enumerate_log_joint(CHAIN, query, tables, rows, extra), atol=1e-11)


def test_float32_error():
    """Sums of numbers of at most one over some 70 states: a few units of 1.2e-7 in each of four steps."""
    tables, rows, extra = chain_case(2, 200)
    low = np.float32
    for x64 in (False, True):
        with jax.enable_x64(x64):
            found = log_joint(
                CHAIN,
                "c",
                [table.astype(low) for table in tables],
                {node: row.astype(low) for node, row in rows.items()},
                extra_factors=[factor.astype(low) for factor in extra],
            )
        assert found.dtype == low
    np.testing.assert_allclose(found, enumerate_log_joint(CHAIN, "c", tables, rows, extra), atol=5e-6)


@settings(max_examples=15, deadline=None)
@given(n_objects=st.integers(1, 200), block_size=st.sampled_from([64, 128]), seed=st.integers(0, 1000))
def test_order_of_objects_and_padding_change_nothing(n_objects, block_size, seed):
    tables, rows, extra = chain_case(seed, n_objects)
    whole = log_joint(CHAIN, "c", tables, rows, extra_factors=extra, block_size=256)
    order = np.random.default_rng(seed).permutation(n_objects)
    shuffled = log_joint(
        CHAIN,
        "c",
        tables,
        {node: row[order] for node, row in rows.items()},
        extra_factors=[factor[order] for factor in extra],
        block_size=block_size,
    )
    np.testing.assert_allclose(shuffled, whole[order], rtol=0, atol=3e-6)


def test_no_evidence_gives_the_prior_and_no_object_an_empty_array():
    tables, _, _ = chain_case(3, 1)
    plain = Structure(CHAIN.nodes, CHAIN.n_states, CHAIN.parents)
    with jax.enable_x64(True):
        found = log_joint(plain, "c", tables, {}, n_objects=3)
        np.testing.assert_allclose(found, np.broadcast_to(tables[0], (3, 3)), atol=1e-13)
        assert log_joint(plain, "y", tables, {}, n_objects=0).shape == (0, 2)


def test_impossible_evidence_is_reported_and_never_nan():
    structure = Structure(("c", "x", "y"), (2, 2, 3), ((), ("c",), ("c", "x")))
    with np.errstate(divide="ignore"):
        tables = [
            np.log([0.5, 0.5]),
            np.log([[1.0, 0.3], [0.0, 0.7]]),
            np.log(np.full((3, 2, 2), 1 / 3)),
        ]
    hard = np.array([[-np.inf, 0.0], [0.0, -np.inf], [0.0, 0.0], [-np.inf, 0.0]])
    rows = {"x": hard, "c": np.array([[0.0, -np.inf], [0.0, 0.0], [-np.inf, -np.inf], [0.0, 0.0]])}
    for x64 in (False, True):
        with jax.enable_x64(x64):
            result = posterior(structure, "c", tables, rows)
        np.testing.assert_array_equal(result.impossible, [True, False, True, False])
        np.testing.assert_array_equal(result.log_posterior[[0, 2]], -np.inf)
        assert np.isneginf(result.log_evidence[[0, 2]]).all()
        np.testing.assert_allclose(np.exp(result.log_posterior[1]), [1 / 1.3, 0.3 / 1.3], rtol=1e-6)
        np.testing.assert_allclose(np.exp(result.log_posterior[3]), [0.0, 1.0])


def test_strong_contradicting_evidence_loses_nothing():
    """Likelihood ratios of e^300 and more leave the range of float32: the plain log-sum-exp takes over."""
    structure = Structure(("c", "x", "y"), (3, 4, 4), ((), ("c",), ("c", "x")))
    rng = np.random.default_rng(5)
    tables = random_tables(rng, structure)
    rows = {node: -300 * rng.uniform(size=(20, 4)) for node in ("x", "y")}
    found = log_joint(structure, "c", tables, rows)
    with jax.enable_x64(True):
        precise = log_joint(structure, "c", tables, rows)
    np.testing.assert_allclose(precise, enumerate_log_joint(structure, "c", tables, rows), rtol=1e-12)
    np.testing.assert_allclose(found, precise, rtol=1e-6)


def test_compiled_once_for_a_structure():
    # Named unlike those of the other tests, which compile for float64 as well.
    parts = (("c1", "x1"), (2, 3), ((), ("c1",)))
    structure = Structure(*parts)
    function = compile_posterior(structure, "c1")
    assert compile_posterior(Structure(*parts), "c1") is function
    for n_objects in (3, 40, 64):
        rng = np.random.default_rng(n_objects)
        log_joint(structure, "c1", random_tables(rng, structure), {"x1": rng.normal(size=(n_objects, 3))})
    assert function._cache_size() == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("a", "a"), (2, 2), ((), ())), "must be different"),
        ((("a",), (2, 2), ((),)), "one entry a node"),
        ((("a", "b"), (2, 2), ((), ("q",))), "known nodes"),
        ((("a", "b"), (2, 0), ((), ())), "at least one state"),
        ((("a", "b"), (2, 2), (("b",), ("a",))), "cycle among a, b"),
    ],
)
def test_structures_that_are_refused(arguments, message):
    with pytest.raises(InferenceError, match=message):
        Structure(*arguments)


def test_evidence_that_is_refused():
    plain = Structure(CHAIN.nodes, CHAIN.n_states, CHAIN.parents)
    tables, rows, _ = chain_case(0, 2)
    with pytest.raises(InferenceError, match="known: c, x, y, z"):
        compile_posterior(plain, "q")
    with pytest.raises(InferenceError, match="must belong to a node"):
        log_joint(plain, "c", tables, {"q": rows["c"]})
    with pytest.raises(InferenceError, match=r"shape \(2, 4\), found \(2, 3\)"):
        log_joint(plain, "c", tables, {"c": rows["c"], "x": rows["c"]})
    with pytest.raises(InferenceError, match="row of zeros for missing"):
        log_joint(plain, "c", tables, {"c": np.full((2, 3), np.nan)})
    with pytest.raises(InferenceError, match="asks for 4 tables"):
        log_joint(plain, "c", tables[:2], rows)
    with pytest.raises(InferenceError, match="pass n_objects"):
        log_joint(plain, "c", tables, {})
