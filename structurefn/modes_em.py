"""Expectation-maximisation of mixtures of tables over objects, class by class, and where it starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.sparse import csr_array
from scipy.special import logsumexp

from structurefn.maps import map_scale, stream_map
from structurefn.modes import tempering_factor
from structurefn.modes_scatter import dirichlet_multinomial_cells, effective_counts, sparse_blocks
from structurefn.response import deconvolve
from structurefn.streams import Stream

__all__ = ["Events", "Tables", "em", "embedding", "joint_log_likelihood", "starting_share"]

# Iterations of the mixture, and of each table within one; tables start anew at the class's own.
N_ITER, N_ITER_TABLE = 20, 10
KMEANS_ITER = 10
N_AXES = 64
# Share of an object that a start leaves to the modes of the other clusters.
_SOFTNESS = 0.1


@dataclass(frozen=True, eq=False)
class Events:
    """Objects of one class, their events sparse.

    Attributes
    ----------
    weight : float64 array, shape (n,)
        Share of each object in the class.
    counts : dict of str to csr_array, shape (n, R * S * J)
    factor : dict of str to float64 array, shape (n,)
        Tempering of each object's log-likelihood.
    """

    weight: np.ndarray
    counts: dict[str, csr_array]
    factor: dict[str, np.ndarray]

    def take(self, rows: np.ndarray) -> "Events":
        """Choose objects."""
        counts = {name: events[rows] for name, events in self.counts.items()}
        return Events(self.weight[rows], counts, {name: f[rows] for name, f in self.factor.items()})

    @classmethod
    def of_classes(
        cls, counts: Mapping[str, np.ndarray], membership: np.ndarray, tempering: float
    ) -> tuple[list["Events"], list[np.ndarray]]:
        """Events of each class, and the objects that have a share in it."""
        flat = {name: csr_array(c.reshape(len(c), int(np.prod(c.shape[1:])))) for name, c in counts.items()}
        factor = {name: tempering_factor(c, tempering) for name, c in counts.items()}
        whole = cls(np.ones(len(membership)), flat, factor)
        rows = [np.flatnonzero(share > 0) for share in membership.T]
        events = [replace(whole.take(r), weight=membership[r, c]) for c, r in enumerate(rows)]
        return events, rows


@dataclass(frozen=True, eq=False)
class Tables:
    """Components in the making; see `structurefn.modes.ModeDensities`.

    Attributes
    ----------
    true, observed : dict of str to float array, shapes (M, R, J) and (M, R, S, J)
    owner : int array, shape (M,)
    log_weight : float64 array, shape (M,)
    concentration : dict of str to float64 array, shape (M,)
    """

    true: dict[str, np.ndarray]
    observed: dict[str, np.ndarray]
    owner: np.ndarray
    log_weight: np.ndarray
    concentration: dict[str, np.ndarray]


def stream_log_likelihood(events: Events, tables: Tables, c: int, name: str) -> np.ndarray:
    """Tempered log-likelihood of a class's modes in one stream, shape (n, K)."""
    own = tables.owner == c
    table = tables.observed[name][own]
    concentration = tables.concentration[name][own]
    flat = table.reshape(len(table), -1).astype(np.float64)
    if np.isinf(concentration).all():
        found = events.counts[name] @ flat.T
    else:
        found = dirichlet_multinomial_cells(events.counts[name], flat, concentration, table.shape[-1])
    return events.factor[name][:, None] * found


def joint_log_likelihood(events: Events, tables: Tables, c: int) -> np.ndarray:
    """Log of weight times tempered likelihood of a class's modes, shape (n, K)."""
    streams = (stream_log_likelihood(events, tables, c, name) for name in tables.observed)
    return sum(streams) + tables.log_weight[tables.owner == c]


def em(
    classes: Sequence[Events],
    share: Sequence[np.ndarray],
    tables: Tables,
    parent: Mapping[str, np.ndarray],
    response: Mapping[str, np.ndarray],
    *,
    strength: float,
    tail: float,
    n_iter: int = N_ITER,
) -> tuple[Tables, list[np.ndarray], np.ndarray]:
    r"""Alternate responsibilities and tables.

    .. math:: r_{ik} \propto \pi_k \prod_s p_k(N_{is})^{n_{is}^{-\beta}}, \qquad
        \pi_k = \frac{1 + \sum_i m_i r_{ik}}{\sum_l (1 + \sum_i m_i r_{il})}

    with m an object's share in the class, and tables from :func:`structurefn.response.deconvolve` of the
    counts weighted by :math:`m_i r_{ik} n_{is}^{-\beta}`, drawn to the class's own. With a concentration a,
    counts N of a cell are replaced by :math:`a p [\psi(N + a p) - \psi(a p)]`, the step of Minka for
    Dirichlet-multinomial distributions: fifty events in one cell are few that tell of the class.

    Parameters
    ----------
    classes : sequence of Events
    share : sequence of float array, shape (n_c, K_c)
        Responsibilities to begin with.
    tables : Tables
        Whose owners and concentrations are kept; with a concentration, tables too to begin with.
    parent : mapping of str to float array, shape (M, R, J)
        The class's own table of each component.
    response : mapping of str to float array, shape (S, J, J)
    strength : float
        Weight of the parent in units of (tempered) events.
    tail : float
        See `Density`.
    n_iter : int
        Iterations, at least 1.

    Returns
    -------
    Tables
    list of float64 array, shape (n_c, K_c)
        Responsibilities under them.
    float64 array, shape (C,)
        Sum of each class's log-likelihoods, weighted by share.

    References
    ----------
    Minka (2000, revised 2012), Estimating a Dirichlet distribution, equation 65.
    """
    score = np.zeros(len(classes))
    share = list(share)
    for _ in range(n_iter):
        tables = _maximise(classes, share, tables, parent, response, strength, tail)
        for c, events in enumerate(classes):
            joint = joint_log_likelihood(events, tables, c)
            total = logsumexp(joint, axis=1, keepdims=True)
            share[c] = np.exp(joint - total)
            score[c] = events.weight @ total[:, 0]
    return tables, share, score


def _maximise(classes, share, tables, parent, response, strength, tail):
    log_weight = []
    for events, r in zip(classes, share, strict=True):
        size = 1.0 + events.weight @ r
        log_weight.append(np.log(size / size.sum()))
    true, observed = {}, {}
    for name, previous in tables.observed.items():
        weighted = [
            _weighted_table(events, r, tables, c, name)
            for c, (events, r) in enumerate(zip(classes, share, strict=True))
        ]
        arrays = (np.concatenate(weighted).reshape(previous.shape), response[name], parent[name])
        arrays = (np.asarray(x, dtype=np.float32) for x in arrays)
        found = _carry(*arrays, np.float32(strength), np.float32(tail), np.int32(N_ITER_TABLE))
        true[name], observed[name] = (np.asarray(x) for x in found)
    return replace(tables, true=true, observed=observed, log_weight=np.concatenate(log_weight))


def _weighted_table(events, share, tables, c, name):
    """Return expected counts of each of a class's modes, shape (K, R * S * J)."""
    weight = (events.weight * events.factor[name])[:, None] * share
    counts = events.counts[name]
    own = tables.owner == c
    concentration = tables.concentration[name][own]
    if np.isinf(concentration).all():
        return (counts.T @ weight).T
    table = tables.observed[name][own].reshape(len(concentration), -1).astype(np.float64)
    prior = concentration[:, None] * np.exp(table)
    result = np.zeros((len(concentration), counts.shape[1]))
    for rows, part in sparse_blocks(counts, len(concentration)):
        effective = effective_counts(part.data, prior[:, part.indices])
        effective *= np.repeat(weight[rows], np.diff(part.indptr), axis=0).T
        for k, own_weight in enumerate(effective):
            result[k] += np.bincount(part.indices, own_weight, minlength=counts.shape[1])
    return result


@jax.jit
def _carry(
    table: Float[Array, "m rows errors cells"],
    response: Float[Array, "errors cells cells"],
    parent: Float[Array, "m rows cells"],
    strength: Float[Array, ""],
    tail: Float[Array, ""],
    n_iter: Int[Array, ""],
) -> tuple[Array, Array]:
    """Probabilities of true cells from weighted counts, and log-probabilities of observed ones."""
    true = deconvolve(table, response, parent, strength, tail, n_iter)
    precision = jax.lax.Precision.HIGHEST
    observed = jnp.einsum("sij,mrj->mrsi", response, true, precision=precision)
    return true, jnp.log((1 - tail) * observed + tail / true.shape[-1])


def embedding(
    counts: Mapping[str, np.ndarray], streams: Sequence[Stream], weights: np.ndarray, seed: int
) -> np.ndarray:
    """Random projection of all streams' square-root maps, float32, shape (n_objects, `N_AXES`).

    Distances of maps, streams on a par, are kept within some tenths: enough to begin with. No label is used.
    """
    rng = np.random.default_rng(seed)
    place = np.zeros((len(weights), N_AXES), dtype=np.float32)
    for stream in streams:
        maps = stream_map(counts[stream.name], stream.grid)
        axes = rng.standard_normal((maps.shape[1], N_AXES)).astype(np.float32)
        place += maps @ axes / np.float32(map_scale(maps, weights))
    return place


def starting_share(place: np.ndarray, weight: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Clusters of directions by k-means, objects with few events counting less: shares, shape (n, k)."""
    norm = np.linalg.norm(place, axis=1)
    unit = place / np.where(norm > 0, norm, 1.0)[:, None]
    # The squared norm of a map grows with its events up to a bound.
    weight = weight * norm**2
    if k == 1 or not weight.sum() > 0:
        return np.full((len(place), k), 1.0 / k)
    centres = unit[[rng.choice(len(unit), p=weight / weight.sum())]]
    for _ in range(1, k):
        far = weight * np.maximum(1.0 - (unit @ centres.T).max(axis=1), 1e-9)
        centres = np.concatenate([centres, unit[[rng.choice(len(unit), p=far / far.sum())]]])
    for _ in range(KMEANS_ITER):
        nearest = (unit @ centres.T).argmax(axis=1)
        sums = np.stack([(weight * (nearest == j)) @ unit for j in range(k)])
        size = np.linalg.norm(sums, axis=1, keepdims=True)
        # A centre that lost its members stays where it is.
        centres = np.where(size > 0, sums / np.where(size > 0, size, 1.0), centres)
    nearest = (unit @ centres.T).argmax(axis=1)
    return (1.0 - _SOFTNESS) * (nearest[:, None] == np.arange(k)) + _SOFTNESS / k
