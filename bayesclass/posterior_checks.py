"""What must hold of the arrays of a posterior, and the errors that say so."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import log_softmax

Shape = tuple[int, ...]


class PosteriorError(ValueError):
    """A posterior that contradicts itself, or one that cannot answer; the message says why."""


class UnknownObjectError(PosteriorError, KeyError):
    """An object that is not in the posterior; the message names the nearest identifier."""

    def __str__(self):
        return str(self.args[0])


def check_shapes(expected: Mapping[str, Shape], found: Mapping[str, Shape], size: tuple[int, int]) -> None:
    """Refuse arrays whose shapes do not fit `size`, the numbers of objects and leaves."""
    for name, shape in expected.items():
        if found[name] != shape:
            raise PosteriorError(
                f"A posterior of {size[0]} objects and {size[1]} leaves needs {name} of shape {shape}, "
                f"found {found[name]}."
            )


def check_values(
    object_id: np.ndarray,
    leaves: tuple[str, ...],
    probability: np.ndarray,
    prediction_set: np.ndarray,
    draws: np.ndarray | None,
    reasons: Mapping[str, np.ndarray],
) -> None:
    """Refuse values that contradict each other; shapes are taken as checked.

    Parameters
    ----------
    object_id, probability, prediction_set, draws, reasons
        As the attributes of `Posterior`.
    leaves : tuple of str

    Raises
    ------
    PosteriorError
    """
    _check_probability(object_id, probability)
    _check_unique(object_id)
    _check_sets(object_id, prediction_set)
    _check_draws(draws)
    _check_leaves(leaves)
    _check_reasons(object_id, reasons, probability)


def _check_probability(object_id: np.ndarray, p: np.ndarray) -> None:
    """Refuse rows of `p` that are no probabilities, or do not sum to one within 1e-6."""
    wrong = ~((p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1.0) <= 1e-6))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise PosteriorError(
            "Probabilities must be zero or more and sum to one within 1e-6, found "
            f"{p[i].tolist()} for object {object_id[i]} ({int(wrong.sum())} such objects); "
            "normalise them."
        )


def _check_unique(object_id: np.ndarray) -> None:
    """Refuse identifiers that repeat."""
    repeated = pd.Series(object_id)
    repeated = repeated[repeated.duplicated()]
    if len(repeated):
        raise PosteriorError(
            f"Each object must be in a posterior once, found {repeated.iloc[0]} more than once."
        )


def _check_sets(object_id: np.ndarray, prediction_set: np.ndarray) -> None:
    """Refuse an empty prediction set."""
    filled = prediction_set.any(axis=1)
    if not filled.all():
        raise PosteriorError(
            f"A prediction set must not be empty, found one at {object_id[int(np.argmin(filled))]}."
        )


def _check_draws(draws: np.ndarray | None) -> None:
    """Refuse draws that are none or not finite."""
    if draws is not None and not (len(draws) and np.isfinite(draws).all()):
        raise PosteriorError("Draws of the probabilities must be finite and at least one, or None.")


def _check_leaves(leaves: tuple[str, ...]) -> None:
    """Refuse leaves that could not be told apart in a set written as text."""
    barred = [leaf for leaf in leaves if "|" in leaf]
    if barred:
        raise PosteriorError(f"'|' separates the classes of a set, so no leaf may have it: {barred[0]!r}.")


def _check_reasons(object_id: np.ndarray, reasons: Mapping[str, np.ndarray], p: np.ndarray) -> None:
    """Refuse reasons that do not add up to the log-probabilities."""
    if not reasons:
        return
    total = sum(reasons.values())
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(np.exp(log_softmax(total, axis=1)) - p) <= 1e-4).all(axis=1)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise PosteriorError(
            "The reasons must add up to the log-probabilities, and they do not for object "
            f"{object_id[i]} ({int(wrong.sum())} such objects): they sum to {total[i].tolist()} for "
            f"probabilities {p[i].tolist()}."
        )


def unknown_object(name: str, object_id: np.ndarray) -> UnknownObjectError:
    """Make the error for an object that is not there, with the identifier nearest to it."""
    if not len(object_id):
        return UnknownObjectError(f"There is no object {name!r}: this posterior has no objects.")
    # Comparing with every identifier is slow in a large table: those beside it in the alphabet serve.
    ordered = np.sort(object_id)
    place = int(np.searchsorted(ordered, name))
    near = ordered[max(place - 1000, 0) : place + 1000].tolist()
    nearest = difflib.get_close_matches(name, near, n=1, cutoff=0.0)[0]
    return UnknownObjectError(
        f"There is no object {name!r} among the {len(object_id)} of this posterior; the nearest is "
        f"{nearest!r}, and `object_id` lists all."
    )
