r"""Expected counts of all families given the evidence, as the gradient of the inference: the E-step of EM.

With the joint probability of evidence and label, log-linear in each table,

.. math:: \frac{\partial}{\partial \log\theta_{v|\mathrm{pa}}} \sum_i w_i \log p(e_i)
          = \sum_i w_i\, p(v, \mathrm{pa} \mid e_i)

is the table of expected counts, and the derivative by an object's factor over the parents of a measured value
is the posterior of their configuration, from which the cells of its density are counted.

A node that is missing in an object, with all its descendants, is barren: it is summed out to one and tells
nothing. It gets one more state there, "unknown", of probability one whatever the parents are, so that it
counts for no table. (Counting it would not move the fixed point of EM, and would slow the way there.)

References
----------
Darwiche (2003), Journal of the ACM 50, 280 (derivatives of the network polynomial).
Koller & Friedman (2009), Probabilistic Graphical Models, section 19.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from bayesclass.inference import Structure
from bayesclass.inference_program import compile_programs
from bayesclass.network_counts import FamilyCounts
from bayesclass.network_parameters import NodeParameters
from bayesclass.nodes import Encoded, EvidenceNode

__all__ = ["Expectation", "ExpectedCounts", "barren_nodes"]

BLOCK_SIZE = 1024
_SMALLEST_BLOCK = 64


@dataclass(frozen=True)
class Expectation:
    """What is expected of a sample under given tables.

    Attributes
    ----------
    log_likelihood : float
        Sum of w_i log p(e_i, allowed leaves).
    class_posterior : float64 array, shape (n_objects, n_leaves)
        Of each object given its evidence and label.
    counts : dict of str to FamilyCounts
    """

    log_likelihood: float
    class_posterior: np.ndarray
    counts: dict[str, FamilyCounts]


def barren_nodes(structure: Structure, encoded: dict[str, Encoded]) -> dict[str, np.ndarray]:
    """Where a node is missing together with all its descendants, bool array (n_objects,) a node."""
    children: dict[str, list[str]] = {name: [] for name in structure.nodes}
    for name, parents in zip(structure.nodes, structure.parents, strict=True):
        for parent in parents:
            children[parent].append(name)
    result: dict[str, np.ndarray] = {}
    for name in reversed(structure.topological_order()):
        if name in encoded:
            result[name] = np.logical_and.reduce(
                [encoded[name].state < 0, *(result[child] for child in children[name])]
            )
    return {name: result[name] for name in encoded}


class ExpectedCounts:
    """The E-step for one sample; what does not change from step to step is prepared once.

    Parameters
    ----------
    structure : Structure
        Of `network_structure`: the class first, a factor over the parents of each node with a density.
    nodes : dict of str to EvidenceNode
    encoded : dict of str to Encoded
    weights : float array, shape (n_objects,)
        Above zero.
    block_size : int
        Objects a call of the compiled function, so that memory does not grow with the sample.
    """

    def __init__(
        self,
        structure: Structure,
        nodes: dict[str, EvidenceNode],
        encoded: dict[str, Encoded],
        weights: np.ndarray,
        *,
        block_size: int = BLOCK_SIZE,
    ):
        self.structure, self.nodes, self.encoded = structure, nodes, encoded
        self.weights, self.block_size = np.asarray(weights, dtype=float), block_size
        barren = barren_nodes(structure, encoded)
        # Nodes with the additional state "unknown".
        self.extended = {name for name, rows in barren.items() if rows.any()}
        sizes = tuple(
            n + (name in self.extended) for name, n in zip(structure.nodes, structure.n_states, strict=True)
        )
        self._inner = replace(structure, n_states=sizes)
        # State of each node: -1 is missing with something to infer from, n_states is "unknown".
        self._state = {
            name: np.where(barren[name], nodes[name].n_states, codes.state) for name, codes in encoded.items()
        }

    def __call__(
        self, parameters: dict[str, NodeParameters], frequency: np.ndarray, class_rows: np.ndarray
    ) -> Expectation:
        """Take the E-step.

        Parameters
        ----------
        parameters : dict of str to NodeParameters
        frequency : float array, shape (n_leaves,)
            Of the classes, above zero.
        class_rows : float array, shape (n_objects, n_leaves)
            Log evidence of the class from elsewhere: -inf for leaves that the label does not allow.

        Returns
        -------
        Expectation
            Computed in float64.
        """
        with jax.enable_x64(True):
            return self._run(parameters, frequency, class_rows)

    def _run(self, parameters, frequency, class_rows) -> Expectation:
        tables = tuple(
            [jnp.asarray(np.log(frequency))]
            + [jnp.asarray(self._extend(name, parameters[name].log_cpd)) for name in self.nodes]
        )
        n = len(self.weights)
        quick, in_logs = _compiled(self._inner)
        posterior = np.zeros((n, len(frequency)))
        of_tables = [np.zeros(np.shape(table)) for table in tables]
        cells = {
            name: np.zeros((node.grid.n_cells, *np.shape(parameters[name].log_cells)[1:]))
            for name, node in self.nodes.items()
            if node.grid is not None
        }
        total = 0.0
        for start in range(0, n, self.block_size):
            stop = min(start + self.block_size, n)
            size = min(self.block_size, max(_SMALLEST_BLOCK, 1 << (stop - start - 1).bit_length()))
            block = slice(start, stop)
            factors = self._factors(parameters, block)
            arguments = (
                tables,
                tuple(_padded(rows, size) for rows in self._evidence(class_rows, block)),
                tuple(_padded(values, size) for values in factors),
                _padded(self.weights[block], size),
            )
            log_p, safe, grads = quick(*arguments)
            if not safe:
                log_p, _, grads = in_logs(*arguments)
            total += float(self.weights[block] @ np.asarray(log_p)[: stop - start])
            for sums, grad in zip(of_tables, grads[0], strict=True):
                sums += np.asarray(grad)
            posterior[block] = np.asarray(grads[1])[: stop - start] / self.weights[block, None]
            for name, grad in zip(cells, grads[2], strict=True):
                own = self._inner_part(name, np.asarray(grad)[: stop - start])
                cell = self.encoded[name].cell[block]
                np.add.at(cells[name], cell[cell >= 0], own[cell >= 0])
        families = {
            name: self._family(name, parameters[name], of_tables[i], cells.get(name))
            for i, name in enumerate(self.nodes, start=1)
        }
        return Expectation(total, posterior, families)

    def _family(self, name: str, parameters: NodeParameters, of_table, cells) -> FamilyCounts:
        """Return the counts of one node from the derivatives by its table and by its objects' factors."""
        node = self.nodes[name]
        parents = self._parents(name)
        states = of_table[(slice(node.n_states), *(slice(self._n(parent)) for parent in parents))]
        leading = self._n(parents[0]) if self.structure.nodes[0] in parents else 1

        def pair(counts):
            # Where a count is zero, rounding may leave it just below.
            counts = np.maximum(counts, 0.0).reshape(len(counts), leading, -1)
            return counts, counts.sum(axis=2)

        if node.grid is None:
            return FamilyCounts(None, pair(states))
        # What is not measured but inferred from children falls on the cells of a bin as the density has it.
        bins = states[: node.n_measured_states]
        inferred = bins - node.bin_mass(cells)
        density = np.exp(np.asarray(parameters.log_cells, dtype=float))
        within = density / node.bin_mass(density)[node.bin_of_cell]
        cells = pair(cells + inferred[node.bin_of_cell] * within)
        if not node.has_none:
            return FamilyCounts(cells, None)
        return FamilyCounts(cells, pair(np.stack([bins.sum(axis=0), states[-1]])))

    def _parents(self, name: str) -> tuple[str, ...]:
        return self.structure.parents[self.structure.nodes.index(name)]

    def _n(self, name: str) -> int:
        return self.structure.n_states[self.structure.nodes.index(name)]

    def _extend(self, name: str, log_table) -> np.ndarray:
        """Add "unknown" to the axes of a table, with log probability 0."""
        more = [(0, axis in self.extended) for axis in (name, *self._parents(name))]
        return np.pad(np.asarray(log_table, dtype=float), more)

    def _inner_part(self, name: str, factor: np.ndarray) -> np.ndarray:
        """Drop the parents' states "unknown" from an array (n_objects, *parents)."""
        return factor[(slice(None), *(slice(self._n(parent)) for parent in self._parents(name)))]

    def _evidence(self, class_rows, block: slice):
        """Log evidence of the class, then known states or log evidence of each node, for a block."""
        yield np.asarray(class_rows[block], dtype=float)
        for name, state in self._state.items():
            state, n = state[block], self.nodes[name].n_states
            if name not in self.extended:
                yield state
                continue
            # A missing node that is not barren has any state but "unknown".
            rows = np.where(np.arange(n + 1) == state[:, None], 0.0, -np.inf)
            rows[state < 0, :n] = 0.0
            yield rows

    def _factors(self, parameters, block: slice) -> list[np.ndarray]:
        """Density of each measured value within its bin over the states of the parents."""
        result = []
        for name, node in self.nodes.items():
            if node.grid is None:
                continue
            codes = Encoded(*(array[block] for array in self.encoded[name]))
            factor = parameters[name].log_density_in_bin(node, codes)
            more = [(0, parent in self.extended) for parent in self._parents(name)]
            result.append(np.pad(factor, [(0, 0), *more]))
        return result


@lru_cache(maxsize=128)
def _compiled(structure: Structure):
    """Log-likelihood of each object and the derivatives of their weighted sum, quickly and in logs."""
    programs = compile_programs(structure, structure.nodes[0])

    def differentiated(inference):
        def total(tables, class_rows, factors, rows, weights):
            joint, safe = inference(tables, (class_rows, *rows), factors)
            log_p = jax.nn.logsumexp(joint, axis=1)
            return weights @ log_p, (log_p, safe)

        def run(tables, rows, factors, weights):
            gradient = jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)
            (_, (log_p, safe)), grads = gradient(tables, rows[0], factors, rows[1:], weights)
            return log_p, jnp.all(safe), grads

        return jax.jit(run)

    def in_logs(*arguments):
        return programs.in_logs(*arguments), jnp.asarray(True)

    return differentiated(programs.quick), differentiated(in_logs)


def _padded(array: np.ndarray, size: int):
    """Add rows of zeros up to `size`; they have no weight."""
    return jnp.asarray(np.pad(array, [(0, size - len(array)), *[(0, 0)] * (array.ndim - 1)]))
