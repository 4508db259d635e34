"""The tables [[matches]] of a recipe: catalogues whose nearest source is evidence."""

from __future__ import annotations

from collections.abc import Iterable

from bayesclass.recipe_schema import CLASS_NODE, MatchSpec
from bayesclass.recipe_section import Section


def read_matches(top: Section, taken: Iterable[str]) -> tuple[MatchSpec, ...]:
    """Read [[matches]]; names in `taken` belong to streams, evidence and joint densities."""
    taken = {CLASS_NODE, *taken}
    specs: list[MatchSpec] = []
    for section in top.tables("matches", ("name", "radius", "scatter", "shared_scatter", "title")):
        name = section.text("name")
        # Among the reasons a match stands under a name of its own.
        if taken & {name, f"{name} match"} or name in [spec.name for spec in specs]:
            section.fail(
                "name",
                "must differ from the names of other matches, streams and evidence, and from class",
                name,
            )
        shared = section.get("shared_scatter", "true or false", False)
        if not isinstance(shared, bool):
            section.fail("shared_scatter", "must be true or false", shared)
        spec = MatchSpec(
            name=name,
            radius=_positive(section, "radius"),
            scatter=_positive(section, "scatter", MatchSpec.scatter),
            shared_scatter=shared,
            title=section.text("title", ""),
        )
        specs.append(spec)
    return tuple(specs)


def write_matches(matches: Iterable[MatchSpec]) -> dict:
    """Return [[matches]] under their key, nothing where there is none."""
    tables = [{key: value for key, value in vars(spec).items() if value != ""} for spec in matches]
    return {"matches": tables} if tables else {}


def _positive(section: Section, key: str, *default: float) -> float:
    value = section.number(key, default=default[0]) if default else section.number(key)
    if value <= 0:
        section.fail(key, "must be a number of arcsec above zero", value)
    return value
