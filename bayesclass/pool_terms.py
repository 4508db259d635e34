"""From light curves and evidence to the pool's terms, whose sum is the log of the class probabilities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bayesclass.fitting import Fitted
from bayesclass.representation import Described
from bayesclass.training import CONTEXT
from context.evidence import EvidenceTable
from structurefn.light_curves import LightCurves

__all__ = ["PoolTerms", "pool_terms"]


class PoolTerms(NamedTuple):
    """What the experts say of n objects, and what the pool makes of it.

    Attributes
    ----------
    described : Described
        The light curves, as experts see them.
    log_likelihood : dict of str to float array, shape (n, n_leaves)
        Of each expert, the context among them.
    sizes : dict of str to float array, shape (n,)
        Numbers of points or events behind each.
    terms : dict of str to float array, shape (n, n_leaves)
        As `Pool.terms`.
    """

    described: Described
    log_likelihood: dict[str, np.ndarray]
    sizes: dict[str, np.ndarray]
    terms: dict[str, np.ndarray]


def pool_terms(fitted: Fitted, light_curves: LightCurves, evidence: EvidenceTable) -> PoolTerms:
    """Ask all experts about objects, and weigh what they say.

    Parameters
    ----------
    fitted : Fitted
    light_curves : LightCurves
        In the channels of the recipe.
    evidence : EvidenceTable
        Of the same objects in the same order.
    """
    described = fitted.representation.describe(light_curves, evidence)
    got, sizes = fitted.experts.evidence(described)
    got[CONTEXT] = fitted.context.log_likelihood(evidence)
    sizes[CONTEXT] = described.n_detections.astype(float)
    return PoolTerms(described, got, sizes, fitted.pool.terms(got, sizes))
