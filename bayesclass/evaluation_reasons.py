"""What each piece of evidence is worth: the scores without it, and its part in the worst mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.special import softmax

from bayesclass import metrics
from bayesclass.evaluation_join import Sample
from bayesclass.evaluation_notes import FLOOR
from bayesclass.evaluation_scores import MIN_OBJECTS, Statistic, figures
from bayesclass.reason_columns import PREFIX, read_reasons
from bayesclass.recipe import Recipe
from bayesclass.tables import InputError

# Reasons are written in float32 and may be large.
TOLERANCE = 1e-3
FIXED = ("prior", "calibration")
LIGHT_CURVE, CONTEXT = "all of the light curve", "all of the context"
NAMED = 3

__all__ = ["Reasons", "evidence_table", "mistake_reasons", "read", "removal_statistics"]


@dataclass(frozen=True, eq=False)
class Reasons:
    """Contributions of the pieces of evidence to the log-likelihood, side by side with a sample.

    Attributes
    ----------
    pieces : dict of str to float array, shape (n, K)
        Empty where the posteriors have none.
    groups : dict of str to tuple of str
        Several pieces that are also removed together.
    without : dict of str to float array, shape (n, K)
        Probabilities when the piece or group is left out of the sum, by its name.
    """

    pieces: dict[str, np.ndarray] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    without: dict[str, np.ndarray] = field(default_factory=dict)


def read(sample: Sample, recipe: Recipe) -> Reasons:
    """Return the reasons of the objects of a sample.

    Raises
    ------
    InputError
        As `read_reasons`, or if they do not add up to the probabilities.
    """
    leaves = recipe.taxonomy.leaves
    pieces = read_reasons(sample.columns, leaves)
    if not pieces:
        return Reasons()
    probability = _without(pieces, ())
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(probability - sample.p) <= TOLERANCE).all(axis=1)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise InputError(
            f"The columns {PREFIX}<class>_<piece> must add up to the log-probabilities, and they do not for "
            f"{int(wrong.sum())} objects, as {sample.object_id[i]}: write the posteriors again, or without."
        )
    groups = _groups(tuple(pieces), recipe)
    taken = {name: (name,) for name in pieces} | groups
    return Reasons(pieces, groups, {name: _without(pieces, gone) for name, gone in taken.items()})


def removal_statistics(sample: Sample, reasons: Reasons) -> dict[tuple, Statistic]:
    """Return functions of weights: figures without each piece, and the change of the log-loss, by its name.

    The change is paired: both log-losses are of the same resampled objects.
    """
    loss = metrics.log_losses(sample.p, sample.allowed, floor=FLOOR)
    result: dict[tuple, Statistic] = {}
    for name, p in reasons.without.items():
        change = metrics.log_losses(p, sample.allowed, floor=FLOOR) - loss
        result["without", name, "change"] = lambda w, change=change: metrics.weighted_mean(change, w)
        own = figures(replace(sample, p=p, sets=None))
        result |= {("without", name, figure): own[figure] for figure in own}
    return result


def evidence_table(
    sample: Sample, reasons: Reasons, estimates: Mapping, resampled: Mapping, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the scores without each piece of evidence, the one whose loss costs most first.

    Returns
    -------
    DataFrame
        removed; n_objects of which it said anything between classes; change of the log-loss [nat], above zero
        where the piece helps, with lower and upper (95 %, paired); log_loss, accuracy and ece without it, and
        ece_null. Groups of pieces stand at the end.
    """
    columns = ["removed", "n_objects", "change", "lower", "upper", "log_loss", "accuracy", "ece", "ece_null"]
    rows = []
    for name, p in reasons.without.items():
        of = reasons.groups.get(name, (name,))
        spoke = np.any([np.ptp(reasons.pieces[piece], axis=1) > 1e-9 for piece in of], axis=0)
        key = ("without", name, "change")
        value = float(estimates[key])
        ends = (np.nan, np.nan)
        if len(sample.p) >= MIN_OBJECTS:
            ends = metrics.bootstrap_interval(value, resampled[key])
        rest = [float(estimates.get(("without", name, figure), np.nan)) for figure in columns[5:8]]
        null = metrics.ece_null(p[sample.one], rng)[0]
        rows.append([name, int(spoke.sum()), value, *map(float, ends), *rest, null])
    table = pd.DataFrame(rows, columns=columns)
    order = table.assign(group=table["removed"].isin(reasons.groups), size=-table["change"])
    return table.loc[order.sort_values(["group", "size"], kind="stable").index].reset_index(drop=True)


def mistake_reasons(
    sample: Sample, reasons: Reasons, worst: np.ndarray, classes: tuple[str, ...]
) -> list[str]:
    """Return for each of some mistaken objects which pieces spoke for the wrong class, in words.

    Parameters
    ----------
    sample : Sample
    reasons : Reasons
    worst : int array
        Positions in the sample.
    classes : tuple of str

    Returns
    -------
    list of str
        The log-odds [nat] of the most probable class against the labelled one, of several the most probable:
        the largest for the wrong class, the largest against it, and their sum over all pieces.
    """
    lines = []
    for i in worst:
        best = int(sample.p[i].argmax())
        right = int(np.where(sample.allowed[i], sample.p[i], -1.0).argmax())
        odds = {piece: float(x[i, best] - x[i, right]) for piece, x in reasons.pieces.items()}
        ordered = sorted(odds.items(), key=lambda item: -item[1])
        wrong = [f"{piece} {value:+.2f}" for piece, value in ordered[:NAMED] if value > 0]
        other = [f"{piece} {value:+.2f}" for piece, value in ordered[:-2:-1] if value < 0]
        text = f"for {classes[best]} against {classes[right]}: {', '.join(wrong)}"
        text += f"; the other way: {other[0]}" if other else ""
        lines.append(f"{text}; all together {sum(odds.values()):+.2f} nat")
    return lines


def _without(pieces: Mapping[str, np.ndarray], gone: tuple[str, ...]) -> np.ndarray:
    """Probabilities from all pieces but some; without any piece every class is equally probable."""
    kept = [values for name, values in pieces.items() if name not in gone]
    first = next(iter(pieces.values()))
    return softmax(sum(kept, np.zeros(first.shape)), axis=1)


def _groups(pieces: tuple[str, ...], recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Pieces of the light curve and of the context, by the names that the recipe gives its evidence."""
    context = {spec.name for spec in recipe.evidence} | {f"{spec.name} match" for spec in recipe.matches}
    context |= {spec.name for spec, _ in recipe.posteriors}
    groups = {
        LIGHT_CURVE: tuple(name for name in pieces if name not in context and name not in FIXED),
        CONTEXT: tuple(name for name in pieces if name in context),
    }
    # Of one piece there is a row already.
    return {name: of for name, of in groups.items() if len(of) > 1}
