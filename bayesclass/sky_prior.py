"""Class priors by region of the sky, shrunk towards the whole sky as far as the regions agree."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesclass.object_prior import ObjectPrior
from bayesclass.pooling import PooledTable, PoolingError, pool_table
from bayesclass.priors import PSEUDO_COUNT, Prior

__all__ = ["RegionPrior", "label_counts", "latitude_regions"]

N_DRAWS = 200


def latitude_regions(latitude: np.ndarray, edges: Sequence[float] = (10.0, 20.0, 40.0, 60.0)) -> np.ndarray:
    """Name the bin of absolute latitude of each object, such as "10-20".

    Parameters
    ----------
    latitude : float array, shape (n,) [deg]
        Galactic or ecliptic.
    edges : sequence of float
        Between the bins, ascending within 0 and 90.

    Returns
    -------
    str array, shape (n,)

    Raises
    ------
    PoolingError
        If a latitude is not within -90 to 90, or edges do not ascend.
    """
    latitude, bounds = np.asarray(latitude, dtype=float), np.array([0.0, *edges, 90.0])
    if not (np.diff(bounds) > 0).all():
        raise PoolingError(f"Edges of latitude must ascend between 0 and 90, found {list(edges)}: sort them.")
    if not (np.abs(latitude) <= 90.0).all():
        raise PoolingError(
            "Latitudes must lie within -90 and 90 degrees, and one does not or is missing: give such objects "
            "a region of their own."
        )
    names = np.array([f"{low:g}-{high:g}" for low, high in itertools.pairwise(bounds)])
    return names[np.searchsorted(bounds[1:-1], np.abs(latitude), side="right")]


@dataclass(frozen=True, eq=False)
class RegionPrior:
    r"""Class priors of regions of the sky.

    .. math:: n_r \sim \mathrm{DirichletMultinomial}(\kappa \mu)

    with one kappa of all regions: a region of N objects keeps N / (N + kappa) of its own fractions.

    Warnings
    --------
    Use it with a classifier that does not have the sky position among its evidence already (such as absolute
    Galactic latitude in its network): the position would count twice, and the probabilities would be too
    sure. The same holds for evidence that stands for it, such as extinction or star density.

    Attributes
    ----------
    leaves : tuple of str
    regions : tuple of str
    counts : float64 array, shape (n_regions, n_leaves)
        Objects; those with several allowed leaves in parts.
    n_unlabelled : int
        Objects without a label, which had no part in it.
    pooled : PooledTable
        Leaves are its states, regions its groups; diagnostics and InferenceData are there.
    """

    leaves: tuple[str, ...]
    regions: tuple[str, ...]
    counts: np.ndarray
    n_unlabelled: int
    pooled: PooledTable

    @classmethod
    def fit(cls, region: Sequence, allowed: np.ndarray, leaves: Sequence[str], **options) -> RegionPrior:
        """Learn the priors from labelled objects.

        Parameters
        ----------
        region : sequence of str, shape (n,)
            The user's own labels, or `latitude_regions`.
        allowed : bool array, shape (n, n_leaves), or int array, shape (n,)
            Allowed leaves, a row without any being unlabelled, or the leaf's index, -1 for unlabelled.
        leaves : sequence of str
        options
            Of `pool_table`: seed, n_draws, sampler, require_convergence ...

        Raises
        ------
        PoolingError
            If shapes do not fit, no object is labelled, or the fit did not converge.
        """
        leaves = tuple(map(str, leaves))
        allowed = _as_allowed(allowed, len(leaves))
        region = np.asarray(region, dtype=np.str_)
        if region.shape != (len(allowed),):
            raise PoolingError(
                f"Each of the {len(allowed)} objects must have a region, found shape {region.shape}."
            )
        regions, index = np.unique(region, return_inverse=True)
        counts, n_unlabelled = label_counts(index, allowed, len(regions))
        options = {"spread": 0.0, "groups": regions.tolist(), "states": leaves} | options
        pooled = pool_table(counts.T[:, None, :], **options)
        return cls(leaves, tuple(regions.tolist()), counts, n_unlabelled, pooled)

    def prior(self, region: str, *, seed: int = 0) -> Prior:
        """Return the prior of a region, with draws; of one never seen, the prediction for a new region."""
        known = str(region) in self.regions
        table = self.pooled if known else self.pooled.new_group()
        place = self.regions.index(str(region)) if known else 0
        rng = np.random.default_rng(seed)
        draws = np.array([table.draw(rng)[:, 0, place] for _ in range(N_DRAWS)])
        name = f"region {region}" if known else f"region {region}, not seen in training"
        return Prior(self.leaves, table.table[:, 0, place], name, draws)

    def of_objects(self, object_id: Sequence[str], region: Sequence, *, seed: int = 0) -> ObjectPrior:
        """Return each object's prior by its region, for `Posterior.with_prior`.

        Parameters
        ----------
        object_id : sequence of str, shape (n,)
        region : sequence of str, shape (n,)
        seed : int
            Of the draws.

        Raises
        ------
        PoolingError
            If there are not as many regions as objects.
        """
        names, row = np.unique(np.asarray(region, dtype=np.str_), return_inverse=True)
        if len(row) != len(object_id):
            raise PoolingError(
                f"Each of the {len(object_id)} objects must have a region, found {len(row)}: give one."
            )
        # A stream of draws for each region: they share kappa and mu, but an object has only one.
        priors = [self.prior(name, seed=seed + i) for i, name in enumerate(names.tolist())]
        probability = np.array([prior.probability for prior in priors]).reshape(-1, len(self.leaves))
        draws = np.stack([prior.draws for prior in priors], axis=1) if priors else None
        return ObjectPrior(np.asarray(object_id), self.leaves, probability, row, "by region", draws)


def label_counts(index: np.ndarray, allowed: np.ndarray, n_regions: int) -> tuple[np.ndarray, int]:
    """Count leaves by region; an object of several leaves in proportion to the whole sample, by EM.

    Parameters
    ----------
    index : int array, shape (n,)
        Region of each object.
    allowed : bool array, shape (n, n_leaves)
    n_regions : int

    Returns
    -------
    counts : float64 array, shape (n_regions, n_leaves)
    n_unlabelled : int
    """
    labelled = allowed.any(axis=1)
    index, allowed = index[labelled], allowed[labelled]
    share = np.full(allowed.shape[1], 1.0 / allowed.shape[1])
    for _ in range(100):
        parts = allowed * share
        parts = parts / parts.sum(axis=1, keepdims=True)
        new = parts.sum(axis=0) + PSEUDO_COUNT
        new /= new.sum()
        moved, share = np.abs(new - share).max(), new
        if moved < 1e-10:
            break
    counts = np.zeros((n_regions, allowed.shape[1]))
    np.add.at(counts, index, parts)
    return counts, int((~labelled).sum())


def _as_allowed(allowed: np.ndarray, n_leaves: int) -> np.ndarray:
    allowed = np.asarray(allowed)
    if allowed.ndim == 1 and allowed.dtype.kind in "iu" and len(allowed) and allowed.max() < n_leaves:
        allowed = allowed[:, None] == np.arange(n_leaves)
    if allowed.dtype != bool or allowed.shape[1:] != (n_leaves,) or not allowed.any():
        raise PoolingError(
            f"Labels must be allowed leaves of shape (n, {n_leaves}) or indices below {n_leaves}, at least "
            f"one of them known, found shape {allowed.shape} of type {allowed.dtype}: see `Taxonomy.allowed`."
        )
    return allowed
