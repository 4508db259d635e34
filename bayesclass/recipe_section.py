"""Checked reading of a recipe's tables: every error names the file, the key and what was expected."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence


class RecipeError(ValueError):
    """A recipe that can't be used; the message names the file, the key and what was expected."""


_REQUIRED = object()


class Section:
    """One table of a recipe, read key by key.

    Parameters
    ----------
    source : str
        File or name of the recipe, for messages.
    path : str
        Name of the table as a reader of the file would write it, "" at the top.
    data : dict
    known : sequence of str, or None
        Keys that the table may have; None where its keys are the user's own names.

    Raises
    ------
    RecipeError
        `data` is not a table, or has a key that is not known.
    """

    def __init__(self, source: str, path: str, data: object, known: Sequence[str] | None):
        self.source, self.path = source, path
        if not isinstance(data, dict):
            raise RecipeError(f"{source}: {path or 'the recipe'} must be a table, found {_shown(data)}.")
        self.data = data
        if known is None:
            return
        for key in data:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                hint = f"; did you mean {close[0]}?" if close else "."
                where = f"in [{path}]" if path else "at the top of a recipe"
                raise RecipeError(
                    f"{source}: {self.name(key)} is not a key {where}, which has {', '.join(known)}{hint}"
                )

    def name(self, key: str) -> str:
        """Return the full name of a key."""
        return f"{self.path}.{key}" if self.path else str(key)

    def fail(self, key: str, expected: str, found: object = _REQUIRED):
        """Raise a `RecipeError`: key, what was expected and, if given, what was found."""
        ending = "" if found is _REQUIRED else f", found {_shown(found)}"
        raise RecipeError(f"{self.source}: {self.name(key)} {expected}{ending}.")

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def get(self, key: str, expected: str, default: object = _REQUIRED) -> object:
        """Return a value as it stands; `expected` is said where a required one is missing."""
        if key in self.data:
            return self.data[key]
        if default is _REQUIRED:
            raise RecipeError(f"{self.source}: {self.name(key)} is missing; it must be {expected}.")
        return default

    def text(self, key: str, default: object = _REQUIRED) -> str | None:
        """Return text that is not empty."""
        value = self.get(key, "text", default)
        if key in self.data and (not isinstance(value, str) or not value.strip()):
            self.fail(key, "must be text that is not empty", value)
        return value

    def choice(self, key: str, options: Sequence[str], default: object = _REQUIRED) -> str:
        """Return one of `options`."""
        expected = f"one of {', '.join(options)}"
        value = self.get(key, expected, default)
        if value not in options:
            close = difflib.get_close_matches(str(value), options, n=1)
            self.fail(key, f"must be {expected}" + (f" (did you mean {close[0]}?)" if close else ""), value)
        return value

    def integer(self, key: str, *, at_least: int, default: int) -> int:
        """Return a whole number."""
        value = self.get(key, "a whole number", default)
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            self.fail(key, f"must be a whole number of {at_least} or more", value)
        return value

    def number(self, key: str, *, at_least: float = -math.inf, default: object = _REQUIRED) -> float:
        """Return a finite number."""
        value = self.get(key, "a number", default)
        if not is_number(value) or value < at_least:
            bound = "" if at_least == -math.inf else f" of {at_least:g} or more"
            self.fail(key, f"must be a finite number{bound}", value)
        return float(value)

    def strings(self, key: str, default: object = _REQUIRED) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.get(key, "a list of texts", default)
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) and v.strip() for v in value):
            self.fail(key, "must be a list of texts that are not empty", value)
        return tuple(value)

    def table(self, key: str, known: Sequence[str] | None, *, required: bool = False) -> Section:
        """Return a table inside this one, empty where it is missing and not required."""
        value = self.get(key, "a table", _REQUIRED if required else {})
        return Section(self.source, self.name(key), value, known)

    def tables(self, key: str, known: Sequence[str] | None = None) -> list[Section]:
        """Return an array of tables, numbered from 1 in messages, with their names where they have one."""
        value = self.get(key, "an array of tables", [])
        if not isinstance(value, list | tuple):
            self.fail(key, f"must be an array of tables, written [[{key}]]", value)
        sections = []
        for i, entry in enumerate(value, start=1):
            name = entry.get("name") if isinstance(entry, dict) else None
            place = f"{key}[{name if isinstance(name, str) else i}]"
            sections.append(Section(self.source, self.name(place), entry, known))
        return sections


def is_number(value: object) -> bool:
    """Return whether a TOML or JSON value is a finite number (a boolean is not)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
