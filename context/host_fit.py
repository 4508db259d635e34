"""Learning host models from labelled or unlabelled positions, for all transients or class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaincc, gammaln

from context.host import HostModel, host_posterior
from context.host_candidates import HostCandidates
from context.host_geometry import HostError, OffsetDensity, normalised_separation

NOT_LISTED, UNKNOWN = -1, -2
# Shapes and scales of offsets stay within these factors of one.
LARGEST_LOG = 4.0


@dataclass(frozen=True, eq=False)
class HostFit:
    """A learned model, and how learning went.

    Attributes
    ----------
    model : HostModel
    log_posterior : float64 array, shape (n_iterations,)
        Log-likelihood of the neighbourhoods plus log-prior of the parameters, up to a constant.
    n_objects : float
        Sum of the weights of objects that counted.
    """

    model: HostModel
    log_posterior: np.ndarray
    n_objects: float


def fit_host_model(
    candidates: HostCandidates,
    model: HostModel | None = None,
    *,
    hosts=None,
    weights=None,
    strength: float = 10.0,
    spread: float = 1.0,
    iterations: int = 300,
    tolerance: float = 1e-6,
) -> HostFit:
    r"""Learn Q, the hosts' magnitudes and the density of offsets by expectation-maximisation.

    Each neighbourhood is a mixture: one of the candidates is the host and the others lie there by chance, or
    all do. The E-step is the posterior of `HostModel`; the M-step

    .. math::
        Q = \frac{\sum_i (1 - r_{i0}) + \kappa Q_0}{N + \kappa}, \qquad
        q_m = \frac{\sum_{ij: m_j = m} r_{ij} + \kappa q_{0m}}{\sum_{ij} r_{ij} + \kappa},

    with r_i0 the probability of no catalogued host, and the shape and scale of the offsets at the maximum of
    their expected log-likelihood, hosts outside the radius included.

    Parameters
    ----------
    candidates : HostCandidates
    model : HostModel, optional
        Where learning begins, and the centre of the priors. Its core of offsets is kept.
    hosts : int array, shape (n_objects,), optional
        Row of the catalogue that is the host, -1 if it is none of them, -2 where that is not known (the
        default for all). A host that is no candidate is beyond the radius.
    weights : array, shape (n_objects,), optional
        Of the objects; default one. Objects that are not covered have none.
    strength : float
        kappa, the prior's worth in objects.
    spread : float
        Standard deviation of the normal priors on the logs of shape and scale.
    iterations, tolerance
        At most so many, until the log-posterior gains less than that per object.

    Raises
    ------
    HostError
        No object with weight, or hosts and weights of another length or range.
    """
    model = HostModel() if model is None else model
    background = model.background or candidates.background
    model = replace(model, background=background, host_fractions=model.fractions(background))
    weights = _weights(weights, candidates)
    labels = _Labels.read(hosts, candidates)
    start, cell = model, background.cell(candidates.magnitude)
    trace: list[float] = []
    n_objects = float(weights.sum())
    for _ in range(iterations):
        share, outside, log_evidence = _responsibilities(model, candidates, labels)
        share, outside = share * weights[candidates.query], outside * weights
        trace.append(float(weights @ log_evidence) + _log_prior(model, start, strength, spread))
        if len(trace) > 1 and trace[-1] - trace[-2] < tolerance * n_objects:
            break
        in_cells = np.bincount(cell, share, minlength=len(background.density))
        q = (in_cells + strength * start.host_fractions) / (in_cells.sum() + strength)
        catalogued = share.sum() + outside.sum() + strength * start.catalogued
        offset = _fit_offset(model, candidates, share, outside, start.offset, spread)
        model = replace(
            model.with_catalogued(catalogued / (n_objects + strength)), host_fractions=q, offset=offset
        )
    return HostFit(model, np.array(trace), n_objects)


@dataclass(frozen=True, eq=False)
class HostClassModels:
    """One host model for each class.

    Attributes
    ----------
    classes : tuple of str
    models : tuple of HostModel
    """

    classes: tuple[str, ...]
    models: tuple[HostModel, ...]

    def log_likelihood(self, candidates: HostCandidates) -> np.ndarray:
        """Log p(neighbourhood | class) up to a constant of the object, shape (n_objects, n_classes).

        Zero in all classes for objects that are not covered.
        """
        return np.stack([model.log_likelihood(candidates) for model in self.models], axis=-1)


def fit_host_classes(
    candidates: HostCandidates,
    class_weights,
    classes: Sequence[str],
    model: HostModel | None = None,
    *,
    hosts=None,
    strength: float = 20.0,
    spread: float = 0.5,
    **options,
) -> HostClassModels:
    """Learn a host model for each class, drawn towards the one that describes all classes together.

    Parameters
    ----------
    class_weights : array, shape (n_objects, n_classes)
        Probability of each class for each labelled object; rows of zeros are not used.
    classes : sequence of str
    model, hosts, strength, spread, **options
        As of `fit_host_model`. Each class starts at the common model, with priors of that strength and
        spread around it, so a class without objects keeps it.

    Raises
    ------
    HostError
        Weights of another shape, negative or not finite; no object at all.
    """
    class_weights = np.asarray(class_weights, dtype=float)
    if class_weights.shape != (candidates.n_objects, len(classes)):
        raise HostError(
            f"class_weights must have shape ({candidates.n_objects}, {len(classes)}): objects, classes; "
            f"found {class_weights.shape}."
        )
    total = class_weights.sum(axis=1)
    common = fit_host_model(candidates, model, hosts=hosts, weights=total, **options).model
    models = []
    for weight in class_weights.T:
        if not weight[candidates.known].any():
            models.append(common)
            continue
        options_of_class = {"hosts": hosts, "strength": strength, "spread": spread, **options}
        models.append(fit_host_model(candidates, common, weights=weight, **options_of_class).model)
    return HostClassModels(tuple(classes), tuple(models))


@dataclass(frozen=True, eq=False)
class _Labels:
    """Known hosts: of each candidate (is it one), and of each object (labelled; labelled and outside)."""

    is_host: np.ndarray
    labelled: np.ndarray
    outside: np.ndarray

    @classmethod
    def read(cls, hosts, candidates) -> _Labels:
        n, query = candidates.n_objects, candidates.query
        hosts = np.full(n, UNKNOWN) if hosts is None else np.asarray(hosts)
        if hosts.shape != (n,) or not np.issubdtype(hosts.dtype, np.integer) or (hosts < UNKNOWN).any():
            raise HostError(
                f"hosts must be {n} integers: a row of the catalogue, {NOT_LISTED} (not in it) or {UNKNOWN} "
                f"(not known); found shape {hosts.shape}, dtype {hosts.dtype}."
            )
        is_host = (hosts[query] >= 0) & (candidates.row == hosts[query])
        found = np.bincount(query, is_host, minlength=n) > 0
        return cls(is_host, hosts != UNKNOWN, (hosts >= 0) & ~found)


def _weights(weights, candidates) -> np.ndarray:
    n = candidates.n_objects
    weights = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    if weights.shape != (n,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise HostError(f"weights must be {n} finite numbers, none negative; found shape {weights.shape}.")
    weights = np.where(candidates.known, weights, 0.0)
    if not weights.any():
        raise HostError("Learning hosts needs at least one covered object with a weight; found none.")
    return weights


def _responsibilities(model, candidates, labels):
    """Probability of each candidate and of a host outside; log-evidence of each object, or of its label."""
    query = candidates.query
    # A labelled host beyond any reach keeps a finite logarithm.
    reach = np.maximum(model.outside(candidates), np.finfo(float).tiny)
    log_outside = np.log(model.catalogued) + np.log(reach)
    log_weight = np.log(model.catalogued) + model.log_ratio(candidates)
    log_none = np.full(candidates.n_objects, np.log1p(-model.catalogued))
    # A label leaves the one outcome that it names.
    listed = labels.outside | (np.bincount(query, labels.is_host, len(log_none)) > 0)
    log_weight = np.where(labels.labelled[query] & ~labels.is_host, -np.inf, log_weight)
    log_none = np.where(labels.labelled & listed, -np.inf, log_none)
    log_outside = np.where(labels.labelled & ~labels.outside, -np.inf, log_outside)
    share, other, log_evidence = host_posterior(query, log_weight, np.column_stack([log_none, log_outside]))
    return share, other[:, 1], log_evidence


def _fit_offset(model, candidates, share, outside, prior: OffsetDensity, spread) -> OffsetDensity:
    """Shape and scale at the maximum of their expected log-posterior."""
    # Half a second to import, and only learning needs it.
    from scipy.optimize import minimize

    offset = model.offset
    major, minor = offset.widened(candidates.major, candidates.minor, candidates.position_error)
    d = normalised_separation(candidates.separation, major, minor, candidates.phi)
    u = np.hypot(d, offset.core)
    # A gamma law asks no more of the data than these three sums.
    total, first, log_first = share.sum(), share @ u, share @ np.log(u)
    radius, inverse = np.unique(candidates.radius, return_inverse=True)
    beyond = np.bincount(inverse, outside)
    sizes, weights = candidates.sizes, model.size_weights(candidates)
    centre = np.log([prior.shape, prior.scale])

    def loss(logs) -> float:
        k, t = np.exp(logs)
        kept = gammaincc(k, offset.core / t)
        if not kept > 0:
            return np.inf
        value = (k - 1) * log_first - first / t - total * (gammaln(k) + k * np.log(t) + np.log(kept))
        if beyond.sum() > 1e-9:
            tail = OffsetDensity(k, t, offset.core).beyond(radius, sizes[:, 0], sizes[:, 1], weights)
            value += beyond @ np.log(np.maximum(tail, np.finfo(float).tiny))
        return -value + 0.5 * np.sum(((logs - centre) / spread) ** 2)

    now = np.log([offset.shape, offset.scale])
    best = minimize(loss, now, method="L-BFGS-B", bounds=[(-LARGEST_LOG, LARGEST_LOG)] * 2)
    logs = best.x if best.fun < loss(now) else now
    return OffsetDensity(*np.exp(logs).tolist(), offset.core)


def _log_prior(model, start, strength, spread) -> float:
    q = start.catalogued
    value = strength * (q * np.log(model.catalogued) + (1 - q) * np.log1p(-model.catalogued))
    value += strength * float(start.host_fractions @ np.log(model.host_fractions))
    logs = np.log([model.offset.shape / start.offset.shape, model.offset.scale / start.offset.scale])
    return value - 0.5 * float(np.sum((logs / spread) ** 2))
