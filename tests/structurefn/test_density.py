import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structurefn.density import (
    STRENGTHS,
    Density,
    fit_density,
    fold_of_object,
    neighbouring_rows,
    weighted_tables,
)
from structurefn.response import mean_normal_cdf, response_matrix

EDGES = np.sinh(np.linspace(-4.0, 4.0, 21)) * 0.1
ERRORS = np.array([0.03, 0.1, 0.3, 0.6])


def simulate_counts(rng, true, edges, errors, n_objects, n_events):
    """Events of objects of one class, drawn without the response matrix: cell, place in it, noise, cell."""
    n_rows, n_cells = true.shape
    counts = np.zeros((n_objects, n_rows, len(errors), n_cells), dtype=np.float32)
    for i in range(n_objects):
        n = n_events if np.isscalar(n_events) else n_events[i]
        row = rng.integers(0, n_rows, n)
        s = rng.integers(0, len(errors), n)
        cell = np.array([rng.choice(n_cells, p=true[r]) for r in row], dtype=int)
        x = rng.uniform(edges[cell], edges[cell + 1]) + errors[s] * rng.standard_normal(n)
        seen = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, n_cells - 1)
        np.add.at(counts[i], (row, s, seen), 1)
    return counts


def two_peaks(edges):
    """A density with a narrow and a broad part, as probabilities of cells."""
    x = 0.5 * (edges[1:] + edges[:-1])
    density = np.exp(-0.5 * ((x + 0.1) / 0.08) ** 2) + 0.3 * np.exp(-0.5 * ((x - 0.9) / 0.25) ** 2)
    probability = density * np.diff(edges)
    return probability / probability.sum()


def distance(p, q):
    """Total variation, 0 to 1."""
    return 0.5 * np.abs(p - q).sum(axis=-1)


@pytest.fixture(scope="module")
def response():
    return response_matrix(EDGES, ERRORS)


# --- response matrix ---------------------------------------------------------------------------------


def test_response_matrix_equals_monte_carlo(response, rng):
    n = 200_000
    for s in (0, 2):
        for j in (0, 7, 10, 19):
            x = rng.uniform(EDGES[j], EDGES[j + 1], n) + ERRORS[s] * rng.standard_normal(n)
            inner = np.clip(np.searchsorted(EDGES, x) - 1, 0, 19)
            share = np.bincount(inner, minlength=20) / n
            # Five standard deviations of a binomial share.
            np.testing.assert_allclose(response[s, :, j], share, atol=5 * np.sqrt(0.25 / n))


def test_mean_normal_cdf_equals_quadrature():
    from scipy.integrate import quad
    from scipy.stats import norm

    for low, high, threshold, error in [(-0.3, 0.5, 0.1, 0.2), (0.0, 2.0, 1.9, 0.01), (1.0, 1.2, 0.0, 0.4)]:
        whole = quad(lambda x, b=threshold, s=error: norm.cdf((b - x) / s), low, high, points=[threshold])[0]
        assert mean_normal_cdf(low, high, threshold, error) == pytest.approx(whole / (high - low), abs=1e-8)


@settings(max_examples=50, deadline=None)
@given(
    widths=st.lists(st.floats(1e-3, 5.0), min_size=1, max_size=12),
    errors=st.lists(st.floats(1e-3, 10.0), min_size=1, max_size=4),
    start=st.floats(-20.0, 20.0),
)
def test_response_columns_sum_to_one(widths, errors, start):
    matrix = response_matrix(start + np.concatenate([[0.0], np.cumsum(widths)]), np.array(errors))
    assert matrix.shape == (len(errors), len(widths), len(widths))
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)


def test_response_of_tiny_errors_is_the_identity():
    np.testing.assert_allclose(response_matrix(EDGES, np.array([1e-9]))[0], np.eye(20), atol=1e-6)


@pytest.mark.parametrize("edges", [[0.0], [0.0, 0.0], [1.0, 0.0], [0.0, np.inf]])
def test_response_refuses_bad_edges(edges):
    with pytest.raises(ValueError, match="column_edges must be at least two finite, ascending"):
        response_matrix(np.array(edges), ERRORS)


@pytest.mark.parametrize("errors", [[], [0.0], [-1.0], [np.nan]])
def test_response_refuses_bad_errors(errors):
    with pytest.raises(ValueError, match="error_centres must be finite and positive"):
        response_matrix(EDGES, np.array(errors))


# --- expectation-maximisation ------------------------------------------------------------------------


def test_recovers_the_true_density_through_large_unequal_errors(response, rng):
    true = two_peaks(EDGES)
    counts = simulate_counts(rng, true[None], EDGES, ERRORS, n_objects=600, n_events=20)
    fitted = fit_density(counts, np.ones((600, 1)), response, tail=1e-3)
    smeared = counts.sum(axis=(0, 1, 2))
    smeared /= smeared.sum()
    # 12,000 events, half of them with errors larger than the narrow part of the density. Counting the
    # observed cells is off by a third of the probability; the fit by a few per cent.
    assert distance(fitted.true[0, 0], true) < 0.09
    assert distance(smeared, true) > 0.25
    x = 0.5 * (EDGES[1:] + EDGES[:-1])
    spread = np.sqrt(fitted.true[0, 0] @ x**2 - (fitted.true[0, 0] @ x) ** 2)
    assert spread == pytest.approx(np.sqrt(true @ x**2 - (true @ x) ** 2), abs=0.03)


def test_converges_to_the_optimum_that_a_general_optimiser_finds(rng):
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    edges, errors = np.linspace(-1.0, 1.0, 6), np.array([0.1, 0.4])
    response = response_matrix(edges, errors)
    counts = rng.poisson(8.0, (1, 1, 2, 5)).astype(np.float32)
    parent, a, tail = rng.dirichlet(np.ones(5)), 6.0, 0.02

    def loss(free):
        log_pi = log_softmax(free)
        model = (1 - tail) * np.einsum("sij,j->si", response, np.exp(log_pi)) + tail / 5
        return -np.sum(counts[0, 0] * np.log(model)) - a * np.sum(parent * log_pi)

    best = minimize(loss, np.zeros(5), tol=1e-12)
    fitted = fit_density(
        counts, np.ones((1, 1)), response, strength=a, parent=parent[None, None], tail=tail, n_iter=3000
    )
    np.testing.assert_allclose(fitted.true[0, 0], np.exp(log_softmax(best.x)), atol=2e-4)


def test_back_off_is_the_stated_formula_without_errors(rng):
    response = response_matrix(EDGES, np.array([1e-9]))
    counts = rng.poisson(0.5, (1, 3, 1, 20)).astype(np.float32)
    parent = rng.dirichlet(np.ones(20), (1, 3))
    fitted = fit_density(counts, np.ones((1, 1)), response, strength=7.0, parent=parent, tail=1e-6)
    number = counts[0, :, 0]
    expected = (number + 7.0 * parent[0]) / (number.sum(axis=-1, keepdims=True) + 7.0)
    np.testing.assert_allclose(fitted.true[0], expected, atol=1e-4)


def test_class_without_data_is_its_parent(response, rng):
    counts = simulate_counts(rng, np.array([two_peaks(EDGES)] * 3), EDGES, ERRORS, 40, 30)
    membership = np.zeros((40, 2))
    membership[:, 0] = 1.0
    parent = rng.dirichlet(np.ones(20), (2, 3))
    fitted = fit_density(counts, membership, response, parent=parent)
    np.testing.assert_allclose(fitted.true[1], parent[1], atol=1e-6)
    np.testing.assert_array_equal(fitted.effective_events[1], 0.0)
    # Without a parent given, it has the rows of all classes, which here are those of the other.
    pooled = fit_density(counts, membership, response)
    assert distance(pooled.true[1], pooled.true[0]).max() < 0.2
    assert distance(pooled.true[1], two_peaks(EDGES)).max() < 0.3


def test_row_without_data_is_like_its_neighbours(response, rng):
    left, right = two_peaks(EDGES), two_peaks(EDGES)[::-1]
    counts = simulate_counts(rng, np.array([left, left, left, right, right]), EDGES, ERRORS, 200, 20)
    counts[:, 1] = 0
    fitted = fit_density(counts, np.ones((200, 1)), response)
    assert distance(fitted.true[0, 1], left) < 0.2
    assert distance(fitted.true[0, 1], right) > 0.6


def test_without_any_event_all_is_uniform(response):
    fitted = fit_density(np.zeros((3, 2, 4, 20), np.float32), np.ones((3, 2)), response)
    np.testing.assert_allclose(fitted.true, 1 / 20, atol=1e-6)
    none = fit_density(np.zeros((0, 2, 4, 20), np.float32), np.ones((0, 2)), response)
    np.testing.assert_allclose(none.true, 1 / 20, atol=1e-6)


def test_strength_grows_when_classes_are_alike(response, rng):
    one, other = two_peaks(EDGES), two_peaks(EDGES)[::-1]
    membership = np.repeat(np.eye(2), 60, axis=0)

    def strength(second):
        first_counts = simulate_counts(rng, one[None], EDGES, ERRORS, 60, 10)
        second_counts = simulate_counts(rng, second[None], EDGES, ERRORS, 60, 10)
        return fit_density(np.concatenate([first_counts, second_counts]), membership, response).strength

    different, alike = strength(other), strength(one)
    assert different <= 16.0
    assert alike >= 256.0
    assert {different, alike} <= set(STRENGTHS)


# --- weights -----------------------------------------------------------------------------------------


def test_objects_with_many_events_do_not_rule(response, rng):
    few, many = two_peaks(EDGES), two_peaks(EDGES)[::-1]
    counts = np.concatenate(
        [
            simulate_counts(rng, few[None], EDGES, ERRORS, 90, 10),
            simulate_counts(rng, many[None], EDGES, ERRORS, 10, 2000),
        ]
    )
    membership = np.ones((100, 1))
    by_object = fit_density(counts, membership, response, strength=1.0)
    by_event = fit_density(counts, membership, response, strength=1.0, object_power=0.0)
    mixture = 0.9 * few + 0.1 * many
    assert distance(by_object.true[0, 0], mixture) < 0.12
    assert distance(by_event.true[0, 0], many) < 0.12


def test_weights_sum_to_the_effective_number_of_events(rng):
    counts = rng.poisson(1.0, (30, 2, 3, 4)).astype(np.float32)
    counts[5] = 0
    membership = rng.dirichlet(np.ones(3), 30) * rng.uniform(0.1, 1.0, (30, 1))
    fold = np.arange(30) % 2
    for power in (0.0, 0.5, 1.0):
        tables = weighted_tables(counts, membership, fold, 2, power)
        total, size = counts.sum(axis=(1, 2, 3)), membership.sum(axis=1)
        weight = np.array([n**-power if n else 0.0 for n in total])
        effective = np.sum(size * weight * total) ** 2 / np.sum(size * weight**2 * total)
        assert tables.sum() == pytest.approx(effective, rel=1e-5)
        factor = effective / np.sum(size * weight * total)
        loop = np.zeros((2, 3, 2, 3, 4))
        for i in range(30):
            for c in range(3):
                loop[fold[i], c] += membership[i, c] * weight[i] * factor * counts[i]
        np.testing.assert_allclose(tables, loop, rtol=1e-4, atol=1e-6)


def test_versions_of_an_object_with_shares_count_as_one_object(response, rng):
    counts = simulate_counts(rng, two_peaks(EDGES)[None], EDGES, ERRORS, 30, 12)
    once = fit_density(counts, np.ones((30, 1)), response, strength=4.0)
    versions = fit_density(
        np.repeat(counts, 5, axis=0),
        np.full((150, 1), 0.2),
        response,
        strength=4.0,
        groups=np.repeat(np.arange(30), 5),
    )
    np.testing.assert_allclose(versions.true, once.true, atol=1e-5)
    np.testing.assert_allclose(versions.effective_events, once.effective_events, rtol=1e-5)


def test_folds_keep_groups_together_and_spread_classes(rng):
    counts = rng.poisson(1.0, (60, 1, 1, 4)).astype(np.float32)
    membership = np.eye(2)[np.repeat([0, 1], [40, 20])]
    groups = np.repeat(np.arange(30), 2)
    fold = fold_of_object(counts, membership, groups, 3)
    assert (fold[::2] == fold[1::2]).all()
    assert np.bincount(fold[:40], minlength=3).min() >= 12
    assert np.bincount(fold[40:], minlength=3).min() >= 6


def test_neighbouring_rows_by_hand():
    table = np.arange(1.0, 7.0).reshape(1, 1, 6, 1, 1)
    around = neighbouring_rows(table, (2, 3)).reshape(2, 3)
    # Rows 1 2 3 / 4 5 6; a step along an axis has weight 1/2, a diagonal step 1/4.
    assert around[0, 0] == pytest.approx(0.5 * (2 + 4) + 0.25 * 5)
    assert around[1, 1] == pytest.approx(0.5 * (2 + 4 + 6) + 0.25 * (1 + 3))
    np.testing.assert_array_equal(neighbouring_rows(table[:, :, :1], (1,)), 0.0)


# --- invariants --------------------------------------------------------------------------------------


def test_classes_permute_and_order_of_objects_changes_nothing(response, rng):
    counts = simulate_counts(rng, np.array([two_peaks(EDGES)] * 2), EDGES, ERRORS, 60, 15)
    membership = rng.dirichlet(np.ones(3), 60)
    plain = fit_density(counts, membership, response)
    permuted = fit_density(counts, membership[:, [2, 0, 1]], response)
    assert permuted.strength == plain.strength
    np.testing.assert_allclose(permuted.true, plain.true[[2, 0, 1]], atol=1e-5)
    order = rng.permutation(60)
    shuffled = fit_density(counts[order], membership[order], response)
    assert shuffled.strength == plain.strength
    np.testing.assert_allclose(shuffled.true, plain.true, atol=1e-5)


def test_double_precision_gives_the_same(response, rng):
    counts = simulate_counts(rng, two_peaks(EDGES)[None], EDGES, ERRORS, 30, 12)
    single = fit_density(counts, np.ones((30, 1)), response)
    with jax.enable_x64(True):
        double = fit_density(counts.astype(np.float64), np.ones((30, 1)), response)
    np.testing.assert_allclose(double.true, single.true, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n_objects=st.integers(0, 6),
    rate=st.sampled_from([0.0, 0.1, 3.0, 1e4]),
    strength=st.sampled_from([None, 1e-3, 1e5]),
    tail=st.sampled_from([1e-4, 0.02, 0.5]),
)
def test_densities_are_normalised(seed, n_objects, rate, strength, tail):
    rng = np.random.default_rng(seed)
    response = response_matrix(np.linspace(-1.0, 1.0, 6), np.array([0.05, 0.5]))
    counts = rng.poisson(rate, (n_objects, 4, 2, 5)).astype(np.float32)
    membership = rng.integers(0, 2, (n_objects, 3)).astype(float)
    fitted = fit_density(
        counts, membership, response, strength=strength, tail=tail, n_iter=20, row_shape=(2, 2)
    )
    assert fitted.true.shape == (3, 4, 5)
    assert fitted.observed.shape == (3, 4, 2, 5)
    assert (fitted.true >= 0).all()
    np.testing.assert_allclose(fitted.true.sum(axis=-1), 1.0, atol=1e-12)
    np.testing.assert_allclose(np.exp(fitted.observed).sum(axis=-1), 1.0, atol=1e-12)
    assert fitted.observed.min() >= np.log(tail / 5) - 1e-9


# --- refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": np.zeros((3, 1, 4))}, r"counts must be \(objects, rows, errors, cells\)"),
        ({"membership": np.ones((2, 2))}, "membership.shape=\\(2, 2\\)"),
        ({"response": np.ones((4, 20, 19))}, "response.shape=\\(4, 20, 19\\)"),
        ({"counts": -np.ones((3, 1, 4, 20))}, "counts must be finite and not negative"),
        ({"counts": np.full((3, 1, 4, 20), np.nan)}, "counts must be finite and not negative"),
        ({"membership": np.full((3, 2), np.nan)}, "membership must be finite and not negative"),
        ({"tail": 0.0}, "tail must be above 0 and below 1"),
        ({"strength": 0.0}, "strength must be positive"),
        ({"n_iter": 0}, "n_iter must be at least 1"),
        ({"row_shape": (2, 2)}, "row_shape must have as many cells"),
        ({"object_power": np.nan}, "object_power must be finite and not negative"),
        ({"groups": np.arange(2)}, "groups must have one entry an object"),
        ({"parent": np.ones((1, 20)) / 20}, r"parent must be of shape \(2 or 1, 1, 20\)"),
        ({"parent": np.ones((1, 1, 20))}, "Each row of parent must be a distribution"),
    ],
)
def test_refuses_what_does_not_fit(changes, message, response):
    arguments = {"counts": np.ones((3, 1, 4, 20)), "membership": np.ones((3, 2)), "response": response}
    arguments |= changes
    counts, membership, used = (arguments.pop(name) for name in ("counts", "membership", "response"))
    with pytest.raises(ValueError, match=message):
        fit_density(counts, membership, used, **arguments)


def test_from_true_refuses_what_is_no_distribution(response):
    with pytest.raises(ValueError, match="Each row of true must be a distribution"):
        Density.from_true(np.zeros((1, 1, 20)), response)
    with pytest.raises(ValueError, match="true must be \\(classes, rows, cells\\)"):
        Density.from_true(np.ones((1, 1, 19)), response)
