"""The tables of a recipe read with every check, and written back as plain dictionaries."""

from __future__ import annotations

from bayesclass.recipe_schema import (
    CLASS_NODE,
    FEATURE_CLASSIFIERS,
    PAIR_STREAM_KINDS,
    PHOTOMETRY,
    QUANTITIES,
    STREAM_KINDS,
    STREAM_OPTIONS,
    ClassSpec,
    FeatureSpec,
    FitSpec,
    LightCurveSpec,
    StreamSpec,
)
from bayesclass.recipe_section import RecipeError, Section, is_number
from bayesclass.taxonomy import Taxonomy, TaxonomyError
from context.evidence import Condition, EvidenceError, EvidenceSpec
from context.evidence_spec import DERIVATIONS, KINDS, TRANSFORMS


def read_classes(top: Section) -> ClassSpec:
    """Read [classes] and check its tree."""
    keys = ("label", "partial_label", "leaves", "nodes", "labels")
    section = top.table("classes", keys, required=True)
    nodes = section.table("nodes", None)
    labels = section.table("labels", None)
    spec = ClassSpec(
        label=section.text("label"),
        leaves=section.strings("leaves"),
        partial_label=section.text("partial_label", None),
        nodes={node: nodes.strings(node) for node in nodes.data},
        labels={
            label: (to,) if isinstance(to, str) else labels.strings(label)
            for label, to in labels.data.items()
        },
    )
    try:
        Taxonomy(spec.leaves, spec.nodes, spec.labels)
    except TaxonomyError as error:
        raise RecipeError(f"{top.source}: classes: {error}") from None
    return spec


def read_light_curves(top: Section) -> LightCurveSpec:
    """Read [light_curves]."""
    keys = ("quantity", "photometry", "channels", "night", "systematic", "softening", "aliases", "wavelength")
    section = top.table("light_curves", keys, required=True)
    quantity = section.choice("quantity", QUANTITIES)
    channels = section.strings("channels")
    if not channels:
        section.fail("channels", 'must name at least one channel, as "SURVEY/band"', list(channels))
    for i, channel in enumerate(channels):
        survey, _, band = channel.partition("/")
        if not survey or not band or "/" in band:
            section.fail("channels", 'must be written "SURVEY/band"', channel)
        if channel in channels[:i]:
            section.fail("channels", f"must name each channel once, and {channel!r} is there twice")
    softening = section.table("softening", None)
    if softening.data and quantity != "flux":
        section.fail("softening", f'belongs to quantity "flux", and the quantity is "{quantity}"')
    for channel, flux in softening.data.items():
        one_of(softening, channel, channel, channels)
        if not is_number(flux) or flux <= 0:
            softening.fail(channel, "must be a flux above zero", flux)
    aliases = section.table("aliases", None)
    for alias in aliases.data:
        one_of(aliases, alias, aliases.text(alias), channels)
        if alias in channels:
            aliases.fail(alias, "is itself a channel, so it can't be another name of one")
    wavelength = section.table("wavelength", None)
    for channel, value in wavelength.data.items():
        one_of(wavelength, channel, channel, channels)
        if not is_number(value) or value <= 0:
            wavelength.fail(channel, "must be a wavelength above zero [Angstrom]", value)
    return LightCurveSpec(
        quantity=quantity,
        photometry=section.choice("photometry", PHOTOMETRY),
        channels=channels,
        night=section.number("night", at_least=0.0, default=0.0),
        systematic=section.number("systematic", at_least=0.0, default=0.0),
        softening={channel: float(flux) for channel, flux in softening.data.items()},
        aliases=dict(aliases.data),
        wavelength={channel: float(value) for channel, value in wavelength.data.items()},
    )


def read_streams(top: Section, light_curves: LightCurveSpec) -> tuple[StreamSpec, ...]:
    """Read [[streams]]."""
    streams: list[StreamSpec] = []
    for section in top.tables("streams"):
        kind = section.choice("kind", STREAM_KINDS)
        options = STREAM_OPTIONS[kind]
        Section(section.source, section.path, section.data, ("name", "kind", "channels", *options))
        name, channels = section.text("name"), section.strings("channels")
        for channel in channels:
            one_of(section, "channels", channel, light_curves.channels)
        if kind == "limits" and light_curves.quantity != "mag":
            section.fail(
                "kind", 'belongs to quantity "mag"; of fluxes the negative ones say what limits do', kind
            )
        if kind == "contrast":
            section.text("reference")
            if light_curves.quantity != "mag":
                section.fail("kind", 'belongs to quantity "mag"', kind)
        if kind in PAIR_STREAM_KINDS and len(channels) != 2:
            section.fail(
                "channels", "must be two channels, the same twice or an ordered pair", list(channels)
            )
        if kind not in PAIR_STREAM_KINDS and (not channels or len(set(channels)) < len(channels)):
            section.fail("channels", "must be one or more different channels", list(channels))
        _unique(section, name, [stream.name for stream in streams])
        given = {key: section.data[key] for key in options if key in section}
        for key, value in given.items():
            if key in ("lag_range", "period_range"):
                if not _is_lag_range(value):
                    section.fail(key, "must be two positive numbers in ascending order [day]", value)
            elif key == "weight":
                if not is_number(value) or value <= 0:
                    section.fail(key, "must be a number above zero", value)
            elif key == "limit":
                if not is_number(value):
                    section.fail(key, "must be a magnitude", value)
            elif key != "reference" and not isinstance(value, bool):
                section.fail(key, "must be true or false", value)
        streams.append(StreamSpec(name, kind, channels, given))
    return tuple(streams)


def check_references(
    source: str, streams: tuple[StreamSpec, ...], evidence: tuple[EvidenceSpec, ...]
) -> None:
    """Refuse a stream whose reference is not an archival magnitude among the evidence."""
    usable = [
        spec.name
        for spec in evidence
        if spec.kind == "continuous" and spec.unit == "mag" and spec.transform == "identity"
    ]
    for stream in streams:
        reference = stream.options.get("reference")
        if reference is not None and reference not in usable:
            raise RecipeError(
                f"{source}: streams[{stream.name}].reference must name a continuous evidence in mag, without "
                f"transform ({', '.join(usable) or 'there is none'}), found {reference!r}."
            )


def _is_lag_range(value: object) -> bool:
    if not (isinstance(value, list) and len(value) == 2 and all(is_number(v) for v in value)):
        return False
    return 0 < value[0] < value[1]


def read_evidence(top: Section, taken: list[str]) -> tuple[EvidenceSpec, ...]:
    """Read [[evidence]]; names in `taken` belong to streams."""
    keys = (
        "name",
        "column",
        "derive",
        "kind",
        "unit",
        "error",
        "states",
        "transform",
        "range",
        "covered",
        "none",
    )
    specs: list[EvidenceSpec] = []
    for section in top.tables("evidence", keys):
        name = section.text("name")
        _unique(section, name, [*taken, CLASS_NODE, *(spec.name for spec in specs)])
        bounds = section.get("range", "two numbers", None)
        if bounds is not None:
            if not isinstance(bounds, list | tuple) or len(bounds) != 2 or not all(map(is_number, bounds)):
                section.fail("range", "must be two finite numbers, [low, high]", bounds)
            bounds = (float(bounds[0]), float(bounds[1]))
        derive = section.choice("derive", DERIVATIONS) if "derive" in section else None
        try:
            spec = EvidenceSpec(
                name=name,
                kind=section.choice("kind", KINDS),
                unit=section.text("unit", ""),
                column=section.text("column", None),
                derive=derive,
                error=section.text("error", None),
                states=section.strings("states", ()),
                transform=section.choice("transform", TRANSFORMS, "identity"),
                valid_range=bounds,
                covered=_condition(section, "covered"),
                none=_condition(section, "none"),
            )
        except EvidenceError as error:
            raise RecipeError(f"{section.source}: {section.path}: {error}") from None
        specs.append(spec)
    return tuple(specs)


def read_features(top: Section, evidence: tuple[EvidenceSpec, ...]) -> FeatureSpec | None:
    """Read [features]; None where the recipe has no such table."""
    if "features" not in top:
        return None
    section = top.table("features", ("classifier", "period", "transient", "redshift", "select"))
    switches = {name: section.get(name, "true or false", False) for name in ("period", "transient")}
    for name, value in switches.items():
        if not isinstance(value, bool):
            section.fail(name, "must be true or false", value)
    redshift = None
    if "redshift" in section:
        redshift = section.text("redshift")
        if not switches["transient"]:
            section.fail("redshift", "is for features of transients, and needs transient = true", redshift)
        known = [spec.name for spec in evidence if spec.kind == "continuous"]
        if redshift not in known:
            expected = f"must name continuous evidence ({', '.join(known) or 'there is none'})"
            section.fail("redshift", expected, redshift)
    return FeatureSpec(
        section.choice("classifier", FEATURE_CLASSIFIERS, FeatureSpec.classifier),
        **switches,
        redshift=redshift,
        select=section.integer("select", at_least=1, default=1) if "select" in section else None,
    )


def read_fit(top: Section) -> FitSpec:
    """Read [fit]."""
    least = {"folds": 2, "versions": 0, "draws": 1, "seed": 0, "min_points": 1, "max_points": 1}
    least["redshifted"] = 0
    section = top.table("fit", (*least, "selected_by", "redshifted_up_to"))
    default, bounded = vars(FitSpec()), "redshifted_up_to" in section
    spec = FitSpec(
        **{key: section.integer(key, at_least=low, default=default[key]) for key, low in least.items()},
        selected_by=section.strings("selected_by", ()),
        redshifted_up_to=section.integer("redshifted_up_to", at_least=1, default=1) if bounded else None,
    )
    if spec.max_points < spec.min_points:
        section.fail("max_points", f"must be at least min_points ({spec.min_points})", spec.max_points)
    return spec


def check_redshifted(
    source: str, fit: FitSpec, light_curves: LightCurveSpec, features: FeatureSpec | None
) -> None:
    """Refuse light curves at other redshifts where the recipe does not say what that takes."""
    for channel in fit.selected_by:
        if channel not in light_curves.channels:
            raise RecipeError(
                f"{source}: fit.selected_by must be among {', '.join(light_curves.channels)}, found "
                f"{channel!r}."
            )
    if not fit.redshifted:
        return
    if light_curves.quantity != "flux" or light_curves.photometry != "difference":
        raise RecipeError(
            f'{source}: fit.redshifted needs quantity "flux" and photometry "difference", found '
            f'"{light_curves.quantity}" and "{light_curves.photometry}".'
        )
    without = [channel for channel in light_curves.channels if channel not in light_curves.wavelength]
    if without:
        raise RecipeError(
            f"{source}: fit.redshifted needs [light_curves.wavelength] of every channel, and "
            f"{', '.join(without)} has none."
        )
    if features is None or features.redshift is None:
        raise RecipeError(f"{source}: fit.redshifted needs features.redshift, the evidence with redshifts.")


def write_fit(spec: FitSpec) -> dict:
    """Return [fit] as a plain table."""
    plain = {**vars(spec), "selected_by": list(spec.selected_by)}
    return {key: value for key, value in plain.items() if value is not None}


def write_features(spec: FeatureSpec) -> dict:
    """Return [features] as a plain table."""
    return {key: value for key, value in vars(spec).items() if value is not None}


def write_classes(spec: ClassSpec) -> dict:
    """Return [classes] as a plain table."""
    return {
        "label": spec.label,
        **({"partial_label": spec.partial_label} if spec.partial_label else {}),
        "leaves": list(spec.leaves),
        "nodes": {node: list(members) for node, members in spec.nodes.items()},
        "labels": {label: list(to) for label, to in spec.labels.items()},
    }


def write_light_curves(spec: LightCurveSpec) -> dict:
    """Return [light_curves] as a plain table."""
    table = {**vars(spec), "channels": list(spec.channels), "aliases": dict(spec.aliases)}
    return {**table, "softening": dict(spec.softening)}


def write_stream(spec: StreamSpec) -> dict:
    """Return one of [[streams]] as a plain table."""
    return {"name": spec.name, "kind": spec.kind, "channels": list(spec.channels), **spec.options}


def write_evidence(spec: EvidenceSpec) -> dict:
    """Return one of [[evidence]] as a plain table."""
    table = {key: value for key, value in vars(spec).items() if value not in (None, "", ())}
    if spec.valid_range is not None:
        table["range"] = list(table.pop("valid_range"))
    if spec.states:
        table["states"] = list(spec.states)
    for key in ("covered", "none"):
        if key in table:
            table[key] = dict(vars(table[key]))
    return table


def _condition(section: Section, key: str) -> Condition | None:
    if key not in section:
        return None
    rule = section.table(key, ("column", "equals"))
    equals = rule.get("equals", "true, false, a number or text")
    if not isinstance(equals, bool | int | float | str):
        rule.fail("equals", "must be true, false, a number or text", equals)
    return Condition(rule.text("column"), equals)


def one_of(section: Section, key: str, name: str, known):
    """Refuse a name that is not known."""
    if name not in known:
        section.fail(key, f"must be among {', '.join(known) or 'none (there are none)'}", name)


def _unique(section: Section, name: str, taken):
    if name in taken:
        section.fail("name", "must differ from the names of other streams and evidence, and from class", name)
