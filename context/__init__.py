"""Context of a source: what its position, catalogues and the objects' own table say of it."""

from importlib import import_module

_NAMES = {
    "context.annotation": ("Annotated", "annotate"),
    "context.annotation_output": ("write_annotated",),
    "context.annotation_positions": ("AnnotateError",),
    "context.catalog": ("SkyCatalog",),
    "context.catalog_hats": ("read_hats",),
    "context.catalog_spec": ("CatalogError", "CatalogSpec"),
    "context.coordinates": ("CoordinateError", "ecliptic", "galactic"),
    "context.crossmatch": ("Neighbours",),
    "context.dust": ("Extinction", "extinction"),
    "context.evidence": (
        *("Condition", "EvidenceColumn", "EvidenceError", "EvidenceSpec", "EvidenceTable", "State"),
    ),
    "context.footprint": ("Footprint",),
    "context.host": ("HostModel",),
    "context.host_association": ("HostAssociation",),
    "context.host_candidates": ("HostCandidates", "find_candidates"),
    "context.host_counts": ("BackgroundCounts", "chance_coincidence", "faint_host_fraction"),
    "context.host_fit": ("HostClassModels", "HostFit", "fit_host_classes", "fit_host_model"),
    "context.host_geometry": ("HostError", "OffsetDensity", "directional_light_radius"),
    "context.known_bodies": ("SolarSystem", "solar_system"),
    "context.nearest": ("NearestError", "log_nearest", "match_probability"),
    "context.nearest_fit": ("NearestModel",),
    "context.nearest_table": ("read_nearest",),
}
# No module has the name of a function: importing it would put the module in the function's place.
_HOME = {name: module for module, names in _NAMES.items() for name in names}
__all__ = [
    "AnnotateError",
    "Annotated",
    "BackgroundCounts",
    "CatalogError",
    "CatalogSpec",
    "Condition",
    "CoordinateError",
    "EvidenceColumn",
    "EvidenceError",
    "EvidenceSpec",
    "EvidenceTable",
    "Extinction",
    "Footprint",
    "HostAssociation",
    "HostCandidates",
    "HostClassModels",
    "HostError",
    "HostFit",
    "HostModel",
    "NearestError",
    "NearestModel",
    "Neighbours",
    "OffsetDensity",
    "SkyCatalog",
    "SolarSystem",
    "State",
    "annotate",
    "chance_coincidence",
    "directional_light_radius",
    "ecliptic",
    "extinction",
    "faint_host_fraction",
    "find_candidates",
    "fit_host_classes",
    "fit_host_model",
    "galactic",
    "log_nearest",
    "match_probability",
    "read_hats",
    "read_nearest",
    "solar_system",
    "write_annotated",
]


def __getattr__(name):
    """Import a public name when it is first used: those who need one part do not wait for all."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__():
    return sorted(set(globals()) | set(__all__))
