"""What knowing one more piece of evidence would tell: expected information, the most telling state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax, logsumexp, xlogy

from bayesclass.information_states import StateLikelihoods

__all__ = ["Telling", "tell"]

# States that together are less probable than this are not looked at for the most telling one.
RARE = 0.01


class Telling(NamedTuple):
    """What a piece of evidence would tell about n objects.

    Attributes
    ----------
    information : float64 array, shape (n,)
        Expected reduction of the entropy of the class [nat].
    change : float64 array, shape (n,)
        Expected relative entropy of the answer then to the answer now [nat]; never negative.
    p_best_changes : float64 array, shape (n,)
    state : int64 array, shape (n,)
        The most telling state.
    state_probability : float64 array, shape (n,)
    then : float64 array, shape (n, n_leaves)
        Class probabilities in that state.
    shift : float64 array, shape (n,)
        Largest difference between the class probabilities expected after the measurement and those now.
    """

    information: np.ndarray
    change: np.ndarray
    p_best_changes: np.ndarray
    state: np.ndarray
    state_probability: np.ndarray
    then: np.ndarray
    shift: np.ndarray


def tell(log_now: np.ndarray, log_then: np.ndarray, states: StateLikelihoods) -> Telling:
    r"""Compute the expected effect of knowing a state, under the present posterior.

    .. math:: p(s) = \sum_c p(c)\, p(s | e, c), \qquad
              I = H[p] - \sum_s p(s) H[p'_s], \qquad
              D = \sum_s p(s) \sum_c p'_s(c) \log \frac{p'_s(c)}{p(c)}, \qquad
              P_\mathrm{change} = \sum_s p(s) \, [\arg\max p'_s \ne \arg\max p]

    The most telling state is that with the largest sum over c in D, rare states apart (`RARE`).

    Parameters
    ----------
    log_now : float array, shape (n, n_leaves)
        Logarithm of the present class probabilities p, up to a constant of each object.
    log_then : float array, shape (n_states, n, n_leaves)
        The same of p', were the state known.
    states : StateLikelihoods
        Of the same objects.

    Notes
    -----
    Where log_then is log_now plus log p(s | e, c), I and D are the mutual information of class and state,
    hence not negative, and the mean of p' is p (Lindley 1956, Annals of Mathematical Statistics 27, 986). A
    log-linear pool whose weight of the context is not one gives p(s | e, c) another power: then p' is what
    the pool would answer, but its mean differs from p by `shift`, and I may be negative. So it is, and by
    more, where a stream compares the light curve with the evidence, as p(s) knows nothing of that comparison.
    """
    log_now, log_then = log_softmax(log_now, axis=-1), log_softmax(log_then, axis=-1)
    now, then = np.exp(log_now), np.exp(log_then)
    joint = states.log_likelihood + states.log_weight[:, None, None]
    given_class = np.exp(joint - logsumexp(joint, axis=0))
    p_state = (given_class * now).sum(axis=-1)
    entropy_then = -xlogy(then, then).sum(axis=-1)
    information = -xlogy(now, now).sum(axis=-1) - (p_state * entropy_then).sum(axis=0)
    changes = then.argmax(axis=-1) != now.argmax(axis=-1)
    with np.errstate(invalid="ignore"):
        # A class that is impossible now stays so in every state.
        difference = np.where(then > 0, then * (log_then - log_now), 0.0).sum(axis=-1)
    best = np.where(_common(p_state), difference, -np.inf).argmax(axis=0)
    rows = np.arange(len(now))
    expected = (p_state[:, :, None] * then).sum(axis=0)
    return Telling(
        information,
        (p_state * difference).sum(axis=0),
        (p_state * changes).sum(axis=0),
        best,
        p_state[best, rows],
        then[best, rows],
        np.abs(expected - now).max(axis=-1, initial=0.0),
    )


def _common(p_state: np.ndarray) -> np.ndarray:
    """Return which states are left when the least probable ones, together below `RARE`, are taken away."""
    order = np.argsort(p_state, axis=0, kind="stable")
    below = np.cumsum(np.take_along_axis(p_state, order, axis=0), axis=0)
    common = np.empty(p_state.shape, dtype=bool)
    np.put_along_axis(common, order, below >= RARE, axis=0)
    return common
