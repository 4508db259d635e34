"""The table [network] of a recipe: edges, and columns described together."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from bayesclass.network_spec import JointSpec
from bayesclass.recipe_parts import one_of
from bayesclass.recipe_schema import CLASS_NODE, LEARN_METHODS, NetworkEdges
from bayesclass.recipe_section import Section
from context.evidence import EvidenceSpec


def read_network(top: Section, specs: tuple[EvidenceSpec, ...]) -> NetworkEdges:
    """Read [network]: edges between "class" and evidence, without a cycle, and joint densities."""
    section = top.table("network", ("edges", "no_class_edge", "joint", "learn", "forbidden"))
    evidence = [spec.name for spec in specs]
    written = section.get("edges", "a list of [parent, child]", [])
    if not isinstance(written, list | tuple):
        section.fail("edges", "must be a list of [parent, child]", written)
    edges: list[tuple[str, str]] = []
    for edge in written:
        if not isinstance(edge, list | tuple) or len(edge) != 2 or not all(isinstance(e, str) for e in edge):
            section.fail("edges", "must be a list of [parent, child]", edge)
        parent, child = edge
        for end in edge:
            one_of(section, "edges", end, (CLASS_NODE, *evidence))
        if child == CLASS_NODE:
            section.fail(
                "edges", f'may not lead to "{CLASS_NODE}": evidence follows from the class', list(edge)
            )
        if (parent, child) in edges:
            section.fail("edges", "must name each edge once", list(edge))
        edges.append((parent, child))
    alone = section.strings("no_class_edge", ())
    for name in alone:
        one_of(section, "no_class_edge", name, evidence)
        if (CLASS_NODE, name) in edges:
            section.fail("no_class_edge", f'contradicts the edge ["{CLASS_NODE}", "{name}"]')
        if not any(name in edge for edge in edges):
            section.fail(
                "no_class_edge", f"leaves {name!r} without any edge; give it one or remove the evidence"
            )
    parents: dict[str, set[str]] = {}
    for parent, child in edges:
        parents.setdefault(child, set()).add(parent)
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        section.fail("edges", f"must have no cycle, found {' -> '.join(error.args[1])}")
    joint = _read_joint(section, specs)
    taken = {name: block.name for block in joint for name in block.columns}
    for parent, child in edges:
        for end in (parent, child):
            if end in taken and parent != CLASS_NODE:
                section.fail(
                    "edges", f"may not touch {end!r} of joint density {taken[end]!r}", [parent, child]
                )
    for name in alone:
        if name in taken:
            section.fail("no_class_edge", f"may not list {name!r} of joint density {taken[name]!r}")
    learn = section.choice("learn", LEARN_METHODS) if "learn" in section else None
    forbidden = _read_forbidden(section, evidence, edges)
    if forbidden and learn is None:
        section.fail("forbidden", 'needs learn = "tree" or "hill-climb"', list(forbidden[0]))
    return NetworkEdges(tuple(edges), alone, joint, learn, forbidden)


def _read_forbidden(section: Section, evidence: list[str], edges) -> tuple[tuple[str, str], ...]:
    """Read pairs of evidence that learning does not join, in either direction."""
    written = section.get("forbidden", "a list of pairs of evidence", [])
    if not isinstance(written, list | tuple):
        section.fail("forbidden", "must be a list of pairs of evidence", written)
    found: list[tuple[str, str]] = []
    for pair in written:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(p, str) for p in pair):
            section.fail("forbidden", "must be a list of pairs of evidence", pair)
        for name in pair:
            one_of(section, "forbidden", name, evidence)
        if pair[0] == pair[1]:
            section.fail("forbidden", "must pair different evidence", list(pair))
        for edge in (tuple(pair), tuple(pair)[::-1]):
            if edge in edges:
                section.fail("forbidden", f"contradicts the edge {list(edge)}")
        found.append(tuple(pair))
    return tuple(found)


def _read_joint(network: Section, specs: tuple[EvidenceSpec, ...]) -> tuple[JointSpec, ...]:
    """Read [[network.joint]]: columns of continuous evidence, each in one block."""
    usable = [spec.name for spec in specs if spec.kind == "continuous"]
    found: list[JointSpec] = []
    for section in network.tables("joint", ("name", "columns", "components")):
        name, columns = section.text("name"), section.strings("columns")
        if name in (CLASS_NODE, *(spec.name for spec in specs), *(block.name for block in found)):
            section.fail("name", "must differ from the names of evidence, joint densities and class", name)
        for column in columns:
            if column not in usable:
                section.fail(
                    "columns",
                    f"must be continuous evidence ({', '.join(usable) or 'there is none'})",
                    column,
                )
            owner = [block.name for block in found if column in block.columns]
            if owner:
                section.fail("columns", f"may not share a column with joint density {owner[0]!r}", column)
        if len(columns) < 2 or len(set(columns)) < len(columns):
            section.fail("columns", "must be two or more different names", list(columns))
        components = section.integer("components", at_least=1, default=JointSpec.components)
        found.append(JointSpec(name, columns, components))
    return tuple(found)


def write_network(network: NetworkEdges) -> dict:
    """Return [network] as a plain table."""
    table: dict = {
        "edges": [list(edge) for edge in network.edges],
        "no_class_edge": list(network.no_class_edge),
    }
    if network.learn is not None:
        table["learn"] = network.learn
        if network.forbidden:
            table["forbidden"] = [list(pair) for pair in network.forbidden]
    if network.joint:
        table["joint"] = [{**vars(block), "columns": list(block.columns)} for block in network.joint]
    return table
