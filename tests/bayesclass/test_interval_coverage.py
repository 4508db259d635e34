"""Intervals from posterior draws hold the truth as often as they say, in simulation."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

from bayesclass.densities import Grid
from bayesclass.density_posterior import DensityPosterior
from bayesclass.network import BayesianNetwork, NetworkSpec
from bayesclass.network_tables import smooth_table
from context.evidence import EvidenceSpec, EvidenceTable

FREQUENCY = np.array([0.6, 0.3, 0.1])
# With 19 draws the ends of a central 50 % and 90 % are draws themselves: none is interpolated.
N_DRAWS = 19


def interval(draws, level=0.9):
    """Quantiles at level * (n_draws + 1): exact when truth and draws are exchangeable."""
    return np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")


def drawn_tables(rng, n_objects, n_draws=N_DRAWS, concentration=3.0):
    truth = rng.dirichlet(concentration * rng.dirichlet(np.ones(4)) + 1e-3, size=3)
    counts = np.stack([rng.multinomial(n, p) for n, p in zip(n_objects, truth, strict=True)], axis=1).astype(
        float
    )
    fitted = smooth_table(counts[:, :, None], counts)
    return truth.T, np.array([fitted.draw(rng)[:, :, 0] for _ in range(n_draws)])


@pytest.mark.parametrize("concentration", [1.0, 3.0, 30.0])
def test_tables_of_known_truth_are_covered(concentration):
    """One class probability a table, so that the trials are independent: binomial limits."""
    n, held = 150, np.zeros(2)
    for seed in range(n):
        rng = np.random.default_rng(seed)
        truth, draws = drawn_tables(rng, (60, 30, 10), concentration=concentration)
        # A state as an object has it.
        state = rng.choice(4, p=truth @ FREQUENCY)
        given = draws[:, state] * FREQUENCY
        exact = truth[state] * FREQUENCY
        for i, level in enumerate((0.5, 0.9)):
            low, high = interval(given[:, 2] / given.sum(axis=1), level)
            held[i] += low <= exact[2] / exact.sum() <= high
    # 3 points for the prior that is learned, and chance.
    low, high = (binom.ppf(q, n, np.array([0.5, 0.9]) + d) for q, d in ((0.001, -0.03), (0.999, 0.03)))
    assert ((low <= held) & (held <= high)).all()


def test_tables_are_wider_with_fewer_objects_and_for_rare_classes():
    width = {}
    for n in (50, 200, 1000):
        draws = [
            drawn_tables(np.random.default_rng(seed), (n * FREQUENCY).astype(int))[1] for seed in range(15)
        ]
        width[n] = np.mean([np.ptp(interval(d), axis=0).mean(axis=0) for d in draws], axis=0)
        assert (np.diff(width[n]) > 0).all()
    assert (width[50] > 1.5 * width[200]).all()
    # Far from the prior the width falls as the root of the number of objects, here 5^-.5.
    np.testing.assert_allclose(width[1000] / width[200], 5**-0.5, rtol=0.3)


def log_densities(rng, n, n_draws=N_DRAWS):
    """Log cell probabilities, true and drawn, of two overlapping normal classes on their grid."""
    values = [rng.normal(0, 1, n), rng.normal(1.5, 0.7, n // 4)]
    grid = Grid.over(np.concatenate(values))
    counts = np.stack([np.bincount(grid.cell(v), minlength=grid.n_cells) for v in values], axis=1).astype(
        float
    )
    fitted = smooth_table(counts[:, :, None], counts, grid=grid)
    truth = np.diff(norm([[0.0], [1.5]], [[1.0], [0.7]]).cdf(grid.edges), axis=1).T
    return np.log(truth), np.log([fitted.draw(rng)[:, :, 0] for _ in range(n_draws)])


def test_densities_of_known_truth_are_covered():
    """Log-ratios of two classes at points of the sample; kernels drawn by the bootstrap held .7 of them."""
    held, width = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        truth, draws = log_densities(rng, 200)
        own = truth.max(axis=1) > np.log(0.005)
        low, high = interval((draws[:, :, 0] - draws[:, :, 1])[:, own])
        exact = (truth[:, 0] - truth[:, 1])[own]
        held.append(((low <= exact) & (exact <= high)).mean())
        width.append((high - low).mean())
    error = np.std(held) / np.sqrt(len(held))
    assert 0.9 - 0.05 - 3 * error < np.mean(held) < 0.9 + 0.05 + 3 * error
    more = [np.ptp(interval(log_densities(np.random.default_rng(s), 3200)[1]), axis=0) for s in range(2)]
    less = [np.ptp(interval(log_densities(np.random.default_rng(s), 200)[1]), axis=0) for s in range(2)]
    middle = slice(40, 60)
    assert np.mean([w[middle] for w in more]) < 0.5 * np.mean([w[middle] for w in less])


def test_draws_of_a_density_are_valid_and_repeatable():
    values = np.random.default_rng(0).normal(size=60)
    grid = Grid.over(values)
    counts = np.stack(
        [np.bincount(grid.cell(values), minlength=grid.n_cells), np.zeros(grid.n_cells)], axis=1
    )
    fitted = smooth_table(counts[:, :, None], counts, grid=grid, error=0.3)
    first, again = (fitted.draw(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == fitted.table.shape
    assert (first > 0).all()
    np.testing.assert_allclose(first.sum(axis=0), 1.0)


def test_a_density_on_a_circle_follows_its_sample():
    rng = np.random.default_rng(3)
    angles = np.mod(rng.normal(0.0, 30.0, 2000), 360.0)
    grid = Grid.over(angles, period=360.0)
    counts = np.bincount(grid.cell(angles), minlength=grid.n_cells).astype(float)[:, None]
    posterior = DensityPosterior.fit(grid, counts, np.ones((1, *counts.shape)))
    mean = np.mean([posterior.draw(rng)[:, 0] for _ in range(40)], axis=0)
    turns = np.array([-360.0, 0.0, 360.0])
    exact = np.diff(norm(0, 30).cdf(grid.edges[:, None] + turns).sum(axis=1))
    # Total variation distance; 2,000 objects in 30 degrees leave some .03.
    assert 0.5 * np.abs(mean - exact).sum() < 0.05


def test_drawn_densities_scatter_as_the_exact_posterior():
    """Moments of the cells' probabilities against importance sampling from the prior, for three objects."""
    rng = np.random.default_rng(1)
    grid = Grid(np.linspace(0.0, 1.0, 13))
    counts = np.array([0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0], dtype=float)[:, None]
    posterior = DensityPosterior.fit(grid, counts, np.ones((1, 12, 1)))
    # The same column many times over: one call draws from all of them.
    parts = ("counts", "weight", "mode", "scale")
    many = {part: np.repeat(getattr(posterior, part), 300, axis=0) for part in parts}
    many = replace(posterior, bases=np.repeat(posterior.bases, 300, axis=1), **many)
    got = np.concatenate([many.draw(rng).T for _ in range(5)])
    chosen = rng.choice(len(posterior.precision), 200_000, p=prior_of_kinds(posterior))
    beta = rng.normal(size=(200_000, posterior.basis.shape[1])) / np.sqrt(posterior.precision[chosen])
    logs = beta @ posterior.basis.T
    p = np.exp(logs - logs.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    weight = np.exp(np.log(p + 1e-300) @ counts[:, 0])
    weight /= weight.sum()
    assert 1 / (weight**2).sum() > 50
    exact = weight @ p
    sigma = np.sqrt(weight @ (p - exact) ** 2)
    np.testing.assert_allclose(got.mean(axis=0), exact, atol=0.5 * sigma.max())
    np.testing.assert_allclose(got.std(axis=0).mean(), sigma.mean(), rtol=0.35)


def prior_of_kinds(posterior):
    """Prior of the kinds: amplitude^(-1/2), from the variance that the waves share."""
    amplitude = np.sqrt((1.0 / posterior.precision[:, 2:]).sum(axis=1))
    return amplitude**-0.5 / (amplitude**-0.5).sum()


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 200, 1000])
def test_a_fitted_network_covers(n):
    """The whole way: naive network, evidence missing at random, intervals of all class probabilities."""
    specs = tuple(EvidenceSpec(k, "categorical", column=k, states=tuple("wxyz")) for k in "abcd")
    held = []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        tables = rng.dirichlet(3.0 * np.full(4, 0.25), size=(4, 3))

        def simulate(y, rng=rng, tables=tables):
            state = np.array(
                [(rng.random((len(y), 1)) > t[y].cumsum(axis=1)).sum(axis=1) for t in tables]
            ).clip(0, 3)
            known = rng.random(state.shape) < 0.7
            log_joint = np.log(FREQUENCY) + sum(
                k[:, None] * np.log(t[:, s].T) for t, s, k in zip(tables, state, known, strict=True)
            )
            frame = pd.DataFrame({k: np.where(o, np.array(list("wxyz"))[s], None) for k, o, s in
                                  zip("abcd", known, state, strict=True)})  # fmt: skip
            frame["object_id"] = np.arange(len(y)).astype(str)
            return EvidenceTable.from_frame(frame, specs), log_joint

        y = rng.choice(3, n, p=FREQUENCY)
        evidence, _ = simulate(y)
        network = BayesianNetwork.fit(
            NetworkSpec(class_states=("A", "B", "C")), evidence, np.eye(3, dtype=bool)[y]
        )
        tested, exact = simulate(rng.choice(3, 100, p=FREQUENCY))
        exact, drawn = np.exp(exact), np.exp(network.log_likelihood_draws(tested).astype(float)) * FREQUENCY
        exact, drawn = (p / p.sum(axis=-1, keepdims=True) for p in (exact, drawn))
        low, high = interval(drawn)
        held.append(((low <= exact * (1 + 1e-5)) & (exact <= high * (1 + 1e-5))).mean())
    error = np.std(held) / np.sqrt(len(held))
    assert abs(np.mean(held) - 0.9) < 0.03 + 3 * error
