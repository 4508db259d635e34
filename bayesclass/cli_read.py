"""What the commands read: light curves as the recipe wants them, one object, two classes."""

from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from bayesclass.explanation_between import check_between
from bayesclass.recipe import Recipe
from bayesclass.tables import InputError, read_light_curves
from bayesclass.taxonomy import Taxonomy
from structurefn.light_curves import LightCurves

__all__ = ["light_curves", "one_object", "two_classes"]


def light_curves(path: Path | None, recipe: Recipe, *, also: pd.DataFrame | None = None) -> LightCurves:
    """Read a light-curve file with the channels and aliases of a recipe.

    Parameters
    ----------
    path : Path or None
        The file, as `bayesclass.tables.read_light_curves` accepts it; None is no point of any object.
    recipe : Recipe
        Says the channels, their other names and the quantity.
    also : pandas.DataFrame, optional
        A table with object_id; objects that are only there come after those of the file, without a point.

    Returns
    -------
    LightCurves

    Raises
    ------
    InputError
        If the file cannot be used, holds fluxes where the recipe wants magnitudes, or the reverse, or if
        there is neither a file nor a table of objects.
    """
    wanted = recipe.light_curves
    if path is None:
        batch = LightCurves.empty(wanted.channels, wanted.quantity)
        if also is None:
            raise InputError(
                f"Recipe {recipe.name} needs light curves or objects, and neither was given: name "
                "--light-curves FILE, or --objects FILE for context alone."
            )
        return batch.with_objects(pd.unique(also["object_id"]))
    batch = read_light_curves(path, channels=wanted.channels, aliases=wanted.aliases)
    if batch.quantity != wanted.quantity:
        raise InputError(
            f"{path} must hold {wanted.quantity} for recipe {recipe.name}, but it holds {batch.quantity}: "
            "convert it or use a recipe for that quantity."
        )
    return batch if also is None else batch.with_objects(pd.unique(also["object_id"]))


def one_object(
    batch: LightCurves, objects: pd.DataFrame | None, object_id: str
) -> tuple[LightCurves, pd.DataFrame | None]:
    """Choose one object of the light curves and of the objects' table.

    Raises
    ------
    InputError
        If there is no such object; the sentence names those that are spelled alike.
    """
    index = np.flatnonzero(batch.object_id == object_id)
    if not index.size:
        alike = get_close_matches(object_id, batch.object_id.tolist(), n=3) or batch.object_id[:3].tolist()
        raise InputError(
            f"OBJECT_ID must be one of the {batch.n_objects} objects of the input, but {object_id!r} is not "
            f"(there is {', '.join(alike)}): check its spelling."
        )
    table = None if objects is None else objects[objects["object_id"] == object_id].reset_index(drop=True)
    return batch.take_objects(index), table


def two_classes(text: str, taxonomy: Taxonomy) -> tuple[str, str]:
    """Read two classes of the tree, separated by a comma.

    Raises
    ------
    ValueError
        Of our own kinds: not two, or as `bayesclass.explanation_between.check_between`.
    """
    names = tuple(name.strip() for name in text.split(","))
    if len(names) != 2:
        known = ", ".join((*taxonomy.leaves, *taxonomy.nodes))
        raise InputError(
            f"--between must be two classes separated by a comma, found {text!r}; known: {known}."
        )
    check_between(taxonomy, names)
    return names
