"""Nodes over evidence columns: states, bins, grids, densities."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gaussian_kde, norm

from bayesclass.densities import Grid, bandwidths, kernel_matrices
from bayesclass.network_parameters import ESTIMATORS, estimate_parameters
from bayesclass.network_tables import smooth_table
from bayesclass.nodes import TABLES, EvidenceNode, NodeError
from bayesclass.noisy_or import NoisyOr
from context.evidence import Condition, EvidenceSpec, EvidenceTable


def column(spec, **data):
    n = len(next(iter(data.values())))
    frame = pd.DataFrame({"object_id": [str(i) for i in range(n)], **data})
    return EvidenceTable.from_frame(frame, [spec]).columns[spec.name]


def test_categories_and_none():
    spec = EvidenceSpec(
        "match", "categorical", column="m", states=("star", "galaxy"), covered=Condition("in_field", True)
    )
    data = {"m": ["star", None, None, "galaxy"], "in_field": [True, True, False, False]}
    node = EvidenceNode.from_column(column(spec, **data))
    assert node.states == ("star", "galaxy", "none")
    np.testing.assert_array_equal(node.encode(column(spec, **data)).state, [0, 2, -1, 1])
    without_rule = EvidenceSpec("match", "categorical", column="m", states=("star", "galaxy"))
    assert EvidenceNode.from_column(column(without_rule, m=["star", None])).states == ("star", "galaxy")


def test_counts_are_cut_between_integers():
    spec = EvidenceSpec("n_stars", "count", column="n")
    values = np.random.default_rng(0).poisson(3.0, 400).astype(float)
    node = EvidenceNode.from_column(column(spec, n=values))
    assert 3 <= node.n_states <= 8
    np.testing.assert_allclose(np.mod(node.bin_edges, 1.0), 0.5)
    state = node.encode(column(spec, n=values)).state
    assert (np.bincount(state, minlength=node.n_states) > 0).all()
    np.testing.assert_array_equal(state, (values[:, None] > node.bin_edges).sum(axis=1))


def test_few_values_give_few_bins_and_none_a_single_one():
    spec = EvidenceSpec("x", "continuous", column="x")
    for n, n_bins in ((0, 1), (5, 1), (60, 3), (1000, 8)):
        values = np.concatenate([np.random.default_rng(n).normal(size=n), [np.nan]])
        node = EvidenceNode.from_column(column(spec, x=values))
        assert node.n_states == n_bins
        assert node.encode(column(spec, x=values)).state[-1] == -1
    constant = EvidenceNode.from_column(column(spec, x=np.full(100, 7.0)))
    assert constant.n_states <= 2
    assert constant.grid.width > 0


def test_bins_agree_with_the_grid():
    spec = EvidenceSpec("x", "continuous", column="x")
    values = np.random.default_rng(1).normal(size=500)
    node = EvidenceNode.from_column(column(spec, x=values))
    codes = node.encode(column(spec, x=values))
    np.testing.assert_array_equal(codes.state, node.bin_of_cell[codes.cell])
    assert np.bincount(codes.state).min() > 30
    p = np.random.default_rng(2).dirichlet(np.ones(node.grid.n_cells))
    np.testing.assert_allclose(node.bin_mass(p).sum(), 1.0)


def test_columns_that_do_not_fit():
    spec = EvidenceSpec("x", "continuous", column="x")
    node = EvidenceNode.from_column(column(spec, x=np.arange(50.0)))
    with pytest.raises(NodeError, match="must be continuous"):
        node.encode(column(EvidenceSpec("x", "count", column="x"), x=np.arange(5.0)))
    searched = EvidenceSpec("x", "continuous", column="x", none=Condition("flag", True))
    with pytest.raises(NodeError, match="no state 'none' in the model, found 1"):
        node.encode(column(searched, x=[1.0, 2.0], flag=[True, False]))


def test_node_survives_arrays():
    spec = EvidenceSpec("phi", "angle", column="phi")
    node = EvidenceNode.from_column(column(spec, phi=np.random.default_rng(3).uniform(0, 360, 300)))
    meta, arrays = node.to_arrays()
    again = EvidenceNode.from_arrays(meta, arrays)
    assert again.states == node.states
    assert again.grid.period == 360.0
    np.testing.assert_array_equal(again.grid.edges, node.grid.edges)


@settings(max_examples=30, deadline=None)
@given(width=st.floats(0.01, 50.0), seed=st.integers(0, 100), wraps=st.booleans())
def test_kernels_keep_every_object(width, seed, wraps):
    values = np.random.default_rng(seed).uniform(0, 360, 50)
    grid = Grid.over(values, period=360.0 if wraps else None)
    kernel = kernel_matrices(grid, np.array([max(width, 0.75 * grid.width)]))
    np.testing.assert_allclose(kernel.sum(axis=2), 1.0, atol=1e-12)
    assert (kernel >= 0).all()


def test_angle_kernel_wraps():
    grid = Grid.over(np.array([1.0]), period=360.0)
    kernel = kernel_matrices(grid, np.array([15.0]))[0]
    np.testing.assert_allclose(kernel[0], np.roll(kernel[50], -50), atol=1e-12)
    assert kernel[0, -1] == pytest.approx(kernel[0, 1])
    weights = grid.weights(np.array([0.5]), np.array([20.0]))[0]
    mirrored = grid.weights(np.array([359.5]), np.array([20.0]))[0]
    np.testing.assert_allclose(weights, mirrored[::-1], atol=1e-12)
    np.testing.assert_allclose(weights.sum() * grid.width**2, grid.width, rtol=1e-9)


def test_density_follows_scipy_kernel_estimate():
    """One class and many objects: only the grid and the floor separate the two estimates."""
    values = np.random.default_rng(4).normal(2.0, 1.5, 3000)
    grid = Grid.over(values)
    counts = np.bincount(grid.cell(values), minlength=grid.n_cells).astype(float)
    fitted = smooth_table(counts[:, None, None], counts[:, None], grid=grid)
    width = bandwidths(grid, counts[:, None])[0]
    reference = gaussian_kde(values, bw_method=width / values.std(ddof=1))(grid.centres)
    found = fitted.table[:, 0, 0] / grid.width
    np.testing.assert_allclose(fitted.table.sum(axis=0), 1.0, rtol=1e-12)
    # The floor of one per cent and the cells' width bound the difference.
    np.testing.assert_allclose(found, reference, atol=0.02 * reference.max())


def test_error_averages_the_density():
    """A normal density seen through a normal error is a normal density of the summed variance."""
    grid = Grid(np.linspace(-8.0, 8.0, 129))
    cells = np.diff(norm.cdf(grid.edges, 0.0, 1.0))
    x = np.linspace(-3.0, 3.0, 13)
    for error in (0.3, 1.0, 2.0):
        found = grid.weights(x, np.full(13, error)) @ cells
        # Constant cells add the variance of a uniform, width^2 / 12 = 0.0013.
        np.testing.assert_allclose(found, norm.pdf(x, 0.0, np.sqrt(1.0 + error**2)), rtol=0.02)
    sharp = grid.weights(x, np.zeros(13)) @ cells
    np.testing.assert_allclose(sharp, cells[grid.cell(x)] / grid.width)
    fine = np.linspace(-20.0, 20.0, 4001)
    total = (grid.weights(fine, np.full(4001, 0.5)) @ cells).sum() * (fine[1] - fine[0])
    assert total == pytest.approx(1.0, abs=1e-3)


def test_tables_shrink_to_the_pooled_table():
    """Against the formula: (n + kappa mu) / (N + kappa) with mu pooled over classes."""
    counts = np.array([[30.0, 1.0], [10.0, 0.0], [0.0, 2.0]])
    fitted = smooth_table(counts[:, :, None], counts, kappas=(10.0,))
    pooled = (counts.sum(axis=1) + 0.5) / (counts.sum() + 1.5)
    expected = (counts + 10.0 * pooled[:, None]) / (counts.sum(axis=0) + 10.0)
    np.testing.assert_allclose(fitted.table[:, :, 0], expected)


def test_kappa_follows_the_data():
    """Classes alike ask for strong shrinkage, classes that differ for weak."""
    rng = np.random.default_rng(6)
    alike = rng.multinomial(60, np.full(6, 1 / 6), size=8).T.astype(float)
    differing = np.stack([rng.multinomial(60, p) for p in rng.dirichlet(np.full(6, 0.3), size=8)], axis=1)
    strong = smooth_table(alike[:, :, None], alike).kappa
    weak = smooth_table(differing[:, :, None].astype(float), differing.astype(float)).kappa
    assert weak <= 3.0 < 100.0 <= strong


def test_drawn_tables_are_dirichlet():
    rng = np.random.default_rng(7)
    counts = np.array([[30.0, 3.0], [10.0, 5.0], [4.0, 2.0]])
    fitted = smooth_table(counts[:, :, None], counts, kappas=(5.0,))
    drawn = np.array([fitted.draw(rng) for _ in range(4000)])
    concentration = counts + 5.0 * fitted.mean[:, :, 0]
    total = concentration.sum(axis=0)
    mean = concentration / total
    sigma = np.sqrt(mean * (1 - mean) / (total + 1))
    np.testing.assert_allclose(drawn.mean(axis=0)[:, :, 0], mean, atol=5 * sigma.max() / np.sqrt(4000))
    np.testing.assert_allclose(drawn.std(axis=0)[:, :, 0], sigma, rtol=0.1)


def test_density_and_table_survive_arrays():
    spec = EvidenceSpec("x", "continuous", column="x", none=Condition("flag", True))
    values = column(spec, x=np.random.default_rng(8).normal(size=100), flag=[False] * 90 + [True] * 10)
    node = EvidenceNode.from_column(values, density="student", table="noisy-or")
    meta, arrays = node.to_arrays()
    again = EvidenceNode.from_arrays(meta, arrays)
    assert (again.density, again.table) == ("student", "noisy-or")
    # As written before there was a choice.
    del meta["density"], meta["table"]
    old = EvidenceNode.from_arrays(meta, arrays)
    assert (old.density, old.table) == ("kernel", "dirichlet")


@pytest.mark.parametrize(
    ("kind", "values", "chosen", "message"),
    [
        ("continuous", [1.0, 2.0], {"density": "von-mises"}, "must be one of kernel, gaussian, student"),
        ("angle", [1.0, 2.0], {"density": "gaussian"}, "must be one of kernel, von-mises, auto, found"),
        ("count", [1.0, 2.0], {"density": "student"}, "which is count, must be one of kernel, found"),
        ("continuous", [-1.0, 2.0], {"density": "log-normal"}, "positive values, found 1 of 'x'"),
        ("continuous", [1.0, 2.0], {"table": "noisy-or"}, "for a column that is never none"),
        ("count", [1.0, 2.0], {"table": "noisy-or"}, "must have two states, found 1 of 'x'"),
        ("count", [1.0, 2.0], {"table": "noisy"}, "must be one of dirichlet, noisy-or, pooled"),
    ],
)
def test_choices_that_do_not_fit(kind, values, chosen, message):
    spec = EvidenceSpec("x", kind, column="x")
    with pytest.raises(NodeError, match=message):
        EvidenceNode.from_column(column(spec, x=values), **chosen)


def test_estimators_of_a_node():
    """Each part of a node goes to its own estimator, and bins stay sums of cells."""
    assert set(ESTIMATORS) == set(TABLES)
    rng = np.random.default_rng(9)
    spec = EvidenceSpec("x", "continuous", column="x", none=Condition("flag", True))
    values = column(spec, x=rng.normal(size=600), flag=rng.random(600) < 0.2)
    node = EvidenceNode.from_column(values, density="gaussian", table="noisy-or")
    shape = (2, 3)
    cells = rng.poisson(1.0, (node.grid.n_cells, 2, 3)).astype(float)
    states = np.stack([cells.sum(axis=0), rng.poisson(9.0, (2, 3))])
    fitted = estimate_parameters(
        node, shape, cells=(cells, cells.sum(axis=2)), states=(states, states.sum(axis=2))
    )
    assert isinstance(fitted.states, NoisyOr)
    assert fitted.states.on == 0
    assert len(fitted.states.of_parents) == 1
    assert fitted.cells.family == "gaussian"
    for parameters in (fitted.parameters(node), fitted.parameters(node, rng)):
        table, density = np.exp(parameters.log_cpd), np.exp(parameters.log_cells)
        assert table.shape == (node.n_states, 2, 3)
        np.testing.assert_allclose(table.sum(axis=0), 1.0, rtol=1e-9)
        measured = 1.0 - table[-1]
        np.testing.assert_allclose(table[:-1], node.bin_mass(density) * measured, rtol=1e-9)


def test_a_node_without_the_class_has_causes_alone():
    spec = EvidenceSpec("found", "categorical", column="found", states=("no", "yes"))
    node = EvidenceNode.from_column(column(spec, found=["no", "yes"]), table="noisy-or")
    counts = np.random.default_rng(10).poisson(20.0, (2, 1, 6)).astype(float)
    fitted = estimate_parameters(node, (3, 2), states=(counts, counts.sum(axis=2)))
    assert [len(q) for q in fitted.states.of_parents] == [3, 2]
    assert fitted.parameters(node).log_cpd.shape == (2, 3, 2)
