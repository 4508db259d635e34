r"""Several rows of evidence, of which one is true: the likelihood of each class, summed over them.

An object may have several rows of evidence, of which one is true: its possible hosts, and "no catalogued
host". Let D be all candidates around it, h_j what row j says of its own candidate (or of having none), and s
what all rows share. One candidate is the host, and the others lie there by chance, with density b, so that

.. math:: p(D, s | c) \propto \sum_j \frac{p(h_j | c)}{b(h_j)}\, p(s | h_j, c).

A table has no b. It has the posterior of hosts that know no class, :math:`P_j \propto \bar p(h_j) / b(h_j)`,
whose density of hosts is the mean over classes, :math:`\bar p(h) = \sum_c \pi_c\, p(h | c)`. Hence

.. math::

    \log p(D, s | c) = \log \sum_j P_j\, \frac{p(h_j, s | c)}{\sum_k \pi_k\, p(h_j | k)} + \text{const}.

So a row's own evidence is divided by its mean over classes, as a posterior q enters as q / q_train, or what
made the row probable would count twice. The shared evidence is not divided: P_j did not know it, and it says
which host is the more probable one. For an object with one row nothing is divided.
"""

from __future__ import annotations

import numpy as np

from context.evidence_alternatives import Alternatives

__all__ = ["given_labels", "sum_over_alternatives"]


def sum_over_alternatives(
    table: Alternatives, whole: np.ndarray, own: np.ndarray, class_frequency: np.ndarray
) -> np.ndarray:
    """Log-likelihood of each class, summed over the alternatives of each object.

    Parameters
    ----------
    table : Alternatives
    whole, own : arrays, shape (..., n_rows, n_leaves)
        log p(h_j, s | c) and log p(h_j | c): of all a row says, and of what it does not share.
    class_frequency : array, shape (n_leaves,)
        Mix of classes for which the probabilities of the alternatives were computed.

    Returns
    -------
    array, shape (..., n_objects, n_leaves)
        Up to a constant of each object.
    """
    return _group_sum(table, _joint(table, whole, own, class_frequency))


def _joint(table: Alternatives, whole, own, class_frequency) -> np.ndarray:
    """Log of the probability of each row, times its density over its mean over classes."""
    mean = np.logaddexp.reduce(own + np.log(class_frequency), axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        log_probability = np.log(table.probability)
    return log_probability[:, None] + whole - mean


def _group_sum(table: Alternatives, log: np.ndarray) -> np.ndarray:
    """Log of the sum of exponentials over the rows of each object."""
    if not len(table.owner):
        return np.zeros((*log.shape[:-2], 0, log.shape[-1]))
    starts = np.searchsorted(table.owner, np.arange(len(table.total)))
    return np.logaddexp.reduceat(log, starts, axis=-2)


def given_labels(
    table: Alternatives, whole: np.ndarray, own: np.ndarray, class_frequency: np.ndarray, allowed: np.ndarray
) -> np.ndarray:
    """Probability of each row given its object's evidence and label.

    Parameters
    ----------
    table, whole, own, class_frequency
        As of `sum_over_alternatives`, with whole and own of shape (n_rows, n_leaves).
    allowed : bool array, shape (n_objects, n_leaves)
        Leaves that the label allows, at least one.

    Returns
    -------
    array, shape (n_rows,)
        Sums to one over the rows of each object.
    """
    joint = _joint(table, whole, own, class_frequency) + np.log(class_frequency)
    log = np.logaddexp.reduce(np.where(allowed[table.owner], joint, -np.inf), axis=1)
    return np.exp(log - _group_sum(table, log[:, None])[table.owner, 0])
