"""Class priors by region of the sky, and posteriors with a prior of each object."""

import numpy as np
import pytest
from scipy.special import softmax

from bayesclass.object_prior import ObjectPrior
from bayesclass.pooling import PoolingError
from bayesclass.posterior import Posterior
from bayesclass.posterior_checks import PosteriorError
from bayesclass.priors import Prior, PriorError
from bayesclass.sky_prior import RegionPrior, label_counts, latitude_regions
from bayesclass.taxonomy import Taxonomy

TREE = Taxonomy(("CV", "SN", "AGN"))


def make(prior, n=6, seed=0):
    """A posterior of known likelihoods under a prior of shape (K,) or (n, K)."""
    rng = np.random.default_rng(seed)
    likelihood, noise = rng.normal(size=(n, 3)), 0.3 * rng.normal(size=(10, n, 3))
    log_prior = np.broadcast_to(np.log(prior), (n, 3))
    p = softmax(likelihood + log_prior, axis=1)
    return Posterior(
        object_id=[f"o{i}" for i in range(n)],
        taxonomy=TREE,
        probability=p,
        draws=softmax(likelihood + log_prior + noise, axis=-1),
        prediction_set=p > 0.1,
        n_detections=np.ones(n, int),
        n_upper_limits=np.zeros(n, int),
        novelty=np.zeros(n),
        conflict=np.zeros(n),
        warnings=[""] * n,
        reasons={"light curve": likelihood, "prior": np.array(log_prior)},
        light_curve_pieces=("light curve",),
    )


@pytest.fixture(scope="module")
def regions():
    rng = np.random.default_rng(4)
    share = {
        "0-10": [0.8, 0.1, 0.1],
        "10-20": [0.4, 0.4, 0.2],
        "20-40": [0.2, 0.5, 0.3],
        "40-60": [0.1, 0.6, 0.3],
    }
    region = [name for name in share for _ in range(150)] + ["60-90"] * 3
    label = [rng.choice(3, p=p) for p in share.values() for _ in range(150)] + [0, 0, 0]
    return RegionPrior.fit(region, np.array(label), TREE.leaves, seed=2, n_draws=600, n_tune=300)


def test_regions_with_many_objects_keep_theirs_and_one_with_few_is_shrunk(regions):
    assert regions.pooled.diagnostics.converged
    for name in ("0-10", "40-60"):
        own = regions.counts[regions.regions.index(name)]
        np.testing.assert_allclose(regions.prior(name).probability, own / own.sum(), atol=0.05)
    few = regions.prior("60-90")
    assert 0.2 < few.probability[0] < 0.9
    assert few.draws.std(axis=0)[0] > 2 * regions.prior("0-10").draws.std(axis=0)[0]


def test_a_region_is_the_mean_of_dirichlets_of_one_concentration(regions):
    kappa = regions.pooled.draws.kappa
    assert np.ptp(kappa, axis=-1).max() < 1e-9 * kappa.max()
    own = regions.counts[1]
    k, mu = regions.pooled.draws.kappa_typical.ravel(), regions.pooled.draws.mu.reshape(-1, 3)
    expected = ((k[:, None] * mu + own) / (k + own.sum())[:, None]).mean(axis=0)
    np.testing.assert_allclose(regions.prior("10-20").probability, expected, rtol=1e-9)


def test_a_region_never_seen_has_the_prediction(regions):
    prior = regions.prior("somewhere")
    assert "not seen" in prior.name
    mu = regions.pooled.draws.mu.reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(prior.probability, mu, rtol=1e-9)


def test_each_object_has_the_prior_of_its_region(regions):
    start = make([0.4, 0.4, 0.2])
    where = ["0-10", "40-60", "0-10", "60-90", "10-20", "40-60"]
    prior = regions.of_objects(start.object_id, where)
    found = start.with_prior(prior)
    expected = make(np.array([regions.prior(name).probability for name in where]))
    np.testing.assert_allclose(found.probability, expected.probability, rtol=1e-9)
    # Draws carry the prior's own uncertainty: draw k with draw k.
    drawn = prior.draws[:10][:, prior.row]
    log_ratio = np.log(drawn) - np.log([0.4, 0.4, 0.2])
    np.testing.assert_allclose(found.draws, softmax(np.log(start.draws) + log_ratio, axis=-1), rtol=1e-4)
    # Fewer objects in another order take theirs along, and a change back is a change back.
    some = start.take([4, 1]).with_prior(prior)
    np.testing.assert_allclose(some.probability, found.probability[[4, 1]], rtol=1e-12)
    back = found.with_prior(Prior(TREE.leaves, [0.4, 0.4, 0.2]))
    np.testing.assert_allclose(back.probability, start.probability, rtol=1e-9)


def test_a_prior_of_every_object_equal_to_one_of_all_gives_the_same():
    start, p = make([0.4, 0.4, 0.2]), [0.1, 0.2, 0.7]
    each = start.with_prior(ObjectPrior(start.object_id[::-1], TREE.leaves, np.tile(p, (6, 1))))
    one = start.with_prior(Prior(TREE.leaves, p))
    for name in ("probability", "draws", "conflict", "prediction_set"):
        np.testing.assert_array_equal(getattr(each, name), getattr(one, name))
    np.testing.assert_array_equal(each.reasons["prior"], one.reasons["prior"])


def test_without_reasons_the_prior_of_each_object_is_known_too():
    start = make([0.4, 0.4, 0.2])
    each = np.random.default_rng(1).dirichlet(np.ones(3), size=6)
    prior = ObjectPrior(start.object_id, TREE.leaves, each)
    plain = {"reasons": {}, "light_curve_pieces": None}
    with_each = start.with_prior(prior)
    bare = Posterior(**{name: getattr(with_each, name) for name in Posterior.__dataclass_fields__} | plain)
    back = bare.with_prior(Prior(TREE.leaves, [0.4, 0.4, 0.2]))
    np.testing.assert_allclose(back.probability, start.probability, rtol=1e-9)


def test_a_class_impossible_for_one_object_does_not_come_back():
    start, each = make([0.4, 0.4, 0.2]), np.full((6, 3), 1 / 3)
    each[2] = [0.5, 0.5, 0.0]
    changed = start.with_prior(ObjectPrior(start.object_id, TREE.leaves, each))
    assert changed.probability[2, 2] == 0
    with pytest.raises(PosteriorError, match=r"gives AGN 0\.333: change the posterior"):
        changed.with_prior(Prior.uniform(TREE))
    draws = np.full((5, 6, 3), 1 / 3)
    kept = start.with_prior(ObjectPrior(start.object_id, TREE.leaves, each, draws=draws))
    assert (kept.draws[:, 2, 2] == 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"object_id": ["a", "a"]}, "identifier repeats"),
        ({"probability": np.full((3, 2), 0.5)}, "must have shape|one probability for each"),
        ({"row": np.array([0, 2])}, "a row of them for each object"),
        ({"draws": np.full((4, 2, 2), 0.5)}, r"shape \(n_draws, 2, 3\), found \(4, 2, 2\)"),
        ({"draws": np.full((4, 2, 3), 0.5)}, "sum to one within"),
        ({"probability": np.full((2, 3), 0.5)}, "row 0|sum to one"),
    ],
)
def test_what_is_no_prior_of_objects_is_refused(changes, message):
    given = {"object_id": ["a", "b"], "leaves": TREE.leaves, "probability": np.full((2, 3), 1 / 3)} | changes
    with pytest.raises(PriorError, match=message):
        ObjectPrior(**given)


def test_an_object_without_a_prior_is_named():
    prior = ObjectPrior(["o0"], TREE.leaves, np.full((1, 3), 1 / 3))
    with pytest.raises(PriorError, match=r"but o1 is missing \(5 such objects\)"):
        make([0.4, 0.4, 0.2]).with_prior(prior)


def test_partial_labels_are_shared_as_in_the_sample_and_the_unlabelled_counted():
    allowed = np.eye(3, dtype=bool)[[0] * 6 + [1] * 2]
    allowed = np.vstack([allowed, [[True, True, False]] * 4, [[False] * 3]])
    counts, n_unlabelled = label_counts(np.array([0] * 8 + [1] * 5), allowed, 2)
    assert n_unlabelled == 1
    assert counts.sum() == pytest.approx(12)
    # The fixed point of w = (6 + 4 w / (w + v) + .5) : (2 + 4 v / (w + v) + .5).
    w, v = 6.5, 2.5
    for _ in range(200):
        w, v = 6.5 + 4 * w / (w + v), 2.5 + 4 * v / (w + v)
    np.testing.assert_allclose(counts[1, :2], [4 * w / (w + v), 4 * v / (w + v)], rtol=1e-6)


def test_latitudes_have_names():
    assert latitude_regions([-5, 10, 19.9, -90]).tolist() == ["0-10", "10-20", "10-20", "60-90"]
    with pytest.raises(PoolingError, match="within -90 and 90"):
        latitude_regions([np.nan])
    with pytest.raises(PoolingError, match="must ascend"):
        latitude_regions([1.0], edges=(20, 10))


def test_labels_and_regions_must_fit():
    with pytest.raises(PoolingError, match="must have a region"):
        RegionPrior.fit(["a"], np.array([0, 1]), TREE.leaves)
    with pytest.raises(PoolingError, match="indices below 3"):
        RegionPrior.fit(["a"], np.array([7]), TREE.leaves)
