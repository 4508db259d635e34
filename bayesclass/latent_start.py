"""Where learning begins with latent nodes: counts split over their states at random."""

from __future__ import annotations

import numpy as np

from bayesclass.inference import Structure
from bayesclass.network_counts import FamilyCounts
from bayesclass.nodes import EvidenceNode

__all__ = ["split_over_latent"]


def split_over_latent(
    structure: Structure,
    nodes: dict[str, EvidenceNode],
    families: dict[str, FamilyCounts],
    class_counts: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, FamilyCounts]:
    """Complete the counts of a network without its latent nodes.

    The states of a latent node are alike at first, and no step of expectation maximisation would tell them
    apart, so that each state of a child, or bin of a measured one, is shared over them at random, the same
    for all classes.

    Parameters
    ----------
    structure : Structure
        With the latent nodes; the class comes first.
    nodes : dict of str to EvidenceNode
    families : dict of str to FamilyCounts
        Of the other nodes, latent parents left out.
    class_counts : float array, shape (n_leaves,)
    rng : numpy Generator

    Returns
    -------
    dict of str to FamilyCounts
        Of all nodes; the totals stay.
    """
    class_name = structure.nodes[0]
    latent = {name for name in nodes if name not in families}
    result = {}
    for name, parents in zip(structure.nodes[1:], structure.parents[1:], strict=True):
        node = nodes[name]
        others = [parent for parent in parents if parent != class_name]
        sizes = [nodes[parent].n_states for parent in others]
        if name in latent:
            total = class_counts if class_name in parents else class_counts.sum(keepdims=True)
            of_states = rng.dirichlet(np.ones(node.n_states), size=(len(total), int(np.prod(sizes))))
            counts = np.moveaxis(of_states, -1, 0) * total[:, None] / np.prod(sizes)
            result[name] = FamilyCounts(None, (counts, counts.sum(axis=2)))
            continue
        hidden = [parent in latent for parent in others]
        if not any(hidden):
            result[name] = families[name]
            continue
        cells = states = None
        if families[name].cells is not None:
            cells = _split(families[name].cells, node.bin_of_cell, sizes, hidden, rng)
        if families[name].states is not None:
            own = np.arange(len(families[name].states[0]))
            states = _split(families[name].states, own, sizes, hidden, rng)
        result[name] = FamilyCounts(cells, states)
    return result


def _split(pair, group, sizes, hidden, rng):
    """Share counts over the hidden parents; states of one `group` have the same shares."""
    counts, margins = pair
    known = [n for n, gone in zip(sizes, hidden, strict=True) if not gone]
    new = [n for n, gone in zip(sizes, hidden, strict=True) if gone]
    shares = rng.dirichlet(np.ones(int(np.prod(new))), size=int(group.max()) + 1)[group]
    shares = shares.reshape(len(counts), 1, *(1 for _ in known), *new)
    whole = counts.reshape(*counts.shape[:2], *known, *(1 for _ in new)) * shares
    # Known parents come first here; in the table the order is that of the node.
    order = np.argsort([*np.flatnonzero(~np.array(hidden)), *np.flatnonzero(hidden)])
    whole = whole.transpose(0, 1, *(2 + order))
    return whole.reshape(*counts.shape[:2], -1), margins
