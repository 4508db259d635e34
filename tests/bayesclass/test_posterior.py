from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from bayesclass.posterior import Posterior, PosteriorError, UnknownObjectError
from bayesclass.taxonomy import Taxonomy

TREE = Taxonomy(("Ia", "II", "Ibc"), {"core-collapse": ("II", "Ibc")})


def make(n=4, seed=0, n_draws=50, **changes):
    rng = np.random.default_rng(seed)
    reasons = {
        name: rng.normal(size=(n, 3)) * size
        for name, size in (("g-r", 2.0), ("prior", 0.5), ("galactic_latitude", 1.0))
    }
    p = softmax(sum(reasons.values()), axis=1)
    draws = rng.dirichlet((1, 1, 1), size=(n_draws, n)) * 0.2 + 0.8 * p
    given = {
        "object_id": [f"ZTF18a{i}" for i in range(n)],
        "taxonomy": TREE,
        "probability": p,
        "draws": draws,
        "prediction_set": (p > 0.3) | (p == p.max(axis=1, keepdims=True)),
        "n_detections": np.arange(n),
        "n_upper_limits": np.zeros(n, int),
        "novelty": np.full(n, np.nan),
        "conflict": np.zeros(n),
        "warnings": [""] * n,
        "reasons": reasons,
    }
    return Posterior(**(given | changes))


# The table


def test_columns_are_those_of_the_contract_in_order():
    assert list(make().to_frame().columns) == [
        "object_id",
        "p_Ia",
        "p_II",
        "p_Ibc",
        "p_Ia_lo",
        "p_Ia_hi",
        "p_II_lo",
        "p_II_hi",
        "p_Ibc_lo",
        "p_Ibc_hi",
        "best_class",
        "prediction_set",
        "n_detections",
        "n_upper_limits",
        "novelty",
        "p_unknown",
        "conflict",
        "warnings",
    ]
    assert list(make().to_frame(nodes=True).columns)[-1] == "p_core-collapse"


def test_rows_say_what_the_arrays_say():
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    posterior = make(2, probability=p, draws=None, reasons={}, prediction_set=p >= 0.3, warnings=["a;b", ""])
    frame = posterior.to_frame(nodes=True)
    assert frame["best_class"].tolist() == ["Ia", "Ibc"]
    assert frame["prediction_set"].tolist() == ["Ia|II", "Ibc"]
    assert frame["warnings"].tolist() == ["a;b", ""]
    np.testing.assert_allclose(frame["p_core-collapse"], [0.5, 0.9])
    assert frame[["p_Ia_lo", "p_II_hi"]].isna().all(axis=None)
    assert pd.api.types.is_string_dtype(frame["object_id"])
    assert frame["n_detections"].dtype == np.int64


@given(seed=st.integers(0, 2**32 - 1), n_draws=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_intervals_are_quantiles_that_hold_the_probability(seed, n_draws):
    posterior = make(seed=seed, n_draws=n_draws)
    frame = posterior.to_frame()
    for k, leaf in enumerate(TREE.leaves):
        draws, p = posterior.draws[:, :, k], posterior.probability[:, k]
        low, high = (np.quantile(draws, q, axis=0, method="weibull") for q in (0.05, 0.95))
        np.testing.assert_allclose(frame[f"p_{leaf}_lo"], np.minimum(low, p), atol=1e-6)
        np.testing.assert_allclose(frame[f"p_{leaf}_hi"], np.maximum(high, p), atol=1e-6)
        assert (frame[f"p_{leaf}_lo"] <= p).all()
        assert (p <= frame[f"p_{leaf}_hi"]).all()


def test_intervals_of_many_objects_are_found_in_blocks(monkeypatch):
    whole = make(7).interval
    monkeypatch.setattr("bayesclass.posterior.BLOCK", 2)
    np.testing.assert_array_equal(make(7).interval, whole)


def test_a_posterior_of_no_object_is_an_empty_table():
    frame = make(0).to_frame()
    assert frame.shape == (0, 18)


# Choosing


def test_take_keeps_everything_of_an_object():
    posterior = make(5, warnings=list("abcde"))
    chosen = posterior.take([3, 1])
    expected = posterior.to_frame().iloc[[3, 1]].reset_index(drop=True)
    pd.testing.assert_frame_equal(chosen.to_frame(), expected)
    assert str(chosen.explain("ZTF18a3")) == str(posterior.explain("ZTF18a3"))
    assert len(posterior.take(np.arange(5) > 3)) == 1
    assert len(posterior.take(slice(2))) == 2
    assert posterior.take(-1).object_id.tolist() == ["ZTF18a4"]


def test_taking_twice_or_what_is_not_there_is_refused():
    with pytest.raises(PosteriorError, match=r"ZTF18a0 more than once\.$"):
        make().take([0, 0])
    with pytest.raises(IndexError):
        make().take([9])


# Reasons


def test_explanation_sets_the_two_best_classes_against_each_other():
    reasons = {
        "light curve": np.array([[0.0, -1.0, -5.0]]),
        "prior": np.log([[0.5, 0.3, 0.2]]),
        "latitude": np.array([[-3.0, 0.0, -1.0]]),
    }
    posterior = make(1, probability=softmax(sum(reasons.values()), axis=1), draws=None, reasons=reasons)
    found = posterior.explain("ZTF18a0")
    assert (found.best_class, found.runner_up) == ("II", "Ia")
    assert found.table["piece"].tolist() == ["prior", "latitude", "light curve"]
    np.testing.assert_allclose(found.table["nats"], [np.log(0.3 / 0.5), 3.0, -1.0])
    np.testing.assert_allclose(found.table["decibans"], 10 * np.log10(np.exp(found.table["nats"])))
    np.testing.assert_allclose(found.table["log_likelihood_Ibc"], [np.log(0.2), -1.0, -5.0])
    p = posterior.probability[0]
    assert found.log_odds == pytest.approx(np.log(p[1] / p[0]))
    assert f"all together  {np.log(p[1] / p[0]):>+8.2f}" in str(found)


def test_text_has_interval_set_and_warnings():
    text = make(1, warnings=["no context; 2 points set aside"]).explain("ZTF18a0").text()
    assert "90 % interval" in text.splitlines()[0]
    assert text.splitlines()[-2:] == ["Warning: no context", "Warning: 2 points set aside"]


def test_an_impossible_class_is_infinitely_behind():
    reasons = {"prior": np.log([[0.5, 0.5]]), "host": np.array([[0.0, -np.inf]])}
    posterior = make(
        1,
        taxonomy=Taxonomy(("a", "b")),
        probability=[[1.0, 0.0]],
        draws=None,
        prediction_set=[[True, False]],
        reasons=reasons,
    )
    assert posterior.explain("ZTF18a0").log_odds == np.inf
    assert posterior.log_probability.tolist() == [[0.0, -np.inf]]
    assert posterior.plot("ZTF18a0").figure is not None


def test_log_probability_is_the_normalised_sum_of_the_reasons():
    posterior = make(20)
    total = sum(posterior.reasons.values())
    expected = total - np.log(np.exp(total).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(posterior.log_probability, expected, rtol=1e-12)


def test_unknown_object_names_the_nearest():
    posterior = make()
    with pytest.raises(UnknownObjectError, match=r"no object 'ZTF18b3' .* nearest is 'ZTF18a3'") as error:
        posterior.explain("ZTF18b3")
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, KeyError)
    with pytest.raises(UnknownObjectError, match="has no objects"):
        make(0).explain("x")


def test_numbers_are_identifiers_too():
    assert make(2, object_id=[7, 8]).explain(8).object_id == "8"


def test_without_reasons_nothing_is_explained():
    with pytest.raises(PosteriorError, match="carries no reasons"):
        make(reasons={}).explain("ZTF18a0")


# Containers


def test_xarray_has_the_same_numbers():
    posterior = make()
    data = posterior.to_xarray()
    assert dict(data.sizes) == {"object_id": 4, "class": 3, "piece": 3, "draw": 50}
    one = data.sel(object_id="ZTF18a2", **{"class": "II"})
    assert float(one["probability"]) == posterior.probability[2, 1]
    assert float(one["log_likelihood"].sel(piece="prior")) == posterior.reasons["prior"][2, 1]
    assert "draws" not in make(draws=None, reasons={}).to_xarray()


def test_arviz_holds_the_draws():
    posterior = make()
    group = posterior.to_inference_data()["posterior"]
    assert group["probability"].dims == ("chain", "draw", "object_id", "class")
    np.testing.assert_array_equal(group["probability"].to_numpy()[0], posterior.draws)
    with pytest.raises(PosteriorError, match="this posterior has none"):
        make(draws=None).to_inference_data()


def test_notebooks_get_a_short_table():
    text = make(8, warnings=["<b>"] * 8)._repr_html_()
    assert "and 3 more" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text


# What contradicts itself


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probability": np.full((4, 3), 0.4)}, "sum to one within 1e-6, found .* for object ZTF18a0"),
        ({"probability": [[1.5, -0.5, 0.0]] * 4}, "zero or more"),
        ({"probability": np.full((4, 3), np.nan)}, "sum to one"),
        ({"probability": np.full((4, 2), 0.5)}, r"needs probability of shape \(4, 3\), found \(4, 2\)"),
        ({"warnings": ["", ""]}, r"needs warnings of shape \(4,\), found \(2,\)"),
        ({"draws": np.zeros((5, 4, 2))}, r"needs draws of shape \(5, 4, 3\)"),
        ({"draws": np.full((5, 4, 3), np.nan)}, "must be finite"),
        ({"object_id": ["a", "b", "a", "c"]}, "found a more than once"),
        ({"prediction_set": np.zeros((4, 3), bool)}, "must not be empty"),
        ({"reasons": {"prior": np.eye(4, 3)}}, "do not for object ZTF18a"),
        ({"reasons": {"prior": np.full((4, 3), -np.inf)}}, r"ZTF18a0 \(4 such objects\)"),
        ({"reasons": {"prior": np.zeros(3)}}, r"reasons\['prior'\] of shape"),
        ({"taxonomy": Taxonomy(("a|b", "c", "d"))}, "no leaf may have it: 'a|b'"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(PosteriorError, match=message):
        make(**changes)


def test_two_columns_of_one_name_are_refused():
    posterior = replace(make(), taxonomy=Taxonomy(("Ia", "Ia_lo", "x")))
    with pytest.raises(PosteriorError, match="two columns share one"):
        posterior.to_frame()
