"""Learning edges among evidence columns: proposed by a search, kept where test and held-out score agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from bayesclass.network_fit import check_labels
from bayesclass.network_spec import NetworkError, NetworkSpec
from bayesclass.nodes import EvidenceNode
from bayesclass.recipe_schema import LEARN_METHODS
from bayesclass.structure_heldout import HeldOutLoss
from bayesclass.structure_scores import family_gain, pair_test
from bayesclass.structure_search import hill_climb, spanning_tree
from context.evidence import EvidenceTable

__all__ = ["METHODS", "LearnedStructure", "learn_edges"]

METHODS = LEARN_METHODS
MAX_PARENTS = 2
COLUMNS = [
    *("first", "second", "n_objects", "information", "expected", "p_value", "p_adjusted"),
    *("parent", "child", "gain", "gain_error", "kept", "reason"),
]

Edge = tuple[str, str]


@dataclass(frozen=True)
class LearnedStructure:
    """Edges among evidence columns, and why each possible one is there or not.

    Attributes
    ----------
    base : NetworkSpec
        The network before learning, with the required edges.
    learned : tuple of (parent, child)
        Edges that were added to it.
    candidates : DataFrame
        One row a pair of columns: `first`, `second`, `n_objects` of which both are known, `information`
        given the class and its value `expected` under independence [nat], `p_value` and `p_adjusted`
        (Benjamini-Hochberg over all tested pairs), `parent` and `child` as proposed, `gain` of the held-out
        log-loss with its standard error `gain_error` [nat an object], `kept`, and `reason`.
    n_objects, n_partial : int
        Objects learned from; those left out because their label allows several leaves.
    """

    base: NetworkSpec
    learned: tuple[Edge, ...]
    candidates: pd.DataFrame
    n_objects: int
    n_partial: int

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Edges between columns: the required ones first."""
        return (*_between_columns(self.base), *self.learned)

    def spec(self) -> NetworkSpec:
        """Return the network with the learned edges."""
        return replace(self.base, edges=(*self.base.edges, *self.learned))


def learn_edges(
    evidence: EvidenceTable,
    allowed: np.ndarray,
    spec: NetworkSpec,
    *,
    method: str = "tree",
    required: Sequence[Edge] = (),
    forbidden: Sequence[Edge] = (),
    folds: int = 5,
    alpha: float = 0.01,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> LearnedStructure:
    """Learn edges between evidence columns from labelled objects.

    Parameters
    ----------
    evidence : EvidenceTable
        Of an object with alternatives, its most probable row is used.
    allowed : bool array, shape (n_objects, n_leaves)
        Leaves that an object's label allows. Objects with several are left out, and counted.
    spec : NetworkSpec
        Its edges between columns are required; columns of its joint densities take no others.
    method : {"tree", "hill-climb"}
        A tree of greatest conditional mutual information given the class (tree-augmented naive Bayes), or
        hill climbing on Akaike's information criterion with at most two parents beside the class.
    required : sequence of (parent, child)
        Edges in addition to those of `spec`.
    forbidden : sequence of (str, str)
        Pairs of columns that are not joined, in either direction.
    folds : int
        Of the held-out score.
    alpha : float
        Greatest share of false edges among those that pass the test: of independence given the class, by
        random tables (`structure_scores.pair_test`), with Benjamini-Hochberg over all pairs tested. Where
        all columns are independent, the probability that any pair passes.
    seed : int
        Of folds and random tables.
    groups : int array, shape (n_objects,), optional
        Objects that must share a fold, such as copies.

    Returns
    -------
    LearnedStructure

    Raises
    ------
    NetworkError
        An unknown method, an edge that is not possible, a required edge that is forbidden, or fewer than two
        objects a fold with a single leaf.

    Notes
    -----
    Pairs that pass the test go to the search, and what it proposes is added in order of what it tells
    (information times objects), each edge only if the cross-validated log-loss of the class falls by more
    than its standard error (paired by object). Columns enter tests and search by their states
    (`EvidenceNode`: bins, "none" among them; errors of measurement blur bins and are not undone), the
    held-out score by the network itself with its densities. Missing cells: a pair is tested, and weighs, by
    the objects of which both are known, as an edge acts on those alone. On complete data the tree is that of
    pgmpy's `TreeSearch`. Its edges point away from the column that tells most of the others; this is no
    statement on causes.

    References
    ----------
    Friedman, Geiger & Goldszmidt (1997), Machine Learning 29, 131.
    Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57, 289.
    """
    if method not in METHODS:
        raise NetworkError(f"Edges are learned by one of {', '.join(METHODS)}, found {method!r}; choose one.")
    if not 0.0 < alpha < 1.0:
        raise NetworkError(f"alpha must lie between 0 and 1, found {alpha:g}; 0.01 is usual.")
    if spec.latent:
        raise NetworkError(
            "Edges can't be learned beside a latent node, which would explain what they are chosen for, "
            f"found {spec.latent[0].name!r}; write the edges down, or leave it out."
        )
    allowed, _ = check_labels(spec, evidence, allowed, None)
    base, kept_out = _with_required(spec, evidence, required, forbidden)
    single = np.flatnonzero(allowed.sum(axis=1) == 1)
    if len(single) < 2 * max(folds, 2) or folds < 2:
        raise NetworkError(
            "Learning edges needs two or more folds and two objects a fold whose label is a single leaf, "
            f"found {folds} folds and {len(single)} objects; label more, or write the edges down."
        )
    table, label = evidence.take(single), allowed[single].argmax(axis=1)
    columns = [name for name in table.columns if name not in base.joint_columns]
    nodes = {name: EvidenceNode.from_column(table.columns[name]) for name in columns}
    states = {name: nodes[name].encode(table.columns[name]).state for name in columns}
    fixed = _between_columns(base)
    rows = _test(columns, states, label, fixed, kept_out, alpha, seed)
    open_pairs = {pair: row for pair, row in rows.items() if not row["reason"]}
    weight = {pair: row["information"] * row["n_objects"] / len(label) for pair, row in open_pairs.items()}
    if method == "tree":
        proposed = spanning_tree(columns, weight, fixed)
    else:
        closed = [edge for pair in rows if pair not in open_pairs for edge in (pair, pair[::-1])]

        def gain(child, parents):
            sizes = tuple(nodes[name].n_states for name in (child, *parents))
            return family_gain(
                states[child], [states[name] for name in parents], label, sizes, len(base.class_states)
            )

        proposed = hill_climb(columns, gain, required=fixed, forbidden=closed, max_parents=MAX_PARENTS)
    for row in open_pairs.values():
        row["reason"] = f"not proposed by {method}"
    place = {name: i for i, name in enumerate(columns)}
    pair_of = {edge: tuple(sorted(edge, key=place.get)) for edge in proposed}
    proposed = sorted(proposed, key=lambda edge: -weight[pair_of[edge]])

    score = HeldOutLoss(
        table,
        label,
        base,
        groups=np.arange(len(label)) if groups is None else np.asarray(groups)[single],
        folds=folds,
        seed=seed,
    )
    learned: tuple[Edge, ...] = ()
    before = score.losses(fixed) if proposed else None
    for edge in proposed:
        row = rows[pair_of[edge]]
        row |= {"parent": edge[0], "child": edge[1]}
        wider = replace(base, edges=(*base.edges, *learned, edge))
        try:
            wider.check_sizes(wider.parents(tuple(evidence.columns)), {n: nodes[n].n_states for n in columns})
        except NetworkError:
            row["reason"] = "its table would be too large"
            continue
        after = score.losses((*fixed, *learned, edge))
        difference = before - after
        row["gain"] = float(difference.mean())
        row["gain_error"] = float(difference.std(ddof=1) / np.sqrt(len(difference)))
        if row["gain"] > row["gain_error"]:
            row |= {"kept": True, "reason": "passes the test and gains held out"}
            learned, before = (*learned, edge), after
        else:
            row["reason"] = "no gain held out beyond its standard error"
    return LearnedStructure(base, learned, _frame(rows), len(single), len(allowed) - len(single))


def _between_columns(spec: NetworkSpec) -> tuple[Edge, ...]:
    return tuple(edge for edge in spec.edges if edge[0] != spec.class_name)


def _with_required(spec, evidence, required, forbidden) -> tuple[NetworkSpec, set[frozenset]]:
    """Return the network with all required edges, checked, and the forbidden pairs."""
    columns = tuple(evidence.columns)
    extra = tuple(edge for edge in map(tuple, required) if edge not in spec.edges)
    base = replace(spec, edges=(*spec.edges, *extra))
    base.parents(columns)
    for pair in forbidden:
        for name in pair:
            if len(pair) != 2 or pair[0] == pair[1] or name not in columns:
                raise NetworkError(
                    f"A forbidden pair must name two different evidence columns, found {list(pair)}; "
                    f"known: {', '.join(columns) or 'none'}."
                )
    kept_out = {frozenset(pair) for pair in forbidden}
    for edge in _between_columns(base):
        if frozenset(edge) in kept_out:
            raise NetworkError(
                f"An edge can't be required and forbidden, found {edge[0]!r} -> {edge[1]!r} in both; "
                "remove one of the two."
            )
    return base, kept_out


def _test(columns, states, label, fixed, kept_out, alpha, seed) -> dict[Edge, dict]:
    """One row a pair of columns; `reason` is empty where the search may join them."""
    fixed = {frozenset(edge): edge for edge in fixed}
    rows = {}
    for i, pair in enumerate(combinations(columns, 2)):
        closed = frozenset(pair) in fixed or frozenset(pair) in kept_out
        rng = None if closed else np.random.default_rng([seed, 3, i])
        row = pair_test(states[pair[0]], states[pair[1]], label, rng)._asdict()
        row |= {"p_adjusted": np.nan, "parent": "", "child": "", "gain": np.nan, "gain_error": np.nan}
        row |= {"kept": False, "reason": "forbidden" if closed else ""}
        if frozenset(pair) in fixed:
            parent, child = fixed[frozenset(pair)]
            row |= {"parent": parent, "child": child, "kept": True, "reason": "required"}
        rows[pair] = row
    tested = [row for row in rows.values() if not row["reason"]]
    if tested:
        adjusted = false_discovery_control([row["p_value"] for row in tested], method="bh")
        for row, p in zip(tested, adjusted, strict=True):
            row["p_adjusted"] = float(p)
            if p > alpha:
                row["reason"] = "independent given the class, by the test"
    return rows


def _frame(rows: dict[Edge, dict]) -> pd.DataFrame:
    """Table of candidates, those that tell most first."""
    frame = pd.DataFrame([{"first": a, "second": b, **row} for (a, b), row in rows.items()], columns=COLUMNS)
    order = (-frame["information"] * frame["n_objects"]).argsort(kind="stable")
    return frame.iloc[order].reset_index(drop=True)
