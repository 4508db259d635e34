"""The result: class probabilities of many objects, with intervals, sets, flags and reasons."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bayesclass.explanation import Explanation, explain_row
from bayesclass.object_prior import ObjectPrior
from bayesclass.posterior_checks import (
    PosteriorError,
    UnknownObjectError,
    check_shapes,
    check_values,
    unknown_object,
)
from bayesclass.posterior_export import dataset, inference_data
from bayesclass.priors import Prior
from bayesclass.reason_columns import reason_columns
from bayesclass.reweighting import reweight
from bayesclass.taxonomy import Taxonomy

__all__ = ["Explanation", "Posterior", "PosteriorError", "UnknownObjectError"]

INTERVAL = (0.05, 0.95)
# Objects whose intervals are found at a time: quantiles copy the draws.
BLOCK = 4096


@dataclass(frozen=True, eq=False, kw_only=True)
class Posterior:
    """Class probabilities of n objects, K leaves.

    Attributes
    ----------
    object_id : str array, shape (n,)
        Unique.
    taxonomy : Taxonomy
        Its `leaves` are the order of every class axis.
    probability : float64 array, shape (n, K)
        Rows sum to one within 1e-6.
    draws : float32 array, shape (n_draws, n, K), or None
        Draws of the class probabilities from the posterior of the model's parameters.
    prediction_set : bool array, shape (n, K)
        Never empty.
    n_detections, n_upper_limits : int array, shape (n,)
    novelty : float array, shape (n,)
        0 to 1, one is unlike anything seen in training; NaN where it was not measured.
    unknown : float array, shape (n,), or None
        Probability of belonging to none of the leaves, beside `probability`, which is given that the object
        belongs to one; NaN where it was not measured. None is NaN for all.
    conflict : float array, shape (n,)
        Log of how much better light curve and context agree than by chance [nat]; negative is conflict.
    warnings : sequence of str, length n
        What was left out or is doubtful, separated by ";"; "" when nothing.
    reasons : mapping of str to float array, shape (n, K)
        Piece of evidence -> its contribution to the log-likelihood of each leaf [nat], the prior under
        "prior"; the sum over pieces, normalised, is the log-probability.
    prior : Prior or None
        That the probabilities were made with; None where it is not known.
    light_curve_pieces : tuple of str or None
        Names of the reasons that came from the light curve; None where that is not known.
    training_set : bool array, shape (n, K), or None
        `prediction_set` as it was before `with_prior`; None where the prior was not changed.

    Raises
    ------
    PosteriorError
        A shape that does not fit, rows that do not sum to one, identifiers that repeat, an empty
        prediction set, or reasons that add up to other probabilities.
    """

    object_id: np.ndarray
    taxonomy: Taxonomy
    probability: np.ndarray
    draws: np.ndarray | None = None
    prediction_set: np.ndarray
    n_detections: np.ndarray
    n_upper_limits: np.ndarray
    novelty: np.ndarray
    conflict: np.ndarray
    warnings: Sequence[str]
    reasons: Mapping[str, np.ndarray] = field(default_factory=dict)
    prior: Prior | ObjectPrior | None = None
    light_curve_pieces: tuple[str, ...] | None = None
    training_set: np.ndarray | None = None
    unknown: np.ndarray | None = None

    def __post_init__(self):
        dtypes = {
            "object_id": np.str_,
            "probability": np.float64,
            "prediction_set": bool,
            "n_detections": np.int64,
            "n_upper_limits": np.int64,
            "novelty": np.float64,
            "unknown": np.float64,
            "conflict": np.float64,
        }
        if self.unknown is None:
            object.__setattr__(self, "unknown", np.full(len(self.object_id), np.nan))
        for name, dtype in dtypes.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        object.__setattr__(self, "warnings", tuple(str(warning) for warning in self.warnings))
        if self.draws is not None:
            object.__setattr__(self, "draws", np.asarray(self.draws, dtype=np.float32))
        if self.training_set is not None:
            object.__setattr__(self, "training_set", np.asarray(self.training_set, dtype=bool))
        object.__setattr__(self, "reasons", {name: np.asarray(x) for name, x in self.reasons.items()})
        self._check_shapes()
        check_values(
            self.object_id, self.classes, self.probability, self.prediction_set, self.draws, self.reasons
        )

    def _check_shapes(self):
        one, two = (len(self.object_id),), (len(self.object_id), self.taxonomy.n_leaves)
        names = ("object_id", "n_detections", "n_upper_limits", "novelty", "unknown", "conflict")
        shapes = dict.fromkeys(names, one)
        shapes |= {"probability": two, "prediction_set": two}
        found = {name: getattr(self, name).shape for name in shapes} | {"warnings": (len(self.warnings),)}
        shapes["warnings"] = one
        for name, values in self.reasons.items():
            shapes[f"reasons[{name!r}]"], found[f"reasons[{name!r}]"] = two, values.shape
        if self.draws is not None:
            shapes["draws"], found["draws"] = (len(self.draws), *two), self.draws.shape
        if self.training_set is not None:
            shapes["training_set"], found["training_set"] = two, self.training_set.shape
        check_shapes(shapes, found, two)

    @property
    def classes(self) -> tuple[str, ...]:
        """The leaves, in the order of the last axis."""
        return self.taxonomy.leaves

    @property
    def log_probability(self) -> np.ndarray:
        """Natural logarithm of `probability`, shape (n, K); -inf where a class is impossible."""
        with np.errstate(divide="ignore"):
            return np.log(self.probability)

    @property
    def best_class(self) -> np.ndarray:
        """Most probable leaf of every object, shape (n,), str."""
        return np.array(self.classes)[self.probability.argmax(axis=1)]

    @cached_property
    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the 90 % credible interval, each of shape (n, K); NaN without draws.

        Quantiles .05 and .95 of the draws, at positions q (n_draws + 1) of their order (Weibull's), below
        which a further draw falls with that probability; widened where that leaves the probability itself
        outside.
        """
        ends = np.full((2, *self.probability.shape), np.nan)
        if self.draws is not None:
            for start in range(0, len(self), BLOCK):
                part = slice(start, start + BLOCK)
                ends[:, part] = np.quantile(self.draws[:, part], INTERVAL, axis=0, method="weibull")
        return np.minimum(ends[0], self.probability), np.maximum(ends[1], self.probability)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.object_id.tolist())}

    def __len__(self):
        return len(self.object_id)

    def position(self, object_id: Any) -> int:
        """Return the row of an object.

        Raises
        ------
        UnknownObjectError
            If it is not there; a ValueError and a KeyError.
        """
        name = str(object_id)
        if name not in self._index:
            raise unknown_object(name, self.object_id)
        return self._index[name]

    def take(self, index) -> Posterior:
        """Choose objects in the order given, each at most once.

        Parameters
        ----------
        index : int array, bool array of shape (n,), slice, or int
            Positions; negative ones count from the end.

        Raises
        ------
        IndexError
            A position out of range.
        PosteriorError
            An object taken twice.
        """
        rows = np.atleast_1d(np.arange(len(self))[index])
        plain = ("object_id", "probability", "prediction_set", "n_detections", "n_upper_limits")
        chosen = {name: getattr(self, name)[rows] for name in (*plain, "novelty", "unknown", "conflict")}
        return replace(
            self,
            **chosen,
            draws=None if self.draws is None else self.draws[:, rows],
            training_set=None if self.training_set is None else self.training_set[rows],
            warnings=[self.warnings[i] for i in rows],
            reasons={piece: values[rows] for piece, values in self.reasons.items()},
        )

    def to_frame(self, nodes: bool = False, reasons: bool = False) -> pd.DataFrame:
        """Return one row an object.

        Parameters
        ----------
        nodes : bool
            Append p_<node>, the probability of every inner node of the class tree.
        reasons : bool
            Append reason_<leaf>_<piece>, float32: what each piece of evidence added to the log-likelihood
            of each leaf [nat].

        Returns
        -------
        DataFrame
            object_id; p_<leaf> of every leaf; p_<leaf>_lo and p_<leaf>_hi of every leaf (90 % credible
            interval, NaN without draws); best_class; prediction_set, its leaves joined by "|";
            n_detections; n_upper_limits; novelty; p_unknown (no leaf's: leaves sum to one); conflict;
            warnings.

        Raises
        ------
        PosteriorError
            Two columns of one name, as leaves "A" and "A_lo" make; reasons wanted where there are none.
        """
        lower, upper = self.interval
        names = np.array(self.classes, dtype=object)
        columns = [("object_id", self.object_id)]
        columns += [(f"p_{leaf}", self.probability[:, k]) for k, leaf in enumerate(self.classes)]
        for k, leaf in enumerate(self.classes):
            columns += [(f"p_{leaf}_lo", lower[:, k]), (f"p_{leaf}_hi", upper[:, k])]
        columns += [
            ("best_class", self.best_class),
            ("prediction_set", np.array(["|".join(names[row]) for row in self.prediction_set], dtype=str)),
            ("n_detections", self.n_detections),
            ("n_upper_limits", self.n_upper_limits),
            ("novelty", self.novelty),
            ("p_unknown", self.unknown),
            ("conflict", self.conflict),
            ("warnings", np.array(self.warnings, dtype=str)),
        ]
        if nodes:
            above = self.taxonomy.node_probabilities(self.probability)
            columns += [(f"p_{node}", values) for node, values in above.items()]
        if reasons:
            if not self.reasons:
                raise PosteriorError("This posterior carries no reasons; classify with them to write them.")
            columns += reason_columns(self.reasons, self.classes)
        frame = pd.DataFrame(dict(columns))
        if frame.shape[1] != len(columns):
            raise PosteriorError(
                "Names of classes must give each column its own name, and two columns share one in "
                f"{[name for name, _ in columns]}; rename a class."
            )
        return frame

    def to_xarray(self):
        """Return an xarray.Dataset with dimensions object_id, class, piece and, with draws, draw."""
        lower, upper = self.interval
        per_class = {"probability": self.probability, "lower": lower, "upper": upper}
        names = ("best_class", "n_detections", "n_upper_limits", "novelty", "unknown", "conflict")
        return dataset(
            self.object_id,
            self.classes,
            per_class | {"prediction_set": self.prediction_set},
            {"warnings": np.array(self.warnings, dtype=str)} | {name: getattr(self, name) for name in names},
            self.reasons,
            self.draws,
        )

    def to_inference_data(self):
        """Return the draws as ArviZ keeps them: group posterior, variable probability, one chain.

        Returns
        -------
        arviz.InferenceData, or xarray.DataTree where ArviZ is 1.0 or later

        Raises
        ------
        PosteriorError
            If there are no draws.
        """
        if self.draws is None:
            raise PosteriorError("ArviZ holds draws, and this posterior has none; use to_xarray instead.")
        return inference_data(self.object_id, self.classes, self.draws)

    def with_prior(self, prior: Prior | ObjectPrior) -> Posterior:
        """Return the posterior under another class prior, without a refit.

        Probabilities and draws (so intervals) are reweighted, the reason "prior" and conflict follow. Sets
        keep their classes less the impossible ones, and are never empty; see
        `bayesclass.reweighting.reweight`.

        Raises
        ------
        PriorError
            If the prior is of other leaves.
        PosteriorError
            If the present prior is not known or makes impossible what `prior` does not, or no class is left.
        """
        return reweight(self, prior)

    def explain(self, object_id: Any, between: tuple[str, str] | None = None) -> Explanation:
        """Return what each piece of evidence said between two classes of an object.

        Parameters
        ----------
        object_id : str
        between : pair of str, optional
            Leaves or inner nodes of the class tree, the first against the second; by default the two most
            probable leaves.

        Raises
        ------
        UnknownObjectError
            If the object is not there.
        TaxonomyError
            If a class is not in the tree.
        PosteriorError
            If this posterior carries no reasons, or the two classes can't be compared.
        """
        return explain_row(self, self.position(object_id), between)

    def plot(self, object_id: Any, ax=None, between: tuple[str, str] | None = None):
        """Draw what each piece of evidence contributed to the log-odds of an object; return the axes."""
        from bayesclass import plots

        return plots.waterfall(self.explain(object_id, between), ax=ax)

    def __repr__(self):
        draws = "no draws" if self.draws is None else f"{len(self.draws)} draws"
        return f"Posterior({len(self)} objects, classes {', '.join(self.classes)}, {draws})"

    def _repr_html_(self):
        shown = self.take(slice(5)).to_frame()
        columns = ["object_id", *(f"p_{leaf}" for leaf in self.classes)]
        columns += ["best_class", "prediction_set", "n_detections", "warnings"]
        table = shown[columns].to_html(index=False, float_format="{:.3f}".format, border=0)
        more = "" if len(self) <= 5 else f"<p>... and {len(self) - 5} more; to_frame() has all.</p>"
        return f"<div><p>{html.escape(repr(self))}</p>{table}{more}</div>"
