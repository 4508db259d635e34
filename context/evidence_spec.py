"""What one piece of evidence is: its column, its kind, and when a missing value means "none found"."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

KINDS = ("categorical", "count", "continuous", "angle")
TRANSFORMS = ("identity", "log10", "asinh")
DERIVATIONS = ("abs_galactic_latitude", "galactic_latitude", "abs_ecliptic_latitude", "ecliptic_latitude")


class EvidenceError(ValueError):
    """An evidence table or the description of its columns can't be used; the message says why."""


class State(IntEnum):
    """What is known of one piece of evidence for one object.

    The three differ in what they say of the class: a measured value is evidence, "searched, and nothing is
    there" is evidence as well, and a place that nobody searched says nothing.
    """

    MEASURED = 0
    NONE = 1
    NOT_COVERED = 2


@dataclass(frozen=True)
class Condition:
    """Rows of the objects' table whose `column` equals `equals`.

    Numbers are compared as numbers and text as text without surrounding blanks. A boolean may be stored as
    true, "True", "true" or 1. A missing value equals nothing.
    """

    column: str
    equals: bool | int | float | str


@dataclass(frozen=True)
class EvidenceSpec:
    """How one evidence column is read from the objects' table.

    Parameters
    ----------
    name : str
        Name of the evidence, and of its node in the network.
    kind : {"categorical", "count", "continuous", "angle"}
        An angle is in degrees and is wrapped to [0, 360).
    unit : str
        Unit of the values in the table, before the transform; "1" or "" for none.
    column : str, optional
        Column of the objects' table.
    derive : str, optional
        One of `DERIVATIONS`, computed from columns ra and dec [deg, ICRS] where `column` has no value.
    error : str, optional
        Column of 1-sigma errors, in the same unit. A value without its error is set aside.
    states : tuple of str
        The categories, for kind "categorical" only.
    transform : {"identity", "log10", "asinh"}
        Applied to the value after the range check; errors follow to first order.
    valid_range : (float, float), optional
        Smallest and largest value that can be believed, both included, before the transform.
    covered : Condition, optional
        Where it holds the object was searched, so that a missing value there is "none".
    none : Condition, optional
        Where it holds the state is "none", whatever the value.

    Raises
    ------
    EvidenceError
        A kind, transform or derivation that is not known, or a combination without meaning.
    """

    name: str
    kind: str
    unit: str = ""
    column: str | None = None
    derive: str | None = None
    error: str | None = None
    states: tuple[str, ...] = ()
    transform: str = "identity"
    valid_range: tuple[float, float] | None = None
    covered: Condition | None = None
    none: Condition | None = None

    def __post_init__(self):
        for key, value, known in (
            ("kind", self.kind, KINDS),
            ("transform", self.transform, TRANSFORMS),
            ("derive", self.derive, (None, *DERIVATIONS)),
        ):
            if value not in known:
                names = ", ".join(name for name in known if name is not None)
                self._refuse(f"{key} must be one of {names}, found {value!r}")
        if self.column is None and self.derive is None:
            self._refuse("needs a column of the objects' table, or a derivation from the position (derive)")
        if self.kind == "categorical":
            if len(self.states) < 2 or len(set(self.states)) < len(self.states):
                self._refuse(
                    f"kind categorical needs two or more different states, found {list(self.states)}"
                )
            if self.valid_range is not None or self.error is not None or self.derive is not None:
                self._refuse("kind categorical takes neither range, error nor derive")
        elif self.states:
            self._refuse(f"states belong to kind categorical only, and the kind is {self.kind}")
        if self.kind in ("categorical", "angle") and self.transform != "identity":
            self._refuse(f"kind {self.kind} takes no transform, found {self.transform!r}")
        if self.kind == "count" and self.error is not None:
            self._refuse("kind count takes no error")
        if self.valid_range is not None:
            low, high = self.valid_range
            if not low < high:
                self._refuse(f"range must be [low, high] with low < high, found [{low:g}, {high:g}]")
            if self.transform == "log10" and low <= 0:
                self._refuse(f"transform log10 needs a range above zero, found [{low:g}, {high:g}]")

    def _refuse(self, what: str):
        raise EvidenceError(f"Evidence {self.name!r}: {what}.")

    def forward(self, value: np.ndarray) -> np.ndarray:
        """Transform values in the table's unit; log10 of a value that is not positive is NaN."""
        if self.transform == "log10":
            return np.log10(np.where(value > 0, value, np.nan))
        return np.arcsinh(value) if self.transform == "asinh" else np.asarray(value, dtype=float)

    def forward_error(self, value: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Return the 1-sigma error of the transformed value, to first order: sigma times |df/dx|."""
        if self.transform == "log10":
            return error / (np.where(value > 0, value, np.nan) * np.log(10.0))
        return (
            error / np.sqrt(1.0 + value**2) if self.transform == "asinh" else np.asarray(error, dtype=float)
        )

    def inverse(self, value: np.ndarray) -> np.ndarray:
        """Return transformed values to the table's unit."""
        if self.transform == "log10":
            return 10.0 ** np.asarray(value, dtype=float)
        return np.sinh(value) if self.transform == "asinh" else np.asarray(value, dtype=float)
