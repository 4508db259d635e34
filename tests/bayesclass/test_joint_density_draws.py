"""Draws of joint densities: against conjugate closed forms, quadrature, and intervals of a known truth."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2, invwishart, kstest, multivariate_normal, t

from bayesclass import joint_density_draws
from bayesclass.joint_density import JointDensity
from bayesclass.joint_density_draws import normal_inverse_wishart
from bayesclass.joint_density_fit import draw_joint, fit_joint
from bayesclass.network_spec import JointSpec
from bayesclass.nodes import EvidenceNode
from context.evidence import Condition, EvidenceSpec, EvidenceTable

COLUMNS = ("u", "v")
SPECS = (
    EvidenceSpec("u", "continuous", column="u"),
    EvidenceSpec("v", "continuous", column="v", error="v_err", none=Condition("nothing", True)),
)


def encode(value, *, nodes=None, error=1e-3, nothing=False):
    n = len(value)
    frame = pd.DataFrame(value, columns=list(COLUMNS))
    frame["v_err"], frame["nothing"] = np.broadcast_to(error, n), np.broadcast_to(nothing, n)
    frame["object_id"] = np.arange(n).astype(str)
    columns = EvidenceTable.from_frame(frame, SPECS).columns
    nodes = nodes or {name: EvidenceNode.from_column(columns[name]) for name in COLUMNS}
    return nodes, {name: node.encode(columns[name]) for name, node in nodes.items()}


def fitted(value, shares, *, components=1, weights=None, **options) -> tuple[JointDensity, object]:
    nodes, encoded = encode(value, **options)
    weights = np.ones(len(value)) if weights is None else weights
    return fit_joint(JointSpec("block", COLUMNS, components), nodes, encoded, shares, weights)


def class_means(density, sample, rng, n_draws):
    """Mean of each class's own states, without the background."""
    means = []
    for _ in range(n_draws):
        p = draw_joint(density, sample, rng)
        weight = np.exp(p.log_weight[:, :-1].astype(float))
        means.append(weight / weight.sum(axis=1, keepdims=True) @ p.mean[:-1].astype(float))
    return np.array(means)


def test_normal_inverse_wishart_has_the_closed_marginals(rng):
    # Student means (nu - D + 1 degrees of freedom), and scipy's own inverse Wishart for the covariances.
    n, freedom, objects = 4000, 7.0, 2.5
    scale = np.array([[2.0, 0.7, 0.1], [0.7, 1.0, -0.2], [0.1, -0.2, 0.5]])
    centre = np.array([0.4, -1.0, 2.0])
    mean, covariance = normal_inverse_wishart(
        rng, np.tile(centre, (n, 1)), np.full(n, objects), np.tile(scale, (n, 1, 1)), np.full(n, freedom)
    )
    degrees = freedom - 3 + 1
    for j in range(3):
        width = np.sqrt(scale[j, j] / (objects * degrees))
        assert kstest(mean[:, j], t(degrees, centre[j], width).cdf).pvalue > 1e-3
    other = invwishart(freedom, scale).rvs(n, random_state=1)
    for function in (lambda s: s[:, 0, 1], lambda s: s[:, 2, 2], lambda s: np.linalg.det(s)):
        assert kstest(function(covariance), function(other)).pvalue > 1e-3


def test_one_gaussian_scatters_as_the_conjugate_posterior(rng):
    # With 60 complete objects the prior says little: means are Student, variances scaled inverse chi-squared.
    n = 60
    value = rng.multivariate_normal([1.0, -2.0], [[1.0, 0.5], [0.5, 2.0]], n)
    density, sample = fitted(value, np.ones((n, 1)))
    drawn = [draw_joint(density, sample, rng) for _ in range(160)]
    weight = np.exp(np.array([p.log_weight[0, :-1] for p in drawn], float))
    whole = weight.max(axis=1) > 0.97 * weight.sum(axis=1)
    assert whole.mean() > 0.5
    largest = weight.argmax(axis=1)
    mean = np.array([p.mean[k] for p, k in zip(drawn, largest, strict=True)], float)[whole]
    variance = np.array([p.covariance[k].diagonal() for p, k in zip(drawn, largest, strict=True)])[whole]
    width = t(n - 2).std() * np.sqrt(sample.value.var(axis=0) / (n - 2))
    np.testing.assert_allclose(mean.mean(axis=0), sample.value.mean(axis=0), atol=0.06)
    np.testing.assert_allclose(mean.std(axis=0), width, rtol=0.3)
    expected = n * sample.value.var(axis=0) / chi2(n - 2).ppf([[0.95], [0.05]])
    np.testing.assert_allclose(np.quantile(variance, [0.05, 0.95], axis=0), expected, rtol=0.25)


def test_fewer_objects_scatter_more(rng):
    width = []
    for n in (25, 400):
        density, sample = fitted(rng.normal(size=(n, 2)), np.ones((n, 1)))
        width.append(class_means(density, sample, rng, 40).std(axis=0).mean())
    assert width[0] / width[1] == pytest.approx(4.0, rel=0.4)


def test_weights_count_as_parts_of_objects(rng):
    value = rng.normal(size=(400, 2))
    width = []
    for part in (1.0, 0.1):
        density, sample = fitted(value, np.ones((400, 1)), weights=np.full(400, part))
        width.append(class_means(density, sample, rng, 40).std(axis=0).mean())
    assert width[1] / width[0] == pytest.approx(np.sqrt(10.0), rel=0.4)


def test_missing_and_noisy_cells_say_less(rng):
    # Of v, one half is missing and the rest measured with an error as large as the scatter: the variance of
    # its mean is (1 + 1) / 200, that of u's 1 / 400.
    value = rng.normal(size=(400, 2))
    value[:, 1] += rng.normal(size=400)
    value[::2, 1] = np.nan
    density, sample = fitted(value, np.ones((400, 1)), error=1.0)
    scatter = class_means(density, sample, rng, 80).std(axis=0)[0] * density.scale
    np.testing.assert_allclose(scatter, [1 / 20, np.sqrt(2 / 200)], rtol=0.3)


def test_objects_that_may_be_of_either_class_are_drawn(rng):
    # Class 1 has 30 known objects at 8; 200 at 0 may be of either. Of its weights (x at 0, 1 - x at 8) the
    # likelihood is (1/2 + x/2)^200 (1 - x)^30, greatest at x = 170 / 230; class 0 is at 0 alone.
    value = np.vstack([rng.normal(0, 1, (30, 2)), rng.normal(8, 1, (30, 2)), rng.normal(0, 1, (200, 2))])
    shares = np.vstack([np.tile([1.0, 0], (30, 1)), np.tile([0, 1.0], (30, 1)), np.full((200, 2), 0.5)])
    density, sample = fitted(value, shares)
    means = class_means(density, sample, rng, 40) * density.scale + density.centre
    np.testing.assert_allclose(means.mean(axis=0), [[0, 0], [8 * 60 / 230] * 2], atol=0.5)
    spread = 8 / np.sqrt(200 / (1 + 170 / 230) ** 2 + 30 / (60 / 230) ** 2)
    np.testing.assert_allclose(means[:, 1].std(axis=0), spread, rtol=0.5)


def test_none_probabilities_are_beta(rng):
    value = rng.normal(size=(200, 2))
    nothing = np.arange(200) < 50
    value[nothing, 1] = np.nan
    density, sample = fitted(value, np.ones((200, 1)), nothing=nothing)
    chance = []
    for _ in range(80):
        p = draw_joint(density, sample, rng)
        weight = np.exp(p.log_weight[0, :-1].astype(float))
        chance.append(weight / weight.sum() @ np.exp(p.log_none[:-1, 1]))
        assert np.isneginf(p.log_none[:, 0]).all()
    assert np.mean(chance) == pytest.approx(0.25, abs=0.02)
    assert np.std(chance) == pytest.approx(np.sqrt(0.25 * 0.75 / 200), rel=0.3)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 40), components=st.integers(1, 3))
def test_draws_are_valid_and_follow_the_seed(seed, n, components):
    rng = np.random.default_rng(seed)
    value = np.where(rng.random((n, 2)) < 0.3, np.nan, rng.normal(size=(n, 2)))
    value[:, 1] = value[:, 0] if seed % 3 == 0 else value[:, 1]
    density, sample = fitted(value, rng.dirichlet([0.3] * 3, n), components=components, weights=rng.random(n))
    p, again = (draw_joint(density, sample, np.random.default_rng(seed)) for _ in range(2))
    for one, other in zip(vars(p).values(), vars(again).values(), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(np.exp(p.log_weight).sum(axis=1), 1.0, rtol=1e-5)
    assert np.isfinite(p.log_weight).all()
    assert np.isfinite(p.mean).all()
    assert (np.linalg.eigvalsh(p.covariance.astype(float)) > 1e-3).all()
    _, encoded = encode(rng.normal(size=(5, 2)), nodes=density.nodes)
    assert np.isfinite(density.log_likelihood(encoded, parameters=p)).all()


def test_tables_have_the_expected_number(rng):
    # Chinese restaurant: the sum of a / (a + i) over guests i = 0 .. n - 1.
    counts, prior = np.array([[12.0, 0.0], [1.0, 40.0]]), np.array([0.7, 2.0])
    drawn = np.mean([joint_density_draws._tables(counts, prior, rng) for _ in range(4000)], axis=0)
    expected = [[(a / (a + np.arange(n))).sum() for n, a in zip(row, prior, strict=True)] for row in counts]
    np.testing.assert_allclose(drawn, expected, atol=0.15)


def test_intervals_of_overlapping_classes_hold_the_truth():
    # Two correlated Gaussians; in each of 20 samples one new object is asked, so that hits are independent.
    held, n_samples = 0, 20
    for seed in range(n_samples):
        rng = np.random.default_rng(seed)
        covariance = [[1.0, 0.6], [0.6, 1.0]]
        truth = [
            multivariate_normal([0, 0], covariance),
            multivariate_normal(rng.normal(0, 0.7, 2), covariance),
        ]
        y = (np.arange(80) % 4 == 0).astype(int)
        value = np.array([truth[c].rvs(random_state=rng) for c in y])
        density, sample = fitted(value, np.eye(2)[y])
        asked = truth[seed % 2].rvs(random_state=rng)
        _, encoded = encode(asked[None], nodes=density.nodes)
        draws = [draw_joint(density, sample, rng) for _ in range(9)]
        odds = [density.log_likelihood(encoded, parameters=p)[0] @ [1.0, -1.0] for p in draws]
        # The lowest and highest of nine hold a further draw with probability 8 / 10.
        held += min(odds) <= truth[0].logpdf(asked) - truth[1].logpdf(asked) <= max(odds)
    assert binom(n_samples, 0.8).cdf(held) > 0.005
