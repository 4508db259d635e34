"""The result: class probabilities of many objects, with intervals, sets, flags and reasons."""

from __future__ import annotations

import difflib
import html
import warnings as python_warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from bayesclass.taxonomy import Taxonomy

DECIBANS_PER_NAT = 10.0 / np.log(10.0)
INTERVAL = (0.05, 0.95)
# Objects whose intervals are found at a time: quantiles copy the draws.
BLOCK = 4096


class PosteriorError(ValueError):
    """A posterior that contradicts itself, or one that cannot answer; the message says why."""


class UnknownObjectError(PosteriorError, KeyError):
    """An object that is not in the posterior; the message names the nearest identifier."""

    def __str__(self):
        return str(self.args[0])


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What decided between the two best classes of one object.

    Attributes
    ----------
    object_id, best_class, runner_up : str
    table : DataFrame
        One row a piece of evidence: piece, nats and decibans (log-odds of `best_class` against
        `runner_up`), and log_likelihood_<leaf> [nat] for every leaf. The prior first, then by size.
    probability : Series
        By leaf.
    interval : DataFrame
        Columns lower and upper by leaf, the 90 % credible interval; NaN without draws.
    prediction_set : tuple of str
    novelty, conflict : float
    warnings : str
    """

    object_id: str
    best_class: str
    runner_up: str
    table: pd.DataFrame
    probability: pd.Series
    interval: pd.DataFrame
    prediction_set: tuple[str, ...]
    novelty: float
    conflict: float
    warnings: str

    @property
    def log_odds(self) -> float:
        """Log-odds of the best class against the runner-up, all pieces together [nat]."""
        return float(self.table["nats"].sum())

    def text(self) -> str:
        """Return the explanation as lines of text."""
        best, other = self.best_class, self.runner_up
        lower, upper = self.interval.loc[best]
        interval = "" if np.isnan(lower) else f" (90 % interval {lower:.3f} to {upper:.3f})"
        width = max(len("all together"), *(len(piece) for piece in self.table["piece"]))
        lines = [
            f"{self.object_id}: {best} {self.probability[best]:.3f}{interval}, "
            f"next {other} {self.probability[other]:.3f}; set {'|'.join(self.prediction_set)}",
            f"Log-odds of {best} against {other}:",
            f"  {'piece':<{width}}  {'nats':>8}  {'decibans':>8}",
        ]
        rows = [*zip(self.table["piece"], self.table["nats"], strict=True), ("all together", self.log_odds)]
        lines += [f"  {piece:<{width}}  {x:>+8.2f}  {x * DECIBANS_PER_NAT:>+8.1f}" for piece, x in rows]
        lines += [f"Warning: {warning.strip()}" for warning in self.warnings.split(";") if warning.strip()]
        return "\n".join(lines)

    def __str__(self):
        return self.text()

    __repr__ = __str__


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
    conflict : float array, shape (n,)
        Log of how much better light curve and context agree than by chance [nat]; negative is conflict.
    warnings : sequence of str, length n
        What was left out or is doubtful, separated by ";"; "" when nothing.
    reasons : mapping of str to float array, shape (n, K)
        Piece of evidence -> its contribution to the log-likelihood of each leaf [nat], the prior under
        "prior"; the sum over pieces, normalised, is the log-probability.

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

    def __post_init__(self):
        dtypes = {
            "object_id": np.str_,
            "probability": np.float64,
            "prediction_set": bool,
            "n_detections": np.int64,
            "n_upper_limits": np.int64,
            "novelty": np.float64,
            "conflict": np.float64,
        }
        for name, dtype in dtypes.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        object.__setattr__(self, "warnings", tuple(str(warning) for warning in self.warnings))
        if self.draws is not None:
            object.__setattr__(self, "draws", np.asarray(self.draws, dtype=np.float32))
        object.__setattr__(self, "reasons", {name: np.asarray(x) for name, x in self.reasons.items()})
        self._check_shapes()
        self._check_values()
        self._check_reasons()

    def _check_shapes(self):
        one, two = (len(self.object_id),), (len(self.object_id), self.taxonomy.n_leaves)
        shapes = dict.fromkeys(("object_id", "n_detections", "n_upper_limits", "novelty", "conflict"), one)
        shapes |= {"probability": two, "prediction_set": two}
        found = {name: getattr(self, name).shape for name in shapes} | {"warnings": (len(self.warnings),)}
        shapes["warnings"] = one
        for name, values in self.reasons.items():
            shapes[f"reasons[{name!r}]"], found[f"reasons[{name!r}]"] = two, values.shape
        if self.draws is not None:
            shapes["draws"], found["draws"] = (len(self.draws), *two), self.draws.shape
        for name, shape in shapes.items():
            if found[name] != shape:
                raise PosteriorError(
                    f"A posterior of {two[0]} objects and {two[1]} leaves needs {name} of shape {shape}, "
                    f"found {found[name]}."
                )

    def _check_values(self):
        p = self.probability
        wrong = ~((p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1.0) <= 1e-6))
        if wrong.any():
            i = int(np.argmax(wrong))
            raise PosteriorError(
                "Probabilities must be zero or more and sum to one within 1e-6, found "
                f"{p[i].tolist()} for object {self.object_id[i]} ({int(wrong.sum())} such objects); "
                "normalise them."
            )
        if len(self._index) != len(self):
            repeated = pd.Series(self.object_id)
            raise PosteriorError(
                f"Each object must be in a posterior once, found {repeated[repeated.duplicated()].iloc[0]} "
                "more than once."
            )
        if not self.prediction_set.any(axis=1).all():
            i = int(np.argmin(self.prediction_set.any(axis=1)))
            raise PosteriorError(f"A prediction set must not be empty, found one at {self.object_id[i]}.")
        if self.draws is not None and not (len(self.draws) and np.isfinite(self.draws).all()):
            raise PosteriorError("Draws of the probabilities must be finite and at least one, or None.")
        barred = [leaf for leaf in self.classes if "|" in leaf]
        if barred:
            raise PosteriorError(
                f"'|' separates the classes of a set, so no leaf may have it: {barred[0]!r}."
            )

    def _check_reasons(self):
        if not self.reasons:
            return
        total = sum(self.reasons.values())
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(np.exp(log_softmax(total, axis=1)) - self.probability) <= 1e-4).all(axis=1)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise PosteriorError(
                "The reasons must add up to the log-probabilities, and they do not for object "
                f"{self.object_id[i]} ({int(wrong.sum())} such objects): they sum to {total[i].tolist()} for "
                f"probabilities {self.probability[i].tolist()}."
            )

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

        Quantiles .05 and .95 of the draws, widened where that leaves the probability itself outside.
        """
        ends = np.full((2, *self.probability.shape), np.nan)
        if self.draws is not None:
            for start in range(0, len(self), BLOCK):
                part = slice(start, start + BLOCK)
                ends[:, part] = np.quantile(self.draws[:, part], INTERVAL, axis=0)
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
        if name in self._index:
            return self._index[name]
        if not len(self):
            raise UnknownObjectError(f"There is no object {name!r}: this posterior has no objects.")
        # Comparing with every identifier is slow in a large table: those beside it in the alphabet serve.
        ordered = np.sort(self.object_id)
        place = int(np.searchsorted(ordered, name))
        near = ordered[max(place - 1000, 0) : place + 1000].tolist()
        nearest = difflib.get_close_matches(name, near, n=1, cutoff=0.0)[0]
        raise UnknownObjectError(
            f"There is no object {name!r} among the {len(self)} of this posterior; the nearest is "
            f"{nearest!r}, and `object_id` lists all."
        )

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
        chosen = {name: getattr(self, name)[rows] for name in (*plain, "novelty", "conflict")}
        return replace(
            self,
            **chosen,
            draws=None if self.draws is None else self.draws[:, rows],
            warnings=[self.warnings[i] for i in rows],
            reasons={piece: values[rows] for piece, values in self.reasons.items()},
        )

    def to_frame(self, nodes: bool = False) -> pd.DataFrame:
        """Return one row an object.

        Parameters
        ----------
        nodes : bool
            Append p_<node>, the probability of every inner node of the class tree.

        Returns
        -------
        DataFrame
            object_id; p_<leaf> of every leaf; p_<leaf>_lo and p_<leaf>_hi of every leaf (90 % credible
            interval, NaN without draws); best_class; prediction_set, its leaves joined by "|";
            n_detections; n_upper_limits; novelty; conflict; warnings.

        Raises
        ------
        PosteriorError
            Two columns of one name, as leaves "A" and "A_lo" make.
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
            ("conflict", self.conflict),
            ("warnings", np.array(self.warnings, dtype=str)),
        ]
        if nodes:
            above = self.taxonomy.node_probabilities(self.probability)
            columns += [(f"p_{node}", values) for node, values in above.items()]
        frame = pd.DataFrame(dict(columns))
        if frame.shape[1] != len(columns):
            raise PosteriorError(
                "Names of classes must give each column its own name, and two columns share one in "
                f"{[name for name, _ in columns]}; rename a class."
            )
        return frame

    def to_xarray(self):
        """Return an xarray.Dataset with dimensions object_id, class, piece and, with draws, draw."""
        import xarray as xr

        lower, upper = self.interval
        one, two = ("object_id",), ("object_id", "class")
        variables = {
            "probability": (two, self.probability),
            "lower": (two, lower),
            "upper": (two, upper),
            "prediction_set": (two, self.prediction_set),
            "warnings": (one, np.array(self.warnings, dtype=str)),
        }
        for name in ("best_class", "n_detections", "n_upper_limits", "novelty", "conflict"):
            variables[name] = (one, getattr(self, name))
        coordinates = {"object_id": self.object_id, "class": np.array(self.classes)}
        if self.reasons:
            coordinates["piece"] = np.array(list(self.reasons))
            pieces = np.array(list(self.reasons.values()), dtype=np.float64)
            variables["log_likelihood"] = (("piece", *two), pieces, {"units": "nat"})
        if self.draws is not None:
            variables["draws"] = (("draw", *two), self.draws)
        return xr.Dataset(variables, coordinates, {"interval": "quantiles .05 and .95 of the draws"})

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
        with python_warnings.catch_warnings():
            # ArviZ 0.23 announces its next version at import, once a day.
            python_warnings.simplefilter("ignore", FutureWarning)
            import arviz
        import xarray as xr

        dims = ("chain", "draw", "object_id", "class")
        coordinates = {"chain": [0], "draw": np.arange(len(self.draws))}
        coordinates |= {"object_id": self.object_id, "class": np.array(self.classes)}
        group = xr.Dataset({"probability": (dims, self.draws[None])}, coordinates)
        if hasattr(arviz, "InferenceData"):
            return arviz.InferenceData(posterior=group)
        return xr.DataTree.from_dict({"posterior": group})

    def explain(self, object_id: Any) -> Explanation:
        """Return what each piece of evidence said between the two most probable classes of an object.

        Raises
        ------
        UnknownObjectError
            If the object is not there.
        PosteriorError
            If this posterior carries no reasons.
        """
        i = self.position(object_id)
        if not self.reasons:
            raise PosteriorError("This posterior carries no reasons; classify with them to explain it.")
        best, other = np.argsort(-self.probability[i], kind="stable")[:2]
        values = np.array([piece[i] for piece in self.reasons.values()], dtype=np.float64)
        nats = values[:, best] - values[:, other]
        table = pd.DataFrame(
            {"piece": list(self.reasons), "nats": nats, "decibans": nats * DECIBANS_PER_NAT}
            | {f"log_likelihood_{leaf}": values[:, k] for k, leaf in enumerate(self.classes)}
        )
        order = sorted(range(len(table)), key=lambda j: (table["piece"][j] != "prior", -abs(nats[j])))
        leaves = pd.Index(self.classes, name="class")
        # Of this object only: the quantiles of all would take longer than the rest.
        lower, upper = self.take(i).interval
        return Explanation(
            object_id=str(self.object_id[i]),
            best_class=self.classes[best],
            runner_up=self.classes[other],
            table=table.iloc[order].reset_index(drop=True),
            probability=pd.Series(self.probability[i], leaves, name="probability"),
            interval=pd.DataFrame({"lower": lower[0], "upper": upper[0]}, leaves),
            prediction_set=tuple(np.array(self.classes, dtype=object)[self.prediction_set[i]]),
            novelty=float(self.novelty[i]),
            conflict=float(self.conflict[i]),
            warnings=self.warnings[i],
        )

    def plot(self, object_id: Any, ax=None):
        """Draw what each piece of evidence contributed to the log-odds of an object; return the axes."""
        from bayesclass import plots

        return plots.waterfall(self.explain(object_id), ax=ax)

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
