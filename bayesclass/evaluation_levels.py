"""The class tree level by level: probabilities and labels summed over the leaves of each class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.evaluation_join import Sample
from bayesclass.taxonomy import Taxonomy

__all__ = ["Level", "collapse", "confusion_table", "levels"]


@dataclass(frozen=True, eq=False)
class Level:
    """Exclusive classes of one depth of the tree.

    Attributes
    ----------
    number : int
        1 is the top.
    classes : tuple of str
        Inner nodes of this depth, and leaves of this depth or above it.
    member : bool array, shape (n_classes, n_leaves)
    nodes : tuple of str
        The inner nodes among `classes` that no level above has.
    """

    number: int
    classes: tuple[str, ...]
    member: np.ndarray
    nodes: tuple[str, ...]


def levels(taxonomy: Taxonomy) -> tuple[Level, ...]:
    """Return the levels of a class tree from the top down; the last is that of the leaves.

    At depth d each leaf stands for the class of depth d above it, or for itself where it lies higher. A
    depth at which all leaves are one class is left out: there is nothing to tell apart.
    """
    paths = {leaf: taxonomy.path(leaf) for leaf in taxonomy.leaves}
    found, seen = [], set()
    for depth in range(1, max(map(len, paths.values())) + 1):
        above = [paths[leaf][min(depth, len(paths[leaf])) - 1] for leaf in taxonomy.leaves]
        classes = tuple(dict.fromkeys(above))
        nodes = tuple(name for name in classes if name in taxonomy.nodes and name not in seen)
        seen.update(nodes)
        if len(classes) > 1:
            member = np.array([[name == own for own in above] for name in classes])
            found.append(Level(len(found) + 1, classes, member, nodes))
    return tuple(found)


def collapse(sample: Sample, level: Level) -> Sample:
    """Return the sample with the classes of a level in place of the leaves.

    A class's probability is the sum of its leaves, a label allows the classes of its leaves, and a prediction
    set holds a class where it holds one of its leaves.
    """
    member = level.member.T.astype(np.float64)
    return replace(
        sample,
        p=sample.p @ member,
        allowed=sample.allowed @ level.member.T,
        sets=None if sample.sets is None else sample.sets @ level.member.T,
    )


def confusion_table(level: Level, sample: Sample) -> pd.DataFrame:
    """Return the confusion of one level, one row a pair of classes.

    Parameters
    ----------
    level : Level
    sample : Sample
        Collapsed onto the level.

    Returns
    -------
    DataFrame
        level, labelled, given, n_objects (by the most probable class), probability (sum of probabilities).
    """
    p, y = sample.p[sample.one], sample.y[sample.one]
    n = len(level.classes)
    return pd.DataFrame(
        {
            "level": level.number,
            "labelled": np.repeat(np.array(level.classes, dtype=object), n),
            "given": np.tile(np.array(level.classes, dtype=object), n),
            "n_objects": metrics.confusion(p, y).ravel().astype(int),
            "probability": metrics.confusion(p, y, fuzzy=True).ravel(),
        }
    )
