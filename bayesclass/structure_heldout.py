"""Cross-validated log-loss of the class for networks that differ in a few edges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from bayesclass import metrics
from bayesclass.folds import stratified_folds
from bayesclass.network import BayesianNetwork
from bayesclass.network_spec import NetworkSpec
from context.evidence import EvidenceTable

__all__ = ["HeldOutLoss"]

Edge = tuple[str, str]


class HeldOutLoss:
    r"""Log-loss of each object by networks that were fitted on the other folds.

    Given the class, columns that no edge joins are independent, so the log-likelihood is a sum over groups
    of joined columns. A group is fitted once for each set of its edges, and an edge changes one group only:

    .. math:: \ln p(e | c) = \sum_g \ln p(e_g | c)

    Parameters
    ----------
    evidence : EvidenceTable
        Of objects whose class is known.
    label : int array, shape (n_objects,)
        Index into the leaves.
    spec : NetworkSpec
        Its joint densities are part of every network; its edges between columns are not, unless asked for.
    groups : int array, shape (n_objects,)
        Objects that must share a fold.
    folds : int
    seed : int
        Of the folds.
    """

    def __init__(
        self,
        evidence: EvidenceTable,
        label: np.ndarray,
        spec: NetworkSpec,
        *,
        groups: np.ndarray,
        folds: int = 5,
        seed: int = 0,
    ):
        self.evidence, self.label, self.spec = replace(evidence, alternatives=None, matches={}), label, spec
        self.columns = [name for name in evidence.columns if name not in spec.joint_columns]
        self.seed = seed
        self.fold = stratified_folds(label, groups, folds, np.random.default_rng([seed, 2]))
        self.log_prior = np.zeros((len(label), len(spec.class_states)))
        for k in range(folds):
            counts = np.bincount(label[self.fold != k], minlength=len(spec.class_states)) + 0.5
            self.log_prior[self.fold == k] = np.log(counts / counts.sum())
        self._known: dict[tuple, np.ndarray] = {}

    def losses(self, edges: Iterable[Edge]) -> np.ndarray:
        """Log-loss of each object with these edges between columns, shape (n_objects,) [nat]."""
        return metrics.log_losses(self.probability(edges), self.label)

    def probability(self, edges: Iterable[Edge]) -> np.ndarray:
        """Held-out class probabilities, shape (n_objects, n_leaves)."""
        edges = tuple(edges)
        joined = DisjointSet(self.columns)
        for edge in edges:
            joined.merge(*edge)
        log_joint = self.log_prior + sum(
            self._log_likelihood(tuple(block.columns), (), block) for block in self.spec.joint
        )
        for members in joined.subsets():
            # In the order of the table, so that one group has one name.
            own = tuple(name for name in self.columns if name in members)
            log_joint = log_joint + self._log_likelihood(own, tuple(e for e in edges if e[0] in members))
        p = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def _log_likelihood(self, columns: tuple[str, ...], edges: tuple[Edge, ...], block=None) -> np.ndarray:
        """Held-out log p(columns | class) of a group, shape (n_objects, n_leaves)."""
        key = (columns, frozenset(edges))
        if key not in self._known:
            spec = NetworkSpec(
                class_states=self.spec.class_states,
                edges=edges,
                no_class_edge=tuple(name for name in self.spec.no_class_edge if name in columns),
                class_name=self.spec.class_name,
                joint=() if block is None else (block,),
                densities={name: own for name, own in self.spec.densities.items() if name in columns},
                # Pooled tables are sampled for the final network alone.
                tables={
                    name: own for name, own in self.spec.tables.items() if name in columns and own != "pooled"
                },
                tree=self.spec.tree,
                # Quick, and as good for saying whether an edge helps.
                missing_cells="available",
            )
            own = {name: self.evidence.columns[name] for name in columns}
            table = replace(self.evidence, columns=own)
            allowed = np.eye(len(spec.class_states), dtype=bool)[self.label]
            result = np.zeros(allowed.shape)
            for k in np.unique(self.fold):
                train, test = np.flatnonzero(self.fold != k), np.flatnonzero(self.fold == k)
                network = BayesianNetwork.fit(
                    spec, table.take(train), allowed[train], n_draws=0, seed=self.seed
                )
                result[test] = network.log_likelihood(table.take(test))
            self._known[key] = result
        return self._known[key]
