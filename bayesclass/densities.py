"""Grids and kernels for continuous evidence: densities constant within fine cells.

A density is stored as the probability of each cell of a fixed grid. Cells can be summed to bins exactly, so
a density and the table of its bins never disagree, and a Gaussian error is averaged over in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

__all__ = ["Grid", "bandwidths", "kernel_matrices"]

N_CELLS = 96
_MIN_BANDWIDTH_CELLS = 0.75


@dataclass(frozen=True)
class Grid:
    """Cells of equal width over the range of a transformed quantity.

    Attributes
    ----------
    edges : float64 array, shape (n_cells + 1,)
        Ascending, in the unit of the transformed quantity.
    period : float or None
        For angles: the grid closes on itself.
    """

    edges: np.ndarray
    period: float | None = None

    @classmethod
    def over(cls, values: np.ndarray, *, n_cells: int = N_CELLS, period: float | None = None) -> Grid:
        """Choose a grid for a sample.

        The range is that of the sample with a margin of a tenth, but no outlier stretches it beyond half the
        range of the central 98 % on either side: values outside belong to the outermost cells.
        """
        if period is not None:
            return cls(np.linspace(0.0, period, n_cells + 1), period)
        if len(values) == 0:
            return cls(np.linspace(-0.5, 0.5, n_cells + 1))
        low, high = np.quantile(values, [0.01, 0.99])
        core = high - low
        low, high = max(values.min(), low - 0.5 * core), min(values.max(), high + 0.5 * core)
        margin = 0.1 * (high - low)
        if not margin > 0:
            margin = max(1e-3, 1e-3 * abs(low))
        return cls(np.linspace(low - margin, high + margin, n_cells + 1))

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.edges) - 1

    @property
    def width(self) -> float:
        """Width of a cell."""
        return float(self.edges[-1] - self.edges[0]) / self.n_cells

    @property
    def centres(self) -> np.ndarray:
        """Centres of the cells, shape (n_cells,)."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    def cell(self, values: np.ndarray) -> np.ndarray:
        """Cell of each value (finite); values beyond the grid belong to its outermost cells."""
        if self.period is not None:
            values = np.mod(values, self.period)
        cells = np.floor((values - self.edges[0]) / self.width)
        return np.clip(cells, 0, self.n_cells - 1).astype(np.int64)

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Where a value lies beyond the grid."""
        if self.period is not None:
            return np.zeros(np.shape(values), dtype=bool)
        return (values < self.edges[0]) | (values > self.edges[-1])

    def weights(self, values: np.ndarray, errors: np.ndarray) -> np.ndarray:
        r"""Weights that turn cell probabilities into the density of a measured value.

        .. math:: a_{ig} = [\Phi((u_g - x_i)/\sigma_i) - \Phi((l_g - x_i)/\sigma_i)] / (u_g - l_g)

        so that p(x_i) = sum_g a_ig p_g is the density averaged over the Gaussian error. An error of zero
        gives the density of the value's own cell.

        Parameters
        ----------
        values, errors : float arrays, shape (n,)
            Finite; errors not negative; unit of the grid.

        Returns
        -------
        float64 array, shape (n, n_cells) [1 / unit of the grid]
        """
        # With an error far below the cell's width the formula tends to the cell itself, except at its edges.
        sigma = np.where(errors > 1e-6 * self.width, errors, 1.0)[:, None]
        # Beyond the grid the formula underflows to zero density; such a value is scored at the grid's end.
        inside = values if self.period is not None else np.clip(values, self.edges[0], self.edges[-1])
        z = ndtr((self._images() - inside[:, None]) / sigma)
        mass = np.diff(z, axis=1).reshape(len(values), -1, self.n_cells).sum(axis=1) if len(values) else z
        own = np.arange(self.n_cells) == self.cell(values)[:, None]
        exact = np.asarray(errors)[:, None] <= 1e-6 * self.width
        return np.where(exact, own, mass.reshape(len(values), self.n_cells)) / self.width

    def _images(self) -> np.ndarray:
        """Edges of the grid, and for an angle of its copies one and two turns away."""
        if self.period is None:
            return self.edges
        return np.concatenate(
            [self.edges[:-1] + k * self.period for k in (-2, -1, 0, 1, 2)] + [[3 * self.period]]
        )


def bandwidths(grid: Grid, counts: np.ndarray, *, error: float = 0.0) -> np.ndarray:
    r"""Kernel widths by Silverman's rule, for each column of a histogram.

    .. math:: h = 0.9 \min(s, \mathrm{IQR}/1.34)\, n^{-1/5}, \quad h^2 \to h^2 - \sigma^2

    Parameters
    ----------
    grid : Grid
    counts : float array, shape (n_cells, n_columns)
    error : float
        Typical 1-sigma error of the sample: the sample is already that much wider than what it came from.

    Returns
    -------
    float64 array, shape (n_columns,)
        At least three quarters of a cell. Columns with fewer than five objects take the pooled spread.

    References
    ----------
    Silverman (1986), Density Estimation for Statistics and Data Analysis, Eq. 3.31.
    """
    pooled = _spread(grid, counts.sum(axis=1))
    total = counts.sum(axis=0)
    spread = np.array(
        [_spread(grid, column) if n >= 5 else pooled for column, n in zip(counts.T, total, strict=True)]
    )
    width = 0.9 * spread * np.maximum(total, 1.0) ** -0.2
    floor = _MIN_BANDWIDTH_CELLS * grid.width
    return np.sqrt(np.maximum(width**2 - error**2, floor**2))


def _spread(grid: Grid, counts: np.ndarray) -> float:
    total = counts.sum()
    if not total > 0:
        return 0.25 * (grid.edges[-1] - grid.edges[0])
    p = counts / total
    if grid.period is not None:
        resultant = abs(np.sum(p * np.exp(2j * np.pi * grid.centres / grid.period)))
        circular = np.sqrt(-2.0 * np.log(max(resultant, 1e-12))) * grid.period / (2 * np.pi)
        return float(min(circular, grid.period / np.sqrt(12.0)))
    mean = p @ grid.centres
    deviation = np.sqrt(p @ (grid.centres - mean) ** 2)
    quartiles = np.interp([0.25, 0.75], np.concatenate([[0.0], np.cumsum(p)]), grid.edges)
    interquartile = (quartiles[1] - quartiles[0]) / 1.34
    return float(min(deviation, interquartile) if interquartile > 0 else deviation)


def kernel_matrices(grid: Grid, widths: np.ndarray) -> np.ndarray:
    """Gaussian kernels on the grid: row g spreads an object of cell g over the cells.

    Parameters
    ----------
    grid : Grid
    widths : float array, shape (n_columns,)

    Returns
    -------
    float64 array, shape (n_columns, n_cells, n_cells)
        Each row sums to one: what would leave the grid is given back in proportion, and angles wrap.
    """
    distance = grid.edges[None, :] - grid.centres[:, None]
    total = 0.0
    for turn in (0,) if grid.period is None else (-2, -1, 0, 1, 2):
        shifted = distance + turn * (grid.period or 0.0)
        total = total + np.diff(ndtr(shifted[None] / np.asarray(widths)[:, None, None]), axis=2)
    return total / total.sum(axis=2, keepdims=True)
