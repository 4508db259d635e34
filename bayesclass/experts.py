"""Experts on light curves: trained maps and generative chains, from counts of structure-function events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesclass.recipe_schema import StreamSpec
from structurefn.density import Density, fit_density
from structurefn.kernel_logistic import KernelLogistic
from structurefn.likelihood import log_likelihood
from structurefn.maps import map_scales, stacked_maps
from structurefn.response import response_matrix
from structurefn.streams import PAIR_KINDS, Stream

TRAINED = "structure function"
# Kinds whose events form a proper likelihood, and the expert they enter as.
GENERATIVE = {"adjacent": "pair chain", "triplets": "triplet chain", "magnitude": "magnitude"}

Evidence = dict[str, np.ndarray]


def runtime_streams(specs: tuple[StreamSpec, ...]) -> tuple[Stream, ...]:
    """Streams of a recipe, one for each channel where a kind takes a single one."""
    streams = []
    for spec in specs:
        # Neighbouring pairs are among all pairs already.
        options = {"nightly": False, "trained": spec.kind != "adjacent", **spec.options}
        if spec.kind in PAIR_KINDS:
            streams.append(Stream(spec.name, spec.kind, spec.channels, **options))
        else:
            streams += [
                Stream(f"{spec.name} {channel}", spec.kind, (channel,), **options)
                for channel in spec.channels
            ]
    return tuple(streams)


@dataclass(frozen=True)
class LightCurveExperts:
    """What one fit learned about light curves.

    Attributes
    ----------
    streams : tuple of Stream
    densities : dict of str to Density
        Stream name -> density, for the kinds of `GENERATIVE`.
    kernel : KernelLogistic or None
        On the maps of the streams that are trained on; None for a recipe without any.
    scales : dict of str to float
        Stream name -> scale of its maps.
    log_train : ndarray, shape (n_classes,)
        Log class frequencies of the fit, by which the trained expert's posterior is divided.
    """

    streams: tuple[Stream, ...]
    densities: dict[str, Density]
    kernel: KernelLogistic | None
    scales: dict[str, float]
    log_train: np.ndarray

    @classmethod
    def fit(
        cls,
        streams: tuple[Stream, ...],
        counts: Evidence,
        allowed: np.ndarray,
        weights: np.ndarray,
        groups: np.ndarray,
        *,
        n_draws: int = 0,
        seed: int = 0,
    ) -> LightCurveExperts:
        """Fit densities and trained maps.

        Parameters
        ----------
        streams : tuple of Stream
        counts : dict of str to ndarray
            Stream name -> counts, shape (n, *grid.shape).
        allowed : ndarray of bool, shape (n, n_classes)
            Allowed classes of each row.
        weights : ndarray, shape (n,)
            Weight of a row; the versions of one object share one unit.
        groups : ndarray of int, shape (n,)
            The object of each row.
        n_draws, seed : int
        """
        membership = allowed * (weights / allowed.sum(axis=1))[:, None]
        densities = {
            stream.name: _fit_density(stream, counts[stream.name], membership, groups)
            for stream in streams
            if stream.kind in GENERATIVE
        }
        frequency = membership.sum(axis=0) + 0.5
        log_train = np.log(frequency / frequency.sum())
        grids = _mapped_grids(streams)
        if not grids:
            return cls(streams, densities, None, {}, log_train)
        scales = map_scales(counts, grids, weights)
        maps = stacked_maps(counts, grids, scales)
        kernel = KernelLogistic.fit(maps, allowed, weights, groups=groups, n_draws=n_draws, seed=seed)
        return cls(streams, densities, kernel, scales, log_train)

    @property
    def names(self) -> tuple[str, ...]:
        """The experts, in the order of `evidence`."""
        kinds = [stream.kind for stream in self.streams]
        trained = (TRAINED,) if self.kernel is not None else ()
        return trained + tuple(name for kind, name in GENERATIVE.items() if kind in kinds)

    def evidence(
        self, counts: Evidence, n_detections: np.ndarray, *, draws: bool = False
    ) -> tuple[Evidence, Evidence]:
        """Log-likelihood of each class by expert, and the number of points or events behind it.

        Parameters
        ----------
        counts : dict of str to ndarray
        n_detections : ndarray of int, shape (n,)
        draws : bool
            Whether the trained expert is given under each of its draws, with a leading axis.

        Returns
        -------
        evidence : dict of str to ndarray, shape (n, n_classes)
            Zero for objects without an event.
        sizes : dict of str to ndarray, shape (n,)
        """
        evidence, sizes = {}, {}
        if self.kernel is not None:
            maps = stacked_maps(counts, _mapped_grids(self.streams), self.scales)
            ratio = self.kernel.log_posterior(maps, draws=draws) - self.log_train
            evidence[TRAINED] = np.where(n_detections[:, None] > 0, ratio, 0.0)
            sizes[TRAINED] = n_detections.astype(float)
        for kind, name in GENERATIVE.items():
            chosen = [stream for stream in self.streams if stream.kind == kind]
            if chosen:
                evidence[name] = sum(log_likelihood(counts[s.name], self.densities[s.name]) for s in chosen)
                sizes[name] = sum(counts[s.name].sum(axis=(1, 2, 3)) for s in chosen).astype(float)
        return evidence, sizes


def _mapped_grids(streams):
    return {stream.name: stream.grid for stream in streams if stream.trained}


def _fit_density(stream: Stream, counts: np.ndarray, membership: np.ndarray, groups: np.ndarray) -> Density:
    """Density of one stream; triplets back off to the two-dimensional table of the same events."""
    grid = stream.grid
    response = response_matrix(grid.column_edges, grid.error_centres)
    options = {"groups": groups}
    if stream.kind == "triplets":
        n_first, n_second, n_change = grid.row_shape
        axes = counts.reshape(len(counts), *grid.row_shape, *grid.shape[1:])
        pairs = fit_density(axes.sum(axis=(1, 3)), membership, response, groups=groups)
        parent = np.broadcast_to(
            pairs.true[:, None, :, None, :], (len(pairs.true), n_first, n_second, n_change, grid.n_columns)
        )
        options["parent"] = parent.reshape(len(pairs.true), grid.n_rows, grid.n_columns)
    return fit_density(counts, membership, response, row_shape=grid.row_shape, **options)
