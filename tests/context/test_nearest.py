import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from context.nearest import NearestError, log_nearest, match_probability
from context.nearest_fit import NearestModel

A, S, RADIUS = np.array([0.9, 0.4, 0.05]), np.array([0.3, 1.5, 1.0]), 20.0


def one(separation, density, found=True, covered=True, a=0.5, s=1.0, radius=RADIUS, error=0.0):
    return log_nearest([separation], [density], [found], [covered], [a], [s], radius, error)[0, 0]


def simulate(rng, n, density, a, s, radius=RADIUS, error=0.0):
    """Draw fields star by star: a Poisson field in a box, and perhaps a counterpart; return the nearest."""
    a, s, density = (np.broadcast_to(value, (n,)) for value in (a, s, density))
    half = radius * 1.01
    nearest = np.full(n, np.inf)
    owner = np.repeat(np.arange(n), rng.poisson(density * (2 * half) ** 2))
    distance = np.hypot(*rng.uniform(-half, half, (2, len(owner))))
    np.minimum.at(nearest, owner, distance)
    own = np.hypot(*(np.hypot(s, error) * rng.normal(size=(2, n))))
    has = rng.random(n) < a
    matched = has & (own < nearest) & (own <= radius)
    nearest = np.where(has, np.minimum(nearest, own), nearest)
    found = nearest <= radius
    return np.where(found, nearest, np.nan), found, matched


@settings(deadline=None)
@given(
    a=st.floats(0, 1),
    s=st.floats(0.01, 30),
    log_density=st.floats(-9, 0.5),
    radius=st.floats(0.5, 60),
    error=st.floats(0, 10),
)
def test_what_is_found_and_what_is_not_sum_to_one(a, s, log_density, radius, error):
    density = 10.0**log_density

    def p(r):
        return 2 * np.pi * r * np.exp(one(r, density, a=a, s=s, radius=radius, error=error))

    # Break points where the two terms have their bulk, or quadrature may step over a narrow peak.
    scales = np.outer([np.hypot(s, error), density**-0.5], [0.1, 1.0, 3.0, 10.0]).ravel()
    knots = [0.0, *np.unique(scales[scales < radius]), radius]
    found = sum(quad(p, low, high)[0] for low, high in pairwise(knots))
    none = np.exp(one(np.nan, density, found=False, a=a, s=s, radius=radius, error=error))
    assert found + none == pytest.approx(1.0, abs=1e-6)


@settings(deadline=None)
@given(
    r=st.floats(0, RADIUS), a=st.floats(0.001, 0.999), s=st.floats(0.1, 5), density=st.floats(1e-6, 0.1),
    error=st.floats(0, 3),
)  # fmt: skip
def test_it_is_the_formula(r, a, s, density, error):
    s2 = s**2 + error**2
    rayleigh = np.exp(-(r**2) / (2 * s2))
    expected = np.exp(-np.pi * density * r**2) * (
        a / (2 * np.pi * s2) * rayleigh + (1 - a * (1 - rayleigh)) * density
    )
    assert np.exp(one(r, density, a=a, s=s, error=error)) == pytest.approx(expected, rel=1e-9)
    share = match_probability([r], [density], [True], [True], [a], [s], RADIUS, error)[0, 0]
    chance = np.exp(-np.pi * density * r**2) * (1 - a * (1 - rayleigh)) * density
    assert share == pytest.approx(1 - chance / expected, abs=1e-9)


@pytest.mark.parametrize("density", [0.0, 1e-4, 3e-3])
@pytest.mark.parametrize("error", [0.0, 1.2])
def test_simulated_fields_have_this_distribution(rng, density, error):
    n = 60_000
    for a, s in zip(A, S, strict=True):
        r, found, matched = simulate(rng, n, density, a, s, error=error)
        none = np.exp(one(np.nan, density, found=False, a=a, s=s, error=error))
        assert found.mean() == pytest.approx(1 - none, abs=5 * np.sqrt(0.25 / n))
        edges = np.linspace(0, RADIUS, 9)
        counts = np.histogram(r[found], edges)[0] / n
        expected = [
            quad(lambda x, a=a, s=s: 2 * np.pi * x * np.exp(one(x, density, a=a, s=s, error=error)), *cell)[0]
            for cell in pairwise(edges)
        ]
        np.testing.assert_allclose(counts, expected, atol=5 * np.sqrt(0.25 / n))
        share = match_probability(r, density, found, np.ones(n, bool), [a], [s], RADIUS, error)[:, 0]
        # Of those given probability q, q are matched: in every fifth of the scale.
        for low in np.arange(0, 1, 0.2):
            cell = found & (share >= low) & (share <= low + 0.2)
            if cell.sum() > 200:
                assert matched[cell].mean() == pytest.approx(
                    share[cell].mean(), abs=5 * np.sqrt(0.25 / cell.sum())
                )
        assert (share[~found] == 0).all()


def test_extremes_are_finite_or_say_impossible():
    assert one(0.0, 0.0) == pytest.approx(np.log(0.5 / (2 * np.pi)))
    assert np.isfinite(one(0.0, 1e-300))
    assert np.isfinite(one(RADIUS, 0.0, s=0.01))  # e^-2000000: an ordinary number in log space
    assert np.isfinite(one(RADIUS, 1e6))
    assert np.isfinite(one(np.nan, 1e6, found=False))
    assert one(np.nan, 0.0, found=False, a=1.0, s=0.01) == pytest.approx(-(RADIUS**2) / (2 * 0.01**2))
    assert one(1.0, 0.0, a=0.0) == -np.inf
    assert one(1.0, 2.0, a=0.0) == pytest.approx(np.log(2.0) - 2 * np.pi)
    share = match_probability([1.0, 1.0], [0.0, 0.0], [True, True], [True, True], [0.0, 0.2], [1.0], 5.0)
    np.testing.assert_array_equal(share, [[0.0, 1.0], [0.0, 1.0]])


def test_not_covered_is_exactly_zero_whatever_is_written_there():
    log = log_nearest(
        [np.nan, -5.0, np.nan],
        [np.nan, np.nan, 0.1],
        [False, True, False],
        [False, False, True],
        A,
        S,
        RADIUS,
    )
    assert log.shape == (3, 3)
    assert (log[:2] == 0).all()
    assert (log[2] < 0).all()
    share = match_probability([1.0, 1.0], [0.1, np.nan], [True, True], [True, False], A, S, RADIUS)
    assert np.isfinite(share[0]).all()
    assert np.isnan(share[1]).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"a": 1.5}, r"in \[0, 1\], found \[1.5\]"),
        ({"s": 0.0}, "Scatters must be positive"),
        ({"radius": -1.0}, "radius must be positive"),
        ({"separation": 21.0}, "between zero and the radius, found 21 in row 0"),
        ({"separation": np.nan}, "between zero and the radius, found nan"),
        ({"density": -1.0}, "zero or more and finite, found -1"),
        ({"density": np.nan}, "zero or more and finite, found nan"),
        ({"error": -1.0}, "Position errors must be zero or more"),
    ],
)
def test_wrong_values_are_refused(changes, words):
    with pytest.raises(NearestError, match=words):
        one(**{"separation": 1.0, "density": 0.1} | changes)


def test_wrong_shapes_are_refused():
    with pytest.raises(NearestError, match=r"density must have shape \(2,\)"):
        log_nearest([1.0, 2.0], [0.1, 0.1, 0.1], [True, True], [True, True], A, S, RADIUS)


def labelled(rng, n, density):
    label = rng.integers(0, len(A), n)
    density = np.broadcast_to(density, (n,)) * np.exp(rng.normal(0, 0.3, n))
    r, found, _ = simulate(rng, n, density, A[label], S[label])
    return label, r, density * 3600, found, np.ones(n, bool)


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_fit_recovers_what_made_the_positions(rng, error):
    n = 6_000
    label = rng.integers(0, len(A), n)
    density = 10 ** rng.uniform(-5, -2.5, n)
    r, found, _ = simulate(rng, n, density, A[label], S[label], error=error)
    covered = rng.random(n) < 0.9
    model = NearestModel.fit(
        r, density * 3600, found, covered, np.eye(3)[label], radius=RADIUS, position_error=error
    )
    np.testing.assert_allclose(model.probability, A, atol=0.04)
    # The variance of N offsets is known to its share 1/sqrt(N), and s is what the errors leave of it.
    tolerance = 4 * (S**2 + error**2) / (2 * S * np.sqrt(0.3 * n * A))
    assert (np.abs(model.scatter - S) < tolerance).all()
    # Half of the labels say only "first or second class"; the answer stays.
    allowed = np.eye(3, dtype=bool)[label]
    vague = (rng.random(n) < 0.5) & (label < 2)
    allowed[vague, :2] = True
    again = NearestModel.fit(r, density * 3600, found, covered, allowed, radius=RADIUS, position_error=error)
    np.testing.assert_allclose(again.probability, A, atol=0.06)
    assert (np.abs(again.scatter - S)[:2] < 2 * tolerance[:2]).all()


def test_fit_climbs_to_the_maximum(rng):
    label, r, density, found, covered = labelled(rng, 3000, 1e-3)
    model = NearestModel.fit(r, density, found, covered, np.eye(3)[label], radius=RADIUS, prior=(1e-9, 1e-9))

    def total(probability, scatter):
        log = NearestModel(probability, scatter, RADIUS).log_likelihood(r, density, found, covered)
        # What `typical_scatter` adds: one counterpart whose squared offset is two typical variances.
        return log[np.arange(len(label)), label].sum() - (2 * np.log(scatter) + 1 / scatter**2).sum()

    best = total(model.probability, model.scatter)
    for k in range(3):
        for factor in (0.97, 1.03):
            moved = model.scatter.copy()
            moved[k] *= factor
            assert total(model.probability, moved) < best
            moved = model.probability.copy()
            moved[k] = min(moved[k] * factor, 1.0)
            assert total(moved, model.scatter) < best


def test_learned_at_one_density_it_is_honest_at_ten_times_that(rng):
    model = NearestModel.fit(*(train := labelled(rng, 6000, 3e-4))[1:], np.eye(3)[train[0]], radius=RADIUS)
    label, *crowded = labelled(rng, 20_000, 3e-3)

    def posterior(likelihood):
        log = likelihood - likelihood.max(axis=1, keepdims=True)
        return np.exp(log) / np.exp(log).sum(axis=1, keepdims=True)

    def log_loss(p):
        return -np.log(p[np.arange(len(label)), label]).mean()

    learned = posterior(model.log_likelihood(*crowded))
    exact = posterior(NearestModel(A, S, RADIUS).log_likelihood(*crowded))
    # The same model without the local density: every field as sparse as the one it learned from.
    r, density, found, covered = crowded
    blind = posterior(model.log_likelihood(r, density / 10, found, covered))
    assert log_loss(learned) < log_loss(exact) + 0.003
    assert log_loss(blind) > log_loss(exact) + 0.03
    for k in range(3):
        for low in np.arange(0, 1, 0.1):
            cell = (learned[:, k] >= low) & (learned[:, k] < low + 0.1)
            if cell.sum() > 300:
                assert (label[cell] == k).mean() == pytest.approx(
                    learned[cell, k].mean(), abs=4 * np.sqrt(0.25 / cell.sum()) + 0.01
                )


def test_small_classes_and_shared_scatter_lean_on_the_prior(rng):
    label, r, density, found, covered = labelled(rng, 4000, 1e-4)
    allowed = np.eye(4)[label]  # nobody is of the fourth class
    model = NearestModel.fit(r, density, found, covered, allowed, radius=RADIUS)
    assert model.probability[3] == pytest.approx(0.5)
    assert model.scatter[3] == pytest.approx(1.0)
    shared = NearestModel.fit(r, density, found, covered, allowed, radius=RADIUS, shared_scatter=True)
    assert np.ptp(shared.scatter) == 0
    assert S.min() < shared.scatter[0] < S.max()
    weights = np.where(label == 1, 1.0, 0.0)
    alone = NearestModel.fit(r, density, found, covered, allowed, radius=RADIUS, weights=weights)
    assert alone.probability[0] == pytest.approx(0.5)
    assert alone.probability[1] == pytest.approx(A[1], abs=0.05)


def test_order_of_objects_and_of_classes_does_not_matter(rng):
    label, r, density, found, covered = labelled(rng, 500, 1e-3)
    model = NearestModel.fit(r, density, found, covered, np.eye(3)[label], radius=RADIUS)
    turn, order = rng.permutation(500), [2, 0, 1]
    other = NearestModel.fit(
        r[turn], density[turn], found[turn], covered, np.eye(3)[label][turn][:, order], radius=RADIUS
    )
    np.testing.assert_allclose(other.probability, model.probability[order], rtol=1e-6)
    np.testing.assert_allclose(
        other.log_likelihood(r, density, found, covered),
        model.log_likelihood(r, density, found, covered)[:, order],
        rtol=1e-5,
    )


def test_a_model_survives_json(rng):
    import json

    model = NearestModel(A, S, RADIUS)
    again = NearestModel.from_dict(json.loads(json.dumps(model.to_dict())))
    np.testing.assert_array_equal(again.probability, A)
    np.testing.assert_array_equal(again.scatter, S)
    assert again.radius == RADIUS
    with pytest.raises(NearestError, match="needs the key 'scatter_arcsec'"):
        NearestModel.from_dict({"probability": [0.5], "radius_arcsec": 1.0})
    with pytest.raises(NearestError, match="one probability and one scatter"):
        NearestModel.from_dict(model.to_dict() | {"scatter_arcsec": [1.0]})
    with pytest.raises(NearestError, match="Scatters must be positive"):
        NearestModel.from_dict(model.to_dict() | {"scatter_arcsec": [1.0, -1.0, 1.0]})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"covered": [False, False]}, "nothing to learn"),
        ({"allowed": [[0, 0], [0, 0]]}, "nothing to learn"),
        ({"allowed": [True, False]}, "one row an object"),
        ({"allowed": [[1, 0]]}, "found 1 rows and 2 objects"),
        ({"weights": [1.0]}, "weights must be"),
        ({"prior": (0.0, 1.0)}, "must be positive"),
        ({"density": [np.nan, 1.0]}, "Densities at covered positions"),
    ],
)
def test_fit_refuses_what_it_cannot_learn_from(changes, words):
    given = {
        "separation": [1.0, 2.0], "density": [1.0, 1.0], "found": [True, True], "covered": [True, True],
        "allowed": [[1, 0], [0, 1]], "radius": RADIUS,
    }  # fmt: skip
    with pytest.raises(NearestError, match=words):
        NearestModel.fit(**given | changes)


def test_the_example_of_the_documentation_prints_what_it_says(capsys):
    page = Path(__file__).resolve().parents[2] / "docs" / "concepts" / "context.md"
    if not page.is_file():
        pytest.skip("the documentation is not beside these tests")
    code, output = re.search(r"(import numpy.*?)```\n\n```\n(.*?)```", page.read_text("utf-8"), re.S).groups()
    exec(code, {})
    assert capsys.readouterr().out == output
