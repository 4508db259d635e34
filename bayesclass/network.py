"""The Bayesian network of the class and its evidence: learning, likelihood of each class, reasons, draws."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bayesclass import network_export
from bayesclass.inference import Structure
from bayesclass.information_states import StateLikelihoods, network_states
from bayesclass.joint_density import JointDensity, JointParameters
from bayesclass.joint_density_fit import JointSample, draw_joint
from bayesclass.network_evaluate import evaluate, network_structure
from bayesclass.network_fit import check_labels, learn
from bayesclass.network_parameters import NodeCounts, NodeParameters, choose_densities
from bayesclass.network_pooling import pool_nodes
from bayesclass.network_queries import hidden, node_posterior
from bayesclass.network_spec import LATENT, JointSpec, LatentSpec, NetworkError, NetworkSpec
from bayesclass.nodes import MISSING, Encoded, EvidenceNode
from context.evidence import EvidenceTable

if TYPE_CHECKING:
    from bayesclass.pooling import PooledTable

__all__ = ["BayesianNetwork", "JointSpec", "LatentSpec", "NetworkError", "NetworkSpec"]

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
        PoolingError
            Sampling of a pooled table that did not converge.

        Notes
        -----
        Missing cells above a known node and latent nodes are summed over, and tables are learned from
        expected counts (`network_fit.learn`), or, where the spec says so, from available cases: objects of
        which the node and all its parents are known. A measured value is scored by the density given its
        parents, its error included; as a parent it acts by its bin. Draws take expected counts for counts, so
        they are too narrow by what missing cells leave unknown.
        """
        parents = spec.parents(tuple(evidence.columns))
        allowed, weights = check_labels(spec, evidence, allowed, weights)
        nodes = {
            name: EvidenceNode.from_column(
                evidence.columns[name],
                density=spec.densities.get(name, "kernel"),
                table=spec.tables.get(name, "dirichlet"),
            )
            for name in parents
            if name in evidence.columns
        }
        nodes |= {node.name: _latent_node(node) for node in spec.latent}
        nodes = {name: nodes[name] for name in parents}
        spec.check_sizes(parents, {name: node.n_states for name, node in nodes.items()})
        blocks = tuple((block, _block_nodes(block, evidence)) for block in spec.joint)
        every = nodes | {name: node for _, own in blocks for name, node in own.items()}
        encoded = _encoded(every, evidence)
        structure = network_structure(spec, nodes, parents)
        nodes = choose_densities(structure, nodes, encoded, allowed, weights)
        learned = learn(
            structure,
            nodes,
            encoded,
            allowed,
            weights,
            joint=blocks,
            probability=_probabilities(spec, evidence),
            seed=seed,
            expected=spec.missing_cells == "expected",
        )
        counts, pooled = pool_nodes(spec, nodes, parents, learned.counts, seed=seed)
        summary = {
            "n_objects": len(allowed),
            "n_partial_labels": int((allowed.sum(axis=1) > 1).sum()),
            "class_objects": (weights @ learned.responsibilities).tolist(),
            "known": {
                name: int((codes.state >= 0).sum())
                for name, codes in encoded.items()
                if every[name].kind != LATENT
            },
            "beyond_grid": {
                name: int(node.grid.outside(encoded[name].value[encoded[name].cell >= 0]).sum())
                for name, node in every.items()
                if node.grid is not None
            },
            **({"pooled": pooled} if pooled else {}),
            "learning": {"steps": len(learned.gains), "ending": learned.ending, "path": list(learned.path)},
        }
        parameters = {name: counts[name].parameters(node) for name, node in nodes.items()}
        joint = {name: density for name, (density, _) in learned.blocks.items()}
        samples = {name: sample for name, (_, sample) in learned.blocks.items()}
        frequency = learned.frequency
        network = cls(spec, nodes, parents, parameters, frequency, (), summary, joint, counts, samples)
        return replace(network, draws=network.draw(np.random.default_rng(seed), n_draws))

    @cached_property
    def structure(self) -> Structure:
        """Static structure for inference: class first, then the evidence."""
        return network_structure(self.spec, self.nodes, self.parents)

    @property
    def pooled(self) -> dict[str, PooledTable]:
        """Tables that were pooled by sampling, by node; none for a network that was read from a file."""
        found = {name: counts.states for name, counts in (self._counts or {}).items()}
        return {name: table for name, table in found.items() if self.nodes[name].table == "pooled"}

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
        shown = {name: hidden(codes) for name, codes in encoded.items()}
        before = np.zeros((evidence.n_objects, len(self.spec.class_states)))
        result = {}
        for name, node in self.nodes.items():
            if node.kind == LATENT:
                continue
            shown[name] = encoded[name]
            after = self._evaluate(self.parameters, shown, evidence.n_objects)
            known = (encoded[name].state >= 0)[:, None]
            after = np.where(known, after, before)
            result[name] = after - before
            before = after
        for density in self.joint.values():
            result |= density.contributions(encoded)
        return result

    def state_log_likelihoods(self, evidence: EvidenceTable, column: str) -> StateLikelihoods:
        """Compute log p(all other evidence, column = s | class) for every state s that a column can have.

        Parameters
        ----------
        evidence : EvidenceTable
            As for `log_likelihood`. What it says of the column itself is not looked at.
        column : str

        Returns
        -------
        StateLikelihoods
            States of a category or count; values, one a cell, of a column with a density; "none found".

        Raises
        ------
        NetworkError
            The column is none of the network's evidence.
        """
        return network_states(self, evidence, column)

    def posterior(
        self,
        evidence: EvidenceTable,
        node: str,
        *,
        class_log: np.ndarray | None = None,
        hide_own: bool = False,
    ) -> tuple[tuple[str, ...], np.ndarray]:
        r"""Compute the exact posterior of any node, such as a latent one or a column that was not measured.

        .. math:: p(x_v | e) \propto \sum_{x \setminus v} \lambda(c)\, p(x, e | c)

        Parameters
        ----------
        evidence : EvidenceTable
            As for `log_likelihood`.
        node : str
            A column, a latent node or the class; no column of a joint density.
        class_log : float array, shape (n_objects, n_leaves), optional
            Virtual evidence of the class: its log prior, with log-likelihoods of what is not in this network,
            such as light curves. Default: the log of `class_frequency`.
        hide_own : bool
            Leave out what was measured of the node itself; otherwise a known state has probability one.

        Returns
        -------
        states : tuple of str
            Names; bins of a column with a density.
        probability : float64 array, shape (n_objects, n_states)

        Raises
        ------
        NetworkError
            No such node, or class evidence of another shape, not a number, or without a possible leaf.
        """
        return node_posterior(self, evidence, node, class_log=class_log, hide_own=hide_own)

    def draw(self, rng: np.random.Generator, n_draws: int) -> tuple[Draw, ...]:
        """Draw parameters from their posterior: Dirichlet for tables, Gaussian processes for kernels.

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
        missing = [
            name for name, node in nodes.items() if node.kind != LATENT and name not in evidence.columns
        ]
        if missing:
            raise NetworkError(
                f"The evidence needs all columns of the network, found none named {', '.join(missing)}; "
                "build the table with the recipe that the model was fitted with."
            )
        return _encoded(nodes, evidence)

    def _evaluate(self, parameters, encoded, n_objects: int) -> np.ndarray:
        of_nodes = {name: encoded[name] for name in self.nodes}
        return evaluate(self.structure, self.nodes, parameters, of_nodes, n_objects)

    def _joint(self, encoded, parameters=None):
        """Log-likelihood of all joint densities: given the class they are independent of all else."""
        drawn = parameters or {}
        return sum(
            block.log_likelihood(encoded, parameters=drawn.get(name)) for name, block in self.joint.items()
        )


def _latent_node(latent: LatentSpec) -> EvidenceNode:
    return EvidenceNode(latent.name, LATENT, latent.states, np.zeros(0), False)


def _encoded(nodes: dict[str, EvidenceNode], evidence: EvidenceTable) -> dict[str, Encoded]:
    """Code the objects; latent nodes are missing in all."""
    nothing = np.full(evidence.n_objects, MISSING, dtype=np.int64)
    nan = np.full(evidence.n_objects, np.nan)
    return {
        name: Encoded(nothing, nothing, nan, nan)
        if node.kind == LATENT
        else node.encode(evidence.columns[name])
        for name, node in nodes.items()
    }


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


def _as_float32(parameters: NodeParameters) -> NodeParameters:
    cells = parameters.log_cells
    return NodeParameters(
        parameters.log_cpd.astype(np.float32), None if cells is None else cells.astype(np.float32)
    )
