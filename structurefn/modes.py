"""Classes as mixtures of latent modes: several tables a class, one mode an object, in all streams at once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from structurefn.density import Density
from structurefn.likelihood import log_likelihood
from structurefn.modes_scatter import dirichlet_multinomial

__all__ = ["ModeDensities", "tempering_factor"]

_DENSITY_ARRAYS = ("true", "observed", "effective_events")


@dataclass(frozen=True, eq=False)
class ModeDensities:
    r"""Mixture of tables for each class.

    .. math:: p(\mathrm{LC} | c) = \sum_{k \in c} \pi_k \prod_\mathrm{streams} p_k(N_i)^{n_i^{-\beta}}

    The mode k is one for an object and shared by its streams. Components are the modes of all classes, one
    after the other.

    Attributes
    ----------
    densities : dict of str to Density
        Stream -> tables of the M components, in place of classes.
    owner : int array, shape (M,)
        Class of each component, ascending; every class has at least one.
    log_weight : float64 array, shape (M,)
        Log of pi; each class's weights sum to one.
    tempering : float
        The exponent beta: n events of an object and stream count as :math:`n^{1 - \beta}`. 0 takes them as
        independent.
    concentration : dict of str to float64 array, shape (M,)
        Concentration of an object's own tables about those of its mode, in units of events, see
        `dirichlet_multinomial`; infinite where they are the mode's.
    """

    densities: dict[str, Density]
    owner: np.ndarray
    log_weight: np.ndarray
    tempering: float
    concentration: dict[str, np.ndarray]

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return int(self.owner[-1]) + 1

    @property
    def n_modes(self) -> np.ndarray:
        """Modes of each class, int64, shape (C,)."""
        return np.bincount(self.owner)

    def component_log_likelihood(self, counts: Mapping[str, np.ndarray]) -> np.ndarray:
        """Tempered log-likelihood of every component, without its weight.

        Parameters
        ----------
        counts : mapping of str to float array, shape (n_objects, R, S, J)
            Events of each stream of `densities`; others are not looked at.

        Returns
        -------
        float64 array, shape (n_objects, M)

        Raises
        ------
        ValueError
            If a stream is missing, or its shape is not that of the tables.
        """
        missing = sorted(set(self.densities) - set(counts))
        if missing:
            raise ValueError(
                f"counts must hold every stream of the modes, but {missing[0]!r} is not among "
                f"{sorted(counts)}: count the same streams."
            )
        total = 0.0
        for name, density in self.densities.items():
            factor = tempering_factor(counts[name], self.tempering)
            if np.isinf(self.concentration[name]).all():
                total = total + log_likelihood(counts[name], density, factor)
            else:
                own = dirichlet_multinomial(counts[name], density, self.concentration[name])
                total = total + factor[:, None] * own
        return total

    def log_likelihood(self, counts: Mapping[str, np.ndarray]) -> np.ndarray:
        """Log-likelihood of each class, float64, shape (n_objects, C); zero for an object without events."""
        joint = self.component_log_likelihood(counts) + self.log_weight
        return np.stack([logsumexp(joint[:, self.owner == c], axis=1) for c in range(self.n_classes)], axis=1)

    def responsibilities(self, counts: Mapping[str, np.ndarray]) -> np.ndarray:
        """Probability of each mode given its class, shape (n_objects, M), summing to one over a class's."""
        joint = self.component_log_likelihood(counts) + self.log_weight
        for c in range(self.n_classes):
            own = self.owner == c
            joint[:, own] -= logsumexp(joint[:, own], axis=1, keepdims=True)
        return np.exp(joint)

    def draw(self, rng: np.random.Generator, classes: np.ndarray) -> np.ndarray:
        """Draw a mode for each object of the given class: components, int64, shape (n_objects,)."""
        weight = np.where(self.owner == np.arange(self.n_classes)[:, None], np.exp(self.log_weight), 0.0)
        upper = np.cumsum(weight, axis=1)[np.asarray(classes)]
        level = rng.random(len(upper))[:, None] * upper[:, -1:]
        return np.minimum((upper <= level).sum(axis=1), len(self.owner) - 1)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays, from which `from_arrays` makes the same object."""
        arrays = {
            "owner": self.owner,
            "log_weight": self.log_weight,
            "tempering": np.array(self.tempering),
        }
        for name, density in self.densities.items():
            arrays |= {f"{key}:{name}": getattr(density, key) for key in _DENSITY_ARRAYS}
            arrays[f"constants:{name}"] = np.array([density.strength, density.tail])
            arrays[f"concentration:{name}"] = self.concentration[name]
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "ModeDensities":
        """Inverse of `to_arrays`."""
        names = [key.partition(":")[2] for key in arrays if key.startswith("true:")]
        densities = {}
        for name in names:
            strength, tail = arrays[f"constants:{name}"]
            tables = {key: np.asarray(arrays[f"{key}:{name}"], dtype=np.float64) for key in _DENSITY_ARRAYS}
            densities[name] = Density(**tables, strength=float(strength), tail=float(tail))
        return cls(
            densities=densities,
            owner=np.asarray(arrays["owner"], dtype=np.int64),
            log_weight=np.asarray(arrays["log_weight"], dtype=np.float64),
            tempering=float(arrays["tempering"]),
            concentration={name: np.asarray(arrays[f"concentration:{name}"], np.float64) for name in names},
        )


def tempering_factor(counts: np.ndarray, tempering: float) -> np.ndarray:
    r"""Factor :math:`n^{-\beta}` of each object's log-likelihood, n its events in the stream.

    Parameters
    ----------
    counts : float array, shape (n_objects, R, S, J)
    tempering : float
        The exponent beta.

    Returns
    -------
    float64 array, shape (n_objects,)
        One without events.
    """
    total = np.asarray(counts).sum(axis=(1, 2, 3), dtype=np.float64)
    return np.where(total > 0, total, 1.0) ** -tempering
