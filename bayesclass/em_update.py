r"""The M-step of expectation maximisation under a prior that stays, and the log density of that prior.

How far a table is shrunk, and towards what, is chosen on counts of whole objects, by leaving each out. Among
expected counts, fractions of objects, none can be left out, so the choice of the start is kept:

.. math:: \theta_{x|a} = (n_{xa} + \kappa\mu_{xa}) / (n_a + \kappa), \qquad
          \log p(\theta) = \sum_{xa} \kappa \mu_{xa} \log\theta_{xa} + \text{const}
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bayesclass.network_tables import Smoothed

__all__ = ["log_prior", "updated"]


def updated(estimate: Smoothed, counts: np.ndarray) -> Smoothed:
    """Return the table for other counts, with the same prior and, for a density, the same kernels.

    Parameters
    ----------
    estimate : Smoothed
    counts : float array, shape (n_states, n_classes, n_configurations)

    Returns
    -------
    Smoothed
    """
    spread = counts
    if estimate.kernel is not None:
        flat = counts.reshape(len(counts), -1)
        spread = np.einsum("ga,agh->ha", flat, estimate.kernel).reshape(counts.shape)
    table = (spread + estimate.kappa * estimate.mean) / (counts.sum(axis=0) + estimate.kappa)
    table = (1.0 - estimate.floor) * table + estimate.floor / len(table)
    return replace(estimate, table=table, counts=counts)


def log_prior(prior, estimate) -> float:
    """Log density of a table under the prior of another estimate, up to a constant; 0 where that has none."""
    if not isinstance(prior, Smoothed):
        return 0.0
    table = np.maximum(estimate.table, np.finfo(float).tiny)
    return prior.kappa * float((prior.mean * np.log(table)).sum())
