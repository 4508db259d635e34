"""Recipes: one TOML file says the classes, the streams, the evidence and the network of a classifier."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

from bayesclass import recipe_parts as parts
from bayesclass.network_spec import NetworkError
from bayesclass.recipe_matches import read_matches, write_matches
from bayesclass.recipe_network import read_network, write_network
from bayesclass.recipe_schema import (
    STREAM_KINDS,
    STREAM_OPTIONS,
    ClassSpec,
    FeatureSpec,
    FitSpec,
    LightCurveSpec,
    MatchSpec,
    NetworkEdges,
    StreamSpec,
)
from bayesclass.recipe_section import RecipeError, Section
from bayesclass.taxonomy import Taxonomy, TaxonomyError
from bayesclass.virtual_posteriors import PosteriorSpec
from context.evidence import EvidenceSpec, EvidenceTable

__all__ = [
    "STREAM_KINDS",
    "STREAM_OPTIONS",
    "ClassSpec",
    "FeatureSpec",
    "FitSpec",
    "LightCurveSpec",
    "MatchSpec",
    "NetworkEdges",
    "Recipe",
    "RecipeError",
    "StreamSpec",
    "shipped_recipes",
]

SCHEMA = 1
_KEYS = (
    "schema",
    "name",
    "title",
    "classes",
    "light_curves",
    "streams",
    "evidence",
    "matches",
    "network",
    "features",
    "fit",
)


def shipped_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files("bayesclass") / "recipes"
    return tuple(sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml")))


@dataclass(frozen=True)
class Recipe:
    """What a classifier is made of, checked.

    Make one with `Recipe.load` or `Recipe.from_dict`; docs/recipes.md has every key.

    Attributes
    ----------
    name, title : str
    classes : ClassSpec
        Columns with the labels, and the class tree as written; `taxonomy` is the tree itself.
    light_curves : LightCurveSpec
    streams : tuple of StreamSpec
    evidence : tuple of EvidenceSpec
    network : NetworkEdges
        As written; `edges` has those that are implied as well.
    fit : FitSpec
    matches : tuple of MatchSpec
    features : FeatureSpec or None
        The expert on published features, if there is one.
    """

    name: str
    title: str
    classes: ClassSpec
    light_curves: LightCurveSpec
    streams: tuple[StreamSpec, ...] = ()
    evidence: tuple[EvidenceSpec, ...] = ()
    network: NetworkEdges = field(default_factory=NetworkEdges)
    fit: FitSpec = field(default_factory=FitSpec)
    matches: tuple[MatchSpec, ...] = ()
    features: FeatureSpec | None = None

    @classmethod
    def load(cls, name_or_path: str | os.PathLike) -> Recipe:
        """Read a recipe that comes with the package, by name, or one of your own, by path.

        A name is taken as a path when it ends in ".toml" or has a folder in it.

        Raises
        ------
        RecipeError
            No such recipe or file, no valid TOML (with its line), or a key that is missing, unknown or wrong.
        """
        given = os.fspath(name_or_path)
        if given in shipped_recipes():
            source = f"{given}.toml"
            raw = (resources.files("bayesclass") / "recipes" / source).read_bytes()
        else:
            source, raw = given, _read(given)
        try:
            data = tomllib.loads(raw.decode("utf-8"))
        except UnicodeDecodeError:
            raise RecipeError(f"{source}: a recipe must be text in UTF-8, and this file is not.") from None
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{source}: not valid TOML: {error}.") from None
        return cls.from_dict(data, source=source)

    @classmethod
    def from_dict(cls, data: dict, *, source: str = "recipe") -> Recipe:
        """Check a recipe given as the tables of its TOML file; `source` names it in messages.

        Raises
        ------
        RecipeError
            A key that is missing, unknown or wrong.
        """
        top = Section(source, "", data, _KEYS)
        schema = top.get("schema", f"{SCHEMA}")
        if isinstance(schema, bool) or schema != SCHEMA:
            top.fail("schema", f"must be {SCHEMA}, the only format that this version reads", schema)
        light_curves = parts.read_light_curves(top)
        streams = parts.read_streams(top, light_curves)
        evidence = parts.read_evidence(top, [stream.name for stream in streams])
        parts.check_references(source, streams, evidence)
        network = read_network(top, evidence)
        named = (*streams, *evidence, *network.joint, *network.latent, *network.posteriors)
        matches = read_matches(top, [spec.name for spec in named])
        if not (streams or evidence or matches or network.posteriors):
            top.fail(
                "streams",
                "must have an entry, or evidence must, or matches: there is nothing to classify with",
            )
        recipe = cls(
            name=top.text("name"),
            title=top.text("title", ""),
            classes=parts.read_classes(top),
            light_curves=light_curves,
            streams=streams,
            evidence=evidence,
            network=network,
            fit=parts.read_fit(top),
            matches=matches,
            features=parts.read_features(top, evidence),
        )
        parts.check_redshifted(source, recipe.fit, light_curves, recipe.features)
        try:
            recipe.posteriors  # noqa: B018 (which leaves their columns belong to is checked here)
        except (NetworkError, TaxonomyError) as error:
            raise RecipeError(f"{source}: network.posteriors: {error}") from None
        return recipe

    def to_dict(self) -> dict:
        """Return the recipe as plain tables, for JSON; `from_dict` gives the same recipe back."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            **({"title": self.title} if self.title else {}),
            "classes": parts.write_classes(self.classes),
            "light_curves": parts.write_light_curves(self.light_curves),
            "streams": [parts.write_stream(stream) for stream in self.streams],
            "evidence": [parts.write_evidence(spec) for spec in self.evidence],
            **write_matches(self.matches),
            "network": write_network(self.network),
            **({"features": parts.write_features(self.features)} if self.features else {}),
            "fit": parts.write_fit(self.fit),
        }

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The class tree."""
        return Taxonomy(self.classes.leaves, self.classes.nodes, self.classes.labels)

    @property
    def posteriors(self) -> tuple[tuple[PosteriorSpec, np.ndarray], ...]:
        """Other tools' posteriors, each with the column that every leaf belongs to."""
        tree = self.taxonomy
        return tuple((spec, spec.groups(tree.leaves, tree.leaves_of)) for spec in self.network.posteriors)

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Every edge of the network: the implied ones from "class" first, then those written down."""
        written = self.network.edges
        implied = (
            ("class", node.name)
            for node in (*self.network.latent, *self.evidence)
            if node.name not in self.network.no_class_edge
        )
        return tuple(dict.fromkeys((*implied, *written)))

    def read_evidence(self, objects: pd.DataFrame | None, *, object_ids=None) -> EvidenceTable:
        """Read evidence and matches from an objects' table; see `EvidenceTable.from_frame`."""
        names = [match.name for match in self.matches]
        of_posteriors = (own for spec in self.network.posteriors for own in spec.evidence)
        specs = (*self.evidence, *of_posteriors)
        return EvidenceTable.from_frame(objects, specs, object_ids=object_ids, matches=names)

    def raw_labels(self, objects: pd.DataFrame) -> np.ndarray:
        """Return each object's raw label: the label's column, and where it is empty the partial label's.

        Parameters
        ----------
        objects : DataFrame
            One row an object.

        Returns
        -------
        object array of str, shape (n_objects,)
            "" where there is none.

        Raises
        ------
        RecipeError
            The label's column is not in the table (one without a partial label's column is used as it is).
        """
        if self.classes.label not in objects:
            raise RecipeError(
                f"Recipe {self.name} takes its labels from column {self.classes.label!r}, and the objects' "
                f"table has {', '.join(map(str, objects.columns)) or 'no column'}; rename the column or "
                "change classes.label."
            )
        labels = _text(objects[self.classes.label])
        if self.classes.partial_label in objects:
            labels = np.where(labels == "", _text(objects[self.classes.partial_label]), labels)
        return labels


def _text(series: pd.Series) -> np.ndarray:
    cells = ["" if gone else str(cell).strip() for cell, gone in zip(series, series.isna(), strict=True)]
    return np.array(cells, dtype=object)


def _read(given: str) -> bytes:
    path = Path(given)
    if path.suffix != ".toml" and path.name == given and not path.is_file():
        raise RecipeError(
            f"There is no recipe {given!r}; shipped are {', '.join(shipped_recipes())}, "
            "and a recipe of your own is given by the path of its .toml file."
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecipeError(f"{given}: the recipe can't be read ({error.strerror}).") from None
