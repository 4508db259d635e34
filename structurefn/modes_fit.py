"""Fit of `structurefn.modes.ModeDensities`: numbers of modes and scatter chosen on held-out objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp

from structurefn.density import Density, fold_of_object
from structurefn.modes import ModeDensities
from structurefn.modes_em import (
    Events,
    Tables,
    em,
    embedding,
    joint_log_likelihood,
    starting_share,
    stream_log_likelihood,
)
from structurefn.response import response_matrix
from structurefn.stream_density import class_density
from structurefn.streams import Stream

__all__ = ["fit_modes"]

# Candidates for the number of modes of a class, and for the concentration of objects about their mode.
N_MODES = (1, 2, 4, 8, 12)
CONCENTRATIONS = (4.0, 16.0, 64.0, 256.0, 1024.0)
_FIRST_CONCENTRATION = 64.0
N_FOLDS = 3
# Groups of a class for each of its modes, at least: a mode is no single object.
GROUPS_A_MODE = 8
# Iterations from each start before the best is carried on, and then.
N_ITER_START, N_ITER = 5, 15
TEMPERING, STRENGTH = 0.5, 16.0


def fit_modes(
    counts: Mapping[str, np.ndarray],
    membership: np.ndarray,
    streams: Sequence[Stream],
    *,
    n_modes: int | Sequence[int] | None = None,
    dirichlet: bool = False,
    concentration: float | None = None,
    tempering: float | None = None,
    strength: float = STRENGTH,
    class_densities: Mapping[str, Density] | None = None,
    groups: np.ndarray | None = None,
    n_starts: int = 3,
    seed: int = 0,
) -> ModeDensities:
    r"""Fit mixtures of modes to each class, their number by the log-likelihood of held-out objects.

    Parameters
    ----------
    counts : mapping of str to float array, shape (n_objects, R, S, J)
        Events of each stream. Those of composite streams (all pairs) may be scaled by object, such as by
        2/n for n points.
    membership : float array, shape (n_objects, C)
        Share of each object in each class, as in `fit_density`: versions of one object share a unit.
    streams : sequence of Stream
        The streams to use, all of one mode.
    n_modes : int or sequence of int, length C, optional
        Modes of every class, or of each; lowered to leave `GROUPS_A_MODE` groups a mode. By default that
        of `N_MODES` under which the class's held-out objects are most probable.
    dirichlet : bool
        Whether objects scatter about their mode's tables, see `dirichlet_multinomial`.
    concentration : float, optional
        Of that scatter. By default, for each class and stream, that of `CONCENTRATIONS` under which held-out
        objects are most probable.
    tempering : float, optional
        The exponent beta of `ModeDensities`; by default `TEMPERING`, or 0 with `dirichlet`.
    strength : float
        Weight of the class's own table in each mode's, in units of (tempered) events.
    class_densities : mapping of str to Density, optional
        The classes' own tables of all objects, by default those of `class_density`.
    groups : int array, shape (n_objects,), optional
        Objects of one group are held out together.
    n_starts : int
        Starts from different clusters of maps; each class keeps its best.
    seed : int

    Returns
    -------
    ModeDensities
        A class with one mode and without scatter has its own table.

    Raises
    ------
    ValueError
        If the shapes do not fit or an option is outside its range.

    Notes
    -----
    Held-out likelihoods compare numbers of modes, not temperings: tempered ones are not normalised.
    """
    membership = np.asarray(membership, dtype=np.float64)
    streams = tuple(streams)
    groups = np.arange(len(membership)) if groups is None else np.unique(groups, return_inverse=True)[1]
    _check(counts, membership, streams, groups, n_modes, n_starts)
    _check_numbers(concentration, strength, tempering)
    counts = {stream.name: np.asarray(counts[stream.name]) for stream in streams}
    tempering = (0.0 if dirichlet else TEMPERING) if tempering is None else float(tempering)
    response = {s.name: response_matrix(s.grid.column_edges, s.grid.error_centres) for s in streams}
    own = class_densities or {s.name: class_density(s, counts[s.name], membership, groups) for s in streams}
    events, rows = Events.of_classes(counts, membership, tempering)
    place = embedding(counts, streams, membership.sum(axis=1), seed)
    sample = _Sample(events, [place[r] for r in rows], own)
    setting = _Setting(response, float(strength), own[streams[0].name].tail, dirichlet, seed)
    first = (concentration or _FIRST_CONCENTRATION) if dirichlet else np.inf
    scatter = {stream.name: np.full(membership.shape[1], first) for stream in streams}
    candidates = _candidates(n_modes, membership, groups)
    number = candidates[0]
    learn_scatter = dirichlet and concentration is None
    if len(candidates) > 1 or learn_scatter:
        fold = fold_of_object(counts[streams[0].name], membership, groups, N_FOLDS)
        pairs = []
        for k in range(N_FOLDS):
            training = membership * (fold != k)[:, None]
            part = {s.name: class_density(s, counts[s.name], training, groups, own[s.name]) for s in streams}
            kept, out = ([np.flatnonzero((fold[r] == k) == held) for r in rows] for held in (False, True))
            pairs.append((sample.take(kept, part), sample.take(out, part)))
        number, scatter = _choose(pairs, candidates, scatter, setting, learn_scatter)
    tables = _fit(sample, number, scatter, setting, n_starts)
    options = {"tail": setting.tail, "strength": setting.strength}
    densities = {name: Density.from_true(tables.true[name], response[name], **options) for name in response}
    return ModeDensities(densities, tables.owner, tables.log_weight, tempering, tables.concentration)


@dataclass(frozen=True, eq=False)
class _Sample:
    """Objects of each class: events, places on the projected maps, and the classes' own tables."""

    events: list[Events]
    place: list[np.ndarray]
    own: Mapping[str, Density]

    def take(self, rows: list[np.ndarray], own: Mapping[str, Density]) -> "_Sample":
        events = [part.take(r) for part, r in zip(self.events, rows, strict=True)]
        return _Sample(events, [part[r] for part, r in zip(self.place, rows, strict=True)], own)


@dataclass(frozen=True, eq=False)
class _Setting:
    response: Mapping[str, np.ndarray]
    strength: float
    tail: float
    dirichlet: bool
    seed: int


def _fit(sample: _Sample, number, scatter, setting: _Setting, n_starts: int) -> Tables:
    """Best of several starts, class by class, carried on."""
    owner = np.repeat(np.arange(len(number)), number)
    tables = Tables(
        true={name: density.true[owner] for name, density in sample.own.items()},
        observed={name: density.observed[owner] for name, density in sample.own.items()},
        owner=owner,
        log_weight=-np.log(np.asarray(number, dtype=np.float64))[owner],
        concentration={name: values[owner] for name, values in scatter.items()},
    )
    if (number == 1).all() and not setting.dirichlet:
        return tables
    own = tables
    options = {"strength": setting.strength, "tail": setting.tail}
    best, chosen = np.full(len(number), -np.inf), [None] * len(number)
    for start in range(n_starts):
        # Each class begins with the same numbers, so that the order of classes does not matter.
        share = [
            starting_share(place, events.weight, int(k), np.random.default_rng([setting.seed, start]))
            for place, events, k in zip(sample.place, sample.events, number, strict=True)
        ]
        _, share, score = em(
            sample.events, share, own, own.true, setting.response, n_iter=N_ITER_START, **options
        )
        for c in np.flatnonzero(score > best):
            best[c], chosen[c] = score[c], share[c]
    tables, _, _ = em(sample.events, chosen, own, own.true, setting.response, n_iter=N_ITER, **options)
    if not setting.dirichlet:
        single = (number == 1)[owner]
        for name in tables.true:
            tables.true[name] = np.where(single[:, None, None], own.true[name], tables.true[name])
            observed = np.where(single[:, None, None, None], own.observed[name], tables.observed[name])
            tables.observed[name] = observed
    return tables


def _choose(pairs, candidates, scatter, setting, learn_scatter):
    """Modes and scatter of each class with the highest log-likelihood of held-out objects."""
    n_classes = len(candidates[0])
    best, number, best_scatter = np.full(n_classes, -np.inf), candidates[0], scatter
    for candidate in candidates:
        fits = [(_fit(train, candidate, scatter, setting, 1), held) for train, held in pairs]
        if learn_scatter:
            scatter = _likeliest_scatter(fits, n_classes)
            fits = [(_with_scatter(tables, scatter), held) for tables, held in fits]
        score = np.zeros(n_classes)
        for tables, held in fits:
            for c, events in enumerate(held.events):
                score[c] += events.weight @ logsumexp(joint_log_likelihood(events, tables, c), axis=1)
        better = score > best
        best, number = np.where(better, score, best), np.where(better, candidate, number)
        best_scatter = {name: np.where(better, scatter[name], best_scatter[name]) for name in scatter}
    return number, best_scatter


def _likeliest_scatter(fits, n_classes):
    """Concentration of each class and stream, with held-out objects shared out among modes as they are."""
    score = {name: np.zeros((len(CONCENTRATIONS), n_classes)) for name in fits[0][0].observed}
    for tables, held in fits:
        for c, events in enumerate(held.events):
            joint = joint_log_likelihood(events, tables, c)
            share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True)) * events.weight[:, None]
            for name, found in score.items():
                for i, a in enumerate(CONCENTRATIONS):
                    trial = _with_scatter(tables, {name: np.full(n_classes, a)})
                    found[i, c] += np.sum(share * stream_log_likelihood(events, trial, c, name))
    return {name: np.asarray(CONCENTRATIONS)[found.argmax(axis=0)] for name, found in score.items()}


def _with_scatter(tables: Tables, scatter) -> Tables:
    concentration = tables.concentration | {name: values[tables.owner] for name, values in scatter.items()}
    return replace(tables, concentration=concentration)


def _candidates(n_modes, membership, groups) -> list[np.ndarray]:
    """Numbers of modes of each class to try, each at most one for `GROUPS_A_MODE` groups."""
    n_groups = np.array([len(np.unique(groups[share > 0])) for share in membership.T])
    most = np.maximum(n_groups // GROUPS_A_MODE, 1)
    wanted = N_MODES if n_modes is None else [np.asarray(n_modes)]
    candidates = [np.minimum(np.broadcast_to(np.asarray(k), most.shape), most) for k in wanted]
    return [k for i, k in enumerate(candidates) if i == 0 or (k != candidates[i - 1]).any()]


def _check(counts, membership, streams, groups, n_modes, n_starts) -> None:
    if membership.ndim != 2 or 0 in membership.shape or not streams or groups.shape != membership.shape[:1]:
        raise ValueError(
            "membership must be (objects, classes), groups must have one entry an object and streams not be "
            f"empty, but membership.shape={membership.shape}, groups.shape={groups.shape} and {len(streams)} "
            "streams were given: describe the same objects."
        )
    for stream in streams:
        shape = np.shape(counts.get(stream.name))
        if shape != (len(membership), *stream.grid.shape) or stream.grid.n_columns % 2:
            raise ValueError(
                f"counts of stream {stream.name!r} must be {(len(membership), *stream.grid.shape)}, with an "
                f"even number of columns, but counts.shape={shape}: count the stream of the same objects."
            )
    wanted = np.atleast_1d(1 if n_modes is None else n_modes)
    fits = wanted.ndim == 1 and len(wanted) in {1, membership.shape[1]}
    if not fits or (wanted < 1).any() or n_starts < 1:
        raise ValueError(
            "n_modes must be one positive number or one a class, and n_starts positive, but n_modes="
            f"{n_modes} for {membership.shape[1]} classes and n_starts={n_starts}: give at least 1."
        )


def _check_numbers(concentration, strength, tempering) -> None:
    if not strength > 0 or (concentration is not None and not concentration > 0):
        raise ValueError(
            f"strength and concentration must be positive, but strength={strength!r} and concentration="
            f"{concentration!r}: give numbers of events."
        )
    if tempering is not None and not 0 <= tempering <= 1:
        raise ValueError(
            f"tempering must be 0 (independent events) to 1 (one event an object), but it is {tempering!r}."
        )
