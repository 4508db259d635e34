"""Parametric densities of continuous evidence, as probabilities of the cells of a node's grid.

A family has two parameters, a location and a scale. Their posterior is summed over points around its peak,
separately for each class and configuration of the other parents, with the exact probability of every cell:
values beyond the grid, the width of the cells and measurement errors need no correction afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, logsumexp, polygamma

from bayesclass.densities import Grid, kernel_matrices
from bayesclass.density_cells import DEGREES_OF_FREEDOM, Coordinates, cell_masses
from bayesclass.density_effects import learn_effects
from bayesclass.network_tables import FLOOR, smooth_table

__all__ = ["FamilyFit", "choose_family", "density_table", "fit_family"]

MOST_SWEEPS = 15
FIRST_OBJECTS = 10.0
FOLDS = 4
_BLOCK = 256
# Points around the peak of the posterior, in standard deviations; few objects leave room for large scales.
_SPACING = np.array([0.7, 0.85])
_STEPS = np.stack(np.meshgrid(np.arange(-5, 6), np.arange(-4, 7)), -1).reshape(-1, 2) * _SPACING


@dataclass(frozen=True)
class FamilyFit:
    """A fitted family of densities: an estimator's result, as `network_tables.Smoothed` is.

    Attributes
    ----------
    table : float64 array, shape (n_cells, n_classes, n_configurations)
        Posterior mean of the cells' probabilities; sums to one over the first axis.
    family : str
    freedom : tuple of int or None
        Degrees of freedom (None but for Student's t), with their `share` in the table.
    parts : tuple of (points, spacing, weights), one for each value of `freedom`
        Location and log scale, shape (n_columns, n_points, 2); distance of the points, (n_columns, 2); and
        the posterior, (n_columns, n_points).
    """

    table: np.ndarray
    family: str
    coordinates: Coordinates
    freedom: tuple[int | None, ...]
    share: np.ndarray
    parts: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw location and scale of every column from their posterior -> cells, same shape as `table`."""
        chosen = rng.choice(len(self.share), p=self.share)
        points, spacing, weights = self.parts[chosen]
        threshold = rng.random((len(weights), 1))
        index = np.minimum((np.cumsum(weights, axis=1) < threshold).sum(axis=1), weights.shape[1] - 1)
        # Within the point's own surroundings, so that draws are continuous.
        drawn = points[np.arange(len(index)), index] + (rng.random(spacing.shape) - 0.5) * spacing
        masses = cell_masses(self.family, self.coordinates, *drawn.T, self.freedom[chosen])
        return _with_floor(masses.T).reshape(self.table.shape)


def density_table(counts, class_counts, *, grid: Grid, family: str, error: float = 0.0):
    """Estimate a density: by "kernel", one of `density_cells.FAMILIES`, or "auto" (`choose_family`).

    Parameters are those of `network_tables.smooth_table`, whose result "kernel" gives; otherwise `FamilyFit`.
    """
    if family == "auto":
        family = choose_family(counts, class_counts, grid=grid, error=error)[0]
    if family == "kernel":
        return smooth_table(counts, class_counts, grid=grid, error=error)
    return fit_family(counts, class_counts, grid=grid, family=family, error=error)


def choose_family(
    counts: np.ndarray, class_counts: np.ndarray, *, grid: Grid, error: float = 0.0, seed: int = 0
) -> tuple[str, dict[str, float]]:
    """Choose the family of the best cross-validated log score, kernels included.

    Objects are dealt to four folds cell by cell; an object of fractional weight goes as a whole.

    Returns
    -------
    family : str
    scores : dict of str to float
        Mean log probability of a held-out object's cell; empty without objects, and then kernels are taken.
    """
    names = (
        ["kernel", "von-mises"] if grid.period is not None else ["kernel", "gaussian", "student", "laplace"]
    )
    if grid.period is None and not _below_zero(grid, class_counts):
        names.append("log-normal")
    if not class_counts.sum() > 0:
        return "kernel", {}
    rng = np.random.default_rng(seed)
    unknown = np.maximum(class_counts - counts.sum(axis=2), 0.0)
    parts, rests = _deal(counts, rng), _deal(unknown, rng)
    blur = _blur(grid, error)
    scores = dict.fromkeys(names, 0.0)
    for part, rest in zip(parts, rests, strict=True):
        train = counts - part
        of_class = train.sum(axis=2) + unknown - rest
        for name in names:
            fit = density_table(train, of_class, grid=grid, family=name, error=error)
            seen = fit.table if blur is None else np.einsum("gco,gh->hco", fit.table, blur)
            scores[name] += float(np.sum(part * np.log(np.maximum(seen, np.finfo(float).tiny))))
    scores = {name: value / max(counts.sum(), 1.0) for name, value in scores.items()}
    return max(scores, key=scores.get), scores


def fit_family(
    counts: np.ndarray, class_counts: np.ndarray, *, grid: Grid, family: str, error: float = 0.0
) -> FamilyFit:
    r"""Fit a family of densities, each column's parameters pooled with those of the others.

    .. math:: n_{g} \sim \mathrm{Multinomial}\big((1-f)\, K M(\mu, s) + f / G\big)

    with M the cells' probabilities, K the blur by measurement errors and f = 0.01 a uniform share, which
    keeps a single wrong value from deciding. Location and log scale follow the mixed model of
    `density_effects`; its priors and the columns' likelihoods inform each other in a few sweeps of
    expectation propagation. Degrees of freedom of Student's t are common to the columns and averaged over.

    Parameters
    ----------
    counts : float array, shape (n_cells, n_classes, n_configurations)
    class_counts : float array, shape (n_cells, n_classes)
        Whatever is known of the other parents.
    grid : Grid
    family : str
        One of `density_cells.FAMILIES`.
    error : float
        Typical 1-sigma error of the values; the fitted density is the one before errors.

    Returns
    -------
    FamilyFit

    References
    ----------
    Minka (2001), Proc. 17th Conf. Uncertainty in Artificial Intelligence, 362 (expectation propagation).
    """
    shape = counts.shape
    unknown = np.maximum(class_counts - counts.sum(axis=2), 0.0)
    every = counts
    if shape[2] > 1 and unknown.sum() > 1e-9 * max(class_counts.sum(), 1.0):
        # Objects whose other parents are not known inform on their class as one more configuration.
        every = np.concatenate([counts, unknown[:, :, None]], axis=2)
    flat = every.reshape(shape[0], -1).T
    index = np.indices(every.shape[1:]).reshape(2, -1)
    groups = tuple(group for group in index if group.max() > 0)
    keep = np.flatnonzero(index[1] < shape[2])
    coordinates = Coordinates.of(grid, family, flat.sum(axis=0))
    blur = _blur(grid, error)
    freedom = DEGREES_OF_FREEDOM if family == "student" else (None,)
    tables, parts, scores = [], [], []
    for value in freedom:
        points, spacing, weights, score = _posterior(flat, groups, coordinates, family, value, blur)
        table = np.empty((len(keep), shape[0]))
        for rows in _blocks(keep):
            masses = cell_masses(family, coordinates, points[rows, :, 0], points[rows, :, 1], value)
            table[np.searchsorted(keep, rows)] = np.einsum("np,npg->ng", weights[rows], masses)
        tables.append(_with_floor(table, -1))
        parts.append((points[keep], spacing[keep], weights[keep]))
        scores.append(score)
    share = np.exp(np.array(scores) - logsumexp(scores))
    table = np.einsum("f,fng->gn", share, np.stack(tables)).reshape(shape)
    return FamilyFit(table, family, coordinates, freedom, share, tuple(parts))


def _posterior(flat, groups, coordinates, family, freedom, blur):
    """Posterior of location and log scale in each column.

    Returns
    -------
    points, spacing, weights
        As `FamilyFit.parts`.
    score : float
        Log probability of each column given all the others, summed.
    """
    value, precision = _first_estimates(flat, coordinates, family)
    scatters = [None, None]
    for _ in range(MOST_SWEEPS):
        prior = []
        for k, (mean, variance) in enumerate((coordinates.location, coordinates.log_scale)):
            effects = learn_effects(
                value[:, k], precision[:, k], groups, mean=mean, variance=variance, start=scatters[k]
            )
            scatters[k] = effects.scatter
            prior.append((effects.mean, effects.variance))
        centre, spread = np.array(prior).transpose(1, 2, 0)
        width = np.sqrt(1.0 / (1.0 / spread + precision))
        peak = (centre / spread + value * precision) * width**2
        points = peak[:, None] + _STEPS * width[:, None]
        logs = -0.5 * np.sum((points - centre[:, None]) ** 2 / spread[:, None], axis=2)
        for rows in _blocks(np.arange(len(flat))):
            masses = cell_masses(family, coordinates, points[rows, :, 0], points[rows, :, 1], freedom)
            seen = masses if blur is None else masses @ blur
            logs[rows] += (np.log(_with_floor(seen, -1)) @ flat[rows, :, None])[..., 0]
        total = logsumexp(logs, axis=1)
        score = np.sum(total + np.log(np.prod(width / np.sqrt(spread), axis=1)))
        weights = np.exp(logs - total[:, None])
        mean = np.einsum("np,npk->nk", weights, points)
        variance = np.einsum("np,npk->nk", weights, (points - mean[:, None]) ** 2)
        ratio = variance / width**2
        if np.all((np.abs(mean - peak) < 0.3 * width) & (ratio > 0.7) & (ratio < 1.4)):
            break
        # Never narrower than half the points' distance: a peak at the rim or between points moves on.
        variance = np.maximum(variance, (0.5 * _SPACING * width) ** 2)
        # What the column itself says: its posterior with the prior divided out.
        precision = np.maximum(1.0 / variance - 1.0 / spread, 0.0)
        own = (mean / variance - centre / spread) / np.where(precision > 0, precision, 1.0)
        value = np.where(precision > 0, own, centre)
        precision[flat.sum(axis=1) == 0] = 0.0
    return points, _SPACING * width, weights, score


def _first_estimates(flat, coordinates, family):
    """Location and log scale of each column from its moments, with inverse variances.

    No column counts for more than some objects, so that the first points lie wide enough to find the peak.
    """
    total = flat.sum(axis=1)
    known = np.maximum(total, 1e-12)
    centres = 0.5 * (coordinates.edges[1:] + coordinates.edges[:-1])
    if family == "von-mises":
        resultant = flat @ np.exp(1j * centres) / known
        location = np.angle(resultant)
        squares = -2.0 * np.log(np.clip(np.abs(resultant), 1e-2, 1.0)) * total
    else:
        location = flat @ centres / known
        squares = np.sum(flat * (centres - location[:, None]) ** 2, axis=1)
    freedom = np.maximum(total - 1.0, 0.0)
    typical = max(squares.sum() / max(freedom.sum(), 1.0), coordinates.least**2)
    variance = (squares + 3.0 * typical) / (freedom + 3.0)
    enough = freedom >= 1.0
    half = np.where(enough, 0.5 * freedom, 1.0)
    observed = np.maximum(squares / (2.0 * half), coordinates.least**2)
    log_scale = 0.5 * (np.log(observed) - digamma(half) + np.log(half))
    value = np.stack([location, np.where(enough, log_scale, 0.5 * np.log(typical))], axis=1)
    precision = np.stack([total / variance, np.where(enough, 4.0 / polygamma(1, half), 0.0)], axis=1)
    return value, precision / np.maximum(total / FIRST_OBJECTS, 1.0)[:, None]


def _blur(grid: Grid, error: float) -> np.ndarray | None:
    """Cells seen through the typical error: row g has the probabilities of the observed cells."""
    if error < 0.1 * grid.width:
        return None
    return kernel_matrices(grid, np.array([error]))[0]


def _below_zero(grid: Grid, class_counts) -> bool:
    return bool(class_counts.sum(axis=1)[grid.edges[1:] <= 0].any())


def _deal(counts, rng) -> list[np.ndarray]:
    """Split counts into folds: whole objects at random, and the rest of each cell to one fold."""
    whole = np.floor(counts).astype(np.int64)
    parts = rng.multinomial(whole, np.full(FOLDS, 1.0 / FOLDS)).astype(float)
    fold = rng.integers(FOLDS, size=counts.shape)
    parts += (counts - whole)[..., None] * (fold[..., None] == np.arange(FOLDS))
    return list(np.moveaxis(parts, -1, 0))


def _blocks(rows):
    """Rows in blocks that bound the memory."""
    return [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]


def _with_floor(table, axis: int = 0):
    return (1.0 - FLOOR) * table + FLOOR / table.shape[axis]
