"""The features that a recipe asks for: published ones, those of transients, those with a redshift."""

from __future__ import annotations

from functools import cache

import numpy as np

from bayesclass.light_curve_features import feature_names, light_curve_features
from bayesclass.recipe_schema import FeatureSpec
from bayesclass.transient_features import transient_feature_names, transient_features
from context.evidence import EvidenceColumn, EvidenceTable
from structurefn.light_curves import LightCurves

__all__ = ["distance_modulus", "feature_table", "feature_table_names", "redshift_of"]

# Redshifts of the table of distance moduli; nearer than the first, a redshift tells no distance.
REDSHIFTS = np.linspace(0.002, 4.0, 2000)
# Transient features that a redshift turns into luminosities, and those that it shortens.
MAGNITUDES = ("peak magnitude", "magnitude at maximum")
TIMES = ("rise from", "fall to")


def feature_table_names(spec: FeatureSpec, channels: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns of `feature_table`."""
    names = feature_names(channels, period=spec.period)
    if spec.transient:
        own = transient_feature_names(channels)
        names += own
        if spec.redshift is not None:
            names += ("redshift", *(f"absolute {name}" for name in own if name.startswith(MAGNITUDES)))
            names += tuple(f"rest-frame {name}" for name in own if name.startswith(TIMES))
    return names


def feature_table(
    spec: FeatureSpec, light_curves: LightCurves, evidence: EvidenceTable | None = None
) -> np.ndarray:
    r"""Compute the features that a recipe asks for.

    With a redshift z, magnitudes come also less the distance modulus (Planck 2018 cosmology), and rise and
    fall times divided by 1 + z. A class is then told by what light curve and redshift say together; the
    redshift's own evidence comes from the network.

    Parameters
    ----------
    spec : FeatureSpec
    light_curves : LightCurves
    evidence : EvidenceTable, optional
        Of the same objects in the same order; read where the recipe names a redshift.

    Returns
    -------
    float32 array, shape (n_objects, n_features)
        As `feature_table_names`; NaN where a feature is not defined.
    """
    parts = [light_curve_features(light_curves, period=spec.period)]
    if spec.transient:
        own = transient_features(light_curves)
        parts.append(own)
        if spec.redshift is not None:
            names = transient_feature_names(light_curves.channels)
            column = None if evidence is None else evidence.columns[spec.redshift]
            parts.append(_with_redshift(own, names, redshift_of(column, light_curves.n_objects)))
    return np.column_stack(parts).astype(np.float32)


def redshift_of(column: EvidenceColumn | None, n: int) -> np.ndarray:
    """Redshifts of n objects, NaN where none is known."""
    if column is None:
        return np.full(n, np.nan)
    return np.where(column.measured, column.in_units(), np.nan)


def distance_modulus(redshift: np.ndarray) -> np.ndarray:
    """Distance moduli (Planck 2018 cosmology) [mag], NaN nearer than the first of `REDSHIFTS`."""
    modulus = np.interp(redshift, REDSHIFTS, _moduli())
    return np.where(redshift >= REDSHIFTS[0], modulus, np.nan)


def _with_redshift(table: np.ndarray, names: tuple[str, ...], redshift: np.ndarray) -> np.ndarray:
    modulus = distance_modulus(redshift)
    absolute = [i for i, name in enumerate(names) if name.startswith(MAGNITUDES)]
    times = [i for i, name in enumerate(names) if name.startswith(TIMES)]
    return np.column_stack(
        [redshift, table[:, absolute] - modulus[:, None], table[:, times] / (1.0 + redshift[:, None])]
    )


@cache
def _moduli() -> np.ndarray:
    from astropy.cosmology import Planck18

    return Planck18.distmod(REDSHIFTS).value
