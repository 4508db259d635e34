"""Tables of two states with several causes, each of which may switch the state on by itself: noisy-or.

A flag such as "found in the catalogue" may have several reasons. Where they act independently a table needs
one parameter for each state of each parent, not one for each of their combinations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaln

from bayesclass.network_tables import KAPPAS

__all__ = ["NoisyOr", "noisy_or_probability", "noisy_or_table", "on_state"]

# Weight of the prior of a cause, in objects that are on and off: most causes do little.
CAUSE_PRIOR = (0.2, 0.8)
EM_STEPS = 5
_NEGATIONS = ("false", "no", "0", "off", "none", "none found", "absent", "unmatched", "not found")
# Hazards: minus the logarithm of the probability that a cause leaves the state off.
_HAZARDS = (1e-10, 30.0)
NEWTON_STEPS, HALVINGS = 100, 30


@dataclass(frozen=True)
class NoisyOr:
    """A fitted noisy-or: an estimator's result, as `network_tables.Smoothed` is.

    Attributes
    ----------
    table : float64 array, shape (2, n_classes, n_configurations)
        Sums to one over the first axis.
    on : int
        The state that causes switch on.
    leak : float
        Probability to be on without any cause. It is the least that any class has.
    of_class : float64 array, shape (n_classes,)
        Probability that the class switches the state on; 0 for the least class.
    of_parents : tuple of float64 arrays
        The same for each state of each other parent.
    """

    table: np.ndarray
    on: int
    leak: float
    of_class: np.ndarray
    of_parents: tuple[np.ndarray, ...]
    _counts: np.ndarray
    _unknown: np.ndarray
    _prior: np.ndarray
    _hazards: np.ndarray

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a table by the weighted likelihood bootstrap, same shape as `table`.

        Counts, and those that the prior adds, become gamma variates, and the fit is repeated. With the class
        as the only parent this is the Beta posterior.

        References
        ----------
        Newton & Raftery (1994), Journal of the Royal Statistical Society B 56, 3.
        """
        sizes = tuple(len(q) for q in self.of_parents)
        counts, unknown, prior = (rng.standard_gamma(a) for a in (self._counts, self._unknown, self._prior))
        hazards = _fit(counts, unknown, prior, sizes, self._hazards)
        return _states(_total(hazards, counts.shape[1], sizes), self.on)


def noisy_or_probability(leak: float, causes: Sequence[np.ndarray]) -> np.ndarray:
    r"""Compute the probability to be on.

    .. math:: p(\mathrm{on} | s) = 1 - (1 - \mathrm{leak}) \prod_i (1 - q_i(s_i))

    Parameters
    ----------
    leak : float
    causes : sequence of float arrays, shape (n_states of the parent,)
        Probability that a parent in each of its states switches the state on.

    Returns
    -------
    float64 array, shape (n_states of the first parent, of the second, ...)

    References
    ----------
    Pearl (1988), Probabilistic Reasoning in Intelligent Systems, section 4.3.2; the leak: Henrion (1989),
    Uncertainty in Artificial Intelligence 3, 161.
    """
    off = np.array(1.0 - leak)
    for q in causes:
        off = off[..., None] * (1.0 - np.asarray(q))
    return 1.0 - off


def on_state(states: Sequence[str]) -> int:
    """Return which of two states causes switch on: the second, unless it is a negation ("no", "none")."""
    return 0 if states[1].casefold() in _NEGATIONS else 1


def noisy_or_table(
    counts: np.ndarray, class_counts: np.ndarray, *, sizes: Sequence[int] = (), on: int = 1
) -> NoisyOr:
    r"""Fit a noisy-or of the class and other parents by penalised likelihood.

    With hazards h = -log(1 - q) the probability to be off is exp(-H), where H sums the leak's hazard and one
    for each parent; the likelihood is concave in them, so that the fit is unique. A class has a Beta prior
    around what other causes leave to the class in all objects; its weight in objects maximises the marginal
    likelihood of how often each class is expected to have switched the state on. Any other cause has the weak
    `CAUSE_PRIOR`. Objects of which only the class is known are shared over the configurations by expectation
    maximisation.

    Parameters
    ----------
    counts : float array, shape (2, n_classes, n_configurations)
    class_counts : float array, shape (2, n_classes)
        Whatever is known of the other parents.
    sizes : sequence of int
        Numbers of states of the other parents, whose product is n_configurations, the last varying fastest.
    on : int
        The state that causes switch on.

    Returns
    -------
    NoisyOr

    Raises
    ------
    ValueError
        Not two states, or sizes that do not make up the configurations.
    """
    sizes, n_classes = tuple(sizes), counts.shape[1]
    if len(counts) != 2 or np.prod(sizes, dtype=int) != counts.shape[2]:
        raise ValueError(
            f"A noisy-or table needs two states and parents whose {counts.shape[2]} configurations are the "
            f"product of their sizes, found {len(counts)} states and sizes {sizes}; correct them."
        )
    order = [1, 0] if on == 0 else [0, 1]
    ordered, of_class = counts[order], class_counts[order]
    unknown = np.maximum(of_class - ordered.sum(axis=2), 0.0)
    causes = np.repeat(np.array(CAUSE_PRIOR[::-1])[:, None], sum(sizes), axis=1)

    def prior(rate, weight, n_leaves):
        leaves = np.repeat([[weight * (1.0 - rate)], [weight * rate]], n_leaves, axis=1)
        return np.concatenate([leaves, causes], axis=1)

    total = of_class.sum()
    rate = (of_class[1].sum() + 0.5) / (total + 1.0)
    # First all classes as one, which says what the other causes leave to them.
    pooled = ordered.sum(axis=1, keepdims=True), unknown.sum(axis=1, keepdims=True)
    own = prior(rate, 1.0, 1)
    hazards = _fit(*pooled, own, sizes, np.full(1 + sum(sizes), 0.1))
    if n_classes > 1:
        rate = max(-np.expm1(-hazards[0]), 0.5 / (total + 1.0))
        start = np.concatenate([np.repeat(hazards[:1], n_classes), hazards[1:]])
        hazards = _fit(ordered, unknown, prior(rate, 1.0, n_classes), sizes, start)
        own = prior(rate, _class_weight(ordered, hazards, sizes, rate), n_classes)
        hazards = _fit(ordered, unknown, own, sizes, hazards)
    leaves, others = hazards[:n_classes], np.split(hazards[n_classes:], np.cumsum(sizes)[:-1])
    others = others if sizes else []
    # Only the sum is determined: what all states of a parent share belongs to the leak.
    leak = leaves.min() + sum(part.min() for part in others)
    return NoisyOr(
        _states(_total(hazards, n_classes, sizes), on),
        on,
        float(-np.expm1(-leak)),
        -np.expm1(leaves.min() - leaves),
        tuple(-np.expm1(part.min() - part) for part in others),
        ordered,
        unknown,
        own,
        hazards,
    )


def _class_weight(counts, hazards, sizes, rate) -> float:
    """Weight of the classes' prior, by the beta-binomial likelihood of how often each class was the cause."""
    n_classes = counts.shape[1]
    own, total = -np.expm1(-hazards[:n_classes]), -np.expm1(-_total(hazards, n_classes, sizes))
    # An object that is off had no cause; one that is on had the class with probability q / p(on).
    caused = np.sum(counts[1] * np.minimum(own[:, None] / total, 1.0), axis=1)
    spared = counts.sum(axis=(0, 2)) - caused
    scores = [
        np.sum(betaln(k * rate + caused, k * (1 - rate) + spared) - betaln(k * rate, k * (1 - rate)))
        for k in KAPPAS
    ]
    return KAPPAS[int(np.argmax(scores))]


def _total(hazards, n_classes: int, sizes) -> np.ndarray:
    """Hazard of each class and configuration, shape (n_classes, n_configurations)."""
    result, start = hazards[:n_classes, None], n_classes
    for size in sizes:
        own = hazards[start : start + size]
        result = (result[:, :, None] + own).reshape(n_classes, -1)
        start += size
    return result


def _states(total, on: int) -> np.ndarray:
    off, own = np.exp(-total), -np.expm1(-total)
    return np.stack([off, own] if on == 1 else [own, off])


def _fit(counts, unknown, prior, sizes, start) -> np.ndarray:
    """Hazards that maximise the likelihood times the prior; states in the order (off, on)."""
    _, n_classes, n_configurations = counts.shape
    grid = np.indices((n_classes, *sizes)).reshape(1 + len(sizes), -1)
    offsets = np.concatenate([[0, n_classes], n_classes + np.cumsum(sizes, dtype=int)])
    columns = np.arange(grid.shape[1])
    design = np.zeros((grid.shape[1], len(start)))
    for index, offset in zip(grid, offsets, strict=False):
        design[columns, offset + index] = 1.0
    # What the prior adds are objects with one cause alone.
    design = np.concatenate([design, np.eye(len(start))])
    share = counts.sum(axis=0) + 1.0 / n_configurations
    share /= share.sum(axis=1, keepdims=True)
    hazards = np.clip(start, *_HAZARDS)
    for _ in range(EM_STEPS if unknown.any() and n_configurations > 1 else 1):
        mass = share * _states(_total(hazards, n_classes, sizes), 1)
        complete = counts + unknown[:, :, None] * mass / mass.sum(axis=2, keepdims=True)
        off, own = np.concatenate([complete.reshape(2, -1), prior], axis=1)

        hazards = _newton(design, off, own, hazards)
    return hazards


def _newton(design, off, own, hazards) -> np.ndarray:
    """Minimise sum(off H - own log(1 - exp(-H))), H = design @ hazards, which is convex, by Newton's method.

    The prior gives every hazard some objects of both states, so the minimum lies inside of the bounds.
    """

    def cost(h):
        total = design @ h
        return off @ total - own @ np.log(-np.expm1(-total))

    value = cost(hazards)
    for _ in range(NEWTON_STEPS):
        total = design @ hazards
        left, gone = np.exp(-total), -np.expm1(-total)
        gradient = design.T @ (off - own * left / gone)
        curvature = design.T @ ((own * left / gone**2)[:, None] * design)
        curvature[np.diag_indices_from(curvature)] += 1e-12
        step = np.linalg.solve(curvature, gradient)
        if gradient @ step < 1e-9:
            break
        # Not all the way to zero, where the cost is infinite.
        length = min(1.0, 0.95 / max(np.max(step / hazards), 1e-300))
        for _ in range(HALVINGS):
            proposed = np.clip(hazards - length * step, *_HAZARDS)
            after = cost(proposed)
            if after <= value - 0.1 * length * (gradient @ step):
                break
            length *= 0.5
        if after >= value:
            break
        hazards, value = proposed, after
    return hazards
