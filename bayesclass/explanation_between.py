"""What each piece of evidence adds to the log-odds of two classes, leaves or inner nodes of the tree."""

from __future__ import annotations

from collections.abc import Mapping
from math import factorial

import numpy as np
from scipy.special import logsumexp

from bayesclass.posterior_checks import PosteriorError
from bayesclass.taxonomy import Taxonomy

# Shapley values need all combinations of the pieces, 2 to this power: some hundredths of a second.
MAX_SHAPLEY = 14
PRIOR = "prior"

__all__ = ["check_between", "contributions"]


def check_between(taxonomy: Taxonomy, between: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the leaves of two classes, each of shape (K,), bool.

    Raises
    ------
    TaxonomyError
        A class that is not in the tree.
    PosteriorError
        Not two, the same class twice, or one that lies within the other.
    """
    if isinstance(between, str) or len(between) != 2:
        raise PosteriorError(
            f"An explanation sets two classes against each other, found {between!r}: name two."
        )
    first, other = between
    masks = [np.isin(taxonomy.leaves, taxonomy.leaves_of(name)) for name in between]
    if first == other:
        raise PosteriorError(
            f"An explanation needs two different classes, found {first!r} twice: change one."
        )
    if (masks[0] & masks[1]).any():
        inner, outer = (first, other) if masks[0].sum() <= masks[1].sum() else (other, first)
        raise PosteriorError(
            f"Two classes with odds against each other share no leaf, but {inner!r} lies within {outer!r}: "
            "name classes beside each other."
        )
    return masks[0], masks[1]


def contributions(
    reasons: Mapping[str, np.ndarray], first: np.ndarray, other: np.ndarray
) -> tuple[np.ndarray, str]:
    r"""Share the log-odds of two sets of leaves among the pieces of evidence.

    The log-odds of A against B on the pieces S are

    .. math:: v(S) = \log \sum_{c \in A} \exp \sum_{k \in S} l_{kc}
                    - \log \sum_{c \in B} \exp \sum_{k \in S} l_{kc}

    Between two leaves the contribution of a piece is l_kA - l_kB, whatever else is known ("additive").
    What a piece says of a set depends on which of its leaves is the likely one, so on the other pieces.
    There the prior comes first, with its own log-odds v({prior}), and each other piece gets its Shapley
    value: what it adds, averaged over all orders of the pieces ("Shapley"). A piece that is the same for
    all leaves of A, and for all of B, still contributes the plain difference. With more than 14 pieces
    that are not, or with leaves that are impossible, each piece contributes what it adds to the prior and to
    those before it in the order of `reasons` ("chain"). In all three the sum is the total.

    Parameters
    ----------
    reasons : mapping of str to float array, shape (K,)
        Piece of evidence -> its contribution to the log-likelihood of each leaf [nat].
    first, other : bool array, shape (K,)
        Leaves of A and of B.

    Returns
    -------
    nats : float array, shape (n_pieces,)
        In the order of `reasons`. Without a piece "prior" the first piece takes its place.
    method : str
        "additive", "Shapley" or "chain".

    Raises
    ------
    PosteriorError
        If both are impossible, so that there are no odds.

    References
    ----------
    Shapley (1953), Contributions to the Theory of Games 2, 307.
    """
    pieces = list(reasons)
    values = np.array([reasons[piece] for piece in pieces], dtype=np.float64)
    a, b = values[:, first], values[:, other]
    if all(np.isneginf(part.sum(axis=0)).all() for part in (a, b)):
        raise PosteriorError(
            "Odds need at least one of two classes to be possible, and the evidence makes both impossible: "
            "compare with another class."
        )
    if a.shape[1] == b.shape[1] == 1:
        return a[:, 0] - b[:, 0], "additive"
    # The prior first; the sort is stable, so the others keep their order.
    order = sorted(range(len(pieces)), key=lambda k: pieces[k] != PRIOR)
    varies = (a != a[:, :1]).any(axis=1) | (b != b[:, :1]).any(axis=1)
    varying = [k for k in order[1:] if varies[k]]
    nats = np.empty(len(pieces))
    if len(varying) > MAX_SHAPLEY or not (np.isfinite(a).all() and np.isfinite(b).all()):
        nats[order] = _chain(a[order], b[order])
        return nats, "chain"
    nats[:] = a[:, 0] - b[:, 0]
    nats[order[0]] = _log_odds(a[order[0]], b[order[0]])
    nats[varying] = _shapley(a[order[0]], b[order[0]], a[varying], b[varying])
    return nats, "Shapley"


def _log_odds(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Log-odds of two sets of leaves; sums over the last axis."""
    return logsumexp(a, axis=-1) - logsumexp(b, axis=-1)


def _chain(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return what each row adds to those before it; once odds are without bound, nothing adds to them."""
    total = _log_odds(np.cumsum(a, axis=0), np.cumsum(b, axis=0))
    before = np.concatenate([[0.0], total[:-1]])
    bounded = np.isfinite(before)
    return np.where(bounded, total - np.where(bounded, before, 0.0), 0.0)


def _shapley(base_a: np.ndarray, base_b: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Shapley values of rows on top of a base, shape (n_rows,), from all their combinations."""
    n = len(a)
    if not n:
        return np.zeros(0)
    number = np.arange(2**n)
    inside = (number[:, None] >> np.arange(n)) & 1
    value = _log_odds(base_a + inside @ a, base_b + inside @ b)
    size = inside.sum(axis=1)
    weight = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])
    result = np.empty(n)
    for k in range(n):
        without = number[inside[:, k] == 0]
        result[k] = (weight[size[without]] * (value[without | 1 << k] - value[without])).sum()
    return result
