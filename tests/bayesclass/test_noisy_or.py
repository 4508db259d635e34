"""Noisy-or tables against their definition, pgmpy, pyAgrum, direct optimisation and simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bayesclass.network_tables import smooth_table
from bayesclass.noisy_or import noisy_or_probability, noisy_or_table, on_state

LEAK = 0.05
OF_CLASS = np.array([0.0, 0.1, 0.4, 0.7])
OF_PARENTS = (np.array([0.0, 0.3, 0.6]), np.array([0.1, 0.5]))
SIZES = (3, 2)
TRUTH = noisy_or_probability(LEAK, (OF_CLASS, *OF_PARENTS)).reshape(4, 6)


def simulated(n, rng, truth=TRUTH):
    objects = rng.multinomial(n, rng.dirichlet(np.full(truth.size, 2.0))).reshape(truth.shape)
    on = rng.binomial(objects, truth)
    return np.stack([objects - on, on]).astype(float)


def test_probability_is_its_definition():
    for c, i, j in itertools.product(range(4), range(3), range(2)):
        off = (1 - LEAK) * (1 - OF_CLASS[c]) * (1 - OF_PARENTS[0][i]) * (1 - OF_PARENTS[1][j])
        assert TRUTH[c, 2 * i + j] == pytest.approx(1 - off, abs=1e-15)


def test_probability_is_that_of_pgmpy():
    from pgmpy.factors.discrete import NoisyORCPD

    q = [0.3, 0.5, 0.8]
    table = NoisyORCPD(variable="y", prob_values=q, evidence=["a", "b", "c"]).values
    found = noisy_or_probability(0.0, [np.array([own, 0.0]) for own in q])
    np.testing.assert_allclose(found, table[0], atol=1e-12)


def test_probability_is_that_of_pyagrum():
    gum = pytest.importorskip("pyagrum")
    network = gum.BayesNet()
    node = network.addNoisyORNet(gum.LabelizedVariable("y", "", 2), 0.1)
    q = {"a": 0.3, "b": 0.6}
    for name, own in q.items():
        network.addWeightedArc(network.add(gum.LabelizedVariable(name, "", 2)), node, own)
    found = noisy_or_probability(0.1, [np.array([0.0, own]) for own in q.values()])
    for a, b in itertools.product(range(2), range(2)):
        # pyAgrum stores its weights in float32.
        assert network.cpt("y")[{"a": a, "b": b, "y": 1}] == pytest.approx(found[a, b], abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n_classes=st.integers(1, 4),
    sizes=st.lists(st.integers(1, 3), max_size=3),
    rate=st.sampled_from([0.0, 0.2, 20.0]),
    on=st.integers(0, 1),
)
def test_tables_are_noisy_or(seed, n_classes, sizes, rate, on):
    rng = np.random.default_rng(seed)
    n_configurations = int(np.prod(sizes, dtype=int))
    counts = rng.poisson(rate, (2, n_classes, n_configurations)) * 0.7
    unknown = rng.poisson(rate, (2, n_classes)) if sizes else 0.0
    fit = noisy_or_table(counts, counts.sum(axis=2) + unknown, sizes=sizes, on=on)
    assert fit.table.shape == counts.shape
    for table in (fit.table, fit.draw(rng)):
        np.testing.assert_allclose(table.sum(axis=0), 1.0, atol=1e-12)
        assert (table >= 0).all()
    again = noisy_or_probability(fit.leak, (fit.of_class, *fit.of_parents))
    np.testing.assert_allclose(fit.table[on], again.reshape(n_classes, -1), atol=1e-9)
    assert fit.of_class.min() == pytest.approx(0.0, abs=1e-12)
    turned = noisy_or_table(counts[::-1], counts[::-1].sum(axis=2) + unknown, sizes=sizes, on=1 - on)
    if not sizes:
        np.testing.assert_allclose(turned.table[::-1], fit.table, atol=1e-9)


def test_class_alone_is_the_shrunken_rate():
    """Without other parents the fit is (n_on + kappa mu) / (n + kappa), as of a Dirichlet table."""
    counts = np.array([[30.0, 5.0, 9.0, 0.0], [10.0, 25.0, 1.0, 0.0]])[:, :, None]
    fit = noisy_or_table(counts, counts[:, :, 0])
    # An empty class has the mean, and two of the others determine kappa.
    mean = fit.table[1, 3, 0]
    kappa = (10.0 - 40.0 * fit.table[1, 0, 0]) / (fit.table[1, 0, 0] - mean)
    expected = (counts[1, :3, 0] + kappa * mean) / (counts[:, :3, 0].sum(axis=0) + kappa)
    np.testing.assert_allclose(fit.table[1, :3, 0], expected, rtol=1e-5)
    assert min(abs(kappa - value) for value in (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)) < 1e-2


def test_fit_is_the_best_of_the_likelihood():
    """With many objects no other noisy-or has a higher likelihood, by a search of another kind."""
    from scipy.optimize import differential_evolution

    rng = np.random.default_rng(0)
    truth = noisy_or_probability(0.1, (np.array([0.0, 0.5]), np.array([0.0, 0.4]))).reshape(2, 2)
    counts = simulated(20_000, rng, truth)

    def cost(x):
        p = noisy_or_probability(x[0], (np.array([0.0, x[1]]), np.array([0.0, x[2]]))).reshape(2, 2)
        return -np.sum(counts[1] * np.log(p) + counts[0] * np.log1p(-p))

    best = differential_evolution(cost, [(1e-3, 0.99)] * 3, seed=1, tol=1e-10)
    fit = noisy_or_table(counts, counts.sum(axis=2), sizes=(2,))
    found = np.array([fit.leak, fit.of_class[1], fit.of_parents[0][1]])
    np.testing.assert_allclose(found, best.x, atol=2e-3)


def test_few_objects_are_better_used_than_by_a_full_table():
    rng = np.random.default_rng(2)
    truth = np.stack([1 - TRUTH, TRUTH])
    for n in (200, 1000):
        loss = {"noisy-or": 0.0, "full": 0.0}
        for _ in range(15):
            counts = simulated(n, rng)
            of_class = counts.sum(axis=2)
            for name, fit in (
                ("noisy-or", noisy_or_table(counts, of_class, sizes=SIZES)),
                ("full", smooth_table(counts, of_class)),
            ):
                loss[name] += np.sum(truth * np.log(truth / fit.table), axis=0).mean()
        assert loss["noisy-or"] < 0.7 * loss["full"]


def test_objects_of_unknown_parents_inform_their_class():
    rng = np.random.default_rng(3)
    counts = simulated(150, rng)
    on = rng.binomial(2000, TRUTH.mean(axis=1))
    unknown = np.stack([2000.0 - on, on])
    counts[:, :, :] += 1e-3
    informed = noisy_or_table(counts, counts.sum(axis=2) + unknown, sizes=SIZES)
    share = counts.sum(axis=0) / counts.sum(axis=(0, 2))[:, None]
    rate = np.sum(share * informed.table[1], axis=1)
    np.testing.assert_allclose(rate, on / 2000.0, atol=0.06)


def test_draws_of_the_class_alone_are_beta():
    rng = np.random.default_rng(4)
    counts = np.array([[30.0, 3.0], [10.0, 5.0]])
    fit = noisy_or_table(counts[:, :, None], counts)
    drawn = np.stack([fit.draw(rng)[1, :, 0] for _ in range(800)])
    for c in range(2):
        off, on = counts[:, c] + fit._prior[:, c]
        assert stats.kstest(drawn[:, c], stats.beta(on, off).cdf).pvalue > 1e-3


def test_draws_cover_the_truth():
    rng = np.random.default_rng(5)
    inside = []
    for _ in range(20):
        counts = simulated(600, rng)
        fit = noisy_or_table(counts, counts.sum(axis=2), sizes=SIZES)
        drawn = np.stack([fit.draw(rng)[1] for _ in range(40)])
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
        inside.append((low <= TRUTH) & (high >= TRUTH))
    # Causes that do nothing lie at the edge of what is possible, and 40 draws make quantiles narrow: 0.86
    # in a longer run, with a standard error of some 2 % for 20 tables of 24 correlated cells.
    assert 0.8 < np.mean(inside) < 0.97


def test_what_is_switched_on():
    assert on_state(("no", "yes")) == 1
    assert on_state(("found", "none")) == 0
    assert on_state(("true", "False")) == 0
    with pytest.raises(ValueError, match="needs two states"):
        noisy_or_table(np.ones((3, 2, 1)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="product of their sizes"):
        noisy_or_table(np.ones((2, 2, 4)), np.ones((2, 2)) * 4, sizes=(3,))
