"""Forecast: the distribution of an object's magnitude at any time and channel, given its history."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from structurefn.forecast_fit import BLOCK, fit, gather, pieces
from structurefn.forecast_pool import CELL_EDGES, add_noise, pool
from structurefn.forecast_result import Forecast
from structurefn.forecast_tables import Tables, chain_log_likelihood, level_share
from structurefn.light_curves import LightCurves
from structurefn.nightly import nightly_means

__all__ = ["Forecast", "Forecaster"]


@dataclass(frozen=True, eq=False)
class Forecaster:
    r"""Distribution of a magnitude given an object's history, learned from light curves of known classes.

    Each of the last 24 points j says through a table of pairs, fitted with errors forward, where the
    magnitude is after its lag: :math:`p_{cj}(m)`. The last point of the channel says so once more, given the
    change and the lag before it too (triplets). They are pooled with the class's magnitudes,

    .. math:: p_c(m) = \sum_\ell P(\ell | c, \mathrm{history})\, \frac{1}{Z} p_{c\ell 0}(m)^{w_0}
        \prod_j p_{c\ell j}(m)^{w_{\ell j}}

    where :math:`\ell` are levels of activity within the class, weighed by the chain of the object's own
    changes, and convolved with the error of the new point. The weights are those of
    `structurefn.forecast_pool.pool`, under which real next points of held-out objects are most probable.

    Attributes
    ----------
    tables : Tables
    weights : dict of str to ndarray
    night : float
        Longest gap within a night [day]; exposures of one night are averaged first. 0 leaves them alone.
    n_classes : int
    n_objects : int
        Number of objects from which it was learned.

    Notes
    -----
    Depends on: detections before the time asked for. Minimum: none. What is forecast is a *detected* point
    like those of the sample, whose selection (only what is bright enough is seen) it has learned. Cost: 24
    points x classes x levels x 240 cells a forecast, in blocks.
    """

    tables: Tables
    weights: dict[str, np.ndarray]
    night: float = 0.0
    n_classes: int = 1
    n_objects: int = 0

    @classmethod
    def fit(
        cls,
        light_curves: LightCurves,
        membership: np.ndarray,
        *,
        night: float = 0.0,
        levels: int = 3,
        groups: np.ndarray | None = None,
        max_objects: int = 2000,
        seed: int = 0,
    ) -> "Forecaster":
        """Learn tables, levels and weights.

        Parameters
        ----------
        light_curves : LightCurves
            Magnitudes. Upper limits are not used.
        membership : float array, shape (n_objects, C)
            Share of each object in each class, as in `structurefn.fit_density`; zeros leave it out.
        night : float
            Longest gap within a night [day]; 0 averages nothing.
        levels : int
            Levels of activity in each class, at least 1.
        groups : int array, shape (n_objects,), optional
            Copies and versions of an object, to be held out together. By default each is its own.
        max_objects : int
            Of more objects, as many are drawn at random: counts take 74 kB an object and channel, and 15 kB
            an object and pair of channels.
        seed : int
            Of that, of the folds, and of the points on which the weights are fitted.

        Returns
        -------
        Forecaster

        Raises
        ------
        ValueError
            If light curves are fluxes or hold no detection, or a shape or number does not fit.
        """
        _check_magnitudes(light_curves)
        membership = np.asarray(membership, dtype=np.float64)
        fits = membership.ndim == 2 and len(membership) == light_curves.n_objects and membership.shape[1] > 0
        if not fits or not np.isfinite(membership).all() or (membership < 0).any():
            raise ValueError(
                f"membership must be ({light_curves.n_objects}, classes), finite and not negative, but "
                f"membership.shape={membership.shape}: give one row an object."
            )
        if levels < 1 or max_objects < 1:
            raise ValueError(
                f"levels and max_objects must be at least 1, but {levels} and {max_objects} were given: "
                "one level is one density for a class."
            )
        groups = np.arange(len(membership)) if groups is None else np.asarray(groups)
        if groups.shape != (len(membership),):
            raise ValueError(
                f"groups must have one entry an object, but groups.shape={groups.shape}: give shape "
                f"({len(membership)},)."
            )
        curves = _history(light_curves, night)
        used = np.flatnonzero(membership.sum(axis=1) > 0)
        if len(used) > max_objects:
            used = np.sort(np.random.default_rng(seed).choice(used, max_objects, replace=False))
        curves, membership, groups = curves.take_objects(used), membership[used], groups[used]
        if not curves.n_points:
            raise ValueError(
                "A forecast is learned from detections of objects with a membership, but none was found: "
                "give light curves with points."
            )
        tables, weights = fit(curves, membership, levels, groups, seed)
        return cls(tables, weights, night, membership.shape[1], len(used))

    def predict(
        self,
        light_curves: LightCurves,
        time: np.ndarray | float,
        channel: str | Sequence[str],
        *,
        error: np.ndarray | float | None = None,
        class_probability: np.ndarray | None = None,
        later: bool = False,
    ) -> Forecast:
        """Forecast one magnitude of each object.

        Parameters
        ----------
        light_curves : LightCurves
            Histories; points of other channels than those learned are not used, nor upper limits.
        time : float, or array of shape (n_objects,)
            When [MJD, day]. Points at that time or after it are not used.
        channel : str, or sequence of n_objects str
            In which channel.
        error : float, or array of shape (n_objects,), optional
            Error of the new point, 1 sigma, positive, or 0 for the true magnitude [mag]; by default the
            median error of the channel in the sample.
        class_probability : float array, shape (n_objects, C) or (C,), optional
            Mixes the classes.
        later : bool
            Use points after the time too, for a time between points or before the first. The weights were
            fitted on forecasts.

        Returns
        -------
        Forecast
            By class, or mixed if `class_probability` is given.

        Raises
        ------
        ValueError
            If a channel was not learned, or a shape or number does not fit.
        """
        _check_magnitudes(light_curves)
        n = light_curves.n_objects
        time, codes = _one_each("time", time, n), self._codes(channel, n)
        if not later:
            # Before nights are averaged, so that no mean holds a later exposure.
            light_curves = light_curves.keep_points(light_curves.time < time[light_curves.object_index])
        curves = self._known(_history(light_curves, self.night))
        forecast = self._rows(curves, np.arange(n), time, codes, self._error(error, codes), later)
        return forecast if class_probability is None else forecast.mixed(class_probability)

    def over_times(
        self,
        light_curves: LightCurves,
        time: np.ndarray,
        channel: str,
        *,
        error: float | None = None,
        class_probability: np.ndarray | None = None,
        later: bool = False,
    ) -> Forecast:
        """Forecast one object at many times, as if nothing were seen in between; one row a time.

        Parameters are those of `predict`, with `time` of shape (n_times,) and a batch of one object.
        """
        if light_curves.n_objects != 1:
            raise ValueError(
                f"over_times takes one object, but {light_curves.n_objects} were given: use take_objects."
            )
        time = np.atleast_1d(np.asarray(time, dtype=np.float64))
        repeated = light_curves.take_objects(np.zeros(len(time), dtype=np.int64))
        options = {"error": error, "class_probability": class_probability, "later": later}
        return self.predict(repeated, time, channel, **options)

    def one_step_ahead(
        self, light_curves: LightCurves, *, class_probability: np.ndarray | None = None
    ) -> tuple[LightCurves, Forecast]:
        """Forecast every point from those strictly before it, for predictive checks and scores.

        Parameters
        ----------
        light_curves : LightCurves
        class_probability : float array, shape (n_objects, C) or (C,), optional
            Mixes the classes; one row an object.

        Returns
        -------
        LightCurves
            The points that are forecast: detections in known channels, exposures of a night averaged.
        Forecast
            One row a point, with the point's own error.
        """
        _check_magnitudes(light_curves)
        curves = self._known(_history(light_curves, self.night))
        forecast = self._rows(
            curves, curves.object_index, curves.time, curves.channel.astype(np.int64), curves.error, False
        )
        if class_probability is None:
            return curves, forecast
        weight = np.asarray(class_probability, dtype=np.float64)
        return curves, forecast.mixed(weight[curves.object_index] if weight.ndim == 2 else weight)

    def _rows(self, curves, owner, time, channel, error, later) -> Forecast:
        rows = gather(curves, self.tables, owner, time, channel, later)
        n, levels = len(owner), self.tables.level.shape[1]
        chain = np.zeros((n, self.n_classes * levels))
        known = rows.last >= 0
        chain[known] = chain_log_likelihood(curves, self.tables)[rows.last[known]]
        share = level_share(self.tables, chain, float(np.exp(self.weights["evidence"])))
        theta = {name: jnp.asarray(x) for name, x in self.weights.items()}
        which = jnp.asarray(np.tile(np.arange(levels), self.n_classes))
        found = np.empty((n, self.n_classes, len(CELL_EDGES) - 1))
        for index, history, singles, prior in pieces(rows, self.tables, slice(None), np.arange(n)):
            pooled = np.asarray(pool(theta, history, singles, prior, which), dtype=np.float64)[: len(index)]
            pooled = pooled.reshape(len(index), self.n_classes, levels, -1)
            mixed = np.einsum("ncm,ncmg->ncg", share[index], pooled)
            # A true magnitude is asked for with error 0: a thousandth is far below a cell.
            noise = np.full(BLOCK, 1.0)
            noise[: len(index)] = np.maximum(error[index], 1e-3)
            padded = np.zeros((BLOCK, *mixed.shape[1:]))
            padded[: len(index)] = mixed
            noisy = add_noise(jnp.asarray(padded, jnp.float32), jnp.asarray(noise, jnp.float32))
            found[index] = np.asarray(noisy)[: len(index)]
        found /= found.sum(axis=-1, keepdims=True)
        return Forecast(rows.reference[:, None] + CELL_EDGES, found)

    def _codes(self, channel: str | Sequence[str], n: int) -> np.ndarray:
        names = [channel] * n if isinstance(channel, str) else list(channel)
        unknown = sorted(set(names) - set(self.tables.channels))
        if unknown or len(names) != n:
            raise ValueError(
                f"channel must be one of {list(self.tables.channels)}, once or {n} times, but "
                f"{unknown or len(names)} was given: fit on light curves of that channel."
            )
        return np.array([self.tables.channels.index(name) for name in names], dtype=np.int64)

    def _error(self, error: np.ndarray | float | None, codes: np.ndarray) -> np.ndarray:
        if error is None:
            return self.tables.error[codes]
        error = _one_each("error", error, len(codes))
        if (error < 0).any():
            raise ValueError(
                f"error must not be negative, but {error.min()} was found: 0 asks for the true magnitude."
            )
        return error

    def _known(self, curves: LightCurves) -> LightCurves:
        """Take the points of the tables' channels, under their numbers; others are not used."""
        names = self.tables.channels
        code = np.array([names.index(x) if x in names else -1 for x in curves.channels], dtype=np.int16)
        channel = code[curves.channel]
        kept = curves.keep_points(channel >= 0)
        return replace(kept, channel=channel[channel >= 0], channels=names)


def _history(light_curves: LightCurves, night: float) -> LightCurves:
    return nightly_means(light_curves.keep_points(~light_curves.upper_limit), night)


def _check_magnitudes(light_curves: LightCurves) -> None:
    if light_curves.quantity != "mag":
        raise ValueError(
            "Forecasts need magnitudes, but the light curves are fluxes: convert them with as_magnitudes."
        )


def _one_each(name: str, values: np.ndarray | float, n: int) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.shape not in {(), (n,)} or not np.isfinite(values).all():
        raise ValueError(
            f"{name} must be finite, one number or {n}, but {name}.shape={values.shape}: give one each."
        )
    return np.array(np.broadcast_to(values, n))
