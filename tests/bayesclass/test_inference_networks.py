"""Exact inference on several hundred random networks, against enumeration of the joint table and pgmpy."""

import jax
import numpy as np
import pytest
from inference_oracles import (
    N_OBJECTS,
    as_states,
    enumerate_log_joint,
    pgmpy_posterior,
    random_evidence,
    random_structure,
    random_tables,
)

from bayesclass.inference import log_joint, posterior

N_TABLES = 25


def check_networks(kind, seed, *, n_pgmpy):
    """Draw a structure, then tables and evidence on it many times: each a network of its own."""
    rng = np.random.default_rng([seed, len(kind)])
    structure = random_structure(rng, kind)
    query = structure.nodes[rng.integers(len(structure.nodes))]
    latent = set(rng.choice(structure.nodes, 2, replace=False)) - {query} if kind == "latent" else set()
    several = []
    for _ in range(N_TABLES):
        tables, rows = random_tables(rng, structure), random_evidence(rng, structure, query, latent)
        several.append((tables, rows, enumerate_log_joint(structure, query, tables, rows)))
    with jax.enable_x64(True):
        for k, (tables, rows, expected) in enumerate(several):
            result = posterior(structure, query, tables, rows)
            log_evidence = np.log(np.exp(expected).sum(axis=1))
            p = np.exp(result.log_posterior)
            np.testing.assert_allclose(result.log_evidence, log_evidence, rtol=0, atol=1e-11)
            np.testing.assert_allclose(p, np.exp(expected - log_evidence[:, None]), rtol=0, atol=1e-12)
            np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=0, atol=1e-13)
            assert not result.impossible.any()
            if k < n_pgmpy:
                theirs = pgmpy_posterior(structure, query, tables, rows, k % N_OBJECTS)
                np.testing.assert_allclose(p[k % N_OBJECTS], theirs, rtol=0, atol=1e-6)
        tables, rows, expected = several[0]
        found = log_joint(structure, query, tables, as_states(rows))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["naive", "tree", "dag", "latent"])
@pytest.mark.parametrize("seed", range(3))
def test_equals_enumeration_and_pgmpy(kind, seed):
    """12 structures, 25 networks each, 4 objects each; 3 networks of each structure against pgmpy."""
    check_networks(kind, seed, n_pgmpy=3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["naive", "tree", "dag", "latent"])
@pytest.mark.parametrize("seed", range(3, 9))
def test_every_network_equals_pgmpy(kind, seed):
    """24 more structures, 25 networks each, every one against pgmpy."""
    check_networks(kind, seed, n_pgmpy=N_TABLES)
