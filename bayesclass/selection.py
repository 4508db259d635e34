"""Which objects get a label, and weights that make labelled ones look like a sample without labels."""

from __future__ import annotations

import numpy as np

from bayesclass.transient_features import transient_feature_names, transient_features
from structurefn.light_curves import LightCurves

__all__ = ["LARGEST_WEIGHT", "density_ratio", "effective_number", "observables"]

# Weights are cut to this many times their mean, and its inverse: single objects do not speak for a sample.
LARGEST_WEIGHT = 15.0
# Inverse strength of the quadratic logistic regression's penalty, in standardised observables.
INVERSE_PENALTY = 1.0


def observables(light_curves: LightCurves, redshift: np.ndarray, channels: tuple[str, ...]) -> np.ndarray:
    """Return what decides whether a spectrum is taken: peak magnitudes and photometric redshift.

    Parameters
    ----------
    light_curves : LightCurves
    redshift : float array, shape (n,)
        NaN where none is known.
    channels : tuple of str
        Channels whose peak magnitudes are wanted.

    Returns
    -------
    float array, shape (n, n_channels + 1)
        Peak magnitudes of the interpolated light curve, then the redshift; NaN where they are not known.
    """
    names = transient_feature_names(light_curves.channels)
    columns = [names.index(f"peak magnitude {channel}") for channel in channels]
    return np.column_stack([transient_features(light_curves)[:, columns], redshift]).astype(np.float64)


def density_ratio(sample: np.ndarray, target: np.ndarray) -> np.ndarray:
    r"""Estimate weights of a sample's objects that give their observables the distribution of a target.

    A logistic regression on the observables and their products tells the samples apart; with q(x) its
    probability of the target and n, n' the sizes,

    .. math:: w(x) = \frac{q(x)}{1 - q(x)} \frac{n}{n'}

    Parameters
    ----------
    sample, target : float array, shape (n, d) and (n', d)
        NaN where not known: taken as the target's median, so that it weighs like a typical object.

    Returns
    -------
    float array, shape (n,)
        Mean one before and about one after the cut to `LARGEST_WEIGHT` and its inverse.

    Raises
    ------
    ValueError
        If either sample is empty, or an observable is known of no object of the target.

    Notes
    -----
    Where labels were given by the observables alone, classes have the same probabilities at equal observables
    in both samples, and weighted class fractions are those of the target as far as the sample reaches.

    References
    ----------
    Bickel, Brückner & Scheffer (2007), ICML 24, 81: density ratios from a classifier. Shimodaira (2000),
    J. Stat. Plan. Inference 90, 227: weighting under a shift of the covariates.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    sample, target = np.asarray(sample, np.float64), np.asarray(target, np.float64)
    if not len(sample) or not len(target) or not np.isfinite(target).any(axis=0).all():
        raise ValueError(
            "Weights towards a target need both samples and each observable known of some of the target's "
            f"objects, found {len(sample)} and {len(target)} objects: give light curves and redshifts."
        )
    middle = np.nanmedian(np.where(np.isfinite(target), target, np.nan), axis=0)
    both = np.concatenate([sample, target])
    both = np.where(np.isfinite(both), both, middle)
    of_target = np.arange(len(both)) >= len(sample)
    model = make_pipeline(
        StandardScaler(), PolynomialFeatures(2), LogisticRegression(C=INVERSE_PENALTY, max_iter=2000)
    )
    log_odds = model.fit(both, of_target).decision_function(both[: len(sample)])
    ratio = np.exp(log_odds) * len(sample) / len(target)
    return np.clip(ratio / ratio.mean(), 1.0 / LARGEST_WEIGHT, LARGEST_WEIGHT)


def effective_number(weights: np.ndarray) -> float:
    """Return Kish's effective number of objects, the squared sum over the sum of squares."""
    return float(weights.sum() ** 2 / (weights**2).sum())
