"""Posteriors a second of the batched inference, of pgmpy and of pyAgrum: same networks and evidence, one run.

10 class states, 12 evidence nodes of 6 to 10 states, half of the evidence missing, 3 nodes with virtual
evidence; naive Bayes, and tree-augmented (each evidence node has the class and one other node as parents).
The other two answer one query an object; their times include entering the evidence.
Run: python benchmarks/network_inference.py [--objects 200000] [--block 2048] [--repetitions 5]
"""

import argparse
import time
import warnings
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np

from bayesclass.inference import BLOCK_SIZE, Structure, compile_posterior, log_joint

N_PGMPY = 60
N_PYAGRUM = 1000
AIMS = {"naive Bayes": 2e6, "tree-augmented": 1e6}


def random_network(rng, tree_augmented):
    """Draw a structure and its log tables."""
    names = [f"e{i}" for i in range(12)]
    parents = [("class", f"e{rng.integers(i)}") if tree_augmented and i else ("class",) for i in range(12)]
    sizes = (10, *(int(n) for n in rng.integers(6, 11, 12)))
    structure = Structure(("class", *names), sizes, ((), *parents))
    tables = []
    for node in structure.nodes:
        shape = structure.table_shape(node)
        tables.append(np.log(np.moveaxis(rng.dirichlet(np.ones(shape[0]), size=shape[1:]), -1, 0)))
    return structure, tables


def random_evidence(rng, structure, n_objects):
    """Virtual evidence on the first three nodes, known states on the others, half of all missing."""
    known = {}
    for i, (node, n) in enumerate(zip(structure.nodes[1:], structure.n_states[1:], strict=True)):
        missing = rng.random(n_objects) < 0.5
        if i < 3:
            row = np.log(rng.uniform(0.05, 1.0, (n_objects, n))).astype(np.float32)
            row[missing] = 0.0
            known[node] = row
        else:
            known[node] = np.where(missing, -1, rng.integers(n, size=n_objects)).astype(np.int8)
    return known


def as_rows(known, n_states):
    """Known states as rows of 0 and -inf, zeros where missing: the other form of the same evidence."""
    if known.ndim == 2:
        return known
    rows = np.where(np.arange(n_states) == known[:, None], 0.0, -np.inf).astype(np.float32)
    rows[known < 0] = 0.0
    return rows


def best_time(function, repetitions):
    """Shortest time of several: the least disturbed by what else runs."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def kernel(structure, tables, known, block_size, repetitions):
    """Compile time [s] and posteriors a second of the compiled function, inputs on the device."""
    function = compile_posterior(structure, "class")
    tables = tuple(jnp.asarray(table, jnp.float32) for table in tables)
    n_objects = len(next(iter(known.values())))
    blocks = [
        (None, *(jnp.asarray(array[start : start + block_size]) for array in known.values()))
        for start in range(0, n_objects - block_size + 1, block_size)
    ]
    compile_time = best_time(lambda: function(tables, blocks[0], ()).block_until_ready(), 1)

    def run():
        # Two blocks under way at once, as `log_joint` has them: more would not stay in the cache.
        running = deque()
        for block in blocks:
            running.append(function(tables, block, ()))
            if len(running) > 2:
                running.popleft().block_until_ready()
        jax.block_until_ready(list(running))

    best = best_time(run, repetitions)
    return compile_time, len(blocks) * block_size / best


def whole(structure, tables, known, block_size, repetitions):
    """Posteriors a second from arrays to arrays, with checks and copies, and the log joint."""
    # The last, shorter block has a length of its own: compiled before the clock starts.
    found = log_joint(structure, "class", tables, known, block_size=block_size)
    best = best_time(lambda: log_joint(structure, "class", tables, known, block_size=block_size), repetitions)
    return len(found) / best, found


def pgmpy_rate(structure, tables, known, n_objects):
    """Posteriors a second of pgmpy's VariableElimination, and the posteriors."""
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.inference import VariableElimination
    from pgmpy.models import DiscreteBayesianNetwork

    states = dict(zip(structure.nodes, structure.n_states, strict=True))
    model = DiscreteBayesianNetwork()
    model.add_nodes_from(structure.nodes)
    for node, parents, table in zip(structure.nodes, structure.parents, tables, strict=True):
        model.add_edges_from((parent, node) for parent in parents)
        flat = np.exp(table).reshape(states[node], -1)
        model.add_cpds(TabularCPD(node, states[node], flat, list(parents), [states[p] for p in parents]))
    engine = VariableElimination(model)
    found = []
    start = time.perf_counter()
    for i in range(n_objects):
        hard, virtual = {}, []
        for node, array in known.items():
            if array.ndim == 1 and array[i] >= 0:
                hard[node] = int(array[i])
            elif array.ndim == 2 and array[i].any():
                virtual.append(TabularCPD(node, states[node], np.exp(array[i])[:, None]))
        query = engine.query(
            ["class"], evidence=hard or None, virtual_evidence=virtual or None, show_progress=False
        )
        found.append(query.values)
    return n_objects / (time.perf_counter() - start), np.array(found)


def pyagrum_rate(structure, tables, known, n_objects):
    """Posteriors a second of pyAgrum's LazyPropagation, and the posteriors."""
    import pyagrum

    model = pyagrum.BayesNet()
    for node, n in zip(structure.nodes, structure.n_states, strict=True):
        model.add(pyagrum.LabelizedVariable(node, node, n))
    for node, parents in zip(structure.nodes, structure.parents, strict=True):
        for parent in parents:
            model.addArc(parent, node)
    for node, parents, table in zip(structure.nodes, structure.parents, tables, strict=True):
        # The first variable of its tables varies fastest.
        order = [(node, *parents).index(name) for name in model.cpt(node).names]
        model.cpt(node).fillWith(np.exp(table).transpose(order).ravel(order="F").tolist())
    engine = pyagrum.LazyPropagation(model)
    engine.setTargets({"class"})
    found = []
    start = time.perf_counter()
    for i in range(n_objects):
        engine.eraseAllEvidence()
        for node, array in known.items():
            if array.ndim == 1 and array[i] >= 0:
                engine.addEvidence(node, int(array[i]))
            elif array.ndim == 2 and array[i].any():
                engine.addEvidence(node, np.exp(array[i]).tolist())
        engine.makeInference()
        found.append(engine.posterior("class").toarray())
    return n_objects / (time.perf_counter() - start), np.array(found)


def normalise(log_rows):
    """Probabilities in float64."""
    p = np.exp(np.asarray(log_rows, float) - log_rows.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def measure(name, options):
    """Print the table of one network."""
    rng = np.random.default_rng(1)
    structure, tables = random_network(rng, name == "tree-augmented")
    known = random_evidence(rng, structure, options.objects)
    rows = {node: as_rows(known[node], structure.n_states[structure.nodes.index(node)]) for node in known}
    results, compile_times = [], []
    for form, evidence in (("states", known), ("rows", rows)):
        compile_time, rate = kernel(structure, tables, evidence, options.block, options.repetitions)
        whole_rate, found = whole(structure, tables, evidence, options.block, options.repetitions)
        results += [(f"kernel, hard evidence as {form}", rate), (f"whole call, {form}", whole_rate)]
        compile_times.append(compile_time)
    with jax.enable_x64(True):
        few = {node: array[:5000] for node, array in known.items()}
        exact = log_joint(structure, "class", tables, few)
    error = np.abs(found[:5000] - exact).max()
    pgmpy, theirs = pgmpy_rate(structure, tables, known, N_PGMPY)
    pgmpy_difference = np.abs(normalise(exact[:N_PGMPY]) - theirs).max()
    pyagrum, theirs = pyagrum_rate(structure, tables, known, N_PYAGRUM)
    pyagrum_difference = np.abs(normalise(exact[:N_PYAGRUM]) - theirs).max()
    results += [("pyAgrum LazyPropagation", pyagrum), ("pgmpy VariableElimination", pgmpy)]
    print(f"\n{name}: aim {AIMS[name]:.0e} posteriors/s; compile {max(compile_times):.1f} s")
    print(f"{'':36s}{'per second':>12s}{'of aim':>9s}{'x pgmpy':>9s}{'x pyAgrum':>10s}")
    for what, rate in results:
        print(f"{what:36s}{rate:12.3g}{rate / AIMS[name]:9.2g}{rate / pgmpy:9.3g}{rate / pyagrum:10.3g}")
    print(
        f"float32 against float64, log joint: {error:.1e}; float64 posterior against pgmpy "
        f"{pgmpy_difference:.1e}, against pyAgrum {pyagrum_difference:.1e}"
    )


def main():
    """Print one table for each of the two networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=200_000)
    parser.add_argument("--block", type=int, default=BLOCK_SIZE)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    device = jax.devices()[0]
    print(
        f"jax {jax.__version__} on {device.device_kind}, {options.objects} objects in blocks of "
        f"{options.block}, best of {options.repetitions}"
    )
    for name in AIMS:
        measure(name, options)


if __name__ == "__main__":
    main()
