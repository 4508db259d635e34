"""What a reader should know before the numbers of an evaluation, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bayesclass.evaluation_join import Sample

# What a truth of probability zero is taken for, so that one object cannot make the mean infinite.
FLOOR = 1e-15
FEW_OBJECTS = 100

__all__ = ["FLOOR", "examples", "remarks"]


def remarks(
    sample: Sample, counts: dict[str, int], outside: dict[str, int], leaves: tuple[str, ...]
) -> list[str]:
    """Return a sentence each about what took no part and what can't be judged.

    Parameters
    ----------
    sample : Sample
    counts : dict of str to int
        As of `bayesclass.evaluation_join.join`.
    outside : dict of str to int
        Labels that the recipe does not map -> objects.
    leaves : tuple of str
    """
    notes = []
    parts = (
        ("without_a_row_in_objects", "posteriors have no row in the objects' table and were left out."),
        ("objects_without_a_posterior", "objects of the table have no posterior."),
        ("without_label", "objects have no label and were left out."),
        ("label_not_in_recipe", f"objects have a label that the recipe does not map{examples(outside)}."),
        ("label_allows_every_class", "objects have a label that allows every class, and were left out."),
        (
            "partial_label",
            "objects have a label that allows several classes; they count in the log-loss, and on levels of "
            "the class tree where it allows one.",
        ),
    )
    notes += [f"{counts[name]} {text}" for name, text in parts if counts[name]]
    n, present = int(sample.one.sum()), np.unique(sample.y[sample.one])
    if n < FEW_OBJECTS:
        notes.append(f"Only {n} objects with one labelled class: every number here is rough.")
    if len(present) == 1:
        notes.append(
            f"All of them are {leaves[present[0]]}: a ranking of classes (AUC) cannot be judged, and "
            "macro-F1 is about this class and those given wrongly."
        )
    elif 0 < len(present) < len(leaves):
        absent = [leaf for k, leaf in enumerate(leaves) if k not in present]
        notes.append(f"No object is labelled {', '.join(absent)}.")
    impossible = int((np.where(sample.allowed, sample.p, 0.0).sum(axis=1) < FLOOR).sum())
    if impossible:
        notes.append(
            f"{impossible} objects gave their labelled class no probability; the log-loss takes {FLOOR:g}."
        )
    if sample.sets is None:
        there = "prediction_set" in sample.columns
        said = "Column prediction_set is empty" if there else "There is no column prediction_set"
        notes.append(f"{said}, so coverage was not judged.")
    elif (~sample.sets.any(axis=1)).any():
        n_empty = int((~sample.sets.any(axis=1)).sum())
        notes.append(f"{n_empty} objects have an empty prediction set, which counts as holding no class.")
    if sample.n_detections is None:
        notes.append("There is no column n_detections, so nothing is shown against it.")
    return notes


def examples(outside: dict[str, int]) -> str:
    """Return the most frequent labels that the recipe does not map, in brackets."""
    shown = ", ".join(f"{label} {n}" for label, n in list(outside.items())[:5])
    return f" ({shown}{', ...' if len(outside) > 5 else ''})" if outside else ""
