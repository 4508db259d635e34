"""Families of densities against scipy, quadrature, dense linear algebra and simulated truth."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bayesclass.densities import Grid
from bayesclass.density_cells import FAMILIES, Coordinates, cell_masses
from bayesclass.density_effects import learn_effects
from bayesclass.density_families import choose_family, density_table, fit_family
from bayesclass.network import BayesianNetwork, NetworkError, NetworkSpec
from bayesclass.network_tables import FLOOR, smooth_table
from bayesclass.recipe import RecipeError
from bayesclass.recipe_network import read_network, write_network
from bayesclass.recipe_section import Section
from context.evidence import EvidenceSpec, EvidenceTable

GRID = Grid(np.linspace(-5.0, 5.0, 61))
CIRCLE = Grid(np.linspace(0.0, 360.0, 73), 360.0)


def counted(grid, values, columns=None, n_columns=1):
    counts = np.zeros((grid.n_cells, n_columns))
    np.add.at(counts, (grid.cell(values), np.zeros(len(values), int) if columns is None else columns), 1.0)
    return counts


def by_class(counts, **options):
    return fit_family(counts[:, :, None], counts, **options)


def masses(distribution, grid=GRID):
    below = distribution.cdf(grid.edges)
    if grid.period is None:
        below[[0, -1]] = 0.0, 1.0
    return np.diff(below)


def divergence(truth, table):
    """Kullback-Leibler divergence of columns."""
    return np.sum(np.where(truth > 0, truth * np.log(np.maximum(truth, 1e-300) / table), 0.0), axis=0)


@pytest.mark.parametrize(
    ("family", "freedom", "make"),
    [
        ("gaussian", None, stats.norm),
        ("student", 2, stats.t(2)),
        ("student", 4, stats.t(4)),
        ("student", 10, stats.t(10)),
        ("laplace", None, stats.laplace),
    ],
)
def test_cells_follow_scipy(family, freedom, make):
    coordinates = Coordinates.of(GRID, family, np.ones(GRID.n_cells))
    for location, scale in ((0.0, 0.1), (0.3, 0.4), (-0.6, 0.02)):
        found = cell_masses(family, coordinates, np.array(location), np.log(scale), freedom)
        below = make.cdf((coordinates.edges - location) / scale)
        below[[0, -1]] = 0.0, 1.0
        np.testing.assert_allclose(found, np.diff(below), atol=1e-13)


def test_cells_of_log_normal_and_von_mises_follow_scipy():
    grid = Grid(np.linspace(-0.1, 9.9, 101))
    coordinates = Coordinates.of(grid, "log-normal", np.ones(100))
    unit = np.log(9.9 / 1e-4)
    location = (np.log(2.0) - 0.5 * np.log(9.9 * 1e-4)) / unit
    found = cell_masses("log-normal", coordinates, np.array(location), np.log(0.5 / unit))
    expected = masses(stats.lognorm(0.5, scale=2.0), grid)
    np.testing.assert_allclose(found[1:], expected[1:], atol=1e-12)

    coordinates = Coordinates.of(CIRCLE, "von-mises", np.ones(72))
    for location, concentration in ((0.5, 0.3), (3.1, 4.0), (-2.0, 40.0)):
        scale = concentration**-0.5
        found = cell_masses("von-mises", coordinates, np.array(location), np.log(scale))
        expected = np.diff(stats.vonmises.cdf(coordinates.edges, concentration, loc=location))
        np.testing.assert_allclose(found, expected, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    seed=st.integers(0, 1000),
    n_classes=st.integers(1, 4),
    n_configurations=st.integers(1, 3),
    rate=st.sampled_from([0.0, 0.002, 0.1, 5.0]),
    error=st.sampled_from([0.0, 0.5]),
)
def test_tables_and_draws_are_probabilities(family, seed, n_classes, n_configurations, rate, error):
    rng = np.random.default_rng(seed)
    grid = CIRCLE if family == "von-mises" else GRID
    counts = rng.poisson(rate, (grid.n_cells, n_classes, n_configurations)) * rng.choice([1.0, 0.3])
    unknown = rng.poisson(0.1 * rate, (grid.n_cells, n_classes))
    fit = fit_family(counts, counts.sum(axis=2) + unknown, grid=grid, family=family, error=error)
    assert fit.table.shape == counts.shape
    for table in (fit.table, fit.draw(rng)):
        np.testing.assert_allclose(table.sum(axis=0), 1.0, rtol=1e-9)
        assert table.min() >= FLOOR / grid.n_cells * (1 - 1e-9)


def test_one_column_is_the_posterior_mean():
    """Few objects of one column, integrated over a dense lattice of location and log scale."""
    counts = counted(GRID, np.array([-1.0, 0.3, 0.4, 1.9, 2.2, 0.1]))
    fit = by_class(counts, grid=GRID, family="gaussian")
    location, log_scale = np.meshgrid(np.linspace(-3, 3, 201), np.linspace(-7, 3, 201))
    scale = np.maximum(np.exp(log_scale), 0.3 / 60)
    z = (np.linspace(-0.5, 0.5, 61)[1:-1] - location[..., None]) / scale[..., None]
    below = stats.norm.cdf(z)
    cells = np.diff(below, prepend=0.0, append=1.0)
    logs = np.log((1 - FLOOR) * cells + FLOOR / 60) @ counts[:, 0]
    logs += stats.norm.logpdf(location, 0.0, 1.0) + stats.norm.logpdf(log_scale, np.log(0.15), 1.0)
    weights = np.exp(logs - logs.max())
    expected = np.tensordot(weights / weights.sum(), cells, 2)
    expected = (1 - FLOOR) * expected + FLOOR / 60
    # Six objects have a posterior with long tails, of which the points around its peak miss some per cent.
    np.testing.assert_allclose(fit.table[:, 0, 0], expected, atol=0.03 * expected.max())
    assert divergence(expected, fit.table[:, 0, 0]) < 1e-3


def test_effects_are_those_of_the_joint_normal():
    """Each column's prior is the conditional of a multivariate normal given all the other estimates."""
    rng = np.random.default_rng(0)
    groups = tuple(np.indices((4, 3)).reshape(2, -1))
    value, precision = rng.normal(1.0, 2.0, 12), rng.gamma(2.0, 1.0, 12)
    precision[[2, 7]] = 0.0
    found = learn_effects(value, precision, groups, mean=0.5, variance=4.0)
    a, b, e = found.scatter
    same = [group[:, None] == group for group in groups]
    covariance = 4.0 + a**2 * same[0] + b**2 * same[1] + e**2 * np.eye(12)
    for i in range(12):
        others = np.flatnonzero((precision > 0) & (np.arange(12) != i))
        noisy = covariance[np.ix_(others, others)] + np.diag(1.0 / precision[others])
        gain = np.linalg.solve(noisy, covariance[others, i])
        assert found.mean[i] == pytest.approx(0.5 + gain @ (value[others] - 0.5), abs=1e-8)
        assert found.variance[i] == pytest.approx(covariance[i, i] - gain @ covariance[others, i], rel=1e-8)


def test_scatter_of_classes_is_learned():
    rng = np.random.default_rng(1)
    for scatter in (0.05, 1.0):
        value = rng.normal(0.0, scatter, 200) + rng.normal(0.0, 0.1, 200)
        found = learn_effects(value, np.full(200, 100.0), (np.arange(200),), mean=0.0, variance=1.0)
        assert found.scatter[0] == pytest.approx(scatter, rel=0.4)


@pytest.mark.parametrize(
    ("family", "truth"),
    [
        ("gaussian", stats.norm(0.7, 1.2)),
        ("student", stats.t(4, 0.7, 0.8)),
        ("laplace", stats.laplace(-1.0, 0.8)),
    ],
)
def test_a_large_sample_gives_the_truth(family, truth):
    values = truth.rvs(20_000, random_state=0)
    fit = by_class(counted(GRID, values), grid=GRID, family=family)
    assert divergence((1 - FLOOR) * masses(truth) + FLOOR / 60, fit.table[:, 0, 0]) < 1e-3


def test_errors_are_taken_out():
    rng = np.random.default_rng(2)
    truth = stats.norm(0.5, 0.6)
    counts = counted(GRID, truth.rvs(8000, random_state=3) + rng.normal(0.0, 0.8, 8000))
    sharp = by_class(counts, grid=GRID, family="gaussian", error=0.8)
    assert divergence(masses(truth), sharp.table[:, 0, 0]) < 0.015
    as_seen = by_class(counts, grid=GRID, family="gaussian")
    assert divergence(masses(stats.norm(0.5, 1.0)), as_seen.table[:, 0, 0]) < 0.015
    assert divergence(masses(truth), as_seen.table[:, 0, 0]) > 0.1


def test_values_beyond_the_grid_do_not_narrow_the_density():
    """A fifth of the objects lies beyond the last cell, which holds the tail."""
    truth = stats.norm(3.5, 1.8)
    fit = by_class(counted(GRID, truth.rvs(5000, random_state=4)), grid=GRID, family="gaussian")
    assert masses(truth)[-1] > 0.2
    assert fit.table[-1, 0, 0] == pytest.approx(masses(truth)[-1], abs=0.015)


def test_a_rare_class_learns_from_the_others():
    rng = np.random.default_rng(5)
    found = {"pooled": [], "alone": [], "kernel": []}
    for _ in range(8):
        means = rng.normal(0.0, 0.8, 8)
        column = np.repeat(np.arange(8), [4, 100, 100, 100, 100, 100, 100, 100])
        counts = counted(GRID, rng.normal(means[column], 0.7), column, 8)
        truth = masses(stats.norm(means[0], 0.7))
        alone = by_class(counts[:, :1], grid=GRID, family="gaussian")
        pooled = by_class(counts, grid=GRID, family="gaussian")
        kernel = smooth_table(counts[:, :, None], counts, grid=GRID)
        for name, fit in (("alone", alone), ("pooled", pooled), ("kernel", kernel)):
            found[name].append(divergence(truth, fit.table[:, 0, 0]))
    assert np.mean(found["pooled"]) < 0.7 * np.mean(found["alone"])
    assert np.mean(found["pooled"]) < np.mean(found["kernel"])


def test_classes_and_configurations_add():
    """A combination that was never seen takes the shift of its configuration and the place of its class."""
    rng = np.random.default_rng(6)
    counts = np.zeros((60, 4, 3))
    for c, o in np.ndindex(4, 3):
        if (c, o) != (0, 2):
            np.add.at(counts[:, c, o], GRID.cell(rng.normal(1.0 * c - 2.0 + 0.8 * o, 0.6, 200)), 1.0)
    fit = fit_family(counts, counts.sum(axis=2), grid=GRID, family="gaussian")
    assert GRID.centres @ fit.table[:, 0, 2] == pytest.approx(-0.4, abs=0.15)


def test_objects_of_unknown_configuration_inform_their_class():
    rng = np.random.default_rng(7)
    counts = np.zeros((60, 3, 2))
    for c, o in np.ndindex(3, 2):
        np.add.at(counts[:, c, o], GRID.cell(rng.normal(2.0 * c - 2.0, 0.6, 3 if c == 0 else 60)), 1.0)
    unknown = np.zeros((60, 3))
    np.add.at(unknown[:, 0], GRID.cell(rng.normal(-2.0, 0.6, 300)), 1.0)
    truth = masses(stats.norm(-2.0, 0.6))
    without = fit_family(counts, counts.sum(axis=2), grid=GRID, family="gaussian").table[:, 0]
    informed = fit_family(counts, counts.sum(axis=2) + unknown, grid=GRID, family="gaussian").table[:, 0]
    assert divergence(truth[:, None], informed).mean() < 0.6 * divergence(truth[:, None], without).mean()


def test_draws_cover_the_truth():
    """Nine tenths of the intervals of cells hold the truth, for classes drawn from a population."""
    rng = np.random.default_rng(8)
    inside, sizes = [], np.array([5, 20, 80, 300] * 3)
    column = np.repeat(np.arange(12), sizes)
    for _ in range(25):
        means, scales = rng.normal(0.0, 0.8, 12), np.exp(rng.normal(-0.4, 0.25, 12))
        counts = counted(GRID, rng.normal(means[column], scales[column]), column, 12)
        fit = by_class(counts, grid=GRID, family="gaussian")
        draws = np.stack([fit.draw(rng)[:, :, 0] for _ in range(200)])
        truth = np.stack([masses(stats.norm(m, s)) for m, s in zip(means, scales, strict=True)], axis=1)
        truth = (1 - FLOOR) * truth + FLOOR / 60
        low, high = np.quantile(draws, [0.05, 0.95], axis=0)
        inside.append(np.where(truth > 0.01, (truth >= low) & (truth <= high), np.nan))
        np.testing.assert_allclose(draws.mean(axis=0), fit.table[:, :, 0], atol=0.03)
    covered = np.nanmean(np.stack(inside), axis=(0, 1)).reshape(3, 4).mean(axis=0)
    # 75 columns of each size, of two parameters each: a standard error of some 3 %.
    np.testing.assert_allclose(covered, 0.9, atol=0.08)


def test_angles_wrap():
    rng = np.random.default_rng(9)
    column = np.repeat([0, 1], 150)
    values = np.mod(np.rad2deg(rng.vonmises(np.array([0.0, 1.0])[column], 3.0)), 360.0)
    counts = counted(CIRCLE, values, column, 2)
    fit = by_class(counts, grid=CIRCLE, family="von-mises")
    turned = by_class(np.roll(counts, 31, axis=0), grid=CIRCLE, family="von-mises")
    np.testing.assert_allclose(turned.table, np.roll(fit.table, 31, axis=0), atol=1e-4)
    truth = np.diff(stats.vonmises.cdf(np.deg2rad(CIRCLE.edges), 3.0))
    assert divergence(truth, fit.table[:, 0, 0]) < 0.03
    assert fit.table[0, 0, 0] == pytest.approx(fit.table[-1, 0, 0], rel=0.3)


def test_uniform_angles_are_uniform():
    counts = counted(CIRCLE, np.random.default_rng(10).uniform(0.0, 360.0, 5000))
    fit = by_class(counts, grid=CIRCLE, family="von-mises")
    np.testing.assert_allclose(fit.table[:, 0, 0] * 72, 1.0, atol=0.08)


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        (stats.norm(0.0, 1.0), {"gaussian"}),
        (stats.t(2, 0.0, 0.5), {"student"}),
        (stats.laplace(0.0, 0.8), {"laplace"}),
    ],
)
def test_the_true_family_is_chosen(truth, expected):
    counts = counted(GRID, truth.rvs(3000, random_state=11))
    family, scores = choose_family(counts[:, :, None], counts, grid=GRID)
    assert family in expected
    assert scores[family] == max(scores.values())
    assert type(density_table(counts[:, :, None], counts, grid=GRID, family="auto").table) is np.ndarray


def test_kernels_are_chosen_where_no_family_fits():
    rng = np.random.default_rng(12)
    two = np.concatenate([rng.normal(-2.5, 0.4, 500), rng.normal(2.0, 0.6, 500)])
    counts = counted(GRID, two)
    assert choose_family(counts[:, :, None], counts, grid=GRID)[0] == "kernel"
    grid = Grid(np.linspace(0.0, 20.0, 97))
    counts = counted(grid, rng.lognormal(0.8, 0.6, 2000))
    assert choose_family(counts[:, :, None], counts, grid=grid)[0] == "log-normal"
    nothing = np.zeros((60, 2))
    assert choose_family(nothing[:, :, None], nothing, grid=GRID) == ("kernel", {})


COLUMNS = (
    EvidenceSpec("x", "continuous", column="x"),
    EvidenceSpec("angle", "angle", column="angle"),
    EvidenceSpec("flag", "categorical", column="flag", states=("no", "yes")),
)
CHOSEN = {
    "densities": {"x": "auto", "angle": "von-mises"},
    "tables": {"flag": "noisy-or"},
}


def evidence(n, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    x = rng.normal(y, 1.0)
    flag = rng.random(n) < 0.1 + 0.3 * y + 0.4 * (x > 1)
    angle = np.mod(rng.normal(180.0 * y, 40.0), 360.0)
    frame = pd.DataFrame({"object_id": np.arange(n).astype(str), "x": x, "angle": angle})
    frame["flag"] = np.where(flag, "yes", "no")
    frame.loc[rng.random(n) < 0.2, "x"] = np.nan
    return EvidenceTable.from_frame(frame, COLUMNS), y


def test_network_takes_the_choices():
    table, y = evidence(600)
    edges, two = (("x", "flag"),), np.eye(2, dtype=bool)
    spec = NetworkSpec(class_states=("a", "b"), edges=edges, **CHOSEN)
    network = BayesianNetwork.fit(spec, table, two[y], n_draws=3)
    assert network.nodes["x"].density == "gaussian"
    assert network.nodes["angle"].density == "von-mises"
    assert network.nodes["flag"].table == "noisy-or"
    plain = BayesianNetwork.fit(NetworkSpec(class_states=("a", "b"), edges=edges), table, two[y], n_draws=0)
    held_out, truth = evidence(400, seed=1)
    odds = [np.diff(own.log_likelihood(held_out), axis=1)[:, 0] for own in (network, plain)]
    assert np.corrcoef(odds)[0, 1] > 0.95
    assert np.mean((odds[0] > 0) == truth) > 0.85

    meta, arrays = network.to_arrays()
    again = BayesianNetwork.from_arrays(json.loads(json.dumps(meta)), arrays)
    assert again.spec == spec
    np.testing.assert_array_equal(again.log_likelihood(held_out), network.log_likelihood(held_out))
    assert again.nodes["x"].density == "gaussian"


def test_choices_must_name_evidence():
    table, y = evidence(30)
    spec = NetworkSpec(class_states=("a", "b"), densities={"z": "student"})
    with pytest.raises(
        NetworkError, match=r"densities must name evidence .* found 'z'; known: x, angle, flag"
    ):
        BayesianNetwork.fit(spec, table, np.eye(2, dtype=bool)[y], n_draws=0)


def test_recipe_names_the_choices():
    def read(network):
        return read_network(Section("r", "", {"network": network}, None), COLUMNS)

    edges = read(CHOSEN)
    assert (edges.densities, edges.tables) == (CHOSEN["densities"], CHOSEN["tables"])
    assert read(write_network(edges)) == edges
    assert "densities" not in write_network(read({}))
    for network, message in (
        ({"densities": {"z": "student"}}, "network.densities must be among x, angle, flag, found 'z'"),
        ({"densities": {"x": "von-mises"}}, "network.densities.x must be one of kernel, gaussian"),
        ({"densities": {"flag": "kernel"}}, "network.densities.flag is categorical evidence, which has no"),
        ({"tables": {"flag": "or"}}, "network.tables.flag must be one of dirichlet, noisy-or, pooled"),
    ):
        with pytest.raises(RecipeError, match=message):
            read(network)
    three = EvidenceSpec("m", "categorical", column="m", states=("a", "b", "c"))
    with pytest.raises(RecipeError, match="can't be noisy-or, which is for two states, found 3"):
        read_network(Section("r", "", {"network": {"tables": {"m": "noisy-or"}}}, None), (three,))
