"""Families of densities on a grid: probabilities of cells given a location and a scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from bayesclass.densities import Grid

__all__ = ["DEGREES_OF_FREEDOM", "FAMILIES", "Coordinates", "cell_masses"]

FAMILIES = ("gaussian", "student", "laplace", "log-normal", "von-mises")
# Even numbers, for which the distribution function is a polynomial.
DEGREES_OF_FREEDOM = (2, 4, 10)
_LEAST_SCALE_CELLS = 0.3
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(5)


@dataclass(frozen=True)
class Coordinates:
    """A grid in the terms of a family: edges, and weak priors of location and log scale.

    Attributes
    ----------
    edges : float64 array, shape (n_cells + 1,)
        In units of the grid's range; logarithms for the log-normal family; angles in radians from `origin`.
    least : float
        Smallest scale.
    location, log_scale : tuple of float
        Mean and variance of the prior of the average column.
    """

    edges: np.ndarray
    least: float
    location: tuple[float, float]
    log_scale: tuple[float, float]

    @classmethod
    def of(cls, grid: Grid, family: str, counts: np.ndarray) -> Coordinates:
        """Choose coordinates; `counts`, shape (n_cells,), say where angles are cut open."""
        if family == "von-mises":
            turn = 2.0 * np.pi / grid.period
            origin = np.angle(counts @ np.exp(1j * turn * grid.centres))
            edges = turn * grid.edges - origin
            return cls(edges, _LEAST_SCALE_CELLS * turn * grid.width, (0.0, 3.3), (np.log(0.8), 1.0))
        edges = grid.edges
        if family == "log-normal":
            # A cell around zero begins at zero; cells below it are impossible.
            edges = np.log(np.maximum(edges, 1e-3 * grid.width))
        low, high = edges[0], edges[-1]
        edges = (edges - 0.5 * (low + high)) / (high - low)
        least = _LEAST_SCALE_CELLS * np.median(np.diff(edges))
        return cls(edges, float(least), (0.0, 1.0), (np.log(0.15), 1.0))


def cell_masses(family, coordinates, location, log_scale, freedom=None) -> np.ndarray:
    """Compute probabilities of the cells.

    Parameters
    ----------
    family : str
        One of `FAMILIES`.
    coordinates : Coordinates
    location, log_scale : float arrays of one shape
        Circular: mean direction [radian], and minus half the logarithm of the concentration.
    freedom : int
        Degrees of freedom of Student's t, even.

    Returns
    -------
    float64 array, shape (*location.shape, n_cells)
        Sums to one over the last axis: the outermost cells hold the tails.
    """
    scale = np.maximum(np.exp(log_scale), coordinates.least)[..., None]
    if family == "von-mises":
        # exp(kappa (cos d - 1)) over each cell by Gauss-Legendre, then normalised.
        half = 0.5 * np.diff(coordinates.edges)
        middle = coordinates.edges[:-1] + half - location[..., None]
        density = sum(
            weight * np.exp(-2.0 * np.sin(0.5 * (middle + node * half)) ** 2 / scale**2)
            for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True)
        )
        return density / density.sum(axis=-1, keepdims=True)
    z = (coordinates.edges[1:-1] - location[..., None]) / scale
    if family == "student":
        below = _student_below(z, freedom)
    elif family == "laplace":
        tail = 0.5 * np.exp(-np.abs(z))
        below = np.where(z < 0, tail, 1.0 - tail)
    else:
        below = ndtr(z)
    ends = np.zeros((*below.shape[:-1], 1))
    return np.diff(below, axis=-1, prepend=ends, append=ends + 1.0)


def _student_below(z, freedom: int):
    """Distribution function of Student's t for even degrees of freedom.

    References
    ----------
    Abramowitz & Stegun (1964), Handbook of Mathematical Functions, Eq. 26.7.4.
    """
    cosine2 = freedom / (freedom + z**2)
    term, total = np.ones_like(z), np.ones_like(z)
    for k in range(1, freedom // 2):
        term = term * cosine2 * (2 * k - 1) / (2 * k)
        total += term
    return 0.5 + 0.5 * np.sqrt(1.0 - cosine2) * np.sign(z) * total
