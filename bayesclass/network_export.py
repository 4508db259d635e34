"""A fitted network in other forms: pgmpy, BIF, and plain arrays for a model directory."""

from __future__ import annotations

import re
from typing import Protocol

import numpy as np

from bayesclass.joint_density import JointDensity, JointParameters, parameter_arrays
from bayesclass.network_parameters import NodeParameters
from bayesclass.network_spec import LATENT, JointSpec, LatentSpec, NetworkError, NetworkSpec
from bayesclass.nodes import EvidenceNode

__all__ = ["FittedNetwork", "from_arrays", "to_arrays", "to_bif", "to_pgmpy"]


class FittedNetwork(Protocol):
    """The parts of a fitted network that leave it; `BayesianNetwork` says what they are."""

    spec: NetworkSpec
    nodes: dict[str, EvidenceNode]
    parents: dict[str, tuple[str, ...]]
    parameters: dict[str, NodeParameters]
    class_frequency: np.ndarray
    draws: tuple[dict[str, NodeParameters | JointParameters], ...]
    summary: dict
    joint: dict[str, JointDensity]


def to_pgmpy(network: FittedNetwork, *, simple_names: bool = False):
    """Return the discrete network (continuous evidence in its bins) as a pgmpy model.

    Parameters
    ----------
    network : FittedNetwork
    simple_names : bool
        Reduce names to letters, digits and underscores, which every reader of BIF accepts.

    Returns
    -------
    pgmpy.models.DiscreteBayesianNetwork
        With all tables, checked by `check_model`. The class has its frequency in the training sample.

    Raises
    ------
    NetworkError
        The network has a joint density, which no table of states can hold.
    """
    if network.joint:
        raise NetworkError(
            "A discrete network can't hold a joint density, found "
            f"{', '.join(repr(name) for name in network.joint)}; store the network by to_arrays, or fit one "
            "without joint densities for export."
        )
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    class_name = network.spec.class_name
    states = {class_name: tuple(network.spec.class_states)}
    states |= {name: node.states for name, node in network.nodes.items()}
    names = {name: name for name in states}
    if simple_names:
        names = dict(zip(names, _simple(list(names)), strict=True))
        states = {name: tuple(_simple(group)) for name, group in states.items()}
    model = DiscreteBayesianNetwork()
    model.add_nodes_from(names.values())
    model.latents = {names[name] for name, node in network.nodes.items() if node.kind == LATENT}
    tables = {class_name: (network.class_frequency, ())}
    tables |= {
        name: (np.exp(network.parameters[name].log_cpd), network.parents[name]) for name in network.nodes
    }
    for name, (table, parents) in tables.items():
        model.add_edges_from((names[parent], names[name]) for parent in parents)
        flat = np.asarray(table, dtype=float).reshape(len(states[name]), -1)
        # pgmpy wants columns that sum to one to its own tolerance, also after float32.
        flat = flat / flat.sum(axis=0)
        model.add_cpds(
            TabularCPD(
                names[name],
                flat.shape[0],
                flat,
                evidence=[names[parent] for parent in parents],
                evidence_card=[len(states[parent]) for parent in parents],
                state_names={names[node]: list(states[node]) for node in (name, *parents)},
            )
        )
    model.check_model()
    return model


def to_bif(network: FittedNetwork, path) -> None:
    """Write the discrete network as a BIF file, names reduced to letters, digits and underscores."""
    from pgmpy.readwrite import BIFWriter

    with open(path, "w", encoding="utf-8") as file:
        file.write(str(BIFWriter(to_pgmpy(network, simple_names=True))))


def to_arrays(network: FittedNetwork) -> tuple[dict, dict[str, np.ndarray]]:
    """Return what a model directory stores: a dictionary for JSON, and arrays. No training value is kept.

    Returns
    -------
    meta : dict
    arrays : dict of str to array
        Tables and grids of each node, and the posterior draws in float32.
    """
    arrays = {"class_frequency": network.class_frequency}
    described = []
    for name, node in network.nodes.items():
        meta, node_arrays = node.to_arrays()
        described.append({**meta, "parents": list(network.parents[name])})
        arrays |= {f"{name}/{key}": value for key, value in node_arrays.items()}
        for part in ("log_cpd", "log_cells"):
            value = getattr(network.parameters[name], part)
            if value is None:
                continue
            arrays[f"{name}/{part}"] = value
            drawn = [getattr(draw[name], part) for draw in network.draws]
            if drawn:
                arrays[f"{name}/{part}_draws"] = np.stack(drawn)
    for block in network.joint.values():
        _, own = block.to_arrays()
        drawn = [parameter_arrays(draw[block.name]) for draw in network.draws]
        if drawn:
            own |= {f"{key}_draws": np.stack([draw[key] for draw in drawn]) for key in drawn[0]}
        arrays |= {f"joint/{block.name}/{key}": value for key, value in own.items()}
    meta = {
        "class_name": network.spec.class_name,
        "class_states": list(network.spec.class_states),
        "edges": [list(edge) for edge in network.spec.edges],
        "no_class_edge": list(network.spec.no_class_edge),
        "nodes": described,
        "missing_cells": network.spec.missing_cells,
        "densities": dict(network.spec.densities),
        "tables": dict(network.spec.tables),
        "tree": {node: list(members) for node, members in network.spec.tree.items()},
        "n_draws": len(network.draws),
        "summary": network.summary,
    }
    if network.joint:
        components = {block.name: block.components for block in network.spec.joint}
        meta["joint"] = [
            {**block.to_arrays()[0], "components": components[name]} for name, block in network.joint.items()
        ]
    return meta, arrays


def from_arrays(meta: dict, arrays: dict[str, np.ndarray]) -> dict:
    """Inverse of `to_arrays`: the parts of `FittedNetwork` by name."""
    described = meta.get("joint", [])
    spec = NetworkSpec(
        class_states=tuple(meta["class_states"]),
        edges=tuple(tuple(edge) for edge in meta["edges"]),
        no_class_edge=tuple(meta["no_class_edge"]),
        class_name=meta["class_name"],
        joint=tuple(
            JointSpec(item["name"], tuple(node["name"] for node in item["nodes"]), item["components"])
            for item in described
        ),
        latent=tuple(
            LatentSpec(item["name"], tuple(item["categories"]))
            for item in meta["nodes"]
            if item["kind"] == LATENT
        ),
        missing_cells=meta.get("missing_cells", "available"),
        densities=meta.get("densities", {}),
        tables=meta.get("tables", {}),
        tree=meta.get("tree", {}),
    )
    nodes, parents, parameters = {}, {}, {}
    draws = tuple({} for _ in range(meta["n_draws"]))
    for item in meta["nodes"]:
        name = item["name"]
        own = {key.removeprefix(f"{name}/"): arrays[key] for key in arrays if key.startswith(f"{name}/")}
        nodes[name] = EvidenceNode.from_arrays(item, own)
        parents[name] = tuple(item["parents"])
        parameters[name] = NodeParameters(own["log_cpd"], own.get("log_cells"))
        for i, draw in enumerate(draws):
            cells = own.get("log_cells_draws")
            draw[name] = NodeParameters(own["log_cpd_draws"][i], None if cells is None else cells[i])
    joint = {}
    for item in described:
        name = item["name"]
        prefix = f"joint/{name}/"
        own = {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}
        joint[name] = JointDensity.from_arrays(item, own)
        for i, draw in enumerate(draws):
            drawn = {key: own[f"{key}_draws"][i] for key in parameter_arrays(joint[name].parameters)}
            draw[name] = JointParameters(**drawn)
    return {
        "spec": spec,
        "nodes": nodes,
        "parents": parents,
        "parameters": parameters,
        "class_frequency": np.asarray(arrays["class_frequency"], float),
        "draws": draws,
        "summary": meta["summary"],
        "joint": joint,
    }


def _simple(names) -> list[str]:
    """Different names of letters, digits and underscores, starting with a letter."""
    result: list[str] = []
    for name in names:
        simple = re.sub(r"\W+", "_", name.replace("-", "minus "), flags=re.ASCII).strip("_")
        simple = simple if simple[:1].isalpha() else f"s_{simple}"
        candidate, i = simple, 2
        while candidate in result:
            candidate, i = f"{simple}_{i}", i + 1
        result.append(candidate)
    return result
