"""From evidence columns to network nodes: states, bins, grids, and the coding of objects in them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bayesclass.densities import Grid
from context.evidence import EvidenceColumn, State

__all__ = ["DENSITIES", "TABLES", "Encoded", "EvidenceNode", "NodeError"]

MAX_BINS = 8
OBJECTS_PER_BIN = 20
MISSING = -1
# Densities by kind of column, and ways to estimate a table; the first of each is the default.
DENSITIES = {
    "continuous": ("kernel", "gaussian", "student", "laplace", "log-normal", "auto"),
    "angle": ("kernel", "von-mises", "auto"),
}
TABLES = ("dirichlet", "noisy-or", "pooled")


class NodeError(ValueError):
    """An evidence column does not fit its node; the message says why."""


class Encoded(NamedTuple):
    """Objects in the terms of one node.

    Attributes
    ----------
    state : int64 array, shape (n_objects,)
        State of the node; -1 where not covered.
    cell : int64 array, shape (n_objects,)
        Cell of the grid; -1 where not measured or the node has no density.
    value, error : float64 arrays, shape (n_objects,)
        Transformed; NaN where not measured.
    """

    state: np.ndarray
    cell: np.ndarray
    value: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class EvidenceNode:
    """A node of the network over one evidence column.

    Attributes
    ----------
    name, kind : str
        As in the column's spec.
    categories : tuple of str
        States of a categorical column, otherwise empty.
    bin_edges : float64 array, shape (n_bins - 1,)
        Inner edges of the bins of a count, a continuous quantity or an angle; the outermost bins are open.
    has_none : bool
        Whether the last state is "searched, none found".
    grid : Grid or None
        Cells of the density (continuous and angle).
    density : str
        Family of that density, one of `DENSITIES`; "auto" is the family of the best cross-validated score.
    table : str
        How the table of states is estimated, one of `TABLES`. For a node with a grid: of (measured, none).

    Raises
    ------
    NodeError
        A density or table that this node can't have.
    """

    name: str
    kind: str
    categories: tuple[str, ...]
    bin_edges: np.ndarray
    has_none: bool
    grid: Grid | None = None
    density: str = "kernel"
    table: str = "dirichlet"

    def __post_init__(self):
        possible = DENSITIES.get(self.kind, ("kernel",))
        if self.density not in possible:
            raise NodeError(
                f"The density of {self.name!r}, which is {self.kind}, must be one of {', '.join(possible)}, "
                f"found {self.density!r}; correct it."
            )
        if self.table not in TABLES:
            raise NodeError(
                f"The table of {self.name!r} must be one of {', '.join(TABLES)}, found {self.table!r}; "
                "correct it."
            )
        if self.table == "dirichlet":
            return
        if self.grid is not None and not self.has_none:
            raise NodeError(
                f"A table of {self.name!r} is of measured and none, found {self.table!r} for a column that "
                "is never none; take it out."
            )
        if self.table == "noisy-or" and self.grid is None and self.n_states != 2:
            raise NodeError(
                f"A noisy-or node must have two states, found {self.n_states} of {self.name!r} "
                f"({', '.join(self.states)}); use the table 'dirichlet'."
            )

    @classmethod
    def from_column(
        cls,
        column: EvidenceColumn,
        *,
        max_bins: int = MAX_BINS,
        density: str = "kernel",
        table: str = "dirichlet",
    ) -> EvidenceNode:
        """Choose states, bins and grid from a training sample.

        Bins hold equal shares of the sample, at least some 20 objects each, and their edges lie on the grid
        (or between integers for counts), so equal values never fall into different bins.

        Raises
        ------
        NodeError
            A density or table that the column can't have; values of a log-normal one that are not positive.
        """
        spec = column.spec
        chosen = {"density": density, "table": table}
        can_be_none = spec.covered is not None or spec.none is not None
        has_none = bool(can_be_none or np.any(column.state == State.NONE))
        if spec.kind == "categorical":
            return cls(spec.name, spec.kind, tuple(spec.states), np.zeros(0), has_none, **chosen)
        values = column.value[column.state == State.MEASURED]
        n_bins = int(np.clip(len(values) // OBJECTS_PER_BIN, 1, max_bins))
        inner = np.quantile(values, np.arange(1, n_bins) / n_bins) if n_bins > 1 else np.zeros(0)
        if spec.kind == "count":
            levels = np.unique(values)
            # Between two neighbouring observed values; the quantile's own value stays below the edge.
            above = np.searchsorted(levels, inner, side="right")
            above = np.unique(above[(above > 0) & (above < len(levels))])
            edges = 0.5 * (levels[above - 1] + levels[above])
            return cls(spec.name, spec.kind, (), edges, has_none, **chosen)
        if density == "log-normal" and np.any(values <= 0):
            raise NodeError(
                f"A log-normal density needs positive values, found {int(np.sum(values <= 0))} of "
                f"{spec.name!r} that are not; use another, or transform the column."
            )
        grid = Grid.over(values, period=360.0 if spec.kind == "angle" else None)
        nearest = np.rint((inner - grid.edges[0]) / grid.width).astype(int)
        nearest = np.unique(np.clip(nearest, 1, grid.n_cells - 1))
        return cls(spec.name, spec.kind, (), grid.edges[nearest], has_none, grid, **chosen)

    @property
    def n_measured_states(self) -> int:
        """Number of states of a measured value: categories or bins."""
        return len(self.categories) or len(self.bin_edges) + 1

    @property
    def n_states(self) -> int:
        """Number of states, "none" included."""
        return self.n_measured_states + self.has_none

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states: categories, or bins by their edges, and then "none"."""
        names = list(self.categories)
        if not names:
            edges = [f"{edge:.6g}" for edge in self.bin_edges]
            names = ["any"] if not edges else [f"below {edges[0]}"]
            names += [f"{low} to {high}" for low, high in pairwise(edges)]
            names += [f"above {edges[-1]}"] if edges else []
        if self.has_none:
            names.append("none" if "none" not in names else "none found")
        return tuple(names)

    @property
    def bin_of_cell(self) -> np.ndarray:
        """Bin of each cell of the grid, shape (n_cells,), int64."""
        return np.searchsorted(self.bin_edges, self.grid.centres, side="right")

    def bin_mass(self, cell_probability: np.ndarray) -> np.ndarray:
        """Sum probabilities of cells (first axis) to probabilities of bins."""
        mass = np.zeros((len(self.bin_edges) + 1, *cell_probability.shape[1:]))
        np.add.at(mass, self.bin_of_cell, cell_probability)
        return mass

    def encode(self, column: EvidenceColumn) -> Encoded:
        """Code the objects of a column.

        Raises
        ------
        NodeError
            Another kind or other categories than those of the node, a state "none" that the node does not
            have, or a measured value that is not finite.
        """
        spec = column.spec
        if spec.kind != self.kind or tuple(spec.states) != self.categories:
            raise NodeError(
                f"Evidence {self.name!r} must be {self.kind} {list(self.categories) or ''} as in training, "
                f"found {spec.kind} {list(spec.states) or ''}; use the recipe that the model was fitted with."
            )
        measured = column.state == State.MEASURED
        none = column.state == State.NONE
        if none.any() and not self.has_none:
            raise NodeError(
                f"Evidence {self.name!r} has no state 'none' in the model, found {int(none.sum())} objects "
                "in it; fit again with a rule (covered or none) for this column."
            )
        value = np.where(measured, column.value, np.nan)
        if not np.isfinite(value[measured]).all():
            raise NodeError(
                f"A measured value of {self.name!r} must be finite, found NaN or infinity; "
                "build the table with EvidenceTable.from_frame, which sets such values aside."
            )
        error = np.where(measured, column.error, np.nan)
        if not (np.isfinite(error[measured]) & (error[measured] >= 0)).all():
            raise NodeError(
                f"Errors of {self.name!r} must be finite and not negative; "
                "build the table with EvidenceTable.from_frame, which sets such values aside."
            )
        known = value[measured]
        state = np.full(len(value), MISSING, dtype=np.int64)
        cell = np.full(len(value), MISSING, dtype=np.int64)
        if self.kind == "categorical":
            state[measured] = known.astype(np.int64)
        elif self.grid is None:
            state[measured] = np.searchsorted(self.bin_edges, known, side="right")
        else:
            cell[measured] = self.grid.cell(known)
            state[measured] = self.bin_of_cell[cell[measured]]
        state[none] = self.n_states - 1
        return Encoded(state, cell, value, error)

    def to_arrays(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Return what describes the node: a dictionary for JSON, and arrays."""
        meta = {
            "name": self.name,
            "kind": self.kind,
            "categories": list(self.categories),
            "has_none": self.has_none,
            "period": None if self.grid is None else self.grid.period,
            "density": self.density,
            "table": self.table,
        }
        arrays = {"bin_edges": self.bin_edges}
        if self.grid is not None:
            arrays["grid_edges"] = self.grid.edges
        return meta, arrays

    @classmethod
    def from_arrays(cls, meta: dict, arrays: dict[str, np.ndarray]) -> EvidenceNode:
        """Inverse of `to_arrays`; without a density or table stored it is the default."""
        edges = arrays.get("grid_edges")
        grid = None if edges is None else Grid(np.asarray(edges, float), meta["period"])
        bin_edges = np.asarray(arrays["bin_edges"], float)
        return cls(
            meta["name"],
            meta["kind"],
            tuple(meta["categories"]),
            bin_edges,
            bool(meta["has_none"]),
            grid,
            meta.get("density", "kernel"),
            meta.get("table", "dirichlet"),
        )
