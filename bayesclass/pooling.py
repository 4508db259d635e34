"""Conditional tables pooled across groups, such as surveys, and along the class tree.

A class seen ten times in one survey and two hundred times in another borrows from it as much as the surveys
agree elsewhere; how much is learned, with its uncertainty, by PyMC.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bayesclass.pooling_diagnostics import Diagnostics, PoolingError, diagnose
from bayesclass.pooling_model import Draws, sample
from bayesclass.pooling_tree import PoolingTree
from bayesclass.taxonomy import Taxonomy

__all__ = ["Diagnostics", "GroupTable", "PooledTable", "PoolingError", "PoolingWarning", "pool_table"]

# Spread of the groups' log concentrations around their common median.
SPREAD = 0.7
OTHER = "group not known"


class PoolingWarning(UserWarning):
    """A fit that did not converge and is used all the same."""


@dataclass(frozen=True, eq=False)
class GroupTable:
    """Tables whose posterior is a mixture of Dirichlets, one for each draw of concentrations and means.

    Attributes
    ----------
    kappa : float64 array, shape (n_draws, n_groups)
    mu : float64 array, shape (n_draws, n_classes, n_states)
    counts : float64 array, shape (n_groups, n_classes, n_states)
    """

    kappa: np.ndarray
    mu: np.ndarray
    counts: np.ndarray

    @property
    def table(self) -> np.ndarray:
        r"""Posterior mean, shape (n_states, n_classes, n_groups).

        The mean over draws of (kappa mu + n) / (kappa + N), the mean of each draw's Dirichlet.
        """
        total = self.counts.sum(axis=-1, keepdims=True)
        kappa = self.kappa[:, :, None, None]
        # A group at a time, for a draw of all groups may be large.
        groups = [
            ((kappa[:, g] * self.mu + self.counts[g]) / (kappa[:, g] + total[g])).mean(axis=0)
            for g in range(len(self.counts))
        ]
        mean = np.stack(groups).T
        return mean / mean.sum(axis=0)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw tables from their posterior, shape (n_states, n_classes, n_groups).

        Each call takes concentrations and means of one random draw, then the tables given these.
        """
        k = rng.integers(len(self.kappa))
        alpha = self.kappa[k][:, None, None] * self.mu[k] + self.counts
        # log Gamma(a) variates as those of a + 1 plus log(U) / a, which do not underflow; a probability is at
        # least the smallest normal number.
        with np.errstate(divide="ignore"):
            tail = np.log(rng.uniform(size=alpha.shape)) / alpha
        x = np.log(rng.standard_gamma(alpha + 1.0)) + tail
        p = np.maximum(np.exp(x - x.max(axis=-1, keepdims=True)), np.finfo(float).tiny)
        return (p / p.sum(axis=-1, keepdims=True)).transpose(2, 1, 0)


@dataclass(frozen=True, eq=False)
class PooledTable:
    """A conditional table pooled across groups, with draws from its posterior.

    Attributes
    ----------
    groups : tuple of str
    classes, states : tuple of str
    tree : PoolingTree
    counts : float64 array, shape (n_groups + 1 or n_groups, n_classes, n_states)
        A further group at the end holds objects whose group is not known.
    draws : Draws
    diagnostics : Diagnostics
    spread : float
        Of the groups' log concentrations.
    seed : int
    """

    groups: tuple[str, ...]
    classes: tuple[str, ...]
    states: tuple[str, ...]
    tree: PoolingTree
    counts: np.ndarray
    draws: Draws
    diagnostics: Diagnostics
    spread: float
    seed: int

    def _of_groups(self) -> GroupTable:
        n = len(self.groups)
        kappa = self.draws.kappa.reshape(-1, len(self.counts))[:, :n]
        return GroupTable(kappa, self._class_mu(), self.counts[:n])

    def _class_mu(self) -> np.ndarray:
        mu = self.draws.mu[:, :, list(self.tree.leaf)]
        return mu.reshape(-1, *mu.shape[2:])

    @property
    def table(self) -> np.ndarray:
        """Posterior mean of each group's table, shape (n_states, n_classes, n_groups)."""
        return self._of_groups().table

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw all tables from their posterior, shape (n_states, n_classes, n_groups)."""
        return self._of_groups().draw(rng)

    def new_group(self) -> GroupTable:
        """Return the predictive table of a group never seen, `table` of shape (n_states, n_classes, 1).

        Its concentration is drawn from the groups' distribution, its tables from Dirichlet(kappa mu).
        """
        typical = self.draws.kappa_typical.ravel()
        scatter = np.random.default_rng(self.seed).normal(size=len(typical))
        kappa = typical * np.exp(self.spread * scatter)
        empty = np.zeros((1, len(self.classes), len(self.states)))
        return GroupTable(kappa[:, None], self._class_mu(), empty)

    @property
    def kappa(self) -> dict[str, tuple[float, float, float]]:
        """Quantiles .05, .5 and .95 of the concentrations [objects]: groups, "typical", levels of the tree.

        What a class's mean over groups is worth to a group, and a parent's table to its children. Large:
        all the same; small: each on its own.
        """
        names = self.groups if len(self.counts) == len(self.groups) else (*self.groups, OTHER)
        values = {name: self.draws.kappa[..., g] for g, name in enumerate(names)}
        values["typical"] = self.draws.kappa_typical
        values |= {f"level {i + 1}": self.draws.kappa_tree[..., i] for i in range(self.tree.n_levels)}
        return {name: tuple(map(float, np.quantile(x, [0.05, 0.5, 0.95]))) for name, x in values.items()}

    def to_inference_data(self, *, n_predictive: int = 250):
        """Return draws, sampler statistics, counts and replicated counts as ArviZ keeps them.

        Parameters
        ----------
        n_predictive : int
            Draws of each chain for which counts are replicated.

        Returns
        -------
        arviz.InferenceData, or xarray.DataTree where ArviZ is 1.0 or later
        """
        from bayesclass.pooling_checks import inference_data

        return inference_data(self, n_predictive)


def pool_table(
    counts: np.ndarray,
    class_counts: np.ndarray | None = None,
    *,
    tree: Taxonomy | None = None,
    groups: Sequence[str] | None = None,
    states: Sequence[str] | None = None,
    seed: int = 0,
    n_draws: int = 1000,
    n_tune: int = 500,
    n_chains: int = 4,
    spread: float = SPREAD,
    sampler: str | None = None,
    require_convergence: bool = True,
) -> PooledTable:
    r"""Estimate p(state | class, group), pooled across groups and along the class tree.

    .. math:: n_{gc} \sim \mathrm{DirichletMultinomial}(\kappa_g \mu_c), \qquad
              \mu_c \sim \mathrm{Dirichlet}(\kappa_\mathrm{level}\, \mu_\mathrm{parent}), \qquad
              \log \kappa \sim N

    with a uniform Dirichlet at the root. The groups' own tables are integrated out; given kappa and mu they
    are Dirichlet(kappa mu + n). A fit that fails is run once more with twice the draws and shorter steps.

    Parameters
    ----------
    counts : float array, shape (n_states, n_classes, n_groups)
        Weighted counts, zero or more.
    class_counts : float array, shape (n_states, n_classes), optional
        The same, whatever is known of the group: the excess over the sum of `counts` is one group more.
    tree : Taxonomy, optional
        Its leaves are the classes; without it, or without inner nodes, all classes have one parent.
    groups, states : sequence of str, optional
        Names, for labels.
    seed : int
        The same seed, sampler and counts give the same draws.
    n_draws, n_tune : int
        Of each chain.
    n_chains : int
    spread : float
        Of the groups' log concentrations around their common median; 0 gives them one.
    sampler : {"nutpie", "pymc"}, optional
        nutpie where it is installed, by default.
    require_convergence : bool
        False: a fit that did not converge warns, and `diagnostics.converged` is False.

    Returns
    -------
    PooledTable

    Raises
    ------
    PoolingError
        If counts are no counts, shapes do not fit, PyMC is missing, or the fit did not converge.
    """
    values, labels = _checked(counts, class_counts, tree, groups, states, spread, sampler)
    group_names, class_names, state_names = labels
    shape = PoolingTree.of(tree) if tree is not None else PoolingTree.flat(class_names)
    started = time.monotonic()
    settings = {"spread": spread, "n_chains": n_chains, "sampler": sampler}
    for attempt in (1, 2):
        draws = sample(
            values,
            shape,
            seed=seed + attempt - 1,
            n_draws=attempt * n_draws,
            n_tune=attempt * n_tune,
            target_accept=(0.9, 0.99)[attempt - 1],
            **settings,
        )
        all_groups = group_names if len(values) == len(group_names) else (*group_names, OTHER)
        found = replace(
            _diagnose(draws, shape, all_groups, state_names),
            seconds=time.monotonic() - started,
            attempts=attempt,
        )
        if found.converged:
            break
    if not found.converged:
        message = (
            "A pooled table must come from chains that agree (R-hat at most 1.01, 400 effective draws, no "
            f"divergence), but this fit has R-hat {found.r_hat:.3f} at {found.worst}, {found.ess_bulk:.0f} "
            f"(bulk) and {found.ess_tail:.0f} (tail) effective draws and {found.divergences} divergences: "
            "ask for more draws and tuning, or merge rare states."
        )
        if require_convergence:
            raise PoolingError(message)
        warnings.warn(message, PoolingWarning, stacklevel=2)
    return PooledTable(
        group_names, class_names, state_names, shape, values, draws, found, float(spread), int(seed)
    )


def _diagnose(draws: Draws, tree: PoolingTree, groups, states) -> Diagnostics:
    values = {"mu": draws.mu, "kappa": draws.kappa, "kappa_tree": draws.kappa_tree}
    names = {
        "mu": [f"mu[{node}, {state}]" for node in tree.names for state in states],
        "kappa": [f"kappa[{group}]" for group in groups],
        "kappa_tree": [f"kappa_tree[level {i + 1}]" for i in range(tree.n_levels)],
    }
    return diagnose(values, names, draws.diverging)


def _checked(counts, class_counts, tree, groups, states, spread, sampler):
    """Return counts of shape (n_groups, n_classes, n_states) and the names of the three axes."""
    if importlib.util.find_spec("pymc") is None:
        raise PoolingError(
            "Tables are pooled by PyMC, which is not installed: pip install pymc, and nutpie for speed."
        )
    counts = np.asarray(counts, dtype=float)
    if counts.ndim != 3 or min(counts.shape, default=0) < 1 or counts.shape[0] < 2:
        raise PoolingError(
            "Counts to pool must have shape (n_states, n_classes, n_groups) with two states or more, found "
            f"{counts.shape}: stack the groups' tables on the last axis."
        )
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise PoolingError(
            f"Counts must be finite and zero or more, found {counts.min()}: correct the weights."
        )
    if sampler not in (None, "nutpie", "pymc"):
        raise PoolingError(f"The sampler must be 'nutpie', 'pymc' or None, found {sampler!r}: use one.")
    if not (np.isfinite(spread) and spread >= 0):
        raise PoolingError(
            f"The spread of concentrations must be zero or more, found {spread}: 0.7 is usual."
        )
    n_states, n_classes, n_groups = counts.shape
    classes = tuple(f"class {i}" for i in range(n_classes)) if tree is None else tree.leaves
    labels = []
    for what, names, n in (
        ("group", groups, n_groups),
        ("class", classes, n_classes),
        ("state", states, n_states),
    ):
        names = tuple(f"{what} {i}" for i in range(n)) if names is None else tuple(map(str, names))
        if len(names) != n or len(set(names)) != n:
            raise PoolingError(
                f"Counts of shape {counts.shape} need {n} {what} names, each once, found "
                f"{', '.join(names)}: give one for each."
            )
        labels.append(names)
    values = counts.transpose(2, 1, 0)
    if class_counts is not None:
        class_counts = np.asarray(class_counts, dtype=float)
        if class_counts.shape != (n_states, n_classes):
            raise PoolingError(
                f"Counts of classes must have shape {(n_states, n_classes)}, found {class_counts.shape}: "
                "count the same states and classes."
            )
        excess = class_counts - counts.sum(axis=-1)
        tolerance = 1e-6 * (1.0 + class_counts)
        if not (excess >= -tolerance).all():
            raise PoolingError(
                "Counts of classes must be at least their sums over groups, found one that is "
                f"{-excess.min():.4g} less: count all objects, whatever is known of their group."
            )
        if (excess > tolerance).any():
            rest = np.where(excess > tolerance, excess, 0.0).T[None]
            values = np.concatenate([values, rest])
    return np.ascontiguousarray(values), labels
