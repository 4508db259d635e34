"""Reasons between any two leaves or inner nodes: they add up, and are those of the definition."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from typer.testing import CliRunner

from bayesclass import explanation_between
from bayesclass.cli import app
from bayesclass.explain import write_explanation
from bayesclass.explanation_between import contributions
from bayesclass.posterior import Posterior, PosteriorError
from bayesclass.taxonomy import Taxonomy, TaxonomyError
from structurefn.light_curves import LightCurves

TREE = Taxonomy(
    ("Ia", "II", "Ibc", "AGN", "star"),
    {"core-collapse": ("II", "Ibc"), "SN": ("Ia", "core-collapse"), "other": ("AGN", "star")},
)
PIECES = ("structure function", "prior", "latitude", "host", "calibration")
PER_NAT = 10.0 / np.log(10.0)
seeds = st.integers(0, 2**32 - 1)


def make(seed=0, n_draws=40, pieces=PIECES, reasons=None, **changes):
    rng = np.random.default_rng(seed)
    reasons = {name: 1.5 * rng.normal(size=(3, 5)) for name in pieces} if reasons is None else reasons
    p = softmax(sum(reasons.values()), axis=1)
    made = {
        "object_id": list("xyz"),
        "taxonomy": TREE,
        "probability": p,
        "draws": 0.2 * rng.dirichlet(np.ones(5), size=(n_draws, 3)) + 0.8 * p,
        "prediction_set": p == p.max(axis=1, keepdims=True),
        "n_detections": np.ones(3),
        "n_upper_limits": np.zeros(3),
        "novelty": np.zeros(3),
        "conflict": np.zeros(3),
        "warnings": [""] * 3,
        "reasons": reasons,
    }
    return Posterior(**(made | changes))


def odds(terms, chosen, first, other):
    """Log-odds of two lists of leaves on some pieces, by plain sums."""
    weight = np.exp(sum((terms[k] for k in chosen), np.zeros(5)))
    return np.log(weight[first].sum() / weight[other].sum())


def averaged_over_orders(terms, start, first, other):
    """Shapley values by their definition: every order of the pieces after the first."""
    rest = [k for k in terms if k != start]
    found = dict.fromkeys(rest, 0.0)
    orders = list(permutations(rest))
    for order in orders:
        chosen = [start]
        for k in order:
            before = odds(terms, chosen, first, other)
            chosen.append(k)
            found[k] += (odds(terms, chosen, first, other) - before) / len(orders)
    return found | {start: odds(terms, [start], first, other)}


@given(seed=seeds, first=st.sampled_from(TREE.order), other=st.sampled_from(TREE.order))
@settings(max_examples=60, deadline=None)
def test_reasons_between_any_two_classes_add_up(seed, first, other):
    posterior = make(seed)
    masks = [np.isin(TREE.leaves, TREE.leaves_of(name)) for name in (first, other)]
    if (masks[0] & masks[1]).any():
        with pytest.raises(PosteriorError, match=r"lies within|twice"):
            posterior.explain("y", between=(first, other))
        return
    found = posterior.explain("y", between=(first, other))
    p, q = (posterior.probability[1, mask].sum() for mask in masks)
    assert found.log_odds == pytest.approx(np.log(p / q), abs=1e-9)
    np.testing.assert_allclose(found.table["decibans"], PER_NAT * found.table["nats"], rtol=1e-12)
    assert found.table["piece"][0] == "prior"
    reverse = posterior.explain("y", between=(other, first)).table.set_index("piece")["nats"]
    np.testing.assert_allclose(-reverse[found.table["piece"]], found.table["nats"], atol=1e-9)
    assert (found.best_class, found.runner_up) == (first, other)
    np.testing.assert_allclose(found.probability[[first, other]], [p, q], rtol=1e-12)
    drawn = posterior.draws[:, 1, masks[0]].sum(axis=1)
    lower, upper = np.quantile(drawn, (0.05, 0.95), method="weibull")
    np.testing.assert_allclose(found.interval.loc[first], [min(lower, p), max(upper, p)], atol=1e-6)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_between_leaves_each_piece_is_a_plain_difference(seed):
    posterior = make(seed)
    found = posterior.explain("x", between=("star", "II"))
    assert found.method == "additive"
    nats = found.table.set_index("piece")["nats"]
    for piece, values in posterior.reasons.items():
        assert nats[piece] == values[0, 4] - values[0, 1]
    best, second = (TREE.leaves[k] for k in np.argsort(-posterior.probability[0])[:2])
    default, asked = posterior.explain("x"), posterior.explain("x", between=(best, second))
    np.testing.assert_array_equal(default.table["nats"], asked.table["nats"])
    assert (default.best_class, default.runner_up) == (best, second)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_between_nodes_pieces_are_averaged_over_all_orders(seed):
    posterior = make(seed)
    found = posterior.explain("z", between=("SN", "AGN"))
    assert found.method == "Shapley"
    terms = {piece: values[2] for piece, values in posterior.reasons.items()}
    expected = averaged_over_orders(terms, "prior", [0, 1, 2], [3])
    nats = found.table.set_index("piece")["nats"]
    for piece, value in expected.items():
        assert nats[piece] == pytest.approx(value, abs=1e-9)


def test_the_prior_s_part_is_its_own_odds_and_silent_pieces_say_nothing():
    reasons = {
        "latitude": np.tile([1.0, -1.0, 0.5, 0.0, 2.0], (3, 1)),
        "prior": np.log(np.tile([0.4, 0.2, 0.1, 0.2, 0.1], (3, 1))),
        "host": np.full((3, 5), 7.0),
        "distance": np.tile([2.0, 2.0, 2.0, -1.0, -1.0], (3, 1)),
    }
    found = make(reasons=reasons).explain("x", between=("SN", "other"))
    nats = found.table.set_index("piece")["nats"]
    assert nats["prior"] == pytest.approx(np.log(0.7 / 0.3))
    assert nats["host"] == 0.0
    assert nats["distance"] == 3.0


def test_with_many_pieces_each_adds_to_those_before_it(monkeypatch):
    posterior = make(pieces=("first", *PIECES))
    monkeypatch.setattr(explanation_between, "MAX_SHAPLEY", 4)
    found = posterior.explain("x", between=("SN", "other"))
    assert found.method == "chain"
    assert found.table["piece"].tolist() == [
        "prior",
        "first",
        "structure function",
        "latitude",
        "host",
        "calibration",
    ]
    terms = {piece: values[0] for piece, values in posterior.reasons.items()}
    chosen, before = [], 0.0
    for piece, nats in zip(found.table["piece"], found.table["nats"], strict=True):
        chosen.append(piece)
        total = odds(terms, chosen, [0, 1, 2], [3, 4])
        assert nats == pytest.approx(total - before, abs=1e-9)
        before = total
    assert "each piece as it adds to those before it" in found.text()


def test_fourteen_pieces_are_still_averaged(rng):
    values = {f"piece {k}": rng.normal(size=5) for k in range(14)} | {"prior": rng.normal(size=5)}
    first, other = np.array([1, 1, 1, 0, 0], bool), np.array([0, 0, 0, 1, 1], bool)
    nats, method = contributions(values, first, other)
    total = sum(values.values())
    assert method == "Shapley"
    assert nats.sum() == pytest.approx(logsumexp(total[first]) - logsumexp(total[other]), abs=1e-9)
    assert contributions(values | {"more": rng.normal(size=5)}, first, other)[1] == "chain"


def test_impossible_leaves_have_no_nan():
    prior = np.log(np.tile([0.5, 0.25, 0.25, 1.0, 1.0], (3, 1)))
    host = np.zeros((3, 5))
    host[:, 3], host[1, 4], host[2, :] = -np.inf, -np.inf, [-np.inf, -np.inf, 0.0, -np.inf, 1.0]
    reasons = {"prior": prior, "host": host, "latitude": np.tile(np.arange(5.0), (3, 1))}
    posterior = make(reasons=reasons)
    partly = posterior.explain("x", between=("SN", "other"))
    p = posterior.probability[0]
    assert partly.method == "chain"
    assert partly.log_odds == pytest.approx(np.log(p[:3].sum() / p[3:].sum()))
    wholly = posterior.explain("y", between=("SN", "other"))
    assert wholly.table["nats"].tolist() == [pytest.approx(np.log(0.5)), np.inf, 0.0]
    assert wholly.log_odds == np.inf
    assert posterior.explain("y", between=("other", "SN")).log_odds == -np.inf
    with pytest.raises(PosteriorError, match="makes both impossible"):
        posterior.explain("z", between=("Ia", "AGN"))


@pytest.mark.parametrize(
    ("between", "error", "message"),
    [
        (("SN", "nova"), TaxonomyError, "no class 'nova'; known: Ia, II, Ibc, AGN, star, core-collapse, SN"),
        (("SN", "SN"), PosteriorError, "two different classes, found 'SN' twice"),
        (("SN", "II"), PosteriorError, "'II' lies within 'SN'"),
        (("core-collapse", "SN"), PosteriorError, "'core-collapse' lies within 'SN'"),
        ("SN", PosteriorError, "found 'SN': name two"),
        (("SN", "AGN", "star"), PosteriorError, "name two"),
    ],
)
def test_classes_that_can_t_be_compared_are_refused(between, error, message):
    with pytest.raises(error, match=message):
        make().explain("x", between=between)


def test_the_text_names_both_and_the_most_probable():
    posterior = make()
    found = posterior.explain("x", between=("core-collapse", "other"))
    p = posterior.probability[0]
    head, what = found.text().splitlines()[:2]
    assert head.startswith(f"x: core-collapse {p[1] + p[2]:.3f} (90 % interval ")
    assert (
        f", against other {p[3] + p[4]:.3f}; most probable {TREE.leaves[p.argmax()]} {p.max():.3f};" in head
    )
    assert what == "Log-odds of core-collapse against other (each piece averaged over all orders):"
    assert f"all together        {found.log_odds:>+8.2f}" in found.text()
    assert make(draws=None).explain("x", between=("SN", "AGN")).interval.isna().all(axis=None)
    ax = posterior.plot("x", between=("core-collapse", "other"))
    assert ax.get_xlabel() == "log-odds of core-collapse against other [nat]"


# The page and the command line


def test_the_page_sets_the_two_against_each_other(tiny_classifier, tmp_path):
    curve = LightCurves.from_frame(
        tiny_classifier.light_curves.query("object_id == 'o2'"), channels=("S/g", "S/r")
    )
    classifier, objects = tiny_classifier.classifier, tiny_classifier.objects.iloc[2:3]
    write_explanation(classifier, curve, objects, "o2", tmp_path / "o.html", between=("Fading", "variable"))
    text = (tmp_path / "o.html").read_text(encoding="utf-8")
    assert "<h2>Log-odds of Fading against variable</h2>" in text
    found = classifier.classify(curve, objects).explain("o2", between=("Fading", "variable"))
    for row in found.table.itertuples():
        assert f"<td>{row.piece}</td><td>{row.nats:+.2f}</td>" in text
    assert text.count("<td>variable</td>") == 0


def test_the_command_line_takes_two_classes(tiny_classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_classifier.classifier.save("model")
    tiny_classifier.light_curves.to_parquet("L.parquet")

    def run(between):
        given = ["explain", "model", "o3", "--light-curves", "L.parquet", "--out", "o3.html"]
        return CliRunner().invoke(app, [*given, "--between", between], catch_exceptions=False)

    for between, words in (
        (
            "Fading",
            "two classes separated by a comma, found 'Fading'; known: Periodic, Walk, Fading, variable",
        ),
        ("Fading,nova", "no class 'nova'"),
        ("Walk,variable", "'Walk' lies within 'variable'"),
        ("Walk, Walk", "found 'Walk' twice"),
    ):
        result = run(between)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert result.stderr.startswith("bayesclass: ")
        assert result.stderr.count("\n") == 1
        assert words in result.stderr
    assert not (tmp_path / "o3.html").exists()
    result = run("variable, Fading")
    assert result.exit_code == 0, result.output
    assert "Log-odds of variable against Fading" in (tmp_path / "o3.html").read_text(encoding="utf-8")
