"""The table [network] of a recipe: edges, columns described together, and how columns are described."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from bayesclass.network_spec import MISSING_CELLS, JointSpec, LatentSpec, NetworkError
from bayesclass.nodes import DENSITIES, TABLES
from bayesclass.recipe_parts import one_of
from bayesclass.recipe_schema import CLASS_NODE, LEARN_METHODS, NetworkEdges
from bayesclass.recipe_section import RecipeError, Section
from bayesclass.virtual_posteriors import PRIORS, PosteriorSpec
from context.evidence import EvidenceSpec

KEYS = (
    "edges",
    "no_class_edge",
    "joint",
    "learn",
    "forbidden",
    "densities",
    "tables",
    "latent",
    "missing_cells",
    "posteriors",
)


def read_network(top: Section, specs: tuple[EvidenceSpec, ...]) -> NetworkEdges:
    """Read [network]: edges between "class" and evidence, without a cycle, and joint densities."""
    section = top.table("network", KEYS)
    evidence = [spec.name for spec in specs]
    latent = _read_latent(section, evidence)
    ends = [CLASS_NODE, *(node.name for node in latent), *evidence]
    written = section.get("edges", "a list of [parent, child]", [])
    if not isinstance(written, list | tuple):
        section.fail("edges", "must be a list of [parent, child]", written)
    edges: list[tuple[str, str]] = []
    for edge in written:
        if not isinstance(edge, list | tuple) or len(edge) != 2 or not all(isinstance(e, str) for e in edge):
            section.fail("edges", "must be a list of [parent, child]", edge)
        parent, child = edge
        for end in edge:
            one_of(section, "edges", end, ends)
        if child == CLASS_NODE:
            section.fail(
                "edges", f'may not lead to "{CLASS_NODE}": evidence follows from the class', list(edge)
            )
        if (parent, child) in edges:
            section.fail("edges", "must name each edge once", list(edge))
        edges.append((parent, child))
    alone = section.strings("no_class_edge", ())
    for name in alone:
        one_of(section, "no_class_edge", name, ends[1:])
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
    densities, tables = _read_choices(section, specs, taken)
    for name in (name for name, own in tables.items() if own == "pooled"):
        if name in alone or not any(child == name and parent != CLASS_NODE for parent, child in edges):
            section.fail("tables", f"can't pool {name!r}: it needs the class and another parent, as a survey")
    for node in latent:
        if not any(parent == node.name for parent, _ in edges):
            section.fail("latent", f"needs an edge from {node.name!r}: it is learned from its children")
        if node.name in (block.name for block in joint):
            section.fail("latent", "must differ from the names of joint densities", node.name)
        if learn is not None:
            section.fail("learn", "can't choose edges beside a latent node; write the edges", learn)
    missing = section.choice("missing_cells", MISSING_CELLS, NetworkEdges.missing_cells)
    taken = [CLASS_NODE, *ends, *(block.name for block in joint)]
    posteriors = _read_posteriors(section, taken)
    return NetworkEdges(
        tuple(edges), alone, joint, learn, forbidden, densities, tables, latent, missing, posteriors
    )


def _read_posteriors(network: Section, taken: list[str]) -> tuple[PosteriorSpec, ...]:
    """Read [[network.posteriors]]: columns with the probabilities of another classifier."""
    found: list[PosteriorSpec] = []
    for section in network.tables("posteriors", ("name", "columns", "training_prior", "weight")):
        name = section.text("name")
        if name in (*taken, *(spec.name for spec in found)):
            section.fail("name", "must differ from the names of evidence, nodes and class", name)
        columns = section.table("columns", None, required=True)
        prior = section.get(
            "training_prior", "uniform, training or numbers by class", PosteriorSpec.training_prior
        )
        if isinstance(prior, dict):
            numbers = section.table("training_prior", None)
            prior = {key: numbers.number(key, at_least=0.0) for key in numbers.data}
        else:
            prior = section.choice("training_prior", PRIORS, PosteriorSpec.training_prior)
        weight = section.number("weight", at_least=0.0, default=PosteriorSpec.weight)
        try:
            spec = PosteriorSpec(name, {key: columns.text(key) for key in columns.data}, prior, weight)
        except NetworkError as error:
            raise RecipeError(f"{section.source}: {section.path}: {error}") from None
        found.append(spec)
    return tuple(found)


def _read_latent(network: Section, evidence: list[str]) -> tuple[LatentSpec, ...]:
    """Read [[network.latent]]: nodes that are never observed; their states by number or by name."""
    found: list[LatentSpec] = []
    for section in network.tables("latent", ("name", "states")):
        name = section.text("name")
        if name in (CLASS_NODE, *evidence, *(node.name for node in found)):
            section.fail("name", "must differ from the names of evidence, other latent nodes and class", name)
        states = section.get("states", "a number of two or more, or a list of names")
        if isinstance(states, int) and not isinstance(states, bool):
            states = section.integer("states", at_least=2, default=2)
        else:
            states = section.strings("states")
            if len(states) < 2 or len(set(states)) < len(states):
                section.fail("states", "must be two or more different names, or their number", list(states))
        found.append(LatentSpec(name, states))
    return tuple(found)


def _read_choices(network: Section, specs: tuple[EvidenceSpec, ...], taken):
    """Read [network.densities] and [network.tables]: column -> family or way to estimate."""
    found = []
    for key in ("densities", "tables"):
        section = network.table(key, None)
        chosen: dict[str, str] = {}
        for name in section.data:
            spec = next((spec for spec in specs if spec.name == name), None)
            if spec is None:
                one_of(network, key, name, [spec.name for spec in specs])
            if name in taken:
                network.fail(key, f"may not name {name!r} of joint density {taken[name]!r}")
            possible = TABLES if key == "tables" else DENSITIES.get(spec.kind, ())
            if not possible:
                section.fail(name, f"is {spec.kind} evidence, which has no density; take it out")
            chosen[name] = section.choice(name, possible)
            n_states = len(spec.states) + (spec.covered is not None or spec.none is not None)
            if chosen[name] == "noisy-or" and spec.kind == "categorical" and n_states != 2:
                section.fail(name, f"can't be noisy-or, which is for two states, found {n_states}")
        found.append(chosen)
    return found


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
    for key in ("densities", "tables"):
        if getattr(network, key):
            table[key] = dict(getattr(network, key))
    if network.latent:
        table["latent"] = [{"name": node.name, "states": list(node.states)} for node in network.latent]
    if network.posteriors:
        table["posteriors"] = [dict(vars(spec)) for spec in network.posteriors]
    if network.missing_cells != NetworkEdges.missing_cells:
        table["missing_cells"] = network.missing_cells
    if network.joint:
        table["joint"] = [{**vars(block), "columns": list(block.columns)} for block in network.joint]
    return table
