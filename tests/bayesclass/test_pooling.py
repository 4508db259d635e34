"""Tables pooled across groups and along the class tree."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import digamma, expit, gammaln

from bayesclass import pooling
from bayesclass.containers import ModelError
from bayesclass.pooling import GroupTable, PoolingError, PoolingWarning, pool_table
from bayesclass.pooling_checks import check_classes
from bayesclass.pooling_density import LEAST, _digamma, value_and_gradient
from bayesclass.pooling_diagnostics import Diagnostics, diagnose
from bayesclass.pooling_model import _data
from bayesclass.pooling_plots import plot_predictive
from bayesclass.pooling_storage import load_inference_data, save_inference_data
from bayesclass.pooling_tree import PoolingTree
from bayesclass.storage import save_model
from bayesclass.taxonomy import Taxonomy

TREE = Taxonomy(
    ("Ia", "II", "Ibc", "AGN"), {"SN": ("Ia", "core"), "core": ("II", "Ibc"), "all": ("SN", "AGN")}
)
seeds = st.integers(0, 2**32 - 1)


def simulate(rng, kappa, n=(200, 60), n_classes=3, n_states=4, kappa_tree=10.0):
    """Counts of shape (n_states, n_classes, n_groups), the groups' tables and the classes' means."""
    mu = rng.dirichlet(kappa_tree * rng.dirichlet(np.ones(n_states)), size=n_classes)
    table = np.array([[rng.dirichlet(kappa * m) for m in mu] for _ in n])
    counts = np.array(
        [[rng.multinomial(total, p) for p in group] for total, group in zip(n, table, strict=True)]
    )
    return counts.T.astype(float), table.T, mu


@pytest.fixture(scope="module")
def fitted():
    counts, _, _ = simulate(np.random.default_rng(3), 20.0)
    counts[:, 1, 1] = [2, 0, 1, 0]
    return pool_table(counts, groups=("ZTF", "OSC"), seed=5, n_draws=600, n_tune=300)


# Density


def log_density(point, spread, counts, tree):
    """The log posterior from scipy's distributions, for one point."""
    n_groups, n_states = len(counts), counts.shape[-1]
    _, _, effective, *_ = _data(counts, tree, spread)
    head = 1 + n_groups + tree.n_levels
    m, offset, levels = point[0], point[1 : 1 + n_groups], point[1 + n_groups : head]
    total = stats.norm.logpdf([m, *levels], np.log(30), 1.5).sum() + stats.norm.logpdf(offset).sum()
    mu = []
    for i, z in enumerate(point[head:].reshape(-1, n_states)):
        a = np.ones(n_states) if i == 0 else np.exp(levels[tree.depth[i] - 1]) * mu[tree.parent[i]]
        b = a + effective[i] + LEAST

        def x_of(z, b=b):
            p = np.logaddexp(0.0, -z)
            return np.log(b) + z / np.sqrt(1 + b) - p * (1 + p) / (2 * b)

        g = np.exp(x_of(z))
        mu.append(g / g.sum())
        slope = 1 / np.sqrt(1 + b) + (0.5 + np.logaddexp(0.0, -z)) * expit(-z) / b
        # Density of (mu, S), change to the gamma variates S mu, and on to z.
        total += stats.dirichlet.logpdf(mu[-1], a) + stats.gamma.logpdf(g.sum(), b.sum())
        total += -(n_states - 1) * np.log(g.sum()) + np.log(g * slope).sum()
    for g in range(n_groups):
        kappa = np.exp(m + spread * offset[g])
        for n, leaf in zip(counts[g], tree.leaf, strict=True):
            whole = gammaln(n.sum() + 1) - gammaln(n + 1).sum()
            total += stats.dirichlet_multinomial.logpmf(n.astype(int), kappa * mu[leaf], int(n.sum())) - whole
    return total


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_density_is_that_of_scipy_up_to_a_constant_and_its_gradient_is_right(seed):
    rng = np.random.default_rng(seed)
    tree = PoolingTree.of(TREE)
    counts = rng.poisson(rng.choice([0.3, 4.0, 60.0]), size=(2, 4, 3)).astype(float)
    size = 1 + 2 + tree.n_levels + 3 * len(tree.names)
    points = 0.4 * rng.normal(size=(2, size))
    # At small concentrations a probability may be an exact zero, which scipy does not take.
    points[:, [0, *range(3, 3 + tree.n_levels)]] += 4.0
    data = _data(counts, tree, 0.7)
    found = [value_and_gradient(point, *data)[0] for point in points]
    expected = [log_density(point, 0.7, counts, tree) for point in points]
    assert found[0] - found[1] == pytest.approx(expected[0] - expected[1], rel=1e-8, abs=1e-7)
    _, gradient = value_and_gradient(points[0], *data)
    step = 1e-5
    shifted = [[value_and_gradient(points[0] + s * e, *data)[0] for s in (step, -step)] for e in np.eye(size)]
    numeric = -np.diff(shifted, axis=1)[:, 0] / (2 * step)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-4)


def test_digamma_is_that_of_scipy():
    x = np.geomspace(1e-6, 1e8, 200)
    np.testing.assert_allclose([_digamma(v) for v in x], digamma(x), rtol=1e-12, atol=1e-12)


def test_no_density_where_gamma_functions_lose_their_digits():
    tree = PoolingTree.flat("ab")
    point = np.zeros(1 + 1 + 1 + 6)
    point[0] = 40.0
    value, gradient = value_and_gradient(
        point,
        *_data(np.ones((1, 2, 2)), tree, 0.7)[:2],
        np.ones((3, 3)),
        *_data(np.ones((1, 2, 2)), tree, 0.7)[3:],
    )
    assert value == -np.inf
    assert not gradient.any()


def test_the_tree_leaves_out_nodes_that_add_nothing():
    tree = PoolingTree.of(TREE)
    assert tree.names == ("all classes", "SN", "AGN", "Ia", "core", "II", "Ibc")
    assert tree.parent == (-1, 0, 0, 1, 1, 4, 4)
    assert tree.depth == (0, 1, 1, 2, 2, 3, 3)
    assert [tree.names[i] for i in tree.leaf] == list(TREE.leaves)
    assert PoolingTree.flat(["a"]).n_levels == 0


# Tables


def test_a_fit_converges_and_is_normalised(fitted):
    assert fitted.diagnostics.converged, str(fitted.diagnostics)
    assert fitted.table.shape == (4, 3, 2)
    np.testing.assert_allclose(fitted.table.sum(axis=0), 1.0, rtol=1e-12)
    low, middle, high = fitted.kappa["typical"]
    assert low < middle < high
    assert set(fitted.kappa) == {"ZTF", "OSC", "typical", "level 1"}


def test_draws_scatter_about_the_table_as_the_mixture_of_dirichlets_does(fitted):
    rng = np.random.default_rng(1)
    drawn = np.array([fitted.draw(rng) for _ in range(4000)])
    np.testing.assert_allclose(drawn.sum(axis=1), 1.0, rtol=1e-9)
    # Closed form: mean and variance of the mixture over draws of kappa and mu.
    group = fitted._of_groups()
    alpha = group.kappa[..., None, None] * group.mu[:, None] + group.counts
    total = alpha.sum(axis=-1, keepdims=True)
    mean = alpha / total
    within = mean * (1 - mean) / (total + 1)
    expected, spread = mean.mean(axis=0).T, np.sqrt(within.mean(axis=0) + mean.var(axis=0)).T
    np.testing.assert_allclose(fitted.table, expected, rtol=1e-10)
    assert (np.abs(drawn.mean(axis=0) - expected) < 5 * spread / np.sqrt(4000)).all()
    np.testing.assert_allclose(drawn.std(axis=0), spread, rtol=0.15, atol=1e-4)


def test_a_tiny_weight_gives_no_impossible_state():
    group = GroupTable(np.ones((1, 1)), np.array([[[1.0 - 1e-12, 1e-12]]]), np.zeros((1, 1, 2)))
    drawn = np.array([group.draw(np.random.default_rng(seed)) for seed in range(50)])
    assert (drawn > 0).all()
    assert np.isfinite(np.log(drawn)).all()


def test_the_class_with_few_objects_leans_on_the_other_group(fitted):
    own = fitted.counts[1, 1] / fitted.counts[1, 1].sum()
    other = fitted.counts[0, 1] / fitted.counts[0, 1].sum()
    pooled = fitted.table[:, 1, 1]
    assert np.abs(pooled - other).sum() < np.abs(own - other).sum()
    # The group with many objects hardly moves.
    assert np.abs(fitted.table[:, 1, 0] - other).sum() < 0.1


def test_a_new_group_has_the_classes_means_with_more_scatter(fitted):
    new = fitted.new_group()
    rng = np.random.default_rng(2)
    np.testing.assert_allclose(new.table[:, :, 0], fitted._class_mu().mean(axis=0).T, rtol=1e-10)
    wide = np.std([new.draw(rng)[:, 0, 0] for _ in range(400)], axis=0)
    narrow = np.std([fitted.draw(rng)[:, 0, 0] for _ in range(400)], axis=0)
    assert (wide > narrow).all()


def test_the_same_seed_gives_the_same_draws(fitted):
    counts = fitted.counts.T
    again = pool_table(counts, groups=("ZTF", "OSC"), seed=5, n_draws=600, n_tune=300)
    np.testing.assert_array_equal(again.draws.mu, fitted.draws.mu)
    np.testing.assert_array_equal(again.new_group().table, fitted.new_group().table)


@pytest.mark.slow
def test_pymc_alone_agrees_with_nutpie(fitted):
    other = pool_table(fitted.counts.T, seed=5, n_draws=600, n_tune=300, sampler="pymc")
    np.testing.assert_allclose(other.table, fitted.table, atol=0.01)
    for a, b in zip(other.kappa.values(), fitted.kappa.values(), strict=True):
        np.testing.assert_allclose(np.log(a), np.log(b), atol=0.25)


@pytest.mark.slow
def test_limits_are_lumped_and_separate_tables():
    rng = np.random.default_rng(11)
    mu = rng.dirichlet(np.ones(4), size=8)
    same = np.array([[rng.multinomial(500, m) for m in mu] for _ in range(3)]).T.astype(float)
    fit = pool_table(same, seed=1)
    lumped = same.sum(axis=-1) / same.sum(axis=(0, -1))
    assert fit.kappa["typical"][0] > 100
    np.testing.assert_allclose(fit.table, np.broadcast_to(lumped[..., None], same.shape), atol=0.03)
    apart = np.array([[rng.multinomial(500, rng.dirichlet(m)) for m in mu] for _ in range(3)]).T.astype(float)
    fit = pool_table(apart, seed=1)
    assert fit.kappa["typical"][2] < 5
    np.testing.assert_allclose(fit.table, apart / apart.sum(axis=0), atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("kappa", [3.0, 30.0, 300.0])
def test_concentrations_of_a_simulation_are_recovered(kappa):
    counts, table, _ = simulate(np.random.default_rng(8), kappa, n=(300, 300, 300), n_classes=10, n_states=6)
    counts[:, 0, 0] = 0.0
    fit = pool_table(counts, seed=3)
    low, _, high = fit.kappa["typical"]
    assert low < kappa < high
    assert fit.diagnostics.seconds < 120
    # Where nothing was seen, the prediction scatters about the truth as kappa says.
    assert 0.5 * np.abs(fit.table[:, 0, 0] - table[:, 0, 0]).sum() < 4.0 / np.sqrt(kappa)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayesclass.pooling.PoolingWarning")
def test_simulation_based_calibration():
    """Ranks of the truth among draws are uniform (Talts et al. 2018, arXiv 1804.06788)."""
    rng = np.random.default_rng(17)
    n_fits, n_ranks, ranks = 40, 19, {"kappa": [], "level": [], "mu": [], "table": []}
    for seed in range(n_fits):
        m, level = np.log(30) + 1.5 * rng.normal(size=2)
        kappa = np.exp(m + pooling.SPREAD * rng.normal(size=2))
        root = rng.dirichlet(np.ones(3))
        mu = rng.dirichlet(np.exp(level) * root + 1e-9, size=3)
        table = np.array([[rng.dirichlet(k * x + 1e-9) for x in mu] for k in kappa])
        total = rng.choice([0, 5, 60], size=(2, 3))
        counts = np.array(
            [
                [rng.multinomial(*pair) for pair in zip(n, p, strict=True)]
                for n, p in zip(total, table, strict=True)
            ]
        ).T.astype(float)
        fit = pool_table(counts, seed=seed, n_draws=500, n_tune=300, require_convergence=False)
        thin = np.linspace(0, fit.draws.kappa_typical.size - 1, n_ranks).astype(int)
        drawn = {
            "kappa": fit.draws.kappa.reshape(-1, 2)[thin, 0],
            "level": fit.draws.kappa_tree.ravel()[thin],
            "mu": fit._class_mu()[thin, 1, 0],
            "table": np.array([fit.draw(rng)[0, 1, 1] for _ in thin]),
        }
        truth = {"kappa": kappa[0], "level": np.exp(level), "mu": mu[1, 0], "table": table[1, 1, 0]}
        for name in ranks:
            ranks[name].append((drawn[name] < truth[name]).sum())
    for name, found in ranks.items():
        histogram = np.bincount(np.array(found) // 4, minlength=5)
        assert stats.chisquare(histogram).pvalue > 1e-3, (name, histogram)


# Convergence


def test_a_fit_that_did_not_converge_is_refused_unless_asked_for():
    counts = np.full((2, 2, 2), 5.0)
    short = {"n_draws": 8, "n_tune": 5, "n_chains": 2}
    with pytest.raises(PoolingError, match=r"R-hat \d\.\d+ at (mu|kappa).*: ask for more draws"):
        pool_table(counts, **short)
    with pytest.warns(PoolingWarning, match="must come from chains that agree"):
        kept = pool_table(counts, **short, require_convergence=False)
    assert not kept.diagnostics.converged
    assert kept.diagnostics.attempts == 2
    assert str(kept.diagnostics).startswith("NOT converged")


def test_diagnostics_name_the_worst_parameter():
    rng = np.random.default_rng(0)
    draws = {"mu": rng.normal(size=(4, 500, 2)), "kappa": rng.normal(size=(4, 500, 1))}
    names = {"mu": ["mu[a]", "mu[b]"], "kappa": ["kappa[ZTF]"]}
    good = diagnose(draws, names, np.zeros((4, 500), bool))
    assert good.converged
    draws["mu"][0, :, 1] += 3.0
    bad = diagnose(draws, names, np.eye(4, 500, dtype=bool))
    assert (bad.worst, bad.divergences, bad.converged) == ("mu[b]", 4, False)
    draws["kappa"][:] = 1.0
    assert not diagnose(draws, names, np.zeros((4, 500), bool)).converged
    assert not Diagnostics(1.0, "x", 1000.0, 1000.0, 1).converged


# Input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": np.ones((3, 2))}, r"shape \(n_states, n_classes, n_groups\).*found \(3, 2\)"),
        ({"counts": np.full((2, 2, 2), -1.0)}, "zero or more, found -1.0"),
        ({"groups": ("a",)}, "need 2 group names"),
        ({"tree": TREE}, "need 2 class names"),
        ({"class_counts": np.ones((2, 3))}, r"shape \(2, 2\), found \(2, 3\)"),
        ({"class_counts": np.ones((2, 2))}, "at least their sums over groups"),
        ({"sampler": "gibbs"}, "found 'gibbs'"),
        ({"spread": -1.0}, "zero or more, found -1.0"),
    ],
)
def test_what_is_no_count_is_refused(changes, message):
    given_counts = {"counts": np.ones((2, 2, 2))} | changes
    with pytest.raises(PoolingError, match=message):
        pool_table(**given_counts)


def test_a_missing_pymc_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PoolingError, match="PyMC, which is not installed"):
        pool_table(np.ones((2, 2, 2)))


def test_objects_of_no_known_group_are_one_group_more():
    counts = np.full((3, 2, 2), 10.0)
    extra = counts.sum(axis=-1)
    extra[0] += 400.0
    fit = pool_table(counts, extra, seed=1, n_draws=500, n_tune=300)
    assert fit.counts.shape == (3, 2, 3)
    assert fit.table.shape == (3, 2, 2)
    assert pooling.OTHER in fit.kappa
    assert fit.new_group().table[0, 0, 0] > 0.4


# Predictive checks, storage, picture


def test_predictive_checks_find_the_class_in_which_groups_differ(fitted):
    assert (check_classes(fitted)["p_value"].drop("class 1").between(0.02, 0.98)).all()
    rng = np.random.default_rng(0)
    counts = np.array(
        [[rng.multinomial(400, np.full(4, 0.25)) for _ in range(8)] for _ in range(2)]
    ).T.astype(float)
    counts[:, 3, 0] = [400, 0, 0, 0]
    checked = check_classes(pool_table(counts, seed=1, n_draws=500, n_tune=300))
    assert checked["p_value"].idxmin() == "class 3"
    assert checked["p_value"].iloc[3] < 0.05 < checked["p_value"].drop("class 3").min()


def test_inference_data_comes_back_from_beside_a_model(fitted, tmp_path):
    made = fitted.to_inference_data(n_predictive=20)
    assert made.posterior["mu"].dims == ("chain", "draw", "node", "state")
    assert made.posterior_predictive["counts"].shape == (4, 20, 2, 3, 4)
    np.testing.assert_allclose(
        made.posterior_predictive["counts"].sum("state"),
        np.broadcast_to(fitted.counts.sum(axis=-1), (4, 20, 2, 3)),
    )
    model = tmp_path / "model"
    with pytest.raises(ModelError, match="save the model first"):
        save_inference_data(model, "host", made)
    save_model(model, {"a": 1}, {"b": np.zeros(2)})
    save_inference_data(model, "host", made)
    read = load_inference_data(model, "host")
    for group in ("posterior", "posterior_predictive", "sample_stats", "observed_data"):
        assert read[group].equals(made[group]), group
    assert read.posterior.attrs["converged"] == 1
    assert [path.name for path in (model / "inference").iterdir()] == ["host.nc"]
    with pytest.raises(ModelError, match=r"draws of 'star', but has: host"):
        load_inference_data(model, "star")
    save_inference_data(model, "W1/W2 (AB)", made)
    assert load_inference_data(model, "W1/W2 (AB)").posterior.equals(made.posterior)
    with pytest.raises(ModelError, match=r"but has: W1/W2 \(AB\), host"):
        load_inference_data(model, "star")
    (model / "inference" / "torn.nc").write_bytes(b"no netCDF")
    with pytest.raises(ModelError, match="whole netCDF file"):
        load_inference_data(model, "torn")


def test_the_picture_has_a_panel_a_class(fitted):
    figure = plot_predictive(fitted)
    titles = [ax.get_title() for ax in figure.axes if ax.get_visible()]
    assert [title.partition(" (p")[0] for title in titles] == list(fitted.classes)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_no_c_compiler_is_needed_nor_missed(sampler, tmp_path):
    code = (
        "import shutil, numpy as np; assert shutil.which('g++') is None\n"
        "from bayesclass.pooling import pool_table\n"
        f"print(pool_table(np.full((3, 2, 2), 9.0), sampler={sampler!r}).diagnostics.converged)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTENSOR_FLAGS"} | {"PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().endswith("True"), done.stderr
    assert "g++" not in done.stderr
