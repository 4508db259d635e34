"""Gradients of the log evidence: expected counts, and posteriors of the states of a factor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inference_oracles import random_tables

from bayesclass.inference import Structure, compile_posterior

STRUCTURE = Structure(
    ("c", "h", "x", "y"),
    (2, 3, 3, 2),
    ((), ("c",), ("c", "h"), ("x",)),
    extra=(("c", "x"),),
)
N = 6


def case(zeros):
    """Missing, hard and finite virtual evidence in one batch; optionally a table with exact zeros."""
    rng = np.random.default_rng(3)
    tables = random_tables(rng, STRUCTURE)
    if zeros:
        tables[2] = np.zeros((3, 2, 3)) + np.array([-np.inf, np.log(0.4), np.log(0.6)])[:, None, None]
        tables[2][:, 1, 2] = [np.log(0.5), np.log(0.5), -np.inf]
    virtual = rng.normal(size=(N, 3))
    virtual[:2] = 0.0
    y = np.array([-1, 0, 1, -1, 0, 1])
    class_rows = np.zeros((N, 2))
    class_rows[4, 0] = class_rows[5, 1] = -np.inf
    factor = rng.normal(size=(N, 2, 3))
    return tables, virtual, y, class_rows, factor


def enumerated(tables, virtual, y, class_rows, factor):
    """Posterior of the joint states (n_objects, c, h, x, y), and log p(evidence)."""
    joint = np.einsum("c,hc,xch,yx->chxy", *(np.exp(table) for table in tables))
    y_rows = np.where(y[:, None] < 0, 1.0, np.arange(2) == y[:, None])
    joint = (
        joint
        * np.einsum("nc,nx,ny,ncx->ncxy", np.exp(class_rows), np.exp(virtual), y_rows, np.exp(factor))[
            :, :, None
        ]
    )
    total = joint.sum(axis=(1, 2, 3, 4))
    return joint / total[:, None, None, None, None], np.log(total)


@pytest.mark.parametrize("query", ["c", "h", "y"])
@pytest.mark.parametrize("zeros", [False, True])
def test_gradients_are_expected_counts(query, zeros):
    tables, virtual, y, class_rows, factor = case(zeros)
    expected, log_evidence = enumerated(tables, virtual, y, class_rows, factor)
    function = compile_posterior(STRUCTURE, query)

    def log_likelihood(tables, factors):
        joint = function(tables, (class_rows, None, virtual, y), factors)
        return jax.nn.logsumexp(joint, axis=1).sum()

    with jax.enable_x64(True):
        arguments = tuple(jnp.asarray(table) for table in tables), (jnp.asarray(factor),)
        value, (by_table, (by_factor,)) = jax.value_and_grad(log_likelihood, (0, 1))(*arguments)
    np.testing.assert_allclose(value, log_evidence.sum(), rtol=1e-13)
    counts = [
        expected.sum(axis=(0, 2, 3, 4)),
        np.einsum("nchxy->hc", expected),
        np.einsum("nchxy->xch", expected),
        np.einsum("nchxy->yx", expected),
    ]
    for found, count in zip(by_table, counts, strict=True):
        np.testing.assert_allclose(found, count, rtol=0, atol=1e-12)
    np.testing.assert_allclose(by_factor, np.einsum("nchxy->ncx", expected), rtol=0, atol=1e-12)


def test_gradients_of_single_objects_in_float32_are_finite():
    """Rows far out of the range of float32 and an impossible object: finite gradients, zero of the latter."""
    tables, virtual, y, class_rows, factor = case(zeros=True)
    virtual[2] *= 200
    virtual[3] = -np.inf
    function = compile_posterior(STRUCTURE, "c")

    def log_likelihood(factors):
        joint = function(tuple(np.float32(t) for t in tables), (class_rows, None, virtual, y), factors)
        possible = jnp.isfinite(joint).any(axis=1)
        return jnp.where(
            possible, jax.nn.logsumexp(jnp.where(possible[:, None], joint, 0.0), axis=1), 0.0
        ).sum()

    gradient = jax.grad(log_likelihood)((jnp.asarray(factor, jnp.float32),))[0]
    total = np.asarray(gradient).sum(axis=(1, 2))
    np.testing.assert_allclose(total, [1, 1, 1, 0, 1, 1], atol=1e-5)
