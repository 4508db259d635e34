"""Posterior of the logarithm of a density on a grid: what draws of continuous evidence are made from.

A kernel estimate knows its own scatter and not its bias. Here the logarithm of the density is a Gaussian
process, so the posterior holds both: the process is as rough or smooth as the sample says.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from bayesclass.densities import Grid, kernel_matrices

__all__ = ["DensityPosterior"]

N_WAVES = 32
# Standard deviations and correlation lengths of the process; lengths are shares of the grid.
AMPLITUDES = (1.0, 3.0, 10.0, 30.0)
LENGTHS = (0.05, 0.1, 0.2, 0.4)
# Standard deviation of the coefficients of a slope and a curvature, over a grid of six units.
SPREAD_OF_SLOPES = 10.0
NEWTON_STEPS, BACKTRACKS, LARGEST_STEP = 40, 8, 8.0
TRAJECTORIES, LEAPS, LEAP = 12, 5, 0.45
COLUMNS_AT_ONCE = 32
_TINY = 1e-300


@dataclass(frozen=True)
class DensityPosterior:
    r"""Posterior of the cells' probabilities, for columns of counts that are independent of each other.

    .. math:: p_g \propto \exp(m_g + \textstyle\sum_j \phi_{gj} \beta_j), \qquad
              \beta_j \sim N(0, v_j), \qquad n \sim \mathrm{Multinomial}(p C)

    phi are waves (a Matern 5/2 process) with a slope and a curvature, and C spreads the cells by the typical
    error. Each column weighs the kinds of process (base m, amplitude, length) by the Laplace approximation of
    their evidence, times a prior that falls as amplitude^(-1/2). A draw takes one of them, and beta by
    Hamiltonian Monte Carlo from the mode, as the posterior of a nearly empty region is far from Gaussian.

    Attributes
    ----------
    counts : float64 array, shape (n_columns, n_cells)
    bases : float64 array, shape (n_bases, n_columns, n_cells)
    basis : float64 array, shape (n_cells, n_coefficients)
    precision : float64 array, shape (n_kinds, n_coefficients)
        1 / v.
    weight : float64 array, shape (n_columns, n_bases * n_kinds)
        Posterior probability of each kind of process.
    mode : float64 array, shape (n_columns, n_bases * n_kinds, n_coefficients)
    scale : float64 array, shape (n_columns, n_bases * n_kinds, n_coefficients, n_coefficients)
        Inverse of the Cholesky factor of the curvature at the mode.
    blur : float64 array, shape (n_cells, n_cells), or None

    References
    ----------
    Riihimaki & Vehtari (2014), Bayesian Analysis 9, 425: logistic Gaussian processes by Laplace's method.
    Solin & Sarkka (2020), Statistics and Computing 30, 419: a process as a sum of waves.
    Nychka (1988), JASA 83, 1134: why such intervals cover on average although the estimate is biased.
    """

    counts: np.ndarray
    bases: np.ndarray
    basis: np.ndarray
    precision: np.ndarray
    weight: np.ndarray
    mode: np.ndarray
    scale: np.ndarray
    blur: np.ndarray | None

    @classmethod
    def fit(
        cls, grid: Grid, counts: np.ndarray, bases: np.ndarray, *, error: float = 0.0
    ) -> DensityPosterior:
        """Find the modes and the evidence of all kinds of process.

        Parameters
        ----------
        grid : Grid
        counts : float array, shape (n_cells, n_columns)
        bases : float array, shape (n_bases, n_cells, n_columns)
            Positive; densities around which the process is thought to lie.
        error : float
            Typical 1-sigma error of the counted values, in the unit of the grid.
        """
        basis, n_slopes = _basis(grid)
        kinds = [_variances(grid, basis.shape[1], n_slopes, *kind) for kind in product(AMPLITUDES, LENGTHS)]
        precision = 1.0 / np.array(kinds)
        blur = kernel_matrices(grid, np.array([error]))[0] if error > 0.3 * grid.width else None
        logs = np.log(np.maximum(np.moveaxis(bases, 2, 1), _TINY))
        n_bases, n_kinds = len(bases), len(precision)
        found = []
        for start in range(0, counts.shape[1], COLUMNS_AT_ONCE):
            own = counts.T[start : start + COLUMNS_AT_ONCE]
            n = np.repeat(own, n_bases * n_kinds, axis=0)
            base = np.repeat(np.moveaxis(logs[:, start : start + COLUMNS_AT_ONCE], 0, 1), n_kinds, axis=1)
            target = _Target(
                n, base.reshape(n.shape), basis, np.tile(precision, (len(own) * n_bases, 1)), blur
            )
            shape = (len(own), n_bases * n_kinds)
            found.append([array.reshape(shape + array.shape[1:]) for array in _laplace(target)])
        mode, scale, evidence = (np.concatenate(parts) for parts in zip(*found, strict=True))
        # Few objects tell little of the kind: without this they would be taken for a narrow spike each.
        evidence = evidence - 0.5 * np.tile(np.log(np.repeat(AMPLITUDES, len(LENGTHS))), n_bases)
        weight = np.exp(evidence - evidence.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        return cls(counts.T, logs, basis, precision, weight, mode, scale, blur)

    def draw(self, rng: np.random.Generator, shift: np.ndarray | float = 0.0) -> np.ndarray:
        """Draw the probabilities of the cells.

        Parameters
        ----------
        rng : numpy.random.Generator
        shift : float array, shape (n_cells, n_columns), optional
            Added to the logarithms of the density drawn.

        Returns
        -------
        float64 array, shape (n_cells, n_columns)
            Positive; sums to one over the first axis.
        """
        columns = np.arange(len(self.counts))
        # One uniform number a column chooses the kind.
        chosen = (self.weight.cumsum(axis=1) < rng.random((len(columns), 1))).sum(axis=1)
        chosen = np.minimum(chosen, self.weight.shape[1] - 1)
        of_base, of_kind = np.divmod(chosen, len(self.precision))
        base = self.bases[of_base, columns]
        target = _Target(self.counts, base, self.basis, self.precision[of_kind], self.blur)
        beta = _walk(target, self.mode[columns, chosen], self.scale[columns, chosen], rng)
        logs = (base + beta @ self.basis.T).T + shift
        cells = np.exp(logs - logs.max(axis=0)) + np.finfo(np.float32).tiny
        return cells / cells.sum(axis=0)


@dataclass(frozen=True)
class _Target:
    """Log posterior of the coefficients of many independent columns."""

    counts: np.ndarray
    base: np.ndarray
    basis: np.ndarray
    precision: np.ndarray
    blur: np.ndarray | None

    def take(self, rows) -> _Target:
        return _Target(self.counts[rows], self.base[rows], self.basis, self.precision[rows], self.blur)

    def value(self, beta):
        """Log posterior, probabilities of the true cells and of those seen."""
        logs = self.base + beta @ self.basis.T
        cells = np.exp(logs - logs.max(axis=1, keepdims=True))
        cells /= cells.sum(axis=1, keepdims=True)
        seen = np.maximum(cells if self.blur is None else cells @ self.blur, _TINY)
        logs = (self.counts * np.log(seen)).sum(axis=1) - 0.5 * (self.precision * beta**2).sum(axis=1)
        return logs, cells, seen

    def gradient(self, beta, cells, seen):
        ratio = self.counts / seen
        back = ratio if self.blur is None else ratio @ self.blur.T
        total = self.counts.sum(axis=1, keepdims=True)
        return (cells * (back - total)) @ self.basis - self.precision * beta

    def curvature(self, cells, seen):
        """Return the expected information plus the precision of the prior."""
        slopes = cells[:, :, None] * self.basis
        mean = slopes.sum(axis=1)
        if self.blur is not None:
            slopes = self.blur.T @ slopes
        slopes -= seen[:, :, None] * mean[:, None, :]
        slopes *= np.sqrt(self.counts.sum(axis=1, keepdims=True) / seen)[:, :, None]
        result = slopes.transpose(0, 2, 1) @ slopes
        diagonal = np.arange(result.shape[1])
        result[:, diagonal, diagonal] += self.precision
        return result


def _laplace(target: _Target):
    """Modes by Newton steps with backtracking, inverse Cholesky factors there, and log evidences."""
    beta = np.zeros((len(target.counts), target.basis.shape[1]))
    value, cells, seen = target.value(beta)
    active = np.arange(len(beta))
    for _ in range(NEWTON_STEPS):
        own = target.take(active)
        gradient = own.gradient(beta[active], cells[active], seen[active])
        step = np.linalg.solve(own.curvature(cells[active], seen[active]), gradient[..., None])[..., 0]
        size = np.abs(step @ target.basis.T).max(axis=1)
        part = np.minimum(1.0, LARGEST_STEP / np.maximum(size, 1e-9))
        for _ in range(BACKTRACKS):
            tried = beta[active] + part[:, None] * step
            new = own.value(tried)
            better = new[0] >= value[active]
            if better.all():
                break
            part = np.where(better, part, part / 3.0)
        rows, gain = active[better], (new[0] - value[active])[better]
        beta[rows], value[rows] = tried[better], new[0][better]
        cells[rows], seen[rows] = new[1][better], new[2][better]
        active = rows[gain > 1e-3]
        if not len(active):
            break
    factor = np.linalg.cholesky(target.curvature(cells, seen))
    half_log_det = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    return beta, np.linalg.inv(factor), value + 0.5 * np.log(target.precision).sum(axis=1) - half_log_det


def _walk(target: _Target, mode, scale, rng):
    """Hamiltonian Monte Carlo from the mode, in coordinates in which the curvature there is one.

    References
    ----------
    Neal (2011), Handbook of Markov Chain Monte Carlo, chapter 5, section 5.3.2.
    """

    def at(z):
        beta = mode + np.einsum("pij,pi->pj", scale, z)
        value, cells, seen = target.value(beta)
        return beta, value, np.einsum("pij,pj->pi", scale, target.gradient(beta, cells, seen))

    z = np.zeros_like(mode)
    beta, value, gradient = at(z)
    for _ in range(TRAJECTORIES):
        momentum = rng.standard_normal(z.shape)
        leap = LEAP * rng.uniform(0.5, 1.2, (len(z), 1))
        start = value - 0.5 * (momentum**2).sum(axis=1)
        moved, slope = z, gradient
        for _ in range(LEAPS):
            momentum = momentum + 0.5 * leap * slope
            moved = moved + leap * momentum
            new_beta, new_value, slope = at(moved)
            momentum = momentum + 0.5 * leap * slope
        end = new_value - 0.5 * (momentum**2).sum(axis=1)
        taken = np.log(rng.random(len(z))) < end - start
        rows = taken[:, None]
        z, gradient = np.where(rows, moved, z), np.where(rows, slope, gradient)
        beta, value = np.where(rows, new_beta, beta), np.where(taken, new_value, value)
    return beta


def _basis(grid: Grid) -> tuple[np.ndarray, int]:
    """Waves on the grid, after slope and curvature where it has ends; and the number of the latter."""
    place = (np.arange(grid.n_cells) + 0.5) / grid.n_cells
    if grid.period is not None:
        turns = 2.0 * np.pi * place[:, None] * np.arange(1, N_WAVES // 2 + 1)
        return np.sqrt(2.0) * np.hstack([np.cos(turns), np.sin(turns)]), 0
    waves = np.sqrt(2.0) * np.cos(np.pi * place[:, None] * np.arange(1, N_WAVES + 1))
    unit = 6.0 * (place - 0.5)
    return np.column_stack([unit, unit**2 - 3.0, waves]), 2


def _variances(grid: Grid, n: int, n_slopes: int, amplitude: float, length: float) -> np.ndarray:
    """Prior variances of the coefficients; those of the waves sum to the squared amplitude."""
    order = np.arange(1, n - n_slopes + 1)
    if grid.period is not None:
        order = 2 * np.tile(order[: len(order) // 2], 2)
    spectrum = (1.0 + (np.pi * order * length) ** 2 / 5.0) ** -3.0
    return np.concatenate([np.full(n_slopes, SPREAD_OF_SLOPES**2), amplitude**2 * spectrum / spectrum.sum()])
