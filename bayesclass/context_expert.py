"""The context's likelihood of each class: network and nearest sources, summed over alternatives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from bayesclass.alternatives import given_labels, sum_over_alternatives
from bayesclass.information_states import StateLikelihoods, match_states
from bayesclass.match_model import MatchModel
from bayesclass.network import BayesianNetwork
from bayesclass.network_fit import check_labels
from bayesclass.network_spec import NetworkError, NetworkSpec
from bayesclass.recipe_schema import MatchSpec
from bayesclass.virtual_posteriors import PosteriorSpec, VirtualPosterior, without_posteriors
from context.evidence import EvidenceTable
from context.evidence_matches import MatchColumn

__all__ = ["ContextExpert"]

# Rounds in which a training object's rows are weighed by what its own class makes of them.
ROUNDS = 2


@dataclass(frozen=True)
class ContextExpert:
    """Network over evidence columns, nearest sources, other tools' posteriors.

    The three are independent given the class. Build one with `fit`. Arrays over classes follow the network's
    `spec.class_states`.

    Attributes
    ----------
    network : BayesianNetwork
    matches : dict of str to MatchModel
        By catalogue.
    posteriors : dict of str to VirtualPosterior
        Other tools' posteriors, by name.
    """

    network: BayesianNetwork
    matches: dict[str, MatchModel] = field(default_factory=dict)
    posteriors: dict[str, VirtualPosterior] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        spec: NetworkSpec,
        evidence: EvidenceTable,
        allowed: np.ndarray,
        weights: np.ndarray | None = None,
        *,
        matches: Iterable[MatchSpec] = (),
        posteriors: Iterable[tuple[PosteriorSpec, np.ndarray]] = (),
        n_draws: int = 32,
        seed: int = 0,
    ) -> ContextExpert:
        """Learn from labelled objects.

        Parameters
        ----------
        spec : NetworkSpec
        evidence : EvidenceTable
            With the nearest sources of `matches`.
        allowed : bool array, shape (n_objects, n_leaves)
            Leaves that an object's label allows.
        weights : float array, shape (n_objects,), optional
            How many objects each counts for; default 1.
        matches : iterable of MatchSpec
        posteriors : iterable of (PosteriorSpec, int array of shape (n_leaves,))
            Other tools' posteriors, and the column that each leaf belongs to; nothing is learned of them.
        n_draws, seed : int
            Of draws of the parameters.

        Returns
        -------
        ContextExpert

        Raises
        ------
        NetworkError
            As `BayesianNetwork.fit`.
        NearestError
            Parameters of a match that can't be used.

        Notes
        -----
        Alternatives of an object enter as rows that share its weight: first by their probabilities, then,
        `ROUNDS` times, by their probabilities given the label (expectation-maximisation). Draws take the rows
        of one object for independent.
        """
        allowed, weights = check_labels(spec, evidence, allowed, weights)
        options = {"n_draws": n_draws, "seed": seed}
        posteriors = tuple(posteriors)
        evidence = without_posteriors(evidence, [own for own, _ in posteriors])
        table = evidence.alternatives
        if table is None:
            network = BayesianNetwork.fit(spec, evidence, allowed, weights, **options)
        else:
            share = table.probability
            for left in range(ROUNDS, -1, -1):
                # Draws are worth their time for the last fit alone.
                options["n_draws"] = 0 if left else n_draws
                rows = weights[table.owner] * share
                tables = {name: own for name, own in spec.tables.items() if not left or own != "pooled"}
                network = BayesianNetwork.fit(
                    replace(spec, tables=tables), table.rows, allowed[table.owner], rows, **options
                )
                if left:
                    whole, own = (network.log_likelihood(part) for part in (table.rows, table.own_rows))
                    share = given_labels(table, whole, own, network.class_frequency, allowed)
        models = {}
        for i, match in enumerate(matches):
            rng = np.random.default_rng([seed, i])
            column, frequency = evidence.matches[match.name], network.class_frequency
            fitted = MatchModel.fit(match, column, allowed, weights, frequency, n_draws=n_draws, rng=rng)
            models[match.name] = fitted
        virtual = {
            own.name: VirtualPosterior.fit(own, group, network.class_frequency) for own, group in posteriors
        }
        return cls(network, models, virtual)

    @property
    def n_draws(self) -> int:
        """Number of draws of the parameters."""
        return len(self.network.draws)

    @property
    def summary(self) -> dict:
        """What was learned of nearest sources (leaf -> probability of a counterpart) and of pooled tables."""
        leaves = self.network.spec.class_states
        pooled = self.network.summary.get("pooled", {})
        return {f"{name}_pooling": values for name, values in pooled.items()} | {
            f"{match.name}_counterparts": {
                leaf: round(float(a), 4) for leaf, a in zip(leaves, match.model.probability, strict=True)
            }
            for match in self.matches.values()
        }

    def log_likelihood(self, evidence: EvidenceTable) -> np.ndarray:
        """Compute log p(context | class), up to a constant of each object.

        Parameters
        ----------
        evidence : EvidenceTable
            With every column and match of the model; others are not used.

        Returns
        -------
        float64 array, shape (n_objects, n_leaves)
            Exactly zero for an object without any evidence.

        Raises
        ------
        NetworkError
            A column or a match of the model is missing from the table.
        NodeError
            A column does not fit its node.
        """
        table = evidence.alternatives
        if table is None:
            total = self.network.log_likelihood(evidence)
        else:
            whole, own = (self.network.log_likelihood(rows) for rows in (table.rows, table.own_rows))
            total = self._sum(table, whole, own)
        for match, column in self._matched(evidence):
            total = total + match.log_likelihood(column)
        return total + self._told(evidence)

    def log_likelihood_draws(self, evidence: EvidenceTable) -> np.ndarray:
        """Compute `log_likelihood` under each draw, float32, shape (n_draws, n_objects, n_leaves)."""
        table = evidence.alternatives
        if table is None:
            total = self.network.log_likelihood_draws(evidence)
        else:
            whole, own = (self.network.log_likelihood_draws(rows) for rows in (table.rows, table.own_rows))
            total = self._sum(table, whole, own)
        for match, column in self._matched(evidence):
            total = total + match.log_likelihood_draws(column)
        return (total + self._told(evidence)).astype(np.float32)

    def contributions(self, evidence: EvidenceTable) -> dict[str, np.ndarray]:
        """Compute what each column and each match adds, shape (n_objects, n_leaves) each.

        Returns
        -------
        dict of str to float64 array
            Columns in the network's order, each given those before it and summed over alternatives; then
            the matches, then other tools' posteriors. Exactly zero where not covered. The sum is
            `log_likelihood`.
        """
        table = evidence.alternatives
        if table is None:
            pieces = self.network.contributions(evidence)
        else:
            whole, own = (self.network.contributions(rows) for rows in (table.rows, table.own_rows))
            shape = (len(table.owner), len(self.network.spec.class_states))
            seen, seen_own = np.zeros(shape), np.zeros(shape)
            before, pieces = self._sum(table, seen, seen_own), {}
            for name in whole:
                seen, seen_own = seen + whole[name], seen_own + own[name]
                after = self._sum(table, seen, seen_own)
                pieces[name] = after - before
                before = after
        for match, column in self._matched(evidence):
            pieces[match.piece] = match.log_likelihood(column)
        return pieces | {name: own.log_likelihood(evidence) for name, own in self.posteriors.items()}

    def state_log_likelihoods(
        self, evidence: EvidenceTable, name: str, *, density: float = 0.0
    ) -> StateLikelihoods:
        """Compute log p(all other context, this one = s | class) for every state s of a column or match.

        Parameters
        ----------
        evidence : EvidenceTable
            As for `log_likelihood`. What it says of `name` itself is not looked at.
        name : str
            A column or a match.
        density : float
            For a match, the unrelated sources around [arcmin^-2].

        Returns
        -------
        StateLikelihoods
            Up to a constant of each object. For an object with several alternatives a column's states are
            those of its most probable alternative alone.

        Raises
        ------
        NetworkError
            There is no such column or match.
        """
        if name in self.matches:
            rest = self.log_likelihood(evidence.without(name))
            return match_states(self.matches[name], rest, density)
        states = self.network.state_log_likelihoods(evidence, name)
        for match, column in self._matched(evidence):
            states = states._replace(log_likelihood=states.log_likelihood + match.log_likelihood(column))
        return states._replace(log_likelihood=states.log_likelihood + self._told(evidence))

    def _matched(self, evidence: EvidenceTable) -> list[tuple[MatchModel, MatchColumn]]:
        missing = [name for name in self.matches if name not in evidence.matches]
        if missing:
            raise NetworkError(
                f"The evidence needs all matches of the model, found none named {', '.join(missing)}; build "
                "the table with the recipe that the model was fitted with."
            )
        return [(match, evidence.matches[name]) for name, match in self.matches.items()]

    def _told(self, evidence: EvidenceTable) -> np.ndarray | float:
        """Add up what other tools' posteriors say."""
        return sum(own.log_likelihood(evidence) for own in self.posteriors.values())

    def _sum(self, table, whole: np.ndarray, own: np.ndarray) -> np.ndarray:
        return sum_over_alternatives(table, whole, own, self.network.class_frequency)

    def to_arrays(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Return plain values for JSON and arrays, those of the network under "network"."""
        meta, arrays = self.network.to_arrays()
        result = {"network": meta}
        stored = {f"network/{key}": values for key, values in arrays.items()}
        for name, match in self.matches.items():
            own, arrays = match.to_arrays()
            # A model without matches is stored as one always was.
            result.setdefault("matches", []).append(own)
            stored |= {f"match/{name}/{key}": values for key, values in arrays.items()}
        if self.posteriors:
            result["posteriors"] = [own.to_dict() for own in self.posteriors.values()]
        return result, stored

    @classmethod
    def from_arrays(cls, meta: dict, arrays: dict[str, np.ndarray]) -> ContextExpert:
        """Inverse of `to_arrays`; other entries are not looked at."""

        def part(prefix):
            return {key[len(prefix) :]: values for key, values in arrays.items() if key.startswith(prefix)}

        network = BayesianNetwork.from_arrays(meta["network"], part("network/"))
        matches = {
            own["name"]: MatchModel.from_arrays(own, part(f"match/{own['name']}/"))
            for own in meta.get("matches", ())
        }
        virtual = [VirtualPosterior.from_dict(own) for own in meta.get("posteriors", ())]
        return cls(network, matches, {own.spec.name: own for own in virtual})
