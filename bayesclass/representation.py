"""From light curves to what experts learn from: kernel features and counts of events. No label is used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np

from bayesclass.feature_table import feature_table
from bayesclass.progress import Progress
from bayesclass.recipe_schema import FeatureSpec, StreamSpec
from context.evidence import EvidenceTable, State
from structurefn.contrast import count_contrast
from structurefn.counting import count_events
from structurefn.kernel_features import KernelFeatures
from structurefn.light_curves import LightCurves
from structurefn.limits import count_limits
from structurefn.magnitudes import as_magnitudes, with_systematic
from structurefn.maps import map_scale, stream_map
from structurefn.periods import count_period
from structurefn.streams import COUNTED_APART, JOINT_KINDS, KINDS, Stream

# Kinds whose events form a proper likelihood, and the expert they enter as.
GENERATIVE = {
    "adjacent": "pair chain",
    "triplets": "triplet chain",
    "magnitude": "magnitude",
    "limits": "upper limits",
}


class Described(NamedTuple):
    """Light curves of n objects, as experts see them."""

    features: np.ndarray | None  # (n, n_features + 1) kernel features; None without trained streams
    counts: dict[str, np.ndarray]  # stream -> (n, *grid.shape), generative kinds only
    n_detections: np.ndarray  # (n,)
    table: np.ndarray | None = None  # (n, n_columns) published features; None without their expert

    def take(self, rows: np.ndarray) -> Described:
        """Choose objects."""
        features = None if self.features is None else self.features[rows]
        counts = {name: count[rows] for name, count in self.counts.items()}
        table = None if self.table is None else self.table[rows]
        return Described(features, counts, self.n_detections[rows], table)


def runtime_streams(specs: tuple[StreamSpec, ...]) -> tuple[Stream, ...]:
    """Streams of a recipe, one for each channel where a kind takes a single one."""
    streams = []
    for spec in specs:
        # Neighbouring pairs are among all pairs already; counts of limits are no map of the object.
        options = {"trained": spec.kind not in ("adjacent", "limits"), **spec.options}
        if "lag_range" in options:
            low, high = options.pop("lag_range")
            options["grid"] = replace(KINDS[spec.kind][3], lag_range=(float(low), float(high)))
        if "period_range" in options:
            low, high = options.pop("period_range")
            options["grid"] = replace(KINDS[spec.kind][3], column_range=(np.log10(low), np.log10(high)))
        for key in ("weight", "limit"):
            if key in options:
                options[key] = float(options[key])
        if spec.kind in JOINT_KINDS:
            streams.append(Stream(spec.name, spec.kind, spec.channels, **options))
        else:
            streams += [
                Stream(f"{spec.name} {channel}", spec.kind, (channel,), **options)
                for channel in spec.channels
            ]
    return tuple(streams)


@dataclass(frozen=True)
class Representation:
    """How light curves are described.

    Attributes
    ----------
    streams : tuple of Stream
    night : float
        Longest gap within a night [day].
    softening : dict of str to float
        Channel -> softening of asinh magnitudes [flux]; empty for magnitudes.
    scales : dict of str to float
        Trained stream -> scale of its maps.
    kernel : KernelFeatures or None
        On the maps of the trained streams; None for a recipe without any.
    systematic : float
        Added in quadrature to every error [mag].
    published : FeatureSpec or None
        Which published features are computed.
    """

    streams: tuple[Stream, ...]
    night: float
    softening: dict[str, float]
    scales: dict[str, float]
    kernel: KernelFeatures | None
    systematic: float = 0.0
    published: FeatureSpec | None = None

    @classmethod
    def fit(
        cls,
        streams: tuple[Stream, ...],
        light_curves: LightCurves,
        weights: np.ndarray,
        *,
        evidence: EvidenceTable | None = None,
        night: float = 0.0,
        softening: dict[str, float] | None = None,
        systematic: float = 0.0,
        published: FeatureSpec | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> tuple[Representation, Described]:
        """Learn scales, axes and landmarks, and describe the same light curves.

        Parameters
        ----------
        streams : tuple of Stream
        light_curves : LightCurves
        weights : ndarray, shape (n_objects,)
            The versions of one object share one unit.
        evidence : EvidenceTable, optional
            Of the same objects in the same order, for streams with a reference.
        night, softening, systematic, published, seed
            As in the attributes.
        progress : callable, optional
        """
        blind = cls(streams, night, softening or {}, {}, None, systematic, published)
        maps, counts = blind._maps_and_counts(light_curves, evidence, progress)
        scales = {name: map_scale(values, weights) for name, values in maps.items()}
        blind = replace(blind, scales=scales)
        kernel = features = None
        if maps:
            stacked = blind._stack(maps)
            kernel = KernelFeatures.fit(stacked, weights, seed=seed)
            features = kernel.features(stacked)
        fitted = replace(blind, kernel=kernel)
        table = fitted._table(light_curves, evidence)
        return fitted, Described(features, counts, light_curves.n_detections, table)

    def describe(self, light_curves: LightCurves, evidence: EvidenceTable | None = None) -> Described:
        """Describe a batch of light curves, fluxes or magnitudes; evidence as in `fit`."""
        maps, counts = self._maps_and_counts(light_curves, evidence, None)
        features = None if self.kernel is None else self.kernel.features(self._stack(maps))
        table = self._table(light_curves, evidence)
        return Described(features, counts, light_curves.n_detections, table)

    def _table(self, light_curves: LightCurves, evidence: EvidenceTable | None) -> np.ndarray | None:
        if self.published is None:
            return None
        return feature_table(self.published, light_curves, evidence)

    def _maps_and_counts(self, light_curves, evidence, progress):
        magnitudes = with_systematic(as_magnitudes(light_curves, self.softening), self.systematic)
        maps, counts = {}, {}
        grids = {stream.name: stream for stream in self.streams}
        chosen = {kind: [s for s in self.streams if s.kind == kind] for kind in COUNTED_APART}
        others = [stream for stream in self.streams if stream.kind not in chosen]
        counted = chain(
            count_events(magnitudes, others, night=self.night),
            count_limits(magnitudes, chosen["limits"]),
            (
                (s.name, count_contrast(magnitudes, s, *_reference(s, evidence, light_curves.n_objects)))
                for s in chosen["contrast"]
            ),
            ((s.name, count_period(magnitudes, s)) for s in chosen["period"]),
        )
        for done, (name, count) in enumerate(counted):
            if grids[name].trained:
                maps[name] = stream_map(count, grids[name].grid)
            if grids[name].kind in GENERATIVE:
                counts[name] = count
            if progress:
                progress("structure functions", done + 1, len(self.streams))
        return maps, counts

    def _stack(self, maps: dict[str, np.ndarray]) -> np.ndarray:
        """Put maps side by side, in the order of the streams; the originals are used up."""
        weight = {stream.name: stream.weight for stream in self.streams}
        widths = [values.shape[1] for values in maps.values()]
        n = len(next(iter(maps.values())))
        stacked = np.empty((n, sum(widths)), dtype=np.float32)
        start = 0
        for name, width in zip(list(maps), widths, strict=True):
            factor = np.float32(weight[name] / (self.scales[name] * np.sqrt(len(widths))))
            np.multiply(maps.pop(name), factor, out=stacked[:, start : start + width])
            start += width
        return stacked


def _reference(stream: Stream, evidence: EvidenceTable | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Read archival magnitudes of a contrast, NaN where nobody looked, and whether each is a limit only."""
    if evidence is None:
        return np.full(n, np.nan), np.zeros(n, dtype=bool)
    column = evidence.columns[stream.reference]
    fainter = column.state == State.NONE
    limit = np.nan if stream.limit is None else stream.limit
    return np.where(fainter, limit, np.where(column.measured, column.value, np.nan)), fainter
