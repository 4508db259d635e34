"""Conditional tables from counts: kernel smoothing, Dirichlet shrinkage, and posterior draws.

One scheme serves tables of states and densities on a grid: a density is a table of many cells, whose counts
are first spread by a kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import digamma, gammaln

from bayesclass.densities import Grid, bandwidths, kernel_matrices
from bayesclass.density_posterior import DensityPosterior

__all__ = ["KAPPAS", "Smoothed", "smooth_table"]

KAPPAS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
FLOOR = 0.01
# Objects that the share "elsewhere" of a drawn density is worth: so few that most draws have almost none.
NEW_KIND = 0.1
# Sweeps of the Gibbs sampler over kappa and the mean of the tables.
SWEEPS = 8


@dataclass(frozen=True)
class Smoothed:
    """A fitted conditional table and what its posterior draws need.

    Attributes
    ----------
    table : float64 array, shape (n_states, n_classes, n_configurations)
        Sums to one over the first axis.
    counts, mean : float64 arrays of the same shape
        Weighted counts, and the table towards which they are shrunk.
    kernel : float64 array, shape (n_classes * n_configurations, n_states, n_states), or None
    kappa : float
        Weight of `mean`, in objects.
    floor : float
        Share of a uniform distribution in the table.
    kappas : tuple of float
        The candidates for it.
    above : tuple of Smoothed, or None
        What `mean` comes from: (given the class, given the other parents, pooled), (pooled,), or None for a
        mean that is no estimate.
    grid : Grid or None
        The states are cells of this grid.
    error : float
        Typical 1-sigma error of the values on the grid.
    """

    table: np.ndarray
    counts: np.ndarray
    mean: np.ndarray
    kernel: np.ndarray | None
    kappa: float
    floor: float
    kappas: tuple[float, ...]
    above: tuple[Smoothed, ...] | None = None
    grid: Grid | None = None
    error: float = 0.0

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        r"""Draw a table from its posterior, same shape as `table`.

        A table of states is a draw from its Dirichlet posterior, whose kappa and mean are drawn first, by
        Gibbs sampling,

        .. math:: p_a \sim \mathrm{Dir}(n_a + \kappa \mu), \qquad
                  p(\kappa | n) \propto \prod_a \mathrm{DirMult}(n_a; \kappa \mu)

        A density is a draw of `DensityPosterior`: its scatter includes the bias of smoothing.
        """
        drawn = self._draw_density(rng) if self.grid is not None else self._draw_states(rng)
        return drawn.reshape(self.table.shape)

    def _draw_states(self, rng):
        kappa, mean = self.kappa, self.mean
        candidates = np.array([0.1, 0.3, *self.kappas])
        # One candidate for kappa says that the prior is known: then neither it nor its mean is drawn.
        for _ in range(SWEEPS if self.above is not None and len(self.kappas) > 1 else 0):
            mean = self._draw_mean(rng, _distinct(self.counts, kappa * mean, rng))
            kappa = candidates[int(rng.choice(len(candidates), p=self._kappa_weight(candidates, mean)))]
        return _dirichlet(self.counts + kappa * mean, rng)

    def _draw_mean(self, rng, distinct):
        """Draw `mean` given how many objects tell of it (the others repeat what their column has)."""
        if len(self.above) == 1:
            told = distinct.sum(axis=(1, 2), keepdims=True)
            return np.broadcast_to(_dirichlet(told + 0.5, rng), self.mean.shape)
        by_class, others, pooled = self.above
        return _without_interaction(
            _dirichlet(distinct.sum(axis=2, keepdims=True) + by_class.kappa * by_class.mean, rng),
            _dirichlet(distinct.sum(axis=1, keepdims=True) + others.kappa * others.mean, rng),
            pooled.table,
        )

    def _kappa_weight(self, candidates, mean) -> np.ndarray:
        """Posterior probability of each candidate, whose logarithms are equally probable before."""
        prior = candidates[:, None, None, None] * np.maximum(mean, np.finfo(np.float32).tiny)
        logs = (gammaln(self.counts + prior) - gammaln(prior)).sum(axis=(1, 2, 3))
        total = prior.sum(axis=1)
        logs += (gammaln(total) - gammaln(self.counts.sum(axis=0) + total)).sum(axis=(1, 2))
        weight = np.exp(logs - logs.max())
        return weight / weight.sum()

    def _draw_density(self, rng):
        shift = 0.0
        if self.above is not None and len(self.above) > 1:
            # The process is about the table without interaction, which is itself uncertain.
            by_class, others, pooled = self.above
            mean = _without_interaction(by_class.draw(rng), others.draw(rng), pooled.table)
            # Where objects of its own tell the shape, the table above says no more.
            damped = self.kappa / (self.kappa + self.counts.sum(axis=0).ravel())
            shift = damped * (np.log(mean) - np.log(self.mean)).reshape(len(self.mean), -1)
        drawn = self._density.draw(rng, shift)
        # Objects of a kind not yet met: a share that shrinks as objects come, distributed as in `mean`.
        elsewhere = rng.beta(NEW_KIND, 1.0 + self.counts.sum(axis=0).ravel())
        return (1.0 - elsewhere) * drawn + elsewhere * self.mean.reshape(drawn.shape)

    @cached_property
    def _density(self) -> DensityPosterior:
        counts, mean = self.counts.reshape(len(self.counts), -1), self.mean.reshape(len(self.mean), -1)
        with_interaction = self.above is not None and len(self.above) > 1
        bases = mean[None] if with_interaction else np.ones((1, *counts.shape))
        return DensityPosterior.fit(self.grid, counts, bases, error=self.error)


def smooth_table(
    counts: np.ndarray,
    class_counts: np.ndarray,
    *,
    grid: Grid | None = None,
    error: float = 0.0,
    kappas=KAPPAS,
) -> Smoothed:
    r"""Estimate p(state | class, other parents) by shrinkage in levels.

    .. math:: p(x|a) = (n_{xa} + \kappa \mu_{xa}) / (n_a + \kappa)

    The pooled table is the prior mean of the tables given the class alone and given the other parents alone;
    with both kinds of parents, the mean of the full table is the one without interaction,
    mu(x|c,o) = p(x|c) p(x|o) / p(x), normalised. Each level has its own kappa, by leave-one-out likelihood.

    Parameters
    ----------
    counts : float array, shape (n_states, n_classes, n_configurations)
        Weighted counts of objects whose parents are all known; an axis of length one where there is no such
        parent.
    class_counts : float array, shape (n_states, n_classes)
        The same, whatever is known of the other parents.
    grid : Grid, optional
        The states are cells of this grid: counts are spread by kernels.
    error : float
        Typical 1-sigma error of the values on the grid.
    kappas : sequence of float
        Candidates, in objects.

    Returns
    -------
    Smoothed
    """
    n_states, n_classes, n_configurations = counts.shape
    floor = FLOOR if grid is not None else 0.0
    uniform = np.full((n_states, 1), 1.0 / n_states)
    weak = (1.0,) if grid is not None else (0.5 * n_states,)

    def level(level_counts, mean, candidates, above=None):
        flat = level_counts.reshape(n_states, -1)
        kernel = None if grid is None else kernel_matrices(grid, bandwidths(grid, flat, error=error))
        flat_mean = np.broadcast_to(mean, level_counts.shape).reshape(flat.shape)
        table, kappa = _shrink(flat, flat_mean, kernel, candidates)
        table = _with_floor(table, floor).reshape(level_counts.shape)
        shape = (n_states, n_classes if level_counts.shape[1] == n_classes else 1, -1)
        return Smoothed(
            table.reshape(shape),
            flat.reshape(shape),
            flat_mean.reshape(shape),
            kernel,
            kappa,
            floor,
            tuple(candidates),
            above,
            grid,
            error,
        )

    pooled = level(class_counts.sum(axis=1)[:, None, None], uniform[:, :, None], weak)
    by_class = pooled
    if n_classes > 1:
        by_class = level(class_counts[:, :, None], pooled.table, kappas, (pooled,))
    if n_configurations == 1:
        return by_class
    others = level(counts.sum(axis=1)[:, None, :], pooled.table, kappas, (pooled,))
    if n_classes == 1:
        return others
    mean = _without_interaction(by_class.table, others.table, pooled.table)
    return level(counts, mean, kappas, (by_class, others, pooled))


def _dirichlet(concentration, rng):
    # The smallest normal number keeps a draw of many tiny gammas away from 0 / 0.
    drawn = rng.standard_gamma(concentration) + np.finfo(float).tiny
    return drawn / drawn.sum(axis=0)


def _distinct(counts, prior, rng):
    """Draw how many objects came from the mean itself: the tables of a Chinese restaurant, nearly.

    Their expected number is exact; their scatter is taken as that of a Poisson variate beyond the first.

    References
    ----------
    Teh et al. (2006), JASA 101, 1566, section 5.1.
    """
    prior = np.maximum(prior, np.finfo(np.float32).tiny)
    expected = prior * (digamma(prior + counts) - digamma(prior))
    return np.minimum(counts, 1.0 + rng.poisson(np.maximum(expected - 1.0, 0.0)))


def _without_interaction(by_class, others, pooled):
    mean = by_class * others / pooled
    return mean / mean.sum(axis=0)


def _shrink(counts, mean, kernel, candidates):
    """Shrink columns of counts towards `mean`, with the candidate of the best leave-one-out likelihood."""
    spread = _spread_counts(counts, kernel)
    total = counts.sum(axis=0)
    own = 1.0 if kernel is None else np.einsum("agg->ga", kernel)
    # An object of fractional weight removes no more than is there.
    removed = np.minimum(counts, 1.0)
    best, best_score = candidates[0], -np.inf
    if len(candidates) > 1 and total.sum() > 0:
        for kappa in candidates:
            left = np.maximum(spread - removed * own, 0.0) + kappa * mean
            score = counts * np.log(np.where(counts > 0, left, 1.0))
            score -= counts * np.log(np.maximum(total - removed, 0.0) + kappa)
            if score.sum() > best_score:
                best, best_score = kappa, score.sum()
    return (spread + best * mean) / (total + best), best


def _spread_counts(counts, kernel):
    """Spread counts by the kernel of their column; shape kept."""
    if kernel is None:
        return counts
    flat = counts.reshape(counts.shape[0], -1)
    return np.einsum("ga,agh->ha", flat, kernel).reshape(counts.shape)


def _with_floor(table, floor: float):
    return (1.0 - floor) * table + floor / table.shape[0]
