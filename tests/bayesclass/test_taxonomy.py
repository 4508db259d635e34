import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesclass.taxonomy import Taxonomy, TaxonomyError

TREE = Taxonomy(
    leaves=["SN", "CV", "AGN", "Blazar"],
    nodes={"extragalactic": ["SN", "nucleus"], "nucleus": ["AGN", "Blazar"]},
    labels={"SN/CV": ["SN", "CV"], "QSO": "AGN", "far": "extragalactic"},
)


def test_labels_of_every_kind():
    labels = ["SN", "nucleus", "SN/CV", "QSO", "far", "extragalactic", " CV ", "Mira", "", None, np.nan]
    expected = ["1000", "0011", "1100", "0010", "1011", "1011", "0100", "0000", "0000", "0000", "0000"]
    found = TREE.allowed(labels)
    assert found.dtype == bool
    assert ["".join("01"[int(x)] for x in row) for row in found] == expected
    assert TREE.unmapped([*labels, "Mira"]) == {"": 3, "Mira": 2}
    assert TREE.allowed([]).shape == (0, 4)
    assert TREE.unmapped(["SN"]) == {}


def test_a_label_may_redefine_a_name():
    tree = Taxonomy(["a", "b"], {}, {"a": ["a", "b"]})
    assert tree.allowed(["a"]).tolist() == [[True, True]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_node_probabilities_are_sums(seed, n):
    p = np.random.default_rng(seed).dirichlet(np.ones(4), size=n)
    nodes = TREE.node_probabilities(p)
    assert list(nodes) == ["extragalactic", "nucleus"]
    np.testing.assert_allclose(nodes["nucleus"], p[:, 2] + p[:, 3], rtol=1e-12)
    np.testing.assert_allclose(nodes["extragalactic"], 1 - p[:, 1], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(p @ TREE.membership.T, np.column_stack(list(nodes.values())), rtol=1e-12)


def test_wrong_number_of_classes():
    with pytest.raises(TaxonomyError, match=r"last axis of 4 leaves, found shape \(2, 3\)"):
        TREE.node_probabilities(np.ones((2, 3)))


def test_paths_and_order():
    assert TREE.path("AGN") == ("extragalactic", "nucleus", "AGN")
    assert TREE.path("CV") == ("CV",)
    assert TREE.parent("nucleus") == "extragalactic"
    assert TREE.parent("CV") is None
    assert TREE.order == ("extragalactic", "SN", "CV", "nucleus", "AGN", "Blazar")
    for name in TREE.order:
        path = [TREE.order.index(step) for step in TREE.path(name)]
        assert path == sorted(path)
    with pytest.raises(TaxonomyError, match="no class 'QSO'; known: SN, CV"):
        TREE.leaves_of("QSO")


def test_nested_nodes_written_as_leaves():
    tree = Taxonomy(["a", "b", "c"], {"inner": ["a", "b"], "all": ["a", "b", "c"]})
    assert tree.path("a") == ("all", "inner", "a")


@pytest.mark.parametrize(
    ("leaves", "nodes", "labels", "message"),
    [
        (["a"], {}, {}, "two or more leaves"),
        (["a", "b", "a"], {}, {}, "'a' twice"),
        (["a", "b"], {"a": ["b"]}, {}, "'a' is also a leaf"),
        (["a", "b"], {"n": []}, {}, "'n' has no members"),
        (
            ["a", "b"],
            {"n": ["a", "x"]},
            {},
            "'n' must lead to classes of the tree, found 'x'; known: a, b, n",
        ),
        (["a", "b"], {}, {"l": ["a", "y"]}, "Label 'l' .* found 'y'"),
        (["a", "b"], {}, {"l": []}, "Label 'l' .* found 'nothing'"),
        (["a", "b"], {"n": ["m"], "m": ["n", "a"]}, {}, "contain itself, found . -> . -> ."),
        (["a", "b"], {"n": ["n", "a"]}, {}, "contain itself, found n -> n"),
        (["a", "b", "c"], {"n": ["a", "b"], "m": ["b", "c"]}, {}, "Leaf 'b' is both in 'n' and in 'm'"),
        (["a", "b", "c"], {"n": ["a", "b"], "m": ["b", "a"]}, {}, "'n' and 'm' have the same leaves"),
    ],
)
def test_trees_without_meaning(leaves, nodes, labels, message):
    with pytest.raises(TaxonomyError, match=message):
        Taxonomy(leaves, nodes, labels)
