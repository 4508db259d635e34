"""What a recipe holds: its kinds and names, and a dataclass for each of its tables."""

from __future__ import annotations

from dataclasses import dataclass, field

from bayesclass.network_spec import JointSpec, LatentSpec, NetworkSpec
from bayesclass.virtual_posteriors import PosteriorSpec

STREAM_KINDS = (
    "pairs",
    "scaled-pairs",
    "adjacent",
    "triplets",
    "level",
    "scaled-level",
    "peak",
    "cross-peak",
    "magnitude",
    "contrast",
    "period",
    "limits",
)
PAIR_STREAM_KINDS = ("pairs", "scaled-pairs", "cross-peak", "limits")
# Keys of a stream beside name, kind and channels, by kind.
STREAM_OPTIONS: dict[str, tuple[str, ...]] = dict.fromkeys(
    STREAM_KINDS, ("nightly", "trained", "weight", "lag_range")
)
# Limits are of single exposures, and their counts hold detections too, so they are never trained on.
STREAM_OPTIONS["limits"] = ("lag_range",)
STREAM_OPTIONS["period"] = ("weight", "period_range")
STREAM_OPTIONS["contrast"] = ("weight", "reference", "limit")
QUANTITIES = ("mag", "flux")
PHOTOMETRY = ("difference", "total")
CLASS_NODE = "class"
LEARN_METHODS = ("tree", "hill-climb")
FEATURE_CLASSIFIERS = ("gradient boosting", "random forest", "extra trees")


@dataclass(frozen=True)
class ClassSpec:
    """Columns of the objects' table with the labels, and the class tree as written."""

    label: str
    leaves: tuple[str, ...]
    partial_label: str | None = None
    nodes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class LightCurveSpec:
    """Which measurements are used.

    Attributes
    ----------
    quantity : {"mag", "flux"}
    photometry : {"difference", "total"}
        Light of the transient alone, or with whatever else is there.
    channels : tuple of str
        "SURVEY/band"; others are set aside.
    night : float
        Exposures of a channel closer than this [day] are averaged where chains are formed; 0 is never.
    systematic : float
        Added in quadrature to every error [mag].
    softening : dict of str to float
        Channel -> flux below which the asinh magnitude is linear; quantity "flux" only.
    aliases : dict of str to str
        Other names of channels -> channel.
    wavelength : dict of str to float
        Channel -> effective wavelength [Angstrom]; needed where light curves are moved in redshift.
    """

    quantity: str
    photometry: str
    channels: tuple[str, ...]
    night: float = 0.0
    systematic: float = 0.0
    softening: dict[str, float] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    wavelength: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamSpec:
    """One stream of light-curve measurements: a kind of statistic, on one or several channels."""

    name: str
    kind: str
    channels: tuple[str, ...]
    options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkEdges:
    """Edges (parent, child) as written, evidence that gets no edge from "class", and joint densities.

    `learn` says how edges between columns are added by the fit ("tree" or "hill-climb"; None: not at all),
    `forbidden` the pairs that it does not join. `densities` and `tables` say by column how densities and
    tables are estimated, where not by kernels and shrunken frequencies. `latent` are nodes that are never
    observed, and `missing_cells` says how tables are learned where a parent is missing (see `NetworkSpec`).
    `posteriors` are columns with another classifier's probabilities.
    """

    edges: tuple[tuple[str, str], ...] = ()
    no_class_edge: tuple[str, ...] = ()
    joint: tuple[JointSpec, ...] = ()
    learn: str | None = None
    forbidden: tuple[tuple[str, str], ...] = ()
    densities: dict[str, str] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    latent: tuple[LatentSpec, ...] = ()
    missing_cells: str = NetworkSpec.missing_cells
    posteriors: tuple[PosteriorSpec, ...] = ()


@dataclass(frozen=True)
class MatchSpec:
    """A catalogue whose nearest source is evidence.

    Attributes
    ----------
    name : str
        Of the catalogue in the annotated table: its columns are NAME_separation_arcsec and so on.
    radius : float
        Within which a source counts as found [arcsec]; at most the one that was searched.
    scatter : float
        Expected 1-sigma scatter of a counterpart's offset on each axis, beyond the position errors [arcsec].
    shared_scatter : bool
        One scatter for all classes.
    title : str
        One line for people.
    """

    name: str
    radius: float
    scatter: float = 1.0
    shared_scatter: bool = False
    title: str = ""


@dataclass(frozen=True)
class FeatureSpec:
    """The expert on published light-curve features.

    Attributes
    ----------
    classifier : {"gradient boosting", "random forest", "extra trees"}
    period : bool
        Whether peaks of the periodogram are among the features.
    transient : bool
        Whether brightness, colours and times around the maximum are.
    redshift : str or None
        Evidence column that makes absolute magnitudes and rest-frame times of those of transients.
    select : int or None
        How many features are kept, those of the largest gain; all by default.
    """

    classifier: str = "gradient boosting"
    period: bool = False
    transient: bool = False
    redshift: str | None = None
    select: int | None = None


@dataclass(frozen=True)
class FitSpec:
    """How a model is fitted: folds, thinned versions of each object (and their points), draws and seed.

    `redshifted` is the number of light curves added for each object at other redshifts (`augmentation`), and
    `selected_by` the channels whose brightness decides which objects get a label (none: all). Samples of more
    than `redshifted_up_to` labelled objects are taken as they are.
    """

    folds: int = 5
    versions: int = 5
    draws: int = 32
    seed: int = 0
    min_points: int = 3
    max_points: int = 120
    redshifted: int = 0
    selected_by: tuple[str, ...] = ()
    redshifted_up_to: int | None = None

    def redshifts(self, n_labelled: int) -> bool:
        """Whether a sample of so many labelled objects gets light curves at other redshifts."""
        small = self.redshifted_up_to is None or n_labelled <= self.redshifted_up_to
        return self.redshifted > 0 and small
