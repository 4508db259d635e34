"""Class priors as objects of their own: of training, uniform, or what the user says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bayesclass.taxonomy import Taxonomy

if TYPE_CHECKING:
    from bayesclass.classifier import Classifier

TOLERANCE = 1e-6
# What a fit adds to the number of training objects of each leaf.
PSEUDO_COUNT = 0.5


class PriorError(ValueError):
    """A class prior without meaning; the message says the rule, what was found and what to do."""


@dataclass(frozen=True, eq=False)
class Prior:
    """Probability of each leaf before any evidence.

    Attributes
    ----------
    leaves : tuple of str
        Two or more.
    probability : float64 array, shape (K,)
        Zero or more, summing to one within 1e-6, and normalised. Zero makes a class impossible.
    name : str
        Where it comes from, for messages.
    draws : float64 array, shape (n_draws, K), or None
        Draws of the probabilities, where they are uncertain; `Posterior.with_prior` hands them on to its own.

    Raises
    ------
    PriorError
        If the shapes differ, a leaf repeats, or the numbers are no probabilities.
    """

    leaves: tuple[str, ...]
    probability: np.ndarray
    name: str = "given"
    draws: np.ndarray | None = None

    def __post_init__(self):
        leaves = tuple(str(leaf) for leaf in self.leaves)
        p = np.array(self.probability, dtype=np.float64)
        if p.shape != (len(leaves),) or len(set(leaves)) != len(leaves):
            raise PriorError(
                f"A prior needs one probability for each of its leaves, found {len(leaves)} leaves "
                f"({', '.join(leaves)}) and probabilities of shape {p.shape}; name each leaf once."
            )
        shown = ", ".join(f"{leaf} {value:g}" for leaf, value in zip(leaves, p, strict=True))
        if not (np.isfinite(p).all() and (p >= 0).all()):
            raise PriorError(
                f"Probabilities of a prior must be finite and zero or more, found {shown}; correct them."
            )
        if abs(p.sum() - 1.0) > TOLERANCE:
            raise PriorError(
                f"Probabilities of a prior must sum to one within {TOLERANCE:g}, but they sum to "
                f"{p.sum():.6g} ({shown}): correct them or ask for them to be rescaled."
            )
        p /= p.sum()
        p.flags.writeable = False
        object.__setattr__(self, "leaves", leaves)
        object.__setattr__(self, "probability", p)
        if self.draws is not None:
            object.__setattr__(self, "draws", checked_draws(self.draws, p.shape, self.name))

    @classmethod
    def training(cls, classifier: Classifier) -> Prior:
        """Return the prior that a fitted classifier uses: its training objects, and half of one a leaf.

        Raises
        ------
        NotFittedError
            If the classifier has learned nothing yet.
        """
        return cls(classifier.classes_, np.exp(classifier.fitted.pool.log_prior), "training")

    @classmethod
    def uniform(cls, taxonomy: Taxonomy) -> Prior:
        """Return equal probabilities of all leaves."""
        return cls(taxonomy.leaves, np.full(taxonomy.n_leaves, 1.0 / taxonomy.n_leaves), "uniform")

    @classmethod
    def from_mapping(
        cls,
        probability: Mapping[str, float],
        taxonomy: Taxonomy,
        training: Prior,
        *,
        rescale: bool = False,
        name: str = "given",
    ) -> Prior:
        """Return the prior that a mapping of classes says.

        Parameters
        ----------
        probability : mapping of str to float
            Leaf or inner node -> probability. Each leaf is named once, itself or by one node above it; a
            class that can't be is named with zero. An inner node shares its probability among its leaves in
            proportion to `training`.
        taxonomy : Taxonomy
        training : Prior
            Of the same leaves.
        rescale : bool
            Divide by the sum instead of refusing one that is not one.
        name : str

        Raises
        ------
        PriorError
            A class that is not known, a leaf that is named twice or not at all, a number that is no
            probability, a sum other than one, or a node whose leaves `training` makes impossible.
        """
        share = training.in_order(taxonomy.leaves)
        named_by: dict[str, str] = {}
        p = np.zeros(taxonomy.n_leaves)
        for entry, value in probability.items():
            leaves = _leaves_of(entry, taxonomy)
            for leaf in leaves:
                if leaf in named_by:
                    raise PriorError(
                        f"Each leaf must be named once in a prior, but {leaf} is in both {named_by[leaf]} "
                        f"and {entry}: leave one out."
                    )
                named_by[leaf] = entry
            mine = np.isin(taxonomy.leaves, leaves)
            p[mine] = _number(entry, value) * _shares(entry, share[mine], training.name)
        missing = [leaf for leaf in taxonomy.leaves if leaf not in named_by]
        if missing:
            raise PriorError(
                f"A prior must name every class, itself or by a node above it, but {', '.join(missing)} "
                "is missing: add it, with 0 if it can't be."
            )
        if rescale and p.sum() > 0:
            p /= p.sum()
        return cls(taxonomy.leaves, p, name)

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, float],
        taxonomy: Taxonomy,
        training: Prior,
        *,
        pseudo_count: float = PSEUDO_COUNT,
        name: str = "counts",
    ) -> Prior:
        """Return the prior that a table of counts says, such as `objects["label"].value_counts()`.

        Parameters
        ----------
        counts : mapping of str to float, or Series
            Raw label, leaf or inner node -> number of objects. What allows several leaves is shared among
            them in proportion to `training`.
        taxonomy : Taxonomy
        training : Prior
            Of the same leaves.
        pseudo_count : float
            Added to each leaf, so that one without an object is not impossible; half an object, as in a fit.
        name : str

        Raises
        ------
        PriorError
            A label that is not in the tree, a count that is negative or not finite, or no object at all.
        """
        share = training.in_order(taxonomy.leaves)
        total = np.full(taxonomy.n_leaves, _number("pseudo_count", pseudo_count))
        allowed = taxonomy.allowed(list(counts.keys()))
        for (label, count), mine in zip(counts.items(), allowed, strict=True):
            if not mine.any():
                raise PriorError(
                    f"Counts must be of labels of the class tree, but {label!r} is none: leave it out "
                    f"or use one of {', '.join((*taxonomy.leaves, *taxonomy.nodes, *taxonomy.labels))}."
                )
            total[mine] += _number(label, count) * _shares(label, share[mine], training.name)
        if not total.sum() > 0:
            raise PriorError("Counts of a prior must have at least one object, found none: add some.")
        return cls(taxonomy.leaves, total / total.sum(), name)

    def in_order(self, leaves: tuple[str, ...]) -> np.ndarray:
        """Return the probabilities in another order of the same leaves, shape (K,).

        Raises
        ------
        PriorError
            If the leaves are others.
        """
        return self.probability[order_of(self, leaves)]

    def of_objects(
        self, object_id: np.ndarray, leaves: tuple[str, ...]
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Return what `object_prior.ObjectPrior.of_objects` does: one row for all.

        Raises
        ------
        PriorError
            If the leaves are others.
        """
        order = order_of(self, leaves)
        draws = None if self.draws is None else self.draws[:, None, order]
        return self.probability[None, order], draws, np.zeros(len(object_id), dtype=int)

    def __str__(self):
        shown = ", ".join(f"{leaf} {p:.4g}" for leaf, p in zip(self.leaves, self.probability, strict=True))
        return f"{self.name} ({shown})"


def order_of(prior: Prior, leaves: tuple[str, ...]) -> list[int]:
    """Positions of `leaves` in a prior of the same leaves, or refuse others."""
    if set(leaves) != set(prior.leaves):
        raise PriorError(
            f"A prior must be of the same classes as what it is used for ({', '.join(leaves)}), but the "
            f"prior {prior.name!r} is of {', '.join(prior.leaves)}: make it from the same class tree."
        )
    return [prior.leaves.index(leaf) for leaf in leaves]


def checked_draws(draws: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Draws of a prior as an array that nobody changes, or refuse those that are no probabilities."""
    draws = np.array(draws, dtype=np.float64)
    if draws.shape[1:] != shape or not len(draws):
        raise PriorError(
            f"Draws of the prior {name!r} must have shape (n_draws, {', '.join(map(str, shape))}), found "
            f"{draws.shape}: draw what its probabilities are of."
        )
    total = draws.sum(axis=-1, keepdims=True)
    if not ((draws >= 0).all() and (np.abs(total - 1.0) <= TOLERANCE).all()):
        raise PriorError(
            f"Each draw of the prior {name!r} must be zero or more and sum to one within {TOLERANCE:g}, "
            "but one is not: correct or leave out the draws."
        )
    draws /= total
    draws.flags.writeable = False
    return draws


def _leaves_of(entry: str, taxonomy: Taxonomy) -> tuple[str, ...]:
    if entry not in taxonomy.leaves and entry not in taxonomy.nodes:
        raise PriorError(
            f"A prior must name classes of the tree, but {entry!r} is none: use "
            f"{', '.join((*taxonomy.leaves, *taxonomy.nodes))}."
        )
    return taxonomy.leaves_of(entry)


def _number(entry: object, value: object) -> float:
    plain = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not (plain and np.isfinite(value) and value >= 0):
        raise PriorError(
            f"The entry {entry} of a prior must be a finite number, zero or more, found {value!r}: "
            "correct it."
        )
    return float(value)


def _shares(entry: object, share: np.ndarray, name: str) -> np.ndarray:
    """Shares of the leaves of an entry; one leaf takes all, whatever its own share was."""
    if len(share) == 1:
        return np.ones(1)
    if not share.sum() > 0:
        raise PriorError(
            f"The probability of {entry} is shared among its leaves as the prior {name!r} says, which makes "
            "all of them impossible: name the leaves themselves."
        )
    return share / share.sum()
