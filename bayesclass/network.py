"""The Bayesian network of the class and its evidence: learning, likelihood of each class, reasons, draws."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from bayesclass import network_export
from bayesclass.inference import Structure
from bayesclass.joint_density import JointDensity, JointParameters
from bayesclass.joint_density_fit import JointSample, draw_joint
from bayesclass.network_evaluate import evaluate, network_structure
from bayesclass.network_fit import check_labels, learn
from bayesclass.network_parameters import NodeCounts, NodeParameters
from bayesclass.network_spec import JointSpec, NetworkError, NetworkSpec
from bayesclass.nodes import MISSING, Encoded, EvidenceNode
from context.evidence import EvidenceTable

__all__ = ["BayesianNetwork", "JointSpec", "NetworkError", "NetworkSpec"]

Draw = dict[str, NodeParameters | JointParameters]


@dataclass(frozen=True)
class BayesianNetwork:
    """A fitted network. Depends on evidence columns; missing evidence is summed out exactly.

    Build one with `fit` or `from_arrays`. Arrays over classes follow `spec.class_states`.

    Attributes
    ----------
    spec : NetworkSpec
    nodes : dict of str to EvidenceNode
        In topological order; without the columns of joint densities.
    parents : dict of str to tuple of str
        The class, where it is a parent, comes first.
    parameters : dict of str to NodeParameters
    class_frequency : float64 array, shape (n_leaves,)
        Share of each class in the training sample; no part of the likelihood.
    draws : tuple of dict of str to NodeParameters or JointParameters
        Posterior draws of the parameters, by node and joint density.
    summary : dict
        Counts of the fit: objects, partial labels, and for each node the objects that its table rests on.
    joint : dict of str to JointDensity
        Blocks of columns described together, by name.
    """

    spec: NetworkSpec
    nodes: dict[str, EvidenceNode]
    parents: dict[str, tuple[str, ...]]
    parameters: dict[str, NodeParameters]
    class_frequency: np.ndarray
    draws: tuple[Draw, ...] = ()
    summary: dict = field(default_factory=dict)
    joint: dict[str, JointDensity] = field(default_factory=dict)
    _counts: dict[str, NodeCounts] | None = None
    _samples: dict[str, JointSample] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        spec: NetworkSpec,
        evidence: EvidenceTable,
        allowed: np.ndarray,
        weights: np.ndarray | None = None,
        *,
        n_draws: int = 32,
        seed: int = 0,
    ) -> BayesianNetwork:
        """Learn tables and densities from labelled objects.

        Parameters
        ----------
        spec : NetworkSpec
        evidence : EvidenceTable
        allowed : bool array, shape (n_objects, n_leaves)
            Leaves that an object's label allows. Several leaves share the object by expectation maximisation,
            whose expectation step is the network's own inference.
        weights : float array, shape (n_objects,), optional
            How many objects each row counts for; default 1.
        n_draws : int
            Posterior draws of the parameters kept with the network.
        seed : int
            Of those draws.

        Returns
        -------
        BayesianNetwork

        Raises
        ------
        NetworkError
            An edge that is not possible; shapes that differ; a row without an allowed leaf; weights that are
            negative, not finite or all zero; no object.

        Notes
        -----
        Tables use available cases: an object counts where the node and all its parents are known. A measured
        value is scored by the density given its parents, its error included; as a parent it acts by its bin.
        """
        parents = spec.parents(tuple(evidence.columns))
        allowed, weights = check_labels(spec, evidence, allowed, weights)
        nodes = {name: EvidenceNode.from_column(evidence.columns[name]) for name in parents}
        spec.check_sizes(parents, {name: node.n_states for name, node in nodes.items()})
        blocks = tuple((block, _block_nodes(block, evidence)) for block in spec.joint)
        every = nodes | {name: node for _, own in blocks for name, node in own.items()}
        encoded = {name: node.encode(evidence.columns[name]) for name, node in every.items()}
        structure = network_structure(spec, nodes, parents)
        counts, frequency, responsibilities, fitted = learn(
            structure,
            nodes,
            encoded,
            allowed,
            weights,
            joint=blocks,
            probability=_probabilities(spec, evidence),
            seed=seed,
        )
        summary = {
            "n_objects": len(allowed),
            "n_partial_labels": int((allowed.sum(axis=1) > 1).sum()),
            "class_objects": (weights @ responsibilities).tolist(),
            "known": {name: int((codes.state >= 0).sum()) for name, codes in encoded.items()},
            "beyond_grid": {
                name: int(node.grid.outside(encoded[name].value[encoded[name].cell >= 0]).sum())
                for name, node in every.items()
                if node.grid is not None
            },
        }
        parameters = {name: counts[name].parameters(node) for name, node in nodes.items()}
        joint = {name: density for name, (density, _) in fitted.items()}
        samples = {name: sample for name, (_, sample) in fitted.items()}
        network = cls(spec, nodes, parents, parameters, frequency, (), summary, joint, counts, samples)
        return replace(network, draws=network.draw(np.random.default_rng(seed), n_draws))

    @cached_property
    def structure(self) -> Structure:
        """Static structure for inference: class first, then the evidence."""
        return network_structure(self.spec, self.nodes, self.parents)

    def log_likelihood(self, evidence: EvidenceTable) -> np.ndarray:
        """Compute log p(evidence | class); the class prior is not included.

        Parameters
        ----------
        evidence : EvidenceTable
            With every column of the network; others are not used.

        Returns
        -------
        float64 array, shape (n_objects, n_leaves)
            Exactly zero for an object without any evidence. Densities are per unit of the transformed value.

        Raises
        ------
        NetworkError
            A column of the network is missing from the table.
        NodeError
            A column does not fit its node.
        """
        encoded = self._encode(evidence)
        return self._evaluate(self.parameters, encoded, evidence.n_objects) + self._joint(encoded)

    def contributions(self, evidence: EvidenceTable) -> dict[str, np.ndarray]:
        """Compute what each column adds: log p(e_j | e_1 .. e_j-1, class) in topological order.

        Returns
        -------
        dict of str to float64 array, shape (n_objects, n_leaves)
            Exactly zero where the column is not covered. The sum over columns is `log_likelihood`. Columns of
            joint densities come last, each after those before it in its block.
        """
        encoded = self._encode(evidence)
        shown = {name: _hidden(codes) for name, codes in encoded.items()}
        before = np.zeros((evidence.n_objects, len(self.spec.class_states)))
        result = {}
        for name in self.nodes:
            shown[name] = encoded[name]
            after = self._evaluate(self.parameters, shown, evidence.n_objects)
            known = (encoded[name].state >= 0)[:, None]
            after = np.where(known, after, before)
            result[name] = after - before
            before = after
        for density in self.joint.values():
            result |= density.contributions(encoded)
        return result

    def draw(self, rng: np.random.Generator, n_draws: int) -> tuple[Draw, ...]:
        """Draw parameters from their posterior: Dirichlet for tables, Bayesian bootstrap for densities.

        Returns
        -------
        tuple of dict of str to NodeParameters or JointParameters, float32

        Raises
        ------
        NetworkError
            The network was read from a model directory, which keeps draws but not the counts they come from.
        """
        if self._counts is None:
            raise NetworkError(
                f"New draws need the counts of the fit, and a stored network keeps only its "
                f"{len(self.draws)} draws; use those (`draws`), or fit again."
            )
        return tuple(
            {name: _as_float32(self._counts[name].parameters(node, rng)) for name, node in self.nodes.items()}
            | {name: draw_joint(block, self._samples[name], rng) for name, block in self.joint.items()}
            for _ in range(n_draws)
        )

    def log_likelihood_draws(self, evidence: EvidenceTable) -> np.ndarray:
        """Compute `log_likelihood` under each posterior draw of the parameters.

        Returns
        -------
        float32 array, shape (n_draws, n_objects, n_leaves)
        """
        encoded = self._encode(evidence)
        shape = (len(self.draws), evidence.n_objects, len(self.spec.class_states))
        result = np.zeros(shape, dtype=np.float32)
        for i, parameters in enumerate(self.draws):
            result[i] = self._evaluate(parameters, encoded, evidence.n_objects)
            result[i] += self._joint(encoded, parameters)
        return result

    def to_pgmpy(self):
        """Return a checked `pgmpy.models.DiscreteBayesianNetwork`; see `network_export`."""
        return network_export.to_pgmpy(self)

    def to_bif(self, path) -> None:
        """Write the discrete network as a BIF file; see `network_export`."""
        network_export.to_bif(self, path)

    def to_arrays(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Return a dictionary for JSON and arrays for a model directory; see `network_export`."""
        return network_export.to_arrays(self)

    @classmethod
    def from_arrays(cls, meta: dict, arrays: dict[str, np.ndarray]) -> BayesianNetwork:
        """Inverse of `to_arrays`."""
        return cls(**network_export.from_arrays(meta, arrays))

    def _encode(self, evidence: EvidenceTable) -> dict[str, Encoded]:
        nodes = dict(self.nodes)
        for block in self.joint.values():
            nodes |= block.nodes
        missing = [name for name in nodes if name not in evidence.columns]
        if missing:
            raise NetworkError(
                f"The evidence needs all columns of the network, found none named {', '.join(missing)}; "
                "build the table with the recipe that the model was fitted with."
            )
        return {name: node.encode(evidence.columns[name]) for name, node in nodes.items()}

    def _evaluate(self, parameters, encoded, n_objects: int) -> np.ndarray:
        of_nodes = {name: encoded[name] for name in self.nodes}
        return evaluate(self.structure, self.nodes, parameters, of_nodes, n_objects)

    def _joint(self, encoded, parameters=None):
        """Log-likelihood of all joint densities: given the class they are independent of all else."""
        drawn = parameters or {}
        return sum(
            block.log_likelihood(encoded, parameters=drawn.get(name)) for name, block in self.joint.items()
        )


def _probabilities(spec: NetworkSpec, evidence: EvidenceTable) -> tuple[str, ...]:
    """Return the columns of joint densities whose declared range says that they are probabilities."""
    declared = {name: evidence.columns[name].spec for name in spec.joint_columns}
    return tuple(
        name
        for name, own in declared.items()
        if own.transform == "identity" and own.valid_range is not None and tuple(own.valid_range) == (0, 1)
    )


def _block_nodes(block: JointSpec, evidence: EvidenceTable) -> dict[str, EvidenceNode]:
    """Return the columns of a joint density as nodes, or refuse those that are not continuous."""
    for name in block.columns:
        if evidence.columns[name].spec.kind != "continuous":
            raise NetworkError(
                f"A joint density takes continuous columns, found {name!r} of kind "
                f"{evidence.columns[name].spec.kind} in {block.name!r}; take it out of the block."
            )
    return {name: EvidenceNode.from_column(evidence.columns[name]) for name in block.columns}


def _hidden(codes: Encoded) -> Encoded:
    nothing = np.full(len(codes.state), MISSING, dtype=np.int64)
    return Encoded(nothing, nothing, codes.value, codes.error)


def _as_float32(parameters: NodeParameters) -> NodeParameters:
    cells = parameters.log_cells
    return NodeParameters(
        parameters.log_cpd.astype(np.float32), None if cells is None else cells.astype(np.float32)
    )
