"""Posteriors under another class prior, without a refit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from bayesclass.object_prior import ObjectPrior
from bayesclass.posterior_checks import PosteriorError
from bayesclass.priors import Prior

if TYPE_CHECKING:
    from bayesclass.posterior import Posterior

FIXED = ("prior", "calibration")


def reweight(posterior: Posterior, prior: Prior | ObjectPrior) -> Posterior:
    r"""Return the posterior under another class prior.

    .. math:: p'_{ic} \propto p_{ic} \, \pi'_c / \pi_c

    for the probabilities and for each draw of them. This is exact where the prior shifted and p(evidence |
    class) did not (Saerens, Latinne & Decaestecker 2002, Neural Computation 14, 21, Eq. 2.4). Of the reasons
    the prior's alone changes; conflict follows. Novelty stays, because its scale is that of training.

    Prediction sets keep the classes that they had under the training prior, less those that are now
    impossible; where none is left, the most probable one is the set. Their thresholds are class by class, so
    they hold each class at the same rate in any mixture; thresholds applied to changed probabilities would
    not.

    Parameters
    ----------
    posterior : Posterior
        With reasons that have a "prior", or with the `prior` that it was made with.
    prior : Prior or ObjectPrior
        Of the same leaves, in any order. Where it has draws, its draw k goes with the posterior's draw k,
        over again if it has fewer; the present prior is taken at its own value.

    Returns
    -------
    Posterior
        Where all draws of an object are impossible under the prior by underflow, they are replaced by the
        object's probabilities, counted in its warnings.

    Raises
    ------
    PriorError
        If the prior is of other leaves, or an object has none.
    PosteriorError
        If the posterior's own prior is not known or makes a class impossible that `prior` does not, or if
        the prior leaves an object no possible class.
    """
    rows, drawn, row = prior.of_objects(posterior.object_id, posterior.classes)
    target = rows[row]
    with np.errstate(divide="ignore"):
        log_target = np.log(target)
    present = _log_prior(posterior)
    lost = ~np.isfinite(present) & (target > 0)
    if lost.any():
        # By class first, as the classes are listed.
        k, i = np.argwhere(lost.T)[0]
        raise PosteriorError(
            f"A class that the present prior makes impossible can't come back, but the prior {prior.name!r} "
            f"gives {posterior.classes[k]} {target[i, k]:.3g}: change the posterior that `classify` returned."
        )
    log_ratio = np.where(target > 0, log_target - np.where(target > 0, present, 0.0), -np.inf)
    log_joint = _log_probability(posterior) + log_ratio
    _check_possible(posterior, prior, log_joint)
    probability = softmax(log_joint, axis=1)
    draws, n_lost = _draws(posterior.draws, present, target, drawn, row, probability)
    reasons = dict(posterior.reasons)
    if reasons:
        reasons["prior"] = log_target
    kept = posterior.prediction_set if posterior.training_set is None else posterior.training_set
    possible = kept & (target > 0)
    most = probability == probability.max(axis=1, keepdims=True)
    return replace(
        posterior,
        probability=probability,
        draws=draws,
        prediction_set=possible | (most & ~possible.any(axis=1, keepdims=True)),
        training_set=kept,
        conflict=_conflict(posterior, reasons),
        warnings=_with_lost_draws(posterior.warnings, n_lost),
        reasons=reasons,
        prior=prior,
    )


def conflict(log_prior: np.ndarray, light_curve: np.ndarray, context: np.ndarray) -> np.ndarray:
    r"""Log of how much better light curve and context agree than by chance [nat].

    .. math:: \log \sum_c \pi_c L_c X_c - \log \sum_c \pi_c L_c - \log \sum_c \pi_c X_c

    Parameters
    ----------
    log_prior, light_curve, context : float array, shape (n, K)
        The prior need not be normalised; -inf makes a class impossible.

    Returns
    -------
    float array, shape (n,)
        Negative is conflict; 0 where one of the two is the same for all classes.
    """
    log_prior = log_prior - np.logaddexp.reduce(log_prior, axis=1, keepdims=True)

    def total(values):
        return np.logaddexp.reduce(log_prior + values, axis=1)

    difference = total(light_curve + context) - total(light_curve) - total(context)
    return np.where(np.abs(difference) < 1e-12, 0.0, difference)


def _log_prior(posterior: Posterior) -> np.ndarray:
    """Normalised logarithm of the prior that each object's probabilities have in them, shape (n, K)."""
    if "prior" in posterior.reasons:
        return log_softmax(posterior.reasons["prior"], axis=1)
    if posterior.prior is None or posterior.reasons:
        raise PosteriorError(
            "A prior can be changed only where the present one is known, and this posterior has neither "
            "a reason 'prior' nor a `prior`: make it with the prior that its probabilities were made with."
        )
    rows, _, row = posterior.prior.of_objects(posterior.object_id, posterior.classes)
    with np.errstate(divide="ignore"):
        return np.log(rows)[row]


def _log_probability(posterior: Posterior) -> np.ndarray:
    """Logarithm of the probabilities; those that are zero by underflow from the reasons."""
    log_probability = posterior.log_probability
    if not posterior.reasons:
        return log_probability
    total = sum(posterior.reasons.values())
    return np.where(posterior.probability > 0, log_probability, log_softmax(total, axis=1))


def _check_possible(posterior: Posterior, prior: Prior | ObjectPrior, log_joint: np.ndarray) -> None:
    none_left = np.isneginf(log_joint).all(axis=1)
    if none_left.any():
        i = int(np.argmax(none_left))
        raise PosteriorError(
            f"A prior must leave every object a possible class, but the prior {prior.name!r} leaves none to "
            f"object {posterior.object_id[i]} ({int(none_left.sum())} such objects), whose evidence allows "
            "only classes with prior zero: give these more, or take the other objects."
        )


def _draws(
    draws: np.ndarray | None,
    present: np.ndarray,
    target: np.ndarray,
    drawn: np.ndarray | None,
    row: np.ndarray,
    probability: np.ndarray,
) -> tuple[np.ndarray | None, np.ndarray]:
    """Draws under the other prior, and how many of each object's have no possible class, shape (n,)."""
    n_lost = np.zeros(len(probability), dtype=np.int64)
    if draws is None:
        return None, n_lost
    changed = np.empty_like(draws)
    for k, draw in enumerate(draws):
        # What the prior makes impossible stays so in every draw.
        own = target if drawn is None else np.where(target > 0, drawn[k % len(drawn)][row], 0.0)
        with np.errstate(divide="ignore"):
            log_ratio = np.where(own > 0, np.log(own) - np.where(own > 0, present, 0.0), -np.inf)
            log_joint = np.log(draw.astype(np.float64)) + log_ratio
        total = logsumexp(log_joint, axis=1, keepdims=True)
        gone = np.isneginf(total[:, 0])
        n_lost += gone
        changed[k] = np.where(
            gone[:, None], probability, np.exp(log_joint - np.where(gone[:, None], 0, total))
        )
    return changed, n_lost


def _conflict(posterior: Posterior, reasons: dict[str, np.ndarray]) -> np.ndarray:
    """Conflict under the prior among `reasons`; NaN where it can't be told what came from light curves."""
    if not reasons or posterior.light_curve_pieces is None:
        return np.full(len(posterior), np.nan)
    zero = np.zeros(posterior.probability.shape)
    log_prior = sum((reasons[name] for name in FIXED if name in reasons), zero)
    light = [name for name in reasons if name in posterior.light_curve_pieces]
    context = [name for name in reasons if name not in (*FIXED, *light)]
    return conflict(log_prior, *(sum((reasons[name] for name in names), zero) for names in (light, context)))


def _with_lost_draws(warnings, n_lost: np.ndarray) -> list[str]:
    told = []
    for warning, n in zip(warnings, n_lost, strict=True):
        more = f"{n} draw(s) impossible under the prior: interval too narrow" if n else ""
        told.append("; ".join(part for part in (warning, more) if part))
    return told
