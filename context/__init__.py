"""Context of a source: evidence columns from its position and from the objects' table."""

from context.coordinates import CoordinateError, ecliptic, galactic
from context.evidence import Condition, EvidenceColumn, EvidenceError, EvidenceSpec, EvidenceTable, State

__all__ = [
    "Condition",
    "CoordinateError",
    "EvidenceColumn",
    "EvidenceError",
    "EvidenceSpec",
    "EvidenceTable",
    "State",
    "ecliptic",
    "galactic",
]
