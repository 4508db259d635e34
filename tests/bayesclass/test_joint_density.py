"""Joint densities against scipy's Gaussians, quadrature over missing columns, enumeration and simulation."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from bayesclass.joint_density import JointDensity, JointParameters, marginals
from bayesclass.joint_density_fit import draw_joint, fit_joint
from bayesclass.joint_density_start import first_states
from bayesclass.network_spec import JointSpec
from bayesclass.nodes import EvidenceNode
from context.evidence import Condition, EvidenceSpec, EvidenceTable

COLUMNS = ("mag", "separation", "colour")
SPECS = (
    EvidenceSpec("mag", "continuous", column="mag", unit="mag"),
    EvidenceSpec("separation", "continuous", column="sep", error="sep_err", none=Condition("lonely", True)),
    EvidenceSpec("colour", "continuous", column="colour", unit="mag"),
)


def random_parameters(rng, n_classes=2, n_states=3, n_columns=3):
    root = rng.normal(size=(n_states, n_columns, n_columns)) * 0.5
    covariance = root @ root.swapaxes(1, 2) + 0.2 * np.eye(n_columns)
    weight = rng.dirichlet(np.ones(n_states), size=n_classes)
    log_none = np.full((n_states, n_columns), -np.inf)
    log_none[:, 1] = np.log(rng.uniform(0.1, 0.6, n_states))
    return JointParameters(np.log(weight), rng.normal(size=(n_states, n_columns)), covariance, log_none)


def table(frame):
    return EvidenceTable.from_frame(frame, SPECS)


def encode(frame, nodes=None):
    columns = table(frame).columns
    nodes = nodes or {name: EvidenceNode.from_column(columns[name]) for name in COLUMNS}
    return nodes, {name: node.encode(columns[name]) for name, node in nodes.items()}


def frame_of(mag, sep, colour, *, sep_err=0.1, lonely=False):
    n = len(mag)
    return pd.DataFrame(
        {"object_id": [f"o{i}" for i in range(n)], "mag": mag, "sep": sep, "colour": colour,
         "sep_err": np.broadcast_to(sep_err, n), "lonely": np.broadcast_to(lonely, n)}
    )  # fmt: skip


@pytest.fixture
def density(rng):
    nodes, _ = encode(frame_of(rng.normal(size=60), rng.normal(size=60), rng.normal(size=60)))
    centre, scale = np.array([0.5, -1.0, 0.2]), np.array([2.0, 0.5, 1.3])
    return JointDensity("host", nodes, centre, scale, random_parameters(rng), np.zeros(3, bool))


def direct(density, values, errors, none=()):
    """Sum over latent states with scipy's density of the measured columns, in the columns' own units."""
    p = density.parameters
    known = [j for j, value in enumerate(values) if np.isfinite(value)]
    total = np.zeros(p.log_weight.shape[0])
    for k in range(len(p.mean)):
        mean = density.centre + density.scale * p.mean[k]
        covariance = p.covariance[k] * np.outer(density.scale, density.scale) + np.diag(np.square(errors))
        part = 1.0
        if known:
            part = multivariate_normal(mean[known], covariance[np.ix_(known, known)]).pdf(
                [values[j] for j in known]
            )
        for j in range(len(values)):
            if np.isfinite(p.log_none[k, j]):
                chance = np.exp(p.log_none[k, j])
                part *= chance if j in none else (1 - chance) if j in known else 1.0
        total += np.exp(p.log_weight[:, k]) * part
    return np.log(total)


def test_every_pattern_equals_the_sum_over_latent_states(density):
    rows, expected = [], []
    for bits in range(1, 8):
        values = [0.9 if bits & 1 else np.nan, -0.7 if bits & 2 else np.nan, 0.4 if bits & 4 else np.nan]
        rows.append((*values, False))
        expected.append(direct(density, values, [0.0, 0.1 if bits & 2 else 0.0, 0.0]))
    rows.append((0.9, np.nan, np.nan, True))
    expected.append(direct(density, [0.9, np.nan, np.nan], np.zeros(3), none=(1,)))
    rows.append((np.nan, np.nan, np.nan, True))
    expected.append(direct(density, [np.nan] * 3, np.zeros(3), none=(1,)))
    mag, sep, colour, lonely = zip(*rows, strict=True)
    _, encoded = encode(frame_of(mag, sep, colour, lonely=list(lonely)), density.nodes)
    np.testing.assert_allclose(density.log_likelihood(encoded), expected, rtol=1e-10)


def test_missing_columns_are_integrated_out(density):
    def joint(mag, sep, colour):
        _, encoded = encode(frame_of([mag], [sep], [colour], sep_err=1e-9), density.nodes)
        return np.exp(density.log_likelihood(encoded)[0, 0])

    _, without_colour = encode(frame_of([0.9], [-0.7], [np.nan], sep_err=1e-9), density.nodes)
    integral, _ = quad(lambda colour: joint(0.9, -0.7, colour), -7.0, 7.5, epsabs=1e-7)
    assert np.exp(density.log_likelihood(without_colour)[0, 0]) == pytest.approx(integral, rel=1e-4)


def test_density_and_none_sum_to_one():
    # In units of the data: the integral over a plane of measured values plus P(none) of the second column.
    rng = np.random.default_rng(5)
    p = random_parameters(rng, n_columns=2)
    nodes = dict(list(encode(frame_of([0.0, 1.0], [0.0, 1.0], [0.0, 1.0]))[0].items())[:2])
    density = JointDensity("host", nodes, np.zeros(2), np.ones(2), p, np.zeros(2, bool))

    # A sum over a fine grid, exact to rounding for smooth functions that vanish at its ends.
    axis = np.linspace(-5.95, 5.95, 120)
    x, y = (grid.ravel() for grid in np.meshgrid(axis, axis))
    _, encoded = encode(frame_of(x, y, np.full(len(x), np.nan), sep_err=1e-9))
    cell = (axis[1] - axis[0]) ** 2
    inside = np.exp(density.log_likelihood({name: encoded[name] for name in nodes})[:, 0]).sum() * cell
    none = np.exp(p.log_weight[0]) @ np.exp(p.log_none[:, 1])
    assert inside + none == pytest.approx(1.0, abs=1e-3)


def test_no_evidence_is_exactly_zero_and_contributions_sum(density, rng):
    n = 40
    columns = [np.where(rng.random(n) < 0.5, np.nan, rng.normal(size=n)) for _ in range(3)]
    columns = [np.where(np.arange(n) == 0, np.nan, column) for column in columns]
    lonely = (rng.random(n) < 0.3) & (np.arange(n) > 0)
    _, encoded = encode(frame_of(*columns, lonely=lonely), density.nodes)
    total = density.log_likelihood(encoded)
    assert (total[0] == 0.0).all()
    parts = density.contributions(encoded)
    np.testing.assert_allclose(sum(parts.values()), total, atol=1e-12)
    for name in COLUMNS:
        assert (parts[name][encoded[name].state < 0] == 0.0).all()


def test_posterior_moments_equal_a_fine_sum():
    # The expected true value behind a noisy and a missing cell, from a grid over both.
    mean, covariance = np.array([[0.3, -0.2]]), np.array([[[1.0, 0.6], [0.6, 0.8]]])
    got = marginals(
        np.array([[1.1, 0.0]]), np.array([[0.5, 0.0]]), np.array([[True, False]]), mean, covariance
    )
    x, y = np.meshgrid(np.linspace(-7, 7, 801), np.linspace(-7, 7, 801), indexing="ij")
    prior = multivariate_normal(mean[0], covariance[0]).pdf(np.dstack([x, y]))
    weight = prior * np.exp(-0.5 * ((1.1 - x) / 0.5) ** 2)
    weight /= weight.sum()
    expected = np.array([(weight * x).sum(), (weight * y).sum()])
    np.testing.assert_allclose(mean[0] + got.deviation[0, 0], expected, atol=1e-6)
    cross = (weight * (x - expected[0]) * (y - expected[1])).sum()
    assert got.spread[got.pattern[0], 0, 0, 1] == pytest.approx(cross, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_of_objects_and_columns_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    p = random_parameters(rng)
    value, error = rng.normal(size=(9, 3)), rng.uniform(0, 0.5, (9, 3))
    measured = rng.random((9, 3)) < 0.6
    got = marginals(value, error, measured, p.mean, p.covariance).log_density
    rows, columns = rng.permutation(9), rng.permutation(3)
    again = marginals(
        value[rows][:, columns], error[rows][:, columns], measured[rows][:, columns],
        p.mean[:, columns], p.covariance[:, columns][:, :, columns],
    )  # fmt: skip
    np.testing.assert_allclose(again.log_density, got[rows], atol=1e-10)


def simulated(rng, n, missing=0.4):
    """Two classes: a blob, and two blobs whose columns are correlated; separations with errors."""
    y = (rng.random(n) < 0.3).astype(int)
    second = rng.random(n) < 0.5
    mean = np.where(
        y[:, None] == 0, [20.0, 0.0, 0.5], np.where(second[:, None], [17.0, 1.5, 0.5], [22.0, 0.5, 1.2])
    )
    root = np.linalg.cholesky(np.array([[1.0, 0.5, 0.0], [0.5, 0.6, 0.1], [0.0, 0.1, 0.2]]))
    true = mean + rng.normal(size=(n, 3)) @ root.T
    sep_err = rng.uniform(0.05, 0.4, n)
    shown = true + np.column_stack([np.zeros(n), rng.normal(size=n) * sep_err, np.zeros(n)])
    lonely = rng.random(n) < np.where(y == 0, 0.05, 0.4)
    shown[rng.random((n, 3)) < missing] = np.nan
    covariance = root @ root.T

    def log_likelihood(row, e, alone):
        known = np.isfinite(row) & ~np.array([False, alone, False])
        blobs = [[(1.0, [20.0, 0.0, 0.5])], [(0.5, [17.0, 1.5, 0.5]), (0.5, [22.0, 0.5, 1.2])]]
        full = covariance + np.diag([0.0, e**2, 0.0])
        out = []
        for chance, group in zip((0.05, 0.4), blobs, strict=True):
            state = chance if alone else 1 - chance if known[1] else 1.0
            part = 1.0
            if known.any():
                cut = full[np.ix_(known, known)]
                part = sum(w * multivariate_normal(np.array(m)[known], cut).pdf(row[known]) for w, m in group)
            out.append(np.log(state * part))
        return out

    frame = frame_of(*shown.T, sep_err=sep_err, lonely=lonely)
    return frame, y, np.array([log_likelihood(*row) for row in zip(shown, sep_err, lonely, strict=True)])


def test_a_fit_comes_close_to_the_truth(rng):
    # The exact classifier of the simulation is the limit; a fit on 3,000 objects must come near it.
    frame, y, _ = simulated(rng, 3000)
    nodes, encoded = encode(frame)
    density, sample = fit_joint(JointSpec("host", COLUMNS, 4), nodes, encoded, np.eye(2)[y], np.ones(3000))
    tested, truth, exact = simulated(np.random.default_rng(99), 1500)
    _, codes = encode(tested, nodes)
    prior = np.log([0.7, 0.3])

    def loss(log_likelihood):
        joint = log_likelihood + prior
        return -(joint[np.arange(len(truth)), truth] - np.logaddexp(*joint.T)).mean()

    assert loss(density.log_likelihood(codes)) < loss(exact) + 0.01
    assert loss(exact) < 0.75 * loss(np.zeros((1500, 2)))
    draw = draw_joint(density, sample, np.random.default_rng(3))
    assert loss(density.log_likelihood(codes, parameters=draw)) < loss(exact) + 0.03
    assert draw.mean.dtype == np.float32


def test_draws_scatter_as_much_as_the_sample_allows(rng):
    frame, _, _ = simulated(rng, 400, missing=0.0)
    frame["lonely"] = False
    nodes, encoded = encode(frame)
    spec = JointSpec("host", COLUMNS, 1)
    density, sample = fit_joint(spec, nodes, encoded, np.eye(2)[np.zeros(400, int)], np.ones(400))
    means = []
    for _ in range(100):
        p = draw_joint(density, sample, rng)
        means.append(np.exp(p.log_weight[0].astype(float)) @ p.mean.astype(float))
    # The mean of n independent objects of unit pooled variance has the standard error 1 / sqrt(n).
    assert np.std(means, axis=0)[0] == pytest.approx(1 / np.sqrt(400), rel=0.25)


def test_columns_that_others_determine_do_not_favour_large_states(rng):
    # A copy of a column says nothing new: log-odds with it stay near those without.
    frame, y, _ = simulated(rng, 1500, missing=0.0)
    frame["lonely"] = False
    frame["sep"], frame["sep_err"] = frame["mag"] - frame["colour"], 1e-6
    nodes, encoded = encode(frame)
    full, _ = fit_joint(JointSpec("host", COLUMNS, 3), nodes, encoded, np.eye(2)[y], np.ones(1500))
    odds = full.log_likelihood(encoded) @ [1.0, -1.0]
    without = full.log_likelihood(encoded, columns=("mag", "colour")) @ [1.0, -1.0]
    assert np.abs(odds - without).mean() < 0.25


def test_stored_and_read_again(density):
    meta, arrays = density.to_arrays()
    again = JointDensity.from_arrays(meta, arrays)
    _, encoded = encode(frame_of([0.9, np.nan], [-0.7, 0.2], [np.nan, 0.4]), density.nodes)
    np.testing.assert_array_equal(again.log_likelihood(encoded), density.log_likelihood(encoded))
    assert again.columns == density.columns


def test_a_block_without_any_measured_cell_says_nothing(rng):
    frame = frame_of([np.nan] * 6, [np.nan] * 6, [np.nan] * 6)
    nodes, encoded = encode(frame)
    density, _ = fit_joint(JointSpec("host", COLUMNS), nodes, encoded, np.eye(2)[[0, 1] * 3], np.ones(6))
    assert (density.log_likelihood(encoded) == 0.0).all()


def test_a_far_value_can_say_no_more_than_the_background_lets_it(rng):
    frame, y, _ = simulated(rng, 800, missing=0.0)
    nodes, encoded = encode(frame)
    density, _ = fit_joint(JointSpec("host", COLUMNS, 3), nodes, encoded, np.eye(2)[y], np.ones(800))
    _, far = encode(frame_of([60.0], [np.nan], [np.nan]), nodes)
    assert np.abs(density.log_likelihood(far) @ [1.0, -1.0]) < np.log(100.0)


def test_first_states_keep_classes_apart(rng):
    value, labels = rng.normal(size=(200, 2)), np.repeat([0, 1], [170, 30])
    states = first_states(value, labels, 4, rng)
    assert states.shape == (200, 5)
    np.testing.assert_array_equal(states.sum(axis=1), 1.0)
    assert not ((states[labels == 0].sum(axis=0) > 0) & (states[labels == 1].sum(axis=0) > 0)).any()


def test_a_probability_is_described_by_its_logit(rng):
    # The integral over [0, 1] is the Gaussian's between the ends of the logit, 5.3 either side.
    nodes, _ = encode(frame_of(rng.random(50), rng.normal(size=50), rng.normal(size=50)))
    p = random_parameters(rng)
    density = JointDensity("host", nodes, np.zeros(3), np.ones(3), p, np.array([True, False, False]))
    share = (np.arange(20_000) + 0.5) / 20_000
    _, encoded = encode(frame_of(share, np.full(20_000, np.nan), np.full(20_000, np.nan)), nodes)
    mass = np.exp(density.log_likelihood(encoded)[:, 0]).mean()
    end = np.log(1.005 / 0.005)
    spread = np.sqrt(p.covariance[:, 0, 0])
    inside = norm.cdf((end - p.mean[:, 0]) / spread) - norm.cdf((-end - p.mean[:, 0]) / spread)
    assert mass == pytest.approx(np.exp(p.log_weight[0]) @ inside, abs=1e-3)
