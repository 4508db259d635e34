"""Exact inference: forms of evidence, precision, impossible evidence, refusals, and its invariances."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_oracles import enumerate_log_joint, random_tables

from bayesclass.inference import InferenceError, Structure, compile_posterior, log_joint, posterior
from bayesclass.inference_program import compile_programs

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


def test_one_program_for_every_pattern_of_missing_evidence():
    # Named unlike those of the other tests, which compile for float64 as well.
    parts = (("c1", "x1", "y1"), (2, 3, 4), ((), ("c1",), ("c1", "x1")))
    structure = Structure(*parts)
    programs = compile_programs(structure, "c1")
    assert compile_posterior(Structure(*parts), "c1") is programs.guarded
    for n_objects in (3, 40, 64):
        rng = np.random.default_rng(n_objects)
        for integers in (np.int8, np.int64):
            x = rng.normal(size=(n_objects, 3)) * (rng.random((n_objects, 1)) < 0.5)
            y = rng.integers(-1, 4, n_objects).astype(integers)
            log_joint(structure, "c1", random_tables(rng, structure), {"x1": x, "y1": y})
    assert programs.quick._cache_size() == 1
    assert programs.in_logs._cache_size() == 0


@pytest.mark.parametrize("query", ["c", "x"])
def test_known_states_equal_rows_of_zero_and_minus_infinity(query):
    plain = Structure(CHAIN.nodes, CHAIN.n_states, CHAIN.parents)
    rng = np.random.default_rng(8)
    tables = random_tables(rng, plain)
    states = {node: rng.integers(-1, n, 70) for node, n in zip(plain.nodes, plain.n_states, strict=True)}
    rows = {}
    for node, n in zip(plain.nodes, plain.n_states, strict=True):
        rows[node] = np.where(np.arange(n) == states[node][:, None], 0.0, -np.inf)
        rows[node][states[node] < 0] = 0.0
    evidence = tuple(states[node].astype(np.int16) for node in plain.nodes)
    with jax.enable_x64(True):
        expected = enumerate_log_joint(plain, query, tables, rows)
        for known in (states, rows, states | {"x": rows["x"]}):
            found = log_joint(plain, query, tables, known)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        found = compile_posterior(plain, query)(tuple(tables), evidence, ())
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_exact_zeros_need_no_slow_sums():
    """A deterministic table and known states: zeros are sure, also where the evidence is impossible."""
    structure = Structure(("c2", "x2", "y2"), (2, 2, 3), ((), ("c2",), ("c2", "x2")))
    rng = np.random.default_rng(6)
    tables = random_tables(rng, structure)
    tables[1] = np.array([[0.0, np.log(0.3)], [-np.inf, np.log(0.7)]])
    tables[2][1] = -np.inf
    known = {"x2": rng.integers(-1, 2, 300), "y2": rng.integers(-1, 3, 300)}
    rows = {}
    for node, n in (("x2", 2), ("y2", 3)):
        rows[node] = np.where(np.arange(n) == known[node][:, None], 0.0, -np.inf)
        rows[node][known[node] < 0] = 0.0
    expected = enumerate_log_joint(structure, "c2", tables, rows)
    for x64, atol in ((False, 2e-6), (True, 1e-12)):
        with jax.enable_x64(x64):
            for evidence in (known, rows):
                found = log_joint(structure, "c2", tables, evidence)
                np.testing.assert_array_equal(np.isneginf(found), np.isneginf(expected))
                np.testing.assert_allclose(found, expected, atol=atol)
    assert compile_programs(structure, "c2").in_logs._cache_size() == 0


def test_only_unsure_objects_are_computed_again():
    """Contradicting evidence beyond the range of float32 for some objects: they alone go to the slow sums."""
    structure = Structure(("c3", "x3", "y3"), (2, 2, 2), ((), ("c3",), ("x3",)))
    tables = random_tables(np.random.default_rng(6), structure)
    tables[2] = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    contradicting = np.arange(300) % 7 == 3
    rows = {
        "x3": np.where(contradicting[:, None], np.array([0.0, -100.0]), np.array([0.0, -1.0])),
        "y3": np.where(contradicting[:, None], np.array([-100.0, 0.0]), np.array([-1.0, 0.0])),
    }
    low = tuple(np.float32(table) for table in tables)
    evidence = (None, np.float32(rows["x3"]), np.float32(rows["y3"]))
    _, safe = compile_programs(structure, "c3").quick(low, evidence, ())
    np.testing.assert_array_equal(safe, ~contradicting)
    expected = enumerate_log_joint(structure, "c3", tables, rows)
    found = log_joint(structure, "c3", tables, rows, block_size=64)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(compile_posterior(structure, "c3")(low, evidence, ()), expected, rtol=1e-6)


@pytest.mark.parametrize("n_leaves", [12, 40])
def test_many_nodes_stay_in_the_range_of_float32(n_leaves):
    """A latent node with many children: products of likelihoods far below float32 are scaled on the way."""
    names = tuple(f"e{i}" for i in range(n_leaves))
    structure = Structure(("c", "h", *names), (3, 4, *([6] * n_leaves)), ((), ("c",), *([("h",)] * n_leaves)))
    rng = np.random.default_rng(n_leaves)
    tables = random_tables(rng, structure)
    known = {name: rng.integers(-1, 6, 50) for name in names}
    found = log_joint(structure, "c", tables, known)
    by_host = np.zeros((50, 4))
    for name, table in zip(names, tables[2:], strict=True):
        by_host += np.where((known[name] >= 0)[:, None], table[known[name]], 0.0)
    expected = tables[0] + np.log(np.exp(by_host) @ np.exp(tables[1]))
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    low = tuple(np.float32(table) for table in tables)
    _, safe = compile_programs(structure, "c").quick(low, (None, None, *known.values()), ())
    assert np.asarray(safe).mean() > 0.95


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
    with pytest.raises(InferenceError, match=r"0 to 3, or be -1 where missing, found 0 to 4"):
        log_joint(plain, "c", tables, {"x": np.array([0, 4])})
    with pytest.raises(InferenceError, match=r"integer states of shape \(2,\), found float64"):
        log_joint(plain, "c", tables, {"c": rows["c"], "x": np.zeros(2)})
    with pytest.raises(InferenceError, match="asks for 4 tables"):
        log_joint(plain, "c", tables[:2], rows)
    with pytest.raises(InferenceError, match="pass n_objects"):
        log_joint(plain, "c", tables, {})
