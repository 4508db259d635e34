"""Tables of a fitted network that are pooled by sampling, across other parents and along the class tree."""

from __future__ import annotations

from dataclasses import asdict, replace

from bayesclass.network_parameters import NodeCounts
from bayesclass.network_spec import NetworkError, NetworkSpec
from bayesclass.nodes import EvidenceNode
from bayesclass.taxonomy import Taxonomy

__all__ = ["pool_nodes"]


def pool_nodes(
    spec: NetworkSpec,
    nodes: dict[str, EvidenceNode],
    parents: dict[str, tuple[str, ...]],
    counts: dict[str, NodeCounts],
    *,
    seed: int = 0,
) -> tuple[dict[str, NodeCounts], dict[str, dict]]:
    """Replace the tables of nodes that ask for it by tables pooled with `pooling.pool_table`.

    The groups are the configurations of the parents other than the class, such as surveys. The counts are
    those of the fit, expected ones where something was missing, so that sampling is done once.

    Parameters
    ----------
    spec : NetworkSpec
        Its `tree` is the one that tables are pooled along.
    nodes, parents, counts : dicts by node
    seed : int

    Returns
    -------
    counts : dict of str to NodeCounts
    diagnostics : dict of str to dict
        Of each pooled node: R-hat, effective sample sizes, divergences, seconds; concentrations.

    Raises
    ------
    NetworkError
        A node without the class and another parent.
    PoolingError
        A fit that did not converge.
    """
    pooled = [name for name, node in nodes.items() if node.table == "pooled"]
    result, diagnostics = dict(counts), {}
    for name in pooled:
        others = [parent for parent in parents[name] if parent != spec.class_name]
        if len(others) == len(parents[name]) or not others:
            raise NetworkError(
                f"A pooled table needs the class and another parent, such as the survey, as parents, found "
                f"{list(parents[name])} of {name!r}; add an edge or take {name!r} out of `tables`."
            )
        # PyMC takes seconds to import, and few networks ask for it.
        from bayesclass.pooling import pool_table

        before, node = counts[name].states, nodes[name]
        groups = _configurations([(parent, nodes[parent].states) for parent in others])
        table = pool_table(
            before.counts,
            tree=Taxonomy(spec.class_states, spec.tree, {}) if spec.tree else None,
            groups=groups,
            states=node.states if node.grid is None else ("measured", "none"),
            seed=seed,
        )
        result[name] = replace(counts[name], states=table)
        kappa = {key: [round(q, 3) for q in quantiles] for key, quantiles in table.kappa.items()}
        diagnostics[name] = {**asdict(table.diagnostics), "kappa": kappa}
    return result, diagnostics


def _configurations(parents: list[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """Names of the configurations, the last parent running fastest."""
    names = [""]
    for parent, states in parents:
        names = [f"{name}{', ' if name else ''}{parent} = {state}" for name in names for state in states]
    return tuple(names)
