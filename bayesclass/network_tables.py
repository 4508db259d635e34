"""Conditional tables from counts: kernel smoothing, Dirichlet shrinkage, and posterior draws.

One scheme serves tables of states and densities on a grid: a density is a table of many cells, whose counts
are first spread by a kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesclass.densities import Grid, bandwidths, kernel_matrices

__all__ = ["KAPPAS", "Smoothed", "smooth_table"]

KAPPAS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
FLOOR = 0.01


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
    """

    table: np.ndarray
    counts: np.ndarray
    mean: np.ndarray
    kernel: np.ndarray | None
    kappa: float
    floor: float

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        r"""Draw a table from its posterior, same shape as `table`.

        Counts become gamma variates: for a table that is a draw from the Dirichlet posterior, for a density
        the Bayesian bootstrap of its kernels (gamma weights of the cells are the summed exponential weights
        of their objects), and the back-off brings gamma variates of total weight kappa.

        References
        ----------
        Rubin (1981), Annals of Statistics 9, 130 (the Bayesian bootstrap).
        """
        objects = _spread_counts(rng.standard_gamma(self.counts), self.kernel)
        expected = _spread_counts(self.kappa * self.mean, self.kernel)
        drawn = _spread_counts(rng.standard_gamma(self.kappa * self.mean), self.kernel)
        ratio = np.where(expected > 0, drawn / np.where(expected > 0, expected, 1.0), 0.0)
        # The smallest normal number keeps a draw of many tiny gammas away from 0 / 0.
        total = objects + ratio * self.kappa * self.mean + np.finfo(float).tiny
        return _with_floor(total / total.sum(axis=0), self.floor)


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

    def level(level_counts, mean, candidates):
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
        )

    pooled = level(class_counts.sum(axis=1)[:, None, None], uniform[:, :, None], weak)
    by_class = pooled
    if n_classes > 1:
        by_class = level(class_counts[:, :, None], pooled.table, kappas)
    if n_configurations == 1:
        return by_class
    others = level(counts.sum(axis=1)[:, None, :], pooled.table, kappas)
    if n_classes == 1:
        return others
    mean = by_class.table * others.table / pooled.table
    return level(counts, mean / mean.sum(axis=0), kappas)


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
