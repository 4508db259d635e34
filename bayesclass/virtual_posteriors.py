r"""Posteriors of another classifier as virtual evidence of the class.

A posterior q was made with a prior of its own, so it enters as a likelihood, with a weight w that says how
much of it is news beside the rest:

.. math:: \log \lambda(c) = w\, [\log q_{k(c)} - \log \pi_{k(c)}]

where k(c) is the other tool's class that leaf c belongs to; leaves that it does not tell apart share a
factor.

References
----------
Pearl (1988), Probabilistic Reasoning in Intelligent Systems, section 2.2.2 (virtual evidence).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from bayesclass.network_spec import NetworkError
from context.evidence import EvidenceSpec, EvidenceTable

__all__ = ["PRIORS", "PosteriorSpec", "VirtualPosterior", "without_posteriors"]

PRIORS = ("uniform", "training")
# Tables round small probabilities to zero; what is below this says no more than this.
SMALLEST = 1e-4


@dataclass(frozen=True)
class PosteriorSpec:
    """Columns of a table that hold another classifier's probabilities.

    Parameters
    ----------
    name : str
        Of the piece of evidence.
    columns : dict of str to str
        Leaf or inner node -> column with its probability.
    training_prior : "uniform", "training" or dict of str to float
        What those probabilities were made with: the same for each column, the class frequencies of this
        model's own training sample, or numbers above zero, one for each key of `columns`.
    weight : float
        Exponent, not negative.

    Raises
    ------
    NetworkError
        Fewer than two columns or one given twice, a prior of other classes or not above zero, or a negative
        weight.
    """

    name: str
    columns: dict[str, str]
    training_prior: str | dict[str, float] = "uniform"
    weight: float = 1.0

    def __post_init__(self):
        prior = self.training_prior
        if len(self.columns) < 2:
            raise NetworkError(
                f"Posterior {self.name!r} needs two or more columns, found {list(self.columns)}; add the "
                "others."
            )
        if len(set(self.columns.values())) < len(self.columns):
            raise NetworkError(
                f"Each class of posterior {self.name!r} must have a column of its own, found "
                f"{list(self.columns.values())}; name an inner node where classes share one."
            )
        if isinstance(prior, str) and prior not in PRIORS:
            raise NetworkError(
                f"The training prior of {self.name!r} must be one of {', '.join(PRIORS)}, or numbers by "
                f"class, found {prior!r}; correct it."
            )
        if not isinstance(prior, str) and (
            set(prior) != set(self.columns)
            or not all(np.isfinite(value) and value > 0 for value in prior.values())
        ):
            raise NetworkError(
                f"The training prior of {self.name!r} must have a number above zero for each of "
                f"{', '.join(self.columns)}, found {dict(prior)}; correct it."
            )
        if not (np.isfinite(self.weight) and self.weight >= 0):
            raise NetworkError(
                f"The weight of {self.name!r} must not be negative, found {self.weight}; correct it."
            )

    @property
    def evidence(self) -> tuple[EvidenceSpec, ...]:
        """How the columns are read: as probabilities, under names of their own."""
        return tuple(
            EvidenceSpec(self._named(key), "continuous", column=column, valid_range=(0.0, 1.0))
            for key, column in self.columns.items()
        )

    def _named(self, key: str) -> str:
        return f"{self.name}: {key}"

    def groups(self, leaves: tuple[str, ...], leaves_of: Callable[[str], Iterable[str]]) -> np.ndarray:
        """Return which column each leaf belongs to, int array (n_leaves,).

        Raises
        ------
        NetworkError
            A leaf in no column, or in several.
        """
        member = np.array([np.isin(leaves, list(leaves_of(key))) for key in self.columns])
        for leaf, count in zip(leaves, member.sum(axis=0), strict=True):
            if count != 1:
                raise NetworkError(
                    f"Each leaf must belong to one column of posterior {self.name!r}, found {leaf!r} in "
                    f"{int(count)}; name its leaf or inner node once."
                )
        return member.argmax(axis=0)


@dataclass(frozen=True)
class VirtualPosterior:
    """Another tool's posteriors, ready to be read as a likelihood of the leaves.

    Attributes
    ----------
    spec : PosteriorSpec
    group : int array, shape (n_leaves,)
        Column of each leaf.
    log_prior : float64 array, shape (n_columns,)
    """

    spec: PosteriorSpec
    group: np.ndarray
    log_prior: np.ndarray

    @classmethod
    def fit(cls, spec: PosteriorSpec, group: np.ndarray, class_frequency: np.ndarray) -> VirtualPosterior:
        """Resolve the training prior; `class_frequency` is that of this model's training sample."""
        n = len(spec.columns)
        if spec.training_prior == "uniform":
            prior = np.full(n, 1.0 / n)
        elif spec.training_prior == "training":
            prior = np.bincount(group, class_frequency, minlength=n)
        else:
            prior = np.array([float(spec.training_prior[key]) for key in spec.columns])
        return cls(spec, np.asarray(group), np.log(prior / prior.sum()))

    def log_likelihood(self, evidence: EvidenceTable) -> np.ndarray:
        """Compute what the posteriors say of each leaf, up to a constant of each object.

        Parameters
        ----------
        evidence : EvidenceTable
            With the columns of `spec.evidence`.

        Returns
        -------
        float64 array, shape (n_objects, n_leaves)
            Exactly zero where a column is missing or all are zero.

        Raises
        ------
        NetworkError
            The table lacks a column.
        """
        names = [own.name for own in self.spec.evidence]
        missing = [name for name in names if name not in evidence.columns]
        if missing:
            raise NetworkError(
                f"The evidence needs the posteriors of the model, found none named {', '.join(missing)}; "
                "build the table with the recipe that the model was fitted with."
            )
        q = np.column_stack([evidence.columns[name].value for name in names])
        told = np.isfinite(q).all(axis=1) & (np.nan_to_num(q).sum(axis=1) > 0)
        q = np.where(told[:, None], q, 1.0)
        q = np.maximum(q / q.sum(axis=1, keepdims=True), SMALLEST)
        log = self.spec.weight * (np.log(q) - self.log_prior)[:, self.group]
        return np.where(told[:, None], log, 0.0)

    def to_dict(self) -> dict:
        """Return plain values for JSON."""
        return {**vars(self.spec), "group": self.group.tolist(), "log_prior": self.log_prior.tolist()}

    @classmethod
    def from_dict(cls, plain: dict) -> VirtualPosterior:
        """Inverse of `to_dict`."""
        own = {key: value for key, value in plain.items() if key not in ("group", "log_prior")}
        return cls(PosteriorSpec(**own), np.array(plain["group"], dtype=int), np.array(plain["log_prior"]))


def without_posteriors(evidence: EvidenceTable, specs: Iterable[PosteriorSpec]) -> EvidenceTable:
    """Return the table without the columns of posteriors, which are no nodes of the network."""
    names = {own.name for spec in specs for own in spec.evidence}
    if not names:
        return evidence

    def rest(columns):
        return {name: column for name, column in columns.items() if name not in names}

    alternatives = evidence.alternatives
    if alternatives is not None:
        rows = replace(alternatives.rows, columns=rest(alternatives.rows.columns))
        alternatives = replace(alternatives, rows=rows, shared=rest(alternatives.shared))
    return replace(evidence, columns=rest(evidence.columns), alternatives=alternatives)
