import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structurefn.density import Density
from structurefn.likelihood import expected_log_likelihood, log_likelihood, log_non_detection
from structurefn.response import response_matrix

EDGES = np.linspace(-1.5, 1.5, 7)
ERRORS = np.array([0.1, 0.6])


def make_density(rng, n_classes=3, n_rows=2, concentration=2.0, tail=0.02):
    true = rng.dirichlet(np.full(6, concentration), (n_classes, n_rows))
    return Density.from_true(true, response_matrix(EDGES, ERRORS), tail=tail)


def brute_force(counts, density):
    """Sum over objects, classes and events, one at a time, from the true cells onwards."""
    response = response_matrix(EDGES, ERRORS)
    result = np.zeros((len(counts), density.n_classes))
    for i, c in np.ndindex(result.shape):
        for r, s, j in np.argwhere(counts[i] > 0):
            chance = sum(response[s, j, b] * density.true[c, r, b] for b in range(6))
            result[i, c] += counts[i, r, s, j] * np.log((1 - density.tail) * chance + density.tail / 6)
    return result


def simulate(rng, density, c, n_objects, n_events):
    """Counts of events of class c at rows and errors drawn evenly, and their number in each."""
    counts = np.zeros((n_objects, *density.observed.shape[1:]), dtype=np.float32)
    probability = np.exp(density.observed[c])
    for i in range(n_objects):
        for _ in range(n_events):
            r, s = rng.integers(0, counts.shape[1]), rng.integers(0, counts.shape[2])
            counts[i, r, s, rng.choice(6, p=probability[r, s])] += 1
    return counts


def test_equals_the_sum_over_events_one_by_one(rng):
    density = make_density(rng)
    counts = rng.poisson(0.7, (21, 2, 2, 6)).astype(np.float32)
    counts[3] = 0
    np.testing.assert_allclose(log_likelihood(counts, density), brute_force(counts, density), atol=2e-5)
    weights = rng.uniform(0.0, 1.0, 21)
    weighted = log_likelihood(counts, density, weights)
    np.testing.assert_allclose(weighted, weights[:, None] * brute_force(counts, density), atol=2e-5)
    assert (log_likelihood(counts, density)[3] == 0).all()


def test_differences_of_classes_are_exact_for_many_events(rng):
    density = make_density(rng)
    counts = rng.poisson(5000.0, (4, 2, 2, 6)).astype(np.float32)
    exact = np.einsum("irsj,crsj->ic", counts.astype(float), density.observed)
    fast = log_likelihood(counts, density)
    assert np.abs(exact).min() > 1e5
    # Terms of 1e3 to 1e4, rounded to 1e-7 of themselves; neighbouring float32 at 1e5 are 0.008 apart.
    differences = [x[:, 1:] - x[:, :1] for x in (fast, exact)]
    np.testing.assert_allclose(*differences, atol=4e-3)


def test_blocks_and_padding_change_nothing(rng):
    density = make_density(rng)
    counts = rng.poisson(0.2, (4099, 2, 2, 6)).astype(np.float32)
    whole = log_likelihood(counts, density)
    assert whole.shape == (4099, 3)
    for part in (slice(0, 1), slice(2040, 2060), slice(4096, 4099), slice(0, 0)):
        np.testing.assert_allclose(log_likelihood(counts[part], density), whole[part], atol=1e-5)


def test_mean_likelihood_ratio_is_one_under_the_denominator(rng):
    # An identity of any proper likelihood of a chain: E_c[L_c' / L_c] = 1.
    density = make_density(rng, concentration=5.0)
    n_objects = 4000
    for c in range(3):
        log_like = log_likelihood(simulate(rng, density, c, n_objects, 3), density)
        ratio = np.exp(log_like - log_like[:, [c]])
        error = ratio.std(axis=0) / np.sqrt(n_objects)
        np.testing.assert_array_less(np.abs(ratio.mean(axis=0) - 1.0), 4 * error + 1e-6)


def test_expected_mean_and_variance_equal_those_of_simulated_objects(rng):
    density = make_density(rng)
    place = simulate(rng, density, 0, 1, 40).sum(axis=-1).astype(int)[0]
    n_objects = 4000
    for c in range(3):
        counts = np.zeros((n_objects, 2, 2, 6), dtype=np.float32)
        for r, s in np.ndindex(2, 2):
            counts[:, r, s] = rng.multinomial(place[r, s], np.exp(density.observed[c, r, s]), n_objects)
        mean, variance = expected_log_likelihood(counts, density)
        assert (mean[:, c] == mean[0, c]).all()
        z = (log_likelihood(counts, density)[:, c] - mean[:, c]) / np.sqrt(variance[:, c])
        # Four standard errors of a mean, and of a standard deviation.
        assert abs(z.mean()) < 4 / np.sqrt(n_objects)
        assert abs(z.std() - 1.0) < 4 / np.sqrt(2 * n_objects) + 0.01


def test_a_strange_object_has_a_low_score():
    true = np.array([[[0.0, 0.0, 0.5, 0.5, 0.0, 0.0]]])
    density = Density.from_true(true, response_matrix(EDGES, ERRORS), tail=0.01)
    counts = np.zeros((2, 1, 2, 6), dtype=np.float32)
    counts[0, 0, 0, 2:4] = 5
    counts[1, 0, 0, 0] = 10
    mean, variance = expected_log_likelihood(counts, density)
    z = (log_likelihood(counts, density) - mean) / np.sqrt(variance)
    assert abs(z[0, 0]) < 2
    assert z[1, 0] < -10


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), factor=st.integers(1, 5))
def test_counts_add_and_classes_permute(seed, factor):
    rng = np.random.default_rng(seed)
    density = make_density(rng)
    first, second = rng.poisson(0.5, (2, 3, 2, 2, 6)).astype(np.float32)
    both = log_likelihood(first + factor * second, density)
    parts = log_likelihood(first, density) + factor * log_likelihood(second, density)
    np.testing.assert_allclose(both, parts, atol=1e-3)
    order = rng.permutation(3)
    permuted = Density.from_true(density.true[order], response_matrix(EDGES, ERRORS), tail=0.02)
    np.testing.assert_allclose(
        log_likelihood(first, permuted), log_likelihood(first, density)[:, order], atol=1e-4
    )


def test_double_precision_gives_the_same(rng):
    density = make_density(rng)
    counts = rng.poisson(0.7, (5, 2, 2, 6)).astype(np.float32)
    single = log_likelihood(counts, density)
    with jax.enable_x64(True):
        np.testing.assert_allclose(log_likelihood(counts, density), single, atol=1e-5)


# --- non-detections ----------------------------------------------------------------------------------


def test_non_detection_equals_monte_carlo(rng):
    density = make_density(rng, tail=0.05)
    n = 400_000
    events = [(0, 0.3, 0.2), (1, -0.8, 0.1), (1, 0.0, 0.7), (0, 1.45, 0.01)]
    row, depth, error = (np.array(x) for x in zip(*events, strict=True))
    got = np.exp(log_non_detection(density, row, depth, error, column_edges=EDGES))
    for k, (r, d, s) in enumerate(events):
        for c in range(3):
            cell = rng.choice(6, p=0.95 * density.true[c, r] + 0.05 / 6, size=n)
            x = rng.uniform(EDGES[cell], EDGES[cell + 1])
            share = np.mean(x + s * rng.standard_normal(n) > d)
            assert got[k, c] == pytest.approx(share, abs=5 * np.sqrt(0.25 / n))


def test_detection_and_non_detection_are_complementary(rng):
    density = make_density(rng, tail=0.02)
    row, depth, error = np.zeros(5, int), np.linspace(-1.4, 1.4, 5), np.full(5, 0.3)
    fainter = np.exp(log_non_detection(density, row, depth, error, column_edges=EDGES))
    # Mirrored, the change must be below the negative depth.
    mirrored = Density.from_true(density.true[..., ::-1], response_matrix(EDGES, ERRORS), tail=0.02)
    brighter = np.exp(log_non_detection(mirrored, row, -depth, error, column_edges=-EDGES[::-1]))
    np.testing.assert_allclose(fainter + brighter, 1.0, atol=1e-9)
    assert (np.diff(fainter, axis=0) < 0).all()


def test_non_detection_far_outside_the_grid(rng):
    density = make_density(rng)
    got = log_non_detection(density, [0, 0], [-50.0, 50.0], [0.1, 0.1], column_edges=EDGES)
    np.testing.assert_allclose(got[0], 0.0, atol=1e-12)
    assert (got[1] == -np.inf).all()
    assert log_non_detection(density, [], [], [], column_edges=EDGES).shape == (0, 3)


# --- refusals ----------------------------------------------------------------------------------------


def test_refuses_counts_of_another_grid(rng):
    density = make_density(rng)
    for counts in (np.zeros((3, 2, 2, 5)), np.zeros((2, 2, 6))):
        for function in (log_likelihood, expected_log_likelihood):
            with pytest.raises(ValueError, match=r"counts must be .* on the grid of the density"):
                function(counts, density)
    with pytest.raises(ValueError, match="weights must have one number an object"):
        log_likelihood(np.zeros((3, 2, 2, 6)), density, np.ones(2))


@pytest.mark.parametrize(
    ("row", "depth", "error", "edges", "message"),
    [
        ([2], [0.0], [0.1], EDGES, "row must be between 0 and 1"),
        ([-1], [0.0], [0.1], EDGES, "row must be between 0 and 1"),
        ([0], [np.nan], [0.1], EDGES, "depth must be finite and error positive"),
        ([0], [0.0], [0.0], EDGES, "depth must be finite and error positive"),
        ([0], [0.0], [0.1], EDGES[1:], "column_edges 7"),
    ],
)
def test_non_detection_refuses(row, depth, error, edges, message, rng):
    with pytest.raises(ValueError, match=message):
        log_non_detection(make_density(rng), row, depth, error, column_edges=edges)
