"""Proposing edges among evidence columns: a maximum spanning tree, or hill climbing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from scipy.cluster.hierarchy import DisjointSet

__all__ = ["hill_climb", "spanning_tree"]

Edge = tuple[str, str]


def spanning_tree(
    columns: Sequence[str], weights: Mapping[Edge, float], required: Sequence[Edge] = ()
) -> tuple[Edge, ...]:
    """Return the edges that make the maximum spanning tree, directed away from a root.

    With conditional mutual information given the class as weights this is the tree of tree-augmented naive
    Bayes (Friedman, Geiger & Goldszmidt 1997); a forest where pairs are left out.

    Parameters
    ----------
    columns : sequence of str
    weights : mapping of (str, str) to float
        Pairs that may be joined, in either direction.
    required : sequence of (parent, child)
        Edges that are there already. Columns that they join count as one.

    Returns
    -------
    tuple of (parent, child)
        Without the required ones, greatest weight first. No column gets two parents by them, and none closes
        a cycle. The root of each tree is the column with the greatest sum of weights.
    """
    groups = DisjointSet(columns)
    for parent, child in required:
        groups.merge(parent, child)
    owner = {name: groups[name] for name in columns}
    # Equal weights in the order of the columns, so that the answer does not depend on the mapping's.
    place = {name: i for i, name in enumerate(columns)}
    pairs = [tuple(sorted(pair, key=place.get)) for pair in weights]
    value = {tuple(sorted(pair, key=place.get)): weight for pair, weight in weights.items()}
    pairs.sort(key=lambda pair: (-value[pair], place[pair[0]], place[pair[1]]))
    chosen = [pair for pair in pairs if groups.merge(*pair)]

    strength = dict.fromkeys(columns, 0.0)
    for pair in chosen:
        for name in pair:
            strength[name] += value[pair]
    directed: dict[Edge, Edge] = {}
    reached: set = set()
    for root in sorted(columns, key=lambda name: (-strength[name], place[name])):
        if owner[root] in reached:
            continue
        reached.add(owner[root])
        queue = deque([owner[root]])
        while queue:
            here = queue.popleft()
            for pair in chosen:
                ends = [owner[name] for name in pair]
                if pair in directed or here not in ends:
                    continue
                directed[pair] = pair if ends[0] == here else pair[::-1]
                reached.update(ends)
                queue.append(owner[directed[pair][1]])
    return tuple(directed[pair] for pair in chosen)


def hill_climb(
    columns: Sequence[str],
    gain: Callable[[str, tuple[str, ...]], float],
    *,
    required: Sequence[Edge] = (),
    forbidden: Sequence[Edge] = (),
    max_parents: int = 2,
) -> tuple[Edge, ...]:
    """Add, remove and turn edges one by one while the score grows, through pgmpy's `HillClimbSearch`.

    Parameters
    ----------
    columns : sequence of str
    gain : callable
        ``gain(column, parents)``: score of the column with these parents beside the class.
    required, forbidden : sequence of (parent, child)
    max_parents : int
        Most parents that the search gives a column beside the class; required ones count.

    Returns
    -------
    tuple of (parent, child)
        Without the required ones, in the order of the columns.
    """
    if len(columns) < 2:
        return ()
    import pandas as pd
    from pgmpy.causal_discovery import ExpertKnowledge, HillClimbSearch
    from pgmpy.structure_score import BaseStructureScore

    # Numbers for names: pgmpy walks through a set of pairs, whose order is that of the hashes, and with it
    # the choice between equal scores.
    place = {name: i for i, name in enumerate(columns)}

    class Gain(BaseStructureScore):
        """Given function as a score of pgmpy."""

        def __init__(self):
            self.known: dict = {}

        def local_score(self, variable, parents):
            key = (variable, tuple(sorted(parents)))
            if key not in self.known:
                self.known[key] = gain(columns[variable], tuple(columns[parent] for parent in key[1]))
            return self.known[key]

    def numbered(edges):
        return {(place[parent], place[child]) for parent, child in edges}

    search = HillClimbSearch(
        scoring_method=Gain(),
        max_indegree=max_parents,
        expert_knowledge=ExpertKnowledge(
            required_edges=numbered(required), forbidden_edges=numbered(forbidden) - numbered(required)
        ),
        return_type="dag",
        show_progress=False,
    )
    # The score has the data; pgmpy takes the names from a frame and asks for two rows.
    search.fit(pd.DataFrame(0, index=range(2), columns=range(len(columns))))
    found = set(search.causal_graph_.edges()) - numbered(required)
    return tuple((columns[parent], columns[child]) for parent, child in sorted(found, key=lambda e: e[::-1]))
