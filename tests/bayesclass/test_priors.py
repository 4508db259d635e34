"""Class priors, posteriors under another one, and the option of the command line."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from typer.testing import CliRunner

from bayesclass.calibration import ConformalSets
from bayesclass.classifier import Classifier
from bayesclass.cli import app
from bayesclass.posterior import Posterior, PosteriorError
from bayesclass.priors import Prior, PriorError
from bayesclass.taxonomy import Taxonomy

TREE = Taxonomy(
    ("Ia", "II", "Ibc", "AGN"),
    {"core-collapse": ("II", "Ibc"), "SN": ("Ia", "core-collapse")},
    {"SN Ia": "Ia", "SN?": ("Ia", "II")},
)
TRAINING = Prior(TREE.leaves, [0.4, 0.3, 0.1, 0.2], "training")
seeds = st.integers(0, 2**32 - 1)


def likelihoods(n, seed, n_draws=20):
    rng = np.random.default_rng(seed)
    pieces = {name: 2.0 * rng.normal(size=(n, 4)) for name in ("structure function", "latitude", "host")}
    return pieces, sum(pieces.values()) + 0.3 * rng.normal(size=(n_draws, n, 4))


def make(n=5, seed=0, n_draws=20, prior=TRAINING, tree=TREE, **changes):
    """A posterior whose likelihoods are known."""
    pieces, drawn = likelihoods(n, seed, n_draws)
    order = [TREE.leaves.index(leaf) for leaf in tree.leaves]
    reasons = {name: values[:, order] for name, values in pieces.items()}
    reasons["prior"] = np.tile(np.log(prior.in_order(tree.leaves)), (n, 1))
    p = softmax(sum(reasons.values()), axis=1)
    made = {
        "object_id": [f"o{i}" for i in range(n)],
        "taxonomy": tree,
        "probability": p,
        "draws": softmax(drawn[:, :, order] + reasons["prior"], axis=-1),
        "prediction_set": (p > 0.3) | (p == p.max(axis=1, keepdims=True)),
        "n_detections": np.full(n, 3),
        "n_upper_limits": np.zeros(n, int),
        "novelty": np.full(n, 0.5),
        "conflict": np.zeros(n),
        "warnings": [""] * n,
        "reasons": reasons,
        "prior": prior,
        "light_curve_pieces": ("structure function",),
    }
    return Posterior(**(made | changes))


def random_prior(seed):
    return Prior(TREE.leaves, np.random.default_rng(seed).dirichlet(np.ones(4)), "random")


# Priors


def test_a_node_shares_its_probability_as_in_training():
    prior = Prior.from_mapping({"Ia": 0.6, "core-collapse": 0.4, "AGN": 0.0}, TREE, TRAINING)
    np.testing.assert_allclose(prior.probability, [0.6, 0.3, 0.1, 0.0], rtol=1e-12)
    prior = Prior.from_mapping({"SN": 0.5, "AGN": 0.5}, TREE, TRAINING)
    np.testing.assert_allclose(prior.probability, [0.25, 0.1875, 0.0625, 0.5], rtol=1e-12)
    assert str(prior) == "given (Ia 0.25, II 0.1875, Ibc 0.0625, AGN 0.5)"


def test_a_prior_is_rescaled_only_when_asked():
    odds = {"SN": 3, "AGN": 1}
    with pytest.raises(PriorError, match=r"must sum to one within 1e-06, but they sum to 4 "):
        Prior.from_mapping(odds, TREE, TRAINING)
    prior = Prior.from_mapping(odds, TREE, TRAINING, rescale=True)
    np.testing.assert_allclose(prior.probability[-1], 0.25, rtol=1e-12)
    near = Prior.from_mapping({"SN": 0.75, "AGN": 0.2500001}, TREE, TRAINING)
    assert near.probability.sum() == pytest.approx(1.0, abs=1e-15)


def test_counts_are_shared_among_what_a_label_allows():
    counts = pd.Series(["SN Ia"] * 6 + ["SN?"] * 7 + ["core-collapse"] * 4).value_counts()
    prior = Prior.from_counts(counts, TREE, TRAINING)
    expected = np.array([6 + 4 + 0.5, 3 + 3 + 0.5, 1 + 0.5, 0.5])
    np.testing.assert_allclose(prior.probability, expected / expected.sum(), rtol=1e-12)
    assert Prior.from_counts({"Ia": 1}, TREE, TRAINING, pseudo_count=0).probability.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"SN": 0.5, "Ia": 0.5}, "Ia is in both SN and Ia"),
        ({"Ia": 0.5, "Ibc": 0.5}, "II, AGN is missing: add it, with 0"),
        ({"SN": 0.5, "star": 0.5}, "'star' is none: use Ia, II, Ibc, AGN, core-collapse, SN"),
        ({"SN": -0.5, "AGN": 1.5}, "entry SN of a prior must be a finite number, zero or more, found -0.5"),
        ({"SN": "most", "AGN": 0.5}, "found 'most'"),
        ({"SN": True, "AGN": 0.0}, "found True"),
        ({"SN": float("nan"), "AGN": 0.5}, "found nan"),
        ({"SN": 0.0, "AGN": 0.0}, "sum to 0 "),
    ],
)
def test_mappings_that_are_no_prior_are_refused(mapping, message):
    with pytest.raises(PriorError, match=message):
        Prior.from_mapping(mapping, TREE, TRAINING)


def test_other_priors_that_are_none_are_refused():
    with pytest.raises(PriorError, match=r"4 leaves .* of shape \(2,\)"):
        Prior(TREE.leaves, [0.5, 0.5])
    with pytest.raises(PriorError, match="finite and zero or more, found Ia inf"):
        Prior(("Ia", "II"), [np.inf, 0.5])
    with pytest.raises(PriorError, match="'nova' is none"):
        Prior.from_counts({"nova": 3}, TREE, TRAINING)
    with pytest.raises(PriorError, match="at least one object"):
        Prior.from_counts({}, TREE, TRAINING, pseudo_count=0)
    one = Prior(TREE.leaves, [1, 0, 0, 0], "only Ia")
    with pytest.raises(PriorError, match=r"core-collapse is shared .* 'only Ia' .* impossible"):
        Prior.from_mapping({"Ia": 0.5, "core-collapse": 0.5, "AGN": 0}, TREE, one)
    with pytest.raises(PriorError, match="the prior 'uniform' is of A, B"):
        make().with_prior(Prior.uniform(Taxonomy(("A", "B"))))


# Posteriors under another prior


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_reweighting_is_bayes_rule_with_the_other_prior(seed):
    prior = random_prior(seed)
    found, expected = make(seed=seed).with_prior(prior), make(seed=seed, prior=prior)
    np.testing.assert_allclose(found.probability, expected.probability, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found.draws, expected.draws, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found.interval, expected.interval, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found.probability.sum(axis=1), 1.0, atol=1e-12)
    for piece, values in expected.reasons.items():
        np.testing.assert_allclose(found.reasons[piece], values, rtol=1e-12)
    for name in ("object_id", "n_detections", "novelty"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_reweighting_twice_is_once_and_back_is_the_start(seed):
    start, uniform, other = make(seed=seed), Prior.uniform(TREE), random_prior(seed)
    twice, once = start.with_prior(uniform).with_prior(other), start.with_prior(other)
    np.testing.assert_allclose(twice.probability, once.probability, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(twice.draws, once.draws, rtol=1e-5, atol=1e-12)
    np.testing.assert_array_equal(twice.prediction_set, once.prediction_set)
    np.testing.assert_allclose(twice.conflict, once.conflict, atol=1e-9)
    back = start.with_prior(other).with_prior(TRAINING)
    np.testing.assert_allclose(back.probability, start.probability, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(back.draws, start.draws, rtol=1e-5, atol=1e-12)
    np.testing.assert_array_equal(back.prediction_set, start.prediction_set)


@given(seed=seeds, order=st.permutations(range(4)))
@settings(max_examples=25, deadline=None)
def test_the_order_of_leaves_changes_nothing(seed, order):
    prior = random_prior(seed)
    expected = make(seed=seed).with_prior(prior)
    shuffled = Prior([prior.leaves[k] for k in order], prior.probability[list(order)])
    again = make(seed=seed).with_prior(shuffled)
    np.testing.assert_allclose(again.probability, expected.probability, rtol=1e-12)
    tree = Taxonomy(tuple(TREE.leaves[k] for k in order), TREE.nodes)
    found = make(seed=seed, tree=tree).with_prior(prior)
    np.testing.assert_allclose(found.probability, expected.probability[:, order], rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(found.prediction_set, expected.prediction_set[:, order])


def test_conflict_is_that_of_the_other_prior():
    prior, (pieces, _) = random_prior(3), likelihoods(5, 0)
    light, context = np.exp(pieces["structure function"]), np.exp(pieces["latitude"] + pieces["host"])
    expected = [
        np.log((prior.probability * a * b).sum() / (prior.probability @ a) / (prior.probability @ b))
        for a, b in zip(light, context, strict=True)
    ]
    np.testing.assert_allclose(make().with_prior(prior).conflict, expected, rtol=1e-9)
    assert np.isnan(make(light_curve_pieces=None).with_prior(prior).conflict).all()


def test_a_class_without_prior_is_exactly_impossible():
    prior = Prior(TREE.leaves, [0.5, 0.5, 0, 0], "no others")
    found = make().with_prior(prior)
    assert (found.probability[:, 2:] == 0).all()
    assert (found.draws[:, :, 2:] == 0).all()
    assert not found.prediction_set[:, 2:].any()
    assert found.explain("o0", between=("SN", "AGN")).log_odds == np.inf
    assert np.isfinite(found.conflict).all()
    with pytest.raises(PosteriorError, match=r"can't come back, but the prior 'uniform' gives Ibc 0\.25"):
        found.with_prior(Prior.uniform(TREE))
    again = found.with_prior(Prior(TREE.leaves, [1, 0, 0, 0]))
    assert (again.probability == [1, 0, 0, 0]).all()


def test_a_prior_that_leaves_an_object_nothing_is_refused():
    impossible = np.zeros((5, 4))
    impossible[1, :2] = -np.inf
    reasons = make().reasons | {"host": impossible}
    start = make(probability=softmax(sum(reasons.values()), axis=1), reasons=reasons)
    start = replace(start, prediction_set=start.probability == start.probability.max(axis=1, keepdims=True))
    with pytest.raises(PosteriorError, match=r"'sn' leaves none to object o1 \(1 such objects\)"):
        start.with_prior(Prior(TREE.leaves, [0.5, 0.5, 0, 0], "sn"))
    kept = start.take([0, 2, 3, 4]).with_prior(Prior(TREE.leaves, [0.5, 0.5, 0, 0], "sn"))
    assert np.isfinite(kept.probability).all()


def test_what_underflowed_comes_back_from_the_reasons():
    far = np.array([[0.0, -1.0, -900.0, -902.0]])
    reasons = {"structure function": far, "prior": np.log(TRAINING.probability)[None]}
    p = softmax(sum(reasons.values()), axis=1)
    draws = np.tile(p, (3, 1, 1))
    posterior = make(1, probability=p, draws=draws, prediction_set=p > 0.5, reasons=reasons)
    found = posterior.with_prior(Prior(TREE.leaves, [0, 0, 0.5, 0.5]))
    np.testing.assert_allclose(found.probability[0, 2:], softmax([0.0, -2.0]), rtol=1e-9)
    assert found.warnings[0] == "3 draw(s) impossible under the prior: interval too narrow"
    np.testing.assert_allclose(found.draws[:, 0], np.tile(found.probability, (3, 1)), rtol=1e-6)


def test_the_present_prior_must_be_known():
    with pytest.raises(PosteriorError, match="only where the present one is known"):
        replace(make(reasons={}), prior=None).with_prior(TRAINING)
    found = make(reasons={}).with_prior(random_prior(1))
    np.testing.assert_allclose(found.probability, make(prior=random_prior(1)).probability, rtol=1e-9)
    assert len(make(0).with_prior(TRAINING)) == 0


def test_sets_hold_every_class_in_any_mixture():
    """Thresholds applied to the changed probabilities instead would miss a class far too often."""
    rng = np.random.default_rng(5)
    tree, mean = Taxonomy(("a", "b", "c")), np.array([0.0, 1.5, 3.0])
    training = Prior(tree.leaves, [0.8, 0.15, 0.05], "training")

    def sample(prior, n):
        y = rng.choice(3, n, p=prior.probability)
        log_likelihood = -0.5 * (rng.normal(size=n)[:, None] + mean[y][:, None] - mean) ** 2
        return log_likelihood, y

    log_likelihood, y = sample(training, 40_000)
    log_prior = np.log(training.probability)
    sets = ConformalSets.fit(softmax(log_likelihood + log_prior, axis=1), y)
    other = Prior(tree.leaves, [0.05, 0.15, 0.8], "other")
    log_likelihood, y = sample(other, 40_000)
    p = softmax(log_likelihood + log_prior, axis=1)
    posterior = Posterior(
        object_id=np.arange(len(y)).astype(str),
        taxonomy=tree,
        probability=p,
        prediction_set=sets.apply(p),
        n_detections=np.ones(len(y)),
        n_upper_limits=np.zeros(len(y)),
        novelty=np.zeros(len(y)),
        conflict=np.zeros(len(y)),
        warnings=[""] * len(y),
        prior=training,
    ).with_prior(other)
    rate = [posterior.prediction_set[y == c, c].mean() for c in range(3)]
    # Four standard errors of the rarest class, 2000 objects here and there.
    assert min(rate) > 0.9 - 4 * np.sqrt(0.09 / 2000 * 2)
    naive = sets.apply(posterior.probability)
    assert min(naive[y == c, c].mean() for c in range(3)) < 0.7


# A classifier, and the command line


def test_a_classifier_s_other_prior_needs_no_refit(tiny_classifier):
    classifier, objects = tiny_classifier.classifier, tiny_classifier.objects
    training = Prior.training(classifier)
    prior = Prior(training.leaves, [0.1, 0.2, 0.7], "by hand")
    found = classifier.classify(tiny_classifier.light_curves, objects, prior=prior)
    changed = Classifier(classifier.recipe)
    pool = replace(classifier.fitted.pool, log_prior=np.log(prior.probability))
    changed._fitted = replace(classifier.fitted, pool=pool)
    expected = changed.classify(tiny_classifier.light_curves, objects)
    np.testing.assert_allclose(found.probability, expected.probability, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.draws, expected.draws, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.conflict, expected.conflict, rtol=1e-5, atol=1e-7)
    assert found.prior is prior
    assert expected.prior.name == "training"
    start = classifier.classify(tiny_classifier.light_curves, objects)
    np.testing.assert_allclose(start.with_prior(training).probability, start.probability, rtol=1e-9)
    with pytest.raises(PriorError, match="same classes"):
        classifier.classify(tiny_classifier.light_curves, objects, prior=TRAINING)


@pytest.fixture
def model(tiny_classifier, tmp_path, monkeypatch):
    """A folder with a model and its sample."""
    monkeypatch.chdir(tmp_path)
    tiny_classifier.classifier.save("model")
    tiny_classifier.light_curves.to_parquet("L.parquet")
    tiny_classifier.objects.to_csv("O.csv", index=False)
    return Classifier.load("model")


def run(*arguments):
    given = ("--light-curves", "L.parquet", "--objects", "O.csv")
    return CliRunner().invoke(app, [*map(str, arguments), *given], catch_exceptions=False)


def test_the_command_line_takes_a_prior_and_says_which(model, tiny_classifier, tmp_path):
    (tmp_path / "mine.toml").write_text("variable = 0.25\nFading = 0.75\n")
    tables = {}
    for prior in ("training", "uniform", "estimate", "mine.toml"):
        result = run("classify", "model", "--out", "p.parquet", "--prior", prior)
        assert result.exit_code == 0, result.output
        named = {"estimate": "estimated"}.get(prior, prior)
        assert f"prior: {named} (Periodic 0." in result.stdout
        assert ("Class fractions of 61 objects" in result.stdout) == (prior == "estimate")
        tables[prior] = pd.read_parquet("p.parquet")
    run("classify", "model", "--out", "p.parquet")
    plain = pd.read_parquet("p.parquet")
    pd.testing.assert_frame_equal(tables["training"], plain)
    start = model.classify(tiny_classifier.light_curves, tiny_classifier.objects)
    training = Prior.training(model)
    mine = Prior.from_mapping({"variable": 0.25, "Fading": 0.75}, model.recipe.taxonomy, training)
    for name, prior in (("uniform", Prior.uniform(model.recipe.taxonomy)), ("mine.toml", mine)):
        expected = start.with_prior(prior).to_frame()
        assert list(tables[name].columns) == list(plain.columns)
        np.testing.assert_allclose(tables[name]["p_Fading"], expected["p_Fading"], rtol=1e-9)
        assert tables[name]["prediction_set"].tolist() == expected["prediction_set"].tolist()


@pytest.mark.parametrize(
    ("prior", "text", "words"),
    [
        ("survey", "", "--prior must be uniform, training, estimate or a .toml file"),
        ("none.toml", None, "must be a readable file"),
        ("bad.toml", "Fading = ", "must be TOML"),
        ("bad.toml", "Fading = 0.5\nvariable = 0.4", "bad.toml: Probabilities of a prior must sum to one"),
        ("bad.toml", "Fading = 0.5\nnova = 0.5", "'nova' is none: use Periodic, Walk, Fading, variable"),
        ("bad.toml", "[Fading]\na = 1", "must be a finite number"),
    ],
)
def test_a_prior_that_is_none_gets_one_sentence(model, tmp_path, prior, text, words):
    if text is not None:
        (tmp_path / prior).write_text(text)
    result = run("classify", "model", "--out", "p.parquet", "--prior", prior)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("bayesclass: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert not (tmp_path / "p.parquet").exists()
