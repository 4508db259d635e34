"""Cells of structure-function tables: conditioning rows, error bins and observed-value columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    r"""Cells into which the events of a stream are counted: (row, error bin, column).

    A row is what the distribution is conditioned on (a lag, a time since peak, two lags and a previous
    difference); a column is the value whose distribution it is [mag]. Columns are of equal width in
    :math:`\mathrm{asinh}(x / \mathrm{scale})`, which is linear for small and logarithmic for large
    values; ``scale = inf`` makes them equal in x itself. Values beyond the edges fall in the outermost
    cells.

    Parameters
    ----------
    row_shape : tuple of int
        Axes of the conditioning rows; their product is `n_rows`.
    column_range : tuple of float
        Lowest and highest column edge [mag].
    n_columns : int
    column_scale : float
        Width of the linear part [mag]; infinite for equal columns.
    error_range : tuple of float
        Lowest and highest edge of the error bins, log-spaced [mag].
    n_errors : int
        Number of error bins; 1 takes no notice of errors.
    lag_range : tuple of float
        Lowest and highest edge of the lag bins, log-spaced [day]; unused where a row is no lag.
    own_columns, own_lags : tuple of float
        Edges in place of the regular ones, see `from_edges`; empty by default.
    """

    row_shape: tuple[int, ...]
    column_range: tuple[float, float]
    n_columns: int
    column_scale: float = np.inf
    error_range: tuple[float, float] = (0.015, 0.5)
    n_errors: int = 1
    lag_range: tuple[float, float] = (1.0, 10.0)
    own_columns: tuple[float, ...] = ()
    own_lags: tuple[float, ...] = ()

    @classmethod
    def from_edges(
        cls,
        lag_edges: Sequence[float],
        column_edges: Sequence[float],
        *,
        error_range: tuple[float, float] = (0.02, 0.64),
        n_errors: int = 5,
    ) -> "Grid":
        """Cells between any edges, for kinds whose row is one lag (pairs, scaled pairs, adjacent).

        Parameters
        ----------
        lag_edges : sequence of float, length n_rows + 1
            Ascending, not negative [day]; for example `structurefn.PUBLISHED_DT_EDGES`.
        column_edges : sequence of float, length n_columns + 1
            Ascending [mag]; for example `structurefn.PUBLISHED_DM_EDGES`, or either from
            `structurefn.equal_area_edges`. An even number of columns where maps are made of them.
        error_range, n_errors
            As above.

        Raises
        ------
        ValueError
            If edges are fewer than two, not finite or not ascending, or a lag is negative.
        """
        lags, columns = (tuple(float(x) for x in edges) for edges in (lag_edges, column_edges))
        for name, edges in (("lag_edges", lags), ("column_edges", columns)):
            if len(edges) < 2 or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
                raise ValueError(
                    f"{name} must be at least two finite, ascending numbers, but {list(edges)} were given: "
                    "sort them and leave out repeated ones."
                )
        if lags[0] < 0:
            raise ValueError(f"lag_edges must not be negative, but the first is {lags[0]}: begin at zero.")
        return cls(
            row_shape=(len(lags) - 1,),
            column_range=(columns[0], columns[-1]),
            n_columns=len(columns) - 1,
            error_range=error_range,
            n_errors=n_errors,
            lag_range=(lags[0], lags[-1]),
            own_columns=columns,
            own_lags=lags,
        )

    @property
    def n_rows(self) -> int:
        """Number of conditioning rows."""
        return int(np.prod(self.row_shape))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, error bins, columns."""
        return self.n_rows, self.n_errors, self.n_columns

    @property
    def column_edges(self) -> np.ndarray:
        """Edges of the columns, shape (n_columns + 1,) [mag]."""
        if self.own_columns:
            return np.array(self.own_columns)
        low, high = self.column_range
        if np.isinf(self.column_scale):
            return np.linspace(low, high, self.n_columns + 1)
        ends = np.arcsinh(np.array([low, high]) / self.column_scale)
        return np.sinh(np.linspace(ends[0], ends[1], self.n_columns + 1)) * self.column_scale

    @property
    def error_edges(self) -> np.ndarray:
        """Edges of the error bins, shape (n_errors + 1,) [mag]."""
        return np.geomspace(*self.error_range, self.n_errors + 1)

    @property
    def error_centres(self) -> np.ndarray:
        """Geometric centres of the error bins, shape (n_errors,) [mag]."""
        edges = self.error_edges
        return np.sqrt(edges[1:] * edges[:-1])

    @property
    def lag_edges(self) -> np.ndarray:
        """Edges of the lag bins of the first row axis, shape (row_shape[0] + 1,) [day]."""
        if self.own_lags:
            return np.array(self.own_lags)
        return np.geomspace(*self.lag_range, self.row_shape[0] + 1)


def bin_index(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Index of the bin of x, as the kernels of `structurefn.events` find it.

    A value on an edge belongs above it, values beyond the edges to the outermost bins.
    """
    return np.searchsorted(edges[1:-1], x, side="right")
