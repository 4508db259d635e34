"""Random networks with evidence, and two oracles: enumeration of the joint table, and pgmpy."""

import warnings

import numpy as np

from bayesclass.inference import Structure

N_OBJECTS = 4


def tree_augmented(rng, n_nodes):
    parents = [(), *(("n0",) for _ in range(n_nodes - 1))]
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
    if kind == "naive":
        parents = [(), *(("n0",) for _ in range(n_nodes - 1))]
    else:
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


def as_states(rows):
    """The same evidence with rows that are hard or missing throughout as states, -1 where missing."""
    known = {}
    for node, row in rows.items():
        hard = np.isneginf(row).any(axis=1)
        plain = (hard | ~row.any(axis=1)).all()
        known[node] = np.where(hard, row.argmax(axis=1), -1) if plain else row
    return known


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
