"""A training sample with the two steps of expectation maximisation on it, and what is learned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np

from bayesclass.em_update import updated
from bayesclass.expected_counts import Expectation, ExpectedCounts, barren_nodes
from bayesclass.inference import Structure
from bayesclass.joint_density import JointDensity
from bayesclass.joint_density_fit import JointSample, refine_joint
from bayesclass.latent_start import split_over_latent
from bayesclass.network_counts import FamilyCounts, available_cases
from bayesclass.network_evaluate import evaluate
from bayesclass.network_parameters import NodeCounts, estimate_parameters, typical_error
from bayesclass.network_spec import LATENT
from bayesclass.network_tables import Smoothed
from bayesclass.nodes import Encoded, EvidenceNode

__all__ = ["Learned", "LearningSample"]

FIRST_WEIGHT_OF_PARTIAL = 0.1


class Learned(NamedTuple):
    """Everything that is learned from a sample.

    Attributes
    ----------
    counts : dict of str to NodeCounts
    frequency : float64 array, shape (n_leaves,)
    responsibilities : float64 array, shape (n_objects, n_leaves)
        Share of each leaf in each object.
    blocks : dict of str to (JointDensity, JointSample)
    path : tuple of float
        Log-likelihood of evidence and labels before each step and after the last; empty where the sample
        needs none.
    gains : tuple of float
        What each step adds to log-likelihood and log prior together; see `learn`.
    ending : str
        "complete", where there is nothing to iterate; "converged"; or "most steps".
    """

    counts: dict[str, NodeCounts]
    frequency: np.ndarray
    responsibilities: np.ndarray
    blocks: dict[str, tuple[JointDensity, JointSample]]
    path: tuple[float, ...] = ()
    gains: tuple[float, ...] = ()
    ending: str = "complete"


@dataclass(frozen=True)
class LearningSample:
    """Training objects, and the two steps on them."""

    structure: Structure
    nodes: dict[str, EvidenceNode]
    encoded: dict[str, Encoded]
    allowed: np.ndarray
    weights: np.ndarray
    expected: bool

    @cached_property
    def latent(self) -> tuple[str, ...]:
        """Names of the latent nodes."""
        return tuple(name for name, node in self.nodes.items() if node.kind == LATENT)

    @cached_property
    def counts_expected(self) -> bool:
        """Whether tables are learned from expected counts."""
        return self.expected or bool(self.latent)

    @cached_property
    def partial(self) -> np.ndarray:
        """Objects of which the label allows several leaves, bool (n_objects,)."""
        return self.allowed.sum(axis=1) > 1

    @cached_property
    def of_nodes(self) -> dict[str, Encoded]:
        """The coded objects, without columns of joint densities."""
        return {name: self.encoded[name] for name in self.nodes}

    @cached_property
    def inferred(self) -> np.ndarray:
        """Objects of which something must be inferred: the leaf, or what lies above a known node."""
        found = self.partial.copy()
        if self.counts_expected:
            for name, barren in barren_nodes(self.structure, self.of_nodes).items():
                found |= (self.encoded[name].state < 0) & ~barren
        return found & (self.weights > 0)

    @cached_property
    def equal_shares(self) -> np.ndarray:
        """Shares of the leaves that a label allows, all the same."""
        return self.allowed / self.allowed.sum(axis=1, keepdims=True)

    @cached_property
    def e_step(self) -> ExpectedCounts:
        """The E-step of the objects of which something is inferred."""
        rows = {name: _rows(codes, self.inferred) for name, codes in self.of_nodes.items()}
        return ExpectedCounts(self.structure, self.nodes, rows, self.weights[self.inferred])

    @cached_property
    def complete_counts(self) -> dict[str, FamilyCounts]:
        """Counts of the objects of which nothing is inferred, the same in every step."""
        return self.available(self.equal_shares, self.weights * ~self.inferred)

    def available(self, shares, weights, without=()) -> dict[str, FamilyCounts]:
        """Count available cases."""
        return available_cases(self.structure, self.nodes, self.encoded, shares, weights, without=without)

    def first_shares(self, steps: bool) -> tuple[np.ndarray, np.ndarray]:
        """Weights and shares of the leaves to begin with.

        Objects with one leaf first say what the classes look like; equal shares of the others would blur
        them.
        """
        current = np.where(self.partial & steps, FIRST_WEIGHT_OF_PARTIAL, 1.0) * self.weights
        return current, _share(self.allowed, np.log(_frequency(self.equal_shares, current)))

    def start(self, weights, shares, blocks, rng: np.random.Generator | None = None) -> Learned:
        """Learn from available cases, split over latent nodes at random."""
        families = self.available(shares, weights, without=self.latent)
        if self.latent:
            families = split_over_latent(self.structure, self.nodes, families, weights @ shares, rng)
        return self._learned(families, shares, weights, blocks)

    def expect(self, current: Learned) -> Expectation:
        """Take the E-step; shares of all objects, log-likelihood of all, counts of those inferred."""
        parameters = {name: current.counts[name].parameters(node) for name, node in self.nodes.items()}
        rows = sum((block.log_likelihood(self.encoded) for block, _ in current.blocks.values()), 0.0)
        rows = np.where(self.allowed, rows, -np.inf)
        result = self.e_step(parameters, current.frequency, rows[self.inferred])
        shares = self.equal_shares.copy()
        shares[self.inferred] = result.class_posterior
        known = ~self.inferred
        codes = {name: _rows(own, known) for name, own in self.of_nodes.items()}
        with jax.enable_x64(True):
            joint = evaluate(self.structure, self.nodes, parameters, codes, int(known.sum()))
        joint = np.logaddexp.reduce(joint + np.log(current.frequency) + rows[known], axis=1)
        total = result.log_likelihood + float(self.weights[known] @ joint)
        return Expectation(total, shares, result.counts)

    def maximise(self, expectation: Expectation, current: Learned) -> Learned:
        """Take the M-step: tables from the counts, joint densities brought up to date."""
        shares = expectation.class_posterior
        if self.counts_expected:
            families = {name: own + expectation.counts[name] for name, own in self.complete_counts.items()}
        else:
            families = self.available(shares, self.weights)
        blocks = current.blocks
        if self.partial.any():
            blocks = {
                name: refine_joint(density, self.encoded, shares, self.weights)
                for name, (density, _) in blocks.items()
            }
        proposed = self._learned(families, shares, self.weights, blocks)
        if not self.counts_expected:
            return proposed
        counts = {
            name: self._kept(name, current.counts[name], own, families[name])
            for name, own in proposed.counts.items()
        }
        return proposed._replace(counts=counts)

    def maximised(self, proposed: Learned) -> bool:
        """Whether the M-step takes a maximum, and not what kernels or families make of it."""
        estimates = [part for own in proposed.counts.values() for part in (own.states, own.cells)]
        return (
            self.counts_expected
            and not proposed.blocks
            and all(isinstance(part, Smoothed) and part.kernel is None for part in estimates if part)
        )

    def _kept(self, name: str, before: NodeCounts, after: NodeCounts, family: FamilyCounts) -> NodeCounts:
        """Keep the prior of the start, which for what a latent node touches was made up."""
        parents = self.structure.parents[self.structure.nodes.index(name)]
        if set(self.latent) & {name, *parents}:
            return after
        cells, states = after.cells, after.states
        if isinstance(before.cells, Smoothed):
            cells = updated(before.cells, family.cells[0])
        if isinstance(before.states, Smoothed):
            states = updated(before.states, family.states[0])
        return replace(after, cells=cells, states=states)

    def _learned(self, families, shares, weights, blocks) -> Learned:
        counts = {}
        for name, node in self.nodes.items():
            error = typical_error(self.encoded[name])
            family, shape = families[name], self.structure.table_shape(name)[1:]
            counts[name] = estimate_parameters(
                node, shape, cells=family.cells, states=family.states, error=error
            )
        return Learned(counts, _frequency(shares, weights), shares, blocks)


def _rows(codes: Encoded, use: np.ndarray) -> Encoded:
    return Encoded(*(array[use] for array in codes))


def _frequency(responsibilities, weights):
    """Class frequencies with half an object added to each class."""
    counts = weights @ responsibilities + 0.5
    return counts / counts.sum()


def _share(allowed, log_joint_rows):
    """Share each object over its allowed leaves in proportion to the joint probability."""
    logs = np.where(allowed, log_joint_rows, -np.inf)
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)
